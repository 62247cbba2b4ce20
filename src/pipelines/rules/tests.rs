#![allow(clippy::unwrap_used)]

mod clocks;
mod locks;
mod task_locks;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::definition;
use crate::job::{Hold, Holder, Job, JobId, Phase, Status, Task};
use crate::value::Variables;

/// A scheduler with processes that end when a test says so.
struct World {
    state: State,
    now: Now,
    next: u128,
    /// Whether each was interrupted.
    processes: BTreeMap<(JobId, usize, u32), bool>,
    started: Vec<JobId>,
    /// What the journal would have.
    written: BTreeMap<JobId, Arc<Job>>,
    removed: Vec<JobId>,
    over: Vec<JobId>,
    /// Who was told to hold locks, and whether to let them go.
    holding: BTreeMap<Holder, bool>,
}

fn definitions(text: &str) -> Arc<Definitions> {
    let pipelines = definition::read(text, "pipelines.yml").unwrap_or_else(|err| panic!("{err}"));
    let named = pipelines
        .into_iter()
        .map(|pipeline| (pipeline.name.clone(), Arc::new(pipeline)));
    Arc::new(named.collect())
}

impl World {
    fn new(text: &str) -> World {
        let mut world = World {
            state: State::default(),
            now: Now {
                wall: Time(1_000_000),
                run: Duration::ZERO,
            },
            next: 0,
            processes: BTreeMap::new(),
            started: Vec::new(),
            written: BTreeMap::new(),
            removed: Vec::new(),
            over: Vec::new(),
            holding: BTreeMap::new(),
        };
        world.load(text);
        world
    }

    fn load(&mut self, text: &str) {
        self.apply(Event::Load(definitions(text)));
    }

    fn apply(&mut self, event: Event) {
        let effects = self.state.apply(event, self.now);
        self.follow(effects);
    }

    fn follow(&mut self, effects: Vec<Effect>) {
        for change in self.state.take_changes() {
            match change {
                Change::New(job) | Change::Update(job, _) => {
                    self.written.insert(job.id, job);
                }
                Change::Removed(id) => {
                    self.written.remove(&id);
                }
            }
        }
        for effect in effects {
            match effect {
                Effect::Run { job, task, attempt } => {
                    if !self.started.contains(&job) {
                        self.started.push(job);
                    }
                    assert!(self.processes.insert((job, task, attempt), false).is_none());
                }
                Effect::Interrupt { job, task } => {
                    let mut found = self
                        .processes
                        .iter_mut()
                        .filter(|((of, at, _), _)| (*of, *at) == (job, task));
                    *found.next().expect("only what runs is interrupted").1 = true;
                }
                Effect::Hold(holder) => {
                    assert!(self.holding.insert(holder, false).is_none());
                }
                Effect::LetGo(holder) => {
                    let works = self.processes.keys().any(|(of, at, _)| {
                        *of == holder.job && holder.task.is_none_or(|task| task == *at)
                    });
                    assert!(!works, "it works with what it gives back");
                    assert_ne!(
                        self.holding.insert(holder, true),
                        Some(true),
                        "it is told twice"
                    );
                }
                Effect::Over { job, .. } => self.over.push(job),
                Effect::Remove { job, .. } => self.removed.push(job),
                Effect::Tell { .. } => {}
            }
        }
    }

    fn request(&mut self, request: Request) -> Result<JobId, Refused> {
        self.next += 1;
        let id = Uuid::from_u128(self.next);
        let admitted = self.state.admit(Request { id, ..request }, self.now)?;
        let effects = self.state.settle(self.now);
        self.follow(effects);
        Ok(admitted.job)
    }

    fn ask(&mut self, pipeline: &str) -> Result<JobId, Refused> {
        self.request(Request {
            pipeline: pipeline.to_owned(),
            ..Request::default()
        })
    }

    #[track_caller]
    fn schedule(&mut self, pipeline: &str) -> JobId {
        self.ask(pipeline).unwrap()
    }

    fn in_partition(&mut self, partition: &str) -> JobId {
        let request = Request {
            pipeline: "p".into(),
            partition: partition.into(),
            ..Request::default()
        };
        self.request(request).unwrap()
    }

    /// Ends a task, which must be running.
    #[track_caller]
    fn end(&mut self, job: JobId, task: &str, code: i32) {
        let at = self
            .job(job)
            .tasks
            .iter()
            .position(|one| one.definition.name == task)
            .unwrap();
        let found = self
            .processes
            .keys()
            .find(|(of, place, _)| (*of, *place) == (job, at))
            .copied();
        self.end_process(found.expect("it runs"), Ended::Exited(code));
    }

    fn end_process(&mut self, (job, task, attempt): (JobId, usize, u32), how: Ended) {
        self.processes.remove(&(job, task, attempt));
        self.apply(Event::Ended {
            job,
            task,
            attempt,
            how,
        });
    }

    /// Tells something of the locks of a job.
    fn locks(&mut self, job: JobId, news: LockNews) {
        self.locks_of(Holder { job, task: None }, news);
    }

    fn locks_of(&mut self, holder: Holder, news: LockNews) {
        if matches!(news, LockNews::Over(_)) {
            self.holding.remove(&holder);
        }
        self.apply(Event::Locks(holder, news));
    }

    /// Whether the job has asked for locks, and whether it was told to let them go.
    fn holds(&self, job: JobId) -> Option<bool> {
        self.holding.get(&Holder { job, task: None }).copied()
    }

    fn cancel(&mut self, job: JobId) {
        self.apply(Event::Cancel(job));
    }

    fn pass(&mut self, time: Duration) {
        self.now.run += time;
        self.now.wall.0 += time.as_millis() as i64;
        self.apply(Event::Tick);
    }

    fn job(&self, id: JobId) -> Job {
        self.state.job(id).map(|job| Job::clone(job)).unwrap()
    }

    fn phase(&self, id: JobId) -> Phase {
        self.job(id).phase()
    }

    fn statuses(&self, id: JobId) -> String {
        let job = self.job(id);
        let tasks = job
            .tasks
            .iter()
            .map(|task| format!("{}:{}", task.definition.name, task.status.name()));
        tasks.collect::<Vec<_>>().join(" ")
    }
}

const S: Duration = Duration::from_secs(1);

fn with(keys: &str) -> World {
    World::new(&format!(
        "pipelines: {{p: {{{keys}, tasks: {{t: {{script: [x]}}}}}}}}"
    ))
}

#[test]
fn jobs_run_up_to_the_concurrency_and_then_in_the_order_in_which_they_came() {
    let mut world = with("concurrency: 2");
    let jobs: Vec<JobId> = (0..5).map(|_| world.schedule("p")).collect();

    assert_eq!(world.started, jobs[..2]);
    world.end(jobs[1], "t", 0);
    assert_eq!(world.started, jobs[..3]);
    world.end(jobs[0], "t", 0);
    world.end(jobs[2], "t", 0);
    assert_eq!(world.started, jobs);
}

#[test]
fn the_wait_list_has_its_limit() {
    let mut none = with("queue_limit: 0");
    none.schedule("p");
    assert_eq!(none.ask("p"), Err(Refused::NoQueue));
    let mut one = with("queue_limit: 1");
    let jobs = [one.schedule("p"), one.schedule("p")];
    assert_eq!(one.ask("p"), Err(Refused::Full));
    assert!(!one.state.is_schedulable("p"));
    // Whoever is canceled leaves his place.
    one.cancel(jobs[1]);
    assert!(one.state.is_schedulable("p"));
    one.schedule("p");
    assert_eq!(one.ask("nope"), Err(Refused::Unknown("nope".into())));
}

#[test]
fn the_last_one_who_waits_is_replaced() {
    for (keys, kept) in [
        ("queue_strategy: replace", 0),
        ("queue_strategy: replace, queue_limit: 3", 2),
    ] {
        let mut world = with(keys);
        let jobs: Vec<JobId> = (0..6).map(|_| world.schedule("p")).collect();
        let mut waiting: Vec<JobId> = jobs[1..1 + kept].to_vec();
        waiting.push(jobs[5]);
        assert_eq!(world.state.queue("p"), waiting, "{keys}");
        assert_eq!(world.phase(jobs[4]), Phase::Canceled);
        assert_eq!(world.statuses(jobs[4]), "t:canceled");
    }
}

#[test]
fn each_partition_replaces_its_own() {
    let mut world = with("queue_strategy: partitioned_replace, queue_partition_limit: 2");
    world.in_partition("A");
    let a = world.in_partition("A");
    let [b1, b2] = [world.in_partition("B"), world.in_partition("B")];
    let a2 = world.in_partition("A");

    let b3 = world.in_partition("B");

    assert_eq!(world.phase(b2), Phase::Canceled);
    assert_eq!(world.state.queue("p"), [a, b1, a2, b3]);
}

#[test]
fn a_delay_that_is_replaced_begins_anew_and_keeps_nobody_waiting() {
    let mut world = with("start_delay: 10s, queue_strategy: replace, queue_limit: 1");
    let first = world.schedule("p");
    world.pass(9 * S);
    let second = world.schedule("p");
    world.pass(9 * S);
    assert_eq!(
        (world.phase(first), world.phase(second)),
        (Phase::Canceled, Phase::Waiting)
    );
    world.pass(S);
    assert_eq!(world.phase(second), Phase::Running);

    let mut world = with("start_delay: 10s");
    let first = world.schedule("p");
    world.load("pipelines: {p: {tasks: {t: {script: [x]}}}}");
    let second = world.schedule("p");
    assert_eq!(
        (world.phase(first), world.phase(second)),
        (Phase::Waiting, Phase::Running)
    );
    world.pass(20 * S);
    assert_eq!(world.phase(first), Phase::Waiting);
    world.end(second, "t", 0);
    assert_eq!(world.phase(first), Phase::Running);
}

#[test]
fn a_delayed_job_that_is_canceled_blocks_nobody() {
    let mut world = with("start_delay: 10s, queue_limit: 1");
    let first = world.schedule("p");
    world.cancel(first);
    let second = world.schedule("p");
    world.pass(10 * S);
    assert_eq!(world.phase(second), Phase::Running);
    assert_eq!(world.state.next_deadline(), None);
}

const GRAPH: &str = "tasks: {a: {script: [x]}, b: {script: [x], depends_on: [a]}, c: {script: [x], depends_on: [a]},
    d: {depends_on: [b, c]}, e: {script: [x]}}";

#[test]
fn tasks_start_when_their_last_dependency_has_ended() {
    let mut world = World::new(&format!("pipelines: {{p: {{{GRAPH}}}}}"));
    let job = world.schedule("p");
    assert_eq!(
        world.statuses(job),
        "a:running b:waiting c:waiting d:waiting e:running"
    );
    world.end(job, "a", 0);
    world.end(job, "b", 0);
    world.end(job, "e", 0);
    assert_eq!(
        world.statuses(job),
        "a:done b:done c:running d:waiting e:done"
    );
    world.end(job, "c", 0);
    assert_eq!(world.phase(job), Phase::Succeeded);
    assert!(
        world
            .job(job)
            .tasks
            .iter()
            .all(|task| task.exit_code == 0 && task.end.is_some())
    );
}

#[test]
fn the_first_failure_stops_the_others_and_is_the_jobs() {
    let mut world = World::new(&format!("pipelines: {{p: {{{GRAPH}}}}}"));
    let job = world.schedule("p");
    world.end(job, "a", 3);
    assert_eq!(world.phase(job), Phase::Running);
    world.end(job, "e", 130);
    let ended = world.job(job);
    assert_eq!(
        world.statuses(job),
        "a:error b:canceled c:canceled d:canceled e:canceled"
    );
    assert_eq!(
        (ended.completed, ended.canceled, ended.errored()),
        (true, false, true)
    );
    assert_eq!(ended.last_error.as_deref(), Some("exit status 3"));
    assert!(ended.tasks[0].end.is_some() && ended.tasks[4].end.is_some());
}

#[test]
fn the_other_branches_go_on_where_the_pipeline_says_so() {
    let mut world = World::new(&format!(
        "pipelines: {{p: {{continue_running_tasks_after_failure: true, {GRAPH}}}}}"
    ));
    let job = world.schedule("p");
    world.end(job, "e", 7);
    world.end(job, "a", 0);
    world.end(job, "b", 8);
    world.end(job, "c", 0);
    assert_eq!(
        world.statuses(job),
        "a:done b:error c:done d:canceled e:error"
    );
    assert_eq!(world.job(job).last_error.as_deref(), Some("exit status 7"));
}

#[test]
fn a_failure_that_is_allowed_is_none() {
    let mut world = World::new(
        "pipelines: {p: {on_error: {script: [x]}, tasks: {a: {script: [x], allow_failure: true}, b: {script: [x], depends_on: [a]}}}}",
    );
    let job = world.schedule("p");
    world.end(job, "a", 4);
    assert_eq!(world.job(job).tasks[0].exit_code, 4);
    world.end(job, "b", 0);
    assert_eq!(
        (world.phase(job), world.statuses(job)),
        (Phase::Succeeded, "a:done b:done".into())
    );
    // What cannot even be run too.
    let job = world.schedule("p");
    world.end_process((job, 0, 0), Ended::Failed("template: x".into()));
    assert_eq!(
        world.job(job).tasks[0].error.as_deref(),
        Some("template: x")
    );
    assert_eq!(world.statuses(job), "a:done b:running");
}

#[test]
fn after_a_failure_the_handler_runs_and_the_job_with_it() {
    let text = "pipelines: {p: {on_error: {script: [x]}, tasks: {a: {script: [x]}}}}";
    for (code, status) in [(0, "done"), (5, "error")] {
        let mut world = World::new(text);
        let job = world.schedule("p");
        let next = world.schedule("p");
        world.end(job, "a", 1);
        assert_eq!(world.statuses(job), "a:error on_error:running");
        assert_eq!(world.phase(next), Phase::Waiting);
        world.end(job, "on_error", code);
        assert_eq!(world.statuses(job), format!("a:error on_error:{status}"));
        assert_eq!(world.job(job).last_error.as_deref(), Some("exit status 1"));
        assert_eq!(
            (world.phase(job), world.phase(next)),
            (Phase::Failed, Phase::Running)
        );
    }
    // Neither after a cancel nor when the server is made to end.
    for event in [
        Event::Cancel(Uuid::from_u128(1)),
        Event::Stop { forced: true },
    ] {
        let mut world = World::new(text);
        let job = world.schedule("p");
        world.apply(event);
        world.end(job, "a", 130);
        assert_eq!(
            (world.phase(job), world.statuses(job)),
            (Phase::Canceled, "a:canceled".into())
        );
    }
    // A cancel while it runs ends it, and the job keeps its error.
    let mut world = World::new(text);
    let job = world.schedule("p");
    world.end(job, "a", 1);
    world.cancel(job);
    assert!(world.processes.values().all(|interrupted| *interrupted));
    world.end(job, "on_error", 130);
    assert_eq!(world.statuses(job), "a:error on_error:canceled");
    assert_eq!(
        (world.phase(job), world.job(job).canceled),
        (Phase::Failed, false)
    );
}

#[test]
fn a_cancel_is_a_cancel_and_a_second_one_changes_nothing() {
    let mut world = with("concurrency: 1");
    let [running, waiting] = [world.schedule("p"), world.schedule("p")];
    world.cancel(waiting);
    let dropped = world.job(waiting);
    assert_eq!(
        (dropped.completed, dropped.canceled, dropped.end),
        (false, true, None)
    );
    world.cancel(running);
    world.cancel(running);
    world.end(running, "t", 0);
    let ended = world.job(running);
    assert_eq!(
        (ended.completed, ended.canceled, ended.end.is_some()),
        (true, true, true)
    );
    assert_eq!(
        (ended.errored(), ended.last_error.as_deref()),
        (false, Some("context canceled"))
    );
    world.cancel(running);
    assert_eq!(world.job(running), ended);
}

#[test]
fn what_takes_too_long_is_stopped_and_has_failed() {
    let mut world = World::new(
        "pipelines: {p: {timeout: 10s, tasks: {a: {script: [x], timeout: 2s}, b: {script: [x]}}}, q: {timeout: 10s, tasks: {a: {script: [x]}, b: }}}",
    );
    let job = world.schedule("p");
    world.pass(2 * S);
    assert_eq!(
        world
            .processes
            .values()
            .filter(|interrupted| **interrupted)
            .count(),
        1
    );
    world.end(job, "a", 130);
    world.end(job, "b", 130);
    assert_eq!(
        (world.phase(job), world.statuses(job)),
        (Phase::Failed, "a:error b:canceled".into())
    );
    assert_eq!(
        world.job(job).last_error.as_deref(),
        Some("timed out after 2s")
    );
    let job = world.schedule("q");
    world.pass(10 * S);
    world.end(job, "a", 130);
    assert_eq!(
        (world.phase(job), world.statuses(job)),
        (Phase::Failed, "a:error b:done".into())
    );
    assert_eq!(
        world.job(job).last_error.as_deref(),
        Some("the job timed out after 10s")
    );
    assert_eq!(world.state.next_deadline(), None);
}

#[test]
fn a_task_is_tried_again() {
    let mut world =
        World::new("pipelines: {p: {tasks: {a: {script: [x], retry: {max: 2, delay: 5s}}}}}");
    let job = world.schedule("p");
    world.end(job, "a", 1);
    assert!(world.processes.is_empty() && world.statuses(job) == "a:running");
    world.pass(5 * S);
    world.end(job, "a", 1);
    world.pass(5 * S);
    world.end(job, "a", 0);
    assert_eq!(
        (world.phase(job), world.job(job).tasks[0].attempt),
        (Phase::Succeeded, 2)
    );
    // No more than that, and not once it is canceled.
    let job = world.schedule("p");
    for _ in 0..2 {
        world.end(job, "a", 1);
        world.pass(5 * S);
    }
    world.end(job, "a", 9);
    assert_eq!(world.job(job).last_error.as_deref(), Some("exit status 9"));
    let job = world.schedule("p");
    world.end(job, "a", 1);
    world.cancel(job);
    assert_eq!(
        (world.phase(job), world.statuses(job)),
        (Phase::Canceled, "a:canceled".into())
    );
    world.pass(5 * S);
    assert!(world.processes.is_empty());
}

#[test]
fn old_jobs_are_forgotten_but_not_those_that_run_or_that_no_definition_knows() {
    let mut world = with("retention_count: 2");
    let jobs: Vec<JobId> = (0..4).map(|_| world.schedule("p")).collect();
    for job in &jobs {
        world.end(*job, "t", 0);
    }
    assert_eq!(world.removed, jobs[..2]);
    let running = world.schedule("p");
    world.load("pipelines: {}");
    assert!(world.state.job(jobs[3]).is_some() && world.state.job(running).is_some());
    world.end(running, "t", 0);
    assert_eq!(world.phase(running), Phase::Succeeded);

    let mut world = with("retention_period: 1h");
    let job = world.schedule("p");
    world.end(job, "t", 0);
    world.pass(3600 * S);
    assert!(world.removed.is_empty());
    // The clock set back makes nothing old.
    world.now.wall = Time(0);
    world.apply(Event::Tick);
    assert!(world.removed.is_empty());
    world.now.wall = Time(1_000_000 + 3_601_000);
    world.apply(Event::Tick);
    assert_eq!(world.removed, [job]);
}

#[test]
fn a_repeated_request_makes_no_second_job() {
    let mut world = with("concurrency: 1");
    let request = |n: i128| Request {
        pipeline: "p".into(),
        key: Some("k".into()),
        variables: [(
            "n".to_owned(),
            crate::value::Value::Number(crate::value::Number::whole(n)),
        )]
        .into(),
        ..Request::default()
    };
    let first = world.request(request(1)).unwrap();
    assert_eq!(world.request(request(1)), Ok(first));
    assert_eq!(world.request(request(2)), Err(Refused::KeyTaken(first)));
    world.end(first, "t", 0);
    assert_eq!(world.request(request(1)), Ok(first));

    let mut world = with("singleton: true");
    let first = world.schedule("p");
    assert_eq!(world.schedule("p"), first);
    world.end(first, "t", 0);
    assert_ne!(world.schedule("p"), first);
}

#[test]
fn a_job_is_run_again_from_where_it_failed() {
    let mut world = World::new(&format!("pipelines: {{p: {{{GRAPH}}}}}"));
    let job = world.schedule("p");
    world.end(job, "a", 0);
    world.end(job, "b", 1);
    world.end(job, "c", 130);
    world.end(job, "e", 130);
    let rerun = Rerun {
        of: job,
        from_failed: true,
        variables: Variables::new(),
    };
    let request = world
        .state
        .rerun(rerun, Uuid::nil(), String::new())
        .unwrap();

    let again = world.request(request).unwrap();

    assert_eq!(
        world.statuses(again),
        "a:skipped b:running c:running d:waiting e:running"
    );
    for task in ["b", "c", "e"] {
        world.end(again, task, 0);
    }
    assert_eq!(world.phase(again), Phase::Succeeded);
}

#[test]
fn an_admission_that_could_not_be_written_leaves_no_trace() {
    let mut world = with("queue_strategy: replace, start_delay: 10s");
    let first = world.schedule("p");
    let before = world.job(first);
    let request = Request {
        id: Uuid::from_u128(99),
        pipeline: "p".into(),
        ..Request::default()
    };
    let admitted = world.state.admit(request, world.now).unwrap();

    world.state.withdraw(admitted, world.now);

    assert_eq!(world.job(first), before);
    assert_eq!(world.state.queue("p"), [first]);
    assert!(world.state.take_changes().is_empty());
    world.pass(10 * S);
    assert_eq!(world.phase(first), Phase::Running);
}

#[test]
fn after_a_crash_jobs_are_canceled_or_wait_again() {
    for (restart, phases) in [
        ("cancel", [Phase::Canceled, Phase::Canceled]),
        ("requeue", [Phase::Running, Phase::Waiting]),
    ] {
        let mut world = with(&format!("restart: {restart}"));
        let jobs = [world.schedule("p"), world.schedule("p")];
        let definitions = world.state.definitions().clone();
        let known = world.written.values().cloned().collect();

        let (state, recovered) = State::restore(definitions, known, world.now);
        assert_eq!(recovered.len(), 2);
        world.state = state;
        world.processes.clear();
        let effects = world.state.settle(world.now);
        world.follow(effects);

        assert_eq!(jobs.map(|job| world.phase(job)), phases);
        if restart == "cancel" {
            assert_eq!(world.statuses(jobs[0]), "t:canceled");
            let job = world.job(jobs[0]);
            assert!(!job.completed && job.tasks[0].end.is_some() && job.end.is_none());
        }
    }
}

#[test]
fn after_a_crash_what_was_canceled_is_not_run_again() {
    let mut world = with("restart: requeue");
    let job = world.schedule("p");
    world.cancel(job);
    assert_eq!(world.statuses(job), "t:running");
    let definitions = world.state.definitions().clone();
    let known = world.written.values().cloned().collect();

    let (state, recovered) = State::restore(definitions, known, world.now);

    assert_eq!(recovered, [super::Recovered::Interrupted(job)]);
    world.state = state;
    assert_eq!(world.phase(job), Phase::Canceled);
}

#[test]
fn a_server_that_ends_cancels_those_who_wait_and_lets_the_others_finish() {
    let mut world = World::new(&format!("pipelines: {{p: {{{GRAPH}}}}}"));
    let [running, waiting] = [world.schedule("p"), world.schedule("p")];
    world.apply(Event::Stop { forced: false });
    assert_eq!(world.phase(waiting), Phase::Canceled);
    assert_eq!(world.ask("p"), Err(Refused::Stopping));
    for task in ["a", "b", "c", "e"] {
        world.end(running, task, 0);
    }
    assert_eq!(world.phase(running), Phase::Succeeded);
    assert!(!world.state.is_any_running());
    // One that is to wait again does so on disk, whether it runs or not.
    let mut world = with("restart: requeue");
    let jobs = [world.schedule("p"), world.schedule("p")];
    world.apply(Event::Stop { forced: true });
    world.end(jobs[0], "t", 130);
    assert_eq!(
        jobs.map(|job| world.written[&job].phase()),
        [Phase::Waiting; 2]
    );
    assert!(!world.state.is_any_running());
}

#[derive(Debug, Clone)]
enum Step {
    Ask(usize, u8),
    End(usize, i32),
    Cancel(usize),
    Pass(u64),
    Load(usize),
    Locks(usize, u8),
    Crash,
}

const SETS: [&str; 2] = [
    "pipelines: {
        append: {concurrency: 2, queue_limit: 3, tasks: {a: {script: [x]}, b: {script: [x], depends_on: [a]}, j: {depends_on: [b]}}},
        replace: {queue_strategy: replace, queue_limit: 2, start_delay: 3s, tasks: {a: {script: [x], timeout: 4s}}},
        parts: {queue_strategy: partitioned_replace, queue_partition_limit: 2, concurrency: 2, timeout: 20s,
            continue_running_tasks_after_failure: true, on_error: {script: [x]},
            tasks: {a: {script: [x], retry: {max: 1, delay: 2s}}, b: {script: [x]}, c: {script: [x], depends_on: [a, b]}}},
        tasked: {concurrency: 2, timeout: 15s, restart: requeue, on_error: {script: [x]}, continue_running_tasks_after_failure: true,
            tasks: {a: {script: [x], locks: [{pool: y}]}, b: {script: [x], locks: [{pool: y}], retry: {max: 1, delay: 2s}},
                c: {script: [x], depends_on: [a], allow_failure: true, timeout: 3s, locks: [{pool: z}]}}},
        both: {locks: [{pool: x}], tasks: {a: {script: [x], locks: [{pool: y}]}, b: {script: [x]}, c: {script: [x], depends_on: [b], locks: [{pool: y}]}}},
        locked: {concurrency: 2, timeout: 9s, locks: [{pool: x}], on_error: {script: [x]}, tasks: {a: {script: [x]}, b: {script: [x], retry: {max: 1, delay: 2s}}}},
        empty: {retention_count: 2},
        allowed: {queue_limit: 0, retention_count: 1, tasks: {a: {script: [x], allow_failure: true}}}}",
    "pipelines: {
        append: {concurrency: 1, queue_limit: 1, tasks: {a: {script: [x]}}},
        replace: {queue_strategy: replace, tasks: {a: {script: [x]}}, on_error: {}},
        parts: {concurrency: 3, tasks: {z: {script: [x]}}},
        locked: {tasks: {a: {script: [x]}}},
        tasked: {tasks: {a: {script: [x]}}},
        both: {tasks: {a: {script: [x], locks: [{pool: y}]}}},
        empty: {}}",
];
const NAMES: [&str; 8] = [
    "append", "replace", "parts", "locked", "tasked", "both", "empty", "allowed",
];

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..NAMES.len(), 0..3u8).prop_map(|(pipeline, partition)| Step::Ask(pipeline, partition)),
        6 => (any::<usize>(), prop_oneof![3 => Just(0), 1 => 1..5i32]).prop_map(|(which, code)| Step::End(which, code)),
        2 => any::<usize>().prop_map(Step::Cancel),
        2 => (0..6u64).prop_map(Step::Pass),
        1 => (0..SETS.len()).prop_map(Step::Load),
        4 => (any::<usize>(), 0..4u8).prop_map(|(which, kind)| Step::Locks(which, kind)),
        1 => Just(Step::Crash),
    ]
}

impl World {
    fn check(&self, lowered: bool, finished: &mut BTreeMap<JobId, Job>) {
        let mut waiting: BTreeMap<&str, BTreeSet<JobId>> = BTreeMap::new();
        for job in self.state.jobs() {
            if job.is_finished() {
                let known = finished.entry(job.id).or_insert_with(|| Job::clone(job));
                assert_eq!(known, &**job, "what has ended changes no more");
                assert!(job.tasks.iter().all(|task| task.status.is_over()));
                assert!(!self.state.due.contains_key(&job.id), "it has a deadline");
                let mut holding = self.holding.keys();
                assert!(
                    !holding.any(|holder| holder.job == job.id),
                    "it holds locks"
                );
            } else if !job.is_under_way() {
                waiting.entry(&job.pipeline).or_default().insert(job.id);
            } else if job.hold != Hold::Nothing && !job.is_running() {
                assert!(job.tasks.iter().all(|task| !task.is_at_work));
            } else if !matches!(job.hold, Hold::GivesBack(_)) {
                let goes_on =
                    |task: &Task| task.status == Status::Running || task.hold != Hold::Nothing;
                let is_going_on = job.tasks.iter().any(goes_on);
                assert!(is_going_on, "nothing of it goes on: {job:?}");
            }
            for task in std::iter::once(None).chain((0..job.tasks.len()).map(Some)) {
                let is_told = self.holding.get(&Holder { job: job.id, task }).copied();
                let expected = match job.hold_of(task) {
                    Hold::Nothing => None,
                    Hold::Waits(_) | Hold::Holds(_) => Some(false),
                    Hold::GivesBack(_) => Some(true),
                };
                assert_eq!(is_told, expected, "{job:?}");
            }
            for (at, task) in job.tasks.iter().enumerate() {
                let has_process = self.processes.contains_key(&(job.id, at, task.attempt));
                assert_eq!(has_process, task.is_at_work);
                assert!(task.hold == Hold::Nothing || !task.status.is_over());
                if !task.definition.locks.is_empty() && task.is_at_work {
                    let holds = matches!(task.hold, Hold::Holds(_)) || task.lost.is_some();
                    assert!(holds, "it works without its locks: {job:?}");
                }
                for needed in &task.definition.depends_on {
                    let needed = job.task(needed).unwrap();
                    assert!(!task.is_at_work || needed.is_satisfied());
                }
            }
        }
        for name in NAMES {
            let queue = self.state.queue(name);
            let queued: BTreeSet<JobId> = queue.iter().copied().collect();
            assert_eq!(queued.len(), queue.len());
            assert_eq!(&queued, waiting.get(name).unwrap_or(&BTreeSet::new()));
            let Some(pipeline) = self.state.definitions.get(name) else {
                continue;
            };
            let n_running = self
                .state
                .jobs()
                .filter(|job| job.pipeline == name && job.is_under_way())
                .count();
            assert_eq!(n_running, self.state.n_running(name));
            assert!(lowered || n_running <= pipeline.concurrency);
            let can_start = queue.iter().any(|id| !self.state.jobs[id].is_delayed);
            assert!(
                !can_start || n_running >= pipeline.concurrency,
                "somebody waits for nothing"
            );
            let limit = match pipeline.queue {
                definition::Queue::Append(limit) => limit,
                definition::Queue::Replace(limit) => Some(limit.unwrap_or(1)),
                definition::Queue::Partitioned(limit) => Some(3 * limit),
            };
            assert!(lowered || limit.is_none_or(|limit| queue.len() <= limit));
        }
        let known: BTreeMap<JobId, Arc<Job>> =
            self.state.jobs().map(|job| (job.id, job.clone())).collect();
        assert_eq!(known, self.written, "the journal has what there is");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn limits_hold_nobody_starves_and_every_job_ends_once(steps in proptest::collection::vec(step(), 1..80)) {
        let mut world = World::new(SETS[0]);
        let mut finished = BTreeMap::new();
        let mut all: Vec<JobId> = Vec::new();
        let mut lowered = false;
        for step in steps {
            match step {
                Step::Ask(pipeline, partition) => {
                    let request = Request {
                        pipeline: NAMES[pipeline].to_owned(),
                        partition: partition.to_string(),
                        ..Request::default()
                    };
                    all.extend(world.request(request));
                }
                Step::End(which, code) => {
                    let running: Vec<_> = world.processes.keys().copied().collect();
                    if let Some(process) = running.get(which % running.len().max(1)) {
                        world.end_process(*process, Ended::Exited(code));
                    }
                }
                Step::Cancel(which) => {
                    if let Some(job) = all.get(which % all.len().max(1)) {
                        world.cancel(*job);
                    }
                }
                Step::Pass(seconds) => world.pass(Duration::from_secs(seconds)),
                Step::Locks(which, kind) => world.some_news_of_locks(which, kind),
                Step::Crash => {
                    // Jobs that wait again may be more than the limit.
                    lowered = true;
                    world.restart();
                }
                Step::Load(set) => {
                    lowered = true;
                    world.load(SETS[set]);
                }
            }
            world.check(lowered, &mut finished);
        }
        // Everything that is left comes to its end.
        world.load(SETS[0]);
        for _ in 0..1000 {
            world.pass(Duration::from_secs(1));
            for holder in world.holding.keys().copied().collect::<Vec<_>>() {
                let news = match world.holding[&holder] {
                    true => LockNews::Over(Ok(())),
                    false => LockNews::Holds(Vec::new()),
                };
                world.locks_of(holder, news);
            }
            let Some(process) = world.processes.keys().next().copied() else {
                if world.state.jobs().all(|job| job.is_finished()) {
                    break;
                }
                continue;
            };
            world.end_process(process, Ended::Exited(0));
            world.check(true, &mut finished);
        }
        prop_assert!(world.state.jobs().all(|job| job.is_finished()));
        prop_assert!(world.state.queues.is_empty() && world.state.running.is_empty() && world.state.due.is_empty());
        let over: BTreeSet<JobId> = world.over.iter().copied().collect();
        prop_assert_eq!(over.len(), world.over.len());
    }
}

//! Jobs with locks.

use super::*;
use crate::job::Lock;

fn locked(keys: &str) -> World {
    with(&format!("locks: [{{pool: aws, name: env-1}}], {keys}"))
}

pub(super) fn env_1() -> LockNews {
    LockNews::Holds(vec![Lock {
        pool: "aws".into(),
        name: "env-1".into(),
    }])
}

impl World {
    /// Something is heard of the locks of a job that holds some, or waits for some.
    pub(super) fn some_news_of_locks(&mut self, which: usize, kind: u8) {
        let all: Vec<(Holder, bool)> = self
            .holding
            .iter()
            .map(|(holder, told)| (*holder, *told))
            .collect();
        let Some((holder, is_told)) = all.get(which % all.len().max(1)).copied() else {
            return;
        };
        let job = self.job(holder.job);
        let holds = matches!(job.hold_of(holder.task), Hold::Holds(_));
        let news = match (is_told, holds, kind) {
            (true, _, 0) => LockNews::Over(Err("no".into())),
            // It was claimed at the last moment.
            (true, _, 1) => env_1(),
            (true, _, _) => LockNews::Over(Ok(())),
            (false, true, 0) => LockNews::Over(Err("gone".into())),
            (false, true, 1) => LockNews::Lost("taken".into()),
            (false, _, 2) => LockNews::Waits(format!("place {which}")),
            (false, false, 0) => LockNews::Over(Err("no such pool".into())),
            (false, ..) => env_1(),
        };
        self.locks_of(holder, news);
    }

    pub(super) fn restart(&mut self) -> Vec<Recovered> {
        let definitions = self.state.definitions().clone();
        let known = self.written.values().cloned().collect();
        let (state, recovered) = State::restore(definitions, known, self.now);
        self.state = state;
        self.processes.clear();
        self.holding.clear();
        let effects = self.state.settle(self.now);
        self.follow(effects);
        recovered
    }
}

#[test]
fn a_job_waits_for_its_locks_with_all_else_that_it_needs_and_gives_them_back_before_it_ends() {
    let mut world = locked("timeout: 5s");
    let jobs = [world.schedule("p"), world.schedule("p")];
    assert_eq!(world.phase(jobs[0]), Phase::Locking);
    assert_eq!(world.phase(jobs[1]), Phase::Waiting);
    let expected = "waiting for `env-1` of the pool `aws`";
    assert_eq!(world.job(jobs[0]).hold, Hold::Waits(expected.into()));
    world.locks(jobs[0], LockNews::Waits("place 2".into()));
    assert_eq!(world.job(jobs[0]).hold, Hold::Waits("place 2".into()));
    // Waiting is no running, however long.
    world.pass(60 * S);
    assert!(world.started.is_empty());

    world.locks(jobs[0], env_1());
    assert_eq!(world.phase(jobs[0]), Phase::Running);
    world.end(jobs[0], "t", 0);
    assert_eq!(world.phase(jobs[0]), Phase::Running);
    assert!(world.holds(jobs[0]) == Some(true) && world.holds(jobs[1]).is_none());
    world.locks(jobs[0], LockNews::Over(Ok(())));
    assert_eq!(world.phase(jobs[0]), Phase::Succeeded);
    assert_eq!(world.phase(jobs[1]), Phase::Locking);
}

#[test]
fn who_is_canceled_while_waiting_for_locks_ends_when_the_line_is_left() {
    let mut world = locked("on_error: {script: [x]}");
    let job = world.schedule("p");
    world.cancel(job);
    assert!(world.holds(job) == Some(true) && !world.job(job).is_finished());
    // The claim landed all the same: it is told of, and nothing starts.
    world.locks(job, env_1());
    world.locks(job, LockNews::Over(Ok(())));
    assert_eq!(world.phase(job), Phase::Canceled);
    assert_eq!(world.statuses(job), "t:canceled");
    assert!(world.started.is_empty());
}

#[test]
fn locks_that_are_not_to_be_had_or_not_given_back_are_a_failure_with_words() {
    let mut world = locked("on_error: {script: [x]}");
    let job = world.schedule("p");
    world.locks(job, LockNews::Over(Err("there is no pool `aws`".into())));
    assert_eq!(world.phase(job), Phase::Failed);
    assert_eq!(world.statuses(job), "t:canceled");
    assert_eq!(world.job(job).last_error.unwrap(), "there is no pool `aws`");

    let job = world.schedule("p");
    world.locks(job, env_1());
    world.end(job, "t", 0);
    world.locks(job, LockNews::Over(Err("no answer".into())));
    assert_eq!(world.phase(job), Phase::Failed);
    assert_eq!(world.job(job).last_error.unwrap(), "no answer");
}

#[test]
fn a_lost_lock_stops_all_tasks_also_what_runs_after_a_failure() {
    let mut world = locked("on_error: {script: [x]}");
    let job = world.schedule("p");
    world.locks(job, env_1());
    world.locks(job, LockNews::Lost("taken away by anna".into()));
    assert!(world.processes[&(job, 0, 0)], "it is interrupted");
    world.end(job, "t", 130);
    world.locks(job, LockNews::Over(Ok(())));
    assert_eq!(world.phase(job), Phase::Failed);
    assert_eq!(world.statuses(job), "t:canceled");
    assert_eq!(world.job(job).last_error.unwrap(), "taken away by anna");

    let job = world.schedule("p");
    world.locks(job, env_1());
    world.end(job, "t", 7);
    assert_eq!(world.statuses(job), "t:error on_error:running");
    world.locks(job, LockNews::Over(Err("gone".into())));
    assert!(world.processes[&(job, 1, 0)], "it is interrupted");
    world.end(job, "on_error", 130);
    assert_eq!(world.phase(job), Phase::Failed);
    assert_eq!(world.statuses(job), "t:error on_error:canceled");
    assert_eq!(world.job(job).last_error.unwrap(), "exit status 7");
}

#[test]
fn after_a_crash_locks_are_given_back_before_anything_else() {
    for (restart, held, phase) in [
        ("cancel", true, Phase::Canceled),
        ("cancel", false, Phase::Canceled),
        ("requeue", true, Phase::Locking),
        ("requeue", false, Phase::Locking),
    ] {
        let mut world = locked(&format!("restart: {restart}"));
        let job = world.schedule("p");
        if held {
            world.locks(job, env_1());
        }
        assert_eq!(world.restart().len(), 1);
        assert_eq!(world.holds(job), Some(true));
        let next = world.schedule("p");
        assert_eq!(world.phase(next), Phase::Waiting);
        world.locks(job, LockNews::Over(Ok(())));
        assert_eq!(world.phase(job), phase, "{restart} {held}");
        assert!(world.started.len() <= usize::from(held));
    }
}

#[test]
fn a_job_that_was_over_but_for_its_locks_ends_after_a_crash_as_it_would_have() {
    for (code, cancel, phase) in [
        (0, false, Phase::Succeeded),
        (3, false, Phase::Failed),
        (130, true, Phase::Canceled),
    ] {
        let mut world = locked("restart: requeue");
        let job = world.schedule("p");
        world.locks(job, env_1());
        if cancel {
            world.cancel(job);
        }
        world.end(job, "t", code);
        assert_eq!(world.restart(), [Recovered::GivesBack(job)]);
        world.locks(job, LockNews::Over(Ok(())));
        assert_eq!(world.phase(job), phase, "{code}");
    }
}

#[test]
fn a_server_that_ends_lets_go_of_what_is_waited_for_and_waits_for_what_runs() {
    for (restart, phase) in [("cancel", Phase::Canceled), ("requeue", Phase::Waiting)] {
        let mut world = locked(&format!("restart: {restart}, concurrency: 2"));
        let [runs, waits] = [world.schedule("p"), world.schedule("p")];
        world.locks(runs, env_1());
        world.apply(Event::Stop { forced: false });
        assert_eq!(world.holds(waits), Some(true));
        world.locks(waits, LockNews::Over(Ok(())));
        assert_eq!(world.phase(waits), phase);
        assert_eq!(world.phase(runs), Phase::Running);
        assert!(!world.state.is_only_giving_back());
        world.end(runs, "t", 0);
        assert!(world.state.is_only_giving_back() && world.state.is_any_running());
        // It has ended, whoever wants it canceled now.
        world.apply(Event::Stop { forced: true });
        world.locks(runs, LockNews::Over(Ok(())));
        assert_eq!(world.phase(runs), Phase::Succeeded);
        assert!(!world.state.is_any_running());
    }
}

//! The rules of the scheduler: what happens becomes changes and orders, without I/O and without a clock.
//!
//! [`State`] is all jobs, who waits, and which deadlines there are. [`State::admit`] decides on a request, [`State::apply`]
//! on everything else that happens ([`Event`]). Both note which jobs they have changed ([`State::take_changes`], for the
//! journal and the readers), and give [`Effect`]s: what is to be done once the changes are on disk.
//!
//! # Invariants
//!
//! - A pipeline never runs more jobs than its concurrency; more only where a reload has lowered it.
//! - A job ends in one state, and nothing changes it then.
//! - Whoever is canceled is on no wait list, and has no deadline.
//! - A job whose time to wait is over never waits for one whose time is not.

mod admit;
mod end;
mod graph;
mod hold;
mod hold_task;
mod queue;
mod recover;
mod retention;
mod retry;

pub use admit::{Admitted, Refused, Request, Rerun};
pub use recover::Recovered;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::definition::Definitions;
use crate::job::{Hold, Holder, Job, JobId, Lock, Time};

/// The two clocks: one for people, one that never goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// For people.
    pub wall: Time,
    /// Since the server began.
    pub run: Duration,
}

/// Something that has happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// A task's process has ended.
    Ended {
        /// The job.
        job: JobId,
        /// The place of the task.
        task: usize,
        /// Which attempt.
        attempt: u32,
        /// How.
        how: Ended,
    },
    /// Somebody cancels a job.
    Cancel(JobId),
    /// Something is heard of somebody's locks.
    Locks(Holder, LockNews),
    /// Time has passed.
    Tick,
    /// There are new definitions.
    Load(Arc<Definitions>),
    /// The server ends.
    Stop {
        /// Whether running jobs are stopped.
        forced: bool,
    },
}

/// How a task's process has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// With this code; that of the last failing entry where failure is allowed.
    Exited(i32),
    /// It could not run, or not to its end.
    Failed(String),
}

/// What is heard of somebody's locks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockNews {
    /// They are waited for; this is what is known of that.
    Waits(String),
    /// All of them are held.
    Holds(Vec<Lock>),
    /// A lock is not held any more, or soon will not be; why.
    Lost(String),
    /// No lock is held any more, and nothing more is done about it; what went wrong, if it did.
    Over(Result<(), String>),
}

/// Something to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Start a task.
    Run {
        /// The job.
        job: JobId,
        /// The place of the task.
        task: usize,
        /// Which attempt.
        attempt: u32,
    },
    /// Stop a task.
    Interrupt {
        /// The job.
        job: JobId,
        /// The place of the task.
        task: usize,
    },
    /// Wait for the locks of a job or a task, and hold them.
    Hold(Holder),
    /// Give back the locks that somebody holds or waits for, also those that a server before this one has claimed for it.
    LetGo(Holder),
    /// No more tasks of this job will run: what is left of its processes is ended if so.
    Over {
        /// The job.
        job: JobId,
        /// Whether what is left of it is ended.
        is_canceled: bool,
    },
    /// The job is forgotten: its logs go too.
    Remove {
        /// The job.
        job: JobId,
        /// Its pipeline.
        pipeline: String,
        /// Why, for people.
        reason: String,
    },
    /// Somebody is told of the job.
    Tell {
        /// The job, as it is then.
        job: Arc<Job>,
        /// Of what.
        news: News,
    },
}

/// What somebody is told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// It has begun.
    Start,
    /// It has failed.
    Failure,
    /// It has not ended in time.
    Late,
}

/// A job that has changed.
#[derive(Debug, Clone)]
pub enum Change {
    /// It is new, or it is to be written as a whole.
    New(Arc<Job>),
    /// It is known; these of its tasks have changed.
    Update(Arc<Job>, BTreeSet<usize>),
    /// It is forgotten.
    Removed(JobId),
}

/// What is due at some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Delay,
    Timeout,
    TaskTimeout(usize),
    Retry(usize),
    Late,
}

#[derive(Default)]
struct Touched {
    is_new: bool,
    tasks: BTreeSet<usize>,
}

/// All jobs, who waits, and which deadlines there are.
#[derive(Default)]
pub struct State {
    definitions: Arc<Definitions>,
    jobs: HashMap<JobId, Arc<Job>>,
    /// All jobs of a pipeline, in the order in which they came.
    by_pipeline: HashMap<String, BTreeMap<u64, JobId>>,
    /// The wait lists.
    queues: HashMap<String, Vec<JobId>>,
    running: HashMap<String, BTreeSet<JobId>>,
    keys: HashMap<(String, String), JobId>,
    deadlines: BTreeSet<(Duration, JobId, Due)>,
    due: HashMap<JobId, BTreeMap<Due, Duration>>,
    next_number: u64,
    stopping: bool,
    /// What has changed since it was last asked for.
    touched: BTreeMap<JobId, Touched>,
    removed: Vec<JobId>,
    /// Pipelines where somebody might start.
    open: BTreeSet<String>,
    effects: Vec<Effect>,
}

impl State {
    /// The definitions in use.
    pub fn definitions(&self) -> &Arc<Definitions> {
        &self.definitions
    }

    /// A job.
    pub fn job(&self, id: JobId) -> Option<&Arc<Job>> {
        self.jobs.get(&id)
    }

    /// All jobs, in no order.
    pub fn jobs(&self) -> impl Iterator<Item = &Arc<Job>> {
        self.jobs.values()
    }

    /// How many jobs of a pipeline run.
    pub fn n_running(&self, pipeline: &str) -> usize {
        self.running.get(pipeline).map_or(0, BTreeSet::len)
    }

    /// Who waits, in order.
    pub fn queue(&self, pipeline: &str) -> &[JobId] {
        self.queues.get(pipeline).map_or(&[], Vec::as_slice)
    }

    /// Whether any job runs.
    pub fn is_any_running(&self) -> bool {
        self.running.values().any(|jobs| !jobs.is_empty())
    }

    /// Whether all jobs that run have only locks to give back. What is not given back now, the next start does.
    pub fn is_only_giving_back(&self) -> bool {
        let mut running = self.running.values().flatten();
        let gives_back = |hold: &Hold| matches!(hold, Hold::GivesBack(_));
        running.all(|id| {
            let job = &self.jobs[id];
            let mut tasks = job.tasks.iter();
            // A task that was done would be begun anew: it is waited for.
            gives_back(&job.hold)
                || (job.stopping.is_some()
                    && tasks.all(|task| task.status.is_over() || gives_back(&task.hold)))
        })
    }

    /// Whether the server ends.
    pub fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// When something is due next, on the clock that never goes back.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.deadlines.first().map(|(at, _, _)| *at)
    }

    /// Decides on what has happened.
    pub fn apply(&mut self, event: Event, now: Now) -> Vec<Effect> {
        match event {
            Event::Ended {
                job,
                task,
                attempt,
                how,
            } => self.ended(job, task, attempt, how, now),
            Event::Cancel(job) => self.cancel(job, now),
            Event::Locks(of, news) => self.locks(of, news, now),
            Event::Tick => self.tick(now),
            Event::Load(definitions) => {
                self.definitions = definitions;
                self.open.extend(self.queues.keys().cloned());
                self.sweep_all(now);
            }
            Event::Stop { forced } => self.stop(forced, now),
        }
        self.settle(now)
    }

    /// Starts who may start, and gives what is to be done.
    pub fn settle(&mut self, now: Now) -> Vec<Effect> {
        while let Some(pipeline) = self.open.pop_first() {
            self.start_waiting(&pipeline, now);
        }
        std::mem::take(&mut self.effects)
    }

    /// What has changed since it was last asked for.
    pub fn take_changes(&mut self) -> Vec<Change> {
        let touched = std::mem::take(&mut self.touched).into_iter();
        let mut changes: Vec<Change> = touched
            .filter_map(|(id, touched)| {
                let job = self.jobs.get(&id)?.clone();
                Some(match touched.is_new {
                    true => Change::New(job),
                    false => Change::Update(job, touched.tasks),
                })
            })
            .collect();
        changes.extend(self.removed.drain(..).map(Change::Removed));
        changes
    }

    /// A job that is to be changed; what is changed of its tasks goes through [`State::change_task`].
    fn change(&mut self, id: JobId) -> &mut Job {
        self.touched.entry(id).or_default();
        Arc::make_mut(
            self.jobs
                .get_mut(&id)
                .expect("whoever changes a job has seen it"),
        )
    }

    fn change_task(&mut self, id: JobId, task: usize) -> &mut crate::job::Task {
        self.touched.entry(id).or_default().tasks.insert(task);
        let job = Arc::make_mut(
            self.jobs
                .get_mut(&id)
                .expect("whoever changes a job has seen it"),
        );
        &mut job.tasks[task]
    }

    fn insert(&mut self, job: Job) {
        let touched = self.touched.entry(job.id).or_default();
        touched.is_new = true;
        self.next_number = self.next_number.max(job.number + 1);
        self.by_pipeline
            .entry(job.pipeline.clone())
            .or_default()
            .insert(job.number, job.id);
        if let Some(key) = &job.key {
            self.keys
                .insert((job.pipeline.clone(), key.clone()), job.id);
        }
        self.jobs.insert(job.id, Arc::new(job));
    }

    /// Forgets a job.
    fn remove(&mut self, id: JobId) {
        let Some(job) = self.jobs.remove(&id) else {
            return;
        };
        self.touched.remove(&id);
        if let Some(numbers) = self.by_pipeline.get_mut(&job.pipeline) {
            numbers.remove(&job.number);
            if numbers.is_empty() {
                self.by_pipeline.remove(&job.pipeline);
            }
        }
        if let Some(key) = &job.key {
            self.keys.remove(&(job.pipeline.clone(), key.clone()));
        }
        self.no_more_deadlines(id);
        self.removed.push(id);
    }

    fn set_deadline(&mut self, at: Duration, id: JobId, due: Due) {
        self.clear_deadline(id, due);
        self.deadlines.insert((at, id, due));
        self.due.entry(id).or_default().insert(due, at);
    }

    fn clear_deadline(&mut self, id: JobId, due: Due) {
        if let Some(known) = self.due.get_mut(&id)
            && let Some(at) = known.remove(&due)
        {
            self.deadlines.remove(&(at, id, due));
            if known.is_empty() {
                self.due.remove(&id);
            }
        }
    }

    fn no_more_deadlines(&mut self, id: JobId) {
        for (due, at) in self.due.remove(&id).unwrap_or_default() {
            self.deadlines.remove(&(at, id, due));
        }
    }
}

#[cfg(test)]
mod tests;

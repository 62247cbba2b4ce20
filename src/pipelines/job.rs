//! Jobs and their tasks: what is known of each run of a pipeline.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use uuid::Uuid;

use crate::definition::{self, ON_ERROR, Restart, Wish};
use crate::value::Variables;

/// The id of a job.
pub type JobId = Uuid;

/// A moment, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Time(pub i64);

impl Time {
    /// Now.
    pub fn now() -> Time {
        Time::from(SystemTime::now())
    }

    /// The time since an earlier moment; none if the clock was set back.
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or_default())
    }
}

impl From<SystemTime> for Time {
    fn from(time: SystemTime) -> Time {
        let millis = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        match time.duration_since(UNIX_EPOCH) {
            Ok(since) => Time(millis(since)),
            Err(before) => Time(-millis(before.duration())),
        }
    }
}

/// One run of a pipeline.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// Its place among all jobs, in the order in which they came.
    pub number: u64,
    /// The pipeline's name.
    pub pipeline: String,
    /// Who asked for it.
    pub user: String,
    /// Its partition of the wait list.
    pub partition: String,
    /// Its variables. Values that are secret are gone when it has ended, and never on disk.
    pub variables: Arc<Variables>,
    /// The names of those that are secret.
    pub secrets: BTreeSet<String>,
    /// What the client calls it, so that a repeated request makes no second one.
    pub key: Option<String>,
    /// When it came.
    pub created: Time,
    /// When it began.
    pub start: Option<Time>,
    /// When it ended.
    pub end: Option<Time>,
    /// Whether it ran to its end, however that was.
    pub completed: bool,
    /// Whether somebody canceled it, or it lost its place.
    pub canceled: bool,
    /// The first thing that went wrong.
    pub last_error: Option<String>,
    /// The place of the task that failed first, as long as the server runs.
    pub failed: Option<usize>,
    /// How the pipeline was when the job came.
    pub plan: Arc<Plan>,
    /// Its tasks, in the order in which they are listed.
    pub tasks: Vec<Task>,
    /// Why no more tasks are started, if that is so.
    pub stopping: Option<Stopping>,
    /// Whether its time to wait at least is not over.
    pub is_delayed: bool,
    /// How it is with its locks.
    pub hold: Hold,
}

/// How a job is with the locks that it is to hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Hold {
    /// It holds none: it needs none, has not asked yet, or has given them back.
    #[default]
    Nothing,
    /// It waits for them: what for, and what is known of that.
    Waits(String),
    /// It holds these.
    Holds(Vec<Lock>),
    /// It gives back what it holds, or may hold.
    GivesBack(Vec<Lock>),
}

/// A lock that a job holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    /// Its pool.
    pub pool: String,
    /// Its name.
    pub name: String,
}

/// Who holds locks: a job, for all of its tasks, or one of its tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Holder {
    /// The job.
    pub job: JobId,
    /// The place of the task, if it is one.
    pub task: Option<usize>,
}

impl Hold {
    /// The locks that are held, as far as is known.
    pub fn locks(&self) -> &[Lock] {
        match self {
            Hold::Nothing | Hold::Waits(_) => &[],
            Hold::Holds(locks) | Hold::GivesBack(locks) => locks,
        }
    }
}

/// What of a pipeline does not change for a job once it has come.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plan {
    /// The environment of the tasks.
    pub env: BTreeMap<String, String>,
    /// How long it waits at least.
    pub delay: Duration,
    /// For how long it may run.
    pub timeout: Option<Duration>,
    /// Whether tasks get the variables in their environment.
    pub env_from_variables: bool,
    /// What becomes of it when the server ends in its midst.
    pub restart: Restart,
    /// What it holds while it runs.
    pub locks: Vec<Wish>,
}

/// Why no more tasks of a job are started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopping {
    /// A task failed.
    Failed,
    /// It ran for too long.
    TimedOut,
    /// Somebody canceled it.
    Canceled,
    /// The server ends, and begins it anew the next time.
    Requeued,
    /// It holds its locks no more, or could not get them.
    Lost,
}

/// A task of a job.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// What it is to do.
    pub definition: Arc<definition::Task>,
    /// How far it is.
    pub status: Status,
    /// When it began.
    pub start: Option<Time>,
    /// When it ended.
    pub end: Option<Time>,
    /// As a shell gives it: 0 for success, -1 where there is none.
    pub exit_code: i32,
    /// Whether it failed, and that counts.
    pub errored: bool,
    /// What went wrong.
    pub error: Option<String>,
    /// How often it was tried before.
    pub attempt: u32,
    /// Whether its process runs, rather than the pause before the next attempt.
    pub is_at_work: bool,
    /// Whether it is stopped since it ran for too long.
    pub timed_out: bool,
    /// How it is with its own locks. What is over holds none.
    pub hold: Hold,
    /// Why its locks are not held any more, if it is stopped since then.
    pub lost: Option<String>,
    /// How it ends once its locks are given back.
    pub outcome: Option<Outcome>,
}

/// How a task ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What it is then.
    pub status: Status,
    /// As a shell gives it.
    pub code: i32,
    /// What went wrong.
    pub error: Option<String>,
    /// Whether it is a failure of its own, which may stop the others.
    pub fails: bool,
}

impl Outcome {
    /// It was stopped, or never began.
    pub fn canceled() -> Outcome {
        Outcome {
            status: Status::Canceled,
            code: -1,
            error: None,
            fails: false,
        }
    }
}

/// How far a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// It has not begun.
    Waiting,
    /// It has begun.
    Running,
    /// It is done.
    Done,
    /// It failed.
    Error,
    /// It was stopped, or it will never begin.
    Canceled,
    /// It was done by the job that this one is a repetition of.
    Skipped,
}

impl Status {
    /// Whether it is over.
    pub fn is_over(self) -> bool {
        !matches!(self, Status::Waiting | Status::Running)
    }

    /// As clients know it.
    pub fn name(self) -> &'static str {
        match self {
            Status::Waiting => "waiting",
            Status::Running => "running",
            Status::Done => "done",
            Status::Error => "error",
            Status::Canceled => "canceled",
            Status::Skipped => "skipped",
        }
    }

    /// The status of a name.
    pub fn parse(name: &str) -> Option<Status> {
        use Status::{Canceled, Done, Error, Running, Skipped, Waiting};
        [Waiting, Running, Done, Error, Canceled, Skipped]
            .into_iter()
            .find(|status| status.name() == name)
    }
}

/// The state of a job, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It has not begun.
    Waiting,
    /// It would begin, and waits for its locks.
    Locking,
    /// It runs.
    Running,
    /// It ended well.
    Succeeded,
    /// A task of it failed.
    Failed,
    /// It was canceled.
    Canceled,
}

impl Phase {
    /// All there are.
    pub const ALL: [Phase; 6] = [
        Phase::Waiting,
        Phase::Locking,
        Phase::Running,
        Phase::Succeeded,
        Phase::Failed,
        Phase::Canceled,
    ];

    /// As clients and metrics know it.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Waiting => "waiting",
            Phase::Locking => "locking",
            Phase::Running => "running",
            Phase::Succeeded => "succeeded",
            Phase::Failed => "failed",
            Phase::Canceled => "canceled",
        }
    }
}

impl Job {
    /// Whether nothing of it will change any more.
    pub fn is_finished(&self) -> bool {
        self.completed || self.canceled
    }

    /// Whether it has begun and not ended.
    pub fn is_running(&self) -> bool {
        self.start.is_some() && !self.is_finished()
    }

    /// Whether it has left the wait list and not ended: it runs, or it waits for its locks, or gives them back.
    pub fn is_under_way(&self) -> bool {
        (self.start.is_some() || self.hold != Hold::Nothing) && !self.is_finished()
    }

    /// How it, or a task of it, is with its locks.
    pub fn hold_of(&self, task: Option<usize>) -> &Hold {
        match task.map(|at| self.tasks.get(at)) {
            None => &self.hold,
            Some(task) => task.map_or(&Hold::Nothing, |task| &task.hold),
        }
    }

    /// What it, or a task of it, is to hold.
    pub fn wishes_of(&self, task: Option<usize>) -> &[Wish] {
        match task.map(|at| self.tasks.get(at)) {
            None => &self.plan.locks,
            Some(task) => task.map_or(&[], |task| &task.definition.locks),
        }
    }

    /// Itself and those of its tasks that hold locks, or may.
    pub fn holders(&self) -> impl Iterator<Item = Holder> {
        let tasks = (0..self.tasks.len()).map(Some);
        let all = std::iter::once(None).chain(tasks);
        all.filter(move |task| *self.hold_of(*task) != Hold::Nothing)
            .map(move |task| Holder { job: self.id, task })
    }

    /// How long it took, once it has ended.
    pub fn took(&self) -> Option<Duration> {
        Some(self.end?.since(self.start?))
    }

    /// Whether any task of it failed.
    pub fn errored(&self) -> bool {
        self.tasks.iter().any(|task| task.errored)
    }

    /// Its state.
    pub fn phase(&self) -> Phase {
        if self.canceled {
            Phase::Canceled
        } else if self.completed && (self.errored() || self.last_error.is_some()) {
            Phase::Failed
        } else if self.completed {
            Phase::Succeeded
        } else if self.start.is_some() {
            Phase::Running
        } else if self.hold != Hold::Nothing {
            Phase::Locking
        } else {
            Phase::Waiting
        }
    }

    /// A task by its name.
    pub fn task(&self, name: &str) -> Option<&Task> {
        self.tasks.iter().find(|task| task.definition.name == name)
    }

    /// The task of which the failure is the job's: the first that ended with one.
    pub fn first_failed(&self) -> Option<&Task> {
        self.tasks.get(self.failed?)
    }

    /// As it may be shown and kept: without secrets.
    pub fn public_variables(&self) -> Variables {
        let mut variables = Variables::clone(&self.variables);
        for name in &self.secrets {
            if let Some(value) = variables.get_mut(name) {
                *value = crate::value::Value::Text("***".to_owned());
            }
        }
        variables
    }
}

impl Task {
    /// One that has not begun.
    pub fn new(definition: Arc<definition::Task>) -> Task {
        Task {
            definition,
            status: Status::Waiting,
            start: None,
            end: None,
            exit_code: 0,
            errored: false,
            error: None,
            attempt: 0,
            is_at_work: false,
            timed_out: false,
            hold: Hold::Nothing,
            lost: None,
            outcome: None,
        }
    }

    /// Whether it is what runs after a failure.
    pub fn is_handler(&self) -> bool {
        self.definition.name == ON_ERROR
    }

    /// Whether those that depend on it may start.
    pub fn is_satisfied(&self) -> bool {
        matches!(self.status, Status::Done | Status::Skipped)
    }
}

//! Documents as clients read them.

use serde::Serialize;

use crate::job::{self, Hold, Time};
use crate::value::Variables;
use crate::view::PipelineState;

/// Something went wrong.
#[derive(Debug, Serialize)]
pub struct Error {
    /// What.
    pub error: String,
}

/// A job was accepted.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Scheduled {
    /// Its id.
    pub job_id: String,
}

/// All pipelines.
#[derive(Debug, Serialize)]
pub struct Pipelines {
    /// By name.
    pub pipelines: Vec<Pipeline>,
}

/// A pipeline.
#[derive(Debug, Serialize)]
pub struct Pipeline {
    pipeline: String,
    schedulable: bool,
    running: bool,
}

impl Pipeline {
    /// What is shown of a pipeline.
    pub fn of(state: &PipelineState) -> Pipeline {
        Pipeline {
            pipeline: state.name.clone(),
            schedulable: state.is_schedulable,
            running: state.is_running,
        }
    }
}

/// A job.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    id: String,
    pipeline: String,
    tasks: Vec<Task>,
    completed: bool,
    canceled: bool,
    errored: bool,
    created: Option<String>,
    start: Option<String>,
    end: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<String>,
    #[serde(skip_serializing_if = "Variables::is_empty")]
    variables: Variables,
    user: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    queue_partition: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting_for: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    locks: Vec<Lock>,
}

/// A lock that a job or a task holds.
#[derive(Debug, Serialize)]
pub struct Lock {
    pool: String,
    name: String,
}

/// A task of a job.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Task {
    name: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    depends_on: Vec<String>,
    status: &'static str,
    start: Option<String>,
    end: Option<String>,
    skipped: bool,
    exit_code: i32,
    errored: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "is_first")]
    attempt: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting_for: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    locks: Vec<Lock>,
}

fn is_first(attempt: &u32) -> bool {
    *attempt == 0
}

/// Whole seconds, in UTC: clients in PHP read no fractions.
fn time(time: Time) -> Option<String> {
    terminal::time::time(time.0.div_euclid(1000))
}

impl Job {
    /// What is shown of a job.
    pub fn of(job: &job::Job) -> Job {
        Job {
            id: job.id.to_string(),
            pipeline: job.pipeline.clone(),
            tasks: job.tasks.iter().map(Task::of).collect(),
            completed: job.completed,
            canceled: job.canceled,
            errored: job.errored() || (job.completed && !job.canceled && job.last_error.is_some()),
            created: time(job.created),
            start: job.start.and_then(time),
            end: job.end.and_then(time),
            last_error: job.last_error.clone(),
            variables: job.public_variables(),
            user: job.user.clone(),
            queue_partition: job.partition.clone(),
            waiting_for: waiting_for(&job.hold),
            locks: job.hold.locks().iter().map(Lock::of).collect(),
        }
    }
}

fn waiting_for(hold: &Hold) -> Option<String> {
    match hold {
        Hold::Waits(words) => Some(words.clone()),
        Hold::Nothing | Hold::Holds(_) | Hold::GivesBack(_) => None,
    }
}

impl Lock {
    fn of(lock: &job::Lock) -> Lock {
        Lock {
            pool: lock.pool.clone(),
            name: lock.name.clone(),
        }
    }
}

impl Task {
    fn of(task: &job::Task) -> Task {
        Task {
            name: task.definition.name.clone(),
            depends_on: task.definition.depends_on.clone(),
            status: task.status.name(),
            start: task.start.and_then(time),
            end: task.end.and_then(time),
            skipped: task.status == job::Status::Skipped,
            exit_code: task.exit_code,
            errored: task.errored,
            error: task.error.clone(),
            attempt: task.attempt,
            waiting_for: waiting_for(&task.hold),
            locks: task.hold.locks().iter().map(Lock::of).collect(),
        }
    }
}

/// What a webhook is told.
#[derive(Debug, Serialize)]
pub struct Told {
    /// `start`, `failure` or `late`.
    pub event: &'static str,
    /// The job.
    pub job: Job,
}

/// Text that a task has written.
#[derive(Debug, Serialize)]
pub struct Text<'a> {
    /// The text.
    pub text: &'a str,
}

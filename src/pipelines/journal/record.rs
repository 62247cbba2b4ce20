//! The records of the journal, as they are written.

mod locks;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::definition::{self, Restart, Retry, Wish};
use crate::job::{Hold, Job, JobId, Plan, Status, Stopping, Task, Time};
use crate::rules::Change;
use crate::value::Variables;
use locks::Held;

/// One line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Record {
    /// The file begins.
    Begin,
    /// A job, as a whole.
    Job(Box<Whole>),
    /// What is new of a job.
    Change(News),
    /// A job is forgotten.
    Forget(Id),
}

/// An id, as text.
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Id(String);

impl Id {
    fn id(&self) -> Result<JobId, String> {
        JobId::parse_str(&self.0).map_err(|err| err.to_string())
    }
}

/// What may change of a job.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct News {
    id: Id,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    start: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    end: Option<i64>,
    #[serde(default, skip_serializing_if = "is_false")]
    completed: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    canceled: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_error: Option<String>,
    #[serde(default, skip_serializing_if = "is_false")]
    delayed: bool,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    tasks: BTreeMap<usize, Progress>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    locks: Option<Held>,
    /// Why it ends before its tasks have ended, if it does: whoever was told that a job is canceled is not to find it run again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stopping: Option<Reason>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Reason {
    Failed,
    TimedOut,
    Canceled,
    Requeued,
    Lost,
}

impl From<Stopping> for Reason {
    fn from(why: Stopping) -> Reason {
        match why {
            Stopping::Failed => Reason::Failed,
            Stopping::TimedOut => Reason::TimedOut,
            Stopping::Canceled => Reason::Canceled,
            Stopping::Requeued => Reason::Requeued,
            Stopping::Lost => Reason::Lost,
        }
    }
}

impl From<Reason> for Stopping {
    fn from(why: Reason) -> Stopping {
        match why {
            Reason::Failed => Stopping::Failed,
            Reason::TimedOut => Stopping::TimedOut,
            Reason::Canceled => Stopping::Canceled,
            Reason::Requeued => Stopping::Requeued,
            Reason::Lost => Stopping::Lost,
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Progress {
    status: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    start: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    end: Option<i64>,
    #[serde(default, skip_serializing_if = "is_zero")]
    exit_code: i32,
    #[serde(default, skip_serializing_if = "is_false")]
    errored: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(default, skip_serializing_if = "is_zero")]
    attempt: i32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    locks: Option<Held>,
}

/// A job, as a whole.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Whole {
    news: News,
    number: u64,
    pipeline: String,
    user: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    partition: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    created: i64,
    // As text: numbers are to be what they were, and no other reader may come between.
    variables: String,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    secrets: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    env: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "is_none")]
    delay: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timeout: Option<u64>,
    #[serde(default, skip_serializing_if = "is_false")]
    env_from_variables: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    requeue: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    wishes: Vec<Wish>,
    plan: Vec<Definition>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Definition {
    name: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    script: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    depends_on: Vec<String>,
    #[serde(default, skip_serializing_if = "is_false")]
    allow_failure: bool,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    env: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timeout: Option<u64>,
    #[serde(default, skip_serializing_if = "is_zero")]
    retries: i32,
    #[serde(default, skip_serializing_if = "is_none")]
    retry_delay: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    wishes: Vec<Wish>,
}

fn is_false(value: &bool) -> bool {
    !value
}

fn is_zero(value: &i32) -> bool {
    *value == 0
}

fn is_none(value: &u64) -> bool {
    *value == 0
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl Record {
    /// The record of a change.
    pub(super) fn of(change: &Change) -> Record {
        match change {
            Change::New(job) => Record::Job(Box::new(Whole::of(job))),
            Change::Update(job, tasks) => Record::Change(News::of(job, tasks.iter().copied())),
            Change::Removed(id) => Record::Forget(Id(id.to_string())),
        }
    }

    /// Does to the jobs what the record says.
    pub(super) fn apply(self, jobs: &mut BTreeMap<JobId, Arc<Job>>) -> Result<(), String> {
        match self {
            Record::Begin => {}
            Record::Job(whole) => {
                let job = whole.job()?;
                jobs.insert(job.id, Arc::new(job));
            }
            Record::Change(news) => {
                let id = news.id.id()?;
                let job = jobs
                    .get_mut(&id)
                    .ok_or_else(|| format!("it is about the job {id}, which is unknown"))?;
                news.apply(Arc::make_mut(job))?;
            }
            Record::Forget(id) => {
                jobs.remove(&id.id()?);
            }
        }
        Ok(())
    }
}

impl News {
    fn of(job: &Job, tasks: impl Iterator<Item = usize>) -> News {
        News {
            id: Id(job.id.to_string()),
            start: job.start.map(|time| time.0),
            end: job.end.map(|time| time.0),
            completed: job.completed,
            canceled: job.canceled,
            last_error: job.last_error.clone(),
            delayed: job.is_delayed,
            tasks: tasks
                .filter_map(|at| Some((at, Progress::of(job.tasks.get(at)?))))
                .collect(),
            locks: Held::of(&job.hold),
            stopping: job.stopping.map(Reason::from),
        }
    }

    fn apply(self, job: &mut Job) -> Result<(), String> {
        job.start = self.start.map(Time);
        job.end = self.end.map(Time);
        job.completed = self.completed;
        job.canceled = self.canceled;
        job.last_error = self.last_error;
        job.is_delayed = self.delayed;
        job.hold = self.locks.map(Held::hold).unwrap_or_default();
        job.stopping = self.stopping.map(Stopping::from);
        for (at, progress) in self.tasks {
            let task = job
                .tasks
                .get_mut(at)
                .ok_or_else(|| format!("it is about task {at}, which there is not"))?;
            progress.apply(task)?;
        }
        Ok(())
    }
}

impl Progress {
    fn of(task: &Task) -> Progress {
        Progress {
            status: task.status.name().to_owned(),
            start: task.start.map(|time| time.0),
            end: task.end.map(|time| time.0),
            exit_code: task.exit_code,
            errored: task.errored,
            error: task.error.clone(),
            attempt: i32::try_from(task.attempt).unwrap_or(i32::MAX),
            locks: Held::of(&task.hold),
        }
    }

    fn apply(self, task: &mut Task) -> Result<(), String> {
        task.status = Status::parse(&self.status)
            .ok_or_else(|| format!("there is no status {}", self.status))?;
        task.start = self.start.map(Time);
        task.end = self.end.map(Time);
        task.exit_code = self.exit_code;
        task.errored = self.errored;
        task.error = self.error;
        task.attempt = u32::try_from(self.attempt).unwrap_or_default();
        task.hold = self.locks.map(Held::hold).unwrap_or_default();
        Ok(())
    }
}

impl Whole {
    fn of(job: &Job) -> Whole {
        Whole {
            news: News::of(job, 0..job.tasks.len()),
            number: job.number,
            pipeline: job.pipeline.clone(),
            user: job.user.clone(),
            partition: job.partition.clone(),
            key: job.key.clone(),
            created: job.created.0,
            variables: serde_json::to_string(&job.public_variables())
                .expect("variables have only texts for keys"),
            secrets: job.secrets.clone(),
            env: job.plan.env.clone(),
            delay: nanos(job.plan.delay),
            timeout: job.plan.timeout.map(nanos),
            env_from_variables: job.plan.env_from_variables,
            requeue: job.plan.restart == Restart::Requeue,
            wishes: job.plan.locks.clone(),
            plan: job
                .tasks
                .iter()
                .map(|task| Definition::of(&task.definition))
                .collect(),
        }
    }

    fn job(self) -> Result<Job, String> {
        let variables: Variables =
            serde_json::from_str(&self.variables).map_err(|err| err.to_string())?;
        let tasks = self
            .plan
            .into_iter()
            .map(|definition| Task::new(Arc::new(definition.task())));
        let mut job = Job {
            id: self.news.id.id()?,
            number: self.number,
            pipeline: self.pipeline,
            user: self.user,
            partition: self.partition,
            variables: Arc::new(variables),
            secrets: self.secrets,
            key: self.key,
            created: Time(self.created),
            start: None,
            end: None,
            completed: false,
            canceled: false,
            last_error: None,
            failed: None,
            plan: Arc::new(Plan {
                env: self.env,
                delay: Duration::from_nanos(self.delay),
                timeout: self.timeout.map(Duration::from_nanos),
                env_from_variables: self.env_from_variables,
                restart: if self.requeue {
                    Restart::Requeue
                } else {
                    Restart::Cancel
                },
                locks: self.wishes,
            }),
            tasks: tasks.collect(),
            stopping: None,
            is_delayed: false,
            hold: Hold::Nothing,
        };
        self.news.apply(&mut job)?;
        Ok(job)
    }
}

impl Definition {
    fn of(task: &definition::Task) -> Definition {
        Definition {
            name: task.name.clone(),
            script: task.script.clone(),
            depends_on: task.depends_on.clone(),
            allow_failure: task.allow_failure,
            env: task.env.clone(),
            timeout: task.timeout.map(nanos),
            retries: i32::try_from(task.retry.max).unwrap_or(i32::MAX),
            retry_delay: nanos(task.retry.delay),
            wishes: task.locks.clone(),
        }
    }

    fn task(self) -> definition::Task {
        definition::Task {
            name: self.name,
            script: self.script,
            depends_on: self.depends_on,
            allow_failure: self.allow_failure,
            env: self.env,
            timeout: self.timeout.map(Duration::from_nanos),
            retry: Retry {
                max: u32::try_from(self.retries).unwrap_or_default(),
                delay: Duration::from_nanos(self.retry_delay),
            },
            locks: self.wishes,
        }
    }
}

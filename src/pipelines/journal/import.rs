//! The file of the original: read once.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::Deserializer;

use super::{JournalError, io_error};
use crate::definition::{self};
use crate::job::{Hold, Job, JobId, Plan, Status, Task, Time};
use crate::value::Variables;

const FILE: &str = "data.json";

#[derive(Deserialize)]
struct Store {
    #[serde(rename = "Jobs", default, deserialize_with = "or_none")]
    jobs: Vec<StoredJob>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct StoredJob {
    #[serde(rename = "ID")]
    id: String,
    pipeline: String,
    #[serde(default)]
    completed: bool,
    #[serde(default)]
    canceled: bool,
    created: Moment,
    start: Option<Moment>,
    end: Option<Moment>,
    #[serde(default, deserialize_with = "or_none")]
    variables: Variables,
    #[serde(default)]
    user: String,
    #[serde(default, deserialize_with = "or_none")]
    tasks: Vec<StoredTask>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StoredTask {
    name: String,
    #[serde(default, deserialize_with = "or_none")]
    script: Vec<String>,
    #[serde(default, deserialize_with = "or_none")]
    depends_on: Vec<String>,
    #[serde(default)]
    allow_failure: bool,
    #[serde(default)]
    status: String,
    start: Option<Moment>,
    end: Option<Moment>,
    #[serde(default)]
    exit_code: i32,
    #[serde(default)]
    errored: bool,
    error: Option<String>,
}

/// A moment with an offset, as Go writes it.
#[derive(Clone, Copy)]
struct Moment(Time);

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Moment, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time = terminal::time::parse(&text);
        let time =
            time.ok_or_else(|| serde::de::Error::custom(format_args!("`{text}` is no time")))?;
        Ok(Moment(Time::from(time)))
    }
}

fn or_none<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// Reads the file, if there is one.
pub(super) fn read(folder: &Path) -> Result<Option<Vec<StoredJob>>, JournalError> {
    let path = folder.join(FILE);
    let text = match fs::read(&path) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(io_error("cannot read", &path))?,
    };
    let store: Store =
        serde_json::from_slice(&text).map_err(|err| JournalError::Import(err.to_string()))?;
    for job in &store.jobs {
        JobId::parse_str(&job.id)
            .map_err(|err| JournalError::Import(format!("job id `{}`: {err}", job.id)))?;
    }
    Ok(Some(store.jobs))
}

/// Adds its jobs to those that are known, and says how many.
pub(super) fn add(mut stored: Vec<StoredJob>, jobs: &mut BTreeMap<JobId, Arc<Job>>) -> usize {
    stored.sort_by_key(|job| job.created.0);
    let mut number = jobs
        .values()
        .map(|job| job.number + 1)
        .max()
        .unwrap_or_default();
    let mut n_added = 0;
    for job in stored {
        let Some(job) = convert(job, number) else {
            continue;
        };
        // One that an import brought in before which a crash had cut short.
        if let Entry::Vacant(place) = jobs.entry(job.id) {
            place.insert(Arc::new(job));
            number += 1;
            n_added += 1;
        }
    }
    n_added
}

/// Marks the file as read; says whether there was one.
pub(super) fn done(folder: &Path) -> Result<bool, JournalError> {
    let path = folder.join(FILE);
    match fs::rename(&path, folder.join("data.json.imported")) {
        Ok(()) => {
            let _ = File::open(folder).and_then(|folder| folder.sync_all());
            Ok(true)
        }
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(err) => Err(io_error("cannot rename", &path)(err)),
    }
}

fn convert(job: StoredJob, number: u64) -> Option<Job> {
    let is_over = job.completed || job.canceled;
    let tasks: Vec<Task> = job
        .tasks
        .into_iter()
        .map(|task| convert_task(task, is_over))
        .collect();
    let errored = tasks.iter().find(|task| task.errored);
    let last_error = errored.and_then(|task| task.error.clone());
    // A failed job was called canceled when others had to be stopped.
    let canceled = job.canceled && !(job.completed && errored.is_some());
    Some(Job {
        id: JobId::parse_str(&job.id).ok()?,
        number,
        pipeline: job.pipeline,
        user: job.user,
        partition: String::new(),
        variables: Arc::new(job.variables),
        secrets: Default::default(),
        key: None,
        created: job.created.0,
        start: job.start.map(|time| time.0),
        end: job.end.map(|time| time.0),
        completed: job.completed,
        canceled,
        last_error,
        failed: None,
        plan: Arc::new(Plan::default()),
        tasks,
        stopping: None,
        is_delayed: false,
        hold: Hold::Nothing,
    })
}

fn convert_task(stored: StoredTask, is_over: bool) -> Task {
    let mut task = Task::new(Arc::new(definition::Task {
        name: stored.name,
        script: stored.script,
        depends_on: stored.depends_on,
        allow_failure: stored.allow_failure,
        ..definition::Task::default()
    }));
    task.status = match Status::parse(&stored.status).unwrap_or(Status::Waiting) {
        Status::Waiting | Status::Running if is_over => Status::Canceled,
        status => status,
    };
    task.start = stored.start.map(|time| time.0);
    task.end = stored.end.map(|time| time.0);
    let is_success = task.status == Status::Done && stored.exit_code == -1;
    task.exit_code = if is_success { 0 } else { stored.exit_code };
    task.errored = stored.errored;
    task.error = stored.error;
    task
}

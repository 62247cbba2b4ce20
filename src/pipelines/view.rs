//! What readers see: jobs and pipelines as they are on disk, and what has changed lately.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use tokio::sync::watch;

use crate::definition::Definitions;
use crate::job::{Job, JobId};

/// How many changes are kept for readers who come back.
const KEPT: usize = 1024;

/// How a pipeline is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipelineState {
    /// Its name.
    pub name: String,
    /// Whether a request would be accepted.
    pub is_schedulable: bool,
    /// Whether a job runs.
    pub is_running: bool,
}

/// What has changed.
#[derive(Debug, Clone)]
pub enum Update {
    /// A job is new or different.
    Job(Arc<Job>),
    /// A job is forgotten.
    Removed(Arc<Job>),
}

impl Update {
    /// The job.
    pub fn job(&self) -> &Arc<Job> {
        match self {
            Update::Job(job) | Update::Removed(job) => job,
        }
    }
}

/// What readers see.
#[derive(Debug, Default)]
pub struct Seen {
    /// All jobs, in the order in which they came.
    pub jobs: BTreeMap<u64, Arc<Job>>,
    numbers: HashMap<JobId, u64>,
    /// All pipelines, by name.
    pub pipelines: BTreeMap<String, PipelineState>,
    /// The definitions in use.
    pub definitions: Arc<Definitions>,
    updates: VecDeque<(u64, Update)>,
    next: u64,
}

/// What has changed since some time.
#[derive(Debug)]
pub enum Since {
    /// All of it: each with its number.
    Updates(Vec<(u64, Update)>),
    /// Too much: the number from which on it is known.
    TooLate(u64),
}

impl Seen {
    /// A job.
    pub fn job(&self, id: JobId) -> Option<&Arc<Job>> {
        self.jobs.get(self.numbers.get(&id)?)
    }

    /// The number of the newest change.
    pub fn newest(&self) -> u64 {
        self.next
    }

    /// What has changed since the change of this number.
    pub fn since(&self, number: u64) -> Since {
        let oldest = self
            .updates
            .front()
            .map_or(self.next, |(number, _)| number - 1);
        if number < oldest || number > self.next {
            return Since::TooLate(self.next);
        }
        let new = self.updates.iter().filter(|(at, _)| *at > number);
        Since::Updates(new.cloned().collect())
    }

    fn note(&mut self, update: Update) {
        self.next += 1;
        self.updates.push_back((self.next, update));
        if self.updates.len() > KEPT {
            self.updates.pop_front();
        }
    }

    /// Shows a job as it is now, and gives it as it was.
    pub(crate) fn put(&mut self, job: Arc<Job>) -> Option<Arc<Job>> {
        self.numbers.insert(job.id, job.number);
        self.note(Update::Job(job.clone()));
        self.jobs.insert(job.number, job)
    }

    /// Shows a job no more.
    pub(crate) fn remove(&mut self, id: JobId) {
        if let Some(job) = self
            .numbers
            .remove(&id)
            .and_then(|number| self.jobs.remove(&number))
        {
            self.note(Update::Removed(job));
        }
    }
}

/// What readers see, and a way to wait for more.
#[derive(Debug)]
pub struct View {
    /// Differs each time the server is started.
    run: String,
    seen: RwLock<Seen>,
    changed: watch::Sender<u64>,
}

impl View {
    /// One that shows nothing yet.
    pub fn new() -> View {
        let run = uuid::Uuid::new_v4().simple().to_string();
        View {
            run,
            seen: RwLock::default(),
            changed: watch::Sender::new(0),
        }
    }

    /// What numbers of changes are of this time only.
    pub fn run(&self) -> &str {
        &self.run
    }

    /// Looks. Not to be kept across anything that waits.
    pub fn look(&self) -> RwLockReadGuard<'_, Seen> {
        // Nobody panics in the midst of a change.
        self.seen.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells of changes: the number of the newest.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Seen) -> T) -> T {
        let mut seen = self.seen.write().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut seen);
        let newest = seen.newest();
        drop(seen);
        self.changed
            .send_if_modified(|known| std::mem::replace(known, newest) != newest);
        result
    }
}

impl Default for View {
    fn default() -> View {
        View::new()
    }
}

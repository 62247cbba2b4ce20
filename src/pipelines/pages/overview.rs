//! Pipelines at a glance: how their last jobs ended, how long they take, and who waits.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::job::{Job, Phase};
use crate::view::{Seen, View};

/// How many jobs that have ended are shown.
const SHOWN: usize = 10;
/// How many successes the usual duration is of.
const MEASURED: usize = 20;

/// A pipeline.
#[derive(Debug, Clone, Default)]
pub(super) struct Glance {
    /// The jobs that ended last, the newest first.
    pub(super) last: Vec<Arc<Job>>,
    /// How many run, or wait for locks.
    pub(super) n_running: usize,
    /// How many are on the wait list.
    pub(super) n_waiting: usize,
    /// How long it took in the middle of the last successes.
    pub(super) usual: Option<Duration>,
    took: Vec<Duration>,
}

impl Glance {
    /// The last job that says something about the pipeline: it was not canceled.
    pub(super) fn last_told(&self) -> Option<&Arc<Job>> {
        self.last.iter().find(|job| job.phase() != Phase::Canceled)
    }

    fn add(&mut self, job: &Arc<Job>) {
        match job.phase() {
            Phase::Waiting => self.n_waiting += 1,
            Phase::Locking | Phase::Running => self.n_running += 1,
            Phase::Succeeded | Phase::Failed | Phase::Canceled => {
                if self.last.len() < SHOWN {
                    self.last.push(job.clone());
                }
                if self.took.len() < MEASURED && job.phase() == Phase::Succeeded {
                    self.took.extend(job.took());
                }
            }
        }
    }

    fn finish(&mut self) {
        self.took.sort_unstable();
        self.usual = self.took.get(self.took.len() / 2).copied();
    }
}

/// All pipelines by name, those too that are defined no more and have jobs.
pub(super) type Overview = BTreeMap<String, Glance>;

fn of(seen: &Seen) -> Overview {
    let mut all: Overview = seen
        .pipelines
        .keys()
        .map(|name| (name.clone(), Glance::default()))
        .collect();
    for job in seen.jobs.values().rev() {
        match all.get_mut(&job.pipeline) {
            Some(glance) => glance.add(job),
            None => all.entry(job.pipeline.clone()).or_default().add(job),
        }
    }
    all.values_mut().for_each(Glance::finish);
    all
}

/// The overview of the last change: any number of readers cost one.
#[derive(Debug, Default)]
pub(super) struct Kept(Mutex<Option<(u64, usize, Arc<Overview>)>>);

impl Kept {
    /// The overview as it is now.
    pub(super) fn of(&self, view: &View) -> Arc<Overview> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = view.look();
        // A load of definitions is no change of a job.
        let (newest, set) = (seen.newest(), Arc::as_ptr(&seen.definitions) as usize);
        if let Some((at, of, overview)) = &*kept
            && (*at, *of) == (newest, set)
        {
            return overview.clone();
        }
        let overview = Arc::new(of(&seen));
        *kept = Some((newest, set, overview.clone()));
        overview
    }
}

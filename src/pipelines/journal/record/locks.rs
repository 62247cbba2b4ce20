//! How a job is with its locks, as it is written.

use serde::{Deserialize, Serialize};

use crate::job::{Hold, Job, Lock, Stopping};

/// How a job is with its locks. The next server gives back what this one has claimed, or may have.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Locks {
    hold: Phase,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    held: Vec<(String, String)>,
    /// Why it gives them back before its tasks have ended, if that is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stopping: Option<Reason>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Phase {
    Waits,
    Holds,
    GivesBack,
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

impl Locks {
    /// What is to be known of a job, if it has anything to do with locks.
    pub(super) fn of(job: &Job) -> Option<Locks> {
        let hold = match job.hold {
            Hold::Nothing => return None,
            Hold::Waits(_) => Phase::Waits,
            Hold::Holds(_) => Phase::Holds,
            Hold::GivesBack(_) => Phase::GivesBack,
        };
        let held = job.hold.locks().iter();
        Some(Locks {
            hold,
            held: held
                .map(|lock| (lock.pool.clone(), lock.name.clone()))
                .collect(),
            stopping: job.stopping.map(|why| match why {
                Stopping::Failed => Reason::Failed,
                Stopping::TimedOut => Reason::TimedOut,
                Stopping::Canceled => Reason::Canceled,
                Stopping::Requeued => Reason::Requeued,
                Stopping::Lost => Reason::Lost,
            }),
        })
    }

    /// What a job is then, and why it is ending.
    pub(super) fn state(self) -> (Hold, Option<Stopping>) {
        let held = self.held.into_iter();
        let held = held.map(|(pool, name)| Lock { pool, name }).collect();
        let hold = match self.hold {
            Phase::Waits => Hold::Waits(String::new()),
            Phase::Holds => Hold::Holds(held),
            Phase::GivesBack => Hold::GivesBack(held),
        };
        let stopping = self.stopping.map(|why| match why {
            Reason::Failed => Stopping::Failed,
            Reason::TimedOut => Stopping::TimedOut,
            Reason::Canceled => Stopping::Canceled,
            Reason::Requeued => Stopping::Requeued,
            Reason::Lost => Stopping::Lost,
        });
        (hold, stopping)
    }
}

//! How a job is with its locks, as it is written.

use serde::{Deserialize, Serialize};

use crate::job::{Hold, Job, Lock, Stopping};

/// How a job, or a task of it, is with its locks. The next server gives back what this one has claimed, or may have.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Held {
    hold: Phase,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    held: Vec<(String, String)>,
}

/// How a job is with its locks.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Locks {
    #[serde(flatten)]
    held: Held,
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

impl Held {
    /// What is to be known, if there is anything.
    pub(super) fn of(hold: &Hold) -> Option<Held> {
        let phase = match hold {
            Hold::Nothing => return None,
            Hold::Waits(_) => Phase::Waits,
            Hold::Holds(_) => Phase::Holds,
            Hold::GivesBack(_) => Phase::GivesBack,
        };
        let held = hold.locks().iter();
        Some(Held {
            hold: phase,
            held: held
                .map(|lock| (lock.pool.clone(), lock.name.clone()))
                .collect(),
        })
    }

    pub(super) fn hold(self) -> Hold {
        let held = self.held.into_iter();
        let held = held.map(|(pool, name)| Lock { pool, name }).collect();
        match self.hold {
            Phase::Waits => Hold::Waits(String::new()),
            Phase::Holds => Hold::Holds(held),
            Phase::GivesBack => Hold::GivesBack(held),
        }
    }
}

impl Locks {
    /// What is to be known of a job, if it has anything to do with locks.
    pub(super) fn of(job: &Job) -> Option<Locks> {
        Some(Locks {
            held: Held::of(&job.hold)?,
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
        let stopping = self.stopping.map(|why| match why {
            Reason::Failed => Stopping::Failed,
            Reason::TimedOut => Stopping::TimedOut,
            Reason::Canceled => Stopping::Canceled,
            Reason::Requeued => Stopping::Requeued,
            Reason::Lost => Stopping::Lost,
        });
        (self.held.hold(), stopping)
    }
}

//! How a job is with its locks, as it is written.

use serde::{Deserialize, Serialize};

use crate::job::{Hold, Lock};

/// How a job, or a task of it, is with its locks. The next server gives back what this one has claimed, or may have.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Held {
    hold: Phase,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    held: Vec<(String, String)>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Phase {
    Waits,
    Holds,
    GivesBack,
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

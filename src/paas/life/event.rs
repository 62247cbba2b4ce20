//! What happens to jobs, as the journal has it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::resource::Resource;

/// What happens to a job. Moments are seconds after 1970.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Event {
    /// The coordinator gave it to us.
    Granted {
        /// The job's own token.
        token: String,
        /// All that was said of it; empty for one whose launch is past.
        payload: String,
        /// When.
        at: u64,
        /// How long it may run, in seconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timeout: Option<u64>,
    },
    /// A machine is about to be asked for.
    Creating {
        /// By what it can be found.
        name: String,
        /// Whose it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        namespace: Option<String>,
    },
    /// It is there.
    Created {
        /// What it is called.
        resource: Resource,
    },
    /// It is about to be started.
    Launching,
    /// It has started.
    Launched {
        /// When.
        at: u64,
    },
    /// The job cannot be run, or not any longer.
    Failed {
        /// Why, for its author.
        reason: String,
    },
    /// The coordinator knows of that.
    Reported,
    /// The coordinator says that the job is over.
    Over,
    /// Its machine is about to be taken away.
    Leaving,
    /// Nothing of it is left.
    Gone,
}

/// Leaves out what a token or a payload says.
impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Event {
    /// The step's name.
    pub fn name(&self) -> &'static str {
        match self {
            Event::Granted { .. } => "granted",
            Event::Creating { .. } => "creating",
            Event::Created { .. } => "created",
            Event::Launching => "launching",
            Event::Launched { .. } => "launched",
            Event::Failed { .. } => "failed",
            Event::Reported => "reported",
            Event::Over => "over",
            Event::Leaving => "leaving",
            Event::Gone => "gone",
        }
    }
}

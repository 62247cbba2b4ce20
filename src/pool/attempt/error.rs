//! How an operation can fail.

use std::io;
use std::time::Duration;

use crate::lock::PoolName;
use crate::rules::{Refusal, Wait};
use git::FaultError;
use git::StoreError;
use git::object::Oid;
use pace::Stopped;
use pace::duration::{as_set, in_two_units};

/// Why an operation was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum AttemptError {
    /// The remote repository could not be read.
    #[error(transparent)]
    Fault(FaultError),
    /// Our copy of it could not be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no such pool.
    #[error(
        "there is no pool `{pool}` on the branch `{branch}` of `{remote}`: a pool is a folder with claimed/ and unclaimed/ in it; check `source.pool`, or let `pool init` make it"
    )]
    NoPool {
        /// The pool.
        pool: PoolName,
        /// Where it was looked for.
        branch: String,
        /// In which repository.
        remote: String,
    },
    /// The rules forbid it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The server does not take our commit.
    #[error("`{remote}` refuses our commit `{subject}`: {reason}{}{words}", if .words.is_empty() { "" } else { "; it says: " })]
    Rejected {
        /// Who.
        remote: String,
        /// The commit's first line.
        subject: String,
        /// The server's reason.
        reason: String,
        /// What its hooks said.
        words: String,
    },
    /// We were told to stop, and nothing is left of what was begun.
    #[error("stopped by a signal")]
    Stopped,
    /// We were told to stop, and what was claimed could not be given back in time.
    #[error("stopped by a signal, and {locks} may still be claimed, by {by}")]
    StoppedHolding {
        /// The locks.
        locks: String,
        /// The commit, in words.
        by: String,
    },
    /// It was waited for long enough.
    #[error("gave up {}: {}", after_shown(.after), kept_by(.wait, .holders))]
    TimedOut {
        /// How long it was waited for.
        after: Duration,
        /// What for.
        wait: Wait,
        /// Who holds what was waited for, one line each.
        holders: Vec<String>,
    },
    /// It waited in a circle of those who wait for each other, and is the one who gives way.
    #[error("gave way {}: {circle}; nothing was claimed, and what is held stays held", to_whom(.to))]
    GaveWay {
        /// The others in it.
        to: Vec<String>,
        /// Who waits for whom.
        circle: String,
    },
    /// A later build of the same job has come, and the latest alone is to wait.
    #[error(
        "superseded by {by}, a later build of the same job: with `order: newest` the latest alone waits; nothing was claimed"
    )]
    Superseded {
        /// The later build.
        by: String,
    },
    /// Its time was over, and it was not to be waited for that it can be had.
    #[error("gave up after {}, {}: {}", in_two_units(*.after), allowed(.patience), troubled(.trouble))]
    OutOfTime {
        /// How long it took.
        after: Duration,
        /// How long it was to wait.
        patience: Duration,
        /// What kept it.
        trouble: String,
    },
    /// Its time was over, and what was claimed could not be given back.
    #[error("gave up after {}, and {locks} may still be claimed, by {by}", in_two_units(*.after))]
    OutOfTimeHolding {
        /// How long it took.
        after: Duration,
        /// The locks.
        locks: String,
        /// The commit, in words.
        by: String,
    },
    /// Nobody takes the answer, so that nobody would know of the claim.
    #[error("cannot write the answer")]
    Unanswered(#[source] io::Error),
    /// A push got no answer, and the branch could not be read afterwards.
    #[error(
        "a push got no answer, so the commit {commit} (`{subject}`) may be on the branch or not; look at the pool"
    )]
    Unknown {
        /// Our commit.
        commit: Oid,
        /// Its first line.
        subject: String,
        /// Why the branch could not be read.
        #[source]
        source: FaultError,
    },
}

impl From<Stopped> for AttemptError {
    fn from(_: Stopped) -> AttemptError {
        AttemptError::Stopped
    }
}

impl From<FaultError> for AttemptError {
    fn from(err: FaultError) -> AttemptError {
        match err {
            FaultError::Stopped => AttemptError::Stopped,
            err => AttemptError::Fault(err),
        }
    }
}

fn allowed(patience: &Duration) -> String {
    if patience.is_zero() {
        "with `try`".to_owned()
    } else {
        format!("with a `timeout` of {}", as_set(*patience))
    }
}

fn troubled(trouble: &str) -> &str {
    match trouble {
        "" => "the server has not answered yet",
        trouble => trouble,
    }
}

fn after_shown(after: &Duration) -> String {
    if after.is_zero() {
        "at once".to_owned()
    } else {
        format!("after {}", as_set(*after))
    }
}

fn to_whom(others: &[String]) -> String {
    match others {
        [] => "to nobody, for it waits for itself".to_owned(),
        others => format!(
            "to {}, as the youngest of those who wait for each other in a circle",
            others.join(", ")
        ),
    }
}

/// What it was waited for, and who holds it.
fn kept_by(wait: &Wait, holders: &[String]) -> String {
    match (wait, holders) {
        // That one lock is held goes without saying where it is said by whom.
        (Wait::Held(_), [holder]) => holder.clone(),
        _ => {
            let holders = holders.iter().map(|line| format!("; {line}"));
            format!("{wait}{}", holders.collect::<String>())
        }
    }
}

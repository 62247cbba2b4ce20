//! Whether a claim stands, by the side of the server that takes pushes.

use std::collections::BTreeSet;
use std::io::Write;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{Ready, Seen, StepError, Surroundings, ask};
use crate::concourse::Source;
use crate::ledger::{self, Fate};
use crate::lock::{ClaimId, LockName};
use crate::message;
use crate::number;
use git::{Files, RemoteError, Store};
use pace::{pauses, ride_out};
use terminal::trying_again;

/// How long we wait for the side that is read from to show what the other one has.
const PATIENCE: Duration = Duration::from_secs(10);

/// What was found of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Its number, if it has one.
    pub number: Option<u64>,
    /// What has become of it, for each lock that was asked about, in the order of the names, those of other pools by their full
    /// names; of none if it is no claim of this pool.
    pub locks: Vec<(LockName, Seen)>,
}

impl Verified {
    /// Whether all of it stands.
    pub fn stands(&self) -> bool {
        let stands = |(_, seen): &(LockName, Seen)| *seen == Seen::Stands;
        !self.locks.is_empty() && self.locks.iter().all(stands)
    }
}

/// Finds out whether a claim holds these locks, or without any, all that it took.
///
/// It did at a moment between the call and the answer, for it is the side that takes pushes which says where the branch is. A
/// view that does not have that commit is looked at again, and never believed.
///
/// # Errors
/// [`StepError`], also when we may only read, or the view does not catch up.
pub async fn verify(
    source: &Source,
    claim: ClaimId,
    locks: &BTreeSet<LockName>,
    around: &Surroundings,
    log: &mut dyn Write,
) -> Result<Verified, StepError> {
    let ready = Ready::new(source, around, log)?;
    let mut remote = ready.remote(&source.branch, Store::temporary(&around.temporary)?)?;
    remote.want_files(Files::None);
    let (limit, never) = (ready.pace.fault_limit, CancellationToken::new());
    let began = Instant::now();
    let mut pauses = pauses(Duration::from_millis(100), Duration::from_secs(1));
    loop {
        let head = ride_out(limit, &never, &mut trying_again(log), async || {
            remote.head_for_pushes().await
        })
        .await?;
        let pool = &source.pool;
        let (is_current, verified) = ask(
            &mut remote,
            Some(claim.0),
            Some(pool),
            &ready.pace,
            log,
            |history, snapshot| {
                // What goes on beyond it is as good.
                let is_current = match head {
                    Some(head) if head != snapshot.commit => {
                        matches!(history.since(head), Ok(Some(_)))
                    }
                    head => head.is_some(),
                };
                let mut verified = Verified {
                    number: None,
                    locks: Vec::new(),
                };
                if history.since(claim.0)?.is_none() {
                    return Ok((is_current, verified));
                }
                let mut taken = BTreeSet::new();
                for moved in ledger::moved_by(history, pool, claim.0)? {
                    if moved.commit == claim.0 && moved.is_claim {
                        taken.insert(moved.lock);
                    }
                }
                if taken.is_empty() {
                    return Ok((is_current, verified));
                }
                let message = history.commit(claim.0)?.message;
                for lock in message::elsewhere(&message, pool) {
                    // What it says is true only of what it has done.
                    if ledger::fate(history, pool, &lock, claim)? != Fate::NotAClaim {
                        taken.insert(lock);
                    }
                }
                let asked = if locks.is_empty() { &taken } else { locks };
                for lock in asked {
                    let seen = match ledger::fate(history, pool, lock, claim)? {
                        Fate::Stands { .. } => Seen::Stands,
                        Fate::NotAClaim => Seen::Gone,
                        Fate::Ended { by, .. } => Seen::Ended {
                            by,
                            message: history.commit(by)?.message,
                        },
                    };
                    verified.locks.push((lock.clone(), seen));
                }
                verified.number = number::of(&message);
                Ok((is_current, verified))
            },
        )
        .await?;
        if is_current {
            return Ok(verified);
        }
        let lasted = began.elapsed();
        if lasted >= PATIENCE {
            let remote = remote.name().to_owned();
            return Err(RemoteError::Behind { remote, lasted }.into());
        }
        sleep(pauses.next().unwrap_or(PATIENCE)).await;
    }
}

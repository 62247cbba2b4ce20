//! Who holds what now, for whoever asks about single locks, and whether a claim goes on to stand.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::SystemTime;

use tokio_util::sync::CancellationToken;

use super::{Ready, StepError, Surroundings, ask};
use crate::attempt;
use crate::concourse::Source;
use crate::ledger::{self, Fate, Held};
use crate::lock::{ClaimId, Holding, LockName};
use crate::message;
use git::object::Oid;
use git::{Depth, Interest, Listing, Remote, Store};
use pace::ride_out;
use terminal::trying_again;

/// The claims that stand in the source's pool, by their locks.
///
/// # Errors
/// [`StepError`].
pub async fn standing(
    source: &Source,
    around: &Surroundings,
    log: &mut dyn Write,
) -> Result<BTreeMap<LockName, Held>, StepError> {
    let ready = Ready::new(source, around, log)?;
    let pool = &source.pool;
    let mut remote = ready.remote(&source.branch, Store::temporary(&around.temporary)?)?;
    let claims = ask(
        &mut remote,
        None,
        None,
        &ready.pace,
        log,
        |history, snapshot| {
            if !ledger::is_pool(history, snapshot.commit, pool)? {
                return Ok(None);
            }
            ledger::claims(history, std::slice::from_ref(pool)).map(Some)
        },
    )
    .await?;
    let claims = claims.ok_or_else(|| StepError::NoPool {
        pool: pool.clone(),
        branch: source.branch.clone(),
        remote: ready.location.to_string(),
    })?;
    Ok(claims.into_values().flatten().collect())
}

/// An eye on a claim.
pub struct Watch {
    remote: Remote,
    ready: Ready,
    source: Source,
    claim: ClaimId,
    /// The head at the last look.
    seen: Option<Oid>,
    /// When the lease ends that the claim was made with.
    lease_end: Option<SystemTime>,
}

/// What a look at a claim has shown of one of its locks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// The claim stands.
    Stands,
    /// It has ended with this commit, which says so.
    Ended {
        /// The commit.
        by: Oid,
        /// Its message.
        message: Vec<u8>,
    },
    /// The branch does not have it any more: somebody has put another history in its place.
    Gone,
}

impl Watch {
    /// Gets ready to look.
    ///
    /// # Errors
    /// [`StepError`].
    pub fn new(source: &Source, around: &Surroundings, claim: ClaimId) -> Result<Watch, StepError> {
        // What is to be said of the settings has been said by whoever made the claim.
        let ready = Ready::new(source, around, &mut std::io::sink())?;
        let remote = ready.remote(&source.branch, Store::temporary(&around.temporary)?)?;
        Ok(Watch {
            remote,
            ready,
            source: source.clone(),
            claim,
            seen: None,
            lease_end: None,
        })
    }

    /// When the lease ends that the claim was made with, if it was made with one and a look has come by it.
    pub fn lease_end(&self) -> Option<SystemTime> {
        self.lease_end
    }

    /// The metadata of a lock that was held at the last look.
    ///
    /// # Errors
    /// [`StepError`] when our copy cannot be read.
    pub fn metadata(&self, lock: &LockName) -> Result<Vec<u8>, StepError> {
        let store = self.remote.store();
        let Some(head) = self
            .seen
            .map(|head| store.commit(head))
            .transpose()?
            .flatten()
        else {
            return Ok(Vec::new());
        };
        let file = self.source.pool.file(Holding::Claimed, lock);
        match store.entry(head.tree, &file)? {
            Some(entry) if entry.mode.is_blob() => Ok(store.blob(entry.id)?),
            _ => Ok(Vec::new()),
        }
    }

    /// Looks what has become of the claim of these locks. It costs one listing while the branch stays where it was, and then
    /// gives nothing.
    ///
    /// # Errors
    /// [`StepError`], after faults have been ridden out in vain.
    pub async fn look(
        &mut self,
        locks: &[LockName],
        log: &mut dyn Write,
    ) -> Result<Vec<(LockName, Seen)>, StepError> {
        let never = CancellationToken::new();
        let limit = self.ready.pace.fault_limit;
        // It was made a moment ago, or was there at the last look.
        let mut depth = match self.seen {
            None => Depth::FEW,
            Some(_) => Depth::RECENT,
        };
        loop {
            let seen = self.seen;
            let interest = |listing: &Listing| match Some(listing.head) == seen {
                true => Interest::Nothing,
                false => Interest::Head(depth, Vec::new()),
            };
            // It may go on for days; what was read before is not needed again.
            self.remote.may_begin_anew();
            let remote = &mut self.remote;
            let (_, snapshot) = ride_out(limit, &never, &mut trying_again(log), async || {
                remote.look(false, &interest).await
            })
            .await?;
            let Some(snapshot) = snapshot else {
                return Ok(Vec::new());
            };
            let history = self.remote.history(&snapshot);
            // It was there: a view that lacks it is behind, unless the branch was rewound.
            match history.since(self.claim.0) {
                Ok(None) if self.remote.doubts(snapshot.commit, self.claim.0) => continue,
                Ok(_) => {}
                Err(err) => {
                    depth = attempt::deeper(snapshot.depth, err)?;
                    continue;
                }
            }
            let fate = |lock: &LockName| {
                let seen = match ledger::fate(&history, &self.source.pool, lock, self.claim)? {
                    Fate::Stands { .. } => Seen::Stands,
                    Fate::NotAClaim => Seen::Gone,
                    Fate::Ended { by, .. } => Seen::Ended {
                        by,
                        message: history.commit(by)?.message,
                    },
                };
                Ok((lock.clone(), seen))
            };
            match locks.iter().map(fate).collect() {
                Ok(fates) => {
                    self.seen = Some(snapshot.commit);
                    if let Ok(claim) = history.commit(self.claim.0) {
                        self.lease_end = message::lease_end(&claim.message);
                    }
                    return Ok(fates);
                }
                Err(err) => depth = attempt::deeper(snapshot.depth, err)?,
            }
        }
    }
}

//! What can be asked of a pool: exactly one thing, with what it needs and nothing else.

use crate::lock::{ClaimId, Holding, LockName};
use crate::object::Content;

/// One request to a pool, as one run of `out` carries it out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Claims any free lock, waiting until there is one.
    Acquire,
    /// Claims this lock, waiting until it is free.
    Claim(LockName),
    /// Frees a claimed lock. With a claim: only while that claim stands.
    Release {
        /// Which lock.
        lock: LockName,
        /// The claim that the caller says is his.
        claim: Option<ClaimId>,
    },
    /// Puts a new lock into the pool.
    Add {
        /// Its name.
        lock: LockName,
        /// Its metadata.
        content: Content,
        /// Whether it starts free or held.
        holding: Holding,
    },
    /// Takes a claimed lock out of the pool. With a claim: only while that claim stands.
    Remove {
        /// Which lock.
        lock: LockName,
        /// The claim that the caller says is his.
        claim: Option<ClaimId>,
    },
    /// Gives a free lock new metadata, waiting while it is held; adds it when there is none. With a claim: changes
    /// the held lock in place, only while that claim stands.
    Update {
        /// Which lock.
        lock: LockName,
        /// Its new metadata.
        content: Content,
        /// The claim that the caller says is his.
        claim: Option<ClaimId>,
    },
    /// Waits until the lock is free; changes nothing.
    AwaitUnclaimed(LockName),
    /// Waits until the lock is held; changes nothing.
    AwaitClaimed(LockName),
}

impl Operation {
    /// Whether it may make a commit, rather than only wait for something.
    pub fn changes(&self) -> bool {
        !matches!(
            self,
            Operation::AwaitUnclaimed(_) | Operation::AwaitClaimed(_)
        )
    }

    /// Whether a lock is held after it that was not before.
    pub fn claims(&self) -> bool {
        matches!(
            self,
            Operation::Acquire
                | Operation::Claim(_)
                | Operation::Add {
                    holding: Holding::Claimed,
                    ..
                }
        )
    }

    /// The claim that must still stand for the operation to be allowed, and of which lock.
    pub fn claim_to_prove(&self) -> Option<(&LockName, ClaimId)> {
        match self {
            Operation::Release { lock, claim }
            | Operation::Remove { lock, claim }
            | Operation::Update { lock, claim, .. } => claim.map(|claim| (lock, claim)),
            Operation::Acquire
            | Operation::Claim(_)
            | Operation::Add { .. }
            | Operation::AwaitUnclaimed(_)
            | Operation::AwaitClaimed(_) => None,
        }
    }
}

//! Claims that nobody was told of: what is to be done about them, without any I/O.

use super::landing::Seen;
use crate::ledger::Fate;
use crate::lock::{ClaimId, LockName};
use crate::message::Verb;
use crate::operation::{Operation, Right};
use crate::rules::{Change, Decision, Facts, Pool, decide};

/// What is to be done about a claim that is to be given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Back {
    /// It is on the branch: release it.
    Release,
    /// It is not on the branch, and cannot get there any more.
    Over,
    /// Its push may still be on its way. It cannot land any more once the branch has left the commit that it was made on:
    /// so the claim is pushed together with its end, in one step.
    PushWithEnd,
}

impl Back {
    /// What is to be done, given where the branch is.
    pub fn given(seen: Seen) -> Back {
        match seen {
            Seen::Ours => Back::Release,
            Seen::MovedOn | Seen::Rewound => Back::Over,
            Seen::Unmoved => Back::PushWithEnd,
        }
    }
}

/// The operation that ends a claim of these locks, which was made by a move or by adding a lock.
pub(super) fn giving_back(verb: Verb, locks: &[LockName], claim: ClaimId) -> Operation {
    match (verb, locks) {
        (Verb::AddingClaimed, [lock]) => Operation::Remove {
            lock: lock.clone(),
            claim: Some(claim),
        },
        _ => Operation::Release {
            locks: locks.to_vec(),
            right: Right::Claim(claim),
            reason: None,
        },
    }
}

/// The change that ends a claim right where it was made; `pool` is as the claim leaves it.
pub(super) fn end_at_once(pool: &Pool, back: &Operation) -> Option<Change> {
    let fates = back.claim_to_prove().map(|(locks, claim)| {
        let last_sign = claim.0;
        let stands = |lock: &LockName| (lock.clone(), Fate::Stands { last_sign });
        locks.iter().map(stands).collect()
    });
    let facts = Facts {
        fates,
        ..Facts::default()
    };
    match decide(pool, back, &facts, 0) {
        Decision::Change(change) => Some(change),
        _ => None,
    }
}

/// What becomes of a claim that an earlier run of the same step has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// It is the answer to what is asked.
    Adopt,
    /// What stands of it is given back.
    GiveBack,
    /// Nothing of it stands.
    Forget,
}

impl Left {
    /// Whether the claim can be taken over, as far as its marker tells. Otherwise what stands of it is given back. Of
    /// several only the last can be: so there is never more than one at a time that may have to be given back.
    pub fn may_be_adopted(is_ending: bool, is_last: bool) -> bool {
        !is_ending && is_last
    }

    /// What becomes of it: all that was asked for, or nothing. What is left of a claim is told to nobody.
    pub fn given(may_be_adopted: bool, asked: &[LockName], standing: &[LockName]) -> Left {
        if standing.is_empty() {
            Left::Forget
        } else if may_be_adopted && standing.len() == asked.len() {
            Left::Adopt
        } else {
            Left::GiveBack
        }
    }
}

//! Freeing a lock that somebody else holds, saying why.

use std::io::Write;

use tokio_util::sync::CancellationToken;

use super::{Order, StepError, Surroundings, operate, standing};
use crate::attempt::AttemptError;
use crate::concourse::Source;
use crate::ledger::Held;
use crate::lock::{ClaimId, LockName};
use crate::message::Origin;
use crate::operation::{Operation, Right};
use crate::rules::Refusal;
use git::object::Oid;

/// How often a holder's renewal is looked past, while an operator means the claim as such.
const RENEWALS: usize = 10;

/// What an unlocking did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unlocked {
    /// The commit that freed the lock.
    pub commit: Oid,
    /// The claim that it ended.
    pub held: Held,
}

/// Why a lock was not freed.
#[derive(Debug, thiserror::Error)]
pub enum UnlockError {
    /// Nobody holds it, or there is none of that name.
    #[error("the lock `{0}` is not claimed")]
    NotClaimed(LockName),
    /// The claim that was meant has ended.
    #[error("the claim of `{0}` has ended meanwhile, and there is a new one; nothing was changed")]
    Another(LockName),
    /// It is renewed faster than it can be ended.
    #[error("the holder of `{0}` renews its claim all the time; nothing was changed")]
    Renews(LockName),
    /// It could not be carried out.
    #[error(transparent)]
    Step(#[from] StepError),
}

/// Frees a lock of the source's pool whoever holds it. `meant` is the claim that is to be ended, where somebody has seen it; else
/// it is the one that stands now.
///
/// # Errors
/// [`UnlockError`].
#[expect(
    clippy::too_many_arguments,
    reason = "an order, and what every step has"
)]
pub async fn unlock(
    source: &Source,
    lock: &LockName,
    meant: Option<ClaimId>,
    reason: &str,
    origin: &Origin,
    around: &Surroundings,
    stop: &CancellationToken,
    log: &mut dyn Write,
) -> Result<Unlocked, UnlockError> {
    let mut meant = meant;
    for _ in 0..RENEWALS {
        let standing = standing(source, around, log).await?;
        let Some(held) = standing.get(lock) else {
            return Err(UnlockError::NotClaimed(lock.clone()));
        };
        if *meant.get_or_insert(held.claim) != held.claim {
            return Err(UnlockError::Another(lock.clone()));
        }
        let release = Operation::Release {
            locks: vec![lock.clone()],
            // As one who is not the holder, who is to find that somebody else ended his claim.
            right: Right::Operator {
                claim: held.claim,
                last_sign: held.last_sign,
            },
            reason: Some(reason.to_owned()),
        };
        let order = Order::at_once(release, origin.clone());
        match operate(source, order, around, stop.clone(), async |_| Ok(()), log).await {
            Ok(outcome) => {
                return Ok(Unlocked {
                    commit: outcome.commit,
                    held: held.clone(),
                });
            }
            Err(StepError::Attempt(err))
                if matches!(*err, AttemptError::Refused(Refusal::Renewed { .. })) => {}
            Err(err) => return Err(err.into()),
        }
    }
    Err(UnlockError::Renews(lock.clone()))
}

//! What is ours: by the claim that is shown, or because we are called what its holder is called.

use std::collections::BTreeMap;
use std::io;

use anyhow::{Result, bail};
use pool::ledger::Held;
use pool::lock::{ClaimId, LockName};
use pool::maker::Me;
use pool::message;
use pool::step::{self, StepError};

use super::Context;

/// The claims of these locks, each with its locks; without any lock, the claim with all that it holds.
pub async fn claims(
    context: &Context,
    locks: &[String],
    claim: Option<&str>,
) -> Result<Vec<(ClaimId, Vec<LockName>)>> {
    let mut locks = super::locks(locks)?;
    if let Some(id) = claim {
        let claim = super::claim_id(id)?;
        if locks.is_empty() {
            let standing = standing(context).await?;
            let held = standing.into_iter().filter(|(_, held)| held.claim == claim);
            locks = held.map(|(lock, _)| lock).collect();
        }
        if locks.is_empty() {
            bail!(
                "the claim {claim} holds no lock in the pool `{}`",
                context.source.pool
            );
        }
        return Ok(vec![(claim, locks)]);
    }
    let standing = standing(context).await?;
    let mut by_claim: Vec<(ClaimId, Vec<LockName>)> = Vec::new();
    for lock in locks {
        let claim = ours(context, &standing, &lock)?;
        match by_claim.iter_mut().find(|(other, _)| *other == claim) {
            Some((_, locks)) => locks.push(lock),
            None => by_claim.push((claim, vec![lock])),
        }
    }
    Ok(by_claim)
}

/// The claims that stand in the pool.
pub async fn standing(context: &Context) -> Result<BTreeMap<LockName, Held>, StepError> {
    step::standing(&context.source, &context.around, &mut io::stderr()).await
}

/// The claim of a lock, if it is ours.
pub fn ours(
    context: &Context,
    standing: &BTreeMap<LockName, Held>,
    lock: &LockName,
) -> Result<ClaimId> {
    let Some(held) = standing.get(lock) else {
        bail!("the lock `{lock}` is not claimed");
    };
    let prefix = &context.origin.prefix;
    if !is_ours(prefix, held, lock) {
        bail!(
            "`{lock}` is held by {}, and you are `{prefix}`; nothing was changed. Show the claim that is yours by --claim, or free it all the same by `pool unlock {lock} --reason WHY`",
            message::who(&held.message)
        );
    }
    Ok(held.claim)
}

/// Whether the holder of a lock is called so.
pub fn is_ours(prefix: &str, held: &Held, lock: &LockName) -> bool {
    Me::Named(prefix.to_owned()).made(lock, &held.message)
}

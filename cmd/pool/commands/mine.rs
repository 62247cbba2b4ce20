//! What is ours: by the claim that is shown, or because we are called what its holder is called.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Error, Result, anyhow, bail};
use pool::concourse::Source;
use pool::ledger::Held;
use pool::lock::{self, ClaimId, LockName, PoolName};
use pool::maker::Me;
use pool::message;
use pool::step::{self, StepError};

use super::Context;
use crate::pool::words::Log;

/// The claims of these locks, each with its locks; without any lock, the claim with all that it holds.
pub async fn claims(
    context: &Context,
    locks: &[String],
    claim: Option<&str>,
) -> Result<Vec<(ClaimId, Vec<LockName>)>> {
    let mut locks = context.locks(locks)?;
    if let Some(id) = claim {
        let claim = super::claim_id(id)?;
        if locks.is_empty() {
            locks = held_by(context, claim).await?;
        }
        if locks.is_empty() {
            bail!(
                "the claim {claim} holds no lock in the pool `{}`",
                context.source.pool
            );
        }
        return Ok(vec![(claim, locks)]);
    }
    let mut known: BTreeMap<PoolName, BTreeMap<LockName, Held>> = BTreeMap::new();
    let mut by_claim: Vec<(ClaimId, Vec<LockName>)> = Vec::new();
    for lock in locks {
        let pool = lock.pool().unwrap_or_else(|| context.source.pool.clone());
        let standing = match known.entry(pool) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                let standing = standing(context, place.key()).await?;
                place.insert(standing)
            }
        };
        let claim = ours(context, standing, &lock).await?;
        match by_claim.iter_mut().find(|(other, _)| *other == claim) {
            Some((_, locks)) => locks.push(lock),
            None => by_claim.push((claim, vec![lock])),
        }
    }
    Ok(by_claim)
}

/// What a claim holds, in the pool and in others.
async fn held_by(context: &Context, claim: ClaimId) -> Result<Vec<LockName>> {
    let own = &context.source.pool;
    let mut elsewhere: BTreeMap<PoolName, BTreeSet<LockName>> = BTreeMap::new();
    let mut locks = Vec::new();
    for (lock, held) in standing(context, own).await? {
        if held.claim != claim {
            continue;
        }
        locks.push(lock);
        for lock in message::elsewhere(&held.message, own) {
            let pool = lock.pool().unwrap_or_else(|| own.clone());
            elsewhere.entry(pool).or_default().insert(lock);
        }
    }
    // What it says is true only of what it has done, and has not been given back since.
    for (pool, said) in elsewhere {
        let there = match standing(context, &pool).await {
            Err(StepError::NoPool { .. }) => BTreeMap::new(),
            there => there?,
        };
        let holds = |lock: &LockName| {
            let held = there.get(&lock.bare());
            held.is_some_and(|held| held.claim == claim)
        };
        locks.extend(said.into_iter().filter(holds));
    }
    Ok(locks)
}

/// The claims that stand in a pool.
pub async fn standing(
    context: &Context,
    pool: &PoolName,
) -> Result<BTreeMap<LockName, Held>, StepError> {
    let source = Source {
        pool: pool.clone(),
        ..context.source.clone()
    };
    step::standing(&source, &context.around, &mut Log::default()).await
}

/// The claim of a lock, if it is ours.
pub async fn ours(
    context: &Context,
    standing: &BTreeMap<LockName, Held>,
    lock: &LockName,
) -> Result<ClaimId> {
    let Some(held) = standing.get(&lock.bare()) else {
        return Err(not_claimed(context, lock).await);
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

/// What to say of a lock of which there is no claim: it is free, or there is none of that name.
pub async fn not_claimed(context: &Context, lock: &LockName) -> Error {
    let source = Source {
        pool: lock.pool().unwrap_or_else(|| context.source.pool.clone()),
        ..context.source.clone()
    };
    let bare = lock.bare();
    match step::locks(&source, &context.around, &mut Log::default()).await {
        Ok(locks) if locks.contains(&bare) => anyhow!("the lock `{lock}` is not claimed"),
        Ok(locks) => no_such_lock(&bare, source.pool.as_str(), &locks),
        Err(err) => err.into(),
    }
}

/// What to say of a lock that there is not.
pub fn no_such_lock(lock: &LockName, pool: &str, there: &BTreeSet<LockName>) -> Error {
    let like = lock::meant(lock, there.iter());
    let next = match like.as_slice() {
        [] => "; `pool status` shows which there are".to_owned(),
        like => lock::or_meant(like),
    };
    anyhow!("there is no lock `{lock}` in the pool `{pool}`{next}")
}

/// Whether the holder of a lock is called so.
pub fn is_ours(prefix: &str, held: &Held, lock: &LockName) -> bool {
    Me::Named(prefix.to_owned()).made(lock, &held.message)
}

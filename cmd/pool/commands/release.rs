//! `pool release` and `pool unlock`.

use std::collections::BTreeMap;
use std::io;
use std::process::ExitCode;

use anyhow::{Result, bail};
use git::object::Oid;
use pool::attempt::{AttemptError, Outcome};
use pool::ledger::Held;
use pool::lock::{ClaimId, LockName};
use pool::message::{self, Verb};
use pool::operation::{Operation, Right};
use pool::rules::Refusal;
use pool::step::{self, StepError};
use tokio_util::sync::CancellationToken;

use super::Context;
use crate::pool::args::{ReleaseArgs, UnlockArgs};
use crate::pool::output;
use crate::resource;

/// Frees locks that are ours, by the claim that is shown, or because we are called what their holder is called.
pub async fn release(context: &Context, args: &ReleaseArgs) -> Result<ExitCode> {
    let stop = resource::stop_on_signals()?;
    let mut locks = super::locks(&args.locks)?;
    let mut by_claim: Vec<(ClaimId, Vec<LockName>)> = Vec::new();
    if let Some(id) = &args.claim {
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
        by_claim.push((claim, locks));
    } else {
        let standing = standing(context).await?;
        for lock in locks {
            let claim = ours(context, &standing, &lock)?;
            match by_claim.iter_mut().find(|(other, _)| *other == claim) {
                Some((_, locks)) => locks.push(lock),
                None => by_claim.push((claim, vec![lock])),
            }
        }
    }
    let (mut released, mut last) = (Vec::new(), Oid::ZERO_SHA1);
    for (claim, locks) in by_claim {
        let release = Operation::Release {
            locks,
            right: Right::Claim(claim),
            reason: None,
        };
        let outcome = carry_out(context, release, &stop).await?;
        released.extend(outcome.locks);
        last = outcome.commit;
    }
    let pool = context.source.pool.as_str();
    let text = output::changed(&released, last, "released", pool, context.json)?;
    super::say(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// How often a holder's renewal is looked past, while an operator means the claim as such.
const RENEWALS: usize = 10;

/// Frees a lock whoever holds it, and says why.
pub async fn unlock(context: &Context, args: &UnlockArgs) -> Result<ExitCode> {
    let stop = resource::stop_on_signals()?;
    let lock = super::lock(&args.lock)?;
    if args.reason.trim().is_empty() {
        bail!("`--reason` must say why");
    }
    let mut meant = None;
    for _ in 0..RENEWALS {
        let standing = standing(context).await?;
        let Some(held) = standing.get(&lock) else {
            bail!("the lock `{lock}` is not claimed");
        };
        if *meant.get_or_insert(held.claim) != held.claim {
            bail!(
                "the claim of `{lock}` has ended meanwhile, and there is a new one; nothing was changed"
            );
        }
        let release = Operation::Release {
            locks: vec![lock.clone()],
            // As one who is not the holder, who is to find that somebody else ended his claim.
            right: Right::Operator {
                claim: held.claim,
                last_sign: held.last_sign,
            },
            reason: Some(args.reason.clone()),
        };
        match carry_out(context, release, &stop).await {
            Ok(outcome) => {
                let holder = message::who(&held.message);
                let pool = context.source.pool.as_str();
                super::say(&output::unlocked(
                    &lock,
                    outcome.commit,
                    &holder,
                    pool,
                    context.json,
                )?)?;
                return Ok(ExitCode::SUCCESS);
            }
            Err(StepError::Attempt(err))
                if matches!(*err, AttemptError::Refused(Refusal::Renewed { .. })) => {}
            Err(err) => return Err(err.into()),
        }
    }
    bail!("the holder of `{lock}` renews its claim all the time; nothing was changed");
}

async fn carry_out(
    context: &Context,
    operation: Operation,
    stop: &CancellationToken,
) -> Result<Outcome, StepError> {
    let order = context.order(operation);
    let answer = async |_: &Outcome| Ok(());
    context
        .operate(order, stop.clone(), answer, &mut io::stderr())
        .await
}

async fn standing(context: &Context) -> Result<BTreeMap<LockName, Held>, StepError> {
    step::standing(&context.source, &context.around, &mut io::stderr()).await
}

/// The claim of a lock, if we are called what its holder is called.
pub fn ours(
    context: &Context,
    standing: &BTreeMap<LockName, Held>,
    lock: &LockName,
) -> Result<ClaimId> {
    let Some(held) = standing.get(lock) else {
        bail!("the lock `{lock}` is not claimed");
    };
    let line = message::first_line(&held.message);
    let prefix = &context.origin.prefix;
    let is_ours = [Verb::Claiming, Verb::AddingClaimed].iter().any(|verb| {
        let locks = line.strip_prefix(&format!("{prefix} {}: ", verb.as_str()));
        // Else it is somebody's whose name only begins with ours.
        locks.is_some_and(|locks| locks.split(", ").any(|name| name == lock.as_str()))
    });
    if !is_ours {
        bail!(
            "`{lock}` is held by {}, and you are `{prefix}`; nothing was changed. Show the claim that is yours by --claim, or free it all the same by `pool unlock {lock} --reason WHY`",
            message::who(&held.message)
        );
    }
    Ok(held.claim)
}

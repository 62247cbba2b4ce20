//! `pool release` and `pool unlock`.

use std::process::ExitCode;

use anyhow::{Result, bail};
use git::object::Oid;
use pool::attempt::{AttemptError, Outcome};
use pool::message;
use pool::operation::{Operation, Right};
use pool::rules::Refusal;
use pool::step::StepError;
use tokio_util::sync::CancellationToken;

use super::{Context, mine};
use crate::pool::args::{ReleaseArgs, UnlockArgs};
use crate::pool::output;
use crate::pool::words::Log;
use crate::resource;

/// Frees locks that are ours, by the claim that is shown, or because we are called what their holder is called.
pub async fn release(context: &Context, args: &ReleaseArgs) -> Result<ExitCode> {
    let stop = resource::stop_on_signals()?;
    if args.all {
        return release_all(context, &stop).await;
    }
    let by_claim = mine::claims(context, &args.locks, args.claim.as_deref()).await?;
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

/// Frees all that is ours in the pool.
async fn release_all(context: &Context, stop: &CancellationToken) -> Result<ExitCode> {
    let outcome = carry_out(context, Operation::ReleaseOwn, stop).await?;
    let pool = context.source.pool.as_str();
    // Else there was nothing to be freed.
    let freed = outcome.locks.iter().filter(|_| outcome.done_now);
    let locks: Vec<_> = freed.cloned().collect();
    if locks.is_empty() {
        let us = terminal::one_line(&context.origin.prefix);
        resource::tell!("`{us}` holds nothing in the pool `{pool}`");
    }
    super::say(&output::changed(
        &locks,
        outcome.commit,
        "released",
        pool,
        context.json,
    )?)?;
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
        let standing = mine::standing(context).await?;
        let Some(held) = standing.get(&lock) else {
            return Err(mine::not_claimed(context, &lock).await);
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
        .operate(order, stop.clone(), answer, &mut Log::default())
        .await
}

//! `pool release` and `pool unlock`.

use std::process::ExitCode;

use anyhow::{Result, bail};
use git::object::Oid;
use pool::attempt::Outcome;
use pool::message;
use pool::operation::{Operation, Right};
use pool::step::{self, StepError, UnlockError};
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

/// Frees a lock whoever holds it, and says why.
pub async fn unlock(context: &Context, args: &UnlockArgs) -> Result<ExitCode> {
    let stop = resource::stop_on_signals()?;
    let lock = super::lock(&args.lock)?;
    if args.reason.trim().is_empty() {
        bail!("`--reason` must say why");
    }
    let (source, origin, around) = (&context.source, &context.origin, &context.around);
    let (reason, log) = (args.reason.as_str(), &mut Log::default());
    match step::unlock(source, &lock, None, reason, origin, around, &stop, log).await {
        Ok(unlocked) => {
            let holder = message::who(&unlocked.held.message);
            let (pool, json) = (source.pool.as_str(), context.json);
            super::say(&output::unlocked(
                &lock,
                unlocked.commit,
                &holder,
                pool,
                json,
            )?)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(UnlockError::NotClaimed(lock)) => Err(mine::not_claimed(context, &lock).await),
        Err(UnlockError::Step(err)) => Err(err.into()),
        Err(err) => Err(err.into()),
    }
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

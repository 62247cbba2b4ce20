//! `pool verify`: whether a claim stands, and a command that runs only while it does.

use std::collections::BTreeSet;
use std::io;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use child::Listener;
use pool::lock::{ClaimId, LockName};
use pool::message::listed;
use pool::step::{self, Seen, Verified, Watch};
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::time::{Instant, sleep};

use super::Context;
use super::run::attend::attend;
use super::run::command::{Planned, metadata, start};
use super::run::hold::{Lost, taken_away};
use super::run::household::Household;
use super::run::{End, GRACE, not_started};
use crate::pool::args::VerifyArgs;
use crate::pool::output;
use crate::pool::words::Log;
use crate::resource::tell;

/// The time between two looks at the claim while the command runs.
const BETWEEN_LOOKS: Duration = Duration::from_secs(5);

/// Finds out whether a claim stands; with a command, runs it if so.
pub async fn verify(context: &Context, args: &VerifyArgs) -> Result<ExitCode> {
    let mut signals = Listener::new().context("cannot listen for signals")?;
    let inherited = std::env::var("POOL_CLAIM").ok();
    let claim = args.claim.clone().or(inherited);
    let claim = claim.filter(|claim| !claim.is_empty());
    let claim = claim.context("whose claim? Show it by `--claim ID` or in POOL_CLAIM")?;
    let claim = super::claim_id(&claim)?;
    let locks = context.locks(&args.locks)?.into_iter().collect();
    let stopped = |number| Ok(ExitCode::from(End::Stopped(number).code()));
    let verified = tokio::select! {
        biased;
        signal = signals.next_end() => return stopped(signal.number),
        verified = look(context, claim, &locks) => verified?,
    };
    let pool = context.source.pool.as_str();
    if !verified.stands() {
        if context.json && args.command.is_empty() {
            super::say(&output::verified(claim, &verified, pool, true)?)?;
        }
        tell!("error: {}", why(claim, &verified, pool));
        return Ok(ExitCode::from(args.ended_exit_code));
    }
    if args.command.is_empty() {
        super::say(&output::verified(claim, &verified, pool, context.json)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let end = run(context, args, claim, verified, &mut signals).await?;
    Ok(ExitCode::from(end))
}

async fn look(
    context: &Context,
    claim: ClaimId,
    locks: &BTreeSet<LockName>,
) -> Result<Verified, step::StepError> {
    let log = &mut Log::default();
    step::verify(&context.source, claim, locks, &context.around, log).await
}

/// Why a claim does not stand.
fn why(claim: ClaimId, verified: &Verified, pool: &str) -> String {
    let ended = verified.locks.iter().filter_map(|(lock, seen)| match seen {
        Seen::Stands => None,
        Seen::Gone => Some(format!("`{lock}` was never claimed by it")),
        Seen::Ended { .. } => Some(format!("`{lock}` was freed {}", taken_away(seen)?)),
    });
    let ended: Vec<String> = ended.collect();
    match ended.as_slice() {
        [] => format!("{claim} is no claim of the pool `{pool}` on this branch"),
        ended => format!("the claim {claim} does not stand: {}", ended.join("; ")),
    }
}

/// Runs the command while the claim stands; gives the exit code.
async fn run(
    context: &Context,
    args: &VerifyArgs,
    claim: ClaimId,
    verified: Verified,
    signals: &mut Listener,
) -> Result<u8> {
    let locks: Vec<LockName> = verified.locks.into_iter().map(|(lock, _)| lock).collect();
    let mut watch = Watch::new(&context.source, &context.around, claim)?;
    // From here on it is told what changes; and its copy has the metadata.
    let unheard = &mut io::sink();
    let seen = tokio::select! {
        biased;
        signal = signals.next_end() => return Ok(End::Stopped(signal.number).code()),
        seen = watch.look(&locks, unheard) => seen?,
    };
    for (lock, seen) in seen {
        if let Some(by) = taken_away(&seen) {
            tell!("error: the claim of `{lock}` was taken away before the command began: {by}");
            return Ok(args.ended_exit_code);
        }
    }
    let metadata = metadata(context, &watch, &locks)?;
    let planned = Planned {
        words: &args.command,
        close: true,
        pass_credentials: args.pass_credentials,
        claim,
        number: verified.number,
        pool: &context.source.pool,
        locks: &locks,
        within: &context.within,
    };
    let started = match start(&planned, &metadata) {
        Ok(started) => started,
        Err(err) => return Ok(not_started(&args.command, &err).code()),
    };
    let mut household = Household::new(started, listed(&locks));
    while let Some(signal) = signals.pending() {
        household.send_earlier(signal.number);
    }
    let (tell, mut told) = mpsc::unbounded_channel();
    let watching = pin!(keep_watch(watch, locks, tell));
    let mut lost = Vec::new();
    let mut note = |news| {
        if let Lost::Taken(lock, by) = news {
            tell!("error: the claim of `{lock}` was taken away while the command runs: {by}");
            lost.push(lock);
        }
        Instant::now() + GRACE
    };
    let attended = attend(
        &mut household,
        signals,
        &mut told,
        watching,
        args.on_lost,
        &mut note,
    )
    .await?;
    let code = End::Ended(attended.exit).code();
    if !lost.is_empty() {
        tell!(
            "error: the command ended with {code}, but the claim of {} did not stand all the time",
            listed(&lost)
        );
        return Ok(args.ended_exit_code);
    }
    Ok(code)
}

/// Tells what is lost of a claim, for as long as anything of it is left.
async fn keep_watch(mut watch: Watch, mut locks: Vec<LockName>, tell: UnboundedSender<Lost>) {
    while !locks.is_empty() {
        sleep(BETWEEN_LOOKS).await;
        // A fault of a look says nothing.
        let Ok(seen) = watch.look(&locks, &mut io::sink()).await else {
            continue;
        };
        for (lock, seen) in seen {
            if let Some(by) = taken_away(&seen) {
                locks.retain(|held| *held != lock);
                let _ = tell.send(Lost::Taken(lock, by));
            }
        }
    }
    // Nothing is left to be watched; whoever waits for this waits for something else as well.
    std::future::pending().await
}

//! `pool run`: a command that runs while locks are held.
//!
//! Signals reach the command once. At a terminal it shares our process group: a key such as Ctrl-C sends its signal to it
//! as well as to us, so that we don't send it again, and a shell stops both of us and lets both go on; what anybody else
//! sends us goes on to it. Without a terminal the command has a process group of its own, so that what reaches us reaches
//! nobody else, and goes on to the whole group.

pub mod attend;
pub mod command;
pub mod hold;
pub mod household;
mod progress;

use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use anyhow::{Context as _, Result};
use child::Listener;
use pace::duration::{as_set, in_two_units};
use pool::attempt::{AttemptError, Outcome};
use pool::lock::{ClaimId, LockName};
use pool::message;
use pool::operation::{Operation, Right};
use pool::rules::Refusal;
use pool::step::{Order, StepError, Watch};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Context, acquire};
use crate::pool::args::RunArgs;
use crate::pool::words::Log;
use crate::resource::tell;
use attend::attend;
use command::{Planned, metadata, start};
pub use command::{WITHIN, within};
use hold::{Lost, Watched, hold, kept, make_sure};
use household::Household;
use progress::Progress;

/// How long the command has to end after it was told to, before it is ended.
pub const GRACE: Duration = Duration::from_secs(10);

/// A claim of ours.
struct Claim {
    id: ClaimId,
    number: Option<u64>,
    /// What is still held by it, as far as we know.
    locks: Vec<LockName>,
    /// What was taken away.
    lost: Vec<LockName>,
    /// Whether the command was ended for it.
    ended_command: bool,
}

/// How the command ended.
pub enum End {
    /// By itself, or by a signal.
    Ended(ExitStatus),
    /// It could not be started.
    NotStarted(u8),
    /// It was not started, because this signal came before.
    Stopped(i32),
}

impl End {
    /// The exit code that says so.
    pub fn code(&self) -> u8 {
        let by_signal = |signal: i32| u8::try_from(128 + signal).unwrap_or(u8::MAX);
        match self {
            End::Ended(status) => match (status.code(), status.signal()) {
                (Some(code), _) => u8::try_from(code).unwrap_or(u8::MAX),
                (None, Some(signal)) => by_signal(signal),
                (None, None) => 2,
            },
            End::NotStarted(code) => *code,
            End::Stopped(signal) => by_signal(*signal),
        }
    }
}

/// Waits for locks, runs the command while they are held, and gives them back.
pub async fn run(context: &Context, args: &RunArgs) -> Result<ExitCode> {
    let mut signals = Listener::new().context("cannot listen for signals")?;
    let mut claim = match (
        claim(context, args, &mut signals).await,
        args.conflict_exit_code,
    ) {
        (Ok(Ok(claim)), _) => claim,
        (Ok(Err(signal)), _) => return Ok(ExitCode::from(End::Stopped(signal).code())),
        (Err(err), Some(code)) if super::is_not_now(&err) => {
            crate::pool::say_error(err.as_ref());
            return Ok(ExitCode::from(code));
        }
        (Err(err), _) => return Err(err),
    };

    let worked = work(context, args, &mut claim, &mut signals).await;
    let given_back = give_back(context, &claim, &mut signals).await;

    let end = match worked {
        Ok(end) => end,
        Err(err) => {
            crate::pool::say_error(err.as_ref());
            End::NotStarted(2)
        }
    };
    match given_back {
        Ok(taken_away) => claim.lost.extend(taken_away),
        Err(err) => {
            crate::pool::say_error(&err);
            tell!(
                "error: the command ended with {}, and {} could not be given back: the claim may still stand; `pool release --claim {}` ends it, and `pool reap` once its lease of {} is over",
                end.code(),
                message::listed(&claim.locks),
                claim.id,
                as_set(args.lease)
            );
            return Ok(ExitCode::from(2));
        }
    }
    if !claim.lost.is_empty() {
        claim.lost.sort();
        claim.lost.dedup();
        tell!(
            "error: the command ended with {}, but did not hold {} all the time: the claim was taken away",
            end.code(),
            message::listed(&claim.lost),
        );
        return Ok(ExitCode::from(2));
    }
    if claim.ended_command {
        tell!(
            "error: the command ended with {}, for it was told to: the lease could not be renewed in time",
            end.code()
        );
        return Ok(ExitCode::from(2));
    }
    Ok(ExitCode::from(end.code()))
}

/// The lock for which an operation on a claim failed because the claim has ended.
pub fn lost(err: &AttemptError) -> Option<&LockName> {
    match err {
        AttemptError::Refused(
            Refusal::ClaimEnded { lock, .. } | Refusal::NotAClaim { lock, .. },
        ) => Some(lock),
        _ => None,
    }
}

/// Claims what is asked for; gives the signal by which it was stopped, if it was.
async fn claim(
    context: &Context,
    args: &RunArgs,
    signals: &mut Listener,
) -> Result<Result<Claim, i32>> {
    let locks = context.locks(&args.locks)?;
    let operation = match locks.as_slice() {
        [] => Operation::Acquire(acquire::want(&args.want)?),
        locks => context.claiming(locks),
    };
    if !locks.is_empty() {
        context.provide(&locks).await?;
    }
    let order = Order {
        ends_with_command: true,
        ..context.waiting_order(operation, &args.wait, Some(args.lease))
    };
    let stop = CancellationToken::new();
    let progress = Progress::new();
    let mut log = progress.clone();
    let claiming = context.operate(order, stop.clone(), async |_: &Outcome| Ok(()), &mut log);
    let mut claiming = Box::pin(claiming);
    let mut signal = None;
    let outcome = loop {
        tokio::select! {
            biased;
            outcome = &mut claiming => break outcome,
            received = signals.next_end() => {
                signal.get_or_insert(received.number);
                stop.cancel();
            }
            () = progress.tick() => {}
        }
    };
    drop(claiming);
    progress.clear();
    match (outcome, signal) {
        (Ok(outcome), _) => Ok(Ok(Claim {
            id: ClaimId(outcome.commit),
            number: outcome.number,
            locks: outcome.locks,
            lost: Vec::new(),
            ended_command: false,
        })),
        (Err(StepError::Attempt(err)), Some(signal)) if matches!(*err, AttemptError::Stopped) => {
            tell!("stopped by a signal; nothing is claimed");
            Ok(Err(signal))
        }
        (Err(err), _) => Err(err.into()),
    }
}

/// Runs the command, and keeps the claim meanwhile. What is lost of it meanwhile is noted in it.
async fn work(
    context: &Context,
    args: &RunArgs,
    claim: &mut Claim,
    signals: &mut Listener,
) -> Result<End> {
    let mut watch = Watch::new(&context.source, &context.around, claim.id)?;
    let (id, locks, lease) = (claim.id, &mut claim.locks, kept(args.lease));
    let lease_end = tokio::select! {
        biased;
        signal = signals.next_end() => return Ok(End::Stopped(signal.number)),
        sure = make_sure(context, &mut watch, id, locks, lease, &errors) => sure?,
    };
    let metadata = metadata(context, &watch, &claim.locks)?;
    if let Some(signal) = signals.pending_end() {
        return Ok(End::Stopped(signal.number));
    }

    let planned = Planned {
        words: &args.command,
        close: args.close,
        pass_credentials: args.pass_credentials,
        claim: claim.id,
        number: claim.number,
        pool: &context.source.pool,
        locks: &claim.locks,
        within: &context.within,
    };
    let started = match start(&planned, &metadata) {
        Ok(started) => started,
        Err(err) => return Ok(not_started(&args.command, &err)),
    };
    let mut household = Household::new(started, message::listed(&claim.locks));
    while let Some(signal) = signals.pending() {
        household.send_earlier(signal.number);
    }

    let (tell, mut told) = mpsc::unbounded_channel();
    let holding = hold(
        context,
        Watched {
            watch,
            claim: claim.id,
            locks: claim.locks.clone(),
        },
        lease,
        lease_end,
        tell,
        &errors,
    );
    let holding = std::pin::pin!(holding);
    let mut take_in = |news| note(news, claim);
    let attended = attend(
        &mut household,
        signals,
        &mut told,
        holding,
        args.on_lost,
        &mut take_in,
    )
    .await?;
    claim.ended_command = attended.ended_by_us;
    // The command may have been the first to notice.
    while let Ok(news) = told.try_recv() {
        if matches!(news, Lost::Taken(..)) {
            note(news, claim);
        }
    }
    Ok(End::Ended(attended.exit))
}

/// Says that a command could not be started.
pub fn not_started(command: &[OsString], err: &io::Error) -> End {
    let program = command.first().cloned().unwrap_or_default();
    tell!("error: cannot start `{}`: {err}", program.to_string_lossy());
    let not_found = err.kind() == ErrorKind::NotFound;
    End::NotStarted(if not_found { 127 } else { 126 })
}

/// Where people read what is said meanwhile.
pub fn errors() -> Box<dyn std::io::Write> {
    Box::new(Log::default())
}

/// Takes in that something of a claim is lost; gives when a command that should end for it must have ended.
fn note(news: Lost, claim: &mut Claim) -> Instant {
    match news {
        Lost::Taken(lock, by) => {
            tell!("error: the claim of `{lock}` was taken away while the command runs: {by}");
            claim.locks.retain(|held| *held != lock);
            claim.lost.push(lock);
            Instant::now() + GRACE
        }
        Lost::LeaseOver(end) => {
            let left = in_two_units(end - Instant::now());
            let locks = message::listed(&claim.locks);
            tell!(
                "error: the lease could not be renewed, and ends in {left}: somebody else may be given {locks} then"
            );
            end
        }
    }
}

/// Gives the locks back that are still held; says which of them somebody else had ended the claim of. A second signal
/// meanwhile gives up on it.
async fn give_back(
    context: &Context,
    claim: &Claim,
    signals: &mut Listener,
) -> Result<Vec<LockName>, StepError> {
    if claim.locks.is_empty() {
        return Ok(Vec::new());
    }
    let release = Operation::Release {
        locks: claim.locks.clone(),
        right: Right::Claim(claim.id),
        reason: None,
    };
    let stop = CancellationToken::new();
    let log = &mut Log::default();
    let answer = async |_: &Outcome| Ok(());
    let releasing = context.operate(context.order(release), stop.clone(), answer, log);
    let mut releasing = Box::pin(releasing);
    let mut heard = false;
    let released = loop {
        tokio::select! {
            biased;
            released = &mut releasing => break released,
            _ = signals.next_end() => {
                if heard {
                    stop.cancel();
                } else {
                    let locks = message::listed(&claim.locks);
                    tell!("giving {locks} back; once more to leave that");
                }
                heard = true;
            }
        }
    };
    let given_back = match released {
        Ok(outcome) if outcome.done_now => outcome.locks,
        // It was free already, and it was not we who freed it.
        Ok(_) => Vec::new(),
        Err(StepError::Attempt(err)) => match lost(&err) {
            Some(lock) => return Ok(vec![lock.clone()]),
            None => return Err(StepError::Attempt(err)),
        },
        Err(err) => return Err(err),
    };
    let locks = claim.locks.iter();
    let taken_away = locks.filter(|lock| !given_back.contains(lock));
    Ok(taken_away.cloned().collect())
}

//! Keeping a claim while a command runs: its lease is renewed, and whoever takes it away is noticed.

use std::io;
use std::time::{Duration, SystemTime};

use anyhow::{Result, bail};
use pool_resource::attempt::Outcome;
use pool_resource::lock::{ClaimId, LockName};
use pool_resource::message;
use pool_resource::operation::Operation;
use pool_resource::report;
use pool_resource::step::{Order, Seen, StepError, Watch};
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use super::{Context, is_lost};

/// The longest time between two looks at the claim.
const LOOK: Duration = Duration::from_secs(15);

/// The shortest lease that we keep: in commits they end with a second.
const SHORTEST: Duration = Duration::from_secs(1);

/// The longest lease that we keep: a clock can go no further than it can count.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// What has become of a claim that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lost {
    /// This lock was taken away, as this says.
    Taken(LockName, String),
    /// The lease is over, and could not be renewed so far.
    LeaseOver,
}

/// Makes sure that a claim stands, and goes on to for a while; gives when its lease is over. From when it was made some time
/// may have passed, in which others could free it.
///
/// # Errors
/// [`StepError`], or by whom it was taken away; what was, `locks` then has no longer.
pub async fn make_sure(
    context: &Context,
    watch: &mut Watch,
    claim: ClaimId,
    locks: &mut Vec<LockName>,
    lease: Duration,
) -> Result<Instant> {
    let lease = lease.clamp(SHORTEST, LONGEST);
    let mut taken = Vec::new();
    for (lock, seen) in watch.look(locks, &mut io::stderr()).await? {
        if let Some(by) = taken_away(&seen) {
            locks.retain(|held| *held != lock);
            taken.push(format!("`{lock}` {by}"));
        }
    }
    if !taken.is_empty() {
        let taken = taken.join("; ");
        bail!("the claim was taken away before the command began: {taken}");
    }
    let end = watch.lease_end()?.unwrap_or_else(SystemTime::now);
    let left = end.duration_since(SystemTime::now()).unwrap_or_default();
    if left > renewed_with(lease) {
        return Ok(Instant::now() + left.min(lease));
    }
    let began = Instant::now();
    renew(context, claim, locks, lease).await?;
    Ok(began + lease)
}

/// How much of a lease is left when it is renewed.
fn renewed_with(lease: Duration) -> Duration {
    lease - lease / 3
}

/// By whom a claim was taken away, if it was.
fn taken_away(seen: &Seen) -> Option<String> {
    match seen {
        Seen::Stands => None,
        Seen::Gone => Some("the branch does not have it any more".to_owned()),
        Seen::Ended { by, message } => {
            let why = message::trailer(message, message::REASON);
            let why = why.map_or(String::new(), |why| format!(": {}", report::one_line(&why)));
            Some(format!("by {} with {by}{why}", message::who(message)))
        }
    }
}

/// Keeps a claim for as long as it is waited for, and tells what is lost of it. Its lease lasts until `lease_end` as long as
/// it is not renewed.
///
/// A fault is no loss: it is ridden out, and told of when the lease is over.
pub async fn hold(
    context: &Context,
    mut watch: Watch,
    claim: ClaimId,
    mut locks: Vec<LockName>,
    lease: Duration,
    mut lease_end: Instant,
    tell: UnboundedSender<Lost>,
) {
    let lease = lease.clamp(SHORTEST, LONGEST);
    let third = lease / 3;
    let between_looks = LOOK.min(third);
    let mut renew_at = lease_end
        .checked_sub(renewed_with(lease))
        .unwrap_or_else(Instant::now);
    let mut look_at = Instant::now() + between_looks;
    let mut is_over = false;
    while !locks.is_empty() {
        sleep_until(renew_at.min(look_at)).await;
        if Instant::now() >= renew_at {
            let began = Instant::now();
            match timeout_at(
                lease_end.max(began + third),
                renew(context, claim, &locks, lease),
            )
            .await
            {
                Ok(Ok(())) => {
                    if std::mem::take(&mut is_over) {
                        report::say(
                            &mut io::stderr(),
                            format_args!("the lease is renewed again"),
                        );
                    }
                    // It lasts from when the commit was made, which is some time since.
                    lease_end = began + lease;
                    renew_at = began + third;
                    continue;
                }
                // The look tells more.
                Ok(Err(StepError::Attempt(err))) if is_lost(&err) => look_at = Instant::now(),
                Ok(Err(err)) => {
                    let err = report::chain(&err);
                    report::say(
                        &mut io::stderr(),
                        format_args!("warning: cannot renew the lease: {err}"),
                    );
                }
                Err(_) => {}
            }
            renew_at = Instant::now() + between_looks;
            if Instant::now() >= lease_end && !std::mem::replace(&mut is_over, true) {
                let _ = tell.send(Lost::LeaseOver);
            }
        }
        if Instant::now() < look_at {
            continue;
        }
        let mut unheard = io::sink();
        let looking = watch.look(&locks, &mut unheard);
        // A fault of the look says nothing; a renewal that fails will be told of.
        if let Ok(Ok(seen)) =
            timeout_at(renew_at.max(Instant::now() + between_looks), looking).await
        {
            for (lock, seen) in seen {
                let Some(by) = taken_away(&seen) else {
                    continue;
                };
                locks.retain(|held| *held != lock);
                let _ = tell.send(Lost::Taken(lock, by));
            }
        }
        look_at = Instant::now() + between_looks;
    }
    // Nothing is left to be kept; whoever waits for this waits for something else as well.
    std::future::pending().await
}

async fn renew(
    context: &Context,
    claim: ClaimId,
    locks: &[LockName],
    lease: Duration,
) -> std::result::Result<(), StepError> {
    let renew = Operation::Renew {
        locks: locks.to_vec(),
        claim,
    };
    let order = Order {
        lease: Some(lease),
        ..context.order(renew)
    };
    let answer = async |_: &Outcome| Ok(());
    let stop = CancellationToken::new();
    context
        .operate(order, stop, answer, &mut io::stderr())
        .await?;
    Ok(())
}

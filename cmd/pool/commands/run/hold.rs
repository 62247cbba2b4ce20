//! Keeping a claim while a command runs: its lease is renewed, and whoever takes it away is noticed.

use std::io;
use std::time::Duration;

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

/// What has become of a claim that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lost {
    /// This lock was taken away, as this says.
    Taken(LockName, String),
    /// The lease is over, and could not be renewed so far.
    LeaseOver,
}

/// Keeps a claim that has just been made for as long as it is waited for, and tells what is lost of it.
///
/// A fault is no loss: it is ridden out, and told of when the lease is over.
pub async fn hold(
    context: &Context,
    mut watch: Watch,
    claim: ClaimId,
    mut locks: Vec<LockName>,
    lease: Duration,
    tell: UnboundedSender<Lost>,
) {
    let third = lease / 3;
    let between_looks = LOOK.min(third);
    let mut lease_end = Instant::now() + lease;
    let mut renew_at = Instant::now() + third;
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
                let by = match seen {
                    Seen::Stands => continue,
                    Seen::Gone => "the branch does not have it any more".to_owned(),
                    Seen::Ended { by, message } => {
                        let why = message::trailer(&message, message::REASON);
                        let why = why
                            .map_or(String::new(), |why| format!(": {}", report::one_line(&why)));
                        format!("by {} with {by}{why}", message::who(&message))
                    }
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
) -> Result<(), StepError> {
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

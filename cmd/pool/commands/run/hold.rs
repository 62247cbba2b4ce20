//! Keeping a claim while a command runs: its lease is renewed, and whoever takes it away is noticed.

use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use anyhow::{Result, bail};
use pool::attempt::Outcome;
use pool::lock::{ClaimId, LockName};
use pool::message;
use pool::operation::Operation;
use pool::step::{Order, Seen, StepError, Watch};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use super::{Context, GRACE, lost};

/// The longest time between two looks at the claim.
const LOOK: Duration = Duration::from_secs(15);

/// The shortest lease that we keep: in commits they end with a second.
const SHORTEST: Duration = Duration::from_secs(1);

/// The longest lease that we keep: a clock can go no further than it can count.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// Gives a stream for what people should know.
pub type Log = dyn Fn() -> Box<dyn Write>;

/// A claim that an eye is kept on.
pub struct Watched {
    /// The eye.
    pub watch: Watch,
    /// The claim.
    pub claim: ClaimId,
    /// What is held by it.
    pub locks: Vec<LockName>,
}

/// What has become of a claim that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lost {
    /// This lock was taken away, as this says.
    Taken(LockName, String),
    /// The lease could not be renewed so far, and is over at this moment.
    LeaseOver(Instant),
}

/// A lease as we keep it.
pub fn kept(lease: Duration) -> Duration {
    lease.clamp(SHORTEST, LONGEST)
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
    log: &Log,
) -> Result<Instant> {
    let mut taken = Vec::new();
    for (lock, seen) in watch.look(locks, &mut *log()).await? {
        if let Some(by) = taken_away(&seen) {
            locks.retain(|held| *held != lock);
            taken.push(format!("`{lock}` {by}"));
        }
    }
    if !taken.is_empty() {
        let taken = taken.join("; ");
        bail!("the claim was taken away before the command began: {taken}");
    }
    let end = watch.lease_end().unwrap_or_else(SystemTime::now);
    let left = end.duration_since(SystemTime::now()).unwrap_or_default();
    if left > renewed_with(lease) {
        return Ok(Instant::now() + left.min(lease));
    }
    let began = Instant::now();
    renew(context, claim, locks, lease, log).await?;
    Ok(began + lease)
}

/// How much of a lease is left when it is renewed.
fn renewed_with(lease: Duration) -> Duration {
    lease - lease / 3
}

/// By whom a claim was taken away, if it was.
pub fn taken_away(seen: &Seen) -> Option<String> {
    match seen {
        Seen::Stands => None,
        Seen::Gone => Some("the branch does not have it any more".to_owned()),
        Seen::Ended { by, message } => {
            let why = message::trailer(message, message::REASON);
            let why = why.map_or(String::new(), |why| {
                format!(": {}", terminal::one_line(&why))
            });
            Some(format!("by {} with {by}{why}", message::who(message)))
        }
    }
}

/// Keeps a claim for as long as it is waited for, and tells what is lost of it. Its lease lasts until `lease_end` as long as
/// it is not renewed.
///
/// A fault is no loss: it is ridden out, and told of when the lease is about to be over.
pub async fn hold(
    context: &Context,
    claim: Watched,
    lease: Duration,
    lease_end: Instant,
    tell: UnboundedSender<Lost>,
    log: &Log,
) {
    let (renewed, ends) = watch::channel(lease_end);
    let warning = warn(ends, lease, tell.clone());
    tokio::join!(keep(context, claim, lease, renewed, tell, log), warning);
    // Nothing is left to be kept; whoever waits for this waits for something else as well.
    std::future::pending().await
}

/// Renews a lease and looks what becomes of the claim, until nothing is left of it. Whenever the lease is renewed, `ends`
/// says until when.
async fn keep(
    context: &Context,
    claim: Watched,
    lease: Duration,
    ends: watch::Sender<Instant>,
    tell: UnboundedSender<Lost>,
    log: &Log,
) {
    let Watched {
        mut watch,
        claim,
        mut locks,
    } = claim;
    let third = lease / 3;
    let between_looks = LOOK.min(third);
    let mut renew_at = before(*ends.borrow(), renewed_with(lease));
    let mut look_at = Instant::now() + between_looks;
    let mut clocks = Clocks::now();
    while !locks.is_empty() {
        sleep_until(renew_at.min(look_at)).await;
        if clocks.were_apart() {
            renew_at = Instant::now();
        }
        if Instant::now() >= renew_at {
            let began = Instant::now();
            let lease_end = *ends.borrow();
            let limit = lease_end.max(began + third);
            match timeout_at(limit, renew(context, claim, &locks, lease, log)).await {
                Ok(Ok(())) => {
                    if Instant::now() >= before(lease_end, early(lease)) {
                        terminal::say(&mut *log(), format_args!("the lease is renewed again"));
                    }
                    // It lasts from when the commit was made, which is some time since.
                    ends.send_replace(began + lease);
                    renew_at = began + third;
                    continue;
                }
                // The look tells more.
                Ok(Err(StepError::Attempt(err))) if lost(&err).is_some() => {
                    look_at = Instant::now()
                }
                Ok(Err(err)) => {
                    let err = terminal::chain(&err);
                    terminal::say(
                        &mut *log(),
                        format_args!("warning: cannot renew the lease: {err}"),
                    );
                }
                Err(_) => {}
            }
            renew_at = Instant::now() + between_looks;
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
}

/// Tells when a lease is about to be over that was not renewed, however long renewing takes; until there is none any more.
async fn warn(mut ends: watch::Receiver<Instant>, lease: Duration, tell: UnboundedSender<Lost>) {
    loop {
        let end = *ends.borrow_and_update();
        let renewed = tokio::select! {
            renewed = ends.changed() => renewed,
            () = sleep_until(before(end, early(lease))) => {
                let _ = tell.send(Lost::LeaseOver(end));
                ends.changed().await
            }
        };
        if renewed.is_err() {
            return;
        }
    }
}

/// The clock by which we wait, which stands still while the machine sleeps, and the one by which leases end.
struct Clocks {
    ours: Instant,
    wall: SystemTime,
}

impl Clocks {
    fn now() -> Clocks {
        Clocks {
            ours: Instant::now(),
            wall: SystemTime::now(),
        }
    }

    /// Whether much more time has passed on the wall than by our clock since this was asked last.
    fn were_apart(&mut self) -> bool {
        const APART: Duration = Duration::from_secs(5);
        let before = std::mem::replace(self, Clocks::now());
        let on_the_wall = before.wall.elapsed().unwrap_or_default();
        on_the_wall > before.ours.elapsed() + APART
    }
}

/// How long before its end a lease counts as lost: so long that a command can be ended within it.
fn early(lease: Duration) -> Duration {
    GRACE.min(lease / 3)
}

fn before(moment: Instant, time: Duration) -> Instant {
    moment.checked_sub(time).unwrap_or_else(Instant::now)
}

async fn renew(
    context: &Context,
    claim: ClaimId,
    locks: &[LockName],
    lease: Duration,
    log: &Log,
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
    context.operate(order, stop, answer, &mut *log()).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tokio::sync::mpsc::error::TryRecvError;
    use tokio::sync::mpsc::unbounded_channel;
    use tokio::time::{sleep, sleep_until};

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_is_not_renewed_is_told_of_in_time_for_a_command_to_be_ended_within_it() {
        for (lease, in_time) in [(MINUTE, GRACE), (SHORTEST, SHORTEST / 3)] {
            let end = Instant::now() + lease;
            let (_renewed, ends) = watch::channel(end);
            let (tell, mut told) = unbounded_channel();
            tokio::spawn(warn(ends, lease, tell));

            assert_eq!(told.recv().await, Some(Lost::LeaseOver(end)));
            let left = end.duration_since(Instant::now());
            assert!(left <= in_time && left + Duration::from_millis(2) >= in_time);
        }
    }

    #[test]
    fn a_machine_that_slept_shows_in_its_clocks() {
        let mut clocks = Clocks::now();
        assert!(!clocks.were_apart());
        clocks.wall -= MINUTE;
        assert!(clocks.were_apart());
        assert!(!clocks.were_apart());
        // One that was set back says nothing.
        clocks.wall += MINUTE;
        assert!(!clocks.were_apart());
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_is_told_of_again_only_after_it_was_renewed_and_not_when_nothing_is_held() {
        let began = Instant::now();
        let (renewed, ends) = watch::channel(began + MINUTE);
        let (tell, mut told) = unbounded_channel();
        let warning = tokio::spawn(warn(ends, MINUTE, tell));

        sleep(MINUTE / 2).await;
        renewed.send_replace(began + 2 * MINUTE);
        sleep_until(began + MINUTE).await;
        assert_eq!(told.try_recv(), Err(TryRecvError::Empty));
        sleep_until(began + 10 * MINUTE).await;
        assert_eq!(told.try_recv(), Ok(Lost::LeaseOver(began + 2 * MINUTE)));
        assert_eq!(told.try_recv(), Err(TryRecvError::Empty));

        renewed.send_replace(began + 11 * MINUTE);
        sleep(Duration::from_secs(1)).await;
        drop(renewed);
        warning.await.unwrap();
        assert_eq!(told.try_recv(), Err(TryRecvError::Disconnected));
    }
}

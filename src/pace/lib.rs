//! When to try again, how long to wait, and how durations are written.
//!
//! The lowest floor of the house: every other crate may use it, and it uses none of them.
//!
//! - [`pauses`]: pauses that grow, with jitter.
//! - [`Faults`], [`ride_out`]: errors that may pass are retried, for a limited time.
//! - [`Budget`]: one limit for everything that a piece of work waits for.
//! - [`duration`]: durations as Go writes them, and as people read them.
//!
//! # Invariants
//!
//! - Nothing here talks to anybody: no files, no network, no output. A caller that wants people to know of a retry
//!   passes a function that tells them.
//! - Time is tokio's, which a test can stop and wind on.

mod budget;
pub mod duration;

pub use budget::Budget;

use std::error::Error;
use std::time::Duration;

use rand::RngExt;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use duration::whole_seconds;

/// An error that may pass by itself.
pub trait Fault: Error {
    /// Whether the same request may well succeed a little later.
    fn is_transient(&self) -> bool;

    /// The longest that it is worth retrying, however patient somebody is.
    fn longest(&self) -> Option<Duration> {
        None
    }

    /// How long the other side has asked to be left alone.
    fn wait(&self) -> Option<Duration> {
        None
    }
}

/// The longest that is waited because the other side asked for it.
const LONGEST_ASKED_FOR: Duration = Duration::from_secs(120);

/// How a step waits, and how long it retries errors of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// The pause between two looks at a lock that is not to be had yet.
    pub retry_delay: Duration,
    /// How long errors of the server are retried, counted from the first error after a success.
    pub fault_limit: Duration,
}

/// Pauses that double from `first` up to `cap`, each shortened at random by up to a half.
///
/// Without the random part, all who failed together would come back together.
pub fn pauses(first: Duration, cap: Duration) -> impl Iterator<Item = Duration> {
    let mut next = first;
    std::iter::repeat_with(move || {
        let whole = next.min(cap);
        next = whole.saturating_mul(2);
        whole.mul_f64(rand::rng().random_range(0.5..=1.0))
    })
}

/// Pauses after a lost race: somebody else was served, so the next try may well succeed; the more there are of us the
/// further we must spread.
pub fn pauses_after_lost_races() -> impl Iterator<Item = Duration> {
    pauses(Duration::from_millis(20), Duration::from_secs(1))
}

/// Faults in a row, with no success in between.
pub struct Faults {
    limit: Duration,
    since: Option<Instant>,
    tries: u32,
    pauses: Box<dyn Iterator<Item = Duration>>,
}

/// Why an error is not retried, or not any longer.
#[derive(Debug, thiserror::Error)]
pub enum FaultError<E: Error + 'static> {
    /// Trying again would not help.
    #[error(transparent)]
    Permanent(E),
    /// We were told to stop.
    #[error("stopped by a signal")]
    Stopped,
    /// It went on for too long.
    #[error("gave up after {tries} tries in {}", humantime::format_duration(whole_seconds(*.after)))]
    GaveUp {
        /// How often it was tried.
        tries: u32,
        /// How long it went on.
        after: Duration,
        /// The last fault.
        #[source]
        source: E,
    },
}

/// Tells people that a fault is retried after a pause.
pub type Tell<'a, E> = &'a mut dyn FnMut(&E, Duration);

impl Faults {
    /// Faults that are retried for `limit`.
    pub fn new(limit: Duration) -> Faults {
        Faults {
            limit,
            since: None,
            tries: 0,
            // A short disturbance is over in a moment. A server that restarts is not helped by a crowd that asks every second.
            pauses: Box::new(pauses(Duration::from_millis(200), Duration::from_secs(20))),
        }
    }

    /// Tells of a fault and pauses, or gives up.
    ///
    /// # Errors
    /// [`FaultError`] when the fault cannot pass, the limit is over, or we are told to stop.
    pub async fn bear<E: Fault + 'static>(
        &mut self,
        fault: E,
        stop: &CancellationToken,
        tell: Tell<'_, E>,
    ) -> Result<(), FaultError<E>> {
        if !fault.is_transient() {
            return Err(FaultError::Permanent(fault));
        }
        self.tries += 1;
        let after = self.since.get_or_insert_with(Instant::now).elapsed();
        let pause = self.pauses.next().unwrap_or_default();
        let asked_for = fault.wait().unwrap_or_default().min(LONGEST_ASKED_FOR);
        let pause = pause.max(asked_for);
        let limit = fault.longest().unwrap_or(self.limit).min(self.limit);
        if after + pause > limit {
            return Err(FaultError::GaveUp {
                tries: self.tries,
                after,
                source: fault,
            });
        }
        tell(&fault, pause);
        pause_unless_stopped(pause, stop).await?;
        Ok(())
    }
}

/// Repeats `work` until it succeeds; retries faults for `limit`.
///
/// What is under way when we are told to stop is dropped: this is for work that changes nothing.
///
/// # Errors
/// As [`Faults::bear`].
pub async fn ride_out<T, E: Fault + 'static>(
    limit: Duration,
    stop: &CancellationToken,
    tell: Tell<'_, E>,
    mut work: impl AsyncFnMut() -> Result<T, E>,
) -> Result<T, FaultError<E>> {
    let mut faults = Faults::new(limit);
    loop {
        let done = stop.run_until_cancelled(work()).await;
        match done.ok_or(FaultError::Stopped)? {
            Ok(done) => return Ok(done),
            Err(fault) => faults.bear(fault, stop, tell).await?,
        }
    }
}

/// We were told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("stopped by a signal")]
pub struct Stopped;

impl<E: Error + 'static> From<Stopped> for FaultError<E> {
    fn from(_: Stopped) -> FaultError<E> {
        FaultError::Stopped
    }
}

/// Sleeps, unless we are told to stop.
///
/// # Errors
/// [`Stopped`].
pub async fn pause_unless_stopped(
    pause: Duration,
    stop: &CancellationToken,
) -> Result<(), Stopped> {
    stop.run_until_cancelled(sleep(pause)).await.ok_or(Stopped)
}

/// Comes back some time after we were told to stop, and never if we are not.
pub async fn stopped_for(time: Duration, stop: &CancellationToken) {
    stop.cancelled().await;
    sleep(time).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_cap_and_are_shortened_by_at_most_a_half() {
        let (first, cap) = (Duration::from_millis(100), Duration::from_millis(700));

        for (pause, whole) in pauses(first, cap).zip([100, 200, 400, 700, 700]) {
            let millis = pause.as_secs_f64() * 1000.0;
            assert!(
                (f64::from(whole) / 2.0..=f64::from(whole)).contains(&millis.round()),
                "{pause:?}"
            );
        }
    }

    #[derive(Debug, thiserror::Error)]
    enum Trouble {
        #[error("no answer")]
        Silent,
        #[error("later")]
        Busy(Duration),
        #[error("no")]
        Denied,
    }

    impl Fault for Trouble {
        fn is_transient(&self) -> bool {
            match self {
                Trouble::Silent | Trouble::Busy(_) => true,
                Trouble::Denied => false,
            }
        }

        fn wait(&self) -> Option<Duration> {
            match self {
                Trouble::Busy(wait) => Some(*wait),
                Trouble::Silent | Trouble::Denied => None,
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_to_be_left_alone_is_left_alone_but_not_for_hours() {
        let (mut faults, stop) = (
            Faults::new(Duration::from_secs(300)),
            CancellationToken::new(),
        );
        for (asked, waited) in [(0, 0..=1), (7, 7..=7), (86_400, 120..=120)] {
            let started = Instant::now();

            let fault = Trouble::Busy(Duration::from_secs(asked));
            let borne = faults.bear(fault, &stop, &mut |_, _| {}).await;

            assert!(borne.is_ok(), "{borne:?}");
            assert!(waited.contains(&started.elapsed().as_secs()), "{asked}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn faults_are_ridden_out_until_the_limit_is_over() {
        let mut told = Vec::new();
        let started = Instant::now();

        let result = ride_out(
            Duration::from_secs(60),
            &CancellationToken::new(),
            &mut |fault: &Trouble, pause| told.push((fault.to_string(), pause)),
            async || Err::<(), _>(Trouble::Silent),
        )
        .await;

        assert!(
            matches!(result, Err(FaultError::GaveUp { tries: 6.., .. })),
            "{result:?}"
        );
        assert!(started.elapsed() <= Duration::from_secs(60));
        assert!(started.elapsed() >= Duration::from_secs(30));
        assert!(told.len() >= 5, "{told:?}");
        assert!(told.iter().all(|(fault, _)| fault == "no answer"));
        let paused: Duration = told.iter().map(|(_, pause)| *pause).sum();
        assert_eq!(paused.as_secs(), started.elapsed().as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn a_success_ends_a_row_of_faults_and_a_permanent_fault_ends_the_work() {
        let mut left = 3;
        let mut unheard = |_: &Trouble, _| {};
        let result = ride_out(
            Duration::from_secs(60),
            &CancellationToken::new(),
            &mut unheard,
            async || {
                left -= 1;
                if left > 0 {
                    Err(Trouble::Silent)
                } else {
                    Ok(7)
                }
            },
        )
        .await;
        assert!(matches!(result, Ok(7)));

        let result = ride_out(
            Duration::from_secs(60),
            &CancellationToken::new(),
            &mut unheard,
            async || Err::<(), _>(Trouble::Denied),
        )
        .await;
        assert!(matches!(
            result,
            Err(FaultError::Permanent(Trouble::Denied))
        ));
    }
}

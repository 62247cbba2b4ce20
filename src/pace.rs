//! When to try again: pauses that grow, with jitter, and a limit on how long faults are ridden out.
//!
//! Time is tokio's, which a test can stop and wind on.

use std::io::Write;
use std::time::Duration;

use rand::RngExt;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::git::RemoteError;
use crate::report;

/// How a step waits and how long it bears with a faulty server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// The pause between two looks at a lock that is not to be had yet.
    pub retry_delay: Duration,
    /// How long faults without a success in between are ridden out.
    pub fault_limit: Duration,
}

/// Pauses that double from `first` up to `cap`, each shortened at random by up to a half.
///
/// Without the chance, all who failed together would come back together.
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

/// A row of faults with no success in between.
pub struct Faults {
    limit: Duration,
    since: Option<Instant>,
    tries: u32,
    pauses: Box<dyn Iterator<Item = Duration>>,
}

/// Why faults are not ridden out any longer.
#[derive(Debug, thiserror::Error)]
pub enum FaultError {
    /// Trying again would not help.
    #[error(transparent)]
    Permanent(RemoteError),
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
        source: RemoteError,
    },
}

impl Faults {
    /// A row that may go on for `limit`.
    pub fn new(limit: Duration) -> Faults {
        Faults {
            limit,
            since: None,
            tries: 0,
            // A blip is over in a moment; a server that restarts is not helped by a crowd asking every second.
            pauses: Box::new(pauses(Duration::from_millis(200), Duration::from_secs(20))),
        }
    }

    /// Pauses after a fault, saying so, or gives up.
    ///
    /// # Errors
    /// [`FaultError`] when the fault is none that passes, the limit is over, or we are told to stop.
    pub async fn bear(
        &mut self,
        fault: RemoteError,
        stop: &CancellationToken,
        log: &mut dyn Write,
    ) -> Result<(), FaultError> {
        if !fault.is_transient() {
            return Err(FaultError::Permanent(fault));
        }
        self.tries += 1;
        let after = self.since.get_or_insert_with(Instant::now).elapsed();
        let pause = self.pauses.next().unwrap_or_default();
        if after + pause > self.limit {
            return Err(FaultError::GaveUp {
                tries: self.tries,
                after,
                source: fault,
            });
        }
        let pause_shown =
            humantime::format_duration(Duration::from_millis(pause.as_millis() as u64));
        report::say(
            log,
            format_args!(
                "warning: {}; trying again in {pause_shown}",
                report::chain(&fault)
            ),
        );
        pause_unless_stopped(pause, stop).await
    }
}

/// Repeats `work` until it succeeds, bearing with faults for `limit`.
///
/// What is under way when we are told to stop is dropped: this is for work that changes nothing.
///
/// # Errors
/// As [`Faults::bear`].
pub async fn ride_out<T>(
    limit: Duration,
    stop: &CancellationToken,
    log: &mut dyn Write,
    mut work: impl AsyncFnMut() -> Result<T, RemoteError>,
) -> Result<T, FaultError> {
    let mut faults = Faults::new(limit);
    loop {
        let done = stop.run_until_cancelled(work()).await;
        match done.ok_or(FaultError::Stopped)? {
            Ok(done) => return Ok(done),
            Err(fault) => faults.bear(fault, stop, log).await?,
        }
    }
}

/// Sleeps, unless we are told to stop.
///
/// # Errors
/// [`FaultError::Stopped`].
pub async fn pause_unless_stopped(
    pause: Duration,
    stop: &CancellationToken,
) -> Result<(), FaultError> {
    stop.run_until_cancelled(sleep(pause))
        .await
        .ok_or(FaultError::Stopped)
}

/// Comes back some time after we were told to stop, and never if we are not.
pub async fn stopped_for(time: Duration, stop: &CancellationToken) {
    stop.cancelled().await;
    sleep(time).await;
}

/// A duration without the fractions of a second that nobody wants to read.
pub fn whole_seconds(duration: Duration) -> Duration {
    Duration::from_secs(duration.as_secs())
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

    fn silent() -> RemoteError {
        RemoteError::Silent {
            remote: "r".into(),
            after: Duration::from_secs(1),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn faults_are_ridden_out_until_the_limit_is_over() {
        let mut log = Vec::new();
        let started = Instant::now();

        let result = ride_out(
            Duration::from_secs(60),
            &CancellationToken::new(),
            &mut log,
            async || Err::<(), _>(silent()),
        )
        .await;

        assert!(
            matches!(result, Err(FaultError::GaveUp { tries: 6.., .. })),
            "{result:?}"
        );
        assert!(started.elapsed() <= Duration::from_secs(60));
        assert!(started.elapsed() >= Duration::from_secs(30));
        assert!(
            String::from_utf8_lossy(&log)
                .contains("warning: no answer from `r` for 1s; trying again in")
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_success_ends_a_row_of_faults_and_a_permanent_fault_ends_the_work() {
        let mut left = 3;
        let mut log = Vec::new();
        let result = ride_out(
            Duration::from_secs(60),
            &CancellationToken::new(),
            &mut log,
            async || {
                left -= 1;
                if left > 0 { Err(silent()) } else { Ok(7) }
            },
        )
        .await;
        assert!(matches!(result, Ok(7)));

        let result = ride_out(
            Duration::from_secs(60),
            &CancellationToken::new(),
            &mut log,
            async || {
                Err::<(), _>(RemoteError::Denied {
                    remote: "r".into(),
                    words: "no".into(),
                })
            },
        )
        .await;
        assert!(matches!(
            result,
            Err(FaultError::Permanent(RemoteError::Denied { .. }))
        ));
    }
}

//! One limit for everything that a piece of work waits for.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::{CancellationToken, DropGuard};

/// How long some work may take: until somebody says stop, or its time is over, whatever it waits for at that moment.
///
/// Every pause and every conversation of the work ends with [`Budget::over`]. Which of the two it was is told by
/// [`Budget::is_out_of_time`].
#[derive(Debug)]
pub struct Budget {
    began: Instant,
    stop: CancellationToken,
    over: CancellationToken,
    /// Ends the clock with the work.
    _clock: Option<DropGuard>,
}

impl Budget {
    /// A budget from now on: until `stop` is cancelled, and no longer than `limit`.
    ///
    /// It needs a tokio runtime where there is a limit.
    pub fn new(stop: CancellationToken, limit: Option<Duration>) -> Budget {
        let over = stop.child_token();
        let clock = limit.map(|limit| {
            let (ends, ended) = (over.clone(), CancellationToken::new());
            let guard = ended.clone().drop_guard();
            tokio::spawn(async move {
                tokio::select! {
                    () = sleep(limit) => ends.cancel(),
                    () = ended.cancelled() => {}
                }
            });
            guard
        });
        Budget {
            began: Instant::now(),
            stop,
            over,
            _clock: clock,
        }
    }

    /// Cancelled when we are told to stop, or the time is over.
    pub fn over(&self) -> &CancellationToken {
        &self.over
    }

    /// Cancelled when we are told to stop.
    pub fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Whether the time is over, and nobody has told us to stop.
    pub fn is_out_of_time(&self) -> bool {
        self.over.is_cancelled() && !self.stop.is_cancelled()
    }

    /// How much time has passed.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_budget_is_over_when_its_time_is_and_says_which_it_was() {
        let budget = Budget::new(CancellationToken::new(), Some(Duration::from_secs(3)));
        assert!(!budget.over().is_cancelled());

        budget.over().cancelled().await;

        assert_eq!(budget.elapsed().as_secs(), 3);
        assert!(budget.is_out_of_time());
    }

    #[tokio::test(start_paused = true)]
    async fn a_budget_is_over_when_we_are_told_to_stop() {
        let stop = CancellationToken::new();
        for limit in [None, Some(Duration::from_secs(3))] {
            let budget = Budget::new(stop.clone(), limit);
            stop.cancel();

            budget.over().cancelled().await;

            assert_eq!(budget.elapsed(), Duration::ZERO);
            assert!(!budget.is_out_of_time());
        }
    }
}

//! When to look again, and when to show that we are there.

use std::time::Duration;

use rand::RngExt;
use tokio::time::Instant;

use super::{Queue, now};
use crate::line::courtesy::Measure;
use crate::line::load;

/// Whoever gives up within this time looks once more at a free lock that is for somebody else, and does not wait longer.
const HASTY: Duration = Duration::from_secs(5);

/// The least pause before a look that is made because those before us do nothing.
const LEAST_PAUSE: Duration = Duration::from_millis(20);

impl Queue {
    pub(super) fn measure(&self) -> Measure {
        let (_, me) = self.live();
        Measure {
            ahead: me,
            look: self.look,
            is_hasty: self.patience.limit.is_some_and(|limit| limit < HASTY),
        }
    }

    /// How long to wait until the next look, at this place in the line.
    pub fn pause(&self, place: Option<usize>) -> Duration {
        let now = now();
        let (line, _) = self.live();
        let retry_delay = self.patience.retry_delay;
        let pause = match place.filter(|_| self.ours.is_some()) {
            Some(place) => {
                let usual = load::pause(place, line.len(), retry_delay);
                let moves = self.motion.pause(place, now);
                usual.min(moves.unwrap_or(usual).max(load::FIRST))
            }
            None => retry_delay,
        };
        let pause = pause.mul_f64(rand::rng().random_range(0.8..=1.0));
        let called = self.courtesy.left_for_called(now);
        pause.min(called.map_or(pause, |left| left.max(LEAST_PAUSE)))
    }

    /// How long one whose patience is over is to wait all the same, for one more look: a lock is free, for somebody before
    /// it who may not be there. It is told so once.
    pub fn one_more_look(&mut self) -> Option<Duration> {
        let left = self.courtesy.left_for_called(now())?;
        let is_new = !std::mem::replace(&mut self.looked_again, true);
        is_new.then_some(left.max(LEAST_PAUSE))
    }

    /// After which time our ticket is to be renewed.
    pub(super) fn period(&self) -> Duration {
        let (line, _) = self.live();
        load::period(
            self.settings.renewal,
            line.len(),
            self.arrived.elapsed(),
            self.collects(),
        )
    }

    /// When there is something to do for our ticket; `None` without one.
    pub fn renewal_due(&self) -> Option<Instant> {
        Some(Instant::from_std(self.ours.as_ref()?.due()))
    }
}

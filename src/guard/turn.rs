//! Whether it is our turn: what one reading after the other says.
//!
//! Pure: readings go in, each with the time at which it began, and out comes whether to enter.

use std::time::{Duration, SystemTime};

use crate::rule::{Conflict, Own, Reading, in_the_way, own_start, shows_us};

/// How long after the start of our own job a reading counts: two seconds by which the clocks of GitLab's web nodes may
/// differ, and five by which an answer may lag behind. A job that started before ours is in it.
pub const SETTLE: Duration = Duration::from_secs(7);

/// The least time between the two readings without which nobody enters.
pub const BETWEEN: Duration = Duration::from_secs(2);

/// How far the server's clock is believed: its nodes differ by two seconds, and a date has whole ones.
const DOUBT: Duration = Duration::from_secs(3);

/// What to do after a reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// It is our turn.
    Enter,
    /// Nobody is in the way. Look again after this time, to be sure.
    Confirm(Duration),
    /// The reading is older than our own job. Look again after this time.
    Unseen(Duration),
    /// These are in the way.
    Wait(Vec<Conflict>),
}

/// The readings so far.
#[derive(Debug, Clone)]
pub struct Turn {
    own: Own,
    settle: Duration,
    /// When the first of the readings began that showed nobody in the way, and that none followed which did.
    free_since: Option<Duration>,
}

impl Turn {
    /// No readings yet. Readings count from `settle` on after the start of our job.
    pub fn new(own: Own, settle: Duration) -> Turn {
        Turn {
            own,
            settle,
            free_since: None,
        }
    }

    /// Takes in a reading that began `at` this time after we did.
    pub fn after(&mut self, at: Duration, reading: &Reading) -> Step {
        let conflicts = in_the_way(&self.own, reading);
        if !conflicts.is_empty() {
            self.free_since = None;
            return Step::Wait(conflicts);
        }
        let between = BETWEEN.min(self.settle);
        if !shows_us(&self.own, reading) {
            self.free_since = None;
            return Step::Unseen(between);
        }
        let since = *self.free_since.get_or_insert(at);
        let to_confirm = (since + between).saturating_sub(at);
        let to_settle = self.settle.saturating_sub(self.age(at, reading));
        let is_second = since < at || self.settle.is_zero();
        match to_confirm.max(to_settle) {
            Duration::ZERO if is_second => Step::Enter,
            pause => Step::Confirm(pause),
        }
    }

    /// For how long our job has run at least, when a reading began at this time.
    fn age(&self, at: Duration, reading: &Reading) -> Duration {
        let by_server = |start: SystemTime| {
            let age = reading.date?.duration_since(start).ok()?;
            Some(age.saturating_sub(DOUBT))
        };
        let by_server = own_start(&self.own, reading).and_then(by_server);
        at.max(by_server.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests;

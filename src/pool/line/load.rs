//! What a line costs the server: how often those in it look, and how often they show that they are there.
//!
//! Both are bounded for a line as a whole, however long it is.
//!
//! - *Looks*: some seven to ten a second. The first in line looks about three times a second and the second once: what they
//!   wait for can be there at any moment. Those behind them look the more seldom the further back they are: a line whose
//!   locks come free one right after the other gets to each about when he looks. Who sees that the line moves looks in
//!   time for when it may be first.
//! - *Signs of life*: three a minute with the usual `ticket_renewal`. GitHub recommends at most six pushes a minute for a
//!   repository. The longer a line is, and the longer somebody waits, the more seldom he shows that he is there; his
//!   ticket says when he will next. Each sign is a commit that the server keeps for a while.
//!
//! So it takes long until a ticket without an owner is known by its silence. That does no harm: a free lock is never left
//! to somebody who does not take it, see [`super::courtesy`].

use std::time::{Duration, Instant};

/// The pause between two looks of the first in line.
pub const FIRST: Duration = Duration::from_millis(300);

/// That of the second.
const SECOND: Duration = Duration::from_millis(800);

/// What each place further back adds to the pause.
const PER_PLACE: Duration = Duration::from_secs(1);

/// How many may look after `retry_delay` at the latest.
const FEW: usize = 10;

/// What each waiter beyond those adds to the longest pause: all together they look about as often as those few.
const PER_WAITER: Duration = Duration::from_millis(750);

/// After waiting for ten times as long, one shows that one is there after this.
const PART: u32 = 10;

/// The longest pause that comes of having waited for long.
const PATIENT: Duration = Duration::from_secs(600);

/// The same for one who keeps free locks from others, because he needs several at once.
const KEEPING: Duration = Duration::from_secs(60);

/// How soon one shows again that one is there, among so many who wait.
///
/// Whoever `keeps` free locks from those behind him is known to be gone by his silence alone, and so shows himself as
/// often as if he were alone.
pub fn period(renewal: Duration, waiting: usize, waited: Duration, keeps: bool) -> Duration {
    let patient = waited / PART;
    if keeps {
        return renewal.max(patient.min(KEEPING));
    }
    let waiting = u32::try_from(waiting.max(1)).unwrap_or(u32::MAX);
    renewal
        .saturating_mul(waiting)
        .max(patient.min(PATIENT.max(renewal)))
}

/// The pause between two looks of the one at `place` (from 1) among so many who wait.
///
/// Where fewer than some ten wait, nobody looks more seldom than after `retry_delay`.
pub fn pause(place: usize, waiting: usize, retry_delay: Duration) -> Duration {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let by_place = match place {
        0 | 1 => FIRST,
        2 => SECOND,
        place => PER_PLACE.saturating_mul(number(place)),
    };
    let longest = PER_WAITER.saturating_mul(number(waiting.saturating_sub(FEW)));
    by_place.min(longest.max(retry_delay))
}

/// The pause of one who has moved up to `place`, so many places in that time: half of what it may take until it is first.
/// It only ever makes a pause shorter.
fn pause_in_motion(place: usize, moved: usize, time: Duration) -> Option<Duration> {
    let moved = u32::try_from(moved).ok().filter(|moved| *moved > 0)?;
    let before = u32::try_from(place.saturating_sub(1)).unwrap_or(u32::MAX);
    Some((time / moved).saturating_mul(before) / 2)
}

/// How fast the line moves, as far as one sees it.
#[derive(Debug, Default)]
pub struct Motion {
    stood: Option<(usize, Instant)>,
    /// How many places in which time, when it has moved last.
    pace: Option<(usize, Duration)>,
}

impl Motion {
    /// Notes the place in the line that we have now.
    pub fn note(&mut self, place: usize, now: Instant) {
        match self.stood {
            Some((stood, since)) if place < stood => {
                self.pace = Some((stood - place, now.duration_since(since)));
                self.stood = Some((place, now));
            }
            Some((stood, _)) if place == stood => {}
            _ => {
                self.pace = None;
                self.stood = Some((place, now));
            }
        }
    }

    /// The pause that the motion makes worth while; `None` while there is none.
    pub fn pause(&self, place: usize, now: Instant) -> Option<Duration> {
        let (moved, time) = self.pace?;
        let (_, since) = self.stood?;
        // As long as it does not move on, it may be slower than it was.
        let slower = now.duration_since(since);
        let time = time.max(slower.saturating_mul(u32::try_from(moved).unwrap_or(u32::MAX)));
        pause_in_motion(place, moved, time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECONDS: Duration = Duration::from_secs(1);

    #[test]
    fn the_looks_of_a_whole_line_are_some_seven_to_ten_a_second_whatever_its_length() {
        for waiting in [1, 2, 3, 10, 30, 100, 200, 1000] {
            let rate: f64 = (1..=waiting)
                .map(|place| 1.0 / pause(place, waiting, 10 * SECONDS).as_secs_f64())
                .sum();
            assert!(rate < 11.0, "{waiting} look {rate} times a second");
        }
    }

    #[test]
    fn who_is_nearer_to_the_first_looks_more_often_and_few_look_after_retry_delay() {
        for waiting in [2, 5, 13, 200] {
            for place in 2..=waiting {
                let of = |place| pause(place, waiting, 10 * SECONDS);
                assert!(of(place - 1) <= of(place));
                assert!(waiting > 10 || of(place) <= 10 * SECONDS);
            }
        }
        assert_eq!(pause(2, 2, SECONDS / 10), SECONDS / 10);
    }

    #[test]
    fn the_signs_of_life_of_a_whole_line_are_three_a_minute_and_get_fewer() {
        let renewal = 20 * SECONDS;
        for waiting in [1, 2, 30, 200] {
            for waited in [SECONDS, 60 * SECONDS, 3600 * SECONDS] {
                let each = period(renewal, waiting, waited, false).as_secs_f64();
                assert!(waiting as f64 * 60.0 / each <= 3.01, "{waiting} {each}");
            }
        }
        // Of one who waits for a day: those of the first minutes, and then one in ten minutes.
        let (mut waited, mut signs) = (Duration::ZERO, 0);
        while waited < 86_400 * SECONDS {
            waited += period(renewal, 1, waited, false);
            signs += 1;
        }
        assert!(signs < 200, "{signs} signs of life in a day");
    }

    #[test]
    fn a_renewal_that_is_asked_for_is_not_made_shorter() {
        for renewal in [SECONDS / 10, 180 * SECONDS, 3600 * SECONDS] {
            assert_eq!(period(renewal, 1, Duration::ZERO, false), renewal);
            assert_eq!(period(renewal, 1, Duration::ZERO, true), renewal);
        }
        assert_eq!(period(SECONDS, 7, 3600 * SECONDS, true), 60 * SECONDS);
    }

    #[test]
    fn who_sees_the_line_move_looks_in_time_for_his_turn() {
        assert_eq!(pause_in_motion(5, 0, SECONDS), None);
        assert_eq!(pause_in_motion(5, 2, 2 * SECONDS), Some(2 * SECONDS));
        assert_eq!(pause_in_motion(1, 1, SECONDS), Some(Duration::ZERO));
    }
}

//! Letting those publish first who are before us in the line.

use std::time::Duration;

use rand::RngExt;
use tokio::time::Instant;

use git::object::Oid;

/// How those go on who are to publish before us.
pub(super) struct OthersFirst {
    /// How many there were, where the branch was, and when that had just changed.
    seen: Option<(usize, Oid, Instant)>,
    /// How long a look takes, but for when all come at once; known after the first.
    look: Option<Duration>,
    /// Whether there may be a few seconds for all of it, as for what is given back when a step is told to stop.
    is_urgent: bool,
}

impl OthersFirst {
    /// How many looks of ours it takes to look, fetch and push. What is seen of the others has the time in it for which nobody
    /// did anything, and whoever went by that would make it longer and longer.
    const LOOKS: u32 = 7;
    /// What it takes on the fastest of servers.
    const LEAST: Duration = Duration::from_millis(40);
    /// The longest pause: a mistake must not leave the branch alone for long.
    const LONGEST: Duration = Duration::from_millis(500);
    /// The same for one with many before him, who are there: not while all of them have just come. He reckons with fast ones,
    /// as a look may be slow for as long as all of them look at once.
    const LONGEST_BEHIND: Duration = Duration::from_secs(3);
    const FAST: Duration = Duration::from_millis(60);
    /// How many may be before us at most to be near.
    const NEAR: usize = 8;
    /// For how long one is waited for who does nothing.
    const PATIENCE: Duration = Duration::from_secs(1);

    /// Nobody is known yet.
    pub fn new(is_urgent: bool) -> OthersFirst {
        OthersFirst {
            seen: None,
            look: None,
            is_urgent,
        }
    }

    /// The pause until it may be our turn; `None` when nothing has happened for too long.
    pub fn pause(&mut self, before: usize, head: Oid, look: Duration) -> Option<Duration> {
        let now = Instant::now();
        match self.seen {
            Some((were, was, since)) if were == before && was == head => {
                if since.elapsed() >= OthersFirst::PATIENCE {
                    self.seen = None;
                    return None;
                }
            }
            _ => self.seen = Some((before, head, now)),
        }
        let has_just_come = self.look.is_none();
        // A server that was not there for a while says nothing of how fast it is.
        let look = look.min(OthersFirst::LONGEST);
        let look = self.look.map_or(look, |known| look.min(known * 3 / 2));
        self.look = Some(look);
        let each = (look * OthersFirst::LOOKS).max(OthersFirst::LEAST);
        let is_far = before > OthersFirst::NEAR && !has_just_come && !self.is_urgent;
        let (each, longest) = match is_far {
            true => (each.min(OthersFirst::FAST), OthersFirst::LONGEST_BEHIND),
            false => (each, OthersFirst::LONGEST),
        };
        let pause = match u32::try_from(before).unwrap_or(u32::MAX) {
            // He is at it. Each moment for which the branch is left alone after him is lost to all.
            0 | 1 => (each / 3).min(OthersFirst::LONGEST),
            // To look once more while the last of them is at it costs less than to come late.
            count => each.saturating_mul(count - 1).min(longest),
        };
        Some(pause.mul_f64(rand::rng().random_range(0.7..=1.0)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn head() -> Oid {
        git::object::blob_id(b"head")
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_next_looks_several_times_while_one_pushes() {
        let mut others = OthersFirst::new(false);
        for _ in 0..20 {
            let pause = others.pause(1, head(), 6 * MS).unwrap();
            assert!(pause >= 9 * MS && pause <= 14 * MS, "{pause:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_takes_a_long_pause_when_all_have_just_come() {
        let mut others = OthersFirst::new(false);
        // A crowd makes the server slow.
        let first = others.pause(40, head(), 300 * MS).unwrap();
        assert!(first <= 500 * MS, "{first:?}");
        // It is over, and what was slow is forgotten.
        let second = others.pause(9, head(), 6 * MS).unwrap();
        assert!(second >= 200 * MS && second <= 350 * MS, "{second:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn one_with_many_before_him_looks_seldom_and_one_with_few_often() {
        let mut others = OthersFirst::new(false);
        let _ = others.pause(40, head(), 10 * MS);
        let far = others.pause(30, head(), 10 * MS).unwrap();
        assert!(far >= 1_200 * MS && far <= 1_800 * MS, "{far:?}");
        let farther = others.pause(1_000, head(), 10 * MS).unwrap();
        assert!(farther <= 3_000 * MS, "{farther:?}");
        let near = others.pause(3, head(), 1_000 * MS).unwrap();
        assert!(near <= 500 * MS, "{near:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_was_away_makes_no_pause_long() {
        for before in [1, 2, 40] {
            let mut others = OthersFirst::new(false);
            let pause = others.pause(before, head(), 60_000 * MS).unwrap();
            assert!(pause <= 500 * MS, "{pause:?} with {before} before");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_given_back_never_takes_a_long_pause() {
        let mut others = OthersFirst::new(true);
        for _ in 0..5 {
            let pause = others.pause(60, head(), 10 * MS).unwrap();
            assert!(pause <= 500 * MS, "{pause:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_do_nothing_for_a_second_are_waited_for_no_longer() {
        let mut others = OthersFirst::new(false);
        let began = Instant::now();
        while let Some(pause) = others.pause(2, head(), 6 * MS) {
            tokio::time::sleep(pause).await;
        }
        let waited = began.elapsed();
        assert!(waited >= 1_000 * MS && waited <= 1_100 * MS, "{waited:?}");
    }
}

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
    /// How much longer one pauses for each who is before him, if somebody is to bring what he offers along: so that all of them
    /// together do not look too often.
    const BESIDE: Duration = Duration::from_millis(10);
    /// The longest pause then.
    const LONGEST_OFFERED: Duration = Duration::from_millis(300);
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
    pub fn pause(
        &mut self,
        before: usize,
        head: Oid,
        look: Duration,
        is_offered: bool,
    ) -> Option<Duration> {
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
            // It is brought along with the next push.
            count if is_offered => (OthersFirst::BESIDE * count)
                .max(each)
                .min(OthersFirst::LONGEST_OFFERED),
            // He is at it. Each moment for which the branch is left alone after him is lost to all.
            0 | 1 => (each / 3).min(OthersFirst::LONGEST),
            // To look once more while the last of them is at it costs less than to come late.
            count => each.saturating_mul(count - 1).min(longest),
        };
        Some(pause.mul_f64(rand::rng().random_range(0.7..=1.0)))
    }
}

/// Whether those are waited for who are coming to stand behind us, to be brought along: as long as they come, for a moment.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Gathering {
    /// How many offered something on which commit when we looked last.
    seen: Option<(Oid, usize)>,
    /// Since when we stand there, and since when we are the first.
    here_since: Option<Instant>,
    first_since: Option<Instant>,
    /// How long the push took that we have lost. Those who came with us have a slow server as well, and are not here sooner.
    lost_after: Duration,
}

impl Gathering {
    /// The longest that anybody is waited for.
    const LONGEST: Duration = Duration::from_millis(400);
    /// The longest pause between two looks: about as long as it takes to push.
    const PAUSE: Duration = Duration::from_millis(60);

    /// Whether more are coming, given how many behind us offer something on the commit that the branch is at.
    pub fn grows(self, head: Oid, offers: usize) -> bool {
        let since = |moment: Option<Instant>| moment.map_or(Duration::ZERO, |it| it.elapsed());
        if since(self.first_since) >= Gathering::LONGEST {
            return false;
        }
        let more = self
            .seen
            .is_some_and(|(at, seen)| at == head && offers > seen);
        more || since(self.here_since) < self.lost_after / 4
    }

    /// Takes in what a look showed; `place` is how many are before us, if we stand there.
    pub fn note(&mut self, head: Oid, offers: usize, place: Option<usize>) {
        let now = Instant::now();
        self.seen = place.map(|_| (head, offers));
        self.here_since = place.and(self.here_since.or(Some(now)));
        self.first_since = match place {
            Some(0) => self.first_since.or(Some(now)),
            _ => None,
        };
    }

    /// Takes in that a push was lost which took so long.
    pub fn lost(&mut self, after: Duration) {
        self.lost_after = after;
    }

    /// The pause until the next look, given how long one takes.
    pub fn pause(look: Duration) -> Duration {
        (look * 3).min(Gathering::PAUSE)
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
            let pause = others.pause(1, head(), 6 * MS, false).unwrap();
            assert!(pause >= 9 * MS && pause <= 14 * MS, "{pause:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_takes_a_long_pause_when_all_have_just_come() {
        let mut others = OthersFirst::new(false);
        // A crowd makes the server slow.
        let first = others.pause(40, head(), 300 * MS, false).unwrap();
        assert!(first <= 500 * MS, "{first:?}");
        // It is over, and what was slow is forgotten.
        let second = others.pause(9, head(), 6 * MS, false).unwrap();
        assert!(second >= 200 * MS && second <= 350 * MS, "{second:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn one_with_many_before_him_looks_seldom_and_one_with_few_often() {
        let mut others = OthersFirst::new(false);
        let _ = others.pause(40, head(), 10 * MS, false);
        let far = others.pause(30, head(), 10 * MS, false).unwrap();
        assert!(far >= 1_200 * MS && far <= 1_800 * MS, "{far:?}");
        let farther = others.pause(1_000, head(), 10 * MS, false).unwrap();
        assert!(farther <= 3_000 * MS, "{farther:?}");
        let near = others.pause(3, head(), 1_000 * MS, false).unwrap();
        assert!(near <= 500 * MS, "{near:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_was_away_makes_no_pause_long() {
        for before in [1, 2, 40] {
            let mut others = OthersFirst::new(false);
            let pause = others.pause(before, head(), 60_000 * MS, false).unwrap();
            assert!(pause <= 500 * MS, "{pause:?} with {before} before");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_given_back_never_takes_a_long_pause() {
        let mut others = OthersFirst::new(true);
        for _ in 0..5 {
            let pause = others.pause(60, head(), 10 * MS, false).unwrap();
            assert!(pause <= 500 * MS, "{pause:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_do_nothing_for_a_second_are_waited_for_no_longer() {
        let mut others = OthersFirst::new(false);
        let began = Instant::now();
        while let Some(pause) = others.pause(2, head(), 6 * MS, false) {
            tokio::time::sleep(pause).await;
        }
        let waited = began.elapsed();
        assert!(waited >= 1_000 * MS && waited <= 1_100 * MS, "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_to_be_brought_along_looks_the_more_seldom_the_more_stand_there() {
        let mut others = OthersFirst::new(false);
        let near = others.pause(1, head(), 6 * MS, true).unwrap();
        assert!(near >= 29 * MS && near <= 42 * MS, "{near:?}");
        let far = others.pause(25, head(), 6 * MS, true).unwrap();
        assert!(far >= 175 * MS && far <= 250 * MS, "{far:?}");
        let slow = others.pause(25, head(), 6_000 * MS, true).unwrap();
        assert!(slow <= 300 * MS, "{slow:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_waits_as_long_as_more_are_coming() {
        let mut gathering = Gathering::default();
        assert!(!gathering.grows(head(), 0), "nobody is there");
        gathering.note(head(), 0, Some(0));
        for offers in [3, 9, 12] {
            assert!(gathering.grows(head(), offers));
            gathering.note(head(), offers, Some(0));
            tokio::time::sleep(20 * MS).await;
        }
        assert!(!gathering.grows(head(), 12));
        let moved = git::object::blob_id(b"moved");
        assert!(!gathering.grows(moved, 20), "that says nothing");
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_slow_push_others_are_waited_for_who_are_as_slow_but_never_for_long() {
        let mut gathering = Gathering::default();
        gathering.lost(400 * MS);
        gathering.note(head(), 0, Some(3));
        tokio::time::sleep(90 * MS).await;
        gathering.note(head(), 0, Some(0));
        assert!(gathering.grows(head(), 0));
        tokio::time::sleep(20 * MS).await;
        assert!(!gathering.grows(head(), 0), "they have had the time");

        gathering.lost(60_000 * MS);
        for look in 0..1000 {
            if !gathering.grows(head(), 10 * look) {
                return;
            }
            gathering.note(head(), 10 * look, Some(0));
            tokio::time::sleep(20 * MS).await;
            assert!(look < 30, "it never ends");
        }
    }
}

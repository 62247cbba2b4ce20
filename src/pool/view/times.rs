//! What was usual, and how much of a time locks were held.

use std::collections::VecDeque;
use std::time::Duration;

use crate::attempt::Usual;
use crate::past::chronicle::{Chronicle, LockPast, PoolPast, Stretch};

/// So many of the last holds tell what is usual.
const RECENT: usize = 100;

/// A part of a time.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Share {
    /// How much of it, from 0 to 1.
    pub part: f64,
    /// When the time began, in seconds since 1970: later than was asked for if nothing is known of what was before.
    pub from: i64,
}

/// How long holds of a lock usually take.
pub fn usual(lock: &LockPast) -> Option<Usual> {
    let ended = lock.holds.iter().rev().filter_map(Stretch::lasted);
    Usual::of(ended.take(RECENT).collect())
}

/// How long holds in a pool usually take: by the last ones of each lock.
pub fn usual_in(pool: &PoolPast) -> Option<Usual> {
    let mut ended: Vec<(i64, Duration)> = Vec::new();
    for (_, lock) in pool.locks() {
        let last = lock.holds.iter().rev();
        let last = last.filter_map(|hold| Some((hold.end.as_ref()?.at, hold.lasted()?)));
        ended.extend(last.take(RECENT));
    }
    ended.sort_unstable_by_key(|(at, _)| std::cmp::Reverse(*at));
    ended.truncate(2 * RECENT);
    Usual::of(ended.into_iter().map(|(_, lasted)| lasted).collect())
}

/// From when on everything is known that happened after `from`.
pub fn known_from(chronicle: &Chronicle, from: i64) -> i64 {
    let whole = chronicle.whole_since.unwrap_or(i64::MIN);
    from.max(chronicle.first.1).max(whole)
}

/// For how many seconds of a time a lock was held.
pub fn held(holds: &VecDeque<Stretch>, from: i64, to: i64) -> i64 {
    let mut seconds = 0;
    // Clocks of different machines may let two holds overlap; no second counts twice.
    let mut until = from;
    for hold in holds {
        let end = hold.end.as_ref().map_or(to, |end| end.at).min(to);
        let start = hold.since.max(until);
        if end > start {
            seconds += end - start;
            until = end;
        }
    }
    seconds
}

/// How much of the time since `from` these locks were held, which may never have been; `None` where nothing is known of it.
pub fn share<'a>(
    locks: impl Iterator<Item = Option<&'a LockPast>>,
    chronicle: &Chronicle,
    from: i64,
    now: i64,
) -> Option<Share> {
    let from = known_from(chronicle, from);
    let length = now.checked_sub(from).filter(|length| *length > 0)?;
    let (mut n, mut seconds) = (0_u32, 0.0);
    for lock in locks {
        n += 1;
        seconds += lock.map_or(0, |lock| held(&lock.holds, from, now)) as f64;
    }
    (n > 0).then(|| Share {
        part: (seconds / length as f64 / f64::from(n)).clamp(0.0, 1.0),
        from,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::past::How;
    use crate::past::chronicle::Finish;
    use git::object::Oid;

    pub fn stretch(since: i64, end: Option<i64>) -> Stretch {
        Stretch {
            claim: Oid::ZERO_SHA1,
            since,
            who: "ann".into(),
            url: None,
            reason: None,
            end: end.map(|at| Finish {
                at,
                how: How::Released,
                who: "ann".into(),
                reason: None,
            }),
        }
    }

    #[test]
    fn a_hold_counts_as_far_as_it_is_in_the_time() {
        let holds = |all: &[(i64, Option<i64>)]| -> VecDeque<Stretch> {
            all.iter()
                .map(|(since, end)| stretch(*since, *end))
                .collect()
        };
        for (all, expected) in [
            (&[][..], 0),
            (&[(0, Some(50))], 0),
            (&[(50, Some(150))], 50),
            (&[(120, Some(130)), (190, None)], 20),
            (&[(0, None)], 100),
            // By the clock of another machine the second began before the first ended.
            (&[(100, Some(150)), (140, Some(160))], 60),
            // And this one ended before it began.
            (&[(150, Some(120))], 0),
        ] {
            assert_eq!(held(&holds(all), 100, 200), expected, "{all:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_is_held_for_longer_than_the_time(
            all in prop::collection::vec((any::<i32>(), prop::option::of(any::<i32>())), 0..20),
            from in any::<i32>(), length in 0..i32::MAX,
        ) {
            let holds = all.iter().map(|(since, end)| stretch((*since).into(), end.map(i64::from)));
            let (from, length) = (i64::from(from), i64::from(length));
            let seconds = held(&holds.collect(), from, from + length);
            prop_assert!((0..=length).contains(&seconds), "{}", seconds);
        }
    }
}

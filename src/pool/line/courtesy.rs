//! How long a free lock is left to those before us.
//!
//! A ticket only says that somebody was there. Whoever is there takes a lock that is for him: he looks often enough to see
//! it soon. So one who sees a lock free for longer than that takes it, whoever is before him. A ticket without an owner
//! then costs one look, also when it is not yet known to have none, and also where it cannot be taken away.
//!
//! Those who are there must not lose their places by that:
//!
//! - One may have become the first since it looked last, and sleep as long as it does further back. It is waited for until
//!   it must have looked.
//! - On a branch that moves all the time one may lose race after race. It is waited for longer.
//! - The further back one is, the longer one waits: not all of them try at once.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::load::FIRST;
use git::object::Oid;

/// How many requests it takes to look, fetch and push.
const REQUESTS: u32 = 4;

/// What those take on the fastest of servers.
const LEAST: Duration = Duration::from_millis(80);

/// What each place adds, at least, and what all places add at most.
const PER_PLACE: Duration = Duration::from_millis(100);
const ALL_PLACES: Duration = Duration::from_secs(2);

/// How long somebody may sleep of whom we don't know where in the line he was before.
const STRANGER: Duration = Duration::from_millis(1500);

/// How much longer we wait where the branch moves, and locks stay free.
const BUSY: u32 = 4;

/// What we have seen of those for whom a free lock is.
#[derive(Debug, Clone, Default)]
pub struct Courtesy {
    /// The others, as they were in the last look.
    others: BTreeMap<String, Other>,
    /// The branch's head, since when we have seen it there, and the others at that time.
    rest: Option<(Oid, Instant, BTreeMap<String, Other>)>,
    /// Those who could take a lock that is free.
    called: Option<Called>,
}

#[derive(Debug, Clone, Copy)]
struct Other {
    /// How long it sleeps at the place that it has.
    sleeps: Duration,
    /// When it must have looked: it may have done so last before it had that place.
    awake: Instant,
}

#[derive(Debug, Clone)]
struct Called {
    who: Vec<String>,
    since: Instant,
    /// When all of them must have looked.
    awake: Instant,
    head: Oid,
    /// Whether the branch has moved since then.
    is_busy: bool,
    /// How it was when they were called: the end of our patience does not move.
    measure: Measure,
}

/// What it takes to judge them.
#[derive(Debug, Clone, Copy)]
pub struct Measure {
    /// How many are before us.
    pub ahead: usize,
    /// How long our own look took: the others' take about as long.
    pub look: Duration,
    /// Whether we cannot wait for long.
    pub is_hasty: bool,
}

impl Courtesy {
    /// Takes in a look: where the branch is, and how long others sleep at the places that they have.
    pub fn observe(&mut self, head: Oid, sleeps: BTreeMap<String, Duration>, now: Instant) {
        let others = sleeps.into_iter().map(|(name, sleeps)| {
            let awake = match self.others.get(&name) {
                Some(before) => before.awake.max(now + before.sleeps),
                None => now + STRANGER,
            };
            (name, Other { sleeps, awake })
        });
        self.others = others.collect();
        if self.rest.as_ref().is_none_or(|(at, ..)| *at != head) {
            self.rest = Some((head, now, self.others.clone()));
        }
    }

    /// For how long the branch has been where it is.
    pub fn at_rest(&self, head: Oid, now: Instant) -> Duration {
        match &self.rest {
            Some((at, since, _)) if *at == head => now.duration_since(*since),
            _ => Duration::ZERO,
        }
    }

    /// Notes who could take a lock that is free at `head`; nobody, when none is free for anybody before us.
    pub fn note_called(&mut self, who: Vec<String>, head: Oid, measure: &Measure, now: Instant) {
        if who.is_empty() {
            self.called = None;
            return;
        }
        self.called = Some(self.called(who, head, measure, now));
    }

    fn called(&self, who: Vec<String>, head: Oid, measure: &Measure, now: Instant) -> Called {
        if let Some(called) = self.called.as_ref().filter(|called| called.who == who) {
            return Called {
                is_busy: called.is_busy || called.head != head,
                head,
                ..called.clone()
            };
        }
        let (since, others) = match &self.rest {
            Some((at, since, others)) if *at == head => (*since, others),
            _ => (now, &self.others),
        };
        let awake = who.iter().map(|name| match others.get(name) {
            Some(other) => other.awake,
            None => since + STRANGER,
        });
        Called {
            awake: awake.max().unwrap_or(since),
            who,
            since,
            head,
            is_busy: false,
            measure: *measure,
        }
    }

    /// How long it still is until we take what is free at `head`, though it is for `who`: nothing when it is time.
    pub fn left(&self, who: Vec<String>, head: Oid, measure: &Measure, now: Instant) -> Duration {
        let called = self.called(who, head, measure, now);
        called.until().saturating_duration_since(now)
    }

    /// The same for those who were noted last; `None` when nobody is called.
    pub fn left_for_called(&self, now: Instant) -> Option<Duration> {
        let called = self.called.as_ref()?;
        Some(called.until().saturating_duration_since(now))
    }

    /// After how long at rest the branch is worth a fetch, though all that may be free is for others.
    pub fn worth_a_fetch(measure: &Measure) -> Duration {
        FIRST + measure.hand_over()
    }
}

impl Called {
    /// When we don't wait for them any longer.
    fn until(&self) -> Instant {
        let measure = &self.measure;
        let hand_over = measure.hand_over();
        let place = hand_over.max(PER_PLACE);
        let others = u32::try_from(measure.ahead.saturating_sub(1)).unwrap_or(u32::MAX);
        let places = place.saturating_mul(others).min(ALL_PLACES);
        let soon = self.since + FIRST;
        match (measure.is_hasty, self.is_busy) {
            (true, _) => soon + hand_over + places,
            (false, false) => soon.max(self.awake) + hand_over + places,
            (false, true) => soon.max(self.awake) + (FIRST + hand_over) * BUSY + places,
        }
    }
}

impl Measure {
    fn hand_over(&self) -> Duration {
        self.look.saturating_mul(REQUESTS).max(LEAST)
    }
}

#[cfg(test)]
mod tests;

//! What is kept of a branch's past while somebody goes on looking at it: every claim and every end is counted, and the last
//! holds of each lock are there in full. What is kept has a bound, whatever the length of the history.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::{End, Hold, How, Rest};
use crate::lock::{LockName, PoolName};
use crate::message::{self, who};
use git::object::Oid;
use terminal::one_line;

/// So long ago, in seconds before the newest commit, holds are kept: a week, and a day for what began before it.
const KEPT_FOR: i64 = 8 * 86_400;

/// So many holds of each lock are kept however old they are: enough to tell what is usual.
const ALWAYS_KEPT: usize = 20;

/// At most so many holds of one lock are kept.
const MOST_OF_A_LOCK: usize = 500;

/// At most so many are kept in all, but for those that are always kept. Each takes some hundred bytes.
const MOST_IN_ALL: usize = 80_000;

/// The longest link that is kept, in bytes, and the longest reason, in characters.
const LONGEST_LINK: usize = 2000;
const LONGEST_REASON: usize = 300;

/// The past of a branch up to a commit.
#[derive(Debug, Clone)]
pub struct Chronicle {
    /// The commit up to which it goes.
    pub head: Oid,
    /// The first commit that is counted, and when that was made.
    pub first: (Oid, i64),
    /// How many commits were counted.
    pub commits: u64,
    /// When the newest commit was made.
    pub newest: i64,
    /// From when on no hold is missing, if some were let go of that are not a week old.
    pub whole_since: Option<i64>,
    kept: usize,
    pools: BTreeMap<PoolName, Arc<PoolPast>>,
}

/// The past of one pool.
#[derive(Debug, Clone)]
pub struct PoolPast {
    /// What was counted.
    pub counts: Counts,
    /// How long holds took that have ended.
    pub holds: Histogram,
    locks: BTreeMap<LockName, Arc<LockPast>>,
}

/// How often something happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Locks that were claimed.
    pub claims: u64,
    /// Locks that were given back.
    pub released: u64,
    /// Held locks that were taken out of the pool.
    pub removed: u64,
    /// Locks that were taken away from holders who showed no sign of life.
    pub reaped: u64,
    /// Locks that an operator took away.
    pub unlocked: u64,
}

/// The past of one lock.
#[derive(Debug, Clone, Default)]
pub struct LockPast {
    /// How often it was claimed.
    pub claims: u64,
    /// Its last holds, the oldest first.
    pub holds: VecDeque<Stretch>,
}

/// One hold, as far as people are told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// The commit that claimed the lock.
    pub claim: Oid,
    /// When, in seconds since 1970.
    pub since: i64,
    /// By whom.
    pub who: Arc<str>,
    /// The page of the build.
    pub url: Option<Arc<str>>,
    /// Why, where that was said.
    pub reason: Option<Arc<str>>,
    /// How it ended, if it did.
    pub end: Option<Finish>,
}

/// The end of a hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finish {
    /// When, in seconds since 1970.
    pub at: i64,
    /// What became of the lock.
    pub how: How,
    /// Who ended it.
    pub who: Arc<str>,
    /// Why, where that was said.
    pub reason: Option<Arc<str>>,
}

/// How many of what was measured were at most so long.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    /// How many fell between a bound and the one before, and at the end those above all of them.
    pub counts: [u64; BOUNDS.len() + 1],
    /// All of them together, in seconds.
    pub sum: f64,
}

/// The bounds of a [`Histogram`], in seconds: from a second to a week.
pub const BOUNDS: [f64; 12] = [
    1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 14_400.0, 43_200.0, 86_400.0, 604_800.0,
];

impl Histogram {
    /// Of nothing.
    pub const EMPTY: Histogram = Histogram {
        counts: [0; BOUNDS.len() + 1],
        sum: 0.0,
    };

    /// Takes in one more. What is less than nothing, as clocks may have it, is nothing.
    pub fn observe(&mut self, seconds: f64) {
        let seconds = seconds.max(0.0);
        let place = BOUNDS.iter().position(|bound| seconds <= *bound);
        self.counts[place.unwrap_or(BOUNDS.len())] += 1;
        self.sum += seconds;
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram::EMPTY
    }
}

impl Default for PoolPast {
    fn default() -> PoolPast {
        PoolPast {
            counts: Counts::default(),
            holds: Histogram::EMPTY,
            locks: BTreeMap::new(),
        }
    }
}

impl Counts {
    fn ended(&mut self, how: How) {
        match how {
            How::Released => self.released += 1,
            How::Removed => self.removed += 1,
            How::Reaped => self.reaped += 1,
            How::Unlocked => self.unlocked += 1,
        }
    }
}

impl Stretch {
    fn of(hold: &Hold) -> Stretch {
        let url = message::build_url(&hold.message).filter(|url| url.len() <= LONGEST_LINK);
        Stretch {
            claim: hold.claim,
            since: hold.since,
            who: who(&hold.message).into(),
            url: url.map(|url| one_line(&url).into()),
            reason: reason(message::trailer(&hold.message, message::REASON).as_deref()),
            end: hold.end.as_ref().map(Finish::of),
        }
    }

    /// How long it lasted, if it has ended.
    pub fn lasted(&self) -> Option<Duration> {
        let end = self.end.as_ref()?;
        let seconds = end.at.saturating_sub(self.since);
        Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
    }
}

impl Finish {
    fn of(end: &End) -> Finish {
        Finish {
            at: end.at,
            how: end.how,
            who: who(&end.message).into(),
            reason: reason(end.reason.as_deref()),
        }
    }
}

fn reason(text: Option<&str>) -> Option<Arc<str>> {
    let text: String = text?.chars().take(LONGEST_REASON).collect();
    Some(one_line(&text).into())
}

fn seconds(hold: &Hold, end: &End) -> f64 {
    end.at.saturating_sub(hold.since) as f64
}

impl Chronicle {
    /// Begins at the head of a branch, of which nothing is known yet.
    pub fn new(head: Oid, newest: i64) -> Chronicle {
        Chronicle {
            head,
            first: (head, newest),
            commits: 0,
            newest,
            whole_since: None,
            kept: 0,
            pools: BTreeMap::new(),
        }
    }

    /// Takes in a commit that is older than all that were taken in before, with the holds that began with it.
    pub fn before(&mut self, commit: Oid, time: i64, begun: &[Hold]) {
        self.first = (commit, time);
        self.commits += 1;
        for hold in begun {
            let recent = self.newest.saturating_sub(KEPT_FOR);
            let is_recent = hold.end.as_ref().is_none_or(|end| end.at >= recent);
            let kept = self.kept;
            let lock = self.count(hold);
            let n = lock.holds.len();
            let has_room = kept < MOST_IN_ALL && n < MOST_OF_A_LOCK;
            if n < ALWAYS_KEPT || (is_recent && has_room) {
                lock.holds.push_front(Stretch::of(hold));
                self.kept += 1;
            } else if is_recent {
                let end = hold.end.as_ref().map_or(hold.since, |end| end.at);
                self.whole_since = Some(self.whole_since.map_or(end, |since| since.max(end)));
            }
        }
    }

    /// Counts a hold, and gives its lock.
    fn count(&mut self, hold: &Hold) -> &mut LockPast {
        let pool = Arc::make_mut(self.pools.entry(hold.pool.clone()).or_default());
        pool.counts.claims += 1;
        if let Some(end) = &hold.end {
            pool.counts.ended(end.how);
            pool.holds.observe(seconds(hold, end));
        }
        let lock = Arc::make_mut(pool.locks.entry(hold.lock.clone()).or_default());
        lock.claims += 1;
        lock
    }

    /// Goes on to `head`: with the ends of what was held by then, and the holds that began since, the newest first, as a walk
    /// back from there found them in so many commits.
    pub fn go_on(&mut self, head: Oid, newest: i64, commits: u64, rest: Rest, begun: Vec<Hold>) {
        self.head = head;
        self.newest = self.newest.max(newest);
        self.commits += commits;
        for ((pool, lock), end) in rest.ends {
            self.end(&pool, &lock, &end);
        }
        let recent = self.newest.saturating_sub(KEPT_FOR);
        for hold in begun.iter().rev() {
            let lock = self.count(hold);
            lock.holds.push_back(Stretch::of(hold));
            let is_old = |hold: &Stretch| hold.end.as_ref().is_some_and(|end| end.at < recent);
            let mut let_go = 0;
            let mut lost = None;
            while lock.holds.len() > ALWAYS_KEPT
                && (lock.holds.len() > MOST_OF_A_LOCK || lock.holds.front().is_some_and(is_old))
            {
                let gone = lock.holds.pop_front().and_then(|gone| gone.end);
                lost = gone.map(|end| end.at).filter(|at| *at >= recent).or(lost);
                let_go += 1;
            }
            self.kept = self.kept + 1 - let_go;
            if let Some(lost) = lost {
                self.whole_since = Some(self.whole_since.map_or(lost, |since| since.max(lost)));
            }
        }
        if self.kept > MOST_IN_ALL {
            self.thin_out();
        }
        self.whole_since = self.whole_since.filter(|since| *since > recent);
    }

    fn end(&mut self, pool: &PoolName, lock: &LockName, end: &End) {
        let pool = Arc::make_mut(self.pools.entry(pool.clone()).or_default());
        pool.counts.ended(end.how);
        let lock = Arc::make_mut(pool.locks.entry(lock.clone()).or_default());
        if let Some(hold) = lock.holds.back_mut().filter(|hold| hold.end.is_none()) {
            hold.end = Some(Finish::of(end));
            let seconds = end.at.saturating_sub(hold.since) as f64;
            pool.holds.observe(seconds);
        }
    }

    /// Lets the older half of the holds of each lock go.
    fn thin_out(&mut self) {
        for pool in self.pools.values_mut() {
            for lock in Arc::make_mut(pool).locks.values_mut() {
                let lock = Arc::make_mut(lock);
                let most = (lock.holds.len() / 2).max(ALWAYS_KEPT);
                while lock.holds.len() > most {
                    let gone = lock.holds.pop_front().and_then(|gone| gone.end);
                    self.kept -= 1;
                    if let Some(end) = gone {
                        let since = self.whole_since.map_or(end.at, |since| since.max(end.at));
                        self.whole_since = Some(since);
                    }
                }
            }
        }
    }

    /// The past of a pool; `None` if nothing was ever claimed in it.
    pub fn pool(&self, name: &PoolName) -> Option<&PoolPast> {
        self.pools.get(name).map(|pool| &**pool)
    }

    /// All pools in which anything was ever claimed.
    pub fn pools(&self) -> impl Iterator<Item = (&PoolName, &PoolPast)> {
        self.pools.iter().map(|(name, pool)| (name, &**pool))
    }

    /// The claim that somebody made in a pool from a moment on, the first one of those that are not `taken`.
    pub fn claim_by(
        &self,
        pool: &PoolName,
        who: &str,
        since: i64,
        taken: &HashSet<Oid>,
    ) -> Option<(Oid, i64)> {
        let locks = self.pool(pool)?.locks.values();
        let claims = locks.flat_map(|lock| {
            let newest = lock.holds.iter().rev();
            newest.take_while(|hold| hold.since >= since)
        });
        claims
            .filter(|hold| *hold.who == *who && !taken.contains(&hold.claim))
            .map(|hold| (hold.claim, hold.since))
            .min_by_key(|(_, at)| *at)
    }
}

impl PoolPast {
    /// The past of a lock; `None` if it was never claimed.
    pub fn lock(&self, name: &LockName) -> Option<&LockPast> {
        self.locks.get(name).map(|lock| &**lock)
    }

    /// All locks that were ever claimed.
    pub fn locks(&self) -> impl Iterator<Item = (&LockName, &LockPast)> {
        self.locks.iter().map(|(name, lock)| (name, &**lock))
    }
}

#[cfg(test)]
mod tests;

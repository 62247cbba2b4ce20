//! Everything about the pools of a branch at one moment.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::expect::{self, Lock};
use super::times::{self, Share};
use crate::attempt::Usual;
use crate::circles::Circle;
use crate::lock::{LockName, PoolName};
use crate::past::chronicle::{Chronicle, LockPast, PoolPast, Stretch};
use crate::past::waits::Waits;
use crate::step::{LockView, Overview, PoolView, Standing, Waiter};
use terminal::table::seconds_of;

/// A day and a week, in seconds.
pub const DAY: i64 = 86_400;
/// See [`DAY`].
pub const WEEK: i64 = 7 * DAY;

/// Among so many of the last holds it is asked how long one goes on.
const OTHERS: usize = 200;

/// What is over sooner is not held for long, however short holds usually are.
const NOT_LONG: Duration = Duration::from_secs(60);

/// What somebody sees who goes on looking.
#[derive(Debug, Clone, Default)]
pub struct Sight {
    /// What the last look that succeeded has found, and when that was.
    pub looked: Option<(Arc<Overview>, SystemTime)>,
    /// What is wrong since the last look that succeeded.
    pub trouble: Option<Trouble>,
    /// The past, once it has been read.
    pub chronicle: Option<Arc<Chronicle>>,
    /// Why it could not be read, at the last try.
    pub unread: Option<String>,
    /// What became of waits.
    pub waits: Waits,
    /// What locks say.
    pub metadata: Arc<BTreeMap<(PoolName, LockName), Arc<str>>>,
}

/// What is wrong with the server, or with the way to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// Since when.
    pub since: SystemTime,
    /// In words.
    pub words: String,
}

/// The pools of a branch.
#[derive(Debug, Clone)]
pub struct Board {
    /// The repository, without credentials.
    pub remote: String,
    /// The branch.
    pub branch: String,
    /// The commit that it was at.
    pub head: String,
    /// The pools, in the order of their names.
    pub pools: Vec<PoolBoard>,
    /// Those who wait for each other.
    pub circles: Vec<Circle>,
    /// The past, once it has been read.
    pub chronicle: Option<Arc<Chronicle>>,
    /// What was seen of waits.
    pub waits: Waits,
}

/// One pool.
#[derive(Debug, Clone)]
pub struct PoolBoard {
    /// Its name.
    pub name: PoolName,
    /// Its locks, in the order of their names.
    pub locks: Vec<LockBoard>,
    /// Those who wait, in the order in which they are served.
    pub line: Vec<Place>,
    /// How many locks are free, held, and damaged.
    pub free: usize,
    /// See `free`.
    pub held: usize,
    /// See `free`.
    pub damaged: usize,
    /// For how long locks are usually held.
    pub usual: Option<Usual>,
    /// How much of the last day its locks were held.
    pub day: Option<Share>,
    /// How much of the last week.
    pub week: Option<Share>,
}

/// One lock.
#[derive(Debug, Clone)]
pub struct LockBoard {
    /// Its name.
    pub name: LockName,
    /// Whether it is free.
    pub standing: Standing,
    /// For how long it is usually held; where too little is known of it, for how long those of its pool are.
    pub usual: Option<Usual>,
    /// Whether it has been held for longer than nine of ten holds are.
    pub is_overdue: bool,
    /// What it says, where that is shown.
    pub metadata: Option<Arc<str>>,
}

/// One who waits.
#[derive(Debug, Clone)]
pub struct Place {
    /// Who, for what, since when.
    pub waiter: Waiter,
    /// In how long it is expected to be served; `None` where nobody can tell.
    pub expected: Option<Duration>,
}

impl Sight {
    /// What there is to see; `None` before the first look that succeeded.
    pub fn board(&self, now: SystemTime) -> Option<Board> {
        let (overview, _) = self.looked.as_ref()?;
        let chronicle = self.chronicle.as_deref();
        let pools = overview.pools.iter();
        Some(Board {
            remote: overview.remote.clone(),
            branch: overview.branch.clone(),
            head: overview.head.to_string(),
            pools: pools.map(|pool| self.pool(pool, chronicle, now)).collect(),
            circles: overview.circles.clone(),
            chronicle: self.chronicle.clone(),
            waits: self.waits.clone(),
        })
    }

    fn pool(&self, pool: &PoolView, chronicle: Option<&Chronicle>, now: SystemTime) -> PoolBoard {
        let past = chronicle.and_then(|chronicle| chronicle.pool(&pool.name));
        let usual = match past {
            Some(past) => times::usual_in(past),
            None => pool.usual,
        };
        let others = past.map(lasted).unwrap_or_default();
        let mut locks = Vec::new();
        let mut asked = Vec::new();
        for view in &pool.locks {
            let lock = self.lock(&pool.name, view, past, usual, now);
            let usual = lock.usual.map(|usual| usual.median.as_secs_f64());
            let free_in = free_in(&lock, &others, now);
            asked.push((lock.name.clone(), free_in, usual));
            locks.push(lock);
        }
        let asked: Vec<Lock<'_>> = asked
            .iter()
            .map(|(name, free_in, usual)| Lock {
                name,
                free_in: *free_in,
                usual: *usual,
            })
            .collect();
        // Who is gone is served by nobody.
        let alive = pool.line.iter().filter(|waiter| waiter.silent.is_none());
        let needs: Vec<_> = alive.map(|waiter| waiter.need.as_ref()).collect();
        let mut expected = expect::waits(&asked, &needs).into_iter();
        let line = pool.line.iter().map(|waiter| Place {
            waiter: waiter.clone(),
            expected: match waiter.silent {
                Some(_) => None,
                None => expected.next().flatten().map(seconds),
            },
        });
        let count = |is: fn(&Standing) -> bool| {
            let those = pool.locks.iter().filter(|lock| is(&lock.standing));
            those.count()
        };
        let now = seconds_of(now).unwrap_or_default();
        let share = |length: i64| {
            let locks = pool.locks.iter();
            let locks = locks.map(|lock| past.and_then(|past| past.lock(&lock.name)));
            times::share(locks, chronicle?, now.saturating_sub(length), now)
        };
        PoolBoard {
            name: pool.name.clone(),
            line: line.collect(),
            free: count(|standing| matches!(standing, Standing::Free)),
            held: count(|standing| matches!(standing, Standing::Held(_))),
            damaged: count(|standing| matches!(standing, Standing::Damaged(..))),
            usual,
            day: share(DAY),
            week: share(WEEK),
            locks,
        }
    }

    fn lock(
        &self,
        pool: &PoolName,
        view: &LockView,
        past: Option<&PoolPast>,
        of_pool: Option<Usual>,
        now: SystemTime,
    ) -> LockBoard {
        let of_lock = past.and_then(|past| past.lock(&view.name));
        let usual = of_lock.and_then(times::usual).or(of_pool);
        let age = held_since(&view.standing).and_then(|since| now.duration_since(since).ok());
        let key = (pool.clone(), view.name.clone());
        LockBoard {
            name: view.name.clone(),
            standing: view.standing.clone(),
            usual,
            is_overdue: age
                .zip(usual)
                .is_some_and(|(age, usual)| age > usual.ninety.max(NOT_LONG)),
            metadata: self.metadata.get(&key).cloned(),
        }
    }
}

impl Board {
    /// The pool of this name.
    pub fn pool(&self, name: &str) -> Option<&PoolBoard> {
        self.pools.iter().find(|pool| pool.name.as_str() == name)
    }

    /// The past of a lock.
    pub fn past(&self, pool: &PoolName, lock: &LockName) -> Option<&LockPast> {
        self.chronicle.as_ref()?.pool(pool)?.lock(lock)
    }
}

/// Since when a lock is held, if a commit tells.
pub fn held_since(standing: &Standing) -> Option<SystemTime> {
    match standing {
        Standing::Held(held) | Standing::Damaged(_, held) => Some(held.as_ref()?.made),
        Standing::Free => None,
    }
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

/// How long the last holds in a pool lasted.
fn lasted(past: &PoolPast) -> Vec<Duration> {
    let locks = past.locks().count().max(1);
    let each = OTHERS.div_ceil(locks);
    let last = past.locks().flat_map(|(_, lock)| {
        let ended = lock.holds.iter().rev().filter_map(Stretch::lasted);
        ended.take(each)
    });
    last.collect()
}

/// In how many seconds a lock is expected to be free.
fn free_in(lock: &LockBoard, others: &[Duration], now: SystemTime) -> Option<f64> {
    let since = match &lock.standing {
        Standing::Free => return Some(0.0),
        Standing::Damaged(..) => return None,
        Standing::Held(held) => held.as_ref()?.made,
    };
    // A clock that is ahead.
    let age = now.duration_since(since).unwrap_or_default();
    let usual = lock.usual?.median;
    let rest = match usual.checked_sub(age) {
        Some(rest) => Some(rest),
        None => expect::rest(age, others),
    };
    rest.map(|rest| rest.as_secs_f64())
}

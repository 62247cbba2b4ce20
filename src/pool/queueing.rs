//! How long one waits for locks: what the history tells of it, and what it would have been with other locks.
//!
//! Pure: holds in, figures out.
//!
//! - [`Served`]: a request that was granted, with its arrival, as the commits tell.
//! - [`figures`]: how much locks were used, how long they were waited for and held.
//! - [`simulate`]: the same requests again, with more or fewer locks, or in another order.

pub mod figures;
pub mod simulate;

use std::collections::BTreeMap;

use crate::lock::{LockName, PoolName};
use crate::message;
use crate::number;
use crate::past::Hold;
use git::object::Oid;

/// A request that was granted: a claim with all that it took.
#[derive(Debug, Clone, PartialEq)]
pub struct Served {
    /// The pool.
    pub pool: PoolName,
    /// The claim.
    pub claim: Oid,
    /// The locks, each with the time at which it was given back, if it was.
    pub locks: Vec<(LockName, Option<i64>)>,
    /// Who, in a few words.
    pub who: String,
    /// When, in seconds since 1970.
    pub claimed: i64,
    /// For how long it was waited for, in seconds; `None` where no commit tells.
    pub waited: Option<f64>,
    /// What was asked for; `None` for these very locks.
    pub wanted: Option<String>,
    /// How urgent it was.
    pub priority: i32,
}

impl Served {
    /// When it was asked for, in seconds since 1970, as far as that is known.
    pub fn arrived(&self) -> f64 {
        self.claimed as f64 - self.waited.unwrap_or_default()
    }
}

/// What holds tell of requests, in the order of their claims, the oldest first.
pub fn served(holds: &[Hold]) -> Vec<Served> {
    let mut requests: Vec<Served> = Vec::new();
    let mut known: BTreeMap<(Oid, PoolName), usize> = BTreeMap::new();
    for hold in holds.iter().rev() {
        let end = hold.end.as_ref().map(|end| end.at.max(hold.since));
        let lock = (hold.lock.clone(), end);
        if let Some(n) = known.get(&(hold.claim, hold.pool.clone())) {
            requests[*n].locks.push(lock);
            continue;
        }
        known.insert((hold.claim, hold.pool.clone()), requests.len());
        let message = &hold.message;
        let waited = message::waited(message).map(|waited| waited.as_secs_f64());
        // Those who tell how long they waited do not tell of no time.
        let told = number::of(message).map(|_| 0.0);
        let priority = message::trailer(message, message::PRIORITY);
        requests.push(Served {
            pool: hold.pool.clone(),
            claim: hold.claim,
            locks: vec![lock],
            who: message::who(message),
            claimed: hold.since,
            waited: waited.or(told),
            wanted: message::trailer(message, message::WANTED),
            priority: priority.and_then(|n| n.parse().ok()).unwrap_or_default(),
        });
    }
    requests
}

/// Whose claims belong together: the pipeline of a build, else the holder without the number of a run.
pub fn pipeline(message: &[u8]) -> String {
    if let Some(subject) = message::read_subject(message)
        && let Some(build) = subject.build
    {
        return terminal::one_line(&format!("{}/{}", build.team, build.pipeline));
    }
    let who = message::who(message);
    let is_number = |word: &str| {
        let digits = word.trim_start_matches('#');
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    match who.rsplit_once(' ') {
        Some((before, number)) if is_number(number) => before.to_owned(),
        _ => who,
    }
}

/// Lengths of time, in seconds, in few words.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Spread {
    /// How many there are.
    pub n: usize,
    /// How many of them are not zero.
    pub above_zero: usize,
    /// Their sum.
    pub sum: f64,
    /// Half of them are not longer.
    pub median: f64,
    /// Nine of ten are not longer.
    pub ninety: f64,
    /// The longest.
    pub longest: f64,
}

impl Spread {
    /// That of these.
    pub fn of(mut times: Vec<f64>) -> Spread {
        times.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let place = (times.len() as f64 * share).ceil() as usize;
            times
                .get(place.saturating_sub(1))
                .copied()
                .unwrap_or_default()
        };
        Spread {
            n: times.len(),
            above_zero: times.iter().filter(|time| **time > 0.0).count(),
            sum: times.iter().sum(),
            median: at(0.5),
            ninety: at(0.9),
            longest: times.last().copied().unwrap_or_default(),
        }
    }

    /// The mean; zero of none.
    pub fn mean(&self) -> f64 {
        match self.n {
            0 => 0.0,
            n => self.sum / n as f64,
        }
    }
}

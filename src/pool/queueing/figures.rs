//! How much locks were used, and how long they were waited for and held: by pool, lock, pipeline or day.

use std::collections::BTreeMap;

use super::{Spread, pipeline};
use crate::lock::{LockName, PoolName};
use crate::message;
use crate::number;
use crate::past::Hold;

/// What belongs into one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// What was held in one pool.
    Pool,
    /// One lock.
    Lock,
    /// What the builds of one pipeline, or one holder, have held.
    Pipeline,
    /// What began on one day, in UTC, and what was held on it.
    Day,
}

/// A row.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The pool, but for rows of pipelines.
    pub pool: Option<PoolName>,
    /// What it is about.
    pub of: String,
    /// How long it was waited for each claim that began in this time. A claim that does not tell is none of them.
    pub waits: Spread,
    /// How long locks were held, of those holds that began in this time and have ended.
    pub holds: Spread,
    /// How many holds began.
    pub begun: usize,
    /// For how long locks were held in this time, all together.
    pub held: f64,
    /// The share of the time in which its locks were held, where it is known how many there are.
    pub used: Option<f64>,
}

/// What is asked about.
#[derive(Debug, Clone, PartialEq)]
pub struct Span<'a> {
    /// From when, in seconds since 1970.
    pub since: i64,
    /// Until when.
    pub until: i64,
    /// How many locks each pool has.
    pub locks: &'a BTreeMap<PoolName, usize>,
}

const DAY: i64 = 86_400;

/// A row in the making.
#[derive(Default)]
struct Gathered {
    waits: BTreeMap<git::object::Oid, f64>,
    holds: Vec<f64>,
    begun: usize,
    held: f64,
}

/// The rows for these holds, in order.
pub fn rows(holds: &[Hold], by: By, span: &Span<'_>) -> Vec<Row> {
    type Key = (Option<PoolName>, String);
    let mut gathered: BTreeMap<Key, Gathered> = BTreeMap::new();
    let mut row = |key: Key, gather: &dyn Fn(&mut Gathered)| {
        gather(gathered.entry(key).or_default());
    };
    let day =
        |time: i64| terminal::time::time(time).map_or(String::new(), |time| time[..10].into());
    for hold in holds {
        let end = hold.end.as_ref().map(|end| end.at.max(hold.since));
        let (from, to) = (
            hold.since.max(span.since),
            end.unwrap_or(span.until).min(span.until),
        );
        let pool = Some(hold.pool.clone());
        let key = |of: String| match by {
            By::Pipeline => (None, of),
            _ => (pool.clone(), of),
        };
        let of = match by {
            By::Pool => hold.pool.to_string(),
            By::Lock => hold.lock.to_string(),
            By::Pipeline => pipeline(&hold.message),
            By::Day => day(hold.since),
        };
        if (span.since..span.until).contains(&hold.since) {
            row(key(of.clone()), &|row| {
                row.begun += 1;
                let told = message::waited(&hold.message).map(|waited| waited.as_secs_f64());
                let waited = told.or(number::of(&hold.message).map(|_| 0.0));
                row.waits.extend(waited.map(|waited| (hold.claim, waited)));
                row.holds.extend(end.map(|end| (end - hold.since) as f64));
            });
        }
        if by != By::Day {
            if to > from {
                row(key(of), &|row| row.held += (to - from) as f64);
            }
            continue;
        }
        let mut at = from;
        while at < to {
            let next = (at.div_euclid(DAY) + 1) * DAY;
            let on_this_day = (next.min(to) - at) as f64;
            row(key(day(at)), &|row| row.held += on_this_day);
            at = next;
        }
    }
    let rows = gathered.into_iter().map(|((pool, of), gathered)| {
        let there = pool.as_ref().and_then(|pool| span.locks.get(pool));
        let whole = (span.until - span.since) as f64;
        let time = match by {
            By::Pool => there.map(|locks| *locks as f64 * whole),
            By::Lock => Some(whole),
            By::Pipeline => None,
            By::Day => there.map(|locks| *locks as f64 * part_of_day(&of, span)),
        };
        let time = time.filter(|time| *time > 0.0);
        Row {
            used: time.map(|time| gathered.held / time),
            pool,
            of,
            waits: Spread::of(gathered.waits.into_values().collect()),
            holds: Spread::of(gathered.holds),
            begun: gathered.begun,
            held: gathered.held,
        }
    });
    rows.collect()
}

/// How much of a day is asked about, in seconds.
fn part_of_day(day: &str, span: &Span<'_>) -> f64 {
    let begins = humantime::parse_rfc3339(&format!("{day}T00:00:00Z")).ok();
    let begins = begins.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    let Some(begins) = begins.and_then(|time| i64::try_from(time.as_secs()).ok()) else {
        return 0.0;
    };
    ((begins + DAY).min(span.until) - begins.max(span.since)) as f64
}

/// The locks that holds tell of, by their pools.
pub fn locks_of(holds: &[Hold]) -> BTreeMap<PoolName, std::collections::BTreeSet<LockName>> {
    let mut locks: BTreeMap<PoolName, std::collections::BTreeSet<LockName>> = BTreeMap::new();
    for hold in holds {
        locks
            .entry(hold.pool.clone())
            .or_default()
            .insert(hold.lock.clone());
    }
    locks
}

#[cfg(test)]
mod tests;

//! The requests of the past once more, with more or fewer locks or in another order: how long they would have waited.
//!
//! Each arrives when it did, and holds its locks for as long as it did. What there is besides, from when a lock was free until
//! the claim of the next landed, is kept as well: nobody takes a lock at the moment at which it is freed. The line is the real
//! one: [`walk`] says who gets which lock, and waiting raises priorities.
//!
//! What cannot be known is left as it was: that somebody who waits too long gives up, or that shorter waits bring more requests.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::{Served, Spread};
use crate::line::{Demand, STEP, Takes, walk};
use crate::lock::LockName;

/// Arrivals within this of each other are served in the order in which they were: their times are no more exact than that, in
/// seconds.
const AT_ONCE: f64 = 1.5;

/// Who goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rule {
    /// Who came first.
    #[default]
    Arrival,
    /// Who came last.
    Newest,
    /// Anybody.
    Any,
}

/// Under which conditions the past is lived once more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scenario {
    /// The locks that there are.
    pub locks: BTreeSet<LockName>,
    /// How many more there are, which do for everybody who does not want certain ones by their names.
    pub more: usize,
    /// Who goes first, of those of the same priority.
    pub rule: Rule,
    /// Whether priorities count.
    pub priorities: bool,
}

/// What comes of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// How long each request waits, in seconds, in the order in which they were given; `None` for those that are never served.
    pub waits: Vec<Option<f64>>,
    /// The share of the time in which locks are held, from the first arrival to the last end.
    pub used: f64,
    /// How many locks there are.
    pub locks: usize,
}

impl Outcome {
    /// The waits of those that are served, from the request `first` on.
    pub fn spread(&self, first: usize) -> Spread {
        Spread::of(self.waits.iter().skip(first).flatten().copied().collect())
    }

    /// How many are never served, from the request `first` on.
    pub fn unserved(&self, first: usize) -> usize {
        let waits = self.waits.iter().skip(first);
        waits.filter(|wait| wait.is_none()).count()
    }
}

/// A moment that can be ordered.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Moment(f64);

impl Eq for Moment {}

impl Ord for Moment {
    fn cmp(&self, other: &Moment) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for Moment {
    fn partial_cmp(&self, other: &Moment) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// A request as it is played.
struct Request {
    arrival: f64,
    /// From when its locks are free for it until they are claimed.
    delay: f64,
    /// For how long each lock is held; `None` for ever.
    holds: Vec<Option<f64>>,
    demand: Demand,
    priority: i64,
    /// Which locks it had, by their numbers.
    had: Vec<usize>,
}

/// Plays the requests of one pool, which are in the order of their claims.
pub fn simulate(requests: &[Served], scenario: &Scenario) -> Outcome {
    let locks: Vec<&LockName> = scenario.locks.iter().collect();
    let n_locks = locks.len() + scenario.more;
    let held_before = held_before(requests, &locks);
    let requests = prepared(requests, &locks, scenario);
    let mut arrivals: Vec<usize> = in_order_of_arrival(&requests);
    arrivals.reverse();
    let mut place = vec![0; requests.len()];
    for (n, request) in arrivals.iter().rev().enumerate() {
        place[*request] = n;
    }

    let mut free = vec![true; n_locks];
    let mut ends: BinaryHeap<Reverse<(Moment, usize)>> = BinaryHeap::new();
    for (lock, until) in held_before {
        free[lock] = false;
        ends.push(Reverse((Moment(until), lock)));
    }
    let mut line: Vec<usize> = Vec::new();
    let mut waits: Vec<Option<f64>> = vec![None; requests.len()];
    let (mut held, mut last_end) = (0.0, f64::NEG_INFINITY);
    let mut draw = StdRng::seed_from_u64(0);
    loop {
        let arrival = arrivals.last().map(|n| requests[*n].arrival);
        let end = ends.peek().map(|Reverse((at, _))| at.0);
        let now = match (arrival, end) {
            (None, None) => break,
            (Some(at), None) | (None, Some(at)) => at,
            (Some(arrival), Some(end)) => arrival.min(end),
        };
        while let Some(Reverse((at, lock))) = ends.peek().copied()
            && at.0 <= now
        {
            ends.pop();
            free[lock] = true;
        }
        while let Some(n) = arrivals.pop_if(|n| requests[*n].arrival <= now) {
            line.push(n);
        }
        if !free.contains(&true) || line.is_empty() {
            continue;
        }
        match scenario.rule {
            Rule::Any => {
                let lots: BTreeMap<usize, u64> = line.iter().map(|n| (*n, draw.random())).collect();
                line.sort_by_key(|n| lots.get(n).copied());
            }
            Rule::Arrival => line.sort_by_key(|n| place[*n]),
            Rule::Newest => line.sort_by_key(|n| Reverse(place[*n])),
        }
        if scenario.priorities {
            line.sort_by_key(|n| {
                let waited = now - requests[*n].arrival;
                Reverse(requests[*n].priority + (waited / STEP.as_secs_f64()) as i64)
            });
        }
        let demands: Vec<Demand> = line.iter().map(|n| requests[*n].demand.clone()).collect();
        let mut served = walk(&demands, &free);
        keep_what_was(&mut served, &line, &requests, &free);
        for (n, locks) in line.iter().zip(&served) {
            let Some(locks) = locks else { continue };
            let request = &requests[*n];
            let begins = now + request.delay;
            waits[*n] = Some(begins - request.arrival);
            for (lock, hold) in locks.iter().zip(&request.holds) {
                free[*lock] = false;
                if let Some(hold) = hold {
                    ends.push(Reverse((Moment(begins + hold), *lock)));
                    held += hold;
                    last_end = last_end.max(begins + hold);
                }
            }
        }
        line.retain(|n| waits[*n].is_none());
    }
    let first = requests.iter().map(|request| request.arrival);
    let whole = (last_end - first.fold(f64::INFINITY, f64::min)) * n_locks as f64;
    Outcome {
        waits,
        used: if whole > 0.0 { held / whole } else { 0.0 },
        locks: n_locks,
    }
}

/// The locks that somebody held before the first request for them, of whom nothing is known but when it ended: a request
/// that waited got one. Until when that was.
fn held_before(requests: &[Served], locks: &[&LockName]) -> Vec<(usize, f64)> {
    let mut seen = BTreeSet::new();
    let mut held = Vec::new();
    for request in requests {
        for (lock, _) in &request.locks {
            let is_first = seen.insert(lock);
            if is_first
                && request.waited.is_some_and(|waited| waited > 0.0)
                && let Ok(n) = locks.binary_search(&lock)
            {
                held.push((n, request.claimed as f64));
            }
        }
    }
    held
}

/// The requests as they are played with these locks.
fn prepared(requests: &[Served], locks: &[&LockName], scenario: &Scenario) -> Vec<Request> {
    let numbers: BTreeMap<&LockName, usize> = locks
        .iter()
        .enumerate()
        .map(|(n, lock)| (*lock, n))
        .collect();
    let of = |request: &Served| -> Vec<usize> {
        let names = request.locks.iter();
        names
            .filter_map(|(lock, _)| numbers.get(lock).copied())
            .collect()
    };
    // Which locks do for those who ask for something, as far as it has shown.
    let mut doing: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
    for request in requests {
        if let Some(wanted) = &request.wanted {
            doing.entry(wanted).or_default().extend(of(request));
        }
    }
    let more = locks.len()..locks.len() + scenario.more;
    let mut freed: BTreeMap<&LockName, f64> = BTreeMap::new();
    let prepared = requests.iter().map(|request| {
        let claimed = request.claimed as f64;
        let arrival = request.arrived();
        let before = request.locks.iter().map(|(lock, _)| freed.get(lock));
        // Who held it before the first of them is not known, and is taken to have held it until then.
        let before = before.map(|at| at.copied().unwrap_or(claimed));
        let ready = before.fold(arrival, f64::max);
        // No longer than it was waited for.
        let delay = (claimed - ready).clamp(0.0, claimed - arrival);
        for (lock, end) in &request.locks {
            freed.insert(lock, end.map_or(f64::INFINITY, |end| end as f64));
        }
        let takes = match request.wanted.as_deref() {
            None => Takes::Only(of(request)),
            Some("any") => Takes::Anything,
            Some(wanted) => {
                let known = doing.get(wanted).into_iter().flatten().copied();
                Takes::Only(known.chain(more.clone()).collect())
            }
        };
        let holds = request.locks.iter();
        Request {
            arrival,
            delay,
            holds: holds
                .map(|(_, end)| end.map(|end| (end - request.claimed) as f64))
                .collect(),
            demand: Demand {
                count: request.locks.len(),
                takes,
            },
            priority: i64::from(request.priority),
            had: of(request),
        }
    });
    prepared.collect()
}

/// The requests in the order of their arrivals. Those that came at once are in the order of their claims.
fn in_order_of_arrival(requests: &[Request]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..requests.len()).collect();
    order.sort_by(|a, b| requests[*a].arrival.total_cmp(&requests[*b].arrival));
    let mut from = 0;
    while from < order.len() {
        let first = requests[order[from]].arrival;
        let at_once = order[from..].partition_point(|n| requests[*n].arrival < first + AT_ONCE);
        order[from..from + at_once].sort_unstable();
        from += at_once;
    }
    order
}

/// Lets those who are served have the locks that they had, where that makes no difference to anybody else: later requests may
/// want these very ones.
fn keep_what_was(
    served: &mut [Option<Vec<usize>>],
    line: &[usize],
    requests: &[Request],
    free: &[bool],
) {
    let mut taken: BTreeSet<usize> = served.iter().flatten().flatten().copied().collect();
    let wait_for_certain = |lock: usize| {
        let waiting = line.iter().zip(served.iter());
        let mut waiting = waiting.filter(|(_, served)| served.is_none());
        waiting.any(|(n, _)| match &requests[*n].demand.takes {
            Takes::Only(some) => some.contains(&lock),
            Takes::Anything => false,
        })
    };
    let wanted: BTreeSet<usize> = (0..free.len()).filter(|n| wait_for_certain(*n)).collect();
    for (n, locks) in line.iter().zip(served) {
        let Some(locks) = locks else { continue };
        let had = &requests[*n].had;
        for lock in locks.iter_mut() {
            if had.contains(lock) {
                continue;
            }
            let other = had
                .iter()
                .copied()
                .find(|had| free[*had] && !taken.contains(had) && !wanted.contains(had));
            if let Some(other) = other {
                taken.remove(lock);
                taken.insert(other);
                *lock = other;
            }
        }
    }
}

#[cfg(test)]
mod tests;

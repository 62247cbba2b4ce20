//! What Prometheus reads of the pools: what the history has, counted exactly, and how things stand now.
//!
//! Counters go back to the first commit of the branch: they are the same whoever asks, and whenever the server was started. What
//! no commit tells (waits) is counted since the server was started. What was seen last is not told while the server that has
//! the repository is away: a value that is old would pass for one that is new.

use std::time::SystemTime;

use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram as Drawn, LabelPair, Metric, MetricFamily, MetricType,
};

use super::board::held_since;
use super::{Board, PoolBoard, Sight};
use crate::past::chronicle::{BOUNDS, Counts, Histogram};
use terminal::table::seconds_of;

/// One metric, as it is documented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figure {
    /// Its name.
    pub name: &'static str,
    /// Its type, as Prometheus calls it.
    pub kind: &'static str,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it means.
    pub help: &'static str,
}

const fn of_pool(name: &'static str, kind: &'static str, help: &'static str) -> Figure {
    Figure {
        name,
        kind,
        labels: &["branch", "pool"],
        help,
    }
}

const fn of_branch(name: &'static str, kind: &'static str, help: &'static str) -> Figure {
    Figure {
        name,
        kind,
        labels: &["branch"],
        help,
    }
}

const LOCKS: Figure = Figure {
    labels: &["branch", "pool", "state"],
    ..of_pool(
        "pool_locks",
        "gauge",
        "Locks by state now: free, claimed, damaged",
    )
};
const OLDEST_CLAIM: Figure = of_pool(
    "pool_oldest_claim_timestamp_seconds",
    "gauge",
    "Since when the lock is claimed that has been claimed for longest; 0 if none is",
);
const QUEUE: Figure = of_pool(
    "pool_queue_length",
    "gauge",
    "How many wait in line now, without those that show no sign of life",
);
const QUEUE_OLDEST: Figure = of_pool(
    "pool_queue_oldest_timestamp_seconds",
    "gauge",
    "Since when the one waits who has waited for longest; 0 if nobody waits",
);
const CIRCLES: Figure = of_branch(
    "pool_circles",
    "gauge",
    "Groups of waiters who wait for each other now",
);
const CLAIMS: Figure = of_pool(
    "pool_claims_total",
    "counter",
    "Claims of locks, since the first commit of the branch",
);
const ENDED: Figure = Figure {
    labels: &["branch", "how", "pool"],
    ..of_pool(
        "pool_claims_ended_total",
        "counter",
        "Claims that ended, since the first commit of the branch: released, removed, reaped, unlocked",
    )
};
const HOLDS: Figure = of_pool(
    "pool_hold_seconds",
    "histogram",
    "How long locks were held, of the claims that ended since the first commit of the branch",
);
const WAITS: Figure = of_pool(
    "pool_wait_seconds",
    "histogram",
    "How long those waited in line who were granted what they waited for, as far as the server saw them since it was started",
);
const LEFT: Figure = of_pool(
    "pool_waits_left_total",
    "counter",
    "Waits that ended without a grant, as far as the server saw them since it was started",
);
const COMMITS: Figure = of_branch(
    "pool_commits_total",
    "counter",
    "Commits of the branch that are counted",
);
const COUNTED_SINCE: Figure = Figure {
    labels: &["branch", "commit"],
    ..of_branch(
        "pool_counted_since_timestamp_seconds",
        "gauge",
        "When the first commit was made that is counted",
    )
};
const UP: Figure = of_branch(
    "pool_repository_up",
    "gauge",
    "Whether the last look at the repository succeeded",
);
const LOOKED: Figure = of_branch(
    "pool_last_look_timestamp_seconds",
    "gauge",
    "When the repository was last looked at with success; 0 if it never was",
);

/// Every metric that there is.
pub const FIGURES: [Figure; 14] = [
    LOCKS,
    OLDEST_CLAIM,
    QUEUE,
    QUEUE_OLDEST,
    CIRCLES,
    CLAIMS,
    ENDED,
    HOLDS,
    WAITS,
    LEFT,
    COMMITS,
    COUNTED_SINCE,
    UP,
    LOOKED,
];

/// Those of a family as they are put together.
struct Family<'a> {
    figure: Figure,
    branch: &'a str,
    samples: Vec<Metric>,
}

impl<'a> Family<'a> {
    fn of(figure: Figure, branch: &'a str) -> Family<'a> {
        Family {
            figure,
            branch,
            samples: Vec::new(),
        }
    }

    fn sample(&mut self, labels: &[(&str, &str)]) -> &mut Metric {
        let mut metric = Metric::default();
        let mut pairs: Vec<(&str, &str)> = labels.to_vec();
        pairs.push(("branch", self.branch));
        pairs.sort_unstable();
        let pair = |(name, value): (&str, &str)| {
            let mut pair = LabelPair::default();
            pair.set_name(name.to_owned());
            pair.set_value(value.to_owned());
            pair
        };
        metric.set_label(pairs.into_iter().map(pair).collect());
        let at = self.samples.len();
        self.samples.push(metric);
        &mut self.samples[at]
    }

    fn gauge(&mut self, labels: &[(&str, &str)], value: f64) {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        self.sample(labels).set_gauge(gauge);
    }

    fn counter(&mut self, labels: &[(&str, &str)], value: u64) {
        let mut counter = Counter::default();
        counter.set_value(value as f64);
        self.sample(labels).set_counter(counter);
    }

    fn histogram(&mut self, labels: &[(&str, &str)], of: &Histogram) {
        let mut sum = 0;
        let buckets = BOUNDS.iter().zip(of.counts).map(|(bound, count)| {
            sum += count;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(sum);
            bucket
        });
        let mut drawn = Drawn::default();
        drawn.set_bucket(buckets.collect());
        drawn.set_sample_count(of.count());
        drawn.set_sample_sum(of.sum);
        self.sample(labels).set_histogram(drawn);
    }

    fn end(self, to: &mut Vec<MetricFamily>) {
        if self.samples.is_empty() {
            return;
        }
        let mut family = MetricFamily::default();
        family.set_name(self.figure.name.to_owned());
        family.set_help(self.figure.help.to_owned());
        family.set_field_type(match self.figure.kind {
            "counter" => MetricType::COUNTER,
            "histogram" => MetricType::HISTOGRAM,
            _ => MetricType::GAUGE,
        });
        family.set_metric(self.samples);
        to.push(family);
    }
}

/// The figures now. `board` is what `sight` shows.
pub fn figures(sight: &Sight, board: Option<&Board>, branch: &str) -> Vec<MetricFamily> {
    let mut all = Vec::new();
    let mut one = |figure: Figure, fill: &mut dyn FnMut(&mut Family<'_>)| {
        let mut family = Family::of(figure, branch);
        fill(&mut family);
        family.end(&mut all);
    };
    let is_up = sight.trouble.is_none() && sight.looked.is_some();
    let now: &[PoolBoard] = match board.filter(|_| is_up) {
        Some(board) => &board.pools,
        None => &[],
    };
    one(LOCKS, &mut |family| {
        for pool in now {
            let states = [
                ("free", pool.free),
                ("claimed", pool.held),
                ("damaged", pool.damaged),
            ];
            for (state, n) in states {
                family.gauge(&[("pool", pool.name.as_str()), ("state", state)], n as f64);
            }
        }
    });
    one(OLDEST_CLAIM, &mut |family| {
        for pool in now {
            let held = pool.locks.iter();
            let oldest = held.filter_map(|lock| held_since(&lock.standing)).min();
            family.gauge(&[("pool", pool.name.as_str())], at(oldest));
        }
    });
    let alive = |pool: &PoolBoard| -> Vec<Option<u64>> {
        let line = pool.line.iter().map(|place| &place.waiter);
        let alive = line.filter(|waiter| waiter.silent.is_none());
        alive.map(|waiter| waiter.since).collect()
    };
    one(QUEUE, &mut |family| {
        for pool in now {
            let n = alive(pool).len() as f64;
            family.gauge(&[("pool", pool.name.as_str())], n);
        }
    });
    one(QUEUE_OLDEST, &mut |family| {
        for pool in now {
            let oldest = alive(pool).into_iter().flatten().min();
            let oldest = oldest.unwrap_or_default() as f64;
            family.gauge(&[("pool", pool.name.as_str())], oldest);
        }
    });
    one(CIRCLES, &mut |family| {
        if let Some(board) = board.filter(|_| is_up) {
            family.gauge(&[], board.circles.len() as f64);
        }
    });
    let chronicle = sight.chronicle.as_deref();
    let pools = || {
        let past = chronicle.into_iter().flat_map(|past| past.pools());
        past.map(|(name, past)| (name.as_str(), past))
    };
    // One that was never used has had none: its first claim is to be seen as a change.
    let watched = || board.into_iter().flat_map(|board| &board.pools);
    let unused = || {
        let names = watched().map(|pool| &pool.name);
        let known = chronicle.into_iter().flat_map(move |chronicle| {
            let names = names.clone();
            names.filter(move |name| chronicle.pool(name).is_none())
        });
        known.map(|name| name.as_str())
    };
    one(CLAIMS, &mut |family| {
        for (pool, past) in pools() {
            family.counter(&[("pool", pool)], past.counts.claims);
        }
        for pool in unused() {
            family.counter(&[("pool", pool)], 0);
        }
    });
    one(ENDED, &mut |family| {
        let unused = unused().map(|pool| (pool, Counts::default()));
        let counts = pools().map(|(pool, past)| (pool, past.counts));
        for (pool, counts) in counts.chain(unused) {
            let kinds = [
                ("released", counts.released),
                ("removed", counts.removed),
                ("reaped", counts.reaped),
                ("unlocked", counts.unlocked),
            ];
            for (how, n) in kinds {
                family.counter(&[("pool", pool), ("how", how)], n);
            }
        }
    });
    one(HOLDS, &mut |family| {
        for (pool, past) in pools() {
            family.histogram(&[("pool", pool)], &past.holds);
        }
        for pool in unused() {
            family.histogram(&[("pool", pool)], &Histogram::EMPTY);
        }
    });
    let waits = |pool: &PoolBoard| sight.waits.of(&pool.name).cloned().unwrap_or_default();
    one(WAITS, &mut |family| {
        for pool in watched() {
            family.histogram(&[("pool", pool.name.as_str())], &waits(pool).granted);
        }
    });
    one(LEFT, &mut |family| {
        for pool in watched() {
            family.counter(&[("pool", pool.name.as_str())], waits(pool).left);
        }
    });
    one(COMMITS, &mut |family| {
        if let Some(chronicle) = chronicle {
            family.counter(&[], chronicle.commits);
        }
    });
    one(COUNTED_SINCE, &mut |family| {
        if let Some(chronicle) = chronicle {
            let (commit, at) = chronicle.first;
            family.gauge(&[("commit", &commit.to_string())], at as f64);
        }
    });
    one(UP, &mut |family| family.gauge(&[], f64::from(is_up)));
    let looked = sight.looked.as_ref().map(|(_, looked)| *looked);
    one(LOOKED, &mut |family| family.gauge(&[], at(looked)));
    all
}

fn at(time: Option<SystemTime>) -> f64 {
    time.and_then(seconds_of).unwrap_or_default() as f64
}

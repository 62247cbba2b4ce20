//! What is measured: each metric with its name, unit, help, labels and the group in which it is pushed.
//!
//! A step lives for seconds and cannot be scraped, so it pushes to a Pushgateway, which keeps the last value of each
//! series until it is replaced or deleted. It keeps series in *groups*, named by labels; to push is to replace, in one
//! group, the metrics that the push has. That decides everything here.
//!
//! # The groups
//!
//! All have the labels `job`, `pool` and `branch`, and then:
//!
//! - **the pool's** has nothing else. Its metrics tell the state of the whole pool and of the whole line, and whoever
//!   has just seen the pool writes them: each waiter, and each operation at its end. That is why the length of the line
//!   is not something that each waiter says for itself, to be added up: a waiter that is killed cannot take its
//!   contribution back, whereas a total is put right by the next one who looks, whoever that is.
//! - **an operation's** has `operation`. It tells of the last operation of its kind.
//! - **a waiter's** has `waiter`, the id of its ticket. It is there while the waiter is, who deletes it at its end. Of a
//!   waiter that was killed, it is deleted by whoever clears the ticket away ([`Reporter::forget`]).
//!
//! A push replaces only the metrics that it has (POST, and not PUT): one that does not know how long the line is leaves
//! the length alone. Such a push cannot take a series away either; so a point in time that there is none of (since when
//! the first of an empty line waits) is pushed as 0.
//!
//! # What is left when nobody is there to take it back
//!
//! If the only waiter is killed and nobody ever uses the pool again, then the last length of the line stays with the
//! Pushgateway, and so does the waiter's group. The gateway tells when a group was last pushed to (`push_time_seconds`),
//! and a waiter pushes at least every [`HEARTBEAT`]. So a line that nobody has told of for three of those
//! ([`STALE_AFTER`]) is nobody's; the dashboard and the alerts, which ask for it, take it for empty.
//!
//! # Points in time, not ages
//!
//! An age would be that of the last push, and stand still between two. What is pushed is since when; the reader's
//! `time() - since` is the age now. A claim's time is that of the clock of the machine that made it.
//!
//! # No counters
//!
//! A counter that is reset by each process and replaced by the next has no rate. So there is none: what an operation
//! counted is a gauge of the last operation. `changes(resource_pool_last_success_timestamp_seconds[1h])` counts
//! operations from outside, short of those that came between two scrapes. The one histogram, which existed before, has
//! the one observation of the last operation.
//!
//! Source: the README of the Pushgateway, "API" and "When to use the Pushgateway".

pub mod push;
mod reporter;

pub use reporter::{Ending, HEARTBEAT, PERIOD, Reporter, STALE_AFTER};

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE;
use prometheus::core::Collector;
use prometheus::{Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, Opts, Registry, TextEncoder};

use crate::lock::PoolName;
use crate::operation;

/// The job under which everything is pushed.
pub const JOB: &str = "concourse_resource_pool";

/// One metric, as it is documented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// Its type, as Prometheus calls it.
    pub kind: &'static str,
    /// What is counted or measured.
    pub unit: &'static str,
    /// Its labels besides those of its group.
    pub labels: &'static [&'static str],
    /// The label of its group besides `job`, `pool` and `branch`, if there is one.
    pub group: Option<&'static str>,
    /// What it means.
    pub help: &'static str,
}

const fn pools(name: &'static str, unit: &'static str, help: &'static str) -> Metric {
    Metric {
        name,
        kind: "gauge",
        unit,
        labels: &[],
        group: None,
        help,
    }
}

const fn operations(name: &'static str, unit: &'static str, help: &'static str) -> Metric {
    Metric {
        group: Some("operation"),
        ..pools(name, unit, help)
    }
}

const fn waiters(name: &'static str, unit: &'static str, help: &'static str) -> Metric {
    Metric {
        group: Some("waiter"),
        ..pools(name, unit, help)
    }
}

// Those three existed before, and keep their words: the Pushgateway wants the same ones from everybody.
const AVAILABLE: Metric = pools(
    "resource_pool_num_available_locks",
    "locks",
    "The number of unclaimed locks in the current pool",
);
const CLAIMED: Metric = pools(
    "resource_pool_num_claimed_locks",
    "locks",
    "The number of claimed locks in the current pool",
);
const EXECUTION_TIME: Metric = Metric {
    kind: "histogram",
    ..operations(
        "resource_pool_execution_time",
        "seconds",
        "Execution time of the current operation",
    )
};

const LOCKS: Metric = Metric {
    labels: &["state"],
    ..pools(
        "resource_pool_locks",
        "locks",
        "Locks of the pool by state: free, claimed, or damaged, which is in both folders and never granted",
    )
};
const OLDEST_CLAIM: Metric = pools(
    "resource_pool_oldest_claim_timestamp_seconds",
    "seconds since 1970",
    "Since when the lock is claimed that has been claimed for longest; 0 if none is",
);
const QUEUE_LENGTH: Metric = pools(
    "resource_pool_queue_length",
    "waiters",
    "How many wait in line for a lock of the pool",
);
const QUEUE_OLDEST: Metric = pools(
    "resource_pool_queue_oldest_timestamp_seconds",
    "seconds since 1970",
    "Since when the one has waited who has waited for longest; 0 if nobody waits",
);
const WAIT: Metric = operations(
    "resource_pool_wait_seconds",
    "seconds",
    "How long the last operation waited, from its arrival until it was granted what it asked for",
);
const HELD: Metric = operations(
    "resource_pool_held_seconds",
    "seconds",
    "How long the lock was held that the last operation gave back",
);
const LOST_RACES: Metric = operations(
    "resource_pool_lost_races",
    "pushes",
    "How often somebody else changed the branch first during the last operation",
);
const RETRIED_FAULTS: Metric = operations(
    "resource_pool_retried_faults",
    "requests",
    "How many requests to the Git server failed and were tried again during the last operation",
);
const LAST_SUCCESS: Metric = operations(
    "resource_pool_last_success_timestamp_seconds",
    "seconds since 1970",
    "When the last operation that was carried out ended",
);
const LAST_FAILURE: Metric = operations(
    "resource_pool_last_failure_timestamp_seconds",
    "seconds since 1970",
    "When the last operation that failed or gave up ended",
);
const WAITER_SINCE: Metric = waiters(
    "resource_pool_waiter_since_timestamp_seconds",
    "seconds since 1970",
    "Since when this one waits in line",
);
const WAITER_PLACE: Metric = waiters(
    "resource_pool_waiter_place",
    "places",
    "Where in the line this one is; 1 is served next",
);

const WAITER_CIRCLE: Metric = waiters(
    "resource_pool_waiter_circle",
    "waiters",
    "How many wait for each other in the circle in which this one waits; 0 if it waits in none",
);

/// Every metric that there is.
pub const METRICS: [Metric; 16] = [
    AVAILABLE,
    CLAIMED,
    LOCKS,
    OLDEST_CLAIM,
    QUEUE_LENGTH,
    QUEUE_OLDEST,
    EXECUTION_TIME,
    WAIT,
    HELD,
    LOST_RACES,
    RETRIED_FAULTS,
    LAST_SUCCESS,
    LAST_FAILURE,
    WAITER_SINCE,
    WAITER_PLACE,
    WAITER_CIRCLE,
];

/// Which pool a push is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The pool.
    pub pool: PoolName,
    /// The branch that it is on.
    pub branch: String,
}

/// Since when something is so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// From this moment on.
    When(SystemTime),
    /// There is nothing that it could be said of.
    Nothing,
    /// We have not looked; what was pushed before stands.
    Unknown,
}

/// A pool as somebody has just seen it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolState {
    /// How many locks can be claimed.
    pub free: usize,
    /// How many somebody holds.
    pub claimed: usize,
    /// How many are in both folders.
    pub damaged: usize,
    /// Since when the lock is claimed that has been claimed for longest.
    ///
    /// An operation that ends a claim should look, or else the ended claim goes on ageing until somebody does.
    pub oldest_claim: Since,
}

/// The line before a pool as somebody has just seen it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// How many wait.
    pub length: usize,
    /// Since when the one has waited who has waited for longest.
    pub oldest: Since,
}

/// One who waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiter {
    /// The id of its ticket, which no other waiter has.
    pub id: String,
    /// Since when it waits.
    pub since: SystemTime,
    /// Where in the line it is, from 1.
    pub place: usize,
    /// How many are in the circle in which it waits; none without one.
    pub circle: usize,
}

/// What there is to tell while somebody waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The pool.
    pub pool: PoolState,
    /// The whole line; `None` where there is none because the server keeps no tickets.
    pub line: Option<Line>,
    /// The one who tells.
    pub waiter: Waiter,
}

/// An operation that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// What [`operation_name`] calls it.
    pub name: &'static str,
    /// Whether it was carried out. One that was told to stop has neither succeeded nor failed, and is not pushed.
    pub succeeded: bool,
    /// When it ended.
    pub ended: SystemTime,
    /// How long it took in all.
    pub took: Duration,
    /// How long it waited from its arrival until it was granted what it asked for, zero if it had it at once; `None` for
    /// an operation that waits for nothing.
    pub waited: Option<Duration>,
    /// How long the lock was held that it gave back; of several, the longest.
    pub held: Option<Duration>,
    /// How often somebody else changed the branch first.
    pub lost_races: u32,
    /// How many requests failed and were tried again.
    pub retried_faults: u32,
}

/// What an operation is called in the label `operation`; the names are those of the resource with metrics in use today.
pub fn operation_name(operation: &operation::Operation) -> &'static str {
    use crate::lock::Holding;
    use operation::Operation;
    match operation {
        Operation::Acquire(_) | Operation::AcquireEach(_) => "acquire_lock",
        Operation::Claim { .. } => "claim_lock",
        Operation::Release { .. } => "release_lock",
        Operation::ReleaseOwn => "release_mine",
        Operation::Renew { .. } => "renew_lock",
        Operation::Add {
            holding: Holding::Unclaimed,
            ..
        } => "add_unclaimed_lock",
        Operation::Add {
            holding: Holding::Claimed,
            ..
        } => "add_claimed_lock",
        Operation::Remove { .. } => "remove_lock",
        Operation::Update { .. } => "update_lock",
        Operation::Move { .. } => "move_lock",
        Operation::AwaitUnclaimed { .. } => "check_lock",
        Operation::AwaitClaimed { .. } => "check_unclaimed_lock",
    }
}

/// What is done to one group of the Pushgateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Push {
    /// The group's path, from the gateway's own URL on, without a slash before it.
    pub path: String,
    /// What is done.
    pub change: Change,
}

/// What is done to a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The metrics of this text replace those of the same names.
    Replace(String),
    /// The group is taken away.
    Delete,
}

impl Place {
    /// The push to the pool's group; `None` when nothing is known of it.
    pub fn state(&self, pool: Option<&PoolState>, line: Option<&Line>) -> Option<Push> {
        let mut page = Page::default();
        if let Some(pool) = pool {
            page.gauge(&AVAILABLE, pool.free as f64);
            page.gauge(&CLAIMED, pool.claimed as f64);
            let states = [
                ("free", pool.free),
                ("claimed", pool.claimed),
                ("damaged", pool.damaged),
            ];
            page.gauges(&LOCKS, &states.map(|(state, n)| (state, n as f64)));
            page.since(&OLDEST_CLAIM, pool.oldest_claim);
        }
        if let Some(line) = line {
            page.gauge(&QUEUE_LENGTH, line.length as f64);
            page.since(&QUEUE_OLDEST, line.oldest);
        }
        (!page.is_empty()).then(|| self.push(None, Change::Replace(page.text())))
    }

    /// The push to the group of an operation's kind.
    pub fn operation(&self, operation: &Operation) -> Push {
        let mut page = Page::default();
        let ended = seconds_since_1970(operation.ended);
        if operation.succeeded {
            page.histogram(&EXECUTION_TIME, operation.took);
            page.gauge(&LAST_SUCCESS, ended);
            // A wait that was given up is none until the grant.
            if let Some(waited) = operation.waited {
                page.gauge(&WAIT, waited.as_secs_f64());
            }
            if let Some(held) = operation.held {
                page.gauge(&HELD, held.as_secs_f64());
            }
        } else {
            page.gauge(&LAST_FAILURE, ended);
        }
        page.gauge(&LOST_RACES, operation.lost_races.into());
        page.gauge(&RETRIED_FAULTS, operation.retried_faults.into());
        self.push(
            Some(("operation", operation.name)),
            Change::Replace(page.text()),
        )
    }

    /// The push to a waiter's own group.
    pub fn waiter(&self, waiter: &Waiter) -> Push {
        let mut page = Page::default();
        page.gauge(&WAITER_SINCE, seconds_since_1970(waiter.since));
        page.gauge(&WAITER_PLACE, waiter.place as f64);
        page.gauge(&WAITER_CIRCLE, waiter.circle as f64);
        self.push(Some(("waiter", &waiter.id)), Change::Replace(page.text()))
    }

    /// Takes a waiter's own group away.
    pub fn no_waiter(&self, id: &str) -> Push {
        self.push(Some(("waiter", id)), Change::Delete)
    }

    fn push(&self, more: Option<(&str, &str)>, change: Change) -> Push {
        let labels = [
            ("job", JOB),
            ("pool", self.pool.as_str()),
            ("branch", &self.branch),
        ];
        let parts: Vec<String> = labels.into_iter().chain(more).map(path_part).collect();
        Push {
            path: format!("metrics/{}", parts.join("/")),
            change,
        }
    }
}

/// A label as a part of a group's path. What is not plain goes in base64, which everything on the way leaves as it is: a
/// slash, even an escaped one, and `..` would be taken for something else.
fn path_part((name, value): (&str, &str)) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if value.chars().all(is_plain) && value.chars().any(|c| c != '.') {
        return format!("{name}/{value}");
    }
    // An empty part of a path would be dropped; this is how the gateway wants it written.
    let encoded = Some(BASE64_URL_SAFE.encode(value)).filter(|text| !text.is_empty());
    format!("{name}@base64/{}", encoded.as_deref().unwrap_or("="))
}

fn seconds_since_1970(time: SystemTime) -> f64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_secs_f64()
}

/// Why the building of a page cannot fail: all that it depends on is in the table above.
const SOUND: &str = "each metric of the table is valid, and on a page once";

/// Metrics to be pushed together.
#[derive(Default)]
struct Page(Registry);

impl Page {
    fn gauge(&mut self, metric: &Metric, value: f64) {
        let gauge = Gauge::with_opts(options(metric)).expect(SOUND);
        gauge.set(value);
        self.add(gauge);
    }

    fn gauges(&mut self, metric: &Metric, values: &[(&str, f64)]) {
        let gauges = GaugeVec::new(options(metric), metric.labels).expect(SOUND);
        for (label, value) in values {
            gauges.with_label_values(&[*label]).set(*value);
        }
        self.add(gauges);
    }

    fn since(&mut self, metric: &Metric, since: Since) {
        match since {
            Since::When(time) => self.gauge(metric, seconds_since_1970(time)),
            Since::Nothing => self.gauge(metric, 0.0),
            Since::Unknown => {}
        }
    }

    fn histogram(&mut self, metric: &Metric, observation: Duration) {
        let options = HistogramOpts::from(options(metric));
        let histogram = Histogram::with_opts(options).expect(SOUND);
        histogram.observe(observation.as_secs_f64());
        self.add(histogram);
    }

    fn add(&mut self, collector: impl Collector + 'static) {
        self.0.register(Box::new(collector)).expect(SOUND);
    }

    fn is_empty(&self) -> bool {
        self.0.gather().is_empty()
    }

    fn text(&self) -> String {
        let mut bytes = Vec::new();
        let encoded = TextEncoder::new().encode(&self.0.gather(), &mut bytes);
        encoded.expect(SOUND);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

fn options(metric: &Metric) -> Opts {
    Opts::new(metric.name, metric.help)
}

#[cfg(test)]
mod tests;

//! Figures of a few holds.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use super::*;
use crate::past::{End, How};
use git::object::{Oid, blob_id};

/// Midnight.
const BEGIN: i64 = 1_800_057_600;

fn hold(n: u8, lock: &str, since: i64, end: Option<i64>, message: &str) -> Hold {
    let message: Arc<[u8]> = message.as_bytes().into();
    Hold {
        pool: PoolName::new("aws").unwrap(),
        lock: LockName::new(lock).unwrap(),
        claim: blob_id(&[n]),
        since: BEGIN + since,
        message: message.clone(),
        end: end.map(|at| End {
            by: Oid::ZERO_SHA1,
            at: BEGIN + at,
            how: How::Released,
            reason: None,
            message,
        }),
    }
}

fn holds() -> Vec<Hold> {
    let build = "ops/web/deploy build 12 claiming: a\n\nPool-Number: 7\nPool-Waited: 30.0s\n";
    let prompt = "ops/web/test build 3 claiming: a\n\nPool-Number: 8\n";
    let foreign = "GitLab ops/web deploy #4711 claiming: b\n";
    vec![
        hold(3, "b", 90_000, None, foreign),
        hold(2, "a", 3000, Some(4000), prompt),
        hold(1, "a", 1000, Some(1600), build),
        hold(0, "b", -500, Some(500), foreign),
    ]
}

fn rows_of(by: By) -> Vec<Row> {
    let locks = BTreeMap::from([(PoolName::new("aws").unwrap(), 2)]);
    let span = Span {
        since: BEGIN,
        until: BEGIN + 100_000,
        locks: &locks,
    };
    rows(&holds(), by, &span)
}

#[test]
fn a_pool_is_used_for_as_long_as_its_locks_are_held_in_the_time_that_is_asked_about() {
    let [row] = &rows_of(By::Pool)[..] else {
        panic!("one pool")
    };

    assert_eq!(
        (row.begun, row.held),
        (3, 500.0 + 600.0 + 1000.0 + 10_000.0)
    );
    assert_eq!(row.used, Some(12_100.0 / 200_000.0));
    // The one of whom nobody knows how long it waited is none of them.
    assert_eq!(
        (row.waits.n, row.waits.above_zero, row.waits.sum),
        (2, 1, 30.0)
    );
    assert_eq!((row.holds.n, row.holds.mean()), (2, 800.0));
}

#[test]
fn rows_are_by_lock_pipeline_or_day() {
    let of = |by| -> Vec<(String, usize, f64)> {
        let rows = rows_of(by).into_iter();
        rows.map(|row| (row.of, row.begun, row.held)).collect()
    };

    assert_eq!(
        of(By::Lock),
        [("a".into(), 2, 1600.0), ("b".into(), 1, 10_500.0)]
    );
    assert_eq!(
        of(By::Pipeline),
        [
            ("GitLab ops/web deploy".into(), 1, 10_500.0),
            ("ops/web".into(), 2, 1600.0)
        ]
    );
    assert_eq!(
        of(By::Day),
        [
            ("2027-01-16".into(), 2, 2100.0),
            ("2027-01-17".into(), 1, 10_000.0)
        ]
    );
    let days = rows_of(By::Day);
    assert_eq!(days[0].used, Some(2100.0 / (2.0 * 86_400.0)));
    assert_eq!(days[1].used, Some(10_000.0 / (2.0 * 13_600.0)));
}

#[test]
fn of_no_holds_there_are_no_figures() {
    let locks = BTreeMap::new();
    let span = Span {
        since: 5,
        until: 5,
        locks: &locks,
    };
    assert_eq!(rows(&[], By::Pool, &span), []);
    let row = &rows(&holds(), By::Pool, &span)[0..];
    assert!(row.iter().all(|row| row.used.is_none()));
}

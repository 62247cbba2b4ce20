//! `timeout` and `try`: a wait that ends by itself says who held the lock.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Step, TestRemote};

/// A pool whose only lock is held by build 12 of ops/web/deploy.
fn held() -> (TestRemote, String) {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let answer = Step::on(&remote, "aws")
        .in_build()
        .put(json!({"acquire": true}));
    let claim = answer.version();
    (remote, claim)
}

const WAITING: [&str; 4] = ["acquire", "claim", "update", "check"];

fn params(operation: &str, more: Value) -> Value {
    let mut params = more;
    params[operation] = match operation {
        "acquire" => json!(true),
        "claim" => json!("env-1"),
        _ => json!("lock"),
    };
    params
}

const FILES: [(&str, &[u8]); 2] = [("lock/name", b"env-1"), ("lock/metadata", b"new")];

#[test]
fn try_gives_up_at_once_and_says_who_holds_the_lock() {
    for operation in WAITING {
        let (remote, claim) = held();
        let step = Step::on(&remote, "aws").set("retry_delay", "1h");

        let answer = step.put_with(params(operation, json!({"try": true})), &FILES);

        let by = format!("by {claim} (`ops/web/deploy build 12 claiming: env-1`)");
        answer.assert_failed(&["gave up at once", "`env-1` is held since 20", &by]);
        assert_eq!(remote.head(), claim, "{operation}");
    }
}

#[test]
fn a_timeout_gives_up_when_it_is_over_though_the_next_look_would_be_later() {
    for operation in WAITING {
        let (remote, claim) = held();
        let step = Step::on(&remote, "aws").set("retry_delay", "1h");
        let started = Instant::now();

        let answer = step.put_with(params(operation, json!({"timeout": "300ms"})), &FILES);

        assert!(started.elapsed() >= Duration::from_millis(300));
        answer.assert_failed(&["gave up after 300ms", "`env-1` is held"]);
        assert!(
            answer.stderr.contains("waiting in pool `aws`"),
            "{}",
            answer.stderr
        );
        assert_eq!(remote.head(), claim, "{operation}");
    }
}

#[test]
fn waiting_for_a_claim_can_be_given_up_too() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);

    let answer =
        Step::on(&remote, "aws").put_with(json!({"check_unclaimed": "lock", "try": true}), &FILES);

    answer.assert_failed(&["gave up at once: `env-1` is unclaimed"]);
}

#[test]
fn what_can_be_had_at_once_is_had_with_try_and_timeout() {
    for more in [
        json!({"try": true}),
        json!({"timeout": "1ms"}),
        json!({"try": false, "timeout": ""}),
    ] {
        let remote = TestRemote::with_pool("aws", &["env-1"]);

        let answer = Step::on(&remote, "aws").put(params("acquire", more));

        assert_eq!(answer.lock(), "env-1");
    }
}

#[test]
fn a_lock_that_is_released_in_time_is_had() {
    let (remote, _) = held();
    let step = Step::on(&remote, "aws");
    let running = step.start_put(json!({"acquire": true, "timeout": "50s"}));
    running.wait_for_stderr("no lock is free");

    remote.release_by_hand("aws", "env-1");

    assert_eq!(running.finish().lock(), "env-1");
}

#[test]
fn the_holder_is_found_however_long_ago_the_claim_was() {
    let (remote, claim) = held();
    for n in 0..60 {
        remote.commit(&format!("elsewhere {n}"), &[]);
    }

    let answer = Step::on(&remote, "aws").put(json!({"acquire": true, "try": true}));

    answer.assert_failed(&["`env-1` is held since 20", &claim]);
}

#[test]
fn of_many_holders_some_are_named_and_the_others_counted() {
    let locks: Vec<String> = (0..8).map(|n| format!("env-{n}")).collect();
    let locks: Vec<&str> = locks.iter().map(String::as_str).collect();
    let remote = TestRemote::with_pool("aws", &locks);
    for lock in &locks {
        remote.claim_by_hand("aws", lock);
    }

    let answer = Step::on(&remote, "aws").put(json!({"acquire": true, "try": true}));

    answer.assert_failed(&[
        "8 claimed",
        "`env-0` is held",
        "`env-4` is held",
        "(`claiming: env-4`)",
        "and 3 more",
    ]);
}

#[test]
fn a_timeout_that_is_none_is_refused() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let step = Step::on(&remote, "aws");

    step.put(json!({"acquire": true, "timeout": "soon"}))
        .assert_failed(&["`params.timeout`"]);
    step.put(json!({"acquire": true, "timeout": ["1s"]}))
        .assert_failed(&["`params.timeout`"]);
    step.put(json!({"acquire": true, "try": "yes"}))
        .assert_failed(&["`params.try`"]);
    assert_eq!(remote.count(), 1);
}

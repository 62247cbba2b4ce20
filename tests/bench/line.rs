//! The line at work: how many served in which order, how soon, and at what cost to the server; and the rules alone.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod figures;
#[allow(dead_code, unused_imports)]
use std::time::{Duration, Instant};

use figures::median;
use pool::line::{Demand, Takes, walk};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use support::server::http::HttpServer;
use support::{Answer, Step, TestRemote};

const MANY: usize = 30;

fn main() {
    // `cargo test` runs benches too, with an argument that asks for nothing.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    rules();
    for _ in 0..3 {
        at_once();
    }
    in_turn(false);
    in_turn(true);
}

/// 1,000 tickets for 1,000 locks, of which every second is free; each takes any lock, or one of twenty.
fn rules() {
    let mut dice = StdRng::seed_from_u64(1);
    let line: Vec<Demand> = (0..1000)
        .map(|n| Demand {
            count: 1,
            takes: if n % 4 == 0 {
                Takes::Anything
            } else {
                let some: std::collections::BTreeSet<usize> =
                    (0..20).map(|_| dice.random_range(0..1000)).collect();
                Takes::Only(some.into_iter().collect())
            },
        })
        .collect();
    let free: Vec<bool> = (0..1000).map(|n| n % 2 == 0).collect();
    let times = (0..101).map(|_| {
        let begun = Instant::now();
        let served = walk(&line, &free);
        assert_eq!(served.iter().flatten().count(), 500);
        begun.elapsed()
    });
    println!(
        "walk along 1,000 tickets for 1,000 locks: {:?}",
        median(times.collect())
    );
}

fn build(remote: &TestRemote, uri: &str, n: usize) -> Step {
    Step::with_source(json!({"uri": uri, "branch": remote.branch(), "pool": "aws"}))
        .in_build()
        .env("BUILD_ID", format!("id-{n}"))
        .env("BUILD_NAME", n.to_string())
}

fn locks() -> TestRemote {
    let names: Vec<String> = (0..MANY).map(|n| format!("env-{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    TestRemote::with_pool("aws", &names)
}

/// As many acquires as there are free locks: one after the other, and all together.
fn at_once() {
    let remote = locks();
    let server = HttpServer::start(remote.root());
    let begun = Instant::now();
    for n in 0..MANY {
        build(&remote, &server.uri(), n)
            .put(json!({"acquire": true}))
            .lock();
    }
    let one_by_one = begun.elapsed();

    let remote = locks();
    let server = HttpServer::start(remote.root());
    let steps: Vec<Step> = (0..MANY)
        .map(|n| build(&remote, &server.uri(), n))
        .collect();
    let begun = Instant::now();
    let running: Vec<_> = steps
        .iter()
        .map(|step| step.start_put(json!({"acquire": true})))
        .collect();
    for one in running {
        one.finish().lock();
    }
    let together = begun.elapsed();
    assert_eq!(remote.list("aws/claimed").len(), MANY);
    let log = server.log();
    let count = |what: &str| log.lines().filter(|line| line.contains(what)).count();
    println!(
        "{MANY} acquires of {MANY} free locks: one after the other {:.2} s, together {:.2} s, ratio {:.2}; {} requests: \
         {} looks, {} fetches, {} beginnings of pushes, {} pushes",
        one_by_one.as_secs_f64(),
        together.as_secs_f64(),
        together.as_secs_f64() / one_by_one.as_secs_f64(),
        log.lines().count(),
        count("service=git-upload-pack"),
        count("/git-upload-pack HTTP"),
        count("service=git-receive-pack"),
        count("/git-receive-pack HTTP"),
    );
}

/// One lock, free or held until all have come; they come one after the other, and each gives it back as soon as it has it.
fn in_turn(held: bool) {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    if held {
        remote.claim_by_hand("aws", "env-1");
    }
    let server = HttpServer::start(remote.root());
    let mut dice = StdRng::seed_from_u64(7);
    let begun = Instant::now();
    let waits: Vec<_> = (0..MANY)
        .map(|n| {
            let pause = Duration::from_millis(dice.random_range(300..1500));
            std::thread::sleep(if n == 0 { Duration::ZERO } else { pause });
            let arrived = begun.elapsed();
            let step = build(&remote, &server.uri(), n);
            // Who releases does not wait, and goes another way, so that the server's log is that of the waiters.
            let releaser = build(&remote, &remote.uri(), n);
            let waiter = std::thread::spawn(move || {
                let answer: Answer = step.start_put(json!({"acquire": true})).finish();
                let granted = begun.elapsed();
                let lock = answer.lock();
                releaser
                    .put_with(
                        json!({"release": "lock"}),
                        &[("lock/name", lock.as_bytes())],
                    )
                    .lock();
                (granted, begun.elapsed())
            });
            (arrived, waiter)
        })
        .collect();
    let tickets = || {
        remote
            .git(&["for-each-ref", "refs/pool-queue"])
            .lines()
            .count()
    };
    if held {
        support::wait_until("all wait", || tickets() == MANY);
        remote.release_by_hand("aws", "env-1");
    }
    let mut served: Vec<(Duration, Duration, Duration, usize)> = waits
        .into_iter()
        .enumerate()
        .map(|(n, (arrived, waiter))| {
            let (granted, released) = waiter.join().unwrap();
            (granted, released, arrived, n)
        })
        .collect();
    let took = begun.elapsed();
    served.sort();
    let inversions = served
        .iter()
        .enumerate()
        .flat_map(|(i, a)| served[i + 1..].iter().map(move |b| (a, b)))
        .filter(|(a, b)| a.2 > b.2 + Duration::from_secs(1))
        .count();
    let hand_overs: Vec<Duration> = served
        .windows(2)
        .map(|pair| pair[1].0.saturating_sub(pair[0].1))
        .collect();
    let requests = server.log().lines().count();
    println!(
        "{MANY} waiters for one lock that is {}, 0.3 to 1.5 s apart: {inversions} inversions, {} hand-overs, median {:.2} s, the longest {:.2} s; \
         {requests} requests in {:.0} s, {:.1} a second, {:.1} of them for waiting",
        if held {
            "held until all are there"
        } else {
            "free at first"
        },
        hand_overs.len(),
        median(hand_overs.clone()).as_secs_f64(),
        hand_overs.iter().max().unwrap().as_secs_f64(),
        took.as_secs_f64(),
        requests as f64 / took.as_secs_f64(),
        (requests - 4 * MANY) as f64 / took.as_secs_f64(),
    );
}

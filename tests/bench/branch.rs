//! Pools that share a branch, and pools with a branch each: how many locks are granted, how soon, and at what cost to the
//! server. Each worker acquires a lock that nobody else wants, and gives it back, again and again.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod figures;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use figures::median;
use serde_json::json;
use support::server::http::HttpServer;
use support::{Step, TestRemote};

/// How long it is measured.
const LASTS: Duration = Duration::from_secs(20);

fn main() {
    // `cargo test` runs benches too, with an argument that asks for nothing.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    println!(
        "| pools x workers | on | grants a second | median, s | 99th | worst | requests a grant | pushes |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for (pools, workers) in [(1, 1), (10, 1), (10, 5)] {
        for shared in [true, false] {
            measure(pools, workers, shared);
        }
    }
}

fn measure(pools: usize, workers: usize, shared: bool) {
    let locks: Vec<String> = (0..workers).map(|n| format!("env-{n}")).collect();
    let locks: Vec<&str> = locks.iter().map(String::as_str).collect();
    let remote = TestRemote::with_pool("pool-0", &locks);
    for n in 1..pools {
        remote.add_pool(&format!("pool-{n}"), &locks);
    }
    let branch = |pool: usize| match shared {
        true => remote.branch().to_owned(),
        false => format!("branch-{pool}"),
    };
    if !shared {
        for n in 0..pools {
            remote.git(&["branch", &branch(n), remote.branch()]);
        }
    }
    let server = HttpServer::start(remote.root());
    let failed = AtomicUsize::new(0);
    let begun = Instant::now();
    let took: Vec<Duration> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..pools * workers)
            .map(|n| {
                let pool = n % pools;
                let source = json!({
                    "uri": server.uri(), "branch": branch(pool), "pool": format!("pool-{pool}"),
                });
                let step = Step::with_source(source).in_build();
                let step = step.env("BUILD_ID", n.to_string());
                let failed = &failed;
                scope.spawn(move || work(&step, begun, failed))
            })
            .collect();
        running
            .into_iter()
            .flat_map(|one| one.join().unwrap())
            .collect()
    });
    let seconds = begun.elapsed().as_secs_f64();
    let log = server.log();
    let count = |what: &str| log.lines().filter(|line| line.contains(what)).count() as f64;
    let mut sorted = took.clone();
    sorted.sort();
    let grants = took.len();
    println!(
        "| {pools} x {workers} | {} | {:.1} | {:.2} | {:.2} | {:.2} | {:.1} | {:.1} |",
        if shared {
            "one branch"
        } else {
            "branches of their own"
        },
        grants as f64 / seconds,
        median(took).as_secs_f64(),
        sorted[(grants * 99 / 100).min(grants - 1)].as_secs_f64(),
        sorted[grants - 1].as_secs_f64(),
        log.lines().count() as f64 / grants as f64,
        count("/git-receive-pack HTTP") / grants as f64,
    );
    let failed = failed.load(Ordering::Relaxed);
    assert_eq!(failed, 0, "some failed");
}

/// Acquires and gives back for as long as it is measured; how long each acquire took.
fn work(step: &Step, begun: Instant, failed: &AtomicUsize) -> Vec<Duration> {
    let mut took = Vec::new();
    while begun.elapsed() < LASTS {
        let asked = Instant::now();
        let answer = step.put(json!({"acquire": true}));
        if answer.code != Some(0) {
            failed.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        took.push(asked.elapsed());
        let files: &[(&str, &[u8])] = &[
            ("lock/name", answer.lock().into_bytes().leak()),
            ("lock/claim", answer.version().into_bytes().leak()),
        ];
        let back = step.put_with(json!({"release": "lock"}), files);
        failed.fetch_add(usize::from(back.code != Some(0)), Ordering::Relaxed);
    }
    took
}

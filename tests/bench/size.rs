//! Large repositories over HTTP: locks with much metadata, many locks in a pool, a million commits. Beside it what plain git
//! needs for the same.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod figures;
mod work;

use std::time::{Duration, Instant};

use figures::median;
use support::TestRemote;
use support::remote::Hand;
use support::server::http::HttpServer;
use support::server::relay::Relay;
use work::{Bench, Git, Work, plain};

/// How often each is measured, in turn.
const ROUNDS: usize = 5;

fn main() {
    // `cargo test` runs benches too, with an argument that asks for nothing.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    println!("Medians of {ROUNDS}; bytes both ways\n");
    println!("| | work | ours, ms | git, ms | ours / git | ours, KB | memory, MB |");
    println!("|---|---|---|---|---|---|---|");
    let remote = with_metadata(20, 10_000_000);
    // As the forges have it.
    remote.git(&["config", "uploadpack.allowFilter", "true"]);
    remote.git(&["config", "uploadpack.allowAnySHA1InWant", "true"]);
    rows(
        "20 locks of 10 MB, server with filters",
        &remote,
        &[Work::Acquire, Work::Get],
    );
    let remote = with_metadata(1000, 10_000);
    rows(
        "1,000 locks of 10 KB, server without",
        &remote,
        &[Work::Acquire],
    );
    for (name, locks) in [("10,000 locks", 10_000), ("100,000 locks", 100_000)] {
        let remote = TestRemote::with_history_of(10, locks);
        rows(name, &remote, &[Work::Acquire, Work::Release]);
    }
    let remote = TestRemote::with_history(1_000_000);
    rows("1,000,000 commits", &remote, &Work::ALL);
}

/// One pool, whose locks have so many bytes of metadata each, which no compression makes fewer. The head is a claim.
fn with_metadata(locks: usize, bytes: usize) -> TestRemote {
    let remote = TestRemote::with_pool("aws", &[]);
    let mut state = 1_u64;
    let mut content = || {
        let mut bytes = vec![0; bytes];
        for byte in &mut bytes {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            *byte = (state >> 56) as u8;
        }
        bytes
    };
    let files: Vec<(String, Vec<u8>)> = (0..locks)
        .map(|n| (format!("aws/unclaimed/env-{n}"), content()))
        .collect();
    let hands: Vec<Hand<'_>> = files
        .iter()
        .map(|(path, content)| Hand::Put(path, "100644", content))
        .collect();
    remote.commit("locks", &hands);
    remote.claim_by_hand("aws", "env-0");
    remote.git(&["repack", "-a", "-d", "-q"]);
    remote
}

fn rows(name: &str, remote: &TestRemote, works: &[Work]) {
    let server = HttpServer::start(remote.root());
    let relay = Relay::start(server.port());
    let way = plain(format!("http://127.0.0.1:{}/git/locks.git", relay.port()));
    let head = remote.head();
    let reset = || drop(remote.git(&["update-ref", "refs/heads/main", &head]));
    for work in works.iter().copied() {
        let mut bench = Bench::new(way.source.clone(), &head, work);
        let warm = Git::new(&way);
        if work == Work::WarmCheck {
            warm.fetch(1);
        }
        let (mut ours, mut gits): (Vec<Duration>, Vec<Duration>) = (Vec::new(), Vec::new());
        let mut bytes = Vec::new();
        for _ in 0..ROUNDS {
            bench.begin();
            let before = relay.bytes();
            let started = Instant::now();
            let answer = bench.run();
            ours.push(started.elapsed());
            bytes.push(relay.bytes() - before);
            assert_eq!(answer.code, Some(0), "{}", answer.stderr);
            reset();

            let of_its_own = Git::new(&way);
            let git = match work {
                Work::WarmCheck => &warm,
                _ => &of_its_own,
            };
            let started = Instant::now();
            git.does(work);
            gits.push(started.elapsed());
            reset();
        }
        bench.begin();
        let most = bench.peak() as f64 / 1024.0;
        reset();
        bytes.sort();
        let (ours, git) = (median(ours), median(gits));
        println!(
            "| {name} | {} | {} | {} | {:.2} | {} | {most:.0} |",
            work.name(),
            ours.as_millis(),
            git.as_millis(),
            ours.as_secs_f64() / git.as_secs_f64(),
            bytes[ROUNDS / 2] / 1024,
        );
    }
}

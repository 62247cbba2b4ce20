//! A crowd that waits for one lock: what it costs the server while nothing happens, how soon it hands over, and what is left
//! of it when all are told to stop at once.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod figures;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use figures::median;
use serde_json::json;
use support::server::http::HttpServer;
use support::step::Running;
use support::{Step, TestRemote, wait_until};

const MANY: usize = 200;

/// How long they are watched while nothing happens.
const IDLE: Duration = Duration::from_secs(60);

/// How often the lock is handed over.
const HAND_OVERS: usize = 10;

fn main() {
    // `cargo test` runs benches too, with an argument that asks for nothing.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    remote.claim_by_hand("aws", "env-1");
    let server = HttpServer::start(remote.root());
    let mut crowd: Vec<Running> = Vec::new();
    for n in 0..MANY {
        let step = Step::with_source(
            json!({"uri": server.uri(), "branch": remote.branch(), "pool": "aws"}),
        );
        let step = step.in_build().env("BUILD_ID", format!("id-{n}"));
        crowd.push(step.start_put(json!({"acquire": true})));
        // They come one after the other, as fast as they get in.
        wait_until("it stands in line", || tickets(&remote) > n);
    }

    let from = second_of_day();
    std::thread::sleep(IDLE);
    let to = second_of_day();
    let kept = objects(&remote);

    let mut took = Vec::new();
    for n in 0..HAND_OVERS {
        let freed = Instant::now();
        remote.release_by_hand("aws", "env-1");
        wait_until("the next has it", || tickets(&remote) < MANY - n);
        took.push(freed.elapsed());
        let served = crowd.iter_mut().position(|one| !one.is_running());
        if let Some(served) = served {
            crowd.remove(served).finish().lock();
        }
    }
    let longest = *took.iter().max().unwrap();
    println!(
        "{HAND_OVERS} hand-overs: median {:.2} s, the longest {:.2} s",
        median(took).as_secs_f64(),
        longest.as_secs_f64()
    );

    let told = Instant::now();
    for one in &crowd {
        one.signal_if_there("TERM");
    }
    let many = crowd.len();
    for one in crowd {
        one.finish();
    }
    println!(
        "{many} told to stop at once: all gone after {:.1} s, {} tickets left",
        told.elapsed().as_secs_f64(),
        tickets(&remote)
    );

    let log = server.log();
    // At midnight there is nothing to see.
    let then = log
        .lines()
        .filter(|line| second_of(line).is_some_and(|at| (from..to).contains(&at)));
    let then: Vec<&str> = then.collect();
    let pushes = then
        .iter()
        .filter(|line| line.contains("/git-receive-pack HTTP"));
    println!(
        "{MANY} who wait, {} s in which nothing happens: {:.1} requests a second, {:.2} of them pushes; {kept} KB of objects at the server",
        IDLE.as_secs(),
        then.len() as f64 / IDLE.as_secs_f64(),
        pushes.count() as f64 / IDLE.as_secs_f64(),
    );
}

/// The time, in seconds since midnight, UTC.
fn second_of_day() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_secs() % 86_400
}

/// The same of a line of the server's log, which has `[27/Nov/2026:10:00:00 +0000]`; `None` where it is not in UTC.
fn second_of(line: &str) -> Option<u64> {
    let (_, time) = line.split_once('[')?;
    let (time, zone) = time.split_once(']')?.0.split_once(' ')?;
    let mut parts = time.split(':').skip(1).map(str::parse::<u64>);
    let mut part = || parts.next()?.ok();
    (zone == "+0000").then_some(())?;
    Some(part()? * 3600 + part()? * 60 + part()?)
}

fn tickets(remote: &TestRemote) -> usize {
    let refs = remote.git(&["for-each-ref", "refs/pool-queue"]);
    refs.lines().count()
}

/// The size of all objects, in KB.
fn objects(remote: &TestRemote) -> String {
    let counted = remote.git(&["count-objects", "-v"]);
    let sizes = counted.lines().filter(|line| line.starts_with("size"));
    let sizes = sizes.filter_map(|line| line.split(' ').nth(1)?.parse::<u64>().ok());
    sizes.sum::<u64>().to_string()
}

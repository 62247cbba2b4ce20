use serde_json::{Value, json};

use support::remote::Hand;
use support::server::http::HttpServer;
use support::server::relay::Relay;
use support::{Cli, Pool, Step, TestRemote, wait_until};

/// A pool in which much has happened, minute by minute: what each hold is, the newest first.
fn storied() -> TestRemote {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2"]);
    let minute = |n: u64| 4_000_000_000 + n * 60;
    let moved = |time: u64, message: &str, from: &str, to: &str, lock: &str| {
        let (from, to) = (format!("aws/{from}/{lock}"), format!("aws/{to}/{lock}"));
        remote.commit_at(minute(time), message, &[Hand::Move(&from, &to)]);
    };
    let (free, held) = ("unclaimed", "claimed");
    moved(
        0,
        "ops/web/deploy build 1 claiming: env-1",
        free,
        held,
        "env-1",
    );
    moved(
        10,
        "ops/web/deploy build 1 unclaiming: env-1",
        held,
        free,
        "env-1",
    );
    moved(20, "ann@laptop claiming: env-2", free, held, "env-2");
    let reason = "ops/web/deploy build 2 unclaiming: env-2\n\nPool-Reason: build 1 has ended\nPool-Reaped: yes";
    moved(50, reason, held, free, "env-2");
    moved(60, "ben@laptop claiming: env-1", free, held, "env-1");
    moved(
        61,
        "cat@laptop unclaiming: env-1\n\nPool-Reason: needed for the demo",
        held,
        free,
        "env-1",
    );
    moved(70, "ann@laptop claiming: env-2", free, held, "env-2");
    remote.commit_at(
        minute(75),
        "ann@laptop removing: env-2",
        &[Hand::Delete("aws/claimed/env-2")],
    );
    moved(80, "ann@laptop claiming: env-1", free, held, "env-1");
    remote
}

/// Lock, holder and end of each entry.
fn told(log: &Value) -> Vec<(String, String, String)> {
    let entries = log.as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap_or("still").to_owned();
    entries
        .map(|entry| {
            (
                text(&entry["lock"]),
                text(&entry["holder"]),
                text(&entry["end"]["how"]),
            )
        })
        .collect()
}

fn entry(lock: &str, holder: &str, end: &str) -> (String, String, String) {
    (lock.to_owned(), holder.to_owned(), end.to_owned())
}

#[test]
fn every_hold_is_told_with_its_holder_its_length_and_its_end_the_newest_first() {
    let remote = storied();
    let cli = Cli::on(&remote.uri()).env("POOL_NAME", "aws");

    let log = cli.json(&["log"]);
    let text = cli.text(&["log"]);

    assert_eq!(
        told(&log),
        [
            entry("env-1", "ann@laptop", "still"),
            entry("env-2", "ann@laptop", "removed"),
            entry("env-1", "ben@laptop", "unlocked"),
            entry("env-2", "ann@laptop", "reaped"),
            entry("env-1", "ops/web/deploy build 1", "released"),
        ]
    );
    assert_eq!(log[4]["held_seconds"], 600);
    assert_eq!(log[4]["since"], "2096-10-02T07:06:40Z");
    assert_eq!(log[4]["end"]["at"], "2096-10-02T07:16:40Z");
    assert_eq!(log[2]["end"]["by"], "cat@laptop");
    assert_eq!(log[2]["end"]["reason"], "needed for the demo");
    assert_eq!(log[0]["claim"], remote.head());
    assert_eq!(
        text.lines().skip(1).collect::<Vec<_>>(),
        [
            "2096-10-02 08:16       5m  removed   env-2  ann@laptop",
            "2096-10-02 08:06       1m  unlocked  env-1  ben@laptop",
            "                           by cat@laptop: needed for the demo",
            "2096-10-02 07:26      30m  reaped    env-2  ann@laptop",
            "                           by ops/web/deploy build 2: build 1 has ended",
            "2096-10-02 07:06      10m  released  env-1  ops/web/deploy build 1",
        ]
    );
}

#[test]
fn a_log_is_narrowed_by_lock_holder_number_and_time() {
    let remote = storied();
    let cli = Cli::on(&remote.uri()).env("POOL_NAME", "aws");
    let number = |args: &[&str]| cli.json(args).as_array().unwrap().len();

    assert_eq!(number(&["log", "env-2"]), 2);
    assert_eq!(number(&["log", "--by", "ann@"]), 3);
    assert_eq!(number(&["log", "env-2", "--by", "ops/web"]), 0);
    assert_eq!(number(&["log", "-n", "2"]), 2);
    // All of it lies in the future of our clock.
    assert_eq!(number(&["log", "--since", "7d"]), 5);
    assert_eq!(number(&["log", "--all"]), 5);
    assert_eq!(
        cli.text(&["log", "env-1", "--by", "nobody"]),
        "nobody has held any of these in that time\n"
    );
    assert_eq!(cli.run(&["log", "env-3"]).code, Some(2));
}

#[test]
fn what_our_own_steps_did_is_in_the_log() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let server = HttpServer::start(remote.root());
    let step = Step::on(&remote, "aws").in_build();
    let claim = step.put(json!({"claim": "env-1"})).version();
    let (_, folder) = step.get(&claim);
    let release = step.put_folder("release", &folder).version();

    let log = Cli::on(&server.uri()).json(&["log"]);

    assert_eq!(
        told(&log),
        [entry("env-1", "ops/web/deploy build 12", "released")]
    );
    assert_eq!(
        (&log[0]["claim"], &log[0]["end"]["commit"]),
        (&json!(claim), &json!(release))
    );
    assert_eq!(
        log[0]["url"],
        "https://ci.example.com/teams/ops/pipelines/web/jobs/deploy/builds/12"
    );
}

#[test]
fn what_an_operator_has_unlocked_is_told_as_such_with_his_name_and_his_reason() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2"]);
    let (anna, bob) = (
        Pool::on(&remote, "aws"),
        Pool::on(&remote, "aws").called("bob"),
    );
    anna.run(&["claim", "env-1"]).text();
    bob.run(&["unlock", "env-1", "--reason", "she is on holiday"])
        .text();
    anna.run(&["claim", "env-2", "--lease", "1ms"]).text();
    wait_until("the lease is over", || {
        bob.run(&["reap"]).text().contains("freed env-2")
    });

    let json: Value = serde_json::from_str(bob.run(&["log", "--json"]).text()).unwrap();

    let mut told = told(&json);
    told.sort();
    assert_eq!(
        told,
        [
            entry("env-1", "anna", "unlocked"),
            entry("env-2", "anna", "reaped")
        ]
    );
    let log = bob.run(&["log", "env-1"]);
    for words in ["unlocked", "by bob: she is on holiday"] {
        assert!(log.text().contains(words), "{}", log.stdout);
    }
    assert!(!log.text().contains("reaped"), "{}", log.stdout);
}

#[test]
fn no_more_of_a_long_history_is_read_than_was_asked_for() {
    let remote = TestRemote::with_history(20_000);
    let server = HttpServer::start(remote.root());
    let bytes = |args: &[&str]| {
        let relay = Relay::start(server.port());
        let cli = Cli::on(&format!("http://127.0.0.1:{}/git/locks.git", relay.port()));
        let log = cli.json(args);
        (log.as_array().unwrap().len(), relay.bytes())
    };

    let (few, little) = bytes(&["log"]);
    let (many, much) = bytes(&["log", "-n", "100000"]);

    assert_eq!((few, many), (20, 10_000));
    assert!(20 * little < much, "{little} bytes, and {much} for all");
}

#[test]
fn a_pool_that_is_not_there_is_an_error() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);

    let answer = Cli::on(&remote.uri()).env("POOL_NAME", "gcp").run(&["log"]);

    assert_eq!((answer.code, answer.stdout.as_str()), (Some(2), ""));
    assert!(
        answer.stderr.contains("there is no pool `gcp`"),
        "{}",
        answer.stderr
    );
}

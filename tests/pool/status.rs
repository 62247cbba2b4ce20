use serde_json::{Value, json};

use support::remote::Hand;
use support::server::http::HttpServer;
use support::server::relay::Relay;
use support::{Cli, Peak, Step, TestRemote, wait_until};

/// The lock of this name in the first pool of a status.
fn lock<'a>(status: &'a Value, name: &str) -> &'a Value {
    let locks = status["pools"][0]["locks"].as_array().unwrap();
    locks.iter().find(|lock| lock["lock"] == name).unwrap()
}

#[test]
fn each_lock_is_free_or_held_by_somebody_since_some_time() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2", "env-3"]);
    let server = HttpServer::start(remote.root());
    let build = Step::on(&remote, "aws").in_build();
    let claim = build.put(json!({"claim": "env-2"})).version();
    let leased = build
        .put(json!({"claim": "env-3", "lease": "150m"}))
        .version();
    let cli = Cli::on(&server.uri()).env("POOL_NAME", "aws");

    let status = cli.json(&["status"]);
    let text = cli.text(&["status"]);

    assert_eq!(status["commit"], remote.head());
    assert_eq!(status["pools"][0]["pool"], "aws");
    assert_eq!(
        *lock(&status, "env-1"),
        json!({"lock": "env-1", "state": "free"})
    );
    let held = lock(&status, "env-2");
    let time = remote.git(&[
        "log",
        "-1",
        "--format=%cd",
        "--date=format:%Y-%m-%dT%H:%M:%SZ",
        &claim,
    ]);
    assert_eq!(held["state"], "claimed");
    assert_eq!(held["holder"], "ops/web/deploy build 12");
    assert_eq!(held["claim"], claim);
    assert_eq!(held["since"], time);
    let page = "https://ci.example.com/teams/ops/pipelines/web/jobs/deploy/builds/12";
    assert_eq!(held["url"], page);
    assert_eq!(held["lease_end"], Value::Null);
    assert_eq!(lock(&status, "env-3")["claim"], leased);
    assert_eq!(
        lock(&status, "env-3")["lease_end"],
        remote.git(&[
            "log",
            "-1",
            "--format=%(trailers:key=Pool-Lease,valueonly)",
            &leased
        ])
    );
    for words in [
        "aws  3 locks: 1 free, 2 claimed",
        "ops/web/deploy build 12",
        page,
        "lease ends in 2h ",
        "free   env-1",
    ] {
        assert!(text.contains(words), "no {words:?} in {text}");
    }
    assert!(
        text.lines().all(|line| line.chars().count() <= 100),
        "{text}"
    );
}

#[test]
fn a_claim_by_hand_is_told_by_its_subject() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2"]);
    remote.claim_by_hand("aws", "env-1");
    let from = |lock: &str| {
        (
            format!("aws/unclaimed/{lock}"),
            format!("aws/claimed/{lock}"),
        )
    };
    let (free, held) = from("env-2");
    remote.commit("ann needs it for a demo", &[Hand::Move(&free, &held)]);

    let status = Cli::on(&remote.uri()).json(&["status"]);

    assert_eq!(lock(&status, "env-1")["holder"], "somebody");
    assert_eq!(lock(&status, "env-2")["holder"], "ann needs it for a demo");
}

#[test]
fn without_a_pool_and_with_all_every_pool_on_the_branch_is_shown_at_any_depth() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    remote.add_pool("team/deep/er", &["env-2"]);
    remote.commit("no pool", &[Hand::Put("docs/readme", "100644", b"")]);
    let cli = Cli::on(&remote.uri());
    let of_all = |status: &Value| {
        let pools = status["pools"].as_array().unwrap();
        assert_eq!(pools.len(), 2);
        assert_eq!(
            (&pools[0]["pool"], &pools[1]["pool"]),
            (&json!("aws"), &json!("team/deep/er"))
        );
    };

    of_all(&cli.json(&["status"]));
    let cli = cli.env("POOL_NAME", "aws");
    of_all(&cli.json(&["status", "--all"]));
    assert_eq!(cli.json(&["status"])["pools"].as_array().unwrap().len(), 1);
}

#[test]
fn only_the_locks_that_are_named_are_shown_and_one_that_is_not_there_is_an_error() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2"]);
    let cli = Cli::on(&remote.uri()).env("POOL_NAME", "aws");

    let status = cli.json(&["status", "env-2"]);
    let missing = cli.run(&["status", "env-3"]);
    let no_pool = cli.env("POOL_NAME", "gcp").run(&["status"]);

    assert_eq!(status["pools"][0]["locks"].as_array().unwrap().len(), 1);
    assert_eq!((missing.code, missing.stdout.as_str()), (Some(2), ""));
    assert!(
        missing.stderr.contains("there is no lock `env-3`"),
        "{}",
        missing.stderr
    );
    assert_eq!(no_pool.code, Some(2));
    assert!(
        no_pool.stderr.contains("there is no pool `gcp`"),
        "{}",
        no_pool.stderr
    );
}

#[test]
fn what_is_damaged_is_named_with_what_is_wrong() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2"]);
    remote.commit("oops", &[Hand::Put("aws/claimed/env-1", "100644", b"both")]);
    remote.commit(
        "oops",
        &[Hand::Put("aws/unclaimed/env-3/file", "100644", b"")],
    );
    let cli = Cli::on(&remote.uri());

    let status = cli.json(&["status"]);
    let text = cli.text(&["status"]);

    for (name, what) in [
        ("env-1", "in both claimed/ and unclaimed/"),
        ("env-3", "not a file"),
    ] {
        assert_eq!(lock(&status, name)["state"], "damaged");
        let damage = lock(&status, name)["damage"].as_str().unwrap();
        assert!(damage.contains(what), "{damage}");
        let line = text.lines().find(|line| line.contains(name)).unwrap();
        assert!(line.contains("damaged"), "{line}");
    }
    assert!(
        text.contains("3 locks: 1 free, 0 claimed, 2 damaged"),
        "{text}"
    );
}

#[test]
fn those_who_wait_are_shown_in_their_order_with_what_they_wait_for() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    remote.claim_by_hand("aws", "env-1");
    let step = Step::on(&remote, "aws").in_build();
    let cli = Cli::on(&remote.uri());
    let waiting = |n: usize| {
        let refs = || remote.git(&["for-each-ref", "refs/pool-queue"]);
        wait_until("the tickets are there", || refs().lines().count() == n);
    };
    let first = step.start_put(json!({"acquire": true}));
    waiting(1);
    let second = step.start_put(json!({"claim": "env-1"}));
    waiting(2);
    let urgent = step.start_put(json!({"acquire": true, "priority": 5, "request": "urgent"}));
    waiting(3);

    let line = cli.json(&["status"])["pools"][0]["line"].clone();
    let text = cli.text(&["status"]);

    let line: Vec<(&Value, &Value, &Value)> = line
        .as_array()
        .unwrap()
        .iter()
        .map(|waiter| (&waiter["lock"], &waiter["count"], &waiter["priority"]))
        .collect();
    let none = &Value::Null;
    assert_eq!(
        line,
        [
            (none, &json!(1), &json!(5)),
            (none, &json!(1), &json!(0)),
            (&json!("env-1"), none, &json!(0))
        ]
    );
    for words in [
        "1 claimed, 3 waiting",
        "line   1. ops/web/deploy build 12 for any lock, priority 5",
        "       3. ops/web/deploy build 12 for env-1 ",
    ] {
        assert!(text.contains(words), "no {words:?} in {text}");
    }
    for waiter in [first, second, urgent] {
        waiter.kill();
    }
}

#[test]
fn a_watch_without_a_terminal_prints_anew_when_something_has_changed() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let cli = Cli::on(&remote.uri());

    let watching = cli.watch(&["status", "--watch"]);
    watching.wait_for("1 free, 0 claimed");
    remote.commit("elsewhere", &[Hand::Put("readme", "100644", b"")]);
    remote.claim_by_hand("aws", "env-1");
    watching.wait_for("0 free, 1 claimed");

    assert_eq!(watching.text().matches("1 free, 0 claimed").count(), 1);
    assert!(!watching.text().contains('\u{1b}'), "{}", watching.text());
}

#[test]
fn a_waiter_that_vanished_is_said_to_show_no_sign_of_life_only_by_a_watch() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    remote.claim_by_hand("aws", "env-1");
    let step = Step::on(&remote, "aws").set("ticket_renewal", "100ms");
    let gone = step.start_put(json!({"acquire": true}));
    wait_until("its ticket is there", || {
        !remote.git(&["for-each-ref", "refs/pool-queue"]).is_empty()
    });
    gone.kill();
    let cli = Cli::on(&remote.uri());

    let once = cli.text(&["status"]);
    let watching = cli.watch(&["status", "--watch"]);

    assert!(
        once.contains("for any lock ") && !once.contains("no sign"),
        "{once}"
    );
    watching.wait_for("no sign of life for ");
}

#[test]
fn a_large_repository_takes_little_memory_and_little_of_its_history_where_the_server_can_leave_folders_out()
 {
    let remote = TestRemote::with_many_pools(20_000);
    let server = HttpServer::start(remote.root());
    let relay = Relay::start(server.port());
    let cli = Cli::on(&format!("http://127.0.0.1:{}/git/locks.git", relay.port()));
    let home = tempfile::tempdir().unwrap();
    let peak = Peak::in_folder(home.path());

    let output = cli
        .command(&peak.time(), &["status", "--all", "--json"])
        .output()
        .unwrap();

    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    let kilobytes = peak.kilobytes();
    assert!((1024..150 * 1024).contains(&kilobytes), "{kilobytes} KB");
    let all: usize = std::fs::read_dir(remote.path().join("objects/pack"))
        .unwrap()
        .map(|file| file.unwrap())
        .filter(|file| file.file_name().to_str().unwrap().ends_with(".pack"))
        .map(|file| usize::try_from(file.metadata().unwrap().len()).unwrap())
        .sum();
    assert!(relay.bytes() < all, "{} bytes of {all}", relay.bytes());

    // As plain git and a server that leaves nothing out tell it.
    remote.git(&["config", "uploadpack.allowFilter", "false"]);
    let everything = Cli::on(&server.uri()).json(&["status", "--all"]);
    let told = |status: &Value| -> Vec<(Value, Value, Value, Value)> {
        let pools = status["pools"].as_array().unwrap();
        let locks = pools.iter().flat_map(|pool| {
            let locks = pool["locks"].as_array().unwrap();
            locks.iter().map(|lock| (pool["pool"].clone(), lock))
        });
        locks
            .map(|(pool, lock)| {
                (
                    pool,
                    lock["lock"].clone(),
                    lock["state"].clone(),
                    lock["claim"].clone(),
                )
            })
            .collect()
    };
    assert_eq!(told(&status), told(&everything));
    let held: Vec<_> = told(&status)
        .into_iter()
        .filter(|lock| lock.2 == "claimed")
        .collect();
    assert_eq!(
        held.len(),
        remote
            .tree()
            .iter()
            .filter(|path| path.contains("/claimed/env-"))
            .count()
    );
    for (pool, lock, _, claim) in held.iter().step_by(50) {
        let file = format!(
            "{}/claimed/{}",
            pool.as_str().unwrap(),
            lock.as_str().unwrap()
        );
        let by_git = remote.git(&[
            "log",
            "-1",
            "--diff-filter=A",
            "--no-renames",
            "--format=%H",
            "main",
            "--",
            &file,
        ]);
        assert_eq!(*claim, by_git, "{file}");
    }
}

#[test]
fn an_old_claim_in_a_commit_that_says_something_else_is_found_without_the_whole_history() {
    let remote = TestRemote::with_many_pools(200);
    let pool = "team-0/pool-00";
    let files = ["claimed", "unclaimed"].map(|folder| format!("{pool}/{folder}/env-00"));
    remote.commit("cleanup", &[Hand::Move(&files[0], &files[1])]);
    let again = remote.commit("oh, that was needed", &[Hand::Move(&files[1], &files[0])]);
    // So far back that the commits are asked alone.
    remote.say_often(5_100);

    let status = Cli::on(&remote.uri())
        .env("POOL_NAME", pool)
        .json(&["status"]);

    assert_eq!(lock(&status, "env-00")["claim"], again);
    assert_eq!(lock(&status, "env-00")["holder"], "oh, that was needed");
}

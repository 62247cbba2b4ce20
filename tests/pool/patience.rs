//! `timeout` and `try`: a wait that ends by itself says who held the lock.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use support::server::faulty::Faulty;
use support::server::free_port;
use support::server::gate::{Gate, Request};
use support::server::http::HttpServer;
use support::{Pool, Step, TestRemote, wait_until};

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

        let by = format!(
            "by ops/web/deploy build 12 https://ci.example.com/teams/ops/pipelines/web/jobs/deploy/builds/12 (the claim {claim})"
        );
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
fn who_waits_while_the_branch_moves_on_and_on_needs_no_more_open_files_for_it() {
    let (remote, _) = held();
    let server = HttpServer::start(remote.root());
    let gate = Gate::start(server.port());
    let uri = format!("http://127.0.0.1:{}/git/locks.git", gate.port());
    let step = Step::on(&remote, "aws").set("uri", uri);
    let request = json!({"source": step.source(), "params": {"acquire": true}}).to_string();
    let limited = ["sh", "-c", "ulimit -n 48; exec \"$@\"", "sh"];
    let folder = step.folder().into_os_string();
    let mut running = step.start_under(&limited, "out", &[folder], request.as_bytes());
    running.wait_for_stderr("no lock is free");

    for _ in 0..80 {
        let (seen, head) = (gate.seen(Request::Fetch), remote.head());
        let moved = remote.commit_on(&[&head], "a note", &[]);
        remote.git(&["update-ref", "refs/heads/main", &moved, &head]);
        wait_until("that is fetched", || {
            assert!(running.is_running(), "{}", running.stderr());
            gate.seen(Request::Fetch) > seen
        });
    }
    let head = remote.release_by_hand("aws", "env-1");

    let answer = running.finish();
    assert_eq!((answer.lock().as_str(), remote.back(1)), ("env-1", head));
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

/// The `uri` of a server that says nothing, one that fails, and one where nobody listens.
fn unwilling() -> Vec<(&'static str, String, Option<Faulty>)> {
    let at = |server: &Faulty| format!("http://127.0.0.1:{}/locks.git", server.port());
    let silent = Faulty::silent();
    let failing = Faulty::answering("HTTP/1.1 503 Unavailable\r\nContent-Length: 0\r\n\r\n");
    let nobody = format!("http://127.0.0.1:{}/locks.git", free_port());
    vec![
        ("silent", at(&silent), Some(silent)),
        ("failing", at(&failing), Some(failing)),
        ("away", nobody, None),
    ]
}

#[test]
fn a_step_that_may_not_wait_does_not_wait_for_a_server_either() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    for (what, uri, _server) in unwilling() {
        for (limit, words) in [
            (json!({"try": true}), "with `try`"),
            (json!({"timeout": "3s"}), "with a `timeout` of 3s"),
        ] {
            // By themselves, faults would be ridden out for longer than a test waits for anything.
            let step = Step::on(&remote, "aws")
                .set("uri", uri.clone())
                .set("fault_timeout", "1h")
                .set("silence_timeout", "1h")
                .set("attempt_timeout", "1h");

            let answer = step.put(params("acquire", limit));

            // Where nobody is, that is the end of it even earlier.
            let words = if what == "away" {
                "there is nobody at"
            } else {
                words
            };
            answer.assert_failed(&["gave up after", words]);
            assert!(
                !answer.stderr.contains("taking"),
                "{what}: {}",
                answer.stderr
            );
        }
    }
}

#[test]
fn a_step_that_may_not_wait_does_not_go_on_for_ever_while_others_are_faster() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    // Whoever pushes finds that somebody has been faster, each time.
    remote.hook(
        "pre-receive",
        "unset GIT_QUARANTINE_PATH GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES\n\
         tree=$(git rev-parse main^{tree})\n\
         commit=$(git commit-tree -p main -m 'of another pool' $tree)\n\
         git update-ref refs/heads/main $commit; exit 0",
    );
    for (limit, words) in [
        (json!({"try": true}), "with `try`"),
        (json!({"timeout": "2s"}), "with a `timeout` of 2s"),
    ] {
        let step = Step::on(&remote, "aws").set("fault_timeout", "1h");

        let answer = step.put(params("acquire", limit));

        answer.assert_failed(&["gave up after", words, "others changed the branch first"]);
        assert_eq!(remote.list("aws/claimed"), [""; 0]);
    }
}

#[test]
fn a_rule_that_forbids_our_commits_is_told_though_the_branch_moves_before_each_push() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    remote.hook(
        "pre-receive",
        "echo x >> pushes; unset GIT_QUARANTINE_PATH GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES\n\
         commit=$(git commit-tree -p main -m 'of another pool' main^{tree})\n\
         git update-ref refs/heads/main $commit\n\
         echo locks are taken on weekdays only >&2; exit 1",
    );

    let answer = Step::on(&remote, "aws").put(json!({"acquire": true}));

    answer.assert_failed(&[
        "pre-receive hook declined",
        "locks are taken on weekdays only",
    ]);
    let pushes = std::fs::read_to_string(remote.path().join("pushes")).unwrap();
    assert_eq!(pushes.lines().count(), 1);
}

#[test]
fn a_claim_that_may_stand_when_the_time_is_over_is_no_lock_that_is_held() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    // The first push lands and gets no answer, and every later one is refused.
    remote.hook(
        "pre-receive",
        "[ -e held ] || exit 0\necho no more pushes today; exit 1",
    );
    remote.hook(
        "post-receive",
        "mkdir held 2>/dev/null || exit 0\nwhile [ -e HEAD ] && [ ! -e go-on ]; do sleep 0.05; done",
    );

    let answer = Pool::on(&remote, "aws").run(&["acquire", "--timeout", "1s"]);

    std::fs::write(remote.path().join("go-on"), "").unwrap();
    let claim = remote.head();
    assert_eq!(answer.code, Some(2), "{}", answer.stderr);
    let expected = format!("and `env-1` may still be claimed, by the commit {claim}");
    assert!(
        answer.stderr.contains("error: gave up after"),
        "{}",
        answer.stderr
    );
    assert!(answer.stderr.contains(&expected), "{}", answer.stderr);
}

#[test]
fn the_longest_timeout_is_one_too() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    remote.claim_by_hand("aws", "env-1");
    let longest = format!("{}ns", i64::MAX);

    let running = Pool::on(&remote, "aws").start(&["acquire", "--timeout", &longest]);
    running.wait_for_stderr("no lock is free");
    remote.release_by_hand("aws", "env-1");

    let answer = running.finish();
    assert_eq!(answer.code, Some(0), "{}", answer.stderr);
}

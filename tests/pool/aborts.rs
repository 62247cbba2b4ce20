//! Signals and closed pipes: whatever a step was doing, nothing it claimed is left behind.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;

use support::path_of;
use support::remote::Hand;
use support::server::faulty::Faulty;
use support::server::http::HttpServer;
use support::step::{Running, full_stdout};
use support::{Answer, Step, TestRemote, wait_until};

/// How long an abort may take; Concourse kills what is still there after 10 s.
const LIMIT: Duration = Duration::from_secs(8);

/// Sends a signal and waits for the end, which must be a failure, in time, and without an answer.
#[track_caller]
fn abort(running: Running, signal: &str) -> Answer {
    running.signal(signal);
    let started = Instant::now();
    let answer = running.finish();

    assert!(
        started.elapsed() < LIMIT,
        "{:?}: {}",
        started.elapsed(),
        answer.stderr
    );
    assert_eq!(
        (answer.code, answer.stdout.as_str()),
        (Some(1), ""),
        "{}",
        answer.stderr
    );
    assert!(
        answer.stderr.contains("stopped by a signal"),
        "{}",
        answer.stderr
    );
    answer
}

/// Waits until a hook of the repository has made this file, which says how far a push has come.
fn wait_for_mark(remote: &TestRemote, name: &str) {
    wait_until(&format!("a hook has made {name}"), || {
        remote.path().join(name).exists()
    });
}

#[test]
fn a_step_that_waits_ends_at_once_and_claims_nothing() {
    for signal in ["TERM", "INT"] {
        let remote = TestRemote::with_pool("aws", &["env-1"]);
        let head = remote.claim_by_hand("aws", "env-1");
        let running = Step::on(&remote, "aws")
            .set("retry_delay", "1h")
            .start_put(json!({"acquire": true}));
        running.wait_for_stderr("no lock is free");

        let answer = abort(running, signal);

        // That a build was aborted is nobody's mistake.
        assert!(!answer.stderr.contains("err"), "{}", answer.stderr);
        assert_eq!(remote.head(), head);
        remote.release_by_hand("aws", "env-1");
        assert_eq!(remote.list("aws/claimed"), [""; 0]);
    }
}

#[test]
fn a_step_that_fetches_from_a_stalled_server_ends_at_once() {
    let server = Faulty::silent();
    let uri = format!("http://127.0.0.1:{}/x.git", server.port());
    let step = Step::with_source(json!({"uri": uri, "branch": "main", "pool": "aws"}));
    let running = step.start_put(json!({"acquire": true}));
    wait_until("it has asked", || !server.heard().is_empty());

    let answer = abort(running, "TERM");

    assert!(
        !answer.stderr.contains("may still be claimed"),
        "{}",
        answer.stderr
    );
}

#[test]
fn a_step_that_bears_with_a_faulty_server_ends_at_once() {
    let server =
        Faulty::answering("HTTP/1.1 503 Busy\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    let uri = format!("http://127.0.0.1:{}/x.git", server.port());
    let step = Step::with_source(json!({"uri": uri, "branch": "main", "pool": "aws"}));
    let running = step.start_put(json!({"acquire": true}));
    running.wait_for_stderr("trying again");

    abort(running, "TERM");
}

/// A push is in the hands of a hook that runs on until the test lets it.
fn aborted_in_the_hook(hook: &str, over_http: bool, then: &str) -> TestRemote {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2"]);
    let server = HttpServer::start(remote.root());
    let uri = if over_http {
        server.uri()
    } else {
        remote.uri()
    };
    // The first push is held up for longer than the step waits for it; later ones go through.
    remote.hook(
        hook,
        &format!(
            "mkdir held 2>/dev/null || exit 0\nwhile [ -e HEAD ] && [ ! -e go-on ]; do sleep 0.05; done\n{then}"
        ),
    );
    let running = Step::on(&remote, "aws")
        .set("uri", uri)
        .in_build()
        .start_put(json!({"acquire": true}));
    wait_for_mark(&remote, "held");

    abort(running, "TERM");

    // The push that was held up goes on, and must not land any more.
    remote.let_push_go_on();
    remote.wait_until_no_push_is_held();
    assert_eq!(
        remote.list("aws/claimed"),
        [""; 0],
        "{:?}",
        remote.subjects()
    );
    remote.fsck();
    remote
}

#[test]
fn a_push_that_a_hook_holds_up_is_undone_before_it_lands() {
    for over_http in [true, false] {
        let remote = aborted_in_the_hook("pre-receive", over_http, "exit 0");

        let subjects = remote.subjects();
        assert_eq!(subjects.len(), 3, "{subjects:?}");
        let (end, claim) = (&subjects[0], &subjects[1]);
        let lock = claim
            .strip_prefix("ops/web/deploy build 12 claiming: ")
            .unwrap();
        assert_eq!(*end, format!("ops/web/deploy build 12 unclaiming: {lock}"));
        assert!(
            remote
                .message(&remote.head())
                .contains(&format!("Pool-Claim: {}", remote.back(1)))
        );
    }
}

#[test]
fn a_push_that_landed_and_whose_answer_is_held_up_is_undone() {
    for over_http in [true, false] {
        let remote = aborted_in_the_hook("post-receive", over_http, "exit 0");

        assert_eq!(remote.subjects().len(), 3, "{:?}", remote.subjects());
    }
}

#[test]
fn a_lock_that_was_added_claimed_is_removed_again() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    remote.hook(
        "post-receive",
        "mkdir held 2>/dev/null || exit 0\nwhile [ -e HEAD ] && [ ! -e go-on ]; do sleep 0.05; done",
    );
    let step = Step::on(&remote, "aws");
    let running = step.start_put_with(
        json!({"add_claimed": "x"}),
        &[("x/name", b"new"), ("x/metadata", b"m")],
    );
    wait_for_mark(&remote, "held");

    abort(running, "TERM");

    std::fs::write(remote.path().join("go-on"), "").unwrap();
    assert_eq!(
        remote.subjects()[..2],
        ["removing: new", "adding claimed: new"]
    );
    assert_eq!(
        remote.tree(),
        [
            "aws/claimed/.gitkeep",
            "aws/unclaimed/.gitkeep",
            "aws/unclaimed/env-1"
        ]
    );
}

#[test]
fn an_answer_that_nobody_takes_is_an_abort() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let step = Step::on(&remote, "aws");
    let folder = step.folder();
    let request = json!({"source": step.source(), "params": {"acquire": true}}).to_string();
    // A pipe whose reader has gone before anything is written.
    let script = r#"exec "$@" | exec 0<&-"#;

    let mut args = vec![
        "-c".to_owned(),
        format!("set -o pipefail; {{ {script}; }}"),
        "bash".to_owned(),
    ];
    args.push(path_of("out").to_owned());
    args.push(folder.to_str().unwrap().to_owned());
    let answer = step
        .start_program("bash", &args, request.as_bytes())
        .finish();

    assert_eq!(answer.code, Some(1), "{}", answer.stderr);
    assert!(
        answer.stderr.contains("cannot write the answer"),
        "{}",
        answer.stderr
    );
    assert_eq!(
        remote.subjects()[..2],
        ["unclaiming: env-1", "claiming: env-1"]
    );
    assert_eq!(remote.list("aws/claimed"), [""; 0]);
}

#[test]
fn an_answer_that_nobody_reads_can_be_aborted() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let step = Step::on(&remote, "aws");
    let (stdout, _reader) = full_stdout();
    let mut running = step.start_put_to(stdout, &step.folder(), json!({"acquire": true}));
    running.wait_for_blocked_answer();
    assert_eq!(remote.list("aws/claimed"), ["env-1"]);

    abort(running, "TERM");

    assert_eq!(
        remote.subjects()[..2],
        ["unclaiming: env-1", "claiming: env-1"]
    );
    assert_eq!(remote.list("aws/claimed"), [""; 0]);
}

#[test]
fn more_signals_neither_hurry_nor_disturb_the_undoing() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    remote.hook(
        "pre-receive",
        "mkdir held 2>/dev/null || exit 0\nwhile [ -e HEAD ] && [ ! -e go-on ]; do sleep 0.05; done",
    );
    let running = Step::on(&remote, "aws").start_put(json!({"acquire": true}));
    wait_for_mark(&remote, "held");

    for signal in ["INT", "TERM", "TERM"] {
        running.signal(signal);
    }
    abort(running, "INT");

    std::fs::write(remote.path().join("go-on"), "").unwrap();
    assert_eq!(
        remote.subjects()[..2],
        ["unclaiming: env-1", "claiming: env-1"]
    );
}

#[test]
fn an_abort_gives_back_its_own_claim_and_leaves_the_next_holders_alone() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    remote.hook(
        "post-receive",
        "mkdir held 2>/dev/null || exit 0\nwhile [ -e HEAD ] && [ ! -e go-on ]; do sleep 0.05; done",
    );
    let running = Step::on(&remote, "aws").start_put(json!({"acquire": true}));
    wait_for_mark(&remote, "held");
    // An operator was faster, and somebody else has the lock now.
    remote.release_by_hand("aws", "env-1");
    let head = remote.claim_by_hand("aws", "env-1");

    let answer = abort(running, "TERM");

    std::fs::write(remote.path().join("go-on"), "").unwrap();
    assert!(
        !answer.stderr.contains("may still be claimed"),
        "{}",
        answer.stderr
    );
    assert_eq!(remote.head(), head);
    assert_eq!(remote.list("aws/claimed"), ["env-1"]);
}

#[test]
fn an_undoing_that_fails_says_which_lock_may_still_be_claimed() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    // The first push lands, and every later one is refused.
    remote.hook(
        "pre-receive",
        "[ -e held ] || exit 0\necho no more pushes today; exit 1",
    );
    remote.hook(
        "post-receive",
        "mkdir held 2>/dev/null || exit 0\nwhile [ -e HEAD ] && [ ! -e go-on ]; do sleep 0.05; done",
    );
    let running = Step::on(&remote, "aws").start_put(json!({"acquire": true}));
    wait_for_mark(&remote, "held");

    let answer = abort(running, "TERM");

    std::fs::write(remote.path().join("go-on"), "").unwrap();
    let claim = remote.head();
    let expected = format!("error: `env-1` may still be claimed, by the commit {claim}");
    assert!(answer.stderr.contains(&expected), "{}", answer.stderr);
    assert!(
        answer.stderr.contains("no more pushes today"),
        "{}",
        answer.stderr
    );
    answer.assert_failed(&["stopped by a signal, and `env-1` may still be claimed"]);
}

#[test]
fn a_session_that_goes_away_ends_a_step_as_an_abort_does() {
    for signal in ["HUP", "QUIT"] {
        let remote = TestRemote::with_pool("aws", &["env-1"]);
        remote.hook(
            "post-receive",
            "mkdir held 2>/dev/null || exit 0\nwhile [ -e HEAD ] && [ ! -e go-on ]; do sleep 0.05; done",
        );
        let running = Step::on(&remote, "aws").start_put(json!({"acquire": true}));
        wait_for_mark(&remote, "held");

        let answer = abort(running, signal);

        std::fs::write(remote.path().join("go-on"), "").unwrap();
        answer.assert_stopped();
        assert_eq!(remote.list("aws/claimed"), [""; 0], "{signal}");
    }
}

#[test]
fn a_step_that_was_started_with_nohup_outlives_its_session() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    remote.claim_by_hand("aws", "env-1");
    let step = Step::on(&remote, "aws");
    let request = json!({"source": step.source(), "params": {"acquire": true}}).to_string();
    let running = step.start_under(
        &["env", "--default-signal", "--ignore-signal=HUP"],
        "out",
        &[step.folder().into_os_string()],
        request.as_bytes(),
    );
    running.wait_for_stderr("no lock is free");

    running.signal("HUP");
    remote.release_by_hand("aws", "env-1");

    assert_eq!(running.finish().lock(), "env-1");
}

/// An acquire whose temporary files take long to remove, told to stop as soon as its answer is there; gives how it ended.
fn stopped_while_it_tidies_up(files: u32) -> (Answer, TestRemote) {
    let remote = TestRemote::with_pool("aws", &["env-1"]).served();
    remote.claim_by_hand("aws", "env-1");
    let step = Step::on(&remote, "aws");
    let heard = tempfile::NamedTempFile::new().unwrap();
    let stdout = heard.reopen().unwrap();
    let running = step.start_put_to(stdout.into(), &step.folder(), json!({"acquire": true}));
    running.wait_for_stderr("no lock is free");
    let folders = fs::read_dir(step.temporary()).unwrap();
    let stores = folders.map(|it| it.unwrap().path().join("objects"));
    let store = stores.into_iter().find(|it| it.is_dir()).unwrap();
    // It has fetched often enough for its files to be removed before all is over.
    let packs = || {
        let files = fs::read_dir(store.join("pack")).unwrap();
        let names = files.map(|it| it.unwrap().file_name());
        names
            .filter(|it| it.to_string_lossy().ends_with(".pack"))
            .count()
    };
    for n in 0..10 {
        let before = packs();
        remote.commit(
            &format!("other {n}"),
            &[Hand::Put(&format!("note-{n}"), "100644", b"")],
        );
        wait_until("it has fetched that", || packs() > before);
    }
    let many = store.join("many");
    fs::create_dir(&many).unwrap();
    fs::write(many.join("0"), "").unwrap();
    for n in 1..files {
        fs::hard_link(many.join("0"), many.join(n.to_string())).unwrap();
    }

    remote.release_by_hand("aws", "env-1");
    wait_until("the answer is there", || {
        heard.as_file().metadata().unwrap().len() > 0
    });
    running.signal_if_there("TERM");
    (running.finish(), remote)
}

#[test]
fn a_signal_after_the_answer_counts_as_long_as_the_step_tidies_up() {
    // As many as it takes for the signal to find it there.
    for files in [50_000, 200_000, 800_000] {
        let (answer, remote) = stopped_while_it_tidies_up(files);
        if answer.code == Some(0) {
            assert_eq!(remote.list("aws/claimed"), ["env-1"]);
            continue;
        }
        assert_eq!(answer.code, Some(1), "{}", answer.stderr);
        assert_eq!(remote.list("aws/claimed"), [""; 0], "{}", answer.stderr);
        return;
    }
    panic!("it was always gone");
}

//! Servers that do some things in another way than most, as they may.

use std::sync::Arc;
use std::sync::atomic::AtomicU16;
use std::time::{Duration, Instant};

use serde_json::json;

use support::remote::Hand;
use support::server::daemon::GitDaemon;
use support::server::faulty::Faulty;
use support::server::havoc::{Havoc, Mischief};
use support::server::http::HttpServer;
use support::server::ssh::{Key, Options, SshServer};
use support::server::unsteady::{Harm, Unsteady};
use support::{Answer, Step, TestRemote};

/// A relay before a web server: `dice` says what is done to each request.
fn relay(server: &HttpServer, dice: impl FnMut(&str) -> Mischief + Send + 'static) -> Havoc {
    Havoc::start(Arc::new(AtomicU16::new(server.port())), dice)
}

fn http(remote: &TestRemote, port: u16) -> Step {
    Step::on(remote, "aws").set("uri", format!("http://127.0.0.1:{port}/git/locks.git"))
}

/// An answer that came without a word to people, but for what tells of the result.
#[track_caller]
fn is_undisturbed(answer: &Answer) {
    assert_eq!(answer.code, Some(0), "{}", answer.stderr);
    assert!(!answer.stderr.contains("warning"), "{}", answer.stderr);
}

#[test]
fn a_kept_connection_that_is_closed_while_a_read_is_under_way_is_no_fault() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let server = HttpServer::start(remote.root());
    let mut fetches = 0;
    let relay = relay(&server, move |line| {
        fetches += usize::from(line.contains("POST") && line.contains("upload-pack"));
        // The first, which comes over the connection that has brought the refs.
        match fetches {
            1 if line.contains("POST") => Mischief::LoseRequest,
            _ => Mischief::None,
        }
    });

    let claimed = http(&remote, relay.port()).put(json!({"acquire": true}));

    is_undisturbed(&claimed);
    assert_eq!(relay.done().get("LoseRequest"), Some(&1));
}

#[test]
fn a_push_over_a_connection_that_is_closed_is_not_sent_again_unseen() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let server = HttpServer::start(remote.root());
    let relay = relay(&server, |line| match line {
        line if line.contains("POST") && line.contains("receive-pack") => Mischief::LoseRequest,
        _ => Mischief::None,
    });
    let step = http(&remote, relay.port()).set("fault_timeout", "1s");

    let answer = step.put(json!({"acquire": true}));

    assert_ne!(answer.code, Some(0));
    assert!(answer.stderr.contains("trying again"), "{}", answer.stderr);
}

#[test]
fn a_push_that_a_web_server_does_not_take_fails_at_once_with_its_words() {
    for status in [
        "400 Bad Request",
        "401 Unauthorized",
        "403 Forbidden",
        "404 Not Found",
        "405 Method Not Allowed",
        "411 Length Required",
        "413 Payload Too Large",
        "415 Unsupported Media Type",
        "422 Unprocessable Entity",
    ] {
        let remote = TestRemote::with_pool("aws", &["env-1"]);
        let server = HttpServer::start(remote.root());
        let relay = relay(&server, move |line| match line {
            line if line.contains("POST") && line.contains("receive-pack") => {
                Mischief::Answer(status)
            }
            _ => Mischief::None,
        });

        let answer = http(&remote, relay.port()).put(json!({"acquire": true}));

        answer.assert_failed(&[status, "busy"]);
        for words in ["may still", "trying again"] {
            assert!(!answer.stderr.contains(words), "{}", answer.stderr);
        }
        assert_eq!(relay.pushes(), 1, "{status}");
    }
}

#[test]
fn a_web_server_that_asks_to_be_left_alone_is_left_alone_for_as_long() {
    for status in ["429 Too Many Requests", "503 Service Unavailable"] {
        let remote = TestRemote::with_pool("aws", &["env-1"]);
        let server = HttpServer::start(remote.root());
        let mut requests = 0;
        let answer = match status {
            "429 Too Many Requests" => "429 Too Many Requests\r\nRetry-After: 2",
            _ => "503 Service Unavailable\r\nRetry-After: 2",
        };
        let relay = relay(&server, move |_| {
            requests += 1;
            match requests {
                1 => Mischief::Answer(answer),
                _ => Mischief::None,
            }
        });
        let started = Instant::now();

        let claimed = http(&remote, relay.port()).put(json!({"acquire": true}));

        assert_eq!(claimed.lock(), "env-1");
        assert!(started.elapsed() >= Duration::from_secs(2));
        let words = format!("asks us to wait 2s before the next request (it said: {status}");
        assert!(claimed.stderr.contains(&words), "{}", claimed.stderr);
    }
}

#[test]
fn a_git_daemon_that_takes_one_connection_at_a_time_serves_those_who_race() {
    let names = ["env-1", "env-2", "env-3", "env-4"];
    let remote = TestRemote::with_pool("aws", &names);
    let daemon = GitDaemon::with(remote.root(), &["--max-connections=1"]);
    let started = Instant::now();

    let steps = names.map(|_| Step::on(&remote, "aws").set("uri", daemon.uri()));
    let running = steps
        .each_ref()
        .map(|step| step.start_put(json!({"acquire": true})));
    let claimed = running.map(support::step::Running::finish);

    let mut locks = claimed.each_ref().map(Answer::lock);
    locks.sort();
    assert_eq!(locks, names);
    assert!(started.elapsed() < Duration::from_secs(25));
}

#[test]
fn a_git_daemon_that_takes_one_connection_at_a_time_serves_one_who_waits_and_one_who_releases() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let daemon = GitDaemon::with(remote.root(), &["--max-connections=1"]);
    let step = Step::on(&remote, "aws").set("uri", daemon.uri());
    let holder = step.put(json!({"acquire": true}));
    let (_, folder) = step.get(&holder.version());

    let waiting = step.start_put(json!({"acquire": true}));
    waiting.wait_for_stderr("no lock is free");
    let started = Instant::now();
    step.put_folder("release", &folder).version();
    let claimed = waiting.finish();

    assert_eq!(claimed.lock(), "env-1");
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_web_server_that_finishes_one_connection_before_the_next_is_no_hindrance() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let server = HttpServer::start(remote.root());
    let narrow = Unsteady::one_at_a_time(server.port());
    let step = http(&remote, narrow.port());
    let started = Instant::now();

    let claimed = step.put(json!({"acquire": true}));
    let (_, folder) = step.get(&claimed.version());
    let released = step.put_folder("release", &folder);

    for answer in [claimed, released] {
        is_undisturbed(&answer);
    }
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[test]
fn nothing_is_pushed_to_begun_or_asked_of_a_place_that_is_no_repository() {
    let server = Faulty::answering(
        "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    );
    let step = Step::with_source(json!({
        "uri": format!("http://127.0.0.1:{}/lokcs.git", server.port()), "branch": "main", "pool": "aws",
    }));

    step.put(json!({"acquire": true})).assert_failed(&["404"]);

    for request in server.heard() {
        assert!(!request.contains("receive-pack"), "{request}");
    }
}

/// An SSH server that writes down each command it is given, and how that ended.
fn logging_ssh(remote: &TestRemote, key: &Key) -> SshServer {
    let script = remote.root().join("log.sh");
    let text = "eval \"$SSH_ORIGINAL_COMMAND\"\necho \"$? $SSH_ORIGINAL_COMMAND\" >> ~/commands\n";
    std::fs::write(&script, text).unwrap();
    let line = format!("command=\"sh {}\" {}", script.display(), key.public());
    let options = Options {
        authorized: &[line],
        ..Options::default()
    };
    SshServer::with(remote.root(), &options)
}

/// The commands that have ended, each after its exit code.
fn ended(remote: &TestRemote) -> Vec<String> {
    let text = std::fs::read_to_string(remote.root().join("commands")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn nothing_is_begun_over_ssh_at_a_place_that_is_no_repository() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let key = Key::new();
    let server = logging_ssh(&remote, &key);
    let step = Step::on(&remote, "aws")
        .set("uri", server.uri().replace("locks.git", "lokcs.git"))
        .set("private_key", key.private());

    step.put(json!({"acquire": true}))
        .assert_failed(&["lokcs.git"]);

    for command in ended(&remote) {
        assert!(!command.contains("receive-pack"), "{command}");
    }
}

#[test]
fn a_check_that_finds_nothing_new_over_ssh_says_goodbye() {
    const CHECKS: usize = 5;
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let key = Key::new();
    let server = logging_ssh(&remote, &key);
    let step = Step::on(&remote, "aws")
        .set("uri", server.uri())
        .set("private_key", key.private());

    step.check(None);
    for _ in 0..CHECKS {
        step.check(Some(&remote.head())).versions();
    }

    support::wait_until("all have ended", || ended(&remote).len() > CHECKS);
    for command in ended(&remote) {
        assert!(command.starts_with("0 git-upload-pack"), "{command}");
    }
}

#[test]
fn a_look_over_ssh_that_falls_silent_is_waited_for_once() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    remote.commit(
        "noise",
        &[Hand::Put("aws/unclaimed/env-1", "100644", &noise(400_000))],
    );
    let key = Key::new();
    let server = SshServer::start(remote.root(), &key);
    // The first connection dies in the middle of what is fetched over it.
    let relay = Unsteady::start(server.port(), |n| match n {
        0 => Harm::StallAfter(100_000),
        _ => Harm::None,
    });
    let from = format!(":{}/", server.port());
    let step = Step::on(&remote, "aws")
        .set(
            "uri",
            server.uri().replace(&from, &format!(":{}/", relay.port())),
        )
        .set("private_key", key.private())
        .set("silence_timeout", "1s");

    let (got, _) = step.get(&remote.head());

    assert_eq!(got.lock(), "env-1");
    assert_eq!(got.stderr.matches("for 1s").count(), 1, "{}", got.stderr);
}

/// Bytes that cannot be made smaller.
fn noise(n: usize) -> Vec<u8> {
    let mut state = 1_u32;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(n)
    .collect()
}

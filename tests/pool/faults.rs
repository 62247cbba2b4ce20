//! Servers that are silent, slow, broken or not there: each is given up in time and tried again, or named at once.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use support::server::daemon::GitDaemon;
use support::server::faulty::Faulty;
use support::server::http::HttpServer;
use support::server::unsteady::{Harm, Unsteady};
use support::{Answer, Step, TestRemote, wait_until};

/// What a web server answers to the first request when it is well.
const HTTP_503: &str = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: 12\r\nConnection: close\r\n\r\nback in five";

/// Steps at any place, with limits that a test can wait for.
fn step(uri: String) -> Step {
    Step::with_source(json!({
        "uri": uri, "branch": "main", "pool": "aws", "retry_delay": "50ms", "fault_timeout": "500ms",
    }))
}

fn http(port: u16) -> Step {
    step(format!("http://127.0.0.1:{port}/git/locks.git"))
}

fn git(port: u16) -> Step {
    step(format!("git://127.0.0.1:{port}/locks.git"))
}

/// Runs all three programs, none of which can succeed; each must try again, say so, and give up soon.
fn is_given_up(step: &Step, words: &str) {
    let answers = [
        ("put", timed(|| step.put(json!({"acquire": true})))),
        ("get", timed(|| step.get(&"1".repeat(40)).0)),
        ("check", timed(|| step.check(None))),
    ];

    for (kind, (answer, took)) in answers {
        answer.assert_failed(&["gave up after", words]);
        let warnings: Vec<&str> = answer
            .stderr
            .lines()
            .filter(|line| !line.starts_with("error: "))
            .collect();
        assert!(!warnings.is_empty(), "{kind}: {}", answer.stderr);
        for line in warnings {
            assert!(line.starts_with("warning: "), "{kind}: {line}");
            assert!(line.contains(words), "{kind}: {line}");
            assert!(line.contains("; trying again in "), "{kind}: {line}");
        }
        assert!(took < Duration::from_secs(15), "{kind}: {took:?}");
    }
}

/// Runs a put that is no use trying again, and is not.
fn is_named_at_once(step: &Step, words: &[&str]) {
    let (answer, took) = timed(|| step.put(json!({"acquire": true})));

    answer.assert_failed(words);
    assert!(!answer.stderr.contains("again"), "{}", answer.stderr);
    assert!(took < Duration::from_secs(15), "{took:?}");
}

fn timed(run: impl FnOnce() -> Answer) -> (Answer, Duration) {
    let started = Instant::now();
    let answer = run();
    (answer, started.elapsed())
}

/// An answer of a web server.
fn answer(status: &str, kind: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// A pool whose lock does not fit into what a stalling server lets through, and cannot be made smaller.
fn repository_with_a_large_lock() -> TestRemote {
    use support::remote::Hand;
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let mut state = 1_u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(400_000)
    .collect();
    remote.commit(
        "noise",
        &[Hand::Put("aws/unclaimed/env-1", "100644", &noise)],
    );
    remote
}

#[test]
fn a_server_that_never_says_a_word_is_given_up() {
    let server = Faulty::silent();

    for step in [http(server.port()), git(server.port())] {
        let step = step.set("silence_timeout", "200ms");
        is_given_up(&step, "for 200ms");
    }
}

#[test]
fn a_server_that_fails_is_given_up_with_its_status_and_words() {
    for (status, body) in [
        ("500 Internal Server Error", "out of disk"),
        ("502 Bad Gateway", "nobody there"),
        ("503 Service Unavailable", "back in five"),
        ("429 Too Many Requests", "slow down"),
    ] {
        let server = Faulty::answering(&answer(status, "text/plain", body));

        is_given_up(&http(server.port()), &format!("{status}: {body}"));
    }
}

#[test]
fn a_server_that_hangs_up_at_once_is_given_up() {
    let server = Unsteady::start(0, |_| Harm::Close);

    is_given_up(&http(server.port()), "cannot talk to");
    is_given_up(&git(server.port()), "/locks.git`");
}

#[test]
fn a_server_that_hangs_up_in_the_middle_of_its_answer_is_given_up() {
    let whole = answer(
        "200 OK",
        "application/x-git-upload-pack-advertisement",
        "001e# service=git-upload-pack\n0000",
    );
    let cut = whole.replace("Content-Length: 34", "Content-Length: 4000");
    assert_ne!(whole, cut);
    let server = Faulty::answering(&cut);

    is_given_up(&http(server.port()), "/git/locks.git`");
}

#[test]
fn a_page_for_people_is_said_to_be_from_no_git_server() {
    let server = Faulty::answering(&answer(
        "200 OK",
        "text/html; charset=utf-8",
        "<!DOCTYPE html><title>Sign in</title>",
    ));

    is_named_at_once(
        &http(server.port()),
        &[
            "does not answer as a Git server does",
            "text/html",
            "source.uri",
        ],
    );
}

#[test]
fn garbage_where_packets_should_be_is_said_to_be_from_no_git_server() {
    for body in ["zzzz", "<!DOCTYPE html>", "000zjunk", "0009junk\n0000"] {
        let kind = "application/x-git-upload-pack-advertisement";
        let server = Faulty::answering(&answer("200 OK", kind, body));

        is_named_at_once(
            &http(server.port()),
            &["does not answer as a Git server does"],
        );
    }
}

#[test]
fn garbage_on_a_bare_connection_is_said_to_be_from_no_git_server() {
    let server = Unsteady::start(0, |_| Harm::Answer(b"SSH-2.0-OpenSSH_9.2\r\n"));

    is_named_at_once(
        &git(server.port()),
        &["does not answer as a Git server does", "SSH-"],
    );
}

#[test]
fn the_oldest_protocol_without_capabilities_is_named_as_what_is_lacking() {
    let refs = format!("003d{} refs/heads/main\n0000", "1".repeat(40));
    let body = format!("001e# service=git-upload-pack\n0000{refs}");
    let kind = "application/x-git-upload-pack-advertisement";
    let server = Faulty::answering(&answer("200 OK", kind, &body));

    is_named_at_once(&http(server.port()), &["lacks the capability"]);
}

#[test]
fn a_server_that_stalls_in_the_middle_of_a_pack_is_given_up() {
    let remote = repository_with_a_large_lock();
    let (web, daemon) = (
        HttpServer::start(remote.root()),
        GitDaemon::start(remote.root()),
    );
    let stalling = |port| Unsteady::start(port, |_| Harm::StallAfter(100_000));
    let (by_http, by_git) = (stalling(web.port()), stalling(port_of(&daemon)));

    for step in [http(by_http.port()), git(by_git.port())] {
        let step = step.set("silence_timeout", "300ms");
        is_given_up(&step, "no answer from");
    }

    assert!(by_http.connections() >= 6 && by_git.connections() >= 6);
}

fn port_of(daemon: &GitDaemon) -> u16 {
    let uri = daemon.uri();
    let place = uri.trim_start_matches("git://").split('/').next().unwrap();
    place.rsplit(':').next().unwrap().parse().unwrap()
}

#[test]
fn a_server_that_trickles_without_end_is_given_up_when_the_attempt_is_over() {
    let remote = repository_with_a_large_lock();
    let server = HttpServer::start(remote.root());
    let slow = Unsteady::start(server.port(), |_| Harm::Trickle(Duration::from_millis(20)));
    let step = http(slow.port())
        .set("silence_timeout", "10s")
        .set("attempt_timeout", "300ms");

    is_given_up(&step, "for 300ms");
}

#[test]
fn an_address_that_takes_no_connections_is_given_up() {
    // Nobody takes connections from the queue, and a full one makes the system drop what comes.
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queue = Vec::new();
    wait_until("the queue is full", || match connect(&address) {
        Some(connection) => {
            queue.push(connection);
            false
        }
        None => true,
    });

    for step in [http(address.port()), git(address.port())] {
        let step = step.set("connect_timeout", "200ms");
        is_given_up(&step, "for 200ms");
    }
}

fn connect(address: &SocketAddr) -> Option<TcpStream> {
    TcpStream::connect_timeout(address, Duration::from_millis(200)).ok()
}

#[test]
fn a_refused_connection_is_given_up() {
    // Port 1 is nobody's.
    for step in [http(1), git(1), step("https://127.0.0.1:1/x.git".into())] {
        let step = step.set("skip_ssl_verification", true);
        is_given_up(&step, "refused");
    }
}

#[test]
fn a_host_without_an_address_is_given_up_by_name() {
    let step = step("http://host.invalid/locks.git".into());

    is_given_up(&step, "host.invalid");
}

#[test]
fn a_server_that_recovers_is_ridden_out() {
    let faults = [
        Harm::Close,
        Harm::Answer(HTTP_503.as_bytes()),
        Harm::StallAfter(0),
        Harm::StallAfter(300),
    ];
    for harm in faults {
        let remote = TestRemote::with_pool("aws", &["env-1"]);
        let server = HttpServer::start(remote.root());
        let shaky = Unsteady::start(
            server.port(),
            move |n| if n < 4 { harm } else { Harm::None },
        );
        let step = http(shaky.port())
            .set("silence_timeout", "300ms")
            .set("fault_timeout", "30s");

        let claimed = step.put(json!({"acquire": true}));

        assert_eq!(claimed.version(), remote.head());
        assert_eq!(remote.subjects(), ["claiming: env-1", "pool aws"]);
        let lines: Vec<&str> = claimed.stderr.lines().collect();
        assert!(lines.len() >= 2, "{}", claimed.stderr);
        // The last one tells of the result.
        let (_, before) = lines.split_last().unwrap();
        assert!(
            before.iter().all(|line| line.starts_with("warning: ")),
            "{}",
            claimed.stderr
        );
    }
}

#[test]
fn a_git_daemon_that_recovers_is_ridden_out_by_every_step() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let daemon = GitDaemon::start(remote.root());
    let port = port_of(&daemon);
    let shaky = || {
        let shaky = Unsteady::start(port, |n| if n < 2 { Harm::Close } else { Harm::None });
        git(shaky.port()).set("fault_timeout", "30s")
    };

    let claimed = shaky().put(json!({"acquire": true}));
    let (got, _) = shaky().get(&claimed.version());
    let checked = shaky().check(None);

    assert_eq!(got.lock(), "env-1");
    assert_eq!(checked.versions(), [claimed.version()]);
    for answer in [claimed, got, checked] {
        assert!(answer.stderr.contains("trying again"), "{}", answer.stderr);
    }
}

#[test]
fn a_push_whose_answer_stalls_is_found_on_the_branch_and_not_made_twice() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2"]);
    remote.hook("post-receive", "test -e slept || { touch slept; sleep 3; }");
    let server = HttpServer::start(remote.root());
    let step = http(server.port())
        .set("silence_timeout", "1s")
        .set("fault_timeout", "30s");

    let claimed = step.put(json!({"acquire": true}));

    assert_eq!(claimed.version(), remote.head());
    assert_eq!(remote.list("aws/claimed"), [claimed.lock()]);
    assert_eq!(remote.count(), 2);
}

#[test]
fn a_wait_outlives_a_server_that_is_away_for_a_while() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    remote.claim_by_hand("aws", "env-1");
    let daemon = GitDaemon::start(remote.root());
    let away = Arc::new(AtomicBool::new(false));
    let is_away = away.clone();
    let shaky = Unsteady::start(port_of(&daemon), move |_| {
        if is_away.load(Ordering::SeqCst) {
            Harm::Close
        } else {
            Harm::None
        }
    });
    let step = git(shaky.port()).set("fault_timeout", "60s");

    let waiting = step.start_put(json!({"acquire": true}));
    waiting.wait_for_stderr("no lock is free");
    away.store(true, Ordering::SeqCst);
    waiting.wait_for_stderr("trying again");
    remote.release_by_hand("aws", "env-1");
    away.store(false, Ordering::SeqCst);
    let claimed = waiting.finish();

    assert_eq!(
        (claimed.lock(), claimed.version()),
        ("env-1".into(), remote.head())
    );
}

#[test]
fn who_was_never_reached_is_not_looked_for_for_minutes() {
    // Port 1 is nobody's, and no host has such a name.
    let places = [
        "http://127.0.0.1:1/x.git",
        "git://127.0.0.1:1/x.git",
        "http://host.invalid/x.git",
    ];
    for place in places {
        let step = step(place.to_owned()).set("fault_timeout", "5m");

        let (answer, took) = timed(|| step.put(json!({"acquire": true})));

        answer.assert_failed(&["there is nobody at", "check `source.uri`"]);
        assert!(took < Duration::from_secs(30), "{place}: {took:?}");
    }
}

#[test]
fn what_web_servers_answer_instead_of_git_is_named_in_words() {
    let cases: [(&str, &[&str]); 4] = [
        // Azure DevOps, where a token has expired.
        (
            "HTTP/1.1 203 Non-Authoritative Information\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n",
            &["does not let us in", "sign in", "expired"],
        ),
        (
            "HTTP/1.1 302 Found\r\nLocation: https://example.com/_signin?realm=x\r\nContent-Length: 0\r\n\r\n",
            &[
                "does not let us in",
                "https://example.com/_signin",
                "expired",
            ],
        ),
        // nginx
        (
            "HTTP/1.1 413 Request Entity Too Large\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n",
            &["client_max_body_size"],
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n",
            &["`text/html`", "a page to sign in"],
        ),
    ];
    for (answer, words) in cases {
        let server = Unsteady::start(0, move |_| Harm::Answer(answer.as_bytes()));

        is_named_at_once(&http(server.port()), words);
    }
}

#[test]
fn a_repository_whose_objects_are_named_by_sha256_is_named() {
    let root = tempfile::tempdir().unwrap();
    let format = [
        "init",
        "--quiet",
        "--bare",
        "--object-format=sha256",
        "locks.git",
    ];
    support::git::git(root.path(), &format);
    let path = root.path().join("locks.git");
    let tree = support::git::git(&path, &["mktree"]);
    let commit = support::git::git(&path, &["commit-tree", "-m", "x", &tree]);
    support::git::git(&path, &["update-ref", "refs/heads/main", &commit]);

    let step = step(path.to_str().unwrap().to_owned());

    is_named_at_once(&step, &["named by sha256", "--object-format=sha1"]);
}

//! Passwords and tokens are nowhere to be found after a step: not in the log, the answer, the commit or on the disk.

use std::path::Path;

use serde_json::json;

use support::server::daemon::GitDaemon;
use support::server::faulty::Faulty;
use support::server::http::HttpServer;
use support::{Answer, Pool, Step, TestRemote, git, wait_until};

const PASSWORD: &str = "MARKER-p%w@tail-of-secret";

/// As above, as it stands in a uri.
const IN_URI: &str = "MARKER-p%25w%40tail-of-secret";

/// Every form of it, and its end, should a program cut it at the `@`; the last three go with requests, of `alice` and it,
/// of it as a user without a password, and of it without a user.
const FORMS: [&str; 5] = [
    "MARKER",
    "tail-of-secret",
    "YWxpY2U6TUFSS0VSLXAld0B0YWlsLW9mLXNlY3JldA",
    "TUFSS0VSLXAld0B0YWlsLW9mLXNlY3JldD",
    "Ok1BUktFUi1wJXdAdGFpbC1vZi1zZWNyZX",
];

/// Runs every program with these steps, and looks for the secret in all that they leave.
fn leaves_no_trace(step: &Step, remote: &TestRemote) -> Vec<Answer> {
    let mut answers = vec![step.put(json!({"acquire": true})), step.check(None)];
    let (got, folder) = step.get(&remote.head());
    answers.push(got);
    answers.push(step.put_folder("release", &folder));
    answers.push(step.check(None));

    for answer in &answers {
        assert_clean("stdout", answer.stdout.as_bytes());
        assert_clean("stderr", answer.stderr.as_bytes());
    }
    assert_clean_folder(step.temporary());
    let log = remote.git(&["log", "--format=raw", "--all"]);
    assert_clean("the commits", log.as_bytes());
    answers
}

fn assert_clean(place: &str, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for form in FORMS {
        assert!(!text.contains(form), "{form} in {place}: {text}");
    }
}

/// All files, and all objects of the repositories among them, which are compressed.
fn assert_clean_folder(folder: &Path) {
    if folder.join("objects").is_dir() {
        let all = git::run(
            folder,
            &["cat-file", "--batch", "--batch-all-objects"],
            b"",
            &[],
        );
        assert!(all.status.success());
        assert_clean(&folder.display().to_string(), &all.stdout);
    }
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        assert_clean("a file's name", path.as_os_str().as_encoded_bytes());
        if path.is_dir() {
            assert_clean_folder(&path);
        } else if path.is_file() {
            assert_clean(&path.display().to_string(), &std::fs::read(&path).unwrap());
        }
    }
}

/// Steps on the repository with the secret in every place it can be in, for a server at `uri`.
fn steps(remote: &TestRemote, uri: &str) -> Vec<Step> {
    let step = || {
        Step::on(remote, "aws")
            .in_build()
            .set("uri", uri)
            .set("fault_timeout", "50ms")
            .set("silence_timeout", "200ms")
    };
    let with = |user: &str| uri.replacen("://", &format!("://{user}@"), 1);
    let setting =
        |name: &str, value: &str| step().set("git_config", json!([{"name": name, "value": value}]));
    vec![
        step().set("username", "alice").set("password", PASSWORD),
        step().set("username", PASSWORD),
        step().set("password", PASSWORD),
        step().set("uri", with(&format!("alice:{IN_URI}"))),
        step().set("uri", with(IN_URI)),
        step().set("uri", format!("{uri}?private_token={IN_URI}#{IN_URI}")),
        setting(
            "http.extraHeader",
            &format!("Authorization: Bearer {PASSWORD}"),
        ),
        setting(&format!("url.{}.insteadOf", with(IN_URI)), uri),
        setting("credential.helper", PASSWORD),
    ]
}

#[test]
fn a_lock_that_goes_round_over_http_leaves_no_trace_of_the_password() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let server = HttpServer::with_user(remote.root(), "alice", PASSWORD);

    for step in steps(&remote, &server.uri()) {
        let step = step
            .set("fault_timeout", "30s")
            .set("silence_timeout", "10s");
        leaves_no_trace(&step, &remote);
    }

    // Those that could get in did.
    assert_eq!(remote.count(), 1 + 2 * 2);
}

#[test]
fn a_server_that_refuses_or_fails_gets_the_password_and_nobody_else_does() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let body = |status: &str, more: &str| {
        format!("HTTP/1.1 {status}\r\n{more}Content-Length: 0\r\nConnection: close\r\n\r\n")
    };
    let servers = [
        Faulty::answering(&body(
            "401 Unauthorized",
            "WWW-Authenticate: Basic realm=\"x\"\r\n",
        )),
        Faulty::answering(&body("500 Oh", "")),
        Faulty::answering(&body("200 OK", "Content-Type: text/html\r\n")),
        Faulty::answering(&body("302 Found", "Location: http://bob@localhost:1/x\r\n")),
        Faulty::answering("nonsense"),
        Faulty::silent(),
    ];

    for server in servers {
        let uri = format!("http://127.0.0.1:{}/locks.git", server.port());
        for step in steps(&remote, &uri) {
            for answer in leaves_no_trace(&step, &remote) {
                assert_ne!(answer.code, Some(0));
            }
        }
        assert!(server.heard().iter().any(|head| head.contains(FORMS[2])));
    }
}

#[test]
fn a_redirect_to_a_place_with_the_password_in_it_is_shown_without() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let server = Faulty::answering(&format!(
        "HTTP/1.1 302 Found\r\nLocation: http://alice:{IN_URI}@localhost:1/x?token={IN_URI}\r\nContent-Length: 0\r\n\r\n"
    ));
    let uri = format!("http://127.0.0.1:{}/locks.git", server.port());

    for step in steps(&remote, &uri) {
        leaves_no_trace(&step, &remote);
    }
}

#[test]
fn a_uri_that_is_no_good_is_not_repeated() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);

    for uri in [
        format!("http://alice:{IN_URI}@"),
        format!("http://alice:{IN_URI}@[1/x"),
        format!("https://alice:{PASSWORD}@127.0.0.1:99999/x"),
        format!("ftp://alice:{IN_URI}@127.0.0.1/x"),
        format!("git://alice:{IN_URI}@127.0.0.1:1/x"),
        format!("http://alice:{IN_URI}@host.invalid/x"),
        format!("https://alice:{IN_URI}@127.0.0.1:1/x"),
    ] {
        let step = Step::on(&remote, "aws")
            .set("uri", uri)
            .set("fault_timeout", "50ms");
        for answer in leaves_no_trace(&step, &remote) {
            assert_ne!(answer.code, Some(0));
        }
    }
}

#[test]
fn a_password_that_a_way_has_no_use_for_leaves_no_trace_either() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let daemon = GitDaemon::start(remote.root());

    for uri in [remote.uri(), daemon.uri()] {
        let step = Step::on(&remote, "aws")
            .set("uri", uri)
            .set("username", "alice")
            .set("password", PASSWORD);
        let answers = leaves_no_trace(&step, &remote);
        assert!(answers.iter().all(|answer| answer.code == Some(0)));
    }
}

#[test]
#[should_panic(expected = "MARKER in")]
fn a_trace_in_an_object_would_be_found() {
    let remote = TestRemote::with_pool(PASSWORD, &["env-1"]);

    assert_clean_folder(remote.path());
}

/// What of a folder can be read by another user: its own files and folders that let others in, down from one that does.
fn open_to_others(folder: &Path) -> Vec<String> {
    use std::os::unix::fs::MetadataExt;
    let mut open = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(found) = std::fs::symlink_metadata(entry.path()) else {
            continue;
        };
        if found.mode() & 0o077 == 0 || found.is_symlink() {
            continue;
        }
        if found.is_dir() {
            open.extend(open_to_others(&entry.path()));
        } else {
            open.push(entry.path().display().to_string());
        }
    }
    open
}

#[test]
fn nothing_that_a_step_keeps_is_in_the_reach_of_another_user() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let step = Step::on(&remote, "aws").in_build();
    let names = || std::fs::read_dir(step.temporary()).unwrap().count();
    step.check(None).versions();
    step.put(json!({"acquire": true})).lock();
    let before = names();
    // One that waits has its copy of the repository there.
    let waiting = step.start_put(json!({"acquire": true, "priority": 1}));
    waiting.wait_for_stderr("env-1 is held since");
    assert!(names() > before, "it has something there");

    let ours = std::fs::read_dir(step.temporary()).unwrap().flatten();
    let ours: Vec<_> = ours
        .filter(|entry| !entry.file_name().to_string_lossy().starts_with("folder-"))
        .collect();
    assert!(ours.len() >= 2, "the cache and the marker, and the copy");
    for entry in &ours {
        assert_eq!(
            open_to_others(step.temporary()),
            [""; 0],
            "{:?}",
            entry.path()
        );
        // As another user, where we may become one.
        let ls = std::process::Command::new("setpriv")
            .args(["--reuid=65534", "--clear-groups", "ls"])
            .arg(entry.path())
            .output();
        assert!(
            !ls.is_ok_and(|ls| ls.status.success()),
            "{:?}",
            entry.path()
        );
    }

    waiting.signal("TERM");
    waiting.finish().assert_stopped();
}

/// What is in a temporary folder but for what tests make there, and for the folder that is kept from run to run.
fn left_in(temporary: &Path) -> Vec<String> {
    let names = std::fs::read_dir(temporary).unwrap().flatten();
    let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names
        .filter(|name| !name.starts_with("folder-") && name != "pool-resource")
        .collect()
}

/// Lets another user look into each of these folders, where we may become one; says which he could, or anybody may.
fn seen_by_another(temporary: &Path, names: &[String]) -> Vec<String> {
    use std::os::unix::fs::PermissionsExt;
    let seen = names.iter().filter(|name| {
        let found = std::fs::metadata(temporary.join(name)).unwrap();
        if found.permissions().mode() & 0o077 != 0 {
            return true;
        }
        let ls = std::process::Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups", "ls"])
            .arg(temporary.join(name))
            .output();
        ls.is_ok_and(|ls| ls.status.success())
    });
    seen.cloned().collect()
}

/// Makes all that is left there look as old as what the next run clears.
fn age(temporary: &Path) {
    for name in left_in(temporary) {
        let folder = std::fs::File::open(temporary.join(name)).unwrap();
        let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
        folder.set_modified(long_ago).unwrap();
    }
}

#[test]
fn a_step_leaves_nothing_behind_however_it_ends() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let step = Step::on(&remote, "aws").in_build();
    let wait = |priority: i32| {
        let running = step.start_put(json!({"acquire": true, "priority": priority}));
        running.wait_for_stderr("env-1 is held since");
        running
    };
    let version = step.put(json!({"acquire": true})).version();
    step.check(None).versions();
    step.get(&version);
    step.put(json!({"claim": "env-1", "try": true}))
        .assert_failed(&[]);
    step.put(json!({"nonsense": true})).assert_failed(&[]);
    assert_eq!(left_in(step.temporary()), [""; 0]);
    for (n, signal) in ["TERM", "INT", "HUP", "QUIT"].into_iter().enumerate() {
        let running = wait(i32::try_from(n).unwrap());
        let there = left_in(step.temporary());
        assert!(!there.is_empty());
        assert_eq!(seen_by_another(step.temporary(), &there), [""; 0]);
        running.signal(signal);
        running.finish().assert_stopped();
        assert_eq!(left_in(step.temporary()), [""; 0], "{signal}");
    }

    // Who is killed outright can remove nothing. What he leaves is nobody else's to see, and the next one clears it.
    wait(7).kill();
    let left = left_in(step.temporary());
    assert!(!left.is_empty());
    assert_eq!(seen_by_another(step.temporary(), &left), [""; 0]);
    age(step.temporary());
    let alive = wait(9);
    assert!(
        left_in(step.temporary())
            .iter()
            .all(|name| !left.contains(name))
    );
    let held = left_in(step.temporary());
    age(step.temporary());
    step.get(&version);
    assert_eq!(
        left_in(step.temporary()),
        held,
        "whoever is alive keeps his"
    );
    alive.signal("TERM");
    alive.finish().assert_stopped();
    assert_eq!(left_in(step.temporary()), [""; 0]);
}

#[test]
fn a_command_line_leaves_nothing_behind_however_it_ends() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let pool = Pool::on(&remote, "aws");
    let temporary = pool.home().parent().unwrap();
    pool.run(&["status"]).text();
    pool.run(&["show", "env-1"]).text();
    pool.run(&["run", "env-1", "--", "false"]);
    pool.run(&["run", "env-1", "--", "no-such-program"]);
    pool.run(&["claim", "env-9"]).assert_code(2, &[]);
    // `status | head`: a pipe that nobody reads any more.
    let script = "\"$0\" status | head -1";
    pool.run_program("bash", &["-c", script, support::path_of("pool")]);
    assert_eq!(left_in(temporary), [""; 0]);

    let script = "echo begun >&2; exec sleep 1000";
    for signal in ["TERM", "INT", "HUP", "QUIT"] {
        let running = pool.start(&["run", "env-1", "--", "sh", "-c", script]);
        running.wait_for_stderr("begun");
        let there = left_in(temporary);
        assert!(
            there.iter().any(|name| name.starts_with("pool-metadata-")),
            "{there:?}"
        );
        assert_eq!(seen_by_another(temporary, &there), [""; 0]);
        running.signal(signal);
        running.finish();
        assert_eq!(left_in(temporary), [""; 0], "{signal}");
    }

    let running = pool.start(&[
        "run",
        "env-1",
        "--lease",
        "1s",
        "--",
        "sh",
        "-c",
        "echo begun >&2; exec sleep 2",
    ]);
    running.wait_for_stderr("begun");
    running.kill();
    let left = left_in(temporary);
    assert_eq!(seen_by_another(temporary, &left), [""; 0]);
    age(temporary);
    wait_until("its lease is over", || {
        pool.run(&["reap"]).text() == "freed env-1\n"
    });
    pool.run(&["run", "env-1", "--", "true"]).text();
    assert_eq!(left_in(temporary), [""; 0], "{left:?}");
}

#[test]
fn a_link_of_somebody_else_s_in_the_temporary_folder_is_not_followed() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let step = Step::on(&remote, "aws").in_build();
    let victim = step.folder();
    std::os::unix::fs::symlink(&victim, step.temporary().join("pool-resource")).unwrap();

    step.check(None).versions();
    let answer = step.put(json!({"acquire": true}));

    answer.version();
    assert!(
        answer.stderr.contains("is no folder of our own"),
        "{}",
        answer.stderr
    );
    assert_eq!(std::fs::read_dir(&victim).unwrap().count(), 0);
}

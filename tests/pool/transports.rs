//! Bare paths, `file://`, `git://` and `http://`: the same steps by every way, and a quick end where there is none.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use support::server::daemon::GitDaemon;
use support::server::http::HttpServer;
use support::server::relay::Relay;
use support::{Answer, Step, TestRemote, git};

/// A password that a careless program would cut, decode or quote: `ü` is two bytes, `%41` is not an `A`.
const PASSWORD: &str = "p:w@/ü %41+\"'?#&\\$(id)";

/// As above, as it stands in a uri.
const PASSWORD_IN_URI: &str = "p%3Aw%40%2F%C3%BC%20%2541%2B%22%27%3F%23%26%5C%24%28id%29";

/// Acquires, gets and releases, as a pipeline does, and looks at what became of it.
fn acquire_get_and_release(remote: &TestRemote, step: &Step) {
    let claimed = step.put(json!({"acquire": true}));
    assert_eq!(claimed.lock(), "env-1");
    assert_eq!(claimed.version(), remote.head());

    let (got, folder) = step.get(&claimed.version());
    assert_eq!(got.lock(), "env-1");
    let file = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    assert_eq!(file("name"), "env-1\n");
    assert_eq!(file("metadata"), "metadata of env-1");
    assert_eq!(file("claim"), format!("{}\n", claimed.version()));

    let freed = step.put_folder("release", &folder);
    assert_eq!(freed.version(), remote.head());
    assert_eq!(
        step.check(Some(&claimed.version())).versions(),
        [claimed.version(), freed.version()]
    );
    assert_eq!(
        remote.subjects(),
        ["unclaiming: env-1", "claiming: env-1", "pool aws"]
    );
    assert_eq!(remote.list("aws/unclaimed"), ["env-1"]);
    remote.fsck();
}

/// Runs a put that cannot succeed, which must end by itself soon and without another try.
fn fails_at_once(step: &Step, words: &[&str]) -> Answer {
    let started = Instant::now();

    let answer = step.put(json!({"acquire": true}));

    assert!(started.elapsed() < Duration::from_secs(15));
    answer.assert_failed(words);
    assert!(!answer.stderr.contains("again"), "{}", answer.stderr);
    answer
}

fn repository() -> TestRemote {
    TestRemote::with_pool("aws", &["env-1"])
}

#[test]
fn a_lock_goes_round_over_a_bare_path() {
    let remote = repository();

    acquire_get_and_release(&remote, &Step::on(&remote, "aws"));
}

#[test]
fn a_lock_goes_round_over_a_file_uri() {
    let remote = repository();
    let step = Step::on(&remote, "aws").set("uri", format!("file://{}", remote.uri()));

    acquire_get_and_release(&remote, &step);
}

#[test]
fn a_lock_goes_round_over_a_file_uri_with_an_encoded_space_and_a_percent_sign() {
    let remote = repository();
    let odd = remote.root().join("all my%20locks");
    std::os::unix::fs::symlink(remote.path(), odd).unwrap();
    let uri = format!("file://{}/all%20my%2520locks", remote.root().display());

    acquire_get_and_release(&remote, &Step::on(&remote, "aws").set("uri", uri));
}

#[test]
fn a_lock_goes_round_over_a_path_with_a_space_and_a_quote() {
    let remote = repository();
    let odd = remote.root().join("it's \"mine\" $(id)");
    std::os::unix::fs::symlink(remote.path(), &odd).unwrap();
    let step = Step::on(&remote, "aws").set("uri", odd.to_str().unwrap());

    acquire_get_and_release(&remote, &step);
}

/// A repository with files checked out, whose `other` branch is the current one.
fn work_tree(remote: &TestRemote) -> String {
    let path = remote.root().join("work");
    git::git(
        remote.root(),
        &["clone", "--quiet", "--branch=main", "locks.git", "work"],
    );
    git::git(&path, &["checkout", "--quiet", "-b", "other"]);
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_lock_is_claimed_in_the_repository_of_a_work_tree() {
    let remote = repository();
    let work = work_tree(&remote);

    for uri in [work.clone(), format!("file://{work}")] {
        let step = Step::on(&remote, "aws").set("uri", uri);
        let claimed = step.put(json!({"acquire": true}));
        assert_eq!(
            claimed.version(),
            git::git(Path::new(&work), &["rev-parse", "main"])
        );
        let (_, folder) = step.get(&claimed.version());
        step.put_folder("release", &folder).version();
    }

    assert_eq!(remote.subjects(), ["pool aws"]);
}

#[test]
fn the_branch_that_a_work_tree_has_checked_out_is_refused_with_gits_own_reason() {
    let remote = repository();
    let work = work_tree(&remote);
    git::git(Path::new(&work), &["checkout", "--quiet", "main"]);
    let step = Step::on(&remote, "aws").set("uri", work);

    fails_at_once(&step, &["branch is currently checked out"]);
}

#[test]
fn a_lock_goes_round_over_the_git_protocol() {
    let remote = repository();
    let daemon = GitDaemon::start(remote.root());

    acquire_get_and_release(&remote, &Step::on(&remote, "aws").set("uri", daemon.uri()));
}

#[test]
fn a_lock_goes_round_over_http() {
    let remote = repository();
    let server = HttpServer::start(remote.root());

    acquire_get_and_release(&remote, &Step::on(&remote, "aws").set("uri", server.uri()));
}

#[test]
fn a_slash_at_the_end_of_an_http_uri_does_no_harm() {
    let remote = repository();
    let server = HttpServer::start(remote.root());
    let step = Step::on(&remote, "aws").set("uri", server.uri() + "/");

    acquire_get_and_release(&remote, &step);
}

#[test]
fn username_and_password_open_an_http_server_as_they_are() {
    let remote = repository();
    let server = HttpServer::with_user(remote.root(), "al ice@%41", PASSWORD);
    let step = Step::on(&remote, "aws")
        .set("uri", server.uri())
        .set("username", "al ice@%41")
        .set("password", PASSWORD);

    acquire_get_and_release(&remote, &step);
}

#[test]
fn credentials_in_an_http_uri_are_decoded() {
    let remote = repository();
    let server = HttpServer::with_user(remote.root(), "al ice@%41", PASSWORD);
    let uri = with_credentials(
        &server.uri(),
        &format!("al%20ice%40%2541:{PASSWORD_IN_URI}"),
    );

    acquire_get_and_release(&remote, &Step::on(&remote, "aws").set("uri", uri));
}

#[test]
fn username_and_password_win_over_those_in_the_uri_one_by_one() {
    let remote = repository();
    let server = HttpServer::with_user(remote.root(), "alice", "right");
    let step =
        |uri: &str| Step::on(&remote, "aws").set("uri", with_credentials(&server.uri(), uri));

    acquire_get_and_release(
        &remote,
        &step("bob:wrong")
            .set("username", "alice")
            .set("password", "right"),
    );
    let checks = [
        step("alice:wrong").set("password", "right"),
        step("bob:right").set("username", "alice"),
        step("alice").set("password", "right"),
    ]
    .map(|step| step.check(None).versions());

    assert!(checks.iter().all(|versions| *versions == [remote.head()]));
}

fn with_credentials(uri: &str, credentials: &str) -> String {
    uri.replacen("://", &format!("://{credentials}@"), 1)
}

/// The repository by its path and by HTTP; the server lives as long as what is given back.
fn by_path_and_by_http(remote: &TestRemote) -> (HttpServer, [Step; 2]) {
    let server = HttpServer::start(remote.root());
    let by_http = Step::on(remote, "aws").set("uri", server.uri());
    (server, [Step::on(remote, "aws"), by_http])
}

#[test]
fn hooks_run_and_see_the_commit_and_the_branch() {
    let remote = repository();
    remote.hook(
        "pre-receive",
        "while read old new ref; do echo \"$old $new $ref\" >> pre-receive.log; done",
    );
    remote.hook("post-receive", "cat >> post-receive.log");
    let (_server, steps) = by_path_and_by_http(&remote);
    let before = remote.head();

    let mut pushes = String::new();
    let mut from = before;
    for step in &steps {
        let claimed = step.put(json!({"acquire": true})).version();
        let freed = remote.release_by_hand("aws", "env-1");
        pushes += &format!("{from} {claimed} refs/heads/main\n");
        from = freed;
    }

    for log in ["pre-receive.log", "post-receive.log"] {
        assert_eq!(
            std::fs::read_to_string(remote.path().join(log)).unwrap(),
            pushes
        );
    }
}

#[test]
fn a_hook_that_declines_is_quoted_and_nothing_is_changed() {
    for hook in ["pre-receive", "update"] {
        let remote = repository();
        remote.hook(
            hook,
            "echo 'frozen until Monday,'; echo 'ask Zoë' >&2; exit 1",
        );
        let (_server, steps) = by_path_and_by_http(&remote);

        for step in &steps {
            fails_at_once(
                step,
                &[
                    "claiming: env-1",
                    "hook declined",
                    "frozen until Monday,",
                    "ask Zoë",
                ],
            );
        }

        assert_eq!(remote.subjects(), ["pool aws"]);
    }
}

#[test]
fn a_hook_that_says_very_much_before_it_declines_is_quoted_from_its_beginning() {
    let remote = repository();
    remote.hook(
        "pre-receive",
        "echo 'frozen until Monday'; yes 'a very long explanation' | head -c 2000000 >&2; exit 1",
    );
    let (_server, steps) = by_path_and_by_http(&remote);

    for step in &steps {
        let answer = fails_at_once(step, &["pre-receive hook declined", "frozen until Monday"]);
        assert!(answer.stderr.len() < 10_000, "{}", answer.stderr.len());
    }
}

#[test]
fn a_hook_that_says_very_much_and_agrees_is_no_trouble() {
    let remote = repository();
    remote.hook(
        "post-receive",
        "yes 'a very long explanation' | head -c 2000000; yes why | head -c 2000000 >&2",
    );
    let (_server, steps) = by_path_and_by_http(&remote);

    for step in &steps {
        let claimed = step.put(json!({"acquire": true}));
        assert_eq!(claimed.version(), remote.head());
        remote.release_by_hand("aws", "env-1");
    }
}

#[test]
fn control_characters_of_a_hook_do_not_reach_the_log() {
    let remote = repository();
    remote.hook("pre-receive", r"printf 'no\033[2J\007\r way\n'; exit 1");
    let (_server, steps) = by_path_and_by_http(&remote);

    for step in &steps {
        let answer = fails_at_once(step, &["no[2J way"]);
        let shown = answer.stderr.trim_end_matches('\n');
        assert!(!shown.contains(char::is_control), "{shown:?}");
    }
}

#[test]
fn a_hook_that_takes_its_time_is_waited_for() {
    let remote = repository();
    remote.hook("pre-receive", "sleep 2");
    let (_server, steps) = by_path_and_by_http(&remote);

    for step in &steps {
        let started = Instant::now();
        let claimed = step.put(json!({"acquire": true}));
        assert!(started.elapsed() >= Duration::from_secs(2));
        let told = format!("claimed `env-1`; the claim is {}\n", remote.head());
        assert_eq!((claimed.version(), claimed.stderr), (remote.head(), told));
        remote.release_by_hand("aws", "env-1");
    }

    assert_eq!(remote.count(), 5);
}

#[test]
fn a_repository_that_http_may_only_read_refuses_with_its_status() {
    let remote = repository();
    remote.git(&["config", "http.receivepack", "false"]);
    let server = HttpServer::start(remote.root());
    let step = Step::on(&remote, "aws").set("uri", server.uri());

    fails_at_once(&step, &["does not let us in", "403"]);
    assert_eq!(step.check(None).versions(), [remote.head()]);
}

#[test]
fn a_repository_that_the_git_protocol_may_only_read_refuses_in_its_servers_words() {
    let remote = repository();
    remote.git(&["config", "daemon.receivepack", "false"]);
    let daemon = GitDaemon::start(remote.root());
    let step = Step::on(&remote, "aws").set("uri", daemon.uri());

    fails_at_once(
        &step,
        &["access denied or repository not exported: /locks.git"],
    );
    assert_eq!(step.check(None).versions(), [remote.head()]);
}

#[test]
fn a_repository_that_is_missing_is_named_by_every_way() {
    let remote = repository();
    let server = HttpServer::start(remote.root());
    let daemon = GitDaemon::start(remote.root());
    let path = remote.root().join("none.git").to_str().unwrap().to_owned();

    for uri in [
        path.clone(),
        format!("file://{path}"),
        server.uri_of("none.git"),
        daemon.uri().replace("locks.git", "none.git"),
    ] {
        let step = Step::on(&remote, "aws").set("uri", uri);
        fails_at_once(&step, &["there is no repository at", "none.git"]);
        step.check(None)
            .assert_failed(&["there is no repository at"]);
        let (answer, _) = step.get(&remote.head());
        answer.assert_failed(&["there is no repository at"]);
    }
}

#[test]
fn a_folder_or_a_file_that_is_no_repository_is_named() {
    let remote = repository();
    std::fs::create_dir(remote.root().join("folder")).unwrap();
    std::fs::write(remote.root().join("file"), "text").unwrap();

    for name in ["folder", "file"] {
        let path = remote.root().join(name);
        let step = Step::on(&remote, "aws").set("uri", path.to_str().unwrap());
        fails_at_once(
            &step,
            &["there is no repository at", path.to_str().unwrap()],
        );
    }
}

#[test]
fn a_wrong_password_or_none_is_named_as_the_cause() {
    let remote = repository();
    let server = HttpServer::with_user(remote.root(), "alice", "right");
    let step = || Step::on(&remote, "aws").set("uri", server.uri());

    for step in [
        step(),
        step().set("username", "alice").set("password", "wrong"),
        step().set("username", "alice"),
        step().set("password", "right"),
        step().set("uri", with_credentials(&server.uri(), "alice:wrong")),
    ] {
        fails_at_once(
            &step,
            &["does not let us in", "401", "check the credentials"],
        );
        step.check(None).assert_failed(&["401"]);
    }
}

/// A server with a password, for one acquire; gives what it logged and how many connections were made to it.
fn acquire_once(remote: &TestRemote) -> (String, usize) {
    let server = HttpServer::with_user(remote.root(), "alice", "right");
    let relay = Relay::start(server.port());
    let uri = format!("http://127.0.0.1:{}/git/locks.git", relay.port());
    let step = Step::on(remote, "aws")
        .set("uri", uri)
        .set("username", "alice")
        .set("password", "right");

    step.put(json!({"acquire": true})).version();

    (server.log(), relay.connections())
}

#[test]
fn a_whole_acquire_over_http_takes_four_requests_and_none_without_the_password() {
    let remote = repository();

    let (log, _) = acquire_once(&remote);

    let mut requests: Vec<String> = log
        .lines()
        .map(|line| {
            let fields: Vec<&str> = line.split(['"', ' ']).collect();
            let (method, path, status) = (fields[6], fields[7], fields[10]);
            format!("{method} {path} {status}")
        })
        .collect();
    requests.sort_unstable();
    assert_eq!(
        requests,
        [
            "GET /git/locks.git/info/refs?service=git-receive-pack 200",
            "GET /git/locks.git/info/refs?service=git-upload-pack 200",
            "POST /git/locks.git/git-receive-pack 200",
            "POST /git/locks.git/git-upload-pack 200",
        ]
    );
}

#[test]
fn a_whole_acquire_over_http_takes_two_connections_at_most() {
    let remote = repository();

    let (_, connections) = acquire_once(&remote);

    // The push is begun on one of its own while the head is fetched.
    assert!((1..=2).contains(&connections), "{connections}");
}

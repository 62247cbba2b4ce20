use serde_json::Value;

use support::remote::Hand;
use support::server::http::HttpServer;
use support::server::pushgateway::Pushgateway;
use support::server::ssh::{Key, Options, SshServer};
use support::{Cli, TestRemote};

/// The health of the first finding about something.
fn health(findings: &Value, about: &str) -> String {
    let of = |finding: &&Value| finding["about"] == about;
    let finding = findings.as_array().unwrap().iter().rfind(of);
    let finding = finding.unwrap_or_else(|| panic!("nothing about {about} in {findings:#}"));
    finding["health"].as_str().unwrap().to_owned()
}

/// What a doctor finds, and its exit code.
fn examined(cli: &Cli, args: &[&str]) -> (Value, Option<i32>) {
    let args: Vec<&str> = ["doctor", "--json"].iter().chain(args).copied().collect();
    let answer = cli.run(&args);
    let findings = serde_json::from_str(&answer.stdout);
    (
        findings.unwrap_or_else(|err| panic!("{err}: {}", answer.stderr)),
        answer.code,
    )
}

#[test]
fn in_a_sound_set_up_all_is_well_and_nothing_is_left_behind() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let server = HttpServer::start(remote.root());
    let cli = Cli::on(&server.uri()).env("POOL_NAME", "aws");
    let head = remote.head();

    let (findings, code) = examined(&cli, &[]);
    let text = cli.text(&["doctor"]);

    for about in [
        "settings", "server", "branch", "pool", "clock", "atomic", "line",
    ] {
        assert_eq!(health(&findings, about), "ok", "{about}: {findings:#}");
    }
    assert_eq!(health(&findings, "push"), "untried");
    assert_eq!(code, Some(0));
    assert!(text.contains("from POOL_BRANCH, POOL_NAME,"), "{text}");
    assert_eq!(remote.head(), head);
    assert_eq!(
        remote.git(&["for-each-ref", "--format=%(refname)"]),
        "refs/heads/main"
    );
}

#[test]
fn with_push_a_commit_that_changes_no_file_tells_whether_the_branch_may_be_pushed_to() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let cli = Cli::on(&remote.uri()).env("POOL_HOLDER", "ann@laptop");
    let (head, tree) = (remote.head(), remote.tree());

    let (findings, code) = examined(&cli, &["--push"]);

    assert_eq!(
        (health(&findings, "push"), code),
        ("ok".to_owned(), Some(0))
    );
    assert_eq!((remote.back(1), remote.tree()), (head, tree));
    assert_eq!(remote.subjects()[0], "ann@laptop tries whether it may push");

    remote.hook(
        "update",
        "case $1 in refs/heads/*) echo 'only by review' >&2; exit 1;; esac",
    );
    let (findings, code) = examined(&cli, &["--push"]);
    assert_eq!(
        (health(&findings, "push"), code),
        ("problem".to_owned(), Some(2))
    );
    assert_eq!(health(&findings, "line"), "ok");
    assert!(
        findings.to_string().contains("only by review"),
        "{findings:#}"
    );
}

#[test]
fn tickets_that_a_server_refuses_are_a_warning() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    remote.hook("update", "case $1 in refs/pool-queue/*) exit 1;; esac");

    let (findings, code) = examined(&Cli::on(&remote.uri()), &[]);

    assert_eq!(
        (health(&findings, "line"), code),
        ("warning".to_owned(), Some(0))
    );
}

#[test]
fn what_a_line_lacks_is_told_and_a_ref_that_cannot_be_taken_away_is_used_again() {
    let zero = "0000000000000000000000000000000000000000";
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let refs = || remote.git(&["for-each-ref", "--format=%(refname)", "refs/pool-queue"]);
    let cli = Cli::on(&remote.uri()).env("POOL_NAME", "aws");
    let is_told = |words: &str| {
        let (findings, code) = examined(&cli, &[]);
        assert_eq!(
            (health(&findings, "line"), code),
            ("warning".to_owned(), Some(0))
        );
        assert!(findings.to_string().contains(words), "{findings:#}");
    };

    remote.git(&["config", "uploadpack.hideRefs", "refs/pool-queue"]);
    is_told("are taken, and not listed");
    remote.git(&["config", "--unset", "uploadpack.hideRefs"]);
    assert_eq!(refs(), "");
    remote.hook(
        "update",
        &format!("[ $2 = {zero} ] || [ $3 = {zero} ] || exit 1"),
    );
    is_told("cannot be moved");
    assert_eq!(refs(), "");
    remote.hook("update", &format!("[ $3 != {zero} ] || exit 1"));
    for _ in 0..2 {
        is_told("cannot be taken away");
        assert_eq!(refs(), "refs/pool-queue/main/aws/doctor");
    }
    remote.hook("update", "exit 0");
    let (findings, _) = examined(&cli, &[]);
    assert_eq!(health(&findings, "line"), "ok");
    assert_eq!(refs(), "");
}

#[test]
fn a_server_without_pushes_or_atomic_ones_is_told() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let server = HttpServer::start(remote.root());
    let cli = Cli::on(&server.uri());

    remote.git(&["config", "receive.advertiseAtomic", "false"]);
    let (not_atomic, fine) = examined(&cli, &[]);
    remote.git(&["config", "http.receivepack", "false"]);
    let (read_only, problem) = examined(&cli, &[]);

    assert_eq!(
        (health(&not_atomic, "atomic"), fine),
        ("warning".to_owned(), Some(0))
    );
    assert_eq!(
        (health(&read_only, "push"), problem),
        ("problem".to_owned(), Some(2))
    );
}

#[test]
fn what_is_damaged_or_odd_in_the_pools_is_named() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    remote.commit("both", &[Hand::Put("aws/claimed/env-1", "100644", b"both")]);
    remote.commit(
        "a folder",
        &[Hand::Put("aws/unclaimed/env-2/file", "100644", b"")],
    );
    remote.commit("no keep", &[Hand::Delete("aws/claimed/.gitkeep")]);
    remote.commit("odd", &[Hand::Put("aws/unclaimed/odd ", "100644", b"")]);
    let cli = Cli::on(&remote.uri());

    let (findings, code) = examined(&cli, &[]);
    let (other, _) = examined(&cli.env("POOL_NAME", "gcp"), &[]);

    let all = findings.to_string();
    for words in [
        "`env-1` in `aws` is damaged: it is in both claimed/ and unclaimed/",
        "`env-2` in `aws` is damaged",
        "`aws/claimed` has no `.gitkeep`",
        "what can be no lock: `odd `",
    ] {
        assert!(all.contains(words), "no {words:?} in {findings:#}");
    }
    assert_eq!(code, Some(2));
    assert!(
        other
            .to_string()
            .contains("there is no pool `gcp`; there is `aws`"),
        "{other:#}"
    );
}

#[test]
fn a_server_that_is_not_there_a_branch_that_is_not_and_a_wrong_password_are_told_apart() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let mut server = HttpServer::with_user(remote.root(), "ann", "right");
    let cli = |branch: &str, password: &str| {
        Cli::on(&server.uri())
            .env("POOL_BRANCH", branch)
            .env("POOL_USERNAME", "ann")
            .env("POOL_PASSWORD", password)
    };

    let (fine, code) = examined(&cli("main", "right"), &[]);
    assert_eq!((health(&fine, "server"), code), ("ok".to_owned(), Some(0)));
    assert_eq!(
        health(&fine, "credentials"),
        "warning",
        "they go over plain http"
    );
    let (no_branch, code) = examined(&cli("other", "right"), &[]);
    assert_eq!(health(&no_branch, "server"), "ok");
    assert_eq!(
        (health(&no_branch, "branch"), code),
        ("problem".to_owned(), Some(2))
    );
    let (denied, code) = examined(&cli("main", "wr0ng-secret"), &[]);
    assert_eq!(
        (health(&denied, "credentials"), code),
        ("problem".to_owned(), Some(2))
    );
    for findings in [&fine, &no_branch, &denied] {
        let all = findings.to_string();
        assert!(
            !all.contains("wr0ng-secret") && !all.contains("right"),
            "{all}"
        );
    }
    let away = cli("main", "right");
    server.stop("KILL");
    let (gone, code) = examined(&away, &[]);
    assert_eq!(
        (health(&gone, "server"), code),
        ("problem".to_owned(), Some(2))
    );
}

#[test]
fn over_ssh_a_host_key_that_nobody_has_checked_is_a_warning() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let key = Key::new();
    let host = Key::new();
    let options = Options {
        authorized: &[key.public()],
        host_keys: &[&host],
        ..Options::default()
    };
    let server = SshServer::with(remote.root(), &options);
    let cli = Cli::on(&server.uri()).env("POOL_PRIVATE_KEY", key.private());

    let (unknown, code) = examined(&cli, &[]);
    let (known, fine) = examined(&cli.env("POOL_KNOWN_HOSTS", server.known_as(&host)), &[]);

    assert_eq!(
        (health(&unknown, "host-key"), code),
        ("warning".to_owned(), Some(0))
    );
    assert_eq!(
        (health(&known, "host-key"), fine),
        ("ok".to_owned(), Some(0))
    );
}

#[test]
fn a_commit_from_the_future_and_a_pushgateway_that_is_away_are_warnings() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    remote.commit_at(
        4_000_000_000,
        "later",
        &[Hand::Put("readme", "100644", b"")],
    );
    let gateway = Pushgateway::start();
    let cli = Cli::on(&remote.uri());

    let cli = cli.env("POOL_PROMETHEUS_PUSH_GATEWAY", gateway.url());
    let (there, code) = examined(&cli, &[]);
    drop(gateway);
    let (away, code_away) = examined(&cli, &[]);

    assert_eq!(health(&there, "clock"), "warning");
    assert_eq!(
        (health(&there, "metrics"), code),
        ("ok".to_owned(), Some(0))
    );
    assert_eq!(
        (health(&away, "metrics"), code_away),
        ("warning".to_owned(), Some(0))
    );
}

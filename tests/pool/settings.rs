//! Where the locks are: what is set wrongly gives no lock that keeps nobody out, and a file that was only found sends nothing
//! of ours anywhere.

use std::fs;
use std::path::{Path, PathBuf};

use support::server::http::HttpServer;
use support::{Answer, Pool, TestRemote};

const MARKER: &str = "MARKER-of-a-secret";

/// Runs `pool` in a folder.
fn run_in(pool: &Pool, folder: &Path, args: &[&str]) -> Answer {
    let chdir = format!("--chdir={}", folder.display());
    pool.start_under(&["env", "--default-signal", &chdir], args)
        .finish()
}

/// A checkout with this `pool.toml`, and a folder deep in it.
fn checkout(pool: &Pool, settings: &str) -> (PathBuf, PathBuf) {
    let folder = pool.home().join("checkout");
    let deep = folder.join("src/deep");
    fs::create_dir_all(&deep).unwrap();
    fs::write(folder.join("pool.toml"), settings).unwrap();
    (folder, deep)
}

#[test]
fn nobody_gets_a_private_lock_who_has_set_anything() {
    for (variables, args, words) in [
        (
            &[("POOL_URL", "x")][..],
            &[][..],
            "POOL_URL is set, which means nothing (did you mean POOL_URI?)",
        ),
        (
            &[("POOL_SIZE", "x")],
            &[],
            "POOL_SIZE is set, which means nothing",
        ),
        (&[("POOL_URI", "")], &[], "POOL_URI is set and empty"),
        (&[("POOL_CONFIG", "")], &[], "POOL_CONFIG is set and empty"),
        (&[("POOL_NAME", "aws")], &[], "POOL_NAME is set"),
        (&[("POOL_PASSWORD", MARKER)], &[], "POOL_PASSWORD is set"),
        (&[("CI", "true")], &[], "CI is set"),
        (&[("JENKINS_URL", "http://ci/")], &[], "JENKINS_URL is set"),
        (&[], &["--pool", "aws"], "--pool is given"),
        (&[], &["--branch", "locks"], "--branch is given"),
        (&[], &["--uri", ""], "--uri is empty"),
        (
            &[],
            &["--config", "/dev/null"],
            "`/dev/null` is in use, and has no `uri`",
        ),
    ] {
        for command in [
            &["claim", "a"][..],
            &["status"],
            &["status", "--all"],
            &["doctor"],
        ] {
            let pool = variables
                .iter()
                .fold(Pool::bare(), |pool, (name, value)| pool.env(name, *value));

            let answer = pool.run(&[args, command].concat());

            answer.assert_code(2, &[words]);
            assert!(!answer.stderr.contains(MARKER), "{}", answer.stderr);
            assert!(!pool.home().join("data").exists(), "{words}");
        }
    }
}

#[test]
fn what_says_nothing_about_a_place_leaves_the_locks_on_this_machine_and_each_use_says_so() {
    let pool = Pool::bare()
        .called("anna")
        .env("POOL_LOCK_NAME", "x")
        .env("CI", "false");

    for _ in 0..2 {
        let answer = pool.run(&["run", "deploy", "--", "true"]);
        answer.text();
        assert_eq!(answer.stderr.lines().count(), 1, "{}", answer.stderr);
        assert!(answer.stderr.contains("data/pool/locks.git"));
    }
}

#[test]
fn a_list_of_pools_is_not_made_on_this_machine_alone() {
    let pool = Pool::bare();
    let file = pool.home().join("pools.yml");
    fs::write(&file, "- {pool: aws, locks: [a]}\n").unwrap();

    let answer = pool.run(&["init", "--file", file.to_str().unwrap()]);

    answer.assert_code(2, &["no Git repository is named", "--file"]);
}

#[test]
fn a_slip_beside_a_uri_is_told_once() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let pool = Pool::on(&remote, "aws")
        .env("POOL_PASWORD", MARKER)
        .env("POOL_BRANCH", "")
        .env("POOL_SIZE", "9");

    for args in [&["status"][..], &["claim", "env-1"]] {
        let answer = pool.run(args);

        answer.text();
        let notes: Vec<&str> = answer.stderr.lines().collect();
        let expected = [
            "note: POOL_PASWORD is set, which means nothing (did you mean POOL_PASSWORD?)",
            "note: POOL_BRANCH is set and empty; the branch is `main`",
        ];
        assert_eq!(notes, expected);
    }
}

#[test]
fn a_file_above_the_working_folder_is_found_and_one_without_a_uri_is_no_leave_for_a_private_lock() {
    let pool = Pool::bare().called("anna");
    let (folder, deep) = checkout(&pool, "pool = \"aws\"\n");

    for folder in [&folder, &deep] {
        run_in(&pool, folder, &["claim", "a"])
            .assert_code(2, &["checkout/pool.toml` is in use, and has no `uri`"]);
    }

    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let pool = pool.env("POOL_URI", remote.uri());
    assert_eq!(run_in(&pool, &deep, &["claim", "env-1"]).text(), "env-1\n");
    let doctor = run_in(&pool, &deep, &["doctor", "--json"]);
    assert!(
        doctor.stdout.contains("checkout/pool.toml"),
        "{}",
        doctor.stdout
    );
}

#[test]
fn a_file_that_was_only_found_sends_nothing_of_ours_anywhere_and_runs_nothing() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    // Nobody listens there, so that what goes on is an error of another kind.
    let away =
        "uri = \"http://127.0.0.1:1/locks.git\"\npool = \"aws\"\nfault_timeout = \"100ms\"\n";
    let secret = |pool: Pool| pool.env("POOL_PASSWORD", MARKER);
    let key = |pool: Pool| pool.env("POOL_PRIVATE_KEY_FILE", "/dev/null");
    let theirs = |pool: Pool| pool.env("POOL_URI", "http://127.0.0.1:1/locks.git");
    let nothing = |pool: Pool| pool;
    type With<'a> = &'a dyn Fn(Pool) -> Pool;
    let cases: [(String, With<'_>, &str); 10] = [
        (
            format!(
                "{away}[[git_config]]\nname = \"url.http://x/.insteadOf\"\nvalue = \"http://y/\"\n"
            ),
            &nothing,
            "`git_config`",
        ),
        (
            format!("{away}[https_tunnel]\nproxy_host = \"x\"\nproxy_port = 1\n"),
            &nothing,
            "`https_tunnel`",
        ),
        (
            format!("{away}skip_ssl_verification = true\n"),
            &theirs,
            "`skip_ssl_verification`",
        ),
        (
            format!("{away}forward_agent = true\n"),
            &nothing,
            "`forward_agent`",
        ),
        (
            format!("{away}password_file = \"/etc/passwd\"\n"),
            &nothing,
            "`password_file`",
        ),
        (
            format!("{away}password_file = \"../outside\"\n"),
            &nothing,
            "`password_file`",
        ),
        (
            format!("{away}password_file = \"link\"\n"),
            &nothing,
            "`password_file`",
        ),
        (
            away.to_owned(),
            &secret,
            "POOL_PASSWORD would go to the `uri`",
        ),
        (
            away.to_owned(),
            &key,
            "POOL_PRIVATE_KEY_FILE would go to the `uri`",
        ),
        (format!("{away}ca_cert = \"x\"\n"), &theirs, "`ca_cert`"),
    ];
    for (settings, with, words) in cases {
        let pool = with(Pool::bare());
        let (folder, deep) = checkout(&pool, &settings);
        fs::write(pool.home().join("outside"), MARKER).unwrap();
        std::os::unix::fs::symlink("../outside", folder.join("link")).unwrap();

        let answer = run_in(&pool, &deep, &["claim", "env-1"]);

        answer.assert_code(2, &[words, "only found there", "--config or POOL_CONFIG="]);
        assert!(!answer.stderr.contains(MARKER), "{}", answer.stderr);
        // Who names it means it, whatever becomes of it then.
        let file = folder.join("pool.toml");
        let pool = pool.env("POOL_CONFIG", file);
        let named = run_in(&pool, &deep, &["claim", "env-1"]);
        assert!(!named.stderr.contains("only found"), "{}", named.stderr);
    }
    let path = format!("uri = {:?}\npool = \"aws\"\n", remote.uri());
    let pool = Pool::bare();
    let (folder, deep) = checkout(&pool, &path);
    run_in(&pool, &deep, &["claim", "env-1"])
        .assert_code(2, &["whose hooks would run", "POOL_URI"]);
    let config = folder.join("pool.toml");
    let named = ["--config", config.to_str().unwrap(), "claim", "env-1"];
    assert_eq!(run_in(&pool, &deep, &named).text(), "env-1\n");
}

#[test]
fn a_file_that_somebody_else_has_left_above_is_not_used() {
    let pool = Pool::bare();
    let (folder, deep) = checkout(&pool, "pool = \"aws\"\n");
    // Only root can give files away; the rule itself has tests of its own.
    if std::os::unix::fs::chown(folder.join("pool.toml"), Some(12345), None).is_err() {
        return;
    }

    run_in(&pool, &deep, &["claim", "a"])
        .assert_code(2, &["belongs to another user (of number 12345)"]);
}

#[test]
fn without_a_working_folder_what_is_named_is_enough() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    // The program `git`, which a path needs, does not work there.
    let server = HttpServer::start(remote.root());
    let uri = format!("http://127.0.0.1:{}/git/locks.git", server.port());
    let script = "mkdir gone; cd gone; rmdir ../gone; exec \"$PROGRAM\" claim env-1";
    let run = |pool: Pool| {
        let pool = pool.env("PROGRAM", support::path_of("pool"));
        let script = format!("cd \"$HOME\"; {script}");
        pool.run_program("sh", &["-c", &script])
    };

    assert_eq!(
        run(Pool::on(&remote, "aws").env("POOL_URI", uri)).text(),
        "env-1\n"
    );
    run(Pool::bare()).assert_code(2, &["the working folder"]);
}

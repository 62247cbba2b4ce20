//! The command line: each command, its settings, its answers and exit codes.

use std::fs;
use std::path::Path;
use std::process::Command;

use clap::{CommandFactory, Parser};
use programs::pool::args::Args;
use serde_json::{Value, json};

use support::remote::Hand;
use support::server::atc::{Job, SimulatedAtc, USER};
use support::server::http::HttpServer;
use support::server::ssh::{Key, SshServer};
use support::{Answer, Pool, Step, TestRemote};

use super::line;

const MARKER: &str = "MARKER-of-a-secret";

#[test]
fn a_claim_prints_the_lock_and_says_in_the_history_who_made_it_and_until_when() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let pool = Pool::on(&remote, "aws");

    assert_eq!(
        pool.run(&["claim", "env-1", "--lease", "2h"]).text(),
        "env-1\n"
    );

    assert_eq!(remote.subjects()[0], "anna claiming: env-1");
    assert!(remote.message(&remote.head()).contains("Pool-Lease: "));
    assert_eq!(remote.list("aws/claimed"), ["env-1"]);
}

#[test]
fn what_cannot_be_had_now_is_exit_code_1_and_what_is_wrong_is_2() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let pool = Pool::on(&remote, "aws");
    pool.run(&["claim", "env-1"]).text();

    pool.run(&["claim", "env-1", "--try"])
        .assert_code(1, &["is held since", "anna"]);
    pool.run(&["acquire", "--timeout", "100ms"])
        .assert_code(1, &["gave up after"]);
    pool.run(&["claim", "a/.b"]).assert_code(2, &["a/.b"]);
    pool.run(&["claim", "a/b"])
        .assert_code(2, &["there is no pool `a`"]);
    pool.run(&["acquire", "--match", "x"])
        .assert_code(2, &["KEY=VALUE"]);
    pool.run(&["acquire", "--count", "2"]).assert_code(2, &[]);
    pool.run(&["--pool", "gone", "acquire"])
        .assert_code(2, &["no pool `gone`"]);
    pool.run(&["--unknown"]).assert_code(2, &[]);
}

#[test]
fn answers_in_json_name_the_pool_the_locks_and_the_commit() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2"]);
    let pool = Pool::on(&remote, "aws");

    let acquired = pool.run(&["--json", "acquire", "--count", "2"]).json();
    let expected = json!({
        "pool": "aws", "locks": ["env-1", "env-2"], "claim": remote.head(),
        "claim_number": remote.number(&remote.head()), "waited_seconds": null,
    });
    assert_eq!(acquired, expected);

    let claim = remote.head();
    let released = pool.run(&["release", "--claim", &claim, "--json"]).json();
    let expected = json!({
        "pool": "aws", "locks": ["env-1", "env-2"], "done": "released", "commit": remote.head(),
    });
    assert_eq!(released, expected);
    assert_eq!(remote.count(), 3);
}

#[test]
fn an_answer_that_nobody_takes_gives_the_lock_back() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let pool = Pool::on(&remote, "aws").env("POOL", support::path_of("pool"));

    let answer = pool.run_program("sh", &["-c", "\"$POOL\" claim env-1 >/dev/full"]);

    answer.assert_code(2, &["cannot write the answer"]);
    assert_eq!(remote.list("aws/claimed"), Vec::<String>::new());
}

#[test]
fn locks_are_given_back_by_whom_they_were_claimed_and_by_nobody_else() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let (anna, bob) = (
        Pool::on(&remote, "aws"),
        Pool::on(&remote, "aws").called("bob"),
    );
    anna.run(&["claim", "env-1"]).text();
    let claim = remote.head();

    bob.run(&["release", "env-1"])
        .assert_code(2, &["anna", "pool unlock env-1"]);
    assert_eq!(remote.head(), claim);
    assert_eq!(anna.run(&["release", "env-1"]).text(), "released env-1\n");
    assert!(
        remote
            .message(&remote.head())
            .contains(&format!("Pool-Claim: {claim}"))
    );
    anna.run(&["release", "env-1"])
        .assert_code(2, &["is not claimed"]);
    bob.run(&["release", "env-1", "--claim", "12"])
        .assert_code(2, &["is not the id of a claim"]);
}

#[test]
fn anna_is_not_taken_for_another_whose_name_begins_with_hers() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let (anna, annas_friend) = (
        Pool::on(&remote, "aws"),
        Pool::on(&remote, "aws").called("anna claiming: x"),
    );
    annas_friend.run(&["claim", "env-1"]).text();

    // The commit says `anna claiming: x claiming: env-1`, which is not what anna's would say.
    let answer = anna.run(&["release", "env-1"]);

    answer.assert_code(2, &["nothing was changed"]);
}

#[test]
fn an_unlock_frees_what_somebody_else_holds_and_the_reason_is_in_the_history() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let (anna, bob) = (
        Pool::on(&remote, "aws"),
        Pool::on(&remote, "aws").called("bob"),
    );
    bob.run(&["unlock", "env-1", "--reason", "x"])
        .assert_code(2, &["is not claimed"]);
    anna.run(&["claim", "env-1"]).text();

    bob.run(&["unlock", "env-1"]).assert_code(2, &["--reason"]);
    bob.run(&["unlock", "env-1", "--reason", " "])
        .assert_code(2, &["must say why"]);
    let answer = bob.run(&[
        "unlock",
        "env-1",
        "--reason",
        "she is on holiday\nForged: yes",
    ]);

    assert!(answer.text().starts_with("unlocked env-1"));
    let message = remote.message(&remote.head());
    assert!(message.starts_with("bob unclaiming: env-1\n"));
    assert!(message.contains("\nPool-Reason: she is on holiday Forged: yes"));
    assert_eq!(remote.list("aws/unclaimed"), ["env-1"]);
}

#[test]
fn locks_are_added_changed_and_taken_away() {
    let remote = TestRemote::with_pool("aws", &[]);
    let pool = Pool::on(&remote, "aws");
    let file = pool.home().join("metadata");
    fs::write(&file, "size: big\n").unwrap();
    let file = file.to_str().unwrap();

    assert_eq!(
        pool.run(&["add", "a", "--metadata", file]).text(),
        "added a\n"
    );
    assert_eq!(remote.content("aws/unclaimed/a"), b"size: big\n");
    let answer = pool.run_with(&["update", "a", "--metadata", "-"], b"size: small\n");
    assert_eq!(answer.text(), "updated a\n");
    assert_eq!(remote.content("aws/unclaimed/a"), b"size: small\n");
    pool.run(&["add", "a"]).assert_code(2, &["exists already"]);
    pool.run(&["remove", "a"])
        .assert_code(2, &["is not claimed"]);
    pool.run(&["add", "b", "--claimed", "--lease", "1h"]).text();
    assert_eq!(remote.list("aws/claimed"), ["b"]);
    assert_eq!(pool.run(&["remove", "b"]).text(), "removed b\n");
    assert_eq!(remote.list("aws/claimed"), Vec::<String>::new());
    pool.run(&["add", "c", "--metadata", "/nonexistent"])
        .assert_code(2, &["cannot read the metadata"]);
}

#[test]
fn an_acquire_takes_what_its_metadata_is_asked_for() {
    let remote = TestRemote::with_pool("aws", &[]);
    let pool = Pool::on(&remote, "aws");
    for (lock, size) in [("a", "big"), ("b", "small")] {
        let metadata = format!("size: {size}\n");
        pool.run_with(&["add", lock, "--metadata", "-"], metadata.as_bytes())
            .text();
    }

    assert_eq!(
        pool.run(&["acquire", "--match", "size=small"]).text(),
        "b\n"
    );
}

#[test]
fn a_moved_lock_is_free_in_the_other_pool_and_gone_from_the_first_in_one_commit() {
    let remote = TestRemote::with_pool("aws", &["a", "b"]);
    remote.add_pool("db", &["b"]);
    let pool = Pool::on(&remote, "aws");
    let before = remote.count();

    assert_eq!(pool.run(&["move", "a", "--to", "db"]).text(), "moved a\n");

    assert_eq!(remote.count(), before + 1);
    assert_eq!(remote.list("aws/unclaimed"), ["b"]);
    assert_eq!(remote.list("db/unclaimed"), ["a", "b"]);
    pool.run(&["move", "b", "--to", "db"])
        .assert_code(2, &["in the pool `db` already"]);
    pool.run(&["move", "b", "--to", "aws"])
        .assert_code(2, &["already"]);
    pool.run(&["move", "b", "--to", "gone"])
        .assert_code(2, &["no pool `gone`"]);
    pool.run(&["claim", "b"]).text();
    pool.run(&["move", "b", "--to", "db"])
        .assert_code(2, &["is claimed"]);
    // Each pool's reader understands its version.
    for (name, lock) in [("aws", "b"), ("db", "a")] {
        let step = support::Step::on(&remote, name);
        let version = step.check(None).versions();
        let (got, _) = step.get(&version[0]);
        assert_eq!(got.lock(), lock);
    }
}

#[test]
fn init_makes_what_is_not_there_and_leaves_what_is() {
    let remote = TestRemote::empty("locks");
    let pool = Pool::on(&remote, "aws");
    let made = pool
        .run(&["--json", "init", "--lock", "a", "--lock", "b"])
        .json();
    assert_eq!(made["branch_is_new"], true);
    assert_eq!(made["commit"], remote.head());
    assert_eq!(remote.count(), 1);
    pool.run(&["claim", "a"]).text();
    remote.commit("by hand", &[Hand::Delete("aws/unclaimed/.gitkeep")]);
    let file = pool.home().join("pools.yml");
    let yaml = "
- pool: aws
  locks: [a, b, c]
- pool: team/db
  locks:
  - {name: db-1, metadata: \"host: x\\n\"}
  - {name: db-2, metadata: {host: here}}
";
    fs::write(&file, yaml).unwrap();
    let file = file.to_str().unwrap();
    let before = remote.count();

    let text = pool.run(&["init", "--file", file]).text().to_owned();

    assert_eq!(text, "pool aws: added c\npool team/db: added db-1, db-2\n");
    assert_eq!(remote.count(), before + 1);
    assert_eq!(remote.list("aws/claimed"), ["a"]);
    assert_eq!(remote.list("aws/unclaimed"), ["b", "c"]);
    assert_eq!(remote.content("team/db/unclaimed/db-1"), b"host: x\n");
    assert_eq!(
        serde_json::from_slice::<serde_json::Value>(&remote.content("team/db/unclaimed/db-2"))
            .unwrap(),
        json!({"host": "here"})
    );
    let again = pool.run(&["init", "--file", file]);
    assert_eq!(again.text(), "everything is there already\n");
    assert_eq!(remote.count(), before + 1);
    remote.fsck();
}

#[test]
fn a_list_of_pools_that_is_none_is_refused_without_showing_it() {
    let remote = TestRemote::with_pool("aws", &[]);
    let pool = Pool::on(&remote, "aws");
    let file = pool.home().join("pools.yml");
    for text in [
        format!("{MARKER}: [\n"),
        format!("- pool: aws\n  password: {MARKER}\n"),
        "[]".to_owned(),
        "- pool: aws\n  locks: [a, a]\n".to_owned(),
        "- pool: aws\n  locks: [a/b]\n".to_owned(),
    ] {
        fs::write(&file, &text).unwrap();
        let answer = pool.run(&["init", "--file", file.to_str().unwrap()]);
        answer.assert_code(2, &[]);
        assert!(!answer.stderr.contains(MARKER), "{}", answer.stderr);
    }
    assert_eq!(remote.count(), 1);
}

#[test]
fn two_who_init_at_once_both_find_everything_there() {
    let remote = TestRemote::empty("locks");
    let pools = [Pool::on(&remote, "aws"), Pool::on(&remote, "db")];
    let running: Vec<_> = pools
        .iter()
        .flat_map(|pool| {
            [
                pool.start(&["init", "--lock", "a"]),
                pool.start(&["init", "--lock", "b"]),
            ]
        })
        .collect();

    for running in running {
        running.finish().text();
    }

    for pool in ["aws", "db"] {
        assert_eq!(remote.list(&format!("{pool}/unclaimed")), ["a", "b"]);
    }
    remote.fsck();
}

#[test]
fn a_reaping_frees_what_is_over_and_keeps_what_a_living_build_holds() {
    let remote = TestRemote::with_pool("aws", &["dead", "living", "old"]);
    let atc = SimulatedAtc::start();
    let mut pool = Pool::on(&remote, "aws");
    let job = Job::new("ops/web/deploy");
    for (lock, number, status) in [("dead", "1", "failed"), ("living", "2", "started")] {
        atc.build(&job, number, status);
        let message = format!(
            "ops/web/deploy build {number} claiming: {lock}\n\nBuild URL: {}/teams/ops/pipelines/web/jobs/deploy/builds/{number}",
            atc.url()
        );
        let path = |folder: &str| format!("aws/{folder}/{lock}");
        let hands = [Hand::Move(&path("unclaimed"), &path("claimed"))];
        remote.commit_at(1_750_000_000, &message, &hands);
    }
    let hands = [Hand::Move("aws/unclaimed/old", "aws/claimed/old")];
    remote.commit_at(1_750_000_000, "by hand", &hands);
    let url = atc.url();
    let args = [
        "reap",
        "--concourse-url",
        &url,
        "--concourse-username",
        USER.0,
    ];
    pool.run(&args).assert_code(2, &["POOL_CONCOURSE_PASSWORD"]);
    pool = pool.env("POOL_CONCOURSE_PASSWORD", USER.1);
    let before = remote.head();

    let dry = pool.run(&[&args[..], &["--dry-run", "--stale-after", "1h"]].concat());
    assert_eq!(dry.text(), "");
    for words in ["would free `dead`", "kept `living`", "would free `old`"] {
        assert!(dry.stderr.contains(words), "{}", dry.stderr);
    }
    assert_eq!(remote.head(), before);
    assert_eq!(pool.run(&args).text(), "freed dead\n");
    assert_eq!(remote.list("aws/claimed"), ["living", "old"]);
    let reaped = pool
        .run(&[&args[..], &["--stale-after", "1h", "--json"]].concat())
        .json();
    assert_eq!(reaped["decided"][0]["became"], "kept");
    assert_eq!(reaped["decided"][1]["became"], "freed");
    assert_eq!(remote.list("aws/claimed"), ["living"]);
}

#[test]
fn a_flag_goes_before_the_environment_and_that_before_the_file() {
    let remotes = ["flag", "env", "file"].map(|lock| TestRemote::with_pool("aws", &[lock]));
    let [flag, env, file] = &remotes;
    let pool = Pool::bare();
    let config = pool.home().join("config/pool/pool.toml");
    fs::create_dir_all(config.parent().unwrap()).unwrap();
    let text = format!(
        "uri = {:?}\nbranch = {:?}\npool = \"aws\"\n",
        file.uri(),
        file.branch()
    );
    fs::write(&config, text).unwrap();

    assert_eq!(pool.run(&["acquire"]).text(), "file\n");
    let pool = pool.env("POOL_URI", env.uri());
    assert_eq!(pool.run(&["acquire"]).text(), "env\n");
    assert_eq!(
        pool.run(&["--uri", &flag.uri(), "acquire"]).text(),
        "flag\n"
    );
}

#[test]
fn a_wrong_setting_is_named_as_it_is_here_and_not_as_in_a_pipeline() {
    for (args, name) in [
        (
            ["--uri", "ftp://git.example.com/x", "--pool", "aws"],
            "--uri",
        ),
        (["--uri", "/nowhere", "--pool", "../aws"], "--pool"),
    ] {
        let answer = Pool::bare().run(&[&args[..], &["status"]].concat());
        assert_eq!(answer.code, Some(2));
        let shown = format!("error: `{name}` ");
        assert!(answer.stderr.starts_with(&shown), "{}", answer.stderr);
    }
}

#[test]
fn secrets_are_read_from_files_and_no_error_shows_one() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let pool = Pool::on(&remote, "aws");
    let folder = pool.home().join("settings");
    fs::create_dir(&folder).unwrap();
    let config = folder.join("pool.toml");
    let config_arg = config.to_str().unwrap().to_owned();
    let with = |text: &str| {
        fs::write(&config, text).unwrap();
        pool.run(&["--config", &config_arg, "acquire", "--try"])
    };

    fs::write(folder.join("key"), MARKER).unwrap();
    // Read from beside the settings; a path needs no key.
    with("private_key_file = \"key\"\n").text();
    for (text, words) in [
        (format!("password = \"{MARKER}\" oops\n"), "line 1"),
        (format!("\n\npassword = {MARKER}\n"), "line 3"),
        (format!("pasword = \"{MARKER}\"\n"), "\"pasword\""),
        (format!("password = [\"{MARKER}\"]\n"), "password"),
        (
            format!("private_key = \"{MARKER}\"\nprivate_key_file = \"key\"\n"),
            "one is enough",
        ),
        ("ca_cert_file = \"gone\"\n".to_owned(), "gone"),
        ("branch_file = \"gone\"\n".to_owned(), "branch_file"),
    ] {
        let answer = with(&text);
        answer.assert_code(2, &[words]);
        assert!(!answer.stderr.contains(MARKER), "{}", answer.stderr);
    }
    let pool = pool
        .env("POOL_PASSWORD", MARKER)
        .env("POOL_PASSWORD_FILE", folder.join("key"));
    pool.run(&["acquire"])
        .assert_code(2, &["POOL_PASSWORD_FILE"]);
    let pool = Pool::on(&remote, "aws").env("POOL_SKIP_SSL_VERIFICATION", "perhaps");
    pool.run(&["acquire"])
        .assert_code(2, &["POOL_SKIP_SSL_VERIFICATION must be true or false"]);
}

#[test]
fn the_last_newline_of_a_file_with_a_password_or_passphrase_is_no_part_of_it() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let server = HttpServer::with_user(remote.root(), "anna", MARKER);
    for end in ["\n", "\r\n", ""] {
        let pool = Pool::on(&remote, "aws");
        let file = pool.home().join("password");
        fs::write(&file, format!("{MARKER}{end}")).unwrap();
        let pool = pool
            .env("POOL_URI", server.uri())
            .env("POOL_USERNAME", "anna")
            .env("POOL_PASSWORD_FILE", &file);
        pool.run(&["status"]).text();
        fs::write(&file, format!("{MARKER}x{end}")).unwrap();
        pool.run(&["status"])
            .assert_code(2, &["does not let us in"]);
    }

    let key = Key::of(&["-t", "ed25519"], "a passphrase");
    let server = SshServer::start(remote.root(), &key);
    let pool = Pool::on(&remote, "aws");
    let file = pool.home().join("passphrase");
    fs::write(&file, "a passphrase\n").unwrap();
    let pool = pool
        .env("POOL_URI", server.uri())
        .env("POOL_PRIVATE_KEY", key.private())
        .env("POOL_PRIVATE_KEY_PASSPHRASE_FILE", &file);
    pool.run(&["status"]).text();
}

#[test]
fn a_repository_without_a_pool_is_an_error_that_says_what_to_do() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);

    let answer = Pool::bare().run(&["--uri", &remote.uri(), "acquire"]);

    answer.assert_code(2, &["--pool", "POOL_NAME"]);
}

#[test]
fn with_nothing_set_up_the_locks_are_in_a_repository_of_ones_own() {
    let pool = Pool::bare();

    let first = pool.run(&["claim", "deploy"]);
    assert_eq!(first.text(), "deploy\n");
    assert_eq!(first.stderr.lines().count(), 1, "{}", first.stderr);
    assert!(first.stderr.contains("data/pool/locks.git"));
    let second = pool.run(&["claim", "deploy", "--try"]);
    second.assert_code(1, &["is held since"]);
    assert!(second.stderr.contains("data/pool/locks.git"));
    pool.run(&["release", "deploy"]).text();
    assert_eq!(pool.run(&["claim", "deploy"]).text(), "deploy\n");
    // Only there are locks added by being claimed.
    let remote = TestRemote::with_pool("aws", &[]);
    Pool::on(&remote, "aws")
        .run(&["claim", "deploy"])
        .assert_code(2, &["no lock `deploy`"]);
}

#[test]
fn first_uses_at_once_all_work() {
    let pool = Pool::bare();
    let names = ["a", "b", "c", "d"];
    let running = names.map(|name| pool.start(&["claim", name]));

    for (running, name) in running.into_iter().zip(names) {
        assert_eq!(running.finish().text(), format!("{name}\n"));
    }

    let left: Vec<_> = fs::read_dir(pool.home().join("data/pool"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["locks.git"]);
}

#[test]
fn each_shell_gets_a_script_of_completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let answer = Pool::bare().run(&["completions", shell]);
        assert!(answer.text().contains("_POOL_COMPLETE"), "{shell}");
    }
}

/// What bash offers for the last of these words.
fn offered(pool: &Pool, words: &str) -> Vec<String> {
    let folder = Path::new(support::path_of("pool")).parent().unwrap();
    let script = format!(
        "PATH={}:$PATH; eval \"$(pool completions bash)\"; COMP_WORDS=({words}); \
         COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); COMP_TYPE=9; \
         _clap_complete_pool pool \"${{COMP_WORDS[COMP_CWORD]}}\"; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        folder.display()
    );
    let answer = pool.run_program("bash", &["-c", &script]);
    assert_eq!(answer.stderr, "");
    let lines = answer.text().lines();
    lines.map(|line| line.trim().to_owned()).collect()
}

#[test]
fn a_shell_offers_the_names_of_locks_and_pools_as_they_are_now() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2"]);
    remote.commit("db", &[Hand::Put("db/unclaimed/blue", "100644", b"")]);
    let pool = Pool::on(&remote, "aws");

    let names = |pool: &Pool, words: &str| {
        let mut offered = offered(pool, words);
        offered.retain(|word| !word.starts_with('-'));
        offered
    };
    assert_eq!(names(&pool, "pool release ''"), ["env-1", "env-2"]);
    assert_eq!(names(&pool, "pool run env-2"), ["env-2"]);
    assert_eq!(names(&pool, "pool move env-1 --to ''"), ["aws", "db"]);
    assert_eq!(names(&pool, "pool status --pool d"), ["db"]);
    assert!(names(&pool, "pool add ''").is_empty());
    assert!(offered(&pool, "pool status --a").contains(&"--all".to_owned()));
    let nowhere = Pool::on(&remote, "aws").env("POOL_URI", "/nonexistent/locks.git");
    assert!(names(&nowhere, "pool release ''").is_empty());
}

#[test]
fn a_job_of_another_ci_is_named_and_linked_in_what_it_claims() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let pool = Pool::on(&remote, "aws")
        .called("")
        .env("CI_PROJECT_PATH", "ops/web")
        .env("CI_JOB_NAME", "deploy")
        .env("CI_JOB_ID", "4711")
        .env(
            "CI_JOB_URL",
            "https://gitlab.example.com/ops/web/-/jobs/4711",
        );

    pool.run(&["claim", "env-1"]).text();

    let message = remote.message(&remote.head());
    assert!(
        message.starts_with("GitLab ops/web deploy #4711 claiming: env-1\n"),
        "{message}"
    );
    assert!(message.contains("\nBuild URL: https://gitlab.example.com/ops/web/-/jobs/4711\n"));
}

#[test]
fn the_metadata_of_a_lock_is_shown_to_the_byte() {
    let remote = TestRemote::with_pool("aws", &[]);
    let pool = Pool::on(&remote, "aws");
    let metadata = b"key: x\n\n  no end of line";
    pool.run_with(&["add", "a", "--metadata", "-"], metadata)
        .text();

    assert_eq!(pool.run(&["show", "a"]).text().as_bytes(), metadata);
    let free = pool.run(&["show", "a", "--json"]).json();
    assert_eq!(free["state"], "free");
    assert_eq!(free["holder"], serde_json::Value::Null);
    pool.run(&["claim", "a", "--lease", "1h"]).text();
    assert_eq!(pool.run(&["show", "a"]).text().as_bytes(), metadata);
    let held = pool.run(&["show", "a", "--json"]).json();
    assert_eq!(
        (
            &held["lock"],
            &held["holder"],
            &held["claim"],
            &held["pool"]
        ),
        (
            &json!("a"),
            &json!("anna"),
            &json!(remote.head()),
            &json!("aws")
        )
    );
    assert!(
        held["since"].is_string() && held["lease_end"].is_string(),
        "{held}"
    );
    assert_eq!(held["metadata"].as_str().unwrap().as_bytes(), metadata);

    pool.run(&["show", "b"])
        .assert_code(2, &["no lock `b` in the pool `aws`"]);
    pool.run(&["--pool", "gone", "show", "a"])
        .assert_code(2, &["no pool `gone`"]);
    let hands = [Hand::Put("aws/unclaimed/a", "100644", b"twice")];
    remote.commit("by hand", &hands);
    pool.run(&["show", "a"]).assert_code(2, &["is damaged"]);
}

#[test]
fn a_claim_is_renewed_by_its_holder_and_by_whoever_shows_it() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2"]);
    let (anna, bob) = (
        Pool::on(&remote, "aws"),
        Pool::on(&remote, "aws").called("bob"),
    );
    anna.run(&["acquire", "--count", "2", "--lease", "1m"])
        .text();
    let claim = remote.head();

    assert_eq!(anna.run(&["renew", "env-1"]).text(), "renewed env-1\n");
    assert!(remote.message(&remote.head()).contains("Pool-Lease: "));
    let by_claim = bob.run(&["renew", "--claim", &claim, "--lease", "2h", "--json"]);
    assert_eq!(by_claim.json()["locks"], json!(["env-1", "env-2"]));
    let end = |lock: &str| {
        let shown = anna.run(&["show", lock, "--json"]).json();
        humantime::parse_rfc3339(shown["lease_end"].as_str().unwrap()).unwrap()
    };
    let in_an_hour = std::time::SystemTime::now() + std::time::Duration::from_secs(3600);
    assert!(end("env-1") > in_an_hour && end("env-2") > in_an_hour);

    bob.run(&["renew", "env-1"])
        .assert_code(2, &["is held by anna"]);
    bob.run(&["renew"]).assert_code(2, &["<LOCK>"]);
    anna.run(&["release", "--claim", &claim]).text();
    anna.run(&["renew", "env-1"])
        .assert_code(2, &["is not claimed"]);
}

#[test]
fn a_status_of_ones_own_shows_what_one_holds_and_nothing_else() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2", "env-3"]);
    let (anna, bob) = (
        Pool::on(&remote, "aws"),
        Pool::on(&remote, "aws").called("bob"),
    );
    anna.run(&["claim", "env-1"]).text();
    bob.run(&["claim", "env-2"]).text();

    let mine = anna.run(&["status", "--mine", "--json"]).json();

    let locks = mine["pools"][0]["locks"].as_array().unwrap();
    assert_eq!(locks.len(), 1, "{mine}");
    assert_eq!(locks[0]["lock"], "env-1");
    let text = bob.run(&["status", "--mine"]);
    assert!(text.text().contains("env-2") && !text.stdout.contains("env-1"));
    let nobodys = Pool::on(&remote, "aws").called("carl");
    assert_eq!(
        nobodys.run(&["status", "--mine", "--json"]).json()["pools"],
        json!([])
    );
}

#[test]
fn a_lock_that_one_holds_is_updated_by_its_claim() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let pool = Pool::on(&remote, "aws");
    pool.run(&["claim", "env-1"]).text();
    let claim = remote.head();

    let args = ["update", "env-1", "--metadata", "-", "--claim", &claim];
    assert_eq!(pool.run_with(&args, b"new\n").text(), "updated env-1\n");

    assert_eq!(remote.content("aws/claimed/env-1"), b"new\n");
    pool.run(&["release", "env-1"]).text();
    let over = pool.run_with(&args, b"newer\n");
    assert_eq!(over.code, Some(2), "{}", over.stderr);
}

#[test]
fn with_json_an_error_is_one_object_at_the_end_of_the_error_stream() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let pool = Pool::on(&remote, "aws");
    pool.run(&["claim", "env-1"]).text();

    for (args, code, kind, words) in [
        (&["claim", "env-1", "--try"][..], 1, "not_now", "is held"),
        (&["claim", "absent"], 2, "error", "no lock `absent`"),
        (&["--uri", "ftp://x/y", "status"], 2, "error", "`--uri`"),
        (&["claim"], 2, "usage", "<LOCK>"),
    ] {
        let answer = pool.run(&[&["--json"], args].concat());

        answer.assert_code(code, &[]);
        let last = answer.stderr.lines().last().unwrap();
        let error: serde_json::Value = serde_json::from_str(last).unwrap();
        let error = &error["error"];
        assert_eq!(
            (&error["kind"], &error["exit_code"]),
            (&json!(kind), &json!(code))
        );
        assert!(
            error["message"].as_str().unwrap().contains(words),
            "{error}"
        );
    }
    let help = pool.run(&["--json", "--help"]);
    assert!(help.text().contains("Usage"));
}

#[test]
fn all_that_one_holds_is_released_at_once_and_nothing_of_anybody_else() {
    let remote = TestRemote::with_pool("aws", &["a", "b", "c"]);
    let (anna, bob) = (
        Pool::on(&remote, "aws"),
        Pool::on(&remote, "aws").called("bob"),
    );
    for (pool, lock) in [(&anna, "a"), (&bob, "b"), (&anna, "c")] {
        pool.run(&["claim", lock]).text();
    }
    let before = remote.count();

    assert_eq!(
        anna.run(&["release", "--all"]).text(),
        "released a\nreleased c\n"
    );

    assert_eq!(remote.list("aws/claimed"), ["b"]);
    assert_eq!(remote.count(), before + 1);
    let again = anna.run(&["release", "--all"]);
    assert_eq!(again.text(), "");
    assert!(again.stderr.contains("holds nothing"), "{}", again.stderr);
    assert_eq!(remote.count(), before + 1);
    anna.run(&["release", "--all", "b"])
        .assert_code(2, &["cannot be used with"]);
}

#[test]
fn a_watch_that_is_told_to_end_leaves_nothing_behind() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    for (signal, code) in [("TERM", 143), ("INT", 130), ("HUP", 129)] {
        let pool = Pool::on(&remote, "aws");
        let copies = || {
            let files = fs::read_dir(pool.home().parent().unwrap()).unwrap();
            let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
            names
                .filter(|name| name.starts_with("pool-resource"))
                .count()
        };
        let watching = pool.start(&["status", "--watch"]);
        support::wait_until("it has a copy of the branch", || copies() > 0);

        watching.signal(signal);

        assert_eq!(watching.finish().code, Some(code), "{signal}");
        assert_eq!(copies(), 0, "{signal}");
    }
}

#[test]
fn a_run_of_github_is_named_linked_and_numbered_in_what_it_claims() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let pool = [
        ("GITHUB_REPOSITORY", "ops/web"),
        ("GITHUB_REPOSITORY_ID", "42"),
        ("GITHUB_RUN_ID", "99"),
        ("GITHUB_RUN_ATTEMPT", "2"),
        ("GITHUB_WORKFLOW", "Deploy"),
        ("GITHUB_JOB", "west"),
    ]
    .into_iter()
    .fold(
        Pool::on(&remote, "aws").called(""),
        |pool, (name, value)| pool.env(name, value),
    );

    pool.run(&["claim", "env-1"]).text();

    let message = remote.message(&remote.head());
    assert!(
        message.starts_with("GitHub ops/web Deploy/west #99 attempt 2 claiming: env-1\n"),
        "{message}"
    );
    assert!(message.contains("\nBuild URL: https://github.com/ops/web/actions/runs/99\n"));
    assert!(
        message.contains("\nPool-Build: github:42/99/2"),
        "{message}"
    );
    // Nobody can be asked about it, so that its age decides.
    let reaped = Pool::on(&remote, "aws").run(&["reap", "--stale-after", "1h"]);
    assert!(
        reaped
            .stderr
            .contains("which is not more than 1h; its commit names no build"),
        "{}",
        reaped.stderr
    );
}

#[test]
fn a_lock_that_is_out_of_service_is_held_with_a_reason_that_all_see() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2"]);
    let anna = Pool::on(&remote, "aws");
    let reason = "a broken disk, see OPS-17";

    anna.run(&["claim", "env-1", "--reason", reason]).text();

    let claim = remote.head();
    assert!(
        remote
            .message(&claim)
            .contains("\nPool-Reason: a broken disk, see OPS-17")
    );
    let bob = Pool::on(&remote, "aws").called("bob");
    let status = bob.run(&["status"]);
    assert!(status.text().contains(reason), "{}", status.stdout);
    for args in [["status", "--json"], ["show", "--json"]] {
        let args = [&args[..1], &["env-1"], &args[1..]].concat();
        let answer: Value = serde_json::from_str(bob.run(&args).text()).unwrap();
        let lock = answer.pointer("/pools/0/locks/0").unwrap_or(&answer);
        assert_eq!(lock["reason"], reason, "{answer}");
    }
    let waiting = bob.start(&["claim", "env-1"]);
    waiting.wait_for_stderr(&format!("by anna: {reason}"));
    waiting.signal("TERM");
    waiting.finish();
    bob.run(&["claim", "env-1", "--try"])
        .assert_code(1, &["`env-1` is held", reason]);

    anna.run(&["claim", "env-2", "--reason", " "])
        .assert_code(2, &["`--reason` is empty"]);
    // The reason goes with the claim.
    anna.run(&["release", "env-1"]).text();
    anna.run(&["claim", "env-1"]).text();
    assert!(!bob.run(&["status"]).text().contains(reason));
}

#[test]
fn a_lock_that_there_is_not_is_said_at_once_with_the_one_that_was_probably_meant() {
    let remote = TestRemote::with_pool("aws", &["env-1", "staging"]);
    remote.add_pool("gcp", &["staging-eu"]);
    let pool = Pool::on(&remote, "aws").env("POOL_RETRY_DELAY", "10m");
    let head = remote.head();
    for args in [
        &["claim", "stagign"][..],
        &["claim", "stagign", "--try"],
        &["claim", "stagign", "--timeout", "1h"],
        &["run", "stagign", "--", "true"],
        &["run", "env-1", "stagign", "--", "true"],
        &["release", "stagign"],
        &["renew", "stagign"],
        &["remove", "stagign"],
        &["move", "stagign", "--to", "gcp"],
        &["unlock", "stagign", "--reason", "x"],
        &["show", "stagign"],
        &["status", "stagign"],
        &["log", "stagign"],
    ] {
        let answer = pool.run(args);
        answer.assert_code(
            2,
            &["there is no lock `stagign`", "did you mean `staging`?"],
        );
    }
    pool.run(&["show", "something-else"]).assert_code(
        2,
        &["`something-else` in the pool `aws`; `pool status` shows which"],
    );
    assert_eq!(remote.head(), head);

    // One that is there and free is told as such, and one that was there is in the log.
    pool.run(&["release", "staging"])
        .assert_code(2, &["the lock `staging` is not claimed"]);
    pool.run(&["log", "staging"]).text();
    pool.run(&["claim", "staging"]).text();
    pool.run(&["remove", "staging"]).text();
    assert!(pool.run(&["log", "staging"]).text().contains("removed"));
}

#[test]
fn a_reaping_takes_the_tickets_of_the_dead_away_in_one_push_and_says_how_many() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let pool = Pool::on(&remote, "aws");
    line::tickets_of_age(&remote, 40, "20s", 301);
    let alive = "refs/pool-queue/main/aws/0000000077.0.0.alive";
    line::ticket_with_renewal(&remote, alive, "Pool-Count: 1", "20s");
    remote.hook("post-receive", "echo once >> pushes.log");
    let told = |answer: &Answer| -> (u64, u64) {
        let told: Value = serde_json::from_str(answer.text()).unwrap();
        let number = |key: &str| told[key].as_u64().unwrap();
        (number("dead_tickets"), number("dead_tickets_removed"))
    };

    let dry = pool.run(&["reap", "--dry-run", "--json"]);
    assert_eq!(told(&dry), (40, 0));
    assert!(
        dry.stderr.contains("would take away 40 tickets"),
        "{}",
        dry.stderr
    );
    assert_eq!(line::tickets(&remote).len(), 41);

    let reaped = pool.run(&["reap", "--json"]);
    assert_eq!(told(&reaped), (40, 40));
    assert!(
        reaped.stderr.contains("took away 40 tickets"),
        "{}",
        reaped.stderr
    );
    assert_eq!(line::tickets(&remote), [alive]);
    let pushes = fs::read_to_string(remote.path().join("pushes.log")).unwrap();
    assert_eq!(pushes.lines().count(), 1);

    // A put does so too. Where they cannot be taken away they are said to be left, and then nobody's.
    line::tickets_of_age(&remote, 3, "20s", 301);
    let put = Step::on(&remote, "aws").put(json!({"reap": {}}));
    assert_eq!(put.told("dead_tickets_removed").as_deref(), Some("3"));
    line::tickets_of_age(&remote, 3, "20s", 301);
    remote.git(&["config", "receive.denyDeletes", "true"]);
    let put = Step::on(&remote, "aws").put(json!({"reap": {}}));
    assert_eq!(
        put.told("dead_tickets_removed").as_deref(),
        Some("3"),
        "{}",
        put.stderr
    );
    let status: Value = serde_json::from_str(pool.run(&["status", "--json"]).text()).unwrap();
    let waiters = status["pools"][0]["line"].as_array().unwrap();
    assert_eq!(waiters.len(), 1, "{status}");
}

#[test]
fn every_help_text_ends_with_examples_that_a_shell_and_the_program_understand() {
    let folder = tempfile::tempdir().unwrap();
    for made in [
        ".zfunc",
        ".config/fish/completions",
        ".local/share/bash-completion/completions",
    ] {
        fs::create_dir_all(folder.path().join(made)).unwrap();
    }
    let mut program = Args::command();
    program.build();
    let commands = program
        .get_subcommands()
        .filter(|it| it.get_name() != "help")
        .chain([&program]);
    for command in commands {
        let name = command.get_name();
        let help = command.clone().render_help().to_string();
        let (_, examples) = help
            .split_once("\nExamples:\n")
            .unwrap_or_else(|| panic!("`{name}` has no examples:\n{help}"));
        let lines: Vec<&str> = examples.lines().filter(|it| it.starts_with("  ")).collect();

        // Each call writes down its words, each with a zero behind it, and ends its line with another.
        let script = format!(
            "pool() {{ printf '%s\\0' \"$@\" >&3; printf '\\0' >&3; }}\n{}\n",
            lines.join("\n")
        );
        let calls = folder.path().join("calls");
        let done = Command::new("sh")
            .args(["-ec", &format!("exec 3>calls\n{script}")])
            .current_dir(folder.path())
            .env("HOME", folder.path())
            .env("POOL_CLAIM", "0".repeat(40))
            .output()
            .unwrap();
        assert!(done.status.success(), "{name}: {done:?}");

        let calls = fs::read_to_string(calls).unwrap();
        let calls: Vec<&str> = calls.split_terminator("\0\0").collect();
        assert!(calls.len() >= lines.len(), "{name}: {calls:?}");
        let is_of_it = |call: &&str| call.split('\0').any(|word| word == name);
        let of_it = calls.iter().filter(|call| is_of_it(call)).count();
        assert!(name == "pool" || of_it >= lines.len(), "{name}: {calls:?}");
        for call in calls {
            let words = ["pool"].into_iter().chain(call.split('\0'));
            if let Err(err) = Args::try_parse_from(words) {
                panic!("an example of `{name}`, {call:?}: {err}");
            }
        }
        let longest = lines.iter().map(|it| it.len()).max().unwrap();
        assert!(longest <= 78, "{name}: {longest}");
    }
}

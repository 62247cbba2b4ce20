//! Numbers of claims, by which an older one is told from a newer one, and `pool verify`.

use std::fs;

use serde_json::{Value, json};
use support::server::gate::{Gate, Request};
use support::server::replica::Replica;
use support::{Pool, Step, TestRemote, wait_until};

fn claim(pool: &Pool, lock: &str) -> Value {
    serde_json::from_str(pool.run(&["claim", lock, "--json"]).text()).unwrap()
}

fn number(claim: &Value) -> u64 {
    claim["claim_number"].as_u64().unwrap()
}

fn id(claim: &Value) -> &str {
    claim["claim"].as_str().unwrap()
}

#[test]
fn the_number_of_a_claim_is_told_wherever_the_claim_is() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2"]);
    let pool = Pool::on(&remote, "aws");
    let step = Step::on(&remote, "aws").in_build();

    let claimed = claim(&pool, "env-1");
    let expected = remote.number(id(&claimed));

    assert_eq!(number(&claimed), expected);
    for args in [
        &["show", "env-1", "--json"][..],
        &["status", "env-1", "--json"],
        &["log", "--json"],
    ] {
        let shown = pool.run(args);
        let expected = format!("\"claim_number\":{expected}");
        assert!(
            shown.text().contains(&expected),
            "{args:?}: {}",
            shown.stdout
        );
    }
    let (got, folder) = step.get(id(&claimed));
    let file = fs::read_to_string(folder.join("claim_number")).unwrap();
    assert_eq!(file, format!("{expected}\n"));
    assert!(
        got.stdout.contains(&format!("\"{expected}\"")),
        "{}",
        got.stdout
    );
    let script = "echo $POOL_CLAIM_NUMBER $POOL_CLAIM";
    let ran = pool.run(&["run", "env-2", "--", "sh", "-c", script]);
    let commit = remote.back(1);
    assert_eq!(ran.text(), format!("{} {commit}\n", remote.number(&commit)));
}

#[test]
fn numbers_grow_whatever_becomes_of_the_lock_and_whoever_has_a_wrong_clock() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    remote.add_pool("db", &["blue"]);
    let pool = Pool::on(&remote, "aws");
    let mut last = 0;
    let mut grows = |claimed: &Value| {
        let number = number(claimed);
        assert!(number > last, "{number} after {last}");
        last = number;
        number
    };

    grows(&claim(&pool, "env-1"));
    pool.run(&["remove", "env-1"]).text();
    pool.run(&["add", "env-1", "--metadata", "/dev/null"])
        .text();
    grows(&claim(&pool, "env-1"));
    pool.run(&["release", "env-1"]).text();
    // That of a machine whose clock is years ahead.
    let theirs = 9_000_000_000_u64;
    remote.commit(&format!("eve renewing: x\n\nPool-Number: {theirs}\n"), &[]);
    assert_eq!(grows(&claim(&pool, "env-1")), theirs + 1);
    pool.run(&["release", "env-1"]).text();
    pool.run(&["move", "env-1", "--to", "db"]).text();
    let elsewhere = pool.env("POOL_NAME", "db");
    assert_eq!(grows(&claim(&elsewhere, "env-1")), theirs + 4);
    // Every commit of ours has one.
    assert!(
        elsewhere
            .run(&["init", "--lock", "more"])
            .text()
            .contains("more")
    );
    assert_eq!(remote.number(&remote.head()), theirs + 5);
    elsewhere.run(&["doctor", "--push"]).text();
    assert_eq!(remote.number(&remote.head()), theirs + 6);
}

#[test]
fn a_claim_of_a_tool_that_knows_no_numbers_has_none_and_ours_after_it_is_higher_than_ours_before() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2"]);
    let pool = Pool::on(&remote, "aws");
    let step = Step::on(&remote, "aws").in_build();

    let before = claim(&pool, "env-2");
    let theirs = remote.claim_by_hand("aws", "env-1");
    let (_, folder) = step.get(&theirs);
    assert!(folder.join("claim").exists());
    assert!(!folder.join("claim_number").exists());
    remote.release_by_hand("aws", "env-1");
    // A second later at the latest: then the clock has gone on as well.
    wait_until("the clock shows another second", || {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.unwrap().as_secs() > number(&before)
    });
    let after = claim(&pool, "env-1");

    assert!(number(&after) > number(&before));
}

#[test]
fn a_claim_that_stands_is_verified_and_one_that_has_ended_has_an_exit_code_of_its_own() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2"]);
    let pool = Pool::on(&remote, "aws");
    let claimed = claim(&pool, "env-1");
    let id = id(&claimed);

    assert_eq!(
        pool.run(&["verify", "--claim", id]).text(),
        "stands: env-1\n"
    );
    let shown = pool.run(&["verify", "--claim", id, "env-1", "--json"]);
    let shown: Value = serde_json::from_str(shown.text()).unwrap();
    assert_eq!(
        shown,
        json!({"pool": "aws", "claim": id, "claim_number": number(&claimed), "stands": true,
               "locks": [{"lock": "env-1", "stands": true, "ended_by": null}]})
    );
    let other = pool.run(&["verify", "--claim", id, "env-2"]);
    other.assert_code(3, &["`env-2` was never claimed by it"]);

    pool.run(&["release", "env-1"]).text();
    let by = remote.head();
    let ended = pool.run(&["verify", "--claim", id]);
    ended.assert_code(3, &["does not stand", "`env-1` was freed by anna", &by]);
    claim(&pool, "env-1");
    let again = pool.run(&["verify", "--claim", id, "-E", "75"]);
    again.assert_code(75, &["does not stand"]);
    let shown = pool.run(&["verify", "--claim", id, "--json"]);
    assert_eq!(shown.code, Some(3));
    let shown: Value = serde_json::from_str(&shown.stdout).unwrap();
    assert_eq!(shown["stands"], false);
    assert_eq!(shown["locks"][0]["ended_by"], by);

    for (none, words) in [
        (by.as_str(), "is no claim of the pool `aws`"),
        (&"0123".repeat(10), "is no claim of the pool `aws`"),
    ] {
        pool.run(&["verify", "--claim", none])
            .assert_code(3, &[words]);
    }
    pool.run(&["verify", "--claim", "x"])
        .assert_code(2, &["not the id of a claim"]);
    pool.run(&["verify"])
        .assert_code(2, &["--claim ID", "POOL_CLAIM"]);
}

#[test]
fn a_command_runs_only_while_its_claim_stands() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let pool = Pool::on(&remote, "aws");
    let claimed = claim(&pool, "env-1");
    let script = "echo $POOL_CLAIM_NUMBER; cat \"$POOL_METADATA_FILE\"; exit 7";
    let args = ["verify", "--claim", id(&claimed), "--", "sh", "-c", script];

    let ran = pool.run(&args);
    assert_eq!(ran.code, Some(7), "{}", ran.stderr);
    let metadata = String::from_utf8(remote.content("aws/claimed/env-1")).unwrap();
    assert_eq!(ran.stdout, format!("{}\n{metadata}", number(&claimed)));
    // In the environment of `pool run` there is nothing to be said.
    let within = r#""$0" verify -- true && "$0" release --all >&2 && "$0" verify -- echo ran"#;
    let path = support::path_of("pool");
    pool.run(&["release", "env-1"]).text();
    let nested = pool.run(&["run", "env-1", "--", "sh", "-c", within, path]);
    assert_eq!(nested.stdout, "");
    assert!(
        nested.stderr.contains("does not stand"),
        "{}",
        nested.stderr
    );

    pool.run(&args).assert_code(3, &["does not stand"]);
}

#[test]
fn a_command_is_told_when_its_claim_ends_and_may_be_ended_for_it() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let pool = Pool::on(&remote, "aws");
    for (what, ended) in [("tell", false), ("kill", true)] {
        let claimed = claim(&pool, "env-1");
        let done = pool.home().join(what);
        let script = format!(
            "echo begun >&2; while [ ! -e {} ]; do sleep 0.02; done; echo whole",
            done.display()
        );
        let args = ["verify", "--claim", id(&claimed), "--on-lost", what];
        let running = pool.start(&[&args[..], &["--", "sh", "-c", &script]].concat());
        running.wait_for_stderr("begun");

        pool.run(&["unlock", "env-1", "--reason", "incident 7"])
            .text();
        running.wait_for_stderr("incident 7");
        if !ended {
            fs::write(&done, "").unwrap();
        }
        let answer = running.finish();

        assert_eq!(answer.code, Some(3), "{}", answer.stderr);
        assert_eq!(answer.stdout.contains("whole"), !ended);
        assert!(answer.stderr.contains("did not stand all the time"));
    }
}

#[test]
fn a_view_that_is_behind_verifies_nothing() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let replica = Replica::of(&remote);
    let gate = Gate::start(replica.port());
    let here = Pool::on(&remote, "aws");
    let claimed = claim(&here, "env-1");
    replica.catch_up();
    let uri = format!("http://127.0.0.1:{}/git/locks.git", gate.port());
    let there = Pool::on(&remote, "aws").env("POOL_URI", uri);
    let args = ["verify", "--claim", id(&claimed)];
    assert_eq!(there.run(&args).text(), "stands: env-1\n");

    here.run(&["release", "env-1"]).text();
    let asked = gate.seen(Request::ListToPush);
    let running = there.start(&args);
    wait_until("it has asked where the branch is several times", || {
        gate.seen(Request::ListToPush) >= asked + 3
    });
    replica.catch_up();
    let answer = running.finish();

    answer.assert_code(3, &["does not stand"]);
}

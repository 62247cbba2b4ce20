//! Locks of several pools in one claim: all of them or none, given back together, and fair to those who wait for one pool.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicU16;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use crate::chaos::mischief;
use support::remote::Hand;
use support::server::havoc::Havoc;
use support::server::http::HttpServer;
use support::step::Running;
use support::{Pool, Step, TestRemote, path_of, wait_until};

/// Two environments, two databases, and a pool further down.
fn remote() -> TestRemote {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2"]);
    remote.add_pool("db", &["blue", "green"]);
    remote.add_pool("team/net", &["vpn"]);
    remote
}

fn all_three() -> Value {
    json!({"claim": "env-1", "also": [
        {"pool": "db", "claim": "blue"},
        {"pool": "team/net", "acquire": true},
    ]})
}

fn env_and_db() -> Value {
    json!({"claim": "env-1", "also": [{"pool": "db", "claim": "blue"}]})
}

fn claimed(remote: &TestRemote) -> Vec<String> {
    let of = |pool: &&str| {
        let locks = remote.list(&format!("{pool}/claimed")).into_iter();
        locks
            .map(|lock| format!("{pool}/{lock}"))
            .collect::<Vec<_>>()
    };
    ["aws", "db", "team/net"].iter().flat_map(of).collect()
}

fn text(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap().trim().to_owned()
}

fn tickets(remote: &TestRemote) -> Vec<String> {
    let refs = remote.git(&["for-each-ref", "--format=%(refname)", "refs/pool-queue"]);
    refs.lines().map(str::to_owned).collect()
}

fn wait_for_tickets(remote: &TestRemote, n: usize) {
    wait_until(&format!("there are {n} tickets"), || {
        tickets(remote).len() == n
    });
}

fn build(remote: &TestRemote, pool: &str, number: &str) -> Step {
    Step::on(remote, pool)
        .in_build()
        .env("BUILD_ID", number)
        .env("BUILD_NAME", number)
}

/// Runs `pool`, which must succeed.
#[track_caller]
fn ok(pool: &Pool, args: &[&str]) -> String {
    let answer = pool.run(args);
    assert_eq!(answer.code, Some(0), "{args:?}: {}", answer.stderr);
    answer.stdout
}

#[test]
fn locks_of_several_pools_are_claimed_in_one_commit_fetched_together_and_released_together() {
    let remote = remote();
    let step = Step::on(&remote, "aws").in_build();
    let before = remote.head();

    let answer = step.put(all_three());

    let claim = answer.version();
    assert_eq!(remote.parents(&claim), [before]);
    assert_eq!(answer.lock(), "env-1, db/blue, team/net/vpn");
    assert_eq!(claimed(&remote), ["aws/env-1", "db/blue", "team/net/vpn"]);
    let message = remote.message(&claim);
    assert!(
        message.starts_with("ops/web/deploy build 12 claiming: env-1, blue, vpn\n"),
        "{message}"
    );
    for lock in ["aws/env-1", "db/blue", "team/net/vpn"] {
        assert!(
            message.contains(&format!("\nPool-Lock: {lock}\n")),
            "{message}"
        );
    }
    let (got, folder) = step.get(&claim);
    assert_eq!(got.lock(), "env-1, db/blue, team/net/vpn");
    assert_eq!(text(&folder.join("name")), "env-1");
    for (lock, pool, name) in [
        ("db/blue", "db", "blue"),
        ("team/net/vpn", "team/net", "vpn"),
    ] {
        let inside = folder.join("pools").join(lock);
        assert_eq!(text(&inside.join("name")), name);
        assert_eq!(text(&inside.join("pool")), pool);
        assert_eq!(text(&inside.join("claim")), claim);
        assert_eq!(
            text(&inside.join("metadata")),
            format!("metadata of {name}")
        );
    }

    let released = step.put_folder("release", &folder);

    assert_eq!(released.version(), remote.head());
    assert_eq!(remote.back(1), claim);
    assert_eq!(claimed(&remote), [""; 0]);
    let again = step.put_folder("release", &folder);
    assert_eq!(again.version(), remote.back(0), "{}", again.stderr);
    remote.fsck();
}

#[test]
fn each_pool_tells_of_the_claim_as_if_it_were_its_own() {
    let remote = remote();
    let claim = Step::on(&remote, "aws")
        .in_build()
        .put(all_three())
        .version();

    let db = Step::on(&remote, "db");
    assert_eq!(db.check(None).versions(), std::slice::from_ref(&claim));
    let (got, folder) = db.get(&claim);
    assert_eq!(got.lock(), "blue, aws/env-1, team/net/vpn");
    assert_eq!(text(&folder.join("pools/aws/env-1/name")), "env-1");
    // What is released by itself is not part of it any more.
    let one = folder.join("pools/team/net/vpn");
    let released = Step::on(&remote, "team/net").put_folder("release", &one);
    assert_eq!(released.lock(), "vpn");
    assert_eq!(claimed(&remote), ["aws/env-1", "db/blue"]);
    let (got, _) = db.get(&claim);
    assert_eq!(got.lock(), "blue, aws/env-1");

    for pool in ["aws", "db"] {
        let status = ok(&Pool::on(&remote, pool), &["status"]);
        assert!(status.contains("ops/web/deploy build 12"), "{status}");
        let log = ok(&Pool::on(&remote, pool), &["log"]);
        assert!(log.contains("ops/web/deploy build 12"), "{log}");
    }
}

#[test]
fn nothing_is_claimed_where_one_of_them_is_held() {
    let remote = remote();
    remote.claim_by_hand("db", "blue");
    let head = remote.head();
    let mut params = env_and_db();
    params["try"] = true.into();

    let step = Step::on(&remote, "aws").in_build();
    step.put(params)
        .assert_failed(&["gave up at once: `db/blue` is held"]);
    assert_eq!(remote.head(), head);

    for (also, words) in [
        (
            json!([{"pool": "db", "claim": "red"}]),
            &["no lock `red` in the pool `db`"][..],
        ),
        (
            json!([{"pool": "moon", "acquire": true}]),
            &["there is no pool `moon`"],
        ),
        (
            json!([{"pool": "db", "acquire": true, "count": 3}]),
            &["3 wanted, and the pool `db` has 2"],
        ),
    ] {
        step.put(json!({"claim": "env-1", "also": also}))
            .assert_failed(words);
    }
    assert_eq!(remote.head(), head);
    assert_eq!(tickets(&remote), [""; 0]);
}

#[test]
fn what_does_not_hold_together_is_said_and_nothing_is_done() {
    let remote = remote();
    let step = Step::on(&remote, "aws").in_build();
    let head = remote.head();
    for (params, words) in [
        (json!({"claim": "env-1", "also": "db"}), "`params.also`"),
        (
            json!({"claim": "env-1", "also": [{"claim": "blue"}]}),
            "`params.also[0].pool`",
        ),
        (
            json!({"claim": "env-1", "also": [{"pool": "../x", "claim": "b"}]}),
            "`params.also[0].pool`",
        ),
        (
            json!({"claim": "env-1", "also": [{"pool": "aws", "claim": "env-2"}]}),
            "`aws` once more",
        ),
        (
            json!({"claim": "env-1", "also": [{"pool": "db"}]}),
            "missing acquire",
        ),
        (
            json!({"claim": "env-1", "also": [{"pool": "db", "release_mine": true}]}),
            "`params.also[0].release_mine`",
        ),
        (
            json!({"claim": "env-1", "also": [{"pool": "db", "claim": "b", "timeout": "3s"}]}),
            "`params.also[0].timeout`",
        ),
        (
            json!({"claim": "env-1", "also": [{"pool": "db", "claim": "a/b"}]}),
            "not the name of a lock",
        ),
        (
            json!({"release_mine": true, "also": [{"pool": "db", "claim": "blue"}]}),
            "`params.also`",
        ),
    ] {
        let answer = step.put(params.clone());
        answer.assert_failed(&[words]);
    }
    assert_eq!(remote.head(), head);
}

#[test]
fn an_acquire_chooses_in_each_pool_by_what_its_metadata_says() {
    let remote = remote();
    remote.commit(
        "x",
        &[Hand::Put("db/unclaimed/big", "100644", b"size: 8\n")],
    );

    let answer = Step::on(&remote, "aws").put(json!({
        "acquire": true, "count": "all",
        "also": [{"pool": "db", "acquire": true, "match": {"size": 8}}],
    }));

    assert_eq!(answer.lock(), "env-1, env-2, db/big");
    assert!(
        remote
            .message(&remote.head())
            .contains("Pool-Wanted: aws: any; db: size=8"),
        "{}",
        remote.message(&remote.head())
    );
}

#[test]
fn a_command_runs_while_locks_of_several_pools_are_held() {
    let remote = remote();
    // No pool is set anywhere: the locks have their full names.
    let pool = Pool::at(&remote).called("ann").env("P", path_of("pool"));
    let script = "echo \"$POOL_LOCK_NAME\"; cat \"$POOL_METADATA_FILE\" \"$POOL_METADATA_DIR/db/blue\"; \
        git -C \"$REPO\" ls-tree -r --name-only main | grep claimed/ | grep -v keep | grep -v unclaimed";
    let pool = pool.env("REPO", remote.path());

    let ran = ok(
        &pool,
        &["run", "aws/env-1", "db/blue", "--", "sh", "-c", script],
    );

    assert_eq!(
        ran,
        "env-1\ndb/blue\nmetadata of env-1metadata of blueaws/claimed/env-1\ndb/claimed/blue\n"
    );
    assert_eq!(claimed(&remote), [""; 0]);
    let subjects = remote.subjects();
    assert_eq!(
        subjects[..2],
        ["ann unclaiming: env-1, blue", "ann claiming: env-1, blue"]
    );
}

#[test]
fn what_is_claimed_by_hand_is_given_back_by_its_claim_by_its_names_or_all_at_once() {
    let remote = remote();
    let pool = Pool::at(&remote).called("ann");
    let claim = || {
        let claimed = ok(&pool, &["claim", "aws/env-1", "db/blue", "--json"]);
        let claimed: Value = serde_json::from_str(&claimed).unwrap();
        assert_eq!(claimed["pool"], "aws");
        assert_eq!(claimed["locks"], json!(["env-1", "db/blue"]));
        claimed["claim"].as_str().unwrap().to_owned()
    };

    let id = claim();
    ok(&pool, &["release", "--pool", "db", "--claim", &id]);
    assert_eq!(claimed(&remote), [""; 0]);
    assert_eq!(remote.back(1), id);

    claim();
    ok(&pool, &["release", "aws/env-1", "db/blue"]);
    assert_eq!(claimed(&remote), [""; 0]);

    claim();
    ok(&pool, &["release", "--pool", "aws", "--all"]);
    assert_eq!(claimed(&remote), [""; 0]);

    // What was released by itself is no hindrance to the rest.
    let id = claim();
    ok(&pool, &["release", "db/blue"]);
    ok(&pool, &["renew", "--pool", "aws", "--claim", &id]);
    ok(&pool, &["release", "--pool", "aws", "--claim", &id]);
    assert_eq!(claimed(&remote), [""; 0]);

    claim();
    let other = Pool::at(&remote).called("bob");
    let refused = other.run(&["release", "db/blue"]);
    assert!(
        refused.stderr.contains("`blue` is held by ann"),
        "{}",
        refused.stderr
    );
    assert_eq!(claimed(&remote), ["aws/env-1", "db/blue"]);
}

#[test]
fn a_build_frees_all_of_its_claims_by_the_pool_that_it_claimed_in() {
    let remote = remote();
    for pool in ["aws", "db", "team/net"] {
        let step = Step::on(&remote, "aws").in_build();
        step.put(all_three());

        let freed = Step::on(&remote, pool)
            .in_build()
            .put(json!({"release_mine": true}));

        assert_eq!(claimed(&remote), [""; 0], "{pool}: {}", freed.stderr);
        let message = remote.message(&remote.head());
        assert!(
            message.contains(&format!("Pool-Claim: {}", remote.back(1))),
            "{message}"
        );
    }
}

#[test]
fn only_ones_own_is_given_back_where_that_is_set_in_whichever_pool() {
    let remote = remote();
    let theirs = build(&remote, "aws", "7");
    let claim = theirs.put(env_and_db()).version();
    let (_, folder) = theirs.get(&claim);

    let ours = build(&remote, "aws", "8").set("release_only_own", true);
    let target = folder.join("pools/db/blue");
    ours.put_folder("release", &target)
        .assert_failed(&["`db/blue` is held by ops/web/deploy build 7"]);

    assert_eq!(claimed(&remote), ["aws/env-1", "db/blue"]);
    let released = theirs
        .set("release_only_own", true)
        .put_folder("release", &target);
    assert_eq!(released.lock(), "db/blue");
}

#[test]
fn a_pool_that_is_gone_keeps_nothing_else_from_being_given_back() {
    for by in ["folder", "mine", "claim"] {
        let remote = remote();
        let step = Step::on(&remote, "aws").in_build();
        let claim = step.put(all_three()).version();
        let (_, folder) = step.get(&claim);
        let gone = [
            "db/claimed/blue",
            "db/claimed/.gitkeep",
            "db/unclaimed/green",
            "db/unclaimed/.gitkeep",
        ];
        remote.commit("gone", &gone.map(Hand::Delete));

        match by {
            "folder" => step
                .put_folder("release", &folder)
                .assert_failed(&["has ended with the commit"]),
            "mine" => drop(step.put(json!({"release_mine": true})).version()),
            _ => drop(ok(
                &Pool::on(&remote, "aws"),
                &["release", "--claim", &claim],
            )),
        }

        assert_eq!(claimed(&remote), [""; 0], "{by}");
        assert!(
            !remote.tree().iter().any(|path| path.starts_with("db/")),
            "{by}"
        );
    }
}

#[test]
fn other_steps_take_no_folder_of_a_lock_of_another_pool() {
    let remote = remote();
    let step = Step::on(&remote, "aws").in_build();
    let claim = step.put(env_and_db()).version();
    let (_, folder) = step.get(&claim);
    let head = remote.head();

    for param in ["update", "remove", "check", "add"] {
        let answer = step.put_folder(param, &folder.join("pools/db/blue"));
        answer.assert_failed(&["only `release` takes locks of other pools"]);
    }
    assert_eq!(remote.head(), head);
}

fn held_in(remote: &TestRemote, hook: &str) -> (Step, Running) {
    remote.hold_first_push(hook);
    let step = Step::on(remote, "aws").in_build();
    let running = step.start_put(all_three());
    remote.wait_for_held_push();
    (step, running)
}

fn let_go_on(remote: &TestRemote) {
    remote.let_push_go_on();
    remote.wait_until_no_push_is_held();
}

#[test]
fn a_step_that_is_told_to_stop_leaves_nothing_in_any_pool() {
    for hook in ["pre-receive", "post-receive"] {
        let remote = remote();
        let (_, running) = held_in(&remote, hook);

        running.signal("TERM");
        running.finish().assert_stopped();
        let_go_on(&remote);

        assert_eq!(claimed(&remote), [""; 0], "{hook}: {:?}", remote.subjects());
        let subjects = remote.subjects();
        assert_eq!(
            subjects[..2],
            [
                "ops/web/deploy build 12 unclaiming: env-1, blue, vpn",
                "ops/web/deploy build 12 claiming: env-1, blue, vpn"
            ]
        );
        remote.fsck();
    }
}

#[test]
fn a_run_after_one_that_was_killed_takes_over_all_of_it() {
    for hook in ["pre-receive", "post-receive"] {
        let remote = remote();
        let (step, running) = held_in(&remote, hook);
        running.kill();
        if hook == "post-receive" {
            let_go_on(&remote);
        }

        let again = step.put(all_three());
        let_go_on(&remote);

        assert_eq!(again.lock(), "env-1, db/blue, team/net/vpn", "{hook}");
        assert_eq!(again.version(), remote.head(), "{hook}");
        assert_eq!(claimed(&remote), ["aws/env-1", "db/blue", "team/net/vpn"]);
        let claims = remote
            .subjects()
            .iter()
            .filter(|one| one.contains(" claiming: "))
            .count();
        assert_eq!(claims, 1, "{hook}: {:?}", remote.subjects());
    }
}

#[test]
fn a_run_in_another_container_takes_over_what_a_request_names() {
    let remote = remote();
    let mut params = all_three();
    params["request"] = "all".into();
    let first = Step::on(&remote, "aws").in_build().put(params.clone());

    let second = Step::on(&remote, "aws").in_build().put(params.clone());

    assert_eq!(second.lock(), "env-1, db/blue, team/net/vpn");
    assert_ne!(second.version(), first.version());
    assert_eq!(claimed(&remote), ["aws/env-1", "db/blue", "team/net/vpn"]);
    // Something else is asked now: what there is is left as it is.
    let mut less = json!({"claim": "env-1", "try": true});
    less["request"] = "all".into();
    let third = Step::on(&remote, "aws").in_build().put(less);
    assert!(
        third.stderr.contains("which is not what is asked now"),
        "{}",
        third.stderr
    );
    third.assert_failed(&["`env-1` is held", "by this very build"]);
    assert_eq!(claimed(&remote), ["aws/env-1", "db/blue", "team/net/vpn"]);
}

#[test]
fn one_who_waits_stands_in_the_line_of_each_pool_and_leaves_all_of_them() {
    let remote = remote();
    remote.claim_by_hand("db", "blue");
    let running = Step::on(&remote, "aws").in_build().start_put(all_three());
    running.wait_for_stderr("`db/blue` is claimed");
    wait_for_tickets(&remote, 3);
    let places: Vec<String> = tickets(&remote)
        .iter()
        .map(|name| name.rsplit('/').next().unwrap().to_owned())
        .collect();
    assert!(places.iter().all(|place| *place == places[0]), "{places:?}");
    assert_eq!(claimed(&remote), ["db/blue"]);
    // Nobody is kept from what it does not need.
    let other = build(&remote, "aws", "7").put(json!({"acquire": true, "try": true}));
    assert_eq!(other.lock(), "env-2");
    build(&remote, "aws", "7")
        .put(json!({"claim": "env-1", "try": true}))
        .assert_failed(&["`env-1` is free, for the one before us in line"]);

    remote.release_by_hand("db", "blue");

    assert_eq!(running.finish().lock(), "env-1, db/blue, team/net/vpn");
    assert_eq!(tickets(&remote), [""; 0]);
    let stopped = Step::on(&remote, "aws").in_build().start_put(all_three());
    stopped.wait_for_stderr("waiting");
    wait_for_tickets(&remote, 3);
    stopped.signal("TERM");
    stopped.finish().assert_stopped();
    assert_eq!(tickets(&remote), [""; 0]);
}

#[test]
fn those_who_wait_for_one_pool_do_not_starve_one_who_waits_for_two() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    remote.add_pool("db", &["blue"]);
    let busy = |pool: &str, number: &str| {
        let step = build(&remote, pool, number);
        let claim = step.put(json!({"acquire": true})).version();
        (step.get(&claim).1, step)
    };
    let (env, env_holder) = busy("aws", "1");
    let (db, db_holder) = busy("db", "2");
    let both = build(&remote, "aws", "3").start_put(json!({
        "acquire": true, "also": [{"pool": "db", "acquire": true}],
    }));
    wait_for_tickets(&remote, 2);
    let next_env = build(&remote, "aws", "4").start_put(json!({"acquire": true}));
    wait_for_tickets(&remote, 3);
    let next_db = build(&remote, "db", "5").start_put(json!({"acquire": true}));
    wait_for_tickets(&remote, 4);

    // It is the first in both lines: what comes free is kept for it, however long the other one takes.
    env_holder.put_folder("release", &env);
    next_env.wait_for_stderr("place 2 of 2");
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(remote.list("aws/claimed"), [""; 0]);
    db_holder.put_folder("release", &db);

    let both = both.finish();
    assert_eq!(both.lock(), "env-1, db/blue");
    build(&remote, "aws", "3").put(json!({"release_mine": true}));
    assert_eq!(next_env.finish().lock(), "env-1");
    assert_eq!(next_db.finish().lock(), "blue");
}

#[test]
fn one_who_waits_for_two_lets_others_pass_as_long_as_it_is_not_its_turn_in_both() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    remote.add_pool("db", &["blue"]);
    remote.claim_by_hand("aws", "env-1");
    remote.claim_by_hand("db", "blue");
    // Somebody is before it in one of the lines.
    let first_db = build(&remote, "db", "1").start_put(json!({"acquire": true}));
    wait_for_tickets(&remote, 1);
    let both = build(&remote, "aws", "2").start_put(json!({
        "acquire": true, "also": [{"pool": "db", "acquire": true}],
    }));
    wait_for_tickets(&remote, 3);
    let next_env = build(&remote, "aws", "3").start_put(json!({"acquire": true}));
    wait_for_tickets(&remote, 4);

    remote.release_by_hand("aws", "env-1");

    // The one behind it takes what it could not use yet.
    assert_eq!(next_env.finish().lock(), "env-1");
    build(&remote, "aws", "3").put(json!({"release_mine": true}));
    remote.release_by_hand("db", "blue");
    assert_eq!(first_db.finish().lock(), "blue");
    build(&remote, "db", "1").put(json!({"release_mine": true}));
    assert_eq!(both.finish().lock(), "env-1, db/blue");
}

#[test]
fn two_who_need_the_same_pools_get_them_one_after_the_other_whichever_they_name_first() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    remote.add_pool("db", &["blue"]);
    let pools = [("aws", "db"), ("db", "aws")];
    let running: Vec<(usize, Running)> = (0..6)
        .map(|n| {
            let (own, other) = pools[n % 2];
            let step = build(&remote, own, &n.to_string());
            let also = json!([{"pool": other, "acquire": true}]);
            (n, step.start_put(json!({"acquire": true, "also": also})))
        })
        .collect();
    let mut left = running;
    while !left.is_empty() {
        let mut done = None;
        wait_until("one of them has both", || {
            done = left
                .iter_mut()
                .position(|(_, running)| !running.is_running());
            done.is_some()
        });
        let (n, running) = left.remove(done.unwrap());
        running.finish().version();
        assert_eq!(claimed(&remote).len(), 2);
        let (own, _) = pools[n % 2];
        build(&remote, own, &n.to_string()).put(json!({"release_mine": true}));
    }
    assert_eq!(claimed(&remote), [""; 0]);
    assert_eq!(tickets(&remote), [""; 0]);
}

#[test]
fn one_who_holds_what_another_waits_for_with_something_kept_for_it_is_in_a_circle_with_it() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    remote.add_pool("db", &["blue"]);
    let holder = Pool::on(&remote, "db").called("ann");
    ok(&holder, &["claim", "blue"]);
    remote.claim_by_hand("aws", "env-1");
    let both = Pool::at(&remote).called("bob").start(&[
        "claim",
        "aws/env-1",
        "db/blue",
        "--on-deadlock",
        "fail",
    ]);
    wait_for_tickets(&remote, 2);
    // Ann waits behind bob for the lock that is kept for him, and he waits for hers.
    let ann = Pool::on(&remote, "aws")
        .called("ann")
        .start(&["claim", "env-1"]);
    wait_for_tickets(&remote, 3);

    remote.release_by_hand("aws", "env-1");

    let both = both.finish();
    assert_eq!(both.code, Some(3), "{}", both.stderr);
    assert!(both.stderr.contains("ann"), "{}", both.stderr);
    assert_eq!(ann.finish().code, Some(0));
    assert_eq!(claimed(&remote), ["aws/env-1", "db/blue"]);
}

/// Who believes to hold what.
type Holders = Mutex<BTreeMap<String, usize>>;

/// Claims, holds and gives back for some turns, through a network that loses and doubles what it likes, and is killed or told
/// to stop now and then.
fn take_turns(who: usize, port: u16, seed: u64, turns: usize, holders: &Holders) {
    let mut dice = StdRng::seed_from_u64(seed);
    for turn in 0..turns {
        let (own, other) = [("aws", "db"), ("db", "aws")][dice.random_range(0..2)];
        let mut params = json!({"acquire": true, "timeout": "20s"});
        let several = dice.random_bool(0.7);
        let all = dice.random_bool(0.2);
        if several {
            params["also"] = json!([{"pool": other, "acquire": true}]);
        }
        if all {
            params["count"] = "all".into();
        }
        let order = if dice.random_bool(0.3) {
            "newest"
        } else {
            "arrival"
        };
        let build = (1000 * (who + 1) + turn).to_string();
        let source = json!({
            "uri": format!("http://127.0.0.1:{port}/git/locks.git"), "branch": "main", "pool": own,
            "retry_delay": "300ms", "connect_timeout": "2s", "silence_timeout": "2s",
            "attempt_timeout": "8s", "fault_timeout": "30s", "ticket_renewal": "3s",
            "order": order,
        });
        let step = Step::with_source(source)
            .in_build()
            .env("BUILD_ID", &build)
            .env("BUILD_NAME", &build);
        let folder = step.folder();
        let mut answer;
        loop {
            let mut running = step.start_put_in(&folder, params.clone());
            let strikes = dice.random_bool(0.4);
            let kills = dice.random_bool(0.6);
            if strikes {
                let moment = Instant::now() + Duration::from_millis(dice.random_range(20..1500));
                while running.is_running() && Instant::now() < moment {
                    std::thread::sleep(Duration::from_millis(5));
                }
                running.signal_if_there(if kills { "KILL" } else { "TERM" });
            }
            answer = running.finish();
            // A step that vanished is run again.
            if answer.code.is_some() {
                break;
            }
        }
        let is_mine: Vec<String> = match answer.code {
            Some(0) => {
                let locks = answer.lock();
                let full = |lock: &str| match lock.contains('/') {
                    true => lock.to_owned(),
                    false => format!("{own}/{lock}"),
                };
                locks.split(", ").map(full).collect()
            }
            _ => Vec::new(),
        };
        let whole = 1 + usize::from(several) + usize::from(all);
        assert!(
            [0, whole].contains(&is_mine.len()),
            "half a claim: {is_mine:?}"
        );
        for lock in &is_mine {
            let before = holders.lock().unwrap().insert(lock.clone(), who);
            assert_eq!(before, None, "{who} was given {lock}, which somebody holds");
        }
        std::thread::sleep(Duration::from_millis(dice.random_range(0..200)));
        for lock in &is_mine {
            holders.lock().unwrap().remove(lock);
        }
        // What was claimed for nobody has been given back, if the step did not say that it could not be.
        if is_mine.is_empty() && !answer.stderr.contains("may still be claimed") {
            continue;
        }
        let mut tries = 0;
        while step.put(json!({"release_mine": true})).code != Some(0) {
            tries += 1;
            assert!(tries < 30, "it cannot be released");
        }
    }
}

#[test]
fn whatever_happens_on_the_way_nobody_has_half_a_claim_and_nothing_is_left_behind() {
    let seed: u64 = match std::env::var("POOL_CHAOS_SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => rand::random(),
    };
    eprintln!("the seed is {seed}: run it again with POOL_CHAOS_SEED={seed}");
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2"]);
    remote.add_pool("db", &["blue", "green"]);
    let start = remote.head();
    let server = HttpServer::start(remote.root());
    let port = Arc::new(AtomicU16::new(server.port()));
    let mut seeds = StdRng::seed_from_u64(seed);
    let relays: Vec<Havoc> = (0..4)
        .map(|_| Havoc::start(port.clone(), mischief(seeds.random(), Arc::default())))
        .collect();
    let holders = Holders::default();

    std::thread::scope(|scope| {
        for (who, relay) in relays.iter().enumerate() {
            let (seed, holders) = (seeds.random(), &holders);
            scope.spawn(move || take_turns(who, relay.port(), seed, 5, holders));
        }
    });
    relays.iter().for_each(Havoc::calm_down);
    wait_until("no request is on its way", || {
        relays.iter().all(Havoc::is_idle)
    });

    assert_eq!(claimed(&remote), [""; 0], "{:#?}", remote.subjects());
    let range = format!("{start}..main");
    for commit in remote.git(&["rev-list", "--first-parent", &range]).lines() {
        let changed = remote.git(&[
            "diff-tree",
            "-r",
            "--no-renames",
            "--name-only",
            &format!("{commit}^"),
            commit,
        ]);
        let moved = changed
            .lines()
            .filter(|path| path.contains("/claimed/"))
            .count();
        let message = remote.message(commit);
        let subject = message.lines().next().unwrap();
        let named = subject.rsplit(": ").next().unwrap().split(", ").count();
        assert_eq!(moved, named, "{commit}: {message}{changed}");
        let full = message.matches("Pool-Lock: ").count();
        assert!([0, named].contains(&full), "{commit}: {message}");
    }
    remote.fsck();
}

#[test]
fn a_lock_is_given_back_whatever_folders_the_names_of_pools_and_locks_make() {
    let remote = remote();
    remote.add_pool("team", &["net"]);
    remote.add_pool("x", &["name", "pool"]);
    let step = Step::on(&remote, "aws").in_build();
    let claim = step
        .put(json!({"claim": "env-1", "also": [
            {"pool": "team", "claim": "net"},
            {"pool": "team/net", "claim": "vpn"},
            {"pool": "x", "acquire": true, "count": 2},
        ]}))
        .version();
    let (_, folder) = step.get(&claim);

    let released = step.put_folder("release", &folder);

    assert_eq!(released.code, Some(0), "{}", released.stderr);
    assert_eq!(claimed(&remote), [""; 0], "{}", released.stderr);
    assert_eq!(remote.list("team/claimed"), [""; 0]);
    assert_eq!(remote.list("x/claimed"), [""; 0]);
}

fn without_net(remote: &TestRemote, message: &str) {
    let files = remote.tree();
    let gone = files.iter().filter(|file| file.starts_with("team/net/"));
    let gone: Vec<Hand<'_>> = gone.map(|file| Hand::Delete(file)).collect();
    remote.commit(message, &gone);
}

#[test]
fn what_is_left_is_given_back_though_one_of_the_pools_is_gone() {
    let remote = remote();
    let step = Step::on(&remote, "aws").in_build();
    let claim = step.put(all_three()).version();
    let (_, folder) = step.get(&claim);
    without_net(&remote, "no nets any more");

    let released = step.put_folder("release", &folder);

    assert_eq!(claimed(&remote), [""; 0], "{}", released.stderr);
    released.assert_failed(&["`team/net/vpn`"]);

    remote.add_pool("team/net", &["vpn"]);
    let claim = step.put(all_three()).version();
    without_net(&remote, "none at all");
    let ann = Pool::on(&remote, "aws");
    ok(&ann, &["release", "--claim", &claim]);
    assert_eq!(claimed(&remote), [""; 0]);
}

#[test]
fn a_claim_is_given_back_by_its_id_as_far_as_it_stands() {
    let remote = remote();
    let ann = Pool::at(&remote).called("ann");
    let json = ok(&ann, &["claim", "aws/env-1", "db/blue", "--json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    let id = json["claim"].as_str().unwrap();
    let bob = Pool::on(&remote, "db").called("bob");
    ok(&bob, &["unlock", "blue", "--reason", "needed"]);
    ok(&bob, &["claim", "blue"]);

    let released = ann.run(&["release", "--pool", "aws", "--claim", id]);
    assert_eq!(claimed(&remote), ["db/blue"]);
    assert_eq!(released.code, Some(0), "{}", released.stderr);
}

#[test]
fn a_claim_of_several_pools_does_not_stand_once_one_of_its_locks_is_taken_away() {
    let remote = remote();
    let ann = Pool::at(&remote).called("ann");
    let json = ok(&ann, &["claim", "aws/env-1", "db/blue", "--json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    let id = json["claim"].as_str().unwrap();
    ok(&ann, &["verify", "--pool", "aws", "--claim", id]);
    let bob = Pool::on(&remote, "db").called("bob");
    ok(&bob, &["unlock", "blue", "--reason", "needed"]);

    let verified = ann.run(&["verify", "--pool", "aws", "--claim", id]);
    assert_ne!(verified.code, Some(0), "{}", verified.stdout);
}

#[test]
fn a_lock_may_be_called_like_another_pool() {
    let remote = remote();
    remote.commit("x", &[Hand::Put("aws/unclaimed/db", "100644", b"m")]);
    let ann = Pool::at(&remote).called("ann");
    let ran = ann.run(&[
        "run",
        "aws/db",
        "db/blue",
        "--",
        "sh",
        "-c",
        "cat $POOL_METADATA_FILE $POOL_METADATA_DIR/db/blue",
    ]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(ran.stdout, "mmetadata of blue");
}

#[test]
fn the_version_of_what_was_given_back_in_another_pool_hands_out_no_claim() {
    let remote = remote();
    let step = build(&remote, "aws", "8");
    let claim = step.put(env_and_db()).version();
    let (_, folder) = step.get(&claim);
    // Somebody else claims in the pool of the source meanwhile.
    build(&remote, "aws", "7").put(json!({"claim": "env-2"}));

    let released = step.put_folder("release", &folder.join("pools/db/blue"));
    let (got, inside) = step.get(&released.version());

    assert_eq!(got.lock(), "db/blue");
    assert_eq!(got.told("action").as_deref(), Some("released"));
    assert_eq!(got.told("claim").as_deref(), Some("none"));
    assert!(!inside.join("claim").exists() && inside.join("no-claim").exists());
    step.put_folder("release", &inside).assert_failed(&["name"]);
    assert_eq!(claimed(&remote), ["aws/env-1", "aws/env-2"]);
}

#[test]
fn nothing_is_kept_for_one_who_lets_others_pass_in_another_pool() {
    let remote = remote();
    remote.claim_by_hand("aws", "env-2");
    remote.claim_by_hand("db", "blue");
    let first = build(&remote, "aws", "1").start_put(json!({"claim": "env-2"}));
    wait_for_tickets(&remote, 1);
    let both = build(&remote, "aws", "2").start_put(env_and_db());
    wait_for_tickets(&remote, 3);
    let single = build(&remote, "db", "3").start_put(json!({"claim": "blue"}));
    wait_for_tickets(&remote, 4);

    // It is not its turn in one of the pools: others pass it in both.
    let env = build(&remote, "aws", "4").put(json!({"claim": "env-1", "timeout": "20s"}));
    assert_eq!(env.lock(), "env-1", "{}", env.stderr);
    remote.release_by_hand("db", "blue");
    assert_eq!(single.finish().lock(), "blue");
    drop((first, both));
}

#[test]
fn a_claim_of_long_ago_is_taken_over_fetched_and_released_in_all_of_its_pools() {
    for leaves_out in ["true", "false"] {
        let remote = remote();
        remote.git(&["config", "uploadpack.allowFilter", leaves_out]);
        let server = HttpServer::start(remote.root());
        let step = Step::on(&remote, "aws").in_build().set("uri", server.uri());
        let mut params = all_three();
        params["request"] = "all".into();
        step.put(params.clone());
        remote.say_often(700);
        let step = Step::on(&remote, "aws").in_build().set("uri", server.uri());
        let again = step.put(params);
        assert_eq!(
            again.lock(),
            "env-1, db/blue, team/net/vpn",
            "{}",
            again.stderr
        );
        let claim = again.version();
        remote.say_often(700);
        let (_, folder) = step.get(&claim);
        assert!(folder.join("pools/db/blue/name").exists());
        let released = step.put_folder("release", &folder);
        assert_eq!(released.code, Some(0), "{}", released.stderr);
        assert_eq!(claimed(&remote), [""; 0], "{}", released.stderr);
        step.put(all_three());
        remote.say_often(700);
        Step::on(&remote, "db")
            .in_build()
            .set("uri", server.uri())
            .put(json!({"release_mine": true}));
        assert_eq!(claimed(&remote), [""; 0]);
    }
}

#[test]
fn what_a_commit_says_of_locks_that_it_did_not_claim_shows_and_frees_none_of_them() {
    let remote = remote();
    remote.claim_by_hand("db", "green");
    build(&remote, "db", "7").put(json!({"claim": "blue"}));
    let mut message = "ops/web/deploy build 12 claiming: env-1\n\nPool-Build: 12345\nPool-Lock: aws/env-1\nPool-Lock: db/../aws/x\nPool-Lock: moon/x\nPool-Lock: aws/claimed/x\n".to_owned();
    for _ in 0..3000 {
        message += "Pool-Lock: db/blue\n";
        message += "Pool-Lock: team/net/vpn\n";
    }
    let claim = remote.commit(
        &message,
        &[
            Hand::Move("aws/unclaimed/env-1", "aws/claimed/env-1"),
            Hand::Move("team/net/unclaimed/vpn", "team/net/claimed/vpn"),
        ],
    );
    remote.say_often(500);
    let step = Step::on(&remote, "aws");

    let (got, folder) = step.get(&claim);
    let released = step.put_folder("release", &folder);

    assert_eq!(got.lock(), "env-1, team/net/vpn");
    assert_eq!(released.lock(), "env-1, team/net/vpn");
    assert_eq!(claimed(&remote), ["db/blue", "db/green"]);
}

#[test]
fn a_command_runs_while_locks_of_several_pools_of_ones_own_are_held() {
    let pool = Pool::bare().called("ann");
    for first in ["a/b", "b"] {
        let script = "echo \"$POOL_LOCK_NAME\"";
        let ran = pool.run(&["run", first, "c/d", "--", "sh", "-c", script]);
        assert_eq!(
            (ran.code, ran.stdout.as_str()),
            (Some(0), "b\nc/d\n"),
            "{}",
            ran.stderr
        );
    }
}

#[test]
fn a_later_build_takes_the_places_of_an_earlier_one_in_all_lines() {
    let remote = remote();
    remote.claim_by_hand("db", "blue");
    // Held as well: while the one leaves and the other comes, nothing is kept for either of them.
    remote.claim_by_hand("aws", "env-1");
    let step = |number| build(&remote, "aws", number).set("order", "newest");
    let first = step("1").start_put(env_and_db());
    wait_for_tickets(&remote, 2);
    let single = Pool::on(&remote, "aws")
        .called("ann")
        .start(&["claim", "env-1"]);
    wait_for_tickets(&remote, 3);

    let second = step("2").start_put(env_and_db());
    first
        .finish()
        .assert_failed(&["superseded by ops/web/deploy build 2"]);
    wait_for_tickets(&remote, 3);
    remote.release_by_hand("db", "blue");
    remote.release_by_hand("aws", "env-1");

    assert_eq!(second.finish().lock(), "env-1, db/blue");
    drop(single);
}

#[test]
fn one_who_waits_gives_up_when_one_of_the_pools_is_gone() {
    let remote = remote();
    remote.claim_by_hand("db", "blue");
    let both = Step::on(&remote, "aws").in_build().start_put(all_three());
    wait_for_tickets(&remote, 3);
    without_net(&remote, "gone");
    both.finish()
        .assert_failed(&["there is no pool `team/net`"]);
    assert_eq!(tickets(&remote), [""; 0]);
}

#[test]
fn what_a_claim_of_several_pools_has_got_is_given_back_by_a_resource_of_any_of_them() {
    let remote = remote();
    remote.commit("x", &[Hand::Put("aws/unclaimed/blue", "100644", b"")]);
    let step = Step::on(&remote, "aws").in_build();
    let also = json!([{"pool": "db", "claim": "blue"}]);
    let claim = step.put(json!({"claim": "blue", "also": also})).version();
    let (_, folder) = step.get(&claim);

    let released = Step::on(&remote, "db").put_folder("release", &folder);

    assert_eq!(released.lock(), "aws/blue, blue");
    assert_eq!(claimed(&remote), [""; 0]);
}

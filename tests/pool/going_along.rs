//! Claims that are offered at the branch, and brought there by whoever pushes first.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use support::remote::Hand;
use support::server::http::HttpServer;
use support::step::Running;
use support::{Answer, Step, TestRemote, wait_until};

use super::branch_line::{PLACES, place_by_hand};
use super::line::tickets;

/// A build of the pool `aws`, which has a number of its own.
fn build(remote: &TestRemote, uri: &str, n: usize) -> Step {
    Step::with_source(json!({"uri": uri, "branch": remote.branch(), "pool": "aws"}))
        .in_build()
        .env("BUILD_ID", format!("id-{n}"))
        .env("BUILD_NAME", n.to_string())
}

/// Has others stand at the branch before everybody who comes, as long as `work` goes on: those who do something all the time, so
/// that nobody passes them over.
fn behind_others<T>(remote: &TestRemote, work: impl FnOnce() -> T) -> T {
    let places: Vec<String> = (0..9)
        .map(|n| place_by_hand(remote, &format!("other{n}"), 1))
        .collect();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Fewer and fewer, and more and more: however seldom one looks, it is not as it was.
            let changing = &places[1..];
            for (n, place) in changing.iter().chain(changing).enumerate().cycle() {
                if is_over.load(Ordering::SeqCst) {
                    break;
                }
                match n < changing.len() {
                    true => remote.git(&["update-ref", "-d", place]),
                    false => remote.git(&["update-ref", place, remote.branch()]),
                };
                std::thread::sleep(Duration::from_millis(60));
            }
            for place in &places {
                remote.git(&["update-ref", "-d", place]);
            }
        });
        // Whatever fails in it, the others go.
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        is_over.store(true, Ordering::SeqCst);
        result.unwrap_or_else(|cause| std::panic::resume_unwind(cause))
    })
}

/// What is offered at the branch: the names of the tickets, and what they offer.
fn offers(remote: &TestRemote) -> Vec<(String, Value)> {
    let mut offers = Vec::new();
    for name in tickets(remote) {
        let is_offer = name.starts_with(PLACES) && name.matches('.').count() == 4;
        if !is_offer {
            continue;
        }
        let text = remote.git(&["log", "-1", "--format=%B", &name]);
        let json = text.lines().nth(1).unwrap();
        offers.push((name, serde_json::from_str(json).unwrap()));
    }
    offers
}

/// Waits until so many offer something on the commit that the branch is at.
fn wait_for_offers(remote: &TestRemote, n: usize) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    wait_until(&format!("{n} offer something"), || {
        let head = remote.head();
        found = offers(remote);
        found
            .iter()
            .filter(|(_, offer)| offer["base"] == head.as_str())
            .count()
            == n
    });
    found
}

/// A step that wants any lock, and offers to claim one.
fn start_offering(remote: &TestRemote, step: &Step) -> (Running, (String, Value)) {
    let running = step.start_put(json!({"acquire": true}));
    let mut offers = wait_for_offers(remote, 1);
    assert_eq!(offers.len(), 1);
    (running, offers.remove(0))
}

/// The trailers that an offer has, and the name of the first of its locks.
fn parts(offer: &Value) -> (String, String) {
    let trailers = offer["trailers"].as_array().unwrap();
    let trailers = trailers.iter().map(|pair| {
        format!(
            "{}: {}\n",
            pair[0].as_str().unwrap(),
            pair[1].as_str().unwrap()
        )
    });
    let lock = offer["locks"][0][0].as_str().unwrap().to_owned();
    (trailers.collect(), lock)
}

/// Carries out what is offered, as whoever pushes would, and gives the commit.
fn carry_out(remote: &TestRemote, (ticket, offer): &(String, Value)) -> String {
    let (trailers, lock) = parts(offer);
    let message = format!(
        "{} claiming: {lock}\n\n{trailers}Pool-Number: 7000000000\n",
        offer["prefix"].as_str().unwrap()
    );
    let (from, to) = (
        format!("aws/unclaimed/{lock}"),
        format!("aws/claimed/{lock}"),
    );
    let claim = remote.commit(&message, &[Hand::Move(&from, &to)]);
    remote.git(&["update-ref", "-d", ticket]);
    claim
}

fn succeeded(running: Running) -> Answer {
    let answer = running.finish();
    assert_eq!(answer.code, Some(0), "{}", answer.stderr);
    answer
}

/// How often the branch was pushed.
fn pushes(remote: &TestRemote) -> usize {
    let log = std::fs::read_to_string(remote.path().join("refs.log")).unwrap_or_default();
    let pushes = log.lines().filter(|line| line.starts_with("refs/heads/"));
    pushes.count()
}

fn log_pushes(remote: &TestRemote) {
    remote.hook("update", "echo \"$1 $2 $3\" >> refs.log");
}

#[test]
fn those_who_stand_at_the_branch_are_claimed_for_in_one_push_each_by_a_commit_of_his_own() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2", "env-3", "env-4", "env-5"]);
    let server = HttpServer::start(remote.root());
    log_pushes(&remote);
    let before = remote.count();

    let running: Vec<Running> = behind_others(&remote, || {
        let begin = |n| build(&remote, &server.uri(), n).start_put(json!({"acquire": true}));
        let running = (0..5).map(begin).collect();
        wait_for_offers(&remote, 5);
        running
    });
    let answers: Vec<Answer> = running.into_iter().map(succeeded).collect();

    assert_eq!(remote.count() - before, 5);
    assert!(pushes(&remote) <= 2, "{} pushes", pushes(&remote));
    let mut locks: Vec<String> = answers.iter().map(Answer::lock).collect();
    locks.sort();
    assert_eq!(locks, remote.list("aws/claimed"));
    assert_eq!(locks.len(), 5);
    for (n, answer) in answers.iter().enumerate() {
        let claim = answer.version();
        let said = remote.said(&claim);
        assert!(
            said.contains(&format!("build {n} claiming: {}", answer.lock())),
            "{said}"
        );
        assert!(remote.number(&claim) > 0);
    }
    let numbers: Vec<u64> = (0..5).map(|n| remote.number(&remote.back(n))).collect();
    assert!(
        numbers.is_sorted_by(|newer, older| newer > older),
        "{numbers:?}"
    );
    assert_eq!(tickets(&remote), [""; 0]);
    remote.fsck();
}

#[test]
fn who_was_brought_along_is_told_of_the_very_claim_that_was_made_for_him() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2"]);
    let server = HttpServer::start(remote.root());
    let step = build(&remote, &server.uri(), 1);

    let (claim, answer) = behind_others(&remote, || {
        let (running, offer) = start_offering(&remote, &step);
        let claim = carry_out(&remote, &offer);
        (claim, succeeded(running))
    });

    assert_eq!(answer.version(), claim);
    assert_eq!(remote.list("aws/claimed"), [answer.lock()]);
    let (_, folder) = step.get(&claim);
    let released = step.put_folder("release", &folder);
    assert_eq!(released.code, Some(0), "{}", released.stderr);
    assert_eq!(remote.list("aws/claimed"), [""; 0]);
}

#[test]
fn who_is_told_to_stop_after_he_was_brought_along_gives_it_back() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2"]);
    let server = HttpServer::start(remote.root());

    let answer = behind_others(&remote, || {
        let (running, offer) = start_offering(&remote, &build(&remote, &server.uri(), 1));
        running.signal("STOP");
        carry_out(&remote, &offer);
        running.signal("TERM");
        running.signal("CONT");
        running.finish()
    });

    assert_ne!(answer.code, Some(0), "{}", answer.stderr);
    assert_eq!(remote.list("aws/claimed"), [""; 0], "{}", answer.stderr);
    assert_eq!(tickets(&remote), [""; 0]);
}

#[test]
fn what_was_offered_cannot_be_carried_out_any_more_once_its_step_has_been_told_to_stop() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2"]);
    let server = HttpServer::start(remote.root());

    let offer = behind_others(&remote, || {
        let (running, (name, _)) = start_offering(&remote, &build(&remote, &server.uri(), 1));
        let at = remote.git(&["rev-parse", &name]).trim().to_owned();
        running.signal("TERM");
        let answer = running.finish();
        assert_ne!(answer.code, Some(0), "{}", answer.stderr);
        (name, at)
    });
    assert_eq!(remote.list("aws/claimed"), [""; 0]);
    // A copy of what it had sent arrives late, and others push past it.
    let (name, at) = offer;
    let rest = name.split_once('.').unwrap().1.split_once('.').unwrap().1;
    let later = format!("{PLACES}/000900.{rest}");
    let count = remote.count();
    let second = behind_others(&remote, || {
        let (running, _) = start_offering(&remote, &build(&remote, &server.uri(), 2));
        remote.git(&["update-ref", &later, &at]);
        running
    });
    let second = succeeded(second);

    assert_eq!(remote.list("aws/claimed"), [second.lock()]);
    assert_eq!(remote.count() - count, 1);
}

#[test]
fn a_step_that_is_killed_after_it_was_brought_along_takes_that_claim_when_it_runs_again() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2"]);
    let server = HttpServer::start(remote.root());
    let step = build(&remote, &server.uri(), 1);

    let claim = behind_others(&remote, || {
        let (running, offer) = start_offering(&remote, &step);
        running.signal("STOP");
        let claim = carry_out(&remote, &offer);
        running.kill();
        claim
    });
    let again = step.put(json!({"acquire": true}));

    assert_eq!(again.version(), claim, "{}", again.stderr);
    assert_eq!(remote.list("aws/claimed"), [again.lock()]);
}

#[test]
fn a_step_that_is_killed_with_an_offer_has_one_lock_when_it_runs_again_whoever_carries_it_out() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2", "env-3"]);
    let server = HttpServer::start(remote.root());
    let step = build(&remote, &server.uri(), 1);

    behind_others(&remote, || {
        let (running, _) = start_offering(&remote, &step);
        running.kill();
    });
    let again = step.put(json!({"acquire": true}));

    assert_eq!(again.code, Some(0), "{}", again.stderr);
    assert_eq!(remote.list("aws/claimed"), [again.lock()]);
    let other = build(&remote, &server.uri(), 2).put(json!({"acquire": true}));
    assert_eq!(other.code, Some(0), "{}", other.stderr);
    assert_eq!(remote.list("aws/claimed").len(), 2);
    assert_eq!(tickets(&remote), [""; 0]);
}

#[test]
fn where_a_server_takes_only_one_commit_in_a_push_each_pushes_for_himself() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2", "env-3"]);
    let server = HttpServer::start(remote.root());
    remote.hook(
        "update",
        "case $1 in refs/heads/*) ;; *) exit 0;; esac\n\
         [ $(git rev-list --count $2..$3) = 1 ] || { echo one at a time >&2; exit 1; }",
    );

    let running: Vec<Running> = behind_others(&remote, || {
        let begin = |n| build(&remote, &server.uri(), n).start_put(json!({"acquire": true}));
        let running = (0..3).map(begin).collect();
        wait_for_offers(&remote, 3);
        running
    });
    let answers: Vec<Answer> = running.into_iter().map(succeeded).collect();

    assert_eq!(remote.list("aws/claimed").len(), 3);
    assert_eq!(answers.len(), 3);
    assert_eq!(tickets(&remote), [""; 0]);
}

#[test]
fn what_is_wrong_with_an_offer_keeps_nobody_from_his_lock() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2"]);
    remote.add_pool("db", &["blue"]);
    let held = remote.claim_by_hand("db", "blue");
    let server = HttpServer::start(remote.root());

    let (running, count) = behind_others(&remote, || {
        let (running, (name, offer)) = start_offering(&remote, &build(&remote, &server.uri(), 1));
        let base = name.rsplit('.').next().unwrap().to_owned();
        let made = |n: usize, text: &str| {
            let tree = remote.git(&["hash-object", "-t", "tree", "-w", "/dev/null"]);
            let note = remote.git(&["commit-tree", "-m", text, tree.trim()]);
            let since = name.split('.').nth(2).unwrap();
            let name = format!("{PLACES}/0009{n:02}.{since}.hostile{n}.{base}");
            remote.git(&["update-ref", &name, note.trim()]);
        };
        let changed = |key: &str, value: Value| {
            let mut offer = offer.clone();
            offer[key] = value;
            offer["trailers"] = json!([["Pool-Request", "theirs"]]);
            format!("x\n{offer}")
        };
        let blob = offer["locks"][0][1].as_str().unwrap();
        made(0, "nothing of the kind");
        made(1, "x\n{");
        made(2, &changed("base", json!(remote.back(1))));
        made(3, &changed("pool", json!("../aws")));
        made(4, &changed("pool", json!("not-there")));
        made(5, &changed("locks", json!([["env-9", blob]])));
        made(6, &changed("locks", json!([["../claimed/env-1", blob]])));
        made(
            7,
            &changed("locks", json!([["env-1", held], ["env-2", held]])),
        );
        made(8, &changed("locks", json!([])));
        made(
            9,
            &changed("committer", json!(["Somebody", "else@example.com"])),
        );
        let text = format!("x\n{offer}").replace("\"pool\":\"aws\"", "\"pool\":\"db\"");
        made(10, &text.replace("env-1", "blue").replace("env-2", "blue"));
        let since = name.split('.').nth(2).unwrap();
        let name = format!("{PLACES}/000950.{since}.hostile.{base}");
        remote.git(&["update-ref", &name, remote.branch()]);
        (running, remote.count())
    });
    let answer = succeeded(running);

    assert_eq!(remote.count() - count, 1, "{:?}", remote.subjects());
    assert_eq!(answer.version(), remote.head());
    assert_eq!(remote.list("aws/claimed"), [answer.lock()]);
    remote.fsck();
}

#[test]
fn who_pushes_himself_while_another_lock_is_claimed_for_him_is_told_of_that() {
    let names: Vec<String> = (0..20).map(|n| format!("env-{n:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let remote = TestRemote::with_pool("aws", &names);
    let server = HttpServer::start(remote.root());
    // Of the branch, and not of tickets.
    remote.hook(
        "update",
        "case $1 in refs/heads/*) ;; *) exit 0;; esac\n\
         touch is-pushed; while [ ! -e go-on ]; do sleep 0.02; done",
    );
    let (running, offer) = behind_others(&remote, || {
        start_offering(&remote, &build(&remote, &server.uri(), 1))
    });
    wait_until("it pushes", || remote.path().join("is-pushed").exists());

    let claim = carry_out(&remote, &offer);
    std::fs::write(remote.path().join("go-on"), "").unwrap();
    let answer = succeeded(running);

    assert_eq!(answer.version(), claim);
    assert_eq!(remote.list("aws/claimed"), [answer.lock()]);
}

#[test]
fn those_who_pass_over_one_who_does_nothing_are_each_told_of_the_lock_of_their_own_commit() {
    let names: Vec<String> = (0..10).map(|n| format!("env-{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let remote = TestRemote::with_pool("aws", &names);
    let server = HttpServer::start(remote.root());
    remote.hook("pre-receive", "sleep 0.3");
    place_by_hand(&remote, "ghost", 1);

    let begin = |n| build(&remote, &server.uri(), n).start_put(json!({"acquire": true}));
    let running: Vec<Running> = (0..4).map(begin).collect();
    let answers: Vec<Answer> = running.into_iter().map(succeeded).collect();

    let mut locks: Vec<String> = answers.iter().map(Answer::lock).collect();
    for (n, answer) in answers.iter().enumerate() {
        let said = remote.said(&answer.version());
        assert!(
            said.contains(&format!("build {n} claiming: {}", answer.lock())),
            "{said}"
        );
    }
    locks.sort();
    assert_eq!(remote.list("aws/claimed"), locks);
    assert_eq!(locks.len(), 4);
}

#[test]
fn of_two_runs_of_a_step_that_offer_the_same_only_one_is_brought_along() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2", "env-3", "env-4"]);
    let server = HttpServer::start(remote.root());
    let named = json!({"acquire": true, "request": "it"});

    let (first, second) = behind_others(&remote, || {
        let first = build(&remote, &server.uri(), 1).start_put(json!({"acquire": true}));
        wait_for_offers(&remote, 1);
        // It has no disk in common with the other run.
        let killed = build(&remote, &server.uri(), 2).start_put(named.clone());
        let offers = wait_for_offers(&remote, 2);
        let is_named = |(_, offer): &&(String, Value)| parts(offer).0.contains("Pool-Step");
        assert!(offers.iter().any(|offer| is_named(&offer)), "{offers:?}");
        killed.kill();
        let second = build(&remote, &server.uri(), 2).start_put(named.clone());
        wait_for_offers(&remote, 3);
        (first, second)
    });
    let (first, second) = (succeeded(first), succeeded(second));

    let mut locks = [first.lock(), second.lock()];
    locks.sort();
    assert_eq!(remote.list("aws/claimed"), locks, "{}", second.stderr);
}

#[test]
fn pools_that_share_a_branch_bring_each_other_along_and_each_is_told_of_its_own_lock() {
    const POOLS: usize = 3;
    const WORKERS: usize = 3;
    const ROUNDS: usize = 4;
    let remote = TestRemote::with_pool("aws", &["env-0"]);
    let locks = |pool: usize| -> Vec<String> {
        (0..WORKERS).map(|n| format!("env-{n}-of-{pool}")).collect()
    };
    for pool in 0..POOLS {
        let locks = locks(pool);
        let locks: Vec<&str> = locks.iter().map(String::as_str).collect();
        remote.add_pool(&format!("pool-{pool}"), &locks);
    }
    let server = HttpServer::start(remote.root());
    std::thread::scope(|scope| {
        for n in 0..POOLS * WORKERS {
            let pool = n % POOLS;
            let step = build(&remote, &server.uri(), n).set("pool", format!("pool-{pool}"));
            scope.spawn(move || {
                for _ in 0..ROUNDS {
                    let claimed = step.put(json!({"acquire": true}));
                    assert_eq!(claimed.code, Some(0), "{}", claimed.stderr);
                    assert!(locks(pool).contains(&claimed.lock()), "{}", claimed.stderr);
                    let (_, folder) = step.get(&claimed.version());
                    let released = step.put_folder("release", &folder);
                    assert_eq!(released.code, Some(0), "{}", released.stderr);
                }
            });
        }
    });

    let subjects = remote.subjects();
    let claims = subjects.iter().filter(|it| it.contains(" claiming: "));
    assert_eq!(claims.count(), POOLS * WORKERS * ROUNDS);
    assert_eq!(tickets(&remote), [""; 0]);
    remote.fsck();
}

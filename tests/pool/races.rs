//! Several at once: no lock is granted twice, and nobody is turned away for long.

use std::collections::BTreeSet;

use serde_json::json;

use support::server::http::HttpServer;
use support::step::Running;
use support::{Step, TestRemote, wait_until};

const EIGHT: [&str; 8] = [
    "env-1", "env-2", "env-3", "env-4", "env-5", "env-6", "env-7", "env-8",
];

/// Eight who acquire at the same time, each in a container of its own.
fn acquire_eight(remote: &TestRemote, uri: &str) {
    let steps: Vec<Step> = (0..8)
        .map(|_| Step::on(remote, "aws").set("uri", uri))
        .collect();
    let before = remote.count();

    let running: Vec<_> = steps
        .iter()
        .map(|step| step.start_put(json!({"acquire": true})))
        .collect();
    let answers: Vec<_> = running
        .into_iter()
        .map(|running| running.finish())
        .collect();

    let locks: BTreeSet<String> = answers.iter().map(|answer| answer.lock()).collect();
    let versions: BTreeSet<String> = answers.iter().map(|answer| answer.version()).collect();
    assert_eq!(locks, BTreeSet::from(EIGHT.map(str::to_owned)));
    assert_eq!((versions.len(), remote.count() - before), (8, 8));
    for answer in &answers {
        let message = remote.message(&answer.version());
        assert_eq!(
            message.lines().next().unwrap(),
            format!("claiming: {}", answer.lock())
        );
    }
    assert_eq!(remote.list("aws/claimed").len(), 8);
    remote.fsck();
}

#[test]
fn eight_at_once_get_eight_different_locks_over_http() {
    let remote = TestRemote::with_pool("aws", &EIGHT);
    let server = HttpServer::start(remote.root());

    acquire_eight(&remote, &server.uri());
}

#[test]
fn eight_at_once_get_eight_different_locks_over_a_path() {
    let remote = TestRemote::with_pool("aws", &EIGHT);

    acquire_eight(&remote, &remote.uri());
}

#[test]
fn of_eight_for_four_locks_four_wait_until_they_are_released() {
    let remote = TestRemote::with_pool("aws", &EIGHT[..4]);
    let server = HttpServer::start(remote.root());
    let steps: Vec<Step> = (0..8)
        .map(|_| Step::on(&remote, "aws").set("uri", server.uri()))
        .collect();

    let mut running: Vec<_> = steps
        .iter()
        .map(|step| step.start_put(json!({"acquire": true})))
        .collect();
    wait_until("four have got a lock", || {
        running
            .iter_mut()
            .map(Running::is_running)
            .filter(|is| *is)
            .count()
            == 4
    });
    let (waiting, done) = apart(running);
    for one in &waiting {
        one.wait_for_stderr("no lock is free: 4 claimed");
    }
    let first: BTreeSet<String> = done.into_iter().map(|one| one.finish().lock()).collect();
    assert_eq!(first.len(), 4);
    for lock in &first {
        remote_release(&remote, lock);
    }
    let second: BTreeSet<String> = waiting.into_iter().map(|one| one.finish().lock()).collect();

    assert_eq!(second, first);
    assert_eq!(remote.list("aws/claimed").len(), 4);
}

/// Releases through a step: by hand would race with those who wait.
fn remote_release(remote: &TestRemote, lock: &str) {
    let answer = Step::on(remote, "aws").put_with(
        json!({"release": "lock"}),
        &[("lock/name", lock.as_bytes())],
    );
    assert_eq!(answer.lock(), lock);
}

/// Those that run still, and those that have ended.
fn apart(all: Vec<Running>) -> (Vec<Running>, Vec<Running>) {
    let mut sides = (Vec::new(), Vec::new());
    for mut one in all {
        if one.is_running() {
            sides.0.push(one)
        } else {
            sides.1.push(one)
        }
    }
    sides
}

#[test]
fn of_two_who_claim_one_lock_one_gets_it_and_the_other_waits_for_it() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let steps = [Step::on(&remote, "aws"), Step::on(&remote, "aws")];

    let mut running: Vec<_> = steps
        .iter()
        .map(|step| step.start_put(json!({"claim": "env-1"})))
        .collect();
    wait_until("one has got it", || {
        running.iter_mut().any(|one| !one.is_running())
    });
    let (waiting, done) = apart(running);
    assert_eq!((waiting.len(), done.len()), (1, 1));
    waiting[0].wait_for_stderr("`env-1` is claimed");
    remote_release(&remote, "env-1");

    for one in done.into_iter().chain(waiting) {
        assert_eq!(one.finish().lock(), "env-1");
    }
    assert_eq!(
        remote.subjects()[..3],
        ["claiming: env-1", "unclaiming: env-1", "claiming: env-1"]
    );
}

#[test]
fn of_two_identical_builds_in_the_same_second_one_wins() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let server = HttpServer::start(remote.root());
    let steps = [(); 2].map(|()| Step::on(&remote, "aws").set("uri", server.uri()).in_build());

    for round in 0..50 {
        let running = steps
            .each_ref()
            .map(|step| step.start_put(json!({"claim": "env-1", "try": true})));
        let answers = running.map(Running::finish);

        let won: Vec<_> = answers.iter().filter(|one| one.code == Some(0)).collect();
        assert_eq!(won.len(), 1, "round {round}");
        assert_eq!(won[0].version(), remote.head());
        let lost = answers.iter().find(|one| one.code != Some(0)).unwrap();
        lost.assert_failed(&["`env-1` is held", &remote.head()]);
        remote_release(&remote, "env-1");
    }
    assert_eq!(remote.count(), 1 + 2 * 50);
    remote.fsck();
}

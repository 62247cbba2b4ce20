//! Servers whose reading side is behind their pushing side: replicas, mirrors, caches.

use std::time::Duration;

use serde_json::json;

use support::server::gate::{Gate, Place, Request};
use support::server::replica::Replica;
use support::{Step, TestRemote, wait_until};

const LAGS: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_millis(700),
    Duration::from_secs(2),
];

fn step(remote: &TestRemote, uri: String) -> Step {
    Step::on(remote, "aws").set("uri", uri).in_build()
}

fn uri_at(gate: &Gate) -> String {
    format!("http://127.0.0.1:{}/git/locks.git", gate.port())
}

#[test]
fn a_lock_goes_round_on_a_replica_that_lags() {
    for lag in LAGS {
        let remote = TestRemote::with_pool("aws", &["env-1", "env-2"]);
        let replica = Replica::of(&remote);
        let _following = replica.follow(lag);
        let step = step(&remote, replica.uri());

        let claimed = step.put(json!({"acquire": true}));
        let (got, folder) = step.get(&claimed.version());
        let released = step.put_folder("release", &folder);

        assert_eq!(got.lock(), claimed.lock(), "{lag:?}");
        assert_eq!(released.lock(), claimed.lock(), "{lag:?}");
        assert_eq!(remote.list("aws/claimed"), [""; 0]);
        assert_eq!(remote.count(), 3);
    }
}

#[test]
fn a_claim_whose_answer_is_lost_is_found_though_the_view_is_older_than_where_it_began() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2"]);
    let before = remote.head();
    remote.commit(
        "another pool",
        &[support::remote::Hand::Put("x", "100644", b"x")],
    );
    let replica = Replica::of(&remote);
    let gate = Gate::start(replica.port());
    let step = step(&remote, uri_at(&gate));
    let push = gate.stop(Request::Push, Place::BeforeClient);

    let mut running = step.start_put(json!({"acquire": true}));
    push.wait(|| running.is_running());
    // From now on the reading side shows what was before the commit that the claim was made on.
    replica.show(&before);
    push.cut();
    wait_until("the branch is looked at where pushes are taken", || {
        gate.seen(Request::ListToPush) >= 2
    });
    replica.catch_up();
    let answer = running.finish();

    assert_eq!(remote.list("aws/claimed"), [answer.lock()]);
    assert_eq!(remote.head(), answer.version());
    assert_eq!(remote.count(), 3);
}

#[test]
fn a_push_by_somebody_else_that_the_view_does_not_show_yet_is_a_lost_race() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2"]);
    let replica = Replica::of(&remote);
    let theirs = remote.claim_by_hand("aws", "env-1");
    let gate = Gate::start(replica.port());
    let step = step(&remote, uri_at(&gate));

    let running = step.start_put(json!({"claim": "env-2"}));
    wait_until("it has looked several times", || {
        gate.seen(Request::ListToFetch) >= 3
    });
    replica.catch_up();
    let answer = running.finish();

    assert_eq!(answer.lock(), "env-2", "{}", answer.stderr);
    assert_eq!(remote.parents(&answer.version()), [theirs]);
}

#[test]
fn a_branch_that_was_really_rewound_is_gone_by_at_once() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let old = remote.head();
    let step = Step::on(&remote, "aws").in_build();
    let claimed = step.put(json!({"acquire": true}));
    let (_, folder) = step.get(&claimed.version());
    remote.git(&["update-ref", "refs/heads/main", &old]);

    let released = step.put_folder("release", &folder);

    released.assert_failed(&["is not a claim"]);
    assert_eq!(remote.head(), old);
}

#[test]
fn an_abort_gives_back_what_a_view_that_is_behind_does_not_show() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let replica = Replica::of(&remote);
    let _following = replica.follow(Duration::from_secs(1));
    let gate = Gate::start(replica.port());
    let step = step(&remote, uri_at(&gate));
    let push = gate.stop(Request::Push, Place::BeforeClient);

    let mut running = step.start_put(json!({"acquire": true}));
    push.wait(|| running.is_running());
    running.signal("TERM");
    push.cut();
    let answer = running.finish();

    answer.assert_stopped();
    assert_eq!(remote.list("aws/claimed"), [""; 0], "{}", answer.stderr);
}

//! A step that is run again in the same container, after its process vanished.

use serde_json::json;

use crate::support::{Step, TestRemote, wait_until};

/// Holds up the first push of a repository until the test lets it go on, or the repository is gone.
const HOLD: &str =
    "mkdir held 2>/dev/null || exit 0\nwhile [ -e HEAD ] && [ ! -e go-on ]; do sleep 0.05; done";

/// A repository on which a step was killed outright while its push was in this hook, and the container of that step.
fn killed_in(hook: &str, params: &serde_json::Value) -> (TestRemote, Step) {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2", "env-3"]);
    remote.hook(hook, HOLD);
    let step = Step::on(&remote, "aws").in_build();
    let running = step.start_put_with(params.clone(), &[("x/name", b"new"), ("x/metadata", b"m")]);
    wait_until("the push is in the hook", || {
        remote.path().join("held").exists()
    });

    running.kill();

    (remote, step)
}

fn let_go_on(remote: &TestRemote) {
    std::fs::write(remote.path().join("go-on"), "").unwrap();
}

#[test]
fn a_claim_that_landed_and_was_not_told_is_taken_over() {
    for params in [
        json!({"acquire": true}),
        json!({"claim": "env-2"}),
        json!({"add_claimed": "x"}),
    ] {
        let (remote, step) = killed_in("post-receive", &params);
        let claim = remote.head();
        let_go_on(&remote);

        let again = step.put_with(params.clone(), &[("x/name", b"new"), ("x/metadata", b"m")]);

        assert_eq!(again.version(), claim, "{params}");
        assert_eq!(remote.head(), claim);
        assert_eq!(remote.list("aws/claimed"), [again.lock()]);
        assert!(again.stderr.contains("taking it over"), "{}", again.stderr);
        let (got, folder) = step.get(&claim);
        assert_eq!(got.lock(), again.lock());
        assert_eq!(
            std::fs::read_to_string(folder.join("claim"))
                .unwrap()
                .trim(),
            claim
        );
    }
}

#[test]
fn a_push_that_is_still_on_its_way_is_finished_and_not_doubled() {
    let (remote, step) = killed_in("pre-receive", &json!({"acquire": true}));
    let before = remote.head();

    let again = step.put(json!({"acquire": true}));
    let_go_on(&remote);
    wait_until("the held push has ended", || {
        let objects = std::fs::read_dir(remote.path().join("objects")).unwrap();
        objects
            .map(|entry| entry.unwrap().file_name())
            .all(|name| !name.to_string_lossy().starts_with("tmp_objdir"))
    });

    assert_eq!(remote.back(1), before);
    assert_eq!(again.version(), remote.head());
    assert_eq!(remote.list("aws/claimed"), [again.lock()]);
    remote.fsck();
}

#[test]
fn another_build_in_the_same_container_takes_nothing_over() {
    let (remote, step) = killed_in("post-receive", &json!({"acquire": true}));
    let claim = remote.head();
    let_go_on(&remote);

    let other = step.env("BUILD_ID", "4712").put(json!({"acquire": true}));

    assert_ne!(other.version(), claim);
    assert_eq!(remote.list("aws/claimed").len(), 2);
}

#[test]
fn a_claim_that_was_released_meanwhile_is_not_taken_over() {
    let (remote, step) = killed_in("post-receive", &json!({"claim": "env-1"}));
    let claim = remote.head();
    let_go_on(&remote);
    remote.release_by_hand("aws", "env-1");

    let again = step.put(json!({"claim": "env-1"}));

    assert_ne!(again.version(), claim);
    assert_eq!(again.version(), remote.head());
}

#[test]
fn a_taken_over_claim_that_is_aborted_is_given_back() {
    let (remote, step) = killed_in("post-receive", &json!({"claim": "env-1"}));
    let claim = remote.head();
    let_go_on(&remote);
    let folder = step.folder();
    let request = json!({"source": step.source(), "params": {"claim": "env-1"}}).to_string();
    let script = format!(
        "set -o pipefail; {{ exec {} {} | exec 0<&-; }}",
        env!("CARGO_BIN_EXE_out"),
        folder.display()
    );

    let answer = step
        .start_program("bash", &["-c".to_owned(), script], request.as_bytes())
        .finish();

    assert_eq!(answer.code, Some(1), "{}", answer.stderr);
    assert!(
        remote
            .message(&remote.head())
            .contains(&format!("Pool-Claim: {claim}"))
    );
    assert_eq!(remote.list("aws/claimed"), [""; 0]);
}

#[test]
fn two_acquires_of_one_build_stay_two() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2"]);
    let step = Step::on(&remote, "aws").in_build();

    let (first, second) = (
        step.put(json!({"acquire": true})),
        step.put(json!({"acquire": true})),
    );

    assert_ne!(first.lock(), second.lock());
    assert!(!step.temporary().join("pool-resource").exists());
}

//! The put step: what each operation does to the repository, and what it answers.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use support::remote::Hand;
use support::{Answer, Step, TestRemote};

/// The operations whose param is a folder.
const WITH_FOLDER: [&str; 7] = [
    "release",
    "add",
    "add_claimed",
    "remove",
    "update",
    "check",
    "check_unclaimed",
];

/// A pool `aws` with the free lock `env-1`, and steps on it.
fn one_lock() -> (TestRemote, Step) {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let step = Step::on(&remote, "aws");
    (remote, step)
}

/// Puts with a folder that names a lock, and has other metadata than the lock has.
fn put_named(step: &Step, param: &str, lock: &str) -> Answer {
    let files: [(&str, &[u8]); 2] = [("lock/name", lock.as_bytes()), ("lock/metadata", b"new")];
    step.put_with(json!({ param: "lock" }), &files)
}

/// Claims `env-1` and gets the claim, as a pipeline does; gives the version and the folder.
fn claim_and_get(step: &Step) -> (String, PathBuf) {
    let version = step.put(json!({"claim": "env-1"})).version();
    let (got, folder) = step.get(&version);
    assert_eq!(got.lock(), "env-1");
    (version, folder)
}

/// What a put or a get of a lock of `aws` answers.
fn answer_of(version: &str, lock: &str) -> Value {
    json!({
        "version": {"ref": version},
        "metadata": [{"name": "lock_name", "value": lock}, {"name": "pool_name", "value": "aws"}],
    })
}

/// Asserts that the head is the one commit on top of `before`, that it has this message, and that the answer tells it.
#[track_caller]
fn assert_committed(remote: &TestRemote, before: &str, answer: &Answer, lock: &str, said: &str) {
    let head = remote.head();
    let mut json = answer.json();
    // What follows is told of a wait.
    json["metadata"].as_array_mut().unwrap().truncate(2);
    assert_eq!(json, answer_of(&head, lock));
    assert_eq!(remote.parents(&head), [before]);
    assert_eq!(remote.said(&head), said);
    remote.fsck();
}

/// Asserts that the step failed with these words, and that the branch is where it was.
#[track_caller]
fn assert_refused(remote: &TestRemote, before: &str, answer: &Answer, words: &[&str]) {
    answer.assert_failed(words);
    assert_eq!(remote.head(), before);
}

#[test]
fn acquire_claims_a_free_lock() {
    let (remote, step) = one_lock();
    let before = remote.head();

    let answer = step.put(json!({"acquire": true}));

    assert_committed(
        &remote,
        &before,
        &answer,
        "env-1",
        "claiming: env-1\n\nPool-Request: ID",
    );
    assert_eq!(
        remote.tree(),
        [
            "aws/claimed/.gitkeep",
            "aws/claimed/env-1",
            "aws/unclaimed/.gitkeep"
        ]
    );
    assert_eq!(remote.content("aws/claimed/env-1"), b"metadata of env-1");
}

#[test]
fn acquire_takes_any_of_the_free_locks() {
    let locks: Vec<String> = (0..16).map(|n| format!("env-{n}")).collect();
    let names: Vec<&str> = locks.iter().map(String::as_str).collect();
    let remote = TestRemote::with_pool("aws", &names);
    let step = Step::on(&remote, "aws");

    let got: Vec<String> = (0..8)
        .map(|_| step.put(json!({"acquire": true})).lock())
        .collect();

    let mut sorted = got.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!(sorted.len(), 8, "{got:?}");
    assert_eq!(remote.list("aws/claimed"), sorted);
    // Eight draws of sixteen come out in one given order once in 500 million times.
    let mut in_order = locks.clone();
    in_order.sort();
    assert_ne!(got, in_order[..8]);
    assert_ne!(got, locks[..8]);
}

#[test]
fn acquire_waits_for_a_lock_to_be_released() {
    let (remote, step) = one_lock();
    remote.claim_by_hand("aws", "env-1");

    let running = step.start_put(json!({"acquire": true}));
    running.wait_for_stderr("waiting in pool `aws`: no lock is free: 1 claimed");
    let released = remote.release_by_hand("aws", "env-1");
    let answer = running.finish();

    assert_committed(
        &remote,
        &released,
        &answer,
        "env-1",
        "claiming: env-1\n\nPool-Request: ID",
    );
}

#[test]
fn acquire_waits_in_a_pool_without_locks_for_one_to_be_added() {
    let remote = TestRemote::with_pool("aws", &[]);
    let step = Step::on(&remote, "aws");

    let running = step.start_put(json!({"acquire": true}));
    running.wait_for_stderr("no lock is free: 0 claimed");
    remote.commit("one", &[Hand::Put("aws/unclaimed/env-7", "100644", b"")]);

    assert_eq!(running.finish().lock(), "env-7");
}

#[test]
fn claim_claims_the_lock_that_it_names() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2", "env-3"]);
    let before = remote.head();

    let answer = Step::on(&remote, "aws").put(json!({"claim": "env-2"}));

    assert_committed(
        &remote,
        &before,
        &answer,
        "env-2",
        "claiming: env-2\n\nPool-Request: ID",
    );
    assert_eq!(remote.list("aws/claimed"), ["env-2"]);
    assert_eq!(remote.list("aws/unclaimed"), ["env-1", "env-3"]);
}

#[test]
fn claim_waits_for_its_lock_though_others_are_free() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2"]);
    let step = Step::on(&remote, "aws");
    remote.claim_by_hand("aws", "env-1");

    let running = step.start_put(json!({"claim": "env-1"}));
    running.wait_for_stderr("waiting in pool `aws`: `env-1` is claimed");
    remote.release_by_hand("aws", "env-1");
    let answer = running.finish();

    assert_eq!(answer.lock(), "env-1");
    assert_eq!(remote.list("aws/claimed"), ["env-1"]);
}

#[test]
fn claim_of_a_missing_lock_says_so_at_once() {
    let (_remote, step) = one_lock();
    let step = step.set("retry_delay", "1h");

    let running = step.start_put(json!({"claim": "env-9"}));

    running.wait_for_stderr("waiting in pool `aws`: there is no lock `env-9` yet");
    running.kill();
}

#[test]
fn claim_of_a_lock_that_stays_missing_fails_after_three_retry_delays() {
    let (remote, step) = one_lock();
    let step = step.set("retry_delay", "300ms");
    let before = remote.head();
    let started = Instant::now();

    let answer = step.put(json!({"claim": "env-9"}));

    assert!(started.elapsed() >= Duration::from_millis(900));
    assert_refused(
        &remote,
        &before,
        &answer,
        &["there is no lock `env-9` in the pool `aws`"],
    );
}

#[test]
fn claim_of_a_missing_lock_gets_it_when_it_is_added_meanwhile() {
    let (remote, step) = one_lock();
    let step = step.set("retry_delay", "2s");

    let running = step.start_put(json!({"claim": "env-9"}));
    running.wait_for_stderr("there is no lock `env-9` yet");
    remote.commit("nine", &[Hand::Put("aws/unclaimed/env-9", "100644", b"9")]);

    assert_eq!(running.finish().lock(), "env-9");
    assert_eq!(remote.list("aws/claimed"), ["env-9"]);
}

#[test]
fn release_frees_the_lock_that_its_folder_names() {
    let (remote, step) = one_lock();
    let before = remote.claim_by_hand("aws", "env-1");

    let answer = put_named(&step, "release", "env-1");

    assert_committed(
        &remote,
        &before,
        &answer,
        "env-1",
        "unclaiming: env-1\n\nPool-Request: ID",
    );
    assert_eq!(
        remote.tree(),
        [
            "aws/claimed/.gitkeep",
            "aws/unclaimed/.gitkeep",
            "aws/unclaimed/env-1"
        ]
    );
    // The folder's own metadata are not looked at.
    assert_eq!(remote.content("aws/unclaimed/env-1"), b"metadata of env-1");
}

#[test]
fn release_and_remove_without_a_claim_need_a_lock_that_is_claimed() {
    let (remote, step) = one_lock();
    let before = remote.head();

    for param in ["release", "remove"] {
        let free = put_named(&step, param, "env-1");
        let missing = put_named(&step, param, "env-9");

        assert_refused(
            &remote,
            &before,
            &free,
            &["the lock `env-1` is not claimed"],
        );
        assert_refused(
            &remote,
            &before,
            &missing,
            &["there is no lock `env-9` in the pool `aws`"],
        );
    }
}

#[test]
fn add_makes_a_free_lock_and_add_claimed_one_that_is_held() {
    for (param, verb, holding) in [
        ("add", "adding unclaimed", "unclaimed"),
        ("add_claimed", "adding claimed", "claimed"),
    ] {
        let (remote, step) = one_lock();
        let before = remote.head();

        let answer = put_named(&step, param, "env-2");

        let said = format!("{verb}: env-2\n\nPool-Request: ID");
        assert_committed(&remote, &before, &answer, "env-2", &said);
        let file = format!("aws/{holding}/env-2");
        let mut tree = vec![
            "aws/claimed/.gitkeep",
            "aws/unclaimed/.gitkeep",
            "aws/unclaimed/env-1",
            &file,
        ];
        tree.sort();
        assert_eq!(remote.tree(), tree);
        assert_eq!(remote.content(&file), b"new");
        assert_eq!(remote.mode(&file), "100644");
    }
}

#[test]
fn adding_what_is_there_already_changes_nothing_and_gives_the_lock_s_last_commit() {
    let remote = TestRemote::with_pool("aws", &[]);
    let step = Step::on(&remote, "aws");
    let added = put_named(&step, "add", "env-1").version();
    let other = put_named(&step, "add", "env-2").version();

    let answer = put_named(&step, "add", "env-1");

    assert_eq!(answer.json(), answer_of(&added, "env-1"));
    assert_eq!(remote.head(), other);
}

#[test]
fn adding_a_lock_as_claimed_that_somebody_holds_does_not_give_away_his_claim() {
    let remote = TestRemote::with_pool("aws", &[]);
    let held = put_named(&Step::on(&remote, "aws"), "add_claimed", "env-1").version();

    let answer = put_named(&Step::on(&remote, "aws"), "add_claimed", "env-1");

    let words = "the lock `env-1` exists already: it is claimed";
    assert_refused(&remote, &held, &answer, &[words]);
}

#[test]
fn adding_a_lock_with_other_metadata_or_in_another_state_is_refused() {
    for holding in ["claimed", "unclaimed"] {
        let (remote, step) = one_lock();
        if holding == "claimed" {
            remote.claim_by_hand("aws", "env-1");
        }
        let before = remote.head();
        let folder = |metadata| [("lock/name", &b"env-1"[..]), ("lock/metadata", metadata)];

        for param in ["add", "add_claimed"] {
            let answer = step.put_with(json!({param: "lock"}), &folder(b"other"));

            let words =
                format!("the lock `env-1` exists already: it is {holding}, with other metadata");
            assert_refused(&remote, &before, &answer, &[&words]);
        }
        let opposite = if holding == "claimed" {
            "add"
        } else {
            "add_claimed"
        };
        let answer = step.put_with(json!({opposite: "lock"}), &folder(b"metadata of env-1"));

        let words = format!("the lock `env-1` exists already: it is {holding}");
        assert_refused(&remote, &before, &answer, &[&words]);
        assert!(!answer.stderr.contains("other metadata"));
    }
}

#[test]
fn remove_takes_a_claimed_lock_away() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2"]);
    let before = remote.claim_by_hand("aws", "env-1");

    let answer = put_named(&Step::on(&remote, "aws"), "remove", "env-1");

    assert_committed(
        &remote,
        &before,
        &answer,
        "env-1",
        "removing: env-1\n\nPool-Request: ID",
    );
    assert_eq!(
        remote.tree(),
        [
            "aws/claimed/.gitkeep",
            "aws/unclaimed/.gitkeep",
            "aws/unclaimed/env-2"
        ]
    );
}

#[test]
fn update_gives_a_free_lock_new_metadata() {
    let (remote, step) = one_lock();
    let before = remote.head();

    let answer = put_named(&step, "update", "env-1");

    assert_committed(
        &remote,
        &before,
        &answer,
        "env-1",
        "updating: env-1\n\nPool-Request: ID",
    );
    assert_eq!(
        remote.tree(),
        [
            "aws/claimed/.gitkeep",
            "aws/unclaimed/.gitkeep",
            "aws/unclaimed/env-1"
        ]
    );
    assert_eq!(remote.content("aws/unclaimed/env-1"), b"new");
}

#[test]
fn update_adds_a_lock_that_is_not_there() {
    let (remote, step) = one_lock();
    let before = remote.head();

    let answer = put_named(&step, "update", "env-2");

    assert_committed(
        &remote,
        &before,
        &answer,
        "env-2",
        "adding unclaimed: env-2\n\nPool-Request: ID",
    );
    assert_eq!(remote.list("aws/unclaimed"), ["env-1", "env-2"]);
    assert_eq!(remote.content("aws/unclaimed/env-2"), b"new");
}

#[test]
fn update_with_unchanged_metadata_changes_nothing_and_gives_the_lock_s_last_commit() {
    let (remote, step) = one_lock();
    let updated = put_named(&step, "update", "env-1").version();
    let other = put_named(&step, "add", "env-2").version();

    let answer = put_named(&step, "update", "env-1");

    assert_eq!(answer.json(), answer_of(&updated, "env-1"));
    assert_eq!(remote.head(), other);
}

#[test]
fn update_waits_while_the_lock_is_claimed() {
    let (remote, step) = one_lock();
    remote.claim_by_hand("aws", "env-1");

    let running = step.start_put_with(
        json!({"update": "lock"}),
        &[("lock/name", b"env-1"), ("lock/metadata", b"new")],
    );
    running.wait_for_stderr("`env-1` is claimed");
    assert_eq!(remote.content("aws/claimed/env-1"), b"metadata of env-1");
    let released = remote.release_by_hand("aws", "env-1");
    let answer = running.finish();

    assert_committed(
        &remote,
        &released,
        &answer,
        "env-1",
        "updating: env-1\n\nPool-Request: ID",
    );
    assert_eq!(remote.content("aws/unclaimed/env-1"), b"new");
}

#[test]
fn check_waits_until_the_lock_is_unclaimed_and_commits_nothing() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2"]);
    let step = Step::on(&remote, "aws");
    remote.claim_by_hand("aws", "env-1");

    let running = step.start_put_with(json!({"check": "lock"}), &[("lock/name", b"env-1")]);
    running.wait_for_stderr("`env-1` is claimed");
    let released = remote.release_by_hand("aws", "env-1");
    let answer = running.finish();

    assert_eq!(answer.json(), answer_of(&released, "env-1"));
    assert_eq!(remote.head(), released);
}

#[test]
fn check_unclaimed_waits_until_the_lock_is_claimed_and_commits_nothing() {
    let (remote, step) = one_lock();

    let running = step.start_put_with(
        json!({"check_unclaimed": "lock"}),
        &[("lock/name", b"env-1")],
    );
    running.wait_for_stderr("`env-1` is unclaimed");
    let claimed = remote.claim_by_hand("aws", "env-1");
    let answer = running.finish();

    assert_eq!(answer.json(), answer_of(&claimed, "env-1"));
    assert_eq!(remote.head(), claimed);
}

#[test]
fn the_version_of_a_check_is_the_commit_that_last_touched_its_lock() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2"]);
    let step = Step::on(&remote, "aws");
    remote.claim_by_hand("aws", "env-1");
    let freed = remote.release_by_hand("aws", "env-1");
    let taken = remote.claim_by_hand("aws", "env-2");
    let head = put_named(&step, "add", "env-3").version();

    let free = put_named(&step, "check", "env-1");
    let held = put_named(&step, "check_unclaimed", "env-2");

    assert_eq!(free.json(), answer_of(&freed, "env-1"));
    assert_eq!(held.json(), answer_of(&taken, "env-2"));
    assert_eq!(remote.head(), head);
}

#[test]
fn check_and_check_unclaimed_of_a_missing_lock_fail_at_once() {
    let (remote, step) = one_lock();
    let step = step.set("retry_delay", "1h");
    let before = remote.head();

    for param in ["check", "check_unclaimed"] {
        let answer = put_named(&step, param, "env-9");

        assert_refused(
            &remote,
            &before,
            &answer,
            &["there is no lock `env-9` in the pool `aws`"],
        );
    }
}

#[test]
fn release_and_remove_with_a_claim_that_stands_say_which_claim_they_end() {
    for (param, verb, left) in [
        ("release", "unclaiming", vec!["env-1"]),
        ("remove", "removing", vec![]),
    ] {
        let (remote, step) = one_lock();
        let (claim, folder) = claim_and_get(&step);

        let answer = step.put_folder(param, &folder);

        let said = format!("{verb}: env-1\n\nPool-Request: ID\nPool-Claim: {claim}");
        assert_committed(&remote, &claim, &answer, "env-1", &said);
        assert_eq!(remote.list("aws/claimed"), [""; 0]);
        assert_eq!(remote.list("aws/unclaimed"), left);
    }
}

#[test]
fn a_lock_that_was_added_claimed_can_be_released_with_its_claim() {
    let (remote, step) = one_lock();
    let added = put_named(&step, "add_claimed", "env-2").version();
    let (_, folder) = step.get(&added);

    let answer = step.put_folder("release", &folder);

    let said = format!("unclaiming: env-2\n\nPool-Request: ID\nPool-Claim: {added}");
    assert_committed(&remote, &added, &answer, "env-2", &said);
}

#[test]
fn a_second_release_or_remove_with_the_same_claim_changes_nothing() {
    for param in ["release", "remove"] {
        let remote = TestRemote::with_pool("aws", &["env-1", "env-2"]);
        let step = Step::on(&remote, "aws");
        let (_, folder) = claim_and_get(&step);
        let first = step.put_folder(param, &folder);
        let later = step.put(json!({"claim": "env-2"})).version();

        let second = step.put_folder(param, &folder);

        assert_eq!(second.json(), first.json());
        assert_eq!(remote.head(), later);
    }
}

#[test]
fn a_second_release_leaves_the_next_holder_alone() {
    let (remote, step) = one_lock();
    let (_, folder) = claim_and_get(&step);
    let first = step.put_folder("release", &folder);
    let next = Step::on(&remote, "aws")
        .put(json!({"claim": "env-1"}))
        .version();

    let second = step.put_folder("release", &folder);

    assert_eq!(second.json(), first.json());
    assert_eq!(remote.head(), next);
    assert_eq!(remote.list("aws/claimed"), ["env-1"]);
}

#[test]
fn release_of_a_claim_that_an_operator_ended_changes_nothing_while_the_lock_is_free() {
    let (remote, step) = one_lock();
    let (_, folder) = claim_and_get(&step);
    let freed = remote.release_by_hand("aws", "env-1");

    let answer = step.put_folder("release", &folder);

    assert_eq!(answer.json(), answer_of(&freed, "env-1"));
    assert_eq!(remote.head(), freed);
}

#[test]
fn a_former_holder_can_do_nothing_to_the_next_holder_s_lock() {
    let (remote, step) = one_lock();
    let (claim, folder) = claim_and_get(&step);
    std::fs::write(folder.join("metadata"), "mine").unwrap();
    let freed = remote.release_by_hand("aws", "env-1");
    let next = Step::on(&remote, "aws")
        .put(json!({"claim": "env-1"}))
        .version();

    for param in ["release", "remove", "update"] {
        let answer = step.put_folder(param, &folder);

        let words = format!(
            "the claim {claim} of `env-1` has ended with the commit {freed}, and someone else holds it now; nothing was changed"
        );
        assert_refused(&remote, &next, &answer, &[&words]);
    }
    assert_eq!(remote.content("aws/claimed/env-1"), b"metadata of env-1");
}

#[test]
fn update_by_the_holder_changes_the_metadata_in_place_and_the_claim_goes_on() {
    let (remote, step) = one_lock();
    let (claim, folder) = claim_and_get(&step);
    std::fs::write(folder.join("metadata"), "mine").unwrap();

    let answer = step.put_folder("update", &folder);

    let said = format!("updating: env-1\n\nPool-Request: ID\nPool-Claim: {claim}");
    assert_committed(&remote, &claim, &answer, "env-1", &said);
    assert_eq!(remote.content("aws/claimed/env-1"), b"mine");
    assert_eq!(remote.list("aws/unclaimed"), [""; 0]);

    let updated = answer.version();
    let (got, again) = step.get(&claim);
    assert_eq!(got.lock(), "env-1");
    let released = step.put_folder("release", &again);

    let said = format!("unclaiming: env-1\n\nPool-Request: ID\nPool-Claim: {claim}");
    assert_committed(&remote, &updated, &released, "env-1", &said);
    assert_eq!(remote.content("aws/unclaimed/env-1"), b"mine");
}

#[test]
fn update_by_the_holder_with_unchanged_metadata_changes_nothing() {
    let (remote, step) = one_lock();
    let (claim, folder) = claim_and_get(&step);

    let answer = step.put_folder("update", &folder);

    assert_eq!(answer.json(), answer_of(&claim, "env-1"));
    assert_eq!(remote.head(), claim);
}

#[test]
fn update_of_a_holder_whose_claim_has_ended_is_refused() {
    let (remote, step) = one_lock();
    let (claim, folder) = claim_and_get(&step);
    std::fs::write(folder.join("metadata"), "mine").unwrap();
    let released = step.put_folder("release", &folder).version();

    let answer = step.put_folder("update", &folder);

    let words = format!("the claim {claim} of `env-1` has ended with the commit {released};");
    assert_refused(&remote, &released, &answer, &[&words]);
    assert_eq!(remote.content("aws/unclaimed/env-1"), b"metadata of env-1");
}

#[test]
fn an_id_that_is_not_a_claim_of_the_lock_proves_nothing() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2"]);
    let step = Step::on(&remote, "aws");
    let first = remote.head();
    let other = remote.claim_by_hand("aws", "env-2");
    remote.claim_by_hand("aws", "env-1");
    let updated = remote.commit("e", &[Hand::Put("aws/claimed/env-1", "100644", b"edited")]);
    let unknown = "0123456789abcdef0123456789abcdef01234567";

    for id in [first.as_str(), &other, &updated, unknown] {
        for param in ["release", "remove", "update"] {
            let files: [(&str, &[u8]); 3] = [
                ("lock/name", b"env-1"),
                ("lock/metadata", b"new"),
                ("lock/claim", id.as_bytes()),
            ];

            let answer = step.put_with(json!({ param: "lock" }), &files);

            let words = format!("{id} is not a claim of `env-1` on this branch");
            assert_refused(&remote, &updated, &answer, &[&words]);
        }
    }
}

#[test]
fn a_claim_file_without_an_id_in_it_is_refused() {
    let (remote, step) = one_lock();
    let before = remote.claim_by_hand("aws", "env-1");

    for id in ["", "none", &before[1..], &format!("{before}0")] {
        for param in ["release", "remove", "update"] {
            let files: [(&str, &[u8]); 3] = [
                ("lock/name", b"env-1"),
                ("lock/metadata", b"new"),
                ("lock/claim", id.as_bytes()),
            ];

            let answer = step.put_with(json!({ param: "lock" }), &files);

            let words = ["lock/claim`", "does not hold the id of a claim"];
            assert_refused(&remote, &before, &answer, &words);
        }
    }
}

#[test]
fn an_operation_without_its_folder_or_file_names_the_path() {
    let (remote, step) = one_lock();
    let before = remote.claim_by_hand("aws", "env-1");

    for param in WITH_FOLDER {
        let no_folder = step.put(json!({ param: "lock" }));
        let no_name = step.put_with(json!({ param: "lock" }), &[("lock/metadata", b"new")]);

        let words = [&format!("`params.{param}` must be a folder")[..], "`lock`"];
        assert_refused(&remote, &before, &no_folder, &words);
        assert_refused(
            &remote,
            &before,
            &no_name,
            &["cannot read `", "/lock/name`"],
        );
    }
    for param in ["add", "add_claimed", "update"] {
        let answer = step.put_with(json!({ param: "lock" }), &[("lock/name", b"env-9")]);

        let words = ["cannot read `", "/lock/metadata`"];
        assert_refused(&remote, &before, &answer, &words);
    }
}

#[test]
fn a_folder_may_be_deep_among_the_inputs_and_start_with_a_slash() {
    let (remote, step) = one_lock();

    for (param, folder) in [("add", "/task/out/lock/"), ("add_claimed", "task/out/lock")] {
        let lock = format!("{param}-ed");
        let answer = step.put_with(
            json!({ param: folder }),
            &[
                ("task/out/lock/name", lock.as_bytes()),
                ("task/out/lock/metadata", b""),
            ],
        );

        assert_eq!(answer.lock(), lock);
    }
    assert_eq!(remote.list("aws/claimed"), ["add_claimed-ed"]);
    assert_eq!(remote.list("aws/unclaimed"), ["add-ed", "env-1"]);
}

/// A pool whose lock `env-1` has a file in both folders.
fn in_both(others: &[&str]) -> (TestRemote, Step) {
    let remote = TestRemote::with_pool("aws", others);
    remote.commit(
        "damage",
        &[
            Hand::Put("aws/claimed/env-1", "100644", b"held"),
            Hand::Put("aws/unclaimed/env-1", "100644", b"free"),
        ],
    );
    let step = Step::on(&remote, "aws");
    (remote, step)
}

#[test]
fn acquire_passes_a_damaged_lock_over() {
    let (remote, step) = in_both(&["env-2"]);

    assert_eq!(step.put(json!({"acquire": true})).lock(), "env-2");

    let running = step.start_put(json!({"acquire": true}));
    running.wait_for_stderr(
        "no lock is free: 1 claimed, and damaged (in both claimed/ and unclaimed/): `env-1`",
    );
    remote.release_by_hand("aws", "env-2");
    assert_eq!(running.finish().lock(), "env-2");
}

#[test]
fn a_damaged_lock_is_refused_and_named() {
    let (remote, step) = in_both(&["env-2"]);
    let before = remote.head();
    let words = ["the lock `env-1` is damaged: it is in both claimed/ and unclaimed/"];

    assert_refused(
        &remote,
        &before,
        &step.put(json!({"claim": "env-1"})),
        &words,
    );
    for param in ["release", "check", "check_unclaimed", "add", "add_claimed"] {
        assert_refused(&remote, &before, &put_named(&step, param, "env-1"), &words);
    }
}

#[test]
fn remove_takes_both_files_of_a_damaged_lock_away() {
    let (remote, step) = in_both(&["env-2"]);
    let before = remote.head();

    let answer = put_named(&step, "remove", "env-1");

    assert_committed(
        &remote,
        &before,
        &answer,
        "env-1",
        "removing: env-1\n\nPool-Request: ID",
    );
    assert_eq!(
        remote.tree(),
        [
            "aws/claimed/.gitkeep",
            "aws/unclaimed/.gitkeep",
            "aws/unclaimed/env-2"
        ]
    );
}

#[test]
fn update_makes_one_free_lock_of_a_damaged_one() {
    // Also when one of the files has the new metadata already.
    for metadata in ["new", "held", "free"] {
        let (remote, step) = in_both(&[]);
        let before = remote.head();

        let answer = step.put_with(
            json!({"update": "lock"}),
            &[
                ("lock/name", b"env-1"),
                ("lock/metadata", metadata.as_bytes()),
            ],
        );

        assert_committed(
            &remote,
            &before,
            &answer,
            "env-1",
            "updating: env-1\n\nPool-Request: ID",
        );
        assert_eq!(
            remote.tree(),
            [
                "aws/claimed/.gitkeep",
                "aws/unclaimed/.gitkeep",
                "aws/unclaimed/env-1"
            ]
        );
        assert_eq!(remote.content("aws/unclaimed/env-1"), metadata.as_bytes());
    }
}

#[test]
fn a_folder_in_the_place_of_a_claimed_lock_is_never_overwritten() {
    let (remote, step) = one_lock();
    let before = remote.commit("f", &[Hand::Put("aws/claimed/env-1/x", "100644", b"x")]);
    let words = ["the lock `env-1` is damaged", "in its place in claimed/"];

    assert_refused(
        &remote,
        &before,
        &step.put(json!({"claim": "env-1"})),
        &words,
    );
    for param in WITH_FOLDER {
        assert_refused(&remote, &before, &put_named(&step, param, "env-1"), &words);
    }
}

#[test]
fn a_missing_folder_or_keep_file_is_made_with_the_next_change() {
    let whole = [
        "aws/claimed/.gitkeep",
        "aws/claimed/env-1",
        "aws/unclaimed/.gitkeep",
    ];
    for keep in [None, Some("claimed"), Some("unclaimed")] {
        let remote = TestRemote::empty("main");
        let mut hands = vec![Hand::Put("aws/unclaimed/env-1", "100644", b"m")];
        let path = keep.map(|folder| format!("aws/{folder}/.gitkeep"));
        hands.extend(path.as_deref().map(|path| Hand::Put(path, "100644", b"")));
        let before = remote.commit("pool", &hands);

        let answer = Step::on(&remote, "aws").put(json!({"acquire": true}));

        assert_committed(
            &remote,
            &before,
            &answer,
            "env-1",
            "claiming: env-1\n\nPool-Request: ID",
        );
        assert_eq!(remote.tree(), whole);
        for keep in ["aws/claimed/.gitkeep", "aws/unclaimed/.gitkeep"] {
            assert_eq!(remote.content(keep), b"");
            assert_eq!(remote.mode(keep), "100644");
        }
    }
}

#[test]
fn an_operation_that_changes_nothing_makes_no_keep_file_either() {
    let remote = TestRemote::empty("main");
    let before = remote.commit("p", &[Hand::Put("aws/unclaimed/env-1", "100644", b"new")]);
    let step = Step::on(&remote, "aws");

    for param in ["add", "update", "check"] {
        assert_eq!(put_named(&step, param, "env-1").version(), before);
    }

    assert_eq!(remote.head(), before);
}

#[test]
fn a_keep_file_with_something_in_it_is_left_as_it_is() {
    let (remote, step) = one_lock();
    remote.commit(
        "k",
        &[Hand::Put("aws/claimed/.gitkeep", "100644", b"why\n")],
    );

    step.put(json!({"acquire": true})).version();

    assert_eq!(remote.content("aws/claimed/.gitkeep"), b"why\n");
}

/// Who a commit says made and committed it.
fn people(remote: &TestRemote, commit: &str) -> Vec<String> {
    let people = remote.git(&["log", "-1", "--format=%an%n%ae%n%cn%n%ce", commit]);
    people.lines().map(str::to_owned).collect()
}

/// A source's `git_config` with a user.
fn user(name: &str, email: &str) -> Value {
    json!([{"name": "user.name", "value": name}, {"name": "user.email", "value": email}])
}

#[test]
fn commits_are_made_by_the_resource_when_no_user_is_configured() {
    let (remote, step) = one_lock();

    let version = step.put(json!({"acquire": true})).version();

    let (name, email) = ("CI Pool Resource", "ci-pool@localhost");
    assert_eq!(people(&remote, &version), [name, email, name, email]);
}

#[test]
fn commits_are_made_by_the_configured_user() {
    let (remote, step) = one_lock();
    let step = step.set("git_config", user("Renée Ops", "ops@example.com"));

    let version = step.put(json!({"acquire": true})).version();

    let (name, email) = ("Renée Ops", "ops@example.com");
    assert_eq!(people(&remote, &version), [name, email, name, email]);
}

#[test]
fn a_name_or_an_email_alone_leaves_the_other_at_its_default() {
    for (key, expected) in [
        ("user.name", ["me", "ci-pool@localhost"]),
        ("user.email", ["CI Pool Resource", "me"]),
    ] {
        let (remote, step) = one_lock();
        let step = step.set("git_config", json!([{"name": key, "value": "me"}]));

        let version = step.put(json!({"acquire": true})).version();

        assert_eq!(people(&remote, &version)[..2], expected);
    }
}

#[test]
fn a_user_with_the_characters_of_a_shell_is_taken_literally() {
    let (remote, step) = one_lock();
    let marker = remote.root().join("marker");
    let touch = format!("touch {}", marker.display());
    for text in [
        format!("a \"$({touch})\" b"),
        format!("a '; {touch}; ' b"),
        format!("a `{touch}` $HOME ${{HOME}} %h b"),
        format!("a \" && {touch} && echo \" b"),
        format!("a \\\"; {touch} #b"),
        format!("-c core.pager={touch}"),
    ] {
        let acquiring = Step::on(&remote, "aws").set("git_config", user(&text, &text));

        let version = acquiring.put(json!({"acquire": true})).version();

        assert_eq!(people(&remote, &version), vec![text.as_str(); 4]);
        assert!(!marker.exists(), "{text} was run");
        put_named(&step, "release", "env-1").version();
    }
    remote.fsck();
}

#[test]
fn other_settings_are_not_run_by_a_shell_either() {
    let (remote, step) = one_lock();
    let marker = remote.root().join("marker");
    let touch = format!("touch {}", marker.display());
    let hostile = format!("x\"; {touch}; $({touch})");
    let settings = json!([
        {"name": hostile, "value": "x"},
        {"name": "core.sshCommand", "value": hostile},
        {"name": "core.fsmonitor", "value": touch},
        {"name": "core.hooksPath", "value": hostile},
        {"name": "credential.helper", "value": format!("!{touch}")},
        {"name": "uploadpack.packObjectsHook", "value": touch},
    ]);
    let step = step.set("git_config", settings);

    let lock = step.put(json!({"acquire": true})).lock();

    assert_eq!(lock, "env-1");
    assert!(!marker.exists());
}

#[test]
fn a_user_without_angle_brackets_is_what_git_makes_of_one_with_them() {
    let (remote, step) = one_lock();
    let step = step.set("git_config", user("Ops <of> web", "<ops@example.com>"));

    let version = step.put(json!({"acquire": true})).version();

    let (name, email) = ("Ops of web", "ops@example.com");
    assert_eq!(people(&remote, &version), [name, email, name, email]);
}

#[test]
fn a_user_cannot_forge_lines_of_a_commit() {
    let (remote, step) = one_lock();
    let step = step.set(
        "git_config",
        user("a\nparent 0", "b> 1 +0000\ncommitter x\n\nForged"),
    );

    let answer = step.put(json!({"acquire": true}));

    let version = answer.version();
    assert_eq!(remote.said(&version), "claiming: env-1\n\nPool-Request: ID");
    let object = remote.git(&["cat-file", "commit", &version]);
    let keys: Vec<&str> = object
        .lines()
        .take_while(|line| !line.is_empty())
        .map(|line| line.split(' ').next().unwrap())
        .collect();
    assert_eq!(keys, ["tree", "parent", "author", "committer"]);
    remote.fsck();
}

#[test]
fn a_put_leaves_nothing_in_its_inputs_or_in_the_temporary_folder() {
    let (_remote, step) = one_lock();
    let inputs = step.folder();
    let names = |folder: &Path| -> Vec<PathBuf> {
        std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect()
    };

    let running = step.start_put_in(&inputs, json!({"acquire": true}));
    assert_eq!(running.finish().lock(), "env-1");

    assert!(names(&inputs).is_empty());
    assert_eq!(names(step.temporary()), [inputs]);
}

#[test]
fn the_answer_is_one_line_of_json() {
    let (_remote, step) = one_lock();

    let answer = step.put(json!({"acquire": true}));

    assert_eq!(answer.stdout, format!("{}\n", answer.stdout.trim()));
    assert_eq!(answer.stdout.lines().count(), 1);
    let first = format!("{{\"version\":{{\"ref\":\"{}\"}}", answer.version());
    assert!(answer.stdout.starts_with(&first), "{}", answer.stdout);
}

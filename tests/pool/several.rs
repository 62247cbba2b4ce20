//! Acquires that say what they need: locks by their metadata, several at once.

use std::path::Path;

use serde_json::{Value, json};

use support::path_of;
use support::remote::Hand;
use support::{Step, TestRemote};

fn list(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn text(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap()
}

/// Three locks, two of them in Europe, one with a GPU.
fn described() -> TestRemote {
    let remote = TestRemote::with_pool("aws", &["plain"]);
    remote.commit(
        "described",
        &[
            Hand::Put("aws/unclaimed/eu", "100644", b"region: eu\nsize: 2\n"),
            Hand::Put(
                "aws/unclaimed/gpu",
                "100644",
                b"{\"region\": \"eu\", \"size\": 8, \"tags\": {\"gpu\": true}}",
            ),
            Hand::Put("aws/unclaimed/us", "100644", b"region: us\n"),
        ],
    );
    remote
}

#[test]
fn an_acquire_gets_a_lock_whose_metadata_is_as_it_needs() {
    for (wanted, lock) in [
        (json!({"region": "us"}), "us"),
        (json!({"tags.gpu": true}), "gpu"),
        (json!({"tags": {"gpu": true}, "region": "eu"}), "gpu"),
        (json!({"size": 2}), "eu"),
        (json!({"size": "8"}), "gpu"),
    ] {
        let remote = described();
        let answer = Step::on(&remote, "aws").put(json!({"acquire": true, "match": wanted}));
        assert_eq!(answer.lock(), lock, "{wanted}");
    }
}

#[test]
fn a_lock_that_will_do_is_waited_for_though_others_are_free() {
    let remote = described();
    let step = Step::on(&remote, "aws");
    remote.claim_by_hand("aws", "us");
    let running = step.start_put(json!({"acquire": true, "match": {"region": "us"}}));
    running.wait_for_stderr("no lock is free: 1 claimed");

    remote.release_by_hand("aws", "us");

    assert_eq!(running.finish().lock(), "us");
}

#[test]
fn what_no_lock_of_the_pool_can_be_is_refused_at_once() {
    let remote = described();
    let step = Step::on(&remote, "aws");

    step.put(json!({"acquire": true, "match": {"region": "moon"}}))
        .assert_failed(&[
            "1 wanted, and the pool `aws` has none whose metadata is as `match` says",
        ]);
    step.put(json!({"acquire": true, "count": 5}))
        .assert_failed(&["5 wanted, and the pool `aws` has 4"]);
    for wrong in [
        json!({"match": "x"}),
        json!({"match": {"a": []}}),
        json!({"match": {"any_of": [7]}}),
        json!({"match": {"a=b": 1}}),
        json!({"match": {"a": "b\nc"}}),
        json!({"match": {"": 1}}),
    ] {
        let mut params: Value = wrong;
        params["acquire"] = true.into();
        step.put(params).assert_failed(&["`params.match"]);
    }
    for wrong in [json!(0), json!(-1), json!(1.5), json!("two"), json!(1001)] {
        step.put(json!({"acquire": true, "count": wrong}))
            .assert_failed(&["`params.count`"]);
    }
    assert_eq!(remote.list("aws/claimed"), [""; 0]);
}

#[test]
fn several_locks_are_claimed_in_one_commit_fetched_together_and_released_together() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2", "env-3"]);
    let step = Step::on(&remote, "aws").in_build();
    let before = remote.head();

    let answer = step.put(json!({"acquire": true, "count": 2}));

    let claim = answer.version();
    assert_eq!(remote.parents(&claim), [before]);
    let locks = remote.list("aws/claimed");
    assert_eq!((locks.len(), answer.lock()), (2, locks.join(", ")));
    let subject = remote.subjects()[0].clone();
    assert_eq!(
        subject,
        format!("ops/web/deploy build 12 claiming: {}", locks.join(", "))
    );
    let (got, folder) = step.get(&claim);
    assert_eq!(got.lock(), locks.join(", "));
    assert_eq!(
        list(&folder),
        ["claim", "claim_number", "locks", "metadata", "name"]
    );
    assert_eq!(text(&folder.join("name")), format!("{}\n", locks[0]));
    assert_eq!(list(&folder.join("locks")), locks);
    for lock in &locks {
        let inside = folder.join("locks").join(lock);
        assert_eq!(list(&inside), ["claim", "claim_number", "metadata", "name"]);
        assert_eq!(
            text(&inside.join("metadata")),
            format!("metadata of {lock}")
        );
        assert_eq!(text(&inside.join("claim")), format!("{claim}\n"));
    }

    let released = step.put_folder("release", &folder);

    assert_eq!(released.version(), remote.head());
    assert_eq!(remote.back(1), claim);
    assert_eq!(remote.list("aws/claimed"), [""; 0]);
    let again = step.put_folder("release", &folder);
    assert_eq!(
        again.version(),
        released.version(),
        "it is released already"
    );
    remote.fsck();
}

#[test]
fn one_of_several_can_be_released_before_the_others() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2", "env-3"]);
    let step = Step::on(&remote, "aws");
    let claim = step.put(json!({"acquire": true, "count": 3})).version();
    let (_, folder) = step.get(&claim);

    let one = step.put_folder("release", &folder.join("locks/env-1"));

    assert_eq!(one.lock(), "env-1");
    assert_eq!(remote.list("aws/claimed"), ["env-2", "env-3"]);
    let (_, rest) = step.get(&claim);
    assert_eq!(list(&rest.join("locks")), ["env-2", "env-3"]);
    assert_eq!(text(&rest.join("name")), "env-2\n");
    // Somebody else has the first one meanwhile; it stays his.
    remote.claim_by_hand("aws", "env-1");
    let all = step.put_folder("release", &folder);
    assert_eq!(all.code, Some(0), "{}", all.stderr);
    assert_eq!(remote.list("aws/claimed"), ["env-1"]);
}

#[test]
fn a_release_of_several_frees_what_is_still_ours_and_tells_of_what_is_not() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2"]);
    let step = Step::on(&remote, "aws");
    let claim = step.put(json!({"acquire": true, "count": 2})).version();
    let (_, folder) = step.get(&claim);
    remote.release_by_hand("aws", "env-1");
    remote.claim_by_hand("aws", "env-1");

    step.put_folder("release", &folder)
        .assert_failed(&["of `env-1` has ended", "someone else holds it now"]);

    assert_eq!(remote.list("aws/claimed"), ["env-1"]);
    assert_eq!(remote.list("aws/unclaimed"), ["env-2"]);
}

#[test]
fn too_few_free_locks_are_not_taken_but_waited_for() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2"]);
    remote.claim_by_hand("aws", "env-1");
    let step = Step::on(&remote, "aws");
    let running = step.start_put(json!({"acquire": true, "count": 2}));
    running.wait_for_stderr("1 of the 2 locks that are wanted are free: 1 claimed");
    assert_eq!(remote.list("aws/claimed"), ["env-1"]);

    // Nobody behind it gets the one that is free.
    Step::on(&remote, "aws")
        .put(json!({"acquire": true, "try": true}))
        .assert_failed(&["`env-2` is free, for the one before us in line"]);
    remote.release_by_hand("aws", "env-1");

    assert_eq!(running.finish().lock(), "env-1, env-2");
}

#[test]
fn several_that_nobody_was_told_of_are_all_given_back() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2"]);
    let step = Step::on(&remote, "aws");
    let folder = step.folder();
    let request = json!({"source": step.source(), "params": {"acquire": true, "count": 2}});
    let script = format!(
        "set -o pipefail; {{ exec {} {} | exec 0<&-; }}",
        path_of("out"),
        folder.display()
    );

    let answer = step
        .start_program(
            "bash",
            &["-c".to_owned(), script],
            request.to_string().as_bytes(),
        )
        .finish();

    assert_eq!(answer.code, Some(1), "{}", answer.stderr);
    assert_eq!(remote.list("aws/unclaimed"), ["env-1", "env-2"]);
    assert_eq!(remote.subjects()[0], "unclaiming: env-1, env-2");
}

#[test]
fn metadata_of_several_documents_is_passed_over_and_that_is_said() {
    let remote = TestRemote::with_pool("aws", &[]);
    let files = [
        Hand::Put(
            "aws/unclaimed/odd",
            "100644",
            b"k8s: 1.30\n---\nk8s: 1.30\n",
        ),
        Hand::Put("aws/unclaimed/right", "100644", b"k8s: 1.30\n"),
    ];
    remote.commit("two", &files);
    let step = Step::on(&remote, "aws");

    step.put(json!({"acquire": true, "match": {"k8s": "1.3"}}))
        .assert_failed(&["has none whose metadata is as `match` says"]);
    let answer = step.put(json!({"acquire": true, "match": {"k8s": "1.30"}}));

    assert_eq!(answer.lock(), "right");
    let note = "note: the metadata of `odd` has several YAML documents, and only one can be read, so that `match` passes it over";
    assert!(
        answer.stderr.lines().any(|line| line == note),
        "{}",
        answer.stderr
    );
    step.put(json!({"release": "x"}))
        .assert_failed(&["`x` is none"]);
}

//! What a get writes and answers, for each kind of version and for claims that stand or are over.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use support::remote::Hand;
use support::{Answer, Step, TestRemote};

const NO_LONGER: &str = "error: lock instance is no longer acquired";

/// Runs `in` with any version and params.
fn get_with(step: &Step, version: Value, params: Value) -> (Answer, PathBuf) {
    let folder = step.folder();
    let request = json!({"source": step.source(), "version": version, "params": params});
    let args = [folder.as_os_str().to_owned()];
    (
        step.run("in", &args, request.to_string().as_bytes()),
        folder,
    )
}

/// The names in a folder, hidden ones too, sorted.
fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn read(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).unwrap()
}

/// Asserts that a get gave `lock` at `version`, as the files and the answer say it.
#[track_caller]
fn assert_got(got: &(Answer, PathBuf), version: &str, lock: &str) {
    let (answer, folder) = got;
    let mut json = answer.json();
    // The story of the version comes after.
    json["metadata"].as_array_mut().unwrap().truncate(2);
    assert_eq!(
        json,
        json!({
            "version": {"ref": version},
            "metadata": [{"name": "lock_name", "value": lock}, {"name": "pool_name", "value": "aws"}],
        })
    );
    assert_eq!(read(folder, "name"), format!("{lock}\n"));
}

/// Asserts that a get failed because the claim is over, and wrote nothing.
#[track_caller]
fn assert_over(got: &(Answer, PathBuf)) {
    let (answer, folder) = got;
    answer.assert_failed(&["lock instance is no longer acquired"]);
    assert!(
        answer.stderr.lines().any(|line| line == NO_LONGER),
        "{}",
        answer.stderr
    );
    assert_eq!(files(folder), [""; 0]);
}

/// Moves the branch to a commit, as a push by hand does.
fn move_to(remote: &TestRemote, commit: &str) {
    remote.git(&["update-ref", "refs/heads/main", commit]);
}

fn hold(lock: &str) -> (String, String) {
    (
        format!("aws/unclaimed/{lock}"),
        format!("aws/claimed/{lock}"),
    )
}

#[test]
fn a_claim_is_fetched_as_its_name_metadata_and_id() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let step = Step::on(&remote, "aws");
    let claim = step.put(json!({"acquire": true})).version();

    let got = step.get(&claim);

    assert_got(&got, &claim, "env-1");
    assert_eq!(files(&got.1), ["claim", "claim_number", "metadata", "name"]);
    assert_eq!(read(&got.1, "metadata"), "metadata of env-1");
    assert_eq!(read(&got.1, "claim"), format!("{claim}\n"));
}

#[test]
fn a_claim_by_hand_is_fetched_like_any_other() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2"]);
    let claim = remote.claim_by_hand("aws", "env-2");
    let step = Step::on(&remote, "aws");

    let got = step.get(&claim);

    assert_got(&got, &claim, "env-2");
    assert_eq!(read(&got.1, "claim"), format!("{claim}\n"));
}

#[test]
fn metadata_is_written_byte_for_byte() {
    let remote = TestRemote::with_pool("aws", &[]);
    let bytes: Vec<u8> = (0..=255).chain(*b"\r\n\n \0").collect();
    let added = remote.commit(
        "adding",
        &[Hand::Put("aws/unclaimed/env-1", "100644", &bytes)],
    );
    let step = Step::on(&remote, "aws");

    let (answer, folder) = step.get(&added);

    assert_eq!(answer.lock(), "env-1");
    assert_eq!(std::fs::read(folder.join("metadata")).unwrap(), bytes);
}

#[test]
fn a_symlink_is_fetched_as_its_text_and_never_followed() {
    let remote = TestRemote::with_pool("aws", &[]);
    let target = remote.path().join("HEAD");
    let target = target.to_str().unwrap();
    let link = Hand::Put("aws/unclaimed/env-1", "120000", target.as_bytes());
    let added = remote.commit("adding", &[link]);
    let step = Step::on(&remote, "aws");

    let (answer, folder) = step.get(&added);

    assert_eq!(answer.lock(), "env-1");
    assert_eq!(read(&folder, "metadata"), target);
    assert!(
        !std::fs::symlink_metadata(folder.join("metadata"))
            .unwrap()
            .is_symlink()
    );
}

#[test]
fn a_release_is_fetched_without_a_claim() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2"]);
    let step = Step::on(&remote, "aws");
    let (_, held) = step.get(&step.put(json!({"claim": "env-2"})).version());
    let released = step.put_folder("release", &held).version();

    let got = step.get(&released);

    assert_got(&got, &released, "env-2");
    assert_eq!(files(&got.1), ["metadata", "name", "no-claim"]);
    assert_eq!(read(&got.1, "metadata"), "metadata of env-2");
}

#[test]
fn a_release_is_fetched_even_after_the_lock_was_claimed_again() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    remote.claim_by_hand("aws", "env-1");
    let released = remote.release_by_hand("aws", "env-1");
    remote.claim_by_hand("aws", "env-1");
    let step = Step::on(&remote, "aws");

    let got = step.get(&released);

    assert_got(&got, &released, "env-1");
    assert_eq!(files(&got.1), ["metadata", "name", "no-claim"]);
}

#[test]
fn an_added_lock_is_fetched_without_a_claim_and_one_added_claimed_with_one() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let step = Step::on(&remote, "aws");
    let files_of =
        |name: &'static [u8]| [("lock/name", name), ("lock/metadata", b"new".as_slice())];
    let added = step
        .put_with(json!({"add": "lock"}), &files_of(b"free"))
        .version();
    let claimed = step
        .put_with(json!({"add_claimed": "lock"}), &files_of(b"held"))
        .version();

    let free = step.get(&added);
    let held = step.get(&claimed);

    assert_got(&free, &added, "free");
    assert_eq!(files(&free.1), ["metadata", "name", "no-claim"]);
    assert_got(&held, &claimed, "held");
    assert_eq!(read(&held.1, "claim"), format!("{claimed}\n"));
    assert_eq!(read(&held.1, "metadata"), "new");
}

#[test]
fn an_update_is_fetched_with_the_new_metadata() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2"]);
    let step = Step::on(&remote, "aws");
    let files_of = [
        ("lock/name", b"env-2".as_slice()),
        ("lock/metadata", b"new"),
    ];
    let updated = step
        .put_with(json!({"update": "lock"}), &files_of)
        .version();

    let got = step.get(&updated);

    assert_got(&got, &updated, "env-2");
    assert_eq!(files(&got.1), ["metadata", "name", "no-claim"]);
    assert_eq!(read(&got.1, "metadata"), "new");
}

#[test]
fn a_removal_succeeds_and_writes_no_files() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2"]);
    let step = Step::on(&remote, "aws");
    let (_, held) = step.get(&step.put(json!({"claim": "env-2"})).version());
    let removed = step.put_folder("remove", &held).version();

    let (answer, folder) = step.get(&removed);

    assert_eq!(
        (answer.version(), answer.lock()),
        (removed, "env-2".to_owned())
    );
    assert_eq!(files(&folder), [""; 0]);
}

#[test]
fn a_get_without_a_version_takes_the_latest_commit_that_moved_a_lock() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2"]);
    let claim = remote.claim_by_hand("aws", "env-1");
    remote.commit("docs", &[Hand::Put("README", "100644", b"hello")]);
    remote.commit("note", &[Hand::Put("aws/README", "100644", b"hello")]);
    let step = Step::on(&remote, "aws");

    let got = get_with(&step, json!(null), json!({}));

    assert_eq!(got.0.lock(), "env-1");
    assert_eq!(read(&got.1, "claim"), format!("{claim}\n"));
    assert_eq!(read(&got.1, "metadata"), "metadata of env-1");
}

#[test]
fn a_version_that_did_not_touch_the_pool_stands_for_the_last_one_before_it_that_did() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2"]);
    let claim = remote.claim_by_hand("aws", "env-1");
    remote.add_pool("gcp", &["other"]);
    let elsewhere = remote.claim_by_hand("gcp", "other");
    remote.claim_by_hand("aws", "env-2");
    let step = Step::on(&remote, "aws");

    let got = step.get(&elsewhere);

    assert_got(&got, &elsewhere, "env-1");
    assert_eq!(read(&got.1, "claim"), format!("{claim}\n"));
}

#[test]
fn a_version_before_the_pool_was_there_has_no_lock() {
    let remote = TestRemote::with_pool("gcp", &["other"]);
    let before = remote.head();
    remote.add_pool("aws", &["env-1"]);
    let step = Step::on(&remote, "aws");

    let (answer, folder) = step.get(&before);

    answer.assert_failed(&["aws", &before]);
    assert_eq!(files(&folder), [""; 0]);
}

#[test]
fn a_claim_that_was_released_is_no_longer_acquired() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let claim = remote.claim_by_hand("aws", "env-1");
    remote.release_by_hand("aws", "env-1");
    let step = Step::on(&remote, "aws");

    assert_over(&step.get(&claim));
}

#[test]
fn a_claim_that_was_released_and_claimed_again_is_no_longer_acquired() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let first = remote.claim_by_hand("aws", "env-1");
    remote.release_by_hand("aws", "env-1");
    let second = remote.claim_by_hand("aws", "env-1");
    let step = Step::on(&remote, "aws");

    assert_over(&step.get(&first));
    assert_got(&step.get(&second), &second, "env-1");
}

#[test]
fn a_claim_whose_lock_was_removed_is_no_longer_acquired() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let claim = remote.claim_by_hand("aws", "env-1");
    remote.commit("removing: env-1", &[Hand::Delete("aws/claimed/env-1")]);
    let step = Step::on(&remote, "aws");

    assert_over(&step.get(&claim));
}

#[test]
fn a_version_after_the_claim_is_over_with_the_claim() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    remote.claim_by_hand("aws", "env-1");
    let later = remote.commit("docs", &[Hand::Put("README", "100644", b"hello")]);
    remote.release_by_hand("aws", "env-1");
    let step = Step::on(&remote, "aws");

    assert_over(&step.get(&later));
}

#[test]
fn an_edit_of_a_claimed_lock_by_hand_does_not_end_its_claim() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let claim = remote.claim_by_hand("aws", "env-1");
    let edit = Hand::Put("aws/claimed/env-1", "100644", b"edited");
    remote.commit("edited", &[edit]);
    let step = Step::on(&remote, "aws");

    let got = step.get(&claim);

    assert_got(&got, &claim, "env-1");
    assert_eq!(read(&got.1, "claim"), format!("{claim}\n"));
    assert_eq!(read(&got.1, "metadata"), "metadata of env-1");
}

#[test]
fn an_edit_of_a_claimed_lock_is_a_version_that_shows_the_claim_which_goes_on() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let claim = remote.claim_by_hand("aws", "env-1");
    let edit = Hand::Put("aws/claimed/env-1", "100644", b"edited");
    let edited = remote.commit("edited", &[edit]);
    let step = Step::on(&remote, "aws");

    let got = step.get(&edited);

    assert_got(&got, &edited, "env-1");
    assert_eq!(files(&got.1), ["claim", "metadata", "name"]);
    assert_eq!(read(&got.1, "claim"), format!("{claim}\n"));
    assert_eq!(read(&got.1, "metadata"), "edited");
}

#[test]
fn a_version_that_the_branch_does_not_have_is_refused() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let base = remote.head();
    let claim = remote.claim_by_hand("aws", "env-1");
    move_to(&remote, &base);
    let step = Step::on(&remote, "aws");

    for version in [&claim, &"0".repeat(40), "main", "HEAD~1", &claim[..12]] {
        let (answer, folder) = step.get(version);

        answer.assert_failed(&[version, "not in the history"]);
        assert_eq!(files(&folder), [""; 0]);
    }
}

#[test]
fn a_destination_never_holds_a_clone() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let claim = remote.claim_by_hand("aws", "env-1");
    let step = Step::on(&remote, "aws");
    let folder = step.folder().join("not/there/yet");
    let request = json!({"source": step.source(), "version": {"ref": claim}});

    let args = [folder.as_os_str().to_owned()];
    let answer = step.run("in", &args, request.to_string().as_bytes());

    assert_eq!(answer.lock(), "env-1");
    assert_eq!(files(&folder), ["claim", "metadata", "name"]);
    let left: Vec<String> = files(step.temporary())
        .into_iter()
        .filter(|name| !name.starts_with("folder-"))
        .collect();
    assert_eq!(left, [""; 0]);
}

#[test]
fn a_depth_is_accepted_and_changes_nothing() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2"]);
    let claim = remote.claim_by_hand("aws", "env-2");
    for n in 0..3 {
        let text = n.to_string();
        remote.commit("docs", &[Hand::Put("README", "100644", text.as_bytes())]);
    }
    let step = Step::on(&remote, "aws");

    for depth in [json!(1), json!(0), json!("1"), json!(null)] {
        let got = get_with(&step, json!({"ref": claim}), json!({ "depth": depth }));

        assert_got(&got, &claim, "env-2");
        assert_eq!(read(&got.1, "claim"), format!("{claim}\n"));
    }
}

#[test]
fn a_claim_stands_when_a_person_pulled_it_into_a_branch_of_their_own() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2"]);
    let base = remote.head();
    let claim = remote.claim_by_hand("aws", "env-1");
    let docs = Hand::Put("README", "100644", b"hello");
    let theirs = remote.commit_on(&[&base], "docs", &[docs]);
    let (from, to) = hold("env-1");
    let merge = remote.commit_on(&[&theirs, &claim], "Merge", &[Hand::Move(&from, &to)]);
    move_to(&remote, &merge);
    let step = Step::on(&remote, "aws");

    let got = step.get(&claim);

    assert_got(&got, &claim, "env-1");
    assert_eq!(read(&got.1, "claim"), format!("{claim}\n"));
    let released = step.put_folder("release", &got.1);
    assert_eq!(released.lock(), "env-1");
    assert_eq!(remote.list("aws/claimed"), [""; 0]);
}

#[test]
fn a_claim_that_ended_before_a_person_pulled_is_over() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let base = remote.head();
    let claim = remote.claim_by_hand("aws", "env-1");
    let released = remote.release_by_hand("aws", "env-1");
    let docs = Hand::Put("README", "100644", b"hello");
    let theirs = remote.commit_on(&[&base], "docs", &[docs]);
    let merge = remote.commit_on(&[&theirs, &released], "Merge", &[]);
    move_to(&remote, &merge);
    let step = Step::on(&remote, "aws");

    assert_over(&step.get(&claim));
}

/// The person's side has the lock claimed all the time: what went on meanwhile shows on the other side alone.
#[test]
fn a_claim_that_was_claimed_anew_while_a_person_worked_is_over() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let first = remote.claim_by_hand("aws", "env-1");
    remote.release_by_hand("aws", "env-1");
    let second = remote.claim_by_hand("aws", "env-1");
    let docs = Hand::Put("README", "100644", b"hello");
    let theirs = remote.commit_on(&[&first], "docs", &[docs]);
    let step = Step::on(&remote, "aws");

    for parents in [[&theirs, &second], [&second, &theirs]] {
        let docs = Hand::Put("README", "100644", b"hello");
        let parents = parents.map(String::as_str);
        move_to(&remote, &remote.commit_on(&parents, "Merge", &[docs]));

        assert_over(&step.get(&first));
        assert_got(&step.get(&second), &second, "env-1");
        let old = [
            ("lock/name", b"env-1".as_slice()),
            ("lock/claim", first.as_bytes()),
        ];
        let release = step.put_with(json!({"release": "lock"}), &old);
        release.assert_failed(&["someone else holds it now"]);
        assert_eq!(remote.list("aws/claimed"), ["env-1"]);
    }
}

#[test]
fn a_merge_that_brings_a_claim_is_a_version_of_it() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2"]);
    let base = remote.head();
    let claim = remote.claim_by_hand("aws", "env-1");
    let docs = Hand::Put("README", "100644", b"hello");
    let theirs = remote.commit_on(&[&base], "docs", &[docs]);
    let (from, to) = hold("env-1");
    let merge = remote.commit_on(&[&theirs, &claim], "Merge", &[Hand::Move(&from, &to)]);
    move_to(&remote, &merge);
    let step = Step::on(&remote, "aws");

    let got = step.get(&merge);

    assert_got(&got, &merge, "env-1");
    assert_eq!(step.put_folder("release", &got.1).lock(), "env-1");
}

//! Names, contents and kinds of files that trip tools up: nothing is interpreted, lost or changed on the way.

use std::path::Path;

use serde_json::json;

use support::remote::Hand;
use support::{Step, TestRemote};

/// Reads a file of a get.
fn got(folder: &Path, file: &str) -> Vec<u8> {
    std::fs::read(folder.join(file)).unwrap()
}

/// Acquires the one free lock, gets it and releases it, and asserts that its name and content come through.
fn acquire_get_and_release(remote: &TestRemote, step: &Step, lock: &str, content: &[u8]) {
    let pool = step.source()["pool"].as_str().unwrap().to_owned();
    let free = format!("{pool}/unclaimed/{lock}");
    let held = format!("{pool}/claimed/{lock}");
    let mode = remote.mode(&free);

    let acquired = step.put(json!({"acquire": true}));
    assert_eq!(acquired.lock(), lock);
    assert_eq!(remote.subjects()[0], format!("claiming: {lock}"));
    assert_eq!(remote.list(&format!("{pool}/claimed")), [lock]);
    assert!(remote.content(&held) == content, "{lock} is not as it was");
    assert_eq!(remote.mode(&held), mode);

    let (answer, folder) = step.get(&acquired.version());
    assert_eq!(answer.version(), acquired.version());
    assert_eq!(answer.lock(), lock);
    assert_eq!(got(&folder, "name"), format!("{lock}\n").as_bytes());
    assert!(got(&folder, "metadata") == content, "{lock} is not got");

    let released = step.put_folder("release", &folder);
    assert_eq!(released.lock(), lock);
    assert_eq!(remote.subjects()[0], format!("unclaiming: {lock}"));
    assert_eq!(remote.list(&format!("{pool}/claimed")), [""; 0]);
    assert!(remote.content(&free) == content, "{lock} is not as it was");
    assert_eq!(remote.mode(&free), mode);
    remote.fsck();
}

#[test]
fn locks_of_any_name_can_be_acquired_fetched_and_released() {
    let long = "n".repeat(255);
    for lock in [
        "my lock",
        "two  spaces",
        "Zürich-é",
        // The same letter as one character and as two: Git keeps them apart.
        "\u{e9}",
        "e\u{301}",
        "日本語 🔒",
        "it's \"quoted\"",
        "\"",
        "back\\slash\\n",
        "$(touch x) `id` $HOME",
        "*?[a-z]",
        ":(glob)*",
        "a:b",
        "-rf",
        "--upload-pack=id",
        "#comment",
        "~",
        "@{0}",
        "name",
        "claimed",
        "HEAD",
        "x.lock",
        "x\u{202e}y",
        &long,
    ] {
        let remote = TestRemote::with_pool("aws", &[lock]);
        let content = format!("metadata of {lock}");

        acquire_get_and_release(&remote, &Step::on(&remote, "aws"), lock, content.as_bytes());
    }
}

#[test]
fn locks_of_any_name_can_be_added_claimed_updated_and_removed() {
    for lock in [
        "my lock",
        "日本語 🔒",
        "it's \"quoted\"",
        "-rf",
        "$(id)",
        "a\\b",
    ] {
        let remote = TestRemote::with_pool("aws", &["env-1"]);
        let step = Step::on(&remote, "aws");
        let files: [(&str, &[u8]); 2] = [("lock/name", lock.as_bytes()), ("lock/metadata", b"1")];
        let changed: [(&str, &[u8]); 2] = [("lock/name", lock.as_bytes()), ("lock/metadata", b"2")];

        for (params, files) in [
            (json!({"add": "lock"}), files),
            (json!({"check": "lock"}), files),
            (json!({"update": "lock"}), changed),
            (json!({ "claim": lock }), files),
            (json!({"check_unclaimed": "lock"}), files),
            (json!({"remove": "lock"}), files),
        ] {
            assert_eq!(step.put_with(params, &files).lock(), lock);
        }

        let said = ["removing", "claiming", "updating", "adding unclaimed"];
        let said = said.map(|verb| format!("{verb}: {lock}"));
        assert_eq!(remote.subjects()[..4], said);
        assert_eq!(remote.list("aws/unclaimed"), ["env-1"]);
        assert_eq!(remote.list("aws/claimed"), [""; 0]);
    }
}

#[test]
fn names_that_differ_in_case_or_by_an_ending_are_different_locks() {
    let locks = ["env", "ENV", "env-1", "env-10", "env.1", "env 1"];
    for lock in locks {
        let remote = TestRemote::with_pool("aws", &locks);

        let answer = Step::on(&remote, "aws").put(json!({ "claim": lock }));

        assert_eq!(answer.lock(), lock);
        assert_eq!(remote.list("aws/claimed"), [lock]);
        assert_eq!(remote.list("aws/unclaimed").len(), locks.len() - 1);
    }
}

#[test]
fn a_name_file_may_end_as_files_of_windows_do() {
    for name in ["env 1\r\n", "env 1\n", "  env 1 \r\n\r\n", "\tenv 1"] {
        let remote = TestRemote::with_pool("aws", &[]);
        let step = Step::on(&remote, "aws");
        let metadata = b"a: 1\r\nb: 2\r\n\r\n";

        let added = step.put_with(
            json!({"add": "lock"}),
            &[("lock/name", name.as_bytes()), ("lock/metadata", metadata)],
        );

        assert_eq!(added.lock(), "env 1");
        assert_eq!(remote.subjects()[0], "adding unclaimed: env 1");
        acquire_get_and_release(&remote, &step, "env 1", metadata);
    }
}

/// Bytes without a pattern that would make them small.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(length).collect()
}

#[test]
fn metadata_come_through_byte_for_byte() {
    let every_byte: Vec<u8> = (0..=255).collect();
    let large = noise(5 * 1024 * 1024);
    for metadata in [
        &b""[..],
        b"\n",
        b"no end of line",
        b"\xef\xbb\xbfbom\r\n",
        b"blob 5\0",
        b"$Id$ $(id)\n",
        &every_byte,
        &large,
    ] {
        let remote = TestRemote::with_pool("aws", &[]);
        let step = Step::on(&remote, "aws");
        let folder = [("lock/name", &b"env-1"[..]), ("lock/metadata", metadata)];

        let added = step.put_with(json!({"add": "lock"}), &folder);

        assert_eq!(added.lock(), "env-1");
        acquire_get_and_release(&remote, &step, "env-1", metadata);
    }
}

#[test]
fn metadata_added_claimed_and_updated_are_kept_byte_for_byte() {
    let remote = TestRemote::with_pool("aws", &[]);
    let step = Step::on(&remote, "aws");
    let every_byte: Vec<u8> = (0..=255).collect();
    let large = noise(5 * 1024 * 1024);

    let added = step.put_with(
        json!({"add_claimed": "lock"}),
        &[("lock/name", b"env-1"), ("lock/metadata", &every_byte)],
    );
    let (_, folder) = step.get(&added.version());
    assert_eq!(got(&folder, "metadata"), every_byte);
    std::fs::write(folder.join("metadata"), &large).unwrap();
    step.put_folder("update", &folder).version();
    assert!(remote.content("aws/claimed/env-1") == large);
    step.put_folder("release", &folder).version();
    std::fs::write(folder.join("metadata"), b"").unwrap();
    std::fs::remove_file(folder.join("claim")).unwrap();
    step.put_folder("update", &folder).version();

    assert_eq!(remote.content("aws/unclaimed/env-1"), b"");
    remote.fsck();
}

#[test]
fn attributes_of_the_repository_do_not_change_metadata() {
    let remote = TestRemote::with_pool("aws", &[]);
    remote.commit(
        "attributes",
        &[
            Hand::Put(".gitattributes", "100644", b"* text=auto eol=crlf ident\n"),
            Hand::Put("aws/unclaimed/env-1", "100644", b"a\n$Id$\n"),
        ],
    );

    let step = Step::on(&remote, "aws");

    acquire_get_and_release(&remote, &step, "env-1", b"a\n$Id$\n");
}

#[test]
fn an_executable_lock_stays_one() {
    let remote = TestRemote::with_pool("aws", &[]);
    remote.commit("x", &[Hand::Put("aws/unclaimed/env-1", "100755", b"#!")]);
    let step = Step::on(&remote, "aws");

    acquire_get_and_release(&remote, &step, "env-1", b"#!");
    assert_eq!(remote.mode("aws/unclaimed/env-1"), "100755");

    let files: [(&str, &[u8]); 2] = [("lock/name", b"env-1"), ("lock/metadata", b"new")];
    step.put_with(json!({"update": "lock"}), &files).version();
    assert_eq!(remote.mode("aws/unclaimed/env-1"), "100755");
    assert_eq!(remote.content("aws/unclaimed/env-1"), b"new");

    let claim = step.put(json!({"acquire": true})).version();
    let (_, folder) = step.get(&claim);
    std::fs::write(folder.join("metadata"), "mine").unwrap();
    step.put_folder("update", &folder).version();
    assert_eq!(remote.mode("aws/claimed/env-1"), "100755");
    assert_eq!(remote.content("aws/claimed/env-1"), b"mine");
}

#[test]
fn the_text_of_a_link_is_its_content() {
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "SECRET").unwrap();
    for target in [
        secret.path().to_str().unwrap(),
        "/etc/passwd",
        "../../../../../../etc/passwd",
        "nowhere",
        "..",
    ] {
        let remote = TestRemote::with_pool("aws", &[]);
        let link = Hand::Put("aws/unclaimed/env-1", "120000", target.as_bytes());
        remote.commit("link", &[link]);

        acquire_get_and_release(
            &remote,
            &Step::on(&remote, "aws"),
            "env-1",
            target.as_bytes(),
        );

        assert_eq!(remote.mode("aws/unclaimed/env-1"), "120000");
    }
}

#[test]
fn a_fetched_link_is_a_plain_file() {
    let remote = TestRemote::with_pool("aws", &[]);
    let link = Hand::Put("aws/unclaimed/env-1", "120000", b"/etc/passwd");
    remote.commit("link", &[link]);
    let step = Step::on(&remote, "aws");
    let version = step.put(json!({"acquire": true})).version();

    let (_, folder) = step.get(&version);

    for file in ["name", "metadata", "claim"] {
        let kind = std::fs::symlink_metadata(folder.join(file)).unwrap();
        assert!(kind.is_file(), "{file}");
    }
    assert_eq!(got(&folder, "metadata"), b"/etc/passwd");
}

#[test]
fn update_makes_a_plain_file_of_a_link() {
    let remote = TestRemote::with_pool("aws", &[]);
    let link = Hand::Put("aws/unclaimed/env-1", "120000", b"env-2");
    remote.commit("link", &[link]);
    let step = Step::on(&remote, "aws");

    let answer = step.put_with(
        json!({"update": "lock"}),
        &[("lock/name", b"env-1"), ("lock/metadata", b"new")],
    );

    assert_eq!(answer.lock(), "env-1");
    assert_eq!(remote.mode("aws/unclaimed/env-1"), "100644");
    assert_eq!(remote.content("aws/unclaimed/env-1"), b"new");
    assert_eq!(remote.list("aws/unclaimed"), ["env-1"]);
}

/// The entries of a tree at the head: mode, kind, id and name.
fn entries(remote: &TestRemote, folder: &str) -> Vec<String> {
    let tree = format!("{}:{folder}", remote.branch());
    let entries = remote.git(&["ls-tree", "-z", &tree]);
    entries.split_terminator('\0').map(str::to_owned).collect()
}

#[test]
fn what_is_not_a_lock_is_ignored_and_kept() {
    let remote = TestRemote::with_pool("aws", &[]);
    remote.commit(
        "odd things",
        &[
            Hand::Put("aws/unclaimed/folder/env-9", "100644", b"deep"),
            Hand::Put("aws/unclaimed/.hidden", "100644", b"hidden"),
            Hand::Put("aws/unclaimed/.folder/x", "100644", b"hidden"),
            Hand::Put("aws/unclaimed/module", "160000", b"module"),
            Hand::Put("aws/claimed/other/env-8", "100644", b"deep"),
            Hand::Put("aws/claimed/.hidden", "100644", b"hidden"),
            Hand::Put("aws/README", "100644", b"read me"),
            Hand::Put("aws/unclaimed.txt", "100644", b"sorts in between"),
        ],
    );
    let before = ["aws", "aws/claimed", "aws/unclaimed"].map(|folder| entries(&remote, folder));
    assert_eq!(before[2].len(), 5, "{:?}", before[2]);
    let step = Step::on(&remote, "aws");

    // None of them is free, so there is nothing to acquire.
    let running = step.start_put(json!({"acquire": true}));
    running.wait_for_stderr("no lock is free: 0 claimed");
    remote.commit("one", &[Hand::Put("aws/unclaimed/env-1", "100644", b"1")]);
    let acquired = running.finish();

    assert_eq!(acquired.lock(), "env-1");
    let (_, folder) = step.get(&acquired.version());
    assert_eq!(got(&folder, "name"), b"env-1\n");
    step.put_folder("remove", &folder).version();
    let after = ["aws", "aws/claimed", "aws/unclaimed"].map(|folder| entries(&remote, folder));
    assert_eq!(after, before);
    remote.fsck();
}

#[test]
fn a_folder_or_a_submodule_is_not_claimed_or_overwritten_by_its_name() {
    for (path, mode) in [
        ("aws/unclaimed/env-1/x", "100644"),
        ("aws/unclaimed/env-1", "160000"),
    ] {
        let remote = TestRemote::with_pool("aws", &["env-2"]);
        let before = remote.commit("odd", &[Hand::Put(path, mode, b"x")]);
        let step = Step::on(&remote, "aws");
        let files: [(&str, &[u8]); 2] = [("lock/name", b"env-1"), ("lock/metadata", b"new")];

        for params in [
            json!({"claim": "env-1"}),
            json!({"release": "lock"}),
            json!({"remove": "lock"}),
            json!({"add": "lock"}),
            json!({"add_claimed": "lock"}),
            json!({"update": "lock"}),
            json!({"check": "lock"}),
            json!({"check_unclaimed": "lock"}),
        ] {
            let answer = step.put_with(params, &files);

            answer.assert_failed(&["`env-1` is damaged: something that is not a file"]);
            assert_eq!(remote.head(), before);
        }
    }
}

#[test]
fn branches_with_slashes_and_odd_characters_work() {
    for branch in [
        "locks/prod/eu",
        "übung",
        "a'b\"c",
        "x$(id)",
        "release-1.0",
        "HEAD2",
    ] {
        let remote = TestRemote::empty(branch);
        remote.add_pool("aws", &["env-1"]);
        let step = Step::on(&remote, "aws");

        acquire_get_and_release(&remote, &step, "env-1", b"metadata of env-1");

        assert_eq!(step.check(None).versions(), [remote.head()]);
        let branches = remote.git(&["for-each-ref", "--format=%(refname)"]);
        assert_eq!(branches, format!("refs/heads/{branch}"));
    }
}

#[test]
fn of_branches_with_like_names_only_the_one_asked_for_moves() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let other = remote.head();
    for name in [
        "refs/heads/x/main",
        "refs/heads/main2",
        "refs/heads/refs/heads/main",
        "refs/tags/main",
    ] {
        remote.git(&["update-ref", name, &other]);
    }
    let count = remote.count();

    let answer = Step::on(&remote, "aws").put(json!({"acquire": true}));

    assert_eq!(answer.lock(), "env-1");
    assert_eq!(
        remote.git(&["rev-parse", "refs/heads/main"]),
        answer.version()
    );
    let format = "--format=%(objectname)";
    let refs = remote.git(&[
        "for-each-ref",
        format,
        "refs/tags",
        "refs/heads/x",
        "refs/heads/main2",
        "refs/heads/refs",
    ]);
    assert_eq!(refs.lines().collect::<Vec<_>>(), [other.as_str(); 4]);
    let reached = remote.git(&["rev-list", "--count", "refs/heads/main"]);
    assert_eq!(reached, (count + 1).to_string());
}

#[test]
fn a_pool_may_be_in_a_folder_of_any_depth_and_name() {
    for pool in [
        "team-a/aws",
        "a/b/c/d/e",
        "my pools/größe \"L\"",
        "-x",
        ".hidden/aws",
    ] {
        let remote = TestRemote::with_pool(pool, &["env-1"]);
        let step = Step::on(&remote, pool);

        acquire_get_and_release(&remote, &step, "env-1", b"metadata of env-1");

        let answer = step.put(json!({"claim": "env-1"})).json();
        assert_eq!(
            answer["metadata"][1],
            json!({"name": "pool_name", "value": pool})
        );
    }
}

#[test]
fn slashes_around_a_pool_do_not_count() {
    let remote = TestRemote::with_pool("team-a/aws", &["env-1"]);

    let answer = Step::on(&remote, "/team-a//aws/").put(json!({"acquire": true}));

    assert_eq!(answer.lock(), "env-1");
    assert_eq!(answer.json()["metadata"][1]["value"], "team-a/aws");
    assert_eq!(remote.list("team-a/aws/claimed"), ["env-1"]);
}

#[test]
fn other_pools_are_left_as_they_are() {
    let others = ["aws-2", "aw", "team-a/aws", "aws/nested", "AWS"];
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    for pool in others {
        remote.add_pool(pool, &["env-1", "env-2"]);
    }
    remote.commit("readme", &[Hand::Put("README.md", "100644", b"read me")]);
    let trees = || -> Vec<String> {
        others
            .iter()
            .chain(["README.md"].iter())
            .map(|path| remote.git(&["rev-parse", &format!("main:{path}")]))
            .collect()
    };
    let before = trees();
    let step = Step::on(&remote, "aws");
    let files: [(&str, &[u8]); 2] = [("lock/name", b"env-1"), ("lock/metadata", b"new")];

    for params in [
        json!({"acquire": true}),
        json!({"release": "lock"}),
        json!({"update": "lock"}),
        json!({"claim": "env-1"}),
        json!({"remove": "lock"}),
        json!({"add_claimed": "lock"}),
    ] {
        assert_eq!(step.put_with(params, &files).lock(), "env-1");
    }

    assert_eq!(trees(), before);
    assert_eq!(remote.content("aws/claimed/env-1"), b"new");
}

#[test]
fn a_lock_of_the_same_name_in_another_pool_is_another_lock() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    remote.add_pool("team-a/aws", &["env-1"]);
    let (ours, theirs) = (Step::on(&remote, "aws"), Step::on(&remote, "team-a/aws"));
    let (our_claim, their_claim) = (
        ours.put(json!({"acquire": true})).version(),
        theirs.put(json!({"acquire": true})).version(),
    );
    let (_, folder) = theirs.get(&their_claim);

    let stolen = ours.put_folder("release", &folder);
    let freed = theirs.put_folder("release", &folder);

    stolen.assert_failed(&[&format!("{their_claim} is not a claim of `env-1`")]);
    assert_eq!(freed.lock(), "env-1");
    assert_eq!(remote.list("aws/claimed"), ["env-1"]);
    assert_eq!(remote.list("team-a/aws/unclaimed"), ["env-1"]);
    assert_eq!(ours.get(&our_claim).0.lock(), "env-1");
}

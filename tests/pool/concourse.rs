//! What builds of a Concourse do to each other and to themselves: aborts around a grant, steps that run again, folders that
//! hold no claim. What Concourse itself does (hooks, lost answers) is simulated; the programs are real.

use std::time::Duration;

use serde_json::json;

use support::server::replica::Replica;
use support::{Step, TestRemote};

/// A step of the build with this id, in a container of its own.
fn build(remote: &TestRemote, id: &str) -> Step {
    Step::on(remote, "aws")
        .in_build()
        .env("BUILD_ID", id)
        .env("BUILD_NAME", id)
}

fn held(remote: &TestRemote) -> Vec<String> {
    remote.list("aws/claimed")
}

const MINE: fn() -> serde_json::Value = || json!({"release_mine": true});

#[test]
fn release_mine_frees_all_that_the_build_holds_and_nothing_else() {
    let remote = TestRemote::with_pool("aws", &["e1", "e2", "e3", "e4", "e5"]);
    remote.add_pool("gcp", &["g1"]);
    let mine = build(&remote, "12");
    let other_concourse = build(&remote, "12").env("ATC_EXTERNAL_URL", "https://ci-2.example.com");
    build(&remote, "13").put(json!({"claim": "e5"})).lock();
    let first = mine.put(json!({"acquire": true, "count": 2}));
    let second = mine.put_with(
        json!({"add_claimed": "x"}),
        &[("x/name", b"added"), ("x/metadata", b"m")],
    );
    let taken = other_concourse.put(json!({"acquire": true})).lock();
    remote.claim_by_hand("aws", held_none_of(&remote, &["e5", &taken]));
    mine.put_with(
        json!({"add_claimed": "y"}),
        &[("y/name", b"y"), ("y/metadata", b"m")],
    )
    .lock();
    mine.set("pool", "gcp").put(json!({"acquire": true})).lock();
    let before = held(&remote);

    let answer = build(&remote, "12").put(MINE());

    let kept: Vec<String> = before
        .into_iter()
        .filter(|lock| {
            let first = first.lock();
            let mine = first.split(", ").chain(["added", "y"]);
            !mine.into_iter().any(|mine| mine == lock)
        })
        .collect();
    assert_eq!(held(&remote), kept);
    assert!(
        kept.contains(&"e5".to_owned()) && kept.contains(&taken),
        "{kept:?}"
    );
    assert_eq!(remote.list("gcp/claimed"), ["g1"]);
    assert_eq!(answer.version(), remote.head());
    // One commit, which shows each of the claims: so whoever releases once more finds that it was done.
    let message = remote.message(&remote.head());
    for claim in [first.version(), second.version()] {
        assert!(
            message.contains(&format!("Pool-Claim: {claim}")),
            "{message}"
        );
    }
    let result = answer.stderr.lines().last().unwrap();
    assert!(
        result.starts_with("released what this build held: `added`, "),
        "{result}"
    );
    let late = build(&remote, "12");
    let (_, folder) = late.get(&second.version());
    assert!(!folder.join("name").exists());
    let folder = late.folder();
    std::fs::create_dir_all(folder.join("x")).unwrap();
    std::fs::write(folder.join("x/name"), "added").unwrap();
    std::fs::write(folder.join("x/claim"), second.version()).unwrap();
    let again = late.put_folder("release", &folder.join("x"));
    assert!(
        again
            .stderr
            .contains("nothing to do: `added` was given back already")
    );
    remote.fsck();
}

/// A free lock that is none of these.
fn held_none_of<'a>(remote: &TestRemote, others: &[&str]) -> &'a str {
    let free = remote.list("aws/unclaimed").into_iter();
    let mut free = free.filter(|lock| !others.contains(&lock.as_str()));
    free.next().unwrap().leak()
}

#[test]
fn release_mine_of_nothing_is_a_success_whose_get_succeeds() {
    let remote = TestRemote::with_pool("aws", &["e1", "e2"]);
    let step = build(&remote, "12");
    let (_, got) = step.get(&step.put(json!({"claim": "e1"})).version());
    step.put_folder("release", &got).version();
    build(&remote, "13").put(json!({"claim": "e2"})).version();
    let head = remote.head();

    let answer = step.put(MINE());

    assert_eq!(remote.head(), head);
    assert_eq!(
        answer.json()["metadata"],
        json!([{"name": "pool_name", "value": "aws"}])
    );
    let nothing = "this build holds no lock of the pool `aws`: nothing to release";
    assert_eq!(answer.stderr.lines().last(), Some(nothing));
    // Whatever the others do meanwhile.
    remote.release_by_hand("aws", "e2");
    assert_eq!(step.get(&answer.version()).0.code, Some(0));
}

#[test]
fn release_mine_knows_a_one_off_build_and_is_refused_outside_of_builds() {
    let remote = TestRemote::with_pool("aws", &["e1", "e2"]);
    let one_off = |id: &str| {
        Step::on(&remote, "aws")
            .env("BUILD_ID", id)
            .env("ATC_EXTERNAL_URL", "https://ci.example.com")
    };
    one_off("7").put(json!({"claim": "e1"})).lock();
    one_off("8").put(json!({"claim": "e2"})).lock();

    Step::on(&remote, "aws")
        .put(MINE())
        .assert_failed(&["`params.release_mine` needs the environment variable BUILD_ID"]);
    one_off("7").put(MINE()).version();

    assert_eq!(held(&remote), ["e2"]);
}

#[test]
fn release_mine_is_not_deceived_by_a_view_that_does_not_show_the_claim_yet() {
    let remote = TestRemote::with_pool("aws", &["e1"]);
    let replica = Replica::of(&remote);
    let _following = replica.follow(Duration::from_millis(700));
    let direct = build(&remote, "12");
    direct.put(json!({"acquire": true})).lock();

    build(&remote, "12")
        .set("uri", replica.uri())
        .put(MINE())
        .version();

    assert!(held(&remote).is_empty());
}

#[test]
fn a_lock_of_ones_own_that_is_waited_for_is_named_with_what_to_do() {
    let remote = TestRemote::with_pool("aws", &["e1", "e2", "e3", "e4", "e5"]);
    for lock in ["e1", "e2", "e3", "e4"] {
        remote.claim_by_hand("aws", lock);
    }
    build(&remote, "12").put(json!({"claim": "e5"})).lock();

    for params in [json!({"claim": "e5"}), json!({"acquire": true})] {
        let running = build(&remote, "12").start_put(params.clone());
        running.wait_for_stderr("e5 is held since ");
        running.wait_for_stderr(" by this very build (ops/web/deploy build 12)");
        running
            .wait_for_stderr("a put with `release_mine: true`, or `pool release`, frees the lock");
        running.signal("TERM");
        running.finish().assert_stopped();
    }
    // Another build is told of another build.
    let other = build(&remote, "13").put(json!({"claim": "e5", "try": true}));
    other.assert_failed(&[
        "`e5` is held since ",
        " by ops/web/deploy build 12 https://ci.example.com/",
    ]);
    assert!(
        !other.stderr.contains("this very build"),
        "{}",
        other.stderr
    );
}

#[test]
fn a_second_release_of_a_folder_says_that_it_was_given_back_and_what_is_still_held() {
    let remote = TestRemote::with_pool("aws", &["e1", "e2"]);
    let step = build(&remote, "12");
    let first = step.put(json!({"claim": "e1"})).version();
    let (_, folder) = step.get(&first);
    step.put(json!({"claim": "e2"})).lock();
    let released = step.put_folder("release", &folder);
    let again = step.put_folder("release", &folder);

    let line = released.stderr.lines().last().unwrap();
    assert_eq!(
        line,
        format!(
            "released `e1`, which was held by ops/web/deploy build 12; the commit is {}",
            released.version()
        )
    );
    let line = again.stderr.lines().last().unwrap();
    assert_eq!(
        line,
        format!(
            "nothing to do: `e1` was given back already, by the commit {} (`ops/web/deploy build 12 unclaiming: e1`); \
             this build still holds `e2`, which `release_mine: true` frees",
            released.version()
        )
    );
    assert_eq!(held(&remote), ["e2"]);
}

#[test]
fn a_put_s_log_ends_with_its_result() {
    let remote = TestRemote::with_pool("aws", &["e1"]);
    let holder = build(&remote, "12");
    let free = holder.put(json!({"acquire": true}));
    let waiting = build(&remote, "13").start_put(json!({"acquire": true}));
    waiting.wait_for_stderr("e1 is held since");
    holder.put(MINE()).version();
    let granted = waiting.finish();

    assert_eq!(
        free.stderr.lines().last().unwrap(),
        format!("claimed `e1`; the claim is {}", free.version())
    );
    let line = granted.stderr.lines().last().unwrap();
    assert!(line.starts_with("claimed `e1` after "), "{line}");
    assert!(
        line.ends_with(&format!(
            ", which was held by ops/web/deploy build 12; the claim is {}",
            granted.version()
        )),
        "{line}"
    );
    for (name, value) in [
        ("held_before_by", "ops/web/deploy build 12"),
        ("place_at_arrival", "1"),
    ] {
        assert_eq!(granted.told(name).as_deref(), Some(value));
    }
}

#[test]
fn a_get_tells_the_story_of_its_version() {
    let remote = TestRemote::with_pool("aws", &["e1"]);
    let step = build(&remote, "12");
    let claim = step.put(json!({"acquire": true})).version();
    let (claimed, folder) = step.get(&claim);
    let (released, _) = step.get(&step.put_folder("release", &folder).version());

    let url = "https://ci.example.com/teams/ops/pipelines/web/jobs/deploy/builds/12";
    for (answer, action, shown) in [
        (&claimed, "claimed", claim.as_str()),
        (&released, "released", "none"),
    ] {
        assert_eq!(answer.told("action").as_deref(), Some(action));
        assert_eq!(
            answer.told("by").as_deref(),
            Some("ops/web/deploy build 12")
        );
        assert_eq!(answer.told("build_url").as_deref(), Some(url));
        assert_eq!(answer.told("claim").as_deref(), Some(shown));
        assert!(answer.told("at").unwrap().starts_with("20"));
    }
}

#[test]
fn the_claim_of_a_holder_who_updates_his_lock_is_in_the_next_folder_too() {
    let remote = TestRemote::with_pool("aws", &["e1"]);
    let step = build(&remote, "12");
    let claim = step.put(json!({"acquire": true})).version();
    let (_, folder) = step.get(&claim);
    std::fs::write(folder.join("metadata"), "new").unwrap();
    let updated = step.put_folder("update", &folder).version();

    let (_, after) = step.get(&updated);

    let read = |name: &str| std::fs::read_to_string(after.join(name)).unwrap();
    assert_eq!(
        (read("claim"), read("metadata")),
        (format!("{claim}\n"), "new".to_owned())
    );
    step.put_folder("release", &after).version();
    build(&remote, "13").put(json!({"acquire": true})).version();
    let late = step.put_folder("release", &after);
    let done = "nothing to do: `e1` was given back already";
    assert!(late.stderr.contains(done), "{}", late.stderr);
    assert_eq!(held(&remote), ["e1"]);
}

#[test]
fn a_folder_that_holds_no_claim_says_so_and_can_be_kept_from_freeing_what_others_hold() {
    let remote = TestRemote::with_pool("aws", &["e1"]);
    remote.claim_by_hand("aws", "e1");
    let free = remote.release_by_hand("aws", "e1");
    let mine = build(&remote, "12");
    let (_, folder) = mine.get(&free);
    let mark = std::fs::read_to_string(folder.join("no-claim")).unwrap();
    assert_eq!(mark, format!("{free}\n"));
    let theirs = build(&remote, "13").put(json!({"acquire": true})).version();
    let (_, claimed) = mine.get(&theirs);

    let careful = || build(&remote, "12").set("release_only_own", true);
    let copy_of = |from: &std::path::Path, step: &Step| {
        let folder = step.folder().join("lock");
        std::fs::create_dir(&folder).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), folder.join(entry.file_name())).unwrap();
        }
        folder
    };
    // Neither by a folder without a claim nor by somebody else's claim.
    for from in [&folder, &claimed] {
        for param in ["release", "remove"] {
            let step = careful();
            let answer = step.put_folder(param, &copy_of(from, &step));
            answer.assert_failed(&[
                "`e1` is held by ops/web/deploy build 13, and not by this build; `release_only_own` is set, so nothing was changed",
            ]);
        }
    }
    assert_eq!(remote.head(), theirs);
    let outside = Step::on(&remote, "aws").set("release_only_own", true);
    outside
        .put_folder("release", &copy_of(&folder, &outside))
        .assert_failed(&["`source.release_only_own` needs the environment variable BUILD_ID"]);

    // Without that setting it is done as ever, and told.
    let answer = mine.put_folder("release", &folder);
    assert!(
        answer.stderr.contains("note: this folder holds no claim"),
        "{}",
        answer.stderr
    );
    let line = answer.stderr.lines().last().unwrap();
    assert!(
        line.starts_with("released `e1`, which was held by ops/web/deploy build 13; "),
        "{line}"
    );

    // One's own is released.
    let step = careful();
    let (_, own) = step.get(&step.put(json!({"acquire": true})).version());
    step.put_folder("release", &own).version();
    assert!(held(&remote).is_empty());
}

#[test]
fn a_key_that_is_nearly_one_is_named_and_others_are_not() {
    let remote = TestRemote::with_pool("aws", &["e1"]);
    let step = Step::on(&remote, "aws")
        .set("retry-delay", "1s")
        .set("private-key", "MARKER")
        .set("webhook_token", "MARKER");

    let answer = step.put(json!({"acquire": true, "time-out": "1s", "depth": 1}));

    for line in [
        "note: `source.retry-delay` means nothing, and is ignored; `retry_delay` is what it is called",
        "note: `source.private-key` means nothing, and is ignored; `private_key` is what it is called",
        "note: `params.time-out` means nothing, and is ignored; `timeout` is what it is called",
    ] {
        assert!(
            answer.stderr.lines().any(|found| found == line),
            "{}",
            answer.stderr
        );
    }
    assert!(!answer.stderr.contains("MARKER") && !answer.stderr.contains("webhook"));
}

#[test]
fn a_value_that_is_no_key_is_told_by_what_it_looks_like() {
    let remote = TestRemote::with_pool("aws", &["e1"]);
    for (key, what) in [
        ("ssh-ed25519 AAAAMARKER me", "the public half of a key"),
        ("((MARKER))", "a variable of a pipeline"),
        ("/home/MARKER/.ssh/id_rsa", "the path of a file"),
        (
            "-----BEGIN OPENSSH PRIVATE KEY-----\nMARKER",
            "a private key that is cut off",
        ),
    ] {
        let answer = Step::on(&remote, "aws")
            .set("uri", "git@127.0.0.1:locks.git")
            .set("private_key", key)
            .put(json!({"acquire": true}));

        answer.assert_failed(&[&format!("`source.private_key` looks like {what}")[..]]);
        assert!(!answer.stderr.contains("MARKER"), "{}", answer.stderr);
    }
}

#[test]
fn a_name_that_is_not_seen_makes_no_new_lock_and_is_shown() {
    let remote = TestRemote::with_pool("aws", &["e1"]);
    let step = Step::on(&remote, "aws");
    for param in ["add", "add_claimed", "update"] {
        let files: [(&str, &[u8]); 2] = [("x/name", "e\u{200b}1".as_bytes()), ("x/metadata", b"m")];
        step.put_with(json!({ param: "x" }), &files)
            .assert_failed(&["a new lock cannot be called `e\\u{200b}1`"]);
    }
    // A mark at the start of the file is not part of the name.
    let files: [(&str, &[u8]); 1] = [("x/name", "\u{feff}e1\r\n".as_bytes())];
    step.put(json!({"claim": "e1"})).lock();
    assert_eq!(step.put_with(json!({"release": "x"}), &files).lock(), "e1");

    // One that is there is served, and seen.
    let odd = "e\u{202e}2";
    let hand = support::remote::Hand::Put("aws/claimed/e\u{202e}2", "100644", b"m");
    remote.commit("by \u{2066}hand", &[hand]);
    let answer = step.put(json!({"claim": odd, "try": true}));
    answer.assert_failed(&["`e\\u{202e}2` is held since", "by by \\u{2066}hand"]);
    assert!(!answer.stderr.contains('\u{202e}'), "{}", answer.stderr);
}

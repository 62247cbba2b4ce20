//! Which versions a check finds, and what is kept from one check to the next.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::json;

use support::remote::Hand;
use support::server::http::HttpServer;
use support::server::relay::Relay;
use support::{Answer, Step, TestRemote};

/// The commits of the branch that touched a path since `known`, oldest first, as plain git lists them.
fn touched(remote: &TestRemote, known: &str, pool: &str) -> Vec<String> {
    let range = format!("{known}..{}", remote.branch());
    let args = [
        "rev-list",
        "--first-parent",
        "--reverse",
        &range,
        "--",
        pool,
    ];
    let later = remote.git(&args);
    later.lines().map(str::to_owned).collect()
}

/// `known`, which touched the pool, and what did since.
fn from(remote: &TestRemote, known: &str) -> Vec<String> {
    let mut all = vec![known.to_owned()];
    all.extend(touched(remote, known, "aws"));
    all
}

/// Puts the branch at a commit, as a forced push by hand does.
fn force(remote: &TestRemote, commit: &str) {
    remote.git(&["update-ref", "refs/heads/main", commit]);
}

/// Claims and releases a lock by hand, so many times.
fn go_on(remote: &TestRemote, times: usize) {
    for _ in 0..times {
        remote.claim_by_hand("aws", "env-1");
        remote.release_by_hand("aws", "env-1");
    }
}

/// The names in a folder, hidden ones too, sorted.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The folders of kept objects in a container.
fn caches(step: &Step) -> Vec<PathBuf> {
    let home = step.temporary().join("pool-resource");
    let names = names(&home).into_iter();
    names
        .map(|name| home.join(name))
        .filter(|path| path.is_dir())
        .collect()
}

fn packs(cache: &Path) -> Vec<PathBuf> {
    let folder = cache.join("objects/pack");
    let names = names(&folder).into_iter();
    names.map(|name| folder.join(name)).collect()
}

// Versions.

#[test]
fn a_first_check_finds_the_latest_commit_that_touched_the_pool() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    go_on(&remote, 2);
    let claim = remote.claim_by_hand("aws", "env-1");
    remote.add_pool("gcp", &["other"]);
    remote.commit("docs", &[Hand::Put("README", "100644", b"hello")]);

    let answer = Step::on(&remote, "aws").check(None);

    assert_eq!(answer.json(), json!([{ "ref": claim }]));
}

#[test]
fn a_check_finds_the_known_version_and_all_later_ones_oldest_first() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let known = remote.claim_by_hand("aws", "env-1");
    let second = remote.release_by_hand("aws", "env-1");
    let third = remote.claim_by_hand("aws", "env-1");

    let answer = Step::on(&remote, "aws").check(Some(&known));

    assert_eq!(answer.versions(), [known, second, third]);
}

#[test]
fn a_check_leaves_out_what_touched_other_pools() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    remote.add_pool("aws-2", &["env-1"]);
    remote.add_pool("team/aws", &["env-1"]);
    let known = remote.claim_by_hand("aws", "env-1");
    let similar = remote.claim_by_hand("aws-2", "env-1");
    let nested = remote.claim_by_hand("team/aws", "env-1");
    let last = remote.release_by_hand("aws", "env-1");
    let step = Step::on(&remote, "aws");

    assert_eq!(step.check(Some(&known)).versions(), [&known[..], &last]);
    let step = step.set("pool", "aws-2");
    assert_eq!(step.check(Some(&known)).versions(), [&similar[..]]);
    let step = step.set("pool", "team/aws");
    assert_eq!(step.check(Some(&known)).versions(), [&nested[..]]);
}

#[test]
fn a_check_finds_just_the_known_version_when_nothing_is_new() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let known = remote.claim_by_hand("aws", "env-1");
    let step = Step::on(&remote, "aws");

    assert_eq!(step.check(Some(&known)).versions(), [&known[..]]);
    assert_eq!(step.check(Some(&known)).versions(), [&known[..]]);
    remote.add_pool("gcp", &["other"]);
    assert_eq!(step.check(Some(&known)).versions(), [&known[..]]);
}

#[test]
fn a_known_version_that_did_not_touch_the_pool_is_followed_by_those_that_did() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let known = remote.commit("docs", &[Hand::Put("README", "100644", b"hello")]);
    let step = Step::on(&remote, "aws");
    let before = step.check(Some(&known)).versions();
    let first = remote.claim_by_hand("aws", "env-1");
    remote.add_pool("gcp", &["other"]);
    let second = remote.release_by_hand("aws", "env-1");

    let after = step.check(Some(&known)).versions();

    assert_eq!((before, after), (vec![known], vec![first, second]));
}

#[test]
fn a_known_version_that_is_not_on_the_branch_gives_the_latest() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let base = remote.head();
    let elsewhere = remote.claim_by_hand("aws", "env-1");
    remote.git(&["branch", "other", "main"]);
    force(&remote, &base);
    // Not the same commit again, which it would be within one second.
    remote.commit("docs", &[Hand::Put("README", "100644", b"hello")]);
    go_on(&remote, 2);
    let step = Step::on(&remote, "aws");

    for known in [
        &elsewhere,
        &"0".repeat(40),
        "none",
        "main",
        "",
        "\u{e9}",
        "--all",
        &base[..39],
    ] {
        let answer = step.check(Some(known));

        assert_eq!(answer.versions(), [remote.head()], "{known:?}");
    }
}

#[test]
fn a_merge_is_one_version_and_drops_none_of_the_branch_itself() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2"]);
    let known = remote.claim_by_hand("aws", "env-1");
    let note = Hand::Put("aws/unclaimed/env-3", "100644", b"new");
    let side = remote.commit_on(&[&known], "side", &[note]);
    let second = remote.claim_by_hand("aws", "env-2");
    let note = Hand::Put("aws/unclaimed/env-3", "100644", b"new");
    let merge = remote.commit_on(&[&second, &side], "Merge", &[note]);
    force(&remote, &merge);
    let last = remote.release_by_hand("aws", "env-1");

    let answer = Step::on(&remote, "aws").check(Some(&known));

    assert_eq!(answer.versions(), [known, second, merge, last]);
}

#[test]
fn a_merge_that_brought_nothing_to_the_pool_is_no_version() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let known = remote.claim_by_hand("aws", "env-1");
    let docs = Hand::Put("README", "100644", b"hello");
    let side = remote.commit_on(&[&known], "docs", &[docs]);
    let second = remote.release_by_hand("aws", "env-1");
    let docs = Hand::Put("README", "100644", b"hello");
    let merge = remote.commit_on(&[&second, &side], "Merge", &[docs]);
    force(&remote, &merge);

    let answer = Step::on(&remote, "aws").check(Some(&known));

    assert_eq!(answer.versions(), [known, second]);
}

#[test]
fn a_known_version_on_a_side_that_a_person_pulled_is_followed_by_the_merge() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let base = remote.head();
    let known = remote.claim_by_hand("aws", "env-1");
    let docs = Hand::Put("README", "100644", b"hello");
    let theirs = remote.commit_on(&[&base], "docs", &[docs]);
    let (from, to) = ("aws/unclaimed/env-1", "aws/claimed/env-1");
    let merge = remote.commit_on(&[&theirs, &known], "Merge", &[Hand::Move(from, to)]);
    force(&remote, &merge);
    let step = Step::on(&remote, "aws");

    let latest = step.check(Some(&known)).versions();

    assert_eq!(latest.last(), Some(&merge));
    assert_eq!(step.check(Some(&merge)).versions(), [merge]);
}

#[test]
fn a_forced_branch_gives_the_latest_and_goes_on_from_there() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let base = remote.head();
    let step = Step::on(&remote, "aws");
    go_on(&remote, 3);
    let gone = remote.head();
    assert_eq!(step.check(Some(&base)).versions().len(), 7);

    force(&remote, &base);
    let forced = remote.commit("x", &[Hand::Put("aws/unclaimed/env-9", "100644", b"x")]);
    let after = step.check(Some(&gone)).versions();
    let next = remote.claim_by_hand("aws", "env-9");

    assert_eq!(after, [&forced[..]]);
    assert_eq!(step.check(Some(&forced)).versions(), [&forced[..], &next]);
    assert_eq!(step.check(Some(&base)).versions(), [base, forced, next]);
}

#[test]
fn a_branch_that_was_forced_back_gives_the_latest_of_what_is_left() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let base = remote.head();
    let kept = remote.claim_by_hand("aws", "env-1");
    let gone = remote.release_by_hand("aws", "env-1");
    let step = Step::on(&remote, "aws");
    assert_eq!(step.check(Some(&base)).versions().len(), 3);

    force(&remote, &kept);

    assert_eq!(step.check(Some(&gone)).versions(), [&kept[..]]);
    assert_eq!(step.check(Some(&base)).versions(), [base, kept]);
}

#[test]
fn a_branch_that_was_deleted_and_made_anew_gives_the_latest() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let gone = remote.claim_by_hand("aws", "env-1");
    let step = Step::on(&remote, "aws");
    assert_eq!(step.check(Some(&gone)).versions(), [&gone[..]]);

    remote.git(&["update-ref", "-d", "refs/heads/main"]);
    let without = step.check(Some(&gone));
    let orphan = remote.commit("x", &[Hand::Put("aws/claimed/env-5", "100644", b"x")]);

    without.assert_failed(&["no branch `main`"]);
    assert_eq!(step.check(Some(&gone)).versions(), [&orphan[..]]);
    assert_eq!(step.check(Some(&orphan)).versions(), [orphan]);
}

#[test]
fn a_pool_that_is_missing_is_named() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);

    let answer = Step::on(&remote, "gcp").check(None);

    answer.assert_failed(&["gcp", "no pool"]);
}

// What is kept.

#[test]
fn a_check_leaves_nothing_but_its_cache() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let step = Step::on(&remote, "aws");

    step.check(None).versions();

    assert_eq!(names(step.temporary()), ["pool-resource"]);
    let [cache] = &caches(&step)[..] else {
        panic!("not one folder: {:?}", caches(&step));
    };
    let name = cache.file_name().unwrap().to_str().unwrap();
    assert!(name.len() == 40 && name.bytes().all(|c| c.is_ascii_hexdigit()));
}

#[test]
fn caches_of_two_repositories_are_kept_apart() {
    let remotes = [(); 2].map(|()| TestRemote::with_pool("aws", &["env-1"]));
    remotes[1].commit("x", &[Hand::Put("aws/unclaimed/x", "100644", b"x")]);
    let mut step = Step::on(&remotes[0], "aws");

    for _ in 0..3 {
        for remote in &remotes {
            step = step.set("uri", remote.uri());
            let known = remote.head();
            let next = remote.commit(
                "x",
                &[Hand::Put("aws/unclaimed/y", "100644", known.as_bytes())],
            );

            assert_eq!(step.check(Some(&known)).versions(), [known, next]);
        }
    }
    assert_eq!(caches(&step).len(), 2);
}

#[test]
fn caches_of_two_branches_are_kept_apart() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let base = remote.head();
    let ours = remote.claim_by_hand("aws", "env-1");
    let note = Hand::Put("aws/unclaimed/x", "100644", b"x");
    let theirs = remote.commit_on(&[&base], "x", &[note]);
    remote.git(&["update-ref", "refs/heads/team/other", &theirs]);
    let mut step = Step::on(&remote, "aws");

    for _ in 0..3 {
        for (branch, last) in [("main", &ours), ("team/other", &theirs)] {
            step = step.set("branch", branch);

            assert_eq!(step.check(Some(&base)).versions(), [&base[..], last]);
            assert_eq!(step.check(None).versions(), [&last[..]]);
        }
    }
    assert_eq!(caches(&step).len(), 2);
}

#[test]
fn pools_of_one_branch_share_a_cache_and_have_their_own_versions() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    remote.add_pool("gcp", &["other"]);
    let base = remote.head();
    let ours = remote.claim_by_hand("aws", "env-1");
    let theirs = remote.claim_by_hand("gcp", "other");
    let mut step = Step::on(&remote, "aws");

    for (pool, last) in [("aws", &ours), ("gcp", &theirs), ("aws", &ours)] {
        step = step.set("pool", pool);

        assert_eq!(step.check(Some(&base)).versions().last(), Some(last));
    }
    assert_eq!(caches(&step).len(), 1);
}

#[test]
fn a_check_that_finds_nothing_new_makes_one_request_also_right_after_the_first() {
    let remote = TestRemote::with_history(100);
    let server = HttpServer::start(remote.root());
    let step = Step::on(&remote, "aws").set("uri", server.uri());
    let head = remote.head();

    assert_eq!(step.check(None).versions(), std::slice::from_ref(&head));
    for _ in 0..2 {
        assert_eq!(
            step.check(Some(&head)).versions(),
            std::slice::from_ref(&head)
        );
    }

    let log = server.log();
    assert_eq!(log.lines().count(), 2 + 1 + 1, "{log}");
}

#[test]
fn a_second_check_transfers_little() {
    let remote = TestRemote::with_history(400);
    let server = HttpServer::start(remote.root());
    let relay = Relay::start(server.port());
    let uri = format!("http://127.0.0.1:{}/git/locks.git", relay.port());
    let step = Step::on(&remote, "aws").set("uri", uri);
    let known = remote.back(300);
    let check = |known: &str, expected: &[String]| {
        let before = relay.bytes();
        assert_eq!(step.check(Some(known)).versions(), expected);
        relay.bytes() - before
    };

    let cold = check(&known, &from(&remote, &known));
    let unchanged = check(&known, &from(&remote, &known));
    let head = remote.head();
    remote.commit("x", &[Hand::Put("aws/unclaimed/x", "100644", b"x")]);
    let one_more = check(&head, &from(&remote, &head));

    assert!(unchanged < 4_000, "{unchanged} bytes, {cold} at first");
    assert!(one_more < 8_000, "{one_more} bytes, {cold} at first");
    assert!(cold > 40_000, "{cold} bytes would not show a difference");
}

#[test]
fn checks_over_a_long_time_keep_few_files() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let step = Step::on(&remote, "aws");
    let mut known = remote.head();

    for _ in 0..60 {
        let next = remote.commit(
            "x",
            &[Hand::Put("aws/unclaimed/x", "100644", known.as_bytes())],
        );
        assert_eq!(step.check(Some(&known)).versions(), [&known[..], &next]);
        known = next;
    }

    let kept = packs(&caches(&step)[0]).len();
    assert!(kept <= 110, "{kept} files");
}

// Damage.

type Damage = (&'static str, fn(&Path));

/// Cuts each of these files to half of its size.
fn cut_half(files: Vec<PathBuf>) {
    for file in files {
        let bytes = fs::read(&file).unwrap();
        replace(&file, &bytes[..bytes.len() / 2]);
    }
}

/// Writes a file in the place of whatever is there; packs are not writable as they are.
fn replace(path: &Path, bytes: &[u8]) {
    if path.is_dir() {
        fs::remove_dir_all(path).unwrap();
    } else if path.exists() {
        fs::remove_file(path).unwrap();
    }
    fs::write(path, bytes).unwrap();
}

fn ending(cache: &Path, end: &str) -> Vec<PathBuf> {
    let files: Vec<PathBuf> = packs(cache)
        .into_iter()
        .filter(|file| file.to_str().unwrap().ends_with(end))
        .collect();
    assert!(!files.is_empty(), "there is no {end} to damage");
    files
}

fn remove_all(files: Vec<PathBuf>) {
    for file in files {
        fs::remove_file(file).unwrap();
    }
}

/// Turns the bits of bytes here and there, the header and the checksum left alone.
fn scramble(files: Vec<PathBuf>) {
    for file in files {
        let mut bytes = fs::read(&file).unwrap();
        let end = bytes.len() - 40;
        for at in (20..end).step_by(37) {
            bytes[at] ^= 0xff;
        }
        replace(&file, &bytes);
    }
}

fn make_folder(path: &Path) {
    if path.is_dir() {
        fs::remove_dir_all(path).unwrap();
    } else {
        fs::remove_file(path).unwrap();
    }
    fs::create_dir(path).unwrap();
    fs::write(path.join("something"), "in it").unwrap();
}

const DAMAGES: &[Damage] = &[
    ("state is gone", |cache| {
        fs::remove_file(cache.join("state")).unwrap();
    }),
    ("state is empty", |cache| replace(&cache.join("state"), b"")),
    ("state is half", |cache| cut_half(vec![cache.join("state")])),
    ("state lacks its end", |cache| {
        let text = fs::read_to_string(cache.join("state")).unwrap();
        replace(&cache.join("state"), text.replace("end\n", "").as_bytes());
    }),
    ("state lacks its cuts", |cache| {
        let text = fs::read_to_string(cache.join("state")).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with("cut "));
        let lines: Vec<&str> = lines.collect();
        replace(&cache.join("state"), (lines.join("\n") + "\n").as_bytes());
    }),
    ("state is garbage", |cache| {
        replace(&cache.join("state"), b"\x00\xff\xfe garbage \n\n\xff");
    }),
    ("state is of something else", |cache| {
        let text = format!("head {} 50\ncut {}\nend\n", "1".repeat(40), "2".repeat(40));
        replace(&cache.join("state"), text.as_bytes());
    }),
    ("state is a folder", |cache| {
        make_folder(&cache.join("state"))
    }),
    ("HEAD is gone", |cache| {
        fs::remove_file(cache.join("HEAD")).unwrap();
    }),
    ("HEAD is empty", |cache| replace(&cache.join("HEAD"), b"")),
    ("HEAD is garbage", |cache| {
        replace(&cache.join("HEAD"), b"\xff\x00")
    }),
    ("HEAD is a folder", |cache| make_folder(&cache.join("HEAD"))),
    ("config is gone", |cache| {
        fs::remove_file(cache.join("config")).unwrap();
    }),
    ("config is garbage", |cache| {
        replace(&cache.join("config"), b"[core\nx = \xff");
    }),
    ("config is of a later Git", |cache| {
        let text = "[core]\nrepositoryformatversion = 99\nbare = true\n";
        replace(&cache.join("config"), text.as_bytes());
    }),
    ("refs are gone", |cache| {
        fs::remove_dir_all(cache.join("refs")).unwrap();
    }),
    ("objects are gone", |cache| {
        fs::remove_dir_all(cache.join("objects")).unwrap();
    }),
    ("objects are a file", |cache| {
        replace(&cache.join("objects"), b"x")
    }),
    ("the pack folder is empty", |cache| remove_all(packs(cache))),
    ("the pack folder is gone", |cache| {
        fs::remove_dir_all(cache.join("objects/pack")).unwrap();
    }),
    ("the pack folder is a file", |cache| {
        replace(&cache.join("objects/pack"), b"x");
    }),
    ("packs are gone", |cache| remove_all(ending(cache, ".pack"))),
    ("indexes are gone", |cache| {
        remove_all(ending(cache, ".idx"))
    }),
    ("the first pack is gone", |cache| {
        fs::remove_file(ending(cache, ".pack").remove(0)).unwrap();
    }),
    ("the last pack is gone", |cache| {
        fs::remove_file(ending(cache, ".pack").pop().unwrap()).unwrap();
    }),
    ("packs are half", |cache| cut_half(ending(cache, ".pack"))),
    ("indexes are half", |cache| cut_half(ending(cache, ".idx"))),
    ("packs are empty", |cache| {
        for file in ending(cache, ".pack") {
            replace(&file, b"");
        }
    }),
    ("packs are scrambled", |cache| {
        scramble(ending(cache, ".pack"))
    }),
    ("indexes are scrambled", |cache| {
        scramble(ending(cache, ".idx"))
    }),
    ("packs are folders", |cache| {
        for file in ending(cache, ".pack") {
            make_folder(&file);
        }
    }),
    ("the folder is a file", |cache| replace(cache, b"x")),
    ("the folder is empty", |cache| {
        fs::remove_dir_all(cache).unwrap();
        fs::create_dir(cache).unwrap();
    }),
    ("the folder is a dead link", |cache| {
        fs::remove_dir_all(cache).unwrap();
        std::os::unix::fs::symlink("/nonexistent/folder", cache).unwrap();
    }),
    ("lock files are left", |cache| {
        for name in [
            "index.lock",
            "HEAD.lock",
            "config.lock",
            "shallow.lock",
            "state.lock",
        ] {
            fs::write(cache.join(name), "").unwrap();
        }
        fs::write(cache.join("objects/pack/tmp_pack_x"), "PACK").unwrap();
    }),
    ("Git's own shallow file is there", |cache| {
        fs::write(cache.join("shallow"), "1".repeat(40) + "\n").unwrap();
    }),
    ("the folder's lock is a folder", |cache| {
        make_folder(&cache.with_extension("lock"));
    }),
    ("the folder of all caches is a file", |cache| {
        replace(cache.parent().unwrap(), b"x");
    }),
];

/// Runs a check after each damage to what an earlier one kept; `change` says what happened on the branch meanwhile.
fn check_after_damage(commits: usize, back: usize, change: fn(&TestRemote)) {
    let mut wrong = Vec::new();
    for (what, damage) in DAMAGES {
        let remote = TestRemote::with_history(commits).served();
        let known = remote.back(back);
        let step = Step::on(&remote, "aws");
        // Twice, with a commit in between, so that there is more than one pack.
        step.check(Some(&remote.head())).versions();
        remote.commit("x", &[Hand::Put("aws/unclaimed/x", "100644", b"x")]);
        step.check(Some(&known)).versions();
        damage(&caches(&step)[0]);
        change(&remote);
        let expected = from(&remote, &known);

        for round in 1..=2 {
            let answer = step.check(Some(&known));
            if let Some(problem) = problem(&answer, &expected) {
                wrong.push(format!("{what}, check {round}: {problem}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is wrong with an answer that should have these versions and nothing to say.
fn problem(answer: &Answer, expected: &[String]) -> Option<String> {
    let right: Vec<_> = expected.iter().map(|id| json!({ "ref": id })).collect();
    if answer.code != Some(0) || !answer.stderr.is_empty() {
        return Some(format!("exit {:?}: {}", answer.code, answer.stderr));
    }
    let found: serde_json::Value = serde_json::from_str(&answer.stdout).unwrap();
    (found != json!(right)).then(|| format!("{} of {}", answer.stdout, expected.len()))
}

#[test]
fn a_damaged_cache_is_made_anew_when_nothing_is_new() {
    check_after_damage(12, 5, |_| {});
}

#[test]
fn a_damaged_cache_is_made_anew_when_the_branch_went_on() {
    check_after_damage(12, 5, |remote| {
        remote.commit("y", &[Hand::Put("aws/unclaimed/y", "100644", b"y")]);
    });
}

#[test]
fn a_damaged_cache_of_a_deep_history_is_made_anew() {
    check_after_damage(150, 90, |remote| {
        remote.commit("y", &[Hand::Put("aws/unclaimed/y", "100644", b"y")]);
    });
}

#[test]
fn a_damaged_cache_is_made_anew_over_http() {
    let remote = TestRemote::with_history(150);
    let server = HttpServer::start(remote.root());
    let step = Step::on(&remote, "aws").set("uri", server.uri());
    let known = remote.back(90);
    let expected = from(&remote, &known);
    step.check(Some(&known)).versions();
    remove_all(packs(&caches(&step)[0]));

    let answer = step.check(Some(&known));

    assert_eq!(answer.versions(), expected);
}

#[test]
fn a_cache_that_a_damage_was_repaired_in_is_used_again() {
    let remote = TestRemote::with_history(400);
    let server = HttpServer::start(remote.root());
    let relay = Relay::start(server.port());
    let uri = format!("http://127.0.0.1:{}/git/locks.git", relay.port());
    let step = Step::on(&remote, "aws").set("uri", uri);
    let known = remote.back(300);
    let expected = from(&remote, &known);
    step.check(Some(&known)).versions();
    remove_all(packs(&caches(&step)[0]));
    assert_eq!(step.check(Some(&known)).versions(), expected);
    let before = relay.bytes();

    let answer = step.check(Some(&known));

    assert_eq!(answer.versions(), expected);
    assert!(relay.bytes() - before < 4_000);
}

#[test]
fn a_check_that_was_killed_does_not_spoil_the_next() {
    let remote = TestRemote::with_history(150);
    let known = remote.back(90);
    let step = Step::on(&remote, "aws");
    let request = json!({"source": step.source(), "version": {"ref": known}}).to_string();
    let started = Instant::now();
    step.check(Some(&known)).versions();
    let usual = started.elapsed();
    let mut killed = 0;

    for n in 0..60_u32 {
        let text = n.to_string();
        remote.commit(
            "x",
            &[Hand::Put("aws/unclaimed/x", "100644", text.as_bytes())],
        );
        if n % 7 == 0 {
            fs::remove_dir_all(step.temporary().join("pool-resource")).unwrap_or_default();
        }
        let mut running = step.start("check", &[], request.as_bytes());
        // Not to wait for anything: each time it is another moment that it is killed at.
        std::thread::sleep(usual * n / 60);
        killed += usize::from(running.is_running());
        running.kill();

        let answer = step.check(Some(&known));

        assert_eq!(problem(&answer, &from(&remote, &known)), None, "round {n}");
    }
    assert!(killed > 5, "only {killed} were killed");
}

#[test]
fn two_checks_at_once_are_both_right() {
    let remote = TestRemote::with_history(150);
    let known = remote.back(90);
    let step = Step::on(&remote, "aws");
    let request = json!({"source": step.source(), "version": {"ref": known}}).to_string();

    for n in 0..10_u64 {
        let text = n.to_string();
        remote.commit(
            "x",
            &[Hand::Put("aws/unclaimed/x", "100644", text.as_bytes())],
        );
        let running = [(); 3].map(|()| step.start("check", &[], request.as_bytes()));

        let answers = running.map(|running| running.finish());

        for answer in &answers {
            assert_eq!(problem(answer, &from(&remote, &known)), None, "round {n}");
        }
    }
    assert_eq!(names(step.temporary()), ["pool-resource"]);
}

//! Signed commits, as Git itself checks them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::json;
use support::{Pool, Step, TestRemote};
use tempfile::TempDir;

/// Keys, and a repository that knows whose they are.
struct Scene {
    remote: TestRemote,
    keys: TempDir,
}

impl Scene {
    fn new() -> Scene {
        let remote = TestRemote::with_pool("aws", &["env-1", "env-2"]);
        let keys = tempfile::tempdir().unwrap();
        let allowed = keys.path().join("allowed");
        fs::write(&allowed, "").unwrap();
        let allowed = allowed.display().to_string();
        remote.git(&["config", "gpg.ssh.allowedSignersFile", &allowed]);
        Scene { remote, keys }
    }

    /// Makes a key of this kind whose signatures are trusted, and gives its file.
    fn key(&self, kind: &str, passphrase: &str) -> PathBuf {
        let file = self.keys.path().join(format!("id_{kind}"));
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", kind, "-N", passphrase, "-C", "", "-f"])
            .arg(&file)
            .status();
        assert!(made.unwrap().success());
        let public = fs::read_to_string(file.with_extension("pub")).unwrap();
        let allowed = self.keys.path().join("allowed");
        let before = fs::read_to_string(&allowed).unwrap();
        fs::write(allowed, format!("{before}* {public}")).unwrap();
        file
    }

    fn verified(&self, commit: &str) -> Output {
        let path = self.remote.path();
        let mut command = Command::new("git");
        command.arg("-C").arg(path).args(["verify-commit", commit]);
        command.output().unwrap()
    }

    #[track_caller]
    fn assert_signed(&self, commit: &str) {
        let verified = self.verified(commit);
        let words = String::from_utf8_lossy(&verified.stderr);
        assert!(verified.status.success(), "{words}");
        assert!(words.contains("Good \"git\" signature"), "{words}");
    }

    /// Lets the server take only signed commits on its branches.
    fn demand_signatures(&self) {
        let hook = "#!/bin/sh\nwhile read old new ref; do case $ref in refs/heads/*)\n\
            for commit in $(git rev-list \"$new\" \"^$old\"); do\n\
            git verify-commit \"$commit\" 2>/dev/null || { echo \"unsigned: $commit\" >&2; exit 1; }\n\
            done;; esac; done\n";
        let file = self.remote.path().join("hooks/pre-receive");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, hook).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[test]
fn git_verifies_what_every_kind_of_key_has_signed() {
    let scene = Scene::new();
    for kind in ["ed25519", "rsa", "ecdsa"] {
        let key = fs::read_to_string(scene.key(kind, "")).unwrap();
        let step = Step::on(&scene.remote, "aws").set("signing_key", key);
        let step = step.in_build();

        let claim = step.put(json!({"acquire": true})).version();
        let (_, folder) = step.get(&claim);
        let release = step.put_folder("release", &folder).version();

        scene.assert_signed(&claim);
        scene.assert_signed(&release);
        // What was signed by somebody else's rules is as it was.
        assert!(scene.remote.message(&claim).contains("Pool-Number: "));
    }
    let unsigned = Step::on(&scene.remote, "aws").put(json!({"acquire": true}));
    assert!(!scene.verified(&unsigned.version()).status.success());
}

#[test]
fn a_commit_that_was_tampered_with_does_not_pass() {
    let scene = Scene::new();
    let key = scene.key("ed25519", "");
    let pool = Pool::on(&scene.remote, "aws").env("POOL_SIGNING_KEY_FILE", &key);
    pool.run(&["claim", "env-1"]).text();
    let claim = scene.remote.head();
    scene.assert_signed(&claim);

    let whole = scene.remote.git(&["cat-file", "commit", &claim]);
    let file = scene.keys.path().join("commit");
    let forge = |text: String| -> String {
        fs::write(&file, text + "\n").unwrap();
        let path = file.display().to_string();
        scene
            .remote
            .git(&["hash-object", "-t", "commit", "-w", &path])
    };
    assert_eq!(forge(whole.clone()), claim);
    for (from, to) in [
        ("claiming: env-1", "claiming: env-2"),
        ("Pool-Number: ", "Pool-Number: 9"),
        ("CI Pool Resource", "CI Pool Resourse"),
    ] {
        assert!(whole.contains(from));
        let forged = forge(whole.replace(from, to));
        assert!(!scene.verified(&forged).status.success(), "{to}");
    }
}

#[test]
fn a_server_that_demands_signatures_takes_all_that_we_make() {
    let scene = Scene::new();
    let key = scene.key("ed25519", "");
    scene.demand_signatures();
    let unsigned = Pool::on(&scene.remote, "aws");
    unsigned
        .run(&["claim", "env-1"])
        .assert_code(2, &["unsigned: "]);

    let pool = Pool::on(&scene.remote, "aws").env("POOL_SIGNING_KEY_FILE", &key);
    let before = scene.remote.count();
    pool.run(&["claim", "env-1", "--lease", "1h"]).text();
    pool.run(&["renew", "env-1"]).text();
    pool.run(&["release", "env-1"]).text();
    pool.run(&["add", "env-3", "--metadata", "/dev/null"])
        .text();
    pool.run(&["init", "--lock", "env-4"]).text();
    pool.run(&["doctor", "--push"]).text();
    pool.run(&["run", "env-2", "--", "true"]).text();

    let made = scene.remote.count() - before;
    assert_eq!(made, 8);
    for n in 0..made {
        scene.assert_signed(&scene.remote.back(n));
    }
    // The command of `run` finds no key.
    let shown = pool.run(&["run", "env-2", "--", "sh", "-c", "env | grep SIGNING; true"]);
    assert_eq!(shown.text(), "");
    let by_flag = unsigned.run(&["claim", "env-1", "--signing-key", key.to_str().unwrap()]);
    by_flag.text();
}

#[test]
fn a_waiter_is_served_where_signatures_are_demanded() {
    let scene = Scene::new();
    let key = scene.key("ed25519", "");
    scene.demand_signatures();
    let pool = Pool::on(&scene.remote, "aws").env("POOL_SIGNING_KEY_FILE", &key);
    pool.run(&["claim", "env-1"]).text();

    let waiting = pool.start(&["run", "env-1", "--", "echo", "ran"]);
    support::wait_until("it waits", || {
        !scene
            .remote
            .git(&["for-each-ref", "refs/pool-queue"])
            .is_empty()
    });
    pool.run(&["release", "env-1"]).text();

    assert_eq!(waiting.finish().text(), "ran\n");
}

#[test]
fn the_names_of_git_s_own_settings_are_taken() {
    let scene = Scene::new();
    let key = scene.key("ed25519", "");
    let text = fs::read_to_string(&key).unwrap();
    let public = key.with_extension("pub").display().to_string();
    let setting = |value: &str| {
        let settings = json!([
            {"name": "gpg.format", "value": "ssh"},
            {"name": "user.signingKey", "value": value},
            {"name": "commit.gpgSign", "value": true},
            {"name": "user.name", "value": "Locks"},
            {"name": "user.email", "value": "locks@example.com"},
        ]);
        Step::on(&scene.remote, "aws").set("git_config", settings)
    };
    for value in [text.as_str(), key.to_str().unwrap(), &public] {
        let answer = setting(value).put(json!({"acquire": true}));
        scene.assert_signed(&answer.version());
        assert!(!answer.stderr.contains("no effect"), "{}", answer.stderr);
        scene.remote.release_by_hand("aws", &answer.lock());
    }

    let agents = fs::read_to_string(&public).unwrap();
    let refused = setting(agents.trim()).put(json!({"acquire": true}));
    refused.assert_failed(&["`user.signingkey`", "public half", "`signing_key`"]);
    let missing = setting("/nowhere/id").put(json!({"acquire": true}));
    missing.assert_failed(&["`user.signingkey`", "/nowhere/id"]);
    // Another format is none of ours.
    let other = json!([{"name": "user.signingKey", "value": "0A46826A"}]);
    let answer = Step::on(&scene.remote, "aws")
        .set("git_config", other)
        .put(json!({"acquire": true}));
    assert!(
        answer
            .stderr
            .contains("`user.signingkey` in `git_config` has no effect"),
        "{}",
        answer.stderr
    );
}

#[test]
fn a_key_that_cannot_sign_is_told_with_what_to_do_and_without_showing_it() {
    let scene = Scene::new();
    let key = scene.key("ed25519", "PASSMARK");
    let text = fs::read_to_string(&key).unwrap();
    let secret = text.lines().nth(2).unwrap();
    let step = Step::on(&scene.remote, "aws").set("signing_key", text.clone());

    let locked = step.put(json!({"acquire": true}));
    locked.assert_failed(&[
        "`source.signing_key`",
        "`signing_key_passphrase`",
        "encrypted",
    ]);
    assert!(!locked.stderr.contains(secret));
    let step = Step::on(&scene.remote, "aws")
        .set("signing_key", text.clone())
        .set("signing_key_passphrase", "WRONGMARK");
    let wrong = step.put(json!({"acquire": true}));
    wrong.assert_failed(&["`source.signing_key`"]);
    assert!(!wrong.stderr.contains(secret) && !wrong.stderr.contains("WRONGMARK"));
    let step = Step::on(&scene.remote, "aws")
        .set("signing_key", text)
        .set("signing_key_passphrase", "PASSMARK\n");
    scene.assert_signed(&step.put(json!({"acquire": true})).version());

    let public = fs::read_to_string(key.with_extension("pub")).unwrap();
    let step = Step::on(&scene.remote, "aws").set("signing_key", public);
    let refused = step.put(json!({"acquire": true}));
    refused.assert_failed(&["`source.signing_key` looks like the public half"]);
    let pool = Pool::on(&scene.remote, "aws").env("POOL_SIGNING_KEY", "MARKER");
    let answer = pool.run(&["claim", "env-2"]);
    answer.assert_code(2, &["`POOL_SIGNING_KEY` looks like"]);
    assert!(!answer.stderr.contains("MARKER"));
}

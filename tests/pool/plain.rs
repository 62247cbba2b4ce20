//! Repositories on a path of this machine: without a server where they are plain, and by Git's own where they are not.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use support::git::git;
use support::{Answer, Step, TestRemote};

/// Steps on a repository, with a `git` that notes what it is started for.
struct Watched {
    step: Step,
    folder: tempfile::TempDir,
}

impl Watched {
    fn on(remote: &TestRemote) -> Watched {
        Watched::at(&Step::on(remote, "aws").source()["uri"])
    }

    fn at(uri: &serde_json::Value) -> Watched {
        let folder = tempfile::tempdir().unwrap();
        let bin = folder.path().join("bin");
        fs::create_dir(&bin).unwrap();
        let before = std::env::var("PATH").unwrap();
        let log = folder.path().join("log");
        // What Git starts itself it finds beside itself.
        let script = format!(
            "#!/bin/sh\nfor word; do case $word in -*) ;; *) echo \"$word\" >> '{}'; break;; esac; done\nPATH='{before}' exec git \"$@\"\n",
            log.display()
        );
        fs::write(bin.join("git"), script).unwrap();
        fs::set_permissions(bin.join("git"), fs::Permissions::from_mode(0o755)).unwrap();
        let mut path = OsString::from(&bin);
        path.push(":");
        path.push(before);
        let step = Step::with_source(json!({
            "uri": uri, "branch": "main", "pool": "aws", "retry_delay": "50ms",
        }));
        Watched {
            step: step.env("PATH", path),
            folder,
        }
    }

    /// What was started since this was last asked.
    fn started(&self) -> Vec<String> {
        let log = self.folder.path().join("log");
        let text = fs::read_to_string(&log).unwrap_or_default();
        let _ = fs::remove_file(&log);
        text.lines().map(str::to_owned).collect()
    }

    fn acquire(&self) -> Answer {
        self.step.put(json!({"acquire": true}))
    }
}

fn repository() -> TestRemote {
    TestRemote::with_pool("aws", &["env-1", "env-2"])
}

#[test]
fn a_plain_repository_is_read_without_a_process_and_written_to_with_one() {
    let remote = repository();
    let watched = Watched::on(&remote);

    let claimed = watched.acquire().version();
    assert_eq!(watched.started(), ["update-ref"]);
    let (_, folder) = watched.step.get(&claimed);
    assert_eq!(watched.step.check(None).versions(), [claimed.as_str()]);
    assert_eq!(watched.started(), [""; 0]);
    let freed = watched.step.put_folder("release", &folder).version();

    assert_eq!(watched.started(), ["update-ref"]);
    assert_eq!(remote.head(), freed);
    assert_eq!(remote.parents(&freed), [claimed.as_str()]);
    remote.fsck();
    let left = git(remote.path(), &["fsck", "--unreachable", "--no-reflogs"]);
    assert_eq!(left, "", "nothing is written that nobody needs");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let (folder, file) = freed.split_at(2);
    let object = remote.path().join("objects").join(folder).join(file);
    assert_eq!(mode(&object), 0o444);
}

#[test]
fn what_is_packed_is_read_and_what_moves_is_written_beside_it() {
    let remote = repository();
    let watched = Watched::on(&remote);
    let first = watched.acquire().version();
    remote.git(&["gc", "--quiet"]);
    assert!(!remote.path().join("refs/heads/main").exists());

    let second = watched.acquire().version();

    assert_eq!(watched.started(), ["update-ref", "update-ref"]);
    assert_eq!(remote.parents(&second), [first]);
    assert_eq!(remote.list("aws/claimed").len(), 2);
    remote.fsck();
}

#[test]
fn a_repository_that_borrows_objects_of_another_one_is_for_gits_programs() {
    let remote = repository();
    git(
        remote.root(),
        &[
            "clone",
            "--quiet",
            "--bare",
            "--shared",
            "locks.git",
            "shared.git",
        ],
    );
    let shared = remote.root().join("shared.git");
    let watched = Watched::at(&json!(shared));

    let claimed = watched.acquire().version();

    assert_eq!(watched.started(), ["upload-pack", "receive-pack"]);
    assert_eq!(git(&shared, &["rev-parse", "main"]), claimed);
    git(&shared, &["fsck", "--strict"]);
    assert_eq!(remote.subjects(), ["pool aws"]);
}

#[test]
fn whatever_is_not_known_to_be_harmless_is_gits_own_business() {
    let settings = [
        ["core.sharedRepository", "group"],
        ["core.fsync", "loose-object"],
        ["core.hooksPath", "/nonexistent"],
        ["core.logAllRefUpdates", "true"],
        ["receive.fsckObjects", "true"],
        ["receive.hideRefs", "refs/hidden"],
        ["transfer.fsckObjects", "true"],
        ["later.setting", "true"],
    ];
    for [name, value] in settings {
        let remote = repository();
        remote.git(&["config", name, value]);
        let watched = Watched::on(&remote);

        let claimed = watched.acquire().version();

        assert_eq!(remote.head(), claimed, "{name}");
        let started = watched.started();
        assert!(
            started.contains(&"receive-pack".to_owned()),
            "{name}: {started:?}"
        );
        if name == "core.logAllRefUpdates" {
            assert!(remote.git(&["reflog", "main"]).contains("push"));
        }
    }
}

#[test]
fn a_hook_that_comes_later_is_run() {
    let remote = repository();
    let watched = Watched::on(&remote);
    watched.acquire().version();
    watched.started();
    for hook in ["pre-receive", "update"] {
        remote.hook(hook, "echo 'frozen until Monday' >&2; exit 1");

        watched.acquire().assert_failed(&[]);

        assert!(
            watched.started().contains(&"receive-pack".to_owned()),
            "{hook}"
        );
        fs::remove_file(remote.path().join("hooks").join(hook)).unwrap();
    }
    watched.acquire().version();

    assert_eq!(watched.started(), ["update-ref"]);
    assert_eq!(remote.list("aws/claimed").len(), 2);
}

#[test]
fn a_branch_that_a_work_tree_has_checked_out_is_refused_as_git_does() {
    let remote = repository();
    remote.git(&["worktree", "add", "--quiet", "../tree", "main"]);
    let watched = Watched::on(&remote);

    watched
        .acquire()
        .assert_failed(&["branch is currently checked out"]);

    assert_eq!(remote.subjects(), ["pool aws"]);
}

#[test]
fn many_loose_objects_are_packed_by_the_server_that_a_push_then_has() {
    let remote = repository();
    let folder = remote.path().join("objects/17");
    fs::create_dir_all(&folder).unwrap();
    for n in 0..28 {
        fs::write(folder.join(format!("{n:038}")), "").unwrap();
    }
    let watched = Watched::on(&remote);
    watched.acquire().version();
    assert_eq!(watched.started(), ["update-ref"], "it was told not to");

    remote.git(&["config", "--unset", "receive.autogc"]);
    watched.acquire().version();

    assert!(watched.started().contains(&"receive-pack".to_owned()));
}

#[test]
fn a_lock_file_in_the_way_is_waited_for() {
    let remote = repository();
    let lock = remote.path().join("refs/heads/main.lock");
    fs::write(&lock, "").unwrap();
    let watched = Watched::on(&remote);
    let before = remote.head();

    let running = watched.step.start_put(json!({"acquire": true}));
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(remote.head(), before);
    fs::remove_file(&lock).unwrap();
    let answer = running.finish();

    assert_eq!(remote.head(), answer.version());
    assert_eq!(remote.list("aws/claimed").len(), 1);
}

#[test]
fn a_repository_of_another_user_is_gits_own_business() {
    let remote = repository();
    if !is_root() {
        return;
    }
    let status = std::process::Command::new("chown")
        .args(["-R", "65534"])
        .arg(remote.path())
        .status();
    assert!(status.unwrap().success());
    let watched = Watched::on(&remote);

    watched.acquire().assert_failed(&["dubious ownership"]);

    assert!(watched.started().contains(&"upload-pack".to_owned()));
}

/// Whether we may give files to others.
fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(tempfile::tempdir().unwrap().path())
        .unwrap()
        .uid()
        == 0
}

#[test]
fn those_who_push_by_a_server_and_those_who_do_not_never_get_the_same_lock() {
    const EACH: usize = 4;
    let names: Vec<String> = (0..4 * EACH).map(|n| format!("env-{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let remote = TestRemote::with_pool("aws", &names);
    let before = remote.count();
    let stop = std::sync::atomic::AtomicBool::new(false);

    let locks = std::thread::scope(|scope| {
        // What a caretaker does, at the worst of moments.
        let tidying = scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                remote.git(&["pack-refs", "--all", "--prune"]);
                remote.git(&["repack", "-a", "-d", "-q"]);
                remote.git(&["prune-packed", "-q"]);
            }
        });
        let workers: Vec<_> = (0..4)
            .map(|n| {
                let step = Step::on(&remote, "aws");
                // Git's own programs for every other one.
                let step = match n % 2 {
                    0 => step,
                    _ => step.env("GIT_TRACE", "0"),
                };
                scope.spawn(move || {
                    let acquire = |_| step.put(json!({"acquire": true})).lock();
                    (0..EACH).map(acquire).collect::<Vec<String>>()
                })
            })
            .collect();
        let locks: Vec<String> = workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap())
            .collect();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        tidying.join().unwrap();
        locks
    });

    let different: std::collections::BTreeSet<&String> = locks.iter().collect();
    assert_eq!(different.len(), 4 * EACH);
    assert_eq!(remote.count() - before, 4 * EACH);
    remote.fsck();
}

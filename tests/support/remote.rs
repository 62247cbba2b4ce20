//! A lock repository that a test makes, changes by hand and reads back with plain git.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use git2::{
    Commit, ErrorCode, Index, IndexEntry, IndexTime, Oid, Repository, RepositoryInitOptions,
    Signature,
};
use tempfile::TempDir;

use super::git::{git, run};
use super::wait_until;

/// A bare repository in a folder of its own, which goes away with the value.
pub struct TestRemote {
    root: TempDir,
    path: PathBuf,
    branch: String,
}

/// One change of one path, made by hand.
pub enum Hand<'a> {
    /// A file with this mode (`100644`, `100755`, `120000`) and content.
    Put(&'a str, &'a str, &'a [u8]),
    /// Moves a file, keeping mode and content.
    Move(&'a str, &'a str),
    /// Takes a file away.
    Delete(&'a str),
}

impl TestRemote {
    /// A repository with one pool on `main`; each lock is free, and has `metadata of NAME` as its content.
    pub fn with_pool(pool: &str, locks: &[&str]) -> TestRemote {
        let remote = TestRemote::empty("main");
        remote.add_pool(pool, locks);
        remote
    }

    /// A repository whose branch does not exist yet; the first change by hand makes it.
    pub fn empty(branch: &str) -> TestRemote {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("locks.git");
        let mut how = RepositoryInitOptions::new();
        how.bare(true).initial_head("main").external_template(false);
        let repository = Repository::init_opts(&path, &how).unwrap();
        let mut config = repository.config().unwrap();
        config.set_bool("http.receivepack", true).unwrap();
        config.set_bool("daemon.receivepack", true).unwrap();
        // After each push it would start a process to see whether there is anything to do.
        config.set_bool("receive.autogc", false).unwrap();
        TestRemote {
            root,
            path,
            branch: branch.to_owned(),
        }
    }

    /// Another repository with all that is in this one.
    pub fn copy(&self) -> TestRemote {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("locks.git");
        let status = Command::new("cp")
            .arg("-R")
            .args([&self.path, &path])
            .status();
        assert!(status.unwrap().success());
        TestRemote {
            root,
            path,
            branch: self.branch.clone(),
        }
    }

    /// Has it served by Git's own programs by its path too, as it then has a setting that nobody knows.
    pub fn served(self) -> TestRemote {
        self.git(&["config", "later.setting", "true"]);
        self
    }

    /// Adds a pool with free locks.
    pub fn add_pool(&self, pool: &str, locks: &[&str]) {
        let keeps = ["claimed", "unclaimed"].map(|folder| format!("{pool}/{folder}/.gitkeep"));
        let files: Vec<(String, String)> = locks
            .iter()
            .map(|lock| {
                (
                    format!("{pool}/unclaimed/{lock}"),
                    format!("metadata of {lock}"),
                )
            })
            .collect();
        let mut hands: Vec<Hand<'_>> = keeps
            .iter()
            .map(|keep| Hand::Put(keep, "100644", b""))
            .collect();
        hands.extend(
            files
                .iter()
                .map(|(path, text)| Hand::Put(path, "100644", text.as_bytes())),
        );
        self.commit(&format!("pool {pool}"), &hands);
    }

    /// The folder that has the repository in it, as `locks.git`; what a server serves.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// The repository.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The repository as a `uri`.
    pub fn uri(&self) -> String {
        self.path.to_str().unwrap().to_owned()
    }

    /// The branch.
    pub fn branch(&self) -> &str {
        &self.branch
    }

    /// Runs plain git in the repository; it must succeed.
    pub fn git(&self, args: &[&str]) -> String {
        git(&self.path, args)
    }

    /// The commit that the branch is at.
    pub fn head(&self) -> String {
        let name = format!("refs/heads/{}", self.branch);
        let head = self.repository().refname_to_id(&name);
        head.unwrap_or_else(|err| panic!("{name}: {err}"))
            .to_string()
    }

    /// The commit `n` before the head, on the first-parent chain.
    pub fn back(&self, n: usize) -> String {
        self.git(&[
            "rev-parse",
            "--verify",
            &format!("refs/heads/{}~{n}", self.branch),
        ])
    }

    /// The first lines of all messages, newest first.
    pub fn subjects(&self) -> Vec<String> {
        let log = self.git(&["log", "--first-parent", "--format=%s", &self.branch, "--"]);
        log.lines().map(str::to_owned).collect()
    }

    /// How many commits the branch has.
    pub fn count(&self) -> usize {
        self.git(&["rev-list", "--count", &self.branch, "--"])
            .parse()
            .unwrap()
    }

    /// The whole message of a commit.
    pub fn message(&self, commit: &str) -> String {
        self.git(&["log", "-1", "--format=%B", commit])
    }

    /// The whole message of a commit with `ID` for the id of the request, and without its number; both must be there once. What
    /// is told only to those who reckon with it is left out as well: how long it was waited for, and what for.
    pub fn said(&self, commit: &str) -> String {
        let message = self.message(commit);
        let (before, after) = message.split_once("\nPool-Request: ").unwrap();
        assert!(!after.contains("Pool-Request"), "{message}");
        let (id, rest) = after.split_at_checked(36).unwrap();
        assert!(
            id.split('-').map(str::len).eq([8, 4, 4, 4, 12])
                && id.chars().all(|c| c == '-' || c.is_ascii_hexdigit()),
            "{message}"
        );
        let starts = |line: &&str, names: &[&str]| {
            let key = line.split_once(": ").map(|(key, _)| key);
            key.is_some_and(|key| names.contains(&key))
        };
        let numbers = rest.lines().filter(|line| starts(line, &["Pool-Number"]));
        assert_eq!(numbers.count(), 1, "{message}");
        let left_out = ["Pool-Number", "Pool-Waited", "Pool-Wanted"];
        let rest: Vec<&str> = rest
            .lines()
            .filter(|line| !starts(line, &left_out))
            .collect();
        format!("{before}\nPool-Request: ID{}", rest.join("\n"))
    }

    /// The number of a commit.
    pub fn number(&self, commit: &str) -> u64 {
        let message = self.message(commit);
        let number = message
            .lines()
            .find_map(|line| line.strip_prefix("Pool-Number: "));
        number
            .unwrap_or_else(|| panic!("no number: {message}"))
            .parse()
            .unwrap()
    }

    /// The parents of a commit.
    pub fn parents(&self, commit: &str) -> Vec<String> {
        let parents = self.git(&["log", "-1", "--format=%P", commit]);
        parents.split_whitespace().map(str::to_owned).collect()
    }

    /// The paths of all files at the head, sorted.
    pub fn tree(&self) -> Vec<String> {
        let paths = self.git(&["ls-tree", "-r", "-z", "--name-only", &self.branch]);
        paths.split_terminator('\0').map(str::to_owned).collect()
    }

    /// The names in a folder at the head that are not hidden.
    pub fn list(&self, folder: &str) -> Vec<String> {
        let start = format!("{folder}/");
        let names = self
            .tree()
            .into_iter()
            .filter_map(|path| path.strip_prefix(&start).map(str::to_owned));
        names.filter(|name| !name.starts_with('.')).collect()
    }

    /// A file's content at the head.
    pub fn content(&self, path: &str) -> Vec<u8> {
        let output = run(
            &self.path,
            &["cat-file", "blob", &format!("{}:{path}", self.branch)],
            b"",
            &[],
        );
        assert!(
            output.status.success(),
            "{path}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        output.stdout
    }

    /// A file's mode at the head, such as `100644`.
    pub fn mode(&self, path: &str) -> String {
        let line = self.git(&["ls-tree", &self.branch, "--", path]);
        line.split(' ').next().unwrap().to_owned()
    }

    /// Commits changes as a person with plain git would, on top of the head, and gives the commit.
    pub fn commit(&self, message: &str, hands: &[Hand<'_>]) -> String {
        let head = self
            .repository()
            .refname_to_id(&format!("refs/heads/{}", self.branch));
        let head = head.map_or(String::new(), |head| head.to_string());
        let parents: Vec<&str> = if head.is_empty() { vec![] } else { vec![&head] };
        let commit = self.commit_on(&parents, message, hands);
        self.move_branch(&commit);
        commit
    }

    /// Changes the branch as a commit that was made at this time, in seconds since 1970.
    pub fn commit_at(&self, time: u64, message: &str, hands: &[Hand<'_>]) {
        let commit = self.make_commit(&[&self.head()], message, hands, Some(time));
        self.move_branch(&commit);
    }

    /// Makes a commit with these parents (files from the first) that no branch has yet, and gives it.
    pub fn commit_on(&self, parents: &[&str], message: &str, hands: &[Hand<'_>]) -> String {
        self.make_commit(parents, message, hands, None)
    }

    fn make_commit(
        &self,
        parents: &[&str],
        message: &str,
        hands: &[Hand<'_>],
        time: Option<u64>,
    ) -> String {
        let repository = self.repository();
        let parents: Vec<Commit<'_>> = parents
            .iter()
            .map(|parent| repository.revparse_single(parent).unwrap())
            .map(|parent| parent.peel_to_commit().unwrap())
            .collect();
        let mut index = Index::new().unwrap();
        if let Some(first) = parents.first() {
            index.read_tree(&first.tree().unwrap()).unwrap();
        }
        for hand in hands {
            match hand {
                Hand::Put(path, mode, content) => {
                    let blob = repository.blob(content).unwrap();
                    let mode = u32::from_str_radix(mode, 8).unwrap();
                    index.add(&entry(path, mode, blob)).unwrap();
                }
                Hand::Move(from, to) => {
                    let found = index.get_path(Path::new(from), 0);
                    let found = found.unwrap_or_else(|| panic!("there is no {from} to move"));
                    index.remove(Path::new(from), 0).unwrap();
                    index.add(&entry(to, found.mode, found.id)).unwrap();
                }
                Hand::Delete(path) => index.remove(Path::new(path), 0).unwrap(),
            }
        }
        let tree = index.write_tree_to(&repository).unwrap();
        let tree = repository.find_tree(tree).unwrap();
        let author = Signature::now("Hand", "hand@example.com").unwrap();
        let committer = match time {
            None => author.clone(),
            Some(time) => {
                let time = git2::Time::new(i64::try_from(time).unwrap(), 0);
                Signature::new("Hand", "hand@example.com", &time).unwrap()
            }
        };
        // As `git commit` does it.
        let message = format!("{}\n", message.trim_end_matches('\n'));
        let parents: Vec<&Commit<'_>> = parents.iter().collect();
        let commit = repository.commit(None, &author, &committer, &message, &tree, &parents);
        commit.unwrap().to_string()
    }

    /// Moves the branch to a commit, wherever it is.
    pub fn move_branch(&self, commit: &str) {
        let repository = self.repository();
        let (name, commit) = (
            format!("refs/heads/{}", self.branch),
            commit.parse().unwrap(),
        );
        wait_until("the branch is nobody else's", || {
            match repository.reference(&name, commit, true, "by hand") {
                Ok(_) => true,
                Err(err) if err.code() == ErrorCode::Locked => false,
                Err(err) => panic!("{name}: {err}"),
            }
        });
    }

    /// For what is made by hand: a process of Git for each step of it took most of the time of the tests. What our programs
    /// have made is read back with plain git.
    fn repository(&self) -> Repository {
        Repository::open_bare(&self.path).unwrap()
    }

    /// Claims a lock of a pool by hand, as tools that know nothing of us do, and gives the commit.
    pub fn claim_by_hand(&self, pool: &str, lock: &str) -> String {
        let (from, to) = (
            format!("{pool}/unclaimed/{lock}"),
            format!("{pool}/claimed/{lock}"),
        );
        self.commit(&format!("claiming: {lock}"), &[Hand::Move(&from, &to)])
    }

    /// Releases a lock of a pool by hand.
    pub fn release_by_hand(&self, pool: &str, lock: &str) -> String {
        let (from, to) = (
            format!("{pool}/claimed/{lock}"),
            format!("{pool}/unclaimed/{lock}"),
        );
        self.commit(&format!("unclaiming: {lock}"), &[Hand::Move(&from, &to)])
    }

    /// Installs a hook of the repository: a shell script.
    pub fn hook(&self, name: &str, script: &str) {
        use std::os::unix::fs::PermissionsExt;
        let file = self.path.join("hooks").join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Has a hook hold up the first push until the test lets it go on, or the repository is gone; later ones go through.
    pub fn hold_first_push(&self, hook: &str) {
        self.hold_push(hook, "held");
    }

    /// The same, with the name of the folder by which the hook says that a push is in it.
    pub fn hold_push(&self, hook: &str, mark: &str) {
        let script = format!(
            "mkdir {mark} 2>/dev/null || exit 0\nwhile [ -e HEAD ] && [ ! -e go-on ]; do sleep 0.05; done"
        );
        self.hook(hook, &script);
    }

    /// Waits until the push is in the hook that holds it.
    pub fn wait_for_held_push(&self) {
        crate::wait_until("the push is in the hook", || {
            self.path.join("held").exists()
        });
    }

    /// Lets the push go on that is held.
    pub fn let_push_go_on(&self) {
        std::fs::write(self.path.join("go-on"), "").unwrap();
    }

    /// Waits until the push that was held has ended.
    pub fn wait_until_no_push_is_held(&self) {
        crate::wait_until("the held push has ended", || {
            let objects = std::fs::read_dir(self.path.join("objects")).unwrap();
            objects
                .map(|entry| entry.unwrap().file_name())
                .all(|name| !name.to_string_lossy().starts_with("tmp_objdir"))
        });
    }

    /// Asks plain git whether every object is whole and well-formed.
    pub fn fsck(&self) {
        self.git(&["fsck", "--strict", "--no-dangling"]);
    }

    /// A repository with one pool `aws` of ten locks and `commits` commits, in which the locks were claimed and released
    /// in turn. Packed, as a server that is cared for has it.
    pub fn with_history(commits: usize) -> TestRemote {
        TestRemote::with_history_of(commits, 10)
    }

    /// The same with so many locks. Where the number of commits is even, the last one is a claim.
    pub fn with_history_of(commits: usize, locks: usize) -> TestRemote {
        let remote = TestRemote::empty("main");
        let mut stream = String::new();
        let data = |text: &str| format!("data {}\n{text}\n", text.len());
        let start = |n: usize| {
            format!(
                "commit refs/heads/main\ncommitter Hand <hand@example.com> {} +0000\n",
                1_600_000_000 + n * 10
            )
        };
        stream.push_str("blob\nmark :1\n");
        stream.push_str(&data("metadata"));
        stream.push_str("blob\nmark :2\n");
        stream.push_str(&data(""));
        stream.push_str(&start(0));
        stream.push_str(&data("pool aws"));
        stream.push_str("M 100644 :2 aws/claimed/.gitkeep\nM 100644 :2 aws/unclaimed/.gitkeep\n");
        for lock in 0..locks {
            writeln!(stream, "M 100644 :1 aws/unclaimed/env-{lock}").unwrap();
        }
        for n in 1..commits {
            let lock = (n - 1) / 2 % locks;
            let (verb, from, to) = if n % 2 == 1 {
                ("claiming", "unclaimed", "claimed")
            } else {
                ("unclaiming", "claimed", "unclaimed")
            };
            stream.push_str(&start(n));
            stream.push_str(&data(&format!("{verb}: env-{lock}")));
            writeln!(stream, "R aws/{from}/env-{lock} aws/{to}/env-{lock}").unwrap();
        }
        remote.import(&stream);
        remote
    }

    /// Takes in what `git fast-import` is told, and packs it.
    fn import(&self, stream: &str) {
        let args = ["fast-import", "--quiet"];
        let output = run(&self.path, &args, stream.as_bytes(), &[]);
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words}");
        self.git(&["repack", "-a", "-d", "-q"]);
    }

    /// Puts so many commits on the branch that change no file.
    pub fn say_often(&self, commits: usize) {
        let mut stream = String::new();
        let head = self.head();
        for n in 0..commits {
            let time = 1_800_000_000 + n;
            writeln!(
                stream,
                "commit refs/heads/{}\ncommitter Hand <hand@example.com> {time} +0000\ndata 3\nhm\n",
                self.branch()
            )
            .unwrap();
            if n == 0 {
                writeln!(stream, "from {head}").unwrap();
            }
        }
        self.import(&stream);
    }

    /// A repository with 17 pools of ten locks each (`pool-3` has `env-3-0` to `env-3-9`) and `commits` commits, each of which
    /// claims or releases a lock, at random but always the same. The last commit of `pool-16` is in the middle of them: it
    /// claims `env-16-0`. So does the one an eighth before the head with `env-15-9`. Packed, and served with the parts left
    /// out that a client does not want, as the large hosts do.
    pub fn with_idle_pool(commits: usize) -> TestRemote {
        const POOLS: usize = 17;
        let remote = TestRemote::empty("main");
        let mut stream = String::from("blob\nmark :1\ndata 8\nmetadata\nblob\nmark :2\ndata 0\n\n");
        let start = |n: usize, message: &str| {
            let time = 1_700_000_000 + n * 60;
            format!(
                "commit refs/heads/main\ncommitter Hand <hand@example.com> {time} +0000\ndata {}\n{message}\n",
                message.len()
            )
        };
        stream.push_str(&start(0, "pools"));
        for pool in 0..POOLS {
            for folder in ["claimed", "unclaimed"] {
                writeln!(stream, "M 100644 :2 pool-{pool}/{folder}/.gitkeep").unwrap();
            }
            for lock in 0..10 {
                writeln!(
                    stream,
                    "M 100644 :1 pool-{pool}/unclaimed/env-{pool}-{lock}"
                )
                .unwrap();
            }
        }
        let mut is_held = [[false; 10]; POOLS];
        let mut draw: u64 = 7;
        let mut drawn = |n: usize| {
            draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            usize::try_from(draw >> 33).unwrap() % n
        };
        for n in 1..commits {
            let back = commits - 1 - n;
            let (pool, lock) = if back == commits / 2 {
                (16, 0)
            } else if back == commits / 8 {
                (15, 9)
            } else {
                (drawn(15), drawn(10))
            };
            let held = &mut is_held[pool][lock];
            let (verb, from, to) = match *held {
                true => ("unclaiming", "claimed", "unclaimed"),
                false => ("claiming", "unclaimed", "claimed"),
            };
            *held = !*held;
            let name = format!("env-{pool}-{lock}");
            let message = format!(
                "ops/web/deploy build {n} {verb}: {name}\n\n\
                 Build URL: https://ci.example.com/teams/ops/pipelines/web/jobs/deploy/builds/{n}\n\n\
                 Pool-Request: 7c0e4a3e-0000-4000-8000-{n:012}\n"
            );
            stream.push_str(&start(n, &message));
            writeln!(
                stream,
                "R pool-{pool}/{from}/{name} pool-{pool}/{to}/{name}"
            )
            .unwrap();
        }
        remote.import(&stream);
        remote.git(&["config", "uploadpack.allowFilter", "true"]);
        remote.git(&["config", "uploadpack.allowAnySHA1InWant", "true"]);
        remote
    }

    /// A repository with 20 pools of 50 locks each and `commits` commits. Each commit claims or releases a lock, as tools
    /// do, at random but always the same; in the end about half of them are claimed, two of each pool from the beginning.
    /// Packed, and served with the parts left out that a client does not want, as the large hosts do.
    pub fn with_many_pools(commits: usize) -> TestRemote {
        const POOLS: usize = 20;
        let remote = TestRemote::empty("main");
        let mut stream = String::new();
        let data = |text: &str| format!("data {}\n{text}\n", text.len());
        let start = |n: usize| {
            let time = 1_700_000_000 + n * 60;
            format!("commit refs/heads/main\ncommitter Hand <hand@example.com> {time} +0000\n")
        };
        stream.push_str("blob\nmark :1\n");
        stream.push_str(&data("metadata"));
        stream.push_str("blob\nmark :2\n");
        stream.push_str(&data(""));
        stream.push_str(&start(0));
        stream.push_str(&data("pools"));
        let pools: Vec<String> = (0..POOLS)
            .map(|n| format!("team-{}/pool-{n:02}", n % 4))
            .collect();
        let mut free = Vec::new();
        for pool in &pools {
            for folder in ["claimed", "unclaimed"] {
                writeln!(stream, "M 100644 :2 {pool}/{folder}/.gitkeep").unwrap();
            }
            for lock in 0..50 {
                writeln!(stream, "M 100644 :1 {pool}/unclaimed/env-{lock:02}").unwrap();
                free.push((pool.as_str(), lock));
            }
        }
        // The first two of each pool come first, to be claimed for ever.
        free.sort_by_key(|(_, lock)| *lock);
        let mut forever = free.drain(..2 * POOLS).collect::<Vec<_>>().into_iter();
        let mut held = Vec::new();
        let mut draw: u64 = 7;
        let mut drawn = |n: usize| {
            draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            usize::try_from(draw >> 33).unwrap() % n
        };
        for n in 1..commits {
            let release = held.len() >= 460;
            let (pool, lock) = if let Some(lock) = forever.next() {
                lock
            } else if release {
                let lock = held.swap_remove(drawn(held.len()));
                free.push(lock);
                lock
            } else {
                let lock = free.swap_remove(drawn(free.len()));
                held.push(lock);
                lock
            };
            let (verb, from, to) = if release {
                ("unclaiming", "claimed", "unclaimed")
            } else {
                ("claiming", "unclaimed", "claimed")
            };
            stream.push_str(&start(n));
            stream.push_str(&data(&format!(
                "ops/web/deploy build {n} {verb}: env-{lock:02}\n\n\
                 Build URL: https://ci.example.com/teams/ops/pipelines/web/jobs/deploy/builds/{n}\n\n\
                 Pool-Request: 7c0e4a3e-0000-4000-8000-{n:012}\n"
            )));
            writeln!(
                stream,
                "R {pool}/{from}/env-{lock:02} {pool}/{to}/env-{lock:02}"
            )
            .unwrap();
        }
        remote.import(&stream);
        remote.git(&["config", "uploadpack.allowFilter", "true"]);
        remote.git(&["config", "uploadpack.allowReachableSHA1InWant", "true"]);
        remote
    }
}

fn entry(path: &str, mode: u32, id: Oid) -> IndexEntry {
    IndexEntry {
        ctime: IndexTime::new(0, 0),
        mtime: IndexTime::new(0, 0),
        dev: 0,
        ino: 0,
        mode,
        uid: 0,
        gid: 0,
        file_size: 0,
        id,
        flags: 0,
        flags_extended: 0,
        path: path.as_bytes().to_owned(),
    }
}

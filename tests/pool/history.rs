//! What a long history costs: next to nothing, unless a question goes far back.

use std::ffi::OsString;
use std::path::Path;
use std::sync::OnceLock;

use serde_json::json;

use support::git::git;
use support::remote::Hand;
use support::server::http::HttpServer;
use support::server::relay::Relay;
use support::{Step, TestRemote};

const LONG: usize = 100_000;

/// A repository of a hundred thousand commits, made once. For tests that read only: they share it.
fn long() -> &'static TestRemote {
    static LONG_ONE: OnceLock<TestRemote> = OnceLock::new();
    LONG_ONE.get_or_init(|| TestRemote::with_history(LONG))
}

/// A copy of the long repository that is a test's own; its old objects are the shared one's.
fn long_of_its_own() -> TestRemote {
    let copy = TestRemote::empty("main");
    let objects = long().path().join("objects");
    let alternates = copy.path().join("objects/info/alternates");
    std::fs::create_dir_all(alternates.parent().unwrap()).unwrap();
    std::fs::write(alternates, format!("{}\n", objects.display())).unwrap();
    git(
        copy.path(),
        &["update-ref", "refs/heads/main", &long().head()],
    );
    copy
}

/// A repository behind a server, and a relay that counts what goes to and from it.
struct Served {
    relay: Relay,
    _server: HttpServer,
}

impl Served {
    fn new(remote: &TestRemote) -> Served {
        let server = HttpServer::start(remote.root());
        let relay = Relay::start(server.port());
        Served {
            relay,
            _server: server,
        }
    }

    fn step(&self, remote: &TestRemote) -> Step {
        let uri = format!("http://127.0.0.1:{}/git/locks.git", self.relay.port());
        Step::on(remote, "aws").set("uri", uri)
    }
}

/// The commits of the branch from `known` on, oldest first, as plain git lists them.
fn since(remote: &TestRemote, known: &str) -> Vec<String> {
    let range = format!("{known}..main");
    let later = remote.git(&["rev-list", "--first-parent", "--reverse", &range]);
    let mut all = vec![known.to_owned()];
    all.extend(later.lines().map(str::to_owned));
    all
}

/// How many bytes an acquire transfers.
fn bytes_of_acquire(remote: &TestRemote) -> usize {
    let served = Served::new(remote);

    let answer = served.step(remote).put(json!({"acquire": true}));

    assert_eq!(answer.version(), remote.head());
    assert!(
        remote
            .list("aws/claimed")
            .iter()
            .any(|lock| *lock == answer.lock())
    );
    served.relay.bytes()
}

#[test]
fn an_acquire_on_a_long_history_transfers_what_it_does_on_a_short_one() {
    let short = bytes_of_acquire(&TestRemote::with_history(10));
    let long = bytes_of_acquire(&long_of_its_own());

    assert!(
        2 * long <= 3 * short,
        "{long} bytes, and {short} on a short history"
    );
}

#[test]
fn an_acquire_on_a_long_history_needs_little_memory() {
    let remote = long_of_its_own();
    let served = Served::new(&remote);
    let step = served.step(&remote);
    let request = json!({"source": step.source(), "params": {"acquire": true}}).to_string();
    let args = [OsString::from(step.folder())];

    let (answer, kilobytes) = step.run_measured("out", &args, request.as_bytes());

    assert_eq!(answer.version(), remote.head());
    assert!(kilobytes < 25 * 1024, "{kilobytes} KB");
    assert!(kilobytes > 1024, "{kilobytes} KB is no program's peak");
}

#[test]
fn a_check_from_a_recent_version_transfers_little() {
    let remote = long();
    let served = Served::new(remote);
    let step = served.step(remote);
    let known = remote.back(3);
    let head = remote.head();

    let first = step.check(Some(&known)).versions();
    let cold = served.relay.bytes();
    let second = step.check(Some(&head)).versions();
    let warm = served.relay.bytes() - cold;

    assert_eq!(first, since(remote, &known));
    assert_eq!(second, [head]);
    assert!(cold < 100_000, "{cold} bytes at first");
    assert!(warm < 4_000, "{warm} bytes the second time");
}

#[test]
fn a_check_from_far_back_finds_every_version() {
    let remote = long();

    for back in [49, 50, 51, 60, 600] {
        let known = remote.back(back);
        let step = Step::on(remote, "aws");

        let answer = step.check(Some(&known));

        assert_eq!(answer.versions(), since(remote, &known), "{back} back");
    }
}

#[test]
fn a_check_goes_ever_further_back_in_one_container() {
    let remote = long();
    let step = Step::on(remote, "aws");

    for back in [0, 3, 60, 600, 60, 3] {
        let known = remote.back(back);

        let answer = step.check(Some(&known));

        assert_eq!(answer.versions(), since(remote, &known), "{back} back");
    }
}

#[test]
fn a_get_of_a_version_from_far_back_is_right() {
    let remote = long();
    let step = Step::on(remote, "aws");

    for back in [49, 50, 51, 60, 61, 600, 601] {
        let version = remote.back(back);
        let subject = remote.git(&["log", "-1", "--format=%s", &version]);
        let (verb, lock) = subject.split_once(": ").unwrap();

        let (answer, folder) = step.get(&version);

        match verb {
            // Each was released at once, and the locks were claimed again since.
            "claiming" => answer.assert_failed(&["lock instance is no longer acquired"]),
            _ => {
                assert_eq!(
                    (answer.version(), answer.lock()),
                    (version, lock.to_owned())
                );
                let metadata = std::fs::read_to_string(folder.join("metadata")).unwrap();
                assert_eq!(metadata, "metadata");
            }
        }
    }
}

#[test]
fn a_claim_that_stands_since_far_back_is_fetched_and_released() {
    let remote = long_of_its_own();
    let claim = remote.claim_by_hand("aws", "env-0");
    // One commit on top of another without a file moved: as many as a busy pool makes in a day.
    let mut head = claim.clone();
    let tree = format!("{claim}^{{tree}}");
    for n in 0..120 {
        head = remote.git(&["commit-tree", &tree, "-p", &head, "-m", &n.to_string()]);
    }
    remote.git(&["update-ref", "refs/heads/main", &head]);
    let step = Step::on(&remote, "aws");

    let (got, folder) = step.get(&claim);
    let released = step.put_folder("release", &folder);

    assert_eq!((got.lock(), got.version()), ("env-0".to_owned(), claim));
    assert_eq!(released.version(), remote.head());
    assert!(!remote.list("aws/claimed").contains(&"env-0".to_owned()));
}

#[test]
fn a_check_from_the_very_beginning_finds_all_versions() {
    let remote = long();
    let known = remote.back(LONG - 1);

    let answer = Step::on(remote, "aws").check(Some(&known));

    assert_eq!(answer.versions(), since(remote, &known));
}

/// The files of ours below a folder.
fn files_below(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.path().is_dir() {
            true => files_below(&entry.path()),
            false => 1,
        })
        .sum()
}

#[tokio::test]
async fn a_wait_beside_a_busy_pool_does_not_pile_up_what_it_fetches() {
    const MOVES: usize = 300;
    let repository = TestRemote::with_pool("aws", &["env-1"]);
    let (location, _) = git::Location::parse(&repository.uri()).unwrap();
    let temporary = tempfile::tempdir().unwrap();
    let store = git::Store::temporary(temporary.path()).unwrap();
    let mut remote = git::Remote::new(&location, &git::Access::default(), "main", store).unwrap();
    let first = remote.snapshot(git::Depth::HEAD).await.unwrap().commit;
    let content = git::object::Content::new(b"made here".to_vec());
    let made = content.id();
    let edit = git::object::Edit::Write {
        path: "aws/unclaimed/new".to_owned(),
        mode: git::object::Mode::File,
        content,
    };
    let identity = git::Identity::default();
    let store = remote.store();
    store.make_commit(first, &[edit], "x", &identity).unwrap();
    let mut most = 0;

    for n in 0..MOVES {
        match n % 2 {
            0 => repository.claim_by_hand("aws", "env-1"),
            _ => repository.release_by_hand("aws", "env-1"),
        };
        remote.may_begin_anew();
        let interest = |_: &git::Listing| git::Interest::Head(git::Depth::HEAD, Vec::new());
        let (listing, snapshot) = remote.look(false, &interest).await.unwrap();
        let snapshot = snapshot.unwrap();
        assert_eq!(snapshot.commit, listing.head);
        let history = remote.history(&snapshot);
        assert!(
            history
                .entry(snapshot.commit, "aws/claimed")
                .unwrap()
                .is_some()
        );
        most = most.max(files_below(temporary.path()));
    }

    // Two files for each pack, and what was made.
    assert!(most < 2 * 64 + 20, "{most} files");
    assert_eq!(remote.store().blob(made).unwrap(), b"made here");
}

/// The source of a repository behind a server that leaves out what is not asked for, or of one that does not.
fn idle(remote: &TestRemote, leaves_out: bool) -> (HttpServer, Step) {
    remote.git(&[
        "config",
        "uploadpack.allowFilter",
        if leaves_out { "true" } else { "false" },
    ]);
    let server = HttpServer::start(remote.root());
    let step = Step::on(remote, "pool-16").set("uri", server.uri());
    (server, step)
}

#[test]
fn a_pool_that_was_long_idle_is_checked_and_got_and_released_alike_wherever_its_past_comes_from() {
    const COMMITS: usize = 12_000;
    for leaves_out in [true, false] {
        let remote = TestRemote::with_idle_pool(COMMITS);
        let claim = remote.back(COMMITS / 2);
        let (_server, step) = idle(&remote, leaves_out);

        let checked = step.check(None);
        assert_eq!(checked.versions(), [claim.as_str()], "{}", checked.stderr);
        // Now it is known from before.
        assert_eq!(step.check(Some(&claim)).versions(), [claim.as_str()]);
        assert_eq!(step.check(None).versions(), [claim.as_str()]);
        let (got, folder) = step.get(&claim);
        assert_eq!(got.code, Some(0), "{}", got.stderr);
        assert_eq!(
            std::fs::read_to_string(folder.join("name")).unwrap(),
            "env-16-0\n"
        );
        let released = step.put_folder("release", &folder);
        assert_eq!(released.version(), remote.head());
        assert_eq!(
            step.check(Some(&claim)).versions(),
            [claim.clone(), remote.head()]
        );
    }
}

#[test]
fn a_claim_that_ended_long_ago_is_not_taken_for_one_that_stands_whatever_the_commits_say_that_ended_it()
 {
    let old = |message: &str| {
        let remote = TestRemote::with_idle_pool(3000);
        let claim = remote.back(1500);
        let (from, to) = ("pool-16/claimed/env-16-0", "pool-16/unclaimed/env-16-0");
        // Somebody frees it, and somebody else takes it.
        remote.commit(message, &[Hand::Move(from, to)]);
        remote.commit(message, &[Hand::Move(to, from)]);
        remote.say_often(700);
        (remote, claim)
    };
    for message in [
        "unclaiming: env-16-0",
        "claiming: env-3-1",
        "tidied up",
        "updating: env-16-0",
    ] {
        let (remote, claim) = old(message);
        let (_server, step) = idle(&remote, true);
        let folder = step.folder();
        std::fs::write(folder.join("name"), "env-16-0\n").unwrap();
        std::fs::write(folder.join("claim"), format!("{claim}\n")).unwrap();
        let head = remote.head();

        let released = step.put_folder("release", &folder);

        assert_eq!(remote.head(), head, "{message}: {}", released.stderr);
        let (got, _) = step.get(&claim);
        got.assert_failed(&["no longer acquired"]);
    }
}

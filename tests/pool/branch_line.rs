//! Pools that share a branch: who loses a race for it pushes when it is his turn, and nobody is in anybody's way for long.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;

use support::server::http::HttpServer;
use support::{Answer, Step, TestRemote};

use super::line::tickets;

pub const PLACES: &str = "refs/pool-queue/main/the.branch";

/// Steps on the pool `aws`, with the pace that users have.
fn steps(remote: &TestRemote, uri: &str) -> Step {
    Step::with_source(json!({"uri": uri, "branch": remote.branch(), "pool": "aws"})).in_build()
}

/// Has somebody else be faster with the first pushes of the branch, so many; `refuses` is the rest of the hook, for other refs.
fn others_are_faster(remote: &TestRemote, times: u32, refuses: &str) {
    remote.hook(
        "update",
        &format!(
            "echo \"$1 $2 $3\" >> refs.log\n\
             case $1 in refs/heads/*) ;; *) {refuses}\nexit 0;; esac\n\
             n=$(cat times 2>/dev/null || echo 0)\n\
             [ $n -lt {times} ] || exit 0\n\
             echo $((n + 1)) > times\n\
             unset GIT_QUARANTINE_PATH GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES\n\
             commit=$(git -c user.name=x -c user.email=x@example.com commit-tree -p main -m 'of another pool' main^{{tree}})\n\
             git update-ref refs/heads/main $commit"
        ),
    );
}

/// The changes of places at the branch that were pushed: `+` for one made, `-` for one taken away.
fn places_pushed(remote: &TestRemote) -> String {
    let log = std::fs::read_to_string(remote.path().join("refs.log")).unwrap_or_default();
    let changes = log.lines().filter(|line| line.starts_with(PLACES));
    let zero = " 0000000000000000000000000000000000000000";
    changes
        .map(|line| if line.ends_with(zero) { '-' } else { '+' })
        .collect()
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

/// Somebody's place, taken so many seconds ago.
pub fn place_by_hand(remote: &TestRemote, id: &str, age: u64) -> String {
    let name = format!("{PLACES}/000001.{}.{id}", now() - age);
    remote.git(&["update-ref", &name, remote.branch()]);
    name
}

/// The id of the claim that was got.
fn claimed_id(folder: &std::path::Path) -> Vec<u8> {
    std::fs::read(folder.join("claim")).unwrap()
}

/// Claims the lock, and gives it back.
fn claim_and_release(step: &Step) -> [Answer; 2] {
    let claimed = step.put(json!({"claim": "env-1"}));
    assert_eq!(claimed.code, Some(0), "{}", claimed.stderr);
    let (got, folder) = step.get(&claimed.version());
    assert_eq!(got.code, Some(0), "{}", got.stderr);
    let released = step.put_folder("release", &folder);
    assert_eq!(released.code, Some(0), "{}", released.stderr);
    [claimed, released]
}

#[test]
fn who_has_lost_a_race_takes_a_place_at_the_branch_and_gives_it_back_with_the_push() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let server = HttpServer::start(remote.root());
    others_are_faster(&remote, 1, "");

    claim_and_release(&steps(&remote, &server.uri()));

    assert_eq!(places_pushed(&remote), "+-");
    assert_eq!(tickets(&remote), [""; 0]);
    let pushes = std::fs::read_to_string(remote.path().join("refs.log")).unwrap();
    // The claim twice, the place, and the release: the place went with the second claim.
    assert_eq!(pushes.lines().count(), 5, "{pushes}");
}

#[test]
fn a_release_takes_a_place_as_well_and_leaves_none_when_it_comes_to_nothing() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let step = steps(&remote, &remote.uri());
    let claimed = step.put(json!({"claim": "env-1"}));
    let (_, folder) = step.get(&claimed.version());
    // Whoever is faster frees the lock: then there is nothing left to release.
    remote.hook(
        "update",
        "echo \"$1 $2 $3\" >> refs.log\n\
         case $1 in refs/heads/*) ;; *) exit 0;; esac\n\
         mkdir was-faster 2>/dev/null || exit 0\n\
         unset GIT_QUARANTINE_PATH GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES\n\
         commit=$(git -c user.name=x -c user.email=x@example.com commit-tree -p main -m back main^^{tree})\n\
         git update-ref refs/heads/main $commit",
    );

    let released = step.put_folder("release", &folder);

    assert_eq!(released.code, Some(0), "{}", released.stderr);
    assert!(
        released.stderr.contains("was given back already"),
        "{}",
        released.stderr
    );
    assert_eq!(places_pushed(&remote), "+-");
    assert_eq!(tickets(&remote), [""; 0]);
}

#[test]
fn who_does_not_use_his_turn_is_passed_over_and_is_gone_with_the_next_push() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    place_by_hand(&remote, "ghost", 1);

    claim_and_release(&steps(&remote, &remote.uri()));

    assert_eq!(tickets(&remote), [""; 0]);
    remote.fsck();
}

#[test]
fn an_old_place_is_nobodys_and_goes_when_another_is_taken() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let old = place_by_hand(&remote, "old", 1000);
    others_are_faster(&remote, 0, "");
    claim_and_release(&steps(&remote, &remote.uri()));
    assert_eq!(places_pushed(&remote), "", "it was in nobody's way");
    assert_eq!(tickets(&remote), [old]);

    others_are_faster(&remote, 1, "");
    claim_and_release(&steps(&remote, &remote.uri()));

    assert_eq!(tickets(&remote), [""; 0]);
}

#[test]
fn where_places_cannot_be_taken_away_nobody_adds_to_those_that_are_there() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let old = place_by_hand(&remote, "old", 1000);
    let no = "[ $3 = 0000000000000000000000000000000000000000 ] && exit 1";
    others_are_faster(&remote, 3, no);

    claim_and_release(&steps(&remote, &remote.uri()));

    assert_eq!(places_pushed(&remote), "-", "it was tried once");
    let left = tickets(&remote);
    assert!(left.contains(&old), "{left:?}");
    assert!(
        left.iter()
            .all(|name| *name == old || !name.starts_with(PLACES))
    );
}

#[test]
fn where_no_place_can_be_made_one_goes_without() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    others_are_faster(&remote, 3, "exit 1");

    claim_and_release(&steps(&remote, &remote.uri()));

    assert_eq!(places_pushed(&remote), "+", "it was tried once");
    assert_eq!(tickets(&remote), [""; 0]);
}

#[test]
fn a_step_that_is_told_to_stop_at_the_branch_leaves_no_place_and_no_claim() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let server = HttpServer::start(remote.root());
    others_are_faster(&remote, 1_000_000, "");
    let running = steps(&remote, &server.uri()).start_put(json!({"claim": "env-1"}));
    support::wait_until("it has a place", || places_pushed(&remote).contains('+'));

    running.signal("TERM");
    let answer = running.finish();

    assert_eq!(answer.code, Some(1), "{}", answer.stderr);
    assert_eq!(tickets(&remote), [""; 0], "{}", answer.stderr);
    assert_eq!(remote.list("aws/claimed"), [""; 0]);
}

/// Has others stand at the branch for as long as `meanwhile` takes, more than can push in that time: each changes the branch
/// when it is his turn.
fn behind_a_crowd(remote: &TestRemote, meanwhile: impl FnOnce() -> Answer) -> Answer {
    let mut crowd: Vec<String> = (0..60)
        .map(|n| place_by_hand(remote, &format!("other{n:02}"), 1))
        .collect();
    crowd.reverse();
    let branch = format!("refs/heads/{}", remote.branch());
    let try_git = |args: &[&str]| drop(support::git::run(remote.path(), args, b"", &[]));
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut pushed = 0;
            while let Some(place) = crowd.pop() {
                if !is_over.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(150));
                    pushed += 1;
                    let head = remote.head();
                    let commit =
                        remote.commit_on(&[&head], &format!("of another pool: {pushed}"), &[]);
                    // Somebody may have been faster.
                    try_git(&["update-ref", &branch, &commit, &head]);
                }
                try_git(&["update-ref", "-d", &place]);
            }
        });
        let answer = meanwhile();
        is_over.store(true, Ordering::Relaxed);
        answer
    })
}

#[test]
fn what_is_given_back_at_an_abort_does_not_stand_in_line() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let server = HttpServer::start(remote.root());
    // The claim lands, and its answer is held up.
    remote.hold_first_push("post-receive");
    let running = steps(&remote, &server.uri()).start_put(json!({"claim": "env-1"}));
    remote.wait_for_held_push();

    let answer = behind_a_crowd(&remote, || {
        running.signal("TERM");
        running.finish()
    });

    remote.let_push_go_on();
    assert_eq!(answer.code, Some(1), "{}", answer.stderr);
    assert!(
        answer.stderr.contains("gave `env-1` back with the commit"),
        "{}",
        answer.stderr
    );
    assert_eq!(remote.list("aws/claimed"), [""; 0]);
    assert_eq!(tickets(&remote), [""; 0]);
}

#[test]
fn a_release_that_is_told_to_stop_does_not_stand_in_line_any_longer() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let server = HttpServer::start(remote.root());
    let step = steps(&remote, &server.uri());
    let (_, folder) = step.get(&step.put(json!({"claim": "env-1"})).version());
    let files: &[(&str, &[u8])] = &[
        ("lock/name", b"env-1"),
        ("lock/claim", &claimed_id(&folder)),
    ];

    let answer = behind_a_crowd(&remote, || {
        let running = step.start_put_with(json!({"release": "lock"}), files);
        support::wait_until("it has a place", || {
            tickets(&remote)
                .iter()
                .any(|name| name.starts_with(PLACES) && !name.contains(".other"))
        });
        running.signal("TERM");
        running.finish()
    });

    assert_eq!(answer.code, Some(0), "{}", answer.stderr);
    assert_eq!(remote.list("aws/claimed"), [""; 0]);
    assert_eq!(tickets(&remote), [""; 0]);
}

#[test]
fn what_others_have_pushed_before_a_release_is_fetched_at_once() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    remote.add_pool("db", &["env-1"]);
    let step = steps(&remote, &remote.uri());
    let claimed = step.put(json!({"claim": "env-1"}));
    let (_, folder) = step.get(&claimed.version());
    let before = remote.head();
    for _ in 0..4 {
        remote.claim_by_hand("db", "env-1");
        remote.release_by_hand("db", "env-1");
    }
    let theirs = remote.head();
    remote.move_branch(&before);
    let others: Vec<String> = (0..8)
        .map(|n| place_by_hand(&remote, &format!("other{n}"), 1))
        .collect();
    let server = HttpServer::start(remote.root());
    let files: &[(&str, &[u8])] = &[
        ("lock/name", b"env-1"),
        ("lock/claim", &claimed_id(&folder)),
    ];

    let release = steps(&remote, &server.uri()).start_put_with(json!({"release": "lock"}), files);
    support::wait_until("it has a place", || tickets(&remote).len() > others.len());
    remote.move_branch(&theirs);
    for place in &others {
        remote.git(&["update-ref", "-d", place]);
    }
    let released = release.finish();

    assert_eq!(released.code, Some(0), "{}", released.stderr);
    assert_eq!(remote.list("aws/claimed"), [""; 0]);
    assert_eq!(tickets(&remote), [""; 0]);
    let log = server.log();
    let fetches = log
        .lines()
        .filter(|line| line.contains("/git-upload-pack HTTP"));
    assert_eq!(fetches.count(), 2, "{log}");
}

#[test]
fn who_has_a_place_and_loses_all_the_same_pushes_ever_more_seldom() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    others_are_faster(&remote, 1_000_000, "");

    let answer = steps(&remote, &remote.uri()).put(json!({"claim": "env-1", "timeout": "3s"}));

    assert_eq!(answer.code, Some(1), "{}", answer.stderr);
    let log = std::fs::read_to_string(remote.path().join("refs.log")).unwrap();
    let pushes = log.lines().filter(|line| line.starts_with("refs/heads/"));
    let pushes = pushes.count();
    assert!((2..=40).contains(&pushes), "{pushes} pushes in 3 s");
    assert_eq!(tickets(&remote), [""; 0]);
}

#[test]
fn ten_pools_on_one_branch_are_all_served_and_nothing_of_their_line_is_left() {
    const ROUNDS: usize = 4;
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let names: Vec<String> = (0..10).map(|n| format!("pool-{n}")).collect();
    for name in &names {
        remote.add_pool(name, &["env-1"]);
    }
    let server = HttpServer::start(remote.root());
    std::thread::scope(|scope| {
        for name in &names {
            let step = steps(&remote, &server.uri()).set("pool", name.as_str());
            scope.spawn(move || {
                for _ in 0..ROUNDS {
                    claim_and_release(&step);
                }
            });
        }
    });

    let subjects = remote.subjects();
    let claims = subjects.iter().filter(|it| it.contains(" claiming: "));
    assert_eq!(claims.count(), names.len() * ROUNDS);
    assert_eq!(tickets(&remote), [""; 0]);
    remote.fsck();
}

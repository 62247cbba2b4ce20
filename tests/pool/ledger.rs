//! What the history says of the claims that stand, read as the library reads it.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use git::{Access, Depth, HistoryError, Location, Remote, Store};
use pool::ledger::{Held, claims, claims_here};
use pool::lock::{LockName, PoolName};
use proptest::prelude::*;
use proptest::test_runner::Config;

use support::TestRemote;
use support::remote::Hand;

type Claims = BTreeMap<String, BTreeMap<String, Held>>;

fn reader(remote: &TestRemote) -> Remote {
    let (location, _) = Location::parse(&remote.uri()).unwrap();
    let store = Store::temporary(&std::env::temp_dir()).unwrap();
    Remote::new(&location, &Access::default(), remote.branch(), store).unwrap()
}

/// The claims of these pools, from as much of the history as it takes, and how much that was.
async fn read(remote: &TestRemote, pools: &[&str]) -> (Claims, Depth) {
    let mut read = reader(remote);
    let pools: Vec<PoolName> = pools
        .iter()
        .map(|pool| PoolName::new(pool).unwrap())
        .collect();
    let mut depth = Depth::HEAD;
    loop {
        let snapshot = read.snapshot(depth).await.unwrap();
        match claims(&read.history(&snapshot), &pools) {
            Ok(found) => {
                let named = found.into_iter().map(|(pool, claims)| {
                    let claims = claims.into_iter();
                    let claims = claims.map(|(lock, held)| (lock.to_string(), held));
                    (pool.to_string(), claims.collect())
                });
                return (named.collect(), depth);
            }
            Err(HistoryError::Truncated) => depth = depth.deeper().unwrap(),
            Err(HistoryError::Store(err)) => panic!("{err}"),
        }
    }
}

/// The locks of one pool, each with its claim and the last sign of its holder.
async fn signs(remote: &TestRemote, pool: &str) -> BTreeMap<String, (String, String)> {
    let (mut claims, _) = read(remote, &[pool]).await;
    let claims = claims.remove(pool).unwrap().into_iter();
    claims
        .map(|(lock, held)| (lock, (held.claim.to_string(), held.last_sign.to_string())))
        .collect()
}

/// Puts a commit on the branch that changes no file.
fn say(remote: &TestRemote, message: &str) -> String {
    remote.commit(message, &[])
}

fn renewal(claim: &str, lease: &str) -> String {
    format!("renewing: x\n\nPool-Request: 1\nPool-Claim: {claim}\nPool-Lease: {lease}\n")
}

fn at(text: &str) -> Option<SystemTime> {
    Some(humantime::parse_rfc3339(text).unwrap())
}

#[tokio::test]
async fn the_claim_of_a_lock_is_the_commit_by_which_it_came_to_where_it_is() {
    let remote = TestRemote::with_pool("aws", &["a", "b", "c", "d"]);
    remote.claim_by_hand("aws", "a");
    let b = remote.claim_by_hand("aws", "b");
    remote.release_by_hand("aws", "a");
    let edit = [Hand::Put("aws/claimed/b", "100755", b"changed in place")];
    remote.commit("updating: b", &edit);
    let a = remote.claim_by_hand("aws", "a");
    let both = [
        Hand::Put("aws/claimed/new", "100644", b"1"),
        Hand::Put("aws/claimed/d", "100644", b"in both folders"),
    ];
    let both = remote.commit("by hand", &both);

    let own = |claim: &String| (claim.clone(), claim.clone());
    let expected = [("a", &a), ("b", &b), ("d", &both), ("new", &both)];
    let expected = expected.map(|(lock, claim)| (lock.to_owned(), own(claim)));
    assert_eq!(signs(&remote, "aws").await, expected.into());
}

#[tokio::test]
async fn a_claim_has_its_time_its_message_and_its_lease() {
    let remote = TestRemote::with_pool("aws", &["a", "b", "c"]);
    let moved = |lock: &str| {
        let path = |folder: &str| format!("aws/{folder}/{lock}");
        (path("unclaimed"), path("claimed"))
    };
    let leased = "ops/web/deploy build 12 claiming: a\n\nPool-Lease: 2026-01-01T10:00:00Z";
    for (lock, time, message) in [
        ("a", 1_700_000_000, leased),
        ("b", 1_500_000_000, "claiming: b"),
        ("c", 1_700_000_001, "claiming: c\n\nPool-Lease: soon"),
    ] {
        let (from, to) = moved(lock);
        remote.commit_at(time, message, &[Hand::Move(&from, &to)]);
    }

    let (claims, _) = read(&remote, &["aws"]).await;

    let claims = &claims["aws"];
    let since = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    assert_eq!(claims["a"].made, since(1_700_000_000));
    assert_eq!(claims["a"].last_sign_at, claims["a"].made);
    assert_eq!(claims["a"].message.trim_ascii(), leased.as_bytes());
    assert_eq!(claims["a"].lease_end, at("2026-01-01T10:00:00Z"));
    assert_eq!(
        (claims["b"].made, claims["b"].lease_end),
        (since(1_500_000_000), None)
    );
    assert_eq!(claims["c"].lease_end, None);
}

#[tokio::test]
async fn the_last_renewal_is_the_sign_of_life_and_its_lease_counts() {
    let remote = TestRemote::with_pool("aws", &["a", "b", "c"]);
    let a = remote.claim_by_hand("aws", "a");
    say(&remote, &renewal(&a, "2026-01-01T10:00:00Z"));
    let both = [
        Hand::Move("aws/unclaimed/b", "aws/claimed/b"),
        Hand::Move("aws/unclaimed/c", "aws/claimed/c"),
    ];
    let both = remote.commit("claiming: b, c\n\nPool-Lease: 2026-01-01T09:00:00Z", &both);
    let last = say(&remote, &renewal(&a, "2026-01-01T11:00:00Z"));
    let of_both = say(&remote, &renewal(&both, "no time"));

    let (claims, _) = read(&remote, &["aws"]).await;

    let claims = &claims["aws"];
    let shown = |lock: &str| {
        let held = &claims[lock];
        (
            held.claim.to_string(),
            held.last_sign.to_string(),
            held.lease_end,
        )
    };
    assert_eq!(shown("a"), (a, last, at("2026-01-01T11:00:00Z")));
    // A renewal that gives no time leaves the lease as it was.
    let expected = (both, of_both, at("2026-01-01T09:00:00Z"));
    assert_eq!((shown("b"), shown("c")), (expected.clone(), expected));
}

#[tokio::test]
async fn what_only_looks_like_a_renewal_is_none() {
    let remote = TestRemote::with_pool("aws", &["a", "b"]);
    let old = remote.claim_by_hand("aws", "a");
    remote.release_by_hand("aws", "a");
    let a = remote.claim_by_hand("aws", "a");
    // Of a claim that is over.
    say(&remote, &renewal(&old, "2026-01-01T10:00:00Z"));
    // Of no claim.
    say(&remote, &renewal(&a[..20], "2026-01-01T10:00:00Z"));
    say(&remote, &renewal(&format!("{a}0"), "2026-01-01T10:00:00Z"));
    say(&remote, "renewing: a");
    // With a file changed it is something else.
    let change = [Hand::Put("aws/note", "100644", b"1")];
    remote.commit(&renewal(&a, "2026-01-01T10:00:00Z"), &change);

    let (claims, _) = read(&remote, &["aws"]).await;

    let held = &claims["aws"]["a"];
    assert_eq!(
        (held.claim.to_string(), held.last_sign.to_string()),
        (a.clone(), a)
    );
    assert_eq!(held.lease_end, None);
}

#[tokio::test]
async fn several_pools_are_read_in_one_go_wherever_they_are() {
    let remote = TestRemote::empty("main");
    let pools = ["aws", "team/aws", "team/gcp", "team", "aws/claimed/odd"];
    for pool in pools {
        remote.add_pool(pool, &["x", "y"]);
    }
    let aws = remote.claim_by_hand("aws", "x");
    let deep = remote.claim_by_hand("team/aws", "x");
    let team = remote.claim_by_hand("team", "y");
    let odd = remote.claim_by_hand("aws/claimed/odd", "y");
    let moved = [
        Hand::Move("aws/unclaimed/y", "aws/claimed/y"),
        Hand::Move("team/aws/unclaimed/y", "team/aws/claimed/y"),
    ];
    let by_hand = remote.commit("both", &moved);

    let asked = [&pools[..], &["missing", "aws"]].concat();
    let (claims, _) = read(&remote, &asked).await;

    let shown: Vec<String> = claims
        .iter()
        .flat_map(|(pool, claims)| {
            let claims = claims.iter();
            claims.map(move |(lock, held)| format!("{pool} {lock} {}", held.claim))
        })
        .collect();
    let expected = [
        format!("aws x {aws}"),
        format!("aws y {by_hand}"),
        format!("aws/claimed/odd y {odd}"),
        format!("team y {team}"),
        format!("team/aws x {deep}"),
        format!("team/aws y {by_hand}"),
    ];
    assert_eq!(shown, expected);
    assert_eq!(claims.len(), 6, "{:?}", claims.keys());
}

#[tokio::test]
async fn no_more_of_the_history_is_read_than_to_the_oldest_claim() {
    let remote = TestRemote::with_history(400);
    remote.claim_by_hand("aws", "env-0");

    let (few, shallow) = read(&remote, &["aws"]).await;

    // The last commit of such a history is a claim too.
    assert_eq!(few["aws"].len(), 2);
    assert_eq!(shallow, Depth::RECENT);
}

#[tokio::test]
async fn of_a_part_of_the_history_the_claims_in_it_are_told() {
    let remote = TestRemote::with_pool("aws", &["new", "old"]);
    remote.claim_by_hand("aws", "old");
    for n in 0..60 {
        say(&remote, &n.to_string());
    }
    let new = remote.claim_by_hand("aws", "new");
    let mut read = reader(&remote);
    let pools = [PoolName::new("aws").unwrap()];

    let mut shown = Vec::new();
    for depth in [Depth::RECENT, Depth::RECENT.deeper().unwrap()] {
        let snapshot = read.snapshot(depth).await.unwrap();
        let (claims, older) = claims_here(&read.history(&snapshot), &pools, None).unwrap();
        let claims = claims[&pools[0]].iter();
        let claims = claims.map(|(lock, held)| (lock.to_string(), held.claim.to_string()));
        let older = older.map(|older| older.locks);
        shown.push((claims.collect::<Vec<_>>(), older));
    }

    let old = (pools[0].clone(), LockName::new("old").unwrap());
    assert_eq!(shown[0], (vec![("new".to_owned(), new)], Some(vec![old])));
    assert_eq!((shown[1].0.len(), &shown[1].1), (2, &None));
}

#[tokio::test]
async fn what_is_known_of_an_earlier_commit_is_not_looked_for_again() {
    let remote = TestRemote::with_pool("aws", &["old", "passing", "new"]);
    let old = remote.claim_by_hand("aws", "old");
    remote.claim_by_hand("aws", "passing");
    let pools = [PoolName::new("aws").unwrap()];
    let mut early = reader(&remote);
    let then = early.snapshot(Depth::RECENT).await.unwrap();
    let known = claims(&early.history(&then), &pools).unwrap();
    remote.release_by_hand("aws", "passing");
    let passing = remote.claim_by_hand("aws", "passing");
    let new = remote.claim_by_hand("aws", "new");
    let sign = say(&remote, &format!("here\n\nPool-Claim: {old}\n"));
    for n in 0..45 {
        say(&remote, &n.to_string());
    }
    let mut read = reader(&remote);
    let snapshot = read.snapshot(Depth::RECENT).await.unwrap();
    let history = read.history(&snapshot);

    let (_, older) = claims_here(&history, &pools, None).unwrap();
    let (claims, none) = claims_here(&history, &pools, Some((then.commit, &known))).unwrap();

    assert_eq!(
        older.unwrap().locks,
        [(pools[0].clone(), LockName::new("old").unwrap())]
    );
    assert_eq!(none, None);
    let shown = claims[&pools[0]].iter();
    let shown: Vec<_> = shown
        .map(|(lock, held)| {
            (
                lock.as_str(),
                held.claim.to_string(),
                held.last_sign.to_string(),
            )
        })
        .collect();
    let expected = [
        ("new", new.clone(), new),
        ("old", old, sign),
        ("passing", passing.clone(), passing),
    ];
    assert_eq!(shown, expected);
}

#[tokio::test]
async fn a_lock_that_was_there_from_the_beginning_was_claimed_then() {
    let remote = TestRemote::empty("main");
    let first = remote.commit("all", &[Hand::Put("aws/claimed/a", "100644", b"1")]);
    for n in 0..60 {
        say(&remote, &n.to_string());
    }

    assert_eq!(signs(&remote, "aws").await["a"], (first.clone(), first));
}

#[tokio::test]
async fn a_lock_that_came_by_a_merge_was_claimed_by_it() {
    let remote = TestRemote::with_pool("aws", &["a", "b"]);
    let base = remote.head();
    let moved = [Hand::Move("aws/unclaimed/a", "aws/claimed/a")];
    let side = remote.commit_on(&[&base], "claiming: a", &moved);
    let b = remote.claim_by_hand("aws", "b");
    let merge = remote.commit_on(&[&b, &side], "merge", &moved);
    remote.git(&["update-ref", "refs/heads/main", &merge]);

    let signs = signs(&remote, "aws").await;

    assert_eq!(signs["a"].0, merge);
    assert_eq!(signs["b"].0, b);
}

/// One commit of a generated history, on a lock of one of the pools.
#[derive(Debug, Clone)]
enum Act {
    Claim(usize),
    Release(usize),
    Remove(usize),
    Add(usize),
    Edit(usize),
    /// Of the claim that stands, or of the first that ever was.
    Renew(usize, bool),
    Elsewhere,
}

const PLACES: [(&str, &str); 6] = [
    ("aws", "a"),
    ("aws", "b"),
    ("gcp", "a"),
    ("gcp", "b"),
    ("aws/claimed/in", "a"),
    ("team/aws", "a"),
];

fn acts() -> impl Strategy<Value = Act> {
    let place = 0..PLACES.len();
    prop_oneof![
        6 => place.clone().prop_map(Act::Claim),
        4 => place.clone().prop_map(Act::Release),
        1 => place.clone().prop_map(Act::Remove),
        1 => place.clone().prop_map(Act::Add),
        1 => place.clone().prop_map(Act::Edit),
        3 => (place, any::<bool>()).prop_map(|(place, now)| Act::Renew(place, now)),
        2 => Just(Act::Elsewhere),
    ]
}

/// A lock of the model: its content, and the claim that stands, with the last sign of its holder.
type Lock = (String, Option<(String, String)>);

proptest! {
    #![proptest_config(Config { cases: 24, max_shrink_iters: 64, failure_persistence: None, ..Config::default() })]

    #[test]
    fn the_claims_of_any_history_are_those_of_who_wrote_it(acts in prop::collection::vec(acts(), 1..30)) {
        let remote = TestRemote::empty("main");
        let mut locks: BTreeMap<(&str, &str), Lock> = BTreeMap::new();
        let mut first: BTreeMap<(&str, &str), String> = BTreeMap::new();
        remote.commit("begin", &[Hand::Put("note", "100644", b"")]);
        for (n, act) in acts.iter().enumerate() {
            let number = n.to_string();
            let place = match act {
                Act::Claim(n) | Act::Release(n) | Act::Remove(n) | Act::Add(n) | Act::Edit(n) | Act::Renew(n, _) => PLACES[*n],
                Act::Elsewhere => {
                    remote.commit("else", &[Hand::Put("note", "100644", number.as_bytes())]);
                    continue;
                }
            };
            let claimed = format!("{}/claimed/{}", place.0, place.1);
            let unclaimed = format!("{}/unclaimed/{}", place.0, place.1);
            let now = locks.get(&place).cloned();
            match (act, now) {
                (Act::Claim(_), Some((content, None))) => {
                    let claim = remote.commit("x", &[Hand::Move(&unclaimed, &claimed)]);
                    first.entry(place).or_insert(claim.clone());
                    locks.insert(place, (content, Some((claim.clone(), claim))));
                }
                // One that is added claimed is claimed by that.
                (Act::Claim(_), None) => {
                    let claim = remote.commit("x", &[Hand::Put(&claimed, "100644", number.as_bytes())]);
                    first.entry(place).or_insert(claim.clone());
                    locks.insert(place, (number, Some((claim.clone(), claim))));
                }
                (Act::Release(_), Some((content, Some(_)))) => {
                    remote.commit("x", &[Hand::Move(&claimed, &unclaimed)]);
                    locks.insert(place, (content, None));
                }
                (Act::Remove(_), Some((_, Some(_)))) => {
                    remote.commit("x", &[Hand::Delete(&claimed)]);
                    locks.remove(&place);
                }
                (Act::Add(_), None) => {
                    remote.commit("x", &[Hand::Put(&unclaimed, "100644", number.as_bytes())]);
                    locks.insert(place, (number, None));
                }
                (Act::Edit(_), Some((_, claim))) => {
                    let path = if claim.is_some() { &claimed } else { &unclaimed };
                    remote.commit("x", &[Hand::Put(path, "100755", number.as_bytes())]);
                    locks.insert(place, (number, claim));
                }
                (Act::Renew(_, true), Some((content, Some((claim, _))))) => {
                    let sign = say(&remote, &renewal(&claim, "2026-01-01T10:00:00Z"));
                    locks.insert(place, (content, Some((claim, sign))));
                }
                (Act::Renew(_, false), now) => {
                    let Some(old) = first.get(&place) else { continue };
                    let sign = say(&remote, &renewal(old, "2026-01-01T10:00:00Z"));
                    if let Some((content, Some((claim, _)))) = now && claim == *old {
                        locks.insert(place, (content, Some((claim, sign))));
                    }
                }
                _ => {}
            }
        }

        let mut pools: Vec<&str> = PLACES.iter().map(|(pool, _)| *pool).collect();
        pools.dedup();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (found, _) = runtime.block_on(read(&remote, &pools));

        let found: BTreeMap<(&str, &str), (String, String)> = found
            .iter()
            .flat_map(|(pool, claims)| claims.iter().map(move |(lock, held)| {
                ((pool.as_str(), lock.as_str()), (held.claim.to_string(), held.last_sign.to_string()))
            }))
            .collect();
        let expected = locks.into_iter().filter_map(|(place, (_, claim))| Some((place, claim?)));
        prop_assert_eq!(found, expected.collect::<BTreeMap<_, _>>());
    }
}

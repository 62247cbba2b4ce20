//! Leases of claims, their renewal, and the end of a claim by somebody else than its holder.

use std::time::{Duration, SystemTime};

use net::Proxies;
use pool::attempt::{AttemptError, Outcome};
use pool::concourse::{Build, Source};
use pool::lock::{ClaimId, LockName};
use pool::message::{self, Origin};
use pool::operation::{Operation, Right};
use pool::rules::Refusal;
use pool::step::{Order, StepError, Surroundings, operate};
use proptest::prelude::*;
use proptest::test_runner::Config;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use support::remote::Hand;
use support::server::http::HttpServer;
use support::server::relay::Relay;
use support::server::ssh::run;
use support::{Pool, Step, TestRemote};

const HOUR: Duration = Duration::from_secs(3600);

/// Carries out an operation that no param of a put asks for.
async fn carry_out(
    remote: &TestRemote,
    operation: Operation,
    lease: Option<Duration>,
) -> Result<Outcome, StepError> {
    let source = json!({"uri": remote.uri(), "branch": remote.branch(), "pool": "aws"});
    let temporary = tempfile::tempdir().unwrap();
    let around = Surroundings {
        temporary: temporary.path().to_owned(),
        build: Build::default(),
        home: None,
        met_hosts: None,
        ssh_agent: None,
        paint: Default::default(),
        proxies: Proxies::default(),
        links: git::Links::default(),
        git_settings: None,
    };
    let order = Order {
        operation,
        origin: Origin::default(),
        patience: None,
        priority: 0,
        step: None,
        lease,
        reason: None,
        ends_with_command: false,
        goes_on: false,
        within: Vec::new(),
        in_order: None,
        on_deadlock: Default::default(),
        awaits_missing: true,
        container: None,
        rerun: None,
    };
    let (source, never) = (
        Source::from_json(&source).unwrap(),
        CancellationToken::new(),
    );
    let answer = async |_: &Outcome| Ok(());
    operate(&source, order, &around, never, answer, &mut Vec::new()).await
}

fn locks(names: &[&str]) -> Vec<LockName> {
    names
        .iter()
        .map(|name| LockName::new(name).unwrap())
        .collect()
}

fn renewal(lock: &str, claim: &str) -> Operation {
    Operation::Renew {
        locks: locks(&[lock]),
        claim: ClaimId(claim.parse().unwrap()),
    }
}

fn refusal(result: Result<Outcome, StepError>) -> Refusal {
    match result {
        Err(StepError::Attempt(err)) => match *err {
            AttemptError::Refused(refusal) => refusal,
            other => panic!("{other}"),
        },
        other => panic!("{other:?}"),
    }
}

/// The end of the lease that a commit gives.
fn lease_of(remote: &TestRemote, commit: &str) -> Option<SystemTime> {
    let said = remote.message(commit);
    let end = message::lease_end(said.as_bytes());
    assert_eq!(end.is_some(), said.contains(message::LEASE), "{said}");
    end
}

/// Whether the lease of a commit began between then and now, and lasts so long.
#[track_caller]
fn assert_lease(remote: &TestRemote, commit: &str, since: SystemTime, lasts: Duration) {
    let end = lease_of(remote, commit).unwrap();
    // It is written in whole seconds, and must not end before its holder takes it to.
    assert!(end >= since + lasts);
    assert!(end < SystemTime::now() + lasts + Duration::from_secs(1));
}

#[test]
fn each_way_to_claim_a_lock_may_begin_a_lease() {
    let remote = TestRemote::with_pool("aws", &["a", "b"]);
    let step = Step::on(&remote, "aws");
    let files: [(&str, &[u8]); 2] = [("lock/name", b"c"), ("lock/metadata", b"1")];

    for params in [
        json!({"claim": "b", "lease": "60m"}),
        json!({"acquire": true, "lease": "1h"}),
        json!({"add_claimed": "lock", "lease": 3_600_000_000_000_i64}),
    ] {
        let since = SystemTime::now();
        let version = step.put_with(params, &files).version();

        assert_lease(&remote, &version, since, HOUR);
    }
}

#[test]
fn without_the_param_a_claim_has_no_lease_and_with_it_nothing_but_a_claim_has_one() {
    let remote = TestRemote::with_pool("aws", &["a"]);
    let step = Step::on(&remote, "aws");
    let files: [(&str, &[u8]); 2] = [("lock/name", b"a"), ("lock/metadata", b"1")];

    for params in [
        json!({"acquire": true}),
        json!({"release": "lock", "lease": "1h"}),
        json!({"claim": "a", "lease": ""}),
        json!({"release": "lock", "lease": "1h"}),
        json!({"update": "lock", "lease": "1h"}),
    ] {
        let version = step.put_with(params, &files).version();

        assert_eq!(lease_of(&remote, &version), None);
    }
}

#[test]
fn a_lease_that_is_no_duration_is_refused_before_anything_is_claimed() {
    let remote = TestRemote::with_pool("aws", &["a"]);
    let head = remote.head();

    for lease in [json!("soon"), json!("-1h"), json!(true), json!([])] {
        let params = json!({"acquire": true, "lease": lease});
        Step::on(&remote, "aws")
            .put(params)
            .assert_failed(&["`params.lease` must be a duration"]);
    }

    assert_eq!(remote.head(), head);
}

/// A moment as a header has it.
fn http_date(time: SystemTime) -> String {
    let at = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let date = run(
        "date",
        &["-u", "-d", &format!("@{at}"), "+%a, %d %b %Y %H:%M:%S GMT"],
    );
    date.trim().to_owned()
}

#[test]
fn a_renewal_never_ends_before_the_lease_that_stands() {
    let remote = TestRemote::with_pool("aws", &["a"]);
    let pool = Pool::on(&remote, "aws");
    pool.run(&["claim", "a", "--lease", "10h"]).text();
    let end = lease_of(&remote, &remote.head()).unwrap();

    pool.run(&["renew", "a", "--lease", "1h"]).text();
    assert_eq!(lease_of(&remote, &remote.head()), Some(end));

    let since = SystemTime::now();
    pool.run(&["renew", "a", "--lease", "11h"]).text();
    assert_lease(&remote, &remote.head(), since, 11 * HOUR);
}

#[test]
fn a_clock_that_is_behind_is_told_of_and_ends_no_lease_early() {
    let later = SystemTime::now() + HOUR;
    let seconds = later
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs();

    // Others' commits are from our future.
    let remote = TestRemote::with_pool("aws", &["a"]);
    remote.commit_at(seconds, "by a machine whose clock is right", &[]);
    let claim = Pool::on(&remote, "aws").run(&["claim", "a", "--lease", "1h"]);
    claim.text();
    assert!(
        claim.stderr.contains("behind the newest commit"),
        "{}",
        claim.stderr
    );
    assert!(lease_of(&remote, &remote.head()).unwrap() >= later + HOUR - Duration::from_secs(1));

    // The server says what time it is.
    let remote = TestRemote::with_pool("aws", &["a"]);
    let server = HttpServer::start(remote.root());
    let relay = Relay::with_clock(server.port(), &http_date(later));
    let uri = format!("http://127.0.0.1:{}/git/locks.git", relay.port());
    let pool = Pool::on(&remote, "aws").env("POOL_URI", uri);
    let claim = pool.run(&["claim", "a", "--lease", "1h"]);
    claim.text();
    assert!(
        claim.stderr.contains("behind that of the server"),
        "{}",
        claim.stderr
    );
    assert!(lease_of(&remote, &remote.head()).unwrap() >= later + HOUR - Duration::from_secs(1));
    let doctor = pool.run(&["doctor"]);
    assert!(
        doctor.stdout.contains("behind the server's"),
        "{}",
        doctor.stdout
    );

    // What is years ahead is no clock.
    let remote = TestRemote::with_pool("aws", &["a"]);
    remote.commit_at(
        seconds + 10 * 365 * 86_400,
        "by a machine whose clock is wrong",
        &[],
    );
    let since = SystemTime::now();
    Pool::on(&remote, "aws")
        .run(&["claim", "a", "--lease", "1h"])
        .text();
    assert_lease(&remote, &remote.head(), since, HOUR);
}

#[test]
fn who_reaps_with_a_clock_that_is_ahead_goes_by_the_server_s() {
    let remote = TestRemote::with_pool("aws", &["a"]);
    Pool::on(&remote, "aws")
        .run(&["claim", "a", "--lease", "1s"])
        .text();
    let server = HttpServer::start(remote.root());
    let earlier = SystemTime::now() - HOUR;
    let relay = Relay::with_clock(server.port(), &http_date(earlier));
    let uri = format!("http://127.0.0.1:{}/git/locks.git", relay.port());
    std::thread::sleep(Duration::from_secs(2));

    let kept = Pool::on(&remote, "aws").env("POOL_URI", uri).run(&["reap"]);
    assert_eq!(kept.text(), "");
    assert!(
        kept.stderr.contains("ahead of that of the server"),
        "{}",
        kept.stderr
    );
    let freed = Pool::on(&remote, "aws").run(&["reap"]);
    assert_eq!(freed.text(), "freed a\n");
}

#[test]
fn a_lease_may_last_longer_than_the_calendar() {
    let remote = TestRemote::with_pool("aws", &["a"]);

    let params = json!({"acquire": true, "lease": i64::MAX});
    let version = Step::on(&remote, "aws").put(params).version();

    assert!(lease_of(&remote, &version).unwrap() > SystemTime::now() + 200 * 365 * 24 * HOUR);
    assert_eq!(
        message::lease(SystemTime::now(), Duration::MAX),
        "9999-12-31T23:59:59Z"
    );
}

#[tokio::test]
async fn a_renewal_is_a_commit_that_changes_no_file_and_no_version() {
    let remote = TestRemote::with_pool("aws", &["a"]);
    let step = Step::on(&remote, "aws");
    let claim = step.put(json!({"acquire": true, "lease": "1h"})).version();
    let since = SystemTime::now();

    let renewed = carry_out(&remote, renewal("a", &claim), Some(2 * HOUR)).await;

    let renewed = renewed.unwrap().commit.to_string();
    assert_eq!(remote.head(), renewed);
    assert_eq!(remote.parents(&renewed), [claim.as_str()]);
    let trees = remote.git(&["rev-parse", "main^{tree}", "main~1^{tree}"]);
    let (after, before) = trees.split_once('\n').unwrap();
    assert_eq!(after, before);
    let said = remote.said(&renewed);
    let start = format!("renewing: a\n\nPool-Request: ID\nPool-Claim: {claim}\nPool-Lease: ");
    assert!(said.starts_with(&start), "{said}");
    assert_lease(&remote, &renewed, since, 2 * HOUR);
    for known in [None, Some(claim.as_str())] {
        assert_eq!(step.check(known).versions(), [claim.as_str()]);
    }
    remote.fsck();
}

#[tokio::test]
async fn a_claim_that_was_renewed_is_fetched_and_released_as_ever() {
    let remote = TestRemote::with_pool("aws", &["a"]);
    let step = Step::on(&remote, "aws");
    let claim = step.put(json!({"acquire": true, "lease": "1h"})).version();
    let renewed = carry_out(&remote, renewal("a", &claim), Some(HOUR)).await;
    let renewed = renewed.unwrap().commit.to_string();

    let (got, folder) = step.get(&claim);
    // It is no version, but whoever asks for it gets what he means.
    let (also_got, _) = step.get(&renewed);
    let released = step.put_folder("release", &folder);

    assert_eq!((got.lock(), got.version()), ("a".into(), claim.clone()));
    assert_eq!(also_got.lock(), "a");
    assert_eq!(released.version(), remote.head());
    assert_eq!(remote.list("aws/unclaimed"), ["a"]);
    assert_eq!(
        refusal(carry_out(&remote, renewal("a", &claim), Some(HOUR)).await).to_string(),
        format!(
            "the claim {claim} of `a` has ended with the commit {}; nothing was changed",
            remote.head()
        )
    );
}

#[tokio::test]
async fn a_renewal_leaves_a_pool_as_it_is_whatever_that_is() {
    // Without `.gitkeep`, which every other operation puts right.
    let remote = TestRemote::empty("main");
    remote.commit("1", &[Hand::Put("aws/unclaimed/a", "100644", b"1")]);
    let claim = remote.claim_by_hand("aws", "a");

    carry_out(&remote, renewal("a", &claim), Some(HOUR))
        .await
        .unwrap();

    assert_eq!(remote.tree(), ["aws/claimed/a"]);
    assert_eq!(remote.subjects()[0], "renewing: a");
}

#[tokio::test]
async fn only_a_claim_that_stands_is_renewed() {
    let remote = TestRemote::with_pool("aws", &["a", "b"]);
    let old = remote.claim_by_hand("aws", "a");
    remote.release_by_hand("aws", "a");
    remote.claim_by_hand("aws", "a");
    let head = remote.head();

    let ended = refusal(carry_out(&remote, renewal("a", &old), Some(HOUR)).await);
    let other = refusal(carry_out(&remote, renewal("b", &old), Some(HOUR)).await);

    assert!(
        matches!(ended, Refusal::ClaimEnded { held: true, .. }),
        "{ended}"
    );
    assert!(matches!(other, Refusal::NotAClaim { .. }), "{other}");
    assert_eq!(remote.head(), head);
}

#[tokio::test]
async fn an_operator_s_reason_is_in_the_commit_on_one_line() {
    let remote = TestRemote::with_pool("aws", &["a"]);
    remote.claim_by_hand("aws", "a");

    let unlock = Operation::Release {
        locks: locks(&["a"]),
        right: Right::Trust,
        reason: Some("Ann is on holiday\n\nPool-Claim: 1".to_owned()),
    };
    let commit = carry_out(&remote, unlock, Some(HOUR)).await.unwrap().commit;

    assert_eq!(
        remote.said(&commit.to_string()),
        "unclaiming: a\n\nPool-Request: ID\nPool-Reason: Ann is on holiday  Pool-Claim: 1"
    );
}

#[tokio::test]
async fn a_stale_claim_is_ended_only_as_long_as_its_holder_is_not_heard_of() {
    let remote = TestRemote::with_pool("aws", &["a"]);
    let step = Step::on(&remote, "aws");
    let claim = step.put(json!({"acquire": true})).version();
    let (_, folder) = step.get(&claim);
    let claim_id = ClaimId(claim.parse().unwrap());
    let stale = |last_sign: &str| Operation::Release {
        locks: locks(&["a"]),
        right: Right::Stale {
            claim: claim_id,
            last_sign: last_sign.parse().unwrap(),
        },
        reason: Some("nobody is there".to_owned()),
    };
    let renewed = carry_out(&remote, renewal("a", &claim), None).await;
    let renewed = renewed.unwrap().commit.to_string();

    let too_late = refusal(carry_out(&remote, stale(&claim), None).await);
    let ended = carry_out(&remote, stale(&renewed), None).await.unwrap();
    let twice = refusal(carry_out(&remote, stale(&renewed), None).await);

    assert_eq!(
        too_late.to_string(),
        format!(
            "the claim {claim} of `a` has been renewed with the commit {renewed}; nothing was changed"
        )
    );
    assert_eq!(
        remote.said(&ended.commit.to_string()),
        format!(
            "unclaiming: a\n\nPool-Request: ID\nPool-Reaped: {claim}\nPool-Reason: nobody is there"
        )
    );
    assert!(
        matches!(twice, Refusal::ClaimEnded { held: false, .. }),
        "{twice}"
    );
    // The holder wanted it to be free, and it is; but it is not his any more once somebody else has it.
    assert_eq!(step.put_folder("release", &folder).version(), remote.head());
    remote.claim_by_hand("aws", "a");
    step.put_folder("release", &folder)
        .assert_failed(&["has ended", "someone else holds it now"]);
}

/// What somebody does in a generated sequence; numbers choose among what is known.
#[derive(Debug, Clone)]
enum Act {
    Claim(usize),
    /// With a claim that was made once.
    Release(usize),
    /// With a claim that was made once.
    Renew(usize),
    /// Looks at the claims that stand.
    Look,
    /// Ends a claim as it was seen once.
    Reap(usize),
}

fn acts() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0..2_usize).prop_map(Act::Claim),
        2 => (0..8_usize).prop_map(Act::Release),
        4 => (0..8_usize).prop_map(Act::Renew),
        3 => Just(Act::Look),
        4 => (0..8_usize).prop_map(Act::Reap),
    ]
}

const NAMES: [&str; 2] = ["a", "b"];

proptest! {
    #![proptest_config(Config { cases: 12, max_shrink_iters: 32, failure_persistence: None, ..Config::default() })]

    #[test]
    fn whatever_is_done_a_claim_is_ended_only_by_its_holder_or_as_it_was_last_seen(acts in prop::collection::vec(acts(), 4..18)) {
        let remote = TestRemote::with_pool("aws", &NAMES);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let run = |operation| runtime.block_on(carry_out(&remote, operation, Some(HOUR)));
        // For each lock the claim that stands, and the last sign of its holder.
        let mut now: [Option<(String, String)>; 2] = [None, None];
        let mut claims: Vec<(usize, String)> = Vec::new();
        let mut looks: Vec<(usize, String, String)> = Vec::new();
        for act in acts {
            let before = remote.head();
            // What is to be carried out, on which lock, and what that lock is afterwards; `None` when nothing may change.
            let (lock, operation, after) = match act {
                Act::Look => {
                    let standing = now.iter().enumerate();
                    looks.extend(standing.filter_map(|(lock, held)| {
                        let (claim, sign) = held.clone()?;
                        Some((lock, claim, sign))
                    }));
                    continue;
                }
                Act::Claim(lock) if now[lock].is_some() => continue,
                Act::Claim(lock) => (lock, Operation::Claim(locks(&[NAMES[lock]]).remove(0)), Some(None)),
                Act::Release(n) | Act::Renew(n) => {
                    let Some((lock, claim)) = claims.get(n.min(claims.len().saturating_sub(1))).cloned() else { continue };
                    let stands = now[lock].as_ref().is_some_and(|(standing, _)| *standing == claim);
                    let id = ClaimId(claim.parse().unwrap());
                    match act {
                        Act::Renew(_) => (lock, renewal(NAMES[lock], &claim), stands.then_some(Some(claim))),
                        _ => {
                            let right = Right::Claim(id);
                            let release = Operation::Release { locks: locks(&[NAMES[lock]]), right, reason: None };
                            (lock, release, stands.then_some(None))
                        }
                    }
                }
                Act::Reap(n) => {
                    let Some((lock, claim, last_sign)) = looks.get(n.min(looks.len().saturating_sub(1))).cloned() else { continue };
                    let as_seen = now[lock] == Some((claim.clone(), last_sign.clone()));
                    let right = Right::Stale { claim: ClaimId(claim.parse().unwrap()), last_sign: last_sign.parse().unwrap() };
                    let reap = Operation::Release { locks: locks(&[NAMES[lock]]), right, reason: Some("seen".to_owned()) };
                    (lock, reap, as_seen.then_some(None))
                }
            };

            let is_claim = matches!(operation, Operation::Claim(_));
            let done = run(operation);

            match after {
                None => prop_assert_eq!(&remote.head(), &before),
                Some(renewed) => {
                    prop_assert_eq!(done.unwrap().commit.to_string(), remote.head());
                    prop_assert_eq!(remote.back(1), before);
                    let head = remote.head();
                    now[lock] = match renewed {
                        Some(claim) => Some((claim, head)),
                        None if is_claim => {
                            claims.push((lock, head.clone()));
                            Some((head.clone(), head))
                        }
                        None => None,
                    };
                }
            }
            let held = NAMES.iter().zip(&now).filter(|(_, held)| held.is_some());
            let held: Vec<&str> = held.map(|(name, _)| *name).collect();
            prop_assert_eq!(remote.list("aws/claimed"), held);
        }
        remote.fsck();
    }
}

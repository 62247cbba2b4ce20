//! Plays whose end is known: by a formula, by another way to reckon, or because it has happened.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::lock::PoolName;
use git::object::Oid;

fn name(n: usize) -> LockName {
    LockName::new(&format!("env-{n}")).unwrap()
}

fn request(claimed: i64, waited: Option<f64>, lock: usize, held: i64) -> Served {
    Served {
        pool: PoolName::new("aws").unwrap(),
        claim: Oid::ZERO_SHA1,
        locks: vec![(name(lock), Some(claimed + held))],
        who: "anna".to_owned(),
        claimed,
        waited,
        wanted: Some("any".to_owned()),
        priority: 0,
    }
}

/// So many locks that do for everybody, and no others.
fn with(more: usize) -> Scenario {
    Scenario {
        locks: BTreeSet::new(),
        more,
        rule: Rule::Arrival,
        priorities: true,
    }
}

/// The locks that requests have had.
fn as_it_was(requests: &[Served]) -> Scenario {
    let locks = requests.iter().flat_map(|request| &request.locks);
    Scenario {
        locks: locks.map(|(lock, _)| lock.clone()).collect(),
        ..with(0)
    }
}

/// The waits of a line without priorities in which each wants any lock: who comes first gets the lock that is free first.
fn by_recursion(arrivals: &[(f64, f64)], locks: usize) -> Vec<f64> {
    let mut free_at = vec![f64::NEG_INFINITY; locks];
    let mut waits = Vec::new();
    for (arrival, hold) in arrivals {
        free_at.sort_by(f64::total_cmp);
        let begins = free_at[0].max(*arrival);
        waits.push(begins - arrival);
        free_at[0] = begins + hold;
    }
    waits
}

/// The mean wait of a queue with random arrivals, random lengths of service and `c` servers.
///
/// Source: Erlang's second formula.
fn erlang_c(arrivals: f64, service: f64, c: usize) -> f64 {
    let a = arrivals * service;
    let mut term = 1.0;
    let mut sum = 0.0;
    for k in 0..c {
        if k > 0 {
            term *= a / k as f64;
        }
        sum += term;
    }
    let last = term * a / c as f64 * (c as f64 / (c as f64 - a));
    last / (sum + last) * service / (c as f64 - a)
}

#[test]
fn random_requests_wait_as_long_as_the_formula_says() {
    // Days, so that a second does not matter.
    const MEAN_HOLD: f64 = 100_000.0;
    let mut draw = StdRng::seed_from_u64(7);
    for (locks, load) in [(1, 0.5), (2, 0.6), (4, 0.7), (8, 0.7)] {
        let between = MEAN_HOLD / (locks as f64 * load);
        let mut exponential = |mean: f64| -mean * (1.0 - draw.random::<f64>()).ln();
        let mut time = 0.0;
        let requests: Vec<Served> = (0..250_000)
            .map(|_| {
                time += exponential(between);
                request(time as i64, None, 0, exponential(MEAN_HOLD) as i64)
            })
            .collect();

        let outcome = simulate(&requests, &with(locks));

        let expected = erlang_c(1.0 / between, MEAN_HOLD, locks);
        let found = outcome.spread(0).mean();
        let off = (found / expected - 1.0).abs();
        assert!(off < 0.05, "{locks} locks: {found} instead of {expected}");
        assert!((outcome.used / load - 1.0).abs() < 0.05, "{}", outcome.used);
    }
}

/// Requests by their arrivals: the time since the one before, and for how long each holds.
fn arrivals() -> impl Strategy<Value = Vec<(i64, i64)>> {
    proptest::collection::vec((2..60_i64, 0..300_i64), 1..60)
}

fn unwaited(arrivals: &[(i64, i64)]) -> Vec<Served> {
    let mut time = 1_800_000_000;
    let requests = arrivals.iter().map(|(between, hold)| {
        time += between;
        request(time, None, 0, *hold)
    });
    requests.collect()
}

proptest! {
    #[test]
    fn who_wants_any_lock_waits_as_long_as_the_one_that_is_free_first_takes(
        arrivals in arrivals(), locks in 1..6_usize
    ) {
        let requests = unwaited(&arrivals);
        let outcome = simulate(&requests, &with(locks));

        let plain: Vec<(f64, f64)> = requests
            .iter()
            .zip(&arrivals)
            .map(|(request, (_, hold))| (request.claimed as f64, *hold as f64))
            .collect();
        let expected: Vec<Option<f64>> = by_recursion(&plain, locks).into_iter().map(Some).collect();
        prop_assert_eq!(outcome.waits, expected);
    }

    #[test]
    fn nobody_waits_longer_for_more_locks(arrivals in arrivals(), locks in 1..6_usize) {
        let requests = unwaited(&arrivals);
        let fewer = simulate(&requests, &with(locks)).waits;
        let more = simulate(&requests, &with(locks + 1)).waits;

        prop_assert!(fewer.iter().zip(&more).all(|(fewer, more)| more <= fewer));
    }

    #[test]
    fn what_has_happened_happens_again_with_the_same_locks(
        arrivals in arrivals(), locks in 1..6_usize, reactions in proptest::collection::vec(0.0..3.0_f64, 60)
    ) {
        // What a real run records: whole seconds, waits to a tenth, and time from the end of a hold until the next claim.
        let mut free_at = vec![(0.0_f64, 0); locks];
        for (n, lock) in free_at.iter_mut().enumerate() {
            lock.1 = n;
        }
        let mut time = 1_800_000_000.0;
        let mut recorded: Vec<Served> = Vec::new();
        for ((between, hold), reaction) in arrivals.iter().zip(&reactions) {
            time += *between as f64 + 0.3;
            free_at.sort_by(|a, b| a.0.total_cmp(&b.0));
            let waits = free_at[0].0 > time;
            let claimed = if waits { free_at[0].0 + reaction } else { time };
            free_at[0].0 = claimed + *hold as f64 + 0.4;
            let waited = ((claimed - time) * 10.0).round() / 10.0;
            let end = free_at[0].0.floor() as i64;
            recorded.push(Served {
                locks: vec![(name(free_at[0].1), Some(end))],
                ..request(claimed.floor() as i64, Some(waited), 0, 0)
            });
        }
        let in_order_of_claims = recorded.is_sorted_by_key(|request| request.claimed);
        prop_assume!(in_order_of_claims);

        let played = simulate(&recorded, &as_it_was(&recorded));

        for (request, wait) in recorded.iter().zip(&played.waits) {
            let off = wait.unwrap() - request.waited.unwrap();
            prop_assert!(off.abs() <= 2.0, "{} instead of {:?}", wait.unwrap(), request);
        }
    }

    #[test]
    fn all_are_served_whatever_they_want_if_the_locks_are_there(
        wishes in proptest::collection::vec(
            (0..30_i64, 1..100_i64, proptest::sample::subsequence(vec![0, 1, 2, 3], 1..4), any::<bool>(), -3..4_i32),
            1..40,
        ),
        rule in prop_oneof![Just(Rule::Arrival), Just(Rule::Newest), Just(Rule::Any)],
    ) {
        let mut time = 1_800_000_000;
        let requests: Vec<Served> = wishes
            .iter()
            .map(|(between, hold, locks, by_name, priority)| {
                time += between;
                Served {
                    locks: locks.iter().map(|lock| (name(*lock), Some(time + hold))).collect(),
                    wanted: (!by_name).then(|| "any".to_owned()),
                    priority: *priority,
                    ..request(time, None, 0, 0)
                }
            })
            .collect();
        let locks = (0..4).map(name).collect();
        let outcome = simulate(&requests, &Scenario { locks, rule, ..with(0) });

        prop_assert_eq!(outcome.unserved(0), 0);
        prop_assert!(outcome.waits.iter().flatten().all(|wait| *wait >= 0.0));
        prop_assert!(outcome.used <= 1.0 + 1e-9, "{}", outcome.used);
    }
}

#[test]
fn priorities_and_the_newest_go_first_where_that_is_the_rule() {
    let urgent = Served {
        priority: 10,
        ..request(1020, None, 0, 100)
    };
    let requests = [
        request(1000, None, 0, 100),
        request(1010, None, 0, 100),
        urgent,
        request(1030, None, 0, 100),
    ];
    let waits = |scenario: Scenario| -> Vec<f64> {
        let outcome = simulate(&requests, &scenario);
        outcome.waits.into_iter().map(Option::unwrap).collect()
    };
    let newest = Rule::Newest;

    assert_eq!(waits(with(1)), [0.0, 190.0, 80.0, 270.0]);
    let without = Scenario {
        priorities: false,
        ..with(1)
    };
    assert_eq!(waits(without.clone()), [0.0, 90.0, 180.0, 270.0]);
    let last_first = Scenario {
        rule: newest,
        ..without
    };
    assert_eq!(waits(last_first), [0.0, 290.0, 180.0, 70.0]);
}

#[test]
fn who_wants_a_lock_by_its_name_or_its_kind_gets_no_other() {
    let by_name = Served {
        wanted: None,
        ..request(1010, None, 1, 100)
    };
    let of_a_kind = Served {
        wanted: Some("gpu=true".to_owned()),
        ..request(1020, None, 1, 100)
    };
    let requests = [request(1000, None, 1, 100), by_name, of_a_kind];
    let locks: BTreeSet<LockName> = [name(1)].into();
    let play = |more| {
        let outcome = simulate(
            &requests,
            &Scenario {
                locks: locks.clone(),
                ..with(more)
            },
        );
        outcome.waits
    };

    assert_eq!(play(0), [Some(0.0), Some(90.0), Some(180.0)]);
    // A lock more does for the one who wants a kind, and not for the one who wants a name.
    assert_eq!(play(1), [Some(0.0), Some(90.0), Some(0.0)]);
    let none = simulate(&requests, &with(1));
    assert_eq!(none.unserved(0), 1);
}

#[test]
fn what_was_held_before_the_record_begins_is_held_again() {
    let requests = [
        request(1100, Some(60.0), 1, 10),
        request(1200, Some(0.0), 1, 10),
    ];
    let outcome = simulate(&requests, &as_it_was(&requests));

    assert_eq!(outcome.waits, [Some(60.0), Some(0.0)]);
    // Somebody else held that one; another one would have been free at once.
    let more = Scenario {
        more: 1,
        ..as_it_was(&requests)
    };
    assert_eq!(simulate(&requests, &more).waits, [Some(0.0), Some(0.0)]);
}

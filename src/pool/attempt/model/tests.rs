#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::num::NonZeroUsize;
use std::time::Instant;

use super::explore::explore;
use super::world::{Mishaps, Plan, Step};
use crate::lock::{LockName, PoolName};
use crate::operation::{Operation, Part, Want};

/// So much more may go wrong in each world. With 1 it takes very much longer, and more memory.
const MORE: &str = "POOL_MODEL_MORE";

fn acquire(count: usize) -> Operation {
    Operation::Acquire(Want {
        count: NonZeroUsize::new(count).unwrap(),
        ..Want::default()
    })
}

fn claim(name: &str) -> Operation {
    Operation::Claim(LockName::new(name).unwrap())
}

/// A plan in which nothing goes wrong yet.
fn plan<const N: usize>(asks: [Operation; N], locks: u8) -> Plan {
    let step = |asks| Step {
        asks,
        is_named: false,
    };
    Plan {
        workers: asks.into_iter().map(step).collect(),
        locks,
        in_line: false,
        goes_along: false,
        lag: 2,
        mishaps: Mishaps::default(),
    }
}

fn named(mut plan: Plan) -> Plan {
    for step in &mut plan.workers {
        step.is_named = true;
    }
    plan
}

fn in_line(plan: Plan) -> Plan {
    Plan {
        in_line: true,
        ..plan
    }
}

fn going_along(plan: Plan) -> Plan {
    Plan {
        goes_along: true,
        ..plan
    }
}

/// Has all worlds explored in which so much goes wrong.
#[track_caller]
fn assert_holds(plan: Plan, mishaps: Mishaps) {
    let more: u8 = std::env::var(MORE).map_or(0, |more| more.parse().unwrap());
    let mishaps = Mishaps {
        faults: mishaps.faults + more,
        aborts: mishaps.aborts + more,
        kills: mishaps.kills + more,
        frees: mishaps.frees,
    };
    let began = Instant::now();
    match explore(&Plan { mishaps, ..plan }) {
        Ok(explored) => println!("{explored:?} in {:?}", began.elapsed()),
        Err(trace) => panic!("{trace}"),
    }
}

const NONE: Mishaps = Mishaps {
    faults: 0,
    aborts: 0,
    kills: 0,
    frees: 0,
};
const FAULT: Mishaps = Mishaps { faults: 1, ..NONE };

#[test]
fn a_step_alone_leaves_no_lock_whatever_becomes_of_its_runs() {
    let mishaps = Mishaps {
        faults: 2,
        aborts: 2,
        kills: 2,
        frees: 1,
    };
    assert_holds(plan([acquire(1)], 1), mishaps);
}

#[test]
fn two_never_hold_the_one_lock_though_pushes_get_lost_and_runs_are_killed() {
    let mishaps = Mishaps { kills: 1, ..FAULT };
    assert_holds(plan([acquire(1), acquire(1)], 1), mishaps);
}

#[test]
fn two_never_hold_the_one_lock_though_pushes_get_lost_and_runs_are_told_to_stop() {
    let mishaps = Mishaps { aborts: 1, ..FAULT };
    assert_holds(plan([acquire(1), acquire(1)], 1), mishaps);
}

#[test]
fn of_two_locks_each_goes_to_one_though_pushes_get_lost_and_runs_are_told_to_stop() {
    let mishaps = Mishaps { aborts: 1, ..FAULT };
    // Far enough behind to show neither a claim nor what it was made on, once the other one has moved as well.
    let lag = 3;
    let plan = plan([acquire(1), claim("a")], 2);
    assert_holds(Plan { lag, ..plan }, mishaps);
}

#[test]
fn nobody_claims_a_second_lock_for_a_push_that_got_no_answer() {
    let plan = plan([acquire(1), claim("c")], 3);
    assert_holds(Plan { lag: 3, ..plan }, FAULT);
}

#[test]
fn what_an_operator_frees_of_a_claim_is_not_told_with_the_rest() {
    let mishaps = Mishaps {
        kills: 1,
        frees: 1,
        ..NONE
    };
    assert_holds(plan([acquire(2), claim("a")], 2), mishaps);
}

#[test]
fn a_claim_that_is_known_by_its_step_elsewhere_is_told_only_if_it_is_what_is_asked() {
    let mishaps = Mishaps {
        kills: 1,
        frees: 1,
        ..NONE
    };
    assert_holds(named(plan([acquire(2), claim("a")], 2)), mishaps);
    let mishaps = Mishaps { kills: 1, ..FAULT };
    assert_holds(named(plan([acquire(1)], 1)), mishaps);
}

/// A lock of each of two pools.
fn both() -> Operation {
    let part = |pool: &str, lock: &str| Part {
        pool: PoolName::new(pool).unwrap(),
        want: Want::exactly(vec![LockName::new(lock).unwrap()]),
    };
    Operation::AcquireEach(vec![part("p", "a"), part("q", "d")])
}

#[test]
fn locks_of_two_pools_are_held_together_or_not_at_all_whatever_goes_wrong() {
    let mishaps = Mishaps {
        faults: 2,
        aborts: 1,
        kills: 2,
        frees: 1,
    };
    assert_holds(plan([both()], 1), mishaps);
    let mishaps = Mishaps { kills: 1, ..FAULT };
    assert_holds(plan([both(), claim("a")], 1), mishaps);
    let mishaps = Mishaps { aborts: 1, ..FAULT };
    assert_holds(plan([both(), both()], 1), mishaps);
}

fn acquire_all() -> Operation {
    Operation::Acquire(Want {
        all: true,
        ..Want::default()
    })
}

#[test]
fn who_needs_all_locks_has_them_alone_whatever_goes_wrong() {
    assert_holds(plan([acquire_all(), acquire(1)], 2), FAULT);
    let mishaps = Mishaps { kills: 1, ..NONE };
    assert_holds(in_line(plan([acquire_all(), acquire(1)], 2)), mishaps);
    let mishaps = Mishaps {
        kills: 1,
        frees: 1,
        ..NONE
    };
    assert_holds(named(plan([acquire_all(), claim("a")], 2)), mishaps);
}

#[test]
fn a_line_moves_on_whoever_dies_in_it() {
    let mishaps = Mishaps { kills: 1, ..NONE };
    assert_holds(in_line(plan([acquire(2), acquire(1)], 2)), mishaps);
    assert_holds(in_line(plan([claim("a"), acquire(1), acquire(1)], 1)), NONE);
}

#[test]
fn what_is_offered_to_others_is_claimed_once_or_never_whatever_goes_wrong() {
    let two = |asks| {
        let plan = going_along(plan(asks, 2));
        Plan { lag: 1, ..plan }
    };
    let certain = || two([claim("a"), claim("b")]);
    assert_holds(certain(), Mishaps { aborts: 1, ..FAULT });
    assert_holds(certain(), Mishaps { kills: 1, ..FAULT });
    assert_holds(named(certain()), Mishaps { kills: 1, ..NONE });
    assert_holds(two([acquire(1), acquire(1)]), Mishaps { aborts: 1, ..NONE });
}

#[test]
fn of_three_each_is_told_of_his_own_though_one_brings_the_others_along() {
    let three = going_along(plan([claim("a"), claim("b"), claim("c")], 3));
    assert_holds(Plan { lag: 0, ..three }, NONE);
}

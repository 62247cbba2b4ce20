#![allow(clippy::unwrap_used)]

use std::time::UNIX_EPOCH;

use gitlab::Pipeline;
use proptest::prelude::*;

use super::*;
use crate::rule::{Guarded, Jobs, Kin, Other, State};

const SECOND: Duration = Duration::from_secs(1);

fn own(pipeline: u64, job: u64) -> Own {
    Own {
        pipeline,
        job: Some(job),
        takes_turns: false,
    }
}

fn guarded(id: u64, state: State, started: Option<Duration>) -> Guarded {
    Guarded {
        id,
        state,
        started: started.map(|at| UNIX_EPOCH + at),
        ..Guarded::default()
    }
}

/// A reading in which nobody else is, and our own job started at 100.
fn alone(date: Option<u64>) -> Reading {
    Reading {
        own: Jobs::Read(vec![guarded(5, State::Open, Some(100 * SECOND))]),
        is_listed: true,
        others: Vec::new(),
        date: date.map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds)),
    }
}

#[test]
fn nobody_enters_on_one_reading_nor_before_his_own_start_is_long_enough_ago() {
    let mut turn = Turn::new(own(1, 5), SETTLE);

    assert_eq!(turn.after(SECOND, &alone(None)), Step::Confirm(6 * SECOND));
    assert_eq!(turn.after(6 * SECOND, &alone(None)), Step::Confirm(SECOND));
    assert_eq!(turn.after(7 * SECOND, &alone(None)), Step::Enter);
}

#[test]
fn a_job_that_started_long_before_us_needs_two_readings_and_no_more() {
    let mut turn = Turn::new(own(1, 5), SETTLE);
    let reading = alone(Some(110));

    assert_eq!(turn.after(Duration::ZERO, &reading), Step::Confirm(BETWEEN));
    assert_eq!(turn.after(BETWEEN, &reading), Step::Enter);
    // The clock of the server may be off by three seconds.
    let mut turn = Turn::new(own(1, 5), SETTLE);
    assert_eq!(
        turn.after(Duration::ZERO, &alone(Some(104))),
        Step::Confirm(6 * SECOND)
    );
}

#[test]
fn somebody_in_the_way_or_an_old_reading_begins_it_anew() {
    let mut turn = Turn::new(own(1, 5), SETTLE);
    let mut taken = alone(None);
    taken.others.push(Other {
        pipeline: Pipeline {
            id: 2,
            ..Pipeline::default()
        },
        jobs: Jobs::Over,
        kin: Kin::None,
    });
    let mut old = alone(None);
    old.own = Jobs::Read(Vec::new());

    assert_eq!(turn.after(8 * SECOND, &alone(None)), Step::Confirm(BETWEEN));
    assert!(matches!(turn.after(9 * SECOND, &taken), Step::Wait(_)));
    assert_eq!(
        turn.after(10 * SECOND, &alone(None)),
        Step::Confirm(BETWEEN)
    );
    assert_eq!(turn.after(11 * SECOND, &old), Step::Unseen(BETWEEN));
    assert_eq!(
        turn.after(12 * SECOND, &alone(None)),
        Step::Confirm(BETWEEN)
    );
    assert_eq!(turn.after(14 * SECOND, &alone(None)), Step::Enter);
}

/// One run of a guarded job, in milliseconds.
#[derive(Debug, Clone)]
struct Run {
    pipeline: u64,
    job: u64,
    /// When it started, and by how much the clock of the web node was off that said so.
    started: i64,
    skew: i64,
    /// When its guard looked first.
    began: i64,
    /// How long its pipeline works once it is inside.
    work: i64,
    /// When its guard entered, if it has.
    entered: Option<i64>,
    turn: Turn,
}

impl Run {
    fn over(&self) -> Option<i64> {
        self.entered.map(|at| at + self.work)
    }

    fn recorded(&self) -> (i64, u64) {
        (self.started + self.skew, self.job)
    }
}

#[derive(Debug, Clone)]
struct Plan {
    /// For each run: how long after the one before it starts, the skew, how long until the guard looks, the work, and
    /// whether it is one more run of a pipeline that was there before (revived).
    runs: Vec<(i64, i64, i64, i64, bool)>,
    /// How far answers lag behind, one after the other.
    lags: Vec<i64>,
    pauses: Vec<i64>,
}

fn plan(most_lag: i64, most_skew: i64) -> impl Strategy<Value = Plan> {
    let half = most_skew / 2;
    let run = (
        0_i64..6000,
        -half..=half,
        0_i64..4000,
        100_i64..9000,
        any::<bool>(),
    );
    (
        proptest::collection::vec(run, 2..9),
        proptest::collection::vec(0..=most_lag, 1..40),
        proptest::collection::vec(3000_i64..15000, 1..20),
    )
        .prop_map(|(runs, lags, pauses)| Plan { runs, lags, pauses })
}

/// What became of it: when each run entered and left, in the order of entering.
fn play(plan: &Plan, settle: Duration) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut now = 10_000;
    for (n, (after, skew, until_look, work, revived)) in plan.runs.iter().enumerate() {
        now += after;
        let job = 100 + n as u64;
        // A pipeline is revived under its old, small id.
        let pipeline = if *revived {
            50 - n as u64
        } else {
            100 + n as u64
        };
        runs.push(Run {
            pipeline,
            job,
            started: now,
            skew: *skew,
            began: now + until_look,
            work: *work,
            entered: None,
            turn: Turn::new(own(pipeline, job), settle),
        });
    }
    let mut lags = plan.lags.iter().copied().cycle();
    let mut pauses = plan.pauses.iter().copied().cycle();
    let mut looks: Vec<(i64, usize)> = runs
        .iter()
        .enumerate()
        .map(|(n, run)| (run.began, n))
        .collect();
    let mut n_looks = 0;
    while !looks.is_empty() {
        n_looks += 1;
        assert!(n_looks < 20_000, "they all wait: {runs:?}");
        looks.sort_unstable();
        let (at, n) = looks.remove(0);
        // Each request is answered by a database that lags behind by another time.
        let (listed_at, own_at) = (at - lags.next().unwrap(), at - lags.next().unwrap());
        let mut others = Vec::new();
        for (other, run) in runs.iter().enumerate() {
            let is_listed =
                run.started <= listed_at && run.over().is_none_or(|over| listed_at < over);
            if other == n || !is_listed {
                continue;
            }
            let seen_at = at - lags.next().unwrap();
            others.push(Other {
                pipeline: Pipeline {
                    id: run.pipeline,
                    ..Pipeline::default()
                },
                jobs: Jobs::Read(vec![as_seen(run, seen_at)]),
                kin: Kin::None,
            });
        }
        let reading = Reading {
            own: Jobs::Read(vec![as_seen(&runs[n], own_at)]),
            // The pipeline runs for longer than the guarded job.
            is_listed: true,
            others,
            // By the same node as the start, or by another.
            date: Some(
                UNIX_EPOCH
                    + Duration::from_millis((at + lags.next().unwrap() % 1000).unsigned_abs()),
            ),
        };
        let began = runs[n].began;
        let since = Duration::from_millis((at - began).unsigned_abs());
        match runs[n].turn.after(since, &reading) {
            Step::Enter => runs[n].entered = Some(at),
            Step::Confirm(pause) | Step::Unseen(pause) => {
                looks.push((at + pause.as_millis() as i64, n));
            }
            Step::Wait(_) => looks.push((at + pauses.next().unwrap(), n)),
        }
    }
    runs.sort_by_key(|run| run.entered);
    runs
}

fn as_seen(run: &Run, at: i64) -> Guarded {
    let started = (run.started <= at).then(|| run.recorded().0);
    let state = match run.entered {
        Some(entered) if entered <= at => State::Passed,
        _ => State::Open,
    };
    guarded(
        run.job,
        state,
        started.map(|at| Duration::from_millis(at.unsigned_abs())),
    )
}

fn check(plan: &Plan, settle: Duration) -> Result<(), TestCaseError> {
    let runs = play(plan, settle);
    for pair in runs.windows(2) {
        prop_assert!(pair[0].over() <= pair[1].entered, "two inside: {:?}", pair);
    }
    for (n, run) in runs.iter().enumerate() {
        for later in &runs[n + 1..] {
            // Whoever is let in later came later.
            prop_assert!(
                run.recorded() < later.recorded() || later.started > run.entered.unwrap(),
                "{:?} overtook {:?}",
                run,
                later
            );
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn one_at_a_time_in_order_and_all_of_them(plan in plan(0, 0)) {
        check(&plan, SETTLE)?;
    }

    #[test]
    fn also_with_answers_that_lag_by_five_seconds_and_clocks_two_seconds_apart(plan in plan(5000, 2000)) {
        check(&plan, SETTLE)?;
    }
}

/// The checks above see what goes wrong: without the wait for what may not be in an answer yet, two get in.
#[test]
fn without_settling_two_get_in() {
    let plan = Plan {
        runs: vec![(0, 0, 0, 9000, false), (100, 0, 0, 9000, false)],
        // The list lags behind, and what shows our own job does not.
        lags: vec![5000, 0, 0],
        pauses: vec![3000],
    };

    assert!(check(&plan, SETTLE).is_ok());
    assert!(check(&plan, Duration::ZERO).is_err());
}

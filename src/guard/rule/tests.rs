#![allow(clippy::unwrap_used)]

use std::time::Duration;

use State::{Failed, Open, Passed};
use proptest::prelude::*;

use super::*;

fn at(seconds: u64) -> Option<SystemTime> {
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds))
}

fn job(id: u64, state: State, started: Option<u64>) -> Guarded {
    Guarded {
        id,
        name: "deploy".to_owned(),
        state,
        started: started.and_then(at),
        ..Guarded::default()
    }
}

fn other(id: u64, jobs: Jobs) -> Other {
    Other {
        pipeline: Pipeline {
            id,
            ..Pipeline::default()
        },
        jobs,
        kin: Kin::None,
    }
}

/// We are pipeline 50, and our job is 500.
const OWN: Own = Own {
    pipeline: 50,
    job: Some(500),
    takes_turns: false,
};

fn reading(own: Jobs, others: Vec<Other>) -> Reading {
    Reading {
        own,
        is_listed: true,
        others,
        date: None,
    }
}

/// What we find of one other pipeline, when our own job started at 100.
fn found(other: Other) -> Option<Why> {
    let own = Jobs::Read(vec![job(500, Open, Some(100))]);
    let conflicts = in_the_way(&OWN, &reading(own, vec![other]));
    assert!(conflicts.len() <= 1);
    conflicts.first().map(|conflict| conflict.why)
}

#[test]
fn a_pipeline_is_before_us_by_the_start_of_its_guarded_job_and_not_by_its_id() {
    for (id, jobs, expected) in [
        (40, vec![job(400, Open, Some(99))], Some(Why::Before)),
        (60, vec![job(600, Open, Some(99))], Some(Why::Before)),
        (40, vec![job(400, Open, Some(101))], None),
        (40, vec![job(400, Open, None)], None),
        // Started at the same time: the id of the job decides.
        (60, vec![job(499, Open, Some(100))], Some(Why::Before)),
        (40, vec![job(501, Open, Some(100))], None),
        // It has one place, whichever of its guarded jobs started first.
        (
            60,
            vec![job(601, Open, Some(200)), job(600, Open, Some(99))],
            Some(Why::Before),
        ),
        (
            60,
            vec![job(601, Open, Some(200)), job(600, Failed, Some(99))],
            Some(Why::Before),
        ),
        // What was never started has no place.
        (40, vec![job(400, Failed, None)], None),
    ] {
        assert_eq!(
            found(other(id, Jobs::Read(jobs.clone()))),
            expected,
            "{jobs:?}"
        );
    }
}

#[test]
fn a_pipeline_past_its_guarded_job_is_waited_for_whenever_that_started() {
    for started in [99, 101] {
        for jobs in [
            vec![job(600, Passed, Some(started))],
            vec![job(600, Failed, Some(started))],
            vec![job(600, Passed, Some(started)), job(601, Open, None)],
        ] {
            assert_eq!(found(other(60, Jobs::Read(jobs))), Some(Why::Inside));
        }
    }
    assert_eq!(found(other(60, Jobs::Over)), Some(Why::Inside));
    // One that waits beside one that failed is not past it.
    let jobs = vec![job(600, Failed, Some(101)), job(601, Open, Some(102))];
    assert_eq!(found(other(60, Jobs::Read(jobs))), None);
}

#[test]
fn without_a_guarded_job_or_where_it_cannot_be_read_the_smaller_id_is_waited_for() {
    for (jobs, why) in [
        (Jobs::Read(Vec::new()), Why::Older),
        (Jobs::Unreadable, Why::OlderUnread),
    ] {
        assert_eq!(found(other(49, jobs.clone())), Some(why));
        assert_eq!(found(other(51, jobs)), None);
    }
    // Nobody can read anything.
    let others = vec![other(49, Jobs::Unreadable), other(51, Jobs::Unreadable)];
    let conflicts = in_the_way(&OWN, &reading(Jobs::Unreadable, others));
    assert_eq!(conflicts.len(), 1);
    assert_eq!(conflicts[0].pipeline.id, 49);
}

#[test]
fn outside_of_a_job_every_pipeline_that_matches_is_waited_for_but_our_own() {
    let others = vec![
        other(49, Jobs::Unknown),
        other(50, Jobs::Unknown),
        other(51, Jobs::Unknown),
    ];

    let conflicts = in_the_way(&OWN, &reading(Jobs::Unknown, others));

    let ids: Vec<u64> = conflicts
        .iter()
        .map(|conflict| conflict.pipeline.id)
        .collect();
    assert_eq!(ids, [49, 51]);
    assert!(
        conflicts
            .iter()
            .all(|conflict| conflict.why == Why::Matches)
    );
}

#[test]
fn whoever_started_us_waits_for_us_and_parents_of_others_are_seen_by_their_children() {
    let with = |kin, jobs| {
        found(Other {
            kin,
            ..other(49, jobs)
        })
    };

    assert_eq!(with(Kin::Ancestor, Jobs::Read(Vec::new())), None);
    assert_eq!(with(Kin::Ancestor, Jobs::Unreadable), None);
    assert_eq!(with(Kin::Parent, Jobs::Read(Vec::new())), None);
    let guarded = Jobs::Read(vec![job(490, Open, Some(99))]);
    assert_eq!(with(Kin::Parent, guarded), Some(Why::Before));
}

#[test]
fn a_reading_that_does_not_show_our_own_job_as_started_is_old_and_whoever_started_is_before_us() {
    let them = vec![other(60, Jobs::Read(vec![job(600, Open, Some(101))]))];
    for own in [
        vec![],
        vec![job(500, Open, None)],
        vec![job(499, Open, Some(1))],
    ] {
        let has_place = own.iter().any(|job| job.started.is_some());
        let reading = reading(Jobs::Read(own), them.clone());
        assert!(!shows_us(&OWN, &reading));
        assert_eq!(in_the_way(&OWN, &reading).len(), usize::from(!has_place));
    }
    let own = Jobs::Read(vec![job(500, Open, Some(100))]);
    let mut reading = reading(own, them);
    assert!(shows_us(&OWN, &reading));
    reading.is_listed = false;
    assert!(!shows_us(&OWN, &reading));
}

#[test]
fn the_jobs_of_one_pipeline_take_turns_if_they_are_told_to() {
    let jobs = vec![
        job(498, Passed, Some(1)),
        job(499, Open, Some(99)),
        job(500, Open, Some(100)),
        job(501, Open, Some(101)),
        job(502, Open, None),
    ];
    let reading = reading(Jobs::Read(jobs), Vec::new());

    assert_eq!(in_the_way(&OWN, &reading), []);
    let own = Own {
        takes_turns: true,
        ..OWN
    };
    let conflicts = in_the_way(&own, &reading);
    assert_eq!(conflicts.len(), 1);
    assert_eq!(conflicts[0].job.as_ref().unwrap().id, 499);
    assert_eq!(conflicts[0].why, Why::SamePipeline);
}

#[test]
fn a_job_that_may_fail_lets_its_pipeline_go_on() {
    for (status, allow_failure, state) in [
        ("success", false, Passed),
        ("failed", true, Passed),
        ("failed", false, Failed),
        ("canceled", true, Failed),
        ("skipped", false, Failed),
        ("running", false, Open),
        ("pending", false, Open),
        ("something new", false, Open),
    ] {
        let job = gitlab::Job {
            status: status.to_owned(),
            allow_failure,
            ..gitlab::Job::default()
        };
        assert_eq!(Guarded::from(job).state, state, "{status}");
    }
}

fn any_jobs() -> impl Strategy<Value = Vec<Guarded>> {
    let one = (
        prop_oneof![Just(Open), Just(Passed), Just(Failed)],
        proptest::option::of(0_u64..6),
    );
    proptest::collection::vec(one, 0..3).prop_map(|jobs| {
        let jobs = jobs
            .into_iter()
            .map(|(state, started)| job(0, state, started));
        jobs.collect()
    })
}

proptest! {
    /// Whatever the pipelines are: those whose guards wait are never in a circle, so that one of them goes on.
    #[test]
    fn those_who_wait_never_wait_for_each_other(all in proptest::collection::vec(any_jobs(), 1..6)) {
        let mut next = 0;
        let pipelines: Vec<Other> = all.into_iter().zip(1..).map(|(mut jobs, id)| {
            for job in &mut jobs {
                next += 1;
                job.id = next;
            }
            other(id, Jobs::Read(jobs))
        }).collect();
        let waiting = |one: &&Other| matches!(&one.jobs, Jobs::Read(jobs) if
            jobs.iter().any(|job| job.state == Open && job.started.is_some())
            && jobs.iter().all(|job| job.state != Passed));
        let waits_for = |one: &Other| -> Vec<u64> {
            let own = Own { pipeline: one.pipeline.id, job: None, takes_turns: false };
            let conflicts = in_the_way(&own, &reading(one.jobs.clone(), pipelines.clone()));
            conflicts.iter().map(|conflict| conflict.pipeline.id).collect()
        };
        let who: Vec<&Other> = pipelines.iter().filter(waiting).collect();
        let ids: Vec<u64> = who.iter().map(|one| one.pipeline.id).collect();
        let free = who.iter().filter(|one| !waits_for(one).iter().any(|id| ids.contains(id)));
        // Exactly one of them waits for none of the others.
        prop_assert_eq!(free.count(), usize::from(!who.is_empty()));
    }
}

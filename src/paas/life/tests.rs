#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn granted() -> Job {
    Job::begin(Event::Granted {
        token: "MARKER-token".to_owned(),
        payload: "{}".to_owned(),
        at: 100,
        timeout: Some(60),
    })
    .unwrap()
}

fn resource() -> Resource {
    Resource::Tag("app_1".to_owned())
}

fn creating() -> Event {
    Event::Creating {
        name: "hpd-job-x-1".to_owned(),
        namespace: Some("group".to_owned()),
    }
}

fn created() -> Event {
    Event::Created {
        resource: resource(),
    }
}

fn failed() -> Event {
    Event::Failed {
        reason: "no".to_owned(),
    }
}

fn after(events: &[Event]) -> Job {
    let mut job = granted();
    for event in events {
        job.apply(event.clone()).unwrap();
    }
    job
}

#[test]
fn each_step_leads_to_the_next_one() {
    let steps = [
        (creating(), Work::Find),
        (created(), Work::Launch),
        (Event::Launching, Work::Relaunch),
        (Event::Launched { at: 7 }, Work::Watch),
        (Event::Over, Work::Leave),
        (Event::Leaving, Work::Leave),
        (Event::Gone, Work::Nothing),
    ];
    let mut job = granted();
    assert_eq!(job.next().work, Work::Create);

    for (event, work) in steps {
        assert!(!job.is_done());
        job.apply(event).unwrap();
        assert_eq!(
            job.next(),
            Next {
                work,
                report: false
            }
        );
    }

    assert!(job.is_done());
}

#[test]
fn a_failure_is_reported_and_its_machine_goes_whichever_comes_first() {
    let mut job = after(&[creating(), failed()]);
    let both = Next {
        work: Work::Leave,
        report: true,
    };
    assert_eq!(job.next(), both);
    job.apply(Event::Leaving).unwrap();
    assert_eq!(job.next(), both);
    // It is found late.
    job.apply(created()).unwrap();
    job.apply(Event::Gone).unwrap();
    assert_eq!((job.next().work, job.next().report), (Work::Nothing, true));
    assert!(!job.is_done());
    job.apply(Event::Reported).unwrap();
    assert!(job.is_done());

    let job = after(&[failed(), Event::Reported]);
    assert!(job.is_done());
}

#[test]
fn what_is_not_needed_any_more_is_not_kept() {
    for events in [
        &[
            creating(),
            created(),
            Event::Launching,
            Event::Launched { at: 1 },
        ][..],
        &[failed()],
        &[Event::Over],
    ] {
        assert_eq!(after(events).payload, "");
    }
}

#[test]
fn only_what_runs_grows_too_old() {
    let running = after(&[
        creating(),
        created(),
        Event::Launching,
        Event::Launched { at: 1000 },
    ]);

    assert_eq!(running.deadline(5, 10), Some(1000 + 60 + 10));
    assert_eq!(granted().deadline(5, 10), None);
    let unknown = Job {
        timeout: None,
        ..running
    };
    assert_eq!(unknown.deadline(5, 10), Some(1000 + 5 + 10));
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        Just(Event::Granted {
            token: "t".to_owned(),
            payload: "p".to_owned(),
            at: 1,
            timeout: None
        }),
        Just(creating()),
        Just(created()),
        Just(Event::Launching),
        Just(Event::Launched { at: 7 }),
        Just(failed()),
        Just(Event::Reported),
        Just(Event::Over),
        Just(Event::Leaving),
        Just(Event::Gone),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_a_machine_is_asked_for_once_started_once_and_never_forgotten(
        events in proptest::collection::vec(any_event(), 0..60)
    ) {
        let mut job = granted();
        let (mut asked, mut started, mut gone) = (0, 0, 0);
        for event in events {
            let before = job.clone();
            let next = job.next();
            if job.apply(event.clone()).is_err() {
                prop_assert!(job == before, "a step out of turn changes nothing");
                continue;
            }
            match event {
                Event::Creating { .. } => {
                    asked += 1;
                    prop_assert_eq!(next.work, Work::Create);
                }
                Event::Launched { .. } => {
                    started += 1;
                    prop_assert_eq!(next.work, Work::Relaunch);
                }
                Event::Gone => {
                    gone += 1;
                    prop_assert_eq!(next.work, Work::Leave);
                }
                Event::Reported => prop_assert!(next.report),
                _ => {}
            }
            prop_assert!(asked <= 1 && started <= 1 && gone <= asked);
            // It is done only if nothing is left and the coordinator knows.
            if job.is_done() {
                prop_assert_eq!(asked, gone);
                prop_assert_eq!(&job.verdict, &Verdict::Over);
            }
            // No machine goes while its job is to be run.
            if matches!(job.machine, Machine::Leaving(..) | Machine::Gone) {
                prop_assert!(job.verdict != Verdict::Open);
            }
            // What is written anew is the same job.
            let history = job.history();
            let mut again = Job::begin(history[0].clone()).unwrap();
            for event in &history[1..] {
                prop_assert!(again.apply(event.clone()).is_ok(), "{}", event.name());
            }
            prop_assert!(again == job);
            // And it is the same on disk.
            for event in history {
                let text = serde_json::to_string(&event).unwrap();
                prop_assert!(serde_json::from_str::<Event>(&text).unwrap() == event);
            }
        }
    }

    #[test]
    fn from_wherever_it_is_following_what_is_next_leads_to_the_end(
        events in proptest::collection::vec(any_event(), 0..30),
        fails in proptest::collection::vec(any::<bool>(), 20),
    ) {
        let mut job = granted();
        for event in events {
            let _ = job.apply(event);
        }
        let mut fails = fails.into_iter();
        for _ in 0..20 {
            let next = job.next();
            if next.report {
                job.apply(Event::Reported).unwrap();
                continue;
            }
            let is_open = job.verdict == Verdict::Open;
            let fails = is_open && fails.next().unwrap_or(true);
            let event = match next.work {
                _ if fails => failed(),
                Work::Create => creating(),
                Work::Find => created(),
                Work::Launch => Event::Launching,
                Work::Relaunch => Event::Launched { at: 9 },
                Work::Watch => Event::Over,
                Work::Leave if matches!(job.machine, Machine::Leaving(..)) => Event::Gone,
                Work::Leave => Event::Leaving,
                Work::Nothing => break,
            };
            prop_assert!(job.apply(event).is_ok());
        }
        prop_assert!(job.is_done());
    }
}

//! How jobs are acquired.

use std::time::Duration;

use serde_json::json;
use support::server::clever::Inner;
use support::server::coordinator::Coordinator;
use support::server::served::{Fault, Place};
use support::wait_until;

use crate::machine::{RUNNER, SHORT, World};

/// A1, A7: what is said with a request for a job.
#[test]
fn a_request_says_who_asks_what_it_offers_and_what_it_has_heard_last() {
    let world = World::new();
    let dispatcher = world.start();
    wait_until("it asks twice", || {
        world.gitlab.served.count("request") >= 2
    });
    dispatcher.end();

    let asked = world.gitlab.served.calls_of("request");
    let body = asked[0].json();
    assert_eq!(body["token"], RUNNER);
    assert_eq!(body["info"]["executor"], "docker");
    for key in [
        "name",
        "version",
        "revision",
        "platform",
        "architecture",
        "shell",
    ] {
        assert!(body["info"][key].is_string(), "{key}: {body}");
    }
    let features = &body["info"]["features"];
    for feature in [
        "image",
        "services",
        "artifacts",
        "cache",
        "refspecs",
        "raw_variables",
    ] {
        assert_eq!(features[feature], true, "{feature}");
    }
    for feature in ["session", "terminal", "shared", "proxy"] {
        assert_eq!(features[feature], false, "{feature}");
    }
    let system_id = body["system_id"].as_str().unwrap();
    assert!(
        system_id.starts_with("r_") && system_id.len() == 14,
        "{system_id}"
    );
    assert_eq!(body.get("last_update"), None);
    assert_eq!(asked[1].json()["last_update"], "update-0");

    // It is the same after a new start.
    let dispatcher = world.start();
    wait_until("it asks", || {
        world.gitlab.served.count("request") > asked.len()
    });
    dispatcher.end();
    let last = world.gitlab.served.calls_of("request").pop().unwrap();
    assert_eq!(last.json()["system_id"], system_id);
}

/// A2, A3: after a grant it is asked again at once, and else in its time.
#[test]
fn after_a_grant_the_next_job_is_asked_for_at_once() {
    let world = World::new();
    let jobs: Vec<u64> = (0..3).map(|_| world.gitlab.add_job(RUNNER)).collect();

    let dispatcher = world.start_with(&["--poll-interval", "3600"]);

    for job in jobs {
        world.until_pushed(job);
    }
    wait_until("it asks once more", || {
        world.gitlab.served.count("request") == 4
    });
    dispatcher.end();
}

/// A4: as many jobs at once as there may be, and no request while there are so many.
#[test]
fn there_are_never_more_jobs_than_there_may_be() {
    let world = World::new();
    world.configure("concurrent = 2\n", &[&world.runner(RUNNER, "")]);
    let jobs: Vec<u64> = (0..3).map(|_| world.gitlab.add_job(RUNNER)).collect();
    let dispatcher = world.start();
    world.until_pushed(jobs[0]);
    world.until_pushed(jobs[1]);
    let before = world.gitlab.served.count("progress");
    wait_until("some time has passed", || {
        world.gitlab.served.count("progress") > before + 10
    });
    assert_eq!(world.gitlab.served.count("request"), 2);

    world.gitlab.end(jobs[0], "success");

    world.until_pushed(jobs[2]);
    dispatcher.end();
}

/// A5: after so many rounds it ends by itself.
#[test]
fn after_as_many_rounds_as_it_was_told_it_ends() {
    let world = World::new();

    let answer = world.run(&["--poll-cycles", "3"]);

    assert_eq!(answer.code, Some(0), "{}", answer.stderr);
    assert_eq!(world.gitlab.served.count("request"), 3);
}

/// A6: whatever a coordinator does, it is asked again later.
#[test]
fn whatever_a_coordinator_answers_it_is_asked_again() {
    for fault in [
        Fault::Status(409, String::new()),
        Fault::With(429, "Retry-After", "1".to_owned()),
        Fault::Status(500, String::new()),
        Fault::Status(502, "<html>".to_owned()),
        Fault::Status(503, String::new()),
        Fault::Status(400, String::new()),
        Fault::Status(200, "<html>".to_owned()),
        Fault::Status(201, r#"{"id": 7}"#.to_owned()),
        Fault::Drop,
    ] {
        let world = World::new();
        world.clever.set_inner(Inner::Runs(Duration::ZERO));
        world.gitlab.served.fail("request", fault, 2);
        let job = world.gitlab.add_job(RUNNER);

        let mut dispatcher = world.start();

        world.until_job(job, "success");
        assert!(dispatcher.is_running());
        dispatcher.end();
    }
}

/// A6: one that is not known is paused, and said so; the others go on.
#[test]
fn a_runner_that_is_not_known_is_paused_and_the_others_go_on() {
    let world = World::new();
    let unknown = world.runner("glrt-nobody-knows", "");
    world.configure("concurrent = 8\n", &[&unknown, &world.runner(RUNNER, "")]);
    world.clever.set_inner(Inner::Runs(Duration::ZERO));
    let dispatcher = world.start();
    dispatcher.wait_for("runner 'nobody-k' is paused");

    let job = world.gitlab.add_job(RUNNER);

    world.until_job(job, "success");
    let asked = world.gitlab.served.calls_of("request");
    let asked = asked.iter().filter(|call| call.json()["token"] != RUNNER);
    assert_eq!(asked.count(), 1);
    dispatcher.end();
}

/// A coordinator that says nothing stops nobody else, and not the end either.
#[test]
fn a_coordinator_that_says_nothing_stops_nobody_else() {
    let world = World::new();
    let stalled = Coordinator::start();
    stalled.add_runner("glrt-MARKERsl");
    stalled.served.fail("request", Fault::Stall, usize::MAX);
    let runner = world.runner_at(&stalled, "glrt-MARKERsl", "");
    world.configure("concurrent = 2\n", &[&runner, &world.runner(RUNNER, "")]);
    world.clever.set_inner(Inner::Runs(Duration::ZERO));
    let dispatcher = world.start_with(&["--shutdown-timeout", "1"]);
    wait_until("it asks there", || stalled.served.count("request") > 0);

    let job = world.gitlab.add_job(RUNNER);

    world.until_job(job, "success");
    let log = dispatcher.end();
    assert!(log.contains("did not end within 1s"), "{log}");
}

/// A8: two runners whose tokens begin alike are two.
#[test]
fn two_runners_whose_tokens_begin_alike_are_both_asked_for() {
    let world = World::new();
    let other = Coordinator::start();
    other.set_root("/sub");
    let (one, two) = (RUNNER.to_owned(), RUNNER.to_owned() + "2");
    world.gitlab.add_runner(&two);
    other.add_runner(&one);
    world.clever.set_inner(Inner::Runs(Duration::ZERO));
    world.configure(
        "concurrent = 8\n",
        &[
            &world.runner(&one, ""),
            &world.runner(&two, ""),
            &world.runner_at(&other, &one, ""),
        ],
    );
    let here = [world.gitlab.add_job(&one), world.gitlab.add_job(&two)];
    // The same number, at another coordinator.
    let there = other.add_job(&one);
    assert_eq!(there, here[0]);
    let dispatcher = world.start();

    for job in here {
        world.until_job(job, "success");
    }
    wait_until("the other one", || other.job(there).status == "success");
    world.until_no_app();
    let mut names: Vec<String> = world
        .clever
        .apps()
        .into_iter()
        .map(|app| app.name)
        .collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 3);
    assert!(
        names
            .iter()
            .all(|name| name.starts_with(&format!("hpd-job-{SHORT}-")))
    );
    dispatcher.end();
}

/// A9: what nobody knows goes on to the inner runner as it came.
#[test]
fn what_is_said_of_a_job_reaches_the_inner_runner_as_it_came() {
    let world = World::new();
    let more = json!({"hooks": [{"name": "x"}], "inputs": null, "run": {"a": 1.5}});
    let job = world.gitlab.add_job_with(RUNNER, &[], more);
    let dispatcher = world.start();
    world.until_pushed(job);

    let app = world.clever.app_of(job);
    let pushed = world.clever.pushed(&app.id, "job.json");

    assert_eq!(pushed, world.gitlab.job(job).payload.to_string());
    dispatcher.end();
}

/// S7: a job that is given to us while we end is not lost.
#[test]
fn a_job_that_comes_while_it_ends_is_kept_for_the_next_start() {
    let world = World::new();
    world.clever.set_inner(Inner::Runs(Duration::ZERO));
    let job = world.gitlab.add_job(RUNNER);
    let stopped = world.gitlab.served.stop("request", Place::AfterDone);
    let dispatcher = world.start();
    stopped.wait();
    dispatcher.signal("TERM");
    dispatcher.wait_for("asked to end");
    stopped.go_on();

    dispatcher.ended();

    let state = world.state();
    assert_eq!(state["pending"][0][0]["job_id"], job);
    assert_eq!(state["pending"][0][1], world.gitlab.job(job).payload);
    assert!(world.clever.apps().is_empty());
    let dispatcher = world.start();
    world.until_job(job, "success");
    dispatcher.end();
}

/// A runner takes no more jobs than its own limit.
#[test]
fn a_runner_has_no_more_jobs_than_its_own_limit() {
    let world = World::new();
    world.configure("concurrent = 8\n", &[&world.runner(RUNNER, "limit = 1")]);
    let jobs = [world.gitlab.add_job(RUNNER), world.gitlab.add_job(RUNNER)];
    let dispatcher = world.start();
    world.until_pushed(jobs[0]);
    let before = world.gitlab.served.count("progress");
    wait_until("some time has passed", || {
        world.gitlab.served.count("progress") > before + 10
    });
    assert_eq!(world.gitlab.job(jobs[1]).status, "pending");

    world.gitlab.end(jobs[0], "canceled");

    world.until_pushed(jobs[1]);
    dispatcher.end();
}

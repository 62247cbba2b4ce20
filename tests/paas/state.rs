//! Signals, the state file, the next start.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use serde_json::json;
use support::server::clever::{Inner, ORGANISATION};
use support::server::served::{Fault, Place};
use support::wait_until;

use crate::machine::{Dispatcher, RUNNER, SHORT, World};

/// S1: launches end, nothing new is acquired, the state is left; more signals change nothing.
#[test]
fn asked_to_end_it_lets_launches_end_and_leaves_its_state() {
    for signal in ["TERM", "INT"] {
        let world = World::new();
        let job = world.gitlab.add_job(RUNNER);
        let stopped = world.clever.served.stop("create-app", Place::AfterDone);
        let dispatcher = world.start();
        stopped.wait();
        dispatcher.signal(signal);
        dispatcher.wait_for("asked to end");
        dispatcher.signal("TERM");
        dispatcher.signal("INT");
        let late = world.gitlab.add_job(RUNNER);
        stopped.go_on();

        dispatcher.ended();

        let app = world.clever.app_of(job);
        assert_eq!(app.n_pushes, 1);
        assert_eq!(world.gitlab.job(late).status, "pending");
        let state = world.state();
        assert_eq!(state["launched"][0]["job_id"], job);
    }
}

/// S2, S3: the state file has the keys of 0.5.0, and the next start goes on with it.
#[test]
fn the_state_file_is_that_of_the_original_and_the_next_start_goes_on_with_it() {
    let world = World::new();
    let (runs, goes) = (world.gitlab.add_job(RUNNER), world.gitlab.add_job(RUNNER));
    world
        .clever
        .served
        .fail("delete-app", Fault::Status(500, String::new()), usize::MAX);
    let dispatcher = world.start();
    world.until_pushed(runs);
    world.until_pushed(goes);
    world.gitlab.end(goes, "success");
    dispatcher.wait_for("Decommissioning failed");
    dispatcher.end();

    let state = world.state();
    let handle = |job: u64| {
        let app = world.clever.app_of(job);
        json!({
            "runner_name": SHORT,
            "job_id": job,
            "token": format!("MARKER-job-token-{job}"),
            "paas_resource": {
                "id": app.id,
                "gitlab_namespace": null,
                "deploy_url": world.clever.deploy_url(&app.id),
            },
        })
    };
    assert_eq!(state["launched"], json!([handle(runs)]));
    assert_eq!(state["to_decommission"], json!([handle(goes)]));
    assert_eq!(state["pending"], json!([]));
    let keys: Vec<&String> = state.as_object().unwrap().keys().collect();
    assert_eq!(
        keys.len(),
        4,
        "three of 0.5.0, and one of our own: {keys:?}"
    );
    let mode = std::fs::metadata(world.state_file())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);

    world.clever.served.mend();
    world.gitlab.end(runs, "success");
    let made = world.clever.served.count("create-app");
    let dispatcher = world.start();
    world.until_no_app();
    wait_until("the state file is taken", || !world.state_file().exists());
    dispatcher.wait_for("decommissioned the machine of job");
    dispatcher.end();
    assert_eq!(world.clever.served.count("create-app"), made);
    assert_eq!(
        world.state(),
        json!({"launched": [], "to_decommission": [], "pending": []})
    );
}

/// S2, S4: a file of 0.5.0 or of 0.7.2 is taken over.
#[test]
fn a_state_file_of_the_original_is_taken_over() {
    let world = World::new();
    world.clever.set_inner(Inner::Runs(Duration::ZERO));
    let [runs, goes, waits] = [(); 3].map(|()| world.gitlab.add_job(RUNNER));
    // Given to the original.
    for job in [runs, goes, waits] {
        world.gitlab.give(job);
    }
    world.gitlab.end(goes, "failed");
    let short = &RUNNER[..8];
    let apps = [runs, goes].map(|job| world.clever.add_app(&format!("hpd-job-{short}-{job}")));
    let handle = |job: u64, app: &str| {
        json!({
            "runner_name": short, "job_id": job, "token": format!("MARKER-job-token-{job}"), "trace_offset": 0,
            "paas_resource": {"id": app, "gitlab_namespace": null, "deploy_url": "https://127.0.0.1:1/x.git", "weight": 1.5},
        })
    };
    let state = json!({
        "launched": [handle(runs, &apps[0])],
        "to_decommission": [handle(goes, &apps[1])],
        "pending": [[
            {"runner_name": short, "job_id": waits, "token": format!("MARKER-job-token-{waits}")},
            world.gitlab.job(waits).payload,
        ]],
    });
    std::fs::write(world.state_file(), state.to_string()).unwrap();

    let dispatcher = world.start();

    world.until_job(waits, "success");
    wait_until("what was to go is gone", || {
        world.clever.living().len() == 1
    });
    world.gitlab.end(runs, "success");
    world.until_no_app();
    assert_eq!(world.clever.served.count("create-app"), 1);
    dispatcher.end();
}

/// A pending job that is over by now gets no machine.
#[test]
fn a_pending_job_that_is_over_by_now_gets_no_machine() {
    let world = World::new();
    let job = world.gitlab.add_job(RUNNER);
    world.gitlab.give(job);
    world.gitlab.end(job, "canceled");
    let payload = world.gitlab.job(job).payload;
    let handle =
        json!({"runner_name": SHORT, "job_id": job, "token": format!("MARKER-job-token-{job}")});
    let state = json!({"launched": [], "to_decommission": [], "pending": [[handle, payload]]});
    std::fs::write(world.state_file(), state.to_string()).unwrap();

    let dispatcher = world.start();

    wait_until("it is asked for", || {
        world.gitlab.served.count("progress") > 0
    });
    dispatcher.end();
    assert!(world.clever.apps().is_empty());
    assert_eq!(world.state()["pending"], json!([]));
}

/// S6: a signal that many services know as harmless is harmless.
#[test]
fn sigusr1_tells_the_state_where_that_is_wanted_and_kills_nobody() {
    let world = World::new();
    let job = world.gitlab.add_job(RUNNER);
    let dispatcher = world.start_with(&["--debug-signal"]);
    world.until_pushed(job);
    dispatcher.wait_for("launched job");
    dispatcher.signal("USR1");
    dispatcher.wait_for(&format!(
        "state: job {job} of the runner '{SHORT}': next is Watch"
    ));
    dispatcher.end();

    let mut dispatcher = world.start();
    dispatcher.wait_for("started with");
    dispatcher.signal("USR1");
    dispatcher.wait_for("no effect without --debug-signal");
    assert!(dispatcher.is_running());
    dispatcher.end();
}

/// S10: what cannot be read is told of, and left as it is.
#[test]
fn a_state_that_cannot_be_read_is_told_of_and_left_as_it_is() {
    let world = World::new();
    std::fs::write(world.state_file(), "{MARKER").unwrap();

    let answer = world.run(&[]);

    assert_eq!(answer.code, Some(1));
    assert!(
        answer.stderr.contains("it is not JSON"),
        "{}",
        answer.stderr
    );
    assert!(!answer.stderr.contains("MARKER"), "{}", answer.stderr);
    assert_eq!(
        std::fs::read_to_string(world.state_file()).unwrap(),
        "{MARKER"
    );
}

/// S10: jobs of a runner that is not there are kept, and keep nobody from anything.
#[test]
fn jobs_of_an_unknown_runner_are_kept_and_keep_nobody_from_anything() {
    let world = World::new();
    let resource =
        json!({"id": "app_9", "gitlab_namespace": null, "deploy_url": "https://h/x.git"});
    let stranger = json!({"runner_name": "nobodyat", "job_id": 5, "token": "MARKER", "paas_resource": resource});
    let state = json!({"launched": [stranger], "to_decommission": [], "pending": []});
    std::fs::write(world.state_file(), state.to_string()).unwrap();
    let job = world.gitlab.add_job(RUNNER);

    let dispatcher = world.start();
    world.until_pushed(job);
    dispatcher.wait_for("launched job");
    let log = dispatcher.kill();
    assert!(
        log.contains("job 5 of the runner 'nobodyat' is kept as it is"),
        "{log}"
    );
    // Also after a kill.
    let dispatcher = world.start();
    dispatcher.wait_for("job 5 of the runner 'nobodyat' is kept as it is");
    dispatcher.end();

    let launched = world.state()["launched"].clone();
    assert!(
        launched.as_array().unwrap().contains(&stranger),
        "{launched}"
    );
}

/// One dispatcher has a state file.
#[test]
fn a_second_dispatcher_with_the_same_state_file_does_not_begin() {
    let world = World::new();
    let dispatcher = world.start();
    wait_until("it asks", || world.gitlab.served.count("request") > 0);

    let answer = world.run(&[]);

    assert_eq!(answer.code, Some(1));
    let pid = dispatcher.id().to_string();
    assert!(
        answer.stderr.contains("is in use by the process"),
        "{}",
        answer.stderr
    );
    assert!(answer.stderr.contains(&pid), "{}", answer.stderr);
    dispatcher.end();
}

/// S11: what it exits with.
#[test]
fn exit_codes_say_how_it_ended() {
    let world = World::new();
    assert_eq!(world.run(&["--poll-cycles", "1"]).code, Some(0));
    assert_eq!(world.run(&["--nonsense"]).code, Some(2));
    assert_eq!(world.run(&["--poll-interval", "-1"]).code, Some(2));
    assert_eq!(world.run(&["-l", "loud"]).code, Some(2));
    std::fs::write(world.config(), "state_file = ").unwrap();
    assert_eq!(world.run(&[]).code, Some(1));
    std::fs::remove_file(world.config()).unwrap();
    assert_eq!(world.run(&[]).code, Some(1));
    let mut nothing = world.command("heptapod-paas-runner", &[]);
    assert_eq!(nothing.output().unwrap().status.code(), Some(2));
}

/// More jobs than there may be now, from the last run: they are watched, and no other comes.
#[test]
fn jobs_of_the_last_run_count_though_there_may_be_fewer_now() {
    let world = World::new();
    let jobs: Vec<u64> = (0..3).map(|_| world.gitlab.add_job(RUNNER)).collect();
    let dispatcher = world.start();
    for job in &jobs {
        world.until_pushed(*job);
    }
    wait_until("all are watched", || {
        dispatcher.log().matches("launched job").count() == 3
    });
    dispatcher.end();
    world.configure("concurrent = 1\n", &[&world.runner(RUNNER, "")]);
    let late = world.gitlab.add_job(RUNNER);

    let dispatcher = world.start();

    for job in &jobs {
        assert_eq!(world.gitlab.job(late).status, "pending");
        world.gitlab.end(*job, "success");
    }
    world.until_pushed(late);
    dispatcher.end();
}

/// The disk is full: nothing is done that is not written down, and it goes on when there is room again.
#[test]
fn where_nothing_can_be_written_it_does_not_begin() {
    let world = World::new();
    let folder = world.home().join("locked");
    std::fs::create_dir(&folder).unwrap();
    let text = std::fs::read_to_string(world.config()).unwrap();
    let state = folder.join("none/state.json");
    let text = text.replace(
        world.state_file().to_str().unwrap(),
        state.to_str().unwrap(),
    );
    std::fs::write(world.config(), text).unwrap();

    let answer = world.run(&["--poll-cycles", "1"]);

    assert_eq!(answer.code, Some(1));
    assert!(answer.stderr.contains("cannot open"), "{}", answer.stderr);
    assert_eq!(world.gitlab.served.count("request"), 0);
}

/// What was asked of which organisation.
#[test]
fn all_calls_are_for_the_organisation_of_the_settings() {
    let world = World::new();
    world.clever.set_inner(Inner::Runs(Duration::ZERO));
    let job = world.gitlab.add_job(RUNNER);
    let dispatcher: Dispatcher = world.start();
    world.until_job(job, "success");
    world.until_no_app();
    dispatcher.end();

    let calls = world.clever.served.calls();
    let own = calls.iter().filter(|call| call.path[1] == "organisations");
    for call in own {
        assert_eq!(call.path[2], ORGANISATION);
    }
}

//! Jobs that run are watched, and what they leave is taken away.

use std::time::Duration;

use support::server::clever::Inner;
use support::server::served::Fault;
use support::wait_until;

use crate::machine::{RUNNER, World};

/// T1, T4: it is asked by the job's own token, in a header, until it is over; then the app goes.
#[test]
fn a_job_is_asked_how_it_is_until_it_is_over_and_then_its_app_goes() {
    for (status, is_shown) in [
        ("success", false),
        ("failed", true),
        ("canceled", true),
        ("success", true),
    ] {
        let world = World::new();
        if is_shown {
            world.gitlab.show_ended();
        }
        let job = world.gitlab.add_job(RUNNER);
        let dispatcher = world.start();
        world.until_pushed(job);
        wait_until("it is asked", || world.gitlab.served.count("progress") > 2);
        assert_eq!(world.clever.living().len(), 1);

        world.gitlab.end(job, status);

        world.until_no_app();
        dispatcher.wait_for("decommissioned");
        dispatcher.end();
        for call in world.gitlab.served.calls_of("progress") {
            assert!(call.target.ends_with("/api/v4/job"), "{}", call.target);
            assert_eq!(call.header("job-token"), format!("MARKER-job-token-{job}"));
        }
        assert_eq!(world.state()["to_decommission"], serde_json::json!([]));
    }
}

/// T2: a coordinator that has trouble is asked again.
#[test]
fn trouble_of_the_coordinator_ends_no_watch() {
    for fault in [
        Fault::Status(500, String::new()),
        Fault::Status(403, String::new()),
        Fault::With(429, "Retry-After", "0".to_owned()),
        Fault::Drop,
        Fault::Status(200, "<html>".to_owned()),
    ] {
        let world = World::new();
        world.gitlab.served.fail("progress", fault, 3);
        let job = world.gitlab.add_job(RUNNER);
        let dispatcher = world.start();
        wait_until("it is asked again", || {
            world.gitlab.served.count("progress") > 4
        });
        assert_eq!(world.clever.living().len(), 1);

        world.gitlab.end(job, "success");

        world.until_no_app();
        dispatcher.end();
    }
}

/// A job that nobody knows counts as over after ten answers of that kind, and not before.
#[test]
fn a_job_that_the_coordinator_does_not_know_is_over_after_ten_answers() {
    let world = World::new();
    let job = world.gitlab.add_job(RUNNER);
    let dispatcher = world.start();
    world.until_pushed(job);
    wait_until("it is asked", || world.gitlab.served.count("progress") > 0);
    world.gitlab.set_knows_jobs(false);

    world.until_no_app();

    dispatcher.wait_for("does not know job");
    dispatcher.end();

    let world = World::new();
    let fault = Fault::Status(404, String::new());
    world.gitlab.served.fail("progress", fault, 9);
    world.gitlab.add_job(RUNNER);
    let dispatcher = world.start();
    wait_until("it is asked on", || {
        world.gitlab.served.count("progress") > 12
    });
    assert_eq!(world.clever.living().len(), 1);
    dispatcher.end();
}

/// T3: whoever wants to look at machines afterwards keeps them.
#[test]
fn machines_are_kept_where_that_is_wanted() {
    let world = World::new();
    let global = "paas_finished_jobs_keep_resources = true\n";
    world.configure(global, &[&world.runner(RUNNER, "")]);
    world.clever.set_inner(Inner::Runs(Duration::ZERO));
    let job = world.gitlab.add_job(RUNNER);
    let dispatcher = world.start();
    world.until_job(job, "success");
    dispatcher.wait_for("is kept");
    dispatcher.end();

    assert_eq!(world.clever.served.count("delete-app"), 0);
    // And the sweep of the next start does not take it either.
    let dispatcher = world.start();
    wait_until("it asks", || world.gitlab.served.count("request") > 5);
    dispatcher.end();
    assert_eq!(world.clever.living().len(), 1);
}

/// T5: a report is sent again until it is known, also after a start.
#[test]
fn a_failure_is_reported_until_it_is_known() {
    let world = World::new();
    world
        .clever
        .served
        .fail("set-env", Fault::Status(400, String::new()), 1);
    world
        .gitlab
        .served
        .fail("update", Fault::Status(500, String::new()), 4);
    world
        .gitlab
        .served
        .fail("update", Fault::Status(202, String::new()), 1);
    let job = world.gitlab.add_job(RUNNER);

    let dispatcher = world.start();

    world.until_job(job, "failed");
    let updates = world.gitlab.served.calls_of("update");
    assert_eq!(updates.len(), 6);
    let body = updates[0].json();
    assert_eq!(body["state"], "failed");
    assert_eq!(body["failure_reason"], "runner_system_failure");
    assert_eq!(
        (&body["exit_code"], &body["token"]),
        (&103.into(), &format!("MARKER-job-token-{job}").into())
    );
    // The text is sent once.
    assert_eq!(world.gitlab.served.count("trace"), 1);
    dispatcher.end();

    let world = World::new();
    world
        .clever
        .served
        .fail("set-env", Fault::Status(400, String::new()), 1);
    world
        .gitlab
        .served
        .fail("update", Fault::Status(500, String::new()), usize::MAX);
    let job = world.gitlab.add_job(RUNNER);
    let dispatcher = world.start();
    wait_until("it is tried", || world.gitlab.served.count("update") > 1);
    world.until_no_app();
    dispatcher.end();
    world.gitlab.served.mend();
    let dispatcher = world.start();
    world.until_job(job, "failed");
    assert_eq!(world.gitlab.job(job).n_ends, 1);
    assert_eq!(world.clever.apps().len(), 1);
    dispatcher.end();
}

/// T6: a job that is over already needs no report.
#[test]
fn a_report_of_a_job_that_is_over_already_is_enough() {
    let world = World::new();
    let stopped = world
        .clever
        .served
        .stop("set-env", support::server::served::Place::BeforeDone);
    world
        .clever
        .served
        .fail("set-env", Fault::Status(400, String::new()), 9);
    let job = world.gitlab.add_job(RUNNER);
    let dispatcher = world.start();
    stopped.wait();
    world.gitlab.end(job, "canceled");
    stopped.cut();

    dispatcher.wait_for("reported the failure");

    world.until_no_app();
    assert_eq!(world.gitlab.job(job).n_ends, 1);
    dispatcher.end();
}

/// T6: an app is taken away until it is gone, and one that is gone already is.
#[test]
fn an_app_is_taken_away_until_it_is_gone() {
    let world = World::new();
    world.clever.set_inner(Inner::Runs(Duration::ZERO));
    world
        .clever
        .served
        .fail("delete-app", Fault::Status(500, "no".to_owned()), 3);
    world
        .clever
        .served
        .fail("delete-app", Fault::Status(401, "no".to_owned()), 1);
    world.clever.served.fail("delete-app", Fault::Lost, 1);
    let job = world.gitlab.add_job(RUNNER);
    let dispatcher = world.start();
    world.until_job(job, "success");

    world.until_no_app();

    dispatcher.wait_for("decommissioned");
    let log = dispatcher.end();
    assert_eq!(log.matches("Decommissioning failed").count(), 5, "{log}");
    assert_eq!(world.clever.served.count("delete-app"), 6);
}

/// Jobs go on while apps of others cannot be taken away.
#[test]
fn a_provider_that_takes_nothing_away_keeps_no_job_waiting() {
    let world = World::new();
    world.configure("concurrent = 1\n", &[&world.runner(RUNNER, "")]);
    world.clever.set_inner(Inner::Runs(Duration::ZERO));
    world
        .clever
        .served
        .fail("delete-app", Fault::Status(500, String::new()), usize::MAX);
    let jobs: Vec<u64> = (0..3).map(|_| world.gitlab.add_job(RUNNER)).collect();
    let dispatcher = world.start();

    for job in jobs {
        world.until_job(job, "success");
    }

    world.clever.served.mend();
    world.until_no_app();
    dispatcher.end();
}

/// A job that nobody ends is given up when it is too old.
#[test]
fn a_job_that_is_too_old_is_given_up() {
    let world = World::new();
    world.configure("paas_job_grace = 0.1\n", &[&world.runner(RUNNER, "")]);
    let more = serde_json::json!({"runner_info": {"timeout": 1}});
    let job = world.gitlab.add_job_with(RUNNER, &[], more);
    let dispatcher = world.start();
    world.until_pushed(job);

    world.until_job(job, "failed");

    world.until_no_app();
    let text = world.gitlab.job(job).text();
    assert!(text.contains("ran longer than it may"), "{text}");
    dispatcher.end();
}

/// What no job claims goes, at the start and again and again; what is somebody else's stays.
#[test]
fn apps_of_ours_that_no_job_claims_go_and_no_others() {
    let world = World::new();
    let job = world.gitlab.add_job(RUNNER);
    let dispatcher = world.start();
    world.until_pushed(job);
    dispatcher.end();
    let own = world.clever.app_of(job);
    let orphan = world
        .clever
        .add_app(&own.name.replace(&job.to_string(), "999"));
    let same_name = world.clever.add_app(&own.name);
    let others: Vec<String> = [
        own.name
            .replace(&own.name[own.name.len() - 17..], "-zzzzzzzzzzzz-0000"),
        format!("hpd-job-{}-1", crate::machine::SHORT),
        "web".to_owned(),
    ]
    .iter()
    .map(|name| world.clever.add_app(name))
    .collect();
    let is_there = |id: &str| world.clever.living().iter().any(|app| app.id == id);

    let dispatcher = world.start_with(&["--sweep-interval", "0.2"]);

    wait_until("the orphan is gone", || {
        !is_there(&orphan) && !is_there(&same_name)
    });
    let late = world
        .clever
        .add_app(&own.name.replace(&job.to_string(), "998"));
    wait_until("a late one goes too", || !is_there(&late));
    let log = dispatcher.end();
    assert!(log.contains("which no job claims"), "{log}");
    assert!(is_there(&own.id) && others.iter().all(|id| is_there(id)));
}

/// What is counted can be had over HTTP.
#[test]
fn metrics_tell_how_it_is() {
    let world = World::new();
    let (stuck, bad) = (world.gitlab.add_job(RUNNER), world.gitlab.add_job(RUNNER));
    world
        .clever
        .served
        .fail("create-app", Fault::Status(400, String::new()), 0);
    let dispatcher = world.start_with(&["--metrics-address", "127.0.0.1:0"]);
    dispatcher.wait_for("metrics are at http://127.0.0.1:");
    let log = dispatcher.log();
    let port = log.split("http://127.0.0.1:").nth(1).unwrap();
    let port: u16 = port.split('/').next().unwrap().parse().unwrap();
    world.until_pushed(stuck);
    world.until_pushed(bad);
    world.gitlab.end(bad, "success");
    wait_until("one is gone", || world.clever.living().len() == 1);
    dispatcher.wait_for("decommissioned");

    let page = support::server::web::get(port, "/metrics");

    assert_eq!(page.status, 200);
    for line in [
        "heptapod_paas_runner_machines 1",
        "heptapod_paas_runner_running_jobs 1",
        "heptapod_paas_runner_acquired_jobs_total 2",
        "heptapod_paas_runner_launched_jobs_total 2",
        "heptapod_paas_runner_finished_jobs_total 1",
        "heptapod_paas_runner_deleted_machines_total 1",
        "heptapod_paas_runner_provisioning_seconds_count 2",
        "# EOF",
    ] {
        assert!(
            page.body.lines().any(|one| one == line),
            "{line}\n{}",
            page.body
        );
    }
    assert_eq!(support::server::web::get(port, "/else").status, 404);
    dispatcher.end();
}

//! Kills and signals at each step: nothing is lost, nothing is done twice, nothing is left.

use std::time::Duration;

use support::server::clever::Inner;
use support::server::served::{Place, Served};
use support::wait_until;

use crate::machine::{RUNNER, World};

/// Where a step is stopped: whose call it is, and which.
#[derive(Clone, Copy, Debug)]
enum At {
    Gitlab(&'static str),
    Clever(&'static str),
    Git(&'static str),
}

const STEPS: [At; 9] = [
    At::Clever("instances"),
    At::Clever("flavors"),
    At::Clever("create-app"),
    At::Clever("set-env"),
    At::Clever("find-app"),
    At::Git("info-git-receive-pack"),
    At::Git("git-receive-pack"),
    At::Gitlab("progress"),
    At::Clever("delete-app"),
];

impl At {
    fn served(self, world: &World) -> (&Served, &'static str) {
        match self {
            At::Gitlab(call) => (&world.gitlab.served, call),
            At::Clever(call) => (&world.clever.served, call),
            At::Git(call) => (&world.clever.git, call),
        }
    }
}

/// A world whose job is stopped at a step, in front of it or behind it.
fn stopped(at: At, place: Place) -> (World, u64, std::sync::Arc<support::server::served::Stop>) {
    let world = World::new();
    world
        .clever
        .set_inner(Inner::Runs(Duration::from_millis(50)));
    let (served, call) = at.served(&world);
    let stop = served.stop(call, place);
    let job = world.gitlab.add_job(RUNNER);
    (world, job, stop)
}

/// The job has one end, no app is left, and no more than one was ever made for it and started.
#[track_caller]
fn assert_settled(world: &World, job: u64, at: At) {
    wait_until(&format!("{at:?}: job {job} is over"), || {
        world.gitlab.job(job).is_over()
    });
    world.until_no_app();
    let found = world.gitlab.job(job);
    assert_eq!((found.n_given, found.n_ends), (1, 1), "{at:?}");
    let apps = world.clever.apps();
    assert!(apps.len() <= 1, "{at:?}: {apps:?}");
    assert!(apps.iter().all(|app| app.n_pushes <= 1), "{at:?}: {apps:?}");
}

/// S8, S9: killed at any step, before or after the other side has done it, the next start goes on.
#[test]
fn killed_at_any_step_the_next_start_goes_on_with_it() {
    for at in STEPS {
        for place in [Place::BeforeDone, Place::AfterDone] {
            let (world, job, stop) = stopped(at, place);
            let dispatcher = world.start();
            stop.wait();
            dispatcher.kill();
            match place {
                // Nobody ever hears of it.
                Place::BeforeDone => stop.cut(),
                Place::AfterDone => stop.go_on(),
            }

            let dispatcher = world.start();

            assert_settled(&world, job, at);
            // What could be gone on with was, and did not fail.
            let is_lost = matches!((at, place), (At::Clever("create-app"), Place::BeforeDone));
            let status = world.gitlab.job(job).status;
            assert_eq!(status == "failed", is_lost, "{at:?} {place:?}: {status}");
            dispatcher.end();
        }
    }
}

/// S8: killed while the other side goes on with the call after it.
#[test]
fn an_app_that_turns_up_after_the_kill_is_found_or_taken_away() {
    let (world, job, stop) = stopped(At::Clever("create-app"), Place::BeforeDone);
    let dispatcher = world.start();
    stop.wait();
    dispatcher.kill();
    let dispatcher = world.start_with(&["--sweep-interval", "0.2"]);
    wait_until("it is looked for", || {
        world.clever.served.count("list-apps") > 3
    });
    // The server was slow, and does it now.
    stop.go_on();

    assert_settled(&world, job, At::Clever("create-app"));

    wait_until("it was made", || world.clever.apps().len() == 1);
    world.until_no_app();
    dispatcher.end();
}

/// A job that was granted and of which nothing else is known is not lost.
#[test]
fn killed_right_after_the_grant_the_job_is_run_by_the_next_start() {
    let world = World::new();
    world.clever.set_inner(Inner::Runs(Duration::ZERO));
    let stop = world.clever.served.stop("instances", Place::BeforeDone);
    let job = world.gitlab.add_job(RUNNER);
    let dispatcher = world.start();
    stop.wait();
    dispatcher.kill();
    stop.cut();

    let dispatcher = world.start();

    wait_until("it is over", || world.gitlab.job(job).is_over());
    world.until_no_app();
    dispatcher.end();
}

/// Killed while a failure is being reported: it is reported, once for the author.
#[test]
fn killed_while_it_reports_a_failure_the_next_start_reports_it() {
    for call in ["trace", "update"] {
        for place in [Place::BeforeDone, Place::AfterDone] {
            let (world, job, stop) = stopped(At::Gitlab(call), place);
            let fault = support::server::served::Fault::Status(400, String::new());
            world.clever.served.fail("set-env", fault, 1);
            let dispatcher = world.start();
            stop.wait();
            dispatcher.kill();
            match place {
                Place::BeforeDone => stop.cut(),
                Place::AfterDone => stop.go_on(),
            }

            let dispatcher = world.start();

            assert_settled(&world, job, At::Gitlab(call));
            let found = world.gitlab.job(job);
            assert_eq!(found.status, "failed");
            assert_eq!(found.text().matches("ERROR").count(), 1, "{call} {place:?}");
            dispatcher.end();
        }
    }
}

/// SIGTERM at any step: an orderly end in time, and the next start goes on.
#[test]
fn asked_to_end_at_any_step_it_ends_in_order_and_the_next_start_goes_on() {
    for at in STEPS {
        let (world, job, stop) = stopped(at, Place::AfterDone);
        let dispatcher = world.start();
        stop.wait();
        dispatcher.signal("TERM");
        dispatcher.wait_for("asked to end");
        stop.go_on();

        dispatcher.ended();

        let state = world.state();
        for key in ["launched", "to_decommission", "pending"] {
            assert!(state[key].is_array(), "{at:?}: {state}");
        }
        let dispatcher = world.start();
        assert_settled(&world, job, at);
        assert_eq!(world.gitlab.job(job).status, "success", "{at:?}");
        dispatcher.end();
    }
}

/// S10: also where the other side never answers.
#[test]
fn asked_to_end_while_nobody_answers_it_ends_in_time() {
    for at in STEPS {
        let (world, job, stop) = stopped(at, Place::BeforeDone);
        let dispatcher = world.start_with(&["--shutdown-timeout", "0.3"]);
        stop.wait();

        dispatcher.end();

        stop.cut();
        let dispatcher = world.start();
        assert_settled(&world, job, at);
        dispatcher.end();
    }
}

//! The whole way, from grant to gone.

use std::time::Duration;

use support::server::clever::Inner;
use support::wait_until;

use crate::machine::{RUNNER, World};

/// E1: the inner runner gets the job, writes its trace and ends it; the app goes, and the place is free.
#[test]
fn a_job_is_run_by_an_inner_runner_and_nothing_is_left() {
    let world = World::new();
    world.configure("concurrent = 1\n", &[&world.runner(RUNNER, "")]);
    world
        .clever
        .set_inner(Inner::Runs(Duration::from_millis(50)));
    let jobs: Vec<u64> = (0..5).map(|_| world.gitlab.add_job(RUNNER)).collect();

    let dispatcher = world.start();

    for job in &jobs {
        world.until_job(*job, "success");
        assert_eq!(world.gitlab.job(*job).text(), "inner runner: done\n");
    }
    world.until_no_app();
    let apps = world.clever.apps();
    assert_eq!(apps.len(), jobs.len());
    assert!(apps.iter().all(|app| app.n_pushes == 1));
    wait_until("the last one is gone", || {
        dispatcher.log().matches("decommissioned").count() == jobs.len()
    });
    let log = dispatcher.end();
    assert!(!log.contains("ERROR") && !log.contains("WARNING"), "{log}");
}

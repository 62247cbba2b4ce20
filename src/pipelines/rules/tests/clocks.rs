//! The clock on the wall is set back and forward: what is waited for goes by the other one.

use super::*;

const HOUR: i64 = 3_600_000;
const YEAR: i64 = 365 * 24 * HOUR;

/// Time passes, and the clock on the wall is set by so much besides.
fn pass(world: &mut World, time: Duration, set_by: i64) {
    world.now.wall.0 += set_by;
    world.pass(time);
}

#[test]
fn delays_time_outs_and_pauses_go_by_no_clock_that_is_set() {
    for set_by in [-YEAR, -HOUR, HOUR, 10 * YEAR] {
        let mut world = World::new(
            "pipelines: {p: {start_delay: 5s, timeout: 20s, tasks: {t: {script: [x], timeout: 8s, retry: {max: 1, delay: 3s}}}}}",
        );
        let job = world.schedule("p");
        pass(&mut world, 4 * S, set_by);
        assert_eq!(world.phase(job), Phase::Waiting, "{set_by}");
        pass(&mut world, S, -set_by);
        assert_eq!(world.phase(job), Phase::Running, "{set_by}");
        // The attempt has its time.
        pass(&mut world, 7 * S, set_by);
        assert!(!world.processes[&(job, 0, 0)], "{set_by}");
        pass(&mut world, S, set_by);
        assert!(world.processes[&(job, 0, 0)], "{set_by}");
        world.end(job, "t", 130);
        // The pause before the next one too.
        pass(&mut world, 2 * S, -set_by);
        assert!(world.processes.is_empty(), "{set_by}");
        pass(&mut world, S, set_by);
        assert!(!world.processes[&(job, 0, 1)], "{set_by}");
        // And the job: 11 of its 20 s are over.
        pass(&mut world, 8 * S, set_by);
        assert_eq!(world.phase(job), Phase::Running, "{set_by}");
        assert!(world.processes[&(job, 0, 1)], "{set_by}");
        pass(&mut world, S, -set_by);
        world.end(job, "t", 130);
        assert_eq!(world.phase(job), Phase::Failed, "{set_by}");
    }
}

#[test]
fn what_failed_first_is_known_though_the_clock_was_set_back_meanwhile() {
    let mut world = World::new(
        "pipelines: {p: {continue_running_tasks_after_failure: true, on_error: {script: [x]}, tasks: {a: {script: [x]}, b: {script: [x]}}}}",
    );
    let job = world.schedule("p");
    world.end(job, "b", 7);
    pass(&mut world, S, -HOUR);
    world.end(job, "a", 8);
    assert_eq!(world.statuses(job), "a:error b:error on_error:running");

    let ended = world.job(job);
    let first = ended.first_failed().unwrap();
    assert_eq!((first.definition.name.as_str(), first.exit_code), ("b", 7));
    assert_eq!(ended.last_error.as_deref(), Some("exit status 7"));
    world.end(job, "on_error", 0);
    // Two that end in the same moment as well.
    let job = world.schedule("p");
    world.end(job, "b", 7);
    world.end(job, "a", 8);
    let ended = world.job(job);
    assert_eq!(ended.first_failed().unwrap().definition.name, "b");
}

#[test]
fn jobs_keep_their_order_and_are_kept_long_enough_when_the_clock_is_set_back() {
    let mut world = with("retention_period: 1h");
    let jobs = [
        world.schedule("p"),
        world.schedule("p"),
        world.schedule("p"),
    ];
    pass(&mut world, S, -YEAR);
    let last = world.schedule("p");
    for job in jobs.into_iter().chain([last]) {
        assert_eq!(
            world.phase(job),
            Phase::Running,
            "in the order in which they came"
        );
        world.end(job, "t", 0);
        pass(&mut world, S, 0);
    }
    // None of them is older than it was made.
    assert!(world.removed.is_empty());
    pass(&mut world, 3600 * S, 0);
    assert_eq!(world.removed, [last]);
    pass(&mut world, S, YEAR);
    assert_eq!(world.removed.len(), 4);
}

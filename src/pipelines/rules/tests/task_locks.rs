//! Tasks with locks of their own.

use super::locks::env_1;
use super::*;

const TWO: &str = "tasks: {a: {script: [x]}, b: {script: [x], depends_on: [a], locks: [{pool: aws, name: env-1}]}}";

fn world(keys: &str) -> World {
    World::new(&format!("pipelines: {{p: {{{keys}}}}}"))
}

/// A world in which the second task waits for its locks.
fn waiting(keys: &str) -> (World, JobId, Holder) {
    let mut world = world(&format!("{keys}{TWO}"));
    let job = world.schedule("p");
    assert!(world.holding.is_empty(), "it asks when it is ready to run");
    world.end(job, "a", 0);
    let task = Some(1);
    (world, job, Holder { job, task })
}

#[test]
fn a_task_asks_for_its_locks_when_it_is_ready_and_ends_when_they_are_given_back() {
    let (mut world, job, holder) = waiting("");
    assert_eq!(world.statuses(job), "a:done b:waiting");
    let expected = "waiting for `env-1` of the pool `aws`";
    assert_eq!(
        world.job(job).tasks[1].hold,
        Hold::Waits(expected.to_owned())
    );
    assert_eq!(world.phase(job), Phase::Running);
    world.locks_of(holder, LockNews::Waits("place 2".into()));
    assert_eq!(world.job(job).tasks[1].hold, Hold::Waits("place 2".into()));
    assert!(world.processes.is_empty());

    world.locks_of(holder, env_1());
    assert_eq!(world.statuses(job), "a:done b:running");
    world.end(job, "b", 0);
    assert!(world.holding[&holder]);
    assert_eq!(world.statuses(job), "a:done b:running");
    world.locks_of(holder, LockNews::Over(Ok(())));
    assert_eq!(world.statuses(job), "a:done b:done");
    assert_eq!(world.phase(job), Phase::Succeeded);
}

#[test]
fn the_locks_of_a_task_are_kept_over_its_attempts() {
    let mut world =
        world("tasks: {a: {script: [x], retry: {max: 1, delay: 5s}, locks: [{pool: aws}]}}");
    let job = world.schedule("p");
    let holder = Holder { job, task: Some(0) };
    world.locks_of(holder, env_1());
    world.end(job, "a", 1);
    assert!(!world.holding[&holder]);
    world.pass(5 * S);
    world.end(job, "a", 1);
    assert!(world.holding[&holder]);
    world.locks_of(holder, LockNews::Over(Ok(())));
    assert_eq!(world.statuses(job), "a:error");
    assert_eq!(world.job(job).last_error.unwrap(), "exit status 1");

    // What is lost in the pause is no longer waited with.
    let job = world.schedule("p");
    let holder = Holder { job, task: Some(0) };
    world.locks_of(holder, env_1());
    world.end(job, "a", 1);
    world.locks_of(holder, LockNews::Lost("taken".into()));
    world.pass(5 * S);
    assert!(world.processes.is_empty());
    world.locks_of(holder, LockNews::Over(Ok(())));
    assert_eq!(world.statuses(job), "a:error");
    assert_eq!(world.job(job).last_error.unwrap(), "taken");
}

#[test]
fn a_task_that_waits_for_locks_leaves_the_line_when_the_job_is_canceled_or_out_of_time() {
    for (cancel, phase) in [(true, Phase::Canceled), (false, Phase::Failed)] {
        let (mut world, job, holder) = waiting("timeout: 10s, ");
        match cancel {
            true => world.cancel(job),
            false => world.pass(10 * S),
        }
        assert!(world.holding[&holder]);
        assert!(!world.job(job).is_finished());
        // It was claimed at the last moment.
        world.locks_of(holder, env_1());
        assert!(world.processes.is_empty());
        world.locks_of(holder, LockNews::Over(Ok(())));
        assert_eq!(world.phase(job), phase);
        assert_eq!(world.statuses(job), "a:done b:canceled");
        let ended = world.job(job);
        assert!(ended.tasks[1].start.is_none() && ended.tasks[1].end.is_none());
    }
}

#[test]
fn locks_that_a_task_cannot_have_or_give_back_or_keep_are_its_failure_with_words() {
    let keys = "on_error: {script: [x]}, ";
    let (mut world, job, holder) = waiting(keys);
    world.locks_of(holder, LockNews::Over(Err("gave up after 1s".into())));
    assert_eq!(world.statuses(job), "a:done b:error on_error:running");
    assert_eq!(world.job(job).last_error.unwrap(), "gave up after 1s");

    let (mut world, job, holder) = waiting(keys);
    world.locks_of(holder, env_1());
    world.end(job, "b", 0);
    world.locks_of(holder, LockNews::Over(Err("no answer".into())));
    assert_eq!(world.statuses(job), "a:done b:error on_error:running");
    assert_eq!(world.job(job).last_error.unwrap(), "no answer");

    for is_over in [false, true] {
        let (mut world, job, holder) = waiting(keys);
        world.locks_of(holder, env_1());
        let news = match is_over {
            true => LockNews::Over(Err("taken".into())),
            false => LockNews::Lost("taken".into()),
        };
        world.locks_of(holder, news);
        assert!(world.processes[&(job, 1, 0)], "it is interrupted");
        world.end(job, "b", 130);
        if !is_over {
            world.locks_of(holder, LockNews::Over(Ok(())));
        }
        assert_eq!(world.statuses(job), "a:done b:error on_error:running");
        assert_eq!(world.job(job).last_error.unwrap(), "taken");
    }
}

#[test]
fn after_a_crash_the_locks_of_tasks_are_given_back_before_anything_else() {
    for (restart, held, phase) in [
        ("cancel", true, Phase::Canceled),
        ("cancel", false, Phase::Canceled),
        ("requeue", true, Phase::Running),
        ("requeue", false, Phase::Running),
    ] {
        let (mut world, job, holder) = waiting(&format!("restart: {restart}, "));
        if held {
            world.locks_of(holder, env_1());
        }
        // Twice: the second one finds what the first was about to do.
        for _ in 0..2 {
            assert_eq!(world.restart().len(), 1);
            assert_eq!(world.holding.get(&holder), Some(&true));
            assert!(!world.job(job).is_finished());
        }
        world.locks_of(holder, LockNews::Over(Ok(())));
        assert_eq!(world.phase(job), phase, "{restart} {held}");
        let statuses = match restart {
            "cancel" => "a:done b:canceled",
            _ => "a:running b:waiting",
        };
        assert_eq!(world.statuses(job), statuses);
    }
}

#[test]
fn after_a_crash_a_job_waits_for_all_that_it_and_its_tasks_have_to_give_back() {
    for first in [None, Some(0)] {
        let mut world = world("locks: [{pool: a}], tasks: {t: {script: [x], locks: [{pool: b}]}}");
        let job = world.schedule("p");
        let other = match first {
            None => Some(0),
            Some(_) => None,
        };
        for task in [None, Some(0)] {
            world.locks_of(Holder { job, task }, env_1());
        }
        world.restart();
        world.locks_of(Holder { job, task: first }, LockNews::Over(Ok(())));
        assert!(!world.job(job).is_finished());
        world.locks_of(Holder { job, task: other }, LockNews::Over(Ok(())));
        assert_eq!(world.phase(job), Phase::Canceled);
    }
}

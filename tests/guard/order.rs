//! Which pipelines are in the way.

use std::time::Duration;

use serde_json::json;
use support::server::gitlab::{Paging, SimulatedGitlab};
use support::wait_until;

use crate::machine::Machine;

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A GitLab where our own pipeline 10 runs, whose job `deploy` started a minute ago.
fn ours() -> (SimulatedGitlab, Machine) {
    let gitlab = SimulatedGitlab::start();
    gitlab.pipeline(10, "master", "running");
    let job = gitlab.job_since(10, "deploy", "running", seconds(60));
    let machine = Machine::of(&gitlab, 10, job);
    (gitlab, machine)
}

/// C14 and C17: a wait ends when the conflict does.
#[test]
fn whoever_is_inside_is_waited_for_and_then_it_is_our_turn() {
    let (gitlab, machine) = ours();
    gitlab.pipeline(11, "master", "running");
    gitlab.job(11, "deploy", "success");

    let waiting = machine.start(&[]);
    waiting.wait_for("Pipeline #11 running");
    gitlab.set_pipeline(11, "success");
    let answer = waiting.finish();

    assert_eq!(answer.code, Some(0), "{}", answer.stdout);
    let last = answer.stdout.lines().last().unwrap();
    assert!(
        last.ends_with("No other conflicting pipelines detected, proceeding ..."),
        "{last}"
    );
    // C29: nothing is written.
    assert!(gitlab.asked().iter().all(|asked| asked.method == "GET"));
}

/// C15: one look, and no more.
#[test]
fn without_waiting_one_look_is_enough_to_see_that_somebody_is_in_the_way() {
    let gitlab = SimulatedGitlab::start();
    gitlab.pipeline(11, "12-foo", "running");
    let answer = Machine::outside(&gitlab).expect(&["-x"], 7);

    assert!(
        answer
            .stdout
            .contains("1 other pipelines in (running) state. Exiting on request.")
    );
    assert_eq!(
        gitlab
            .targets()
            .iter()
            .filter(|one| one.contains("status="))
            .count(),
        1
    );
}

/// N2, N18 and N19: the start of the guarded job decides, and not the number of the pipeline.
#[test]
fn the_order_is_that_in_which_the_guarded_jobs_started() {
    for (status, ago, code) in [
        // Before us, after us, not yet started, revived after us.
        ("running", 61, 7),
        ("running", 59, 0),
        ("pending", 0, 0),
        ("created", 0, 0),
        ("success", 59, 7),
        ("failed", 59, 7),
    ] {
        for id in [9, 11] {
            let (gitlab, machine) = ours();
            gitlab.pipeline(id, "master", "running");
            gitlab.job_since(id, "deploy", status, seconds(ago));
            machine.expect(&["-x"], code);
        }
    }
}

/// N2: of two that run, one goes first and the other waits for it.
#[test]
fn two_that_are_both_running_do_not_wait_for_each_other() {
    let (gitlab, first) = ours();
    gitlab.pipeline(9, "master", "running");
    let job = gitlab.job_since(9, "deploy", "running", seconds(30));
    let second = Machine::of(&gitlab, 9, job);

    let waiting = second.start(&[]);
    waiting.wait_for("Pipeline #10");
    first.expect(&[], 0);
    assert!(waiting.stdout().contains("it started before us"));
    gitlab.set_pipeline(10, "success");

    assert_eq!(waiting.finish().code, Some(0));
}

/// N13: jobs that run beside each other are one guarded job.
#[test]
fn parallel_jobs_and_those_of_a_matrix_have_one_place() {
    for name in ["deploy 1/3", "deploy: [eu]", "deploy: [eu, big]"] {
        let (gitlab, machine) = ours();
        gitlab.pipeline(9, "master", "running");
        gitlab.job_since(9, name, "running", seconds(61));
        machine
            .clone()
            .env("CI_JOB_NAME", "deploy: [us]")
            .expect(&["-x"], 7);
        machine.expect(&["-x"], 7);
    }
}

/// N12, as far as decision 1 leaves it: other jobs can be guarded too.
#[test]
fn jobs_of_other_names_count_if_the_expression_names_them() {
    let (gitlab, machine) = ours();
    gitlab.pipeline(11, "master", "running");
    gitlab.job_since(11, "wait-for-prod", "running", seconds(61));

    // Without it the pipeline has no guarded job, and a larger number.
    machine.expect(&["-x"], 0);
    machine.expect(&["-x", "--guard-job-regex", "^wait-"], 7);
    machine.env("GUARD_JOB_REGEX", "^wait-").expect(&["-x"], 7);
}

#[test]
fn a_pipeline_without_a_guarded_job_is_waited_for_if_it_is_older() {
    for (id, code) in [(9, 7), (11, 0)] {
        let (gitlab, machine) = ours();
        gitlab.pipeline(id, "master", "running");
        gitlab.job(id, "test", "running");
        let answer = machine.expect(&["-x"], code);
        assert_eq!(answer.stdout.contains("it has no guarded job"), code == 7);
    }
}

/// N17: the jobs of one pipeline take turns, if that is asked for.
#[test]
fn jobs_of_one_pipeline_take_turns_if_asked() {
    let gitlab = SimulatedGitlab::start();
    gitlab.pipeline(10, "master", "running");
    let first = gitlab.job_since(10, "deploy: [eu]", "running", seconds(61));
    let second = gitlab.job_since(10, "deploy: [us]", "running", seconds(60));
    let [first, second] = [(first, "[eu]"), (second, "[us]")].map(|(job, cell)| {
        Machine::of(&gitlab, 10, job).env("CI_JOB_NAME", format!("deploy: {cell}"))
    });

    second.expect(&["-x"], 0);
    second.expect(&["-x", "--take-turns"], 7);
    first.expect(&["-x", "--take-turns"], 0);
}

/// N15: whoever started us waits for us, and is not in our way; a child of another pipeline is.
#[test]
fn a_child_pipeline_does_not_wait_for_its_parents_and_sees_other_children() {
    let gitlab = SimulatedGitlab::start();
    // 1 started 2, which started 10; and 3 started 11.
    for id in [1, 3] {
        gitlab.pipeline(id, "master", "running");
        gitlab.job(id, "build", "success");
    }
    gitlab.child(1, 2, "master");
    gitlab.child(2, 10, "master");
    let job = gitlab.job_since(10, "deploy", "running", seconds(60));
    let machine = Machine::of(&gitlab, 10, job).env("CI_PIPELINE_SOURCE", "parent_pipeline");
    gitlab.bridge(3);

    // Its own parents are no conflict; the one of others will be seen by its child.
    machine.expect(&["-x"], 0);
    gitlab.child(3, 11, "master");
    let other = gitlab.job_since(11, "deploy", "running", seconds(61));
    let answer = machine.expect(&["-x"], 7);
    assert!(answer.stdout.contains("Pipeline #11"), "{}", answer.stdout);
    gitlab.set_job(other, "success");
    machine.expect(&["-x"], 7);
    gitlab.set_pipeline(11, "success");
    machine.expect(&["-x"], 0);
}

/// N1: a conflict behind a hundred others is seen, however the pages are linked; and never is the history read.
#[test]
fn all_pages_are_read_and_of_the_history_nothing() {
    for paging in [Paging::Link, Paging::Number] {
        let gitlab = SimulatedGitlab::start();
        gitlab.set_paging(paging);
        for id in 100..350 {
            gitlab.pipeline(id, "other", "running");
        }
        for id in 400..3400 {
            gitlab.pipeline(id, "12-foo", "success");
        }
        let machine = Machine::outside(&gitlab);
        machine.expect(&["-x"], 0);
        // Two looks at three pages each.
        assert_eq!(gitlab.asked().len(), 6, "{:?}", gitlab.targets());
        gitlab.pipeline(7, "12-foo", "running");
        let answer = machine.expect(&["-x"], 7);
        assert!(answer.stdout.contains("Pipeline #7 "));
        // Of statuses in which pipelines stay, the newest are enough.
        let before = gitlab.asked().len();
        machine.expect(&["-x", "-s", "success"], 7);
        assert_eq!(gitlab.asked().len(), before + 1);
    }
}

/// One query for each status, in the order in which pipelines go through them.
#[test]
fn a_pipeline_that_goes_on_while_it_is_looked_for_is_not_missed() {
    let gitlab = SimulatedGitlab::start();

    Machine::outside(&gitlab).expect(&["-x", "-s", "running|pending|created"], 0);

    let targets = gitlab.targets();
    let statuses: Vec<&str> = targets[..3]
        .iter()
        .map(|target| {
            target
                .split("status=")
                .nth(1)
                .unwrap()
                .split('&')
                .next()
                .unwrap()
        })
        .collect();
    assert_eq!(statuses, ["created", "pending", "running"]);
}

/// N24: fields that are `null`.
#[test]
fn a_pipeline_without_ref_or_status_breaks_nothing() {
    let gitlab = SimulatedGitlab::start();
    gitlab.odd_pipeline(11, json!(null), json!("running"));
    gitlab.odd_pipeline(12, json!("12-foo"), json!(null));
    let machine = Machine::outside(&gitlab);

    machine.expect(&["-x"], 0);
    machine.expect(&["-x", "-c", "^$"], 7);
    gitlab.pipeline(13, "12-foo", "running");
    let answer = machine.expect(&["-x"], 7);
    assert!(answer.stdout.contains("1 other pipelines"));
}

/// An answer that does not show our own job as started is old, and lets nobody in.
#[test]
fn nobody_enters_on_an_answer_that_is_older_than_his_own_job() {
    let gitlab = SimulatedGitlab::start();
    gitlab.pipeline(10, "master", "pending");
    let job = gitlab.job(10, "deploy", "pending");
    let machine = Machine::of(&gitlab, 10, job);

    let mut waiting = machine.start(&[]);
    waiting.wait_for("do not show our own job as started yet");
    let looks = |n: usize| {
        let before = gitlab.asked().len();
        wait_until("it looks again", || gitlab.asked().len() >= before + n);
    };
    looks(6);
    assert!(!waiting.has_ended());
    gitlab.start_job(10, "deploy");
    // Our own job is another one by its number; the token's job is the one that counts.
    looks(6);
    assert!(!waiting.has_ended());
    drop(waiting);
    let started = gitlab.start_job(10, "deploy");
    Machine::of(&gitlab, 10, started).expect(&[], 0);
    // Not in the list of what runs, though it should be.
    gitlab.trouble(
        "pipelines?status=running",
        support::server::gitlab::Trouble::Text("[]".to_owned()),
        1000,
    );
    let waiting = Machine::of(&gitlab, 10, started).start(&[]);
    waiting.wait_for("do not show our own job as started yet");
    gitlab.recover();
    assert_eq!(waiting.finish().code, Some(0));
}

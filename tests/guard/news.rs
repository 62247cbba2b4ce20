//! What people and programs read.

use std::time::Duration;

use serde_json::Value;
use support::server::gitlab::SimulatedGitlab;
use support::wait_until;

use crate::machine::Machine;

/// Somebody who waits for pipeline 11.
fn waiting() -> (SimulatedGitlab, Machine) {
    let gitlab = SimulatedGitlab::start();
    gitlab.pipeline(10, "12-foo", "running");
    gitlab.pipeline(11, "12-foo", "running");
    gitlab.job(11, "deploy", "success");
    let job = gitlab.job_since(10, "deploy", "running", Duration::from_secs(30));
    let machine = Machine::of(&gitlab, 10, job);
    (gitlab, machine)
}

/// Lines without the time and the process before them.
fn messages(stdout: &str) -> Vec<String> {
    let lines = stdout.lines().map(|line| {
        let (before, rest) = line.split_once("]: ").unwrap_or(("", line));
        let level = before.split(' ').nth(2).unwrap_or_default();
        format!("{level} {rest}").trim().to_owned()
    });
    lines.collect()
}

/// C23, C24 and decision 12: who is waited for, once for each change; a dot while nothing changes.
#[test]
fn a_wait_tells_whom_it_waits_for_and_tells_it_again_only_when_that_changes() {
    let (gitlab, machine) = waiting();

    let guard = machine.start(&[]);
    wait_until("it has looked some times", || guard.stderr().len() > 3);
    gitlab.pipeline(12, "13-bar", "running");
    gitlab.job(12, "deploy", "success");
    guard.wait_for("2 other pipelines in (running) state.");
    guard.wait_for("Pipeline #12");
    gitlab.set_pipeline(11, "failed");
    gitlab.set_pipeline(12, "canceled");
    let answer = guard.finish();

    assert_eq!(answer.code, Some(0));
    let said = messages(&answer.stdout);
    let of = |n: u64, ref_name: &str| {
        format!(
            "WARNING Pipeline #{n} running    {n:040x} {ref_name} (it is past its guarded job, and still runs, job deploy #"
        )
    };
    assert_eq!(
        said[..2],
        ["", "INFO 1 other pipelines in (running) state."]
    );
    assert!(said[2].starts_with(&of(11, "12-foo")), "{}", said[2]);
    assert!(said[2].contains(" of anna, since 20"), "{}", said[2]);
    let page = gitlab.home() + "/ops/web/-/jobs/";
    assert!(said[2].contains(&page), "{}", said[2]);
    assert_eq!(
        said[3..5],
        ["", "INFO 2 other pipelines in (running) state."]
    );
    let last = said.len() - 3;
    assert_eq!(
        said[last..],
        [
            "",
            "INFO 0 other pipelines in (running) state.",
            "INFO No other conflicting pipelines detected, proceeding ..."
        ]
    );
    assert!(answer.stderr.chars().all(|c| c == '.'), "{}", answer.stderr);
    // The form of a line.
    let line = answer.stdout.lines().nth(1).unwrap();
    let words: Vec<&str> = line.split(' ').collect();
    assert_eq!((words[0].len(), words[1].len()), (10, 12), "{line}");
    assert!(words[1].contains(','), "{line}");
    assert_eq!(words[2..4], ["INFO", "gitlab-job-guard"]);
    assert!(words[4].starts_with("MainProcess["), "{line}");
}

/// C14: without a conflict there is a dot for each look, and the last line.
#[test]
fn without_a_conflict_there_is_one_line() {
    let gitlab = SimulatedGitlab::start();

    let answer = Machine::outside(&gitlab)
        .env("CI_JOB_NAME", "deploy")
        .expect(&[], 0);

    let said = messages(&answer.stdout);
    assert_eq!(
        said,
        ["INFO No other conflicting pipelines detected, proceeding ..."]
    );
    assert!(!answer.stderr.is_empty() && answer.stderr.chars().all(|c| c == '.'));
}

/// C25 and N26: silence.
#[test]
fn silence_leaves_only_errors_and_those_on_stderr() {
    let (gitlab, machine) = waiting();
    let answer = machine.expect(&["-q", "-x"], 7);
    assert_eq!(answer.stdout, "");
    assert!(answer.stderr.contains("Exiting on request."));
    let answer = machine.expect(&["-q", "-w", "1"], 11);
    assert_eq!(answer.stdout, "");
    assert!(
        answer
            .stderr
            .contains("Timeout reached after 1 seconds, giving up ...")
    );
    gitlab.set_pipeline(11, "success");
    let answer = machine.expect(&["--quiet"], 0);
    assert_eq!((answer.stdout.as_str(), answer.stderr.as_str()), ("", ""));
}

/// N26: the same for programs.
#[test]
fn lines_of_json_say_the_same() {
    let (gitlab, machine) = waiting();

    let guard = machine.start(&["--json"]);
    guard.wait_for("waiting");
    gitlab.set_pipeline(11, "success");
    let answer = guard.finish();

    let lines: Vec<Value> = answer
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let events: Vec<&str> = lines
        .iter()
        .map(|line| line["event"].as_str().unwrap())
        .collect();
    assert_eq!(events, ["waiting", "waiting", "free"]);
    let pipeline = &lines[0]["pipelines"][0];
    assert_eq!(pipeline["id"], 11);
    assert_eq!(pipeline["ref"], "12-foo");
    assert_eq!(pipeline["why"], "inside");
    assert_eq!(pipeline["job"]["user"], "anna");
    assert!(
        pipeline["job"]["started_at"]
            .as_str()
            .unwrap()
            .ends_with('Z')
    );
    assert_eq!(lines[1]["pipelines"], serde_json::json!([]));
    assert_eq!(answer.stderr, "");
    let answer = Machine::outside(&gitlab)
        .env("PRIVATE_TOKEN", "MARKER")
        .expect(&["--json"], 3);
    let last: Value = serde_json::from_str(answer.stdout.lines().last().unwrap()).unwrap();
    assert_eq!(last["event"], "failed");
    assert!(last["message"].as_str().unwrap().contains("401"));
}

/// What strangers wrote acts on no terminal.
#[test]
fn names_of_others_break_no_line() {
    let gitlab = SimulatedGitlab::start();
    gitlab.pipeline(11, "12-foo\n2026 ERROR \u{1b}[2J", "running");

    let answer = Machine::outside(&gitlab).expect(&["-x"], 7);

    assert!(!answer.stdout.contains('\u{1b}'), "{}", answer.stdout);
    assert!(
        answer.stdout.contains(r"12-foo\n2026 ERROR \u{1b}[2J"),
        "{}",
        answer.stdout
    );
}

#[test]
fn a_command_has_stdout_for_itself_and_its_exit_code_is_ours() {
    let gitlab = SimulatedGitlab::start();
    let machine = Machine::outside(&gitlab);
    let guard = |args: &[&str]| machine.run(args);

    let answer = guard(&["--", "sh", "-c", "echo hello; exit 9"]);
    assert_eq!((answer.code, answer.stdout.as_str()), (Some(9), "hello\n"));
    assert!(
        answer.stderr.contains("proceeding ..."),
        "{}",
        answer.stderr
    );
    assert_eq!(guard(&["--", "/nonexistent"]).code, Some(127));
    assert_eq!(guard(&["--", "/etc/passwd"]).code, Some(126));
    assert_eq!(guard(&["--", "sh", "-c", "kill -9 $$"]).code, Some(137));
    gitlab.pipeline(11, "12-foo", "running");
    let answer = guard(&["-x", "--", "echo", "hello"]);
    assert_eq!((answer.code, answer.stdout.as_str()), (Some(7), ""));
}

//! Which token is used, what each may read, and where it never goes.

use std::time::Duration;

use support::server::faulty::Faulty;
use support::server::gitlab::{JobTokens, PRIVATE, Paging, SimulatedGitlab, Trouble};

use crate::machine::Machine;

/// C1: the request.
#[test]
fn a_private_token_goes_in_its_header() {
    let gitlab = SimulatedGitlab::start();

    Machine::outside(&gitlab)
        .env("CI_JOB_TOKEN", "MARKER-x")
        .expect(&["-x"], 0);

    for asked in gitlab.asked() {
        assert_eq!(asked.method, "GET");
        assert_eq!(
            asked.target,
            "/api/v4/projects/42/pipelines?status=running&per_page=100"
        );
        assert_eq!(asked.headers["private-token"], PRIVATE);
        assert_eq!(asked.headers["accept"], "application/json");
        assert!(!asked.headers.contains_key("job-token"));
    }
}

/// A job with nothing but its own token, and another pipeline whose guarded job has this status.
fn with_job_token(rights: JobTokens, status: &str) -> (SimulatedGitlab, Machine) {
    let gitlab = SimulatedGitlab::start();
    gitlab.set_job_tokens(rights);
    gitlab.pipeline(10, "master", "running");
    let job = gitlab.job(10, "deploy", "running");
    gitlab.pipeline(11, "master", "running");
    gitlab.job_since(11, "deploy", status, Duration::from_secs(61));
    gitlab.job(11, "smoke test", "created");
    let machine = Machine::of(&gitlab, 10, job).without("PRIVATE_TOKEN");
    let machine = machine.env("CI_JOB_TOKEN", gitlab.job_token(job));
    (gitlab, machine)
}

/// N14: the token of the job is enough where the server lets it read jobs.
#[test]
fn the_token_of_the_job_is_enough_on_a_server_that_lets_it_read_jobs() {
    for rights in [JobTokens::AllJobs, JobTokens::ProjectJobs] {
        for (status, code) in [("running", 7), ("success", 7), ("pending", 0)] {
            let (gitlab, machine) = with_job_token(rights, status);
            machine.expect(&["-x"], code);
            for asked in gitlab.asked() {
                assert!(asked.headers.contains_key("job-token"), "{}", asked.target);
                assert!(!asked.headers.contains_key("private-token"));
            }
        }
    }
    // It ends as others do.
    let (gitlab, machine) = with_job_token(JobTokens::AllJobs, "success");
    let waiting = machine.start(&[]);
    waiting.wait_for("Pipeline #11");
    gitlab.delete(11);
    assert_eq!(waiting.finish().code, Some(0));
}

/// A job that starts a child pipeline is in no list of jobs; the child's jobs are.
#[test]
fn the_token_of_the_job_sees_a_pipeline_that_waits_for_its_child() {
    let (gitlab, machine) = with_job_token(JobTokens::AllJobs, "pending");
    machine.expect(&["-x"], 0);
    gitlab.child(11, 12, "master");
    gitlab.job(12, "deploy to eu", "running");

    let answer = machine.expect(&["-x"], 7);

    assert!(answer.stdout.contains("Pipeline #12"), "{}", answer.stdout);
}

/// N14: where it may not, nobody needs a token if the project is public; else we say what is missing.
#[test]
fn a_server_that_lets_no_job_token_read_is_asked_without_one_and_else_we_say_what_is_missing() {
    let (gitlab, machine) = with_job_token(JobTokens::OwnJob, "running");
    let answer = machine.expect(&["-x"], 3);
    for words in [
        "lets no job token read",
        "status 403",
        "PRIVATE_TOKEN",
        "read_api",
    ] {
        assert!(answer.stdout.contains(words), "{words}: {}", answer.stdout);
    }
    assert!(!answer.stdout.contains("MARKER") && !answer.stderr.contains("MARKER"));

    gitlab.make_public();
    machine.expect(&["-x"], 7);
    let last = gitlab.asked().pop().unwrap();
    assert!(!last.headers.contains_key("job-token") && !last.headers.contains_key("private-token"));
}

/// N8: a refusal ends it, after one more try.
#[test]
fn a_refusal_ends_it_after_one_more_try() {
    let gitlab = SimulatedGitlab::start();
    gitlab.pipeline(11, "12-foo", "running");
    let machine = Machine::outside(&gitlab);
    let status = |status: u16, times: usize| {
        gitlab.recover();
        gitlab.trouble("/pipelines", Trouble::Status(status, None), times);
    };
    for code in [401, 403, 404] {
        status(code, 100);
        let before = gitlab.asked().len();
        let answer = machine.expect(&[], 3);
        assert_eq!(gitlab.asked().len(), before + 2);
        let words = format!("refuses the private token (status {code})");
        assert!(answer.stdout.contains(&words), "{}", answer.stdout);
        // One alone may pass.
        status(code, 1);
        machine.expect(&["-x"], 7);
    }
    status(400, 100);
    machine.expect(&["-x"], 3);
}

/// N21: redirects within the server are followed, others are not, and no token goes along.
#[test]
fn a_token_goes_to_its_own_server_and_nowhere_else() {
    let gitlab = SimulatedGitlab::start();
    gitlab.pipeline(11, "12-foo", "running");
    let other =
        Faulty::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n[]");
    let machine = Machine::outside(&gitlab);
    let redirect = |to: String| {
        gitlab.recover();
        gitlab.trouble(
            "status=running",
            Trouble::Status(302, Some(("Location", to))),
            1,
        );
    };

    let within = "/api/v4/projects/ops%2Fweb/pipelines?state=moved".to_owned();
    redirect(within.clone());
    machine.expect(&["-x"], 7);
    assert_eq!(gitlab.targets().pop().unwrap(), within);
    for host in ["127.0.0.1", "localhost"] {
        let to = format!(
            "http://MARKER:MARKER@{host}:{}/x?private_token=MARKER",
            other.port()
        );
        gitlab.recover();
        gitlab.trouble(
            "status=running",
            Trouble::Status(302, Some(("Location", to))),
            100,
        );
        let answer = machine.expect(&["-x"], 3);
        let said = answer.stdout + &answer.stderr;
        assert!(said.contains("where the token is not sent"), "{said}");
        assert!(!said.contains("MARKER"), "{said}");
    }
    // A circle.
    gitlab.recover();
    gitlab.trouble(
        "",
        Trouble::Status(302, Some(("Location", "/api/v4/x".to_owned()))),
        10_000,
    );
    let answer = machine.env("GUARD_TIMEOUT", "1").expect(&[], 4);
    assert!(
        answer.stdout.contains("a redirect to nowhere"),
        "{}",
        answer.stdout
    );
    assert_eq!(other.heard(), Vec::<String>::new());
}

/// N21: a link to the next page on another host is not followed there.
#[test]
fn a_link_to_another_host_is_followed_on_our_own() {
    let gitlab = SimulatedGitlab::start();
    let other =
        Faulty::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n[]");
    gitlab.set_paging(Paging::Elsewhere(other.port()));
    for id in 100..250 {
        gitlab.pipeline(id, "other", "running");
    }
    gitlab.pipeline(7, "12-foo", "running");

    Machine::outside(&gitlab).expect(&["-x"], 7);

    assert_eq!(other.heard(), Vec::<String>::new());
}

/// N21: what the environment has is in no process list, log, help or error.
#[test]
fn no_token_is_shown() {
    let gitlab = SimulatedGitlab::start();
    gitlab.pipeline(11, "12-foo", "running");
    let machine = Machine::outside(&gitlab).env("CI_JOB_TOKEN", "MARKER-job");

    let waiting = machine.start(&["--", "true"]);
    wait_for_stderr(&waiting, "Pipeline #11");
    let line = std::fs::read(format!("/proc/{}/cmdline", waiting.id())).unwrap();
    assert!(!String::from_utf8_lossy(&line).contains("MARKER"));
    gitlab.delete(11);
    let answer = waiting.finish();
    assert!(!(answer.stdout + &answer.stderr).contains("MARKER"));

    let troubles = [
        Trouble::Status(401, None),
        Trouble::Status(500, None),
        Trouble::Status(302, Some(("Location", "http://x/?MARKER".to_owned()))),
        Trouble::Text("MARKER".to_owned()),
        Trouble::Close,
    ];
    for trouble in troubles {
        gitlab.recover();
        gitlab.trouble("status=", trouble.clone(), 10_000);
        for args in [
            vec![],
            vec!["--json"],
            vec!["-q"],
            vec!["-t", "MARKER-flag"],
        ] {
            let answer = machine.clone().env("GUARD_TIMEOUT", "1").run(&args);
            assert!(
                matches!(answer.code, Some(3 | 4)),
                "{trouble:?}: {:?}",
                answer.code
            );
            let said = answer.stdout + &answer.stderr;
            assert!(!said.contains("MARKER"), "{trouble:?}: {said}");
        }
    }
    for args in [
        vec!["-h"],
        vec!["--nonsense=MARKER"],
        vec!["--private-token"],
        vec!["--private-token=MARKER", "--private-tokens=MARKER"],
        vec!["-w", "x", "-t", "MARKER"],
    ] {
        let answer = machine.run(&args);
        let said = answer.stdout + &answer.stderr;
        assert!(!said.contains("MARKER"), "{args:?}: {said}");
    }
}

fn wait_for_stderr(waiting: &crate::machine::Waiting, text: &str) {
    support::wait_until("it says so", || waiting.stderr().contains(text));
}

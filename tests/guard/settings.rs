//! Settings: flags, environment, and what is refused before the first request.

use support::server::gitlab::{PRIVATE, SimulatedGitlab};

use crate::machine::Machine;

/// A GitLab where the pipeline 11 on this ref runs, and somebody outside of any job.
fn with_other(ref_name: &str) -> (SimulatedGitlab, Machine) {
    let gitlab = SimulatedGitlab::start();
    gitlab.pipeline(10, ref_name, "running");
    gitlab.pipeline(11, ref_name, "running");
    let machine = Machine::outside(&gitlab);
    (gitlab, machine)
}

/// C3: every flag and every alias, in every form.
#[test]
fn every_flag_works_in_every_form() {
    let (gitlab, machine) = with_other("master");
    let api = gitlab.api();
    for name in [
        "--guard-ref-regex",
        "--check",
        "--guard",
        "--guard-ref",
        "--ch",
    ] {
        machine.expect(&[name, "^master$", "-x"], 7);
        machine.expect(&[&format!("{name}=^master$"), "-x"], 7);
        machine.expect(&[name, "^zzz", "-x"], 0);
    }
    for args in [
        vec!["-c", "^master$", "-x"],
        vec!["-c=^master$", "-x"],
        vec!["-c^master$", "-x"],
        vec!["-xc", "^master$"],
        vec!["-qxc=^master$"],
        vec!["-c", "zzz", "--check", "^master$", "-x"],
        vec!["-c=^master$", "--no-wait"],
        vec!["-c=^master$", "--exit"],
        vec!["-c=^master$", "--no"],
        vec!["-c=^master$", "-x", "-s", "run"],
        vec!["-c=^master$", "-x", "-s=run"],
        vec!["-c=^master$", "-x", "--status-regex", "run"],
        vec!["-c=^master$", "-x", "--guard-status-regex=run"],
        vec!["-c=^master$", "-x", "--guard-s=run"],
        vec!["-c=^master$", "-x", "-w", "5"],
        vec!["-c=^master$", "-x", "-w", "-1"],
        vec!["-c=^master$", "-x", "-w5"],
        vec!["-c=^master$", "-x", "--timeout=5"],
        vec!["-c=^master$", "-x", "--guard-timeout", "5"],
        vec!["-c=^master$", "-x", "-q"],
        vec!["-c=^master$", "-x", "--silent"],
        vec!["-c=^master$", "-x", "--quiet"],
    ] {
        machine.expect(&args, 7);
    }
    let alone = Machine::bare().quickly();
    for [url, project, pipeline, token] in [
        ["-u", "-p", "-i", "-t"],
        [
            "--ci-api-v4-url",
            "--ci-project-id",
            "--ci-pipeline-id",
            "--private-token",
        ],
        [
            "--api-url",
            "--project-id",
            "--pipeline-id",
            "--access-token",
        ],
        ["--ci-a", "--proj", "--pip", "--api-token"],
    ] {
        let args = [
            url,
            &api,
            project,
            "42",
            pipeline,
            "10",
            token,
            PRIVATE,
            "-c=^master$",
            "-x",
        ];
        alone.expect(&args, 7);
    }
    // A value that looks like a flag needs an equals sign.
    machine.expect(&["-c", "-foo", "-x"], 2);
    machine.expect(&["-c=-foo", "-x"], 0);
}

/// C4, C5 and C6: the environment.
#[test]
fn the_environment_beats_the_command_line_and_an_empty_variable_is_none() {
    let (gitlab, machine) = with_other("master");

    machine
        .clone()
        .env("GUARD_REF_REGEX", "^master$")
        .expect(&["-c", "zzz", "-x"], 7);
    machine
        .clone()
        .env("GUARD_REF_REGEX", "")
        .expect(&["-c", "^master$", "-x"], 7);
    machine
        .clone()
        .env("GUARD_STATUS_REGEX", "pend")
        .expect(&["-c=^master$", "-x"], 0);
    machine
        .clone()
        .env("GUARD_TIMEOUT", "1")
        .expect(&["-c=^master$", "-w", "500"], 11);
    machine
        .clone()
        .env("CI_PIPELINE_ID", "11")
        .expect(&["-c=^master$", "-x", "-i", "10"], 7);
    machine
        .clone()
        .env("PRIVATE_TOKEN", "")
        .expect(&["-c=^master$", "-x", "-t", PRIVATE], 7);
    machine
        .clone()
        .env("GUARD_REF_REGEX", "-foo")
        .expect(&["-x"], 2);
    let n = gitlab.asked().len();
    machine.clone().env("PRIVATE_TOKEN", "").expect(&["-x"], 2);
    machine.clone().env("CI_PROJECT_ID", "").expect(&["-x"], 2);
    assert_eq!(gitlab.asked().len(), n);
}

/// C7 and N10: what is missing or wrong ends it at once, and GitLab is not asked.
#[test]
fn wrong_settings_are_refused_before_the_first_request() {
    let (gitlab, machine) = with_other("master");
    for (variable, flag) in [
        ("CI_API_V4_URL", "--ci-api-v4-url/-u/--api-url"),
        ("CI_PROJECT_ID", "--ci-project-id/-p/--project-id"),
        ("CI_PIPELINE_ID", "--ci-pipeline-id/-i/--pipeline-id"),
        (
            "PRIVATE_TOKEN",
            "--private-token/-t/--access-token/--api-token",
        ),
    ] {
        let answer = machine.clone().without(variable).expect(&["-x"], 2);
        let expected = format!("the following arguments are required: {flag}");
        assert!(answer.stderr.contains(&expected), "{}", answer.stderr);
    }
    for (args, expected) in [
        (vec!["--nonsense"], "unexpected argument '--nonsense'"),
        (vec!["nonsense"], "unexpected argument 'nonsense'"),
        // It was in the old page, and never a flag.
        (
            vec!["--ci-build-ref-name", "x"],
            "unexpected argument '--ci-build-ref-name'",
        ),
        (
            vec!["--gua", "x"],
            "ambiguous option: --gua could match --guard-ref-regex",
        ),
        (vec!["-w", "abc"], "invalid int value: 'abc'"),
        (vec!["-i", "abc"], "invalid int value: 'abc'"),
        (
            vec!["-c", "("],
            "--guard-ref-regex/-c/--check/--guard: is no regular expression",
        ),
        (
            vec!["-s", "["],
            "--guard-status-regex/-s/--status-regex: is no regular expression",
        ),
        (
            vec!["--guard-job-regex", "*"],
            "--guard-job-regex: is no regular expression",
        ),
        (
            vec!["-u", "gitlab.example.com"],
            "must be the http or https URL of GitLab's API",
        ),
        (
            vec!["-p", "a/../b"],
            "must be the number of a project, or its path",
        ),
        (vec!["-t", "MARKER MARKER"], "must be a token"),
        (
            vec!["--ca-file", "/nonexistent"],
            "--ca-file: cannot read `/nonexistent`",
        ),
        (vec!["--settle", "soon"], "--settle"),
    ] {
        // The environment would beat the flag.
        let machine = match args[0] {
            "-u" => machine.clone().without("CI_API_V4_URL"),
            "-p" => machine.clone().without("CI_PROJECT_ID"),
            "-i" => machine.clone().without("CI_PIPELINE_ID"),
            "-t" => machine.clone().without("PRIVATE_TOKEN"),
            "--settle" => machine.clone().without("GUARD_SETTLE"),
            _ => machine.clone(),
        };
        let answer = machine.expect(&args, 2);
        assert!(
            answer.stderr.contains(expected),
            "{args:?}: {}",
            answer.stderr
        );
        assert!(!answer.stderr.contains("MARKER"), "{}", answer.stderr);
        assert_eq!(answer.stdout, "");
    }
    assert_eq!(gitlab.asked().len(), 0);
}

/// C2 and N23: the path of the request.
#[test]
fn the_url_and_the_project_make_the_path() {
    let (gitlab, machine) = with_other("master");
    for (root, slash) in [("", ""), ("", "/"), ("/git", ""), ("/git/lab", "/")] {
        gitlab.set_root(root);
        for project in ["42", "ops/web", "ops%2Fweb"] {
            let machine = machine.clone().env("CI_API_V4_URL", gitlab.api() + slash);
            machine
                .env("CI_PROJECT_ID", project)
                .expect(&["-c=master", "-x"], 7);
            let asked = gitlab.targets().pop().unwrap();
            let project = if project == "42" { "42" } else { "ops%2Fweb" };
            let expected = format!("{root}/api/v4/projects/{project}/pipelines?");
            assert!(asked.starts_with(&expected), "{asked}");
        }
    }
}

/// C8 to C12 and N16: which pipelines match.
#[test]
fn ref_and_status_are_matched_as_0_0_4_3_does() {
    let found = |ref_name: &str, status: &str, args: &[&str]| {
        let gitlab = SimulatedGitlab::start();
        gitlab.pipeline(11, ref_name, status);
        let args: Vec<&str> = args.iter().copied().chain(["-x"]).collect();
        match Machine::outside(&gitlab).run(&args).code {
            Some(7) => true,
            Some(0) => false,
            other => panic!("{other:?}"),
        }
    };
    for (ref_name, status, args, expected) in [
        // C8: the defaults.
        ("12-foo", "running", vec![], true),
        ("master", "running", vec![], false),
        ("12-foo", "pending", vec![], false),
        // C9: found anywhere.
        (
            "feature/master-document",
            "running",
            vec!["-c", "master"],
            true,
        ),
        (
            "feature/master-document",
            "running",
            vec!["-c", "^master$"],
            false,
        ),
        // C10: from the beginning.
        ("12-foo", "running", vec!["-s", "unning"], false),
        ("12-foo", "running", vec!["-s", "run"], true),
        ("12-foo", "pending", vec!["-s", "running|pending"], true),
        ("12-foo", "success", vec!["-s", "s"], true),
        // C12: both.
        ("12-foo", "failed", vec![], false),
        // C13: the expressions of its page, and look-ahead.
        ("master", "running", vec!["-c", "^(?!develop$)"], true),
        ("develop", "running", vec!["-c", "^(?!develop$)"], false),
        ("v1.2.3", "running", vec!["-c=^v\\d+\\.\\d+\\.\\d+$"], true),
        // N16: the refs of merge requests.
        (
            "refs/merge-requests/7/head",
            "running",
            vec!["-c=^refs/merge-requests/"],
            true,
        ),
    ] {
        assert_eq!(
            found(ref_name, status, &args),
            expected,
            "{ref_name} {status} {args:?}"
        );
    }
}

/// C11: our own pipeline is not in our way, however its number is written.
#[test]
fn our_own_pipeline_is_known_by_its_number() {
    let gitlab = SimulatedGitlab::start();
    gitlab.pipeline(10, "12-foo", "running");

    for own in ["10", "0010", " 10 "] {
        Machine::outside(&gitlab)
            .env("CI_PIPELINE_ID", own)
            .expect(&["-x"], 0);
    }
    Machine::outside(&gitlab)
        .env("CI_PIPELINE_ID", "9")
        .expect(&["-x"], 7);
}

/// C19, and what else is in the help.
#[test]
fn the_help_names_every_setting_and_shows_no_value_of_the_environment() {
    let gitlab = SimulatedGitlab::start();
    for machine in [Machine::outside(&gitlab), Machine::bare()] {
        let answer = machine.env("CI_JOB_TOKEN", "MARKER%s").expect(&["-h"], 0);
        for text in [
            "GUARD_TIMEOUT",
            "3600",
            "PRIVATE_TOKEN",
            "CI_JOB_TOKEN",
            "--guard-ref-regex",
            "--no-wait",
        ] {
            assert!(answer.stdout.contains(text), "{text}\n{}", answer.stdout);
        }
        assert!(!answer.stdout.contains("MARKER"), "{}", answer.stdout);
    }
    let version = Machine::bare().expect(&["--version"], 0);
    assert!(version.stdout.starts_with("gitlab-job-guard "));
}

/// N11, and decision 10: the time that a wait has.
#[test]
fn zero_means_no_limit_which_is_said_once_and_the_time_of_the_job_is_kept() {
    let (_gitlab, machine) = with_other("master");
    for timeout in ["0", "-5"] {
        let answer = machine.expect(&["-c=master", "-x", "-w", timeout], 7);
        assert_eq!(answer.stdout.matches("no limit of its own").count(), 1);
    }
    // GitLab would end the job after ten seconds, of which eight are gone.
    let started =
        humantime::format_rfc3339(std::time::SystemTime::now() - std::time::Duration::from_secs(8));
    let machine = machine
        .env("CI_JOB_TIMEOUT", "10")
        .env("CI_JOB_STARTED_AT", started.to_string());
    for timeout in ["3600", "0"] {
        let answer = machine.expect(&["-c=master", "-w", timeout], 11);
        assert!(
            answer.stdout.contains("the job's own time-out comes first"),
            "{}",
            answer.stdout
        );
        assert!(
            answer
                .stdout
                .contains("Timeout reached after 1 seconds, giving up ..."),
            "{}",
            answer.stdout
        );
    }
    machine.env("CI_JOB_TIMEOUT", "soon").expect(&["-x"], 2);
}

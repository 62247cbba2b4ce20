//! The recipes of the page, and the examples of the page of 0.0.4.3.

use std::time::Duration;

use serde_json::Value;
use support::server::gitlab::{PRIVATE, SimulatedGitlab};
use support::{Answer, TestRemote, path_of};

use crate::machine::Machine;

const PAGE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/guard/README.md"));

/// The YAML below a heading of the page.
fn recipe(heading: &str) -> Value {
    let (_, below) = PAGE.split_once(&format!("\n{heading}\n")).unwrap();
    let (_, block) = below.split_once("\n```yaml\n").unwrap();
    serde_saphyr::from_str(block.split_once("```").unwrap().0).unwrap()
}

/// A job `deploy` of pipeline 10, on this ref; a program of each of these names says that it was called.
struct Scene {
    gitlab: SimulatedGitlab,
    machine: Machine,
}

impl Scene {
    fn new(ref_name: &str) -> Scene {
        let gitlab = SimulatedGitlab::start();
        gitlab.pipeline(10, ref_name, "running");
        let job = gitlab.job_since(10, "deploy", "running", Duration::from_secs(60));
        let machine = Machine::of(&gitlab, 10, job)
            .without("GUARD_REF_REGEX")
            .without("PRIVATE_TOKEN")
            .env("READ_API_TOKEN", PRIVATE)
            .env("GITLAB_API_TOKEN", PRIVATE)
            .env("CI_JOB_TOKEN", gitlab.job_token(job))
            .env("CI_COMMIT_REF_NAME", ref_name)
            .env("CI_BUILD_REF_NAME", ref_name);
        let bin = std::path::Path::new(path_of("gitlab-job-guard"))
            .parent()
            .unwrap();
        let home = machine.home().to_owned();
        let path = format!(
            "{}:{}:{}",
            bin.display(),
            home.display(),
            std::env::var("PATH").unwrap()
        );
        for name in ["deploy.sh", "my-unguarded-deployment-task", "terraform"] {
            let file = home.join(name);
            std::fs::write(&file, format!("#!/bin/sh\necho \"{name} $*\"\n")).unwrap();
            let chmod = machine.run_program("chmod", &["+x", file.to_str().unwrap()]);
            assert_eq!(chmod.code, Some(0));
        }
        Scene {
            gitlab,
            machine: machine.env("PATH", path),
        }
    }

    /// Runs lines as a runner does: one after the other, to the first that fails.
    fn run(&self, lines: &[String]) -> Answer {
        let script = lines.join("\n");
        self.machine.run_program("bash", &["-ec", &script])
    }

    /// Runs what a job of a recipe says.
    fn job(&self, job: &Value) -> Answer {
        let variables = job["variables"].as_object().into_iter().flatten();
        let variables =
            variables.map(|(name, value)| format!("export {name}=\"{}\"", value.as_str().unwrap()));
        let mut lines: Vec<String> = variables.collect();
        for part in ["before_script", "script"] {
            let part = job[part].as_array().into_iter().flatten();
            lines.extend(part.map(|line| line.as_str().unwrap().to_owned()));
        }
        self.run(&lines)
    }

    /// Puts somebody in the way.
    fn other(&self, ref_name: &str) {
        self.gitlab.pipeline(11, ref_name, "running");
        self.gitlab.job(11, "deploy", "success");
        self.gitlab.job(11, "smoke test", "running");
    }
}

/// Asserts that a job gets through, and waits while somebody on this ref is inside.
#[track_caller]
fn assert_guarded(ours: &str, other: &str, job: &Value) {
    let scene = Scene::new(ours);
    let answer = scene.job(job);
    let said = format!("{}\n{}", answer.stdout, answer.stderr);
    assert_eq!(answer.code, Some(0), "{said}");
    assert!(answer.stdout.ends_with("deploy.sh \n"), "{said}");
    scene.other("elsewhere/x");
    let answer = scene.job(job);
    assert_eq!(answer.code, Some(0), "{} {}", answer.stdout, answer.stderr);
    scene.gitlab.delete(11);
    scene.other(other);
    let scene = Scene {
        machine: scene.machine.env("GUARD_TIMEOUT", "1"),
        ..scene
    };
    let answer = scene.job(job);
    assert_eq!(answer.code, Some(11), "{} {}", answer.stdout, answer.stderr);
    assert!(!answer.stdout.contains("deploy.sh"));
}

#[test]
fn the_first_one() {
    assert_guarded("main", "main", &recipe("## Start")["deploy"]);
}

#[test]
fn tags() {
    assert_guarded("v1.2", "v1.3", &recipe("### Tags")["provision"]);
}

#[test]
fn the_same_branch() {
    assert_guarded(
        "feature/x",
        "feature/x",
        &recipe("### The same branch")["deploy"],
    );
}

#[test]
fn around_one_command() {
    assert_guarded("main", "main", &recipe("### Around one command")["deploy"]);
}

#[test]
fn all_branches_but_one() {
    let job = recipe("### All branches but one")["deploy"].clone();
    let scene = Scene::new("main");
    scene.other("docs/x");
    assert_eq!(scene.job(&job).code, Some(0));
    scene.gitlab.delete(11);
    scene.other("feature/x");
    let machine = scene.machine.env("GUARD_TIMEOUT", "1");
    assert_eq!(Scene { machine, ..scene }.job(&job).code, Some(11));
}

#[test]
fn a_guard_in_front_of_several_jobs() {
    let job = recipe("### A guard in front of several jobs")["guard"].clone();
    let scene = Scene::new("main");
    let machine = scene.machine.env("CI_JOB_NAME", "guard");
    let guard = scene
        .gitlab
        .job_since(10, "guard", "running", Duration::from_secs(60));
    let scene = Scene {
        machine: machine.env("CI_JOB_ID", guard.to_string()),
        ..scene
    };
    assert_eq!(scene.job(&job).code, Some(0));
    scene.gitlab.pipeline(11, "main", "running");
    scene.gitlab.job(11, "guard", "success");
    scene.gitlab.job(11, "smoke", "running");
    let machine = scene.machine.env("GUARD_TIMEOUT", "1");
    assert_eq!(Scene { machine, ..scene }.job(&job).code, Some(11));
}

/// Two pipelines whose jobs run beside each other: with one line for all jobs they are not in a circle.
#[test]
fn every_job() {
    let job = recipe("### Every job")["default"].clone();
    let gitlab = SimulatedGitlab::start();
    for id in [10, 11] {
        gitlab.pipeline(id, "main", "running");
    }
    // The first job of 10 was first; of the second jobs that of 11.
    let mut jobs = Vec::new();
    for (id, name, ago) in [
        (10, "unit", 60),
        (11, "unit", 50),
        (11, "lint", 40),
        (10, "lint", 30),
    ] {
        jobs.push((
            id,
            name,
            gitlab.job_since(id, name, "running", Duration::from_secs(ago)),
        ));
    }
    let scene = Scene::new("main");
    let code = |id: u64, name: &str, job_id: u64| {
        let machine = scene
            .machine
            .clone()
            .env("CI_API_V4_URL", gitlab.api())
            .env("PRIVATE_TOKEN", PRIVATE)
            .env("CI_PIPELINE_ID", id.to_string())
            .env("CI_JOB_NAME", name)
            .env("CI_JOB_ID", job_id.to_string())
            .env("GUARD_TIMEOUT", "1");
        let line = job["before_script"][0].as_str().unwrap();
        machine.run_program("sh", &["-ec", line]).code
    };

    for (id, name, job) in jobs {
        let expected = if id == 10 { 0 } else { 11 };
        assert_eq!(code(id, name, job), Some(expected), "{id} {name}");
    }
}

#[test]
fn only_if_nobody_else_is_there() {
    let job = recipe("### Only if nobody else is there")["nightly"].clone();
    let scene = Scene::new("main");
    let answer = scene.job(&job);
    assert!(answer.stdout.ends_with("deploy.sh \n"), "{}", answer.stdout);
    scene.other("main");
    let answer = scene.job(&job);
    assert_eq!(answer.code, Some(0));
    assert!(!answer.stdout.contains("deploy.sh"));
    let machine = scene.machine.env("PRIVATE_TOKEN", "MARKER");
    assert_eq!(Scene { machine, ..scene }.job(&job).code, Some(1));
}

#[test]
fn by_a_lock() {
    let job = recipe("## By a lock")["deploy"].clone();
    let remote = TestRemote::empty("main");
    let scene = Scene::new("main");
    // The repository is somewhere else here.
    let mut job = job;
    job["variables"]["GUARD_LOCK_URI"] = remote.uri().into();
    let machine = scene.machine.env("CI_PROJECT_PATH", "ops/web");
    let scene = Scene { machine, ..scene };

    let answer = scene.job(&job);

    assert_eq!(answer.code, Some(0), "{}", answer.stderr);
    assert_eq!(answer.stdout, "deploy.sh \n");
    assert!(remote.subjects()[1].ends_with(" claiming: ops%2Fweb+deploy"));
}

/// The examples of the page of 0.0.4.3, as they stand.
#[test]
fn the_examples_of_the_old_page() {
    for (ours, other, lines) in [
        (
            "12-x",
            "12-foo",
            vec![
                r#"PRIVATE_TOKEN="$GITLAB_API_TOKEN" gitlab-job-guard"#,
                "my-unguarded-deployment-task --to=production",
            ],
        ),
        (
            "v1.2",
            "v1.3",
            vec![
                r#"export PRIVATE_TOKEN="$GITLAB_API_TOKEN""#,
                r"gitlab-job-guard --guard-ref-regex='^v[0-9\.]+'  # Regex matches tags",
                "terraform plan  ...",
                "terraform apply ...",
            ],
        ),
    ] {
        let lines: Vec<String> = lines.into_iter().map(str::to_owned).collect();
        let scene = Scene::new(ours);
        let answer = scene.run(&lines);
        assert_eq!(answer.code, Some(0), "{} {}", answer.stdout, answer.stderr);
        let last = answer.stdout.lines().last().unwrap();
        assert!(
            last.ends_with("production") || last == "terraform apply ...",
            "{last}"
        );
        scene.other(other);
        let machine = scene.machine.env("GUARD_TIMEOUT", "1");
        assert_eq!(
            Scene { machine, ..scene }.run(&lines).code,
            Some(11),
            "{lines:?}"
        );
    }
}

/// C13: the expressions of that page, with the quotes that a shell needs.
#[test]
fn the_expressions_of_the_old_page() {
    for (args, ours, matching, other) in [
        ("-c='^master$'", "master", "master", "master-deployment"),
        ("-c='^(master|dev(elop)?)$'", "master", "develop", "devel"),
        (
            "-c='^(feature|release|hotfix)/'",
            "x",
            "release/1",
            "releases",
        ),
        (r"-c='^[0-9]\-'", "x", "7-fix", "77-fix"),
        (r"-c='^v?[\d.]+$'", "x", "v1.0.9", "version"),
        ("-c=^environment/", "x", "environment/dc1", "environments"),
        (
            "-c=^environment/dc1.+",
            "x",
            "environment/dc1-a",
            "environment/dc1",
        ),
        (
            r#"-c="$CI_BUILD_REF_NAME""#,
            "master",
            "feature/master-document",
            "main",
        ),
        (
            r#"-c="^$CI_BUILD_REF_NAME$""#,
            "master",
            "master",
            "master-deployment",
        ),
        ("-c='.+' -s='running|pending'", "x", "anything", ""),
    ] {
        for (ref_name, code) in [(matching, 7), (other, 0)] {
            let scene = Scene::new(ours);
            scene.other(ref_name);
            let line = format!(r#"PRIVATE_TOKEN="$GITLAB_API_TOKEN" gitlab-job-guard {args} -x"#);
            let answer = scene.run(&[line]);
            assert_eq!(
                answer.code,
                Some(code),
                "{args} {ref_name}: {}",
                answer.stdout
            );
        }
    }
    let prefix = r#"CI_BUILD_REF_PREFIX=$(echo "$CI_BUILD_REF_NAME" | sed -r 's@(.+/)(.+)@\1@')"#;
    let guard = r#"PRIVATE_TOKEN="$GITLAB_API_TOKEN" gitlab-job-guard -x -c="^$CI_BUILD_REF_PREFIX" -s='running|pending'"#;
    for (other, code) in [("feature/bar", 7), ("hotfix/bar", 0)] {
        let scene = Scene::new("feature/foo");
        scene.other(other);
        assert_eq!(
            scene.run(&[prefix.to_owned(), guard.to_owned()]).code,
            Some(code)
        );
    }
}

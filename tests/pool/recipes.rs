//! The recipes of the pages: what they tell a shell to do is done.

use std::path::Path;

use serde_json::Value;

use support::path_of;
use support::{Answer, Pool, TestRemote};

const FIRST_PAGE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md"));

const COMMAND_LINE: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/src/pool/docs/command-line.md"
));

/// The first block of code below a heading of a page.
fn block(page: &'static str, heading: &str) -> &'static str {
    let (_, below) = page.split_once(&format!("\n{heading}\n")).unwrap();
    let (_, block) = below.split_once("\n```").unwrap();
    let (_, code) = block.split_once('\n').unwrap();
    code.split_once("```").unwrap().0
}

fn recipe(name: &str) -> &'static str {
    block(COMMAND_LINE, &format!("### {name}"))
}

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

/// A machine of a CI system, on which `pool` is installed and the job's variables are set.
struct Machine {
    remote: TestRemote,
    pool: Pool,
}

impl Machine {
    fn new() -> Machine {
        let remote = TestRemote::with_pool("aws", &["env-1", "deploy"]);
        let pool = Pool::on(&remote, "aws").called("");
        let bin = Path::new(path_of("pool")).parent().unwrap();
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        let pool = pool.env("PATH", path);
        let script = "#!/bin/sh\necho \"deployed $POOL_LOCK_NAME $*\"\n";
        std::fs::write(pool.home().join("deploy.sh"), script).unwrap();
        let machine = Machine { remote, pool };
        machine.shell("chmod +x deploy.sh").text();
        machine
    }

    fn with(mut self, env: &[(&str, &str)]) -> Machine {
        for (name, value) in env {
            self.pool = self.pool.env(name, *value);
        }
        self
    }

    /// Runs a script as CI systems do: in the job's folder, and to the first line that fails.
    fn shell(&self, script: &str) -> Answer {
        let script = format!("cd \"$HOME\"\n{script}");
        self.pool.run_program("sh", &["-ec", &script])
    }

    /// Asserts that a claim was made under this name and given back.
    #[track_caller]
    fn assert_held_by(&self, holder: &str, lock: &str) {
        let subjects = self.remote.subjects();
        let expected = [
            format!("{holder} unclaiming: {lock}"),
            format!("{holder} claiming: {lock}"),
        ];
        assert_eq!(subjects[..2], expected);
        assert_eq!(self.remote.list("aws/claimed"), Vec::<String>::new());
    }
}

#[test]
fn gitlab_ci() {
    let machine = Machine::new().with(&[
        ("CI_PROJECT_PATH", "ops/web"),
        ("CI_JOB_NAME", "deploy"),
        ("CI_JOB_ID", "4711"),
    ]);
    let script = yaml(recipe("GitLab CI"))["deploy"]["script"].clone();
    let lines = script.as_array().unwrap().iter();
    let lines: Vec<&str> = lines.map(|line| line.as_str().unwrap()).collect();

    let answer = machine.shell(&lines.join("\n"));

    assert_eq!(answer.text(), "deployed env-1 \n");
    machine.assert_held_by("GitLab ops/web deploy #4711", "env-1");
}

#[test]
fn github_actions() {
    let machine = Machine::new().with(&[
        ("GITHUB_REPOSITORY", "ops/web"),
        ("GITHUB_WORKFLOW", "Deploy"),
        ("GITHUB_RUN_ID", "99"),
        ("GITHUB_ENV", "github-env"),
    ]);
    let job = yaml(recipe("GitHub Actions"))["jobs"]["deploy"].clone();
    let mut printed = String::new();
    for step in job["steps"].as_array().unwrap() {
        // Each step finds in its environment what the ones before it have put into that file.
        let run = step["run"].as_str().unwrap();
        let script = format!("touch github-env; set -a; . ./github-env; set +a\n{run}");
        printed += machine.shell(&script).text();
    }

    let lock = machine.remote.subjects()[0]
        .rsplit(": ")
        .next()
        .unwrap()
        .to_owned();
    assert_eq!(printed, format!("deployed  {lock}\nreleased {lock}\n"));
    machine.assert_held_by("GitHub ops/web Deploy #99", &lock);
}

#[test]
fn a_job_of_github_that_gets_no_lock_ends_there() {
    let machine = Machine::new().with(&[("POOL_NAME", "absent"), ("GITHUB_ENV", "github-env")]);
    let job = yaml(recipe("GitHub Actions"))["jobs"]["deploy"].clone();

    let answer = machine.shell(job["steps"][0]["run"].as_str().unwrap());

    assert_eq!(answer.code, Some(2), "{}", answer.stderr);
    assert!(!machine.pool.home().join("github-env").exists());
}

#[test]
fn jenkins() {
    let machine = Machine::new().with(&[("JOB_NAME", "ops/web"), ("BUILD_NUMBER", "12")]);
    let metadata = b"size: big\n";
    machine
        .pool
        .run_with(&["update", "env-1", "--metadata", "-"], metadata)
        .text();
    let recipe = recipe("Jenkins");
    let (_, rest) = recipe.split_once("sh '").unwrap();

    let answer = machine.shell(rest.split_once('\'').unwrap().0);

    assert_eq!(answer.text(), "deployed env-1 \n");
    machine.assert_held_by("Jenkins ops/web #12", "env-1");
}

#[test]
fn makefile() {
    let machine = Machine::new().with(&[("POOL_HOLDER", "anna")]);
    std::fs::write(machine.pool.home().join("Makefile"), recipe("Makefile")).unwrap();

    let answer = machine.shell("make -s deploy");

    assert_eq!(answer.text(), "deployed deploy \n");
    machine.assert_held_by("anna", "deploy");
}

#[test]
fn an_afternoon() {
    let machine = Machine::new().with(&[("POOL_HOLDER", "anna")]);

    let answer = machine.shell(recipe("An environment for an afternoon"));

    assert_eq!(answer.text(), "env-1\nreleased env-1\n");
    machine.assert_held_by("anna", "env-1");
}

#[test]
fn the_list_of_pools() {
    let remote = TestRemote::empty("main");
    let pool = Pool::bare().env("POOL_URI", remote.uri());
    let file = pool.home().join("pools.yml");
    std::fs::write(&file, recipe("A list of pools")).unwrap();

    pool.run(&["init", "--file", file.to_str().unwrap()]).text();

    assert_eq!(remote.list("aws/unclaimed"), ["env-1", "env-2"]);
    assert_eq!(remote.list("team/db/unclaimed"), ["db-1"]);
}

#[test]
fn the_first_page() {
    let machine = Machine::new().with(&[("POOL_HOLDER", "anna")]);
    let lines = block(FIRST_PAGE, "## In a shell").lines();
    let lines: Vec<&str> = lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    // The second one says where the repository is, which is somewhere else here.
    let [alone, _, init, among_all, status] = lines[..] else {
        panic!("{lines:?}");
    };
    let script = format!(
        "env -u POOL_URI -u POOL_NAME -u POOL_BRANCH {alone}\n{init}\n{among_all}\n{status}"
    );

    let answer = machine.shell(&script);

    let text = answer.text();
    let deployed: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("deployed"))
        .collect();
    assert_eq!(deployed, ["deployed deploy ", "deployed env-1 "]);
    machine.assert_held_by("anna", "env-1");
}

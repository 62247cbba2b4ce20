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

    /// Runs a script as this shell does, with this strictness.
    fn shell_as(&self, shell: &[&str], script: &str) -> Answer {
        let script = format!("cd \"$HOME\"\n{script}");
        let args = [&shell[1..], &["-c", &script]].concat();
        self.pool.run_program(shell[0], &args)
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

/// The shells, and how strict they are: that of GitHub, of GitLab, of a step with `shell: sh`, and people's own.
const SHELLS: [&[&str]; 8] = [
    &["sh"],
    &["sh", "-e"],
    &["bash"],
    &["bash", "-e"],
    &["bash", "-e", "-o", "pipefail"],
    &["dash"],
    &["dash", "-e"],
    &["busybox", "sh"],
];

fn is_here(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap();
    std::env::split_paths(&path).any(|folder| folder.join(program).exists())
}

/// The scripts of the recipes: each of them is one process, or several that a job runs one after the other.
fn scripts() -> Vec<(&'static str, Vec<String>)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let gitlab = yaml(recipe("GitLab CI"))["deploy"]["script"].clone();
    let gitlab: Vec<String> = gitlab.as_array().unwrap().iter().map(text).collect();
    let github = yaml(recipe("GitHub Actions"))["jobs"]["deploy"]["steps"].clone();
    let github = github.as_array().unwrap().iter();
    let github = github.map(|step| {
        let run = text(&step["run"]);
        format!("touch github-env; set -a; . ./github-env; set +a\n{run}")
    });
    let (_, jenkins) = recipe("Jenkins").split_once("sh '").unwrap();
    vec![
        ("GitLab", vec![gitlab.join("\n")]),
        ("GitHub", github.collect()),
        (
            "Jenkins",
            vec![jenkins.split_once('\'').unwrap().0.to_owned()],
        ),
        ("a script", vec![recipe("A shell script").to_owned()]),
        (
            "make",
            vec![format!(
                "cat >Makefile <<'END'\n{}END\nmake -s deploy",
                recipe("Makefile")
            )],
        ),
    ]
}

/// The mistake that the recipes have to avoid shows: else nothing would be said by their passing.
#[test]
fn nothing_is_deployed_without_a_lock_however_strict_the_shell() {
    for shell in SHELLS.iter().filter(|shell| is_here(shell[0])) {
        for (name, scripts) in scripts() {
            let machine = Machine::new().with(&[
                ("POOL_NAME", "absent"),
                ("GITHUB_ENV", "github-env"),
                ("CI", "true"),
            ]);
            let deploy = "#!/bin/sh\ntouch \"$HOME/deployed\"\n";
            std::fs::write(machine.pool.home().join("deploy.sh"), deploy).unwrap();

            let mut codes = Vec::new();
            for script in &scripts {
                // Whatever a CI system does with the steps after one that fails.
                codes.push(machine.shell_as(shell, script).code);
            }

            let home = machine.pool.home();
            assert!(!home.join("deployed").exists(), "{name} in {shell:?}");
            assert_ne!(codes[0], Some(0), "{name} in {shell:?}");
            let handed_on = std::fs::read_to_string(home.join("github-env"));
            assert_eq!(handed_on.unwrap_or_default(), "", "{name} in {shell:?}");
        }
        let careless = "echo \"LOCK=$(pool acquire)\"; touch \"$HOME/deployed\"";
        let machine = Machine::new().with(&[("POOL_NAME", "absent")]);
        machine.shell_as(shell, careless).text();
        assert!(machine.pool.home().join("deployed").exists());
    }
}

#[test]
fn a_shell_script() {
    for shell in SHELLS.iter().filter(|shell| is_here(shell[0])) {
        let machine = Machine::new().with(&[("POOL_HOLDER", "anna")]);

        let answer = machine.shell_as(shell, recipe("A shell script"));

        let text = answer.text();
        assert!(text.starts_with("deployed  "), "{text}");
        assert_eq!(machine.remote.list("aws/claimed"), [""; 0], "{shell:?}");
        assert_eq!(machine.remote.count(), 3);
    }
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
        "env -u POOL_URI -u POOL_NAME -u POOL_BRANCH -u POOL_RETRY_DELAY {alone}\n{init}\n{among_all}\n{status}"
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

const FENCING: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/src/pool/docs/fencing.md"
));

/// The blocks of code below a heading of the page on fencing.
fn fencing(heading: &str) -> Vec<&'static str> {
    let (_, below) = FENCING.split_once(&format!("\n## {heading}\n")).unwrap();
    let section = below.split("\n## ").next().unwrap();
    let blocks = section.split("\n```").skip(1).step_by(2);
    blocks
        .map(|block| block.split_once('\n').unwrap().1)
        .collect()
}

impl Machine {
    /// Puts a script in place of a program.
    fn program(&self, name: &str, script: &str) {
        std::fs::write(
            self.pool.home().join(name),
            format!("#!/bin/sh\n{script}\n"),
        )
        .unwrap();
        self.shell(&format!("chmod +x {name}")).text();
    }
}

#[test]
fn a_deploy_script_switches_over_only_while_its_claim_stands_and_no_older_one_does() {
    let machine = Machine::new();
    let blocks = fencing("A deploy script");
    machine.program("build.sh", "echo built");
    machine.program("switch-over.sh", blocks[1]);
    machine.program("restart.sh", "echo restarted");
    machine.program("deploy-all.sh", &format!("set -e\n{}", blocks[0]));

    let deployed = machine.shell("pool run deploy -- ./deploy-all.sh");
    assert_eq!(deployed.text(), "built\nrestarted\n");
    let older = machine.shell("./switch-over.sh 7");
    assert_eq!(older.code, Some(1));
    assert!(
        older.stderr.contains("claim 7 is older than"),
        "{}",
        older.stderr
    );
    let lost = machine
        .shell("pool run deploy -- sh -c 'pool unlock deploy --reason x >&2; ./deploy-all.sh'");
    assert_eq!(lost.stdout, "built\n");
    assert!(lost.stderr.contains("does not stand"), "{}", lost.stderr);
}

#[test]
fn terraform_applies_a_plan_only_while_the_claim_stands() {
    let machine = Machine::new();
    let blocks = fencing("Terraform");
    machine.program("terraform", "echo terraform \"$@\"");
    machine.program(
        "apply.sh",
        &format!("set -e; PATH=$PWD:$PATH\n{}", blocks[0]),
    );

    let applied = machine.shell("pool run deploy -- ./apply.sh");
    let number = machine.remote.number(&machine.remote.back(1));
    assert_eq!(
        applied.text(),
        format!("terraform plan -out=plan -var claim_number={number}\nterraform apply plan\n")
    );

    machine.program("terraform", "case $1 in output) echo 5;; esac");
    let compare = |number: u64| {
        let script = format!("PATH=$PWD:$PATH; POOL_CLAIM_NUMBER={number}\n{}", blocks[2]);
        machine.shell(&script).code
    };
    assert_eq!(
        [compare(4), compare(5), compare(6)],
        [Some(1), Some(0), Some(0)]
    );
}

#[test]
fn a_database_takes_no_change_of_an_older_claim() {
    let machine = Machine::new();
    let [table, change] = fencing("A database")[..] else {
        panic!("two blocks of SQL")
    };
    let changed = |number: u64| {
        let change = change.replace(":number", &number.to_string());
        let script = format!("sqlite3 orders.db <<'SQL'\n{table}{change}\nSQL");
        machine.shell(&script).text().trim().to_owned()
    };

    assert_eq!(changed(7), "7");
    assert_eq!(changed(7), "7");
    assert_eq!(changed(9), "9");
    assert_eq!(changed(8), "");
    assert_eq!(changed(9), "9");
}

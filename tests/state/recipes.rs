//! The recipes of the page, as they stand there.

use support::path_of;

use crate::project::{Project, answer};

const PAGE: &str = include_str!("../../src/state/README.md");

/// The blocks of code of this language below a heading.
fn blocks(heading: &str, language: &str) -> Vec<String> {
    let section = PAGE.split(&format!("\n{heading}\n")).nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let section = match heading.starts_with("### ") {
        true => section.split("\n### ").next().unwrap(),
        false => section,
    };
    let start = format!("```{language}\n");
    let parts = section.split(&start).skip(1);
    parts
        .map(|part| part.split("```").next().unwrap().to_owned())
        .collect()
}

/// Runs a script in a project, with the program first on the path.
fn run(project: &Project, script: &str, env: &[(&str, &str)]) -> support::Answer {
    let folder = std::path::Path::new(path_of("cicdstatemgr"))
        .parent()
        .unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let mut command = project.command("sh", &["-eu", "-c", script]);
    answer(command.env("PATH", path).envs(env.iter().copied()))
}

#[test]
fn the_start_of_the_page_works_as_it_stands() {
    let bare = Project::simple()
        .without("CICDSTATEMGR_CONFIG_PATH")
        .without("CICDSTATEMGR_SECRETS_PATH")
        .without("CICDSTATEMGR_INIT_APP_CONFIG_PATH")
        .without("CICDSTATEMGR_CONTEXT_DATA_ID");

    let got = run(&bare, &blocks("## Start", "sh")[0], &[]);

    assert_eq!(got.stdout, "run-1\nregistry/web:1.2\n", "{}", got.stderr);
    assert_eq!(got.code, Some(0));
}

/// The scripts of the steps of a recipe in YAML, in their order.
fn scripts(heading: &str) -> Vec<String> {
    let block = &blocks(heading, "yaml")[0];
    let mut all: Vec<String> = Vec::new();
    for line in block.lines() {
        match line.strip_prefix("  - ") {
            Some(command) => all.push(command.to_owned()),
            None if line.starts_with("    ") && !line.contains("#!") => {
                all.push(line.trim().to_owned());
            }
            None => {}
        }
    }
    assert!(all.len() > 2, "{all:?}");
    all
}

#[test]
fn the_steps_for_tekton_pass_values_on() {
    let project = Project::simple();
    std::fs::create_dir(project.path("results")).unwrap();
    let script = scripts("### Tekton").join("\n");

    let env = [("RUN", "3f2a-1"), ("RESULTS", "results")];
    let got = run(&project, &script, &env);

    assert_eq!(got.code, Some(0), "{}", got.stderr);
    assert_eq!(project.read("results/channel"), "#builds");
    let project = project.env("CICDSTATEMGR_CONTEXT_DATA_ID", "3f2a-1");
    assert_eq!(project.get("state.build.result"), "ok");
    assert_eq!(project.get("state.build.3f2a-1"), "started");
}

#[test]
fn the_jobs_for_gitlab_pass_values_on_and_wait() {
    let project = Project::simple();
    project.write("deploy.sh", "#!/bin/sh\necho deployed $1\n");
    let set = std::process::Command::new("chmod")
        .arg("+x")
        .arg(project.path("deploy.sh"))
        .status();
    assert!(set.unwrap().success());
    let lines = scripts("### GitLab");
    let env = [("CI_PIPELINE_ID", "4711")];
    let (build, deploy) = lines.split_at(2);

    let built = run(&project, &build.join("\n"), &env);
    let approve = "cicdstatemgr --id 4711 --set state.approved=yes\n".to_owned();
    let deployed = run(&project, &(approve + &deploy.join("\n")), &env);

    assert_eq!(built.code, Some(0), "{}", built.stderr);
    assert!(
        project.read("state.env").contains("version=\"1.4711\"\n"),
        "{}",
        project.read("state.env")
    );
    assert_eq!(
        deployed.stdout, "yes\ndeployed 1.4711\n",
        "{}",
        deployed.stderr
    );
}

#[test]
fn of_many_jobs_the_first_one_migrates() {
    let project = Project::simple();
    project.init();
    project.write("migrate.sh", "echo migrated\n");
    let script = blocks("### One of many", "sh")[0].replace("./migrate.sh", "sh migrate.sh");

    let ran: String = ["1", "2", "3"]
        .map(|job| run(&project, &script, &[("CI_JOB_ID", job)]).stdout)
        .concat();

    assert_eq!(ran, "migrated\n");
}

//! A program of the user's that makes machines: the example of the page, run as it stands there.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::Value;
use support::wait_until;

use crate::machine::{RUNNER, World};

/// The example of the page, between its fences.
fn example() -> String {
    let page = include_str!("../../src/paas/README.md");
    let after = page.split("```sh\n#!/bin/sh\n").nth(1).unwrap();
    format!("#!/bin/sh\n{}", after.split("```").next().unwrap())
}

/// A world whose runner has this provider; gives the folder where the example keeps its machines.
fn with_provider(script: &str, more: &str) -> (World, PathBuf) {
    let mut world = World::new();
    let provider = world.home().join("provider");
    std::fs::write(&provider, script).unwrap();
    std::fs::set_permissions(&provider, std::fs::Permissions::from_mode(0o755)).unwrap();
    let machines = world.home().join("machines");
    std::fs::create_dir(&machines).unwrap();
    world.set("MACHINES", machines.to_str().unwrap());
    let runner = format!(
        "[[runners]]\nname = 'one'\nurl = '{}'\ntoken = '{RUNNER}'\nexecutor = 'custom-docker'\nprovider = '{}'\n{more}",
        world.gitlab.url(),
        provider.display()
    );
    world.configure("concurrent = 8\n", &[&runner]);
    (world, machines)
}

fn names(machines: &PathBuf) -> Vec<String> {
    let all = std::fs::read_dir(machines).unwrap();
    all.map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// The example of the page makes a machine, starts it and takes it away.
#[test]
fn the_example_of_the_page_makes_starts_and_deletes_machines() {
    let script = example();
    assert!(script.lines().count() <= 40, "{script}");
    let (world, machines) = with_provider(&script, "");
    let job = world.gitlab.add_job(RUNNER);
    let dispatcher = world.start();
    dispatcher.wait_for("launched job");
    let found = names(&machines);
    assert_eq!(found.len(), 1);
    let machine = machines.join(&found[0]);
    let request: Value =
        serde_json::from_str(&std::fs::read_to_string(machine.join("launch.json")).unwrap())
            .unwrap();
    assert_eq!(
        request["files"]["job.json"],
        world.gitlab.job(job).payload.to_string()
    );
    assert!(
        request["files"]["Dockerfile"]
            .as_str()
            .unwrap()
            .starts_with("FROM ")
    );
    assert_eq!(request["again"], false);
    // Killed and started anew, it is the same machine.
    dispatcher.kill();
    let dispatcher = world.start();
    wait_until("it is watched", || {
        world.gitlab.served.count("progress") > 5
    });
    world.gitlab.end(job, "success");
    wait_until("it is gone", || names(&machines).is_empty());
    dispatcher.wait_for("decommissioned");
    dispatcher.end();
    let calls = std::fs::read_to_string(world.home().join("calls")).unwrap();
    for (call, times) in [("create", 1), ("launch", 1), ("delete", 1)] {
        assert_eq!(
            calls.lines().filter(|line| *line == call).count(),
            times,
            "{calls}"
        );
    }
}

/// What it says on its error stream is told, and its exit code counts.
#[test]
fn what_a_provider_says_of_a_failure_is_told_to_the_jobs_author() {
    let script = "#!/bin/sh\ncat >/dev/null\n[ \"$1\" = list ] && exit 0\necho \"call $1\" >>\"$MACHINES/calls\"\n\
                  echo 'no machines on sundays' >&2\nexit CODE\n";
    for (code, calls) in [("1", 1), ("75", 3)] {
        let (world, machines) = with_provider(&script.replace("CODE", code), "");
        let job = world.gitlab.add_job(RUNNER);
        let dispatcher = world.start();

        world.until_job(job, "failed");

        let text = world.gitlab.job(job).text();
        assert!(text.contains("no machines on sundays"), "{text}");
        let called = std::fs::read_to_string(machines.join("calls")).unwrap();
        assert_eq!(called.lines().count(), calls, "{called}");
        dispatcher.end();
    }
}

/// One that takes too long is killed, with all that it has started, and nobody waits for it.
#[test]
fn a_provider_that_takes_too_long_is_killed() {
    let script = "#!/bin/sh\ncat >/dev/null\n[ \"$1\" = list ] && exit 0\nsleep 1000 & echo $! >\"$MACHINES/sleeper\"\nwait\n";
    let (world, machines) = with_provider(script, "provider_timeout = 0.3\n");
    let job = world.gitlab.add_job(RUNNER);
    let dispatcher = world.start();

    world.until_job(job, "failed");

    let sleeper = std::fs::read_to_string(machines.join("sleeper")).unwrap();
    let process = PathBuf::from(format!("/proc/{}/stat", sleeper.trim()));
    wait_until("what it started is gone", || {
        let stat = std::fs::read_to_string(&process).unwrap_or_default();
        stat.is_empty() || stat.contains(") Z ")
    });
    dispatcher.end();
}

/// What lists its machines has those taken away that no job claims.
#[test]
fn machines_that_a_provider_lists_and_no_job_claims_are_taken_away() {
    let (world, machines) = with_provider(&example(), "");
    let job = world.gitlab.add_job(RUNNER);
    let dispatcher = world.start();
    dispatcher.wait_for("launched job");
    let own = names(&machines).remove(0);
    let orphan = own.replace(&job.to_string(), "999");
    std::fs::create_dir(machines.join(&orphan)).unwrap();
    std::fs::create_dir(machines.join("other")).unwrap();
    dispatcher.end();

    let dispatcher = world.start();

    wait_until("the orphan is gone", || !names(&machines).contains(&orphan));
    dispatcher.end();
    let left = names(&machines);
    assert!(
        left.contains(&own) && left.contains(&"other".to_owned()),
        "{left:?}"
    );
}

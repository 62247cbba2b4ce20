//! The Docker of this machine: a fake one, that writes down how it was called.

use std::os::unix::fs::PermissionsExt;

use support::wait_until;

use crate::machine::{RUNNER, SHORT, World};

/// Puts a fake `docker` in front of the path. It keeps what it was called with, and what was to be built; files beside it say
/// what it is to do.
fn with_docker(world: &mut World) {
    let script = r#"#!/bin/sh
here=$(dirname "$0")
echo "$DOCKER_HOST $*" >>"$here/calls"
case $1 in
  build) cp -r "$4" "$here/context-$3"; stat -c %a "$4" >>"$here/modes" ;;
  run) [ ! -e "$here/slow" ] || { while [ -e "$here/slow" ]; do sleep 0.05; done; echo done >>"$here/ends"; } ;;
  ps) [ ! -e "$here/slow" ] || echo container1 ;;
esac
[ ! -e "$here/fail-$1" ] || { echo "cannot $1: no luck" >&2; exit 3; }
"#;
    let bin = world.home().join("bin");
    std::fs::create_dir(&bin).unwrap();
    std::fs::write(bin.join("docker"), script).unwrap();
    std::fs::set_permissions(bin.join("docker"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    world.set("PATH", &path);
    world.set("DOCKER_HOST", "unix:///run/fake.sock");
    world.configure("concurrent = 8\n", &[&runner(world)]);
}

fn runner(world: &World) -> String {
    format!(
        "[[runners]]\nname = 'one'\nurl = '{}'\ntoken = '{RUNNER}'\nexecutor = 'local-docker'\nlog_level = 'x'\n",
        world.gitlab.url()
    )
}

fn calls(world: &World) -> Vec<String> {
    let text = std::fs::read_to_string(world.home().join("bin/calls")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn touch(world: &World, name: &str) {
    std::fs::write(world.home().join("bin").join(name), "").unwrap();
}

fn remove(world: &World, name: &str) {
    std::fs::remove_file(world.home().join("bin").join(name)).unwrap();
}

/// L1, G4: how `docker` is called, with the socket of the environment.
#[test]
fn a_local_job_is_built_run_and_its_image_removed() {
    let mut world = World::new();
    with_docker(&mut world);
    let job = world.gitlab.add_job(RUNNER);
    let dispatcher = world.start();
    let tag = format!("hpd-job-{}-{job}", SHORT.to_lowercase());
    wait_until("it was run", || calls(&world).len() >= 2);
    dispatcher.wait_for("launched job");
    world.gitlab.end(job, "success");
    wait_until("it was removed", || calls(&world).len() == 3);
    dispatcher.wait_for("decommissioned");
    dispatcher.end();

    let calls = calls(&world);
    let host = "unix:///run/fake.sock";
    assert!(
        calls[0].starts_with(&format!("{host} build -t {tag} /")),
        "{calls:?}"
    );
    assert_eq!(
        calls[1],
        format!("{host} run --rm -t -v /run/fake.sock:/var/run/docker.sock {tag}")
    );
    assert_eq!(calls[2], format!("{host} rmi {tag}"));
    let context = world.home().join("bin").join(format!("context-{tag}"));
    let read = |file: &str| std::fs::read_to_string(context.join(file)).unwrap();
    assert_eq!(read("job.json"), world.gitlab.job(job).payload.to_string());
    assert!(read("Dockerfile").starts_with("FROM "));
    assert!(read("runner.toml").contains("log_level = \"x\""));
    let modes = std::fs::read_to_string(world.home().join("bin/modes")).unwrap();
    assert_eq!(modes, "700\n");
    assert_eq!(
        std::fs::read_dir(world.home().join("state.json.tmp"))
            .unwrap()
            .count(),
        0
    );
    assert_eq!(world.state()["launched"], serde_json::json!([]));
}

/// L2: a build or a run that fails fails the job.
#[test]
fn a_build_or_a_run_that_fails_fails_the_job_and_its_author_reads_why() {
    for (step, said) in [
        ("build", "cannot build: no luck"),
        ("run", "transport code=3"),
    ] {
        let mut world = World::new();
        with_docker(&mut world);
        touch(&world, &format!("fail-{step}"));
        let job = world.gitlab.add_job(RUNNER);

        let dispatcher = world.start();

        world.until_job(job, "failed");
        wait_until("the image is removed", || {
            calls(&world).iter().any(|call| call.contains(" rmi "))
        });
        let text = world.gitlab.job(job).text();
        assert!(text.contains(said), "{text}");
        dispatcher.end();
    }
}

/// L3: a long job goes on while the dispatcher does not run, and is never run twice.
#[test]
fn a_long_job_goes_on_while_the_dispatcher_is_started_anew_and_is_run_once() {
    for is_killed in [false, true] {
        let mut world = World::new();
        with_docker(&mut world);
        touch(&world, "slow");
        let job = world.gitlab.add_job(RUNNER);
        let dispatcher = world.start();
        dispatcher.wait_for("launched job");
        match is_killed {
            true => drop(dispatcher.kill()),
            false => {
                dispatcher.end();
                assert_eq!(world.state()["launched"][0]["job_id"], job);
            }
        }
        let dispatcher = world.start();
        wait_until("it is watched", || {
            world.gitlab.served.count("progress") > 5
        });
        remove(&world, "slow");
        wait_until("it ended by itself", || {
            world.home().join("bin/ends").exists()
        });
        world.gitlab.end(job, "success");
        wait_until("the image is removed", || {
            calls(&world).iter().any(|call| call.contains(" rmi "))
        });
        dispatcher.end();

        let runs = calls(&world)
            .iter()
            .filter(|call| call.contains(" run "))
            .count();
        assert_eq!(runs, 1);
    }
}

/// An image that is in use is removed when it is not any more; and of a job that is over its container goes in the end.
#[test]
fn an_image_in_use_is_tried_again_and_its_container_goes_in_the_end() {
    let mut world = World::new();
    with_docker(&mut world);
    touch(&world, "slow");
    touch(&world, "fail-rmi");
    let job = world.gitlab.add_job(RUNNER);
    let dispatcher = world.start();
    dispatcher.wait_for("launched job");
    world.gitlab.end(job, "canceled");

    wait_until("its container is removed", || {
        calls(&world)
            .iter()
            .any(|call| call.ends_with(" rm --force container1"))
    });

    remove(&world, "slow");
    remove(&world, "fail-rmi");
    dispatcher.wait_for("decommissioned");
    dispatcher.end();
}

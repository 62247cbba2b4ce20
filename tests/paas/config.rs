//! What is said of the configuration, and how each setting counts.

use support::wait_until;

use crate::machine::{RUNNER, World};

/// G3: what cannot be used is named, and nobody is asked.
#[test]
fn a_configuration_that_cannot_be_used_is_told_of() {
    let world = World::new();
    let good = world.runner(RUNNER, "");
    for (runner, said) in [
        (
            "[[runners]]\nurl = 'http://h'\n",
            "runner 1: `token` is missing",
        ),
        (
            &good.replace("executor = 'clever-docker'\n", ""),
            "runner 1: `executor` is missing",
        ),
        (
            &good.replace("clever-docker", "shell"),
            "`executor` is not one of",
        ),
        (
            &good.replace("cc_orga_id", "cc_other"),
            "`cc_orga_id` is missing",
        ),
        (
            &good.replace("cc_token", "cc_other"),
            "`cc_token` is missing",
        ),
        (&good.replace("'one'", "'one"), "it is not TOML: line 4"),
        (
            &(good.clone() + &good),
            "runner 2: `token` and `url` are those of another runner",
        ),
        (
            &good
                .replace("clever-docker", "local-docker")
                .replace("name =", "host = 'tcp://h:1'\nname ="),
            "`host` (or DOCKER_HOST) does not begin with unix:///",
        ),
    ] {
        world.configure("", &[runner]);

        let answer = world.run(&["--poll-cycles", "1"]);

        assert_eq!(answer.code, Some(1), "{}", answer.stderr);
        assert!(answer.stderr.contains(said), "{said}: {}", answer.stderr);
        assert!(!answer.stderr.contains("MARKER"), "{}", answer.stderr);
    }
    assert_eq!(world.gitlab.served.count("request"), 0);
}

/// G5: without a state file nothing begins, and with odd keys it does.
#[test]
fn what_lacks_is_told_of_and_what_is_odd_is_no_matter() {
    let world = World::new();
    std::fs::write(world.config(), world.runner(RUNNER, "")).unwrap();
    let answer = world.run(&["--poll-cycles", "1"]);
    assert_eq!(answer.code, Some(1));
    assert!(
        answer.stderr.contains("`state_file` is missing"),
        "{}",
        answer.stderr
    );

    let odd = "log_level = 'debug'\nconcurrency = 3\n[session_server]\nlisten_address = 'x'\n\
               [quota_computation]\nreference_jobs_count = 50\n";
    world.configure(odd, &[&world.runner(RUNNER, "mixed = [1, 'a', [true]]\n")]);
    let answer = world.run(&["--poll-cycles", "1"]);
    assert_eq!(answer.code, Some(0), "{}", answer.stderr);
    assert!(
        answer.stderr.contains("the key is `concurrent`"),
        "{}",
        answer.stderr
    );
    assert!(
        answer.stderr.contains("`quota_computation` has no effect"),
        "{}",
        answer.stderr
    );
}

/// G1: pauses are those of the configuration where the command line says nothing.
#[test]
fn intervals_of_the_configuration_count_where_the_command_line_says_nothing() {
    let world = World::new();
    let global = "concurrent = 8\ncheck_interval = 0.02\njob_progress_poll_interval = 0.02\n";
    world.configure(global, &[&world.runner(RUNNER, "")]);
    let job = world.gitlab.add_job(RUNNER);
    let config = world.config();
    let mut command = world.command("heptapod-paas-runner", &[config.to_str().unwrap()]);

    // With 3 s and 30 s, as it is else, this would take minutes.
    let dispatcher = crate::machine::Dispatcher::start(&mut command);

    world.until_pushed(job);
    wait_until("it asks often", || {
        world.gitlab.served.count("request") > 25 && world.gitlab.served.count("progress") > 25
    });
    dispatcher.end();
}

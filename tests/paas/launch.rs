//! How a job gets a machine: calls, push, failures.

use std::path::Path;

use serde_json::{Value, json};
use support::git::git;
use support::server::clever::{App, TOKEN};
use support::server::coordinator::{Coordinator, Job};
use support::server::served::Fault;
use support::wait_until;

use crate::machine::{RUNNER, SHORT, World};

/// Starts a dispatcher and waits until the job has what runs it; gives its app.
fn launched(world: &World, job: u64) -> App {
    let dispatcher = world.start();
    world.until_pushed(job);
    dispatcher.wait_for("launched job");
    dispatcher.end();
    world.clever.app_of(job)
}

/// Starts a dispatcher and waits until the job has failed; gives it, and the log.
fn failed(world: &World, job: u64) -> (Job, String) {
    let dispatcher = world.start();
    world.until_job(job, "failed");
    world.until_no_app();
    let log = dispatcher.end();
    (world.gitlab.job(job), log)
}

/// C1, C5: what is called, in what order, and with what.
#[test]
fn a_machine_is_made_by_these_calls_in_this_order() {
    let world = World::new();
    let more = "[runners.cc_extra_env]\nCC_ENABLE_HEPTAPOD_RUNNER = 'true'\n";
    world.configure("", &[&world.runner(RUNNER, more)]);
    let job = world.gitlab.add_job(RUNNER);

    let app = launched(&world, job);

    let names: Vec<String> = world
        .clever
        .served
        .calls()
        .iter()
        .map(|call| call.name.clone())
        .collect();
    // The sweep looks for what is left beside them.
    let names: Vec<&str> = names
        .iter()
        .map(String::as_str)
        .filter(|name| *name != "list-apps")
        .collect();
    assert_eq!(
        names,
        ["instances", "flavors", "create-app", "set-env", "find-app"]
    );
    let of = |name: &str| world.clever.served.calls_of(name).remove(0);
    assert_eq!(
        of("flavors").query,
        [("context".to_owned(), "heptapod-runner".to_owned())]
    );
    for name in ["instances", "flavors"] {
        assert_eq!(of(name).header("authorization"), "");
    }
    for name in ["create-app", "set-env"] {
        assert_eq!(of(name).header("authorization"), format!("token {TOKEN}"));
        assert_eq!(of(name).header("content-type"), "application/json");
    }
    assert_eq!(
        of("create-app").json(),
        json!({
            "zone": "par", "instanceLifetime": "TASK", "instanceType": "docker", "deploy": "git",
            "instanceVariant": "70d676a0-a775-4dc9-a43d-3121036e8515", "maxInstances": 1, "minInstances": 1,
            "instanceVersion": "20230101", "minFlavor": "heptapod-runner-M", "maxFlavor": "heptapod-runner-M",
            "name": app.name,
        })
    );
    assert!(
        app.name.starts_with(&format!("hpd-job-{SHORT}-{job}-")),
        "{}",
        app.name
    );
    assert_eq!(
        app.env,
        json!({"CC_MOUNT_DOCKER_SOCKET": "true", "CC_ENABLE_HEPTAPOD_RUNNER": "true"})
    );
}

/// C6, C7, C8: what is pushed, by whom, whatever Git's settings say.
#[test]
fn one_commit_with_three_files_is_pushed_whatever_the_settings_of_git_say() {
    let mut world = World::new();
    let hostile = "[init]\ndefaultBranch = main\n[user]\nname = Evil\n[http]\nproxy = http://127.0.0.1:1\n\
                   [url \"http://127.0.0.1:1/\"]\ninsteadOf = https://\n[commit]\ngpgSign = true\n";
    std::fs::write(world.home().join(".gitconfig"), hostile).unwrap();
    let global = world.home().join(".gitconfig");
    world.set("GIT_CONFIG_SYSTEM", global.to_str().unwrap());
    world.set("GIT_CONFIG_GLOBAL", global.to_str().unwrap());
    world.set("GIT_DIR", "/nonexistent");
    // There is no `git`, and none is needed.
    world.set("PATH", "/nonexistent");
    let job = world.gitlab.add_job(RUNNER);

    let app = launched(&world, job);

    let repository = world.clever.repository(&app.id);
    let of = |args: &[&str]| git(&repository, args);
    assert_eq!(of(&["rev-list", "--count", "--all"]), "1");
    assert_eq!(
        of(&["for-each-ref", "--format=%(refname)"]),
        "refs/heads/master"
    );
    assert_eq!(
        of(&["log", "-1", "--format=%an|%ae|%cn|%ce|%s", "master"]),
        "Heptapod Paas Runner|paasrunner@heptapod.test|Heptapod Paas Runner|paasrunner@heptapod.test|Job definition"
    );
    assert_eq!(
        of(&["ls-tree", "--name-only", "master"]),
        "Dockerfile\njob.json\nrunner.toml"
    );
    let dockerfile = world.clever.pushed(&app.id, "Dockerfile");
    assert!(
        dockerfile.starts_with("FROM registry.heptapod.net:443/heptapod/heptapod-runner:0.5.0\n")
    );
    assert!(
        dockerfile
            .contains("\"exec-fetched-job\", \"--config\", \"/etc/gitlab-runner/runner.toml\"")
    );
    // The token has characters that a URL would not bear.
    let pushes = world.clever.git.calls_of("git-receive-pack");
    assert_eq!(pushes.len(), 1);
    assert!(pushes[0].header("authorization").starts_with("Basic "));
}

/// G2, C4: each setting reaches the place that it is for.
#[test]
fn each_setting_of_clever_cloud_counts() {
    let world = World::new();
    let more = "cc_zone = 'rbx'\ncc_default_flavor = 'M'\ncc_flavor_context = 'c'\ncc_flavor_name_prefix = 'other-'\n\
                cc_instance_variant_uuid = 'variant'\ncc_auth_user = 'somebody'\nheptapod_runner_main_image = 'my/image:1'\n\
                environment = ['A=b']\n[runners.docker]\nimage = 'x'\nvolumes = ['/a']\n";
    world.configure("", &[&world.runner(RUNNER, more)]);
    let job = world.gitlab.add_job(RUNNER);

    let app = launched(&world, job);

    let body = app.made_of;
    assert_eq!(
        (&body["zone"], &body["minFlavor"], &body["instanceVariant"]),
        (&json!("rbx"), &json!("other-M"), &json!("variant"))
    );
    let flavors = world.clever.served.calls_of("flavors").remove(0);
    assert_eq!(flavors.query[0].1, "c");
    assert!(
        world
            .clever
            .pushed(&app.id, "Dockerfile")
            .starts_with("FROM my/image:1\n")
    );
    let push = world.clever.git.calls_of("git-receive-pack").remove(0);
    let user = base64_of("somebody:");
    assert!(
        push.header("authorization")
            .starts_with(&format!("Basic {user}"))
    );
    let forwarded: toml::Table = world.clever.pushed(&app.id, "runner.toml").parse().unwrap();
    let expected: toml::Table = format!(
        "[[runners]]\nname = 'one'\nurl = '{}'\ntoken = '{RUNNER}'\nexecutor = 'docker'\nenvironment = ['A=b']\n\
         [runners.docker]\nimage = 'x'\nvolumes = ['/a']\n",
        world.gitlab.url()
    )
    .parse()
    .unwrap();
    assert_eq!(forwarded, expected);
}

/// The beginning of a text in base64, as far as what follows it does not matter.
fn base64_of(text: &str) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let whole = text.as_bytes().chunks_exact(3);
    whole
        .flat_map(|three| {
            let bits = three
                .iter()
                .fold(0usize, |bits, byte| bits << 8 | usize::from(*byte));
            [18, 12, 6, 0].map(|shift| char::from(DIGITS[bits >> shift & 63]))
        })
        .collect()
}

/// C2, C3: how large a machine is, and how often the list of sizes is asked for.
#[test]
fn a_job_says_how_large_its_machine_is_and_the_list_is_asked_for_once() {
    let world = World::new();
    let large = world.gitlab.add_job_with(
        RUNNER,
        &[
            ("CI_CLEVER_CLOUD_FLAVOR", "XL"),
            ("CI_CLEVER_CLOUD_FLAVOR", "S"),
        ],
        json!({}),
    );
    let wrong = world
        .gitlab
        .add_job_with(RUNNER, &[("CI_CLEVER_CLOUD_FLAVOR", "huge")], json!({}));
    let usual = world.gitlab.add_job(RUNNER);

    let dispatcher = world.start();

    world.until_pushed(large);
    world.until_pushed(usual);
    world.until_job(wrong, "failed");
    assert_eq!(
        world.clever.app_of(large).made_of["maxFlavor"],
        "heptapod-runner-XL"
    );
    assert_eq!(
        world.clever.app_of(usual).made_of["maxFlavor"],
        "heptapod-runner-M"
    );
    assert!(
        world
            .gitlab
            .job(wrong)
            .text()
            .contains("choose one of M, S, XL")
    );
    assert_eq!(world.clever.served.count("flavors"), 1);
    let log = dispatcher.end();
    assert!(log.contains("(action=check-flavor, code=1, "), "{log}");
}

/// Where there is no room the next zone is tried, and then the next size.
#[test]
fn where_there_is_no_room_the_next_zone_is_tried() {
    let world = World::new();
    let more = "cc_zone = ['par', 'rbx']\ncc_default_flavor = ['M', 'S']\n";
    world.configure("", &[&world.runner(RUNNER, more)]);
    world.clever.fill_zone("par");
    let job = world.gitlab.add_job(RUNNER);

    let app = launched(&world, job);

    assert_eq!(app.made_of["zone"], "rbx");
    assert_eq!(world.clever.served.count("create-app"), 2);
}

/// C9, C10, T8: each call that fails for good fails the job, its author reads why, and no app stays.
#[test]
fn a_call_that_fails_fails_the_job_and_its_author_reads_why_and_no_app_stays() {
    const ERROR: &str = r#"{"id": 4242, "message": "no luck", "type": "error"}"#;
    for call in ["instances", "flavors", "create-app", "set-env"] {
        for (status, body, shown) in [
            (400, ERROR, "code=4242, transport code=400, details=no luck"),
            (
                400,
                r#"{"oops": 1}"#,
                r#"code=None, transport code=400, details={"oops": 1}"#,
            ),
            (
                500,
                "MARKET",
                "code=None, transport code=500, details=MARKET",
            ),
        ] {
            let world = World::new();
            let fault = Fault::Status(status, body.to_owned());
            world.clever.served.fail(call, fault, usize::MAX);
            let job = world.gitlab.add_job(RUNNER);

            let (job, log) = failed(&world, job);

            let is_unknown = call == "create-app" && status == 500;
            if !is_unknown {
                assert!(log.contains(shown), "{call} {status}: {log}");
            }
            assert_eq!(job.reason.as_deref(), Some("runner_system_failure"));
            assert_eq!((job.exit_code, job.n_ends), (Some(103), 1));
            let text = job.text();
            assert!(
                text.contains("ERROR: Job failed (system failure): "),
                "{text}"
            );
            assert!(
                text.ends_with("\u{1b}[0;m\n") && !text.contains("MARKER"),
                "{text}"
            );
        }
    }
}

/// C9: a push that is not taken.
#[test]
fn a_push_that_is_not_taken_fails_the_job_and_the_app_goes() {
    for fault in [
        Fault::Status(403, String::new()),
        Fault::Status(404, String::new()),
        Fault::Status(500, String::new()),
        Fault::Drop,
    ] {
        let world = World::new();
        world.clever.git.fail("git-receive-pack", fault, usize::MAX);
        let job = world.gitlab.add_job(RUNNER);

        let (job, log) = failed(&world, job);

        assert!(log.contains("Launching failed for job"), "{log}");
        assert_eq!(job.reason.as_deref(), Some("runner_system_failure"));
        assert_eq!(world.clever.apps().len(), 1);
    }
}

/// C11: what may pass is tried again, and the repository is waited for.
#[test]
fn what_may_pass_is_tried_again_and_the_repository_is_waited_for() {
    let world = World::new();
    let more = "cc_deployment_repo_step = 0.05\n";
    world.configure("", &[&world.runner(RUNNER, more)]);
    world.clever.delay_repositories(3);
    for call in ["instances", "flavors", "create-app", "set-env"] {
        let fault = Fault::Status(503, String::new());
        world.clever.served.fail(call, fault, 1);
    }
    world.clever.git.fail("git-receive-pack", Fault::Drop, 1);
    let job = world.gitlab.add_job(RUNNER);

    let app = launched(&world, job);

    assert_eq!(app.n_pushes, 1);
    assert_eq!(world.clever.apps().len(), 1);
    assert!(world.clever.served.count("find-app") >= 3);
}

/// A reply that gets lost is no second app, and no second push.
#[test]
fn a_reply_that_gets_lost_makes_no_second_app_and_no_second_push() {
    let world = World::new();
    world.clever.served.fail("create-app", Fault::Lost, 1);
    world.clever.git.fail("git-receive-pack", Fault::Lost, 1);
    let job = world.gitlab.add_job(RUNNER);

    let app = launched(&world, job);

    assert_eq!((world.clever.apps().len(), app.n_pushes), (1, 1));
    assert_eq!(world.clever.served.count("create-app"), 1);
}

/// M1, M2, M4: whose app it is, the group's attributes say; the first value of the variable counts.
#[test]
fn the_organisation_of_an_app_is_that_of_the_jobs_group() {
    let world = World::new();
    let more =
        "cc_multi_tenant = true\ncc_gitlab_namespace_attributes_token = 'MARKER-attributes'\n";
    world.configure("concurrent = 8\n", &[&world.runner(RUNNER, more)]);
    world.clever.add_organisation("orga_own", "MARKER-own");
    world
        .clever
        .add_organisation("orga_forged", "MARKER-forged");
    world.gitlab.set_group(
        "own/sub group",
        &[
            ("x", "y"),
            ("cc_orga_id", "orga_own"),
            ("cc_orga_token", "MARKER-own"),
        ],
    );
    world.gitlab.set_group(
        "forged",
        &[
            ("cc_orga_id", "orga_forged"),
            ("cc_orga_token", "MARKER-forged"),
        ],
    );
    let variables = [
        ("CI_PROJECT_ROOT_NAMESPACE", "own/sub group"),
        ("CI_PROJECT_ROOT_NAMESPACE", "forged"),
    ];
    let job = world.gitlab.add_job_with(RUNNER, &variables, json!({}));

    let app = launched(&world, job);

    assert_eq!(app.organisation, "orga_own");
    let asked = world.gitlab.served.calls_of("attributes");
    assert_eq!(asked.len(), 1);
    assert!(
        asked[0]
            .target
            .ends_with("/api/v4/groups/own%2Fsub%20group/custom_attributes")
    );
    assert_eq!(asked[0].header("private-token"), "MARKER-attributes");
    let state = world.state();
    assert_eq!(
        state["launched"][0]["paas_resource"]["gitlab_namespace"],
        "own/sub group"
    );

    // M5: after a start they are asked for again, and until they are there the app stays and is known.
    world.gitlab.remove_group("own/sub group");
    world.gitlab.end(job, "success");
    let dispatcher = world.start();
    dispatcher.wait_for("Decommissioning failed");
    dispatcher.end();
    assert_eq!(world.state()["to_decommission"][0]["job_id"], job);
    world.gitlab.set_group(
        "own/sub group",
        &[("cc_orga_id", "orga_own"), ("cc_orga_token", "MARKER-own")],
    );
    let dispatcher = world.start();
    world.until_no_app();
    dispatcher.end();
}

/// M3: what lacks fails that job and no other.
#[test]
fn a_group_without_an_organisation_fails_its_jobs_and_no_others() {
    let world = World::new();
    let more = "cc_multi_tenant = true\ncc_gitlab_namespace_attributes_token = 'MARKER-attributes'\n\
                cc_orga_id_attribute = 'id'\ncc_orga_token_attribute = 'secret'\n";
    world.configure("concurrent = 8\n", &[&world.runner(RUNNER, more)]);
    world.clever.add_organisation("orga_own", "MARKER-own");
    world.gitlab.set_group("half", &[("id", "orga_own")]);
    world
        .gitlab
        .set_group("own", &[("id", "orga_own"), ("secret", "MARKER-own")]);
    let of = |group: &str| {
        world
            .gitlab
            .add_job_with(RUNNER, &[("CI_PROJECT_ROOT_NAMESPACE", group)], json!({}))
    };
    let cases = [
        (of("half"), "no custom attribute 'secret'"),
        (of("nobody"), "there is no group 'nobody'"),
        (
            world.gitlab.add_job(RUNNER),
            "no variable CI_PROJECT_ROOT_NAMESPACE",
        ),
    ];
    let good = of("own");

    let dispatcher = world.start();

    world.until_pushed(good);
    for (job, why) in &cases {
        world.until_job(*job, "failed");
        let text = world.gitlab.job(*job).text();
        assert!(text.contains(why), "{text}");
    }
    let log = dispatcher.end();
    for (_, why) in cases {
        assert!(log.contains(why), "{log}");
    }
    assert!(log.contains("(action=find-orga, "), "{log}");
}

/// P1 to P4, through the program; the tables are with the rules.
#[test]
fn images_go_through_the_dependency_proxy_of_the_group() {
    let world = World::new();
    let variables = [
        (
            "CI_DEPENDENCY_PROXY_GROUP_IMAGE_PREFIX",
            "gitlab.example/group/proxy",
        ),
        ("TAG", "3"),
        ("SELF", "x$SELF"),
    ];
    let more = json!({
        "image": {"name": "alpine:$TAG"},
        "services": [{"name": "redis@sha256:abc"}, {"name": "registry.example/$SELF"}, {"name": "a/b$SELF"}],
    });
    let job = world.gitlab.add_job_with(RUNNER, &variables, more);
    let odd =
        world
            .gitlab
            .add_job_with(RUNNER, &variables, json!({"image": null, "services": null}));
    let dispatcher = world.start();
    world.until_pushed(job);
    world.until_pushed(odd);
    dispatcher.end();

    let pushed = |job: u64| -> Value {
        let app = world.clever.app_of(job);
        serde_json::from_str(&world.clever.pushed(&app.id, "job.json")).unwrap()
    };
    let got = pushed(job);
    assert_eq!(
        got["image"]["name"],
        "gitlab.example/group/proxy/library/alpine:3"
    );
    assert_eq!(
        got["services"],
        json!([
            {"name": "gitlab.example/group/proxy/library/redis@sha256:abc", "alias": "redis"},
            {"name": "registry.example/$SELF"},
            {"name": "gitlab.example/group/proxy/a/bx", "alias": "a-bx"},
        ])
    );
    assert_eq!(got["odd"], world.gitlab.job(job).payload["odd"]);
    assert_eq!(pushed(odd), world.gitlab.job(odd).payload);
}

/// A provider or a Git server that says nothing stops nobody else, and not the end either.
#[test]
fn a_provider_that_says_nothing_stops_nobody_else() {
    for stalls in ["create-app", "git-receive-pack"] {
        let world = World::new();
        let other = World::new();
        let elsewhere = other.runner_at(&world.gitlab, "glrt-MARKERel", "");
        world.gitlab.add_runner("glrt-MARKERel");
        world.configure("concurrent = 8\n", &[&world.runner(RUNNER, ""), &elsewhere]);
        world.clever.served.fail(stalls, Fault::Stall, usize::MAX);
        world.clever.git.fail(stalls, Fault::Stall, usize::MAX);
        let stuck = world.gitlab.add_job(RUNNER);
        let dispatcher = world.start_with(&["--shutdown-timeout", "1"]);
        wait_until("it is stuck", || {
            world.clever.served.count(stalls) + world.clever.git.count(stalls) > 0
        });

        let good = world.gitlab.add_job("glrt-MARKERel");

        other.until_pushed(good);
        let log = dispatcher.end();
        assert!(log.contains("did not end within 1s"), "{log}");
        // And it goes on where it was.
        world.clever.served.mend();
        world.clever.git.mend();
        let dispatcher = world.start();
        match stalls {
            // Whether an app was made nobody knows, and none was found.
            "create-app" => world.until_job(stuck, "failed"),
            _ => world.until_pushed(stuck),
        }
        assert!(world.clever.apps().len() <= 1);
        dispatcher.end();
    }
}

/// T7: no secret is told, or passed where others can see it; and nobody else can read the files.
#[test]
fn no_secret_is_told_and_no_file_can_be_read_by_others() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    world.gitlab.served.fail("progress", Fault::Drop, 2);
    world.clever.served.fail("set-env", Fault::Drop, 1);
    world.clever.git.fail(
        "info-git-receive-pack",
        Fault::Status(401, String::new()),
        1,
    );
    let (bad, good) = (world.gitlab.add_job(RUNNER), world.gitlab.add_job(RUNNER));
    let dispatcher = world.start_with(&["--logging-level", "debug", "--debug-signal"]);
    wait_until("one has failed and one is there", || {
        let jobs = [bad, good].map(|job| world.gitlab.job(job).status == "failed");
        let pushed = world.clever.apps().iter().any(|app| app.n_pushes > 0);
        jobs.contains(&true) && pushed
    });
    wait_until("it asks on", || world.gitlab.served.count("progress") > 3);
    dispatcher.signal("USR1");
    dispatcher.wait_for("state: job");
    let process = format!("/proc/{}", dispatcher.id());
    for file in ["cmdline", "environ"] {
        let text = String::from_utf8_lossy(&std::fs::read(format!("{process}/{file}")).unwrap())
            .into_owned();
        assert!(!text.contains("MARKER"), "{file}: {text}");
    }
    assert_private(
        world.home(),
        &[
            "state.json.journal",
            "state.json.lock",
            "state.json.system-id",
        ],
    );
    let mode = std::fs::metadata(world.home().join("state.json.tmp"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o700);

    let log = dispatcher.end();

    // The runner's short name is no secret: eight characters of its token, by which people know it.
    let log = log.replace(SHORT, "short");
    assert!(!log.contains("MARKER"), "{log}");
    assert_private(world.home(), &["state.json", "state.json.journal"]);
    for call in world
        .gitlab
        .served
        .calls()
        .iter()
        .chain(world.clever.served.calls().iter())
    {
        assert!(!call.target.contains("MARKER"), "{}", call.target);
    }
    for call in world.clever.git.calls().iter() {
        assert!(!call.target.contains("MARKER"), "{}", call.target);
    }
    // What was pushed has secrets, and nothing of it is left here.
    let left = std::fs::read_dir(world.home().join("state.json.tmp")).unwrap();
    assert_eq!(left.count(), 0);
}

#[track_caller]
fn assert_private(folder: &Path, files: &[&str]) {
    use std::os::unix::fs::PermissionsExt;
    for file in files {
        let about = std::fs::metadata(folder.join(file)).unwrap();
        assert_eq!(about.permissions().mode() & 0o777, 0o600, "{file}");
    }
}

/// T8: a trace that somebody has written to goes on where it ends.
#[test]
fn the_reason_stands_where_the_trace_ends() {
    let world = World::new();
    world
        .clever
        .git
        .fail("git-receive-pack", Fault::Status(403, String::new()), 9);
    world.gitlab.served.fail("trace", Fault::Lost, 1);
    let job = world.gitlab.add_job(RUNNER);
    let stopped = world
        .gitlab
        .served
        .stop("trace", support::server::served::Place::BeforeDone);
    let dispatcher = world.start();
    // The first one is lost; this is the second, of which the dispatcher knows the text.
    stopped.wait();
    assert_eq!(world.gitlab.job(job).text().matches("ERROR").count(), 1);
    stopped.go_on();
    world.until_job(job, "failed");
    assert_eq!(world.gitlab.job(job).text().matches("ERROR").count(), 1);
    dispatcher.end();

    let world = World::new();
    world
        .clever
        .git
        .fail("git-receive-pack", Fault::Status(403, String::new()), 9);
    let job = world.gitlab.add_job(RUNNER);
    world.gitlab.write(job, "é before\n");
    let dispatcher = world.start();
    world.until_job(job, "failed");
    let text = world.gitlab.job(job).text();
    assert!(text.starts_with("é before\n\u{1b}[31;1mERROR"), "{text}");
    dispatcher.end();
}

/// A coordinator of HTTPS is trusted by `tls-ca-file`.
#[test]
fn the_certificate_of_a_coordinator_is_trusted_by_its_file() {
    let gitlab = Coordinator::start();
    gitlab.add_runner(RUNNER);
    let mut world = World::new();
    let front = support::server::front::Front::before(
        gitlab.served.port(),
        support::server::clever::authority(),
    );
    let ca = support::server::clever::authority().file();
    let runner = |more: &str| {
        world
            .runner(RUNNER, more)
            .replace(&world.gitlab.url(), &front.url())
    };
    let (with, without) = (
        runner(&format!("tls-ca-file = '{}'\n", ca.display())),
        runner(""),
    );
    let other = support::server::authority::Authority::new();
    world.set("SSL_CERT_FILE", other.file().to_str().unwrap());
    world.configure("", &[&without]);
    let dispatcher = world.start();
    dispatcher.wait_for("is not trusted");
    dispatcher.end();
    assert_eq!(gitlab.served.count("request"), 0);

    world.configure("", &[&with]);
    let dispatcher = world.start();
    wait_until("it asks", || gitlab.served.count("request") > 0);
    dispatcher.end();
}

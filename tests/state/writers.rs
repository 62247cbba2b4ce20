//! Many writers at once, and writers that are killed: no change is lost, no file is torn.

use std::collections::BTreeSet;
use std::process::{Child, Stdio};
use std::time::Duration;

use support::TestRemote;
use support::server::echo::Echo;
use support::server::http::HttpServer;
use support::server::redis::RedisServer;

use crate::project::{COPIES, Project, REDIS_PASSWORD, events};

/// How many writers there are at once.
const WRITERS: usize = 50;

/// The stores, each with what keeps it alive.
fn stores() -> Vec<(&'static str, Project, Box<dyn std::any::Any>)> {
    let redis = RedisServer::start(REDIS_PASSWORD);
    let remote = TestRemote::empty("main");
    let yaml = Project::simple();
    let json = Project::new("jsonfile: {path: ./data.json, isPrimary: true}");
    vec![
        ("redis", Project::on_redis(&redis), Box::new(redis)),
        ("git", Project::on_git(&remote.uri()), Box::new(remote)),
        ("yaml", yaml, Box::new(())),
        ("json", json, Box::new(())),
    ]
}

fn start(project: &Project, args: &[&str]) -> Child {
    let mut command = project.program(args);
    command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Starts all and waits for them; they must succeed.
#[track_caller]
fn all(what: &str, project: &Project, args: impl Iterator<Item = Vec<String>>) {
    let started: Vec<Child> = args
        .map(|args| {
            start(
                project,
                &args.iter().map(String::as_str).collect::<Vec<_>>(),
            )
        })
        .collect();
    for child in started {
        let output = child.wait_with_output().unwrap();
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{what}: {words}");
    }
}

#[track_caller]
fn state_of(project: &Project) -> serde_json::Value {
    let printed = project.ok(&["--wait-for", "state", "--output", "json"]);
    serde_json::from_str(&printed).unwrap()
}

#[test]
fn fifty_writers_keep_fifty_keys_on_each_store_c26() {
    for (what, project, _alive) in stores() {
        project.init();

        all(
            what,
            &project,
            (0..WRITERS).map(|n| vec!["--set".to_owned(), format!("state.k{n}=v{n}")]),
        );

        let state = state_of(&project);
        for n in 0..WRITERS {
            assert_eq!(state[format!("k{n}")], format!("v{n}"), "{what}");
        }
    }
}

#[test]
fn twelve_appends_are_twelve_items_and_twelve_increments_twelve() {
    for (what, project, _alive) in stores() {
        project.init();

        let change = |n| {
            vec![
                "--set".to_owned(),
                format!("state.list[]=i{n}"),
                "--increment".to_owned(),
                "state.n".to_owned(),
            ]
        };
        all(what, &project, (0..12).map(change));

        let state = state_of(&project);
        let items: BTreeSet<&str> = state["list"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item.as_str().unwrap())
            .collect();
        assert_eq!(
            (items.len(), state["list"].as_array().unwrap().len()),
            (12, 12),
            "{what}"
        );
        assert_eq!(state["n"], 12, "{what}");
    }
}

#[test]
fn of_many_who_set_what_is_absent_one_succeeds() {
    for (what, project, _alive) in stores() {
        project.init();

        let started: Vec<Child> = (0..8)
            .map(|n| start(&project, &["--set-if-absent", &format!("state.owner=w{n}")]))
            .collect();
        let codes = started
            .into_iter()
            .map(|child| child.wait_with_output().unwrap().status.code());
        let codes: Vec<Option<i32>> = codes.collect();

        assert_eq!(
            codes.iter().filter(|code| **code == Some(0)).count(),
            1,
            "{what}: {codes:?}"
        );
        assert_eq!(
            codes.iter().filter(|code| **code == Some(3)).count(),
            7,
            "{what}: {codes:?}"
        );
    }
}

#[test]
fn writers_on_two_machines_see_each_other_c25() {
    let redis = RedisServer::start(REDIS_PASSWORD);
    let here = Project::on_redis(&redis);
    let there = here.elsewhere();
    here.init();
    there.ok(&["--load"]);

    here.ok(&["--set", "state.a=1"]);
    there.ok(&["--set", "state.b=2", "--pre-set-force-reload"]);
    here.ok(&["--set", "state.c=3"]);

    for (key, value) in [("a", "1"), ("b", "2"), ("c", "3")] {
        assert_eq!(here.get(&format!("state.{key}")), value);
    }
}

#[test]
fn events_beside_sets_lose_nothing_and_run_once() {
    let (echo, redis) = (Echo::start(), RedisServer::start(REDIS_PASSWORD));
    let sources = crate::project::redis_source(&redis) + COPIES;
    let project = Project::with_config(&sources, &events(&echo)).with_redis_password();
    project.init();

    let event = |n| {
        vec![
            "--handle-event".to_owned(),
            "build=notify".to_owned(),
            "--set".to_owned(),
            format!("state.e{n}=v"),
        ]
    };
    let set = |n| vec!["--set".to_owned(), format!("state.k{n}=v")];
    all(
        "redis",
        &project,
        (0..20).map(|n| if n % 2 == 0 { event(n) } else { set(n) }),
    );

    let state = state_of(&project);
    for n in 0..20 {
        let key = format!("{}{n}", if n % 2 == 0 { "e" } else { "k" });
        assert_eq!(state[&key], "v", "{key}");
    }
    assert_eq!(echo.take().len(), 10);
    assert_eq!(state["slack"]["stage"]["ts"], "1606.7");
    // Copies end up as the primary is.
    assert_eq!(project.json("local/data.json")["state"], state);
}

/// How often a writer is killed on each store: `STATE_KILLS` says how often instead.
fn kills() -> usize {
    std::env::var("STATE_KILLS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(25)
}

#[test]
fn a_writer_that_is_killed_leaves_the_last_answered_state_and_no_torn_file_c27() {
    let http = TestRemote::empty("main");
    let server = HttpServer::start(http.root());
    http.git(&["config", "http.receivepack", "true"]);
    let mut all = stores();
    let served = Project::on_git(&server.uri());
    all.push(("git over http", served, Box::new((http, server))));
    for (what, project, _alive) in all {
        project.ok(&["--init-new", "run-1", "--set", "state.n=0"]);
        let mut answered = 0;
        // Of two sizes, so that a file that is half written would show.
        let padding = |n: usize| "x".repeat(if n.is_multiple_of(2) { 10 } else { 200_000 });
        // So that the moments are spread over what a whole run takes.
        let began = std::time::Instant::now();
        project.ok(&["--set", "state.n=0"]);
        let whole = began.elapsed();
        for n in 1..=kills() {
            project.write("value", &padding(n));
            let change = format!("state.padding=file://value|state.n={n}");
            let mut child = start(&project, &["--set", &change]);
            std::thread::sleep(rand::random_range(Duration::ZERO..whole.mul_f64(1.3)));
            let ended = child.try_wait().unwrap();
            let _ = child.kill();
            child.wait().unwrap();
            if ended.is_some_and(|status| status.success()) {
                answered = n;
            }
            let state = state_of(&project);
            let found: usize = state["n"].as_str().unwrap().parse().unwrap();
            // One that was killed may have been made all the same, also a little later; none is taken back.
            assert!(
                (answered..=n).contains(&found),
                "{what}: {found}, answered {answered}, tried {n}"
            );
            let length = state["padding"].as_str().map(str::len);
            assert_eq!(length, (found > 0).then(|| padding(found).len()), "{what}");
            answered = found;
            if project.path("local").exists() {
                // A copy may be older, and is whole.
                assert!(project.json("local/data.json")["state"]["n"].is_string());
                assert!(
                    project.read("local/data.yaml").ends_with("'\n")
                        || project.read("local/data.yaml").len() > 100
                );
            }
        }
    }
}

//! pipelines.yml: what is found, read, refused and reloaded.

use serde_json::json;
use support::wait_until;

use crate::host::Host;

/// How a server that does not start ends: what it says.
#[track_caller]
fn fatal(host: &mut Host) -> String {
    assert!(!host.try_run(&[]), "it has started");
    let log = host.log();
    let line = log
        .lines()
        .find(|line| line.contains("level=fatal"))
        .unwrap_or_else(|| panic!("{log}"));
    line.to_owned()
}

#[test]
fn p1_definitions_are_found_at_every_depth_and_a_folder_that_is_missing_is_an_error() {
    let mut host = Host::folder("pipelines: {top: }");
    host.write("a/b/pipelines.yaml", "pipelines: {deep: }");
    host.write(".hidden/pipelines.yml", "pipelines: {hidden: }");
    host.write("elsewhere/x/pipelines.yml", "pipelines: {linked: }");
    std::os::unix::fs::symlink(host.path("."), host.path("a/circle")).unwrap();
    host.run();

    let pipelines = host.get("/pipelines").json();

    let names: Vec<&str> = pipelines["pipelines"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["pipeline"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["deep", "hidden", "linked", "top"]);
    let said = fatal(&mut Host::folder("").args(&["--path", "gone"]));
    assert!(
        said.contains(
            "loading definitions: finding files with glob: stat gone: no such file or directory"
        ),
        "{said}"
    );
    // None at all is fine.
    let mut empty = Host::folder("").args(&["--pattern", "nothing.yml"]);
    empty.run();
    assert_eq!(empty.get("/pipelines").text(), "{\"pipelines\":[]}\n");
}

#[test]
fn p2_a_pipeline_of_two_files_is_refused() {
    let mut host = Host::folder("pipelines: {p: }");
    host.write("a/pipelines.yml", "pipelines: {p: }");
    let said = fatal(&mut host);
    let expected = r#"loading definitions: loading pipelines.yml: pipeline \"p\" was already declared in a/pipelines.yml"#;
    assert!(said.contains(expected), "{said}");
}

#[test]
fn p3_and_d9_what_is_wrong_is_refused_at_the_start_with_its_place() {
    for (keys, fault) in [
        ("concurrency: -1", "concurrency must be greater than 0"),
        (
            "start_delay: 1s, queue_limit: 0",
            "start_delay needs queue_limit > 0",
        ),
        (
            "tasks: {a: {depends_on: [a]}}",
            "its tasks depend on each other in a circle",
        ),
        (
            "tasks: {../../evil: {script: [x]}}",
            "a task cannot be called",
        ),
        ("tasks: {on_error: }", "a task cannot be called"),
        ("tasks: {a: {script: ['{{ .x']}}", "unclosed action"),
        (
            "locks: [{pool: b}], tasks: {t: {script: [x], locks: [{pool: a}]}}",
            "whose name has to come after",
        ),
    ] {
        let said = fatal(&mut Host::folder(&format!("pipelines: {{p: {{{keys}}}}}")));
        let start = r#"Error: loading definitions: loading pipelines.yml: invalid pipeline definition \"p\": "#;
        assert!(said.contains(start) && said.contains(fault), "{said}");
    }
}

#[test]
fn p27_and_d18_a_reload_takes_every_change_and_refuses_a_bad_set_whole() {
    let one = "pipelines: {p: {tasks: {t: {script: [exit 1]}}}}";
    let host = Host::start(one);
    // A change of on_error alone.
    host.reload(
        "pipelines: {p: {on_error: {script: [echo handled]}, tasks: {t: {script: [exit 1]}}}}",
    );
    let (id, _) = host.done();
    assert_eq!(host.logs(&id, "on_error").0, "handled\n");
    host.write("pipelines.yml", "pipelines: {p: {concurrency: -1}, q: }");
    host.signal("HUP");
    wait_until("the fault is told", || {
        host.log()
            .contains("Error loading pipeline definitions: loading pipelines.yml")
    });
    assert_eq!(
        host.get("/pipelines").json()["pipelines"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    host.signal("USR1");
    host.reload("pipelines: {q: }");
    assert_eq!(
        host.get("/pipelines").json(),
        json!({"pipelines": [{"pipeline": "q", "schedulable": true, "running": false}]})
    );
}

#[test]
fn p27_a_server_that_watches_sees_new_definitions() {
    let mut host = Host::folder("pipelines: {p: }").args(&["--watch", "--poll-interval", "20ms"]);
    host.run();
    host.write("b/pipelines.yml", "pipelines: {q: }");
    wait_until("both are there", || {
        host.get("/pipelines").json()["pipelines"]
            .as_array()
            .unwrap()
            .len()
            == 2
    });
}

#[test]
fn p34_and_d11_jobs_outlive_the_definition_of_their_pipeline() {
    let host = Host::script(&["echo begun; while ! [ -e go ]; do sleep 0.01; done"]);
    let [running, waiting] = [host.schedule(), host.schedule()];
    host.running(&running);
    host.reload("pipelines: {}");
    host.write("go", "");
    assert_eq!(host.finished(&running)["completed"], true);
    assert_eq!(host.logs(&running, "t").0, "begun\n");
    assert_eq!(host.job(&waiting)["start"], json!(null));
    assert_eq!(host.cancel(&waiting), 200);
    host.reload("pipelines: {q: }");
    assert_eq!(
        host.get("/pipelines/jobs").json()["jobs"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

//! The command line, the environment, exit codes, and what is printed where.

use std::time::Duration;

use support::wait_until;

use crate::project::Project;

#[test]
fn each_mode_prints_its_answer_and_nothing_else_c23() {
    let project = Project::simple();
    project.init();

    for (args, printed) in [
        (&["--set", "state.k=v"][..], ""),
        (&["--load"], ""),
        (&["--get", "state.k"], "v\n"),
        (&["--get", "nothing"], ""),
        (&["--get", "never"], ""),
        (&["--get", "empty"], "[]\n"),
        (&["--get", "zero"], ""),
        (&["--get", "falsehood"], ""),
        (&["--get", "truth"], "True\n"),
        (&["--get", "half"], "0.5\n"),
        (&["--get", "numbers"], "[1, 2, 3]\n"),
        (&["--get", "numbers[*]"], "[1, 2, 3]\n"),
        (&["--get", "numbers[-1]"], "3\n"),
        (&["--get", "'x y'.'z.w'"], "quoted\n"),
        (
            &["--get", "items.one"],
            "{\"name\": \"item-one\", \"desc\": \"item1 desc\"}\n",
        ),
        (
            &["--get", "items.one.name|desc"],
            "[\"item-one\", \"item1 desc\"]\n",
        ),
        (&["--get", "nothing", "--output", "json"], "null\n"),
        (&["--get", "zero", "--output", "json"], "0\n"),
        (
            &["--get", "items.one", "--output", "dotenv"],
            "name=\"item-one\"\ndesc=\"item1 desc\"\n",
        ),
        (&["--get", "appName", "--output", "github"], "appName=web\n"),
        (&["--get", "appName", "--output", "tekton"], "web"),
        (&["--increment", "state.n"], "1\n"),
        (&["--increment", "state.n=41"], "42\n"),
        (&["--generate", "pipelines.build.generators.nothing"], ""),
        (&["--handle-event", "build=unknown"], ""),
        (&["--handle-event", "build=silent"], ""),
        (&["--list"], "run-1\n"),
        (&[], ""),
    ] {
        assert_eq!(project.ok(args), printed, "{args:?}");
    }
}

#[test]
fn of_several_modes_the_first_acts_c23() {
    let project = Project::simple();
    project.init();

    assert_eq!(
        project.ok(&[
            "--init-new",
            "run-1",
            "--load",
            "--get",
            "state",
            "--set",
            "state.k=v"
        ]),
        "run-1\n"
    );
    assert_eq!(
        project.ok(&["--load", "--get", "state.k", "--set", "state.k=w"]),
        ""
    );
    // A set beside a get is not made.
    assert_eq!(
        project.ok(&["--get", "state.k", "--set", "state.k=x"]),
        "w\n"
    );
    assert_eq!(project.get("state.k"), "w");
}

#[test]
fn errors_are_on_stderr_with_their_exit_codes_c23() {
    let project = Project::simple();
    let bare = project
        .clone()
        .without("CICDSTATEMGR_CONFIG_PATH")
        .without("CICDSTATEMGR_SECRETS_PATH");
    bare.fails(
        &["--load"],
        "USAGE: --config <path> is required or set env var CICDSTATEMGR_CONFIG_PATH",
    );
    bare.fails(
        &["--config", "config.yaml"],
        "USAGE: --secrets <path> is required or set env var CICDSTATEMGR_SECRETS_PATH",
    );
    bare.fails(
        &["--config", "none.yaml", "--secrets", "x"],
        "cannot read the config file `none.yaml`",
    );
    let no_id = project.clone().without("CICDSTATEMGR_CONTEXT_DATA_ID");
    no_id.fails(
        &["--load"],
        "USAGE: --id <cicdContextDataId> required or set env var CICDSTATEMGR_CONTEXT_DATA_ID",
    );
    let no_app = project.clone().without("CICDSTATEMGR_INIT_APP_CONFIG_PATH");
    no_app.fails(&["--init-new", "x"], "CICDSTATEMGR_INIT_APP_CONFIG_PATH");

    project.fails(&["--load"], "load() run-1 cicdContextData is NULL");
    project.fails(&["--init-new", ""], "the id of a document");
    project.fails(&["--init-new", "a\nb"], "the id of a document");
    project.fails(
        &["--init-new", "x", "--init-cicd-context-name", "none"],
        "there are: prod, stage",
    );
    project.init();
    project.fails(&["--get", "a b"], "the path `a b` cannot be read");
    project.fails(&["--log-level", "LOUD", "--load"], "Unknown level: 'LOUD'");
    project.fails(
        &["--set", "state.cicdContextDataId=x"],
        "it has the id of the document",
    );
    project.fails(
        &["--set", "appName.sub=x"],
        "`appName` is a text, and only a map has values below it",
    );
    project.fails(
        &["--tmpl-ctx-var", "novalue", "--get", "appName"],
        "propPath=expression",
    );
    project.fails(
        &["--handle-event", "missing=x"],
        "there is no pipeline `missing`",
    );
    project.fails(
        &["--handle-event", "none"],
        "must have the form PIPELINE=EVENT",
    );
    project.fails(
        &["--handle-event", "a=b=c"],
        "must have the form PIPELINE=EVENT",
    );
    project.ends(&["--no-such-option"], 2, "--no-such-option");
    project.ends(
        &["--se", "x=y"],
        2,
        "ambiguous option: --se could match --secrets, --set",
    );
    let answer = project.run(&["--set", "novalue|state.ok=1"]);
    assert_eq!(answer.code, Some(0));
    assert!(
        answer
            .stderr
            .contains("WARNING - setValues() invalid kvPair: novalue"),
        "{}",
        answer.stderr
    );
    assert_eq!(project.get("state.ok"), "1");
    let help = project.ok(&["--help"]);
    assert!(help.contains("--tmpl-ctx-var") && help.contains("--history"));
}

#[test]
fn a_failed_condition_is_exit_3_and_changes_nothing() {
    let project = Project::simple();
    project.init();
    project.ok(&["--set-if-absent", "state.owner=a"]);

    project.ends(
        &["--set-if-absent", "state.owner=b", "--set", "state.k=v"],
        3,
        "it is there already",
    );
    project.ends(
        &["--set", "state.k=v", "--set-if", "state.owner=x=>b"],
        3,
        "it has another value",
    );
    assert_eq!(project.get("state.k"), "");
    project.ok(&["--set", "state.k=v", "--set-if", "state.owner=a=>b"]);
    assert_eq!(
        (project.get("state.k"), project.get("state.owner")),
        ("v".to_owned(), "b".to_owned())
    );
    project.ok(&[
        "--set-json",
        "state.typed={\"a\": [1, null, \"x|y\"]}",
        "--unset",
        "state.k",
    ]);
    assert_eq!(project.get("state.typed.a[2]"), "x|y");
    assert_eq!(project.get("state.k"), "");
    project.ends(
        &["--wait-for", "state.never", "--timeout", "0s"],
        3,
        "has found nothing that is true",
    );
}

#[test]
fn a_wait_ends_when_the_value_is_there() {
    let project = Project::simple();
    let mut waiting = project.program(&["--wait-for", "state.done", "--timeout", "60"]);
    let waiting = waiting
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(100));
    project.init();

    project.ok(&["--set", "state.done=yes {{ appName }}"]);

    let output = waiting.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "yes web\n");
}

#[test]
fn long_options_may_be_shortened_as_before() {
    let project = Project::simple();

    project.ok(&[
        "--init-n",
        "run-1",
        "--init-app-config",
        "app.yaml",
        "--set=state.k=v",
    ]);

    // Newer options make none of them ambiguous.
    project.ends(
        &["--ge", "state.k"],
        2,
        "ambiguous option: --ge could match --get, --generate",
    );
    assert_eq!(project.ok(&["--get=state.k", "--tmpl=a=b"]), "v\n");
    project.ok(&["--loa"]);
    assert_eq!(project.ok(&["--lis"]), "run-1\n");
}

#[test]
fn the_names_of_1_0_20_are_understood_in_the_environment_c30() {
    let project = Project::simple();
    let path = |name: &str| project.path(name).into_os_string();
    let old = project
        .clone()
        .without("CICDSTATEMGR_CONFIG_PATH")
        .without("CICDSTATEMGR_SECRETS_PATH")
        .without("CICDSTATEMGR_CONTEXT_DATA_ID")
        .without("CICDSTATEMGR_INIT_APP_CONFIG_PATH")
        .env("CICDOPS_CONFIG_PATH", path("config.yaml"))
        .env("CICDOPS_SECRETS_PATH", path("secrets.yaml"))
        .env("CICDOPS_CONTEXT_DATA_ID", "old")
        .env("CICDOPS_INIT_APP_CONFIG_PATH", path("app.yaml"));

    old.ok(&["--init-new", "old", "--set", "state.k=v"]);

    assert_eq!(old.get("state.k"), "v");
    // The newer names count more, and the command line most.
    let other = old.env("CICDSTATEMGR_CONTEXT_DATA_ID", "other");
    other.fails(&["--get", "state.k"], "not `other`");
    assert_eq!(other.ok(&["--id", "old", "--get", "state.k"]), "v\n");
}

#[test]
fn a_signal_ends_a_wait_at_once() {
    let project = Project::simple();
    project.init();
    let mut waiting = project
        .program(&["--wait-for", "state.never"])
        .spawn()
        .unwrap();
    let id = waiting.id().to_string();
    wait_until("it has started", || {
        std::path::Path::new(&format!("/proc/{id}/fd")).exists()
    });

    let _ = std::process::Command::new("kill")
        .args(["-TERM", &id])
        .status();

    assert!(!waiting.wait().unwrap().success());
}

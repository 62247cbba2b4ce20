//! Scripts, templates, environments.

use serde_json::json;

use crate::host::{Host, statuses};

#[test]
fn p7_entries_share_a_shell_but_not_a_folder() {
    let host = Host::script(&[
        "x=1; export E=2; a=(1 2 3); f() { echo \"f $1\"; }; cd /; shopt -s extglob; set -u",
        "echo $x $E ${a[2]} $(sh -c 'echo $E') $(f y); [ \"$PWD\" = \"$(pwd -P)\" ] && pwd -P; shopt -q extglob && echo extglob",
        "",
        "# nothing",
        "exit 0; echo no",
        "echo still $x $E ${a[1]}; f z; cat; pwd -P; shopt -q extglob && echo extglob; [ -o nounset ] && echo nounset",
        "if",
        "echo no",
    ]);

    let (stdout, stderr, task) = host.output(json!({}));

    let folder = host.path(".").canonicalize().unwrap();
    let folder = folder.display();
    assert_eq!(
        stdout,
        format!("1 2 3 2 f y\n{folder}\nextglob\nstill 1 2 2\nf z\n{folder}\nextglob\nnounset\n")
    );
    assert!(stderr.contains("syntax error"), "{stderr}");
    assert_eq!(task["status"], "error");
}

#[test]
fn p7_the_first_failing_entry_ends_the_task_with_its_code() {
    for (entry, code) in [
        ("exit 7", 7),
        ("exit 300", 44),
        ("false", 1),
        ("nope-such-program", 127),
        ("sh -c 'kill -9 $$'", 137),
        ("kill -TERM $$", 143),
        ("set -e; false; true", 1),
        ("(exit 9)", 9),
        ("f() { return 5; }; f", 5),
    ] {
        let host = Host::script(&["echo one", entry, "echo never"]);
        let (stdout, _, task) = host.output(json!({}));
        assert_eq!(
            (task["exitCode"].as_i64(), stdout.as_str()),
            (Some(code), "one\n"),
            "{entry}"
        );
        assert_eq!(task["error"], format!("exit status {code}"));
    }
}

#[test]
fn p7_nothing_in_an_entry_reaches_beyond_it() {
    let host = Host::script(&[
        "break; continue; return 0 2>/dev/null || true",
        "trap 'echo own' EXIT",
        "exec true",
        "echo last",
    ]);
    let (stdout, _, task) = host.output(json!({}));
    assert_eq!(
        (task["status"].as_str(), stdout.as_str()),
        (Some("done"), "last\n")
    );
    let host = Host::script(&["echo \"open"]);
    assert_eq!(host.output(json!({})).2["status"], "error");
}

#[test]
fn p8_d8_and_p9_entries_are_templates() {
    let host = Host::script(&[
        "echo {{ .n }} {{ .list }} {{ .s | default \"d\" }} {{ .__jobID }}",
        "echo {{ .nope }}",
    ]);
    let id = host.schedule_with(json!({"n": 1000000, "list": [1, "b"], "s": "", "t": "x"}));
    let job = host.finished(&id);
    assert_eq!(host.logs(&id, "t").0, format!("1000000 [1 b] d {id}\n"));
    let text = "template: interpolate:1:8: executing \"interpolate\" at <.nope>: map has no entry for key \"nope\"";
    assert_eq!(
        (job["lastError"].as_str(), job["tasks"][0]["error"].as_str()),
        (Some(text), Some(text))
    );
    assert_eq!(
        (
            job["errored"].as_bool(),
            job["tasks"][0]["exitCode"].as_i64()
        ),
        (Some(true), Some(-1))
    );
    let refused = host.try_schedule(json!({"__jobID": 1}));
    assert_eq!(refused.status, 400);
    assert!(
        refused
            .text()
            .contains("variable name __jobID is reserved for internal use")
    );
    // Strings are templates of their own (D7: a fault there is one of the job).
    let host = Host::script(&["echo {{ .a }}"]);
    assert_eq!(host.output(json!({"a": "{{ .b }}!", "b": "c"})).0, "c!\n");
    let job = host.finished(&host.schedule_with(json!({"a": "{{ .gone }}"})));
    assert_eq!(
        (
            job["errored"].as_bool(),
            job["canceled"].as_bool(),
            statuses(&job)
        ),
        (Some(true), Some(false), "t:error".into())
    );
}

#[test]
fn p10_the_environment_is_in_layers() {
    let mut host = Host::folder(
        "pipelines: {p: {env: {A: pipeline, B: pipeline, F: pipeline}, tasks: {t: {env: {A: task}, script: ['echo $A $B $C $D $E $F $TASK_NAME']},
            u: {env: {TASK_NAME: own}, script: ['echo $TASK_NAME']}}}}",
    )
    .env("C", "process")
    .env("D", "process");
    host.write(".env", "D=file\nE=file\nF=file\n");
    host.write(".env.local", "E=\"local ${C}\"\n");
    host.run();
    let (id, _) = host.done();
    assert_eq!(
        host.logs(&id, "t").0,
        "task pipeline process file local process pipeline t\n"
    );
    assert_eq!(host.logs(&id, "u").0, "own\n");
    let mut none = Host::folder("pipelines: {p: {tasks: {t: {script: ['echo $E.']}}}}")
        .args(&["--env-files="]);
    none.write(".env", "E=file\n");
    none.run();
    assert_eq!(none.output(json!({})).0, ".\n");
    let mut broken = Host::folder("");
    broken.write(".env", "nonsense\n");
    assert!(!broken.try_run(&[]));
    assert!(
        broken.log().contains("loading env file .env: line 1"),
        "{}",
        broken.log()
    );
}

#[test]
fn d10_variables_come_by_the_environment_or_as_one_word() {
    let evil = "a'; touch evil; echo '$(touch evil)";
    let host = Host::script(&["echo {{ quote .x }}"]);
    assert_eq!(host.output(json!({"x": evil})).0, format!("{evil}\n"));
    let host =
        Host::with("env_from_variables: true, tasks: {t: {script: ['echo \"$x\" $n $list']}}");
    let (stdout, ..) =
        host.output(json!({"x": format!("{evil}{{{{ .y }}}}"), "n": 1000000, "list": [1, "a"]}));
    assert_eq!(stdout, format!("{evil}{{{{ .y }}}} 1000000 [1,\"a\"]\n"));
    assert!(!host.path("evil").exists());
    for name in ["LD_PRELOAD", "PATH", "BASH_ENV", "a-b", ""] {
        let reply = host.try_schedule(json!({name: "x"}));
        assert_eq!(reply.status, 400, "{name}");
    }
}

#[test]
fn p18_and_d12_a_failure_that_is_allowed_is_none_whatever_it_is() {
    let host = Host::with(
        "on_error: {script: [echo oops]}, tasks: {t: {allow_failure: true, script: ['echo 1', 'exit 4', 'echo 3', 'false', 'x=5; set -e; false', 'echo $x']},
         u: {allow_failure: true, script: ['{{ .nope }}']}, v: {script: ['sleep 0.2; echo v'], depends_on: [t, u]}}",
    );
    let (id, job) = host.done();
    assert_eq!(statuses(&job), "t:done u:done v:done");
    assert_eq!(host.logs(&id, "t").0, "1\n3\n5\n");
    assert_eq!(
        (
            job["errored"].as_bool(),
            job["tasks"][0]["exitCode"].as_i64()
        ),
        (Some(false), Some(1))
    );
}

/// The processes that the server has started itself: those that run scripts, or wait for some.
fn children(host: &Host) -> Vec<String> {
    let parent = host.pid().to_string();
    let all = std::fs::read_dir("/proc").unwrap();
    let names = all.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let is_child = |pid: &String| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let mut words = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split_whitespace();
        words.next() != Some("Z") && words.next() == Some(parent.as_str())
    };
    names.filter(is_child).collect()
}

#[test]
fn nothing_of_one_task_is_left_for_the_next_one() {
    let host = Host::start(
        "pipelines: {p: {parameters: {s: {secret: true}}, env: {OLD: x}, tasks: {t: {script: ['MINE=1; export OTHER=2; umask 0777; cd /; echo \"$OLD {{ .s }}\"']}}}, q: {tasks: {t: {script: ['echo \"-$OLD-$MINE-$OTHER-$(umask)-\" word', 'pwd']}}}}",
    );
    for _ in 0..3 {
        let first = host.schedule_with(json!({"s": "word"}));
        host.finished(&first);
        assert_eq!(host.logs(&first, "t").0, "x ***\n");
        let second = host.schedule_of("q");
        host.finished(&second);
        let said = host.logs(&second, "t").0;
        let (line, folder) = said.split_once('\n').unwrap();
        let mask = line.strip_prefix("----").unwrap();
        assert!(mask.ends_with("- word") && !mask.contains("777"), "{said}");
        let folder = std::fs::canonicalize(folder.trim()).unwrap();
        assert_eq!(folder, std::fs::canonicalize(host.path(".")).unwrap());
    }
}

#[test]
fn a_process_that_waits_for_scripts_and_is_killed_is_replaced() {
    let host = Host::script(&["true"]);
    for _ in 0..3 {
        // It does not wait for long.
        support::wait_until("one that waits is killed", || {
            host.done();
            let waiting = children(&host);
            let mut kill = std::process::Command::new("kill");
            kill.arg("-KILL").args(&waiting).status().unwrap().success()
        });
        let (_, job) = host.done();
        assert_eq!(job["errored"], false, "{job}");
    }
}

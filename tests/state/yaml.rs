//! What is written is what PyYAML reads.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::project::Project;

/// Texts that YAML takes for something else, in one way or another.
const ODD: [&str; 55] = [
    "yes",
    "no",
    "on",
    "off",
    "true",
    "False",
    "NULL",
    "~",
    "null",
    "y",
    "n",
    "012",
    "0o14",
    "0x1F",
    "0b11",
    "1_000",
    "12:30:45",
    "190:20:30.15",
    "2020-01-01",
    "2020-01-01T00:00:00Z",
    "1.5",
    "1e3",
    "1.e+3",
    ".5",
    "-.5",
    ".inf",
    "-.INF",
    ".nan",
    "=",
    "<<",
    "- a",
    "-",
    "? a",
    "a: b",
    "a :b",
    ": a",
    "#a",
    "a #b",
    "[a]",
    "{a}",
    "&a",
    "*a",
    "!a",
    "|",
    ">",
    "%a",
    "@a",
    "`a",
    "'a",
    "\"a",
    " a ",
    "a\nb\n",
    "\t\r\u{1b}\u{85}\u{2028}",
    "ü😀\u{feff}",
    "---",
];

/// Reads YAML with PyYAML, and gives it as JSON.
fn python(text: &str) -> Value {
    let script = "import json, sys, yaml\njson.dump(yaml.safe_load(sys.stdin.buffer.read().decode()), sys.stdout)";
    let mut child = Command::new("/usr/bin/python3")
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3-yaml is installed; ci/setup does that");
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn fifty_five_odd_texts_are_read_by_python_as_they_were_set() {
    let project =
        Project::new("yamlfile: {path: d.yaml, isPrimary: true}\n    jsonfile: {path: d.json}");
    project.init();
    let keys: serde_json::Map<String, Value> = ODD
        .iter()
        .map(|text| ((*text).to_owned(), json!(text)))
        .collect();
    let value = json!({"list": &ODD[..], "keys": keys, "nested": [[ODD[0], [ODD[1]]], {"a": [], "b": {}, "c": [{}]}],
        "numbers": [0, -1, 1.5, 1e16, 1e-7, 123456789012345678u64, -0.0], "others": [null, true, false]});
    project.write("value.json", &value.to_string());

    project.ok(&["--set", "state.odd=file://value.json"]);

    assert_eq!(python(&project.read("d.yaml"))["state"]["odd"], value);
    assert_eq!(project.json("d.json")["state"]["odd"], value);
    project.ok(&["--set", "state.more=1"]);
    assert_eq!(python(&project.read("d.yaml"))["state"]["odd"], value);
}

#[test]
fn an_app_file_is_read_as_python_reads_it_where_that_can_be_told() {
    let project = Project::simple();
    project.write(
        "app.yaml",
        "cicd-contexts:\n  stage:\n    base: &base {a: yes, b: no, p: 012, t: 12:30:45, d: 2020-01-01}\n    on: x\n    80: y\n    \
         made: {<<: *base, b: on}\n    twice: 1\n    twice: 2\n    n: ~\n    h: 0x1F\n    folded: >\n      a\n      b\n",
    );
    project.init();

    for (path, printed) in [
        (
            "made",
            r#"{"a": true, "b": true, "p": "012", "t": "12:30:45", "d": "2020-01-01"}"#,
        ),
        ("on", "x"),
        ("'80'", "y"),
        ("80", "y"),
        ("twice", "2"),
        ("n", ""),
        ("h", "31"),
        ("folded", "a b"),
    ] {
        assert_eq!(project.get(path), printed, "{path}");
    }
}

#[test]
fn files_of_other_editors_are_read_and_what_is_no_yaml_is_refused_with_its_place() {
    let plain = "cicd-contexts:\n  stage:\n    a: &a {x: 1}\n    b: *a\n    text: |\n      one\n      two\n";
    for text in [
        plain.to_owned(),
        format!("\u{feff}{plain}"),
        plain.replace('\n', "\r\n"),
        format!("%YAML 1.1\n---\n{plain}...\n"),
    ] {
        let project = Project::simple();
        project.write("app.yaml", &text);
        project.init();
        assert_eq!(project.get("b.x"), "1", "{text:?}");
        assert_eq!(project.get("text"), "one\ntwo", "{text:?}");
    }
    for text in [
        "cicd-contexts:\n\tstage: {}\n",
        "cicd-contexts:\n  stage: *nowhere\n",
        "cicd-contexts: [\n",
    ] {
        let project = Project::simple();
        project.write("app.yaml", text);
        project.fails(&["--init-new", "run-1"], "app.yaml");
        assert!(!project.path("data.yaml").exists());
    }
}

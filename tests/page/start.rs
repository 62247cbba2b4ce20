//! Starting, canceling, running again.

use std::process::Command;

use serde_json::json;

use crate::stage::{Server, nothing_to_complain, signed_in, until};

fn definitions() -> String {
    format!(
        "pipelines:\n\
         \x20 release:\n    parameters:\n\
         \x20     version: {{type: string, required: true, pattern: '[0-9.]+'}}\n\
         \x20     target: {{choices: [staging, production], default: staging}}\n\
         \x20     loud: {{type: boolean}}\n\
         \x20     count: {{type: integer, default: 2}}\n\
         \x20     key: {{type: string, secret: true}}\n\
         \x20   tasks: {{t: {{script: ['echo {{{{.version}}}} {{{{.target}}}} {{{{.loud}}}} {{{{.count}}}} {{{{if .key}}}}key{{{{end}}}}']}}}}\n\
         \x20 free: {{tasks: {{t: {{script: ['echo {{{{.a}}}}']}}}}}}\n\
         \x20 slow: {{tasks: {{t: {{script: ['{}']}}}}}}\n\
         \x20 half: {{tasks: {{one: {{script: ['echo one']}}, two: {{script: ['exit {{{{.code}}}}'], depends_on: [one]}}}}}}\n",
        until("go")
    )
}

#[test]
fn a_form_asks_for_what_the_pipeline_wants() {
    let server = Server::start(&definitions());
    let browser = signed_in(&server);
    browser.click("#pipeline-release .button");
    browser.shows("h1", "Start release");
    assert_eq!(browser.texts("form .field label").len(), 5);

    browser.fill("[name='p.version']", "one");
    browser.fill("[name='p.key']", "MARKER-key");
    browser.click("[name='p.loud']");
    browser.choose("[name='p.target']", "production");
    browser.click("main form button[type=submit]");
    browser.shows("[role=alert]", "parameter \"version\" does not match");
    // What was entered stays, but for what nobody is to see.
    let value = |name: &str| {
        browser.run(&format!(
            "return document.querySelector(\"[name='p.{name}']\").value"
        ))
    };
    assert_eq!(value("target"), "production");
    assert_eq!(value("key"), "");
    assert!(
        !browser
            .run("return document.documentElement.outerHTML")
            .as_str()
            .unwrap()
            .contains("MARKER")
    );
    // The console tells of the status, and of nothing else.
    let complaints = browser.complaints();
    let is_status = |one: &String| one.contains("status of 400");
    assert!(complaints.iter().all(is_status), "{complaints:?}");
    browser.fill("[name='p.version']", "1.2");
    browser.fill("[name='p.key']", "MARKER-key");
    browser.click("main form button[type=submit]");

    browser.shows("#job .facts", "succeeded");
    let url = browser.url();
    let id = url.rsplit('=').next().unwrap();
    let job = server.job(id);
    assert_eq!(
        job["variables"],
        json!({"count": 2, "key": "***", "loud": true, "target": "production", "version": "1.2"})
    );
    assert!(
        browser.text("pre").contains("\"***\""),
        "{}",
        browser.text("pre")
    );
    nothing_to_complain(&browser);
}

#[test]
fn the_same_with_curl_does_the_same() {
    let server = Server::start(&definitions());
    let browser = signed_in(&server);
    browser.open(&server.url("/start?pipeline=free"));
    browser.fill("[name=variables]", r#"{"a": "it's me"}"#);

    browser.click("[name=as-curl]");

    browser.until("it is shown", "return document.getElementById('curl').open");
    let command = browser.text("#curl pre");
    let output = Command::new("bash")
        .args(["-c", &command])
        .env("PRUNNER_TOKEN", server.token())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let answer: serde_json::Value =
        serde_json::from_str(&said).unwrap_or_else(|err| panic!("{err}: {command}: {said}"));
    let job = server.finished(answer["jobId"].as_str().unwrap());
    assert_eq!(job["variables"]["a"], "it's me");
    nothing_to_complain(&browser);
}

#[test]
fn a_running_job_is_canceled_by_a_button() {
    let server = Server::start(&definitions());
    let id = server.schedule("slow", json!({}));
    let browser = signed_in(&server);
    browser.open(&server.url(&format!("/job?id={id}")));
    browser.shows("#job .facts", "running");

    browser.click("button.grave");

    browser.shows("#job .facts", "canceled");
    assert_eq!(server.job(&id)["canceled"], true);
    browser.shows("#job .actions", "Run again");
    nothing_to_complain(&browser);
}

#[test]
fn a_failed_job_goes_on_from_where_it_failed_with_other_values() {
    let server = Server::start(&definitions());
    let id = server.done("half", json!({"code": 7}));
    let browser = signed_in(&server);
    browser.open(&server.url(&format!("/job?id={id}")));
    browser.shows("#job", "exit code 7");
    browser.click("#job .actions a:nth-of-type(2)");
    browser.shows("main", "These tasks are done, and not run again: one.");
    assert!(
        browser
            .run("return document.querySelector('textarea').value")
            .as_str()
            .unwrap()
            .contains("\"code\": 7")
    );

    browser.fill("textarea", r#"{"code": 0}"#);
    browser.click("main form button[type=submit]");

    browser.shows("#job .facts", "succeeded");
    let states = browser.texts("tbody .badge");
    assert!(
        states[0].contains("skipped") && states[1].contains("done"),
        "{states:?}"
    );
    assert!(!browser.url().contains(&id));
    nothing_to_complain(&browser);
}

#[test]
fn a_whole_job_runs_again() {
    let server = Server::start(&definitions());
    let id = server.done("half", json!({"code": 0}));
    let browser = signed_in(&server);
    browser.open(&server.url(&format!("/job?id={id}")));
    assert_eq!(
        browser.count("#job .actions a"),
        1,
        "nothing of it has failed"
    );
    browser.click("#job .actions a");
    browser.click("main form button[type=submit]");

    browser.shows("#job .facts", "succeeded");
    assert!(
        browser
            .texts("tbody .badge")
            .iter()
            .all(|state| state.contains("done"))
    );
    assert!(!browser.url().contains(&id));
}

#[test]
fn what_was_refused_is_told_where_it_was_asked_for() {
    let server = Server::start(
        "pipelines:\n  p: {queue_limit: 0, tasks: {t: {script: ['until [ -e go ]; do sleep 0.05; done']}}}\n",
    );
    let browser = signed_in(&server);
    browser.open(&server.url("/start?pipeline=p"));
    server.schedule("p", json!({}));

    browser.fill("[name=variables]", "[1]");
    browser.click("main form button[type=submit]");
    browser.shows("[role=alert]", "no JSON object");
    assert_eq!(
        browser.run("return document.querySelector('textarea').value"),
        "[1]"
    );
    browser.fill("[name=variables]", "");
    browser.click("main form button[type=submit]");

    browser.shows("[role=alert]", "concurrency exceeded");
}

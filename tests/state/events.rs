//! Events and generators, beyond what the examples show.

use support::server::echo::{Echo, Reply};

use crate::project::{Project, SLACK_TOKEN, TRIGGER_TOKEN};

fn started() -> (Project, Echo) {
    let echo = Echo::start();
    let project = Project::with_events(&echo);
    project.init();
    (project, echo)
}

#[test]
fn handlers_run_in_the_order_of_the_file_and_see_what_was_set_c20() {
    let (project, echo) = started();

    project.ok(&["--handle-event", "build=order"]);

    assert_eq!(echo.take()[0].json()["text"], "1");
    assert_eq!(project.get("state.order"), "1");
}

#[test]
fn an_event_with_init_goes_into_the_new_document_c9() {
    let echo = Echo::start();
    let project = Project::with_events(&echo);

    let printed = project.ok(&[
        "--init-new",
        "run-1",
        "--set",
        "state.k=v",
        "--handle-event",
        "build=notify",
    ]);

    assert_eq!(printed, "run-1\n");
    assert_eq!(project.get("state.slack.stage.ts"), "1606.7");
    echo.says(200, "no JSON");
    project.fails(
        &[
            "--init-new",
            "run-1",
            "--set",
            "state.k=w",
            "--handle-event",
            "build=notify",
        ],
        "is no JSON",
    );
    assert_eq!(project.get("state.k"), "v");
}

#[test]
fn a_refused_request_is_told_and_is_an_error_only_with_strict_c22() {
    let (project, echo) = started();
    echo.says(404, "no such\nchannel");

    let answer = project.run(&["--handle-event", "build=notify", "--set", "state.k=v"]);

    assert_eq!(answer.code, Some(0), "{}", answer.stderr);
    assert!(
        answer
            .stderr
            .contains("ERROR - notify `default` http response code: 404 FAILED: no such; channel"),
        "{}",
        answer.stderr
    );
    echo.says(500, "");
    project.fails(
        &["--handle-event", "build=notify", "--strict"],
        "1 of the requests and templates have failed (--strict)",
    );
    // What was got is printed all the same, as without it.
    let answer = project.run(&["--get", "template1", "--strict"]);
    assert_eq!(answer.code, Some(1), "{}", answer.stderr);
    assert!(answer.stderr.contains("--strict"), "{}", answer.stderr);
}

#[test]
fn an_answer_that_is_no_json_fails_where_it_must_be_json_and_sets_stay_c22() {
    let (project, echo) = started();
    for event in ["notify", "trigger", "choice", "fails"] {
        echo.says(200, "<html>");
        let set = format!("state.set_{event}=kept");
        project.fails(
            &["--handle-event", &format!("build={event}"), "--set", &set],
            "is no JSON",
        );
        assert_eq!(project.get(&format!("state.set_{event}")), "kept");
    }
    assert_eq!(project.get("state.lost"), "");
}

#[test]
fn a_server_without_time_is_asked_again_and_a_lost_answer_is_not_c22() {
    let (project, echo) = started();
    echo.next(Reply::Says(
        503,
        "Retry-After: 0\r\n".to_owned(),
        String::new(),
    ));
    echo.says(429, "");
    project.ok(&["--handle-event", "build=notify"]);
    assert_eq!(echo.take().len(), 3);

    for _ in 0..3 {
        echo.says(503, "busy");
    }
    let answer = project.run(&["--handle-event", "build=notify"]);
    assert!(
        answer
            .stderr
            .contains("http response code: 503 FAILED: busy"),
        "{}",
        answer.stderr
    );
    assert_eq!(echo.take().len(), 3);

    echo.next(Reply::Hangs);
    project.fails(&["--handle-event", "build=notify"], "it was sent once, and");
    assert_eq!(echo.take().len(), 1);
    for reply in [
        "no HTTP at all\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
    ] {
        echo.next(Reply::Raw(reply.into()));
        project.fails(&["--handle-event", "build=notify"], "it was sent once, and");
    }
    let gone = Project::with_config(
        "yamlfile: {path: d.yaml, isPrimary: true}",
        &crate::project::events(&echo).replace(&echo.url(""), "http://127.0.0.1:1"),
    );
    gone.init();
    gone.fails(
        &["--handle-event", "build=notify"],
        "cannot talk to `http://127.0.0.1:1/slack`",
    );
}

#[test]
fn the_token_goes_to_the_host_of_slack_alone() {
    let (project, echo) = started();
    let other = Echo::start();
    let url = format!("state.url={}", other.url("/hook?sign=x"));

    project.ok(&["--handle-event", "build=respond", "--set", &url]);
    let heard = other.take();
    assert_eq!((heard.len(), heard[0].header("authorization")), (1, None));
    project.ok(&["--handle-event", "build=respond", "--set", "state.k=v"]);
    let heard = other.take();
    assert_eq!((heard.len(), heard[0].header("authorization")), (1, None));

    // Nor after a redirect.
    let to = format!("Location: {}\r\n", other.url("/elsewhere"));
    echo.next(Reply::Says(307, to.clone(), String::new()));
    project.fails(&["--handle-event", "build=notify"], "redirects to");
    echo.next(Reply::Says(302, to, String::new()));
    project.fails(&["--handle-event", "build=trigger"], "redirects to");
    assert!(other.take().is_empty());
    echo.take();
    echo.next(Reply::Says(
        307,
        format!("Location: {}\r\n", echo.url("/moved")),
        String::new(),
    ));
    project.ok(&["--handle-event", "build=notify"]);
    let heard = echo.take();
    assert_eq!(
        (heard[1].path.as_str(), heard[1].method.as_str()),
        ("/moved", "POST")
    );
    assert_eq!(
        heard[1].header("authorization"),
        Some(&*format!("Bearer {SLACK_TOKEN}"))
    );
    for _ in 0..7 {
        echo.next(Reply::Says(
            307,
            format!("Location: {}\r\n", echo.url("/round")),
            String::new(),
        ));
    }
    project.fails(
        &["--handle-event", "build=notify"],
        "nowhere, or in a circle",
    );
}

#[test]
fn no_url_of_another_kind_is_asked() {
    let (project, _echo) = started();
    for url in [
        "file:///etc/passwd",
        "ftp://x/y",
        "/etc/passwd",
        "http://",
        "gopher://user:MARKER-x@h/",
    ] {
        let set = format!("state.url={url}");
        let answer = project.run(&[
            "--handle-event",
            "build=respond",
            "--set",
            &set,
            "--set",
            "state.k=v",
        ]);
        assert_eq!(answer.code, Some(1), "{url}");
        assert!(!answer.stderr.contains("MARKER"), "{}", answer.stderr);
    }
}

#[test]
fn settings_that_are_missing_are_named() {
    let echo = Echo::start();
    let bare = Project::simple();
    bare.init();
    bare.fails(
        &["--handle-event", "build=notify"],
        "notify `default`: the config file has no `templates.notify`",
    );
    let more = crate::project::events(&echo);
    let project = Project::with_config(
        "yamlfile: {path: d.yaml, isPrimary: true}",
        &more.replace("headers:", "others:"),
    );
    project.init();
    project.fails(
        &["--handle-event", "build=trigger"],
        "no list `trigger.headers`",
    );
    project.write("secrets.yaml", "");
    project.fails(
        &["--handle-event", "build=trigger"],
        "the secrets file has no `trigger.token`",
    );
    project.fails(
        &["--handle-event", "missing=x"],
        "there is no pipeline `missing`",
    );
    let (project, _echo) = started();
    project.fails(
        &["--handle-event", "missing=x"],
        "there is no pipeline `missing`",
    );
}

#[test]
fn a_secret_of_a_header_is_sent_whole_or_not_at_all() {
    let echo = Echo::start();
    let more = crate::project::events(&echo).replace(
        "{{ secretData.trigger.token }}",
        "{{ secretData.none.token }}",
    );
    let project = Project::with_config("yamlfile: {path: d.yaml, isPrimary: true}", &more);
    project.init();

    project.fails(
        &["--handle-event", "build=trigger"],
        "the template of the header `X-Token` has failed",
    );

    assert!(echo.take().is_empty());
    // Nothing but a header can name a secret.
    project.ok(&[
        "--set",
        "state.try=[{{ secretData }}] {{ secretData.trigger.token }}",
    ]);
    let answer = project.run(&["--get", "state.try"]);
    assert!(!answer.stdout.contains(TRIGGER_TOKEN), "{}", answer.stdout);
}

#[test]
fn payloads_are_logged_only_if_asked_for() {
    let (project, _echo) = started();

    let quiet = project.run(&["--handle-event", "build=notify", "--set", "state.k=PAYLOAD"]);
    let loud = project.run(&["--handle-event", "build=notify", "--log-payloads"]);

    assert!(!quiet.stderr.contains("PAYLOAD"), "{}", quiet.stderr);
    assert!(
        loud.stderr.contains("PAYLOAD") && !loud.stderr.contains("MARKER"),
        "{}",
        loud.stderr
    );
    let none = project.run(&["--log-level", "ERROR", "--handle-event", "build=notify"]);
    assert_eq!(none.stderr, "");
}

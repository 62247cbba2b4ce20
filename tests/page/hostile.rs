//! Names and output of somebody hostile: all of it is text.

use serde_json::json;
use support::Browser;

use crate::stage::{Server, encoded, nothing_to_complain, signed_in, until};

const SCRIPT: &str = "<script>window.hacked = 1</script><img src=x onerror=\"window.hacked = 1\">";

/// Names that are markup, that end attributes and paths, and that are not seen.
const NAMES: [&str; 5] = [
    SCRIPT,
    "\"><svg onload=window.hacked=1>'",
    "../../jobs?state=failed#x",
    "a&b=c%2Fd e\u{202e}f",
    "javascript:window.hacked=1",
];

fn definitions() -> String {
    let tasks = json!({
        "\"><img src=x onerror=window.hacked=1>": {"script": [format!("printf '%s\\n' \"$EVIL\"; printf '%s\\n' \"$EVIL\" >&2")]},
        "<b>last": {"script": [until("go"), "printf '%s\\n' \"$EVIL\"", "exit 3"], "depends_on": ["\"><img src=x onerror=window.hacked=1>"]},
    });
    let env = json!({"EVIL": format!("{SCRIPT}\x1b[31m{SCRIPT}\x1b]0;{SCRIPT}\x07\u{202e}</code></div></main>")});
    let pipelines: serde_json::Map<String, serde_json::Value> = NAMES
        .iter()
        .map(|name| {
            let parameters = json!({
                format!("{SCRIPT}"): {"choices": [SCRIPT, "x"], "default": SCRIPT},
                "\"><script>": {"default": SCRIPT, "pattern": "(<script>)?.*"},
            });
            (
                (*name).to_owned(),
                json!({"tasks": tasks, "env": env, "parameters": parameters}),
            )
        })
        .collect();
    json!({"pipelines": pipelines}).to_string()
}

#[track_caller]
fn nothing_ran(browser: &Browser) {
    assert_eq!(
        browser.run("return window.hacked ?? 'no'"),
        "no",
        "{}",
        browser.url()
    );
    assert_eq!(browser.run("return document.querySelectorAll('main img, main script, main b, main [onload]').length"), 0);
    nothing_to_complain(browser);
}

#[test]
fn nothing_that_somebody_else_wrote_runs() {
    let server = Server::start(&definitions());
    let browser = signed_in(&server);
    browser.shows("main", NAMES[1]);
    nothing_ran(&browser);
    for name in NAMES {
        browser.open(&server.url(&format!("/pipeline?name={}", encoded(name))));
        browser.shows("h1", &name.replace('\u{202e}', "\\u{202e}"));
        nothing_ran(&browser);
        // The link of the page leads to the form of this pipeline and of no other.
        browser.click("#pipeline .button");
        browser.shows("h1", "Start ");
        assert_eq!(
            browser.run("return document.querySelector('[name=pipeline]').value"),
            name
        );
        nothing_ran(&browser);
    }

    browser.click("main form button[type=submit]");
    browser.shows("#job .facts", "running");
    nothing_ran(&browser);
    let job = browser.url();
    browser.until(
        "the first task is done",
        "return document.querySelectorAll('tbody .badge.good').length === 1",
    );
    browser.click("tbody th a");
    browser.shows("#stdout", "<script>");
    browser.shows("#stderr", "<script>");
    assert_eq!(
        browser.texts("#stdout code").len(),
        1,
        "the output stays in its line"
    );
    assert!(
        browser
            .text("#stdout code")
            .ends_with("\\u{202e}</code></div></main>")
    );
    nothing_ran(&browser);

    // What comes later takes another way.
    browser.open(&job);
    browser.click("tbody tr:nth-child(2) a");
    browser.until(
        "it is connected",
        "return 'connected' in document.body.dataset",
    );
    server.go("go");
    browser.shows("#stdout", "<script>");
    browser.shows("#state", "error");
    nothing_ran(&browser);
    for page in ["/", "/jobs", &format!("/jobs?user={}", encoded(SCRIPT))] {
        browser.open(&server.url(page));
        nothing_ran(&browser);
    }
    browser.open(&job);
    browser.shows("#job", "exit code 3");
    nothing_ran(&browser);
}

#[test]
fn what_somebody_puts_into_an_address_is_text_or_nothing() {
    let server = Server::start(&definitions());
    let browser = signed_in(&server);
    let evil = encoded(SCRIPT);
    for path in [
        format!("/sign-in?token={evil}&next={evil}"),
        format!("/sign-in?next={}", encoded("//evil.example.com/ui/")),
        format!("/pipeline?name={evil}x"),
        format!("/jobs?pipeline={evil}&user={evil}"),
        format!("/jobs?before={evil}"),
        format!("/job?id={evil}"),
        format!("/log?id={evil}&task={evil}"),
        format!("/{evil}"),
    ] {
        browser.open(&server.url(&path));
        assert_eq!(browser.run("return window.hacked ?? 'no'"), "no", "{path}");
        let complaints = browser.complaints();
        // A page that is not there is told of in the console, and that is all.
        assert!(
            complaints.iter().all(|one| one.contains("status of 4")),
            "{path}: {complaints:?}"
        );
    }
}

#[test]
fn a_name_in_the_browsers_own_words_is_not_taken_for_them() {
    // Each would be a part of the document to a script that looks for it by its name.
    let server = Server::start(
        "pipelines:\n  p: {parameters: {csrf: {}, action: {}, submit: {}, __proto__: {}}, tasks: {}}\n",
    );
    let browser = signed_in(&server);
    browser.open(&server.url("/start?pipeline=p"));
    browser.fill("[name='p.csrf']", "mine");
    browser.fill("[name='p.action']", "/elsewhere");
    browser.click("main form button[type=submit]");
    browser.shows("#job .facts", "succeeded");
    let id = browser.url().rsplit('=').next().unwrap().to_owned();
    assert_eq!(
        server.job(&id)["variables"],
        json!({"csrf": "mine", "action": "/elsewhere"})
    );
}

//! Lists of pipelines and jobs, and a job's own page.

use serde_json::json;
use support::Browser;

use crate::stage::{Server, nothing_to_complain, sign_in, signed_in, until};

/// One that ends as it is told, and two that wait for a file.
fn definitions() -> String {
    format!(
        "pipelines:\n\
         \x20 flaky: {{tasks: {{t: {{script: ['exit {{{{.code}}}}']}}}}}}\n\
         \x20 empty: {{tasks: {{}}}}\n\
         \x20 slow:\n    queue_limit: 5\n    tasks:\n\
         \x20     first: {{script: ['{}']}}\n\
         \x20     left: {{script: ['true'], depends_on: [first]}}\n\
         \x20     right: {{script: ['true'], depends_on: [first]}}\n\
         \x20     last: {{script: ['{}'], depends_on: [left, right]}}\n",
        until("one"),
        until("two"),
    )
}

/// Something that a page loses when it is loaded again.
fn mark(browser: &Browser) {
    browser.run("window.mark = 'here'");
}

#[track_caller]
fn is_the_same_page(browser: &Browser) {
    assert_eq!(browser.run("return window.mark ?? 'loaded again'"), "here");
}

#[test]
fn pipelines_change_before_the_readers_eyes() {
    let server = Server::start(&definitions());
    let browser = signed_in(&server);
    let row = "#pipeline-flaky";
    browser.shows(row, "never ran");
    assert_eq!(browser.title(), "Pipelines · prunner");
    mark(&browser);

    server.done("flaky", json!({"code": 0}));
    browser.shows(row, "succeeded");
    assert_eq!(browser.title(), "Pipelines · prunner");
    server.done("flaky", json!({"code": 3}));
    browser.shows(row, "failed");

    browser.until(
        "the title tells of it",
        "return document.title.startsWith('✖')",
    );
    let icon = browser.run("return document.querySelector('link[rel=icon]').getAttribute('href')");
    assert!(icon.as_str().unwrap().contains("/bad."), "{icon}");
    assert_eq!(browser.count("#pipeline-flaky svg.squares rect"), 2);
    server.schedule("slow", json!({}));
    browser.shows("#pipeline-slow td[data-name=Running]", "1");
    server.schedule("slow", json!({}));
    browser.shows("#pipeline-slow td[data-name=Waiting]", "1");
    is_the_same_page(&browser);
    nothing_to_complain(&browser);
}

#[test]
fn jobs_are_filtered_by_the_address() {
    let server = Server::start(&definitions());
    let good = server.done("flaky", json!({"code": 0}));
    let bad = server.done("flaky", json!({"code": 1}));
    let empty = server.done("empty", json!({}));
    let browser = signed_in(&server);
    let ids = |browser: &Browser| {
        browser.run("return [...document.querySelectorAll('tbody tr')].map((row) => row.id)")
    };
    browser.open(&server.url("/jobs"));
    let of = |id: &String| format!("job-{id}");
    assert_eq!(ids(&browser), json!([of(&empty), of(&bad), of(&good)]));

    browser.choose("#state", "failed");
    browser.click(".filters button");

    browser.until(
        "the filter counts",
        "return document.querySelectorAll('tbody tr').length === 1",
    );
    assert_eq!(ids(&browser), json!([of(&bad)]));
    assert!(browser.url().contains("state=failed"), "{}", browser.url());
    browser.open(&server.url("/jobs?pipeline=flaky&state=succeeded"));
    assert_eq!(ids(&browser), json!([of(&good)]));
    browser.open(&server.url("/jobs?user=nobody"));
    browser.shows("main", "There is no such job");
    assert_eq!(server.page("/jobs?state=odd").status, 400);
    nothing_to_complain(&browser);
}

#[test]
fn a_long_list_has_pages() {
    let server = Server::start(&definitions());
    let ids: Vec<String> = (0..60).map(|_| server.done("empty", json!({}))).collect();
    let browser = signed_in(&server);
    browser.open(&server.url("/jobs"));
    assert_eq!(browser.count("tbody tr"), 50);

    browser.click("main .actions a.button");

    browser.until(
        "the older ones are there",
        "return document.querySelectorAll('tbody tr').length === 10",
    );
    assert_eq!(browser.count(&format!("#job-{}", ids[0])), 1);
    browser.click("main .actions a.button");
    browser.until(
        "the newest are there",
        "return document.querySelectorAll('tbody tr').length === 50",
    );
    nothing_to_complain(&browser);
}

#[test]
fn a_job_is_followed_from_its_first_task_to_its_last() {
    let server = Server::start(&definitions());
    let browser = signed_in(&server);
    let id = server.schedule("slow", json!({}));
    browser.open(&server.url(&format!("/job?id={id}")));
    browser.shows("#job .facts", "running");
    assert!(
        browser.title().starts_with("▶ slow "),
        "{}",
        browser.title()
    );
    let columns = "return [...document.querySelectorAll('svg.graph rect.node')].map((node) => node.getAttribute('x'))";
    let columns = browser.run(columns);
    assert_eq!(columns.as_array().unwrap().len(), 4);
    assert_eq!(
        columns[1], columns[2],
        "left and right stand in one layer: {columns}"
    );
    assert_eq!(browser.count("svg.graph path.edge"), 4);
    mark(&browser);

    server.go("one");
    browser.shows("tbody", "done");
    browser.until(
        "two tasks more are done",
        "return document.querySelectorAll('tbody .badge.good').length === 3",
    );
    assert_eq!(browser.count("tbody svg.bar"), 4);
    server.go("two");

    browser.shows("#job .facts", "succeeded");
    browser.until(
        "nothing is to be canceled",
        "return !document.querySelector('button.grave')",
    );
    is_the_same_page(&browser);
    // Nothing more will change: nobody asks any more.
    browser.until(
        "it asks no more",
        "return document.body.dataset.events === undefined",
    );
    nothing_to_complain(&browser);
}

#[test]
fn a_page_comes_back_by_itself_when_the_server_does() {
    let mut server = Server::start(&definitions());
    let browser = signed_in(&server);
    browser.until(
        "it is connected",
        "return 'connected' in document.body.dataset",
    );
    mark(&browser);

    server.kill();
    browser.shows("#notice", "No connection to the server");
    server.run();
    browser.until(
        "the notice is gone",
        "return document.getElementById('notice').hidden",
    );
    browser.until(
        "it is connected again",
        "return 'connected' in document.body.dataset",
    );
    server.done("flaky", json!({"code": 1}));

    browser.shows("#pipeline-flaky", "failed");
    is_the_same_page(&browser);
}

#[test]
fn where_no_events_come_through_the_page_looks_by_itself() {
    let server = Server::start(&definitions());
    let browser = Browser::start();
    sign_in(&browser, &server);
    // As behind a proxy that cuts streams off.
    browser.run("document.body.dataset.events = '/ui/nothing-here'");
    browser.run("dispatchEvent(new Event('pagehide'))");
    mark(&browser);

    server.done("flaky", json!({"code": 1}));

    browser.shows("#pipeline-flaky", "failed");
    is_the_same_page(&browser);
}

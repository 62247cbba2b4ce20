//! Logs: colours, following, search, links to lines, the file.

use serde_json::json;

use crate::stage::{Server, nothing_to_complain, signed_in, until};

fn definitions() -> String {
    format!(
        "pipelines:\n\
         \x20 colours: {{tasks: {{t: {{script: ['printf \"plain \\\\033[31mred\\\\033[0m \\\\033[1;42mloud\\\\033[0m\\\\n10%%\\\\r100%%\\\\n\"; echo oh >&2']}}}}}}\n\
         \x20 long: {{tasks: {{t: {{script: ['seq 1 5000 | sed \"s/^/line /\"']}}}}}}\n\
         \x20 live: {{tasks: {{t: {{script: ['echo begun', '{}', 'seq 1 3000', 'printf \"how \"', '{}', 'echo are you', '{}', 'echo over']}}}}}}\n",
        until("one"),
        until("two"),
        until("three"),
    )
}

#[test]
fn colours_are_shown_and_nothing_of_a_terminal_else() {
    let server = Server::start(&definitions());
    let id = server.done("colours", json!({}));
    let browser = signed_in(&server);
    browser.open(&server.url(&format!("/log?id={id}&task=t")));

    assert_eq!(browser.texts("#stdout code"), ["plain red loud", "100%"]);
    assert_eq!(browser.texts("#stderr code"), ["oh"]);
    assert_eq!(browser.texts("#stdout .f1"), ["red"]);
    assert_eq!(browser.texts("#stdout .g2.bold"), ["loud"]);
    let colour = browser.run("return getComputedStyle(document.querySelector('.f1')).color");
    let plain =
        browser.run("return getComputedStyle(document.querySelector('#stdout code')).color");
    assert_ne!(colour, plain);
    nothing_to_complain(&browser);
}

#[test]
fn a_log_is_followed_to_its_end() {
    let server = Server::start(&definitions());
    let id = server.schedule("live", json!({}));
    let browser = signed_in(&server);
    browser.open(&server.url(&format!("/log?id={id}&task=t")));
    browser.shows("#stdout", "begun");
    browser.until(
        "it is connected",
        "return 'connected' in document.body.dataset",
    );
    browser.run("window.mark = 'here'");
    let is_at_end = "const log = document.getElementById('stdout'); \
                     return log.scrollHeight - log.scrollTop - log.clientHeight < 40";

    server.go("one");
    browser.until(
        "the part of a line is there",
        "return document.getElementById('stdout').lastElementChild.textContent.includes('how')",
    );
    browser.until("it is at the end", is_at_end);
    // Who scrolls up stays there.
    browser.run("document.getElementById('stdout').scrollTop = 0");
    browser.until(
        "it follows no more",
        "return !document.getElementById('follow-stdout').checked",
    );
    server.go("two");
    browser.until(
        "the line is whole",
        "return document.getElementById('L3002')?.textContent.includes('how are you')",
    );
    assert_eq!(
        browser.run("return document.getElementById('stdout').scrollTop"),
        0
    );
    browser.click("#follow-stdout");
    browser.until("it is at the end", is_at_end);
    server.go("three");

    browser.until(
        "the last line is there",
        "return document.getElementById('L3003')?.textContent.includes('over')",
    );
    browser.shows("#state", "done");
    assert_eq!(browser.run("return window.mark"), "here");
    // No line is there twice.
    let ids = "const ids = [...document.querySelectorAll('#stdout .line')].map((line) => line.id); \
               return ids.length === new Set(ids).size";
    assert_eq!(browser.run(ids), true);
    // What came too fast is a link.
    let gaps = browser.texts("#stdout .gap a");
    let n_lines = browser.count("#stdout .line");
    assert!(
        gaps.len() <= 1 && (n_lines == 3003) == gaps.is_empty(),
        "{gaps:?} {n_lines}"
    );
    nothing_to_complain(&browser);
}

#[test]
fn a_link_leads_to_its_line_wherever_that_is() {
    let server = Server::start(&definitions());
    let id = server.done("long", json!({}));
    let browser = signed_in(&server);
    let log = server.url(&format!("/log?id={id}&task=t"));
    browser.open(&log);
    assert_eq!(browser.count("#stdout .line"), 1000);
    assert!(browser.text("main").contains("lines 4001 to 5000 of 5000"));

    // As somebody may have written it.
    browser.open(&format!("{log}#L12"));
    browser.until(
        "the line is there",
        "return document.querySelector(':target')?.textContent.includes('line 12')",
    );
    // As the page writes it, without the script.
    let link = browser.run("return document.querySelector('#L12 a').href");
    browser.scripts(false);
    browser.open("about:blank");
    browser.open(link.as_str().unwrap());
    assert!(browser.text("#L12").contains("line 12"));
    assert!(
        browser.text("main").contains("lines 1 to 1000 of 5000"),
        "{}",
        browser.text("h2")
    );
    browser.scripts(true);
    nothing_to_complain(&browser);
}

#[test]
fn a_search_finds_lines_and_leads_to_them() {
    let server = Server::start(&definitions());
    let id = server.done("long", json!({}));
    let browser = signed_in(&server);
    browser.open(&server.url(&format!("/log?id={id}&task=t")));

    browser.fill("#q", "LINE 499");
    browser.click("[role=search] button");

    browser.shows("main", "11 of its lines have it");
    assert_eq!(browser.texts("#stdout code")[0], "line 499");
    browser.click("#L499 a");
    browser.until("the line is there among others", "return document.querySelector(':target')?.textContent.includes('line 499') && document.getElementById('L500') !== null");
    nothing_to_complain(&browser);
}

#[test]
fn the_file_is_what_the_task_wrote() {
    let server = Server::start(&definitions());
    let id = server.done("colours", json!({}));
    let reply = server.page(&format!("/log.txt?id={id}&task=t&stream=stdout"));
    assert!(
        reply.body.contains("plain \x1b[31mred\x1b[0m"),
        "{}",
        reply.body
    );
    let head = reply.head.to_lowercase();
    assert!(
        head.contains("content-disposition: attachment; filename=\""),
        "{head}"
    );
    assert!(head.contains("content-type: text/plain"), "{head}");
    for wrong in [
        "task=t&stream=other",
        "task=none&stream=stdout",
        "task=../t&stream=stdout",
    ] {
        assert_eq!(
            server.page(&format!("/log.txt?id={id}&{wrong}")).status,
            404,
            "{wrong}"
        );
    }
}

//! What keeps people out: axe, keyboard, narrow windows, dark colours, no scripts.

use serde_json::json;
use support::Browser;
use support::browser::{ENTER, NARROW, TAB, WIDE};

use crate::stage::{Server, nothing_to_complain, signed_in, until};

fn definitions() -> String {
    format!(
        "pipelines:\n\
         \x20 a-pipeline-with-a-name-that-is-longer-than-any-telephone-is-wide-and-has-no-place-to-break:\n    tasks:\n\
         \x20     build: {{script: ['printf \"\\\\033[1;33mwarning\\\\033[0m \\\\033[31merror\\\\033[0m \\\\033[44mnote\\\\033[0m\\\\n\"; seq 1 300']}}\n\
         \x20     test: {{script: ['exit 3'], depends_on: [build]}}\n\
         \x20     lint: {{script: ['true'], depends_on: [build]}}\n\
         \x20     publish: {{script: ['true'], depends_on: [test, lint]}}\n\
         \x20 release:\n    parameters:\n\
         \x20     version: {{type: string, required: true, pattern: '[0-9.]+'}}\n\
         \x20     target: {{choices: [staging, production], default: staging}}\n\
         \x20     loud: {{type: boolean}}\n\
         \x20   tasks: {{t: {{script: ['true']}}}}\n\
         \x20 slow: {{tasks: {{t: {{script: ['seq 1 20', '{}']}}}}}}\n",
        until("go")
    )
}

const LONG: &str =
    "a-pipeline-with-a-name-that-is-longer-than-any-telephone-is-wide-and-has-no-place-to-break";

/// Every page there is.
fn pages(server: &Server) -> Vec<String> {
    let failed = server.done(LONG, json!({}));
    server.done("release", json!({"version": "1.2"}));
    let slow = server.schedule("slow", json!({}));
    server.schedule("slow", json!({}));
    let paths = [
        "/".to_owned(),
        "/jobs".to_owned(),
        "/jobs?state=canceled".to_owned(),
        format!("/pipeline?name={LONG}"),
        "/start?pipeline=release".to_owned(),
        "/start?pipeline=slow".to_owned(),
        format!("/job?id={failed}"),
        format!("/job?id={slow}"),
        format!("/again?id={failed}&from=failed"),
        format!("/log?id={failed}&task=build"),
        format!("/log?id={failed}&task=build&q=warning"),
        format!("/log?id={slow}&task=t"),
        "/sign-in".to_owned(),
        "/nowhere".to_owned(),
    ];
    paths.iter().map(|path| server.url(path)).collect()
}

#[test]
fn axe_finds_nothing_serious_on_any_page_in_any_form() {
    let server = Server::start(&definitions());
    let browser = signed_in(&server);
    let mut all = Vec::new();
    for page in pages(&server) {
        for (size, is_dark) in [(WIDE, false), (WIDE, true), (NARROW, false)] {
            browser.window(size);
            browser.dark(is_dark);
            browser.open(&page);
            for barrier in browser.barriers() {
                all.push(format!("{page} {size:?} dark: {is_dark}: {barrier}"));
            }
        }
    }
    assert!(all.is_empty(), "{}", all.join("\n"));
}

#[test]
fn no_page_is_wider_than_a_telephone() {
    let server = Server::start(&definitions());
    let browser = signed_in(&server);
    browser.window(NARROW);
    for page in pages(&server) {
        browser.open(&page);
        let widest = "return [...document.querySelectorAll('main *')].filter((one) => one.getBoundingClientRect().right > 361 \
                      && !one.closest('.wide')).map((one) => one.outerHTML.slice(0, 120))";
        assert!(browser.overhang() <= 0, "{page}: {}", browser.run(widest));
    }
    // A table is a card for each row there.
    browser.open(&server.url("/"));
    assert_eq!(
        browser.run("return getComputedStyle(document.querySelector('tbody tr')).display"),
        "block"
    );
    let name = "return getComputedStyle(document.querySelector('td'), '::before').content";
    assert_eq!(browser.run(name), "\"Last result\"");
}

#[test]
fn colours_are_those_that_the_reader_likes() {
    let server = Server::start(&definitions());
    let browser = signed_in(&server);
    let light = |browser: &Browser| {
        let ground = browser.run("return getComputedStyle(document.body).backgroundColor");
        let ground = ground.as_str().unwrap().to_owned();
        let parts = ground
            .trim_start_matches("rgb(")
            .trim_end_matches(')')
            .split(", ");
        parts.map(|part| part.parse::<u32>().unwrap()).sum::<u32>()
    };
    browser.dark(false);
    assert!(light(&browser) > 700, "{}", light(&browser));
    browser.dark(true);
    assert!(light(&browser) < 100, "{}", light(&browser));
}

#[test]
fn all_can_be_done_without_a_mouse() {
    let server = Server::start(&definitions());
    let browser = signed_in(&server);
    browser.open(&server.url("/start?pipeline=release"));
    browser.press(TAB);
    assert_eq!(browser.focused(), "Skip to the content");
    // What the keyboard is at is seen.
    let outline = "return getComputedStyle(document.activeElement).outlineStyle";
    assert_eq!(browser.run(outline), "solid");
    browser.press(ENTER);
    browser.until(
        "it is past the navigation",
        "return location.hash === '#main'",
    );
    let mut steps = Vec::new();
    while browser.focused() != "p.version" {
        browser.press(TAB);
        steps.push(browser.focused());
        assert!(steps.len() < 9, "{steps:?}");
    }
    browser.press("1.2");
    browser.press(ENTER);

    browser.shows("#job .facts", "succeeded");
    // A table's links, the graph's nodes and the log are reached too.
    browser.run("document.activeElement.blur()");
    let mut reached = Vec::new();
    for _ in 0..25 {
        browser.press(TAB);
        reached.push(browser.focused());
    }
    let n_of = |what: &dyn Fn(&str) -> bool| reached.iter().filter(|one| what(one)).count();
    assert!(n_of(&|one| one == "Run again…") > 0, "{reached:?}");
    // The graph, which scrolls by keys, and its node.
    assert!(
        n_of(&|one| one.starts_with('t') && one.contains("done")) > 1,
        "{reached:?}"
    );
    assert!(n_of(&|one| one == "t") > 0, "{reached:?}");
    nothing_to_complain(&browser);
}

#[test]
fn all_can_be_read_and_done_without_the_script() {
    let server = Server::start(&definitions());
    let browser = signed_in(&server);
    browser.scripts(false);
    for page in pages(&server) {
        browser.open(&page);
        assert!(!browser.text("h1").is_empty(), "{page}");
        assert!(
            !browser.text("main").contains("Follow"),
            "what only the script does is not shown: {page}"
        );
    }
    browser.open(&server.url("/start?pipeline=release"));
    browser.fill("[name='p.version']", "2.0");
    browser.click("main form button[type=submit]");
    let id = browser.url().rsplit('=').next().unwrap().to_owned();
    assert_eq!(server.finished(&id)["completed"], true);
    browser.reload();
    browser.shows("#job .facts", "succeeded");
    browser.click("#job .actions a");
    browser.click("main form button[type=submit]");
    assert!(!browser.url().contains(&id), "{}", browser.url());
    let slow = server.schedule("slow", json!({}));
    browser.open(&server.url(&format!("/job?id={slow}")));
    browser.click("button.grave");
    browser.shows("#job .facts", "canceled");
}

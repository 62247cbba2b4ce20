//! The pages of `pool serve`, in a real browser.

use std::path::Path;

use serde_json::json;

use support::browser::{ENTER, NARROW, TAB, WIDE};
use support::remote::Hand;
use support::server::http::HttpServer;
use support::server::pages::Pages;
use support::{Browser, Cli, Step, TestRemote};

const TOKEN: &str = "a token of some length";

const LONG: &str =
    "a-lock-with-a-name-that-is-longer-than-any-telephone-is-wide-and-has-no-place-to-break";

/// Names and reasons of somebody hostile.
const EVIL: &str = "<img src=x onerror=alert(1)>\"'<script>alert(1)</script>";
const EVIL_NAME: &str = "\"><svg onload=alert(1)>&amp;'";

/// A repository, its server, and the pages.
struct Stage {
    remote: TestRemote,
    server: HttpServer,
    cli: Cli,
}

impl Stage {
    /// Pools of several kinds: with a past, with a line, damaged, empty, hostile.
    fn new() -> Stage {
        let remote = TestRemote::with_pool("aws", &["env-1", "env-2", "env-3", LONG]);
        remote.add_pool("team/gcp", &["a"]);
        remote.add_pool("empty", &[]);
        remote.add_pool("hostile<b>", &["plain"]);
        let server = HttpServer::start(remote.root());
        let build = Step::on(&remote, "aws").in_build();
        for _ in 0..6 {
            build.put(json!({"claim": "env-1"}));
            build.put(json!({"release_mine": true}));
        }
        build.put(json!({"claim": "env-1"}));
        let cli = Cli::on(&server.uri())
            .env("POOL_HOLDER", "the pages")
            .env("POOL_SERVE_TOKEN", TOKEN);
        let stage = Stage {
            remote,
            server,
            cli,
        };
        stage.claims(
            "aws",
            "env-2",
            "ann claiming: env-2\n\nPool-Reason: out of service",
        );
        let hostile = format!("hostile<b>/claimed/{}", EVIL_NAME.replace('/', "|"));
        stage.remote.commit(
            &format!("{EVIL}\n\nBuild URL: javascript:alert(1)\n\nPool-Reason: {EVIL}"),
            &[Hand::Put(&hostile, "100644", EVIL.as_bytes())],
        );
        let both = [
            Hand::Put("team/gcp/claimed/a", "100644", b"x"),
            Hand::Put("docs/readme", "100644", b"x"),
        ];
        stage.remote.commit("oops", &both);
        stage
    }

    fn claims(&self, pool: &str, lock: &str, message: &str) {
        let (from, to) = (
            format!("{pool}/unclaimed/{lock}"),
            format!("{pool}/claimed/{lock}"),
        );
        self.remote.commit(message, &[Hand::Move(&from, &to)]);
    }

    fn releases(&self, pool: &str, lock: &str, message: &str) {
        let (from, to) = (
            format!("{pool}/claimed/{lock}"),
            format!("{pool}/unclaimed/{lock}"),
        );
        self.remote.commit(message, &[Hand::Move(&from, &to)]);
    }

    fn pages(&self) -> Pages {
        let args = ["--show-metadata", "--allow", "unlock,claim,release"];
        let pages = Pages::start(&self.cli, &args);
        pages.wait_for("/", " since <time");
        pages
    }
}

/// Every page there is.
fn paths() -> Vec<String> {
    [
        "/",
        "/pool?name=aws",
        "/pool?name=aws&span=week",
        "/pool?name=team%2Fgcp",
        "/pool?name=empty",
        "/pool?name=hostile%3Cb%3E",
        "/lock?pool=aws&name=env-1",
        "/lock?pool=aws&name=env-2",
        "/lock?pool=aws&name=env-3",
        "/sign-in",
        "/nowhere",
    ]
    .map(str::to_owned)
    .into()
}

#[track_caller]
fn nothing_to_complain(browser: &Browser) {
    let complaints = browser.complaints();
    // The browser itself tells of answers that are errors.
    let ours: Vec<&String> = complaints
        .iter()
        .filter(|words| !words.contains("the server responded with a status of"))
        .filter(|words| !words.contains("net::ERR_"))
        .collect();
    assert!(ours.is_empty(), "{ours:?}");
}

#[track_caller]
fn sign_in(browser: &Browser, pages: &Pages, next: &str) {
    browser.open(&pages.url(next));
    browser.click("a[href^='/sign-in']");
    browser.fill("input[name=token]", TOKEN);
    browser.press(ENTER);
    browser.until(
        "the first page is there again",
        "return location.pathname !== '/sign-in' && document.readyState === 'complete'",
    );
}

#[test]
fn pools_locks_and_the_line_are_shown_and_change_without_a_reload() {
    let stage = Stage::new();
    let pages = stage.pages();
    let browser = Browser::start();
    browser.open(&pages.url("/"));
    browser.shows("#pools", "team/gcp");
    assert!(browser.title().starts_with('✖'), "{}", browser.title());
    browser.click("a[href='/pool?name=aws']");
    browser.shows("h1", "aws");
    let rows = browser.texts("#locks tbody tr");
    assert_eq!(rows.len(), 4, "{rows:?}");
    browser.run("window.mark = 'the same page'");

    stage.claims("aws", "env-3", "eve claiming: env-3");
    browser.shows("#lock-env-3", "eve");
    let other = Cli::on(&stage.server.uri())
        .env("POOL_NAME", "aws")
        .env("POOL_HOLDER", "bob");
    let waits = other.watch(&["claim", "env-2"]);
    browser.shows("#line", "bob");
    browser.shows("#line", "env-2");
    stage.releases("aws", "env-2", "ann unclaiming: env-2");
    waits.wait_for("env-2");
    browser.shows("#lock-env-2", "bob");
    browser.shows("#line", "Nobody waits");

    assert_eq!(browser.run("return window.mark"), "the same page");
    assert!(browser.count("#timeline rect") > 4);
    nothing_to_complain(&browser);
}

#[test]
fn a_git_server_that_goes_and_comes_shows_on_an_open_page() {
    let mut stage = Stage::new();
    let pages = stage.pages();
    let browser = Browser::start();
    browser.open(&pages.url("/pool?name=aws"));
    browser.shows("#lock-env-1", "held");
    browser.run("window.mark = 'the same page'");

    stage.server.stop("TERM");
    browser.shows("#state", "The repository cannot be read");
    stage.claims("aws", "env-3", "eve claiming: env-3");
    stage.server.start_again_there();
    browser.shows("#lock-env-3", "eve");
    browser.until(
        "nothing is said to be old",
        "return !document.getElementById('state').textContent.includes('old')",
    );

    assert_eq!(browser.run("return window.mark"), "the same page");
    nothing_to_complain(&browser);
}

#[test]
fn a_server_of_pages_that_is_started_again_is_found_again_by_an_open_page() {
    let stage = Stage::new();
    let mut pages = stage.pages();
    let address = format!("127.0.0.1:{}", pages.port());
    let browser = Browser::start();
    browser.open(&pages.url("/pool?name=aws"));
    browser.shows("#lock-env-1", "held");
    browser.run("window.mark = 'the same page'");

    pages.end("KILL");
    browser.shows("#notice", "No connection");
    drop(pages);
    stage.claims("aws", "env-3", "eve claiming: env-3");
    let _pages = Pages::start_at(&stage.cli, &address, &["--allow", "unlock"]);

    browser.shows("#lock-env-3", "eve");
    assert_eq!(browser.run("return window.mark"), "the same page");
    nothing_to_complain(&browser);
}

#[test]
fn a_button_asks_why_and_does_what_it_says() {
    let stage = Stage::new();
    let pages = stage.pages();
    let browser = Browser::start();
    sign_in(&browser, &pages, "/lock?pool=aws&name=env-2");
    browser.shows("h1", "env-2");
    let cookies = browser.cookies();
    assert_eq!(cookies.len(), 1, "{cookies:?}");
    assert_eq!(cookies[0]["httpOnly"], true);
    assert_eq!(cookies[0]["sameSite"], "Strict");

    // Without a reason the browser does not send it.
    browser.click("form[action='/act'] button");
    browser.shows("#lock", "ann");
    browser.fill("input[name=reason]", EVIL);
    browser.click("form[action='/act'] button");
    browser.shows("[role=status]", "");
    browser.shows("main", "It was unlocked.");
    browser.shows("#holds", "<img src=x");
    let message = stage.remote.message(&stage.remote.head());
    assert!(
        message.contains(&format!("Pool-Reason: {EVIL}")),
        "{message}"
    );

    browser.fill("input[name=reason]", "for a demo");
    browser.press(ENTER);
    browser.shows("main", "It was claimed.");
    browser.shows("#lock", "the pages");
    browser.fill("input[name=reason]", "done");
    browser.click("form[action='/act'] button");
    browser.shows("main", "It was released.");
    assert!(
        stage
            .remote
            .list("aws/unclaimed")
            .contains(&"env-2".to_owned())
    );

    browser.click("form.reader button");
    browser.until(
        "signed out",
        "return document.cookie === '' && !document.querySelector('form.reader')",
    );
    browser.open(&pages.url("/lock?pool=aws&name=env-2"));
    assert_eq!(browser.count("input[name=reason]"), 0);
    nothing_to_complain(&browser);
}

#[test]
fn what_somebody_writes_stays_while_the_page_changes_around_it() {
    let stage = Stage::new();
    let pages = stage.pages();
    let browser = Browser::start();
    sign_in(&browser, &pages, "/lock?pool=aws&name=env-2");
    browser.fill("input[name=reason]", "half a sen");

    stage.releases("aws", "env-2", "ann unclaiming: env-2");
    stage.claims("aws", "env-2", "eve claiming: env-2");
    browser.shows("#lock", "eve");

    assert_eq!(
        browser.run("return document.querySelector('input[name=reason]').value"),
        "half a sen"
    );
    // The claim that was meant has ended.
    browser.press("tence");
    browser.press(ENTER);
    browser.shows("[role=alert]", "It was not unlocked");
    browser.shows("#lock", "eve");
    nothing_to_complain(&browser);
}

#[test]
fn nothing_hostile_runs_and_everything_is_read_without_scripts() {
    let stage = Stage::new();
    let pages = stage.pages();
    let browser = Browser::start();
    for are_on in [true, false] {
        browser.scripts(are_on);
        browser.open(&pages.url("/"));
        browser.shows("#pools", "hostile<b>");
        browser.click("a[href='/pool?name=hostile%3Cb%3E']");
        browser.shows("#locks", "onload=alert(1)");
        browser.shows("#locks", "<img src=x");
        browser.click("#locks th[scope=row] a");
        browser.shows("h1", "onload=alert(1)");
        browser.shows("#metadata", "<script>alert(1)</script>");
        assert_eq!(
            browser.count("main img, main svg[onload], a[href^='javascript']"),
            0
        );
    }
    nothing_to_complain(&browser);
}

#[test]
fn a_keyboard_is_enough() {
    let stage = Stage::new();
    let pages = stage.pages();
    let browser = Browser::start();
    browser.open(&pages.url("/"));
    let go_to = |text: &str| {
        for _ in 0..40 {
            browser.press(TAB);
            if browser.focused().contains(text) {
                return;
            }
        }
        panic!("no way to {text} on {}", browser.url());
    };
    go_to("Skip to the content");
    go_to("aws");
    browser.press(ENTER);
    browser.shows("h1", "aws");
    go_to("env-1");
    browser.press(ENTER);
    browser.shows("h1", "env-1");
    nothing_to_complain(&browser);
}

#[test]
fn axe_finds_nothing_serious_and_nothing_is_wider_than_a_phone() {
    let stage = Stage::new();
    let pages = stage.pages();
    let browser = Browser::start();
    sign_in(&browser, &pages, "/");
    let other = Cli::on(&stage.server.uri())
        .env("POOL_NAME", "aws")
        .env("POOL_HOLDER", "bob");
    let _waits = other.watch(&["claim", "env-2"]);
    pages.wait_for("/pool?name=aws", ">bob<");
    let mut all = Vec::new();
    for path in paths() {
        for (window, is_dark) in [(WIDE, false), (WIDE, true), (NARROW, false)] {
            browser.window(window);
            browser.dark(is_dark);
            browser.open(&pages.url(&path));
            let place = format!("{path} {} {is_dark}", window.0);
            all.extend(
                browser
                    .barriers()
                    .into_iter()
                    .map(|one| format!("{place}: {one}")),
            );
            let overhang = browser.overhang();
            if overhang > 0 {
                all.push(format!("{place} is {overhang} too wide"));
            }
            if let Some(folder) = std::env::var_os("POOL_PICTURES") {
                let name: String = place
                    .chars()
                    .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
                    .collect();
                browser.store_picture(&Path::new(&folder).join(format!("{name}.png")), 2400);
            }
        }
    }
    assert!(all.is_empty(), "{all:#?}");
    nothing_to_complain(&browser);
}

#[test]
fn twenty_pools_and_a_thousand_locks_are_readable() {
    let remote = TestRemote::with_many_pools(3000);
    let server = HttpServer::start(remote.root());
    let cli = Cli::on(&server.uri());
    let pages = Pages::start(&cli, &[]);
    pages.wait_for("/", " since <time");
    let browser = Browser::start();

    browser.open(&pages.url("/"));
    assert_eq!(browser.count("#pools tbody tr"), 20);
    browser.click("#pools tbody a");
    browser.shows("h1", "team-0/pool-00");
    assert_eq!(browser.count("#locks tbody tr"), 50);
    assert_eq!(browser.count("#timeline .lane:not(.marks)"), 50);
    for window in [WIDE, NARROW] {
        browser.window(window);
        assert_eq!(browser.overhang(), 0);
        if let Some(folder) = std::env::var_os("POOL_PICTURES") {
            let name = format!("many_{}.png", window.0);
            browser.store_picture(&Path::new(&folder).join(name), 3000);
        }
    }
    assert!(browser.barriers().is_empty(), "{:#?}", browser.barriers());
    nothing_to_complain(&browser);
}

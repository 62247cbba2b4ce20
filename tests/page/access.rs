//! Who may see the pages: tokens, links, cookies, forms of others.

use serde_json::json;
use support::Browser;

use crate::stage::{Server, encoded, link, nothing_to_complain, sign_in, signed_in};

const DEFINITIONS: &str = "pipelines:\n  mine: {tasks: {}}\n  theirs: {tasks: {}}\n";

#[test]
fn a_link_signs_in_and_the_cookie_is_for_the_pages_alone() {
    let server = Server::start(DEFINITIONS);
    let browser = signed_in(&server);
    let cookies = browser.cookies();
    assert_eq!(cookies.len(), 1, "{cookies:?}");
    assert_eq!(cookies[0]["name"], "prunner_ui");
    assert_eq!(cookies[0]["httpOnly"], true);
    assert_eq!(cookies[0]["sameSite"], "Strict");
    assert_eq!(cookies[0]["path"], "/ui/");
    assert_eq!(browser.run("return document.cookie"), "");
    // The API does not take it, so that nobody's page can use it.
    let cookie = format!(
        "Cookie: prunner_ui={}",
        cookies[0]["value"].as_str().unwrap()
    );
    assert_eq!(
        server.request("GET", "/pipelines", &[&cookie], "").status,
        401
    );
    assert_eq!(server.request("GET", "/ui/", &[&cookie], "").status, 200);
    // It is not the link's: that one may stay in a history.
    assert!(!link(&server).contains(cookies[0]["value"].as_str().unwrap()));

    browser.click(".reader button");

    browser.shows("h1", "Sign in");
    assert!(browser.cookies().is_empty());
    nothing_to_complain(&browser);
}

#[test]
fn who_signs_in_gets_where_he_wanted_to_go() {
    let server = Server::start(DEFINITIONS);
    let browser = Browser::start();
    browser.open(&server.url("/jobs?pipeline=mine"));
    browser.shows("h1", "Sign in");

    browser.fill("input[name=token]", "wrong");
    browser.click("main button[type=submit]");
    browser.shows("[role=alert]", "token is unauthorized");
    browser.fill("input[name=token]", &format!("Bearer {}", server.token()));
    browser.click("main button[type=submit]");

    browser.shows("h1", "Jobs");
    assert!(
        browser.url().ends_with("/ui/jobs?pipeline=mine"),
        "{}",
        browser.url()
    );
}

#[test]
fn a_form_of_somebody_else_does_nothing() {
    let server = Server::start(DEFINITIONS);
    let cookie = format!("Cookie: prunner_ui={}", server.token());
    let kind = "Content-Type: application/x-www-form-urlencoded";
    let form = server
        .request("GET", "/ui/start?pipeline=mine", &[&cookie], "")
        .body;
    let csrf = form
        .split("name=\"csrf\" value=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap()
        .to_owned();
    let body = format!("csrf={csrf}&pipeline=mine&variables=");
    let origin = format!("Origin: http://127.0.0.1:{}", server.port);
    let post =
        |headers: &[&str], body: &str| server.request("POST", "/ui/start", headers, body).status;

    assert_eq!(post(&[&cookie, kind], "pipeline=mine&variables="), 403);
    assert_eq!(
        post(&[&cookie, kind], &body.replace(&csrf, &"0".repeat(64))),
        403
    );
    assert_eq!(
        post(&[&cookie, kind, "Origin: http://evil.example.com"], &body),
        403
    );
    assert_eq!(
        post(&[&cookie, kind, "Sec-Fetch-Site: cross-site"], &body),
        403
    );
    assert_eq!(post(&[kind, &origin], &body), 401);
    assert_eq!(
        post(&[&cookie, "Content-Type: text/plain", &origin], &body),
        415
    );
    assert!(server.page("/jobs").body.contains("There is no such job"));
    assert_eq!(post(&[&cookie, kind, &origin], &body), 303);
    // To sign somebody in as somebody else is no business of another page either.
    let sign_in = format!("token={}", server.token());
    let headers = [kind, "Origin: http://evil.example.com"];
    assert_eq!(
        server
            .request("POST", "/ui/sign-in", &headers, &sign_in)
            .status,
        403
    );
}

#[test]
fn every_answer_says_what_a_browser_must_not_do() {
    let server = Server::start(DEFINITIONS);
    for path in [
        "/ui/",
        "/ui/sign-in",
        "/ui/nowhere",
        "/ui/assets/nothing",
        "/ui/events",
        "/ui",
    ] {
        let head = server.request("GET", path, &[], "").head.to_lowercase();
        assert!(
            head.contains("content-security-policy: default-src 'none'; script-src 'self'"),
            "{path}: {head}"
        );
        assert!(!head.contains("unsafe"), "{head}");
        for header in [
            "x-content-type-options: nosniff",
            "x-frame-options: deny",
            "cache-control: no-store",
        ] {
            assert!(head.contains(header), "{path}: {header}: {head}");
        }
    }
    let page = server.page("/").body;
    let style = page
        .split("href=\"")
        .find(|rest| rest.contains("/assets/style."))
        .unwrap();
    let head = server
        .request("GET", style.split('"').next().unwrap(), &[], "")
        .head
        .to_lowercase();
    assert!(
        head.contains("cache-control: public, max-age=31536000, immutable"),
        "{head}"
    );
}

#[test]
fn a_browser_that_asks_for_the_root_is_shown_the_pages_and_nobody_else() {
    let server = Server::start(DEFINITIONS);
    assert_eq!(server.request("GET", "/", &[], "").status, 404);
    let reply = server.request("GET", "/", &["Accept: text/html,*/*"], "");
    assert_eq!(reply.status, 303);
    assert!(reply.head.contains("location: /ui/"), "{}", reply.head);
}

#[test]
fn a_token_for_some_pipelines_shows_these_alone() {
    let server = Server::start(DEFINITIONS);
    let secret = server.done("theirs", json!({}));
    // {"sub":"<b>ann","pipelines":["mine"]}, signed with the secret of the tests.
    let token = server.signed(&json!({"sub": "<b>ann", "pipelines": ["mine"]}));
    let browser = Browser::start();
    browser.open(&server.url(&format!("/sign-in?token={}", encoded(&token))));
    browser.click("main button[type=submit]");

    browser.shows("h1", "Pipelines");
    assert_eq!(browser.texts("tbody th"), ["mine"]);
    browser.shows(".reader", "<b>ann");
    for path in [
        format!("/job?id={secret}"),
        format!("/events?id={secret}"),
        format!("/again?id={secret}"),
        "/pipeline?name=theirs".to_owned(),
        "/start?pipeline=theirs".to_owned(),
    ] {
        let cookie = format!("Cookie: prunner_ui={token}");
        assert_eq!(
            server
                .request("GET", &format!("/ui{path}"), &[&cookie], "")
                .status,
            404,
            "{path}"
        );
    }
    browser.open(&server.url("/jobs"));
    browser.shows("main", "There is no such job");
}

#[test]
fn who_is_signed_out_elsewhere_is_asked_again() {
    let server = Server::start(DEFINITIONS);
    let browser = Browser::start();
    sign_in(&browser, &server);
    browser.until(
        "it is connected",
        "return 'connected' in document.body.dataset",
    );
    let csrf = browser.run("return document.querySelector('[name=csrf]').value");
    browser.run(&format!(
        "fetch('/ui/sign-out', {{method: 'POST', body: new URLSearchParams({{csrf: {csrf}}})}})"
    ));

    server.done("mine", json!({}));

    browser.shows("h1", "Sign in");
}

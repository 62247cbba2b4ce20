//! What settings and the environment make of a source.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use git::Links;
use net::Proxies;
use serde_json::json;

use super::*;
use crate::concourse::{Build, CheckRequest};

fn surroundings() -> Surroundings {
    Surroundings {
        temporary: "/nonexistent".into(),
        build: Build::default(),
        home: None,
        met_hosts: None,
        ssh_agent: None,
        paint: terminal::Paint::Plain,
        proxies: Proxies::default(),
        links: Links::default(),
        git_settings: None,
    }
}

fn ready_in(
    around: &Surroundings,
    mut source: serde_json::Value,
) -> Result<(Ready, String), String> {
    source["branch"] = "main".into();
    source["pool"] = "aws".into();
    let request = CheckRequest::read(json!({ "source": source }).to_string().as_bytes()).unwrap();
    let mut log = Vec::new();
    let ready =
        Ready::new(&request.source, around, &mut log).map_err(|err| terminal::chain(&err))?;
    Ok((ready, String::from_utf8(log).unwrap()))
}

fn ready(source: serde_json::Value) -> Ready {
    ready_in(&surroundings(), source).unwrap().0
}

fn settings(pairs: &[(&str, &str)]) -> serde_json::Value {
    pairs
        .iter()
        .map(|(name, value)| json!({"name": name, "value": value}))
        .collect()
}

#[test]
fn without_settings_it_is_the_resource_in_use_today_that_commits() {
    let ready = ready(json!({"uri": "/x"}));

    assert_eq!(
        (ready.identity.name.as_str(), ready.identity.email.as_str()),
        ("CI Pool Resource", "ci-pool@localhost")
    );
    assert_eq!(ready.access, Access::default());
    assert_eq!(
        ready.pace,
        Pace {
            retry_delay: Duration::from_secs(10),
            fault_limit: Duration::from_secs(300)
        }
    );
}

#[test]
fn settings_that_mean_something_have_their_effect_and_each_other_one_is_named() {
    let pairs = settings(&[
        ("User.Name", "Me"),
        ("user.email", "me@x"),
        ("http.sslVerify", "FALSE"),
        ("http.extraHeader", "X-One: 1"),
        ("http.extraHeader", ""),
        ("http.extraHeader", "X-Two: a:b"),
        ("core.sshCommand", "ssh -v"),
        ("safe.directory", "*"),
    ]);

    let (ready, log) = ready_in(
        &surroundings(),
        json!({"uri": "https://h/x", "git_config": pairs}),
    )
    .unwrap();

    assert_eq!(
        (ready.identity.name.as_str(), ready.identity.email.as_str()),
        ("Me", "me@x")
    );
    assert!(ready.access.route.trust.anyone);
    assert_eq!(
        ready.access.headers,
        [Header {
            name: "X-Two".into(),
            value: "a:b".into()
        }]
    );
    assert_eq!(log.lines().count(), 2);
    assert!(
        log.contains("`core.sshCommand`") && log.contains("`safe.directory`"),
        "{log}"
    );
}

#[test]
fn what_is_set_for_one_server_goes_to_no_other() {
    let headers = |uri: &str, scope: &str| {
        let pairs = settings(&[(
            &format!("http.{scope}.extraHeader"),
            "Authorization: MARKER",
        )]);
        ready(json!({"uri": uri, "git_config": pairs}))
            .access
            .headers
            .len()
    };

    assert_eq!(headers("https://h.example/a/b.git", "https://h.example"), 1);
    assert_eq!(
        headers("https://h.example/a/b.git", "https://h.example/"),
        1
    );
    assert_eq!(
        headers("https://h.example:443/a/b.git", "https://h.example/a"),
        1
    );
    for other in [
        "https://other.example",
        "http://h.example",
        "https://h.example:8443",
        "https://h.example/ab",
        "x",
    ] {
        assert_eq!(headers("https://h.example/a/b.git", other), 0, "{other}");
    }
}

#[test]
fn the_longest_of_several_rewritings_wins() {
    let pairs = settings(&[
        ("url.https://mirror.example/.insteadOf", "gh:"),
        ("url.https://Mirror.example/Ops/.insteadOf", "gh:ops/"),
    ]);

    let of = |uri: &str| {
        ready(json!({"uri": uri, "git_config": pairs}))
            .location
            .to_string()
    };

    assert_eq!(
        of("gh:ops/locks.git"),
        "https://mirror.example/Ops/locks.git"
    );
    assert_eq!(
        of("gh:dev/locks.git"),
        "https://mirror.example/dev/locks.git"
    );
    assert_eq!(of("https://h/x"), "https://h/x");
}

#[test]
fn credentials_of_the_source_win_over_those_of_the_uri() {
    let of = |source| {
        ready(source)
            .access
            .credentials
            .map(|one| (one.username, one.password.unwrap_or_default()))
    };
    let pair = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));

    assert_eq!(of(json!({"uri": "http://a:b@h/x"})), pair("a", "b"));
    assert_eq!(
        of(json!({"uri": "http://a:b@h/x", "password": "c"})),
        pair("a", "c")
    );
    assert_eq!(
        of(json!({"uri": "http://a:b@h/x", "username": "d", "password": "c"})),
        pair("d", "c")
    );
    assert_eq!(
        of(json!({"uri": "http://h/x", "password": "token"})),
        pair("", "token")
    );
    assert_eq!(of(json!({"uri": "http://h/x"})), None);
}

#[test]
fn a_user_in_the_uri_wins_and_says_so_when_another_is_given() {
    let user = |uri: &str, given: Option<&str>| {
        let source = json!({"uri": uri, "private_key_user": given});
        let (ready, log) = ready_in(&surroundings(), source).unwrap();
        let Location::Ssh { user, .. } = ready.location else {
            panic!()
        };
        (user, log.lines().count())
    };

    assert_eq!(user("me@h:x", Some("other")), (Some("me".into()), 1));
    assert_eq!(user("me@h:x", Some("me")), (Some("me".into()), 0));
    assert_eq!(user("h:x", Some("other")), (Some("other".into()), 0));
    assert_eq!(user("h:x", None), (None, 0));
}

#[test]
fn a_proxy_comes_from_the_tunnel_then_the_settings_then_the_environment() {
    let mut around = surroundings();
    around.proxies = Proxies {
        https: "http://u%20s:p%40ss@proxy.example:3128".into(),
        no: "internal.example,10.0.0.0/8".into(),
        ..Proxies::default()
    };
    let proxy = |source| {
        let proxy = ready_in(&around, source).unwrap().0.access.route.proxy;
        proxy.map(|proxy| (format!("{}:{}", proxy.host, proxy.port), proxy.credentials))
    };
    let tunnel = json!({"proxy_host": "tunnel.example", "proxy_port": 1});
    let setting = |value: &str| settings(&[("http.proxy", value)]);

    let (host, credentials) = proxy(json!({"uri": "https://h/x"})).unwrap();
    assert_eq!(host, "proxy.example:3128");
    let credentials = credentials.unwrap();
    assert_eq!(
        (
            credentials.username.as_str(),
            credentials.password.as_deref()
        ),
        ("u s", Some("p@ss"))
    );
    for without in [
        "http://h/x",
        "https://internal.example/x",
        "https://a.internal.example/x",
        "https://10.1.2.3/x",
        "git@h:x",
    ] {
        assert_eq!(proxy(json!({"uri": without})), None, "{without}");
    }
    assert_eq!(
        proxy(json!({"uri": "https://h/x", "git_config": setting("")})),
        None
    );
    let by_setting =
        proxy(json!({"uri": "http://h/x", "git_config": setting("http://s.example:2")}));
    assert_eq!(by_setting, Some(("s.example:2".into(), None)));
    for uri in ["git@h:x", "https://h/x"] {
        let by_tunnel = proxy(
            json!({"uri": uri, "https_tunnel": tunnel, "git_config": setting("http://s.example:2")}),
        );
        assert_eq!(by_tunnel, Some(("tunnel.example:1".into(), None)), "{uri}");
    }
}

#[test]
fn a_proxy_of_another_kind_is_refused_without_showing_its_password() {
    for value in [
        "socks5://u:MARKER@h:1",
        "https://u:MARKER@h:1",
        "::::MARKER",
    ] {
        let source =
            json!({"uri": "https://h/x", "git_config": settings(&[("http.proxy", value)])});
        let err = ready_in(&surroundings(), source).map(drop).unwrap_err();
        assert!(
            err.contains("http.proxy") && !err.contains("MARKER"),
            "{value}: {err}"
        );
    }
}

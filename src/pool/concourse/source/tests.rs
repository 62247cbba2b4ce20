//! What a source may say, and how it is refused.
#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::*;

fn read(source: Value) -> Result<Source, RequestError> {
    let document = json!({ "source": source });
    Source::read(&Keys::of(&document)?.object("source")?)
}

/// The three required keys, and `more`.
fn read_with(more: Value) -> Result<Source, RequestError> {
    let mut source =
        json!({"uri": "https://git.example.com/locks", "branch": "main", "pool": "aws"});
    for (key, value) in more.as_object().unwrap() {
        source[key] = value.clone();
    }
    read(source)
}

fn message_with(more: Value) -> String {
    read_with(more).unwrap_err().to_string()
}

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

#[test]
fn three_keys_are_enough() {
    let source = read_with(json!({})).unwrap();

    assert_eq!(
        source,
        Source {
            uri: secret("https://git.example.com/locks"),
            branch: "main".into(),
            pool: PoolName::new("aws").unwrap(),
            private_key: None,
            private_key_user: None,
            private_key_passphrase: None,
            signing_key: None,
            signing_key_passphrase: None,
            username: None,
            password: None,
            git_config: vec![],
            retry_delay: Duration::from_secs(10),
            order: Order::Arrival,
            ticket_renewal: DEFAULT_TICKET_RENEWAL,
            connect_timeout: DEFAULT_CONNECT_TIMEOUT,
            silence_timeout: DEFAULT_SILENCE_TIMEOUT,
            attempt_timeout: DEFAULT_ATTEMPT_TIMEOUT,
            fault_timeout: DEFAULT_FAULT_TIMEOUT,
            https_tunnel: None,
            forward_agent: false,
            release_only_own: false,
            skip_ssl_verification: false,
            strict_host_keys: false,
            ca_cert: None,
            known_hosts: None,
            notes: Vec::new(),
            prometheus_push_gateway: None,
        }
    );
}

#[test]
fn every_key_is_read() {
    let source = read(json!({
        "uri": "git@example.com:locks.git",
        "branch": "team/locks",
        "pool": "ops/aws/",
        "private_key": "KEY\n",
        "private_key_user": "bob",
        "private_key_passphrase": "PASS",
        "signing_key": "SIGN\n",
        "signing_key_passphrase": "SIGNPASS\n",
        "username": "alice",
        "password": "PW",
        "git_config": [
            {"name": "user.name", "value": "Al $(id) 'ice'"},
            {"name": "core.bigFileThreshold", "value": 512},
            {"name": "http.proactiveAuth", "value": false},
            {"name": "credential.helper", "value": ""},
            {"name": "credential.helper"},
        ],
        "retry_delay": "90s",
        "https_tunnel": {"proxy_host": "proxy", "proxy_port": "3128", "proxy_user": "p", "proxy_password": "q"},
        "forward_agent": true,
        "release_only_own": true,
        "skip_ssl_verification": true, "strict_host_keys": true,
        "known_hosts": "example.com ssh-ed25519 AAAA",
        "prometheus_push_gateway": "http://u:p@gateway:9091/base",
        "unknown": {"keys": ["are", "ignored"]},
    }))
    .unwrap();

    assert_eq!(
        source,
        Source {
            uri: secret("git@example.com:locks.git"),
            branch: "team/locks".into(),
            pool: PoolName::new("ops/aws").unwrap(),
            private_key: Some(secret("KEY\n")),
            private_key_user: Some("bob".into()),
            private_key_passphrase: Some(secret("PASS")),
            signing_key: Some(secret("SIGN\n")),
            signing_key_passphrase: Some(secret("SIGNPASS")),
            username: Some("alice".into()),
            password: Some(secret("PW")),
            git_config: vec![
                ("user.name".into(), secret("Al $(id) 'ice'")),
                ("core.bigFileThreshold".into(), secret("512")),
                ("http.proactiveAuth".into(), secret("false")),
                ("credential.helper".into(), secret("")),
                ("credential.helper".into(), secret("")),
            ],
            retry_delay: Duration::from_secs(90),
            order: Order::Arrival,
            ticket_renewal: DEFAULT_TICKET_RENEWAL,
            connect_timeout: DEFAULT_CONNECT_TIMEOUT,
            silence_timeout: DEFAULT_SILENCE_TIMEOUT,
            attempt_timeout: DEFAULT_ATTEMPT_TIMEOUT,
            fault_timeout: DEFAULT_FAULT_TIMEOUT,
            https_tunnel: Some(Tunnel {
                host: "proxy".into(),
                port: 3128,
                user: Some("p".into()),
                password: Some(secret("q")),
            }),
            forward_agent: true,
            release_only_own: true,
            skip_ssl_verification: true,
            strict_host_keys: true,
            ca_cert: None,
            known_hosts: Some("example.com ssh-ed25519 AAAA".into()),
            notes: Vec::new(),
            prometheus_push_gateway: Some(Secret::new(
                Url::parse("http://u:p@gateway:9091/base").unwrap()
            )),
        }
    );
}

#[test]
fn empty_strings_null_and_false_count_as_not_set() {
    let plain = read_with(json!({})).unwrap();

    for nothing in [json!(""), json!(null), json!(false)] {
        let source = read_with(json!({
            "private_key": nothing, "private_key_user": nothing, "private_key_passphrase": nothing,
            "username": nothing, "password": nothing, "git_config": nothing, "retry_delay": nothing,
            "https_tunnel": nothing, "forward_agent": nothing, "skip_ssl_verification": nothing,
            "known_hosts": nothing, "prometheus_push_gateway": nothing,
        }));
        assert_eq!(source.unwrap(), plain, "{nothing}");
    }
}

#[test]
fn all_missing_keys_are_reported_at_once_one_a_line() {
    let all = "invalid payload (missing uri)\ninvalid payload (missing branch)\ninvalid payload (missing pool)";
    assert_eq!(read(json!({})).unwrap_err().to_string(), all);
    assert_eq!(read(json!(null)).unwrap_err().to_string(), all);
    assert_eq!(
        read(json!({"uri": "", "branch": null, "pool": ""}))
            .unwrap_err()
            .to_string(),
        all
    );
    assert_eq!(
        read(json!({"uri": "x", "pool": "y"}))
            .unwrap_err()
            .to_string(),
        "invalid payload (missing branch)"
    );
    assert_eq!(
        message_with(json!({"https_tunnel": {"proxy_host": "", "proxy_user": "u"}})),
        "invalid payload (missing https_tunnel.proxy_host)\ninvalid payload (missing https_tunnel.proxy_port)"
    );
    for none in [json!({}), json!({"proxy_host": "", "proxy_port": null})] {
        let source = read_with(json!({ "https_tunnel": none })).unwrap();
        assert_eq!(source.https_tunnel, None);
    }
}

#[test]
fn a_wrong_type_names_the_key_and_what_was_found() {
    let table = [
        (
            json!({"uri": 5}),
            "`source.uri` must be a string, found a number",
        ),
        (
            json!({"branch": ["main"]}),
            "`source.branch` must be a string, found a list",
        ),
        (
            json!({"password": true}),
            "`source.password` must be a string, found true",
        ),
        (
            json!({"forward_agent": "yes"}),
            "`source.forward_agent` must be true or false, found a string",
        ),
        (
            json!({"skip_ssl_verification": 1}),
            "`source.skip_ssl_verification` must be true or false, found a number",
        ),
        (
            json!({"git_config": {"a": 1}}),
            "`source.git_config` must be a list of objects, found an object",
        ),
        (
            json!({"git_config": [{"name": "a"}, 7]}),
            "`source.git_config[1]` must be an object, found a number",
        ),
        (
            json!({"git_config": [{"value": "x"}]}),
            "`source.git_config[0].name` must be the name of a setting, found nothing",
        ),
        (
            json!({"git_config": [{"name": "a", "value": []}]}),
            "`source.git_config[0].value` must be a string, a number, true or false, found a list",
        ),
        (
            json!({"https_tunnel": "proxy:80"}),
            "`source.https_tunnel` must be an object, found a string",
        ),
        (
            json!({"https_tunnel": {"proxy_host": "p", "proxy_port": 70000}}),
            "`source.https_tunnel.proxy_port` must be a port from 1 to 65535, found \"70000\"",
        ),
        (
            json!({"https_tunnel": {"proxy_host": "p", "proxy_port": 0}}),
            "`source.https_tunnel.proxy_port` must be a port from 1 to 65535, found \"0\"",
        ),
        (
            json!({"https_tunnel": {"proxy_host": "p", "proxy_port": 80, "proxy_password": 1}}),
            "`source.https_tunnel.proxy_password` must be a string, found a number",
        ),
        (
            json!({"prometheus_push_gateway": "gate way:9091"}),
            "`source.prometheus_push_gateway` must be an http or https URL, found something else",
        ),
    ];

    for (more, message) in table {
        assert_eq!(message_with(more), message);
    }
    assert_eq!(
        read(json!("x")).unwrap_err().to_string(),
        "`source` must be an object, found a string"
    );
}

#[test]
fn a_switch_may_be_a_text() {
    for (text, on) in [
        ("true", true),
        ("True ", true),
        ("false", false),
        ("", false),
    ] {
        let source = read_with(json!({"skip_ssl_verification": text})).unwrap();
        assert_eq!(source.skip_ssl_verification, on, "{text}");
    }
}

#[test]
fn a_port_comes_as_a_number_or_as_a_string() {
    for port in [json!(3128), json!("3128"), json!(" 3128\n")] {
        let source =
            read_with(json!({"https_tunnel": {"proxy_host": "p", "proxy_port": port}})).unwrap();
        assert_eq!(source.https_tunnel.unwrap().port, 3128);
    }
}

#[test]
fn a_retry_delay_is_a_go_duration_or_nanoseconds_and_nothing_is_the_default() {
    let delay = |value: Value| {
        read_with(json!({ "retry_delay": value }))
            .unwrap()
            .retry_delay
    };

    assert_eq!(delay(json!("1h30m")), Duration::from_secs(5400));
    assert_eq!(delay(json!(60_000_000_000_u64)), Duration::from_secs(60));
    assert_eq!(delay(json!(1)), Duration::from_nanos(1));
    for nothing in [
        json!(0),
        json!("0"),
        json!("0s"),
        json!("-0"),
        json!(null),
        json!(""),
    ] {
        assert_eq!(delay(nothing), DEFAULT_RETRY_DELAY);
    }
}

#[test]
fn a_bad_retry_delay_is_named_with_its_value() {
    let table = [
        (
            json!("-5s"),
            "`source.retry_delay` must be a duration such as \"90s\", found \"-5s\"",
        ),
        (
            json!("soon"),
            "`source.retry_delay` must be a duration such as \"90s\", found \"soon\"",
        ),
        (
            json!(-5),
            "`source.retry_delay` must be a duration such as \"90s\", found -5",
        ),
        (
            json!(u64::MAX),
            "`source.retry_delay` must be a duration such as \"90s\", found 18446744073709551615",
        ),
        (
            json!(1.5),
            "`source.retry_delay` must be a duration such as \"90s\" or \"1h30m\", or a whole number of nanoseconds, found 1.5",
        ),
    ];

    for (value, message) in table {
        assert_eq!(message_with(json!({ "retry_delay": value })), message);
    }
}

#[test]
fn a_branch_that_git_would_not_take_is_refused() {
    for branch in [
        "-x",
        "--upload-pack=x",
        "a..b",
        "a b",
        "a~b",
        "a^b",
        "a:b",
        "a?b",
        "a*b",
        "a[b",
        "a\\b",
        "a\nb",
        "a\u{7f}b",
        "a\0b",
        "x.lock",
        "a.lock/b",
        "/a",
        "a/",
        "a//b",
        ".a",
        "a/.b",
        "a.",
        "@{-1}",
        "a@{b",
        "HEAD",
        " ",
    ] {
        assert_eq!(
            message_with(json!({ "branch": branch })),
            format!(
                "`source.branch` must be the name of a branch, and Git does not allow {branch:?}"
            )
        );
    }
    for branch in ["main", "team/locks", "v1.2", "ü", "a-b", "x@y", "refs"] {
        assert_eq!(
            read_with(json!({ "branch": branch })).unwrap().branch,
            branch
        );
    }
}

#[test]
fn a_pool_that_leads_out_of_the_repository_is_refused() {
    for pool in ["..", "a/../b", ".git/x", "/", "a\nb"] {
        let err = read_with(json!({ "pool": pool })).unwrap_err();
        assert_eq!(
            err.to_string(),
            "`source.pool` must be the path of a folder in the repository"
        );
    }
}

#[test]
fn no_secret_is_ever_shown() {
    const MARKER: &str = "MARKER";
    let with_secrets = json!({
        "uri": "https://user:MARKER@git.example.com/locks?token=MARKER",
        "branch": "main",
        "pool": "aws",
        "private_key": MARKER,
        "private_key_passphrase": MARKER,
        "signing_key": MARKER,
        "signing_key_passphrase": MARKER,
        "password": MARKER,
        "git_config": [{"name": "http.extraHeader", "value": MARKER}],
        "https_tunnel": {"proxy_host": "p", "proxy_port": 1, "proxy_password": MARKER},
        "prometheus_push_gateway": "http://user:MARKER@gateway",
    });
    let shown = format!("{:#?}", read(with_secrets.clone()).unwrap());
    assert!(!shown.contains(MARKER), "{shown}");

    let mut errors = 0;
    for (key, _) in with_secrets.as_object().unwrap() {
        if matches!(key.as_str(), "branch" | "pool") {
            continue;
        }
        for bad in [
            json!([MARKER]),
            json!({"proxy_port": [MARKER], "value": [MARKER]}),
            json!([{"value": MARKER}]),
        ] {
            let mut source = with_secrets.clone();
            source[key] = bad;
            if let Err(err) = read(source) {
                errors += 1;
                assert!(!format!("{err} {err:?}").contains(MARKER), "{err:?}");
            }
        }
    }
    assert_eq!(errors, 27);
    for gateway in [
        "MARKER x",
        "ftp://user:MARKER@gateway",
        "http://user:MARKER@:port",
    ] {
        let err = read_with(json!({ "prometheus_push_gateway": gateway })).unwrap_err();
        assert!(!format!("{err} {err:?}").contains(MARKER), "{err:?}");
    }
}

#[test]
fn a_duration_with_a_control_character_is_refused_without_showing_it() {
    let request = json!({"source": {
        "uri": "/x", "branch": "main", "pool": "aws", "retry_delay": "1\u{7f}s"
    }});

    let err = crate::concourse::CheckRequest::read(request.to_string().as_bytes()).unwrap_err();

    let told = terminal::chain(&err);
    assert!(!told.contains(char::is_control), "{told:?}");
    assert!(told.contains("\\u{7f}s"), "{told}");
}

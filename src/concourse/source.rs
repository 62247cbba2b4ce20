//! The `source:` of a resource: validated once, complete ever after.

use std::time::Duration;

use serde_json::Value;
use url::Url;

use super::keys::{Keys, kind};
use super::{RequestError, Secret};
use crate::lock::PoolName;

/// The pause between two looks at a lock that is not free, unless `retry_delay` is set.
///
/// The resource in use today waits as long.
pub const DEFAULT_RETRY_DELAY: Duration = Duration::from_secs(10);

/// A connection is made in a second or two, or not at all.
pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Git's own servers send a sign of life every 5 s while their hooks run, so that a server that is at work is never
/// taken for a dead one.
pub const DEFAULT_SILENCE_TIMEOUT: Duration = Duration::from_secs(30);

/// A request takes well under a second; past this it would not be waited for by a person either.
pub const DEFAULT_ATTEMPT_TIMEOUT: Duration = Duration::from_secs(120);

/// Longer than a restart of a Git server, and shorter than what would hide a broken one from those who must mend it.
pub const DEFAULT_FAULT_TIMEOUT: Duration = Duration::from_secs(300);

/// Where the pool is, how to get there, and how to behave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Where the repository is, as the user wrote it. May have credentials in it.
    pub uri: Secret,
    /// The branch, without `refs/heads/`. It is a valid name of one.
    pub branch: String,
    /// The pool's folder in the repository.
    pub pool: PoolName,
    /// The key for SSH.
    pub private_key: Option<Secret>,
    /// The user for SSH, when the uri does not say.
    pub private_key_user: Option<String>,
    /// What the key is encrypted with.
    pub private_key_passphrase: Option<Secret>,
    /// The user for HTTP.
    pub username: Option<String>,
    /// The password for HTTP.
    pub password: Option<Secret>,
    /// Settings of Git, in the order given. A value may be a header with a token in it.
    pub git_config: Vec<(String, Secret)>,
    /// The pause between two looks at a lock that is not free; never zero.
    pub retry_delay: Duration,
    /// How long a connection may take to be made; never zero.
    pub connect_timeout: Duration,
    /// How long a server may be silent; never zero.
    pub silence_timeout: Duration,
    /// How long one request may take in all; never zero.
    pub attempt_timeout: Duration,
    /// How long faults are ridden out with no success in between; never zero.
    pub fault_timeout: Duration,
    /// The HTTP proxy through which SSH goes.
    pub https_tunnel: Option<Tunnel>,
    /// Whether the user asks for the forwarding of the SSH agent.
    pub forward_agent: bool,
    /// Whether the certificate of an HTTPS server may be anyone's.
    pub skip_ssl_verification: bool,
    /// Certificates, as PEM, that HTTPS trusts besides the system's.
    pub ca_cert: Option<String>,
    /// The host keys that SSH accepts, as lines of a `known_hosts` file.
    pub known_hosts: Option<String>,
    /// The Pushgateway that metrics go to: an http or https URL, which may have credentials in it.
    pub prometheus_push_gateway: Option<Secret<Url>>,
}

/// An HTTP proxy that makes tunnels with CONNECT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tunnel {
    /// The machine.
    pub host: String,
    /// The port, never zero.
    pub port: u16,
    /// The user, when the proxy wants one.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
}

impl Source {
    pub(super) fn read(source: &Keys<'_>) -> Result<Source, RequestError> {
        let mut missing = Vec::new();
        let mut required = |keys: &Keys<'_>, key: &str, name: &str| {
            let text = keys.text(key)?;
            if text.is_none() {
                missing.push(name.to_owned());
            }
            Ok::<String, RequestError>(text.unwrap_or_default().to_owned())
        };
        let secret = |keys: &Keys<'_>, key: &str| {
            Ok(keys.text(key)?.map(|text| Secret::new(text.to_owned())))
        };

        let uri = required(source, "uri", "uri")?;
        let branch = required(source, "branch", "branch")?;
        let pool = required(source, "pool", "pool")?;
        let https_tunnel = match source.set("https_tunnel") {
            None => None,
            Some(_) => {
                let tunnel = source.object("https_tunnel")?;
                let port = port(&tunnel, "proxy_port")?;
                let host = required(&tunnel, "proxy_host", "https_tunnel.proxy_host")?;
                if port.is_none() {
                    missing.push("https_tunnel.proxy_port".to_owned());
                }
                Some(Tunnel {
                    host,
                    port: port.unwrap_or_default(),
                    user: tunnel.text("proxy_user")?.map(str::to_owned),
                    password: secret(&tunnel, "proxy_password")?,
                })
            }
        };
        if !missing.is_empty() {
            return Err(RequestError::Missing(missing));
        }
        if !is_branch(&branch) {
            return Err(RequestError::Branch(branch));
        }

        Ok(Source {
            uri: Secret::new(uri),
            branch,
            pool: PoolName::new(&pool).map_err(RequestError::Pool)?,
            private_key: secret(source, "private_key")?,
            private_key_user: source.text("private_key_user")?.map(str::to_owned),
            private_key_passphrase: secret(source, "private_key_passphrase")?,
            username: source.text("username")?.map(str::to_owned),
            password: secret(source, "password")?,
            git_config: git_config(source)?,
            retry_delay: source
                .duration("retry_delay")?
                .unwrap_or(DEFAULT_RETRY_DELAY),
            connect_timeout: source
                .duration("connect_timeout")?
                .unwrap_or(DEFAULT_CONNECT_TIMEOUT),
            silence_timeout: source
                .duration("silence_timeout")?
                .unwrap_or(DEFAULT_SILENCE_TIMEOUT),
            attempt_timeout: source
                .duration("attempt_timeout")?
                .unwrap_or(DEFAULT_ATTEMPT_TIMEOUT),
            fault_timeout: source
                .duration("fault_timeout")?
                .unwrap_or(DEFAULT_FAULT_TIMEOUT),
            https_tunnel,
            forward_agent: source.flag("forward_agent")?,
            skip_ssl_verification: source.flag("skip_ssl_verification")?,
            ca_cert: source.text("ca_cert")?.map(str::to_owned),
            known_hosts: source.text("known_hosts")?.map(str::to_owned),
            prometheus_push_gateway: gateway(source)?,
        })
    }
}

/// Whether Git takes `name` for a branch; among others, it takes none that a command would take for an option.
fn is_branch(name: &str) -> bool {
    git2::Branch::name_is_valid(name).unwrap_or(false)
}

fn port(tunnel: &Keys<'_>, key: &str) -> Result<Option<u16>, RequestError> {
    const EXPECTED: &str = "a port from 1 to 65535";
    let number = match tunnel.set(key) {
        None => return Ok(None),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::String(text)) => text.trim().to_owned(),
        Some(other) => return Err(tunnel.wrong(key, EXPECTED, kind(other))),
    };
    match number.parse() {
        Ok(0) | Err(_) => Err(tunnel.wrong(key, EXPECTED, format!("{number:?}"))),
        Ok(port) => Ok(Some(port)),
    }
}

fn git_config(source: &Keys<'_>) -> Result<Vec<(String, Secret)>, RequestError> {
    let entry = |entry: &Keys<'_>| {
        let name = entry.text("name")?;
        let name = name.ok_or_else(|| entry.wrong("name", "the name of a setting", "nothing"))?;
        let value = match entry.raw("value") {
            // An empty value is a value: it takes back what an earlier file says.
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            Some(Value::Bool(on)) => on.to_string(),
            Some(other) => {
                return Err(entry.wrong("value", "a string, a number, true or false", kind(other)));
            }
        };
        Ok((name.to_owned(), Secret::new(value)))
    };
    source.objects("git_config")?.iter().map(entry).collect()
}

fn gateway(source: &Keys<'_>) -> Result<Option<Secret<Url>>, RequestError> {
    const KEY: &str = "prometheus_push_gateway";
    let Some(text) = source.text(KEY)? else {
        return Ok(None);
    };
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(Some(Secret::new(url))),
        // Without the text, which may have a password in it.
        _ => Err(source.wrong(KEY, "an http or https URL", "something else")),
    }
}

#[cfg(test)]
mod tests {
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
                username: None,
                password: None,
                git_config: vec![],
                retry_delay: Duration::from_secs(10),
                connect_timeout: DEFAULT_CONNECT_TIMEOUT,
                silence_timeout: DEFAULT_SILENCE_TIMEOUT,
                attempt_timeout: DEFAULT_ATTEMPT_TIMEOUT,
                fault_timeout: DEFAULT_FAULT_TIMEOUT,
                https_tunnel: None,
                forward_agent: false,
                skip_ssl_verification: false,
                ca_cert: None,
                known_hosts: None,
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
            "skip_ssl_verification": true,
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
                skip_ssl_verification: true,
                ca_cert: None,
                known_hosts: Some("example.com ssh-ed25519 AAAA".into()),
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
            message_with(json!({"https_tunnel": {"proxy_host": "", "proxy_port": null}})),
            "invalid payload (missing https_tunnel.proxy_host)\ninvalid payload (missing https_tunnel.proxy_port)"
        );
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
                json!({"forward_agent": "true"}),
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
                json!({"prometheus_push_gateway": "gateway:9091"}),
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
    fn a_port_comes_as_a_number_or_as_a_string() {
        for port in [json!(3128), json!("3128"), json!(" 3128\n")] {
            let source =
                read_with(json!({"https_tunnel": {"proxy_host": "p", "proxy_port": port}}))
                    .unwrap();
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
        assert_eq!(errors, 21);
        for gateway in [
            "MARKER",
            "ftp://user:MARKER@gateway",
            "http://user:MARKER@:port",
        ] {
            let err = read_with(json!({ "prometheus_push_gateway": gateway })).unwrap_err();
            assert!(!format!("{err} {err:?}").contains(MARKER), "{err:?}");
        }
    }
}

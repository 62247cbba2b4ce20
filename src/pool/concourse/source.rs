//! The `source:` of a resource: validated once, complete ever after.

use std::time::Duration;

use serde_json::Value;
use url::Url;

use super::keys::{Keys, kind};
use git::object::is_branch;
use net::Secret;

use super::{RequestError, private_key, unknown};
use crate::line::Order;
use crate::lock::PoolName;

/// The pause between two looks at a lock that is not free, unless `retry_delay` is set.
///
/// The resource in use today waits as long.
pub const DEFAULT_RETRY_DELAY: Duration = Duration::from_secs(10);

/// A ticket of a process that vanished stands in the way of others for three times as long.
pub const DEFAULT_TICKET_RENEWAL: Duration = Duration::from_secs(20);

/// A connection is made in a second or two, or not at all.
pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Git's own servers send a sign of life every 5 s while their hooks run, so that a server that is at work is never
/// taken for a dead one.
pub const DEFAULT_SILENCE_TIMEOUT: Duration = Duration::from_secs(30);

/// A request takes well under a second; past this it would not be waited for by a person either.
pub const DEFAULT_ATTEMPT_TIMEOUT: Duration = Duration::from_secs(120);

/// Longer than a restart of a Git server, and shorter than what would hide a broken one from those who must mend it.
pub const DEFAULT_FAULT_TIMEOUT: Duration = Duration::from_secs(300);

/// The keys that there are.
const KEYS: [&str; 26] = [
    "uri",
    "branch",
    "pool",
    "private_key",
    "private_key_user",
    "private_key_passphrase",
    "signing_key",
    "signing_key_passphrase",
    "username",
    "password",
    "git_config",
    "retry_delay",
    "order",
    "ticket_renewal",
    "connect_timeout",
    "silence_timeout",
    "attempt_timeout",
    "fault_timeout",
    "https_tunnel",
    "forward_agent",
    "release_only_own",
    "skip_ssl_verification",
    "strict_host_keys",
    "ca_cert",
    "known_hosts",
    "prometheus_push_gateway",
];

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
    /// The key that signs our commits.
    pub signing_key: Option<Secret>,
    /// What that key is encrypted with.
    pub signing_key_passphrase: Option<Secret>,
    /// The user for HTTP.
    pub username: Option<String>,
    /// The password for HTTP.
    pub password: Option<Secret>,
    /// Settings of Git, in the order given. A value may be a header with a token in it.
    pub git_config: Vec<(String, Secret)>,
    /// The pause between two looks at a lock that is not free; never zero.
    pub retry_delay: Duration,
    /// In which order those who wait are served.
    pub order: Order,
    /// How often one who waits in line shows that it is there; within a tenth of a second and an hour.
    pub ticket_renewal: Duration,
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
    /// Whether a put gives back only what its own build has claimed.
    pub release_only_own: bool,
    /// Whether the certificate of an HTTPS server may be anyone's.
    pub skip_ssl_verification: bool,
    /// Whether an SSH server without a line in `known_hosts` is refused.
    pub strict_host_keys: bool,
    /// Certificates, as PEM, that HTTPS trusts besides the system's.
    pub ca_cert: Option<String>,
    /// The host keys that SSH accepts, as lines of a `known_hosts` file.
    pub known_hosts: Option<String>,
    /// What is to be said of its keys, each on a line.
    pub notes: Vec<String>,
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
    /// Reads a source that is a JSON object by itself.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn from_json(source: &Value) -> Result<Source, RequestError> {
        Source::read(&Keys::of(source)?)
    }

    /// The key for SSH, with its lines put right. It is asked for only where SSH is spoken.
    ///
    /// # Errors
    /// [`RequestError::Key`] when it is something else than a key.
    pub fn ssh_key(&self) -> Result<Option<String>, RequestError> {
        let text = self.private_key.as_ref().map(|key| key.expose());
        let text = text.filter(|text| !text.trim().is_empty());
        let key = text.map(private_key::read).transpose();
        key.map_err(RequestError::Key)
    }

    /// The key that signs, with its lines put right.
    ///
    /// # Errors
    /// [`RequestError::SigningKey`] when it is something else than a key.
    pub fn signing_key(&self) -> Result<Option<String>, RequestError> {
        let text = self.signing_key.as_ref().map(|key| key.expose());
        let text = text.filter(|text| !text.trim().is_empty());
        let key = text.map(private_key::read).transpose();
        key.map_err(RequestError::SigningKey)
    }

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
        // No password ends with a new line; files and YAML do.
        let line = |keys: &Keys<'_>, key: &str| {
            let text = keys
                .text(key)?
                .map(|text| text.trim_end_matches(['\r', '\n']));
            Ok::<_, RequestError>(text.filter(|text| !text.is_empty()).map(str::to_owned))
        };

        let uri = required(source, "uri", "uri")?;
        let branch = required(source, "branch", "branch")?;
        let pool = required(source, "pool", "pool")?;
        let tunnel = source.object("https_tunnel")?;
        let https_tunnel = match tunnel.is_blank() {
            true => None,
            false => {
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
            private_key_passphrase: line(source, "private_key_passphrase")?.map(Secret::new),
            signing_key: secret(source, "signing_key")?,
            signing_key_passphrase: line(source, "signing_key_passphrase")?.map(Secret::new),
            username: line(source, "username")?,
            password: line(source, "password")?.map(Secret::new),
            git_config: git_config(source)?,
            retry_delay: source
                .duration("retry_delay")?
                .unwrap_or(DEFAULT_RETRY_DELAY),
            order: order(source)?,
            ticket_renewal: source
                .duration("ticket_renewal")?
                .unwrap_or(DEFAULT_TICKET_RENEWAL)
                .clamp(Duration::from_millis(100), Duration::from_secs(3600)),
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
            release_only_own: source.flag("release_only_own")?,
            skip_ssl_verification: source.flag("skip_ssl_verification")?,
            strict_host_keys: source.flag("strict_host_keys")?,
            ca_cert: source.text("ca_cert")?.map(str::to_owned),
            known_hosts: source.text("known_hosts")?.map(str::to_owned),
            notes: unknown::notes(source, &KEYS),
            prometheus_push_gateway: gateway(source)?,
        })
    }
}

fn order(source: &Keys<'_>) -> Result<Order, RequestError> {
    match source.text("order")? {
        None | Some("arrival") => Ok(Order::Arrival),
        Some("newest") => Ok(Order::Newest),
        Some("any") => Ok(Order::Any),
        Some(other) => {
            let expected = "`arrival`, `newest` or `any`";
            Err(source.wrong("order", expected, format!("{other:?}")))
        }
    }
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
    // The resource with metrics in use today takes a host and a port as well.
    let full = if text.contains("://") {
        text.to_owned()
    } else {
        format!("http://{text}")
    };
    match Url::parse(&full) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(Some(Secret::new(url))),
        // Without the text, which may have a password in it.
        _ => Err(source.wrong(KEY, "an http or https URL", "something else")),
    }
}

#[cfg(test)]
mod tests;

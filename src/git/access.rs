//! What it takes to get to a repository besides its location: credentials, keys, proxies, trust and time limits.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// How a repository is reached and who we are there. Debug shows no secret.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// For how long to wait.
    pub limits: Limits,
    /// For HTTP.
    pub credentials: Option<Credentials>,
    /// For HTTP: headers sent with each request.
    pub headers: Vec<Header>,
    /// For HTTPS.
    pub trust: Trust,
    /// For SSH.
    pub ssh: SshAccess,
    /// An HTTP proxy to go through, with CONNECT.
    pub proxy: Option<Proxy>,
}

/// How long to wait for a server before giving up on a request; the caller may try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// For a connection to be made.
    pub connect: Duration,
    /// Between two signs of life.
    pub silence: Duration,
    /// For one whole request, from the connection to the last byte.
    pub attempt: Duration,
}

impl Default for Limits {
    /// 10 s, 30 s and 120 s. A connection is made in a second or two, or not at all; Git's own servers send a sign of
    /// life every 5 s while their hooks run, so that a server at work is never taken for a dead one; and a request
    /// takes well under a second, so that past two minutes a person would not wait for it either.
    fn default() -> Limits {
        Limits {
            connect: Duration::from_secs(10),
            silence: Duration::from_secs(30),
            attempt: Duration::from_secs(120),
        }
    }
}

/// What proves to an HTTP server who we are.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// The user's name; may be empty where only a token counts.
    pub username: String,
    /// The password or token.
    pub password: Option<String>,
}

/// A header that is sent with each HTTP request. Its value may be a token.
#[derive(Clone, PartialEq, Eq)]
pub struct Header {
    /// Such as `Authorization`.
    pub name: String,
    /// What comes after the colon.
    pub value: String,
}

/// Which certificates an HTTPS server may have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trust {
    /// Certificates, as PEM, that are trusted besides the system's.
    pub certificates: Option<String>,
    /// Any certificate will do.
    pub anyone: bool,
}

/// An HTTP proxy that makes tunnels with CONNECT.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    /// The machine.
    pub host: String,
    /// The port.
    pub port: u16,
    /// What the proxy wants to see.
    pub credentials: Option<Credentials>,
}

/// Who we are on an SSH server, and which server it may be.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SshAccess {
    /// The private key's text.
    pub key: Option<String>,
    /// What the key is encrypted with.
    pub passphrase: Option<String>,
    /// The socket of an agent, asked when there is no key.
    pub agent: Option<PathBuf>,
    /// Which host keys to accept.
    pub host_keys: HostKeys,
}

/// Which host keys an SSH server may show.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum HostKeys {
    /// Any; it is shown, so that it can be pinned.
    #[default]
    Any,
    /// Those in these lines of a `known_hosts` file, which came from here.
    Known {
        /// The lines.
        lines: String,
        /// What messages call the place they are from.
        from: String,
        /// Whether a host without a line is refused.
        strict: bool,
    },
}

impl Credentials {
    /// The value of an `Authorization` header of the scheme Basic.
    pub(crate) fn basic(&self) -> String {
        let password = self.password.as_deref().unwrap_or_default();
        format!(
            "Basic {}",
            BASE64_STANDARD.encode(format!("{}:{password}", self.username))
        )
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Header")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({}:{})", self.host, self.port)
    }
}

impl fmt::Debug for SshAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.key.as_ref().map(|_| "***");
        f.debug_struct("SshAccess")
            .field("key", &key)
            .field("agent", &self.agent)
            .field("host_keys", &self.host_keys)
            .finish_non_exhaustive()
    }
}

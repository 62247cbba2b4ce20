//! How a server is reached, and what proves to it who we are.

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// How a server is reached: time limits, certificates, a proxy. It says nothing of who we are there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Route {
    /// For how long to wait.
    pub limits: Limits,
    /// For HTTPS.
    pub trust: Trust,
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

impl Credentials {
    /// The value of an `Authorization` header of the scheme Basic.
    pub fn basic(&self) -> String {
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

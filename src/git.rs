//! A branch of a remote repository as a compare-and-swap register: snapshot, look, push.
//!
//! Knows commits, refs and paths, and nothing of locks. The smart protocol (version 0, which every server speaks) is
//! spoken here and not by libgit2, for reasons that are in the crate docs; libgit2 keeps and makes the objects.

mod access;
mod advertisement;
mod commits;
#[cfg(test)]
mod fuzz;
mod history;
mod link;
mod location;
mod packet;
mod remote;
mod store;

pub use access::{Access, Credentials, Header, HostKeys, Limits, Proxy, SshAccess, Trust};
pub use commits::Commits;
pub use history::{History, HistoryError};
pub use location::{Location, LocationError};
pub use remote::{Depth, Interest, Listing, PushAnswer, RefUpdate, Remote, Snapshot};
pub use store::{Commit, Identity, Store, StoreError, make_repository};

pub(crate) use link::client;
pub(crate) use location::without_credentials;

use std::time::Duration;

use url::Url;

/// Makes an HTTP client as the transports do: with these limits, proxy and certificates, and without following
/// redirects. Credentials and headers are left to each request.
///
/// # Errors
/// [`RemoteError::Setting`] where the settings do not hold together.
pub fn http_client(url: &Url, access: &Access) -> Result<reqwest::Client, RemoteError> {
    let agent = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));
    client::client(url, access, agent)
}

/// Makes ready for reading very many objects once each, in this whole process: libgit2 then neither keeps what was read,
/// nor hashes it anew. What came over the wire has been hashed as it came; only what is kept on the disk from one run to
/// the next needs that a second time, so that this is not for those who keep something.
pub fn read_much_once() {
    git2::opts::strict_hash_verification(false);
    git2::opts::enable_caching(false);
}

/// Failures between us and the remote repository. Losing a race is not one of them.
///
/// No message has credentials in it: a location prints itself without them.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// No connection, or it broke.
    #[error("cannot talk to `{remote}`")]
    Unreachable {
        /// Where to.
        remote: String,
        /// What happened.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The other side ended the conversation too early.
    #[error("`{remote}` ended the conversation early{}", said(.words))]
    Ended {
        /// Who.
        remote: String,
        /// What it said on its error stream, if anything.
        words: String,
    },
    /// Nothing was heard within a time limit.
    #[error("no answer from `{remote}` for {}", humantime::format_duration(*.after))]
    Silent {
        /// Who.
        remote: String,
        /// The limit that passed.
        after: Duration,
    },
    /// The server failed in the middle of its work.
    #[error("`{remote}` failed{}", said(.words))]
    Failed {
        /// Who.
        remote: String,
        /// The server's words, or its HTTP status.
        words: String,
    },
    /// The server does not take our credentials, or wants some.
    #[error(
        "`{remote}` does not let us in ({words}); check the credentials in `source` and what they may do"
    )]
    Denied {
        /// Who.
        remote: String,
        /// The server's words, or its HTTP status.
        words: String,
    },
    /// The proxy on the way does not let us through.
    #[error("the proxy {proxy} does not let us through: {words}")]
    Proxy {
        /// Which, as host and port.
        proxy: String,
        /// Its answer.
        words: String,
    },
    /// The server is not the one we know.
    #[error(
        "`{remote}` shows the host key {found}, {expected}; if that is right, correct the known hosts"
    )]
    HostKey {
        /// Who.
        remote: String,
        /// The fingerprint that it shows.
        found: String,
        /// What was expected instead.
        expected: String,
    },
    /// The server's certificate is not one that we trust.
    #[error(
        "the certificate of `{remote}` is not trusted; give its authority's as `source.ca_cert`"
    )]
    Certificate {
        /// Who.
        remote: String,
        /// What is wrong with it.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Our private key cannot be used.
    #[error("`source.private_key` cannot be read {with}")]
    Key {
        /// With which passphrase.
        with: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The settings for a transport do not hold together.
    #[error("{0}")]
    Setting(String),
    /// There is no such repository, as far as we can see.
    #[error("there is no repository at `{remote}`, or it may not be seen with these credentials{}; check `source.uri`", said(.words))]
    NotFound {
        /// Where.
        remote: String,
        /// The server's words.
        words: String,
    },
    /// The repository has no such branch.
    #[error(
        "there is no branch `{branch}` at `{remote}` ({found}); check `source.branch`, or let `pool init` make it"
    )]
    NoBranch {
        /// Where.
        remote: String,
        /// The branch looked for.
        branch: String,
        /// What there is instead.
        found: String,
    },
    /// The server points to another place, to which we do not carry credentials.
    #[error("`{remote}` redirects to `{to}`; if that is right, put it into `source.uri`")]
    Redirected {
        /// Who.
        remote: String,
        /// Where to, without credentials.
        to: String,
    },
    /// What came is not what a Git server says.
    #[error("`{remote}` does not answer as a Git server does: {found}")]
    Protocol {
        /// Who.
        remote: String,
        /// What is odd about it.
        found: String,
    },
    /// The program that serves local repositories could not be started.
    #[error(
        "cannot start `git`, which serves repositories on a path; install it, or use another kind of uri"
    )]
    NoGit(#[source] std::io::Error),
    /// Our own copy of the objects cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl RemoteError {
    /// Whether the same request may well succeed a little later.
    pub fn is_transient(&self) -> bool {
        match self {
            RemoteError::Unreachable { .. }
            | RemoteError::Ended { .. }
            | RemoteError::Silent { .. }
            | RemoteError::Failed { .. } => true,
            RemoteError::Denied { .. }
            | RemoteError::NotFound { .. }
            | RemoteError::Proxy { .. }
            | RemoteError::HostKey { .. }
            | RemoteError::Certificate { .. }
            | RemoteError::Key { .. }
            | RemoteError::Setting(_)
            | RemoteError::NoBranch { .. }
            | RemoteError::Redirected { .. }
            | RemoteError::Protocol { .. }
            | RemoteError::NoGit(_)
            | RemoteError::Store(_) => false,
        }
    }
}

/// Someone else's words as they can be put behind a message of ours, or nothing.
fn said(words: &str) -> String {
    if words.is_empty() {
        String::new()
    } else {
        format!(" (it said: {words})")
    }
}

/// How many bytes of what a server says are shown.
const SHOWN: usize = 4096;

/// Makes bytes from a server fit for a log: text, without control characters, trimmed, with an end.
fn readable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN)]);
    text.lines()
        .map(|line| line.chars().filter(|c| !c.is_control()).collect::<String>())
        .map(|line| line.trim().to_owned())
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join("; ")
}

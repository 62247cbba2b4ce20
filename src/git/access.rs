//! What it takes to get to a repository besides its location: a route, credentials, keys.

use std::fmt;
use std::path::PathBuf;

use net::{Credentials, Header, Route};

/// How a repository is reached and who we are there. Debug shows no secret.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// Time limits, certificates, and an HTTP proxy to go through with CONNECT.
    pub route: Route,
    /// For HTTP.
    pub credentials: Option<Credentials>,
    /// For HTTP: headers sent with each request.
    pub headers: Vec<Header>,
    /// For SSH.
    pub ssh: SshAccess,
    /// For a path: the files with Git's settings that hold for all repositories, each of which may be missing. Where they are
    /// not known, a repository on a path is read and written by Git's server programs alone.
    pub settings: Option<Vec<PathBuf>>,
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
        /// What becomes of a host without a line.
        unknown: UnknownHost,
    },
}

/// What becomes of an SSH server that nobody has said anything about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnknownHost {
    /// It is refused.
    Refuse,
    /// It is taken for the right one, and its key shown.
    Accept,
    /// It is taken for the right one, and its key noted in this file, so that no other is from then on.
    Remember(PathBuf),
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

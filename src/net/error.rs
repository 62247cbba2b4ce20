//! What can go wrong between us and a server, whatever we have to say to it.

use std::time::Duration;

use pace::Fault;
use terminal::harmless::said;

/// Failures between us and a server.
///
/// No message has credentials in it: a server is named without them.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
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
    /// The server has no time for us now, and says for how long.
    #[error("`{remote}` asks us to wait {} before the next request{}", humantime::format_duration(*.wait), said(.words))]
    Busy {
        /// Who.
        remote: String,
        /// The server's words, or its HTTP status.
        words: String,
        /// For how long.
        wait: Duration,
    },
    /// The proxy on the way does not let us through.
    #[error("the proxy {proxy} does not let us through: {words}")]
    Proxy {
        /// Which, as host and port.
        proxy: String,
        /// Its answer.
        words: String,
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
    /// The server sends more than it may.
    #[error("`{remote}` sends more than {most} bytes")]
    TooLong {
        /// Who.
        remote: String,
        /// How much it may send.
        most: usize,
    },
    /// The settings for a transport do not hold together.
    #[error("{0}")]
    Setting(String),
}

impl NetError {
    /// Why there seems to be nobody at all where we want to go: no host of that name, or nothing that listens there.
    pub fn nobody_there(&self) -> Option<&'static str> {
        const NO_NAME: &[&str] = &[
            // Texts of glibc, of musl, and of macOS.
            "failed to lookup address",
            "name or service not known",
            "name does not resolve",
            "nodename nor servname provided",
        ];
        let NetError::Unreachable { source, .. } = self else {
            return None;
        };
        let told = terminal::chain(source.as_ref()).to_ascii_lowercase();
        if NO_NAME.iter().any(|words| told.contains(words)) {
            Some("its name leads to no host")
        } else if told.contains("connection refused") {
            Some("nothing takes connections there")
        } else {
            None
        }
    }
}

impl Fault for NetError {
    fn is_transient(&self) -> bool {
        match self {
            NetError::Unreachable { .. }
            | NetError::Ended { .. }
            | NetError::Silent { .. }
            | NetError::Failed { .. }
            | NetError::Busy { .. } => true,
            NetError::Proxy { .. }
            | NetError::Certificate { .. }
            | NetError::TooLong { .. }
            | NetError::Setting(_) => false,
        }
    }

    fn wait(&self) -> Option<Duration> {
        match self {
            NetError::Busy { wait, .. } => Some(*wait),
            _ => None,
        }
    }
}

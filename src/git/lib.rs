//! A branch of a remote repository as a compare-and-swap register: snapshot, look, push.
//!
//! # Rooms
//!
//! - [`Remote`]: what is asked of the other side: a snapshot of the branch, a look at refs, a push.
//! - [`History`]: walks over what was fetched. `replay`: over what was not, worked out from the commits alone.
//! - [`Store`]: where objects are kept and made. [`object`]: ids, tree entries, edits. [`Note`]: a commit without files.
//! - [`Signer`]: signs the commits that are made here.
//! - [`Location`], [`Access`]: where a repository is, and how to get in.
//! - [`refusal`]: what a server's No means, by its words.
//! - `link`: the transports (a path, `git://`, HTTP, SSH). `packet`, `advertisement`: the smart protocol's wire.
//! - `plain`: a repository on a path of this machine that needs no server.
//!
//! # Invariants
//!
//! - This crate knows commits, refs and paths. It knows no locks and no documents.
//! - A push names the very commit that it replaces; a push that was refused leaves the branch as it was.
//! - Everything read from a server has a bound, and every wait a limit.
//!
//! # Decisions
//!
//! **The smart protocol is spoken here, and not by libgit2.** libgit2 keeps the objects, edits the trees and makes the
//! packs. Its transports failed where it matters:
//!
//! - its push to a local path is no compare-and-swap, and lost commits in races;
//! - it expects the commit that the server advertised on the push connection, and not the one that we decided on;
//! - it has no time limits, and its callbacks cannot break a stalled connection;
//! - it can push several refs, but not as one.
//!
//! The part of the protocol that is needed here is a few hundred lines of version 0: one request lists the refs, one
//! fetches. Every server speaks it, and answers the first request with the refs; version 2 needs another round trip
//! for them.
//!
//! **A lock of this machine alone needs no server.** A repository on a path that has nothing unusual about it is read where
//! it is: its objects are an alternate of our own copy, which shows of them what a fetch would have brought. So all questions
//! are asked of it as of any other. A push writes the objects and has `git update-ref` move the branch. `plain` says what is
//! usual, and how the promises of `git receive-pack` are kept.
//!
//! **Everything waits on one thread, in tokio.** A transport gives bytes both ways, and a limit can be put around any of
//! it: no server can hold us longer than we want, and whatever is under way can be dropped.
//!
//! **SSH is `russh`'s business.** A whole acquire from 100,000 commits takes 81 ms on loopback, of which the server's
//! login is the most; plain git needs 409 (`ci/bench`). With libssh2 a prototype needed 103 against 452. `russh` is pure
//! Rust: neither OpenSSL nor libssh2 is built in. It works on any stream, so that tunnels cost nothing, and takes keys
//! from memory.
//!
//! **HTTP is `net`'s business**: connections kept, TLS, proxies. Redirects are followed by us: where credentials go is
//! ours to decide.

mod access;
mod advertisement;
mod commits;
#[cfg(test)]
mod fuzz;
mod history;
mod link;
mod links;
mod location;
mod note;
pub mod object;
mod packet;
mod plain;
pub mod refusal;
mod remote;
mod replay;
mod sign;
mod store;

pub use access::{Access, HostKeys, SshAccess, UnknownHost};
pub use commits::Commits;
pub use history::{History, HistoryError};
pub use links::Links;
pub use location::{Location, LocationError};
pub use note::Note;
pub use remote::{
    Depth, Files, Interest, Listing, Pack, PushAnswer, RefUpdate, Remote, Removal, Snapshot,
};
pub use replay::{Change, Guess, Undo};
pub use sign::Signer;
pub use store::{Commit, Identity, Store, StoreError, make_repository};

use std::time::Duration;

use net::NetError;
use pace::Fault;
use terminal::harmless::said;

/// Why an error of the remote repository is not retried, or not any longer.
pub type FaultError = pace::FaultError<RemoteError>;

/// How long somebody is looked for where nobody was ever found in this run: a server that is just being started gets its time,
/// and a mistyped name is told of soon. What has answered before is waited for as long as the settings say.
const LONGEST_FIRST_CONTACT: Duration = Duration::from_secs(5);

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
    /// The connection, or what it goes through.
    #[error(transparent)]
    Net(#[from] NetError),
    /// Nobody has been reached there in this run, and it seems that nobody ever can be.
    #[error(
        "there is nobody at `{remote}`: {why}; check `source.uri`, and whether the server is up"
    )]
    Nobody {
        /// Where.
        remote: String,
        /// Why it seems so.
        why: &'static str,
        /// What happened.
        #[source]
        source: Box<NetError>,
    },
    /// The repository is of a kind that cannot be used.
    #[error("the repository at `{remote}` cannot be used: {why}")]
    Unsupported {
        /// Which.
        remote: String,
        /// Why, and what to do.
        why: String,
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
    /// The server does not take what we sent, and has done nothing with it.
    #[error("`{remote}` does not take our request: {words}")]
    Refused {
        /// Who.
        remote: String,
        /// Its HTTP status, and its words.
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
    /// Our private key cannot be used.
    #[error("`source.private_key` cannot be read {with}")]
    Key {
        /// With which passphrase.
        with: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The private key that is to sign our commits cannot be used.
    #[error("`source.signing_key` cannot be read {with}")]
    SigningKey {
        /// With which passphrase.
        with: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
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
    /// What the server shows is older than what we know, and stays so.
    #[error(
        "`{remote}` shows an older state of the branch than it has shown before, for {}: a replica or mirror that is behind", humantime::format_duration(pace::duration::whole_seconds(*.lasted))
    )]
    Behind {
        /// Who.
        remote: String,
        /// For how long.
        lasted: Duration,
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

impl Fault for RemoteError {
    fn is_transient(&self) -> bool {
        match self {
            RemoteError::Net(err) => err.is_transient(),
            RemoteError::Behind { .. } | RemoteError::Nobody { .. } => true,
            RemoteError::Unsupported { .. }
            | RemoteError::Denied { .. }
            | RemoteError::Refused { .. }
            | RemoteError::NotFound { .. }
            | RemoteError::HostKey { .. }
            | RemoteError::Key { .. }
            | RemoteError::SigningKey { .. }
            | RemoteError::NoBranch { .. }
            | RemoteError::Redirected { .. }
            | RemoteError::Protocol { .. }
            | RemoteError::NoGit(_)
            | RemoteError::Store(_) => false,
        }
    }

    fn longest(&self) -> Option<Duration> {
        match self {
            RemoteError::Nobody { .. } => Some(LONGEST_FIRST_CONTACT),
            _ => None,
        }
    }

    fn wait(&self) -> Option<Duration> {
        match self {
            RemoteError::Net(err) => err.wait(),
            _ => None,
        }
    }
}

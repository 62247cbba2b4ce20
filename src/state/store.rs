//! Where documents are kept: each place as a register that is written only if it is as it was read.

mod file;
mod git;
mod lock;
mod redis;

use std::path::PathBuf;
use std::time::Duration;

use ::git::{HistoryError, RemoteError, StoreError as ObjectsError};
use net::NetError;
use pace::Fault;

use crate::value::Value;
use crate::yaml;

pub use self::file::{FileStore, Format, write_file};
pub use self::git::{GitPlace, GitStore};
pub use self::lock::{LockError, Locks};
pub use self::redis::{RedisPlace, RedisStore};

/// The most that a document may have in its written form, in bytes.
pub const MOST_BYTES: usize = 64 * 1024 * 1024;

/// How long faults of a server are ridden out, unless something else is said.
pub const FAULT_LIMIT: Duration = Duration::from_secs(60);

/// Where documents are kept.
pub enum Store {
    /// A Redis server: a key for each document.
    Redis(Box<RedisStore>),
    /// A file with one document.
    File(FileStore),
    /// A branch of a Git repository: a file for each document.
    Git(Box<GitStore>),
}

/// A document as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// The document; `None` where there is none of this id.
    pub document: Option<Value>,
    /// What became of the writes before, of which we do not know whether they were made.
    pub before: Before,
}

/// What became of a write whose answer was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// It was not made, or there was none.
    NotMade,
    /// The one of this number was made.
    Made(usize),
    /// Nobody can tell any more: too much was written since.
    Unknown,
}

/// What became of a write.
#[derive(Debug)]
#[must_use = "a lost race looks like success unless it is read"]
pub enum Written {
    /// It was made.
    Done,
    /// Somebody else was first; nothing was written.
    Overtaken,
    /// The answer was lost: the next reading tells.
    Unknown(StoreError),
}

/// A write.
#[derive(Debug, Clone, Copy)]
pub struct Write<'a> {
    /// The document's id.
    pub id: &'a str,
    /// What it is to be; `None` to take it away.
    pub document: Option<&'a Value>,
    /// What a history says of it: one line.
    pub does: &'a str,
    /// Which try of this process it is, by which [`Before`] names it.
    pub attempt: usize,
}

/// One entry of a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// When: seconds since 1970.
    pub time: i64,
    /// The commit.
    pub commit: String,
    /// What was done, and by whom: one line.
    pub does: String,
}

/// Why a document cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// On the way to the server.
    #[error(transparent)]
    Net(#[from] NetError),
    /// What a Redis server says.
    #[error("the Redis server `{server}` refuses {doing}: {words}")]
    Redis {
        /// Who.
        server: String,
        /// What we asked for.
        doing: &'static str,
        /// Its words.
        words: String,
        /// Whether it may be different a little later.
        is_passing: bool,
    },
    /// A repository.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The objects of a repository.
    #[error(transparent)]
    Objects(#[from] ObjectsError),
    /// A history.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// A push that was not taken.
    #[error("`{remote}` does not take our commit: {reason}")]
    Rejected {
        /// Who.
        remote: String,
        /// Why.
        reason: String,
    },
    /// A file.
    #[error("cannot {doing} `{}`", path.display())]
    File {
        /// What we wanted.
        doing: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The lock of a folder.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// What is there is no document.
    #[error("what is kept {place} for `{id}` cannot be read: {why}")]
    Unreadable {
        /// Where.
        place: String,
        /// Of which id.
        id: String,
        /// Why.
        why: String,
    },
    /// A file has the document of another id.
    #[error(
        "`{}` has the document `{found}`, not `{wanted}`; a file keeps one document: use another path, or remove the file", path.display()
    )]
    OtherDocument {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Whose it should be.
        wanted: String,
    },
    /// There is more than is read or written.
    #[error("the document {place} is too large: {found} bytes, and the most is {MOST_BYTES}")]
    TooLarge {
        /// Where.
        place: String,
        /// How much it has.
        found: u64,
    },
    /// There is nothing of the kind.
    #[error("{0}")]
    Unsupported(String),
}

impl Fault for StoreError {
    fn is_transient(&self) -> bool {
        match self {
            StoreError::Net(err) => err.is_transient(),
            StoreError::Remote(err) => err.is_transient(),
            StoreError::Redis { is_passing, .. } => *is_passing,
            StoreError::Objects(_)
            | StoreError::History(_)
            | StoreError::Rejected { .. }
            | StoreError::File { .. }
            | StoreError::Lock(_)
            | StoreError::Unreadable { .. }
            | StoreError::OtherDocument { .. }
            | StoreError::TooLarge { .. }
            | StoreError::Unsupported(_) => false,
        }
    }

    fn wait(&self) -> Option<Duration> {
        match self {
            StoreError::Net(err) => err.wait(),
            StoreError::Remote(err) => err.wait(),
            _ => None,
        }
    }
}

impl Store {
    /// Reads a document.
    ///
    /// # Errors
    /// [`StoreError`]; one that is transient may be tried again.
    pub async fn read(&mut self, id: &str) -> Result<Reading, StoreError> {
        match self {
            Store::Redis(store) => store.read(id).await,
            Store::File(store) => store.read(id),
            Store::Git(store) => store.read(id).await,
        }
    }

    /// Writes a document if it is still as [`Store::read`] has seen it.
    ///
    /// # Errors
    /// [`StoreError`], when nothing was written.
    pub async fn write(&mut self, write: &Write<'_>) -> Result<Written, StoreError> {
        match self {
            Store::Redis(store) => store.write(write).await,
            Store::File(store) => store.write(write),
            Store::Git(store) => store.write(write).await,
        }
    }

    /// The ids of all documents.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list(&mut self) -> Result<Vec<String>, StoreError> {
        match self {
            Store::Redis(store) => store.list().await,
            Store::File(store) => store.list(),
            Store::Git(store) => store.list().await,
        }
    }

    /// What was done to a document, the newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn history(&mut self, id: &str) -> Result<Vec<Entry>, StoreError> {
        match self {
            Store::Git(store) => store.history(id).await,
            Store::Redis(_) | Store::File(_) => Err(StoreError::Unsupported(
                "only a primary data source of the type `git` has a history".to_owned(),
            )),
        }
    }

    /// How long faults are ridden out.
    pub fn fault_limit(&self) -> Duration {
        match self {
            Store::Git(store) => store.fault_limit(),
            Store::Redis(_) | Store::File(_) => FAULT_LIMIT,
        }
    }

    /// The file that it keeps documents in, if it is one on this machine.
    pub fn file(&self) -> Option<&std::path::Path> {
        match self {
            Store::File(store) => Some(store.path()),
            Store::Redis(_) | Store::Git(_) => None,
        }
    }

    /// Ends what is open to a server, so that none is kept waiting.
    pub async fn close(&mut self) {
        if let Store::Git(store) = self {
            store.close().await;
        }
    }
}

/// Reads a document that was written as YAML.
fn document(text: &str, place: &str, id: &str) -> Result<Value, StoreError> {
    let unreadable = |why: String| StoreError::Unreadable {
        place: place.to_owned(),
        id: terminal::one_line(id),
        why,
    };
    let value = yaml::read(text).map_err(|err| unreadable(err.to_string()))?;
    match value {
        Value::Map(_) => Ok(value),
        other => Err(unreadable(format!("it is {}, and not a map", other.kind()))),
    }
}

fn check_size(text: &str, place: &str) -> Result<(), StoreError> {
    match text.len() {
        0..=MOST_BYTES => Ok(()),
        found => Err(StoreError::TooLarge {
            place: place.to_owned(),
            found: found as u64,
        }),
    }
}

//! Why our own copy cannot be used.

use std::path::PathBuf;

use git2::ObjectType;

use super::MOST_OBJECTS;
use crate::object::Oid;

/// Why our own copy cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system.
    #[error("cannot use the folder `{folder}`")]
    Folder {
        /// Which folder.
        folder: PathBuf,
        /// What happened.
        #[source]
        source: std::io::Error,
    },
    /// Objects that cannot be read or written.
    #[error("cannot {doing}")]
    Objects {
        /// What was tried.
        doing: String,
        /// libgit2's reason.
        #[source]
        source: git2::Error,
    },
    /// A commit cannot be signed.
    #[error("cannot sign a commit")]
    Unsigned(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// An object is gone that was here.
    #[error("the copy of the history has lost the commit {0}")]
    Hole(Oid),
    /// An object is none that a lock repository has a use for.
    #[error("the {kind} {id} has {size} bytes, and {most} is the most that is read")]
    TooLarge {
        /// What kind of object.
        kind: ObjectType,
        /// Which.
        id: Oid,
        /// How large it is.
        size: usize,
        /// How large it may be.
        most: usize,
    },
    /// A pack says that it has more objects than could be.
    #[error("a pack of {0} objects was sent, and {MOST_OBJECTS} is the most that is taken")]
    TooManyObjects(u32),
    /// A commit was expected, and something else is there.
    #[error("{0}, to which the branch or a commit of it points, is not a commit")]
    NotACommit(Oid),
    /// A folder has a name twice, so that nobody can tell which is meant.
    #[error(
        "the folder {tree} has {name:?} in it twice, which Git does not allow, so nothing was changed in it; take one of the two away"
    )]
    Twice {
        /// The folder's tree.
        tree: Oid,
        /// The name.
        name: String,
    },
    /// A path leads through something that is not a folder.
    #[error("`{0}` is not a folder in the repository, so nothing can be put into it")]
    NotAFolder(String),
}

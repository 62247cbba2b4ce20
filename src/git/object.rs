//! Values of Git that the rules speak of: ids, tree entries, edits.
//!
//! Plain data, shared by the rules (which decide on edits) and by [`crate::Remote`] (which carries them out).

use std::sync::Arc;

pub use git2::Oid;

/// The id that `text` writes in full; libgit2 itself would fill up a shorter one with zeros.
pub fn full_id(text: &str) -> Option<Oid> {
    let full = text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if full { text.parse().ok() } else { None }
}

/// The id that Git gives these bytes as a blob.
pub fn blob_id(bytes: &[u8]) -> Oid {
    Oid::hash_object(git2::ObjectType::Blob, bytes).expect("hashing bytes in memory cannot fail")
}

/// Whether Git takes `name` for a branch; among others, it takes none that a command would take for an option.
pub fn is_branch(name: &str) -> bool {
    git2::Branch::name_is_valid(name).unwrap_or(false)
}

/// Whether Git takes `name` for a ref.
pub fn is_ref(name: &str) -> bool {
    git2::Reference::is_valid_name(name)
}

/// What a tree says of one name: the kind and permissions, and the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Entry {
    /// The kind and the permissions.
    pub mode: Mode,
    /// The object: a blob, a tree or (for a submodule) a commit of another repository.
    pub id: Oid,
}

/// The file modes that Git knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// 100644 (and with other bits, as in the old 100664).
    File,
    /// 100755.
    Executable,
    /// 120000: the blob is the link's text.
    Symlink,
    /// 040000.
    Folder,
    /// 160000, and what is none of the others.
    Submodule,
}

impl Mode {
    /// Whether the object behind it is a blob of this repository.
    pub fn is_blob(self) -> bool {
        match self {
            Mode::File | Mode::Executable | Mode::Symlink => true,
            Mode::Folder | Mode::Submodule => false,
        }
    }
}

/// A tree entry with its name, which need not be UTF-8.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The name as the tree has it.
    pub name: Vec<u8>,
    /// What stands under the name.
    pub entry: Entry,
}

/// Bytes together with the id that Git gives them as a blob.
#[derive(Clone, PartialEq, Eq)]
pub struct Content {
    bytes: Arc<[u8]>,
    id: Oid,
}

impl Content {
    /// The most bytes that are read or written as one content. The large hosts take no file that is larger.
    pub const MOST: usize = 100 * 1024 * 1024;

    /// Hashes `bytes` as Git hashes a blob.
    pub fn new(bytes: Vec<u8>) -> Content {
        Content {
            id: blob_id(&bytes),
            bytes: bytes.into(),
        }
    }

    /// The bytes, exactly as given.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The blob's id.
    pub fn id(&self) -> Oid {
        self.id
    }
}

impl std::fmt::Debug for Content {
    /// Leaves the bytes out: a lock's metadata is its owner's business, and often a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Content({} bytes, {})", self.bytes.len(), self.id)
    }
}

/// One change of one path. Paths run from the repository's root, with `/` between the names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// Makes `path` an object that is already in the repository.
    Set {
        /// Where.
        path: String,
        /// What.
        entry: Entry,
    },
    /// Makes `path` a blob with this content.
    Write {
        /// Where.
        path: String,
        /// How it is to be listed.
        mode: Mode,
        /// What is to be in it.
        content: Content,
    },
    /// Takes `path` away.
    Delete {
        /// Where.
        path: String,
    },
}

impl Edit {
    /// The path that is changed.
    pub fn path(&self) -> &str {
        match self {
            Edit::Set { path, .. } | Edit::Write { path, .. } | Edit::Delete { path } => path,
        }
    }
}

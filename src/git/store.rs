//! Our own copy of objects: a bare repository in a temporary folder, or in a folder that is kept between runs.
//!
//! Which objects are there is told by Git's own files; what the wire protocol needs to know besides (which commits we
//! have whole, and after which the history is cut off) is in `state`, written last and replaced in one step. So a
//! process that is killed leaves either the old state with some objects too many, or the new one. The cut is not put
//! into Git's own `shallow` file: libgit2 would read that only once, and hide parents that have arrived since.

mod error;
mod folder;
#[cfg(test)]
mod fuzz;
mod lent;
mod make;
mod needed;
mod pack;
mod state;
mod thin;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::Write;
use std::path::PathBuf;

use child::Scratch;
pub use error::StoreError;
use git2::{ObjectType, Odb, Repository, Tree, TreeEntry};
use lent::Lent;
pub use make::{Identity, make_repository};
pub(crate) use make::{in_header, raw};
use state::State;

use crate::object::{Content, Entry, Mode, Named, Oid};

/// The most that a commit or the listing of a folder may have, in bytes: room for 200,000 locks in one pool. Such objects
/// are read into the memory as a whole, and some kilobytes of a pack can stand for gigabytes.
const MOST_READ: usize = 16 * 1024 * 1024;

/// The most objects that are taken in at once. libgit2 makes room for as many as the first bytes of a pack say that there
/// are.
const MOST_OBJECTS: u32 = 10_000_000;

/// How many of the objects that were made here go over into a new copy: those of the last commits.
const MOST_MADE: usize = 1000;

/// How many bytes they may have, but for the last [`LEAST_MADE`]; and with twice as many it is better to begin anew: they are in
/// the memory.
const MOST_MADE_BYTES: usize = 32 * 1024 * 1024;

/// How many of them go over in any case, whatever they weigh: those of the last commits.
const LEAST_MADE: usize = 16;

/// Objects, and what we know of the history that they are part of.
pub struct Store {
    repository: Repository,
    folder: PathBuf,
    /// Keeps a temporary folder alive; it goes away with the store.
    temporary: Option<Scratch>,
    state: State,
    /// How many packs were taken in.
    packs: Cell<u32>,
    /// How many bytes they had.
    bytes: Cell<u64>,
    /// What was made here, the last at the end.
    made: RefCell<VecDeque<Oid>>,
    /// How many bytes all of it had.
    made_bytes: Cell<usize>,
    /// Files that were to be read and are not here.
    missed: RefCell<BTreeSet<Oid>>,
    /// What is known of a repository whose objects are here without having been fetched.
    lent: RefCell<Option<Lent>>,
}

/// What a commit says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The files.
    pub tree: Oid,
    /// The commits before it; the first is the branch it was made on.
    pub parents: Vec<Oid>,
    /// Seconds since 1970 as the committer's clock had it.
    pub time: i64,
    /// The message, in whatever encoding.
    pub message: Vec<u8>,
}

impl Store {
    /// The files that were asked for by [`Store::small_file`] since this was last called, and are not here.
    pub fn take_missed(&self) -> Vec<Oid> {
        self.missed.take().into_iter().collect()
    }

    /// How many commits deep the history of `head` was asked for, if `head` is here with all its files.
    pub fn depth_of(&self, head: Oid) -> Option<u32> {
        (self.state.head == Some(head)).then_some(self.state.depth)
    }

    /// The commit fetched last.
    pub fn head(&self) -> Option<Oid> {
        self.state.head
    }

    /// Commits after which our copy of the history is cut off.
    pub fn boundary(&self) -> impl Iterator<Item = Oid> + '_ {
        self.state.boundary.iter().copied()
    }

    /// Whether the history is cut off after this commit.
    pub fn is_cut(&self, commit: Oid) -> bool {
        self.state.boundary.contains(&commit)
    }

    /// How many bytes an object has; none for one that is not here.
    fn size_of(&self, id: Oid) -> usize {
        let header = self.odb().ok().and_then(|odb| odb.read_header(id).ok());
        header.map_or(0, |(size, _)| size)
    }

    /// Whether an object is here.
    pub fn has(&self, id: Oid) -> bool {
        self.odb().is_ok_and(|odb| odb.exists(id))
    }

    /// Takes a pack in as it arrives; `fill` gets it to write to.
    ///
    /// # Errors
    /// Whatever `fill` fails with, or [`StoreError`] when the pack is damaged.
    pub async fn take_pack<E: From<StoreError>>(
        &self,
        fill: impl AsyncFnOnce(&mut dyn FnMut(&[u8]) -> Result<(), StoreError>) -> Result<(), E>,
    ) -> Result<(), E> {
        const HEADER: usize = 12;
        let odb = self.odb()?;
        let mut writer = odb.packwriter().map_err(objects("take in a pack"))?;
        let mut header = Vec::with_capacity(HEADER);
        let mut write = |bytes: &[u8]| {
            let missing = HEADER - header.len();
            header.extend_from_slice(&bytes[..bytes.len().min(missing)]);
            match count_in(&header) {
                Some(count) if count > MOST_OBJECTS => {
                    return Err(StoreError::TooManyObjects(count));
                }
                _ => {}
            }
            self.bytes.set(self.bytes.get() + bytes.len() as u64);
            writer
                .write_all(bytes)
                .map_err(|source| StoreError::Folder {
                    folder: self.folder.clone(),
                    source,
                })
        };
        fill(&mut write).await?;
        // A pack of nothing is what a server sends when we have everything; libgit2 takes it for a damaged one.
        if count_in(&header) == Some(0) {
            return Ok(());
        }
        writer.commit().map_err(objects("take in a pack"))?;
        self.packs.set(self.packs.get() + 1);
        Ok(())
    }

    /// Notes that `head` is here now, `depth` commits deep, with the cuts that the server told.
    ///
    /// # Errors
    /// [`StoreError`] when the state cannot be written.
    pub fn note_fetched(
        &mut self,
        head: Oid,
        depth: u32,
        cuts: impl IntoIterator<Item = Oid>,
    ) -> Result<(), StoreError> {
        if self.is_lent() {
            return self.note_lent(head, depth);
        }
        let mut boundary = std::mem::take(&mut self.state.boundary);
        boundary.extend(cuts);
        // A cut below which everything has arrived meanwhile is none.
        let odb = self.odb()?;
        boundary.retain(|cut| match self.commit(*cut) {
            Ok(Some(commit)) => commit.parents.iter().any(|parent| !odb.exists(*parent)),
            _ => false,
        });
        drop(odb);
        self.state = State {
            head: Some(head),
            depth,
            boundary,
        };
        self.save()
    }

    /// Reads a commit; `None` when it is not here.
    ///
    /// # Errors
    /// [`StoreError`] when it is damaged or something else.
    pub fn commit(&self, id: Oid) -> Result<Option<Commit>, StoreError> {
        self.check_size(id, ObjectType::Commit, MOST_READ)?;
        let commit = match self.repository.find_commit(id) {
            Ok(commit) => commit,
            Err(err) if err.code() == git2::ErrorCode::NotFound => return Ok(None),
            Err(source) => return Err(objects(format!("read the commit {id}"))(source)),
        };
        Ok(Some(Commit {
            tree: commit.tree_id(),
            parents: commit.parent_ids().collect(),
            time: commit.time().seconds(),
            message: commit.message_raw_bytes().to_owned(),
        }))
    }

    /// Reads what stands at `path` in a tree; `None` when nothing does.
    ///
    /// # Errors
    /// [`StoreError`] when a tree on the way is missing or damaged.
    pub fn entry(&self, tree: Oid, path: &str) -> Result<Option<Entry>, StoreError> {
        let mut at = tree;
        let mut parts = path.split('/').peekable();
        while let Some(part) = parts.next() {
            let tree = self.tree(at)?;
            let Some(found) = named(&tree, part.as_bytes()) else {
                return Ok(None);
            };
            let entry = Entry {
                mode: mode_of(found.filemode_raw()),
                id: found.id(),
            };
            if parts.peek().is_none() {
                return Ok(Some(entry));
            }
            if entry.mode != Mode::Folder {
                return Ok(None);
            }
            at = entry.id;
        }
        Ok(None)
    }

    /// Reads what stands under each of these names in a tree, in their order.
    ///
    /// # Errors
    /// [`StoreError`] when the tree is missing or damaged.
    pub fn names(&self, tree: Oid, names: &[&str]) -> Result<Vec<Option<Entry>>, StoreError> {
        let tree = self.tree(tree)?;
        let found = names.iter().map(|name| {
            let entry = named(&tree, name.as_bytes())?;
            Some(Entry {
                mode: mode_of(entry.filemode_raw()),
                id: entry.id(),
            })
        });
        Ok(found.collect())
    }

    /// Lists a tree.
    ///
    /// # Errors
    /// [`StoreError`] when it is missing or damaged.
    pub fn list(&self, tree: Oid) -> Result<Vec<Named>, StoreError> {
        let tree = self.tree(tree)?;
        let named = tree.iter().map(|entry| Named {
            name: entry.name_bytes().to_owned(),
            entry: Entry {
                mode: mode_of(entry.filemode_raw()),
                id: entry.id(),
            },
        });
        Ok(named.collect())
    }

    /// Lists a tree with the modes as they are written.
    pub(crate) fn raw_list(&self, tree: Oid) -> Result<Vec<(Vec<u8>, i32, Oid)>, StoreError> {
        let tree = self.tree(tree)?;
        let all = tree.iter().map(|entry| {
            (
                entry.name_bytes().to_owned(),
                entry.filemode_raw(),
                entry.id(),
            )
        });
        Ok(all.collect())
    }

    /// Whatever is in the folder at `path` in a tree, and in the folders below, by its whole path; what has no name in UTF-8 is
    /// left out. Without a path it is whatever is in the tree.
    pub(crate) fn files_below(
        &self,
        tree: Oid,
        path: &str,
    ) -> Result<BTreeMap<String, Entry>, StoreError> {
        let mut files = BTreeMap::new();
        let mut open = Vec::new();
        if path.is_empty() {
            open.push((String::new(), tree));
        } else if let Some(entry) = self.entry(tree, path)?
            && entry.mode == Mode::Folder
        {
            open.push((path.to_owned(), entry.id));
        }
        while let Some((path, tree)) = open.pop() {
            for Named { name, entry } in self.list(tree)? {
                let Ok(name) = std::str::from_utf8(&name) else {
                    continue;
                };
                let path = match path.as_str() {
                    "" => name.to_owned(),
                    path => format!("{path}/{name}"),
                };
                match entry.mode {
                    Mode::Folder => open.push((path, entry.id)),
                    _ => drop(files.insert(path, entry)),
                }
            }
        }
        Ok(files)
    }

    /// Reads a blob.
    ///
    /// # Errors
    /// [`StoreError`] when it is missing or something else.
    pub fn blob(&self, id: Oid) -> Result<Vec<u8>, StoreError> {
        self.check_size(id, ObjectType::Blob, Content::MOST)?;
        let blob = self
            .repository
            .find_blob(id)
            .map_err(objects(format!("read the file {id}")))?;
        Ok(blob.content().to_owned())
    }

    /// Reads a blob if it is here, and no larger than `limit` bytes.
    ///
    /// # Errors
    /// [`StoreError`] when it is damaged.
    pub fn small_blob(&self, id: Oid, limit: usize) -> Result<Option<Vec<u8>>, StoreError> {
        let odb = self.odb()?;
        match odb.read_header(id) {
            Ok((size, ObjectType::Blob)) if size <= limit => self.blob(id).map(Some),
            _ => Ok(None),
        }
    }

    /// As [`Store::small_blob`]; one that is not here is noted for [`Store::take_missed`].
    ///
    /// # Errors
    /// As [`Store::small_blob`].
    pub fn small_file(&self, id: Oid, limit: usize) -> Result<Option<Vec<u8>>, StoreError> {
        if !self.has(id) {
            self.missed.borrow_mut().insert(id);
        }
        self.small_blob(id, limit)
    }

    /// An empty store of a test's own.
    #[cfg(test)]
    pub(crate) fn in_memory() -> Store {
        Store::temporary(&std::env::temp_dir()).expect("tests have a folder")
    }

    fn tree(&self, id: Oid) -> Result<Tree<'_>, StoreError> {
        self.check_size(id, ObjectType::Tree, MOST_READ)?;
        self.repository
            .find_tree(id)
            .map_err(objects(format!("read the tree {id}")))
    }

    /// Fails when an object is larger than it may be. What is not here at all, its reader finds out.
    fn check_size(&self, id: Oid, kind: ObjectType, most: usize) -> Result<(), StoreError> {
        match self.odb()?.read_header(id) {
            Ok((size, found)) if found == kind && size > most => Err(StoreError::TooLarge {
                kind,
                id,
                size,
                most,
            }),
            _ => Ok(()),
        }
    }

    pub(crate) fn odb(&self) -> Result<Odb<'_>, StoreError> {
        self.repository.odb().map_err(objects("open the objects"))
    }
}

pub(crate) fn objects(doing: impl Into<String>) -> impl FnOnce(git2::Error) -> StoreError {
    let doing = doing.into();
    move |source| StoreError::Objects { doing, source }
}

/// How many objects a pack has, if its header is there.
fn count_in(header: &[u8]) -> Option<u32> {
    let count = header.get(8..12)?;
    Some(u32::from_be_bytes(count.try_into().ok()?))
}

/// What stands under a name in a tree.
fn named<'t>(tree: &'t Tree<'_>, name: &[u8]) -> Option<TreeEntry<'t>> {
    tree.get_name_bytes(name)
        // That takes it to be in order. Where it is not, what is there must not be taken for missing.
        .or_else(|| tree.iter().find(|entry| entry.name_bytes() == name))
}

/// What Git takes a mode for, which trees of old or odd tools have with more bits than it writes itself. Not what libgit2
/// takes it for: a server leaves out what Git takes for a submodule.
///
/// Source: `canon_mode` of Git's `object.h`.
pub(crate) fn mode_of(raw: i32) -> Mode {
    match raw & 0o170000 {
        0o100000 if raw & 0o100 != 0 => Mode::Executable,
        0o100000 => Mode::File,
        0o120000 => Mode::Symlink,
        0o040000 => Mode::Folder,
        _ => Mode::Submodule,
    }
}

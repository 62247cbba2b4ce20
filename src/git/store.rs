//! Our own copy of objects: a bare repository in a temporary folder, or in a folder that is kept between runs.
//!
//! Which objects are there is told by Git's own files; what the wire protocol needs to know besides (which commits we
//! have whole, and after which the history is cut off) is in `state`, written last and replaced in one step. So a
//! process that is killed leaves either the old state with some objects too many, or the new one. The cut is not put
//! into Git's own `shallow` file: libgit2 would read that only once, and hide parents that have arrived since.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use git2::{ObjectType, Odb, Repository, RepositoryInitOptions, Tree, TreeEntry};
use tempfile::TempDir;

use crate::object::{Content, Edit, Entry, Mode, Named, Oid};

/// The most that a commit or the listing of a folder may have, in bytes: room for 200,000 locks in one pool. Such objects
/// are read into the memory as a whole, and some kilobytes of a pack can stand for gigabytes.
const MOST_READ: usize = 16 * 1024 * 1024;

/// The most objects that are taken in at once. libgit2 makes room for as many as the first bytes of a pack say that there
/// are.
const MOST_OBJECTS: u32 = 10_000_000;

/// Objects, and what we know of the history that they are part of.
pub struct Store {
    repository: Repository,
    folder: PathBuf,
    /// Keeps a temporary folder alive; it goes away with the store.
    temporary: Option<TempDir>,
    state: State,
}

/// What is known of the objects as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct State {
    /// The commit fetched last, which is here with all its files.
    head: Option<Oid>,
    /// How many commits deep it was asked for.
    depth: u32,
    /// Commits some of whose parents are not here.
    boundary: BTreeSet<Oid>,
}

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

/// Who commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// As `user.name`.
    pub name: String,
    /// As `user.email`.
    pub email: String,
}

impl Default for Identity {
    fn default() -> Identity {
        Identity {
            name: "CI Pool Resource".to_owned(),
            email: "ci-pool@localhost".to_owned(),
        }
    }
}

impl Store {
    /// Makes an empty store that goes away with the value; `parent` is the folder for temporary files.
    ///
    /// # Errors
    /// [`StoreError`] when `parent` cannot be written to.
    pub fn temporary(parent: &Path) -> Result<Store, StoreError> {
        let folder = tempfile::Builder::new()
            .prefix("pool-resource-")
            .tempdir_in(parent)
            .map_err(|source| StoreError::Folder {
                folder: parent.to_owned(),
                source,
            })?;
        let repository = init(folder.path())?;
        Ok(Store {
            repository,
            folder: folder.path().to_owned(),
            temporary: Some(folder),
            state: State::default(),
        })
    }

    /// Opens the store in `folder`, or makes one there.
    ///
    /// # Errors
    /// [`StoreError`] when there is something else, or half of a store: delete it and try again.
    pub fn kept(folder: &Path) -> Result<Store, StoreError> {
        let state = match fs::read_to_string(folder.join("state")) {
            Ok(text) => State::parse(&text).unwrap_or_default(),
            Err(err) if err.kind() == std::io::ErrorKind::NotFound => State::default(),
            Err(source) => {
                return Err(StoreError::Folder {
                    folder: folder.to_owned(),
                    source,
                });
            }
        };
        let repository = if state.head.is_some() {
            Repository::open_bare(folder).map_err(objects("open the kept objects"))?
        } else {
            init(folder)?
        };
        Ok(Store {
            repository,
            folder: folder.to_owned(),
            temporary: None,
            state,
        })
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

    /// Makes a blob.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be written.
    pub fn make_blob(&self, bytes: &[u8]) -> Result<Oid, StoreError> {
        self.write(ObjectType::Blob, bytes, &mut Vec::new())
    }

    /// Makes a commit on top of `parent` that carries out `edits`, and gives the objects that a server needs to have it.
    ///
    /// # Errors
    /// [`StoreError`] when an edit leads through a file, the identity is not one, or objects cannot be written.
    pub fn make_commit(
        &self,
        parent: Oid,
        edits: &[Edit],
        message: &str,
        identity: &Identity,
    ) -> Result<(Oid, Vec<Oid>), StoreError> {
        self.make_commit_on(Some(parent), edits, message, identity)
    }

    /// Makes the first commit of a branch, with what `edits` put into it; see [`Store::make_commit`].
    ///
    /// # Errors
    /// As [`Store::make_commit`].
    pub fn make_first_commit(
        &self,
        edits: &[Edit],
        message: &str,
        identity: &Identity,
    ) -> Result<(Oid, Vec<Oid>), StoreError> {
        self.make_commit_on(None, edits, message, identity)
    }

    fn make_commit_on(
        &self,
        parent: Option<Oid>,
        edits: &[Edit],
        message: &str,
        identity: &Identity,
    ) -> Result<(Oid, Vec<Oid>), StoreError> {
        let repository = &self.repository;
        let parent = match parent {
            Some(parent) => Some(
                repository
                    .find_commit(parent)
                    .map_err(objects(format!("read the commit {parent}")))?,
            ),
            None => None,
        };
        let tree_before = parent.as_ref().map(git2::Commit::tree_id);
        let mut made = Vec::new();
        let edits: Vec<(&str, &Edit)> = edits.iter().map(|edit| (edit.path(), edit)).collect();
        let tree = match tree_before {
            // The very same, in whatever order its entries are.
            Some(tree) if edits.is_empty() => tree,
            before => match self.edit_tree(before, &edits, &mut made)? {
                Some(tree) => tree,
                None => self.write(ObjectType::Tree, b"", &mut made)?,
            },
        };
        let tree = self.tree(tree)?;
        let (name, email) = (in_header(&identity.name), in_header(&identity.email));
        let who = git2::Signature::now(&name, &email)
            .and_then(|now| {
                git2::Signature::new(&name, &email, &git2::Time::new(now.when().seconds(), 0))
            })
            .map_err(objects(format!("commit as `{name} <{email}>`")))?;
        let commit = repository
            .commit_create_buffer(
                &who,
                &who,
                message,
                &tree,
                &parent.iter().collect::<Vec<_>>(),
            )
            .map_err(objects("make a commit"))?;
        let commit = self.write(ObjectType::Commit, &commit, &mut made)?;

        Ok((commit, made))
    }

    /// Packs objects for a server.
    ///
    /// # Errors
    /// [`StoreError`] when one of them is missing.
    pub fn pack(&self, ids: &[Oid]) -> Result<Vec<u8>, StoreError> {
        let mut builder = self
            .repository
            .packbuilder()
            .map_err(objects("make a pack"))?;
        builder.set_threads(1);
        for id in ids {
            builder
                .insert_object(*id, None)
                .map_err(objects("make a pack"))?;
        }
        let mut pack = git2::Buf::new();
        builder
            .write_buf(&mut pack)
            .map_err(objects("make a pack"))?;
        Ok(pack.to_vec())
    }

    /// Applies edits whose paths are relative to `tree`; `None` when nothing is left of it.
    fn edit_tree(
        &self,
        tree: Option<Oid>,
        edits: &[(&str, &Edit)],
        made: &mut Vec<Oid>,
    ) -> Result<Option<Oid>, StoreError> {
        let doing = || objects("make a tree");
        let tree = tree.map(|tree| self.tree(tree)).transpose()?;
        // The builder would keep one of the two.
        if let Some(tree) = &tree
            && let Some(name) = name_twice(tree)
        {
            return Err(StoreError::Twice {
                tree: tree.id(),
                name,
            });
        }
        let mut builder = self
            .repository
            .treebuilder(tree.as_ref())
            .map_err(doing())?;
        let mut folders: Vec<&str> = Vec::new();
        for (path, edit) in edits {
            let Some((folder, _)) = path.split_once('/') else {
                match edit {
                    Edit::Set { entry, .. } => drop(
                        builder
                            .insert(path, entry.id, raw(entry.mode))
                            .map_err(doing())?,
                    ),
                    Edit::Write { mode, content, .. } => {
                        let blob = self.write(ObjectType::Blob, content.bytes(), made)?;
                        drop(builder.insert(path, blob, raw(*mode)).map_err(doing())?);
                    }
                    Edit::Delete { .. } => {
                        if builder.get(path).map_err(doing())?.is_some() {
                            builder.remove(path).map_err(doing())?;
                        }
                    }
                }
                continue;
            };
            if !folders.contains(&folder) {
                folders.push(folder);
            }
        }
        for folder in folders {
            let inside: Vec<(&str, &Edit)> = edits
                .iter()
                .filter_map(|(path, edit)| {
                    Some((path.strip_prefix(folder)?.strip_prefix('/')?, *edit))
                })
                .collect();
            let before = tree
                .as_ref()
                .and_then(|tree| named(tree, folder.as_bytes()));
            let before = match before {
                None => None,
                Some(entry) if mode_of(entry.filemode_raw()) == Mode::Folder => Some(entry.id()),
                Some(_) => return Err(StoreError::NotAFolder(folder.to_owned())),
            };
            match self.edit_tree(before, &inside, made)? {
                Some(after) => drop(
                    builder
                        .insert(folder, after, raw(Mode::Folder))
                        .map_err(doing())?,
                ),
                None if before.is_some() => builder.remove(folder).map_err(doing())?,
                None => {}
            }
        }
        if builder.is_empty() {
            return Ok(None);
        }
        let id = builder.write().map_err(doing())?;
        made.push(id);
        Ok(Some(id))
    }

    fn write(
        &self,
        kind: ObjectType,
        bytes: &[u8],
        made: &mut Vec<Oid>,
    ) -> Result<Oid, StoreError> {
        let id = self
            .odb()?
            .write(kind, bytes)
            .map_err(objects("write an object"))?;
        made.push(id);
        Ok(id)
    }

    /// Makes an empty store that keeps what is written to it in memory; packs go to the disk.
    #[cfg(test)]
    pub(super) fn in_memory() -> Store {
        let store = Store::temporary(&std::env::temp_dir()).expect("tests have a folder");
        let odb = store.odb().expect("it is new");
        // Before all others.
        odb.add_new_mempack_backend(1000)
            .expect("there is none yet");
        drop(odb);
        store
    }

    /// Writes an object as it is, well-formed or not.
    #[cfg(test)]
    pub(super) fn write_raw(&self, kind: ObjectType, bytes: &[u8]) -> Oid {
        self.write(kind, bytes, &mut Vec::new())
            .expect("a test's folder can be written to")
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

    fn odb(&self) -> Result<Odb<'_>, StoreError> {
        self.repository.odb().map_err(objects("open the objects"))
    }

    fn save(&self) -> Result<(), StoreError> {
        if self.temporary.is_some() {
            return Ok(());
        }
        let write = || {
            let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
            file.write_all(self.state.to_text().as_bytes())?;
            file.persist(self.folder.join("state"))?;
            Ok(())
        };
        write().map_err(|source| StoreError::Folder {
            folder: self.folder.clone(),
            source,
        })
    }
}

/// Makes a bare repository at `folder` whose branch has one commit with what `edits` put into it, if there is nothing yet;
/// says whether it did. Two who do so at once both find a whole one there afterwards.
///
/// # Errors
/// [`StoreError`] when the folder above cannot be written to.
pub fn make_repository(
    folder: &Path,
    branch: &str,
    edits: &[Edit],
    message: &str,
    identity: &Identity,
) -> Result<bool, StoreError> {
    if folder.exists() {
        return Ok(false);
    }
    let failed = |source| StoreError::Folder {
        folder: folder.to_owned(),
        source,
    };
    let above = folder.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(above).map_err(failed)?;
    let new = tempfile::Builder::new()
        .prefix(".new-")
        .tempdir_in(above)
        .map_err(failed)?;
    let mut options = RepositoryInitOptions::new();
    options
        .bare(true)
        .external_template(false)
        .initial_head(branch);
    let doing = || objects(format!("make a repository in `{}`", new.path().display()));
    let repository = Repository::init_opts(new.path(), &options).map_err(doing())?;
    let store = Store {
        repository,
        folder: new.path().to_owned(),
        temporary: None,
        state: State::default(),
    };
    let (commit, _) = store.make_first_commit(edits, message, identity)?;
    let reference = format!("refs/heads/{branch}");
    store
        .repository
        .reference(&reference, commit, false, message)
        .map_err(doing())?;
    drop(store);
    // In one step, and not over one that is there.
    match fs::rename(new.path(), folder) {
        Ok(()) => {
            let _ = new.keep();
            Ok(true)
        }
        Err(_) if folder.join("HEAD").exists() => Ok(false),
        Err(err) => Err(failed(err)),
    }
}

impl State {
    fn to_text(&self) -> String {
        let mut lines = Vec::new();
        lines.extend(self.head.map(|head| format!("head {head} {}", self.depth)));
        lines.extend(self.boundary.iter().map(|cut| format!("cut {cut}")));
        // The last line tells that none is missing.
        lines.push("end\n".to_owned());
        lines.join("\n")
    }

    /// `None` when it is not one of ours, or only a part of one.
    fn parse(text: &str) -> Option<State> {
        let mut state = State::default();
        let mut lines = text.strip_suffix("\nend\n")?.lines();
        let (head, depth) = lines.next()?.strip_prefix("head ")?.split_once(' ')?;
        state.head = Some(Oid::from_str(head).ok()?);
        state.depth = depth.parse().ok()?;
        for line in lines {
            state
                .boundary
                .insert(Oid::from_str(line.strip_prefix("cut ")?).ok()?);
        }
        Some(state)
    }
}

/// Makes an empty repository with no more in it than libgit2 asks for, which makes samples and descriptions besides and reads
/// and writes its settings four times: a twelfth of all that an acquire does.
fn init(folder: &Path) -> Result<Repository, StoreError> {
    let make = || {
        fs::create_dir_all(folder.join("objects/pack"))?;
        fs::create_dir_all(folder.join("refs"))?;
        let config = "[core]\n\trepositoryformatversion = 0\n\tbare = true\n";
        fs::write(folder.join("config"), config)?;
        fs::write(folder.join("HEAD"), "ref: refs/heads/main\n")
    };
    make().map_err(|source| StoreError::Folder {
        folder: folder.to_owned(),
        source,
    })?;
    Repository::open_bare(folder).map_err(objects(format!(
        "make a repository in `{}`",
        folder.display()
    )))
}

/// The text without what would end it, or its line, in the header of a commit; Git leaves the same out.
fn in_header(text: &str) -> String {
    text.replace(|c: char| matches!(c, '<' | '>') || c.is_control(), "")
}

fn objects(doing: impl Into<String>) -> impl FnOnce(git2::Error) -> StoreError {
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

/// A name that is in a tree more than once.
fn name_twice(tree: &Tree<'_>) -> Option<String> {
    let mut names = HashSet::new();
    tree.iter()
        .map(|entry| entry.name_bytes().to_owned())
        .find(|name| !names.insert(name.clone()))
        .map(|name| String::from_utf8_lossy(&name).chars().take(100).collect())
}

/// What Git takes a mode for, which trees of old or odd tools have with more bits than it writes itself. Not what libgit2
/// takes it for: a server leaves out what Git takes for a submodule.
///
/// Source: `canon_mode` of Git's `object.h`.
fn mode_of(raw: i32) -> Mode {
    match raw & 0o170000 {
        0o100000 if raw & 0o100 != 0 => Mode::Executable,
        0o100000 => Mode::File,
        0o120000 => Mode::Symlink,
        0o040000 => Mode::Folder,
        _ => Mode::Submodule,
    }
}

fn raw(mode: Mode) -> i32 {
    match mode {
        Mode::File => 0o100644,
        Mode::Executable => 0o100755,
        Mode::Symlink => 0o120000,
        Mode::Folder => 0o040000,
        Mode::Submodule => 0o160000,
    }
}

#[cfg(test)]
mod fuzz;

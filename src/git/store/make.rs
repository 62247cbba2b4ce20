//! Making objects: commits with what their edits change, packs of them for a server, and whole repositories.

use std::collections::HashSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use git2::{ObjectType, Repository, RepositoryInitOptions, Tree};

use super::{MOST_MADE, State, Store, StoreError, mode_of, named, objects};
use crate::object::{Edit, Entry, Mode, Oid};
use crate::sign::{Signer, signed};

/// Who commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// As `user.name`.
    pub name: String,
    /// As `user.email`.
    pub email: String,
    /// What signs the commits, if they are signed.
    pub signer: Option<Signer>,
}

impl Default for Identity {
    fn default() -> Identity {
        Identity {
            name: "CI Pool Resource".to_owned(),
            email: "ci-pool@localhost".to_owned(),
            signer: None,
        }
    }
}

impl Store {
    pub(super) fn note_made(&self, made: &[Oid]) {
        let mut kept = self.made.borrow_mut();
        kept.extend(made);
        let old = kept.len().saturating_sub(MOST_MADE);
        kept.drain(..old);
        let sizes = made.iter().map(|id| self.size_of(*id));
        self.made_bytes.update(|bytes| bytes + sizes.sum::<usize>());
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
        let commit = match &identity.signer {
            None => self.write(ObjectType::Commit, &commit, &mut made)?,
            Some(signer) => {
                let signature = signer.sign(&commit);
                let signature = signature.map_err(StoreError::Unsigned)?;
                let commit = signed(&commit, &signature);
                self.write(ObjectType::Commit, &commit, &mut made)?
            }
        };
        self.note_made(&made);
        self.note_commit_made(commit);

        Ok((commit, made))
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
                    Edit::Set { entry, .. } => {
                        self.check_kind(*entry).map_err(doing())?;
                        builder
                            .insert(path, entry.id, raw(entry.mode))
                            .map_err(doing())?;
                    }
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

    /// Fails when an object is here and is of another kind than its entry says. What is not here was left out as a file.
    fn check_kind(&self, entry: Entry) -> Result<(), git2::Error> {
        let kind = match entry.mode {
            Mode::Folder => ObjectType::Tree,
            Mode::File | Mode::Executable | Mode::Symlink => ObjectType::Blob,
            Mode::Submodule => return Ok(()),
        };
        match self.repository.odb()?.read_header(entry.id) {
            Ok((_, found)) if found != kind => {
                let message = format!("{} is a {found}, and is listed as a {kind}", entry.id);
                Err(git2::Error::from_str(&message))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn write(
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

    /// Writes an object as it is, well-formed or not.
    #[cfg(test)]
    pub(crate) fn write_raw(&self, kind: ObjectType, bytes: &[u8]) -> Oid {
        self.write(kind, bytes, &mut Vec::new())
            .expect("a test's folder can be written to")
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
        .permissions(Permissions::from_mode(0o700))
        .tempdir_in(above)
        .map_err(failed)?;
    let mut options = RepositoryInitOptions::new();
    options
        .bare(true)
        .external_template(false)
        .initial_head(branch);
    let doing = || objects(format!("make a repository in `{}`", new.path().display()));
    let repository = Repository::init_opts(new.path(), &options).map_err(doing())?;
    let store = Store::of(repository, new.path().to_owned(), None, State::default());
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

/// The text without what would end it, or its line, in the header of a commit; Git leaves the same out.
pub(crate) fn in_header(text: &str) -> String {
    text.replace(|c: char| matches!(c, '<' | '>') || c.is_control(), "")
}

/// A name that is in a tree more than once.
fn name_twice(tree: &Tree<'_>) -> Option<String> {
    let mut names = HashSet::new();
    tree.iter()
        .map(|entry| entry.name_bytes().to_owned())
        .find(|name| !names.insert(name.clone()))
        .map(|name| String::from_utf8_lossy(&name).chars().take(100).collect())
}

/// A mode as Git writes it.
pub(crate) fn raw(mode: Mode) -> i32 {
    match mode {
        Mode::File => 0o100644,
        Mode::Executable => 0o100755,
        Mode::Symlink => 0o120000,
        Mode::Folder => 0o040000,
        Mode::Submodule => 0o160000,
    }
}

//! The folder of a store: how one is made, opened, and begun anew.

use std::cell::{Cell, RefCell};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Once;

use child::Scratch;
use git2::{ConfigLevel, ObjectType, Repository};

use super::state::State;
use super::{LEAST_MADE, MOST_MADE_BYTES, Store, StoreError, objects};

/// More packs than this have piled up in a long wait: each is one more file to look into for every object.
const MOST_PACKS: u32 = 64;

/// More bytes of packs than this are much.
const MUCH: u64 = 4 * 1024 * 1024;

/// The place of the memory among the places for objects: libgit2's own for files have 1 and 2.
const BEFORE_FILES: i32 = 1000;

/// How many bytes a folder may have at most that is kept in the memory once it was read, and how many all of them: an acquire
/// reads the folder of a pool half a dozen times.
const KEPT_FOLDER: usize = 1024 * 1024;
const KEPT: isize = 8 * 1024 * 1024;

impl Store {
    /// Makes an empty store that goes away with the value; `parent` is the folder for temporary files.
    ///
    /// # Errors
    /// [`StoreError`] when `parent` cannot be written to.
    pub fn temporary(parent: &Path) -> Result<Store, StoreError> {
        set_up();
        let folder =
            Scratch::new(parent, "pool-resource-").map_err(|source| StoreError::Folder {
                folder: parent.to_owned(),
                source,
            })?;
        let repository = init(folder.path())?;
        // What is made here nobody reads from the folder.
        let odb = repository.odb().map_err(objects("open the objects"))?;
        odb.add_new_mempack_backend(BEFORE_FILES)
            .map_err(objects("keep objects in the memory"))?;
        drop(odb);
        let path = folder.path().to_owned();
        Ok(Store::of(repository, path, Some(folder), State::default()))
    }

    pub(super) fn of(
        repository: Repository,
        folder: PathBuf,
        temporary: Option<Scratch>,
        state: State,
    ) -> Store {
        Store {
            repository,
            folder,
            temporary,
            state,
            packs: Cell::default(),
            bytes: Cell::default(),
            made: RefCell::default(),
            made_bytes: Cell::default(),
            missed: RefCell::default(),
            lent: RefCell::default(),
        }
    }

    /// Whether so much was fetched that it is better to begin anew.
    pub(crate) fn is_full(&self) -> bool {
        let is_heavy = self.made_bytes.get() > 2 * MOST_MADE_BYTES;
        is_heavy || self.packs.get() >= MOST_PACKS || self.moves() >= MOST_PACKS
    }

    /// Whether it is so much that to remove it takes more than a moment.
    pub(crate) fn is_large(&self) -> bool {
        const MANY: u32 = 8;
        self.packs.get() > MANY || self.bytes.get() > MUCH
    }

    /// A temporary store beside this one with nothing in it but what was made here of late. `None` where this one is kept.
    pub(crate) fn successor(&self) -> Result<Option<Store>, StoreError> {
        let parent = self.temporary.as_ref().and_then(|own| own.path().parent());
        let Some(parent) = parent else {
            return Ok(None);
        };
        let next = Store::temporary(parent)?;
        let odb = self.odb()?;
        let mut bytes = 0;
        let mut kept = Vec::new();
        for id in self.made.borrow().iter().rev() {
            let doing = || objects(format!("copy the object {id}"));
            let object = odb.read(*id).map_err(doing())?;
            bytes += object.len();
            if kept.len() >= LEAST_MADE && bytes > MOST_MADE_BYTES {
                break;
            }
            next.write(object.kind(), object.data(), &mut Vec::new())?;
            kept.push(*id);
        }
        kept.reverse();
        next.note_made(&kept);
        Ok(Some(next))
    }

    /// Where files go that are needed for a while.
    pub(crate) fn place_for_temporary(&self) -> PathBuf {
        match &self.temporary {
            Some(own) => own.path().parent().unwrap_or(own.path()).to_owned(),
            None => std::env::temp_dir(),
        }
    }

    /// Forgets what was fetched last. What is here stays, and is not relied on.
    pub(crate) fn forget(&mut self) -> Result<(), StoreError> {
        self.state = State::default();
        self.save()
    }

    /// Opens the store in `folder`, or makes one there.
    ///
    /// # Errors
    /// [`StoreError`] when there is something else, or half of a store: delete it and try again.
    pub fn kept(folder: &Path) -> Result<Store, StoreError> {
        set_up();
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
        Ok(Store::of(repository, folder.to_owned(), None, state))
    }

    pub(super) fn save(&self) -> Result<(), StoreError> {
        // What is lent is not here for those who come later.
        if self.temporary.is_some() || self.is_lent() {
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

/// Has libgit2 work with what is here, be it not the whole of a commit; and close packs that it has not looked into for a
/// while: it would keep each one open.
fn set_up() {
    const MOST_OPEN: usize = 16;
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // A folder can be changed without the files in it.
        git2::opts::strict_object_creation(false);
        // SAFETY: no other thread uses libgit2 before the first store is there.
        #[allow(unsafe_code, reason = "the one way to say so")]
        for level in [
            ConfigLevel::System,
            ConfigLevel::XDG,
            ConfigLevel::Global,
            ConfigLevel::ProgramData,
        ] {
            // What a store does is nobody's to set; if this failed, the files would be read each time in vain.
            drop(unsafe { git2::opts::set_search_path(level, "") });
        }
        // SAFETY: a word that libgit2 looks at whenever it opens a pack, set before there is any.
        #[allow(unsafe_code, reason = "the one way to say so")]
        let set = unsafe { git2::opts::set_mwindow_file_limit(MOST_OPEN) };
        // It does not fail; if it did, there would be as many open as ever.
        drop(set);
        // SAFETY: as above.
        #[allow(unsafe_code, reason = "the one way to say so")]
        let kept = unsafe {
            git2::opts::set_cache_object_limit(ObjectType::Tree, KEPT_FOLDER)
                .and(git2::opts::set_cache_max_size(KEPT))
        };
        // Nor does this; if it did, folders would be read as often as they are asked for.
        drop(kept);
    });
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::Identity;
    use crate::object::{Content, Edit, Mode};

    #[test]
    fn what_was_made_long_ago_and_weighs_much_does_not_go_over_into_a_new_store() {
        let store = Store::in_memory();
        let make = |n: u8| {
            let large = Edit::Write {
                path: format!("large-{n}"),
                mode: Mode::File,
                content: Content::new(vec![n; 6 * 1024 * 1024]),
            };
            let who = Identity::default();
            store.make_first_commit(&[large], "large", &who).unwrap().0
        };
        let commits: Vec<_> = (0..12).map(make).collect();
        assert!(store.is_full());

        let next = store.successor().unwrap().unwrap();

        assert!(!next.is_full());
        assert!(!next.has(commits[0]));
        // A commit, its folder and its file: the last five of these.
        for commit in &commits[7..] {
            let tree = next.commit(*commit).unwrap().unwrap().tree;
            let files = next.files_below(tree, "").unwrap();
            assert!(files.values().all(|file| next.has(file.id)));
        }
    }
}

//! The folder that a check keeps its objects in until the next one.
//!
//! One for each repository and branch, so that a container that serves several never mixes them. It is held by a file
//! lock while in use: that goes away with its process, however that ends.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::ledger::Latest;
use crate::lock::PoolName;
use crate::private;
use git::object::{blob_id, full_id};
use git::{Store, StoreError};

/// More files than this are small packs that have piled up, or what killed processes left: cheaper to begin anew.
const MOST_PACK_FILES: usize = 100;

/// A folder of kept objects, ours as long as the value lives.
pub struct Cache {
    folder: PathBuf,
    /// Holds the file lock.
    _held: File,
}

impl Cache {
    /// Takes the folder for a branch of a repository; `None` when another process has it or it cannot be made.
    pub fn take(temporary: &Path, remote: &str, branch: &str) -> Option<Cache> {
        let key = blob_id(format!("{remote}\0{branch}").as_bytes());
        let home = temporary.join("pool-resource");
        let folder = home.join(key.to_string());
        private::folder(&home).ok()?;
        fs::create_dir_all(&folder).ok()?;
        let held = File::create(home.join(format!("{key}.lock"))).ok()?;
        held.try_lock().ok()?;
        let cache = Cache {
            folder,
            _held: held,
        };
        let packs = fs::read_dir(cache.folder.join("objects/pack")).map_or(0, Iterator::count);
        if packs > MOST_PACK_FILES {
            cache.clear();
        }
        Some(cache)
    }

    /// Opens what is kept.
    ///
    /// # Errors
    /// [`StoreError`] when it is damaged.
    pub fn store(&self) -> Result<Store, StoreError> {
        Store::kept(&self.folder)
    }

    /// What was noted of a pool. It is true whatever became of the objects.
    pub fn latest(&self, pool: &PoolName) -> Option<Latest> {
        let text = fs::read_to_string(self.note(pool)).ok()?;
        let (head, version) = text.strip_suffix('\n')?.split_once(' ')?;
        let (head, version) = (full_id(head)?, full_id(version)?);
        Some(Latest { head, version })
    }

    /// Notes what the latest version of a pool is, for the checks after this one.
    pub fn note_latest(&self, pool: &PoolName, latest: Latest) {
        let Latest { head, version } = latest;
        // Written beside it first, for a part of it would be none. Without it the next check has more to do.
        let new = self.folder.with_extension("latest.new");
        let _ = fs::write(&new, format!("{head} {version}\n"))
            .and_then(|()| fs::rename(&new, self.note(pool)));
    }

    fn note(&self, pool: &PoolName) -> PathBuf {
        let pool = blob_id(pool.as_str().as_bytes());
        self.folder.with_extension(format!("{pool}.latest"))
    }

    /// Throws away what is kept.
    pub fn clear(&self) {
        // The state goes first: what is left without it is not taken for a history.
        let _ = fs::remove_file(self.folder.join("state"));
        // What cannot be removed makes the store fail, and a temporary one is used.
        let _ = fs::remove_dir_all(&self.folder);
        let _ = fs::create_dir_all(&self.folder);
    }
}

//! A temporary folder that goes away with its process, also when that is killed outright: the next one clears it.
//!
//! The folder is held by a file lock for as long as its process lives. Whoever makes one clears those that nobody holds.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

/// A folder is made before it is locked. One that is not held and younger than this may be about to be.
const YOUNG: Duration = Duration::from_secs(60);

/// A folder of our own that nobody else can look into. It goes away with the value.
#[derive(Debug)]
pub struct Scratch {
    folder: TempDir,
    /// Held as long as we are there. Some file systems have no locks; then nobody clears the folder.
    _held: Option<File>,
}

impl Scratch {
    /// Makes a folder in `parent` whose name begins so, and clears those that killed processes have left there.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn new(parent: &Path, prefix: &str) -> io::Result<Scratch> {
        let folder = tempfile::Builder::new()
            .prefix(prefix)
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(parent)?;
        let held = File::open(folder.path())?;
        let held = held.try_lock().is_ok().then_some(held);
        if held.is_some() {
            clear_left(parent, prefix, folder.path());
        }
        Ok(Scratch {
            folder,
            _held: held,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Removes the folders with such names that nobody holds. What cannot be removed now is left to the next one.
fn clear_left(parent: &Path, prefix: &str, ours: &Path) {
    let (Ok(entries), Ok(our)) = (fs::read_dir(parent), fs::symlink_metadata(ours)) else {
        return;
    };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let name = path.file_name().and_then(|name| name.to_str());
        let has_name = name
            .and_then(|name| name.strip_prefix(prefix))
            .is_some_and(|rest| {
                rest.len() == 6 && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
            });
        let Ok(found) = fs::symlink_metadata(&path) else {
            continue;
        };
        let age = found
            .modified()
            .ok()
            .and_then(|at| SystemTime::now().duration_since(at).ok());
        let is_left = has_name
            && found.is_dir()
            && found.uid() == our.uid()
            && age.is_some_and(|age| age > YOUNG);
        if !is_left {
            continue;
        }
        // The folder is opened by its name, which could lead elsewhere by now: it must be the one that was looked at.
        let Ok(folder) = File::open(&path) else {
            continue;
        };
        let is_same = folder
            .metadata()
            .is_ok_and(|now| (now.dev(), now.ino()) == (found.dev(), found.ino()));
        if is_same && folder.try_lock().is_ok() {
            let _ = fs::remove_dir_all(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn age(folder: &Path) {
        let long_ago = SystemTime::now() - 2 * YOUNG;
        File::open(folder).unwrap().set_modified(long_ago).unwrap();
    }

    #[test]
    fn what_a_killed_process_has_left_is_cleared_and_what_is_held_young_or_another_s_is_not() {
        let home = tempfile::tempdir().unwrap();
        let place = |name: &str| home.path().join(name);
        let alive = Scratch::new(home.path(), "x-").unwrap();
        age(alive.path());
        let names = [
            "x-aB3dE6",
            "x-young0",
            "y-aB3dE6",
            "x-something-else",
            "x-aB3d.6",
        ];
        for name in names {
            fs::create_dir_all(place(name).join("a/b")).unwrap();
            fs::write(place(name).join("a/file"), "x").unwrap();
            if name != "x-young0" {
                age(&place(name));
            }
        }
        let target = place("target");
        fs::create_dir_all(target.join("a")).unwrap();
        std::os::unix::fs::symlink(&target, place("x-aLinkX")).unwrap();

        let new = Scratch::new(home.path(), "x-").unwrap();

        let there: Vec<bool> = names.iter().map(|name| place(name).exists()).collect();
        assert_eq!(there, [false, true, true, true, true]);
        assert!(target.join("a").exists());
        assert!(alive.path().exists());
        let mode = fs::metadata(new.path()).unwrap().mode() & 0o777;
        assert_eq!(mode, 0o700);
        let path = new.path().to_owned();
        drop(new);
        assert!(!path.exists());
    }
}

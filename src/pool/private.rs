//! A folder that nobody else can look into or put anything into.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

/// What the owner alone may do.
const MODE: u32 = 0o700;

/// Makes the folder, if it is not there. `$TMPDIR` may be everybody's: what is there must be a folder of our own and no link
/// to one, and is closed to others.
///
/// # Errors
/// Those of the file system; [`ErrorKind::PermissionDenied`] when it is somebody else's.
pub fn folder(path: &Path) -> io::Result<()> {
    if let Some(above) = path.parent() {
        fs::create_dir_all(above)?;
    }
    match DirBuilder::new().mode(MODE).create(path) {
        Err(err) if err.kind() == ErrorKind::AlreadyExists => {}
        made => return made,
    }
    let found = fs::symlink_metadata(path)?;
    if !found.is_dir() || found.uid() != our_id(path)? {
        let why = format!("`{}` is no folder of our own", path.display());
        return Err(io::Error::new(ErrorKind::PermissionDenied, why));
    }
    if found.mode() & 0o077 != 0 {
        fs::set_permissions(path, Permissions::from_mode(MODE))?;
    }
    Ok(())
}

/// Who we are: the owner of what we make.
fn our_id(beside: &Path) -> io::Result<u32> {
    let probe = beside.with_file_name(format!("pool-{}", uuid::Uuid::new_v4()));
    DirBuilder::new().mode(MODE).create(&probe)?;
    let made = fs::symlink_metadata(&probe).map(|made| made.uid());
    let _ = fs::remove_dir(&probe);
    made
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_folder_is_made_or_closed_and_nothing_else_is_taken_for_it() {
        let home = tempfile::tempdir().unwrap();
        let (new, open, link, file) = (
            home.path().join("new"),
            home.path().join("open"),
            home.path().join("link"),
            home.path().join("file"),
        );
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink(&open, &link).unwrap();
        fs::write(&file, "").unwrap();

        for path in [&new, &open] {
            folder(path).unwrap();
            folder(path).unwrap();
            assert_eq!(fs::metadata(path).unwrap().mode() & 0o777, 0o700);
        }
        for path in [&link, &file] {
            let err = folder(path).unwrap_err();
            assert_eq!(err.kind(), ErrorKind::PermissionDenied, "{err}");
        }
    }
}

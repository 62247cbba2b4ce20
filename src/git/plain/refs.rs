//! The refs of a repository, as Git's own format of files has them.
//!
//! A ref is in a file of its own, else in `packed-refs`. Who packs refs writes them there first, and then takes the file away;
//! who deletes one takes it out there first: so files are read first, and what is in neither is not there.
//!
//! Source: `gitrepository-layout(5)`, `refs/files-backend.c` and `refs/packed-backend.c` of Git.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use crate::object::{Oid, full_id, is_ref};

/// How deep folders of refs are looked into.
const MOST_DEEP: usize = 32;

/// The ref `name`, and those whose names start with one of `starts`; `None` where one is no plain one.
pub(super) fn read(folder: &Path, name: &str, starts: &[&str]) -> Option<BTreeMap<String, Oid>> {
    let mut refs = BTreeMap::new();
    read_one(folder, name, &mut refs)?;
    for start in starts {
        let above = start.rsplit_once('/')?.0;
        read_below(folder, above, start, MOST_DEEP, &mut refs)?;
    }
    let packed = match fs::read_to_string(folder.join("packed-refs")) {
        Ok(packed) => packed,
        Err(err) if err.kind() == ErrorKind::NotFound => String::new(),
        Err(_) => return None,
    };
    for line in packed.lines().filter(|line| !line.starts_with(['#', '^'])) {
        let (id, found) = line.split_once(' ')?;
        let is_wanted = found == name || starts.iter().any(|start| found.starts_with(start));
        if is_wanted && !refs.contains_key(found) {
            refs.insert(found.to_owned(), full_id(id)?);
        }
    }
    Some(refs)
}

fn read_one(folder: &Path, name: &str, refs: &mut BTreeMap<String, Oid>) -> Option<()> {
    let path = folder.join(name);
    // The old way to point to another ref.
    if fs::symlink_metadata(&path).is_ok_and(|found| found.is_symlink()) {
        return None;
    }
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(err) if err.kind() == ErrorKind::NotFound => return Some(()),
        // A folder without refs in it may be left where a packed one is.
        Err(_) if path.is_dir() => return Some(()),
        Err(_) => return None,
    };
    // One that points to another ref is none.
    refs.insert(name.to_owned(), full_id(text.trim_end())?);
    Some(())
}

fn read_below(
    folder: &Path,
    above: &str,
    start: &str,
    deep: usize,
    refs: &mut BTreeMap<String, Oid>,
) -> Option<()> {
    let entries = match fs::read_dir(folder.join(above)) {
        Ok(entries) => entries,
        Err(err) if matches!(err.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Some(());
        }
        Err(_) => return None,
    };
    for entry in entries {
        let entry = entry.ok()?;
        let kind = entry.file_type().ok()?;
        // Nobody asks for a name that is not UTF-8.
        let Ok(last) = entry.file_name().into_string() else {
            continue;
        };
        let name = format!("{above}/{last}");
        if kind.is_dir() {
            let leads_there = name.starts_with(start) || start.starts_with(&format!("{name}/"));
            if leads_there {
                read_below(folder, &name, start, deep.checked_sub(1)?, refs)?;
            }
        } else if !kind.is_file() {
            return None;
        } else if name.starts_with(start) && !last.ends_with(".lock") && is_ref(&name) {
            read_one(folder, &name, refs)?;
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn id(n: u8) -> Oid {
        crate::object::blob_id(&[n])
    }

    fn put(folder: &Path, name: &str, text: &str) {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn a_file_counts_more_than_what_is_packed_and_a_lock_file_is_no_ref() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let packed = format!(
            "# pack-refs with: peeled fully-peeled sorted \n{0} refs/heads/main\n{1} refs/line/b/1\n^{0}\n{1} refs/tags/x\n",
            id(1),
            id(2)
        );
        put(folder, "packed-refs", &packed);
        put(folder, "refs/heads/main", &format!("{}\n", id(3)));
        put(folder, "refs/line/a/2", &format!("{}\n", id(4)));
        put(folder, "refs/line/a/2.lock", "");
        put(folder, "refs/line/other", "ref: refs/heads/main\n");

        let refs = read(folder, "refs/heads/main", &["refs/line/a/", "refs/line/b/"]).unwrap();

        let found: Vec<(&str, Oid)> = refs.iter().map(|(name, id)| (&**name, *id)).collect();
        let expected = [
            ("refs/heads/main", id(3)),
            ("refs/line/a/2", id(4)),
            ("refs/line/b/1", id(2)),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_no_plain_ref_is_left_to_git() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        put(folder, "refs/heads/main", "ref: refs/heads/other\n");
        assert_eq!(read(folder, "refs/heads/main", &[]), None);

        put(folder, "refs/heads/main", "");
        assert_eq!(read(folder, "refs/heads/main", &[]), None);

        fs::remove_file(folder.join("refs/heads/main")).unwrap();
        std::os::unix::fs::symlink("refs/heads/other", folder.join("refs/heads/main")).unwrap();
        assert_eq!(read(folder, "refs/heads/main", &[]), None);
        fs::remove_file(folder.join("refs/heads/main")).unwrap();

        assert_eq!(read(folder, "refs/heads/none", &[]), Some(BTreeMap::new()));
    }
}

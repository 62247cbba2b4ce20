//! What a run was about to push, on disk, for a run after it in case it vanishes.
//!
//! A process that is killed outright can give nothing back. Concourse may run the same step again in the same container;
//! the new run then finds the marker of the old one, and takes over its claim instead of making another. A marker is
//! written before its push is sent, held by a file lock for as long as its process lives, and removed once the answer
//! has been written.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::lock::LockName;
use crate::message::Verb;
use crate::object::{Oid, full_id};

/// How a marker says that its claim is to stand.
const STANDING: &str = "standing";
/// How a marker says that its claim is being given back.
const ENDING: &str = "ending";

/// The marker of a run that is alive: ours.
pub struct Marker {
    file: PathBuf,
    held_file: PathBuf,
    _held: File,
}

/// A claim that was about to be pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marked {
    /// The locks that are claimed.
    pub locks: Vec<LockName>,
    /// By a move, or by being added as claimed.
    pub verb: Verb,
    /// The commit that the branch was at.
    pub base: Oid,
    /// Our commit.
    pub commit: Oid,
    /// Whether its run was giving it back: then a push that ends it may be on its way, and it is nobody's to take over.
    pub ending: bool,
    /// What a server needs to have it.
    pub pack: Vec<u8>,
}

impl Marker {
    /// Takes a place for a marker in `folder`; `None` when there can be none. `request` says which step it is: runs of
    /// the same step have the same.
    pub fn take(folder: &Path, request: &str) -> Option<Marker> {
        let file = folder.join(format!("{}-{}", key(request)?, uuid::Uuid::new_v4()));
        // A run that ends just now may take the empty folder away in between.
        (0..3).find_map(|_| {
            fs::create_dir_all(folder).ok()?;
            Marker::hold(file.clone())
        })
    }

    /// Takes over what earlier runs of the same step have left that have vanished. Those of runs that are alive are left
    /// to them.
    pub fn left_in(folder: &Path, request: &str) -> Vec<(Marker, Marked)> {
        let (Some(key), Ok(files)) = (key(request), fs::read_dir(folder)) else {
            return Vec::new();
        };
        let mut left = Vec::new();
        for file in files.filter_map(|file| Some(file.ok()?.path())) {
            let name = file
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            if !name.starts_with(&key) || name.contains('.') {
                continue;
            }
            let Some(marker) = Marker::hold(file.clone()) else {
                continue;
            };
            // Read once it is ours: until then its run may have ended as it should.
            match fs::read(&file).ok().and_then(|bytes| Marked::parse(&bytes)) {
                Some(marked) => left.push((marker, marked)),
                None => marker.clear(),
            }
        }
        left
    }

    fn hold(file: PathBuf) -> Option<Marker> {
        let held_file = file.with_extension("held");
        let held = File::create(&held_file).ok()?;
        held.try_lock().ok()?;
        Some(Marker {
            file,
            held_file,
            _held: held,
        })
    }

    /// Writes what is about to be pushed, in place of what was.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn write(&self, marked: &Marked) -> std::io::Result<()> {
        let new = self.file.with_extension("new");
        let mut file = File::create(&new)?;
        file.write_all(&marked.to_bytes())?;
        fs::rename(new, &self.file)
    }

    /// Notes that the claim is being given back. Before the first push that ends it, and for a run after this one to know
    /// that the claim may end at any moment.
    pub fn note_end(&self) {
        let marked = fs::read(&self.file)
            .ok()
            .and_then(|bytes| Marked::parse(&bytes));
        let noted = marked.is_some_and(|marked| {
            let ending = Marked {
                ending: true,
                ..marked
            };
            self.write(&ending).is_ok()
        });
        if !noted {
            // Better that nobody knows of it than that somebody takes it over.
            let _ = fs::remove_file(&self.file);
        }
    }

    /// Removes the marker: what it speaks of has been told, given back, or never came to be.
    pub fn clear(self) {
        let _ = fs::remove_file(&self.file);
        let _ = fs::remove_file(&self.held_file);
        // The folders go with the last of them; as long as there is anything in them they stay.
        for folder in self.file.ancestors().skip(1).take(2) {
            let _ = fs::remove_dir(folder);
        }
    }
}

impl Marked {
    fn to_bytes(&self) -> Vec<u8> {
        let Marked {
            locks,
            verb,
            base,
            commit,
            ending,
            pack,
        } = self;
        // Names have no control characters.
        let names: Vec<&str> = locks.iter().map(LockName::as_str).collect();
        let (names, verb) = (names.join("\t"), verb.as_str());
        let state = if *ending { ENDING } else { STANDING };
        let mut bytes = format!("{base} {commit} {state} {verb}\n{names}\n").into_bytes();
        bytes.extend_from_slice(pack);
        bytes
    }

    fn parse(bytes: &[u8]) -> Option<Marked> {
        let mut parts = bytes.splitn(3, |byte| *byte == b'\n');
        let first = std::str::from_utf8(parts.next()?).ok()?;
        let names = std::str::from_utf8(parts.next()?).ok()?.split('\t');
        let locks: Result<Vec<LockName>, _> = names.map(LockName::new).collect();
        let locks = locks.ok()?;
        let mut words = first.splitn(4, ' ');
        let mut id = || full_id(words.next()?);
        let (base, commit) = (id()?, id()?);
        let ending = match words.next()? {
            STANDING => false,
            ENDING => true,
            _ => return None,
        };
        let verb = words.next()?;
        let verb = Verb::ALL.into_iter().find(|known| known.as_str() == verb)?;
        Some(Marked {
            locks,
            verb,
            base,
            commit,
            ending,
            pack: parts.next()?.to_owned(),
        })
    }
}

/// The same for the same request, and fit for a file's name.
fn key(request: &str) -> Option<String> {
    let id = Oid::hash_object(git2::ObjectType::Blob, request.as_bytes()).ok()?;
    Some(id.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn marked() -> Marked {
        Marked {
            locks: vec![
                LockName::new("a \"b\" ü").unwrap(),
                LockName::new("c").unwrap(),
            ],
            verb: Verb::AddingClaimed,
            base: Oid::from_bytes(&[1; 20]).unwrap(),
            commit: Oid::from_bytes(&[2; 20]).unwrap(),
            ending: false,
            pack: b"PACK\n\0\n\xff".to_vec(),
        }
    }

    #[test]
    fn what_a_vanished_run_has_written_is_found_by_the_same_request_only() {
        let folder = tempfile::tempdir().unwrap();
        let marker = Marker::take(folder.path(), "build 1").unwrap();
        marker.write(&marked()).unwrap();

        assert!(
            Marker::left_in(folder.path(), "build 1").is_empty(),
            "its run is alive"
        );
        drop(marker);

        assert!(Marker::left_in(folder.path(), "build 2").is_empty());
        let left = Marker::left_in(folder.path(), "build 1");
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].1, marked());
        assert!(
            Marker::left_in(folder.path(), "build 1").is_empty(),
            "it has been taken over"
        );
    }

    #[test]
    fn an_end_that_was_noted_is_found_and_one_that_cannot_be_noted_leaves_no_marker() {
        let folder = tempfile::tempdir().unwrap();
        let marker = Marker::take(folder.path(), "x").unwrap();
        marker.write(&marked()).unwrap();
        marker.note_end();
        drop(marker);
        let left = Marker::left_in(folder.path(), "x");
        assert!(left[0].1.ending);
        assert_eq!(left[0].1.pack, marked().pack);

        // Something is in the way of the new content.
        let marker = &left[0].0;
        fs::create_dir(marker.file.with_extension("new")).unwrap();
        marker.note_end();
        assert!(!marker.file.exists());
    }

    #[test]
    fn a_marker_that_is_cleared_or_damaged_is_nothing() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("a/b");
        let marker = Marker::take(&folder, "x").unwrap();
        marker.write(&marked()).unwrap();
        marker.clear();
        assert!(Marker::left_in(&folder, "x").is_empty());
        assert!(!home.path().join("a").exists());

        for bytes in [
            &b""[..],
            b"x",
            b"\n\n\n",
            &marked().to_bytes()[..50],
            b"0 1 standing claiming\na\n",
        ] {
            let marker = Marker::take(&folder, "x").unwrap();
            fs::write(&marker.file, bytes).unwrap();
            drop(marker);
            assert!(
                Marker::left_in(&folder, "x").is_empty(),
                "{}",
                bytes.escape_ascii()
            );
        }
    }

    #[test]
    fn without_a_folder_to_write_to_there_is_no_marker() {
        let file = tempfile::NamedTempFile::new().unwrap();

        assert!(Marker::take(&file.path().join("x"), "x").is_none());
        assert!(Marker::left_in(&file.path().join("x"), "x").is_empty());
    }
}

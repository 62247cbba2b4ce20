//! What a run is about to push, on disk, for a run after it in case it vanishes.
//!
//! A process that is killed outright can give nothing back. Concourse may run the same step again in the same container;
//! the new run then finds the marker of the old one, and takes over its claim instead of making another. A marker is
//! written before its push is sent, held by a file lock for as long as its process lives, and removed once the answer
//! has been written. Where a step is known to have a container of its own, its marker stays there instead: an answer is lost
//! if nobody listens any more, and the step is run again.
//!
//! A marker is one file and nothing beside it, so that a process that is killed over it leaves nothing that nobody ever
//! removes: cut short, it is a marker that says nothing.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::lock::LockName;
use crate::message::Verb;
use crate::private;
use git::object::{Oid, blob_id, full_id};

/// How a marker begins whose claim is to stand.
const STANDS: &str = "stands";
/// How a marker begins whose claim is being given back; as long as [`STANDS`], for it is written over it.
const ENDING: &str = "ending";

/// How often a place for a marker is looked for: a run that ends may take the folder away, and one that begins may take
/// a file that nobody holds yet for one that is left.
const TRIES: usize = 5;

/// The marker of a run that is alive: ours.
#[derive(Debug)]
pub struct Marker {
    path: PathBuf,
    /// Locked.
    file: File,
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
    /// The objects of the commit.
    pub objects: Vec<Oid>,
    /// Whether its run was giving it back: then a push that ends it may be on its way, and it is nobody's to take over.
    pub ending: bool,
    /// What a server needs to have it.
    pub pack: Vec<u8>,
}

impl Marker {
    /// Leaves a marker in `folder`, which is made for that, as is the one above it: both are nobody else's. `request` says
    /// which step it is: runs of the same step have the same.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn leave(folder: &Path, request: &str, marked: &Marked) -> io::Result<Marker> {
        let key = key(request);
        let take = || {
            if let Some(home) = folder.parent() {
                private::folder(home)?;
            }
            private::folder(folder)?;
            let path = folder.join(format!("{key}-{}", uuid::Uuid::new_v4()));
            let file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .open(&path)?;
            Marker::hold(path, file)
        };
        let mut taken = take();
        for _ in 1..TRIES {
            taken = taken.or_else(|_| take());
        }
        let marker = taken?;
        match (&marker.file).write_all(&marked.to_bytes()) {
            Ok(()) => Ok(marker),
            Err(err) => {
                marker.clear();
                Err(err)
            }
        }
    }

    /// Takes over what earlier runs of the same step have left that have vanished. Those of runs that are alive are left
    /// to them.
    pub fn left_in(folder: &Path, request: &str) -> Vec<(Marker, Marked)> {
        let (key, Ok(files)) = (key(request), fs::read_dir(folder)) else {
            return Vec::new();
        };
        let mut left = Vec::new();
        for path in files.filter_map(|file| Some(file.ok()?.path())) {
            let name = path.file_name().and_then(|name| name.to_str());
            if !name.is_some_and(|name| name.starts_with(&key)) {
                continue;
            }
            let Ok(file) = OpenOptions::new().read(true).write(true).open(&path) else {
                continue;
            };
            let Ok(mut marker) = Marker::hold(path, file) else {
                continue;
            };
            match marker.read() {
                Some(marked) => left.push((marker, marked)),
                None => marker.clear(),
            }
        }
        left
    }

    /// Takes a file for ours, if it is nobody's and has not been removed by whoever had it last.
    fn hold(path: PathBuf, file: File) -> io::Result<Marker> {
        file.try_lock()?;
        fs::symlink_metadata(&path)?;
        Ok(Marker { path, file })
    }

    fn read(&mut self) -> Option<Marked> {
        let mut bytes = Vec::new();
        self.file.read_to_end(&mut bytes).ok()?;
        Marked::parse(&bytes)
    }

    /// Notes that the claim is being given back. Before the first push that ends it, and for a run after this one to know
    /// that the claim may end at any moment.
    pub fn note_end(&self) {
        if self.file.write_all_at(ENDING.as_bytes(), 0).is_err() {
            // Better that nobody knows of it than that somebody takes it over.
            let _ = fs::remove_file(&self.path);
        }
    }

    /// Keeps the marker as one of another request: for a run of that after this one.
    pub fn keep_as(self, request: &str) {
        let name = format!("{}-{}", key(request), uuid::Uuid::new_v4());
        let renamed = fs::rename(&self.path, self.path.with_file_name(name));
        if renamed.is_err() {
            self.clear();
        }
    }

    /// Removes the marker: what it speaks of has been told, given back, or never came to be.
    pub fn clear(self) {
        let _ = fs::remove_file(&self.path);
        // The folders go with the last of them; as long as there is anything in them they stay.
        for folder in self.path.ancestors().skip(1).take(2) {
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
            objects,
            ending,
            pack,
        } = self;
        // Names have no control characters.
        let names: Vec<&str> = locks.iter().map(LockName::as_str).collect();
        let (names, verb) = (names.join("\t"), verb.as_str());
        let objects: Vec<String> = objects.iter().map(Oid::to_string).collect();
        let objects = objects.join(" ");
        let state = if *ending { ENDING } else { STANDS };
        let length = pack.len();
        let mut bytes =
            format!("{state} {length} {base} {commit} {verb}\n{names}\n{objects}\n").into_bytes();
        bytes.extend_from_slice(pack);
        bytes
    }

    /// `None` for what is damaged or was not written to its end.
    fn parse(bytes: &[u8]) -> Option<Marked> {
        let mut parts = bytes.splitn(4, |byte| *byte == b'\n');
        let mut line = || std::str::from_utf8(parts.next()?).ok();
        let (first, names, objects) = (line()?, line()?, line()?);
        let pack = parts.next()?;
        let locks: Result<Vec<LockName>, _> = names.split('\t').map(LockName::read).collect();
        let objects: Option<Vec<Oid>> = objects.split(' ').map(full_id).collect();
        let mut words = first.splitn(5, ' ');
        let ending = match words.next()? {
            STANDS => false,
            ENDING => true,
            _ => return None,
        };
        let length: usize = words.next()?.parse().ok()?;
        let (base, commit) = (full_id(words.next()?)?, full_id(words.next()?)?);
        let verb = words.next()?;
        let verb = Verb::ALL.into_iter().find(|known| known.as_str() == verb)?;
        (pack.len() == length).then_some(Marked {
            locks: locks.ok()?,
            verb,
            base,
            commit,
            objects: objects?,
            ending,
            pack: pack.to_owned(),
        })
    }
}

/// The same for the same request, and fit for a file's name.
fn key(request: &str) -> String {
    blob_id(request.as_bytes()).to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn marked() -> Marked {
        Marked {
            locks: vec![
                LockName::new("a \"b\" ü").unwrap(),
                LockName::read("team/db/c").unwrap(),
            ],
            verb: Verb::AddingClaimed,
            base: Oid::from_bytes(&[1; 20]).unwrap(),
            commit: Oid::from_bytes(&[2; 20]).unwrap(),
            objects: vec![
                Oid::from_bytes(&[2; 20]).unwrap(),
                Oid::from_bytes(&[3; 20]).unwrap(),
            ],
            ending: false,
            pack: b"PACK\n\0\n\xff".to_vec(),
        }
    }

    #[test]
    fn what_a_vanished_run_has_written_is_found_by_the_same_request_only() {
        let home = tempfile::tempdir().unwrap();
        let folder = &home.path().join("a/b");
        let marker = Marker::leave(folder, "build 1", &marked()).unwrap();

        assert!(
            Marker::left_in(folder, "build 1").is_empty(),
            "its run is alive"
        );
        drop(marker);

        assert!(Marker::left_in(folder, "build 2").is_empty());
        let left = Marker::left_in(folder, "build 1");
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].1, marked());
        assert!(
            Marker::left_in(folder, "build 1").is_empty(),
            "it has been taken over"
        );
    }

    #[test]
    fn an_end_that_was_noted_is_found_and_one_that_cannot_be_noted_leaves_no_marker() {
        let home = tempfile::tempdir().unwrap();
        let folder = &home.path().join("a/b");
        let marker = Marker::leave(folder, "x", &marked()).unwrap();
        marker.note_end();
        drop(marker);
        let (marker, left) = Marker::left_in(folder, "x").remove(0);
        let ending = Marked {
            ending: true,
            ..marked()
        };
        assert_eq!(left, ending);

        let path = marker.path.clone();
        let read_only = File::open(&path).unwrap();
        Marker {
            file: read_only,
            ..marker
        }
        .note_end();
        assert!(!path.exists());
    }

    #[test]
    fn a_marker_that_is_cleared_is_gone_with_its_folders() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("a/b");
        let marker = Marker::leave(&folder, "x", &marked()).unwrap();
        let other = Marker::leave(&folder, "x", &marked()).unwrap();

        marker.clear();
        assert!(folder.exists(), "another one is there");
        other.clear();

        assert!(!home.path().join("a").exists());
    }

    #[test]
    fn whenever_a_run_is_killed_over_its_marker_the_next_one_leaves_nothing_behind() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("a/b");
        let whole = marked().to_bytes();
        for n in 0..=whole.len() {
            drop(Marker::leave(&folder, "x", &marked()).unwrap());
            let [file] = &fs::read_dir(&folder).unwrap().collect::<Vec<_>>()[..] else {
                panic!("a marker is one file");
            };
            fs::write(file.as_ref().unwrap().path(), &whole[..n]).unwrap();

            let left = Marker::left_in(&folder, "x");

            assert_eq!(left.len(), usize::from(n == whole.len()), "{n} bytes");
            left.into_iter().for_each(|(marker, _)| marker.clear());
            assert!(!home.path().join("a").exists(), "{n} bytes");
        }
    }

    #[test]
    fn a_marker_that_is_damaged_is_nothing() {
        for bytes in [&b"x"[..], b"\n\n\n", b"stands 0 0 1 claiming\na\n"] {
            assert_eq!(Marked::parse(bytes), None, "{}", bytes.escape_ascii());
        }
        let longer = [&marked().to_bytes()[..], b"x"].concat();
        assert_eq!(Marked::parse(&longer), None);
    }

    #[test]
    fn without_a_folder_to_write_to_there_is_no_marker() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let folder = file.path().join("x");

        assert!(Marker::leave(&folder, "x", &marked()).is_err());
        assert!(Marker::left_in(&folder, "x").is_empty());
    }
}

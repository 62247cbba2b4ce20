//! A file of records, to which each change is added before anybody hears of it.
//!
//! - [`Journal`]: the file, and the sole right to add to it. [`Journal::open`] reads what is in it.
//!
//! A line is a checksum and a record in JSON. A line that was cut off by a crash can only be the last, and is dropped; any
//! other that cannot be read is a damaged disk, and refused. The file is written anew when the program starts, and when it
//! has grown to several times what is left of it.
//!
//! # Invariants
//!
//! - One process has a journal: it holds a lock on a file beside it, which names the process.
//! - What [`Journal::add`] has accepted with `sync` is on the disk itself.
//! - Nobody but the owner can read the files.
//! - It knows nothing of what its records mean.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::marker::PhantomData;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Below this size the file is not written anew while the program runs.
const SMALL: u64 = 64 << 20;

/// Why a journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The system says no.
    #[error("{what} `{path}`")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: String,
        /// What the system says.
        source: io::Error,
    },
    /// Somebody else uses it.
    #[error("`{path}` is in use by the process with the id {pid}")]
    InUse {
        /// The file that is locked.
        path: String,
        /// The other one.
        pid: String,
    },
    /// A line is damaged.
    #[error(
        "line {line} of `{path}` is damaged ({fault}), and lines after it are not: restore the file, or move it away"
    )]
    Damaged {
        /// The file.
        path: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        fault: String,
    },
}

fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> JournalError {
    let path = path.display().to_string();
    move |source| JournalError::Io { what, path, source }
}

/// A file of records, and the sole right to add some.
#[derive(Debug)]
pub struct Journal<R> {
    path: PathBuf,
    file: File,
    /// Where the last whole line ends.
    end: u64,
    /// How long the file was when it was written anew.
    compact: u64,
    /// Held as long as this is.
    _lock: File,
    _records: PhantomData<fn(R) -> R>,
}

impl<R: Serialize + DeserializeOwned> Journal<R> {
    /// Takes the journal at `path`, which is made if there is none, and gives each record in it to `apply`; `lock` is the
    /// file that is locked. Gives with it how many bytes of a line were dropped that was never finished.
    ///
    /// # Errors
    /// [`JournalError`]; also where `apply` says of a record that it cannot be.
    pub fn open(
        path: &Path,
        lock: &Path,
        apply: &mut dyn FnMut(R) -> Result<(), String>,
    ) -> Result<(Journal<R>, usize), JournalError> {
        let lock = locked(lock)?;
        let mut file = private(path, false).map_err(io_error("cannot open", path))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)
            .map_err(io_error("cannot read", path))?;
        let end = replay(&bytes, apply).map_err(|(line, fault)| JournalError::Damaged {
            path: path.display().to_string(),
            line,
            fault,
        })?;
        let mut journal = Journal {
            path: path.to_owned(),
            file,
            end: end as u64,
            compact: 0,
            _lock: lock,
            _records: PhantomData,
        };
        journal.cut().map_err(io_error("cannot shorten", path))?;
        Ok((journal, bytes.len() - end))
    }

    /// Adds records, and has them on the disk itself if `sync` says so. None of them is added if that fails.
    ///
    /// # Errors
    /// Those of the system, such as a disk that is full.
    pub fn add(&mut self, records: &[R], sync: bool) -> io::Result<()> {
        let mut lines = Vec::new();
        for record in records {
            line(record, &mut lines);
        }
        let written = self.file.write_all(&lines).and_then(|()| match sync {
            true => self.file.sync_data(),
            false => Ok(()),
        });
        match written {
            Ok(()) => {
                self.end += lines.len() as u64;
                Ok(())
            }
            Err(err) => {
                // Else a half line would be in the midst of others.
                let _ = self.cut();
                Err(err)
            }
        }
    }

    /// Whether so much has been added that it is to be written anew.
    pub fn is_long(&self) -> bool {
        self.end > SMALL && self.end > 4 * self.compact
    }

    /// Writes the file anew, with these records.
    ///
    /// # Errors
    /// Those of the system; the old file goes on then, and is not tried to be written anew before it has grown much more.
    pub fn rewrite(&mut self, records: impl Iterator<Item = R>) -> io::Result<()> {
        let mut name = self.path.clone().into_os_string();
        name.push(".new");
        let new = PathBuf::from(name);
        let written = self.write_new(&new, records);
        if written.is_err() {
            self.compact = self.end;
            let _ = fs::remove_file(&new);
        }
        written
    }

    fn write_new(&mut self, new: &Path, records: impl Iterator<Item = R>) -> io::Result<()> {
        let mut file = private(new, true)?;
        let mut end = 0;
        let mut lines = Vec::new();
        for record in records {
            line(&record, &mut lines);
            if lines.len() > 1 << 20 {
                end += lines.len() as u64;
                file.write_all(&lines)?;
                lines.clear();
            }
        }
        end += lines.len() as u64;
        file.write_all(&lines)?;
        file.sync_all()?;
        fs::rename(new, &self.path)?;
        sync_folder_of(&self.path)?;
        (self.file, self.end, self.compact) = (file, end, end);
        Ok(())
    }

    /// Cuts off what is no whole line.
    fn cut(&mut self) -> io::Result<()> {
        self.file.set_len(self.end)?;
        self.file.seek(SeekFrom::Start(self.end)).map(drop)
    }
}

/// Has the names in a file's folder on the disk itself.
///
/// # Errors
/// Those of the system.
pub fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// Opens a file that nobody else may read.
///
/// # Errors
/// Those of the system.
pub fn private(path: &Path, is_new: bool) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(is_new)
        .mode(0o600)
        .open(path)
}

/// Puts a file that nobody else may read in the place of what is there, in one step and on the disk itself.
///
/// # Errors
/// Those of the system; what was there is there still.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut name = path.to_owned().into_os_string();
    name.push(format!(".{}.new", std::process::id()));
    let new = PathBuf::from(name);
    let write = || {
        let _ = fs::remove_file(&new);
        let mut file = private(&new, true)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        sync_folder_of(path)
    };
    let written = write();
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written
}

fn locked(path: &Path) -> Result<File, JournalError> {
    let mut file = private(path, false).map_err(io_error("cannot open", path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let _ = file.read_to_string(&mut pid);
            let pid = match pid.trim() {
                "" => "?".to_owned(),
                pid => pid.to_owned(),
            };
            let path = path.display().to_string();
            return Err(JournalError::InUse { path, pid });
        }
        Err(TryLockError::Error(err)) => return Err(io_error("cannot lock", path)(err)),
    }
    let named = file
        .set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()));
    match named {
        // A full disk keeps nobody from holding a lock.
        Err(err) if err.kind() != io::ErrorKind::StorageFull => {
            Err(io_error("cannot write", path)(err))
        }
        _ => Ok(file),
    }
}

/// Adds a line with a record.
fn line<R: Serialize>(record: &R, to: &mut Vec<u8>) {
    let json = serde_json::to_vec(record).expect("a record has only texts for keys");
    to.extend(format!("{:08x} ", crc32fast::hash(&json)).bytes());
    to.extend(json);
    to.push(b'\n');
}

/// Reads lines, and says where the last whole one ends.
///
/// # Errors
/// The first line that is damaged, if there is a good one after it.
fn replay<R: DeserializeOwned>(
    bytes: &[u8],
    apply: &mut dyn FnMut(R) -> Result<(), String>,
) -> Result<usize, (usize, String)> {
    let mut end = 0;
    let mut bad: Option<(usize, String)> = None;
    for (at, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        // After a bad one it is only looked whether this one is good.
        let read = match bad {
            None => parse(line).and_then(&mut *apply),
            Some(_) => parse::<R>(line).map(drop),
        };
        match (read, &bad) {
            (Ok(()), None) => end += line.len(),
            (Ok(()), Some(bad)) => return Err(bad.clone()),
            (Err(fault), None) => bad = Some((at + 1, fault)),
            (Err(_), Some(_)) => {}
        }
    }
    Ok(end)
}

fn parse<R: DeserializeOwned>(line: &[u8]) -> Result<R, String> {
    let line = line.strip_suffix(b"\n").ok_or("it has no end")?;
    let (sum, json) = line.split_at_checked(9).ok_or("it is too short")?;
    let sum = std::str::from_utf8(&sum[..8])
        .ok()
        .and_then(|sum| u32::from_str_radix(sum, 16).ok());
    if sum != Some(crc32fast::hash(json)) {
        return Err("its checksum is wrong".to_owned());
    }
    // What the reader says of a value would show it.
    serde_json::from_slice(json).map_err(|err| format!("it is not a record: {:?}", err.classify()))
}

#[cfg(test)]
mod tests;

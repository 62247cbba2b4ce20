//! What has happened to jobs, on disk: a file of lines to which each change is added before anybody hears of it.
//!
//! A line is a checksum and a record in JSON (`record`). A line that was cut off by a crash can only be the last, and is
//! dropped; any other that cannot be read is a damaged disk, and refused. When the server starts, the file is written anew
//! with what is left of it; also when it has grown to several times that.
//!
//! One server uses a folder: it holds a lock on a file that names it.

mod import;
mod record;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::job::{Job, JobId};
use crate::rules::Change;
use record::Record;

/// The file with the lines.
const FILE: &str = "journal";
/// The file while it is written anew.
const NEW: &str = "journal.new";
/// The file that is locked.
const LOCK: &str = "prunner.lock";
/// Below this size the file is not written anew while the server runs.
const SMALL: u64 = 64 << 20;

/// Why a data folder cannot be used.
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
    #[error(
        "the data folder `{folder}` is in use by the server with process id {pid}: give this one another folder, or stop that one"
    )]
    InUse {
        /// The folder.
        folder: String,
        /// The other one.
        pid: String,
    },
    /// A line is damaged.
    #[error(
        "line {line} of `{path}` is damaged ({fault}), and lines after it are not: restore the file, or move it away to begin without history"
    )]
    Damaged {
        /// The file.
        path: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        fault: String,
    },
    /// The file of the original cannot be read.
    #[error(
        "loading from store: loading data: decoding JSON: {0}; `data.json` is left as it is: repair it, or move it away"
    )]
    Import(String),
}

fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> JournalError {
    let path = path.display().to_string();
    move |source| JournalError::Io { what, path, source }
}

/// The lines of a folder, and the sole right to add some.
#[derive(Debug)]
pub struct Journal {
    folder: PathBuf,
    file: File,
    /// Where the last whole line ends.
    end: u64,
    /// How long the file was when it was written anew.
    compact: u64,
    /// Held as long as this is.
    _lock: File,
}

/// What was on disk.
#[derive(Debug)]
pub struct Opened {
    /// The lines.
    pub journal: Journal,
    /// The jobs, in no order.
    pub jobs: Vec<Arc<Job>>,
    /// What people should know.
    pub notes: Vec<String>,
}

impl Journal {
    /// Takes a folder, which is made if there is none, and reads what is in it.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn open(folder: &Path) -> Result<Opened, JournalError> {
        fs::create_dir_all(folder).map_err(io_error("cannot make the data folder", folder))?;
        let lock = lock(folder)?;
        let path = folder.join(FILE);
        let mut notes = Vec::new();
        let mut file = private(&path, false).map_err(io_error("cannot open", &path))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)
            .map_err(io_error("cannot read", &path))?;
        let mut jobs = BTreeMap::new();
        let end = replay(&bytes, &mut jobs).map_err(|(line, fault)| JournalError::Damaged {
            path: path.display().to_string(),
            line,
            fault,
        })?;
        if end < bytes.len() {
            notes.push(format!(
                "{} bytes of a line that was never finished are dropped",
                bytes.len() - end
            ));
        }
        drop(bytes);
        let imported = import::read(folder)?;
        let n_imported = import::add(imported.unwrap_or_default(), &mut jobs);
        let mut journal = Journal {
            folder: folder.to_owned(),
            file,
            end: end as u64,
            compact: 0,
            _lock: lock,
        };
        // On a full disk the old file is still good.
        if let Err(err) = journal.rewrite(jobs.values()) {
            notes.push(format!(
                "the journal could not be written anew, and goes on as it is: {err}"
            ));
            journal.put_off();
            journal.cut()?;
            if n_imported > 0 {
                return Err(io_error("cannot write the jobs of data.json to", &path)(
                    err,
                ));
            }
        }
        if import::done(folder)? {
            notes.push(format!(
                "{n_imported} jobs were taken over from data.json, which is data.json.imported now"
            ));
        }
        Ok(Opened {
            journal,
            jobs: jobs.into_values().collect(),
            notes,
        })
    }

    /// Adds lines, and has them on the disk itself if `sync` says so. None of them is added if that fails.
    ///
    /// # Errors
    /// Those of the system, such as a disk that is full.
    pub fn add(&mut self, changes: &[Change], sync: bool) -> io::Result<()> {
        let mut lines = Vec::new();
        for change in changes {
            line(&Record::of(change), &mut lines);
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

    /// Writes the file anew, with these jobs.
    ///
    /// # Errors
    /// Those of the system; the old file goes on then.
    pub fn rewrite<'a>(&mut self, jobs: impl Iterator<Item = &'a Arc<Job>>) -> io::Result<()> {
        let (path, new) = (self.folder.join(FILE), self.folder.join(NEW));
        let mut file = private(&new, true)?;
        let mut jobs: Vec<&Arc<Job>> = jobs.collect();
        jobs.sort_by_key(|job| job.number);
        let mut end = 0;
        let mut lines = Vec::new();
        let mut flush = |lines: &mut Vec<u8>| {
            end += lines.len() as u64;
            file.write_all(lines)?;
            lines.clear();
            io::Result::Ok(())
        };
        line(&Record::Begin, &mut lines);
        for job in jobs {
            line(&Record::of(&Change::New(job.clone())), &mut lines);
            if lines.len() > 1 << 20 {
                flush(&mut lines)?;
            }
        }
        flush(&mut lines)?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        File::open(&self.folder)?.sync_all()?;
        (self.file, self.end, self.compact) = (file, end, end);
        Ok(())
    }

    /// After the file could not be written anew: it is tried again when the file has grown much more.
    pub fn put_off(&mut self) {
        self.compact = self.end;
        let _ = fs::remove_file(self.folder.join(NEW));
    }

    /// Cuts off what is no whole line.
    fn cut(&mut self) -> Result<(), JournalError> {
        let path = self.folder.join(FILE);
        let cut = self
            .file
            .set_len(self.end)
            .and_then(|()| self.file.seek(SeekFrom::Start(self.end)));
        cut.map(drop).map_err(io_error("cannot shorten", &path))
    }
}

/// Opens a file that nobody else may read.
fn private(path: &Path, is_new: bool) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(is_new)
        .mode(0o600)
        .open(path)
}

fn lock(folder: &Path) -> Result<File, JournalError> {
    let path = folder.join(LOCK);
    let mut file = private(&path, false).map_err(io_error("cannot open", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let _ = file.read_to_string(&mut pid);
            let pid = if pid.trim().is_empty() {
                "?".to_owned()
            } else {
                pid.trim().to_owned()
            };
            return Err(JournalError::InUse {
                folder: folder.display().to_string(),
                pid,
            });
        }
        Err(TryLockError::Error(err)) => return Err(io_error("cannot lock", &path)(err)),
    }
    let named = file
        .set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()));
    // A full disk keeps nobody from holding a lock.
    if let Err(err) = named
        && err.kind() != io::ErrorKind::StorageFull
    {
        return Err(io_error("cannot write", &path)(err));
    }
    Ok(file)
}

/// Adds a line with a record.
fn line(record: &Record, to: &mut Vec<u8>) {
    let json = serde_json::to_vec(record).expect("a record has only texts for keys");
    to.extend(format!("{:08x} ", crc32fast::hash(&json)).bytes());
    to.extend(json);
    to.push(b'\n');
}

/// Reads lines into jobs, and says where the last whole one ends.
///
/// # Errors
/// The first line that is damaged, if there is a good one after it.
fn replay(bytes: &[u8], jobs: &mut BTreeMap<JobId, Arc<Job>>) -> Result<usize, (usize, String)> {
    let mut end = 0;
    let mut bad: Option<(usize, String)> = None;
    for (at, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let read = match parse(line) {
            Ok(record) => record.apply(jobs),
            Err(fault) => Err(fault),
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

fn parse(line: &[u8]) -> Result<Record, String> {
    let line = line.strip_suffix(b"\n").ok_or("it has no end")?;
    let (sum, json) = line.split_at_checked(9).ok_or("it is too short")?;
    let sum = std::str::from_utf8(&sum[..8])
        .ok()
        .and_then(|sum| u32::from_str_radix(sum, 16).ok());
    if sum != Some(crc32fast::hash(json)) {
        return Err("its checksum is wrong".to_owned());
    }
    serde_json::from_slice(json).map_err(|err| err.to_string())
}

#[cfg(test)]
mod tests;

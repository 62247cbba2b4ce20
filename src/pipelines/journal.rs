//! What has happened to jobs, on disk: a file of records (`record`) to which each change is added before anybody hears of it.
//!
//! The file itself is the crate `journal`'s business. One server uses a folder: it holds a lock on a file that names it.

mod import;
mod record;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::job::Job;
use crate::rules::Change;
use record::Record;

/// The file with the lines.
const FILE: &str = "journal";
/// The file that is locked.
const LOCK: &str = "prunner.lock";

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

/// The records of a folder, and the sole right to add some.
#[derive(Debug)]
pub struct Journal(journal::Journal<Record>);

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
        let path = folder.join(FILE);
        let mut notes = Vec::new();
        let mut jobs = BTreeMap::new();
        let opened = journal::Journal::open(&path, &folder.join(LOCK), &mut |record: Record| {
            record.apply(&mut jobs)
        });
        let (journal, dropped) = opened.map_err(|err| of_folder(folder, err))?;
        let mut journal = Journal(journal);
        if dropped > 0 {
            notes.push(format!(
                "{dropped} bytes of a line that was never finished are dropped"
            ));
        }
        let imported = import::read(folder)?;
        let n_imported = import::add(imported.unwrap_or_default(), &mut jobs);
        // On a full disk the old file is still good.
        if let Err(err) = journal.rewrite(jobs.values()) {
            notes.push(format!(
                "the journal could not be written anew, and goes on as it is: {err}"
            ));
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

    /// Adds changes, and has them on the disk itself if `sync` says so. None of them is added if that fails.
    ///
    /// # Errors
    /// Those of the system, such as a disk that is full.
    pub fn add(&mut self, changes: &[Change], sync: bool) -> io::Result<()> {
        let records: Vec<Record> = changes.iter().map(Record::of).collect();
        self.0.add(&records, sync)
    }

    /// Whether so much has been added that it is to be written anew.
    pub fn is_long(&self) -> bool {
        self.0.is_long()
    }

    /// Writes the file anew, with these jobs.
    ///
    /// # Errors
    /// Those of the system; the old file goes on then, until it has grown much more.
    pub fn rewrite<'a>(&mut self, jobs: impl Iterator<Item = &'a Arc<Job>>) -> io::Result<()> {
        let mut jobs: Vec<&Arc<Job>> = jobs.collect();
        jobs.sort_by_key(|job| job.number);
        let whole = jobs
            .into_iter()
            .map(|job| Record::of(&Change::New(job.clone())));
        self.0.rewrite(std::iter::once(Record::Begin).chain(whole))
    }
}

/// What an error of the file means for those who know the folder.
fn of_folder(folder: &Path, err: journal::JournalError) -> JournalError {
    match err {
        journal::JournalError::Io { what, path, source } => JournalError::Io { what, path, source },
        journal::JournalError::InUse { pid, .. } => JournalError::InUse {
            folder: folder.display().to_string(),
            pid,
        },
        journal::JournalError::Damaged { path, line, fault } => {
            JournalError::Damaged { path, line, fault }
        }
    }
}

#[cfg(test)]
mod tests;

//! A file with one document, as YAML or JSON.
//!
//! It is replaced in one step by a new file, which was on the disk before. Whoever writes has the folder's lock
//! ([`super::Locks`]), from before it reads.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::{Before, MOST_BYTES, Reading, StoreError, Write, Written, check_size, document};
use crate::document::id_of;
use crate::json::{self, Layout};
use crate::value::Value;
use crate::yaml;

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// As YAML.
    Yaml,
    /// As JSON.
    Json,
}

impl Format {
    /// A document in this form.
    pub fn write(self, document: &Value) -> String {
        match self {
            Format::Yaml => yaml::write(document),
            Format::Json => json::write(document, Layout::Indented(2)),
        }
    }
}

/// A file with one document.
pub struct FileStore {
    path: PathBuf,
    format: Format,
}

impl FileStore {
    /// The file at this path, which need not be there.
    pub fn new(path: &Path, format: Format) -> FileStore {
        FileStore {
            path: path.to_owned(),
            format,
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How it is written.
    pub fn format(&self) -> Format {
        self.format
    }

    pub(super) fn read(&self, id: &str) -> Result<Reading, StoreError> {
        let document = self.any()?;
        let found = document
            .as_ref()
            .map(|document| id_of(document).unwrap_or_default());
        match found {
            Some(found) if found != id => Err(StoreError::OtherDocument {
                path: self.path.clone(),
                found: terminal::one_line(found),
                wanted: terminal::one_line(id),
            }),
            _ => Ok(Reading {
                document,
                before: Before::NotMade,
            }),
        }
    }

    /// The document in the file, whosever it is.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn any(&self) -> Result<Option<Value>, StoreError> {
        let Some(text) = read_file(&self.path)? else {
            return Ok(None);
        };
        let place = format!("in `{}`", self.path.display());
        match self.format {
            Format::Yaml => document(&text, &place, "any id"),
            Format::Json => json::read(&text).map_err(|err| StoreError::Unreadable {
                place,
                id: "any id".to_owned(),
                why: err.to_string(),
            }),
        }
        .map(Some)
    }

    pub(super) fn write(&self, write: &Write<'_>) -> Result<Written, StoreError> {
        match write.document {
            Some(document) => write_file(&self.path, &self.format.write(document), true, true)?,
            None => fs::remove_file(&self.path).map_err(|source| StoreError::File {
                doing: "remove",
                path: self.path.clone(),
                source,
            })?,
        }
        Ok(Written::Done)
    }

    pub(super) fn list(&self) -> Result<Vec<String>, StoreError> {
        let document = self.any()?;
        let id = document.as_ref().and_then(id_of).map(str::to_owned);
        Ok(id.into_iter().collect())
    }
}

/// Reads a file; `None` where there is none.
fn read_file(path: &Path) -> Result<Option<String>, StoreError> {
    let failed = |source| StoreError::File {
        doing: "read",
        path: path.to_owned(),
        source,
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(err) if err.kind() == ErrorKind::NotFound => return Ok(None),
        Err(err) => return Err(failed(err)),
    };
    let mut text = String::new();
    let most = MOST_BYTES as u64 + 1;
    file.take(most).read_to_string(&mut text).map_err(failed)?;
    check_size(&text, &format!("in `{}`", path.display()))?;
    Ok(Some(text))
}

/// Replaces a file in one step. Only its owner may read it. With `lasting` it is on the disk before this comes back.
///
/// With the folder's lock the new file has always the same name, so that what a process left that was killed is overwritten.
/// Without it somebody else may be writing that one.
///
/// # Errors
/// [`StoreError`]; the file is as it was.
pub fn write_file(
    path: &Path,
    text: &str,
    lasting: bool,
    is_locked: bool,
) -> Result<(), StoreError> {
    let failed = |source| StoreError::File {
        doing: "write",
        path: path.to_owned(),
        source,
    };
    check_size(text, &format!("for `{}`", path.display()))?;
    let name = path.file_name().unwrap_or_default();
    let own = match is_locked {
        true => String::new(),
        false => format!(".{}", uuid::Uuid::new_v4().simple()),
    };
    let new = path.with_file_name(format!(".{}{own}.new", name.to_string_lossy()));
    let write = || {
        match fs::remove_file(&new) {
            Err(err) if err.kind() != ErrorKind::NotFound => return Err(err),
            _ => {}
        }
        let mut options = OpenOptions::new();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(text.as_bytes())?;
        if lasting {
            file.sync_all()?;
        }
        fs::rename(&new, path)?;
        if let (true, Some(folder)) = (lasting, path.parent()) {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    };
    write().map_err(|err| {
        // It is of no use, and may be what fills the disk.
        let _ = fs::remove_file(&new);
        failed(err)
    })
}

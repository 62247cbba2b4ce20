//! The `params:` of a put step: exactly one operation.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::keys::{Keys, kind};
use super::{RequestError, object_id};
use crate::lock::{ClaimId, Holding, LockName};
use crate::object::Content;
use crate::operation::Operation;

/// The most that a file with a name or an id may hold. More means that it is not such a file.
const SMALL_FILE: u64 = 64 * 1024;

/// The operations, in the order in which they are listed when there is none.
const OPERATIONS: [&str; 9] = [
    "acquire",
    "release",
    "remove",
    "claim",
    "add",
    "add_claimed",
    "update",
    "check",
    "check_unclaimed",
];

/// What a put step asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Params {
    /// `acquire: true`.
    Acquire,
    /// `claim: LOCK`.
    Claim(LockName),
    /// `release: FOLDER`.
    Release(Folder),
    /// `add: FOLDER`.
    Add(Folder),
    /// `add_claimed: FOLDER`.
    AddClaimed(Folder),
    /// `remove: FOLDER`.
    Remove(Folder),
    /// `update: FOLDER`.
    Update(Folder),
    /// `check: FOLDER`.
    Check(Folder),
    /// `check_unclaimed: FOLDER`.
    CheckUnclaimed(Folder),
}

/// A folder among the inputs of a put step: a relative path that does not lead out of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder(String);

impl Params {
    pub(super) fn read(params: &Keys<'_>) -> Result<Params, RequestError> {
        let mut given = OPERATIONS
            .iter()
            .filter_map(|key| Some((*key, params.set(key)?)));
        let (key, value) = given.next().ok_or(RequestError::NoOperation)?;
        if given.next().is_some() {
            let given = OPERATIONS
                .iter()
                .copied()
                .filter(|key| params.set(key).is_some());
            return Err(RequestError::SeveralOperations(given.collect()));
        }

        let text = |expected| match value {
            Value::String(text) => Ok(text.as_str()),
            other => Err(params.wrong(key, expected, kind(other))),
        };
        let folder = || Folder::new(key, text("the path of a folder")?);
        match key {
            "acquire" => match value {
                Value::Bool(true) => Ok(Params::Acquire),
                other => Err(params.wrong(key, "true", kind(other))),
            },
            "claim" => LockName::new(text("the name of a lock")?)
                .map(Params::Claim)
                .map_err(RequestError::ClaimedName),
            "release" => Ok(Params::Release(folder()?)),
            "add" => Ok(Params::Add(folder()?)),
            "add_claimed" => Ok(Params::AddClaimed(folder()?)),
            "remove" => Ok(Params::Remove(folder()?)),
            "update" => Ok(Params::Update(folder()?)),
            "check" => Ok(Params::Check(folder()?)),
            "check_unclaimed" => Ok(Params::CheckUnclaimed(folder()?)),
            _ => Err(RequestError::NoOperation),
        }
    }

    /// Reads from the step's inputs in `source_dir` what the operation needs.
    ///
    /// # Errors
    /// [`RequestError`], with the path of the file that is missing or does not hold what it should.
    pub fn operation(&self, source_dir: &Path) -> Result<Operation, RequestError> {
        let add = |folder: &Folder, holding| {
            let folder = folder.within(source_dir);
            Ok(Operation::Add {
                lock: lock_in(&folder)?,
                content: content_in(&folder)?,
                holding,
            })
        };
        match self {
            Params::Acquire => Ok(Operation::Acquire),
            Params::Claim(lock) => Ok(Operation::Claim(lock.clone())),
            Params::Release(folder) => {
                let folder = folder.within(source_dir);
                Ok(Operation::Release {
                    lock: lock_in(&folder)?,
                    claim: claim_in(&folder)?,
                })
            }
            Params::Add(folder) => add(folder, Holding::Unclaimed),
            Params::AddClaimed(folder) => add(folder, Holding::Claimed),
            Params::Remove(folder) => {
                let folder = folder.within(source_dir);
                Ok(Operation::Remove {
                    lock: lock_in(&folder)?,
                    claim: claim_in(&folder)?,
                })
            }
            Params::Update(folder) => {
                let folder = folder.within(source_dir);
                Ok(Operation::Update {
                    lock: lock_in(&folder)?,
                    content: content_in(&folder)?,
                    claim: claim_in(&folder)?,
                })
            }
            Params::Check(folder) => Ok(Operation::AwaitUnclaimed(lock_in(
                &folder.within(source_dir),
            )?)),
            Params::CheckUnclaimed(folder) => Ok(Operation::AwaitClaimed(lock_in(
                &folder.within(source_dir),
            )?)),
        }
    }
}

impl Folder {
    fn new(param: &'static str, path: &str) -> Result<Folder, RequestError> {
        // Concourse finds the input by the first part of the path, so a leading slash never meant the root.
        let relative = path.trim_start_matches('/');
        if relative.split('/').any(|part| part == "..") {
            return Err(RequestError::Outside {
                param,
                path: path.to_owned(),
            });
        }
        Ok(Folder(relative.to_owned()))
    }

    /// The path, without a slash at its start.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn within(&self, source_dir: &Path) -> PathBuf {
        source_dir.join(&self.0)
    }
}

fn lock_in(folder: &Path) -> Result<LockName, RequestError> {
    let path = folder.join("name");
    let text = small_text(&path)?.ok_or_else(|| RequestError::Unreadable {
        path: path.clone(),
        reason: io::ErrorKind::NotFound.into(),
    })?;
    LockName::new(text.trim()).map_err(|reason| RequestError::LockFile { path, reason })
}

fn claim_in(folder: &Path) -> Result<Option<ClaimId>, RequestError> {
    let path = folder.join("claim");
    let Some(text) = small_text(&path)? else {
        return Ok(None);
    };
    match object_id(text.trim()) {
        Some(id) => Ok(Some(ClaimId(id))),
        None => Err(RequestError::ClaimFile { path }),
    }
}

fn content_in(folder: &Path) -> Result<Content, RequestError> {
    let path = folder.join("metadata");
    let bytes = std::fs::read(&path).map_err(|reason| RequestError::Unreadable { path, reason })?;
    Ok(Content::new(bytes))
}

/// The text in the file, `None` when there is no such file.
fn small_text(path: &Path) -> Result<Option<String>, RequestError> {
    let unreadable = |reason| RequestError::Unreadable {
        path: path.to_owned(),
        reason,
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(err) => return Err(unreadable(err)),
    };
    let mut bytes = Vec::new();
    file.take(SMALL_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > SMALL_FILE {
        return Err(RequestError::TooLarge {
            path: path.to_owned(),
        });
    }
    String::from_utf8(bytes)
        .map(Some)
        .map_err(|_| RequestError::NotText {
            path: path.to_owned(),
        })
}

#[cfg(test)]
mod tests;

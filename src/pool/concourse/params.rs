//! The `params:` of a put step: exactly one operation.

use std::fs::File;
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::keys::{Keys, kind};
use super::{Reap, RequestError};
use crate::lock::{ClaimId, Holding, LockName};
use crate::metadata;
use crate::operation::{Condition, Operation, Right, Want};
use git::object::{Content, full_id};

/// The most that a file with a name or an id may hold. More means that it is not such a file.
const SMALL_FILE: u64 = 64 * 1024;

/// The folder in which a get of several locks has one for each of them.
pub const LOCKS: &str = "locks";

/// The operations, in the order in which they are listed when there is none.
const OPERATIONS: [&str; 10] = [
    "acquire",
    "release",
    "remove",
    "claim",
    "add",
    "add_claimed",
    "update",
    "check",
    "check_unclaimed",
    "reap",
];

/// What a put step asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Params {
    /// `acquire: true`, with `match` and `count`.
    Acquire(Want),
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
    /// `reap: {...}`.
    Reap(Box<Reap>),
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
                Value::Bool(true) => Ok(Params::Acquire(want(params)?)),
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
            "reap" => Ok(Params::Reap(Box::new(Reap::read(params)?))),
            _ => Err(RequestError::NoOperation),
        }
    }

    /// Reads from the step's inputs in `source_dir` what the operation needs; `None` when it takes more than one.
    ///
    /// # Errors
    /// [`RequestError`], with the path of the file that is missing or does not hold what it should.
    pub fn operation(&self, source_dir: &Path) -> Result<Option<Operation>, RequestError> {
        let add = |folder: &Folder, holding| {
            let folder = folder.within(source_dir);
            Ok::<_, RequestError>(Operation::Add {
                lock: lock_in(&folder)?,
                content: content_in(&folder)?,
                holding,
            })
        };
        let operation = match self {
            Params::Acquire(want) => Operation::Acquire(want.clone()),
            Params::Claim(lock) => Operation::Claim(lock.clone()),
            Params::Release(folder) => {
                let folder = folder.within(source_dir);
                Operation::Release {
                    locks: locks_in(&folder)?,
                    right: Right::of(claim_in(&folder)?),
                    reason: None,
                }
            }
            Params::Add(folder) => add(folder, Holding::Unclaimed)?,
            Params::AddClaimed(folder) => add(folder, Holding::Claimed)?,
            Params::Remove(folder) => {
                let folder = folder.within(source_dir);
                Operation::Remove {
                    lock: lock_in(&folder)?,
                    claim: claim_in(&folder)?,
                }
            }
            Params::Update(folder) => {
                let folder = folder.within(source_dir);
                Operation::Update {
                    lock: lock_in(&folder)?,
                    content: content_in(&folder)?,
                    claim: claim_in(&folder)?,
                }
            }
            Params::Check(folder) => {
                Operation::AwaitUnclaimed(lock_in(&folder.within(source_dir))?)
            }
            Params::CheckUnclaimed(folder) => {
                Operation::AwaitClaimed(lock_in(&folder.within(source_dir))?)
            }
            Params::Reap(_) => return Ok(None),
        };
        Ok(Some(operation))
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

/// What an acquire asks for besides any lock.
fn want(params: &Keys<'_>) -> Result<Want, RequestError> {
    let expected = "a whole number from 1 to 1000";
    let count = match params.set("count") {
        None => NonZeroUsize::MIN,
        Some(value) => value
            .as_u64()
            .and_then(|count| usize::try_from(count).ok())
            .filter(|count| *count <= 1000)
            .and_then(NonZeroUsize::new)
            .ok_or_else(|| params.wrong("count", expected, value.to_string()))?,
    };
    let mut conditions = Vec::new();
    if let Some(value) = params.set("match") {
        let Value::Object(map) = value else {
            return Err(params.wrong("match", "an object", kind(value)));
        };
        for (key, value) in map {
            conditions_below(params, key, value, &mut conditions)?;
        }
    }
    Ok(Want {
        count,
        conditions,
        among: Vec::new(),
    })
}

/// The conditions in a value of `match`: an object in it says the same as keys with dots.
fn conditions_below(
    params: &Keys<'_>,
    path: &str,
    value: &Value,
    conditions: &mut Vec<Condition>,
) -> Result<(), RequestError> {
    let wrong = |found: &str| {
        params.wrong(
            "match",
            "keys without `=`, and values that are a string, a number, true or false, each on one line",
            found,
        )
    };
    if let Value::Object(map) = value {
        for (key, value) in map {
            conditions_below(params, &format!("{path}.{key}"), value, conditions)?;
        }
        return Ok(());
    }
    let text = metadata::as_text(value).ok_or_else(|| wrong("a list"))?;
    // They stand in the line for others to read, one on each line.
    if path.is_empty()
        || path.contains('=')
        || path.trim() != path
        || path.contains(char::is_control)
    {
        return Err(wrong("another key"));
    }
    if text.trim() != text || text.contains(char::is_control) {
        return Err(wrong("another value"));
    }
    conditions.push(Condition {
        path: path.to_owned(),
        value: text,
    });
    Ok(())
}

/// The lock of a folder, and those of the folders in it that a get of several has made.
fn locks_in(folder: &Path) -> Result<Vec<LockName>, RequestError> {
    let mut locks = vec![lock_in(folder)?];
    let others = folder.join(LOCKS);
    let unreadable = |reason| RequestError::Unreadable {
        path: others.clone(),
        reason,
    };
    let entries = match std::fs::read_dir(&others) {
        Ok(entries) => entries,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(locks),
        Err(err) => return Err(unreadable(err)),
    };
    let mut folders = Vec::new();
    for entry in entries {
        folders.push(entry.map_err(unreadable)?.path());
    }
    folders.sort();
    for folder in folders {
        let lock = lock_in(&folder)?;
        if !locks.contains(&lock) {
            locks.push(lock);
        }
    }
    Ok(locks)
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
    match full_id(text.trim()) {
        Some(id) => Ok(Some(ClaimId(id))),
        None => Err(RequestError::ClaimFile { path }),
    }
}

fn content_in(folder: &Path) -> Result<Content, RequestError> {
    let path = folder.join("metadata");
    let mut bytes = Vec::new();
    let read = File::open(&path)
        .and_then(|file| file.take(Content::MOST as u64 + 1).read_to_end(&mut bytes));
    match read {
        Err(reason) => Err(RequestError::Unreadable { path, reason }),
        Ok(size) if size > Content::MOST => Err(RequestError::MetadataTooLarge { path }),
        Ok(_) => Ok(Content::new(bytes)),
    }
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

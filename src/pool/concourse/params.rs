//! The `params:` of a put step: exactly one operation.

use std::fs::File;
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::keys::{Keys, kind};
use super::{Reap, RequestError, unknown};
use crate::lock::{ClaimId, Holding, LockName, PoolName};
use crate::matching;
use crate::operation::{Operation, Part, Right, Want};
use git::object::{Content, full_id};

/// The most that a file with a name or an id may hold. More means that it is not such a file.
const SMALL_FILE: u64 = 64 * 1024;

/// The folder in which a get of several locks has one for each of them.
pub const LOCKS: &str = "locks";

/// The folder in which a get of locks of several pools has one for each lock of another pool.
pub const POOLS: &str = "pools";

/// The file with the name of the pool, where a folder is about a lock of another one than that of the source.
pub const POOL: &str = "pool";

/// Nobody has a pool in more folders.
const DEEPEST: usize = 30;

/// The file by which a get marks a folder that holds no claim. The version that it saw is in it.
pub const NO_CLAIM: &str = "no-claim";

/// The operations, in the order in which they are listed when there is none.
const OPERATIONS: [&str; 11] = [
    "acquire",
    "release",
    "release_mine",
    "remove",
    "claim",
    "add",
    "add_claimed",
    "update",
    "check",
    "check_unclaimed",
    "reap",
];

/// The keys that go with operations.
const OTHERS: [&str; 9] = [
    "also",
    "match",
    "count",
    "timeout",
    "try",
    "priority",
    "on_deadlock",
    "lease",
    "request",
];

/// The keys of what is to be claimed in another pool as well.
const PART: [&str; 5] = ["pool", "claim", "acquire", "match", "count"];

/// What is to be said of params that mean nothing, each on a line.
pub(super) fn notes(params: &Keys<'_>) -> Vec<String> {
    unknown::notes(params, &[&OPERATIONS[..], &OTHERS].concat())
}

/// What a put step asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Params {
    /// `acquire: true`, with `match` and `count`.
    Acquire(Want),
    /// `claim: LOCK`.
    Claim(LockName),
    /// `release: FOLDER`.
    Release(Folder),
    /// `release_mine: true`.
    ReleaseMine,
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
        let mut given = Vec::new();
        for key in OPERATIONS {
            let is_given = match key {
                "acquire" | "release_mine" => params.flag(key)?,
                _ => params.set(key).is_some(),
            };
            if is_given && let Some(value) = params.set(key) {
                given.push((key, value));
            }
        }
        let (key, value) = match given[..] {
            [] => return Err(RequestError::NoOperation),
            [given] => given,
            _ => {
                let keys = given.into_iter().map(|(key, _)| key);
                return Err(RequestError::SeveralOperations(keys.collect()));
            }
        };

        let text = |expected| match value {
            Value::String(text) => Ok(text.as_str()),
            other => Err(params.wrong(key, expected, kind(other))),
        };
        let folder = || Folder::new(key, text("the path of a folder")?);
        match key {
            "acquire" => Ok(Params::Acquire(want(params)?)),
            "release_mine" => Ok(Params::ReleaseMine),
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

    /// Reads from the step's inputs in `source_dir` what the operation needs, which is done to `pool`; `None` when it takes more
    /// than one.
    ///
    /// # Errors
    /// [`RequestError`], with the path of the file that is missing or does not hold what it should.
    pub fn operation(
        &self,
        source_dir: &Path,
        pool: &PoolName,
    ) -> Result<Option<Operation>, RequestError> {
        let within = |folder: &Folder| folder.within(self.key(), source_dir);
        let lock_in = |folder: &Path| {
            let lock = lock_in(folder, pool)?;
            match lock.pool() {
                None => Ok(lock),
                Some(its) => Err(RequestError::OtherPool {
                    path: folder.join(POOL),
                    its,
                    pool: pool.clone(),
                }),
            }
        };
        let add = |folder: &Folder, holding| {
            let folder = within(folder)?;
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
                let folder = within(folder)?;
                Operation::Release {
                    locks: locks_in(&folder, pool)?,
                    right: Right::of(claim_in(&folder)?),
                    reason: None,
                }
            }
            Params::ReleaseMine => Operation::ReleaseOwn,
            Params::Add(folder) => add(folder, Holding::Unclaimed)?,
            Params::AddClaimed(folder) => add(folder, Holding::Claimed)?,
            Params::Remove(folder) => {
                let folder = within(folder)?;
                Operation::Remove {
                    lock: lock_in(&folder)?,
                    claim: claim_in(&folder)?,
                }
            }
            Params::Update(folder) => {
                let folder = within(folder)?;
                Operation::Update {
                    lock: lock_in(&folder)?,
                    content: content_in(&folder)?,
                    claim: claim_in(&folder)?,
                }
            }
            Params::Check(folder) => Operation::AwaitUnclaimed(lock_in(&within(folder)?)?),
            Params::CheckUnclaimed(folder) => Operation::AwaitClaimed(lock_in(&within(folder)?)?),
            Params::Reap(_) => return Ok(None),
        };
        Ok(Some(operation))
    }

    /// What gives a lock back by a folder that a get has marked as one without a claim: then that mark's version.
    pub fn without_claim(&self, source_dir: &Path) -> Option<String> {
        let (Params::Release(folder) | Params::Remove(folder)) = self else {
            return None;
        };
        let mark = source_dir.join(folder.as_str()).join(NO_CLAIM);
        let text = small_text(&mark).ok().flatten()?;
        Some(terminal::one_line(text.trim()))
    }

    /// The key of the operation.
    fn key(&self) -> &'static str {
        match self {
            Params::Acquire(_) => "acquire",
            Params::Claim(_) => "claim",
            Params::Release(_) => "release",
            Params::ReleaseMine => "release_mine",
            Params::Add(_) => "add",
            Params::AddClaimed(_) => "add_claimed",
            Params::Remove(_) => "remove",
            Params::Update(_) => "update",
            Params::Check(_) => "check",
            Params::CheckUnclaimed(_) => "check_unclaimed",
            Params::Reap(_) => "reap",
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

    /// The folder, which must be there.
    fn within(&self, param: &'static str, source_dir: &Path) -> Result<PathBuf, RequestError> {
        let folder = source_dir.join(&self.0);
        if folder.is_dir() {
            return Ok(folder);
        }
        let mut inputs: Vec<String> = std::fs::read_dir(source_dir)
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
            .collect();
        inputs.sort();
        Err(RequestError::NoFolder {
            param,
            path: self.0.clone(),
            inputs,
        })
    }
}

/// What is to be claimed in other pools in the same step, and of which locks of `pool`; `None` where nothing is.
///
/// # Errors
/// [`RequestError`].
pub(super) fn also(
    params: &Keys<'_>,
    own: &Params,
    pool: &PoolName,
) -> Result<Option<Operation>, RequestError> {
    let others = params.objects("also")?;
    if others.is_empty() {
        return Ok(None);
    }
    let want_of = |params: &Params| match params {
        Params::Acquire(want) => Some(want.clone()),
        Params::Claim(lock) => Some(Want::exactly(vec![lock.clone()])),
        _ => None,
    };
    let Some(first) = want_of(own) else {
        let expected = "left out: only `acquire` and `claim` can claim in other pools as well";
        return Err(params.wrong("also", expected, format!("it with `{}`", own.key())));
    };
    let mut parts = vec![Part {
        pool: pool.clone(),
        want: first,
    }];
    for keys in others {
        let named = keys.text("pool")?;
        let named = named.ok_or_else(|| keys.wrong("pool", "the path of a pool", "nothing"))?;
        let other = PoolName::new(named)
            .map_err(|_| keys.wrong("pool", "the path of a pool", terminal::one_line(named)))?;
        if parts.iter().any(|part| part.pool == other) {
            let expected = "a pool that is not named yet; several locks of one are claimed by `acquire` with `count` or `match`";
            return Err(keys.wrong("pool", expected, format!("`{other}` once more")));
        }
        let strange = keys.names().find(|name| !PART.contains(name));
        if let Some(name) = strange {
            let expected = "left out: each of `also` has `pool`, and `claim`, or `acquire` with `match` and `count`";
            return Err(keys.wrong(&terminal::one_line(name), expected, "it"));
        }
        let want = want_of(&Params::read(&keys)?);
        parts.push(Part {
            pool: other,
            want: want.ok_or(RequestError::NoOperation)?,
        });
    }
    Ok(Some(Operation::AcquireEach(parts)))
}

/// What an acquire asks for besides any lock.
fn want(params: &Keys<'_>) -> Result<Want, RequestError> {
    let expected = "a whole number from 1 to 1000, or `all`";
    let all = params.set("count").and_then(Value::as_str) == Some("all");
    let count = match params.set("count") {
        None => NonZeroUsize::MIN,
        Some(_) if all => NonZeroUsize::MIN,
        Some(value) => value
            .as_u64()
            .and_then(|count| usize::try_from(count).ok())
            .filter(|count| *count <= 1000)
            .and_then(NonZeroUsize::new)
            .ok_or_else(|| params.wrong("count", expected, value.to_string()))?,
    };
    let conditions = match params.set("match") {
        None => Vec::new(),
        Some(value) => matching::read(value).map_err(|problem| {
            let matching::Problem {
                at,
                expected,
                found,
            } = problem;
            params.wrong(&format!("match{at}"), expected, found)
        })?,
    };
    Ok(Want {
        count,
        all,
        conditions,
        among: Vec::new(),
    })
}

/// The lock of a folder, and those of the folders in it that a get of several has made, as they are seen from `pool`.
fn locks_in(folder: &Path, pool: &PoolName) -> Result<Vec<LockName>, RequestError> {
    let mut locks = vec![lock_in(folder, pool)?];
    let mut folders = folders_in(&folder.join(LOCKS))?;
    let others = folder.join(POOLS);
    if others.is_dir() {
        collect(&others, DEEPEST, &mut folders)?;
    }
    for folder in folders {
        let lock = lock_in(&folder, pool)?;
        if !locks.contains(&lock) {
            locks.push(lock);
        }
    }
    Ok(locks)
}

/// What is in a folder, in order; nothing where there is none.
fn folders_in(folder: &Path) -> Result<Vec<PathBuf>, RequestError> {
    let unreadable = |reason| RequestError::Unreadable {
        path: folder.to_owned(),
        reason,
    };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(err) => return Err(unreadable(err)),
    };
    let mut folders = Vec::new();
    for entry in entries {
        folders.push(entry.map_err(unreadable)?.path());
    }
    folders.sort();
    Ok(folders)
}

/// The folders of locks below one that has a folder for each pool.
fn collect(folder: &Path, deepest: usize, found: &mut Vec<PathBuf>) -> Result<(), RequestError> {
    for path in folders_in(folder)? {
        // A pool may be called like a lock of the pool around it: then there are locks in the folder of a lock.
        let is_lock = path.join("name").is_file();
        if is_lock || !path.is_dir() || deepest == 0 {
            found.push(path.clone());
        }
        if path.is_dir() && deepest > 0 {
            let mut inside = Vec::new();
            collect(&path, deepest - 1, &mut inside)?;
            // The files of a lock are no locks.
            found.extend(inside.into_iter().filter(|path| !is_lock || path.is_dir()));
        }
    }
    Ok(())
}

/// The lock that a folder is about, as it is seen from `pool`.
fn lock_in(folder: &Path, pool: &PoolName) -> Result<LockName, RequestError> {
    let path = folder.join("name");
    let text = small_text(&path)?.ok_or_else(|| RequestError::Unreadable {
        path: path.clone(),
        reason: io::ErrorKind::NotFound.into(),
    })?;
    // Some editors begin a file with a mark that nobody sees.
    let text = text.trim_start_matches('\u{feff}');
    let lock =
        LockName::new(text.trim()).map_err(|reason| RequestError::LockFile { path, reason })?;
    let path = folder.join(POOL);
    let Some(its) = small_text(&path)? else {
        return Ok(lock);
    };
    let its =
        PoolName::new(its.trim()).map_err(|reason| RequestError::PoolFile { path, reason })?;
    Ok(lock.of(&its, pool))
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

//! The get step: the lock that a version is about, as files.

use std::io::Write;
use std::path::Path;

use super::{Ready, StepError, Surroundings, ask};
use crate::concourse::{GetRequest, LOCKS, Response};
use crate::ledger::{self, Moved};
use crate::lock::{Holding, LockName};
use git::{History, HistoryError, Remote, Store};

/// What a version turned out to be.
enum Found {
    Locks(Vec<Moved>),
    NoLock,
    NoSuchVersion,
    NoLongerAcquired,
}

/// Writes the lock of a version into `destination`: its `name`, its `metadata`, and the `claim` if the version is one.
/// Of a claim of several locks it is the first, and each of them has a folder of the same kind below [`LOCKS`].
///
/// A version that removed its lock writes nothing. Nothing is written either when the step fails.
///
/// # Errors
/// [`StepError`]; [`StepError::NoLongerAcquired`] when the version has the lock claimed, and that claim is over.
pub async fn get(
    request: &GetRequest,
    destination: &Path,
    around: &Surroundings,
    log: &mut dyn Write,
) -> Result<Response, StepError> {
    let source = &request.source;
    let pool = &source.pool;
    let ready = Ready::new(source, around, log)?;
    let wanted = match &request.version {
        None => None,
        Some(version) => Some(
            version
                .id()
                .ok_or_else(|| StepError::NoSuchVersion(version.commit.clone()))?,
        ),
    };
    let mut remote = ready.remote(&source.branch, Store::temporary(&around.temporary)?)?;
    let (version, found) = ask(
        &mut remote,
        wanted,
        &ready.pace,
        log,
        |history, snapshot| {
            let version = wanted.unwrap_or(snapshot.commit);
            let stands = |history: &History<'_>, moved: &Moved, version| {
                let still = ledger::still_claimed(history, pool, &moved.lock, version)?;
                Ok::<bool, HistoryError>(still == Some(true))
            };
            if history.since(version)?.is_none() {
                return Ok((version, Found::NoSuchVersion));
            }
            let mut moved = ledger::moved_by(history, pool, version)?;
            let found = match moved.first() {
                None => Found::NoLock,
                Some(first) if !first.is_claim => match first.now {
                    Some((Holding::Claimed, _)) if !stands(history, first, version)? => {
                        Found::NoLongerAcquired
                    }
                    _ => {
                        moved.truncate(1);
                        Found::Locks(moved)
                    }
                },
                // A commit may claim several; those that were released by themselves since are not part of it any more.
                Some(_) => {
                    let mut standing = Vec::new();
                    for claim in moved.into_iter().filter(|moved| moved.is_claim) {
                        if stands(history, &claim, version)? {
                            standing.push(claim);
                        }
                    }
                    if standing.is_empty() {
                        Found::NoLongerAcquired
                    } else {
                        Found::Locks(standing)
                    }
                }
            };
            Ok((version, found))
        },
    )
    .await?;

    let moved = match found {
        Found::Locks(moved) => moved,
        Found::NoLock => {
            return Err(StepError::NoLock {
                version,
                pool: pool.clone(),
            });
        }
        Found::NoSuchVersion => return Err(StepError::NoSuchVersion(version.to_string())),
        Found::NoLongerAcquired => return Err(StepError::NoLongerAcquired),
    };
    for (n, lock) in moved.iter().enumerate() {
        if n == 0 {
            write_lock(&remote, destination, lock)?;
        }
        if moved.len() > 1 {
            let folder = destination.join(LOCKS).join(lock.lock.as_str());
            write_lock(&remote, &folder, lock)?;
        }
    }
    let locks: Vec<LockName> = moved.into_iter().map(|moved| moved.lock).collect();
    Ok(Response::new(version, &locks, pool))
}

fn write_lock(remote: &Remote, folder: &Path, moved: &Moved) -> Result<(), StepError> {
    let Some((_, entry)) = moved.now else {
        return Ok(());
    };
    let metadata = remote.store().blob(entry.id)?;
    write(folder, "name", format!("{}\n", moved.lock).as_bytes())?;
    write(folder, "metadata", &metadata)?;
    if moved.is_claim {
        write(folder, "claim", format!("{}\n", moved.commit).as_bytes())?;
    }
    Ok(())
}

fn write(folder: &Path, name: &str, content: &[u8]) -> Result<(), StepError> {
    let file = folder.join(name);
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&file, content))
        .map_err(|source| StepError::Write { file, source })
}

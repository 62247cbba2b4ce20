//! The get step: the lock that a version is about, as files.

use std::io::Write;
use std::path::Path;

use super::{Ready, StepError, Surroundings, ask};
use crate::concourse::{GetRequest, Response};
use crate::git::Store;
use crate::ledger::{self, Moved};
use crate::lock::Holding;

/// What a version turned out to be.
enum Found {
    Lock(Moved),
    NoLock,
    NoSuchVersion,
    NoLongerAcquired,
}

/// Writes the lock of a version into `destination`: its `name`, its `metadata`, and the `claim` if the version is one.
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
    let (version, found) = ask(&mut remote, &ready.pace, log, |history, snapshot| {
        let version = wanted.unwrap_or(snapshot.commit);
        if history.since(version)?.is_none() {
            return Ok((version, Found::NoSuchVersion));
        }
        let found = match ledger::moved_by(history, pool, version)? {
            None => Found::NoLock,
            Some(moved) => match moved.now {
                Some((Holding::Claimed, _))
                    if ledger::still_claimed(history, pool, &moved.lock, version)?
                        != Some(true) =>
                {
                    Found::NoLongerAcquired
                }
                _ => Found::Lock(moved),
            },
        };
        Ok((version, found))
    })
    .await?;

    let moved = match found {
        Found::Lock(moved) => moved,
        Found::NoLock => {
            return Err(StepError::NoLock {
                version,
                pool: pool.clone(),
            });
        }
        Found::NoSuchVersion => return Err(StepError::NoSuchVersion(version.to_string())),
        Found::NoLongerAcquired => return Err(StepError::NoLongerAcquired),
    };
    if let Some((_, entry)) = moved.now {
        let metadata = remote.store().blob(entry.id)?;
        write(destination, "name", format!("{}\n", moved.lock).as_bytes())?;
        write(destination, "metadata", &metadata)?;
        if moved.is_claim {
            write(
                destination,
                "claim",
                format!("{}\n", moved.commit).as_bytes(),
            )?;
        }
    }
    Ok(Response::new(version, &moved.lock, pool))
}

fn write(folder: &Path, name: &str, content: &[u8]) -> Result<(), StepError> {
    let file = folder.join(name);
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&file, content))
        .map_err(|source| StepError::Write { file, source })
}

//! The get step: the lock that a version is about, as files.

use std::io::Write;
use std::path::Path;

use tokio_util::sync::CancellationToken;

use super::{Ready, StepError, Surroundings, ask};
use crate::concourse::{GetRequest, LOCKS, Response};
use crate::ledger::{self, Moved};
use crate::lock::{Holding, LockName, PoolName};
use git::object::Oid;
use git::{Files, History, HistoryError, Remote, Store};
use pace::ride_out;
use terminal::trying_again;

/// Metadata of no more bytes than that comes with the history. For one that is larger another request is made: it is one
/// of many that may be as large.
const SMALL: usize = 1024;

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
    remote.want_files(Files::Small(SMALL));
    let (version, moved) = loop {
        let (version, moved) = find(&mut remote, &ready, pool, wanted, log).await?;
        let files: Vec<Oid> = moved
            .iter()
            .filter_map(|moved| Some(moved.now?.1.id))
            .collect();
        let (limit, never) = (ready.pace.fault_limit, CancellationToken::new());
        let are_here = ride_out(limit, &never, &mut trying_again(log), async || {
            remote.fetch_files(&files).await
        })
        .await?;
        if are_here {
            break (version, moved);
        }
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

/// Finds the locks that a version is about.
async fn find(
    remote: &mut Remote,
    ready: &Ready,
    pool: &PoolName,
    wanted: Option<Oid>,
    log: &mut dyn Write,
) -> Result<(Oid, Vec<Moved>), StepError> {
    let (version, found) = ask(
        remote,
        wanted,
        Some(pool),
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

    match found {
        Found::Locks(moved) => Ok((version, moved)),
        Found::NoLock => Err(StepError::NoLock {
            version,
            pool: pool.clone(),
        }),
        Found::NoSuchVersion => Err(StepError::NoSuchVersion(version.to_string())),
        Found::NoLongerAcquired => Err(StepError::NoLongerAcquired),
    }
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

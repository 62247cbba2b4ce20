//! One lock: its metadata, and who holds it; and the names of all.

use std::collections::BTreeSet;
use std::io::Write;

use tokio_util::sync::CancellationToken;

use super::{Ready, StepError, Surroundings, ask};
use crate::attempt;
use crate::concourse::Source;
use crate::ledger::{self, Held};
use crate::lock::{Holding, LockName};
use git::object::Oid;
use git::{Depth, Files, HistoryError, Store, StoreError};
use pace::ride_out;
use terminal::trying_again;

/// A lock as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    /// Its metadata.
    pub metadata: Vec<u8>,
    /// Whether it is claimed.
    pub holding: Holding,
    /// Who holds it; `None` if nobody does, or no commit tells.
    pub held: Option<Held>,
}

/// What there is of a lock.
enum Found {
    NoPool,
    Nothing,
    Damaged,
    Lock(Holding, Oid, Option<Held>),
}

/// The locks of the source's pool, by their names.
///
/// # Errors
/// [`StepError`].
pub async fn locks(
    source: &Source,
    around: &Surroundings,
    log: &mut dyn Write,
) -> Result<BTreeSet<LockName>, StepError> {
    let ready = Ready::new(source, around, log)?;
    let mut remote = ready.remote(&source.branch, Store::temporary(&around.temporary)?)?;
    remote.want_files(Files::None);
    let (limit, never) = (ready.pace.fault_limit, CancellationToken::new());
    let snapshot = attempt::snapshot(&mut remote, Depth::HEAD, limit, &never, log).await?;
    let pool = attempt::read_pool(&remote, &snapshot, &source.pool).map_err(|err| match err {
        HistoryError::Store(err) => err,
        HistoryError::Truncated => StoreError::Hole(snapshot.commit),
    })?;
    let pool = pool.ok_or_else(|| StepError::NoPool {
        pool: source.pool.clone(),
        branch: source.branch.clone(),
        remote: ready.location.to_string(),
    })?;
    Ok(pool.locks().map(|(lock, _)| lock.clone()).collect())
}

/// Reads a lock; `None` if the pool has none of that name.
///
/// # Errors
/// [`StepError`]; [`StepError::Damaged`] if it is in both folders, or no file.
pub async fn lock(
    source: &Source,
    lock: &LockName,
    around: &Surroundings,
    log: &mut dyn Write,
) -> Result<Option<Lock>, StepError> {
    let ready = Ready::new(source, around, log)?;
    let pool = &source.pool;
    let mut remote = ready.remote(&source.branch, Store::temporary(&around.temporary)?)?;
    remote.want_files(Files::None);
    loop {
        let found = ask(
            &mut remote,
            None,
            None,
            &ready.pace,
            log,
            |history, snapshot| {
                if !ledger::is_pool(history, snapshot.commit, pool)? {
                    return Ok(Found::NoPool);
                }
                let entry = |holding| history.entry(snapshot.commit, &pool.file(holding, lock));
                let (holding, entry) = match (entry(Holding::Claimed)?, entry(Holding::Unclaimed)?)
                {
                    (None, None) => return Ok(Found::Nothing),
                    (Some(_), Some(_)) => return Ok(Found::Damaged),
                    (Some(entry), None) => (Holding::Claimed, entry),
                    (None, Some(entry)) => (Holding::Unclaimed, entry),
                };
                if !entry.mode.is_blob() {
                    return Ok(Found::Damaged);
                }
                let held = match holding {
                    Holding::Claimed => {
                        let claims = ledger::claims(history, std::slice::from_ref(pool))?;
                        let mut claims = claims.into_values().flatten();
                        claims.find(|(name, _)| name == lock).map(|(_, held)| held)
                    }
                    Holding::Unclaimed => None,
                };
                Ok(Found::Lock(holding, entry.id, held))
            },
        )
        .await?;
        let (holding, file, held) = match found {
            Found::Lock(holding, file, held) => (holding, file, held),
            Found::Nothing => return Ok(None),
            Found::Damaged => {
                return Err(StepError::Damaged {
                    lock: lock.clone(),
                    pool: pool.clone(),
                });
            }
            Found::NoPool => {
                return Err(StepError::NoPool {
                    pool: pool.clone(),
                    branch: source.branch.clone(),
                    remote: ready.location.to_string(),
                });
            }
        };
        let (limit, never) = (ready.pace.fault_limit, CancellationToken::new());
        let is_here = ride_out(limit, &never, &mut trying_again(log), async || {
            remote.fetch_files(&[file]).await
        })
        .await?;
        // Else the branch has gone on, and the server does not give the file any more.
        if is_here {
            return Ok(Some(Lock {
                metadata: remote.store().blob(file)?,
                holding,
                held,
            }));
        }
    }
}

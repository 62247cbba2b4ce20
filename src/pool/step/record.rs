//! What the history of pools has recorded: the holds of some time, and the locks that there are.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::ops::ControlFlow;

use super::{Ready, StepError, Surroundings, Which, ask};
use crate::concourse::Source;
use crate::ledger;
use crate::lock::{Holding, LockName, PoolName};
use crate::past::{self, Hold};
use crate::rules::Pool;
use git::{Files, Store};

/// How much longer ago it is looked for what was held already when the time began that is asked about, in seconds.
const BEFORE: i64 = 86_400;

/// What was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The holds, the one that began last first. Those that began within a day before the time that is asked about are among
    /// them.
    pub holds: Vec<Hold>,
    /// The locks that there are now, by their pools.
    pub locks: BTreeMap<PoolName, BTreeSet<LockName>>,
    /// When the oldest commit was made that was looked at, in seconds since 1970.
    pub since: i64,
}

/// Reads what was recorded since then, in seconds since 1970.
///
/// # Errors
/// [`StepError`].
pub async fn record(
    source: &Source,
    which: Which,
    since: i64,
    around: &Surroundings,
    log: &mut dyn Write,
) -> Result<Record, StepError> {
    let ready = Ready::new(source, around, log)?;
    let mut remote = ready.remote(&source.branch, Store::temporary(&around.temporary)?)?;
    remote.want_files(Files::None);
    let earliest = since.saturating_sub(BEFORE);
    let about = |pool: &PoolName| which == Which::All || *pool == source.pool;
    let record = ask(
        &mut remote,
        None,
        None,
        &ready.pace,
        log,
        |history, snapshot| {
            if which == Which::One && !ledger::is_pool(history, snapshot.commit, &source.pool)? {
                return Ok(None);
            }
            let mut record = Record {
                holds: Vec::new(),
                locks: BTreeMap::new(),
                since: i64::MAX,
            };
            for name in past::pools(history, snapshot.commit)? {
                if !about(&name) {
                    continue;
                }
                let list = |holding| history.list(snapshot.commit, &name.folder(holding));
                let (claimed, unclaimed) = (list(Holding::Claimed)?, list(Holding::Unclaimed)?);
                let pool = Pool::new(name.clone(), &claimed, &unclaimed);
                let locks = pool.locks().map(|(lock, _)| lock.clone()).collect();
                record.locks.insert(name, locks);
            }
            past::holds(history, &about, &mut |commit, begun| {
                if commit.time < earliest {
                    return ControlFlow::Break(());
                }
                record.since = commit.time.min(record.since);
                record.holds.extend(begun);
                ControlFlow::Continue(())
            })?;
            Ok(Some(record))
        },
    )
    .await?;
    record.ok_or_else(|| StepError::NoPool {
        pool: source.pool.clone(),
        branch: source.branch.clone(),
        remote: ready.location.to_string(),
    })
}

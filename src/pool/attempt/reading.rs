//! Reading the repository: riding out faults, and as deep into the history as a question needs.

use std::collections::BTreeSet;
use std::io::Write;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Attempt, AttemptError};
use crate::ledger::{self, Moves};
use crate::lock::{Holding, LockName, PoolName};
use crate::past;
use crate::rules::Pool;
use git::FaultError;
use git::object::Oid;
use git::{Depth, HistoryError, Remote, RemoteError, Snapshot, StoreError};
use pace::ride_out;
use terminal::trying_again;

impl Attempt<'_> {
    /// Does `work`, which changes nothing, as [`snapshot`] does, and notes what is wrong meanwhile.
    pub(super) async fn read<T>(
        &mut self,
        work: impl AsyncFn(&mut Remote) -> Result<T, RemoteError>,
    ) -> Result<T, FaultError> {
        let (remote, limit) = (&mut self.remote, self.pace.fault_limit);
        read(remote, limit, &self.stop, self.log, &mut self.trouble, work).await
    }

    /// Reads our pool at a snapshot, with those of the others beside it that are there; `None` where there is none of ours.
    pub(super) fn pools(
        &self,
        snapshot: &Snapshot,
        others: &BTreeSet<PoolName>,
    ) -> Result<Option<Pool>, HistoryError> {
        let read = |name: &PoolName| read_pool(&self.remote, snapshot, name);
        let Some(pool) = read(&self.pool)? else {
            return Ok(None);
        };
        // Where one is gone, so are its locks; those of the others are given back all the same.
        let others = others.iter().filter_map(|name| read(name).transpose());
        let others: Vec<Pool> = others.collect::<Result<_, HistoryError>>()?;
        Ok(Some(pool.beside(others)))
    }

    /// The same, with the others that these locks are in, at a commit that is here.
    pub(super) fn pools_of(
        &self,
        snapshot: &Snapshot,
        locks: &[LockName],
    ) -> Result<Option<Pool>, StoreError> {
        let others = locks.iter().filter_map(LockName::pool).collect();
        self.pools(snapshot, &others).map_err(|err| match err {
            HistoryError::Store(err) => err,
            HistoryError::Truncated => StoreError::Hole(snapshot.commit),
        })
    }

    /// Asks the history, as deep as it takes.
    pub(super) async fn ask_history<T>(
        &mut self,
        question: impl Fn(&Self, &Snapshot) -> Result<T, HistoryError>,
    ) -> Result<T, AttemptError> {
        let mut depth = Depth::RECENT;
        loop {
            let snapshot = self.snapshot(depth).await?;
            match question(self, &snapshot) {
                Ok(answer) => return Ok(answer),
                Err(err) => depth = deeper(snapshot.depth, err)?,
            }
        }
    }

    /// As [`snapshot`].
    pub(super) async fn snapshot(&mut self, depth: Depth) -> Result<Snapshot, FaultError> {
        self.read(async |remote| remote.snapshot(depth).await).await
    }
}

/// Takes a snapshot, riding out faults, and says what there is to say about the way to it.
///
/// # Errors
/// [`FaultError`].
pub(crate) async fn snapshot(
    remote: &mut Remote,
    depth: Depth,
    fault_limit: Duration,
    stop: &CancellationToken,
    log: &mut dyn Write,
) -> Result<Snapshot, FaultError> {
    let unheard = &mut String::new();
    read(remote, fault_limit, stop, log, unheard, async |remote| {
        remote.snapshot(depth).await
    })
    .await
}

/// The same; but where the branch is as it was when it was fetched last, what is here of it is enough.
///
/// # Errors
/// [`FaultError`].
pub(crate) async fn snapshot_if_moved(
    remote: &mut Remote,
    depth: Depth,
    fault_limit: Duration,
    stop: &CancellationToken,
    log: &mut dyn Write,
) -> Result<Snapshot, FaultError> {
    let unheard = &mut String::new();
    read(remote, fault_limit, stop, log, unheard, async |remote| {
        remote.snapshot_if_moved(depth).await
    })
    .await
}

/// Tells people of a fault that is retried, and notes it in `trouble`.
pub(super) fn retried<'a>(
    log: &'a mut dyn Write,
    trouble: &'a mut String,
) -> impl FnMut(&RemoteError, Duration) + 'a {
    move |fault, pause| {
        *trouble = terminal::chain(fault);
        trying_again(log)(fault, pause);
    }
}

/// Does `work`, which changes nothing, as [`snapshot`] does. `trouble` becomes what is wrong meanwhile.
async fn read<T>(
    remote: &mut Remote,
    fault_limit: Duration,
    stop: &CancellationToken,
    log: &mut dyn Write,
    trouble: &mut String,
    work: impl AsyncFn(&mut Remote) -> Result<T, RemoteError>,
) -> Result<T, FaultError> {
    let result = ride_out(fault_limit, stop, &mut retried(log, trouble), async || {
        work(remote).await
    })
    .await;
    for line in remote.take_notices() {
        terminal::say(log, format_args!("{line}"));
    }
    result
}

/// Has more of a pool's past worked out than what was not enough (see [`Remote::reach`]), and says whether that was worth
/// trying and went well: not where a little more of the history is fetched just as soon.
///
/// # Errors
/// [`FaultError`].
pub(crate) async fn reach(
    remote: &mut Remote,
    snapshot: &Snapshot,
    of: Option<&PoolName>,
    until: Option<Oid>,
    fault_limit: Duration,
    stop: &CancellationToken,
    log: &mut dyn Write,
) -> Result<bool, FaultError> {
    let near = match until {
        // Nothing more is fetched than what lies in between.
        Some(_) => Depth::RECENT,
        None => Depth::FAR,
    };
    let Some(pool) = of.filter(|_| snapshot.depth >= near) else {
        return Ok(false);
    };
    let moves = {
        let (history, head) = (remote.history(snapshot), snapshot.commit);
        past::pools(&history, head).and_then(|pools| Moves::new(&history, head, pools))
    };
    let Ok(moves) = moves else {
        return Ok(false);
    };
    let unheard = &mut String::new();
    read(remote, fault_limit, stop, log, unheard, async |remote| {
        remote.reach(snapshot, pool.as_str(), until, &moves).await
    })
    .await
}

/// Has the whole past of all pools worked out, back to the beginning of the branch, and says whether that could be done.
///
/// # Errors
/// [`FaultError`].
pub(crate) async fn work_out(
    remote: &mut Remote,
    snapshot: &Snapshot,
    fault_limit: Duration,
    stop: &CancellationToken,
    log: &mut dyn Write,
) -> Result<bool, FaultError> {
    let moves = {
        let (history, head) = (remote.history(snapshot), snapshot.commit);
        past::pools(&history, head).and_then(|pools| Moves::new(&history, head, pools))
    };
    let Ok(moves) = moves else {
        return Ok(false);
    };
    while !remote.history(snapshot).is_worked_out() {
        let unheard = &mut String::new();
        let went_on = read(remote, fault_limit, stop, log, unheard, async |remote| {
            remote.reach(snapshot, "", None, &moves).await
        });
        if !went_on.await? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Reads the pool at a snapshot; `None` when there is none.
///
/// # Errors
/// [`HistoryError`] when our copy is damaged.
pub fn read_pool(
    remote: &Remote,
    snapshot: &Snapshot,
    name: &PoolName,
) -> Result<Option<Pool>, HistoryError> {
    let history = remote.history(snapshot);
    if !ledger::is_pool(&history, snapshot.commit, name)? {
        return Ok(None);
    }
    let folder = |holding| history.list(snapshot.commit, &name.folder(holding));
    Ok(Some(Pool::new(
        name.clone(),
        &folder(Holding::Claimed)?,
        &folder(Holding::Unclaimed)?,
    )))
}

/// The depth to fetch after a question had no answer.
pub(crate) fn deeper(depth: Depth, err: HistoryError) -> Result<Depth, StoreError> {
    match err {
        HistoryError::Store(err) => Err(err),
        // At the greatest depth a walk ends at the beginning instead of failing.
        HistoryError::Truncated => Ok(depth.deeper().unwrap_or(depth)),
    }
}

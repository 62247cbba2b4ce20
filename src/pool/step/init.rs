//! Making what a pool needs: the branch, its folders, its locks.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use tokio_util::sync::CancellationToken;

use super::{Ready, StepError, Surroundings};
use crate::attempt::{AttemptError, next_number, read_pool, snapshot};
use crate::concourse::Source;
use crate::lock::{LockName, PoolName};
use crate::message::{self, Origin};
use crate::rules::{Pool, Refusal};
use git::FaultError;
use git::object::{Content, Edit, Oid};
use git::{
    Depth, HistoryError, Identity, Pack, PushAnswer, RefUpdate, Remote, RemoteError, Snapshot,
    Store, StoreError, make_repository,
};
use pace::{Faults, pause_unless_stopped, pauses_after_lost_races};
use terminal::trying_again;

/// How often the server may refuse our commit though nobody moved the branch, before it is believed.
const PATIENCE: usize = 3;

/// What is to be there: pools, and locks in them, with their metadata.
pub type Plan = BTreeMap<PoolName, BTreeMap<LockName, Content>>;

/// Makes a repository of one's own at `folder`, with a branch and a pool that has no locks, if there is nothing yet; says
/// whether it did.
///
/// # Errors
/// [`StoreError`] when the folder above cannot be written to.
pub fn init_local(
    folder: &Path,
    branch: &str,
    pool: &PoolName,
    origin: &Origin,
) -> Result<bool, StoreError> {
    let (edits, _) = Pool::missing_altogether(pool.clone()).completed(&BTreeMap::new());
    let text = message::text(origin, &format!("setting up: {pool}"), &[]);
    make_repository(folder, branch, &edits, &text, &Identity::default())
}

/// Locks that are new, and in which pools.
type NewLocks = Vec<(PoolName, LockName)>;

/// What was made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Initiated {
    /// The commit that made it; `None` when everything was there already.
    pub commit: Option<Oid>,
    /// Whether the branch is new.
    pub branch: bool,
    /// The locks that are new.
    pub locks: Vec<(PoolName, LockName)>,
}

/// Makes what of `plan` is not there yet, the branch included, in one commit. What is there stays as it is.
///
/// # Errors
/// [`StepError`].
pub async fn init(
    source: &Source,
    plan: &Plan,
    origin: &Origin,
    around: &Surroundings,
    stop: CancellationToken,
    log: &mut dyn Write,
) -> Result<Initiated, StepError> {
    if let Some(lock) = plan
        .values()
        .flat_map(|locks| locks.keys())
        .find(|lock| !lock.is_visible())
    {
        return Err(AttemptError::Refused(Refusal::Hidden(lock.clone())).into());
    }
    let ready = Ready::new(source, around, log)?;
    let mut remote = ready.remote(&source.branch, Store::temporary(&around.temporary)?)?;
    let mut faults = Faults::new(ready.pace.fault_limit);
    let mut lost_races = pauses_after_lost_races();
    // What was pushed last, and may have landed.
    let mut made = Initiated::default();
    let mut refused: Option<(Option<Oid>, usize)> = None;
    loop {
        remote.may_begin_anew();
        let limit = ready.pace.fault_limit;
        let base = match snapshot(&mut remote, Depth::HEAD, limit, &stop, log).await {
            Ok(snapshot) => Some(snapshot),
            Err(FaultError::Permanent(RemoteError::NoBranch { .. })) => None,
            Err(FaultError::Stopped) => return Err(AttemptError::Stopped.into()),
            Err(err) => return Err(err.into()),
        };
        let (edits, locks) = missing(&remote, base.as_ref(), plan)?;
        if edits.is_empty() && base.is_some() {
            return Ok(made);
        }
        let pools: Vec<&str> = plan.keys().map(PoolName::as_str).collect();
        let does = format!("setting up: {}", pools.join(", "));
        let mut trailers = vec![(message::REQUEST, uuid::Uuid::new_v4().to_string())];
        if let Some(base) = &base {
            let number = next_number(&remote, base.commit)?;
            trailers.push((message::NUMBER, number.to_string()));
        }
        let text = message::text(origin, &does, &trailers);
        let store = remote.store();
        let (commit, objects) = match &base {
            Some(base) => store.make_commit(base.commit, &edits, &text, &ready.identity)?,
            None => store.make_first_commit(&edits, &text, &ready.identity)?,
        };
        let pack = store.pack(&objects)?;
        made = Initiated {
            commit: Some(commit),
            branch: base.is_none(),
            locks,
        };
        let at = base.map(|base| base.commit);
        match push(&remote, at, commit, &pack).await {
            Ok(None) => return Ok(made),
            Ok(Some((reason, words))) => {
                let before = refused.filter(|(then, _)| *then == at);
                let times = before.map_or(1, |(_, times)| times + 1);
                if times >= PATIENCE {
                    return Err(StepError::from(AttemptError::Rejected {
                        remote: remote.name().to_owned(),
                        subject: does,
                        reason,
                        words,
                    }));
                }
                refused = Some((at, times));
                let pause = lost_races.next().unwrap_or_default();
                let paused = pause_unless_stopped(pause, &stop).await;
                paused.map_err(|_| AttemptError::Stopped)?;
            }
            // Whether it has landed the next look shows: then there is nothing left to do.
            Err(err) => match faults.bear(err, &stop, &mut trying_again(log)).await {
                Ok(()) => {}
                Err(FaultError::Stopped) => return Err(AttemptError::Stopped.into()),
                Err(err) => return Err(err.into()),
            },
        }
    }
}

/// Pushes a commit; gives the server's reason and words when it has not taken it.
async fn push(
    remote: &Remote,
    base: Option<Oid>,
    commit: Oid,
    pack: &[u8],
) -> Result<Option<(String, String)>, RemoteError> {
    let Some(base) = base else {
        let new = RefUpdate {
            name: format!("refs/heads/{}", remote.branch()),
            old: None,
            new: Some(commit),
        };
        let refused = remote.update_refs(&[new], pack).await?;
        return Ok(refused.map(|reason| (reason, String::new())));
    };
    let sent = Cell::new(false);
    Ok(
        match remote
            .push(base, commit, &Pack::Made(pack.to_vec()), &[], &sent)
            .await?
        {
            PushAnswer::Accepted { .. } => None,
            PushAnswer::Moved => Some((
                "somebody else changes it all the time".to_owned(),
                String::new(),
            )),
            PushAnswer::Rejected { reason, words } => Some((reason, words)),
        },
    )
}

/// What is not there yet.
fn missing(
    remote: &Remote,
    base: Option<&Snapshot>,
    plan: &Plan,
) -> Result<(Vec<Edit>, NewLocks), StoreError> {
    let mut edits = Vec::new();
    let mut added = Vec::new();
    for (name, locks) in plan {
        let pool = match base {
            Some(base) => read_pool(remote, base, name).map_err(|err| match err {
                HistoryError::Store(err) => err,
                HistoryError::Truncated => StoreError::Hole(base.commit),
            })?,
            None => None,
        };
        let pool = pool.unwrap_or_else(|| Pool::missing_altogether(name.clone()));
        let (more, new) = pool.completed(locks);
        edits.extend(more);
        added.extend(new.into_iter().map(|lock| (name.clone(), lock)));
    }
    Ok((edits, added))
}

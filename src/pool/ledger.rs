//! What the history of a branch says of a pool: which lock a commit moved, and how a claim ended.
//!
//! Reads commits and trees through [`History`]; does no I/O of its own and decides nothing.

mod claims;
mod undo;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub use claims::{Claims, Held, Older, claims, claims_here};
pub(crate) use claims::{Sign, shown_claim};
pub use undo::Moves;

use crate::lock::{ClaimId, Holding, LockName, PoolName};
use crate::message;
use git::object::{Entry, Mode, Oid};
use git::{History, HistoryError};

/// How a claim ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It did not.
    Stands {
        /// The last commit by which its holder showed to be there: its last renewal, else the claim itself.
        last_sign: Oid,
    },
    /// The lock left `claimed/`.
    Ended {
        /// The commit that took it away.
        by: Oid,
        /// Whether that commit says that it was made by showing this claim.
        proven: bool,
    },
    /// The commit is not in the history, or it did not move this lock to `claimed/`.
    NotAClaim,
}

/// What a commit did to one lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// The commit.
    pub commit: Oid,
    /// The lock.
    pub lock: LockName,
    /// Where the lock is afterwards; `None` when it was removed.
    pub now: Option<(Holding, Entry)>,
    /// Where it was before; `None` when there was none.
    pub before: Option<Holding>,
    /// Whether the commit is a claim: the lock was not in `claimed/` before.
    pub is_claim: bool,
}

/// A claim that was made for a step which said how it is to be known again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimOfStep {
    /// The claim.
    pub commit: Oid,
    /// The locks that it still holds, those of other pools by their full names.
    pub locks: Vec<LockName>,
}

/// Whether a commit has the pool: a folder with at least one of the two in it.
///
/// # Errors
/// [`HistoryError`].
pub fn is_pool(history: &History<'_>, commit: Oid, pool: &PoolName) -> Result<bool, HistoryError> {
    for holding in [Holding::Claimed, Holding::Unclaimed] {
        let folder = history.entry(commit, &pool.folder(holding))?;
        if folder.is_some_and(|folder| folder.mode == Mode::Folder) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What is known of the versions of a pool from an earlier look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Latest {
    /// Where the branch was.
    pub head: Oid,
    /// The pool's latest version then.
    pub version: Oid,
}

/// The versions of a pool since `known`, oldest first, `known` included if it touched the pool. Without a known one,
/// or where it is not on the branch any more: the latest alone. Empty when nothing ever touched the pool.
///
/// With what an earlier look has shown the walk ends there, if that is enough.
///
/// # Errors
/// [`HistoryError`].
pub fn versions(
    history: &History<'_>,
    pool: &PoolName,
    known: Option<Oid>,
    earlier: Option<Latest>,
) -> Result<Vec<Oid>, HistoryError> {
    let mut touched = Vec::new();
    for commit in history.first_parents(history.head()) {
        let commit = commit?;
        if let Some(earlier) = earlier.filter(|earlier| earlier.head == commit)
            && known.is_none_or(|known| known == earlier.version)
        {
            touched.push(earlier.version);
            touched.reverse();
            return Ok(touched);
        }
        let touches = history.touches(commit, pool.as_str())?;
        if touches {
            touched.push(commit);
        }
        match known {
            Some(known) if known == commit => {
                if touched.is_empty() {
                    touched.push(known);
                }
                touched.reverse();
                return Ok(touched);
            }
            None if touches => break,
            _ => {}
        }
    }
    touched.truncate(1);
    Ok(touched)
}

/// What the last commit that moved a lock of the pool did, looking from `version` back.
///
/// Of several locks in one commit those that were claimed come first, each kind in the order of the names. Empty when no
/// lock was ever there.
///
/// # Errors
/// [`HistoryError`].
pub fn moved_by(
    history: &History<'_>,
    pool: &PoolName,
    version: Oid,
) -> Result<Vec<Moved>, HistoryError> {
    for commit in history.first_parents(version) {
        let commit = commit?;
        if !history.touches(commit, pool.as_str())? {
            continue;
        }
        let before = match history.parents(commit)?.first() {
            Some(parent) => locks(history, *parent, pool)?,
            None => BTreeMap::new(),
        };
        let after = locks(history, commit, pool)?;
        let mut moved: Vec<Moved> = Vec::new();
        let all: BTreeSet<&LockName> = before.keys().chain(after.keys()).collect();
        for lock in all {
            let (was, is) = (
                before.get(lock).copied().unwrap_or_default(),
                after.get(lock).copied().unwrap_or_default(),
            );
            if was == is {
                continue;
            }
            let now = is.claimed.map(|entry| (Holding::Claimed, entry));
            moved.push(Moved {
                commit,
                lock: lock.clone(),
                now: now.or(is.unclaimed.map(|entry| (Holding::Unclaimed, entry))),
                before: match was {
                    Files {
                        claimed: Some(_), ..
                    } => Some(Holding::Claimed),
                    Files {
                        unclaimed: Some(_), ..
                    } => Some(Holding::Unclaimed),
                    _ => None,
                },
                is_claim: was.claimed.is_none() && is.claimed.is_some(),
            });
        }
        moved.sort_by(|a, b| (!a.is_claim, &a.lock).cmp(&(!b.is_claim, &b.lock)));
        if !moved.is_empty() {
            return Ok(moved);
        }
    }
    Ok(Vec::new())
}

/// The last version of a pool at which no lock was claimed, so that whatever becomes of its locks, a get of it succeeds;
/// else the last one at all. `None` when nothing ever touched the pool.
///
/// # Errors
/// [`HistoryError`].
pub fn settled_version(
    history: &History<'_>,
    pool: &PoolName,
) -> Result<Option<Oid>, HistoryError> {
    let latest = versions(history, pool, None, None)?.first().copied();
    let mut next = latest;
    while let Some(version) = next {
        let moved = moved_by(history, pool, version)?;
        let Some(first) = moved.first() else { break };
        if !matches!(first.now, Some((Holding::Claimed, _))) {
            return Ok(Some(first.commit));
        }
        next = history.parents(first.commit)?.first().copied();
    }
    Ok(latest)
}

/// The last commit that touched a lock's file, in either folder; `None` when none did.
///
/// # Errors
/// [`HistoryError`].
pub fn last_touch(
    history: &History<'_>,
    pool: &PoolName,
    lock: &LockName,
) -> Result<Option<Oid>, HistoryError> {
    for commit in history.first_parents(history.head()) {
        let commit = commit?;
        for holding in [Holding::Claimed, Holding::Unclaimed] {
            if history.touches(commit, &pool.file(holding, lock))? {
                return Ok(Some(commit));
            }
        }
    }
    Ok(None)
}

/// The last commit on the branch that moved a lock to `claimed/`; `None` when none did.
///
/// # Errors
/// [`HistoryError`].
pub fn last_claim(
    history: &History<'_>,
    pool: &PoolName,
    lock: &LockName,
) -> Result<Option<Oid>, HistoryError> {
    let file = pool.file(Holding::Claimed, lock);
    for commit in history.first_parents(history.head()) {
        let commit = commit?;
        let before = match history.parents(commit)?.first() {
            Some(parent) => is_file(history, *parent, &file)?,
            None => false,
        };
        if !before && is_file(history, commit, &file)? {
            return Ok(Some(commit));
        }
    }
    Ok(None)
}

/// The claim that stands and was made for this step (see [`message::STEP`]); `None` when there is none.
///
/// Of the commits up to `known` it is known that none is. The search ends where the last of the locks that are claimed
/// now was claimed: before that there is nothing that could stand.
///
/// # Errors
/// [`HistoryError`].
pub fn claim_of_step(
    history: &History<'_>,
    pool: &PoolName,
    step: &str,
    known: Option<Oid>,
) -> Result<Option<ClaimOfStep>, HistoryError> {
    let claimed = pool.folder(Holding::Claimed);
    let mut open: Vec<LockName> = locks(history, history.head(), pool)?
        .into_iter()
        .filter(|(_, files)| files.claimed.is_some())
        .map(|(lock, _)| lock)
        .collect();
    for commit in history.first_parents(history.head()) {
        let commit = commit?;
        if open.is_empty() || known == Some(commit) {
            break;
        }
        if !history.touches(commit, &claimed)? {
            continue;
        }
        let Some(base) = history.parents(commit)?.first().copied() else {
            break;
        };
        let before = locks(history, base, pool)?;
        // Not claimed before this commit, and claimed ever since: this one claimed it.
        let (ours, older): (Vec<LockName>, Vec<LockName>) = open
            .into_iter()
            .partition(|lock| before.get(lock).is_none_or(|files| files.claimed.is_none()));
        open = older;
        if !ours.is_empty() {
            let message = history.commit(commit)?.message;
            if message::trailer(&message, message::STEP).is_some_and(|found| found == step) {
                let mut locks = ours;
                for lock in message::elsewhere(&message, pool) {
                    let fate = fate(history, pool, &lock, ClaimId(commit))?;
                    locks.extend(matches!(fate, Fate::Stands { .. }).then_some(lock));
                }
                return Ok(Some(ClaimOfStep { commit, locks }));
            }
        }
    }
    Ok(None)
}

/// For how long locks of a pool were held, or one of them: of those holds whose beginning and end are in the history that
/// is here. By the clocks of those who claimed and released; a hold that ends before it begins is left out.
pub fn holds(history: &History<'_>, pool: &PoolName, only: Option<&LockName>) -> Vec<Duration> {
    // A longer past says little of what is to come.
    const ENOUGH: usize = 200;
    const FAR_ENOUGH: usize = 2000;
    let claimed_at = |commit: Oid| -> Result<(i64, BTreeSet<LockName>), HistoryError> {
        let claimed = locks(history, commit, pool)?
            .into_iter()
            .filter(|(lock, files)| files.claimed.is_some() && only.is_none_or(|only| only == lock))
            .map(|(lock, _)| lock);
        Ok((history.commit(commit)?.time, claimed.collect()))
    };
    let mut holds = Vec::new();
    let mut ends: BTreeMap<LockName, i64> = BTreeMap::new();
    let mut after: Option<(i64, BTreeSet<LockName>)> = None;
    for commit in history.first_parents(history.head()).take(FAR_ENOUGH) {
        // Where the history ends that is here, there is nothing more to learn.
        let Ok(before) = commit.and_then(claimed_at) else {
            break;
        };
        if let Some((time, claimed)) = &after {
            for lock in claimed.difference(&before.1) {
                let held = ends.remove(lock).map(|end| u64::try_from(end - time));
                holds.extend(held.and_then(Result::ok).map(Duration::from_secs));
            }
            for lock in before.1.difference(claimed) {
                ends.insert(lock.clone(), *time);
            }
        }
        after = Some(before);
        if holds.len() >= ENOUGH {
            break;
        }
    }
    holds
}

/// How a claim of a lock ended.
///
/// # Errors
/// [`HistoryError`].
pub fn fate(
    history: &History<'_>,
    pool: &PoolName,
    lock: &LockName,
    claim: ClaimId,
) -> Result<Fate, HistoryError> {
    let Some(since) = history.since(claim.0)? else {
        return Ok(Fate::NotAClaim);
    };
    let file = pool.file(Holding::Claimed, lock);
    let is_claim = is_file(history, claim.0, &file)?
        && match history.parents(claim.0)?.first() {
            Some(parent) => !is_file(history, *parent, &file)?,
            None => true,
        };
    if !is_claim {
        return Ok(Fate::NotAClaim);
    }
    match first_without(history, &since, &file)? {
        None => Ok(Fate::Stands {
            last_sign: last_sign(history, &since)?.unwrap_or(claim.0),
        }),
        Some(by) => {
            let shown = message::trailers(&history.commit(by)?.message, message::CLAIM);
            Ok(Fate::Ended {
                by,
                proven: shown.contains(&claim.to_string()),
            })
        }
    }
}

/// The last renewal of the claim that is the first of these commits.
fn last_sign(history: &History<'_>, since: &[Oid]) -> Result<Option<Oid>, HistoryError> {
    for id in since.iter().skip(1).rev() {
        let commit = history.commit(*id)?;
        if shown_claim(&commit.message).as_ref() == since.first()
            && let Some((_, before)) = history.before(*id, &commit)?
            && before.tree == commit.tree
        {
            return Ok(Some(*id));
        }
    }
    Ok(None)
}

/// Whether a lock that `version` had in `claimed/` has been there ever since. `None` when `version` is not in the
/// history.
///
/// # Errors
/// [`HistoryError`].
pub fn still_claimed(
    history: &History<'_>,
    pool: &PoolName,
    lock: &LockName,
    version: Oid,
) -> Result<Option<bool>, HistoryError> {
    let Some(since) = history.since(version)? else {
        return Ok(None);
    };
    Ok(Some(
        first_without(history, &since, &pool.file(Holding::Claimed, lock))?.is_none(),
    ))
}

/// The first of these commits that has no file at `path`.
fn first_without(
    history: &History<'_>,
    commits: &[Oid],
    path: &str,
) -> Result<Option<Oid>, HistoryError> {
    for commit in commits {
        if !is_file(history, *commit, path)? {
            return Ok(Some(*commit));
        }
    }
    Ok(None)
}

fn is_file(history: &History<'_>, commit: Oid, path: &str) -> Result<bool, HistoryError> {
    Ok(history
        .entry(commit, path)?
        .is_some_and(|entry| entry.mode.is_blob()))
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Files {
    claimed: Option<Entry>,
    unclaimed: Option<Entry>,
}

fn locks(
    history: &History<'_>,
    commit: Oid,
    pool: &PoolName,
) -> Result<BTreeMap<LockName, Files>, HistoryError> {
    let mut locks: BTreeMap<LockName, Files> = BTreeMap::new();
    for holding in [Holding::Claimed, Holding::Unclaimed] {
        for file in history.list(commit, &pool.folder(holding))? {
            let lock = std::str::from_utf8(&file.name)
                .ok()
                .and_then(|name| LockName::new(name).ok());
            let (Some(lock), true) = (lock, file.entry.mode.is_blob()) else {
                continue;
            };
            let files = locks.entry(lock).or_default();
            match holding {
                Holding::Claimed => files.claimed = Some(file.entry),
                Holding::Unclaimed => files.unclaimed = Some(file.entry),
            }
        }
    }
    Ok(locks)
}

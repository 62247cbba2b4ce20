//! Who held what, from when to when: the holds of all pools of a branch, newest first, in one walk back.
//!
//! Folders are read only where a commit changed them, so that the cost is that of the changes and not of the pools.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::lock::{Holding, LockName, PoolName};
use crate::message;
use git::object::{Entry, Mode, Named, Oid};
use git::{Change, Commit, History, HistoryError};

pub mod chronicle;
pub mod waits;

/// One hold of a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// The pool that the lock was in.
    pub pool: PoolName,
    /// The lock.
    pub lock: LockName,
    /// The commit that claimed it.
    pub claim: Oid,
    /// When, in seconds since 1970, by the clock of whoever claimed it.
    pub since: i64,
    /// What that commit says.
    pub message: Arc<[u8]>,
    /// How it ended; `None` when it did not.
    pub end: Option<End>,
}

/// The end of a hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// The commit that took the lock out of `claimed/`.
    pub by: Oid,
    /// When, in seconds since 1970, by the clock of whoever made it.
    pub at: i64,
    /// What became of the lock.
    pub how: How,
    /// Why, where the commit says so.
    pub reason: Option<String>,
    /// What that commit says.
    pub message: Arc<[u8]>,
}

/// How a hold ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// The lock was given back.
    Released,
    /// The lock was taken out of the pool.
    Removed,
    /// It was taken away from a holder who showed no sign of life.
    Reaped,
    /// An operator took it away, and said why.
    Unlocked,
}

impl How {
    /// In one word.
    pub fn as_str(self) -> &'static str {
        match self {
            How::Released => "released",
            How::Removed => "removed",
            How::Reaped => "reaped",
            How::Unlocked => "unlocked",
        }
    }
}

/// What gets the holds that began with a commit: the newest commit first.
pub type Take<'a> = &'a mut dyn FnMut(Oid, &Commit, Vec<Hold>) -> ControlFlow<()>;

/// What a walk back has found to have ended, of which it has not come to the beginning.
#[derive(Debug, Default)]
pub struct Rest {
    /// By the lock, how the hold ended.
    pub ends: HashMap<(PoolName, LockName), End>,
    /// Whether the walk came to the commit that it was to end at.
    pub is_there: bool,
}

/// Hands the holds to `take`, in the order of their claims, the newest first, until it breaks off.
///
/// `about` says which pools are asked about. Of a merge it is the branch's own side that is followed.
///
/// # Errors
/// [`HistoryError`].
pub fn holds(
    history: &History<'_>,
    about: &dyn Fn(&PoolName) -> bool,
    take: &mut dyn FnMut(&Commit, Vec<Hold>) -> ControlFlow<()>,
) -> Result<(), HistoryError> {
    holds_since(history, None, about, &mut |_, commit, begun| {
        take(commit, begun)
    })
    .map(drop)
}

/// The same, of the commits that came after `until` alone; and what of it was begun by then.
///
/// # Errors
/// [`HistoryError`].
pub fn holds_since(
    history: &History<'_>,
    until: Option<Oid>,
    about: &dyn Fn(&PoolName) -> bool,
    take: Take<'_>,
) -> Result<Rest, HistoryError> {
    let mut rest = Rest::default();
    let (mut id, mut commit) = (history.head(), history.commit(history.head())?);
    while until != Some(id) {
        let before = history.before(id, &commit)?;
        let mut changes = Changes::default();
        let trees = (before.as_ref().map(|(_, before)| before.tree), commit.tree);
        if trees.0 != Some(trees.1) {
            changes.between(history, trees.0, Some(trees.1), "", about)?;
        }
        let begun = rest.take(history, id, &commit, changes)?;
        if take(id, &commit, begun).is_break() {
            return Ok(rest);
        }
        let Some(next) = before else {
            return Ok(rest);
        };
        (id, commit) = next;
    }
    rest.is_there = true;
    Ok(rest)
}

/// The same as [`holds`], by what was worked out of the whole history (see [`History::worked_out`]) and not by its folders.
///
/// # Errors
/// [`HistoryError`].
pub fn holds_worked_out(
    history: &History<'_>,
    about: &dyn Fn(&PoolName) -> bool,
    take: &mut dyn FnMut(Oid, &Commit, Vec<Hold>),
) -> Result<(), HistoryError> {
    let mut rest = Rest::default();
    for (id, changed) in history.worked_out() {
        let commit = history.commit(id)?;
        let mut changes = Changes::default();
        for change in changed {
            changes.file(&change, about);
        }
        let begun = rest.take(history, id, &commit, changes)?;
        take(id, &commit, begun);
    }
    Ok(())
}

impl Rest {
    /// Takes in what a commit did, and gives the holds that began with it.
    fn take(
        &mut self,
        history: &History<'_>,
        id: Oid,
        commit: &Commit,
        changes: Changes,
    ) -> Result<Vec<Hold>, HistoryError> {
        let message: Arc<[u8]> = commit.message.as_slice().into();
        let mut begun = Vec::new();
        for ((pool, lock), holding) in changes.claimed {
            if holding {
                let end = self.ends.remove(&(pool.clone(), lock.clone()));
                begun.push(Hold {
                    pool,
                    lock,
                    claim: id,
                    since: commit.time,
                    message: message.clone(),
                    end,
                });
                continue;
            }
            let is_left = history
                .entry(id, &pool.file(Holding::Unclaimed, &lock))?
                .is_some_and(|entry| entry.mode.is_blob());
            let reason = message::trailer(&message, message::REASON);
            let how = if message::trailer(&message, message::REAPED).is_some() {
                How::Reaped
            } else if reason.is_some() || message::trailer(&message, message::UNLOCKED).is_some() {
                How::Unlocked
            } else if is_left {
                How::Released
            } else {
                How::Removed
            };
            let end = End {
                by: id,
                at: commit.time,
                how,
                reason,
                message: message.clone(),
            };
            self.ends.insert((pool, lock), end);
        }
        Ok(begun)
    }
}

/// The pools at a commit: folders, at any depth, with one of the two folders in them.
///
/// # Errors
/// [`HistoryError`].
pub fn pools(history: &History<'_>, commit: Oid) -> Result<BTreeSet<PoolName>, HistoryError> {
    let mut found = BTreeSet::new();
    let mut open = vec![(String::new(), history.commit(commit)?.tree)];
    while let Some((path, tree)) = open.pop() {
        for Named { name, entry } in history.folder(tree)? {
            let (Ok(name), Mode::Folder) = (std::str::from_utf8(&name), entry.mode) else {
                continue;
            };
            if holding(name).is_some() {
                found.extend(PoolName::new(&path).ok());
            } else {
                open.push((joined(&path, name), entry.id));
            }
        }
    }
    Ok(found)
}

/// Which locks came into `claimed/` (true) or went out of it (false).
#[derive(Default)]
struct Changes {
    claimed: BTreeMap<(PoolName, LockName), bool>,
}

impl Changes {
    fn between(
        &mut self,
        history: &History<'_>,
        before: Option<Oid>,
        after: Option<Oid>,
        path: &str,
        about: &dyn Fn(&PoolName) -> bool,
    ) -> Result<(), HistoryError> {
        let list = |tree: Option<Oid>| match tree {
            Some(tree) => history.folder(tree),
            None => Ok(Vec::new()),
        };
        let (before, after) = (list(before)?, list(after)?);
        let index = |files: &[Named]| -> BTreeMap<Vec<u8>, (Mode, Oid)> {
            let entries = files.iter();
            entries
                .map(|file| (file.name.clone(), (file.entry.mode, file.entry.id)))
                .collect()
        };
        let (before, after) = (index(&before), index(&after));
        let names: BTreeSet<&Vec<u8>> = before.keys().chain(after.keys()).collect();
        for raw in names {
            let (was, is) = (before.get(raw), after.get(raw));
            if was == is {
                continue;
            }
            let Ok(name) = std::str::from_utf8(raw) else {
                continue;
            };
            let folder = |entry: Option<&(Mode, Oid)>| {
                entry
                    .filter(|(mode, _)| *mode == Mode::Folder)
                    .map(|(_, id)| *id)
            };
            let (was, is) = (folder(was), folder(is));
            if was == is {
                continue;
            }
            match holding(name) {
                Some(Holding::Unclaimed) => {}
                Some(Holding::Claimed) => {
                    if let Ok(pool) = PoolName::new(path)
                        && about(&pool)
                    {
                        self.files(&pool, &list(was)?, &list(is)?);
                    }
                }
                None => self.between(history, was, is, &joined(path, name), about)?,
            }
        }
        Ok(())
    }

    /// Takes in what became of one file, by its path.
    fn file(&mut self, change: &Change, about: &dyn Fn(&PoolName) -> bool) {
        let mut parts = change.path.rsplitn(3, '/');
        let (Some(lock), Some(folder), Some(pool)) = (parts.next(), parts.next(), parts.next())
        else {
            return;
        };
        let (Some(Holding::Claimed), Ok(pool), Ok(lock)) =
            (holding(folder), PoolName::new(pool), LockName::new(lock))
        else {
            return;
        };
        let is_lock = |entry: Option<Entry>| entry.is_some_and(|entry| entry.mode.is_blob());
        let (was, is) = (is_lock(change.before), is_lock(change.after));
        if was != is && about(&pool) {
            self.claimed.insert((pool, lock), is);
        }
    }

    fn files(&mut self, pool: &PoolName, before: &[Named], after: &[Named]) {
        let locks = |files: &[Named]| -> BTreeSet<LockName> {
            let files = files.iter().filter(|file| file.entry.mode.is_blob());
            files
                .filter_map(|file| LockName::new(std::str::from_utf8(&file.name).ok()?).ok())
                .collect()
        };
        let (before, after) = (locks(before), locks(after));
        for lock in before.symmetric_difference(&after) {
            let key = (pool.clone(), lock.clone());
            self.claimed.insert(key, after.contains(lock));
        }
    }
}

fn holding(name: &str) -> Option<Holding> {
    [Holding::Claimed, Holding::Unclaimed]
        .into_iter()
        .find(|holding| holding.folder() == name)
}

fn joined(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}/{name}")
    }
}

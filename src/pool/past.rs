//! Who held what, from when to when: the holds of all pools of a branch, newest first, in one walk back.
//!
//! Folders are read only where a commit changed them, so that the cost is that of the changes and not of the pools.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::lock::{Holding, LockName, PoolName};
use crate::message;
use git::object::{Mode, Named, Oid};
use git::{Commit, History, HistoryError};

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
    let mut ends: HashMap<(PoolName, LockName), End> = HashMap::new();
    let (mut id, mut commit) = (history.head(), history.commit(history.head())?);
    loop {
        let before = history.before(id, &commit)?;
        let mut changes = Changes::default();
        let trees = (before.as_ref().map(|(_, before)| before.tree), commit.tree);
        if trees.0 != Some(trees.1) {
            changes.between(history, trees.0, Some(trees.1), "", about)?;
        }
        let message: Arc<[u8]> = commit.message.as_slice().into();
        let mut begun = Vec::new();
        for ((pool, lock), holding) in changes.claimed {
            if holding {
                let end = ends.remove(&(pool.clone(), lock.clone()));
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
            ends.insert((pool, lock), end);
        }
        if take(&commit, begun).is_break() {
            return Ok(());
        }
        let Some(next) = before else { return Ok(()) };
        (id, commit) = next;
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

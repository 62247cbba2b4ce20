//! Questions about how a branch came to be what it is, asked of the part of the history that is here.
//!
//! A walk that comes to where our copy is cut off fails with [`HistoryError::Truncated`]; who asked fetches more and
//! asks again. So a question is written as if everything were here, and no more is fetched than it needs.

use std::collections::{BTreeSet, BinaryHeap, HashMap, HashSet};

use super::store::{Commit, Store, StoreError};
use crate::object::{Entry, Mode, Named, Oid};

/// The history of a branch, as far as it is here.
pub struct History<'a> {
    store: &'a Store,
    head: Oid,
    /// There is no more to be had: what is missing is missing on the server too.
    complete: bool,
}

/// Why a question has no answer yet.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The answer is deeper in the history than what is here.
    #[error("the history is not here that far back")]
    Truncated,
    /// Our copy cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl<'a> History<'a> {
    pub(super) fn new(store: &'a Store, head: Oid, complete: bool) -> History<'a> {
        History {
            store,
            head,
            complete,
        }
    }

    /// The commit that the branch was at.
    pub fn head(&self) -> Oid {
        self.head
    }

    /// Reads a commit of the history that is the head or that another question has led to.
    ///
    /// # Errors
    /// [`HistoryError::Store`]: such a commit has been here, so that a missing one is lost. A branch or a commit may name
    /// something else than a commit; that is one too.
    pub fn commit(&self, id: Oid) -> Result<Commit, HistoryError> {
        Ok(self.store.commit(id)?.ok_or_else(|| {
            if self.store.has(id) {
                StoreError::NotACommit(id)
            } else {
                StoreError::Hole(id)
            }
        })?)
    }

    /// The commits before `id`, all of which are here; the first is the one it was made on.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub fn parents(&self, id: Oid) -> Result<Vec<Oid>, HistoryError> {
        let parents = self.commit(id)?.parents;
        let (here, missing): (Vec<Oid>, Vec<Oid>) = parents
            .into_iter()
            .partition(|parent| self.store.has(*parent));
        match missing.first() {
            None => Ok(here),
            // Not where the server cut the history off: our copy has lost something.
            Some(parent) if !self.store.is_cut(id) => Err(StoreError::Hole(*parent).into()),
            // The server itself has no more.
            Some(_) if self.complete => Ok(here),
            Some(_) => Err(HistoryError::Truncated),
        }
    }

    /// The commit that the commit `id`, which says `commit`, was made on, and what that one says; `None` at the beginning.
    ///
    /// For long walks: each commit is read once.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub fn before(&self, id: Oid, commit: &Commit) -> Result<Option<(Oid, Commit)>, HistoryError> {
        let Some(parent) = commit.parents.first().copied() else {
            return Ok(None);
        };
        if let Some(commit) = self.store.commit(parent)? {
            return Ok(Some((parent, commit)));
        }
        if self.store.has(parent) {
            return Err(StoreError::NotACommit(parent).into());
        }
        match self.complete {
            // Not where the server cut the history off: our copy has lost something.
            _ if !self.store.is_cut(id) => Err(StoreError::Hole(parent).into()),
            true => Ok(None),
            false => Err(HistoryError::Truncated),
        }
    }

    /// What stands under each of these names in a folder that a commit of the history has, in their order. The folder is
    /// read once.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub fn names(&self, folder: Oid, names: &[&str]) -> Result<Vec<Option<Entry>>, HistoryError> {
        Ok(self.store.names(folder, names)?)
    }

    /// What is in a folder that a commit of the history has.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub fn folder(&self, tree: Oid) -> Result<Vec<Named>, HistoryError> {
        Ok(self.store.list(tree)?)
    }

    /// What stands at `path` in a commit.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub fn entry(&self, commit: Oid, path: &str) -> Result<Option<Entry>, HistoryError> {
        Ok(self.store.entry(self.commit(commit)?.tree, path)?)
    }

    /// What is in the folder at `path` in a commit; nothing where there is no such folder.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub fn list(&self, commit: Oid, path: &str) -> Result<Vec<Named>, HistoryError> {
        match self.entry(commit, path)? {
            Some(entry) if entry.mode == Mode::Folder => Ok(self.store.list(entry.id)?),
            _ => Ok(Vec::new()),
        }
    }

    /// Whether a commit changed what is at `path`, against its first parent.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub fn touches(&self, commit: Oid, path: &str) -> Result<bool, HistoryError> {
        let before = match self.parents(commit)?.first() {
            Some(parent) => self.entry(*parent, path)?,
            None => None,
        };
        Ok(self.entry(commit, path)? != before)
    }

    /// The branch's own commits from `from` back to its beginning: at a merge the side that was merged is left out.
    pub fn first_parents(&self, from: Oid) -> impl Iterator<Item = Result<Oid, HistoryError>> + '_ {
        let mut next = Some(Ok(from));
        std::iter::from_fn(move || {
            let current = next.take()?;
            if let Ok(commit) = &current {
                next = match self.parents(*commit) {
                    Ok(parents) => parents.first().copied().map(Ok),
                    Err(err) => Some(Err(err)),
                };
            }
            Some(current)
        })
    }

    /// The commits made with `target` in their history: `target` first, each after those that it was made on, the head
    /// last; `None` when `target` is not in the history.
    ///
    /// On a branch without merges that is the branch from `target` on. Where a merge joined sides that both have
    /// `target` it is both of them; a side that was begun before `target` is left out.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub fn since(&self, target: Oid) -> Result<Option<Vec<Oid>>, HistoryError> {
        let made_on = self.newer_than(target)?;
        let is_there = self.head == target || made_on.iter().any(|(parent, _)| *parent == target);
        Ok(is_there.then(|| in_order(target, &made_on)))
    }

    /// Whether the head has `target` in its history, where `target` was made on `base`.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub fn has_after(&self, base: Oid, target: Oid) -> Result<bool, HistoryError> {
        let made_on = self.newer_than(base)?;
        Ok(made_on.iter().any(|(_, child)| *child == target))
    }

    /// The commits that the head has in its history and `old` has not, as pairs of a parent (which may be older) and
    /// the commit that was made on it.
    fn newer_than(&self, old: Oid) -> Result<Vec<(Oid, Oid)>, HistoryError> {
        // Newest first, so that old side branches are looked at last. A wrong clock costs time, not the answer.
        let mut queue = BinaryHeap::from([(self.commit(self.head)?.time, self.head)]);
        let mut seen: HashSet<Oid> = HashSet::from([self.head]);
        // `old` and what is below it: nothing that matters is there, so that the search ends where only such are left.
        let mut below: HashSet<Oid> = HashSet::from([old]);
        let mut open: BTreeSet<Oid> = BTreeSet::from([self.head]);
        let mut made_on = Vec::new();
        if old == self.head {
            return Ok(made_on);
        }
        if let Some(commit) = self.store.commit(old)? {
            queue.push((commit.time, old));
        }
        while let Some((_, commit)) = queue.pop() {
            if open.is_empty() {
                break;
            }
            let is_below = below.contains(&commit);
            open.remove(&commit);
            let parents = match self.parents(commit) {
                // What lies below `old` only spares us work; a side branch that goes deeper tells so itself.
                Err(HistoryError::Truncated) if is_below => continue,
                parents => parents?,
            };
            for parent in parents {
                let new = if is_below {
                    open.remove(&parent);
                    below.insert(parent)
                } else {
                    made_on.push((parent, commit));
                    !below.contains(&parent) && seen.insert(parent) && open.insert(parent)
                };
                if new {
                    queue.push((self.commit(parent)?.time, parent));
                }
            }
        }
        // With a wrong clock something may have been looked at before it was known to be below.
        made_on.retain(|(_, child)| !below.contains(child));
        Ok(made_on)
    }
}

/// `first` and what was made on it, by these pairs of parent and child; each after all that it was made on.
fn in_order(first: Oid, made_on: &[(Oid, Oid)]) -> Vec<Oid> {
    let mut children: HashMap<Oid, Vec<Oid>> = HashMap::new();
    for (parent, child) in made_on {
        children.entry(*parent).or_default().push(*child);
    }
    let mut descendants = HashSet::from([first]);
    let mut next = vec![first];
    while let Some(commit) = next.pop() {
        let children = children.get(&commit).into_iter().flatten();
        next.extend(children.filter(|child| descendants.insert(**child)));
    }
    let mut awaited: HashMap<Oid, usize> = HashMap::new();
    for (_, child) in made_on
        .iter()
        .filter(|(parent, _)| descendants.contains(parent))
    {
        *awaited.entry(*child).or_default() += 1;
    }
    let mut ordered = Vec::with_capacity(descendants.len());
    let mut ready = vec![first];
    while let Some(commit) = ready.pop() {
        ordered.push(commit);
        for child in children.get(&commit).into_iter().flatten() {
            if let Some(awaited) = awaited.get_mut(child) {
                *awaited -= 1;
                if *awaited == 0 {
                    ready.push(*child);
                }
            }
        }
    }
    ordered
}

#[cfg(test)]
mod fuzz;

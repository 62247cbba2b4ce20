//! Questions about how a branch came to be what it is, asked of the part of the history that is here.
//!
//! A walk that comes to where our copy is cut off fails with [`HistoryError::Truncated`]; who asked fetches more and
//! asks again. So a question is written as if everything were here, and no more is fetched than it needs.

use std::collections::{BTreeSet, BinaryHeap, HashMap, HashSet};

use super::replay::{Change, Replay};
use super::store::{Commit, Store, StoreError};
use crate::object::{Entry, Mode, Named, Oid};

/// The history of a branch, as far as it is here.
pub struct History<'a> {
    store: &'a Store,
    head: Oid,
    /// There is no more to be had: what is missing is missing on the server too.
    complete: bool,
    /// What was worked out of a part that is not here.
    replay: Option<&'a Replay>,
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
            replay: None,
        }
    }

    pub(super) fn with(self, replay: Option<&'a Replay>) -> History<'a> {
        History { replay, ..self }
    }

    /// What a commit says, if it is here.
    fn find(&self, id: Oid) -> Result<Option<Commit>, HistoryError> {
        if let Some(replay) = self.replay {
            if let Some(commit) = replay.commit(id) {
                return Ok(Some(commit));
            }
            if let Some(commit) = replay.fetched().commit(id)? {
                return Ok(Some(commit));
            }
        }
        Ok(self.store.commit(id)?)
    }

    /// The commits before one, here or not.
    fn named_parents(&self, id: Oid) -> Result<Vec<Oid>, HistoryError> {
        match self.replay.and_then(|replay| replay.links(id)) {
            Some((_, parents)) => Ok(parents),
            None => Ok(self.commit(id)?.parents),
        }
    }

    /// The files of a commit.
    fn tree(&self, id: Oid) -> Result<Oid, HistoryError> {
        match self.replay.and_then(|replay| replay.links(id)) {
            Some((tree, _)) => Ok(tree),
            None => Ok(self.commit(id)?.tree),
        }
    }

    fn has(&self, id: Oid) -> bool {
        let in_replay = |replay: &Replay| replay.has(id) || replay.fetched().has(id);
        self.replay.is_some_and(in_replay) || self.store.has(id) && !self.store.is_hidden(id)
    }

    /// Whether commits before this one may be missing: the server cut the history off there, or was not asked for them.
    fn is_cut(&self, id: Oid) -> bool {
        let in_replay = |replay: &Replay| replay.has(id) || replay.fetched().has(id);
        self.store.is_cut(id) || self.replay.is_some_and(in_replay)
    }

    /// Where the folders of a commit are.
    fn folders(&self, tree: Oid) -> Result<&'a Store, HistoryError> {
        match self.replay {
            // First of all here: to look for something in vain costs much more than to find it.
            Some(replay) if !self.store.has(tree) => match replay.fetched().has(tree) {
                true => Ok(replay.fetched()),
                // What was worked out has commits without their folders.
                false => Err(HistoryError::Truncated),
            },
            _ => Ok(self.store),
        }
    }

    /// What each of the branch's own commits did to its files, from where [`crate::Remote::reach`] began with the folder
    /// without a name, as far back as that went. Nothing where it was not asked for.
    pub fn worked_out(&self) -> impl Iterator<Item = (Oid, Vec<Change>)> + 'a {
        let whole = self.replay.filter(|replay| replay.folder().is_empty());
        whole.into_iter().flat_map(Replay::steps)
    }

    /// Whether that goes back to the beginning of the branch.
    pub fn is_worked_out(&self) -> bool {
        self.replay
            .is_some_and(|replay| replay.folder().is_empty() && replay.is_over())
    }

    /// The commit that the branch was at.
    pub fn head(&self) -> Oid {
        self.head
    }

    /// The history that the branch had when it was at this commit, which is one of it.
    pub fn at(&self, commit: Oid) -> History<'a> {
        History {
            head: commit,
            store: self.store,
            complete: self.complete,
            replay: self.replay,
        }
    }

    /// Reads a commit of the history that is the head or that another question has led to.
    ///
    /// # Errors
    /// [`HistoryError::Store`]: such a commit has been here, so that a missing one is lost. A branch or a commit may name
    /// something else than a commit; that is one too.
    pub fn commit(&self, id: Oid) -> Result<Commit, HistoryError> {
        Ok(self.find(id)?.ok_or_else(|| {
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
        let parents = self.named_parents(id)?;
        let (here, missing): (Vec<Oid>, Vec<Oid>) =
            parents.into_iter().partition(|parent| self.has(*parent));
        match missing.first() {
            None => Ok(here),
            // Not where the server cut the history off: our copy has lost something.
            Some(parent) if !self.is_cut(id) => Err(StoreError::Hole(*parent).into()),
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
        if self.has(parent)
            && let Some(commit) = self.find(parent)?
        {
            return Ok(Some((parent, commit)));
        }
        if self.has(parent) {
            return Err(StoreError::NotACommit(parent).into());
        }
        match self.complete {
            // Not where the server cut the history off: our copy has lost something.
            _ if !self.is_cut(id) => Err(StoreError::Hole(parent).into()),
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
        if let Some(entry) = self.replay.and_then(|replay| replay.entry(commit, path)) {
            return Ok(entry);
        }
        let tree = self.tree(commit)?;
        Ok(self.folders(tree)?.entry(tree, path)?)
    }

    /// What is in the folder at `path` in a commit; nothing where there is no such folder.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub fn list(&self, commit: Oid, path: &str) -> Result<Vec<Named>, HistoryError> {
        let tree = self.tree(commit)?;
        let store = match self.folders(tree) {
            Err(HistoryError::Truncated) => {
                let listed = self.replay.and_then(|replay| replay.list(commit, path));
                return listed.ok_or(HistoryError::Truncated);
            }
            store => store?,
        };
        match store.entry(tree, path)? {
            Some(entry) if entry.mode == Mode::Folder => Ok(store.list(entry.id)?),
            _ => Ok(Vec::new()),
        }
    }

    /// Whether a commit changed what is at `path`, against its first parent.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub fn touches(&self, commit: Oid, path: &str) -> Result<bool, HistoryError> {
        if let Some(touches) = self.replay.and_then(|replay| replay.touches(commit, path)) {
            return Ok(touches);
        }
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
                if let Some((before, _)) = self.replay.and_then(|replay| replay.before(*commit)) {
                    next = Some(Ok(before));
                    return Some(current);
                }
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
        if let Some(line) = self.line_since(target)? {
            return Ok(Some(line));
        }
        let made_on = self.newer_than(target)?;
        let is_there = self.head == target || made_on.iter().any(|(parent, _)| *parent == target);
        Ok(is_there.then(|| in_order(target, &made_on)))
    }

    /// The commits from `target` to the head where they are one line, without a merge; most histories of locks are. `None` where
    /// they are not, or it does not lead there.
    fn line_since(&self, target: Oid) -> Result<Option<Vec<Oid>>, HistoryError> {
        let mut line = vec![self.head];
        let mut id = self.head;
        while id != target {
            if let Some((before, true)) = self.replay.and_then(|replay| replay.before(id)) {
                line.push(before);
                id = before;
                continue;
            }
            let parents = self.named_parents(id)?;
            let [parent] = parents[..] else {
                return Ok(None);
            };
            if !self.has(parent) {
                return Ok(None);
            }
            line.push(parent);
            id = parent;
        }
        line.reverse();
        Ok(Some(line))
    }

    /// Whether the head has `target` in its history, where `target` was made on `base`.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub fn has_after(&self, base: Oid, target: Oid) -> Result<bool, HistoryError> {
        let made_on = self.newer_than(base)?;
        Ok(made_on.iter().any(|(_, child)| *child == target))
    }

    /// The commits that the head has in its history and `old` has not, in no certain order.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub fn after(&self, old: Oid) -> Result<HashSet<Oid>, HistoryError> {
        let made_on = self.newer_than(old)?;
        Ok(made_on.into_iter().map(|(_, child)| child).collect())
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
        if !self.store.is_hidden(old)
            && let Some(commit) = self.store.commit(old)?
        {
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

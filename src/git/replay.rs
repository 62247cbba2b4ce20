//! What stood in a folder at commits whose folders were never fetched: worked out from the head back, and proved.
//!
//! A commit names its files by a hash of all of them. Most commits of a lock repository say what they did. Undone on the
//! files that are known, that gives the files of the commit before, and their hash must be the one that this commit names:
//! then it is certain, whoever wrote the message. Where no guess is right, the folders of that one commit are fetched. So
//! the commits of a long history are enough, which are a fraction of it and quickly made ready by a server.

mod files;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::commits::Commits;
use super::store::{Commit, Store, StoreError};
use crate::object::{Entry, Named, Oid};
use files::Files;

/// More commits than this whose folders have to be fetched one by one cost more than fetching everything.
const MOST_FETCHED: usize = 2000;

/// How many commits are read at least before it is gone back in them.
const PIECE: usize = 2000;

/// How many files may be hashed for one folder's past, in bytes: some seconds of work.
const MOST_HASHED: u64 = 6 * 1024 * 1024 * 1024;

/// What stood at paths before a commit, as somebody guesses: for each path that it changed.
pub type Undo = Vec<(String, Option<Entry>)>;

/// Knows what messages say of what their commits did.
pub trait Guess {
    /// Whether a message says enough to undo its commit.
    fn is_clear(&self, message: &[u8]) -> bool;

    /// What may undo a commit that says `message`, the likeliest first. `look` tells what stands at a path at that commit.
    fn undo(&self, message: &[u8], look: &mut dyn FnMut(&str) -> Option<Entry>) -> Vec<Undo>;
}

/// What a commit did to one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Where it is.
    pub path: Arc<str>,
    /// What stood there before.
    pub before: Option<Entry>,
    /// What stands there since.
    pub after: Option<Entry>,
}

/// The past of one folder, as far as it was worked out. The folder without a name is all of them.
pub struct Replay {
    folder: String,
    commits: Commits,
    /// Whether there are more of them than have come so far.
    more_to_come: bool,
    /// The branch's own commits with the ids of their files, from the head back, as far as they have come; and the next one.
    chain: Vec<(Oid, Oid)>,
    next: Option<Oid>,
    /// Those of them that were made on more than one.
    merges: HashSet<Oid>,
    /// Where in the chain a commit is, by its number.
    places: Vec<u32>,
    /// How far back in the chain the files are known.
    known: usize,
    /// All files there.
    files: Files,
    /// What was in the folder at the head.
    at_head: BTreeMap<Arc<str>, Entry>,
    /// By path, where in the chain it was changed, and what stood there before that.
    changed: HashMap<Arc<str>, Vec<(u32, Option<Entry>)>>,
    /// The same changes in the order of the chain.
    changes: Vec<(u32, Arc<str>)>,
    /// The folders of those commits that could not be worked out.
    fetched: Store,
    n_fetched: usize,
}

/// How far somebody came who went back.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Went {
    /// As far as was wanted.
    There,
    /// To where the commits end that have come so far; as many are needed.
    Short(usize),
    /// To where the folders of these commits have to be fetched.
    Needs(Vec<Oid>),
    /// To where it is not worth going on.
    Lost,
}

impl Replay {
    /// Begins at `head`, all of whose folders are in `store`; `None` where they are not. The commits need not have come yet, but
    /// what has come is to be noted with [`Replay::lengthen`].
    pub(super) fn new(
        folder: &str,
        head: Oid,
        commits: Commits,
        store: &Store,
        fetched: Store,
    ) -> Option<Replay> {
        let tree = store.commit(head).ok()??.tree;
        let at_head = store.files_below(tree, folder).ok()?;
        Some(Replay {
            folder: folder.to_owned(),
            commits,
            more_to_come: true,
            chain: Vec::new(),
            next: Some(head),
            merges: HashSet::new(),
            places: Vec::new(),
            known: 0,
            files: Files::new(tree, store)?,
            at_head: at_head
                .into_iter()
                .map(|(path, entry)| (path.into(), entry))
                .collect(),
            changed: HashMap::new(),
            changes: Vec::new(),
            fetched,
            n_fetched: 0,
        })
    }

    /// The commits, to add those to it that come.
    pub(super) fn commits(&mut self) -> &mut Commits {
        &mut self.commits
    }

    /// Notes that more commits have come; says whether they can be read.
    pub(super) fn lengthen(&mut self) -> bool {
        self.places.resize(self.commits.len(), u32::MAX);
        while let Some(id) = self.next
            && let Some(number) = self.commits.number(id)
        {
            let Some((tree, parents)) = self.commits.links(id) else {
                return false;
            };
            self.places[number] = self.chain.len() as u32;
            self.chain.push((id, tree));
            if parents.len() > 1 {
                self.merges.insert(id);
            }
            self.next = parents.first().copied();
        }
        true
    }

    /// Notes that all commits have come; says whether the head is one of them.
    pub(super) fn all_came(&mut self) -> bool {
        self.more_to_come = false;
        !self.chain.is_empty()
    }

    /// Whether there is nothing more to work out.
    pub(super) fn is_over(&self) -> bool {
        !self.more_to_come && self.known == self.last()
    }

    /// The folder whose past it is.
    pub(super) fn folder(&self) -> &str {
        &self.folder
    }

    /// Where folders are that were fetched for it.
    pub(super) fn fetched(&self) -> &Store {
        &self.fetched
    }

    /// How far back it is known.
    pub(super) fn known(&self) -> usize {
        self.known
    }

    /// The oldest of the commits that are here.
    pub(super) fn last(&self) -> usize {
        self.chain.len().saturating_sub(1)
    }

    /// What a commit says.
    pub(super) fn commit(&self, id: Oid) -> Option<Commit> {
        self.commits.get(id)
    }

    /// The files of a commit, and the commits before it.
    pub(super) fn links(&self, id: Oid) -> Option<(Oid, Vec<Oid>)> {
        self.commits.links(id)
    }

    /// The commit that one of the branch's own was made on, if that is here, and whether on no other.
    pub(super) fn before(&self, id: Oid) -> Option<(Oid, bool)> {
        let place = *self.places.get(self.commits.number(id)?)? as usize;
        let (before, _) = self.chain.get(place.checked_add(1)?)?;
        Some((*before, !self.merges.contains(&id)))
    }

    /// Whether a commit is here.
    pub(super) fn has(&self, id: Oid) -> bool {
        self.commits.number(id).is_some()
    }

    /// Goes back `to` so far, where that was not done before; or no further than `enough`, if the folder was changed behind
    /// `from`.
    pub(super) fn go_back(
        &mut self,
        store: &Store,
        guess: &dyn Guess,
        (from, enough, to): (usize, usize, usize),
    ) -> Result<Went, StoreError> {
        while self.known < to {
            let changed = self
                .changes
                .last()
                .is_some_and(|(at, _)| *at as usize >= from);
            if changed && self.known >= enough {
                break;
            }
            if self.known == self.last() {
                if self.more_to_come {
                    return Ok(Went::Short(self.known + PIECE));
                }
                break;
            }
            let (id, tree) = self.chain[self.known];
            let (_, before) = self.chain[self.known + 1];
            if tree != before {
                if self.files.hashed > MOST_HASHED {
                    return Ok(Went::Lost);
                }
                let Some(commit) = self.commits.get(id) else {
                    return Ok(Went::Lost);
                };
                if !self.undo(store, guess, &commit.message, before) && !self.jump(store, before)? {
                    // As few fetches as can be: for all that is in sight.
                    if self.more_to_come && self.last() < to {
                        return Ok(Went::Short(to));
                    }
                    return Ok(self.needs(guess, to.min(self.last())));
                }
            }
            self.known += 1;
        }
        Ok(Went::There)
    }

    /// Undoes what a commit says that it did, if what comes out is `before`.
    fn undo(&mut self, store: &Store, guess: &dyn Guess, message: &[u8], before: Oid) -> bool {
        let stores = [store, &self.fetched];
        let files = &mut self.files;
        let guesses = guess.undo(message, &mut |path| files.get(path, &stores));
        for guess in guesses {
            let is: Vec<Option<Entry>> = guess
                .iter()
                .map(|(path, entry)| files.replace(path, *entry, &stores))
                .collect();
            if files.id() == before {
                let changed = guess.into_iter().zip(is);
                for ((path, before), _) in changed.filter(|((_, before), is)| before != is) {
                    self.note(&path, before);
                }
                return true;
            }
            for ((path, _), entry) in guess.iter().zip(is).rev() {
                files.replace(path, entry, &stores);
            }
        }
        false
    }

    /// Goes on from the files `before`, if they were fetched.
    fn jump(&mut self, store: &Store, before: Oid) -> Result<bool, StoreError> {
        let stores = [store, &self.fetched];
        let Some(store) = stores.into_iter().find(|store| store.has(before)) else {
            return Ok(false);
        };
        let found = store.files_below(before, &self.folder)?;
        let Some(mut files) = Files::new(before, store) else {
            return Ok(false);
        };
        files.hashed = self.files.hashed;
        self.files = files;
        let known = self.at_head.keys().chain(self.changed.keys());
        let all: BTreeSet<&str> = known
            .map(|path| &**path)
            .chain(found.keys().map(String::as_str))
            .collect();
        let changed: Vec<(String, Option<Entry>)> = all
            .into_iter()
            .map(|path| (path.to_owned(), found.get(path).copied()))
            .filter(|(path, entry)| self.at(self.known, path) != *entry)
            .collect();
        for (path, entry) in changed {
            self.note(&path, entry);
        }
        Ok(true)
    }

    /// Notes what stood at a path of the folder before the commit that is being undone.
    fn note(&mut self, path: &str, before: Option<Entry>) {
        if !is_below(path, &self.folder) {
            return;
        }
        let path: Arc<str> = match self.changed.get_key_value(path) {
            Some((path, _)) => path.clone(),
            None => path.into(),
        };
        let at = self.known as u32;
        self.changes.push((at, path.clone()));
        self.changed.entry(path).or_default().push((at, before));
    }

    /// The commits whose folders are needed to go on: the next one, and those further on of which that is clear already.
    fn needs(&mut self, guess: &dyn Guess, to: usize) -> Went {
        let mut needed = vec![self.chain[self.known + 1].0];
        for n in self.known + 1..to {
            let ((id, tree), (next, before)) = (self.chain[n], self.chain[n + 1]);
            let is_clear = |commit: Commit| guess.is_clear(&commit.message);
            if tree != before && !self.commits.get(id).is_some_and(is_clear) {
                needed.push(next);
            }
            if self.n_fetched + needed.len() > MOST_FETCHED {
                return Went::Lost;
            }
        }
        self.n_fetched += needed.len();
        Went::Needs(needed)
    }

    /// What each commit did in the folder, from the head back, as far as that is known; at the beginning of the branch everything
    /// came with the first commit.
    pub(super) fn steps(&self) -> impl Iterator<Item = (Oid, Vec<Change>)> {
        let mut changes = self.changes.iter().peekable();
        let is_whole = self.is_over();
        self.chain[..self.known + usize::from(is_whole)]
            .iter()
            .enumerate()
            .map(move |(place, (id, _))| {
                if is_whole && place == self.last() {
                    return (*id, self.beginning());
                }
                let mut here = Vec::new();
                while let Some((_, path)) = changes.next_if(|(at, _)| *at as usize == place) {
                    here.push(Change {
                        path: path.clone(),
                        before: self.at(place + 1, path),
                        after: self.at(place, path),
                    });
                }
                (*id, here)
            })
    }

    fn beginning(&self) -> Vec<Change> {
        let there = self.paths_below(&self.folder);
        let there: BTreeSet<&Arc<str>> = there.collect();
        let made = there.into_iter().filter_map(|path| {
            Some(Change {
                path: path.clone(),
                before: None,
                after: Some(self.at(self.last(), path)?),
            })
        });
        made.collect()
    }

    /// Where in the chain a commit is, if the folder is known there.
    fn place(&self, commit: Oid) -> Option<usize> {
        let place = *self.places.get(self.commits.number(commit)?)? as usize;
        (place <= self.known).then_some(place)
    }

    /// What stands at a path of the folder at some place of the chain.
    fn at(&self, place: usize, path: &str) -> Option<Entry> {
        let changed = self.changed.get(path).map_or(&[][..], Vec::as_slice);
        let newer = changed.partition_point(|(at, _)| (*at as usize) < place);
        match newer.checked_sub(1) {
            Some(last) => changed[last].1,
            None => self.at_head.get(path).copied(),
        }
    }

    /// What stands at a path at a commit, if that was worked out. Of folders it does not know.
    pub(super) fn entry(&self, commit: Oid, path: &str) -> Option<Option<Entry>> {
        let place = self.place(commit)?;
        if !is_below(path, &self.folder) {
            return None;
        }
        match self.at(place, path) {
            None if self.any_below(place, path) => None,
            entry => Some(entry),
        }
    }

    fn any_below(&self, place: usize, folder: &str) -> bool {
        self.paths_below(folder)
            .any(|path| self.at(place, path).is_some())
    }

    fn paths_below(&self, folder: &str) -> impl Iterator<Item = &Arc<str>> {
        let all = self.at_head.keys().chain(self.changed.keys());
        all.filter(move |path| is_below(path, folder))
    }

    /// The files in a folder at a commit, if that was worked out. What is below them is left out.
    pub(super) fn list(&self, commit: Oid, folder: &str) -> Option<Vec<Named>> {
        let place = self.place(commit)?;
        if folder != self.folder && !is_below(folder, &self.folder) {
            return None;
        }
        let mut files: BTreeMap<&str, Entry> = BTreeMap::new();
        for path in self.paths_below(folder) {
            let name = match folder {
                "" => path,
                folder => &path[folder.len() + 1..],
            };
            if let Some(entry) = self.at(place, path).filter(|_| !name.contains('/')) {
                files.insert(name, entry);
            }
        }
        let named = |(name, entry): (&str, Entry)| Named {
            name: name.as_bytes().to_owned(),
            entry,
        };
        Some(files.into_iter().map(named).collect())
    }

    /// Whether a commit changed what is at a path, if that was worked out.
    pub(super) fn touches(&self, commit: Oid, path: &str) -> Option<bool> {
        let place = self.place(commit)?;
        if path != self.folder && !is_below(path, &self.folder) {
            return None;
        }
        if place == self.known {
            let is_first = || Some(self.commits.get(commit)?.parents.is_empty());
            return is_first()?
                .then(|| self.at(place, path).is_some() || self.any_below(place, path));
        }
        let at = place as u32;
        let first = self.changes.partition_point(|(place, _)| *place < at);
        let here = self.changes[first..]
            .iter()
            .take_while(|(place, _)| *place == at);
        let mut here = here.map(|(_, changed)| changed);
        Some(here.any(|changed| &**changed == path || is_below(changed, path)))
    }
}

/// Everything is below the folder without a name.
fn is_below(path: &str, folder: &str) -> bool {
    folder.is_empty()
        || path
            .strip_prefix(folder)
            .is_some_and(|rest| rest.starts_with('/'))
}

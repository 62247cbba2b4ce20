//! The objects of a repository on this machine, which are here without having been fetched.
//!
//! Of its commits no more is shown than what a fetch of the same depth would have brought. So a question that goes far back is
//! put as it is to any other server, and answered in the way that is best for it.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;

use super::{State, Store, StoreError, objects};
use crate::Depth;
use crate::object::Oid;

/// What of a repository's history is shown.
#[derive(Default)]
pub(super) struct Lent {
    /// The commits that are shown.
    shown: HashSet<Oid>,
    /// Those that were made here.
    made: HashSet<Oid>,
    /// Whether all are shown.
    whole: bool,
    /// How often the branch had moved on: libgit2 keeps something of what it reads each time.
    moves: u32,
}

impl Store {
    /// Whether objects are here that were not fetched.
    pub(crate) fn is_lent(&self) -> bool {
        self.lent.borrow().is_some()
    }

    /// Has the objects in this folder of another repository here too, for as long as the value lives.
    pub(crate) fn lend(&self, folder: &Path) -> Result<(), StoreError> {
        if self.is_lent() {
            return Ok(());
        }
        let doing = || format!("read the objects in `{}`", folder.display());
        let path = folder
            .to_str()
            .ok_or_else(|| objects(doing())(git2::Error::from_str("its name is not in UTF-8")))?;
        let odb = self.odb()?;
        odb.add_disk_alternate(path).map_err(objects(doing()))?;
        drop(odb);
        *self.lent.borrow_mut() = Some(Lent::default());
        Ok(())
    }

    /// How often the branch had moved on since this store was made.
    pub(super) fn moves(&self) -> u32 {
        self.lent.borrow().as_ref().map_or(0, |lent| lent.moves)
    }

    /// Whether a commit is one that would not be here if it had to be fetched.
    pub(crate) fn is_hidden(&self, commit: Oid) -> bool {
        let lent = self.lent.borrow();
        let is_hidden = |lent: &Lent| {
            !lent.whole && !lent.shown.contains(&commit) && !lent.made.contains(&commit)
        };
        lent.as_ref().is_some_and(is_hidden)
    }

    /// Notes a commit that was made here.
    pub(super) fn note_commit_made(&self, commit: Oid) {
        if let Some(lent) = self.lent.borrow_mut().as_mut() {
            lent.made.insert(commit);
        }
    }

    /// Whether a commit is shown, and so is reached from where the branch was.
    pub(crate) fn is_shown(&self, commit: Oid) -> bool {
        let lent = self.lent.borrow();
        lent.as_ref()
            .is_some_and(|lent| lent.shown.contains(&commit))
    }

    /// Shows `depth` commits of the history of `head`, besides what was shown before.
    pub(super) fn note_lent(&mut self, head: Oid, depth: u32) -> Result<(), StoreError> {
        let mut lent = self.lent.take().unwrap_or_default();
        lent.moves += u32::from(self.state.head != Some(head));
        let boundary = self.show(&mut lent, head, depth);
        *self.lent.get_mut() = Some(lent);
        self.state = State {
            head: Some(head),
            depth,
            boundary: boundary?,
        };
        Ok(())
    }

    /// Gives the commits after which the history is not shown any more.
    fn show(&self, lent: &mut Lent, head: Oid, depth: u32) -> Result<BTreeSet<Oid>, StoreError> {
        if lent.whole || depth >= Depth::ALL.0 {
            *lent = Lent {
                whole: true,
                moves: lent.moves,
                ..Lent::default()
            };
            return Ok(BTreeSet::new());
        }
        let mut cuts = self.state.boundary.clone();
        let mut level = vec![head];
        let mut seen = HashSet::from([head]);
        for left in (0..depth).rev() {
            for id in std::mem::take(&mut level) {
                lent.shown.insert(id);
                if left == 0 {
                    cuts.insert(id);
                    continue;
                }
                let parents = self.parents_of(id)?.into_iter();
                level.extend(parents.filter(|parent| seen.insert(*parent)));
            }
        }
        let mut all = BTreeSet::new();
        for cut in cuts {
            let parents = self.parents_of(cut)?;
            if parents.iter().any(|parent| !lent.shown.contains(parent)) {
                all.insert(cut);
            }
        }
        Ok(all)
    }

    fn parents_of(&self, commit: Oid) -> Result<Vec<Oid>, StoreError> {
        match self.commit(commit)? {
            Some(commit) => Ok(commit.parents),
            None if self.has(commit) => Err(StoreError::NotACommit(commit)),
            None => Err(StoreError::Hole(commit)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::store::Identity;
    use crate::{History, HistoryError};

    /// A line of commits in a store of its own.
    fn line(store: &Store, length: usize) -> Vec<Oid> {
        let who = Identity::default();
        let mut line = vec![store.make_first_commit(&[], "0", &who).unwrap().0];
        for n in 1..length {
            let before = *line.last().unwrap();
            let made = store.make_commit(before, &[], &n.to_string(), &who);
            line.push(made.unwrap().0);
        }
        line
    }

    /// How many commits a walk comes by, and whether it came to the beginning.
    fn walk(store: &Store, head: Oid, is_whole: bool) -> (usize, bool) {
        let history = History::new(store, head, is_whole);
        let mut count = 0;
        for commit in history.first_parents(head) {
            match commit {
                Ok(_) => count += 1,
                Err(HistoryError::Truncated) => return (count, false),
                Err(err) => panic!("{err}"),
            }
        }
        (count, true)
    }

    #[test]
    fn no_more_is_shown_than_a_fetch_would_have_brought() {
        let folder = tempfile::tempdir().unwrap();
        let (theirs, mut ours) = (
            Store::kept(&folder.path().join("theirs")).unwrap(),
            Store::temporary(folder.path()).unwrap(),
        );
        let line = line(&theirs, 10);
        let head = line[8];
        assert!(!ours.has(head));

        ours.lend(&theirs.folder.join("objects")).unwrap();
        ours.note_fetched(head, 1, []).unwrap();
        assert_eq!(walk(&ours, head, false), (1, false));
        ours.note_fetched(head, 3, []).unwrap();
        assert_eq!(walk(&ours, head, false), (3, false));
        // The branch has moved on, and what was shown before still is.
        ours.note_fetched(line[9], 1, []).unwrap();
        assert_eq!(walk(&ours, line[9], false), (4, false));
        assert_eq!(ours.depth_of(line[9]), Some(1));

        let history = History::new(&ours, line[9], false);
        assert_eq!(history.since(line[7]).unwrap(), Some(line[7..].to_vec()));
        assert!(matches!(
            history.since(line[2]),
            Err(HistoryError::Truncated)
        ));
        ours.note_fetched(line[9], Depth::ALL.0, []).unwrap();
        assert_eq!(walk(&ours, line[9], true), (10, true));
    }

    #[test]
    fn a_commit_further_back_than_what_is_shown_is_not_here_whatever_it_lies_beside() {
        let folder = tempfile::tempdir().unwrap();
        let (theirs, mut ours) = (
            Store::kept(&folder.path().join("theirs")).unwrap(),
            Store::temporary(folder.path()).unwrap(),
        );
        let who = Identity::default();
        let line = line(&theirs, 3);
        let [base, old, ended] = line[..] else {
            panic!("{line:?}");
        };
        // Two sides, of which the one with the old commit is as long as the other one.
        let side = theirs.make_commit(base, &[], "side", &who).unwrap().0;
        let repository = git2::Repository::open_bare(&theirs.folder).unwrap();
        let find = |id| repository.find_commit(id).unwrap();
        let by = git2::Signature::new("x", "x", &git2::Time::new(0, 0)).unwrap();
        let tree = find(ended).tree().unwrap();
        let head = repository.commit(None, &by, &by, "merge", &tree, &[&find(side), &find(ended)]);
        let head = head.unwrap();

        ours.lend(&theirs.folder.join("objects")).unwrap();
        for (depth, expected) in [
            (1, None),
            (2, None),
            (3, Some(Some(vec![old, ended, head]))),
        ] {
            ours.note_fetched(head, depth, []).unwrap();
            let history = History::new(&ours, head, false);
            let found = match history.since(old) {
                Err(HistoryError::Truncated) => None,
                found => Some(found.unwrap()),
            };
            assert_eq!(found, expected, "at the depth {depth}");
        }
    }

    #[test]
    fn what_is_lent_is_not_noted_for_those_who_come_later() {
        let folder = tempfile::tempdir().unwrap();
        let theirs = Store::kept(&folder.path().join("theirs")).unwrap();
        let head = line(&theirs, 2)[1];
        let kept = folder.path().join("kept");
        let mut ours = Store::kept(&kept).unwrap();

        ours.lend(&theirs.folder.join("objects")).unwrap();
        ours.note_fetched(head, 2, []).unwrap();

        assert_eq!(ours.head(), Some(head));
        assert_eq!(Store::kept(&kept).unwrap().head(), None);
    }
}

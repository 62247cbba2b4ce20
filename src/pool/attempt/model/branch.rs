//! A branch with a pool on it, as small as can be: commits with the locks that are claimed after them.

use std::ops::Range;

use crate::ledger::Fate;
use crate::lock::{ClaimId, LockName, PoolName};
use crate::rules::{Change, Pool};
use git::object::{Edit, Entry, Mode, Named, Oid, blob_id};

/// The number of no commit.
pub const NONE: u8 = u8::MAX;
/// Who is no worker, but an operator who frees locks.
pub const OPERATOR: u8 = u8::MAX;
/// What the locks are called; the last one is of another pool.
const NAMES: [&str; 4] = ["a", "b", "c", "q/d"];
/// The number of the lock of the other pool.
pub const ELSEWHERE: u8 = 3;

/// A commit, on the branch or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Commit {
    /// The one that it was made on.
    pub parent: u8,
    /// The locks that are claimed after it, a bit for each.
    pub claimed: u8,
    /// The worker who made it.
    pub by: u8,
    /// The claim that it shows, to end it.
    pub shows: u8,
    /// Of a claim that was offered: by which run of the worker, and the commit that it was offered on.
    pub offered: Option<(u8, u8)>,
    /// Whether it came to the branch below another one, in the same push: then the branch has never been there.
    pub is_inner: bool,
}

/// All commits that matter. The first of them are the branch, from the oldest to its head.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Branch {
    pub commits: Vec<Commit>,
    /// How many of them are the branch.
    pub len: u8,
    /// How many locks there are, all of them free at first.
    pub locks: u8,
}

impl Branch {
    pub fn new(locks: u8) -> Branch {
        let root = Commit {
            parent: NONE,
            claimed: 0,
            by: OPERATOR,
            shows: NONE,
            offered: None,
            is_inner: false,
        };
        Branch {
            commits: vec![root],
            len: 1,
            locks,
        }
    }

    pub fn head(&self) -> u8 {
        self.len - 1
    }

    pub fn at(&self, commit: u8) -> Commit {
        self.commits[usize::from(commit)]
    }

    /// Makes a commit of a change that the rules ask for.
    pub fn make(&mut self, parent: u8, by: u8, change: &Change) -> u8 {
        let mut claimed = self.at(parent).claimed;
        for edit in &change.edits {
            let parts: Vec<&str> = edit.path().split('/').collect();
            let name = match parts[..] {
                ["p", "claimed", lock] => lock.to_owned(),
                [pool, "claimed", lock] => format!("{pool}/{lock}"),
                _ => continue,
            };
            let Some(lock) = NAMES.iter().position(|known| *known == name) else {
                continue;
            };
            match edit {
                Edit::Delete { .. } => claimed &= !(1 << lock),
                Edit::Set { .. } | Edit::Write { .. } => claimed |= 1 << lock,
            }
        }
        let shows = change.right.claim();
        self.add(Commit {
            parent,
            claimed,
            by,
            shows: shows.map_or(NONE, |claim| number(claim.0)),
            offered: None,
            is_inner: false,
        })
    }

    /// A claim is what a run of its worker has offered on `base`.
    pub fn offer(&mut self, claim: u8, run: u8, base: u8) {
        self.commits[usize::from(claim)].offered = Some((run, base));
    }

    /// The commit that was made of what a run of a worker offered on `base`, as the branch was at `view`.
    pub fn made_of(&self, view: u8, base: u8, by: u8, run: u8) -> Option<u8> {
        let is_it = |commit: &u8| {
            let found = self.at(*commit);
            found.by == by && found.offered == Some((run, base))
        };
        (base.saturating_add(1)..=view).find(is_it)
    }

    pub fn add(&mut self, commit: Commit) -> u8 {
        self.commits.push(commit);
        u8::try_from(self.commits.len() - 1).expect("a model is small")
    }

    /// The pool after a commit, with the other one beside it.
    pub fn pool(&self, commit: u8) -> Pool {
        let other = self.pool_of("q", commit, ELSEWHERE..ELSEWHERE + 1);
        self.pool_of("p", commit, 0..self.locks).beside(vec![other])
    }

    fn pool_of(&self, name: &str, commit: u8, locks: Range<u8>) -> Pool {
        let claimed = self.at(commit).claimed;
        let folder = |is_claimed: bool| -> Vec<Named> {
            let is_here = |lock: &u8| (claimed & (1 << lock) != 0) == is_claimed;
            let locks = locks.clone().filter(is_here);
            let bare = |name: &'static str| name.rsplit('/').next().unwrap_or(name);
            let names = locks.map(|lock| bare(NAMES[usize::from(lock)]));
            let named = |name: &str| Named {
                name: name.as_bytes().to_vec(),
                entry: Entry {
                    mode: Mode::File,
                    id: blob_id(name.as_bytes()),
                },
            };
            names.chain([".gitkeep"]).map(named).collect()
        };
        let name = PoolName::new(name).expect("a name");
        Pool::new(name, &folder(true), &folder(false))
    }

    /// Whether the branch had a commit when it was at `view`.
    pub fn has(&self, view: u8, commit: u8) -> bool {
        commit <= view && commit < self.len
    }

    /// The locks that a commit claimed.
    pub fn claims(&self, commit: u8) -> u8 {
        let Commit {
            parent, claimed, ..
        } = self.at(commit);
        match parent {
            NONE => 0,
            parent => claimed & !self.at(parent).claimed,
        }
    }

    /// The commit by which a claim of a lock had ended when the branch was at `view`.
    pub fn end(&self, view: u8, lock: u8, claim: u8) -> Option<u8> {
        (claim..=view).find(|commit| self.at(*commit).claimed & (1 << lock) == 0)
    }

    /// What had become of a claim when the branch was at `view`; as `ledger::fate` tells it of a history.
    pub fn fate(&self, view: u8, lock: u8, claim: u8) -> Fate {
        if !self.has(view, claim) || self.claims(claim) & (1 << lock) == 0 {
            return Fate::NotAClaim;
        }
        match self.end(view, lock, claim) {
            None => Fate::Stands {
                last_sign: oid(claim),
            },
            Some(by) => Fate::Ended {
                by: oid(by),
                proven: self.at(by).shows == claim,
            },
        }
    }

    /// Which of these locks a claim had when the branch was at `view`.
    pub fn standing(&self, view: u8, locks: u8, claim: u8) -> u8 {
        each(locks)
            .filter(|lock| matches!(self.fate(view, *lock, claim), Fate::Stands { .. }))
            .fold(0, |all, lock| all | (1 << lock))
    }

    /// The claims that stood when the branch was at `view`, and their locks; the newest first.
    pub fn held(&self, view: u8) -> Vec<(u8, u8)> {
        let claims = (0..=view).rev();
        let held = claims.map(|claim| (claim, self.standing(view, self.claims(claim), claim)));
        held.filter(|(_, locks)| *locks != 0).collect()
    }
}

/// The locks of a set.
pub fn each(locks: u8) -> impl Iterator<Item = u8> {
    (0..8).filter(move |lock| locks & (1 << lock) != 0)
}

/// The names of a set.
pub fn names(locks: u8) -> Vec<LockName> {
    let name = |lock| LockName::read(NAMES[usize::from(lock)]).expect("a name");
    each(locks).map(name).collect()
}

/// The set with these names.
pub fn set(locks: &[LockName]) -> u8 {
    let bit = |lock: &LockName| NAMES.iter().position(|name| *name == lock.as_str());
    locks
        .iter()
        .filter_map(bit)
        .fold(0, |all, n| all | (1 << n))
}

/// The id of a commit.
pub fn oid(commit: u8) -> Oid {
    Oid::from_bytes(&[commit; 20]).expect("as long as an id is")
}

/// The commit of an id.
pub fn number(id: Oid) -> u8 {
    id.as_bytes()[0]
}

/// The claim that a commit is.
pub fn claim_id(commit: u8) -> ClaimId {
    ClaimId(oid(commit))
}

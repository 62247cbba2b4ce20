//! The rules: what a pool is at one commit, and what an operation may do to it.
//!
//! Pure: no I/O, no clock. [`decide()`] is the heart of the tool; everything else fetches what it asks for and carries
//! out what it says.

mod decide;

use std::collections::{BTreeMap, BTreeSet};

pub use decide::{claim_anew, decide, decide_each};

use crate::ledger::Fate;
use crate::lock::{self, ClaimId, Holding, LockName, PoolName};
use crate::message::Verb;
use crate::operation::Right;
use git::object::{Content, Edit, Entry, Mode, Named, Oid};

/// The file that keeps an empty folder in Git.
const KEEP: &str = ".gitkeep";

/// A pool at one commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    name: PoolName,
    locks: BTreeMap<LockName, State>,
    /// The folders that lack their `.gitkeep`.
    unkept: Vec<Holding>,
    /// The other pools of the branch that are spoken of with it, by their full names (see [`LockName`]).
    others: Vec<Pool>,
}

/// Where a lock is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Somebody holds it.
    Claimed(Entry),
    /// It is free.
    Unclaimed(Entry),
    /// Nobody can tell; it is never granted.
    Damaged(Damage),
}

/// What is wrong with a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// There is a file in both folders.
    InBoth {
        /// The mode that the free one has.
        mode: Mode,
    },
    /// A folder or a submodule stands where the lock's file would be.
    NotAFile(Holding),
}

/// What a decision may need to know besides the pool.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// How the claim that the operation is to prove ended, or that it did not, for each of its locks.
    pub fates: Option<BTreeMap<LockName, Fate>>,
    /// The locks whose metadata is as an acquire wants it; `None` when any will do.
    pub fitting: Option<BTreeSet<LockName>>,
    /// Whose turn it is.
    pub turn: Turn,
    /// Where locks of several pools are wanted: what there is to know of each part.
    pub each: Vec<Facts>,
    /// The pool that a lock is to be moved to, at the same commit.
    pub destination: Option<Pool>,
    /// Which locks whoever asks holds, and by which claims.
    pub own: Vec<(LockName, ClaimId)>,
    /// Which of the locks are held by somebody else, and by whom, where only those may be given back that are one's own.
    pub others: BTreeMap<LockName, String>,
}

/// Whether somebody in the line is to be served before us.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Turn {
    /// Nobody is, or there is no line: what is free may be taken.
    #[default]
    Open,
    /// These locks are ours to take.
    Ours(Vec<LockName>),
    /// What is free is for others.
    Theirs {
        /// How many of those before us want what we want.
        ahead: usize,
    },
}

/// What is to be done for an operation, given a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Make this commit.
    Change(Change),
    /// Nothing can be done now; look again when the branch has moved.
    Wait(Wait),
    /// What was asked for is so already.
    Done(Vec<LockName>, Since),
    /// Find out how this claim of these locks ended, and decide again.
    Ask(Vec<LockName>, ClaimId),
    /// It may not be done.
    Refuse(Refusal),
}

/// One commit's worth of change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What is done.
    pub verb: Verb,
    /// To which locks; at least one.
    pub locks: Vec<LockName>,
    /// The files that change.
    pub edits: Vec<Edit>,
    /// By what right.
    pub right: Right,
    /// The claims that it ends besides that of `right`, by the same right.
    pub also_ends: Vec<ClaimId>,
    /// Why, where that is to be said.
    pub reason: Option<String>,
    /// What could not be done besides, which is to be told once this has been.
    pub shortfall: Option<Refusal>,
}

/// Since which commit something is as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// The last one that touched the lock.
    LastTouch,
    /// The last one by which no lock was claimed: what is fetched of it goes on to be so.
    Settled,
    /// This one.
    Commit(Oid),
}

/// What an operation waits for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Wait {
    /// No lock is free.
    #[error("no lock is free: {} claimed{}", .claimed.len(), and_damaged(.damaged))]
    NoneFree {
        /// Those that are claimed.
        claimed: Vec<LockName>,
        /// Locks that cannot be granted until someone repairs them.
        damaged: Vec<LockName>,
    },
    /// Some locks are free, but fewer than are wanted.
    #[error("{free} of the {wanted} locks that are wanted are free: {} claimed", .claimed.len())]
    TooFewFree {
        /// How many are free.
        free: usize,
        /// How many are wanted.
        wanted: usize,
        /// Those that are claimed.
        claimed: Vec<LockName>,
    },
    /// What is free is for those who came before.
    #[error("{} free, for {} before us in line", locks_are(.free), waiters(*.ahead))]
    Turn {
        /// The locks that are free and that we could use.
        free: Vec<LockName>,
        /// How many of those before us want one of them.
        ahead: usize,
    },
    /// The lock is held.
    #[error("`{0}` is claimed")]
    Held(LockName),
    /// The lock is free.
    #[error("`{0}` is unclaimed")]
    Free(LockName),
    /// There is no such lock, but it may be about to be added.
    #[error("there is no lock `{lock}` yet{}", lock::or_meant(.like))]
    Missing {
        /// The lock.
        lock: LockName,
        /// Those that may have been meant.
        like: Vec<LockName>,
    },
}

/// Why an operation may not be done. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such lock.
    #[error("there is no lock `{lock}` in the pool `{pool}`{}", lock::or_meant(.like))]
    NoSuchLock {
        /// The lock.
        lock: LockName,
        /// The pool.
        pool: PoolName,
        /// Those that may have been meant.
        like: Vec<LockName>,
    },
    /// The lock is held, and only a free one can be moved.
    #[error("the lock `{lock}` is claimed, and only a free one can be moved")]
    Claimed {
        /// The lock.
        lock: LockName,
    },
    /// There is a lock of that name already where it is to be moved to.
    #[error("there is a lock `{lock}` in the pool `{pool}` already")]
    ThereAlready {
        /// The lock.
        lock: LockName,
        /// Where.
        pool: PoolName,
    },
    /// The lock is free, and only a claimed one can be released or removed.
    #[error("the lock `{0}` is not claimed")]
    NotClaimed(LockName),
    /// It exists already, as something else.
    #[error("the lock `{lock}` exists already: it is {}{}", .state.folder(), if *.same { "" } else { ", with other metadata" })]
    Exists {
        /// The lock.
        lock: LockName,
        /// The state it is in.
        state: Holding,
        /// Whether its metadata is what was to be added.
        same: bool,
    },
    /// It is damaged.
    #[error("the lock `{lock}` is damaged: {damage}")]
    Damaged {
        /// The lock.
        lock: LockName,
        /// How.
        damage: Damage,
    },
    /// The claim has ended, and the lock may be someone else's now.
    #[error(
        "the claim {claim} of `{lock}` has ended with the commit {ended}{}; nothing was changed",
        if *.held { ", and someone else holds it now" } else { "" }
    )]
    ClaimEnded {
        /// The lock.
        lock: LockName,
        /// The claim.
        claim: ClaimId,
        /// The commit by which it ended.
        ended: Oid,
        /// Whether there is a newer claim.
        held: bool,
    },
    /// The claim was taken for stale, and its holder has shown up since.
    #[error(
        "the claim {claim} of `{lock}` has been renewed with the commit {by}; nothing was changed"
    )]
    Renewed {
        /// The lock.
        lock: LockName,
        /// The claim.
        claim: ClaimId,
        /// The renewal.
        by: Oid,
    },
    /// There are not that many locks, claimed ones included.
    #[error("{wanted} wanted, and the pool `{pool}` has {}{}", locks_are_there(*.there), if *.conditions { " whose metadata is as `match` says" } else { "" })]
    NeverEnough {
        /// The pool.
        pool: PoolName,
        /// How many are wanted.
        wanted: usize,
        /// How many there are that would do.
        there: usize,
        /// Whether their metadata matters.
        conditions: bool,
    },
    /// It is somebody else's, and only what is one's own may be given back.
    #[error(
        "`{lock}` is held by {holder}, and not by this build; `release_only_own` is set, so nothing was changed"
    )]
    NotOwn {
        /// The lock.
        lock: LockName,
        /// Who holds it.
        holder: String,
    },
    /// Nobody could tell it from another one.
    #[error(
        "a new lock cannot be called `{0}`: its name has characters in it that are not seen, here shown by their numbers"
    )]
    Hidden(LockName),
    /// The claim never was one.
    #[error("{claim} is not a claim of `{lock}` on this branch; nothing was changed")]
    NotAClaim {
        /// The lock.
        lock: LockName,
        /// What was shown as a claim.
        claim: ClaimId,
    },
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Damage::InBoth { .. } => f.write_str(
                "it is in both claimed/ and unclaimed/; `remove` or `update` it, or take one of the two files away",
            ),
            Damage::NotAFile(holding) => write!(
                f,
                "something that is not a file stands in its place in {}/; take that away",
                holding.folder()
            ),
        }
    }
}

fn locks_are(locks: &[LockName]) -> String {
    match locks {
        [lock] => format!("`{lock}` is"),
        locks => format!("{} locks are", locks.len()),
    }
}

fn locks_are_there(n: usize) -> String {
    match n {
        0 => "none".to_owned(),
        1 => "one".to_owned(),
        n => format!("{n}"),
    }
}

fn waiters(n: usize) -> String {
    match n {
        1 => "the one".to_owned(),
        n => format!("the {n}"),
    }
}

fn and_damaged(locks: &[LockName]) -> String {
    if locks.is_empty() {
        return String::new();
    }
    // More would hide the rest of the message.
    const MOST: usize = 10;
    let names: Vec<String> = locks
        .iter()
        .take(MOST)
        .map(|lock| format!("`{lock}`"))
        .collect();
    let more = match locks.len() - names.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        ", and damaged (in both claimed/ and unclaimed/): {}{more}",
        names.join(", ")
    )
}

impl Wait {
    /// The same, where the locks are of the pool `its`, as it is said in `pool`.
    fn seen_from(self, its: &PoolName, pool: &PoolName) -> Wait {
        let all = |locks: Vec<LockName>| of(&locks, its, pool);
        match self {
            Wait::NoneFree { claimed, damaged } => Wait::NoneFree {
                claimed: all(claimed),
                damaged: all(damaged),
            },
            Wait::TooFewFree {
                free,
                wanted,
                claimed,
            } => Wait::TooFewFree {
                free,
                wanted,
                claimed: all(claimed),
            },
            Wait::Turn { free, ahead } => Wait::Turn {
                free: all(free),
                ahead,
            },
            Wait::Held(lock) => Wait::Held(lock.of(its, pool)),
            Wait::Free(lock) => Wait::Free(lock.of(its, pool)),
            Wait::Missing { lock, like } => Wait::Missing {
                lock: lock.of(its, pool),
                like: all(like),
            },
        }
    }

    /// The locks that somebody holds, and that are waited for.
    pub fn held(&self) -> &[LockName] {
        match self {
            Wait::NoneFree { claimed, .. } | Wait::TooFewFree { claimed, .. } => claimed,
            Wait::Held(lock) => std::slice::from_ref(lock),
            Wait::Free(_) | Wait::Missing { .. } | Wait::Turn { .. } => &[],
        }
    }
}

/// Locks of the pool `its`, as they are seen from `pool`.
fn of(locks: &[LockName], its: &PoolName, pool: &PoolName) -> Vec<LockName> {
    locks.iter().map(|lock| lock.of(its, pool)).collect()
}

impl Pool {
    /// Makes a pool of what its two folders have in them. Hidden files, and names that are no lock's, are left alone.
    pub fn new(name: PoolName, claimed: &[Named], unclaimed: &[Named]) -> Pool {
        let mut locks = BTreeMap::new();
        let mut unkept = Vec::new();
        for (holding, listing) in [(Holding::Claimed, claimed), (Holding::Unclaimed, unclaimed)] {
            if !listing.iter().any(|file| file.name == KEEP.as_bytes()) {
                unkept.push(holding);
            }
            for Named { name, entry } in listing {
                let lock = std::str::from_utf8(name)
                    .ok()
                    .and_then(|name| LockName::new(name).ok());
                let Some(lock) = lock else { continue };
                let state = match (locks.get(&lock), holding) {
                    _ if !entry.mode.is_blob() => State::Damaged(Damage::NotAFile(holding)),
                    (Some(State::Damaged(damage)), _) => State::Damaged(*damage),
                    (Some(_), _) => State::Damaged(Damage::InBoth { mode: entry.mode }),
                    (None, Holding::Claimed) => State::Claimed(*entry),
                    (None, Holding::Unclaimed) => State::Unclaimed(*entry),
                };
                locks.insert(lock, state);
            }
        }
        Pool {
            name,
            locks,
            unkept,
            others: Vec::new(),
        }
    }

    /// The same pool, with others that are spoken of at once.
    #[must_use]
    pub fn beside(self, others: Vec<Pool>) -> Pool {
        Pool { others, ..self }
    }

    /// This pool, or the one of those beside it that is called so.
    pub fn part(&self, name: &PoolName) -> Option<&Pool> {
        let mut all = std::iter::once(self).chain(&self.others);
        all.find(|pool| pool.name == *name)
    }

    /// Where the pool is.
    pub fn name(&self) -> &PoolName {
        &self.name
    }

    /// The locks in the order of their names.
    pub fn locks(&self) -> impl Iterator<Item = (&LockName, State)> {
        self.locks.iter().map(|(lock, state)| (lock, *state))
    }

    /// Where a lock is; `None` when there is none of this name.
    pub fn state(&self, lock: &LockName) -> Option<State> {
        match lock.pool() {
            None => self.locks.get(lock).copied(),
            Some(pool) => self.part(&pool)?.locks.get(&lock.bare()).copied(),
        }
    }

    /// A pool that is not there yet.
    pub fn missing_altogether(name: PoolName) -> Pool {
        Pool::new(name, &[], &[])
    }

    /// What makes the pool complete: its folders with what keeps them, and these locks, free, where there are none of
    /// their names. What is there stays as it is. Gives the locks that are new as well.
    pub fn completed(&self, locks: &BTreeMap<LockName, Content>) -> (Vec<Edit>, Vec<LockName>) {
        let mut edits = self.keeps();
        let new = locks.iter().filter(|(lock, _)| self.state(lock).is_none());
        let mut added = Vec::new();
        for (lock, content) in new {
            edits.push(self.write(Holding::Unclaimed, lock, Mode::File, content));
            added.push(lock.clone());
        }
        (edits, added)
    }

    /// Without its `.gitkeep` a folder is gone with its last lock, and tools that expect it fail.
    fn keeps(&self) -> Vec<Edit> {
        let missing = self.unkept.iter().map(|holding| Edit::Write {
            path: format!("{}/{KEEP}", self.name.folder(*holding)),
            mode: Mode::File,
            content: Content::new(Vec::new()),
        });
        missing
            .chain(self.others.iter().flat_map(Pool::keeps))
            .collect()
    }

    fn change(&self, verb: Verb, locks: &[LockName], mut edits: Vec<Edit>, right: Right) -> Change {
        edits.extend(self.keeps());
        Change {
            verb,
            locks: locks.to_vec(),
            edits,
            right,
            also_ends: Vec::new(),
            reason: None,
            shortfall: None,
        }
    }

    fn move_to(&self, to: Holding, moved: &[(&LockName, Entry)], right: Right) -> Change {
        let (from, verb) = match to {
            Holding::Claimed => (Holding::Unclaimed, Verb::Claiming),
            Holding::Unclaimed => (Holding::Claimed, Verb::Unclaiming),
        };
        let edits = moved.iter().flat_map(|(lock, entry)| {
            [
                Edit::Set {
                    path: self.name.file(to, lock),
                    entry: *entry,
                },
                Edit::Delete {
                    path: self.name.file(from, lock),
                },
            ]
        });
        let locks: Vec<LockName> = moved.iter().map(|(lock, _)| (*lock).clone()).collect();
        self.change(verb, &locks, edits.collect(), right)
    }

    fn add(&self, lock: &LockName, content: &Content, holding: Holding) -> Decision {
        if !lock.is_visible() {
            return Decision::Refuse(Refusal::Hidden(lock.clone()));
        }
        let verb = match holding {
            Holding::Claimed => Verb::AddingClaimed,
            Holding::Unclaimed => Verb::AddingUnclaimed,
        };
        Decision::Change(self.change(
            verb,
            std::slice::from_ref(lock),
            vec![self.write(holding, lock, Mode::File, content)],
            Right::Trust,
        ))
    }

    fn write(&self, holding: Holding, lock: &LockName, mode: Mode, content: &Content) -> Edit {
        let mode = if mode == Mode::Executable {
            mode
        } else {
            Mode::File
        };
        Edit::Write {
            path: self.name.file(holding, lock),
            mode,
            content: content.clone(),
        }
    }

    fn delete(&self, holding: Holding, lock: &LockName) -> Edit {
        Edit::Delete {
            path: self.name.file(holding, lock),
        }
    }

    fn missing(&self, lock: &LockName) -> Decision {
        Decision::Refuse(self.no_such_lock(lock))
    }

    /// That there is no such lock, and which one may have been meant.
    pub fn no_such_lock(&self, lock: &LockName) -> Refusal {
        let there = lock.pool().and_then(|pool| self.part(&pool));
        let there = there.unwrap_or(self);
        Refusal::NoSuchLock {
            lock: lock.bare(),
            pool: lock.pool().unwrap_or_else(|| self.name.clone()),
            like: there.like(&lock.bare()),
        }
    }

    /// The locks that may have been meant by a name that there is not.
    pub fn like(&self, lock: &LockName) -> Vec<LockName> {
        lock::meant(lock, self.locks.keys())
    }
}

#[cfg(test)]
mod tests;

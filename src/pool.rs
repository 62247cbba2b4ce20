//! The rules: what a pool is at one commit, and what an operation may do to it.
//!
//! Pure: no I/O, no clock. [`decide`] is the heart of the tool; everything else fetches what it asks for and carries
//! out what it says.

use std::collections::BTreeMap;

use crate::ledger::Fate;
use crate::lock::{ClaimId, Holding, LockName, PoolName};
use crate::message::Verb;
use crate::object::{Content, Edit, Entry, Mode, Named, Oid};
use crate::operation::Operation;

/// The file that keeps an empty folder in Git.
const KEEP: &str = ".gitkeep";

/// A pool at one commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    name: PoolName,
    locks: BTreeMap<LockName, State>,
    /// The folders that lack their `.gitkeep`.
    unkept: Vec<Holding>,
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

/// What a decision may need to know of the past.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Facts {
    /// How the claim ended that the operation is to prove, or that it did not.
    pub fate: Option<Fate>,
}

/// What is to be done for an operation, given a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Make this commit.
    Change(Change),
    /// Nothing can be done now; look again when the branch has moved.
    Wait(Wait),
    /// What was asked for is so already.
    Done(LockName, Since),
    /// Find out how this claim of this lock ended, and decide again.
    Ask(LockName, ClaimId),
    /// It may not be done.
    Refuse(Refusal),
}

/// One commit's worth of change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What is done.
    pub verb: Verb,
    /// To which lock.
    pub lock: LockName,
    /// The files that change.
    pub edits: Vec<Edit>,
    /// The claim that gives the right to do so, if one was shown.
    pub claim: Option<ClaimId>,
}

/// Since which commit something is as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// The last one that touched the lock.
    LastTouch,
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
    /// The lock is held.
    #[error("`{0}` is claimed")]
    Held(LockName),
    /// The lock is free.
    #[error("`{0}` is unclaimed")]
    Free(LockName),
    /// There is no such lock, but it may be about to be added.
    #[error("there is no lock `{0}` yet")]
    Missing(LockName),
}

/// Why an operation may not be done. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such lock.
    #[error("there is no lock `{lock}` in the pool `{pool}`")]
    NoSuchLock {
        /// The lock.
        lock: LockName,
        /// The pool.
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

fn and_damaged(locks: &[LockName]) -> String {
    if locks.is_empty() {
        return String::new();
    }
    let names: Vec<String> = locks.iter().map(|lock| format!("`{lock}`")).collect();
    format!(
        ", and damaged (in both claimed/ and unclaimed/): {}",
        names.join(", ")
    )
}

impl Wait {
    /// The locks that somebody holds, and that are waited for.
    pub fn held(&self) -> &[LockName] {
        match self {
            Wait::NoneFree { claimed, .. } => claimed,
            Wait::Held(lock) => std::slice::from_ref(lock),
            Wait::Free(_) | Wait::Missing(_) => &[],
        }
    }
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
        }
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
        self.locks.get(lock).copied()
    }

    fn change(
        &self,
        verb: Verb,
        lock: &LockName,
        mut edits: Vec<Edit>,
        claim: Option<ClaimId>,
    ) -> Decision {
        // Without its `.gitkeep` a folder is gone with its last lock, and tools that expect it fail.
        edits.extend(self.unkept.iter().map(|holding| Edit::Write {
            path: format!("{}/{KEEP}", self.name.folder(*holding)),
            mode: Mode::File,
            content: Content::new(Vec::new()),
        }));
        Decision::Change(Change {
            verb,
            lock: lock.clone(),
            edits,
            claim,
        })
    }

    fn move_to(
        &self,
        to: Holding,
        lock: &LockName,
        entry: Entry,
        claim: Option<ClaimId>,
    ) -> Decision {
        let (from, verb) = match to {
            Holding::Claimed => (Holding::Unclaimed, Verb::Claiming),
            Holding::Unclaimed => (Holding::Claimed, Verb::Unclaiming),
        };
        let edits = vec![
            Edit::Set {
                path: self.name.file(to, lock),
                entry,
            },
            Edit::Delete {
                path: self.name.file(from, lock),
            },
        ];
        self.change(verb, lock, edits, claim)
    }

    fn add(&self, lock: &LockName, content: &Content, holding: Holding) -> Decision {
        let verb = match holding {
            Holding::Claimed => Verb::AddingClaimed,
            Holding::Unclaimed => Verb::AddingUnclaimed,
        };
        self.change(
            verb,
            lock,
            vec![self.write(holding, lock, Mode::File, content)],
            None,
        )
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
        Decision::Refuse(Refusal::NoSuchLock {
            lock: lock.clone(),
            pool: self.name.clone(),
        })
    }
}

/// Says what is to be done for `operation` on `pool`.
///
/// `facts` has what an earlier [`Decision::Ask`] asked for. `draw` is any number; it picks one of the free locks, so
/// that several who acquire at once seldom want the same.
pub fn decide(pool: &Pool, operation: &Operation, facts: &Facts, draw: u64) -> Decision {
    if let Some((lock, claim)) = operation.claim_to_prove() {
        let Some(fate) = facts.fate else {
            return Decision::Ask(lock.clone(), claim);
        };
        if let Some(verdict) = without_claim(pool, operation, lock, claim, fate) {
            return verdict;
        }
    }
    match operation {
        Operation::Acquire => acquire(pool, draw),
        Operation::Claim(lock) => match pool.state(lock) {
            Some(State::Unclaimed(entry)) => pool.move_to(Holding::Claimed, lock, entry, None),
            Some(State::Claimed(_)) => Decision::Wait(Wait::Held(lock.clone())),
            Some(State::Damaged(damage)) => refuse_damaged(lock, damage),
            None => Decision::Wait(Wait::Missing(lock.clone())),
        },
        Operation::Release { lock, claim } => match pool.state(lock) {
            Some(State::Claimed(entry)) => pool.move_to(Holding::Unclaimed, lock, entry, *claim),
            Some(State::Unclaimed(_)) => Decision::Refuse(Refusal::NotClaimed(lock.clone())),
            Some(State::Damaged(damage)) => refuse_damaged(lock, damage),
            None => pool.missing(lock),
        },
        Operation::Add {
            lock,
            content,
            holding,
        } => {
            let (state, entry) = match pool.state(lock) {
                None => return pool.add(lock, content, *holding),
                Some(State::Damaged(damage)) => return refuse_damaged(lock, damage),
                Some(State::Claimed(entry)) => (Holding::Claimed, entry),
                Some(State::Unclaimed(entry)) => (Holding::Unclaimed, entry),
            };
            let same = entry.id == content.id();
            if same && state == *holding {
                Decision::Done(lock.clone(), Since::LastTouch)
            } else {
                Decision::Refuse(Refusal::Exists {
                    lock: lock.clone(),
                    state,
                    same,
                })
            }
        }
        Operation::Remove { lock, claim } => match pool.state(lock) {
            Some(State::Claimed(_)) => pool.change(
                Verb::Removing,
                lock,
                vec![pool.delete(Holding::Claimed, lock)],
                *claim,
            ),
            Some(State::Damaged(Damage::InBoth { .. })) => {
                let both = [Holding::Claimed, Holding::Unclaimed]
                    .map(|holding| pool.delete(holding, lock));
                pool.change(Verb::Removing, lock, both.into(), *claim)
            }
            Some(State::Unclaimed(_)) => Decision::Refuse(Refusal::NotClaimed(lock.clone())),
            Some(State::Damaged(damage)) => refuse_damaged(lock, damage),
            None => pool.missing(lock),
        },
        Operation::Update {
            lock,
            content,
            claim,
        } => update(pool, lock, content, *claim),
        Operation::AwaitUnclaimed(lock) => match pool.state(lock) {
            Some(State::Unclaimed(_)) => Decision::Done(lock.clone(), Since::LastTouch),
            Some(State::Claimed(_)) => Decision::Wait(Wait::Held(lock.clone())),
            Some(State::Damaged(damage)) => refuse_damaged(lock, damage),
            None => pool.missing(lock),
        },
        Operation::AwaitClaimed(lock) => match pool.state(lock) {
            Some(State::Claimed(_)) => Decision::Done(lock.clone(), Since::LastTouch),
            Some(State::Unclaimed(_)) => Decision::Wait(Wait::Free(lock.clone())),
            Some(State::Damaged(damage)) => refuse_damaged(lock, damage),
            None => pool.missing(lock),
        },
    }
}

/// The answer for one whose claim does not stand; `None` when it does.
fn without_claim(
    pool: &Pool,
    operation: &Operation,
    lock: &LockName,
    claim: ClaimId,
    fate: Fate,
) -> Option<Decision> {
    let state = pool.state(lock);
    match fate {
        Fate::Stands => None,
        Fate::NotAClaim => Some(Decision::Refuse(Refusal::NotAClaim {
            lock: lock.clone(),
            claim,
        })),
        // Whoever ended it showed this very claim: it was us, in an earlier run. What is to be removed must be gone.
        Fate::Ended { by, proven: true }
            if matches!(operation, Operation::Release { .. })
                || (matches!(operation, Operation::Remove { .. }) && state.is_none()) =>
        {
            Some(Decision::Done(lock.clone(), Since::Commit(by)))
        }
        // Someone else released it for us, which is what was wanted.
        Fate::Ended { by, .. }
            if matches!(operation, Operation::Release { .. })
                && matches!(state, Some(State::Unclaimed(_))) =>
        {
            Some(Decision::Done(lock.clone(), Since::Commit(by)))
        }
        Fate::Ended { by, .. } => Some(Decision::Refuse(Refusal::ClaimEnded {
            lock: lock.clone(),
            claim,
            ended: by,
            held: matches!(state, Some(State::Claimed(_))),
        })),
    }
}

fn acquire(pool: &Pool, draw: u64) -> Decision {
    let free: Vec<(&LockName, Entry)> = pool
        .locks()
        .filter_map(|(lock, state)| match state {
            State::Unclaimed(entry) => Some((lock, entry)),
            State::Claimed(_) | State::Damaged(_) => None,
        })
        .collect();
    // A usize holds at most 64 bits, and the remainder is smaller than the length.
    let pick = draw
        .checked_rem(free.len() as u64)
        .map(|pick| free[pick as usize]);
    match pick {
        Some((lock, entry)) => pool.move_to(Holding::Claimed, lock, entry, None),
        None => Decision::Wait(Wait::NoneFree {
            claimed: pool
                .locks()
                .filter(|(_, state)| matches!(state, State::Claimed(_)))
                .map(|(lock, _)| lock.clone())
                .collect(),
            damaged: pool
                .locks()
                .filter(|(_, state)| matches!(state, State::Damaged(Damage::InBoth { .. })))
                .map(|(lock, _)| lock.clone())
                .collect(),
        }),
    }
}

fn update(pool: &Pool, lock: &LockName, content: &Content, claim: Option<ClaimId>) -> Decision {
    let (holding, entry) = match pool.state(lock) {
        None => return pool.add(lock, content, Holding::Unclaimed),
        Some(State::Unclaimed(entry)) => (Holding::Unclaimed, entry),
        // The holder may change what it holds.
        Some(State::Claimed(entry)) if claim.is_some() => (Holding::Claimed, entry),
        Some(State::Claimed(_)) => return Decision::Wait(Wait::Held(lock.clone())),
        Some(State::Damaged(Damage::InBoth { mode })) => {
            let edits = vec![
                pool.write(Holding::Unclaimed, lock, mode, content),
                pool.delete(Holding::Claimed, lock),
            ];
            return pool.change(Verb::Updating, lock, edits, claim);
        }
        Some(State::Damaged(damage)) => return refuse_damaged(lock, damage),
    };
    if entry.id == content.id() {
        return Decision::Done(lock.clone(), Since::LastTouch);
    }
    pool.change(
        Verb::Updating,
        lock,
        vec![pool.write(holding, lock, entry.mode, content)],
        claim,
    )
}

fn refuse_damaged(lock: &LockName, damage: Damage) -> Decision {
    Decision::Refuse(Refusal::Damaged {
        lock: lock.clone(),
        damage,
    })
}

#[cfg(test)]
mod tests;

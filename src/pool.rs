//! The rules: what a pool is at one commit, and what an operation may do to it.
//!
//! Pure: no I/O, no clock. [`decide`] is the heart of the tool; everything else fetches what it asks for and carries
//! out what it says.

use std::collections::{BTreeMap, BTreeSet};

use crate::ledger::Fate;
use crate::lock::{ClaimId, Holding, LockName, PoolName};
use crate::message::Verb;
use crate::object::{Content, Edit, Entry, Mode, Named, Oid};
use crate::operation::{Operation, Right, Want};

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

/// What a decision may need to know besides the pool.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// How the claim that the operation is to prove ended, or that it did not, for each of its locks.
    pub fates: Option<BTreeMap<LockName, Fate>>,
    /// The locks whose metadata is as an acquire wants it; `None` when any will do.
    pub fitting: Option<BTreeSet<LockName>>,
    /// Whose turn it is.
    pub turn: Turn,
    /// The pool that a lock is to be moved to, at the same commit.
    pub destination: Option<Pool>,
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
    /// The locks that somebody holds, and that are waited for.
    pub fn held(&self) -> &[LockName] {
        match self {
            Wait::NoneFree { claimed, .. } | Wait::TooFewFree { claimed, .. } => claimed,
            Wait::Held(lock) => std::slice::from_ref(lock),
            Wait::Free(_) | Wait::Missing(_) | Wait::Turn { .. } => &[],
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
        missing.collect()
    }

    fn change(&self, verb: Verb, locks: &[LockName], mut edits: Vec<Edit>, right: Right) -> Change {
        edits.extend(self.keeps());
        Change {
            verb,
            locks: locks.to_vec(),
            edits,
            right,
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
        Decision::Refuse(Refusal::NoSuchLock {
            lock: lock.clone(),
            pool: self.name.clone(),
        })
    }
}

/// Says what is to be done for `operation` on `pool`.
///
/// `facts` has what an earlier [`Decision::Ask`] asked for, and whose turn it is. `draw` is any number; where the turn is
/// open it picks among the free locks, so that several who acquire at once seldom want the same.
pub fn decide(pool: &Pool, operation: &Operation, facts: &Facts, draw: u64) -> Decision {
    if let Some((locks, claim)) = operation.claim_to_prove() {
        let Some(fates) = &facts.fates else {
            return Decision::Ask(locks.to_vec(), claim);
        };
        let fate = |lock: &LockName| fates.get(lock).copied().unwrap_or(Fate::NotAClaim);
        let without_right =
            |lock: &LockName| without_right(pool, operation, lock, claim, fate(lock));
        if let Operation::Release { right, reason, .. } = operation {
            return release(pool, locks, *right, reason.as_deref(), without_right);
        }
        let verdicts = locks.iter().filter_map(without_right);
        if let Some(verdict) = verdicts.into_iter().next() {
            return verdict;
        }
    }
    match operation {
        Operation::Acquire(want) => acquire(pool, want, facts, draw),
        Operation::Claim(lock) => match pool.state(lock) {
            Some(State::Unclaimed(entry)) => when_it_is_our_turn(lock, &facts.turn, || {
                Decision::Change(pool.move_to(Holding::Claimed, &[(lock, entry)], Right::Trust))
            }),
            Some(State::Claimed(_)) => Decision::Wait(Wait::Held(lock.clone())),
            Some(State::Damaged(damage)) => refuse_damaged(lock, damage),
            None => Decision::Wait(Wait::Missing(lock.clone())),
        },
        Operation::Release {
            locks,
            right,
            reason,
        } => release(pool, locks, *right, reason.as_deref(), |_| None),
        // The tree stays as it is, even where a folder lacks its `.gitkeep`: that is how a renewal is known.
        Operation::Renew { locks, claim } => Decision::Change(Change {
            verb: Verb::Renewing,
            locks: locks.clone(),
            edits: Vec::new(),
            right: Right::Claim(*claim),
            reason: None,
            shortfall: None,
        }),
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
            // A lock that is held is somebody's: who adds one as held must not be given his claim.
            if same && state == *holding && state == Holding::Unclaimed {
                Decision::Done(vec![lock.clone()], Since::LastTouch)
            } else {
                Decision::Refuse(Refusal::Exists {
                    lock: lock.clone(),
                    state,
                    same,
                })
            }
        }
        Operation::Remove { lock, claim } => match pool.state(lock) {
            Some(State::Claimed(_)) => Decision::Change(pool.change(
                Verb::Removing,
                std::slice::from_ref(lock),
                vec![pool.delete(Holding::Claimed, lock)],
                Right::of(*claim),
            )),
            Some(State::Damaged(Damage::InBoth { .. })) => {
                let both = [Holding::Claimed, Holding::Unclaimed]
                    .map(|holding| pool.delete(holding, lock));
                Decision::Change(pool.change(
                    Verb::Removing,
                    std::slice::from_ref(lock),
                    both.into(),
                    Right::of(*claim),
                ))
            }
            Some(State::Unclaimed(_)) => Decision::Refuse(Refusal::NotClaimed(lock.clone())),
            Some(State::Damaged(damage)) => refuse_damaged(lock, damage),
            None => pool.missing(lock),
        },
        Operation::Update {
            lock,
            content,
            claim,
        } => update(pool, lock, content, *claim, &facts.turn),
        Operation::Move { lock, to } => move_to_pool(pool, lock, to, facts.destination.as_ref()),
        Operation::AwaitUnclaimed(lock) => match pool.state(lock) {
            Some(State::Unclaimed(_)) => Decision::Done(vec![lock.clone()], Since::LastTouch),
            Some(State::Claimed(_)) => Decision::Wait(Wait::Held(lock.clone())),
            Some(State::Damaged(damage)) => refuse_damaged(lock, damage),
            None => pool.missing(lock),
        },
        Operation::AwaitClaimed(lock) => match pool.state(lock) {
            Some(State::Claimed(_)) => Decision::Done(vec![lock.clone()], Since::LastTouch),
            Some(State::Unclaimed(_)) => Decision::Wait(Wait::Free(lock.clone())),
            Some(State::Damaged(damage)) => refuse_damaged(lock, damage),
            None => pool.missing(lock),
        },
    }
}

/// The answer for one whose claim does not stand, or not as he saw it; `None` when it does.
fn without_right(
    pool: &Pool,
    operation: &Operation,
    lock: &LockName,
    claim: ClaimId,
    fate: Fate,
) -> Option<Decision> {
    let state = pool.state(lock);
    let stale_since = match operation {
        Operation::Release {
            right: Right::Stale { last_sign, .. },
            ..
        } => Some(*last_sign),
        _ => None,
    };
    match fate {
        Fate::Stands { last_sign } if stale_since.is_some_and(|since| since != last_sign) => {
            Some(Decision::Refuse(Refusal::Renewed {
                lock: lock.clone(),
                claim,
                by: last_sign,
            }))
        }
        Fate::Stands { .. } => None,
        Fate::NotAClaim => Some(Decision::Refuse(Refusal::NotAClaim {
            lock: lock.clone(),
            claim,
        })),
        // It was not ours, so that there is nothing that we could have done already.
        Fate::Ended { by, .. } if stale_since.is_some() => {
            Some(Decision::Refuse(Refusal::ClaimEnded {
                lock: lock.clone(),
                claim,
                ended: by,
                held: matches!(state, Some(State::Claimed(_))),
            }))
        }
        // Whoever ended it showed this very claim: it was us, in an earlier run. What is to be removed must be gone.
        Fate::Ended { by, proven: true }
            if matches!(operation, Operation::Release { .. })
                || (matches!(operation, Operation::Remove { .. }) && state.is_none()) =>
        {
            Some(Decision::Done(vec![lock.clone()], Since::Commit(by)))
        }
        // Someone else released it for us, which is what was wanted.
        Fate::Ended { by, .. }
            if matches!(operation, Operation::Release { .. })
                && matches!(state, Some(State::Unclaimed(_))) =>
        {
            Some(Decision::Done(vec![lock.clone()], Since::Commit(by)))
        }
        Fate::Ended { by, .. } => Some(Decision::Refuse(Refusal::ClaimEnded {
            lock: lock.clone(),
            claim,
            ended: by,
            held: matches!(state, Some(State::Claimed(_))),
        })),
    }
}

/// Frees those of the locks for which `verdict` has none; what it says of the others comes after that.
fn release(
    pool: &Pool,
    locks: &[LockName],
    right: Right,
    reason: Option<&str>,
    verdict: impl Fn(&LockName) -> Option<Decision>,
) -> Decision {
    let mut freed = Vec::new();
    let mut done: Option<Decision> = None;
    let mut refused = None;
    for lock in locks {
        let decision = verdict(lock).unwrap_or_else(|| match pool.state(lock) {
            Some(State::Claimed(entry)) => {
                freed.push((lock, entry));
                Decision::Done(Vec::new(), Since::LastTouch)
            }
            Some(State::Unclaimed(_)) => Decision::Refuse(Refusal::NotClaimed(lock.clone())),
            Some(State::Damaged(damage)) => refuse_damaged(lock, damage),
            None => pool.missing(lock),
        });
        match decision {
            Decision::Refuse(refusal) => refused = refused.or(Some(refusal)),
            Decision::Done(locks, since) => match &mut done {
                Some(Decision::Done(all, _)) => all.extend(locks),
                _ => done = Some(Decision::Done(locks, since)),
            },
            other => return other,
        }
    }
    if !freed.is_empty() {
        let mut change = pool.move_to(Holding::Unclaimed, &freed, right);
        change.reason = reason.map(str::to_owned);
        change.shortfall = refused;
        return Decision::Change(change);
    }
    match (refused, done) {
        (None, Some(done)) => done,
        (Some(refusal), _) => Decision::Refuse(refusal),
        (None, None) => Decision::Done(Vec::new(), Since::LastTouch),
    }
}

/// Takes a free lock to another pool. Its subject is that of an addition, which is what whoever reads the other pool's
/// versions has to know of it; the versions of this one are read from the tree, in which the lock is gone.
fn move_to_pool(
    pool: &Pool,
    lock: &LockName,
    to: &PoolName,
    destination: Option<&Pool>,
) -> Decision {
    let entry = match pool.state(lock) {
        Some(State::Unclaimed(entry)) => entry,
        Some(State::Claimed(_)) => {
            return Decision::Refuse(Refusal::Claimed { lock: lock.clone() });
        }
        Some(State::Damaged(damage)) => return refuse_damaged(lock, damage),
        None => return pool.missing(lock),
    };
    let there = destination.is_some_and(|pool| pool.state(lock).is_some());
    if there || *to == pool.name {
        return Decision::Refuse(Refusal::ThereAlready {
            lock: lock.clone(),
            pool: to.clone(),
        });
    }
    let mut edits = vec![
        Edit::Set {
            path: to.file(Holding::Unclaimed, lock),
            entry,
        },
        pool.delete(Holding::Unclaimed, lock),
    ];
    edits.extend(destination.map(Pool::keeps).unwrap_or_default());
    let locks = std::slice::from_ref(lock);
    let mut change = pool.change(Verb::AddingUnclaimed, locks, edits, Right::Trust);
    change.reason = Some(format!("moved from the pool {} to {to}", pool.name));
    Decision::Change(change)
}

fn acquire(pool: &Pool, want: &Want, facts: &Facts, draw: u64) -> Decision {
    let fits = |lock: &LockName| {
        let fitting = facts.fitting.as_ref();
        fitting.is_none_or(|fitting| fitting.contains(lock))
    };
    let mut free: Vec<(&LockName, Entry)> = Vec::new();
    let (mut claimed, mut damaged) = (Vec::new(), Vec::new());
    for (lock, state) in pool.locks().filter(|(lock, _)| fits(lock)) {
        match state {
            State::Unclaimed(entry) => free.push((lock, entry)),
            State::Claimed(_) => claimed.push(lock.clone()),
            State::Damaged(Damage::InBoth { .. }) => damaged.push(lock.clone()),
            State::Damaged(Damage::NotAFile(_)) => {}
        }
    }
    for lock in &want.among {
        match pool.state(lock) {
            None => return pool.missing(lock),
            Some(State::Damaged(damage)) => return refuse_damaged(lock, damage),
            Some(State::Claimed(_) | State::Unclaimed(_)) => {}
        }
    }
    let wanted = want.count.get();
    let there = free.len() + claimed.len() + damaged.len();
    let conditions = !want.conditions.is_empty();
    // A pool that is empty may be about to be filled; one with locks that will not do would be waited for in vain.
    if there < wanted && (conditions || wanted > 1) {
        return Decision::Refuse(Refusal::NeverEnough {
            pool: pool.name.clone(),
            wanted,
            there,
            conditions,
        });
    }
    let taken: Vec<(&LockName, Entry)> = match &facts.turn {
        Turn::Ours(ours) => {
            free.retain(|(lock, _)| ours.contains(lock));
            free
        }
        Turn::Theirs { ahead } if !free.is_empty() => {
            return Decision::Wait(Wait::Turn {
                free: free.into_iter().map(|(lock, _)| lock.clone()).collect(),
                ahead: *ahead,
            });
        }
        Turn::Open | Turn::Theirs { .. } if free.len() < wanted => free,
        Turn::Open | Turn::Theirs { .. } => {
            // A usize holds at most 64 bits, and the remainder is smaller than the length.
            let first = draw.checked_rem(free.len() as u64).unwrap_or_default() as usize;
            free.rotate_left(first);
            free.truncate(wanted);
            free.sort_by_key(|(lock, _)| *lock);
            free
        }
    };
    if taken.len() >= wanted {
        return Decision::Change(pool.move_to(Holding::Claimed, &taken, Right::Trust));
    }
    Decision::Wait(if taken.is_empty() {
        Wait::NoneFree { claimed, damaged }
    } else {
        Wait::TooFewFree {
            free: taken.len(),
            wanted,
            claimed,
        }
    })
}

fn update(
    pool: &Pool,
    lock: &LockName,
    content: &Content,
    claim: Option<ClaimId>,
    turn: &Turn,
) -> Decision {
    let locks = std::slice::from_ref(lock);
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
            return Decision::Change(pool.change(Verb::Updating, locks, edits, Right::of(claim)));
        }
        Some(State::Damaged(damage)) => return refuse_damaged(lock, damage),
    };
    if entry.id == content.id() {
        return Decision::Done(vec![lock.clone()], Since::LastTouch);
    }
    let change = || {
        let edits = vec![pool.write(holding, lock, entry.mode, content)];
        Decision::Change(pool.change(Verb::Updating, locks, edits, Right::of(claim)))
    };
    match holding {
        Holding::Claimed => change(),
        Holding::Unclaimed => when_it_is_our_turn(lock, turn, change),
    }
}

/// The two changes by which a claim that stands makes way for a new one of the same locks: its end, and the new claim.
///
/// # Errors
/// [`Refusal`] when one of the locks is damaged, or not held.
pub fn claim_anew(
    pool: &Pool,
    operation: &Operation,
    locks: &[LockName],
    claim: ClaimId,
) -> Result<[Change; 2], Refusal> {
    let held = locks.iter().map(|lock| match pool.state(lock) {
        Some(State::Claimed(entry)) => Ok((lock, entry)),
        Some(State::Damaged(damage)) => Err(Refusal::Damaged {
            lock: lock.clone(),
            damage,
        }),
        Some(State::Unclaimed(_)) | None => Err(Refusal::NotClaimed(lock.clone())),
    });
    let held: Vec<(&LockName, Entry)> = held.collect::<Result<_, _>>()?;
    if !matches!(operation, Operation::Add { .. }) {
        return Ok([
            pool.move_to(Holding::Unclaimed, &held, Right::Claim(claim)),
            pool.move_to(Holding::Claimed, &held, Right::Trust),
        ]);
    }
    let remove = held
        .iter()
        .map(|(lock, _)| pool.delete(Holding::Claimed, lock));
    let add = held.iter().map(|(lock, entry)| Edit::Set {
        path: pool.name.file(Holding::Claimed, lock),
        entry: *entry,
    });
    Ok([
        pool.change(Verb::Removing, locks, remove.collect(), Right::Claim(claim)),
        pool.change(Verb::AddingClaimed, locks, add.collect(), Right::Trust),
    ])
}

fn when_it_is_our_turn(lock: &LockName, turn: &Turn, act: impl FnOnce() -> Decision) -> Decision {
    match turn {
        Turn::Theirs { ahead } => Decision::Wait(Wait::Turn {
            free: vec![lock.clone()],
            ahead: *ahead,
        }),
        Turn::Open | Turn::Ours(_) => act(),
    }
}

fn refuse_damaged(lock: &LockName, damage: Damage) -> Decision {
    Decision::Refuse(Refusal::Damaged {
        lock: lock.clone(),
        damage,
    })
}

#[cfg(test)]
mod tests;

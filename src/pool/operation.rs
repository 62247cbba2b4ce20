//! What can be asked of a pool: exactly one thing, with what it needs and nothing else.

use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZeroUsize;

use crate::lock::{ClaimId, Holding, LockName, PoolName};
use git::object::{Content, Oid};

/// Which locks an acquire will do with, and how many of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Want {
    /// How many; all of them or none.
    pub count: NonZeroUsize,
    /// Whether it is every lock that will do instead, however many there are.
    pub all: bool,
    /// What each lock's metadata must say.
    pub conditions: Vec<Condition>,
    /// The only locks that will do; empty where any will.
    pub among: Vec<LockName>,
}

impl Want {
    /// Exactly these locks, all of them or none.
    pub fn exactly(mut locks: Vec<LockName>) -> Want {
        locks.sort();
        locks.dedup();
        Want {
            count: NonZeroUsize::new(locks.len()).unwrap_or(NonZeroUsize::MIN),
            all: false,
            conditions: Vec::new(),
            among: locks,
        }
    }

    /// What its locks must be like, on one line.
    pub fn told(&self) -> String {
        if self.conditions.is_empty() {
            return "any".to_owned();
        }
        let told = self.conditions.iter();
        let told = told.map(Condition::to_string);
        told.collect::<Vec<_>>().join(", ")
    }

    /// Whether any lock will do.
    pub fn takes_any(&self) -> bool {
        self.conditions.is_empty() && self.among.is_empty()
    }
}

/// What is wanted of one pool, where locks of several pools are wanted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Part {
    /// The pool.
    pub pool: PoolName,
    /// Which of its locks.
    pub want: Want,
}

/// One thing that a lock's metadata must say.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Condition {
    /// Keys that lead to a value, with dots between them.
    pub path: String,
    /// The value.
    pub value: Wanted,
}

/// A value that a lock's metadata must have.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// A text: just what stands there.
    Text(String),
    /// A number, as it is written; any that has its value.
    Number(String),
    /// True or false.
    Switch(bool),
    /// One of these values, each of one of the kinds above.
    OneOf(Vec<Wanted>),
    /// At least one of these is true. The condition has no path of its own.
    AnyOf(Vec<Test>),
    /// None of these is true. The condition has no path of its own.
    NoneOf(Vec<Test>),
}

/// Something that is true of a lock, or not.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Test {
    /// It is called so.
    Named(LockName),
    /// Its metadata says all of this.
    All(Vec<Condition>),
}

impl Condition {
    /// Whether it is one value at one path, and nothing more.
    pub fn is_plain(&self) -> bool {
        matches!(
            self.value,
            Wanted::Text(_) | Wanted::Number(_) | Wanted::Switch(_)
        )
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => self.value.fmt(f),
            path => write!(f, "{path}={}", self.value),
        }
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Test::Named(lock) => lock.fmt(f),
            Test::All(conditions) => listed(f, conditions, " and "),
        }
    }
}

fn listed<T: fmt::Display>(f: &mut fmt::Formatter<'_>, parts: &[T], between: &str) -> fmt::Result {
    for (n, part) in parts.iter().enumerate() {
        if n > 0 {
            f.write_str(between)?;
        }
        part.fmt(f)?;
    }
    Ok(())
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wanted::Text(text) | Wanted::Number(text) => f.write_str(text),
            Wanted::Switch(on) => on.fmt(f),
            Wanted::OneOf(values) => listed(f, values, "|"),
            Wanted::AnyOf(tests) => {
                f.write_str("any of (")?;
                listed(f, tests, ", ")?;
                f.write_str(")")
            }
            Wanted::NoneOf(tests) => {
                f.write_str("none of (")?;
                listed(f, tests, ", ")?;
                f.write_str(")")
            }
        }
    }
}

impl Default for Want {
    /// Any one lock.
    fn default() -> Want {
        Want {
            count: NonZeroUsize::MIN,
            all: false,
            conditions: Vec::new(),
            among: Vec::new(),
        }
    }
}

/// By what right locks are freed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// On trust: whoever asks knows what he does.
    Trust,
    /// The caller says that this claim is his: only while it stands.
    Claim(ClaimId),
    /// Nobody will give the claim back any more, as far as can be seen: only while it stands, and only while its holder
    /// has shown no sign of life since.
    Stale {
        /// The claim.
        claim: ClaimId,
        /// The commit by which its holder last showed to be there (see [`crate::ledger::Held::last_sign`]).
        last_sign: Oid,
    },
    /// An operator takes it from its holder, and knows what he does: only while this claim stands as he saw it.
    Operator {
        /// The claim.
        claim: ClaimId,
        /// As in [`Right::Stale`].
        last_sign: Oid,
    },
}

impl Right {
    /// That of whoever shows this claim, if he shows one.
    pub fn of(claim: Option<ClaimId>) -> Right {
        claim.map_or(Right::Trust, Right::Claim)
    }

    /// The claim that it depends on.
    pub fn claim(self) -> Option<ClaimId> {
        match self {
            Right::Trust => None,
            Right::Claim(claim) | Right::Stale { claim, .. } | Right::Operator { claim, .. } => {
                Some(claim)
            }
        }
    }
}

/// One request to a pool, as one run of `out` carries it out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Claims any free locks that will do, all in one commit, waiting until there are enough.
    Acquire(Want),
    /// The same in each of several pools: all of it in one commit, or nothing. The first is the pool that is spoken of; none
    /// comes twice.
    AcquireEach(Vec<Part>),
    /// Claims this lock, waiting until it is free.
    Claim(LockName),
    /// Frees claimed locks.
    Release {
        /// Which locks; at least one.
        locks: Vec<LockName>,
        /// By what right.
        right: Right,
        /// Why, where the locks are somebody else's: an operator's words, or the evidence. It goes into the commit.
        reason: Option<String>,
    },
    /// Frees all locks that whoever asks holds by whatever claims. Nothing held is as good.
    ReleaseOwn,
    /// Shows that the holder of a claim is still there, so that its lease begins anew. Changes no file.
    Renew {
        /// The locks of the claim that he still holds; at least one.
        locks: Vec<LockName>,
        /// The claim; only while it stands.
        claim: ClaimId,
    },
    /// Puts a new lock into the pool.
    Add {
        /// Its name.
        lock: LockName,
        /// Its metadata.
        content: Content,
        /// Whether it starts free or held.
        holding: Holding,
    },
    /// Takes a claimed lock out of the pool. With a claim: only while that claim stands.
    Remove {
        /// Which lock.
        lock: LockName,
        /// The claim that the caller says is his.
        claim: Option<ClaimId>,
    },
    /// Gives a free lock new metadata, waiting while it is held; adds it when there is none. With a claim: changes
    /// the held lock in place, only while that claim stands.
    Update {
        /// Which lock.
        lock: LockName,
        /// Its new metadata.
        content: Content,
        /// The claim that the caller says is his.
        claim: Option<ClaimId>,
    },
    /// Takes a free lock to another pool, where it is free as well.
    Move {
        /// Which lock.
        lock: LockName,
        /// Where to.
        to: PoolName,
    },
    /// Waits until the lock is free; changes nothing.
    AwaitUnclaimed(LockName),
    /// Waits until the lock is held; changes nothing.
    AwaitClaimed(LockName),
}

impl Operation {
    /// Whether a claim of exactly these locks of a pool is what is asked for. `fits` tells whether a lock's metadata is as
    /// wanted.
    pub fn is_answered_by<'p>(
        &self,
        locks: &[LockName],
        mut pool: impl Iterator<Item = &'p LockName>,
        fits: impl Fn(&Want, &LockName) -> bool,
    ) -> bool {
        match self {
            Operation::Acquire(want) if want.all => {
                // All of now, whatever it was when it was claimed.
                !locks.is_empty()
                    && locks.iter().all(|lock| fits(want, lock))
                    && pool.all(|lock| locks.contains(lock) || !fits(want, lock))
            }
            Operation::Acquire(want) => {
                locks.len() == want.count.get() && locks.iter().all(|lock| fits(want, lock))
            }
            Operation::Claim(lock)
            | Operation::Add {
                lock,
                holding: Holding::Claimed,
                ..
            } => locks == std::slice::from_ref(lock),
            _ => false,
        }
    }

    /// What is wanted of each pool, where it is of several.
    pub fn parts(&self) -> &[Part] {
        match self {
            Operation::AcquireEach(parts) => parts,
            _ => &[],
        }
    }

    /// The other pools that it is about, besides the one that is spoken of; each of them once.
    pub fn other_pools(&self) -> BTreeSet<PoolName> {
        match self {
            Operation::AcquireEach(parts) => {
                let others = parts.iter().skip(1);
                others.map(|part| part.pool.clone()).collect()
            }
            Operation::Release { locks, .. } | Operation::Renew { locks, .. } => {
                locks.iter().filter_map(LockName::pool).collect()
            }
            _ => BTreeSet::new(),
        }
    }

    /// Whether it may make a commit, rather than only wait for something.
    pub fn changes(&self) -> bool {
        !matches!(
            self,
            Operation::AwaitUnclaimed(_) | Operation::AwaitClaimed(_)
        )
    }

    /// Whether it may have to wait for something.
    pub fn can_wait(&self) -> bool {
        match self {
            Operation::Acquire(_)
            | Operation::AcquireEach(_)
            | Operation::Claim(_)
            | Operation::Update { claim: None, .. }
            | Operation::AwaitUnclaimed(_)
            | Operation::AwaitClaimed(_) => true,
            Operation::Update { claim: Some(_), .. }
            | Operation::Release { .. }
            | Operation::ReleaseOwn
            | Operation::Renew { .. }
            | Operation::Add { .. }
            | Operation::Remove { .. }
            | Operation::Move { .. } => false,
        }
    }

    /// Whether it takes locks from whoever holds them.
    pub fn gives_back(&self) -> bool {
        matches!(
            self,
            Operation::Release { .. } | Operation::ReleaseOwn | Operation::Remove { .. }
        )
    }

    /// Whether a lock is held after it that was not before.
    pub fn claims(&self) -> bool {
        matches!(
            self,
            Operation::Acquire(_)
                | Operation::AcquireEach(_)
                | Operation::Claim(_)
                | Operation::Add {
                    holding: Holding::Claimed,
                    ..
                }
        )
    }

    /// The claim that must still stand for the operation to be allowed, and of which locks.
    pub fn claim_to_prove(&self) -> Option<(&[LockName], ClaimId)> {
        match self {
            Operation::Release { locks, right, .. } => {
                right.claim().map(|claim| (&locks[..], claim))
            }
            Operation::Renew { locks, claim } => Some((locks, *claim)),
            Operation::Remove { lock, claim } | Operation::Update { lock, claim, .. } => {
                claim.map(|claim| (std::slice::from_ref(lock), claim))
            }
            Operation::Acquire(_)
            | Operation::AcquireEach(_)
            | Operation::Claim(_)
            | Operation::ReleaseOwn
            | Operation::Add { .. }
            | Operation::Move { .. }
            | Operation::AwaitUnclaimed(_)
            | Operation::AwaitClaimed(_) => None,
        }
    }
}

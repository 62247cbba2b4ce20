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
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// The files of a repository, and nothing else: what a decision's edits are carried out on.
    #[derive(Debug, Clone, Default, PartialEq, Eq)]
    struct Files(BTreeMap<String, (Mode, Oid)>);

    impl Files {
        fn with(files: &[(&str, &str)]) -> Files {
            let keep = [("aws/claimed/.gitkeep", ""), ("aws/unclaimed/.gitkeep", "")];
            let all = keep.iter().chain(files);
            Files(
                all.map(|(path, text)| ((*path).to_owned(), (Mode::File, id(text))))
                    .collect(),
            )
        }

        fn pool(&self) -> Pool {
            let list = |holding: Holding| -> Vec<Named> {
                let folder = format!("aws/{}/", holding.folder());
                self.0
                    .iter()
                    .filter_map(|(path, (mode, id))| {
                        let name = path.strip_prefix(&folder)?.as_bytes().to_owned();
                        Some(Named {
                            name,
                            entry: Entry {
                                mode: *mode,
                                id: *id,
                            },
                        })
                    })
                    .collect()
            };
            Pool::new(
                PoolName::new("aws").unwrap(),
                &list(Holding::Claimed),
                &list(Holding::Unclaimed),
            )
        }

        fn apply(&mut self, change: &Change) {
            for edit in &change.edits {
                let path = edit.path().to_owned();
                let file = match edit {
                    Edit::Set { entry, .. } => (entry.mode, entry.id),
                    Edit::Write { mode, content, .. } => (*mode, content.id()),
                    Edit::Delete { .. } => {
                        assert!(self.0.remove(&path).is_some(), "{path} was not there");
                        continue;
                    }
                };
                self.0.insert(path, file);
            }
        }

        fn after(&self, operation: &Operation) -> Files {
            let mut files = self.clone();
            match self.decide(operation, None) {
                Decision::Change(change) => files.apply(&change),
                other => panic!("{other:?}"),
            }
            files
        }

        fn decide(&self, operation: &Operation, fate: Option<Fate>) -> Decision {
            decide(&self.pool(), operation, &Facts { fate }, 0)
        }
    }

    fn id(text: &str) -> Oid {
        Content::new(text.into()).id()
    }

    fn lock(name: &str) -> LockName {
        LockName::new(name).unwrap()
    }

    fn claim(byte: u8) -> ClaimId {
        ClaimId(Oid::from_bytes(&[byte; 20]).unwrap())
    }

    fn update(name: &str, text: &str, claim: Option<ClaimId>) -> Operation {
        Operation::Update {
            lock: lock(name),
            content: Content::new(text.into()),
            claim,
        }
    }

    fn add(name: &str, text: &str, holding: Holding) -> Operation {
        Operation::Add {
            lock: lock(name),
            content: Content::new(text.into()),
            holding,
        }
    }

    fn release(name: &str, claim: Option<ClaimId>) -> Operation {
        Operation::Release {
            lock: lock(name),
            claim,
        }
    }

    fn remove(name: &str) -> Operation {
        Operation::Remove {
            lock: lock(name),
            claim: None,
        }
    }

    const BOTH: [(&str, &str); 2] = [("aws/claimed/x", "1"), ("aws/unclaimed/x", "2")];

    #[test]
    fn each_operation_moves_one_file_and_keeps_the_others() {
        let free = Files::with(&[("aws/unclaimed/x", "1"), ("other/unclaimed/x", "9")]);
        let held = Files::with(&[("aws/claimed/x", "1"), ("other/unclaimed/x", "9")]);
        let gone = Files::with(&[("other/unclaimed/x", "9")]);
        let changed = Files::with(&[("aws/unclaimed/x", "2"), ("other/unclaimed/x", "9")]);

        assert_eq!(free.after(&Operation::Acquire), held);
        assert_eq!(free.after(&Operation::Claim(lock("x"))), held);
        assert_eq!(held.after(&release("x", None)), free);
        assert_eq!(held.after(&remove("x")), gone);
        assert_eq!(gone.after(&add("x", "1", Holding::Unclaimed)), free);
        assert_eq!(gone.after(&add("x", "1", Holding::Claimed)), held);
        assert_eq!(free.after(&update("x", "2", None)), changed);
        assert_eq!(gone.after(&update("x", "1", None)), free);
    }

    #[test]
    fn an_acquire_takes_any_free_lock_and_never_a_damaged_one() {
        let mut files = Files::with(&[
            ("aws/unclaimed/a", ""),
            ("aws/unclaimed/b", ""),
            ("aws/unclaimed/c", ""),
        ]);
        files.0.insert("aws/claimed/b".into(), (Mode::File, id("")));

        let taken = |draw| match decide(&files.pool(), &Operation::Acquire, &Facts::default(), draw)
        {
            Decision::Change(change) => change.lock.to_string(),
            other => panic!("{other:?}"),
        };

        assert_eq!((0..4).map(taken).collect::<Vec<_>>(), ["a", "c", "a", "c"]);
    }

    #[test]
    fn what_cannot_be_had_now_is_waited_for() {
        let held = Files::with(&[("aws/claimed/x", "1")]);
        let free = Files::with(&[("aws/unclaimed/x", "1")]);
        let x = lock("x");

        let none_free = Decision::Wait(Wait::NoneFree {
            claimed: vec![x.clone()],
            damaged: vec![],
        });
        assert_eq!(held.decide(&Operation::Acquire, None), none_free);
        let none_free = Decision::Wait(Wait::NoneFree {
            claimed: vec![],
            damaged: vec![x.clone()],
        });
        assert_eq!(
            Files::with(&BOTH).decide(&Operation::Acquire, None),
            none_free
        );
        for operation in [
            Operation::Claim(x.clone()),
            update("x", "2", None),
            Operation::AwaitUnclaimed(x.clone()),
        ] {
            assert_eq!(
                held.decide(&operation, None),
                Decision::Wait(Wait::Held(x.clone())),
                "{operation:?}"
            );
        }
        assert_eq!(
            free.decide(&Operation::AwaitClaimed(x.clone()), None),
            Decision::Wait(Wait::Free(x))
        );
        let missing = Decision::Wait(Wait::Missing(lock("y")));
        assert_eq!(free.decide(&Operation::Claim(lock("y")), None), missing);
    }

    #[test]
    fn what_is_so_already_is_done() {
        let held = Files::with(&[("aws/claimed/x", "1")]);
        let free = Files::with(&[("aws/unclaimed/x", "1")]);
        let done = Decision::Done(lock("x"), Since::LastTouch);

        assert_eq!(held.decide(&Operation::AwaitClaimed(lock("x")), None), done);
        assert_eq!(held.decide(&add("x", "1", Holding::Claimed), None), done);
        assert_eq!(
            free.decide(&Operation::AwaitUnclaimed(lock("x")), None),
            done
        );
        assert_eq!(free.decide(&add("x", "1", Holding::Unclaimed), None), done);
        assert_eq!(free.decide(&update("x", "1", None), None), done);
    }

    #[test]
    fn what_would_harm_is_refused_with_the_state_it_found() {
        let held = Files::with(&[("aws/claimed/x", "1")]);
        let free = Files::with(&[("aws/unclaimed/x", "1")]);
        let both = Files::with(&BOTH);
        let refusal = |files: &Files, operation: Operation| match files.decide(&operation, None) {
            Decision::Refuse(refusal) => refusal.to_string(),
            other => panic!("{operation:?}: {other:?}"),
        };

        assert_eq!(
            refusal(&free, release("x", None)),
            "the lock `x` is not claimed"
        );
        assert_eq!(refusal(&free, remove("x")), "the lock `x` is not claimed");
        assert_eq!(
            refusal(&free, release("y", None)),
            "there is no lock `y` in the pool `aws`"
        );
        assert_eq!(
            refusal(&free, remove("y")),
            "there is no lock `y` in the pool `aws`"
        );
        assert_eq!(
            refusal(&free, Operation::AwaitClaimed(lock("y"))),
            "there is no lock `y` in the pool `aws`"
        );
        assert_eq!(
            refusal(&free, Operation::AwaitUnclaimed(lock("y"))),
            "there is no lock `y` in the pool `aws`"
        );
        assert_eq!(
            refusal(&held, add("x", "2", Holding::Unclaimed)),
            "the lock `x` exists already: it is claimed, with other metadata"
        );
        assert_eq!(
            refusal(&free, add("x", "1", Holding::Claimed)),
            "the lock `x` exists already: it is unclaimed"
        );
        for operation in [
            Operation::Claim(lock("x")),
            release("x", None),
            add("x", "1", Holding::Claimed),
            Operation::AwaitClaimed(lock("x")),
            Operation::AwaitUnclaimed(lock("x")),
        ] {
            assert!(refusal(&both, operation).contains("is damaged: it is in both"));
        }
    }

    #[test]
    fn a_lock_in_both_folders_is_repaired_by_removing_or_updating_it() {
        let both = Files::with(&BOTH);

        assert_eq!(both.after(&remove("x")), Files::with(&[]));
        assert_eq!(
            both.after(&update("x", "3", None)),
            Files::with(&[("aws/unclaimed/x", "3")])
        );
    }

    #[test]
    fn a_folder_in_a_locks_place_is_ignored_unless_it_would_be_overwritten() {
        let mut files = Files::with(&[]);
        files
            .0
            .insert("aws/unclaimed/x".into(), (Mode::Folder, id("")));

        assert!(matches!(
            files.decide(&Operation::Acquire, None),
            Decision::Wait(Wait::NoneFree { ref claimed, .. }) if claimed.is_empty()
        ));
        for operation in [
            Operation::Claim(lock("x")),
            update("x", "1", None),
            add("x", "1", Holding::Claimed),
            remove("x"),
        ] {
            let refused = files.decide(&operation, None);
            assert!(
                matches!(refused, Decision::Refuse(Refusal::Damaged { .. })),
                "{operation:?}: {refused:?}"
            );
        }
    }

    #[test]
    fn a_move_keeps_the_mode_and_an_update_keeps_only_whether_it_is_executable() {
        for (mode, updated) in [
            (Mode::File, Mode::File),
            (Mode::Executable, Mode::Executable),
            (Mode::Symlink, Mode::File),
        ] {
            let mut files = Files::with(&[]);
            files.0.insert("aws/unclaimed/x".into(), (mode, id("1")));

            assert_eq!(
                files.after(&Operation::Acquire).0["aws/claimed/x"],
                (mode, id("1"))
            );
            assert_eq!(
                files.after(&update("x", "2", None)).0["aws/unclaimed/x"],
                (updated, id("2"))
            );
        }
    }

    #[test]
    fn a_change_makes_both_folders_keep_themselves() {
        let files = Files([("aws/unclaimed/x".to_owned(), (Mode::File, id("1")))].into());

        assert_eq!(
            files.after(&Operation::Acquire),
            Files::with(&[("aws/claimed/x", "1")])
        );
    }

    #[test]
    fn a_claim_is_asked_for_before_anything_is_done_with_it() {
        let held = Files::with(&[("aws/claimed/x", "1")]);
        let ask = Decision::Ask(lock("x"), claim(1));
        let remove = Operation::Remove {
            lock: lock("x"),
            claim: Some(claim(1)),
        };

        for operation in [
            release("x", Some(claim(1))),
            remove,
            update("x", "2", Some(claim(1))),
        ] {
            assert_eq!(held.decide(&operation, None), ask);
            match held.decide(&operation, Some(Fate::Stands)) {
                Decision::Change(change) => assert_eq!(change.claim, Some(claim(1))),
                other => panic!("{other:?}"),
            }
            let not_a_claim = held.decide(&operation, Some(Fate::NotAClaim));
            assert!(matches!(
                not_a_claim,
                Decision::Refuse(Refusal::NotAClaim { .. })
            ));
        }
    }

    #[test]
    fn a_holder_updates_what_it_holds_in_place() {
        let held = Files::with(&[("aws/claimed/x", "1")]);

        let Decision::Change(change) =
            held.decide(&update("x", "2", Some(claim(1))), Some(Fate::Stands))
        else {
            panic!()
        };

        let mut files = held.clone();
        files.apply(&change);
        assert_eq!(files, Files::with(&[("aws/claimed/x", "2")]));
    }

    #[test]
    fn a_claim_that_ended_frees_nobody_elses_lock() {
        let held = Files::with(&[("aws/claimed/x", "1")]);
        let free = Files::with(&[("aws/unclaimed/x", "1")]);
        let by = Oid::from_bytes(&[7; 20]).unwrap();
        let ours = release("x", Some(claim(1)));
        let done = Decision::Done(lock("x"), Since::Commit(by));

        let by_us = Some(Fate::Ended { by, proven: true });
        let by_others = Some(Fate::Ended { by, proven: false });
        assert_eq!(free.decide(&ours, by_us), done);
        assert_eq!(held.decide(&ours, by_us), done);
        assert_eq!(free.decide(&ours, by_others), done);
        let refused = Refusal::ClaimEnded {
            lock: lock("x"),
            claim: claim(1),
            ended: by,
            held: true,
        };
        assert_eq!(held.decide(&ours, by_others), Decision::Refuse(refused));
        let refused = Refusal::ClaimEnded {
            lock: lock("x"),
            claim: claim(1),
            ended: by,
            held: false,
        };
        let remove = Operation::Remove {
            lock: lock("x"),
            claim: Some(claim(1)),
        };
        assert_eq!(Files::with(&[]).decide(&remove, by_us), done);
        assert_eq!(
            free.decide(&remove, by_us),
            Decision::Refuse(refused.clone())
        );
        assert_eq!(
            free.decide(&update("x", "2", Some(claim(1))), by_us),
            Decision::Refuse(refused)
        );
    }

    fn operations() -> impl Strategy<Value = Operation> {
        let name = prop::sample::select(vec!["a", "b", "c", "ü \"d\""]).prop_map(lock);
        let text =
            prop::sample::select(vec!["", "1", "2"]).prop_map(|text| Content::new(text.into()));
        let holding = prop::sample::select(vec![Holding::Claimed, Holding::Unclaimed]);
        (0..8_u8, name, text, holding).prop_map(|(kind, lock, content, holding)| match kind {
            0 => Operation::Acquire,
            1 => Operation::Claim(lock),
            2 => Operation::Release { lock, claim: None },
            3 => Operation::Add {
                lock,
                content,
                holding,
            },
            4 => Operation::Remove { lock, claim: None },
            5 => Operation::Update {
                lock,
                content,
                claim: None,
            },
            6 => Operation::AwaitClaimed(lock),
            _ => Operation::AwaitUnclaimed(lock),
        })
    }

    proptest! {
        #[test]
        fn any_sequence_keeps_every_lock_in_one_place_and_its_content_through_moves(
            operations in prop::collection::vec((operations(), any::<u64>()), 1..60)
        ) {
            let mut files = Files::with(&[("aws/unclaimed/a", "a"), ("aws/claimed/b", "b"), ("z/claimed/a", "z")]);
            for (operation, draw) in operations {
                let before = files.pool();
                let Decision::Change(change) = decide(&before, &operation, &Facts::default(), draw) else { continue };
                files.apply(&change);
                let after = files.pool();

                for (lock, state) in after.locks() {
                    prop_assert!(!matches!(state, State::Damaged(_)), "{lock} after {change:?}");
                    if *lock != change.lock {
                        prop_assert_eq!(before.state(lock), Some(state));
                    }
                }
                let (was, is) = (before.state(&change.lock), after.state(&change.lock));
                match change.verb {
                    Verb::Claiming => match (was, is) {
                        (Some(State::Unclaimed(was)), Some(State::Claimed(is))) => prop_assert_eq!(was, is),
                        other => prop_assert!(false, "{other:?}"),
                    },
                    Verb::Unclaiming => match (was, is) {
                        (Some(State::Claimed(was)), Some(State::Unclaimed(is))) => prop_assert_eq!(was, is),
                        other => prop_assert!(false, "{other:?}"),
                    },
                    Verb::AddingClaimed => prop_assert!(was.is_none() && matches!(is, Some(State::Claimed(_)))),
                    Verb::AddingUnclaimed => prop_assert!(was.is_none() && matches!(is, Some(State::Unclaimed(_)))),
                    Verb::Removing => prop_assert!(matches!(was, Some(State::Claimed(_))) && is.is_none()),
                    Verb::Updating => match (was, is) {
                        (Some(State::Unclaimed(was)), Some(State::Unclaimed(is))) => prop_assert_ne!(was, is),
                        other => prop_assert!(false, "{other:?}"),
                    },
                }
                prop_assert_eq!(&files.0["z/claimed/a"], &(Mode::File, id("z")));
                prop_assert_eq!(files.0.contains_key("aws/claimed/.gitkeep"), true);
                prop_assert_eq!(files.0.contains_key("aws/unclaimed/.gitkeep"), true);
            }
        }
    }
}

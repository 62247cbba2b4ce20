//! What commits say that they did to locks, and what was there before, if that is true.

use std::collections::HashMap;

use crate::lock::{Holding, LockName, PoolName};
use crate::message::{self, Verb};
use git::object::{Entry, Oid};
use git::{Guess, History, HistoryError, Undo};

/// Reads messages of those who claim and give back locks.
pub struct Moves {
    /// All pools, and which of them have a lock of that name now.
    pools: Vec<PoolName>,
    having: HashMap<LockName, Vec<usize>>,
}

impl Moves {
    /// For these pools, which a branch has at `head`.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub fn new(
        history: &History<'_>,
        head: Oid,
        pools: impl IntoIterator<Item = PoolName>,
    ) -> Result<Moves, HistoryError> {
        let pools: Vec<PoolName> = pools.into_iter().collect();
        let mut having: HashMap<LockName, Vec<usize>> = HashMap::new();
        for (n, pool) in pools.iter().enumerate() {
            for lock in super::locks(history, head, pool)?.into_keys() {
                having.entry(lock).or_default().push(n);
            }
        }
        Ok(Moves { pools, having })
    }

    /// Where these locks can have been: where they are, else anywhere.
    fn pools_of(&self, locks: &[LockName]) -> Vec<&PoolName> {
        let having = locks.first().and_then(|lock| self.having.get(lock));
        match having {
            Some(having) => having.iter().map(|n| &self.pools[*n]).collect(),
            None => self.pools.iter().collect(),
        }
    }
}

/// What a message says was done to which locks, as far as that can be undone without knowing more.
fn read(message: &[u8]) -> Option<(Verb, String)> {
    let subject = message::read_subject(message)?;
    match subject.verb {
        Verb::Claiming | Verb::Unclaiming | Verb::AddingUnclaimed | Verb::AddingClaimed => {
            Some((subject.verb, subject.lock))
        }
        // What was there before, the commit does not say.
        Verb::Removing | Verb::Updating | Verb::Renewing => None,
    }
}

/// The locks that a subject names: one, or several.
fn locks(named: &str) -> Vec<Vec<LockName>> {
    let whole = LockName::new(named).ok().map(|lock| vec![lock]);
    let several = named.contains(", ").then(|| {
        let names = named.split(", ").map(LockName::new);
        names.collect::<Result<Vec<_>, _>>().ok()
    });
    several.flatten().into_iter().chain(whole).collect()
}

impl Guess for Moves {
    fn is_clear(&self, message: &[u8]) -> bool {
        read(message).is_some()
    }

    fn undo(&self, message: &[u8], look: &mut dyn FnMut(&str) -> Option<Entry>) -> Vec<Undo> {
        let Some((verb, named)) = read(message) else {
            return Vec::new();
        };
        let (from, to) = match verb {
            Verb::Claiming => (Some(Holding::Unclaimed), Holding::Claimed),
            Verb::Unclaiming => (Some(Holding::Claimed), Holding::Unclaimed),
            Verb::AddingClaimed => (None, Holding::Claimed),
            _ => (None, Holding::Unclaimed),
        };
        let whole = message::of_several_pools(message);
        if !whole.is_empty() {
            let mut undo = Undo::new();
            for (pool, lock) in &whole {
                let now = pool.file(to, lock);
                let Some(entry) = look(&now) else {
                    return Vec::new();
                };
                undo.push((now, None));
                undo.extend(from.map(|from| (pool.file(from, lock), Some(entry))));
            }
            return vec![undo];
        }
        let locks = locks(&named);
        let mut guesses = Vec::new();
        for locks in &locks {
            for pool in self.pools_of(locks) {
                let mut undo = Undo::new();
                for lock in locks {
                    let now = pool.file(to, lock);
                    let Some(entry) = look(&now) else {
                        undo.clear();
                        break;
                    };
                    undo.push((now, None));
                    undo.extend(from.map(|from| (pool.file(from, lock), Some(entry))));
                }
                if !undo.is_empty() {
                    guesses.push(undo);
                }
            }
        }
        guesses
    }
}

//! What the rules ask that is not in the pool itself: answers from the line, the history and the locks' metadata.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use rand::RngExt;

use super::course::Setback;
use super::lines::Lines;
use super::{Attempt, AttemptError, GivenBack, read_pool};
use crate::ledger::{self, ClaimOfStep, Fate};
use crate::line::Standing;
use crate::lock::{ClaimId, LockName, PoolName};
use crate::maker::Me;
use crate::message;
use crate::metadata;
use crate::operation::{Condition, Operation, Want};
use crate::rules::{Decision, Facts, Pool, Since, State, Turn, decide, decide_each};
use git::object::Oid;
use git::{History, HistoryError, Snapshot, Store};

/// What is to be done, and where we stand in the lines.
pub(super) struct Decided {
    pub decision: Decision,
    /// Where we stand in each line, if we are in one.
    pub standings: Vec<Standing>,
    /// Which of them it is about: the one that we wait in, or that has the most who publish before us.
    at: usize,
    /// Whether whatever is free may be taken, and not only what has come to be ours.
    pub is_open: bool,
}

impl Decided {
    /// Where we stand in the line that matters most.
    pub fn standing(&self) -> Option<&Standing> {
        self.standings.get(self.at)
    }
}

impl Attempt<'_> {
    /// Decides, answering from the lines and from the history what the rules ask.
    pub(super) fn decide(
        &self,
        snapshot: &Snapshot,
        operation: &Operation,
        lines: &Lines,
    ) -> Result<Decided, Setback> {
        let history = self.remote.history(snapshot);
        let mut facts = Facts::default();
        let mut others = operation.other_pools();
        if matches!(operation, Operation::ReleaseOwn) {
            facts.own = self.own(&history)?;
            others = facts
                .own
                .iter()
                .filter_map(|(lock, _)| lock.pool())
                .collect();
        }
        let pool = self.pools(snapshot, &others)?;
        let pool = pool.ok_or_else(|| self.no_pool(&self.pool))?;
        let fits = self.fitting(&pool);
        if let Operation::Acquire(want) = operation {
            facts.fitting = fitting_ones(&pool, want, &fits);
        }
        if let Operation::Move { to, .. } = operation {
            let there = read_pool(&self.remote, snapshot, to)?;
            facts.destination = Some(there.ok_or_else(|| self.no_pool(to))?);
        }
        if self.only_own && operation.gives_back() {
            facts.others = self.others(&history, operation)?;
        }
        let mut standings = Vec::new();
        for (n, part) in operation.parts().iter().enumerate() {
            let there = pool
                .part(&part.pool)
                .ok_or_else(|| self.no_pool(&part.pool))?;
            let fits = self.fitting(there);
            let mut of_part = Facts {
                fitting: fitting_ones(there, &part.want, &fits),
                ..Facts::default()
            };
            if let Some(queue) = lines.iter().nth(n) {
                let standing = queue.standing(there, snapshot.commit, &fits);
                of_part.turn = standing.turn_to_go_by();
                standings.push(standing);
            }
            facts.each.push(of_part);
        }
        if let Some(queue) = lines.first().filter(|_| operation.parts().is_empty()) {
            let standing = queue.standing(&pool, snapshot.commit, &fits);
            facts.turn = standing.turn_to_go_by();
            standings.push(standing);
        }
        let is_open = facts.turn == Turn::Open;
        let draw = rand::rng().random();
        let mut decision = decide(&pool, operation, &facts, draw);
        if let Decision::Ask(locks, claim) = decision {
            let fates = self.fates(&history, &locks, claim)?;
            let is_absent = fates.values().any(|fate| matches!(fate, Fate::NotAClaim));
            if is_absent
                && history.since(claim.0)?.is_none()
                && self.remote.doubts(snapshot.commit, claim.0)
            {
                return Err(Setback::Behind);
            }
            facts.fates = Some(fates);
            decision = decide(&pool, operation, &facts, draw);
        }
        let at = match decision {
            Decision::Wait(_) => {
                let each = decide_each(&pool, operation.parts(), &facts, draw);
                let waits = |part: &Decision| matches!(part, Decision::Wait(_));
                each.iter().position(waits)
            }
            _ => (0..standings.len()).max_by_key(|n| standings[*n].served_before.len()),
        };
        Ok(Decided {
            decision,
            standings,
            at: at.unwrap_or_default(),
            is_open,
        })
    }

    /// Whether an earlier claim of the same step is what is asked for now.
    pub(super) fn is_asked_for(
        &self,
        snapshot: &Snapshot,
        operation: &Operation,
        claim: &ClaimOfStep,
    ) -> Result<bool, HistoryError> {
        let parts = operation.parts();
        if parts.is_empty() {
            let is_of_several = claim.locks.iter().any(|lock| lock.pool().is_some());
            let pool = read_pool(&self.remote, snapshot, &self.pool)?;
            let Some(pool) = pool.filter(|_| !is_of_several) else {
                return Ok(false);
            };
            let all = pool.locks().map(|(lock, _)| lock);
            return Ok(operation.is_answered_by(&claim.locks, all, self.fitting(&pool)));
        }
        let mut answered = 0;
        for part in parts {
            let Some(pool) = read_pool(&self.remote, snapshot, &part.pool)? else {
                return Ok(false);
            };
            let there = claim.locks.iter().map(|lock| lock.full(&self.pool));
            let there = there.filter(|lock| lock.pool().as_ref() == Some(&part.pool));
            let there: Vec<LockName> = there.map(|lock| lock.bare()).collect();
            let all = pool.locks().map(|(lock, _)| lock);
            let wanted = Operation::Acquire(part.want.clone());
            if !wanted.is_answered_by(&there, all, self.fitting(&pool)) {
                return Ok(false);
            }
            answered += there.len();
        }
        Ok(answered == claim.locks.len())
    }

    /// Which locks we hold, and by which claims; of a claim of several pools all that it holds.
    fn own(&self, history: &History<'_>) -> Result<Vec<(LockName, ClaimId)>, HistoryError> {
        let Some(me) = Me::of(&self.origin) else {
            return Ok(Vec::new());
        };
        let claims = ledger::claims(history, std::slice::from_ref(&self.pool))?;
        let own = claims.into_values().flatten();
        let own = own.filter(|(lock, held)| me.made(lock, &held.message));
        let mut all: Vec<(LockName, ClaimId)> = Vec::new();
        for (lock, held) in own {
            all.push((lock, held.claim));
            for lock in message::elsewhere(&held.message, &self.pool) {
                let known = all.iter().any(|(other, _)| *other == lock);
                if !known && self.stands(history, &lock, held.claim)? {
                    all.push((lock, held.claim));
                }
            }
        }
        Ok(all)
    }

    fn stands(
        &self,
        history: &History<'_>,
        lock: &LockName,
        claim: ClaimId,
    ) -> Result<bool, HistoryError> {
        let fate = ledger::fate(history, &self.pool, lock, claim)?;
        Ok(matches!(fate, Fate::Stands { .. }))
    }

    /// Which of the locks that an operation gives back are held by others, and by whom.
    fn others(
        &self,
        history: &History<'_>,
        operation: &Operation,
    ) -> Result<BTreeMap<LockName, String>, HistoryError> {
        let asked = match operation {
            Operation::Release { locks, .. } => &locks[..],
            Operation::Remove { lock, .. } => std::slice::from_ref(lock),
            _ => return Ok(BTreeMap::new()),
        };
        let me = Me::of(&self.origin);
        let mut pools: Vec<PoolName> = operation.other_pools().into_iter().collect();
        pools.push(self.pool.clone());
        let claims = ledger::claims(history, &pools)?.into_iter();
        let claims = claims.flat_map(|(pool, claims)| {
            let claims = claims.into_iter();
            claims.map(move |(lock, held)| (lock.of(&pool, &self.pool), held))
        });
        let others = claims.filter(|(lock, held)| {
            let is_mine = me.as_ref().is_some_and(|me| me.made(lock, &held.message));
            asked.contains(lock) && !is_mine
        });
        Ok(others
            .map(|(lock, held)| (lock, message::who(&held.message)))
            .collect())
    }

    /// What there is to say of a giving back that had nothing to do since `commit`. What we hold is told as far as the
    /// history is here: nobody fetches more for that.
    pub(super) fn given_back(
        &self,
        snapshot: &Snapshot,
        commit: Oid,
    ) -> Result<Option<GivenBack>, HistoryError> {
        let history = self.remote.history(snapshot);
        let still_held = match self.own(&history) {
            Ok(own) => own.into_iter().map(|(lock, _)| lock).collect(),
            Err(HistoryError::Truncated) => Vec::new(),
            Err(err) => return Err(err),
        };
        let subject = message::first_line(&history.commit(commit)?.message);
        Ok(Some(GivenBack {
            subject: terminal::one_line(&subject),
            still_held,
        }))
    }

    /// Which locks an acquire passes over because their metadata cannot be read, each on a line.
    pub(super) fn unreadable(
        &self,
        snapshot: &Snapshot,
        operation: &Operation,
    ) -> Result<Vec<String>, HistoryError> {
        // More would hide the rest of the log.
        const MOST: usize = 5;
        let mut wanted: Vec<(&PoolName, &Want)> = Vec::new();
        if let Operation::Acquire(want) = operation {
            wanted.push((&self.pool, want));
        }
        let parts = operation.parts().iter();
        wanted.extend(parts.map(|part| (&part.pool, &part.want)));
        let mut notes = Vec::new();
        for (name, _) in wanted
            .iter()
            .filter(|(_, want)| !want.conditions.is_empty())
        {
            let Some(pool) = read_pool(&self.remote, snapshot, name)? else {
                continue;
            };
            notes.extend(pool.locks().filter_map(|(lock, state)| {
                let (State::Claimed(entry) | State::Unclaimed(entry)) = state else {
                    return None;
                };
                let store = self.remote.store();
                let content = store.small_file(entry.id, metadata::READABLE).ok()??;
                let problem = metadata::problem(&content)?;
                let lock = lock.of(name, &self.pool);
                Some(format!(
                    "note: the metadata of `{lock}` {problem}, so that `match` passes it over"
                ))
            }));
        }
        notes.truncate(MOST);
        Ok(notes)
    }

    fn no_pool(&self, pool: &PoolName) -> AttemptError {
        AttemptError::NoPool {
            pool: pool.clone(),
            branch: self.remote.branch().to_owned(),
            remote: self.remote.name().to_owned(),
        }
    }

    /// As [`fitting`].
    pub(super) fn fitting<'p>(&'p self, pool: &'p Pool) -> impl Fn(&Want, &LockName) -> bool + 'p {
        fitting(self.remote.store(), pool)
    }

    /// What has become of a claim of these locks.
    pub(super) fn fates(
        &self,
        history: &History<'_>,
        locks: &[LockName],
        claim: ClaimId,
    ) -> Result<BTreeMap<LockName, Fate>, HistoryError> {
        locks
            .iter()
            .map(|lock| {
                let fate = ledger::fate(history, &self.pool, lock, claim)?;
                Ok((lock.clone(), fate))
            })
            .collect()
    }

    /// The commit since which things are as somebody wants them.
    pub(super) fn since(
        &self,
        snapshot: &Snapshot,
        lock: Option<&LockName>,
        since: Since,
    ) -> Result<Oid, HistoryError> {
        match (since, lock) {
            (Since::Commit(commit), _) => Ok(commit),
            (Since::LastTouch, None) => Ok(snapshot.commit),
            (Since::Settled, _) => {
                let history = self.remote.history(snapshot);
                let settled = ledger::settled_version(&history, &self.pool)?;
                Ok(settled.unwrap_or(snapshot.commit))
            }
            (Since::LastTouch, Some(lock)) => {
                let history = self.remote.history(snapshot);
                let touch = ledger::last_touch(&history, &self.pool, lock)?;
                // A lock that no commit touched cannot be there; a server's own cut history can hide it.
                Ok(touch.unwrap_or(snapshot.commit))
            }
        }
    }
}

/// The locks whose metadata is as an acquire wants it; `None` when any will do.
pub(super) fn fitting_ones(
    pool: &Pool,
    want: &Want,
    fits: impl Fn(&Want, &LockName) -> bool,
) -> Option<BTreeSet<LockName>> {
    let fitting = pool.locks().filter(|(lock, _)| fits(want, lock));
    (!want.takes_any()).then(|| fitting.map(|(lock, _)| lock.clone()).collect())
}

/// Tells whether a lock's metadata is as somebody wants it. Each is read once for each want.
pub(crate) fn fitting<'p>(
    store: &'p Store,
    pool: &'p Pool,
) -> impl Fn(&Want, &LockName) -> bool + 'p {
    let known: RefCell<BTreeMap<(LockName, String), bool>> = Default::default();
    move |want, lock| {
        let wanted = |Condition { path, value }: &Condition| format!("{path}={value:?}");
        let wanted: Vec<String> = want.conditions.iter().map(wanted).collect();
        if !want.among.is_empty() && !want.among.contains(lock) {
            return false;
        }
        if want.conditions.is_empty() {
            return true;
        }
        let key = (lock.clone(), wanted.join("\n"));
        if let Some(fits) = known.borrow().get(&key) {
            return *fits;
        }
        let entry = match pool.state(lock) {
            Some(State::Claimed(entry) | State::Unclaimed(entry)) => Some(entry),
            Some(State::Damaged(_)) | None => None,
        };
        let fits = entry.is_some_and(|entry| {
            let content = store.small_file(entry.id, metadata::READABLE);
            let content = content.ok().flatten();
            metadata::fits(lock, content.as_deref(), &want.conditions)
        });
        known.borrow_mut().insert(key, fits);
        fits
    }
}

//! What the rules ask that is not in the pool itself: answers from the line, the history and the locks' metadata.

use std::cell::RefCell;
use std::collections::BTreeMap;

use rand::RngExt;

use super::course::Setback;
use super::queue::Queue;
use super::{Attempt, AttemptError, GivenBack, read_pool};
use crate::ledger::{self, ClaimOfStep, Fate};
use crate::line::Standing;
use crate::lock::{ClaimId, LockName, PoolName};
use crate::maker::Me;
use crate::message;
use crate::metadata;
use crate::operation::{Condition, Operation, Want};
use crate::rules::{Decision, Facts, Pool, Since, State, decide};
use git::object::Oid;
use git::{History, HistoryError, Snapshot, Store};

impl Attempt<'_> {
    /// Decides, answering from the line and from the history what the rules ask.
    pub(super) fn decide(
        &self,
        snapshot: &Snapshot,
        operation: &Operation,
        queue: Option<&Queue>,
    ) -> Result<(Decision, Option<Standing>), Setback> {
        let history = self.remote.history(snapshot);
        let pool = read_pool(&self.remote, snapshot, &self.pool)?
            .ok_or_else(|| self.no_pool(&self.pool))?;
        let fits = self.fitting(&pool);
        let mut facts = Facts::default();
        if let Operation::Acquire(want) = operation
            && !want.takes_any()
        {
            let fitting = pool.locks().filter(|(lock, _)| fits(want, lock));
            facts.fitting = Some(fitting.map(|(lock, _)| lock.clone()).collect());
        }
        if let Operation::Move { to, .. } = operation {
            let there = read_pool(&self.remote, snapshot, to)?;
            facts.destination = Some(there.ok_or_else(|| self.no_pool(to))?);
        }
        if matches!(operation, Operation::ReleaseOwn) {
            facts.own = self.own(&history)?;
        }
        if self.only_own && operation.gives_back() {
            facts.others = self.others(&history, operation)?;
        }
        let standing = queue.map(|queue| queue.standing(&pool, snapshot.commit, &fits));
        if let Some(standing) = &standing {
            facts.turn = standing.turn_to_go_by();
        }
        let draw = rand::rng().random();
        let decision = decide(&pool, operation, &facts, draw);
        let Decision::Ask(locks, claim) = decision else {
            return Ok((decision, standing));
        };
        let fates = self.fates(&history, &locks, claim)?;
        let is_absent = fates.values().any(|fate| matches!(fate, Fate::NotAClaim));
        if is_absent
            && history.since(claim.0)?.is_none()
            && self.remote.doubts(snapshot.commit, claim.0)
        {
            return Err(Setback::Behind);
        }
        facts.fates = Some(fates);
        Ok((decide(&pool, operation, &facts, draw), standing))
    }

    /// Whether an earlier claim of the same step is what is asked for now.
    pub(super) fn is_asked_for(
        &self,
        snapshot: &Snapshot,
        operation: &Operation,
        claim: &ClaimOfStep,
    ) -> Result<bool, HistoryError> {
        let Some(pool) = read_pool(&self.remote, snapshot, &self.pool)? else {
            return Ok(false);
        };
        let all = pool.locks().map(|(lock, _)| lock);
        Ok(operation.is_answered_by(&claim.locks, all, self.fitting(&pool)))
    }

    /// Which locks we hold, and by which claims.
    fn own(&self, history: &History<'_>) -> Result<Vec<(LockName, ClaimId)>, HistoryError> {
        let Some(me) = Me::of(&self.origin) else {
            return Ok(Vec::new());
        };
        let claims = ledger::claims(history, std::slice::from_ref(&self.pool))?;
        let own = claims.into_values().flatten();
        let own = own.filter(|(lock, held)| me.made(lock, &held.message));
        Ok(own.map(|(lock, held)| (lock, held.claim)).collect())
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
        let claims = ledger::claims(history, std::slice::from_ref(&self.pool))?;
        let others = claims.into_values().flatten().filter(|(lock, held)| {
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
        want: &Want,
    ) -> Result<Vec<String>, HistoryError> {
        // More would hide the rest of the log.
        const MOST: usize = 5;
        let pool = read_pool(&self.remote, snapshot, &self.pool)?;
        let Some(pool) = pool.filter(|_| !want.conditions.is_empty()) else {
            return Ok(Vec::new());
        };
        let notes = pool.locks().filter_map(|(lock, state)| {
            let (State::Claimed(entry) | State::Unclaimed(entry)) = state else {
                return None;
            };
            let store = self.remote.store();
            let content = store.small_file(entry.id, metadata::READABLE).ok()??;
            let problem = metadata::problem(&content)?;
            Some(format!(
                "note: the metadata of `{lock}` {problem}, so that `match` passes it over"
            ))
        });
        Ok(notes.take(MOST).collect())
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

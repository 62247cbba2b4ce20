//! Who held what: the holds of a pool, or of all pools, as far back as is asked for.

use std::collections::BTreeSet;
use std::io::Write;
use std::ops::ControlFlow;

use super::{Ready, StepError, Surroundings, Which, ask};
use crate::concourse::Source;
use crate::ledger;
use crate::lock::{self, Holding, LockName, PoolName};
use crate::message::who;
use crate::past::{self, Hold};
use crate::rules::Pool;
use git::object::Oid;
use git::{Files, History, HistoryError, Store};

/// Which holds are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// Only of these locks; of all, if there are none.
    pub locks: BTreeSet<LockName>,
    /// Only by those who have this text in their name.
    pub holder: Option<String>,
    /// Only those that did not begin before, in seconds since 1970.
    pub since: Option<i64>,
    /// Only those that did not begin later.
    pub until: Option<i64>,
    /// At most so many.
    pub most: Option<usize>,
}

/// The holds, the one that began last first. Of the history so much is read as it takes.
///
/// # Errors
/// [`StepError`].
pub async fn log(
    source: &Source,
    which: Which,
    query: &LogQuery,
    around: &Surroundings,
    log: &mut dyn Write,
) -> Result<Vec<Hold>, StepError> {
    let ready = Ready::new(source, around, log)?;
    let mut remote = ready.remote(&source.branch, Store::temporary(&around.temporary)?)?;
    remote.want_files(Files::None);
    let holds = ask(
        &mut remote,
        None,
        None,
        &ready.pace,
        log,
        |history, snapshot| {
            if which == Which::One && !ledger::is_pool(history, snapshot.commit, &source.pool)? {
                return Ok(None);
            }
            let about = |pool: &PoolName| which == Which::All || *pool == source.pool;
            let mut found = Vec::new();
            let mut seen = BTreeSet::new();
            past::holds(history, &about, &mut |commit, begun| {
                if query.since.is_some_and(|since| commit.time < since) {
                    return ControlFlow::Break(());
                }
                // What begins further on has no say in who was there.
                let is_late = query.until.is_some_and(|until| commit.time > until);
                for hold in begun.into_iter().filter(|_| !is_late) {
                    seen.insert(hold.lock.clone());
                    found.extend(Some(hold).filter(|hold| query.wants(hold)));
                }
                match query.most {
                    Some(most) if found.len() >= most => ControlFlow::Break(()),
                    _ => ControlFlow::Continue(()),
                }
            })?;
            found.truncate(query.most.unwrap_or(usize::MAX));
            // Where enough was found before the end, others may come further back.
            let is_whole = query.most.is_none_or(|most| found.len() < most);
            let unseen = query
                .locks
                .iter()
                .filter(|lock| is_whole && !seen.contains(*lock));
            let untold: Vec<&LockName> = unseen.collect();
            let absent = absent(history, snapshot.commit, about, &untold)?;
            Ok(Some((found, absent)))
        },
    )
    .await?;
    let (holds, absent) = holds.ok_or_else(|| StepError::NoPool {
        pool: source.pool.clone(),
        branch: source.branch.clone(),
        remote: ready.location.to_string(),
    })?;
    match absent {
        Some((lock, like)) => Err(StepError::NeverHeld { lock, like }),
        None => Ok(holds),
    }
}

/// The first of these locks that no pool has, and the ones that may have been meant. What is there now and was never held is
/// none of them.
fn absent(
    history: &History<'_>,
    head: Oid,
    about: impl Fn(&PoolName) -> bool,
    locks: &[&LockName],
) -> Result<Option<(LockName, Vec<LockName>)>, HistoryError> {
    if locks.is_empty() {
        return Ok(None);
    }
    let mut there = BTreeSet::new();
    for pool in past::pools(history, head)?.into_iter().filter(about) {
        let list = |holding| history.list(head, &pool.folder(holding));
        let (claimed, unclaimed) = (list(Holding::Claimed)?, list(Holding::Unclaimed)?);
        let pool = Pool::new(pool.clone(), &claimed, &unclaimed);
        there.extend(pool.locks().map(|(lock, _)| lock.clone()));
    }
    let absent = locks.iter().find(|lock| !there.contains(**lock));
    Ok(absent.map(|lock| ((*lock).clone(), lock::meant(lock, there.iter()))))
}

impl LogQuery {
    fn wants(&self, hold: &Hold) -> bool {
        (self.locks.is_empty() || self.locks.contains(&hold.lock))
            && self
                .holder
                .as_ref()
                .is_none_or(|text| who(&hold.message).contains(text.as_str()))
    }
}

//! What the pools looked like at an earlier moment.

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::ControlFlow;

use super::status::view;
use super::{Overview, Ready, StepError, Surroundings, Waiter, Which, ask};
use crate::concourse::Source;
use crate::ledger;
use crate::lock::{Holding, PoolName};
use crate::message;
use crate::past;
use crate::queueing::{Served, served};
use crate::rules::Pool;
use git::object::Oid;
use git::{Files, History, HistoryError, Store};

/// Which moment is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Moment {
    /// This one, in seconds since 1970.
    Time(i64),
    /// When this commit had been made; the first digits of its id are enough.
    Commit(String),
}

/// The pools at an earlier moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Earlier {
    /// When, in seconds since 1970.
    pub at: i64,
    /// What they looked like. Of those who waited, only those are known who were served later and whose claims tell.
    pub overview: Overview,
}

/// Looks back.
///
/// # Errors
/// [`StepError`]; [`StepError::NothingThen`] if there was no branch, or no such commit is on it.
pub async fn status_at(
    source: &Source,
    which: Which,
    moment: &Moment,
    around: &Surroundings,
    log: &mut dyn Write,
) -> Result<Earlier, StepError> {
    let ready = Ready::new(source, around, log)?;
    let mut remote = ready.remote(&source.branch, Store::temporary(&around.temporary)?)?;
    remote.want_files(Files::None);
    let name = ready.location.to_string();
    let earlier = ask(&mut remote, None, None, &ready.pace, log, |history, _| {
        let Some((commit, made)) = find(history, moment)? else {
            return Ok(Err(true));
        };
        let at = match moment {
            Moment::Time(at) => *at,
            Moment::Commit(_) => made,
        };
        let then = history.at(commit);
        let names: Vec<PoolName> = match which {
            Which::All => past::pools(&then, commit)?.into_iter().collect(),
            Which::One => vec![source.pool.clone()],
        };
        if which == Which::One && !ledger::is_pool(&then, commit, &source.pool)? {
            return Ok(Err(false));
        }
        let mut claims = ledger::claims(&then, &names)?;
        let waiting = waiting(history, commit, at)?;
        let mut pools = Vec::new();
        for name in names {
            let list = |holding| then.list(commit, &name.folder(holding));
            let (claimed, unclaimed) = (list(Holding::Claimed)?, list(Holding::Unclaimed)?);
            let pool = Pool::new(name.clone(), &claimed, &unclaimed);
            let mut view = view(&pool, claims.remove(&name).unwrap_or_default());
            view.line = waiting.get(&name).cloned().unwrap_or_default();
            pools.push(view);
        }
        Ok(Ok(Earlier {
            at,
            overview: Overview {
                // Who waited then, no history tells.
                circles: Vec::new(),
                remote: name.clone(),
                branch: source.branch.clone(),
                head: commit,
                pools,
            },
        }))
    })
    .await?;
    earlier.map_err(|is_before| match is_before {
        true => StepError::NothingThen,
        false => StepError::NoPoolThen(source.pool.clone()),
    })
}

/// The last commit of the branch that is not later, and when it was made.
fn find(history: &History<'_>, moment: &Moment) -> Result<Option<(Oid, i64)>, HistoryError> {
    let (mut id, mut commit) = (history.head(), history.commit(history.head())?);
    loop {
        let is_it = match moment {
            Moment::Time(at) => commit.time <= *at,
            Moment::Commit(start) => id.to_string().starts_with(start.as_str()),
        };
        if is_it {
            return Ok(Some((id, commit.time)));
        }
        let Some(before) = history.before(id, &commit)? else {
            return Ok(None);
        };
        (id, commit) = before;
    }
}

/// Who waited at a moment and was served later, by the pools, in the order of arrival: claims after `commit` tell.
fn waiting(
    history: &History<'_>,
    commit: Oid,
    at: i64,
) -> Result<BTreeMap<PoolName, Vec<Waiter>>, HistoryError> {
    let mut later = Vec::new();
    let mut commits = history.first_parents(history.head());
    past::holds(history, &|_| true, &mut |_, begun| {
        // What is walked is the same line of commits.
        match commits.next() {
            Some(Ok(id)) if id != commit => {}
            _ => return ControlFlow::Break(()),
        }
        later.extend(begun);
        ControlFlow::Continue(())
    })?;
    let urls: BTreeMap<Oid, Option<String>> = later
        .iter()
        .map(|hold| (hold.claim, message::build_url(&hold.message)))
        .collect();
    let mut waiting: Vec<Served> = served(&later);
    waiting
        .retain(|one| one.arrived() <= at as f64 && one.waited.is_some_and(|waited| waited > 0.0));
    waiting.sort_by(|a, b| a.arrived().total_cmp(&b.arrived()));
    let mut lines: BTreeMap<PoolName, Vec<Waiter>> = BTreeMap::new();
    for one in waiting {
        lines.entry(one.pool.clone()).or_default().push(Waiter {
            // Of its ticket nothing is left, and it has made one claim.
            id: one.claim.to_string(),
            url: urls.get(&one.claim).cloned().flatten(),
            need: None,
            since: Some(one.arrived() as u64),
            priority: one.priority,
            silent: None,
            who: one.who,
        });
    }
    Ok(lines)
}

//! The last line of a put's log: what came of it.

use crate::attempt::{GivenBack, Outcome};
use crate::lock::{Holding, LockName, PoolName};
use crate::operation::Operation;
use pace::duration::in_two_units;

/// What came of `operation`, on one line.
pub(super) fn line(operation: &Operation, outcome: &Outcome, pool: &PoolName) -> String {
    let locks = quoted(&outcome.locks);
    let commit = outcome.commit;
    if let Some(before) = outcome.given_back.as_ref().filter(|_| !outcome.done_now) {
        return match operation {
            Operation::ReleaseOwn => {
                format!("this build holds no lock of the pool `{pool}`: nothing to release")
            }
            _ => given_back_before(&locks, outcome, before),
        };
    }
    let held = match &outcome.held_before_by {
        Some(holder) => format!(", which was held by {holder}"),
        None => String::new(),
    };
    match operation {
        Operation::Acquire(_) | Operation::AcquireEach(_) | Operation::Claim(_) => {
            let waited = match outcome.waited {
                Some(waited) => format!(" after {}", in_two_units(waited)),
                None => String::new(),
            };
            format!("claimed {locks}{waited}{held}; the claim is {commit}")
        }
        Operation::Release { .. } => format!("released {locks}{held}; the commit is {commit}"),
        Operation::ReleaseOwn => {
            format!("released what this build held: {locks}; the commit is {commit}")
        }
        Operation::Remove { .. } => format!("removed {locks}{held}; the commit is {commit}"),
        Operation::Renew { .. } => format!("renewed the claim of {locks}"),
        Operation::Add { .. } | Operation::Update { .. } | Operation::Move { .. }
            if !outcome.done_now =>
        {
            format!("{locks} is so already, since the commit {commit}")
        }
        Operation::Add { holding, .. } => {
            let state = match holding {
                Holding::Claimed => "claimed",
                Holding::Unclaimed => "unclaimed",
            };
            format!("added {locks}, {state}; the commit is {commit}")
        }
        Operation::Update { .. } => format!("updated {locks}; the commit is {commit}"),
        Operation::Move { to, .. } => format!("moved {locks} to the pool `{to}`"),
        Operation::AwaitUnclaimed(_) => format!("{locks} is unclaimed, since the commit {commit}"),
        Operation::AwaitClaimed(_) => format!("{locks} is claimed, since the commit {commit}"),
    }
}

fn given_back_before(locks: &str, outcome: &Outcome, before: &GivenBack) -> String {
    let commit = outcome.commit;
    let mut line = format!(
        "nothing to do: {locks} was given back already, by the commit {commit} (`{}`)",
        before.subject
    );
    if !before.still_held.is_empty() {
        line += &format!(
            "; this build still holds {}, which `release_mine: true` frees",
            quoted(&before.still_held)
        );
    }
    line
}

fn quoted(locks: &[LockName]) -> String {
    let quoted = locks.iter().map(|lock| format!("`{lock}`"));
    quoted.collect::<Vec<_>>().join(", ")
}

//! What is told to a Pushgateway of an operation, gathered while it goes on.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::abort::TELL;
use super::queue::Queue;
use super::{Attempt, AttemptError, Outcome, read_pool};
use crate::ledger;
use crate::line::Standing;
use crate::lock::ClaimId;
use crate::metrics::{self, Ending, Line, PoolState, Reporter, Since, Waiter, Waiting};
use crate::operation::Operation;
use crate::rules::{Change, Pool, State};
use git::object::Oid;
use git::{Depth, History, HistoryError, Snapshot};
use pace::stopped_for;

/// What is known of one operation.
pub struct Meter {
    reporter: Option<Reporter>,
    began: Instant,
    lost_races: u32,
    held: Option<Duration>,
    pool: Option<PoolState>,
}

impl Meter {
    /// Begins to measure.
    pub fn new(reporter: Reporter) -> Meter {
        Meter {
            reporter: Some(reporter).filter(Reporter::is_on),
            began: Instant::now(),
            lost_races: 0,
            held: None,
            pool: None,
        }
    }

    /// Whether anybody hears of it.
    pub(super) fn is_on(&self) -> bool {
        self.reporter.is_some()
    }

    /// Somebody else changed the branch first.
    pub(super) fn lost_race(&mut self) {
        self.lost_races = self.lost_races.saturating_add(1);
    }

    /// Has the group of a waiter that vanished deleted.
    pub(super) fn forget(&mut self, waiter: &str) {
        if let Some(reporter) = &mut self.reporter {
            reporter.forget(waiter);
        }
    }

    /// Notes for how long a lock was held that `change` gives back.
    pub(super) fn note_change(
        &mut self,
        history: &History<'_>,
        pool: &crate::lock::PoolName,
        change: &Change,
    ) {
        if !self.is_on() || change.verb.is_claim() {
            return;
        }
        let begun = change.locks.iter().filter_map(|lock| {
            let claim = match change.right.claim() {
                Some(ClaimId(claim)) => Some(claim),
                None => ledger::last_claim(history, pool, lock).ok().flatten(),
            };
            let time = history.commit(claim?).ok()?.time;
            moment(time).elapsed().ok()
        });
        let gives_back = matches!(
            change.verb,
            crate::message::Verb::Unclaiming | crate::message::Verb::Removing
        );
        self.held = begun.max().filter(|_| gives_back);
    }

    /// Tells what one who waits sees.
    pub(super) fn waits(
        &mut self,
        history: &History<'_>,
        pool: &Pool,
        queue: Option<&Queue>,
        standing: Option<&Standing>,
        circle: usize,
    ) {
        let Some(reporter) = &mut self.reporter else {
            return;
        };
        let state = state_of(history, pool);
        self.pool = Some(state);
        let Some((queue, id)) = queue.and_then(|queue| Some((queue, queue.ticket_id()?))) else {
            return;
        };
        reporter.waiting(&Waiting {
            pool: state,
            line: Some(line_of(queue)),
            waiter: Waiter {
                id: id.to_owned(),
                since: moment_of(queue.since()),
                place: standing.map_or(1, |standing| standing.place),
                circle,
            },
        });
    }
}

impl Attempt<'_> {
    /// Tells the gateway how it ended. Told to stop, or having to say that it came to another end after all, it is for the
    /// pool and the line alone.
    pub(super) async fn tell(
        &mut self,
        operation: &Operation,
        result: Result<&Outcome, &AttemptError>,
        queue: Option<&Queue>,
    ) {
        if !self.meter.is_on() {
            return;
        }
        if let Ok(outcome) = result {
            self.meter_pool_at(outcome.commit);
        }
        let ended = metrics::Operation {
            name: metrics::operation_name(operation),
            succeeded: result.is_ok(),
            ended: SystemTime::now(),
            took: self.meter.began.elapsed(),
            waited: match result {
                Ok(outcome) if operation.can_wait() => Some(outcome.waited.unwrap_or_default()),
                _ => None,
            },
            held: self.meter.held,
            lost_races: self.meter.lost_races,
            retried_faults: self.remote.faults(),
        };
        let stopped = matches!(
            result,
            Err(AttemptError::Stopped | AttemptError::StoppedHolding { .. })
        );
        let ending = Ending {
            operation: Some(ended).filter(|_| !stopped),
            pool: self.meter.pool,
            line: queue.map(line_of),
        };
        let Some(reporter) = &mut self.meter.reporter else {
            return;
        };
        let told = tokio::select! {
            told = reporter.finish(ending) => told,
            // In an abort others have to come to their end too.
            () = stopped_for(TELL, &self.stop) => None,
        };
        if let Some(err) = told {
            terminal::say(self.log, format_args!("warning: {}", terminal::chain(&err)));
        }
    }

    /// Takes the pool at `commit` for what it is now, as far as that is known without asking again.
    pub(super) fn meter_pool_at(&mut self, commit: Oid) {
        if self.meter.is_on()
            && let Ok(Some(state)) = self.state_at(commit)
        {
            self.meter.pool = Some(state);
        }
    }

    fn state_at(&self, commit: Oid) -> Result<Option<PoolState>, HistoryError> {
        let here = Snapshot {
            commit,
            depth: Depth::RECENT,
        };
        let pool = read_pool(&self.remote, &here, &self.pool)?;
        let history = self.remote.history(&here);
        Ok(pool.map(|pool| state_of(&history, &pool)))
    }
}

fn state_of(history: &History<'_>, pool: &Pool) -> PoolState {
    let mut state = PoolState {
        free: 0,
        claimed: 0,
        damaged: 0,
        oldest_claim: Since::Unknown,
    };
    for (_, lock) in pool.locks() {
        match lock {
            State::Unclaimed(_) => state.free += 1,
            State::Claimed(_) => state.claimed += 1,
            State::Damaged(_) => state.damaged += 1,
        }
    }
    state.oldest_claim = match ledger::claims(history, std::slice::from_ref(pool.name())) {
        Ok(claims) => claims
            .values()
            .flat_map(|claims| claims.values())
            .map(|claim| claim.made)
            .min()
            .map_or(Since::Nothing, Since::When),
        // Deeper than what is here.
        Err(_) => Since::Unknown,
    };
    state
}

fn line_of(queue: &Queue) -> Line {
    let (length, oldest) = queue.census();
    Line {
        length,
        oldest: match (length, oldest) {
            (0, _) => Since::Nothing,
            (_, Some(oldest)) => Since::When(moment_of(oldest)),
            (_, None) => Since::Unknown,
        },
    }
}

fn moment(seconds: i64) -> SystemTime {
    moment_of(u64::try_from(seconds).unwrap_or_default())
}

fn moment_of(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH
        .checked_add(Duration::from_secs(seconds))
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

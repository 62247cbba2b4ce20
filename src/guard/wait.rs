//! The loop: look, decide, pause, until it is our turn.

use std::time::Duration;

use gitlab::Backoff;
use pace::Fault;
use rand::RngExt;
use tokio::time::{Instant, sleep, timeout_at};

use crate::look::LookError;
use crate::rule::{Conflict, Own, Reading, Why};
use crate::turn::{BETWEEN, Step, Turn};

/// How long faults are borne with, if nobody wants to wait.
const SHORT: Duration = Duration::from_secs(30);

/// How often a wait in which nothing changes is told of.
const REMINDER: Duration = Duration::from_secs(60);

/// The limits of the pause between two looks at those who are in the way, in seconds.
const PAUSE: std::ops::RangeInclusive<u64> = 3..=15;

/// Gives readings.
pub trait Look {
    /// Reads once.
    fn look(&mut self) -> impl Future<Output = Result<Reading, LookError>>;
}

/// On which terms to wait.
#[derive(Debug, Clone)]
pub struct Terms {
    /// Who we are.
    pub own: Own,
    /// How long to wait in all; `None` for ever.
    pub timeout: Option<Duration>,
    /// Whether to give up as soon as somebody is in the way.
    pub no_wait: bool,
    /// The longest pause between two looks; `None` for the usual ones.
    pub poll: Option<Duration>,
    /// From when on after the start of our job readings count; see [`crate::turn::SETTLE`].
    pub settle: Duration,
}

/// How the wait ended.
#[derive(Debug)]
pub enum End {
    /// It is our turn.
    Free,
    /// Somebody is in the way, and we were not to wait.
    Taken(Vec<Conflict>),
    /// The time is over.
    TimedOut {
        /// How long we waited.
        after: Duration,
        /// Whether there was a reading that showed somebody in the way; if not, there was no answer that settled it.
        saw_conflicts: bool,
    },
    /// GitLab does not let us read.
    Refused(LookError),
}

/// What there is to tell meanwhile.
#[derive(Debug)]
pub enum News<'a> {
    /// Others than before are in the way, or nobody any more.
    Changed(&'a [Conflict]),
    /// The same as before are in the way.
    Unchanged,
    /// The same are in the way, after so long a time, which is told once a minute.
    Still(&'a [Conflict], Duration),
    /// Nobody is in the way. We look again after this time, to be sure.
    Confirming(Duration),
    /// GitLab's answers are older than our own job.
    Unseen,
    /// GitLab cannot be read; it is tried again after a pause.
    Fault(&'a LookError, Duration),
    /// It is our turn.
    Free,
}

/// Waits until it is our turn.
pub async fn wait(look: &mut impl Look, terms: &Terms, tell: &mut dyn FnMut(News<'_>)) -> End {
    let began = Instant::now();
    let mut state = State {
        turn: Turn::new(terms.own, terms.settle),
        shown: Vec::new(),
        told: began,
        saw_conflicts: false,
        faults: Backoff::default(),
        faulty_since: None,
        refusals: 0,
        is_unseen: false,
    };
    let work = state.run(look, terms, began, tell);
    let Some(end) = terms.timeout.and_then(|timeout| began.checked_add(timeout)) else {
        return work.await;
    };
    match timeout_at(end, work).await {
        Ok(end) => end,
        Err(_) => End::TimedOut {
            after: began.elapsed(),
            saw_conflicts: state.saw_conflicts,
        },
    }
}

struct State {
    turn: Turn,
    /// Those who were told of last.
    shown: Vec<(u64, Why)>,
    /// When something was told of last.
    told: Instant,
    saw_conflicts: bool,
    faults: Backoff,
    faulty_since: Option<Instant>,
    /// Refusals in a row.
    refusals: u32,
    is_unseen: bool,
}

impl State {
    async fn run(
        &mut self,
        look: &mut impl Look,
        terms: &Terms,
        began: Instant,
        tell: &mut dyn FnMut(News<'_>),
    ) -> End {
        loop {
            let at = began.elapsed();
            let reading = match look.look().await {
                Ok(reading) => reading,
                Err(fault) => match self.bear(fault, terms, tell).await {
                    Some(end) => return end,
                    None => continue,
                },
            };
            self.faults.reset();
            (self.faulty_since, self.refusals) = (None, 0);
            let pause = match self.turn.after(at, &reading) {
                Step::Enter => {
                    tell(News::Free);
                    return End::Free;
                }
                Step::Confirm(pause) => {
                    if !self.shown.is_empty() {
                        self.show(&[], began, tell);
                    }
                    tell(News::Confirming(pause));
                    pause
                }
                Step::Unseen(pause) => {
                    if !std::mem::replace(&mut self.is_unseen, true) {
                        tell(News::Unseen);
                    }
                    pause
                }
                Step::Wait(conflicts) if terms.no_wait => return End::Taken(conflicts),
                Step::Wait(conflicts) => {
                    self.saw_conflicts = true;
                    self.show(&conflicts, began, tell);
                    match terms.poll {
                        None => Duration::from_secs(rand::rng().random_range(PAUSE)),
                        Some(longest) => longest.mul_f64(rand::rng().random_range(0.5..=1.0)),
                    }
                }
            };
            sleep(pause).await;
        }
    }

    /// Tells of a fault and pauses, or gives up.
    async fn bear(
        &mut self,
        fault: LookError,
        terms: &Terms,
        tell: &mut dyn FnMut(News<'_>),
    ) -> Option<End> {
        let is_transient = fault.is_transient();
        self.refusals = if is_transient { 0 } else { self.refusals + 1 };
        if self.refusals > 1 {
            return Some(End::Refused(fault));
        }
        let pause = match &fault {
            // A token or a project that was made a moment ago may not be everywhere yet.
            _ if !is_transient => BETWEEN.min(terms.settle),
            LookError::Gitlab(fault) => self.faults.after(fault),
            LookError::Closed { .. } => BETWEEN,
        };
        let since = *self.faulty_since.get_or_insert_with(Instant::now);
        if terms.no_wait && since.elapsed() + pause > SHORT {
            return Some(End::TimedOut {
                after: since.elapsed(),
                saw_conflicts: self.saw_conflicts,
            });
        }
        tell(News::Fault(&fault, pause));
        sleep(pause).await;
        None
    }

    /// Tells who is in the way.
    fn show(&mut self, conflicts: &[Conflict], began: Instant, tell: &mut dyn FnMut(News<'_>)) {
        let now: Vec<(u64, Why)> = conflicts
            .iter()
            .map(|conflict| (conflict.pipeline.id, conflict.why))
            .collect();
        if now != self.shown {
            (self.shown, self.told) = (now, Instant::now());
            tell(News::Changed(conflicts));
        } else if self.told.elapsed() >= REMINDER {
            self.told = Instant::now();
            tell(News::Still(conflicts, began.elapsed()));
        } else {
            tell(News::Unchanged);
        }
    }
}

#[cfg(test)]
mod tests;

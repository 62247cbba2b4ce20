//! The one loop: read the pool, decide, publish, wait, and again until the operation is done.
//!
//! All retrying, waiting and giving up is here and below, for every operation. [`Attempt`] is what is asked; `course` is how
//! far it is, with what we claimed and have told nobody of (`claim`).
//!
//! ```text
//! round        looks, decides (`facts`), and does what there is to do:
//!   publish      a change becomes a commit; `land` brings it to the branch by the rules of `landing`
//!   wait         what cannot be had yet is waited for, in the line (`in_line`, `lines`, `queue`)
//!   at_branch    who has lost a race for the branch pushes when it is his turn, or goes `along` with somebody else's push
//! adopt        what other runs of the same step have claimed
//! undo         what was claimed for nobody is given back, by the rules of `back`
//! ```

mod abort;
mod adopt;
mod along;
mod at_branch;
mod back;
mod claim;
mod course;
mod error;
mod facts;
mod in_line;
mod land;
mod landing;
mod lease;
mod lines;
mod lookout;
mod meter;
#[cfg(test)]
mod model;
mod news;
mod numbered;
mod others_first;
mod outcome;
mod publish;
mod queue;
mod reading;
mod round;
mod tidy;
mod undo;
mod wait;

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

pub(crate) use abort::GOES_ON;
use course::Course;
pub use error::AttemptError;
pub(crate) use facts::fitting;
use lines::Lines;
pub use meter::Meter;
pub use news::Usual;
pub(crate) use numbered::next_number;
pub use outcome::{GivenBack, Outcome};
pub use queue::InLine;
use queue::{Patience, Queue, Together};
pub(crate) use queue::{component, refs_of_branch};
pub use reading::read_pool;
use reading::retried;
pub(crate) use reading::{deeper, reach, snapshot, snapshot_if_moved, work_out};
pub use tidy::DeadTickets;
pub(crate) use tidy::clear_dead_tickets;
use tokio_util::sync::CancellationToken;

use crate::line::Need;
use crate::lock::PoolName;
use crate::message::Origin;
use crate::number;
use crate::operation::{Operation, Part};
use git::{Identity, Remote};
use pace::{Budget, Pace};
use terminal::Paint;

/// What one operation needs to be carried out.
pub struct Attempt<'a> {
    /// The branch.
    pub remote: Remote,
    /// The pool on it.
    pub pool: PoolName,
    /// On whose behalf.
    pub origin: Origin,
    /// Who commits.
    pub identity: Identity,
    /// When to try again.
    pub pace: Pace,
    /// How long to wait for what cannot be had at once; `None` for as long as it takes.
    pub patience: Option<Duration>,
    /// How to wait in line; `None` to wait without one, for whatever is free when we look.
    pub in_line: Option<InLine>,
    /// Whether only those locks may be given back that whoever asks has claimed himself.
    pub only_own: bool,
    /// What is told to a Pushgateway.
    pub meter: Meter,
    /// Whether the log shows colours.
    pub paint: Paint,
    /// The step that claims are made for (see [`crate::message::STEP`]), if it is to be known again by a later run.
    pub step: Option<String>,
    /// For how long the holder need not be heard of, where a claim is made or renewed; `None` for ever.
    pub lease: Option<Duration>,
    /// Why a lock is claimed, if it is said: it goes into the commit.
    pub reason: Option<String>,
    /// Whether a claim ends with a command: nobody keeps it but what runs in that.
    pub ends_with_command: bool,
    /// Whether a lock that there is not is waited for a while, since somebody may be about to add it.
    pub awaits_missing: bool,
    /// Where markers go, if the operation may have to be taken up by a run after this one.
    pub markers: Option<Markers>,
    /// Cancelled when we are told to stop; while an operation runs, also when its time is over.
    pub stop: CancellationToken,
    /// Cancelled when there are but seconds left to give something back, too few to stand in line at the branch.
    pub hurry: CancellationToken,
    /// Where people read what is going on.
    pub log: &'a mut dyn Write,
    /// What kept us from being done, when it was looked last.
    pub trouble: String,
    /// Whether it has been said that the clocks differ.
    pub told_clock: bool,
}

/// How much longer than the patience of whoever asked a step may take in all, whatever it waits for: the last look, and
/// who holds the lock, have to be found out.
const MORE_THAN_PATIENCE: Duration = Duration::from_secs(2);

/// The least time for a step that may not wait: for one honest try.
const ONE_TRY: Duration = Duration::from_secs(8);

/// Where the markers of a step are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Markers {
    /// The folder.
    pub folder: PathBuf,
    /// Which step it is: its build, its pool and what it asks for.
    pub request: String,
    /// The same of a run that has given its answer, if it is certain that another run of this is the same step again, whose
    /// answer was not heard.
    pub answered: Option<String>,
}

impl Attempt<'_> {
    /// Carries out `operation`, waiting for as long as it takes, and hands the outcome to `answer`.
    ///
    /// Whatever keeps the answer from being heard (a signal at any moment, a fault, a closed pipe): what was claimed is
    /// given back, for nobody would know that it is his. Concourse takes no notice of the answer of a step that it has
    /// told to stop, so that a signal counts as long as we are there, and the answer is the last thing of all.
    ///
    /// # Errors
    /// [`AttemptError`]. Except for [`AttemptError::Unknown`] and what the log then says, nothing is left changed by an
    /// operation that claims.
    pub async fn run(
        &mut self,
        operation: &Operation,
        answer: impl AsyncFnOnce(&Outcome) -> io::Result<()>,
    ) -> Result<Outcome, AttemptError> {
        let limit = self.patience;
        let limit = limit.map(|patience| patience.saturating_add(MORE_THAN_PATIENCE).max(ONE_TRY));
        let budget = Budget::new(self.stop.clone(), limit);
        self.stop = budget.over().clone();
        let refs = refs_of_branch(self.remote.branch());
        self.remote.list_besides(&refs);
        let mut course = Course::new(operation, self);
        course.lines = self.lines_for(operation);
        let result = match Box::pin(self.adopt(&mut course)).await {
            Ok(Some(outcome)) => Ok(outcome),
            Ok(None) => Box::pin(self.carry_out(&mut course)).await,
            Err(err) => Err(err),
        };
        // What has come about in time counts, even if to tell of it takes longer.
        self.stop = budget.stop().clone();
        let mut result = match result {
            Ok(outcome) => Box::pin(self.conclude(&mut course, outcome, answer)).await,
            Err(err) => Err(err),
        };
        if result.is_ok() {
            let markers = self.markers.as_ref();
            let answered = markers.and_then(|place| place.answered.as_deref());
            course.claim.is_told(answered);
            return result;
        }
        if matches!(result, Err(AttemptError::Stopped)) && budget.is_out_of_time() {
            result = Err(AttemptError::OutOfTime {
                after: budget.elapsed(),
                patience: self.patience.unwrap_or_default(),
                trouble: std::mem::take(&mut self.trouble),
            });
        }
        let is_alone = course.claim.may_stand().is_none();
        match Box::pin(self.undo(&mut course.claim, &mut course.branch)).await {
            Ok(()) => {}
            Err((locks, by)) => match result {
                Err(AttemptError::Stopped) => {
                    result = Err(AttemptError::StoppedHolding { locks, by });
                }
                Err(AttemptError::OutOfTime { after, .. }) => {
                    result = Err(AttemptError::OutOfTimeHolding { after, locks, by });
                }
                _ => {}
            },
        }
        Box::pin(self.leave_lines(&mut course, is_alone)).await;
        Box::pin(self.tell(operation, result.as_ref(), course.lines.first())).await;
        result
    }

    /// Brings an operation that was carried out to its end: with a word to everybody who wants one, last of all to whoever
    /// asked for it.
    async fn conclude(
        &mut self,
        course: &mut Course<'_>,
        outcome: Outcome,
        answer: impl AsyncFnOnce(&Outcome) -> io::Result<()>,
    ) -> Result<Outcome, AttemptError> {
        self.go_on_unless_stopped().await?;
        let mut outcome = outcome;
        if course.operation.claims() {
            outcome.number = match course.number {
                Some((commit, number)) if commit == outcome.commit => Some(number),
                _ => {
                    let claim = self.remote.store().commit(outcome.commit)?;
                    claim.and_then(|claim| number::of(&claim.message))
                }
            };
        }
        // So that nothing slow is left to do after the answer.
        let removal = self.remote.begin_to_remove();
        self.leave_lines(course, false).await;
        self.go_on_unless_stopped().await?;
        self.tell(course.operation, Ok(&outcome), course.lines.first())
            .await;
        self.go_on_unless_stopped().await?;
        // Whoever should read it may be gone, or busy with something else for ever.
        tokio::select! {
            biased;
            told = answer(&outcome) => told.map_err(AttemptError::Unanswered)?,
            () = self.stop.cancelled() => return Err(AttemptError::Stopped),
        }
        if let Some(removal) = removal {
            // As long as we are there, we hear when we are told to stop.
            let _ = self.stop.run_until_cancelled(removal.done()).await;
        }
        self.go_on_unless_stopped().await?;
        Ok(outcome)
    }

    /// Fails if we have been told to stop, be it just now.
    async fn go_on_unless_stopped(&self) -> Result<(), AttemptError> {
        // A signal that has come by now is heard of: what brings it in is polled by the first, and cancels by the second.
        for _ in 0..2 {
            tokio::task::yield_now().await;
        }
        match self.stop.is_cancelled() {
            true => Err(AttemptError::Stopped),
            false => Ok(()),
        }
    }

    /// The lines that an operation may have to stand in.
    fn lines_for(&mut self, operation: &Operation) -> Lines {
        // Who does not wait at all needs no place, but lets those go first who have one.
        let (Some(settings), Some(need)) = (self.in_line.clone(), Need::of(operation)) else {
            return Lines::default();
        };
        let patience = Patience {
            limit: self.patience,
            retry_delay: self.pace.retry_delay,
        };
        let branch = self.remote.branch();
        let queue = |pool: &PoolName, need: Need| {
            Queue::new(branch, pool, need, settings.clone(), patience)
        };
        let parts = operation.parts();
        let lines = match parts {
            [] => vec![queue(&self.pool, need)],
            parts => {
                let id = uuid::Uuid::new_v4().to_string();
                let line = |part: &Part| {
                    let others = parts.iter().map(|other| other.pool.clone());
                    let together = Together {
                        id: id.clone(),
                        others: others.filter(|other| *other != part.pool).collect(),
                        watched: self.pool.clone(),
                    };
                    queue(&part.pool, Need::of_part(part)).together(together)
                };
                parts.iter().map(line).collect()
            }
        };
        let lines = Lines::new(lines);
        if let Some(first) = lines.first() {
            self.remote.watch(first.start());
        }
        lines
    }
}

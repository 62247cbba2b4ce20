//! The one loop: read the pool, decide, publish, wait, and again until the operation is done.
//!
//! All retrying, waiting and giving up is here and below, for every operation.

mod abort;
mod back;
mod error;
mod facts;
mod in_line;
mod land;
mod landing;
mod meter;
#[cfg(test)]
mod model;
mod news;
mod others_first;
mod publish;
mod queue;
mod reading;
mod undo;
mod wait;

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

pub(crate) use abort::GOES_ON;
pub use error::AttemptError;
pub use meter::Meter;
use news::Holder;
pub use news::Usual;
use others_first::OthersFirst;
use publish::Published;
pub use queue::InLine;
use queue::{Patience, Queue};
pub(crate) use queue::{component, refs_of_branch};
pub use reading::read_pool;
pub(crate) use reading::{deeper, snapshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wait::Waiting;

use crate::ledger;
use crate::line::Need;
use crate::line::sightings::Said;
use crate::lock::{LockName, PoolName};
use crate::marker::Marker;
use crate::message::{Origin, Verb, listed};
use crate::operation::Operation;
use crate::rules::{Change, Decision};
use git::object::Oid;
use git::refusal::{Kind, of_ref};
use git::{Depth, FaultError, HistoryError, Identity, Interest, Listing, Remote, Snapshot};
use pace::{Budget, Pace, pauses_after_lost_races};
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
    /// What is told to a Pushgateway.
    pub meter: Meter,
    /// Whether the log shows colours.
    pub paint: Paint,
    /// The step that claims are made for (see [`crate::message::STEP`]), if it is to be known again by a later run.
    pub step: Option<String>,
    /// For how long the holder need not be heard of, where a claim is made or renewed; `None` for ever.
    pub lease: Option<Duration>,
    /// Where markers go, if the operation may have to be taken up by a run after this one.
    pub markers: Option<Markers>,
    /// Ours, once a claim is about to be pushed.
    pub marker: Option<Marker>,
    /// Cancelled when we are told to stop; while an operation runs, also when its time is over.
    pub stop: CancellationToken,
    /// Where people read what is going on.
    pub log: &'a mut dyn Write,
    /// What kept us from being done, when it was looked last.
    pub trouble: String,
}

/// How often in a row a server may say no in words that are not known, while the branch moves, before they are final.
const PATIENCE_FOR_UNKNOWN_WORDS: u32 = 5;

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
}

/// A claim that may be on the branch, and that no one has been told of.
#[derive(Clone)]
struct Pending {
    locks: Vec<LockName>,
    verb: Verb,
    base: Oid,
    commit: Oid,
    /// The objects of the commit.
    objects: Vec<Oid>,
    /// What a run that vanished has pushed, if it was that: its objects are not here.
    left: Option<Vec<u8>>,
}

/// An operation that was carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The commit that did it, now or earlier.
    pub commit: Oid,
    /// The locks it was about.
    pub locks: Vec<LockName>,
    /// Whether this run did it, and not somebody before.
    pub done_now: bool,
    /// How long was waited for them, if at all.
    pub waited: Option<Duration>,
    /// The place in line at which we began to wait, if we had to.
    pub place_at_arrival: Option<usize>,
    /// Who held the first of the locks before, as far as is known.
    pub held_before_by: Option<String>,
}

impl Outcome {
    /// One that somebody else has brought about.
    fn new(commit: Oid, locks: Vec<LockName>) -> Outcome {
        Outcome {
            commit,
            locks,
            done_now: false,
            waited: None,
            place_at_arrival: None,
            held_before_by: None,
        }
    }
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
        let mut queue = self.queue_for(operation);
        let mut pending = None;
        let result = match Box::pin(self.adopt(&mut pending)).await {
            Ok(Some(outcome)) => Ok(outcome),
            Ok(None) => Box::pin(self.carry_out(operation, &mut pending, &mut queue)).await,
            Err(err) => Err(err),
        };
        // What has come about in time counts, even if to tell of it takes longer.
        self.stop = budget.stop().clone();
        let mut result = match result {
            Ok(outcome) => Box::pin(self.conclude(operation, outcome, answer, &mut queue)).await,
            Err(err) => Err(err),
        };
        if result.is_ok() {
            self.unmark();
            return result;
        }
        if matches!(result, Err(AttemptError::Stopped)) && budget.is_out_of_time() {
            result = Err(AttemptError::OutOfTime {
                after: budget.elapsed(),
                patience: self.patience.unwrap_or_default(),
                trouble: std::mem::take(&mut self.trouble),
            });
        }
        let is_alone = pending.is_none();
        let left = match pending {
            Some(pending) => Box::pin(self.undo(pending)).await.err(),
            None => None,
        };
        match left {
            None => self.unmark(),
            Some((locks, commit)) => match result {
                Err(AttemptError::Stopped) => {
                    result = Err(AttemptError::StoppedHolding { locks, commit });
                }
                Err(AttemptError::OutOfTime { after, .. }) => {
                    result = Err(AttemptError::OutOfTimeHolding {
                        after,
                        locks,
                        commit,
                    });
                }
                _ => {}
            },
        }
        Box::pin(self.leave_line(&mut queue, is_alone)).await;
        Box::pin(self.tell(operation, result.as_ref(), queue.as_ref())).await;
        result
    }

    /// Brings an operation that was carried out to its end: with a word to everybody who wants one, last of all to whoever
    /// asked for it.
    async fn conclude(
        &mut self,
        operation: &Operation,
        outcome: Outcome,
        answer: impl AsyncFnOnce(&Outcome) -> io::Result<()>,
        queue: &mut Option<Queue>,
    ) -> Result<Outcome, AttemptError> {
        self.go_on_unless_stopped().await?;
        self.leave_line(queue, false).await;
        self.go_on_unless_stopped().await?;
        self.tell(operation, Ok(&outcome), queue.as_ref()).await;
        self.go_on_unless_stopped().await?;
        // Whoever should read it may be gone, or busy with something else for ever.
        tokio::select! {
            biased;
            told = answer(&outcome) => told.map_err(AttemptError::Unanswered)?,
            () = self.stop.cancelled() => return Err(AttemptError::Stopped),
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

    fn unmark(&mut self) {
        if let Some(marker) = self.marker.take() {
            marker.clear();
        }
    }

    /// The line that an operation may have to stand in.
    fn queue_for(&mut self, operation: &Operation) -> Option<Queue> {
        // Who does not wait at all needs no place, but lets those go first who have one.
        let settings = self.in_line.clone()?;
        let need = Need::of(operation)?;
        let patience = Patience {
            limit: self.patience,
            retry_delay: self.pace.retry_delay,
        };
        let queue = Queue::new(self.remote.branch(), &self.pool, need, settings, patience);
        self.remote.watch(queue.start());
        Some(queue)
    }

    /// Carries out `operation`. From when a claim of ours may be on the branch, `pending` says so.
    async fn carry_out(
        &mut self,
        operation: &Operation,
        pending: &mut Option<Pending>,
        queue: &mut Option<Queue>,
    ) -> Result<Outcome, AttemptError> {
        let mut course = Course::new(operation, self);
        loop {
            match Box::pin(self.go_round(&mut course, pending, queue)).await {
                Ok(Some(outcome)) => return Ok(outcome),
                Ok(None) => {}
                Err(Setback::Shallow) => course.deepen(),
                Err(Setback::Behind) => course.fetch_anyway = true,
                Err(Setback::Failed(err)) => return Err(*err),
            }
        }
    }

    /// Looks once at the pool, and does what there is to do; `None` when it is to be looked at again.
    async fn go_round(
        &mut self,
        course: &mut Course<'_>,
        pending: &mut Option<Pending>,
        queue: &mut Option<Queue>,
    ) -> Result<Option<Outcome>, Setback> {
        let operation = course.operation;
        let look_began = Instant::now();
        let Some((head, snapshot)) = self.look(course, queue).await? else {
            return Ok(None);
        };
        let look_took = look_began.elapsed();
        // On the very snapshot that we go by, so that no other run of the step can claim in between.
        if let Some(step) = self.step.clone().filter(|_| operation.claims()) {
            let history = self.remote.history(&snapshot);
            match ledger::claim_of_step(&history, &self.pool, &step, course.not_ours)? {
                Some(claim) if !self.is_asked_for(&snapshot, operation, &claim)? => {
                    // Somebody was told of it. It is his to give back, and no answer to what is asked now.
                    terminal::say(
                        self.log,
                        format_args!(
                            "note: a run of this step holds `{}` by the claim {}, which is not what is asked now: it is left as it is",
                            listed(&claim.locks),
                            claim.commit
                        ),
                    );
                    course.not_ours = Some(snapshot.commit);
                }
                Some(claim) => {
                    let taken = self.take_over(&snapshot, claim, operation, pending, queue);
                    return Ok(Box::pin(taken).await?);
                }
                None => course.not_ours = Some(snapshot.commit),
            }
        }
        let (decision, standing) = self.decide(&snapshot, operation, queue.as_ref())?;
        if self.fetch_missed(course).await? {
            return Ok(None);
        }
        if let (Some(queue), Some(standing)) = (queue.as_mut(), &standing) {
            queue.note_standing(standing, snapshot.commit);
        }
        match decision {
            Decision::Change(change) => {
                // Others are to be served too, and before us. The branch takes one push at a time, so that it is not for
                // all of them to try at once; but whoever does not use his turn is not waited for.
                let before = standing.map_or(0, |standing| standing.served_before.len());
                if before > 0 {
                    self.take_ticket(queue).await?;
                    match course.others_first.pause(before, head, look_took) {
                        Some(pause) => {
                            self.rest(pause, queue).await?;
                            return Ok(None);
                        }
                        None if head != snapshot.commit => {
                            course.fetch_anyway = true;
                            return Ok(None);
                        }
                        None => {}
                    }
                }
                Box::pin(self.change(&snapshot, change, course, pending, queue)).await
            }
            Decision::Wait(wait) => {
                Box::pin(self.bide(&snapshot, &wait, standing, course, queue)).await?;
                Ok(None)
            }
            Decision::Done(locks, since) => {
                let commit = self.since(&snapshot, locks.first(), since)?;
                self.remote.forget_push().await;
                Ok(Some(Outcome::new(commit, locks)))
            }
            Decision::Refuse(refusal) => {
                self.remote.forget_push().await;
                Err(refusal.into())
            }
            // Answered by `decide`, so that it does not come up here.
            Decision::Ask(..) => Ok(None),
        }
    }

    /// Looks where the branch is, and fetches what has to do with us; gives the branch's head, and the snapshot to go by:
    /// the last one, when nothing has come that could matter to us. `None` when there is none yet.
    async fn look(
        &mut self,
        course: &mut Course<'_>,
        queue: &mut Option<Queue>,
    ) -> Result<Option<(Oid, Snapshot)>, Setback> {
        let push_follows = course.operation.changes() && course.waiting.since.is_none();
        let fetch_anyway = std::mem::take(&mut course.fetch_anyway);
        let in_line = queue.as_ref().filter(|_| !fetch_anyway);
        let depth = course.depth;
        let interest = |listing: &Listing| match in_line {
            Some(queue) => queue.interest(listing, depth),
            None => Interest::Head(depth, Vec::new()),
        };
        self.remote.may_begin_anew();
        let began = Instant::now();
        let looked = self.read(async |remote| remote.look(push_follows, &interest).await);
        let (listing, snapshot) = Box::pin(looked).await?;
        if let Some(queue) = queue {
            let store = self.remote.store();
            let said = |commit| Said::in_store(store, commit);
            queue.observe(&listing, &said, began.elapsed());
        }
        course.last = snapshot.or(course.last);
        Ok(course.last.map(|snapshot| (listing.head, snapshot)))
    }

    /// Fetches the metadata that a decision had to do without, and says whether it is to be made anew.
    async fn fetch_missed(&mut self, course: &mut Course<'_>) -> Result<bool, FaultError> {
        let missed = self.remote.store().take_missed();
        if missed.is_empty() {
            return Ok(false);
        }
        self.read(async |remote| remote.fetch_files(&missed).await)
            .await?;
        course.fetch_anyway = true;
        Ok(true)
    }

    /// Publishes a change; `None` when somebody else was faster.
    async fn change(
        &mut self,
        snapshot: &Snapshot,
        change: Change,
        course: &mut Course<'_>,
        pending: &mut Option<Pending>,
        queue: &mut Option<Queue>,
    ) -> Result<Option<Outcome>, Setback> {
        let waited = course.waiting.since.map(|since| since.elapsed());
        let history = self.remote.history(snapshot);
        let held_before = change
            .locks
            .first()
            .filter(|_| waited.is_some() && change.verb == Verb::Claiming)
            .and_then(|lock| Holder::of(&history, &self.pool, lock).ok().flatten());
        self.meter.note_change(&history, &self.pool, &change);
        match self
            .publish(snapshot, None, &change, pending, queue)
            .await?
        {
            Published::Landed(commit) => match change.shortfall {
                Some(shortfall) => Err(shortfall.into()),
                None => Ok(Some(Outcome {
                    commit,
                    locks: change.locks,
                    done_now: true,
                    waited,
                    place_at_arrival: course.waiting.place_at_arrival,
                    held_before_by: held_before.map(|holder| holder.who),
                })),
            },
            Published::Overtaken(no) => {
                // Words that are not known may be those of a lost race, or a No that is for good.
                match no.filter(|no| of_ref(&no.reason) == Kind::Other) {
                    Some(no) if course.declined >= PATIENCE_FOR_UNKNOWN_WORDS => {
                        let subject = change.verb.as_str().to_owned();
                        return Err(self.rejected(subject, no).into());
                    }
                    Some(_) => course.declined += 1,
                    None => course.declined = 0,
                }
                course.races += 1;
                self.trouble = format!(
                    "others changed the branch first, {} times in a row",
                    course.races
                );
                self.meter.lost_race();
                if let Some(queue) = queue {
                    queue.note_overtaken();
                }
                let pause = course.lost_races.next().unwrap_or_default();
                // Where several are at it, an order among them spares them most of the races.
                self.take_ticket(queue).await?;
                self.rest(pause, queue).await?;
                Ok(None)
            }
        }
    }
}

/// How far an operation has come that is being carried out.
struct Course<'o> {
    operation: &'o Operation,
    began: Instant,
    /// How much of the history is fetched.
    depth: Depth,
    /// What we last went by.
    last: Option<Snapshot>,
    /// To fetch the head, though the line has nothing for us in it.
    fetch_anyway: bool,
    /// Where there was no claim of our step yet.
    not_ours: Option<Oid>,
    waiting: Waiting,
    others_first: OthersFirst,
    /// The pauses after races that will be lost.
    lost_races: Box<dyn Iterator<Item = Duration>>,
    /// How many races were lost so far.
    races: u32,
    /// How often in a row the branch moved, and the server said no in words that are not known.
    declined: u32,
}

impl<'o> Course<'o> {
    fn new(operation: &'o Operation, attempt: &Attempt<'_>) -> Course<'o> {
        // Ownership is proved by the history, so that it is better fetched at once. So is for how long something was held.
        let tells_hold = attempt.meter.is_on() && operation.gives_back();
        let asks_history = operation.claim_to_prove().is_some() || tells_hold;
        Course {
            operation,
            began: Instant::now(),
            depth: match asks_history {
                true => Depth::RECENT,
                false => Depth::HEAD,
            },
            last: None,
            fetch_anyway: false,
            not_ours: None,
            waiting: Waiting::new(attempt.paint),
            others_first: OthersFirst::default(),
            lost_races: Box::new(pauses_after_lost_races()),
            races: 0,
            declined: 0,
        }
    }

    /// Has more of the history fetched than what was not enough, whatever the line has for us.
    fn deepen(&mut self) {
        let depth = self.last.map_or(self.depth, |last| last.depth);
        self.depth = depth.deeper().unwrap_or(depth);
        self.fetch_anyway = true;
    }
}

/// Why a round came to no end.
enum Setback {
    /// The history that is here does not go back far enough.
    Shallow,
    /// What we go by may be older than what somebody shows us.
    Behind,
    /// It cannot be done.
    Failed(Box<AttemptError>),
}

impl From<HistoryError> for Setback {
    fn from(err: HistoryError) -> Setback {
        match err {
            HistoryError::Truncated => Setback::Shallow,
            HistoryError::Store(err) => err.into(),
        }
    }
}

impl<E> From<E> for Setback
where
    AttemptError: From<E>,
{
    fn from(err: E) -> Setback {
        Setback::Failed(Box::new(err.into()))
    }
}

//! The one loop: read the pool, decide, publish, wait, and again until the operation is done.
//!
//! All retrying, waiting and giving up is here and below, for every operation.

mod error;
mod meter;
mod news;
mod others_first;
mod publish;
mod queue;
mod undo;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

pub use error::AttemptError;
pub use meter::Meter;
pub use news::Usual;
use news::{Holder, News};
use others_first::OthersFirst;
use publish::Published;
pub use queue::InLine;
use queue::Queue;
pub(crate) use queue::{component, refs_of_branch};
use rand::RngExt;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::git::{
    Depth, History, HistoryError, Identity, Interest, Listing, Remote, RemoteError, Snapshot,
    StoreError,
};
use crate::ledger::{self, Fate};
use crate::line::{self, Need, Standing};
use crate::lock::{ClaimId, Holding, LockName, PoolName};
use crate::marker::Marker;
use crate::message::{Origin, Verb};
use crate::metadata;
use crate::object::Oid;
use crate::operation::{Condition, Operation, Want};
use crate::pace::{FaultError, Pace, pause_unless_stopped, pauses_after_lost_races, ride_out};
use crate::pool::{Decision, Facts, Pool, Refusal, Since, State, Turn, Wait, decide};
use crate::report::{self, Paint};

/// How many pauses the claim of a lock that does not exist waits for it to be added.
const PATIENCE_FOR_MISSING: u32 = 3;

/// The pause between two looks for each place in line: the first looks every second or so, those behind it as much more
/// seldom as it takes longer until it is their turn.
const PAUSE_PER_PLACE: Duration = Duration::from_secs(1);

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
    /// Cancelled when we are told to stop.
    pub stop: CancellationToken,
    /// Where people read what is going on.
    pub log: &'a mut dyn Write,
}

/// Where the markers of a step are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Markers {
    /// The folder.
    pub folder: PathBuf,
    /// Which step it is: its build, its pool and what it asks for.
    pub request: String,
}

/// A claim of ours on its way to the branch, or there, of which nobody has been told yet.
struct Pending {
    locks: Vec<LockName>,
    verb: Verb,
    base: Oid,
    commit: Oid,
    /// The objects of the commit.
    objects: Vec<Oid>,
    /// The push of a run that vanished, which may still be on its way: it is brought to its end before it is undone.
    left: Option<Vec<u8>>,
}

/// An operation that was carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The commit that did it, now or earlier.
    pub commit: Oid,
    /// The locks it was about.
    pub locks: Vec<LockName>,
    /// How long was waited for them, if at all.
    pub waited: Option<Duration>,
    /// The place in line at which we began to wait, if we had to.
    pub place_at_arrival: Option<usize>,
    /// Who held the first of the locks before, as far as is known.
    pub held_before_by: Option<String>,
}

impl Outcome {
    /// One that was not waited for.
    fn new(commit: Oid, locks: Vec<LockName>) -> Outcome {
        Outcome {
            commit,
            locks,
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
        let mut queue = self.queue_for(operation);
        let mut pending = None;
        let result = match Box::pin(self.adopt(&mut pending)).await {
            Ok(Some(outcome)) => Ok(outcome),
            Ok(None) => Box::pin(self.carry_out(operation, &mut pending, &mut queue)).await,
            Err(err) => Err(err),
        };
        let result = match result {
            Ok(outcome) => Box::pin(self.conclude(operation, outcome, answer, &mut queue)).await,
            Err(err) => Err(err),
        };
        if result.is_ok() {
            self.unmark();
            return result;
        }
        let settled = match pending {
            Some(pending) => Box::pin(self.undo(pending)).await,
            None => true,
        };
        if settled {
            self.unmark();
        }
        Box::pin(self.leave_line(&mut queue)).await;
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
        self.leave_line(queue).await;
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
        let queue = Queue::new(self.remote.branch(), &self.pool, need, settings);
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
        // Ownership is proved by the history, so that it is better fetched at once.
        // So is for how long something was held.
        let tells_hold = self.meter.is_on() && operation.gives_back();
        let mut depth = if operation.claim_to_prove().is_some() || tells_hold {
            Depth::RECENT
        } else {
            Depth::HEAD
        };
        let mut lost_races = pauses_after_lost_races();
        let mut waiting = Waiting::new(self.paint);
        let mut not_ours = None;
        let started = Instant::now();
        let mut last: Option<Snapshot> = None;
        let mut others_first = OthersFirst::default();
        let mut fetch_anyway = false;
        loop {
            let push_follows = operation.changes() && waiting.since.is_none();
            let interest = queue
                .as_ref()
                .filter(|_| !std::mem::take(&mut fetch_anyway));
            let look_began = Instant::now();
            let (listing, snapshot) = Box::pin(self.look(push_follows, depth, interest)).await?;
            let look_took = look_began.elapsed();
            if let Some(queue) = queue {
                queue.observe(&listing, self.remote.store());
            }
            // Without a new one nothing can have come free for us: the last one is as good.
            let Some(snapshot) = snapshot.or(last) else {
                continue;
            };
            last = Some(snapshot);
            // On the very snapshot that we go by, so that no other run of the step can claim in between.
            if let Some(step) = self.step.clone().filter(|_| operation.claims()) {
                let history = self.remote.history(&snapshot);
                let found = ledger::claim_of_step(&history, &self.pool, &step, not_ours);
                match found {
                    Ok(Some(claim)) => {
                        let taken = self.take_over(&snapshot, claim, operation, pending, queue);
                        match Box::pin(taken).await? {
                            Some(outcome) => return Ok(outcome),
                            None => continue,
                        }
                    }
                    Ok(None) => not_ours = Some(snapshot.commit),
                    Err(err) => {
                        depth = deeper(snapshot.depth, err)?;
                        continue;
                    }
                }
            }
            let (decision, standing) = match self.decide(&snapshot, operation, queue.as_ref()) {
                Ok(decided) => decided,
                Err(Undecided::NoPool(pool)) => {
                    return Err(AttemptError::NoPool {
                        pool,
                        branch: self.remote.branch().to_owned(),
                        remote: self.remote.name().to_owned(),
                    });
                }
                Err(Undecided::History(err)) => {
                    depth = deeper(snapshot.depth, err)?;
                    continue;
                }
            };
            if let (Some(queue), Some(standing)) = (queue.as_mut(), &standing) {
                queue.note_standing(standing);
            }
            let change = match decision {
                Decision::Change(change) => change,
                Decision::Wait(wait) => {
                    // A push that was begun is good for our ticket, if we are to take one.
                    if queue.as_ref().is_none_or(Queue::has_ticket) {
                        self.remote.forget_push().await;
                    }
                    let waited = started.elapsed();
                    if let Some(patience) = self.patience
                        && waited >= patience
                    {
                        self.remote.forget_push().await;
                        let holders = self.holders(wait.held(), snapshot.depth).await;
                        return Err(AttemptError::TimedOut {
                            after: patience,
                            wait,
                            holders,
                        });
                    }
                    self.check_missing(&wait, &mut waiting)?;
                    if waiting.since.is_none() {
                        waiting.since = Some(Instant::now());
                        waiting.place_at_arrival = standing.as_ref().map(|standing| standing.place);
                        if self.in_line.is_some() && snapshot.depth < Depth::RECENT {
                            // Who holds it, and for how long, is in the history. It is worth a fetch once.
                            depth = Depth::RECENT;
                            self.take_ticket(queue).await?;
                            continue;
                        }
                    }
                    self.take_ticket(queue).await?;
                    self.clear_line(queue).await;
                    let history = self.remote.history(&snapshot);
                    if self.meter.is_on()
                        && let Ok(Some(pool)) = read_pool(&self.remote, &snapshot, &self.pool)
                    {
                        let (queue, standing) = (queue.as_ref(), standing.as_ref());
                        self.meter.waits(&history, &pool, queue, standing);
                    }
                    waiting.news.say(
                        self.log,
                        &self.pool,
                        &wait,
                        standing.as_ref(),
                        &history,
                        waited,
                    );
                    let left = self
                        .patience
                        .map(|patience| patience.saturating_sub(started.elapsed()));
                    let place = standing.as_ref().map(|standing| standing.place);
                    self.wait(left, place, queue).await?;
                    continue;
                }
                Decision::Done(locks, since) => match self.since(&snapshot, locks.first(), since) {
                    Ok(commit) => {
                        self.remote.forget_push().await;
                        return Ok(Outcome::new(commit, locks));
                    }
                    Err(err) => {
                        depth = deeper(snapshot.depth, err)?;
                        continue;
                    }
                },
                Decision::Refuse(refusal) => {
                    self.remote.forget_push().await;
                    return Err(refusal.into());
                }
                // Answered by `decide`, so that it does not come up here.
                Decision::Ask(..) => continue,
            };
            // Others are to be served too, and before us. The branch takes one push at a time, so that it is not for all of
            // them to try at once; but whoever does not use his turn is not waited for.
            let before = standing.map_or(0, |standing| standing.served_before.len());
            if before > 0 {
                self.take_ticket(queue).await?;
                match others_first.pause(before, listing.head, look_took) {
                    Some(pause) => {
                        self.rest(pause, queue).await?;
                        continue;
                    }
                    None if listing.head != snapshot.commit => {
                        fetch_anyway = true;
                        continue;
                    }
                    None => {}
                }
            }
            let waited = waiting.since.map(|since| since.elapsed());
            let held_before = change
                .locks
                .first()
                .filter(|_| waited.is_some() && change.verb == Verb::Claiming)
                .and_then(|lock| {
                    let history = self.remote.history(&snapshot);
                    Holder::of(&history, &self.pool, lock).ok().flatten()
                });
            let history = self.remote.history(&snapshot);
            self.meter.note_change(&history, &self.pool, &change);
            match Box::pin(self.publish(&snapshot, None, &change, pending, queue)).await? {
                Published::Landed(commit) => {
                    if let Some(shortfall) = change.shortfall {
                        return Err(shortfall.into());
                    }
                    return Ok(Outcome {
                        commit,
                        locks: change.locks,
                        waited,
                        place_at_arrival: waiting.place_at_arrival,
                        held_before_by: held_before.map(|holder| holder.who),
                    });
                }
                Published::Overtaken => {
                    self.meter.lost_race();
                    if let Some(queue) = queue {
                        queue.note_overtaken();
                    }
                    let pause = lost_races.next().unwrap_or_default();
                    // Where several are at it, an order among them spares them most of the races.
                    self.take_ticket(queue).await?;
                    self.rest(pause, queue).await?;
                }
            }
        }
    }

    /// Looks what is there, and fetches what has to do with us.
    async fn look(
        &mut self,
        push_follows: bool,
        depth: Depth,
        queue: Option<&Queue>,
    ) -> Result<(Listing, Option<Snapshot>), FaultError> {
        let interest = |listing: &Listing| match queue {
            Some(queue) => queue.interest(listing, depth),
            None => Interest::Head(depth, Vec::new()),
        };
        let (remote, limit) = (&mut self.remote, self.pace.fault_limit);
        read(remote, limit, &self.stop, self.log, async |remote| {
            remote.look(push_follows, &interest).await
        })
        .await
    }

    async fn snapshot(&mut self, depth: Depth) -> Result<Snapshot, FaultError> {
        snapshot(
            &mut self.remote,
            depth,
            self.pace.fault_limit,
            &self.stop,
            self.log,
        )
        .await
    }

    /// Decides, answering from the line and from the history what the rules ask.
    fn decide(
        &self,
        snapshot: &Snapshot,
        operation: &Operation,
        queue: Option<&Queue>,
    ) -> Result<(Decision, Option<Standing>), Undecided> {
        let history = self.remote.history(snapshot);
        let pool = read_pool(&self.remote, snapshot, &self.pool)?
            .ok_or_else(|| Undecided::NoPool(self.pool.clone()))?;
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
            facts.destination = Some(there.ok_or_else(|| Undecided::NoPool(to.clone()))?);
        }
        let standing = queue.map(|queue| {
            let (line, me) = queue.line();
            line::standing(&line, me, &pool, &fits)
        });
        if let Some(standing) = &standing {
            // Alone we take any; which one the line would give does not matter.
            let alone =
                standing.place == 1 && standing.waiting == 1 && standing.served_before.is_empty();
            facts.turn = if alone {
                Turn::Open
            } else {
                standing.turn.clone()
            };
        }
        let draw = rand::rng().random();
        let decision = decide(&pool, operation, &facts, draw);
        let Decision::Ask(locks, claim) = decision else {
            return Ok((decision, standing));
        };
        facts.fates = Some(self.fates(&history, &locks, claim)?);
        Ok((decide(&pool, operation, &facts, draw), standing))
    }

    /// Tells whether a lock's metadata is as somebody wants it. Each is read once for each want.
    fn fitting<'p>(&'p self, pool: &'p Pool) -> impl Fn(&Want, &LockName) -> bool + 'p {
        let known: std::cell::RefCell<BTreeMap<(LockName, String), bool>> = Default::default();
        move |want, lock| {
            let wanted = |Condition { path, value }: &Condition| format!("{path}={value}");
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
                let content = self.remote.store().small_blob(entry.id, metadata::READABLE);
                let content = content.ok().flatten();
                content.is_some_and(|content| metadata::fits(&content, &want.conditions))
            });
            known.borrow_mut().insert(key, fits);
            fits
        }
    }

    fn fates(
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

    fn since(
        &self,
        snapshot: &Snapshot,
        lock: Option<&LockName>,
        since: Since,
    ) -> Result<Oid, HistoryError> {
        match (since, lock) {
            (Since::Commit(commit), _) => Ok(commit),
            (Since::LastTouch, None) => Ok(snapshot.commit),
            (Since::LastTouch, Some(lock)) => {
                let history = self.remote.history(snapshot);
                let touch = ledger::last_touch(&history, &self.pool, lock)?;
                // A lock that no commit touched cannot be there; a server's own cut history can hide it.
                Ok(touch.unwrap_or(snapshot.commit))
            }
        }
    }

    /// Gives up on a lock that does not come.
    fn check_missing(&self, wait: &Wait, waiting: &mut Waiting) -> Result<(), Refusal> {
        let Wait::Missing(lock) = wait else {
            waiting.missing_since = None;
            return Ok(());
        };
        let since = *waiting.missing_since.get_or_insert_with(Instant::now);
        if since.elapsed() < self.pace.retry_delay * PATIENCE_FOR_MISSING {
            return Ok(());
        }
        Err(Refusal::NoSuchLock {
            lock: lock.clone(),
            pool: self.pool.clone(),
        })
    }

    /// Pauses until it is time to look again: the sooner the nearer our place in line is to the first, at the latest
    /// after `retry_delay`, or when what is `left` of our patience is over.
    async fn wait(
        &mut self,
        left: Option<Duration>,
        place: Option<usize>,
        queue: &mut Option<Queue>,
    ) -> Result<(), AttemptError> {
        let longest = self.pace.retry_delay;
        let pause = match (place, queue.is_some()) {
            (Some(place), true) => {
                let place = u32::try_from(place).unwrap_or(u32::MAX);
                let pause = PAUSE_PER_PLACE.saturating_mul(place).min(longest);
                pause.mul_f64(rand::rng().random_range(0.75..=1.0))
            }
            _ => longest,
        };
        self.rest(pause.min(left.unwrap_or(Duration::MAX)), queue)
            .await
    }

    /// Pauses, and keeps our ticket alive meanwhile.
    async fn rest(
        &mut self,
        pause: Duration,
        queue: &mut Option<Queue>,
    ) -> Result<(), AttemptError> {
        let end = Instant::now() + pause;
        loop {
            let due = queue.as_ref().and_then(Queue::renewal_due);
            let next = due.filter(|due| *due < end);
            let left = next
                .unwrap_or(end)
                .saturating_duration_since(Instant::now());
            pause_unless_stopped(left, &self.stop).await?;
            if next.is_none() {
                return Ok(());
            }
            self.keep_ticket(queue).await?;
        }
    }

    /// Who holds these locks, a line for each, as far as can be found out.
    async fn holders(&mut self, locks: &[LockName], mut depth: Depth) -> Vec<String> {
        // More would hide the error that they are part of.
        const MOST: usize = 5;
        let mut lines = Vec::new();
        for lock in locks.iter().take(MOST) {
            // Without an answer the error is still true.
            while let Ok(snapshot) = self.snapshot(depth).await {
                let history = self.remote.history(&snapshot);
                match Holder::of(&history, &self.pool, lock) {
                    Ok(holder) => {
                        lines.extend(holder.map(|holder| holder.line()));
                        break;
                    }
                    Err(err) => match deeper(snapshot.depth, err) {
                        Ok(next) => depth = next,
                        Err(_) => break,
                    },
                }
            }
        }
        if locks.len() > MOST {
            lines.push(format!("and {} more", locks.len() - MOST));
        }
        lines
    }
}

/// Takes a snapshot, riding out faults, and says what there is to say about the way to it.
///
/// # Errors
/// [`FaultError`].
pub(crate) async fn snapshot(
    remote: &mut Remote,
    depth: Depth,
    fault_limit: Duration,
    stop: &CancellationToken,
    log: &mut dyn Write,
) -> Result<Snapshot, FaultError> {
    read(remote, fault_limit, stop, log, async |remote| {
        remote.snapshot(depth).await
    })
    .await
}

async fn read<T>(
    remote: &mut Remote,
    fault_limit: Duration,
    stop: &CancellationToken,
    log: &mut dyn Write,
    work: impl AsyncFn(&mut Remote) -> Result<T, RemoteError>,
) -> Result<T, FaultError> {
    let result = ride_out(fault_limit, stop, log, async || work(remote).await).await;
    for line in remote.take_notices() {
        report::say(log, format_args!("{line}"));
    }
    result
}

/// What one who waits keeps in mind.
struct Waiting {
    since: Option<Instant>,
    place_at_arrival: Option<usize>,
    missing_since: Option<Instant>,
    news: News,
}

impl Waiting {
    fn new(paint: Paint) -> Waiting {
        Waiting {
            since: None,
            place_at_arrival: None,
            missing_since: None,
            news: News::new(paint),
        }
    }
}

/// Why there is no decision yet, or none at all.
enum Undecided {
    NoPool(PoolName),
    History(HistoryError),
}

impl From<HistoryError> for Undecided {
    fn from(err: HistoryError) -> Undecided {
        Undecided::History(err)
    }
}

/// Reads the pool at a snapshot; `None` when there is none.
///
/// # Errors
/// [`HistoryError`] when our copy is damaged.
pub fn read_pool(
    remote: &Remote,
    snapshot: &Snapshot,
    name: &PoolName,
) -> Result<Option<Pool>, HistoryError> {
    let history = remote.history(snapshot);
    if !ledger::is_pool(&history, snapshot.commit, name)? {
        return Ok(None);
    }
    let folder = |holding| history.list(snapshot.commit, &name.folder(holding));
    Ok(Some(Pool::new(
        name.clone(),
        &folder(Holding::Claimed)?,
        &folder(Holding::Unclaimed)?,
    )))
}

/// The depth to fetch after a question had no answer.
pub(crate) fn deeper(depth: Depth, err: HistoryError) -> Result<Depth, StoreError> {
    match err {
        HistoryError::Store(err) => Err(err),
        // At the greatest depth a walk ends at the beginning instead of failing.
        HistoryError::Truncated => Ok(depth.deeper().unwrap_or(depth)),
    }
}

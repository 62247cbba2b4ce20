//! The one loop: read the pool, decide, publish, wait, and again until the operation is done.
//!
//! All retrying, waiting and giving up is here and below, for every operation.

mod publish;
mod undo;

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use rand::RngExt;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::git::{
    Commit, Depth, HistoryError, Identity, Remote, RemoteError, Snapshot, StoreError,
};
use crate::ledger;
use crate::lock::{Holding, LockName, PoolName};
use crate::marker::Marker;
use crate::message::{Origin, Verb};
use crate::object::Oid;
use crate::operation::Operation;
use crate::pace::{
    FaultError, Pace, pause_unless_stopped, pauses_after_lost_races, ride_out, whole_seconds,
};
use crate::pool::{Decision, Facts, Pool, Refusal, Since, Wait, decide};
use crate::report;

/// How many pauses the claim of a lock that does not exist waits for it to be added.
const PATIENCE_FOR_MISSING: u32 = 3;

/// How often a wait in which nothing changes says that it is still going on.
const STILL_WAITING: Duration = Duration::from_secs(60);

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
    /// The step that claims are made for (see [`crate::message::STEP`]), if it is to be known again by a later run.
    pub step: Option<String>,
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
    lock: LockName,
    verb: Verb,
    base: Oid,
    commit: Oid,
    /// The objects of the commit.
    objects: Vec<Oid>,
}

/// An operation that was carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The commit that did it, now or earlier.
    pub commit: Oid,
    /// The lock it was about.
    pub lock: LockName,
}

/// Why an operation was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum AttemptError {
    /// The remote repository could not be read.
    #[error(transparent)]
    Fault(FaultError),
    /// Our copy of it could not be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no such pool.
    #[error(
        "there is no pool `{pool}` on the branch `{branch}` of `{remote}`: a pool is a folder with claimed/ and unclaimed/ in it; check `source.pool`"
    )]
    NoPool {
        /// The pool.
        pool: PoolName,
        /// Where it was looked for.
        branch: String,
        /// In which repository.
        remote: String,
    },
    /// The rules forbid it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The server does not take our commit.
    #[error("`{remote}` refuses our commit `{subject}`: {reason}{}{words}", if .words.is_empty() { "" } else { "; it says: " })]
    Rejected {
        /// Who.
        remote: String,
        /// The commit's first line.
        subject: String,
        /// The server's reason.
        reason: String,
        /// What its hooks said.
        words: String,
    },
    /// We were told to stop, and nothing is left of what was begun.
    #[error("stopped by a signal")]
    Stopped,
    /// It was waited for long enough.
    #[error("gave up {}: {wait}{}", after_shown(.after), and_holders(.holders))]
    TimedOut {
        /// How long it was waited for.
        after: Duration,
        /// What for.
        wait: Wait,
        /// Who holds what was waited for, one line each.
        holders: Vec<String>,
    },
    /// Nobody takes the answer, so that nobody would know of the claim.
    #[error("cannot write the answer")]
    Unanswered(#[source] io::Error),
    /// A push got no answer, and the branch could not be read afterwards.
    #[error(
        "a push got no answer, so the commit {commit} (`{subject}`) may be on the branch or not; look at the pool"
    )]
    Unknown {
        /// Our commit.
        commit: Oid,
        /// Its first line.
        subject: String,
        /// Why the branch could not be read.
        #[source]
        source: FaultError,
    },
}

impl From<FaultError> for AttemptError {
    fn from(err: FaultError) -> AttemptError {
        match err {
            FaultError::Stopped => AttemptError::Stopped,
            err => AttemptError::Fault(err),
        }
    }
}

use publish::Published;

impl Attempt<'_> {
    /// Carries out `operation`, waiting for as long as it takes, and hands the outcome to `answer`.
    ///
    /// Whatever keeps the answer from being given (a signal at any moment, a fault, a closed pipe): what was claimed is
    /// given back, for nobody would know that it is his.
    ///
    /// # Errors
    /// [`AttemptError`]. Except for [`AttemptError::Unknown`] and what the log then says, nothing is left changed by an
    /// operation that claims.
    pub async fn run(
        &mut self,
        operation: &Operation,
        answer: impl FnOnce(&Outcome) -> io::Result<()>,
    ) -> Result<Outcome, AttemptError> {
        let mut pending = None;
        let result = match self.adopt(&mut pending).await {
            Ok(Some(outcome)) => Ok(outcome),
            Ok(None) => self.carry_out(operation, &mut pending).await,
            Err(err) => Err(err),
        };
        let result = match result {
            // The answer has not been written, so the claim is nobody's yet.
            Ok(_) if self.stop.is_cancelled() => Err(AttemptError::Stopped),
            Ok(outcome) => match answer(&outcome) {
                Ok(()) => {
                    self.unmark();
                    return Ok(outcome);
                }
                Err(err) => Err(AttemptError::Unanswered(err)),
            },
            Err(err) => Err(err),
        };
        let settled = match pending {
            Some(pending) => self.undo(pending).await,
            None => true,
        };
        if settled {
            self.unmark();
        }
        result
    }

    fn unmark(&mut self) {
        if let Some(marker) = self.marker.take() {
            marker.clear();
        }
    }

    /// Carries out `operation`. From when a claim of ours may be on the branch, `pending` says so.
    async fn carry_out(
        &mut self,
        operation: &Operation,
        pending: &mut Option<Pending>,
    ) -> Result<Outcome, AttemptError> {
        // Ownership is proved by the history, so that it is better fetched at once.
        let mut depth = if operation.claim_to_prove().is_some() {
            Depth::RECENT
        } else {
            Depth::HEAD
        };
        let mut lost_races = pauses_after_lost_races();
        let mut waiting = Waiting::default();
        let mut not_ours = None;
        let started = Instant::now();
        loop {
            let snapshot = if operation.changes() && waiting.since.is_none() {
                let remote = &mut self.remote;
                let limit = self.pace.fault_limit;
                read(remote, limit, &self.stop, self.log, async |remote| {
                    remote.snapshot_to_push(depth).await
                })
                .await?
            } else {
                self.snapshot(depth).await?
            };
            // On the very snapshot that we go by, so that no other run of the step can claim in between.
            if let Some(step) = self.step.clone().filter(|_| operation.claims()) {
                let history = self.remote.history(&snapshot);
                let found = ledger::claim_of_step(&history, &self.pool, &step, not_ours);
                match found {
                    Ok(Some(claim)) => {
                        self.remote.forget_push().await;
                        return Ok(self.adopt_claim_of_step(claim, operation, pending));
                    }
                    Ok(None) => not_ours = Some(snapshot.commit),
                    Err(err) => {
                        depth = deeper(snapshot.depth, err)?;
                        continue;
                    }
                }
            }
            let change = match self.decide(&snapshot, operation) {
                Ok(Decision::Change(change)) => change,
                Ok(Decision::Wait(wait)) => {
                    self.remote.forget_push().await;
                    if let Some(patience) = self.patience
                        && started.elapsed() >= patience
                    {
                        let holders = self.holders(wait.held(), snapshot.depth).await;
                        return Err(AttemptError::TimedOut {
                            after: patience,
                            wait,
                            holders,
                        });
                    }
                    let left = self
                        .patience
                        .map(|patience| patience.saturating_sub(started.elapsed()));
                    self.wait(left, &mut waiting, wait).await?;
                    continue;
                }
                Ok(Decision::Done(lock, since)) => match self.since(&snapshot, &lock, since) {
                    Ok(commit) => return Ok(Outcome { commit, lock }),
                    Err(err) => {
                        depth = deeper(snapshot.depth, err)?;
                        continue;
                    }
                },
                Ok(Decision::Refuse(refusal)) => return Err(refusal.into()),
                // Answered below, so that it does not come up here.
                Ok(Decision::Ask(..)) => continue,
                Err(Undecided::NoPool) => {
                    return Err(AttemptError::NoPool {
                        pool: self.pool.clone(),
                        branch: self.remote.branch().to_owned(),
                        remote: self.remote.name().to_owned(),
                    });
                }
                Err(Undecided::History(err)) => {
                    depth = deeper(snapshot.depth, err)?;
                    continue;
                }
            };
            match self.publish(&snapshot, &change, pending).await? {
                Published::Landed(commit) => {
                    return Ok(Outcome {
                        commit,
                        lock: change.lock,
                    });
                }
                Published::Overtaken => {
                    pause_unless_stopped(lost_races.next().unwrap_or_default(), &self.stop).await?;
                }
            }
        }
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

    /// Decides, answering from the history what the rules ask.
    fn decide(&self, snapshot: &Snapshot, operation: &Operation) -> Result<Decision, Undecided> {
        let history = self.remote.history(snapshot);
        let pool = read_pool(&self.remote, snapshot, &self.pool)?.ok_or(Undecided::NoPool)?;
        let draw = rand::rng().random();
        let decision = decide(&pool, operation, &Facts::default(), draw);
        let Decision::Ask(lock, claim) = decision else {
            return Ok(decision);
        };
        let fate = ledger::fate(&history, &self.pool, &lock, claim)?;
        Ok(decide(&pool, operation, &Facts { fate: Some(fate) }, draw))
    }

    fn since(
        &self,
        snapshot: &Snapshot,
        lock: &LockName,
        since: Since,
    ) -> Result<Oid, HistoryError> {
        match since {
            Since::Commit(commit) => Ok(commit),
            Since::LastTouch => {
                let history = self.remote.history(snapshot);
                let touch = ledger::last_touch(&history, &self.pool, lock)?;
                // A lock that no commit touched cannot be there; a server's own cut history can hide it.
                Ok(touch.unwrap_or(snapshot.commit))
            }
        }
    }

    /// Says what is waited for, and pauses until it is time to look again: after `retry_delay`, and at the latest when
    /// what is `left` of our patience is over.
    async fn wait(
        &mut self,
        left: Option<Duration>,
        waiting: &mut Waiting,
        wait: Wait,
    ) -> Result<(), AttemptError> {
        if let Wait::Missing(lock) = &wait {
            waiting.missing += 1;
            if waiting.missing > PATIENCE_FOR_MISSING {
                return Err(Refusal::NoSuchLock {
                    lock: lock.clone(),
                    pool: self.pool.clone(),
                }
                .into());
            }
        } else {
            waiting.missing = 0;
        }
        let every = humantime::format_duration(self.pace.retry_delay);
        let since = *waiting.since.get_or_insert_with(Instant::now);
        if waiting.said.as_ref().is_none_or(|(said, _)| *said != wait) {
            report::say(
                self.log,
                format_args!(
                    "waiting in pool `{}`: {wait}; looking every {every}",
                    self.pool
                ),
            );
            waiting.said = Some((wait, Instant::now()));
        } else if let Some((said, at)) = &mut waiting.said
            && at.elapsed() >= STILL_WAITING
        {
            let so_far = humantime::format_duration(whole_seconds(since.elapsed()));
            report::say(
                self.log,
                format_args!("still waiting after {so_far}: {said}"),
            );
            *at = Instant::now();
        }
        let pause = self.pace.retry_delay.min(left.unwrap_or(Duration::MAX));
        Ok(pause_unless_stopped(pause, &self.stop).await?)
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
                let claim = ledger::last_claim(&history, &self.pool, lock).and_then(|claim| {
                    Ok(claim
                        .map(|claim| history.commit(claim))
                        .transpose()?
                        .zip(claim))
                });
                match claim {
                    Ok(Some((commit, id))) => {
                        lines.push(holder_line(lock, id, &commit));
                        break;
                    }
                    Ok(None) => break,
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

fn holder_line(lock: &LockName, claim: Oid, commit: &Commit) -> String {
    let subject = String::from_utf8_lossy(&commit.message);
    let subject = report::one_line(subject.lines().next().unwrap_or_default());
    let seconds = u64::try_from(commit.time).unwrap_or_default();
    let time = std::time::UNIX_EPOCH
        .checked_add(Duration::from_secs(seconds))
        .map_or(String::new(), |time| {
            format!(" since {}", humantime::format_rfc3339_seconds(time))
        });
    format!("`{lock}` is held{time} by {claim} (`{subject}`)")
}

fn after_shown(after: &Duration) -> String {
    if after.is_zero() {
        "at once".to_owned()
    } else {
        format!("after {}", humantime::format_duration(*after))
    }
}

fn and_holders(holders: &[String]) -> String {
    holders.iter().map(|line| format!("; {line}")).collect()
}

#[derive(Default)]
struct Waiting {
    since: Option<Instant>,
    said: Option<(Wait, Instant)>,
    missing: u32,
}

/// Why there is no decision yet, or none at all.
enum Undecided {
    NoPool,
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

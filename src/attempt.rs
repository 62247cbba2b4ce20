//! The one loop: read the pool, decide, publish, wait, and again until the operation is done.
//!
//! All retrying, waiting and giving up is here, for every operation.

use std::cell::Cell;
use std::io::{self, Write};
use std::time::Duration;

use rand::RngExt;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::git::{
    Commit, Depth, HistoryError, Identity, PushAnswer, Remote, RemoteError, Snapshot, StoreError,
};
use crate::ledger;
use crate::lock::{ClaimId, Holding, LockName, PoolName};
use crate::message::{self, Origin, Verb};
use crate::object::Oid;
use crate::operation::Operation;
use crate::pace::{
    FaultError, Faults, Pace, pause_unless_stopped, pauses, pauses_after_lost_races, ride_out,
    whole_seconds,
};
use crate::pool::{Change, Decision, Facts, Pool, Refusal, Since, Wait, decide};
use crate::report;

/// How many pauses the claim of a lock that does not exist waits for it to be added.
const PATIENCE_FOR_MISSING: u32 = 3;

/// How often a push is tried again when the server could not lock the branch, though nobody moved it.
const PATIENCE_FOR_BUSY: u32 = 8;

/// How often a wait in which nothing changes says that it is still going on.
const STILL_WAITING: Duration = Duration::from_secs(60);

/// How long a push that is under way may still take when we are told to stop. Its answer tells more than looking can.
const GRACE: Duration = Duration::from_secs(2);

/// How long giving back may take. With [`GRACE`] it makes less than the 8 s that an abort may take: Concourse kills what
/// is still there after 10.
const UNDO_LIMIT: Duration = Duration::from_secs(5);

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
    /// Cancelled when we are told to stop.
    pub stop: CancellationToken,
    /// Where people read what is going on.
    pub log: &'a mut dyn Write,
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

/// What became of one commit of ours.
enum Published {
    Landed(Oid),
    Overtaken,
}

/// Where the branch is after a push that was not simply accepted.
enum Found {
    Landed,
    Moved,
    Unmoved,
}

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
        let result = self.carry_out(operation, &mut pending).await;
        let result = match result {
            // The answer has not been written, so the claim is nobody's yet.
            Ok(_) if self.stop.is_cancelled() => Err(AttemptError::Stopped),
            Ok(outcome) => match answer(&outcome) {
                Ok(()) => return Ok(outcome),
                Err(err) => Err(AttemptError::Unanswered(err)),
            },
            Err(err) => Err(err),
        };
        if let Some(pending) = pending {
            self.undo(pending).await;
        }
        result
    }

    /// Gives back what was claimed for nobody, and says what became of it.
    async fn undo(&mut self, pending: Pending) {
        // What is to be undone must not be stopped by the signal that makes it necessary.
        self.stop = CancellationToken::new();
        self.patience = None;
        let (lock, commit) = (pending.lock.clone(), pending.commit);
        match timeout(UNDO_LIMIT, self.take_back(pending)).await {
            Ok(Ok(Some(by))) => report::say(
                self.log,
                format_args!("gave `{lock}` back with the commit {by}"),
            ),
            Ok(Ok(None)) => {}
            Ok(Err(err)) => {
                let why = report::chain(&err);
                report::say(
                    self.log,
                    format_args!(
                        "error: `{lock}` may still be claimed, by the commit {commit}: {why}"
                    ),
                );
            }
            Err(_) => {
                let limit = humantime::format_duration(UNDO_LIMIT);
                let line = format_args!(
                    "error: `{lock}` may still be claimed, by the commit {commit}: no answer within {limit}"
                );
                report::say(self.log, line);
            }
        }
    }

    /// Brings about that a claim is not on the branch, or over; gives the commit that ended it, if it was there.
    async fn take_back(&mut self, pending: Pending) -> Result<Option<Oid>, AttemptError> {
        let Pending {
            lock,
            verb,
            base,
            commit,
            objects,
        } = pending;
        let claim = Some(ClaimId(commit));
        let back = match verb {
            Verb::AddingClaimed => Operation::Remove { lock, claim },
            _ => Operation::Release { lock, claim },
        };
        let mut pauses = pauses(Duration::from_millis(50), Duration::from_millis(500));
        loop {
            match self.find(base, commit).await? {
                Found::Landed => {
                    let outcome = Box::pin(self.carry_out(&back, &mut None)).await?;
                    return Ok(Some(outcome.commit));
                }
                // The branch is not where our push expects it, and never will be again.
                Found::Moved => return Ok(None),
                Found::Unmoved => {}
            }
            // Our push may still be on its way. It cannot land any more once the branch has left `base`: so the claim is
            // pushed together with its end, in one step.
            let here = Snapshot {
                commit,
                depth: Depth::HEAD,
            };
            let pool = read_pool(&self.remote, &here, &self.pool).map_err(|err| match err {
                HistoryError::Store(err) => err,
                HistoryError::Truncated => StoreError::Hole(commit),
            })?;
            let facts = Facts {
                fate: Some(ledger::Fate::Stands),
            };
            let decision = pool.map(|pool| decide(&pool, &back, &facts, 0));
            let Some(Decision::Change(change)) = decision else {
                return Ok(None);
            };
            let (end, more) = self.make_commit(commit, &change)?;
            let pack = self.remote.store().pack(&[&objects[..], &more].concat())?;
            if let Ok(PushAnswer::Accepted) =
                self.remote.push(base, end, &pack, &Cell::new(false)).await
            {
                return Ok(Some(end));
            }
            sleep(pauses.next().unwrap_or_default()).await;
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

    /// Pushes one commit, and finds out what became of it from the branch rather than from words.
    ///
    /// While the branch stays where it was it is the same commit that is pushed again, so that a push that was taken
    /// for lost and arrives later does no harm: it is this one.
    async fn publish(
        &mut self,
        snapshot: &Snapshot,
        change: &Change,
        pending: &mut Option<Pending>,
    ) -> Result<Published, AttemptError> {
        let base = snapshot.commit;
        let (commit, objects) = self.make_commit(base, change)?;
        let pack = self.remote.store().pack(&objects)?;
        let subject = || format!("{}: {}", change.verb.as_str(), change.lock);

        let mut faults = Faults::new(self.pace.fault_limit);
        let mut busy = pauses(Duration::from_millis(50), Duration::from_secs(2))
            .take(PATIENCE_FOR_BUSY as usize);
        let sent = Cell::new(false);
        loop {
            if self.stop.is_cancelled() {
                return Err(AttemptError::Stopped);
            }
            let answer = tokio::select! {
                answer = self.remote.push(base, commit, &pack, &sent) => answer,
                () = stopped_for(GRACE, &self.stop) => {
                    Err(RemoteError::Silent { remote: self.remote.name().to_owned(), after: GRACE })
                }
            };
            if sent.get() && matches!(change.verb, Verb::Claiming | Verb::AddingClaimed) {
                pending.get_or_insert_with(|| Pending {
                    lock: change.lock.clone(),
                    verb: change.verb,
                    base,
                    commit,
                    objects: objects.clone(),
                });
            }
            match answer {
                Ok(PushAnswer::Accepted) => return Ok(Published::Landed(commit)),
                Ok(PushAnswer::Moved) if !sent.get() => return Ok(Published::Overtaken),
                _ => {}
            }
            let found = match self.find(base, commit).await {
                Ok(found) => found,
                Err(FaultError::Stopped) => return Err(AttemptError::Stopped),
                Err(source) => {
                    return Err(AttemptError::Unknown {
                        commit,
                        subject: subject(),
                        source,
                    });
                }
            };
            match (found, answer) {
                (Found::Landed, _) => return Ok(Published::Landed(commit)),
                (Found::Moved, _) => {
                    *pending = None;
                    return Ok(Published::Overtaken);
                }
                (Found::Unmoved, Err(fault)) => faults.bear(fault, &self.stop, self.log).await?,
                // It moved away and back between two looks: simply try again.
                (Found::Unmoved, Ok(PushAnswer::Moved | PushAnswer::Accepted)) => {}
                (Found::Unmoved, Ok(PushAnswer::Rejected { reason, words })) => {
                    match busy.next().filter(|_| means_contention(&reason)) {
                        Some(pause) => pause_unless_stopped(pause, &self.stop).await?,
                        None => {
                            *pending = None;
                            let remote = self.remote.name().to_owned();
                            return Err(AttemptError::Rejected {
                                remote,
                                subject: subject(),
                                reason,
                                words,
                            });
                        }
                    }
                }
            }
        }
    }

    /// Makes the commit of a change on top of another one; gives it and the objects that a server needs for it.
    fn make_commit(&self, parent: Oid, change: &Change) -> Result<(Oid, Vec<Oid>), StoreError> {
        let mut trailers = vec![(message::REQUEST, uuid::Uuid::new_v4().to_string())];
        trailers.extend(
            change
                .claim
                .map(|claim| (message::CLAIM, claim.to_string())),
        );
        let message = message::compose(&self.origin, change.verb, &change.lock, &trailers);
        self.remote
            .store()
            .make_commit(parent, &change.edits, &message, &self.identity)
    }

    /// Looks where the branch went from `base`, and whether `ours` is on it.
    async fn find(&mut self, base: Oid, ours: Oid) -> Result<Found, FaultError> {
        let remote = &mut self.remote;
        let head = ride_out(self.pace.fault_limit, &self.stop, self.log, async || {
            remote.head().await
        })
        .await?;
        if head == base {
            return Ok(Found::Unmoved);
        }
        if head == ours {
            return Ok(Found::Landed);
        }
        let mut depth = Depth::RECENT;
        loop {
            let snapshot = self.snapshot(depth).await?;
            if snapshot.commit == base {
                return Ok(Found::Unmoved);
            }
            let err = match self.remote.history(&snapshot).has_after(base, ours) {
                Ok(true) => return Ok(Found::Landed),
                Ok(false) => return Ok(Found::Moved),
                Err(err) => err,
            };
            depth = deeper(snapshot.depth, err)
                .map_err(|err| FaultError::Permanent(RemoteError::Store(err)))?;
        }
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

/// Comes back some time after we were told to stop, and never if we are not.
async fn stopped_for(time: Duration, stop: &CancellationToken) {
    stop.cancelled().await;
    sleep(time).await;
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

/// Whether a server's reason means that somebody else was at the branch at the same moment, or that a lock file was in
/// the way, rather than that a rule forbids our commit.
///
/// The words are those of Git, JGit and the large hosts. Which of the two it was shows in the branch.
fn means_contention(reason: &str) -> bool {
    let reason = reason.to_ascii_lowercase();
    [
        "failed to update ref",
        "failed to lock",
        "cannot lock ref",
        "unable to lock",
        "could not lock",
        "lock error",
        "lock_failure",
        "lock failure",
        "incorrect old value",
        "reference already exists",
        "stale info",
        "fetch first",
        "non-fast-forward",
        "but expected",
        "unable to create",
        "internal server error",
        "could not unpack our objects",
    ]
    .iter()
    .any(|known| reason.contains(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_race_is_told_from_a_rule_that_forbids() {
        for reason in [
            " failed to update ref",
            "cannot lock ref 'refs/heads/main': is at 1 but expected 2",
            "LOCK_FAILURE",
            "fetch first",
        ] {
            assert!(means_contention(reason), "{reason}");
        }
        for reason in [
            "pre-receive hook declined",
            "hook declined",
            "protected branch hook declined",
            "deny updating a hidden ref",
        ] {
            assert!(!means_contention(reason), "{reason}");
        }
    }
}

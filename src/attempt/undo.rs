//! Claims that nobody was told of: given back, or taken over from a run that vanished.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::publish::Found;
use super::{Attempt, AttemptError, Outcome, Pending, deeper, read_pool};
use crate::git::{Depth, HistoryError, PushAnswer, Snapshot, StoreError};
use crate::ledger::{self, ClaimOfStep, Fate};
use crate::lock::ClaimId;
use crate::marker::{Marked, Marker};
use crate::message::Verb;
use crate::object::Oid;
use crate::operation::Operation;
use crate::pace::{Faults, pauses};
use crate::pool::{Decision, Facts, decide};
use crate::report;

/// How long giving back may take. With [`GRACE`] it makes less than the 8 s that an abort may take: Concourse kills what
/// is still there after 10.
const UNDO_LIMIT: Duration = Duration::from_secs(5);

impl Attempt<'_> {
    /// Gives back what was claimed for nobody, and says what became of it; whether it is certain that it is not held.
    pub(super) async fn undo(&mut self, pending: Pending) -> bool {
        // What is to be undone must not be stopped by the signal that makes it necessary.
        self.stop = CancellationToken::new();
        self.patience = None;
        let (lock, commit) = (pending.lock.clone(), pending.commit);
        let undone = timeout(UNDO_LIMIT, self.take_back(pending)).await;
        let settled = matches!(undone, Ok(Ok(_)));
        match undone {
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
        settled
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

    /// Takes over a claim of an earlier run of the same step that vanished before it could tell anybody. One whose push
    /// may still be on its way is pushed to its end; what cannot be on the branch is forgotten.
    pub(super) async fn adopt(
        &mut self,
        pending: &mut Option<Pending>,
    ) -> Result<Option<Outcome>, AttemptError> {
        let Some(place) = self.markers.clone() else {
            return Ok(None);
        };
        let mut adopted = None;
        for (marker, marked) in Marker::left_in(&place.folder, &place.request) {
            if !self.stands(&marked).await? {
                marker.clear();
                continue;
            }
            let Marked {
                lock,
                verb,
                base,
                commit,
                ..
            } = marked;
            let claim = Pending {
                lock: lock.clone(),
                verb,
                base,
                commit,
                objects: Vec::new(),
            };
            if adopted.is_some() {
                // One is asked for.
                if self.take_back(claim).await?.is_some() {
                    marker.clear();
                }
                continue;
            }
            report::say(
                self.log,
                format_args!(
                    "an earlier run of this step has claimed `{lock}` with the commit {commit}, and ended without telling: taking it over"
                ),
            );
            *pending = Some(claim);
            self.marker = Some(marker);
            adopted = Some(Outcome { commit, lock });
        }
        Ok(adopted)
    }

    /// Takes over a claim that an earlier run of the same step made, in whatever container, and that stands.
    pub(super) fn adopt_claim_of_step(
        &mut self,
        ClaimOfStep { commit, base, lock }: ClaimOfStep,
        operation: &Operation,
        pending: &mut Option<Pending>,
    ) -> Outcome {
        report::say(
            self.log,
            format_args!(
                "an earlier run of this step has claimed `{lock}` with the commit {commit}: taking it over"
            ),
        );
        let verb = match operation {
            Operation::Add { .. } => Verb::AddingClaimed,
            _ => Verb::Claiming,
        };
        *pending = Some(Pending {
            lock: lock.clone(),
            verb,
            base,
            commit,
            objects: Vec::new(),
        });
        Outcome { commit, lock }
    }

    /// Whether the claim of a run that vanished is on the branch and stands, once that cannot change any more.
    async fn stands(&mut self, marked: &Marked) -> Result<bool, AttemptError> {
        let mut faults = Faults::new(self.pace.fault_limit);
        loop {
            match self.find(marked.base, marked.commit).await? {
                Found::Moved => return Ok(false),
                Found::Landed => break,
                Found::Unmoved => {}
            }
            match self
                .remote
                .push(marked.base, marked.commit, &marked.pack, &Cell::new(false))
                .await
            {
                Ok(PushAnswer::Rejected { .. }) => return Ok(false),
                Ok(PushAnswer::Accepted | PushAnswer::Moved) => {}
                Err(fault) => faults.bear(fault, &self.stop, self.log).await?,
            }
        }
        let mut depth = Depth::RECENT;
        loop {
            let snapshot = self.snapshot(depth).await?;
            let history = self.remote.history(&snapshot);
            match ledger::fate(&history, &self.pool, &marked.lock, ClaimId(marked.commit)) {
                Ok(fate) => return Ok(fate == Fate::Stands),
                Err(err) => depth = deeper(snapshot.depth, err)?,
            }
        }
    }
}

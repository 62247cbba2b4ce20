//! Claims that nobody was told of: given back, or taken over from a run that vanished.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::abort::{self, GRACE};
use super::back::{Back, Left, end_at_once, giving_back};
use super::land::{Landed, Parcel};
use super::landing::Landing;
use super::publish::Published;
use super::{Attempt, AttemptError, Outcome, Pending, Queue, deeper, read_pool};
use crate::ledger::{ClaimOfStep, Fate};
use crate::lock::{ClaimId, LockName};
use crate::marker::{Marked, Marker};
use crate::message::listed;
use crate::operation::Operation;
use crate::rules::{Refusal, claim_anew};
use git::object::Oid;
use git::{Depth, HistoryError, Snapshot, StoreError};
use pace::{pauses, stopped_for};

impl Attempt<'_> {
    /// Gives back what was claimed for nobody, and says what became of it.
    ///
    /// # Errors
    /// The locks and the claim, when it may still stand.
    pub(super) async fn undo(&mut self, pending: Pending) -> Result<(), (String, Oid)> {
        // What is to be undone must not be stopped by the signal that makes it necessary.
        let stop = std::mem::take(&mut self.stop);
        self.patience = None;
        // Should we be killed over it, a push that ends the claim may be on its way still.
        if let Some(marker) = &self.marker {
            marker.note_end();
        }
        let (names, commit) = (listed(&pending.locks), pending.commit);
        // What makes people abort is often a connection that hangs.
        if let Err(err) = self.remote.connect_anew(abort::UNDO_LIMITS) {
            let err = terminal::chain(&err);
            terminal::say(self.log, format_args!("warning: no new connection: {err}"));
        }
        let undone = timeout(abort::UNDO, self.take_back(pending)).await;
        self.stop = stop;
        let why = match undone {
            Ok(Ok(by)) => {
                if let Some(by) = by {
                    self.meter_pool_at(by);
                    let line = format_args!("gave `{names}` back with the commit {by}");
                    terminal::say(self.log, line);
                }
                return Ok(());
            }
            Ok(Err(err)) => terminal::chain(&err),
            Err(_) => {
                let limit = humantime::format_duration(abort::UNDO);
                format!("no answer within {limit}")
            }
        };
        let line =
            format_args!("error: `{names}` may still be claimed, by the commit {commit}: {why}");
        terminal::say(self.log, line);
        Err((format!("`{names}`"), commit))
    }

    /// Brings about that a claim is not on the branch, or over; gives the commit that ended it, if it was there.
    async fn take_back(&mut self, pending: Pending) -> Result<Option<Oid>, AttemptError> {
        let Pending {
            locks,
            verb,
            base,
            commit,
            objects,
            left,
        } = pending;
        if let Some(pack) = &left {
            // What it was made on, and then what it has besides.
            self.snapshot(Depth::HEAD).await?;
            let store = self.remote.store();
            let taken = store.take_pack::<StoreError>(async |write| write(pack));
            taken.await?;
        }
        let back = giving_back(verb, &locks, ClaimId(commit));
        let mut pauses = pauses(Duration::from_millis(50), Duration::from_millis(500));
        loop {
            match Back::given(self.whereabouts(base, commit).await?) {
                Back::Release => {
                    return match Box::pin(self.carry_out(&back, &mut None, &mut None)).await {
                        Ok(outcome) => Ok(Some(outcome.commit)),
                        // Somebody else was faster, and the lock may be in other hands now: it is not our claim.
                        Err(AttemptError::Refused(Refusal::ClaimEnded { .. })) => Ok(None),
                        Err(err) => Err(err),
                    };
                }
                Back::Over => return Ok(None),
                Back::PushWithEnd => {}
            }
            let here = Snapshot {
                commit,
                depth: Depth::HEAD,
            };
            let pool = read_pool(&self.remote, &here, &self.pool).map_err(|err| match err {
                HistoryError::Store(err) => err,
                HistoryError::Truncated => StoreError::Hole(commit),
            })?;
            let Some(change) = pool.and_then(|pool| end_at_once(&pool, &back)) else {
                return Ok(None);
            };
            let (end, more) = self.make_commit(commit, &change)?;
            let pack = self.remote.store().pack(&[&objects[..], &more].concat())?;
            let parcel = Parcel {
                base,
                commit: end,
                pack,
                also: Vec::new(),
            };
            let sent = Cell::new(false);
            let ended = Box::pin(self.land(&parcel, false, "giving back", &sent)).await;
            if let Ok(Landed {
                landing: Landing::Landed,
                ..
            }) = ended
            {
                return Ok(Some(end));
            }
            sleep(pauses.next().unwrap_or_default()).await;
        }
    }

    /// Takes over a claim of an earlier run of the same step that vanished before it could tell anybody. One whose push
    /// may still be on its way is pushed to its end; what cannot be on the branch is forgotten. What that run was giving
    /// back is given back: a push of its that ends the claim may be on its way, and fails once another one has.
    pub(super) async fn adopt(
        &mut self,
        pending: &mut Option<Pending>,
    ) -> Result<Option<Outcome>, AttemptError> {
        let Some(place) = self.markers.clone() else {
            return Ok(None);
        };
        let mut left = Marker::left_in(&place.folder, &place.request);
        left.sort_by_key(|(_, marked)| !marked.ending);
        let last = left.len().saturating_sub(1);
        for (n, (marker, marked)) in left.into_iter().enumerate() {
            // From here on it is ours to give back, whatever comes in between: no run after this one would.
            let claim = Pending {
                locks: marked.locks.clone(),
                verb: marked.verb,
                base: marked.base,
                commit: marked.commit,
                objects: marked.objects.clone(),
                left: Some(marked.pack.clone()),
            };
            *pending = Some(claim.clone());
            self.marker = Some(marker);
            let standing = self.standing(&marked).await?;
            let may_be_adopted = Left::may_be_adopted(marked.ending, n == last);
            match Left::given(may_be_adopted, &marked.locks, &standing) {
                Left::Adopt => {
                    let Marked { locks, commit, .. } = marked;
                    terminal::say(
                        self.log,
                        format_args!(
                            "an earlier run of this step has claimed `{}` with the commit {commit}, and ended without telling: taking it over",
                            listed(&locks)
                        ),
                    );
                    return Ok(Some(Outcome::new(commit, locks)));
                }
                Left::GiveBack => {
                    if let Some(marker) = &self.marker {
                        marker.note_end();
                    }
                    let names = listed(&standing);
                    let left = Pending {
                        locks: standing,
                        ..claim
                    };
                    *pending = Some(left.clone());
                    let stop = self.stop.clone();
                    let by = tokio::select! {
                        by = self.take_back(left) => by?,
                        () = stopped_for(GRACE, &stop) => return Err(AttemptError::Stopped),
                    };
                    if let Some(by) = by {
                        let line = format_args!(
                            "gave `{names}` back for an earlier run of this step with the commit {by}"
                        );
                        terminal::say(self.log, line);
                    }
                }
                Left::Forget => {}
            }
            *pending = None;
            self.unmark();
        }
        Ok(None)
    }

    /// Takes over a claim that another run of the same step made, in whatever container, and that stands; `None` when the
    /// branch moved meanwhile.
    ///
    /// The claim is ended and made anew in one push. The other run may be alive, or have a push under way that gives the
    /// claim back: that finds it ended, and leaves the new one alone.
    pub(super) async fn take_over(
        &mut self,
        snapshot: &Snapshot,
        ClaimOfStep { commit, locks }: ClaimOfStep,
        operation: &Operation,
        pending: &mut Option<Pending>,
        queue: &mut Option<Queue>,
    ) -> Result<Option<Outcome>, AttemptError> {
        let pool = match read_pool(&self.remote, snapshot, &self.pool) {
            Ok(pool) => pool,
            Err(HistoryError::Store(err)) => return Err(err.into()),
            Err(HistoryError::Truncated) => return Err(StoreError::Hole(snapshot.commit).into()),
        };
        let Some(pool) = pool else { return Ok(None) };
        let [end, claim] = claim_anew(&pool, operation, &locks, ClaimId(commit))?;
        terminal::say(
            self.log,
            format_args!(
                "another run of this step has claimed `{}` with the commit {commit}: taking it over",
                listed(&locks)
            ),
        );
        match Box::pin(self.publish(snapshot, Some(&end), &claim, pending, queue)).await? {
            Published::Landed(commit) => Ok(Some(Outcome::new(commit, locks))),
            Published::Overtaken(_) => Ok(None),
        }
    }

    /// Which locks of the claim of a run that vanished are held by it still, once that cannot change any more by a push of
    /// that run.
    async fn standing(&mut self, marked: &Marked) -> Result<Vec<LockName>, AttemptError> {
        if !self
            .finish(marked.base, marked.commit, &marked.pack)
            .await?
        {
            return Ok(Vec::new());
        }
        let mut depth = Depth::RECENT;
        loop {
            let snapshot = self.snapshot(depth).await?;
            let history = self.remote.history(&snapshot);
            let claim = ClaimId(marked.commit);
            match self.fates(&history, &marked.locks, claim) {
                Ok(fates) => {
                    let standing = fates
                        .into_iter()
                        .filter(|(_, fate)| matches!(fate, Fate::Stands { .. }));
                    return Ok(standing.map(|(lock, _)| lock).collect());
                }
                Err(err) => depth = deeper(snapshot.depth, err)?,
            }
        }
    }

    /// Brings the push of a run that vanished to its end, and says whether its commit is on the branch.
    ///
    /// # Errors
    /// [`AttemptError`], also when the server declines the commit: it may have declined only this push of it.
    async fn finish(&mut self, base: Oid, commit: Oid, pack: &[u8]) -> Result<bool, AttemptError> {
        let parcel = Parcel {
            base,
            commit,
            pack: pack.to_vec(),
            also: Vec::new(),
        };
        let subject = format!("{commit}, of an earlier run of this step");
        let sent = Cell::new(true);
        let landed = Box::pin(self.land(&parcel, true, &subject, &sent)).await?;
        match landed.landing {
            Landing::Landed => Ok(true),
            Landing::Superseded { .. } => Ok(false),
            Landing::Declined { no, .. } => Err(self.rejected(subject, no)),
        }
    }
}

//! Claims of other runs of the same step: taken over from those that vanished, or given back for them.

use std::cell::Cell;

use super::abort::GRACE;
use super::back::Left;
use super::claim::{OurClaim, Pending};
use super::course::Course;
use super::land::Parcel;
use super::landing::{Landing, Seen};
use super::publish::Published;
use super::{Attempt, AttemptError, Outcome};
use crate::ledger::{ClaimOfStep, Fate};
use crate::line::offer::Offer;
use crate::lock::{ClaimId, LockName};
use crate::marker::{Marked, Marker};
use crate::message::listed;
use crate::rules::claim_anew;
use git::object::Oid;
use git::{Pack, Snapshot};
use pace::stopped_for;

/// What is known of what a run has left that vanished.
enum Found {
    /// Its claim, and the locks that are held by it still.
    Known(Marked, Vec<LockName>),
    /// Nobody has carried out yet what it had offered, and somebody may.
    MayLand(Marked),
}

impl Attempt<'_> {
    /// Takes over a claim of an earlier run of the same step that vanished before it could tell anybody. One whose push
    /// may still be on its way is pushed to its end; what cannot be on the branch is forgotten. What that run was giving
    /// back is given back: a push of its that ends the claim may be on its way, and fails once another one has.
    pub(super) async fn adopt(
        &mut self,
        course: &mut Course<'_>,
    ) -> Result<Option<Outcome>, AttemptError> {
        let Some(place) = self.markers.clone() else {
            return Ok(None);
        };
        let requests = [Some(&place.request), place.answered.as_ref()];
        let mut left: Vec<(Marker, Marked)> = requests
            .into_iter()
            .flatten()
            .flat_map(|request| Marker::left_in(&place.folder, request))
            .collect();
        left.sort_by_key(|(_, marked)| !marked.ending);
        let last = left.len().saturating_sub(1);
        for (n, (marker, marked)) in left.into_iter().enumerate() {
            // From here on it is ours to give back, whatever comes in between: no run after this one would.
            course.claim = OurClaim::MayStand(Pending::of(&marked), Some(marker));
            let may_be_adopted = Left::may_be_adopted(marked.ending, n == last);
            let (marked, standing) = match self.standing_of(marked).await? {
                Found::Known(marked, standing) => (marked, standing),
                // As if we had offered it.
                Found::MayLand(_) if may_be_adopted => return Ok(None),
                Found::MayLand(marked) => {
                    let locks = marked.locks.clone();
                    (marked, locks)
                }
            };
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
                    course.claim.is_given_back();
                    let names = listed(&standing);
                    let mut left = Pending::of(&marked);
                    left.locks = standing;
                    course.claim.is_sent(left.clone());
                    let stop = self.stop.clone();
                    let by = tokio::select! {
                        by = self.take_back(left, &mut course.branch) => by?,
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
            course.claim.is_over();
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
        course: &mut Course<'_>,
    ) -> Result<Option<Outcome>, AttemptError> {
        let pool = self.pools_of(snapshot, &locks)?;
        let Some(pool) = pool else { return Ok(None) };
        let [end, claim] = claim_anew(&pool, course.operation, &locks, ClaimId(commit))?;
        terminal::say(
            self.log,
            format_args!(
                "another run of this step has claimed `{}` with the commit {commit}: taking it over",
                listed(&locks)
            ),
        );
        match Box::pin(self.publish(snapshot, Some(&end), &claim, course)).await? {
            Published::Landed(commit) => Ok(Some(Outcome::new(commit, locks))),
            Published::Overtaken(_) | Published::BroughtAlong => Ok(None),
        }
    }

    /// What is known of the claim of a run that vanished, or of what that had offered.
    async fn standing_of(&mut self, marked: Marked) -> Result<Found, AttemptError> {
        let Some(offer) = Offer::parse(&marked.pack) else {
            let standing = self.standing(&marked).await?;
            return Ok(Found::Known(marked, standing));
        };
        let request = Some(offer.request());
        let seen = self.whereabouts(marked.base, marked.commit, request);
        Ok(match seen.await? {
            (Seen::Unmoved, _) => Found::MayLand(marked),
            (Seen::MovedOn | Seen::Rewound, _) => Found::Known(marked, Vec::new()),
            (Seen::Ours, commit) => {
                let locks = self.claimed_since(commit).await?;
                let marked = Marked {
                    locks,
                    commit,
                    ..marked
                };
                let standing = self.standing_at(&marked).await?;
                Found::Known(marked, standing)
            }
        })
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
        self.standing_at(marked).await
    }

    /// The same for a claim that is on the branch.
    async fn standing_at(&mut self, marked: &Marked) -> Result<Vec<LockName>, AttemptError> {
        let claim = ClaimId(marked.commit);
        self.ask_history(|attempt, snapshot| {
            let history = attempt.remote.history(snapshot);
            let fates = attempt.fates(&history, &marked.locks, claim)?.into_iter();
            let standing = fates.filter(|(_, fate)| matches!(fate, Fate::Stands { .. }));
            Ok(standing.map(|(lock, _)| lock).collect())
        })
        .await
    }

    /// Brings the push of a run that vanished to its end, and says whether its commit is on the branch.
    ///
    /// # Errors
    /// [`AttemptError`], also when the server declines the commit: it may have declined only this push of it.
    async fn finish(&mut self, base: Oid, commit: Oid, pack: &[u8]) -> Result<bool, AttemptError> {
        let parcel = Parcel {
            base,
            commit,
            pack: Pack::Made(pack.to_vec()),
            also: Vec::new(),
            along: None,
            request: None,
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

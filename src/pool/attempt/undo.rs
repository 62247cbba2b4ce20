//! Claims that nobody was told of, given back.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::abort;
use super::back::{Back, end_at_once, giving_back};
use super::claim::{OurClaim, Pending};
use super::course::Course;
use super::land::{Landed, Parcel};
use super::landing::Landing;
use super::publish::new_request;
use super::{Attempt, AttemptError, next_number};
use crate::line::branch::BranchLine;
use crate::lock::ClaimId;
use crate::rules::Refusal;
use git::object::Oid;
use git::{Depth, Pack, Snapshot, StoreError};
use pace::pauses;

impl Attempt<'_> {
    /// Gives back what was claimed for nobody, and says what became of it.
    ///
    /// # Errors
    /// The locks and the claim, in words, when it may still stand.
    pub(super) async fn undo(
        &mut self,
        claim: &mut OurClaim,
        branch: &mut BranchLine,
    ) -> Result<(), (String, String)> {
        let Some(pending) = claim.may_stand().cloned() else {
            claim.is_over();
            return Ok(());
        };
        // What is to be undone must not be stopped by the signal that makes it necessary.
        let stop = std::mem::take(&mut self.stop);
        self.patience = None;
        self.hurry.cancel();
        self.only_own = false;
        claim.is_given_back();
        let (names, by) = (pending.names(), pending.known_by());
        // What makes people abort is often a connection that hangs.
        if let Err(err) = self.remote.connect_anew(abort::UNDO_LIMITS) {
            let err = terminal::chain(&err);
            terminal::say(self.log, format_args!("warning: no new connection: {err}"));
        }
        let undone = timeout(abort::UNDO, self.take_back(pending, branch)).await;
        self.stop = stop;
        let why = match undone {
            Ok(Ok(by)) => {
                if let Some(by) = by {
                    self.meter_pool_at(by);
                    let line = format_args!("gave {names} back with the commit {by}");
                    terminal::say(self.log, line);
                }
                claim.is_over();
                return Ok(());
            }
            Ok(Err(err)) => terminal::chain(&err),
            Err(_) => {
                let limit = humantime::format_duration(abort::UNDO);
                format!("no answer within {limit}")
            }
        };
        let line = format_args!("error: {names} may still be claimed, by {by}: {why}");
        terminal::say(self.log, line);
        Err((names, by))
    }

    /// Brings about that a claim is not on the branch, or over; gives the commit that ended it, if it was there.
    pub(super) async fn take_back(
        &mut self,
        pending: Pending,
        branch: &mut BranchLine,
    ) -> Result<Option<Oid>, AttemptError> {
        let request = pending.request().map(str::to_owned);
        let Pending {
            locks,
            verb,
            base,
            mut commit,
            mut objects,
            left,
            offer,
        } = pending;
        if let Some(pack) = &left {
            // What it was made on, and then what it has besides.
            self.snapshot(Depth::HEAD).await?;
            let store = self.remote.store();
            let taken = store.take_pack::<StoreError>(async |write| write(pack));
            taken.await?;
        }
        let mut pauses = pauses(Duration::from_millis(50), Duration::from_millis(500));
        loop {
            let (seen, at) = self.whereabouts(base, commit, request.as_deref()).await?;
            match Back::given(seen) {
                Back::Release => {
                    let locks = match at == commit {
                        true => locks,
                        false => self.claimed_since(at).await?,
                    };
                    let back = giving_back(verb, &locks, ClaimId(at));
                    let mut course = Course::new(&back, self);
                    // Our place at the branch is good for this as well, and would be in its way.
                    std::mem::swap(&mut course.branch, branch);
                    let carried_out = Box::pin(self.carry_out(&mut course)).await;
                    std::mem::swap(&mut course.branch, branch);
                    return match carried_out {
                        Ok(outcome) => Ok(Some(outcome.commit)),
                        // Somebody else was faster, and the lock may be in other hands now: it is not our claim.
                        Err(AttemptError::Refused(Refusal::ClaimEnded { .. })) => Ok(None),
                        Err(err) => Err(err),
                    };
                }
                Back::Over => return Ok(None),
                Back::PushWithEnd => {}
            }
            let mut claimed = locks.clone();
            if let Some(offer) = offer.as_ref().filter(|_| objects.is_empty()) {
                // Nobody has made a commit of it yet: we do.
                let snapshot = self.snapshot(Depth::HEAD).await?;
                if snapshot.commit != base {
                    sleep(pauses.next().unwrap_or_default()).await;
                    continue;
                }
                let Some((change, made, of)) = self.claim_offered(&snapshot, offer)? else {
                    return Ok(None);
                };
                (claimed, commit, objects) = (change.locks, made, of);
            }
            let back = giving_back(verb, &claimed, ClaimId(commit));
            let here = Snapshot {
                commit,
                depth: Depth::HEAD,
            };
            let pool = self.pools_of(&here, &claimed)?;
            let Some(change) = pool.and_then(|pool| end_at_once(&pool, &back)) else {
                return Ok(None);
            };
            let number = next_number(&self.remote, commit)?;
            let (end, more) =
                self.make_commit(commit, &change, number, new_request(), Vec::new())?;
            let pack = Pack::Of([&objects[..], &more].concat());
            let parcel = Parcel {
                base,
                commit: end,
                pack,
                also: Vec::new(),
                along: None,
                request: None,
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
}

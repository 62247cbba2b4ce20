//! Standing in line at the branch: the rules of [`crate::line::branch`], carried out.

use super::abort::GRACE;
use super::course::Course;
use super::queue::seconds_since_1970;
use super::{Attempt, AttemptError};
use crate::line::branch::BranchLine;
use crate::line::offer::Offer;
use git::object::Oid;
use git::{Depth, Remote};
use pace::{Fault, stopped_for};

impl Attempt<'_> {
    /// Takes a place in the line at the branch, if we have none and one is to be had; the ticket points `at` a commit that
    /// the branch was at, or at what is offered to those who push before us.
    pub(super) async fn queue_at_branch(
        &mut self,
        course: &mut Course<'_>,
        at: Oid,
        offer: Option<Offer>,
    ) -> Result<(), AttemptError> {
        let branch = &mut course.branch;
        if branch.has_ticket() || branch.is_useless() || !self.remote.pushes_together() {
            return Ok(());
        }
        let dead = branch.clearing();
        if !dead.is_empty() {
            let cleared = self.remote.update_each_ref(&dead, false, &[]);
            // What it has come to, the next look shows.
            return match self.stop.run_until_cancelled(cleared).await {
                Some(_) => Ok(()),
                None => Err(AttemptError::Stopped),
            };
        }
        // When it is our turn, as many changes have been made as there are others before us.
        if course.depth > Depth::HEAD {
            let before = u32::try_from(branch.before()).unwrap_or(u32::MAX);
            course.depth = course.depth.max(Depth::FEW.and(before));
        }
        let clock = seconds_since_1970();
        let (at, objects) = match &offer {
            Some(offer) => self.make_offer(offer, clock)?,
            None => (at, Vec::new()),
        };
        let pack = self.remote.store().pack(&objects)?;
        let made =
            [course
                .branch
                .take(at, offer.as_ref().map(|offer| offer.base), random(), clock)];
        if let Some(offer) = offer {
            self.is_offered(offer, at, course);
        }
        let answer = tokio::select! {
            answer = self.remote.update_each_ref(&made, false, &pack) => answer,
            () = stopped_for(GRACE, &self.stop) => return Err(AttemptError::Stopped),
        };
        let is_refused = match answer {
            Ok(outcomes) => outcomes.iter().any(Option::is_some),
            // It may be there all the same, and then it goes with our push.
            Err(fault) => !fault.is_transient(),
        };
        if is_refused {
            course.branch.is_refused();
        }
        match self.stop.is_cancelled() {
            true => Err(AttemptError::Stopped),
            false => Ok(()),
        }
    }
}

/// Gives our place in the line at the branch away, if we have one. Whoever comes after us passes it over if this does not
/// work.
pub(super) async fn leave_branch(remote: &Remote, branch: &mut BranchLine) {
    if let Some(ours) = branch.withdrawal() {
        let _ = remote.update_each_ref(&[ours], false, &[]).await;
        branch.forget();
    }
}

/// Something that nobody else has: 64 random bits.
fn random() -> String {
    format!("{:016x}", rand::random::<u64>())
}

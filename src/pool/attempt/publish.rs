//! A change made a commit, marked in case we are killed over it, and brought to the branch.

use std::cell::Cell;

use super::claim::{OurClaim, Pending};
use super::course::Course;
use super::land::{Landed, Parcel};
use super::landing::{Landing, No};
use super::{Attempt, AttemptError, next_number};
use crate::marker::{Marked, Marker};
use crate::message;
use crate::operation::{Operation, Part, Right};
use crate::rules::Change;
use git::object::Oid;
use git::{Pack, Snapshot, StoreError};

/// What became of one commit of ours.
pub(super) enum Published {
    Landed(Oid),
    /// Somebody else has made a commit of it, which the next look shows.
    BroughtAlong,
    /// Somebody else was faster. What the server said to ours, if it said no.
    Overtaken(Option<No>),
}

/// What was wanted of several pools, where it was not by names; `None` where it all was.
fn told_of_each(parts: &[Part]) -> Option<String> {
    let by_name = |part: &Part| !part.want.among.is_empty();
    let told = parts.iter().map(|part| match by_name(part) {
        true => message::listed(&part.want.among),
        false => part.want.told(),
    });
    let told = parts.iter().zip(told);
    let told: Vec<String> = told
        .map(|(part, told)| format!("{}: {told}", part.pool))
        .collect();
    (!parts.iter().all(by_name)).then(|| told.join("; "))
}

impl Attempt<'_> {
    /// Makes a change a commit and brings it to the branch. With `first` it is two commits in one push, that one before
    /// the other.
    ///
    /// # Errors
    /// [`AttemptError`]. From when a claim may be on the branch until it is known that it is not, `course.claim` says so.
    pub(super) async fn publish(
        &mut self,
        snapshot: &Snapshot,
        first: Option<&Change>,
        change: &Change,
        course: &mut Course<'_>,
    ) -> Result<Published, AttemptError> {
        let base = snapshot.commit;
        let (below, mut objects) = match first {
            Some(first) => {
                let number = next_number(&self.remote, base)?;
                self.make_commit(base, first, number, new_request(), Vec::new())?
            }
            None => (base, Vec::new()),
        };
        let lease = self.lease(snapshot, change.verb, course.lease_end)?;
        let lease = lease.map(|end| (message::LEASE, end));
        let tale = self.tale(change, course);
        let number = next_number(&self.remote, below)?;
        let more = lease.into_iter().chain(tale).collect();
        // What was offered on the same commit is the same claim: one of the two lands.
        let offer = course.claim.offered().cloned();
        let offer = offer.filter(|offer| offer.base == base && change.verb.is_claim());
        let request = offer.as_ref().map(|offer| offer.request().to_owned());
        let named = request.clone().unwrap_or_else(new_request);
        let (commit, more) = self.make_commit(below, change, number, named.clone(), more)?;
        course.number = Some((commit, number));
        objects.extend(more);
        let is_claim = change.verb.is_claim();
        let along = self.along(base, (commit, &named, &objects), course);
        let pack = Pack::Of(objects.clone());
        let subject = format!(
            "{}: {}",
            change.verb.as_str(),
            message::listed(&change.locks)
        );
        let pending = Pending {
            locks: change.locks.clone(),
            verb: change.verb,
            base,
            commit,
            objects: objects.clone(),
            left: None,
            offer: offer.clone().map(Box::new),
        };
        if is_claim {
            let mut marker = None;
            if self.markers.is_some() && offer.is_none() {
                // What another run may have to push has to be whole.
                let made = self.remote.store().pack(&objects)?;
                marker = self.mark(&Marked {
                    locks: change.locks.clone(),
                    verb: change.verb,
                    base,
                    commit,
                    ending: false,
                    objects: objects.clone(),
                    pack: made,
                });
            }
            match &offer {
                // Its marker leads to ours as well.
                Some(_) => course.claim.is_sent(pending.clone()),
                None => {
                    // What was pushed before this did not land, and cannot any more.
                    course.claim.is_over();
                    course.claim = OurClaim::Unsent(marker);
                }
            }
        }
        // Who has what he waited for is out of the line in the same step, where the server can do that.
        let withdrawal = course.lines.withdrawal();
        let parcel = Parcel {
            base,
            commit,
            pack,
            also: withdrawal.chain(course.branch.with_our_push()).collect(),
            along,
            request,
        };
        let sent = Cell::new(false);
        let landed = Box::pin(self.land(&parcel, false, &subject, &sent)).await;
        let may_land = match &landed {
            Ok(Landed { landing, .. }) => landing.may_be_there(),
            Err(_) => sent.get(),
        };
        // What was offered may stand whatever became of this: the next look shows whether somebody has brought it along.
        if is_claim && may_land && offer.is_none() {
            course.claim.is_sent(pending);
        }
        let Landed {
            landing,
            together,
            commit: landed,
            others_declined,
        } = landed?;
        // Where others were the reason, they would be again.
        course.goes_alone |= others_declined;
        match landing {
            Landing::Landed => {
                if together {
                    course.branch.forget();
                    course.lines.forget_tickets();
                }
                if landed != commit {
                    // Somebody has brought ours along. Which lock it is, the history tells.
                    return Ok(Published::BroughtAlong);
                }
                Ok(Published::Landed(commit))
            }
            Landing::Superseded { no } => Ok(Published::Overtaken(no)),
            Landing::Declined { no, .. } => Err(self.rejected(subject, no)),
        }
    }

    /// That the server does not take a commit.
    pub(super) fn rejected(&self, subject: String, No { reason, words }: No) -> AttemptError {
        AttemptError::Rejected {
            remote: self.remote.name().to_owned(),
            subject,
            reason,
            words,
        }
    }

    /// Leaves word for a run after this one, in case this one is killed. Without a place to write to, it goes without.
    pub(super) fn mark(&mut self, marked: &Marked) -> Option<Marker> {
        let place = self.markers.as_ref()?;
        match Marker::leave(&place.folder, &place.request, marked) {
            Ok(marker) => Some(marker),
            Err(err) => {
                let folder = place.folder.display();
                terminal::say(
                    self.log,
                    format_args!("warning: cannot leave a marker in `{folder}`: {err}"),
                );
                None
            }
        }
    }

    /// What a claim tells of how it came about, for those who ask later on how long one waits.
    pub(super) fn tale(&self, change: &Change, course: &Course<'_>) -> Vec<(&'static str, String)> {
        if !change.verb.is_claim() {
            return Vec::new();
        }
        let wanted = match course.operation {
            Operation::Acquire(want) if want.among.is_empty() => Some(want.told()),
            Operation::AcquireEach(parts) => told_of_each(parts),
            _ => None,
        };
        let waited = course.waiting.since.map(|since| since.elapsed());
        let line = self.in_line.as_ref();
        let priority = line.map(|line| line.priority).filter(|n| *n != 0);
        let told = [
            (message::WAITED, waited.map(message::seconds)),
            (message::WANTED, wanted),
            (message::PRIORITY, priority.map(|n| n.to_string())),
        ];
        let told = told.into_iter();
        told.filter_map(|(name, value)| Some((name, value?)))
            .collect()
    }

    /// Makes the commit of a change on top of another one, with this number and request, and these trailers besides its own;
    /// gives it and the objects that a server needs for it.
    pub(super) fn make_commit(
        &self,
        parent: Oid,
        change: &Change,
        number: u64,
        request: String,
        more: Vec<(&'static str, String)>,
    ) -> Result<(Oid, Vec<Oid>), StoreError> {
        let mut trailers = self.trailers(change, request, more);
        trailers.push((message::NUMBER, number.to_string()));
        let message = message::compose(&self.origin, change.verb, &change.locks, &trailers);
        self.remote
            .store()
            .make_commit(parent, &change.edits, &message, &self.identity)
    }

    /// The trailers of the commit of a change, but for its number.
    pub(super) fn trailers(
        &self,
        change: &Change,
        request: String,
        more: Vec<(&'static str, String)>,
    ) -> Vec<(&'static str, String)> {
        let mut trailers = vec![(message::REQUEST, request)];
        trailers.extend(match change.right {
            Right::Trust => None,
            Right::Claim(claim) => Some((message::CLAIM, claim.to_string())),
            // Not as one who shows his own claim: its holder is to find that somebody else ended it.
            Right::Stale { claim, .. } => Some((message::REAPED, claim.to_string())),
            Right::Operator { claim, .. } => Some((message::UNLOCKED, claim.to_string())),
        });
        let also_ended = change.also_ends.iter();
        trailers.extend(also_ended.map(|claim| (message::CLAIM, claim.to_string())));
        let claims_for = self.reason.as_ref().filter(|_| change.verb.is_claim());
        let reason = change.reason.as_ref().or(claims_for);
        trailers.extend(reason.map(|reason| (message::REASON, reason.clone())));
        if change.locks.iter().any(|lock| lock.pool().is_some()) {
            let names = change.locks.iter().map(|lock| lock.full(&self.pool));
            trailers.extend(names.map(|name| (message::LOCK, name.as_str().to_owned())));
        }
        trailers.extend(more);
        if self.ends_with_command && change.verb.is_claim() {
            trailers.push((message::ENDS_WITH, "command".to_owned()));
        }
        let build = self.origin.build_id.iter();
        let build = build.filter(|_| change.verb.is_claim());
        trailers.extend(build.map(|id| (message::BUILD, id.clone())));
        let step = self.step.iter().filter(|_| change.verb.is_claim());
        trailers.extend(step.map(|step| (message::STEP, step.clone())));
        trailers
    }
}

/// What tells a commit from all others.
pub(super) fn new_request() -> String {
    uuid::Uuid::new_v4().to_string()
}

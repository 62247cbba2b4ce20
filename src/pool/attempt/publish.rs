//! One commit of ours on its way to the branch.

use std::cell::Cell;
use std::time::{Duration, SystemTime};

use tokio::time::sleep;

use super::abort::GRACE;
use super::{Attempt, AttemptError, Pending, Queue, deeper, read};
use crate::marker::{Marked, Marker};
use crate::message;
use crate::operation::Right;
use crate::rules::Change;
use git::FaultError;
use git::object::Oid;
use git::{
    Depth, Interest, Listing, PushAnswer, RefUpdate, Remote, RemoteError, Snapshot, StoreError,
};
use net::NetError;
use pace::{Faults, pause_unless_stopped, pauses};
use terminal::trying_again;

/// How often a push is tried again when the server could not lock the branch, though nobody moved it.
const PATIENCE_FOR_BUSY: usize = 8;

/// What became of one commit of ours.
pub(super) enum Published {
    Landed(Oid),
    Overtaken,
}

/// Where the branch is after a push that was not simply accepted.
pub(super) enum Found {
    Landed,
    Moved,
    Unmoved,
}

impl Attempt<'_> {
    /// Pushes one commit, and finds out what became of it from the branch rather than from words.
    ///
    /// With `first` it is two commits in one push, that one before the other.
    ///
    /// While the branch stays where it was it is the same commit that is pushed again, so that a push that was taken
    /// for lost and arrives later does no harm: it is this one.
    pub(super) async fn publish(
        &mut self,
        snapshot: &Snapshot,
        first: Option<&Change>,
        change: &Change,
        pending: &mut Option<Pending>,
        queue: &mut Option<Queue>,
    ) -> Result<Published, AttemptError> {
        let base = snapshot.commit;
        let (below, mut objects) = match first {
            Some(first) => self.make_commit(base, first)?,
            None => (base, Vec::new()),
        };
        let (commit, more) = self.make_commit(below, change)?;
        objects.extend(more);
        let pack = self.remote.store().pack(&objects)?;
        let is_claim = change.verb.is_claim();
        let subject = || {
            format!(
                "{}: {}",
                change.verb.as_str(),
                message::listed(&change.locks)
            )
        };

        if is_claim {
            self.mark(&Marked {
                locks: change.locks.clone(),
                verb: change.verb,
                base,
                commit,
                ending: false,
                objects: objects.clone(),
                pack: pack.clone(),
            });
        }
        let mut faults = Faults::new(self.pace.fault_limit);
        let mut busy = pauses_while_busy();
        let sent = Cell::new(false);
        let mut unanswered = false;
        // Who has what he waited for is out of the line in the same step, where the server can do that.
        let mut also: Vec<RefUpdate> = queue
            .as_ref()
            .and_then(Queue::withdrawal)
            .into_iter()
            .collect();
        loop {
            if self.stop.is_cancelled() {
                return Err(AttemptError::Stopped);
            }
            // What the server has not seen yet need not be sent at all.
            let stopped = async {
                self.stop.cancelled().await;
                if sent.get() {
                    sleep(GRACE).await;
                }
            };
            let push = self.remote.push(base, commit, &pack, &also, &sent);
            let answer = answer_until(stopped, &self.remote, push).await;
            unanswered |= sent.get() && answer.is_err();
            if sent.get() && is_claim {
                pending.get_or_insert_with(|| Pending {
                    locks: change.locks.clone(),
                    verb: change.verb,
                    base,
                    commit,
                    objects: objects.clone(),
                    left: None,
                });
            }
            match answer {
                Ok(PushAnswer::Accepted { together }) => {
                    if let Some(queue) = queue.as_mut().filter(|_| together) {
                        queue.forget_ticket();
                    }
                    return Ok(Published::Landed(commit));
                }
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
                (Found::Unmoved, Err(fault)) => {
                    faults
                        .bear(fault, &self.stop, &mut trying_again(self.log))
                        .await?
                }
                // It moved away and back between two looks: simply try again.
                (Found::Unmoved, Ok(PushAnswer::Moved | PushAnswer::Accepted { .. })) => {}
                // It may have been for the ticket that we wanted taken away with it.
                (Found::Unmoved, Ok(PushAnswer::Rejected { .. })) if !also.is_empty() => {
                    also.clear()
                }
                (Found::Unmoved, Ok(PushAnswer::Rejected { reason, words })) => {
                    match busy.next().filter(|_| means_contention(&reason)) {
                        Some(pause) => pause_unless_stopped(pause, &self.stop).await?,
                        None => {
                            // A no to this push is none to one before it that may still be on its way.
                            if !unanswered {
                                *pending = None;
                            }
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

    /// Leaves word for a run after this one, in case it vanishes. Without a place to write to, it goes without.
    fn mark(&mut self, marked: &Marked) {
        let Some(place) = &self.markers else { return };
        // What was pushed before this did not land, and cannot any more.
        if let Some(marker) = self.marker.take() {
            marker.clear();
        }
        match Marker::leave(&place.folder, &place.request, marked) {
            Ok(marker) => self.marker = Some(marker),
            Err(err) => {
                let folder = place.folder.display();
                terminal::say(
                    self.log,
                    format_args!("warning: cannot leave a marker in `{folder}`: {err}"),
                );
            }
        }
    }

    /// Makes the commit of a change on top of another one; gives it and the objects that a server needs for it.
    pub(super) fn make_commit(
        &self,
        parent: Oid,
        change: &Change,
    ) -> Result<(Oid, Vec<Oid>), StoreError> {
        let mut trailers = vec![(message::REQUEST, uuid::Uuid::new_v4().to_string())];
        trailers.extend(match change.right {
            Right::Trust => None,
            Right::Claim(claim) => Some((message::CLAIM, claim.to_string())),
            // Not as one who shows his own claim: its holder is to find that somebody else ended it.
            Right::Stale { claim, .. } => Some((message::REAPED, claim.to_string())),
        });
        let reason = change
            .reason
            .iter()
            .map(|reason| (message::REASON, reason.clone()));
        trailers.extend(reason);
        let lease = self.lease.filter(|_| change.verb.takes_lease());
        trailers
            .extend(lease.map(|lasts| (message::LEASE, message::lease(SystemTime::now(), lasts))));
        let build = self.origin.build_id.iter();
        let build = build.filter(|_| change.verb.is_claim());
        trailers.extend(build.map(|id| (message::BUILD, id.clone())));
        let step = self.step.iter().filter(|_| change.verb.is_claim());
        trailers.extend(step.map(|step| (message::STEP, step.clone())));
        let message = message::compose(&self.origin, change.verb, &change.locks, &trailers);
        self.remote
            .store()
            .make_commit(parent, &change.edits, &message, &self.identity)
    }

    /// Looks where the branch went from `base`, and whether `ours` is on it.
    pub(super) async fn find(&mut self, base: Oid, ours: Oid) -> Result<Found, FaultError> {
        let mut depth = Depth::RECENT;
        loop {
            let interest = |listing: &Listing| match listing.head {
                head if head == base || head == ours => Interest::Nothing,
                _ => Interest::Head(depth, Vec::new()),
            };
            let (remote, limit) = (&mut self.remote, self.pace.fault_limit);
            let (listing, snapshot) = read(remote, limit, &self.stop, self.log, async |remote| {
                remote.look(false, &interest).await
            })
            .await?;
            let Some(snapshot) = snapshot else {
                let landed = listing.head == ours;
                return Ok(if landed {
                    Found::Landed
                } else {
                    Found::Unmoved
                });
            };
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

/// The answer of the server; or that there is none, once it has been `given_up`.
pub(super) async fn answer_until<T>(
    given_up: impl Future<Output = ()>,
    remote: &Remote,
    answer: impl Future<Output = Result<T, RemoteError>>,
) -> Result<T, RemoteError> {
    tokio::select! {
        answer = answer => answer,
        () = given_up => Err(RemoteError::Net(NetError::Silent {
            remote: remote.name().to_owned(),
            after: GRACE,
        })),
    }
}

/// Pauses before a push is tried again that the server could not take for the moment.
pub(super) fn pauses_while_busy() -> impl Iterator<Item = Duration> {
    pauses(Duration::from_millis(50), Duration::from_secs(2)).take(PATIENCE_FOR_BUSY)
}

/// Whether a server's reason means that somebody else was at the branch at the same moment, or that a lock file was in
/// the way, rather than that a rule forbids our commit.
///
/// The words are those of Git, JGit and the large hosts. Which of the two it was shows in the branch.
pub(super) fn means_contention(reason: &str) -> bool {
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

//! One commit of ours on its way to the branch: pushed, looked for, pushed again, until it is known what became of it.
//!
//! What is to be done when is [`super::landing`]'s business.

use std::cell::Cell;
use std::time::Duration;

use super::abort::GRACE;
use super::landing::{Flight, Heard, Landing, Next, No, Seen};
use super::reading::retried;
use super::{Attempt, AttemptError, deeper};
use crate::message;
use git::FaultError;
use git::object::Oid;
use git::refusal::is_rule;
use git::{Depth, History, HistoryError, Pack, PushAnswer, RefUpdate, Remote, RemoteError};
use net::NetError;
use pace::{Fault, Faults, pause_unless_stopped, pauses};
use tokio::time::sleep;

/// What is pushed.
#[derive(Debug, Clone)]
pub(super) struct Parcel {
    /// The commit that ours was made on, directly or with others of ours between them.
    pub base: Oid,
    /// Ours.
    pub commit: Oid,
    /// What a server needs to have it.
    pub pack: Pack,
    /// Other refs to be changed in the same push, where the server can do that.
    pub also: Vec<RefUpdate>,
    /// What others have offered, to be brought along.
    pub along: Option<Along>,
    /// By what ours is known in a commit that somebody else may have made of it on the same base.
    pub request: Option<String>,
}

/// Commits on top of ours that others have offered.
#[derive(Debug, Clone)]
pub(super) struct Along {
    /// The last of them.
    pub tip: Oid,
    /// What a server needs to have all of them, and ours.
    pub pack: Pack,
    /// What takes the tickets of the others away.
    pub tickets: Vec<RefUpdate>,
}

/// How a commit came to be on the branch, if it did.
pub(super) struct Landed {
    pub landing: Landing,
    /// Whether the other refs were changed with it.
    pub together: bool,
    /// The commit that is there: ours, or the one that somebody else made of it.
    pub commit: Oid,
    /// Whether a rule has declined a push with others in it.
    pub others_declined: bool,
}

impl Attempt<'_> {
    /// Brings a commit to the branch, or finds out that it is not there and never will be. Sets `sent` before the server
    /// gets to see any of it. `resumed` is one that an earlier run may have pushed.
    ///
    /// # Errors
    /// [`AttemptError`]. With [`AttemptError::Unknown`] nobody knows what became of it; with the others and `sent` it may
    /// still land.
    pub(super) async fn land(
        &mut self,
        parcel: &Parcel,
        resumed: bool,
        subject: &str,
        sent: &Cell<bool>,
    ) -> Result<Landed, AttemptError> {
        let (mut flight, mut next) = match resumed {
            true => Flight::resumed(),
            false => Flight::new(!parcel.also.is_empty(), parcel.along.is_some()),
        };
        let mut together_with = match &parcel.along {
            Some(along) => (
                along.tip,
                &along.pack,
                [&parcel.also[..], &along.tickets].concat(),
            ),
            None => (parcel.commit, &parcel.pack, parcel.also.clone()),
        };
        let mut commit = parcel.commit;
        let mut others_declined = false;
        let mut faults = Faults::new(self.pace.fault_limit);
        let mut fault = None;
        let mut together = false;
        let mut later = pauses(Duration::from_millis(50), Duration::from_secs(2));
        loop {
            match next {
                Next::Known(landing) => {
                    return Ok(Landed {
                        landing,
                        together,
                        commit,
                        others_declined,
                    });
                }
                Next::Look => {
                    let request = parcel.request.as_deref();
                    let seen = self.whereabouts(parcel.base, parcel.commit, request).await;
                    let seen = match seen {
                        Ok((seen, at)) => {
                            commit = at;
                            seen
                        }
                        Err(FaultError::Stopped) => return Err(AttemptError::Stopped),
                        Err(source) => {
                            return Err(AttemptError::Unknown {
                                commit: parcel.commit,
                                subject: subject.to_owned(),
                                source,
                            });
                        }
                    };
                    next = flight.seen(seen);
                    continue;
                }
                Next::Fail | Next::PushAfterFault => {
                    if let Some(fault) = fault.take() {
                        let tell = &mut retried(self.log, &mut self.trouble);
                        faults.bear(fault, &self.stop, tell).await?;
                    }
                }
                Next::PushLater => {
                    let pause = later.next().unwrap_or_default();
                    pause_unless_stopped(pause, &self.stop).await?;
                }
                Next::PushAlone => together_with = (parcel.commit, &parcel.pack, Vec::new()),
                Next::Push => {}
            }
            if self.stop.is_cancelled() {
                return Err(AttemptError::Stopped);
            }
            let sent_now = Cell::new(false);
            // What the server has not seen yet need not be sent at all.
            let stopped = async {
                self.stop.cancelled().await;
                if sent_now.get() {
                    sleep(GRACE).await;
                }
            };
            let (tip, pack, also) = &together_with;
            let push = self.remote.push(parcel.base, *tip, pack, also, &sent_now);
            let answer = answer_until(stopped, &self.remote, push).await;
            if sent_now.get() {
                sent.set(true);
            }
            let heard = match answer {
                Ok(PushAnswer::Accepted { together: also }) => {
                    together = also;
                    Heard::Accepted
                }
                Ok(PushAnswer::Moved) => Heard::Moved,
                Ok(PushAnswer::Rejected { reason, words }) => {
                    others_declined |= *tip != parcel.commit && is_rule(&reason);
                    Heard::Declined(No { reason, words })
                }
                Err(err) => {
                    let passes = err.is_transient();
                    fault = Some(err);
                    Heard::Fault {
                        sent: sent_now.get(),
                        passes,
                    }
                }
            };
            next = flight.heard(heard);
        }
    }

    /// Looks where the branch is, seen from the commit `base` and from `ours`, which was made on it; or from what somebody else
    /// may have made of it, which has the same `request`. Gives the one that is there as well.
    ///
    /// The side that takes pushes is asked; only where its head is neither of the two, the history is read, from the side
    /// that gives it, as soon as that is not behind.
    pub(super) async fn whereabouts(
        &mut self,
        base: Oid,
        ours: Oid,
        request: Option<&str>,
    ) -> Result<(Seen, Oid), FaultError> {
        let head = self
            .read(async |remote| remote.head_for_pushes().await)
            .await?;
        let head = match Seen::at(head, base, ours) {
            Ok(seen) => return Ok((seen, ours)),
            Err(head) => head,
        };
        let mut depth = Depth::RECENT;
        loop {
            let snapshot = self.snapshot(depth).await?;
            let history = self.remote.history(&snapshot);
            let has = |commit| Ok::<bool, HistoryError>(history.since(commit)?.is_some());
            let asked = found(&history, base, ours, request).and_then(|found| {
                let seen = Seen::behind(snapshot.commit, base, head, found.is_some(), has)?;
                Ok(seen.map(|seen| (seen, found.unwrap_or(ours))))
            });
            match asked {
                Ok(Some(seen)) => return Ok(seen),
                Ok(None) => {}
                Err(err) => {
                    depth = deeper(snapshot.depth, err)
                        .map_err(|err| FaultError::Permanent(RemoteError::Store(err)))?;
                    continue;
                }
            }
            // What gives the history is behind what takes pushes.
            pause_unless_stopped(BETWEEN_LOOKS, &self.stop).await?;
        }
    }
}

/// The commit in a history that is `ours`, which was made on `base`, or that somebody else made of the same request.
///
/// # Errors
/// [`HistoryError`].
pub(super) fn found(
    history: &History<'_>,
    base: Oid,
    ours: Oid,
    request: Option<&str>,
) -> Result<Option<Oid>, HistoryError> {
    let Some(request) = request else {
        return Ok(history.has_after(base, ours)?.then_some(ours));
    };
    for commit in history.after(base)? {
        let message = history.commit(commit)?.message;
        if message::trailer(&message, message::REQUEST).is_some_and(|found| found == request) {
            return Ok(Some(commit));
        }
    }
    Ok(None)
}

/// The pause between two looks at a view that is behind.
pub(super) const BETWEEN_LOOKS: Duration = Duration::from_millis(200);

/// The answer of the server; or that there is none, once it has been `given_up`.
async fn answer_until<T>(
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

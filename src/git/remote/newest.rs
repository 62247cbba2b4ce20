//! Reads that never go back: the newest commit that we know the branch to have been at.
//!
//! The side of a server that is read from (a replica, a mirror) may show, for some seconds, an older state than the side
//! that takes pushes. A head is *behind* when it lacks what we know: a commit that we have seen at the branch, that we
//! have pushed, or that somebody shows who has it from us. It is looked for again, and never believed, unless the side
//! that takes pushes shows the very same: then the branch was rewound.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Remote, Seen};
use crate::link::Service;
use crate::object::Oid;
use crate::{History, HistoryError, RemoteError};

/// How long we wait for a view to catch up before its lag counts as a fault of the server, which the caller may ride
/// out; and how long where nobody can tell a lag from a rewind, before we take it for one.
const PATIENCE: Duration = Duration::from_secs(5);

/// The first pause between two looks at a view that is behind; the next ones are twice as long, up to a second.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// How many of the commits are kept at which the branch was before: those that a view may still show.
const MOST_OLDER: usize = 1000;

/// What is known of where the branch has been.
#[derive(Debug, Default)]
pub(super) struct Newest {
    /// The newest commit that we know of.
    known: Option<Oid>,
    /// Where it was before, or must have been, the last at the end: of late, since a wait may go on for days.
    older: VecDeque<Oid>,
    /// Where the side that takes pushes had it last, or what we took for that.
    settled: Option<Oid>,
}

impl Newest {
    /// Notes that the branch has been at this commit, after all that was known before.
    pub fn is(&mut self, commit: Oid) {
        if let Some(before) = self.known.replace(commit)
            && before != commit
        {
            self.note_older(before);
        }
        self.older.retain(|older| *older != commit);
    }

    fn note_older(&mut self, commit: Oid) {
        if self.older.len() >= MOST_OLDER {
            self.older.pop_front();
        }
        self.older.push_back(commit);
    }

    /// Notes that the branch was rewound to this commit.
    fn was_rewound_to(&mut self, commit: Oid) {
        *self = Newest {
            known: Some(commit),
            older: VecDeque::new(),
            settled: Some(commit),
        };
    }

    /// Whether a head is older than what is known. `has` tells whether a commit has another in its history, as far as
    /// that is here.
    fn is_newer_than(&self, head: Oid, has: impl Fn(Oid, Oid) -> Option<bool>) -> bool {
        let Some(known) = self.known.filter(|known| *known != head) else {
            return false;
        };
        if self.older.contains(&head) {
            return true;
        }
        match has(head, known) {
            Some(is_there) => !is_there,
            // Then the other way round: what is here of the history of what we know may have the head in it.
            None => has(known, head) == Some(true),
        }
    }
}

impl Remote {
    /// Takes in that the whole history of a head lacks a commit that somebody shows; says whether it is worth another
    /// look. It is not once the side that takes pushes has shown that head too, or nobody can tell.
    pub fn doubts(&self, head: Oid, lacks: Oid) -> bool {
        let mut newest = self.newest.borrow_mut();
        if newest.settled == Some(head) {
            return false;
        }
        newest.note_older(head);
        newest.known = Some(lacks);
        true
    }

    /// Takes in a head that was listed and perhaps fetched.
    fn note_newest(&self, seen: &Seen) {
        // What was only listed may be anything; it is looked at when it is fetched.
        if seen.fetched.is_some() {
            self.newest.borrow_mut().is(seen.listing.head);
        }
    }

    /// Notes that the server has taken a push of ours.
    pub(super) fn note_pushed(&self, commit: Oid) {
        self.newest.borrow_mut().is(commit);
    }

    /// Notes where the side that takes pushes has the branch.
    pub(super) fn note_head_for_pushes(&self, head: Oid) {
        let mut newest = self.newest.borrow_mut();
        newest.is(head);
        newest.settled = Some(head);
    }

    /// Whether what was seen is older than what we know.
    fn is_behind(&self, seen: &Seen) -> bool {
        let complete = seen
            .fetched
            .as_ref()
            .is_some_and(|(depth, _)| depth.is_all());
        let head = seen.listing.head;
        self.newest.borrow().is_newer_than(head, |commit, other| {
            if !matches!(self.store.commit(commit), Ok(Some(_))) {
                return None;
            }
            let complete = complete && commit == head;
            match History::new(&self.store, commit, complete).since(other) {
                Ok(since) => Some(since.is_some()),
                Err(HistoryError::Truncated | HistoryError::Store(_)) => None,
            }
        })
    }

    /// Has `look` look again as long as what it shows is older than what we know.
    ///
    /// # Errors
    /// [`RemoteError::Behind`] when the view does not catch up, and those of `look`.
    pub(super) async fn newest(
        &mut self,
        interest: &dyn Fn(&super::Listing) -> super::Interest,
        first: Seen,
    ) -> Result<Seen, RemoteError> {
        let began = Instant::now();
        let mut seen = first;
        let mut pause = FIRST_PAUSE;
        while self.is_behind(&seen) {
            let is_last = began.elapsed() >= PATIENCE;
            match self.head_for_pushes().await {
                // Both sides agree.
                Ok(head) if head == Some(seen.listing.head) => {
                    self.newest.borrow_mut().was_rewound_to(seen.listing.head);
                    break;
                }
                Ok(_) if is_last => {
                    return Err(RemoteError::Behind {
                        remote: self.name().to_owned(),
                        lasted: began.elapsed(),
                    });
                }
                // Nobody can tell.
                Err(_) if is_last => {
                    self.newest.borrow_mut().was_rewound_to(seen.listing.head);
                    break;
                }
                Ok(_) | Err(_) => {}
            }
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(1));
            seen = self.list_and_fetch(interest, false).await?;
            self.note_fetched(&mut seen)?;
        }
        self.note_newest(&seen);
        Ok(seen)
    }

    /// Where the side of the server that takes pushes has the branch; `None` when it has none.
    ///
    /// # Errors
    /// [`RemoteError`], also when we may only read.
    pub async fn head_for_pushes(&self) -> Result<Option<Oid>, RemoteError> {
        if let Some(head) = self.head_here() {
            self.note_head_for_pushes(head);
            return Ok(Some(head));
        }
        self.within_limit(async {
            let (talk, advertisement) = self.open(Service::ReceivePack).await?;
            // The answer is there; a goodbye that gets lost changes nothing.
            let _ = talk.leave().await;
            let head = advertisement.get(&self.reference());
            if let Some(head) = head {
                self.note_head_for_pushes(head);
            }
            Ok(head)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn id(n: u8) -> Oid {
        crate::object::blob_id(&[n])
    }

    /// A branch on which each commit was made on the one before, of which we have the last few.
    fn line(have: std::ops::RangeInclusive<u8>) -> impl Fn(Oid, Oid) -> Option<bool> {
        move |commit, other| {
            let at = |id_: Oid| (0..=100).find(|n| id(*n) == id_).unwrap();
            let (commit, other) = (at(commit), at(other));
            if !have.contains(&commit) {
                return None;
            }
            if other >= have.start().saturating_sub(1) || *have.start() == 0 {
                return Some(other <= commit);
            }
            None
        }
    }

    #[test]
    fn a_head_that_lacks_what_we_know_is_behind() {
        let mut newest = Newest::default();
        assert!(
            !newest.is_newer_than(id(7), line(7..=7)),
            "nothing is known"
        );
        newest.is(id(7));

        assert!(!newest.is_newer_than(id(7), line(7..=7)));
        assert!(!newest.is_newer_than(id(9), line(7..=9)));
        assert!(newest.is_newer_than(id(6), line(5..=7)));
        assert!(newest.is_newer_than(id(3), line(1..=7)));
        assert!(
            !newest.is_newer_than(id(3), line(7..=7)),
            "nobody can tell from what is here"
        );
    }

    #[test]
    fn a_head_that_was_seen_before_a_later_one_is_behind_whatever_is_here_of_it() {
        let mut newest = Newest::default();
        for n in [3, 5, 9] {
            newest.is(id(n));
        }

        assert!(newest.is_newer_than(id(3), |_, _| None));
        assert!(newest.is_newer_than(id(5), |_, _| None));
        assert!(!newest.is_newer_than(id(9), |_, _| None));
        newest.was_rewound_to(id(5));
        assert!(!newest.is_newer_than(id(5), |_, _| None));
    }

    #[test]
    fn a_wait_for_days_keeps_no_more_than_what_a_view_may_still_show() {
        let mut newest = Newest::default();
        let at = |n: usize| crate::object::blob_id(n.to_string().as_bytes());
        for n in 0..3 * MOST_OLDER {
            newest.is(at(n));
        }

        assert_eq!(newest.older.len(), MOST_OLDER);
        assert!(newest.is_newer_than(at(3 * MOST_OLDER - 2), |_, _| None));
    }
}

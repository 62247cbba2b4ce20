//! What is told of an operation that was carried out.

use std::time::Duration;

use crate::lock::LockName;
use git::object::Oid;

/// An operation that was carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The commit that did it, now or earlier.
    pub commit: Oid,
    /// The locks it was about.
    pub locks: Vec<LockName>,
    /// The number of the claim, if that is what the commit is and it has one (see [`crate::number`]).
    pub number: Option<u64>,
    /// Whether this run did it, and not somebody before.
    pub done_now: bool,
    /// How long was waited for them, if at all.
    pub waited: Option<Duration>,
    /// The place in line at which we began to wait, if we had to.
    pub place_at_arrival: Option<usize>,
    /// Who held the first of the locks before, as far as is known.
    pub held_before_by: Option<String>,
    /// What there is to know of a giving back that had nothing to do.
    pub given_back: Option<GivenBack>,
}

/// A lock that was given back already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenBack {
    /// The first line of the commit that did it, fit for a log.
    pub subject: String,
    /// Which locks of the pool whoever asks holds still.
    pub still_held: Vec<LockName>,
}

impl Outcome {
    /// One that somebody else has brought about.
    pub(super) fn new(commit: Oid, locks: Vec<LockName>) -> Outcome {
        Outcome {
            commit,
            locks,
            number: None,
            done_now: false,
            waited: None,
            place_at_arrival: None,
            held_before_by: None,
            given_back: None,
        }
    }
}

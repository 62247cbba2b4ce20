//! How far an operation has come that is being carried out.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::claim::OurClaim;
use super::lines::Lines;
use super::lookout::Lookout;
use super::others_first::{Gathering, OthersFirst};
use super::queue::refs_of_branch;
use super::wait::Waiting;
use super::{Attempt, AttemptError};
use crate::line::branch::BranchLine;
use crate::maker::Me;
use crate::operation::Operation;
use git::object::Oid;
use git::{Depth, HistoryError, Snapshot};
use pace::{pauses, pauses_after_lost_races};

/// The pauses after lost races of one who has but seconds: some dozen tries.
const FIRST_IN_A_HURRY: Duration = Duration::from_millis(20);
const LONGEST_IN_A_HURRY: Duration = Duration::from_millis(160);

/// How far an operation has come that is being carried out.
pub(super) struct Course<'o> {
    pub operation: &'o Operation,
    pub began: Instant,
    /// How much of the history is fetched.
    pub depth: Depth,
    /// What we last went by.
    pub last: Option<Snapshot>,
    /// To fetch the head, though the line has nothing for us in it.
    pub fetch_anyway: bool,
    /// Where there was no claim of our step yet.
    pub not_ours: Option<Oid>,
    /// Whether it has been said which metadata cannot be read.
    pub said_unreadable: bool,
    /// Whether no view is believed any more that is older than where the branch was since we began.
    pub is_current: bool,
    pub waiting: Waiting,
    /// What is known of circles.
    pub lookout: Lookout,
    pub others_first: OthersFirst,
    /// The pauses after races that will be lost.
    pub lost_races: Box<dyn Iterator<Item = Duration>>,
    /// When the lease ends that is renewed.
    pub lease_end: Option<SystemTime>,
    /// The commit that we made last, and its number.
    pub number: Option<(Oid, u64)>,
    /// How many races were lost so far.
    pub races: u32,
    /// How often in a row the branch moved, and the server said no in words that are not known.
    pub declined: u32,
    /// What we claimed and have told nobody of.
    pub claim: OurClaim,
    /// The lines that we may have to stand in.
    pub lines: Lines,
    /// The line of those who have lost a race for the branch.
    pub branch: BranchLine,
    /// Whether a place in it is to be taken after the next look.
    pub queues_next: bool,
    /// Whether nobody is brought along any more: a push with others in it was declined.
    pub goes_alone: bool,
    /// For how long those are waited for who come to stand behind us.
    pub gathering: Gathering,
}

impl<'o> Course<'o> {
    pub fn new(operation: &'o Operation, attempt: &Attempt<'_>) -> Course<'o> {
        // Ownership is proved by the history, and often by the last commit, as is by whom something was held. For how long is
        // told by more.
        let tells_hold = attempt.meter.is_on() && operation.gives_back();
        let proves = operation.claim_to_prove().is_some() || operation.gives_back();
        Course {
            operation,
            began: Instant::now(),
            depth: match (tells_hold, proves) {
                (true, _) => Depth::RECENT,
                (false, true) => Depth::FEW,
                (false, false) => Depth::HEAD,
            },
            last: None,
            fetch_anyway: false,
            not_ours: None,
            said_unreadable: false,
            is_current: false,
            waiting: Waiting::new(attempt.paint, Me::of(&attempt.origin)),
            lookout: Lookout::default(),
            others_first: OthersFirst::new(operation.gives_back()),
            lost_races: Box::new(pauses_after_lost_races()),
            lease_end: None,
            number: None,
            races: 0,
            declined: 0,
            claim: OurClaim::None,
            lines: Lines::default(),
            branch: BranchLine::new(&refs_of_branch(attempt.remote.branch())),
            queues_next: false,
            goes_alone: false,
            gathering: Gathering::default(),
        }
    }

    /// Has us push before all who stand in line at the branch, and try again soon after a lost race.
    pub fn hurry(&mut self) {
        if !self.branch.goes_first() {
            self.branch.go_first();
            self.lost_races = Box::new(pauses(FIRST_IN_A_HURRY, LONGEST_IN_A_HURRY));
        }
    }

    /// Has more of the history fetched than what was not enough, whatever the line has for us.
    pub fn deepen(&mut self) {
        let depth = self.last.map_or(self.depth, |last| last.depth);
        self.depth = depth.deeper().unwrap_or(depth);
        self.fetch_anyway = true;
    }
}

/// Why a round came to no end.
pub(super) enum Setback {
    /// The history that is here does not go back far enough.
    Shallow,
    /// What we go by may be older than what somebody shows us.
    Behind,
    /// It cannot be done.
    Failed(Box<AttemptError>),
}

impl From<HistoryError> for Setback {
    fn from(err: HistoryError) -> Setback {
        match err {
            HistoryError::Truncated => Setback::Shallow,
            HistoryError::Store(err) => err.into(),
        }
    }
}

impl<E> From<E> for Setback
where
    AttemptError: From<E>,
{
    fn from(err: E) -> Setback {
        Setback::Failed(Box::new(err.into()))
    }
}

//! How a worker goes on after what it has done, and how its run ends.

use super::branch::{NONE, names};
use super::world::{At, Claim, Goal, Landing, Mark, Parcel, World};
use crate::attempt::back::Left;
use crate::attempt::landing::Flight;
use crate::rules::Change;

pub(super) fn make(next: &mut World, parent: u8, who: usize, change: &Change) -> u8 {
    let by = u8::try_from(who).unwrap_or_default();
    next.branch.make(parent, by, change)
}

/// A commit of ours sets out.
pub(super) fn fly(next: &mut World, who: usize, what: Parcel, base: u8, commit: u8) {
    fly_with(next, who, what, base, (commit, commit));
}

/// The same, with others on top of it, the last of which is the `tip`.
pub(super) fn fly_with(
    next: &mut World,
    who: usize,
    what: Parcel,
    base: u8,
    (commit, tip): (u8, u8),
) {
    let (flight, then) = Flight::new(false, tip != commit);
    next.workers[who].at = At::Land(Box::new(Landing {
        what,
        base,
        commit,
        tip,
        flight,
        next: then,
        head: None,
        is_sent: false,
    }));
}

pub(super) fn claim_it(next: &mut World, who: usize, base: u8, (commit, tip): (u8, u8), locks: u8) {
    let claim = Claim {
        base,
        commit,
        locks,
    };
    let w = &mut next.workers[who];
    // What was offered on the same commit is the same claim, and has its marker.
    match w.offered {
        Some(_) => w.pending = Some(claim),
        None => {
            w.pending = None;
            w.marker = Some(Mark {
                claim,
                is_ending: false,
                is_ours: true,
            });
        }
    }
    fly_with(next, who, Parcel::Claim(claim), base, (commit, tip));
}

/// A worker offers what it is after to those who push onto `base`.
pub(super) fn offer(next: &mut World, who: usize, base: u8) {
    let by = u8::try_from(who).unwrap_or_default();
    let w = &mut next.workers[who];
    let claim = Claim {
        base,
        commit: NONE,
        locks: 0,
    };
    w.offered = Some(base);
    w.pending = Some(claim);
    w.marker = Some(Mark {
        claim,
        is_ending: false,
        is_ours: true,
    });
    next.offers.push((by, w.run, base));
}

/// Nobody will ever carry out what a worker has offered.
pub(super) fn offer_is_over(next: &mut World, who: usize) {
    let w = &mut next.workers[who];
    if w.offered.take().is_some() {
        w.pending = None;
        w.marker = None;
    }
}

/// What was asked for has been done: the line is left, and then it is told.
pub(super) fn conclude(next: &mut World, who: usize, claim: Claim) {
    leave_line(next, who);
    next.workers[who].at = At::Tell(claim);
}

fn leave_line(next: &mut World, who: usize) {
    let is_mine = |(owner, is_dead): &(u8, bool)| usize::from(*owner) == who && !is_dead;
    next.line.retain(|ticket| !is_mine(ticket));
}

/// What an earlier run left is adopted, given back, or forgotten.
pub(super) fn becomes(next: &mut World, who: usize, claim: Claim, standing: u8) {
    let w = &mut next.workers[who];
    let Some(mark) = &mut w.marker else { return };
    let may_be_adopted = Left::may_be_adopted(mark.is_ending, true);
    match Left::given(may_be_adopted, &names(claim.locks), &names(standing)) {
        Left::Adopt => conclude(next, who, claim),
        Left::Forget => {
            w.pending = None;
            w.marker = None;
            w.offered = None;
            w.at = At::Look(Goal::Ask);
        }
        Left::GiveBack => {
            mark.is_ending = true;
            let left = Claim {
                locks: standing,
                ..claim
            };
            w.pending = Some(left);
            let goal = Goal::Left(left);
            w.at = At::Where { goal, head: None };
        }
    }
}

/// The run comes to no good end: what may be claimed for nobody is given back.
pub(super) fn fails(next: &mut World, who: usize) {
    let w = &mut next.workers[who];
    if let At::Land(landing) = &w.at
        && let Parcel::Claim(claim) = landing.what
    {
        w.pending = (landing.is_sent || w.offered.is_some()).then_some(claim);
    }
    give_up(next, who);
}

pub(super) fn give_up(next: &mut World, who: usize) {
    leave_line(next, who);
    let w = &mut next.workers[who];
    if let Some(claim) = w.pending.take() {
        if let Some(mark) = &mut w.marker {
            mark.is_ending = true;
        }
        let goal = Goal::Undo(claim);
        w.at = At::Where { goal, head: None };
        return;
    }
    w.marker = w.marker.take().filter(|mark| !mark.is_ours);
    w.at = At::Ended { said: false };
}

/// A claim has ended.
pub(super) fn done(next: &mut World, who: usize, goal: Goal) {
    let w = &mut next.workers[who];
    match goal {
        Goal::Undo(_) | Goal::Left(_) => {
            w.pending = None;
            w.marker = None;
            w.offered = None;
        }
        Goal::Release(_) | Goal::Ask => {}
    }
    w.at = match goal {
        Goal::Left(_) => At::Look(Goal::Ask),
        _ => At::Ended { said: false },
    };
}

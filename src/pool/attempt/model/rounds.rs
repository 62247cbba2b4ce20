//! The rounds of the loop: a look, what the rules say of it, and what an earlier run has left.

use std::collections::BTreeMap;

use super::branch::{NONE, claim_id, each, names, set};
use super::ends::{becomes, claim_it, conclude, done, fails, fly, make, offer, offer_is_over};
use super::steps::Steps;
use super::world::{At, Claim, Goal, Landing, Parcel, World};
use crate::attempt::back::{Back, end_at_once, giving_back};
use crate::attempt::landing::{Flight, Seen};
use crate::line::{self, Need};
use crate::lock::LockName;
use crate::message::Verb;
use crate::operation::{Operation, Want};
use crate::rules::{Decision, Facts, claim_anew, decide};

impl Steps<'_> {
    pub(super) fn begin(&mut self, who: usize) {
        let mut next = self.world.clone();
        let head = next.branch.head();
        let w = &mut next.workers[who];
        (w.began, w.known) = (head, 0);
        let Some(mark) = &mut w.marker else {
            w.at = At::Look(Goal::Ask);
            return self.add(who, "begins", 0, next);
        };
        mark.is_ours = true;
        let claim = mark.claim;
        w.pending = Some(claim);
        if claim.commit == NONE {
            w.offered = Some(claim.base);
            w.at = At::Left { claim, head: None };
            let what = "finds the marker of its run before, for an offer on commit #";
            return self.add(who, what, claim.base, next);
        }
        let (flight, then) = Flight::resumed();
        w.at = At::Land(Box::new(Landing {
            what: Parcel::Finish(claim),
            base: claim.base,
            commit: claim.commit,
            tip: claim.commit,
            flight,
            next: then,
            head: None,
            is_sent: true,
        }));
        self.add(
            who,
            "finds the marker of its run before, for commit #",
            claim.commit,
            next,
        );
    }

    pub(super) fn ask(&mut self, who: usize) {
        let operation = &self.plan.workers[who].asks;
        for view in self.views(self.world.workers[who].known) {
            let mut seen = self.world.clone();
            seen.workers[who].known = view;
            if let Some(base) = seen.workers[who].offered {
                if view < base {
                    // It is behind, and asked again.
                    continue;
                }
                if let Some(commit) = self.brought_along(who, view) {
                    let claim = Claim {
                        base,
                        commit,
                        locks: seen.branch.claims(commit),
                    };
                    seen.workers[who].pending = Some(claim);
                    conclude(&mut seen, who, claim);
                    self.add(who, "sees that commit # is its claim", commit, seen);
                    continue;
                }
                if view > base {
                    offer_is_over(&mut seen, who);
                }
            }
            let pool = seen.branch.pool(view);
            if self.plan.workers[who].is_named {
                let held = seen.branch.held(view);
                let mut ours = held
                    .iter()
                    .filter(|(claim, _)| usize::from(seen.branch.at(*claim).by) == who);
                if let Some((claim, locks)) = ours.next()
                    && operation.is_answered_by(
                        &names(*locks),
                        pool.locks().map(|(lock, _)| lock),
                        fits,
                    )
                {
                    match claim_anew(&pool, operation, &names(*locks), claim_id(*claim)) {
                        Ok([end, anew]) => {
                            let below = make(&mut seen, view, who, &end);
                            let commit = make(&mut seen, below, who, &anew);
                            claim_it(&mut seen, who, view, (commit, commit), *locks);
                            self.add(who, "takes over the claim of commit #", *claim, seen);
                        }
                        Err(_) => {
                            fails(&mut seen, who);
                            self.add(who, "is refused", 0, seen);
                        }
                    }
                    continue;
                }
            }
            let mut facts = Facts::default();
            if let Operation::Acquire(want) = operation
                && !want.takes_any()
            {
                let fitting = pool.locks().filter(|(lock, _)| fits(want, lock));
                facts.fitting = Some(fitting.map(|(lock, _)| lock.clone()).collect());
            }
            let mut is_after_others = false;
            if self.plan.in_line {
                let (line, me) = self.line(who);
                let standing = line::standing(&line, me, &pool, fits);
                facts.turn = standing.turn_to_go_by();
                is_after_others = !standing.served_before.is_empty();
            }
            let mut tried = Vec::new();
            for draw in 0..self.plan.locks {
                let decision = decide(&pool, operation, &facts, u64::from(draw));
                if tried.contains(&decision) {
                    continue;
                }
                tried.push(decision.clone());
                let mut next = seen.clone();
                match decision {
                    Decision::Change(change) => {
                        if is_after_others {
                            self.join(&mut next, who);
                        }
                        let is_first = next.workers[who].offered.is_none();
                        if self.plan.goes_along && next.workers[who].has_lost && is_first {
                            let mut next = next.clone();
                            offer(&mut next, who, view);
                            self.add(who, "offers to claim a lock on top of commit #", view, next);
                        }
                        let commit = make(&mut next, view, who, &change);
                        if next.workers[who].offered.is_some() {
                            let run = next.workers[who].run;
                            next.branch.offer(commit, run, view);
                        }
                        let tip = self.along(&mut next, who, view, commit);
                        if tip != commit {
                            let mut next = next.clone();
                            claim_it(&mut next, who, view, (commit, tip), set(&change.locks));
                            let what =
                                "sees commit #, and is to claim a lock, others along with it";
                            self.add(who, what, view, next);
                        }
                        claim_it(&mut next, who, view, (commit, commit), set(&change.locks));
                        self.add(who, "sees commit #, and is to claim a lock", view, next);
                    }
                    Decision::Wait(_) => {
                        self.join(&mut next, who);
                        self.add(who, "sees commit #, and waits", view, next);
                    }
                    _ => {
                        fails(&mut next, who);
                        self.add(who, "sees commit #, and is refused", view, next);
                    }
                }
            }
        }
    }

    /// Makes commits of what others offer on top of `base`, on top of ours; gives the last of them.
    fn along(&self, next: &mut World, who: usize, base: u8, ours: u8) -> u8 {
        let mut tip = ours;
        for (by, run, on) in next.offers.clone() {
            let worker = usize::from(by);
            let is_ours = worker == who && run == next.workers[who].run;
            if on != base || is_ours {
                continue;
            }
            let asks = &self.plan.workers[worker].asks;
            let decision = decide(&next.branch.pool(tip), asks, &Facts::default(), 0);
            if let Decision::Change(change) = decision {
                tip = make(next, tip, worker, &change);
                next.branch.offer(tip, run, base);
            }
        }
        tip
    }

    /// What becomes of an offer that an earlier run has left.
    pub(super) fn left(&mut self, who: usize, claim: Claim, head: Option<u8>) {
        for (what, number, seen) in self.whereabouts(who, head, (claim.base, claim.commit, true)) {
            let mut next = self.world.clone();
            if what.starts_with("asks") {
                next.workers[who].known = number;
            }
            let is_ending = next.workers[who].marker.is_some_and(|mark| mark.is_ending);
            match seen {
                Err(head) => {
                    let head = Some(head);
                    next.workers[who].at = At::Left { claim, head };
                }
                Ok(Seen::Ours) => {
                    let Some(commit) = self.brought_along(who, next.branch.head()) else {
                        continue;
                    };
                    let locks = next.branch.claims(commit);
                    next.workers[who].at = At::Standing(Claim {
                        commit,
                        locks,
                        ..claim
                    });
                }
                Ok(Seen::Unmoved) if is_ending => {
                    let goal = Goal::Left(claim);
                    next.workers[who].at = At::Where { goal, head: None };
                }
                // It may still be brought along.
                Ok(Seen::Unmoved) => next.workers[who].at = At::Look(Goal::Ask),
                Ok(Seen::MovedOn | Seen::Rewound) => becomes(&mut next, who, claim, 0),
            }
            self.add(who, what, number, next);
        }
    }

    /// The line as a worker sees it, with a place for himself at its end if he has none, and where he is.
    fn line(&self, who: usize) -> (Vec<Need>, usize) {
        let mut owners: Vec<(usize, bool)> = self
            .world
            .line
            .iter()
            .map(|(owner, is_dead)| (usize::from(*owner), *is_dead))
            .collect();
        let mine = (who, false);
        let me = owners.iter().position(|owner| *owner == mine);
        let me = me.unwrap_or_else(|| {
            owners.push(mine);
            owners.len() - 1
        });
        let need = |(owner, _): (usize, bool)| Need::of(&self.plan.workers[owner].asks);
        (owners.into_iter().filter_map(need).collect(), me)
    }

    fn join(&self, next: &mut World, who: usize) {
        let mine = (u8::try_from(who).unwrap_or_default(), false);
        if self.plan.in_line && !next.line.contains(&mine) {
            next.line.push(mine);
        }
    }

    /// A round of a release: what is given back, and what is done with.
    pub(super) fn release(&mut self, who: usize, goal: Goal) {
        let Some(claim) = goal.claim() else { return };
        let operation = giving_back(Verb::Claiming, &names(claim.locks), claim_id(claim.commit));
        for view in self.views(self.world.workers[who].known) {
            let mut next = self.world.clone();
            next.workers[who].known = view;
            if !next.branch.has(view, claim.commit) {
                // A view that lacks what is shown is behind.
                continue;
            }
            let fate = |lock| next.branch.fate(view, lock, claim.commit);
            let fates = each(claim.locks).map(|lock| (names(1 << lock).remove(0), fate(lock)));
            let facts = Facts {
                fates: Some(fates.collect::<BTreeMap<_, _>>()),
                ..Facts::default()
            };
            match decide(&next.branch.pool(view), &operation, &facts, 0) {
                Decision::Change(change) => {
                    let commit = make(&mut next, view, who, &change);
                    fly(&mut next, who, Parcel::Release(goal), view, commit);
                    self.add(who, "sees commit #, and is to end its claim", view, next);
                }
                _ => {
                    done(&mut next, who, goal);
                    self.add(
                        who,
                        "sees commit #, and that its claim has ended",
                        view,
                        next,
                    );
                }
            }
        }
    }

    pub(super) fn standing(&mut self, who: usize, claim: Claim) {
        for view in self.views(self.world.workers[who].known) {
            let mut next = self.world.clone();
            next.workers[who].known = view;
            let standing = next.branch.standing(view, claim.locks, claim.commit);
            becomes(&mut next, who, claim, standing);
            self.add(
                who,
                "sees commit #, and what stands of the claim",
                view,
                next,
            );
        }
    }

    pub(super) fn give_back(&mut self, who: usize, goal: Goal, head: Option<u8>) {
        let Some(claim) = goal.claim() else { return };
        for (what, number, seen) in self.whereabouts(who, head, (claim.base, claim.commit, true)) {
            let mut next = self.world.clone();
            if what.starts_with("asks") {
                next.workers[who].known = number;
            }
            match seen.map(Back::given) {
                Err(head) => {
                    let head = Some(head);
                    next.workers[who].at = At::Where { goal, head };
                }
                Ok(Back::Release) => {
                    let found = self.brought_along(who, next.branch.head());
                    let goal = found.map_or(goal, |commit| {
                        let locks = next.branch.claims(commit);
                        goal.of(Claim {
                            commit,
                            locks,
                            ..claim
                        })
                    });
                    next.workers[who].at = At::Look(goal);
                }
                Ok(Back::Over) => done(&mut next, who, goal),
                Ok(Back::PushWithEnd) if claim.commit == NONE => {
                    // Nobody has made a commit of what was offered.
                    let pool = next.branch.pool(claim.base);
                    let asks = &self.plan.workers[who].asks;
                    match decide(&pool, asks, &Facts::default(), 0) {
                        Decision::Change(change) => {
                            let commit = make(&mut next, claim.base, who, &change);
                            let run = next.workers[who].run;
                            next.branch.offer(commit, run, claim.base);
                            let back = giving_back(Verb::Claiming, &change.locks, claim_id(commit));
                            let Some(end) = end_at_once(&next.branch.pool(commit), &back) else {
                                continue;
                            };
                            let end = make(&mut next, commit, who, &end);
                            fly(&mut next, who, Parcel::End(goal), claim.base, end);
                        }
                        _ => done(&mut next, who, goal),
                    }
                }
                Ok(Back::PushWithEnd) => {
                    let pool = next.branch.pool(claim.commit);
                    let locks = names(claim.locks);
                    let back = giving_back(Verb::Claiming, &locks, claim_id(claim.commit));
                    match end_at_once(&pool, &back) {
                        Some(change) => {
                            let end = make(&mut next, claim.commit, who, &change);
                            fly(&mut next, who, Parcel::End(goal), claim.base, end);
                        }
                        None => done(&mut next, who, goal),
                    }
                }
            }
            self.add(who, what, number, next);
        }
    }
}

/// Whether a lock is one that is wanted.
fn fits(want: &Want, lock: &LockName) -> bool {
    want.among.is_empty() || want.among.contains(lock)
}

//! One commit on its way: what is heard of its push, and what is seen of the branch.

use super::branch::{number, oid};
use super::ends::{becomes, conclude, done, fails, give_up};
use super::steps::Steps;
use super::world::{At, Goal, Landing, Parcel, World};
use crate::attempt::landing::{self, Heard, Next, No, Seen};

impl Steps<'_> {
    /// The answers to the question where the branch is, seen from a commit of ours, or what others have made of it, and the one
    /// that it was made on.
    pub(super) fn whereabouts(
        &self,
        who: usize,
        head: Option<u8>,
        (base, ours, is_claim): (u8, u8, bool),
    ) -> Vec<(&'static str, u8, Result<Seen, u8>)> {
        let branch = &self.world.branch;
        let Some(head) = head else {
            let head = branch.head();
            let seen = Seen::at(Some(oid(head)), oid(base), oid(ours));
            return vec![(
                "asks where pushes go, and sees commit #",
                head,
                seen.map_err(|_| head),
            )];
        };
        // Whatever the side that is read from shows: what knows better is not relied on here.
        let views = self.views(0);
        let answers = views.map(|view| {
            let has = |commit| Ok::<bool, ()>(branch.has(view, number(commit)));
            let is_along = is_claim && self.brought_along(who, view).is_some();
            let has_ours = branch.has(view, ours) || is_along;
            let seen = Seen::behind(oid(view), oid(base), oid(head), has_ours, has);
            let seen = seen.ok().flatten();
            ("reads the history up to commit #", view, seen.ok_or(head))
        });
        answers.collect()
    }

    /// The commit that somebody has made of what a worker has offered, as the branch was at `view`.
    pub(super) fn brought_along(&self, who: usize, view: u8) -> Option<u8> {
        let worker = &self.world.workers[who];
        let by = u8::try_from(who).unwrap_or_default();
        let base = worker.offered?;
        self.world.branch.made_of(view, base, by, worker.run)
    }

    pub(super) fn land(&mut self, who: usize, landing: &Landing) {
        if landing.next == Next::Look {
            let is_claim = matches!(landing.what, Parcel::Claim(_));
            let ours = (landing.base, landing.commit, is_claim);
            let asked = self.whereabouts(who, landing.head, ours);
            for (what, number, seen) in asked {
                let mut next = self.world.clone();
                let mut landing = landing.clone();
                landing.head = seen.err();
                if what.starts_with("asks") {
                    next.workers[who].known = number;
                }
                if let Ok(seen) = seen {
                    landing.next = landing.flight.seen(seen);
                }
                self.go_on(who, what, number, next, landing);
            }
            return;
        }
        let mut landing = landing.clone();
        if landing.next == Next::PushAlone {
            landing.tip = landing.commit;
        }
        let landing = &landing;
        let is_there = self.world.branch.head() == landing.base;
        let may_fail = self.world.mishaps.faults > 0;
        let no = |reason: &str| {
            Heard::Declined(No {
                reason: reason.to_owned(),
                words: String::new(),
            })
        };
        let mut hears = |heard: Heard, arrives: bool, is_mishap: bool, what: &'static str| {
            let mut next = self.world.clone();
            let mut landing = landing.clone();
            if is_mishap {
                next.mishaps.faults -= 1;
            }
            landing.is_sent |= !matches!(heard, Heard::Moved | Heard::Fault { sent: false, .. });
            if matches!(heard, Heard::Fault { sent: true, .. }) {
                next.on_their_way.push((landing.base, landing.tip));
            }
            if heard == Heard::Moved {
                next.workers[who].known = next.branch.head();
            }
            landing.next = landing.flight.heard(heard);
            // Numbers change with what lands: what is pushed goes with the worker.
            let (commit, tip) = (landing.commit, landing.tip);
            next.workers[who].at = At::Land(Box::new(landing));
            if arrives {
                next.land(tip);
                next.workers[who].known = next.branch.head();
            }
            let At::Land(landing) = next.workers[who].at.clone() else {
                return;
            };
            self.go_on(who, what, commit, next, *landing);
            if is_mishap && let Some((event, _)) = self.found.last_mut() {
                event.goes_on = false;
            }
        };
        if is_there {
            hears(
                Heard::Accepted,
                true,
                false,
                "pushes commit #, and it is taken",
            );
        } else {
            hears(
                Heard::Moved,
                false,
                false,
                "is to push commit #, and the branch is elsewhere",
            );
            let race = no("failed to update ref");
            hears(race, false, false, "pushes commit #, and loses the race");
        }
        if may_fail {
            let lost = |sent, passes| Heard::Fault { sent, passes };
            hears(
                lost(true, true),
                false,
                true,
                "pushes commit #, and hears nothing",
            );
            hears(
                lost(true, false),
                false,
                true,
                "pushes commit #, and hears of an error that is for good",
            );
            if is_there {
                let hook = no("pre-receive hook declined");
                hears(hook, false, true, "pushes commit #, and a hook declines it");
                let busy = no("cannot lock ref");
                hears(busy, false, true, "pushes commit #, and the server is busy");
            }
        }
    }

    /// Goes on with a landing: what became of it is acted upon at once.
    fn go_on(
        &mut self,
        who: usize,
        what: &'static str,
        number: u8,
        mut next: World,
        landing: Landing,
    ) {
        let known = match &landing.next {
            Next::Known(known) => Some(known.clone()),
            Next::Fail => None,
            _ => {
                next.workers[who].at = At::Land(Box::new(landing));
                return self.add(who, what, number, next);
            }
        };
        next.workers[who].at = At::Land(Box::new(landing.clone()));
        match (landing.what, known) {
            (Parcel::Claim(claim), Some(known)) => {
                let is_ours = next.branch.has(next.branch.head(), claim.commit);
                let w = &mut next.workers[who];
                let stands = known.may_be_there() || w.offered.is_some();
                w.pending = stands.then_some(claim);
                match known {
                    landing::Landing::Landed if is_ours => conclude(&mut next, who, claim),
                    // Somebody has brought it along, and the next look shows which it is.
                    landing::Landing::Landed => w.at = At::Look(Goal::Ask),
                    landing::Landing::Superseded { .. } => {
                        // Of what was offered the next look shows what has become.
                        w.at = At::Look(Goal::Ask);
                        w.has_lost = true;
                    }
                    landing::Landing::Declined { .. } => give_up(&mut next, who),
                }
            }
            (Parcel::Release(goal), Some(landing::Landing::Landed)) => done(&mut next, who, goal),
            (Parcel::Release(goal), Some(landing::Landing::Superseded { .. })) => {
                next.workers[who].at = At::Look(goal);
            }
            (Parcel::Release(goal), _) => match goal {
                // Whoever holds it tries again, later.
                Goal::Release(_) => next.workers[who].at = At::Look(goal),
                Goal::Undo(_) => next.workers[who].at = At::Ended { said: true },
                Goal::Left(_) | Goal::Ask => fails(&mut next, who),
            },
            (Parcel::End(goal), Some(landing::Landing::Landed)) => done(&mut next, who, goal),
            (Parcel::End(goal), _) => next.workers[who].at = At::Where { goal, head: None },
            (Parcel::Finish(claim), Some(landing::Landing::Landed)) => {
                next.workers[who].at = At::Standing(claim);
            }
            (Parcel::Finish(claim), Some(landing::Landing::Superseded { .. })) => {
                becomes(&mut next, who, claim, 0);
            }
            (Parcel::Claim(_) | Parcel::Finish(_), _) => fails(&mut next, who),
        }
        self.add(who, what, number, next);
    }
}

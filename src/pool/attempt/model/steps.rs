//! What can happen next. The workers go by the product's own rules; what is modelled is only what they see and send.

use super::branch::each;
use super::ends::fails;
use super::world::{At, Goal, Parcel, Plan, World};
use crate::attempt::landing::Next;

/// One thing that happens, in words; `#` stands for the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    pub who: Option<usize>,
    pub what: &'static str,
    pub number: u8,
    /// Whether it comes about by itself: the rest need never happen.
    pub goes_on: bool,
}

impl std::fmt::Display for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let who = match self.who {
            Some(0) => "A ",
            Some(1) => "B ",
            Some(_) => "C ",
            None => "",
        };
        let what = self.what.replace('#', &self.number.to_string());
        write!(f, "{who}{what}")
    }
}

/// The worlds that come next.
pub struct Steps<'a> {
    pub(super) plan: &'a Plan,
    pub(super) world: &'a World,
    pub(super) found: Vec<(Event, World)>,
}
impl<'a> Steps<'a> {
    pub fn of(plan: &'a Plan, world: &'a World) -> Vec<(Event, World)> {
        let mut steps = Steps {
            plan,
            world,
            found: Vec::new(),
        };
        if world.broken.is_none() {
            steps.outside();
            for who in 0..world.workers.len() {
                steps.worker(who);
                steps.stop(who);
            }
        }
        for (_, next) in &mut steps.found {
            next.tidy();
        }
        steps.found.retain(|(_, next)| next != world);
        steps.found
    }

    pub(super) fn add(
        &mut self,
        who: impl Into<Option<usize>>,
        what: &'static str,
        number: u8,
        next: World,
    ) {
        self.found.push((
            Event {
                who: who.into(),
                what,
                number,
                goes_on: true,
            },
            next,
        ));
    }

    fn add_mishap(&mut self, who: impl Into<Option<usize>>, what: &'static str, next: World) {
        self.add(who, what, 0, next);
        if let Some((event, _)) = self.found.last_mut() {
            event.goes_on = false;
        }
    }

    /// What happens without the workers.
    fn outside(&mut self) {
        for (_, commit) in &self.world.on_their_way {
            let mut next = self.world.clone();
            next.land(*commit);
            self.add_mishap(None, "a push arrives that was on its way", next);
        }
        if self.world.mishaps.frees > 0 {
            let claimed = self.world.branch.at(self.world.branch.head()).claimed;
            for lock in each(claimed) {
                let mut next = self.world.clone();
                next.mishaps.frees -= 1;
                next.free(lock);
                self.add_mishap(None, "an operator frees a lock", next);
            }
        }
        for (place, (_, is_dead)) in self.world.line.iter().enumerate() {
            if *is_dead {
                let mut next = self.world.clone();
                next.line.remove(place);
                self.add(None, "the ticket of a dead process is taken away", 0, next);
            }
        }
    }

    /// Signals, kills, and runs after them.
    fn stop(&mut self, who: usize) {
        let worker = &self.world.workers[who];
        let releases = match &worker.at {
            At::Ready | At::Holding | At::Ended { .. } => return,
            At::Killed(claim) => {
                let mut next = self.world.clone();
                let w = &mut next.workers[who];
                w.at = match claim {
                    Some(claim) => {
                        w.known = claim.commit;
                        At::Look(Goal::Release(*claim))
                    }
                    None => At::Ready,
                };
                self.add_mishap(who, "runs again in the same container", next.clone());
                if claim.is_none() && self.plan.workers[who].is_named {
                    let w = &mut next.workers[who];
                    w.marker = None;
                    w.has_moved = true;
                    w.run += 1;
                    self.add_mishap(who, "runs again in another container", next);
                }
                return;
            }
            At::Look(goal) | At::Where { goal, .. } => Some(*goal),
            At::Land(landing) => match landing.what {
                Parcel::Release(goal) | Parcel::End(goal) => Some(goal),
                Parcel::Claim(_) | Parcel::Finish(_) => None,
            },
            At::Left { .. } | At::Standing(_) | At::Tell(_) => None,
        };
        let push = match &worker.at {
            At::Land(landing) if is_push(&landing.next) => Some((landing.base, landing.tip)),
            _ => None,
        };
        let is_over = matches!(releases, Some(Goal::Undo(_) | Goal::Release(_)));
        if self.world.mishaps.aborts > 0 && !is_over {
            let mut next = self.world.clone();
            next.mishaps.aborts -= 1;
            if let Some(push) = push {
                let mut next = next.clone();
                next.on_their_way.push(push);
                if let At::Land(landing) = &mut next.workers[who].at {
                    landing.is_sent = true;
                }
                fails(&mut next, who);
                self.add_mishap(who, "is told to stop, its push on its way", next);
            }
            fails(&mut next, who);
            self.add_mishap(who, "is told to stop", next);
        }
        if self.world.mishaps.kills > 0 {
            let mut next = self.world.clone();
            next.mishaps.kills -= 1;
            let w = &mut next.workers[who];
            w.at = At::Killed(match releases {
                Some(Goal::Release(claim)) => Some(claim),
                _ => None,
            });
            w.pending = None;
            w.offered = None;
            w.has_lost = false;
            w.known = 0;
            w.began = 0;
            if let Some(mark) = &mut w.marker {
                mark.is_ours = false;
            }
            for ticket in next
                .line
                .iter_mut()
                .filter(|(owner, _)| usize::from(*owner) == who)
            {
                ticket.1 = true;
            }
            if let Some(push) = push {
                let mut next = next.clone();
                next.on_their_way.push(push);
                self.add_mishap(who, "is killed, its push on its way", next);
            }
            self.add_mishap(who, "is killed", next);
        }
    }

    fn worker(&mut self, who: usize) {
        let worker = &self.world.workers[who];
        match worker.at.clone() {
            At::Ready => self.begin(who),
            At::Look(Goal::Ask) => self.ask(who),
            At::Look(goal) => self.release(who, goal),
            At::Land(landing) => self.land(who, &landing),
            At::Left { claim, head } => self.left(who, claim, head),
            At::Standing(claim) => self.standing(who, claim),
            At::Where { goal, head } => self.give_back(who, goal, head),
            At::Tell(claim) => {
                let mut next = self.world.clone();
                next.tell(who, claim, &self.plan.workers[who].asks);
                self.add(
                    who,
                    "is told that it has the claim of commit #",
                    claim.commit,
                    next,
                );
            }
            At::Holding => {
                let Some(told) = worker.told else { return };
                let mut next = self.world.clone();
                let w = &mut next.workers[who];
                w.told = None;
                w.known = told.claim.commit;
                w.at = At::Look(Goal::Release(told.claim));
                self.add(who, "begins to release", 0, next);
            }
            At::Killed(_) | At::Ended { .. } => {}
        }
    }

    /// The commits that the side that is read from may show. `from` is one that it must have.
    pub(super) fn views(&self, from: u8) -> impl Iterator<Item = u8> + use<> {
        let branch = &self.world.branch;
        let head = branch.head();
        let all = from.max(head.saturating_sub(self.plan.lag))..=head;
        let views: Vec<u8> = all.filter(|view| !branch.at(*view).is_inner).collect();
        views.into_iter()
    }
}

fn is_push(next: &Next) -> bool {
    matches!(
        next,
        Next::Push | Next::PushLater | Next::PushAfterFault | Next::PushAlone
    )
}

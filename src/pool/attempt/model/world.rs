//! Everything that there is at one moment: the branch, the workers, what is on its way, and what may still go wrong.

use super::branch::{Branch, Commit, ELSEWHERE, NONE, OPERATOR, each};
use crate::attempt::landing::{Flight, Next};
use crate::operation::Operation;

/// What is played.
#[derive(Debug, Clone)]
pub struct Plan {
    pub workers: Vec<Step>,
    /// How many locks there are.
    pub locks: u8,
    /// Whether the workers stand in line.
    pub in_line: bool,
    /// Whether who has lost a race offers what he is after to those who push next.
    pub goes_along: bool,
    /// By how many commits the side that is read from may be behind.
    pub lag: u8,
    /// How often what may go wrong.
    pub mishaps: Mishaps,
}

/// One step of a pipeline, which may run more than once.
#[derive(Debug, Clone)]
pub struct Step {
    pub asks: Operation,
    /// Whether its claims are known again by a run of it in another container.
    pub is_named: bool,
}

/// What may still go wrong, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Mishaps {
    /// A push without an answer, or with a No.
    pub faults: u8,
    /// A signal to stop.
    pub aborts: u8,
    /// A process that is killed outright.
    pub kills: u8,
    /// An operator who frees a lock.
    pub frees: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    pub branch: Branch,
    pub workers: Vec<Worker>,
    /// Pushes that may yet arrive: the commit that the branch must be at, and the one that it goes to.
    pub on_their_way: Vec<(u8, u8)>,
    /// What is offered: by which worker, and which run of his, to whoever pushes onto which commit. An offer that was taken back
    /// may be seen all the same, as long as it can be carried out.
    pub offers: Vec<(u8, u8, u8)>,
    /// The tickets in the order of the line: whose each is, and whether its process is dead.
    pub line: Vec<(u8, bool)>,
    pub mishaps: Mishaps,
    /// What must never be, and has come about.
    pub broken: Option<&'static str>,
}

/// One step: its process, its container, and what it was told.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Worker {
    pub at: At,
    /// The newest commit that its process knows.
    pub known: u8,
    /// Where the branch was when its process began.
    pub began: u8,
    /// The claim that may be on the branch, and that nobody was told of.
    pub pending: Option<Claim>,
    /// On which commit that was offered to others, if it was.
    pub offered: Option<u8>,
    /// Whether it has lost a race.
    pub has_lost: bool,
    /// How often it was begun anew, with nothing left of the run before.
    pub run: u8,
    /// What is on the disk of its container.
    pub marker: Option<Mark>,
    /// What it was told.
    pub told: Option<Told>,
    /// Whether it was killed and ran again elsewhere: what it left there is found by its name only.
    pub has_moved: bool,
}

/// A claim of these locks, or one that is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Claim {
    pub base: u8,
    /// [`NONE`] as long as it is only offered.
    pub commit: u8,
    pub locks: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mark {
    pub claim: Claim,
    pub is_ending: bool,
    /// Whether it goes when the process comes to its end.
    pub is_ours: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Told {
    pub claim: Claim,
    /// The locks that an operator has freed since: the worker cannot know.
    pub freed: u8,
}

/// Where a step is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum At {
    /// About to run.
    Ready,
    /// About to look and decide.
    Look(Goal),
    /// Bringing a commit to the branch.
    Land(Box<Landing>),
    /// Taking over: about to look what has become of an earlier run's offer.
    Left { claim: Claim, head: Option<u8> },
    /// Taking over: about to read what stands of an earlier run's claim.
    Standing(Claim),
    /// Giving back: about to look where the branch is; `head` is what the side that takes pushes has shown.
    Where { goal: Goal, head: Option<u8> },
    /// About to tell.
    Tell(Claim),
    /// It was told and has its locks.
    Holding,
    /// Its process was killed; with a claim as it released that.
    Killed(Option<Claim>),
    /// It is over. Whether it said that a lock may be left.
    Ended { said: bool },
}

/// What a step is after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Goal {
    /// What was asked.
    Ask,
    /// Its own claim is to be given back, and then it ends.
    Undo(Claim),
    /// An earlier run's claim is to be given back, and then it does what was asked.
    Left(Claim),
    /// What it was told of is released.
    Release(Claim),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Landing {
    pub what: Parcel,
    pub base: u8,
    pub commit: u8,
    /// The last of what is pushed: what others have offered is on top of ours.
    pub tip: u8,
    pub flight: Flight,
    pub next: Next,
    /// What the side that takes pushes has shown, while the other side is read.
    pub head: Option<u8>,
    pub is_sent: bool,
}

/// What is pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Parcel {
    Claim(Claim),
    /// The end of a claim that is on the branch.
    Release(Goal),
    /// A claim that nobody was told of, with its end.
    End(Goal),
    /// An earlier run's push, to know what becomes of it.
    Finish(Claim),
}

impl Goal {
    /// The claim that is to end.
    pub fn claim(self) -> Option<Claim> {
        match self {
            Goal::Ask => None,
            Goal::Undo(claim) | Goal::Left(claim) | Goal::Release(claim) => Some(claim),
        }
    }
}

impl Goal {
    /// The same for another claim.
    pub fn of(self, claim: Claim) -> Goal {
        match self {
            Goal::Ask => Goal::Ask,
            Goal::Undo(_) => Goal::Undo(claim),
            Goal::Left(_) => Goal::Left(claim),
            Goal::Release(_) => Goal::Release(claim),
        }
    }
}

impl World {
    pub fn new(plan: &Plan) -> World {
        let worker = Worker {
            at: At::Ready,
            known: 0,
            began: 0,
            pending: None,
            offered: None,
            has_lost: false,
            run: 0,
            marker: None,
            told: None,
            has_moved: false,
        };
        World {
            branch: Branch::new(plan.locks),
            workers: vec![worker; plan.workers.len()],
            on_their_way: Vec::new(),
            offers: Vec::new(),
            line: Vec::new(),
            mishaps: plan.mishaps,
            broken: None,
        }
    }

    /// The branch takes a push, with all commits between where it is and this one.
    pub fn land(&mut self, commit: u8) {
        let head = self.branch.head();
        let mut new = Vec::new();
        let mut next = commit;
        while next != head {
            new.push(next);
            next = self.branch.at(next).parent;
        }
        for inner in new.iter().skip(1) {
            self.branch.commits[usize::from(*inner)].is_inner = true;
        }
        new.reverse();
        self.renumber(&new);
    }

    /// An operator frees a lock.
    pub fn free(&mut self, lock: u8) {
        let parent = self.branch.head();
        let bit = 1 << lock;
        let holder = self.workers.iter_mut().filter_map(|w| w.told.as_mut());
        for told in holder {
            let claim = told.claim.commit;
            told.freed |= self.branch.standing(parent, told.claim.locks, claim) & bit;
        }
        let freed = self.branch.add(Commit {
            parent,
            claimed: self.branch.at(parent).claimed & !bit,
            by: OPERATOR,
            shows: NONE,
            offered: None,
            is_inner: false,
        });
        self.land(freed);
    }

    /// A worker is told of a claim.
    pub fn tell(&mut self, who: usize, claim: Claim, asked: &Operation) {
        let head = self.branch.head();
        let began = self.workers[who].began;
        let standing = self.branch.standing(head, claim.locks, claim.commit);
        let mut broken = None;
        let answers = match asked {
            Operation::Acquire(want) if want.all => claim.locks == (1 << self.branch.locks) - 1,
            Operation::Acquire(want) => claim.locks.count_ones() as usize == want.count.get(),
            Operation::Claim(lock) => super::branch::names(claim.locks) == [lock.clone()],
            // All that is ever asked for of two pools here.
            Operation::AcquireEach(_) => claim.locks == 1 | (1 << ELSEWHERE),
            _ => false,
        };
        if !answers {
            broken = Some("it is told of something else than it asks for");
        }
        for lock in each(claim.locks & !standing) {
            let is_news = match self.branch.has(head, claim.commit) {
                true => self
                    .branch
                    .end(head, lock, claim.commit)
                    .is_some_and(|end| end > began && self.branch.at(end).by == OPERATOR),
                false => false,
            };
            if !is_news {
                broken = Some("it is told of a claim that does not stand");
            }
        }
        let others = self.workers.iter().enumerate();
        let mut others = others.filter(|(other, _)| *other != who);
        let is_held = others.any(|(_, other)| {
            let has = other.told.map_or(0, |told| told.claim.locks & !told.freed);
            has & standing != 0
        });
        if is_held {
            broken = Some("it is told of a lock that another one holds");
        }
        let worker = &mut self.workers[who];
        worker.told = Some(Told {
            claim,
            freed: claim.locks & !standing,
        });
        worker.marker = None;
        worker.pending = None;
        worker.offered = None;
        worker.at = At::Holding;
        self.broken = broken;
    }

    /// Why this must not be, if it must not.
    pub fn violation(&self) -> Option<&'static str> {
        if self.broken.is_some() {
            return self.broken;
        }
        for (claim, _) in self.branch.held(self.branch.head()) {
            let by = usize::from(self.branch.at(claim).by);
            let Some(worker) = self.workers.get(by).filter(|worker| !worker.has_moved) else {
                continue;
            };
            let told = worker.told.map(|told| told.claim.commit);
            match worker.at {
                At::Ended { said: false } => {
                    return Some("a lock is left claimed by a step that has ended");
                }
                At::Holding if told != Some(claim) => {
                    return Some(
                        "a lock is claimed that its step was not told of, beside one that it was",
                    );
                }
                _ => {}
            }
        }
        None
    }

    /// Whether it is right that nothing goes on.
    pub fn may_rest(&self) -> bool {
        let held = self.branch.held(self.branch.head());
        let is_left = held.iter().any(|(claim, _)| {
            let by = usize::from(self.branch.at(*claim).by);
            let by = &self.workers[by];
            by.has_moved || matches!(by.at, At::Killed(_) | At::Ended { said: true })
        });
        self.workers.iter().all(|worker| match worker.at {
            At::Ended { .. } | At::Killed(_) => true,
            At::Look(Goal::Ask) => is_left,
            _ => false,
        })
    }

    /// Forgets what does not matter any more, and counts the commits anew, so that the same is the same.
    pub fn tidy(&mut self) {
        let head = self.branch.head();
        self.on_their_way.retain(|(base, _)| *base == head);
        self.on_their_way.sort_unstable();
        self.on_their_way.dedup();
        self.offers.retain(|(_, _, base)| *base == head);
        self.offers.sort_unstable();
        self.offers.dedup();
        self.renumber(&[]);
    }

    fn renumber(&mut self, landed: &[u8]) {
        let mut order: Vec<u8> = (0..self.branch.len).collect();
        order.extend_from_slice(landed);
        let len = u8::try_from(order.len()).expect("a model is small");
        let commits = std::mem::take(&mut self.branch.commits);
        self.each_number(&mut |number| {
            let mut new = Vec::new();
            let mut next = *number;
            while next != NONE && !order.contains(&next) {
                new.push(next);
                next = commits[usize::from(next)].parent;
            }
            order.extend(new.into_iter().rev());
        });
        let mut numbers = [NONE; 256];
        for (new, old) in order.iter().enumerate() {
            numbers[usize::from(*old)] = u8::try_from(new).expect("a model is small");
        }
        self.branch.commits = order.iter().map(|old| commits[usize::from(*old)]).collect();
        for commit in &mut self.branch.commits {
            commit.parent = numbers[usize::from(commit.parent)];
            commit.shows = numbers[usize::from(commit.shows)];
        }
        self.each_number(&mut |number| *number = numbers[usize::from(*number)]);
        self.branch.len = len;
    }

    /// All numbers of commits, but for those of commits that are on the branch for sure.
    fn each_number(&mut self, f: &mut dyn FnMut(&mut u8)) {
        let of_claim = |claim: &mut Claim, f: &mut dyn FnMut(&mut u8)| {
            f(&mut claim.base);
            f(&mut claim.commit);
        };
        let of_goal = |goal: &mut Goal, f: &mut dyn FnMut(&mut u8)| match goal {
            Goal::Ask => {}
            Goal::Undo(claim) | Goal::Left(claim) | Goal::Release(claim) => of_claim(claim, f),
        };
        for worker in &mut self.workers {
            match &mut worker.at {
                At::Look(goal) | At::Where { goal, .. } => of_goal(goal, f),
                At::Land(landing) => {
                    f(&mut landing.base);
                    f(&mut landing.commit);
                    f(&mut landing.tip);
                    match &mut landing.what {
                        Parcel::Claim(claim) | Parcel::Finish(claim) => {
                            f(&mut claim.base);
                            f(&mut claim.commit);
                        }
                        Parcel::Release(goal) | Parcel::End(goal) => of_goal(goal, f),
                    }
                }
                At::Left { claim, .. }
                | At::Standing(claim)
                | At::Tell(claim)
                | At::Killed(Some(claim)) => {
                    f(&mut claim.base);
                    f(&mut claim.commit);
                }
                At::Ready | At::Holding | At::Killed(None) | At::Ended { .. } => {}
            }
            let pending = worker.pending.as_mut();
            let marked = worker.marker.as_mut().map(|mark| &mut mark.claim);
            let told = worker.told.as_mut().map(|told| &mut told.claim);
            for claim in pending.into_iter().chain(marked).chain(told) {
                f(&mut claim.base);
                f(&mut claim.commit);
            }
        }
        for (base, commit) in &mut self.on_their_way {
            f(base);
            f(commit);
        }
    }
}

//! Circles: holders who wait for each other's locks, so that none of them ever goes on.
//!
//! Pure: pools, claims and tickets in, circles out.
//!
//! # When it is a circle
//!
//! A claim is *kept* by these waiters:
//!
//! - all of whoever made it: the same build, or the same name. Such a holder goes on when all of its waits are over.
//! - those who wait inside a command that the claim ends with (`pool run`), in whatever depth. Then nobody else keeps it: one
//!   who runs two commands side by side gives the one lock back whatever the other one waits for.
//!
//! A waiter *goes on* when enough of the locks that it could take are free or come free. A claim comes free when all who keep
//! it have gone on; a claim that nobody keeps does so by itself, for its holder is at work. A free lock that is kept for a
//! waiter for several comes free when that one has gone on. What is left when all have gone on who can is stuck, and in it
//! are the circles: groups in which each waits for each other one, and that would be stuck too if everybody else went on.
//!
//! That is as exact as what can be seen. It errs on one side only, where a holder has more hands than one: a build that waits
//! in one of its parallel steps may give a lock back in another.

mod graph;

use std::collections::BTreeMap;
use std::time::Instant;

use crate::ledger::Held;
use crate::line::sightings::{Life, Sighting, Sightings};
use crate::line::{self, Need, PlaceName, Takes, Ticket, in_order, waits_for};
use crate::lock::{ClaimId, LockName, PoolName};
use crate::maker::Me;
use crate::message;
use crate::operation::Want;
use crate::rules::{Pool, State};
use graph::{Demand, Graph, Lock};
use terminal::one_line;

/// How many locks are named in what is said of one wait.
const NAMED: usize = 3;

/// How many waits are named in what is said of a circle.
const SHOWN: usize = 10;

/// One who waits, as far as its ticket tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiter {
    /// The id of its ticket.
    pub id: String,
    /// The ticket's number.
    pub number: u64,
    /// Who it is, fit for a log.
    pub who: String,
    /// The page of its build.
    pub url: Option<String>,
    /// By what its claims are known.
    pub me: Option<Me>,
    /// What it waits for.
    pub need: Need,
    /// Since when, in seconds since 1970.
    pub since: u64,
    /// The claims that last at least as long as its wait.
    pub within: Vec<ClaimId>,
    /// Whether it gives way if it is the youngest.
    pub gives_way: bool,
}

/// The line of one pool.
pub struct Line<'a> {
    /// The pool.
    pub pool: &'a Pool,
    /// The claims that stand in it, as far as they are known.
    pub claims: &'a BTreeMap<LockName, Held>,
    /// Those who wait, in order.
    pub waiters: Vec<Waiter>,
}

/// Why one who waits in a circle does not get a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// The lock.
    pub lock: LockName,
    /// The claim of it; `None` when it is free, and kept for a waiter who needs more.
    pub claim: Option<ClaimId>,
    /// Who keeps it, as its claim calls him.
    pub holder: String,
    /// The waiter who has to go on for it to come free, by its place among the members.
    pub keeper: usize,
}

/// One who waits in a circle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub waiter: Waiter,
    /// The pool in whose line it stands.
    pub pool: PoolName,
    /// What it does not get.
    pub obstacles: Vec<Obstacle>,
}

/// Those who wait for each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Circle {
    /// The oldest first, and behind each one, as far as that is possible, one whom it waits for.
    pub members: Vec<Member>,
}

impl Waiter {
    /// The owner of a ticket; `None` when it has not been read.
    pub fn of(ticket: &Sighting, place: &PlaceName) -> Option<Waiter> {
        let text = ticket.text()?;
        let origin = text.origin();
        let me = Me::of(&origin);
        Some(Waiter {
            id: place.id.clone(),
            number: place.number,
            who: named(&origin.prefix),
            url: text.url.as_deref().map(one_line),
            me,
            need: text.need.clone(),
            since: text.since,
            within: text.within.clone(),
            gives_way: text.gives_way,
        })
    }

    /// Whether a claim does not end before its wait does.
    pub fn keeps(&self, lock: &LockName, held: &Held) -> bool {
        if self.within.contains(&held.claim) {
            return true;
        }
        let ends_with_a_command = message::trailer(&held.message, message::ENDS_WITH).is_some();
        let made = |me: &Me| me.made(lock, &held.message);
        !ends_with_a_command && self.me.as_ref().is_some_and(made)
    }

    /// Its age: the youngest is the greatest. Clocks may differ; all see the same.
    fn youth(&self) -> (u64, u64, &str) {
        (self.since, self.number, &self.id)
    }
}

/// Those alive of the tickets whose names start with `start`, in order, as far as they have been read.
pub fn line_of(tickets: &Sightings, start: &str, now: Instant) -> Vec<Waiter> {
    let mut known = BTreeMap::new();
    for (name, ticket) in tickets.listed() {
        let place = name.strip_prefix(start).and(ticket.place.as_ref());
        let Some(place) = place.filter(|_| ticket.life(now) == Life::Alive) else {
            continue;
        };
        if let Some(waiter) = Waiter::of(ticket, place) {
            let (place, need) = (place.clone(), waiter.need.clone());
            known.insert(place.id.clone(), (Ticket { place, need }, waiter));
        }
    }
    let line = known.values().map(|(ticket, _)| ticket.clone()).collect();
    let line = in_order(line).into_iter();
    line.filter_map(|ticket| Some(known.remove(&ticket.place.id)?.1))
        .collect()
}

/// Whether one of the tickets whose names start with `start` is that of somebody alive.
pub fn is_waited_for(tickets: &Sightings, start: &str, now: Instant) -> bool {
    let mut listed = tickets.listed();
    listed.any(|(name, ticket)| name.starts_with(start) && ticket.life(now) == Life::Alive)
}

/// What a waiter is called.
pub fn named(who: &str) -> String {
    match one_line(who.trim()) {
        who if who.is_empty() => "somebody".to_owned(),
        who => who,
    }
}

/// The circles in these lines. `fits` says whether a lock's metadata is as somebody wants it.
pub fn circles(lines: &[Line<'_>], fits: impl Fn(&Pool, &Want, &LockName) -> bool) -> Vec<Circle> {
    let view = View::new(lines, fits);
    let found = view.graph.circles();
    found.iter().map(|members| view.circle(members)).collect()
}

impl Circle {
    /// The member who gives way: the youngest of those who do.
    pub fn gives_way(&self) -> Option<&Member> {
        let those = self.members.iter().filter(|member| member.waiter.gives_way);
        those.max_by(|a, b| a.waiter.youth().cmp(&b.waiter.youth()))
    }

    /// The member whose ticket has this id.
    pub fn member(&self, id: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.waiter.id == id)
    }

    /// What the others are called.
    pub fn others_than(&self, id: &str) -> Vec<String> {
        let others = self.members.iter().map(|member| &member.waiter);
        let others = others.filter(|waiter| waiter.id != id);
        let mut names: Vec<String> = others.map(|waiter| waiter.who.clone()).collect();
        names.dedup();
        names
    }

    /// Who is in it and waits for whom, in one line.
    pub fn shown(&self) -> String {
        let waits = self.members.iter().map(|member| member.shown());
        let mut waits: Vec<String> = waits.take(SHOWN).collect();
        if self.members.len() > SHOWN {
            waits.push(format!("and {} more", self.members.len() - SHOWN));
        }
        waits.join("; ")
    }
}

impl Member {
    /// What it waits for, and from whom.
    pub fn shown(&self) -> String {
        let (who, pool) = (&self.waiter.who, &self.pool);
        let what = match &self.waiter.need {
            Need::Lock(lock) => format!("`{lock}`"),
            need => one_line(&waits_for(need)),
        };
        let mut obstacles: Vec<String> = Vec::new();
        for Obstacle {
            lock,
            claim,
            holder,
            ..
        } in &self.obstacles
        {
            let is = match claim {
                Some(_) => "held by",
                None => "kept for",
            };
            let alone = matches!(&self.waiter.need, Need::Lock(wanted) if wanted == lock);
            let text = match alone {
                true => format!("{is} {holder}"),
                false => format!("`{lock}` is {is} {holder}"),
            };
            if !obstacles.contains(&text) {
                obstacles.push(text);
            }
        }
        if obstacles.len() > NAMED {
            let more = obstacles.len() - NAMED;
            obstacles.truncate(NAMED);
            obstacles.push(format!("and {more} more"));
        }
        format!(
            "{who} waits for {what} in `{pool}` ({})",
            obstacles.join(", ")
        )
    }
}

/// The lines as a graph.
struct View<'a> {
    graph: Graph,
    /// The waiters by their numbers in the graph, each with its pool.
    waiters: Vec<(&'a Waiter, &'a Line<'a>)>,
    /// The locks, likewise.
    locks: Vec<(&'a LockName, &'a Line<'a>)>,
}

impl<'a> View<'a> {
    fn new(lines: &'a [Line<'a>], fits: impl Fn(&Pool, &Want, &LockName) -> bool) -> View<'a> {
        // Who needs locks of several pools stands in several lines, as one and the same.
        let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
        let mut waiters: Vec<(&Waiter, &Line<'_>)> = Vec::new();
        for line in lines {
            for waiter in &line.waiters {
                numbers.entry(&waiter.id).or_insert_with(|| {
                    waiters.push((waiter, line));
                    waiters.len() - 1
                });
            }
        }
        let mut view = View {
            graph: Graph {
                waiters: vec![Vec::new(); waiters.len()],
                locks: Vec::new(),
            },
            waiters,
            locks: Vec::new(),
        };
        for line in lines {
            let needs: Vec<Need> = line.waiters.iter().map(|one| one.need.clone()).collect();
            let fits = |want: &Want, lock: &LockName| fits(line.pool, want, lock);
            let demands = line::demands(&needs, line.pool, fits);
            let keepers = keepers_of_free(line, lines, &demands);
            let first_lock = view.locks.len();
            for ((lock, state), keeper) in line.pool.locks().zip(keepers) {
                view.locks.push((lock, line));
                let keeper =
                    keeper.and_then(|waiter| numbers.get(line.waiters[waiter].id.as_str()));
                view.graph.locks.push(match state {
                    State::Unclaimed(_) => match keeper {
                        Some(waiter) => Lock::Kept(*waiter),
                        None => Lock::Open,
                    },
                    State::Claimed(_) => match line.claims.get(lock) {
                        Some(held) => Lock::Held(view.keepers(lock, held)),
                        None => Lock::Open,
                    },
                    // Somebody has to mend it, and then it may be free.
                    State::Damaged(_) => Lock::Open,
                });
            }
            for (waiter, demand) in line.waiters.iter().zip(demands) {
                let locks = match demand.takes {
                    Takes::Anything => (first_lock..view.locks.len()).collect(),
                    Takes::Only(some) => some.into_iter().map(|lock| first_lock + lock).collect(),
                };
                let count = demand.count;
                if let Some(number) = numbers.get(waiter.id.as_str()) {
                    view.graph.waiters[*number].push(Demand { count, locks });
                }
            }
        }
        view
    }

    fn keepers(&self, lock: &LockName, held: &Held) -> Vec<usize> {
        let waiters = self.waiters.iter().enumerate();
        let keepers = waiters.filter(|(_, (waiter, _))| waiter.keeps(lock, held));
        keepers.map(|(n, _)| n).collect()
    }

    fn circle(&self, members: &[usize]) -> Circle {
        let order = self.in_order(members);
        let place = |waiter: usize| order.iter().position(|other| *other == waiter);
        let members = order.iter().map(|member| {
            let (waiter, line) = self.waiters[*member];
            let obstacles = self.graph.edges(*member, members);
            let obstacles = obstacles.filter_map(|(lock, keeper)| {
                let (name, its) = self.locks[lock];
                let held = its.claims.get(name);
                let held = held.filter(|_| matches!(self.graph.locks[lock], Lock::Held(_)));
                Some(Obstacle {
                    lock: name.of(its.pool.name(), line.pool.name()),
                    claim: held.map(|held| held.claim),
                    holder: match held {
                        Some(held) => message::who(&held.message),
                        None => self.waiters[keeper].0.who.clone(),
                    },
                    keeper: place(keeper)?,
                })
            });
            Member {
                waiter: waiter.clone(),
                pool: line.pool.name().clone(),
                obstacles: obstacles.collect(),
            }
        });
        Circle {
            members: members.collect(),
        }
    }

    /// The oldest first; then always one whom the one before waits for, if there is one left.
    fn in_order(&self, members: &[usize]) -> Vec<usize> {
        let mut left: Vec<usize> = members.to_vec();
        left.sort_by(|a, b| {
            let (a, b) = (self.waiters[*a].0, self.waiters[*b].0);
            a.youth().cmp(&b.youth())
        });
        let mut order: Vec<usize> = Vec::new();
        while !left.is_empty() {
            let next = order.last().and_then(|last| {
                let mut edges = self.graph.edges(*last, &left);
                let (_, keeper) = edges.next()?;
                left.iter().position(|waiter| *waiter == keeper)
            });
            order.push(left.remove(next.unwrap_or(0)));
        }
        order
    }
}

/// For which waiter of a line each lock is kept, if it is free: for one who needs several and has not got all of them, here or
/// in other pools.
fn keepers_of_free(
    line: &Line<'_>,
    lines: &[Line<'_>],
    demands: &[line::Demand],
) -> Vec<Option<usize>> {
    let elsewhere = |id: &str| {
        let others = lines.iter().filter(|other| !std::ptr::eq(*other, line));
        let others = others.filter(|other| other.waiters.iter().any(|waiter| waiter.id == id));
        others
            .map(|other| other.waiters.first().is_some_and(|first| first.id == id))
            .collect()
    };
    let elsewhere: Vec<Vec<bool>> = line.waiters.iter().map(|one| elsewhere(&one.id)).collect();
    // Who is not the first in all of them lets those behind him pass.
    let there = (0..demands.len()).filter(|n| {
        let elsewhere = &elsewhere[*n];
        elsewhere.is_empty() || (*n == 0 && elsewhere.iter().all(|is_first| *is_first))
    });
    let there: Vec<usize> = there.collect();
    let asked: Vec<line::Demand> = there.iter().map(|n| demands[*n].clone()).collect();
    let free = line::free(line.pool);
    let mut keepers = line::kept(&asked, &free);
    for (n, served) in line::walk(&asked, &free).into_iter().enumerate() {
        for lock in served.into_iter().flatten() {
            if !elsewhere[there[n]].is_empty() {
                keepers[lock] = Some(n);
            }
        }
    }
    let keepers = keepers.into_iter();
    keepers.map(|keeper| keeper.map(|n| there[n])).collect()
}

#[cfg(test)]
mod tests;

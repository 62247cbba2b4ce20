//! Who waits for a pool, in which order, and whose turn it is.
//!
//! Pure: tickets, locks and moments in, turns and what is to be pushed out. Talking to the server is [`crate::attempt`]'s
//! business.
//!
//! # Tickets
//!
//! A ticket is a ref with a commit behind it: an empty tree, who waits for what as its message, and the time of the last
//! sign of life as its date. A sign of life is a commit on top of the one before. Servers take that for a fast-forward,
//! and let it through where they allow no other change of a ref. Some take no refs at all that point to anything but
//! commits.
//!
//! The line only orders: the branch alone decides what is granted. So nothing here needs to be certain, and each part has
//! one way to be wrong without harm:
//!
//! - [`ours`]: our own ticket. A no is followed by a look, so that a right is taken for missing only if it is.
//! - [`sightings`]: the tickets of others: alive, dead or left. Whose ticket is taken away by mistake puts it back.
//! - [`courtesy`]: a free lock is left to those before us for a moment, and never for longer.
//! - [`removal`]: tickets without an owner go away, or say that they are left.
//! - [`branch`]: who has lost a race for the branch pushes in the order of the line there, whichever pool it is for.
//! - [`offer`]: what he would push is left to whoever pushes before him, bound to the commit that the branch is at.
//! - [`load`]: looks and signs of life, bounded for the line as a whole.
//!
//! # The order
//!
//! Tickets have numbers as in Lamport's bakery: a newcomer's is one more than the highest there is, so that no clocks are
//! compared. A higher priority goes first; of equal ones the lower number; two newcomers who took the same number at
//! once are told apart by their ids.
//!
//! So that nobody starves behind a stream of higher priorities, waiting raises a priority: by one step for every
//! [`STEP`], which the waiter counts itself and writes into its ticket's name. Waiters do so at different moments, and a
//! later one may be a little ahead. So what a ticket has gained holds for all who came before it with the same priority
//! or a higher one: nobody is ever overtaken by somebody who came later and is not more urgent.
//!
//! # The walk
//!
//! Along the line each gets the locks that it can take, if there are enough of them; see [`walk()`]. What it can take is
//! used as a whole: one who can take any lock gives way to a later one who needs a certain one, as long as another is
//! left for himself. So nobody before us gets less because of us, and nothing is withheld that we could have.
//!
//! Who needs several locks and cannot have all of them yet keeps those that he could use from those behind him. Otherwise
//! a stream of waiters for a single lock would starve him.
//!
//! # Several pools at once
//!
//! Who needs locks of several pools stands in the lines of all of them, with the same number and id, and takes what he needs
//! when it is his turn everywhere. Until then those behind him pass: no lock is left idle for him, as others could use it
//! longer than he needs to come to his turn. Only once he is the first in all of these lines is anything kept for him, in any
//! of them; it then waits for those that are held now, and for nobody who waits. So a stream of waiters for a single
//! pool cannot starve him. Two who need the same pools are in the same order in each of them, so that neither keeps what the
//! other waits for. That he is the first is seen in the names of the tickets, which every look lists anyway.

pub mod branch;
pub mod courtesy;
pub mod load;
pub mod offer;
pub mod ours;
pub mod removal;
pub mod sightings;
mod ticket;
mod walk;

pub use ticket::{PlaceName, Ticket, TicketText, left, says_left, waits_for};
pub use walk::{Demand, Takes, kept, walk};

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::lock::LockName;
use crate::operation::{Operation, Part, Want};
use crate::rules::{Damage, Pool, State, Turn};

/// How long one waits for one step of priority.
pub const STEP: Duration = Duration::from_secs(300);

/// Priorities are within this of zero.
pub const PRIORITY_LIMIT: i32 = 1000;

/// What a waiter waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    /// Any locks that will do.
    Any(Want),
    /// This one.
    Lock(LockName),
}

impl Need {
    /// What an operation needs that it can stand in line for; `None` for one that takes no lock from others.
    pub fn of(operation: &Operation) -> Option<Need> {
        match operation {
            Operation::Acquire(want) => Some(Need::Any(want.clone())),
            // Each pool has a line of its own.
            Operation::AcquireEach(parts) => parts.first().map(Need::of_part),
            Operation::Claim(lock)
            | Operation::Update {
                lock, claim: None, ..
            } => Some(Need::Lock(lock.clone())),
            Operation::Update { claim: Some(_), .. }
            | Operation::Release { .. }
            | Operation::ReleaseOwn
            | Operation::Renew { .. }
            | Operation::Add { .. }
            | Operation::Remove { .. }
            | Operation::Move { .. }
            | Operation::AwaitUnclaimed(_)
            | Operation::AwaitClaimed(_) => None,
        }
    }

    /// What is needed of one pool, where locks of several are.
    pub fn of_part(part: &Part) -> Need {
        match &part.want.among[..] {
            [lock] if !part.want.all => Need::Lock(lock.clone()),
            _ => Need::Any(part.want.clone()),
        }
    }
}

/// What a waiter does that finds itself in a circle of those who wait for each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnDeadlock {
    /// It says so, and waits on.
    #[default]
    Tell,
    /// It gives way, if it is the youngest of those who do.
    Fail,
}

/// In which order those who wait are served.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    /// That of their arrival.
    #[default]
    Arrival,
    /// That of their arrival; but of the builds of one job the latest alone waits, in the place of the first.
    Newest,
    /// None: whoever looks first is served first.
    Any,
}

/// Puts tickets into the order in which they are served.
pub fn in_order(mut tickets: Vec<Ticket>) -> Vec<Ticket> {
    // From the last number to the first: what those behind a ticket have reached, by their priority.
    tickets.sort_by_key(|ticket| std::cmp::Reverse(ticket.place.number));
    let mut reached: BTreeMap<i32, i64> = BTreeMap::new();
    let mut urgency: BTreeMap<String, i64> = BTreeMap::new();
    for same_number in tickets.chunk_by(|a, b| a.place.number == b.place.number) {
        for ticket in same_number {
            let own = i64::from(ticket.place.priority) + i64::from(ticket.place.raised);
            let highest = reached.entry(ticket.place.priority).or_insert(own);
            *highest = own.max(*highest);
        }
        for ticket in same_number {
            let up_to = reached.range(..=ticket.place.priority);
            let most = up_to.map(|(_, urgency)| *urgency).max();
            urgency.insert(ticket.place.id.clone(), most.unwrap_or_default());
        }
    }
    tickets.sort_by_cached_key(|ticket| {
        let urgency = urgency.get(&ticket.place.id).copied().unwrap_or_default();
        (
            std::cmp::Reverse(urgency),
            ticket.place.number,
            ticket.place.id.clone(),
        )
    });
    tickets
}

/// The line for one who does not wait any longer for those before him: he comes first, but for those who collect several
/// locks, at whose `served` there is nothing yet, and for those for whom locks are `kept` until they have those of other pools.
pub fn passed(
    mut line: Vec<Need>,
    me: usize,
    served: &[usize],
    kept: &[usize],
) -> (Vec<Need>, usize) {
    let mut before: Vec<Need> = line.drain(..me).collect();
    let mut n = 0;
    before.retain(|need| {
        n += 1;
        let collects = count(need) > 1 && !served.contains(&(n - 1));
        collects || kept.contains(&(n - 1))
    });
    let me = before.len();
    before.append(&mut line);
    (before, me)
}

/// How many locks somebody needs; more than there are for one who needs all.
pub fn count(need: &Need) -> usize {
    match need {
        Need::Any(want) if want.all => usize::MAX,
        Need::Any(want) => want.count.get(),
        Need::Lock(_) => 1,
    }
}

/// What one in the line is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Whether it is served, and with what.
    pub turn: Turn,
    /// Which of those before it are served at the same time, by where they are in the line. If it is served too, it is
    /// their turn to publish first: the branch takes one commit at a time. If it is not, what is free is for them.
    pub served_before: Vec<usize>,
    /// Its place among those who want the same, from 1.
    pub place: usize,
    /// How many there are of those, itself included.
    pub waiting: usize,
    /// How many locks there are that it could use, free ones and others.
    pub usable: usize,
}

impl Standing {
    /// The turn to go by. Who is alone takes any lock; which one the line would give does not matter.
    pub fn turn_to_go_by(&self) -> Turn {
        let is_alone = self.place == 1 && self.waiting == 1 && self.served_before.is_empty();
        match is_alone {
            true => Turn::Open,
            false => self.turn.clone(),
        }
    }
}

/// Where the one at `me` of a line stands, given the pool.
///
/// `fits` says whether a lock's metadata is as somebody wants it.
pub fn standing(
    line: &[Need],
    me: usize,
    pool: &Pool,
    fits: impl Fn(&Want, &LockName) -> bool,
) -> Standing {
    let locks: Vec<(&LockName, State)> = pool.locks().collect();
    let demands = demands(line, pool, fits);
    let served = walk(&demands, &free(pool));
    let (before, after) = (&demands[..me], &demands[me + 1..]);
    let mine = &demands[me];
    let ahead = before.iter().filter(|other| other.competes(mine)).count();
    let behind = after.iter().filter(|other| other.competes(mine)).count();
    let turn = match &served[me] {
        Some(ours) => {
            let ours: BTreeSet<&LockName> = ours.iter().map(|n| locks[*n].0).collect();
            Turn::Ours(ours.into_iter().cloned().collect())
        }
        // Nobody is before us: what is missing is not there.
        None if ahead == 0 => Turn::Open,
        None => Turn::Theirs { ahead },
    };
    Standing {
        turn,
        served_before: (0..me).filter(|n| served[*n].is_some()).collect(),
        place: ahead + 1,
        waiting: ahead + 1 + behind,
        usable: match &mine.takes {
            Takes::Anything => locks.len(),
            Takes::Only(some) => some.len(),
        },
    }
}

/// What each of a line asks of the pool's locks, by their numbers.
pub fn demands(line: &[Need], pool: &Pool, fits: impl Fn(&Want, &LockName) -> bool) -> Vec<Demand> {
    let locks: Vec<&LockName> = pool.locks().map(|(lock, _)| lock).collect();
    let index: BTreeMap<&LockName, usize> = locks
        .iter()
        .enumerate()
        .map(|(n, lock)| (*lock, n))
        .collect();
    line.iter()
        .map(|need| match need {
            Need::Lock(lock) => Demand {
                count: 1,
                takes: Takes::Only(index.get(lock).copied().into_iter().collect()),
            },
            Need::Any(want) if want.all => {
                let could_be_free = |lock: &LockName| {
                    !matches!(pool.state(lock), Some(State::Damaged(Damage::NotAFile(_))))
                };
                let fits = |lock: &LockName| want.takes_any() || fits(want, lock);
                let all = locks.iter().enumerate();
                let all = all.filter(|(_, lock)| could_be_free(lock) && fits(lock));
                let is_damaged =
                    |lock: &LockName| matches!(pool.state(lock), Some(State::Damaged(_)));
                // Until it is mended there are never enough, and nothing is kept from others for that.
                let never = all.clone().any(|(_, lock)| is_damaged(lock));
                let all: Vec<usize> = all.map(|(n, _)| n).collect();
                Demand {
                    count: all.len().max(1) + usize::from(never),
                    takes: Takes::Only(all),
                }
            }
            Need::Any(want) if want.takes_any() => Demand {
                count: want.count.get(),
                takes: Takes::Anything,
            },
            Need::Any(want) => Demand {
                count: want.count.get(),
                takes: Takes::Only(
                    locks
                        .iter()
                        .enumerate()
                        .filter(|(_, lock)| fits(want, lock))
                        .map(|(n, _)| n)
                        .collect(),
                ),
            },
        })
        .collect()
}

/// Which of the pool's locks are free, by their numbers.
pub fn free(pool: &Pool) -> Vec<bool> {
    pool.locks()
        .map(|(_, state)| matches!(state, State::Unclaimed(_)))
        .collect()
}

#[cfg(test)]
mod tests;

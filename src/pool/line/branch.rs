//! The line at the branch: in which order those push who have lost a race for it.
//!
//! A branch takes one push at a time, also where the pools on it have nothing to do with each other. Whoever has lost a
//! race, or finds others in this line, takes a ticket in it, and pushes when nobody alive is before him. The ticket is a ref
//! beside those of the pools' lines. It points at a commit that the server has, so that no object is made for it, or at an
//! [offer](super::offer), and then its name says on which commit that is made; and the push that it is for takes it away
//! again, in one step. So it lives for a moment, and nobody renews it.
//!
//! It is a courtesy, as every place in line: the branch alone decides what lands. Who does not use his turn is passed
//! over, after a pause that the loop makes (`attempt::others_first`), and whoever passes him takes his ticket along. One
//! that is older than [`LIFE`] is nobody's. Where tickets cannot be taken away, nobody takes one. Who has but seconds left, as he
//! was told to stop and has something to give back, goes before all.

use std::collections::{BTreeMap, BTreeSet};

use git::RefUpdate;
use git::object::Oid;

/// Where the tickets are, below those of all lines of the branch. No pool has this name there: a dot in one is encoded.
pub const FOLDER: &str = "the.branch/";

/// The age from which on a ticket is nobody's, in seconds; as far ahead of our clock it is nobody's either.
pub const LIFE: u64 = 60;

/// How many tickets of others are taken away in one push.
const MOST: usize = 100;

/// How many tickets one takes for one change: whose tickets go away all the time, as his clock is wrong, goes without.
const TRIES: u32 = 3;

/// A place in the line at the branch. It is the last part of the name of the ticket's ref.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BranchTicket {
    /// One more than the highest there was.
    number: u64,
    /// What tells it from all others.
    id: String,
    /// When it was taken, as its owner's clock has it, in seconds since 1970.
    since: u64,
    /// How the commit begins on which something is offered, if what it points to is an offer.
    offers_on: Option<String>,
}

/// How much of a commit is in the name of a ticket.
const SHORT: usize = 16;

impl BranchTicket {
    fn parse(name: &str) -> Option<BranchTicket> {
        let mut parts = name.splitn(4, '.');
        let ticket = BranchTicket {
            number: parts.next()?.parse().ok()?,
            since: parts.next()?.parse().ok()?,
            id: parts.next()?.to_owned(),
            offers_on: parts.next().map(str::to_owned),
        };
        let is_id = |id: &str| {
            (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric())
        };
        let is_ours = ticket.name() == name
            && is_id(&ticket.id)
            && ticket.offers_on.as_deref().is_none_or(is_id);
        is_ours.then_some(ticket)
    }

    fn name(&self) -> String {
        let BranchTicket {
            number, since, id, ..
        } = self;
        match &self.offers_on {
            Some(base) => format!("{number:06}.{since}.{id}.{base}"),
            None => format!("{number:06}.{since}.{id}"),
        }
    }
}

/// The line at the branch, as one sees it who wants to push.
#[derive(Debug, Clone)]
pub struct BranchLine {
    /// What the names of its refs start with.
    start: String,
    ours: Option<Ours>,
    /// Those who may be there, in order.
    alive: BTreeMap<BranchTicket, Oid>,
    /// The refs that nobody stands behind.
    dead: BTreeMap<String, Oid>,
    /// Who did not use his turn.
    passed: BTreeSet<BranchTicket>,
    /// What we have tried to take away from others.
    tried: BTreeMap<String, Oid>,
    /// The highest number that is listed.
    highest: u64,
    /// How many tickets we have taken.
    taken: u32,
    /// Whether no ticket is worth taking: it would stay, or says nothing to anybody.
    is_useless: bool,
    /// Whether we let nobody go before us.
    goes_first: bool,
}

#[derive(Debug, Clone)]
struct Ours {
    ticket: BranchTicket,
    at: Oid,
    was_seen: bool,
}

impl BranchLine {
    /// The line of which the refs of all lines of the branch start with `refs_of_branch`.
    pub fn new(refs_of_branch: &str) -> BranchLine {
        BranchLine {
            start: format!("{refs_of_branch}{FOLDER}"),
            ours: None,
            alive: BTreeMap::new(),
            dead: BTreeMap::new(),
            passed: BTreeSet::new(),
            tried: BTreeMap::new(),
            highest: 0,
            taken: 0,
            is_useless: false,
            goes_first: false,
        }
    }

    /// Takes in what is listed below the lines of the branch, by the parts of the names after that, at `clock`, in seconds
    /// since 1970.
    pub fn observe<'a>(&mut self, listed: impl Iterator<Item = (&'a String, &'a Oid)>, clock: u64) {
        self.alive.clear();
        self.dead.clear();
        self.highest = 0;
        let mut sees_ours = false;
        for (name, at) in listed {
            let Some(name) = name.strip_prefix(FOLDER) else {
                continue;
            };
            // What is no ticket of ours is not ours to take away.
            let Some(ticket) = BranchTicket::parse(name) else {
                continue;
            };
            if self.ours.as_ref().is_some_and(|ours| ours.ticket == ticket) {
                sees_ours = true;
                continue;
            }
            if ticket.since.abs_diff(clock) > LIFE || self.passed.contains(&ticket) {
                self.dead.insert(format!("{}{name}", self.start), *at);
            } else {
                self.highest = self.highest.max(ticket.number);
                self.alive.insert(ticket, *at);
            }
        }
        // One that was there and is not any more was passed over. A view that has never shown it may be an old one.
        match &mut self.ours {
            Some(ours) if sees_ours => ours.was_seen = true,
            Some(ours) if ours.was_seen => self.ours = None,
            _ => {}
        }
        // What is still there after it was to go stays for good, and so would ours.
        let stays = |(name, at): (&String, &Oid)| self.tried.get(name) == Some(at);
        self.is_useless |= self.dead.iter().any(stays);
        self.is_useless |= self.ours.is_none() && self.taken >= TRIES;
    }

    /// How many are to push before us; everybody who is there, as long as we have no ticket.
    pub fn before(&self) -> usize {
        match &self.ours {
            _ if self.goes_first => 0,
            Some(ours) => self.alive.range(..&ours.ticket).count(),
            None => self.alive.len(),
        }
    }

    /// Whether we have a ticket.
    pub fn has_ticket(&self) -> bool {
        self.ours.is_some()
    }

    /// Whether our ticket was there when we looked last: one that was and is not any more is none.
    pub fn is_seen(&self) -> bool {
        self.ours.as_ref().is_some_and(|ours| ours.was_seen)
    }

    /// Whether a ticket is of no use here.
    pub fn is_useless(&self) -> bool {
        self.is_useless || self.goes_first
    }

    /// Lets nobody go before us from now on: for those who have no time to stand in line.
    pub fn go_first(&mut self) {
        self.goes_first = true;
    }

    /// Whether we let nobody go before us.
    pub fn goes_first(&self) -> bool {
        self.goes_first
    }

    /// Those before us do not use their turn.
    pub fn pass(&mut self) {
        let ours = self.ours.as_ref().map(|ours| ours.ticket.clone());
        let before = |ticket: &BranchTicket| ours.as_ref().is_none_or(|ours| ticket < ours);
        let (passed, alive) = std::mem::take(&mut self.alive)
            .into_iter()
            .partition(|(ticket, _)| before(ticket));
        self.alive = alive;
        let passed: BTreeMap<BranchTicket, Oid> = passed;
        for (ticket, at) in passed {
            self.dead.insert(self.full_name(&ticket), at);
            self.passed.insert(ticket);
        }
    }

    /// The changes to be made before a ticket is taken: what nobody stands behind goes away. If it does not, the next look
    /// tells, and no ticket is taken.
    pub fn clearing(&mut self) -> Vec<RefUpdate> {
        let dead = self.dead.iter().take(MOST);
        let dead: BTreeMap<String, Oid> = dead.map(|(name, at)| (name.clone(), *at)).collect();
        self.tried.extend(dead.clone());
        dead.into_iter()
            .map(|(name, at)| removal(name, at))
            .collect()
    }

    fn full_name(&self, ticket: &BranchTicket) -> String {
        format!("{}{}", self.start, ticket.name())
    }

    /// Takes a ticket that points `at` a commit of the branch, or at what is `offered_on` one, with this random `id`; gives the
    /// change that makes it.
    pub fn take(&mut self, at: Oid, offered_on: Option<Oid>, id: String, clock: u64) -> RefUpdate {
        let ticket = BranchTicket {
            number: self.highest.saturating_add(1),
            since: clock,
            id,
            offers_on: offered_on.map(short),
        };
        let name = self.full_name(&ticket);
        self.taken += 1;
        self.ours = Some(Ours {
            ticket,
            at,
            was_seen: false,
        });
        RefUpdate {
            name,
            old: None,
            new: Some(at),
        }
    }

    /// The server did not take our ticket, for a reason that will not pass.
    pub fn is_refused(&mut self) {
        self.ours = None;
        self.is_useless = true;
    }

    /// The change that takes our ticket away; `None` without one.
    pub fn withdrawal(&self) -> Option<RefUpdate> {
        let ours = self.ours.as_ref()?;
        Some(removal(self.full_name(&ours.ticket), ours.at))
    }

    /// What goes with our push: our ticket, and those of others whom we have passed over.
    pub fn with_our_push(&self) -> Vec<RefUpdate> {
        let Some(ours) = self.withdrawal() else {
            return Vec::new();
        };
        let passed = self.passed.iter().filter_map(|ticket| {
            let name = self.full_name(ticket);
            let at = self.dead.get(&name).copied()?;
            Some(removal(name, at))
        });
        [ours].into_iter().chain(passed.take(MOST)).collect()
    }

    /// What those behind us offer on this commit, in their order; with what takes their tickets away.
    pub fn offers(&self, on: Oid) -> impl Iterator<Item = (Oid, RefUpdate)> {
        let (on, ours) = (short(on), self.in_turn());
        let behind = move |ticket: &BranchTicket| ours.is_some_and(|ours| ticket > ours);
        let alive = self.alive.iter();
        let offers = alive
            .filter(move |(ticket, _)| ticket.offers_on.as_deref() == Some(&on) && behind(ticket));
        offers
            .take(MOST)
            .map(|(ticket, at)| (*at, removal(self.full_name(ticket), *at)))
    }

    /// How many are before us, if we have a ticket and push in turn.
    pub fn place(&self) -> Option<usize> {
        self.in_turn().map(|_| self.before())
    }

    /// Our ticket, if we have one and push in turn: who is in a hurry brings nobody along.
    fn in_turn(&self) -> Option<&BranchTicket> {
        let ours = self.ours.as_ref().filter(|_| !self.goes_first);
        ours.map(|ours| &ours.ticket)
    }

    /// How many others stand there.
    pub fn crowd(&self) -> u32 {
        u32::try_from(self.alive.len()).unwrap_or(u32::MAX)
    }

    /// Our ticket is gone.
    pub fn forget(&mut self) {
        self.ours = None;
    }
}

/// As much of a commit as is in a ticket's name.
fn short(commit: Oid) -> String {
    let mut text = commit.to_string();
    text.truncate(SHORT);
    text
}

fn removal(name: String, at: Oid) -> RefUpdate {
    RefUpdate {
        name,
        old: Some(at),
        new: None,
    }
}

#[cfg(test)]
mod tests;

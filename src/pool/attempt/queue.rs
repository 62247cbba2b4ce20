//! The line for one pool, as one waiter sees it: our ticket, those of others, and whose turn it is.
//!
//! What is decided is in [`crate::line`], and pure; here it is put together and asked for at the right moments. `interest`
//! says what to fetch after a look, `pace` when to look again; `keep` and `clear` talk to the server about tickets, through
//! `register`.

mod clear;
mod earlier;
mod interest;
mod keep;
mod names;
#[cfg(test)]
mod newest;
mod pace;
mod register;
#[cfg(test)]
mod several;
#[cfg(test)]
mod simulated;

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant as Moment, SystemTime};

use tokio::time::Instant;

pub(super) use clear::Cleared;
use earlier::Earlier;
pub(super) use keep::{Gone, Kept, Who};
pub(super) use names::REFS;
pub(crate) use names::{component, refs_of_branch};

use crate::circles::{self, Waiter};
use crate::line::courtesy::Courtesy;
use crate::line::load::Motion;
use crate::line::ours::Ours;
use crate::line::removal::Removal;
use crate::line::sightings::{Life, Said, Sighting, Sightings};
use crate::line::{
    self, Need, OnDeadlock, PlaceName, Standing, Ticket, count, in_order, load, passed,
};
use crate::lock::{ClaimId, LockName, PoolName};
use crate::maker::{Latest, Me, Series};
use crate::message::Origin;
use crate::operation::Want;
use crate::rules::{Pool, Turn};
use git::object::Oid;
use git::{Listing, RefUpdate};

/// How one waits in line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InLine {
    /// How urgent it is; higher goes first.
    pub priority: i32,
    /// How often we show that we are there, if nobody else waits.
    pub renewal: Duration,
    /// Which step waits, if it takes over the place of an earlier run of it; the same text for all runs.
    pub step: Option<String>,
    /// Which build of its job we are, if the latest one alone is to wait.
    pub newest: Option<Series>,
    /// The claims of the commands in which we run.
    pub within: Vec<ClaimId>,
    /// What to do in a circle of those who wait for each other.
    pub on_deadlock: OnDeadlock,
}

/// How long somebody waits, and how often he looks where few wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// For how long; `None` for as long as it takes.
    pub limit: Option<Duration>,
    /// After which time he looks again.
    pub retry_delay: Duration,
}

/// The line for one pool, as one waiter sees it.
pub(super) struct Queue {
    start: String,
    /// The part of that behind the branch.
    own: String,
    /// The other pools of which we need locks as well, and the id that our tickets have in all of their lines.
    together: Option<Together>,
    /// For each line of the branch, as its names start: the ticket that is the first in it, as far as names tell.
    firsts: BTreeMap<String, String>,
    need: Need,
    settings: InLine,
    patience: Patience,
    /// Reads the time, in seconds since 1970.
    clock: fn() -> u64,
    arrived: Instant,
    since: u64,
    ours: Option<Ours>,
    /// What is known of an earlier run of our step.
    earlier: Earlier,
    /// Whether we wait without a ticket: no place can be kept here.
    without: bool,
    others: Sightings,
    highest: u64,
    /// How many locks there are that we could use, when we looked last.
    usable: usize,
    first: First,
    /// Where the branch was in the last look.
    head: Option<Oid>,
    /// How long that took.
    look: Duration,
    /// The commit that we go by, and since when we do.
    fetched: Option<(Oid, Moment)>,
    courtesy: Courtesy,
    /// Whether we have looked again at a lock that is for somebody before us, though our patience was over.
    looked_again: bool,
    motion: Motion,
    removal: Removal,
    /// When it may be tried again to take away what others left behind, and how often that has failed in a row.
    clear_after: Option<(Moment, u32)>,
    /// Whether it has been said that our place cannot be shown for the moment.
    told_trouble: bool,
}

/// Locks of several pools, needed at once.
#[derive(Debug, Clone)]
pub(super) struct Together {
    /// The id of our tickets in all lines.
    pub id: String,
    /// The other pools.
    pub others: Vec<PoolName>,
    /// The pool whose line is watched.
    pub watched: PoolName,
}

/// Whose turn to publish comes before ours, though there is a lock for us.
enum First {
    /// Only theirs.
    These(HashSet<String>),
    /// That of everybody before us, as far as we know.
    All,
}

impl Queue {
    pub fn new(
        branch: &str,
        pool: &PoolName,
        need: Need,
        settings: InLine,
        patience: Patience,
    ) -> Queue {
        Queue::with_clock(branch, pool, need, settings, patience, seconds_since_1970)
    }

    fn with_clock(
        branch: &str,
        pool: &PoolName,
        need: Need,
        settings: InLine,
        patience: Patience,
        clock: fn() -> u64,
    ) -> Queue {
        Queue {
            start: format!("{}{}", refs_of_branch(branch), start_of(pool)),
            own: start_of(pool),
            together: None,
            firsts: BTreeMap::new(),
            need,
            settings,
            patience,
            clock,
            arrived: Instant::now(),
            since: clock(),
            ours: None,
            earlier: Earlier::default(),
            without: false,
            others: Sightings::default(),
            highest: 0,
            usable: usize::MAX,
            first: First::These(HashSet::new()),
            head: None,
            look: Duration::ZERO,
            fetched: None,
            courtesy: Courtesy::default(),
            looked_again: false,
            motion: Motion::default(),
            removal: Removal::default(),
            clear_after: None,
            told_trouble: false,
        }
    }

    /// The same, for one who needs locks of other pools as well.
    #[must_use]
    pub fn together(mut self, together: Together) -> Queue {
        self.together = Some(together);
        self
    }

    /// The part of what the tickets' names start with, behind the branch, of the line that is listed apart from the others.
    fn watched(&self) -> String {
        match &self.together {
            Some(together) => start_of(&together.watched),
            None => self.own.clone(),
        }
    }

    /// The tickets of this line in a listing, by their names.
    fn tickets<'l>(&self, listing: &'l Listing) -> impl Iterator<Item = (&'l str, Oid)> + use<'l> {
        let (listed, start) = match self.watched() == self.own {
            true => (&listing.watched, String::new()),
            false => (&listing.besides, self.own.clone()),
        };
        let listed = listed.iter();
        listed.filter_map(move |(name, at)| Some((name.strip_prefix(&start)?, *at)))
    }

    /// Whether free locks are kept for us until we have all that we need.
    pub fn collects(&self) -> bool {
        count(&self.need) > 1 || self.together.is_some()
    }

    /// The highest number in the line.
    pub fn highest(&self) -> u64 {
        self.highest
    }

    /// The highest number in this line and those of the other pools of which we need locks.
    pub fn is_beside(&mut self, highest: u64) {
        self.highest = self.highest.max(highest);
    }

    /// What the names of all tickets of this line start with.
    pub fn start(&self) -> &str {
        &self.start
    }

    /// The id of our ticket; `None` without one.
    pub fn ticket_id(&self) -> Option<&str> {
        Some(&self.ours.as_ref()?.place().id)
    }

    /// Since when we wait, in seconds since 1970.
    pub fn since(&self) -> u64 {
        self.since
    }

    /// How many wait, and since when the one who has waited for longest does, in seconds since 1970, as far as is known.
    pub fn census(&self) -> (usize, Option<u64>) {
        let mine = self.ours.as_ref().map(|_| self.since);
        let others = self
            .waiting()
            .filter_map(|(_, other)| Some(other.text()?.since));
        let length = self.waiting().count() + usize::from(mine.is_some());
        (length, others.chain(mine).min())
    }

    /// Whether we have a ticket, or can have none.
    pub fn has_ticket(&self) -> bool {
        self.ours.is_some() || self.without
    }

    /// Takes in what a look showed that took so long. `said` tells what the commits of tickets say.
    pub fn observe(&mut self, listing: &Listing, said: &dyn Fn(Oid) -> Said, look: Duration) {
        let now = now();
        let listed: Vec<(&str, Oid)> = self.tickets(listing).collect();
        let places = |name: &str| PlaceName::parse(name);
        let ours: Vec<(PlaceName, Oid)> = listed
            .iter()
            .filter_map(|(name, commit)| Some((places(name)?, *commit)))
            .filter(|(place, _)| self.is_mine(place))
            .collect();
        let others = listed
            .iter()
            .filter(|(name, _)| places(name).is_some_and(|place| !self.is_mine(&place)))
            .copied()
            .collect::<Vec<_>>();
        self.others.observe(others, said, now, (self.clock)());
        self.note_earlier();
        let numbers = listed.iter().filter_map(|(name, _)| places(name));
        self.highest = numbers.map(|place| place.number).max().unwrap_or(0);
        self.note_firsts(listing);
        if let Some(mine) = &mut self.ours {
            mine.see(&ours, now);
        }
        self.head = Some(listing.head);
        self.look = look;
        let (line, me) = self.live();
        let others = line.iter().enumerate().filter(|(n, _)| *n != me);
        let retry_delay = self.patience.retry_delay;
        let sleeps = others.map(|(n, ticket)| {
            let pause = load::pause(n + 1, line.len(), retry_delay);
            (ticket.place.id.clone(), pause)
        });
        self.courtesy.observe(listing.head, sleeps.collect(), now);
    }

    /// Where we stand in the line, given the pool at this commit. `fits` says whether a lock is as somebody wants it.
    ///
    /// One that has seen a lock free for long enough is the first to get it, whoever is before it.
    pub fn standing(
        &self,
        pool: &Pool,
        commit: Oid,
        fits: impl Fn(&Want, &LockName) -> bool,
    ) -> Standing {
        let (line, me) = self.line();
        let standing = line::standing(&line, me, pool, &fits);
        let called = self.called(&standing);
        // What is known of another commit says nothing of what is free now.
        if called.is_empty() || self.head != Some(commit) {
            return standing;
        }
        let (measure, now) = (self.measure(), now());
        if !self.courtesy.left(called, commit, &measure, now).is_zero() {
            return standing;
        }
        let kept = self.kept_for();
        let (line, me) = passed(line, me, &standing.served_before, &kept);
        Standing {
            served_before: Vec::new(),
            ..line::standing(&line, me, pool, &fits)
        }
    }

    /// Notes where we stand, given the pool at this commit.
    pub fn note_standing(&mut self, standing: &Standing, commit: Oid) {
        let now = now();
        self.usable = standing.usable;
        if self.fetched.is_none_or(|(at, _)| at != commit) {
            self.fetched = Some((commit, now));
        }
        self.motion.note(standing.place, now);
        if self.head == Some(commit) {
            let called = self.called(standing);
            let measure = self.measure();
            self.courtesy.note_called(called, commit, &measure, now);
        }
        let first = match standing.turn {
            Turn::Ours(_) => self.ids(&standing.served_before),
            Turn::Open | Turn::Theirs { .. } => Vec::new(),
        };
        self.first = First::These(first.into_iter().collect());
    }

    /// Notes that somebody was faster than us: let those before us go first, rather than to race them again.
    pub fn note_overtaken(&mut self) {
        self.first = First::All;
    }

    /// Those before us who could take what is free; not those for whom it is kept until they have locks of other pools.
    fn called(&self, standing: &Standing) -> Vec<String> {
        match standing.turn {
            Turn::Theirs { .. } => {
                let kept = self.kept_for();
                let served = standing.served_before.iter();
                let called: Vec<usize> = served.filter(|n| !kept.contains(n)).copied().collect();
                self.ids(&called)
            }
            Turn::Open | Turn::Ours(_) => Vec::new(),
        }
    }

    fn ids(&self, places: &[usize]) -> Vec<String> {
        let (tickets, _) = self.live();
        let there = places.iter().filter_map(|n| tickets.get(*n));
        there.map(|ticket| ticket.place.id.clone()).collect()
    }

    /// What all who are there wait for, in order, and where we are among them: with our ticket, or as a newcomer.
    fn line(&self) -> (Vec<Need>, usize) {
        let (line, me) = self.live();
        (line.into_iter().map(|ticket| ticket.need).collect(), me)
    }

    /// Those others who may be there, and have not been superseded.
    fn waiting(&self) -> impl Iterator<Item = (&str, &Sighting)> {
        let latest = self.latest();
        self.alive()
            .filter(move |(_, other)| !is_superseded(&latest, other))
    }

    /// Those others who may be there.
    fn alive(&self) -> impl Iterator<Item = (&str, &Sighting)> {
        let now = now();
        let listed = self.others.listed();
        let others = listed.filter(|(name, other)| !self.earlier.is(name, other.commit));
        others.filter(move |(_, other)| other.life(now) == Life::Alive)
    }

    /// The latest builds of the jobs of which the latest alone waits.
    fn latest(&self) -> Latest {
        let others = self.alive().filter_map(|(_, other)| series(other));
        Latest::of(others.chain(self.settings.newest.clone()))
    }

    /// The later build of our job that waits, if the latest one alone is to wait: we are to leave.
    pub fn superseded_by(&self) -> Option<String> {
        let mine = self.settings.newest.as_ref()?;
        let mut by: Option<(Series, &Sighting)> = None;
        for (_, other) in self.alive() {
            let Some(theirs) = series(other) else {
                continue;
            };
            let than = by.as_ref().map_or(mine, |(latest, _)| latest);
            if theirs.is_later_than(than) {
                by = Some((theirs, other));
            }
        }
        let origin = by?.1.text()?.origin();
        Some(circles::named(&origin.prefix))
    }

    /// Which build of its job we are, if the latest one alone is to wait.
    pub fn series(&self) -> Option<&Series> {
        self.settings.newest.as_ref()
    }

    /// The number of the first of those whom we supersede.
    fn superseded_number(&self) -> Option<u64> {
        let mine = self.settings.newest.as_ref()?;
        let older = self
            .alive()
            .filter(|(_, other)| series(other).is_some_and(|theirs| mine.is_later_than(&theirs)));
        older
            .filter_map(|(_, other)| Some(other.place.as_ref()?.number))
            .min()
    }

    /// Those whom we may have to wait for, in order, and where we are among them.
    fn live(&self) -> (Vec<Ticket>, usize) {
        let there = self.waiting().filter_map(|(_, other)| other.place.as_ref());
        self.with_mine(self.tickets_of(there.filter(|place| !self.lets_pass(place))))
    }

    /// The tickets that have these places.
    fn tickets_of<'p>(
        &self,
        all: impl Iterator<Item = &'p PlaceName>,
    ) -> impl Iterator<Item = Ticket> {
        // A server may have kept the old name of a ticket that got a new one.
        let mut places: BTreeMap<&str, &PlaceName> = BTreeMap::new();
        for place in all {
            let known = places.entry(&place.id).or_insert(place);
            if place.raised > known.raised {
                *known = place;
            }
        }
        places.into_values().map(|place| self.ticket(place))
    }

    /// Notes who is the first in each of the lines, if somebody here needs locks of other pools as well.
    fn note_firsts(&mut self, listing: &Listing) {
        self.firsts.clear();
        let mut listed = self.others.listed();
        let is_needed = listed.any(|(_, ticket)| !also(ticket).is_empty());
        if !is_needed {
            return;
        }
        let mut lines: BTreeMap<String, Vec<Ticket>> = BTreeMap::new();
        let besides = listing.besides.keys();
        let besides = besides.filter_map(|name| name.rsplit_once('/'));
        let besides = besides.map(|(line, place)| (format!("{line}/"), place));
        // One of the lines is listed apart from the others.
        let start = self.watched();
        let watched = listing.watched.keys();
        let watched = watched.map(|place| (start.clone(), place.as_str()));
        for (line, place) in besides.chain(watched) {
            if let Some(place) = PlaceName::parse(place) {
                let need = Need::Any(Want::default());
                lines.entry(line).or_default().push(Ticket { place, need });
            }
        }
        for (line, tickets) in lines {
            if let Some(first) = in_order(tickets).into_iter().next() {
                self.firsts.insert(line, first.place.id);
            }
        }
    }

    /// Whether the owner of a ticket lets those behind him pass, as he needs locks of other pools as well and is not the first
    /// in all of these lines. In each of them the same is seen: nothing is kept for him in one while others pass in another.
    fn lets_pass(&self, place: &PlaceName) -> bool {
        let Some(ticket) = self.others.get(&place.name()) else {
            return false;
        };
        let also = also(ticket);
        let is_first = |line: &String| self.firsts.get(line) == Some(&place.id);
        let is_first_in_all =
            || is_first(&self.own) && also.iter().all(|pool| is_first(&start_of(pool)));
        !also.is_empty() && !is_first_in_all()
    }

    /// Those before us, by where they are in the line, for whom locks are kept until they have those of other pools.
    fn kept_for(&self) -> Vec<usize> {
        let (line, me) = self.live();
        let before = line.iter().enumerate().take(me);
        let kept = before.filter(|(_, ticket)| {
            let ticket = self.others.get(&ticket.place.name());
            ticket.is_some_and(|ticket| !also(ticket).is_empty())
        });
        kept.map(|(n, _)| n).collect()
    }

    fn with_mine(&self, others: impl Iterator<Item = Ticket>) -> (Vec<Ticket>, usize) {
        let place = match &self.ours {
            Some(mine) => mine.place().clone(),
            None => self.next_place(),
        };
        let id = place.id.clone();
        let mine = Ticket {
            place,
            need: self.need.clone(),
        };
        let line = in_order(others.chain([mine]).collect());
        let me = line.iter().position(|ticket| ticket.place.id == id);
        (line, me.unwrap_or_default())
    }

    /// Ourselves, as one who waits.
    pub fn me(&self, origin: &Origin) -> Waiter {
        let place = match &self.ours {
            Some(mine) => mine.place().clone(),
            None => self.next_place(),
        };
        Waiter {
            id: place.id,
            number: place.number,
            who: circles::named(&origin.prefix),
            url: origin.url.as_deref().map(terminal::one_line),
            me: Me::of(origin),
            need: self.need.clone(),
            since: self.since,
            within: self.settings.within.clone(),
            gives_way: self.settings.on_deadlock == OnDeadlock::Fail,
        }
    }

    /// Those who wait in the line, in order, as far as their tickets have been read; we are among them.
    pub fn waiters(&self, origin: &Origin) -> Vec<Waiter> {
        let me = self.me(origin);
        let there = self.waiting().filter_map(|(_, other)| other.place.as_ref());
        let (line, _) = self.with_mine(self.tickets_of(there));
        line.iter()
            .filter_map(|ticket| match ticket.place.id == me.id {
                true => Some(me.clone()),
                false => Waiter::of(self.others.get(&ticket.place.name())?, &ticket.place),
            })
            .collect()
    }

    /// The listed tickets of others that have not been read, and those that would be taken for dead but for what they may say
    /// now.
    pub fn unread<'a>(&'a self, listing: &'a Listing) -> impl Iterator<Item = Oid> + 'a {
        let now = now();
        let listed = self.tickets(listing).filter(move |(name, _)| {
            let place = PlaceName::parse(name);
            let is_others = place.is_some_and(|place| !self.is_mine(&place));
            let known = self.others.get(name);
            is_others && known.is_none_or(|one| one.is_unknown() || one.is_doubtful(now))
        });
        listed.map(|(_, at)| at)
    }

    fn ticket(&self, place: &PlaceName) -> Ticket {
        let known = self.others.get(&place.name());
        let text = known.and_then(Sighting::text);
        Ticket {
            place: place.clone(),
            // One that cannot be read stands in nobody's way for more than a lock.
            need: text.map_or_else(|| Need::Any(Want::default()), |text| text.need.clone()),
        }
    }

    fn is_mine(&self, place: &PlaceName) -> bool {
        let mine = self.ours.as_ref();
        mine.is_some_and(|mine| mine.place().id == place.id)
    }

    fn next_place(&self) -> PlaceName {
        let newest = self.highest.saturating_add(1);
        PlaceName {
            number: self
                .earlier
                .number()
                .or_else(|| self.superseded_number())
                .unwrap_or(newest),
            priority: self.settings.priority,
            raised: self.earlier.raised(),
            id: "~".to_owned(),
        }
    }

    /// The change that takes our ticket away, as we know it; `None` without one.
    pub fn withdrawal(&self) -> Option<RefUpdate> {
        let mine = self.ours.as_ref()?;
        Some(RefUpdate {
            name: self.name(mine.place()),
            old: Some(mine.at()?),
            new: None,
        })
    }

    /// Our ticket is gone.
    pub fn forget_ticket(&mut self) {
        self.ours = None;
    }

    fn name(&self, place: &PlaceName) -> String {
        format!("{}{}", self.start, place.name())
    }
}

/// What the names of a pool's tickets start with, behind the branch.
pub(super) fn start_of(pool: &PoolName) -> String {
    format!("{}/", component(pool.as_str()))
}

/// The other pools of which the owner of a ticket needs locks as well.
fn also(ticket: &Sighting) -> &[PoolName] {
    ticket.text().map_or(&[], |text| &text.also)
}

/// Which build of its job the owner of a ticket is, if the latest one alone is to wait.
fn series(ticket: &Sighting) -> Option<Series> {
    let text = ticket.text().filter(|text| text.newest)?;
    Series::of(&text.origin())
}

/// Whether a later build of the same job waits, so that the owner of a ticket is about to leave.
fn is_superseded(latest: &Latest, ticket: &Sighting) -> bool {
    series(ticket).is_some_and(|series| latest.supersedes(&series))
}

/// The moment, as the line has moments. It follows tokio's clock, which a test can wind on.
pub(super) fn now() -> Moment {
    Instant::now().into_std()
}

pub(super) fn seconds_since_1970() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

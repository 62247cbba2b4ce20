//! What to fetch after a look.

use std::time::{Duration, Instant as Moment};

use super::{First, Queue, is_superseded, now};
use crate::line::courtesy::Courtesy;
use crate::line::sightings::{Life, Sighting};
use crate::line::{PlaceName, Ticket, count};
use git::object::Oid;
use git::{Depth, Interest, Listing};

/// How many tickets are read at most; those further back are taken to want any lock.
const MOST_READ: usize = 2000;

/// How often the pool is fetched at least, while the branch moves and all that may be free is for others.
const BUSY: Duration = Duration::from_secs(30);

impl Queue {
    /// What to fetch after a look. Nothing while it is the turn of others to publish; and nothing when as many as there
    /// are locks for us want the same before us: then there can be none for us, whatever happened on the branch. But when
    /// the branch has come to rest, it is worth to see whether those before us have left a lock alone.
    pub fn interest(&self, listing: &Listing, depth: Depth) -> Interest {
        let interest = self.interest_in_turn(listing, depth);
        if self.settings.newest.is_none() || self.ours.is_none() {
            return interest;
        }
        // A later build of our job may have come, and its ticket tells.
        let unread = self.unread(listing);
        match interest {
            Interest::Nothing => match unread.take(MOST_READ).collect::<Vec<Oid>>() {
                none if none.is_empty() => Interest::Nothing,
                unread => Interest::Head(depth.max(Depth::RECENT), unread),
            },
            Interest::Head(depth, more) => Interest::Head(
                depth,
                more.into_iter().chain(unread).take(MOST_READ).collect(),
            ),
        }
    }

    fn interest_in_turn(&self, listing: &Listing, depth: Depth) -> Interest {
        let now = now();
        let places: Vec<(PlaceName, Oid)> = self
            .tickets(listing)
            .filter_map(|(name, commit)| Some((PlaceName::parse(name)?, commit)))
            .filter(|(place, _)| !self.is_mine(place))
            .collect();
        let known = |place: &PlaceName| self.others.get(&place.name());
        let is_gone = |place: &PlaceName, commit: Oid| {
            if self.earlier.is(&place.name(), commit) {
                return true;
            }
            let same = known(place).filter(|other| other.commit == commit);
            same.is_some_and(|other| other.life(now) != Life::Alive)
        };
        let latest = self.latest();
        let superseded =
            |place: &PlaceName| known(place).is_some_and(|other| is_superseded(&latest, other));
        let waiting = || {
            let there = places.iter().filter(|(place, at)| !is_gone(place, *at));
            there.filter(|(place, _)| !superseded(place) && !self.lets_pass(place))
        };
        // Whoever finds others waiting will probably wait too, and then wants to know for whom.
        let depth = match waiting().next() {
            None => depth,
            Some(_) => depth.max(Depth::RECENT),
        };
        let unknown = |place: &PlaceName| known(place).is_none_or(Sighting::is_unknown);
        if self.ours.is_none() {
            let unread = places.iter().filter(|(place, _)| unknown(place));
            let unread = unread.map(|(_, commit)| *commit).take(MOST_READ);
            return Interest::Head(depth, unread.collect());
        }
        let (line, me) = self.with_mine(waiting().map(|(place, _)| self.ticket(place)));
        let before = &line[..me];
        let at = |ticket: &Ticket| {
            let found = places.iter().find(|(place, _)| *place == ticket.place);
            found.map(|(_, commit)| *commit)
        };
        // Also those that would be taken for dead but for what they may say now.
        let doubtful =
            |ticket: &Ticket| known(&ticket.place).is_some_and(|other| other.is_doubtful(now));
        let unread = before
            .iter()
            .filter(|ticket| doubtful(ticket) || unknown(&ticket.place));
        let is_first = |ticket: &Ticket| match &self.first {
            First::All => true,
            First::These(these) => these.contains(&ticket.place.id),
        };
        if before.iter().any(is_first) {
            return Interest::Nothing;
        }
        let wanted_before: usize = before
            .iter()
            .filter(|ticket| ticket.need == self.need && !unknown(&ticket.place))
            .map(|ticket| count(&ticket.need))
            .fold(0, usize::saturating_add);
        let is_for_others = wanted_before > 0 && wanted_before >= self.usable;
        if is_for_others
            && !before.iter().any(doubtful)
            && !self.is_worth_it_all_the_same(listing.head, now)
        {
            return Interest::Nothing;
        }
        let unread = unread.filter_map(at).take(MOST_READ);
        Interest::Head(depth, unread.collect())
    }

    fn is_worth_it_all_the_same(&self, head: Oid, now: Moment) -> bool {
        let measure = self.measure();
        let Some((at, when)) = self.fetched else {
            return true;
        };
        let rests = self.courtesy.at_rest(head, now) >= Courtesy::worth_a_fetch(&measure);
        let waits_for_others = self.courtesy.left_for_called(now).is_some();
        at != head && (rests || waits_for_others || now.duration_since(when) >= BUSY)
    }
}

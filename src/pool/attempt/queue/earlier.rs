//! The ticket of an earlier run of our step, whose machine was lost while it waited.
//!
//! We take a ticket of our own with its number, and take that one away. If it is moved after all, or comes back once it is
//! gone, it has an owner who is alive: it is a step of the same build that asks for the same. Both keep their places then.

use super::Queue;
use git::object::Oid;

/// What is known of an earlier run of our step.
#[derive(Debug, Default)]
pub(super) struct Earlier {
    /// Its ticket and where it is, unless it has shown to have an owner.
    ticket: Option<(String, Oid)>,
    /// Its place, if we take it over.
    place: Option<Place>,
    /// Whether one has been found: there is no second one.
    found: bool,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    number: u64,
    raised: u32,
    since: u64,
}

impl Earlier {
    /// Whether that is its ticket, unmoved since we came.
    pub fn is(&self, name: &str, commit: Oid) -> bool {
        let ticket = self.ticket.as_ref();
        ticket.is_some_and(|(known, at)| known == name && *at == commit)
    }

    /// The number that we take over.
    pub fn number(&self) -> Option<u64> {
        Some(self.place?.number)
    }

    /// By how many steps its waiting has raised its priority.
    pub fn raised(&self) -> u32 {
        self.place.map_or(0, |place| place.raised)
    }
}

impl Queue {
    /// Looks for the ticket of an earlier run of our step, as long as we have none of our own. Where several could be it, it
    /// is the one whose last sign of life is the oldest.
    pub(super) fn note_earlier(&mut self) {
        let has_ticket = self.ours.is_some();
        let earlier = &mut self.earlier;
        if let Some((name, at)) = &earlier.ticket {
            let now_at = self.others.get(name).map(|other| other.commit);
            if now_at.is_some_and(|now_at| now_at != *at) {
                earlier.ticket = None;
                earlier.place = earlier.place.filter(|_| has_ticket);
            }
        }
        let step = self.settings.step.as_ref();
        let Some(step) = step.filter(|_| !has_ticket && !earlier.found) else {
            return;
        };
        let candidates = self.others.listed().filter_map(|(name, other)| {
            let text = other
                .text()
                .filter(|text| text.step.as_ref() == Some(step))?;
            let place = Place {
                number: other.place.as_ref()?.number,
                raised: other.place.as_ref()?.raised,
                since: text.since,
            };
            (!other.is_left()).then_some((other.age(), name, other.commit, place))
        });
        let Some((_, name, commit, place)) = candidates.max_by_key(|(age, ..)| *age) else {
            return;
        };
        earlier.ticket = Some((name.to_owned(), commit));
        earlier.place = Some(place);
        earlier.found = true;
        self.since = self.since.min(place.since);
    }

    /// The ticket of an earlier run that is to be taken away, and where it is.
    pub(super) fn earlier_ticket(&self) -> Option<(String, Oid)> {
        let (name, commit) = self.earlier.ticket.as_ref()?;
        let mut listed = self.others.listed();
        let is_there = listed.any(|(listed, other)| listed == name && other.commit == *commit);
        is_there.then(|| (format!("{}{name}", self.start), *commit))
    }

    /// Since when an earlier run of our step has stood in line, in seconds since 1970, if we take over its place.
    pub fn takes_over(&self) -> Option<u64> {
        Some(self.earlier.place?.since)
    }
}

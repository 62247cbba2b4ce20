//! The lines that one waits in: none, that of the pool, or one for each pool of a claim of several.
//!
//! Who waits for several pools has the same place in each line: the same number, and the same id. That orders those who need
//! the same pools alike wherever they meet, and tells everybody that it is one who waits.

use std::time::Duration;

use super::queue::Queue;
use crate::line::Standing;
use crate::line::sightings::Said;
use git::object::Oid;
use git::{Depth, Interest, Listing, RefUpdate};

/// The lines that one waits in; the first is that of the pool that is spoken of.
#[derive(Default)]
pub(super) struct Lines(Vec<Queue>);

impl Lines {
    pub fn new(lines: Vec<Queue>) -> Lines {
        Lines(lines)
    }

    /// The line of the pool that is spoken of.
    pub fn first(&self) -> Option<&Queue> {
        self.0.first()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Queue> {
        self.0.iter()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Queue> {
        self.0.iter_mut()
    }

    /// Whether we have a ticket in each, or can have none.
    pub fn has_tickets(&self) -> bool {
        self.0.iter().all(Queue::has_ticket)
    }

    /// Takes in what a look showed that took so long.
    pub fn observe(&mut self, listing: &Listing, said: &dyn Fn(Oid) -> Said, look: Duration) {
        for line in &mut self.0 {
            line.observe(listing, said, look);
        }
        let highest = self.0.iter().map(Queue::highest).max().unwrap_or(0);
        for line in &mut self.0 {
            line.is_beside(highest);
        }
    }

    /// What to fetch after a look: nothing as long as it cannot be our turn in one of the lines.
    pub fn interest(&self, listing: &Listing, depth: Depth) -> Interest {
        let mut all = Interest::Head(depth, Vec::new());
        for line in &self.0 {
            all = match (all, line.interest(listing, depth)) {
                (Interest::Head(depth, some), Interest::Head(other, more)) => {
                    Interest::Head(depth.max(other), some.into_iter().chain(more).collect())
                }
                _ => return Interest::Nothing,
            };
        }
        all
    }

    /// Notes where we stand in each, given the pools at this commit.
    pub fn note_standings(&mut self, standings: &[Standing], commit: Oid) {
        for (line, standing) in self.0.iter_mut().zip(standings) {
            line.note_standing(standing, commit);
        }
    }

    /// Notes that somebody was faster than us.
    pub fn note_overtaken(&mut self) {
        self.0.iter_mut().for_each(Queue::note_overtaken);
    }

    /// How long to wait until the next look, where we stand there in the lines; `None` without one.
    pub fn pause(&self, standings: &[Standing]) -> Option<Duration> {
        let lines = self.0.iter().enumerate();
        let pauses = lines.map(|(n, line)| line.pause(standings.get(n).map(|one| one.place)));
        // Where we are furthest back it takes longest until it is our turn.
        pauses.max()
    }

    /// The changes that take our tickets away, as we know them.
    pub fn withdrawal(&self) -> impl Iterator<Item = RefUpdate> {
        self.0.iter().filter_map(Queue::withdrawal)
    }

    /// Our tickets are gone.
    pub fn forget_tickets(&mut self) {
        self.0.iter_mut().for_each(Queue::forget_ticket);
    }
}

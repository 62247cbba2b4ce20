//! Tickets that were left behind are taken away.

use std::time::Duration;

use super::keep::deletion;
use super::register::Register;
use super::{Queue, now};
use crate::attempt::DeadTickets;
use crate::line::removal::{Round, Way};
use crate::line::sightings::Life;
use crate::line::{PlaceName, left};
use git::object::Oid;
use git::{RefUpdate, RemoteError};

/// The first pause before it is tried again to take tickets away that others left behind; the next ones are longer.
const CLEAR_AGAIN: Duration = Duration::from_secs(1);

/// What became of tickets that were left behind.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::attempt) struct Cleared {
    /// The ids of those that are gone or say so.
    pub gone: Vec<String>,
    /// Why others stay.
    pub refused: Option<String>,
}

impl Queue {
    /// Makes the pushes of a round.
    pub(super) async fn carry_out(
        &mut self,
        register: &impl Register,
        round: Round,
    ) -> Result<Cleared, RemoteError> {
        let mut cleared = Cleared::default();
        for push in round.pushes {
            let mut objects = Vec::new();
            let mut updates = Vec::new();
            for (name, old) in &push {
                updates.push(match round.way {
                    Way::Delete => deletion(name.clone(), *old),
                    Way::Leave => {
                        let (commit, made) = register.make(&left(*old))?;
                        objects.extend(made);
                        RefUpdate {
                            name: name.clone(),
                            old: Some(*old),
                            new: Some(commit),
                        }
                    }
                });
            }
            objects.sort_unstable();
            objects.dedup();
            let outcomes = register.change(&updates, false, &objects).await?;
            for ((name, old), outcome) in push.iter().zip(outcomes) {
                match outcome {
                    None => {
                        self.removal.note_done();
                        let place = name.rsplit('/').next().and_then(PlaceName::parse);
                        cleared.gone.extend(place.map(|place| place.id));
                    }
                    Some(words) => {
                        self.removal.note_refused(name, *old, round.way);
                        cleared.refused = Some(words);
                    }
                }
            }
        }
        Ok(cleared)
    }

    /// Takes away the ticket of an earlier run of our step, and those of others who vanished when there is nobody alive before us
    /// who would do it: one round of it, of which the next look shows what became. `None` when there is nothing to be done.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub async fn clear(
        &mut self,
        register: &impl Register,
    ) -> Result<Option<Cleared>, RemoteError> {
        let began = now();
        if self.clear_after.is_some_and(|(after, _)| began < after) {
            return Ok(None);
        }
        let others = self.others.listed();
        let tickets = others.filter_map(|(_, other)| Some(self.ticket(other.place.as_ref()?)));
        let (line, me) = self.with_mine(tickets.collect::<Vec<_>>().into_iter());
        let mut dead: Vec<(String, Oid)> = self.earlier_ticket().into_iter().collect();
        for ticket in &line[..me] {
            let Some(other) = self.others.get(&ticket.place.name()) else {
                continue;
            };
            match other.life(began) {
                _ if self.earlier.is(&ticket.place.name(), other.commit) => {}
                Life::Alive => break,
                Life::Left => {}
                Life::Dead => dead.push((self.name(&ticket.place), other.commit)),
            }
        }
        let Some(round) = self.removal.next(&dead, &[Way::Delete, Way::Leave]) else {
            return Ok(None);
        };
        let cleared = self.carry_out(register, round).await;
        self.clear_after = match &cleared {
            Ok(cleared) if cleared.refused.is_none() => None,
            _ => {
                let times = self.clear_after.map_or(0, |(_, times)| times + 1);
                let pause = CLEAR_AGAIN.saturating_mul(1 << times.min(6));
                Some((now() + pause, times))
            }
        };
        cleared.map(Some)
    }

    /// The tickets whose owners show no sign of life or have said that they are gone, and where they are.
    pub fn dead_tickets(&self) -> Vec<(String, Oid)> {
        let now = now();
        let listed = self.others.listed();
        let dead = listed.filter(|(_, other)| other.place.is_some());
        let dead = dead.filter(|(_, other)| other.life(now) != Life::Alive);
        dead.map(|(name, other)| (format!("{}{name}", self.start), other.commit))
            .collect()
    }

    /// Takes away all of these, whoever waits: as many in one push as the server lets go. Those that cannot be taken away
    /// say that they are left.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub async fn clear_all(
        &mut self,
        register: &mut impl Register,
    ) -> Result<DeadTickets, RemoteError> {
        let found = self.dead_tickets().len();
        let mut done = DeadTickets {
            found,
            ..DeadTickets::default()
        };
        loop {
            let now = now();
            let is_left = |name: &str| {
                let last = name.rsplit('/').next().unwrap_or(name);
                let other = self.others.get(last);
                other.is_some_and(|other| other.life(now) == Life::Left)
            };
            let dead = self.dead_tickets();
            let (left, dead): (Vec<_>, Vec<_>) =
                dead.into_iter().partition(|(name, _)| is_left(name));
            let round = self.removal.next(&dead, &[Way::Delete, Way::Leave]);
            let round = round.or_else(|| self.removal.next(&left, &[Way::Delete]));
            let Some(round) = round else {
                return Ok(done);
            };
            let cleared = self.carry_out(register, round).await?;
            done.gone += cleared.gone.len();
            done.refused = cleared.refused;
            self.look_at_line(register).await?;
        }
    }

    /// Takes away what others could only say of that they have left it, before we take a ticket of our own. Says whether
    /// some stay: then ours would have to stay as well.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub async fn clear_left(&mut self, register: &mut impl Register) -> Result<bool, RemoteError> {
        loop {
            let now = now();
            let others = self.others.listed();
            let left = others.filter(|(_, other)| other.life(now) == Life::Left);
            let left: Vec<(String, Oid)> = left
                .map(|(name, other)| (format!("{}{name}", self.start), other.commit))
                .collect();
            if left.is_empty() {
                return Ok(false);
            }
            let Some(round) = self.removal.next(&left, &[Way::Delete]) else {
                return Ok(true);
            };
            let cleared = self.carry_out(register, round).await?;
            if cleared.refused.is_some() && self.removal.cannot_delete() {
                return Ok(true);
            }
            self.look_at_line(register).await?;
        }
    }
}

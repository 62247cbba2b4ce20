//! Taking tickets away, or saying of them that they are left, on servers of which we don't know what they allow.
//!
//! Each ticket is taken away in one push with all others that are to go; then, where it is still there, by a push of its
//! own; then it is moved to a commit that says that it is left, which everybody ignores. Where it stays all the same, its
//! date makes it a dead one.

use std::collections::BTreeMap;

use git::object::Oid;

/// How many pushes are made at most in one round, where each is for one ticket.
const SINGLY: usize = 5;

/// How many tickets one push is about at most.
const TOGETHER: usize = 500;

/// What to do with tickets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// To take them away.
    Delete,
    /// To say that they are left.
    Leave,
}

/// Pushes to be made: each for these tickets, by their names and where they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Round {
    /// What to do.
    pub way: Way,
    /// The pushes.
    pub pushes: Vec<Vec<(String, Oid)>>,
}

/// What has been tried.
#[derive(Debug, Clone, Default)]
pub struct Removal {
    /// How often each ticket was refused where it still is.
    refused: BTreeMap<String, Refused>,
    cannot_delete: bool,
    cannot_leave: bool,
    /// Whether the server has ever done one.
    has_worked: bool,
}

#[derive(Debug, Clone, Copy)]
struct Refused {
    at: Oid,
    deletes: u32,
    leaves: u32,
}

/// How often in a row the server says no, while a ticket stays where it is, until it is taken for its rule.
const NOES: u32 = 2;

impl Removal {
    /// What to do next with these tickets; `None` when nothing helps. Those that are left already can only be taken away.
    pub fn next(&self, tickets: &[(String, Oid)], ways: &[Way]) -> Option<Round> {
        let step = |(name, commit): &(String, Oid)| self.step(name, *commit, ways);
        let first = tickets.iter().filter_map(step).min()?;
        let (way, is_again) = first;
        let those = tickets.iter().filter(|ticket| step(ticket) == Some(first));
        let those: Vec<(String, Oid)> = those.cloned().collect();
        let (size, most) = match is_again {
            false => (TOGETHER, 1),
            true if self.has_worked => (1, SINGLY),
            true => (1, 1),
        };
        Some(Round {
            way,
            pushes: those.chunks(size).take(most).map(<[_]>::to_vec).collect(),
        })
    }

    /// What to do with one ticket, and whether that was tried before.
    fn step(&self, name: &str, commit: Oid, ways: &[Way]) -> Option<(Way, bool)> {
        let refused = self
            .refused
            .get(name)
            .filter(|refused| refused.at == commit);
        let (deletes, leaves) = refused.map_or((0, 0), |refused| (refused.deletes, refused.leaves));
        let can_leave = ways.contains(&Way::Leave) && !self.cannot_leave;
        let can_delete = ways.contains(&Way::Delete) && !self.cannot_delete;
        if can_delete && deletes < NOES {
            return Some((Way::Delete, deletes > 0));
        }
        (can_leave && leaves < NOES).then_some((Way::Leave, leaves > 0))
    }

    /// Whether the server lets no ticket be taken away.
    pub fn cannot_delete(&self) -> bool {
        self.cannot_delete
    }

    /// Notes that the server said no to it.
    pub fn note_refused(&mut self, name: &str, commit: Oid, way: Way) {
        let nothing = Refused {
            at: commit,
            deletes: 0,
            leaves: 0,
        };
        let refused = self.refused.entry(name.to_owned()).or_insert(nothing);
        if refused.at != commit {
            *refused = nothing;
        }
        match way {
            Way::Delete => refused.deletes += 1,
            Way::Leave => refused.leaves += 1,
        }
        self.cannot_delete |= refused.deletes >= NOES;
        self.cannot_leave |= refused.leaves >= NOES;
    }

    /// Notes that the server did it with one.
    pub fn note_done(&mut self) {
        self.has_worked = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(n: usize) -> (String, Oid) {
        (format!("t{n}"), Oid::ZERO_SHA1)
    }

    #[test]
    fn all_go_in_one_push_then_one_by_itself_then_they_say_that_they_are_left() {
        let tickets: Vec<_> = (0..7).map(ticket).collect();
        let ways = [Way::Delete, Way::Leave];
        let mut removal = Removal::default();
        let mut seen = Vec::new();
        while let Some(round) = removal.next(&tickets, &ways) {
            let pushes: Vec<usize> = round.pushes.iter().map(Vec::len).collect();
            seen.push((round.way, pushes));
            for (name, commit) in round.pushes.concat() {
                removal.note_refused(&name, commit, round.way);
            }
        }
        let (delete, leave) = (Way::Delete, Way::Leave);
        let each = |way| [(way, vec![7]), (way, vec![1])];
        assert_eq!(seen, [each(delete), each(leave)].concat());
    }

    #[test]
    fn where_one_at_a_time_works_some_are_taken_away_in_each_round() {
        let tickets: Vec<_> = (0..7).map(ticket).collect();
        let mut removal = Removal::default();
        for (name, commit) in &tickets {
            removal.note_refused(name, *commit, Way::Delete);
        }
        let pushes = |removal: &Removal| {
            let round = removal.next(&tickets, &[Way::Delete]);
            round.map(|round| round.pushes.len())
        };

        assert_eq!(pushes(&removal), Some(1));
        removal.note_done();
        assert_eq!(pushes(&removal), Some(SINGLY));
    }

    #[test]
    fn one_that_has_moved_is_tried_anew() {
        let mut removal = Removal::default();
        removal.note_refused("t0", Oid::ZERO_SHA1, Way::Delete);
        let moved = super::super::left(Oid::ZERO_SHA1).id();
        let step = |at| removal.step("t0", at, &[Way::Delete]);
        assert_eq!(step(Oid::ZERO_SHA1), Some((Way::Delete, true)));
        assert_eq!(step(moved), Some((Way::Delete, false)));
    }
}

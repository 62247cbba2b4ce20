//! What is known of the objects of a store as a whole, and how it is written down.

use std::collections::BTreeSet;

use crate::object::Oid;

/// What is known of the objects as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct State {
    /// The commit fetched last, which is here with all its files.
    pub head: Option<Oid>,
    /// How many commits deep it was asked for.
    pub depth: u32,
    /// Commits some of whose parents are not here.
    pub boundary: BTreeSet<Oid>,
}

impl State {
    pub fn to_text(&self) -> String {
        let mut lines = Vec::new();
        lines.extend(self.head.map(|head| format!("head {head} {}", self.depth)));
        lines.extend(self.boundary.iter().map(|cut| format!("cut {cut}")));
        // The last line tells that none is missing.
        lines.push("end\n".to_owned());
        lines.join("\n")
    }

    /// `None` when it is not one of ours, or only a part of one.
    pub fn parse(text: &str) -> Option<State> {
        let mut state = State::default();
        let mut lines = text.strip_suffix("\nend\n")?.lines();
        let (head, depth) = lines.next()?.strip_prefix("head ")?.split_once(' ')?;
        state.head = Some(Oid::from_str(head).ok()?);
        state.depth = depth.parse().ok()?;
        for line in lines {
            state
                .boundary
                .insert(Oid::from_str(line.strip_prefix("cut ")?).ok()?);
        }
        Some(state)
    }
}

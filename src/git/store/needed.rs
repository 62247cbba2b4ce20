//! Which objects a repository lacks of a commit that was made on one that it has.

use std::collections::{HashMap, HashSet};

use super::{Store, mode_of};
use crate::object::{Mode, Oid};

/// Of what is pushed at once so many commits are new at most.
const MOST_NEW: usize = 16;

/// What is lacking.
#[derive(Debug, Default)]
pub(crate) struct Needed {
    /// Each after what it needs itself.
    pub objects: Vec<Oid>,
    /// The folder that was in the place of a new one, which the repository has.
    pub instead_of: HashMap<Oid, Oid>,
}

impl Store {
    /// What a repository that has `base` and all that is reached from there lacks of `commit`; `None` where that was not made
    /// on it in a few steps, or not all is here.
    ///
    /// All that is not named is reached from the commit before.
    pub(crate) fn needed_for(&self, commit: Oid, base: Option<Oid>) -> Option<Needed> {
        let mut needed = Needed::default();
        let mut at = Some(commit);
        for _ in 0..=MOST_NEW {
            let Some(id) = at.filter(|id| Some(*id) != base && !self.is_shown(*id)) else {
                // Not one that has nothing to do with it.
                let leads_there = at.is_some() || base.is_none();
                needed.objects.reverse();
                return leads_there.then_some(needed);
            };
            let said = self.commit(id).ok()??;
            at = match said.parents[..] {
                [] => None,
                [before] => Some(before),
                _ => return None,
            };
            let tree_before = match at {
                Some(before) => Some(self.commit(before).ok()??.tree),
                None => None,
            };
            let mut differs = Differs::default();
            differs.look_into(self, said.tree, tree_before)?;
            let Differs { new, old, replaced } = differs;
            needed.objects.push(id);
            needed
                .objects
                .extend(new.into_iter().filter(|id| !old.contains(id)));
            // Of several commits the last one that has it in the repository counts.
            needed.instead_of.extend(replaced);
        }
        None
    }
}

/// What two trees have that is not the same under the same name.
#[derive(Default)]
struct Differs {
    /// Each before what is in it.
    new: Vec<Oid>,
    /// All that is in the old folders that were looked into.
    old: HashSet<Oid>,
    /// Which folder was in the place of which.
    replaced: HashMap<Oid, Oid>,
}

impl Differs {
    fn look_into(&mut self, store: &Store, new: Oid, old: Option<Oid>) -> Option<()> {
        if Some(new) == old {
            return Some(());
        }
        self.new.push(new);
        let mut before = HashMap::new();
        if let Some(old) = old {
            self.replaced.insert(new, old);
            for (name, mode, id) in store.raw_list(old).ok()? {
                self.old.insert(id);
                before.insert(name, (mode_of(mode), id));
            }
        }
        for (name, mode, id) in store.raw_list(new).ok()? {
            let before = before.get(&name);
            match mode_of(mode) {
                _ if before.is_some_and(|(_, before)| *before == id) => {}
                Mode::Submodule => {}
                Mode::Folder => {
                    let folder = before.filter(|(mode, _)| *mode == Mode::Folder);
                    self.look_into(store, id, folder.map(|(_, id)| *id))?;
                }
                Mode::File | Mode::Executable | Mode::Symlink => self.new.push(id),
            }
        }
        Some(())
    }
}

//! Who gets which lock: a matching in which those who are first count most.

/// What one in the line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demand {
    /// How many locks, all at once.
    pub count: usize,
    /// Which ones would do.
    pub takes: Takes,
}

/// Which locks would do, by their numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Takes {
    /// Every one.
    Anything,
    /// These, each named once.
    Only(Vec<usize>),
}

impl Demand {
    /// Whether there is a lock that would do for both.
    pub fn competes(&self, other: &Demand) -> bool {
        match (&self.takes, &other.takes) {
            (Takes::Anything, Takes::Anything) => true,
            (Takes::Anything, Takes::Only(some)) | (Takes::Only(some), Takes::Anything) => {
                !some.is_empty()
            }
            (Takes::Only(some), Takes::Only(others)) => {
                some.iter().any(|lock| others.contains(lock))
            }
        }
    }
}

/// Gives each of the line in turn as many free locks as it asks for, or none; `free` says of every lock whether it is.
///
/// Nobody gets less because of those behind him. Who gets nothing could not be served without taking from those before
/// him, where those who cannot have all that they need yet keep what they could use.
///
/// This is the greedy algorithm on a transversal matroid: each lock is found by an augmenting path, along which those who
/// have one already change to another. What a search in vain has seen leads nowhere later on either, so that all such
/// searches together look at each lock once.
pub fn walk(line: &[Demand], free: &[bool]) -> Vec<Option<Vec<usize>>> {
    let (satisfied, owners) = give_out(line, free);
    let mut served: Vec<Option<Vec<usize>>> = satisfied
        .iter()
        .map(|satisfied| satisfied.then(Vec::new))
        .collect();
    for (lock, owner) in owners.iter().enumerate() {
        if let Some(locks) = owner.and_then(|owner| served[owner].as_mut()) {
            locks.push(lock);
        }
    }
    served
}

/// For whom each free lock is kept, who cannot have all that it needs yet.
pub fn kept(line: &[Demand], free: &[bool]) -> Vec<Option<usize>> {
    let (satisfied, owners) = give_out(line, free);
    let owners = owners.into_iter();
    owners
        .map(|owner| owner.filter(|owner| !satisfied[*owner]))
        .collect()
}

/// Who gets all that it asks for, and who has each lock.
fn give_out(line: &[Demand], free: &[bool]) -> (Vec<bool>, Vec<Option<usize>>) {
    let mut table = Table {
        line,
        owner: vec![None; free.len()],
        open: (0..free.len()).filter(|lock| free[*lock]).collect(),
        place_in_open: vec![None; free.len()],
        usable: free.to_vec(),
    };
    for (place, lock) in table.open.iter().enumerate() {
        table.place_in_open[*lock] = Some(place);
    }
    let mut satisfied = vec![false; line.len()];
    for (who, demand) in line.iter().enumerate() {
        let there = match &demand.takes {
            Takes::Anything => free.len(),
            Takes::Only(some) => some.len(),
        };
        // Who can never be served keeps nothing from the others.
        satisfied[who] = there >= demand.count && (0..demand.count).all(|_| table.serve(who));
    }
    (satisfied, table.owner)
}

struct Table<'a> {
    line: &'a [Demand],
    /// Who has a lock.
    owner: Vec<Option<usize>>,
    /// The free locks that nobody has yet, in any order, and where in it each of them is.
    open: Vec<usize>,
    place_in_open: Vec<Option<usize>>,
    /// Whether a lock is free, and no search in vain has seen it.
    usable: Vec<bool>,
}

impl Table<'_> {
    /// Gives `who` one more lock, if that is possible without anybody else having fewer.
    fn serve(&mut self, who: usize) -> bool {
        let demand = &self.line[who];
        // One lock for which nobody has to move, if there is one.
        let at_hand = match &demand.takes {
            Takes::Anything => self.open.last().copied(),
            Takes::Only(some) => some.iter().copied().find(|lock| self.is_open(*lock)),
        };
        if let Some(lock) = at_hand {
            self.give(lock, who);
            return true;
        }
        if self.open.is_empty() {
            return false;
        }
        let Takes::Only(first) = &demand.takes else {
            return false;
        };
        // Breadth first: locks that `who` could have if their owners changed to another one.
        let mut seen = vec![false; self.owner.len()];
        let mut from: Vec<(usize, usize)> = Vec::new();
        let nobody = usize::MAX;
        for lock in first.iter().copied().filter(|lock| self.usable[*lock]) {
            seen[lock] = true;
            from.push((lock, nobody));
        }
        let mut next = 0;
        while let Some((lock, _)) = from.get(next).copied() {
            let Some(owner) = self.owner[lock] else { break };
            match &self.line[owner].takes {
                Takes::Anything => {
                    if let Some(other) = self.open.last().copied() {
                        self.shift(&from, next, other, who);
                        return true;
                    }
                }
                Takes::Only(some) => {
                    for other in some.iter().copied() {
                        if self.is_open(other) {
                            self.shift(&from, next, other, who);
                            return true;
                        }
                        if self.usable[other] && !seen[other] {
                            seen[other] = true;
                            from.push((other, next));
                        }
                    }
                }
            }
            next += 1;
        }
        for (lock, _) in from {
            self.usable[lock] = false;
        }
        false
    }

    fn is_open(&self, lock: usize) -> bool {
        self.place_in_open[lock].is_some()
    }

    fn give(&mut self, lock: usize, who: usize) {
        if let Some(place) = self.place_in_open[lock].take() {
            self.open.swap_remove(place);
            if let Some(moved) = self.open.get(place) {
                self.place_in_open[*moved] = Some(place);
            }
        }
        self.owner[lock] = Some(who);
    }

    /// Has the owner of each lock on the way to `from[end]` change to the next one, and gives the first to `who`.
    fn shift(&mut self, from: &[(usize, usize)], end: usize, open: usize, who: usize) {
        let mut to = open;
        let mut at = end;
        while let Some((lock, before)) = from.get(at).copied() {
            if let Some(owner) = self.owner[lock] {
                self.give(to, owner);
            }
            to = lock;
            at = before;
        }
        self.owner[to] = Some(who);
    }
}

//! The graph alone: numbers in, circles out.
//!
//! An edge goes from a waiter to those who keep a lock from it that it could take. A circle in that graph is not enough: a
//! waiter for any lock goes on as soon as one comes free. So those are taken away in turn who can go on, with all that they
//! keep from others, until nobody is left, or only those who wait for each other.
//!
//! Source: R. C. Holt, "Some deadlock properties of computer systems", 1972: the reduction of a graph of reusable resources.

/// A lock, as those see it who could take it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lock {
    /// It comes free, or is free: nobody who waits keeps it.
    Open,
    /// It is held, until all of these waiters have gone on.
    Held(Vec<usize>),
    /// It is free, and this waiter keeps it until it has all that it needs.
    Kept(usize),
}

/// So many of these locks, all at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demand {
    /// How many.
    pub count: usize,
    /// Which ones would do.
    pub locks: Vec<usize>,
}

/// Who waits for what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Graph {
    /// What each waiter needs: all of its demands at once.
    pub waiters: Vec<Vec<Demand>>,
    /// The locks.
    pub locks: Vec<Lock>,
}

impl Graph {
    /// The circles: groups of waiters of whom none can ever go on, whatever everybody else does, and each of whom waits for
    /// each other one, at least through others. The members are in the order of their numbers.
    pub fn circles(&self) -> Vec<Vec<usize>> {
        let mut found = Vec::new();
        let mut open = vec![(0..self.waiters.len()).collect::<Vec<usize>>()];
        while let Some(group) = open.pop() {
            let stuck = self.stuck(&group);
            let parts = self.parts(&stuck);
            match &parts[..] {
                [part] if part.len() == group.len() => found.extend(parts),
                _ => open.extend(parts),
            }
        }
        found.sort();
        found
    }

    /// Those of a group who cannot go on, if everybody else can.
    pub fn stuck(&self, group: &[usize]) -> Vec<usize> {
        let mut is_stuck = vec![false; self.waiters.len()];
        for waiter in group {
            is_stuck[*waiter] = true;
        }
        let mut stuck = group.to_vec();
        loop {
            let (left, gone): (Vec<usize>, Vec<usize>) = stuck
                .iter()
                .partition(|waiter| !self.can_go_on(**waiter, &is_stuck));
            if gone.is_empty() {
                return left;
            }
            for waiter in gone {
                is_stuck[waiter] = false;
            }
            stuck = left;
        }
    }

    fn can_go_on(&self, waiter: usize, is_stuck: &[bool]) -> bool {
        self.waiters[waiter].iter().all(|demand| {
            let open = |lock: &&usize| self.keepers(waiter, **lock).all(|keeper| !is_stuck[keeper]);
            // What there is too little of may be added by somebody: that is no circle.
            demand.locks.len() < demand.count
                || demand.locks.iter().filter(open).count() >= demand.count
        })
    }

    /// Those who keep a lock from a waiter. Of the locks that are held it may be itself.
    pub fn keepers(&self, waiter: usize, lock: usize) -> impl Iterator<Item = usize> {
        let keepers = match &self.locks[lock] {
            Lock::Open => &[],
            Lock::Held(keepers) => &keepers[..],
            Lock::Kept(keeper) if *keeper == waiter => &[],
            Lock::Kept(keeper) => std::slice::from_ref(keeper),
        };
        keepers.iter().copied()
    }

    /// The locks that a waiter could take, and those of `among` who keep each from it.
    pub fn edges(&self, waiter: usize, among: &[usize]) -> impl Iterator<Item = (usize, usize)> {
        let locks = self.waiters[waiter].iter().flat_map(|demand| &demand.locks);
        locks.flat_map(move |lock| {
            let keepers = self.keepers(waiter, *lock);
            keepers
                .filter(move |keeper| among.contains(keeper))
                .map(|keeper| (*lock, keeper))
        })
    }

    /// Who of a group can be reached from whom: the parts in which everybody reaches everybody, without those who reach
    /// not even themselves.
    fn parts(&self, group: &[usize]) -> Vec<Vec<usize>> {
        let mut is_in = vec![false; self.waiters.len()];
        for waiter in group {
            is_in[*waiter] = true;
        }
        let mut next = vec![Vec::new(); self.waiters.len()];
        let mut before = vec![Vec::new(); self.waiters.len()];
        for waiter in group {
            for demand in &self.waiters[*waiter] {
                for lock in &demand.locks {
                    for keeper in self.keepers(*waiter, *lock).filter(|keeper| is_in[*keeper]) {
                        next[*waiter].push(keeper);
                        before[keeper].push(*waiter);
                    }
                }
            }
        }
        // By the order in which everything behind them has been seen, the last first; then against the edges.
        let mut seen = vec![false; self.waiters.len()];
        let mut done = Vec::new();
        for waiter in group {
            visit(*waiter, &next, &mut seen, &mut done);
        }
        let mut seen = vec![false; self.waiters.len()];
        let mut parts = Vec::new();
        for waiter in done.into_iter().rev() {
            let mut part = Vec::new();
            visit(waiter, &before, &mut seen, &mut part);
            part.sort_unstable();
            let reaches_itself = |waiter: &usize| next[*waiter].contains(waiter);
            if part.len() > 1 || part.first().is_some_and(reaches_itself) {
                parts.push(part);
            }
        }
        parts
    }
}

/// Goes everywhere from `start`, depth first; each that was not seen before is in `done` after all behind it.
fn visit(start: usize, next: &[Vec<usize>], seen: &mut [bool], done: &mut Vec<usize>) {
    if std::mem::replace(&mut seen[start], true) {
        return;
    }
    let mut path = vec![(start, 0)];
    while let Some((at, edge)) = path.last_mut() {
        match next[*at].get(*edge) {
            Some(to) => {
                *edge += 1;
                if !std::mem::replace(&mut seen[*to], true) {
                    path.push((*to, 0));
                }
            }
            None => {
                done.push(*at);
                path.pop();
            }
        }
    }
}

#[cfg(test)]
mod tests;

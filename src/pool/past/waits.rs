//! How long waiters waited, from what somebody saw who went on looking at the line: no commit tells of it.
//!
//! A place in line that is gone was either granted or left. If it was granted there is a claim by the same name, made since the wait
//! began. Places that came and went between two looks are not seen.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use super::chronicle::{Chronicle, Histogram};
use crate::lock::PoolName;
use git::object::Oid;

/// How many claims are remembered that a wait led to, so that none counts for two.
const REMEMBERED: usize = 10_000;

/// One who waits, as a look found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The id of its ticket.
    pub id: String,
    /// For which pool.
    pub pool: PoolName,
    /// Who it is.
    pub who: String,
    /// Since when, in seconds since 1970, by its own clock.
    pub since: i64,
}

/// What became of the waits for one pool.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Waited {
    /// How long those took that were granted.
    pub granted: Histogram,
    /// How many were left without a grant.
    pub left: u64,
}

/// The waits that were seen.
#[derive(Debug, Clone, Default)]
pub struct Waits {
    waiting: HashMap<String, Seen>,
    pools: BTreeMap<PoolName, Waited>,
    taken: HashSet<Oid>,
    in_order: VecDeque<Oid>,
}

impl Waits {
    /// Takes in all who wait now. `chronicle` must go as far as what was looked at.
    pub fn observe(&mut self, line: impl IntoIterator<Item = Seen>, chronicle: &Chronicle) {
        let now = line.into_iter().map(|seen| (seen.id.clone(), seen));
        let before = std::mem::replace(&mut self.waiting, now.collect());
        let mut gone: Vec<Seen> = before
            .into_values()
            .filter(|seen| !self.waiting.contains_key(&seen.id))
            .collect();
        gone.sort_by(|a, b| (a.since, &a.id).cmp(&(b.since, &b.id)));
        for seen in gone {
            let waited = self.pools.entry(seen.pool.clone()).or_default();
            match chronicle.claim_by(&seen.pool, &seen.who, seen.since, &self.taken) {
                Some((claim, at)) => {
                    waited.granted.observe(at.saturating_sub(seen.since) as f64);
                    self.taken.insert(claim);
                    self.in_order.push_back(claim);
                }
                None => waited.left += 1,
            }
        }
        while self.in_order.len() > REMEMBERED {
            if let Some(oldest) = self.in_order.pop_front() {
                self.taken.remove(&oldest);
            }
        }
    }

    /// Of a pool, if anybody was seen to wait there and is gone.
    pub fn of(&self, pool: &PoolName) -> Option<&Waited> {
        self.pools.get(pool)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::lock::LockName;
    use crate::past::{Hold, Rest};

    fn oid(n: u32) -> Oid {
        format!("{n:040x}").parse().expect("forty digits")
    }

    fn pool() -> PoolName {
        PoolName::new("aws").expect("a name")
    }

    fn seen(id: &str, who: &str, since: i64) -> Seen {
        Seen {
            id: id.to_owned(),
            pool: pool(),
            who: who.to_owned(),
            since,
        }
    }

    fn claim(n: u32, who: &str, since: i64) -> Hold {
        let message: Arc<[u8]> = format!("{who} claiming: env-{n}").into_bytes().into();
        Hold {
            pool: pool(),
            lock: LockName::new(&format!("env-{n}")).expect("a name"),
            claim: oid(n),
            since,
            message,
            end: None,
        }
    }

    #[test]
    fn a_wait_ends_with_the_claim_of_the_same_holder_or_with_none() {
        let mut chronicle = Chronicle::new(oid(1), 100);
        chronicle.before(oid(1), 100, &[claim(1, "t/p/j build 1", 100)]);
        let mut waits = Waits::default();
        let line = [
            seen("a", "t/p/j build 1", 110),
            seen("b", "t/p/j build 2", 120),
            seen("c", "t/p/j build 3", 130),
        ];

        waits.observe(line.clone(), &chronicle);
        assert_eq!(waits.of(&pool()), None);
        let begun = vec![
            claim(3, "t/p/j build 1", 170),
            claim(2, "t/p/j build 2", 150),
        ];
        chronicle.go_on(oid(3), 170, 2, Rest::default(), begun);
        waits.observe([line[2].clone()], &chronicle);

        let waited = waits.of(&pool()).expect("two are gone");
        assert_eq!((waited.granted.count(), waited.left), (2, 0));
        assert_eq!(waited.granted.sum, 60.0 + 30.0);
        waits.observe([], &chronicle);
        let waited = waits.of(&pool()).expect("all are gone");
        assert_eq!((waited.granted.count(), waited.left), (2, 1));
    }

    #[test]
    fn one_claim_is_the_end_of_one_wait() {
        let mut chronicle = Chronicle::new(oid(1), 100);
        chronicle.before(oid(1), 100, &[claim(1, "ann", 100)]);
        let mut waits = Waits::default();

        waits.observe([seen("a", "ann", 90), seen("b", "ann", 95)], &chronicle);
        waits.observe([], &chronicle);

        let waited = waits.of(&pool()).expect("both are gone");
        assert_eq!((waited.granted.count(), waited.left), (1, 1));
        assert_eq!(waited.granted.sum, 10.0);
    }
}

//! Lines of three pools, and those who need locks of one, two or all of them, played on a server in memory.
//!
//! What a waiter does here is what [`crate::attempt`] does, in short; the lines, the tickets and what is pushed are the real
//! ones. Each pool has one lock.
#![allow(clippy::unwrap_used)]

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use proptest::prelude::*;
use tokio::task::LocalSet;
use tokio::time::{sleep, sleep_until, timeout};

use super::keep::{Gone, Who};
use super::register::Register;
use super::simulated::{BEGAN, Notes, REQUEST, SECOND, clock, head};
use super::*;
use crate::attempt::lines::Lines;
use crate::line::sightings::Said;
use crate::message::Origin;
use git::object::{Entry, Mode, Named};
use git::{Depth, Identity, Interest, Note, RemoteError, StoreError};

const POOLS: [&str; 3] = ["aws", "db", "net"];
const CASES: u32 = 12;

/// How long a lock may be free that somebody wants: whoever looks most seldom has looked by then.
const IDLE: Duration = Duration::from_secs(14);

/// One who waits for a lock of each of these pools.
#[derive(Debug, Clone)]
struct Waiter {
    arrives: Duration,
    pools: Vec<usize>,
    holds: Duration,
    /// After which time he is killed outright, if he waits still.
    dies: Option<Duration>,
}

struct Server {
    refs: BTreeMap<String, Oid>,
    said: HashMap<Oid, Said>,
    moves: u64,
    holders: [Option<usize>; 3],
    /// Those who wait, by pool, in the order in which they came.
    waiting: Vec<(usize, Vec<usize>)>,
}

#[derive(Clone)]
struct Client {
    server: Rc<RefCell<Server>>,
    who: usize,
    watched: usize,
    here: Notes,
}

impl Server {
    fn listing(&self, watched: usize) -> Listing {
        let mut listing = Listing {
            head: head(self.moves),
            watched: BTreeMap::new(),
            besides: BTreeMap::new(),
        };
        let own = format!("{}/", POOLS[watched]);
        for (name, at) in &self.refs {
            let name = name.strip_prefix("refs/pool-queue/main/").unwrap();
            match name.strip_prefix(&own) {
                Some(place) => listing.watched.insert(place.to_owned(), *at),
                None => listing.besides.insert(name.to_owned(), *at),
            };
        }
        listing
    }

    fn change(&mut self, update: &RefUpdate) -> Option<String> {
        if self.refs.get(&update.name).copied() != update.old {
            return Some("no".to_owned());
        }
        match update.new {
            Some(new) => drop(self.refs.insert(update.name.clone(), new)),
            None => drop(self.refs.remove(&update.name)),
        }
        None
    }
}

impl Register for Client {
    async fn look(&mut self) -> Result<Listing, RemoteError> {
        sleep(REQUEST).await;
        Ok(self.server.borrow().listing(self.watched))
    }

    async fn change(
        &self,
        updates: &[RefUpdate],
        _: bool,
        _: &[Oid],
    ) -> Result<Vec<Option<String>>, RemoteError> {
        sleep(REQUEST).await;
        let mut server = self.server.borrow_mut();
        self.here.are_sent(&mut server.said);
        Ok(updates.iter().map(|update| server.change(update)).collect())
    }

    fn make(&self, note: &Note<'_>) -> Result<(Oid, Vec<Oid>), StoreError> {
        Ok(self.here.make(note))
    }

    fn said(&self, commit: Oid) -> Said {
        self.here.said(commit)
    }
}

fn name_of(pool: usize) -> PoolName {
    PoolName::new(POOLS[pool]).unwrap()
}

fn pool(n: usize, is_free: bool) -> Pool {
    let lock = [Named {
        name: b"l".to_vec(),
        entry: Entry {
            mode: Mode::File,
            id: Oid::ZERO_SHA1,
        },
    }];
    let (claimed, free): (&[Named], &[Named]) = if is_free { (&[], &lock) } else { (&lock, &[]) };
    Pool::new(name_of(n), claimed, free)
}

fn lines(waiter: &Waiter) -> Lines {
    let settings = InLine {
        renewal: 20 * SECOND,
        ..InLine::default()
    };
    let patience = Patience {
        limit: None,
        retry_delay: 10 * SECOND,
    };
    let id = uuid::Uuid::new_v4().to_string();
    let line = |n: &usize| {
        let (pool, need) = (name_of(*n), Need::Any(Want::default()));
        let queue = Queue::with_clock("main", &pool, need, settings.clone(), patience, clock);
        if waiter.pools.len() == 1 {
            return queue;
        }
        let others = waiter.pools.iter().filter(|other| *other != n);
        let together = Together {
            id: id.clone(),
            others: others.map(|other| name_of(*other)).collect(),
            watched: name_of(waiter.pools[0]),
        };
        queue.together(together)
    };
    Lines::new(waiter.pools.iter().map(line).collect())
}

impl Client {
    async fn round(&self, lines: &mut Lines, last: &mut Option<(u64, [bool; 3])>) {
        sleep(REQUEST).await;
        let listing = self.server.borrow().listing(self.watched);
        if let Interest::Head(_, unread) = lines.interest(&listing, Depth::HEAD) {
            sleep(REQUEST).await;
            let server = self.server.borrow();
            self.here.are_read(&unread, &server.said);
            *last = Some((server.moves, server.holders.map(|holder| holder.is_none())));
        }
        lines.observe(&listing, &|commit| self.said(commit), REQUEST);
    }

    async fn keep(&mut self, queue: &mut Queue) {
        let (origin, identity) = (Origin::default(), Identity::default());
        let who = Who {
            origin: &origin,
            identity: &identity,
        };
        queue.keep(self, who, std::future::pending()).await.unwrap();
    }

    async fn acquire(&mut self, waiter: &Waiter, lines: &mut Lines) {
        let mut last = None;
        loop {
            self.round(lines, &mut last).await;
            let Some((moves, free)) = last else { continue };
            let of = waiter.pools.iter().zip(lines.iter());
            let standings: Vec<Standing> = of
                .map(|(n, line)| line.standing(&pool(*n, free[*n]), head(moves), |_, _| true))
                .collect();
            lines.note_standings(&standings, head(moves));
            let is_turn = |one: &Standing| !matches!(one.turn_to_go_by(), Turn::Theirs { .. });
            let are_free = waiter.pools.iter().all(|n| free[*n]);
            if are_free && standings.iter().all(is_turn) {
                sleep(REQUEST).await;
                if self.claim(waiter, moves) {
                    return;
                }
                lines.note_overtaken();
                for line in lines.iter_mut().filter(|line| !line.has_ticket()) {
                    self.keep(line).await;
                }
                continue;
            }
            for line in lines.iter_mut() {
                if !line.has_ticket() {
                    self.keep(line).await;
                }
                line.clear(self).await.unwrap();
            }
            let end = Instant::now() + lines.pause(&standings).unwrap();
            loop {
                let due = lines.iter().filter_map(Queue::renewal_due).min();
                let Some(due) = due.filter(|due| *due < end) else {
                    break;
                };
                sleep_until(due).await;
                for line in lines.iter_mut() {
                    if line.renewal_due().is_some_and(|due| due <= Instant::now()) {
                        self.keep(line).await;
                    }
                }
            }
            sleep_until(end).await;
        }
    }

    fn claim(&self, waiter: &Waiter, moves: u64) -> bool {
        let mut server = self.server.borrow_mut();
        if server.moves != moves {
            return false;
        }
        assert!(
            waiter.pools.iter().all(|n| server.holders[*n].is_none()),
            "half a claim"
        );
        for n in &waiter.pools {
            server.holders[*n] = Some(self.who);
        }
        server.moves += 1;
        server.waiting.retain(|(who, _)| *who != self.who);
        true
    }

    async fn live(mut self, waiter: Waiter) -> Option<Duration> {
        sleep(waiter.arrives).await;
        let began = Instant::now();
        let mut lines = lines(&waiter);
        self.server
            .borrow_mut()
            .waiting
            .push((self.who, waiter.pools.clone()));
        let limit = waiter.dies.unwrap_or(36_000 * SECOND);
        if timeout(limit, self.acquire(&waiter, &mut lines))
            .await
            .is_err()
        {
            self.server
                .borrow_mut()
                .waiting
                .retain(|(who, _)| *who != self.who);
            return None;
        }
        let took = began.elapsed();
        for line in lines.iter_mut() {
            assert_eq!(line.leave(&mut self).await.unwrap(), Gone::Away);
        }
        sleep(waiter.holds).await;
        let mut server = self.server.borrow_mut();
        for n in &waiter.pools {
            server.holders[*n] = None;
        }
        server.moves += 1;
        Some(took)
    }
}

/// Plays lines. Gives how long each waited, and the longest time for which a lock was free that somebody waited for who needed
/// nothing else, while nobody before him was the first in all lines that he stood in.
fn play(waiters: &[Waiter]) -> (Rc<RefCell<Server>>, Vec<Option<Duration>>, Duration) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, async {
        BEGAN.set(Some(Instant::now()));
        let server = Rc::new(RefCell::new(Server {
            refs: BTreeMap::new(),
            said: HashMap::new(),
            moves: 0,
            holders: [None; 3],
            waiting: Vec::new(),
        }));
        let tasks: Vec<_> = waiters
            .iter()
            .enumerate()
            .map(|(who, waiter)| {
                let client = Client {
                    server: server.clone(),
                    who,
                    watched: waiter.pools[0],
                    here: Notes::default(),
                };
                tokio::task::spawn_local(client.live(waiter.clone()))
            })
            .collect();
        let idle = Rc::new(Cell::new(Duration::ZERO));
        let watch = tokio::task::spawn_local(watch(server.clone(), idle.clone()));
        let mut all = Vec::new();
        for task in tasks {
            all.push(timeout(36_000 * SECOND, task).await.unwrap().unwrap());
        }
        watch.abort();
        (server, all, idle.get())
    })
}

async fn watch(server: Rc<RefCell<Server>>, longest: Rc<Cell<Duration>>) {
    let mut since = [None; 3];
    loop {
        sleep(SECOND / 2).await;
        let server = server.borrow();
        for (n, since) in since.iter_mut().enumerate() {
            let line = |n: usize| {
                server
                    .waiting
                    .iter()
                    .filter(move |(_, pools)| pools.contains(&n))
            };
            let first = |n: usize| line(n).next().map(|(who, _)| *who);
            let before = line(n).take_while(|(_, pools)| pools.len() > 1);
            // Who is dead may seem to be one who waits, for as long as his ticket is there.
            let dead =
                server.refs.len() > server.waiting.iter().map(|(_, pools)| pools.len()).sum();
            let is_kept = before
                .clone()
                .any(|(who, pools)| pools.iter().all(|n| first(*n) == Some(*who)));
            let is_wanted = line(n).any(|(_, pools)| pools.len() == 1);
            let is_idle = server.holders[n].is_none() && is_wanted && !is_kept && !dead;
            *since = is_idle.then(|| since.unwrap_or_else(Instant::now));
            let idle = since.map_or(Duration::ZERO, |since: Instant| since.elapsed());
            longest.set(longest.get().max(idle));
        }
    }
}

fn one(pool: usize, arrives: Duration) -> Waiter {
    Waiter {
        arrives,
        pools: vec![pool],
        holds: 10 * SECOND,
        dies: None,
    }
}

fn some_waiters() -> impl Strategy<Value = Vec<Waiter>> {
    let pools = prop_oneof![
        (0..3_usize).prop_map(|n| vec![n]),
        prop::sample::subsequence(vec![0, 1, 2], 2..=3).prop_shuffle(),
    ];
    let dies = proptest::option::weighted(0.15, 1_u64..100_000);
    let waiter = (0_u64..15_000, pools, 1_u64..30_000, dies);
    prop::collection::vec(waiter, 1..14).prop_map(|waiters| {
        let mut arrives = Duration::ZERO;
        let each = waiters.into_iter().map(|(after, pools, holds, dies)| {
            arrives += Duration::from_millis(after);
            Waiter {
                arrives,
                pools,
                holds: Duration::from_millis(holds),
                dies: dies.map(Duration::from_millis),
            }
        });
        each.collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

    /// Everybody who lives is served, with all that he needs at once; and no lock lies idle that one could use who is not
    /// behind somebody whose turn it is.
    #[test]
    fn everybody_alive_is_served_whole_and_no_lock_lies_idle(waiters in some_waiters()) {
        let (server, times, idle) = play(&waiters);

        for (waiter, time) in waiters.iter().zip(&times) {
            prop_assert!(waiter.dies.is_some() || time.is_some(), "{waiter:?}");
        }
        prop_assert!(idle <= IDLE, "{idle:?}");
        let server = server.borrow();
        prop_assert!(server.holders.iter().all(Option::is_none));
    }

    /// Whoever needs several pools is not starved by a stream of those who need one of them.
    #[test]
    fn who_needs_several_pools_is_not_starved_by_those_who_need_one(
        pools in prop::sample::subsequence(vec![0, 1, 2], 2..=3).prop_shuffle(), between in 4_u64..9, holds in 4_u64..10
    ) {
        let each = |n: u64| POOLS.iter().enumerate().map(move |(pool, _)| Waiter {
            holds: Duration::from_secs(holds),
            ..one(pool, Duration::from_millis(n * between * 1000 + pool as u64 * 300))
        });
        let mut waiters: Vec<Waiter> = (0..25).flat_map(each).collect();
        let arrives = 10 * SECOND;
        waiters.push(Waiter { pools, ..one(0, arrives) });

        let (_, times, _) = play(&waiters);

        let before = waiters.iter().filter(|one| one.arrives < arrives).count() as u64 / 3;
        let took = times.last().unwrap().unwrap();
        // Those before him are served, then one more in each of the pools that was quicker, and a hand-over for each.
        let limit = Duration::from_secs((before + 3) * (holds + 3) + 15);
        prop_assert!(took <= limit, "{took:?} of {limit:?}");
    }
}

//! Whole lines, played on a server in memory that allows some things and not others, with a clock that a test winds on.
//!
//! What a waiter does here is what [`crate::attempt`] does, in short; the line, the tickets and what is pushed are the real
//! ones.
#![allow(clippy::unwrap_used)]

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use proptest::prelude::*;
use tokio::task::LocalSet;
use tokio::time::{sleep, sleep_until, timeout};

use super::keep::{Gone, Kept, Who};
use super::register::Register;
use super::*;
use crate::message::Origin;
use git::object::{Entry, Mode, Named};
use git::{Depth, Identity, Interest, Note, RemoteError, StoreError};

pub(super) const SECOND: Duration = Duration::from_secs(1);

/// How many lines of each kind are played.
const CASES: u32 = 24;

/// What a request takes, there and back.
pub(super) const REQUEST: Duration = Duration::from_millis(20);

/// What a server allows to do with tickets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rights {
    make: bool,
    list: bool,
    r#move: bool,
    delete: bool,
    /// Several refs as one.
    atomic: bool,
}

const ALL: Rights = Rights {
    make: true,
    list: true,
    r#move: true,
    delete: true,
    atomic: true,
};

struct Server {
    rights: Rights,
    refs: BTreeMap<String, Oid>,
    said: HashMap<Oid, Said>,
    /// The branch: how often it has moved, and who holds the one lock.
    moves: u64,
    holder: Option<usize>,
    grants: Vec<usize>,
    /// Who pushed for tickets, and when.
    pushes: Vec<(usize, Instant)>,
    looks: Vec<(usize, Instant)>,
}

#[derive(Clone)]
struct Client {
    server: Rc<RefCell<Server>>,
    who: usize,
    here: Notes,
}

/// The notes that a client has made or fetched.
#[derive(Clone, Default)]
pub(super) struct Notes(Rc<RefCell<HashMap<Oid, Said>>>);

impl Notes {
    pub fn make(&self, note: &Note<'_>) -> (Oid, Vec<Oid>) {
        let said = Said::by(note.message.as_bytes(), i64::try_from(note.time).unwrap());
        self.0.borrow_mut().insert(note.id(), said);
        (note.id(), Vec::new())
    }

    pub fn said(&self, commit: Oid) -> Said {
        self.0
            .borrow()
            .get(&commit)
            .cloned()
            .unwrap_or(Said::NotHere)
    }

    /// All of them get to a server.
    pub fn are_sent(&self, server: &mut HashMap<Oid, Said>) {
        server.extend(self.0.borrow().clone());
    }

    /// Those that are wanted come from a server, as far as it has them.
    pub fn are_read(&self, wanted: &[Oid], server: &HashMap<Oid, Said>) {
        let there = wanted.iter();
        let there = there.filter_map(|id| Some((*id, server.get(id)?.clone())));
        self.0.borrow_mut().extend(there);
    }
}

thread_local! {
    pub(super) static BEGAN: Cell<Option<Instant>> = const { Cell::new(None) };
}

pub(super) fn clock() -> u64 {
    let began = BEGAN.get().unwrap_or_else(Instant::now);
    1_800_000_000 + began.elapsed().as_secs()
}

pub(super) fn head(moves: u64) -> Oid {
    Oid::from_str(&format!("{:040x}", moves + 1)).unwrap()
}

impl Server {
    fn new(rights: Rights) -> Rc<RefCell<Server>> {
        BEGAN.set(Some(Instant::now()));
        Rc::new(RefCell::new(Server {
            rights,
            refs: BTreeMap::new(),
            said: HashMap::new(),
            moves: 0,
            holder: Some(usize::MAX),
            grants: Vec::new(),
            pushes: Vec::new(),
            looks: Vec::new(),
        }))
    }

    fn listing(&self) -> Listing {
        let start = "refs/pool-queue/main/aws/";
        let listed = self.refs.iter().filter(|_| self.rights.list);
        Listing {
            besides: BTreeMap::new(),
            head: head(self.moves),
            watched: listed
                .map(|(name, at)| (name.strip_prefix(start).unwrap().to_owned(), *at))
                .collect(),
        }
    }

    fn change(&mut self, update: &RefUpdate, dry: bool) -> Option<String> {
        let at = self.refs.get(&update.name).copied();
        let allowed = match (update.old, update.new) {
            (None, _) => self.rights.make,
            (_, None) => self.rights.delete,
            _ => self.rights.r#move,
        };
        if !allowed || at != update.old {
            // The same words, whatever it is.
            return Some("no".to_owned());
        }
        if !dry {
            match update.new {
                Some(new) => drop(self.refs.insert(update.name.clone(), new)),
                None => drop(self.refs.remove(&update.name)),
            }
        }
        None
    }

    fn release(&mut self) {
        self.holder = None;
        self.moves += 1;
    }
}

impl Register for Client {
    async fn look(&mut self) -> Result<Listing, RemoteError> {
        sleep(REQUEST).await;
        let mut server = self.server.borrow_mut();
        server.looks.push((self.who, Instant::now()));
        Ok(server.listing())
    }

    async fn change(
        &self,
        updates: &[RefUpdate],
        together: bool,
        _: &[Oid],
    ) -> Result<Vec<Option<String>>, RemoteError> {
        sleep(REQUEST).await;
        let mut server = self.server.borrow_mut();
        server.pushes.push((self.who, Instant::now()));
        self.here.are_sent(&mut server.said);
        let as_one = together && server.rights.atomic;
        if as_one
            && updates
                .iter()
                .any(|update| server.change(update, true).is_some())
        {
            return Ok(vec![Some("no".to_owned()); updates.len()]);
        }
        Ok(updates
            .iter()
            .map(|update| server.change(update, false))
            .collect())
    }

    fn make(&self, note: &Note<'_>) -> Result<(Oid, Vec<Oid>), StoreError> {
        Ok(self.here.make(note))
    }

    fn said(&self, commit: Oid) -> Said {
        self.here.said(commit)
    }
}

/// How a waiter was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Killed,
    Stopped,
}

/// One who waits.
#[derive(Debug, Clone, Copy)]
struct Waiter {
    arrives: Duration,
    ends: Option<(Duration, End)>,
    patience: Option<Duration>,
    /// How long he holds the lock.
    holds: Duration,
    /// Which step he is a run of.
    step: Option<u8>,
}

fn pool(is_free: bool) -> Pool {
    let lock = [Named {
        name: b"env-1".to_vec(),
        entry: Entry {
            mode: Mode::File,
            id: Oid::ZERO_SHA1,
        },
    }];
    let (claimed, free): (&[Named], &[Named]) = if is_free { (&[], &lock) } else { (&lock, &[]) };
    Pool::new(PoolName::new("aws").unwrap(), claimed, free)
}

fn queue(patience: Option<Duration>, step: Option<u8>) -> Queue {
    let settings = InLine {
        priority: 0,
        renewal: 20 * SECOND,
        step: step.map(|step| step.to_string()),
        ..InLine::default()
    };
    let patience = Patience {
        limit: patience,
        retry_delay: 10 * SECOND,
    };
    let pool = PoolName::new("aws").unwrap();
    let need = Need::Any(Want::default());
    Queue::with_clock("main", &pool, need, settings, patience, clock)
}

impl Client {
    fn of(server: &Rc<RefCell<Server>>, who: usize) -> Client {
        Client {
            server: server.clone(),
            who,
            here: Notes::default(),
        }
    }

    /// A look with what is fetched after it, as [`crate::attempt`] has it.
    async fn round(&self, queue: &mut Queue, last: &mut Option<(u64, bool)>) {
        sleep(REQUEST).await;
        let listing = {
            let mut server = self.server.borrow_mut();
            server.looks.push((self.who, Instant::now()));
            server.listing()
        };
        if let Interest::Head(_, unread) = queue.interest(&listing, Depth::HEAD) {
            sleep(REQUEST).await;
            let server = self.server.borrow();
            self.here.are_read(&unread, &server.said);
            *last = Some((server.moves, server.holder.is_none()));
        }
        queue.observe(&listing, &|commit| self.said(commit), REQUEST);
    }

    async fn keep(&mut self, queue: &mut Queue) {
        let origin = Origin::default();
        let identity = Identity::default();
        let who = Who {
            origin: &origin,
            identity: &identity,
        };
        let kept = queue.keep(self, who, std::future::pending()).await.unwrap();
        if let Kept::Without(_) = kept {
            queue.go_without();
            queue.leave(self).await.unwrap();
        }
    }

    /// Waits for the lock, and says whether it was had.
    async fn acquire(&mut self, queue: &mut Queue) -> bool {
        let mut last = None;
        let began = Instant::now();
        loop {
            self.round(queue, &mut last).await;
            let Some((moves, is_free)) = last else {
                continue;
            };
            let standing = queue.standing(&pool(is_free), head(moves), |_, _| true);
            queue.note_standing(&standing, head(moves));
            if is_free && !matches!(standing.turn, Turn::Theirs { .. }) {
                sleep(REQUEST).await;
                if self.claim(moves, queue) {
                    return true;
                }
                queue.note_overtaken();
                if !queue.has_ticket() {
                    self.keep(queue).await;
                }
                continue;
            }
            if queue
                .patience
                .limit
                .is_some_and(|limit| began.elapsed() >= limit)
            {
                match queue.one_more_look() {
                    Some(pause) => sleep(pause).await,
                    None => return false,
                }
                continue;
            }
            if !queue.has_ticket() {
                match queue.clear_left(self).await.unwrap() {
                    true => queue.go_without(),
                    false => self.keep(queue).await,
                }
            }
            queue.clear(self).await.unwrap();
            let end = Instant::now() + queue.pause(Some(standing.place));
            while let Some(due) = queue.renewal_due().filter(|due| *due < end) {
                sleep_until(due).await;
                self.keep(queue).await;
            }
            sleep_until(end).await;
        }
    }

    fn claim(&self, moves: u64, queue: &mut Queue) -> bool {
        let mut server = self.server.borrow_mut();
        if server.moves != moves || server.holder.is_some() {
            return false;
        }
        server.moves += 1;
        server.holder = Some(self.who);
        server.grants.push(self.who);
        if server.rights.atomic
            && server.rights.delete
            && let Some(withdrawal) = queue.withdrawal()
            && server.change(&withdrawal, false).is_none()
        {
            queue.forget_ticket();
        }
        true
    }

    async fn live(mut self, waiter: Waiter) -> Option<Duration> {
        sleep(waiter.arrives).await;
        let began = Instant::now();
        let mut queue = queue(waiter.patience, waiter.step);
        let granted = match waiter.ends {
            None => self.acquire(&mut queue).await,
            Some((after, end)) => match timeout(after, self.acquire(&mut queue)).await {
                Ok(granted) => granted,
                Err(_) if end == End::Killed => return None,
                Err(_) => false,
            },
        };
        let took = began.elapsed();
        let gone = timeout(4500 * SECOND / 1000, queue.leave(&mut self)).await;
        if self.server.borrow().rights == ALL {
            assert_eq!(gone.unwrap().unwrap(), Gone::Away);
        }
        if granted {
            sleep(waiter.holds).await;
            self.server.borrow_mut().release();
        }
        granted.then_some(took)
    }
}

/// Plays a line; the lock is held by somebody else until `free`. Gives who got the lock after which time.
fn play(
    rights: Rights,
    free: Duration,
    waiters: &[Waiter],
) -> (Rc<RefCell<Server>>, Vec<Option<Duration>>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let local = LocalSet::new();
    local.block_on(&runtime, async {
        let server = Server::new(rights);
        let tasks: Vec<_> = waiters
            .iter()
            .enumerate()
            .map(|(who, waiter)| {
                let client = Client::of(&server, who);
                tokio::task::spawn_local(client.live(*waiter))
            })
            .collect();
        sleep(free).await;
        server.borrow_mut().release();
        let mut all = Vec::new();
        for task in tasks {
            all.push(timeout(36_000 * SECOND, task).await.unwrap().unwrap());
        }
        (server, all)
    })
}

fn patient(arrives: Duration) -> Waiter {
    Waiter {
        arrives,
        ends: None,
        patience: None,
        holds: SECOND,
        step: None,
    }
}

fn some_rights() -> impl Strategy<Value = Rights> {
    any::<[bool; 5]>().prop_map(|[make, list, r#move, delete, atomic]| Rights {
        make,
        list,
        r#move,
        delete,
        atomic,
    })
}

fn some_waiters() -> impl Strategy<Value = Vec<Waiter>> {
    let end = (1_u64..900_000, any::<bool>());
    let step = proptest::option::weighted(0.3, 0_u8..2);
    let waiter = (
        2000_u64..20_000,
        proptest::option::of(end),
        1_u64..30_000,
        step,
    );
    prop::collection::vec(waiter, 1..8).prop_map(|waiters| {
        let mut arrives = Duration::ZERO;
        let each = waiters.into_iter().map(|(after, end, holds, step)| {
            arrives += Duration::from_millis(after);
            let kind = |killed| if killed { End::Killed } else { End::Stopped };
            Waiter {
                arrives,
                ends: end.map(|(after, killed)| (Duration::from_millis(after), kind(killed))),
                patience: None,
                holds: Duration::from_millis(holds),
                step,
            }
        });
        each.collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever a server allows and whoever dies when: everybody who lives is served; where there is a line, in the order
    /// of arrival.
    #[test]
    fn nobody_alive_loses_his_place_for_somebody_dead(
        rights in some_rights(), free in 0_u64..600, waiters in some_waiters()
    ) {
        let (server, times) = play(rights, Duration::from_secs(free), &waiters);

        let server = server.borrow();
        for (waiter, time) in waiters.iter().zip(&times) {
            prop_assert!(waiter.ends.is_some() || time.is_some());
        }
        if (Rights { atomic: true, ..rights }) == ALL {
            // Who takes over the place of another run of his step is served before those who came between.
            let alive = |who: &&usize| waiters[**who].ends.is_none() && waiters[**who].step.is_none();
            let served: Vec<&usize> = server.grants.iter().filter(alive).collect();
            prop_assert!(served.is_sorted(), "{served:?}");
        }
    }

    /// A lock that is free, and nobody alive who waits: one look more, and not a minute.
    #[test]
    fn an_acquire_of_a_free_lock_is_one_look_slower_at_most_for_those_who_are_gone(
        rights in some_rights(), ghosts in prop::collection::vec((0_u64..200_000, 1_u64..200_000, any::<bool>()), 0..40),
        patience in prop_oneof![Just(None), Just(Some(Duration::ZERO)), Just(Some(SECOND)), Just(Some(30 * SECOND))]
    ) {
        let mut waiters: Vec<Waiter> = ghosts
            .into_iter()
            .map(|(arrives, after, killed)| Waiter {
                ends: Some((Duration::from_millis(after), if killed { End::Killed } else { End::Stopped })),
                ..patient(Duration::from_millis(arrives))
            })
            .collect();
        waiters.push(Waiter { patience, ..patient(500 * SECOND) });

        let (_, times) = play(rights, 410 * SECOND, &waiters);

        let took = times.last().unwrap();
        prop_assert!(took.is_some_and(|took| took < 5 * SECOND), "{took:?}");
    }

    /// However it goes, the server is not pushed to without an end, and looked at by a line as by a few.
    #[test]
    fn the_load_of_a_line_is_bounded_whatever_the_server_allows(rights in some_rights(), many in 1_usize..16) {
        let waiters: Vec<Waiter> = (0..many)
            .map(|n| Waiter {
                ends: Some((1200 * SECOND, End::Stopped)),
                ..patient(SECOND * u32::try_from(n).unwrap())
            })
            .collect();

        let (server, _) = play(rights, 3000 * SECOND, &waiters);

        let server = server.borrow();
        for who in 0..many {
            let pushes = server.pushes.iter().filter(|(pusher, _)| *pusher == who).count();
            prop_assert!(pushes < 70, "{pushes} pushes by {who}");
        }
        let first = server.looks.first().unwrap().1;
        let (from, to) = (first + 600 * SECOND, first + 1100 * SECOND);
        let in_time = |moments: &[(usize, Instant)]| moments.iter().filter(|(_, at)| (from..to).contains(at)).count();
        // Without a line everybody looks after `retry_delay`, as he is told.
        let looks = in_time(&server.looks) as f64 / 500.0;
        prop_assert!(looks < 8.0, "{looks} looks a second");
        let pushes = in_time(&server.pushes) as f64 / 500.0 * 60.0;
        prop_assert!(pushes < 5.0, "{pushes} pushes a minute");
    }
}

#[test]
fn thirty_who_are_there_are_served_in_order_though_most_of_them_sleep() {
    let waiters: Vec<Waiter> = (0..30)
        .map(|n| Waiter {
            holds: Duration::from_millis(100),
            ..patient(SECOND * n)
        })
        .collect();

    let (server, _) = play(ALL, 600 * SECOND, &waiters);

    let server = server.borrow();
    assert_eq!(server.grants, (0..30).collect::<Vec<_>>());
    assert!(server.refs.is_empty());
}

/// The grants of a line in which `others` wait, the first of them killed after a while and run again by `again`.
fn with_a_rerun(rights: Rights, killed_after: Duration, again: Waiter) -> (Vec<usize>, usize) {
    let killed = Waiter {
        ends: Some((killed_after, End::Killed)),
        step: Some(1),
        ..patient(SECOND)
    };
    let waiters = [
        killed,
        patient(5 * SECOND),
        patient(8 * SECOND),
        Waiter {
            step: Some(1),
            ..again
        },
    ];
    let (server, _) = play(rights, 120 * SECOND, &waiters);
    let server = server.borrow();
    (server.grants.clone(), server.refs.len())
}

#[test]
fn a_step_that_is_run_again_takes_over_its_place_in_line() {
    for arrives in [25, 40, 50] {
        let again = patient(arrives * SECOND);
        let (grants, left) = with_a_rerun(ALL, 20 * SECOND, again);
        assert_eq!((grants, left), (vec![3, 1, 2], 0), "after {arrives} s");
    }
}

#[test]
fn where_tickets_cannot_be_taken_away_the_earlier_one_is_in_nobodys_way() {
    let rights = Rights {
        delete: false,
        ..ALL
    };
    let (grants, _) = with_a_rerun(rights, 20 * SECOND, patient(40 * SECOND));
    assert_eq!(grants, [3, 1, 2]);
}

#[test]
fn a_rerun_that_gives_up_takes_the_earlier_ticket_with_it() {
    let again = Waiter {
        ends: Some((10 * SECOND, End::Stopped)),
        ..patient(40 * SECOND)
    };
    assert_eq!(with_a_rerun(ALL, 20 * SECOND, again), (vec![1, 2], 0));
}

#[test]
fn two_runs_of_a_step_that_are_both_alive_both_keep_their_places() {
    let twin = Waiter {
        step: Some(1),
        ..patient(SECOND)
    };
    let waiters = [
        twin,
        patient(5 * SECOND),
        Waiter {
            arrives: 20 * SECOND,
            ..twin
        },
        patient(30 * SECOND),
    ];
    let (server, _) = play(ALL, 120 * SECOND, &waiters);
    let server = server.borrow();
    let mut first_two = server.grants[..2].to_vec();
    first_two.sort_unstable();
    assert_eq!(first_two, [0, 2], "{:?}", server.grants);
    assert_eq!(server.grants[2..], [1, 3]);
    assert!(server.refs.is_empty());
}

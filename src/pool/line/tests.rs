//! The order and the walk, by tables and against an independent answer.
#![allow(clippy::unwrap_used)]

use std::num::NonZeroUsize;

use proptest::prelude::*;

use super::*;
use crate::lock::{ClaimId, Holding, PoolName};
use crate::message::Origin;
use crate::operation::{Condition, Wanted};
use git::object::{Entry, Mode, Named, Oid};

fn place(number: u64, priority: i32, raised: u32, id: &str) -> PlaceName {
    PlaceName {
        number,
        priority,
        raised,
        id: id.to_owned(),
    }
}

fn ticket(number: u64, priority: i32, raised: u32, id: &str) -> Ticket {
    Ticket {
        place: place(number, priority, raised, id),
        need: some(1),
    }
}

fn some(count: usize) -> Need {
    Need::Any(Want {
        all: false,
        count: NonZeroUsize::new(count).unwrap(),
        conditions: Vec::new(),
        among: Vec::new(),
    })
}

fn lock(name: &str) -> LockName {
    LockName::new(name).unwrap()
}

fn only(name: &str) -> Need {
    Need::Lock(lock(name))
}

fn pool(claimed: &[&str], free: &[&str]) -> Pool {
    let named = |names: &[&str]| -> Vec<Named> {
        names
            .iter()
            .map(|name| Named {
                name: name.as_bytes().to_owned(),
                entry: Entry {
                    mode: Mode::File,
                    id: Oid::ZERO_SHA1,
                },
            })
            .collect()
    };
    assert_eq!(Holding::Claimed.folder(), "claimed");
    Pool::new(PoolName::new("aws").unwrap(), &named(claimed), &named(free))
}

fn order(tickets: &[Ticket]) -> Vec<String> {
    in_order(tickets.to_vec())
        .into_iter()
        .map(|ticket| ticket.place.id)
        .collect()
}

fn turns(line: &[Need], pool: &Pool) -> Vec<Turn> {
    (0..line.len())
        .map(|me| standing(line, me, pool, |_, _| true).turn)
        .collect()
}

fn ours(names: &[&str]) -> Turn {
    Turn::Ours(names.iter().map(|name| lock(name)).collect())
}

#[test]
fn a_place_is_read_back_from_its_name_and_nothing_else_is_a_place() {
    for place in [
        place(1, 0, 0, "a-1"),
        place(12_345_678_901, -3, 7, &uuid::Uuid::new_v4().to_string()),
        place(0, 1000, 0, "Z"),
    ] {
        assert_eq!(PlaceName::parse(&place.name()), Some(place));
    }
    for name in [
        "",
        "1.0.0.a",
        "0000000001.0.0",
        "0000000001.0.0.",
        "0000000001.1001.0.a",
        "0000000001.+1.0.a",
        "0000000001.0.-1.a",
        "0000000001.0.0.a/b",
        "0000000001.0.0.a.b",
        "x.0.0.a",
        "99999999999999999999.0.0.a",
    ] {
        assert_eq!(PlaceName::parse(name), None, "{name}");
    }
}

#[test]
fn a_ticket_says_who_waits_for_what_and_is_read_back() {
    let origin = Origin {
        prefix: "ops/web/deploy build 12".to_owned(),
        url: Some("https://ci.example.com/builds/4711".to_owned()),
        instance_vars: Some("{\"a\": 1}".to_owned()),
        ..Origin::default()
    };
    let conditions = vec![
        Condition {
            path: "region".into(),
            value: Wanted::Text("eu west = 1".into()),
        },
        Condition {
            path: "a.b".into(),
            value: Wanted::Text(String::new()),
        },
    ];
    let all = Want {
        all: true,
        ..Want::default()
    };
    let want = Want {
        count: NonZeroUsize::new(3).unwrap(),
        all: false,
        conditions,
        among: Vec::new(),
    };
    let named = ['b', 'a'].map(|name| LockName::new(&name.to_string()).unwrap());
    for (need, subject) in [
        (Need::Any(Want::exactly(named.to_vec())), "waiting for a, b"),
        (some(1), "waiting for any lock"),
        (only("ü \"x\""), "waiting for ü \"x\""),
        (Need::Any(want), "waiting for any 3 locks"),
        (Need::Any(all), "waiting for all locks"),
    ] {
        let text = TicketText {
            subject: format!("ops/web/deploy build 12 {subject}"),
            url: origin.url.clone(),
            need,
            since: 1_700_000_000,
            renewal: Duration::from_secs(20),
            step: origin.url.clone(),
            build: origin.build_id.clone(),
            also: ["db", "team/net"]
                .map(|name| PoolName::new(name).unwrap())
                .into(),
            within: vec![ClaimId(left(Oid::ZERO_SHA1).id())],
            instance_vars: origin.instance_vars.clone(),
            newest: true,
            gives_way: true,
        };

        let written = text.compose(&origin);

        assert_eq!(TicketText::parse(written.as_bytes()), Some(text.clone()));
        let read = text.origin();
        assert_eq!(
            (&read.prefix, &read.url, &read.build_id),
            (&origin.prefix, &origin.url, &origin.build_id)
        );
        assert!(!says_left(written.as_bytes()));
    }
    for text in [
        "",
        "x",
        "x\n\nPool-Count: 0\nPool-Since: 2026-01-01T00:00:00Z\nPool-Renewal: 20s\n",
    ] {
        assert_eq!(TicketText::parse(text.as_bytes()), None, "{text}");
    }
}

#[test]
fn who_came_first_is_served_first_unless_somebody_is_more_urgent() {
    let line = [
        ticket(3, 0, 0, "c"),
        ticket(1, 0, 0, "a"),
        ticket(4, 5, 0, "d"),
        ticket(2, 0, 0, "b"),
        ticket(4, 5, 0, "D"),
        ticket(5, -1, 0, "e"),
    ];

    assert_eq!(order(&line), ["D", "d", "a", "b", "c", "e"]);
}

#[test]
fn waiting_raises_a_priority_and_that_of_all_who_came_before() {
    // `b` has noticed that it waits for long, and `a` not yet.
    let line = [
        ticket(1, 0, 0, "a"),
        ticket(2, 0, 3, "b"),
        ticket(3, 0, 0, "c"),
        ticket(9, 2, 0, "urgent"),
    ];
    assert_eq!(order(&line), ["a", "b", "urgent", "c"]);

    // One that is less urgent does not gain by it.
    let line = [ticket(1, -5, 0, "a"), ticket(2, 0, 3, "b")];
    assert_eq!(order(&line), ["b", "a"]);
}

#[test]
fn each_in_turn_gets_a_lock_and_the_rest_wait() {
    let line = [some(1), some(1), some(1)];
    let turns = turns(&line, &pool(&["x"], &["a", "b"]));

    assert!(matches!(&turns[0], Turn::Ours(locks) if locks.len() == 1));
    assert!(matches!(&turns[1], Turn::Ours(locks) if locks.len() == 1));
    assert_ne!(turns[0], turns[1]);
    assert_eq!(turns[2], Turn::Theirs { ahead: 2 });
}

#[test]
fn who_can_take_any_lock_leaves_a_later_one_the_lock_that_it_needs() {
    for needed in ["a", "b"] {
        let turns = turns(&[some(1), only(needed)], &pool(&[], &["a", "b"]));
        let other = if needed == "a" { "b" } else { "a" };
        assert_eq!(turns, [ours(&[other]), ours(&[needed])]);
    }
    assert_eq!(
        turns(&[some(1), only("a")], &pool(&["b"], &["a"])),
        [ours(&["a"]), Turn::Theirs { ahead: 1 }]
    );
}

#[test]
fn different_needs_do_not_wait_for_each_other() {
    let turns = turns(
        &[only("a"), only("a"), only("b"), only("nowhere")],
        &pool(&["a"], &["b"]),
    );

    assert_eq!(turns[2], ours(&["b"]));
    assert_eq!(turns[1], Turn::Theirs { ahead: 1 });
    assert_eq!(turns[3], Turn::Open, "it waits for what is not there");
}

#[test]
fn who_needs_several_gets_all_or_none_and_is_not_starved_meanwhile() {
    let line = [some(2), some(1)];

    assert_eq!(
        turns(&line, &pool(&["a"], &["b"])),
        [Turn::Open, Turn::Theirs { ahead: 1 }]
    );
    assert_eq!(
        turns(&line, &pool(&["c"], &["a", "b"])),
        [ours(&["a", "b"]), Turn::Theirs { ahead: 1 }]
    );
    // More than there are at all: keeps nothing from anybody.
    let line = [some(3), some(1)];
    assert_eq!(turns(&line, &pool(&["a"], &["b"]))[1], ours(&["b"]));
}

#[test]
fn a_standing_tells_the_place_among_those_who_want_the_same() {
    let line = [only("a"), only("b"), some(1), only("a"), only("c")];
    let at = |me| standing(&line, me, &pool(&["a", "b"], &["c"]), |_, _| true);

    let mine = at(3);
    assert_eq!((mine.place, mine.waiting, mine.usable), (3, 3, 1));
    let last = at(4);
    assert_eq!(
        (last.place, last.waiting, last.served_before),
        (2, 2, vec![2])
    );
}

/// One who needs every lock.
fn all() -> Need {
    Need::Any(Want {
        all: true,
        ..Want::default()
    })
}

#[test]
fn who_needs_all_locks_keeps_what_is_free_from_those_behind_and_takes_nothing_from_those_before() {
    let line = [some(1), all(), some(1)];
    assert_eq!(
        turns(&line, &pool(&["c"], &["a", "b"]))[1..],
        [Turn::Theirs { ahead: 1 }, Turn::Theirs { ahead: 2 }]
    );
    let line = [all(), some(1)];
    assert_eq!(
        turns(&line, &pool(&[], &["a", "b"])),
        [ours(&["a", "b"]), Turn::Theirs { ahead: 1 }]
    );
    // While one is damaged it cannot be served, and keeps nothing.
    let damaged = pool(&["a"], &["a", "b"]);
    assert_eq!(turns(&line, &damaged), [Turn::Open, ours(&["b"])]);
    // In a pool without locks it keeps nothing, and waits for the first.
    assert_eq!(turns(&line, &pool(&[], &[]))[0], Turn::Open);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    Reads,
    Writes,
    Ends(usize),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        4 => Just(Event::Reads),
        2 => Just(Event::Writes),
        5 => (0usize..8).prop_map(Event::Ends),
    ];
    prop::collection::vec(event, 0..60)
}

proptest! {
    #[test]
    fn readers_and_writers_share_a_pool_of_slots_and_neither_starves_the_other(events in events(), slots in 1usize..4) {
        let names: Vec<String> = (0..slots).map(|n| format!("slot-{n}")).collect();
        // Who waits, by arrival, and whether for all; who holds what.
        let mut waits: Vec<(usize, bool)> = Vec::new();
        let mut holds: Vec<(usize, Vec<String>)> = Vec::new();
        // All who wait come to their end when those who hold do.
        let ends = std::iter::repeat_n(Event::Ends(0), 2 * events.len());
        for (n, event) in events.iter().copied().chain(ends).enumerate() {
            match event {
                Event::Reads => waits.push((n, false)),
                Event::Writes => waits.push((n, true)),
                Event::Ends(who) if !holds.is_empty() => drop(holds.remove(who % holds.len())),
                Event::Ends(_) => {}
            }
            loop {
                let held: Vec<&str> = holds.iter().flat_map(|(_, held)| held).map(String::as_str).collect();
                let free: Vec<&str> = names.iter().map(String::as_str).filter(|name| !held.contains(name)).collect();
                let pool = pool(&held, &free);
                let line: Vec<Need> = waits.iter().map(|(_, writes)| if *writes { all() } else { some(1) }).collect();
                let served = (0..line.len()).find_map(|me| match standing(&line, me, &pool, |_, _| true).turn {
                    Turn::Ours(locks) => Some((me, locks)),
                    Turn::Open if me == 0 && free.len() >= if waits[me].1 { slots } else { 1 } => {
                        Some((me, free.iter().map(|name| lock(name)).take(if waits[me].1 { slots } else { 1 }).collect()))
                    }
                    _ => None,
                });
                let Some((me, locks)) = served else {
                    // Nothing that could be used lies idle: the first in line cannot be served.
                    if let Some((_, writes)) = waits.first() {
                        let needs = if *writes { slots } else { 1 };
                        prop_assert!(free.len() < needs);
                    }
                    break;
                };
                let (arrived, writes) = waits.remove(me);
                prop_assert_eq!(locks.len(), if writes { slots } else { 1 });
                // Nobody passes a writer who came before, and no writer passes anybody.
                for (other, other_writes) in &waits {
                    prop_assert!(*other > arrived || !(writes || *other_writes), "{} passes {}", arrived, other);
                }
                for lock in &locks {
                    prop_assert!(free.contains(&lock.as_str()), "granted twice");
                }
                holds.push((arrived, locks.iter().map(|lock| lock.as_str().to_owned()).collect()));
            }
        }
        prop_assert_eq!(waits, vec![]);
    }
}

#[test]
fn conditions_leave_the_locks_that_fit() {
    let want = Want {
        count: NonZeroUsize::MIN,
        all: false,
        conditions: vec![Condition {
            path: "gpu".into(),
            value: Wanted::Switch(true),
        }],
        among: Vec::new(),
    };
    let fits = |want: &Want, lock: &LockName| {
        want.conditions.is_empty() || lock.as_str().starts_with("gpu")
    };
    let line = [some(1), Need::Any(want.clone()), Need::Any(want)];
    let pool = pool(&[], &["cpu", "gpu"]);
    let at = |me| standing(&line, me, &pool, fits);

    assert_eq!(at(0).turn, ours(&["cpu"]));
    assert_eq!(at(1).turn, ours(&["gpu"]));
    assert_eq!(at(2).turn, Turn::Theirs { ahead: 2 });
    assert_eq!(at(2).usable, 1);
}

/// Whether all of these demands (of one lock each) can have a free lock at once; by trying, without cleverness.
fn all_can(demands: &[&Demand], free: &[bool]) -> bool {
    fn seat(
        who: usize,
        demands: &[&Demand],
        free: &[bool],
        owner: &mut [Option<usize>],
        seen: &mut [bool],
    ) -> bool {
        (0..free.len()).any(|lock| {
            let takes = match &demands[who].takes {
                Takes::Anything => true,
                Takes::Only(some) => some.contains(&lock),
            };
            if !free[lock] || !takes || seen[lock] {
                return false;
            }
            seen[lock] = true;
            let possible = match owner[lock] {
                None => true,
                Some(other) => seat(other, demands, free, owner, seen),
            };
            if possible {
                owner[lock] = Some(who);
            }
            possible
        })
    }
    let mut owner = vec![None; free.len()];
    (0..demands.len()).all(|who| seat(who, demands, free, &mut owner, &mut vec![false; free.len()]))
}

fn demands(locks: usize, most: usize) -> impl Strategy<Value = Vec<Demand>> {
    let takes = prop_oneof![
        1 => Just(Takes::Anything),
        3 => prop::collection::btree_set(0..locks, 0..4).prop_map(|some| Takes::Only(some.into_iter().collect())),
    ];
    prop::collection::vec(
        (1..=most, takes).prop_map(|(count, takes)| Demand { count, takes }),
        0..12,
    )
}

proptest! {
    #[test]
    fn nobody_gets_what_somebody_else_has_or_what_will_not_do(
        line in demands(6, 3), free in prop::collection::vec(any::<bool>(), 6)
    ) {
        let served = walk(&line, &free);

        let mut given = std::collections::BTreeSet::new();
        for (demand, locks) in line.iter().zip(&served) {
            let Some(locks) = locks else { continue };
            prop_assert_eq!(locks.len(), demand.count);
            for lock in locks {
                prop_assert!(free[*lock] && given.insert(*lock));
                if let Takes::Only(some) = &demand.takes {
                    prop_assert!(some.contains(lock));
                }
            }
        }
    }

    #[test]
    fn of_those_who_need_one_lock_each_is_served_exactly_if_all_before_him_leave_one(
        line in demands(6, 1), free in prop::collection::vec(any::<bool>(), 6)
    ) {
        let served = walk(&line, &free);

        let mut before: Vec<&Demand> = Vec::new();
        for (demand, locks) in line.iter().zip(&served) {
            before.push(demand);
            let could = all_can(&before, &free);
            prop_assert_eq!(locks.is_some(), could);
            if !could {
                before.pop();
            }
        }
    }

    #[test]
    fn those_behind_change_nothing_for_those_before(
        line in demands(6, 3), free in prop::collection::vec(any::<bool>(), 6), cut in 0..12_usize
    ) {
        let cut = cut.min(line.len());
        let is_served = |served: Vec<Option<Vec<usize>>>| -> Vec<bool> {
            served[..cut].iter().map(Option::is_some).collect()
        };

        prop_assert_eq!(is_served(walk(&line, &free)), is_served(walk(&line[..cut], &free)));
    }

    #[test]
    fn a_free_lock_is_withheld_only_for_somebody_before_who_collects(
        line in demands(6, 3), free in prop::collection::vec(any::<bool>(), 6)
    ) {
        let served = walk(&line, &free);
        let given: Vec<usize> = served.iter().flatten().flatten().copied().collect();

        for (who, demand) in line.iter().enumerate() {
            if served[who].is_some() || demand.count > 1 {
                continue;
            }
            for (lock, is_free) in free.iter().enumerate() {
                let takes = match &demand.takes {
                    Takes::Anything => true,
                    Takes::Only(some) => some.contains(&lock),
                };
                if takes && *is_free && !given.contains(&lock) {
                    let collects = line[..who].iter().zip(&served).any(|(other, served)| {
                        other.count > 1 && served.is_none()
                    });
                    prop_assert!(collects, "{lock} is free and {demand:?} could take it");
                }
            }
        }
    }

    #[test]
    fn the_order_is_that_of_arrival_among_equals_and_does_not_depend_on_how_it_is_listed(
        line in prop::collection::vec((0..20_u64, -3..4_i32, 0..4_u32), 0..20), turn in 0..20_usize
    ) {
        let tickets: Vec<Ticket> = line
            .iter()
            .enumerate()
            .map(|(n, (number, priority, raised))| ticket(*number, *priority, *raised, &format!("{n}")))
            .collect();
        let ordered = in_order(tickets.clone());

        for (n, before) in ordered.iter().enumerate() {
            for after in &ordered[n + 1..] {
                let (before, after) = (&before.place, &after.place);
                let overtaken = after.number < before.number && after.priority >= before.priority;
                prop_assert!(!overtaken, "{before:?} before {after:?}");
            }
        }
        let mut turned = tickets.clone();
        turned.rotate_left(turn.min(tickets.len()));
        prop_assert_eq!(in_order(turned), ordered);
    }

    #[test]
    fn a_stream_of_urgent_newcomers_is_passed_in_the_end(priority in 1..50_i32, seed in any::<u64>()) {
        // One lock is handed over each minute; somebody urgent comes each minute.
        let mut tickets = vec![(ticket(1, 0, 0, "patient"), 0_u32)];
        let mut served_at = None;
        for minute in 1..1000_u32 {
            let number = 1 + tickets.iter().map(|(ticket, _)| ticket.place.number).max().unwrap_or(0);
            tickets.push((ticket(number, priority, 0, &format!("{minute}")), minute));
            for (ticket, since) in &mut tickets {
                // Each counts for itself, some later than others.
                let late = (seed.rotate_left(minute) & 1) as u32;
                ticket.place.raised = (minute - *since).saturating_sub(late) / 5;
            }
            let first = in_order(tickets.iter().map(|(ticket, _)| ticket.clone()).collect()).remove(0);
            if first.place.id == "patient" {
                served_at = Some(minute);
                break;
            }
            tickets.retain(|(ticket, _)| ticket.place.id != first.place.id);
        }
        let limit = (priority as u32 + 2) * 5 + 2;
        prop_assert!(served_at.is_some_and(|minute| minute <= limit), "{served_at:?}, {limit}");
    }
}

//! Circles in graphs of every kind, against what the word means.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn one_of(locks: &[usize]) -> Vec<Demand> {
    vec![Demand {
        count: 1,
        locks: locks.to_vec(),
    }]
}

fn held(keepers: &[usize]) -> Lock {
    Lock::Held(keepers.to_vec())
}

#[test]
fn who_waits_for_himself_is_the_smallest_circle() {
    let graph = Graph {
        waiters: vec![one_of(&[0])],
        locks: vec![held(&[0])],
    };
    assert_eq!(graph.circles(), [[0]]);
}

#[test]
fn two_who_wait_for_each_other_and_three_in_a_ring_are_circles_and_who_waits_behind_them_is_in_none()
 {
    let ring = |n: usize| Graph {
        // The last one waits behind them.
        waiters: (0..n)
            .map(|i| one_of(&[(i + 1) % n]))
            .chain([one_of(&[0])])
            .collect(),
        locks: (0..n).map(|i| held(&[i])).collect(),
    };
    assert_eq!(ring(2).circles(), [[0, 1]]);
    assert_eq!(ring(3).circles(), [[0, 1, 2]]);
}

#[test]
fn a_waiter_for_any_lock_is_in_a_circle_only_if_all_locks_are_kept_in_it() {
    let graph = |second: Lock| Graph {
        waiters: vec![one_of(&[0, 1]), one_of(&[2])],
        locks: vec![held(&[1]), second, held(&[0])],
    };
    assert_eq!(graph(Lock::Open).circles(), Vec::<Vec<usize>>::new());
    assert_eq!(graph(held(&[1])).circles(), [[0, 1]]);
    assert_eq!(graph(held(&[0])).circles(), [[0, 1]]);
}

#[test]
fn a_circle_that_another_one_keeps_from_going_on_is_none_of_its_own() {
    // 0 and 1 wait for each other. 2 would do with a lock of 0's; 3 waits for 2.
    let graph = Graph {
        waiters: vec![one_of(&[1]), one_of(&[0]), one_of(&[0, 3]), one_of(&[2])],
        locks: vec![held(&[0]), held(&[1]), held(&[2]), held(&[3])],
    };
    assert_eq!(graph.circles(), [[0, 1]]);
    // If it needs both, it is one of its own.
    let mut both = graph;
    both.waiters[2][0].count = 2;
    assert_eq!(both.circles(), [[0, 1], [2, 3]]);
}

#[test]
fn what_there_is_too_little_of_is_no_circle() {
    let graph = Graph {
        waiters: vec![vec![Demand {
            count: 2,
            locks: vec![0],
        }]],
        locks: vec![held(&[0])],
    };
    assert_eq!(graph.circles(), Vec::<Vec<usize>>::new());
}

#[test]
fn a_free_lock_that_is_kept_for_who_collects_several_closes_a_circle_as_well() {
    // 0 needs both locks, and keeps the free one; 1 holds the other, and needs one more.
    let both = Demand {
        count: 2,
        locks: vec![0, 1],
    };
    let graph = Graph {
        waiters: vec![vec![both], one_of(&[0, 1])],
        locks: vec![Lock::Kept(0), held(&[1])],
    };
    assert_eq!(graph.circles(), [[0, 1]]);
}

#[test]
fn a_ring_of_thousands_takes_no_deep_stack() {
    let n = 2000;
    let graph = Graph {
        waiters: (0..n).map(|i| one_of(&[(i + 1) % n])).collect(),
        locks: (0..n).map(|i| held(&[i])).collect(),
    };
    assert_eq!(graph.circles(), [(0..n).collect::<Vec<usize>>()]);
}

fn graphs() -> impl Strategy<Value = Graph> {
    (1usize..6, 1usize..6).prop_flat_map(|(waiters, locks)| {
        let lock = prop_oneof![
            1 => Just(Lock::Open),
            5 => prop::collection::btree_set(0..waiters, 0..3)
                .prop_map(|keepers| Lock::Held(keepers.into_iter().collect())),
            1 => (0..waiters).prop_map(Lock::Kept),
        ];
        let demand =
            (1usize..3, prop::collection::btree_set(0..locks, 1..4)).prop_map(|(count, locks)| {
                Demand {
                    count,
                    locks: locks.into_iter().collect(),
                }
            });
        let demands = prop::collection::vec(demand, 1..3);
        (
            prop::collection::vec(demands, waiters),
            prop::collection::vec(lock, locks),
        )
            .prop_map(|(waiters, locks)| Graph { waiters, locks })
    })
}

/// Whether all can go on in some order, tried in every order: who goes on gives back what it keeps.
fn some_order_ends_well(graph: &Graph, left: &BTreeSet<usize>) -> BTreeSet<usize> {
    let mut best = left.clone();
    for waiter in left {
        let is_left: Vec<bool> = (0..graph.waiters.len())
            .map(|n| left.contains(&n))
            .collect();
        let goes = graph.waiters[*waiter].iter().all(|demand| {
            let there = demand
                .locks
                .iter()
                .filter(|lock| match &graph.locks[**lock] {
                    Lock::Open => true,
                    Lock::Held(keepers) => keepers.iter().all(|keeper| !is_left[*keeper]),
                    Lock::Kept(keeper) => keeper == waiter || !is_left[*keeper],
                });
            there.count() >= demand.count || demand.locks.len() < demand.count
        });
        if goes {
            let mut rest = left.clone();
            rest.remove(waiter);
            let rest = some_order_ends_well(graph, &rest);
            if rest.len() < best.len() {
                best = rest;
            }
        }
    }
    best
}

fn reached(graph: &Graph, from: usize, among: &[usize]) -> BTreeSet<usize> {
    let mut seen = BTreeSet::new();
    let mut open = vec![from];
    while let Some(at) = open.pop() {
        for (_, to) in graph.edges(at, among) {
            if seen.insert(to) {
                open.push(to);
            }
        }
    }
    seen
}

proptest! {
    #[test]
    fn there_is_a_circle_exactly_when_no_order_lets_everybody_go_on(graph in graphs()) {
        let all: BTreeSet<usize> = (0..graph.waiters.len()).collect();
        let left = some_order_ends_well(&graph, &all);
        prop_assert_eq!(graph.circles().is_empty(), left.is_empty());
        let stuck: BTreeSet<usize> = graph.stuck(&all.into_iter().collect::<Vec<_>>()).into_iter().collect();
        prop_assert_eq!(&stuck, &left);
        for circle in graph.circles() {
            prop_assert!(circle.iter().all(|waiter| left.contains(waiter)));
        }
    }

    #[test]
    fn in_a_circle_everybody_waits_for_everybody_and_nobody_else_can_help(graph in graphs()) {
        let mut seen = BTreeSet::new();
        for circle in graph.circles() {
            let members: BTreeSet<usize> = circle.iter().copied().collect();
            for waiter in &circle {
                prop_assert_eq!(&reached(&graph, *waiter, &circle), &members);
                prop_assert!(seen.insert(*waiter), "in one circle at most");
            }
            prop_assert_eq!(graph.stuck(&circle), circle);
        }
    }

    #[test]
    fn if_one_of_each_circle_gives_way_again_and_again_nobody_is_left(graph in graphs()) {
        // Who gives way waits for nothing any more, and gives back what it holds.
        let mut graph = graph;
        let mut gone = BTreeSet::new();
        loop {
            let circles = graph.circles();
            if circles.is_empty() { break }
            for circle in circles {
                let youngest = *circle.last().unwrap();
                prop_assert!(gone.insert(youngest), "nobody gives way twice");
                graph.waiters[youngest].clear();
            }
        }
        let all: Vec<usize> = (0..graph.waiters.len()).collect();
        prop_assert_eq!(graph.stuck(&all), Vec::<usize>::new());
    }
}

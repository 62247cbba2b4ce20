//! Any history, with merges of any kind and clocks of any kind: questions are answered as counting by hand does.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::rc::Rc;

use git2::ObjectType;
use proptest::prelude::*;

use super::*;
use support::fuzz::cases;

thread_local! {
    /// One for all cases of a test: what is in it goes by its content.
    static STORE: Rc<Store> = Rc::new(Store::in_memory());
}

/// A history: for each commit the ones it was made on, as how far back they are in the list, and its time. The first
/// ones have none before them, and the last is the head.
fn histories() -> impl Strategy<Value = Vec<(Vec<usize>, i64)>> {
    let back = prop_oneof![3 => Just(1_usize), 2 => 1..4_usize, 1 => 1..30_usize];
    let parents = prop_oneof![
        6 => prop::collection::vec(back.clone(), 1..3),
        1 => prop::collection::vec(back, 0..8),
    ];
    let time = prop_oneof![
        Just(1_i64),
        0..50_i64,
        Just(i64::from(u32::MAX)),
        Just(253_402_300_800)
    ];
    prop::collection::vec((parents, time), 1..30)
}

/// Writes a history, and gives the commits and, for each, all that are in its own history (itself too), by number.
fn write(store: &Store, history: &[(Vec<usize>, i64)]) -> (Vec<Oid>, Vec<BTreeSet<usize>>) {
    let tree = store.write_raw(ObjectType::Tree, b"");
    let mut commits: Vec<Oid> = Vec::new();
    let mut has: Vec<BTreeSet<usize>> = Vec::new();
    for (n, (parents, time)) in history.iter().enumerate() {
        let mut text = format!("tree {tree}\n");
        let mut all = BTreeSet::from([n]);
        for parent in parents.iter().filter_map(|back| n.checked_sub(*back)) {
            text += &format!("parent {}\n", commits[parent]);
            all.extend(&has[parent]);
        }
        text += &format!("author A <a@x> {time} +0000\ncommitter A <a@x> {time} +0000\n\n{n}\n");
        commits.push(store.write_raw(ObjectType::Commit, text.as_bytes()));
        has.push(all);
    }
    (commits, has)
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn what_was_made_since_a_commit_is_told_completely_and_in_order(history in histories()) {
        let store = STORE.with(Rc::clone);
        let (commits, has) = write(&store, &history);
        let head = commits.len() - 1;
        let asked = History::new(&store, commits[head], false);

        for target in 0..commits.len() {
            let since = asked.since(commits[target]).unwrap();

            if !has[head].contains(&target) {
                prop_assert_eq!(since, None);
                continue;
            }
            let since: Vec<usize> = since.unwrap().iter().map(|id| commits.iter().position(|commit| commit == id).unwrap()).collect();
            let expected: BTreeSet<usize> = has[head].iter().copied().filter(|n| has[*n].contains(&target)).collect();
            prop_assert_eq!(since.len(), expected.len(), "{:?}", &since);
            prop_assert_eq!(since.iter().copied().collect::<BTreeSet<_>>(), expected);
            for (place, n) in since.iter().enumerate() {
                let later = &since[place + 1..];
                prop_assert!(later.iter().all(|later| !has[*n].contains(later)), "{} comes before what it was made on", n);
            }
        }
        prop_assert_eq!(asked.since(Oid::from_bytes(&[7; 20]).unwrap()).unwrap(), None);
    }

    #[test]
    fn a_commit_is_found_by_the_one_that_it_was_made_on(history in histories()) {
        let store = STORE.with(Rc::clone);
        let (commits, has) = write(&store, &history);
        let head = commits.len() - 1;
        let asked = History::new(&store, commits[head], false);

        for (n, (parents, _)) in history.iter().enumerate() {
            for base in parents.iter().filter_map(|back| n.checked_sub(*back)) {
                let found = asked.has_after(commits[base], commits[n]).unwrap();
                prop_assert_eq!(found, has[head].contains(&n), "{} after {}", n, base);
            }
        }
    }

    #[test]
    fn the_branch_itself_is_its_first_parents(history in histories()) {
        let store = STORE.with(Rc::clone);
        let (commits, _) = write(&store, &history);
        let head = commits.len() - 1;
        let asked = History::new(&store, commits[head], false);
        let mut expected = vec![commits[head]];
        let mut at = head;
        while let Some(parent) = history[at].0.iter().find_map(|back| at.checked_sub(*back)) {
            expected.push(commits[parent]);
            at = parent;
        }

        let walked: Result<Vec<Oid>, HistoryError> = asked.first_parents(commits[head]).collect();

        prop_assert_eq!(walked.unwrap(), expected);
    }
}

//! The rules, by tables and by generated sequences.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::operation::{Operation, Part, Want};

/// The files of a repository, and nothing else: what a decision's edits are carried out on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Files(BTreeMap<String, (Mode, Oid)>);

impl Files {
    fn with(files: &[(&str, &str)]) -> Files {
        let keep = [("aws/claimed/.gitkeep", ""), ("aws/unclaimed/.gitkeep", "")];
        let all = keep.iter().chain(files);
        Files(
            all.map(|(path, text)| ((*path).to_owned(), (Mode::File, id(text))))
                .collect(),
        )
    }

    fn pool(&self) -> Pool {
        self.pool_called("aws")
    }

    fn pool_called(&self, name: &str) -> Pool {
        let list = |holding: Holding| -> Vec<Named> {
            let folder = format!("{name}/{}/", holding.folder());
            self.0
                .iter()
                .filter_map(|(path, (mode, id))| {
                    let name = path.strip_prefix(&folder)?.as_bytes().to_owned();
                    Some(Named {
                        name,
                        entry: Entry {
                            mode: *mode,
                            id: *id,
                        },
                    })
                })
                .collect()
        };
        Pool::new(
            PoolName::new(name).unwrap(),
            &list(Holding::Claimed),
            &list(Holding::Unclaimed),
        )
    }

    fn apply(&mut self, change: &Change) {
        for edit in &change.edits {
            let path = edit.path().to_owned();
            let file = match edit {
                Edit::Set { entry, .. } => (entry.mode, entry.id),
                Edit::Write { mode, content, .. } => (*mode, content.id()),
                Edit::Delete { .. } => {
                    assert!(self.0.remove(&path).is_some(), "{path} was not there");
                    continue;
                }
            };
            self.0.insert(path, file);
        }
    }

    fn after(&self, operation: &Operation) -> Files {
        let mut files = self.clone();
        match self.decide(operation, None) {
            Decision::Change(change) => files.apply(&change),
            other => panic!("{other:?}"),
        }
        files
    }

    fn decide(&self, operation: &Operation, fate: Option<Fate>) -> Decision {
        let fates = operation
            .claim_to_prove()
            .zip(fate)
            .map(|((locks, _), fate)| locks.iter().map(|lock| (lock.clone(), fate)).collect());
        let facts = Facts {
            fates,
            ..Facts::default()
        };
        decide(&self.pool(), operation, &facts, 0)
    }
}

fn id(text: &str) -> Oid {
    Content::new(text.into()).id()
}

fn lock(name: &str) -> LockName {
    LockName::new(name).unwrap()
}

fn claim(byte: u8) -> ClaimId {
    ClaimId(Oid::from_bytes(&[byte; 20]).unwrap())
}

fn update(name: &str, text: &str, claim: Option<ClaimId>) -> Operation {
    Operation::Update {
        lock: lock(name),
        content: Content::new(text.into()),
        claim,
    }
}

fn add(name: &str, text: &str, holding: Holding) -> Operation {
    Operation::Add {
        lock: lock(name),
        content: Content::new(text.into()),
        holding,
    }
}

fn release(name: &str, claim: Option<ClaimId>) -> Operation {
    Operation::Release {
        locks: vec![lock(name)],
        right: Right::of(claim),
        reason: None,
    }
}

/// Frees `x` if the claim 1 is stale, of whose holder the commit 5 was the last sign.
fn reap() -> Operation {
    Operation::Release {
        locks: vec![lock("x")],
        right: Right::Stale {
            claim: claim(1),
            last_sign: claim(5).0,
        },
        reason: Some("its lease\nis over".to_owned()),
    }
}

fn renew(name: &str) -> Operation {
    Operation::Renew {
        locks: vec![lock(name)],
        claim: claim(1),
    }
}

fn acquire() -> Operation {
    Operation::Acquire(Want::default())
}

fn remove(name: &str) -> Operation {
    Operation::Remove {
        lock: lock(name),
        claim: None,
    }
}

/// What is known of a claim whose holder was last heard of at the commit 1.
const STANDS: Fate = Fate::Stands {
    last_sign: Oid::ZERO_SHA1,
};

const BOTH: [(&str, &str); 2] = [("aws/claimed/x", "1"), ("aws/unclaimed/x", "2")];

#[test]
fn each_operation_moves_one_file_and_keeps_the_others() {
    let free = Files::with(&[("aws/unclaimed/x", "1"), ("other/unclaimed/x", "9")]);
    let held = Files::with(&[("aws/claimed/x", "1"), ("other/unclaimed/x", "9")]);
    let gone = Files::with(&[("other/unclaimed/x", "9")]);
    let changed = Files::with(&[("aws/unclaimed/x", "2"), ("other/unclaimed/x", "9")]);

    assert_eq!(free.after(&acquire()), held);
    assert_eq!(free.after(&Operation::Claim(lock("x"))), held);
    assert_eq!(held.after(&release("x", None)), free);
    assert_eq!(held.after(&remove("x")), gone);
    assert_eq!(gone.after(&add("x", "1", Holding::Unclaimed)), free);
    assert_eq!(gone.after(&add("x", "1", Holding::Claimed)), held);
    assert_eq!(free.after(&update("x", "2", None)), changed);
    assert_eq!(gone.after(&update("x", "1", None)), free);
}

#[test]
fn an_acquire_takes_any_free_lock_and_never_a_damaged_one() {
    let mut files = Files::with(&[
        ("aws/unclaimed/a", ""),
        ("aws/unclaimed/b", ""),
        ("aws/unclaimed/c", ""),
    ]);
    files.0.insert("aws/claimed/b".into(), (Mode::File, id("")));

    let taken = |draw| match decide(&files.pool(), &acquire(), &Facts::default(), draw) {
        Decision::Change(change) => change.locks[0].to_string(),
        other => panic!("{other:?}"),
    };

    assert_eq!((0..4).map(taken).collect::<Vec<_>>(), ["a", "c", "a", "c"]);
}

#[test]
fn what_cannot_be_had_now_is_waited_for() {
    let held = Files::with(&[("aws/claimed/x", "1")]);
    let free = Files::with(&[("aws/unclaimed/x", "1")]);
    let x = lock("x");

    let none_free = Decision::Wait(Wait::NoneFree {
        claimed: vec![x.clone()],
        damaged: vec![],
    });
    assert_eq!(held.decide(&acquire(), None), none_free);
    let none_free = Decision::Wait(Wait::NoneFree {
        claimed: vec![],
        damaged: vec![x.clone()],
    });
    assert_eq!(Files::with(&BOTH).decide(&acquire(), None), none_free);
    for operation in [
        Operation::Claim(x.clone()),
        update("x", "2", None),
        Operation::AwaitUnclaimed(x.clone()),
    ] {
        assert_eq!(
            held.decide(&operation, None),
            Decision::Wait(Wait::Held(x.clone())),
            "{operation:?}"
        );
    }
    assert_eq!(
        free.decide(&Operation::AwaitClaimed(x.clone()), None),
        Decision::Wait(Wait::Free(x))
    );
    let missing = Decision::Wait(Wait::Missing {
        lock: lock("y"),
        like: Vec::new(),
    });
    assert_eq!(free.decide(&Operation::Claim(lock("y")), None), missing);
}

#[test]
fn what_is_so_already_is_done() {
    let held = Files::with(&[("aws/claimed/x", "1")]);
    let free = Files::with(&[("aws/unclaimed/x", "1")]);
    let done = Decision::Done(vec![lock("x")], Since::LastTouch);

    assert_eq!(held.decide(&Operation::AwaitClaimed(lock("x")), None), done);
    assert_eq!(
        free.decide(&Operation::AwaitUnclaimed(lock("x")), None),
        done
    );
    assert_eq!(free.decide(&add("x", "1", Holding::Unclaimed), None), done);
    assert_eq!(free.decide(&update("x", "1", None), None), done);
}

#[test]
fn what_would_harm_is_refused_with_the_state_it_found() {
    let held = Files::with(&[("aws/claimed/x", "1")]);
    let free = Files::with(&[("aws/unclaimed/x", "1")]);
    let both = Files::with(&BOTH);
    let refusal = |files: &Files, operation: Operation| match files.decide(&operation, None) {
        Decision::Refuse(refusal) => refusal.to_string(),
        other => panic!("{operation:?}: {other:?}"),
    };

    assert_eq!(
        refusal(&free, release("x", None)),
        "the lock `x` is not claimed"
    );
    assert_eq!(refusal(&free, remove("x")), "the lock `x` is not claimed");
    assert_eq!(
        refusal(&free, release("y", None)),
        "there is no lock `y` in the pool `aws`"
    );
    assert_eq!(
        refusal(&free, remove("y")),
        "there is no lock `y` in the pool `aws`"
    );
    assert_eq!(
        refusal(&free, Operation::AwaitClaimed(lock("y"))),
        "there is no lock `y` in the pool `aws`"
    );
    assert_eq!(
        refusal(&free, Operation::AwaitUnclaimed(lock("y"))),
        "there is no lock `y` in the pool `aws`"
    );
    assert_eq!(
        refusal(&held, add("x", "2", Holding::Unclaimed)),
        "the lock `x` exists already: it is claimed, with other metadata"
    );
    assert_eq!(
        refusal(&held, add("x", "1", Holding::Claimed)),
        "the lock `x` exists already: it is claimed"
    );
    assert_eq!(
        refusal(&free, add("x", "1", Holding::Claimed)),
        "the lock `x` exists already: it is unclaimed"
    );
    for operation in [
        Operation::Claim(lock("x")),
        release("x", None),
        add("x", "1", Holding::Claimed),
        Operation::AwaitClaimed(lock("x")),
        Operation::AwaitUnclaimed(lock("x")),
    ] {
        assert!(refusal(&both, operation).contains("is damaged: it is in both"));
    }
}

#[test]
fn a_lock_in_both_folders_is_repaired_by_removing_or_updating_it() {
    let both = Files::with(&BOTH);

    assert_eq!(both.after(&remove("x")), Files::with(&[]));
    assert_eq!(
        both.after(&update("x", "3", None)),
        Files::with(&[("aws/unclaimed/x", "3")])
    );
}

#[test]
fn a_folder_in_a_locks_place_is_ignored_unless_it_would_be_overwritten() {
    let mut files = Files::with(&[]);
    files
        .0
        .insert("aws/unclaimed/x".into(), (Mode::Folder, id("")));

    assert!(matches!(
        files.decide(&acquire(), None),
        Decision::Wait(Wait::NoneFree { ref claimed, .. }) if claimed.is_empty()
    ));
    for operation in [
        Operation::Claim(lock("x")),
        update("x", "1", None),
        add("x", "1", Holding::Claimed),
        remove("x"),
    ] {
        let refused = files.decide(&operation, None);
        assert!(
            matches!(refused, Decision::Refuse(Refusal::Damaged { .. })),
            "{operation:?}: {refused:?}"
        );
    }
}

#[test]
fn a_move_keeps_the_mode_and_an_update_keeps_only_whether_it_is_executable() {
    for (mode, updated) in [
        (Mode::File, Mode::File),
        (Mode::Executable, Mode::Executable),
        (Mode::Symlink, Mode::File),
    ] {
        let mut files = Files::with(&[]);
        files.0.insert("aws/unclaimed/x".into(), (mode, id("1")));

        assert_eq!(files.after(&acquire()).0["aws/claimed/x"], (mode, id("1")));
        assert_eq!(
            files.after(&update("x", "2", None)).0["aws/unclaimed/x"],
            (updated, id("2"))
        );
    }
}

#[test]
fn a_change_makes_both_folders_keep_themselves() {
    let files = Files([("aws/unclaimed/x".to_owned(), (Mode::File, id("1")))].into());

    assert_eq!(
        files.after(&acquire()),
        Files::with(&[("aws/claimed/x", "1")])
    );
}

#[test]
fn a_claim_is_asked_for_before_anything_is_done_with_it() {
    let held = Files::with(&[("aws/claimed/x", "1")]);
    let ask = Decision::Ask(vec![lock("x")], claim(1));
    let remove = Operation::Remove {
        lock: lock("x"),
        claim: Some(claim(1)),
    };

    for operation in [
        release("x", Some(claim(1))),
        remove,
        update("x", "2", Some(claim(1))),
        renew("x"),
    ] {
        assert_eq!(held.decide(&operation, None), ask);
        match held.decide(&operation, Some(STANDS)) {
            Decision::Change(change) => assert_eq!(change.right, Right::Claim(claim(1))),
            other => panic!("{other:?}"),
        }
        let not_a_claim = held.decide(&operation, Some(Fate::NotAClaim));
        assert!(matches!(
            not_a_claim,
            Decision::Refuse(Refusal::NotAClaim { .. })
        ));
    }
}

#[test]
fn a_holder_updates_what_it_holds_in_place() {
    let held = Files::with(&[("aws/claimed/x", "1")]);

    let Decision::Change(change) = held.decide(&update("x", "2", Some(claim(1))), Some(STANDS))
    else {
        panic!()
    };

    let mut files = held.clone();
    files.apply(&change);
    assert_eq!(files, Files::with(&[("aws/claimed/x", "2")]));
}

#[test]
fn a_claim_that_ended_frees_nobody_elses_lock() {
    let held = Files::with(&[("aws/claimed/x", "1")]);
    let free = Files::with(&[("aws/unclaimed/x", "1")]);
    let by = Oid::from_bytes(&[7; 20]).unwrap();
    let ours = release("x", Some(claim(1)));
    let done = Decision::Done(vec![lock("x")], Since::Commit(by));

    let by_us = Some(Fate::Ended { by, proven: true });
    let by_others = Some(Fate::Ended { by, proven: false });
    assert_eq!(free.decide(&ours, by_us), done);
    assert_eq!(held.decide(&ours, by_us), done);
    assert_eq!(free.decide(&ours, by_others), done);
    let refused = Refusal::ClaimEnded {
        lock: lock("x"),
        claim: claim(1),
        ended: by,
        held: true,
    };
    assert_eq!(held.decide(&ours, by_others), Decision::Refuse(refused));
    let refused = Refusal::ClaimEnded {
        lock: lock("x"),
        claim: claim(1),
        ended: by,
        held: false,
    };
    let remove = Operation::Remove {
        lock: lock("x"),
        claim: Some(claim(1)),
    };
    assert_eq!(Files::with(&[]).decide(&remove, by_us), done);
    assert_eq!(
        free.decide(&remove, by_us),
        Decision::Refuse(refused.clone())
    );
    assert_eq!(
        free.decide(&update("x", "2", Some(claim(1))), by_us),
        Decision::Refuse(refused)
    );
}

#[test]
fn a_renewal_changes_no_file_and_only_of_a_claim_that_stands() {
    // Another change would put a `.gitkeep` beside it.
    let bare = Files([("aws/claimed/x".to_owned(), (Mode::File, id("1")))].into());
    let by = Oid::from_bytes(&[7; 20]).unwrap();

    let Decision::Change(change) = bare.decide(&renew("x"), Some(STANDS)) else {
        panic!()
    };

    assert_eq!((change.verb, &change.edits[..]), (Verb::Renewing, &[][..]));
    assert_eq!(change.right, Right::Claim(claim(1)));
    for proven in [false, true] {
        for (files, held) in [(&bare, true), (&Files::with(&[]), false)] {
            assert_eq!(
                files.decide(&renew("x"), Some(Fate::Ended { by, proven })),
                Decision::Refuse(Refusal::ClaimEnded {
                    lock: lock("x"),
                    claim: claim(1),
                    ended: by,
                    held,
                })
            );
        }
    }
}

#[test]
fn a_renewal_of_several_locks_is_refused_if_one_of_them_was_taken_away() {
    let files = Files::with(&[("aws/claimed/x", "1"), ("aws/unclaimed/y", "1")]);
    let renew = Operation::Renew {
        locks: vec![lock("x"), lock("y")],
        claim: claim(1),
    };
    let by = Oid::from_bytes(&[7; 20]).unwrap();
    let fates = [
        (lock("x"), STANDS),
        (lock("y"), Fate::Ended { by, proven: false }),
    ];
    let facts = Facts {
        fates: Some(fates.into()),
        ..Facts::default()
    };

    assert!(matches!(
        decide(&files.pool(), &renew, &facts, 0),
        Decision::Refuse(Refusal::ClaimEnded { lock, .. }) if lock.as_str() == "y"
    ));
}

#[test]
fn a_stale_claim_is_ended_with_the_reason_as_long_as_its_holder_is_not_heard_of() {
    let held = Files::with(&[("aws/claimed/x", "1")]);
    let free = Files::with(&[("aws/unclaimed/x", "1")]);
    let [by, last_sign] = [claim(7).0, claim(5).0];

    assert_eq!(
        held.decide(&reap(), None),
        Decision::Ask(vec![lock("x")], claim(1))
    );
    let Decision::Change(change) = held.decide(&reap(), Some(Fate::Stands { last_sign })) else {
        panic!()
    };
    assert_eq!(change.verb, Verb::Unclaiming);
    assert_eq!(change.reason.as_deref(), Some("its lease\nis over"));
    let mut files = held.clone();
    files.apply(&change);
    assert_eq!(files, free);

    let renewed = held.decide(&reap(), Some(Fate::Stands { last_sign: by }));
    assert_eq!(
        renewed,
        Decision::Refuse(Refusal::Renewed {
            lock: lock("x"),
            claim: claim(1),
            by
        })
    );
    // Released, released and claimed by somebody else, removed: it was not for us to end it.
    for (files, is_held) in [(&free, false), (&held, true), (&Files::with(&[]), false)] {
        for proven in [false, true] {
            assert_eq!(
                files.decide(&reap(), Some(Fate::Ended { by, proven })),
                Decision::Refuse(Refusal::ClaimEnded {
                    lock: lock("x"),
                    claim: claim(1),
                    ended: by,
                    held: is_held,
                })
            );
        }
    }
    assert!(matches!(
        held.decide(&reap(), Some(Fate::NotAClaim)),
        Decision::Refuse(Refusal::NotAClaim { .. })
    ));
}

#[test]
fn a_damaged_lock_is_not_freed_for_being_stale() {
    let last_sign = claim(5).0;

    let decision = Files::with(&BOTH).decide(&reap(), Some(Fate::Stands { last_sign }));

    assert!(matches!(
        decision,
        Decision::Refuse(Refusal::Damaged { .. })
    ));
}

/// What becomes of a lock that is to be moved to a pool with these files in it.
fn moved(from: &Files, there: &[(&str, &str)]) -> Decision {
    let destination = Files::with(there);
    let facts = Facts {
        destination: Some(Pool {
            name: PoolName::new("db").unwrap(),
            ..destination.pool()
        }),
        ..Facts::default()
    };
    let operation = Operation::Move {
        lock: lock("a"),
        to: PoolName::new("db").unwrap(),
    };
    decide(&from.pool(), &operation, &facts, 0)
}

#[test]
fn a_free_lock_is_moved_to_a_pool_that_has_none_of_its_name_as_it_is() {
    let mut files = Files::with(&[("aws/unclaimed/a", "a"), ("aws/unclaimed/b", "b")]);

    let Decision::Change(change) = moved(&files, &[("aws/claimed/b", "other")]) else {
        panic!("it can be moved");
    };
    files.apply(&change);

    assert_eq!(change.verb, Verb::AddingUnclaimed);
    assert_eq!(files.0["db/unclaimed/a"], (Mode::File, id("a")));
    assert_eq!(files.pool().state(&lock("a")), None);
    assert!(files.pool().state(&lock("b")).is_some());
}

#[test]
fn a_lock_is_not_moved_while_it_is_held_nor_over_another() {
    let held = Files::with(&[("aws/claimed/a", "a")]);
    let free = Files::with(&[("aws/unclaimed/a", "a")]);

    assert_eq!(
        moved(&held, &[]),
        Decision::Refuse(Refusal::Claimed { lock: lock("a") })
    );
    for there in [[("aws/claimed/a", "b")], [("aws/unclaimed/a", "a")]] {
        assert!(matches!(
            moved(&free, &there),
            Decision::Refuse(Refusal::ThereAlready { .. })
        ));
    }
    assert!(matches!(
        moved(&Files::with(&[]), &[]),
        Decision::Refuse(Refusal::NoSuchLock { .. })
    ));
}

#[test]
fn several_locks_by_name_are_claimed_together_or_waited_for() {
    let want = Want::exactly(vec![lock("c"), lock("a"), lock("a")]);
    let operation = Operation::Acquire(want.clone());
    let decide = |files: &Files| {
        let facts = Facts {
            fitting: Some(want.among.iter().cloned().collect()),
            ..Facts::default()
        };
        decide(&files.pool(), &operation, &facts, 0)
    };
    let all = [
        ("aws/unclaimed/a", "a"),
        ("aws/unclaimed/b", "b"),
        ("aws/unclaimed/c", "c"),
    ];

    let Decision::Change(change) = decide(&Files::with(&all)) else {
        panic!("all are free");
    };
    assert_eq!(change.locks, [lock("a"), lock("c")]);

    let one_held = [("aws/unclaimed/a", "a"), ("aws/claimed/c", "c")];
    assert_eq!(
        decide(&Files::with(&one_held)),
        Decision::Wait(Wait::TooFewFree {
            free: 1,
            wanted: 2,
            claimed: vec![lock("c")]
        })
    );
    let refused = decide(&Files::with(&all[..2]));
    assert!(
        matches!(refused, Decision::Refuse(Refusal::NoSuchLock { lock: missing, .. }) if missing == lock("c"))
    );
}

fn operations() -> impl Strategy<Value = Operation> {
    let name = prop::sample::select(vec!["a", "b", "c", "ü \"d\""]).prop_map(lock);
    let text = prop::sample::select(vec!["", "1", "2"]).prop_map(|text| Content::new(text.into()));
    let holding = prop::sample::select(vec![Holding::Claimed, Holding::Unclaimed]);
    (0..8_u8, name, text, holding).prop_map(|(kind, lock, content, holding)| match kind {
        0 => acquire(),
        1 => Operation::Claim(lock),
        2 => Operation::Release {
            locks: vec![lock],
            right: Right::Trust,
            reason: None,
        },
        3 => Operation::Add {
            lock,
            content,
            holding,
        },
        4 => Operation::Remove { lock, claim: None },
        5 => Operation::Update {
            lock,
            content,
            claim: None,
        },
        6 => Operation::AwaitClaimed(lock),
        _ => Operation::AwaitUnclaimed(lock),
    })
}

fn part(pool: &str, want: Want) -> Part {
    Part {
        pool: PoolName::new(pool).unwrap(),
        want,
    }
}

fn several(pools: &[(&str, Want)]) -> Operation {
    let parts = pools.iter().map(|(pool, want)| part(pool, want.clone()));
    Operation::AcquireEach(parts.collect())
}

#[test]
fn of_several_pools_what_may_not_be_done_is_told_before_what_is_waited_for() {
    let files = Files::with(&[
        ("aws/claimed/a", "a"),
        ("db/unclaimed/b", "b"),
        ("net/claimed/c", "c"),
    ]);
    let others = ["db", "net"].map(|name| files.pool_called(name));
    let pool = files.pool().beside(others.into());
    let named = |name: &str| Want::exactly(vec![lock(name)]);
    let decide = |operation: &Operation| decide(&pool, operation, &Facts::default(), 0);

    let waits = several(&[("aws", named("a")), ("db", named("b")), ("net", named("c"))]);
    assert_eq!(decide(&waits), Decision::Wait(Wait::Held(lock("a"))));
    let waits = several(&[("db", named("b")), ("net", Want::default())]);
    let Decision::Wait(Wait::NoneFree { claimed, .. }) = decide(&waits) else {
        panic!("{waits:?}");
    };
    assert_eq!(claimed, [LockName::read("net/c").unwrap()]);
    let two = Want {
        count: std::num::NonZeroUsize::new(2).unwrap(),
        ..Want::default()
    };
    let refused = several(&[("aws", named("a")), ("db", two)]);
    assert!(matches!(
        decide(&refused),
        Decision::Refuse(Refusal::NeverEnough { .. })
    ));
    let unknown = several(&[("aws", named("a")), ("moon", Want::default())]);
    assert!(matches!(decide(&unknown), Decision::Refuse(_)));
}

proptest! {
    #[test]
    fn of_several_pools_all_is_claimed_that_is_wanted_or_nothing_and_given_back_by_its_full_names(
        held in prop::collection::vec(any::<bool>(), 9),
        wants in prop::collection::vec((0..4usize, any::<bool>()), 1..4),
        draw in any::<u64>(),
    ) {
        let names = ["aws", "db", "team/net"];
        let file = |n: usize| {
            let folder = if held[n] { "claimed" } else { "unclaimed" };
            (format!("{}/{folder}/{}", names[n / 3], n % 3), n.to_string())
        };
        let all: Vec<(String, String)> = (0..9).map(file).collect();
        let all: Vec<(&str, &str)> = all.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        let files = Files::with(&all);
        let pool_of = |files: &Files| {
            let others = names[1..].iter().map(|name| files.pool_called(name));
            files.pool().beside(others.collect())
        };
        // By a name, or so many of any.
        let want = |(n, by_name): &(usize, bool)| match (by_name, std::num::NonZeroUsize::new(*n)) {
            (false, Some(count)) => Want { count, ..Want::default() },
            _ => Want::exactly(vec![lock(&(n % 3).to_string())]),
        };
        let parts: Vec<(&str, Want)> = names.iter().copied().zip(wants.iter().map(want)).collect();
        let operation = several(&parts);
        let alone = |name: &str, want: &Want| {
            let decision = decide(&files.pool_called(name), &Operation::Acquire(want.clone()), &Facts::default(), draw);
            matches!(decision, Decision::Change(_))
        };
        // Facts of a name are its own lock.
        let fitting = parts.iter().map(|(_, want)| Facts {
            fitting: (!want.takes_any()).then(|| want.among.iter().cloned().collect()),
            ..Facts::default()
        });
        let facts = Facts { each: fitting.collect(), ..Facts::default() };
        let can = parts.iter().all(|(name, want)| match &want.among[..] {
            [named] => !held[names.iter().position(|one| one == name).unwrap() * 3 + named.as_str().parse::<usize>().unwrap()],
            _ => alone(name, want),
        });

        let decision = decide(&pool_of(&files), &operation, &facts, draw);

        let Decision::Change(change) = decision else {
            prop_assert!(!can, "{decision:?}");
            return Ok(());
        };
        prop_assert!(can);
        let mut after = files.clone();
        after.apply(&change);
        for (name, want) in &parts {
            let full: Vec<LockName> = change.locks.iter().map(|lock| lock.full(&PoolName::new("aws").unwrap())).collect();
            let of_it = full.iter().filter(|lock| lock.pool().unwrap().as_str() == *name);
            prop_assert_eq!(of_it.count(), want.count.get());
        }
        for lock in &change.locks {
            let (was, is) = (pool_of(&files).state(lock), pool_of(&after).state(lock));
            match (was, is) {
                (Some(State::Unclaimed(was)), Some(State::Claimed(is))) => prop_assert_eq!(was, is),
                other => prop_assert!(false, "{lock}: {other:?}"),
            }
        }
        let back = Operation::Release { locks: change.locks.clone(), right: Right::Trust, reason: None };
        let Decision::Change(back) = decide(&pool_of(&after), &back, &Facts::default(), 0) else {
            return Err(TestCaseError::fail("it cannot be given back"));
        };
        after.apply(&back);
        let names: Vec<String> = after.0.keys().filter(|path| !path.ends_with(".gitkeep")).cloned().collect();
        let before: Vec<String> = files.0.keys().filter(|path| !path.ends_with(".gitkeep")).cloned().collect();
        prop_assert_eq!(names, before);
    }
}

proptest! {
    #[test]
    fn any_sequence_keeps_every_lock_in_one_place_and_its_content_through_moves(
        operations in prop::collection::vec((operations(), any::<u64>()), 1..60)
    ) {
        let mut files = Files::with(&[("aws/unclaimed/a", "a"), ("aws/claimed/b", "b"), ("z/claimed/a", "z")]);
        for (operation, draw) in operations {
            let before = files.pool();
            let Decision::Change(change) = decide(&before, &operation, &Facts::default(), draw) else { continue };
            files.apply(&change);
            let after = files.pool();

            for (lock, state) in after.locks() {
                prop_assert!(!matches!(state, State::Damaged(_)), "{lock} after {change:?}");
                if !change.locks.contains(lock) {
                    prop_assert_eq!(before.state(lock), Some(state));
                }
            }
            let (was, is) = (before.state(&change.locks[0]), after.state(&change.locks[0]));
            match change.verb {
                Verb::Claiming => match (was, is) {
                    (Some(State::Unclaimed(was)), Some(State::Claimed(is))) => prop_assert_eq!(was, is),
                    other => prop_assert!(false, "{other:?}"),
                },
                Verb::Unclaiming => match (was, is) {
                    (Some(State::Claimed(was)), Some(State::Unclaimed(is))) => prop_assert_eq!(was, is),
                    other => prop_assert!(false, "{other:?}"),
                },
                Verb::AddingClaimed => prop_assert!(was.is_none() && matches!(is, Some(State::Claimed(_)))),
                Verb::AddingUnclaimed => prop_assert!(was.is_none() && matches!(is, Some(State::Unclaimed(_)))),
                Verb::Removing => prop_assert!(matches!(was, Some(State::Claimed(_))) && is.is_none()),
                Verb::Updating => match (was, is) {
                    (Some(State::Unclaimed(was)), Some(State::Unclaimed(is))) => prop_assert_ne!(was, is),
                    other => prop_assert!(false, "{other:?}"),
                },
                Verb::Renewing => {
                    prop_assert!(matches!(was, Some(State::Claimed(_))));
                    prop_assert_eq!(&before, &after);
                }
            }
            prop_assert_eq!(&files.0["z/claimed/a"], &(Mode::File, id("z")));
            prop_assert_eq!(files.0.contains_key("aws/claimed/.gitkeep"), true);
            prop_assert_eq!(files.0.contains_key("aws/unclaimed/.gitkeep"), true);
        }
    }
}

//! Whichever way the past is taken in, it is the same past.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use support::fuzz::cases;

const START: i64 = 1_700_000_000;

fn oid(n: usize) -> Oid {
    format!("{n:040x}").parse().expect("forty digits")
}

fn pool(n: usize) -> PoolName {
    PoolName::new(&format!("p{n}")).expect("a name")
}

fn lock(n: usize) -> LockName {
    LockName::new(&format!("l{n}")).expect("a name")
}

/// What each commit does to which lock, and how long after the one before.
type Moves = Vec<(usize, usize, i64)>;

/// One commit: its number, its time, and what it began or ended.
struct Commit {
    id: Oid,
    time: i64,
    what: (PoolName, LockName),
    begins: bool,
}

fn commits(moves: &Moves) -> Vec<Commit> {
    let mut held = HashSet::new();
    let mut time = START;
    let moves = moves.iter().enumerate();
    moves
        .map(|(n, (p, l, after))| {
            time += after;
            let what = (pool(*p), lock(*l));
            let begins = match held.remove(&what) {
                true => false,
                false => held.insert(what.clone()),
            };
            Commit {
                id: oid(n + 1),
                time,
                what,
                begins,
            }
        })
        .collect()
}

fn end(commit: &Commit) -> End {
    End {
        by: commit.id,
        at: commit.time,
        how: match commit.time % 3 {
            0 => How::Reaped,
            1 => How::Unlocked,
            _ => How::Released,
        },
        reason: (commit.time % 3 == 1).then(|| "because\u{1b}[31m".to_owned()),
        message: b"ann unclaiming: l".as_slice().into(),
    }
}

/// What a walk back over these commits gives: for each commit what began, the newest first, and what is left.
fn walk_back(commits: &[Commit]) -> (Vec<(Oid, i64, Vec<Hold>)>, Rest) {
    let mut ends = HashMap::new();
    let mut found = Vec::new();
    for commit in commits.iter().rev() {
        let mut begun = Vec::new();
        if commit.begins {
            begun.push(Hold {
                pool: commit.what.0.clone(),
                lock: commit.what.1.clone(),
                claim: commit.id,
                since: commit.time,
                message: format!("ops/web/deploy build {} claiming: l", commit.time)
                    .into_bytes()
                    .into(),
                end: ends.remove(&commit.what),
            });
        } else {
            ends.insert(commit.what.clone(), end(commit));
        }
        found.push((commit.id, commit.time, begun));
    }
    (
        found,
        Rest {
            ends,
            is_there: true,
        },
    )
}

fn at_once(commits: &[Commit]) -> Chronicle {
    let last = commits.last().expect("there is one");
    let mut chronicle = Chronicle::new(last.id, last.time);
    for (id, time, begun) in walk_back(commits).0 {
        chronicle.before(id, time, &begun);
    }
    chronicle
}

fn told(chronicle: &Chronicle) -> Vec<String> {
    let mut lines = vec![format!(
        "{} {:?} {} {}",
        chronicle.head, chronicle.first, chronicle.commits, chronicle.newest
    )];
    for (name, pool) in chronicle.pools() {
        lines.push(format!("{name:?} {:?} {:?}", pool.counts, pool.holds));
        for (name, lock) in pool.locks() {
            lines.push(format!("{name:?} {} {:?}", lock.claims, lock.holds));
        }
    }
    lines
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn what_is_taken_in_bit_by_bit_is_what_is_taken_in_at_once(
        moves in prop::collection::vec((0..2_usize, 0..3_usize, 0..1000_i64), 2..60),
        cut in 1..60_usize,
    ) {
        let commits = commits(&moves);
        let cut = cut.min(commits.len() - 1);
        let mut chronicle = at_once(&commits[..cut]);
        for part in commits[cut..].chunks(7) {
            let (found, rest) = walk_back(part);
            let begun = found.into_iter().flat_map(|(_, _, begun)| begun).collect();
            let last = part.last().expect("no chunk is empty");
            chronicle.go_on(last.id, last.time, part.len() as u64, rest, begun);
        }

        prop_assert_eq!(told(&chronicle), told(&at_once(&commits)));
    }
}

#[test]
fn of_a_long_past_everything_is_counted_and_the_last_holds_are_kept() {
    let moves: Moves = (0..40_000).map(|n| (0, (n / 2) % 20, 100)).collect();
    let commits = commits(&moves);

    let chronicle = at_once(&commits);

    let past = chronicle.pool(&pool(0)).expect("it was used");
    assert_eq!(past.counts.claims, 20_000);
    assert_eq!(past.holds.count(), 20_000);
    let kept: usize = past.locks().map(|(_, lock)| lock.holds.len()).sum();
    // Of eight days every twentieth of 200 s.
    let expected = usize::try_from(KEPT_FOR / 200).expect("some");
    assert!((expected - 20..=expected + 20).contains(&kept), "{kept}");
    assert_eq!(chronicle.whole_since, None);
}

#[test]
fn a_lock_that_is_claimed_all_the_time_does_not_fill_the_memory_and_it_is_known_what_is_missing() {
    let moves: Moves = (0..4_000).map(|_| (0, 0, 10)).collect();
    let commits = commits(&moves);
    let mut chronicle = at_once(&commits[..1000]);
    for part in commits[1000..].chunks(100) {
        let (found, rest) = walk_back(part);
        let begun = found.into_iter().flat_map(|(_, _, begun)| begun).collect();
        let last = part.last().expect("no chunk is empty");
        chronicle.go_on(last.id, last.time, part.len() as u64, rest, begun);
    }

    for chronicle in [chronicle, at_once(&commits)] {
        let past = chronicle.pool(&pool(0)).expect("it was used");
        let lock = past.lock(&lock(0)).expect("it was used");
        assert_eq!(lock.holds.len(), MOST_OF_A_LOCK);
        assert_eq!(lock.claims, 2000);
        let first = lock.holds.front().expect("there is one").since;
        assert_eq!(chronicle.whole_since, Some(first - 10));
    }
}

#[test]
fn a_claim_is_found_by_its_holder_once() {
    let moves: Moves = vec![(0, 0, 0), (0, 1, 0), (0, 2, 5)];
    let commits = commits(&moves);
    let chronicle = at_once(&commits);
    let name = |time: i64| format!("ops/web/deploy build {time}");
    let mut taken = HashSet::new();
    let mut find = |who: &str, since: i64| {
        let found = chronicle.claim_by(&pool(0), who, since, &taken);
        taken.extend(found.map(|(claim, _)| claim));
        found.map(|(_, at)| at)
    };

    let who = name(START);
    assert_eq!(find(&who, START + 1), None);
    assert_eq!(find(&who, START), Some(START));
    assert_eq!(find(&who, START), Some(START));
    assert_eq!(find(&who, START), None);
    assert_eq!(find(&name(START + 5), START - 100), Some(START + 5));
    assert_eq!(find("somebody", START), None);
}

#[test]
fn what_strangers_wrote_is_harmless() {
    let moves: Moves = vec![(0, 0, 0), (0, 0, 1)];
    let mut commits = commits(&moves);
    commits[1].time = START - START % 3 + 1;
    let chronicle = at_once(&commits);
    let past = chronicle.pool(&pool(0)).expect("it was used");
    let held = &past.lock(&lock(0)).expect("it was used").holds[0];
    let end = held.end.as_ref().expect("it has ended");
    let reason = end.reason.as_deref().expect("it has a reason");
    assert!(!reason.contains('\u{1b}'), "{reason:?}");
}

//! The line at the branch, move by move, and against an independent answer.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

const NOW: u64 = 1_000_000;

fn oid(n: u8) -> Oid {
    Oid::from_str(&format!("{n:040x}")).unwrap()
}

fn line() -> BranchLine {
    BranchLine::new("refs/pool-queue/main/")
}

/// What a server lists, as changes come in.
#[derive(Default)]
struct Refs(BTreeMap<String, Oid>);

impl Refs {
    fn change(&mut self, update: &RefUpdate) -> bool {
        let name = update.name.strip_prefix("refs/pool-queue/main/").unwrap();
        if self.0.get(name).copied() != update.old {
            return false;
        }
        match update.new {
            Some(at) => self.0.insert(name.to_owned(), at),
            None => self.0.remove(name),
        };
        true
    }

    fn seen_by(&self, line: &mut BranchLine, clock: u64) {
        line.observe(self.0.iter(), clock);
    }

    fn take(&mut self, line: &mut BranchLine, id: &str, clock: u64) {
        let made = line.take(oid(1), None, id.to_owned(), clock);
        assert!(self.change(&made));
    }
}

#[test]
fn one_in_a_hurry_goes_before_all_and_takes_his_place_along() {
    let mut refs = Refs::default();
    let (mut first, mut hurries) = (line(), line());
    refs.take(&mut first, "1", NOW);
    refs.seen_by(&mut hurries, NOW);
    refs.take(&mut hurries, "2", NOW);
    refs.seen_by(&mut hurries, NOW);
    assert_eq!(hurries.before(), 1);

    hurries.go_first();

    refs.seen_by(&mut hurries, NOW);
    assert_eq!(hurries.before(), 0);
    assert!(hurries.is_useless(), "he takes no other place");
    assert!(
        hurries
            .with_our_push()
            .iter()
            .all(|update| refs.change(update))
    );
    refs.seen_by(&mut first, NOW);
    assert_eq!(first.before(), 0);
    assert_eq!(refs.0.len(), 1, "nobody else is sent away");
}

#[test]
fn those_who_have_lost_a_race_push_in_the_order_in_which_they_came() {
    let mut refs = Refs::default();
    let mut lines = [line(), line(), line()];
    for (n, line) in lines.iter_mut().enumerate() {
        refs.seen_by(line, NOW);
        assert_eq!(line.before(), n, "a newcomer comes after all");
        // With the smallest id last: the number goes before it.
        refs.take(line, &format!("{}", 9 - n), NOW);
    }
    for (n, line) in lines.iter_mut().enumerate() {
        refs.seen_by(line, NOW);
        assert_eq!(line.before(), n);
    }

    for update in lines[0].with_our_push() {
        assert!(refs.change(&update));
    }
    let [_, second, third] = &mut lines;
    refs.seen_by(second, NOW);
    refs.seen_by(third, NOW);
    assert_eq!((second.before(), third.before()), (0, 1));
}

#[test]
fn two_with_the_same_number_do_not_both_go_first() {
    let mut refs = Refs::default();
    let (mut one, mut other) = (line(), line());
    refs.take(&mut one, "b", NOW);
    refs.take(&mut other, "a", NOW + 1);
    refs.seen_by(&mut one, NOW);
    refs.seen_by(&mut other, NOW);
    assert_eq!((one.before(), other.before()), (1, 0));
}

#[test]
fn who_does_not_use_his_turn_is_passed_over_and_his_ticket_goes_with_the_push_of_the_next() {
    let mut refs = Refs::default();
    let (mut ghost, mut one, mut later) = (line(), line(), line());
    refs.take(&mut ghost, "a", NOW);
    refs.seen_by(&mut one, NOW);
    refs.take(&mut one, "b", NOW);
    refs.seen_by(&mut later, NOW);
    refs.take(&mut later, "c", NOW);

    refs.seen_by(&mut one, NOW);
    one.pass();
    assert_eq!(one.before(), 0);
    refs.seen_by(&mut one, NOW);
    assert_eq!(one.before(), 0, "passed over once is for good");

    for update in one.with_our_push() {
        assert!(refs.change(&update));
    }
    refs.seen_by(&mut later, NOW);
    assert_eq!(later.before(), 0);

    // He was only slow: that his ticket has gone he sees, and he may take another.
    ghost.observe(
        [("the.branch/000001.1000000.a".to_owned(), oid(1))]
            .iter()
            .map(|(a, b)| (a, b)),
        NOW,
    );
    refs.seen_by(&mut ghost, NOW);
    assert!(!ghost.has_ticket());
}

#[test]
fn a_view_that_does_not_show_our_ticket_yet_does_not_make_us_take_another() {
    let mut refs = Refs::default();
    let mut one = line();
    refs.take(&mut one, "a", NOW);
    Refs::default().seen_by(&mut one, NOW);
    assert!(one.has_ticket());
    refs.seen_by(&mut one, NOW);
    Refs::default().seen_by(&mut one, NOW);
    assert!(!one.has_ticket());
}

#[test]
fn an_old_ticket_is_nobodys_and_is_taken_away_before_another_is_taken() {
    let mut refs = Refs::default();
    refs.take(&mut line(), "a", NOW);
    refs.take(&mut line(), "b", NOW + 4 * LIFE);
    let mut one = line();
    refs.seen_by(&mut one, NOW + 2 * LIFE);
    assert_eq!(one.before(), 0);

    let clearing = one.clearing();
    assert_eq!(clearing.len(), 2);
    for update in clearing {
        assert!(refs.change(&update));
    }
    refs.seen_by(&mut one, NOW + 2 * LIFE);
    assert!(!one.is_useless());
    assert!(one.clearing().is_empty());
}

#[test]
fn where_tickets_stay_nobody_takes_one() {
    let mut refs = Refs::default();
    refs.take(&mut line(), "a", NOW);
    let mut one = line();
    refs.seen_by(&mut one, NOW + 2 * LIFE);
    assert!(!one.is_useless());
    assert_eq!(one.clearing().len(), 1);
    refs.seen_by(&mut one, NOW + 2 * LIFE);
    assert!(one.is_useless());
}

#[test]
fn whose_ticket_goes_away_each_time_goes_without() {
    let mut refs = Refs::default();
    let mut one = line();
    for n in 0..TRIES {
        assert!(!one.is_useless());
        refs.take(&mut one, &format!("x{n}"), NOW);
        refs.seen_by(&mut one, NOW);
        refs.0.clear();
        refs.seen_by(&mut one, NOW);
        assert!(!one.has_ticket());
    }
    assert!(one.is_useless());
}

#[test]
fn other_refs_there_are_no_tickets_and_are_left_alone() {
    let names = [
        "the.branch/x",
        "the.branch/1.2.a",
        "the.branch/000001.2.",
        "the.branch/000001.1000000.a/b",
        "aws/0000000001.0.0.a",
        "the.branch/999999999999999999999999.1.a",
    ];
    let refs: Vec<(String, Oid)> = names
        .iter()
        .map(|name| ((*name).to_owned(), oid(1)))
        .collect();
    let mut one = line();
    one.observe(refs.iter().map(|(a, b)| (a, b)), NOW);
    assert_eq!(one.before(), 0);
    assert!(one.clearing().is_empty());
}

#[test]
fn without_a_ticket_of_our_own_nothing_of_others_goes_with_our_push() {
    let mut refs = Refs::default();
    refs.take(&mut line(), "a", NOW);
    let mut one = line();
    refs.seen_by(&mut one, NOW);
    one.pass();
    assert_eq!(one.before(), 0);
    assert!(one.with_our_push().is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whoever comes, goes and dies, and however wrong the clocks are: among those who see the same refs at most one is first,
    /// and one is, as long as anybody alive has a ticket.
    #[test]
    fn among_those_who_see_the_same_exactly_one_is_first(
        steps in prop::collection::vec((0_usize..6, 0_u8..4, 0_u64..30), 1..60)
    ) {
        let mut refs = Refs::default();
        let mut lines: Vec<BranchLine> = (0..6).map(|_| line()).collect();
        let mut clock = NOW;
        for (n, (who, what, skew)) in steps.into_iter().enumerate() {
            clock += 1;
            let one = &mut lines[who];
            refs.seen_by(one, clock + skew);
            match what {
                0 | 1 if !one.has_ticket() => refs.take(one, &format!("x{n}"), clock + skew),
                0 | 1 => if one.before() == 0 {
                    let updates = one.with_our_push();
                    // All or nothing, as the server does it.
                    let all = updates.iter().all(|update| {
                        let name = update.name.strip_prefix("refs/pool-queue/main/").unwrap();
                        refs.0.get(name).copied() == update.old
                    });
                    // Somebody may have passed us over before we have seen our ticket ourselves: then we push alone.
                    let was_seen = one.ours.as_ref().is_some_and(|ours| ours.was_seen);
                    prop_assert!(all || !was_seen);
                    for update in updates.iter().filter(|_| all) {
                        refs.change(update);
                    }
                    one.forget();
                },
                2 => one.pass(),
                // Killed.
                _ => *one = line(),
            }
            // Those who see it as it is, and have passed nobody over.
            let fresh = |line: &&mut BranchLine| line.has_ticket() && line.passed.is_empty();
            let mut first = 0;
            let mut some = 0;
            for line in lines.iter_mut().filter(fresh) {
                refs.seen_by(line, clock);
                if line.has_ticket() {
                    some += 1;
                    first += usize::from(line.before() == 0);
                }
            }
            prop_assert!(first <= 1, "{first} are first");
            prop_assert!(first == 1 || some == 0 || refs.0.len() > some);
        }
    }
}

/// A commit that differs from others in how it begins, as most do.
fn commit(n: u8) -> Oid {
    git::object::blob_id(&[n])
}

/// Has somebody offer something on a commit of the branch.
fn offer(refs: &mut Refs, line: &mut BranchLine, id: &str, on: u8) {
    let made = line.take(commit(100 + on), Some(commit(on)), id.to_owned(), NOW);
    assert!(refs.change(&made));
}

#[test]
fn what_those_behind_us_offer_on_the_commit_that_the_branch_is_at_is_seen_in_their_order() {
    let mut refs = Refs::default();
    let mut lines: Vec<BranchLine> = (0..5).map(|_| line()).collect();
    for (n, on) in [7, 7, 8, 7].into_iter().enumerate() {
        refs.seen_by(&mut lines[n], NOW);
        offer(&mut refs, &mut lines[n], &format!("{}", 9 - n), on);
    }
    refs.seen_by(&mut lines[4], NOW);
    refs.take(&mut lines[4], "0", NOW);

    for line in &mut lines {
        refs.seen_by(line, NOW);
    }
    let places: Vec<Option<usize>> = lines.iter().map(BranchLine::place).collect();
    assert_eq!(places, [Some(0), Some(1), Some(2), Some(3), Some(4)]);
    assert_eq!(lines[0].offers(commit(7)).count(), 2);
    assert_eq!(lines[1].offers(commit(7)).count(), 1, "only those behind");
    assert_eq!(lines[0].offers(commit(8)).count(), 1);
    // Whoever carries them out takes their tickets away.
    for (at, ticket) in lines[0].offers(commit(7)).collect::<Vec<_>>() {
        assert_eq!(at, commit(107));
        assert!(refs.change(&ticket));
    }
    refs.seen_by(&mut lines[1], NOW);
    refs.seen_by(&mut lines[2], NOW);
    assert!(!lines[1].has_ticket(), "it was carried out");
    assert!(lines[2].has_ticket());
}

#[test]
fn one_in_a_hurry_brings_nobody_along() {
    let mut refs = Refs::default();
    let (mut hurries, mut other) = (line(), line());
    refs.take(&mut hurries, "a", NOW);
    refs.seen_by(&mut other, NOW);
    offer(&mut refs, &mut other, "b", 7);
    refs.seen_by(&mut hurries, NOW);
    assert_eq!(hurries.offers(commit(7)).count(), 1);

    hurries.go_first();

    assert_eq!(hurries.offers(commit(7)).count(), 0);
    assert_eq!(hurries.place(), None);
}

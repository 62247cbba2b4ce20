//! How long others have for a free lock.
#![allow(clippy::unwrap_used)]

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn head(n: u8) -> Oid {
    Oid::from_str(&format!("{n:040x}")).unwrap()
}

fn measure(ahead: usize) -> Measure {
    Measure {
        ahead,
        look: SECOND / 100,
        is_hasty: false,
    }
}

fn sleeps(others: &[(&str, Duration)]) -> BTreeMap<String, Duration> {
    let named = others
        .iter()
        .map(|(name, sleeps)| ((*name).to_owned(), *sleeps));
    named.collect()
}

fn who(name: &str) -> Vec<String> {
    vec![name.to_owned()]
}

#[test]
fn one_that_is_first_for_long_has_a_look_and_a_push() {
    let (mut courtesy, began) = (Courtesy::default(), Instant::now());
    let first = sleeps(&[("a", FIRST)]);
    courtesy.observe(head(1), first.clone(), began);
    courtesy.observe(head(2), first, began + 60 * SECOND);
    let now = began + 60 * SECOND;

    let left = courtesy.left(who("a"), head(2), &measure(1), now);

    assert_eq!(left, FIRST + LEAST);
    assert_eq!(
        courtesy.left(who("a"), head(2), &measure(1), now + left),
        Duration::ZERO
    );
    // Those further back wait longer, and nobody for long.
    assert_eq!(
        courtesy.left(who("a"), head(2), &measure(3), now),
        left + 2 * PER_PLACE
    );
    assert_eq!(
        courtesy.left(who("a"), head(2), &measure(150), now),
        left + ALL_PLACES
    );
}

#[test]
fn one_that_has_just_become_the_first_may_sleep_as_long_as_it_does_further_back() {
    let (mut courtesy, began) = (Courtesy::default(), Instant::now());
    for (n, pause) in [(0, 8 * SECOND), (1, 6 * SECOND), (2, SECOND), (3, FIRST)] {
        let now = began + n * SECOND;
        courtesy.observe(head(n as u8 + 1), sleeps(&[("a", pause)]), now);
    }
    let now = began + 3 * SECOND;

    let left = courtesy.left(who("a"), head(4), &measure(1), now);

    // For all we know it looked last just before it was seen to have moved up, two seconds ago.
    assert_eq!(left, 8 * SECOND - 2 * SECOND + LEAST);
    let hasty = Measure {
        is_hasty: true,
        ..measure(1)
    };
    assert_eq!(courtesy.left(who("a"), head(4), &hasty, now), FIRST + LEAST);
}

#[test]
fn the_time_counts_from_when_the_branch_came_to_rest_and_begins_anew_for_others() {
    let (mut courtesy, began) = (Courtesy::default(), Instant::now());
    let both = sleeps(&[("a", FIRST), ("b", FIRST)]);
    courtesy.observe(head(1), both.clone(), began - 60 * SECOND);
    for n in 0..4 {
        courtesy.observe(head(2), both.clone(), began + n * SECOND);
    }
    let now = began + 3 * SECOND;
    assert_eq!(
        courtesy.left(who("a"), head(2), &measure(1), now),
        Duration::ZERO
    );

    courtesy.note_called(who("a"), head(2), &measure(1), now);
    courtesy.observe(head(3), both, now);
    assert_ne!(
        courtesy.left(who("b"), head(3), &measure(1), now),
        Duration::ZERO
    );
}

#[test]
fn on_a_branch_that_moves_all_the_time_others_have_longer() {
    let (mut courtesy, began) = (Courtesy::default(), Instant::now());
    let first = sleeps(&[("a", FIRST)]);
    courtesy.observe(head(1), first.clone(), began - 60 * SECOND);
    courtesy.observe(head(2), first.clone(), began);
    courtesy.note_called(who("a"), head(2), &measure(1), began);
    let now = began + SECOND;
    courtesy.observe(head(3), first, now);

    let left = courtesy.left(who("a"), head(3), &measure(1), now);

    assert!(left > SECOND / 2 && left < 3 * SECOND, "{left:?}");
    assert_eq!(courtesy.left_for_called(now), Some(Duration::ZERO));
}

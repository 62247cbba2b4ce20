//! Who is alive, by what one sees of his ticket.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::line::Need;
use crate::operation::Want;

const SECOND: Duration = Duration::from_secs(1);
const CLOCK: u64 = 1_800_000_000;
const NAME: &str = "0000000001.0.0.a";

fn text(period: Duration) -> TicketText {
    TicketText {
        subject: "a waiting for any lock".to_owned(),
        url: None,
        need: Need::Any(Want::default()),
        since: CLOCK,
        renewal: period,
        step: None,
        build: None,
        also: Vec::new(),
        within: Vec::new(),
        instance_vars: None,
        newest: false,
        gives_way: false,
    }
}

fn commit(n: u8) -> Oid {
    Oid::from_str(&format!("{n:040x}")).unwrap()
}

/// Looks once: the ticket is at this commit, which says this.
fn look(seen: &mut Sightings, at: Oid, said: &Said, now: Instant) -> Life {
    seen.observe([(NAME, at)], &|_| said.clone(), now, CLOCK);
    seen.get(NAME).unwrap().life(now)
}

#[test]
fn a_ticket_whose_own_date_is_long_ago_is_dead_at_first_sight() {
    for (period, age, life) in [
        (20, 0, Life::Alive),
        (20, 299, Life::Alive),
        (20, 300, Life::Dead),
        (180, 1799, Life::Alive),
        (180, 1800, Life::Dead),
        // A clock that is ahead.
        (20, -7200, Life::Alive),
    ] {
        let made = i64::try_from(CLOCK).unwrap() - age;
        let said = Said::Waits(Box::new(text(SECOND * period)), made);

        let seen = look(&mut Sightings::default(), commit(1), &said, Instant::now());

        assert_eq!(seen, life, "{age} s ago, {period} s");
    }
}

#[test]
fn one_that_changes_is_alive_whatever_its_clock_says() {
    let (mut seen, now) = (Sightings::default(), Instant::now());
    let slow = Said::Waits(Box::new(text(20 * SECOND)), 0);

    assert_eq!(look(&mut seen, commit(1), &slow, now), Life::Dead);
    let later = now + SECOND;
    assert_eq!(look(&mut seen, commit(2), &slow, later), Life::Alive);
    // Its silence is counted from what we saw.
    assert_eq!(
        look(&mut seen, commit(2), &slow, later + 59 * SECOND),
        Life::Alive
    );
    assert_eq!(
        look(&mut seen, commit(2), &slow, later + 60 * SECOND),
        Life::Dead
    );
}

#[test]
fn one_with_a_longer_period_than_we_know_of_is_read_before_it_counts_as_dead() {
    let (mut seen, now) = (Sightings::default(), Instant::now());
    let made = i64::try_from(CLOCK).unwrap();
    look(
        &mut seen,
        commit(1),
        &Said::Waits(Box::new(text(20 * SECOND)), made),
        now,
    );
    look(&mut seen, commit(2), &Said::NotHere, now + 20 * SECOND);

    let later = now + 80 * SECOND;
    assert_eq!(
        look(&mut seen, commit(2), &Said::NotHere, later),
        Life::Alive
    );
    assert!(seen.get(NAME).unwrap().is_doubtful(later));
    let said = Said::Waits(Box::new(text(200 * SECOND)), made);
    assert_eq!(look(&mut seen, commit(2), &said, later), Life::Alive);
    assert!(!seen.get(NAME).unwrap().is_doubtful(later));
    assert_eq!(
        look(&mut seen, commit(2), &said, now + 619 * SECOND),
        Life::Alive
    );
    assert_eq!(
        look(&mut seen, commit(2), &said, now + 620 * SECOND),
        Life::Dead
    );
}

#[test]
fn one_that_is_left_is_known_without_reading_and_its_owner_can_come_back() {
    let (mut seen, now) = (Sightings::default(), Instant::now());
    let made = i64::try_from(CLOCK).unwrap();
    look(
        &mut seen,
        commit(1),
        &Said::Waits(Box::new(text(20 * SECOND)), made),
        now,
    );
    let gone = left(commit(1)).id();

    assert_eq!(look(&mut seen, gone, &Said::NotHere, now), Life::Left);
    assert_eq!(look(&mut seen, commit(3), &Said::NotHere, now), Life::Alive);
    // A newcomer reads it.
    let said = Said::by(left(commit(1)).message.as_bytes(), 0);
    assert_eq!(
        look(&mut Sightings::default(), gone, &said, now),
        Life::Left
    );
}

#[test]
fn what_says_nothing_that_we_know_is_gone_after_a_minute() {
    let (mut seen, now) = (Sightings::default(), Instant::now());
    assert_eq!(Said::by(b"x", 0), Said::Nothing);
    assert_eq!(look(&mut seen, commit(1), &Said::Nothing, now), Life::Alive);
    let later = now + 60 * SECOND;
    assert_eq!(
        look(&mut seen, commit(1), &Said::Nothing, later),
        Life::Dead
    );
}

//! Numbers over histories of every kind.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

/// When the histories begin, in seconds since 1970.
const BEGIN: i64 = 1_800_000_000;

fn numbered(number: u64) -> Vec<u8> {
    format!("anna claiming: a\n\nPool-Request: x\nPool-Number: {number}\n").into_bytes()
}

/// A commit on a branch.
#[derive(Debug, Clone)]
struct Made {
    date: i64,
    message: Vec<u8>,
    /// Its number, if it is one of ours.
    number: Option<u64>,
}

/// What happens to a branch.
#[derive(Debug, Clone)]
enum Event {
    /// A commit of ours, by this clock, with so many commits of the history here.
    Ours { clock: i64, depth: usize },
    /// One of a tool that knows of no numbers. Which locks these claim, free, remove or add makes no difference.
    Foreign { clock: i64 },
    /// All commits become one, of whoever does that.
    Squashed { clock: i64 },
    /// The branch is put back by so many commits.
    Rewound(usize),
}

/// Events with the time that passes before each. Clocks are wrong by up to `skew` seconds.
fn events(skew: i64, least: i64) -> impl Strategy<Value = Vec<(i64, Event)>> {
    let clock = -skew..=skew;
    let event = prop_oneof![
        6 => (clock.clone(), 1..4_usize).prop_map(|(clock, depth)| Event::Ours { clock, depth }),
        4 => clock.clone().prop_map(|clock| Event::Foreign { clock }),
        1 => clock.prop_map(|clock| Event::Squashed { clock }),
        1 => (1..4_usize).prop_map(Event::Rewound),
    ];
    proptest::collection::vec((least..least + 40, event), 1..60)
}

/// Carries them out. Gives every commit of ours that there ever was, in order.
fn carry_out(events: &[(i64, Event)]) -> Vec<Made> {
    let mut branch: Vec<Made> = Vec::new();
    let mut ours = Vec::new();
    let mut time = BEGIN;
    let foreign = |date| Made {
        date,
        message: b"ops/web/deploy build 1 claiming: a\n".to_vec(),
        number: None,
    };
    for (passes, event) in events {
        time += passes;
        match event {
            Event::Ours { clock, depth } => {
                let seen = branch.iter().rev().take(*depth);
                let number = next(time + clock, seen.map(|made| (made.date, &made.message)));
                let made = Made {
                    date: time + clock,
                    message: numbered(number),
                    number: Some(number),
                };
                branch.push(made.clone());
                ours.push(made);
            }
            Event::Foreign { clock } => branch.push(foreign(time + clock)),
            Event::Squashed { clock } => {
                branch.clear();
                branch.push(foreign(time + clock));
            }
            Event::Rewound(by) => branch.truncate(branch.len().saturating_sub(*by)),
        }
    }
    ours
}

proptest! {
    #[test]
    fn numbers_grow_over_any_history_while_clocks_are_less_wrong_than_the_time_between(
        events in events(5, 11)
    ) {
        let ours = carry_out(&events);
        for pair in ours.windows(2) {
            prop_assert!(pair[0].number < pair[1].number, "{:?}", pair);
        }
    }

    #[test]
    fn a_claim_is_above_every_earlier_one_that_was_made_before_its_own_clock(
        events in events(100_000, 0)
    ) {
        let ours = carry_out(&events);
        for (n, later) in ours.iter().enumerate() {
            // Whatever else happened to the branch in between.
            for earlier in &ours[..n] {
                let number = earlier.number.unwrap();
                prop_assert!(number < later.number.unwrap() || i64::try_from(number).unwrap() >= later.date);
            }
        }
    }

    #[test]
    fn commits_of_ours_alone_have_growing_numbers_whatever_the_clocks_say(
        clocks in proptest::collection::vec(any::<i64>(), 2..50)
    ) {
        let mut head: Option<(i64, Vec<u8>)> = None;
        let mut last = 0;
        for clock in clocks {
            // No clock of a machine goes further.
            let clock = clock.rem_euclid(4_000_000_000_000);
            let number = next(clock, head.clone());
            prop_assert!(number > last);
            last = number;
            head = Some((clock, numbered(number)));
        }
    }

    #[test]
    fn what_is_behind_commits_of_others_counts_as_far_as_it_is_here(
        number in 1..HIGHEST / 2, dates in proptest::collection::vec(any::<i64>(), 0..5), now in 0..4_000_000_000_i64
    ) {
        let others = dates.iter().map(|date| (*date, b"x\n".to_vec()));
        let seen: Vec<_> = others.chain([(0, numbered(number))]).collect();

        prop_assert!(next(now, seen) > number);
    }

    #[test]
    fn no_message_makes_it_stumble(message in any::<Vec<u8>>(), date in any::<i64>(), now in any::<i64>()) {
        let number = next(now, [(date, message)]);
        prop_assert!(number >= 1);
    }
}

#[test]
fn what_is_no_number_counts_as_none() {
    for (text, expected) in [
        ("7", Some(7)),
        ("9007199254740991", Some(HIGHEST)),
        ("9007199254740992", None),
        ("99999999999999999999999", None),
        ("0", None),
        ("-1", None),
        ("+1", None),
        ("1.5", None),
        ("seven", None),
        ("", None),
    ] {
        let message = format!("x claiming: a\n\nPool-Number: {text}\n");
        assert_eq!(of(message.as_bytes()), expected, "{text}");
    }
    assert_eq!(of(b"Pool-Number: 7\n"), None);
}

#[test]
fn a_date_of_the_far_future_hides_no_later_number() {
    let far = [(BEGIN + BELIEVED_AHEAD + 1, b"x\n".to_vec())];
    assert_eq!(next(BEGIN, far), BEGIN as u64);

    let near = [(BEGIN + 60, b"x\n".to_vec())];
    assert_eq!(next(BEGIN, near), BEGIN as u64 + 61);
}

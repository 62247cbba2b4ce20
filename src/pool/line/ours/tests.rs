//! A ticket of ours on servers that lose answers, show what is old, or do not allow something.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// What goes wrong with one change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Done,
    /// It is done, and nobody hears of it.
    AnswerLost,
    /// It never arrives.
    Lost,
    /// A lock file is in the way, as the server says in whatever words.
    Busy,
    /// Somebody else takes the ticket away just before.
    Removed,
    /// Somebody else says that it is left just before.
    Left,
}

fn place() -> PlaceName {
    PlaceName {
        number: 7,
        priority: 0,
        raised: 0,
        id: "us".to_owned(),
    }
}

fn commit(n: u64) -> Oid {
    Oid::from_str(&format!("{:040x}", n + 1)).unwrap()
}

/// A ref on a server, and all it has been.
struct Server {
    at: Option<Oid>,
    past: Vec<(Instant, Option<Oid>)>,
    made: u64,
    rights: [bool; 3],
    lists: bool,
}

impl Server {
    fn set(&mut self, at: Option<Oid>, now: Instant) {
        self.at = at;
        self.past.push((now, at));
    }

    /// What its reading side shows, which is so much behind.
    fn listed(&self, now: Instant, behind: Duration) -> Vec<(PlaceName, Oid)> {
        let then = self
            .past
            .iter()
            .rev()
            .find(|(when, _)| *when + behind <= now);
        let at = then.and_then(|(_, at)| *at).filter(|_| self.lists);
        at.map(|at| (place(), at)).into_iter().collect()
    }

    fn push(&mut self, old: Option<Oid>, new: Oid, fate: Fate, now: Instant) -> Answer {
        match fate {
            Fate::Removed => self.set(None, now),
            Fate::Left => {
                let left = self.at.map(|at| super::super::left(at).id());
                self.set(left, now);
            }
            Fate::Lost => return Answer::Silence,
            Fate::Busy => return Answer::No("no".to_owned()),
            Fate::Done | Fate::AnswerLost => {}
        }
        let [make, r#move, _] = self.rights;
        let allowed = if old.is_none() { make } else { r#move };
        if !allowed || self.at != old {
            return Answer::No("no".to_owned());
        }
        self.set(Some(new), now);
        match fate {
            Fate::AnswerLost => Answer::Silence,
            _ => Answer::Yes,
        }
    }
}

/// Keeps a ticket for as many rounds as there are fates; gives what was found lacking, and how many pushes it took.
fn keep(server: &mut Server, fates: &[Fate], behind: Duration) -> (Option<Lacking>, usize) {
    let mut now = Instant::now();
    let mut ours = Ours::new(place(), now);
    let mut pushes = 0;
    for fate in fates {
        now = ours.due().max(now) + SECOND;
        ours.see(&server.listed(now, behind), now);
        if ours.lacking().is_some() {
            break;
        }
        server.made += 1;
        let (old, new) = match ours.next() {
            Next::Look => unreachable!("we have just looked"),
            Next::Make => (None, commit(server.made)),
            Next::Renew(at) => (Some(at), commit(server.made)),
        };
        ours.pushing(place(), new, 20 * SECOND, now);
        pushes += 1;
        ours.answered(server.push(old, new, *fate, now), now);
    }
    (ours.lacking().cloned(), pushes)
}

fn server(rights: [bool; 3], lists: bool) -> Server {
    Server {
        at: None,
        past: vec![(Instant::now() - 60 * SECOND, None)],
        made: 0,
        rights,
        lists,
    }
}

fn some_fates() -> impl Strategy<Value = Vec<Fate>> {
    let fate = prop_oneof![
        6 => Just(Fate::Done),
        1 => Just(Fate::AnswerLost),
        1 => Just(Fate::Lost),
        1 => Just(Fate::Busy),
        1 => Just(Fate::Removed),
        1 => Just(Fate::Left),
    ];
    prop::collection::vec(fate, 1..60).prop_map(|fates| {
        // Twice in a row a lock file is no lock file any more.
        let mut busy = false;
        let each = fates.into_iter().map(|fate| {
            let again = busy && matches!(fate, Fate::Busy | Fate::Lost | Fate::AnswerLost);
            busy = fate == Fate::Busy;
            if again { Fate::Done } else { fate }
        });
        each.collect()
    })
}

proptest! {
    #[test]
    fn no_right_is_taken_for_missing_that_is_there(fates in some_fates()) {
        let (lacking, _) = keep(&mut server([true; 3], true), &fates, Duration::ZERO);

        prop_assert_eq!(lacking, None);
    }

    #[test]
    fn after_all_that_goes_wrong_the_ticket_is_there_again(mut fates in some_fates()) {
        fates.extend([Fate::Done; 3]);
        let mut server = server([true; 3], true);

        keep(&mut server, &fates, Duration::ZERO);

        prop_assert!(server.at.is_some());
    }

    #[test]
    fn what_is_missing_is_found_out_with_few_pushes(rights in any::<[bool; 3]>(), lists in any::<bool>()) {
        let mut server = server(rights, lists);

        let (lacking, pushes) = keep(&mut server, &[Fate::Done; 30], Duration::ZERO);

        match (rights, lists) {
            ([false, ..], _) => prop_assert_eq!(lacking, Some(Lacking::Make("no".to_owned()))),
            (_, false) => prop_assert!(lacking.is_some()),
            ([_, false, _], _) => prop_assert_eq!(lacking, Some(Lacking::Move("no".to_owned()))),
            _ => {
                prop_assert_eq!(lacking, None);
                return Ok(());
            }
        }
        prop_assert!(pushes <= 4, "{} pushes", pushes);
    }
}

#[test]
fn a_view_that_is_seconds_old_does_not_make_a_ticket_one_that_is_not_listed() {
    for seconds in [1, 2, 5] {
        let mut server = server([true; 3], true);

        let (lacking, _) = keep(&mut server, &[Fate::Done; 5], seconds * SECOND);

        assert_eq!(lacking, None, "{seconds} s behind");
    }
}

#[test]
fn a_server_that_is_silent_is_pushed_to_ever_more_seldom() {
    let mut now = Instant::now();
    let mut ours = Ours::new(place(), now);
    let began = now;
    let mut pushes = 0_u32;
    while now < began + 3600 * SECOND {
        ours.see(&[], now);
        ours.pushing(place(), commit(1), 20 * SECOND, now);
        pushes += 1;
        ours.answered(Answer::Silence, now);
        assert!(ours.due() > now);
        now = ours.due();
    }
    assert!(pushes < 130, "{pushes} pushes in an hour");
}

#[test]
fn a_name_that_the_server_does_not_change_stays_as_it_is() {
    let now = Instant::now();
    let mut ours = Ours::new(place(), now);
    ours.pushing(place(), commit(1), SECOND, now);
    ours.answered(Answer::Yes, now);
    ours.see(&[(place(), commit(1))], now);
    let raised = PlaceName {
        raised: 1,
        ..place()
    };

    ours.pushing(raised.clone(), commit(2), SECOND, now);
    ours.answered(Answer::No("no".to_owned()), now);
    ours.see(&[(place(), commit(1))], now);

    assert!(!ours.can_rename());
    assert_eq!(
        (ours.place(), ours.next()),
        (&place(), Next::Renew(commit(1)))
    );
    assert_eq!(ours.lacking(), None);
    // Where it made the new one and kept the old one, both go in the end.
    ours.see(&[(place(), commit(1)), (raised.clone(), commit(2))], now);
    assert_eq!(ours.traces().len(), 2);
}

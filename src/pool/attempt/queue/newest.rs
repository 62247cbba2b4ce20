//! Lines in which of the builds of one job the latest alone waits.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;

use super::*;
use crate::line::TicketText;
use git::Note;

/// One in the line: which job it is of, which build, in which order it waits, how urgent it is.
#[derive(Debug, Clone)]
struct One {
    job: u8,
    build: u64,
    newest: bool,
    priority: i32,
}

fn origin(one: &One) -> Origin {
    Origin {
        prefix: format!("ops/web/job-{} build {}", one.job, one.build),
        url: Some(format!("https://ci.example.com/builds/{}", one.build)),
        build_id: Some(one.build.to_string()),
        instance_vars: None,
    }
}

/// What one sees in whose line these wait, who have come in this order.
fn queue(me: Option<&One>, others: &[One]) -> Queue {
    let settings = InLine {
        renewal: Duration::from_secs(20),
        newest: me
            .filter(|me| me.newest)
            .and_then(|me| Series::of(&origin(me))),
        ..InLine::default()
    };
    let patience = Patience {
        limit: None,
        retry_delay: Duration::from_secs(10),
    };
    let pool = PoolName::new("aws").unwrap();
    let need = Need::Any(Want::default());
    let mut queue = Queue::with_clock("main", &pool, need, settings, patience, || 1_800_000_000);
    let mut watched = BTreeMap::new();
    let mut texts = HashMap::new();
    for (n, one) in others.iter().enumerate() {
        let text = TicketText {
            subject: String::new(),
            url: None,
            build: None,
            need: Need::Any(Want::default()),
            since: 1_800_000_000,
            renewal: Duration::from_secs(20),
            step: None,
            also: Vec::new(),
            within: Vec::new(),
            instance_vars: None,
            newest: one.newest,
            gives_way: false,
        };
        let message = text.compose(&origin(one));
        let note = Note {
            after: None,
            message: &message,
            identity: &git::Identity::default(),
            time: 1_800_000_000,
        };
        let place = PlaceName {
            number: n as u64 + 1,
            priority: one.priority,
            raised: 0,
            id: format!("w{n}"),
        };
        watched.insert(place.name(), note.id());
        texts.insert(note.id(), message.clone());
    }
    let listing = Listing {
        head: Oid::ZERO_SHA1,
        watched,
        besides: BTreeMap::new(),
    };
    let said = |commit: Oid| Said::by(texts[&commit].as_bytes(), 1_800_000_000);
    queue.observe(&listing, &said, Duration::ZERO);
    queue
}

fn ids(queue: &Queue) -> Vec<String> {
    let (line, _) = queue.live();
    line.into_iter().map(|ticket| ticket.place.id).collect()
}

fn lines() -> impl Strategy<Value = (Vec<One>, One)> {
    let one = (0u8..3, 1u64..6, prop::bool::weighted(0.8), 0i32..2);
    let one = one.prop_map(|(job, build, newest, priority)| One {
        job,
        build,
        newest,
        priority,
    });
    let me = one.clone().prop_map(|one| One { priority: 0, ..one });
    (prop::collection::vec(one, 0..8), me)
}

proptest! {
    #[test]
    fn only_earlier_builds_of_the_same_job_leave_and_all_others_keep_their_places((others, me) in lines()) {
        let queue = queue(Some(&me), &others);
        // Whoever waits in the order of arrival neither leaves nor makes anybody leave.
        let is_gone = |one: &One| {
            let all = others.iter().chain([&me]);
            one.newest && all.filter(|other| other.newest).any(|other| other.job == one.job && other.build > one.build)
        };
        let mut everybody: Vec<Ticket> = others.iter().enumerate().filter(|(_, one)| !is_gone(one)).map(|(n, one)| Ticket {
            place: PlaceName { number: n as u64 + 1, priority: one.priority, raised: 0, id: format!("w{n}") },
            need: Need::Any(Want::default()),
        }).collect();
        everybody = in_order(everybody);
        let expected: Vec<String> = everybody.into_iter().map(|ticket| ticket.place.id).collect();
        let seen: Vec<String> = ids(&queue).into_iter().filter(|id| id != "~").collect();
        prop_assert_eq!(seen, expected);

        // We leave exactly when there is a later one, and it is named.
        let later = others.iter().filter(|one| me.newest && one.newest && one.job == me.job && one.build > me.build);
        let latest = later.max_by_key(|one| one.build).map(|one| origin(one).prefix);
        prop_assert_eq!(queue.superseded_by(), latest);
    }

    #[test]
    fn a_newcomer_stands_where_the_first_of_those_stood_whom_it_supersedes((others, me) in lines()) {
        let queue = queue(Some(&me), &others);
        let older = others.iter().position(|one| me.newest && one.newest && one.job == me.job && one.build < me.build);
        let number = older.map_or(others.len() as u64 + 1, |n| n as u64 + 1);
        prop_assert_eq!(queue.next_place().number, number);
    }

    #[test]
    fn who_only_looks_sees_of_each_job_the_latest_build_alone((others, _) in lines()) {
        let queue = queue(None, &others);
        let left = ids(&queue);
        for (n, one) in others.iter().enumerate().filter(|(n, one)| one.newest && left.contains(&format!("w{n}"))) {
            for (m, other) in others.iter().enumerate().filter(|(m, other)| other.newest && left.contains(&format!("w{m}"))) {
                prop_assert!(one.job != other.job || one.build == other.build, "{} {}", n, m);
            }
        }
    }
}

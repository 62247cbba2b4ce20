//! Which claims are freed and which are kept, and what is said of it.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::maker::{AsWell, Build, InstanceVars, Which};
use crate::message::BuildRef;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;

/// 2025-11-21, 08:00:00.
const NOW: u64 = 1_763_712_000;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn build() -> Build {
    Build {
        which: Which::Named {
            build: BuildRef {
                team: "ops".into(),
                pipeline: "web".into(),
                job: "deploy".into(),
                build: "12".into(),
            },
            vars: InstanceVars::None,
        },
        home: None,
    }
}

fn maker() -> Maker {
    Maker::Build(build())
}

fn found(status: &str, began: Option<u64>) -> Heard {
    Heard::Found {
        status: Status::read(status).unwrap(),
        began: began.map(at),
        ended: None,
    }
}

fn missing_with(running: &[(&str, Option<u64>)], complete: bool) -> Heard {
    let running = running.iter().map(|(name, began)| Running {
        name: (*name).to_owned(),
        began: began.map(at),
    });
    Heard::Missing {
        running: running.collect(),
        complete,
    }
}

/// What is said of a claim that was made two hours ago.
fn judged(heard: &Heard, lease_end: Option<u64>, stale_after: Option<u64>) -> Verdict {
    let claim = Claim {
        made: at(NOW - 2 * HOUR),
        lease_end: lease_end.map(at),
        maker: &maker(),
        heard,
    };
    let rules = Rules {
        now: at(NOW),
        stale_after: stale_after.map(Duration::from_secs),
    };
    judge(&claim, &rules)
}

fn keep(why: &str) -> Verdict {
    Verdict::Keep(why.to_owned())
}

fn free(why: &str) -> Verdict {
    Verdict::Free(why.to_owned())
}

#[test]
fn a_build_that_is_alive_keeps_its_lock_whatever_its_lease_and_age_are() {
    for status in ["pending", "started"] {
        for lease in [None, Some(NOW - HOUR), Some(NOW + HOUR)] {
            for stale_after in [None, Some(1), Some(24 * HOUR)] {
                for began in [None, Some(NOW - 3 * HOUR), Some(NOW)] {
                    assert_eq!(
                        judged(&found(status, began), lease, stale_after),
                        keep(&format!("`ops/web/deploy build 12` is alive ({status})"))
                    );
                }
            }
        }
    }
}

#[test]
fn a_build_that_has_ended_loses_its_lock_though_its_lease_lasts() {
    for status in ["succeeded", "failed", "errored", "aborted"] {
        for lease in [None, Some(NOW + HOUR)] {
            for began in [
                None,
                Some(NOW - 3 * HOUR),
                Some(NOW - 2 * HOUR + 5 * MINUTE),
            ] {
                assert_eq!(
                    judged(&found(status, began), lease, None),
                    free(&format!("`ops/web/deploy build 12` has ended ({status})"))
                );
            }
        }
    }
}

#[test]
fn a_build_that_was_over_before_the_claim_has_not_made_it() {
    let over_at = |ended| Heard::Found {
        status: Status::read("failed").unwrap(),
        began: Some(at(NOW - 5 * HOUR)),
        ended: Some(at(ended)),
    };
    // The claim is two hours old. A build that is aborted may claim while it is being ended, and clocks differ.
    let long_before = over_at(NOW - 2 * HOUR - 6 * MINUTE);
    let doubt =
        "the `ops/web/deploy build 12` that there is now was over before the claim was made";

    assert_eq!(
        judged(&long_before, None, None),
        keep(&format!(
            "it is 2h old, has no lease, and no `stale_after` is set; {doubt}"
        ))
    );
    assert_eq!(
        judged(&over_at(NOW - 2 * HOUR - 4 * MINUTE), None, None),
        free("`ops/web/deploy build 12` has ended (failed)")
    );
}

#[test]
fn a_build_that_began_after_the_claim_has_not_made_it() {
    let other = found("failed", Some(NOW - 2 * HOUR + 6 * MINUTE));
    let doubt = "the `ops/web/deploy build 12` that there is now began after the claim was made";

    assert_eq!(
        judged(&other, None, None),
        keep(&format!(
            "it is 2h old, has no lease, and no `stale_after` is set; {doubt}"
        ))
    );
    assert_eq!(
        judged(&other, None, Some(HOUR)),
        free(&format!("it is 2h old, which is more than 1h; {doubt}"))
    );
    assert_eq!(
        judged(&other, Some(NOW + HOUR), Some(HOUR)),
        keep(&format!(
            "its lease lasts until 2025-11-21T09:00:00Z; {doubt}"
        ))
    );
}

#[test]
fn a_build_that_is_gone_with_all_its_names_loses_its_lock() {
    let gone =
        free("`ops/web/deploy build 12` is gone: Concourse has it no more, under whatever name");

    assert_eq!(judged(&missing_with(&[], true), None, None), gone);
    assert_eq!(
        judged(&missing_with(&[], true), Some(NOW + HOUR), None),
        gone
    );
    // One that began later is another.
    let later = missing_with(&[("ops/new/deploy build 12", Some(NOW - HOUR))], true);
    assert_eq!(judged(&later, None, None), gone);
}

#[test]
fn a_build_that_may_live_on_under_another_name_keeps_its_lock() {
    for began in [None, Some(NOW - 3 * HOUR)] {
        for complete in [true, false] {
            let heard = missing_with(&[("ops/renamed/deploy build 12", began)], complete);

            assert_eq!(
                judged(&heard, Some(NOW - HOUR), Some(1)),
                keep(
                    "there is no `ops/web/deploy build 12`, but it may be alive under another name: \
                     `ops/renamed/deploy build 12`"
                )
            );
        }
    }
    let many: Vec<String> = (0..5).map(|n| format!("b{n}")).collect();
    let many: Vec<(&str, Option<u64>)> = many.iter().map(|name| (name.as_str(), None)).collect();
    assert!(
        judged(&missing_with(&many, true), None, None)
            .why()
            .ends_with(": `b0`, `b1`, `b2`, 2 more")
    );
}

#[test]
fn where_not_all_running_builds_are_known_lease_and_age_decide() {
    let heard = missing_with(&[], false);
    let doubt = "Concourse has no `ops/web/deploy build 12`, which may have another name now";

    assert_eq!(
        judged(&heard, None, None),
        keep(&format!(
            "it is 2h old, has no lease, and no `stale_after` is set; {doubt}"
        ))
    );
    assert_eq!(
        judged(&heard, None, Some(HOUR)),
        free(&format!("it is 2h old, which is more than 1h; {doubt}"))
    );
}

#[test]
fn a_concourse_that_cannot_be_heard_keeps_every_lock_of_its_builds() {
    for lease in [None, Some(NOW - HOUR), Some(NOW + HOUR)] {
        for stale_after in [None, Some(1)] {
            assert_eq!(
                judged(&Heard::Unheard("it is\ndown".into()), lease, stale_after),
                keep(
                    "`ops/web/deploy build 12` may be alive, which Concourse cannot tell now: it is\\ndown"
                )
            );
        }
    }
}

#[test]
fn where_there_is_nobody_to_ask_the_lease_decides_and_then_the_age() {
    let nobody = Heard::Unknown("no Concourse is given".into());
    let doubt = "it is not known whether `ops/web/deploy build 12` is alive: no Concourse is given";
    let table = [
        (
            Some(NOW - HOUR),
            None,
            free("its lease ended at 2025-11-21T07:00:00Z, 1h ago"),
        ),
        (
            Some(NOW - 1),
            Some(24 * HOUR),
            free("its lease ended at 2025-11-21T07:59:59Z, 1s ago"),
        ),
        (
            Some(NOW),
            Some(1),
            keep("its lease lasts until 2025-11-21T08:00:00Z"),
        ),
        (
            Some(NOW + HOUR),
            Some(1),
            keep("its lease lasts until 2025-11-21T09:00:00Z"),
        ),
        (
            None,
            None,
            keep("it is 2h old, has no lease, and no `stale_after` is set"),
        ),
        (
            None,
            Some(2 * HOUR),
            keep("it is 2h old, which is not more than 2h"),
        ),
        (
            None,
            Some(2 * HOUR - 1),
            free("it is 2h old, which is more than 1h59m59s"),
        ),
    ];

    for (lease, stale_after, verdict) in table {
        let expected = match verdict {
            Verdict::Keep(why) => Verdict::Keep(format!("{why}; {doubt}")),
            Verdict::Free(why) => Verdict::Free(format!("{why}; {doubt}")),
        };
        assert_eq!(judged(&nobody, lease, stale_after), expected);
    }
}

#[test]
fn a_claim_that_no_build_made_is_judged_by_its_lease_and_age() {
    let maker = Maker::Unknown("its commit names no build".into());
    let heard = Heard::Unknown(String::new());
    let verdict = |made: u64, stale_after: u64| {
        let claim = Claim {
            made: at(made),
            lease_end: None,
            maker: &maker,
            heard: &heard,
        };
        let rules = Rules {
            now: at(NOW),
            stale_after: Some(Duration::from_secs(stale_after)),
        };
        judge(&claim, &rules)
    };

    assert_eq!(
        verdict(NOW - HOUR, 60),
        free("it is 1h old, which is more than 1m; its commit names no build")
    );
    assert_eq!(
        verdict(NOW - HOUR, 2 * HOUR),
        keep("it is 1h old, which is not more than 2h; its commit names no build")
    );
    assert_eq!(
        verdict(NOW + 1, 1),
        keep(
            "it was made at 2025-11-21T08:00:01Z, which is in the future by our clock; its commit names no build"
        )
    );
}

fn times() -> impl Strategy<Value = SystemTime> {
    // Further back than any clock, around our time, and beyond what dates can be written of.
    prop_oneof![
        0..2 * NOW,
        NOW - 3 * HOUR..NOW + 3 * HOUR,
        Just(1 << 40),
        Just(i64::MAX as u64 / 2)
    ]
    .prop_map(at)
}

fn rules() -> impl Strategy<Value = Rules> {
    let stale_after = prop_oneof![0..10u64, 0..100 * HOUR, Just(u64::MAX)];
    (times(), prop::option::of(stale_after)).prop_map(|(now, stale_after)| Rules {
        now,
        stale_after: stale_after.map(Duration::from_secs),
    })
}

fn running() -> impl Strategy<Value = Vec<Running>> {
    let one = (any::<String>(), prop::option::of(times()));
    prop::collection::vec(one.prop_map(|(name, began)| Running { name, began }), 0..4)
}

fn statuses(alive: bool) -> impl Strategy<Value = Status> {
    let words = [
        "pending",
        "started",
        "succeeded",
        "failed",
        "errored",
        "aborted",
    ];
    let words = words.map(|word| Status::read(word).unwrap());
    let fitting: Vec<Status> = words
        .into_iter()
        .filter(|status| matches!(status, Status::Alive(_)) == alive)
        .collect();
    prop::sample::select(fitting)
}

fn makers() -> impl Strategy<Value = Maker> {
    prop_oneof![
        Just(maker()),
        any::<String>().prop_map(Maker::Unknown),
        Just(Maker::Build(Build {
            which: Which::Id {
                id: "4711".into(),
                as_well: AsWell::OneOff
            },
            home: None
        })),
    ]
}

fn any_heard() -> impl Strategy<Value = Heard> {
    let times = || (prop::option::of(times()), prop::option::of(times()));
    let found = |(status, (began, ended))| Heard::Found {
        status,
        began,
        ended,
    };
    prop_oneof![
        (statuses(true), times()).prop_map(found),
        (statuses(false), times()).prop_map(found),
        (running(), any::<bool>())
            .prop_map(|(running, complete)| Heard::Missing { running, complete }),
        any::<String>().prop_map(Heard::Unknown),
        any::<String>().prop_map(Heard::Unheard),
    ]
}

/// All that a Concourse may say of a build that is alive and made a claim at `made`: it shows it, or has it under
/// another name among those that run, or cannot be heard.
fn heard_of_the_living(made: SystemTime) -> impl Strategy<Value = Heard> {
    let began = prop::option::of((0..10 * HOUR).prop_map(move |before| {
        // Its clock may be behind by some.
        made.checked_sub(Duration::from_secs(before))
            .unwrap_or(made)
            + SKEW / 2
    }));
    let others = (running(), running(), any::<bool>());
    prop_oneof![
        (statuses(true), prop::option::of(times())).prop_map(|(status, began)| Heard::Found {
            status,
            began,
            ended: None
        }),
        (others, began).prop_map(|((mut running, more, complete), began)| {
            running.push(Running {
                name: "it".into(),
                began,
            });
            running.extend(more);
            Heard::Missing { running, complete }
        }),
        any::<String>().prop_map(Heard::Unheard),
    ]
}

proptest! {
    #[test]
    fn the_lock_of_a_living_build_is_never_freed(
        (made, heard) in times().prop_flat_map(|made| (Just(made), heard_of_the_living(made))),
        lease_end in prop::option::of(times()),
        rules in rules(),
    ) {
        let claim = Claim { made, lease_end, maker: &maker(), heard: &heard };

        let verdict = judge(&claim, &rules);

        prop_assert!(matches!(verdict, Verdict::Keep(_)), "{verdict:?}");
    }

    #[test]
    fn what_is_freed_has_ended_or_has_outlived_its_lease_or_its_age(
        made in times(),
        lease_end in prop::option::of(times()),
        maker in makers(),
        heard in any_heard(),
        rules in rules(),
    ) {
        let claim = Claim { made, lease_end, maker: &maker, heard: &heard };

        let verdict = judge(&claim, &rules);

        prop_assert!(!verdict.why().contains(char::is_control), "{verdict:?}");
        if let Verdict::Free(why) = verdict {
            let over = lease_end.is_some_and(|end| end < rules.now);
            let stale = lease_end.is_none()
                && rules.stale_after.is_some_and(|limit| rules.now.duration_since(made).is_ok_and(|age| age > limit));
            let ended = matches!(&maker, Maker::Build(_)) && match &heard {
                Heard::Found { status: Status::Ended(_), began, ended } =>
                    began.is_none_or(|began| began <= made + SKEW) && ended.is_none_or(|ended| made <= ended + SKEW),
                Heard::Missing { complete, running } =>
                    *complete && running.iter().all(|other| other.began.is_some_and(|began| began > made + SKEW)),
                _ => false,
            };
            prop_assert!(ended || over || stale, "{}", why);
        }
    }
}

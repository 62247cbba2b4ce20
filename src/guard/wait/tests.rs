#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;
use std::time::UNIX_EPOCH;

use gitlab::{GitlabError, Pipeline};

use super::*;
use crate::rule::{Guarded, Jobs, Kin, Other};
use crate::turn::SETTLE;

const OWN: Own = Own {
    pipeline: 10,
    job: Some(100),
    takes_turns: false,
};

const TERMS: Terms = Terms {
    own: OWN,
    timeout: Some(Duration::from_secs(3600)),
    no_wait: false,
    poll: None,
    settle: SETTLE,
};

/// Readings one after the other, the last one for ever; and when each was asked for.
struct Script {
    answers: VecDeque<Answer>,
    asked: Vec<Instant>,
}

#[derive(Clone, Copy)]
enum Answer {
    Free,
    Taken(u64),
    Status(u16, Option<u64>),
    Hang,
}

impl Script {
    fn new(answers: impl IntoIterator<Item = Answer>) -> Script {
        Script {
            answers: answers.into_iter().collect(),
            asked: Vec::new(),
        }
    }

    /// The pauses between the looks, in seconds.
    fn gaps(&self) -> Vec<f64> {
        let pairs = self.asked.windows(2);
        pairs
            .map(|pair| (pair[1] - pair[0]).as_secs_f64())
            .collect()
    }
}

impl Look for Script {
    async fn look(&mut self) -> Result<Reading, LookError> {
        self.asked.push(Instant::now());
        let answer = match self.answers.len() {
            1 => self.answers[0],
            _ => self.answers.pop_front().unwrap(),
        };
        let own = Guarded {
            id: 100,
            started: Some(UNIX_EPOCH),
            ..Guarded::default()
        };
        let mut reading = Reading {
            own: Jobs::Read(vec![own]),
            is_listed: true,
            others: Vec::new(),
            date: None,
        };
        let at = || "https://h/".to_owned();
        match answer {
            Answer::Free => Ok(reading),
            Answer::Taken(id) => {
                reading.others.push(Other {
                    pipeline: Pipeline {
                        id,
                        ..Pipeline::default()
                    },
                    jobs: Jobs::Over,
                    kin: Kin::None,
                });
                Ok(reading)
            }
            Answer::Status(status @ 401..=404, _) => {
                let (at, who) = (at(), "the private token");
                Err(GitlabError::Refused { at, who, status }.into())
            }
            Answer::Status(status, after) => Err(GitlabError::Failed {
                at: at(),
                status,
                retry_after: after.map(Duration::from_secs),
            }
            .into()),
            Answer::Hang => std::future::pending().await,
        }
    }
}

async fn waits(script: &mut Script, terms: &Terms) -> (End, Vec<String>) {
    let mut told = Vec::new();
    let end = wait(script, terms, &mut |news| {
        told.push(match news {
            News::Changed(conflicts) => {
                let ids: Vec<u64> = conflicts.iter().map(|one| one.pipeline.id).collect();
                format!("changed {ids:?}")
            }
            News::Unchanged => "unchanged".to_owned(),
            News::Still(_, _) => "still".to_owned(),
            News::Confirming(_) => "confirming".to_owned(),
            News::Unseen => "unseen".to_owned(),
            News::Fault(_, _) => "fault".to_owned(),
            News::Free => "free".to_owned(),
        });
    })
    .await;
    (end, told)
}

#[tokio::test(start_paused = true)]
async fn looks_are_three_to_fifteen_whole_seconds_apart_and_the_pauses_do_not_grow() {
    let mut script = Script::new([Answer::Taken(1)]);

    let (end, _) = waits(&mut script, &TERMS).await;

    assert!(
        matches!(
            end,
            End::TimedOut {
                saw_conflicts: true,
                ..
            }
        ),
        "{end:?}"
    );
    let gaps = script.gaps();
    assert!(gaps.len() > 200, "{}", gaps.len());
    for gap in &gaps {
        let whole = gap.round();
        assert!(
            (3.0..=15.0).contains(&whole) && (gap - whole).abs() < 0.01,
            "{gap}"
        );
    }
    let seen = |seconds: f64| gaps.iter().any(|gap| (gap.round() - seconds).abs() < 0.1);
    assert!(seen(3.0) && seen(15.0));
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_when_the_conflict_does_and_tells_only_of_changes() {
    let taken = Answer::Taken;
    let mut script = Script::new([taken(1), taken(1), taken(2), Answer::Free]);

    let (end, told) = waits(&mut script, &TERMS).await;

    assert!(matches!(end, End::Free));
    assert_eq!(
        told,
        [
            "changed [1]",
            "unchanged",
            "changed [2]",
            "changed []",
            "confirming",
            "free"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_wait_in_which_nothing_changes_is_told_of_once_a_minute() {
    let terms = Terms {
        timeout: Some(Duration::from_secs(600)),
        ..TERMS
    };
    let (_, told) = waits(&mut Script::new([Answer::Taken(1)]), &terms).await;

    let still = told.iter().filter(|line| *line == "still").count();
    assert!((7..=9).contains(&still), "{still}");
    assert_eq!(
        told.iter()
            .filter(|line| line.starts_with("changed"))
            .count(),
        1
    );
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_if_that_is_asked_for() {
    let terms = Terms {
        no_wait: true,
        ..TERMS
    };

    let mut script = Script::new([Answer::Taken(1)]);
    let (end, told) = waits(&mut script, &terms).await;
    assert!(matches!(end, End::Taken(conflicts) if conflicts.len() == 1));
    assert_eq!((script.asked.len(), told.len()), (1, 0));

    // Errors are borne with for half a minute.
    let mut script = Script::new([Answer::Status(500, None)]);
    let (end, _) = waits(&mut script, &terms).await;
    match end {
        End::TimedOut {
            after,
            saw_conflicts: false,
        } => assert!(after < SHORT, "{after:?}"),
        other => panic!("{other:?}"),
    }
    assert!(script.asked.len() > 2);
}

#[tokio::test(start_paused = true)]
async fn the_time_is_over_also_in_the_middle_of_a_look_and_says_whether_there_was_a_conflict() {
    let terms = Terms {
        timeout: Some(Duration::from_secs(2)),
        ..TERMS
    };
    for (answers, expected) in [
        (vec![Answer::Hang], false),
        (vec![Answer::Status(500, None)], false),
        (vec![Answer::Taken(1)], true),
        (vec![Answer::Free, Answer::Hang], false),
    ] {
        let (end, _) = waits(&mut Script::new(answers), &terms).await;
        match end {
            End::TimedOut {
                after,
                saw_conflicts,
            } => {
                assert_eq!((after.as_secs(), saw_conflicts), (2, expected));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_limit_it_waits_for_ever() {
    let terms = Terms {
        timeout: None,
        ..TERMS
    };
    let mut script = Script::new([Answer::Taken(1)]);

    let day = Duration::from_secs(24 * 3600);
    assert!(
        tokio::time::timeout(day, waits(&mut script, &terms))
            .await
            .is_err()
    );
}

#[tokio::test(start_paused = true)]
async fn pauses_after_faults_grow_begin_anew_after_a_success_and_are_as_long_as_the_server_asks() {
    let failed = Answer::Status(500, None);
    let busy = Answer::Status(429, Some(100));
    let mut script = Script::new([
        failed,
        failed,
        failed,
        Answer::Taken(1),
        failed,
        busy,
        Answer::Taken(1),
        Answer::Free,
    ]);

    let (end, _) = waits(&mut script, &TERMS).await;

    assert!(matches!(end, End::Free));
    let gaps = script.gaps();
    for (gap, whole) in [(0, 6.0), (1, 12.0), (2, 24.0), (4, 6.0)] {
        assert!(
            (whole / 2.0..=whole + 0.01).contains(&gaps[gap]),
            "{gaps:?}"
        );
    }
    assert!(gaps[5] >= 100.0, "{gaps:?}");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_tried_once_more_and_ends_it() {
    for status in [401, 403, 404] {
        let refused = Answer::Status(status, None);
        let mut script = Script::new([refused]);
        let (end, told) = waits(&mut script, &TERMS).await;
        assert!(matches!(end, End::Refused(_)), "{status}: {end:?}");
        assert_eq!((script.asked.len(), told.len()), (2, 1));
        // Not if it was only one.
        let mut script = Script::new([refused, Answer::Status(500, None), refused, Answer::Free]);
        assert!(matches!(waits(&mut script, &TERMS).await.0, End::Free));
    }
}

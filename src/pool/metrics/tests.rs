//! What is pushed, and to which group.
#![allow(clippy::unwrap_used)]

use super::*;

fn place(pool: &str, branch: &str) -> Place {
    Place {
        pool: PoolName::new(pool).unwrap(),
        branch: branch.to_owned(),
    }
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn acquired() -> Operation {
    Operation {
        name: "acquire_lock",
        succeeded: true,
        ended: at(1_700_000_000),
        took: Duration::from_millis(1500),
        waited: Some(Duration::from_millis(250)),
        held: None,
        lost_races: 2,
        retried_faults: 1,
    }
}

/// The samples of a push, without what is said about them.
fn samples(push: &Push) -> Vec<&str> {
    let Change::Replace(text) = &push.change else {
        panic!("{push:?}");
    };
    text.lines().filter(|line| !line.starts_with('#')).collect()
}

#[test]
fn plain_values_stand_in_a_groups_path_as_they_are_and_others_in_base64() {
    for (value, part) in [
        ("aws", "pool/aws"),
        ("aws-1_x.y", "pool/aws-1_x.y"),
        ("team/aws", "pool@base64/dGVhbS9hd3M="),
        ("a b", "pool@base64/YSBi"),
        ("ü", "pool@base64/w7w="),
        ("100%", "pool@base64/MTAwJQ=="),
        ("a?b#c", "pool@base64/YT9iI2M="),
        ("..", "pool@base64/Li4="),
        ("???>>>", "pool@base64/Pz8_Pj4-"),
        ("", "pool@base64/="),
    ] {
        assert_eq!(path_part(("pool", value)), part, "{value}");
    }
}

#[test]
fn each_kind_of_push_has_a_group_of_its_own() {
    let place = place("team/aws", "main");
    let waiter = Waiter {
        id: "0a-1".to_owned(),
        since: at(5),
        place: 3,
        circle: 2,
    };
    let line = Line {
        length: 0,
        oldest: Since::Nothing,
    };
    let start = "metrics/job/concourse_resource_pool/pool@base64/dGVhbS9hd3M=/branch/main";

    assert_eq!(place.state(None, Some(&line)).unwrap().path, start);
    assert_eq!(
        place.operation(&acquired()).path,
        format!("{start}/operation/acquire_lock")
    );
    assert_eq!(place.waiter(&waiter).path, format!("{start}/waiter/0a-1"));
    assert_eq!(
        place.no_waiter("0a-1"),
        Push {
            path: format!("{start}/waiter/0a-1"),
            change: Change::Delete
        }
    );
}

#[test]
fn what_is_not_known_of_a_pool_is_left_as_it_was_and_what_is_not_there_is_zero() {
    let place = place("aws", "main");
    let mut pool = PoolState {
        free: 2,
        claimed: 1,
        damaged: 0,
        oldest_claim: Since::When(at(1_700_000_000)),
    };
    let mut line = Line {
        length: 4,
        oldest: Since::Unknown,
    };

    let push = place.state(Some(&pool), Some(&line)).unwrap();
    assert_eq!(
        samples(&push),
        [
            "resource_pool_locks{state=\"claimed\"} 1",
            "resource_pool_locks{state=\"damaged\"} 0",
            "resource_pool_locks{state=\"free\"} 2",
            "resource_pool_num_available_locks 2",
            "resource_pool_num_claimed_locks 1",
            "resource_pool_oldest_claim_timestamp_seconds 1700000000",
            "resource_pool_queue_length 4",
        ]
    );

    pool.oldest_claim = Since::Unknown;
    assert_eq!(
        samples(&place.state(Some(&pool), None).unwrap()).len(),
        5,
        "neither the line nor the claim"
    );
    line.oldest = Since::Nothing;
    assert_eq!(
        samples(&place.state(None, Some(&line)).unwrap()),
        [
            "resource_pool_queue_length 4",
            "resource_pool_queue_oldest_timestamp_seconds 0"
        ]
    );
    assert_eq!(place.state(None, None), None);
}

#[test]
fn an_operation_tells_what_it_took_and_one_that_failed_only_when_and_what_was_in_its_way() {
    let place = place("aws", "main");
    let mut operation = acquired();

    let push = place.operation(&operation);
    let told = samples(&push);
    for sample in [
        "resource_pool_execution_time_bucket{le=\"1\"} 0",
        "resource_pool_execution_time_bucket{le=\"2.5\"} 1",
        "resource_pool_execution_time_sum 1.5",
        "resource_pool_execution_time_count 1",
        "resource_pool_last_success_timestamp_seconds 1700000000",
        "resource_pool_lost_races 2",
        "resource_pool_retried_faults 1",
        "resource_pool_wait_seconds 0.25",
    ] {
        assert!(told.contains(&sample), "{sample} in {told:#?}");
    }
    assert!(!told.iter().any(|sample| sample.contains("held")));

    operation.succeeded = false;
    assert_eq!(
        samples(&place.operation(&operation)),
        [
            "resource_pool_last_failure_timestamp_seconds 1700000000",
            "resource_pool_lost_races 2",
            "resource_pool_retried_faults 1",
        ]
    );
}

#[test]
fn names_say_the_unit_and_none_claims_to_be_a_counter() {
    let mut names: Vec<&str> = METRICS.iter().map(|metric| metric.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), METRICS.len());
    for metric in METRICS {
        assert!(metric.name.starts_with("resource_pool_"), "{metric:?}");
        assert!(!metric.name.ends_with("_total"), "{metric:?}");
        // That name was there before.
        let has_unit = metric.name.ends_with("_seconds") || metric == EXECUTION_TIME;
        assert_eq!(has_unit, metric.unit.starts_with("seconds"), "{metric:?}");
        assert_eq!(
            metric.name.ends_with("_timestamp_seconds"),
            metric.unit == "seconds since 1970",
            "{metric:?}"
        );
        assert!(!metric.help.ends_with('.'), "{metric:?}");
    }
}

#[test]
fn everything_that_is_pushed_is_in_the_table_with_its_kind_and_group() {
    let place = place("aws", "main");
    let mut released = acquired();
    released.held = Some(Duration::from_secs(9));
    let mut failed = acquired();
    failed.succeeded = false;
    let pool = PoolState {
        free: 0,
        claimed: 1,
        damaged: 0,
        oldest_claim: Since::When(at(1)),
    };
    let line = Line {
        length: 1,
        oldest: Since::When(at(2)),
    };
    let waiter = Waiter {
        id: "x".to_owned(),
        since: at(2),
        place: 1,
        circle: 0,
    };
    let mut pushed = Vec::new();
    for push in [
        place.state(Some(&pool), Some(&line)).unwrap(),
        place.operation(&released),
        place.operation(&failed),
        place.waiter(&waiter),
    ] {
        let group = push.path.split('/').nth(7).map(str::to_owned);
        let Change::Replace(text) = push.change else {
            panic!("{push:?}");
        };
        for line in text.lines().filter(|line| line.starts_with("# TYPE ")) {
            let mut words = line.split(' ').skip(2).map(str::to_owned);
            pushed.push((words.next().unwrap(), words.next().unwrap(), group.clone()));
        }
    }
    pushed.sort();
    pushed.dedup();

    let mut table: Vec<(String, String, Option<String>)> = METRICS
        .iter()
        .map(|metric| {
            let group = metric.group.map(str::to_owned);
            (metric.name.to_owned(), metric.kind.to_owned(), group)
        })
        .collect();
    table.sort();
    assert_eq!(pushed, table);
}

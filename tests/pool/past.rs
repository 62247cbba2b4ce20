//! Looking back: what was, by `pool status --at`, `log` and `stats`; what would have been, by `pool simulate`.

use serde_json::Value;
use support::remote::Hand;
use support::{Pool, TestRemote, wait_until};

/// When the histories of these tests begin, in seconds since 1970: 2026-11-01, midnight.
const BEGIN: u64 = 1_793_491_200;

/// A pool with two locks whose past is known: what was claimed and released when, and by which commits.
fn with_a_past() -> (TestRemote, Pool) {
    let remote = TestRemote::empty("main");
    let put = |path: &'static str| Hand::Put(path, "100644", b"");
    remote.commit("before", &[put("x")]);
    let move_at = |seconds: u64, message: &str, from: &str, to: &str| {
        remote.commit_at(BEGIN + seconds, message, &[Hand::Move(from, to)]);
    };
    let locks = [
        put("aws/unclaimed/a"),
        put("aws/unclaimed/b"),
        put("aws/claimed/.gitkeep"),
        put("aws/unclaimed/.gitkeep"),
    ];
    remote.commit_at(BEGIN, "pool aws", &locks);
    let (free_a, held_a) = ("aws/unclaimed/a", "aws/claimed/a");
    let (free_b, held_b) = ("aws/unclaimed/b", "aws/claimed/b");
    let tale = |who: &str, lock: &str, number: u64, more: &str| {
        format!("{who} claiming: {lock}\n\nPool-Number: {number}\n{more}Pool-Wanted: any\n")
    };
    move_at(
        60,
        &tale("ops/web/deploy build 1", "a", 1, ""),
        free_a,
        held_a,
    );
    move_at(
        120,
        "ops/web/test build 7 claiming: b\n\nPool-Number: 2\n",
        free_b,
        held_b,
    );
    move_at(3660, "ops/web/deploy build 1 unclaiming: a", held_a, free_a);
    // It had come ten minutes before.
    move_at(
        3661,
        &tale("ops/db/migrate build 3", "a", 3, "Pool-Waited: 600.0s\n"),
        free_a,
        held_a,
    );
    move_at(7261, "ops/db/migrate build 3 unclaiming: a", held_a, free_a);
    let pool = Pool::on(&remote, "aws");
    (remote, pool)
}

fn json(pool: &Pool, args: &[&str]) -> Value {
    let args = [args, &["--json"]].concat();
    serde_json::from_str(pool.run(&args).text()).unwrap()
}

#[test]
fn the_pool_is_shown_as_it_was_at_a_time_or_after_a_commit() {
    let (remote, pool) = with_a_past();
    let first = remote.back(3);
    assert_eq!(remote.subjects()[3], "ops/web/test build 7 claiming: b");

    let then = json(&pool, &["status", "--at", "2026-11-01T00:55:00Z"]);
    assert_eq!(then["commit"], first);
    let locks = &then["pools"][0]["locks"];
    assert_eq!(locks[0]["holder"], "ops/web/deploy build 1");
    assert_eq!(locks[0]["held_seconds"], 54 * 60);
    assert_eq!(locks[1]["holder"], "ops/web/test build 7");
    // Who waited then is known from what was claimed later.
    let line = &then["pools"][0]["line"];
    assert_eq!(line.as_array().unwrap().len(), 1);
    assert_eq!(line[0]["holder"], "ops/db/migrate build 3");
    assert_eq!(line[0]["since"], "2026-11-01T00:51:01Z");
    let earlier = json(&pool, &["status", "--at", "2026-11-01 00:30"]);
    assert_eq!(earlier["pools"][0]["line"], serde_json::json!([]));

    let after = json(&pool, &["status", "a", "--at", &first[..10]]);
    assert_eq!(after["commit"], first);
    assert_eq!(after["pools"][0]["locks"][0]["held_seconds"], 60);
    let text = pool.run(&["status", "--at", &first]);
    assert!(
        text.text().starts_with("as it was at 2026-11-01T00:02:00Z"),
        "{}",
        text.stdout
    );
    let now = json(&pool, &["status", "--at", "0s"]);
    assert_eq!(now["commit"], remote.head());

    for (at, words) in [
        ("2000-01-01", "no commit from that time or before"),
        ("0123456789", "no such commit"),
    ] {
        pool.run(&["status", "--at", at]).assert_code(2, &[words]);
    }
    pool.run(&["status", "--at", "soon"])
        .assert_code(2, &["nor a commit"]);
    let root = remote.git(&["rev-list", "--max-parents=0", "main"]);
    pool.run(&["status", "--at", &root])
        .assert_code(2, &["there was no pool `aws`"]);
}

#[test]
fn a_log_is_narrowed_by_time_holder_and_lock() {
    let (_remote, pool) = with_a_past();
    let holders = |args: &[&str]| -> Vec<String> {
        let log = json(&pool, &[&["log"], args].concat());
        let holds = log.as_array().unwrap().iter();
        holds
            .map(|hold| hold["holder"].as_str().unwrap().to_owned())
            .collect()
    };
    let (deploy, test, migrate) = (
        "ops/web/deploy build 1",
        "ops/web/test build 7",
        "ops/db/migrate build 3",
    );

    assert_eq!(holders(&["--since", "2026-11-01"]), [migrate, test, deploy]);
    assert_eq!(
        holders(&["--since", "2026-11-01T00:02:00Z"]),
        [migrate, test]
    );
    assert_eq!(
        holders(&["--until", "2026-11-01T00:02:00Z"]),
        [test, deploy]
    );
    let within = [
        "--since",
        "2026-11-01 00:02",
        "--until",
        "2026-11-01T01:02+01:00",
    ];
    assert_eq!(holders(&within), [test]);
    assert_eq!(holders(&["--by", "ops/web"]), [test, deploy]);
    assert_eq!(holders(&["--lock", "b"]), [test]);
    assert_eq!(holders(&["-n", "1", "--until", "2026-11-01 00:03"]), [test]);
    assert_eq!(json(&pool, &["log", "-n", "1"])[0]["waited_seconds"], 600.0);
}

#[test]
fn figures_are_told_by_pool_lock_pipeline_and_day() {
    let (_remote, pool) = with_a_past();
    let span = ["--since", "2026-11-01", "--until", "2026-11-01T02:00:00Z"];
    let stats = |by: &str| json(&pool, &[&["stats", "--by", by][..], &span].concat());

    let all = stats("pool");
    assert_eq!(all["since"], "2026-11-01T00:00:00Z");
    let row = &all["rows"][0];
    let held = 3600.0 + (7200.0 - 120.0) + (7200.0 - 3661.0);
    assert_eq!(
        (&row["of"], &row["holds_begun"]),
        (&"aws".into(), &3.into())
    );
    assert_eq!(row["held_seconds"], held);
    assert_eq!(row["used"], (held / 14_400.0 * 1000.0_f64).round() / 1000.0);
    assert_eq!(row["waits"]["count"], 3);
    assert_eq!(row["waits"]["longest_seconds"], 600.0);
    assert_eq!(row["holds"]["count"], 2);
    let of = |stats: &Value| -> Vec<Value> {
        let rows = stats["rows"].as_array().unwrap().iter();
        rows.map(|row| row["of"].clone()).collect()
    };
    assert_eq!(of(&stats("lock")), ["a", "b"]);
    assert_eq!(of(&stats("pipeline")), ["ops/db", "ops/web"]);
    assert_eq!(of(&stats("day")), ["2026-11-01"]);

    let csv = pool.run(&[&["stats", "--by", "lock", "--format", "csv"][..], &span].concat());
    let lines: Vec<&str> = csv.text().lines().collect();
    assert!(lines[0].starts_with("pool,of,holds_begun,held_seconds,used,waits,"));
    assert!(
        lines[1].starts_with("aws,a,2,7139,0.992,2,1,300,"),
        "{}",
        lines[1]
    );
    let table = pool.run(&[&["stats"][..], &span].concat());
    assert!(
        table.text().lines().any(|line| line.starts_with("aws ")),
        "{}",
        table.stdout
    );
    let none = pool.run(&["stats", "--since", "2020-01-01", "--until", "2020-02-01"]);
    assert_eq!(none.text(), "nobody has held anything in that time\n");
    let wrong = pool.run(&["stats", "--since", "1h", "--until", "2h"]);
    wrong.assert_code(2, &["must be later than"]);
}

#[test]
fn the_waits_of_the_past_are_told_for_other_numbers_of_locks() {
    let (_remote, pool) = with_a_past();
    let since = ["--since", "2026-11-01"];
    let play = |more: &[&str]| json(&pool, &[&["simulate"][..], &since, more].concat());

    let usual = play(&[]);
    assert_eq!(usual["recorded"]["longest_seconds"], 600.0);
    let locks: Vec<u64> = usual["simulated"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["locks"].as_u64().unwrap())
        .collect();
    assert_eq!(locks, [1, 2, 3, 4, 5]);
    let one = |played: &Value, n: usize| played["simulated"][n]["waits"]["longest_seconds"].clone();
    assert_eq!(one(&usual, 1), 600.0);
    // With a lock more, what is left is the second from a release until the claim after it.
    assert_eq!(one(&usual, 2), 1.0);
    let fewer = play(&["--locks", "-1", "--locks", "3"]);
    // The lock that is left is the one that somebody asked for by its name, and he never gave it back.
    assert_eq!(fewer["simulated"][0]["locks"], 1);
    assert_eq!(one(&fewer, 1), 1.0);
    let table = pool.run(&[&["simulate"][..], &since].concat());
    assert!(table.text().contains("2 locks, as now"), "{}", table.stdout);
    assert!(table.stdout.contains("3 claims"), "{}", table.stdout);
    let csv = pool.run(&[
        "simulate",
        "--format",
        "csv",
        "--since",
        "2026-11-01",
        "--locks",
        "+0",
    ]);
    assert!(
        csv.text().lines().nth(1).unwrap().starts_with("2,true,"),
        "{}",
        csv.stdout
    );

    for (args, words) in [
        (["--locks", "-2"], "one must be left"),
        (["--locks", "some"], "must be a number"),
        (["--priority", "x"], "must be TEXT=N"),
    ] {
        pool.run(&[&["simulate"], &args[..]].concat())
            .assert_code(2, &[words]);
    }
}

#[test]
fn a_recorded_run_waits_as_long_once_more_with_the_same_locks() {
    let remote = TestRemote::with_pool("aws", &["a", "b"]);
    let pools: Vec<Pool> = (0..9)
        .map(|n| Pool::on(&remote, "aws").called(&format!("worker {n}")))
        .collect();
    let mut running = Vec::new();
    for (n, pool) in pools.iter().enumerate() {
        let script = format!("sleep {}.{}", 1 + n % 3, n);
        running.push(pool.start(&["run", "--", "sh", "-c", &script]));
        // Each comes when the one before has its lock, or its place.
        wait_until("it is in line or served", || {
            let tickets = remote.git(&["for-each-ref", "refs/pool-queue"]);
            let claims = remote
                .subjects()
                .iter()
                .filter(|subject| subject.contains(" claiming"))
                .count();
            claims + tickets.lines().count() > n
        });
    }
    for running in running {
        assert_eq!(running.finish().code, Some(0));
    }

    let played = json(&pools[0], &["simulate", "--locks", "+0", "--locks", "+7"]);

    let (recorded, again) = (&played["recorded"], &played["simulated"][0]["waits"]);
    assert_eq!(recorded["count"], 9);
    assert_eq!(played["recorded_without_wait"], 0);
    let seconds = |times: &Value, what: &str| times[what].as_f64().unwrap();
    assert!(seconds(recorded, "longest_seconds") > 3.0, "{recorded}");
    for what in [
        "mean_seconds",
        "median_seconds",
        "ninety_percent_within_seconds",
        "longest_seconds",
    ] {
        let off = seconds(recorded, what) - seconds(again, what);
        // Two commits say when, to the second.
        assert!(off.abs() <= 2.0, "{what}: {recorded} and {again}");
    }
    let enough = &played["simulated"][1]["waits"];
    assert!(seconds(enough, "longest_seconds") <= 2.0, "{enough}");
}

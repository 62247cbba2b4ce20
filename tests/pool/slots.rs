//! Shared and exclusive: a pool of slots, of which readers take one and a writer all.

use serde_json::{Value, json};
use support::{Pool, Step, TestRemote, wait_until};

fn build(remote: &TestRemote, name: &str) -> Step {
    Step::on(remote, "slots")
        .in_build()
        .env("BUILD_ID", name)
        .env("BUILD_NAME", name)
}

fn tickets(remote: &TestRemote) -> usize {
    let refs = remote.git(&["for-each-ref", "refs/pool-queue"]);
    refs.lines().count()
}

fn wait_for_tickets(remote: &TestRemote, n: usize) {
    wait_until(&format!("{n} wait in line"), || tickets(remote) == n);
}

fn remote(slots: &str) -> TestRemote {
    let remote = TestRemote::with_pool("aws", &[]);
    let anna = Pool::on(&remote, "slots");
    anna.run(&["init", "--slots", slots]).text();
    remote
}

#[test]
fn a_pool_of_slots_is_made_and_made_larger() {
    let remote = remote("10");
    let names = remote.list("slots/unclaimed");
    assert_eq!(
        (names.len(), names[0].as_str(), names[9].as_str()),
        (10, "slot-01", "slot-10")
    );
    let anna = Pool::on(&remote, "slots");
    anna.run(&["init", "--slots", "12"]).text();
    assert_eq!(remote.list("slots/unclaimed").len(), 12);
    for wrong in ["0", "1001", "many"] {
        anna.run(&["init", "--slots", wrong])
            .assert_code(2, &["--slots"]);
    }
}

#[test]
fn a_writer_takes_all_slots_in_one_commit_and_gives_them_back_together() {
    let remote = remote("3");
    let before = remote.count();
    let step = build(&remote, "1");
    let writer = step.put(json!({"acquire": true, "count": "all"}));
    assert_eq!(remote.list("slots/claimed"), ["slot-1", "slot-2", "slot-3"]);
    assert_eq!(remote.count(), before + 1);
    assert_eq!(writer.told("lock_name").unwrap(), "slot-1, slot-2, slot-3");

    let bob = Pool::on(&remote, "slots").called("bob");
    bob.run(&["acquire", "--try"])
        .assert_code(1, &["no lock is free: 3 claimed"]);
    let (_, folder) = step.get(&writer.version());
    assert_eq!(step.put_folder("release", &folder).code, Some(0));
    let answer = bob.run(&[
        "run",
        "--count",
        "all",
        "--",
        "sh",
        "-c",
        "echo \"$POOL_LOCK_NAME\" | wc -l",
    ]);
    assert_eq!(answer.text().trim(), "3");
    assert_eq!(remote.list("slots/claimed"), [""; 0]);
}

#[test]
fn a_writer_waits_for_the_readers_before_it_and_goes_before_those_behind_it() {
    let remote = remote("2");
    let first = build(&remote, "reader-1");
    let held = first.put(json!({"acquire": true}));
    let writing = build(&remote, "writer");
    let writer = writing.start_put(json!({"acquire": true, "count": "all"}));
    writer.wait_for_stderr("1 of the 2 locks that are wanted are free");
    wait_for_tickets(&remote, 1);
    // A slot is free, and kept for the writer.
    let reader = build(&remote, "reader-2").start_put(json!({"acquire": true}));
    wait_for_tickets(&remote, 2);
    let shown = Pool::on(&remote, "slots").run(&["status", "--json"]);
    let shown: Value = serde_json::from_str(shown.text()).unwrap();
    assert_eq!(shown["pools"][0]["line"][0]["count"], "all");
    assert_eq!(remote.list("slots/claimed").len(), 1);

    let (_, folder) = first.get(&held.version());
    assert_eq!(first.put_folder("release", &folder).code, Some(0));
    let all = writer.finish();
    assert_eq!(all.told("lock_name").unwrap(), "slot-1, slot-2");
    assert_eq!(tickets(&remote), 1, "the reader waits");
    let (_, folder) = writing.get(&all.version());
    assert_eq!(writing.put_folder("release", &folder).code, Some(0));
    assert_eq!(reader.finish().code, Some(0));
}

#[test]
fn all_of_what_fits_is_all_and_nothing_that_fits_is_an_error() {
    let remote = TestRemote::with_pool("slots", &["a", "b"]);
    let anna = Pool::on(&remote, "slots");
    anna.run_with(&["add", "big", "--metadata", "-"], b"size: big")
        .text();
    let answer =
        build(&remote, "1").put(json!({"acquire": true, "count": "all", "match": {"size": "big"}}));
    assert_eq!(answer.lock(), "big");
    let answer = build(&remote, "2")
        .put(json!({"acquire": true, "count": "all", "match": {"size": "none"}}));
    answer.assert_failed(&[
        "1 wanted, and the pool `slots` has none whose metadata is as `match` says",
    ]);
    for wrong in ["some", "ALL"] {
        let answer = build(&remote, "3").put(json!({"acquire": true, "count": wrong}));
        answer.assert_failed(&["`params.count` must be a whole number from 1 to 1000, or `all`"]);
    }
}

#[test]
fn a_writer_that_runs_again_takes_its_claim_over_only_if_it_still_has_all() {
    let remote = remote("2");
    let step = build(&remote, "1");
    let params = json!({"acquire": true, "count": "all", "request": "all"});
    let first = step.put(params.clone());
    let again = build(&remote, "1").put(params.clone());
    assert_eq!(again.told("lock_name"), first.told("lock_name"));
    assert!(again.stderr.contains("taking it over"), "{}", again.stderr);
    // One of them was freed: all are not his any more.
    remote.release_by_hand("slots", "slot-1");
    let mut params = params;
    params["timeout"] = "1s".into();
    let third = build(&remote, "1").put(params);
    third.assert_failed(&["1 of the 2 locks that are wanted are free"]);
    assert_eq!(remote.list("slots/claimed"), ["slot-2"]);
}

/// What the commands of readers and writers have written: who came and went, in this order.
fn checked(events: &str, slots: usize) -> usize {
    let (mut readers, mut writers, mut all) = (0, 0, 0);
    for event in events.lines() {
        match event {
            "reader comes" => readers += 1,
            "reader goes" => readers -= 1,
            "writer comes" => writers += 1,
            "writer goes" => writers -= 1,
            other => panic!("{other:?} in {events}"),
        }
        all += 1;
        assert!(readers <= slots, "{events}");
        assert!(writers == 0 || (writers == 1 && readers == 0), "{events}");
    }
    assert_eq!((readers, writers), (0, 0), "{events}");
    all
}

#[test]
fn readers_and_writers_who_come_in_any_order_never_meet_and_all_come_to_their_end() {
    const SLOTS: usize = 2;
    const ROUNDS: usize = 4;
    let remote = remote(&SLOTS.to_string());
    let events = remote.root().join("events");
    std::thread::scope(|scope| {
        for who in 0..5 {
            let (remote, events) = (&remote, &events);
            scope.spawn(move || {
                let pool = Pool::on(remote, "slots")
                    .called(&format!("w{who}"))
                    .env("EVENTS", events);
                for round in 0..ROUNDS {
                    let writes = (who + round) % 3 == 0;
                    let (what, count) = if writes { ("writer", "all") } else { ("reader", "1") };
                    let script = format!(
                        "echo {what} comes >> \"$EVENTS\"; sleep 0.0{}; echo {what} goes >> \"$EVENTS\"",
                        1 + (who * 7 + round * 3) % 9
                    );
                    let answer =
                        pool.run(&["run", "--count", count, "--", "sh", "-c", &script]);
                    assert_eq!(answer.code, Some(0), "{}", answer.stderr);
                }
            });
        }
    });
    let events = std::fs::read_to_string(events).unwrap();
    assert_eq!(checked(&events, SLOTS), 5 * ROUNDS * 2);
    assert_eq!(remote.list("slots/claimed"), [""; 0]);
    assert_eq!(tickets(&remote), 0);
}

#[test]
#[should_panic(expected = "writer comes")]
fn a_reader_beside_a_writer_is_noticed() {
    checked("reader comes\nwriter comes\nwriter goes\nreader goes\n", 2);
}

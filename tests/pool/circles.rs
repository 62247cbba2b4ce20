//! Those who wait for each other: named in everybody's log, in `status` and `doctor`; and the youngest gives way where it is
//! told to.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use support::step::Running;
use support::{Answer, Pool, Step, TestRemote, path_of, wait_until};

/// Two pools with a lock each, and one with two.
fn remote() -> TestRemote {
    let remote = TestRemote::with_pool("aws", &["a"]);
    remote.add_pool("db", &["b"]);
    remote.add_pool("gcp", &["c", "d"]);
    remote
}

/// Somebody's shell, in which `$P` is the program.
fn shell(remote: &TestRemote, who: &str) -> Pool {
    Pool::on(remote, "aws")
        .called(who)
        .env("P", path_of("pool"))
        .env("MEET", remote.root())
}

/// A command that says that it has come, waits for another one and then runs the rest.
fn after_meeting(us: &str, them: &str, rest: &str) -> String {
    format!(
        "touch \"$MEET/{us}\"; while [ ! -e \"$MEET/{them}\" ]; do [ -d \"$MEET\" ] || exit 9; sleep 0.02; done; {rest}"
    )
}

fn nested(pool: &Pool, outer: &[&str], script: &str) -> Running {
    pool.start(&[outer, &["--", "sh", "-c", script]].concat())
}

/// Steps of build NAME of ops/web/deploy on a pool.
fn build(remote: &TestRemote, pool: &str, name: &str) -> Step {
    Step::on(remote, pool)
        .in_build()
        .env("BUILD_ID", name)
        .env("BUILD_NAME", name)
}

fn tickets(remote: &TestRemote) -> usize {
    remote
        .git(&["for-each-ref", "refs/pool-queue"])
        .lines()
        .count()
}

fn wait_for_tickets(remote: &TestRemote, n: usize) {
    wait_until(&format!("{n} wait in line"), || tickets(remote) == n);
}

fn claimed(remote: &TestRemote) -> Vec<String> {
    ["aws", "db", "gcp"]
        .iter()
        .flat_map(|pool| remote.list(&format!("{pool}/claimed")))
        .collect()
}

fn claim(remote: &TestRemote, pool: &str, name: &str, lock: &str) -> Answer {
    let answer = build(remote, pool, name).put(json!({"claim": lock}));
    assert_eq!(answer.code, Some(0), "{}", answer.stderr);
    answer
}

const TOLD: &str = "waiting in a circle";

#[test]
fn a_run_inside_of_itself_is_told_so_and_gives_way_if_it_is_to() {
    let remote = remote();
    let anna = shell(&remote, "anna");

    let answer = nested(
        &anna,
        &["run", "a"],
        "\"$P\" run --on-deadlock fail a -- touch \"$MEET/never\"",
    )
    .finish();

    answer.assert_code(3, &["gave way to nobody, for it waits for itself: anna waits for `a` in `aws` (held by anna)"]);
    assert!(!remote.root().join("never").exists());
    assert_eq!(claimed(&remote), Vec::<String>::new());
    assert_eq!(tickets(&remote), 0);
}

#[test]
fn of_two_runs_that_wait_for_each_other_exactly_the_youngest_gives_way() {
    let remote = remote();
    let (anna, bob) = (shell(&remote, "anna"), shell(&remote, "bob"));
    let script = |us, them, pool, lock| {
        let rest =
            format!("\"$P\" --pool {pool} run --on-deadlock fail {lock} -- echo {us} did it");
        after_meeting(us, them, &rest)
    };

    let first = nested(&anna, &["run", "a"], &script("anna", "bob", "db", "b"));
    let second = nested(
        &bob,
        &["--pool", "db", "run", "b"],
        &script("bob", "anna", "aws", "a"),
    );
    let answers = [first.finish(), second.finish()];

    let mut codes = answers.each_ref().map(|answer| answer.code);
    codes.sort_unstable();
    assert_eq!(
        codes,
        [Some(0), Some(3)],
        "{}{}",
        answers[0].stderr,
        answers[1].stderr
    );
    for (answer, us, them) in [(&answers[0], "anna", "bob"), (&answers[1], "bob", "anna")] {
        let gave_way = format!(
            "gave way to {them}, as the youngest of those who wait for each other in a circle"
        );
        assert_eq!(
            answer.stderr.contains(&gave_way),
            answer.code == Some(3),
            "{}",
            answer.stderr
        );
        assert_eq!(
            answer.stdout.contains(&format!("{us} did it")),
            answer.code == Some(0)
        );
    }
    assert_eq!(claimed(&remote), Vec::<String>::new());
    assert_eq!(tickets(&remote), 0);
}

/// Three builds, each holding what the one before waits for, each in another pool.
fn ring(remote: &TestRemote) -> [Running; 3] {
    let locks = [("aws", "a"), ("db", "b"), ("gcp", "c")];
    for (n, (pool, lock)) in locks.iter().enumerate() {
        claim(remote, pool, &(n + 1).to_string(), lock);
    }
    [0, 1, 2].map(|n: usize| {
        let (pool, lock) = locks[(n + 1) % 3];
        let running = build(remote, pool, &(n + 1).to_string()).start_put(json!({"claim": lock}));
        wait_for_tickets(remote, n + 1);
        running
    })
}

#[test]
fn a_ring_of_three_is_named_by_everybody_in_it_and_by_status_and_doctor_and_ends_when_one_leaves() {
    let remote = remote();
    let waiting = ring(&remote);
    for running in &waiting {
        running.wait_for_stderr(TOLD);
        running.wait_for_stderr("none of them can go on until one of these waits is ended");
        for n in [1, 2, 3] {
            running.wait_for_stderr(&format!("ops/web/deploy build {n} waits for `"));
        }
    }
    let dana = shell(&remote, "dana");
    for place in [&["--pool", "aws"][..], &["--pool", "gcp"]] {
        let shown = dana.run(&[place, &["status"]].concat());
        assert!(
            shown.text().contains("circle: 3 wait for each other"),
            "{}",
            shown.stdout
        );
    }
    let shown: Value = serde_json::from_str(dana.run(&["status", "--json"]).text()).unwrap();
    let waiters = shown["circles"][0]["waiters"].as_array().unwrap();
    for n in 1..=3 {
        let holder = format!("ops/web/deploy build {n}");
        let next = format!("ops/web/deploy build {}", n % 3 + 1);
        let waiter = waiters.iter().find(|one| one["holder"] == *holder).unwrap();
        assert_eq!(waiter["obstacles"][0]["by"], *next);
    }
    assert_eq!(waiters.len(), 3);
    assert_eq!(shown["circles"][0]["gives_way"], Value::Null);
    let doctor = dana.run(&["doctor"]);
    assert!(
        doctor.stdout.contains("3 wait for each other"),
        "{}",
        doctor.stdout
    );

    let [first, second, third] = waiting;
    third.signal("TERM");
    third.finish().assert_stopped();
    first.wait_for_stderr("no longer waiting in a circle");
    let shown = dana.run(&["status"]);
    assert!(!shown.text().contains("circle: "), "{}", shown.stdout);
    for running in [first, second] {
        running.signal("TERM");
        running.finish().assert_stopped();
    }
}

#[test]
fn a_waiter_for_any_lock_is_in_a_circle_only_when_nobody_outside_of_it_holds_one() {
    let remote = remote();
    claim(&remote, "gcp", "1", "c");
    claim(&remote, "gcp", "2", "d");
    let first = build(&remote, "gcp", "1").start_put(json!({"acquire": true}));
    wait_for_tickets(&remote, 1);
    let dana = shell(&remote, "dana");
    let shown = dana.run(&["--pool", "gcp", "status"]);
    assert!(!shown.text().contains("circle: "), "{}", shown.stdout);
    // Now the other one does not give its lock back either.
    let second =
        build(&remote, "gcp", "2").start_put(json!({"acquire": true, "on_deadlock": "fail"}));
    let answer = second.finish();

    answer.assert_failed(&[
        "gave way to ops/web/deploy build 1",
        "build 2 waits for any lock in `gcp`",
    ]);
    assert_eq!(remote.list("gcp/claimed"), ["c", "d"]);
    first.wait_for_stderr("waiting in pool");
    first.signal("TERM");
    first.finish().assert_stopped();
}

#[test]
fn who_runs_two_commands_side_by_side_is_in_no_circle_for_the_one_ends_whatever_the_other_waits_for()
 {
    let remote = remote();
    let (anna, bob) = (shell(&remote, "anna"), shell(&remote, "bob"));
    let end = remote.root().join("end");
    let until_told = "while [ ! -e \"$MEET/end\" ] && [ -d \"$MEET\" ]; do sleep 0.02; done";
    let holds = nested(
        &anna,
        &["run", "a"],
        &format!("echo begun >&2; {until_told}"),
    );
    holds.wait_for_stderr("begun");
    let bob = nested(
        &bob,
        &["--pool", "db", "run", "b"],
        "echo begun >&2; \"$P\" run --on-deadlock fail a -- echo had it",
    );
    bob.wait_for_stderr("begun");
    wait_for_tickets(&remote, 1);
    let other = nested(
        &anna,
        &["--pool", "db", "run", "--on-deadlock", "fail", "b"],
        "echo had it",
    );
    wait_for_tickets(&remote, 2);
    // In which they have had the time to see it.
    looked_again(&anna, &remote);

    fs::write(end, "").unwrap();
    for running in [holds, bob, other] {
        let answer = running.finish();
        assert_eq!(answer.code, Some(0), "{}", answer.stderr);
        assert!(!answer.stderr.contains(TOLD), "{}", answer.stderr);
    }
}

/// Waits until somebody else has been found in a circle, which takes as long as to be found in one.
fn looked_again(pool: &Pool, remote: &TestRemote) {
    let answer = nested(
        pool,
        &["--pool", "gcp", "run", "c"],
        "\"$P\" --pool gcp run --on-deadlock fail c -- true",
    )
    .finish();
    assert_eq!(answer.code, Some(3), "{}", answer.stderr);
    assert!(Path::new(remote.path()).exists());
}

#[test]
fn one_who_was_killed_in_a_circle_is_in_it_until_his_ticket_shows_no_sign_of_life() {
    let remote = remote();
    let shell = |who| shell(&remote, who).env("POOL_TICKET_RENEWAL", "200ms");
    let (anna, bob) = (shell("anna"), shell("bob"));
    anna.run(&["claim", "a"]).text();
    bob.run(&["--pool", "db", "claim", "b"]).text();
    let waits = anna.start(&["--pool", "db", "claim", "b"]);
    wait_for_tickets(&remote, 1);
    let killed = bob.start(&["claim", "a"]);
    waits.wait_for_stderr(TOLD);
    // Its ticket has been renewed since it was read.
    let ticket = || remote.git(&["for-each-ref", "refs/pool-queue/main/aws"]);
    let first = ticket();
    wait_until("he shows that he is there", || ticket() != first);
    killed.kill();

    waits.wait_for_stderr("no longer waiting in a circle");
    bob.run(&["--pool", "db", "release", "b"]).text();
    assert_eq!(waits.finish().code, Some(0));
}

#[test]
fn an_update_of_a_lock_of_ones_own_gives_way_as_well() {
    let remote = remote();
    let anna = shell(&remote, "anna");
    anna.run(&["claim", "a"]).text();
    let answer = anna.run_with(
        &["update", "--on-deadlock", "fail", "a", "--metadata", "-"],
        b"new",
    );
    answer.assert_code(3, &["gave way to nobody", "anna waits for `a`"]);

    let told = anna.run_with(
        &[
            "--json",
            "update",
            "--on-deadlock",
            "fail",
            "a",
            "--metadata",
            "-",
        ],
        b"new",
    );
    let error: Value = serde_json::from_str(told.stderr.lines().last().unwrap()).unwrap();
    assert_eq!(told.code, Some(3));
    assert!(error.to_string().contains("gave_way"), "{error}");
    assert_eq!(remote.list("aws/claimed"), ["a"]);
}

#[test]
fn what_to_do_in_a_circle_is_one_of_two_words() {
    let remote = remote();
    let answer = build(&remote, "aws", "1").put(json!({"acquire": true, "on_deadlock": "die"}));
    answer.assert_failed(&["`params.on_deadlock` must be `tell` or `fail`, found \"die\""]);
    let answer = shell(&remote, "anna").run(&["acquire", "--on-deadlock", "die"]);
    answer.assert_code(2, &["possible values: tell, fail"]);
}

/// Whether what the commands have written shows each lock with one holder at a time.
fn checked(events: &str) -> usize {
    let mut held = std::collections::BTreeSet::new();
    let mut all = 0;
    for event in events.lines() {
        let (what, lock) = event.split_once(' ').unwrap();
        match what {
            "has" => assert!(held.insert(lock), "{lock} has two holders: {events}"),
            "leaves" => assert!(held.remove(lock), "{lock} had none: {events}"),
            other => panic!("{other:?} in {events}"),
        }
        all += 1;
    }
    assert!(held.is_empty(), "{events}");
    all
}

#[test]
fn whoever_takes_locks_inside_of_each_other_in_whatever_order_comes_to_an_end() {
    const ROUNDS: usize = 3;
    let remote = remote();
    let events = remote.root().join("events");
    let locks = [("aws", "a"), ("db", "b"), ("gcp", "c")];
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|who: usize| {
                let (remote, events) = (&remote, &events);
                scope.spawn(move || {
                    let pool = shell(remote, &format!("w{who}")).env("EVENTS", events);
                    let run = |round: usize| {
                        // In the one direction and in the other.
                        let step = if (who + round).is_multiple_of(2) { 1 } else { 2 };
                        let first = (who + round) % 3;
                        let [one, two, three] = [0, 1, 2].map(|n| locks[(first + n * step) % 3]);
                        let inner = |(_, lock): (&str, &str), rest: &str| {
                            format!("echo has {lock} >> \"$EVENTS\"; {rest}; code=$?; echo leaves {lock} >> \"$EVENTS\"; exit $code")
                        };
                        let third = inner(three, "true");
                        let quoted = |script: &str| format!("'{}'", script.replace('\'', "'\\''"));
                        let nest = |(pool, lock): (&str, &str), script: &str| {
                            format!(
                                "\"$P\" --pool {pool} run --on-deadlock fail {lock} -- sh -c {}",
                                quoted(script)
                            )
                        };
                        let second = inner(two, &nest(three, &third));
                        let first = inner(one, &nest(two, &second));
                        pool.run(&["--pool", one.0, "run", one.1, "--", "sh", "-c", &first])
                    };
                    (0..ROUNDS).map(run).collect::<Vec<Answer>>()
                })
            })
            .collect();
        let answers = workers.into_iter().map(|worker| worker.join().unwrap());
        answers.flatten().collect()
    });
    for answer in &answers {
        let gave_way = answer.stderr.contains("gave way to");
        assert_eq!(
            answer.code,
            Some(if gave_way { 3 } else { 0 }),
            "{}",
            answer.stderr
        );
    }
    assert!(answers.iter().any(|answer| answer.code == Some(0)));
    checked(&fs::read_to_string(events).unwrap());
    assert_eq!(claimed(&remote), Vec::<String>::new());
    assert_eq!(tickets(&remote), 0);
}

#[test]
#[should_panic(expected = "a has two holders")]
fn two_holders_of_a_lock_are_noticed() {
    checked("has a\nhas b\nhas a\n");
}

//! The line of those who wait: its order, its tickets, and those who leave it without a word.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use support::git::run;
use support::server::gitolite::Gitolite;
use support::server::http::HttpServer;
use support::step::Running;
use support::{Answer, Step, TestRemote, wait_until};

/// Steps of build NAME of ops/web/deploy, with the pace that users have.
fn build(remote: &TestRemote, name: &str) -> Step {
    Step::with_source(json!({"uri": remote.uri(), "branch": remote.branch(), "pool": "aws"}))
        .in_build()
        .env("BUILD_ID", format!("id-{name}"))
        .env("BUILD_NAME", name)
}

/// The names of the tickets of the pool `aws`, in the order of their numbers.
pub fn tickets(remote: &TestRemote) -> Vec<String> {
    let refs = remote.git(&["for-each-ref", "--format=%(refname)", "refs/pool-queue"]);
    refs.lines().map(str::to_owned).collect()
}

fn wait_for_tickets(remote: &TestRemote, n: usize) {
    wait_until(&format!("{n} wait in line"), || tickets(remote).len() == n);
}

/// Who claimed, in this order: the names of the builds.
fn served(remote: &TestRemote) -> Vec<String> {
    let mut subjects = remote.subjects();
    subjects.reverse();
    let claims = subjects.iter().filter_map(|subject| {
        let (who, _) = subject.split_once(" claiming: ")?;
        Some(who.rsplit(' ').next()?.to_owned())
    });
    claims.collect()
}

/// Releases what was acquired, as its holder.
fn release(step: &Step, answer: &Answer) {
    let (got, folder) = step.get(&answer.version());
    assert_eq!(got.code, Some(0), "{}", got.stderr);
    let released = step.put_folder("release", &folder);
    assert_eq!(released.code, Some(0), "{}", released.stderr);
}

/// Keeps a log of the refs that are pushed, in the file that this gives.
fn watch_pushes(remote: &TestRemote) -> std::path::PathBuf {
    remote.hook("update", "echo \"$1\" >> refs.log");
    remote.path().join("refs.log")
}

#[test]
fn those_who_wait_are_served_in_the_order_of_their_arrival() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let server = HttpServer::start(remote.root());
    let held = build(&remote, "first");
    let first = held.put(json!({"acquire": true}));
    let names = ["a", "b", "c", "d", "e"];
    let steps = names.map(|name| build(&remote, name).set("uri", server.uri()));

    let mut waiting = Vec::new();
    for (n, step) in steps.iter().enumerate() {
        waiting.push(step.start_put(json!({"acquire": true})));
        wait_for_tickets(&remote, n + 1);
    }
    release(&held, &first);
    for (n, (step, running)) in steps.iter().zip(waiting).enumerate() {
        let answer = running.finish();
        let metadata = &answer.json()["metadata"];
        assert!(
            metadata
                .as_array()
                .unwrap()
                .contains(&json!({"name": "place_at_arrival", "value": (n + 1).to_string()})),
            "{metadata}"
        );
        release(step, &answer);
    }

    assert_eq!(served(&remote), ["first", "a", "b", "c", "d", "e"]);
    assert_eq!(tickets(&remote), [""; 0]);
    remote.fsck();
}

#[test]
fn nobody_takes_a_ticket_when_a_lock_is_free_or_when_the_order_is_any() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2"]);
    let pushes = watch_pushes(&remote);
    let first = build(&remote, "a").put(json!({"acquire": true})).lock();
    let second = build(&remote, "b").put(json!({"acquire": true, "try": true}));
    assert_ne!(first, second.lock());
    let step = Step::on(&remote, "aws").set("order", "any");
    build(&remote, "c")
        .put(json!({"acquire": true, "try": true}))
        .assert_failed(&["gave up at once"]);

    let running = step.start_put(json!({"acquire": true}));
    running.wait_for_stderr("no lock is free");
    remote.release_by_hand("aws", "env-1");
    running.finish().lock();

    let pushed = std::fs::read_to_string(pushes).unwrap();
    assert!(
        pushed.lines().all(|name| name == "refs/heads/main"),
        "{pushed}"
    );
}

#[test]
fn who_is_told_to_stop_leaves_the_line_and_delays_nobody() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    remote.claim_by_hand("aws", "env-1");
    let (a, b) = (build(&remote, "a"), build(&remote, "b"));
    let first = a.start_put(json!({"acquire": true}));
    wait_for_tickets(&remote, 1);
    let second = b.start_put(json!({"acquire": true}));
    wait_for_tickets(&remote, 2);

    first.signal("TERM");
    first.finish().assert_stopped();
    assert_eq!(tickets(&remote).len(), 1);
    remote.release_by_hand("aws", "env-1");

    second.finish().lock();
    assert_eq!(served(&remote).last().unwrap(), "b");
    assert_eq!(tickets(&remote), [""; 0]);
}

#[test]
fn who_gives_up_leaves_the_line() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    remote.claim_by_hand("aws", "env-1");
    let pushes = watch_pushes(&remote);

    build(&remote, "a")
        .put(json!({"claim": "env-1", "timeout": "300ms"}))
        .assert_failed(&["gave up after 300ms"]);

    assert_eq!(tickets(&remote), [""; 0]);
    let pushed = std::fs::read_to_string(pushes).unwrap();
    assert_eq!(pushed.matches("refs/pool-queue/main/aws/").count(), 2);
}

#[test]
fn a_ticket_whose_owner_was_killed_is_taken_away_after_its_life() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    remote.claim_by_hand("aws", "env-1");
    let (a, b) = (
        build(&remote, "a").set("ticket_renewal", "500ms"),
        build(&remote, "b"),
    );
    let first = a.start_put(json!({"acquire": true}));
    wait_for_tickets(&remote, 1);
    let second = b.start_put(json!({"acquire": true}));
    wait_for_tickets(&remote, 2);

    first.kill();
    second.wait_for_stderr("shows no sign of life");
    wait_for_tickets(&remote, 1);
    remote.release_by_hand("aws", "env-1");

    second.finish().lock();
    assert_eq!(tickets(&remote), [""; 0]);
}

#[test]
fn a_waiter_that_is_alive_keeps_its_place_however_long_it_waits() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    remote.claim_by_hand("aws", "env-1");
    let (a, b) = (
        build(&remote, "a").set("ticket_renewal", "100ms"),
        build(&remote, "b"),
    );
    let first = a.start_put(json!({"acquire": true}));
    wait_for_tickets(&remote, 1);
    let second = b.start_put(json!({"acquire": true}));
    wait_for_tickets(&remote, 2);
    let name = tickets(&remote)[0].clone();
    wait_until("the first has renewed its ticket ten times", || {
        let renewals = remote.git(&["rev-list", "--count", &name]);
        renewals.parse::<u32>().unwrap() > 10
    });

    remote.release_by_hand("aws", "env-1");

    first.finish().lock();
    remote.release_by_hand("aws", "env-1");
    second.finish().lock();
    assert_eq!(served(&remote), ["a", "b"]);
}

#[test]
fn a_ticket_that_was_taken_away_by_mistake_is_put_back_with_its_number() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    remote.claim_by_hand("aws", "env-1");
    let (a, b) = (build(&remote, "a"), build(&remote, "b"));
    let first = a.start_put(json!({"acquire": true}));
    wait_for_tickets(&remote, 1);
    let second = b.start_put(json!({"acquire": true}));
    wait_for_tickets(&remote, 2);
    let names = tickets(&remote);

    remote.git(&["update-ref", "-d", &names[0]]);

    wait_until("it is back", || tickets(&remote) == names);
    remote.release_by_hand("aws", "env-1");
    first.finish().lock();
    remote.release_by_hand("aws", "env-1");
    second.finish().lock();
    assert_eq!(served(&remote), ["a", "b"]);
}

/// A ticket that nobody keeps alive.
fn ticket_by_hand(remote: &TestRemote, name: &str, wants: &str) {
    ticket_with_renewal(remote, name, wants, "1s");
}

/// A ticket that nobody keeps alive, though it says that somebody does so once in a while.
pub fn ticket_with_renewal(remote: &TestRemote, name: &str, wants: &str, renewal: &str) {
    remote.git(&["update-ref", name, &forgotten(remote, wants, renewal, 0)]);
}

/// So many such tickets, whose last signs of life are so many seconds ago.
pub fn tickets_of_age(remote: &TestRemote, many: usize, renewal: &str, age: u64) {
    let commit = forgotten(remote, "Pool-Count: 1", renewal, age);
    let lines: String = (1..=many)
        .map(|n| format!("create refs/pool-queue/main/aws/{n:010}.0.0.ghost-{n} {commit}\n"))
        .collect();
    let made = run(
        remote.path(),
        &["update-ref", "--stdin"],
        lines.as_bytes(),
        &[],
    );
    assert!(made.status.success());
}

/// The commit of such a ticket.
fn forgotten(remote: &TestRemote, wants: &str, renewal: &str, age: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let make = |kind: &str, content: &str| {
        let args = ["hash-object", "-t", kind, "-w", "--stdin"];
        let output = run(remote.path(), &args, content.as_bytes(), &[]);
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let who = format!("somebody <some@body> {} +0000", now.as_secs() - age);
    let commit = format!(
        "tree {}\nauthor {who}\ncommitter {who}\n\n\
         ops/x/y build 1 waiting for something\n\n{wants}\nPool-Since: 2026-01-01T00:00:00Z\nPool-Renewal: {renewal}\n",
        make("tree", "")
    );
    make("commit", &commit)
}

#[test]
fn who_waits_and_has_to_take_a_dead_ticket_away_can_be_aborted_meanwhile() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    remote.claim_by_hand("aws", "env-1");
    let name = "refs/pool-queue/main/aws/0000000007.0.0.somebody";
    ticket_by_hand(&remote, name, "Pool-Count: 1");
    remote.hook(
        "update",
        "case $1 in *somebody) touch held; while [ -e HEAD ] && [ ! -e go-on ]; do sleep 0.05; done;; esac",
    );
    let running = build(&remote, "a").start_put(json!({"acquire": true}));
    wait_until("the ticket is about to be taken away", || {
        remote.path().join("held").exists()
    });

    running.signal("TERM");
    let told = Instant::now();
    let answer = running.finish();

    std::fs::write(remote.path().join("go-on"), "").unwrap();
    assert!(told.elapsed() < Duration::from_secs(8), "{}", answer.stderr);
    answer.assert_stopped();
}

#[test]
fn who_finds_too_little_of_the_history_while_others_are_first_fetches_more() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2", "env-3"]);
    remote.claim_by_hand("aws", "env-3");
    let name = "refs/pool-queue/main/aws/0000000007.0.0.somebody";
    ticket_with_renewal(&remote, name, "Pool-Count: 1", "60s");
    // A request asks whether a run of the same step has claimed before.
    let running = build(&remote, "a").start_put(json!({"acquire": true, "request": "environment"}));
    wait_for_tickets(&remote, 2);
    for n in 0..3 {
        let head = remote.commit_on(&[&remote.head()], &format!("note {n}"), &[]);
        remote.git(&["update-ref", "refs/heads/main", &head]);
    }

    let answer = running.finish();

    answer.lock();
    let others = tickets(&remote);
    assert_eq!(others.len(), 1, "{others:?}");
}

#[test]
fn a_newcomer_lets_those_go_first_who_wait_already() {
    // They collect two locks, of which one is free, so that it is not theirs to take yet.
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2"]);
    remote.claim_by_hand("aws", "env-2");
    let name = "refs/pool-queue/main/aws/0000000007.0.0.somebody";
    ticket_by_hand(&remote, name, "Pool-Count: 2");

    for params in [json!({"acquire": true}), json!({"claim": "env-1"})] {
        let mut params: Value = params;
        params["try"] = true.into();
        build(&remote, "a")
            .put(params)
            .assert_failed(&["gave up at once: `env-1` is free, for the one before us in line"]);
    }
    // Whoever made it never shows that it is there.
    build(&remote, "a").put(json!({"acquire": true})).lock();
    assert_eq!(tickets(&remote), [name]);
}

#[test]
fn a_free_lock_is_taken_at_the_second_look_when_those_before_us_do_nothing() {
    for params in [
        json!({"acquire": true, "try": true}),
        json!({"claim": "env-1", "timeout": "30s"}),
        json!({"acquire": true}),
    ] {
        let remote = TestRemote::with_pool("aws", &["env-1"]);
        tickets_of_age(&remote, 150, "1h", 0);
        let log = watch_pushes(&remote);

        assert_eq!(build(&remote, "a").put(params.clone()).lock(), "env-1");

        // Nobody knows that they are ghosts, so that they stay.
        assert_eq!(tickets(&remote).len(), 150, "{params}");
        let pushes = std::fs::read_to_string(log).unwrap();
        assert!(pushes.lines().count() <= 3, "{params}: {pushes}");
    }
}

#[test]
fn tickets_whose_last_sign_of_life_is_long_ago_stand_in_nobodys_way_and_go_in_one_push() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    tickets_of_age(&remote, 150, "20s", 301);
    remote.hook("post-receive", "echo once >> pushes.log");
    let log = remote.path().join("pushes.log");
    let pushes = || std::fs::read_to_string(&log).unwrap().lines().count();
    build(&remote, "a")
        .put(json!({"acquire": true, "try": true}))
        .lock();
    assert_eq!((pushes(), tickets(&remote).len()), (1, 150));

    let running = build(&remote, "b").start_put(json!({"acquire": true}));

    wait_for_tickets(&remote, 1);
    running.wait_for_stderr("took away 150 tickets below refs/pool-queue/main/aws/");
    assert_eq!(pushes(), 3, "a claim, a ticket, and what clears the line");
    remote.release_by_hand("aws", "env-1");
    running.finish().lock();
}

#[test]
fn tickets_of_other_pools_and_branches_and_what_is_no_ticket_stand_in_nobodys_way() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let one = "0000000001.0.0.x";
    let others = [
        format!("refs/pool-queue/main/gcp/{one}"),
        format!("refs/pool-queue/main/aws%2Fa/{one}"),
        format!("refs/pool-queue/other/aws/{one}"),
        "refs/pool-queue/main/aws/notes".to_owned(),
        "refs/pool-queue/main/aws/1.0.0.x".to_owned(),
        format!("refs/heads/pool-queue/main/aws/{one}"),
    ];
    let head = remote.head();
    for name in &others {
        remote.git(&["update-ref", name, &head]);
    }

    let answer = build(&remote, "a").put(json!({"acquire": true, "try": true}));

    answer.lock();
    for name in &others {
        assert_eq!(remote.git(&["rev-parse", name]), head, "{name}");
    }
}

#[test]
fn who_needs_another_lock_does_not_wait_for_those_before_him() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2"]);
    remote.claim_by_hand("aws", "env-1");
    remote.claim_by_hand("aws", "env-2");
    let (a, b, c) = (
        build(&remote, "a"),
        build(&remote, "b"),
        build(&remote, "c"),
    );
    let first = a.start_put(json!({"claim": "env-1"}));
    wait_for_tickets(&remote, 1);
    let second = b.start_put(json!({"claim": "env-1"}));
    wait_for_tickets(&remote, 2);
    let third = c.start_put(json!({"claim": "env-2"}));
    wait_for_tickets(&remote, 3);

    remote.release_by_hand("aws", "env-2");

    assert_eq!(third.finish().lock(), "env-2");
    assert_eq!(tickets(&remote).len(), 2);
    for one in [first, second] {
        one.signal("TERM");
        one.finish();
    }
    assert_eq!(tickets(&remote), [""; 0]);
}

/// Nobody before us is to be let go first then, and what we last went by is not what the branch has now.
#[test]
fn who_was_overtaken_while_one_before_him_waits_for_another_lock_goes_by_what_the_branch_has_now() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2"]);
    remote.claim_by_hand("aws", "env-1");
    let server = HttpServer::start(remote.root());
    let first = build(&remote, "a").start_put(json!({"claim": "env-1"}));
    wait_for_tickets(&remote, 1);
    // Somebody is faster once.
    remote.hook(
        "pre-receive",
        "read old new name\n\
         case $name in refs/heads/*) ;; *) exit 0;; esac\n\
         mkdir was-faster 2>/dev/null || exit 0\n\
         unset GIT_QUARANTINE_PATH GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES\n\
         commit=$(git -c user.name=x -c user.email=x@example.com commit-tree -p main -m 'of another pool' main^{tree})\n\
         git update-ref refs/heads/main $commit",
    );

    let answer = build(&remote, "b")
        .set("uri", server.uri())
        .put(json!({"acquire": true, "timeout": "20s"}));

    assert_eq!(answer.lock(), "env-2");
    assert!(remote.path().join("was-faster").exists());
    first.signal("TERM");
    first.finish();
}

#[test]
fn who_is_more_urgent_is_served_first() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    remote.claim_by_hand("aws", "env-1");
    let names = ["low", "usual", "urgent"];
    let steps = names.map(|name| build(&remote, name));
    let mut waiting = Vec::new();
    for (n, priority) in [-1, 0, 7].into_iter().enumerate() {
        waiting.push(steps[n].start_put(json!({"acquire": true, "priority": priority})));
        wait_for_tickets(&remote, n + 1);
    }

    for (n, running) in waiting.into_iter().enumerate().rev() {
        remote.release_by_hand("aws", "env-1");
        assert_eq!(running.finish().lock(), "env-1", "{}", names[n]);
    }

    assert_eq!(served(&remote), ["urgent", "usual", "low"]);
    for priority in [json!(1001), json!("high"), json!(1.5)] {
        build(&remote, "x")
            .put(json!({"acquire": true, "priority": priority}))
            .assert_failed(&["`params.priority`", "from -1000 to 1000"]);
    }
}

#[test]
fn where_the_server_takes_no_tickets_one_waits_without_a_line() {
    for refuse in ["hook", "hidden"] {
        let remote = TestRemote::with_pool("aws", &["env-1"]);
        remote.claim_by_hand("aws", "env-1");
        match refuse {
            "hook" => remote.hook(
                "update",
                "case $1 in refs/heads/*) exit 0;; esac; echo not here >&2; exit 1",
            ),
            _ => drop(remote.git(&["config", "transfer.hideRefs", "refs/pool-queue"])),
        }
        let running = build(&remote, "a")
            .set("retry_delay", "100ms")
            .start_put(json!({"acquire": true}));
        running.wait_for_stderr("takes no refs below refs/pool-queue");
        running.wait_for_stderr("no lock is free");

        remote.release_by_hand("aws", "env-1");

        let answer = running.finish();
        answer.lock();
        assert_eq!(
            answer.stderr.matches("takes no refs").count(),
            1,
            "{refuse}"
        );
    }
}

/// A hook that refuses some changes of tickets.
fn refuse(remote: &TestRemote, kinds: &[&str]) {
    let zero = "0000000000000000000000000000000000000000";
    let checks = kinds.iter().map(|kind| match *kind {
        "make" => format!("[ $2 = {zero} ] && exit 1"),
        "delete" => format!("[ $3 = {zero} ] && exit 1"),
        _ => format!("[ $2 != {zero} ] && [ $3 != {zero} ] && exit 1"),
    });
    let checks: Vec<String> = checks.collect();
    remote.hook(
        "update",
        &format!(
            "case $1 in refs/heads/*) exit 0;; esac\n{}\nexit 0",
            checks.join("\n")
        ),
    );
}

#[test]
fn where_no_ticket_can_be_taken_away_it_says_that_it_is_left_and_nobody_adds_to_it() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    remote.claim_by_hand("aws", "env-1");
    refuse(&remote, &["delete"]);
    let first = build(&remote, "a").start_put(json!({"acquire": true}));
    wait_for_tickets(&remote, 1);
    remote.release_by_hand("aws", "env-1");

    let answer = first.finish();

    answer.lock();
    let note = "our place in line is marked as left";
    assert_eq!(answer.stderr.matches(note).count(), 1, "{}", answer.stderr);
    let name = &tickets(&remote)[0];
    assert_eq!(
        remote.git(&["log", "-1", "--format=%B", name]),
        "nobody waits here any more\n\nPool-Left: true"
    );
    // It is in nobody's way.
    remote.release_by_hand("aws", "env-1");
    let free = build(&remote, "b").put(json!({"acquire": true, "try": true}));
    free.lock();
    let second = build(&remote, "c").start_put(json!({"acquire": true}));
    second.wait_for_stderr("lets no ref below refs/pool-queue be taken away");
    second.wait_for_stderr("no lock is free");
    assert_eq!(tickets(&remote).len(), 1);
    // Once it can be taken away, there is a line again.
    refuse(&remote, &[]);
    let third = build(&remote, "d").start_put(json!({"acquire": true}));
    wait_until("the left one is gone, and there is a new one", || {
        let there = tickets(&remote);
        there.len() == 1 && there[0] != *name
    });
    for running in [second, third] {
        running.signal("TERM");
        running.finish();
    }
    assert_eq!(tickets(&remote), [""; 0]);
}

#[test]
fn where_a_ticket_can_neither_be_taken_away_nor_moved_that_is_said_once() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    remote.claim_by_hand("aws", "env-1");
    refuse(&remote, &["delete", "move"]);
    let running = build(&remote, "a").start_put(json!({"acquire": true}));
    wait_for_tickets(&remote, 1);

    running.signal("TERM");
    let answer = running.finish();

    answer.assert_stopped();
    let words = "lets no ref below refs/pool-queue be taken away or moved";
    assert_eq!(answer.stderr.matches(words).count(), 1, "{}", answer.stderr);
    remote.release_by_hand("aws", "env-1");
    build(&remote, "b")
        .put(json!({"acquire": true, "try": true}))
        .lock();
}

#[test]
fn where_a_ticket_cannot_be_renewed_one_waits_without_a_line() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    remote.claim_by_hand("aws", "env-1");
    refuse(&remote, &["move"]);
    let running = build(&remote, "a")
        .set("ticket_renewal", "100ms")
        .start_put(json!({"acquire": true}));

    running.wait_for_stderr("lets no ref below refs/pool-queue be moved");
    wait_for_tickets(&remote, 0);
    remote.release_by_hand("aws", "env-1");

    let answer = running.finish();
    answer.lock();
    assert_eq!(
        answer.stderr.matches("waiting without a line").count(),
        1,
        "{}",
        answer.stderr
    );
}

#[test]
fn where_tickets_are_taken_and_not_listed_that_is_said_once_and_none_stays() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    remote.claim_by_hand("aws", "env-1");
    remote.git(&["config", "uploadpack.hideRefs", "refs/pool-queue"]);
    let running = build(&remote, "a").start_put(json!({"acquire": true}));
    wait_for_tickets(&remote, 1);

    running.wait_for_stderr("takes refs below refs/pool-queue, and does not list them");
    wait_for_tickets(&remote, 0);
    remote.release_by_hand("aws", "env-1");

    running.finish().lock();
}

#[test]
fn at_gitolite_there_is_a_line_as_far_as_its_rules_go() {
    for (rules, notes, left) in [
        (&["RW+ = ci"][..], &[][..], 0),
        // Refs may be made and moved forward, and that is all.
        (&["RW = ci"], &["our place in line is marked as left"], 1),
        (&["RW main = ci"], &["takes no refs below"], 0),
    ] {
        let remote = TestRemote::with_pool("aws", &["env-1"]);
        remote.claim_by_hand("aws", "env-1");
        let server = Gitolite::start(&remote, rules);
        let at = |name: &str| {
            build(&remote, name)
                .set("uri", server.uri())
                .set("private_key", server.private_key())
                .set("ticket_renewal", "300ms")
        };
        let running = at("a").start_put(json!({"acquire": true}));
        running.wait_for_stderr("no lock is free");
        if rules[0].contains("main") {
            running.wait_for_stderr("takes no refs below");
        } else {
            wait_until("it has renewed its ticket", || {
                let name = tickets(&remote).first().cloned();
                name.is_some_and(|name| {
                    remote
                        .git(&["rev-list", "--count", &name])
                        .parse::<u32>()
                        .unwrap()
                        > 2
                })
            });
        }

        remote.release_by_hand("aws", "env-1");

        let answer = running.finish();
        answer.lock();
        for words in notes {
            assert_eq!(answer.stderr.matches(words).count(), 1, "{}", answer.stderr);
        }
        assert_eq!(
            answer.stderr.matches("note: ").count(),
            notes.len(),
            "{}",
            answer.stderr
        );
        assert_eq!(tickets(&remote).len(), left, "{rules:?}");
        remote.release_by_hand("aws", "env-1");
        at("b").put(json!({"acquire": true, "try": true})).lock();
    }
}

#[test]
fn many_who_are_told_to_stop_at_once_leave_no_ticket() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    remote.claim_by_hand("aws", "env-1");
    let waiting: Vec<Running> = (0..40)
        .map(|n| build(&remote, &n.to_string()).start_put(json!({"acquire": true})))
        .collect();
    wait_for_tickets(&remote, waiting.len());

    for running in &waiting {
        running.signal("TERM");
    }
    for running in waiting {
        running.finish();
    }

    assert_eq!(tickets(&remote), [""; 0]);
}

#[test]
fn a_ticket_says_who_waits_for_what_and_nothing_that_is_secret() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    remote.claim_by_hand("aws", "env-1");
    let server = HttpServer::with_user(remote.root(), "bob", "s3cret-w0rd");
    let step = build(&remote, "a")
        .set("uri", server.uri().replace("//", "//bob:s3cret-w0rd@"))
        .set("private_key", "s3cret-w0rd");
    let running = step.start_put(json!({"claim": "env-1"}));
    wait_for_tickets(&remote, 1);
    let listed = remote.git(&["ls-remote", "."]);
    let name = tickets(&remote)[0].clone();

    let text = remote.git(&["cat-file", "commit", &name]);

    assert!(listed.contains(&name));
    for part in [
        "ops/web/deploy build a waiting for env-1\n",
        "\nBuild URL: https://ci.example.com/",
        "\nPool-Waits-For: env-1\n",
        "\nPool-Since: 20",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    for secret in ["s3cret-w0rd", "bob"] {
        assert!(!listed.contains(secret) && !text.contains(secret), "{text}");
    }
    running.signal("TERM");
    running.finish();
}

#[test]
fn one_who_waits_is_told_who_holds_the_lock_his_place_and_how_long_it_takes() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    // Six holds of ten minutes each.
    for n in 0..12 {
        let (from, to) = if n % 2 == 0 {
            ("unclaimed", "claimed")
        } else {
            ("claimed", "unclaimed")
        };
        remote.commit_at(
            1_700_000_000 + n * 600,
            "moved",
            &[support::remote::Hand::Move(
                &format!("aws/{from}/env-1"),
                &format!("aws/{to}/env-1"),
            )],
        );
    }
    let holder = build(&remote, "12").put(json!({"acquire": true}));
    let first = build(&remote, "13").start_put(json!({"acquire": true}));
    wait_for_tickets(&remote, 1);

    let second = build(&remote, "14").start_put(json!({"acquire": true}));

    let holder_line = "env-1 is held since 20";
    let by = "by ops/web/deploy build 12 https://ci.example.com/teams/ops/pipelines/web/jobs/deploy/builds/12";
    for (running, lines) in [
        (
            &first,
            vec![
                "no lock is free: 1 claimed\n",
                holder_line,
                by,
                "a hold usually takes 10m",
            ],
        ),
        (
            &second,
            vec![
                "no lock is free: 1 claimed; place 2 of 2 in line\n",
                by,
                "at this place in line that makes up to 20m",
            ],
        ),
    ] {
        for line in lines {
            running.wait_for_stderr(line);
        }
    }
    first.signal("TERM");
    first.finish();
    remote.release_by_hand("aws", "env-1");
    let answer = second.finish();
    let metadata = answer.json()["metadata"].clone();
    let value = |name: &str| {
        let all = metadata.as_array().unwrap();
        let found = all.iter().find(|pair| pair["name"] == name);
        found.map(|pair| pair["value"].as_str().unwrap().to_owned())
    };
    assert_eq!(value("place_at_arrival").as_deref(), Some("2"));
    assert_eq!(
        value("held_before_by").as_deref(),
        Some("ops/web/deploy build 12")
    );
    assert!(value("waited").is_some());
    assert_eq!(holder.code, Some(0));
}

#[test]
fn colours_are_shown_unless_they_are_not_wanted() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    remote.claim_by_hand("aws", "env-1");
    let log = |step: Step| {
        let running = step.start_put(json!({"acquire": true}));
        running.wait_for_stderr("waiting");
        running.signal("TERM");
        running.finish().stderr
    };

    assert!(!log(build(&remote, "a")).contains('\u{1b}'));
    let coloured = log(build(&remote, "a").env("NO_COLOR", ""));
    assert!(coloured.contains("\u{1b}[1mwaiting\u{1b}[0m"), "{coloured}");
}

/// The tool in use today: moves a lock with plain git, in a clone, until its push is taken.
fn plain_git(uri: &str, from: &str, to: &str, message: &str) {
    let folder = tempfile::tempdir().unwrap();
    let git = |args: &[&str]| run(folder.path(), args, b"", &[]);
    assert!(git(&["clone", "-q", uri, "clone"]).status.success());
    let clone = folder.path().join("clone");
    let git = |args: &[&str]| run(&clone, args, b"", &[]);
    wait_until("the push of plain git is taken", || {
        assert!(git(&["fetch", "-q"]).status.success());
        assert!(
            git(&["reset", "-q", "--hard", "origin/main"])
                .status
                .success()
        );
        if !git(&["mv", from, to]).status.success() {
            return false;
        }
        assert!(git(&["commit", "-q", "-m", message]).status.success());
        git(&["push", "-q", "origin", "HEAD:main"]).status.success()
    });
}

#[test]
fn beside_a_tool_that_knows_of_no_line_everybody_is_served_in_the_end() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let server = HttpServer::start(remote.root());
    remote.claim_by_hand("aws", "env-1");
    let steps = ["a", "b", "c"].map(|name| build(&remote, name).set("uri", server.uri()));
    let mut waiting: Vec<Running> = Vec::new();
    for (n, step) in steps.iter().enumerate() {
        waiting.push(step.start_put(json!({"acquire": true})));
        wait_for_tickets(&remote, n + 1);
    }
    let (free, held) = ("aws/unclaimed/env-1", "aws/claimed/env-1");
    let uri = server.uri();
    let others = std::thread::spawn(move || {
        for _ in 0..3 {
            plain_git(&uri, free, held, "plain build 1 claiming: env-1");
            plain_git(&uri, held, free, "plain build 1 unclaiming: env-1");
        }
    });

    remote.release_by_hand("aws", "env-1");
    for (step, running) in steps.iter().zip(waiting) {
        let answer = running.finish();
        assert_eq!(answer.lock(), "env-1");
        release(step, &answer);
    }
    others.join().unwrap();

    let who = served(&remote);
    let ours: Vec<&String> = who.iter().filter(|name| *name != "1").collect();
    assert_eq!(ours, ["a", "b", "c"]);
    assert_eq!(who.len(), 6);
    assert_eq!(remote.list("aws/unclaimed"), ["env-1"]);
    assert_eq!(tickets(&remote), [""; 0]);
    remote.fsck();
}

#[test]
fn a_step_that_is_run_again_on_another_machine_takes_over_its_place_in_line() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    remote.claim_by_hand("aws", "env-1");
    for params in [
        json!({"acquire": true}),
        json!({"acquire": true, "request": "env"}),
        json!({"claim": "env-1"}),
    ] {
        let first = build(&remote, "lost").start_put(params.clone());
        wait_for_tickets(&remote, 1);
        let next = build(&remote, "next").start_put(params.clone());
        wait_for_tickets(&remote, 2);
        let place = |tickets: &[String]| tickets[0].rsplit('/').next().unwrap()[..10].to_owned();
        let before = place(&tickets(&remote));
        first.kill();

        let again = build(&remote, "lost").start_put(params.clone());
        again.wait_for_stderr("taking over its place");
        wait_until("its ticket has taken the place of the other one", || {
            let here = tickets(&remote);
            here.len() == 2 && place(&here) == before
        });
        remote.release_by_hand("aws", "env-1");
        let answer = again.finish();
        assert_eq!(
            answer.told("place_at_arrival").as_deref(),
            Some("1"),
            "{params}"
        );
        remote.release_by_hand("aws", "env-1");
        next.finish().lock();

        let served = served(&remote);
        assert_eq!(served[served.len() - 2..], ["lost", "next"], "{params}");
        assert_eq!(tickets(&remote), [""; 0]);
    }
}

#[test]
fn another_build_or_another_wish_takes_nobodys_place_over() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    remote.claim_by_hand("aws", "env-1");
    let first = build(&remote, "a").start_put(json!({"acquire": true}));
    wait_for_tickets(&remote, 1);
    let others = [
        build(&remote, "b").start_put(json!({"acquire": true})),
        build(&remote, "a").start_put(json!({"claim": "env-1"})),
        build(&remote, "a").start_put(json!({"acquire": true, "request": "env"})),
        build(&remote, "a")
            .env("ATC_EXTERNAL_URL", "https://ci-2.example.com")
            .start_put(json!({"acquire": true})),
    ];
    wait_for_tickets(&remote, 5);
    for running in others.into_iter().chain([first]) {
        assert!(
            !running.stderr().contains("taking over"),
            "{}",
            running.stderr()
        );
        running.signal("TERM");
        running.finish().assert_stopped();
    }
}

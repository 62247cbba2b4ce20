//! A step that is run again after its process vanished: in the same container, or in another one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use support::path_of;
use support::remote::Hand;
use support::server::http::HttpServer;
use support::server::unsteady::{Harm, Unsteady};
use support::{Step, TestRemote, wait_until};

/// A repository on which a step was killed outright while its push was in this hook, and the container of that step.
fn killed_in(hook: &str, params: &serde_json::Value) -> (TestRemote, Step) {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2", "env-3"]);
    remote.hold_first_push(hook);
    let step = Step::on(&remote, "aws").in_build();
    let running = step.start_put_with(params.clone(), &[("x/name", b"new"), ("x/metadata", b"m")]);
    remote.wait_for_held_push();

    running.kill();

    (remote, step)
}

/// How many markers runs have left in the container of a step.
fn markers(step: &Step) -> usize {
    let folder = step.temporary().join("pool-resource/markers");
    std::fs::read_dir(folder).map_or(0, Iterator::count)
}

#[test]
fn a_claim_that_landed_and_was_not_told_is_taken_over() {
    for params in [
        json!({"acquire": true}),
        json!({"claim": "env-2"}),
        json!({"add_claimed": "x"}),
    ] {
        let (remote, step) = killed_in("post-receive", &params);
        let claim = remote.head();
        remote.let_push_go_on();

        let again = step.put_with(params.clone(), &[("x/name", b"new"), ("x/metadata", b"m")]);

        assert_eq!(again.version(), claim, "{params}");
        assert_eq!(remote.head(), claim);
        assert_eq!(remote.list("aws/claimed"), [again.lock()]);
        assert!(again.stderr.contains("taking it over"), "{}", again.stderr);
        let (got, folder) = step.get(&claim);
        assert_eq!(got.lock(), again.lock());
        assert_eq!(
            std::fs::read_to_string(folder.join("claim"))
                .unwrap()
                .trim(),
            claim
        );
    }
}

#[test]
fn a_push_that_is_still_on_its_way_is_finished_and_not_doubled() {
    let (remote, step) = killed_in("pre-receive", &json!({"acquire": true}));
    let before = remote.head();

    let again = step.put(json!({"acquire": true}));
    remote.let_push_go_on();
    remote.wait_until_no_push_is_held();

    assert_eq!(remote.back(1), before);
    assert_eq!(again.version(), remote.head());
    assert_eq!(remote.list("aws/claimed"), [again.lock()]);
    remote.fsck();
}

#[test]
fn a_push_that_lands_while_ours_is_refused_is_taken_over() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2"]);
    // The push of the first run lands while that of the second is in its hook, which then declines it.
    remote.hook(
        "pre-receive",
        "read before after branch\n\
         if mkdir held 2>/dev/null; then\n\
           while [ -e HEAD ] && [ ! -e go-on ]; do sleep 0.05; done; exit 0\n\
         fi\n\
         [ -e go-on ] && exit 0\n\
         touch go-on\n\
         while [ -e HEAD ] && [ $(git rev-parse $branch) = $before ]; do sleep 0.05; done\n\
         exit 1",
    );
    let server = HttpServer::start(remote.root());
    let step = Step::on(&remote, "aws").set("uri", server.uri()).in_build();
    let first = step.start_put(json!({"acquire": true}));
    remote.wait_for_held_push();
    first.kill();

    let again = step.put(json!({"acquire": true}));

    assert_eq!(again.version(), remote.head());
    assert_eq!(remote.list("aws/claimed"), [again.lock()]);
    assert_eq!(remote.count(), 2);
}

#[test]
fn a_no_to_a_push_is_none_to_the_same_push_that_got_no_answer_before() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2"]);
    // The first push goes on, and lands, when all others have been declined.
    remote.hook(
        "pre-receive",
        "if mkdir held 2>/dev/null; then\n\
           while [ -e HEAD ] && [ ! -e go-on ]; do sleep 0.05; done; exit 0\n\
         fi\n\
         [ -e go-on ] && exit 0\n\
         echo not today >&2; exit 1",
    );
    let step = Step::on(&remote, "aws")
        .set("silence_timeout", "1s")
        .in_build();

    let first = step.put(json!({"acquire": true}));
    first.assert_failed(&["not today", "may still be claimed"]);
    remote.let_push_go_on();
    wait_until("the first push has landed", || {
        remote.list("aws/claimed").len() == 1
    });

    let again = step.put(json!({"acquire": true}));
    assert_eq!(remote.list("aws/claimed"), [again.lock()]);
    assert_eq!(markers(&step), 1, "that of the answer");
}

#[test]
fn a_run_that_is_aborted_while_it_finishes_the_push_of_another_gives_that_back_in_time() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    // The push of the run that is killed, and that of the one that takes it up.
    remote.hook(
        "pre-receive",
        "mkdir held 2>/dev/null || mkdir held-again 2>/dev/null || exit 0\n\
         while [ -e HEAD ] && [ ! -e go-on ]; do sleep 0.05; done",
    );
    let step = Step::on(&remote, "aws").in_build();
    let waits_for = |name: &str| {
        wait_until(&format!("there is {name}"), || {
            remote.path().join(name).exists()
        });
    };
    let first = step.start_put(json!({"acquire": true}));
    waits_for("held");
    first.kill();
    let again = step.start_put(json!({"acquire": true}));
    waits_for("held-again");

    again.signal("TERM");
    let told = Instant::now();
    let again = again.finish();

    assert!(told.elapsed() < Duration::from_secs(8));
    again.assert_stopped();
    remote.let_push_go_on();
    remote.wait_until_no_push_is_held();
    assert_eq!(remote.list("aws/claimed"), [""; 0], "{}", again.stderr);
    assert_eq!(
        remote.subjects()[..2],
        [
            "ops/web/deploy build 12 unclaiming: env-1",
            "ops/web/deploy build 12 claiming: env-1"
        ]
    );
    assert_eq!(markers(&step), 0);
    remote.fsck();
}

#[test]
fn a_run_that_is_aborted_before_it_knows_what_another_has_left_gives_that_back() {
    for params in [json!({"acquire": true}), json!({"add_claimed": "x"})] {
        for hook in ["post-receive", "pre-receive"] {
            let files: [(&str, &[u8]); 2] = [("x/name", b"new"), ("x/metadata", b"m")];
            let remote = TestRemote::with_pool("aws", &["env-1"]);
            remote.hold_first_push(hook);
            let server = HttpServer::start(remote.root());
            let silent = Arc::new(AtomicBool::new(false));
            let is_silent = silent.clone();
            let relay = Unsteady::start(server.port(), move |_| {
                if is_silent.load(Ordering::SeqCst) {
                    Harm::StallAfter(0)
                } else {
                    Harm::None
                }
            });
            let uri = format!("http://127.0.0.1:{}/git/locks.git", relay.port());
            let step = Step::on(&remote, "aws").set("uri", uri).in_build();
            let first = step.start_put_with(params.clone(), &files);
            wait_until("the push is in the hook", || {
                remote.path().join("held").exists()
            });
            first.kill();
            silent.store(true, Ordering::SeqCst);
            let connections = relay.connections();
            let again = step.start_put_with(params.clone(), &files);
            wait_until("it has asked", || relay.connections() > connections);

            silent.store(false, Ordering::SeqCst);
            again.signal("TERM");
            let again = again.finish();
            remote.let_push_go_on();

            again.assert_stopped();
            assert_eq!(remote.list("aws/claimed"), [""; 0], "{params} {hook}");
            assert_eq!(remote.count(), 3, "{params} {hook}: {}", again.stderr);
            assert_eq!(markers(&step), 0);
        }
    }
}

#[test]
fn a_run_that_is_aborted_before_it_gives_back_what_another_was_giving_back_does_so() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    remote.hold_first_push("post-receive");
    let server = HttpServer::start(remote.root());
    let silent = Arc::new(AtomicBool::new(false));
    let is_silent = silent.clone();
    let relay = Unsteady::start(server.port(), move |_| {
        if is_silent.load(Ordering::SeqCst) {
            Harm::StallAfter(0)
        } else {
            Harm::None
        }
    });
    let uri = format!("http://127.0.0.1:{}/git/locks.git", relay.port());
    let step = Step::on(&remote, "aws").set("uri", uri).in_build();
    let first = step.start_put(json!({"claim": "env-1"}));
    wait_until("the claim has landed", || {
        remote.path().join("held").exists()
    });
    // The release is held, and never lands.
    remote.hook(
        "pre-receive",
        "mkdir held-too 2>/dev/null || exit 0\n\
         while [ -e HEAD ] && [ ! -e go-on ]; do sleep 0.05; done\n\
         exit 1",
    );
    first.signal("TERM");
    wait_until("it gives back", || remote.path().join("held-too").exists());
    first.kill();
    silent.store(true, Ordering::SeqCst);
    let connections = relay.connections();
    let again = step.start_put(json!({"claim": "env-1"}));
    wait_until("it has asked", || relay.connections() > connections);

    silent.store(false, Ordering::SeqCst);
    again.signal("TERM");
    let again = again.finish();
    remote.let_push_go_on();

    again.assert_stopped();
    assert_eq!(remote.list("aws/claimed"), [""; 0], "{}", again.stderr);
    assert_eq!(markers(&step), 0);
}

#[test]
fn another_build_in_the_same_container_takes_nothing_over() {
    let (remote, step) = killed_in("post-receive", &json!({"acquire": true}));
    let claim = remote.head();
    remote.let_push_go_on();

    let other = step.env("BUILD_ID", "4712").put(json!({"acquire": true}));

    assert_ne!(other.version(), claim);
    assert_eq!(remote.list("aws/claimed").len(), 2);
}

#[test]
fn a_claim_that_was_released_meanwhile_is_not_taken_over() {
    let (remote, step) = killed_in("post-receive", &json!({"claim": "env-1"}));
    let claim = remote.head();
    remote.let_push_go_on();
    remote.release_by_hand("aws", "env-1");

    let again = step.put(json!({"claim": "env-1"}));

    assert_ne!(again.version(), claim);
    assert_eq!(again.version(), remote.head());
}

#[test]
fn a_taken_over_claim_that_is_aborted_is_given_back() {
    let (remote, step) = killed_in("post-receive", &json!({"claim": "env-1"}));
    let claim = remote.head();
    remote.let_push_go_on();
    let folder = step.folder();
    let request = json!({"source": step.source(), "params": {"claim": "env-1"}}).to_string();
    let script = format!(
        "set -o pipefail; {{ exec {} {} | exec 0<&-; }}",
        path_of("out"),
        folder.display()
    );

    let answer = step
        .start_program("bash", &["-c".to_owned(), script], request.as_bytes())
        .finish();

    assert_eq!(answer.code, Some(1), "{}", answer.stderr);
    assert!(
        remote
            .message(&remote.head())
            .contains(&format!("Pool-Claim: {claim}"))
    );
    assert_eq!(remote.list("aws/claimed"), [""; 0]);
}

#[test]
fn a_claim_that_was_being_given_back_is_not_taken_over() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    // The first two pushes are held: the reply to the claim, and the release before it is seen.
    remote.hold_first_push("post-receive");
    let step = Step::on(&remote, "aws").in_build();
    let running = step.start_put(json!({"claim": "env-1"}));
    remote.wait_for_held_push();
    remote.hold_push("pre-receive", "held-too");
    let claim = remote.head();
    running.signal("TERM");
    wait_until("it gives back", || remote.path().join("held-too").exists());
    running.kill();

    let again = step.put(json!({"claim": "env-1"}));
    remote.let_push_go_on();
    remote.wait_until_no_push_is_held();

    assert_ne!(again.version(), claim);
    assert_eq!(remote.head(), again.version());
    assert_eq!(remote.list("aws/claimed"), ["env-1"]);
    assert!(
        remote
            .message(&remote.back(1))
            .contains(&format!("Pool-Claim: {claim}"))
    );
    assert_eq!(markers(&step), 1, "that of the answer");
}

#[test]
fn two_acquires_of_one_build_stay_two() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2"]);
    let step = Step::on(&remote, "aws").in_build();

    let (first, second) = (
        step.put(json!({"acquire": true})),
        step.put(json!({"acquire": true})),
    );

    assert_ne!(first.lock(), second.lock());
}

#[test]
fn the_same_step_in_the_same_container_gets_the_same_answer_while_its_claim_stands() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2"]);
    let step = Step::on(&remote, "aws").in_build();
    let inputs = step.folder();
    let run = |params: &serde_json::Value| step.start_put_in(&inputs, params.clone()).finish();
    let params = json!({"acquire": true});
    let first = run(&params);

    let again = run(&params);
    let once_more = run(&params);

    assert_eq!(again.json()["version"], first.json()["version"]);
    assert_eq!(once_more.lock(), first.lock());
    assert!(again.stderr.contains("taking it over"), "{}", again.stderr);
    assert_eq!(remote.list("aws/claimed"), [first.lock()]);

    // Another request, another build and another container are other steps.
    let other = run(&json!({"acquire": true, "count": 1, "priority": 1, "request": "x"}));
    assert_ne!(other.lock(), first.lock());
    remote.release_by_hand("aws", &first.lock());
    remote.release_by_hand("aws", &other.lock());
    let anew = run(&params);
    assert_ne!(anew.version(), first.version());
    assert_eq!(remote.list("aws/claimed"), [anew.lock()]);
}

#[test]
fn a_step_that_is_run_again_and_aborted_gives_back_what_it_had_answered() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let server = HttpServer::start(remote.root());
    let step = Step::on(&remote, "aws").set("uri", server.uri()).in_build();
    let inputs = step.folder();
    let (stdout, _kept) = support::step::full_stdout();
    let params = json!({"acquire": true});
    step.start_put_in(&inputs, params.clone()).finish().lock();

    let mut again = step.start_put_to(stdout, &inputs, params);
    again.wait_for_blocked_answer();
    again.signal("TERM");

    again.finish().assert_stopped();
    assert_eq!(remote.list("aws/claimed"), [""; 0]);
}

/// A step of build 4711 that says how it is to be known again, in a container of its own.
fn container(remote: &TestRemote) -> Step {
    Step::on(remote, "aws").in_build()
}

#[test]
fn a_named_request_is_known_again_in_any_container() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2", "env-3"]);
    for params in [
        json!({"claim": "env-3", "request": "the other"}),
        json!({"acquire": true, "request": "the env"}),
        json!({"add_claimed": "x", "request": "a new one"}),
    ] {
        let files: [(&str, &[u8]); 2] = [("x/name", b"new"), ("x/metadata", b"m")];
        let first = container(&remote).put_with(params.clone(), &files);
        let claim = first.version();

        let again = container(&remote).put_with(params.clone(), &files);

        // The old claim is ended and made anew in one step.
        assert_eq!(again.lock(), first.lock(), "{params}");
        assert_eq!(
            (again.version(), remote.back(2)),
            (remote.head(), claim.clone())
        );
        let end = remote.message(&remote.back(1));
        assert!(end.contains(&format!("Pool-Claim: {claim}")), "{end}");
        assert!(again.stderr.contains("taking it over"), "{}", again.stderr);
        let claim = again.version();
        let step = format!(
            "Pool-Step: https://ci.example.com 4711 {}",
            params["request"].as_str().unwrap()
        );
        assert!(remote.message(&claim).contains(&step));
    }
}

#[test]
fn another_name_or_build_or_pool_is_another_request() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2", "env-3"]);
    remote.add_pool("gcp", &["env-9"]);
    let params = json!({"acquire": true, "request": "one"});
    let mut locks = vec![container(&remote).put(params.clone()).lock()];

    locks.push(
        container(&remote)
            .put(json!({"acquire": true, "request": "two"}))
            .lock(),
    );
    locks.push(
        container(&remote)
            .env("BUILD_ID", "4712")
            .put(params.clone())
            .lock(),
    );
    locks.push(container(&remote).set("pool", "gcp").put(params).lock());

    locks.sort();
    assert_eq!(locks, ["env-1", "env-2", "env-3", "env-9"]);
}

#[test]
fn a_named_request_whose_claim_has_ended_claims_anew() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let params = json!({"acquire": true, "request": "one"});
    let first = container(&remote).put(params.clone()).version();
    remote.release_by_hand("aws", "env-1");
    remote.claim_by_hand("aws", "env-1");
    remote.release_by_hand("aws", "env-1");

    let second = container(&remote).put(params);

    assert_ne!(second.version(), first);
    assert_eq!(second.version(), remote.head());
}

#[test]
fn a_named_request_is_found_however_old_its_claim_is() {
    let remote = TestRemote::with_pool("aws", &["env-0", "env-1", "env-2"]);
    remote.claim_by_hand("aws", "env-0");
    let params = json!({"claim": "env-1", "request": "one"});
    let first = container(&remote).put(params.clone()).version();
    for n in 0..60 {
        remote.commit(&format!("elsewhere {n}"), &[]);
    }

    let again = container(&remote).put(params);

    assert_eq!(again.lock(), "env-1");
    let end = remote.message(&remote.back(1));
    assert!(end.contains(&format!("Pool-Claim: {first}")), "{end}");
    assert_eq!(remote.list("aws/claimed"), ["env-0", "env-1"]);
}

#[test]
fn a_waiting_run_takes_over_what_another_run_of_its_step_claims_meanwhile() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2"]);
    remote.claim_by_hand("aws", "env-1");
    remote.claim_by_hand("aws", "env-2");
    let params = json!({"acquire": true, "request": "one"});
    let waiting = container(&remote).set("retry_delay", "200ms");
    let waiting = waiting.start_put(params.clone());
    waiting.wait_for_stderr("no lock is free");

    // Both become free at once, and whoever comes first has one of them.
    remote.commit(
        "both",
        &[
            Hand::Move("aws/claimed/env-1", "aws/unclaimed/env-1"),
            Hand::Move("aws/claimed/env-2", "aws/unclaimed/env-2"),
        ],
    );
    let other = container(&remote).put(params);

    assert_eq!(waiting.finish().lock(), other.lock());
    assert_eq!(remote.list("aws/claimed"), [other.lock()]);
}

#[test]
fn a_named_request_needs_a_build_and_a_name_on_one_line() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);

    Step::on(&remote, "aws")
        .put(json!({"acquire": true, "request": "one"}))
        .assert_failed(&["`params.request` needs", "BUILD_ID"]);
    for name in [json!("a\nb"), json!(" a"), json!("x".repeat(256)), json!(7)] {
        container(&remote)
            .put(json!({"acquire": true, "request": name}))
            .assert_failed(&["`params.request`"]);
    }
    assert_eq!(remote.count(), 1);
}

#[test]
fn a_claim_of_several_that_was_not_told_and_is_not_whole_any_more_is_given_back_and_made_anew() {
    let params = json!({"acquire": true, "count": 2});
    let (remote, step) = killed_in("post-receive", &params);
    let claimed = remote.list("aws/claimed");
    remote.let_push_go_on();
    assert_eq!(claimed.len(), 2);
    // An operator frees one of the two, and another build claims it.
    remote.release_by_hand("aws", &claimed[0]);
    remote.claim_by_hand("aws", &claimed[0]);

    let again = step.put(params);

    let told = again.lock();
    let told: Vec<&str> = told.split(", ").collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(!told.contains(&claimed[0].as_str()), "{told:?}");
    assert_eq!(remote.list("aws/claimed").len(), 3);
    assert!(
        again.stderr.contains("for an earlier run"),
        "{}",
        again.stderr
    );
    assert_eq!(markers(&step), 1, "that of the answer");
}

#[test]
fn a_claim_of_the_same_request_that_is_not_what_is_asked_now_is_no_answer() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2", "env-3"]);
    let first = container(&remote).put(json!({"claim": "env-1", "request": "envs"}));

    let other = container(&remote).put(json!({"claim": "env-3", "request": "envs"}));
    let two = container(&remote)
        .put(json!({"acquire": true, "count": 2, "request": "envs", "try": true}));

    assert_eq!(
        (first.lock(), other.lock()),
        ("env-1".into(), "env-3".into())
    );
    assert!(
        other.stderr.contains("not what is asked now"),
        "{}",
        other.stderr
    );
    two.assert_failed(&["gave up at once"]);
    assert_eq!(remote.list("aws/claimed"), ["env-1", "env-3"]);
}

#[test]
fn the_same_build_of_another_concourse_is_another_build() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2"]);
    let params = json!({"acquire": true, "request": "the env"});
    let ours = container(&remote).put(params.clone());

    let theirs = container(&remote)
        .env("ATC_EXTERNAL_URL", "https://other.example.com")
        .put(params);

    assert_ne!(theirs.lock(), ours.lock());
    assert_eq!(remote.list("aws/claimed"), ["env-1", "env-2"]);
}

//! `order: newest`: of the builds of one job the latest alone waits, in the place of the first; the others leave.

use serde_json::{Value, json};
use support::step::Running;
use support::{Answer, Pool, Step, TestRemote, wait_until};

/// Steps of a build of a job of ops/web.
fn build(remote: &TestRemote, job: &str, number: u32) -> Step {
    Step::on(remote, "aws")
        .set("order", "newest")
        .in_build()
        .env("BUILD_JOB_NAME", job)
        .env("BUILD_ID", (4700 + number).to_string())
        .env("BUILD_NAME", number.to_string())
}

fn tickets(remote: &TestRemote) -> Vec<String> {
    let refs = remote.git(&[
        "for-each-ref",
        "--format=%(contents:subject)",
        "refs/pool-queue",
    ]);
    refs.lines().map(str::to_owned).collect()
}

fn wait_for_tickets(remote: &TestRemote, n: usize) {
    wait_until(&format!("{n} wait in line"), || tickets(remote).len() == n);
}

fn assert_superseded(running: Running, by: u32) {
    let words = format!("superseded by ops/web/deploy build {by}, a later build of the same job");
    running
        .finish()
        .assert_failed(&[&words, "nothing was claimed"]);
}

fn claimants(remote: &TestRemote) -> Vec<String> {
    let mut subjects = remote.subjects();
    subjects.reverse();
    let claims = subjects
        .iter()
        .filter_map(|subject| subject.split_once(" claiming: "));
    claims.map(|(who, _)| who.to_owned()).collect()
}

fn release(step: &Step, answer: &Answer) {
    let (got, folder) = step.get(&answer.version());
    assert_eq!(got.code, Some(0), "{}", got.stderr);
    let released = step.put_folder("release", &folder);
    assert_eq!(released.code, Some(0), "{}", released.stderr);
}

#[test]
fn a_later_build_takes_the_place_of_earlier_ones_which_leave_and_others_keep_theirs() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let holder = build(&remote, "setup", 1);
    let held = holder.put(json!({"acquire": true}));
    let twelve = build(&remote, "deploy", 12).start_put(json!({"acquire": true}));
    wait_for_tickets(&remote, 1);
    let other = build(&remote, "test", 7);
    let seven = other.start_put(json!({"acquire": true}));
    wait_for_tickets(&remote, 2);

    let fourteen = build(&remote, "deploy", 14);
    let last = fourteen.start_put(json!({"acquire": true}));
    assert_superseded(twelve, 14);
    wait_for_tickets(&remote, 2);
    // One that is late finds that it is.
    assert_superseded(
        build(&remote, "deploy", 13).start_put(json!({"acquire": true})),
        14,
    );

    release(&holder, &held);
    let had = last.finish();
    assert_eq!(had.lock(), "env-1");
    release(&fourteen, &had);
    assert_eq!(seven.finish().lock(), "env-1");
    assert_eq!(
        claimants(&remote)[1..],
        ["ops/web/deploy build 14", "ops/web/test build 7"]
    );
    assert_eq!(tickets(&remote), Vec::<String>::new());
}

#[test]
fn a_later_build_that_had_a_lock_without_a_wait_supersedes_as_well() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2"]);
    remote.claim_by_hand("aws", "env-1");
    let twelve = build(&remote, "deploy", 12).start_put(json!({"claim": "env-1"}));
    let others = build(&remote, "test", 12).start_put(json!({"claim": "env-1"}));
    wait_for_tickets(&remote, 2);

    let fourteen = build(&remote, "deploy", 14).put(json!({"claim": "env-2"}));
    assert_eq!(fourteen.lock(), "env-2");

    assert_superseded(twelve, 14);
    remote.release_by_hand("aws", "env-1");
    assert_eq!(others.finish().lock(), "env-1");
}

#[test]
fn in_the_order_of_arrival_nobody_is_superseded() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    remote.claim_by_hand("aws", "env-1");
    let twelve = build(&remote, "deploy", 12).set("order", "arrival");
    let waiting = twelve.start_put(json!({"acquire": true}));
    wait_for_tickets(&remote, 1);
    let fourteen = build(&remote, "deploy", 14);
    let after = fourteen.start_put(json!({"acquire": true}));
    wait_for_tickets(&remote, 2);

    remote.release_by_hand("aws", "env-1");
    let had = waiting.finish();
    assert_eq!(had.lock(), "env-1");
    release(&twelve, &had);
    assert_eq!(after.finish().lock(), "env-1");
}

#[test]
fn on_the_command_line_it_has_an_exit_code_of_its_own() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    remote.claim_by_hand("aws", "env-1");
    let job = |number: &str| {
        Pool::on(&remote, "aws")
            .called("")
            .env("CI_PROJECT_PATH", "ops/web")
            .env("CI_JOB_NAME", "deploy")
            .env("CI_JOB_ID", number)
    };
    let first = job("41").start(&["run", "--order", "newest", "env-1", "--", "true"]);
    wait_for_tickets(&remote, 1);
    let json = job("42").start(&["--json", "acquire", "--order", "newest"]);
    first
        .finish()
        .assert_code(4, &["superseded by GitLab ops/web deploy #42"]);
    let third = job("43").env("POOL_ORDER", "newest").start(&["acquire"]);
    let told = json.finish();
    assert_eq!(told.code, Some(4));
    let error: Value = serde_json::from_str(told.stderr.lines().last().unwrap()).unwrap();
    assert_eq!(error["error"]["kind"], "superseded");
    third.signal("TERM");
    assert_ne!(third.finish().code, Some(0));
    assert_eq!(tickets(&remote), Vec::<String>::new());
}

#[test]
fn who_is_no_build_of_a_job_waits_in_the_order_of_arrival_and_is_told_so() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let answer = Pool::on(&remote, "aws").run(&["acquire", "--order", "newest"]);
    assert_eq!(answer.code, Some(0));
    assert!(
        answer
            .stderr
            .contains("note: `--order newest` is for the builds of a job"),
        "{}",
        answer.stderr
    );
}

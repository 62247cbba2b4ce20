//! Tasks with locks of their own, in a real repository.

use std::fs;

use serde_json::{Value, json};
use support::wait_until;

use crate::described::check;
use crate::host::{Host, is_alive, statuses};
use crate::locks::{anna, aws, is_free, knowing, text, tickets};

fn task<'a>(job: &'a Value, name: &str) -> &'a Value {
    let mut tasks = job["tasks"].as_array().unwrap().iter();
    tasks.find(|task| task["name"] == name).unwrap()
}

fn as_described(host: &Host, job: &Value) {
    let document = host.request("GET", "/openapi.json", &[], b"").json();
    let schema = &document["components"]["schemas"]["Job"];
    check(schema, job, &document, "job");
}

#[test]
fn tasks_of_one_job_that_want_one_lock_work_one_after_the_other() {
    let remote = aws();
    let script = "[mkdir inside, 'echo \"$POOL_LOCK_NAME: $(cat \"$POOL_METADATA_FILE\")\"', sleep 0.05, rmdir inside]";
    let one = format!("{{script: {script}, locks: [{{pool: aws, name: env-1}}]}}");
    let definitions = format!("pipelines: {{p: {{tasks: {{a: {one}, b: {one}, c: {one}}}}}}}");
    let mut host = knowing(&remote, Host::folder(&definitions));
    host.run();
    let (id, job) = host.done();
    assert_eq!(job["errored"], false, "{job}");
    for name in ["a", "b", "c"] {
        assert_eq!(host.logs(&id, name).0, "env-1: metadata of env-1\n");
        let ended = task(&job, name);
        assert!(ended["locks"].is_null() && ended["waitingFor"].is_null());
    }
    assert!(is_free(&remote));
    // Each claim says of which task it is.
    let subjects = remote.subjects();
    for (at, name) in ["a", "b", "c"].iter().enumerate() {
        let who = format!("{id}.{at} {name}");
        let claims = subjects
            .iter()
            .filter(|line| line.contains(&who) && line.contains(" claiming: env-1"));
        assert_eq!(claims.count(), 1, "{subjects:?}");
    }
}

#[test]
fn a_task_shows_whom_it_waits_for_while_the_others_run_and_a_cancel_leaves_the_line() {
    let remote = aws();
    let anna = anna(&remote);
    anna.text(&["claim", "env-1"]);
    let definitions = "pipelines: {p: {tasks: {first: {script: ['true']}, locked: {script: ['touch ran'], depends_on: [first], locks: [{pool: aws, name: env-1}]}, other: {script: ['echo other']}}}}";
    let mut host = knowing(&remote, Host::folder(definitions));
    host.run();
    for is_canceled in [true, false] {
        let id = host.schedule();
        wait_until("the task shows who holds the lock", || {
            text(&task(&host.job(&id), "locked")["waitingFor"]).contains("anna")
        });
        wait_until("the others are done", || {
            task(&host.job(&id), "other")["status"] == "done"
        });
        let job = host.job(&id);
        assert_eq!(task(&job, "locked")["status"], "waiting");
        assert!(task(&job, "locked")["start"].is_null());
        assert!(!job["start"].is_null() && job["waitingFor"].is_null());
        as_described(&host, &job);
        if is_canceled {
            host.cancel(&id);
            let job = host.finished(&id);
            assert_eq!(statuses(&job), "first:done locked:canceled other:done");
            assert_eq!(job["canceled"], true, "{job}");
            assert_eq!(tickets(&remote), 0);
            assert!(!host.path("ran").exists());
        } else {
            anna.text(&["release", "env-1"]);
            let job = host.finished(&id);
            assert_eq!(job["errored"], false, "{job}");
            assert!(host.path("ran").exists() && is_free(&remote));
        }
    }
}

#[test]
fn the_lock_of_a_task_is_given_back_however_it_ends_and_before_the_next_one() {
    let remote = aws();
    let definitions = "pipelines: {p: {tasks: {a: {script: ['sleep 1000 & echo $! >left', 'touch runs', '{{ .script }}'], timeout: 3s, locks: [{pool: aws, name: env-1}]}, b: {depends_on: [a], script: ['git -C \"$REPOSITORY\" ls-tree -r --name-only main']}}, on_error: {script: ['git -C \"$REPOSITORY\" ls-tree -r --name-only main']}}}";
    let mut host = knowing(&remote, Host::folder(definitions));
    host.run();
    for (script, expected) in [
        ("true", "a:done b:done"),
        ("exit 3", "a:error b:canceled on_error:done"),
        ("sleep 1000", "a:error b:canceled on_error:done"),
        ("sleep 999", "a:canceled b:canceled"),
    ] {
        let _ = fs::remove_file(host.path("runs"));
        let id = host.schedule_with(json!({"script": script}));
        if script == "sleep 999" {
            wait_until("it runs", || host.path("runs").exists());
            let held = json!([{"pool": "aws", "name": "env-1"}]);
            let job = host.job(&id);
            assert_eq!(task(&job, "a")["locks"], held);
            as_described(&host, &job);
            host.cancel(&id);
        }
        let job = host.finished(&id);
        assert_eq!(statuses(&job), expected, "{job}");
        assert!(is_free(&remote), "{job}");
        let left = fs::read_to_string(host.path("left")).unwrap();
        assert!(!is_alive(&left), "it would go on without the lock");
        for after in ["b", "on_error"] {
            if task_is_done(&job, after) {
                let tree = host.logs(&id, after).0;
                assert!(tree.contains("aws/unclaimed/env-1"), "{tree}");
            }
        }
    }
}

fn task_is_done(job: &Value, name: &str) -> bool {
    let mut tasks = job["tasks"].as_array().unwrap().iter();
    tasks.any(|task| task["name"] == name && task["status"] == "done")
}

#[test]
fn a_task_keeps_its_lock_while_it_is_tried_again() {
    let remote = aws();
    let definitions = "pipelines: {p: {tasks: {a: {script: ['echo $POOL_CLAIM >>claims', 'test $(wc -l <claims) = 3'], retry: {max: 3, delay: 10ms}, locks: [{pool: aws, name: env-1}]}}}}";
    let mut host = knowing(&remote, Host::folder(definitions));
    host.run();
    let (_, job) = host.done();
    assert_eq!(job["errored"], false, "{job}");
    let claims = fs::read_to_string(host.path("claims")).unwrap();
    let claims: Vec<&str> = claims.lines().collect();
    assert!(
        claims[0].len() >= 40 && claims == [claims[0]; 3],
        "{claims:?}"
    );
    assert!(is_free(&remote));
}

#[test]
fn a_task_finds_the_locks_of_its_pipeline_and_its_own() {
    let remote = aws();
    remote.add_pool("db", &["db-1"]);
    let show = "echo \"$POOL_LOCK_NAME\" | tr '\\n' ' '; (cd \"$POOL_METADATA_DIR\" && find . -type f | sort | tr '\\n' ' '); echo \"$POOL_CLAIM\" | sort -u | wc -l; cat \"$POOL_METADATA_FILE\"";
    let definitions = json!({"pipelines": {"p": {
        "locks": [{"pool": "aws", "name": "env-1"}],
        "tasks": {
            "both": {"script": [show], "locks": [{"pool": "db"}]},
            "one": {"script": [show]},
        },
    }}});
    let mut host = knowing(&remote, Host::folder(&definitions.to_string()));
    host.run();
    let (id, job) = host.done();
    assert_eq!(job["errored"], false, "{job}");
    let both = "env-1 db-1 ./aws/env-1 ./db/db-1 2\nmetadata of env-1";
    assert_eq!(host.logs(&id, "both").0, both);
    let one = "env-1 ./env-1 1\nmetadata of env-1";
    assert_eq!(host.logs(&id, "one").0, one);
    assert!(is_free(&remote));
}

#[test]
fn a_lock_that_is_taken_away_or_not_had_in_time_fails_its_task_with_words() {
    let remote = aws();
    let anna = anna(&remote);
    let definitions = "pipelines: {p: {tasks: {a: {script: ['echo $$ >pid', 'sleep 1000'], locks: [{pool: aws, name: env-1, lease: 6s, timeout: 1s}]}}, on_error: {script: ['echo {{ .failedTaskName }}: {{ quote .failedTaskError }}']}}}";
    let mut host = knowing(&remote, Host::folder(definitions));
    host.run();
    let id = host.schedule();
    wait_until("it runs", || host.path("pid").exists());
    anna.text(&["unlock", "env-1", "--reason", "it hangs"]);
    let job = host.finished(&id);
    assert_eq!(statuses(&job), "a:error on_error:done", "{job}");
    let said = host.logs(&id, "on_error").0;
    assert!(
        said.contains("a: the claim of `env-1` of the pool `aws` was taken away by anna"),
        "{said}"
    );
    assert!(!is_alive(&fs::read_to_string(host.path("pid")).unwrap()));

    anna.text(&["claim", "env-1"]);
    let (id, job) = host.done();
    assert_eq!(statuses(&job), "a:error on_error:done", "{job}");
    let said = host.logs(&id, "on_error").0;
    assert!(
        said.contains("a: gave up after 1s") && said.contains("anna"),
        "{said}"
    );
    assert_eq!(tickets(&remote), 0);
}

#[test]
fn after_a_kill_the_lock_of_a_task_is_given_back_and_the_job_waits_again_if_it_is_to() {
    for (restart, state) in [("cancel", "canceled"), ("requeue", "running")] {
        let remote = aws();
        let definitions = format!(
            "pipelines: {{p: {{restart: {restart}, tasks: {{a: {{script: ['echo $$ >>pid', 'while ! [ -e go ]; do sleep 0.01; done'], locks: [{{pool: aws, name: env-1}}]}}}}}}}}"
        );
        let mut host = knowing(&remote, Host::folder(&definitions));
        host.run();
        let id = host.schedule();
        wait_until("it runs", || host.path("pid").exists());
        host.end("KILL");
        assert!(!is_free(&remote));
        host.run();
        wait_until("it is as it should be", || {
            let jobs = host.get(&format!("/pipelines/jobs?state={state}")).json();
            jobs["jobs"][0]["id"] == json!(id)
        });
        match restart {
            "cancel" => assert!(is_free(&remote)),
            _ => {
                host.write("go", "");
                assert_eq!(host.finished(&id)["errored"], false);
                let subjects = remote.subjects();
                let claims = subjects.iter().filter(|line| line.contains(" claiming: "));
                assert_eq!(claims.count(), 2, "{subjects:?}");
                assert!(is_free(&remote));
            }
        }
    }
}

#[test]
fn a_kill_at_any_moment_leaves_nothing_of_a_task_claimed() {
    let remote = aws();
    let definitions = "pipelines: {p: {concurrency: 2, tasks: {a: {script: ['true'], locks: [{pool: aws, name: env-1}]}, b: {script: ['true'], locks: [{pool: aws, name: env-1}]}}}}";
    let mut host = knowing(&remote, Host::folder(definitions));
    for round in 0..crate::locks::tries(5) {
        host.run();
        let id = host.schedule();
        let ms = (round * 53 % 331) as u64;
        std::thread::sleep(std::time::Duration::from_millis(ms));
        host.end("KILL");
        host.run();
        host.finished(&id);
        wait_until("nothing is claimed", || is_free(&remote));
        let (_, job) = host.done();
        assert_eq!(job["errored"], false, "round {round}: {job}");
        assert!(is_free(&remote));
        host.end("KILL");
    }
}

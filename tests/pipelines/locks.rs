//! Locks that other servers and CIs want too, in a real repository.

use std::fs;

use serde_json::{Value, json};
use support::cli::Cli;
use support::{TestRemote, wait_until};

use crate::host::{Host, is_alive, statuses};

/// How often something random is tried: `PRUNNER_TRIES=200` for the long run.
pub fn tries(usual: usize) -> usize {
    let set = std::env::var("PRUNNER_TRIES").ok();
    set.and_then(|n| n.parse().ok()).unwrap_or(usual)
}

pub fn aws() -> TestRemote {
    TestRemote::with_pool("aws", &["env-1"])
}

/// A folder with a pipeline `p` that holds `env-1`, for a server that knows the repository.
fn folder(remote: &TestRemote, keys: &str) -> Host {
    let definitions = format!("pipelines: {{p: {{locks: [{{pool: aws, name: env-1}}], {keys}}}}}");
    knowing(remote, Host::folder(&definitions))
}

pub fn knowing(remote: &TestRemote, host: Host) -> Host {
    host.env("POOL_URI", &remote.uri())
        .env("POOL_BRANCH", "main")
        .env("POOL_RETRY_DELAY", "50ms")
        .env("REPOSITORY", &remote.uri())
}

fn server(remote: &TestRemote, keys: &str) -> Host {
    let mut host = folder(remote, keys);
    host.run();
    host
}

/// A terminal with the same pool.
pub fn anna(remote: &TestRemote) -> Cli {
    Cli::on(&remote.uri())
        .env("POOL_NAME", "aws")
        .env("POOL_HOLDER", "anna")
        .env("POOL_RETRY_DELAY", "50ms")
}

pub fn is_free(remote: &TestRemote) -> bool {
    let tree = remote.git(&["ls-tree", "-r", "--name-only", "main"]);
    tree.lines().any(|path| path == "aws/unclaimed/env-1")
}

pub fn tickets(remote: &TestRemote) -> usize {
    remote
        .git(&["for-each-ref", "refs/pool-queue"])
        .lines()
        .count()
}

pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[test]
fn two_servers_with_one_lock_never_work_at_once() {
    let remote = aws();
    let place = tempfile::tempdir().unwrap();
    let inside = place.path().join("inside");
    // Two at once would be told by mkdir.
    let keys = "tasks: {t: {script: ['mkdir \"$INSIDE\"', 'echo \"$POOL_LOCK_NAME: $(cat \"$POOL_METADATA_FILE\")\"', 'sleep 0.05', 'rmdir \"$INSIDE\"']}}";
    let start = || {
        let mut host = folder(&remote, keys).env("INSIDE", inside.to_str().unwrap());
        host.run();
        host
    };
    let hosts = [start(), start()];
    let jobs: Vec<(&Host, String)> = (0..3)
        .flat_map(|_| hosts.iter().map(|host| (host, host.schedule())))
        .collect();
    for (host, job) in &jobs {
        let ended = host.finished(job);
        assert_eq!(ended["errored"], false, "{ended}");
        assert_eq!(host.logs(job, "t").0, "env-1: metadata of env-1\n");
    }
    assert!(is_free(&remote));
    // Each claim is of a job that can be found again.
    let subjects = remote.subjects();
    for (_, job) in &jobs {
        let claims = subjects
            .iter()
            .filter(|line| line.contains(job.as_str()) && line.contains(" claiming: env-1"));
        assert_eq!(claims.count(), 1, "{subjects:?}");
    }
}

#[test]
fn a_job_shows_whom_it_waits_for_and_runs_when_they_are_done() {
    let remote = aws();
    let anna = anna(&remote);
    anna.text(&["claim", "env-1"]);
    let host = server(&remote, "tasks: {t: {script: [echo done]}}");
    let id = host.schedule();
    wait_until("it shows who holds the lock", || {
        text(&host.job(&id)["waitingFor"]).contains("anna")
    });
    let job = host.job(&id);
    assert_eq!((&job["start"], &job["locks"]), (&Value::Null, &Value::Null));
    let listed = |state: &str| {
        let jobs = host.get(&format!("/pipelines/jobs?state={state}")).json();
        jobs["jobs"].as_array().unwrap().len()
    };
    assert_eq!(["locking", "waiting", "running"].map(listed), [1, 0, 0]);
    let metrics = host.get("/metrics").text();
    let line = "prunner_jobs{pipeline=\"p\",state=\"locking\"} 1";
    assert!(metrics.contains(line), "{metrics}");
    // A second one keeps its place behind it, and the API answers meanwhile.
    let second = host.schedule();
    assert_eq!(["locking", "waiting", "running"].map(listed), [1, 1, 0]);

    anna.text(&["release", "env-1"]);
    for id in [id, second] {
        let job = host.finished(&id);
        assert_eq!(job["errored"], false, "{job}");
        assert_eq!(host.logs(&id, "t").0, "done\n");
        assert!(job["waitingFor"].is_null() && job["locks"].is_null());
    }
}

#[test]
fn who_is_canceled_leaves_the_line() {
    let remote = aws();
    anna(&remote).text(&["claim", "env-1"]);
    let host = server(&remote, "tasks: {t: {script: [echo done]}}");
    let id = host.schedule();
    wait_until("it is in the line", || tickets(&remote) == 1);
    assert_eq!(host.cancel(&id), 200);
    let job = host.finished(&id);
    assert_eq!(
        (&job["canceled"], statuses(&job).as_str()),
        (&json!(true), "t:canceled")
    );
    assert_eq!(tickets(&remote), 0);
    assert!(remote.subjects()[0].contains("anna"), "nothing was claimed");
}

#[test]
fn the_lock_is_given_back_however_the_job_ends() {
    let remote = aws();
    let mut host = folder(
        &remote,
        "tasks: {a: {script: ['{{ .script }}']}, b: {script: ['sleep 1000 & echo $! >left', '{{ .other }}']}}, timeout: 3s, on_error: {script: ['git -C \"$REPOSITORY\" ls-tree -r --name-only main']}",
    );
    host.run();
    for (a, b, phase, canceled) in [
        ("true", "true", "succeeded", false),
        ("exit 3", "sleep 1000", "failed", false),
        ("true", "sleep 1000", "failed", false),
        ("true", "sleep 1000", "canceled", true),
    ] {
        let id = host.schedule_with(json!({"script": a, "other": b}));
        if canceled {
            wait_until("it runs", || host.path("left").exists());
            assert!(!is_free(&remote));
            let held = json!([{"pool": "aws", "name": "env-1"}]);
            assert_eq!(host.job(&id)["locks"], held);
            host.cancel(&id);
        }
        let job = host.finished(&id);
        assert!(is_free(&remote), "{phase}: {job}");
        let listed = host.get(&format!("/pipelines/jobs?state={phase}&limit=1"));
        assert_eq!(listed.json()["jobs"][0]["id"], json!(id), "{job}");
        // What was left behind would have gone on without the lock.
        let left = fs::read_to_string(host.path("left")).unwrap_or_default();
        assert!(left.is_empty() || !is_alive(&left), "{phase}");
        let _ = fs::remove_file(host.path("left"));
        if a == "exit 3" {
            let tree = host.logs(&id, "on_error").0;
            assert!(tree.contains("aws/claimed/env-1"), "{tree}");
        }
    }
}

#[test]
fn after_a_kill_the_lock_is_given_back_and_the_job_waits_again_if_it_is_to() {
    for (restart, state) in [("cancel", "canceled"), ("requeue", "running")] {
        let remote = aws();
        let mut host = folder(
            &remote,
            &format!(
                "restart: {restart}, tasks: {{t: {{script: ['echo $$ >>pid', 'while ! [ -e go ]; do sleep 0.01; done']}}}}"
            ),
        );
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
        let claims = remote.subjects();
        let claims = claims.iter().filter(|line| line.contains(" claiming: "));
        match restart {
            "cancel" => assert!(is_free(&remote)),
            _ => {
                // It did not go on with the old claim: whoever waited had his turn.
                assert_eq!(claims.count(), 2);
                host.write("go", "");
                assert_eq!(host.finished(&id)["errored"], false);
                assert!(is_free(&remote));
            }
        }
    }
}

#[test]
fn a_kill_at_any_moment_leaves_nothing_claimed() {
    let remote = aws();
    let mut host = folder(&remote, "concurrency: 2, tasks: {t: {script: ['true']}}");
    for round in 0..tries(5) {
        host.run();
        let id = host.schedule();
        // Moments that differ: before the claim, around its push, while it is held, around the giving back.
        let ms = (round * 53 % 331) as u64;
        std::thread::sleep(std::time::Duration::from_millis(ms));
        host.end("KILL");
        host.run();
        host.finished(&id);
        wait_until("nothing is claimed", || is_free(&remote));
        // What comes later finds the lock free.
        let (_, job) = host.done();
        assert_eq!(job["errored"], false, "round {round}: {job}");
        assert!(is_free(&remote));
        host.end("KILL");
    }
}

#[test]
fn a_claim_that_is_taken_away_ends_the_job_as_failed() {
    let remote = aws();
    let host = folder(
        &remote,
        "tasks: {t: {script: ['echo $$ >pid', 'sleep 1000']}}",
    );
    host.write(
        "pipelines.yml",
        "pipelines: {p: {locks: [{pool: aws, name: env-1, lease: 6s}], tasks: {t: {script: ['echo $$ >pid', 'sleep 1000']}}}}",
    );
    let mut host = host;
    host.run();
    let id = host.schedule();
    wait_until("it runs", || host.path("pid").exists());
    anna(&remote).text(&["unlock", "env-1", "--reason", "it hangs"]);
    let job = host.finished(&id);
    let error = text(&job["lastError"]);
    assert!(
        error.contains("the claim of `env-1` of the pool `aws` was taken away by anna")
            && error.contains("it hangs"),
        "{job}"
    );
    assert_eq!(
        (&job["canceled"], &job["errored"]),
        (&json!(false), &json!(true))
    );
    let pid = fs::read_to_string(host.path("pid")).unwrap();
    assert!(!is_alive(&pid));
}

#[test]
fn a_lease_that_cannot_be_renewed_ends_the_job_as_failed_before_it_is_over() {
    let remote = aws();
    let host = Host::folder(
        "pipelines: {p: {locks: [{pool: aws, name: env-1, lease: 6s}], tasks: {t: {script: ['echo $$ >pid', 'sleep 1000']}}}}",
    );
    let mut host = knowing(&remote, host);
    host.run();
    let id = host.schedule();
    wait_until("it runs", || host.path("pid").exists());
    let away = remote.root().join("away.git");
    fs::rename(remote.path(), &away).unwrap();
    let pid = fs::read_to_string(host.path("pid")).unwrap();
    wait_until("its process is ended", || !is_alive(&pid));
    fs::rename(&away, remote.path()).unwrap();
    let job = host.finished(&id);
    let error = text(&job["lastError"]);
    assert!(
        error.contains("the lease of `env-1` of the pool `aws` could not be renewed"),
        "{job}"
    );
    assert_eq!(job["canceled"], false);
}

#[test]
fn locks_that_cannot_be_had_are_refused_at_load_or_fail_with_words() {
    let remote = aws();
    let definitions = "pipelines: {p: {locks: [{pool: aws, name: env-1}]}}";
    // Nobody is to run unlocked since a setting is missing.
    let mut host = Host::folder(definitions);
    assert!(!host.try_run(&[]));
    let said = host.log();
    assert!(
        said.contains("no Git repository is named: set POOL_URI"),
        "{said}"
    );
    let mut host = knowing(&remote, Host::folder(definitions));
    host.run();
    for (lock, fault) in [
        ("{pool: aws, name: a/b}", "is not the name of a lock"),
        ("{pool: ../x, name: a}", "is not the name of a pool"),
        ("{pool: aws/, name: a}", "is written `aws`"),
    ] {
        host.write(
            "pipelines.yml",
            &format!("pipelines: {{p: {{locks: [{lock}]}}}}"),
        );
        host.signal("HUP");
        wait_until("the fault is told", || host.log().contains(fault));
    }
    host.reload("pipelines: {p: {locks: [{pool: gcp, name: env-1}]}}");
    let (_, job) = host.done();
    let error = text(&job["lastError"]);
    assert!(error.contains("there is no pool `gcp`"), "{job}");
    assert_eq!(job["errored"], true);
}

#[test]
fn locks_of_several_pools_are_held_together_and_tasks_get_no_credentials() {
    let remote = aws();
    remote.add_pool("db", &["db-1", "db-2", "db-3"]);
    let script = "env | grep -c MARKER || true; echo \"$POOL_LOCK_NAME\" | tr '\\n' ' '; (cd \"$POOL_METADATA_DIR\" && find . -type f | sort | tr '\\n' ' '); echo \"$POOL_CLAIM\" | wc -l";
    let definitions = json!({"pipelines": {"p": {
        "locks": [{"pool": "db", "count": 2}, {"pool": "aws", "name": "env-1"}],
        "tasks": {"t": {"script": [script]}},
    }}});
    let host = Host::folder(&definitions.to_string());
    let mut host = knowing(&remote, host)
        .env("POOL_PASSWORD", "MARKER-password")
        .env("POOL_GITLAB_TOKEN", "MARKER-token");
    host.run();
    let (id, job) = host.done();
    assert_eq!(job["errored"], false, "{job}");
    let said = host.logs(&id, "t").0;
    let words: Vec<&str> = said.split_whitespace().collect();
    assert_eq!(words[..2], ["0", "env-1"], "{said}");
    assert!(
        words[2].starts_with("db-") && words[3].starts_with("db-"),
        "{said}"
    );
    let files = [
        "./aws/env-1".to_owned(),
        format!("./db/{}", words[2]),
        format!("./db/{}", words[3]),
    ];
    assert_eq!(words[4..7], files, "{said}");
    assert_eq!(words[7..], ["2"], "{said}");
    assert!(!host.log().contains("MARKER"));
}

#[test]
fn a_lock_is_renewed_while_the_next_pool_is_waited_for() {
    let remote = aws();
    remote.add_pool("db", &["db-1"]);
    let anna = anna(&remote).env("POOL_NAME", "db");
    anna.text(&["claim", "db-1"]);
    let definitions = "pipelines: {p: {locks: [{pool: aws, name: env-1, lease: 3s}, {pool: db}], tasks: {t: {script: ['echo $POOL_LOCK_NAME']}}}}";
    let mut host = knowing(&remote, Host::folder(definitions));
    host.run();
    let id = host.schedule();
    let renewals = || {
        let subjects = remote.subjects();
        let of_job = subjects.iter().filter(|line| line.contains(id.as_str()));
        of_job.filter(|line| line.contains(" renewing: ")).count()
    };
    // One in each third of the lease: the first lease is over by then.
    wait_until("it is renewed", || renewals() >= 4);
    assert_eq!(host.job(&id)["start"], Value::Null);
    anna.text(&["release", "db-1"]);
    let job = host.finished(&id);
    assert_eq!(job["errored"], false, "{job}");
    assert_eq!(host.logs(&id, "t").0, "env-1 db-1\n");
    assert!(is_free(&remote));
}

#[test]
fn a_lock_that_is_taken_away_while_the_next_is_waited_for_ends_the_waiting() {
    let remote = aws();
    remote.add_pool("db", &["db-1"]);
    let anna = anna(&remote);
    let of_db = Cli::on(&remote.uri())
        .env("POOL_NAME", "db")
        .env("POOL_HOLDER", "anna");
    of_db.text(&["claim", "db-1"]);
    let definitions = "pipelines: {p: {locks: [{pool: aws, name: env-1, lease: 3s}, {pool: db}], tasks: {t: {script: ['true']}}}}";
    let mut host = knowing(&remote, Host::folder(definitions));
    host.run();
    let id = host.schedule();
    wait_until("it waits for the second pool", || tickets(&remote) == 1);
    anna.text(&["unlock", "env-1", "--reason", "it hangs"]);
    let job = host.finished(&id);
    let error = text(&job["lastError"]);
    assert!(
        error.contains("`env-1` of the pool `aws` was taken away by anna")
            && error.contains("it hangs"),
        "{job}"
    );
    assert_eq!(
        (statuses(&job).as_str(), &job["canceled"]),
        ("t:canceled", &json!(false))
    );
    assert_eq!(tickets(&remote), 0, "it has left the line");
}

#[test]
fn locks_are_waited_for_no_longer_than_their_timeout() {
    let remote = aws();
    anna(&remote).text(&["claim", "env-1"]);
    let definitions = "pipelines: {p: {locks: [{pool: aws, name: env-1, timeout: 1s}], tasks: {t: {script: ['true']}}}}";
    let mut host = knowing(&remote, Host::folder(definitions));
    host.run();
    let (_, job) = host.done();
    let error = text(&job["lastError"]);
    assert!(
        error.contains("gave up after 1s") && error.contains("anna"),
        "{job}"
    );
    assert_eq!(
        (statuses(&job).as_str(), &job["canceled"], &job["errored"]),
        ("t:canceled", &json!(false), &json!(true))
    );
    assert_eq!(tickets(&remote), 0);
    assert!(remote.subjects()[0].contains("anna"), "nothing was claimed");
}

//! Who runs, who waits, and how jobs end.

use serde_json::{Value, json};
use support::wait_until;

use crate::host::{Host, id_of, statuses};

/// A script that runs until the file `go` is there.
const HELD: &str = "tasks: {t: {script: ['while ! [ -e go ]; do sleep 0.01; done']}}";

fn held(keys: &str) -> Host {
    Host::with(&format!("{keys}, {HELD}"))
}

fn is_schedulable(host: &Host) -> bool {
    host.get("/pipelines").json()["pipelines"][0]["schedulable"] == true
}

#[test]
fn p4_and_p5_tasks_start_together_and_are_listed_by_their_dependencies() {
    // Each waits for the other.
    let host = Host::with(
        "tasks: {b: {script: ['touch b; while ! [ -e a ]; do sleep 0.01; done'], depends_on: []}, a: {script: ['touch a; while ! [ -e b ]; do sleep 0.01; done']},
         z: {depends_on: [a, b]}, c: {script: [echo c], depends_on: [z]}}",
    );
    let (_, job) = host.done();
    assert_eq!(statuses(&job), "a:done b:done z:done c:done");
    assert_eq!(job["tasks"][3]["dependsOn"], json!(["z"]));
    let empty = Host::with("concurrency: 1");
    let (_, job) = empty.done();
    assert_eq!(
        (&job["tasks"], &job["completed"]),
        (&json!([]), &json!(true))
    );
}

#[test]
fn p11_jobs_run_in_the_order_in_which_they_came() {
    let host = Host::with("tasks: {t: {script: ['echo {{ .n }} >>order']}}");
    let ids: Vec<String> = (0..6)
        .map(|n| host.schedule_with(json!({"n": n})))
        .collect();
    host.finished(&ids[5]);
    assert_eq!(
        std::fs::read_to_string(host.path("order")).unwrap(),
        "0\n1\n2\n3\n4\n5\n"
    );
}

#[test]
fn p12_and_d1_the_wait_list_has_its_limit_and_an_idle_pipeline_accepts() {
    let host = held("queue_limit: 0");
    assert!(is_schedulable(&host));
    host.schedule();
    let full = host.try_schedule(json!({}));
    let words = "{\"error\":\"Error scheduling pipeline: concurrency exceeded and queueing disabled for pipeline\"}\n";
    assert_eq!((full.status, full.text().as_str()), (400, words));
    assert!(!is_schedulable(&host));
    let host = held("queue_limit: 1");
    let [_, waiting] = [host.schedule(), host.schedule()];
    let full = host.try_schedule(json!({}));
    assert!(
        full.text()
            .contains("concurrency exceeded and queue limit reached for pipeline"),
        "{}",
        full.text()
    );
    // P16, D1c: whoever is canceled leaves his place, at once.
    for waiting in [waiting.clone(), waiting] {
        assert_eq!(host.cancel(&waiting), 200);
    }
    assert!(is_schedulable(&host));
    host.schedule();
}

#[test]
fn p13_and_d1_the_last_one_who_waits_is_replaced() {
    for (limit, n_canceled) in [("", 3), (", queue_limit: 1", 3), (", queue_limit: 3", 1)] {
        let host = held(&format!("queue_strategy: replace{limit}"));
        let ids: Vec<String> = (0..5).map(|_| host.schedule()).collect();
        let canceled = ids
            .iter()
            .filter(|id| host.job(id)["canceled"] == true)
            .count();
        assert_eq!(
            (canceled, host.job(&ids[4])["canceled"].as_bool()),
            (n_canceled, Some(false)),
            "{limit}"
        );
        let job = host.job(&ids[3]);
        assert_eq!(
            (statuses(&job), &job["end"], &job["completed"]),
            ("t:canceled".into(), &Value::Null, &json!(false))
        );
    }
}

#[test]
fn p14_each_partition_replaces_its_own() {
    let host = held("queue_strategy: partitioned_replace, queue_partition_limit: 1");
    let ask = |partition: &str| {
        let body = json!({"pipeline": "p", "queuePartition": partition});
        id_of(&host.post("/pipelines/schedule", &body))
    };
    let ids = ["A", "B", "A", "B", "B"].map(ask);
    let canceled = ids.each_ref().map(|id| host.job(id)["canceled"] == true);
    assert_eq!(canceled, [false, true, false, true, false]);
    assert_eq!(host.job(&ids[2])["queuePartition"], "A");
}

#[test]
fn p15_and_d2_a_delay_waits_for_quiet_and_blocks_nobody() {
    let host = Host::with(
        "start_delay: 300ms, queue_strategy: replace, queue_limit: 1, tasks: {t: {script: ['echo {{ .n }} >>order']}}",
    );
    let ids: Vec<String> = (0..4)
        .map(|n| host.schedule_with(json!({"n": n})))
        .collect();
    host.finished(&ids[3]);
    assert_eq!(std::fs::read_to_string(host.path("order")).unwrap(), "3\n");
    let first = host.schedule_with(json!({"n": 8}));
    host.cancel(&first);
    host.finished(&host.schedule_with(json!({"n": 9})));
    assert_eq!(
        std::fs::read_to_string(host.path("order")).unwrap(),
        "3\n9\n"
    );
}

#[test]
fn p17_and_d3_to_d6_the_first_failure_stops_the_others_and_is_the_jobs() {
    let graph = "tasks: {bad: {script: ['while ! [ -e go ]; do sleep 0.01; done; exit 3']}, slow: {script: ['touch go; sleep 0.3; [ -e stay ] || sleep 100; echo end']},
        after: {script: [echo no], depends_on: [bad]}, last: {script: [echo last], depends_on: [slow]}}";
    let host = Host::with(graph);
    let (_, job) = host.done();
    assert_eq!(
        statuses(&job),
        "bad:error after:canceled slow:canceled last:canceled"
    );
    assert_eq!(
        (&job["completed"], &job["canceled"], &job["errored"]),
        (&json!(true), &json!(false), &json!(true))
    );
    assert_eq!(job["lastError"], "exit status 3");
    let tasks = job["tasks"].as_array().unwrap();
    let ended = tasks.iter().filter(|task| !task["end"].is_null()).count();
    assert_eq!((ended, tasks[0]["exitCode"].as_i64()), (2, Some(3)));
    let host = Host::folder(&format!(
        "pipelines: {{p: {{continue_running_tasks_after_failure: true, {graph}}}}}"
    ));
    host.write("stay", "");
    let mut host = host;
    host.run();
    let (id, job) = host.done();
    assert_eq!(
        statuses(&job),
        "bad:error after:canceled slow:done last:done"
    );
    assert_eq!(
        (&job["canceled"], &job["errored"], &job["lastError"]),
        (&json!(false), &json!(true), &json!("exit status 3"))
    );
    assert_eq!(job["tasks"][2]["exitCode"], 0);
    // D3: it is still so after a restart.
    host.end("KILL");
    host.run();
    assert_eq!(host.job(&id), job);
}

#[test]
fn p19_and_d14_after_a_failure_the_handler_runs_with_what_failed() {
    let host = Host::with(
        "env: {E: pipeline, F: pipeline}, tasks: {t: {script: ['echo out {{ .x }}; echo err >&2; [ -e hold ] && sleep 100; exit 3']}},
         on_error: {env: {F: own}, script: ['echo \"{{ .failedTaskName }} {{ .failedTaskExitCode }} {{ .failedTaskError }} {{ .failedTaskStdout }} {{ .failedTaskStderr }}\" {{ .x }} $E $F $TASK_NAME', 'exit 9']}",
    );
    let id = host.schedule_with(json!({"x": "1"}));
    let job = host.finished(&id);
    assert_eq!(
        host.logs(&id, "on_error").0,
        "t 3 exit status 3 out 1\n err\n 1 pipeline own on_error\n"
    );
    assert_eq!(statuses(&job), "t:error on_error:error");
    assert_eq!(
        (job["lastError"].as_str(), job["canceled"].as_bool()),
        (Some("exit status 3"), Some(false))
    );
    host.write("hold", "");
    let id = host.schedule_with(json!({"x": "1"}));
    wait_until("it has written", || host.logs(&id, "t").0 == "out 1\n");
    host.cancel(&id);
    let job = host.finished(&id);
    assert_eq!(
        (statuses(&job), job["canceled"].as_bool()),
        ("t:canceled".into(), Some(true))
    );
}

#[test]
fn p20_and_d13_a_cancel_ends_the_job_and_changes_nothing_later() {
    let host = Host::with(
        "tasks: {t: {script: ['sleep 100 & sleep 100']}, u: {script: [echo no], depends_on: [t]}}",
    );
    let id = host.schedule();
    host.running(&id);
    assert_eq!(host.cancel(&id), 200);
    let job = host.finished(&id);
    assert_eq!(statuses(&job), "t:canceled u:canceled");
    assert_eq!(
        (&job["completed"], &job["canceled"], &job["errored"]),
        (&json!(true), &json!(true), &json!(false))
    );
    assert_eq!(
        (
            job["lastError"].as_str(),
            job["tasks"][0]["exitCode"].as_i64()
        ),
        (Some("context canceled"), Some(-1))
    );
    assert_eq!(host.cancel(&id), 200);
    assert_eq!(host.job(&id), job);
    let host = Host::script(&["true"]);
    let (id, job) = host.done();
    assert_eq!((host.cancel(&id), host.job(&id)), (200, job));
    assert_eq!(host.cancel("00000000-0000-0000-0000-000000000000"), 404);
    assert_eq!(host.cancel("x"), 400);
}

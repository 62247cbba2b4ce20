//! What is on disk.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;
use support::wait_until;

use crate::host::{Host, statuses};

#[test]
fn p21_and_m14_old_jobs_and_their_logs_go_also_without_traffic() {
    let host = Host::with("retention_count: 2, tasks: {t: {script: [echo x]}}");
    let ids: Vec<String> = (0..4).map(|_| host.done().0).collect();
    let logs = || fs::read_dir(host.path(".prunner/logs")).unwrap().count();
    wait_until("old logs are gone", || logs() == 2);
    assert_eq!(host.get(&format!("/job/detail?id={}", ids[0])).status, 404);
    host.job(&ids[3]);
    let host = Host::with("retention_period: 100ms, tasks: {t: {script: [echo x]}}");
    let id = host.schedule();
    wait_until("it is forgotten", || {
        host.get(&format!("/job/detail?id={id}")).status == 404
    });
    wait_until("its logs too", || {
        fs::read_dir(host.path(".prunner/logs")).unwrap().count() == 0
    });
    assert!(host.log().contains("message=\"Removing job\""));
}

#[test]
fn p23_after_a_kill_jobs_are_as_they_were_and_what_ran_is_canceled() {
    let text = "pipelines: {p: {tasks: {a: {script: [echo a]}, t: {script: ['echo $$ >pid; sleep 1000'], depends_on: [a]}, u: {script: [x], depends_on: [t]}}},
        d: {start_delay: 1h}, ok: {tasks: {t: {script: [echo kept]}}}}";
    let mut host = Host::start(text);
    let [running, waiting] = [host.schedule(), host.schedule()];
    let delayed = host.schedule_of("d");
    let done = host.schedule_of("ok");
    let before = host.finished(&done);
    wait_until("it runs", || host.path("pid").exists());
    let pid = fs::read_to_string(host.path("pid")).unwrap();
    host.end("KILL");
    wait_until("what it had started is gone", || {
        !crate::host::is_alive(&pid)
    });
    host.run();
    let job = host.job(&running);
    assert_eq!(statuses(&job), "a:done t:canceled u:canceled");
    assert_eq!(
        (&job["completed"], &job["canceled"], &job["end"]),
        (&json!(false), &json!(true), &json!(null))
    );
    for id in [&waiting, &delayed] {
        let job = host.job(id);
        assert_eq!(
            (&job["canceled"], &job["start"]),
            (&json!(true), &json!(null))
        );
    }
    assert_eq!(host.job(&done), before);
    assert_eq!(host.logs(&done, "t").0, "kept\n");
    assert_eq!(host.cancel(&running), 200);
    assert!(
        host.log()
            .contains("Found running job when restoring state, marked as canceled")
    );
    assert!(
        host.log()
            .contains("Found job on wait list when restoring state, marked as canceled")
    );
}

#[test]
fn jobs_that_are_to_wait_again_do_after_a_kill_and_after_a_stop() {
    let text = "pipelines: {p: {restart: requeue, tasks: {t: {script: ['echo {{ .n }} >>runs; while ! [ -e go ]; do sleep 0.01; done']}}}}";
    for signal in ["KILL", "TERM"] {
        let mut host = Host::start(text);
        let ids = [1, 2].map(|n| host.schedule_with(json!({"n": n})));
        let runs = |host: &Host| fs::read_to_string(host.path("runs")).unwrap_or_default();
        wait_until("the first runs", || runs(&host) == "1\n");
        host.end(signal);
        host.run();
        wait_until("it runs again", || runs(&host) == "1\n1\n");
        host.write("go", "");
        for id in &ids {
            assert_eq!(host.finished(id)["completed"], true);
        }
        assert_eq!(runs(&host), "1\n1\n2\n");
    }
}

#[test]
fn p22_the_file_of_the_original_is_taken_over_once() {
    let id = "00000000-0000-0000-0000-000000000007";
    let store = format!(
        r#"{{"Jobs":[{{"ID":"{id}","Pipeline":"gone","Completed":true,"Created":"2026-11-21T05:19:12.02+02:00","Start":"2026-11-21T03:19:12Z",
        "End":"2026-11-21T03:19:13Z","User":"bob","Tasks":[{{"Name":"t","Script":["true"],"Status":"done","ExitCode":-1}}]}}]}}"#
    );
    let mut host = Host::folder("pipelines: {p: }");
    host.write(".prunner/data.json", &store);
    host.write(&format!(".prunner/logs/{id}/t-stdout.log"), "old\n");
    for _ in 0..2 {
        host.run();
        let job = host.job(id);
        assert_eq!(
            (job["created"].as_str(), job["user"].as_str()),
            (Some("2026-11-21T03:19:12Z"), Some("bob"))
        );
        assert_eq!(
            (
                job["tasks"][0]["exitCode"].as_i64(),
                host.logs(id, "t").0.as_str()
            ),
            (Some(0), "old\n")
        );
        host.end("INT");
    }
    assert!(host.path(".prunner/data.json.imported").exists());
    // D11: jobs of a pipeline that is not defined go only when somebody says so.
    let pruned = host.command(&[], &["prune"]).output().unwrap();
    assert!(
        pruned.status.success(),
        "{}",
        String::from_utf8_lossy(&pruned.stderr)
    );
    assert!(!host.path(&format!(".prunner/logs/{id}")).exists());
    host.run();
    assert_eq!(host.get(&format!("/job/detail?id={id}")).status, 404);
    let mut broken = Host::folder("pipelines: ");
    broken.write(".prunner/data.json", "{");
    assert!(!broken.try_run(&[]));
    assert!(
        broken
            .log()
            .contains("loading from store: loading data: decoding JSON: "),
        "{}",
        broken.log()
    );
    assert_eq!(
        fs::read_to_string(broken.path(".prunner/data.json")).unwrap(),
        "{"
    );
}

#[test]
fn d16_files_with_secrets_are_for_nobody_else() {
    let mut host = Host::folder(
        "pipelines: {p: {parameters: {pw: {secret: true}}, tasks: {t: {script: ['echo {{ .pw }}', 'true']}}}}",
    );
    let made = host
        .command(&[], &["debug"])
        .env_remove("PRUNNER_JWT_SECRET")
        .output()
        .unwrap();
    assert!(made.status.success());
    host.run();
    host.schedule_with(json!({"pw": "MARKER-secret"}));
    for name in [".prunner.yml", ".prunner/journal", ".prunner/prunner.lock"] {
        let mode = fs::metadata(host.path(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let text = fs::read_to_string(host.path(".prunner.yml")).unwrap();
    let secret = text.trim().strip_prefix("jwt_secret: ").unwrap();
    assert!(
        secret.len() == 32 && secret.chars().all(|c| c.is_ascii_alphanumeric()),
        "{text}"
    );
}

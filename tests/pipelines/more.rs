//! What the original has not.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use support::git::hermetic;
use support::server::web::{encoded, get};
use support::server::{Process, program};
use support::wait_until;

use crate::host::{Host, id_of, statuses, token};

#[test]
fn m3_what_takes_too_long_is_stopped_and_has_failed() {
    let host = Host::with(
        "tasks: {t: {script: ['sleep 100'], timeout: 100ms}, u: {script: [echo u], depends_on: [t]}}, on_error: {script: ['echo {{ .failedTaskError }}']}",
    );
    let (id, job) = host.done();
    assert_eq!(statuses(&job), "t:error u:canceled on_error:done");
    assert_eq!(
        (job["lastError"].as_str(), job["canceled"].as_bool()),
        (Some("timed out after 100ms"), Some(false))
    );
    assert_eq!(host.logs(&id, "on_error").0, "timed out after 100ms\n");
    let host = Host::with("timeout: 100ms, tasks: {t: {script: ['sleep 100']}}");
    let (_, job) = host.done();
    assert_eq!(
        (statuses(&job), job["lastError"].as_str()),
        ("t:error".into(), Some("the job timed out after 100ms"))
    );
}

#[test]
fn m3_a_task_is_tried_again_and_its_logs_have_all_attempts() {
    let host = Host::with(
        "tasks: {t: {script: ['echo try; echo x >>n; [ $(wc -l <n) = 3 ]'], retry: {max: 5, delay: 10ms}}}",
    );
    let (id, job) = host.done();
    assert_eq!(
        (statuses(&job), job["tasks"][0]["attempt"].as_i64()),
        ("t:done".into(), Some(2))
    );
    assert_eq!(host.logs(&id, "t").0, "try\n".repeat(3));
}

#[test]
fn a_job_is_run_again_whole_or_from_where_it_failed() {
    let host = Host::with(
        "tasks: {a: {script: ['echo a {{ .x }}']}, b: {script: ['echo b; exit {{ .code }}'], depends_on: [a]}, c: {script: [echo c], depends_on: [b]}}",
    );
    let id = host.schedule_with(json!({"x": 1, "code": 3}));
    host.finished(&id);
    let rerun = |body: Value| id_of(&host.post(&format!("/job/rerun?id={id}"), &body));
    let whole = rerun(json!({}));
    assert_eq!(
        statuses(&host.finished(&whole)),
        "a:done b:error c:canceled"
    );
    let rest = rerun(json!({"fromFailed": true, "variables": {"code": 0}}));
    let job = host.finished(&rest);
    assert_eq!(statuses(&job), "a:skipped b:done c:done");
    assert_eq!(
        (&job["tasks"][0]["skipped"], &job["variables"]),
        (&json!(true), &json!({"x": 1, "code": 0}))
    );
}

#[test]
fn m15_a_repeated_request_makes_no_second_job_also_after_a_kill() {
    let mut host = Host::script(&["true"]);
    let ask = |host: &Host, x: i64| {
        host.post(
            "/pipelines/schedule",
            &json!({"pipeline": "p", "idempotencyKey": "k", "variables": {"x": x}}),
        )
    };
    let id = id_of(&ask(&host, 1));
    assert_eq!(id_of(&ask(&host, 1)), id);
    assert_eq!(ask(&host, 2).status, 409);
    host.end("KILL");
    host.run();
    assert_eq!(id_of(&ask(&host, 1)), id);
    let host = Host::with(
        "singleton: true, tasks: {t: {script: ['while ! [ -e go ]; do sleep 0.01; done']}}",
    );
    let id = host.schedule();
    assert_eq!(host.schedule(), id);
    assert_eq!(host.try_schedule(json!({"x": 2})).status, 409);
}

#[test]
fn m16_and_m11_parameters_are_checked_and_secrets_are_shown_nowhere() {
    let host = Host::with(
        "env_from_variables: true, parameters: {stage: {choices: [dev, live], default: dev}, token: {secret: true, required: true}},
         tasks: {t: {script: ['echo \"$stage <$token>\"; echo \"$token\" >&2; printf MARKER-; sleep 0.05; printf s3cret', 'echo end; exit 3']}}",
    );
    for (variables, words) in [
        (json!({}), "parameter \\\"token\\\" is missing"),
        (
            json!({"token": "x", "stage": "prod"}),
            "parameter \\\"stage\\\" is none of",
        ),
        (
            json!({"token": "x", "other": 1}),
            "there is no parameter \\\"other\\\"",
        ),
    ] {
        let reply = host.try_schedule(variables);
        assert!(
            reply.status == 400 && reply.text().contains(words),
            "{}",
            reply.text()
        );
    }
    let id = host.schedule_with(json!({"token": "MARKER-s3cret"}));
    let job = host.finished(&id);
    assert_eq!(job["variables"], json!({"stage": "dev", "token": "***"}));
    assert_eq!(
        host.logs(&id, "t"),
        ("dev <***>\n***end\n".into(), "***\n".into())
    );
    let mut open = vec![host.path(".")];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                open.push(entry.path());
            } else {
                let text = fs::read(entry.path()).unwrap();
                assert!(
                    !String::from_utf8_lossy(&text).contains("MARKER-s3cret"),
                    "{}",
                    entry.path().display()
                );
            }
        }
    }
    // It is not kept, so that it has to be given again.
    let again = host.post(&format!("/job/rerun?id={id}"), &json!({}));
    assert!(
        again.status == 400 && again.text().contains("secret and was not kept"),
        "{}",
        again.text()
    );
}

/// A web server that answers 500 first and 200 then, and keeps what it was sent.
fn listener() -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let all = heard.clone();
    std::thread::spawn(move || {
        for (n, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            let mut text = String::new();
            let mut piece = [0; 4096];
            // The body is one document.
            while !text.contains("\r\n\r\n") || !text.ends_with("}}") {
                match stream.read(&mut piece) {
                    Ok(n @ 1..) => text.push_str(&String::from_utf8_lossy(&piece[..n])),
                    _ => break,
                }
            }
            all.lock().unwrap().push(text);
            let status = if n == 0 { "500 Oops" } else { "200 OK" };
            let _ = write!(
                stream,
                "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
        }
    });
    (port, heard)
}

#[test]
fn m7_somebody_is_told_of_starts_failures_and_lateness() {
    let (port, heard) = listener();
    let host = Host::with(&format!(
        "webhook: {{url: 'http://127.0.0.1:{port}/hook?key=MARKER', late_after: 200ms}}, tasks: {{t: {{script: ['while ! [ -e go ]; do sleep 0.01; done; exit 3']}}}}"
    ));
    let id = host.schedule();
    let told = |event: &str| {
        let heard = heard.lock().unwrap();
        heard
            .iter()
            .filter(|text| text.contains(&format!("\"event\":\"{event}\"")))
            .count()
    };
    wait_until("the start is told, again after a failure", || {
        told("start") == 2
    });
    wait_until("the lateness is told", || told("late") == 1);
    host.write("go", "");
    wait_until("the failure is told", || told("failure") == 1);
    assert!(heard.lock().unwrap().iter().all(|text| text.contains(&id)));
    assert!(!host.log().contains("MARKER"), "{}", host.log());
}

#[test]
fn m8_a_real_prometheus_scrapes_the_server_and_promtool_is_content() {
    let host = Host::start(
        "pipelines: {p: {tasks: {t: {script: [true]}}}, q: {queue_limit: 5, tasks: {t: {script: ['while ! [ -e go ]; do sleep 0.01; done; false']}}}}",
    );
    for _ in 0..3 {
        let id = host.schedule();
        host.finished(&id);
    }
    let waiting = [host.schedule_of("q"), host.schedule_of("q")];
    assert_eq!(host.request("GET", "/healthz", &[], b"").text(), "ok\n");
    let text = host.get("/metrics").text();
    let mut tool = Command::new(program("promtool"));
    let mut tool = hermetic(&mut tool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    tool.stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let said = tool.wait_with_output().unwrap();
    assert!(
        said.status.success() && said.stdout.is_empty() && said.stderr.is_empty(),
        "{said:?}"
    );
    host.write("token", token().strip_prefix("Bearer ").unwrap());
    let config = format!(
        "global: {{scrape_interval: 200ms}}\nscrape_configs:\n- job_name: prunner\n  authorization: {{credentials_file: {}}}\n  static_configs: [{{targets: ['127.0.0.1:{}']}}]\n",
        host.path("token").display(),
        host.port()
    );
    host.write("prometheus.yml", &config);
    let (_prometheus, port) = Process::on_free_port("prometheus", |port| {
        let mut command = Command::new(program("prometheus"));
        hermetic(&mut command)
            .arg(format!(
                "--config.file={}",
                host.path("prometheus.yml").display()
            ))
            .arg(format!(
                "--storage.tsdb.path={}",
                host.path("tsdb").display()
            ))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--log.level=error")
            .stderr(Stdio::null());
        command
    });
    let value = |expression: &str| {
        let page = get(
            port,
            &format!("/api/v1/query?query={}", encoded(expression)),
        );
        if page.status != 200 {
            return None;
        }
        page.json()["data"]["result"][0]["value"][1]
            .as_str()?
            .parse::<f64>()
            .ok()
    };
    wait_until("prometheus has looked", || {
        value("prunner_jobs_ended_total{pipeline='p',outcome='succeeded'}") == Some(3.0)
    });
    assert_eq!(
        value("prunner_jobs{pipeline='q',state='running'}"),
        Some(1.0)
    );
    assert_eq!(
        value("prunner_jobs{pipeline='q',state='waiting'}"),
        Some(1.0)
    );
    host.write("go", "");
    host.finished(&waiting[1]);
    wait_until("it sees the end", || {
        value("prunner_jobs_ended_total{pipeline='q',outcome='failed'}") == Some(2.0)
    });
    assert_eq!(
        value("prunner_jobs{pipeline='q',state='running'}"),
        Some(0.0)
    );
    assert_eq!(
        value("prunner_job_duration_seconds_count{pipeline='q'}"),
        Some(2.0)
    );
}

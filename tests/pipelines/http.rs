//! The API: answers, tokens, limits, streams.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};
use support::wait_until;

use crate::host::{Host, token};

#[test]
fn p28_every_answer_has_its_form() {
    let host = Host::script(&["echo x"]);
    let (id, job) = host.done();
    let fields: Vec<&str> = job
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        fields,
        [
            "canceled",
            "completed",
            "created",
            "end",
            "errored",
            "id",
            "pipeline",
            "start",
            "tasks",
            "user"
        ]
    );
    let time = job["created"].as_str().unwrap();
    assert!(time.len() == 20 && time.ends_with('Z'), "{time}");
    let bearer = format!("Authorization: {}", token());
    for (method, path, status, body) in [
        ("GET", "/pipelines/jobs/", 404, "404 page not found\n"),
        ("GET", "/", 404, "404 page not found\n"),
        ("GET", "/job/nope", 404, "404 page not found\n"),
        ("POST", "/pipelines", 405, ""),
        ("GET", "/pipelines/schedule", 405, ""),
        ("GET", "/job/cancel", 405, ""),
        (
            "GET",
            "/job/detail",
            400,
            "{\"error\":\"Invalid job id\"}\n",
        ),
        (
            "GET",
            "/job/detail?id=x",
            400,
            "{\"error\":\"Invalid job id\"}\n",
        ),
        (
            "GET",
            "/job/detail?id=00000000-0000-0000-0000-000000000000",
            404,
            "{\"error\":\"Job not found\"}\n",
        ),
        (
            "GET",
            "/job/logs?id=x&task=t",
            400,
            "{\"error\":\"Invalid job id\"}\n",
        ),
        (
            "GET",
            &format!("/job/logs?id={id}"),
            400,
            "{\"error\":\"Invalid task name\"}\n",
        ),
        (
            "GET",
            &format!("/job/logs?id={id}&task=nope"),
            404,
            "{\"error\":\"Task not found\"}\n",
        ),
        (
            "GET",
            &format!("/job/logs?id={id}&task=t"),
            200,
            "{\"stdout\":\"x\\n\",\"stderr\":\"\"}\n",
        ),
        ("POST", &format!("/job/cancel?id={id}"), 200, "true\n"),
    ] {
        let reply = host.request(method, path, &[&bearer], b"");
        assert_eq!(
            (reply.status, reply.text().as_str()),
            (status, body),
            "{method} {path}"
        );
    }
    for method in ["HEAD", "OPTIONS", "DELETE"] {
        let reply = host.request(method, "/pipelines", &[&bearer], b"");
        assert_eq!(
            (reply.status, reply.header("Allow")),
            (405, Some("GET")),
            "{method}"
        );
    }
    for id in [
        id.to_uppercase(),
        id.replace('-', ""),
        format!("%7B{id}%7D"),
        format!("urn:uuid:{id}"),
    ] {
        host.job(&id);
    }
    for (body, words) in [
        ("", "Error decoding JSON: EOF"),
        ("{", "Error decoding JSON: "),
        ("[]", "Error decoding JSON: "),
        ("{\"pipeline\":1}", "Error decoding JSON: pipeline: "),
        (
            "{}",
            "Error scheduling pipeline: pipeline \\\"\\\" is not defined",
        ),
        (
            "null",
            "Error scheduling pipeline: pipeline \\\"\\\" is not defined",
        ),
    ] {
        let reply = host.ask("POST", "/pipelines/schedule", body);
        assert!(
            reply.status == 400 && reply.text().contains(words),
            "{body}: {}",
            reply.text()
        );
    }
    let reply = host.ask(
        "POST",
        "/pipelines/schedule",
        "{\"PipeLine\":\"p\"} trailing",
    );
    assert_eq!(reply.status, 202);
}

#[test]
fn jobs_are_listed_newest_first_and_can_be_filtered_and_paged() {
    let host = Host::start(
        "pipelines: {p: {tasks: {t: {script: [true]}}}, q: {tasks: {t: {script: [false]}}}}",
    );
    let ids: Vec<String> = (0..6)
        .map(|n| host.schedule_of(if n % 3 == 0 { "q" } else { "p" }))
        .collect();
    for id in &ids {
        host.finished(id);
    }
    let list = |query: &str| -> Vec<usize> {
        let jobs = host.get(&format!("/pipelines/jobs{query}")).json()["jobs"].clone();
        let place = |job: &Value| ids.iter().position(|id| job["id"] == **id).unwrap();
        jobs.as_array().unwrap().iter().map(place).collect()
    };
    assert_eq!(list(""), [5, 4, 3, 2, 1, 0]);
    assert_eq!(list("?pipeline=q"), [3, 0]);
    assert_eq!(list("?state=failed&limit=1"), [3]);
    assert_eq!(list(&format!("?before={}&limit=2", ids[4])), [3, 2]);
    assert_eq!(list("?user=bob"), [0usize; 0]);
    assert_eq!(host.get("/pipelines/jobs?state=x").status, 400);
}

fn signed(claims: &Value) -> String {
    // Through the program, with claims that only a test has.
    use std::process::Command;
    let script = "printf %s \"$1\" | openssl dgst -sha256 -hmac \"$2\" -binary | basenc --base64url -w0 | tr -d =";
    let encode = |text: &str| {
        let output = Command::new("sh")
            .args([
                "-c",
                "printf %s \"$1\" | basenc --base64url -w0 | tr -d =",
                "sh",
                text,
            ])
            .output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    let text = format!(
        "{}.{}",
        encode(r#"{"alg":"HS256"}"#),
        encode(&claims.to_string())
    );
    let output = Command::new("sh")
        .args(["-c", script, "sh", &text, crate::host::SECRET])
        .output()
        .unwrap();
    format!("{text}.{}", String::from_utf8(output.stdout).unwrap())
}

#[test]
fn p29_tokens_are_checked() {
    let host = Host::script(&["true"]);
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let good = signed(&json!({"sub": "bob", "exp": now + 60, "iat": now, "nbf": now}));
    let ask = |header: &str| host.request("GET", "/pipelines", &[header], b"");
    for header in [
        format!("Authorization: Bearer {good}"),
        format!("authorization: bearer {good}"),
        format!("Cookie: a=b; jwt={good}"),
    ] {
        assert_eq!(ask(&header).status, 200, "{header}");
    }
    let none = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJib2IifQ.";
    for (header, words) in [
        ("X: y".to_owned(), "no token found"),
        (format!("Authorization: Basic {good}"), "no token found"),
        (
            format!("Authorization: Bearer {none}"),
            "token is unauthorized",
        ),
        (
            format!("Authorization: Bearer {good}x"),
            "token is unauthorized",
        ),
        (
            "Authorization: Bearer x".to_owned(),
            "token is unauthorized",
        ),
        (
            format!("Authorization: Bearer {}", signed(&json!({"exp": now}))),
            "token is expired",
        ),
        (
            format!(
                "Authorization: Bearer {}",
                signed(&json!({"nbf": now + 60}))
            ),
            "token nbf validation failed",
        ),
        (
            format!(
                "Authorization: Bearer {}",
                signed(&json!({"iat": now + 60}))
            ),
            "token iat validation failed",
        ),
        (
            format!("Authorization: Bearer {}", signed(&json!({"sub": 7}))),
            "token is unauthorized",
        ),
    ] {
        let reply = ask(&header);
        assert_eq!(
            (reply.status, reply.text().trim()),
            (401, words),
            "{header}"
        );
    }
    assert_eq!(
        host.request("GET", &format!("/pipelines?jwt={good}"), &[], b"")
            .status,
        401
    );
    assert_eq!(host.request("GET", "/job/nope", &[], b"").status, 401);
    assert_eq!(host.request("GET", "/nope", &[], b"").status, 404);
    let bearer = format!("Authorization: Bearer {good}");
    let reply = host.request(
        "POST",
        "/pipelines/schedule",
        &[&bearer],
        b"{\"pipeline\":\"p\"}",
    );
    let id = reply.json()["jobId"].as_str().unwrap().to_owned();
    assert_eq!(host.finished(&id)["user"], "bob");
}

#[test]
fn a_token_for_some_pipelines_sees_and_starts_no_others() {
    let host = Host::start(
        "pipelines: {p: {tasks: {t: {script: [true]}}}, q: {tasks: {t: {script: [true]}}}}",
    );
    let [p, q] = ["p", "q"].map(|name| host.schedule_of(name));
    let bearer = format!(
        "Authorization: Bearer {}",
        signed(&json!({"pipelines": ["p"]}))
    );
    let ask = |method: &str, path: &str, body: &str| {
        host.request(method, path, &[&bearer], body.as_bytes())
    };
    let all = ask("GET", "/pipelines/jobs", "").json();
    assert_eq!(all["pipelines"].as_array().unwrap().len(), 1);
    assert_eq!(all["jobs"].as_array().unwrap().len(), 1);
    assert_eq!(ask("GET", &format!("/job/detail?id={p}"), "").status, 200);
    for (method, path) in [
        ("GET", format!("/job/detail?id={q}")),
        ("GET", format!("/job/logs?id={q}&task=t")),
        ("GET", format!("/job/logs/stream?id={q}&task=t")),
        ("POST", format!("/job/cancel?id={q}")),
        ("POST", format!("/job/rerun?id={q}")),
    ] {
        assert_eq!(ask(method, &path, "").status, 404, "{path}");
    }
    assert_eq!(
        ask("POST", "/pipelines/schedule", "{\"pipeline\":\"p\"}").status,
        202
    );
    let reply = ask("POST", "/pipelines/schedule", "{\"pipeline\":\"q\"}");
    assert!(reply.text().contains("is not defined"), "{}", reply.text());
    assert_eq!(ask("GET", "/metrics", "").status, 403);
}

#[test]
fn what_is_too_long_too_deep_or_too_slow_is_refused() {
    let host = Host::script(&["echo {{ len .x }}"]);
    let bearer = format!("Authorization: {}", token());
    let long = format!(
        "{{\"pipeline\":\"p\",\"variables\":{{\"x\":\"{}\"}}}}",
        "x".repeat(1 << 20)
    );
    // Told before it is sent, or found while it is.
    let mut stream = TcpStream::connect(("127.0.0.1", host.port())).unwrap();
    write!(stream, "POST /pipelines/schedule HTTP/1.1\r\nHost: x\r\n{bearer}\r\nContent-Length: 300000000\r\n\r\n").unwrap();
    let mut head = [0; 12];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 413");
    let chunked = "Transfer-Encoding: chunked";
    let mut stream = TcpStream::connect(("127.0.0.1", host.port())).unwrap();
    write!(stream, "POST /pipelines/schedule HTTP/1.1\r\nHost: x\r\n{bearer}\r\n{chunked}\r\n\r\n{:x}\r\n{long}\r\n", long.len()).unwrap();
    stream.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 413");
    let fits = json!({"x": "x".repeat((1 << 20) - 200)});
    assert_eq!(host.output(fits).0, format!("{}\n", (1 << 20) - 200));
    for depth in [100, 400_000] {
        let deep = format!(
            "{{\"pipeline\":\"p\",\"variables\":{{\"x\":{}{}}}}}",
            "[".repeat(depth),
            "]".repeat(depth)
        );
        let reply = host.ask("POST", "/pipelines/schedule", &deep);
        assert_eq!(reply.status, 400, "{}", reply.text());
    }
    let reply = host.request("GET", &format!("/{}", "x".repeat(100_000)), &[], b"");
    assert!([414, 431].contains(&reply.status), "{}", reply.status);
}

#[test]
fn p24_logs_are_read_while_they_grow_whole_and_in_parts() {
    let host = Host::script(&[
        "echo one; echo err >&2; printf '\\377\\303' ; while ! [ -e go ]; do sleep 0.01; done; printf '\\251\\n'; echo three",
    ]);
    let id = host.schedule();
    wait_until("it has written", || host.logs(&id, "t").0.len() > 4);
    assert_eq!(
        host.logs(&id, "t"),
        ("one\n\u{fffd}\u{fffd}".into(), "err\n".into())
    );
    host.write("go", "");
    host.finished(&id);
    assert_eq!(host.logs(&id, "t").0, "one\n\u{fffd}é\nthree\n");
    let part = |query: &str| {
        host.get(&format!("/job/logs?id={id}&task=t&{query}"))
            .json()
    };
    assert_eq!(
        part("tail=1"),
        json!({"stdout": "three\n", "stderr": "err\n", "offset": "14,4"})
    );
    assert_eq!(
        part("offset=8,4"),
        json!({"stdout": "three\n", "stderr": "", "offset": "14,4"})
    );
    assert_eq!(
        part("offset=x")["error"],
        "Invalid offset: it is a number of bytes, or two"
    );
}

/// Reads events until one of this kind has come, and gives all.
pub fn events(
    host: &Host,
    path: &str,
    last: Option<&str>,
    until: &str,
    mut act: impl FnMut(usize),
) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", host.port())).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let last = last.map_or(String::new(), |id| format!("Last-Event-ID: {id}\r\n"));
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {}\r\n{last}\r\n",
        token()
    )
    .unwrap();
    let mut all = String::new();
    let mut piece = [0; 4096];
    let mut n_pieces = 0;
    while !all.contains(until) {
        act(n_pieces);
        n_pieces += 1;
        let n = stream.read(&mut piece).unwrap();
        assert!(n > 0, "{all}");
        all.push_str(&String::from_utf8_lossy(&piece[..n]));
    }
    all
}

#[test]
fn m1_a_log_is_streamed_to_the_end_of_its_task_and_can_be_taken_up_again() {
    let host = Host::script(&[
        "echo one; while ! [ -e go ]; do sleep 0.01; done; echo two; echo err >&2; exit 3",
    ]);
    let id = host.schedule();
    let path = format!("/job/logs/stream?id={id}&task=t");
    let all = events(&host, &path, None, "event: end", |n| {
        if n == 2 {
            host.write("go", "")
        }
    });
    assert!(
        all.contains("id: 4-0\nevent: stdout\ndata: {\"text\":\"one\\n\"}\n\n"),
        "{all}"
    );
    assert!(
        all.contains("data: {\"text\":\"two\\n\"}") && all.contains("event: stderr"),
        "{all}"
    );
    let again = events(&host, &path, Some("4-4"), "event: end", |_| {});
    assert!(
        again.contains("two") && !again.contains("one") && !again.contains("stderr\n"),
        "{again}"
    );
}

#[test]
fn changes_of_jobs_are_streamed_and_can_be_taken_up_again() {
    let host = Host::script(&["true"]);
    let mut id = String::new();
    let all = events(&host, "/events", None, "\"completed\":true", |n| {
        if n == 1 {
            id = host.schedule()
        }
    });
    assert!(all.contains(&id) && all.contains("event: job"), "{all}");
    let first = all
        .lines()
        .find_map(|line| line.strip_prefix("id: "))
        .unwrap()
        .to_owned();
    let again = events(&host, "/events", Some(&first), "\"completed\":true", |_| {});
    assert!(again.contains(&id) && !again.contains("reset"), "{again}");
    let stale = events(&host, "/events", Some("other-7"), "event: reset", |_| {});
    assert!(stale.contains("event: reset"));
}

//! The server is held against its OpenAPI document.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::host::{Host, token};
use crate::http::events;

/// Checks a value against a schema of the few kinds that the document has.
pub fn check(schema: &Value, value: &Value, document: &Value, place: &str) {
    if let Some(name) = schema["$ref"].as_str() {
        let schema = document.pointer(name.strip_prefix('#').unwrap()).unwrap();
        return check(schema, value, document, place);
    }
    if let Some(only) = schema.get("const") {
        return assert_eq!(value, only, "{place}");
    }
    let is_a = |kind: &Value| match kind.as_str().unwrap() {
        "null" => value.is_null(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("{other}"),
    };
    match &schema["type"] {
        Value::Array(kinds) => assert!(kinds.iter().any(is_a), "{place}: {value}"),
        kind => assert!(is_a(kind), "{place}: {value}"),
    }
    if let Some(allowed) = schema["enum"].as_array().filter(|_| !value.is_null()) {
        assert!(allowed.contains(value), "{place}: {value}");
    }
    for (at, item) in value.as_array().into_iter().flatten().enumerate() {
        check(&schema["items"], item, document, &format!("{place}[{at}]"));
    }
    if let (Some(object), Some(known)) = (value.as_object(), schema["properties"].as_object()) {
        for name in schema["required"].as_array().into_iter().flatten() {
            assert!(
                object.contains_key(name.as_str().unwrap()),
                "{place} lacks {name}"
            );
        }
        for (name, item) in object {
            match known.get(name) {
                Some(schema) => check(schema, item, document, &format!("{place}.{name}")),
                None => assert_ne!(
                    schema["additionalProperties"],
                    json!(false),
                    "{place}.{name}"
                ),
            }
        }
    }
}

#[test]
fn the_server_does_what_its_openapi_document_says() {
    let host = Host::with(
        "queue_limit: 1, parameters: {x: {secret: true, default: a}}, tasks: {t: {script: ['exit {{ len .x }}'], retry: {max: 1}}, u: {depends_on: [t]}}, on_error: {script: [echo x]}",
    );
    let document = host.request("GET", "/openapi.json", &[], b"").json();
    let id = host.schedule();
    host.finished(&id);
    let bearer = format!("Authorization: {}", token());
    let zero = "00000000-0000-0000-0000-000000000000";
    let mut asked = BTreeSet::new();
    for (method, path, body, status) in [
        ("get", "/pipelines".to_owned(), "", 200),
        ("get", "/pipelines/jobs?limit=5".into(), "", 200),
        ("get", "/pipelines/jobs?limit=x".into(), "", 400),
        ("get", format!("/pipelines/jobs?before={zero}"), "", 404),
        (
            "post",
            "/pipelines/schedule".into(),
            "{\"pipeline\":\"p\",\"idempotencyKey\":\"k\"}",
            202,
        ),
        (
            "post",
            "/pipelines/schedule".into(),
            "{\"pipeline\":\"nope\"}",
            400,
        ),
        (
            "post",
            "/pipelines/schedule".into(),
            "{\"pipeline\":\"p\",\"idempotencyKey\":\"k\",\"queuePartition\":\"o\"}",
            409,
        ),
        ("get", format!("/job/detail?id={id}"), "", 200),
        ("get", "/job/detail?id=x".into(), "", 400),
        ("get", format!("/job/detail?id={zero}"), "", 404),
        ("get", format!("/job/logs?id={id}&task=t&tail=3"), "", 200),
        ("get", format!("/job/logs?id={id}&task=x"), "", 404),
        ("get", format!("/job/logs/stream?id={id}&task=t"), "", 200),
        ("post", format!("/job/cancel?id={id}"), "", 200),
        (
            "post",
            format!("/job/rerun?id={id}"),
            "{\"variables\":{\"x\":\"b\"}}",
            202,
        ),
        ("post", format!("/job/rerun?id={id}"), "{}", 400),
        ("get", "/metrics".into(), "", 200),
        ("get", "/healthz".into(), "", 200),
        ("get", "/openapi.json".into(), "", 200),
    ] {
        let plain = path.split('?').next().unwrap();
        let described =
            &document["paths"][plain][method]["responses"][status.to_string()]["content"];
        let reply = host.request(&method.to_uppercase(), &path, &[&bearer], body.as_bytes());
        assert_eq!(reply.status, status, "{method} {path}: {}", reply.text());
        let kind = reply
            .header("content-type")
            .unwrap()
            .split(';')
            .next()
            .unwrap()
            .to_owned();
        let schema = &described[&kind]["schema"];
        assert!(!schema.is_null(), "{method} {path}: {kind}");
        if kind == "application/json" {
            check(schema, &reply.json(), &document, &path);
        }
        asked.insert((plain.to_owned(), method));
        if status == 200 && !["/healthz", "/openapi.json"].contains(&plain) {
            let denied = host.request(&method.to_uppercase(), &path, &[], b"");
            assert_eq!(denied.status, 401, "{path}");
        }
    }
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let is_asked = asked.contains(&(path.clone(), method.as_str()));
            let is_stream = path == "/events";
            assert!(is_asked || is_stream, "nobody asks {method} {path}");
        }
    }
}

/// Checks each event of a stream against what the document says of its kind, and gives the kinds.
fn check_events(all: &str, path: &str, document: &Value) -> BTreeSet<String> {
    let kinds = &document["paths"][path]["get"]["responses"]["200"]["content"]["text/event-stream"]
        ["x-events"];
    let mut seen = BTreeSet::new();
    let mut kind = None;
    for line in all.lines() {
        if let Some(name) = line.strip_prefix("event: ") {
            kind = Some(name.trim().to_owned());
        }
        // The last one may be cut off.
        let data = line
            .strip_prefix("data: ")
            .map(serde_json::from_str::<Value>);
        if let Some(Ok(data)) = data {
            let kind = kind.take().expect("each event has a kind");
            assert!(!kinds[&kind].is_null(), "{path}: {kind}");
            check(&kinds[&kind], &data, document, &format!("{path} {kind}"));
            seen.insert(kind);
        }
    }
    seen
}

#[test]
fn the_events_are_those_of_the_openapi_document() {
    let host = Host::with(
        "retention_count: 1, tasks: {t: {script: ['echo out; echo err >&2; sleep 0.2; exit {{ .code }}']}}",
    );
    let document = host.request("GET", "/openapi.json", &[], b"").json();
    let mut id = String::new();
    let all = events(&host, "/events", Some("other-7"), "event: removed", |n| {
        if n == 1 {
            id = host.schedule_with(json!({"code": 3}));
            host.finished(&id);
            host.schedule_with(json!({"code": 0}));
        }
    });
    // The stream ends in the midst of the last one.
    let all = all + &events(&host, "/events", Some("other-7"), "\n\n", |_| {});
    let kinds = check_events(&all, "/events", &document);
    assert!(
        kinds.contains("job") && kinds.contains("reset"),
        "{kinds:?}"
    );
    let id = host.schedule_with(json!({"code": 0}));
    let path = format!("/job/logs/stream?id={id}&task=t");
    let all = events(&host, &path, None, "event: end", |_| {});
    let again = events(&host, &path, Some("0-0"), "event: end", |_| {});
    let stream = host.get(&path).text();
    let kinds = check_events(
        &format!("{all}\n{again}\n{stream}"),
        "/job/logs/stream",
        &document,
    );
    assert_eq!(
        kinds.into_iter().collect::<Vec<_>>(),
        ["end", "stderr", "stdout"]
    );
}

#[test]
fn who_accepts_openmetrics_gets_it() {
    let host = Host::script(&["true"]);
    host.done();
    let document = host.request("GET", "/openapi.json", &[], b"").json();
    let kinds = &document["paths"]["/metrics"]["get"]["responses"]["200"]["content"];
    let bearer = format!("Authorization: {}", token());
    for (accept, kind, sample) in [
        (
            "Accept: application/openmetrics-text;version=1.0.0;q=0.6,text/plain;q=0.3",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            "# TYPE prunner_jobs_ended counter\n",
        ),
        (
            "Accept: text/plain",
            "text/plain; version=0.0.4; charset=utf-8",
            "# TYPE prunner_jobs_ended_total counter\n",
        ),
    ] {
        let reply = host.request("GET", "/metrics", &[&bearer, accept], b"");
        assert_eq!(reply.header("content-type"), Some(kind));
        let text = reply.text();
        assert!(text.contains(sample), "{text}");
        let ended = "prunner_jobs_ended_total{outcome=\"succeeded\",pipeline=\"p\"} 1\n";
        assert!(text.contains(ended), "{text}");
        assert_eq!(text.ends_with("# EOF\n"), kind.starts_with("application"));
        assert!(!kinds[kind.split(';').next().unwrap()].is_null());
    }
}

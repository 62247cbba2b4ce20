//! The small parts of the client; how it gets on with a server is tested in tests/pool.
#![allow(clippy::unwrap_used)]

use net::http::header::{HeaderMap, LINK};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn json_vars(vars: &Value) -> Option<Vec<(String, String)>> {
    pairs(&InstanceVars::Json(vars.to_string()))
}

fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

#[test]
fn instance_vars_go_into_the_query_as_concourse_writes_them() {
    let table = [
        (
            json!({"hello": "world", "num": 123}),
            owned(&[("vars.hello", "\"world\""), ("vars.num", "123")]),
        ),
        (
            json!({"hello": {"bar": false, "foo": 123}}),
            owned(&[("vars.hello.bar", "false"), ("vars.hello.foo", "123")]),
        ),
        (
            json!({"hello.1": {"foo:bar": "baz"}}),
            owned(&[("vars.\"hello.1\".\"foo:bar\"", "\"baz\"")]),
        ),
        (
            json!({"list": ["a", {"b": 1}], "none": null, "nothing": {}}),
            owned(&[
                ("vars.list", "[\"a\",{\"b\":1}]"),
                ("vars.none", "null"),
                ("vars.nothing", "{}"),
            ]),
        ),
        (json!({}), vec![]),
    ];

    for (vars, expected) in table {
        assert_eq!(json_vars(&vars), Some(expected), "{vars}");
    }
}

#[test]
fn instance_vars_that_are_none_are_refused() {
    for json in ["", "{", "[1]", "null", "\"x\""] {
        assert_eq!(pairs(&InstanceVars::Json(json.to_owned())), None, "{json}");
    }
}

#[test]
fn the_next_page_is_where_the_link_header_says() {
    let here = Url::parse("http://internal:8080/ci/api/v1/teams/main/builds?limit=2").unwrap();
    let next = |links: &[&str]| {
        let mut headers = HeaderMap::new();
        for link in links {
            headers.append(LINK, HeaderValue::from_str(link).unwrap());
        }
        next_page(&headers, &here)
    };
    let older = "<https://ci.example.com/api/v1/teams/main/builds?to=7&limit=2>; rel=\"next\"";
    let newer =
        "<https://ci.example.com/api/v1/teams/main/builds?from=9&limit=2>; rel=\"previous\"";
    let found = Some("to=7&limit=2".to_owned());

    assert_eq!(next(&[older]), found);
    assert_eq!(next(&[newer, older]), found);
    assert_eq!(next(&[&format!("{newer}, {older}")]), found);
    assert_eq!(next(&["</x?to=7&limit=2>; title=a; rel=next"]), found);
    for none in [&[] as &[&str], &[newer], &["<", ">", "<>", "<x", "x"]] {
        assert_eq!(next(none), None, "{none:?}");
    }
}

#[test]
fn a_build_of_a_job_runs_unless_it_is_known_not_to() {
    let build = |status: &str, job: Value| -> FoundBuild {
        let json = json!({"name": "12", "status": status, "pipeline_name": "web", "job_name": job, "start_time": 7});
        serde_json::from_value(json).unwrap()
    };
    let running = Running {
        name: "ops/web/deploy build 12".into(),
        began: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(7)),
    };

    for status in ["started", "something new"] {
        assert_eq!(
            build(status, json!("deploy")).running("ops"),
            Some(running.clone())
        );
    }
    for status in ["pending", "succeeded", "failed", "errored", "aborted"] {
        assert_eq!(build(status, json!("deploy")).running("ops"), None);
    }
    for none in [json!(null), json!("")] {
        assert_eq!(build("started", none).running("ops"), None);
    }
}

proptest! {
    #[test]
    fn no_instance_vars_make_it_panic(json in "\\PC{0,30}|(\\{|\\}|\"a\"|\"a[.]b\"|:|,|1|\\[|\\]){0,20}") {
        let _ = pairs(&InstanceVars::Json(json));
    }
}

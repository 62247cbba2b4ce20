//! Requests as Concourse writes them, and answers as it reads them.
#![allow(clippy::unwrap_used)]

use std::error::Error;

use serde_json::json;

use super::*;

const ID: &str = "0123456789abcdef0123456789abcdef01234567";

fn request(more: Value) -> String {
    let mut request = json!({"source": {"uri": "https://x", "branch": "main", "pool": "aws"}});
    for (key, value) in more.as_object().unwrap() {
        request[key] = value.clone();
    }
    request.to_string()
}

fn version(more: Value) -> Result<Option<Version>, RequestError> {
    CheckRequest::read(request(more).as_bytes()).map(|request| request.version)
}

/// The errors of all three steps for this input.
fn errors(input: &str) -> [RequestError; 3] {
    [
        CheckRequest::read(input.as_bytes()).unwrap_err(),
        GetRequest::read(input.as_bytes()).unwrap_err(),
        PutRequest::read(input.as_bytes()).unwrap_err(),
    ]
}

struct Broken;

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("unplugged"))
    }
}

impl Write for Broken {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Err(io::Error::other("unplugged"))
    }
}

#[test]
fn each_step_reads_its_request() {
    let check = CheckRequest::read(request(json!({"version": {"ref": ID}})).as_bytes()).unwrap();
    assert_eq!(check.source.branch, "main");
    assert_eq!(check.version.unwrap().id(), ID.parse().ok());

    let get = request(json!({"version": {"ref": ID, "more": 1}, "params": {"depth": 1, "x": []}}));
    assert_eq!(
        GetRequest::read(get.as_bytes()).unwrap().version,
        Some(Version { commit: ID.into() })
    );

    let put = PutRequest::read(request(json!({"params": {"acquire": true}})).as_bytes()).unwrap();
    assert_eq!(put.params, Params::Acquire(Default::default()));
}

#[test]
fn an_empty_or_broken_request_is_said_to_be_expected_as_json_on_stdin() {
    for (input, message) in [
        ("", "there is no request; it is expected as JSON on stdin"),
        (
            " \n",
            "there is no request; it is expected as JSON on stdin",
        ),
        (
            "{",
            "the request is broken; it is expected as JSON on stdin",
        ),
        (
            "{}x",
            "the request is broken; it is expected as JSON on stdin",
        ),
        (
            "[]",
            "the request on stdin must be a JSON object, found a list",
        ),
        (
            "null",
            "the request on stdin must be a JSON object, found null",
        ),
    ] {
        for err in errors(input) {
            assert_eq!(err.to_string(), message);
        }
    }
    let err = CheckRequest::read(Broken).unwrap_err();
    assert_eq!(
        err.to_string(),
        "cannot read the request, which is expected as JSON on stdin"
    );
    assert_eq!(err.source().unwrap().to_string(), "unplugged");
}

#[test]
fn a_request_without_a_source_lacks_every_key_of_it() {
    for input in ["{}", r#"{"source":null}"#, r#"{"source":{}}"#] {
        for err in errors(input) {
            assert!(
                matches!(err, RequestError::Missing(keys) if keys == ["uri", "branch", "pool"])
            );
        }
    }
}

#[test]
fn a_put_without_params_asks_for_nothing() {
    for more in [json!({}), json!({"params": null}), json!({"params": {}})] {
        let err = PutRequest::read(request(more).as_bytes()).unwrap_err();
        assert!(matches!(err, RequestError::NoOperation), "{err:?}");
    }
    let err = PutRequest::read(request(json!({"params": ["acquire"]})).as_bytes()).unwrap_err();
    assert_eq!(err.to_string(), "`params` must be an object, found a list");
}

#[test]
fn a_version_may_be_missing_but_its_ref_must_be_a_string() {
    assert_eq!(version(json!({})).unwrap(), None);
    assert_eq!(version(json!({"version": null})).unwrap(), None);
    for (bad, found) in [
        (json!(5), "a number"),
        (json!(null), "null"),
        (json!([ID]), "a list"),
    ] {
        let message = version(json!({"version": {"ref": bad}}))
            .unwrap_err()
            .to_string();
        assert_eq!(
            message,
            format!("`version.ref` must be a string, found {found}")
        );
    }
    let message = version(json!({"version": {}})).unwrap_err().to_string();
    assert_eq!(message, "`version.ref` must be a string, found nothing");
    let message = version(json!({ "version": ID })).unwrap_err().to_string();
    assert_eq!(message, "`version` must be an object, found a string");
}

#[test]
fn only_40_hex_digits_are_an_id() {
    let id = |text: &str| {
        Version {
            commit: text.to_owned(),
        }
        .id()
    };

    assert_eq!(id(ID), ID.parse().ok());
    assert_eq!(id(&ID.to_uppercase()), ID.parse().ok());
    for other in [
        "",
        "none",
        "HEAD",
        &ID[1..],
        &format!("{ID}0"),
        &ID.replace('a', "g"),
        &ID.replace("ab", "é"),
    ] {
        assert_eq!(id(other), None, "{other}");
    }
}

#[test]
fn versions_are_written_in_order_on_one_line() {
    let mut out = Vec::new();

    write_versions(&mut out, &[ID.parse().unwrap(), Oid::ZERO_SHA1]).unwrap();

    let expected = format!(
        "[{{\"ref\":\"{ID}\"}},{{\"ref\":\"0000000000000000000000000000000000000000\"}}]\n"
    );
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn a_response_has_its_metadata_in_order() {
    let mut out = Vec::new();
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());

    Response {
        version: ID.parse().unwrap(),
        metadata: vec![pair("lock_name", "a \"b\"\u{1}"), pair("pool_name", "ü")],
    }
    .write(&mut out)
    .unwrap();

    assert_eq!(
        String::from_utf8(out).unwrap(),
        format!(
            r#"{{"version":{{"ref":"{ID}"}},"metadata":[{{"name":"lock_name","value":"a \"b\"\u0001"}},{{"name":"pool_name","value":"ü"}}]}}"#
        ) + "\n"
    );
}

#[test]
fn an_answer_that_cannot_be_flushed_is_an_error() {
    assert!(write_versions(Broken, &[]).is_err());
    let response = Response {
        version: Oid::ZERO_SHA1,
        metadata: vec![],
    };
    assert!(response.write(Broken).is_err());
}

#[test]
fn no_request_and_no_error_shows_a_secret() {
    const SECRETS: &str = r#"{"source":{"uri":"https://u:MARKER@x","branch":"main","pool":"p","password":"MARKER","private_key":"MARKER"}"#;
    for rest in [
        "",
        "x",
        ",}",
        "}x",
        r#","version":{"ref":5}}"#,
        r#","version":5}"#,
    ] {
        let err = CheckRequest::read(format!("{SECRETS}{rest}").as_bytes()).unwrap_err();
        let cause = err.source().map(|cause| format!("{cause} {cause:?}"));
        let shown = format!("{err} {err:?} {cause:?}");
        assert!(!shown.contains("MARKER"), "{shown}");
    }
    let shown = format!(
        "{:?} {:?} {:?}",
        CheckRequest::read(format!("{SECRETS}}}").as_bytes()).unwrap(),
        GetRequest::read(format!("{SECRETS}}}").as_bytes()).unwrap(),
        PutRequest::read(format!("{SECRETS},\"params\":{{\"acquire\":true}}}}").as_bytes())
            .unwrap(),
    );
    assert!(
        shown.contains("***") && !shown.contains("MARKER"),
        "{shown}"
    );
}

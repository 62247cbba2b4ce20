//! What params may ask for, and how they are refused.
#![allow(clippy::unwrap_used)]

use std::error::Error;

use serde_json::json;

use super::*;

const CLAIM: &str = "0123456789abcdef0123456789abcdef01234567";

fn read(params: Value) -> Result<Params, RequestError> {
    Params::read(
        &Keys::of(&json!({ "params": params }))
            .and_then(|top| top.object("params"))
            .unwrap(),
    )
}

/// A folder of inputs with these files in it.
fn inputs(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, bytes) in files {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    dir
}

fn operation(params: Value, files: &[(&str, &[u8])]) -> Result<Operation, RequestError> {
    let operation = read(params)
        .unwrap()
        .operation(inputs(files).path(), &PoolName::new("aws").unwrap())?;
    Ok(operation.unwrap())
}

fn lock(name: &str) -> LockName {
    LockName::new(name).unwrap()
}

fn folder(path: &str) -> Folder {
    Folder(path.to_owned())
}

#[test]
fn each_param_is_one_operation() {
    let table = [
        (json!({"acquire": true}), Params::Acquire(Want::default())),
        (json!({"claim": "env 1"}), Params::Claim(lock("env 1"))),
        (json!({"release": "lock"}), Params::Release(folder("lock"))),
        (json!({"add": "lock"}), Params::Add(folder("lock"))),
        (
            json!({"add_claimed": "lock"}),
            Params::AddClaimed(folder("lock")),
        ),
        (json!({"remove": "lock"}), Params::Remove(folder("lock"))),
        (json!({"update": "a/b/"}), Params::Update(folder("a/b/"))),
        (json!({"check": "//lock"}), Params::Check(folder("lock"))),
        (
            json!({"check_unclaimed": "./a..b"}),
            Params::CheckUnclaimed(folder("./a..b")),
        ),
        (
            json!({"claim": "x", "acquire": false, "release": null, "add": "", "other": 1}),
            Params::Claim(lock("x")),
        ),
        (json!({"release_mine": true}), Params::ReleaseMine),
        // A text counts as what it says.
        (
            json!({"acquire": " True", "release_mine": "false"}),
            Params::Acquire(Want::default()),
        ),
    ];

    for (params, expected) in table {
        assert_eq!(read(params).unwrap(), expected);
    }
}

#[test]
fn a_put_that_asks_for_nothing_is_told_what_it_can_ask_for() {
    for nothing in [
        json!(null),
        json!({}),
        json!({"acquire": false, "release": "", "depth": 1}),
    ] {
        assert_eq!(
            read(nothing).unwrap_err().to_string(),
            "invalid payload (missing acquire, release, remove, claim, add, add_claimed, update, check, or check_unclaimed; there are release_mine and reap as well)"
        );
    }
}

#[test]
fn a_put_that_asks_for_several_things_is_told_all_of_them() {
    assert_eq!(
        read(json!({"release": "a", "acquire": true}))
            .unwrap_err()
            .to_string(),
        "a put does one thing, and this one asks for `acquire` and `release`; use a step for each"
    );
    assert_eq!(
        read(json!({"update": 1, "claim": "a", "add": "b"}))
            .unwrap_err()
            .to_string(),
        "a put does one thing, and this one asks for `claim`, `add` and `update`; use a step for each"
    );
}

#[test]
fn a_wrong_type_names_the_param() {
    let table = [
        (
            json!({"acquire": "yes"}),
            "`params.acquire` must be true or false, found a string",
        ),
        (
            json!({"acquire": 1}),
            "`params.acquire` must be true or false, found a number",
        ),
        (
            json!({"claim": true}),
            "`params.claim` must be the name of a lock, found true",
        ),
        (
            json!({"release": ["a"]}),
            "`params.release` must be the path of a folder, found a list",
        ),
        (
            json!({"check": {}}),
            "`params.check` must be the path of a folder, found an object",
        ),
    ];

    for (params, message) in table {
        assert_eq!(read(params).unwrap_err().to_string(), message);
    }
}

#[test]
fn a_claim_of_what_cannot_be_a_lock_is_refused() {
    for name in ["../x", "a/b", ".gitkeep", "a\nb"] {
        let err = read(json!({ "claim": name })).unwrap_err();
        assert_eq!(err.to_string(), "`params.claim` is not the name of a lock");
        assert!(err.source().is_some());
    }
}

#[test]
fn a_folder_outside_of_the_inputs_is_refused() {
    for path in ["..", "../x", "a/../b", "a/..", "/../x"] {
        assert_eq!(
            read(json!({ "remove": path })).unwrap_err().to_string(),
            format!(
                "`params.remove` must be a folder among the inputs, and `{path}` leads out of them"
            )
        );
    }
}

#[test]
fn operations_without_a_folder_read_no_file() {
    assert_eq!(
        operation(json!({"acquire": true}), &[]).unwrap(),
        Operation::Acquire(Want::default())
    );
    assert_eq!(
        operation(json!({"claim": "x"}), &[]).unwrap(),
        Operation::Claim(lock("x"))
    );
}

#[test]
fn the_name_is_trimmed_of_line_ends_of_any_kind() {
    for name in ["a b", "a b\n", "a b\r\n", " \ta b \r\n\r\n"] {
        assert_eq!(
            operation(json!({"check": "in"}), &[("in/name", name.as_bytes())]).unwrap(),
            Operation::AwaitUnclaimed(lock("a b"))
        );
    }
    assert_eq!(
        operation(
            json!({"check_unclaimed": "/in/deep"}),
            &[("in/deep/name", b"x\n")]
        )
        .unwrap(),
        Operation::AwaitClaimed(lock("x"))
    );
}

#[test]
fn added_metadata_is_taken_byte_by_byte() {
    for (param, holding) in [
        ("add", Holding::Unclaimed),
        ("add_claimed", Holding::Claimed),
    ] {
        for bytes in [&b""[..], b"\r\n \xff\0x\n"] {
            assert_eq!(
                operation(
                    json!({ param: "in" }),
                    &[("in/name", b"x"), ("in/metadata", bytes)]
                )
                .unwrap(),
                Operation::Add {
                    lock: lock("x"),
                    content: Content::new(bytes.to_vec()),
                    holding
                }
            );
        }
    }
}

#[test]
fn release_remove_and_update_bring_the_claim_if_there_is_one() {
    let with = format!("{CLAIM}\n");
    let id = Some(ClaimId(CLAIM.parse().unwrap()));
    let files: [(&str, &[u8]); 3] = [
        ("in/name", b"x\n"),
        ("in/metadata", b"m"),
        ("in/claim", with.as_bytes()),
    ];

    for (files, claim) in [(&files[..], id), (&files[..2], None)] {
        assert_eq!(
            operation(json!({"release": "in"}), files).unwrap(),
            Operation::Release {
                locks: vec![lock("x")],
                right: Right::of(claim),
                reason: None,
            }
        );
        assert_eq!(
            operation(json!({"remove": "in"}), files).unwrap(),
            Operation::Remove {
                lock: lock("x"),
                claim
            }
        );
        assert_eq!(
            operation(json!({"update": "in"}), files).unwrap(),
            Operation::Update {
                lock: lock("x"),
                content: Content::new(b"m".to_vec()),
                claim
            }
        );
    }
}

#[test]
fn a_claim_file_that_is_no_commit_id_is_refused() {
    let long = format!("{CLAIM}0");
    for claim in [
        "",
        "abc",
        &CLAIM[1..],
        &long,
        "g123456789abcdef0123456789abcdef01234567",
    ] {
        let err = operation(
            json!({"release": "in"}),
            &[("in/name", b"x"), ("in/claim", claim.as_bytes())],
        );
        let message = err.unwrap_err().to_string();
        assert!(
            message.ends_with("in/claim` does not hold the id of a claim, which is 40 hex digits"),
            "{message}"
        );
    }
}

#[test]
fn a_missing_folder_or_file_is_named() {
    for (params, files, missing) in [
        (
            json!({"check": "in"}),
            &[("in/other", &b""[..])][..],
            "/in/name`",
        ),
        (
            json!({"add": "in"}),
            &[("in/name", &b"x"[..])],
            "/in/metadata`",
        ),
        (
            json!({"update": "in"}),
            &[("in/name", &b"x"[..])],
            "/in/metadata`",
        ),
    ] {
        let err = operation(params, files).unwrap_err();
        let message = err.to_string();
        assert!(
            message.starts_with("cannot read `/") && message.ends_with(missing),
            "{message}"
        );
        assert!(err.source().is_some());
    }
}

#[test]
fn a_folder_that_is_no_input_is_named_with_its_param_and_the_inputs_that_there_are() {
    let none = operation(json!({"release": "in"}), &[]).unwrap_err();
    let other = operation(
        json!({"remove": "env-1"}),
        &[("env/name", b"env-1"), ("code/x", b"")],
    )
    .unwrap_err();
    let many: Vec<String> = (10..30).map(|n| format!("in-{n}/name")).collect();
    let many: Vec<(&str, &[u8])> = many.iter().map(|path| (path.as_str(), &b"x"[..])).collect();
    let many = operation(json!({"check": "in"}), &many).unwrap_err();

    let usually = "usually the step that makes the folder did not succeed, and then claimed nothing, or `inputs` of this put leaves the folder out, or the name of a lock was given instead of a folder";
    assert_eq!(
        none.to_string(),
        format!(
            "`params.release` must be a folder among the inputs of this put, and `in` is none: it has no inputs; {usually}"
        )
    );
    assert_eq!(
        other.to_string(),
        format!(
            "`params.remove` must be a folder among the inputs of this put, and `env-1` is none: it has `code`, `env`; {usually}"
        )
    );
    assert!(many.to_string().contains("`in-19` and 10 more; "), "{many}");
}

#[test]
fn a_file_that_does_not_hold_a_lock_name_is_refused() {
    let large = vec![b'x'; 64 * 1024 + 1];
    for (bytes, end) in [
        (&b""[..], "/in/name` does not hold the name of a lock"),
        (b" \r\n", "/in/name` does not hold the name of a lock"),
        (b".", "/in/name` does not hold the name of a lock"),
        (b"../x", "/in/name` does not hold the name of a lock"),
        (b"a\nb", "/in/name` does not hold the name of a lock"),
        (&large[1..], "/in/name` does not hold the name of a lock"),
        (
            &large,
            "/in/name` has more than 65536 bytes, so it is another kind of file",
        ),
        (b"\xff", "/in/name` is not text in UTF-8"),
    ] {
        let message = operation(json!({"release": "in"}), &[("in/name", bytes)])
            .unwrap_err()
            .to_string();
        assert!(message.ends_with(end), "{message}");
    }
}

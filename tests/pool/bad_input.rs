//! Requests and surroundings that cannot be right.

use std::ffi::OsString;
use std::path::Path;

use serde_json::{Value, json};

use support::remote::Hand;
use support::{Answer, Step, TestRemote};

const PROGRAMS: [&str; 3] = ["check", "in", "out"];

/// What no secret must ever show up as, wherever it was given.
const MARKER: &str = "M4RK3R-0f-4-s3cr3t";

/// The folder that a program is given, if it is given one.
fn args(program: &str, step: &Step) -> Vec<OsString> {
    match program {
        "check" => vec![],
        _ => vec![step.folder().into()],
    }
}

/// A request that any of the programs takes.
fn request(source: &Value, version: &str) -> Value {
    json!({"source": source, "version": {"ref": version}, "params": {"acquire": true}})
}

/// Runs a program with a request in a repository that must not change.
#[track_caller]
fn refused(remote: &TestRemote, step: &Step, program: &str, input: &str, words: &[&str]) -> Answer {
    let before = state(remote);
    let args = args(program, step);

    let answer = step.run(program, &args, input.as_bytes());

    answer.assert_failed(words);
    assert_eq!(state(remote), before);
    if let Some(folder) = args.first() {
        assert_eq!(std::fs::read_dir(folder).unwrap().count(), 0);
    }
    answer
}

/// All that a step could change in a repository.
fn state(remote: &TestRemote) -> String {
    remote.git(&["for-each-ref"]) + &remote.git(&["count-objects", "-v"])
}

/// Runs a put that must be refused and change nothing.
#[track_caller]
fn put_refused(remote: &TestRemote, params: Value, files: &[(&str, &[u8])], words: &[&str]) {
    let before = state(remote);

    let answer = Step::on(remote, "aws").put_with(params, files);

    answer.assert_failed(words);
    assert_eq!(state(remote), before);
}

// The request.

#[test]
fn a_request_that_is_no_json_object_is_refused() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let step = Step::on(&remote, "aws");

    for program in PROGRAMS {
        for input in [
            "",
            " \n",
            "{",
            "{\"source\": ",
            "nonsense",
            "{} {}",
            "[]",
            "null",
            "5",
            "\"x\"",
            "[{}]",
            "{\"source\": \"\\ud800\"}",
        ] {
            refused(&remote, &step, program, input, &["request", "JSON"]);
        }
    }
}

#[test]
fn a_request_that_is_not_text_is_refused() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let step = Step::on(&remote, "aws");

    for program in PROGRAMS {
        for input in [&b"\xff\xfe{}"[..], b"{\"source\": \"\xff\"}", b"\0\0\0\0"] {
            let answer = step.run(program, &args(program, &step), input);

            answer.assert_failed(&["request", "JSON"]);
        }
    }
}

#[test]
fn a_request_nested_without_end_is_refused() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let step = Step::on(&remote, "aws");
    let input = "[".repeat(200_000);

    for program in PROGRAMS {
        refused(&remote, &step, program, &input, &["request"]);
    }
}

#[test]
fn all_missing_keys_are_named_at_once() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let step = Step::on(&remote, "aws");
    let all = ["uri", "branch", "pool"];
    let tables = [
        (json!({}), &all[..]),
        (json!({"source": null}), &all),
        (json!({"source": {}}), &all),
        (
            json!({"source": {"uri": "", "branch": null, "pool": false}}),
            &all,
        ),
        (json!({"source": {"uri": remote.uri()}}), &all[1..]),
        (json!({"source": {"branch": "main"}}), &["uri", "pool"]),
        (
            json!({"source": {"uri": remote.uri(), "branch": "main"}}),
            &["pool"],
        ),
    ];

    for program in PROGRAMS {
        for (input, keys) in &tables {
            let mut input = input.clone();
            input["params"] = json!({"acquire": true});

            let answer = refused(&remote, &step, program, &input.to_string(), &[]);

            let lines: Vec<String> = keys
                .iter()
                .map(|key| format!("error: invalid payload (missing {key})"))
                .collect();
            assert_eq!(answer.stderr.lines().collect::<Vec<_>>(), lines);
        }
    }
}

#[test]
fn a_key_of_the_source_with_a_value_of_the_wrong_kind_is_named() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let step = Step::on(&remote, "aws");
    let text = [json!(5), json!(true), json!(["x"]), json!({"x": 1})];
    let flag = [json!("yes"), json!("on"), json!(1), json!([])];
    let time = [json!(true), json!([]), json!({}), json!(1.5)];
    let list = [
        json!("x"),
        json!(5),
        json!({"name": "x"}),
        json!([5]),
        json!([{"value": "x"}]),
    ];
    let object = [
        json!("proxy:8080"),
        json!(5),
        json!([]),
        json!({"proxy_host": 5, "proxy_port": 1}),
    ];
    let tables: [(&[&str], &[Value]); 5] = [
        (
            &[
                "uri",
                "branch",
                "pool",
                "private_key",
                "private_key_user",
                "private_key_passphrase",
                "username",
                "password",
                "known_hosts",
                "ca_cert",
                "prometheus_push_gateway",
            ],
            &text,
        ),
        (&["forward_agent", "skip_ssl_verification"], &flag),
        (
            &[
                "retry_delay",
                "connect_timeout",
                "silence_timeout",
                "attempt_timeout",
                "fault_timeout",
            ],
            &time,
        ),
        (&["git_config"], &list),
        (&["https_tunnel"], &object),
    ];

    for (keys, values) in tables {
        for key in keys {
            for (n, value) in values.iter().enumerate() {
                let mut source = step.source().clone();
                source[*key] = value.clone();
                let input = request(&source, &remote.head()).to_string();

                refused(
                    &remote,
                    &step,
                    PROGRAMS[n % 3],
                    &input,
                    &[&format!("source.{key}")],
                );
            }
        }
    }
}

#[test]
fn a_source_version_or_params_of_the_wrong_kind_is_named() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let step = Step::on(&remote, "aws");
    let id = remote.head();
    let wrong = |key: &str, value: Value| {
        let mut input = request(step.source(), &id);
        input[key] = value;
        input.to_string()
    };

    for program in PROGRAMS {
        for value in [json!("x"), json!(5), json!([])] {
            refused(
                &remote,
                &step,
                program,
                &wrong("source", value),
                &["`source`"],
            );
        }
    }
    for program in ["check", "in"] {
        for value in [json!(id), json!(5), json!([id])] {
            refused(
                &remote,
                &step,
                program,
                &wrong("version", value),
                &["`version`"],
            );
        }
        for value in [json!(5), json!(null), json!([]), json!({})] {
            let input = wrong("version", json!({ "ref": value }));
            refused(&remote, &step, program, &input, &["version.ref"]);
        }
    }
    for value in [json!("acquire"), json!(5), json!(["acquire"])] {
        refused(
            &remote,
            &step,
            "out",
            &wrong("params", value),
            &["`params`"],
        );
    }
}

#[test]
fn a_missing_or_empty_folder_argument_is_refused_with_the_usage() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let step = Step::on(&remote, "aws");
    let input = request(step.source(), &remote.head()).to_string();
    let before = state(&remote);

    for program in ["in", "out"] {
        for args in [vec![], vec![OsString::new()]] {
            let answer = step.run(program, &args, input.as_bytes());

            answer.assert_failed(&["usage", program, "DIRECTORY"]);
        }
    }
    assert_eq!(state(&remote), before);
}

#[test]
fn a_destination_that_cannot_be_written_is_named() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let step = Step::on(&remote, "aws");
    let input = request(step.source(), &remote.head()).to_string();
    let file = step.folder().join("file");
    std::fs::write(&file, "").unwrap();

    let answer = step.run("in", &[file.clone().into()], input.as_bytes());

    answer.assert_failed(&[file.to_str().unwrap()]);
}

#[test]
fn a_folder_for_temporary_files_that_cannot_be_used_is_named() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let inside_a_file = remote.path().join("HEAD/folder");
    let inside_a_file = inside_a_file.to_str().unwrap();
    let step = Step::on(&remote, "aws").env("TMPDIR", inside_a_file);
    let input = request(step.source(), &remote.head()).to_string();

    for program in PROGRAMS {
        refused(&remote, &step, program, &input, &[inside_a_file]);
    }
}

// The source.

#[test]
fn an_unknown_branch_is_named() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let step = Step::on(&remote, "aws").set("branch", "absent");
    let input = request(step.source(), &remote.head()).to_string();

    for program in PROGRAMS {
        refused(&remote, &step, program, &input, &["branch `absent`"]);
    }
}

#[test]
fn an_unknown_pool_is_named() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    remote.commit("docs", &[Hand::Put("README", "100644", b"hello")]);
    let id = remote.head();

    for pool in ["absent", "README", "aws/absent", "aw", "AWS", "team/aws"] {
        let step = Step::on(&remote, pool);
        for program in PROGRAMS {
            let input = request(step.source(), &id).to_string();
            refused(&remote, &step, program, &input, &["pool", pool]);
        }
    }
}

#[test]
fn an_unknown_repository_is_named() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let absent = remote.root().join("absent.git");
    let absent = absent.to_str().unwrap();
    let folder = remote.root().to_str().unwrap();

    for uri in [absent, &format!("file://{absent}"), folder] {
        let step = Step::on(&remote, "aws").set("uri", uri);
        for program in PROGRAMS {
            let input = request(step.source(), &remote.head()).to_string();
            let path = uri.trim_start_matches("file://");
            refused(&remote, &step, program, &input, &[path]);
        }
    }
}

#[test]
fn a_repository_without_commits_is_told_from_one_without_the_branch() {
    let remote = TestRemote::empty("main");
    let step = Step::on(&remote, "aws");
    let input = request(step.source(), &"1".repeat(40)).to_string();

    for program in PROGRAMS {
        refused(&remote, &step, program, &input, &["branch `main`"]);
    }
}

#[test]
fn a_uri_that_would_run_a_program_is_refused() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let ran = remote.root().join("ran");
    let touch = format!("touch {}", ran.display());

    for (uri, word) in [
        (format!("ext::{touch}"), "ext::"),
        (format!("ext::sh -c {touch}"), "ext::"),
        ("fd::17".to_owned(), "fd::"),
        (format!("ext://{touch}"), "ext://"),
        (format!("-oProxyCommand={touch}:x"), "source.uri"),
        (format!("ssh://-oProxyCommand={touch}/x"), "source.uri"),
        ("ftp://127.0.0.1/x".to_owned(), "ftp://"),
    ] {
        let step = Step::on(&remote, "aws").set("uri", uri.as_str());
        for program in PROGRAMS {
            let input = request(step.source(), &remote.head()).to_string();
            refused(&remote, &step, program, &input, &[word]);
        }
    }
    assert!(!ran.exists());
}

#[test]
fn a_path_that_looks_like_an_option_is_a_path() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let ran = remote.root().join("ran");
    let uri = format!("--upload-pack=touch {}", ran.display());
    let step = Step::on(&remote, "aws").set("uri", uri.as_str());

    for program in PROGRAMS {
        let input = request(step.source(), &remote.head()).to_string();
        refused(&remote, &step, program, &input, &["--upload-pack"]);
    }
    assert!(!ran.exists());
}

#[test]
fn a_branch_that_git_does_not_allow_is_refused() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let bad = [
        "-x",
        "--upload-pack=touch x",
        "a..b",
        "../x",
        "a b",
        "a~1",
        "main^",
        "a:b",
        "a?",
        "a*",
        "a[",
        "a\\b",
        "a\nb",
        "a\u{0}b",
        "x.lock",
        "/main",
        "main/",
        "a//b",
        ".a",
        "@{-1}",
        "HEAD",
        " ",
    ];

    for (n, branch) in bad.into_iter().enumerate() {
        let step = Step::on(&remote, "aws").set("branch", branch);
        let input = request(step.source(), &remote.head()).to_string();
        refused(&remote, &step, PROGRAMS[n % 3], &input, &["source.branch"]);
    }
}

#[test]
fn a_pool_outside_the_repository_is_refused() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);

    for (n, pool) in [
        "..",
        "../aws",
        "aws/../aws",
        "/",
        "//",
        ".git",
        "a/.GIT/b",
        "a\nb",
        ".",
    ]
    .into_iter()
    .enumerate()
    {
        let step = Step::on(&remote, pool);
        let input = request(step.source(), &remote.head()).to_string();
        refused(&remote, &step, PROGRAMS[n % 3], &input, &["source.pool"]);
    }
}

#[test]
fn a_duration_that_is_none_is_named_with_its_key() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let keys = [
        "retry_delay",
        "connect_timeout",
        "silence_timeout",
        "attempt_timeout",
        "fault_timeout",
    ];
    let bad = [
        json!("soon"),
        json!("10"),
        json!("10 s"),
        json!("-5s"),
        json!("1w"),
        json!("s"),
        json!("1h30"),
        json!("99999999999999999999h"),
        json!(-1),
        json!(1.5),
        json!(u64::MAX),
        json!(1e300),
    ];

    for key in keys {
        for (n, value) in bad.iter().enumerate() {
            let step = Step::on(&remote, "aws").set(key, value.clone());
            let input = request(step.source(), &remote.head()).to_string();
            refused(
                &remote,
                &step,
                PROGRAMS[n % 3],
                &input,
                &[&format!("source.{key}")],
            );
        }
    }
}

// The operation.

#[test]
fn a_put_that_asks_for_nothing_is_told_what_it_can_ask_for() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let line = "invalid payload (missing acquire, release, remove, claim, add, add_claimed, update, check, or \
                check_unclaimed; there are release_mine and reap as well)";

    for params in [
        json!(null),
        json!({}),
        json!({"acquire": false}),
        json!({"acquire": null, "release": "", "claim": false}),
        json!({"depth": 1, "no_such_param": "lock"}),
    ] {
        put_refused(&remote, params, &[], &[line]);
    }
}

#[test]
fn a_put_that_asks_for_several_things_is_refused_with_their_names() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let lock: &[(&str, &[u8])] = &[("lock/name", b"env-1"), ("lock/metadata", b"x")];

    for (params, names) in [
        (
            json!({"acquire": true, "release": "lock"}),
            ["acquire", "release"],
        ),
        (
            json!({"acquire": true, "claim": "env-1"}),
            ["acquire", "claim"],
        ),
        (json!({"add": "lock", "remove": "lock"}), ["add", "remove"]),
        (
            json!({"update": "lock", "check": "lock"}),
            ["update", "check"],
        ),
        (
            json!({"add": "lock", "add_claimed": "lock"}),
            ["add", "add_claimed"],
        ),
        (
            json!({"check": "lock", "check_unclaimed": "lock"}),
            ["check", "check_unclaimed"],
        ),
    ] {
        put_refused(
            &remote,
            params,
            lock,
            &names
                .map(|name| format!("`{name}`"))
                .each_ref()
                .map(String::as_str),
        );
    }
}

#[test]
fn a_param_with_a_value_of_the_wrong_kind_is_named() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let folders = [
        "release",
        "remove",
        "add",
        "add_claimed",
        "update",
        "check",
        "check_unclaimed",
    ];

    for value in [json!("yes"), json!(1), json!([]), json!({})] {
        put_refused(
            &remote,
            json!({ "acquire": value }),
            &[],
            &["params.acquire"],
        );
    }
    for param in folders.into_iter().chain(["claim"]) {
        for value in [json!(true), json!(5), json!(["lock"]), json!({"lock": 1})] {
            put_refused(
                &remote,
                json!({ param: value }),
                &[],
                &[&format!("params.{param}")],
            );
        }
    }
}

#[test]
fn a_folder_outside_the_inputs_is_refused() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let lock: &[(&str, &[u8])] = &[("lock/name", b"env-1"), ("lock/metadata", b"x")];

    for param in [
        "release",
        "remove",
        "add",
        "add_claimed",
        "update",
        "check",
        "check_unclaimed",
    ] {
        for path in [
            "..",
            "../lock",
            "lock/..",
            "lock/../lock",
            "/../lock",
            "a/../../lock",
        ] {
            put_refused(
                &remote,
                json!({ param: path }),
                lock,
                &[&format!("params.{param}")],
            );
        }
    }
}

#[test]
fn a_folder_or_file_that_is_missing_is_named_by_its_path() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);

    for param in [
        "release",
        "remove",
        "add",
        "add_claimed",
        "update",
        "check",
        "check_unclaimed",
    ] {
        let words = [
            &format!("`params.{param}` must be a folder")[..],
            "`absent`",
        ];
        put_refused(&remote, json!({ param: "absent" }), &[], &words);
        let other: &[(&str, &[u8])] = &[("lock/other", b"x")];
        put_refused(&remote, json!({ param: "lock" }), other, &["lock/name"]);
        put_refused(
            &remote,
            json!({ param: "lock" }),
            &[("lock", b"a file")],
            &["`lock` is none: it has `lock`"],
        );
        put_refused(
            &remote,
            json!({ param: "lock" }),
            &[("lock/name/x", b"")],
            &["lock/name"],
        );
    }
    for param in ["add", "add_claimed", "update"] {
        let files: &[(&str, &[u8])] = &[("lock/name", b"new")];
        put_refused(&remote, json!({ param: "lock" }), files, &["lock/metadata"]);
    }
}

#[test]
fn a_name_that_is_no_name_of_a_lock_is_refused_by_each_operation() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    remote.add_pool("gcp", &["other"]);
    remote.claim_by_hand("gcp", "other");
    let long = "x".repeat(256);
    let hostile = [
        ".",
        "..",
        "/",
        "a/b",
        "../../gcp/claimed/other",
        "../claimed",
        "/etc/passwd",
        ".gitkeep",
        ".git",
        ".hidden",
        "a\nb",
        "a\tb",
        "a\u{7f}b",
        "a\u{0}b",
        "\u{1b}[31mred",
        &long,
    ];

    for name in hostile {
        put_refused(&remote, json!({ "claim": name }), &[], &["params.claim"]);
    }
    for param in [
        "release",
        "remove",
        "add",
        "add_claimed",
        "update",
        "check",
        "check_unclaimed",
    ] {
        for name in hostile.into_iter().chain(["", " \r\n"]) {
            let files = [("lock/name", name.as_bytes()), ("lock/metadata", b"x")];
            put_refused(&remote, json!({ param: "lock" }), &files, &["lock/name"]);
        }
        for name in [&b"\xff\xfe"[..], &[b'x'; 70_000]] {
            let files = [("lock/name", name), ("lock/metadata", b"x")];
            put_refused(&remote, json!({ param: "lock" }), &files, &["lock/name"]);
        }
    }
}

#[test]
fn a_claim_that_is_no_commit_id_is_refused() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let claim = remote.claim_by_hand("aws", "env-1");

    for param in ["release", "remove", "update"] {
        for bad in [
            "",
            "none",
            "HEAD",
            &claim[1..],
            &format!("{claim}0"),
            &"g".repeat(40),
            "../name",
        ] {
            let files = [
                ("lock/name", b"env-1".as_slice()),
                ("lock/metadata", b"x"),
                ("lock/claim", bad.as_bytes()),
            ];
            put_refused(&remote, json!({ param: "lock" }), &files, &["lock/claim"]);
        }
    }
}

#[test]
fn an_error_never_breaks_the_log_of_a_build() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let hostile = "a\nerror: forged\u{1b}[2J\r";

    let answers = [
        Step::on(&remote, hostile).put(json!({"acquire": true})),
        Step::on(&remote, "aws")
            .set("branch", hostile)
            .put(json!({"acquire": true})),
        Step::on(&remote, "aws")
            .set("retry_delay", hostile)
            .put(json!({"acquire": true})),
        Step::on(&remote, "aws").put(json!({ "claim": hostile })),
        Step::on(&remote, "aws").put(json!({ "release": format!("../{hostile}") })),
        Step::on(&remote, "aws").put(json!({ "release": hostile })),
        Step::on(&remote, "aws")
            .set("uri", hostile)
            .put(json!({"acquire": true})),
        Step::on(&remote, "aws")
            .set("uri", format!("/absent/{hostile}"))
            .put(json!({"acquire": true})),
    ];

    for answer in answers {
        answer.assert_failed(&[]);
        assert!(
            !answer.stderr.contains(['\u{1b}', '\r']),
            "{:?}",
            answer.stderr
        );
        assert!(
            answer
                .stderr
                .lines()
                .all(|line| !line.starts_with("error: forged")),
            "{:?}",
            answer.stderr
        );
    }
}

// Secrets.

/// Everything that a step said and left behind must be free of the marker.
#[track_caller]
fn assert_no_secret(what: &str, step: &Step, answer: &Answer) {
    for text in [&answer.stdout, &answer.stderr] {
        assert!(!text.contains(MARKER), "{what}: {text}");
        assert!(!text.contains("panicked"), "{what}: {text}");
    }
    assert_no_secret_in(what, step.temporary());
}

#[track_caller]
fn assert_no_secret_in(what: &str, folder: &Path) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        assert!(!path.to_str().unwrap().contains(MARKER), "{what}: {path:?}");
        if path.is_dir() {
            assert_no_secret_in(what, &path);
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        let found = bytes
            .windows(MARKER.len())
            .any(|part| part == MARKER.as_bytes());
        assert!(!found, "{what}: in {path:?}");
    }
}

/// Sources with every secret key set to the marker, in good and in bad values.
fn with_secrets(uri: &str) -> Value {
    json!({
        "uri": uri,
        "branch": "main",
        "pool": "aws",
        "private_key": MARKER,
        "private_key_passphrase": MARKER,
        "username": "someone",
        "password": MARKER,
        "git_config": [
            {"name": "http.extraHeader", "value": format!("X-Token: {MARKER}")},
            {"name": "some.setting", "value": MARKER},
        ],
        "https_tunnel": {"proxy_host": "127.0.0.1", "proxy_port": "1", "proxy_user": "x", "proxy_password": MARKER},
        "prometheus_push_gateway": format!("http://someone:{MARKER}@127.0.0.1:1/"),
        "connect_timeout": "100ms",
        "attempt_timeout": "200ms",
        "fault_timeout": "300ms",
        "retry_delay": "50ms",
    })
}

#[test]
fn a_secret_is_never_shown_or_left_behind_whatever_fails() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let closed = support::server::free_port();

    for uri in [
        remote.uri(),
        format!("{}/absent", remote.uri()),
        format!("http://someone:{MARKER}@127.0.0.1:{closed}/x?token={MARKER}#{MARKER}"),
        format!("https://{MARKER}@127.0.0.1:{closed}/x"),
        format!("http://someone:{MARKER}@127.0.0.1:port/x"),
        format!("http://someone:{MARKER}@"),
        format!("ftp://someone:{MARKER}@127.0.0.1/x"),
        format!("ext::{MARKER}"),
        format!("ssh://someone:{MARKER}@127.0.0.1:{closed}/x"),
        format!("git://someone:{MARKER}@127.0.0.1:{closed}/x"),
    ] {
        for program in PROGRAMS {
            let step = Step::with_source(with_secrets(&uri));
            let input = request(step.source(), &"1".repeat(40)).to_string();

            let answer = step.run(program, &args(program, &step), input.as_bytes());

            assert_no_secret(&format!("{program} of {uri}"), &step, &answer);
            if uri != remote.uri() {
                answer.assert_failed(&[]);
            }
        }
    }
}

#[test]
fn a_secret_of_the_wrong_kind_is_named_and_not_shown() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let secrets = [
        "uri",
        "private_key",
        "private_key_passphrase",
        "password",
        "git_config",
        "https_tunnel",
        "prometheus_push_gateway",
    ];

    for key in secrets {
        for bad in [
            json!([MARKER]),
            json!([[MARKER]]),
            json!([{"value": MARKER}]),
            json!({"proxy_host": [MARKER], "proxy_password": [MARKER]}),
            json!({"proxy_host": "x", "proxy_port": 1, "proxy_password": [MARKER]}),
        ] {
            let mut source = with_secrets(&remote.uri());
            source[key] = bad;
            let step = Step::with_source(source);
            let input = request(step.source(), &remote.head()).to_string();
            for program in PROGRAMS {
                let answer = step.run(program, &args(program, &step), input.as_bytes());

                answer.assert_failed(&[&format!("source.{key}")]);
                assert_no_secret(&format!("{program} with a bad {key}"), &step, &answer);
            }
        }
    }
}

#[test]
fn a_broken_request_is_not_shown() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let step = Step::on(&remote, "aws");
    let whole = json!({"source": with_secrets(&remote.uri())}).to_string();

    for program in PROGRAMS {
        for input in [
            whole[..whole.len() - 1].to_owned(),
            format!("{whole}{whole}"),
            format!("{whole}, {MARKER}"),
            MARKER.to_owned(),
            format!("\"{MARKER}\""),
            format!("{{{MARKER}: 1}}"),
        ] {
            let answer = step.run(program, &args(program, &step), input.as_bytes());

            answer.assert_failed(&["request"]);
            assert_no_secret(program, &step, &answer);
        }
    }
}

//! Generated requests, names, messages and servers: nothing panics, nothing is shown that is secret or that breaks a line,
//! and nothing takes more than it is allowed.

use std::ffi::OsString;
use std::time::Duration;

use git::{Access, Depth, Location, Remote, RemoteError, Snapshot, SshAccess, Store};
use net::{Limits, NetError, Route};
use pace::duration;
use pool::concourse::{Build, CheckRequest, GetRequest, PutRequest, RequestError};
use pool::ledger;
use pool::lock::{LockName, PoolName};
use pool::message::{self, Verb};
use pool::operation::Operation;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use support::fuzz::{any_spoiled, cases, harms, spoiled};
use support::git::run;
use support::server::daemon::GitDaemon;
use support::server::http::HttpServer;
use support::server::scripted::Scripted;
use support::server::ssh::Key;
use support::{Step, TestRemote};

const ID: &str = "0123456789abcdef0123456789abcdef01234567";

/// A request with every key that there is. What is secret says MARKER.
fn whole() -> Value {
    json!({
        "source": {
            "uri": "https://me:MARKER@example.com/locks.git",
            "branch": "main",
            "pool": "aws",
            "private_key": "MARKER key",
            "private_key_user": "git",
            "private_key_passphrase": "MARKER phrase",
            "username": "me",
            "password": "MARKER",
            "git_config": [{"name": "http.extraHeader", "value": "Authorization: MARKER"}, {"name": "user.name", "value": "x"}],
            "retry_delay": "10s",
            "connect_timeout": "1h30m",
            "silence_timeout": 1_000_000_000,
            "attempt_timeout": "1.5m",
            "fault_timeout": "300ms",
            "https_tunnel": {"proxy_host": "proxy", "proxy_port": 3128, "proxy_user": "me", "proxy_password": "MARKER"},
            "forward_agent": false,
            "skip_ssl_verification": true,
            "ca_cert": "-----BEGIN CERTIFICATE-----",
            "known_hosts": "example.com ssh-ed25519 AAAA",
            "prometheus_push_gateway": "https://me:MARKER@gateway:9091/",
        },
        "version": {"ref": ID},
        "params": {"claim": "env-1", "timeout": "5m", "try": false, "request": "deploy"},
    })
}

/// Where secrets are: in a value of another kind they are secrets still.
const SECRET: [&str; 7] = [
    "uri",
    "private_key",
    "private_key_passphrase",
    "password",
    "git_config",
    "https_tunnel",
    "prometheus_push_gateway",
];

/// Any JSON, made of the words of requests among others.
fn values() -> impl Strategy<Value = Value> {
    let words = [
        "acquire",
        "claim",
        "release",
        "remove",
        "add",
        "add_claimed",
        "update",
        "check",
        "check_unclaimed",
        "reap",
        "lease",
        "timeout",
        "try",
        "request",
        "source",
        "params",
        "version",
        "ref",
        "uri",
        "branch",
        "pool",
        "name",
        "value",
        "proxy_host",
        "proxy_port",
        "",
        "main",
        "aws",
        "-1s",
        "1h",
        "../x",
        "a/../b",
        "/",
        "\u{1b}[2J",
        "a\nb",
        "\0",
        ".git",
        "refs/heads/x",
        "x.lock",
        "@{",
        ID,
    ];
    let word = prop_oneof![
        prop::sample::select(words.to_vec()).prop_map(str::to_owned),
        any::<String>()
    ];
    let number = prop_oneof![
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from)
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        number,
        Just(json!("x".repeat(300))),
        word.clone().prop_map(Value::String),
    ];
    leaf.prop_recursive(4, 24, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::vec((word.clone(), inner), 0..5)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// The whole request with values at some of its keys that do not belong there.
fn odd_requests() -> impl Strategy<Value = Value> {
    let request = whole();
    let keys: Vec<(&str, String)> = ["source", "version", "params"]
        .into_iter()
        .flat_map(|part| {
            request[part]
                .as_object()
                .unwrap()
                .keys()
                .map(move |key| (part, key.clone()))
        })
        .chain(["release", "add", "acquire", "check"].map(|key| ("params", key.to_owned())))
        .collect();
    let change = (prop::sample::select(keys), values(), any::<bool>());
    prop::collection::vec(change, 1..4).prop_map(|changes| {
        let mut request = whole();
        for ((part, key), value, taken_away) in changes {
            let part = request[part].as_object_mut().unwrap();
            if taken_away && value.is_null() {
                part.remove(&key);
            } else if SECRET.contains(&key.as_str()) {
                part.insert(
                    key,
                    json!([{"value": ["MARKER", value], "proxy_password": ["MARKER"]}]),
                );
            } else {
                part.insert(key, value);
            }
        }
        request
    })
}

type Read = Result<Option<PutRequest>, RequestError>;

/// Reads a request in all three ways.
fn read(bytes: &[u8]) -> [Read; 3] {
    [
        CheckRequest::read(bytes).map(|_| None),
        GetRequest::read(bytes).map(|_| None),
        PutRequest::read(bytes).map(Some),
    ]
}

/// What may be put before people: no line of it can be forged, and no terminal does what it says.
fn assert_readable(text: &str) -> Result<(), TestCaseError> {
    for line in text.lines() {
        prop_assert!(!line.contains(char::is_control), "{text:?}");
    }
    prop_assert!(text.len() < 16 * 1024, "{} bytes", text.len());
    Ok(())
}

/// What a request that was understood can never ask for.
fn assert_sound(request: &PutRequest) -> Result<(), TestCaseError> {
    let source = &request.source;
    prop_assert!(!source.uri.expose().is_empty());
    prop_assert!(PoolName::new(source.pool.as_str()).as_ref() == Ok(&source.pool));
    for time in [
        source.retry_delay,
        source.connect_timeout,
        source.silence_timeout,
        source.attempt_timeout,
        source.fault_timeout,
    ] {
        prop_assert!(!time.is_zero() && time <= Duration::from_nanos(i64::MAX.unsigned_abs()));
    }
    // Without a folder to read there is no operation but these three; whatever else it is, it looks inside of the inputs.
    let nowhere = std::path::Path::new("/nonexistent/inputs");
    match request.params.operation(nowhere, &request.source.pool) {
        Ok(operation) => prop_assert!(matches!(
            operation,
            Some(Operation::Acquire(_) | Operation::Claim(_)) | None
        )),
        Err(err) => {
            let RequestError::Unreadable { path, .. } = &err else {
                return Err(TestCaseError::fail(err.to_string()));
            };
            prop_assert!(
                path.starts_with(nowhere)
                    && !path.components().any(|part| part.as_os_str() == ".."),
                "{path:?}"
            );
            assert_readable(&terminal::chain(&err))?;
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn any_bytes_for_a_request_are_understood_or_refused_in_readable_words(
        bytes in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..80),
            values().prop_map(|value| value.to_string().into_bytes()),
            any_spoiled(vec![whole().to_string().into_bytes(), format!("{:#}", whole()).into_bytes()]),
        ],
    ) {
        for read in read(&bytes) {
            match read {
                Ok(Some(request)) => assert_sound(&request)?,
                Ok(None) => {}
                Err(err) => assert_readable(&terminal::chain(&err))?,
            }
        }
    }

    #[test]
    fn a_request_with_odd_values_shows_no_secret(request in odd_requests()) {
        for read in read(request.to_string().as_bytes()) {
            let shown = match read {
                Ok(Some(request)) => {
                    assert_sound(&request)?;
                    format!("{request:?}")
                }
                Ok(None) => continue,
                Err(err) => {
                    assert_readable(&terminal::chain(&err))?;
                    format!("{} {err:?}", terminal::chain(&err))
                }
            };
            prop_assert!(!shown.contains("MARKER"), "{}", shown);
        }
    }

    #[test]
    fn any_files_of_a_folder_are_an_operation_or_refused_in_readable_words(
        param in prop::sample::select(vec!["release", "remove", "add", "add_claimed", "update", "check", "check_unclaimed"]),
        name in lines(), claim in prop::option::of(lines()), metadata in prop::option::of(prop::collection::vec(any::<u8>(), 0..50)),
    ) {
        let inputs = tempfile::tempdir().unwrap();
        let folder = inputs.path().join("lock");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("name"), &name).unwrap();
        if let Some(claim) = &claim {
            std::fs::write(folder.join("claim"), claim).unwrap();
        }
        if let Some(metadata) = &metadata {
            std::fs::write(folder.join("metadata"), metadata).unwrap();
        }
        let request = json!({"source": whole()["source"], "params": {param: "lock"}});
        let request = PutRequest::read(request.to_string().as_bytes()).unwrap();

        match request.params.operation(inputs.path(), &request.source.pool) {
            Ok(operation) => {
                let text = String::from_utf8(name).unwrap();
                let lock = LockName::new(text.trim()).unwrap();
                let shown = (format!("{operation:?}"), format!("{lock:?}"));
                prop_assert!(shown.0.contains(&shown.1));
            }
            Err(err) => assert_readable(&terminal::chain(&err))?,
        }
    }

    #[test]
    fn any_text_for_a_duration_is_one_that_go_has_or_none(
        text in prop_oneof![
            any::<String>(),
            any_spoiled(vec![b"1h30m".to_vec(), b"2562047h47m16.854775807s".to_vec(), b"-.5ms".to_vec()])
                .prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
        ],
    ) {
        match duration::parse(&text) {
            Ok(time) => prop_assert!(time <= Duration::from_nanos(i64::MAX.unsigned_abs())),
            Err(err) => prop_assert!(!err.to_string().is_empty()),
        }
    }

    #[test]
    fn what_is_committed_for_a_build_of_any_name_is_read_back(
        names in prop::array::uniform8(prop::option::of(build_names())),
        lock in locks(),
        verb in prop::sample::select(Verb::ALL.to_vec()),
    ) {
        // It is made visible in a message, so that it does not stand there as it is.
        prop_assume!(!lock.as_str().contains(terminal::harmless::is_hidden));
        const VARIABLES: [&str; 8] = [
            "BUILD_ID", "BUILD_NAME", "BUILD_JOB_NAME", "BUILD_PIPELINE_NAME", "BUILD_TEAM_NAME", "BUILD_PIPELINE_INSTANCE_VARS",
            "ATC_EXTERNAL_URL", "BUILD_URL",
        ];
        let build = Build::from_env(|name| names[VARIABLES.iter().position(|known| *known == name)?].clone());
        let origin = build.origin();

        let text = message::compose(&origin, verb, std::slice::from_ref(&lock), &[(message::REQUEST, "7c0e".to_owned())]);

        let head = text.lines().next().unwrap();
        let end = format!("{}: {lock}", verb.as_str());
        prop_assert!(head.ends_with(&end));
        prop_assert!(text.lines().all(|line| !line.contains(char::is_control)));
        let read = message::read_subject(text.as_bytes()).unwrap();
        // With a colon and a space in the names there can be several ways to read it.
        if head.matches(": ").count() == 1 {
            prop_assert_eq!((read.verb, read.lock.as_str()), (verb, lock.as_str()));
        }
        prop_assert_eq!(message::trailer(text.as_bytes(), message::REQUEST), Some("7c0e".to_owned()));
        prop_assert_eq!(message::trailer(text.as_bytes(), message::CLAIM), None);
    }

    #[test]
    fn a_spoiled_message_is_text_of_one_line_or_nothing(message in any_spoiled(messages())) {
        if let Some(subject) = message::read_subject(&message) {
            prop_assert!(!subject.lock.is_empty() && subject.lock.len() <= 255 && !subject.lock.contains('/'));
            let build = subject.build.map(|build| build.to_string());
            for text in [Some(subject.lock), subject.one_off, build].into_iter().flatten() {
                prop_assert!(!text.contains(char::is_control), "{:?}", text);
            }
        }
        for name in [message::REQUEST, message::CLAIM, message::STEP, message::INSTANCE_VARS, ""] {
            if let Some(value) = message::trailer(&message, name) {
                prop_assert!(!value.contains(char::is_control), "{:?}", value);
            }
        }
    }
}

/// What a file may say in place of a name or an id.
fn lines() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        any_spoiled(vec![b"env-1\n".to_vec(), format!("{ID}\n").into_bytes()]),
        Just(b"env-1\r\n".to_vec()),
        Just(format!("{ID}\n").into_bytes()),
        "[ -~\u{a0}-\u{ff}./]{0,12}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..20),
        Just(vec![b'x'; 70_000]),
    ]
}

fn build_names() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z0-9.-]{1,8}",
        "(claiming|: |:| build |one-off |/|\n|\r|\u{85}|é|12| |Pool-Claim){0,6}",
        any::<String>(),
    ]
}

fn locks() -> impl Strategy<Value = LockName> {
    prop_oneof![
        "[a-z0-9.-]{1,8}",
        "(claiming: | build 1 |:| |x){1,5}",
        any::<String>()
    ]
    .prop_filter_map("not a lock's", |name| LockName::new(&name).ok())
}

fn messages() -> Vec<Vec<u8>> {
    let ours = format!(
        "ops/web/deploy build 12 unclaiming: env-1\n\nBuild URL: https://ci.example.com/x\n\nPool-Request: 7c0e\n\
         Pool-Claim: {ID}\nPool-Step: 4711 deploy\nPool-Instance-Vars: {{\"a\":\"b\"}}\n"
    );
    let theirs = "one-off build 4711 adding unclaimed: env 1 \u{fc}\n\nBuild URL: x\n";
    let signed = "claiming: a\r\n\r\nSigned-off-by: A <a@x>\r\nPool-Claim: x\r\n  y\r\n";
    [ours.as_str(), theirs, signed]
        .map(|text| text.as_bytes().to_vec())
        .to_vec()
}

/// All that `git upload-pack` says to a client that fetches the head of `main`.
fn fetch_of(remote: &TestRemote) -> (Vec<u8>, Vec<u8>) {
    let packet = |text: &str| format!("{:04x}{text}", text.len() + 4);
    let want = packet(&format!(
        "want {} side-band-64k shallow ofs-delta no-progress\n",
        remote.head()
    ));
    let request = format!("{want}{}0000{}", packet("deepen 1\n"), packet("done\n"));
    let said = run(
        remote.path(),
        &["upload-pack", "."],
        request.as_bytes(),
        &[],
    )
    .stdout;
    // An id may have these digits in it too.
    let flush = said
        .windows(5)
        .position(|bytes| bytes == b"\n0000")
        .unwrap()
        + 5;
    (said[..flush].to_vec(), said[flush..].to_vec())
}

/// Fetches the head of `main` as a step does, and reads it.
fn fetched(uri: &str) -> Result<Snapshot, RemoteError> {
    let folder = tempfile::tempdir().unwrap();
    let (location, _) = Location::parse(uri).unwrap();
    let access = Access {
        route: Route {
            limits: Limits {
                connect: Duration::from_secs(5),
                silence: Duration::from_secs(5),
                attempt: Duration::from_secs(20),
            },
            ..Route::default()
        },
        ..Access::default()
    };
    let store = Store::temporary(folder.path())?;
    let mut remote = Remote::new(&location, &access, "main", store)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let snapshot = runtime.block_on(remote.snapshot(Depth::HEAD))?;
    // What came may be damaged in ways that show only now.
    let history = remote.history(&snapshot);
    let pool = PoolName::new("aws").unwrap();
    if let Err(err) = ledger::versions(&history, &pool, None, None) {
        assert!(!terminal::chain(&err).contains(char::is_control));
    }
    Ok(snapshot)
}

/// A web server's answer.
fn page(kind: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/x-git-{kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn assert_honest(fetched: Result<Snapshot, RemoteError>) -> Result<(), TestCaseError> {
    match fetched {
        Ok(_) => {}
        Err(RemoteError::Net(NetError::Silent { .. })) => {
            prop_assert!(false, "it waited for a server that had hung up")
        }
        Err(err) => assert_readable(&terminal::chain(&err))?,
    }
    Ok(())
}

#[test]
fn a_spoiled_fetch_is_read_or_refused_in_readable_words() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2"]);
    let (refs, answer) = fetch_of(&remote);
    let whole = [&refs[..], &answer].concat();
    let server = Scripted::start(|_, _| Ok(()));
    let uri = format!("git://127.0.0.1:{}/locks.git", server.port());
    server.say(whole.clone());
    assert_eq!(fetched(&uri).unwrap().commit.to_string(), remote.head());

    let mut runner = proptest::test_runner::TestRunner::new(cases(128));
    let tested = runner.run(&harms(), |harms| {
        server.say(spoiled(&whole, &harms));
        assert_honest(fetched(&uri))
    });

    tested.unwrap();
}

#[test]
fn a_spoiled_page_of_a_web_server_is_read_or_refused_in_readable_words() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2"]);
    let (refs, answer) = fetch_of(&remote);
    let refs = page(
        "upload-pack-advertisement",
        &[b"001e# service=git-upload-pack\n0000", &refs[..]].concat(),
    );
    let answer = page("upload-pack-result", &answer);
    let server = |refs: Vec<u8>, answer: Vec<u8>| {
        Scripted::start(move |asked, to| {
            to.write_all(if asked.starts_with(b"GET") {
                &refs
            } else {
                &answer
            })
        })
    };
    let fetch =
        |server: &Scripted| fetched(&format!("http://127.0.0.1:{}/git/locks.git", server.port()));
    assert_eq!(
        fetch(&server(refs.clone(), answer.clone()))
            .unwrap()
            .commit
            .to_string(),
        remote.head()
    );

    let mut runner = proptest::test_runner::TestRunner::new(cases(128));
    let tested = runner.run(&(any::<bool>(), harms()), |(first, harms)| {
        let server = if first {
            server(spoiled(&refs, &harms), answer.clone())
        } else {
            server(refs.clone(), spoiled(&answer, &harms))
        };
        assert_honest(fetch(&server))
    });

    tested.unwrap();
}

#[test]
fn a_spoiled_report_of_a_push_is_a_success_only_where_it_says_so() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let (refs, answer) = fetch_of(&remote);
    let able = format!(
        "{} refs/heads/main\0report-status side-band-64k\n",
        remote.head()
    );
    let report = [
        packet(b"unpack ok\n"),
        packet(b"ok refs/heads/main\n"),
        b"0000".to_vec(),
    ]
    .concat();
    let report = [
        packet(b"\x02a hook speaks\n"),
        packet(&[b"\x01", &report[..]].concat()),
        b"0000".to_vec(),
    ]
    .concat();
    let refs = [b"001e# service=git-upload-pack\n0000", &refs[..]].concat();
    let commands = [
        b"001f# service=git-receive-pack\n0000",
        &packet(able.as_bytes())[..],
        b"0000",
    ]
    .concat();
    let pages = [
        (
            "GET /locks.git/info/refs?service=git-upload-pack",
            page("upload-pack-advertisement", &refs),
        ),
        (
            "GET /locks.git/info/refs?service=git-receive-pack",
            page("receive-pack-advertisement", &commands),
        ),
        (
            "POST /locks.git/git-upload-pack",
            page("upload-pack-result", &answer),
        ),
    ];
    // Not a claim: it would be given back, for as long as that may take.
    let add = |report: &[u8]| {
        let (pages, report) = (pages.clone(), page("receive-pack-result", report));
        let server = Scripted::start(move |asked, to| {
            let page = pages
                .iter()
                .find(|(start, _)| asked.starts_with(start.as_bytes()));
            to.write_all(page.map_or(&report, |(_, page)| page))
        });
        let uri = format!("http://127.0.0.1:{}/locks.git", server.port());
        let step = Step::on(&remote, "aws")
            .set("uri", uri)
            .set("fault_timeout", "1ns");
        step.put_with(
            json!({"add": "lock"}),
            &[("lock/name", b"new"), ("lock/metadata", b"")],
        )
    };
    assert_eq!(add(&report).lock(), "new");
    add(b"0000").assert_failed(&["does not say what became of the branch"]);

    let tested = proptest::test_runner::TestRunner::new(cases(24)).run(&harms(), |harms| {
        let report = spoiled(&report, &harms);
        let answer = add(&report);
        if answer.code == Some(0) {
            let says_so = report
                .windows(18)
                .any(|bytes| bytes == b"ok refs/heads/main");
            prop_assert!(says_so && answer.lock() == "new");
        } else {
            answer.assert_failed(&[""]);
            assert_readable(&answer.stderr)?;
        }
        Ok(())
    });

    tested.unwrap();
}

#[test]
fn a_spoiled_private_key_is_refused_and_never_shown() {
    // No program of Debian's base writes keys of PuTTY's. Of this one the reader takes the marker for a line of its head.
    let putty = "PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\nComment: x\nPublic-Lines: 1\nAAAA\n\
                 Private-Lines: 1\nAAAA\nMARKERMARKERMARKERMARKERMARKERMARKER\nPrivate-MAC: 00\n";
    let mut keys = vec![Key::new(), Key::of(&["-t", "ecdsa"], "")];
    for form in ["PEM", "PKCS8"] {
        let key = Key::of(&["-t", "rsa", "-b", "2048"], "");
        key.convert(form);
        keys.push(key);
    }
    let keys = keys.iter().map(Key::private).chain([putty.to_owned()]);
    let keys: Vec<Vec<u8>> = keys.map(String::into_bytes).collect();
    let (location, _) = Location::parse("git@127.0.0.1:x").unwrap();

    let mut runner = proptest::test_runner::TestRunner::new(cases(128));
    let passphrase = prop_oneof![3 => Just(None), 1 => Just(Some("MARKER".to_owned()))];
    let tested = runner.run(&(any_spoiled(keys), passphrase), |(key, passphrase)| {
        let key = String::from_utf8_lossy(&key).into_owned();
        let access = Access {
            ssh: SshAccess {
                key: Some(key.clone()),
                passphrase,
                ..SshAccess::default()
            },
            ..Access::default()
        };
        let folder = tempfile::tempdir().unwrap();
        if let Err(err) = Remote::new(
            &location,
            &access,
            "main",
            Store::temporary(folder.path()).unwrap(),
        ) {
            let shown = terminal::chain(&err);
            assert_readable(&shown)?;
            let longest = key
                .lines()
                .max_by_key(|line| line.len())
                .unwrap_or_default();
            prop_assert!(longest.len() < 30 || !shown.contains(longest), "{}", shown);
            prop_assert!(!shown.contains("MARKER"));
        }
        Ok(())
    });

    tested.unwrap();
}

/// The programs' own peak, in kilobytes, and what they said.
fn peak_of(step: &Step, program: &str, request: &Value) -> (usize, support::Answer) {
    let args: Vec<OsString> = if program == "check" {
        vec![]
    } else {
        vec![step.folder().into()]
    };
    let (answer, peak) = step.run_measured(program, &args, request.to_string().as_bytes());
    (peak, answer)
}

fn packet(data: &[u8]) -> Vec<u8> {
    [format!("{:04x}", data.len() + 4).as_bytes(), data].concat()
}

/// Says the advertisement, and then the same packet for ever.
fn endless(before: Vec<u8>, again: Vec<u8>) -> Scripted {
    let many = packet(&again).repeat(16);
    Scripted::start(move |_, to| {
        to.write_all(&before)?;
        loop {
            to.write_all(&many)?;
        }
    })
}

#[test]
fn a_server_that_never_comes_to_an_end_is_cut_off_and_fills_no_memory() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let (refs, _) = fetch_of(&remote);
    let many = |start: &str| [start.as_bytes(), &[b'x'; 65_000]].concat();
    let pack = [&refs[..], b"0000"].concat();
    let cut_off = [
        (
            endless(Vec::new(), many(&format!("{ID} refs/heads/"))),
            "its list of refs does not end after 512 MiB",
        ),
        (
            endless(refs, many("shallow ")),
            "its list of cuts does not end after 64 MiB",
        ),
        // It talks of its progress in place of sending the pack.
        (
            endless(pack, many("\x02")),
            "its pack does not end after 2048 MiB",
        ),
    ];
    for (server, words) in cut_off {
        let uri = format!("git://127.0.0.1:{}/locks.git", server.port());
        let step = Step::on(&remote, "aws").set("uri", uri);

        let (kilobytes, answer) = peak_of(&step, "check", &json!({"source": step.source()}));

        answer.assert_failed(&["does not answer as a Git server does", words]);
        assert!(kilobytes < 50 * 1024, "{kilobytes} KB: {words}");
    }
}

#[test]
fn any_bytes_on_stdin_end_every_program_with_an_error() {
    let bytes = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        (values(), odd_requests(), any::<bool>()).prop_map(|(value, odd, any)| {
            let mut request = if any { value } else { odd };
            // Without it, no request is one.
            if let Some(source) = request.pointer_mut("/source") {
                *source = json!({"branch": "main", "pool": "aws"});
            }
            request.to_string().into_bytes()
        }),
    ];
    let step = Step::with_source(Value::Null);

    let tested = proptest::test_runner::TestRunner::new(cases(24)).run(&bytes, |bytes| {
        for program in ["check", "in", "out"] {
            step.run(program, &[step.folder().into()], &bytes)
                .assert_failed(&[""]);
        }
        Ok(())
    });

    tested.unwrap();
}

#[test]
fn the_longest_durations_that_can_be_written_are_borne() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let (web, daemon) = (
        HttpServer::start(remote.root()),
        GitDaemon::start(remote.root()),
    );
    let longest = "2562047h47m16.854775807s";
    for uri in [remote.uri(), web.uri(), daemon.uri()] {
        let times = [
            "retry_delay",
            "connect_timeout",
            "silence_timeout",
            "attempt_timeout",
            "fault_timeout",
        ];
        let step = times
            .iter()
            .fold(Step::on(&remote, "aws"), |step, key| step.set(key, longest))
            .set("uri", uri);

        let acquired = step.put(json!({"acquire": true, "timeout": longest}));
        let waited = step.put(json!({"claim": "env-1", "timeout": "1ns"}));
        let (got, folder) = step.get(&acquired.version());
        let released = step.put_folder("release", &folder);

        waited.assert_failed(&["gave up after 1ns: `env-1` is held since"]);
        assert_eq!([acquired.lock(), got.lock(), released.lock()], ["env-1"; 3]);
        assert_eq!(step.check(None).versions(), [remote.head()]);
    }
}

//! Messages, written and read.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn lock(name: &str) -> LockName {
    LockName::new(name).unwrap()
}

fn origin(prefix: &str) -> Origin {
    Origin {
        prefix: prefix.to_owned(),
        ..Origin::default()
    }
}

fn build(team: &str, pipeline: &str, job: &str, build: &str) -> Option<BuildRef> {
    Some(BuildRef {
        team: team.to_owned(),
        pipeline: pipeline.to_owned(),
        job: job.to_owned(),
        build: build.to_owned(),
    })
}

fn read(line: &str) -> Option<Subject> {
    read_subject(line.as_bytes())
}

fn subject(build: Option<BuildRef>, verb: Verb, lock: &str) -> Option<Subject> {
    Some(Subject {
        build,
        one_off: None,
        verb,
        lock: lock.to_owned(),
    })
}

#[test]
fn a_message_says_who_what_where_and_which_request() {
    let origin = Origin {
        prefix: "ops/web/deploy build 12".into(),
        url: Some("https://ci.example.com/builds/1".into()),
        instance_vars: Some(r#"{"branch":"x"}"#.into()),
        ..Origin::default()
    };

    let message = compose(
        &origin,
        Verb::Unclaiming,
        &[lock("env-1")],
        &[(REQUEST, "7c0e".into()), (CLAIM, "0123".into())],
    );

    assert_eq!(
        message,
        "ops/web/deploy build 12 unclaiming: env-1\n\
         \n\
         Build URL: https://ci.example.com/builds/1\n\
         \n\
         Pool-Request: 7c0e\n\
         Pool-Claim: 0123\n\
         Pool-Instance-Vars: {\"branch\":\"x\"}\n"
    );
}

#[test]
fn what_is_not_known_leaves_no_trace() {
    let nobody = Origin::default();

    assert_eq!(
        compose(&nobody, Verb::Claiming, &[lock("a b")], &[]),
        "claiming: a b\n"
    );
    assert_eq!(
        compose(
            &nobody,
            Verb::Removing,
            &[lock("x")],
            &[(REQUEST, "7c0e".into())]
        ),
        "removing: x\n\nPool-Request: 7c0e\n"
    );
    assert_eq!(
        compose(
            &origin("one-off build 7"),
            Verb::AddingClaimed,
            &[lock("x")],
            &[]
        ),
        "one-off build 7 adding claimed: x\n"
    );
}

#[test]
fn no_value_can_forge_a_line() {
    let forged = "x\r\n\r\nPool-Claim: forged\n\nPool-Claim: forged\u{85}\u{b}";
    let origin = Origin {
        prefix: forged.into(),
        url: Some(forged.into()),
        instance_vars: Some(forged.into()),
        ..Origin::default()
    };

    let message = compose(
        &origin,
        Verb::Claiming,
        &[lock("env")],
        &[(REQUEST, forged.into())],
    );

    assert_eq!(message.lines().count(), 6, "{message}");
    assert!(!message.contains(|c: char| c.is_control() && c != '\n'));
    assert_eq!(trailer(message.as_bytes(), CLAIM), None);
    assert_eq!(read_subject(message.as_bytes()).unwrap().lock, "env");
}

#[test]
fn trailers_are_read_back() {
    let message = compose(
        &origin("p"),
        Verb::Updating,
        &[lock("x")],
        &[(REQUEST, "a".into()), (CLAIM, "b: c".into())],
    );

    assert_eq!(trailer(message.as_bytes(), REQUEST).as_deref(), Some("a"));
    assert_eq!(
        trailer(message.as_bytes(), "pool-CLAIM").as_deref(),
        Some("b: c")
    );
    assert_eq!(trailer(message.as_bytes(), INSTANCE_VARS), None);
    assert_eq!(trailer(message.as_bytes(), "Pool"), None);
}

#[test]
fn a_trailer_is_in_the_last_paragraph_and_never_in_the_subject() {
    let read = |message: &str| trailer(message.as_bytes(), CLAIM);

    for message in [
        "",
        "\n",
        "Pool-Claim: x",
        "\n\nPool-Claim: x\n\n",
        "s\nPool-Claim: x\n",
        "s\n\nPool-Claim: x\n\nmore\n",
    ] {
        assert_eq!(read(message), None, "{message:?}");
    }
    for message in [
        "s\n\nPool-Claim: x",
        "s\n\nPool-Claim:x\n\n\n",
        "s\r\n\r\nPool-Claim: x\r\n",
        "s\n \t\npool-claim :  x  \nPool-Claim: y\n",
        "s\n\nNo trailer\nPool-Other: y\n  Pool-Claim: z\nPool-Claim: x\n",
    ] {
        assert_eq!(read(message).as_deref(), Some("x"), "{message:?}");
    }
    assert_eq!(
        read("s\n\nPool-Claim: x\n  y\n\tz\nA: b\n").as_deref(),
        Some("x y z")
    );
}

#[test]
fn a_hostile_message_is_only_text() {
    assert_eq!(
        trailer(b"s\n\nPool-Claim: \xff\x1b[31m\n", CLAIM).as_deref(),
        Some("\u{fffd} [31m")
    );
    assert_eq!(
        read_subject(b"claiming: \xff\x1b[31m").unwrap().lock,
        "\u{fffd} [31m"
    );
    let long = format!("x {}", "claiming: ".repeat(100_000));
    assert!(read(&long).is_some());
    assert_eq!(read(&format!("claiming: {}", "x".repeat(256))), None);
}

#[test]
fn subjects_of_the_tools_in_use_are_read() {
    assert_eq!(
        read("ops/web/deploy build 12 claiming: env-1\n\nBuild URL: x\n"),
        subject(build("ops", "web", "deploy", "12"), Verb::Claiming, "env-1")
    );
    assert_eq!(
        read("one-off build 4711 adding unclaimed: env-1"),
        Some(Subject {
            build: None,
            one_off: Some("4711".into()),
            verb: Verb::AddingUnclaimed,
            lock: "env-1".into()
        })
    );
    assert_eq!(read("\nclaiming: a"), subject(None, Verb::Claiming, "a"));
    assert_eq!(
        read("web/deploy build 12 removing: a"),
        subject(None, Verb::Removing, "a")
    );
    assert_eq!(
        read("by hand, claiming: a"),
        subject(None, Verb::Claiming, "a")
    );
}

#[test]
fn spaces_and_colons_in_names_do_not_confuse() {
    assert_eq!(
        read("t/a claiming: b/my build job build 1.2 unclaiming: a: b claiming: c"),
        subject(
            build("t", "a claiming: b", "my build job", "1.2"),
            Verb::Unclaiming,
            "a: b claiming: c"
        )
    );
    assert_eq!(
        read("claiming: t/p/j build 1 claiming:  x "),
        subject(build("claiming: t", "p", "j", "1"), Verb::Claiming, " x ")
    );
    assert_eq!(
        read("updating: one-off build 1 claiming: x"),
        subject(None, Verb::Updating, "one-off build 1 claiming: x")
    );
}

#[test]
fn other_subjects_speak_of_no_lock() {
    for line in [
        "",
        "\n\n",
        "initial commit",
        "claiming:",
        "claiming: ",
        "reclaiming: a",
        "claimed: a",
        "claiming: a/b",
        "Claiming: a",
    ] {
        assert_eq!(read(line), None, "{line:?}");
    }
}

fn lock_names() -> impl Strategy<Value = LockName> {
    let parts = prop_oneof![
        Just("claiming: ".to_owned()),
        Just(" build 1 ".to_owned()),
        "\\PC{1,8}"
    ];
    prop::collection::vec(parts, 1..4)
        .prop_filter_map("not a lock", |parts| LockName::new(&parts.concat()).ok())
}

/// Names of teams and pipelines: anything but a slash and control characters.
fn names() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z][a-z0-9. -]{0,10}",
        "[^/\\pC]{1,10}",
        "(claiming: |x build 1 |one-off build 2 ){1,3}"
    ]
}

#[test]
fn a_claim_of_many_locks_tells_who_made_it_as_one_of_few_does() {
    let locks: Vec<String> = (0..100).map(|n| format!("environment-{n}")).collect();
    let message = format!("anna claiming: {}\n", locks.join(", "));

    let subject = read_subject(message.as_bytes()).unwrap();

    assert_eq!(subject.lock, locks.join(", "));
    assert_eq!(who(message.as_bytes()), "anna");
    let long = format!("anna claiming: {}\n", "x".repeat(256));
    assert_eq!(read_subject(long.as_bytes()), None);
}

proptest! {
    #[test]
    fn what_is_composed_is_read_back(
        lock in lock_names(),
        verb in prop::sample::select(Verb::ALL.to_vec()),
        team in names(),
        pipeline in names(),
        job in "([a-z ]|build|claiming|[^/:\\pC]){1,10}",
        name in "[0-9]{1,5}(\\.[0-9])?",
        who in 0..3,
        url in prop::option::of(any::<String>()),
        request in any::<String>(),
    ) {
        let build = (who == 1).then(|| BuildRef { team, pipeline, job, build: name.clone() });
        let one_off = (who == 2).then_some(name);
        let prefix = match (&build, &one_off) {
            (Some(build), _) => build.to_string(),
            (_, Some(id)) => format!("one-off build {id}"),
            _ => String::new(),
        };
        let origin = Origin { prefix, url, ..Origin::default() };

        let message = compose(&origin, verb, std::slice::from_ref(&lock), &[(REQUEST, request.clone())]);

        prop_assert_eq!(trailer(message.as_bytes(), CLAIM), None);
        prop_assert_eq!(trailer(message.as_bytes(), REQUEST), Some(folded(&request).trim().to_owned()));
        prop_assert_eq!(
            read_subject(message.as_bytes()),
            Some(Subject { build, one_off, verb, lock: lock.as_str().to_owned() })
        );
    }

    #[test]
    fn trailers_are_those_of_the_last_paragraph(
        message in "(\n|\r\n|\n\n| |Pool-Claim: x|pool-claim:y|Pool: z|s|\u{a0}){0,16}"
    ) {
        let lines: Vec<&str> = message.trim().lines().collect();
        let blank = lines.iter().rposition(|line| line.trim().is_empty());
        let paragraph = blank.map_or(&[][..], |blank| &lines[blank + 1..]);
        let is_there = paragraph.iter().any(|line| {
            let (key, rest) = line.split_at_checked(CLAIM.len()).unwrap_or_default();
            key.eq_ignore_ascii_case(CLAIM) && rest.trim_start().starts_with(':')
        });

        prop_assert_eq!(trailer(message.as_bytes(), CLAIM).is_some(), is_there);
    }

    #[test]
    fn no_message_makes_a_reader_panic(
        message in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            "(claiming|: |\n|/| build |one-off|Pool-Claim:|é| ){0,40}".prop_map(String::into_bytes),
        ]
    ) {
        let _ = read_subject(&message);
        let _ = trailer(&message, CLAIM);
    }
}

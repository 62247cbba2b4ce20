//! Who made a claim, read from messages of every kind.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::lock::LockName;
use crate::message::{Origin, REQUEST, Verb, compose};

fn build(team: &str, pipeline: &str, job: &str, build: &str) -> BuildRef {
    BuildRef {
        team: team.to_owned(),
        pipeline: pipeline.to_owned(),
        job: job.to_owned(),
        build: build.to_owned(),
    }
}

fn deploy() -> BuildRef {
    build("ops", "web", "deploy", "12")
}

fn url(text: &str) -> Option<Url> {
    Some(Url::parse(text).unwrap())
}

fn named(build: BuildRef, vars: InstanceVars, home: Option<Url>) -> Maker {
    Maker::Build(Build {
        which: Which::Named { build, vars },
        home,
    })
}

fn by_id(id: &str, as_well: AsWell, home: Option<Url>) -> Maker {
    Maker::Build(Build {
        which: Which::Id {
            id: id.to_owned(),
            as_well,
        },
        home,
    })
}

fn read(message: &str) -> Maker {
    Maker::read(message.as_bytes())
}

fn query(pairs: &[(&str, &str)]) -> InstanceVars {
    let pairs = pairs.iter();
    InstanceVars::Query(
        pairs
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
    )
}

const PAGE: &str = "https://ci.example.com/teams/ops/pipelines/web/jobs/deploy/builds/12";

#[test]
fn the_id_in_a_claim_of_ours_is_what_is_asked_for_where_its_concourse_is_known() {
    let home = || url("https://ci.example.com");
    let subject = "ops/web/deploy build 12 claiming: env-1";
    let trailers = "Pool-Request: 1\nPool-Build: 4711\nPool-Instance-Vars: {\"a\":1}";

    let linked = format!("{subject}\n\nBuild URL: {PAGE}?vars.a=1\n\n{trailers}");
    assert_eq!(
        read(&linked),
        by_id("4711", AsWell::Named(deploy()), home())
    );
    let vars = || InstanceVars::Json("{\"a\":1}".to_owned());
    let bare = format!("{subject}\n\n{trailers}");
    assert_eq!(read(&bare), named(deploy(), vars(), None));
    let odd = linked.replace("4711", "47 11");
    assert_eq!(read(&odd), named(deploy(), vars(), home()));
    // It does not make one of two builds that are named.
    let other = linked.replace("build 12", "build 13");
    assert!(matches!(read(&other), Maker::Unknown(_)));
}

#[test]
fn claims_of_the_tool_in_use_today_are_understood() {
    let home = || url("https://ci.example.com");
    let table = [
        (
            "ops/web/deploy build 12 claiming: env-1".to_owned(),
            named(deploy(), InstanceVars::Untold, None),
        ),
        (
            format!("ops/web/deploy build 12 claiming: env-1\n\nBuild URL: {PAGE}\n"),
            named(deploy(), InstanceVars::Untold, home()),
        ),
        (
            format!("claiming: env-1\n\nBuild URL: {PAGE}"),
            named(deploy(), InstanceVars::Untold, home()),
        ),
        (
            format!("by hand, claiming: env-1\r\nBuild URL:{PAGE}/\r\n"),
            named(deploy(), InstanceVars::Untold, home()),
        ),
        (
            format!("ops/web/deploy build 12 claiming: x\n\nBuild URL: {PAGE}?vars.branch=%22a+b%22&x=1&vars.n=1"),
            named(
                deploy(),
                query(&[("vars.branch", "\"a b\""), ("vars.n", "1")]),
                home(),
            ),
        ),
        (
            "one-off build 4711 claiming: env-1\n\nBuild URL: https://ci.example.com/builds/4711".to_owned(),
            by_id("4711", AsWell::OneOff, home()),
        ),
        (
            "one-off build 4711 claiming: env-1".to_owned(),
            by_id("4711", AsWell::OneOff, None),
        ),
        (
            "claiming: env-1\n\nBuild URL: https://ci.example.com/builds/4711".to_owned(),
            by_id("4711", AsWell::Anything, home()),
        ),
        (
            "ops/web/deploy build 12 claiming: env-1\n\nBuild URL: https://ci.example.com/builds/4711".to_owned(),
            by_id("4711", AsWell::Named(deploy()), home()),
        ),
    ];

    for (message, maker) in table {
        assert_eq!(read(&message), maker, "{message}");
    }
}

#[test]
fn ours_tells_of_instance_vars_or_has_none() {
    let ours = |more: &str| {
        read(&format!(
            "ops/web/deploy build 12 claiming: env-1\n\nBuild URL: {PAGE}\n\nPool-Request: 7c0e\n{more}"
        ))
    };
    let home = url("https://ci.example.com");

    assert_eq!(ours(""), named(deploy(), InstanceVars::None, home.clone()));
    assert_eq!(
        ours("Pool-Instance-Vars: {\"branch\":\"a b\"}\n"),
        named(
            deploy(),
            InstanceVars::Json("{\"branch\":\"a b\"}".into()),
            home
        )
    );
}

#[test]
fn the_home_of_a_build_is_what_is_above_its_page_without_credentials() {
    for (link, home) in [
        (
            "https://ci.example.com:8443/builds/1",
            "https://ci.example.com:8443/",
        ),
        ("http://u:MARKER@h/a/b/builds/1/?x#y", "http://h/a/b"),
        (
            "http://[::1]:8080/ci/teams/t/pipelines/p/jobs/j/builds/1",
            "http://[::1]:8080/ci",
        ),
    ] {
        let Maker::Build(build) = read(&format!("claiming: x\n\nBuild URL: {link}")) else {
            panic!("{link}");
        };

        assert_eq!(build.home, url(home), "{link}");
    }
}

#[test]
fn names_in_a_link_are_decoded() {
    let message = "claiming: x\n\nBuild URL: https://ci/teams/a%20b/pipelines/c%2Fd%3Fe%23f%25g/jobs/%C3%BC/builds/1.2";

    assert_eq!(
        read(message),
        named(
            build("a b", "c/d?e#f%g", "ü", "1.2"),
            InstanceVars::Untold,
            url("https://ci")
        )
    );
}

#[test]
fn slashes_in_names_are_where_the_link_has_them() {
    let message = "t/a/b/c build 1 claiming: x\n\nBuild URL: https://ci/teams/t/pipelines/a%2Fb/jobs/c/builds/1";

    assert_eq!(
        read(message),
        named(
            build("t", "a/b", "c", "1"),
            InstanceVars::Untold,
            url("https://ci")
        )
    );
}

#[test]
fn what_contradicts_itself_or_names_no_build_is_unknown() {
    for (message, why) in [
        ("", "names no build"),
        ("claiming: env-1", "names no build"),
        ("by hand, claiming: env-1", "names no build"),
        ("Build URL: https://ci/builds/1", "names no build"),
        ("claiming: x\n\nBuild URL: ", "names no build"),
        ("claiming: x\n\nBuild URL: https://ci/", "names no build"),
        (
            "claiming: x\n\nBuild URL: https://ci/builds/x1",
            "names no build",
        ),
        (
            "claiming: x\n\nBuild URL: file:///builds/1",
            "names no build",
        ),
        (
            "claiming: x\n\nBuild URL: mailto:builds/1",
            "names no build",
        ),
        (
            "claiming: x\n\nBuild URL: https://gitlab.example.com/ops/web/-/pipelines/7",
            "names no build",
        ),
        (
            "claiming: x\n\nBuild URL: https://ci/teams/t/pipelines/%ff/jobs/j/builds/1",
            "names no build",
        ),
        ("one-off build abc claiming: x", "no build by an id"),
        (
            "one-off build 1 claiming: x\n\nBuild URL: https://ci/builds/2",
            "links to another",
        ),
        (
            "one-off build 1 claiming: x\n\nBuild URL: https://ci/teams/t/pipelines/p/jobs/j/builds/1",
            "links to another",
        ),
        (
            "t/p/j build 1 claiming: x\n\nBuild URL: https://ci/teams/t/pipelines/p/jobs/j/builds/2",
            "links to another",
        ),
    ] {
        match read(message) {
            Maker::Unknown(found) => assert!(found.contains(why), "{message}: {found}"),
            other => panic!("{message}: {other:?}"),
        }
    }
}

#[test]
fn the_first_link_counts_and_the_subject_is_none() {
    let message = "Build URL: https://a/builds/1\nBuild URL: https://b/builds/2\nBuild URL: https://c/builds/3";

    assert_eq!(
        read(message),
        by_id("2", AsWell::Anything, url("https://b"))
    );
}

#[test]
fn a_place_is_scheme_host_port_and_path() {
    let same = |a: &str, b: &str| same_place(&url(a).unwrap(), &url(b).unwrap());

    assert!(same("https://ci", "https://CI:443/"));
    assert!(same("https://ci/a/", "https://ci/a"));
    for other in [
        "http://ci",
        "https://ci:8443",
        "https://ci2",
        "https://ci/a",
    ] {
        assert!(!same("https://ci", other), "{other}");
    }
}

#[test]
fn what_is_shown_of_a_build_is_one_line() {
    let Maker::Build(shown) =
        read("claiming: x\n\nBuild URL: https://ci/teams/a%0Ab/pipelines/p/jobs/%1b%5B2J/builds/1")
    else {
        panic!();
    };

    assert_eq!(shown.to_string(), "a\\nb/p/\\u{1b}[2J build 1");
}

#[test]
fn statuses_are_alive_or_ended_or_not_known() {
    for word in ["pending", "started"] {
        assert_eq!(Status::read(word), Some(Status::Alive(word)));
    }
    for word in ["succeeded", "failed", "errored", "aborted"] {
        assert_eq!(Status::read(word), Some(Status::Ended(word)));
    }
    for word in ["", "paused", "Started", "started "] {
        assert_eq!(Status::read(word), None, "{word:?}");
    }
}

proptest! {
    #[test]
    fn what_our_commits_say_is_read_back(
        team in "[a-zA-Zäß .%?#&+_-]{1,8}",
        pipeline in "[^/\\pC]{1,8}",
        job in "[^\\pC]{1,8}",
        number in "[1-9][0-9]{0,4}(\\.[0-9])?",
        vars in prop::option::of(Just("{\"branch\":\"x\"}".to_owned())),
        path in "(/[a-z]{1,3}){0,2}",
        with_link in any::<bool>(),
    ) {
        // In a link these lead elsewhere, wherever it is read.
        prop_assume!(![&team, &pipeline, &job].iter().any(|name| matches!(name.as_str(), "." | "..")));
        let names = build(&team, &pipeline, &job, &number);
        let home = Url::parse(&format!("https://ci.example.com{path}")).unwrap();
        let mut link = home.clone();
        link.path_segments_mut().unwrap().pop_if_empty()
            .extend(["teams", &team, "pipelines", &pipeline, "jobs", &job, "builds", &number]);
        let origin = Origin {
            prefix: names.to_string(),
            url: with_link.then(|| link.to_string()),
            instance_vars: vars.clone(),
            ..Origin::default()
        };
        let message = compose(&origin, Verb::Claiming, &[LockName::new("env-1").unwrap()], &[(REQUEST, "1".into())]);

        let maker = Maker::read(message.as_bytes());

        let vars = vars.map_or(InstanceVars::None, InstanceVars::Json);
        // A job may have any name, one that reads as a claim of its own as well; then only the link tells.
        if with_link || message::read_subject(message.as_bytes()).unwrap().build == Some(names.clone()) {
            prop_assert_eq!(maker, named(names, vars, with_link.then_some(home)));
        }
    }

    #[test]
    fn no_message_makes_the_reader_panic(
        message in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            "(claiming: x|\n|Build URL: |https://ci|/teams/|/pipelines/|/jobs/|/builds/|[0-9]{1,3}|%|[?]vars.a=|one-off build |a/b/c build |\u{7f}| ){0,30}"
                .prop_map(String::into_bytes),
        ]
    ) {
        if let Maker::Build(build) = Maker::read(&message) {
            prop_assert!(!build.to_string().contains(char::is_control));
        }
    }
}

#[test]
fn a_job_of_gitlab_is_known_by_its_page_and_its_numbers() {
    let message = |url: &str, numbers: &str| {
        format!(
            "GitLab ops/web deploy #7 claiming: env-1\n\nBuild URL: {url}\n\nPool-Build: {numbers}\n"
        )
    };
    let read = |url: &str, numbers: &str| Maker::read(message(url, numbers).as_bytes());
    let page = "https://u:p@gitlab.example/git/ops/web/-/jobs/7?x#y";

    let Maker::Job(job) = read(page, "gitlab:42/99/7") else {
        panic!("no job");
    };

    assert_eq!(
        job.page.as_str(),
        "https://gitlab.example/git/ops/web/-/jobs/7"
    );
    assert_eq!((job.id, job.of), (7, Some((42, 99))));
    assert_eq!(job.to_string(), "GitLab git/ops/web job #7");
    for (home, expected) in [
        ("https://gitlab.example/git", Some("ops/web")),
        ("https://gitlab.example/git/", Some("ops/web")),
        ("https://gitlab.example", Some("git/ops/web")),
        ("https://gitlab.example/gi", None),
        ("http://gitlab.example/git", None),
        ("https://gitlab.example:8443/git", None),
        ("https://other.example/git", None),
    ] {
        let found = job.project_below(&Url::parse(home).unwrap());
        assert_eq!(found.as_deref(), expected, "{home}");
    }
    assert!(matches!(
        read(page, "4711"),
        Maker::Job(Job { of: None, .. })
    ));
    for (url, numbers) in [
        (page, "gitlab:42/99/8"),
        (page, "gitlab:42/7"),
        ("https://gitlab.example/-/jobs/7", "gitlab:42/99/7"),
        ("https://gitlab.example/ops/web/-/jobs/x", "gitlab:42/99/7"),
        (
            "https://gitlab.example/ops/web/-/pipelines/7",
            "gitlab:42/99/7",
        ),
        ("ftp://gitlab.example/ops/web/-/jobs/7", "gitlab:42/99/7"),
        ("", "gitlab:42/99/7"),
    ] {
        assert!(
            matches!(read(url, numbers), Maker::Unknown(_)),
            "{url} {numbers}"
        );
    }
    assert_eq!(
        job::numbers("42", "99", "7").as_deref(),
        Some("gitlab:42/99/7")
    );
    assert_eq!(job::numbers("ops/web", "99", "7"), None);
}

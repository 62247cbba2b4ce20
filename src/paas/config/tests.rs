#![allow(clippy::unwrap_used)]

use super::*;

fn read(text: &str) -> Result<Config, ConfigError> {
    Config::read(text, None)
}

const CLEVER: &str = r#"
state_file = "/s"
[[runners]]
name = "one"
url = "https://git.example/sub/"
token = "glrt-t1_abcdefghijkl"
executor = "clever-docker"
cc_orga_id = "orga_1"
cc_token = "MARKER"
"#;

fn clever(more: &str) -> Clever {
    let config = read(&format!("{CLEVER}{more}")).unwrap();
    match config.runners[0].executor.clone() {
        Executor::Clever(clever) => *clever,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_not_said_has_the_defaults_of_the_original() {
    let config = read(CLEVER).unwrap();

    assert_eq!((config.concurrent, config.keeps_resources), (1, false));
    assert_eq!(config.most_provisioning, 10);
    let runner = &config.runners[0];
    assert_eq!(runner.api.url().as_str(), "https://git.example/sub/api/v4");
    assert_eq!(
        (&runner.short[..], &runner.image[..]),
        ("abcdefgh", MAIN_IMAGE)
    );
    assert_eq!(runner.limit, None);
    let clever = clever("");
    assert_eq!(clever.api.as_str(), "https://api.clever-cloud.com/v2");
    assert_eq!(
        (clever.zones, clever.flavors),
        (vec!["par".to_owned()], vec!["M".to_owned()])
    );
    assert_eq!(clever.flavor_context, "heptapod-runner");
    assert_eq!(clever.flavor_prefix, "heptapod-runner-");
    assert_eq!(clever.auth_user, "Jenkins");
    assert_eq!(clever.variant, "70d676a0-a775-4dc9-a43d-3121036e8515");
    assert!(
        matches!(clever.tenancy, Tenancy::One { organisation, .. } if organisation == "orga_1")
    );
}

#[test]
fn every_key_of_clever_cloud_is_read() {
    let clever = clever(
        r#"
        cc_api_url = "http://127.0.0.1:1/v2/"
        cc_zone = ["par", "rbx"]
        cc_default_flavor = "XL"
        cc_flavor_context = "c"
        cc_auth_user = "me"
        cc_instance_variant_uuid = "v"
        cc_multi_tenant = true
        cc_gitlab_namespace_attributes_token = "MARKER"
        cc_orga_id_attribute = "i"
        cc_orga_token_attribute = "t"
        [runners.cc_extra_env]
        A = "b"
        N = 7
        "#,
    );

    assert_eq!(clever.api.as_str(), "http://127.0.0.1:1/v2");
    assert_eq!(clever.zones, ["par", "rbx"]);
    assert_eq!(clever.flavor_prefix, "c-");
    assert_eq!(
        clever.extra_env,
        [
            ("A".to_owned(), "b".to_owned()),
            ("N".to_owned(), "7".to_owned())
        ]
    );
    let Tenancy::Many {
        id_attribute,
        token_attribute,
        ..
    } = clever.tenancy
    else {
        panic!()
    };
    assert_eq!((&id_attribute[..], &token_attribute[..]), ("i", "t"));
}

#[test]
fn the_inner_runner_gets_what_is_not_for_us_as_it_was_written() {
    let text = format!(
        "concurrent = 3\n{CLEVER}\nheptapod_runner_main_image = \"x\"\nlimit = 2\nhost = \"kept\"\n\
         environment = [\"A=b\"]\ntls-ca-file = \"/here\"\n[runners.docker]\nvolumes = [\"/a\", \"/b\"]\n\
         [runners.cache.s3]\nBucket = \"b\"\n"
    );
    let config = read(&text).unwrap();

    let forwarded: Table = config.runners[0].forwarded.parse().unwrap();

    let expected: Table = r#"
        [[runners]]
        name = "one"
        url = "https://git.example/sub/"
        token = "glrt-t1_abcdefghijkl"
        executor = "docker"
        limit = 2
        host = "kept"
        environment = ["A=b"]
        [runners.docker]
        volumes = ["/a", "/b"]
        [runners.cache.s3]
        Bucket = "b"
    "#
    .parse()
    .unwrap();
    assert_eq!(forwarded, expected);
}

#[test]
fn local_docker_drops_its_host_and_has_it_from_the_environment_too() {
    let text = |more: &str| {
        format!(
            "state_file='s'\n[[runners]]\nurl='http://h'\ntoken='abcdefghij'\nexecutor='local-docker'\ncc_zone='x'\n{more}"
        )
    };
    let socket = |text: &str, env: Option<&str>| {
        Config::read(text, env).map(|config| match &config.runners[0].executor {
            Executor::Local { socket } => socket.clone(),
            _ => panic!(),
        })
    };
    let written = text("host='unix:///one'");

    assert_eq!(socket(&written, Some("unix:///two")), Ok("/one".into()));
    assert_eq!(socket(&text(""), Some("unix:///two")), Ok("/two".into()));
    assert_eq!(
        socket(&text(""), Some("")),
        Ok("/var/run/docker.sock".into())
    );
    for host in ["tcp://h:1", "unix://relative", "ssh://h"] {
        assert!(socket(&text(""), Some(host)).is_err(), "{host}");
    }
    let config = Config::read(&written, None).unwrap();
    let forwarded: Table = config.runners[0].forwarded.parse().unwrap();
    assert_eq!(forwarded["runners"][0]["cc_zone"].as_str(), Some("x"));
    assert!(forwarded["runners"][0].get("host").is_none());
}

#[test]
fn what_is_wrong_is_named_and_no_token_is_shown() {
    let runner = "[[runners]]\nurl = 'http://h'\ntoken = 'MARKER12'\n";
    for (text, named) in [
        ("", "`state_file`"),
        ("state_file = 's'", "`runners`"),
        ("state_file = 7", "`state_file`"),
        ("state_file = 's'\nrunners = 3", "`runners`"),
        ("state_file = 's'\ntoken = 'MARKER\n", "line 2"),
        ("state_file = 's'\nconcurrent = 0\n[[runners]]\n", "`url`"),
        (&format!("state_file='s'\n{runner}"), "runner 1: `executor`"),
        (
            &format!("state_file='s'\n{runner}executor = 'MARKER'"),
            "clever-docker, local-docker, custom-docker",
        ),
        (
            &format!("state_file='s'\n{runner}executor = 'clever-docker'"),
            "`cc_orga_id`",
        ),
        (
            &format!("state_file='s'\n{runner}executor = 'custom-docker'"),
            "`provider`",
        ),
        (
            &format!("state_file='s'\n{runner}executor = 'local-docker'\nlimit = -1"),
            "`limit`",
        ),
        (
            &format!(
                "state_file='s'\n{runner}executor = 'local-docker'\n{runner}executor = 'local-docker'"
            ),
            "runner 2: `token`",
        ),
        (
            &format!("concurrent=0\nstate_file='s'\n{runner}executor = 'local-docker'"),
            "`concurrent`",
        ),
    ] {
        let err = read(text).unwrap_err().to_string();
        assert!(err.contains(named), "{err}");
        assert!(!err.contains("MARKER"), "{err}");
    }
    assert!(!format!("{:?}", read(CLEVER).unwrap().runners[0].executor).contains("MARKER"));
}

#[test]
fn mixed_lists_and_keys_of_later_releases_are_accepted() {
    let config = read(&format!(
        "concurrency = 4\ncheck_interval = 5\njob_progress_poll_interval = 0.5\n\
         paas_max_concurrent_provisioning = 3\n{CLEVER}cc_max_flavor = \"XL\"\nmixed = [1, \"a\"]\n\
         [quota_computation]\nreference_jobs_count = 50\n"
    ))
    .unwrap();

    assert_eq!(config.check_interval, Some(Duration::from_secs(5)));
    assert_eq!(config.progress_interval, Some(Duration::from_millis(500)));
    assert_eq!(config.most_provisioning, 3);
    assert_eq!(config.notes.len(), 2, "{:?}", config.notes);
}

#[test]
fn runners_are_told_apart_by_url_and_whole_token() {
    let runner = |url: &str, token: &str| {
        format!("[[runners]]\nurl='{url}'\ntoken='{token}'\nexecutor='local-docker'\n")
    };
    let config = read(&format!(
        "concurrent=9\nstate_file='s'\n{}{}{}",
        runner("http://a", "glrt-t1_sameeight1"),
        runner("http://b", "glrt-t1_sameeight1"),
        runner("http://a", "glrt-t1_sameeight2"),
    ))
    .unwrap();

    let ids: std::collections::BTreeSet<&str> =
        config.runners.iter().map(|one| &one.id[..]).collect();
    assert_eq!(ids.len(), 3);
    assert!(config.runners.iter().all(|one| one.short == "sameeigh"));
}

#[test]
fn the_short_name_is_of_the_part_of_the_token_that_is_its_own() {
    for (token, short) in [
        ("abcdefghij", "abcdefgh"),
        ("glrt-abcdefghij", "abcdefgh"),
        ("glrt-t3_abcdefghij", "abcdefgh"),
        ("glrt-tx_abcdefghij", "tx_abcde"),
        ("ab", "ab"),
    ] {
        assert_eq!(short_of(token), short);
    }
}

//! What commits say of the build that made them.

use serde_json::json;

use support::{Step, TestRemote};

/// The message of a claim made with these variables in the environment.
fn said_with(variables: &[(&str, &str)]) -> String {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let step = variables
        .iter()
        .fold(Step::on(&remote, "aws"), |step, (name, value)| {
            step.env(name, *value)
        });
    let version = step.put(json!({"acquire": true})).version();
    remote.fsck();
    remote.said(&version)
}

/// The variables of a build of a job, and more of them.
fn in_job<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut all = vec![
        ("BUILD_ID", "4711"),
        ("BUILD_NAME", "12"),
        ("BUILD_JOB_NAME", "deploy"),
        ("BUILD_PIPELINE_NAME", "web"),
        ("BUILD_TEAM_NAME", "ops"),
    ];
    all.extend(more);
    all
}

#[test]
fn a_build_of_a_job_is_named_with_team_pipeline_and_job() {
    assert_eq!(
        said_with(&in_job(&[])),
        "ops/web/deploy build 12 claiming: env-1\n\nPool-Request: ID\nPool-Build: 4711"
    );
}

#[test]
fn every_operation_names_the_build() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let step = Step::on(&remote, "aws").in_build();
    let files: [(&str, &[u8]); 2] = [("lock/name", b"env-2"), ("lock/metadata", b"1")];
    let changed: [(&str, &[u8]); 2] = [("lock/name", b"env-2"), ("lock/metadata", b"2")];

    for (params, files, verb) in [
        (json!({"add_claimed": "lock"}), files, "adding claimed"),
        (json!({"release": "lock"}), files, "unclaiming"),
        (json!({"update": "lock"}), changed, "updating"),
        (json!({"claim": "env-2"}), files, "claiming"),
        (json!({"remove": "lock"}), files, "removing"),
        (json!({"add": "lock"}), files, "adding unclaimed"),
    ] {
        let version = step.put_with(params, &files).version();

        // Only a claim is asked about later.
        let id = match verb {
            "claiming" | "adding claimed" => "\nPool-Build: 4711",
            _ => "",
        };
        assert_eq!(
            remote.said(&version),
            format!(
                "ops/web/deploy build 12 {verb}: env-2\n\n\
                 Build URL: https://ci.example.com/teams/ops/pipelines/web/jobs/deploy/builds/12\n\n\
                 Pool-Request: ID{id}"
            )
        );
    }
}

#[test]
fn a_one_off_build_is_named_by_its_id() {
    let one_off = [("BUILD_ID", "4711"), ("BUILD_TEAM_NAME", "ops")];
    let mut reachable = one_off.to_vec();
    reachable.push(("ATC_EXTERNAL_URL", "https://ci.example.com"));

    assert_eq!(
        said_with(&one_off),
        "one-off build 4711 claiming: env-1\n\nPool-Request: ID\nPool-Build: 4711"
    );
    assert_eq!(
        said_with(&reachable),
        "one-off build 4711 claiming: env-1\n\n\
         Build URL: https://ci.example.com/builds/4711\n\n\
         Pool-Request: ID\nPool-Build: 4711"
    );
}

#[test]
fn outside_of_concourse_no_build_is_named() {
    assert_eq!(said_with(&[]), "claiming: env-1\n\nPool-Request: ID");
}

#[test]
fn empty_variables_count_as_none() {
    let empty = [
        "BUILD_ID",
        "BUILD_NAME",
        "BUILD_JOB_NAME",
        "BUILD_PIPELINE_NAME",
        "BUILD_TEAM_NAME",
        "BUILD_PIPELINE_INSTANCE_VARS",
        "ATC_EXTERNAL_URL",
        "BUILD_URL",
    ]
    .map(|name| (name, ""));

    assert_eq!(said_with(&empty), "claiming: env-1\n\nPool-Request: ID");
}

#[test]
fn the_address_of_the_server_is_enough_for_the_build_s_page() {
    for server in ["https://ci.example.com", "https://ci.example.com/"] {
        assert_eq!(
            said_with(&in_job(&[("ATC_EXTERNAL_URL", server)])),
            "ops/web/deploy build 12 claiming: env-1\n\n\
             Build URL: https://ci.example.com/teams/ops/pipelines/web/jobs/deploy/builds/12\n\n\
             Pool-Request: ID\nPool-Build: 4711"
        );
    }
}

#[test]
fn the_build_s_own_address_wins() {
    let job = in_job(&[
        ("ATC_EXTERNAL_URL", "https://ci.example.com"),
        ("BUILD_URL", "https://other.example.com/b/1?x=y z"),
    ]);
    let one_off = [("BUILD_ID", "1"), ("BUILD_URL", "https://x/builds/1")];

    assert_eq!(
        said_with(&job),
        "ops/web/deploy build 12 claiming: env-1\n\n\
         Build URL: https://other.example.com/b/1?x=y z\n\n\
         Pool-Request: ID\nPool-Build: 4711"
    );
    assert_eq!(
        said_with(&one_off),
        "one-off build 1 claiming: env-1\n\nBuild URL: https://x/builds/1\n\nPool-Request: ID\nPool-Build: 1"
    );
}

#[test]
fn each_part_of_a_composed_address_is_percent_encoded() {
    let said = said_with(&[
        ("BUILD_ID", "4711"),
        ("BUILD_NAME", "12.1"),
        ("BUILD_JOB_NAME", "a/b?c#d"),
        ("BUILD_PIPELINE_NAME", "über web"),
        ("BUILD_TEAM_NAME", "100%"),
        ("ATC_EXTERNAL_URL", "https://ci.example.com/sub/"),
    ]);

    assert_eq!(
        said,
        "100%/über web/a/b?c#d build 12.1 claiming: env-1\n\n\
         Build URL: https://ci.example.com/sub/teams/100%25/pipelines/%C3%BCber%20web/jobs/a%2Fb%3Fc%23d/builds/12.1\n\n\
         Pool-Request: ID\nPool-Build: 4711"
    );
}

#[test]
fn instance_vars_are_in_a_trailer_and_in_a_composed_address() {
    let vars = r#"{"branch":"feature/x","count":3,"nested":{"a":true}}"#;
    let instance = ("BUILD_PIPELINE_INSTANCE_VARS", vars);

    assert_eq!(
        said_with(&in_job(&[instance])),
        format!(
            "ops/web/deploy build 12 claiming: env-1\n\n\
             Pool-Request: ID\nPool-Build: 4711\nPool-Instance-Vars: {vars}"
        )
    );

    let said = said_with(&in_job(&[
        instance,
        ("ATC_EXTERNAL_URL", "https://ci.example.com"),
    ]));
    let url = said
        .lines()
        .find_map(|line| line.strip_prefix("Build URL: "))
        .unwrap();
    let url: url::Url = url.parse().unwrap();
    assert_eq!(url.path(), "/teams/ops/pipelines/web/jobs/deploy/builds/12");
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(
        pairs,
        [
            pair("vars.branch", r#""feature/x""#),
            pair("vars.count", "3"),
            pair("vars.nested", r#"{"a":true}"#),
        ]
    );
    let end = format!("\n\nPool-Request: ID\nPool-Build: 4711\nPool-Instance-Vars: {vars}");
    assert!(said.ends_with(&end), "{said}");
}

#[test]
fn a_claim_is_told_between_the_request_and_the_instance_vars() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let step = Step::on(&remote, "aws").env("BUILD_PIPELINE_INSTANCE_VARS", "{\"a\":1}");
    let claim = step.put(json!({"acquire": true})).version();
    let (_, folder) = step.get(&claim);

    let released = step.put_folder("release", &folder).version();

    assert_eq!(
        remote.said(&released),
        format!(
            "unclaiming: env-1\n\n\
             Pool-Request: ID\nPool-Claim: {claim}\nPool-Instance-Vars: {{\"a\":1}}"
        )
    );
}

#[test]
fn git_reads_the_trailers() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let step = Step::on(&remote, "aws")
        .in_build()
        .env("BUILD_PIPELINE_INSTANCE_VARS", "{\"a\":1}");
    let claim = step.put(json!({"acquire": true})).version();
    let (_, folder) = step.get(&claim);

    let released = step.put_folder("release", &folder).version();

    let keys = "--format=%(trailers:keyonly)";
    let keys = remote.git(&["log", "-1", keys, &released]);
    assert_eq!(
        keys.trim(),
        "Pool-Request\nPool-Claim\nPool-Number\nPool-Instance-Vars"
    );
    let claims = "--format=%(trailers:key=Pool-Claim,valueonly)";
    assert_eq!(remote.git(&["log", "-1", claims, &released]).trim(), claim);
}

#[test]
fn every_request_has_an_id_of_its_own() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2", "env-3"]);
    let step = Step::on(&remote, "aws").in_build();

    for _ in 0..3 {
        step.put(json!({"acquire": true})).version();
    }

    let format = "--format=%(trailers:key=Pool-Request,valueonly,separator=)";
    let log = remote.git(&["log", "-3", format, remote.branch()]);
    let mut ids: Vec<&str> = log.lines().collect();
    assert!(ids.iter().all(|id| id.len() == 36), "{ids:?}");
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 3);
}

#[test]
fn no_variable_can_forge_a_line() {
    let forged = "x\nPool-Claim: 0\r\n\r\nPool-Claim: 1\u{1b}[31m";

    let said = said_with(&[
        ("BUILD_ID", forged),
        ("BUILD_NAME", forged),
        ("BUILD_JOB_NAME", forged),
        ("BUILD_PIPELINE_NAME", forged),
        ("BUILD_TEAM_NAME", forged),
        ("BUILD_PIPELINE_INSTANCE_VARS", forged),
        ("BUILD_URL", forged),
    ]);

    let starts: Vec<&str> = said
        .lines()
        .map(|line| line.split(' ').next().unwrap())
        .collect();
    assert_eq!(
        starts,
        [
            "x",
            "",
            "Build",
            "",
            "Pool-Request:",
            "Pool-Build:",
            "Pool-Instance-Vars:"
        ]
    );
    assert!(said.lines().next().unwrap().ends_with(" claiming: env-1"));
    assert!(!said.contains('\u{1b}'));
}

#[test]
fn what_a_shell_would_run_is_taken_literally() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let marker = remote.root().join("marker");
    let hostile = format!("'\"; touch {0}; $(touch {0}) `touch {0}`", marker.display());
    let step = Step::on(&remote, "aws")
        .env("BUILD_ID", "1")
        .env("BUILD_NAME", "1")
        .env("BUILD_JOB_NAME", hostile.as_str());

    let version = step.put(json!({"acquire": true})).version();

    assert_eq!(
        remote.said(&version),
        format!("{hostile} build 1 claiming: env-1\n\nPool-Request: ID\nPool-Build: 1")
    );
    assert!(!marker.exists());
}

#[test]
fn broken_variables_do_not_stop_a_put() {
    let said = said_with(&in_job(&[
        ("ATC_EXTERNAL_URL", "not an address"),
        ("BUILD_PIPELINE_INSTANCE_VARS", "not json"),
    ]));

    assert_eq!(
        said,
        "ops/web/deploy build 12 claiming: env-1\n\n\
         Pool-Request: ID\nPool-Build: 4711\nPool-Instance-Vars: not json"
    );
}

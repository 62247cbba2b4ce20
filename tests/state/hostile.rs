//! Values and templates that want to do harm; sizes; secrets.

use support::server::echo::Echo;
use support::server::redis::RedisServer;

use crate::project::{COPIES, Project, REDIS_PASSWORD, answer, events, redis_source};

/// What is sourced from the shell file, between marks.
const VALUES: [&str; 14] = [
    "\"; touch pwned; \"",
    "$(touch pwned)",
    "`touch pwned`",
    "${IFS}touch pwned",
    "\\\"; touch pwned; \\\"",
    "\\",
    "\\\\$(touch pwned)",
    "a\n touch pwned\nb",
    "'; touch pwned; '",
    "!!",
    "~ * ? [a] {b,c}",
    "$CICD_state__v0 $HOME $$",
    "&& touch pwned",
    "\r\n\t\u{1b}[2J ü 😀",
];

#[test]
fn what_is_sourced_runs_nothing_and_is_what_was_set_c5() {
    let project = Project::new(
        "yamlfile: {path: data.yaml, isPrimary: true}\n    shellfile: {path: data.sh}",
    );
    project.init();
    for (n, value) in VALUES.iter().enumerate() {
        let json = serde_json::to_string(value).unwrap();
        project.ok(&["--set-json", &format!("state.v{n}={json}")]);
    }
    // Keys are values too.
    project.ok(&["--set-json", r#"state.keys={"a; touch pwned;": "x", "$(touch pwned)": "y", "k=v\n touch pwned": ["z"], "\n": 1}"#]);

    for shell in ["sh", "bash", "bash --posix"] {
        for (n, value) in VALUES.iter().enumerate() {
            let script = format!(". ./data.sh && printf '%s.' \"$CICD_state__v{n}\"");
            let words: Vec<&str> = shell.split(' ').chain(["-c", &script]).collect();
            let got = answer(&mut project.command(words[0], &words[1..]));
            assert_eq!(
                (got.code, got.stderr.as_str()),
                (Some(0), ""),
                "{shell} {n}"
            );
            assert_eq!(got.stdout, format!("{value}."), "{shell} {n}");
        }
    }
    assert!(!project.path("pwned").exists());
    // As dotenv, too.
    let dotenv = project.ok(&["--get", "state.v0", "--output", "dotenv"]);
    assert_eq!(dotenv, "state_v0=\"\\\"; touch pwned; \\\"\"\n");
}

#[test]
fn falsy_leaves_are_left_out_and_lists_are_numbered_in_the_shell_file_c5() {
    let project = Project::new(
        "yamlfile: {path: d.yaml, isPrimary: true}\n    shellfile: {path: d.sh, excludeKeyNames: [appPipelinesConfig, pipelines]}",
    );
    project.init();
    project.ok(&["--set-json", r#"state.l=[1, [2, 3], {"a": 0, "b": true}]"#]);

    let text = project.read("d.sh");

    for line in [
        "CICD_numbers__0=\"1\"",
        "CICD_x_y__z_w=\"quoted\"",
        "CICD_truth=\"True\"",
        "CICD_state__l__0=\"1\"",
        "CICD_state__l__1=\"[2, 3]\"",
        "CICD_state__l__2__b=\"True\"",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}: {text}");
    }
    for name in [
        "CICD_zero",
        "CICD_nothing",
        "CICD_falsehood",
        "CICD_empty",
        "CICD_state__l__2__a",
        "pipelines",
    ] {
        assert!(!text.contains(name), "{name}: {text}");
    }
    let answer = project.run(&["--set-json", r#"state.two={"a b": "1", "a-b": "2"}"#]);
    assert!(
        answer
            .stderr
            .contains("`CICD_state__two__a_b` stands for several values"),
        "{}",
        answer.stderr
    );
}

#[test]
fn values_of_several_lines_and_sizes_fit_their_readers_or_are_refused() {
    let project = Project::simple();
    project.init();
    project.ok(&[
        "--set-json",
        r#"state.lines="a\nEND\nb""#,
        "--set-json",
        &format!("state.long=\"{}\"", "x".repeat(5000)),
    ]);

    project.fails(
        &["--get", "state.lines", "--output", "dotenv"],
        "has several lines",
    );
    let github = project.ok(&["--get", "state.lines", "--output", "github"]);
    assert_eq!(github, "state_lines<<END_\na\nEND\nb\nEND_\n");
    assert_eq!(
        project.ok(&["--get", "state.lines", "--output", "tekton"]),
        "a\nEND\nb"
    );
    project.fails(
        &["--get", "state.long", "--output", "tekton"],
        "the value has 5000 bytes",
    );
    project.ok(&["--set-json", r#"state.same={"a b": 1, "a-b": 2}"#]);
    project.fails(
        &["--get", "state.same", "--output", "github"],
        "two values would be called `a_b`",
    );
}

#[test]
fn templates_run_nothing_and_read_nothing_and_end() {
    let project = Project::simple();
    project.init();
    for template in [
        "{{ cycler.__init__.__globals__.os.popen('touch pwned').read() }}",
        "{% include '/etc/passwd' %}",
        "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
        "{% set ns = namespace(s='xxxxxxxx') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
        "{{ 'x' * 10000000000 }}",
        "{{ '%9999999999d'|format(1) }}",
        "{{ 'a'|indent(width=9999999999, first=true) }}",
        "{{ lipsum(9999999999) }}",
    ] {
        project.ok(&[
            "--set-json",
            &format!("state.t={}", serde_json::to_string(template).unwrap()),
        ]);

        let got = project.run(&["--get", "state.t"]);
        assert!(!got.stdout.contains("root:"), "{template}");
        // A template that takes all memory that a process may have ends it.
        assert!(got.stdout.len() < 1_000_000, "{template}");
        assert!(!project.path("pwned").exists());
    }
    assert_eq!(project.get("appName"), "web");
}

#[test]
fn captured_texts_name_no_files_and_set_no_ids_c13() {
    let echo = Echo::start();
    let project = Project::with_events(&echo);
    project.init();
    for text in ["file:///etc/hostname", "a|state.pwned=1"] {
        echo.says(
            200,
            &serde_json::json!({"json": {"text": text}, "ts": "1"}).to_string(),
        );
        project.ok(&["--handle-event", "build=notify"]);
        assert_eq!(project.get("state.said"), text);
        assert_eq!(project.get("state.pwned"), "");
    }
    project.ok(&[
        "--get",
        "template1",
        "--tmpl-ctx-var",
        "tmplctx.prop1=file:///etc/hostname",
    ]);
    let printed = project.ok(&[
        "--get",
        "template1",
        "--tmpl-ctx-var",
        "tmplctx.prop1=file:///etc/hostname",
    ]);
    assert_eq!(printed, "file:///etc/hostname\n");
}

#[test]
fn a_large_document_is_no_matter_and_a_deep_one_is_refused() {
    let project =
        Project::new("yamlfile: {path: d.yaml, isPrimary: true}\n    jsonfile: {path: d.json}");
    project.init();
    let keys: Vec<String> = (0..100_000)
        .map(|n| format!("\"key-{n}\": \"value {n} {}\"", "x".repeat(80)))
        .collect();
    project.write("large.json", &format!("{{{}}}", keys.join(", ")));
    assert!(project.read("large.json").len() > 10_000_000);

    project.ok(&["--set", "state.large=file://large.json"]);
    assert!(
        project
            .get("state.large.key-99999")
            .starts_with("value 99999 ")
    );
    project.ok(&["--set", "state.large.key-5=new {{ state.large['key-6'] }}"]);
    assert!(project.get("state.large.key-5").starts_with("new value 6 "));
    let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
    project.ok(&["--set-json", &format!("state.deep={}", nested(90))]);
    project.fails(
        &["--set-json", &format!("state.deep={}", nested(120))],
        "nested more than 100 levels deep",
    );
    project.fails(
        &["--set-json", &format!("state.deep={}", nested(30_000))],
        "cannot be read",
    );
    project.fails(
        &["--set", &format!("state.{}x=1", "a.".repeat(200))],
        "at most 100 levels deep",
    );
    project.write("deep.yaml", &("a: ".to_owned() + &nested(50_000)));
    project.ok(&["--set", "state.text=file://deep.yaml"]);
    project.write(
        "app.yaml",
        &("cicd-contexts: ".to_owned() + &nested(50_000)),
    );
    project.fails(&["--init-new", "run-1"], "cannot read the app file");
    let bomb: String = (1..30)
        .map(|n| {
            format!(
                "a{n}: &a{n} [{}]\n",
                vec![format!("*a{}", n - 1); 9].join(",")
            )
        })
        .collect();
    project.write("app.yaml", &format!("a0: &a0 [x]\n{bomb}"));
    project.fails(&["--init-new", "run-1"], "more than 3000000 values");
}

#[test]
fn secrets_are_in_no_log_no_error_no_document_and_no_other_hosts_request() {
    let (redis, echo) = (RedisServer::start(REDIS_PASSWORD), Echo::start());
    let sources = redis_source(&redis) + COPIES;
    let project = Project::with_config(&sources, &events(&echo)).with_redis_password();
    let mut told = String::new();
    let mut run = |args: &[&str]| {
        let got = project.run(&[&["--log-payloads"], args].concat());
        told += &(got.stderr + &got.stdout);
    };
    run(&["--init-new", "run-1", "--set", "state.k=v"]);
    let url = format!("state.url={}", echo.url("/hook"));
    for event in ["notify", "trigger", "choice", "respond", "set"] {
        let event = format!("build={event}");
        run(&["--handle-event", &event, "--set", &url]);
        // Who echoes all that they get: what a log shows of a failure would have the token in it.
        for header in ["Bearer MARKER-slack-token", "MARKER-trigger-token"] {
            echo.says(500, &format!("{{\"you said\": \"{header}\"}}"));
            run(&["--handle-event", &event]);
        }
    }
    run(&["--get", "$"]);
    run(&["--set", "broken"]);
    for file in ["data.yaml", "data.json", "data.sh"] {
        told += &project.read(&format!("local/{file}"));
    }
    told += &redis.cli(&["get", "run-1"]);
    drop(redis);
    let mut command = project.command(
        "timeout",
        &["3", support::path_of("cicdstatemgr"), "--load"],
    );
    told += &answer(&mut command).stderr;

    assert!(
        !told.contains("MARKER"),
        "{}",
        told.split("MARKER")
            .next()
            .unwrap()
            .chars()
            .rev()
            .take(300)
            .collect::<String>()
    );
    for heard in echo.take() {
        let text = format!("{heard:?}");
        assert_eq!(
            text.contains("MARKER-slack-token"),
            heard.path != "/trigger",
            "{text}"
        );
        assert_eq!(
            text.contains("MARKER-trigger-token"),
            heard.path == "/trigger",
            "{text}"
        );
    }
}

//! The example scripts of the original, told anew: the same steps, and what they check.

use support::server::echo::Echo;
use support::server::redis::RedisServer;

use crate::project::{COPIES, Project, REDIS_PASSWORD, answer, events, redis_source};

struct Example {
    project: Project,
    redis: RedisServer,
    echo: Echo,
}

impl Example {
    fn new() -> Example {
        let (redis, echo) = (RedisServer::start(REDIS_PASSWORD), Echo::start());
        let sources = redis_source(&redis) + COPIES;
        let project = Project::with_config(&sources, &events(&echo)).with_redis_password();
        Example {
            project,
            redis,
            echo,
        }
    }
}

#[test]
fn init_new_writes_to_all_data_sources_c2_c4_c5_c9() {
    let example = Example::new();
    let (project, redis) = (&example.project, &example.redis);

    let printed = project.ok(&[
        "--init-new",
        "run-1",
        "--set",
        "state.key1=value 1|state.key2=b",
    ]);

    assert_eq!(printed, "run-1\n");
    assert!(redis.cli(&["get", "run-1"]).contains("\n  key1: value 1\n"));
    assert_eq!(redis.cli(&["ttl", "run-1"]), "-1");
    assert_eq!(redis.cli(&["dbsize"]), "1");
    assert_eq!(project.read("local/id"), "run-1");
    assert_eq!(project.json("local/data.json")["state"]["key1"], "value 1");
    assert!(
        project
            .read("local/data.yaml")
            .contains("\n  key1: value 1\n")
    );
    let source = ". ./local/data.sh; printf %s \"$CICD_state__key1\"";
    assert_eq!(
        answer(&mut project.command("sh", &["-c", source])).stdout,
        "value 1"
    );
    assert!(!project.read("local/data.sh").contains("appPipelinesConfig"));
}

#[test]
fn get_renders_with_variables_of_the_context_c11() {
    let example = Example::new();
    let project = &example.project;
    project.ok(&["--init-new", "run-1", "--set", "state.key1=value1"]);
    let get = |variable: &str| project.ok(&["--get", "template1", "--tmpl-ctx-var", variable]);

    assert_eq!(get("tmplctx.prop1=state.key1"), "value1\n");
    project.ok(&["--set", "state.key1=other"]);
    assert_eq!(get("tmplctx.prop1=state.key1"), "other\n");
    assert_eq!(get("tmplctx.prop1=some text"), "some text\n");
    assert_eq!(get("tmplctx.prop1=a=b=c"), "a=b=c\n");
    assert_eq!(get("tmplctx.prop1=numbers"), "[1, 2, 3]\n");
    let failed = project.ok(&["--get", "template1"]);
    assert_eq!(failed, "<jinja2 parse error> {{ tmplctx.prop1 }}\n");
}

#[test]
fn set_takes_texts_files_lists_and_sets_c12_c13() {
    let example = Example::new();
    let project = &example.project;
    project.init();
    project.write("list.json", r#"[{"a": 1}, {"a": 2}]"#);
    project.write("map.json", r#"{"m": {"n": "o"}}"#);
    project.write("map.yaml", "m:\n  n: [p, q]\n");
    project.write("raw.txt", "any: : text\n");

    project.ok(&["--set", "state.a=1|state.b=2", "--set", "state.c=3"]);
    for (name, file) in [
        ("raw", "raw.txt"),
        ("list", "list.json"),
        ("json", "map.json"),
        ("yaml", "map.yaml"),
    ] {
        project.ok(&["--set", &format!("state.{name}=file://{file}")]);
    }
    for items in ["a", "b", "c,d"] {
        project.ok(&[
            "--set",
            &format!("state.append[]={items}"),
            "--set",
            &format!("state.once{{}}={items}"),
        ]);
        project.ok(&["--set", &format!("state.once{{}}={items}")]);
    }

    for (path, printed) in [
        ("state.a", "1"),
        ("state.b", "2"),
        ("state.c", "3"),
        ("state.raw", "any: : text"),
        ("state.list[1].a", "2"),
        ("state.json.m.n", "o"),
        ("state.yaml.m.n[1]", "q"),
        ("state.append", r#"["a", "b", "c", "d"]"#),
        ("state.once", r#"["a", "b", "c", "d"]"#),
    ] {
        assert_eq!(project.get(path), printed, "{path}");
    }
    project.ok(&["--set", "state.append[]=[]"]);
    assert_eq!(project.get("state.append"), "[]");
    project.ok(&["--set", "state.append[]=x"]);
    assert_eq!(project.get("state.append"), r#"["x"]"#);
}

#[test]
fn load_makes_the_local_files_again_c10() {
    let example = Example::new();
    let (project, echo) = (&example.project, &example.echo);
    project.init();
    std::fs::remove_dir_all(project.path("local")).unwrap();

    project.ok(&["--load"]);

    for file in ["data.yaml", "data.json", "data.sh", "id"] {
        assert!(project.path("local").join(file).exists(), "{file}");
    }
    project.ok(&[
        "--load",
        "--set",
        "state.k=v",
        "--handle-event",
        "build=notify",
    ]);
    assert_eq!(echo.take().len(), 1);
    assert_eq!(project.get("state.k"), "v");
    assert_eq!(project.get("state.slack.stage.ts"), "1606.7");
}

#[test]
fn handle_event_notify_sends_and_captures_c15() {
    let example = Example::new();
    let (project, echo) = (&example.project, &example.echo);
    project.init();

    let set = r#"state.k=it's "quoted" \ here"#;
    project.ok(&[
        "--handle-event",
        "build=notify",
        "--set",
        set,
        "--tmpl-ctx-var",
        "event.data=state.cicdContextName",
    ]);

    let heard = echo.take();
    assert_eq!(heard.len(), 1);
    let text = r#"say "it's "quoted" \ here" \ stage"#;
    assert_eq!(
        heard[0].json(),
        serde_json::json!({"channel": "#builds", "text": text})
    );
    assert_eq!(heard[0].path, "/slack");
    assert_eq!(
        heard[0].header("authorization"),
        Some("Bearer MARKER-slack-token")
    );
    assert_eq!(
        heard[0].header("content-type"),
        Some("application/json; charset=UTF-8")
    );
    assert_eq!(project.get("state.slack.stage.ts"), "1606.7");
    assert_eq!(project.json("local/data.json")["state"]["said"], text);
    assert_eq!(project.get("state.never"), "");
}

#[test]
fn handle_event_trigger_pipeline_posts_texts_c17() {
    let example = Example::new();
    let (project, echo) = (&example.project, &example.echo);
    project.init();

    project.ok(&["--handle-event", "build=trigger", "--set", "state.k=v"]);

    let heard = echo.take();
    assert_eq!(heard[0].path, "/trigger");
    assert_eq!(
        heard[0].body,
        r#"{"app": "web", "n": "7", "auto": "own v", "yes": "True"}"#
    );
    assert_eq!(heard[0].header("x-token"), Some("MARKER-trigger-token"));
    assert_eq!(heard[0].header("content-type"), Some("application/json"));
    assert_eq!(heard[0].header("authorization"), None);
}

#[test]
fn handle_event_manual_choice_has_generated_choices_c18() {
    let example = Example::new();
    let (project, echo) = (&example.project, &example.echo);
    project.init();

    project.ok(&["--handle-event", "build=choice", "--set", "state.k=v"]);

    let sent = echo.take()[0].json();
    assert_eq!(sent["title"], "deploy web?");
    assert_eq!(
        sent["choices"][0]["options"][0],
        serde_json::json!({"text": "go web", "value": "v", "style": "{{ raw }}"})
    );
    assert_eq!(
        sent["choices"][3]["options"][0]["value"],
        "item-three item3 desc"
    );
    assert_eq!(sent["choices"][3]["name"], "item-three");
    assert_eq!(
        project.get("state.choice"),
        r#"{"method": "POST", "path": "/slack"}"#
    );
}

#[test]
fn handle_event_set_values_reads_what_was_captured_c19() {
    let example = Example::new();
    let (project, echo) = (&example.project, &example.echo);
    project.init();
    project.ok(&["--set-json", r#"state.captured="{\"a\": {\"b\": \"c\"}}""#]);

    project.ok(&["--handle-event", "build=set"]);

    assert_eq!(project.get("state.first"), "c");
    assert_eq!(project.get("state.second"), "c again");
    assert_eq!(project.get("state.blank"), "");
    assert_eq!(project.get("state.second_config"), "");
    assert_eq!(project.get("state.list"), r#"["a", "b"]"#);
    assert!(echo.take().is_empty());
}

#[test]
fn handle_event_respond_posts_where_the_state_says_c16() {
    let example = Example::new();
    let (project, echo) = (&example.project, &example.echo);
    project.init();
    echo.says(200, "no JSON at all");

    let url = format!("state.url={}", echo.url("/hook"));
    project.ok(&[
        "--handle-event",
        "build=respond",
        "--set",
        &url,
        "--set",
        "state.k=v",
    ]);

    let heard = echo.take();
    assert_eq!(heard.len(), 1, "{heard:?}");
    assert_eq!(heard[0].path, "/hook");
    assert_eq!(
        heard[0].json(),
        serde_json::json!({"text": "done v", "more": "v!"})
    );
}

#[test]
fn handle_event_disabled_says_so_c20() {
    let example = Example::new();
    let (project, echo) = (&example.project, &example.echo);
    project.init();
    let url = format!("state.url={}", echo.url("/hook"));

    let answer = project.run(&["--handle-event", "build=off", "--set", &url]);

    assert_eq!(answer.code, Some(0));
    assert!(
        answer
            .stderr
            .contains("on_event_handler() notify enabled:False skipping....\n"),
        "{}",
        answer.stderr
    );
    // `enabled: true` beside named settings is no matter.
    assert_eq!(echo.take().len(), 1);
}

#[test]
fn generate_takes_the_branch_that_fits_c14() {
    let example = Example::new();
    let project = &example.project;
    project.init();
    let generate = [
        "--generate",
        "pipelines.build.generators.base",
        "--tmpl-ctx-var",
        "tmplctx.prop1=x",
    ];

    project.ok(&["--set", "state.distro=alpine"]);
    project.ok(&generate);
    assert_eq!(
        (project.get("state.image"), project.get("state.size")),
        ("alpine:3".to_owned(), "small x".to_owned())
    );
    project.ok(&["--set", "state.distro=centos"]);
    project.ok(&generate);
    assert_eq!(
        (project.get("state.image"), project.get("state.size")),
        ("centos:8".to_owned(), "200".to_owned())
    );

    project.ok(&["--generate", "pipelines.build.generators.nothing"]);
    project.fails(
        &["--generate", "pipelines.build.generators.wrong"],
        "must be a map, and is a text",
    );
    project.fails(
        &["--generate", "pipelines.*.generators.none"],
        "must lead to one value, and leads to 0",
    );
    project.fails(&["--generate", "numbers[*]"], "leads to 3");
    project.fails(&["--generate", "a b"], "cannot be read");
}

#[test]
fn the_simple_example_has_a_yaml_file_and_no_server_c3() {
    let project = Project::simple();

    project.ok(&["--init-new", "run-1", "--set", "state.key1=value1"]);
    project.ok(&["--set", "state.key2={{ state.key1 }} {{ extra }}"]);

    let printed = project.ok(&["--get", "state.key2", "--tmpl-ctx-var", "extra=more"]);
    assert_eq!(printed, "value1 more\n");
    assert!(project.read("data.yaml").starts_with("appName: web\n"));
}

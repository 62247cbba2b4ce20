#![allow(clippy::unwrap_used)]

use std::fs;

use super::*;
use crate::value::Variables;

fn one(text: &str) -> Pipeline {
    let mut all = read(text, "pipelines.yml").unwrap_or_else(|err| panic!("{err}"));
    assert_eq!(all.len(), 1);
    all.remove(0)
}

fn fault(text: &str) -> String {
    read(text, "pipelines.yml").unwrap_err().to_string()
}

/// A pipeline `p` with these keys, and a fault of it.
fn fault_of(keys: &str) -> String {
    let fault = fault(&format!("pipelines:\n  p: {{{keys}}}\n"));
    let start = "invalid pipeline definition \"p\": ";
    fault.strip_prefix(start).unwrap_or(&fault).to_owned()
}

#[test]
fn a_pipeline_has_defaults() {
    let pipeline = one("pipelines:\n  p:\n");

    assert_eq!(
        (pipeline.concurrency, pipeline.queue),
        (1, Queue::Append(None))
    );
    assert!(
        pipeline.tasks.is_empty()
            && pipeline.start_delay.is_zero()
            && pipeline.retention_count.is_none()
    );
}

#[test]
fn every_key_is_read() {
    let pipeline = one("
pipelines:
  p:
    concurrency: 1.5
    queue_limit: 3
    queue_strategy: replace
    start_delay: 1h30m
    continue_running_tasks_after_failure: yes
    retention_period: 48h
    retention_count: 7
    timeout: 5m
    restart: requeue
    singleton: on
    env_from_variables: true
    unknown: {a: [1]}
    env: {A: 1.50, B: 007, C: yes, D: , E: 'x y'}
    parameters:
      stage: {type: string, choices: [dev, live], default: dev}
      token: {secret: true, required: true, pattern: '[a-z]+'}
    tasks:
      b: {script: [echo b, ~], depends_on: [a, a], allow_failure: true, env: {X: y}, timeout: 10s, retry: {max: 2, delay: 3s}}
      a:
    on_error: {script: [echo oops], env: {Y: z}}
    webhook: {url: 'https://hooks.example/x', on: [failure, late], late_after: 1h}
");

    assert_eq!(pipeline.concurrency, 1);
    assert_eq!(pipeline.queue, Queue::Replace(Some(3)));
    assert_eq!(pipeline.start_delay, Duration::from_secs(5400));
    assert!(pipeline.continues_after_failure && pipeline.singleton && pipeline.env_from_variables);
    assert_eq!(
        pipeline.retention_period,
        Some(Duration::from_secs(48 * 3600))
    );
    assert_eq!(
        (pipeline.retention_count, pipeline.restart),
        (Some(7), Restart::Requeue)
    );
    let env: Vec<&str> = pipeline.env.values().map(String::as_str).collect();
    assert_eq!(env, ["1.50", "007", "yes", "", "x y"]);
    let names: Vec<&str> = pipeline
        .tasks
        .iter()
        .map(|task| task.name.as_str())
        .collect();
    assert_eq!(names, ["a", "b"]);
    let b = &pipeline.tasks[1];
    assert_eq!(
        (b.script.len(), &b.depends_on[..], b.allow_failure),
        (2, &["a".to_owned()][..], true)
    );
    assert_eq!((b.timeout, b.retry.max), (Some(Duration::from_secs(10)), 2));
    assert!(pipeline.parameters.as_ref().unwrap()["token"].is_secret);
    let webhook = pipeline.webhook.unwrap();
    assert!(!webhook.on_start && webhook.on_failure && webhook.late_after.is_some());
}

#[test]
fn a_bare_number_is_nanoseconds_and_what_is_not_positive_is_off() {
    assert_eq!(
        one("pipelines: {p: {start_delay: 1500000}}").start_delay,
        Duration::from_micros(1500)
    );
    // The original has no days.
    let days = one("pipelines: {p: {retention_period: 30d}}");
    assert_eq!(
        days.retention_period,
        Some(Duration::from_secs(30 * 86_400))
    );
    let off = one("pipelines: {p: {retention_period: -1h, retention_count: -3, concurrency: 0}}");
    assert_eq!(
        (off.retention_period, off.retention_count, off.concurrency),
        (None, None, 1)
    );
}

#[test]
fn only_the_first_document_counts_and_the_last_of_two_keys() {
    let text = "pipelines: {p: {concurrency: 2, concurrency: 3}}\n---\n]]]broken\n";
    assert_eq!(one(text).concurrency, 3);
    assert!(read("other: 1", "x").unwrap().is_empty());
    assert!(read("pipelines:\n", "x").unwrap().is_empty());
}

#[test]
fn locks_are_one_wish_for_each_pool_in_the_order_of_their_names() {
    let keys = "locks: [{pool: b, match: {region: eu, size: 4}, count: 2}, {pool: a, name: y}, {pool: a, name: x, lease: 1m}]";
    let locks = one(&format!("pipelines: {{p: {{{keys}}}}}")).locks;
    let shown: Vec<String> = locks.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        ["`x`, `y` of the pool `a`", "2 locks of the pool `b`"]
    );
    let leases: Vec<u64> = locks.iter().map(|wish| wish.lease.as_secs()).collect();
    assert_eq!(leases, [60, 600]);
    let Wanted::Any { conditions, .. } = &locks[1].locks else {
        panic!("{locks:?}");
    };
    assert_eq!(
        serde_json::to_string(conditions).unwrap(),
        r#"{"region":"eu","size":4}"#
    );
    // What is not known is a mistake: it might have been meant to make the lock another one.
    assert!(fault_of("locks: [{pool: a, nmae: x}]").contains("nmae"));
}

#[test]
fn faults_are_told_in_the_words_of_the_original() {
    let table = [
        ("concurrency: -1", "concurrency must be greater than 0"),
        ("queue_limit: -1", "queue_limit must not be negative"),
        ("start_delay: -1s", "start_delay must not be negative"),
        (
            "start_delay: 1s, queue_limit: 0",
            "start_delay needs queue_limit > 0",
        ),
        (
            "queue_strategy: Replace",
            "unknown queue strategy: \"Replace\"",
        ),
        (
            "queue_strategy: partitioned_replace, queue_limit: 1",
            "queue_limit is not allowed if queue_strategy=partitioned_replace, use queue_partition_limit instead",
        ),
        (
            "queue_strategy: partitioned_replace",
            "queue_partition_limit must be defined and >=1 if queue_strategy=partitioned_replace",
        ),
        (
            "queue_partition_limit: 1",
            "queue_partition_limit is not allowed if queue_strategy=append|replace, use queue_limit instead",
        ),
        (
            "tasks: {a: {depends_on: [x]}}",
            "missing task \"x\" referenced in depends_on of task \"a\"",
        ),
        (
            "tasks: {a: {depends_on: [b]}, b: {depends_on: [a]}, c: }",
            "its tasks depend on each other in a circle, so that none of them can ever start: a, b",
        ),
        (
            "tasks: {a: {script: ['echo {{ .x']}}",
            "task \"a\": entry 1 of its script: template: interpolate:1: unclosed action",
        ),
        (
            "restart: maybe",
            "restart is `cancel` or `requeue`, not \"maybe\"",
        ),
        (
            "tasks: {a: {locks: [{pool: a}]}}",
            "task \"a\": it has locks, but no script that could use them",
        ),
        (
            "tasks: {a: {script: [x], locks: }}",
            "task \"a\": locks has no entry: name a pool, or leave the key out",
        ),
        (
            "on_error: {script: [x], locks: [{pool: a}]}",
            "task \"on_error\": it has no locks of its own: it runs with those of the pipeline",
        ),
        (
            "locks: [{pool: a}, {pool: c}], tasks: {t: {script: [x], locks: [{pool: d}, {pool: b}]}}",
            "task \"t\": locks has the pool \"b\", whose name has to come after \"c\": the pipeline holds locks of that while the task waits, and whoever takes the pools in another order could wait for it for ever",
        ),
        (
            "locks: [{pool: a}], tasks: {t: {script: [x], locks: [{pool: a, name: y}]}}",
            "task \"t\": locks has the pool \"a\", whose name has to come after \"a\": the pipeline holds locks of that while the task waits, and whoever takes the pools in another order could wait for it for ever",
        ),
        (
            "locks: []",
            "locks has no entry: name a pool, or leave the key out",
        ),
        (
            "locks: ",
            "locks has no entry: name a pool, or leave the key out",
        ),
        (
            "locks: [{name: env-1}]",
            "locks has an entry without a `pool`",
        ),
        (
            "locks: [{pool: a, name: x, count: 2}]",
            "locks of the pool \"a\" has a `name`, which goes with neither `match` nor `count`",
        ),
        (
            "locks: [{pool: a, count: 0}]",
            "locks has a `count` that is less than 1",
        ),
        (
            "locks: [{pool: a, lease: 1s}]",
            "locks has a `lease` of less than 3s",
        ),
        (
            "locks: [{pool: a, match: {region: [eu]}}]",
            "locks has a `match` on \"region\": keys are without `=`, values are a text, a number, true or false, each on one line",
        ),
        (
            "locks: [{pool: a, name: x}, {pool: a, count: 2}]",
            "locks has the pool \"a\" twice: only locks with a `name` can be asked for in several entries, and are claimed together",
        ),
        (
            "locks: [{pool: a, name: x, lease: 5m}, {pool: a, name: y, lease: 6m}]",
            "locks has two leases for the pool \"a\"",
        ),
        (
            "locks: [{pool: a, name: x, timeout: 5m}, {pool: a, name: y, timeout: 6m}]",
            "locks has two timeouts for the pool \"a\"",
        ),
        (
            "locks: [{pool: a, timeout: 0s}]",
            "locks has a `timeout` that is not more than 0",
        ),
        (
            "parameters: {a: {type: str}}",
            "parameter \"a\": type is string, number, integer, boolean, list or map, not \"str\"",
        ),
        (
            "parameters: {a: {type: integer, default: x}}",
            "parameter \"a\": default is a string, and has to be of type integer",
        ),
    ];
    for (keys, expected) in table {
        assert_eq!(fault_of(keys), expected, "{keys}");
    }
    for name in [
        "a/b",
        "../../evil",
        "..",
        "",
        "on_error",
        "x\0y",
        &"n".repeat(201),
    ] {
        let keys = format!("tasks: {{{}: {{}}}}", serde_json::to_string(name).unwrap());
        assert!(
            fault_of(&keys).starts_with("a task cannot be called"),
            "{name:?}: {}",
            fault_of(&keys)
        );
    }
    for (text, start) in [
        ("", "decoding YAML: EOF"),
        ("pipelines: {p: {start_delay: 1y}}", "decoding YAML: "),
        (
            "pipelines: {p: {tasks: {a: {script: echo}}}}",
            "decoding YAML: ",
        ),
        (
            "pipelines: {p: {tasks: {a: {depends_on: b}}}}",
            "decoding YAML: ",
        ),
        ("pipelines: {p: {env: {A: [1]}}}", "decoding YAML: "),
        ("pipelines: [", "decoding YAML: "),
    ] {
        assert!(fault(text).starts_with(start), "{text}: {}", fault(text));
    }
}

#[test]
fn tasks_are_in_the_order_of_their_dependencies_and_then_of_their_names() {
    let pipeline = one("pipelines: {p: {tasks: {b: {depends_on: [a, e]}, c: {depends_on: [d, b]}, d: {depends_on: [a]},
        e: {depends_on: [a]}, f: {depends_on: [b, e]}, g: {depends_on: [c, f]}, a: }}}");

    let names: String = pipeline
        .tasks
        .iter()
        .map(|task| task.name.as_str())
        .collect();
    assert_eq!(names, "adebcfg");
}

#[test]
fn files_are_found_at_every_depth_and_behind_links() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for path in ["a/b", ".hidden", "node_modules/x"] {
        fs::create_dir_all(root.join(path)).unwrap();
    }
    let write = |path: &str, name: &str| {
        fs::write(root.join(path), format!("pipelines: {{{name}: }}")).unwrap()
    };
    write("pipelines.yml", "top");
    write("a/b/pipelines.yaml", "deep");
    write(".hidden/pipelines.yml", "hidden");
    write("node_modules/x/pipelines.yml", "modules");
    write("a/other.yml", "other");
    let outside = tempfile::tempdir().unwrap();
    fs::write(
        outside.path().join("pipelines.yml"),
        "pipelines: {linked: }",
    )
    .unwrap();
    std::os::unix::fs::symlink(outside.path(), root.join("link")).unwrap();
    std::os::unix::fs::symlink(root, root.join("a/circle")).unwrap();

    let all = load(root, "**/pipelines.{yml,yaml}").unwrap();
    let flat = load(root, "pipelines.yml").unwrap();

    let names: Vec<&str> = all.keys().map(String::as_str).collect();
    assert_eq!(names, ["deep", "hidden", "linked", "modules", "top"]);
    assert_eq!(flat.len(), 1);
    write("a/pipelines.yml", "top");
    let err = load(root, "**/pipelines.yml").unwrap_err().to_string();
    let (second, first) = (root.join("pipelines.yml"), root.join("a/pipelines.yml"));
    let (second, first) = (second.display(), first.display());
    assert_eq!(
        err,
        format!("loading {second}: pipeline \"top\" was already declared in {first}")
    );
    let err = load(&root.join("gone"), "*").unwrap_err().to_string();
    let gone = root.join("gone");
    assert_eq!(
        err,
        format!(
            "finding files with glob: stat {}: no such file or directory",
            gone.display()
        )
    );
}

#[test]
fn variables_are_checked_and_completed() {
    let pipeline = one(
        "pipelines: {p: {parameters: {stage: {choices: [dev, live], default: dev},
        n: {type: integer, required: true}, tag: {pattern: 'v[0-9]+'}}}}",
    );
    let parameters = pipeline.parameters.unwrap();
    let check = |text: &str| {
        let mut variables: Variables = serde_json::from_str(text).unwrap();
        complete(&parameters, &mut variables).map(|()| serde_json::to_string(&variables).unwrap())
    };

    assert_eq!(check(r#"{"n":3}"#).unwrap(), r#"{"n":3,"stage":"dev"}"#);
    for (text, fault) in [
        ("{}", "parameter \"n\" is missing"),
        (
            r#"{"n":1.5}"#,
            "parameter \"n\" is a number, and has to be of type integer",
        ),
        (
            r#"{"n":1,"stage":"x"}"#,
            "parameter \"stage\" is none of \"dev\", \"live\"",
        ),
        (
            r#"{"n":1,"tag":"v1x"}"#,
            "parameter \"tag\" does not match \"^(?:v[0-9]+)$\"",
        ),
        (
            r#"{"n":1,"m":1}"#,
            "there is no parameter \"m\"; there are: n, stage, tag",
        ),
    ] {
        assert_eq!(check(text).unwrap_err(), fault, "{text}");
    }
}

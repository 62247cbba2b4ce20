//! The pipelines in ci/: Concourse knows every key in them, what they name is there, and what the example asks of a pool
//! is done.

use std::collections::BTreeSet;
use std::path::Path;

use pool::concourse::PutRequest;
use serde_json::{Value, json};

use support::{Step, TestRemote};

const PIPELINE: &str = include_str!("../../ci/pipeline.yml");
pub const EXAMPLE: &str = include_str!("../../ci/example.yml");

/// The pages that show a whole pipeline.
pub const PAGES: [&str; 2] = ["README.md", "src/pool/docs/source-and-params.md"];

/// The keys of each kind of object, those that must be there with a `!`.
///
/// Source: Concourse, "Pipeline schema", "Task schema".
const SCHEMA: [(&str, &str); 16] = [
    (
        "pipeline",
        "jobs! resources resource_types var_sources groups display",
    ),
    (
        "resource",
        "name! type! source! old_name icon version check_every check_timeout expose_build_created_by tags public webhook_token",
    ),
    (
        "resource type",
        "name! type! source! privileged params check_every tags defaults",
    ),
    (
        "job",
        "name! plan! old_name serial serial_groups max_in_flight build_log_retention public disable_manual_trigger interruptible on_success on_failure on_error on_abort ensure",
    ),
    (
        "step",
        "across timeout attempts tags on_success on_failure on_error on_abort ensure",
    ),
    ("get", "get! resource passed params trigger version"),
    ("put", "put! resource inputs params get_params no_get"),
    (
        "task",
        "task! config file image privileged vars container_limits params input_mapping output_mapping",
    ),
    ("load_var", "load_var! file! format reveal"),
    (
        "set_pipeline",
        "set_pipeline! file! instance_vars vars var_files team",
    ),
    ("do", "do!"),
    ("in_parallel", "in_parallel!"),
    ("try", "try!"),
    (
        "config",
        "platform! run! image_resource inputs outputs caches params rootfs_uri container_limits",
    ),
    ("run", "path! args dir user"),
    ("image resource", "type! source! params version"),
];

/// A pipeline as JSON, with values for its variables.
pub fn read(text: &str) -> Value {
    let mut pipeline: Value = serde_saphyr::from_str(text).unwrap();
    fill_in(&mut pipeline);
    pipeline
}

/// The first pipeline of a page.
pub fn of_page(path: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let page = std::fs::read_to_string(path).unwrap();
    let (_, block) = page.split_once("```yaml\n").unwrap();
    read(block.split_once("```").unwrap().0)
}

fn fill_in(value: &mut Value) {
    match value {
        Value::String(text) if text == "((concourse.url))" => {
            *text = "https://ci.example.com".to_owned();
        }
        Value::String(text) => *text = text.replace("((", "").replace("))", ""),
        Value::Array(values) => values.iter_mut().for_each(fill_in),
        Value::Object(keys) => keys.values_mut().for_each(fill_in),
        _ => {}
    }
}

/// What is wrong with an object that is to be one of these kinds at once.
fn wrong_keys(object: &Value, kinds: &[&str], place: &str, wrong: &mut Vec<String>) {
    let Some(object) = object.as_object() else {
        return wrong.push(format!("{place} is no object"));
    };
    let known: Vec<&str> = kinds
        .iter()
        .flat_map(|kind| {
            let (_, keys) = SCHEMA.iter().find(|(name, _)| name == kind).unwrap();
            keys.split(' ')
        })
        .collect();
    for key in object.keys() {
        if !known.iter().any(|known| known.trim_end_matches('!') == key) {
            wrong.push(format!("{place} has {key}"));
        }
    }
    for key in known.iter().filter_map(|key| key.strip_suffix('!')) {
        if !object.contains_key(key) {
            wrong.push(format!("{place} lacks {key}"));
        }
    }
}

fn list<'a>(object: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    object[key].as_array().into_iter().flatten()
}

fn names(pipeline: &Value, key: &str) -> BTreeSet<String> {
    list(pipeline, key)
        .filter_map(|one| Some(one["name"].as_str()?.to_owned()))
        .collect()
}

/// Every step, and what is done after it.
fn steps<'a>(step: &'a Value, found: &mut Vec<&'a Value>) {
    found.push(step);
    for key in [
        "try",
        "ensure",
        "on_success",
        "on_failure",
        "on_error",
        "on_abort",
    ] {
        if step[key].is_object() {
            steps(&step[key], found);
        }
    }
    for key in ["do", "in_parallel"] {
        list(step, key).for_each(|step| steps(step, found));
    }
    list(&step["in_parallel"], "steps").for_each(|step| steps(step, found));
}

fn steps_of(pipeline: &Value) -> Vec<&Value> {
    let mut found = Vec::new();
    for job in list(pipeline, "jobs") {
        list(job, "plan").for_each(|step| steps(step, &mut found));
        // What is done after the job.
        for key in ["ensure", "on_success", "on_failure", "on_error", "on_abort"] {
            if job[key].is_object() {
                steps(&job[key], &mut found);
            }
        }
    }
    found
}

/// What Concourse would not take.
fn mistakes(pipeline: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    wrong_keys(pipeline, &["pipeline"], "the pipeline", &mut wrong);
    for resource in list(pipeline, "resources") {
        wrong_keys(resource, &["resource"], "a resource", &mut wrong);
    }
    for kind in list(pipeline, "resource_types") {
        wrong_keys(kind, &["resource type"], "a resource type", &mut wrong);
    }
    let (jobs, resources) = (names(pipeline, "jobs"), names(pipeline, "resources"));
    for job in list(pipeline, "jobs") {
        wrong_keys(job, &["job"], "a job", &mut wrong);
    }
    for step in steps_of(pipeline) {
        let kinds = [
            "get",
            "put",
            "task",
            "load_var",
            "set_pipeline",
            "do",
            "in_parallel",
            "try",
        ];
        let Some(kind) = kinds.into_iter().find(|kind| step.get(kind).is_some()) else {
            wrong.push(format!("{step} is no step"));
            continue;
        };
        let place = format!("{kind} {}", step[kind]);
        wrong_keys(step, &[kind, "step"], &place, &mut wrong);
        if matches!(kind, "get" | "put") {
            let resource = step.get("resource").unwrap_or(&step[kind]);
            if !resource
                .as_str()
                .is_some_and(|name| resources.contains(name))
            {
                wrong.push(format!("{place} is of no resource"));
            }
        }
        for job in list(step, "passed") {
            if !job.as_str().is_some_and(|name| jobs.contains(name)) {
                wrong.push(format!("{place} passed no job {job}"));
            }
        }
        if let Some(config) = step.get("config") {
            wrong_keys(config, &["config"], &format!("{place}: config"), &mut wrong);
            wrong_keys(
                &config["run"],
                &["run"],
                &format!("{place}: run"),
                &mut wrong,
            );
            let image = &config["image_resource"];
            wrong_keys(
                image,
                &["image resource"],
                &format!("{place}: image"),
                &mut wrong,
            );
        }
    }
    wrong
}

#[test]
fn concourse_knows_every_key_of_the_pipelines() {
    for text in [PIPELINE, EXAMPLE] {
        assert_eq!(mistakes(&read(text)), Vec::<String>::new());
    }
}

#[test]
fn concourse_knows_every_key_of_the_pipelines_on_the_pages() {
    for path in PAGES {
        assert_eq!(mistakes(&of_page(path)), Vec::<String>::new());
    }
}

#[test]
fn a_mistake_in_a_pipeline_is_found() {
    for (right, wrong, found) in [
        (
            "check_every: never",
            "check_ever: never",
            "a resource has check_ever",
        ),
        ("  type: time\n", "", "a resource lacks type"),
        (
            "- get: code\n",
            "- get: cod\n",
            "get \"cod\" is of no resource",
        ),
        (
            "inputs: [environment]",
            "input: [environment]",
            "put \"environments\" has input",
        ),
        (
            "      platform: linux\n",
            "",
            "task \"deploy\": config lacks platform",
        ),
        ("- task: deploy", "- tusk: deploy", "is no step"),
    ] {
        assert!(EXAMPLE.contains(right), "{right}");
        let mistakes = mistakes(&read(&EXAMPLE.replacen(right, wrong, 1)));
        let is_found = mistakes.iter().any(|mistake| mistake.contains(found));
        assert!(is_found, "{found}: {mistakes:?}");
    }
}

/// The source of the example's pool, and the params of its puts, in their order.
fn puts_of_the_example() -> (Value, Vec<Value>) {
    let example = read(EXAMPLE);
    let pool = list(&example, "resources").find(|resource| resource["type"] == "pool");
    let source = pool.unwrap()["source"].clone();
    let params = steps_of(&example).into_iter();
    let params = params.filter_map(|step| step.get("put").map(|_| step["params"].clone()));
    (source, params.collect())
}

#[test]
fn the_example_s_puts_are_requests_that_we_understand() {
    let (source, puts) = puts_of_the_example();

    assert_eq!(puts.len(), 4);
    for params in puts {
        let request = json!({"source": source, "params": params}).to_string();
        PutRequest::read(request.as_bytes()).unwrap();
    }
}

#[test]
fn the_example_holds_a_lock_and_gives_it_back() {
    let remote = TestRemote::with_pool("environments", &["env-1"]);
    let (_, puts) = puts_of_the_example();
    let step = Step::on(&remote, "environments").in_build();

    let version = step.put(puts[0].clone()).version();
    assert_eq!(remote.list("environments/claimed"), ["env-1"]);
    let (_, got) = step.get(&version);
    let folder = got.with_file_name("environment");
    std::fs::rename(&got, &folder).unwrap();
    step.start_put_in(folder.parent().unwrap(), puts[1].clone())
        .finish()
        .version();

    assert!(remote.list("environments/claimed").is_empty());
}

#![allow(clippy::unwrap_used)]

use super::*;
use crate::config::Config;
use crate::life::Work;

fn runners() -> Vec<Runner> {
    let text = "concurrent=9\nstate_file='s'\n[[runners]]\nurl='http://h'\ntoken='abcdefghij'\nexecutor='local-docker'\n\
                [[runners]]\nurl='http://h'\ntoken='glrt-t1_ABCDEFGHIJ'\nexecutor='local-docker'\n";
    Config::read(text, None).unwrap().runners
}

fn jobs(state: &State) -> BTreeMap<Key, Job> {
    let mut jobs = BTreeMap::new();
    for (key, events) in &state.jobs {
        let mut job = Job::begin(events[0].clone()).unwrap();
        for event in &events[1..] {
            job.apply(event.clone()).unwrap();
        }
        jobs.insert(key.clone(), job);
    }
    jobs
}

/// What 0.5.0 leaves.
const OLD: &str = r#"{
    "launched": [{"runner_name": "abcdefgh", "job_id": 1, "token": "t1",
        "paas_resource": {"id": "app_1", "gitlab_namespace": null, "deploy_url": "https://git/app_1.git"}}],
    "to_decommission": [{"runner_name": "abcdefgh", "job_id": 2, "token": "t2", "paas_resource": "hpd-job-abcdefgh-2"}],
    "pending": [[{"runner_name": "glrt-t1_", "job_id": 3, "token": "t3"},
        {"id": 3, "token": "t3", "runner_info": {"timeout": 60}}]]
}"#;

#[test]
fn a_state_file_of_the_original_is_taken_over() {
    let state = State::read(OLD, &runners(), 1000).unwrap();

    let jobs = jobs(&state);
    let by_id = |id: u64| jobs.iter().find(|(key, _)| key.job == id).unwrap();
    assert_eq!(by_id(1).1.next().work, Work::Watch);
    assert_eq!(by_id(1).1.resource().unwrap().id(), "app_1");
    assert_eq!(by_id(2).1.next().work, Work::Leave);
    assert_eq!(by_id(3).1.next().work, Work::Create);
    assert_eq!(by_id(3).1.timeout, Some(60));
    assert_eq!(by_id(3).0.runner, runners()[1].id);
    assert!(state.strangers.is_empty());
}

#[test]
fn keys_of_later_releases_and_a_missing_list_do_not_matter() {
    let text = r#"{"pending": [], "statistics": 7, "launched": [{"runner_name": "abcdefgh", "job_id": 1, "token": "t1",
        "trace_offset": 12, "expected_weight": 1.5, "paas_resource": {"id": "app_1", "gitlab_namespace": "g",
        "deploy_url": "https://git/app_1.git", "weight": 1.0, "launched": true}}]}"#;

    let state = State::read(text, &runners(), 1000).unwrap();

    assert_eq!(state.jobs.len(), 1);
    let job = jobs(&state).into_values().next().unwrap();
    assert_eq!(job.place().unwrap().namespace.as_deref(), Some("g"));
}

#[test]
fn what_is_written_has_the_keys_of_the_original_and_is_read_again_as_it_was() {
    let runners = runners();
    let state = State::read(OLD, &runners, 1000).unwrap();
    let mut all = jobs(&state);
    // What the original has no words for.
    let key = Key {
        runner: runners[0].id.clone(),
        job: 4,
    };
    let granted = Event::Granted {
        token: "t4".to_owned(),
        payload: r#"{"id":4}"#.to_owned(),
        at: 5,
        timeout: None,
    };
    let mut job = Job::begin(granted).unwrap();
    let reason = "no".to_owned();
    job.apply(Event::Failed { reason }).unwrap();
    all.insert(key, job);
    let tenants = BTreeSet::new();

    let text = State::write(&all, &[], &tenants, &runners);

    let whole: Value = serde_json::from_str(&text).unwrap();
    let old: Value = serde_json::from_str(OLD).unwrap();
    for list in ["launched", "to_decommission"] {
        assert_eq!(whole[list], old[list]);
    }
    assert_eq!(whole["pending"][0][0]["runner_name"], "ABCDEFGH");
    assert_eq!(whole["pending"][0][1], old["pending"][0][1]);
    let keys: Vec<&String> = whole.as_object().unwrap().keys().collect();
    assert_eq!(keys.len(), 4);
    assert!(jobs(&State::read(&text, &runners, 2000).unwrap()) == all);
}

#[test]
fn with_nothing_to_say_there_is_nothing_but_the_keys_of_the_original() {
    let text = State::write(&BTreeMap::new(), &[], &BTreeSet::new(), &[]);

    let whole: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        whole,
        json!({"launched": [], "to_decommission": [], "pending": []})
    );
}

#[test]
fn jobs_of_a_runner_that_is_not_there_are_kept_as_they_are() {
    let state = State::read(OLD, &runners()[1..], 1000).unwrap();

    assert_eq!(state.strangers.len(), 2);
    assert_eq!(state.strangers[0].name(), "job 1 of the runner 'abcdefgh'");
    let text = State::write(
        &jobs(&state),
        &state.strangers,
        &state.tenants,
        &runners()[1..],
    );
    let (whole, old): (Value, Value) = (
        serde_json::from_str(&text).unwrap(),
        serde_json::from_str(OLD).unwrap(),
    );
    for list in ["launched", "to_decommission"] {
        assert_eq!(whole[list], old[list]);
    }
}

#[test]
fn what_is_no_state_is_refused_and_not_shown() {
    for text in [
        "MARKER",
        r#"{"launched": ["MARKER"]}"#,
        r#"{"launched": [{"runner_name": "abcdefgh", "job_id": 1, "token": "MARKER"}]}"#,
        r#"{"pending": [{"runner_name": "abcdefgh", "job_id": 1, "token": "MARKER"}]}"#,
    ] {
        let err = State::read(text, &runners(), 0).err().unwrap().to_string();
        assert!(!err.contains("MARKER"), "{err}");
    }
}

#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::definition;
use crate::job::{Hold, Plan, Status, Task, Time};

fn job(n: u128) -> Job {
    let task = definition::Task {
        name: "t".into(),
        script: vec!["echo {{ .x }}".into()],
        ..Default::default()
    };
    Job {
        id: Uuid::from_u128(n),
        number: n as u64,
        pipeline: "p".into(),
        user: "bob".into(),
        partition: String::new(),
        variables: Arc::new(
            serde_json::from_str(r#"{"x":12345678901234567890123,"s":"\u0000é"}"#).unwrap(),
        ),
        secrets: Default::default(),
        key: Some("k".into()),
        created: Time(1),
        start: None,
        end: None,
        completed: false,
        canceled: false,
        last_error: None,
        failed: None,
        plan: Arc::new(Plan {
            delay: std::time::Duration::from_millis(5),
            ..Plan::default()
        }),
        tasks: vec![Task::new(Arc::new(task))],
        stopping: None,
        is_delayed: true,
        hold: Hold::Nothing,
    }
}

fn done(n: u128) -> Job {
    let mut job = job(n);
    job.start = Some(Time(2));
    job.end = Some(Time(3));
    job.completed = true;
    job.is_delayed = false;
    job.tasks[0].status = Status::Done;
    job.tasks[0].end = Some(Time(3));
    job
}

fn changes() -> Vec<Change> {
    vec![
        Change::New(Arc::new(job(1))),
        Change::New(Arc::new(job(2))),
        Change::Update(Arc::new(done(1)), [0].into()),
        Change::New(Arc::new(job(3))),
        Change::Removed(Uuid::from_u128(2)),
    ]
}

/// Opens a journal that nobody has open any more. A process that another test is about to start may have its lock for a
/// moment longer.
fn opened(folder: &Path) -> Opened {
    let began = std::time::Instant::now();
    loop {
        match Journal::open(folder) {
            Err(JournalError::InUse { .. }) if began.elapsed().as_secs() < 30 => {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            opened => return opened.unwrap(),
        }
    }
}

fn jobs(folder: &Path) -> Vec<Job> {
    opened(folder)
        .jobs
        .iter()
        .map(|job| Job::clone(job))
        .collect()
}

#[test]
fn what_was_written_is_read_and_written_anew() {
    let folder = tempfile::tempdir().unwrap();
    let mut opened = opened(folder.path());
    opened.journal.add(&changes(), true).unwrap();
    drop(opened);

    for _ in 0..2 {
        assert_eq!(jobs(folder.path()), [done(1), job(3)]);
    }
    let about = fs::metadata(folder.path().join(FILE)).unwrap();
    assert_eq!(about.permissions().mode() & 0o777, 0o600);
}

#[test]
fn secrets_are_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let mut opened = opened(folder.path());
    let mut secret = job(1);
    Arc::make_mut(&mut secret.variables)
        .insert("token".into(), crate::value::Value::Text("MARKER".into()));
    secret.secrets.insert("token".into());
    opened
        .journal
        .add(&[Change::New(Arc::new(secret))], false)
        .unwrap();

    let text = fs::read_to_string(folder.path().join(FILE)).unwrap();
    assert!(!text.contains("MARKER") && text.contains("***"));
}

#[test]
fn a_folder_has_one_server() {
    let folder = tempfile::tempdir().unwrap();
    let first = opened(folder.path());

    let err = Journal::open(folder.path()).unwrap_err().to_string();

    assert!(
        err.contains(&format!("process id {}:", std::process::id())),
        "{err}"
    );
    drop(first);
    opened(folder.path());
}

#[test]
fn a_damaged_line_in_the_midst_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut opened = opened(folder.path());
    opened.journal.add(&changes(), true).unwrap();
    drop(opened);
    let path = folder.path().join(FILE);
    let mut bytes = fs::read(&path).unwrap();
    let second = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 20;
    bytes[second] ^= 1;
    fs::write(&path, &bytes).unwrap();

    let err = Journal::open(folder.path()).unwrap_err().to_string();

    assert!(err.contains("line 2") && err.contains("damaged"), "{err}");
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

const STORE: &str = r#"{"Jobs":[
    {"ID":"00000000-0000-0000-0000-000000000007","Pipeline":"p","Completed":true,"Canceled":true,
     "Created":"2026-11-21T05:19:12.0225244+02:00","Start":"2026-11-21T03:19:13Z","Variables":{"n":1.5},"User":"bob","Tasks":[
      {"Name":"a","Script":["false"],"Status":"error","Start":"2026-11-21T03:19:13Z","ExitCode":3,"Errored":true,"Error":"exit status 3"},
      {"Name":"b","Script":null,"DependsOn":["a"],"Status":"waiting"},
      {"Name":"c","Script":["true"],"Status":"done","ExitCode":-1}]},
    {"ID":"00000000-0000-0000-0000-000000000006","Pipeline":"q","Created":"2026-11-20T03:19:12Z","Tasks":[]}]}"#;

#[test]
fn the_file_of_the_original_is_taken_over_once() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("data.json"), STORE).unwrap();

    let opened = opened(folder.path());

    assert_eq!(opened.jobs.len(), 2);
    let job = opened.jobs.iter().find(|job| job.pipeline == "p").unwrap();
    assert_eq!((job.number, job.created), (1, Time(1_795_231_152_022)));
    assert_eq!(
        (job.completed, job.canceled, job.last_error.as_deref()),
        (true, false, Some("exit status 3"))
    );
    let tasks: Vec<(Status, i32)> = job
        .tasks
        .iter()
        .map(|task| (task.status, task.exit_code))
        .collect();
    assert_eq!(
        tasks,
        [(Status::Error, 3), (Status::Canceled, 0), (Status::Done, 0)]
    );
    drop(opened);
    assert!(folder.path().join("data.json.imported").exists());
    assert_eq!(jobs(folder.path()).len(), 2);
}

#[test]
fn a_broken_file_of_the_original_is_left_alone() {
    for text in [
        "{",
        "{\"Jobs\":[{\"ID\":\"x\",\"Pipeline\":\"p\",\"Created\":\"2026-11-20T03:19:12Z\"}]}",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.json");
        fs::write(&path, text).unwrap();

        let err = Journal::open(folder.path()).unwrap_err().to_string();

        assert!(
            err.starts_with("loading from store: loading data: decoding JSON: "),
            "{err}"
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
}

proptest! {
    #[test]
    fn a_file_that_ends_anywhere_is_read_up_to_its_last_whole_line(cut in 0..2000usize, junk in proptest::collection::vec(any::<u8>(), 0..20)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let mut ends = vec![(0, Vec::new())];
        let mut opened = opened(folder.path());
        let begin = fs::read(&path).unwrap().len();
        ends[0].0 = begin;
        for change in changes() {
            opened.journal.add(&[change], false).unwrap();
            let so_far = fs::read(&path).unwrap();
            let beside = tempfile::tempdir().unwrap();
            fs::write(beside.path().join(FILE), &so_far).unwrap();
            ends.push((so_far.len(), jobs(beside.path())));
        }
        drop(opened);
        let mut bytes = fs::read(&path).unwrap();
        let cut = begin + cut % (bytes.len() + 1 - begin);
        let (_, expected) = ends.iter().rfind(|(end, _)| *end <= cut).unwrap();
        bytes.truncate(cut);
        bytes.extend(&junk);
        fs::write(&path, bytes).unwrap();

        prop_assert_eq!(&jobs(folder.path()), expected);
    }
}

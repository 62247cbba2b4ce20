#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::config::Config;
use crate::life::Work;
use crate::resource::Resource;

fn runners() -> Vec<Runner> {
    let text = "state_file='s'\n[[runners]]\nurl='http://h'\ntoken='abcdefghij'\nexecutor='local-docker'\n";
    Config::read(text, None).unwrap().runners
}

fn open(folder: &Path) -> Ledger {
    Ledger::open(&folder.join("state"), &runners(), 1000, &mut |_| {}).unwrap()
}

fn key(job: u64) -> Key {
    Key {
        runner: runners()[0].id.clone(),
        job,
    }
}

fn granted() -> Event {
    Event::Granted {
        token: "MARKER".to_owned(),
        payload: r#"{"id":1}"#.to_owned(),
        at: 5,
        timeout: None,
    }
}

fn steps() -> Vec<Event> {
    let resource = Resource::Tag("app".to_owned());
    vec![
        granted(),
        Event::Creating {
            name: "n".to_owned(),
            namespace: None,
        },
        Event::Created { resource },
        Event::Launching,
        Event::Launched { at: 7 },
        Event::Over,
        Event::Leaving,
        Event::Gone,
    ]
}

#[test]
fn after_a_kill_at_any_step_the_next_one_is_known() {
    let next = [
        Work::Create,
        Work::Find,
        Work::Launch,
        Work::Relaunch,
        Work::Watch,
        Work::Leave,
        Work::Leave,
    ];
    for (n, work) in next.into_iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = open(folder.path());
        for event in &steps()[..=n] {
            ledger.note(&key(1), event.clone()).unwrap();
        }
        drop(ledger);

        let ledger = open(folder.path());

        assert_eq!(ledger.get(&key(1)).unwrap().next().work, work);
    }
}

#[test]
fn what_is_done_is_forgotten_and_its_number_may_come_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = open(folder.path());
    for _ in 0..2 {
        for event in steps() {
            ledger.note(&key(1), event).unwrap();
        }
        assert!(ledger.jobs().is_empty());
    }
    drop(ledger);

    assert!(open(folder.path()).jobs().is_empty());
}

#[test]
fn a_step_out_of_turn_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = open(folder.path());
    ledger.note(&key(1), granted()).unwrap();

    let err = ledger.note(&key(1), Event::Gone).unwrap_err();

    assert_eq!(err.kind(), io::ErrorKind::InvalidInput);
    drop(ledger);
    assert_eq!(
        open(folder.path()).get(&key(1)).unwrap().next().work,
        Work::Create
    );
}

#[test]
fn an_orderly_end_leaves_a_state_file_and_the_next_start_takes_it() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let mut ledger = open(folder.path());
    ledger.note(&key(1), granted()).unwrap();
    let tenant = Tenant {
        runner: key(1).runner,
        namespace: "g".to_owned(),
    };
    ledger.note_tenant(tenant).unwrap();
    ledger.close(&runners()).unwrap();
    let about = fs::metadata(&state).unwrap();
    assert_eq!(about.permissions().mode() & 0o777, 0o600);
    let journal = beside(&state, ".journal");
    assert_eq!(fs::metadata(&journal).unwrap().len(), 0);

    let ledger = open(folder.path());

    assert!(!state.exists());
    assert_eq!(ledger.jobs().len(), 1);
    assert_eq!(ledger.tenants_of(&key(1).runner), ["g"]);
    // A kill in between loses nothing.
    drop(ledger);
    assert_eq!(open(folder.path()).jobs().len(), 1);
}

#[test]
fn a_state_file_that_is_none_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    fs::write(&state, "MARKER").unwrap();

    let opened = Ledger::open(&state, &runners(), 0, &mut |_| {});

    let err = terminal::chain(&opened.err().unwrap());
    assert!(!err.contains("MARKER"), "{err}");
    assert_eq!(fs::read_to_string(&state).unwrap(), "MARKER");
}

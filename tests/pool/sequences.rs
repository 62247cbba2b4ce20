//! Generated sequences of operations by several actors, carried out on a real repository, and its history read back
//! with plain git.

use std::collections::BTreeMap;
use std::path::Path;

use net::Proxies;
use pool::concourse::{Build, PutRequest};
use pool::step::{Surroundings, put};
use proptest::prelude::*;
use proptest::test_runner::Config;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use support::TestRemote;

/// Where a lock is, and what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Lock {
    claimed: bool,
    content: String,
}

type Locks = BTreeMap<String, Lock>;

/// What an actor asks for; the lock is one of a few.
#[derive(Debug, Clone)]
enum Ask {
    Acquire,
    Claim(usize),
    Release(usize),
    Add(usize, bool, String),
    Remove(usize),
    Update(usize, String),
}

const NAMES: [&str; 4] = ["a", "b c", "ü\"'", "d"];

fn asks() -> impl Strategy<Value = Ask> {
    let lock = 0..NAMES.len();
    let text = "[a-c]{0,2}";
    prop_oneof![
        3 => Just(Ask::Acquire),
        2 => lock.clone().prop_map(Ask::Claim),
        4 => lock.clone().prop_map(Ask::Release),
        2 => (lock.clone(), any::<bool>(), text).prop_map(|(lock, claimed, text)| Ask::Add(lock, claimed, text)),
        1 => lock.clone().prop_map(Ask::Remove),
        2 => (lock, text).prop_map(|(lock, text)| Ask::Update(lock, text)),
    ]
}

/// What the locks are after `ask` got the lock `got`, and the verb of the commit; `None` when the pool stays as it is.
fn expected(locks: &Locks, ask: &Ask, got: &str) -> Option<(Locks, &'static str)> {
    let mut after = locks.clone();
    let now = locks.get(got).cloned();
    let verb = match (ask, now) {
        (Ask::Acquire | Ask::Claim(_), Some(lock)) if !lock.claimed => {
            after.insert(
                got.to_owned(),
                Lock {
                    claimed: true,
                    ..lock
                },
            );
            "claiming"
        }
        (Ask::Release(_), Some(lock)) if lock.claimed => {
            after.insert(
                got.to_owned(),
                Lock {
                    claimed: false,
                    ..lock
                },
            );
            "unclaiming"
        }
        (Ask::Add(_, claimed, text), None) => {
            after.insert(
                got.to_owned(),
                Lock {
                    claimed: *claimed,
                    content: text.clone(),
                },
            );
            if *claimed {
                "adding claimed"
            } else {
                "adding unclaimed"
            }
        }
        (Ask::Remove(_), Some(lock)) if lock.claimed => {
            after.remove(got);
            "removing"
        }
        (Ask::Update(_, text), Some(lock)) if !lock.claimed && lock.content != *text => {
            after.insert(
                got.to_owned(),
                Lock {
                    content: text.clone(),
                    ..lock
                },
            );
            "updating"
        }
        (Ask::Update(_, text), None) => {
            after.insert(
                got.to_owned(),
                Lock {
                    claimed: false,
                    content: text.clone(),
                },
            );
            "adding unclaimed"
        }
        _ => return None,
    };
    Some((after, verb))
}

/// Whether the operation would wait: there is nobody in this test who would end the wait.
fn would_wait(locks: &Locks, ask: &Ask) -> bool {
    match ask {
        Ask::Acquire => locks.values().all(|lock| lock.claimed),
        Ask::Claim(lock) => locks.get(NAMES[*lock]).is_none_or(|lock| lock.claimed),
        Ask::Update(lock, _) => locks.get(NAMES[*lock]).is_some_and(|lock| lock.claimed),
        Ask::Release(_) | Ask::Add(..) | Ask::Remove(_) => false,
    }
}

/// Runs the put step in this process; gives the lock and the version.
fn carry_out(remote: &TestRemote, ask: &Ask, folder: &Path) -> Option<(String, String)> {
    let lock = folder.join("lock");
    std::fs::create_dir_all(&lock).unwrap();
    let named = |index: &usize| std::fs::write(lock.join("name"), NAMES[*index]).unwrap();
    let with = |text: &str| std::fs::write(lock.join("metadata"), text).unwrap();
    let params = match ask {
        Ask::Acquire => json!({"acquire": true}),
        Ask::Claim(index) => json!({"claim": NAMES[*index]}),
        Ask::Release(index) => {
            named(index);
            json!({"release": "lock"})
        }
        Ask::Add(index, claimed, text) => {
            named(index);
            with(text);
            if *claimed {
                json!({"add_claimed": "lock"})
            } else {
                json!({"add": "lock"})
            }
        }
        Ask::Remove(index) => {
            named(index);
            json!({"remove": "lock"})
        }
        Ask::Update(index, text) => {
            named(index);
            with(text);
            json!({"update": "lock"})
        }
    };
    let request =
        json!({"source": {"uri": remote.uri(), "branch": "main", "pool": "aws"}, "params": params});
    let request = PutRequest::read(request.to_string().as_bytes()).unwrap();
    let around = Surroundings {
        temporary: folder.to_owned(),
        build: Build::default(),
        home: None,
        met_hosts: None,
        ssh_agent: None,
        paint: Default::default(),
        proxies: Proxies::default(),
        links: git::Links::default(),
        git_settings: None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (mut answer, mut log) = (Vec::new(), Vec::new());
    let never = CancellationToken::new();
    runtime
        .block_on(put(&request, folder, &around, never, &mut answer, &mut log))
        .ok()?;
    let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    Some((
        text(&answer["metadata"][0]["value"]),
        text(&answer["version"]["ref"]),
    ))
}

/// The locks at a commit, as plain git sees them. Fails when one is in both folders.
fn read_back(remote: &TestRemote, commit: &str) -> Locks {
    let mut locks = Locks::new();
    let files = remote.git(&["ls-tree", "-r", "-z", commit, "--", "aws"]);
    for file in files.split_terminator('\0') {
        let (entry, path) = file.split_once('\t').unwrap();
        let (folder, name) = path.strip_prefix("aws/").unwrap().split_once('/').unwrap();
        if name == ".gitkeep" {
            continue;
        }
        let content = remote.git(&["cat-file", "blob", entry.split(' ').nth(2).unwrap()]);
        let lock = Lock {
            claimed: folder == "claimed",
            content,
        };
        assert_eq!(
            locks.insert(name.to_owned(), lock),
            None,
            "{name} is in both folders"
        );
    }
    locks
}

proptest! {
    #![proptest_config(Config { cases: 16, max_shrink_iters: 64, failure_persistence: None, ..Config::default() })]

    #[test]
    fn a_history_read_back_with_plain_git_says_what_was_done(sequence in prop::collection::vec(asks(), 1..14)) {
        let remote = TestRemote::with_pool("aws", &["a"]);
        let folder = tempfile::tempdir().unwrap();
        let mut locks = read_back(&remote, &remote.head());
        let mut story = vec![];

        for ask in sequence {
            if would_wait(&locks, &ask) {
                continue;
            }
            let before = remote.head();
            let done = carry_out(&remote, &ask, folder.path());
            let got = done.as_ref().map_or("", |(lock, _)| lock.as_str());
            let name = match &ask {
                Ask::Acquire => got,
                Ask::Claim(i) | Ask::Release(i) | Ask::Add(i, ..) | Ask::Remove(i) | Ask::Update(i, _) => NAMES[*i],
            };
            match expected(&locks, &ask, name) {
                Some((after, verb)) => {
                    prop_assert_eq!(got, name);
                    prop_assert_eq!(done.as_ref().map(|(_, version)| version.clone()), Some(remote.head()));
                    prop_assert_eq!(remote.back(1), before);
                    locks = after;
                    story.push((format!("{verb}: {name}"), locks.clone()));
                }
                // Nothing to do, or refused: either way nothing changed.
                None => prop_assert_eq!(&remote.head(), &before),
            }
        }

        for (n, (subject, locks)) in story.iter().rev().enumerate() {
            let commit = remote.back(n);
            let message = remote.message(&commit);
            prop_assert_eq!(message.lines().next(), Some(subject.as_str()));
            prop_assert_eq!(&read_back(&remote, &commit), locks);
        }
        prop_assert_eq!(remote.count(), 1 + story.len());
        remote.fsck();
    }
}

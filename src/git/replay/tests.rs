//! A past that is worked out is the past, whatever messages say.
#![allow(clippy::unwrap_used)]

use git2::ObjectType;
use proptest::prelude::*;

use super::*;
use crate::History;
use crate::object::blob_id;
use support::fuzz::cases;

const NAMES: [&str; 3] = ["a", "b", "c"];

/// What a commit does, and what it says.
#[derive(Debug, Clone)]
struct Step {
    pool: usize,
    lock: usize,
    does: Does,
    says: Says,
}

#[derive(Debug, Clone, Copy)]
enum Does {
    Move,
    Write(u8),
    Remove,
    Nothing,
}

#[derive(Debug, Clone, Copy)]
enum Says {
    Truth,
    Nothing,
    /// That it moved another lock.
    Lie(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let does = prop_oneof![
        6 => Just(Does::Move),
        1 => any::<u8>().prop_map(Does::Write),
        1 => Just(Does::Remove),
        1 => Just(Does::Nothing),
    ];
    let says = prop_oneof![
        8 => Just(Says::Truth),
        1 => Just(Says::Nothing),
        1 => (0..NAMES.len()).prop_map(Says::Lie),
    ];
    let step = (0..2_usize, 0..NAMES.len(), does, says).prop_map(|(pool, lock, does, says)| Step {
        pool,
        lock,
        does,
        says,
    });
    prop::collection::vec(step, 1..25)
}

fn path(pool: usize, folder: &str, lock: usize) -> String {
    format!("pools/p{pool}/{folder}/{}", NAMES[lock])
}

/// Knows messages like `move a`.
struct Reads;

impl Guess for Reads {
    fn is_clear(&self, message: &[u8]) -> bool {
        message.starts_with(b"move ")
    }

    fn undo(&self, message: &[u8], look: &mut dyn FnMut(&str) -> Option<Entry>) -> Vec<Undo> {
        let text = String::from_utf8_lossy(message);
        let Some(name) = text.trim_end().strip_prefix("move ") else {
            return Vec::new();
        };
        let mut guesses = Vec::new();
        for pool in 0..2 {
            for (from, to) in [("free", "held"), ("held", "free")] {
                let now = format!("pools/p{pool}/{to}/{name}");
                let before = format!("pools/p{pool}/{from}/{name}");
                guesses.extend(look(&now).map(|entry| vec![(now, None), (before, Some(entry))]));
            }
        }
        guesses
    }
}

/// Writes a history with all its folders, and gives its commits, the oldest first.
fn write(store: &Store, steps: &[Step]) -> Vec<Oid> {
    let mut files: BTreeMap<String, Oid> = BTreeMap::new();
    for pool in 0..2 {
        for folder in ["free", "held"] {
            files.insert(format!("pools/p{pool}/{folder}/.keep"), blob_id(b""));
        }
        for lock in 0..NAMES.len() {
            files.insert(path(pool, "free", lock), blob_id(&[lock as u8]));
        }
    }
    let mut commits = vec![commit(store, &files, None, "pools")];
    for step in steps {
        let [free, held] = ["free", "held"].map(|folder| path(step.pool, folder, step.lock));
        match step.does {
            Does::Nothing => {}
            Does::Move => match (files.remove(&free), files.remove(&held)) {
                (Some(id), _) => drop(files.insert(held, id)),
                (None, Some(id)) => drop(files.insert(free, id)),
                (None, None) => drop(files.insert(free, blob_id(&[9]))),
            },
            Does::Write(content) => drop(files.insert(held, blob_id(&[content]))),
            Does::Remove => {
                files.remove(&free);
                files.remove(&held);
            }
        }
        let says = match step.says {
            Says::Truth => format!("move {}", NAMES[step.lock]),
            Says::Nothing => "hm".to_owned(),
            Says::Lie(lock) => format!("move {}", NAMES[lock]),
        };
        let parent = commits.last().copied();
        commits.push(commit(store, &files, parent, &says));
    }
    commits
}

fn commit(store: &Store, files: &BTreeMap<String, Oid>, parent: Option<Oid>, message: &str) -> Oid {
    let tree = tree(store, files, "");
    let parent = parent.map_or(String::new(), |parent| format!("parent {parent}\n"));
    let who = "A <a@x> 1 +0000";
    let text = format!("tree {tree}\n{parent}author {who}\ncommitter {who}\n\n{message}\n");
    store.write_raw(ObjectType::Commit, text.as_bytes())
}

fn tree(store: &Store, files: &BTreeMap<String, Oid>, below: &str) -> Oid {
    let mut names: BTreeMap<&str, Option<Oid>> = BTreeMap::new();
    for (path, id) in files {
        if let Some(rest) = path.strip_prefix(below) {
            match rest.split_once('/') {
                Some((folder, _)) => names.insert(folder, None),
                None => names.insert(rest, Some(*id)),
            };
        }
    }
    let mut bytes = Vec::new();
    for (name, id) in names {
        let (mode, id) = match id {
            Some(id) => ("100644", id),
            None => ("40000", tree(store, files, &format!("{below}{name}/"))),
        };
        bytes.extend_from_slice(format!("{mode} {name}\0").as_bytes());
        bytes.extend_from_slice(id.as_bytes());
    }
    store.write_raw(ObjectType::Tree, &bytes)
}

/// Copies a commit with all its folders.
fn copy(from: &Store, to: &Store, commit: Oid) {
    let odb = from.odb().unwrap();
    let mut open = vec![commit, from.commit(commit).unwrap().unwrap().tree];
    while let Some(id) = open.pop() {
        let object = odb.read(id).unwrap();
        to.write_raw(object.kind(), object.data());
        if object.kind() == ObjectType::Tree {
            let folders = from.list(id).unwrap().into_iter();
            let folders = folders.filter(|named| named.entry.mode == crate::object::Mode::Folder);
            open.extend(folders.map(|named| named.entry.id));
        }
    }
}

/// A past of a folder of which nothing has come yet.
fn begun(folder: &str, head: Oid, here: &Store) -> Replay {
    let none = Commits::new(&std::env::temp_dir()).unwrap();
    Replay::new(folder, head, none, here, Store::in_memory()).unwrap()
}

/// The past of a folder, worked out from what the commits say, which come by twos; of those where that is not enough the
/// folders are fetched.
fn worked_out_below(folder: &str, commits: &[Oid], whole: &Store, here: &Store) -> Replay {
    let head = *commits.last().unwrap();
    let mut left = commits.iter().rev().copied();
    let mut replay = begun(folder, head, here);
    for _ in 0..=2 * commits.len() {
        match replay
            .go_back(here, &Reads, (0, usize::MAX, usize::MAX))
            .unwrap()
        {
            Went::There => break,
            Went::Short(_) => {
                let next: Vec<Oid> = left.by_ref().take(2).collect();
                let is_last = next.is_empty();
                replay.commits().copy(whole, next);
                assert!(replay.lengthen() && (!is_last || replay.all_came()));
            }
            Went::Needs(needed) => {
                for commit in needed {
                    copy(whole, replay.fetched(), commit);
                }
            }
            Went::Lost => panic!("it is short"),
        }
    }
    replay
}

#[test]
fn no_more_commits_are_read_than_it_takes_to_find_the_last_change_of_a_folder() {
    let step = |pool| Step {
        pool,
        lock: 0,
        does: Does::Move,
        says: Says::Truth,
    };
    // The other pool for ever, and ours once.
    let steps: Vec<Step> = (0..30).map(|n| step(usize::from(n != 10))).collect();
    let whole = Store::in_memory();
    let commits = write(&whole, &steps);
    let head = *commits.last().unwrap();
    let here = Store::in_memory();
    copy(&whole, &here, head);
    let mut replay = begun("pools/p0", head, &here);
    let mut left = commits.iter().rev().copied();
    let mut come = 0;

    while replay.go_back(&here, &Reads, (0, 5, 1000)).unwrap() != Went::There {
        replay.commits().copy(&whole, left.next());
        come += 1;
        assert!(replay.lengthen());
    }

    // The change, and what it was made on.
    assert_eq!((come, replay.known()), (21, 20));
    let changed = commits[commits.len() - 20];
    let history = History::new(&here, head, false).with(Some(&replay));
    assert!(history.touches(changed, "pools/p0").unwrap());
    assert!(!replay.is_over());
}

proptest! {
    #![proptest_config(cases(128))]

    #[test]
    fn what_is_worked_out_is_what_was_whatever_messages_say(steps in steps()) {
        let whole = Store::in_memory();
        let commits = write(&whole, &steps);
        let head = *commits.last().unwrap();
        // Here is the head alone, and of the others what they say.
        let here = Store::in_memory();
        copy(&whole, &here, head);
        let replay = worked_out_below("pools/p0", &commits, &whole, &here);
        prop_assert!(replay.known() == steps.len());

        let real = History::new(&whole, head, true);
        let worked_out = History::new(&here, head, false).with(Some(&replay));
        for commit in &commits {
            for path in ["pools/p0", "pools/p0/free", "pools/p0/held"] {
                prop_assert_eq!(
                    worked_out.touches(*commit, path).unwrap(),
                    real.touches(*commit, path).unwrap()
                );
            }
            for folder in ["free", "held"] {
                let folder_path = format!("pools/p0/{folder}");
                prop_assert_eq!(
                    worked_out.list(*commit, &folder_path).unwrap(),
                    real.list(*commit, &folder_path).unwrap()
                );
                for lock in 0..NAMES.len() {
                    let path = path(0, folder, lock);
                    prop_assert_eq!(
                        worked_out.entry(*commit, &path).unwrap(),
                        real.entry(*commit, &path).unwrap()
                    );
                }
            }
            prop_assert_eq!(worked_out.since(*commit).unwrap(), real.since(*commit).unwrap());
        }
    }

    #[test]
    fn all_that_commits_did_is_worked_out_at_once(steps in steps()) {
        let whole = Store::in_memory();
        let commits = write(&whole, &steps);
        let head = *commits.last().unwrap();
        let here = Store::in_memory();
        copy(&whole, &here, head);
        let replay = worked_out_below("", &commits, &whole, &here);

        let worked_out = History::new(&here, head, false).with(Some(&replay));
        prop_assert!(worked_out.is_worked_out());
        let found: Vec<(Oid, Vec<Change>)> = worked_out.worked_out().collect();
        let ids: Vec<Oid> = found.iter().map(|(id, _)| *id).collect();
        prop_assert_eq!(ids, commits.iter().rev().copied().collect::<Vec<_>>());
        let files = |commit: &Oid| {
            let tree = whole.commit(*commit).unwrap().unwrap().tree;
            whole.files_below(tree, "").unwrap()
        };
        for (n, (commit, changes)) in found.iter().enumerate() {
            let after = files(commit);
            let before = found.get(n + 1).map(|(before, _)| files(before)).unwrap_or_default();
            let paths: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
            let expected: BTreeMap<&str, (Option<Entry>, Option<Entry>)> = paths
                .into_iter()
                .map(|path| (path.as_str(), (before.get(path).copied(), after.get(path).copied())))
                .filter(|(_, (before, after))| before != after)
                .collect();
            let told: BTreeMap<&str, (Option<Entry>, Option<Entry>)> = changes
                .iter()
                .map(|change| (&*change.path, (change.before, change.after)))
                .collect();
            prop_assert_eq!(told, expected);
        }
    }
}

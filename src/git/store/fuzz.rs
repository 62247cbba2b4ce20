//! Whatever objects and packs a repository has: they are read as they are, and an edit changes nothing besides.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::rc::Rc;

use proptest::prelude::*;

use super::*;
use crate::object::{Content, Edit};
use support::fuzz::{any_spoiled, cases};

/// An entry of a tree as it is written: mode, name and object.
type Raw = (&'static str, Vec<u8>, Oid);

thread_local! {
    /// One for all cases of a test: what is in it goes by its content.
    static STORE: Rc<Store> = Rc::new(Store::in_memory());
}

fn store() -> Rc<Store> {
    STORE.with(Rc::clone)
}

fn written(entries: &[Raw]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (mode, name, id) in entries {
        bytes.extend_from_slice(mode.as_bytes());
        bytes.push(b' ');
        bytes.extend_from_slice(name);
        bytes.push(0);
        bytes.extend_from_slice(id.as_bytes());
    }
    bytes
}

/// What a tree has, read without any library: modes as numbers, in the tree's order.
fn raw(store: &Store, tree: Oid) -> Vec<(u32, Vec<u8>, Oid)> {
    let odb = store.odb().unwrap();
    let object = odb.read(tree).unwrap();
    let mut bytes = object.data();
    let mut entries = Vec::new();
    while !bytes.is_empty() {
        let space = bytes.iter().position(|byte| *byte == b' ').unwrap();
        let nul = bytes.iter().position(|byte| *byte == 0).unwrap();
        let mode = u32::from_str_radix(std::str::from_utf8(&bytes[..space]).unwrap(), 8).unwrap();
        let id = Oid::from_bytes(&bytes[nul + 1..nul + 21]).unwrap();
        entries.push((mode, bytes[space + 1..nul].to_vec(), id));
        bytes = &bytes[nul + 21..];
    }
    entries
}

fn raw_commit(store: &Store, tree: Oid) -> Oid {
    let text = format!("tree {tree}\nauthor A <a@x> 1 +0000\ncommitter A <a@x> 1 +0000\n\nx");
    store.write_raw(ObjectType::Commit, text.as_bytes())
}

fn blob_id(text: &str) -> Oid {
    Content::new(text.as_bytes().to_vec()).id()
}

/// Modes that repositories have had, and one that none should.
const MODES: [&str; 9] = [
    "100644", "100755", "120000", "160000", "40000", "040000", "100664", "100600", "0",
];

fn names() -> impl Strategy<Value = Vec<u8>> {
    let known = [
        "a",
        "b",
        "A",
        "a.b",
        "a0",
        "ab",
        ".gitkeep",
        ".git",
        ".GIT",
        "..",
        ".",
        "claimed",
        "unclaimed",
        "git~1",
        "a/b",
        "\\",
        "-rf",
        "con",
        ".gitmodules",
        "\u{e9}",
        "e\u{301}",
        "\u{200c}.git",
    ];
    prop_oneof![
        4 => prop::sample::select(known.to_vec()).prop_map(|name| name.as_bytes().to_vec()),
        1 => prop::collection::vec(1..=255_u8, 1..6),
        1 => Just(vec![b'x'; 300]),
    ]
}

/// Entries in Git's order or in any, possibly with the same name several times.
fn entries() -> impl Strategy<Value = Vec<Raw>> {
    let entry = (prop::sample::select(MODES.to_vec()), names()).prop_map(|(mode, name)| {
        let id = blob_id(if mode == "100755" { "x" } else { "y" });
        (mode, name, id)
    });
    (
        prop::collection::vec(entry, 0..8),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(mut entries, sorted, single)| {
            if sorted {
                entries.sort_by_key(|(mode, name, _)| {
                    let slash = if mode.ends_with("40000") {
                        &b"/"[..]
                    } else {
                        b""
                    };
                    [name, slash].concat()
                });
            }
            if single {
                let mut seen = BTreeSet::new();
                entries.retain(|(_, name, _)| seen.insert(name.clone()));
            }
            entries
        })
}

/// Puts `inside` under `name` among other entries, at a place of its own.
fn beside(mut others: Vec<Raw>, name: &str, inside: Oid, place: usize) -> Vec<Raw> {
    others.retain(|(_, other, _)| other != name.as_bytes());
    let place = place.min(others.len());
    others.insert(place, ("40000", name.as_bytes().to_vec(), inside));
    others
}

fn who() -> Identity {
    Identity {
        name: "x".to_owned(),
        email: "x@y".to_owned(),
        signer: None,
    }
}

/// The tree that stands under `name`.
fn below(store: &Store, tree: Oid, name: &str) -> Oid {
    let found = raw(store, tree)
        .into_iter()
        .find(|(_, other, _)| other == name.as_bytes());
    found.unwrap().2
}

fn sorted<T: Ord>(mut list: Vec<T>) -> Vec<T> {
    list.sort();
    list
}

fn names_twice(entries: &[Raw]) -> bool {
    let mut seen = BTreeSet::new();
    !entries.iter().all(|(_, name, _)| seen.insert(name.clone()))
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn a_tree_is_listed_and_looked_up_as_it_is(entries in entries()) {
        let store = store();
        let tree = store.write_raw(ObjectType::Tree, &written(&entries));

        let listed = store.list(tree).unwrap();

        let names: Vec<&[u8]> = listed.iter().map(|named| &named.name[..]).collect();
        let expected: Vec<&[u8]> = entries.iter().map(|(_, name, _)| &name[..]).collect();
        prop_assert_eq!(names, expected);
        for (mode, name, id) in &entries {
            let kind = match *mode {
                "40000" | "040000" => Mode::Folder,
                "120000" => Mode::Symlink,
                "100755" => Mode::Executable,
                "100644" | "100664" | "100600" => Mode::File,
                // So does Git.
                _ => Mode::Submodule,
            };
            let entry = Entry { mode: kind, id: *id };
            let named = Named { name: name.clone(), entry };
            prop_assert!(listed.contains(&named));
            let Some(name) = std::str::from_utf8(name).ok().filter(|name| !name.contains('/')) else { continue };
            let found = store.entry(tree, name).unwrap();
            prop_assert!(found.is_some(), "{} is not found", name);
            prop_assert!(names_twice(&entries) || found == Some(entry));
        }
        prop_assert_eq!(store.entry(tree, "not there").unwrap(), None);
    }

    #[test]
    fn any_bytes_where_a_tree_or_commit_should_be_are_read_or_refused(bytes in spoiled_objects()) {
        let store = store();
        let tree = store.write_raw(ObjectType::Tree, &bytes);
        let commit = store.write_raw(ObjectType::Commit, &bytes);
        let blob = store.write_raw(ObjectType::Blob, &bytes);

        let _ = store.list(tree);
        let _ = store.entry(tree, "a/b/c");
        let _ = store.commit(commit);
        let _ = store.make_commit(commit, &[], "x", &who());
        prop_assert_eq!(store.blob(blob).unwrap(), bytes);
        for other in [tree, commit] {
            prop_assert!(store.blob(other).is_err());
        }
        for other in [commit, blob] {
            prop_assert!(store.list(other).is_err());
        }
    }

    #[test]
    fn a_move_changes_one_name_in_each_folder_and_nothing_else(
        claimed in entries(), mut unclaimed in entries(), pool in entries(), root in entries(), places in prop::array::uniform4(0..8_usize),
    ) {
        let store = store();
        let lock = ("100644", b"lock".to_vec(), store.write_raw(ObjectType::Blob, b"metadata"));
        let place = places[0].min(unclaimed.len());
        unclaimed.insert(place, lock.clone());
        let folders = [&claimed, &unclaimed].map(|entries| store.write_raw(ObjectType::Tree, &written(entries)));
        let pool = beside(beside(pool, "claimed", folders[0], places[1]), "unclaimed", folders[1], places[2]);
        let pool_tree = store.write_raw(ObjectType::Tree, &written(&pool));
        let root = beside(root, "pool", pool_tree, places[3]);
        let root_tree = store.write_raw(ObjectType::Tree, &written(&root));
        let edits = [
            Edit::Set { path: "pool/claimed/lock".to_owned(), entry: Entry { mode: Mode::File, id: lock.2 } },
            Edit::Delete { path: "pool/unclaimed/lock".to_owned() },
        ];

        let made = store.make_commit(raw_commit(&store, root_tree), &edits, "x", &who());

        let malformed = [&claimed, &unclaimed, &pool, &root].iter().any(|entries| names_twice(entries));
        prop_assert_eq!(made.is_err(), malformed, "{:?}", made.err());
        if let Ok((commit, objects)) = made {
            let after = store.commit(commit).unwrap().unwrap().tree;
            let number = |(mode, name, id): &Raw| (u32::from_str_radix(mode, 8).unwrap(), name.clone(), *id);
            let expected = |entries: &[Raw]| sorted(entries.iter().map(number).collect());
            let others = |tree: Oid, changed: &[&str]| -> Vec<(u32, Vec<u8>, Oid)> {
                let all = raw(&store, tree).into_iter();
                sorted(all.filter(|(_, name, _)| !changed.iter().any(|changed| changed.as_bytes() == name)).collect())
            };
            let without = |entries: &[Raw], changed: &[&str]| {
                let kept = entries.iter().filter(|(_, name, _)| !changed.iter().any(|changed| changed.as_bytes() == name));
                sorted(kept.map(number).collect())
            };
            let after_pool = below(&store, after, "pool");
            prop_assert_eq!(others(after, &["pool"]), without(&root, &["pool"]));
            prop_assert_eq!(others(after_pool, &["claimed", "unclaimed"]), without(&pool, &["claimed", "unclaimed"]));
            let mut with_lock = claimed.clone();
            with_lock.push(lock);
            prop_assert_eq!(sorted(raw(&store, below(&store, after_pool, "claimed"))), expected(&with_lock));
            let left = without(&unclaimed, &["lock"]);
            if left.is_empty() {
                prop_assert!(raw(&store, after_pool).iter().all(|(_, name, _)| name != b"unclaimed"));
            } else {
                prop_assert_eq!(sorted(raw(&store, below(&store, after_pool, "unclaimed"))), left);
            }
            prop_assert!(objects.contains(&commit) && objects.contains(&after));
        }
    }

    #[test]
    fn a_spoiled_pack_is_taken_or_refused_and_does_no_harm(pack in any_spoiled(packs())) {
        let store = store();
        let known = store.write_raw(ObjectType::Blob, b"known");

        let taken = take(&store, &pack);

        prop_assert_eq!(store.blob(known).unwrap(), b"known".to_vec());
        if let Err(err) = taken {
            prop_assert!(!err.to_string().contains(char::is_control), "{}", err);
        }
    }
}

fn take(store: &Store, pack: &[u8]) -> Result<(), StoreError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(store.take_pack(
        async |write: &mut dyn FnMut(&[u8]) -> Result<(), StoreError>| {
            pack.chunks(1000).try_for_each(&mut *write)
        },
    ))
}

/// Packs as servers send them, with and without deltas.
fn packs() -> Vec<Vec<u8>> {
    let store = store();
    let blob = store.write_raw(
        ObjectType::Blob,
        &(0..2000_u32)
            .flat_map(u32::to_be_bytes)
            .collect::<Vec<u8>>(),
    );
    let like = store.write_raw(
        ObjectType::Blob,
        &(0..2001_u32)
            .flat_map(u32::to_be_bytes)
            .collect::<Vec<u8>>(),
    );
    let tree = store.write_raw(
        ObjectType::Tree,
        &written(&[
            ("100644", b"a".to_vec(), blob),
            ("100644", b"b".to_vec(), like),
        ]),
    );
    let commit = raw_commit(&store, tree);
    vec![
        store.pack(&[]).unwrap(),
        store.pack(&[commit, tree]).unwrap(),
        store.pack(&[commit, tree, blob, like]).unwrap(),
    ]
}

fn spoiled_objects() -> impl Strategy<Value = Vec<u8>> {
    let id = blob_id("x");
    let commit = format!(
        "tree {id}\nparent {id}\nauthor A <a@x> 1 +0000\ncommitter A <a@x> 1 +0000\nencoding latin1\ngpgsig x\n y\n\nsubject\n"
    );
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..100),
        any_spoiled(vec![
            commit.into_bytes(),
            written(&[("100644", b"a".to_vec(), id), ("40000", b"b".to_vec(), id)]),
        ]),
    ]
}

#[test]
fn a_pack_that_claims_to_have_more_objects_than_there_can_be_is_refused_at_once() {
    for (count, refused) in [
        (MOST_OBJECTS, false),
        (MOST_OBJECTS + 1, true),
        (u32::MAX, true),
    ] {
        let store = Store::in_memory();
        let pack = [b"PACK\0\0\0\x02", &count.to_be_bytes()[..], &[0; 30]].concat();

        let err = take(&store, &pack).unwrap_err();

        assert_eq!(
            matches!(err, StoreError::TooManyObjects(found) if found == count),
            refused,
            "{err}"
        );
    }
}

#[test]
fn a_commit_or_tree_that_is_larger_than_any_is_not_read() {
    let store = store();
    let large = vec![b'x'; MOST_READ];
    let id = blob_id("x");
    let tree = store.write_raw(
        ObjectType::Tree,
        &[&large[..], &written(&[("100644", b"a".to_vec(), id)])].concat(),
    );
    let text =
        format!("tree {tree}\nauthor A <a@x> 1 +0000\ncommitter A <a@x> 1 +0000\n\n").into_bytes();
    let commit = store.write_raw(ObjectType::Commit, &[text, large].concat());

    for err in [
        store.list(tree).unwrap_err(),
        store.entry(tree, "a").unwrap_err(),
        store.commit(commit).unwrap_err(),
        store.make_commit(commit, &[], "x", &who()).unwrap_err(),
    ] {
        assert!(
            matches!(
                err,
                StoreError::TooLarge {
                    most: MOST_READ,
                    ..
                }
            ),
            "{err}"
        );
    }
}

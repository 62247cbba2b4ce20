//! Packs in which a large folder is told as a change of the one that was in its place, which the server has.
//!
//! Such a pack is *thin*: plain git sends no others, and a server that wants none says `no-thin`. libgit2 makes none.
//!
//! Source: `gitformat-pack(5)`, `gitprotocol-capabilities(5)`.

use super::Store;
use super::needed::Needed;
use super::pack::Packer;
use crate::object::Oid;

/// With no folder that has more bytes than this, a thin pack spares nothing that would be noticed.
const SMALL: usize = 8 * 1024;

impl Store {
    /// Packs what a server that has `base` lacks of `commit`; `None` where that would be no smaller than a whole pack.
    pub(crate) fn thin_pack(&self, commit: Oid, base: Oid) -> Option<Vec<u8>> {
        let odb = self.odb().ok()?;
        let Needed {
            objects,
            instead_of,
        } = self.needed_for(commit, Some(base))?;
        let is_large = |id: &Oid| self.size_of(*id) > SMALL;
        // What was there before is in the pack itself where several commits changed the same folder.
        let kept = |id: &Oid| {
            instead_of
                .get(id)
                .copied()
                .filter(|old| !objects.contains(old))
        };
        if !objects.iter().any(|id| is_large(id) && kept(id).is_some()) {
            return None;
        }
        let mut packer = Packer::new(objects.len())?;
        for id in &objects {
            let object = odb.read(*id).ok()?;
            let old = kept(id).filter(|_| object.len() > SMALL);
            let change = match old {
                Some(old) => {
                    let before = odb.read(old).ok()?;
                    let change = change(before.data(), object.data());
                    (change.len() < object.len() / 2).then_some((old, change))
                }
                None => None,
            };
            match change {
                Some((old, change)) => packer.change(old, &change)?,
                None => packer.object(object.kind(), object.data())?,
            }
        }
        Some(packer.end())
    }
}

/// How `new` is made of `old`: of what both begin and end with, and of what is between in `new`. A folder has its names in order,
/// so that one that comes or goes changes nothing else.
fn change(old: &[u8], new: &[u8]) -> Vec<u8> {
    let both = old.iter().zip(new);
    let start = both.take_while(|(old, new)| old == new).count();
    let (rest_of_old, rest_of_new) = (&old[start..], &new[start..]);
    let both = rest_of_old.iter().rev().zip(rest_of_new.iter().rev());
    let end = both.take_while(|(old, new)| old == new).count();
    let mut change = Vec::new();
    for size in [old.len(), new.len()] {
        let mut rest = size;
        while rest >= 0x80 {
            change.push((rest & 0x7f) as u8 | 0x80);
            rest >>= 7;
        }
        change.push(rest as u8);
    }
    copy(&mut change, 0, start);
    for piece in rest_of_new[..rest_of_new.len() - end].chunks(0x7f) {
        change.push(piece.len() as u8);
        change.extend_from_slice(piece);
    }
    copy(&mut change, old.len() - end, end);
    change
}

/// Says that bytes are taken out of the old one.
fn copy(change: &mut Vec<u8>, from: usize, length: usize) {
    const MOST: usize = 0xffff;
    let mut done = 0;
    while done < length {
        let (at, size) = (from + done, (length - done).min(MOST));
        // All bytes of the place, and the two of the size, are there.
        change.push(0x80 | 0x0f | 0x30);
        change.extend_from_slice(&(at as u32).to_le_bytes());
        change.extend_from_slice(&(size as u16).to_le_bytes());
        done += size;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::object::{Content, Edit, Entry, Mode};
    use crate::store::Identity;

    /// Git's own reading of a change.
    fn applied(old: &[u8], change: &[u8]) -> Vec<u8> {
        let mut rest = change;
        let mut byte = || {
            let (first, after) = rest.split_first()?;
            rest = after;
            Some(*first)
        };
        for expected in [Some(old.len()), None] {
            let (mut size, mut shift) = (0, 0);
            loop {
                let next = byte().unwrap();
                size |= usize::from(next & 0x7f) << shift;
                shift += 7;
                if next & 0x80 == 0 {
                    break;
                }
            }
            assert!(expected.is_none_or(|expected| expected == size));
        }
        let mut new = Vec::new();
        while let Some(op) = byte() {
            if op & 0x80 == 0 {
                assert_ne!(op, 0);
                new.extend((0..op).map(|_| byte().unwrap()));
                continue;
            }
            let mut number = |bits: std::ops::Range<u8>| {
                let parts = bits.clone().filter(|bit| op & (1 << bit) != 0);
                let parts: Vec<u8> = parts.collect();
                parts
                    .into_iter()
                    .map(|bit| usize::from(byte().unwrap()) << (8 * (bit - bits.start)))
                    .sum::<usize>()
            };
            let (from, size) = (number(0..4), number(4..7));
            let size = if size == 0 { 0x10000 } else { size };
            new.extend_from_slice(&old[from..from + size]);
        }
        new
    }

    #[test]
    fn a_change_gives_the_new_out_of_the_old() {
        let long: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
        let without = [&long[..300_000], &long[300_036..]].concat();
        for (old, new) in [
            (&b""[..], &b""[..]),
            (b"", b"abc"),
            (b"abc", b""),
            (b"aaaa", b"aaa"),
            (b"aaa", b"aaaa"),
            (b"abc", b"axc"),
            (&long, &long),
            (&long, &without),
            (&without, &long),
            (&long, b"something else"),
        ] {
            assert_eq!(applied(old, &change(old, new)), new);
        }
        assert!(change(&long, &without).len() < 200);
    }

    #[test]
    fn one_lock_of_very_many_is_a_small_pack_that_git_takes() {
        let who = Identity::default();
        let store = Store::in_memory();
        let file = |n: usize| format!("pool/free/env-{n:05}");
        let edits: Vec<Edit> = (0..5000)
            .map(|n| Edit::Write {
                path: file(n),
                mode: Mode::File,
                content: Content::new(n.to_string().into_bytes()),
            })
            .collect();
        let (base, all) = store.make_first_commit(&edits, "all", &who).unwrap();
        let id = crate::object::blob_id(b"77");
        let entry = Entry {
            mode: Mode::File,
            id,
        };
        let moved = [
            Edit::Delete { path: file(77) },
            Edit::Set {
                path: "pool/taken/env-00077".to_owned(),
                entry,
            },
        ];
        let (commit, objects) = store.make_commit(base, &moved, "one", &who).unwrap();

        let thin = store.thin_pack(commit, base).unwrap();

        let whole = store.pack(&objects).unwrap();
        assert!(
            thin.len() < 1000 && whole.len() > 100_000,
            "{} of {}",
            thin.len(),
            whole.len()
        );
        let folder = tempfile::tempdir().unwrap();
        let git = |args: &[&str], input: &[u8]| {
            let output = support::git::run(folder.path(), args, input, &[]);
            assert!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
        };
        git(&["init", "--quiet", "--bare", "."], b"");
        git(&["unpack-objects", "-q"], &store.pack(&all).unwrap());
        git(&["unpack-objects", "-q", "--strict"], &thin);
        git(&["update-ref", "refs/heads/main", &commit.to_string()], b"");
        git(&["fsck", "--strict"], b"");

        let (second, more) = store
            .make_commit(commit, &[Edit::Delete { path: file(78) }], "two", &who)
            .unwrap();
        let both = store.thin_pack(second, base).unwrap();
        assert!(both.len() < 140_000 && more.len() == 4);
        git(&["unpack-objects", "-q", "--strict"], &both);
        git(&["update-ref", "refs/heads/main", &second.to_string()], b"");
        git(&["fsck", "--strict"], b"");
    }

    #[test]
    fn a_small_folder_is_packed_as_it_is() {
        let who = Identity::default();
        let store = Store::in_memory();
        let write = |path: &str| Edit::Write {
            path: path.to_owned(),
            mode: Mode::File,
            content: Content::new(b"x".to_vec()),
        };
        let (base, _) = store.make_first_commit(&[write("a/b")], "a", &who).unwrap();
        let (commit, _) = store.make_commit(base, &[write("a/c")], "b", &who).unwrap();

        assert_eq!(store.thin_pack(commit, base), None);
    }
}

//! What a pack of commits is taken to say.
#![allow(clippy::unwrap_used)]

use std::io::Write as _;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use git2::ObjectType;
use proptest::prelude::*;

use super::*;
use support::fuzz::cases;

const COMMIT: u8 = 1;
const TREE: u8 = 2;
const AT: u8 = 6;
const ID: u8 = 7;

fn text(n: usize) -> Vec<u8> {
    let tree = Oid::hash_object(ObjectType::Tree, b"").unwrap();
    format!(
        "tree {tree}\nauthor A <a@example.com> {n} +0000\ncommitter C <c@example.com> {n} +0100\n\nclaiming: lock-{n}\n"
    )
    .into_bytes()
}

fn id(text: &[u8]) -> Oid {
    Oid::hash_object(ObjectType::Commit, text).unwrap()
}

/// The start of a pack of so many objects.
fn pack(count: u32) -> Vec<u8> {
    [b"PACK\0\0\0\x02".as_slice(), &count.to_be_bytes()].concat()
}

fn object(pack: &mut Vec<u8>, kind: u8, base: &[u8], content: &[u8]) {
    let mut size = content.len();
    let mut byte = (kind << 4) | (size & 15) as u8;
    size >>= 4;
    while size > 0 {
        pack.push(byte | 128);
        byte = (size & 127) as u8;
        size >>= 7;
    }
    pack.push(byte);
    pack.extend_from_slice(base);
    let mut deflate = ZlibEncoder::new(&mut *pack, Compression::default());
    deflate.write_all(content).unwrap();
    deflate.finish().unwrap();
}

/// A distance to a base, as a pack has it.
fn distance_to(mut distance: usize) -> Vec<u8> {
    let mut bytes = vec![(distance & 127) as u8];
    while distance > 127 {
        distance = (distance >> 7) - 1;
        bytes.insert(0, (distance & 127) as u8 | 128);
    }
    bytes
}

fn size_of(mut size: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let byte = (size & 127) as u8;
        size >>= 7;
        bytes.push(if size > 0 { byte | 128 } else { byte });
        if size == 0 {
            return bytes;
        }
    }
}

/// The change that makes `to` of `from`: what both begin with is copied, the rest is added.
fn change(from: &[u8], to: &[u8]) -> Vec<u8> {
    let same = from.iter().zip(to).take_while(|(a, b)| a == b).count();
    let mut change = [size_of(from.len()), size_of(to.len())].concat();
    if same > 0 {
        change.extend([
            128 | 16 | 32 | 64,
            same as u8,
            (same >> 8) as u8,
            (same >> 16) as u8,
        ]);
    }
    for part in to[same..].chunks(127) {
        change.push(part.len() as u8);
        change.extend_from_slice(part);
    }
    change
}

fn read(pack: &[u8], piece: usize) -> Result<Commits, UnfitPack> {
    let mut commits = Commits::new(&std::env::temp_dir()).unwrap();
    let mut reader = Reader::new();
    for bytes in pack.chunks(piece) {
        reader.take(&mut commits, bytes)?;
    }
    reader.end().map(|()| commits)
}

#[test]
fn commits_are_read_whole_in_pieces_of_any_size() {
    let mut packed = pack(3);
    let at = packed.len();
    object(&mut packed, COMMIT, &[], &text(1));
    let distance = packed.len() - at;
    object(
        &mut packed,
        AT,
        &distance_to(distance),
        &change(&text(1), &text(22)),
    );
    object(
        &mut packed,
        ID,
        id(&text(22)).as_bytes(),
        &change(&text(22), &text(333)),
    );
    packed.extend_from_slice(&[7; 20]);
    for piece in [1, 2, 3, 7, 64, 1000] {
        let commits = read(&packed, piece).unwrap();
        for n in [1, 22, 333] {
            let commit = commits.get(id(&text(n))).unwrap();
            assert_eq!(commit.time, i64::try_from(n).unwrap());
            assert_eq!(commit.message, format!("claiming: lock-{n}\n").into_bytes());
            assert!(commit.parents.is_empty());
        }
        assert!(commits.get(id(&text(4))).is_none());
    }
}

#[test]
fn a_pack_that_ends_too_early_is_damaged_wherever_it_ends() {
    let mut packed = pack(2);
    object(&mut packed, COMMIT, &[], &text(1));
    object(&mut packed, COMMIT, &[], &text(2));
    for length in 0..packed.len() {
        let damaged = read(&packed[..length], 5).err();
        assert_eq!(damaged, Some(Damaged("it ends too early")), "{length}");
    }
    assert!(read(&packed, 5).is_ok());
}

#[test]
fn a_pack_with_more_than_commits_is_left_to_others() {
    let mut packed = pack(1);
    object(&mut packed, TREE, &[], b"");
    assert!(matches!(read(&packed, 9).err(), Some(Other(_))));
    assert!(matches!(
        read(&pack(MOST_COMMITS + 1), 9).err(),
        Some(Other(_))
    ));
}

#[test]
fn a_size_that_is_not_that_of_the_content_is_damage() {
    for (shown, real) in [(10, 9), (9, 10)] {
        let mut whole = pack(1);
        object(&mut whole, COMMIT, &[], &vec![b'x'; real]);
        // The only byte of the size.
        whole[12] = (COMMIT << 4) | shown;
        assert!(
            matches!(read(&whole, 3).err(), Some(Damaged(_))),
            "{shown} for {real}"
        );
    }
}

#[test]
fn a_change_that_does_not_fit_its_base_is_damage() {
    let base = b"0123456789";
    let copy = |start: u8, length: u8| [128 | 1 | 16, start, length];
    for change in [
        [&[9, 5][..], &copy(0, 5)].concat(),
        [&[10, 5][..], &copy(6, 5)].concat(),
        [&[10, 5][..], &copy(0, 4)].concat(),
        [&[10, 5][..], &copy(0, 6)].concat(),
        [&[10, 5][..], &[0]].concat(),
        [&[10, 5][..], &[5, b'a']].concat(),
        [&[10, 5][..], &[128 | 1]].concat(),
        vec![10],
        vec![],
    ] {
        assert!(
            matches!(apply(base, &change), Err(Damaged(_))),
            "{change:?}"
        );
    }
    let good = [&[10, 8][..], &copy(2, 5), &[3], b"abc"].concat();
    assert_eq!(apply(base, &good).unwrap(), b"23456abc");
}

#[test]
fn a_name_in_another_encoding_is_no_hindrance() {
    let mut text = text(5);
    let at = text.windows(4).position(|four| four == b"C <c").unwrap();
    text[at] = 0xe9;
    assert_eq!(parse(&text).unwrap().time, 5);
}

#[test]
fn what_is_not_written_as_a_commit_is_none() {
    let good = String::from_utf8(text(5)).unwrap();
    assert!(parse(good.as_bytes()).is_some());
    for bad in [
        good.replace("\n\n", "\n"),
        good.replace("tree ", "twig "),
        good.replacen("4b", "", 1),
        good.replace("committer C <c@example.com> 5 +0100", "committer"),
        String::new(),
    ] {
        assert!(parse(bad.as_bytes()).is_none(), "{bad}");
    }
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn whatever_comes_for_a_pack_is_read_or_refused(
        texts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..5),
        spoilt in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        piece in 1..200_usize,
    ) {
        let mut packed = pack(u32::try_from(texts.len()).unwrap());
        let mut last: Option<(usize, &Vec<u8>)> = None;
        for text in &texts {
            let at = packed.len();
            match last {
                None => object(&mut packed, COMMIT, &[], text),
                Some((base, from)) => {
                    object(&mut packed, AT, &distance_to(at - base), &change(from, text));
                }
            }
            last = Some((at, text));
        }
        for (index, byte) in &spoilt {
            let n = index.index(packed.len());
            packed[n] = *byte;
        }
        let answer = read(&packed, piece);
        if spoilt.is_empty() {
            let commits = answer.unwrap();
            for text in &texts {
                prop_assert!(commits.by_id.contains_key(&id(text)));
            }
        }
    }
}

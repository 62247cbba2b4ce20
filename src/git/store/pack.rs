//! Packs of objects for a server.
//!
//! Not libgit2's: that looks for objects that are alike, of which there are none among those of a push, and presses them together
//! as well as can be, which for the folder of a large pool takes as long as all the rest.
//!
//! Source: `gitformat-pack(5)`.

use std::collections::HashSet;
use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use git2::ObjectType;
use sha1::{Digest, Sha1};

use super::{Store, StoreError, objects};
use crate::object::Oid;

/// The kind of an object that is told as a change of one that is named.
const CHANGE: u8 = 7;

/// A pack that is being written.
pub(super) struct Packer {
    bytes: Vec<u8>,
}

impl Packer {
    /// One that so many objects will be in; `None` where there are too many for any.
    pub fn new(count: usize) -> Option<Packer> {
        let mut bytes = b"PACK\0\0\0\x02".to_vec();
        bytes.extend_from_slice(&u32::try_from(count).ok()?.to_be_bytes());
        Some(Packer { bytes })
    }

    /// Adds an object as it is; `None` for what is none.
    pub fn object(&mut self, kind: ObjectType, data: &[u8]) -> Option<()> {
        let kind = match kind {
            ObjectType::Commit => 1,
            ObjectType::Tree => 2,
            ObjectType::Blob => 3,
            ObjectType::Tag => 4,
            ObjectType::Any => return None,
        };
        self.header(kind, data.len());
        self.deflate(data)
    }

    /// Adds an object as a change of `old`.
    pub fn change(&mut self, old: Oid, change: &[u8]) -> Option<()> {
        self.header(CHANGE, change.len());
        self.bytes.extend_from_slice(old.as_bytes());
        self.deflate(change)
    }

    /// The pack, after the last object.
    pub fn end(mut self) -> Vec<u8> {
        let hash = Sha1::digest(&self.bytes);
        self.bytes.extend_from_slice(&hash);
        self.bytes
    }

    fn header(&mut self, kind: u8, size: usize) {
        let mut byte = (kind << 4) | (size & 0x0f) as u8;
        let mut rest = size >> 4;
        while rest > 0 {
            self.bytes.push(byte | 0x80);
            byte = (rest & 0x7f) as u8;
            rest >>= 7;
        }
        self.bytes.push(byte);
    }

    /// Half of a folder are ids, which nothing makes smaller.
    fn deflate(&mut self, data: &[u8]) -> Option<()> {
        let mut encoder = ZlibEncoder::new(&mut self.bytes, Compression::fast());
        encoder.write_all(data).ok()?;
        encoder.finish().ok().map(|_| ())
    }
}

impl Store {
    /// Packs objects for a server.
    ///
    /// # Errors
    /// [`StoreError`] when one of them is missing.
    pub fn pack(&self, ids: &[Oid]) -> Result<Vec<u8>, StoreError> {
        let mut seen = HashSet::new();
        let ids: Vec<Oid> = ids.iter().copied().filter(|id| seen.insert(*id)).collect();
        let too_much = || objects("make a pack")(git2::Error::from_str("too much for one"));
        let mut packer = Packer::new(ids.len()).ok_or_else(too_much)?;
        let odb = self.odb()?;
        for id in ids {
            let object = odb
                .read(id)
                .map_err(objects(format!("put {id} into a pack")))?;
            packer
                .object(object.kind(), object.data())
                .ok_or_else(too_much)?;
        }
        Ok(packer.end())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn git_finds_in_a_pack_what_was_put_into_it_each_once() {
        let store = Store::in_memory();
        let large = (0..40_000_u32)
            .flat_map(u32::to_le_bytes)
            .collect::<Vec<u8>>();
        let ids: Vec<Oid> = [&b""[..], b"a", &large]
            .iter()
            .map(|content| store.write_raw(ObjectType::Blob, content))
            .collect();
        let twice = [&ids[..], &ids[..]].concat();

        let pack = store.pack(&twice).unwrap();

        assert_eq!(&pack[8..12], 3_u32.to_be_bytes());
        let folder = tempfile::tempdir().unwrap();
        let git = |args: &[&str], input: &[u8]| {
            let output = support::git::run(folder.path(), args, input, &[]);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{said}");
            output.stdout
        };
        git(&["init", "--quiet", "--bare", "."], b"");
        git(&["unpack-objects", "-q", "--strict"], &pack);
        assert_eq!(git(&["cat-file", "blob", &ids[2].to_string()], b""), large);
        for id in &ids {
            git(&["cat-file", "-e", &id.to_string()], b"");
        }
    }

    #[test]
    fn what_is_not_here_is_named() {
        let missing = crate::object::blob_id(b"nowhere");
        let err = Store::in_memory().pack(&[missing]).unwrap_err();
        assert!(err.to_string().contains(&missing.to_string()), "{err}");
    }
}

//! The commits of a branch and nothing else, taken out of a pack while it arrives: for questions to a whole history.
//!
//! libgit2 would write the pack down, index it, and read each commit from there again, which takes three times as long.
//! A commit's id is the hash of what it says, so that a walk from a known one cannot be led astray by what came.
//!
//! Source: `gitformat-pack(5)`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use flate2::{Decompress, FlushDecompress, Status};
use sha1::{Digest, Sha1};

use super::store::Commit;
use crate::object::{Oid, full_id};

/// The most that all commits may have together, in bytes: room for a million.
const MOST_IN_ALL: usize = 512 * 1024 * 1024;

/// The most commits.
const MOST_COMMITS: u32 = 2_000_000;

/// The most that one may have, in bytes.
const MOST_IN_ONE: u64 = 16 * 1024 * 1024;

/// Commits by their ids. What they say is in a file that has no name and goes away with the value: of a long history it is
/// more than a process should hold in its memory.
pub struct Commits {
    texts: Texts,
    by_id: HashMap<Oid, u32>,
    /// In the order in which they came.
    places: Vec<Place>,
}

/// Where one stands among the texts, and where it began in the pack.
#[derive(Clone, Copy)]
struct Place {
    at: u32,
    start: u32,
    end: u32,
}

/// Why a pack is of no use here.
#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
pub(super) enum UnfitPack {
    /// It is damaged.
    #[error("the pack is damaged: {0}")]
    Damaged(&'static str),
    /// It has more than commits, or more of them than there is room for.
    #[error("the pack is not one of commits that are read at once: {0}")]
    Other(&'static str),
}

use UnfitPack::{Damaged, Other};

impl Commits {
    /// None yet; `folder` is for temporary files.
    ///
    /// # Errors
    /// When that cannot be written to.
    pub(super) fn new(folder: &Path) -> io::Result<Commits> {
        Ok(Commits {
            texts: Texts::new(folder)?,
            by_id: HashMap::new(),
            places: Vec::new(),
        })
    }

    /// What a commit says; `None` when it is not here, or not as Git writes one.
    pub fn get(&self, id: Oid) -> Option<Commit> {
        let place = self.places[self.number(id)?];
        self.texts.read(place, parse).ok()?
    }

    /// The files of a commit, and the commits before it.
    pub(super) fn links(&self, id: Oid) -> Option<(Oid, Vec<Oid>)> {
        let place = self.places[self.number(id)?];
        self.texts.read(place, links).ok()?
    }

    /// Which of those that came it was.
    pub(super) fn number(&self, id: Oid) -> Option<usize> {
        self.by_id.get(&id).map(|number| *number as usize)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Adds commits that a store has.
    #[cfg(test)]
    pub(super) fn copy(&mut self, store: &super::store::Store, ids: impl IntoIterator<Item = Oid>) {
        let odb = store.odb().expect("it is there");
        for id in ids {
            let object = odb.read(id).expect("it has that commit");
            let at = self.texts.length as u64;
            let added = self.add(at, object.data());
            added.expect("there is room for some commits");
        }
    }

    fn add(&mut self, at: u64, text: &[u8]) -> Result<(), UnfitPack> {
        let start = self.texts.length;
        let (Ok(at), true) = (u32::try_from(at), start + text.len() <= MOST_IN_ALL) else {
            return Err(Other("there is too much of it"));
        };
        let mut hash = Sha1::new();
        hash.update(format!("commit {}\0", text.len()));
        hash.update(text);
        let id = Oid::from_bytes(&hash.finalize()).map_err(|_| Damaged("no id"))?;
        self.texts.add(text).map_err(|_| NO_ROOM)?;
        self.by_id.insert(id, self.places.len() as u32);
        self.places.push(Place {
            at,
            start: start as u32,
            end: self.texts.length as u32,
        });
        Ok(())
    }

    /// What the commit says that began there in the pack.
    fn text_at(&self, at: u64) -> Result<Vec<u8>, UnfitPack> {
        let found = self
            .places
            .binary_search_by_key(&at, |place| u64::from(place.at));
        self.text(found.map(|number| self.places[number]).ok())
    }

    fn text(&self, place: Option<Place>) -> Result<Vec<u8>, UnfitPack> {
        let place = place.ok_or(Other("a base comes after what is made of it"))?;
        self.texts.read(place, <[u8]>::to_vec).map_err(|_| NO_ROOM)
    }
}

/// Texts one after the other. They are read in nearly the order in which they were written.
struct Texts {
    file: File,
    length: usize,
    /// What is not in the file yet.
    unwritten: Vec<u8>,
    /// A part of the file, and where it begins.
    window: RefCell<(usize, Vec<u8>)>,
}

impl Texts {
    /// How much is written or read at once, in bytes.
    const AT_ONCE: usize = 256 * 1024;

    fn new(folder: &Path) -> io::Result<Texts> {
        Ok(Texts {
            file: tempfile::tempfile_in(folder)?,
            length: 0,
            unwritten: Vec::new(),
            window: RefCell::default(),
        })
    }

    fn add(&mut self, text: &[u8]) -> io::Result<()> {
        self.unwritten.extend_from_slice(text);
        self.length += text.len();
        if self.unwritten.len() >= Self::AT_ONCE {
            self.file.write_all(&self.unwritten)?;
            self.unwritten.clear();
        }
        Ok(())
    }

    fn read<T>(&self, place: Place, take: impl FnOnce(&[u8]) -> T) -> io::Result<T> {
        let (start, end) = (place.start as usize, place.end as usize);
        let written = self.length - self.unwritten.len();
        if start >= written {
            return Ok(take(&self.unwritten[start - written..end - written]));
        }
        let mut window = self.window.borrow_mut();
        let (from, bytes) = &mut *window;
        if start < *from || end > *from + bytes.len() {
            let size = Self::AT_ONCE.max(end - start).min(written - start);
            bytes.resize(size, 0);
            *from = start;
            if let Err(err) = self.file.read_exact_at(bytes, start as u64) {
                bytes.clear();
                return Err(err);
            }
        }
        Ok(take(&bytes[start - *from..end - *from]))
    }
}

const NO_ROOM: UnfitPack = Other("it cannot be kept");

/// A pack that arrives.
pub(super) struct Reader {
    /// How many bytes have been read.
    position: u64,
    /// How many objects are still to come; `None` before the pack's header.
    left: Option<u32>,
    /// The part of a header that has arrived.
    header: Vec<u8>,
    /// The object whose content is arriving.
    current: Option<Object>,
    inflate: Decompress,
    content: Vec<u8>,
}

/// What the header of an object says.
struct Object {
    start: u64,
    base: Base,
    size: usize,
}

/// What an object is told as a change of.
enum Base {
    None,
    At(u64),
    Id(Oid),
}

impl Reader {
    /// Gets ready for a pack.
    pub fn new() -> Reader {
        Reader {
            position: 0,
            left: None,
            header: Vec::new(),
            current: None,
            inflate: Decompress::new(true),
            content: Vec::new(),
        }
    }

    /// Takes in the next part of the pack, of any length, and adds to `commits` what it has of them; always the same.
    ///
    /// # Errors
    /// [`UnfitPack`]; the rest of the pack is of no use then.
    pub fn take(&mut self, commits: &mut Commits, mut bytes: &[u8]) -> Result<(), UnfitPack> {
        // What follows the last object is the pack's own hash.
        while !bytes.is_empty() && self.left != Some(0) {
            let used = match self.current.take() {
                None => {
                    self.header.push(bytes[0]);
                    self.current = self.read_header()?;
                    1
                }
                Some(object) => self.read_content(commits, object, bytes)?,
            };
            self.position += used as u64;
            bytes = &bytes[used..];
        }
        Ok(())
    }

    /// Ends the pack.
    ///
    /// # Errors
    /// [`UnfitPack::Damaged`] when something is missing.
    pub fn end(&self) -> Result<(), UnfitPack> {
        match self.left {
            Some(0) => Ok(()),
            _ => Err(Damaged("it ends too early")),
        }
    }

    /// The object that begins, if its header has arrived.
    fn read_header(&mut self) -> Result<Option<Object>, UnfitPack> {
        let header = self.header.as_slice();
        if self.left.is_none() {
            if let [b'P', b'A', b'C', b'K', 0, 0, 0, 2, count @ ..] = header
                && let Ok(count) = count.try_into()
            {
                let count = u32::from_be_bytes(count);
                if count > MOST_COMMITS {
                    return Err(Other("there are too many objects in it"));
                }
                self.left = Some(count);
                self.header.clear();
            } else if header.len() >= 12 {
                return Err(Damaged("it does not begin as one"));
            }
            return Ok(None);
        }
        let Some((size, length)) = size_of_content(header)? else {
            return Ok(None);
        };
        let kind = (header[0] >> 4) & 7;
        let rest = &header[length..];
        // The header's last byte is being read.
        let start = self.position + 1 - header.len() as u64;
        let base = match kind {
            1 => Base::None,
            6 => match distance(rest)? {
                None => return Ok(None),
                Some(distance) => {
                    Base::At(start.checked_sub(distance).ok_or(Damaged("no such base"))?)
                }
            },
            7 if rest.len() < 20 => return Ok(None),
            7 => Base::Id(Oid::from_bytes(rest).map_err(|_| Damaged("no id"))?),
            2..=4 => return Err(Other("there are other objects in it")),
            _ => return Err(Damaged("no such kind of object")),
        };
        if size > MOST_IN_ONE {
            return Err(Other("an object is too large"));
        }
        let size = usize::try_from(size).map_err(|_| Other("an object is too large"))?;
        self.header.clear();
        self.inflate.reset(true);
        self.content.clear();
        Ok(Some(Object { start, base, size }))
    }

    /// Takes in a part of an object's content, and the object when that was the last; says how many bytes that were.
    fn read_content(
        &mut self,
        commits: &mut Commits,
        object: Object,
        bytes: &[u8],
    ) -> Result<usize, UnfitPack> {
        let before = (self.inflate.total_in(), self.content.len());
        // One byte more than there should be, so that more than that is noticed.
        let room = object.size + 1 - self.content.len();
        self.content.reserve_exact(room);
        let status = self
            .inflate
            .decompress_vec(bytes, &mut self.content, FlushDecompress::None)
            .map_err(|_| Damaged("an object cannot be unpacked"))?;
        let used = usize::try_from(self.inflate.total_in() - before.0).unwrap_or(bytes.len());
        if self.content.len() > object.size {
            return Err(Damaged("an object is longer than it says"));
        }
        if status == Status::StreamEnd {
            if self.content.len() < object.size {
                return Err(Damaged("an object is shorter than it says"));
            }
            self.take_object(commits, &object)?;
        } else if used == 0 && self.content.len() == before.1 {
            return Err(Damaged("an object does not end"));
        } else {
            self.current = Some(object);
        }
        Ok(used)
    }

    fn take_object(&mut self, commits: &mut Commits, object: &Object) -> Result<(), UnfitPack> {
        let base = match object.base {
            Base::None => None,
            Base::At(at) => Some(commits.text_at(at)?),
            Base::Id(id) => {
                let number = commits.number(id);
                Some(commits.text(number.map(|number| commits.places[number]))?)
            }
        };
        match base {
            None => commits.add(object.start, &self.content)?,
            Some(base) => commits.add(object.start, &apply(&base, &self.content)?)?,
        }
        self.left = self.left.map(|left| left - 1);
        Ok(())
    }
}

/// The size of an object's content, and how many bytes tell its kind and that; `None` if they go on.
fn size_of_content(header: &[u8]) -> Result<Option<(u64, usize)>, UnfitPack> {
    let mut size = 0;
    for (n, byte) in header.iter().enumerate() {
        match n {
            0 => size = u64::from(byte & 15),
            1..=8 => size |= u64::from(byte & 127) << (7 * n - 3),
            _ => return Err(Damaged("a size is too long")),
        }
        if byte & 128 == 0 {
            return Ok(Some((size, n + 1)));
        }
    }
    Ok(None)
}

/// How far before an object its base begins; `None` if the bytes go on.
fn distance(bytes: &[u8]) -> Result<Option<u64>, UnfitPack> {
    let mut distance: u64 = 0;
    for (n, byte) in bytes.iter().enumerate() {
        if n > 8 {
            return Err(Damaged("a distance is too long"));
        }
        // Each further byte stands for one more than it says, so that there is one way only to write a number.
        distance = match n {
            0 => u64::from(byte & 127),
            _ => ((distance + 1) << 7) | u64::from(byte & 127),
        };
        if byte & 128 == 0 {
            return Ok(Some(distance));
        }
    }
    Ok(None)
}

/// What comes of a base by a change to it.
fn apply(base: &[u8], change: &[u8]) -> Result<Vec<u8>, UnfitPack> {
    let mut rest = change;
    if size(&mut rest)? != base.len() as u64 {
        return Err(Damaged("a change is to something else"));
    }
    let size = size(&mut rest)?;
    if size > MOST_IN_ONE {
        return Err(Other("an object is too large"));
    }
    let mut text = Vec::new();
    while !rest.is_empty() {
        let instruction = byte(&mut rest)?;
        let part = match instruction {
            0 => return Err(Damaged("no such instruction in a change")),
            1..128 => {
                let added = rest.split_at_checked(usize::from(instruction));
                let (added, after) = added.ok_or(CUT)?;
                rest = after;
                added
            }
            128.. => {
                let start = number(&mut rest, instruction & 15)?;
                let length = match number(&mut rest, (instruction >> 4) & 7)? {
                    0 => 0x1_0000,
                    length => length,
                };
                base.get(start..start + length)
                    .ok_or(Damaged("a change goes past its base"))?
            }
        };
        if (text.len() + part.len()) as u64 > size {
            return Err(Damaged("a change makes more than it says"));
        }
        text.extend_from_slice(part);
    }
    if (text.len() as u64) < size {
        return Err(Damaged("a change makes less than it says"));
    }
    Ok(text)
}

const CUT: UnfitPack = Damaged("a change is cut off");

fn byte(bytes: &mut &[u8]) -> Result<u8, UnfitPack> {
    let (first, rest) = bytes.split_first().ok_or(CUT)?;
    *bytes = rest;
    Ok(*first)
}

/// A number of which only those bytes are written that have a bit set here, the lowest first.
fn number(bytes: &mut &[u8], written: u8) -> Result<usize, UnfitPack> {
    let mut number = 0;
    for n in 0..4 {
        if written & (1 << n) != 0 {
            number |= usize::from(byte(bytes)?) << (8 * n);
        }
    }
    Ok(number)
}

/// A size, of seven bits in each byte, the lowest first.
fn size(bytes: &mut &[u8]) -> Result<u64, UnfitPack> {
    let mut size = 0;
    for n in 0..8 {
        let next = byte(bytes)?;
        size |= u64::from(next & 127) << (7 * n);
        if next & 128 == 0 {
            return Ok(size);
        }
    }
    Err(Damaged("a size is too long"))
}

/// The files that the bytes of a commit name, and the commits before it.
fn links(bytes: &[u8]) -> Option<(Oid, Vec<Oid>)> {
    const ID: usize = 40;
    let id = |bytes: &[u8]| full_id(std::str::from_utf8(bytes).ok()?);
    let (tree, mut rest) = bytes.strip_prefix(b"tree ")?.split_at_checked(ID)?;
    let mut parents = Vec::new();
    while let Some(parent) = rest.strip_prefix(b"\nparent ") {
        let (parent, after) = parent.split_at_checked(ID)?;
        parents.push(id(parent)?);
        rest = after;
    }
    rest.starts_with(b"\n").then_some((id(tree)?, parents))
}

/// What the bytes of a commit say; `None` when they are not as Git writes them.
fn parse(bytes: &[u8]) -> Option<Commit> {
    let end = bytes.windows(2).position(|two| two == b"\n\n")?;
    // Names may be in any encoding.
    let head = String::from_utf8_lossy(&bytes[..end]);
    let message = &bytes[end + 2..];
    let mut lines = head.lines();
    let tree = full_id(lines.next()?.strip_prefix("tree ")?)?;
    let mut parents = Vec::new();
    for line in lines {
        if let Some(parent) = line.strip_prefix("parent ") {
            parents.push(full_id(parent)?);
        } else if let Some(committer) = line.strip_prefix("committer ") {
            return Some(Commit {
                tree,
                parents,
                time: committer.rsplit(' ').nth(1)?.parse().ok()?,
                message: message.to_owned(),
            });
        }
    }
    None
}

#[cfg(test)]
mod tests;

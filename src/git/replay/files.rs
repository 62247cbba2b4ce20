//! All files of a commit, in folders that are read when they are needed, and can be changed.

use sha1::{Digest, Sha1};

use crate::object::{Entry, Mode, Oid};
use crate::store::{Store, mode_of, raw};

/// All files of one commit.
pub(super) struct Files {
    root: Folder,
    /// What is hashed, before it is.
    buffer: Vec<u8>,
    /// How many bytes were hashed so far.
    pub hashed: u64,
}

/// A folder that was read.
#[derive(Default)]
struct Folder {
    /// In Git's order.
    items: Vec<Item>,
    id: Option<Oid>,
}

struct Item {
    /// As the folder has it: the mode, a space, the name, a zero.
    head: Vec<u8>,
    name_at: usize,
    mode: i32,
    id: Oid,
    below: Option<Folder>,
}

impl Files {
    /// The files of this id; `None` when the store does not have them.
    pub fn new(id: Oid, store: &Store) -> Option<Files> {
        Some(Files {
            root: Folder::read(id, &[store])?,
            buffer: Vec::new(),
            hashed: 0,
        })
    }

    /// The id of all of them.
    pub fn id(&mut self) -> Oid {
        self.root.hash(&mut self.buffer, &mut self.hashed)
    }

    /// What stands at a path.
    pub fn get(&mut self, path: &str, stores: &[&Store]) -> Option<Entry> {
        let mut folder = &mut self.root;
        let mut parts = path.split('/').peekable();
        loop {
            let part = parts.next()?;
            let at = folder.find(part.as_bytes()).ok()?;
            let item = &mut folder.items[at];
            if parts.peek().is_none() {
                return Some(Entry {
                    mode: mode_of(item.mode),
                    id: item.id,
                });
            }
            folder = item.read(stores)?;
        }
    }

    /// Puts something at a path, or takes away what stands there; gives what stood there. Folders that are missing are made, and
    /// those that become empty go.
    pub fn replace(
        &mut self,
        path: &str,
        entry: Option<Entry>,
        stores: &[&Store],
    ) -> Option<Entry> {
        self.root.replace(path, entry, stores)
    }
}

impl Folder {
    fn read(id: Oid, stores: &[&Store]) -> Option<Folder> {
        let store = stores.iter().find(|store| store.has(id))?;
        let items = store.raw_list(id).ok()?;
        Some(Folder {
            items: items
                .into_iter()
                .map(|(name, mode, id)| Item::new(&name, mode, id))
                .collect(),
            id: Some(id),
        })
    }

    /// Where a name is, else where it belongs as a file.
    fn find(&self, name: &[u8]) -> Result<usize, usize> {
        let find = |is_folder| {
            let key = (name, is_folder);
            self.items
                .binary_search_by(|item| in_order(item.key(), key))
        };
        match find(false) {
            Err(place) => find(true).map_err(|_| place),
            found => found,
        }
    }

    fn replace(&mut self, path: &str, entry: Option<Entry>, stores: &[&Store]) -> Option<Entry> {
        let (name, rest) = match path.split_once('/') {
            Some((name, rest)) => (name, Some(rest)),
            None => (path, None),
        };
        let found = self.find(name.as_bytes());
        let Some(rest) = rest else {
            self.id = None;
            let stood = found.ok().map(|at| self.items.remove(at));
            if let Some(entry) = entry {
                let item = Item::new(name.as_bytes(), raw(entry.mode), entry.id);
                self.insert(item);
            }
            return stood.map(|item| Entry {
                mode: mode_of(item.mode),
                id: item.id,
            });
        };
        let at = match found {
            Ok(at) => at,
            Err(_) => {
                entry?;
                let mut item = Item::new(name.as_bytes(), raw(Mode::Folder), Oid::ZERO_SHA1);
                item.below = Some(Folder::default());
                self.insert(item)
            }
        };
        let below = self.items[at].read(stores)?;
        let stood = below.replace(rest, entry, stores);
        if below.items.is_empty() {
            self.items.remove(at);
        }
        self.id = None;
        stood
    }

    fn insert(&mut self, item: Item) -> usize {
        let at = self
            .items
            .partition_point(|other| in_order(other.key(), item.key()).is_lt());
        self.items.insert(at, item);
        at
    }

    fn hash(&mut self, buffer: &mut Vec<u8>, hashed: &mut u64) -> Oid {
        if let Some(id) = self.id {
            return id;
        }
        for item in &mut self.items {
            if let Some(below) = &mut item.below {
                item.id = below.hash(buffer, hashed);
            }
        }
        let length: usize = self.items.iter().map(|item| item.head.len() + 20).sum();
        buffer.clear();
        buffer.extend_from_slice(format!("tree {length}\0").as_bytes());
        for item in &self.items {
            buffer.extend_from_slice(&item.head);
            buffer.extend_from_slice(item.id.as_bytes());
        }
        *hashed += length as u64;
        let id = Oid::from_bytes(&Sha1::digest(&buffer));
        *self
            .id
            .insert(id.expect("a hash of SHA-1 has twenty bytes"))
    }
}

impl Item {
    fn new(name: &[u8], mode: i32, id: Oid) -> Item {
        let mut head = format!("{mode:o} ").into_bytes();
        let name_at = head.len();
        head.extend_from_slice(name);
        head.push(0);
        Item {
            head,
            name_at,
            mode,
            id,
            below: None,
        }
    }

    /// By what it is sorted.
    fn key(&self) -> (&[u8], bool) {
        let name = &self.head[self.name_at..self.head.len() - 1];
        (name, mode_of(self.mode) == Mode::Folder)
    }

    /// The folder that it is, if it is one and can be read.
    fn read(&mut self, stores: &[&Store]) -> Option<&mut Folder> {
        if mode_of(self.mode) != Mode::Folder {
            return None;
        }
        if self.below.is_none() {
            self.below = Some(Folder::read(self.id, stores)?);
        }
        self.below.as_mut()
    }
}

/// Git sorts a folder as if its name had a slash at the end.
fn in_order(one: (&[u8], bool), other: (&[u8], bool)) -> std::cmp::Ordering {
    let common = one.0.len().min(other.0.len());
    let end = |name: &[u8], is_folder: bool| match name.get(common) {
        Some(byte) => *byte,
        None if is_folder => b'/',
        None => 0,
    };
    one.0[..common]
        .cmp(&other.0[..common])
        .then_with(|| end(one.0, one.1).cmp(&end(other.0, other.1)))
        .then_with(|| one.0.len().cmp(&other.0.len()))
}

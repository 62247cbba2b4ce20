//! Notes: commits without files, for refs that say something and hold nothing.
//!
//! A note that follows another has it as its parent, so that a server takes the change for a fast-forward. The parent
//! need not be here: it is on the server, where its ref points to it.

use git2::ObjectType;

use crate::object::Oid;
use crate::store::{Identity, Store, StoreError, in_header, objects};

/// A commit without files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Note<'a> {
    /// The note that it follows, if it follows one.
    pub after: Option<Oid>,
    /// What it says.
    pub message: &'a str,
    /// Who says so.
    pub identity: &'a Identity,
    /// When: seconds since 1970.
    pub time: u64,
}

impl Note<'_> {
    /// The id that Git gives it. The same note has the same id everywhere.
    pub fn id(&self) -> Oid {
        hash(ObjectType::Commit, self.text().as_bytes())
    }

    fn text(&self) -> String {
        let mut text = format!("tree {}\n", no_files());
        if let Some(after) = self.after {
            text += &format!("parent {after}\n");
        }
        let name = in_header(&self.identity.name);
        let email = in_header(&self.identity.email);
        let time = self.time;
        text += &format!("author {name} <{email}> {time} +0000\n");
        text += &format!("committer {name} <{email}> {time} +0000\n\n");
        text + self.message
    }
}

impl Store {
    /// Makes a note, and gives the objects that a server needs to have it.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be written.
    pub fn make_note(&self, note: &Note<'_>) -> Result<(Oid, Vec<Oid>), StoreError> {
        let odb = self.odb()?;
        let write = |kind, bytes: &[u8]| odb.write(kind, bytes).map_err(objects("make a note"));
        let tree = write(ObjectType::Tree, b"")?;
        let commit = write(ObjectType::Commit, note.text().as_bytes())?;
        Ok((commit, vec![tree, commit]))
    }
}

/// The tree without any file.
fn no_files() -> Oid {
    hash(ObjectType::Tree, b"")
}

fn hash(kind: ObjectType, bytes: &[u8]) -> Oid {
    Oid::hash_object(kind, bytes).expect("hashing bytes in memory cannot fail")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_note_is_a_commit_without_files_whose_id_can_be_told_without_making_it() {
        let store = Store::in_memory();
        let identity = Identity {
            name: "a <b>\n".to_owned(),
            email: "c@d".to_owned(),
            signer: None,
        };
        let note = |after, time| Note {
            after,
            message: "x waiting for y\n\nPool-Count: 1\n",
            identity: &identity,
            time,
        };

        let (first, _) = store.make_note(&note(None, 7)).unwrap();
        let elsewhere = Oid::from_str("0123456789abcdef0123456789abcdef01234567").unwrap();
        let (second, made) = store.make_note(&note(Some(elsewhere), 8)).unwrap();

        assert_eq!(note(None, 7).id(), first);
        assert_eq!(note(Some(elsewhere), 8).id(), second);
        assert_eq!(made, [no_files(), second]);
        let commit = store.commit(second).unwrap().unwrap();
        assert_eq!((commit.time, commit.tree), (8, no_files()));
        assert_eq!(commit.parents, [elsewhere]);
        assert_eq!(commit.message, note(None, 0).message.as_bytes());
        assert_eq!(
            no_files().to_string(),
            "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
        );
    }
}

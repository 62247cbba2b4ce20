//! Documents on a branch of a Git repository: a file for each, and a commit for each change.

use std::cell::Cell;
use std::path::Path;
use std::time::Duration;

use git::object::{Content, Edit, Mode, Oid, is_branch};
use git::{
    Access, Depth, Files, HistoryError, Identity, Interest, Location, Pack, PushAnswer, RefUpdate,
    Remote, RemoteError, Snapshot, Store, refusal,
};
use pace::Fault;

use super::{Before, Entry, Reading, StoreError, Write, Written, check_size, document};
use crate::yaml;

/// What files are called after the id.
const SUFFIX: &str = ".yaml";

/// How often a server may refuse a commit though nobody moved the branch, before it is believed.
const PATIENCE: usize = 3;

/// The most entries of a history.
const MOST_ENTRIES: usize = 1000;

/// Where a repository is, and how to write to it.
pub struct GitPlace {
    /// Where.
    pub location: Location,
    /// How, and as whom.
    pub access: Access,
    /// The branch.
    pub branch: String,
    /// The folder of the documents; empty for the root.
    pub folder: String,
    /// Who commits.
    pub identity: Identity,
    /// What a subject begins with, such as the name of the build.
    pub origin: String,
    /// A link to the build, for the message.
    pub link: Option<String>,
    /// How long faults are ridden out.
    pub fault_limit: Duration,
}

/// Documents on a branch.
pub struct GitStore {
    place: GitPlace,
    remote: Remote,
    /// Where the branch was when it was read last; `None` where there is none.
    base: Option<Snapshot>,
    /// The commits whose pushes got no answer, by their attempts.
    uncertain: Vec<(usize, Oid)>,
    /// Where the branch was when the server refused, and how often.
    refused: Option<(Option<Oid>, usize)>,
}

impl GitStore {
    /// Gets ready to talk; connects to nothing yet. `temporary` is the folder for temporary files.
    ///
    /// # Errors
    /// [`StoreError`] when the branch is none, or the transport cannot be set up.
    pub fn new(place: GitPlace, temporary: &Path) -> Result<GitStore, StoreError> {
        let is_folder = |name: &str| !matches!(name, "" | "." | ".." | ".git");
        if !is_branch(&place.branch) {
            return Err(StoreError::Unsupported(format!(
                "`datasources.git.branch`: `{}` is not the name of a branch",
                place.branch.escape_debug()
            )));
        }
        if !(place.folder.is_empty() || place.folder.split('/').all(is_folder)) {
            return Err(StoreError::Unsupported(format!(
                "`datasources.git.path`: `{}` is not a folder in a repository; write it as a/b",
                place.folder.escape_debug()
            )));
        }
        let store = Store::temporary(temporary)?;
        let mut remote = Remote::new(&place.location, &place.access, &place.branch, store)?;
        remote.want_files(Files::None);
        Ok(GitStore {
            place,
            remote,
            base: None,
            uncertain: Vec::new(),
            refused: None,
        })
    }

    pub(super) fn fault_limit(&self) -> Duration {
        self.place.fault_limit
    }

    /// Ends what is open to the server.
    pub(super) async fn close(&mut self) {
        self.remote.forget_push().await;
    }

    pub(super) async fn read(&mut self, id: &str) -> Result<Reading, StoreError> {
        let path = self.path_of(id);
        loop {
            self.base = self.look().await?;
            let Some(base) = self.base else {
                return Ok(Reading {
                    document: None,
                    before: Before::NotMade,
                });
            };
            let history = self.remote.history(&base);
            let entry = history
                .entry(base.commit, &path)?
                .filter(|entry| entry.mode.is_blob());
            let document = match entry {
                None => None,
                Some(entry) => {
                    if !self.remote.fetch_files(&[entry.id]).await? {
                        // What was fetched is gone, and comes again with all files.
                        continue;
                    }
                    let place = format!("in `{}`", self.remote.name());
                    let bytes = self.remote.store().blob(entry.id)?;
                    let text = String::from_utf8(bytes).map_err(|_| StoreError::Unreadable {
                        place: place.clone(),
                        id: terminal::one_line(id),
                        why: "it is no text".to_owned(),
                    })?;
                    check_size(&text, &place)?;
                    Some(document(&text, &place, id)?)
                }
            };
            let before = self.became(base).await?;
            return Ok(Reading { document, before });
        }
    }

    /// Where the branch is; `None` where there is none.
    async fn look(&mut self) -> Result<Option<Snapshot>, StoreError> {
        // Whoever loses race after race with a large document has made it as often.
        self.remote.may_begin_anew();
        let interest = |_: &git::Listing| Interest::Head(Depth::HEAD, Vec::new());
        match self.remote.look(true, &interest).await {
            Ok((listing, fetched)) => Ok(fetched.or(Some(Snapshot {
                commit: listing.head,
                depth: Depth::HEAD,
            }))),
            Err(RemoteError::NoBranch { .. }) => Ok(None),
            Err(err) => Err(err.into()),
        }
    }

    /// What became of the pushes that got no answer.
    async fn became(&mut self, base: Snapshot) -> Result<Before, StoreError> {
        for (attempt, commit) in self.uncertain.clone() {
            let mut base = base;
            loop {
                match self.remote.history(&base).since(commit) {
                    Ok(Some(_)) => return Ok(Before::Made(attempt)),
                    Ok(None) => break,
                    Err(HistoryError::Store(err)) => return Err(err.into()),
                    Err(HistoryError::Truncated) => match base.depth.deeper() {
                        // Somebody else may have moved the branch on; that one has ours in its history as well.
                        Some(deeper) => base = self.remote.snapshot(deeper).await?,
                        None => return Ok(Before::Unknown),
                    },
                }
            }
        }
        Ok(Before::NotMade)
    }

    pub(super) async fn write(&mut self, write: &Write<'_>) -> Result<Written, StoreError> {
        let path = self.path_of(write.id);
        let edit = match write.document {
            Some(document) => {
                let text = yaml::write(document);
                check_size(&text, &format!("for `{}`", self.remote.name()))?;
                Edit::Write {
                    path,
                    mode: Mode::File,
                    content: Content::new(text.into_bytes()),
                }
            }
            None => Edit::Delete { path },
        };
        let origin = &self.place.origin;
        let mut message = format!("{origin}{}", terminal::one_line(write.does));
        if let Some(link) = &self.place.link {
            message.push_str(&format!("\n\n{}", terminal::one_line(link)));
        }
        message.push('\n');
        let (store, identity) = (self.remote.store(), &self.place.identity);
        let at = self.base.map(|base| base.commit);
        let (commit, objects) = match at {
            Some(at) => store.make_commit(at, &[edit], &message, identity)?,
            None => store.make_first_commit(&[edit], &message, identity)?,
        };
        let pack = store.pack(&objects)?;
        let reason = match self.push(at, commit, &pack).await {
            Ok(None) => return Ok(Written::Done),
            Ok(Some(reason)) => reason,
            Err(err) if err.is_transient() => {
                self.uncertain.push((write.attempt, commit));
                return Ok(Written::Unknown(err.into()));
            }
            Err(err) => return Err(err.into()),
        };
        // Words that are said in a race, or by a server that comes back, are believed when nobody has moved the branch.
        let times = match self.refused {
            Some((then, times)) if then == at => times + 1,
            _ => 1,
        };
        self.refused = Some((at, times));
        let may_pass = matches!(
            refusal::of_ref(&reason),
            refusal::Kind::Raced | refusal::Kind::Passing
        );
        match times >= PATIENCE || !may_pass {
            true => Err(StoreError::Rejected {
                remote: self.remote.name().to_owned(),
                reason,
            }),
            false => Ok(Written::Overtaken),
        }
    }

    /// Pushes a commit; gives the server's reason when it has not taken it.
    async fn push(
        &self,
        base: Option<Oid>,
        commit: Oid,
        pack: &[u8],
    ) -> Result<Option<String>, RemoteError> {
        let Some(base) = base else {
            let new = RefUpdate {
                name: format!("refs/heads/{}", self.place.branch),
                old: None,
                new: Some(commit),
            };
            return self.remote.update_refs(&[new], pack).await;
        };
        let (sent, pack) = (Cell::new(false), Pack::Made(pack.to_vec()));
        Ok(
            match self.remote.push(base, commit, &pack, &[], &sent).await? {
                PushAnswer::Accepted { .. } => None,
                PushAnswer::Moved => Some("fetch first".to_owned()),
                PushAnswer::Rejected { reason, words } => {
                    Some(format!("{reason}{}", terminal::harmless::said(&words)))
                }
            },
        )
    }

    pub(super) async fn list(&mut self) -> Result<Vec<String>, StoreError> {
        let Some(base) = self.look().await? else {
            return Ok(Vec::new());
        };
        self.close().await;
        let history = self.remote.history(&base);
        let names = match self.place.folder.as_str() {
            "" => {
                let tree = history.commit(base.commit)?.tree;
                self.remote.store().list(tree)?
            }
            folder => history.list(base.commit, folder)?,
        };
        let ids = names.into_iter().filter(|named| named.entry.mode.is_blob());
        let ids = ids.filter_map(|named| id_of(&String::from_utf8(named.name).ok()?));
        Ok(ids.collect())
    }

    pub(super) async fn history(&mut self, id: &str) -> Result<Vec<Entry>, StoreError> {
        let path = self.path_of(id);
        let mut depth = Depth::RECENT;
        loop {
            let base = match self.remote.snapshot(depth).await {
                Ok(base) => base,
                Err(RemoteError::NoBranch { .. }) => return Ok(Vec::new()),
                Err(err) => return Err(err.into()),
            };
            match self.entries(&base, &path) {
                Ok(entries) => return Ok(entries),
                Err(HistoryError::Truncated) => match base.depth.max(depth).deeper() {
                    Some(deeper) => depth = deeper,
                    None => return Err(HistoryError::Truncated.into()),
                },
                Err(err) => return Err(err.into()),
            }
        }
    }

    fn entries(&self, base: &Snapshot, path: &str) -> Result<Vec<Entry>, HistoryError> {
        let history = self.remote.history(base);
        let mut entries = Vec::new();
        for commit in history.first_parents(base.commit) {
            let id = commit?;
            if history.touches(id, path)? {
                let commit = history.commit(id)?;
                let message = String::from_utf8_lossy(&commit.message).into_owned();
                entries.push(Entry {
                    time: commit.time,
                    commit: id.to_string(),
                    does: terminal::one_line(message.lines().next().unwrap_or_default()),
                });
            }
            if entries.len() >= MOST_ENTRIES {
                break;
            }
        }
        Ok(entries)
    }

    fn path_of(&self, id: &str) -> String {
        let name = name_of(id);
        match self.place.folder.as_str() {
            "" => name,
            folder => format!("{folder}/{name}"),
        }
    }
}

/// The name of the file of an id: whatever is no letter, digit, `-`, `_` or `.` within it is percent-encoded.
fn name_of(id: &str) -> String {
    let mut name = String::new();
    for (n, byte) in id.bytes().enumerate() {
        let is_kept = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        match is_kept || (byte == b'.' && n > 0) {
            true => name.push(char::from(byte)),
            false => name.push_str(&format!("%{byte:02X}")),
        }
    }
    name + SUFFIX
}

/// The id of a file with this name.
fn id_of(name: &str) -> Option<String> {
    let mut left = name.strip_suffix(SUFFIX)?;
    let mut bytes = Vec::new();
    while let Some((start, rest)) = left.split_once('%') {
        bytes.extend_from_slice(start.as_bytes());
        bytes.push(u8::from_str_radix(rest.get(..2)?, 16).ok()?);
        left = &rest[2..];
    }
    bytes.extend_from_slice(left.as_bytes());
    let id = String::from_utf8(bytes).ok()?;
    (name_of(&id) == name).then_some(id)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;
    use support::TestRemote;

    use super::*;
    use crate::value::Value;

    #[tokio::test]
    async fn documents_of_lost_races_do_not_pile_up() {
        const LARGE: usize = 8 * 1024 * 1024;
        let theirs = TestRemote::with_pool("aws", &["env-1"]);
        let place = GitPlace {
            location: Location::Path(theirs.path().to_owned()),
            access: Access::default(),
            branch: "main".to_owned(),
            folder: String::new(),
            identity: Identity::default(),
            origin: String::new(),
            link: None,
            fault_limit: Duration::ZERO,
        };
        let mut store = GitStore::new(place, &std::env::temp_dir()).unwrap();
        let document = |n: u8| Value::from(char::from(b'a' + n).to_string().repeat(LARGE));
        for n in 0..12 {
            assert!(store.read("x").await.unwrap().document.is_none());
            theirs.commit("somebody was faster", &[]);
            let write = Write {
                id: "x",
                document: Some(&document(n)),
                does: "set",
                attempt: 0,
            };
            let written = store.write(&write).await.unwrap();
            assert!(matches!(written, Written::Overtaken), "{n}");
        }

        store.read("x").await.unwrap();

        let made = |n| git::object::blob_id(yaml::write(&document(n)).as_bytes());
        assert!(!store.remote.store().has(made(0)));
    }

    #[test]
    fn an_id_becomes_a_name_that_stays_in_its_folder() {
        for (id, name) in [
            ("build-7_a.b", "build-7_a.b.yaml"),
            ("../x", "%2E.%2Fx.yaml"),
            (".git", "%2Egit.yaml"),
            ("a b/ü", "a%20b%2F%C3%BC.yaml"),
        ] {
            assert_eq!(name_of(id), name);
        }
        for name in ["x", "%2.yaml", "%zz.yaml", "%41.yaml", ".x.yaml"] {
            assert_eq!(id_of(name), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn the_name_of_a_file_tells_its_id(id in "\\PC{0,30}") {
            prop_assert_eq!(id_of(&name_of(&id)), Some(id));
        }
    }
}

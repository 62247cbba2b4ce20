//! Claims that have stood for long, found without fetching every file that ever was.
//!
//! The whole history of a lock repository is large because of its folders: each commit has some of its own. Where the
//! server can leave them out, all commits together are a fifth of it. Their subjects say which of them may have claimed a
//! lock that is claimed now; of those alone the folders are fetched, and decide. What a subject says is a hint: a commit
//! that is silent about locks is looked into as well, and one that claims is believed by its folders alone. Only who
//! releases a lock and takes it again in commits that speak of something else can make an older claim look as if it stood;
//! so this is good for showing, and nothing is decided by it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use crate::git::{Remote, RemoteError, Snapshot, Store, StoreError};
use crate::ledger::Held;
use crate::lock::{ClaimId, Holding, LockName, PoolName};
use crate::message;
use crate::object::Oid;
use crate::report::at;

/// All commits, and none of their folders.
const COMMITS: &str = "tree:0";

/// Folders, and none of the files in them.
const FOLDERS: &str = "blob:none";

/// With more commits than this that don't speak of locks it is cheaper to fetch everything.
const MOST_SILENT: usize = 500;

/// How many commits are looked into in one round for each claim that is looked for, at first; twice as many in each
/// round after that.
const FIRST_ROUND: usize = 2;

/// More rounds than this are not worth it.
const MOST_ROUNDS: usize = 6;

type Claims = BTreeMap<PoolName, BTreeMap<LockName, Held>>;

/// The commits of a branch, and the folders of some.
pub(super) struct Far {
    temporary: PathBuf,
}

/// A commit that may have claimed a lock.
#[derive(Clone, Copy)]
struct Candidate {
    /// How many commits are after it.
    age: usize,
    id: Oid,
    /// The one it was made on.
    base: Option<Oid>,
}

/// A sign of life of a claim's holder.
struct Sign {
    commit: Oid,
    time: i64,
    lease_end: Option<SystemTime>,
}

/// What the commits say by themselves.
#[derive(Default)]
struct Hints {
    /// By the name of the lock that they say they claim; the newest first.
    claims: HashMap<LockName, Vec<Candidate>>,
    /// Those that say nothing of locks.
    silent: Vec<Candidate>,
    /// By the claim, the last commit that shows it and changes nothing.
    renewals: HashMap<Oid, Sign>,
}

impl Far {
    pub fn new(temporary: &Path) -> Far {
        Far {
            temporary: temporary.to_owned(),
        }
    }

    /// The claims that stand in these pools; `None` when they cannot be found in this way.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub async fn claims(
        &mut self,
        remote: &Remote,
        snapshot: &Snapshot,
        pools: &[PoolName],
    ) -> Result<Option<Claims>, RemoteError> {
        let store = Store::temporary(&self.temporary)?;
        match remote.fetch_some(&store, &[], COMMITS).await? {
            Some(_) if store.has(snapshot.commit) => {}
            _ => return Ok(None),
        }
        let mut found = Claims::new();
        let mut open: BTreeMap<LockName, Vec<PoolName>> = BTreeMap::new();
        for pool in pools {
            found.entry(pool.clone()).or_default();
            for lock in claimed(remote.store(), snapshot.commit, pool)? {
                open.entry(lock).or_default().push(pool.clone());
            }
        }
        let Some(hints) = Hints::read(&store, snapshot.commit, &open)? else {
            return Ok(None);
        };

        let mut looked_into: BTreeSet<Oid> = BTreeSet::new();
        let mut known: HashMap<LockName, usize> = HashMap::new();
        for round in 0..MOST_ROUNDS {
            let mut wanted = Vec::new();
            if round == 0 {
                wanted.extend_from_slice(&hints.silent);
            }
            for (lock, pools) in &open {
                let from = known.get(lock).copied().unwrap_or_default();
                let more = (FIRST_ROUND << round) * pools.len();
                let named = hints.claims.get(lock).map_or(&[][..], Vec::as_slice);
                let to = (from + more).min(named.len());
                wanted.extend_from_slice(&named[from..to]);
                known.insert(lock.clone(), to);
            }
            let commits: BTreeSet<Oid> = wanted
                .iter()
                .flat_map(|candidate| candidate.base.into_iter().chain([candidate.id]))
                .filter(|commit| looked_into.insert(*commit))
                .collect();
            let commits: Vec<Oid> = commits.into_iter().collect();
            if !commits.is_empty()
                && remote
                    .fetch_some(&store, &commits, FOLDERS)
                    .await?
                    .is_none()
            {
                return Ok(None);
            }
            for (lock, pools) in &mut open {
                let named = hints.claims.get(lock).map_or(&[][..], Vec::as_slice);
                let seen = known.get(lock).copied().unwrap_or_default();
                // What is older than the next one that has not been looked into must wait for it.
                let until = named.get(seen).map_or(usize::MAX, |next| next.age);
                let silent = hints.silent.iter().filter(|one| one.age < until);
                let mut candidates: Vec<Candidate> =
                    named[..seen].iter().chain(silent).copied().collect();
                candidates.sort_by_key(|candidate| candidate.age);
                let mut rest = Vec::new();
                for pool in std::mem::take(pools) {
                    match hints.first_claim(&store, &candidates, &pool, lock)? {
                        Some(held) => {
                            let claims = found.entry(pool).or_default();
                            claims.insert(lock.clone(), held);
                        }
                        None => rest.push(pool),
                    }
                }
                *pools = rest;
            }
            open.retain(|_, pools| !pools.is_empty());
            if open.is_empty() {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

impl Hints {
    /// Reads all commits of the branch; `None` when they don't tell enough.
    fn read(
        store: &Store,
        head: Oid,
        open: &BTreeMap<LockName, Vec<PoolName>>,
    ) -> Result<Option<Hints>, StoreError> {
        let mut hints = Hints::default();
        let (mut id, mut next) = (head, store.skim(head)?);
        let mut age = 0;
        while let Some(commit) = next {
            let base = commit.parents.first().copied();
            let before = match base {
                Some(base) => store.skim(base)?,
                None => None,
            };
            let candidate = Candidate { age, id, base };
            if before
                .as_ref()
                .is_some_and(|before| before.tree == commit.tree)
            {
                let shown = message::trailer(&commit.message, message::CLAIM)
                    .filter(|claim| claim.len() == 40)
                    .and_then(|claim| claim.parse().ok());
                if let Some(claim) = shown {
                    let sign = hints.renewals.entry(claim).or_insert_with(|| Sign {
                        commit: id,
                        time: commit.time,
                        lease_end: None,
                    });
                    sign.lease_end = sign
                        .lease_end
                        .or_else(|| message::lease_end(&commit.message));
                }
            } else {
                match message::read_subject(&commit.message) {
                    Some(subject) if subject.verb.is_claim() => {
                        let several = subject.lock.split(", ");
                        let names: BTreeSet<&str> = several.chain([&*subject.lock]).collect();
                        let locks = names
                            .into_iter()
                            .filter_map(|name| LockName::new(name).ok());
                        for lock in locks.filter(|lock| open.contains_key(lock)) {
                            hints.claims.entry(lock).or_default().push(candidate);
                        }
                    }
                    Some(_) => {}
                    None => hints.silent.push(candidate),
                }
                if hints.silent.len() > MOST_SILENT {
                    return Ok(None);
                }
            }
            let Some(base) = base else { break };
            (id, next) = (base, before);
            age += 1;
        }
        Ok(Some(hints))
    }

    /// The first of these commits that claimed a lock.
    fn first_claim(
        &self,
        store: &Store,
        candidates: &[Candidate],
        pool: &PoolName,
        lock: &LockName,
    ) -> Result<Option<Held>, StoreError> {
        let file = pool.file(Holding::Claimed, lock);
        let is_there = |commit: Oid| {
            let Some(commit) = store.commit(commit)? else {
                return Ok(false);
            };
            let entry = store.entry(commit.tree, &file)?;
            Ok::<bool, StoreError>(entry.is_some_and(|entry| entry.mode.is_blob()))
        };
        for candidate in candidates {
            let before = match candidate.base {
                Some(base) => is_there(base)?,
                None => false,
            };
            if before || !is_there(candidate.id)? {
                continue;
            }
            let Some(commit) = store.commit(candidate.id)? else {
                continue;
            };
            let sign = self.renewals.get(&candidate.id);
            return Ok(Some(Held {
                claim: ClaimId(candidate.id),
                made: at(commit.time),
                last_sign: sign.map_or(candidate.id, |sign| sign.commit),
                last_sign_at: at(sign.map_or(commit.time, |sign| sign.time)),
                lease_end: sign
                    .and_then(|sign| sign.lease_end)
                    .or_else(|| message::lease_end(&commit.message)),
                message: Arc::from(commit.message),
            }));
        }
        Ok(None)
    }
}

/// The locks in a pool's `claimed/`.
fn claimed(store: &Store, commit: Oid, pool: &PoolName) -> Result<Vec<LockName>, StoreError> {
    let Some(commit) = store.commit(commit)? else {
        return Ok(Vec::new());
    };
    let folder = store.entry(commit.tree, &pool.folder(Holding::Claimed))?;
    let Some(folder) = folder.filter(|folder| folder.mode == crate::object::Mode::Folder) else {
        return Ok(Vec::new());
    };
    let files = store.list(folder.id)?.into_iter();
    let locks = files
        .filter(|file| file.entry.mode.is_blob())
        .filter_map(|file| LockName::new(std::str::from_utf8(&file.name).ok()?).ok());
    Ok(locks.collect())
}

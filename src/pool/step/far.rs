//! Claims that have stood for long, found without fetching every file that ever was.
//!
//! The whole history of a lock repository is large because of its folders: each commit has some of its own. Where the
//! server can leave them out, all commits together are a fifth of it. Their subjects say which of them may have claimed a
//! lock that is claimed now; of those alone the folders are fetched, and decide. What a subject says is a hint: a commit
//! that is silent about locks is looked into as well, and one that claims is believed by its folders alone. Only who
//! releases a lock and takes it again in commits that speak of something else can make an older claim look as if it stood;
//! so this is good for showing, and nothing is decided by it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::ledger::{self, Claims, Held, Older, Sign};
use crate::lock::{Holding, LockName, PoolName};
use crate::message;
use git::object::Oid;
use git::{Commits, Remote, RemoteError, Store, StoreError};

/// With more commits than this that don't speak of locks it is cheaper to fetch everything.
const MOST_SILENT: usize = 500;

/// How many commits are looked into in one round, shared among the claims that are looked for. A round costs as much as
/// some hundreds of them.
const ROUND: usize = 600;

/// How many commits are looked into for one claim in the first round at most; four times as many in each round after that.
const FIRST_SHARE: usize = 20;

/// More rounds than this are not worth it.
const MOST_ROUNDS: usize = 5;

/// A commit that may have claimed a lock.
#[derive(Clone, Copy)]
struct Candidate {
    /// How many commits are after it.
    age: usize,
    id: Oid,
    /// The one it was made on.
    base: Option<Oid>,
}

/// What the commits say by themselves.
#[derive(Default)]
struct Hints {
    /// By the name of the lock that they say they claim; the newest first.
    claims: HashMap<LockName, Vec<Candidate>>,
    /// Those that say nothing of locks.
    silent: Vec<Candidate>,
    /// By the claim, what those commits say that show it and change nothing.
    signs: HashMap<Oid, Sign>,
}

/// The commits of a branch without their folders, and the folders of some.
pub(super) struct Far {
    remote: Remote,
    commits: Option<Commits>,
}

impl Far {
    /// Gets ready to ask this remote, which must be one of our own: nothing of what is fetched is the whole of a history.
    pub fn new(remote: Remote) -> Far {
        Far {
            remote,
            commits: None,
        }
    }

    /// Fetches what [`Far::claims`] begins with.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub async fn fetch(&mut self) -> Result<(), RemoteError> {
        self.commits = self.remote.fetch_commits(None).await?;
        Ok(())
    }

    /// The claims that hold these locks at `head`; `None` when they cannot be found in this way.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub async fn claims(
        &mut self,
        head: Oid,
        older: &Older,
    ) -> Result<Option<Claims>, RemoteError> {
        if self.commits.is_none() {
            self.fetch().await?;
        }
        let mut open: BTreeMap<LockName, Vec<PoolName>> = BTreeMap::new();
        for (pool, lock) in &older.locks {
            open.entry(lock.clone()).or_default().push(pool.clone());
        }
        // They take room, and at the next look there may be more.
        let commits = self.commits.take();
        let hints = commits.and_then(|commits| Hints::read(&commits, head, older.end, &open));
        let Some(hints) = hints else {
            return Ok(None);
        };

        let mut found = Claims::new();
        let mut looked_into: BTreeSet<Oid> = BTreeSet::new();
        let mut tried: HashMap<LockName, usize> = HashMap::new();
        for round in 0..MOST_ROUNDS {
            let mut wanted = Vec::new();
            if round == 0 {
                wanted.extend_from_slice(&hints.silent);
            }
            let looked_for: usize = open.values().map(Vec::len).sum();
            let share = (ROUND / looked_for.max(1)).clamp(2, FIRST_SHARE << (2 * round));
            for (lock, pools) in &open {
                let named = hints.naming(lock);
                let from = tried.get(lock).copied().unwrap_or_default();
                let to = (from + share * pools.len()).min(named.len());
                wanted.extend_from_slice(&named[from..to]);
                tried.insert(lock.clone(), to);
            }
            let commits: BTreeSet<Oid> = wanted
                .iter()
                .flat_map(|candidate| candidate.base.into_iter().chain([candidate.id]))
                .filter(|commit| looked_into.insert(*commit))
                .collect();
            let commits: Vec<Oid> = commits.into_iter().collect();
            if !commits.is_empty() && !fetch_folders(&self.remote, &commits).await? {
                return Ok(None);
            }
            for (lock, pools) in &mut open {
                let named = hints.naming(lock);
                let seen = tried.get(lock).copied().unwrap_or_default();
                // What is older than the next one that has not been looked into must wait for it.
                let until = named.get(seen).map_or(usize::MAX, |next| next.age);
                let silent = hints.silent.iter().filter(|one| one.age < until);
                let mut candidates: Vec<Candidate> =
                    named[..seen].iter().chain(silent).copied().collect();
                candidates.sort_by_key(|candidate| candidate.age);
                let mut rest = Vec::new();
                for pool in std::mem::take(pools) {
                    match hints.first_claim(self.remote.store(), &candidates, &pool, lock)? {
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

/// Fetches the folders of commits.
async fn fetch_folders(remote: &Remote, commits: &[Oid]) -> Result<bool, RemoteError> {
    remote.fetch_folders(commits, 1, remote.store()).await
}

impl Hints {
    /// Reads all commits of the branch, and takes from `end` on what may have claimed a lock; `None` when they don't tell
    /// enough.
    fn read(
        commits: &Commits,
        head: Oid,
        end: Oid,
        open: &BTreeMap<LockName, Vec<PoolName>>,
    ) -> Option<Hints> {
        let mut hints = Hints::default();
        let (mut id, mut commit) = (head, commits.get(head)?);
        let mut age = 0;
        let mut is_near = true;
        loop {
            is_near &= id != end;
            let base = commit.parents.first().copied();
            let before = match base {
                // The server has it, for nothing was asked to be left out but folders.
                Some(base) => Some(commits.get(base)?),
                None => None,
            };
            let candidate = Candidate { age, id, base };
            if before
                .as_ref()
                .is_some_and(|before| before.tree == commit.tree)
            {
                if let Some(claim) = ledger::shown_claim(&commit.message) {
                    hints.signs.entry(claim).or_default().note(id, &commit);
                }
            } else if !is_near {
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
                    return None;
                }
            }
            let (Some(base), Some(before)) = (base, before) else {
                break;
            };
            (id, commit) = (base, before);
            age += 1;
        }
        (!is_near).then_some(hints)
    }

    /// Those that say they claim this lock.
    fn naming(&self, lock: &LockName) -> &[Candidate] {
        self.claims.get(lock).map_or(&[], Vec::as_slice)
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
            let mut held = Held::new(candidate.id, &commit);
            if let Some(sign) = self.signs.get(&candidate.id) {
                held.note(sign);
            }
            return Ok(Some(held));
        }
        Ok(None)
    }
}

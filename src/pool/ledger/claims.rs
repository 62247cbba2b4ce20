//! The claims that stand, of several pools in one walk: who made them, when, and when their holders were last heard of.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::locks;
use crate::lock::{ClaimId, Holding, LockName, PoolName};
use crate::message;
use git::object::{Mode, Oid, full_id};
use git::{Commit, History, HistoryError};

/// A claim that stands, as the history tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The commit that made it.
    pub claim: ClaimId,
    /// When, by the clock of whoever made it.
    pub made: SystemTime,
    /// What that commit says.
    pub message: Arc<[u8]>,
    /// The last commit by which its holder showed to be there: its last renewal, else the claim itself.
    pub last_sign: Oid,
    /// When that was, by the holder's clock.
    pub last_sign_at: SystemTime,
    /// When its lease ends, by its last renewal, else by the claim itself; `None` when it has none.
    pub lease_end: Option<SystemTime>,
}

impl Held {
    /// The claim that a commit made, as far as that commit tells.
    pub(crate) fn new(id: Oid, commit: &Commit) -> Held {
        Held {
            claim: ClaimId(id),
            made: moment(commit.time),
            message: commit.message.as_slice().into(),
            last_sign: id,
            last_sign_at: moment(commit.time),
            lease_end: message::lease_end(&commit.message),
        }
    }

    /// Takes in the later signs of life.
    pub(crate) fn note(&mut self, sign: &Sign) {
        if let Some((last, time)) = sign.last {
            self.last_sign = last;
            self.last_sign_at = moment(time);
        }
        self.lease_end = sign.lease_end.or(self.lease_end);
    }
}

/// The claims of several pools, by their locks.
pub type Claims = BTreeMap<PoolName, BTreeMap<LockName, Held>>;

/// The claims that stand at the head in each of these pools, by their locks: all locks in `claimed/`, damaged ones as well.
///
/// One walk back from the head finds them all, whatever the number of the pools; it ends with the oldest of the claims.
/// Folders are read only where they differ from those of the commit before, and only on the way to pools of which
/// something is still looked for.
///
/// # Errors
/// [`HistoryError`].
pub fn claims(history: &History<'_>, pools: &[PoolName]) -> Result<Claims, HistoryError> {
    match claims_here(history, pools, None)? {
        (claims, None) => Ok(claims),
        (_, Some(_)) => Err(HistoryError::Truncated),
    }
}

/// Claims that stand and were made where the history is not here any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Older {
    /// The commit at which it ends; they were made by this one or before.
    pub end: Oid,
    /// The locks that they hold.
    pub locks: Vec<(PoolName, LockName)>,
}

/// As [`claims`], as far as the history is here; and what is older.
///
/// What is already `known` at an earlier commit is not looked for anew: the walk ends there.
///
/// # Errors
/// [`HistoryError::Store`].
pub fn claims_here(
    history: &History<'_>,
    pools: &[PoolName],
    known: Option<(Oid, &Claims)>,
) -> Result<(Claims, Option<Older>), HistoryError> {
    let mut found = Claims::new();
    let mut on_the_way = Folder::default();
    for pool in pools {
        found.entry(pool.clone()).or_default();
        let claimed = locks(history, history.head(), pool)?
            .into_iter()
            .filter(|(_, files)| files.claimed.is_some());
        let open: Vec<LockName> = claimed.map(|(lock, _)| lock).collect();
        if !open.is_empty() {
            on_the_way.insert(pool, open);
        }
    }

    let mut renewals: HashMap<Oid, Sign> = HashMap::new();
    let (mut id, mut commit) = (history.head(), history.commit(history.head())?);
    on_the_way.back_to(history, Some(commit.tree), &mut |_, _| {})?;
    while !on_the_way.is_empty() {
        if let Some((_, known)) = known.filter(|(at, _)| *at == id) {
            for (pool, lock) in on_the_way.open() {
                let Some(held) = known.get(&pool).and_then(|known| known.get(&lock)) else {
                    continue;
                };
                let mut held = held.clone();
                if let Some(sign) = renewals.get(&held.claim.0) {
                    held.note(sign);
                }
                found.entry(pool).or_default().insert(lock, held);
            }
            break;
        }
        let before = match history.before(id, &commit) {
            Err(HistoryError::Truncated) => {
                let end = id;
                let locks = on_the_way.open();
                return Ok((found, Some(Older { end, locks })));
            }
            before => before?,
        };
        if before
            .as_ref()
            .is_some_and(|(_, before)| before.tree == commit.tree)
        {
            if let Some(claim) = shown_claim(&commit.message) {
                renewals.entry(claim).or_default().note(id, &commit);
            }
        } else {
            let mut made = Vec::new();
            let tree = before.as_ref().map(|(_, before)| before.tree);
            on_the_way.back_to(history, tree, &mut |pool, locks| made.push((pool, locks)))?;
            if !made.is_empty() {
                let mut held = Held::new(id, &commit);
                if let Some(sign) = renewals.remove(&id) {
                    held.note(&sign);
                }
                for (pool, locks) in made {
                    let claims = found.entry(pool).or_default();
                    claims.extend(locks.into_iter().map(|lock| (lock, held.clone())));
                }
                on_the_way.prune();
            }
        }
        let Some(before) = before else { break };
        (id, commit) = before;
    }
    Ok((found, None))
}

/// What is known of a claim's holder by the commits after it, gathered from the newest back.
#[derive(Debug, Default)]
pub(crate) struct Sign {
    /// The last commit, and its time.
    last: Option<(Oid, i64)>,
    lease_end: Option<SystemTime>,
}

impl Sign {
    pub(crate) fn note(&mut self, id: Oid, commit: &Commit) {
        self.last = self.last.or(Some((id, commit.time)));
        self.lease_end = self
            .lease_end
            .or_else(|| message::lease_end(&commit.message));
    }
}

/// The claim that a message shows.
pub(crate) fn shown_claim(message: &[u8]) -> Option<Oid> {
    full_id(&message::trailer(message, message::CLAIM)?)
}

/// A folder on the way to pools, as a commit has it.
#[derive(Debug, Default)]
struct Folder {
    /// Its tree; `None` where there is no such folder.
    tree: Option<Oid>,
    below: BTreeMap<String, Folder>,
    /// Whether it is the `claimed/` of a pool, and of which of its locks the claims are still looked for.
    claimed: Option<(PoolName, Vec<LockName>)>,
}

impl Folder {
    fn insert(&mut self, pool: &PoolName, open: Vec<LockName>) {
        let mut folder = self;
        for part in pool.folder(Holding::Claimed).split('/') {
            folder = folder.below.entry(part.to_owned()).or_default();
        }
        folder.claimed = Some((pool.clone(), open));
    }

    fn is_empty(&self) -> bool {
        self.below.is_empty() && self.claimed.is_none()
    }

    /// What is still looked for.
    fn open(&self) -> Vec<(PoolName, LockName)> {
        let here = self.claimed.iter().flat_map(|(pool, open)| {
            let locks = open.iter().cloned();
            locks.map(|lock| (pool.clone(), lock))
        });
        here.chain(self.below.values().flat_map(Folder::open))
            .collect()
    }

    /// Forgets what nothing is looked for in any more.
    fn prune(&mut self) {
        self.claimed.take_if(|(_, open)| open.is_empty());
        self.below.retain(|_, folder| {
            folder.prune();
            !folder.is_empty()
        });
    }

    /// Goes from one commit to the one before it, where it is the tree `before`; hands each pool's locks to `made` that
    /// were claimed in between.
    fn back_to(
        &mut self,
        history: &History<'_>,
        before: Option<Oid>,
        made: &mut impl FnMut(PoolName, Vec<LockName>),
    ) -> Result<(), HistoryError> {
        if self.tree == before {
            return Ok(());
        }
        // At first it is nowhere yet.
        let begins = self.tree.is_none();
        self.tree = before;
        let names: Vec<&str> = self.below.keys().map(String::as_str).collect();
        let trees = match before {
            Some(tree) => history.names(tree, &names)?,
            None => vec![None; names.len()],
        };
        for (folder, entry) in self.below.values_mut().zip(trees) {
            let tree = entry.filter(|entry| entry.mode == Mode::Folder);
            folder.back_to(history, tree.map(|entry| entry.id), made)?;
        }
        let Some((pool, open)) = self.claimed.as_mut().filter(|_| !begins) else {
            return Ok(());
        };
        let names: Vec<&str> = open.iter().map(LockName::as_str).collect();
        let files = match before {
            Some(tree) => history.names(tree, &names)?,
            None => vec![None; names.len()],
        };
        let mut files = files.into_iter();
        let is_new = |_: &mut LockName| {
            let file = files.next().flatten();
            !file.is_some_and(|file| file.mode.is_blob())
        };
        let new: Vec<LockName> = open.extract_if(.., is_new).collect();
        if !new.is_empty() {
            made(pool.clone(), new);
        }
        Ok(())
    }
}

/// A commit's time.
fn moment(seconds: i64) -> SystemTime {
    let since = Duration::from_secs(seconds.unsigned_abs());
    let time = if seconds < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(since)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(since)
    };
    time.unwrap_or(SystemTime::UNIX_EPOCH)
}

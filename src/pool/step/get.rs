//! The get step: the lock that a version is about, as files.

use std::io::Write;
use std::path::Path;

use tokio_util::sync::CancellationToken;

use super::{Ready, StepError, Surroundings, ask};
use crate::concourse::{GetRequest, LOCKS, NO_CLAIM, POOL, POOLS, Response};
use crate::ledger::{self, Fate, Moved};
use crate::lock::{ClaimId, Holding, LockName, PoolName};
use crate::message::{self, Verb};
use crate::number;
use git::object::Oid;
use git::{Commit, Files, History, HistoryError, Remote, Store};
use pace::ride_out;
use terminal::trying_again;

/// Metadata of no more bytes than that comes with the history. For one that is larger another request is made: it is one
/// of many that may be as large.
const SMALL: usize = 1024;

/// What a version turned out to be.
enum Found {
    Locks(Box<Version>),
    NoLock,
    NoSuchVersion,
    NoLongerAcquired,
}

/// A version that has something to get.
struct Version {
    /// What its commit did, to at least one lock.
    locks: Vec<Moved>,
    /// What it claimed of other pools, and holds; or what it gave back there, if it did nothing here.
    elsewhere: Vec<Moved>,
    /// That commit.
    commit: Commit,
    /// The claim that holds the locks, if they are held.
    claim: Option<Oid>,
    /// The number of that claim, if it has one.
    number: Option<u64>,
}

impl Version {
    /// What people see of it: what the commit did, who made it, when and why, and whether there is a claim to show.
    fn story(&self) -> Vec<(String, String)> {
        let message = &self.commit.message;
        let first = self.locks.first().or(self.elsewhere.first());
        let did = first.map(|moved| match moved {
            Moved { is_claim: true, .. } => "claimed",
            Moved { now: None, .. } => "removed",
            Moved { before: None, .. } => "added",
            Moved {
                before: Some(Holding::Claimed),
                now: Some((Holding::Unclaimed, _)),
                ..
            } => "released",
            _ => "updated",
        });
        let claim = match self.claim {
            Some(claim) => claim.to_string(),
            None => "none".to_owned(),
        };
        let all = [
            ("action", did.map(str::to_owned)),
            ("by", Some(message::who(message))),
            ("at", terminal::time::time(self.commit.time)),
            ("reason", message::trailer(message, message::REASON)),
            ("build_url", message::build_url(message)),
            ("claim", Some(claim)),
            ("claim_number", self.number.map(|number| number.to_string())),
        ];
        all.into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect()
    }
}

/// Writes the lock of a version into `destination`: its `name`, its `metadata`, and the `claim` that holds it with the
/// `claim_number` that it has, or a mark that there is none.
/// Of a claim of several locks it is the first, and each of them has a folder of the same kind below [`LOCKS`]; those of other
/// pools below [`POOLS`], by their full names.
///
/// A version that removed its lock writes nothing. Nothing is written either when the step fails.
///
/// # Errors
/// [`StepError`]; [`StepError::NoLongerAcquired`] when the version has the lock claimed, and that claim is over.
pub async fn get(
    request: &GetRequest,
    destination: &Path,
    around: &Surroundings,
    log: &mut dyn Write,
) -> Result<Response, StepError> {
    let source = &request.source;
    let pool = &source.pool;
    let ready = Ready::new(source, around, log)?;
    let wanted = match &request.version {
        None => None,
        Some(version) => Some(
            version
                .id()
                .ok_or_else(|| StepError::NoSuchVersion(version.commit.clone()))?,
        ),
    };
    let mut remote = ready.remote(&source.branch, Store::temporary(&around.temporary)?)?;
    remote.want_files(Files::Small(SMALL));
    let (version, found) = loop {
        let (version, found) = find(&mut remote, &ready, pool, wanted, log).await?;
        let files: Vec<Oid> = found
            .locks
            .iter()
            .chain(&found.elsewhere)
            .filter_map(|moved| Some(moved.now?.1.id))
            .collect();
        let (limit, never) = (ready.pace.fault_limit, CancellationToken::new());
        let are_here = ride_out(limit, &never, &mut trying_again(log), async || {
            remote.fetch_files(&files).await
        })
        .await?;
        if are_here {
            break (version, found);
        }
    };
    for (n, lock) in found.locks.iter().enumerate() {
        if n == 0 {
            write_lock(&remote, destination, lock, &found, (version, pool))?;
        }
        if found.locks.len() > 1 {
            let folder = destination.join(LOCKS).join(lock.lock.as_str());
            write_lock(&remote, &folder, lock, &found, (version, pool))?;
        }
    }
    for lock in &found.elsewhere {
        let folder = destination.join(POOLS).join(lock.lock.as_str());
        write_lock(&remote, &folder, lock, &found, (version, pool))?;
    }
    if found.locks.is_empty() {
        // There is no lock in it: as such it gives nothing back, whoever holds it.
        write(destination, NO_CLAIM, format!("{version}\n").as_bytes())?;
    }
    let all = found.locks.iter().chain(&found.elsewhere);
    let names: Vec<LockName> = all.map(|moved| moved.lock.clone()).collect();
    let mut response = Response::new(version, &names, pool);
    response.metadata.extend(found.story());
    Ok(response)
}

/// Finds the locks that a version is about.
async fn find(
    remote: &mut Remote,
    ready: &Ready,
    pool: &PoolName,
    wanted: Option<Oid>,
    log: &mut dyn Write,
) -> Result<(Oid, Box<Version>), StepError> {
    let (version, found) = ask(
        remote,
        wanted,
        Some(pool),
        &ready.pace,
        log,
        |history, snapshot| {
            let version = wanted.unwrap_or(snapshot.commit);
            let stands = |history: &History<'_>, moved: &Moved, version| {
                let still = ledger::still_claimed(history, pool, &moved.lock, version)?;
                Ok::<bool, HistoryError>(still == Some(true))
            };
            let found = |locks: Vec<Moved>, claim: Option<Oid>| {
                let made = locks.first().map_or(version, |moved| moved.commit);
                let claiming = claim.map(|claim| history.commit(claim)).transpose()?;
                let elsewhere = match (&claiming, claim) {
                    (Some(commit), Some(claim)) => {
                        held_elsewhere(history, pool, claim, &commit.message)?
                    }
                    _ => Vec::new(),
                };
                Ok::<Found, HistoryError>(Found::Locks(Box::new(Version {
                    commit: history.commit(made)?,
                    locks,
                    elsewhere,
                    claim,
                    number: claiming.and_then(|commit| number::of(&commit.message)),
                })))
            };
            if history.since(version)?.is_none() {
                return Ok((version, Found::NoSuchVersion));
            }
            if let Some(wanted) = wanted
                && let Some(elsewhere) = only_elsewhere(history, pool, wanted)?
            {
                let elsewhere = Version {
                    commit: history.commit(wanted)?,
                    locks: Vec::new(),
                    elsewhere,
                    claim: None,
                    number: None,
                };
                return Ok((version, Found::Locks(Box::new(elsewhere))));
            }
            let mut moved = ledger::moved_by(history, pool, version)?;
            let found = match moved.first() {
                None => Found::NoLock,
                Some(first) if !first.is_claim => match first.now {
                    Some((Holding::Claimed, _)) if !stands(history, first, version)? => {
                        Found::NoLongerAcquired
                    }
                    Some((Holding::Claimed, _)) => {
                        let claim = ledger::last_claim(history, pool, &first.lock)?;
                        moved.truncate(1);
                        found(moved, claim)?
                    }
                    _ => {
                        moved.truncate(1);
                        found(moved, None)?
                    }
                },
                // A commit may claim several; those that were released by themselves since are not part of it any more.
                Some(_) => {
                    let mut standing = Vec::new();
                    for claim in moved.into_iter().filter(|moved| moved.is_claim) {
                        if stands(history, &claim, version)? {
                            standing.push(claim);
                        }
                    }
                    match standing.first().map(|claim| claim.commit) {
                        None => Found::NoLongerAcquired,
                        Some(claim) => found(standing, Some(claim))?,
                    }
                }
            };
            Ok((version, found))
        },
    )
    .await?;

    match found {
        Found::Locks(found) => Ok((version, found)),
        Found::NoLock => Err(StepError::NoLock {
            version,
            pool: pool.clone(),
        }),
        Found::NoSuchVersion => Err(StepError::NoSuchVersion(version.to_string())),
        Found::NoLongerAcquired => Err(StepError::NoLongerAcquired),
    }
}

/// What a version did that gave back locks of other pools and touched nothing of this one, as far as it says so. Whatever was
/// claimed here before is none of its business. `None` for all other versions.
fn only_elsewhere(
    history: &History<'_>,
    pool: &PoolName,
    version: Oid,
) -> Result<Option<Vec<Moved>>, HistoryError> {
    let message = history.commit(version)?.message;
    let said = message::of_several_pools(&message);
    let subject = message::read_subject(&message);
    let gives_back = subject.is_some_and(|subject| subject.verb == Verb::Unclaiming);
    let is_ours = said.iter().any(|(its, _)| its == pool);
    if !gives_back || is_ours || history.touches(version, pool.as_str())? {
        return Ok(None);
    }
    let mut moved = Vec::new();
    for (its, lock) in said {
        let Some(entry) = history.entry(version, &its.file(Holding::Unclaimed, &lock))? else {
            continue;
        };
        moved.push(Moved {
            commit: version,
            lock: lock.of(&its, pool),
            now: Some((Holding::Unclaimed, entry)),
            before: Some(Holding::Claimed),
            is_claim: false,
        });
    }
    Ok(Some(moved))
}

/// The locks of other pools that a claim holds as well, by what it says.
fn held_elsewhere(
    history: &History<'_>,
    pool: &PoolName,
    claim: Oid,
    message: &[u8],
) -> Result<Vec<Moved>, HistoryError> {
    let mut held = Vec::new();
    for lock in message::elsewhere(message, pool) {
        let fate = ledger::fate(history, pool, &lock, ClaimId(claim))?;
        let entry = history.entry(claim, &pool.file(Holding::Claimed, &lock))?;
        if let (Fate::Stands { .. }, Some(entry)) = (fate, entry) {
            held.push(Moved {
                commit: claim,
                lock,
                now: Some((Holding::Claimed, entry)),
                before: Some(Holding::Unclaimed),
                is_claim: true,
            });
        }
    }
    Ok(held)
}

fn write_lock(
    remote: &Remote,
    folder: &Path,
    moved: &Moved,
    found: &Version,
    (version, pool): (Oid, &PoolName),
) -> Result<(), StepError> {
    let Some((_, entry)) = moved.now else {
        return Ok(());
    };
    let metadata = remote.store().blob(entry.id)?;
    write(
        folder,
        "name",
        format!("{}\n", moved.lock.bare().as_str()).as_bytes(),
    )?;
    write(folder, "metadata", &metadata)?;
    // Whatever pool a resource is of that reads it: of several it is the one that the lock is in.
    let own = (!found.elsewhere.is_empty()).then(|| pool.clone());
    if let Some(its) = moved.lock.pool().or(own) {
        write(folder, POOL, format!("{its}\n").as_bytes())?;
    }
    if let Some(number) = found.number {
        write(folder, "claim_number", format!("{number}\n").as_bytes())?;
    }
    match found.claim {
        Some(claim) => write(folder, "claim", format!("{claim}\n").as_bytes()),
        None => write(folder, NO_CLAIM, format!("{version}\n").as_bytes()),
    }
}

fn write(folder: &Path, name: &str, content: &[u8]) -> Result<(), StepError> {
    let file = folder.join(name);
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&file, content))
        .map_err(|source| StepError::Write { file, source })
}

//! What the commands print: for people, or as JSON, whose names are a promise to whoever reads them.

pub mod doctor;
pub mod figures;
pub mod log;
pub mod status;

use std::fmt::Write as _;
use std::io;

use git::object::Oid;
use pool::attempt::Outcome;
use pool::lock::{ClaimId, Holding, LockName};
use pool::message;
use pool::number;
use pool::reap::Verdict;
use pool::step::{Became, Initiated, Lock, Plan, Reaping, Seen, Verified};
use serde::Serialize;

/// The locks that were claimed.
pub fn claimed(outcome: &Outcome, pool: &str, json: bool) -> io::Result<String> {
    #[derive(Serialize)]
    struct Claimed<'a> {
        pool: &'a str,
        locks: Vec<&'a str>,
        claim: String,
        claim_number: Option<u64>,
        waited_seconds: Option<u64>,
    }
    let locks: Vec<&str> = outcome.locks.iter().map(LockName::as_str).collect();
    if !json {
        return Ok(locks.iter().map(|lock| format!("{lock}\n")).collect());
    }
    document(&Claimed {
        pool,
        locks,
        claim: outcome.commit.to_string(),
        claim_number: outcome.number,
        waited_seconds: outcome.waited.map(|waited| waited.as_secs()),
    })
}

/// Whether a claim stands.
pub fn verified(claim: ClaimId, verified: &Verified, pool: &str, json: bool) -> io::Result<String> {
    #[derive(Serialize)]
    struct Stands<'a> {
        pool: &'a str,
        claim: String,
        claim_number: Option<u64>,
        stands: bool,
        locks: Vec<Lock<'a>>,
    }
    #[derive(Serialize)]
    struct Lock<'a> {
        lock: &'a str,
        stands: bool,
        ended_by: Option<String>,
    }
    if !json {
        let locks: Vec<_> = verified
            .locks
            .iter()
            .map(|(lock, _)| lock.clone())
            .collect();
        return Ok(format!("stands: {}\n", message::listed(&locks)));
    }
    let locks = verified.locks.iter().map(|(lock, seen)| Lock {
        lock: lock.as_str(),
        stands: *seen == Seen::Stands,
        ended_by: match seen {
            Seen::Ended { by, .. } => Some(by.to_string()),
            Seen::Stands | Seen::Gone => None,
        },
    });
    document(&Stands {
        pool,
        claim: claim.to_string(),
        claim_number: verified.number,
        stands: verified.stands(),
        locks: locks.collect(),
    })
}

/// Locks to which something was done.
pub fn changed(
    locks: &[LockName],
    commit: Oid,
    done: &str,
    pool: &str,
    json: bool,
) -> io::Result<String> {
    #[derive(Serialize)]
    struct Changed<'a> {
        pool: &'a str,
        locks: Vec<&'a str>,
        done: &'a str,
        commit: String,
    }
    let locks: Vec<&str> = locks.iter().map(LockName::as_str).collect();
    if !json {
        return Ok(locks
            .iter()
            .map(|lock| format!("{done} {lock}\n"))
            .collect());
    }
    document(&Changed {
        pool,
        locks,
        done,
        commit: commit.to_string(),
    })
}

/// A lock with its metadata, as JSON; metadata that is not UTF-8 is left out, and its size tells.
pub fn shown(name: &LockName, lock: &Lock, pool: &str) -> io::Result<String> {
    #[derive(Serialize)]
    struct Shown<'a> {
        pool: &'a str,
        lock: &'a str,
        state: &'static str,
        holder: Option<String>,
        since: Option<String>,
        claim: Option<String>,
        claim_number: Option<u64>,
        lease_end: Option<String>,
        url: Option<String>,
        reason: Option<String>,
        metadata: Option<&'a str>,
        metadata_bytes: usize,
    }
    let held = lock.held.as_ref();
    document(&Shown {
        pool,
        lock: name.as_str(),
        state: match lock.holding {
            Holding::Claimed => "claimed",
            Holding::Unclaimed => "free",
        },
        holder: held.map(|held| message::who(&held.message)),
        since: held.and_then(|held| status::time(held.made)),
        claim: held.map(|held| held.claim.to_string()),
        claim_number: held.and_then(|held| number::of(&held.message)),
        lease_end: held.and_then(|held| status::time(held.lease_end?)),
        url: held.and_then(|held| message::build_url(&held.message)),
        reason: held.and_then(|held| message::trailer(&held.message, message::REASON)),
        metadata: std::str::from_utf8(&lock.metadata).ok(),
        metadata_bytes: lock.metadata.len(),
    })
}

/// What went wrong, as JSON on one line.
pub fn error(text: &str, kind: &str, exit_code: u8) -> String {
    let error =
        serde_json::json!({"error": {"kind": kind, "message": text, "exit_code": exit_code}});
    format!("{error}")
}

/// A lock that was taken from its holder.
pub fn unlocked(
    lock: &LockName,
    commit: Oid,
    holder: &str,
    pool: &str,
    json: bool,
) -> io::Result<String> {
    #[derive(Serialize)]
    struct Unlocked<'a> {
        pool: &'a str,
        locks: [&'a str; 1],
        done: &'a str,
        commit: String,
        held_by: &'a str,
    }
    if !json {
        return Ok(format!("unlocked {lock}, which was held by {holder}\n"));
    }
    document(&Unlocked {
        pool,
        locks: [lock.as_str()],
        done: "unlocked",
        commit: commit.to_string(),
        held_by: holder,
    })
}

/// What was made.
pub fn initiated(made: &Initiated, plan: &Plan, branch: &str, json: bool) -> io::Result<String> {
    #[derive(Serialize)]
    struct Lock<'a> {
        pool: &'a str,
        lock: &'a str,
    }
    #[derive(Serialize)]
    struct Made<'a> {
        branch: &'a str,
        branch_is_new: bool,
        pools: Vec<&'a str>,
        added: Vec<Lock<'a>>,
        commit: Option<String>,
    }
    if json {
        let added = made.locks.iter().map(|(pool, lock)| Lock {
            pool: pool.as_str(),
            lock: lock.as_str(),
        });
        return document(&Made {
            branch,
            branch_is_new: made.branch,
            pools: plan.keys().map(|pool| pool.as_str()).collect(),
            added: added.collect(),
            commit: made.commit.map(|commit| commit.to_string()),
        });
    }
    if made.commit.is_none() {
        return Ok("everything is there already\n".to_owned());
    }
    let mut text = String::new();
    if made.branch {
        let _ = writeln!(text, "made the branch {branch}");
    }
    for pool in plan.keys() {
        let added: Vec<&str> = made
            .locks
            .iter()
            .filter(|(of, _)| of == pool)
            .map(|(_, lock)| lock.as_str())
            .collect();
        let _ = match added.is_empty() {
            true => writeln!(text, "pool {pool} is there"),
            false => writeln!(text, "pool {pool}: added {}", added.join(", ")),
        };
    }
    Ok(text)
}

/// What became of the claims of a pool.
pub fn reaped(reaping: &Reaping, pool: &str, json: bool) -> io::Result<String> {
    #[derive(Serialize)]
    struct Decision<'a> {
        lock: &'a str,
        holder: &'a str,
        since: Option<String>,
        stale: bool,
        why: &'a str,
        became: &'static str,
        commit: Option<String>,
        details: Option<&'a str>,
    }
    #[derive(Serialize)]
    struct Reaped<'a> {
        pool: &'a str,
        decided: Vec<Decision<'a>>,
        dead_tickets: usize,
        dead_tickets_removed: usize,
    }
    if !json {
        let freed = reaping.freed();
        return Ok(freed.iter().map(|lock| format!("freed {lock}\n")).collect());
    }
    let decided = reaping.decided.iter().map(|decided| {
        let (became, commit, details) = match &decided.became {
            Became::Kept => ("kept", None, None),
            Became::WouldBeFreed => ("would_be_freed", None, None),
            Became::Freed(by) => ("freed", Some(by.to_string()), None),
            Became::Lost(how) => ("lost", None, Some(how.as_str())),
            Became::Failed(how) => ("failed", None, Some(how.as_str())),
        };
        Decision {
            lock: decided.lock.as_str(),
            holder: &decided.holder,
            since: terminal::time::moment(decided.since),
            stale: matches!(decided.verdict, Verdict::Free(_)),
            why: decided.verdict.why(),
            became,
            commit,
            details,
        }
    });
    document(&Reaped {
        pool,
        decided: decided.collect(),
        dead_tickets: reaping.tickets.found,
        dead_tickets_removed: reaping.tickets.gone,
    })
}

/// One JSON document on one line.
fn document(value: &impl Serialize) -> io::Result<String> {
    let mut text = serde_json::to_string(value)?;
    text.push('\n');
    Ok(text)
}

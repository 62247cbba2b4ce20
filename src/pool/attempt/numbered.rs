//! The number of a commit that is about to be made (see [`crate::number`]).

use std::time::SystemTime;

use crate::number;
use git::object::Oid;
use git::{Remote, StoreError};

/// How far it is looked back for a number, where that much of the history is here.
const FARTHEST: usize = 1000;

/// The number of a commit on top of `parent`, as far as what is here tells.
///
/// # Errors
/// [`StoreError`] when our copy cannot be read.
pub(crate) fn next_number(remote: &Remote, parent: Oid) -> Result<u64, StoreError> {
    let mut seen = Vec::new();
    let mut next = Some(parent);
    while let Some(id) = next
        && seen.len() < FARTHEST
        && let Some(commit) = remote.store().commit(id)?
    {
        let is_last = number::of(&commit.message).is_some();
        next = commit.parents.first().copied().filter(|_| !is_last);
        seen.push((commit.time, commit.message));
    }
    Ok(number::next(now(remote), seen))
}

/// The time in seconds since 1970: the server's, as that is one for all, else ours.
fn now(remote: &Remote) -> i64 {
    let now = remote.server_time().unwrap_or_else(SystemTime::now);
    let since = now.duration_since(SystemTime::UNIX_EPOCH);
    i64::try_from(since.unwrap_or_default().as_secs()).unwrap_or(i64::MAX)
}

//! Until when a lease lasts, where clocks differ.
//!
//! Whoever reaps compares the end of a lease with his own clock. If ours is behind, leases end too early, and a living holder
//! is reaped. How far it is behind shows in the time that the server tells (over HTTP), and in commits of others that are
//! from our future. A lease is counted from the latest of these.

use std::time::{Duration, SystemTime};

use super::Attempt;
use crate::ledger::{self, Fate};
use crate::lock::{ClaimId, LockName};
use crate::message::{self, Verb};
use git::{History, HistoryError, Snapshot, StoreError};
use pace::duration::in_two_units;
use terminal::time::at;

/// Clocks may differ by so much before it is worth a word.
const WORTH_A_WORD: Duration = Duration::from_secs(60);

/// What is further in the future is no clock to go by.
const FARTHEST: Duration = Duration::from_secs(86_400);

impl Attempt<'_> {
    /// The end of the lease that begins with a commit on top of this one, if one does, as the commit says it. It is not
    /// before `stands`, when the lease ends that is renewed.
    pub(super) fn lease(
        &mut self,
        snapshot: &Snapshot,
        verb: Verb,
        stands: Option<SystemTime>,
    ) -> Result<Option<String>, StoreError> {
        let Some(lasts) = self.lease.filter(|_| verb.takes_lease()) else {
            return Ok(None);
        };
        let now = SystemTime::now();
        let newest = self.remote.store().commit(snapshot.commit)?;
        let newest = newest.map(|commit| at(commit.time));
        let server = self.remote.server_time();
        let from = [
            (server, "that of the server"),
            (newest, "the newest commit"),
        ]
        .into_iter()
        .filter_map(|(time, whose)| Some((time?, whose)))
        .filter(|(time, _)| is_ahead(*time, now))
        .max();
        let Some((from, whose)) = from else {
            return Ok(Some(end(now, lasts, stands)));
        };
        if !std::mem::replace(&mut self.told_clock, true) {
            let behind = from.duration_since(now).unwrap_or_default();
            let behind = in_two_units(behind);
            let line = format_args!(
                "warning: the clock of this machine is {behind} behind {whose}: the lease is counted from the later time; set the clock"
            );
            terminal::say(self.log, line);
        }
        Ok(Some(end(from, lasts, stands)))
    }

    /// When the lease of a claim ends that stands.
    pub(super) fn lease_of(
        &self,
        history: &History<'_>,
        locks: &[LockName],
        claim: ClaimId,
    ) -> Result<Option<SystemTime>, HistoryError> {
        let Some(lock) = locks.first() else {
            return Ok(None);
        };
        match ledger::fate(history, &self.pool, lock, claim)? {
            Fate::Stands { last_sign } => {
                let sign = history.commit(last_sign)?;
                Ok(message::lease_end(&sign.message))
            }
            Fate::Ended { .. } | Fate::NotAClaim => Ok(None),
        }
    }
}

/// Whether a time is so far ahead of our clock that the clocks differ, and not so far that it is none to go by.
fn is_ahead(time: SystemTime, now: SystemTime) -> bool {
    let ahead = time.duration_since(now);
    ahead.is_ok_and(|ahead| (WORTH_A_WORD..=FARTHEST).contains(&ahead))
}

fn end(from: SystemTime, lasts: Duration, stands: Option<SystemTime>) -> String {
    let end = message::lease(from, lasts);
    let new_end = message::lease_end_of(&end);
    match stands.filter(|stands| new_end.is_none_or(|end| end < *stands)) {
        Some(stands) => message::lease(stands, Duration::ZERO),
        None => end,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_renewal_never_ends_before_what_stands() {
        let hour = Duration::from_secs(3600);
        let now = moment(1_800_000_000);
        let shown = |end: SystemTime| message::lease(end, Duration::ZERO);

        assert_eq!(end(now, hour, None), message::lease(now, hour));
        let later = now + 2 * hour;
        assert_eq!(end(now, hour, Some(later)), shown(later));
        assert_eq!(end(now, hour, Some(now)), message::lease(now, hour));
    }

    #[test]
    fn a_clock_counts_as_behind_by_minutes_and_not_by_years() {
        let now = moment(1_800_000_000);
        for (ahead, expected) in [
            (0, false),
            (59, false),
            (60, true),
            (86_400, true),
            (86_401, false),
        ] {
            assert_eq!(
                is_ahead(now + Duration::from_secs(ahead), now),
                expected,
                "{ahead}"
            );
        }
        assert!(!is_ahead(now - FARTHEST, now));
    }
}

//! Holds as JSON.

use std::io;
use std::time::SystemTime;

use pool::message;
use pool::message::who;
use pool::number;
use pool::past::Hold;
use serde::Serialize;
use terminal::time::at;

use super::document;

#[derive(Serialize)]
struct Entry<'a> {
    pool: &'a str,
    lock: &'a str,
    holder: String,
    claim: String,
    claim_number: Option<u64>,
    since: Option<String>,
    waited_seconds: Option<f64>,
    held_seconds: u64,
    url: Option<String>,
    end: Option<Ended<'a>>,
}

#[derive(Serialize)]
struct Ended<'a> {
    /// `released`, `removed`, `reaped` or `unlocked`.
    how: &'a str,
    at: Option<String>,
    by: String,
    commit: String,
    reason: Option<&'a str>,
}

/// The holds in one document on one line.
pub fn json(holds: &[Hold], now: SystemTime) -> io::Result<String> {
    let entries: Vec<Entry<'_>> = holds
        .iter()
        .map(|hold| {
            let so_far = now.duration_since(at(hold.since)).unwrap_or_default();
            let lasted = hold
                .end
                .as_ref()
                .map(|end| end.at.saturating_sub(hold.since));
            Entry {
                pool: hold.pool.as_str(),
                lock: hold.lock.as_str(),
                holder: who(&hold.message),
                claim: hold.claim.to_string(),
                claim_number: number::of(&hold.message),
                waited_seconds: message::waited(&hold.message).map(|waited| waited.as_secs_f64()),
                since: terminal::time::time(hold.since),
                held_seconds: match lasted {
                    Some(lasted) => u64::try_from(lasted).unwrap_or_default(),
                    None => so_far.as_secs(),
                },
                url: message::build_url(&hold.message),
                end: hold.end.as_ref().map(|end| Ended {
                    how: end.how.as_str(),
                    at: terminal::time::time(end.at),
                    by: who(&end.message),
                    commit: end.by.to_string(),
                    reason: end.reason.as_deref(),
                }),
            }
        })
        .collect();
    document(&entries)
}

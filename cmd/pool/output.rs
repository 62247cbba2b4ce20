//! What the commands print: for people, or as JSON, whose names are a promise to whoever reads them.

pub mod doctor;
pub mod log;
pub mod status;

use std::io;

use pool_resource::attempt::Outcome;
use serde::Serialize;

/// The locks that were claimed.
pub fn claimed(outcome: &Outcome, pool: &str, json: bool) -> io::Result<String> {
    #[derive(Serialize)]
    struct Claimed<'a> {
        pool: &'a str,
        locks: Vec<&'a str>,
        claim: String,
        waited_seconds: Option<u64>,
    }
    let locks: Vec<&str> = outcome.locks.iter().map(|lock| lock.as_str()).collect();
    if !json {
        return Ok(locks.iter().map(|lock| format!("{lock}\n")).collect());
    }
    document(&Claimed {
        pool,
        locks,
        claim: outcome.commit.to_string(),
        waited_seconds: outcome.waited.map(|waited| waited.as_secs()),
    })
}

/// One JSON document on one line.
fn document(value: &impl Serialize) -> io::Result<String> {
    let mut text = serde_json::to_string(value)?;
    text.push('\n');
    Ok(text)
}

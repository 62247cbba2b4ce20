//! What a doctor found, as JSON.

use std::io;

use pool::step::Finding;
use serde::Serialize;

use super::document;

#[derive(Serialize)]
struct Found<'a> {
    about: &'a str,
    /// `ok`, `untried`, `warning` or `problem`.
    health: &'a str,
    found: &'a str,
    advice: Option<&'a str>,
}

/// The findings in one document on one line.
pub fn json(findings: &[Finding]) -> io::Result<String> {
    let found: Vec<Found<'_>> = findings
        .iter()
        .map(|finding| Found {
            about: finding.about,
            health: finding.health.as_str(),
            found: &finding.found,
            advice: finding.advice.as_deref(),
        })
        .collect();
    document(&found)
}

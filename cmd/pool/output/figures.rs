//! Figures as JSON and as comma-separated values.

use std::fmt::Write as _;
use std::io;

use pool::lock::PoolName;
use pool::queueing::Spread;
use pool::queueing::figures::{Row, Span};
use pool::show::figures::{Played, Recorded};
use serde::Serialize;

use super::document;

#[derive(Serialize)]
struct Times {
    count: usize,
    above_zero: usize,
    mean_seconds: f64,
    median_seconds: f64,
    ninety_percent_within_seconds: f64,
    longest_seconds: f64,
}

impl Times {
    fn of(spread: &Spread) -> Times {
        Times {
            count: spread.n,
            above_zero: spread.above_zero,
            mean_seconds: thousandths(spread.mean()),
            median_seconds: thousandths(spread.median),
            ninety_percent_within_seconds: thousandths(spread.ninety),
            longest_seconds: thousandths(spread.longest),
        }
    }

    fn cells(&self) -> String {
        format!(
            "{},{},{},{},{},{}",
            self.count,
            self.above_zero,
            self.mean_seconds,
            self.median_seconds,
            self.ninety_percent_within_seconds,
            self.longest_seconds
        )
    }

    fn heads(of: &str) -> String {
        format!(
            "{of}s,{of}s_above_zero,{of}_mean_seconds,{of}_median_seconds,{of}_ninety_percent_within_seconds,{of}_longest_seconds"
        )
    }
}

/// More digits would say nothing.
fn thousandths(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

/// How much locks were used, in one document on one line.
pub fn stats_json(rows: &[Row], span: &Span<'_>) -> io::Result<String> {
    #[derive(Serialize)]
    struct Stats<'a> {
        since: Option<String>,
        until: Option<String>,
        rows: Vec<One<'a>>,
    }
    #[derive(Serialize)]
    struct One<'a> {
        pool: Option<&'a str>,
        of: &'a str,
        holds_begun: usize,
        held_seconds: f64,
        used: Option<f64>,
        waits: Times,
        holds: Times,
    }
    let rows = rows.iter().map(|row| One {
        pool: row.pool.as_ref().map(PoolName::as_str),
        of: &row.of,
        holds_begun: row.begun,
        held_seconds: row.held,
        used: row.used.map(thousandths),
        waits: Times::of(&row.waits),
        holds: Times::of(&row.holds),
    });
    document(&Stats {
        since: terminal::time::time(span.since),
        until: terminal::time::time(span.until),
        rows: rows.collect(),
    })
}

/// The same as comma-separated values, with a line of names first.
pub fn stats_csv(rows: &[Row]) -> String {
    let mut text = format!(
        "pool,of,holds_begun,held_seconds,used,{},{}\n",
        Times::heads("wait"),
        Times::heads("hold")
    );
    for row in rows {
        let pool = row.pool.as_ref().map_or("", PoolName::as_str);
        let used = row
            .used
            .map_or(String::new(), |used| thousandths(used).to_string());
        let _ = writeln!(
            text,
            "{},{},{},{},{used},{},{}",
            quoted(pool),
            quoted(&row.of),
            row.begun,
            row.held,
            Times::of(&row.waits).cells(),
            Times::of(&row.holds).cells()
        );
    }
    text
}

/// What the waits would have been, in one document on one line.
pub fn simulated_json(recorded: &Recorded, played: &[Played], pool: &str) -> io::Result<String> {
    #[derive(Serialize)]
    struct Simulated<'a> {
        pool: &'a str,
        recorded: Times,
        recorded_without_wait: usize,
        simulated: Vec<One>,
    }
    #[derive(Serialize)]
    struct One {
        locks: usize,
        as_now: bool,
        used: f64,
        waits: Times,
        never_served: usize,
    }
    let played = played.iter().map(|one| One {
        locks: one.locks,
        as_now: one.is_now,
        used: thousandths(one.used),
        waits: Times::of(&one.waits),
        never_served: one.unserved,
    });
    document(&Simulated {
        pool,
        recorded: Times::of(&recorded.waits),
        recorded_without_wait: recorded.untold,
        simulated: played.collect(),
    })
}

/// The same as comma-separated values, with a line of names first.
pub fn simulated_csv(played: &[Played]) -> String {
    let mut text = format!("locks,as_now,used,{},never_served\n", Times::heads("wait"));
    for one in played {
        let _ = writeln!(
            text,
            "{},{},{},{},{}",
            one.locks,
            one.is_now,
            thousandths(one.used),
            Times::of(&one.waits).cells(),
            one.unserved
        );
    }
    text
}

/// A value of a table, which a spreadsheet may read: in quotes where a sign of its own is in it, and never a formula.
fn quoted(text: &str) -> String {
    let text = terminal::one_line(text);
    let text = match text.starts_with(['=', '+', '-', '@']) {
        true => format!("'{text}"),
        false => text,
    };
    match text.contains([',', '"', '\'']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_value_and_no_formula() {
        for (text, expected) in [
            ("ops/web", "ops/web"),
            ("a,b", "\"a,b\""),
            ("say \"x\"", "\"say \"\"x\"\"\""),
            ("=1+1", "\"'=1+1\""),
            ("a\nb", "a\\nb"),
        ] {
            assert_eq!(quoted(text), expected);
        }
    }
}

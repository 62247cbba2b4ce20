//! Figures as tables: how much locks were used, and how long the waits would have been.

use std::time::Duration;

use crate::queueing::Spread;
use crate::queueing::figures::{By, Row};
use pace::duration::length;
use terminal::table::{Style, cell, columns_of, right};

/// `99d 05h`
const LENGTH: usize = 8;

const WIDEST_NAME: usize = 40;

/// What the claims of the past tell.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// How long they waited.
    pub waits: Spread,
    /// How many do not tell.
    pub untold: usize,
}

/// What the waits would have been with so many locks.
#[derive(Debug, Clone, PartialEq)]
pub struct Played {
    /// How many.
    pub locks: usize,
    /// Whether it is as many as there are.
    pub is_now: bool,
    /// How long the requests would have waited.
    pub waits: Spread,
    /// How many would never have been served.
    pub unserved: usize,
    /// The share of the time in which the locks would have been held.
    pub used: f64,
}

/// A length of time in few words.
fn shown(seconds: f64) -> String {
    match Duration::try_from_secs_f64(seconds.round()) {
        Ok(time) => length(time),
        Err(_) => "-".to_owned(),
    }
}

fn share(share: f64) -> String {
    format!("{:.0}%", share * 100.0)
}

/// Those that waited, and how long all did.
fn waits(waits: &Spread) -> [String; 4] {
    if waits.n == 0 {
        return ["-"; 4].map(str::to_owned);
    }
    [
        share(waits.above_zero as f64 / waits.n as f64),
        shown(waits.mean()),
        shown(waits.ninety),
        shown(waits.longest),
    ]
}

/// Puts rows below each other, the first column to the left and the others to the right.
fn table(heads: &[&str], rows: &[Vec<String>], style: Style) -> String {
    let widest = |n: usize| {
        let cells = rows.iter().filter_map(|row| row.get(n));
        let cells = cells.map(|text| columns_of(text));
        cells
            .chain([columns_of(heads[n])])
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<usize> = (0..heads.len())
        .map(|n| match n {
            0 => widest(n).min(WIDEST_NAME),
            _ => widest(n).max(LENGTH),
        })
        .collect();
    let line = |texts: &mut dyn Iterator<Item = &str>| -> String {
        let cells = texts.zip(&widths).enumerate();
        let cells = cells.map(|(n, (text, width))| match n {
            0 => cell(text, *width),
            _ => right(text, *width),
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut text = style.dim(&line(&mut heads.iter().copied())) + "\n";
    for row in rows {
        text += &line(&mut row.iter().map(String::as_str));
        text += "\n";
    }
    text
}

/// How much locks were used, a line for each row.
pub fn stats(rows: &[Row], by: By, style: Style) -> String {
    if rows.is_empty() {
        return "nobody has held anything in that time\n".to_owned();
    }
    let several = rows.iter().any(|row| row.pool != rows[0].pool);
    let lines: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let name = match (&row.pool, by) {
                (Some(pool), By::Lock | By::Day) if several => format!("{pool}/{}", row.of),
                _ => row.of.clone(),
            };
            let mut cells = vec![
                name,
                row.begun.to_string(),
                row.used.map_or("-".to_owned(), share),
                shown(row.held),
            ];
            cells.extend(waits(&row.waits));
            cells.extend(match row.holds.n {
                0 => ["-"; 3].map(str::to_owned),
                _ => [row.holds.median, row.holds.ninety, row.holds.longest].map(shown),
            });
            cells
        })
        .collect();
    let first = match by {
        By::Pool => "pool",
        By::Lock => "lock",
        By::Pipeline => "pipeline",
        By::Day => "day",
    };
    let heads = [
        first,
        "holds",
        "used",
        "held",
        "waited",
        "wait",
        "90% within",
        "longest",
        "hold",
        "90% within",
        "longest",
    ];
    let mut text = table(&heads, &lines, style);
    if rows.iter().all(|row| row.waits.n == 0) {
        text += "no claim in that time tells how long it was waited for\n";
    }
    text
}

/// What the waits would have been, a line for each number of locks.
pub fn simulated(recorded: &Recorded, played: &[Played], style: Style) -> String {
    let mut lines = Vec::new();
    if recorded.waits.n > 0 {
        let mut cells = vec!["recorded".to_owned(), "-".to_owned()];
        cells.extend(waits(&recorded.waits));
        lines.push(cells);
    }
    for one in played {
        let name = match one.is_now {
            true => format!("{} locks, as now", one.locks),
            false => format!("{} locks", one.locks),
        };
        let mut cells = vec![name, share(one.used)];
        cells.extend(waits(&one.waits));
        lines.push(cells);
    }
    let heads = ["", "used", "waited", "wait", "90% within", "longest"];
    let mut text = table(&heads, &lines, style);
    let count = recorded.waits.n + recorded.untold;
    text += &format!("{count} claims");
    if recorded.untold > 0 {
        text += &format!(
            "; {} of them do not tell how long they were waited for, and are taken to have come when they were made",
            recorded.untold
        );
    }
    text += "\n";
    for one in played.iter().filter(|one| one.unserved > 0) {
        text += &format!(
            "with {} locks, {} would never have been served: what they want is not there\n",
            one.locks, one.unserved
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use terminal::Paint;

    const PLAIN: Style = Style {
        width: 100,
        paint: Paint::Plain,
    };

    #[test]
    fn the_waits_stand_below_each_other() {
        let recorded = Recorded {
            waits: Spread::of(vec![0.0, 60.0, 120.0, 0.0]),
            untold: 1,
        };
        let played = [
            Played {
                locks: 3,
                is_now: true,
                waits: Spread::of(vec![0.0, 61.0, 119.0, 0.0]),
                unserved: 0,
                used: 0.755,
            },
            Played {
                locks: 1,
                is_now: false,
                waits: Spread::of(vec![]),
                unserved: 4,
                used: 0.0,
            },
        ];

        let text = simulated(&recorded, &played, PLAIN);

        let lines: Vec<&str> = text.lines().collect();
        let words = |n: usize| lines[n].split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(words(1), "recorded - 50% 45s 2m 2m");
        assert_eq!(words(2), "3 locks, as now 76% 50% 45s 1m 1m");
        assert_eq!(words(3), "1 locks 0% - - - -");
        // Below each other.
        let end = |n: usize| lines[n].find("45s");
        assert_eq!(end(1), end(2));
        assert!(
            lines[4].starts_with("5 claims; 1 of them do not tell"),
            "{text}"
        );
        assert!(
            lines[5].starts_with("with 1 locks, 4 would never"),
            "{text}"
        );
    }

    #[test]
    fn without_holds_there_is_a_word() {
        assert_eq!(
            stats(&[], By::Pool, PLAIN),
            "nobody has held anything in that time\n"
        );
    }
}

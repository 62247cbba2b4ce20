//! `pool simulate`.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::{Context as _, Result, bail};
use pool::lock::LockName;
use pool::queueing::simulate::{Rule, Scenario, simulate as play};
use pool::queueing::{Served, Spread, served};
use pool::{show, step};

use super::Context;
use super::status::{print, style};
use crate::pool::args::{Form, GoesFirst, SimulateArgs};
use crate::pool::output;
use crate::pool::words::Log;

/// The most locks that are tried.
const MOST: usize = 10_000;

/// What is played if nothing else is said.
const USUAL: [&str; 5] = ["-1", "+0", "+1", "+2", "+3"];

/// Plays the past once more.
pub async fn simulate(context: &Context, args: &SimulateArgs) -> Result<ExitCode> {
    let since = args.since.seconds(SystemTime::now());
    let priorities = priorities(&args.priority)?;
    let (source, which) = (&context.source, context.which.clone());
    git::read_much_once();
    let log = &mut Log::default();
    let record = step::record(source, which, since, &context.around, log).await?;
    let mut requests = served(&record.holds);
    let first = requests.partition_point(|request| request.claimed < since);
    let told = requests[first..].iter();
    let waits = told.filter_map(|request| request.waited).collect();
    let recorded = show::figures::Recorded {
        waits: Spread::of(waits),
        untold: requests[first..]
            .iter()
            .filter(|request| request.waited.is_none())
            .count(),
    };
    for request in &mut requests {
        let given = priorities
            .iter()
            .find(|(text, _)| request.who.contains(text.as_str()));
        if let Some((_, priority)) = given {
            request.priority = *priority;
        }
    }
    let there = record.locks.get(&source.pool).cloned().unwrap_or_default();
    let usual = USUAL.map(str::to_owned);
    let wanted = if args.locks.is_empty() {
        &usual[..]
    } else {
        &args.locks
    };
    let mut played = Vec::new();
    for text in wanted {
        let number = number(text, there.len())?;
        // With one lock, there is none less.
        let Some(number) = number else {
            if args.locks.is_empty() {
                continue;
            }
            bail!(
                "`--locks {text}`: there are {}, and one must be left",
                there.len()
            );
        };
        let scenario = Scenario {
            locks: kept(&there, number, &requests),
            more: number.saturating_sub(there.len()),
            rule: match args.order {
                GoesFirst::Arrival => Rule::Arrival,
                GoesFirst::Newest => Rule::Newest,
                GoesFirst::Any => Rule::Any,
            },
            priorities: !args.no_priorities,
        };
        let outcome = play(&requests, &scenario);
        played.push(show::figures::Played {
            locks: number,
            is_now: number == there.len(),
            waits: outcome.spread(first),
            unserved: outcome.unserved(first),
            used: outcome.used,
        });
    }
    let text = match (args.format, context.json) {
        (Form::Json, _) | (Form::Table, true) => {
            output::figures::simulated_json(&recorded, &played, source.pool.as_str())?
        }
        (Form::Csv, _) => output::figures::simulated_csv(&played),
        (Form::Table, false) => show::figures::simulated(&recorded, &played, style(context)),
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// How many locks are meant; `None` for fewer than one.
fn number(text: &str, there: usize) -> Result<Option<usize>> {
    let wrong = || format!("`--locks` must be a number, or as +1 or -1, found {text:?}");
    let (digits, sign) = match text.split_at_checked(1) {
        Some(("+", digits)) => (digits, 1),
        Some(("-", digits)) => (digits, -1),
        _ => (text, 0),
    };
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: usize = digits
        .parse()
        .ok()
        .filter(|_| is_number)
        .with_context(wrong)?;
    let number = match sign {
        1 => there.checked_add(number),
        -1 => Some(there.saturating_sub(number)),
        _ => Some(number),
    };
    let number = number.filter(|number| *number <= MOST);
    let number = number.with_context(|| format!("`--locks {text}`: at most {MOST}"))?;
    Ok(Some(number).filter(|number| *number > 0))
}

/// Which locks are left if there are fewer: those go first that nobody asked for by their names, and of these the ones that were
/// had the least.
fn kept(there: &BTreeSet<LockName>, number: usize, requests: &[Served]) -> BTreeSet<LockName> {
    let mut locks: Vec<(bool, usize, &LockName)> = there
        .iter()
        .map(|lock| {
            let had = requests
                .iter()
                .filter(|request| request.locks.iter().any(|(name, _)| name == lock));
            let (mut by_name, mut times) = (false, 0);
            for request in had {
                by_name |= request.wanted.is_none();
                times += 1;
            }
            (by_name, times, lock)
        })
        .collect();
    locks.sort_by(|a, b| b.cmp(a));
    locks
        .into_iter()
        .take(number)
        .map(|(_, _, lock)| lock.clone())
        .collect()
}

/// Reads `TEXT=N`, once or several times.
fn priorities(given: &[String]) -> Result<Vec<(String, i32)>> {
    let read = |text: &String| {
        let parts = text.rsplit_once('=');
        let read = parts.and_then(|(who, n)| Some((who.to_owned(), n.parse::<i32>().ok()?)));
        let read = read.filter(|(who, n)| !who.is_empty() && (-1000..=1000).contains(n));
        read.with_context(|| {
            format!("`--priority` must be TEXT=N with N from -1000 to 1000, found {text:?}")
        })
    };
    given.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn numbers_of_locks_are_read() {
        for (text, expected) in [
            ("5", Some(5)),
            ("+2", Some(5)),
            ("-1", Some(2)),
            ("-3", None),
            ("0", None),
            ("+0", Some(3)),
        ] {
            assert_eq!(number(text, 3).unwrap(), expected, "{text}");
        }
        for text in [
            "",
            "+",
            "-",
            "x",
            "1.5",
            "++1",
            "99999999999999999999999",
            "10001",
            "+9999",
        ] {
            assert!(number(text, 3).is_err(), "{text}");
        }
    }

    #[test]
    fn priorities_are_read() {
        let read = priorities(&["ops/web=5".into(), "a=b=-7".into()]).unwrap();
        assert_eq!(read, [("ops/web".to_owned(), 5), ("a=b".to_owned(), -7)]);
        for text in ["", "x", "=1", "x=", "x=1001", "x=y"] {
            assert!(priorities(&[text.to_owned()]).is_err(), "{text}");
        }
    }
}

//! The pools at a glance.

use std::time::SystemTime;

use super::{Style, ago, at, cell, columns_of, counted, fit, length, moment, right, wrapped};
use crate::ledger::Held;
use crate::line::Need;
use crate::message;
use crate::past::who;
use crate::pool::Damage;
use crate::step::{LockView, Overview, PoolView, Standing, Waiter};

/// The widest that the column of the names gets.
const WIDEST_NAME: usize = 24;

/// `99d 05h`
const AGE: usize = 7;

/// `2026-11-21 09:41`
const MOMENT: usize = 16;

/// With fewer columns the moments are left out; how long ago it was is there in any case.
const ROOM_FOR_MOMENTS: usize = 80;

/// The pools as a text for people, with a newline at the end of each line.
pub fn text(overview: &Overview, now: SystemTime, style: Style) -> String {
    let columns = style.columns();
    let mut lines = Vec::new();
    let head: String = overview.head.to_string().chars().take(8).collect();
    let tail = format!(" {} at {head}, {} UTC", overview.branch, moment(now));
    let place = fit(&overview.remote, columns.saturating_sub(columns_of(&tail)));
    lines.push(style.dim(&fit(&format!("{place}{tail}"), columns)));
    if overview.pools.is_empty() {
        lines.push("there is no pool on this branch".to_owned());
    }
    for pool in &overview.pools {
        lines.push(String::new());
        lines.extend(of_pool(pool, now, style));
    }
    lines.push(String::new());
    lines.join("\n")
}

fn of_pool(pool: &PoolView, now: SystemTime, style: Style) -> Vec<String> {
    let columns = style.columns();
    let mut lines = vec![title(pool, style)];
    let free: Vec<&str> = pool
        .locks
        .iter()
        .filter(|lock| lock.standing == Standing::Free)
        .map(|lock| lock.name.as_str())
        .collect();
    let others = || {
        pool.locks
            .iter()
            .filter(|lock| lock.standing != Standing::Free)
    };
    let labels = ["free", "line"]
        .iter()
        .map(|label| label.len())
        .chain(others().map(|lock| columns_of(lock.name.as_str())));
    let name = labels.max().unwrap_or_default().min(WIDEST_NAME);
    let layout = Layout::new(columns, name);

    for lock in others() {
        lines.extend(of_lock(lock, now, style, layout));
    }
    for (n, names) in wrapped(free.into_iter(), layout.rest()).iter().enumerate() {
        let label = if n == 0 { "free" } else { "" };
        lines.push(format!(
            "  {}  {}",
            style.dim(&cell(label, name)),
            style.good(names)
        ));
    }
    for (n, waiter) in pool.line.iter().enumerate() {
        let label = if n == 0 { "line" } else { "" };
        let place = format!("{}. ", n + 1);
        lines.push(of_waiter(waiter, label, &place, now, style, layout));
    }
    if let Some(usual) = pool.usual
        && !lines.is_empty()
    {
        let line = format!(
            "a hold usually takes {} (median), nine of ten up to {}",
            length(usual.median),
            length(usual.ninety)
        );
        lines.push(format!("  {}", style.dim(&fit(&line, columns - 2))));
    }
    lines
}

fn title(pool: &PoolView, style: Style) -> String {
    let count = |is: fn(&Standing) -> bool| {
        let those = pool.locks.iter().filter(|lock| is(&lock.standing));
        those.count()
    };
    let free = count(|standing| matches!(standing, Standing::Free));
    let held = count(|standing| matches!(standing, Standing::Held(_)));
    let damaged = count(|standing| matches!(standing, Standing::Damaged(..)));
    let mut said = vec![format!(
        "{}: {free} free, {held} claimed",
        counted(pool.locks.len(), "lock")
    )];
    if damaged > 0 {
        said.push(format!("{damaged} damaged"));
    }
    if !pool.line.is_empty() {
        said.push(format!("{} waiting", pool.line.len()));
    }
    let said = said.join(", ");
    let room = style.columns().saturating_sub(columns_of(&said) + 2);
    format!("{}  {said}", style.strong(&fit(pool.name.as_str(), room)))
}

/// Where the columns are: two spaces, the name, the holder, how long, since when; two spaces between them.
#[derive(Clone, Copy)]
struct Layout {
    columns: usize,
    name: usize,
    holder: usize,
    moments: bool,
}

impl Layout {
    fn new(columns: usize, name: usize) -> Layout {
        let moments = columns >= ROOM_FOR_MOMENTS;
        let others = 2 + name + 2 + 2 + AGE + if moments { 2 + MOMENT } else { 0 };
        Layout {
            columns,
            name,
            holder: columns.saturating_sub(others),
            moments,
        }
    }

    /// The columns after the name.
    fn rest(self) -> usize {
        self.columns.saturating_sub(self.name + 4)
    }

    fn times(self, now: SystemTime, since: Option<SystemTime>, style: Style) -> String {
        let age = since.map_or(String::new(), |since| length(ago(now, since)));
        let mut times = right(&age, AGE);
        if self.moments {
            let since = since.map_or(String::new(), moment);
            times += &style.dim(&format!("  {}", cell(&since, MOMENT)));
        }
        times
    }
}

fn of_lock(lock: &LockView, now: SystemTime, style: Style, layout: Layout) -> Vec<String> {
    let name = cell(lock.name.as_str(), layout.name);
    let mut lines = Vec::new();
    let held = match &lock.standing {
        Standing::Free => return lines,
        Standing::Held(held) => {
            let (holder, since) = match held {
                Some(held) => (who(&held.message), Some(held.made)),
                None => ("somebody; no commit tells who".to_owned(), None),
            };
            lines.push(format!(
                "  {}  {}  {}",
                style.notable(&name),
                cell(&holder, layout.holder),
                layout.times(now, since, style)
            ));
            held.as_ref()
        }
        Standing::Damaged(damage, held) => {
            let what = match damage {
                Damage::InBoth { .. } => {
                    "damaged: it is in both claimed/ and unclaimed/".to_owned()
                }
                Damage::NotAFile(holding) => {
                    format!("damaged: what is in {}/ is not a file", holding.folder())
                }
            };
            lines.push(format!(
                "  {}  {}",
                style.bad(&name),
                style.bad(&fit(&what, layout.rest()))
            ));
            if let Some(held) = held {
                let holder = format!("claimed by {}", who(&held.message));
                lines.push(format!(
                    "  {}  {}  {}",
                    " ".repeat(layout.name),
                    cell(&holder, layout.holder),
                    layout.times(now, Some(held.made), style)
                ));
            }
            held.as_ref()
        }
    };
    if let Some(held) = held {
        lines.extend(details(held, now, style, layout));
    }
    lines
}

/// The end of the lease and the build's page, if there is one of them.
fn details(held: &Held, now: SystemTime, style: Style, layout: Layout) -> Option<String> {
    let lease = held.lease_end.map(|end| match end.duration_since(now) {
        Ok(left) => format!("lease ends in {}", length(left)),
        Err(over) => format!("lease over since {}", length(over.duration())),
    });
    let url = message::build_url(&held.message);
    let mut shown = Vec::new();
    let mut room = layout.rest();
    if let Some(lease) = lease {
        let lease = fit(&lease, room);
        room = room.saturating_sub(columns_of(&lease) + 2);
        shown.push(match held.lease_end {
            Some(end) if end < now => style.bad(&lease),
            _ => style.dim(&lease),
        });
    }
    if let Some(url) = url {
        shown.push(style.link(&url, &fit(&url, room)));
    }
    let indent = " ".repeat(layout.name + 4);
    (!shown.is_empty()).then(|| format!("{indent}{}", shown.join("  ")))
}

fn of_waiter(
    waiter: &Waiter,
    label: &str,
    place: &str,
    now: SystemTime,
    style: Style,
    layout: Layout,
) -> String {
    let mut wants = match &waiter.need {
        Some(need) => format!(" for {}", wanted(need)),
        None => String::new(),
    };
    if waiter.priority != 0 {
        wants += &format!(", priority {}", waiter.priority);
    }
    if let Some(silent) = waiter.silent {
        wants += &format!(", no sign of life for {}", length(silent));
    }
    // Who it is gives way first, but not altogether.
    let room = layout.holder.saturating_sub(columns_of(place));
    let who = fit(
        &waiter.who,
        room.saturating_sub(columns_of(&wants)).max(room / 2),
    );
    let since = waiter
        .since
        .and_then(|since| i64::try_from(since).ok())
        .map(at);
    format!(
        "  {}  {}{}  {}",
        style.dim(&cell(label, layout.name)),
        place,
        cell(&format!("{who}{wants}"), room),
        layout.times(now, since, style)
    )
}

/// What somebody waits for, in a few words.
pub fn wanted(need: &Need) -> String {
    match need {
        Need::Lock(lock) => lock.to_string(),
        Need::Any(want) => {
            let count = match want.count.get() {
                1 => "any lock".to_owned(),
                n => format!("any {n} locks"),
            };
            let conditions = want.conditions.iter();
            let conditions: Vec<String> = conditions
                .map(|condition| format!("{}={}", condition.path, condition.value))
                .collect();
            if conditions.is_empty() {
                count
            } else {
                format!("{count} with {}", conditions.join(", "))
            }
        }
    }
}

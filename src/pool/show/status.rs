//! The pools at a glance.

use std::time::SystemTime;

use crate::circles::Circle;
use crate::ledger::Held;
use crate::line::Need;
use crate::message;
use crate::message::who;
use crate::rules::Damage;
use crate::step::{LockView, Overview, PoolView, Standing, Waiter};
use pace::duration::length;
use terminal::one_line;
use terminal::table::{Style, ago, cell, columns_of, counted, fit, moment, right, wrapped};
use terminal::time::at;

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
    for circle in &overview.circles {
        lines.push(String::new());
        lines.extend(of_circle(circle, style));
    }
    lines.push(String::new());
    lines.join("\n")
}

/// Who waits for whom, each on a line.
fn of_circle(circle: &Circle, style: Style) -> Vec<String> {
    let columns = style.columns();
    let title = match circle.members.len() {
        1 => "circle: one waits for itself, and never goes on".to_owned(),
        n => format!("circle: {n} wait for each other, and none of them ever goes on"),
    };
    let mut lines = vec![style.bad(&fit(&title, columns))];
    for member in &circle.members {
        lines.push(format!("  {}", fit(&member.shown(), columns - 2)));
    }
    if let Some(member) = circle.gives_way() {
        let line = format!("{} gives way", member.waiter.who);
        lines.push(format!("  {}", style.dim(&fit(&line, columns - 2))));
    }
    lines
}

fn of_pool(pool: &PoolView, now: SystemTime, style: Style) -> Vec<String> {
    let columns = style.columns();
    let mut lines = title(pool, style);
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
    let name = labels.max().unwrap_or_default();
    let name = name.min(WIDEST_NAME).min(columns / 3);
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

fn title(pool: &PoolView, style: Style) -> Vec<String> {
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
    let (name, columns) = (pool.name.as_str(), style.columns());
    let room = columns.saturating_sub(columns_of(&said) + 2);
    if room >= columns_of(name).min(WIDEST_NAME) {
        vec![format!("{}  {said}", style.strong(&fit(name, room)))]
    } else {
        let name = style.strong(&fit(name, columns));
        vec![name, format!("  {}", fit(&said, columns - 2))]
    }
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

/// Why it is held, the end of the lease and the build's page, as far as there are such: the last two on one line if that
/// leaves enough of the page.
fn details(held: &Held, now: SystemTime, style: Style, layout: Layout) -> Vec<String> {
    /// `https://ci.example.com`
    const ENOUGH: usize = 22;
    let indent = " ".repeat(layout.name + 4);
    let mut lines = Vec::new();
    let mut room = layout.rest();
    let reason = message::trailer(&held.message, message::REASON);
    let reason = reason.map(|reason| fit(&one_line(&reason), room));
    if let Some(reason) = &reason {
        lines.push(format!("{indent}{}", style.notable(reason)));
    }
    if let Some(end) = held.lease_end {
        let line = match end.duration_since(now) {
            Ok(left) => format!("lease ends in {}", length(left)),
            Err(over) => format!("lease over since {}", length(over.duration())),
        };
        let line = fit(&line, room);
        room = room.saturating_sub(columns_of(&line) + 2);
        let line = if end < now {
            style.bad(&line)
        } else {
            style.dim(&line)
        };
        lines.push(format!("{indent}{line}"));
    }
    if let Some(url) = message::build_url(&held.message) {
        let shares = held.lease_end.is_some() && room >= ENOUGH;
        match lines.last_mut().filter(|_| shares) {
            Some(line) => *line += &format!("  {}", style.link(&url, &fit(&url, room))),
            None => {
                let shown = fit(&url, layout.rest());
                lines.push(format!("{indent}{}", style.link(&url, &shown)));
            }
        }
    }
    lines
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
                _ if want.all => "all locks".to_owned(),
                1 => "any lock".to_owned(),
                n => format!("any {n} locks"),
            };
            let conditions = want.conditions.iter();
            let conditions: Vec<String> =
                conditions.map(|condition| condition.to_string()).collect();
            if conditions.is_empty() {
                count
            } else {
                format!("{count} with {}", conditions.join(", "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::attempt::Usual;
    use crate::lock::{ClaimId, LockName, PoolName};
    use crate::operation::Want;
    use git::object::Oid;
    use terminal::Paint;

    const NOW: u64 = 1_763_718_067;

    fn before(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(NOW - seconds)
    }

    fn held(seconds: u64, message: &str, lease_end: Option<SystemTime>) -> Standing {
        Standing::Held(Some(Held {
            claim: ClaimId(Oid::ZERO_SHA1),
            made: before(seconds),
            message: Arc::from(message.as_bytes()),
            last_sign: Oid::ZERO_SHA1,
            last_sign_at: before(seconds),
            lease_end,
        }))
    }

    fn overview(locks: Vec<(&str, Standing)>) -> Overview {
        let lock = |(name, standing): (&str, Standing)| LockView {
            name: LockName::new(name).expect("a name"),
            standing,
        };
        Overview {
            remote: "https://git.example.com/ops/locks.git".to_owned(),
            branch: "main".to_owned(),
            head: Oid::ZERO_SHA1,
            pools: vec![PoolView {
                name: PoolName::new("aws").expect("a name"),
                locks: locks.into_iter().map(lock).collect(),
                line: vec![Waiter {
                    id: "x".to_owned(),
                    who: "ops/web/deploy build 13".to_owned(),
                    url: None,
                    need: Some(Need::Any(Want::default())),
                    since: Some(NOW - 240),
                    priority: 0,
                    silent: None,
                }],
                usual: Some(Usual {
                    median: Duration::from_secs(720),
                    ninety: Duration::from_secs(2400),
                }),
            }],
            circles: Vec::new(),
        }
    }

    fn some() -> Overview {
        let claim = "ops/web/deploy build 12 claiming: env-2\n\nBuild URL: https://ci.example.com/teams/ops/pipelines/web/jobs/deploy/builds/12\n";
        overview(vec![
            ("env-1", Standing::Free),
            ("env-2", held(7500, claim, Some(before(300)))),
            ("env-3", Standing::Free),
            (
                "env-4",
                held(
                    60,
                    "ann@laptop claiming: env-4",
                    Some(before(0) + Duration::from_secs(1500)),
                ),
            ),
            (
                "env-5",
                held(
                    90,
                    "ann@laptop claiming: env-5\n\nPool-Reason: a broken disk, see OPS-17\n",
                    None,
                ),
            ),
        ])
    }

    fn shown(overview: &Overview, width: usize, paint: Paint) -> String {
        text(overview, before(0), Style { width, paint })
    }

    #[test]
    fn a_pool_at_a_glance() {
        assert_eq!(
            shown(&some(), 100, Paint::Plain),
            "\
https://git.example.com/ops/locks.git main at 00000000, 2025-11-21 09:41 UTC

aws  5 locks: 2 free, 3 claimed, 1 waiting
  env-2  ops/web/deploy build 12                                            2h 05m  2025-11-21 07:36
         lease over since 5m  https://ci.example.com/teams/ops/pipelines/web/jobs/deploy/builds/12
  env-4  ann@laptop                                                             1m  2025-11-21 09:40
         lease ends in 25m
  env-5  ann@laptop                                                             1m  2025-11-21 09:39
         a broken disk, see OPS-17
  free   env-1  env-3
  line   1. ops/web/deploy build 13 for any lock                                4m  2025-11-21 09:37
  a hold usually takes 12m (median), nine of ten up to 40m
"
        );
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_whatever_the_names_are() {
        let long = "x".repeat(200);
        let wide = "環境".repeat(40);
        let odd = format!("{wide} \u{1b}[2J\u{202e} claiming: a");
        let url = format!("{long} claiming: b\n\nBuild URL: https://ci.example.com/{long}\n");
        let overview = overview(vec![
            ("a", held(90_000, &odd, None)),
            (&long, held(5, &url, Some(before(0)))),
            (&wide, Standing::Free),
            (
                "both",
                Standing::Damaged(
                    Damage::InBoth {
                        mode: git::object::Mode::File,
                    },
                    None,
                ),
            ),
        ]);

        for width in [40, 41, 60, 79, 80, 100, 200] {
            for line in shown(&overview, width, Paint::Plain).lines() {
                assert!(columns_of(line) <= width, "{width}: {line:?}");
                assert!(!line.contains(['\u{1b}', '\u{202e}']), "{line:?}");
            }
        }
    }

    #[test]
    fn colours_and_links_are_added_only_where_they_are_wanted_and_change_no_text() {
        let plain = shown(&some(), 60, Paint::Plain);
        let coloured = shown(&some(), 60, Paint::Colours);
        // A link is a sequence that ends with ESC and a backslash, a colour one that ends with m.
        let mut rest = coloured.as_str();
        let mut stripped = String::new();
        while let Some((text, after)) = rest.split_once('\u{1b}') {
            stripped.push_str(text);
            rest = match after.strip_prefix(']') {
                Some(link) => link.split_once("\u{1b}\\").map_or("", |(_, rest)| rest),
                None => after.split_once('m').map_or("", |(_, rest)| rest),
            };
        }
        stripped.push_str(rest);

        assert_eq!(stripped, plain);
        assert!(coloured.contains("builds/12\u{1b}\\"), "the link is whole");
    }
}

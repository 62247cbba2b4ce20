//! The page of a pool: its locks, its line, its timeline.

use std::time::{Duration, SystemTime};

use maud::{Markup, html};
use page::chart::{Lane, timeline};
use page::part::{Column, Row, Tone, badge, column, facts, live, number, table};
use page::{encoded, moment};

use super::{Look, circles};
use crate::circles::Circle;
use crate::serve::parts::{
    holder, linked, marks, millis, need, of_lock, of_pool, share, spans, standing, usual,
};
use crate::step::Standing;
use crate::view::board::{DAY, WEEK, held_since};
use crate::view::times::{held, known_from};
use crate::view::{Board, LockBoard, Place, PoolBoard};
use terminal::table::seconds_of;

/// At most so many locks of a pool are in its timeline: those that were held for longest.
const LANES: usize = 100;

/// So many free locks of a pool are named one by one; of more, their names stand together.
const ROWS: usize = 60;

/// What of a pool is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// The last day.
    Day,
    /// The last week.
    Week,
}

impl Window {
    /// The one that is asked for so.
    pub fn of(name: Option<&str>) -> Window {
        match name {
            Some("week") => Window::Week,
            _ => Window::Day,
        }
    }

    fn seconds(self) -> i64 {
        match self {
            Window::Day => DAY,
            Window::Week => WEEK,
        }
    }
}

impl Look<'_> {
    /// One pool.
    pub fn pool(&self, board: &Board, pool: &PoolBoard, window: Window) -> String {
        let path = of_pool(&pool.name);
        let now = millis(self.now);
        let ours = board.circles.iter().filter(|circle| {
            let mut members = circle.members.iter();
            members.any(|member| member.pool == pool.name)
        });
        let ours: Vec<Circle> = ours.cloned().collect();
        let body = html! {
            (live("circles", circles(&ours)))
            (live("facts", summary(pool)))
            (live("locks", locks(pool, now)))
            h2 { "Line" }
            (live("line", line(pool, now)))
            h2 { "Timeline" }
            p {
                @for (one, name) in [(Window::Day, "day"), (Window::Week, "week")] {
                    @if one == window { strong { "Last " (name) } } @else { a href=(format!("{path}&span={name}")) { "Last " (name) } }
                    " "
                }
            }
            (live("timeline", lanes(board, pool, window, self.now)))
        };
        let above = vec![("Pools".to_owned(), "/".to_owned())];
        self.page(pool.name.as_str(), above, &path, "", body)
    }
}

fn summary(pool: &PoolBoard) -> Markup {
    let mut all = vec![
        ("Free", html! { (pool.free) " of " (pool.locks.len()) }),
        ("Waiting", html! { (pool.line.len()) }),
        ("Usual hold", usual(pool.usual)),
        (
            "Held, last day and week",
            html! { (share(pool.day)) ", " (share(pool.week)) },
        ),
    ];
    if pool.damaged > 0 {
        let damaged = badge(Tone::Bad, &pool.damaged.to_string());
        all.insert(1, ("Damaged", damaged));
    }
    facts(&all)
}

fn locks(pool: &PoolBoard, now: i64) -> Markup {
    const COLUMNS: [Column; 5] = [
        column("Lock"),
        column("State"),
        column("Holder"),
        number("Since"),
        number("Usual hold"),
    ];
    let is_free = |lock: &&LockBoard| lock.standing == Standing::Free;
    let free: Vec<&LockBoard> = pool.locks.iter().filter(is_free).collect();
    let are_few = free.len() <= ROWS;
    let row = |lock: &LockBoard| {
        let held = match &lock.standing {
            Standing::Held(held) => holder(held.as_ref()),
            Standing::Damaged(damage, _) => html! { (damage) },
            Standing::Free => html! {},
        };
        Row {
            id: Some(format!("lock-{}", encoded(lock.name.as_str()))),
            cells: vec![
                html! { a href=(of_lock(&pool.name, &lock.name)) { (lock.name) } },
                standing(lock),
                held,
                html! { @if let Some(since) = held_since(&lock.standing) { (moment::ago(millis(since), now)) } },
                usual(lock.usual),
            ],
        }
    };
    let shown = pool.locks.iter().filter(|lock| are_few || !is_free(lock));
    let rows: Vec<Row> = shown.map(row).collect();
    html! {
        h2 { "Locks" }
        (table("The locks of the pool", &COLUMNS, &rows, "No lock is held"))
        @if !are_few {
            p { (badge(Tone::Good, "free")) " " (free.len()) ": "
                @for (at, lock) in free.iter().enumerate() {
                    @if at > 0 { ", " }
                    a href=(of_lock(&pool.name, &lock.name)) { (lock.name) }
                }
            }
        }
    }
}

fn line(pool: &PoolBoard, now: i64) -> Markup {
    const COLUMNS: [Column; 5] = [
        column("Place"),
        column("Who"),
        column("Waits for"),
        number("Since"),
        number("Expected"),
    ];
    let row = |(at, place): (usize, &Place)| {
        let waiter = &place.waiter;
        let since = waiter.since.and_then(|since| i64::try_from(since).ok());
        Row {
            id: Some(format!("waiter-{}", waiter.id)),
            cells: vec![
                html! { (at + 1) },
                html! {
                    (linked(&waiter.who, waiter.url.as_deref()))
                    @if waiter.priority != 0 { " " (badge(Tone::Idle, &format!("priority {}", waiter.priority))) }
                    @if let Some(silent) = waiter.silent {
                        " " (badge(Tone::Warn, &format!("silent for {}", moment::took(silent))))
                    }
                },
                html! { (need(waiter.need.as_ref())) },
                html! { @if let Some(since) = since { (moment::ago(since.saturating_mul(1000), now)) } },
                html! {
                    @match place.expected {
                        Some(Duration::ZERO) => "now",
                        Some(wait) => (format!("in {}", pace::duration::length(wait))),
                        None => "–",
                    }
                },
            ],
        }
    };
    let rows: Vec<Row> = pool.line.iter().enumerate().map(row).collect();
    html! {
        (table("Those who wait, in the order in which they are served", &COLUMNS, &rows, "Nobody waits"))
        @if !rows.is_empty() {
            p.hint { "Expected: if locks are held for as long as they usually are." }
        }
    }
}

fn lanes(board: &Board, pool: &PoolBoard, window: Window, now: SystemTime) -> Markup {
    let Some(chronicle) = &board.chronicle else {
        return html! { p.empty { "The history is being read" } };
    };
    let to = seconds_of(now).unwrap_or_default();
    let from = to.saturating_sub(window.seconds());
    let known = known_from(chronicle, from);
    let mut used: Vec<(&LockBoard, i64)> = pool
        .locks
        .iter()
        .map(|lock| {
            let past = board.past(&pool.name, &lock.name);
            let held = past.map(|past| held(&past.holds, from, to));
            (lock, held.unwrap_or_default())
        })
        .collect();
    let are_all = used.len() <= LANES;
    if !are_all {
        used.sort_by_key(|(_, held)| std::cmp::Reverse(*held));
        used.truncate(LANES);
        used.sort_by(|a, b| a.0.name.cmp(&b.0.name));
    }
    let lane = |(lock, held): (&LockBoard, i64)| {
        let past = board.past(&pool.name, &lock.name);
        let holds = past.into_iter().flat_map(|past| past.holds.iter());
        let length = to.saturating_sub(known).max(1);
        let percent = (held as f64 / length as f64 * 100.0).min(100.0);
        Lane {
            label: html! { a href=(of_lock(&pool.name, &lock.name)) { (lock.name) } },
            spans: spans(holds, from, to),
            end: html! { (format!("{percent:.0} %")) },
        }
    };
    let lanes: Vec<Lane> = used.into_iter().map(lane).collect();
    if lanes.is_empty() {
        return html! { p.empty { "There are no locks" } };
    }
    let marks = marks(from, to);
    let (start, end) = (from.saturating_mul(1000), to.saturating_mul(1000));
    html! {
        @if !are_all { p.hint { "The " (LANES) " locks that were held for longest, of " (pool.locks.len()) "." } }
        @if known > from { p.hint { "Known from " (moment::at(known.saturating_mul(1000))) " on." } }
        (timeline("When each lock was held, and how much of the time", start, end, &lanes, &marks))
    }
}

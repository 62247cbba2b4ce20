//! The pages: all pools here, a pool and a lock below.

mod lock;
mod pool;

pub use pool::Window;

use std::time::SystemTime;

use maud::{Markup, html};
use page::part::{self, Column, Row, Tone, badge, column, live, note, number, table};
use page::{Mood, Page, Reader, Site, encoded, moment};

use super::actor::Deed;
use super::parts::{linked, millis, of_pool, share, usual};
use super::reader::Found;
use crate::circles::Circle;
use crate::view::{Board, PoolBoard};
use terminal::table::counted;

/// What is the same on all pages.
pub const SITE: Site = Site {
    name: "pool",
    base: "",
    places: &[("Pools", "/")],
};

/// Who looks at what.
pub struct Look<'a> {
    /// What was found.
    pub found: &'a Found,
    /// What time it is.
    pub now: SystemTime,
    /// Who it is, if that is known.
    pub reader: Option<&'a Reader>,
    /// What is allowed here, to those who have the token.
    pub allowed: &'a [Deed],
    /// What the holder of claims is called that are made from here.
    pub us: &'a str,
}

impl Look<'_> {
    fn page(
        &self,
        title: &str,
        above: Vec<(String, String)>,
        path: &str,
        place: &str,
        body: Markup,
    ) -> String {
        let board = self.found.board.as_deref();
        Page {
            site: &SITE,
            title: title.to_owned(),
            above,
            mood: self.mood(board),
            place,
            reader: self.reader,
            events: Some(format!("/events?known={}", self.found.number)),
            now: millis(self.now),
            body: html! {
                (live("state", self.state(board)))
                (body)
                @if !self.allowed.is_empty() && self.reader.is_none() {
                    p { a href=(format!("/sign-in?next={}", encoded(path))) { "Sign in" } " to change something." }
                }
            },
        }
        .html()
    }

    fn mood(&self, board: Option<&Board>) -> Mood {
        let Some(board) = board.filter(|_| self.found.is_current(self.now)) else {
            return Mood::Bad;
        };
        let is_damaged = board.pools.iter().any(|pool| pool.damaged > 0);
        let is_waited = board.pools.iter().any(|pool| !pool.line.is_empty());
        match (is_damaged || !board.circles.is_empty(), is_waited) {
            (true, _) => Mood::Bad,
            (false, true) => Mood::Busy,
            (false, false) => Mood::Calm,
        }
    }

    /// How old all of it is, and what is wrong.
    fn state(&self, board: Option<&Board>) -> Markup {
        let now = millis(self.now);
        let sight = &self.found.sight;
        let is_current = self.found.is_current(self.now);
        let looked = sight.looked.as_ref();
        let looked = looked.map_or(now, |(_, looked)| millis(*looked));
        html! {
            @match board {
                Some(board) => p.hint {
                    (board.remote) ", branch " (board.branch) " at "
                    code { (board.head.chars().take(8).collect::<String>()) }
                    @if !is_current { ", as it was " (moment::ago(looked, now)) }
                },
                None if sight.trouble.is_none() => p { "The repository is being read for the first time…" },
                None => {},
            }
            @if let Some(trouble) = &sight.trouble {
                (note(Tone::Bad, html! {
                    p role="alert" {
                        strong { "The repository cannot be read, since " (moment::ago(millis(trouble.since), now)) }
                        ": " (trouble.words) "."
                        @if board.is_some() { " What is below is old." }
                    }
                }))
            } @else if board.is_some() && !is_current {
                (note(Tone::Bad, html! {
                    p role="alert" { "The repository was last read " (moment::ago(looked, now)) ": what is below is old." }
                }))
            }
            @if board.is_some() && sight.chronicle.is_none() {
                @match &sight.unread {
                    Some(words) => (note(Tone::Warn, html! { p { "The history could not be read, and is tried again: " (words) "." } })),
                    None => (note(Tone::Busy, html! { p { "The history is being read; what was usual, and what was before, comes soon." } })),
                }
            }
        }
    }

    /// All pools.
    pub fn overview(&self) -> String {
        let board = self.found.board.as_deref();
        let body = html! {
            @if let Some(board) = board {
                (live("circles", circles(&board.circles)))
                (live("pools", pools(board)))
                (live("past", past(board)))
            }
        };
        self.page("Pools", Vec::new(), "/", "/", body)
    }
}

fn circles(circles: &[Circle]) -> Markup {
    html! {
        @for circle in circles {
            (note(Tone::Bad, html! {
                p { strong { "These wait for each other, and none of them goes on:" } }
                ul {
                    @for member in &circle.members {
                        @let shown = member.shown();
                        @let who = &member.waiter.who;
                        li {
                            (linked(who, member.waiter.url.as_deref()))
                            (shown.strip_prefix(who.as_str()).unwrap_or(&shown))
                        }
                    }
                }
            }))
        }
    }
}

fn pools(board: &Board) -> Markup {
    const COLUMNS: [Column; 7] = [
        column("Pool"),
        number("Free"),
        number("Held"),
        number("Waiting"),
        number("Usual hold"),
        number("Held, last day"),
        number("Last week"),
    ];
    let row = |pool: &PoolBoard| Row {
        id: Some(format!("pool-{}", encoded(pool.name.as_str()))),
        cells: vec![
            html! {
                a href=(of_pool(&pool.name)) { (pool.name.as_str()) }
                @if pool.damaged > 0 { " " (badge(Tone::Bad, &format!("{} damaged", pool.damaged))) }
            },
            html! {
                @if pool.free == 0 && !pool.locks.is_empty() { (badge(Tone::Warn, "0")) }
                @else { (pool.free) }
            },
            html! { (pool.held) " of " (pool.locks.len()) },
            html! { (pool.line.len()) },
            usual(pool.usual),
            share(pool.day),
            share(pool.week),
        ],
    };
    let rows: Vec<Row> = board.pools.iter().map(row).collect();
    table(
        "The pools of the branch",
        &COLUMNS,
        &rows,
        "There is no pool on this branch",
    )
}

fn past(board: &Board) -> Markup {
    html! {
        @if let Some(chronicle) = &board.chronicle {
            p.hint {
                @let commits = usize::try_from(chronicle.commits).unwrap_or(usize::MAX);
                (counted(commits, "commit")) " since " (moment::at(chronicle.first.1.saturating_mul(1000)))
                ". " a href="/metrics" { "Metrics" }
            }
        }
    }
}

/// A page for what there is not.
pub fn nothing(what: &str, now: SystemTime) -> String {
    part::error(&SITE, "There is no such page", what, millis(now))
}

//! The page of a lock: its claim, its holds, what may be done to it.

use std::time::SystemTime;

use maud::{Markup, html};
use page::chart::{Lane, timeline};
use page::form::{Field, Form, Kind};
use page::moment;
use page::part::{Column, Row, Tone, badge, column, facts, live, note, number, table};

use super::Look;
use crate::message::who;
use crate::past::chronicle::Stretch;
use crate::serve::actor::Deed;
use crate::serve::parts::{
    ending, holder, linked, marks, millis, of_lock, of_pool, spans, standing, usual,
};
use crate::step::Standing;
use crate::view::board::WEEK;
use crate::view::{Board, LockBoard, PoolBoard};
use terminal::table::seconds_of;

/// So many holds of a lock are listed.
const LISTED: usize = 100;

impl Look<'_> {
    /// One lock. `said` is what has just been done to it, or what went wrong.
    pub fn lock(
        &self,
        board: &Board,
        pool: &PoolBoard,
        lock: &LockBoard,
        said: Option<Result<&str, &str>>,
    ) -> String {
        let path = of_lock(&pool.name, &lock.name);
        let now = millis(self.now);
        let body = html! {
            @match said {
                Some(Ok(words)) => (note(Tone::Good, html! { p role="status" { (words) } })),
                Some(Err(words)) => (note(Tone::Bad, html! { p role="alert" { (words) } })),
                None => {},
            }
            (live("lock", about(lock, now)))
            // Not live: a claim that has changed while somebody writes why he ends it is not the one that he means.
            (self.form(pool, lock))
            h2 { "Holds" }
            (live("holds", holds(board, pool, lock, self.now)))
            @if let Some(text) = &lock.metadata {
                h2 { "Metadata" }
                (live("metadata", html! { pre tabindex="0" { (text) } }))
            }
        };
        let above = vec![
            ("Pools".to_owned(), "/".to_owned()),
            (pool.name.as_str().to_owned(), of_pool(&pool.name)),
        ];
        self.page(&lock.name.to_string(), above, &path, "", body)
    }

    fn form(&self, pool: &PoolBoard, lock: &LockBoard) -> Markup {
        let Some(reader) = self.reader else {
            return html! {};
        };
        let (deed, claim) = match &lock.standing {
            Standing::Free => (Deed::Claim, None),
            Standing::Held(Some(held)) if who(&held.message) == self.us => {
                (Deed::Release, Some(held.claim))
            }
            Standing::Held(Some(held)) => (Deed::Unlock, Some(held.claim)),
            Standing::Held(None) | Standing::Damaged(..) => return html! {},
        };
        // What was claimed here can be taken away here too, where nothing else is allowed.
        let deed = match deed {
            Deed::Release if !self.allowed.contains(&deed) => Deed::Unlock,
            deed => deed,
        };
        if !self.allowed.contains(&deed) {
            return html! {};
        }
        let (title, submit) = match deed {
            Deed::Claim => ("Claim it", "Claim"),
            Deed::Release => ("Release it", "Release"),
            Deed::Unlock => ("Take it from its holder", "Unlock"),
        };
        let hidden = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut values = vec![
            hidden("deed", deed.name()),
            hidden("pool", pool.name.as_str()),
            hidden("lock", lock.name.as_str()),
        ];
        values.extend(claim.map(|claim| hidden("claim", &claim.0.to_string())));
        let reason = Field {
            name: "reason".to_owned(),
            label: "Reason".to_owned(),
            kind: Kind::Text,
            hint: "It goes into the history, for everybody to read.".to_owned(),
            is_required: true,
            ..Field::default()
        };
        let form = Form {
            action: "/act".to_owned(),
            csrf: reader.csrf.clone(),
            hidden: values,
            fields: vec![reason],
            submit: submit.to_owned(),
            is_grave: deed == Deed::Unlock,
            second: None,
        };
        html! { h2 { (title) } (form.html()) }
    }
}

fn about(lock: &LockBoard, now: i64) -> Markup {
    let mut all = vec![("State", standing(lock))];
    match &lock.standing {
        Standing::Free => {}
        Standing::Held(held) => {
            all.push(("Holder", holder(held.as_ref())));
            if let Some(held) = held {
                all.push(("Since", moment::ago(millis(held.made), now)));
                all.push(("Claim", html! { code { (held.claim.0.to_string()) } }));
                if held.last_sign != held.claim.0 {
                    all.push(("Last sign", moment::ago(millis(held.last_sign_at), now)));
                }
                if let Some(end) = held.lease_end {
                    all.push(("Lease ends", moment::ago(millis(end), now)));
                }
            }
        }
        Standing::Damaged(damage, held) => {
            all.push(("Damage", html! { (damage) }));
            all.extend(held.as_ref().map(|held| ("Claimed by", holder(Some(held)))));
        }
    }
    all.push(("Usual hold", usual(lock.usual)));
    facts(&all)
}

fn holds(board: &Board, pool: &PoolBoard, lock: &LockBoard, now: SystemTime) -> Markup {
    const COLUMNS: [Column; 4] = [
        column("From"),
        column("Holder"),
        number("For"),
        column("End"),
    ];
    let Some(past) = board.past(&pool.name, &lock.name) else {
        let words = match board.chronicle {
            Some(_) => "It was never held",
            None => "The history is being read",
        };
        return html! { p.empty { (words) } };
    };
    let row = |hold: &Stretch| Row {
        id: Some(format!("hold-{}-{}", hold.claim, hold.since)),
        cells: vec![
            moment::at(hold.since.saturating_mul(1000)),
            html! {
                div {
                    (linked(&hold.who, hold.url.as_deref()))
                    @if let Some(reason) = &hold.reason { div.hint { (reason) } }
                }
            },
            match hold.lasted() {
                Some(lasted) => html! { (moment::took(lasted)) },
                None => moment::since(hold.since.saturating_mul(1000), millis(now)),
            },
            match &hold.end {
                Some(end) => ending(end),
                None => html! { (badge(Tone::Busy, "held")) },
            },
        ],
    };
    let rows: Vec<Row> = past.holds.iter().rev().take(LISTED).map(row).collect();
    let to = seconds_of(now).unwrap_or_default();
    let from = to.saturating_sub(WEEK);
    let lane = Lane {
        label: html! { "Last week" },
        spans: spans(past.holds.iter(), from, to),
        end: html! {},
    };
    let (start, end) = (from.saturating_mul(1000), to.saturating_mul(1000));
    html! {
        (timeline("When the lock was held", start, end, &[lane], &marks(from, to)))
        (table("The holds of the lock, the newest first", &COLUMNS, &rows, "It was never held"))
        @if u64::try_from(rows.len()).is_ok_and(|shown| shown < past.claims) {
            p.hint { "It was claimed " (past.claims) " times; " code { "pool log" } " shows all of them." }
        }
    }
}

//! What several pages have: who holds a lock, who waits, times, links.

use std::time::SystemTime;

use maud::{Markup, html};
use page::chart::Span;
use page::part::{Tone, badge};
use page::{encoded, moment};

use crate::attempt::Usual;
use crate::ledger::Held;
use crate::line::Need;
use crate::lock::{LockName, PoolName};
use crate::message::{self, who};
use crate::past::How;
use crate::past::chronicle::{Finish, Stretch};
use crate::step::Standing;
use crate::view::LockBoard;
use crate::view::times::Share;
use terminal::one_line;
use terminal::table::seconds_of;

/// The longest reason that is shown, in characters.
const REASON: usize = 300;

/// A moment as pages have it, in milliseconds since 1970.
pub fn millis(time: SystemTime) -> i64 {
    seconds_of(time).unwrap_or_default().saturating_mul(1000)
}

/// Where the page of a pool is.
pub fn of_pool(pool: &PoolName) -> String {
    format!("/pool?name={}", encoded(pool.as_str()))
}

/// Where the page of a lock is.
pub fn of_lock(pool: &PoolName, lock: &LockName) -> String {
    let (pool, lock) = (encoded(pool.as_str()), encoded(lock.as_str()));
    format!("/lock?pool={pool}&name={lock}")
}

/// A text with a link, if that is a web address: nothing else is followed, whoever wrote it.
pub fn linked(text: &str, url: Option<&str>) -> Markup {
    let is_web = |url: &&str| url.starts_with("https://") || url.starts_with("http://");
    match url.filter(is_web) {
        Some(url) => html! { a href=(url) rel="noreferrer" { (text) } },
        None => html! { (text) },
    }
}

/// Whoever holds a lock, and why.
pub fn holder(held: Option<&Held>) -> Markup {
    let Some(held) = held else {
        return html! { "somebody; no commit tells who" };
    };
    let url = message::build_url(&held.message);
    let reason = message::trailer(&held.message, message::REASON);
    let reason = reason.map(|reason| reason.chars().take(REASON).collect::<String>());
    html! {
        div {
            (linked(&who(&held.message), url.as_deref()))
            @if let Some(reason) = reason { div.hint { (one_line(&reason)) } }
        }
    }
}

/// How a lock stands, in a word.
pub fn standing(lock: &LockBoard) -> Markup {
    match &lock.standing {
        Standing::Free => badge(Tone::Good, "free"),
        Standing::Held(_) if lock.is_overdue => badge(Tone::Warn, "held for long"),
        Standing::Held(_) => badge(Tone::Busy, "held"),
        Standing::Damaged(..) => badge(Tone::Bad, "damaged"),
    }
}

/// What a waiter waits for.
pub fn need(need: Option<&Need>) -> String {
    match need {
        None => "a lock".to_owned(),
        Some(Need::Lock(lock)) => lock.to_string(),
        Some(Need::Any(want)) => {
            let number = want.count.get();
            let mut text = match (want.among.is_empty(), number) {
                (false, number) if want.among.len() == number => {
                    return one_line(&message::listed(&want.among));
                }
                (false, number) => {
                    format!("{number} of {}", one_line(&message::listed(&want.among)))
                }
                (true, 1) => "any lock".to_owned(),
                (true, number) => format!("any {number} locks"),
            };
            for condition in &want.conditions {
                text += &one_line(&format!(" {}={}", condition.path, condition.value));
            }
            text
        }
    }
}

/// For how long locks are usually held.
pub fn usual(usual: Option<Usual>) -> Markup {
    match usual {
        Some(usual) => html! {
            span title=(format!("nine of ten up to {}", moment::took(usual.ninety))) { (moment::took(usual.median)) }
        },
        None => html! { "–" },
    }
}

/// A part of a time as a percentage.
pub fn share(share: Option<Share>) -> Markup {
    match share {
        Some(share) => html! { (format!("{:.0} %", share.part * 100.0)) },
        None => html! { "–" },
    }
}

/// How a hold ended.
pub fn ending(end: &Finish) -> Markup {
    let tone = match end.how {
        How::Released => Tone::Good,
        How::Removed => Tone::Idle,
        How::Reaped | How::Unlocked => Tone::Warn,
    };
    html! {
        div {
            (badge(tone, end.how.as_str()))
            @if end.how != How::Released { " by " (end.who) }
            @if let Some(reason) = &end.reason { div.hint { (reason) } }
        }
    }
}

/// Holds as a timeline has them. Those that would lie on each other are drawn as one.
pub fn spans(
    holds: impl Iterator<Item = impl std::ops::Deref<Target = Stretch>>,
    from: i64,
    to: i64,
) -> Vec<Span> {
    /// So many parts of the time can be told apart.
    const PARTS: i64 = 500;
    let gap = to.saturating_sub(from) / PARTS;
    let mut spans: Vec<(Span, usize)> = Vec::new();
    for hold in holds {
        let end = hold.end.as_ref().map_or(to, |end| end.at);
        if end < from || hold.since > to {
            continue;
        }
        if let Some((last, n)) = spans.last_mut()
            && hold.since.saturating_sub(last.to / 1000) < gap
            && (end.saturating_sub(hold.since) < gap
                || last.to.saturating_sub(last.from) / 1000 < gap)
        {
            *n += 1;
            last.to = last.to.max(end.saturating_mul(1000));
            last.title = format!("{n} holds, the last one by {}", hold.who);
            last.tone = tone(&hold);
            continue;
        }
        let lasted = match hold.lasted() {
            Some(lasted) => format!("for {}", moment::took(lasted)),
            None => "and goes on".to_owned(),
        };
        let span = Span {
            from: hold.since.saturating_mul(1000),
            to: end.saturating_mul(1000),
            tone: tone(&hold),
            title: format!("{}, {lasted}", hold.who),
            link: None,
        };
        spans.push((span, 1));
    }
    spans.into_iter().map(|(span, _)| span).collect()
}

fn tone(hold: &Stretch) -> Tone {
    match hold.end.as_ref().map(|end| end.how) {
        None => Tone::Busy,
        Some(How::Released) => Tone::Good,
        Some(How::Removed) => Tone::Idle,
        Some(How::Reaped | How::Unlocked) => Tone::Warn,
    }
}

/// Marks below a timeline: moments with what they are called, from so many seconds ago to now.
pub fn marks(from: i64, to: i64) -> Vec<(i64, String)> {
    const HOUR: i64 = 3600;
    let (step, is_day) = match to.saturating_sub(from) {
        length if length <= 26 * HOUR => (4 * HOUR, false),
        _ => (24 * HOUR, true),
    };
    let first = from.div_euclid(step).saturating_add(1).saturating_mul(step);
    let all = (0..12_i64).map(|n| first.saturating_add(n * step));
    all.take_while(|at| *at < to)
        .filter_map(|at| {
            let text = terminal::time::time(at)?;
            let text = match is_day {
                true => text.get(5..10)?.to_owned(),
                false => text.get(11..16)?.to_owned(),
            };
            Some((at.saturating_mul(1000), text))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use git::object::Oid;

    fn hold(since: i64, end: Option<i64>, how: How) -> Stretch {
        Stretch {
            claim: Oid::ZERO_SHA1,
            since,
            who: "ann".into(),
            url: None,
            reason: None,
            end: end.map(|at| Finish {
                at,
                how,
                who: "ann".into(),
                reason: None,
            }),
        }
    }

    #[test]
    fn holds_that_cannot_be_told_apart_are_drawn_as_one() {
        let mut holds: Vec<Stretch> = (0..1000)
            .map(|n| hold(10_000 + n, Some(10_001 + n), How::Released))
            .collect();
        holds.insert(0, hold(0, Some(10), How::Released));
        holds.push(hold(50_000, Some(90_000), How::Unlocked));
        holds.push(hold(95_000, None, How::Released));

        let spans = spans(holds.iter(), 5_000, 100_000);

        let shown: Vec<_> = spans
            .iter()
            .map(|span| (span.from / 1000, span.to / 1000, span.tone))
            .collect();
        assert_eq!(
            shown,
            [
                (10_000, 11_000, Tone::Good),
                (50_000, 90_000, Tone::Warn),
                (95_000, 100_000, Tone::Busy)
            ]
        );
        assert_eq!(spans[0].title, "1000 holds, the last one by ann");
    }

    #[test]
    fn only_addresses_of_the_web_are_links() {
        for url in ["https://ci.example.com/1", "http://x"] {
            assert!(linked("x", Some(url)).into_string().starts_with("<a href="));
        }
        for url in [
            "javascript:alert(1)",
            "data:text/html,x",
            "//evil",
            " https://x",
            "",
        ] {
            assert_eq!(linked("x", Some(url)).into_string(), "x", "{url}");
        }
    }

    #[test]
    fn marks_are_at_whole_hours_and_days() {
        let day = marks(1_700_000_000, 1_700_086_400);
        let texts: Vec<&str> = day.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(
            texts,
            ["00:00", "04:00", "08:00", "12:00", "16:00", "20:00"]
        );
        let week = marks(1_700_000_000, 1_700_604_800);
        let texts: Vec<&str> = week.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(
            texts,
            [
                "11-15", "11-16", "11-17", "11-18", "11-19", "11-20", "11-21"
            ]
        );
        for (from, to) in [(i64::MIN, i64::MAX), (0, 0), (5, -5)] {
            assert!(marks(from, to).len() <= 12);
        }
    }
}

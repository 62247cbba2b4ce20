//! Moments and durations, as a page shows them: relative, and exact when the mouse or a screen reader is on them.

use std::time::Duration;

use maud::{Markup, html};

/// A moment as machines read it, and as a tooltip shows it: milliseconds since 1970, in UTC.
fn exact(millis: i64) -> Option<String> {
    terminal::time::time(millis.div_euclid(1000))
}

fn between(from: i64, to: i64) -> Duration {
    Duration::from_millis(u64::try_from(to.saturating_sub(from)).unwrap_or_default())
}

/// When something was or will be: `5m ago`, `in 2h 05m`. Both are in milliseconds since 1970.
pub fn ago(at: i64, now: i64) -> Markup {
    let text = match at <= now {
        true => format!("{} ago", pace::duration::length(between(at, now))),
        false => format!("in {}", pace::duration::length(between(now, at))),
    };
    element(at, "ago", &text)
}

/// How long something lasts that began at a moment and goes on: `2m 1s`.
pub fn since(at: i64, now: i64) -> Markup {
    element(
        at,
        "since",
        &pace::duration::in_two_units(whole(between(at, now))),
    )
}

/// A moment as it is: the day and the time, in UTC.
pub fn at(at: i64) -> Markup {
    let text = exact(at).map(|text| text.replace('T', " ").replace('Z', " UTC"));
    html! { time datetime=[exact(at)] { (text.as_deref().unwrap_or("–")) } }
}

fn element(at: i64, form: &str, text: &str) -> Markup {
    html! { time datetime=[exact(at)] title=[exact(at)] data-at=(at) data-form=(form) { (text) } }
}

fn whole(time: Duration) -> Duration {
    match time.as_secs() {
        0 => time,
        _ => pace::duration::whole_seconds(time),
    }
}

/// How long something took.
pub fn took(time: Duration) -> String {
    pace::duration::in_two_units(whole(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_relative_and_exact() {
        let html = ago(0, 125_000).into_string();
        assert!(html.contains(">2m ago<"), "{html}");
        assert!(html.contains("title=\"1970-01-01T00:00:00Z\""), "{html}");
        assert!(ago(125_000, 0).into_string().contains(">in 2m<"));
        assert!(since(0, 125_900).into_string().contains(">2m 5s<"));
        assert!(at(0).into_string().contains(">1970-01-01 00:00:00 UTC<"));
    }

    #[test]
    fn a_moment_that_no_calendar_has_is_shown_all_the_same() {
        for moment in [i64::MIN, -1, i64::MAX] {
            assert!(ago(moment, 0).into_string().contains("ago") || moment > 0);
            let _ = (since(moment, 0), at(moment));
        }
    }
}

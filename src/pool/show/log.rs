//! Who held what, a line for each hold.

use std::time::{Duration, SystemTime};

use crate::message::who;
use crate::past::{Hold, How};
use pace::duration::length;
use terminal::table::{Style, ago, cell, columns_of, fit, moment, right};
use terminal::time::at;

const WIDEST_NAME: usize = 24;

/// `99d 05h`
const LENGTH: usize = 7;

/// `2026-11-21 09:41`
const MOMENT: usize = 16;

/// `unlocked`
const END: usize = 8;

/// With less room for the holder, each hold takes two lines.
const LEAST_HOLDER: usize = 12;

/// The holds as a text for people, with a newline at the end of each line; the pool is named where there are several.
pub fn text(holds: &[Hold], several_pools: bool, now: SystemTime, style: Style) -> String {
    if holds.is_empty() {
        return "nobody has held any of these in that time\n".to_owned();
    }
    let columns = style.columns();
    let named = |hold: &Hold| match several_pools {
        true => format!("{}/{}", hold.pool, hold.lock),
        false => hold.lock.to_string(),
    };
    let name = holds.iter().map(|hold| columns_of(&named(hold))).max();
    let name = name.unwrap_or_default().min(WIDEST_NAME);
    let before_holder = MOMENT + 2 + LENGTH + 2 + END + 2 + name + 2;
    let is_narrow = columns < before_holder + LEAST_HOLDER;
    let holder = columns.saturating_sub(before_holder);
    let mut text = String::new();
    for hold in holds {
        let since = at(hold.since);
        let (lasted, end) = match &hold.end {
            None => (ago(now, since), style.notable(&cell("held", END))),
            Some(end) => {
                let lasted = u64::try_from(end.at.saturating_sub(hold.since)).unwrap_or_default();
                let word = cell(end.how.as_str(), END);
                let word = match end.how {
                    How::Released | How::Removed => style.dim(&word),
                    How::Reaped | How::Unlocked => style.bad(&word),
                };
                (Duration::from_secs(lasted), word)
            }
        };
        let when = style.dim(&cell(&moment(since), MOMENT));
        let lasted = right(&length(lasted), LENGTH);
        if is_narrow {
            let whose = format!("{}  {}", named(hold), who(&hold.message));
            text += &format!("{}\n  {when}  {lasted}  {end}\n", fit(&whose, columns));
        } else {
            text += &format!(
                "{when}  {lasted}  {end}  {}  {}\n",
                cell(&named(hold), name),
                fit(&who(&hold.message), holder)
            );
        }
        if let Some(end) = &hold.end
            && let Some(reason) = &end.reason
        {
            let indent = match is_narrow {
                true => 2,
                false => MOMENT + 2 + LENGTH + 2,
            };
            let line = format!("by {}: {reason}", who(&end.message));
            let line = fit(&line, columns.saturating_sub(indent));
            text += &format!("{}{}\n", " ".repeat(indent), style.dim(&line));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;

    use super::*;
    use crate::lock::{LockName, PoolName};
    use git::object::Oid;
    use terminal::Paint;

    #[test]
    fn no_line_is_wider_than_the_terminal_and_lock_and_holder_are_seen_in_a_narrow_one() {
        let hold = Hold {
            pool: PoolName::new("aws").unwrap(),
            lock: LockName::new("staging").unwrap(),
            claim: Oid::ZERO_SHA1,
            since: 1_763_718_067,
            message: Arc::from(&b"anna@laptop claiming: staging"[..]),
            end: None,
        };
        for width in [40, 60, 80, 100] {
            let style = Style {
                width,
                paint: Paint::Plain,
            };
            let shown = text(
                std::slice::from_ref(&hold),
                false,
                at(hold.since + 60),
                style,
            );

            assert!(shown.contains("staging  anna@laptop"), "{width}: {shown}");
            for line in shown.lines() {
                assert!(columns_of(line) <= width, "{width}: {line:?}");
            }
        }
    }
}

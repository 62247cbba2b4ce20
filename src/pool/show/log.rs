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
    let holder = columns.saturating_sub(MOMENT + 2 + LENGTH + 2 + END + 2 + name + 2);
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
        text += &format!(
            "{}  {}  {}  {}  {}\n",
            style.dim(&cell(&moment(since), MOMENT)),
            right(&length(lasted), LENGTH),
            end,
            cell(&named(hold), name),
            fit(&who(&hold.message), holder)
        );
        if let Some(end) = &hold.end
            && let Some(reason) = &end.reason
        {
            let indent = MOMENT + 2 + LENGTH + 2;
            let line = format!("by {}: {reason}", who(&end.message));
            let line = fit(&line, columns.saturating_sub(indent));
            text += &format!("{}{}\n", " ".repeat(indent), style.dim(&line));
        }
    }
    text
}

//! Numbers of claims, which only grow: whoever is given a lock later has a higher one. So a database, or whatever else is
//! changed under a lock, can refuse the holder of an older claim who does not know yet that it has ended.
//!
//! Every commit of ours has a number in a trailer: one more than that of the commit it is made on, and not before the time
//! in seconds since 1970. So the head alone, which every change reads anyway, gives the next number, whatever the clocks
//! say. It is one row of numbers for the branch, so that a lock may be removed, added again, or moved to another pool.
//!
//! Tools that know nothing of this make commits without a number. One of those at the head hides the number before it where
//! no more of the history is here. Then the clock has to do, and the date of that commit, as far as it can be true.

use crate::message;

/// The highest number there is: it is exact in JSON, whatever reads that. A higher one counts as none.
pub const HIGHEST: u64 = (1 << 53) - 1;

/// How far a commit of somebody else may be in the future and still show that our clock is behind, in seconds. A date beyond
/// that is one of a wrong clock, and believing it would hide later numbers behind it.
const BELIEVED_AHEAD: i64 = 86_400;

/// The number in a message; `None` where there is none.
pub fn of(message: &[u8]) -> Option<u64> {
    let text = message::trailer(message, message::NUMBER)?;
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = text.parse().ok().filter(|_| is_number)?;
    (1..=HIGHEST).contains(&number).then_some(number)
}

/// The number of a commit that is made now, in seconds since 1970, on top of these: the newest first, as far as they are
/// here, each with its date and its message. No more of them is taken than it needs.
pub fn next<M: AsRef<[u8]>>(now: i64, newest_first: impl IntoIterator<Item = (i64, M)>) -> u64 {
    let mut number = u64::try_from(now).unwrap_or_default().max(1);
    for (age, (date, message)) in (1..).zip(newest_first) {
        // It is higher than all before it.
        if let Some(before) = of(message.as_ref()) {
            return number.max(before + age);
        }
        if date.saturating_sub(now) <= BELIEVED_AHEAD {
            number = number.max(u64::try_from(date).unwrap_or_default() + age);
        }
    }
    number
}

#[cfg(test)]
mod tests;

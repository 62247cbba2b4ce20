//! The rules by which claims are given back that nobody will give back any more.
//!
//! Pure: what is known of one claim goes in, with our clock and the settings, and out comes whether its lock is freed,
//! and why. In this order:
//!
//! 1. Its build is alive: it is kept, whatever its lease and its age are.
//! 2. Its build has ended: it is freed.
//! 3. Its build ought to be known to a CI system that cannot be heard (down, in trouble, does not let us in): it is
//!    kept, for the build may well be alive. Another run will know.
//! 4. There is nobody to ask (no build, another CI system, none in the settings), or the answer settles nothing: its
//!    lease decides, over or not; without one its age, if `stale_after` is set; else it is kept.
//!
//! What is said of a build holds for a job of GitLab as well. Its number is never used again, and it has no other name.
//!
//! **A build that is not found** may be gone with its pipeline, and may as well live on in a pipeline or job that was
//! renamed, or in one that was taken out of the configuration while it ran: Concourse answers "not found" to all of
//! it. So a missing build has ended only where the Concourse is known to be the one that the claim speaks of, we are
//! let in to the team, and *all* of the builds of the team that run are known, of which none has the build's number
//! and began before the claim. If one has, it is kept, until that one ends. If not all are known, the answer settles
//! nothing.
//!
//! **A build that is found under these names** may be another: names are used again when a pipeline is renamed or made
//! anew. A build that began after the claim was made, or was over before, has not made it, and settles nothing; clocks may
//! differ by [`SKEW`]. If it is alive, the claim is kept all the same.
//!
//! **Clocks.** A commit's time is from the clock of whoever made it. By age a claim is never freed if it is from the
//! future.

use std::fmt;
use std::time::{Duration, SystemTime};

use crate::maker::{Heard, Maker, Running, Status};
use pace::duration::{as_set, in_two_units};
use terminal::one_line;

/// By how much the clock of a claim's maker may differ from that of its Concourse before they are taken to speak of
/// different builds. Machines of one installation differ by seconds, or are broken.
pub const SKEW: Duration = Duration::from_secs(300);

/// How many builds are named in a reason.
const MOST_NAMED: usize = 3;

/// What is known of a claim.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// When it was made, by its commit.
    pub made: SystemTime,
    /// When its lease ends, if it has one.
    pub lease_end: Option<SystemTime>,
    /// Who made it.
    pub maker: &'a Maker,
    /// What its CI system says of it; [`Heard::Unknown`] where the maker is none.
    pub heard: &'a Heard,
}

/// What does not depend on the claim.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Our clock.
    pub now: SystemTime,
    /// The age from which on a claim is freed of which nothing else is known.
    pub stale_after: Option<Duration>,
}

/// What to do with a lock, and why, on one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It stays claimed, for this reason.
    Keep(String),
    /// It is to be freed, on this evidence.
    Free(String),
}

impl Verdict {
    /// The reason or the evidence.
    pub fn why(&self) -> &str {
        match self {
            Verdict::Keep(why) | Verdict::Free(why) => why,
        }
    }
}

/// Decides about one claim.
pub fn judge(claim: &Claim<'_>, rules: &Rules) -> Verdict {
    let (build, system) = match claim.maker {
        Maker::Build(build) => (build.to_string(), "Concourse"),
        Maker::Job(job) => (job.to_string(), "GitLab"),
        Maker::Unknown(why) => return by_time(claim, rules, &one_line(why)),
    };
    match claim.heard {
        Heard::Found {
            status: Status::Alive(status),
            ..
        } => Verdict::Keep(format!("`{build}` is alive ({status})")),
        Heard::Found {
            status: Status::Ended(status),
            began,
            ended,
        } => {
            if began.is_some_and(|began| is_before(claim.made, began)) {
                let doubt =
                    format!("the `{build}` that there is now began after the claim was made");
                return by_time(claim, rules, &doubt);
            }
            if ended.is_some_and(|ended| is_before(ended, claim.made)) {
                let doubt =
                    format!("the `{build}` that there is now was over before the claim was made");
                return by_time(claim, rules, &doubt);
            }
            Verdict::Free(format!("`{build}` has ended ({status})"))
        }
        Heard::Missing { running, complete } => {
            missing(claim, rules, (&build, system), running, *complete)
        }
        Heard::Unheard(why) => Verdict::Keep(format!(
            "`{build}` may be alive, which {system} cannot tell now: {}",
            one_line(why)
        )),
        Heard::Unknown(why) => {
            let doubt = format!(
                "it is not known whether `{build}` is alive: {}",
                one_line(why)
            );
            by_time(claim, rules, &doubt)
        }
    }
}

/// A build that its CI system does not have under the name or id that it had.
fn missing(
    claim: &Claim<'_>,
    rules: &Rules,
    (build, system): (&str, &str),
    running: &[Running],
    complete: bool,
) -> Verdict {
    let mut may_be: Vec<String> = running
        .iter()
        .filter(|running| {
            running
                .began
                .is_none_or(|began| !is_before(claim.made, began))
        })
        .map(|running| format!("`{}`", one_line(&running.name)))
        .collect();
    if !may_be.is_empty() {
        let more = may_be.len().saturating_sub(MOST_NAMED);
        may_be.truncate(MOST_NAMED);
        if more > 0 {
            may_be.push(format!("{more} more"));
        }
        return Verdict::Keep(format!(
            "there is no `{build}`, but it may be alive under another name: {}",
            may_be.join(", ")
        ));
    }
    if complete {
        return Verdict::Free(format!(
            "`{build}` is gone: {system} has it no more, under whatever name"
        ));
    }
    let doubt = format!("{system} has no `{build}`, which may have another name now");
    by_time(claim, rules, &doubt)
}

/// Whether the one was before the other, however much their clocks may differ.
fn is_before(one: SystemTime, other: SystemTime) -> bool {
    let later = other.duration_since(one);
    later.is_ok_and(|later| later > SKEW)
}

/// A claim of which only times are known; `doubt` says why.
fn by_time(claim: &Claim<'_>, rules: &Rules, doubt: &str) -> Verdict {
    if let Some(end) = claim.lease_end {
        return match rules.now.duration_since(end) {
            Ok(since) if !since.is_zero() => Verdict::Free(format!(
                "its lease ended at {}, {} ago; {doubt}",
                Shown(end),
                in_two_units(since)
            )),
            _ => Verdict::Keep(format!("its lease lasts until {}; {doubt}", Shown(end))),
        };
    }
    let Ok(age) = rules.now.duration_since(claim.made) else {
        return Verdict::Keep(format!(
            "it was made at {}, which is in the future by our clock; {doubt}",
            Shown(claim.made)
        ));
    };
    match rules.stale_after {
        None => Verdict::Keep(format!(
            "it is {} old, has no lease, and no `stale_after` is set; {doubt}",
            in_two_units(age)
        )),
        Some(limit) if age > limit => Verdict::Free(format!(
            "it is {} old, which is more than {}; {doubt}",
            in_two_units(age),
            as_set(limit)
        )),
        Some(limit) => Verdict::Keep(format!(
            "it is {} old, which is not more than {}; {doubt}",
            in_two_units(age),
            as_set(limit)
        )),
    }
}

/// A time as RFC 3339 has it. Anyone may have written it into a commit, and not every time can be shown.
struct Shown(SystemTime);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// The last second of the year 9999, after which the format ends.
        const LAST: u64 = 253_402_300_799;
        match self.0.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) if since.as_secs() <= LAST => {
                humantime::format_rfc3339_seconds(self.0).fmt(f)
            }
            Ok(_) => f.write_str("a time after the year 9999"),
            Err(_) => f.write_str("a time before the year 1970"),
        }
    }
}

#[cfg(test)]
mod tests;

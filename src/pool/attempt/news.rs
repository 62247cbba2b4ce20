//! What those who wait are told: who holds what they wait for, where they are in line, how long it usually takes.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Write;
use std::time::Duration;

use tokio::time::Instant;

use crate::ledger;
use crate::line::Standing;
use crate::lock::{LockName, PoolName};
use crate::message;
use crate::rules::Wait;
use git::object::Oid;
use git::{Commit, History, HistoryError};
use pace::duration::whole_seconds;
use terminal::Paint;

/// The shortest time between two messages.
const AT_MOST_EVERY: Duration = Duration::from_secs(60);

/// The longest time between two messages, while nothing changes.
const AT_LEAST_EVERY: Duration = Duration::from_secs(30 * 60);

/// How many of the holders are named.
const HOLDERS_NAMED: usize = 3;

/// How much of the subject of another's commit is shown, in characters.
const SUBJECT_SHOWN: usize = 200;

/// With fewer holds than this in the history nothing is said of how long they take.
const ENOUGH_HOLDS: usize = 5;

/// A hold of a lock, as far as the history tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Holder {
    pub lock: LockName,
    pub claim: Oid,
    /// Seconds since 1970 as the holder's clock had it.
    pub since: i64,
    /// The claim's first line, made fit for a log.
    pub subject: String,
    /// Who it is, in as few words as possible.
    pub who: String,
    /// The page of its build.
    pub url: Option<String>,
}

impl Holder {
    /// Who claimed `lock` last.
    pub fn of(
        history: &History<'_>,
        pool: &PoolName,
        lock: &LockName,
    ) -> Result<Option<Holder>, HistoryError> {
        let Some(claim) = ledger::last_claim(history, pool, lock)? else {
            return Ok(None);
        };
        Ok(Some(Holder::read(lock, claim, &history.commit(claim)?)))
    }

    fn read(lock: &LockName, claim: Oid, commit: &Commit) -> Holder {
        let subject = message::first_line(&commit.message);
        let subject: String = subject.chars().take(SUBJECT_SHOWN).collect();
        let subject = terminal::one_line(&subject);
        let who = message::who(&commit.message);
        Holder {
            lock: lock.clone(),
            claim,
            since: commit.time,
            subject,
            who,
            url: message::build_url(&commit.message),
        }
    }

    /// The line of an error.
    pub fn line(&self) -> String {
        let Holder {
            lock,
            claim,
            subject,
            ..
        } = self;
        let since =
            terminal::time::time(self.since).map_or(String::new(), |time| format!(" since {time}"));
        format!("`{lock}` is held{since} by {claim} (`{subject}`)")
    }
}

/// How long holds take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usual {
    /// Half of them are over by then.
    pub median: Duration,
    /// Nine of ten are over by then.
    pub ninety: Duration,
}

impl Usual {
    /// What these holds show; `None` when they are too few to show anything.
    pub fn of(mut holds: Vec<Duration>) -> Option<Usual> {
        if holds.len() < ENOUGH_HOLDS {
            return None;
        }
        holds.sort_unstable();
        // The smallest that is not below so many of them.
        let rank = |percent: usize| holds[(holds.len() * percent).div_ceil(100) - 1];
        Some(Usual {
            median: rank(50),
            ninety: rank(90),
        })
    }
}

/// What has been told to one who waits.
pub(super) struct News {
    /// Whether the log shows colours.
    pub paint: Paint,
    said: Option<(String, Instant)>,
    /// Whether any holder has been named.
    named: bool,
    pause: Duration,
    holders: HashMap<LockName, Holder>,
}

impl News {
    pub fn new(paint: Paint) -> News {
        News {
            paint,
            said: None,
            named: false,
            pause: AT_MOST_EVERY,
            holders: HashMap::new(),
        }
    }

    /// Says where things are, if it is time to: see [`News::is_due`].
    ///
    /// `history` is what is here of it. What lies deeper is not fetched for this.
    pub fn say(
        &mut self,
        log: &mut dyn Write,
        pool: &PoolName,
        wait: &Wait,
        standing: Option<&Standing>,
        history: &History<'_>,
        waited: Duration,
    ) {
        let mut line = wait.to_string();
        if let Some(Standing { place, waiting, .. }) =
            standing.filter(|standing| standing.waiting > 1)
        {
            let _ = write!(line, "; place {place} of {waiting} in line");
        }
        let names = !wait.held().is_empty();
        if !self.is_due(&line, names) {
            return;
        }
        let paint = self.paint;
        let now = paint.dim(&terminal::time::now());
        let so_far = match &self.said {
            None => String::new(),
            Some(_) => format!(
                "still waiting after {}: ",
                humantime::format_duration(whole_seconds(waited))
            ),
        };
        terminal::say(
            log,
            format_args!(
                "{now} {} in pool `{pool}`: {so_far}{line}",
                paint.strong("waiting")
            ),
        );
        for lock in wait.held().iter().take(HOLDERS_NAMED) {
            let known = self.holders.get(lock).cloned();
            if let Some(holder) = Holder::of(history, pool, lock).ok().flatten().or(known) {
                let since = terminal::time::time(holder.since)
                    .map_or(String::new(), |time| format!(" since {time}"));
                let url = holder
                    .url
                    .as_ref()
                    .map_or(String::new(), |url| format!(" {}", paint.link(url)));
                let (lock, who) = (paint.strong(lock.as_str()), &holder.who);
                terminal::say(
                    log,
                    format_args!("{now}   {lock} is held{since} by {who}{url}"),
                );
                self.holders.insert(holder.lock.clone(), holder);
            }
        }
        if let Some(standing) = standing {
            self.say_usual(log, pool, wait, standing, history, &now);
        }
        self.note(line, names);
    }

    /// Whether it is time to say `line`, which `names` holders or not: at once when nothing has been said yet, or nobody
    /// has been named; when something has changed; else more and more seldom; and never more than once a minute.
    fn is_due(&self, line: &str, names: bool) -> bool {
        match &self.said {
            None => true,
            // Whose turn it is passes within seconds, and then it may be hours until somebody gives his lock back.
            Some(_) if names && !self.named => true,
            Some((_, at)) if at.elapsed() < AT_MOST_EVERY => false,
            Some((said, at)) => said != line || at.elapsed() >= self.pause,
        }
    }

    /// Notes that `line` has been said.
    fn note(&mut self, line: String, names: bool) {
        self.pause = match &self.said {
            Some((said, _)) if *said == line => (self.pause * 2).min(AT_LEAST_EVERY),
            _ => AT_MOST_EVERY,
        };
        self.named |= names;
        self.said = Some((line, Instant::now()));
    }

    fn say_usual(
        &self,
        log: &mut dyn Write,
        pool: &PoolName,
        wait: &Wait,
        standing: &Standing,
        history: &History<'_>,
        now: &str,
    ) {
        let only = match wait {
            Wait::Held(lock) => Some(lock),
            _ => None,
        };
        let Some(usual) = Usual::of(ledger::holds(history, pool, only)) else {
            return;
        };
        let show = |time: Duration| humantime::format_duration(whole_seconds(time)).to_string();
        // As many are served in one round of holds as there are locks.
        let rounds =
            u32::try_from(standing.place.div_ceil(standing.usable.max(1))).unwrap_or(u32::MAX);
        let here = match rounds {
            ..=1 => String::new(),
            rounds => format!(
                "; at this place in line that makes up to {} ({})",
                show(usual.median.saturating_mul(rounds)),
                show(usual.ninety.saturating_mul(rounds)),
            ),
        };
        terminal::say(
            log,
            format_args!(
                "{now}   a hold usually takes {} (median), and nine of ten up to {}{here}",
                show(usual.median),
                show(usual.ninety)
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_told_of_changes_once_a_minute_and_of_the_first_holder_at_once() {
        let mut news = News::new(Paint::Plain);
        assert!(news.is_due("a lock is free, for the one before us", false));
        news.note("a lock is free, for the one before us".into(), false);

        advance(SECOND).await;
        assert!(!news.is_due("two locks are free, for those before us", false));
        assert!(news.is_due("no lock is free", true));
        news.note("no lock is free".into(), true);
        assert!(!news.is_due("another lock is not free", true));

        advance(59 * SECOND).await;
        assert!(!news.is_due("another lock is not free", true));
        advance(SECOND).await;
        assert!(news.is_due("another lock is not free", true));
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_change_is_said_more_and_more_seldom() {
        let mut news = News::new(Paint::Plain);
        for minutes in [0, 1, 2, 4, 8, 16, 30, 30] {
            if minutes > 0 {
                advance(60 * minutes * SECOND - SECOND).await;
                assert!(!news.is_due("no lock is free", true), "{minutes} min");
                advance(SECOND).await;
            }
            assert!(news.is_due("no lock is free", true), "{minutes} min");
            news.note("no lock is free".into(), true);
        }
    }

    #[test]
    fn what_is_usual_needs_enough_holds() {
        let seconds = |all: &[u64]| all.iter().map(|n| Duration::from_secs(*n)).collect();

        assert_eq!(Usual::of(seconds(&[1, 2, 3, 4])), None);
        let usual = Usual::of(seconds(&[50, 10, 40, 20, 30]));
        assert_eq!(
            usual,
            Some(Usual {
                median: Duration::from_secs(30),
                ninety: Duration::from_secs(50)
            })
        );
        let usual = Usual::of((1..=100).map(Duration::from_secs).collect());
        assert_eq!(
            usual,
            Some(Usual {
                median: Duration::from_secs(50),
                ninety: Duration::from_secs(90)
            })
        );
    }
}

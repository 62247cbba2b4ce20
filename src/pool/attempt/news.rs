//! What those who wait are told: who holds what they wait for, where they are in line, how long it usually takes.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Write;
use std::time::Duration;

use tokio::time::Instant;

use crate::ledger;
use crate::line::Standing;
use crate::lock::{LockName, PoolName};
use crate::maker::Me;
use crate::message;
use crate::rules::Wait;
use git::object::Oid;
use git::{Commit, History, HistoryError};
use pace::duration::in_two_units;
use terminal::{Paint, one_line};

/// The shortest time between two messages.
const AT_MOST_EVERY: Duration = Duration::from_secs(60);

/// The longest time between two messages, while nothing changes.
const AT_LEAST_EVERY: Duration = Duration::from_secs(30 * 60);

/// How many of the holders are named.
const HOLDERS_NAMED: usize = 3;

/// How much is shown of why somebody holds a lock, in characters.
const REASON_SHOWN: usize = 200;

/// What is to be done by whoever waits for a lock of his own.
const OWN: &str = "a lock is waited for that is held by the same build or person, and is given back by nobody else: a step that may run again takes its claim over if it has a name (`request: NAME`); a put with `release_mine: true`, or `pool release`, frees the lock";

/// With fewer holds than this in the history nothing is said of how long they take.
const ENOUGH_HOLDS: usize = 5;

/// A hold of a lock, as far as the history tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Holder {
    pub lock: LockName,
    pub claim: Oid,
    /// Seconds since 1970 as the holder's clock had it.
    pub since: i64,
    /// Who it is, in as few words as possible.
    pub who: String,
    /// The page of its build.
    pub url: Option<String>,
    /// Why it holds the lock, where it says so.
    pub reason: Option<String>,
    /// If that is whoever asks: how he is spoken to.
    pub is_me: Option<&'static str>,
}

impl Holder {
    /// Who claimed `lock` last.
    pub fn of(
        history: &History<'_>,
        pool: &PoolName,
        lock: &LockName,
        me: Option<&Me>,
    ) -> Result<Option<Holder>, HistoryError> {
        let Some(claim) = ledger::last_claim(history, pool, lock)? else {
            return Ok(None);
        };
        Ok(Some(Holder::read(lock, claim, &history.commit(claim)?, me)))
    }

    fn read(lock: &LockName, claim: Oid, commit: &Commit, me: Option<&Me>) -> Holder {
        let message = &commit.message;
        let reason = message::trailer(message, message::REASON);
        let reason = reason.map(|reason| reason.chars().take(REASON_SHOWN).collect::<String>());
        Holder {
            lock: lock.clone(),
            claim,
            since: commit.time,
            who: message::who(message),
            url: message::build_url(message).map(|url| one_line(&url)),
            reason: reason.map(|reason| one_line(&reason)),
            is_me: me.filter(|me| me.made(lock, message)).map(Me::spoken_to),
        }
    }

    /// Who holds the lock, which is called by `name`, since when, why and where to read on.
    fn shown(&self, name: &str, paint: Paint) -> String {
        let mut line = format!("{name} is held");
        if let Some(since) = terminal::time::time(self.since) {
            line += &format!(" since {since}");
        }
        line += &match self.is_me {
            Some(me) => format!(" by {me} ({})", self.who),
            None => format!(" by {}", self.who),
        };
        if let Some(reason) = &self.reason {
            line += &format!(": {reason}");
        }
        if let Some(url) = &self.url {
            line += &format!(" {}", paint.link(url));
        }
        line
    }

    /// The line of a log, where `paint` lets the lock stand out.
    fn painted(&self, paint: Paint) -> String {
        self.shown(&paint.strong(&self.lock.to_string()), paint)
    }

    /// The line of an error.
    pub fn line(&self) -> String {
        let name = format!("`{}`", self.lock);
        let line = self.shown(&name, Paint::Plain);
        format!("{line} (the claim {})", self.claim)
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
    /// Who waits.
    me: Option<Me>,
    said: Option<(String, Instant)>,
    /// Whether any holder has been named.
    named: bool,
    /// Whether it has been said that a lock is one's own.
    warned: bool,
    pause: Duration,
    holders: HashMap<LockName, Holder>,
}

impl News {
    pub fn new(paint: Paint, me: Option<Me>) -> News {
        News {
            paint,
            me,
            said: None,
            named: false,
            warned: false,
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
            Some(_) => format!("still waiting after {}: ", in_two_units(waited)),
        };
        terminal::say(
            log,
            format_args!(
                "{now} {} in pool `{pool}`: {so_far}{line}",
                paint.strong("waiting")
            ),
        );
        let me = self.me.clone();
        let own = own_among(wait.held(), pool, history, me.as_ref());
        let others = wait.held().iter().filter(|lock| !own.contains(lock));
        let shown = own.iter().chain(others).take(HOLDERS_NAMED.max(own.len()));
        for lock in shown {
            let known = self.holders.get(lock).cloned();
            let holder = Holder::of(history, pool, lock, me.as_ref()).ok().flatten();
            if let Some(holder) = holder.or(known) {
                terminal::say(log, format_args!("{now}   {}", holder.painted(paint)));
                self.holders.insert(holder.lock.clone(), holder);
            }
        }
        if !own.is_empty() && !self.warned {
            self.warned = true;
            terminal::say(log, format_args!("{now}   {}: {OWN}", paint.strong("note")));
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
        let show = in_two_units;
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

/// Which of these locks whoever asks holds himself, as far as the history is here.
fn own_among(
    locks: &[LockName],
    pool: &PoolName,
    history: &History<'_>,
    me: Option<&Me>,
) -> Vec<LockName> {
    let Some(me) = me.filter(|_| !locks.is_empty()) else {
        return Vec::new();
    };
    let Ok((claims, _)) = ledger::claims_here(history, std::slice::from_ref(pool), None) else {
        return Vec::new();
    };
    let own = claims.into_values().flatten();
    let own = own.filter(|(lock, held)| locks.contains(lock) && me.made(lock, &held.message));
    own.map(|(lock, _)| lock).collect()
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_told_of_changes_once_a_minute_and_of_the_first_holder_at_once() {
        let mut news = News::new(Paint::Plain, None);
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
        let mut news = News::new(Paint::Plain, None);
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

//! Our own ticket: what we know of it, and what is to be done next to have it in the line.
//!
//! What a server says to a change of a ticket is believed when it is a yes. Anything else (a no in whatever words, or
//! silence) is followed by a look: servers say the same words for a lost race, a lock file and a rule, and each server
//! says others. A ticket that is not as we know it is made or renewed again. Only a server that says no twice in a row,
//! while nothing changes, is taken not to allow it.

use std::time::{Duration, Instant};

use super::PlaceName;
use git::object::Oid;
use pace::pauses;

/// The first pause after a change that was not accepted.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest one: nobody sends more than a push a minute for long where it is of no use.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How often a server says no in a row, while nothing changes, until it is taken for its rule.
const NOES: u32 = 2;

/// How long a ticket need not be listed that a server has taken: its reading side may show an older state.
const UNLISTED: Duration = Duration::from_secs(10);

/// What a server answered to a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It was made.
    Yes,
    /// It was not, with these words.
    No(String),
    /// Nothing was heard, so that it may have been made or not.
    Silence,
}

/// What is to be done next for our ticket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// To look: we don't know what became of the last change.
    Look,
    /// To make it, under a name that there is not yet.
    Make,
    /// To renew the one that is at this commit.
    Renew(Oid),
}

/// Why no ticket of ours can be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lacking {
    /// The server lets none be made.
    Make(String),
    /// It takes them and does not list them.
    List,
    /// It lets none be renewed.
    Move(String),
}

/// Our ticket.
#[derive(Debug, Clone)]
pub struct Ours {
    place: PlaceName,
    /// The commit where it is, as far as we know.
    at: Option<Oid>,
    /// A change whose outcome we don't know.
    pushed: Option<Pushed>,
    /// When the last change was made, and within which time it says that the next one comes.
    pushed_at: Instant,
    period: Duration,
    /// What the server has accepted last, and since when it has accepted any.
    accepted: Option<(PlaceName, Oid)>,
    accepts_since: Option<Instant>,
    /// Whether a listing has ever shown it.
    was_listed: bool,
    /// Whether it can get another name, which it does when waiting has raised its priority.
    can_rename: bool,
    noes: u32,
    /// The pause until the next change, when there is something wrong.
    pause: Option<Duration>,
    pauses: Pauses,
    lacking: Option<Lacking>,
    /// Other refs with our id: where a server makes the new name and keeps the old one.
    strays: Vec<(PlaceName, Oid)>,
}

#[derive(Debug, Clone)]
struct Pushed {
    place: PlaceName,
    commit: Oid,
    no: Option<String>,
}

#[derive(Debug, Clone)]
struct Pauses(u32);

impl Pauses {
    fn next(&mut self) -> Duration {
        self.0 = self.0.saturating_add(1);
        let whole = FIRST_PAUSE.saturating_mul(1 << (self.0 - 1).min(6));
        // With jitter, by the one rule for pauses that there is.
        let mut jittered = pauses(whole.min(LONGEST_PAUSE), LONGEST_PAUSE);
        jittered.next().unwrap_or(LONGEST_PAUSE)
    }
}

impl Ours {
    /// One that is to be made.
    pub fn new(place: PlaceName, now: Instant) -> Ours {
        Ours {
            place,
            at: None,
            pushed: None,
            pushed_at: now,
            period: Duration::ZERO,
            accepted: None,
            accepts_since: None,
            was_listed: false,
            can_rename: true,
            noes: 0,
            pause: None,
            pauses: Pauses(0),
            lacking: None,
            strays: Vec::new(),
        }
    }

    /// Its place.
    pub fn place(&self) -> &PlaceName {
        &self.place
    }

    /// The commit where it is, as far as we know.
    pub fn at(&self) -> Option<Oid> {
        self.at
    }

    /// Whether it may get another name.
    pub fn can_rename(&self) -> bool {
        self.can_rename
    }

    /// When there is something to do for it.
    pub fn due(&self) -> Instant {
        match self.lacking {
            Some(_) => self.pushed_at,
            None => self.pushed_at + self.pause.unwrap_or(self.period),
        }
    }

    /// Why it cannot be kept, if a look has shown that.
    pub fn lacking(&self) -> Option<&Lacking> {
        self.lacking.as_ref()
    }

    /// What is to be done for it.
    pub fn next(&self) -> Next {
        match (&self.pushed, self.at) {
            (Some(_), _) => Next::Look,
            (None, None) => Next::Make,
            (None, Some(commit)) => Next::Renew(commit),
        }
    }

    /// Notes that it is being made or moved: to `commit`, under the name of `place`, to be renewed within `period`.
    pub fn pushing(&mut self, place: PlaceName, commit: Oid, period: Duration, now: Instant) {
        self.pushed_at = now;
        self.period = period;
        self.pause = None;
        self.pushed = Some(Pushed {
            place,
            commit,
            no: None,
        });
    }

    /// Takes in what the server said to that.
    pub fn answered(&mut self, answer: Answer, now: Instant) {
        let Some(pushed) = self.pushed.take() else {
            return;
        };
        self.pushed_at = now;
        match answer {
            Answer::Yes => self.settle(pushed.place, pushed.commit, now),
            Answer::No(words) => self.trouble(Pushed {
                no: Some(words),
                ..pushed
            }),
            Answer::Silence => self.trouble(pushed),
        }
    }

    fn trouble(&mut self, pushed: Pushed) {
        self.pushed = Some(pushed);
        self.pause = Some(self.pauses.next());
    }

    fn settle(&mut self, place: PlaceName, commit: Oid, now: Instant) {
        self.accepted = Some((place.clone(), commit));
        self.accepts_since.get_or_insert(now);
        self.place = place;
        self.at = Some(commit);
        self.pushed = None;
        self.noes = 0;
        self.pause = None;
    }

    /// Takes in what a look shows of the refs with our id.
    pub fn see(&mut self, listed: &[(PlaceName, Oid)], now: Instant) {
        if self.lacking.is_none() {
            self.lacking = self.seen(listed, now);
        }
    }

    fn seen(&mut self, listed: &[(PlaceName, Oid)], now: Instant) -> Option<Lacking> {
        let pushed = self.pushed.take();
        let wanted = pushed.as_ref().map_or(&self.place, |pushed| &pushed.place);
        let found = listed
            .iter()
            .find(|(place, _)| place == wanted)
            .or_else(|| listed.iter().find(|(place, _)| *place == self.place))
            .or(listed.first());
        let strays = listed.iter().filter(|listed| Some(*listed) != found);
        self.strays = strays.cloned().collect();
        let Some((place, commit)) = found.cloned() else {
            return self.not_seen(pushed, now);
        };
        self.was_listed = true;
        let is_unchanged = self.at == Some(commit) && place == self.place;
        match pushed {
            Some(pushed) if pushed.commit == commit => {
                self.settle(place, commit, now);
                self.pauses = Pauses(0);
            }
            Some(Pushed {
                no: Some(words),
                place: wanted,
                ..
            }) if is_unchanged => {
                if wanted != self.place {
                    // It was a new name that is not allowed; the old one goes on.
                    self.can_rename = false;
                    self.pause = Some(Duration::ZERO);
                    return None;
                }
                self.noes += 1;
                if self.noes >= NOES {
                    return Some(Lacking::Move(words));
                }
            }
            Some(_) if is_unchanged => {}
            // It is not as we knew it, whatever has happened.
            Some(_) => {
                self.place = place;
                self.at = Some(commit);
                self.noes = 0;
            }
            None if is_unchanged => {
                if now.duration_since(self.pushed_at) > UNLISTED {
                    self.pauses = Pauses(0);
                }
            }
            // Somebody has moved it, as one that is left.
            None => {
                self.place = place;
                self.at = Some(commit);
                self.pause = Some(self.pauses.next());
            }
        }
        None
    }

    fn not_seen(&mut self, pushed: Option<Pushed>, now: Instant) -> Option<Lacking> {
        match (pushed, self.at.take()) {
            (
                Some(Pushed {
                    no: Some(words), ..
                }),
                None,
            ) => {
                self.noes += 1;
                if self.noes >= NOES {
                    return Some(Lacking::Make(words));
                }
            }
            (Some(_), Some(_)) => self.noes = 0,
            (Some(_), None) => {}
            (None, Some(commit)) if !self.was_listed => {
                // The server has taken it, and that is believed for a while.
                self.at = Some(commit);
                let since = *self.accepts_since.get_or_insert(now);
                if now.duration_since(since) > UNLISTED {
                    return Some(Lacking::List);
                }
            }
            // Somebody has taken it away, as one that was left behind.
            (None, Some(_)) => self.pause = Some(self.pauses.next()),
            (None, None) => {}
        }
        None
    }

    /// The refs that are to be taken away when we leave, and where they are: as far as we know.
    pub fn traces(&self) -> Vec<(PlaceName, Oid)> {
        let here = self.at.map(|commit| (self.place.clone(), commit));
        let pushed = self.pushed.as_ref();
        let pushed = pushed.map(|pushed| (pushed.place.clone(), pushed.commit));
        // One that was never listed may be there all the same.
        let accepted = self.accepted.clone().filter(|_| !self.was_listed);
        let one = here.or(pushed).or(accepted);
        one.into_iter().chain(self.strays.iter().cloned()).collect()
    }
}

#[cfg(test)]
mod tests;

//! What one sees of the tickets of others: since when each has not changed, and what that tells.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::ticket::{left, says_left};
use super::{PlaceName, TicketText};
use git::object::Oid;
use git::{Note, Store};

/// After how many of its periods without a change a ticket counts as one of somebody who is gone.
const LIVES: u32 = 3;

/// A ticket whose own date is so many of its periods ago counts as such at first sight, if it is also older than
/// [`LONG_AGO`].
const PERIODS_AGO: u32 = 10;

/// See [`PERIODS_AGO`]. The clocks of two machines may differ by less.
const LONG_AGO: Duration = Duration::from_secs(300);

/// The period of a ticket whose text we do not know.
const USUAL_PERIOD: Duration = Duration::from_secs(20);

/// A ticket of which only an older text is known may have a longer period by now. It is read before it counts as dead; one
/// that cannot be read counts as such after this.
const UNREAD: Duration = Duration::from_secs(86_400);

/// The longest message of a ticket, in bytes.
const LONGEST: usize = 64 * 1024;

/// For how long a ticket is remembered that is not listed any more: some servers show an older state for a while.
const REMEMBERED: Duration = Duration::from_secs(600);

/// What is known of the owner of a ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// He may be there.
    Alive,
    /// He is gone, and has left his ticket.
    Dead,
    /// He has said that he is gone: his ticket could not be taken away.
    Left,
}

/// What the commit of a ticket says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// It is not here.
    NotHere,
    /// Nothing that we understand.
    Nothing,
    /// Who waits for what, and when that was said, in seconds since 1970.
    Waits(Box<TicketText>, i64),
    /// That nobody waits with it any more.
    Left,
}

impl Said {
    /// What the commit of a ticket says, if it is in our copy.
    pub fn in_store(store: &Store, commit: Oid) -> Said {
        if !store.has(commit) {
            return Said::NotHere;
        }
        match store.commit(commit) {
            Ok(Some(commit)) => Said::by(&commit.message, commit.time),
            _ => Said::Nothing,
        }
    }

    /// What a message says.
    pub fn by(message: &[u8], time: i64) -> Said {
        if says_left(message) {
            return Said::Left;
        }
        let text = (message.len() <= LONGEST).then(|| TicketText::parse(message));
        text.flatten()
            .map_or(Said::Nothing, |text| Said::Waits(Box::new(text), time))
    }
}

/// One ticket, as far as we have seen it.
#[derive(Debug, Clone)]
pub struct Sighting {
    /// Its place, if its name tells one.
    pub place: Option<PlaceName>,
    /// Where it is.
    pub commit: Oid,
    /// Since when it has been there, as far as we know.
    since: Instant,
    /// Whether we have seen it change: so its owner has been there with us, whatever his clock says.
    changed: bool,
    text: Option<TicketText>,
    /// Whether that is the text of the commit where it is now; or that there is none.
    is_read: bool,
    left: bool,
    /// How old it was by its own date when we read it first, and when that was.
    age: Option<(Duration, Instant)>,
    listed: bool,
}

/// The tickets that a listing has shown, by their names.
#[derive(Debug, Clone, Default)]
pub struct Sightings(BTreeMap<String, Sighting>);

impl Sightings {
    /// Takes in what is listed at `now`, which is so many seconds since 1970 by our clock. `said` tells what commits say.
    pub fn observe<'l>(
        &mut self,
        listed: impl IntoIterator<Item = (&'l str, Oid)>,
        said: &dyn Fn(Oid) -> Said,
        now: Instant,
        clock: u64,
    ) {
        for sighting in self.0.values_mut() {
            sighting.listed = false;
        }
        for (name, commit) in listed {
            let known = self.0.entry(name.to_owned());
            let sighting = known.or_insert_with(|| Sighting::new(name, commit, now));
            sighting.listed = true;
            if sighting.commit != commit {
                sighting.change(commit, now);
            }
            if !sighting.is_read {
                sighting.read(said(commit), now, clock);
            }
        }
        let remembered = |sighting: &Sighting| now.duration_since(sighting.since) < REMEMBERED;
        self.0
            .retain(|_, sighting| sighting.listed || remembered(sighting));
    }

    /// Those that are listed.
    pub fn listed(&self) -> impl Iterator<Item = (&str, &Sighting)> {
        let listed = self.0.iter().filter(|(_, sighting)| sighting.listed);
        listed.map(|(name, sighting)| (name.as_str(), sighting))
    }

    /// One that has been seen, listed or not.
    pub fn get(&self, name: &str) -> Option<&Sighting> {
        self.0.get(name)
    }
}

impl Sighting {
    fn new(name: &str, commit: Oid, now: Instant) -> Sighting {
        let last = name.rsplit('/').next().unwrap_or(name);
        Sighting {
            place: PlaceName::parse(last),
            commit,
            since: now,
            changed: false,
            text: None,
            is_read: false,
            left: false,
            age: None,
            listed: true,
        }
    }

    fn change(&mut self, commit: Oid, now: Instant) {
        // Somebody may have said of it that it is left: that is no sign of life, and needs no reading.
        let is_left = left(self.commit).id() == commit;
        self.commit = commit;
        self.since = now;
        self.changed = !is_left;
        self.left = is_left;
        self.is_read = is_left;
    }

    fn read(&mut self, said: Said, now: Instant, clock: u64) {
        match said {
            Said::NotHere => return,
            Said::Nothing => {}
            Said::Left => self.left = true,
            Said::Waits(text, time) => {
                let age = clock.saturating_sub(u64::try_from(time).unwrap_or(0));
                self.age = Some((Duration::from_secs(age), now));
                self.text = Some(*text);
            }
        }
        self.is_read = true;
    }

    /// What it says, or said when it was read last.
    pub fn text(&self) -> Option<&TicketText> {
        self.text.as_ref()
    }

    /// Whether it has been said that nobody waits with it any more.
    pub fn is_left(&self) -> bool {
        self.left
    }

    /// Whether it is not known at all what it says.
    pub fn is_unknown(&self) -> bool {
        !self.is_read && self.text.is_none()
    }

    /// Whether it would be taken for dead but for what it may say now.
    pub fn is_doubtful(&self, now: Instant) -> bool {
        !self.is_read && self.silence(now) >= self.period().saturating_mul(LIVES)
    }

    /// How old it was by its own date when we read it first.
    pub fn age(&self) -> Option<Duration> {
        self.age.map(|(age, _)| age)
    }

    /// For how long we have seen no change of it, or by its own date nobody has seen one.
    pub fn silence(&self, now: Instant) -> Duration {
        let seen = now.duration_since(self.since);
        let aged = self.age.filter(|_| !self.changed);
        let aged = aged.map(|(age, then)| age + now.duration_since(then));
        match aged {
            Some(aged) if aged >= self.long_ago() => aged,
            _ => seen,
        }
    }

    /// What is known of its owner.
    pub fn life(&self, now: Instant) -> Life {
        let lives = self.period().saturating_mul(LIVES);
        let enough = match self.is_read {
            true => lives,
            false => lives.max(UNREAD),
        };
        match self.left {
            true => Life::Left,
            false if self.silence(now) >= enough => Life::Dead,
            false => Life::Alive,
        }
    }

    fn period(&self) -> Duration {
        let text = self.text.as_ref();
        text.map_or(USUAL_PERIOD, |text| text.renewal)
    }

    fn long_ago(&self) -> Duration {
        let period = self.period().saturating_mul(PERIODS_AGO);
        period.max(LONG_AGO)
    }

    /// The commit that says of it that it is left.
    pub fn left(&self) -> Note<'static> {
        left(self.commit)
    }
}

#[cfg(test)]
mod tests;

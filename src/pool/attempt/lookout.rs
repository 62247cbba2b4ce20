//! Whether we wait in a circle: looked for by those who wait, in what their looks show anyway.
//!
//! A server lists all its refs with every look, those of other lines as well. Only who keeps a claim himself, or free locks
//! until he has all that he needs, can be in a circle: nobody else reads a ticket more than before. A circle counts when two looks, some time apart, have shown the very
//! same one, both with the branch as it then was.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::course::Course;
use super::queue::{Queue, now as moment, seconds_since_1970, start_of};
use super::{Attempt, AttemptError, read_pool};
use crate::circles::{Circle, Line, circles, is_waited_for, line_of};
use crate::ledger::{self, Claims};
use crate::line::branch;
use crate::line::load::FIRST;
use crate::line::sightings::{Said, Sightings};
use crate::lock::{LockName, PoolName};
use crate::maker::Series;
use crate::message;
use crate::operation::Want;
use crate::past;
use crate::rules::Pool;
use git::object::Oid;
use git::{Depth, HistoryError, Interest, Listing, Snapshot};

/// How many tickets are read at most.
const MOST_READ: usize = 2000;

/// After how long it is asked once who made the claims that are older than what is here of the history. Who waits in a circle
/// waits for ever, and nobody else is to fetch more for it.
const LATER: Duration = Duration::from_secs(30);

/// What one who waits knows of circles.
#[derive(Default)]
pub(super) struct Lookout {
    /// The tickets in the other lines of the branch, by the parts of their names after it.
    elsewhere: Sightings,
    /// All pools at a commit.
    all: Option<(Oid, BTreeSet<PoolName>)>,
    known: Option<Known>,
    /// The circle that was there in the last look, and since when it has been seen.
    seen: Option<(Circle, Instant)>,
    /// The one that has been told of.
    told: Option<Circle>,
}

/// The claims that stood at a commit.
struct Known {
    at: Snapshot,
    pools: Vec<PoolName>,
    claims: Claims,
    /// Whether some are older than what is here of the history.
    some_are_older: bool,
    /// Whether one of them does not end before our wait does.
    is_ours: bool,
    /// The later build of our job that has claimed a lock of our pool, where the latest alone is to wait.
    later: Option<String>,
}

impl Lookout {
    /// Takes in what a look lists of other lines.
    pub fn observe(&mut self, listing: &Listing, said: &dyn Fn(Oid) -> Said) {
        let mut listed = of_pools(listing).peekable();
        if listed.peek().is_none() && self.elsewhere.listed().next().is_none() {
            return;
        }
        let listed = listed.map(|(name, at)| (name.as_str(), *at));
        self.elsewhere
            .observe(listed, said, moment(), seconds_since_1970());
    }

    /// What to fetch after a look: what the line asks for; and the tickets that have not been read, if we may be in a circle.
    pub fn interest(
        &self,
        line: Interest,
        listing: &Listing,
        queue: &Queue,
        depth: Depth,
    ) -> Interest {
        if !self.known.as_ref().is_some_and(|known| known.is_ours) {
            return line;
        }
        let elsewhere = of_pools(listing).filter(|(name, _)| {
            let ticket = self.elsewhere.get(name);
            ticket.is_none_or(|ticket| ticket.is_unknown() || ticket.is_doubtful(moment()))
        });
        let elsewhere = elsewhere.map(|(_, at)| *at);
        let unread: Vec<Oid> = queue.unread(listing).chain(elsewhere).collect();
        match line {
            Interest::Nothing if unread.is_empty() => Interest::Nothing,
            Interest::Nothing => Interest::Head(depth.max(Depth::RECENT), first(unread)),
            Interest::Head(depth, more) => {
                Interest::Head(depth, first(more.into_iter().chain(unread).collect()))
            }
        }
    }

    /// How many are in the circle that has been told of; none without one.
    pub fn size(&self) -> usize {
        self.told.as_ref().map_or(0, |circle| circle.members.len())
    }

    /// Takes in the circle that a look has shown; gives it when it has been there in an earlier one as well, some time ago.
    fn confirm(&mut self, found: Option<Circle>) -> Option<Circle> {
        let Some(found) = found else {
            self.seen = None;
            return None;
        };
        let now = Instant::now();
        let since = match self.seen.take() {
            Some((seen, since)) if seen == found => since,
            _ => now,
        };
        self.seen = Some((found.clone(), since));
        (now.duration_since(since) >= FIRST / 2).then_some(found)
    }
}

/// The tickets in the lines of other pools.
fn of_pools(listing: &Listing) -> impl Iterator<Item = (&String, &Oid)> {
    let besides = listing.besides.iter();
    besides.filter(|(name, _)| !name.starts_with(branch::FOLDER))
}

fn first(mut some: Vec<Oid>) -> Vec<Oid> {
    some.truncate(MOST_READ);
    some
}

impl Attempt<'_> {
    /// Looks whether we wait in a circle, which says so in the log; gives way where that is wanted and we are the youngest.
    /// `head` is where the branch is.
    ///
    /// # Errors
    /// [`AttemptError::GaveWay`].
    pub(super) fn look_out(
        &mut self,
        snapshot: &Snapshot,
        head: Oid,
        course: &mut Course<'_>,
    ) -> Result<(), Box<AttemptError>> {
        if course.lines.first().is_none() {
            return Ok(());
        }
        let is_kept_by_us = known(self.is_kept_by_us(snapshot, course))?;
        let seen = course.lookout.known.as_ref();
        if let Some(by) = seen.and_then(|known| known.later.clone()) {
            return Err(Box::new(AttemptError::Superseded { by }));
        }
        if !is_kept_by_us {
            course.lookout.seen = None;
            return self.tell_of_circle(None, course);
        }
        let found = known(self.circle(snapshot, course))?;
        if head != snapshot.commit {
            // What is known may be over, or a beginning. Whether it is, the next look shows.
            course.fetch_anyway |= found.is_some();
            return Ok(());
        }
        let found = course.lookout.confirm(found);
        self.tell_of_circle(found, course)
    }

    /// Whether there is a claim on the branch that does not end before our wait does, as far as the history is here.
    fn is_kept_by_us(
        &self,
        snapshot: &Snapshot,
        course: &mut Course<'_>,
    ) -> Result<bool, HistoryError> {
        let history = self.remote.history(snapshot);
        let lookout = &mut course.lookout;
        let mut pools = vec![self.pool.clone()];
        if lookout.elsewhere.listed().next().is_some() {
            if lookout
                .all
                .as_ref()
                .is_none_or(|(at, _)| *at != snapshot.commit)
            {
                let all = past::pools(&history, snapshot.commit)?;
                lookout.all = Some((snapshot.commit, all));
            }
            let waited_for =
                |pool: &&PoolName| is_waited_for(&lookout.elsewhere, &start_of(pool), moment());
            let all = lookout.all.iter().flat_map(|(_, all)| all);
            let others = all.filter(|pool| **pool != self.pool);
            pools.extend(others.filter(waited_for).cloned());
        }
        let is_known = lookout
            .known
            .as_ref()
            .is_some_and(|known| known.at == *snapshot && known.pools == pools);
        if !is_known {
            let before = lookout.known.take();
            let before = before.filter(|before| before.pools == pools && !before.some_are_older);
            let before = before
                .as_ref()
                .map(|before| (before.at.commit, &before.claims));
            let (claims, older) = ledger::claims_here(&history, &pools, before)?;
            let us = course.lines.first().map(|queue| queue.me(&self.origin));
            let is_ours = us.is_some_and(|us| {
                let mut held = claims.values().flatten();
                held.any(|(lock, held)| us.keeps(lock, held))
            });
            // A free lock may be kept for us as well.
            let is_ours = is_ours || course.lines.iter().any(Queue::collects);
            lookout.known = Some(Known {
                at: *snapshot,
                pools,
                claims,
                some_are_older: older.is_some(),
                is_ours,
                later: self.later_build(snapshot, course.lines.first())?,
            });
        }
        let Some(known) = &lookout.known else {
            return Ok(false);
        };
        let others = course.lines.first().map_or(0, |queue| queue.census().0);
        let may_be_older = known.some_are_older && snapshot.depth < Depth::FAR;
        if may_be_older && (known.pools.len() > 1 || others > 1) && course.began.elapsed() >= LATER
        {
            course.depth = course.depth.max(Depth::FAR);
            course.fetch_anyway = true;
        }
        Ok(known.is_ours)
    }

    /// The later build of our job that has claimed a lock of our pool, as far as the history is here, if the latest alone is
    /// to wait: it was served without a wait, so that no ticket told of it.
    fn later_build(
        &self,
        snapshot: &Snapshot,
        queue: Option<&Queue>,
    ) -> Result<Option<String>, HistoryError> {
        let Some(mine) = queue.and_then(Queue::series) else {
            return Ok(None);
        };
        let history = self.remote.history(snapshot);
        for commit in history.first_parents(snapshot.commit) {
            let commit = match commit {
                Err(HistoryError::Truncated) => break,
                commit => commit?,
            };
            let message = history.commit(commit)?.message;
            let claims = message::read_subject(&message).is_some_and(|said| said.verb.is_claim());
            let origin = message::origin(&message);
            let is_later =
                claims && Series::of(&origin).is_some_and(|theirs| theirs.is_later_than(mine));
            if !is_later {
                continue;
            }
            match history.touches(commit, self.pool.as_str()) {
                Ok(true) => return Ok(Some(origin.prefix)),
                Ok(false) => {}
                Err(HistoryError::Truncated) => break,
                Err(err) => return Err(err),
            }
        }
        Ok(None)
    }

    /// The circle that we wait in, by what is known now.
    fn circle(
        &self,
        snapshot: &Snapshot,
        course: &Course<'_>,
    ) -> Result<Option<Circle>, HistoryError> {
        let (Some(queue), Some(known)) = (course.lines.first(), &course.lookout.known) else {
            return Ok(None);
        };
        let mut pools: Vec<Pool> = Vec::new();
        for name in &known.pools {
            pools.extend(read_pool(&self.remote, snapshot, name)?);
        }
        let none = BTreeMap::new();
        let lines = pools.iter().map(|pool| Line {
            pool,
            claims: known.claims.get(pool.name()).unwrap_or(&none),
            waiters: match *pool.name() == self.pool {
                true => queue.waiters(&self.origin),
                false => line_of(&course.lookout.elsewhere, &start_of(pool.name()), moment()),
            },
        });
        let lines: Vec<Line<'_>> = lines.collect();
        let fits: Vec<_> = pools.iter().map(|pool| self.fitting(pool)).collect();
        let fits = |pool: &Pool, want: &Want, lock: &LockName| {
            let place = pools.iter().position(|other| other.name() == pool.name());
            place.is_some_and(|place| fits[place](want, lock))
        };
        let us = queue.me(&self.origin).id;
        let mut found = circles(&lines, fits).into_iter();
        Ok(found.find(|circle| circle.member(&us).is_some()))
    }

    /// Says what there is to say of a circle that we wait in.
    fn tell_of_circle(
        &mut self,
        circle: Option<Circle>,
        course: &mut Course<'_>,
    ) -> Result<(), Box<AttemptError>> {
        // One that is only seen for the first time may be the one that has been told of, with one more in it.
        if course.lookout.told == circle || (circle.is_none() && course.lookout.seen.is_some()) {
            return Ok(());
        }
        let now = self.paint.dim(&terminal::time::now());
        let waiting = self.paint.strong("waiting in a circle");
        let Some(found) = circle else {
            course.lookout.told = None;
            let line = format_args!("{now} no longer {waiting}");
            terminal::say(self.log, line);
            return Ok(());
        };
        let us = course.lines.first().map(|queue| queue.me(&self.origin).id);
        let gives_way = found.gives_way().map(|member| &member.waiter);
        if let Some(waiter) = gives_way
            && Some(&waiter.id) == us.as_ref()
        {
            return Err(Box::new(AttemptError::GaveWay {
                to: found.others_than(&waiter.id),
                circle: found.shown(),
            }));
        }
        terminal::say(self.log, format_args!("{now} {waiting}: {}", found.shown()));
        let advice = match gives_way {
            Some(waiter) => format!("the youngest who does so gives way: {}", waiter.who),
            None => "none of them can go on until one of these waits is ended; with `on_deadlock: fail` the youngest gives way by itself".to_owned(),
        };
        terminal::say(self.log, format_args!("{now}   {advice}"));
        course.lookout.told = Some(found);
        Ok(())
    }
}

/// What the history tells, as far as it is here; where it is not, no circle is seen.
fn known<T: Default>(told: Result<T, HistoryError>) -> Result<T, Box<AttemptError>> {
    match told {
        Ok(told) => Ok(told),
        Err(HistoryError::Truncated) => Ok(T::default()),
        Err(HistoryError::Store(err)) => Err(Box::new(err.into())),
    }
}

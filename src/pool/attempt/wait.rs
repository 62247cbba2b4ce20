//! Waiting for what cannot be had yet, in line and saying what for.

use std::time::Duration;

use tokio::time::Instant;

use super::at_branch::leave_branch;
use super::course::Course;
use super::facts::Decided;
use super::lines::Lines;
use super::news::{Holder, News};
use super::queue::Queue;
use super::{Attempt, AttemptError, deeper, read_pool};
use crate::lock::LockName;
use crate::maker::Me;
use crate::rules::{Refusal, Wait};
use git::object::Oid;
use git::{Depth, Snapshot};
use pace::pause_unless_stopped;
use terminal::Paint;

/// How many pauses the claim of a lock that does not exist waits for it to be added.
const PATIENCE_FOR_MISSING: u32 = 3;

/// What one who waits keeps in mind.
pub(super) struct Waiting {
    /// When it began.
    pub since: Option<Instant>,
    /// The place in line that we had then.
    pub place_at_arrival: Option<usize>,
    missing_since: Option<Instant>,
    news: News,
}

impl Waiting {
    pub fn new(paint: Paint, me: Option<Me>) -> Waiting {
        Waiting {
            since: None,
            place_at_arrival: None,
            missing_since: None,
            news: News::new(paint, me),
        }
    }
}

impl Attempt<'_> {
    /// Waits until it is worth another look (the sooner the nearer our place in line is to the first), in the line and saying what for; gives up when it takes too long.
    pub(super) async fn bide(
        &mut self,
        snapshot: &Snapshot,
        head: Oid,
        wait: &Wait,
        decided: &Decided,
        course: &mut Course<'_>,
    ) -> Result<(), AttemptError> {
        let (lines, standing) = (&mut course.lines, decided.standing());
        // A push that was begun is good for our ticket, if we are to take one.
        if lines.has_tickets() {
            self.remote.forget_push().await;
        }
        let waited = course.began.elapsed();
        if !self.awaits_missing {
            self.check_missing(wait, &mut course.waiting)?;
        }
        if let Some(patience) = self.patience
            && waited >= patience
        {
            self.remote.forget_push().await;
            // A lock is free, for somebody who may not be there.
            let one_more = lines.iter_mut().find_map(Queue::one_more_look);
            if let Some(pause) = one_more {
                return self.rest(pause, lines).await;
            }
            let holders = self.holders(wait.held(), snapshot.depth).await;
            return Err(AttemptError::TimedOut {
                after: patience,
                wait: wait.clone(),
                holders,
            });
        }
        // Nothing is to be pushed for now.
        let leaving = leave_branch(&self.remote, &mut course.branch);
        self.stop
            .run_until_cancelled(leaving)
            .await
            .ok_or(AttemptError::Stopped)?;
        let (lines, waiting) = (&mut course.lines, &mut course.waiting);
        self.check_missing(wait, waiting)?;
        self.take_ticket(lines).await?;
        if waiting.since.is_none() {
            waiting.since = Some(Instant::now());
            waiting.place_at_arrival = standing.map(|standing| standing.place);
            if self.in_line.is_some() && snapshot.depth < Depth::RECENT {
                // Who holds it, and for how long, is in the history. It is worth a fetch once.
                course.depth = Depth::RECENT;
                return Ok(());
            }
        }
        let stop = self.stop.clone();
        stop.run_until_cancelled(self.clear_lines(lines))
            .await
            .ok_or(AttemptError::Stopped)?;
        self.look_out(snapshot, head, course).map_err(|err| *err)?;
        let (lines, waiting) = (&mut course.lines, &mut course.waiting);
        let circle = course.lookout.size();
        let history = self.remote.history(snapshot);
        if self.meter.is_on()
            && let Ok(Some(pool)) = read_pool(&self.remote, snapshot, &self.pool)
        {
            let (queue, standing) = (lines.first(), decided.standings.first());
            self.meter.waits(&history, &pool, queue, standing, circle);
        }
        let news = &mut waiting.news;
        news.say(self.log, &self.pool, wait, standing, &history, waited);
        let left = self
            .patience
            .map(|patience| patience.saturating_sub(course.began.elapsed()));
        let pause = lines.pause(&decided.standings);
        let pause = pause.unwrap_or(self.pace.retry_delay);
        self.rest(pause.min(left.unwrap_or(Duration::MAX)), lines)
            .await
    }

    /// Gives up on a lock that does not come.
    fn check_missing(&self, wait: &Wait, waiting: &mut Waiting) -> Result<(), Refusal> {
        let Wait::Missing { lock, like } = wait else {
            waiting.missing_since = None;
            return Ok(());
        };
        let since = *waiting.missing_since.get_or_insert_with(Instant::now);
        let may_come = self.awaits_missing;
        if may_come && since.elapsed() < self.pace.retry_delay * PATIENCE_FOR_MISSING {
            return Ok(());
        }
        Err(Refusal::NoSuchLock {
            lock: lock.bare(),
            pool: lock.pool().unwrap_or_else(|| self.pool.clone()),
            like: like.iter().map(LockName::bare).collect(),
        })
    }

    /// Pauses, and keeps our tickets alive meanwhile.
    pub(super) async fn rest(
        &mut self,
        pause: Duration,
        lines: &mut Lines,
    ) -> Result<(), AttemptError> {
        let end = Instant::now() + pause;
        loop {
            let due = lines.iter().filter_map(Queue::renewal_due).min();
            let next = due.filter(|due| *due < end);
            let left = next
                .unwrap_or(end)
                .saturating_duration_since(Instant::now());
            pause_unless_stopped(left, &self.stop).await?;
            if next.is_none() {
                return Ok(());
            }
            self.keep_tickets(lines).await?;
        }
    }

    /// Who holds these locks, a line for each, as far as can be found out.
    async fn holders(&mut self, locks: &[LockName], mut depth: Depth) -> Vec<String> {
        // More would hide the error that they are part of.
        const MOST: usize = 5;
        let mut lines = Vec::new();
        let me = Me::of(&self.origin);
        for lock in locks.iter().take(MOST) {
            // Without an answer the error is still true.
            while let Ok(snapshot) = self.snapshot(depth).await {
                let history = self.remote.history(&snapshot);
                match Holder::of(&history, &self.pool, lock, me.as_ref()) {
                    Ok(holder) => {
                        lines.extend(holder.map(|holder| holder.line()));
                        break;
                    }
                    Err(err) => match deeper(snapshot.depth, err) {
                        Ok(next) => depth = next,
                        Err(_) => break,
                    },
                }
            }
        }
        if locks.len() > MOST {
            lines.push(format!("and {} more", locks.len() - MOST));
        }
        lines
    }
}

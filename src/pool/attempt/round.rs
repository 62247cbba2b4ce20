//! One round after the other: look at the pool, decide, and do what there is to do.

use super::course::{Course, Setback};
use super::facts::Decided;
use super::news::Holder;
use super::others_first::Gathering;
use super::publish::Published;
use super::queue::Queue;
use super::queue::seconds_since_1970;
use super::{Attempt, AttemptError, Outcome, reach};
use crate::ledger;
use crate::line::branch::BranchLine;
use crate::line::sightings::Said;
use crate::lock::LockName;
use crate::message::{Verb, listed};
use crate::operation::Operation;
use crate::rules::{Change, Decision};
use git::object::Oid;
use git::refusal::{Kind, of_ref};
use git::{Depth, FaultError, Interest, Listing, Snapshot};
use tokio::time::Instant;

/// How often in a row a server may say no in words that are not known, while the branch moves, before they are final.
const PATIENCE_FOR_UNKNOWN_WORDS: u32 = 5;

/// What a look showed.
struct Look {
    /// Where the branch is.
    head: Oid,
    /// What to go by.
    snapshot: Snapshot,
    /// Whether that is the last one, as nothing has come that could matter to us.
    is_kept: bool,
    /// Whether it is our turn at the branch, and more are coming who can be brought along.
    gathers: bool,
}

impl Attempt<'_> {
    /// Carries out an operation, round after round.
    pub(super) async fn carry_out(
        &mut self,
        course: &mut Course<'_>,
    ) -> Result<Outcome, AttemptError> {
        loop {
            match Box::pin(self.go_round(course)).await {
                Ok(Some(outcome)) => return Ok(outcome),
                Ok(None) => {}
                Err(Setback::Shallow) => self.go_deeper(course).await?,
                Err(Setback::Behind) => course.fetch_anyway = true,
                Err(Setback::Failed(err)) => return Err(*err),
            }
        }
    }

    /// Has more of the history known than what was not enough.
    async fn go_deeper(&mut self, course: &mut Course<'_>) -> Result<(), FaultError> {
        let until = course.operation.claim_to_prove().map(|(_, claim)| claim.0);
        if let Some(last) = course.last {
            let (remote, of) = (&mut self.remote, Some(&self.pool));
            let (limit, stop) = (self.pace.fault_limit, &self.stop);
            if reach(remote, &last, of, until, limit, stop, self.log).await? {
                course.fetch_anyway = true;
                return Ok(());
            }
        }
        course.deepen();
        Ok(())
    }

    /// Looks once at the pool, and does what there is to do; `None` when it is to be looked at again.
    async fn go_round(&mut self, course: &mut Course<'_>) -> Result<Option<Outcome>, Setback> {
        let operation = course.operation;
        if self.hurry.is_cancelled() {
            course.hurry();
        }
        let look_began = Instant::now();
        let Some(look) = self.look(course).await? else {
            return Ok(None);
        };
        let Look { head, snapshot, .. } = look;
        // With what was fetched it is about three.
        let requests = if look.is_kept { 1 } else { 3 };
        let look_took = look_began.elapsed() / requests;
        if !look.is_kept
            && course.claim.may_be_along(snapshot.commit)
            && let Some((commit, locks)) = Box::pin(self.brought_along(&snapshot, course)).await?
        {
            self.remote.forget_push().await;
            return Ok(Some(self.outcome_along(commit, locks, course)));
        }
        if let Some(by) = course.lines.first().and_then(Queue::superseded_by) {
            self.remote.forget_push().await;
            return Err(AttemptError::Superseded { by }.into());
        }
        // On the very snapshot that we go by, so that no other run of the step can claim in between.
        if let Some(step) = self.step.clone().filter(|_| operation.claims()) {
            let history = self.remote.history(&snapshot);
            match ledger::claim_of_step(&history, &self.pool, &step, course.not_ours)? {
                Some(claim) if !self.is_asked_for(&snapshot, operation, &claim)? => {
                    // Somebody was told of it. It is his to give back, and no answer to what is asked now.
                    terminal::say(
                        self.log,
                        format_args!(
                            "note: a run of this step holds `{}` by the claim {}, which is not what is asked now: it is left as it is",
                            listed(&claim.locks),
                            claim.commit
                        ),
                    );
                    course.not_ours = Some(snapshot.commit);
                }
                Some(claim) => {
                    let taken = self.take_over(&snapshot, claim, course);
                    return Ok(Box::pin(taken).await?);
                }
                None => course.not_ours = Some(snapshot.commit),
            }
        }
        let decided = self.decide(&snapshot, operation, &course.lines)?;
        if self.fetch_missed(course).await? {
            return Ok(None);
        }
        if !std::mem::replace(&mut course.said_unreadable, true) {
            for note in self.unreadable(&snapshot, operation)? {
                terminal::say(self.log, format_args!("{note}"));
            }
        }
        course
            .lines
            .note_standings(&decided.standings, snapshot.commit);
        let standing = decided.standing();
        match &decided.decision {
            Decision::Change(change) => {
                if std::mem::take(&mut course.queues_next) {
                    self.stand_at_branch(&snapshot, head, change, &decided, course)
                        .await?;
                    self.wait_elsewhere(course).await?;
                    if !course.branch.has_ticket() || course.branch.before() == 0 {
                        return Ok(None);
                    }
                }
                // Others are to be served too, and before us. The branch takes one push at a time, so that it is not for
                // all of them to try at once; but whoever does not use his turn is not waited for.
                let in_pool = standing.map_or(0, |standing| standing.served_before.len());
                if in_pool > 0 {
                    self.take_ticket(&mut course.lines).await?;
                } else if course.branch.before() > 0 {
                    self.stand_at_branch(&snapshot, head, change, &decided, course)
                        .await?;
                }
                // Who stands at the branch goes by that line alone: two lines could each have the other go first.
                let before = match course.branch.has_ticket() {
                    true => course.branch.before(),
                    false => in_pool.max(course.branch.before()),
                };
                if before > 0 {
                    let offered = course.claim.offered();
                    let is_offered = offered.is_some_and(|offer| offer.base == head);
                    let pause = course
                        .others_first
                        .pause(before, head, look_took, is_offered);
                    if let Some(pause) = pause {
                        self.rest(pause, &mut course.lines).await?;
                        return Ok(None);
                    }
                    course.branch.pass();
                }
                if look.gathers {
                    self.rest(Gathering::pause(look_took), &mut course.lines)
                        .await?;
                    return Ok(None);
                }
                // What is pushed onto something older can only lose; and what was offered on something else may have landed.
                if look.is_kept && head != snapshot.commit
                    || course.claim.may_be_along(snapshot.commit)
                {
                    course.fetch_anyway = true;
                    return Ok(None);
                }
                Box::pin(self.change(&snapshot, change.clone(), course)).await
            }
            Decision::Wait(wait) => {
                Box::pin(self.bide(&snapshot, head, wait, &decided, course)).await?;
                Ok(None)
            }
            Decision::Done(locks, since) => {
                let commit = self.since(&snapshot, locks.first(), *since)?;
                let given_back = match operation.gives_back() {
                    true => self.given_back(&snapshot, commit)?,
                    false => None,
                };
                self.remote.forget_push().await;
                // What is not there may be a claim that this view does not show yet, and nobody shows it.
                if matches!(operation, Operation::ReleaseOwn) && !course.is_current {
                    let head = self.read(async |remote| remote.head_for_pushes().await);
                    course.is_current = true;
                    course.fetch_anyway = head.await? != Some(snapshot.commit);
                    if course.fetch_anyway {
                        return Ok(None);
                    }
                }
                Ok(Some(Outcome {
                    given_back,
                    ..Outcome::new(commit, locks.clone())
                }))
            }
            Decision::Refuse(refusal) => {
                self.remote.forget_push().await;
                Err(refusal.clone().into())
            }
            // Answered by `decide`, so that it does not come up here.
            Decision::Ask(..) => Ok(None),
        }
    }

    /// Looks where the branch is, and fetches what has to do with us. `None` when there is nothing to go by yet.
    async fn look(&mut self, course: &mut Course<'_>) -> Result<Option<Look>, Setback> {
        self.remote.may_begin_anew();
        let push_follows = course.operation.changes() && course.waiting.since.is_none();
        let fetch_anyway = std::mem::take(&mut course.fetch_anyway);
        let in_line = course.lines.first().filter(|_| !fetch_anyway);
        let depth = match course.claim.offered() {
            // As many changes may have been made with ours as others stand there.
            Some(_) => course.depth.max(Depth::FEW.and(course.branch.crowd())),
            None => course.depth,
        };
        let (branch, clock) = (&course.branch, seconds_since_1970());
        let (lines, lookout) = (&course.lines, &course.lookout);
        // What we would push on is out of date once those have pushed who come first.
        let may_go_without = course.last.is_some() && !fetch_anyway;
        let interest = |listing: &Listing| {
            // Only who stands at the branch brings anybody along, or waits for those before him.
            let branch = branch.has_ticket().then(|| {
                let mut branch = branch.clone();
                branch.observe(listing.besides.iter(), clock);
                branch
            });
            let branch = branch.as_ref().filter(|branch| branch.has_ticket());
            let before = branch.map_or(0, BranchLine::before);
            let offers = branch.into_iter().flat_map(|it| it.offers(listing.head));
            let offers: Vec<Oid> = offers.map(|(at, _)| at).collect();
            // Whose ticket is there, his offer has not been carried out; else the history tells.
            let waits = before > 0 && branch.is_some_and(BranchLine::is_seen);
            let needs_head = course.claim.may_be_along(listing.head) && !waits;
            if may_go_without && branch.is_some() && !needs_head {
                let grows = course.gathering.grows(listing.head, offers.len());
                if before > 0 || grows {
                    return Interest::Nothing;
                }
            }
            let interest = match in_line {
                Some(queue) => {
                    let all = lines.interest(listing, depth);
                    lookout.interest(all, listing, queue, depth)
                }
                None => Interest::Head(depth, Vec::new()),
            };
            match interest {
                Interest::Head(depth, more) => {
                    Interest::Head(depth, more.into_iter().chain(offers).collect())
                }
                Interest::Nothing if needs_head => Interest::Head(depth, offers),
                Interest::Nothing => Interest::Nothing,
            }
        };
        let began = Instant::now();
        let looked = self.read(async |remote| remote.look(push_follows, &interest).await);
        let (listing, snapshot) = Box::pin(looked).await?;
        if course.lines.first().is_some() {
            let store = self.remote.store();
            let said = |commit| Said::in_store(store, commit);
            course.lines.observe(&listing, &said, began.elapsed());
            if course.waiting.since.is_some() {
                course.lookout.observe(&listing, &said);
            }
        }
        course.branch.observe(listing.besides.iter(), clock);
        course.last = snapshot.or(course.last);
        let offers = course.branch.offers(listing.head).count();
        let place = course.branch.place();
        let grows = course.gathering.grows(listing.head, offers);
        course.gathering.note(listing.head, offers, place);
        Ok(course.last.map(|last| Look {
            head: listing.head,
            snapshot: last,
            is_kept: snapshot.is_none(),
            gathers: place == Some(0) && grows,
        }))
    }

    /// Fetches the metadata that a decision had to do without, and says whether it is to be made anew.
    async fn fetch_missed(&mut self, course: &mut Course<'_>) -> Result<bool, FaultError> {
        let missed = self.remote.store().take_missed();
        if missed.is_empty() {
            return Ok(false);
        }
        self.read(async |remote| remote.fetch_files(&missed).await)
            .await?;
        course.fetch_anyway = true;
        Ok(true)
    }

    /// Publishes a change; `None` when somebody else was faster.
    async fn change(
        &mut self,
        snapshot: &Snapshot,
        change: Change,
        course: &mut Course<'_>,
    ) -> Result<Option<Outcome>, Setback> {
        let waited = course.waiting.since.map(|since| since.elapsed());
        let history = self.remote.history(snapshot);
        let held_before = change
            .locks
            .first()
            .filter(|_| match change.verb {
                Verb::Claiming => waited.is_some(),
                verb => verb == Verb::Unclaiming || verb == Verb::Removing,
            })
            .and_then(|lock| {
                let holder = Holder::of(&history, &self.pool, lock, None);
                holder.ok().flatten()
            });
        if let (Verb::Renewing, Some(claim)) = (change.verb, change.right.claim()) {
            course.lease_end = self.lease_of(&history, &change.locks, claim)?;
        }
        self.meter.note_change(&history, &self.pool, &change);
        let began = Instant::now();
        match self.publish(snapshot, None, &change, course).await? {
            Published::Landed(commit) => match change.shortfall {
                Some(shortfall) => Err(shortfall.into()),
                None => Ok(Some(Outcome {
                    commit,
                    locks: change.locks,
                    number: None,
                    done_now: true,
                    waited,
                    place_at_arrival: course.waiting.place_at_arrival,
                    held_before_by: held_before.map(|holder| holder.who),
                    given_back: None,
                })),
            },
            Published::BroughtAlong => {
                course.fetch_anyway = true;
                Ok(None)
            }
            Published::Overtaken(no) => {
                // Words that are not known may be those of a lost race, or a No that is for good. Which it is shows when no
                // race was to be lost any more.
                match no.filter(|no| of_ref(&no.reason) == Kind::Other) {
                    Some(no) if course.declined >= PATIENCE_FOR_UNKNOWN_WORDS => {
                        let subject = change.verb.as_str().to_owned();
                        return Err(self.rejected(subject, no).into());
                    }
                    Some(_) => {
                        course.declined += 1;
                        self.remote.be_wary();
                    }
                    None => course.declined = 0,
                }
                course.races += 1;
                course.gathering.lost(began.elapsed());
                self.trouble = match course.races {
                    1 => "others changed the branch first".to_owned(),
                    races => format!("others changed the branch first, {races} times in a row"),
                };
                self.meter.lost_race();
                course.lines.note_overtaken();
                // Where several are at it, an order among them spares them most of the races.
                if course.branch.has_ticket() {
                    // He loses all the same, to somebody who knows of no line or by a view that is behind.
                    self.rest_after_race(course).await?;
                } else if self.may_be_offered(&change, course) {
                    // What is offered is decided on where the branch is now.
                    course.queues_next = true;
                } else {
                    self.queue_at_branch(course, snapshot.commit, None).await?;
                    self.wait_elsewhere(course).await?;
                }
                Ok(None)
            }
        }
    }

    /// Takes a place at the branch, which is at `head`, for a change that was decided on at a snapshot, and offers it.
    async fn stand_at_branch(
        &mut self,
        snapshot: &Snapshot,
        head: Oid,
        change: &Change,
        decided: &Decided,
        course: &mut Course<'_>,
    ) -> Result<(), AttemptError> {
        let offer = match snapshot.commit == head {
            true => self.offer(snapshot, change, decided, course)?,
            false => None,
        };
        self.queue_at_branch(course, head, offer).await
    }

    /// Waits in the lines of the pools where there is no place at the branch.
    async fn wait_elsewhere(&mut self, course: &mut Course<'_>) -> Result<(), AttemptError> {
        if course.branch.has_ticket() {
            // By that it is told when to push.
            return Ok(());
        }
        self.take_ticket(&mut course.lines).await?;
        self.rest_after_race(course).await
    }

    /// Pauses after a race that was lost, and will be again: not to go on as fast as the server answers.
    async fn rest_after_race(&mut self, course: &mut Course<'_>) -> Result<(), AttemptError> {
        let pause = course.lost_races.next().unwrap_or_default();
        self.rest(pause, &mut course.lines).await
    }

    /// What comes of it that somebody has brought our claim along.
    fn outcome_along(&self, commit: Oid, locks: Vec<LockName>, course: &Course<'_>) -> Outcome {
        Outcome {
            waited: course.waiting.since.map(|since| since.elapsed()),
            done_now: true,
            place_at_arrival: course.waiting.place_at_arrival,
            ..Outcome::new(commit, locks)
        }
    }
}

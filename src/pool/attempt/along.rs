//! Going along: a claim that is offered to whoever pushes next (see [`crate::line::offer`]), and what others have offered.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::claim::{OurClaim, Pending};
use super::course::{Course, Setback};
use super::facts::{Decided, fitting_ones};
use super::land::{Along, BETWEEN_LOOKS, found};
use super::landing::Seen;
use super::publish::new_request;
use super::{Attempt, AttemptError, next_number, read_pool};
use crate::ledger;
use crate::line::offer::{MOST_LOCKS, Offer};
use crate::lock::{LockName, PoolName};
use crate::marker::Marked;
use crate::message::{self, Verb};
use crate::operation::{Operation, Right};
use crate::rules::{Change, Decision, Facts, Pool, State, decide};
use git::object::Oid;
use git::{Depth, HistoryError, Note, Pack, Snapshot, StoreError};
use pace::pause_unless_stopped;

impl Attempt<'_> {
    /// What can be offered of a change that was decided on at a snapshot, to whoever pushes onto that: the claim of one lock of
    /// our pool. `None` where nobody else can do it for us.
    pub(super) fn offer(
        &mut self,
        snapshot: &Snapshot,
        change: &Change,
        decided: &Decided,
        course: &Course<'_>,
    ) -> Result<Option<Offer>, StoreError> {
        let [lock] = &change.locks[..] else {
            return Ok(None);
        };
        if !self.may_be_offered(change, course) || course.claim.may_stand().is_some() {
            return Ok(None);
        }
        let lease = self.lease(snapshot, change.verb, course.lease_end)?;
        let lease = lease.map(|end| (message::LEASE, end));
        let more = lease.into_iter().chain(self.tale(change, course)).collect();
        let trailers = self.trailers(change, new_request(), more).into_iter();
        Ok(Some(Offer {
            base: snapshot.commit,
            pool: self.pool.clone(),
            locks: self.choice(snapshot, lock, decided.is_open, course)?,
            origin: self.origin.clone(),
            committer: (self.identity.name.clone(), self.identity.email.clone()),
            trailers: trailers
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
        }))
    }

    /// Whether a change is the claim of one lock of our pool, and in nobody's name but that of all who commit.
    pub(super) fn may_be_offered(&self, change: &Change, course: &Course<'_>) -> bool {
        change.verb == Verb::Claiming
            && change.right == Right::Trust
            && change.shortfall.is_none()
            && change.locks.iter().all(|lock| lock.pool().is_none())
            && takes_one(course.operation)
            && self.identity.signer.is_none()
    }

    /// The locks of which one will do as well as this one: first itself, and then those after it, in their order. So several who
    /// choose at once seldom want the same.
    fn choice(
        &self,
        snapshot: &Snapshot,
        first: &LockName,
        is_open: bool,
        course: &Course<'_>,
    ) -> Result<Vec<(LockName, Oid)>, StoreError> {
        let Some(pool) = self.pools_of(snapshot, &[])? else {
            return Ok(Vec::new());
        };
        let fitting = match course.operation {
            Operation::Acquire(want) if is_open => fitting_ones(&pool, want, self.fitting(&pool)),
            _ => Some(BTreeSet::from([first.clone()])),
        };
        let fits = |lock: &LockName| {
            fitting
                .as_ref()
                .is_none_or(|fitting| fitting.contains(lock))
        };
        let free = pool.locks().filter_map(|(lock, state)| match state {
            State::Unclaimed(entry) => Some((lock.clone(), entry.id)),
            State::Claimed(_) | State::Damaged(_) => None,
        });
        let mut free: Vec<(LockName, Oid)> = free.filter(|(lock, _)| fits(lock)).collect();
        let at = free.iter().position(|(lock, _)| lock == first);
        free.rotate_left(at.unwrap_or_default());
        free.truncate(MOST_LOCKS);
        Ok(free)
    }

    /// Makes the commit that an offer is on the server; gives it and the objects that the server needs for it.
    pub(super) fn make_offer(
        &self,
        offer: &Offer,
        time: u64,
    ) -> Result<(Oid, Vec<Oid>), StoreError> {
        self.remote.store().make_note(&Note {
            after: None,
            message: &offer.compose(),
            identity: &self.identity,
            time,
        })
    }

    /// From now on somebody else may claim for us what is offered, which is the commit `at`.
    pub(super) fn is_offered(&mut self, offer: Offer, at: Oid, course: &mut Course<'_>) {
        let locks: Vec<LockName> = offer.locks.iter().map(|(lock, _)| lock.clone()).collect();
        let marker = self.mark(&Marked {
            locks: locks.clone(),
            verb: Verb::Claiming,
            base: offer.base,
            commit: at,
            objects: vec![at],
            ending: false,
            pack: offer.compose().into_bytes(),
        });
        course.claim.is_over();
        let pending = Pending {
            locks,
            verb: Verb::Claiming,
            base: offer.base,
            commit: at,
            objects: Vec::new(),
            left: None,
            offer: Some(Box::new(offer)),
        };
        course.claim = OurClaim::MayStand(pending, marker);
    }

    /// What has become of our offer, once the branch has left the commit that it was made on: the claim that somebody has made of
    /// it, and its locks; or `None`, and then nobody ever will.
    pub(super) async fn brought_along(
        &mut self,
        snapshot: &Snapshot,
        course: &mut Course<'_>,
    ) -> Result<Option<(Oid, Vec<LockName>)>, Setback> {
        let Some(pending) = course.claim.may_stand().cloned() else {
            return Ok(None);
        };
        let Some(offer) = pending.offer.as_ref() else {
            return Ok(None);
        };
        let history = self.remote.history(snapshot);
        let at = match history.since(offer.base)? {
            Some(_) => found(&history, offer.base, pending.commit, pending.request())?,
            // It was rewound, or is read from where it is behind.
            None => {
                let (base, request) = (offer.base, Some(offer.request()));
                match self.whereabouts(base, pending.commit, request).await? {
                    (Seen::Ours, at) if self.remote.history(snapshot).since(at)?.is_some() => {
                        Some(at)
                    }
                    (Seen::Ours | Seen::Unmoved, _) => {
                        pause_unless_stopped(BETWEEN_LOOKS, &self.stop).await?;
                        return Err(Setback::Behind);
                    }
                    (Seen::MovedOn | Seen::Rewound, _) => None,
                }
            }
        };
        let Some(commit) = at else {
            course.claim.is_over();
            return Ok(None);
        };
        let locks = self.claimed_by(snapshot, commit)?;
        if locks.is_empty() {
            // Whoever made that made no claim of it, and nobody ever will.
            course.claim.is_over();
            return Ok(None);
        }
        course.claim.is_sent(Pending {
            locks: locks.clone(),
            commit,
            offer: None,
            ..pending
        });
        Ok(Some((commit, locks)))
    }

    /// Which locks of our pool a commit has claimed: whoever makes a commit of what is offered may choose another one than we do.
    fn claimed_by(&self, snapshot: &Snapshot, commit: Oid) -> Result<Vec<LockName>, HistoryError> {
        let history = self.remote.history(snapshot);
        let moved = ledger::moved_by(&history, &self.pool, commit)?.into_iter();
        let claimed = moved.filter(|moved| moved.is_claim && moved.commit == commit);
        Ok(claimed.map(|moved| moved.lock).collect())
    }

    /// The same for one that is on the branch, as far back as that is.
    pub(super) async fn claimed_since(
        &mut self,
        commit: Oid,
    ) -> Result<Vec<LockName>, AttemptError> {
        self.ask_history(|attempt, snapshot| {
            attempt.remote.history(snapshot).since(commit)?;
            attempt.claimed_by(snapshot, commit)
        })
        .await
    }

    /// Makes the commit that an offer asks for at the snapshot that it was made on; gives the change, the commit and its objects. `None`
    /// where none of its locks is free there.
    pub(super) fn claim_offered(
        &self,
        snapshot: &Snapshot,
        offer: &Offer,
    ) -> Result<Option<(Change, Oid, Vec<Oid>)>, StoreError> {
        let pool = self.pools_of(snapshot, &[])?;
        let change = pool.and_then(|pool| change_of(&pool, offer, &HashSet::new()));
        let Some(change) = change else {
            return Ok(None);
        };
        let (commit, objects) = self.commit_of(snapshot.commit, &change, offer)?;
        Ok(Some((change, commit, objects)))
    }

    /// Makes commits of what those behind us have offered, on top of ours, which has this request and these objects; `None` where
    /// they offer nothing. Nobody's step fails for what is wrong with an offer.
    pub(super) fn along(
        &self,
        base: Oid,
        (ours, request, objects): (Oid, &str, &[Oid]),
        course: &Course<'_>,
    ) -> Option<Along> {
        if course.goes_alone {
            return None;
        }
        // What was offered twice, be it by another run of a step, is claimed once.
        let mut requests = HashSet::from([request.to_owned()]);
        let step = self
            .step
            .as_ref()
            .map(|step| (self.pool.clone(), step.clone()));
        let mut steps: HashSet<(PoolName, String)> = step.into_iter().collect();
        let mut pools: BTreeMap<PoolName, Option<Pool>> = BTreeMap::new();
        let mut taken: BTreeMap<PoolName, HashSet<LockName>> = BTreeMap::new();
        let mut objects = objects.to_vec();
        let (mut tip, mut tickets) = (ours, Vec::new());
        for (at, ticket) in course.branch.offers(base) {
            // What is not here was moved or taken away.
            let Ok(Some(note)) = self.remote.store().commit(at) else {
                continue;
            };
            let offer = Offer::parse(&note.message);
            let Some(offer) =
                offer.filter(|offer| offer.base == base && offer.is_of(&self.identity))
            else {
                continue;
            };
            let step = offer
                .step()
                .map(|step| (offer.pool.clone(), step.to_owned()));
            if requests.contains(offer.request())
                || step.as_ref().is_some_and(|step| steps.contains(step))
            {
                continue;
            }
            let pool = pools.entry(offer.pool.clone()).or_insert_with(|| {
                let here = Snapshot {
                    commit: ours,
                    depth: Depth::HEAD,
                };
                read_pool(&self.remote, &here, &offer.pool).ok().flatten()
            });
            let taken = taken.entry(offer.pool.clone()).or_default();
            let change = pool
                .as_ref()
                .and_then(|pool| change_of(pool, &offer, taken));
            let Some(change) = change else {
                continue;
            };
            let Ok((commit, made)) = self.commit_of(tip, &change, &offer) else {
                continue;
            };
            requests.insert(offer.request().to_owned());
            steps.extend(step);
            taken.extend(change.locks);
            objects.extend(made);
            tickets.push(ticket);
            tip = commit;
        }
        (tip != ours).then_some(Along {
            tip,
            pack: Pack::Of(objects),
            tickets,
        })
    }

    /// Makes the commit of what somebody has offered.
    fn commit_of(
        &self,
        parent: Oid,
        change: &Change,
        offer: &Offer,
    ) -> Result<(Oid, Vec<Oid>), StoreError> {
        let message = offer.message(&change.locks, next_number(&self.remote, parent)?);
        let store = self.remote.store();
        store.make_commit(parent, &change.edits, &message, &self.identity)
    }
}

/// Whether an operation claims one lock of our pool, whatever becomes of the others.
fn takes_one(operation: &Operation) -> bool {
    match operation {
        Operation::Claim(_) => true,
        Operation::Acquire(want) => !want.all && want.count.get() == 1,
        _ => false,
    }
}

/// The claim of the first of the offered locks that is free and has not been `taken` yet.
fn change_of(pool: &Pool, offer: &Offer, taken: &HashSet<LockName>) -> Option<Change> {
    let is_free = |(lock, content): &&(LockName, Oid)| {
        let is_as_offered =
            matches!(pool.state(lock), Some(State::Unclaimed(entry)) if entry.id == *content);
        is_as_offered && !taken.contains(lock)
    };
    let (lock, _) = offer.locks.iter().find(is_free)?;
    match decide(pool, &Operation::Claim(lock.clone()), &Facts::default(), 0) {
        Decision::Change(change) => Some(change),
        _ => None,
    }
}

impl OurClaim {
    /// Whether the branch has to be looked at for what has become of an offer, given where it is.
    pub fn may_be_along(&self, head: Oid) -> bool {
        self.offered().is_some_and(|offer| offer.base != head)
    }
}

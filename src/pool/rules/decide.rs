//! What an operation may do to a pool.

use super::{Change, Damage, Decision, Facts, Pool, Refusal, Since, State, Turn, Wait, of};
use crate::ledger::Fate;
use crate::lock::{ClaimId, Holding, LockName, PoolName};
use crate::message::Verb;
use crate::operation::{Operation, Part, Right, Want};
use git::object::{Content, Edit, Entry};

/// Says what is to be done for `operation` on `pool`.
///
/// `facts` has what an earlier [`Decision::Ask`] asked for, and whose turn it is. `draw` is any number; where the turn is
/// open it picks among the free locks, so that several who acquire at once seldom want the same.
pub fn decide(pool: &Pool, operation: &Operation, facts: &Facts, draw: u64) -> Decision {
    if let Some((lock, holder)) = facts.others.first_key_value() {
        return Decision::Refuse(Refusal::NotOwn {
            lock: lock.clone(),
            holder: holder.clone(),
        });
    }
    if let Some((locks, claim)) = operation.claim_to_prove() {
        let Some(fates) = &facts.fates else {
            return Decision::Ask(locks.to_vec(), claim);
        };
        let fate = |lock: &LockName| fates.get(lock).copied().unwrap_or(Fate::NotAClaim);
        let without_right =
            |lock: &LockName| without_right(pool, operation, lock, claim, fate(lock));
        if let Operation::Release { right, reason, .. } = operation {
            return release(pool, locks, *right, reason.as_deref(), without_right);
        }
        let verdicts = locks.iter().filter_map(without_right);
        if let Some(verdict) = verdicts.into_iter().next() {
            return verdict;
        }
    }
    match operation {
        Operation::Acquire(want) => acquire(pool, want, facts, draw),
        Operation::AcquireEach(parts) => together(decide_each(pool, parts, facts, draw)),
        Operation::Claim(lock) => match pool.state(lock) {
            Some(State::Unclaimed(entry)) => when_it_is_our_turn(lock, &facts.turn, || {
                Decision::Change(pool.move_to(Holding::Claimed, &[(lock, entry)], Right::Trust))
            }),
            Some(State::Claimed(_)) => Decision::Wait(Wait::Held(lock.clone())),
            Some(State::Damaged(damage)) => refuse_damaged(lock, damage),
            None => Decision::Wait(Wait::Missing {
                lock: lock.clone(),
                like: pool.like(lock),
            }),
        },
        Operation::Release {
            locks,
            right,
            reason,
        } => release(pool, locks, *right, reason.as_deref(), |_| None),
        Operation::ReleaseOwn => release_own(pool, &facts.own),
        // The tree stays as it is, even where a folder lacks its `.gitkeep`: that is how a renewal is known.
        Operation::Renew { locks, claim } => Decision::Change(Change {
            verb: Verb::Renewing,
            locks: locks.clone(),
            edits: Vec::new(),
            right: Right::Claim(*claim),
            also_ends: Vec::new(),
            reason: None,
            shortfall: None,
        }),
        Operation::Add {
            lock,
            content,
            holding,
        } => {
            let (state, entry) = match pool.state(lock) {
                None => return pool.add(lock, content, *holding),
                Some(State::Damaged(damage)) => return refuse_damaged(lock, damage),
                Some(State::Claimed(entry)) => (Holding::Claimed, entry),
                Some(State::Unclaimed(entry)) => (Holding::Unclaimed, entry),
            };
            let same = entry.id == content.id();
            // A lock that is held is somebody's: who adds one as held must not be given his claim.
            if same && state == *holding && state == Holding::Unclaimed {
                Decision::Done(vec![lock.clone()], Since::LastTouch)
            } else {
                Decision::Refuse(Refusal::Exists {
                    lock: lock.clone(),
                    state,
                    same,
                })
            }
        }
        Operation::Remove { lock, claim } => match pool.state(lock) {
            Some(State::Claimed(_)) => Decision::Change(pool.change(
                Verb::Removing,
                std::slice::from_ref(lock),
                vec![pool.delete(Holding::Claimed, lock)],
                Right::of(*claim),
            )),
            Some(State::Damaged(Damage::InBoth { .. })) => {
                let both = [Holding::Claimed, Holding::Unclaimed]
                    .map(|holding| pool.delete(holding, lock));
                Decision::Change(pool.change(
                    Verb::Removing,
                    std::slice::from_ref(lock),
                    both.into(),
                    Right::of(*claim),
                ))
            }
            Some(State::Unclaimed(_)) => Decision::Refuse(Refusal::NotClaimed(lock.clone())),
            Some(State::Damaged(damage)) => refuse_damaged(lock, damage),
            None => pool.missing(lock),
        },
        Operation::Update {
            lock,
            content,
            claim,
        } => update(pool, lock, content, *claim, &facts.turn),
        Operation::Move { lock, to } => move_to_pool(pool, lock, to, facts.destination.as_ref()),
        Operation::AwaitUnclaimed(lock) => match pool.state(lock) {
            Some(State::Unclaimed(_)) => Decision::Done(vec![lock.clone()], Since::LastTouch),
            Some(State::Claimed(_)) => Decision::Wait(Wait::Held(lock.clone())),
            Some(State::Damaged(damage)) => refuse_damaged(lock, damage),
            None => pool.missing(lock),
        },
        Operation::AwaitClaimed(lock) => match pool.state(lock) {
            Some(State::Claimed(_)) => Decision::Done(vec![lock.clone()], Since::LastTouch),
            Some(State::Unclaimed(_)) => Decision::Wait(Wait::Free(lock.clone())),
            Some(State::Damaged(damage)) => refuse_damaged(lock, damage),
            None => pool.missing(lock),
        },
    }
}

/// The answer for one whose claim does not stand, or not as he saw it; `None` when it does.
fn without_right(
    pool: &Pool,
    operation: &Operation,
    lock: &LockName,
    claim: ClaimId,
    fate: Fate,
) -> Option<Decision> {
    let state = pool.state(lock);
    let stale_since = match operation {
        Operation::Release {
            right: Right::Stale { last_sign, .. } | Right::Operator { last_sign, .. },
            ..
        } => Some(*last_sign),
        _ => None,
    };
    match fate {
        Fate::Stands { last_sign } if stale_since.is_some_and(|since| since != last_sign) => {
            Some(Decision::Refuse(Refusal::Renewed {
                lock: lock.clone(),
                claim,
                by: last_sign,
            }))
        }
        Fate::Stands { .. } => None,
        Fate::NotAClaim => Some(Decision::Refuse(Refusal::NotAClaim {
            lock: lock.clone(),
            claim,
        })),
        // It was not ours, so that there is nothing that we could have done already.
        Fate::Ended { by, .. } if stale_since.is_some() => {
            Some(Decision::Refuse(Refusal::ClaimEnded {
                lock: lock.clone(),
                claim,
                ended: by,
                held: matches!(state, Some(State::Claimed(_))),
            }))
        }
        // Whoever ended it showed this very claim: it was us, in an earlier run. What is to be removed must be gone.
        Fate::Ended { by, proven: true }
            if matches!(operation, Operation::Release { .. })
                || (matches!(operation, Operation::Remove { .. }) && state.is_none()) =>
        {
            Some(Decision::Done(vec![lock.clone()], Since::Commit(by)))
        }
        // Someone else released it for us, which is what was wanted.
        Fate::Ended { by, .. }
            if matches!(operation, Operation::Release { .. })
                && matches!(state, Some(State::Unclaimed(_))) =>
        {
            Some(Decision::Done(vec![lock.clone()], Since::Commit(by)))
        }
        Fate::Ended { by, .. } => Some(Decision::Refuse(Refusal::ClaimEnded {
            lock: lock.clone(),
            claim,
            ended: by,
            held: matches!(state, Some(State::Claimed(_))),
        })),
    }
}

/// Frees those of the locks for which `verdict` has none; what it says of the others comes after that.
fn release(
    pool: &Pool,
    locks: &[LockName],
    right: Right,
    reason: Option<&str>,
    verdict: impl Fn(&LockName) -> Option<Decision>,
) -> Decision {
    let mut freed = Vec::new();
    let mut done: Option<Decision> = None;
    let mut refused = None;
    for lock in locks {
        let decision = verdict(lock).unwrap_or_else(|| match pool.state(lock) {
            Some(State::Claimed(entry)) => {
                freed.push((lock, entry));
                Decision::Done(Vec::new(), Since::LastTouch)
            }
            Some(State::Unclaimed(_)) => Decision::Refuse(Refusal::NotClaimed(lock.clone())),
            Some(State::Damaged(damage)) => refuse_damaged(lock, damage),
            None => pool.missing(lock),
        });
        match decision {
            Decision::Refuse(refusal) => refused = refused.or(Some(refusal)),
            Decision::Done(locks, since) => match &mut done {
                Some(Decision::Done(all, _)) => all.extend(locks),
                _ => done = Some(Decision::Done(locks, since)),
            },
            other => return other,
        }
    }
    if !freed.is_empty() {
        let mut change = pool.move_to(Holding::Unclaimed, &freed, right);
        change.reason = reason.map(str::to_owned);
        change.shortfall = refused;
        return Decision::Change(change);
    }
    match (refused, done) {
        (None, Some(done)) => done,
        (Some(refusal), _) => Decision::Refuse(refusal),
        (None, None) => Decision::Done(Vec::new(), Since::LastTouch),
    }
}

/// Frees these locks in one commit that shows all of their claims.
fn release_own(pool: &Pool, own: &[(LockName, ClaimId)]) -> Decision {
    let Some((_, first)) = own.first() else {
        return Decision::Done(Vec::new(), Since::Settled);
    };
    let locks: Vec<LockName> = own.iter().map(|(lock, _)| lock.clone()).collect();
    let mut decision = release(pool, &locks, Right::Claim(*first), None, |_| None);
    if let Decision::Change(change) = &mut decision {
        let mut claims: Vec<ClaimId> = Vec::new();
        let ended = own.iter().filter(|(lock, _)| change.locks.contains(lock));
        for (_, claim) in ended {
            if !claims.contains(claim) {
                claims.push(*claim);
            }
        }
        let mut claims = claims.into_iter();
        change.right = Right::of(claims.next());
        change.also_ends = claims.collect();
    }
    decision
}

/// Takes a free lock to another pool. Its subject is that of an addition, which is what whoever reads the other pool's
/// versions has to know of it; the versions of this one are read from the tree, in which the lock is gone.
fn move_to_pool(
    pool: &Pool,
    lock: &LockName,
    to: &PoolName,
    destination: Option<&Pool>,
) -> Decision {
    let entry = match pool.state(lock) {
        Some(State::Unclaimed(entry)) => entry,
        Some(State::Claimed(_)) => {
            return Decision::Refuse(Refusal::Claimed { lock: lock.clone() });
        }
        Some(State::Damaged(damage)) => return refuse_damaged(lock, damage),
        None => return pool.missing(lock),
    };
    let there = destination.is_some_and(|pool| pool.state(lock).is_some());
    if there || *to == pool.name {
        return Decision::Refuse(Refusal::ThereAlready {
            lock: lock.clone(),
            pool: to.clone(),
        });
    }
    let mut edits = vec![
        Edit::Set {
            path: to.file(Holding::Unclaimed, lock),
            entry,
        },
        pool.delete(Holding::Unclaimed, lock),
    ];
    edits.extend(destination.map(Pool::keeps).unwrap_or_default());
    let locks = std::slice::from_ref(lock);
    let mut change = pool.change(Verb::AddingUnclaimed, locks, edits, Right::Trust);
    change.reason = Some(format!("moved from the pool {} to {to}", pool.name));
    Decision::Change(change)
}

/// What is to be done for each of several pools, as if it were alone; with the names of locks as they are seen from `pool`.
pub fn decide_each(pool: &Pool, parts: &[Part], facts: &Facts, draw: u64) -> Vec<Decision> {
    let nothing = Facts::default();
    let decided = parts.iter().enumerate().map(|(n, part)| {
        let Some(there) = pool.part(&part.pool) else {
            return Decision::Refuse(Refusal::NeverEnough {
                pool: part.pool.clone(),
                wanted: part.want.count.get(),
                there: 0,
                conditions: false,
            });
        };
        let facts = facts.each.get(n).unwrap_or(&nothing);
        let decision = match &part.want.among[..] {
            [lock] if !part.want.all => decide(there, &Operation::Claim(lock.clone()), facts, draw),
            _ => acquire(there, &part.want, facts, draw),
        };
        match decision {
            Decision::Change(change) => Decision::Change(Change {
                locks: of(&change.locks, &part.pool, &pool.name),
                ..change
            }),
            Decision::Wait(wait) => Decision::Wait(wait.seen_from(&part.pool, &pool.name)),
            Decision::Refuse(Refusal::Damaged { lock, damage }) => {
                let lock = lock.of(&part.pool, &pool.name);
                refuse_damaged(&lock, damage)
            }
            other => other,
        }
    });
    decided.collect()
}

/// All of it in one change, or nothing: what may not be done comes before what is waited for.
fn together(decided: Vec<Decision>) -> Decision {
    let rank = |decision: &Decision| match decision {
        Decision::Refuse(_) => 0,
        Decision::Wait(_) => 1,
        _ => 2,
    };
    let mut whole: Option<Change> = None;
    let mut hindered: Option<Decision> = None;
    for decision in decided {
        match decision {
            Decision::Change(change) => match &mut whole {
                None => whole = Some(change),
                Some(whole) => {
                    whole.locks.extend(change.locks);
                    whole.edits.extend(change.edits);
                }
            },
            other
                if hindered
                    .as_ref()
                    .is_none_or(|first| rank(&other) < rank(first)) =>
            {
                hindered = Some(other);
            }
            _ => {}
        }
    }
    match (hindered, whole) {
        (Some(decision), _) => decision,
        (None, Some(change)) => Decision::Change(change),
        (None, None) => Decision::Done(Vec::new(), Since::LastTouch),
    }
}

fn acquire(pool: &Pool, want: &Want, facts: &Facts, draw: u64) -> Decision {
    let fits = |lock: &LockName| {
        let fitting = facts.fitting.as_ref();
        fitting.is_none_or(|fitting| fitting.contains(lock))
    };
    let mut free: Vec<(&LockName, Entry)> = Vec::new();
    let (mut claimed, mut damaged) = (Vec::new(), Vec::new());
    for (lock, state) in pool.locks().filter(|(lock, _)| fits(lock)) {
        match state {
            State::Unclaimed(entry) => free.push((lock, entry)),
            State::Claimed(_) => claimed.push(lock.clone()),
            State::Damaged(Damage::InBoth { .. }) => damaged.push(lock.clone()),
            State::Damaged(Damage::NotAFile(_)) => {}
        }
    }
    for lock in &want.among {
        match pool.state(lock) {
            None => return pool.missing(lock),
            Some(State::Damaged(damage)) => return refuse_damaged(lock, damage),
            Some(State::Claimed(_) | State::Unclaimed(_)) => {}
        }
    }
    let there = free.len() + claimed.len() + damaged.len();
    let wanted = match want.all {
        true => there.max(1),
        false => want.count.get(),
    };
    let conditions = !want.conditions.is_empty();
    // A pool that is empty may be about to be filled; one with locks that will not do would be waited for in vain.
    if there < wanted && (conditions || wanted > 1) {
        return Decision::Refuse(Refusal::NeverEnough {
            pool: pool.name.clone(),
            wanted,
            there,
            conditions,
        });
    }
    let taken: Vec<(&LockName, Entry)> = match &facts.turn {
        Turn::Ours(ours) => {
            free.retain(|(lock, _)| ours.contains(lock));
            free
        }
        Turn::Theirs { ahead } if !free.is_empty() => {
            return Decision::Wait(Wait::Turn {
                free: free.into_iter().map(|(lock, _)| lock.clone()).collect(),
                ahead: *ahead,
            });
        }
        Turn::Open | Turn::Theirs { .. } if free.len() < wanted => free,
        Turn::Open | Turn::Theirs { .. } => {
            // A usize holds at most 64 bits, and the remainder is smaller than the length.
            let first = draw.checked_rem(free.len() as u64).unwrap_or_default() as usize;
            free.rotate_left(first);
            free.truncate(wanted);
            free.sort_by_key(|(lock, _)| *lock);
            free
        }
    };
    if taken.len() >= wanted {
        return Decision::Change(pool.move_to(Holding::Claimed, &taken, Right::Trust));
    }
    Decision::Wait(if taken.is_empty() {
        Wait::NoneFree { claimed, damaged }
    } else {
        Wait::TooFewFree {
            free: taken.len(),
            wanted,
            claimed,
        }
    })
}

fn update(
    pool: &Pool,
    lock: &LockName,
    content: &Content,
    claim: Option<ClaimId>,
    turn: &Turn,
) -> Decision {
    let locks = std::slice::from_ref(lock);
    let (holding, entry) = match pool.state(lock) {
        None => return pool.add(lock, content, Holding::Unclaimed),
        Some(State::Unclaimed(entry)) => (Holding::Unclaimed, entry),
        // The holder may change what it holds.
        Some(State::Claimed(entry)) if claim.is_some() => (Holding::Claimed, entry),
        Some(State::Claimed(_)) => return Decision::Wait(Wait::Held(lock.clone())),
        Some(State::Damaged(Damage::InBoth { mode })) => {
            let edits = vec![
                pool.write(Holding::Unclaimed, lock, mode, content),
                pool.delete(Holding::Claimed, lock),
            ];
            return Decision::Change(pool.change(Verb::Updating, locks, edits, Right::of(claim)));
        }
        Some(State::Damaged(damage)) => return refuse_damaged(lock, damage),
    };
    if entry.id == content.id() {
        return Decision::Done(vec![lock.clone()], Since::LastTouch);
    }
    let change = || {
        let edits = vec![pool.write(holding, lock, entry.mode, content)];
        Decision::Change(pool.change(Verb::Updating, locks, edits, Right::of(claim)))
    };
    match holding {
        Holding::Claimed => change(),
        Holding::Unclaimed => when_it_is_our_turn(lock, turn, change),
    }
}

/// The two changes by which a claim that stands makes way for a new one of the same locks: its end, and the new claim.
///
/// # Errors
/// [`Refusal`] when one of the locks is damaged, or not held.
pub fn claim_anew(
    pool: &Pool,
    operation: &Operation,
    locks: &[LockName],
    claim: ClaimId,
) -> Result<[Change; 2], Refusal> {
    let held = locks.iter().map(|lock| match pool.state(lock) {
        Some(State::Claimed(entry)) => Ok((lock, entry)),
        Some(State::Damaged(damage)) => Err(Refusal::Damaged {
            lock: lock.clone(),
            damage,
        }),
        Some(State::Unclaimed(_)) | None => Err(Refusal::NotClaimed(lock.clone())),
    });
    let held: Vec<(&LockName, Entry)> = held.collect::<Result<_, _>>()?;
    if !matches!(operation, Operation::Add { .. }) {
        return Ok([
            pool.move_to(Holding::Unclaimed, &held, Right::Claim(claim)),
            pool.move_to(Holding::Claimed, &held, Right::Trust),
        ]);
    }
    let remove = held
        .iter()
        .map(|(lock, _)| pool.delete(Holding::Claimed, lock));
    let add = held.iter().map(|(lock, entry)| Edit::Set {
        path: pool.name.file(Holding::Claimed, lock),
        entry: *entry,
    });
    Ok([
        pool.change(Verb::Removing, locks, remove.collect(), Right::Claim(claim)),
        pool.change(Verb::AddingClaimed, locks, add.collect(), Right::Trust),
    ])
}

fn when_it_is_our_turn(lock: &LockName, turn: &Turn, act: impl FnOnce() -> Decision) -> Decision {
    match turn {
        Turn::Theirs { ahead } => Decision::Wait(Wait::Turn {
            free: vec![lock.clone()],
            ahead: *ahead,
        }),
        Turn::Open | Turn::Ours(_) => act(),
    }
}

fn refuse_damaged(lock: &LockName, damage: Damage) -> Decision {
    Decision::Refuse(Refusal::Damaged {
        lock: lock.clone(),
        damage,
    })
}

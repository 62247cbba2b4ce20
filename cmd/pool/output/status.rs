//! The pools as JSON.

use std::io;
use std::time::SystemTime;

use pool::circles;
use pool::ledger::Held;
use pool::line::Need;
use pool::message;
use pool::message::who;
use pool::number;
use pool::step::{LockView, Overview, PoolView, Standing, Waiter};
use serde::Serialize;
use serde_json::Value;
use terminal::time::at;

use super::document;

#[derive(Serialize)]
struct Document<'a> {
    repository: &'a str,
    branch: &'a str,
    commit: String,
    pools: Vec<Pool<'a>>,
    /// Those who wait for each other, so that none of them ever goes on.
    circles: Vec<Circle<'a>>,
}

#[derive(Serialize)]
struct Circle<'a> {
    waiters: Vec<Member<'a>>,
    /// The one who ends it, if one does by itself.
    gives_way: Option<&'a str>,
}

#[derive(Serialize)]
struct Member<'a> {
    holder: &'a str,
    pool: &'a str,
    #[serde(flatten)]
    need: Wanted<'a>,
    since: Option<String>,
    url: Option<&'a str>,
    obstacles: Vec<Obstacle<'a>>,
}

#[derive(Serialize)]
struct Obstacle<'a> {
    lock: &'a str,
    /// Who holds it, or for whom it is kept.
    by: &'a str,
    /// `null` for a free lock that is kept for one who needs more.
    claim: Option<String>,
}

#[derive(Serialize)]
struct Pool<'a> {
    pool: &'a str,
    locks: Vec<Lock<'a>>,
    line: Vec<Waits<'a>>,
    usual_hold: Option<Usual>,
}

#[derive(Serialize)]
struct Lock<'a> {
    lock: &'a str,
    /// `free`, `claimed` or `damaged`.
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    damage: Option<String>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    held: Option<Holder>,
}

#[derive(Serialize)]
struct Holder {
    holder: String,
    claim: String,
    claim_number: Option<u64>,
    since: Option<String>,
    held_seconds: u64,
    last_sign: String,
    last_sign_at: Option<String>,
    lease_end: Option<String>,
    url: Option<String>,
    reason: Option<String>,
}

#[derive(Serialize)]
struct Waits<'a> {
    place: usize,
    holder: &'a str,
    #[serde(flatten)]
    need: Wanted<'a>,
    since: Option<String>,
    priority: i32,
    silent_seconds: Option<u64>,
    url: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Wanted<'a> {
    Lock {
        lock: &'a str,
    },
    Any {
        /// A number, or `all`.
        count: Value,
        #[serde(rename = "match")]
        conditions: Vec<String>,
    },
    Untold {},
}

#[derive(Serialize)]
struct Usual {
    median_seconds: u64,
    ninety_percent_within_seconds: u64,
}

/// The pools in one document on one line.
pub fn json(overview: &Overview, now: SystemTime) -> io::Result<String> {
    document(&Document {
        repository: &overview.remote,
        branch: &overview.branch,
        commit: overview.head.to_string(),
        pools: overview.pools.iter().map(|one| pool(one, now)).collect(),
        circles: overview.circles.iter().map(circle).collect(),
    })
}

fn circle(circle: &circles::Circle) -> Circle<'_> {
    let gives_way = circle.gives_way();
    Circle {
        waiters: circle.members.iter().map(member).collect(),
        gives_way: gives_way.map(|member| member.waiter.who.as_str()),
    }
}

fn member(member: &circles::Member) -> Member<'_> {
    let waiter = &member.waiter;
    let obstacles = member.obstacles.iter().map(|obstacle| Obstacle {
        lock: obstacle.lock.as_str(),
        by: &obstacle.holder,
        claim: obstacle.claim.map(|claim| claim.to_string()),
    });
    Member {
        holder: &waiter.who,
        pool: member.pool.as_str(),
        need: wanted(Some(&waiter.need)),
        since: i64::try_from(waiter.since).ok().map(at).and_then(time),
        url: waiter.url.as_deref(),
        obstacles: obstacles.collect(),
    }
}

fn pool(pool: &PoolView, now: SystemTime) -> Pool<'_> {
    let line = pool.line.iter().enumerate();
    Pool {
        pool: pool.name.as_str(),
        locks: pool.locks.iter().map(|one| lock(one, now)).collect(),
        line: line.map(|(n, one)| waits(n + 1, one)).collect(),
        usual_hold: pool.usual.map(|usual| Usual {
            median_seconds: usual.median.as_secs(),
            ninety_percent_within_seconds: usual.ninety.as_secs(),
        }),
    }
}

fn lock(lock: &LockView, now: SystemTime) -> Lock<'_> {
    let (state, damage, held) = match &lock.standing {
        Standing::Free => ("free", None, None),
        Standing::Held(held) => ("claimed", None, held.as_ref()),
        Standing::Damaged(damage, held) => ("damaged", Some(damage.to_string()), held.as_ref()),
    };
    Lock {
        lock: lock.name.as_str(),
        state,
        damage,
        held: held.map(|held| holder(held, now)),
    }
}

fn holder(held: &Held, now: SystemTime) -> Holder {
    Holder {
        holder: who(&held.message),
        claim: held.claim.to_string(),
        claim_number: number::of(&held.message),
        since: time(held.made),
        held_seconds: now.duration_since(held.made).unwrap_or_default().as_secs(),
        last_sign: held.last_sign.to_string(),
        last_sign_at: time(held.last_sign_at),
        lease_end: held.lease_end.and_then(time),
        url: message::build_url(&held.message),
        reason: message::trailer(&held.message, message::REASON),
    }
}

fn waits(place: usize, waiter: &Waiter) -> Waits<'_> {
    let since = waiter.since.and_then(|since| i64::try_from(since).ok());
    Waits {
        place,
        holder: &waiter.who,
        need: wanted(waiter.need.as_ref()),
        since: since.map(at).and_then(time),
        priority: waiter.priority,
        silent_seconds: waiter.silent.map(|silent| silent.as_secs()),
        url: waiter.url.as_deref(),
    }
}

fn wanted(need: Option<&Need>) -> Wanted<'_> {
    match need {
        Some(Need::Lock(lock)) => Wanted::Lock {
            lock: lock.as_str(),
        },
        Some(Need::Any(want)) => Wanted::Any {
            count: match want.all {
                true => "all".into(),
                false => want.count.get().into(),
            },
            conditions: want
                .conditions
                .iter()
                .map(|condition| condition.to_string())
                .collect(),
        },
        None => Wanted::Untold {},
    }
}

/// A moment as RFC 3339; `None` when no calendar has it.
pub fn time(time: SystemTime) -> Option<String> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    terminal::time::time(i64::try_from(since.as_secs()).ok()?)
}

//! The locks that a job holds while it runs.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::wire::{self, Span};

/// For how long a claim is good that is not renewed.
const LEASE: Duration = Duration::from_secs(10 * 60);
/// The shortest lease: one that a Git server which is busy for a moment does not bring to its end.
const SHORTEST: Duration = Duration::from_secs(3);

/// What a job holds of one pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// The pool.
    pub pool: String,
    /// Which of its locks.
    pub locks: Wanted,
    /// For how long the claim is good if the server cannot renew it.
    pub lease: Duration,
    /// How long they are waited for at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
}

/// Which locks of a pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// All of these.
    Named(Vec<String>),
    /// So many, whose metadata say this.
    Any {
        /// How many.
        count: NonZeroUsize,
        /// Texts, numbers and booleans, by keys with dots between them.
        conditions: BTreeMap<String, Json>,
    },
}

impl Wish {
    /// What entries of `locks` ask for, a wish for each pool. All jobs go to the pools in one order, so that no two wait
    /// for each other.
    pub(super) fn all(wires: Vec<wire::Lock>) -> Result<Vec<Wish>, String> {
        if wires.is_empty() {
            return Err("locks has no entry: name a pool, or leave the key out".to_owned());
        }
        let mut all: BTreeMap<String, Entry> = BTreeMap::new();
        for wire in wires {
            let (pool, entry) = read(wire)?;
            let Some(known) = all.get_mut(&pool) else {
                all.insert(pool, entry);
                continue;
            };
            match (&mut known.locks, entry.locks) {
                (Wanted::Named(names), Wanted::Named(more)) => names.extend(more),
                _ => {
                    return Err(format!(
                        "locks has the pool \"{pool}\" twice: only locks with a `name` can be asked for in several entries, and are claimed together"
                    ));
                }
            }
            known.lease = one_of(known.lease, entry.lease)
                .map_err(|()| format!("locks has two leases for the pool \"{pool}\""))?;
            known.timeout = one_of(known.timeout, entry.timeout)
                .map_err(|()| format!("locks has two timeouts for the pool \"{pool}\""))?;
        }
        let wishes = all.into_iter().map(|(pool, entry)| {
            let mut locks = entry.locks;
            if let Wanted::Named(names) = &mut locks {
                names.sort();
                names.dedup();
            }
            Wish {
                pool,
                locks,
                lease: entry.lease.unwrap_or(LEASE),
                timeout: entry.timeout,
            }
        });
        Ok(wishes.collect())
    }
}

/// What entries say of one pool.
struct Entry {
    locks: Wanted,
    lease: Option<Duration>,
    timeout: Option<Duration>,
}

/// What two entries of one pool say together; they must not contradict each other.
fn one_of(one: Option<Duration>, other: Option<Duration>) -> Result<Option<Duration>, ()> {
    match (one, other) {
        (Some(one), Some(other)) if one != other => Err(()),
        _ => Ok(one.or(other)),
    }
}

fn read(wire: wire::Lock) -> Result<(String, Entry), String> {
    let pool = wire.pool.filter(|pool| !pool.is_empty());
    let pool = pool.ok_or("locks has an entry without a `pool`")?;
    let locks = match (wire.name, wire.conditions, wire.count) {
        (Some(name), None, None) => Wanted::Named(vec![name]),
        (Some(_), _, _) => {
            return Err(format!(
                "locks of the pool \"{pool}\" has a `name`, which goes with neither `match` nor `count`"
            ));
        }
        (None, conditions, count) => Wanted::Any {
            count: match count {
                None => NonZeroUsize::MIN,
                Some(count) => usize::try_from(count.0)
                    .ok()
                    .and_then(NonZeroUsize::new)
                    .ok_or("locks has a `count` that is less than 1")?,
            },
            conditions: conditions.unwrap_or_default(),
        },
    };
    if let Wanted::Any { conditions, .. } = &locks
        && let Some((key, _)) = conditions.iter().find(|(key, value)| !fits(key, value))
    {
        return Err(format!(
            "locks has a `match` on {key:?}: keys are without `=`, values are a text, a number, true or false, each on one line"
        ));
    }
    let lease = match wire.lease {
        None => None,
        Some(Span::Of(lease)) if lease >= SHORTEST => Some(lease),
        Some(_) => return Err(format!("locks has a `lease` of less than {SHORTEST:?}")),
    };
    let timeout = match wire.timeout {
        None => None,
        Some(Span::Of(time)) if !time.is_zero() => Some(time),
        Some(_) => {
            return Err("locks has a `timeout` that is not more than 0".to_owned());
        }
    };
    let entry = Entry {
        locks,
        lease,
        timeout,
    };
    Ok((pool, entry))
}

/// Whether others can read it in the line: one condition is one line there.
fn fits(key: &str, value: &Json) -> bool {
    let is_plain = |text: &str| text.trim() == text && !text.contains(char::is_control);
    let is_value = match value {
        Json::String(text) => is_plain(text),
        Json::Number(_) | Json::Bool(_) => true,
        Json::Null | Json::Array(_) | Json::Object(_) => false,
    };
    is_value && !key.is_empty() && !key.contains('=') && is_plain(key)
}

impl fmt::Display for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.locks {
            Wanted::Named(names) => write!(f, "`{}`", names.join("`, `"))?,
            Wanted::Any { count, .. } if count.get() == 1 => f.write_str("a lock")?,
            Wanted::Any { count, .. } => write!(f, "{count} locks")?,
        }
        write!(f, " of the pool `{}`", self.pool)
    }
}

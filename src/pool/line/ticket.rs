//! A ticket as it is seen among a server's refs: its place in its name, what it stands for in its commit.

use std::num::NonZeroUsize;
use std::sync::LazyLock;
use std::time::Duration;

use super::{Need, PRIORITY_LIMIT};
use crate::lock::{ClaimId, LockName, PoolName};
use crate::matching;
use crate::message::{self, Origin};
use crate::operation::{Condition, Want, Wanted};
use git::object::{Oid, full_id};
use git::{Identity, Note};

/// What one waiter's place in the order depends on. It is the last part of the name of the ticket's ref.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PlaceName {
    /// Its number: one more than the highest there was.
    pub number: u64,
    /// How urgent it is.
    pub priority: i32,
    /// By how many steps waiting has raised that.
    pub raised: u32,
    /// What tells it from all others, for as long as it waits.
    pub id: String,
}

/// One in the line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// Its place.
    pub place: PlaceName,
    /// What it waits for.
    pub need: Need,
}

impl PlaceName {
    /// Reads the name of a ticket; `None` when it is none.
    pub fn parse(name: &str) -> Option<PlaceName> {
        let mut parts = name.splitn(4, '.');
        let place = PlaceName {
            number: parts.next()?.parse().ok()?,
            priority: parts.next()?.parse().ok()?,
            raised: parts.next()?.parse().ok()?,
            id: parts.next()?.to_owned(),
        };
        let is_ours = place.name() == name
            && (-PRIORITY_LIMIT..=PRIORITY_LIMIT).contains(&place.priority)
            && !place.id.is_empty()
            && place.id.len() <= 64
            && place
                .id
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        is_ours.then_some(place)
    }

    /// The name; those of a line sort by their numbers.
    pub fn name(&self) -> String {
        let PlaceName {
            number,
            priority,
            raised,
            id,
        } = self;
        format!("{number:010}.{priority}.{raised}.{id}")
    }
}

/// What the commit of a ticket says. The commit's own date tells when that was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TicketText {
    /// Its first line, for people: who waits for what.
    pub subject: String,
    /// The page of the build that waits.
    pub url: Option<String>,
    /// The id of that build (see [`message::BUILD`]).
    pub build: Option<String>,
    /// What is waited for.
    pub need: Need,
    /// Since when, as its own clock has it, in seconds since 1970.
    pub since: u64,
    /// The time within which its owner renews it, to show that it is there.
    pub renewal: Duration,
    /// Which step waits, if another run of it is to take over its place.
    pub step: Option<String>,
    /// The other pools of which locks are waited for together with those of this one.
    pub also: Vec<PoolName>,
    /// The claims that last at least for as long as this wait: those of the commands in which its owner runs.
    pub within: Vec<ClaimId>,
    /// The instance vars of that build's pipeline, as JSON.
    pub instance_vars: Option<String>,
    /// Whether it leaves the line when a later build of its job comes into it.
    pub newest: bool,
    /// Whether its owner gives way if it is the youngest in a circle of waiters.
    pub gives_way: bool,
}

/// What the commit of a ticket says with which nobody waits any more, where the server lets no ref be taken away.
const LEFT: &str = "nobody waits here any more\n\nPool-Left: true\n";

/// The commit that says of the ticket at `commit` that it is left. It is the same one whoever makes it: so those who know
/// the ticket know it again without reading it.
pub fn left(commit: Oid) -> Note<'static> {
    static IDENTITY: LazyLock<Identity> = LazyLock::new(Identity::default);
    Note {
        after: Some(commit),
        message: LEFT,
        identity: &IDENTITY,
        time: 0,
    }
}

/// Whether the message of a ticket's commit says that it is left.
pub fn says_left(message: &[u8]) -> bool {
    message == LEFT.as_bytes()
}

const LOCK: &str = "Pool-Waits-For";
const COUNT: &str = "Pool-Count";
/// What stands there for every lock.
const ALL: &str = "all";
const MATCH: &str = "Pool-Match";
const MATCH_VALUE: &str = "Pool-Match-Value";
/// What tools that know of no expressions do not read: they take the waiter to want any lock that fits the rest, which costs a
/// place at most.
const MATCH_EXPRESSION: &str = "Pool-Match-Expression";
const AMONG: &str = "Pool-Among";
const SINCE: &str = "Pool-Since";
const RENEWAL: &str = "Pool-Renewal";
const STEP: &str = "Pool-Step";
const ALSO: &str = "Pool-Also";
const WITHIN: &str = "Pool-Within";
const ORDER: &str = "Pool-Order";
const ON_DEADLOCK: &str = "Pool-On-Deadlock";

/// What a ticket says of an owner who leaves the line for a later build.
const NEWEST: &str = "newest";

/// What a ticket says of an owner who gives way.
const FAIL: &str = "fail";

/// Nobody waits for locks of more pools at once.
const MOST_POOLS: usize = 100;

/// Nobody runs in more commands than that.
const MOST_WITHIN: usize = 100;

/// The renewals are within this, whatever a ticket says.
const RENEWALS: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(86_400);

impl TicketText {
    /// Writes the text.
    pub fn compose(&self, origin: &Origin) -> String {
        let mut trailers = Vec::new();
        match &self.need {
            Need::Lock(lock) => trailers.push((LOCK, lock.as_str().to_owned())),
            Need::Any(want) => {
                let count = match want.all {
                    true => ALL.to_owned(),
                    false => want.count.to_string(),
                };
                trailers.push((COUNT, count));
                for condition in &want.conditions {
                    let Condition { path, value } = condition;
                    trailers.push(match value {
                        Wanted::Text(_) => (MATCH, format!("{path}={value}")),
                        Wanted::Number(_) | Wanted::Switch(_) => {
                            (MATCH_VALUE, format!("{path}={value}"))
                        }
                        Wanted::OneOf(_) | Wanted::AnyOf(_) | Wanted::NoneOf(_) => {
                            let one = matching::write(std::slice::from_ref(condition));
                            (MATCH_EXPRESSION, one.to_string())
                        }
                    });
                }
                trailers.extend(
                    want.among
                        .iter()
                        .map(|lock| (AMONG, lock.as_str().to_owned())),
                );
            }
        }
        let since = std::time::UNIX_EPOCH + Duration::from_secs(self.since);
        trailers.push((SINCE, humantime::format_rfc3339_seconds(since).to_string()));
        trailers.push((
            RENEWAL,
            humantime::format_duration(self.renewal).to_string(),
        ));
        trailers.extend(self.step.iter().map(|step| (STEP, step.clone())));
        let build = origin.build_id.iter();
        trailers.extend(build.map(|id| (message::BUILD, id.clone())));
        let also = self.also.iter();
        trailers.extend(also.map(|pool| (ALSO, pool.as_str().to_owned())));
        let within = self.within.iter();
        trailers.extend(within.map(|claim| (WITHIN, claim.to_string())));
        if self.newest {
            trailers.push((ORDER, NEWEST.to_owned()));
        }
        if self.gives_way {
            trailers.push((ON_DEADLOCK, FAIL.to_owned()));
        }
        message::text(
            origin,
            &format!("waiting for {}", waits_for(&self.need)),
            &trailers,
        )
    }

    /// Reads a text; `None` when it is none that says what is waited for.
    pub fn parse(text: &[u8]) -> Option<TicketText> {
        let one = |name| message::trailer(text, name);
        let need = match one(LOCK) {
            Some(lock) => Need::Lock(LockName::new(&lock).ok()?),
            None => Need::Any(Want {
                all: one(COUNT)? == ALL,
                count: match one(COUNT)? {
                    all if all == ALL => NonZeroUsize::MIN,
                    number => number.parse().ok()?,
                },
                conditions: conditions(text)?,
                among: message::trailers(text, AMONG)
                    .iter()
                    .map(|lock| LockName::new(lock).ok())
                    .collect::<Option<_>>()?,
            }),
        };
        let shown = String::from_utf8_lossy(text);
        let mut lines = shown.lines();
        let since = humantime::parse_rfc3339_weak(&one(SINCE)?).ok()?;
        Some(TicketText {
            subject: lines.next().unwrap_or_default().to_owned(),
            url: lines
                .find_map(|line| line.strip_prefix("Build URL: "))
                .map(str::to_owned),
            need,
            since: since
                .duration_since(std::time::UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
            renewal: humantime::parse_duration(&one(RENEWAL)?)
                .ok()?
                .clamp(*RENEWALS.start(), *RENEWALS.end()),
            step: one(STEP),
            build: one(message::BUILD),
            also: message::trailers(text, ALSO)
                .iter()
                .filter_map(|pool| PoolName::new(pool).ok())
                .take(MOST_POOLS)
                .collect(),
            within: message::trailers(text, WITHIN)
                .iter()
                .filter_map(|claim| full_id(claim).map(ClaimId))
                .take(MOST_WITHIN)
                .collect(),
            instance_vars: one(message::INSTANCE_VARS),
            newest: one(ORDER).as_deref() == Some(NEWEST),
            gives_way: one(ON_DEADLOCK).as_deref() == Some(FAIL),
        })
    }

    /// Who waits, as far as the text tells: by this his claims are known.
    pub fn origin(&self) -> Origin {
        let does = format!("waiting for {}", waits_for(&self.need));
        let who = self.subject.strip_suffix(&does);
        Origin {
            prefix: who.unwrap_or_default().trim_end().to_owned(),
            url: self.url.clone(),
            build_id: self.build.clone(),
            instance_vars: self.instance_vars.clone(),
        }
    }
}

/// What somebody waits for, in a few words.
pub fn waits_for(need: &Need) -> String {
    match need {
        Need::Lock(lock) => lock.as_str().to_owned(),
        Need::Any(want) if want.all => "all locks".to_owned(),
        Need::Any(want) => match want.count.get() {
            number if want.among.len() == number => message::listed(&want.among),
            1 => "any lock".to_owned(),
            number => format!("any {number} locks"),
        },
    }
}

/// What the metadata must say that a ticket waits for; `None` when a line of it is none.
fn conditions(text: &[u8]) -> Option<Vec<Condition>> {
    let read = |name, value: fn(&str) -> Wanted| {
        let lines = message::trailers(text, name).into_iter();
        lines.map(move |line| {
            let (path, wanted) = line.split_once('=')?;
            Some(Condition {
                path: path.to_owned(),
                value: value(wanted),
            })
        })
    };
    let texts = read(MATCH, |text| Wanted::Text(text.to_owned()));
    let values = read(MATCH_VALUE, |text| match text {
        "true" => Wanted::Switch(true),
        "false" => Wanted::Switch(false),
        number => Wanted::Number(number.to_owned()),
    });
    let plain: Option<Vec<Condition>> = texts.chain(values).collect();
    let mut conditions = plain?;
    for line in message::trailers(text, MATCH_EXPRESSION) {
        let expression = serde_json::from_str(&line).ok()?;
        conditions.extend(matching::read(&expression).ok()?);
    }
    Some(conditions)
}

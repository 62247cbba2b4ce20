//! Commit messages: who does what to which lock, for people, for the tools in use today, and for ourselves later on.
//!
//! ```text
//! ops/web/deploy build 12 claiming: env-1
//!
//! Build URL: https://ci.example.com/teams/ops/pipelines/web/jobs/deploy/builds/12
//!
//! Pool-Request: 7c0e4a3e-...
//! ```
//!
//! What is written is one line for each thing said, whatever the names and values are, so that none can forge another
//! line. What is read may come from anyone, and is taken for no more than text.

use std::collections::HashSet;
use std::fmt;
use std::time::{Duration, SystemTime};

use crate::lock::{LockName, PoolName};
use terminal::one_line;

/// The trailer with the id of the attempt, which makes every commit unique.
pub const REQUEST: &str = "Pool-Request";
/// The trailer with the claim that the commit ends or goes on with.
pub const CLAIM: &str = "Pool-Claim";
/// The trailer with the step that a claim was made for, by which a later run of it knows the claim again: the build's id
/// and the name that the step gave itself.
pub const STEP: &str = "Pool-Step";
/// The trailer of a claim with the id of the build that made it, by which its Concourse has it whatever becomes of its
/// names. Of a job of GitLab the numbers of its project, its pipeline and its own; of a run of GitHub Actions those of its
/// repository, its own and its attempt.
pub const BUILD: &str = "Pool-Build";
/// The trailer of a claim that is given back when a command ends, and says so: nobody keeps it but what runs in that command.
pub const ENDS_WITH: &str = "Pool-Ends-With";
/// The trailer with the end of a claim's lease, as RFC 3339 has a time in UTC.
pub const LEASE: &str = "Pool-Lease";
/// The trailer with the claim that was taken away from its holder, who did not show any sign of life.
pub const REAPED: &str = "Pool-Reaped";
/// The trailer with the claim that an operator has taken away from its holder.
pub const UNLOCKED: &str = "Pool-Unlocked";
/// The trailer with the full name of a lock, one for each, where a commit is about locks of several pools.
pub const LOCK: &str = "Pool-Lock";
/// The trailer that says why somebody else's claim was ended, and on what evidence; in a claim, why the lock is held.
pub const REASON: &str = "Pool-Reason";
/// The trailer with the number of the commit, which only grows along the branch (see [`crate::number`]). Of a claim it is the
/// number by which an older one can be refused.
pub const NUMBER: &str = "Pool-Number";
/// The trailer of a claim that had to be waited for: for how long, in seconds.
pub const WAITED: &str = "Pool-Waited";
/// The trailer of a claim of locks that were not asked for by their names: what was asked for instead.
pub const WANTED: &str = "Pool-Wanted";
/// The trailer of a claim with its priority, where it has one.
pub const PRIORITY: &str = "Pool-Priority";
/// The trailer with the instance vars of the build's pipeline, as JSON.
pub const INSTANCE_VARS: &str = "Pool-Instance-Vars";

/// The longest name of a lock, in bytes: subjects with more behind the verb are someone else's.
const LONGEST_LOCK: usize = 255;

/// Nobody claims more locks at once.
const MOST_LOCKS: usize = 10_000;

/// How much is shown of what somebody else's commit says of who made it, in characters.
const WHO_SHOWN: usize = 200;

/// Who is acting; by default nothing is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// What the subject starts with, such as `ops/web/deploy build 12`; may be empty.
    pub prefix: String,
    /// The build's page.
    pub url: Option<String>,
    /// The id of the build or job; see [`BUILD`].
    pub build_id: Option<String>,
    /// The instance vars of the build's pipeline, as JSON.
    pub instance_vars: Option<String>,
}

/// What a commit does to its lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Moves it to `claimed/`.
    Claiming,
    /// Moves it back to `unclaimed/`.
    Unclaiming,
    /// Makes it, free.
    AddingUnclaimed,
    /// Makes it, held.
    AddingClaimed,
    /// Takes it away.
    Removing,
    /// Changes its metadata.
    Updating,
    /// Changes no file: its holder is still there.
    Renewing,
}

impl Verb {
    /// Whether a lock is held after it that was not before.
    pub fn is_claim(self) -> bool {
        matches!(self, Verb::Claiming | Verb::AddingClaimed)
    }

    /// Whether a lease begins with it.
    pub fn takes_lease(self) -> bool {
        self.is_claim() || self == Verb::Renewing
    }

    /// Every verb.
    pub const ALL: [Verb; 7] = [
        Verb::Claiming,
        Verb::Unclaiming,
        Verb::AddingUnclaimed,
        Verb::AddingClaimed,
        Verb::Removing,
        Verb::Updating,
        Verb::Renewing,
    ];

    /// The verb as subjects have it. The words are those of the resource in use today, which knows of no renewals.
    pub fn as_str(self) -> &'static str {
        match self {
            Verb::Claiming => "claiming",
            Verb::Unclaiming => "unclaiming",
            Verb::AddingUnclaimed => "adding unclaimed",
            Verb::AddingClaimed => "adding claimed",
            Verb::Removing => "removing",
            Verb::Updating => "updating",
            Verb::Renewing => "renewing",
        }
    }
}

/// Writes the message of a commit. The trailers come in the order given, and the origin's instance vars after them.
pub fn compose(
    origin: &Origin,
    verb: Verb,
    locks: &[LockName],
    trailers: &[(&str, String)],
) -> String {
    // Whoever reads the history of one pool looks for its locks as that pool has them.
    let bare: Vec<LockName> = locks.iter().map(LockName::bare).collect();
    text(
        origin,
        &format!("{}: {}", verb.as_str(), listed(&bare)),
        trailers,
    )
}

/// The full names of the locks that a commit is about, each of them once, where they are of several pools (see [`LOCK`]).
pub fn of_several_pools(message: &[u8]) -> Vec<(PoolName, LockName)> {
    let named = trailers(message, LOCK).into_iter();
    let named = named.filter_map(|name| {
        let (pool, lock) = name.rsplit_once('/')?;
        Some((PoolName::new(pool).ok()?, LockName::new(lock).ok()?))
    });
    let mut seen = HashSet::new();
    let new = named.filter(|(pool, lock)| seen.insert(lock.full(pool)));
    new.take(MOST_LOCKS).collect()
}

/// The locks of other pools that a commit is about besides those of `pool`, as they are seen from there; none where it says
/// that it has nothing to do with that pool.
pub fn elsewhere(message: &[u8], pool: &PoolName) -> Vec<LockName> {
    let all = of_several_pools(message);
    match all.iter().any(|(its, _)| its == pool) {
        true => {
            let others = all.iter().filter(|(its, _)| its != pool);
            others.map(|(its, lock)| lock.of(its, pool)).collect()
        }
        false => Vec::new(),
    }
}

/// The names of locks on one line.
pub fn listed(locks: &[LockName]) -> String {
    let names: Vec<&str> = locks.iter().map(LockName::as_str).collect();
    names.join(", ")
}

/// Writes a text that says of `origin` what it does, in the form of a commit message.
pub fn text(origin: &Origin, does: &str, trailers: &[(&str, String)]) -> String {
    let mut message = String::new();
    if !origin.prefix.is_empty() {
        message += &folded(&origin.prefix);
        message += " ";
    }
    message += &folded(does);
    message += "\n";
    if let Some(url) = &origin.url {
        message += &format!("\nBuild URL: {}\n", folded(url));
    }

    let given = trailers.iter().map(|(name, value)| (*name, value));
    let vars = origin
        .instance_vars
        .iter()
        .map(|vars| (INSTANCE_VARS, vars));
    for (n, (name, value)) in given.chain(vars).enumerate() {
        if n == 0 {
            message += "\n";
        }
        message += &format!("{name}: {}\n", folded(value));
    }
    message
}

/// Reads the trailer `name` from the last paragraph of a message; the first one, when there are several.
///
/// The subject is never taken for a trailer. The value is on one line, whatever the message is.
///
/// Source: `git-interpret-trailers(1)`; unlike Git, this does not ask whether the whole paragraph consists of trailers.
pub fn trailer(message: &[u8], name: &str) -> Option<String> {
    trailers(message, name).into_iter().next()
}

/// Reads all trailers `name`, as [`trailer`] does.
pub fn trailers(message: &[u8], name: &str) -> Vec<String> {
    let text = String::from_utf8_lossy(message);
    let text = text.trim();
    // From the end, and without a list of all lines, of which a message may have millions.
    let last = text.rsplit('\n').take_while(|line| !line.trim().is_empty());
    let length: usize = last.map(|line| line.len() + 1).sum();
    // Nothing before it: it is the subject's paragraph.
    let start = (text.len() + 1).checked_sub(length).filter(|at| *at > 0);
    let Some(paragraph) = start.and_then(|start| text.get(start..)) else {
        return Vec::new();
    };
    let mut lines = paragraph.lines().peekable();
    let mut values = Vec::new();
    while let Some(line) = lines.next() {
        // A line that starts with a space goes on with the line before.
        let Some((key, value)) = line
            .split_once(':')
            .filter(|_| !line.starts_with([' ', '\t']))
        else {
            continue;
        };
        if key.trim_end().eq_ignore_ascii_case(name) {
            let mut value = value.trim().to_owned();
            while let Some(more) = lines.next_if(|line| line.starts_with([' ', '\t'])) {
                value += " ";
                value += more.trim();
            }
            values.push(folded(&value));
        }
    }
    values
}

/// The value of [`LEASE`] for a lease that begins now and lasts so long, to the end of a second; at most until the end of the
/// year 9999, with which such times end.
pub fn lease(now: SystemTime, lasts: Duration) -> String {
    let last = SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_799);
    let to_the_second = Duration::from_nanos(999_999_999);
    let end = lasts
        .checked_add(to_the_second)
        .and_then(|lasts| now.checked_add(lasts));
    let end = end.map_or(last, |end| end.min(last));
    humantime::format_rfc3339_seconds(end.max(SystemTime::UNIX_EPOCH)).to_string()
}

/// A length of time as trailers have it, to a tenth of a second.
pub fn seconds(time: Duration) -> String {
    format!("{:.1}s", time.as_secs_f64())
}

/// For how long a claim was waited for, as its message says; `None` where it does not.
pub fn waited(message: &[u8]) -> Option<Duration> {
    let told = trailer(message, WAITED)?;
    let seconds: f64 = told.strip_suffix('s')?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// When the lease ends that a message gives; `None` when it gives none, or what it gives is no time.
pub fn lease_end(message: &[u8]) -> Option<SystemTime> {
    lease_end_of(&trailer(message, LEASE)?)
}

/// The time that a value of [`LEASE`] stands for.
pub fn lease_end_of(value: &str) -> Option<SystemTime> {
    humantime::parse_rfc3339(value).ok()
}

/// The page of the build that a message speaks of, if it is a web address.
pub fn build_url(message: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(message);
    let url = text
        .lines()
        .skip(1)
        .find_map(|line| line.strip_prefix("Build URL: "))?;
    let url = folded(url.trim());
    let is_web = url.starts_with("https://") || url.starts_with("http://");
    (is_web && !url.contains(' ')).then_some(url)
}

/// What the first line of a message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The build that acted, when it is one of a job.
    pub build: Option<BuildRef>,
    /// The id of the build that acted, when it is a one-off build.
    pub one_off: Option<String>,
    /// What it did.
    pub verb: Verb,
    /// To which lock.
    pub lock: String,
}

/// A build of a job. Prints as subjects have it: `team/pipeline/job build 12`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BuildRef {
    /// The team.
    pub team: String,
    /// The pipeline.
    pub pipeline: String,
    /// The job.
    pub job: String,
    /// The build's name in its job, usually a number.
    pub build: String,
}

impl fmt::Display for BuildRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BuildRef {
            team,
            pipeline,
            job,
            build,
        } = self;
        write!(f, "{team}/{pipeline}/{job} build {build}")
    }
}

/// Reads the subject of a message; `None` when it does not speak of a lock.
///
/// Names may have spaces and colons in them, so a subject can be read in several ways. Taken is the first way in which
/// the part before the verb names a build (or is not there), else the first way at all. That goes wrong only for a job
/// that is itself called something like `x build 1 claiming: y`.
pub fn read_subject(message: &[u8]) -> Option<Subject> {
    let text = String::from_utf8_lossy(message);
    let line = folded(text.lines().find(|line| !line.trim().is_empty())?);

    let mut unknown_actor = None;
    // A stranger's line may be long, and is gone through once.
    let from = names_from(&line).max(line.rfind('/').map_or(0, |slash| slash + 1));
    for (colon, separator) in line.match_indices(": ") {
        let start = colon + separator.len();
        if start < from || start == line.len() {
            continue;
        }
        let Some((prefix, verb)) = split_verb(&line[..colon]) else {
            continue;
        };
        let actor = read_prefix(prefix);
        let known = actor.is_some();
        if !known && unknown_actor.is_some() {
            continue;
        }
        let (build, one_off) = actor.unwrap_or_default();
        let subject = Subject {
            build,
            one_off,
            verb,
            lock: line[start..].to_owned(),
        };
        if known {
            return Some(subject);
        }
        unknown_actor = Some(subject);
    }
    unknown_actor
}

/// From which byte of a line on it may be a list of locks: none of the names behind it is too long for one.
fn names_from(line: &str) -> usize {
    const BETWEEN: &str = ", ";
    let mut end = line.len();
    for name in line.rsplit(BETWEEN) {
        if name.len() > LONGEST_LOCK {
            return end - LONGEST_LOCK;
        }
        end = (end - name.len()).saturating_sub(BETWEEN.len());
    }
    0
}

/// Who made a commit, in as few words as its message allows, fit for a log: its build, else what comes before the verb, else
/// its first line.
pub fn who(message: &[u8]) -> String {
    let shown = |text: &str| one_line(&text.chars().take(WHO_SHOWN).collect::<String>());
    match read_subject(message) {
        Some(Subject {
            build: Some(build), ..
        }) => shown(&build.to_string()),
        Some(Subject {
            one_off: Some(id), ..
        }) => format!("one-off build {}", shown(&id)),
        subject => {
            let text = String::from_utf8_lossy(message);
            let line = text.lines().find(|line| !line.trim().is_empty());
            let line = line.unwrap_or_default().trim();
            let actor = subject.and_then(|subject| {
                let verb = format!("{}: {}", subject.verb.as_str(), subject.lock);
                Some(line.strip_suffix(&verb)?.trim_end())
            });
            match actor {
                Some("") => "somebody".to_owned(),
                Some(actor) => shown(actor),
                None => shown(line),
            }
        }
    }
}

/// Who made a commit, as far as its message tells.
pub fn origin(message: &[u8]) -> Origin {
    Origin {
        prefix: who(message),
        url: build_url(message),
        build_id: trailer(message, BUILD),
        instance_vars: trailer(message, INSTANCE_VARS),
    }
}

/// The first line of a message, as it stands.
pub fn first_line(message: &[u8]) -> String {
    let text = String::from_utf8_lossy(message);
    text.lines().next().unwrap_or_default().to_owned()
}

/// Splits off the verb at the end of `head`, with the space before it.
fn split_verb(head: &str) -> Option<(&str, Verb)> {
    Verb::ALL.into_iter().find_map(|verb| {
        let prefix = head.strip_suffix(verb.as_str())?;
        if prefix.is_empty() {
            return Some((prefix, verb));
        }
        Some((prefix.strip_suffix(' ')?, verb))
    })
}

/// Who acted, as a build of a job or a one-off build; `None` when the prefix is neither of them nor empty.
pub(crate) fn read_prefix(prefix: &str) -> Option<(Option<BuildRef>, Option<String>)> {
    if prefix.is_empty() {
        return Some((None, None));
    }
    let is_word = |text: &str| !text.is_empty() && !text.contains(char::is_whitespace);
    if let Some(id) = prefix
        .strip_prefix("one-off build ")
        .filter(|id| is_word(id))
    {
        return Some((None, Some(id.to_owned())));
    }
    let (path, build) = prefix
        .rsplit_once(" build ")
        .filter(|(_, build)| is_word(build))?;
    let mut parts = path.splitn(3, '/').map(str::to_owned);
    let build = BuildRef {
        team: parts.next()?,
        pipeline: parts.next()?,
        job: parts.next()?,
        build: build.to_owned(),
    };
    Some((Some(build), None))
}

/// The text on one line and without anything that steers a terminal.
fn folded(text: &str) -> String {
    text.replace("\r\n", " ").replace(char::is_control, " ")
}

#[cfg(test)]
mod tests;

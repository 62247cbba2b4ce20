//! Who made a claim, as its commit tells, and what a CI system can say of such a build or job.
//!
//! Values only: asking is [`evidence`](crate::evidence)'s business, and what follows from the answer is
//! [`reap`](crate::reap)'s. A message may come from anyone, so that nothing here is believed further than one may ask
//! with it: two lines of a message that name different builds name none.

pub mod job;
mod me;
mod series;

use std::fmt;
use std::time::SystemTime;

use percent_encoding::percent_decode_str;
use url::Url;

use crate::message::{self, BuildRef};
use job::Job;
pub use me::Me;
pub use series::{Latest, Series};
use terminal::one_line;

/// What a line of the body starts with that gives the build's page.
const BUILD_URL: &str = "Build URL:";

/// Who made a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Maker {
    /// A build of a Concourse.
    Build(Build),
    /// A job of a GitLab.
    Job(Job),
    /// Somebody else, or it cannot be told which build; says why.
    Unknown(String),
}

/// A build of a Concourse.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Build {
    /// Which of its builds it is.
    pub which: Which,
    /// The URL of that Concourse, without credentials and without a slash at its end, if the commit tells it.
    pub home: Option<Url>,
}

/// How a build is found in its Concourse.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Which {
    /// By its names, which may have come to mean something else since.
    Named {
        /// The names.
        build: BuildRef,
        /// What else it takes to tell the pipeline from others of its name.
        vars: InstanceVars,
    },
    /// By its id, which is never used again.
    Id {
        /// The id: digits.
        id: String,
        /// What the build is said to be besides.
        as_well: AsWell,
    },
}

/// What a commit that gives the id of a build says of it besides.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AsWell {
    /// Nothing.
    Anything,
    /// That it is a one-off build.
    OneOff,
    /// Its names at the time.
    Named(BuildRef),
}

/// The instance vars of a build's pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum InstanceVars {
    /// It has none.
    None,
    /// The commit was made by a tool that says nothing of them.
    Untold,
    /// As JSON.
    Json(String),
    /// As pairs of a query: `vars.branch` and `"main"`.
    Query(Vec<(String, String)>),
}

impl Maker {
    /// Reads who made a commit from its message, whichever tool wrote it.
    pub fn read(message: &[u8]) -> Maker {
        let subject = message::read_subject(message);
        let page = page(message);
        let ours = message::trailer(message, message::REQUEST).is_some();
        let vars = || match (message::trailer(message, message::INSTANCE_VARS), &page) {
            (Some(json), _) => InstanceVars::Json(json),
            (None, Some(page)) if !page.vars.is_empty() => InstanceVars::Query(page.vars.clone()),
            // Ours says so when there are any.
            _ if ours => InstanceVars::None,
            _ => InstanceVars::Untold,
        };
        let home = page.as_ref().map(|page| page.home.clone());
        let by_id = |id: String, as_well| {
            Maker::Build(Build {
                which: Which::Id { id, as_well },
                home: home.clone(),
            })
        };
        let named = |build: BuildRef| {
            Maker::Build(Build {
                which: Which::Named {
                    build,
                    vars: vars(),
                },
                home: home.clone(),
            })
        };

        // Names come to mean something else, ids never do; but only the link tells of which Concourse the id is.
        let id = message::trailer(message, message::BUILD).filter(|id| is_id(id) && home.is_some());
        let named = |build: BuildRef| match id.clone() {
            Some(id) => by_id(id, AsWell::Named(build)),
            None => named(build),
        };

        let (job, one_off) = subject
            .map(|subject| (subject.build, subject.one_off))
            .unwrap_or_default();
        match (job, one_off, page.as_ref().map(|page| &page.build)) {
            (None, None, None) => match link(message).and_then(|link| Job::read(message, &link)) {
                Some(Ok(job)) => Maker::Job(job),
                Some(Err(why)) => Maker::Unknown(why.to_owned()),
                None => Maker::Unknown("its commit names no build".to_owned()),
            },
            (Some(job), _, None) => named(job),
            (Some(job), _, Some(Page::Job(build))) if folded(&job) == folded(build) => {
                // Here the names are apart, whatever is in them.
                named(build.clone())
            }
            (Some(job), _, Some(Page::Id(id))) => by_id(id.clone(), AsWell::Named(job)),
            (None, None, Some(Page::Job(build))) => named(build.clone()),
            (None, None, Some(Page::Id(id))) => by_id(id.clone(), AsWell::Anything),
            (None, Some(id), None) if is_id(&id) => by_id(id, AsWell::OneOff),
            (None, Some(id), Some(Page::Id(other))) if id == *other => by_id(id, AsWell::OneOff),
            (None, Some(_), None) => {
                Maker::Unknown("its commit names no build by an id".to_owned())
            }
            (_, _, Some(_)) => {
                Maker::Unknown("its commit names one build and links to another".to_owned())
            }
        }
    }
}

impl fmt::Display for Build {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.which {
            Which::Named { build, .. }
            | Which::Id {
                as_well: AsWell::Named(build),
                ..
            } => f.write_str(&one_line(&build.to_string())),
            Which::Id {
                id,
                as_well: AsWell::OneOff,
            } => write!(f, "one-off build {id}"),
            Which::Id { id, .. } => write!(f, "build {id}"),
        }
    }
}

/// What a CI system says of the build or job that made a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// It has the build or job.
    Found {
        /// What has become of it.
        status: Status,
        /// When it began, if it has.
        began: Option<SystemTime>,
        /// When it ended, if that is known and tells whether it is the one that made the claim: of a build that is known by
        /// its names alone, and of a job of GitLab.
        ended: Option<SystemTime>,
    },
    /// It has no such build or job.
    Missing {
        /// The builds of the team that run and have its number: one of them may be it, under a new name.
        running: Vec<Running>,
        /// Whether those are all of them.
        complete: bool,
    },
    /// There is nobody to ask; says why.
    Unknown(String),
    /// It ought to know, and cannot be heard; says why.
    Unheard(String),
}

/// What has become of a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It is going on: `pending` or `started`.
    Alive(&'static str),
    /// It is over: `succeeded`, `failed`, `errored` or `aborted`.
    Ended(&'static str),
}

/// The statuses of GitLab's jobs that are going on, and of those that are over.
///
/// Source: GitLab, `app/models/concerns/ci/has_status.rb`.
const GITLAB_ALIVE: [&str; 9] = [
    "created",
    "waiting_for_resource",
    "waiting_for_callback",
    "preparing",
    "pending",
    "running",
    "canceling",
    "manual",
    "scheduled",
];
const GITLAB_ENDED: [&str; 4] = ["success", "failed", "canceled", "skipped"];

impl Status {
    /// The status of a job that GitLab calls by this word; `None` when we know of none.
    pub fn of_gitlab(word: &str) -> Option<Status> {
        let alive = GITLAB_ALIVE.iter().find(|known| **known == word);
        let ended = GITLAB_ENDED.iter().find(|known| **known == word);
        let alive = alive.map(|known| Status::Alive(known));
        alive.or_else(|| ended.map(|known| Status::Ended(known)))
    }

    /// The status that Concourse calls by this word; `None` when we know of none.
    ///
    /// Source: Concourse, `atc.BuildStatus`.
    pub fn read(word: &str) -> Option<Status> {
        match word {
            "pending" => Some(Status::Alive("pending")),
            "started" => Some(Status::Alive("started")),
            "succeeded" => Some(Status::Ended("succeeded")),
            "failed" => Some(Status::Ended("failed")),
            "errored" => Some(Status::Ended("errored")),
            "aborted" => Some(Status::Ended("aborted")),
            _ => None,
        }
    }
}

/// A build that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// What it is called now.
    pub name: String,
    /// When it began, if that is told.
    pub began: Option<SystemTime>,
}

/// Whether two URLs are of one Concourse: the same kind, host, port and path.
pub fn same_place(a: &Url, b: &Url) -> bool {
    a.scheme() == b.scheme()
        && a.host() == b.host()
        && a.port_or_known_default() == b.port_or_known_default()
        && a.path().trim_end_matches('/') == b.path().trim_end_matches('/')
}

/// What the link to a build's page says.
struct Link {
    home: Url,
    build: Page,
    vars: Vec<(String, String)>,
}

enum Page {
    Job(BuildRef),
    Id(String),
}

/// The link in the first line of the body that gives one, if it leads to a build's page.
fn page(message: &[u8]) -> Option<Link> {
    read_link(&link(message)?)
}

/// The link in the first line of the body that gives one.
fn link(message: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(message);
    let mut lines = text.lines().skip_while(|line| line.trim().is_empty());
    lines.next()?;
    let link = lines.find_map(|line| line.strip_prefix(BUILD_URL))?;
    Some(link.trim().to_owned())
}

/// Takes the URL of a build's page apart: `HOME/teams/T/pipelines/P/jobs/J/builds/N?vars.x=1` or `HOME/builds/ID`.
fn read_link(link: &str) -> Option<Link> {
    let mut home = Url::parse(link)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())?;
    let vars = home.query_pairs().into_owned();
    let vars = vars
        .filter(|(key, _)| key == "vars" || key.starts_with("vars."))
        .collect();

    let path = home.path().trim_end_matches('/').to_owned();
    let parts: Vec<&str> = path.split('/').collect();
    let (above, build) = match parts.as_slice() {
        [
            above @ ..,
            "teams",
            team,
            "pipelines",
            pipeline,
            "jobs",
            job,
            "builds",
            build,
        ] => {
            let build = BuildRef {
                team: name(team)?,
                pipeline: name(pipeline)?,
                job: name(job)?,
                build: name(build)?,
            };
            (above, Page::Job(build))
        }
        [above @ .., "builds", id] if is_id(id) => (above, Page::Id((*id).to_owned())),
        _ => return None,
    };
    home.set_path(&above.join("/"));
    home.set_query(None);
    home.set_fragment(None);
    // Whoever is named there is no part of the place.
    home.set_username("").ok()?;
    home.set_password(None).ok()?;
    Some(Link { home, build, vars })
}

/// A name as it stands in a path.
fn name(part: &str) -> Option<String> {
    let name = percent_decode_str(part).decode_utf8().ok()?;
    Some(name.into_owned()).filter(|name| !name.is_empty())
}

fn is_id(text: &str) -> bool {
    // As long as a number of Concourse's database can be.
    (1..=19).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The names as a subject has them.
fn folded(build: &BuildRef) -> String {
    build.to_string().replace(char::is_control, " ")
}

#[cfg(test)]
mod tests;

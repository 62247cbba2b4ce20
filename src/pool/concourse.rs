//! What Concourse and a resource say to each other: the JSON of the three steps, the build's environment, and the API.
//!
//! The only place with wire types. Requests are validated here, once and completely, and everything behind gets values
//! that cannot be wrong. What a request asks of a pool is an [`Operation`]; carrying it
//! out is left to others.
//!
//! Source: Concourse, "Implementing a resource type".

pub mod atc;
mod build;
mod keys;
mod params;
mod private_key;
mod reap;
mod source;
mod unknown;

pub use build::Build;
pub use params::{Folder, LOCKS, NO_CLAIM, POOL, POOLS, Params};
pub(crate) use private_key::read as read_private_key;
pub use reap::{GitlabServer, Login, Reap, Server};
pub use source::{DEFAULT_RETRY_DELAY, Source, Tunnel};

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use crate::line::{OnDeadlock, PRIORITY_LIMIT};
use crate::lock::{LockName, NameError, PoolName};
use crate::message;
use crate::operation::Operation;
use git::object::{Content, Oid, full_id};
use keys::{Keys, kind};
use pace::duration::DurationError;

/// What the check step is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckRequest {
    /// Where and how.
    pub source: Source,
    /// The version known last; none at first.
    pub version: Option<Version>,
}

/// What the get step is asked. Its params change nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GetRequest {
    /// Where and how.
    pub source: Source,
    /// The version to fetch.
    pub version: Option<Version>,
}

/// What the put step is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutRequest {
    /// Where and how.
    pub source: Source,
    /// What to do.
    pub params: Params,
    /// How long to wait for what cannot be had at once: zero for not at all, `None` for as long as it takes.
    pub patience: Option<Duration>,
    /// How urgent it is to be served before others who wait; higher goes first.
    pub priority: i32,
    /// The name by which a later run of the same build knows the claim again that this one makes.
    pub request: Option<String>,
    /// What to do in a circle of those who wait for each other.
    pub on_deadlock: OnDeadlock,
    /// For how long the holder of a claim that this one makes need not be heard of; `None` for ever.
    pub lease: Option<Duration>,
    /// What is to be claimed where other pools are named as well: all of it at once.
    pub with_others: Option<Operation>,
    /// What is to be said of its params, each on a line.
    pub notes: Vec<String>,
}

impl CheckRequest {
    /// Reads a request to its end.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn read(input: impl Read) -> Result<CheckRequest, RequestError> {
        let document = document(input)?;
        let keys = Keys::of(&document)?;
        Ok(CheckRequest {
            source: Source::read(&keys.object("source")?)?,
            version: Version::read(&keys)?,
        })
    }
}

impl GetRequest {
    /// Reads a request to its end.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn read(input: impl Read) -> Result<GetRequest, RequestError> {
        CheckRequest::read(input)
            .map(|CheckRequest { source, version }| GetRequest { source, version })
    }
}

impl PutRequest {
    /// Reads a request to its end.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn read(input: impl Read) -> Result<PutRequest, RequestError> {
        let document = document(input)?;
        let keys = Keys::of(&document)?;
        let params = keys.object("params")?;
        let timeout = params.duration("timeout")?;
        let request = params.text("request")?.map(str::to_owned);
        if request.as_ref().is_some_and(|name| {
            name.len() > 255 || name.trim() != name || name.contains(char::is_control)
        }) {
            return Err(params.wrong(
                "request",
                "a name of at most 255 bytes, on one line, with no spaces around it",
                "something else",
            ));
        }
        let priority = match params.set("priority") {
            None => 0,
            Some(value) => value
                .as_i64()
                .and_then(|priority| i32::try_from(priority).ok())
                .filter(|priority| (-PRIORITY_LIMIT..=PRIORITY_LIMIT).contains(priority))
                .ok_or_else(|| {
                    let expected = "a whole number from -1000 to 1000";
                    params.wrong("priority", expected, value.to_string())
                })?,
        };
        let source = Source::read(&keys.object("source")?)?;
        let asked = Params::read(&params)?;
        Ok(PutRequest {
            with_others: params::also(&params, &asked, &source.pool)?,
            source,
            patience: if params.flag("try")? {
                Some(Duration::ZERO)
            } else {
                timeout
            },
            params: asked,
            priority,
            on_deadlock: on_deadlock(&params)?,
            request,
            lease: params.duration("lease")?,
            notes: params::notes(&params),
        })
    }
}

fn on_deadlock(params: &Keys<'_>) -> Result<OnDeadlock, RequestError> {
    match params.text("on_deadlock")? {
        None | Some("tell") => Ok(OnDeadlock::Tell),
        Some("fail") => Ok(OnDeadlock::Fail),
        Some(other) => {
            let found = format!("{:?}", terminal::one_line(other));
            Err(params.wrong("on_deadlock", "`tell` or `fail`", found))
        }
    }
}

fn document(mut input: impl Read) -> Result<Value, RequestError> {
    let mut bytes = Vec::new();
    input.read_to_end(&mut bytes).map_err(RequestError::Read)?;
    if bytes.trim_ascii().is_empty() {
        return Err(RequestError::Empty);
    }
    serde_json::from_slice(&bytes).map_err(RequestError::NotJson)
}

/// A version of the resource: a commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Version {
    /// The commit's id, as it was written. Whoever wrote it may have put anything here.
    #[serde(rename = "ref")]
    pub commit: String,
}

impl Version {
    fn read(request: &Keys<'_>) -> Result<Option<Version>, RequestError> {
        if request.set("version").is_none() {
            return Ok(None);
        }
        let version = request.object("version")?;
        match version.raw("ref") {
            Some(Value::String(commit)) => Ok(Some(Version {
                commit: commit.clone(),
            })),
            other => Err(version.wrong("ref", "a string", other.map_or("nothing", kind))),
        }
    }

    /// The commit's id, if it is one.
    pub fn id(&self) -> Option<Oid> {
        full_id(&self.commit)
    }
}

impl From<Oid> for Version {
    fn from(id: Oid) -> Version {
        Version {
            commit: id.to_string(),
        }
    }
}

/// Answers the check step: `versions`, oldest first.
///
/// # Errors
/// Those of `out`.
pub fn write_versions(mut out: impl Write, versions: &[Oid]) -> io::Result<()> {
    let versions: Vec<Version> = versions.iter().copied().map(Version::from).collect();
    out.write_all(&line(&versions)?)?;
    out.flush()
}

/// The answer to a get or put step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The version that was fetched or made.
    pub version: Oid,
    /// What people see of it: names and values, in this order.
    pub metadata: Vec<(String, String)>,
}

impl Response {
    /// The answer that says which locks of which pool a version is about.
    pub fn new(version: Oid, locks: &[LockName], pool: &PoolName) -> Response {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut metadata = Vec::new();
        if !locks.is_empty() {
            metadata.push(pair("lock_name", &message::listed(locks)));
        }
        metadata.push(pair("pool_name", pool.as_str()));
        Response { version, metadata }
    }

    /// Writes the answer.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, mut out: impl Write) -> io::Result<()> {
        out.write_all(&self.to_json()?)?;
        out.flush()
    }

    /// The response as Concourse reads it: one line of JSON.
    ///
    /// # Errors
    /// Those of the JSON.
    pub fn to_json(&self) -> io::Result<Vec<u8>> {
        #[derive(Serialize)]
        struct Answer<'a> {
            version: Version,
            metadata: Vec<Pair<'a>>,
        }
        #[derive(Serialize)]
        struct Pair<'a> {
            name: &'a str,
            value: &'a str,
        }
        let metadata = self
            .metadata
            .iter()
            .map(|(name, value)| Pair { name, value });
        line(&Answer {
            version: self.version.into(),
            metadata: metadata.collect(),
        })
    }
}

fn line(answer: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut json = serde_json::to_vec(answer)?;
    json.push(b'\n');
    Ok(json)
}

/// Why a request cannot be understood. No message has a secret in it.
///
/// [`RequestError::Missing`] has one line for each key; every other message is one line.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// Standard input broke.
    #[error("cannot read the request, which is expected as JSON on stdin")]
    Read(#[source] io::Error),
    /// Standard input had nothing in it.
    #[error("there is no request; it is expected as JSON on stdin")]
    Empty,
    /// Something else was in it.
    #[error("the request is broken; it is expected as JSON on stdin")]
    NotJson(#[source] serde_json::Error),
    /// JSON, but of the wrong shape.
    #[error("the request on stdin must be a JSON object, found {found}")]
    NotAnObject {
        /// The kind of value that came.
        found: String,
    },
    /// The source lacks these keys.
    #[error("{}", missing(.0))]
    Missing(Vec<String>),
    /// The value of a key is of the wrong kind.
    #[error("`{key}` must be {expected}, found {found}")]
    Wrong {
        /// The key, with those that lead to it.
        key: String,
        /// What it is for.
        expected: &'static str,
        /// The kind of value that is there, or the value where it cannot be a secret.
        found: String,
    },
    /// It is something else than a private key.
    #[error("`source.private_key` looks like {0}")]
    Key(&'static str),
    /// It is something else than a private key.
    #[error("`source.signing_key` looks like {0}")]
    SigningKey(&'static str),
    /// Git has no such branches.
    #[error("`source.branch` must be the name of a branch, and Git does not allow {0:?}")]
    Branch(String),
    /// No pool can be there.
    #[error("`source.pool` must be the path of a folder in the repository")]
    Pool(#[source] NameError),
    /// One cannot wait so long.
    #[error("`{key}` must be a duration such as \"90s\", found {found}")]
    Duration {
        /// The key.
        key: String,
        /// The value, as JSON.
        found: String,
        /// What is wrong with it.
        #[source]
        reason: DurationError,
    },
    /// A put step without an operation. It begins with the words of the resource in use today.
    #[error(
        "invalid payload (missing acquire, release, remove, claim, add, add_claimed, update, check, or check_unclaimed; there are release_mine and reap as well)"
    )]
    NoOperation,
    /// A put step with several operations.
    #[error("a put does one thing, and this one asks for {}; use a step for each", listed(.0))]
    SeveralOperations(Vec<&'static str>),
    /// No lock can have the name.
    #[error("`params.claim` is not the name of a lock")]
    ClaimedName(#[source] NameError),
    /// A path that leads elsewhere.
    #[error("`params.{param}` must be a folder among the inputs, and `{}` leads out of them", .path.escape_debug())]
    Outside {
        /// The param.
        param: &'static str,
        /// Its value.
        path: String,
    },
    /// There is no such folder.
    #[error("{}", no_folder(.param, .path, .inputs))]
    NoFolder {
        /// The param.
        param: &'static str,
        /// Its value.
        path: String,
        /// The inputs that there are.
        inputs: Vec<String>,
    },
    /// A file among the inputs is missing or cannot be read.
    #[error("cannot read `{}`", shown(.path))]
    Unreadable {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        reason: io::Error,
    },
    /// A file among the inputs is no small text.
    #[error("`{}` has more than 65536 bytes, so it is another kind of file", shown(.path))]
    TooLarge {
        /// Where.
        path: PathBuf,
    },
    /// Metadata that could not be fetched again.
    #[error("`{}` has more than {} bytes, and that is the most that a lock may have", shown(.path), Content::MOST)]
    MetadataTooLarge {
        /// Where.
        path: PathBuf,
    },
    /// A file among the inputs is no text at all.
    #[error("`{}` is not text in UTF-8", shown(.path))]
    NotText {
        /// Where.
        path: PathBuf,
    },
    /// A file that should name a lock does not.
    #[error("`{}` does not hold the name of a lock", shown(.path))]
    LockFile {
        /// Where.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        reason: NameError,
    },
    /// A file that should name a pool does not.
    #[error("`{}` does not hold the path of a pool", shown(.path))]
    PoolFile {
        /// Where.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        reason: NameError,
    },
    /// A folder is about a lock of another pool than that of the source.
    #[error("`{}` says that this is a lock of the pool `{its}`, and the pool of the source is `{pool}`: only `release` takes locks of other pools", shown(.path))]
    OtherPool {
        /// The file that says so.
        path: PathBuf,
        /// The pool of the lock.
        its: PoolName,
        /// That of the source.
        pool: PoolName,
    },
    /// A file that should prove a claim does not.
    #[error("`{}` does not hold the id of a claim, which is 40 hex digits", shown(.path))]
    ClaimFile {
        /// Where.
        path: PathBuf,
    },
}

fn shown(path: &Path) -> String {
    terminal::one_line(&path.display().to_string())
}

fn no_folder(param: &str, path: &str, inputs: &[String]) -> String {
    // More would hide the rest of the message.
    const MOST: usize = 10;
    let names = inputs.iter().take(MOST);
    let names = names.map(|name| format!("`{}`", terminal::one_line(name)));
    let names = names.collect::<Vec<_>>().join(", ");
    let there = match inputs.len() {
        0 => "it has no inputs".to_owned(),
        n if n > MOST => format!("it has {names} and {} more", n - MOST),
        _ => format!("it has {names}"),
    };
    format!(
        "`params.{param}` must be a folder among the inputs of this put, and `{}` is none: {there}; usually the step that makes the folder did not succeed, and then claimed nothing, or `inputs` of this put leaves the folder out, or the name of a lock was given instead of a folder",
        terminal::one_line(path)
    )
}

fn missing(keys: &[String]) -> String {
    let lines: Vec<String> = keys
        .iter()
        .map(|key| format!("invalid payload (missing {key})"))
        .collect();
    lines.join("\n")
}

/// The names in backticks, as in a sentence.
fn listed(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests;

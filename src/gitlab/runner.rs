//! What a runner says to GitLab: it registers, asks for jobs, and tells what becomes of them.
//!
//! Nothing here is sent twice by itself: a request whose answer was lost may have been heard, and only the caller knows
//! what that means.
//!
//! Source: GitLab, `lib/api/ci/runner.rs`; the runner's own client, `network/gitlab.go`.

mod say;
mod wire;

use std::time::Duration;

use net::http::{Client, Method, StatusCode};
use net::{NetError, Route, Secret};
use serde_json::{Value, json};

use crate::{ApiUrl, GitlabError, status};
use say::{Body, Said};
pub use wire::{Features, Machine};

/// The longest job: its variables alone may be some megabytes.
const MOST_JOB: usize = 64 * 1024 * 1024;

/// GitLab holds a request for a job for 50 s where there is none, if it was told when that was last so.
pub const LONG_POLL: Duration = Duration::from_secs(65);

/// How long any other request may take.
const LIMIT: Duration = Duration::from_secs(30);

/// How a runner calls itself to a proxy.
const AGENT: &str = concat!("heptapod-paas-runner/", env!("CARGO_PKG_VERSION"));

/// One coordinator, asked in a runner's name.
#[derive(Debug)]
pub struct Coordinator {
    client: Client,
    api: ApiUrl,
    limit: Duration,
}

/// A job that was given to us.
#[derive(Clone, PartialEq, Eq)]
pub struct Granted {
    /// All that was said of it, as it came. It has secrets.
    pub payload: Secret,
}

/// The answer to a request for a job.
#[derive(Clone, PartialEq, Eq)]
pub enum Answer {
    /// Here is one.
    Job(Granted),
    /// There is none.
    Nothing {
        /// What is to be said with the next request, so that it is held until there is one.
        last_update: Option<String>,
    },
    /// There was one, and somebody else was faster.
    Taken,
    /// This runner may not ask: its token is wrong, or it was deleted.
    Forbidden,
}

/// What became of the report of an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    /// It is known now.
    Taken,
    /// It is known already, or nobody wants to know.
    Moot,
    /// It is to be sent again in a while.
    Later,
}

/// What became of a piece of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traced {
    /// It is there.
    Taken,
    /// The trace ends elsewhere: there it may go on.
    EndsAt(u64),
    /// The job takes no more.
    Closed,
}

/// What a job of ours is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// It goes on.
    Running,
    /// It is over: so it says, or its token is good no more.
    Over,
    /// There is no such job, or not yet on the server that we asked.
    Unknown,
}

/// Why a runner is not registered.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// No answer.
    #[error(transparent)]
    Gitlab(#[from] GitlabError),
    /// GitLab says no.
    #[error("Failed to register runner: HTTP status code {status}, Body: '{body}'{hint}")]
    Refused {
        /// The status.
        status: u16,
        /// The beginning of what it says, on one line.
        body: String,
        /// What that usually means.
        hint: &'static str,
    },
}

impl Coordinator {
    /// Asks the API at `api`, reached by `route`.
    ///
    /// # Errors
    /// [`NetError`] when the settings of the route cannot be used.
    pub fn new(api: &ApiUrl, route: &Route) -> Result<Coordinator, NetError> {
        let mut route = route.clone();
        // One that holds a request says nothing meanwhile.
        route.limits.silence = LONG_POLL;
        Ok(Coordinator {
            client: Client::new(api.url(), &route, AGENT)?,
            api: api.clone(),
            limit: LIMIT,
        })
    }

    /// Where it is.
    pub fn api(&self) -> &ApiUrl {
        &self.api
    }

    /// Registers a runner, and gives its token.
    ///
    /// # Errors
    /// [`RegisterError`].
    pub async fn register(
        &self,
        registration_token: &str,
        name: &str,
        active: bool,
    ) -> Result<Secret, RegisterError> {
        let body = json!({
            "info": {"name": name},
            "description": name,
            "active": active,
            "token": registration_token,
        });
        let said = self
            .say(Method::POST, &["runners"], Body::Json(&body), self.limit)
            .await?;
        let heard: Value = accepted(said)?.json()?;
        match heard.get("token").and_then(Value::as_str) {
            Some(token) if !token.is_empty() => Ok(Secret::new(token.to_owned())),
            _ => Err(GitlabError::Odd {
                at: self.api.below(&["runners"]).into(),
                found: "an answer without a token".to_owned(),
            }
            .into()),
        }
    }

    /// Asks whether this is the token of a runner. Where a system id is given, that machine is made known.
    ///
    /// # Errors
    /// [`RegisterError`].
    pub async fn verify(&self, token: &str, system_id: Option<&str>) -> Result<(), RegisterError> {
        let mut body = json!({ "token": token });
        if let Some(id) = system_id {
            body["system_id"] = id.into();
        }
        let path = ["runners", "verify"];
        let said = self
            .say(Method::POST, &path, Body::Json(&body), self.limit)
            .await?;
        accepted(said).map(drop)
    }

    /// Asks for a job. With what was said last time it is held for up to 50 s.
    ///
    /// # Errors
    /// [`GitlabError`]: a job may have been given whose name nobody has heard.
    pub async fn request_job(
        &self,
        token: &str,
        machine: &Machine,
        last_update: Option<&str>,
    ) -> Result<Answer, GitlabError> {
        let mut body = json!({
            "token": token,
            "system_id": machine.system_id,
            "info": machine.info(),
        });
        if let Some(last_update) = last_update {
            body["last_update"] = last_update.into();
        }
        let path = ["jobs", "request"];
        let said = self
            .say(Method::POST, &path, Body::Json(&body), LONG_POLL)
            .await?;
        match said.status {
            StatusCode::NO_CONTENT => Ok(Answer::Nothing {
                last_update: said.header("x-gitlab-last-update"),
            }),
            StatusCode::CONFLICT => Ok(Answer::Taken),
            StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => Ok(Answer::Forbidden),
            status if status.is_success() => {
                let payload = said.text()?;
                Ok(Answer::Job(Granted {
                    payload: Secret::new(payload),
                }))
            }
            _ => Err(said.fault()),
        }
    }

    /// Tells that a job has failed for a reason of the runner's.
    ///
    /// # Errors
    /// [`GitlabError`].
    pub async fn report_failure(
        &self,
        job: u64,
        token: &str,
        machine: &Machine,
    ) -> Result<Report, GitlabError> {
        let body = json!({
            "token": token,
            "info": machine.info(),
            "state": "failed",
            "failure_reason": "runner_system_failure",
            "exit_code": LAUNCH_FAILED,
        });
        let id = job.to_string();
        let path = ["jobs", &id[..]];
        let said = self
            .say(Method::PUT, &path, Body::Json(&body), self.limit)
            .await?;
        match said.status {
            StatusCode::ACCEPTED => Ok(Report::Later),
            // It is over, its token is no good any more, or it is gone.
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => {
                Ok(Report::Moot)
            }
            status if status.is_success() => Ok(Report::Taken),
            _ => Err(said.fault()),
        }
    }

    /// Adds to the trace of a job, of which `offset` bytes are there.
    ///
    /// # Errors
    /// [`GitlabError`].
    pub async fn add_to_trace(
        &self,
        job: u64,
        token: &str,
        offset: u64,
        text: &str,
    ) -> Result<Traced, GitlabError> {
        let id = job.to_string();
        let path = ["jobs", &id[..], "trace"];
        let piece = Body::Trace {
            token,
            offset,
            text,
        };
        let said = self.say(Method::PATCH, &path, piece, self.limit).await?;
        match said.status {
            StatusCode::RANGE_NOT_SATISFIABLE => {
                let range = said.header("range");
                let end = range.and_then(|range| range.rsplit('-').next()?.trim().parse().ok());
                match end {
                    Some(end) => Ok(Traced::EndsAt(end)),
                    None => Err(said.fault()),
                }
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => {
                Ok(Traced::Closed)
            }
            status if status.is_success() => Ok(Traced::Taken),
            _ => Err(said.fault()),
        }
    }

    /// Asks how the job of a token is.
    ///
    /// # Errors
    /// [`GitlabError`].
    pub async fn progress(&self, token: &str) -> Result<Progress, GitlabError> {
        let said = self
            .say(Method::GET, &["job"], Body::JobToken(token), self.limit)
            .await?;
        match said.status {
            StatusCode::UNAUTHORIZED => Ok(Progress::Over),
            StatusCode::NOT_FOUND => Ok(Progress::Unknown),
            status if status.is_success() => {
                let job: Value = said.json()?;
                let word = job.get("status").and_then(Value::as_str);
                Ok(match word.is_some_and(status::is_over) {
                    true => Progress::Over,
                    false => Progress::Running,
                })
            }
            _ => Err(said.fault()),
        }
    }

    /// The custom attributes of a group, by their keys, for somebody with an administrator's token.
    ///
    /// # Errors
    /// [`GitlabError`]; what is not shown is refused.
    pub async fn attributes_of_group(
        &self,
        group: &str,
        token: &str,
    ) -> Result<Vec<(String, Secret)>, GitlabError> {
        let path = ["groups", group, "custom_attributes"];
        let said = self
            .say(Method::GET, &path, Body::Private(token), self.limit)
            .await?;
        if !said.status.is_success() {
            return Err(said.fault());
        }
        let all: Vec<Value> = said.json()?;
        let text = |one: &Value, key: &str| Some(one.get(key)?.as_str()?.to_owned());
        Ok(all
            .iter()
            .filter_map(|one| Some((text(one, "key")?, Secret::new(text(one, "value")?))))
            .collect())
    }
}

/// What the original tells as the exit code of a job that was never launched.
const LAUNCH_FAILED: i32 = 103;

fn accepted(said: Said) -> Result<Said, RegisterError> {
    if said.status.is_success() {
        return Ok(said);
    }
    Err(RegisterError::Refused {
        status: said.status.as_u16(),
        body: said.shown(),
        hint: match said.status.as_u16() {
            403 => "; the token is wrong, or it was revoked",
            410 => {
                "; this server takes no registration tokens any more: make a runner on its pages, and give its token, \
                 which begins with glrt-"
            }
            _ => "",
        },
    })
}

#[cfg(test)]
mod tests;

//! What Concourse is sent and what it answers, as it stands on the wire.

use std::time::{Duration, SystemTime};

use net::http::header::HeaderValue;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::reply::AtcError;
use crate::maker::{InstanceVars, Running, Status};
use crate::message::BuildRef;

pub(super) fn bearer(token: &str) -> Result<HeaderValue, AtcError> {
    let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
        .map_err(|_| AtcError::Odd("a token that cannot be sent".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// The instance vars as pairs of a query: `vars.branch` and `"main"`, what is nested by dots. `None` when the JSON is
/// of no object.
///
/// Source: Concourse, `PipelineRef.QueryParams` in `atc/pipeline.go`.
pub(super) fn pairs(vars: &InstanceVars) -> Option<Vec<(String, String)>> {
    fn flatten(path: &str, vars: &Map<String, Value>, pairs: &mut Vec<(String, String)>) {
        for (name, value) in vars {
            // A dot leads into a value, unless it is quoted.
            let path = if name.contains([',', '.', ':', '/', ' ']) {
                format!("{path}.\"{name}\"")
            } else {
                format!("{path}.{name}")
            };
            match value {
                Value::Object(vars) if !vars.is_empty() => flatten(&path, vars, pairs),
                value => pairs.push((path, value.to_string())),
            }
        }
    }
    match vars {
        InstanceVars::None | InstanceVars::Untold => Some(Vec::new()),
        InstanceVars::Query(pairs) => Some(pairs.clone()),
        InstanceVars::Json(json) => {
            let Ok(Value::Object(vars)) = serde_json::from_str(json) else {
                return None;
            };
            let mut pairs = Vec::new();
            flatten("vars", &vars, &mut pairs);
            Some(pairs)
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Token {
    pub access_token: String,
}

#[derive(Deserialize, Default)]
pub(super) struct Refusal {
    pub error: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Info {
    /// Only to know a Concourse by.
    #[serde(rename = "version")]
    pub _version: String,
    pub external_url: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct FoundTeam {
    pub name: String,
}

#[derive(Deserialize)]
pub(super) struct FoundPipeline {
    pub name: String,
    pub instance_vars: Option<Map<String, Value>>,
}

/// A build, as far as it matters here.
#[derive(Deserialize)]
pub(super) struct FoundBuild {
    pub id: Option<u64>,
    pub name: String,
    pub status: String,
    pub pipeline_name: Option<String>,
    pub job_name: Option<String>,
    pub start_time: Option<i64>,
    pub end_time: Option<i64>,
}

impl FoundBuild {
    pub fn status(&self) -> Result<Status, AtcError> {
        Status::read(&self.status)
            .ok_or_else(|| AtcError::Status(self.status.chars().take(40).collect()))
    }

    pub fn began(&self) -> Option<SystemTime> {
        moment(self.start_time?)
    }

    pub fn ended(&self) -> Option<SystemTime> {
        moment(self.end_time?)
    }

    /// The build as one of a team's that run, if it is one of a job and has not ended, as far as can be said. One that
    /// is pending has not begun, and can have made no claim.
    pub fn running(&self, team: &str) -> Option<Running> {
        let job = self.job_name.as_ref().filter(|job| !job.is_empty())?;
        if matches!(
            Status::read(&self.status),
            Some(Status::Ended(_) | Status::Alive("pending"))
        ) {
            return None;
        }
        let build = BuildRef {
            team: team.to_owned(),
            pipeline: self.pipeline_name.clone().unwrap_or_default(),
            job: job.clone(),
            build: self.name.clone(),
        };
        Some(Running {
            name: build.to_string(),
            began: self.began(),
        })
    }
}

/// The moment so many seconds after 1970; Concourse has 0 where there is none.
fn moment(seconds: i64) -> Option<SystemTime> {
    let seconds = u64::try_from(seconds).ok().filter(|n| *n > 0)?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

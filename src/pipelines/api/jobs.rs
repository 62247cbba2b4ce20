//! Pipelines and jobs.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use futures_util::stream;

use super::answer::{Answer, error, json, json_stream, text};
use super::query::{Fields, Query, body};
use super::{Api, OPENAPI, wire};
use crate::engine::ScheduleError;
use crate::job::{Job, JobId, Phase};
use crate::rules::{Refused, Request, Rerun};
use crate::token::Claims;
use crate::value::Variables;

/// How many jobs one piece of a list has.
const PIECE: usize = 64;

/// The longest name of a partition or a key.
pub(crate) const LONGEST_NAME: usize = 255;

fn or(result: Result<Answer, Answer>) -> Answer {
    result.unwrap_or_else(|answer| answer)
}

fn shown(api: &Api, claims: &Claims) -> Vec<wire::Pipeline> {
    let seen = api.view.look();
    let pipelines = seen
        .pipelines
        .values()
        .filter(|one| claims.may_see(&one.name));
    pipelines.map(wire::Pipeline::of).collect()
}

pub(super) async fn pipelines(
    State(api): State<Api>,
    Extension(claims): Extension<Claims>,
) -> Answer {
    json(
        StatusCode::OK,
        &wire::Pipelines {
            pipelines: shown(&api, &claims),
        },
    )
}

/// All jobs, the newest first, or those that are asked for.
pub(super) async fn jobs(
    State(api): State<Api>,
    Extension(claims): Extension<Claims>,
    uri: Uri,
) -> Answer {
    or(list(&api, &claims, &Query::of(&uri)))
}

fn list(api: &Api, claims: &Claims, query: &Query) -> Result<Answer, Answer> {
    let phase = match query.text("state") {
        None => None,
        Some(name) => Some(
            Phase::ALL
                .into_iter()
                .find(|phase| phase.name() == name)
                .ok_or_else(|| {
                    let words =
                        "Invalid state: it is waiting, locking, running, succeeded, failed or canceled";
                    error(StatusCode::BAD_REQUEST, words)
                })?,
        ),
    };
    let limit = query.number("limit")?.unwrap_or(usize::MAX);
    let before: Option<JobId> = match query.text("before") {
        None => None,
        Some(id) => Some(
            JobId::try_parse(id).map_err(|_| error(StatusCode::BAD_REQUEST, "Invalid job id"))?,
        ),
    };
    let pipelines = shown(api, claims);
    let seen = api.view.look();
    let end = match before {
        None => u64::MAX,
        Some(id) => seen
            .job(id)
            .map(|job| job.number)
            .ok_or_else(|| error(StatusCode::NOT_FOUND, "Job not found"))?,
    };
    let is_wanted = |job: &&Arc<Job>| {
        claims.may_see(&job.pipeline)
            && query
                .text("pipeline")
                .is_none_or(|name| job.pipeline == name)
            && query.text("user").is_none_or(|user| job.user == user)
            && phase.is_none_or(|phase| job.phase() == phase)
    };
    let newest_first = seen.jobs.range(..end).rev().map(|(_, job)| job);
    let jobs: Vec<Arc<Job>> = newest_first
        .filter(is_wanted)
        .take(limit)
        .cloned()
        .collect();
    drop(seen);
    Ok(json_stream(in_pieces(&pipelines, jobs)))
}

/// A list of any length, of which only a piece is a text at a time.
fn in_pieces(pipelines: &[wire::Pipeline], jobs: Vec<Arc<Job>>) -> Body {
    let pipelines = serde_json::to_string(pipelines).unwrap_or_default();
    let head = format!("{{\"pipelines\":{pipelines},\"jobs\":[");
    let pieces = jobs.len().div_ceil(PIECE);
    let middle = (0..pieces).map(move |piece| {
        let mut text = String::new();
        let start = piece * PIECE;
        for (at, job) in jobs[start..(start + PIECE).min(jobs.len())]
            .iter()
            .enumerate()
        {
            if start + at > 0 {
                text.push(',');
            }
            text.push_str(&serde_json::to_string(&wire::Job::of(job)).unwrap_or_default());
        }
        text
    });
    let all = std::iter::once(head)
        .chain(middle)
        .chain(std::iter::once("]}\n".to_owned()));
    Body::from_stream(stream::iter(all.map(Ok::<_, std::convert::Infallible>)))
}

pub(super) async fn detail(
    State(api): State<Api>,
    Extension(claims): Extension<Claims>,
    uri: Uri,
) -> Answer {
    or(Query::of(&uri)
        .job(&api, &claims)
        .map(|job| json(StatusCode::OK, &wire::Job::of(&job))))
}

pub(super) async fn cancel(
    State(api): State<Api>,
    Extension(claims): Extension<Claims>,
    uri: Uri,
) -> Answer {
    let job = match Query::of(&uri).job(&api, &claims) {
        Ok(job) => job,
        Err(answer) => return answer,
    };
    api.scheduler.cancel(job.id).await;
    json(StatusCode::OK, &true)
}

pub(super) async fn schedule(
    State(api): State<Api>,
    Extension(claims): Extension<Claims>,
    headers: HeaderMap,
    content: Body,
) -> Answer {
    let request = match body(&headers, content)
        .await
        .and_then(|bytes| request(&claims, &bytes))
    {
        Ok(request) => request,
        Err(answer) => return answer,
    };
    scheduled(api.scheduler.schedule(request).await)
}

fn request(claims: &Claims, bytes: &[u8]) -> Result<Request, Answer> {
    let fields = Fields::read(bytes)?;
    let name = |field: &str| {
        let name: Option<String> = fields.get(field)?;
        match name.filter(|name| !name.is_empty()) {
            Some(name) if name.len() > LONGEST_NAME || name.chars().any(char::is_control) => {
                let words = format!(
                    "Error decoding JSON: {field} has more than {LONGEST_NAME} bytes, or control characters"
                );
                Err(error(StatusCode::BAD_REQUEST, &words))
            }
            name => Ok(name),
        }
    };
    let pipeline: String = fields.get("pipeline")?.unwrap_or_default();
    // As if it were not there.
    if !claims.may_see(&pipeline) {
        return Err(refused(&Refused::Unknown(pipeline)));
    }
    Ok(Request {
        id: JobId::new_v4(),
        pipeline,
        variables: fields.get::<Variables>("variables")?.unwrap_or_default(),
        user: claims.user.clone(),
        partition: name("queuePartition")?.unwrap_or_default(),
        key: name("idempotencyKey")?,
        skipped: Default::default(),
    })
}

/// A job again, whole or from where it failed.
pub(super) async fn rerun(
    State(api): State<Api>,
    Extension(claims): Extension<Claims>,
    uri: Uri,
    headers: HeaderMap,
    content: Body,
) -> Answer {
    let read = async {
        let job = Query::of(&uri).job(&api, &claims)?;
        let bytes = body(&headers, content).await?;
        let fields = match bytes.is_empty() {
            true => Fields::read(b"{}")?,
            false => Fields::read(&bytes)?,
        };
        Ok(Rerun {
            of: job.id,
            from_failed: fields.get("fromFailed")?.unwrap_or_default(),
            variables: fields.get("variables")?.unwrap_or_default(),
        })
    };
    match read.await {
        Ok(rerun) => scheduled(api.scheduler.rerun(rerun, claims.user).await),
        Err(answer) => answer,
    }
}

fn scheduled(result: Result<JobId, ScheduleError>) -> Answer {
    match result {
        Ok(id) => json(
            StatusCode::ACCEPTED,
            &wire::Scheduled {
                job_id: id.to_string(),
            },
        ),
        Err(ScheduleError::Refused(why)) => refused(&why),
        Err(err @ (ScheduleError::Journal(_) | ScheduleError::Gone)) => {
            error(StatusCode::SERVICE_UNAVAILABLE, &err.to_string())
        }
    }
}

fn refused(why: &Refused) -> Answer {
    let status = match why {
        Refused::Stopping => return error(StatusCode::SERVICE_UNAVAILABLE, &why.to_string()),
        Refused::NoSuchJob => return error(StatusCode::NOT_FOUND, &why.to_string()),
        Refused::KeyTaken(_) | Refused::Singleton(_) => StatusCode::CONFLICT,
        Refused::Unknown(_)
        | Refused::NoQueue
        | Refused::Full
        | Refused::Variables(_)
        | Refused::NotAgain(_) => StatusCode::BAD_REQUEST,
    };
    error(status, &format!("Error scheduling pipeline: {why}"))
}

pub(super) async fn health() -> Answer {
    text(StatusCode::OK, "text/plain; charset=utf-8", "ok\n")
}

pub(super) async fn openapi() -> Answer {
    text(StatusCode::OK, "application/json", OPENAPI)
}

/// The numbers of all pipelines: not for those who may see some alone.
pub(super) async fn metrics(
    State(api): State<Api>,
    Extension(claims): Extension<Claims>,
    headers: HeaderMap,
) -> Answer {
    if claims.pipelines.is_some() {
        return error(
            StatusCode::FORBIDDEN,
            "This token is for some pipelines, and the metrics are of all",
        );
    }
    // A list may come in pieces.
    let accept = headers.get_all(header::ACCEPT).iter();
    let accept: Vec<&str> = accept.filter_map(|value| value.to_str().ok()).collect();
    match api.metrics.text(&accept.join(",")) {
        Ok((kind, all)) => text(StatusCode::OK, kind, all),
        Err(err) => error(StatusCode::INTERNAL_SERVER_ERROR, &err.to_string()),
    }
}

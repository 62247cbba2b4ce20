//! The logs of a task, as a whole or a part of them.

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use futures_util::stream;

use super::Api;
use super::answer::{Answer, error, json_stream};
use super::query::Query;
use crate::job::JobId;
use crate::logs::{From, Reader, Stream};
use crate::token::Claims;

/// The job and the task that are asked for.
pub(super) fn task(api: &Api, claims: &Claims, query: &Query) -> Result<(JobId, String), Answer> {
    // In the order of the original's answers.
    query.id()?;
    let name = query
        .text("task")
        .ok_or_else(|| error(StatusCode::BAD_REQUEST, "Invalid task name"))?;
    let job = query.job(api, claims)?;
    match job.task(name) {
        Some(_) => Ok((job.id, name.to_owned())),
        None => Err(error(StatusCode::NOT_FOUND, "Task not found")),
    }
}

pub(super) async fn logs(
    State(api): State<Api>,
    Extension(claims): Extension<Claims>,
    uri: Uri,
) -> Answer {
    read(&api, &claims, &Query::of(&uri)).unwrap_or_else(|answer| answer)
}

fn read(api: &Api, claims: &Claims, query: &Query) -> Result<Answer, Answer> {
    let (job, task) = task(api, claims, query)?;
    let (from, is_part) = match (offsets(query)?, query.number("tail")?) {
        (Some(_), Some(_)) => {
            return Err(error(
                StatusCode::BAD_REQUEST,
                "There is either an offset or a tail",
            ));
        }
        (Some((stdout, stderr)), None) => ([From::Byte(stdout), From::Byte(stderr)], true),
        (None, Some(n)) => ([From::Lines(n); 2], true),
        (None, None) => ([From::Start; 2], false),
    };
    let stdout = api.logs.read(job, &task, Stream::Stdout, from[0]);
    let stderr = api.logs.read(job, &task, Stream::Stderr, from[1]);
    Ok(json_stream(
        Document {
            stdout,
            stderr,
            is_part,
            part: Part::Head,
        }
        .body(),
    ))
}

/// `offset=10` for both streams, or `offset=10,20`.
fn offsets(query: &Query) -> Result<Option<(u64, u64)>, Answer> {
    let Some(text) = query.text("offset") else {
        return Ok(None);
    };
    let (stdout, stderr) = text.split_once(',').unwrap_or((text, text));
    match (stdout.parse(), stderr.parse()) {
        (Ok(stdout), Ok(stderr)) => Ok(Some((stdout, stderr))),
        _ => Err(error(
            StatusCode::BAD_REQUEST,
            "Invalid offset: it is a number of bytes, or two",
        )),
    }
}

/// `{"stdout":"…","stderr":"…"}`, of which only a piece is in memory at a time.
struct Document {
    stdout: Reader,
    stderr: Reader,
    is_part: bool,
    part: Part,
}

enum Part {
    Head,
    Stdout,
    Stderr,
    End,
}

impl Document {
    fn body(self) -> Body {
        let pieces = stream::unfold(self, async |mut document| {
            let piece = document.next()?;
            // Others have a turn between two pieces.
            tokio::task::yield_now().await;
            Some((Ok::<_, std::convert::Infallible>(piece), document))
        });
        Body::from_stream(pieces)
    }

    fn next(&mut self) -> Option<String> {
        match self.part {
            Part::Head => {
                self.part = Part::Stdout;
                Some("{\"stdout\":\"".to_owned())
            }
            Part::Stdout => Some(match self.stdout.next() {
                Some(piece) => escaped(&piece),
                None => {
                    self.part = Part::Stderr;
                    escaped(&self.stdout.rest()) + "\",\"stderr\":\""
                }
            }),
            Part::Stderr => Some(match self.stderr.next() {
                Some(piece) => escaped(&piece),
                None => {
                    self.part = Part::End;
                    let next = match self.is_part {
                        true => format!(
                            ",\"offset\":\"{},{}\"",
                            self.stdout.position(),
                            self.stderr.position()
                        ),
                        false => String::new(),
                    };
                    escaped(&self.stderr.rest()) + "\"" + &next + "}\n"
                }
            }),
            Part::End => None,
        }
    }
}

/// What is between the quotes of a string of JSON.
fn escaped(text: &str) -> String {
    let mut quoted = serde_json::to_string(text).unwrap_or_default();
    quoted.pop();
    if !quoted.is_empty() {
        quoted.remove(0);
    }
    quoted
}

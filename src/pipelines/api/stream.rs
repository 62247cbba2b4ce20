//! What happens, as it happens: server-sent events.
//!
//! Source: the HTML standard, "Server-sent events". Whoever was cut off comes back with the id of the last event that he has
//! got, in `Last-Event-ID`.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use futures_util::stream;
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::timeout;

use super::answer::{Answer, events as answer_with};
use super::query::Query;
use super::{Api, logs as log_files, wire};
use crate::job::JobId;
use crate::logs::{From, Reader, Stream};
use crate::token::Claims;
use crate::view::{Since, Update};

/// How long nothing is said at most: a proxy may take a silent connection for a dead one.
const SILENCE: Duration = Duration::from_secs(15);
/// How often a log that grows is looked at.
const LOOK: Duration = Duration::from_millis(100);

fn event(id: &str, kind: &str, data: &impl Serialize) -> String {
    // JSON has no line breaks.
    let data = serde_json::to_string(data).unwrap_or_default();
    format!("id: {id}\nevent: {kind}\ndata: {data}\n\n")
}

/// What the events of the two streams are called.
const KINDS: [&str; 2] = ["stdout", "stderr"];

const NOTHING: &str = ": nothing new\n\n";

fn last_id<'a>(headers: &'a HeaderMap, query: &'a Query) -> Option<&'a str> {
    let header = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    header.or_else(|| query.text("lastEventId"))
}

/// Each change of a job. The first event of a stream that cannot go on where it ended is `reset`.
pub(super) async fn events(
    State(api): State<Api>,
    Extension(claims): Extension<Claims>,
    headers: HeaderMap,
    uri: Uri,
) -> Answer {
    let query = Query::of(&uri);
    let last = last_id(&headers, &query).and_then(|id| {
        id.strip_prefix(&format!("{}-", api.view.run()))?
            .parse()
            .ok()
    });
    let mut queue = VecDeque::new();
    let newest = api.view.look().newest();
    let at = match (last, last_id(&headers, &query)) {
        (Some(last), _) => last,
        // From before this server was started.
        (None, Some(_)) => {
            queue.push_back(event(&format!("{}-{newest}", api.view.run()), "reset", &()));
            newest
        }
        (None, None) => {
            queue.push_back(format!("id: {}-{newest}\n: begins\n\n", api.view.run()));
            newest
        }
    };
    let pipeline = query.text("pipeline").map(str::to_owned);
    let changes = api.view.changes();
    let state = Changes {
        api,
        claims,
        pipeline,
        changes,
        at,
        queue,
    };
    answer_with(Body::from_stream(stream::unfold(
        state,
        async |mut state| {
            let piece = state.next().await?;
            Some((Ok::<_, Infallible>(piece), state))
        },
    )))
}

struct Changes {
    api: Api,
    claims: Claims,
    pipeline: Option<String>,
    changes: watch::Receiver<u64>,
    at: u64,
    queue: VecDeque<String>,
}

impl Changes {
    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(piece) = self.queue.pop_front() {
                return Some(piece);
            }
            self.changes.mark_unchanged();
            let since = self.api.view.look().since(self.at);
            let run = self.api.view.run();
            match since {
                Since::TooLate(newest) => {
                    self.at = newest;
                    self.queue
                        .push_back(event(&format!("{run}-{newest}"), "reset", &()));
                    continue;
                }
                Since::Updates(updates) => {
                    for (number, update) in updates {
                        self.at = number;
                        let job = update.job();
                        let is_wanted = self
                            .pipeline
                            .as_ref()
                            .is_none_or(|name| job.pipeline == *name);
                        if is_wanted && self.claims.may_see(&job.pipeline) {
                            let kind = match update {
                                Update::Job(_) => "job",
                                Update::Removed(_) => "removed",
                            };
                            let id = format!("{run}-{number}");
                            self.queue.push_back(event(&id, kind, &wire::Job::of(job)));
                        }
                    }
                }
            }
            if self.queue.is_empty() {
                match timeout(SILENCE, self.changes.changed()).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => return None,
                    Err(_) => return Some(NOTHING.to_owned()),
                }
            }
        }
    }
}

/// What a task writes, until it has ended.
pub(super) async fn logs(
    State(api): State<Api>,
    Extension(claims): Extension<Claims>,
    headers: HeaderMap,
    uri: Uri,
) -> Answer {
    let query = Query::of(&uri);
    let (job, task) = match log_files::task(&api, &claims, &query) {
        Ok(found) => found,
        Err(answer) => return answer,
    };
    let last = last_id(&headers, &query).and_then(|id| {
        let (stdout, stderr) = id.split_once('-')?;
        Some([stdout.parse().ok()?, stderr.parse().ok()?])
    });
    let at = last.unwrap_or([0, 0]);
    let changes = api.view.changes();
    let state = Written {
        api,
        job,
        task,
        changes,
        at,
        readers: None,
        is_over: false,
    };
    answer_with(Body::from_stream(stream::unfold(
        state,
        async |mut state| {
            let piece = state.next().await?;
            Some((Ok::<_, Infallible>(piece), state))
        },
    )))
}

struct Written {
    api: Api,
    job: JobId,
    task: String,
    changes: watch::Receiver<u64>,
    /// How far each stream was sent.
    at: [u64; 2],
    readers: Option<[Reader; 2]>,
    is_over: bool,
}

impl Written {
    async fn next(&mut self) -> Option<String> {
        let mut silent = Duration::ZERO;
        loop {
            if self.is_over {
                return None;
            }
            // Looked at before the log is: what is written before the end is sent before the end.
            let end = self.end();
            if let Some(piece) = self.read() {
                return Some(piece);
            }
            if let Some(end) = end {
                self.is_over = true;
                return Some(self.rest() + &end);
            }
            if silent >= SILENCE {
                return Some(NOTHING.to_owned());
            }
            let _ = timeout(LOOK, self.changes.changed()).await;
            silent += LOOK;
        }
    }

    fn id(&self) -> String {
        format!("{}-{}", self.at[0], self.at[1])
    }

    /// The last event, once the task has ended.
    fn end(&mut self) -> Option<String> {
        let seen = self.api.view.look();
        let job = seen.job(self.job).cloned();
        drop(seen);
        let Some(job) = job else {
            return Some(event(&self.id(), "removed", &()));
        };
        let is_over = job
            .task(&self.task)
            .is_none_or(|task| task.status.is_over());
        is_over.then(|| event(&self.id(), "end", &wire::Job::of(&job)))
    }

    fn read(&mut self) -> Option<String> {
        let (logs, job, task) = (&self.api.logs, self.job, &self.task);
        let open = |stream, at| logs.read(job, task, stream, From::Byte(at));
        if self
            .readers
            .as_ref()
            .is_none_or(|readers| readers.iter().any(|reader| !reader.is_open()))
        {
            self.readers = Some([
                open(Stream::Stdout, self.at[0]),
                open(Stream::Stderr, self.at[1]),
            ]);
        }
        let readers = self.readers.as_mut()?;
        for (which, kind) in KINDS.into_iter().enumerate() {
            let reader = &mut readers[which];
            if let Some(text) = reader.next() {
                // The end of a character may be missing: whoever comes back gets that again.
                self.at[which] = reader.position() - reader.held();
                if !text.is_empty() {
                    let id = format!("{}-{}", self.at[0], self.at[1]);
                    return Some(event(&id, kind, &wire::Text { text: &text }));
                }
            }
        }
        None
    }

    fn rest(&mut self) -> String {
        let mut all = String::new();
        for (at, kind) in KINDS.into_iter().enumerate() {
            let text = self
                .readers
                .as_mut()
                .map(|readers| readers[at].rest())
                .unwrap_or_default();
            if !text.is_empty() {
                all.push_str(&event(&self.id(), kind, &wire::Text { text: &text }));
            }
        }
        all
    }
}

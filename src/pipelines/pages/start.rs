//! Forms that start a job: a new one, or one like another.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use maud::{Markup, html};
use page::answer::{self, Answer, Sent};
use page::form::{Field, Form, Kind};
use page::{Mood, Page, Tone, part};
use serde_json::json;

use super::door::{self, Signed};
use super::values;
use super::words::{above, or, path_of_job, path_of_pipeline, short, shown};
use super::{Pages, SITE, error, job};
use crate::api::LONGEST_NAME;
use crate::definition::{Pipeline, Queue};
use crate::engine::ScheduleError;
use crate::job::{Job, JobId, Time};
use crate::rules::{Refused, Request, Rerun};
use crate::value::Variables;

/// The button that shows the request instead of sending it.
const SHOW: &str = "as-curl";

/// What a form is about.
struct Draft<'a> {
    signed: &'a Signed,
    host: String,
    pipeline: Arc<Pipeline>,
    /// The job that is run again, and whether from the failed task.
    again: Option<(Arc<Job>, bool)>,
    sent: Option<&'a Sent>,
    fault: Option<String>,
}

impl Draft<'_> {
    /// What fields are filled with.
    fn before(&self) -> Variables {
        let job = self.again.as_ref().map(|(job, _)| job);
        job.map(|job| job.public_variables()).unwrap_or_default()
    }

    fn answer(&self, status: StatusCode) -> Answer {
        let before = self.before();
        let parameters = self.pipeline.parameters.as_ref();
        let mut fields = values::fields(parameters, &before, self.sent);
        let mut hidden = Vec::new();
        match &self.again {
            None => {
                hidden.push(("pipeline".to_owned(), self.pipeline.name.clone()));
                if matches!(self.pipeline.queue, Queue::Partitioned(_)) {
                    fields.push(self.partition());
                }
            }
            Some((job, from_failed)) => {
                hidden.push(("id".to_owned(), job.id.to_string()));
                if *from_failed {
                    hidden.push(("from".to_owned(), "failed".to_owned()));
                }
            }
        }
        let form = Form {
            action: SITE.path(if self.again.is_some() {
                "/again"
            } else {
                "/start"
            }),
            csrf: self.signed.reader.csrf.clone(),
            hidden,
            fields,
            submit: if self.again.is_some() {
                "Run again"
            } else {
                "Start"
            }
            .to_owned(),
            second: Some((SHOW.to_owned(), "Show as curl".to_owned())),
            is_grave: false,
        };
        let body = html! {
            @if let Some(fault) = &self.fault { (part::note(Tone::Bad, html! { p role="alert" { (fault) } })) }
            @if let Some((job, from_failed)) = &self.again { (about(job, *from_failed)) }
            (form.html())
            (self.curl(&before))
        };
        let (title, above) = match &self.again {
            None => (
                format!("Start {}", shown(&self.pipeline.name)),
                vec![
                    ("Pipelines".to_owned(), SITE.path("/")),
                    (
                        shown(&self.pipeline.name),
                        path_of_pipeline(&self.pipeline.name),
                    ),
                ],
            ),
            Some((job, _)) => {
                let mut above = above(job);
                above.push((format!("Job {}", short(job.id)), path_of_job(job.id)));
                let title = match self.again {
                    Some((_, true)) => "Run again from the failed task",
                    _ => "Run again",
                };
                (title.to_owned(), above)
            }
        };
        let page = Page {
            site: &SITE,
            title,
            above,
            mood: Mood::Calm,
            place: "/",
            reader: Some(&self.signed.reader),
            events: None,
            now: Time::now().0,
            body,
        };
        answer::html(status, page.html())
    }

    fn partition(&self) -> Field {
        Field {
            name: "partition".to_owned(),
            label: "Partition of the wait list".to_owned(),
            kind: Kind::Text,
            value: self
                .sent
                .and_then(|sent| sent.get("partition"))
                .unwrap_or_default()
                .to_owned(),
            hint: "Jobs of one partition replace each other".to_owned(),
            ..Field::default()
        }
    }

    /// The request that the form sends, for a shell; secrets are not in it.
    fn curl(&self, before: &Variables) -> Markup {
        let parameters = self.pipeline.parameters.as_ref();
        let empty = Sent::default();
        let read = values::read(parameters, self.sent.unwrap_or(&empty), before);
        let mut variables = match (self.sent, read) {
            (Some(_), Ok(variables)) => variables,
            _ => self.filled(before),
        };
        for (name, value) in &mut variables {
            let is_secret = parameters
                .and_then(|all| all.get(name))
                .is_some_and(|one| one.is_secret);
            if is_secret {
                *value = crate::value::Value::Text("***".to_owned());
            }
        }
        let (path, body) = match &self.again {
            None => {
                let mut body = json!({"pipeline": self.pipeline.name, "variables": variables});
                if let Some(partition) = self.sent.and_then(|sent| sent.text("partition")) {
                    body["queuePartition"] = json!(partition);
                }
                ("/pipelines/schedule".to_owned(), body)
            }
            Some((job, from_failed)) => (
                format!("/job/rerun?id={}", job.id),
                json!({"fromFailed": from_failed, "variables": variables}),
            ),
        };
        let is_asked = self.sent.is_some_and(|sent| sent.get(SHOW).is_some());
        html! {
            details #curl open[is_asked] {
                summary { "The same with curl" }
                pre { (values::curl(&self.host, &path, &body)) }
                p.hint { "PRUNNER_TOKEN is a token of the API; the command “prunner debug” prints one." }
            }
        }
    }

    /// What the form is filled with at first.
    fn filled(&self, before: &Variables) -> Variables {
        let parameters = self.pipeline.parameters.iter().flatten();
        let defaults =
            parameters.filter_map(|(name, one)| Some((name.clone(), one.default.clone()?)));
        let mut all: Variables = defaults.collect();
        all.extend(before.clone());
        all
    }
}

fn about(job: &Job, from_failed: bool) -> Markup {
    let done = job
        .tasks
        .iter()
        .filter(|task| task.is_satisfied())
        .map(|task| shown(&task.definition.name));
    html! {
        @if from_failed {
            p { "These tasks are done, and not run again: " (done.collect::<Vec<_>>().join(", ")) "." }
        } @else {
            p { "All tasks are run again, as job " a href=(path_of_job(job.id)) { code { (short(job.id)) } } " was, with the values below." }
        }
    }
}

fn host(headers: &HeaderMap) -> String {
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    host.unwrap_or("localhost:9009").to_owned()
}

fn defined(pages: &Pages, signed: &Signed, name: &str) -> Result<Arc<Pipeline>, Answer> {
    let known = pages.api.view.look().definitions.get(name).cloned();
    known
        .filter(|_| signed.claims.may_see(name))
        .ok_or_else(|| error(StatusCode::NOT_FOUND, "There is no such pipeline"))
}

/// The form of a new job.
pub(super) async fn form(
    State(pages): State<Pages>,
    Extension(signed): Extension<Signed>,
    headers: HeaderMap,
    uri: Uri,
) -> Answer {
    let sent = Sent::parse(uri.query().unwrap_or_default().as_bytes());
    let name = sent.get("pipeline").unwrap_or_default();
    or(defined(&pages, &signed, name).map(|pipeline| {
        let draft = Draft {
            signed: &signed,
            host: host(&headers),
            pipeline,
            again: None,
            sent: None,
            fault: None,
        };
        draft.answer(StatusCode::OK)
    }))
}

/// Starts a job.
pub(super) async fn start(
    State(pages): State<Pages>,
    Extension(signed): Extension<Signed>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let sent = match door::sent(&pages, &signed, &headers, body).await {
        Ok(sent) => sent,
        Err(answer) => return answer,
    };
    let name = sent.get("pipeline").unwrap_or_default();
    let pipeline = match defined(&pages, &signed, name) {
        Ok(pipeline) => pipeline,
        Err(answer) => return answer,
    };
    let draft = Draft {
        signed: &signed,
        host: host(&headers),
        pipeline,
        again: None,
        sent: Some(&sent),
        fault: None,
    };
    if sent.get(SHOW).is_some() {
        return draft.answer(StatusCode::OK);
    }
    let read = values::read(draft.pipeline.parameters.as_ref(), &sent, &Variables::new());
    let variables = match read {
        Ok(variables) => variables,
        Err(words) => return refuse(draft, StatusCode::BAD_REQUEST, words),
    };
    let partition = sent.get("partition").unwrap_or_default();
    if partition.len() > LONGEST_NAME || partition.chars().any(char::is_control) {
        let words =
            format!("The partition has more than {LONGEST_NAME} bytes, or control characters");
        return refuse(draft, StatusCode::BAD_REQUEST, words);
    }
    let request = Request {
        id: JobId::new_v4(),
        pipeline: draft.pipeline.name.clone(),
        variables,
        user: signed.claims.user.clone(),
        partition: partition.to_owned(),
        key: None,
        skipped: Default::default(),
    };
    done(draft, pages.api.scheduler.schedule(request).await)
}

fn refuse(mut draft: Draft<'_>, status: StatusCode, words: String) -> Answer {
    draft.fault = Some(words);
    draft.answer(status)
}

fn done(draft: Draft<'_>, result: Result<JobId, ScheduleError>) -> Answer {
    match result {
        Ok(id) => answer::see_other(&path_of_job(id)),
        Err(ScheduleError::Refused(why)) => {
            let status = match why {
                Refused::Stopping => StatusCode::SERVICE_UNAVAILABLE,
                Refused::NoSuchJob => StatusCode::NOT_FOUND,
                _ => StatusCode::BAD_REQUEST,
            };
            refuse(draft, status, why.to_string())
        }
        Err(err @ (ScheduleError::Journal(_) | ScheduleError::Gone)) => {
            refuse(draft, StatusCode::SERVICE_UNAVAILABLE, err.to_string())
        }
    }
}

/// The form of a job like another one.
pub(super) async fn again(
    State(pages): State<Pages>,
    Extension(signed): Extension<Signed>,
    headers: HeaderMap,
    uri: Uri,
) -> Answer {
    let sent = Sent::parse(uri.query().unwrap_or_default().as_bytes());
    let found = job::find(&pages, &signed, &sent);
    or(found.and_then(|job| {
        let pipeline = defined(&pages, &signed, &job.pipeline)?;
        let draft = Draft {
            signed: &signed,
            host: host(&headers),
            pipeline,
            again: Some((job, sent.get("from") == Some("failed"))),
            sent: None,
            fault: None,
        };
        Ok(draft.answer(StatusCode::OK))
    }))
}

/// Runs a job again.
pub(super) async fn rerun(
    State(pages): State<Pages>,
    Extension(signed): Extension<Signed>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let sent = match door::sent(&pages, &signed, &headers, body).await {
        Ok(sent) => sent,
        Err(answer) => return answer,
    };
    let found = job::find(&pages, &signed, &sent);
    let found = found.and_then(|job| Ok((defined(&pages, &signed, &job.pipeline)?, job)));
    let (pipeline, job) = match found {
        Ok(found) => found,
        Err(answer) => return answer,
    };
    let from_failed = sent.get("from") == Some("failed");
    let draft = Draft {
        signed: &signed,
        host: host(&headers),
        pipeline,
        again: Some((job.clone(), from_failed)),
        sent: Some(&sent),
        fault: None,
    };
    if sent.get(SHOW).is_some() {
        return draft.answer(StatusCode::OK);
    }
    let read = values::read(draft.pipeline.parameters.as_ref(), &sent, &job.variables);
    let variables = match read {
        Ok(variables) => variables,
        Err(words) => return refuse(draft, StatusCode::BAD_REQUEST, words),
    };
    let rerun = Rerun {
        of: job.id,
        from_failed,
        variables,
    };
    done(
        draft,
        pages
            .api
            .scheduler
            .rerun(rerun, signed.claims.user.clone())
            .await,
    )
}

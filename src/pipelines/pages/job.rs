//! One job: its graph, its tasks, and what can be done with it.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use maud::{Markup, html};
use page::answer::{self, Answer, Sent};
use page::chart::{Span, bar};
use page::form::Form;
use page::graph::{Node, graph};
use page::part::{Row, column, number};
use page::{Page, Tone, moment, part};

use super::door::{self, Signed};
use super::log::has_log;
use super::words::{
    above, badge, duration, lasted, mood_of, or, path_of_job, path_of_log, short, shown,
    tone_of_task,
};
use super::{Pages, SITE, error, events};
use crate::job::{Hold, Job, JobId, Phase, Status, Task, Time};

/// The job that is asked for, if who asks may see it.
pub(super) fn find(pages: &Pages, signed: &Signed, sent: &Sent) -> Result<Arc<Job>, Answer> {
    let id = sent.text("id").and_then(|id| JobId::try_parse(id).ok());
    let job = id.and_then(|id| pages.api.view.look().job(id).cloned());
    job.filter(|job| signed.claims.may_see(&job.pipeline))
        .ok_or_else(|| {
            error(
                StatusCode::NOT_FOUND,
                "There is no such job: it may have been too old to be kept",
            )
        })
}

pub(super) async fn job(
    State(pages): State<Pages>,
    Extension(signed): Extension<Signed>,
    uri: Uri,
) -> Answer {
    let sent = Sent::parse(uri.query().unwrap_or_default().as_bytes());
    or(show(&pages, &signed, &sent))
}

fn show(pages: &Pages, signed: &Signed, sent: &Sent) -> Result<Answer, Answer> {
    let asked = find(pages, signed, sent)?;
    let events = events::path(pages, signed, &events::Scope::Job(asked.id));
    // As it is after that.
    let job = find(pages, signed, sent)?;
    let now = Time::now().0;
    let body = html! {
        (part::live("job", html! {
            (facts(&job, now))
            (notes(&job))
            (actions(&job, &signed.reader.csrf))
            @if let Some(graph) = graph("Graph of tasks", &nodes(&job, now)) {
                h2 { "Graph" }
                (part::wide("Graph of tasks", graph))
            }
            h2 { "Tasks" }
            (tasks(&job, now))
        }))
        (variables(&job))
    };
    let page = Page {
        site: &SITE,
        title: format!("{} {}", shown(&job.pipeline), short(job.id)),
        above: above(&job),
        mood: mood_of(job.phase()),
        place: "/jobs",
        reader: Some(&signed.reader),
        events: (!job.is_finished()).then_some(events),
        now,
        body,
    };
    Ok(answer::html(StatusCode::OK, page.html()))
}

fn facts(job: &Job, now: i64) -> Markup {
    let mut facts = vec![
        ("State", badge(job)),
        ("Came", moment::ago(job.created.0, now)),
        ("Took", duration(job, now)),
        (
            "User",
            html! { (if job.user.is_empty() { "–".to_owned() } else { shown(&job.user) }) },
        ),
        ("Id", html! { code { (job.id) } }),
    ];
    if !job.partition.is_empty() {
        facts.push(("Partition", html! { (shown(&job.partition)) }));
    }
    let locks = job
        .hold
        .locks()
        .iter()
        .map(|lock| format!("{}/{}", shown(&lock.pool), shown(&lock.name)));
    let locks: Vec<String> = locks.collect();
    if !locks.is_empty() {
        facts.push(("Locks", html! { (locks.join(", ")) }));
    }
    part::facts(&facts)
}

fn notes(job: &Job) -> Markup {
    // The first that failed is known as long as the server runs; later it is one with the same words.
    let is_of = |task: &&Task| task.errored && task.error == job.last_error;
    let of = job.first_failed().or_else(|| job.tasks.iter().find(is_of));
    let of = of.filter(|task| has_log(task));
    html! {
        @if let Hold::Waits(words) = &job.hold { (part::note(Tone::Warn, html! { p { (shown(words)) } })) }
        @if let Some(words) = &job.last_error {
            (part::note(Tone::Bad, html! {
                p {
                    @if let Some(task) = of { a href=(path_of_log(job.id, &task.definition.name)) { (shown(&task.definition.name)) } ": " }
                    (shown(words))
                }
            }))
        }
    }
}

fn actions(job: &Job, csrf: &str) -> Markup {
    let again = |from: bool| {
        SITE.path(&format!(
            "/again?id={}{}",
            job.id,
            if from { "&from=failed" } else { "" }
        ))
    };
    let cancel = Form {
        action: SITE.path("/cancel"),
        csrf: csrf.to_owned(),
        hidden: vec![("id".to_owned(), job.id.to_string())],
        submit: "Cancel this job".to_owned(),
        is_grave: true,
        ..Form::default()
    };
    html! {
        div.actions {
            @if !job.is_finished() { (cancel.html()) }
            @else {
                a.button href=(again(false)) { "Run again…" }
                // There is something to begin from, and something that was done.
                @if job.phase() != Phase::Succeeded && job.tasks.iter().any(Task::is_satisfied) {
                    a.button href=(again(true)) { "Run again from the failed task…" }
                }
            }
        }
    }
}

/// What is known of a task in a few words.
fn state_of(task: &Task) -> String {
    match (task.status, task.attempt) {
        (Status::Running, 1..) => format!("running, attempt {}", task.attempt + 1),
        (Status::Error, _) if task.exit_code > 0 => format!("error, exit code {}", task.exit_code),
        (status, _) => status.name().to_owned(),
    }
}

/// What went wrong with a task, where its exit code does not say it already.
pub(super) fn words_of(task: &Task) -> Option<&str> {
    let words = task.error.as_deref()?;
    (words != format!("exit status {}", task.exit_code)).then_some(words)
}

fn nodes(job: &Job, now: i64) -> Vec<Node> {
    let place = |name: &String| {
        job.tasks
            .iter()
            .position(|task| task.definition.name == *name)
    };
    let node = |task: &Task| {
        let took = match (task.start, task.end) {
            (Some(start), end) => moment::took(end.unwrap_or(Time(now)).since(start)),
            (None, _) => String::new(),
        };
        let below = match task.status {
            // It changes all the time.
            Status::Running => state_of(task),
            _ if took.is_empty() => state_of(task),
            _ => format!("{} · {took}", task.status.name()),
        };
        Node {
            name: shown(&task.definition.name),
            below,
            tone: tone_of_task(task),
            state: state_of(task),
            link: has_log(task).then(|| path_of_log(job.id, &task.definition.name)),
            after: task
                .definition
                .depends_on
                .iter()
                .filter_map(place)
                .collect(),
        }
    };
    job.tasks.iter().map(node).collect()
}

fn tasks(job: &Job, now: i64) -> Markup {
    let from = job.start.map_or(now, |start| start.0);
    let to = job.end.map_or(now, |end| end.0).max(from + 1);
    let row = |task: &Task| {
        let name = &task.definition.name;
        let span = task.start.map(|start| Span {
            from: start.0,
            to: task.end.map_or(now, |end| end.0),
            tone: tone_of_task(task),
            title: state_of(task),
            link: None,
        });
        let label = match (task.start, task.end) {
            (Some(start), end) => format!(
                "from {} to {} of the job",
                moment::took(start.since(Time(from))),
                moment::took(end.unwrap_or(Time(now)).since(Time(from)))
            ),
            (None, _) => "not begun".to_owned(),
        };
        Row {
            id: None,
            cells: vec![
                html! {
                    @if has_log(task) { a href=(path_of_log(job.id, name)) { (shown(name)) } }
                    @else { (shown(name)) }
                },
                html! {
                    (part::badge(tone_of_task(task), &state_of(task)))
                    @if let Hold::Waits(words) = &task.hold { div.quiet { (shown(words)) } }
                    @if let Some(words) = words_of(task) { div.quiet { (shown(words)) } }
                },
                lasted(task.start, task.end, now),
                bar(&label, from, to, span.as_slice()),
            ],
        }
    };
    let rows: Vec<Row> = job.tasks.iter().map(row).collect();
    let columns = [
        column("Task"),
        column("State"),
        number("Took"),
        column("When"),
    ];
    part::table("Tasks", &columns, &rows, "This pipeline has no tasks.")
}

fn variables(job: &Job) -> Markup {
    let variables = job.public_variables();
    let text =
        serde_json::to_value(&variables).and_then(|value| serde_json::to_string_pretty(&value));
    html! {
        @if !variables.is_empty() {
            h2 { "Variables" }
            pre { (text.unwrap_or_default()) }
        }
    }
}

/// Cancels a job.
pub(super) async fn cancel(
    State(pages): State<Pages>,
    Extension(signed): Extension<Signed>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let found = door::sent(&pages, &signed, &headers, body).await;
    let found = found.and_then(|sent| find(&pages, &signed, &sent));
    match found {
        Ok(job) => {
            pages.api.scheduler.cancel(job.id).await;
            answer::see_other(&path_of_job(job.id))
        }
        Err(answer) => answer,
    }
}

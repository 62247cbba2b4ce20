//! One pipeline: its tasks and its last jobs.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use maud::{Markup, html};
use page::answer::{self, Answer, Sent};
use page::part::Row;
use page::{Mood, Page, Tone, encoded, part};

use super::door::Signed;
use super::lists::{JOB_COLUMNS, PIPELINE, count, last, rows_of, start, usual};
use super::words::shown;
use super::{Pages, SITE, error, events};
use crate::definition;
use crate::job::{Job, Phase, Time};

/// How many jobs the page of a pipeline has.
const LAST: usize = 20;

/// The page.
pub(super) async fn pipeline(
    State(pages): State<Pages>,
    Extension(signed): Extension<Signed>,
    uri: Uri,
) -> Answer {
    let sent = Sent::parse(uri.query().unwrap_or_default().as_bytes());
    let name = sent.get("name").unwrap_or_default();
    let now = Time::now().0;
    let events = events::path(&pages, &signed, &events::Scope::All);
    let overview = pages.overview.of(&pages.api.view);
    let seen = pages.api.view.look();
    let definition = seen.definitions.get(name).cloned();
    let is_open = seen
        .pipelines
        .get(name)
        .is_some_and(|state| state.is_schedulable);
    drop(seen);
    let glance = overview.get(name).filter(|_| signed.claims.may_see(name));
    let Some(glance) = glance else {
        return error(StatusCode::NOT_FOUND, "There is no such pipeline");
    };
    let jobs: Vec<Arc<Job>> = {
        let seen = pages.api.view.look();
        let newest = seen.jobs.values().rev();
        newest
            .filter(|job| job.pipeline == name)
            .take(LAST)
            .cloned()
            .collect()
    };
    // All are of this pipeline.
    let mut rows: Vec<Row> = rows_of(&jobs, now);
    rows.iter_mut().for_each(|row| {
        row.cells.remove(PIPELINE);
    });
    let mut columns = JOB_COLUMNS.to_vec();
    columns.remove(PIPELINE);
    let mood = match glance.last_told().map(|job| job.phase()) {
        Some(Phase::Failed) => Mood::Bad,
        _ if glance.n_running > 0 => Mood::Busy,
        _ => Mood::Calm,
    };
    let body = html! {
        (part::live("pipeline", html! {
            @if definition.is_none() {
                (part::note(Tone::Warn, html! { p { "This pipeline is not defined any more." } }))
            }
            (part::facts(&[
                ("Last result", last(glance, now)),
                ("Usually takes", usual(glance)),
                ("Running", count(glance.n_running, name, "running")),
                ("Waiting", count(glance.n_waiting, name, "waiting")),
            ]))
            div.actions {
                @if definition.is_some() { (start(name, is_open)) }
                a href=(SITE.path(&format!("/jobs?pipeline={}", encoded(name)))) { "All its jobs" }
            }
        }))
        @if let Some(definition) = &definition { (tasks(definition)) }
        h2 { "Last jobs" }
        (part::live("jobs", part::table("Jobs", &columns, &rows, "It never ran.")))
    };
    let page = Page {
        site: &SITE,
        title: shown(name),
        above: vec![("Pipelines".to_owned(), SITE.path("/"))],
        mood,
        place: "/",
        reader: Some(&signed.reader),
        events: Some(events),
        now,
        body,
    };
    answer::html(StatusCode::OK, page.html())
}

fn tasks(pipeline: &definition::Pipeline) -> Markup {
    let place = |name: &String| pipeline.tasks.iter().position(|task| task.name == *name);
    let nodes: Vec<page::graph::Node> = pipeline
        .tasks
        .iter()
        .map(|task| page::graph::Node {
            name: shown(&task.name),
            below: String::new(),
            tone: Tone::Idle,
            state: "task".to_owned(),
            link: None,
            after: task.depends_on.iter().filter_map(place).collect(),
        })
        .collect();
    html! {
        @if let Some(graph) = page::graph::graph("Graph of tasks", &nodes) {
            h2 { "Tasks" }
            (part::wide("Graph of tasks", graph))
        }
        p.quiet { "Defined in " code { (shown(&pipeline.source)) } }
    }
}

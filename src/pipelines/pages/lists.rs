//! The lists of pipelines and of jobs.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use maud::{Markup, html};
use page::answer::{self, Answer, Sent};
use page::part::{Column, Row, column, number};
use page::{Mood, Page, encoded, moment, part};

use super::door::Signed;
use super::overview::Glance;
use super::words::{
    badge, duration, or, path_of_job, path_of_pipeline, path_of_start, short, shown, tone_of_job,
};
use super::{Pages, SITE, error, events};
use crate::job::{Job, JobId, Phase, Time};

/// How many jobs a page has.
const PER_PAGE: usize = 50;

/// The pipelines: the first page.
pub(super) async fn pipelines(
    State(pages): State<Pages>,
    Extension(signed): Extension<Signed>,
) -> Answer {
    let now = Time::now().0;
    let events = events::path(&pages, &signed, &events::Scope::All);
    let overview = pages.overview.of(&pages.api.view);
    let seen = pages.api.view.look();
    let states: Vec<_> = seen
        .pipelines
        .values()
        .filter(|state| signed.claims.may_see(&state.name))
        .cloned()
        .collect();
    drop(seen);
    let unknown = Glance::default();
    let glance = |name: &str| overview.get(name).unwrap_or(&unknown);
    let rows: Vec<Row> = states
        .iter()
        .map(|state| {
            let glance = glance(&state.name);
            Row {
                id: Some(format!("pipeline-{}", encoded(&state.name))),
                cells: vec![
                    html! { a href=(path_of_pipeline(&state.name)) { (shown(&state.name)) } },
                    last(glance, now),
                    squares(glance),
                    usual(glance),
                    count(glance.n_running, &state.name, "running"),
                    count(glance.n_waiting, &state.name, "waiting"),
                    start(&state.name, state.is_schedulable),
                ],
            }
        })
        .collect();
    let columns = [
        column("Pipeline"),
        column("Last result"),
        column("Lately"),
        number("Usually takes"),
        number("Running"),
        number("Waiting"),
        column("Start"),
    ];
    let table = part::table(
        "Pipelines",
        &columns,
        &rows,
        "No pipeline is defined, or none that you may see.",
    );
    let has_failed = |name: &str| {
        glance(name)
            .last_told()
            .is_some_and(|job| job.phase() == Phase::Failed)
    };
    let is_busy = |name: &str| glance(name).n_running + glance(name).n_waiting > 0;
    let mood = match () {
        () if states.iter().any(|state| has_failed(&state.name)) => Mood::Bad,
        () if states.iter().any(|state| is_busy(&state.name)) => Mood::Busy,
        () => Mood::Calm,
    };
    let page = Page {
        site: &SITE,
        title: "Pipelines".to_owned(),
        above: Vec::new(),
        mood,
        place: "/",
        reader: Some(&signed.reader),
        events: Some(events),
        now,
        body: part::live("pipelines", table),
    };
    answer::html(StatusCode::OK, page.html())
}

pub(super) fn last(glance: &Glance, now: i64) -> Markup {
    match glance.last.first() {
        None => html! { span.muted { "never ran" } },
        Some(job) => html! {
            a href=(path_of_job(job.id)) { (badge(job)) }
            @if let Some(end) = job.end { " " span.quiet { (moment::ago(end.0, now)) } }
        },
    }
}

/// The last results, the newest at the right.
fn squares(glance: &Glance) -> Markup {
    if glance.last.is_empty() {
        return html! {};
    }
    let names: Vec<&str> = glance
        .last
        .iter()
        .rev()
        .map(|job| job.phase().name())
        .collect();
    html! {
        svg.squares role="img" width=(glance.last.len() * 13) height="14" aria-label=(names.join(", ")) {
            @for (at, job) in glance.last.iter().rev().enumerate() {
                // What failed is higher, for those who see no colours.
                @let (y, height) = if job.phase() == Phase::Failed { ("0", "14") } else { ("4", "8") };
                rect.(tone_of_job(job.phase()).class()) x=(at * 13) y=(y) width="10" height=(height) rx="2" {
                    title { (job.phase().name()) }
                }
            }
        }
    }
}

pub(super) fn usual(glance: &Glance) -> Markup {
    html! { (glance.usual.map_or("–".to_owned(), moment::took)) }
}

pub(super) fn count(n: usize, pipeline: &str, state: &str) -> Markup {
    let path = SITE.path(&format!(
        "/jobs?pipeline={}&state={state}",
        encoded(pipeline)
    ));
    html! { @if n > 0 { a href=(path) { (n) } } @else { "0" } }
}

pub(super) fn start(pipeline: &str, is_open: bool) -> Markup {
    let name = format!("Start {}", shown(pipeline));
    html! {
        @if is_open { a.button href=(path_of_start(pipeline)) aria-label=(name) { "Start…" } }
        @else { span.muted { "full" } }
    }
}

pub(super) const JOB_COLUMNS: [Column; 6] = [
    column("Job"),
    column("Pipeline"),
    column("State"),
    column("Came"),
    number("Took"),
    column("User"),
];

/// The place of the column with the pipeline.
pub(super) const PIPELINE: usize = 1;

pub(super) fn rows_of(jobs: &[Arc<Job>], now: i64) -> Vec<Row> {
    let row = |job: &Arc<Job>| Row {
        id: Some(format!("job-{}", job.id)),
        cells: vec![
            html! { a href=(path_of_job(job.id)) { code { (short(job.id)) } } },
            html! { a href=(path_of_pipeline(&job.pipeline)) { (shown(&job.pipeline)) } },
            badge(job),
            moment::ago(job.created.0, now),
            duration(job, now),
            html! { (shown(&job.user)) },
        ],
    };
    jobs.iter().map(row).collect()
}

/// Which jobs are asked for.
struct Filter<'a> {
    pipeline: Option<&'a str>,
    state: Option<Phase>,
    user: Option<&'a str>,
    before: Option<JobId>,
}

impl<'a> Filter<'a> {
    fn of(sent: &'a Sent) -> Result<Filter<'a>, Answer> {
        let state = sent.text("state").map(|name| {
            let known = Phase::ALL.into_iter().find(|phase| phase.name() == name);
            known.ok_or_else(|| error(StatusCode::BAD_REQUEST, "There is no such state of a job"))
        });
        let before = sent.text("before").map(|id| {
            JobId::try_parse(id)
                .map_err(|_| error(StatusCode::BAD_REQUEST, "This is no id of a job"))
        });
        Ok(Filter {
            pipeline: sent.text("pipeline"),
            state: state.transpose()?,
            user: sent.text("user"),
            before: before.transpose()?,
        })
    }

    fn is_wanted(&self, job: &Job) -> bool {
        self.pipeline.is_none_or(|name| job.pipeline == name)
            && self.user.is_none_or(|user| job.user == user)
            && self.state.is_none_or(|state| job.phase() == state)
    }

    fn path(&self, before: Option<JobId>) -> String {
        let pairs = [
            ("pipeline", self.pipeline.map(encoded)),
            ("state", self.state.map(|state| state.name().to_owned())),
            ("user", self.user.map(encoded)),
            ("before", before.map(|id| id.to_string())),
        ];
        let pairs = pairs
            .into_iter()
            .filter_map(|(name, value)| Some(format!("{name}={}", value?)));
        SITE.path(&format!("/jobs?{}", pairs.collect::<Vec<_>>().join("&")))
    }
}

/// Jobs, the newest first.
pub(super) async fn jobs(
    State(pages): State<Pages>,
    Extension(signed): Extension<Signed>,
    uri: Uri,
) -> Answer {
    let sent = Sent::parse(uri.query().unwrap_or_default().as_bytes());
    or(list(&pages, &signed, &sent))
}

fn list(pages: &Pages, signed: &Signed, sent: &Sent) -> Result<Answer, Answer> {
    let now = Time::now().0;
    let filter = Filter::of(sent)?;
    let events = events::path(pages, signed, &events::Scope::All);
    let seen = pages.api.view.look();
    let end = match filter.before {
        None => u64::MAX,
        Some(id) => seen.job(id).map_or(u64::MAX, |job| job.number),
    };
    let mut jobs: Vec<Arc<Job>> = seen
        .jobs
        .range(..end)
        .rev()
        .map(|(_, job)| job)
        .filter(|job| signed.claims.may_see(&job.pipeline) && filter.is_wanted(job))
        .take(PER_PAGE + 1)
        .cloned()
        .collect();
    let names: Vec<String> = seen
        .pipelines
        .keys()
        .filter(|name| signed.claims.may_see(name))
        .cloned()
        .collect();
    drop(seen);
    let has_more = jobs.len() > PER_PAGE;
    jobs.truncate(PER_PAGE);
    let rows = rows_of(&jobs, now);
    let table = part::table("Jobs", &JOB_COLUMNS, &rows, "There is no such job.");
    let next = jobs
        .last()
        .filter(|_| has_more)
        .map(|job| filter.path(Some(job.id)));
    let body = html! {
        (filters(&filter, &names))
        (part::live("jobs", html! {
            (table)
            div.actions {
                @if filter.before.is_some() { a.button href=(filter.path(None)) { "Newest" } }
                @if let Some(path) = next { a.button href=(path) { "Older" } }
            }
        }))
    };
    let is_busy = jobs.iter().any(|job| !job.is_finished());
    let page = Page {
        site: &SITE,
        title: "Jobs".to_owned(),
        above: Vec::new(),
        mood: if is_busy { Mood::Busy } else { Mood::Calm },
        place: "/jobs",
        reader: Some(&signed.reader),
        events: Some(events),
        now,
        body,
    };
    Ok(answer::html(StatusCode::OK, page.html()))
}

fn filters(filter: &Filter<'_>, names: &[String]) -> Markup {
    let is_known = filter
        .pipeline
        .is_none_or(|name| names.iter().any(|one| one == name));
    html! {
        form.filters method="get" action=(SITE.path("/jobs")) {
            div.field {
                label for="pipeline" { "Pipeline" }
                select #pipeline name="pipeline" {
                    option value="" { "all" }
                    @if !is_known { option selected { (filter.pipeline.unwrap_or_default()) } }
                    @for name in names { option value=(name) selected[filter.pipeline == Some(name)] { (shown(name)) } }
                }
            }
            div.field {
                label for="state" { "State" }
                select #state name="state" {
                    option value="" { "all" }
                    @for phase in Phase::ALL { option selected[filter.state == Some(phase)] { (phase.name()) } }
                }
            }
            div.field {
                label for="user" { "User" }
                input #user name="user" type="text" value=(filter.user.unwrap_or_default());
            }
            button type="submit" { "Show" }
        }
    }
}

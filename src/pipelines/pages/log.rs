//! The log of a task: its last lines, or those around one, or those with a text in them; and as a file.

use std::fs::File;
use std::io::Read;
use std::sync::Arc;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, Uri, header};
use futures_util::stream;
use maud::{Markup, PreEscaped, html};
use page::answer::{self, Answer, Sent};
use page::log::{Lines, Style};
use page::{Page, Tone, encoded, part};

use super::door::Signed;
use super::job::words_of;
use super::tail::render;
use super::words::{
    above, lasted, mood_of, or, path_of_job, path_of_log, short, shown, tone_of_task,
};
use super::{Pages, SITE, error, events};
use crate::job::{Job, JobId, Status, Task, Time};
use crate::logs::Stream;
use crate::logs::lines::Line;

/// Both, in the order of the page.
pub(super) const STREAMS: [Stream; 2] = [Stream::Stdout, Stream::Stderr];
/// How many lines a page has.
const LINES: u64 = 1000;
/// How many of them are before the one that is asked for.
const BEFORE: u64 = 200;
/// How many lines a search finds.
const FOUND: usize = 500;
/// How much of a file is read at once.
const PIECE: usize = 64 * 1024;

/// How a stream is called in a page.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names {
    /// Its id.
    pub(super) id: &'static str,
    /// What stands before a number in the id of a line.
    pub(super) prefix: &'static str,
}

pub(super) fn names(stream: Stream) -> Names {
    match stream {
        Stream::Stdout => Names {
            id: "stdout",
            prefix: "L",
        },
        Stream::Stderr => Names {
            id: "stderr",
            prefix: "E",
        },
    }
}

/// What leads to a line with its number behind it: it is right wherever it is opened, also without the script.
pub(super) fn link(job: JobId, task: &str, stream: Stream) -> String {
    format!("{}&{}=", path_of_log(job, task), names(stream).prefix)
}

/// A log that is asked for.
struct Wanted {
    job: Arc<Job>,
    name: String,
}

impl Wanted {
    fn of(pages: &Pages, signed: &Signed, sent: &Sent) -> Result<Wanted, Answer> {
        let none = || {
            error(
                StatusCode::NOT_FOUND,
                "There is no such job, or no such task of it",
            )
        };
        let id = sent
            .text("id")
            .and_then(|id| JobId::try_parse(id).ok())
            .ok_or_else(none)?;
        let job = pages.api.view.look().job(id).cloned();
        let job = job
            .filter(|job| signed.claims.may_see(&job.pipeline))
            .ok_or_else(none)?;
        let name = sent.get("task").unwrap_or_default().to_owned();
        job.task(&name).ok_or_else(none)?;
        Ok(Wanted { job, name })
    }
}

/// What of a log is shown.
struct Part {
    stream: Stream,
    n_lines: u64,
    lines: Vec<Line>,
    has_more: bool,
    is_end: bool,
}

pub(super) async fn page(
    State(pages): State<Pages>,
    Extension(signed): Extension<Signed>,
    uri: Uri,
) -> Answer {
    let sent = Sent::parse(uri.query().unwrap_or_default().as_bytes());
    let wanted = match Wanted::of(&pages, &signed, &sent) {
        Ok(wanted) => wanted,
        Err(answer) => return answer,
    };
    let Wanted { job, name } = &wanted;
    let Some(task) = job.task(name) else {
        return error(StatusCode::NOT_FOUND, "There is no such task");
    };
    let events = events::path(&pages, &signed, &events::Scope::Log(job.id, name.clone()));
    let at = |name: &str| sent.text(name).and_then(|line| line.parse::<u64>().ok());
    let wish = |stream| {
        at(match stream {
            Stream::Stdout => "L",
            Stream::Stderr => "E",
        })
    };
    let search = sent.text("q");
    let mut parts = Vec::new();
    for stream in STREAMS {
        parts.push(read(&pages, job.id, name, stream, wish(stream), search).await);
    }
    let is_whole = search.is_none();
    let is_live = !task.status.is_over();
    let base = path_of_log(job.id, name);
    let now = Time::now().0;
    let is_follower = is_live && is_whole;
    let body = html! {
        (part::live("state", state(task, now)))
        div.actions {
            a href=(path_of_job(job.id)) { "The whole job" }
            @for stream in STREAMS {
                @let path = SITE.path(&format!("/log.txt?id={}&task={}&stream={}", job.id, encoded(name), stream.name()));
                a href=(path) download { "Download " (stream.name()) }
            }
        }
        form.filters method="get" action=(SITE.path("/log")) role="search" {
            input type="hidden" name="id" value=(job.id);
            input type="hidden" name="task" value=(name);
            div.field {
                label for="q" { "Lines with" }
                input #q name="q" type="search" value=(search.unwrap_or_default());
            }
            button type="submit" { "Search" }
            @if search.is_some() { a href=(base) { "All lines" } }
        }
        @for part in &parts { (part.html(&link(job.id, name, part.stream), search, is_follower)) }
    };
    let page = Page {
        site: &SITE,
        title: shown(name),
        above: {
            let mut above = above(job);
            above.push((format!("Job {}", short(job.id)), path_of_job(job.id)));
            above
        },
        mood: mood_of(job.phase()),
        place: "/jobs",
        reader: Some(&signed.reader),
        events: is_live.then_some(events),
        now,
        body,
    };
    answer::html(StatusCode::OK, page.html())
}

async fn read(
    pages: &Pages,
    job: JobId,
    task: &str,
    stream: Stream,
    at: Option<u64>,
    search: Option<&str>,
) -> Part {
    let tail = pages.tails.get(job, task, stream);
    if let Some(text) = search {
        let (lines, has_more) = tail.search(text.to_owned(), FOUND).await;
        return Part {
            stream,
            n_lines: lines.last().map_or(0, |line| line.number),
            lines,
            has_more,
            is_end: false,
        };
    }
    let which = move |n_lines: u64| {
        let last = n_lines.saturating_sub(LINES - 1).max(1);
        let start = at.map_or(last, |line| line.saturating_sub(BEFORE).clamp(1, last));
        start..=start.saturating_add(LINES - 1)
    };
    let (n_lines, lines) = tail.lines(which).await;
    let is_end = lines.last().is_none_or(|line| line.number >= n_lines);
    Part {
        stream,
        n_lines,
        lines,
        has_more: false,
        is_end,
    }
}

/// How the task is. It is a part of its own: the log below it changes in another way.
fn state(task: &Task, now: i64) -> Markup {
    html! {
        (part::facts(&[
            ("State", part::badge(tone_of_task(task), task.status.name())),
            ("Took", lasted(task.start, task.end, now)),
            ("Exit code", html! { @if task.status.is_over() && task.exit_code >= 0 { (task.exit_code) } @else { "–" } }),
        ]))
        @if let Some(words) = words_of(task) { (part::note(Tone::Bad, html! { p { (shown(words)) } })) }
    }
}

impl Part {
    fn html(&self, link: &str, search: Option<&str>, is_followed: bool) -> Markup {
        let names = names(self.stream);
        let label = format!("Lines of {}", self.stream.name());
        let is_followed = is_followed && self.is_end;
        let to = |line: u64| format!("{link}{line}#{}{line}", names.prefix);
        let (first, last) = (self.lines.first(), self.lines.last());
        let form = Lines {
            prefix: names.prefix,
            link,
        };
        html! {
            h2 { (self.stream.name()) " " span.quiet { (self.about(search, is_followed)) } }
            @if let Some(first) = first.filter(|first| search.is_none() && first.number > 1) {
                p.quiet { a href=(to(first.number - 1)) { "Earlier lines" } }
            }
            @if is_followed {
                p.check hidden {
                    input type="checkbox" id=(format!("follow-{}", names.id)) data-follow=(names.id);
                    label for=(format!("follow-{}", names.id)) { "Follow the end" }
                }
            }
            @if is_followed || !self.lines.is_empty() {
                // The script adds to it.
                div.log id=(names.id) tabindex="0" role="region" aria-label=(label)
                    data-log[search.is_none()] data-follow[is_followed] data-link=(link)
                    data-prefix=(names.prefix) data-last=(self.n_lines) {
                    @if search.is_some() { (self.found(form)) }
                    @else { (PreEscaped(render(form, &self.lines, Style::default()).0)) }
                }
            }
            @if let Some(last) = last.filter(|_| search.is_none() && !self.is_end) {
                p.quiet { a href=(to(last.number + 1)) { "Later lines" } }
            }
        }
    }

    fn about(&self, search: Option<&str>, is_followed: bool) -> String {
        match (
            search,
            self.lines.len(),
            self.lines.first(),
            self.lines.last(),
        ) {
            // It changes all the time.
            (None, ..) if is_followed => String::new(),
            (None, 0, ..) => "nothing".to_owned(),
            (Some(_), 0, ..) => "no such line".to_owned(),
            (Some(_), n, ..) if self.has_more => format!("the first {n} lines that have it"),
            (Some(_), n, ..) => format!("{n} of its lines have it"),
            (None, n, ..) if n as u64 == self.n_lines => String::new(),
            (None, _, Some(first), Some(last)) => {
                format!(
                    "lines {} to {} of {}",
                    first.number, last.number, self.n_lines
                )
            }
            (None, ..) => String::new(),
        }
    }

    /// Lines that were found: each leads to its place.
    fn found(&self, form: Lines<'_>) -> Markup {
        html! { @for line in &self.lines { (form.line(line.number, &line.text, line.left_out, &mut Style::default())) } }
    }
}

/// The log as a file, byte for byte.
pub(super) async fn download(
    State(pages): State<Pages>,
    Extension(signed): Extension<Signed>,
    uri: Uri,
) -> Answer {
    let sent = Sent::parse(uri.query().unwrap_or_default().as_bytes());
    or(file(&pages, &signed, &sent))
}

fn file(pages: &Pages, signed: &Signed, sent: &Sent) -> Result<Answer, Answer> {
    let Wanted { job, name } = Wanted::of(pages, signed, sent)?;
    let stream = STREAMS
        .into_iter()
        .find(|stream| Some(stream.name()) == sent.get("stream"));
    let stream = stream.ok_or_else(|| error(StatusCode::NOT_FOUND, "A log is stdout or stderr"))?;
    let file = File::open(pages.api.logs.path(job.id, &name, stream)).ok();
    let pieces = stream::unfold(file, async |file| {
        let mut file = file?;
        let mut piece = vec![0; PIECE];
        match file.read(&mut piece) {
            Ok(0) => None,
            Ok(n) => {
                piece.truncate(n);
                // Others have a turn between two pieces.
                tokio::task::yield_now().await;
                Some((Ok(Bytes::from(piece)), Some(file)))
            }
            Err(err) => Some((Err(err), None)),
        }
    });
    let mut answer = answer::content(
        StatusCode::OK,
        "text/plain; charset=utf-8",
        Body::from_stream(pieces),
    );
    let plain: String = name
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || "-_.".contains(c) {
                c
            } else {
                '_'
            }
        })
        .collect();
    let file = format!(
        "attachment; filename=\"{}-{plain}-{}.log\"",
        short(job.id),
        stream.name()
    );
    if let Ok(value) = HeaderValue::from_str(&file) {
        answer
            .headers_mut()
            .insert(header::CONTENT_DISPOSITION, value);
    }
    Ok(answer)
}

/// Whether a task has, or may have, a log.
pub(super) fn has_log(task: &Task) -> bool {
    !matches!(task.status, Status::Waiting | Status::Skipped) && task.start.is_some()
}

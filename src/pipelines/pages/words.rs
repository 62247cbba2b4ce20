//! What states look like, and how things are linked.

use std::sync::Arc;

use maud::{Markup, html};
use page::answer::Answer;
use page::{Mood, Tone, encoded, moment, part};

use super::SITE;
use crate::job::{Job, JobId, Phase, Status, Task, Time};

pub(super) fn tone_of_job(phase: Phase) -> Tone {
    match phase {
        Phase::Waiting | Phase::Locking => Tone::Warn,
        Phase::Running => Tone::Busy,
        Phase::Succeeded => Tone::Good,
        Phase::Failed => Tone::Bad,
        Phase::Canceled => Tone::Idle,
    }
}

pub(super) fn tone_of_task(task: &Task) -> Tone {
    match task.status {
        Status::Running => Tone::Busy,
        Status::Done => Tone::Good,
        Status::Error => Tone::Bad,
        Status::Waiting | Status::Canceled | Status::Skipped => Tone::Idle,
    }
}

pub(super) fn mood_of(phase: Phase) -> Mood {
    match phase {
        Phase::Failed => Mood::Bad,
        Phase::Waiting | Phase::Locking | Phase::Running => Mood::Busy,
        Phase::Succeeded | Phase::Canceled => Mood::Calm,
    }
}

pub(super) fn badge(job: &Job) -> Markup {
    let phase = job.phase();
    part::badge(tone_of_job(phase), phase.name())
}

pub(super) fn path_of_job(id: JobId) -> String {
    SITE.path(&format!("/job?id={id}"))
}

pub(super) fn path_of_pipeline(name: &str) -> String {
    SITE.path(&format!("/pipeline?name={}", encoded(name)))
}

pub(super) fn path_of_start(name: &str) -> String {
    SITE.path(&format!("/start?pipeline={}", encoded(name)))
}

pub(super) fn path_of_log(job: JobId, task: &str) -> String {
    SITE.path(&format!("/log?id={job}&task={}", encoded(task)))
}

/// The beginning of an id, which is enough for people.
pub(super) fn short(id: JobId) -> String {
    id.to_string().chars().take(8).collect()
}

/// How long a job took, or takes.
pub(super) fn duration(job: &Job, now: i64) -> Markup {
    lasted(job.start, job.end, now)
}

/// How long something took, or takes.
pub(super) fn lasted(start: Option<Time>, end: Option<Time>, now: i64) -> Markup {
    match (start, end) {
        (Some(start), Some(end)) => html! { (moment::took(end.since(start))) },
        (Some(start), None) => moment::since(start.0, now),
        (None, _) => html! { "–" },
    }
}

/// A job's place in the navigation: its pipeline, and itself.
pub(super) fn above(job: &Arc<Job>) -> Vec<(String, String)> {
    vec![
        ("Pipelines".to_owned(), SITE.path("/")),
        (shown(&job.pipeline), path_of_pipeline(&job.pipeline)),
    ]
}

/// A name of somebody's as it may stand in a line: all of it is seen.
pub(super) fn shown(name: &str) -> String {
    terminal::one_line(name)
}

/// What a handler has made, or what it could not make.
pub(super) fn or(result: Result<Answer, Answer>) -> Answer {
    result.unwrap_or_else(|answer| answer)
}

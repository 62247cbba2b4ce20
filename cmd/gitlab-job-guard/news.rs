//! What people and programs read while we wait: lines as 0.0.4.3 writes them, or lines of JSON.

use std::env;
use std::fmt::Arguments;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

use guard::rule::{Conflict, Why};
use guard::wait::News;
use pace::duration::{in_two_units, whole_seconds};
use serde_json::{Value, json};
use terminal::{chain, one_line};

use super::flags::Flags;

/// Where lines go, and in which form.
pub struct Log {
    form: Form,
    /// Whether stdout belongs to a command.
    to_stderr: bool,
    statuses: String,
    program: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Text,
    Json,
    Silent,
}

#[derive(Clone, Copy)]
enum Level {
    Info,
    Warning,
    Error,
}

impl Log {
    /// The log that these flags ask for.
    pub fn new(flags: &Flags) -> Log {
        let program = env::args_os().next().unwrap_or_default();
        let program = Path::new(&program).file_name().unwrap_or_default();
        Log {
            form: match (flags.json, flags.silent) {
                (true, _) => Form::Json,
                (false, true) => Form::Silent,
                (false, false) => Form::Text,
            },
            to_stderr: !flags.command.is_empty(),
            statuses: flags.guard_status_regex.clone(),
            program: program.to_string_lossy().into_owned(),
        }
    }

    /// Tells what becomes of the wait.
    pub fn tell(&self, news: &News<'_>) {
        match news {
            News::Changed(conflicts) => {
                self.json("waiting", json!({ "pipelines": described(conflicts) }));
                if self.form == Form::Text {
                    self.write(format_args!("\n"));
                }
                self.summary(conflicts);
            }
            News::Unchanged | News::Confirming(_) => self.dot(),
            News::Still(conflicts, waited) => {
                let waited = whole_seconds(*waited);
                self.json("still waiting", json!({"pipelines": described(conflicts), "waited_seconds": waited.as_secs()}));
                let ids: Vec<String> = conflicts.iter().map(|one| format!("#{}", one.pipeline.id)).collect();
                let waited = in_two_units(waited);
                self.line(Level::Info, format_args!("Still waiting, for {waited}, for {}", ids.join(", ")));
            }
            News::Unseen => self.note("GitLab's answers do not show our own job as started yet: they are old, and do not count"),
            News::Fault(fault, pause) => {
                let fault = ours(&chain(fault));
                let pause = Duration::from_millis(pause.as_millis() as u64);
                self.json("error", json!({"message": fault, "retry_in_seconds": pause.as_secs_f64()}));
                let pause = in_two_units(pause);
                self.line(Level::Error, format_args!("{fault}; trying again in {pause}"));
            }
            News::Free => {
                self.json("free", json!({}));
                let line = "No other conflicting pipelines detected, proceeding ...";
                self.line(Level::Info, format_args!("{line}"));
            }
        }
    }

    /// Tells something that people should know.
    pub fn note(&self, text: &str) {
        self.json("note", json!({ "message": text }));
        self.line(Level::Warning, format_args!("{text}"));
    }

    /// Tells who is in the way of somebody who does not want to wait.
    pub fn taken(&self, conflicts: &[Conflict]) {
        self.json("taken", json!({ "pipelines": described(conflicts) }));
        self.error_line(format_args!(
            "{} other pipelines in ({}) state. Exiting on request.",
            conflicts.len(),
            self.statuses
        ));
        self.list(conflicts);
    }

    /// Tells why we end without a turn.
    pub fn error(&self, text: &str) {
        let text = ours(text);
        self.json("failed", json!({ "message": text }));
        self.error_line(format_args!("{text}"));
    }

    fn summary(&self, conflicts: &[Conflict]) {
        let line = format_args!(
            "{} other pipelines in ({}) state.",
            conflicts.len(),
            self.statuses
        );
        self.line(Level::Info, line);
        self.list(conflicts);
    }

    fn list(&self, conflicts: &[Conflict]) {
        for conflict in conflicts {
            let pipeline = &conflict.pipeline;
            let known = |text: &str| match text {
                "" => "-".to_owned(),
                text => one_line(text),
            };
            self.line(
                Level::Warning,
                format_args!(
                    "Pipeline #{} {:10} {} {} ({})",
                    pipeline.id,
                    known(&pipeline.status),
                    known(&pipeline.sha),
                    known(&pipeline.ref_name),
                    reason(conflict)
                ),
            );
        }
    }

    fn dot(&self) {
        if self.form == Form::Text {
            let mut err = io::stderr();
            // A log that cannot be written is no reason to fail.
            let _ = err.write_all(b".").and_then(|()| err.flush());
        }
    }

    fn line(&self, level: Level, text: Arguments<'_>) {
        if self.form == Form::Text {
            self.write(format_args!("{}\n", self.dated(level, text)));
        }
    }

    /// An error is told in every form for people; of those who want silence it goes to stderr.
    fn error_line(&self, text: Arguments<'_>) {
        match self.form {
            Form::Text => self.line(Level::Error, text),
            Form::Silent => terminal::say(
                &mut io::stderr(),
                format_args!("{}", self.dated(Level::Error, text)),
            ),
            Form::Json => {}
        }
    }

    fn dated(&self, level: Level, text: Arguments<'_>) -> String {
        let now = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        let now = now
            .trim_end_matches('Z')
            .replace('T', " ")
            .replace('.', ",");
        let level = match level {
            Level::Info => "INFO",
            Level::Warning => "WARNING",
            Level::Error => "ERROR",
        };
        format!(
            "{now} {level} {} MainProcess[{}]: {text}",
            self.program,
            std::process::id()
        )
    }

    fn json(&self, event: &str, mut more: Value) {
        if self.form == Form::Json {
            more["event"] = json!(event);
            more["time"] = json!(humantime::format_rfc3339_millis(SystemTime::now()).to_string());
            self.write(format_args!("{more}\n"));
        }
    }

    fn write(&self, text: Arguments<'_>) {
        let write = |out: &mut dyn Write| out.write_fmt(text).and_then(|()| out.flush());
        // A log that cannot be written is no reason to fail.
        let _ = match self.to_stderr {
            true => write(&mut io::stderr()),
            false => write(&mut io::stdout()),
        };
    }
}

/// The words of the library are those of a pool's settings.
fn ours(text: &str) -> String {
    text.replace("`source.ca_cert`", "`--ca-file`")
}

/// Why a pipeline is in the way, and where to look.
fn reason(conflict: &Conflict) -> String {
    let why = match conflict.why {
        Why::Inside => "it is past its guarded job, and still runs",
        Why::Before => "it started before us",
        Why::Older => "it has no guarded job, and its id is smaller",
        Why::OlderUnread => "its jobs cannot be read, and its id is smaller",
        Why::Matches => "it matches",
        Why::SamePipeline => "a job of our own pipeline that started before us",
    };
    let mut parts = vec![why.to_owned()];
    if let Some(job) = &conflict.job {
        parts.push(format!("job {} #{}", one_line(&job.name), job.id));
        if !job.user.is_empty() {
            parts.push(format!("of {}", one_line(&job.user)));
        }
        if let Some(started) = job.started.and_then(terminal::time::moment) {
            parts.push(format!("since {started}"));
        }
    }
    parts.extend(link(conflict).map(one_line));
    parts.join(", ")
}

/// The page to look at, if it is one.
fn link(conflict: &Conflict) -> Option<&str> {
    let pages = [
        conflict.job.as_ref().map(|job| &job.web_url),
        Some(&conflict.pipeline.web_url),
    ];
    let mut pages = pages.into_iter().flatten().map(String::as_str);
    pages.find(|page| page.starts_with("https://") || page.starts_with("http://"))
}

fn described(conflicts: &[Conflict]) -> Vec<Value> {
    let described = conflicts.iter().map(|conflict| {
        let Conflict { pipeline, job, why } = conflict;
        let why = match why {
            Why::Inside => "inside",
            Why::Before => "before",
            Why::Older => "older",
            Why::OlderUnread => "older_unread",
            Why::Matches => "matches",
            Why::SamePipeline => "same_pipeline",
        };
        let job = job.as_ref().map(|job| {
            json!({
                "id": job.id,
                "name": job.name,
                "user": job.user,
                "started_at": job.started.and_then(terminal::time::moment),
                "web_url": job.web_url,
            })
        });
        json!({
            "id": pipeline.id,
            "status": pipeline.status,
            "sha": pipeline.sha,
            "ref": pipeline.ref_name,
            "web_url": pipeline.web_url,
            "why": why,
            "job": job,
        })
    });
    described.collect()
}

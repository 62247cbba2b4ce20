//! One attempt of a task: its texts, its environment, its logs, and bash.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use child::{Supervised, Supervisors, Surroundings};
use tokio_util::sync::CancellationToken;

use crate::environment::Environment;
use crate::job::{Job, Task};
use crate::locks;
use crate::logs::{Logs, Stream};
use crate::rules::Ended;
use crate::script::{Reached, Script};
use crate::template;
use crate::value::{Number, Value, Variables};

/// How much of the output of a failed task what runs after it gets, from the end.
const MOST_OUTPUT: u64 = 1 << 20;

/// The shell, by its name on the `PATH`.
pub const SHELL: &str = "bash";

/// Where tasks run.
#[derive(Debug)]
pub struct Site {
    /// The folder in which each entry begins.
    pub folder: PathBuf,
    /// The environment.
    pub env: Environment,
    /// Those who run scripts and know what becomes of them.
    pub supervisors: Supervisors,
    /// Where logs are.
    pub logs: Logs,
    /// Where what a bash leaves for the next one is.
    pub scratch: PathBuf,
}

/// Runs an attempt of a task to its end, or until it is stopped. What is left of its processes is given back.
pub async fn run(
    site: &Arc<Site>,
    job: &Arc<Job>,
    at: usize,
    locks: Option<&locks::Change>,
    stop: &CancellationToken,
) -> (Ended, Option<Supervised>) {
    let task = &job.tasks[at];
    let env = environment(site, job, task, locks);
    match attempt(site, job, task, at, &env, stop).await {
        Ok((code, left)) => (Ended::Exited(code), left),
        Err(Failed { error, left }) => (Ended::Failed(error), left),
    }
}

struct Failed {
    error: String,
    left: Option<Supervised>,
}

impl From<String> for Failed {
    fn from(error: String) -> Failed {
        Failed { error, left: None }
    }
}

async fn attempt(
    site: &Arc<Site>,
    job: &Arc<Job>,
    task: &Task,
    at: usize,
    env: &Environment,
    stop: &CancellationToken,
) -> Result<(i32, Option<Supervised>), Failed> {
    let (entries, broken) = prepared(site, job, at).await?;
    let made = |stream| log_file(site, job, task, stream);
    let (stdout, stderr) = (made(Stream::Stdout)?, made(Stream::Stderr)?);
    let surroundings = Surroundings {
        env,
        stdout: &stdout,
        stderr: &stderr,
        secrets: &secrets(job),
    };
    let started = site.supervisors.begin(&surroundings).await;
    let mut bash = started.map_err(|err| format!("starting {SHELL}: {err}"))?;
    // What a bash has left behind would be lost with the second one.
    let state = site
        .scratch
        .join(format!("{}.{}", job.id, task.definition.name));
    let script = Script {
        entries: &entries,
        goes_on: task.definition.allow_failure,
        folder: &site.folder,
        state: &state,
    };
    let mut from = 0;
    let mut last = 0;
    let mut is_any_left = false;
    let result = loop {
        if from >= entries.len() {
            break Ok(last);
        }
        let ended = async {
            bash.run(&script.text(from)).await?;
            bash.ended().await
        };
        let end = tokio::select! {
            biased;
            () = stop.cancelled() => {
                bash.stop().await;
                let _ = fs::remove_file(&state);
                return Ok((130, None));
            }
            end = ended => end,
        };
        let end = match end {
            Ok(end) => end,
            Err(err) => break Err(format!("running {SHELL}: {err}")),
        };
        is_any_left |= end.is_any_left;
        if end.code != 0 {
            last = end.code;
            if !script.goes_on {
                break Ok(last);
            }
        }
        let left = if entries.len() > 1 {
            fs::read(&state).unwrap_or_default()
        } else {
            Vec::new()
        };
        match script.reached(from, &left) {
            Reached::End => break Ok(last),
            Reached::Entry(at) => from = at + 1,
        }
    };
    let _ = fs::remove_file(&state);
    let left = if is_any_left {
        Some(bash)
    } else {
        site.supervisors.done(bash).await;
        None
    };
    match (result, broken) {
        (Ok(code), Some(error)) if code == 0 || script.goes_on => Err(Failed { error, left }),
        (Ok(code), _) => Ok((code, left)),
        (Err(error), _) => Err(Failed { error, left }),
    }
}

/// The entries as bash gets them. Texts that are templates may take their time, and must not take that of others: whoever
/// may ask for a job can send one.
async fn prepared(site: &Arc<Site>, job: &Arc<Job>, at: usize) -> Result<Entries, String> {
    let (site, job) = (site.clone(), job.clone());
    let prepare = move || {
        let task = &job.tasks[at];
        let variables = variables(&site, &job, task)?;
        Ok(entries(&task.definition.script, &variables))
    };
    let rendered = tokio::task::spawn_blocking(prepare).await;
    rendered.unwrap_or_else(|err| Err(format!("rendering templates: {err}")))
}

/// Entries, and why there are no more of them.
type Entries = (Vec<String>, Option<String>);

/// The entries up to the first that cannot be rendered, and why it cannot.
fn entries(script: &[String], variables: &Variables) -> Entries {
    let mut entries = Vec::new();
    for entry in script {
        match template::render(entry, variables) {
            // bash would cut it there.
            Ok(text) if text.contains('\0') => {
                return (
                    entries,
                    Some("an entry of the script has a NUL in it".to_owned()),
                );
            }
            Ok(text) => entries.push(text),
            Err(err) => return (entries, Some(err.to_string())),
        }
    }
    (entries, None)
}

/// What templates see.
fn variables(site: &Site, job: &Job, task: &Task) -> Result<Variables, String> {
    let mut all = Variables::new();
    if !job.plan.env_from_variables {
        for (name, value) in job.variables.iter() {
            // Strings may be templates themselves. A secret is what it is.
            let value = match value {
                Value::Text(text) if !job.secrets.contains(name) && text.contains("{{") => {
                    let mut known = Variables::clone(&job.variables);
                    known.insert("__jobID".to_owned(), Value::Text(job.id.to_string()));
                    Value::Text(template::render(text, &known).map_err(|err| err.to_string())?)
                }
                value => value.clone(),
            };
            all.insert(name.clone(), value);
        }
    }
    all.insert("__jobID".to_owned(), Value::Text(job.id.to_string()));
    if task.is_handler()
        && let Some(failed) = job.first_failed()
    {
        let name = &failed.definition.name;
        let output = |stream| Value::Text(site.logs.end(job.id, name, stream, MOST_OUTPUT));
        all.insert("failedTaskName".to_owned(), Value::Text(name.clone()));
        all.insert(
            "failedTaskExitCode".to_owned(),
            Value::Number(Number::whole(i128::from(failed.exit_code))),
        );
        all.insert(
            "failedTaskError".to_owned(),
            Value::Text(failed.error.clone().unwrap_or_default()),
        );
        all.insert("failedTaskStdout".to_owned(), output(Stream::Stdout));
        all.insert("failedTaskStderr".to_owned(), output(Stream::Stderr));
    }
    Ok(all)
}

fn environment(site: &Site, job: &Job, task: &Task, locks: Option<&locks::Change>) -> Environment {
    let mut env = site.env.clone();
    for name in locks.iter().flat_map(|locks| &locks.removed) {
        env.remove(name);
    }
    let mut set = |name: &str, value: &str| env.insert(name.into(), value.into());
    if job.plan.env_from_variables {
        for (name, value) in job.variables.iter() {
            set(name, &plain(value));
        }
    }
    for (name, value) in &job.plan.env {
        set(name, value);
    }
    set("TASK_NAME", &task.definition.name);
    for (name, value) in &task.definition.env {
        set(name, value);
    }
    // Nobody is to take another lock for the one that is held.
    env.extend(locks.iter().flat_map(|locks| locks.set.iter().cloned()));
    env
}

/// A value as a text: a string as it is, all else as JSON.
fn plain(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        Value::Null => String::new(),
        other => serde_json::to_string(other).unwrap_or_default(),
    }
}

/// The texts that no log may have in it.
fn secrets(job: &Job) -> Vec<String> {
    let mut all = Vec::new();
    for name in &job.secrets {
        if let Some(value) = job.variables.get(name) {
            leaves(value, &mut all);
        }
    }
    all.retain(|text| !text.is_empty());
    all
}

fn leaves(value: &Value, to: &mut Vec<String>) {
    match value {
        Value::List(items) => items.iter().for_each(|item| leaves(item, to)),
        Value::Map(items) => items.values().for_each(|item| leaves(item, to)),
        Value::Null | Value::Bool(_) => {}
        other => to.push(plain(other)),
    }
}

/// Makes a log, to whose end scripts write.
fn log_file(site: &Site, job: &Job, task: &Task, stream: Stream) -> Result<PathBuf, String> {
    let path = site.logs.path(job.id, &task.definition.name, stream);
    let make = || -> io::Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&path)?;
        // The attempts of one job share their logs; a job that begins anew does not.
        if task.attempt == 0 {
            file.set_len(0)?;
        }
        Ok(())
    };
    make().map_err(|err| format!("creating task output log file: {err}"))?;
    Ok(path)
}

//! Definitions of pipelines: what `pipelines.yml` says, checked.
//!
//! [`load`] finds the files below a folder, reads them (`wire`) and checks them (`check`); a set with a fault in it is
//! refused whole. Scripts are templates; what cannot be read of them is a fault too.

mod check;
mod find;
mod order;
mod parameter;
mod wire;
mod wish;

pub use order::{Circle, sorted};
pub use parameter::{Kind, Parameter, complete};
pub use wish::{Wanted, Wish};

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Pipelines by name.
pub type Definitions = BTreeMap<String, Arc<Pipeline>>;

/// A pipeline: tasks, and how many jobs of it may run and wait.
#[derive(Debug, Clone, PartialEq)]
pub struct Pipeline {
    /// Its name.
    pub name: String,
    /// The file that it is from, as it was found.
    pub source: String,
    /// How many jobs may run at once; at least one.
    pub concurrency: usize,
    /// Who may wait.
    pub queue: Queue,
    /// How long each job waits at least.
    pub start_delay: Duration,
    /// Whether the other branches go on when a task fails.
    pub continues_after_failure: bool,
    /// How long a finished job is kept, from its creation.
    pub retention_period: Option<Duration>,
    /// How many jobs are kept.
    pub retention_count: Option<usize>,
    /// For how long a job may run.
    pub timeout: Option<Duration>,
    /// What becomes of a job when the server ends in its midst.
    pub restart: Restart,
    /// Whether a second job is refused while one is not finished.
    pub singleton: bool,
    /// Whether tasks get the variables in their environment, instead of in templates.
    pub env_from_variables: bool,
    /// What variables there must be; `None` where any are taken.
    pub parameters: Option<BTreeMap<String, Parameter>>,
    /// The environment of its tasks.
    pub env: BTreeMap<String, String>,
    /// Its tasks, each after those that it depends on.
    pub tasks: Vec<Arc<Task>>,
    /// What runs after a failure.
    pub on_error: Option<Arc<Task>>,
    /// Who is told of its jobs.
    pub webhook: Option<Webhook>,
    /// What each job holds while it runs, a wish for each pool, in the order of their names.
    pub locks: Vec<Wish>,
}

/// Who may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queue {
    /// At the end, if there is room.
    Append(Option<usize>),
    /// At the end, or in place of the last one.
    Replace(Option<usize>),
    /// As [`Queue::Replace`], each partition for itself.
    Partitioned(usize),
}

/// What becomes of a job when the server ends in its midst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Restart {
    /// It is canceled.
    #[default]
    Cancel,
    /// It waits again, and begins anew.
    Requeue,
}

/// One task of a pipeline.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Task {
    /// Its name: a part of the names of its logs.
    pub name: String,
    /// What bash is to run, entry by entry.
    pub script: Vec<String>,
    /// The tasks that have to be done before.
    pub depends_on: Vec<String>,
    /// Whether its failure is none.
    pub allow_failure: bool,
    /// What it has in its environment besides the pipeline's.
    pub env: BTreeMap<String, String>,
    /// For how long one attempt may run.
    pub timeout: Option<Duration>,
    /// How often it is tried again.
    pub retry: Retry,
    /// What it holds from before its first attempt to its end, a wish for each pool, in the order of their names. These are
    /// all behind those of the pipeline.
    pub locks: Vec<Wish>,
}

/// The name of the task that runs after a failure.
pub const ON_ERROR: &str = "on_error";

/// How often a task is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retry {
    /// After the first attempt.
    pub max: u32,
    /// Before each.
    pub delay: Duration,
}

/// Who is told of the jobs of a pipeline, by a POST.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Where to.
    pub url: url::Url,
    /// Whether starts are told.
    pub on_start: bool,
    /// Whether failures are told.
    pub on_failure: bool,
    /// After which time, from its creation, an unfinished job is late.
    pub late_after: Option<Duration>,
}

/// Why definitions are refused.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The root of the search cannot be used.
    #[error("finding files with glob: {0}")]
    Find(String),
    /// A file has a fault.
    #[error("loading {path}: {fault}")]
    File {
        /// The file, as it was found.
        path: String,
        /// What is wrong.
        fault: FileError,
    },
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("opening file: {0}")]
    Open(std::io::Error),
    /// It is no YAML of the right form.
    #[error("decoding YAML: {0}")]
    Decode(String),
    /// A pipeline has a fault.
    #[error("invalid pipeline definition \"{name}\": {fault}")]
    Invalid {
        /// The pipeline.
        name: String,
        /// What is wrong.
        fault: String,
    },
    /// Two files have it.
    #[error("pipeline \"{name}\" was already declared in {first}")]
    Twice {
        /// The pipeline.
        name: String,
        /// The other file.
        first: String,
    },
}

/// Loads all pipelines below `root` from the files that `pattern` names.
///
/// # Errors
/// [`LoadError`]: the first fault, in the order of the files' names.
pub fn load(root: &Path, pattern: &str) -> Result<Definitions, LoadError> {
    let mut all = Definitions::new();
    for path in find::files(root, pattern).map_err(LoadError::Find)? {
        let shown = path.to_string_lossy().into_owned();
        let fail = |fault| LoadError::File {
            path: shown.clone(),
            fault,
        };
        let bytes = std::fs::read(&path).map_err(|err| fail(FileError::Open(err)))?;
        let text = String::from_utf8(bytes)
            .map_err(|_| fail(FileError::Decode("it is not UTF-8".to_owned())))?;
        for pipeline in read(&text, &shown).map_err(fail)? {
            if let Some(known) = all.get(&pipeline.name) {
                return Err(fail(FileError::Twice {
                    name: pipeline.name.clone(),
                    first: known.source.clone(),
                }));
            }
            all.insert(pipeline.name.clone(), Arc::new(pipeline));
        }
    }
    Ok(all)
}

/// Reads the pipelines of one file.
///
/// # Errors
/// [`FileError`]: the first fault, in the order of the pipelines' names.
pub fn read(text: &str, source: &str) -> Result<Vec<Pipeline>, FileError> {
    let file = wire::File::read(text).map_err(FileError::Decode)?;
    let pipelines = file.pipelines.into_iter();
    pipelines
        .map(|(name, wire)| match check::pipeline(&name, wire, source) {
            Ok(pipeline) => Ok(pipeline),
            Err(fault) => Err(FileError::Invalid { name, fault }),
        })
        .collect()
}

#[cfg(test)]
mod tests;

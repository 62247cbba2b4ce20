//! The configuration file: what of it is for the dispatcher, and what goes on to the inner runner.

mod clever;
mod keys;

use std::path::PathBuf;
use std::time::Duration;

use gitlab::ApiUrl;
use net::Secret;
use sha2::{Digest, Sha256};
use toml::{Table, Value};

pub use clever::{Clever, Tenancy};
use keys::Keys;

/// The image with the inner runner, of the release that this program takes the place of.
pub const MAIN_IMAGE: &str = "registry.heptapod.net:443/heptapod/heptapod-runner:0.5.0";

/// How long a job is watched of which nobody knows how long it may run.
pub const DEFAULT_TIMEOUT: u64 = 24 * 3600;

/// Why a configuration cannot be used. No message has the value of a token in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// It is no TOML.
    #[error("it is not TOML: line {line}: {fault}")]
    Syntax {
        /// Where, from 1.
        line: usize,
        /// What is wrong, without the text itself.
        fault: String,
    },
    /// Something is wrong with a key.
    #[error("{at}`{key}` {fault}")]
    Key {
        /// Whose key.
        at: String,
        /// Which.
        key: String,
        /// What is wrong.
        fault: String,
    },
}

/// The configuration of a dispatcher.
#[derive(Debug, Clone)]
pub struct Config {
    /// How many jobs there may be at once, of all runners together.
    pub concurrent: usize,
    /// Where the state is kept.
    pub state_file: PathBuf,
    /// Whether machines stay when their jobs are over.
    pub keeps_resources: bool,
    /// How long to wait after a coordinator had no job.
    pub check_interval: Option<Duration>,
    /// How often it is asked how a job is.
    pub progress_interval: Option<Duration>,
    /// How many machines of one runner may be on their way at once.
    pub most_provisioning: usize,
    /// How long after its time-out a job is given up.
    pub grace: Duration,
    /// Whose jobs are run.
    pub runners: Vec<Runner>,
    /// What people should know.
    pub notes: Vec<String>,
}

/// A runner of a coordinator.
#[derive(Debug, Clone)]
pub struct Runner {
    /// What tells it from all others: made of its URL and its whole token, which cannot be had from it.
    pub id: String,
    /// Eight characters of its token, by which apps and state files name it.
    pub short: String,
    /// Its name, for people.
    pub name: String,
    /// Its coordinator.
    pub api: ApiUrl,
    /// What proves that it is this runner.
    pub token: Secret,
    /// How many jobs it may have at once.
    pub limit: Option<usize>,
    /// A file with certificates that the coordinator may have, besides the system's.
    pub ca_file: Option<PathBuf>,
    /// The image with the inner runner.
    pub image: String,
    /// What makes machines for it.
    pub executor: Executor,
    /// The configuration of the inner runner.
    pub forwarded: String,
}

/// What makes machines.
#[derive(Debug, Clone)]
pub enum Executor {
    /// Clever Cloud.
    Clever(Box<Clever>),
    /// The Docker on this machine, by its socket.
    Local {
        /// Where the socket is.
        socket: PathBuf,
    },
    /// A program of the user's.
    Custom {
        /// Which.
        program: String,
        /// How long one call of it may take.
        limit: Duration,
        /// What it is told of the configuration.
        settings: serde_json::Value,
    },
}

impl Config {
    /// Reads a configuration; `docker_host` is what the environment says of Docker.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn read(text: &str, docker_host: Option<&str>) -> Result<Config, ConfigError> {
        let table = parse(text)?;
        let keys = Keys::new("", &table);
        let mut notes = Vec::new();
        if table.contains_key("concurrency") {
            notes.push("`concurrency` means nothing: the key is `concurrent`".to_owned());
        }
        for (key, why) in MEANINGLESS {
            if table.contains_key(*key) {
                notes.push(format!("`{key}` has no effect: {why}"));
            }
        }
        let state_file = keys.text("state_file")?;
        let state_file = state_file.filter(|path| !path.is_empty()).ok_or_else(|| {
            keys.fault(
                "state_file",
                "is missing: it says where the state is kept while the dispatcher does not run",
            )
        })?;
        let runners = match table.get("runners") {
            None => {
                return Err(keys.fault("runners", "is missing: a [[runners]] section is needed"));
            }
            Some(Value::Array(runners)) => runners,
            Some(_) => return Err(keys.fault("runners", "is no list of [[runners]] sections")),
        };
        let mut known: Vec<Runner> = Vec::new();
        for (n, runner) in runners.iter().enumerate() {
            let at = format!("runner {}: ", n + 1);
            let Some(table) = runner.as_table() else {
                return Err(keys.fault("runners", "is no list of [[runners]] sections"));
            };
            let runner = Runner::read(&at, table, docker_host)?;
            if known.iter().any(|other| other.id == runner.id) {
                let fault = "and `url` are those of another runner in this file";
                return Err(Keys::new(&at, table).fault("token", fault));
            }
            if !runner.name.is_empty() && known.iter().any(|other| other.name == runner.name) {
                notes.push(format!(
                    "two runners have the name `{}`: their lines in the log look the same",
                    terminal::one_line(&runner.name)
                ));
            }
            known.push(runner);
        }
        let concurrent = keys.count("concurrent")?.unwrap_or(1);
        if concurrent < known.len() {
            notes.push(format!(
                "`concurrent` is {concurrent}, and there are {} runners: one whose coordinator is slow keeps others waiting",
                known.len()
            ));
        }
        Ok(Config {
            concurrent,
            state_file: state_file.into(),
            keeps_resources: keys
                .flag("paas_finished_jobs_keep_resources")?
                .unwrap_or(false),
            check_interval: keys.seconds("check_interval")?,
            progress_interval: keys.seconds("job_progress_poll_interval")?,
            most_provisioning: keys
                .count("paas_max_concurrent_provisioning")?
                .unwrap_or(10),
            grace: keys
                .seconds("paas_job_grace")?
                .unwrap_or(Duration::from_secs(1800)),
            runners: known,
            notes,
        })
    }
}

/// Keys of 0.7.2 that are accepted.
const MEANINGLESS: &[(&str, &str)] = &[
    (
        "quota_computation",
        "jobs are counted, and not weighed; `concurrent` is the limit",
    ),
    (
        "paas_job_trace_watch",
        "a job counts as launched when its machine has started",
    ),
    (
        "paas_decommission_launch_failures",
        "a machine whose launch failed is always taken away",
    ),
];

impl Runner {
    fn read(at: &str, table: &Table, docker_host: Option<&str>) -> Result<Runner, ConfigError> {
        let keys = Keys::new(at, table);
        let url = keys.required("url")?;
        let api = ApiUrl::of_home(&url).map_err(|_| {
            keys.fault(
                "url",
                "is not the http or https URL of a GitLab or Heptapod",
            )
        })?;
        let token = keys.required("token")?;
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(keys.fault("token", "has characters that cannot be sent"));
        }
        let executor = keys.required("executor")?;
        let mut dropped: Vec<&str> = vec!["heptapod_runner_main_image", "executor"];
        let executor = match &executor[..] {
            "clever-docker" => {
                dropped.extend(table.keys().map(String::as_str).filter(is_clever));
                Executor::Clever(Box::new(Clever::read(&keys, &token)?))
            }
            "local-docker" => {
                dropped.push("host");
                let socket = socket(&keys, docker_host)?;
                Executor::Local { socket }
            }
            "custom-docker" => {
                dropped.extend(["provider", "provider_timeout", "provider_settings"]);
                let settings = table.get("provider_settings");
                let settings = settings.map(serde_json::to_value).transpose();
                Executor::Custom {
                    program: keys.required("provider")?,
                    limit: keys
                        .seconds("provider_timeout")?
                        .unwrap_or(Duration::from_secs(100))
                        .min(Duration::from_secs(120)),
                    settings: settings
                        .map_err(|_| keys.fault("provider_settings", "cannot be written as JSON"))?
                        .unwrap_or_default(),
                }
            }
            _ => {
                return Err(keys.fault(
                    "executor",
                    "is not one of clever-docker, local-docker, custom-docker",
                ));
            }
        };
        Ok(Runner {
            id: id_of(&api, &token),
            short: short_of(&token).to_owned(),
            name: keys.text("name")?.unwrap_or_default(),
            limit: keys.count_or_none("limit")?,
            ca_file: keys.text("tls-ca-file")?.map(PathBuf::from),
            image: keys
                .text("heptapod_runner_main_image")?
                .unwrap_or_else(|| MAIN_IMAGE.to_owned()),
            executor,
            forwarded: forwarded(table, &dropped),
            api,
            token: Secret::new(token),
        })
    }
}

fn is_clever(key: &&str) -> bool {
    key.starts_with("cc_")
}

/// The configuration of the inner runner: this runner alone, without what is for us.
fn forwarded(table: &Table, dropped: &[&str]) -> String {
    let mut runner = table.clone();
    runner.retain(|key, _| !dropped.contains(&key));
    runner.insert("executor".to_owned(), "docker".into());
    // Of the dispatcher's machine, where the inner runner is not.
    runner.remove("tls-ca-file");
    let runners = Value::Array(vec![Value::Table(runner)]);
    let whole = Table::from_iter([("runners".to_owned(), runners)]);
    whole.to_string()
}

fn socket(keys: &Keys<'_>, docker_host: Option<&str>) -> Result<PathBuf, ConfigError> {
    let host = keys.text("host")?;
    let host = host
        .as_deref()
        .or(docker_host.filter(|host| !host.is_empty()));
    let host = host.unwrap_or("unix:///var/run/docker.sock");
    match host.strip_prefix("unix://") {
        Some(path) if path.starts_with('/') => Ok(path.into()),
        _ => Err(keys.fault(
            "host",
            "(or DOCKER_HOST) does not begin with unix:///: only a Docker on this machine can be used",
        )),
    }
}

fn parse(text: &str) -> Result<Table, ConfigError> {
    text.parse::<Table>().map_err(|err| {
        let start = err.span().map_or(0, |span| span.start);
        let before = text.get(..start).unwrap_or_default();
        ConfigError::Syntax {
            line: before.matches('\n').count() + 1,
            fault: terminal::one_line(err.message()),
        }
    })
}

/// What tells a runner from all others.
fn id_of(api: &ApiUrl, token: &str) -> String {
    let text = format!("{}\n{token}", api.url().as_str().trim_end_matches('/'));
    let digest = Sha256::digest(text.as_bytes());
    digest[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Eight characters of a token, after what all tokens of its kind begin with.
pub fn short_of(token: &str) -> &str {
    let own = token.strip_prefix("glrt-").unwrap_or(token);
    let own = match own.split_once('_') {
        Some((kind, own)) if is_kind(kind) && own.len() >= 8 => own,
        _ => own,
    };
    own.get(..8).unwrap_or(own)
}

/// Of tokens such as `glrt-t1_…`.
fn is_kind(text: &str) -> bool {
    let digits = text.strip_prefix('t').unwrap_or_default();
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests;

//! The server: its parts put together, and the signals that end it.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use child::Listener;
use pipelines::api::{self, Api};
use pipelines::definition;
use pipelines::engine::{Engine, Scheduler, Tools};
use pipelines::environment::{self, Environment};
use pipelines::journal::{Journal, Opened};
use pipelines::log::{Level, Log};
use pipelines::logs::Logs;
use pipelines::metrics::Metrics;
use pipelines::rules::Recovered;
use pipelines::view::View;
use pipelines::work::{SHELL, Site};
use tokio::net::TcpListener;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::flags::Settings;
use super::locks::PoolLocks;
use super::reload::Reload;
use super::{secret, supervisors};
use crate::resource;

/// Runs the server until a signal ends it.
pub async fn run(settings: Settings, log: Log) -> Result<()> {
    let mut signals = Listener::of_server().context("cannot listen for signals")?;
    child::raise_open_files();
    let env = environment(&settings.env_files)?;
    let secret = secret::find(&settings, log)?;
    let definitions =
        definition::load(&settings.path, &settings.pattern).context("loading definitions")?;
    for pipeline in definitions.values() {
        log.say(
            Level::Debug,
            "loaded pipeline",
            &[("pipeline", &pipeline.name), ("source", &pipeline.source)],
        );
    }
    if !child::is_on_path(
        SHELL,
        env.get(OsStr::new("PATH"))
            .map_or(OsStr::new(""), |path| path),
    ) {
        bail!("loading definitions: {SHELL} is not on the PATH, and every script is run by it");
    }
    let definitions = Arc::new(definitions);
    let data = std::path::absolute(&settings.data).context("finding the data folder")?;
    let logs_path = data.join("logs");
    let Opened {
        journal,
        jobs,
        notes,
    } = Journal::open(&data)?;
    for note in notes {
        log.warn(&note, &[]);
    }
    let locks = Arc::new(PoolLocks::new(env.clone(), &data, &jobs, log));
    locks.check(&definitions).context("loading definitions")?;
    let logs = Logs::in_folder(&logs_path)
        .with_context(|| format!("making the log folder `{}`", logs_path.display()))?;
    let scratch = data.join("run");
    clear(&scratch)?;
    let folder = std::env::current_dir().context("finding the working directory")?;
    let (view, metrics) = (
        Arc::new(View::new()),
        Arc::new(Metrics::new().context("making metrics")?),
    );
    let tools = Tools {
        site: Arc::new(Site {
            folder,
            env,
            supervisors: supervisors(),
            logs: logs.clone(),
            scratch,
        }),
        view: view.clone(),
        metrics: metrics.clone(),
        locks: locks.clone(),
        proxies: resource::surroundings().proxies,
        log,
    };
    let listener = TcpListener::bind(address(&settings.address)).await;
    let listener = listener
        .with_context(|| format!("Error starting HTTP API: listening on {}", settings.address))?;
    let (engine, scheduler, recovered) = Engine::new(journal, jobs, definitions.clone(), tools);
    tell_recovered(&recovered, log);
    let api = Api {
        scheduler: scheduler.clone(),
        view,
        logs,
        metrics,
        secret,
        log,
    };
    let stop = CancellationToken::new();
    let serving = tokio::spawn(page::serve(listener, api::router(api), stop.clone()));
    log.info(
        &format!("HTTP API listening on {}", settings.address),
        &[
            ("pipelines", &definitions.len().to_string()),
            ("pid", &std::process::id().to_string()),
        ],
    );
    let mut reload = Reload {
        path: settings.path,
        pattern: settings.pattern,
        current: definitions,
        scheduler: scheduler.clone(),
        locks,
        log,
    };
    let mut running = tokio::spawn(engine.run());
    let mut looks = interval(settings.poll_interval);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    looks.tick().await;
    loop {
        tokio::select! {
            biased;
            ended = &mut running => {
                ended.context("the scheduler has failed")?;
                break;
            }
            signal = signals.next() => heed(signal.number, &scheduler, &mut reload, log).await,
            _ = looks.tick(), if settings.watch => reload.look().await,
        }
    }
    stop.cancel();
    let _ = serving.await;
    log.info("Stopped", &[]);
    Ok(())
}

/// `localhost:9009`, or `:9009` for every address.
fn address(text: &str) -> String {
    match text.strip_prefix(':') {
        Some(port) => format!("[::]:{port}"),
        None => text.to_owned(),
    }
}

/// The address as a browser on the same machine may use it.
pub fn shown_address(text: &str) -> String {
    match text.rsplit_once(':') {
        Some(("" | "0.0.0.0" | "[::]", port)) => format!("localhost:{port}"),
        _ => text.to_owned(),
    }
}

async fn heed(signal: i32, scheduler: &Scheduler, reload: &mut Reload, log: Log) {
    match signal {
        child::INT => {
            log.info("Received SIGINT, waiting until all jobs have ended", &[]);
            scheduler.stop(false).await;
        }
        child::TERM | child::QUIT => {
            log.info("Received SIGTERM, canceling all jobs", &[]);
            scheduler.stop(true).await;
        }
        child::HUP | child::USR1 => reload.look().await,
        _ => {}
    }
}

fn tell_recovered(recovered: &[Recovered], log: Log) {
    for one in recovered {
        let (id, words) = match one {
            Recovered::Interrupted(id) => (
                id,
                "Found running job when restoring state, marked as canceled",
            ),
            Recovered::Dropped(id) => (
                id,
                "Found job on wait list when restoring state, marked as canceled",
            ),
            Recovered::Requeued(id) => (id, "Found job when restoring state, it waits again"),
            Recovered::GivesBack(id) => (
                id,
                "Found job when restoring state that has locks, giving them back",
            ),
        };
        log.warn(words, &[("jobID", &id.to_string())]);
    }
}

/// The environment of the process, with the files: each overrides what was before.
fn environment(files: &[String]) -> Result<Environment> {
    let mut env: Environment = std::env::vars_os().collect();
    if files.first().is_some_and(|first| first.is_empty()) {
        return Ok(env);
    }
    for name in files.iter().filter(|name| !name.is_empty()) {
        match fs::read_to_string(name) {
            Ok(text) => {
                let read = environment::read(&text, &mut env).map_err(anyhow::Error::msg);
                read.with_context(|| format!("loading env file {name}"))?;
            }
            Err(err) if err.kind() == ErrorKind::NotFound => {}
            Err(err) => return Err(err).with_context(|| format!("loading env file {name}")),
        }
    }
    Ok(env)
}

/// Makes a folder that nobody else may look into, and empties it.
fn clear(folder: &std::path::Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    match fs::remove_dir_all(folder) {
        Err(err) if err.kind() != ErrorKind::NotFound => {
            return Err(err).with_context(|| format!("emptying `{}`", folder.display()));
        }
        _ => {}
    }
    fs::DirBuilder::new()
        .mode(0o700)
        .create(folder)
        .with_context(|| format!("making `{}`", folder.display()))
}

/// Forgets the jobs of pipelines that are not defined. The server must not run.
pub fn prune(settings: &Settings, log: Log) -> Result<()> {
    let definitions =
        definition::load(&settings.path, &settings.pattern).context("loading definitions")?;
    let Opened {
        mut journal, jobs, ..
    } = Journal::open(&settings.data)?;
    let logs = Logs::in_folder(&settings.data.join("logs")).context("opening the logs")?;
    let (kept, old): (Vec<_>, Vec<_>) = jobs
        .into_iter()
        .partition(|job| definitions.contains_key(&job.pipeline) || !job.is_finished());
    journal
        .rewrite(kept.iter())
        .context("writing the journal")?;
    for job in &old {
        logs.remove(job.id)
            .with_context(|| format!("removing the logs of job {}", job.id))?;
        let id = job.id.to_string();
        let reason = "Pipeline definition not found";
        log.info(
            "Removing job",
            &[
                ("jobID", &id),
                ("pipeline", &job.pipeline),
                ("reason", reason),
            ],
        );
    }
    log.info(&format!("Removed {} jobs", old.len()), &[]);
    Ok(())
}

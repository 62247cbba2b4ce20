//! The loop: one task for each runner that acquires jobs, one for each job, one for each sweep.

mod acquire;
mod act;
mod report;
mod shared;
mod sweep;
mod watch;

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use child::{Listener, USR1};
use gitlab::runner::{Coordinator, Features, Machine};
use net::{NetError, Proxies, Route};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Executor, Runner};
use crate::identity::Identity;
use crate::ledger::{Ledger, LedgerError, beside};
use crate::life::Key;
use crate::log::Log;
use crate::metrics::Metrics;
use crate::naming::Naming;
use crate::provider::Provider;
use crate::provider::clever::Clever;
use crate::provider::docker::{Docker, make_temporary};
use crate::provider::executable::Executable;
use crate::serve::serve;
use crate::slots::Slots;
use shared::{Shared, Side, now};

/// How a dispatcher is to run.
pub struct Settings {
    /// The configuration file.
    pub config: Config,
    /// How long to wait after a coordinator had no job.
    pub poll_interval: Duration,
    /// How often it is asked how a job is.
    pub progress_interval: Duration,
    /// After how many rounds to end.
    pub poll_cycles: Option<u64>,
    /// The first pause after a failure; they grow from there.
    pub first_pause: Duration,
    /// How long an orderly end may take.
    pub shutdown_limit: Duration,
    /// How often it is looked for machines without a job.
    pub sweep_interval: Duration,
    /// Whether SIGUSR1 has the state told.
    pub tells_on_signal: bool,
    /// Where the metrics can be had.
    pub metrics: Option<String>,
    /// The proxies of the environment.
    pub proxies: Proxies,
    /// What the program's own version is.
    pub version: String,
    /// Where people read.
    pub log: Log,
}

/// Why a dispatcher does not run, or did not end in order.
#[derive(Debug, thiserror::Error)]
pub enum DispatchError {
    /// The state.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A runner's settings cannot be used.
    #[error("runner {n}: {source}")]
    Runner {
        /// Which, from 1.
        n: usize,
        /// Why.
        source: NetError,
    },
    /// A file cannot be read or written.
    #[error("cannot use `{path}`")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Nobody could ask for the metrics.
    #[error("cannot listen on `{address}`")]
    Listen {
        /// Where.
        address: String,
        /// Why.
        source: std::io::Error,
    },
}

/// Runs until a signal asks for an end, or all rounds are over; and then ends in order.
///
/// # Errors
/// [`DispatchError`].
pub async fn run(settings: Settings, signals: Listener) -> Result<(), DispatchError> {
    LocalSet::new().run_until(run_here(settings, signals)).await
}

async fn run_here(settings: Settings, mut signals: Listener) -> Result<(), DispatchError> {
    let log = settings.log;
    for note in &settings.config.notes {
        log.warning(note);
    }
    let state_file = settings.config.state_file.clone();
    let ledger = Ledger::open(&state_file, &settings.config.runners, now(), &mut |text| {
        log.info(&text);
    })?;
    let of_file = |path: PathBuf| {
        move |source| DispatchError::File {
            path: path.clone(),
            source,
        }
    };
    let identity =
        Identity::beside(&state_file).map_err(of_file(beside(&state_file, ".system-id")))?;
    let temporary = beside(&state_file, ".tmp");
    make_temporary(&temporary).map_err(of_file(temporary.clone()))?;
    let temporary = std::path::absolute(&temporary).map_err(of_file(temporary.clone()))?;
    let listener = match &settings.metrics {
        None => None,
        Some(address) => {
            let listener = TcpListener::bind(address).await;
            Some(listener.map_err(|source| DispatchError::Listen {
                address: terminal::one_line(address),
                source,
            })?)
        }
    };
    let mut sides = Vec::new();
    for (n, runner) in settings.config.runners.iter().enumerate() {
        let side = side(&settings, runner, &identity, &temporary);
        let side = side.await.map_err(|err| match err {
            SideError::Net(source) => DispatchError::Runner { n: n + 1, source },
            SideError::File(path, source) => DispatchError::File { path, source },
        })?;
        sides.push(Rc::new(side));
    }
    let (alive, mut all_gone) = mpsc::channel::<()>(1);
    let shared = Rc::new(Shared {
        slots: Slots::new(settings.config.concurrent),
        ledger: RefCell::new(Some(ledger)),
        metrics: Metrics::default(),
        closing: CancellationToken::new(),
        machine: machine(&settings, &identity),
        sides,
        acquiring: Cell::new(settings.config.runners.len()),
        alive: RefCell::new(Some(alive)),
        settings,
    });
    begin(&shared);
    if let Some(listener) = listener {
        let shared = shared.clone();
        if let Ok(address) = listener.local_addr() {
            log.info(&format!("metrics are at http://{address}/metrics"));
        }
        spawn_local(async move { serve(listener, &|| shared.page()).await });
    }
    loop {
        tokio::select! {
            signal = signals.next() => {
                if signal.asks_for_an_end() {
                    log.info("asked to end: no job is acquired any more");
                    break;
                }
                if signal.number == USR1 {
                    shared.tell_state();
                }
            }
            () = shared.closing.cancelled() => break,
        }
    }
    end(&shared, &mut all_gone, &mut signals).await
}

/// Begins with what the last run has left, and then with all else.
fn begin(shared: &Rc<Shared>) {
    let log = shared.settings.log;
    let keys: Vec<Key> = shared.with_ledger(|ledger| {
        for stranger in ledger.strangers() {
            log.warning(&format!(
                "{} is kept as it is, and not watched: there is no such runner in the configuration",
                stranger.name()
            ));
        }
        ledger.jobs().keys().cloned().collect()
    });
    for key in keys {
        match shared.side_of(&key) {
            Some(side) => {
                log.info(&format!("goes on with {}", side.named(&key)));
                let slots = (shared.slots.force(), side.limit.force());
                shared.go_on_with(&side, key, Some(slots), true);
            }
            None => log.warning(&format!(
                "job {} is kept as it is, and not watched: its runner is not in the configuration",
                key.job
            )),
        }
    }
    for side in &shared.sides {
        acquire::begin(shared, side);
        // What was kept on purpose is claimed by nobody either.
        if !shared.settings.config.keeps_resources {
            sweep::begin(shared, side);
        }
    }
    log.info(&format!("started with {} runners", shared.sides.len()));
    if shared.sides.is_empty() {
        log.warning("there is no runner in the configuration");
    }
}

/// Lets end what has begun, for a while, and then leaves the state.
async fn end(
    shared: &Rc<Shared>,
    all_gone: &mut mpsc::Receiver<()>,
    signals: &mut Listener,
) -> Result<(), DispatchError> {
    shared.closing.cancel();
    shared.alive.borrow_mut().take();
    let log = shared.settings.log;
    let limit = shared.settings.shutdown_limit;
    let gone = timeout(limit, all_gone.recv());
    tokio::pin!(gone);
    let in_time = loop {
        tokio::select! {
            gone = &mut gone => break gone.is_ok(),
            // More of them change nothing.
            _ = signals.next() => {}
        }
    };
    if !in_time {
        log.warning(&format!(
            "what was begun did not end within {}: the next start goes on with it",
            humantime::format_duration(limit)
        ));
    }
    let Some(ledger) = shared.ledger.borrow_mut().take() else {
        return Ok(());
    };
    let n = ledger.jobs().len();
    ledger.close(&shared.settings.config.runners)?;
    log.info(&format!("ended; {n} jobs are in the state file"));
    Ok(())
}

enum SideError {
    Net(NetError),
    File(PathBuf, std::io::Error),
}

async fn side(
    settings: &Settings,
    runner: &Runner,
    identity: &Identity,
    temporary: &std::path::Path,
) -> Result<Side, SideError> {
    let mut route = Route {
        proxy: settings
            .proxies
            .proxy_for(runner.api.url())
            .map_err(|err| {
                SideError::Net(NetError::Setting(format!(
                    "the proxy of the environment {err}"
                )))
            })?,
        ..Route::default()
    };
    if let Some(path) = &runner.ca_file {
        let pem = tokio::fs::read_to_string(path).await;
        let pem = pem.map_err(|source| SideError::File(path.clone(), source))?;
        route.trust.certificates = Some(pem);
    }
    let coordinator = Coordinator::new(&runner.api, &route).map_err(SideError::Net)?;
    let coordinator = Rc::new(coordinator);
    let naming = Naming {
        runner: runner.short.clone(),
        runner_id: runner.id.clone(),
        dispatcher: identity.short().to_owned(),
    };
    let proxies = &settings.proxies;
    let provider: Box<dyn Provider> = match &runner.executor {
        Executor::Clever(clever) => Box::new(
            Clever::new(clever, naming, coordinator.clone(), proxies, temporary)
                .map_err(SideError::Net)?,
        ),
        Executor::Local { socket } => Box::new(Docker::new(&runner.short, socket, temporary)),
        Executor::Custom {
            program,
            limit,
            settings,
        } => Box::new(Executable::new(program, *limit, settings, naming)),
    };
    Ok(Side {
        runner: runner.clone(),
        coordinator,
        provider,
        provisioning: Semaphore::new(settings.config.most_provisioning),
        limit: Slots::new(runner.limit.unwrap_or(isize::MAX as usize)),
    })
}

/// What we say of ourselves. Jobs may ask for what the inner runner can do, but for what needs a way to it: a session and a
/// terminal, which go through the dispatcher's own address.
fn machine(settings: &Settings, identity: &Identity) -> Machine {
    Machine {
        system_id: identity.system_id(),
        name: "heptapod-paas-runner".to_owned(),
        version: settings.version.clone(),
        revision: "HEAD".to_owned(),
        platform: std::env::consts::OS.to_owned(),
        architecture: match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        }
        .to_owned(),
        executor: "docker".to_owned(),
        shell: "bash".to_owned(),
        features: Features {
            offered: &[
                "upload_multiple_artifacts",
                "upload_raw_artifacts",
                "refspecs",
                "artifacts",
                "artifacts_exclude",
                "multi_build_steps",
                "return_exit_code",
                "raw_variables",
                "cache",
                "masking",
                "variables",
                "image",
                "services",
            ],
            lacking: &["shared", "proxy", "session", "terminal"],
        },
    }
}

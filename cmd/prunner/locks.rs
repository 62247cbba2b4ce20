//! The locks of jobs, by the line of `pool`: servers on several machines, builds of a Concourse and people at a terminal share
//! them.
//!
//! Where they are is set as for `pool`: by POOL_URI and its like, or a `pool.toml`. All of it runs on a thread of its own, so
//! that a Git server that is slow holds up nothing else. `claim` waits for the locks of one pool and gives them back, `held`
//! keeps those of a job.

mod claim;
mod held;
mod words;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::thread;

use anyhow::{Context as _, Result, anyhow, bail};
use pipelines::definition::{Definitions, Wish};
use pipelines::environment::Environment;
use pipelines::job::{Job, JobId};
use pipelines::locks::{Locks, Teller};
use pipelines::log::Log;
use pool::lock::PoolName;
use pool::message::Origin;
use tokio::runtime::Builder;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{LocalSet, spawn_local};
use tokio_util::sync::CancellationToken;

use crate::pool::args::PlaceArgs;
use crate::pool::commands::Context;
use crate::pool::settings::{self, Scope};
use crate::pool::{holder, settings::Environment as Variables};
use crate::resource;

/// Who asks for locks: this server.
#[derive(Debug)]
pub struct PoolLocks {
    server: Arc<Server>,
    thread: OnceLock<UnboundedSender<Ask>>,
}

#[derive(Debug)]
struct Server {
    /// The environment, of which the variables of `pool` count.
    env: Environment,
    /// The data of the server; what is kept for a job is in a folder of its own below it.
    data: PathBuf,
    log: Log,
}

/// Who is to hold locks: a job, or a task of it.
#[derive(Clone)]
struct Of {
    job: Arc<Job>,
    task: Option<usize>,
}

impl Of {
    /// What no other one is called.
    fn id(&self) -> String {
        id(self.job.id, self.task)
    }
}

fn id(job: JobId, task: Option<usize>) -> String {
    let task = task.map_or(String::new(), |at| format!(".{at}"));
    format!("{job}{task}")
}

enum Ask {
    Hold(Of, Teller, CancellationToken),
    GiveBack(Of, Teller),
}

impl PoolLocks {
    /// For the server with this data and environment. What jobs have left there that hold nothing is removed.
    pub fn new(env: Environment, data: &Path, jobs: &[Arc<Job>], log: Log) -> PoolLocks {
        let server = Server {
            env,
            data: data.to_owned(),
            log,
        };
        let holds = |name: &str| {
            let mut holding = jobs.iter().flat_map(|job| job.holders());
            holding.any(|holder| id(holder.job, holder.task) == name)
        };
        for entry in fs::read_dir(server.folder())
            .into_iter()
            .flatten()
            .flatten()
        {
            if !holds(&entry.file_name().to_string_lossy()) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        PoolLocks {
            server: Arc::new(server),
            thread: OnceLock::new(),
        }
    }

    /// Checks that the locks of all pipelines can be asked for.
    ///
    /// # Errors
    /// The first fault, with its pipeline.
    pub fn check(&self, definitions: &Definitions) -> Result<()> {
        for pipeline in definitions.values() {
            let of_tasks = pipeline.tasks.iter().flat_map(|task| &task.locks);
            for wish in pipeline.locks.iter().chain(of_tasks) {
                let checked = claim::operation(wish).and_then(|_| self.server.source(wish));
                checked.map_err(|err| {
                    anyhow!(
                        "loading {}: invalid pipeline definition \"{}\": locks: {err:#}",
                        pipeline.source,
                        pipeline.name
                    )
                })?;
            }
        }
        Ok(())
    }

    fn ask(&self, ask: Ask) {
        let thread = self.thread.get_or_init(|| {
            let (asks, asked) = unbounded_channel();
            let server = self.server.clone();
            let started = thread::Builder::new()
                .name("locks".to_owned())
                .spawn(move || serve(&server, asked));
            if let Err(err) = started {
                let fields = [("error", err.to_string())];
                let fields = fields
                    .each_ref()
                    .map(|(name, value)| (*name, value.as_str()));
                self.server.log.warn("Locks cannot be waited for", &fields);
            }
            asks
        });
        // Without the thread nobody has the other end.
        if let Err(lost) = thread.send(ask) {
            let (Ask::Hold(_, teller, _) | Ask::GiveBack(_, teller)) = lost.0;
            teller.over(Err(
                "locks cannot be waited for: there is no thread for it".to_owned()
            ));
        }
    }
}

impl Locks for PoolLocks {
    fn hold(&self, job: Arc<Job>, task: Option<usize>, teller: Teller, stop: CancellationToken) {
        self.ask(Ask::Hold(Of { job, task }, teller, stop));
    }

    fn give_back(&self, job: Arc<Job>, task: Option<usize>, teller: Teller) {
        self.ask(Ask::GiveBack(Of { job, task }, teller));
    }
}

/// Does what is asked for, each for itself, until nobody asks any more.
fn serve(server: &Arc<Server>, mut asked: UnboundedReceiver<Ask>) {
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(err) => {
            let error = err.to_string();
            let fields = [("error", error.as_str())];
            return server.log.warn("Locks cannot be waited for", &fields);
        }
    };
    LocalSet::new().block_on(&runtime, async {
        while let Some(ask) = asked.recv().await {
            let server = server.clone();
            spawn_local(async move {
                let (Ask::Hold(_, teller, _) | Ask::GiveBack(_, teller)) = &ask;
                let teller = teller.clone();
                // If it fails in its midst, the job is not to wait for it for ever.
                if let Err(err) = spawn_local(one(server, ask)).await {
                    teller.over(Err(format!("waiting for locks has failed: {err}")));
                }
            });
        }
    });
}

async fn one(server: Arc<Server>, ask: Ask) {
    let (of, teller) = match &ask {
        Ask::Hold(of, teller, _) | Ask::GiveBack(of, teller) => (of.clone(), teller.clone()),
    };
    let result = match claims(&server, &of) {
        Err(err) => Err(format!("{err:#}")),
        Ok(claims) => match ask {
            Ask::Hold(_, _, stop) => held::hold(&server, &of, claims, &teller, &stop).await,
            Ask::GiveBack(..) => held::give_back(&claims).await,
        },
    };
    let _ = fs::remove_dir_all(server.folder_of(&of));
    teller.over(result);
}

/// What somebody claims of each pool.
fn claims(server: &Server, of: &Of) -> Result<Vec<Rc<claim::OfPool>>> {
    let us = server.holder(of)?;
    let wishes = of.job.wishes_of(of.task).iter().enumerate();
    let claims = wishes.map(|(at, wish)| {
        let folder = server.folder_of(of).join(at.to_string());
        pool::private::folder(&folder)
            .with_context(|| format!("making the folder `{}`", folder.display()))?;
        let context = server.context(wish, us.clone(), folder)?;
        Ok(Rc::new(claim::OfPool::new(&of.id(), wish, context)?))
    });
    claims.collect()
}

impl Server {
    /// Where what is kept for jobs is.
    fn folder(&self) -> PathBuf {
        self.data.join("locks")
    }

    fn folder_of(&self, of: &Of) -> PathBuf {
        self.folder().join(of.id())
    }

    fn variables(&self) -> Variables {
        let variables = self.env.iter();
        Variables::among(variables.map(|(name, value)| (name.clone(), value.clone())))
    }

    /// The settings for one pool.
    fn source(&self, wish: &Wish) -> Result<settings::Settings> {
        let pool = PoolName::new(&wish.pool)
            .with_context(|| format!("{:?} is not the name of a pool", wish.pool))?;
        // Else one pool could be asked twice, and a job wait for itself.
        if pool.as_str() != wish.pool {
            bail!("the pool {:?} is written `{pool}`", wish.pool);
        }
        let place = PlaceArgs {
            pool: Some(wish.pool.clone()),
            ..PlaceArgs::default()
        };
        let nobody = Origin::default();
        let read = settings::read(&place, &Scope::One, &self.variables(), &nobody, None);
        read.map_err(|err| match err.to_string() {
            // It speaks of options, which this program does not have.
            text if text.starts_with("no Git repository is named") => anyhow!(
                "no Git repository is named: set POOL_URI, or `uri` in a pool.toml in the folder of the server"
            ),
            _ => err,
        })
    }

    fn context(&self, wish: &Wish, origin: Origin, folder: PathBuf) -> Result<Context> {
        let settings = self.source(wish)?;
        let mut around = resource::surroundings();
        around.paint = terminal::Paint::Plain;
        around.temporary = folder;
        Ok(Context {
            within: Vec::new(),
            source: settings.source,
            is_local: settings.is_local,
            origin,
            around,
            json: false,
            which: settings.which,
            settings_file: settings.file,
        })
    }

    /// Who somebody is for others: no two are called alike, and after a crash he is called so again.
    fn holder(&self, of: &Of) -> Result<Origin> {
        let job = &of.job;
        let name = self
            .name()
            .context("naming this server in its data folder")?;
        let task = of.task.and_then(|at| job.tasks.get(at));
        let task = task.map_or(String::new(), |task| format!(" {}", task.definition.name));
        // The name of the task is for people: as a holder it may be the same as that of another one.
        let text = format!("prunner {name} {} {}{task}", job.pipeline, of.id());
        Ok(holder::origin(Some(&text), &|_| None))
    }

    /// What this installation is called: its machine, and what tells it from another one there.
    fn name(&self) -> io::Result<String> {
        let path = self.data.join("installation");
        match fs::read_to_string(&path) {
            Ok(name) if !name.trim().is_empty() => return Ok(name.trim().to_owned()),
            Ok(_) => {}
            Err(err) if err.kind() == io::ErrorKind::NotFound => {}
            Err(err) => return Err(err),
        }
        let machine = whoami::hostname().unwrap_or_else(|_| "somewhere".to_owned());
        let name = format!("{machine}/{:08x}", rand::random::<u32>());
        let new = self.data.join("installation.new");
        fs::write(&new, &name)?;
        fs::File::open(&new)?.sync_all()?;
        fs::rename(&new, &path)?;
        Ok(name)
    }
}

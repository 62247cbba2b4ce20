//! The commands, each in a module of its own, and what they have in common.

mod acquire;
mod change;
mod completions;
mod doctor;
mod init;
mod log;
mod mine;
mod reap;
mod release;
mod renew;
pub mod run;
mod serve;
mod show;
mod simulate;
mod stats;
mod status;
mod verify;

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Error, Result};
use child::Listener;
use git::object::Content;
use pool::attempt::{AttemptError, Outcome};
use pool::concourse::Source;
use pool::lock::{ClaimId, LockName, PoolName};
use pool::message::Origin;
use pool::operation::{Operation, Part, Want};
use pool::step::{self, Order, Plan, StepError, Surroundings, Which};
use tokio_util::sync::CancellationToken;

#[cfg(feature = "guard")]
use crate::pool::args::RunArgs;
use crate::pool::args::{Args, Command, PlaceArgs, WaitArgs};
use crate::pool::holder;
use crate::pool::settings::{self, Environment, Scope};
use crate::pool::words::Log;
use crate::resource;

/// What every command works with.
pub struct Context {
    /// Where the locks are.
    pub source: Source,
    /// Whether that is a repository of one's own on this machine, where locks need not be added before they are claimed.
    pub is_local: bool,
    /// Who we are.
    pub origin: Origin,
    /// The claims of the commands in which we run, from the outermost on.
    pub within: Vec<ClaimId>,
    /// What is around.
    pub around: Surroundings,
    /// Whether to answer in JSON.
    pub json: bool,
    /// What of the branch is meant.
    pub which: Which,
    /// The file with settings that is in use.
    pub settings_file: Option<PathBuf>,
}

/// Carries out a command.
pub async fn run(args: Args) -> Result<ExitCode> {
    let place = args.place;
    let usual = || context(&place, &Scope::One, false);
    let of = |locks: &[String]| context_of(&place, locks);
    match args.command {
        Command::Run(given) => run::run(&of(&given.locks)?, &given).await,
        Command::Acquire(given) => acquire::acquire(&usual()?, &given).await,
        Command::Claim(given) => acquire::claim(&of(&given.locks)?, &given).await,
        Command::Verify(given) => verify::verify(&usual()?, &given).await,
        Command::Status(given) => {
            let context = context(&place, &one_or_all(given.all), !given.watch)?;
            until_told(status::status(&context, &given)).await
        }
        Command::Log(given) => {
            let context = context(&place, &one_or_all(given.all), true)?;
            until_told(log::log(&context, &given)).await
        }
        Command::Stats(given) => {
            let context = context(&place, &one_or_all(given.all), true)?;
            until_told(stats::stats(&context, &given)).await
        }
        Command::Simulate(given) => {
            let context = context(&place, &Scope::One, true)?;
            until_told(simulate::simulate(&context, &given)).await
        }
        Command::Doctor(given) => until_told(doctor::doctor(&place, &given)).await,
        Command::Release(given) => release::release(&of(&given.locks)?, &given).await,
        Command::Renew(given) => renew::renew(&of(&given.locks)?, &given).await,
        Command::Show(given) => {
            let context = context(&place, &Scope::One, true)?;
            until_told(show::show(&context, &given)).await
        }
        Command::Init(given) => init::init(&place, &given).await,
        Command::Add(given) => change::add(&usual()?, &given).await,
        Command::Remove(given) => change::remove(&usual()?, &given).await,
        Command::Update(given) => change::update(&usual()?, &given).await,
        Command::Move(given) => change::move_to(&usual()?, &given).await,
        Command::Unlock(given) => release::unlock(&usual()?, &given).await,
        Command::Reap(given) => reap::reap(&usual()?, &given).await,
        Command::Serve(given) => {
            serve::serve(&context(&place, &one_or_all(given.all), false)?, &given).await
        }
        Command::Completions(given) => completions::completions(&given),
    }
}

/// What a command works with that names locks: where all of them have their full names, and none is of the pool that is set,
/// the pool that is spoken of is that of the first.
fn context_of(place: &PlaceArgs, locks: &[String]) -> Result<Context> {
    let pools = locks.iter().map(|lock| LockName::read(lock).ok()?.pool());
    let pools: Option<Vec<PoolName>> = pools.collect();
    let Some((pools, first)) =
        pools.and_then(|pools| Some((pools.clone(), pools.first()?.clone())))
    else {
        return context(place, &Scope::One, false);
    };
    let mut context = context(place, &Scope::OneOrAll, false)?;
    if context.which == Which::All || !pools.contains(&context.source.pool) {
        context.source.pool = first;
        context.which = Which::One;
    }
    Ok(context)
}

/// Does what only reads, until a signal asks for an end: then it is dropped, and its temporary files go with it.
async fn until_told(reading: impl Future<Output = Result<ExitCode>>) -> Result<ExitCode> {
    let mut signals = Listener::new().context("cannot listen for signals")?;
    tokio::select! {
        biased;
        done = reading => done,
        signal = signals.next_end() => {
            Ok(ExitCode::from(u8::try_from(128 + signal.number).unwrap_or(u8::MAX)))
        }
    }
}

/// Runs a command while a lock is held, as `pool run` does.
#[cfg(feature = "guard")]
pub async fn run_command(context: &Context, args: &RunArgs) -> Result<ExitCode> {
    run::run(context, args).await
}

fn one_or_all(all: bool) -> Scope {
    match all {
        true => Scope::All,
        false => Scope::OneOrAll,
    }
}

/// Whether an error only says that it cannot be had now.
pub fn is_not_now(err: &Error) -> bool {
    matches!(err.downcast_ref(), Some(StepError::Attempt(err)) if matches!(**err, AttemptError::TimedOut { .. } | AttemptError::OutOfTime { .. }))
}

/// Whether an error says that a later build waits in its place.
pub fn is_superseded(err: &Error) -> bool {
    matches!(err.downcast_ref(), Some(StepError::Attempt(err)) if matches!(**err, AttemptError::Superseded { .. }))
}

/// Whether an error says that it gave way to others in a circle.
pub fn gave_way(err: &Error) -> bool {
    matches!(err.downcast_ref(), Some(StepError::Attempt(err)) if matches!(**err, AttemptError::GaveWay { .. }))
}

/// Puts together what a command works with. With `soon` it is one whose answer somebody waits for, and that can as well be
/// asked again: it does not bear with faults for minutes, if nothing else is set.
pub fn context(place: &PlaceArgs, scope: &Scope, soon: bool) -> Result<Context> {
    let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let origin = holder::origin(place.holder.as_deref(), &env);
    let fault_timeout = soon.then_some("20s");
    let settings = settings::read(
        place,
        scope,
        &Environment::of_process(),
        &origin,
        fault_timeout,
    )?;
    let mut around = resource::surroundings();
    around.met_hosts = settings::met_hosts();
    if !io::IsTerminal::is_terminal(&io::stderr()) {
        around.paint = terminal::Paint::Plain;
    }
    Ok(Context {
        source: settings.source,
        is_local: settings.is_local,
        origin,
        within: run::within(env(run::WITHIN)),
        around,
        json: place.json,
        which: settings.which,
        settings_file: settings.file,
    })
}

impl Context {
    /// Carries out an operation, and hands the outcome to `answer`.
    pub async fn operate(
        &self,
        order: Order,
        stop: CancellationToken,
        answer: impl AsyncFnOnce(&Outcome) -> io::Result<()>,
        log: &mut dyn Write,
    ) -> Result<Outcome, StepError> {
        step::operate(&self.source, order, &self.around, stop, answer, log).await
    }

    /// An order for an operation that does not wait.
    pub fn order(&self, operation: Operation) -> Order {
        Order {
            within: self.within.clone(),
            ..Order::at_once(operation, self.origin.clone())
        }
    }

    /// An order for an operation that may have to wait.
    pub fn waiting_order(
        &self,
        operation: Operation,
        wait: &WaitArgs,
        lease: Option<Duration>,
    ) -> Order {
        Order {
            patience: wait.patience(),
            priority: wait.priority,
            on_deadlock: wait.on_deadlock.into(),
            in_order: wait.order.map(Into::into),
            lease,
            ..self.order(operation)
        }
    }

    /// Reads the names of locks, or their full names.
    pub fn locks(&self, names: &[String]) -> Result<Vec<LockName>> {
        let read = |name: &String| {
            let lock = LockName::seen_from(&self.source.pool, name);
            lock.with_context(|| format!("{name:?} is not the name of a lock"))
        };
        names.iter().map(read).collect()
    }

    /// The claim of these locks, which are of one pool or of several.
    pub fn claiming(&self, locks: &[LockName]) -> Operation {
        match locks {
            [lock] if lock.pool().is_none() => return Operation::Claim(lock.clone()),
            locks if locks.iter().all(|lock| lock.pool().is_none()) => {
                return Operation::Acquire(Want::exactly(locks.to_vec()));
            }
            _ => {}
        }
        let mut by_pool: Vec<(PoolName, Vec<LockName>)> = vec![(self.source.pool.clone(), vec![])];
        for lock in locks {
            let pool = lock.pool().unwrap_or_else(|| self.source.pool.clone());
            match by_pool.iter_mut().find(|(other, _)| *other == pool) {
                Some((_, locks)) => locks.push(lock.bare()),
                None => by_pool.push((pool, vec![lock.bare()])),
            }
        }
        let parts = by_pool.into_iter().filter(|(_, locks)| !locks.is_empty());
        let part = |(pool, locks)| Part {
            pool,
            want: Want::exactly(locks),
        };
        Operation::AcquireEach(parts.map(part).collect())
    }

    /// Adds locks that are to be claimed by their names, where nobody else would have done so.
    pub async fn provide(&self, locks: &[LockName]) -> Result<(), StepError> {
        if !self.is_local {
            return Ok(());
        }
        let mut plan = Plan::from([(self.source.pool.clone(), BTreeMap::new())]);
        for lock in locks {
            let pool = lock.pool().unwrap_or_else(|| self.source.pool.clone());
            let there = plan.entry(pool).or_default();
            there.insert(lock.bare(), Content::new(Vec::new()));
        }
        let stop = CancellationToken::new();
        let log = &mut Log::default();
        step::init(&self.source, &plan, &self.origin, &self.around, stop, log).await?;
        Ok(())
    }
}

/// Writes an answer.
pub fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Reads the name of a lock.
pub fn lock(name: &str) -> Result<LockName> {
    LockName::new(name).with_context(|| format!("{name:?} is not the name of a lock"))
}

/// Reads the names of locks.
pub fn locks(names: &[String]) -> Result<Vec<LockName>> {
    names.iter().map(|name| lock(name)).collect()
}

/// Reads the name of a pool.
pub fn pool(name: &str) -> Result<PoolName> {
    PoolName::new(name).with_context(|| format!("{name:?} is not the name of a pool"))
}

/// Reads the id of a claim.
pub fn claim_id(text: &str) -> Result<ClaimId> {
    let whole = text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let id = text.parse().ok().filter(|_| whole);
    let id = id.with_context(|| {
        format!("{text:?} is not the id of a claim: 40 digits and letters from a to f")
    })?;
    Ok(ClaimId(id))
}

/// Reads what a lock's metadata is to be; `-` is the standard input.
pub fn metadata(file: &Path) -> Result<Content> {
    let mut bytes = Vec::new();
    let read = if file == Path::new("-") {
        io::stdin().lock().read_to_end(&mut bytes).map(drop)
    } else {
        std::fs::read(file).map(|read| bytes = read)
    };
    read.with_context(|| format!("cannot read the metadata in `{}`", file.display()))?;
    if bytes.len() > Content::MOST {
        anyhow::bail!(
            "the metadata has {} bytes, and {} is the most",
            bytes.len(),
            Content::MOST
        );
    }
    Ok(Content::new(bytes))
}

impl WaitArgs {
    /// How long to wait: zero for not at all, `None` for as long as it takes.
    pub fn patience(&self) -> Option<Duration> {
        if self.try_once {
            Some(Duration::ZERO)
        } else {
            self.timeout
        }
    }
}

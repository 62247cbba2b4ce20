//! Turns by a lock: whoever holds it is inside, whatever GitLab's answers say.
//!
//! The lock is named after the project and the guard, and its holder is this job of GitLab. With a command it is given back
//! after the command; without one it is freed when the job is over, by whichever guard waits for it: GitLab says that the
//! holder has ended. Where GitLab cannot be asked, the lease says so.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use anyhow::{Context as _, Error, Result};
use child::Listener;
use git::object::Content;
use git::{FaultError, RemoteError};
use gitlab::ApiUrl;
use guard::lock;
use guard::pattern::base;
use pool::attempt::{AttemptError, Outcome};
use pool::concourse::{GitlabServer, Reap};
use pool::lock::LockName;
use pool::operation::Operation;
use pool::step::{self, Plan, StepError};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::exit::Exit;
use super::flags::Flags;
use super::news::Log;
use super::terms::{self, TermsError};
use crate::pool::args::{OnLost, PlaceArgs, RunArgs, WaitArgs, WantArgs};
use crate::pool::commands::{self, Context};
use crate::pool::settings::Scope;

/// For how long a claim is good whose command cannot renew it.
const LEASE: Duration = Duration::from_secs(15 * 60);

/// For how long a claim without a command is good, where the job's time-out is not known.
const LONGEST_JOB: Duration = Duration::from_secs(3600);

/// How often a guard that waits looks whether the holder is alive.
const BETWEEN_REAPS: Duration = Duration::from_secs(15);

type Env<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// Takes the turn by the lock in the repository of the flags, and runs the command if there is one.
pub async fn run(flags: &Flags, env: &Env<'_>, log: &Log) -> Result<Exit> {
    let project = env("CI_PROJECT_PATH").or_else(|| flags.ci_project_id.clone());
    let job = env("CI_JOB_NAME").map(|name| base(&name).to_owned());
    let (Some(project), Some(guard)) = (project, flags.lock_name.clone().or(job)) else {
        let missing = vec![
            "--ci-project-id/-p/--project-id",
            "--lock-name (or CI_JOB_NAME)",
        ];
        return Err(TermsError::Missing(missing).into());
    };
    let name = lock::name(&project, &guard)?;
    let timeout = terms::timeout(flags, env, &mut |text| log.note(text))?;
    let place = PlaceArgs {
        uri: flags.lock_uri.clone(),
        pool: env("POOL_NAME").is_none().then(|| lock::POOL.to_owned()),
        ..PlaceArgs::default()
    };
    let mut context = commands::context(&place, &Scope::One, flags.no_wait)?;
    let settings = Reap {
        stale_after: None,
        concourse: None,
        gitlab: witness(flags, env)?,
        dry_run: false,
    };
    if settings.gitlab.is_none() {
        log.note("GitLab cannot be asked whether the holder of the lock is alive (no token or no URL): its lease says so");
    }
    if let Some(more) = terms::certificates(flags, env)? {
        let known = context.source.ca_cert.take().unwrap_or_default();
        context.source.ca_cert = Some(format!("{known}\n{more}"));
    }

    let wait = WaitArgs {
        timeout: timeout.filter(|_| !flags.no_wait),
        try_once: flags.no_wait,
        priority: 0,
        ..WaitArgs::default()
    };
    let context = context;
    // Others may be called by a name that is set, and no other job has this number.
    let number = env("CI_JOB_ID").map(|id| format!(" #{id}"));
    let us = context.origin.prefix.as_str();
    let us = number.and_then(|number| us.ends_with(&number).then_some(us));
    let reaping = reap(&context, &settings, us, flags.poll.unwrap_or(BETWEEN_REAPS));
    let turn = async {
        provide(&context, &name).await?;
        if flags.command.is_empty() {
            let lease = timeout_of_job(env).unwrap_or(LONGEST_JOB);
            claim(&context, name.clone(), &wait, lease).await
        } else {
            run_with(&context, &name, wait.clone(), flags).await
        }
    };
    let result = tokio::select! {
        biased;
        result = turn => result,
        never = reaping => match never {},
    };
    match result {
        Ok(exit) => Ok(exit),
        Err(err) if commands::is_not_now(&err) => {
            log.error(&terminal::chain(err.as_ref()));
            Ok(if flags.no_wait {
                Exit::Taken
            } else {
                Exit::TimedOut
            })
        }
        Err(err) => match refused_or_away(&err) {
            Some(exit) => {
                log.error(&terminal::chain(err.as_ref()).replace("`source.", "`"));
                Ok(exit)
            }
            None => Err(err),
        },
    }
}

/// Runs the command while the lock is held, as `pool run` does.
async fn run_with(
    context: &Context,
    lock: &LockName,
    wait: WaitArgs,
    flags: &Flags,
) -> Result<Exit> {
    let args = RunArgs {
        close: false,
        locks: vec![lock.to_string()],
        want: WantArgs {
            conditions: Vec::new(),
            count: None,
        },
        lease: LEASE,
        on_lost: OnLost::Tell,
        pass_credentials: false,
        conflict_exit_code: None,
        wait,
        command: flags.command.clone(),
    };
    commands::run_command(context, &args)
        .await
        .map(Exit::Program)
}

/// Claims the lock for this job.
async fn claim(
    context: &Context,
    lock: LockName,
    wait: &WaitArgs,
    lease: Duration,
) -> Result<Exit> {
    let mut signals = Listener::new().context("cannot listen for signals")?;
    let order = context.waiting_order(Operation::Claim(lock), wait, Some(lease));
    let stop = CancellationToken::new();
    let log = &mut io::stderr();
    let claiming = context.operate(order, stop.clone(), async |_: &Outcome| Ok(()), log);
    let mut claiming = Box::pin(claiming);
    let mut signal = None;
    loop {
        tokio::select! {
            biased;
            outcome = &mut claiming => return match (outcome, signal) {
                (Ok(_), _) => Ok(Exit::Done),
                (Err(StepError::Attempt(err)), Some(signal)) if matches!(*err, AttemptError::Stopped) => {
                    Ok(Exit::Signal(signal))
                }
                (Err(err), _) => Err(err.into()),
            },
            received = signals.next() => {
                signal.get_or_insert(received.number);
                stop.cancel();
            }
        }
    }
}

/// Makes the branch, the pool and the lock, as far as they are not there.
async fn provide(context: &Context, lock: &LockName) -> Result<(), StepError> {
    let locks = [(lock.clone(), Content::new(Vec::new()))]
        .into_iter()
        .collect();
    let plan = Plan::from([(context.source.pool.clone(), locks)]);
    let (stop, log) = (CancellationToken::new(), &mut io::stderr());
    step::init(
        &context.source,
        &plan,
        &context.origin,
        &context.around,
        stop,
        log,
    )
    .await?;
    Ok(())
}

/// Frees locks whose holders have ended, again and again, until we hold one ourselves; `us` is what we alone are called.
async fn reap(
    context: &Context,
    settings: &Reap,
    us: Option<&str>,
    between: Duration,
) -> Infallible {
    loop {
        sleep(between).await;
        let stop = CancellationToken::new();
        let (origin, around) = (context.origin.clone(), &context.around);
        // What it keeps, and why, it would say again each time; what it frees, the commit says.
        let mut unheard = io::sink();
        let reaping = step::reap(
            &context.source,
            settings,
            origin,
            around,
            stop,
            &mut unheard,
        );
        // A reaping that fails is repeated; the claim itself tells of the server's errors.
        let Ok(reaping) = reaping.await else {
            continue;
        };
        let mut holders = reaping.decided.iter().map(|decided| &decided.holder);
        if us.is_some_and(|us| holders.any(|holder| holder == us)) {
            return std::future::pending().await;
        }
    }
}

/// The GitLab that knows whether a holder is alive, if it can be asked.
fn witness(flags: &Flags, env: &Env<'_>) -> Result<Option<GitlabServer>> {
    let token = terms::token(flags, env)?;
    let url = flags.ci_api_v4_url.as_deref().filter(|url| !url.is_empty());
    let (Some(token), Some(url)) = (token, url) else {
        return Ok(None);
    };
    let server = GitlabServer::at(url, token).ok_or_else(|| {
        TermsError::Wrong(
            "--ci-api-v4-url/-u/--api-url",
            gitlab::SettingError::Url.to_string(),
        )
    })?;
    // Jobs are linked to by the name that GitLab has for itself.
    let home = env("CI_SERVER_URL").and_then(|url| ApiUrl::parse(&url).ok());
    let home = home.map_or(server.home.clone(), |home| home.url().clone());
    Ok(Some(GitlabServer { home, ..server }))
}

fn timeout_of_job(env: &Env<'_>) -> Option<Duration> {
    env("CI_JOB_TIMEOUT")?
        .trim()
        .parse()
        .ok()
        .map(Duration::from_secs)
}

/// The exit code of an error of the repository, if it is about who we are, or about a server that is away.
fn refused_or_away(err: &Error) -> Option<Exit> {
    let fault = match err.downcast_ref::<StepError>()? {
        StepError::Fault(fault) => fault,
        StepError::Attempt(err) => match &**err {
            AttemptError::Fault(fault) => fault,
            _ => return None,
        },
        _ => return None,
    };
    match fault {
        FaultError::Permanent(RemoteError::Denied { .. } | RemoteError::NotFound { .. }) => {
            Some(Exit::Refused)
        }
        FaultError::GaveUp { .. } => Some(Exit::Unanswered),
        FaultError::Permanent(_) | FaultError::Stopped => None,
    }
}

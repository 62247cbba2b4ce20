//! `pool log`.

use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::{Context as _, Result};
use pool::lock::LockName;
use pool::step::{LogQuery, Which};
use pool::{show, step};

use super::Context;
use super::status::{print, style};
use crate::pool::args::LogArgs;
use crate::pool::output;
use crate::pool::words::Log;

/// How many are shown when nothing else is said.
const USUAL_NUMBER: usize = 20;

/// Shows who held what.
pub async fn log(context: &Context, args: &LogArgs) -> Result<ExitCode> {
    let now = SystemTime::now();
    let since = args.since.map(|since| since.seconds(now));
    let usual = since.is_none().then_some(USUAL_NUMBER);
    let query = LogQuery {
        locks: args
            .locks
            .iter()
            .chain(&args.more_locks)
            .map(|lock| {
                LockName::new(lock).with_context(|| format!("{lock:?} is not the name of a lock"))
            })
            .collect::<Result<_>>()?,
        holder: args.by.clone(),
        since,
        until: args.until.map(|until| until.seconds(now)),
        most: args.number.map(|number| number.get()).or(usual),
    };
    git::read_much_once();
    let holds = step::log(
        &context.source,
        context.which.clone(),
        &query,
        &context.around,
        &mut Log::default(),
    )
    .await?;
    let text = if context.json {
        output::log::json(&holds, now)?
    } else {
        show::log::text(&holds, context.which == Which::All, now, style(context))
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

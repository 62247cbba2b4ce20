//! `pool stats`.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::{Result, bail};
use pool::lock::PoolName;
use pool::queueing::figures::{By, Span, rows};
use pool::{show, step};

use super::Context;
use super::status::{print, style};
use crate::pool::args::{Form, Rows, StatsArgs};
use crate::pool::moments::since_1970;
use crate::pool::output;
use crate::pool::words::Log;

/// Shows how much locks are used.
pub async fn stats(context: &Context, args: &StatsArgs) -> Result<ExitCode> {
    let now = SystemTime::now();
    let since = args.since.seconds(now);
    let until = args
        .until
        .map_or(since_1970(now), |until| until.seconds(now));
    if until <= since {
        bail!("`--until` must be later than `--since`");
    }
    let by = match args.by {
        Rows::Pool => By::Pool,
        Rows::Lock => By::Lock,
        Rows::Pipeline => By::Pipeline,
        Rows::Day => By::Day,
    };
    git::read_much_once();
    let (source, which) = (&context.source, context.which.clone());
    let log = &mut Log::default();
    let record = step::record(source, which, since, &context.around, log).await?;
    let locks: BTreeMap<PoolName, usize> = record
        .locks
        .iter()
        .map(|(pool, locks)| (pool.clone(), locks.len()))
        .collect();
    let span = Span {
        // Before the branch began there was nothing to be used.
        since: since.max(record.since.min(until)),
        until,
        locks: &locks,
    };
    let rows = rows(&record.holds, by, &span);
    let text = match (args.format, context.json) {
        (Form::Json, _) | (Form::Table, true) => output::figures::stats_json(&rows, &span)?,
        (Form::Csv, _) => output::figures::stats_csv(&rows),
        (Form::Table, false) => show::figures::stats(&rows, by, style(context)),
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

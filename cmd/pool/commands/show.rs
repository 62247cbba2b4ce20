//! `pool show`.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use pool::step;

use super::{Context, mine};
use crate::pool::args::ShowArgs;
use crate::pool::output;
use crate::pool::words::Log;

/// Prints the metadata of a lock.
pub async fn show(context: &Context, args: &ShowArgs) -> Result<ExitCode> {
    let name = super::lock(&args.lock)?;
    let log = &mut Log::default();
    let lock = step::lock(&context.source, &name, &context.around, log).await?;
    let pool = context.source.pool.as_str();
    let Some(lock) = lock else {
        let there = step::locks(&context.source, &context.around, log).await?;
        return Err(mine::no_such_lock(&name, pool, &there));
    };
    let bytes = match context.json {
        true => output::shown(&name, &lock, pool)?.into_bytes(),
        // Not a byte more: they may be a key.
        false => lock.metadata,
    };
    let mut out = io::stdout().lock();
    out.write_all(&bytes)
        .and_then(|()| out.flush())
        .context("cannot write the answer")?;
    Ok(ExitCode::SUCCESS)
}

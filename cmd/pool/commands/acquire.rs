//! `pool acquire` and `pool claim`.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use pool_resource::attempt::Outcome;
use pool_resource::lock::LockName;
use pool_resource::operation::{Condition, Operation, Want};
use pool_resource::step::{Order, operate};

use super::Context;
use crate::args::{AcquireArgs, ClaimArgs, WaitArgs};
use crate::{output, resource};

/// Claims any free locks that will do.
pub async fn acquire(context: &Context, args: &AcquireArgs) -> Result<ExitCode> {
    let want = Want {
        count: args.count,
        conditions: args
            .conditions
            .iter()
            .map(|text| condition(text))
            .collect::<Result<_>>()?,
        ..Want::default()
    };
    take(context, Operation::Acquire(want), &args.wait).await
}

/// Claims one lock.
pub async fn claim(context: &Context, args: &ClaimArgs) -> Result<ExitCode> {
    let lock = LockName::new(&args.lock)
        .with_context(|| format!("{:?} is not the name of a lock", args.lock))?;
    take(context, Operation::Claim(lock), &args.wait).await
}

async fn take(context: &Context, operation: Operation, wait: &WaitArgs) -> Result<ExitCode> {
    let stop = resource::stop_on_signals()?;
    let order = Order {
        operation,
        origin: context.origin.clone(),
        patience: wait.patience(),
        priority: wait.priority,
        step: None,
        lease: None,
        rerun: None,
    };
    let answer = async |outcome: &Outcome| {
        let text = output::claimed(outcome, context.source.pool.as_str(), context.json)?;
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    };
    let around = &context.around;
    operate(
        &context.source,
        order,
        around,
        stop,
        answer,
        &mut io::stderr(),
    )
    .await?;
    Ok(ExitCode::SUCCESS)
}

/// Reads `KEY=VALUE`.
fn condition(text: &str) -> Result<Condition> {
    let (path, value) = text
        .split_once('=')
        .filter(|(path, _)| !path.is_empty())
        .with_context(|| format!("`--match` must be KEY=VALUE, found {text:?}"))?;
    Ok(Condition {
        path: path.to_owned(),
        value: value.to_owned(),
    })
}

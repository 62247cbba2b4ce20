//! `pool acquire` and `pool claim`.

use std::num::NonZeroUsize;
use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow, bail};
use pool::attempt::Outcome;
use pool::matching;
use pool::operation::{Condition, Operation, Want, Wanted};
use pool::step::Order;
use serde_json::Value;

use super::Context;
use crate::pool::args::{AcquireArgs, ClaimArgs, Count, WantArgs};
use crate::pool::output;
use crate::pool::words::Log;
use crate::resource;

/// Claims any free locks that will do.
pub async fn acquire(context: &Context, args: &AcquireArgs) -> Result<ExitCode> {
    let operation = Operation::Acquire(want(&args.want)?);
    take(
        context,
        context.waiting_order(operation, &args.wait, args.lease),
    )
    .await
}

/// Claims locks by their names, all of them in one claim.
pub async fn claim(context: &Context, args: &ClaimArgs) -> Result<ExitCode> {
    if args
        .reason
        .as_ref()
        .is_some_and(|why| why.trim().is_empty())
    {
        bail!("`--reason` is empty; it must say why the lock is held, or be left out");
    }
    let locks = context.locks(&args.locks)?;
    context.provide(&locks).await?;
    let operation = context.claiming(&locks);
    let order = Order {
        reason: args.reason.clone(),
        ..context.waiting_order(operation, &args.wait, args.lease)
    };
    take(context, order).await
}

async fn take(context: &Context, order: Order) -> Result<ExitCode> {
    let stop = resource::stop_on_signals()?;
    let pool = context.source.pool.as_str();
    let answer =
        async |outcome: &Outcome| super::say(&output::claimed(outcome, pool, context.json)?);
    context
        .operate(order, stop, answer, &mut Log::default())
        .await?;
    Ok(ExitCode::SUCCESS)
}

/// Which locks are wanted.
pub fn want(args: &WantArgs) -> Result<Want> {
    let mut conditions = Vec::new();
    for text in &args.conditions {
        conditions.extend(read(text)?);
    }
    Ok(Want {
        count: match args.count {
            Some(Count::Some(count)) => count,
            Some(Count::All) | None => NonZeroUsize::MIN,
        },
        all: args.count == Some(Count::All),
        conditions,
        ..Want::default()
    })
}

/// Reads `KEY=VALUE`, or an expression in braces as JSON or YAML has it.
fn read(text: &str) -> Result<Vec<Condition>> {
    if text.trim_start().starts_with('{') {
        let expression: Value = serde_saphyr::from_str(text)
            .with_context(|| format!("`--match` is neither JSON nor YAML: {text}"))?;
        return matching::read(&expression).map_err(|problem| {
            let matching::Problem {
                at,
                expected,
                found,
            } = problem;
            anyhow!("`match{at}` must be {expected}; found {found}")
        });
    }
    let (path, value) = text
        .split_once('=')
        .filter(|(path, _)| !path.is_empty())
        .with_context(|| {
            format!("`--match` must be KEY=VALUE, or an expression in braces, found {text:?}")
        })?;
    Ok(vec![Condition {
        path: path.to_owned(),
        value: Wanted::Text(value.to_owned()),
    }])
}

//! `pool add`, `pool remove`, `pool update` and `pool move`.

use std::process::ExitCode;

use anyhow::Result;
use git::object::Content;
use pool::attempt::Outcome;
use pool::lock::Holding;
use pool::operation::Operation;
use pool::step::Order;

use super::{Context, mine};
use crate::pool::args::{AddArgs, MoveArgs, RemoveArgs, UpdateArgs};
use crate::pool::output;
use crate::pool::words::Log;
use crate::resource;

/// Puts a new lock into the pool.
pub async fn add(context: &Context, args: &AddArgs) -> Result<ExitCode> {
    let content = match &args.metadata {
        Some(file) => super::metadata(file)?,
        None => Content::new(Vec::new()),
    };
    let operation = Operation::Add {
        lock: super::lock(&args.lock)?,
        content,
        holding: match args.claimed {
            true => Holding::Claimed,
            false => Holding::Unclaimed,
        },
    };
    let order = Order {
        lease: args.lease,
        ..context.order(operation)
    };
    change(context, order, "added").await
}

/// Takes a lock that is ours out of the pool.
pub async fn remove(context: &Context, args: &RemoveArgs) -> Result<ExitCode> {
    let lock = super::lock(&args.lock)?;
    let claim = match &args.claim {
        Some(id) => super::claim_id(id)?,
        None => {
            let standing = mine::standing(context, &context.source.pool).await?;
            mine::ours(context, &standing, &lock).await?
        }
    };
    let operation = Operation::Remove {
        lock,
        claim: Some(claim),
    };
    change(context, context.order(operation), "removed").await
}

/// Gives a lock new metadata.
pub async fn update(context: &Context, args: &UpdateArgs) -> Result<ExitCode> {
    let operation = Operation::Update {
        lock: super::lock(&args.lock)?,
        content: super::metadata(&args.metadata)?,
        claim: args.claim.as_deref().map(super::claim_id).transpose()?,
    };
    let order = context.waiting_order(operation, &args.wait, None);
    change(context, order, "updated").await
}

/// Takes a lock to another pool.
pub async fn move_to(context: &Context, args: &MoveArgs) -> Result<ExitCode> {
    let operation = Operation::Move {
        lock: super::lock(&args.lock)?,
        to: super::pool(&args.to)?,
    };
    change(context, context.order(operation), "moved").await
}

async fn change(context: &Context, order: Order, done: &str) -> Result<ExitCode> {
    let stop = resource::stop_on_signals()?;
    let pool = context.source.pool.as_str();
    let answer = async |outcome: &Outcome| {
        super::say(&output::changed(
            &outcome.locks,
            outcome.commit,
            done,
            pool,
            context.json,
        )?)
    };
    context
        .operate(order, stop, answer, &mut Log::default())
        .await?;
    Ok(ExitCode::SUCCESS)
}

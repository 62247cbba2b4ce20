//! `pool renew`.

use std::process::ExitCode;

use anyhow::Result;
use git::object::Oid;
use pool::attempt::Outcome;
use pool::operation::Operation;
use pool::step::Order;

use super::{Context, mine};
use crate::pool::args::RenewArgs;
use crate::pool::output;
use crate::pool::words::Log;
use crate::resource;

/// Begins the leases of claims that are ours anew.
pub async fn renew(context: &Context, args: &RenewArgs) -> Result<ExitCode> {
    let stop = resource::stop_on_signals()?;
    let (mut renewed, mut last) = (Vec::new(), Oid::ZERO_SHA1);
    for (claim, locks) in mine::claims(context, &args.locks, args.claim.as_deref()).await? {
        let order = Order {
            lease: Some(args.lease),
            ..context.order(Operation::Renew {
                locks: locks.clone(),
                claim,
            })
        };
        let answer = async |_: &Outcome| Ok(());
        let outcome = context
            .operate(order, stop.clone(), answer, &mut Log::default())
            .await?;
        renewed.extend(locks);
        last = outcome.commit;
    }
    let pool = context.source.pool.as_str();
    super::say(&output::changed(
        &renewed,
        last,
        "renewed",
        pool,
        context.json,
    )?)?;
    Ok(ExitCode::SUCCESS)
}

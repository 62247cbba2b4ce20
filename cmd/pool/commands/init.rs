//! `pool init`.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use git::object::Content;
use pool::lock::LockName;
use pool::step::{self, Plan};
use serde::Deserialize;
use serde_json::Value;

use crate::pool::args::{InitArgs, PlaceArgs};
use crate::pool::output;
use crate::pool::settings::Scope;
use crate::pool::words::Log;
use crate::resource;

/// One of the pools in a file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PoolEntry {
    pool: String,
    #[serde(default)]
    locks: Vec<LockEntry>,
}

/// One of its locks.
#[derive(Deserialize)]
#[serde(untagged)]
enum LockEntry {
    Name(String),
    WithMetadata {
        name: String,
        #[serde(default)]
        metadata: Option<Value>,
    },
}

/// Makes what is not there yet.
pub async fn init(place: &PlaceArgs, args: &InitArgs) -> Result<ExitCode> {
    let mut plan = match &args.file {
        Some(file) => read(file)?,
        None => Plan::new(),
    };
    let scope = match (&args.file, plan.keys().next()) {
        (Some(_), Some(pool)) => Scope::Listed(pool.clone()),
        _ => Scope::One,
    };
    let context = super::context(place, &scope, false)?;
    // A list of pools has them all, unless more is said.
    let named = args.file.is_none()
        || place.pool.is_some()
        || !args.locks.is_empty()
        || args.slots.is_some();
    if named {
        let nothing = || Content::new(Vec::new());
        let locks = super::locks(&args.locks)?;
        let pool = plan.entry(context.source.pool.clone()).or_default();
        let slots = slots(args.slots.unwrap_or(0))?;
        for lock in locks.into_iter().chain(slots) {
            pool.entry(lock).or_insert_with(nothing);
        }
    }
    let stop = resource::stop_on_signals()?;
    let (origin, around) = (&context.origin, &context.around);
    let log = &mut Log::default();
    let made = step::init(&context.source, &plan, origin, around, stop, log).await?;
    super::say(&output::initiated(
        &made,
        &plan,
        &context.source.branch,
        context.json,
    )?)?;
    Ok(ExitCode::SUCCESS)
}

/// The names of so many slots: as long as one another, so that they are listed in their order.
fn slots(number: u16) -> Result<Vec<LockName>> {
    let width = number.to_string().len();
    let names = (1..=number).map(|n| super::lock(&format!("slot-{n:0width$}")));
    names.collect()
}

/// Reads a list of pools.
fn read(file: &Path) -> Result<Plan> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("cannot read `{}`", file.display()))?;
    let expected =
        "a YAML list such as `- {pool: aws, locks: [env-1, {name: env-2, metadata: {size: big}}]}`";
    // The message of the parser may show lines, and those are metadata: often a secret.
    let Ok(entries) = serde_saphyr::from_str::<Vec<PoolEntry>>(&text) else {
        bail!("`{}` is not {expected}", file.display());
    };
    let mut plan = Plan::new();
    for entry in entries {
        let locks: &mut BTreeMap<LockName, Content> =
            plan.entry(super::pool(&entry.pool)?).or_default();
        for lock in entry.locks {
            let (name, metadata) = match lock {
                LockEntry::Name(name) => (name, None),
                LockEntry::WithMetadata { name, metadata } => (name, metadata),
            };
            let bytes = match metadata {
                None | Some(Value::Null) => Vec::new(),
                Some(Value::String(text)) => text.into_bytes(),
                // JSON is YAML as well.
                Some(value) => [serde_json::to_vec_pretty(&value)?, b"\n".to_vec()].concat(),
            };
            if locks
                .insert(super::lock(&name)?, Content::new(bytes))
                .is_some()
            {
                bail!("`{name}` is twice in the pool `{}`", entry.pool);
            }
        }
    }
    if plan.is_empty() {
        bail!("`{}` names no pool: it must be {expected}", file.display());
    }
    Ok(plan)
}

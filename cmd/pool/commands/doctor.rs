//! `pool doctor`.

use std::process::ExitCode;

use anyhow::Result;
use pool::show;
use pool::step::{Finding, Health, Settings, Which, doctor as examine};

use super::Context;
use super::status::{print, style};
use crate::pool::args::{DoctorArgs, PlaceArgs};
use crate::pool::output;
use crate::pool::settings::Scope;

/// Looks whether everything is in order.
pub async fn doctor(place: &PlaceArgs, args: &DoctorArgs) -> Result<ExitCode> {
    let context = super::context(place, &Scope::OneOrAll, true)?;
    let mut findings = vec![settings(place, &context)];
    let wanted = Settings {
        has_pool: context.which == Which::One,
        push: args.push,
        origin: context.origin.clone(),
    };
    findings.extend(examine(&context.source, &wanted, &context.around).await);
    let text = if context.json {
        output::doctor::json(&findings)?
    } else {
        show::doctor::text(&findings, style(&context))
    };
    print(&text)?;
    let is_problem = findings
        .iter()
        .any(|finding| finding.health == Health::Problem);
    Ok(if is_problem {
        ExitCode::from(2)
    } else {
        ExitCode::SUCCESS
    })
}

/// Where the settings come from: names, and no values of which one could be a secret.
fn settings(place: &PlaceArgs, context: &Context) -> Finding {
    let flags = [
        ("--uri", &place.uri),
        ("--branch", &place.branch),
        ("--pool", &place.pool),
    ];
    let flags = flags
        .iter()
        .filter(|(_, value)| value.is_some())
        .map(|(name, _)| (*name).to_owned());
    let mut variables: Vec<String> = std::env::vars_os()
        .filter(|(_, value)| !value.is_empty())
        .filter_map(|(name, _)| name.into_string().ok())
        .filter(|name| name.starts_with("POOL_"))
        .collect();
    variables.sort();
    let file = context.settings_file.as_deref();
    let file = file.map(|path| format!("the file `{}`", path.display()));
    let from: Vec<String> = flags.chain(variables).chain(file).collect();
    let from = if from.is_empty() {
        "neither flags nor the environment nor a file say anything".to_owned()
    } else {
        format!("from {}", from.join(", "))
    };
    let pool = match &context.which {
        Which::One => format!("the pool `{}`", context.source.pool),
        Which::All => "all pools".to_owned(),
    };
    let found = format!(
        "{pool} on the branch `{}`, as `{}`; {from}",
        context.source.branch, context.origin.prefix
    );
    Finding {
        about: "settings",
        health: Health::Fine,
        found: terminal::one_line(&found),
        advice: None,
    }
}

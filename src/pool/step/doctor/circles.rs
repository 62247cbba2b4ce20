//! Whether somebody waits in a circle.

use super::{Findings, Settings};
use crate::concourse::Source;
use crate::step::{Surroundings, Viewer, Which};
use terminal::chain;

/// Looks who waits for whom: for the pool that is meant, or for all.
pub(super) async fn circles(
    source: &Source,
    settings: &Settings,
    around: &Surroundings,
    findings: &mut Findings,
) {
    let which = match settings.has_pool {
        true => Which::One,
        false => Which::All,
    };
    // What there is to say on the way has been said.
    let log = &mut Vec::new();
    let overview = match Viewer::new(source, which, around, log) {
        Ok(mut viewer) => viewer.look(log).await,
        Err(err) => Err(err),
    };
    match overview {
        Ok(overview) if overview.circles.is_empty() => {
            findings.fine("waiting", "nobody waits in a circle");
        }
        Ok(overview) => {
            for circle in &overview.circles {
                let found = match circle.members.len() {
                    1 => format!("one waits for itself: {}", circle.shown()),
                    n => format!("{n} wait for each other: {}", circle.shown()),
                };
                findings.problem(
                    "waiting",
                    found,
                    "end one of these waits; with `--on-deadlock fail`, or `on_deadlock: fail` in a put, the youngest gives way by itself",
                );
            }
        }
        Err(err) => findings.warning(
            "waiting",
            format!("who waits cannot be told: {}", chain(&err)),
            "see `pool status`",
        ),
    }
}

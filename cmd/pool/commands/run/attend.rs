//! A command while it runs: signals go on to it, and it is told of what is lost meanwhile, or ended for it.

use std::pin::Pin;
use std::process::ExitStatus;

use anyhow::{Context as _, Result};
use child::Listener;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep_until};

use super::hold::Lost;
use super::household::Household;
use crate::pool::args::OnLost;
use crate::resource::tell;

/// How a command came to its end.
pub struct Attended {
    /// How it ended.
    pub exit: ExitStatus,
    /// Whether it was told to end, because something was lost.
    pub ended_by_us: bool,
}

/// Waits for the end of a command, while `holding` keeps what it needs and tells by `told` what is lost of that. `note` takes
/// that in, and says when the command must have ended for it.
///
/// # Errors
/// Those of the operating system.
pub async fn attend(
    household: &mut Household,
    signals: &mut Listener,
    told: &mut UnboundedReceiver<Lost>,
    mut holding: Pin<&mut dyn Future<Output = ()>>,
    on_lost: OnLost,
    note: &mut dyn FnMut(Lost) -> Instant,
) -> Result<Attended> {
    let mut kill_at: Option<Instant> = None;
    let mut ended_by_us = false;
    let exit = loop {
        tokio::select! {
            biased;
            status = household.end() => break status.context("cannot wait for the command")?,
            signal = signals.next() => {
                if let Some(status) = household.pass_on(&signal) {
                    break status;
                }
            }
            Some(news) = told.recv() => {
                let killed = note(news);
                if on_lost == OnLost::Kill && kill_at.is_none() {
                    household.send(child::TERM);
                    tell!("ending the command");
                    ended_by_us = true;
                    kill_at = Some(killed);
                }
            }
            () = &mut holding => {}
            () = sleep_until(kill_at.unwrap_or_else(Instant::now)), if kill_at.is_some() => {
                household.send(child::KILL);
                kill_at = None;
                // Once is enough.
                told.close();
            }
        }
    };
    Ok(Attended { exit, ended_by_us })
}

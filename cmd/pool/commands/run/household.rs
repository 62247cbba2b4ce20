//! The command of `pool run` and all that it has started: they get signals, and the last of them is waited for.
//!
//! The locks are held until then, for whoever is there may work with what is locked. As with `flock`, that is whoever has
//! inherited a file from the command, which a daemon closes.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use child::{Heir, Heirs, Received, Recipient, is_command};
use tokio::process::Child;
use tokio::time::sleep;

use crate::resource::tell;

/// How often it is looked whether a command that was told to end has ended with all its processes.
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// After which time it is said that processes go on that the command has started: most end right after it.
const SAID_AFTER: Duration = Duration::from_millis(500);

/// How many of them are named.
const MOST_NAMED: usize = 3;

/// A command and all that it has started.
pub struct Household {
    command: Child,
    recipient: Recipient,
    /// `None` if what the command leaves behind is not waited for, or once it is gone.
    heirs: Option<Heirs>,
    /// What is held, for people.
    locks: String,
    ended: Option<ExitStatus>,
    /// Whether it may have been a signal of ours that ended the command.
    signalled: bool,
    /// Whether those who are left were asked to end since the command has.
    asked: bool,
    said: bool,
}

impl Household {
    /// That of a command which was just started, while `locks` are held.
    pub fn new(
        (command, recipient, heirs): (Child, Recipient, Option<Heirs>),
        locks: String,
    ) -> Household {
        Household {
            command,
            recipient,
            heirs,
            locks,
            ended: None,
            signalled: false,
            asked: false,
            said: false,
        }
    }

    /// Waits for the end of all of them, and gives that of the command. It can be dropped and asked for again.
    ///
    /// # Errors
    /// Those of the operating system.
    pub async fn end(&mut self) -> io::Result<ExitStatus> {
        let status = match self.ended {
            Some(status) => status,
            None => self.command.wait().await?,
        };
        self.ended = Some(status);
        while let Some(heirs) = &mut self.heirs {
            tokio::select! {
                biased;
                () = heirs.gone() => self.heirs = None,
                () = sleep(SAID_AFTER), if !self.said => {
                    self.said = true;
                    tell!(
                        "the command has ended, but what it has started goes on: {}; {} stays held until that has ended, too (`--close` does not wait for it)",
                        named(&heirs.living()),
                        self.locks
                    );
                }
            }
        }
        // Who is told to end may leave children behind who do so later: they work with what is locked.
        while self.signalled && self.recipient.has_others() {
            sleep(BETWEEN_LOOKS).await;
        }
        Ok(status)
    }

    /// Passes on a signal that has come. Gives how the command has ended if those who are left are not to be waited for any
    /// longer: they were asked to end before, and now we are asked again.
    pub fn pass_on(&mut self, signal: &Received) -> Option<ExitStatus> {
        self.recipient.pass_on(&self.command, signal);
        self.signalled |= signal.asks_for_an_end();
        let (status, heirs) = (self.ended?, self.heirs.as_ref()?);
        if signal.asks_for_an_end() && std::mem::replace(&mut self.asked, true) {
            tell!(
                "not waiting any longer for what the command has started: {} goes on without {}",
                named(&heirs.living()),
                self.locks
            );
            return Some(status);
        }
        let group = self.recipient.group();
        // The terminal has reached those of our own group.
        let reached = rustix::process::getpgrp();
        heirs.send(signal.number, |heir| {
            let has_it = signal.by_terminal && heir.group == Some(reached);
            (group.is_none() || heir.group != group) && !has_it
        });
        if signal.asks_for_an_end() {
            tell!(
                "told what the command has started to end; once more to give {} back though it goes on",
                self.locks
            );
        }
        None
    }

    /// Sends a signal to all of them.
    pub fn send(&mut self, number: i32) {
        self.signalled = true;
        self.recipient.send(&self.command, number);
        let group = self.recipient.group();
        if let Some(heirs) = &self.heirs {
            heirs.send(number, |heir| {
                (group.is_none() || heir.group != group) && !is_command(heir, &self.command)
            });
        }
    }

    /// Passes on what came before the command was there, from whomever, and has not reached it.
    pub fn send_earlier(&self, number: i32) {
        self.recipient.send(&self.command, number);
    }
}

/// Processes by their names and numbers.
fn named(heirs: &[Heir]) -> String {
    let shown = heirs.iter().take(MOST_NAMED);
    let shown = shown.map(|heir| {
        let name = terminal::one_line(&heir.name);
        format!("`{name}` ({})", heir.pid.as_raw_nonzero())
    });
    let mut names: Vec<String> = shown.collect();
    match heirs.len().saturating_sub(MOST_NAMED) {
        0 if names.is_empty() => return "a process".to_owned(),
        0 => {}
        more => names.push(format!("{more} more")),
    }
    names.join(", ")
}

//! Questions to people, again until the answer can be used.

use std::io::{self, BufRead, IsTerminal, Write};

use anyhow::{Context as _, Result, bail};
use paas::log::Log;
use paas::register::EXECUTORS;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use super::executors;

/// Asks people.
pub struct Asker {
    log: Log,
}

impl Asker {
    pub fn new(log: Log) -> Asker {
        Asker { log }
    }

    /// Shows a text.
    pub fn tell(&mut self, text: &str) -> Result<()> {
        let mut stdout = io::stdout();
        stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush())
            .context("cannot write to the standard output")
    }

    /// A text that is not empty.
    pub fn text(&mut self, given: Option<&str>, about: &str, prompt: &str) -> Result<String> {
        self.ask(given, about, prompt, false, |text| match text.trim() {
            "" => Err("Empty string (or not a string) is not allowed: ''".to_owned()),
            _ => Ok(text.to_owned()),
        })
    }

    /// A token, which is not shown while it is typed.
    pub fn secret(&mut self, given: Option<&str>) -> Result<String> {
        let about =
            "The token of a runner that was made on GitLab's pages, or a registration token.";
        let prompt = "Please enter registration token: ";
        self.ask(given, about, prompt, true, |text| match text.trim() {
            "" => Err("Empty string (or not a string) is not allowed: ''".to_owned()),
            token => Ok(token.to_owned()),
        })
    }

    /// A number of jobs.
    pub fn count(&mut self, given: Option<i64>) -> Result<i64> {
        let about = "How many jobs there may be at once, of all runners together.";
        let given = given.map(|given| given.to_string());
        self.ask(given.as_deref(), about, "Concurrency: ", false, |text| {
            let count = text.trim().parse().ok().filter(|count| *count > 0);
            count.ok_or_else(|| {
                let text = terminal::one_line(text.trim());
                format!("Not a positive integer: '{text}'")
            })
        })
    }

    /// What makes machines.
    pub fn executor(&mut self, given: Option<&str>) -> Result<String> {
        let about = format!("Available executors:\n{}", executors());
        let about = about.trim_end();
        self.ask(given, about, "Executor: ", false, |text| {
            let text = text.trim();
            match EXECUTORS.iter().any(|(name, _)| *name == text) {
                true => Ok(text.to_owned()),
                false => Err(format!(
                    "Not an available executor: '{}'",
                    terminal::one_line(text)
                )),
            }
        })
    }

    /// Takes what is given, or asks until it is good. The explanation is shown once.
    fn ask<T>(
        &mut self,
        given: Option<&str>,
        about: &str,
        prompt: &str,
        is_secret: bool,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T> {
        if let Some(given) = given {
            match read(given) {
                Ok(good) => return Ok(good),
                Err(why) => self.log.warning(&why),
            }
        }
        self.tell(&format!("{about}\n"))?;
        loop {
            // Before the prompt, for whoever types, or pastes, as soon as he sees it.
            let hidden = is_secret.then(Hidden::new);
            self.tell(prompt)?;
            let said = line()?;
            drop(hidden);
            match read(&said) {
                Ok(good) => return Ok(good),
                Err(why) => self.log.warning(&why),
            }
        }
    }
}

fn line() -> Result<String> {
    let mut line = String::new();
    let n = io::stdin()
        .lock()
        .read_line(&mut line)
        .context("cannot read the standard input")?;
    if n == 0 {
        bail!("the standard input has ended before everything was said");
    }
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

/// A terminal that does not show what is typed, until this is dropped.
struct Hidden(Option<rustix::termios::Termios>);

impl Hidden {
    fn new() -> Hidden {
        let stdin = io::stdin();
        let before = stdin
            .is_terminal()
            .then(|| tcgetattr(&stdin).ok())
            .flatten();
        if let Some(before) = &before {
            let mut quiet = before.clone();
            quiet.local_modes.remove(LocalModes::ECHO);
            quiet.local_modes.insert(LocalModes::ECHONL);
            let _ = tcsetattr(&stdin, OptionalActions::Now, &quiet);
        }
        Hidden(before)
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}

//! The signals that we get, and the command that is to get them.

use std::collections::VecDeque;
use std::fs::File;
use std::io;

use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process_group};
use rustix::termios::tcgetpgrp;
use signal_hook::consts::{
    SIGALRM, SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH,
};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook::low_level::siginfo::Cause;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_util::sync::CancellationToken;

/// What asks for an end.
pub const TERM: i32 = SIGTERM;
/// What a key asks for an end with.
pub const INT: i32 = SIGINT;
/// As [`INT`], with more force.
pub const QUIT: i32 = SIGQUIT;
/// The terminal's end, or new settings.
pub const HUP: i32 = SIGHUP;
/// Whatever one wants.
pub const USR1: i32 = SIGUSR1;
/// What is an end.
pub const KILL: i32 = signal_hook::consts::SIGKILL;

/// A signal that has come.
#[derive(Debug, Clone, Copy)]
pub struct Received {
    /// Which.
    pub number: i32,
    /// Whether it came from the kernel: a key at the terminal, or the terminal's end.
    pub by_terminal: bool,
}

impl Received {
    /// Whether it asks for an end. The others are for the command alone.
    pub fn asks_for_an_end(&self) -> bool {
        ENDS.contains(&self.number)
    }
}

/// Hears the signals that ask for an end, and those that a command may want, from whomever.
pub struct Listener {
    incoming: UnboundedReceiver<Received>,
    waiting: VecDeque<Received>,
}

impl Listener {
    /// Begins to listen. What was ignored before we began goes on to be, as after `nohup`.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn new() -> io::Result<Listener> {
        Listener::but_for(ignored())
    }

    /// Begins to listen, also to what was ignored, but for SIGHUP: shells ignore some of them for what they start in the
    /// background, and whoever sends one to a server means it.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn of_server() -> io::Result<Listener> {
        Listener::but_for(ignored() & 1 << (SIGHUP - 1))
    }

    fn but_for(ignored: u64) -> io::Result<Listener> {
        let wanted = ENDS
            .iter()
            .chain(&OTHERS)
            .filter(|number| ignored >> (**number - 1) & 1 == 0);
        let mut signals = SignalsInfo::<WithOrigin>::new(wanted)?;
        let (tell, incoming) = unbounded_channel();
        std::thread::spawn(move || {
            for origin in signals.forever() {
                let received = Received {
                    number: origin.signal,
                    by_terminal: matches!(origin.cause, Cause::Kernel),
                };
                if tell.send(received).is_err() {
                    return;
                }
            }
        });
        Ok(Listener {
            incoming,
            waiting: VecDeque::new(),
        })
    }

    /// Waits for the next one.
    pub async fn next(&mut self) -> Received {
        if let Some(received) = self.waiting.pop_front() {
            return received;
        }
        match self.incoming.recv().await {
            Some(received) => received,
            // The thread never ends before we do.
            None => std::future::pending().await,
        }
    }

    /// Waits for the next one that asks for an end; others are dropped.
    pub async fn next_end(&mut self) -> Received {
        loop {
            let received = self.next().await;
            if received.asks_for_an_end() {
                return received;
            }
        }
    }

    /// The next one that asks for an end, if it has come already; others are dropped.
    pub fn pending_end(&mut self) -> Option<Received> {
        std::iter::from_fn(|| self.pending()).find(Received::asks_for_an_end)
    }

    /// The next one, if it has come already.
    pub fn pending(&mut self) -> Option<Received> {
        let waiting = self.waiting.pop_front();
        waiting.or_else(|| self.incoming.try_recv().ok())
    }
}

/// The signals that ask for an end: a build is aborted, a key is pressed, a terminal or a session over SSH goes away.
const ENDS: [i32; 4] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM];

/// The signals that a command may want, and that would end us.
const OTHERS: [i32; 5] = [SIGUSR1, SIGUSR2, SIGALRM, SIGWINCH, SIGCONT];

/// Gives what is cancelled by the first signal that asks for an end; more of them change nothing.
///
/// After `nohup` SIGHUP goes on to be ignored. The others are heard even where they were: shells ignore some of them for
/// what they start in the background, and whoever sends one means it.
///
/// # Errors
/// Those of the operating system.
pub fn stop_on_signals() -> io::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let ignored = ignored();
    for number in ENDS {
        if number == SIGHUP && ignored >> (number - 1) & 1 != 0 {
            continue;
        }
        let mut signals = signal(SignalKind::from_raw(number))?;
        let stop = stop.clone();
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                stop.cancel();
            }
        });
    }
    Ok(stop)
}

/// The signals that we ignore, a bit for each; none where there is no telling.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or_default()
}

/// Whom signals go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Recipients {
    /// The command alone, which shares a terminal and a process group with us, and gets from there what we get: keys, and
    /// what a shell does to its jobs.
    Command,
    /// The command's own process group.
    Group,
}

impl Recipients {
    /// Sets up a command to get signals once.
    pub(super) fn for_new_command(command: &mut Command) -> Recipients {
        // The terminal that we belong to, whatever the standard streams are, and whether we are in the foreground or not: a
        // shell may bring us there, stop us and let us go on, and then the command with us.
        let terminal = File::open("/dev/tty").and_then(|tty| Ok(tcgetpgrp(&tty)?));
        if terminal.is_ok() {
            return Recipients::Command;
        }
        command.process_group(0);
        Recipients::Group
    }
}

/// A command that gets signals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recipient {
    to: Recipients,
    /// The command's process, which is the first of its group.
    first: Option<Pid>,
}

impl Recipient {
    /// A command that was just started.
    pub(super) fn of(to: Recipients, child: &Child) -> Recipient {
        Recipient {
            to,
            first: pid(child),
        }
    }

    /// Passes on a signal that has come, unless the command has got it from the terminal.
    pub fn pass_on(self, child: &Child, signal: &Received) {
        if self.to == Recipients::Group || !signal.by_terminal {
            self.send(child, signal.number);
        } else if signal.asks_for_an_end() {
            self.wake(child);
        }
    }

    /// Sends a signal. Who is gone needs none. One that asks for an end wakes a command that is stopped, which does not hear
    /// of it else.
    pub fn send(self, child: &Child, number: i32) {
        self.send_alone(child, number);
        if ENDS.contains(&number) {
            self.wake(child);
        }
    }

    fn wake(self, child: &Child) {
        self.send_alone(child, SIGCONT);
    }

    fn send_alone(self, child: &Child, number: i32) {
        let Some(signal) = Signal::from_named_raw(number) else {
            return;
        };
        let _ = match (self.to, self.first, pid(child)) {
            (Recipients::Command, _, Some(command)) => kill_process(command, signal),
            (Recipients::Group, Some(group), _) => kill_process_group(group, signal),
            _ => Ok(()),
        };
    }

    /// The group that gets signals as a whole, if it is one of the command's own.
    pub fn group(self) -> Option<Pid> {
        self.first.filter(|_| self.to == Recipients::Group)
    }

    /// Whether anybody of the command's group is there still, once the command itself has ended.
    pub fn has_others(self) -> bool {
        let (Recipients::Group, Some(group)) = (self.to, self.first) else {
            return false;
        };
        test_kill_process_group(group).is_ok() && has_living(group).unwrap_or(true)
    }
}

fn pid(child: &Child) -> Option<Pid> {
    Pid::from_raw(i32::try_from(child.id()?).ok()?)
}

/// Whether a group has a process that is more than a name for its exit code, which nobody has asked for yet; `None` where
/// there is no telling.
fn has_living(group: Pid) -> Option<bool> {
    let group = group.as_raw_nonzero().to_string();
    let processes = std::fs::read_dir("/proc").ok()?;
    let stats =
        processes.filter_map(|entry| std::fs::read_to_string(entry.ok()?.path().join("stat")).ok());
    let mut seen = false;
    for stat in stats {
        seen = true;
        // After the name, in brackets, that may have anything in it: the state, the parent and the group.
        let mut words = stat.rsplit(')').next()?.split_whitespace();
        let (state, of) = (words.next(), words.nth(1));
        if of == Some(group.as_str()) && state != Some("Z") {
            return Some(true);
        }
    }
    seen.then_some(false)
}

//! Child processes, and signals: ours, and those that go on to them.
//!
//! - [`piped`]: a program that we talk to over pipes. [`detached`]: one that goes on when we end. [`kill_group`]: the end of
//!   either.
//! - [`start`]: a command of the user's, and who of it gets signals ([`Recipient`]); [`start_with_heirs`] tells as well when the last
//!   of its descendants is gone ([`Heirs`]).
//! - [`Supervisors`], [`Supervised`]: scripts below a supervisor, which knows all of their descendants; [`supervise`] is that
//!   supervisor. Linux.
//! - [`Scratch`]: a temporary folder that goes away with its process, whatever becomes of that.
//! - [`Listener`], [`stop_on_signals`]: the signals that ask us for an end.
//!
//! # Invariants
//!
//! - Only this crate starts processes.
//! - A key at the terminal reaches a command once: by the terminal where it shares ours, else by us.

mod heirs;
#[cfg(target_os = "linux")]
mod mask;
mod scratch;
mod signals;
#[cfg(target_os = "linux")]
mod supervised;
#[cfg(target_os = "linux")]
mod supervisor;
#[cfg(target_os = "linux")]
mod supervisors;

pub use heirs::{Heir, Heirs, is_command};
pub use scratch::Scratch;
pub use signals::{
    HUP, INT, KILL, Listener, QUIT, Received, Recipient, TERM, USR1, stop_on_signals,
};
#[cfg(target_os = "linux")]
pub use supervised::{End, Supervised, Surroundings, is_on_path};
#[cfg(target_os = "linux")]
pub use supervisor::{GRACE, supervise};
#[cfg(target_os = "linux")]
pub use supervisors::Supervisors;

use std::ffi::{OsStr, OsString};
use std::io;
use std::process::Stdio;

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process_group, setrlimit};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

use signals::Recipients;

/// How the environment of a program differs from ours. A variable that is both removed and set is set.
#[derive(Debug, Clone, Copy)]
pub struct Environment<'a, Value = &'a str> {
    /// Variables with these values.
    pub set: &'a [(&'a str, Value)],
    /// Variables that are not there.
    pub removed: &'a [&'a str],
}

impl<Value: AsRef<OsStr>> Environment<'_, Value> {
    fn give_to(&self, command: &mut Command) {
        for variable in self.removed {
            command.env_remove(variable);
        }
        command.envs(self.set.iter().map(|(name, value)| (name, value)));
    }
}

/// A program with pipes at its three streams.
#[derive(Debug)]
pub struct Piped {
    /// The process; it is not killed when this is dropped.
    pub child: Child,
    /// What it reads.
    pub stdin: ChildStdin,
    /// What it answers.
    pub stdout: ChildStdout,
    /// What it tells people.
    pub stderr: ChildStderr,
}

/// Starts a program that we talk to over pipes.
///
/// It gets a process group of its own: a Ctrl-C is for us, and the program sees the end of its input and cleans up.
///
/// # Errors
/// Those of starting it, such as that there is no such program.
pub fn piped(program: &str, args: &[&OsStr], environment: Environment<'_>) -> io::Result<Piped> {
    let mut command = Command::new(program);
    command
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    environment.give_to(&mut command);
    let mut child = command.spawn()?;
    match (child.stdin.take(), child.stdout.take(), child.stderr.take()) {
        (Some(stdin), Some(stdout), Some(stderr)) => Ok(Piped {
            child,
            stdin,
            stdout,
            stderr,
        }),
        _ => Err(io::Error::other("no pipes to it")),
    }
}

/// Kills a program that has a process group of its own, and what it has started there. That it has ended already is no
/// matter.
pub fn kill_group(child: &Child) {
    let id = child.id().and_then(|id| i32::try_from(id).ok());
    if let Some(group) = id.and_then(Pid::from_raw) {
        let _ = kill_process_group(group, Signal::KILL);
    }
}

/// Starts a program that goes on when we end: in a process group of its own, and with no streams of ours.
///
/// # Errors
/// Those of starting it.
pub fn detached(program: &str, args: &[&OsStr], environment: Environment<'_>) -> io::Result<Child> {
    let mut command = Command::new(program);
    command
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0);
    environment.give_to(&mut command);
    command.spawn()
}

/// Starts a command of the user's, with our streams.
///
/// # Errors
/// Those of starting it, such as that there is no such program.
pub fn start(
    program: &OsStr,
    args: &[OsString],
    environment: &Environment<'_, OsString>,
) -> io::Result<(Child, Recipient)> {
    let mut command = Command::new(program);
    command.args(args);
    environment.give_to(&mut command);
    let recipients = Recipients::for_new_command(&mut command);
    let child = command.spawn()?;
    let recipient = Recipient::of(recipients, &child);
    Ok((child, recipient))
}

/// Starts a command as [`start`] does, which hands a file down to its descendants.
///
/// # Errors
/// As there.
pub fn start_with_heirs(
    program: &OsStr,
    args: &[OsString],
    environment: &Environment<'_, OsString>,
) -> io::Result<(Child, Recipient, Heirs)> {
    let ((child, recipient), heirs) = Heirs::of(|| start(program, args, environment))?;
    Ok((child, recipient, heirs))
}

/// Allows us as many open files as we may have. What we start gets that too, as with programs in Go.
pub fn raise_open_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Some programs close every number there may be.
    let current = maximum.map(|maximum| maximum.min(65_536)).or(Some(65_536));
    let _ = setrlimit(Resource::Nofile, Rlimit { current, maximum });
}

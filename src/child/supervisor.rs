//! The process between us and the scripts of one task: it knows all of their descendants, and none outlives it by mistake.
//!
//! It is the program itself, started anew. It adopts every descendant whose parent has gone (a *subreaper*), so that neither
//! a session of its own nor a double fork gets a process out of its sight. Its standard input is a socket to the one who
//! has started it: orders come over it, and its end means that he is gone. See [`crate::supervised`] for the other side.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, getpid, kill_process_group, pidfd_open,
    pidfd_send_signal, set_child_subreaper, wait,
};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::mask::Mask;
use crate::supervised::{Answer, Order, Task, on_path};

/// How long whoever is stopped has to end by himself.
pub const GRACE: Duration = Duration::from_secs(2);

/// How often it is looked whether those who were killed are gone.
const LOOK: Duration = Duration::from_millis(10);

enum News {
    /// A child may have ended.
    Child,
    /// We are asked to end.
    Stop,
    Order(Order),
    /// Whoever has started us is gone.
    Alone,
}

/// Runs the orders that come over the standard input, until nothing is left to do. `command` is the shell that scripts are
/// given to, as its input.
///
/// # Errors
/// Those of the operating system, before the first order.
pub fn supervise(command: &[std::ffi::OsString]) -> io::Result<()> {
    set_child_subreaper(Some(getpid()))?;
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let (tell, news) = channel();
    listen(tell.clone())?;
    read_orders(socket.try_clone()?, tell);
    let mut supervisor = Supervisor {
        command,
        socket,
        task: Task::default(),
        shell: None,
        secrets: Vec::new(),
        copiers: Vec::new(),
    };
    supervisor.run(&news);
    Ok(())
}

fn listen(tell: Sender<News>) -> io::Result<()> {
    let mut signals = Signals::new([SIGCHLD, SIGINT, SIGTERM, SIGHUP])?;
    std::thread::spawn(move || {
        for signal in signals.forever() {
            let news = if signal == SIGCHLD {
                News::Child
            } else {
                News::Stop
            };
            if tell.send(news).is_err() {
                return;
            }
        }
    });
    Ok(())
}

fn read_orders(mut socket: UnixStream, tell: Sender<News>) {
    std::thread::spawn(move || {
        loop {
            let news = Order::read(&mut socket).map_or(News::Alone, News::Order);
            let is_last = matches!(news, News::Alone);
            if tell.send(news).is_err() || is_last {
                return;
            }
        }
    });
}

struct Supervisor<'a> {
    command: &'a [std::ffi::OsString],
    socket: UnixStream,
    task: Task,
    /// The shell that runs, which is the first of its group.
    shell: Option<Pid>,
    secrets: Vec<Vec<u8>>,
    /// Those who copy its output without the secrets.
    copiers: Vec<JoinHandle<()>>,
}

impl Supervisor<'_> {
    fn run(&mut self, news: &Receiver<News>) {
        while let Ok(next) = news.recv() {
            match next {
                News::Child => {
                    self.reap();
                }
                News::Order(Order::Begin(task)) => {
                    self.task = task;
                    self.secrets.clear();
                    self.answer(&Answer::Ready);
                }
                News::Order(Order::Secret(secret)) => self.secrets.push(secret),
                News::Order(Order::Run(script)) => {
                    if let Err(err) = self.start(&script) {
                        self.answer(&Answer::Failed(err.to_string()));
                    }
                }
                News::Order(Order::Leave) => return,
                News::Order(Order::Stop) | News::Stop | News::Alone => return self.stop(news),
            }
        }
    }

    fn answer(&mut self, answer: &Answer) {
        // Whoever is gone needs none.
        let _ = self.socket.write_all(&answer.bytes());
    }

    fn start(&mut self, script: &[u8]) -> io::Result<()> {
        let (program, args) = self
            .command
            .split_first()
            .ok_or_else(|| io::Error::other("no shell is named"))?;
        // Not a pipe: a shell reads one byte by byte. Nor a file on a disk, for there may be secrets in it.
        let mut input = File::from(memfd_create("script", MemfdFlags::CLOEXEC)?);
        input.write_all(script)?;
        input.rewind()?;
        let append = |path| OpenOptions::new().append(true).open(path);
        let (stdout, stderr) = (append(&self.task.stdout)?, append(&self.task.stderr)?);
        let path = self.task.env.iter().find(|(name, _)| name == "PATH");
        let path = path.map_or(OsStr::new(""), |(_, path)| path);
        let program = on_path(program, path).ok_or_else(|| {
            let words = format!("`{}` is not on the PATH", program.display());
            io::Error::new(io::ErrorKind::NotFound, words)
        })?;
        let mut command = Command::new(program);
        command
            .args(args)
            .env_clear()
            .envs(self.task.env.iter().map(|(name, value)| (name, value)))
            .stdin(input)
            .process_group(0);
        let masked = match !self.secrets.is_empty() {
            true => {
                command.stdout(Stdio::piped()).stderr(Stdio::piped());
                Some((stdout, stderr))
            }
            false => {
                command.stdout(stdout).stderr(stderr);
                None
            }
        };
        let mut child = command.spawn()?;
        self.shell = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        if let (Some((to_stdout, to_stderr)), Some(stdout), Some(stderr)) =
            (masked, child.stdout.take(), child.stderr.take())
        {
            let mask = || Mask::new(&self.secrets);
            self.copiers.push(copy(stdout, to_stdout, mask()));
            self.copiers.push(copy(stderr, to_stderr, mask()));
        }
        Ok(())
    }

    /// Takes the exit codes of those who have ended, and tells of the shell's. Says whether anybody is left: whoever is below
    /// us is, or is below somebody who is, our child.
    fn reap(&mut self) -> bool {
        let mut ended = None;
        let is_any_left = loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if Some(pid) == self.shell => ended = Some(status),
                Ok(Some(_)) => {}
                Ok(None) => break true,
                // There is no child.
                Err(_) => break false,
            }
        };
        if let Some(status) = ended {
            self.shell = None;
            let signal = status.terminating_signal().map(|signal| 128 + signal);
            let code = status.exit_status().or(signal).unwrap_or(-1);
            self.finish_copies(is_any_left);
            self.answer(&Answer::Ended { code, is_any_left });
        }
        is_any_left
    }

    /// What the shell has written is in the logs before its end is told.
    fn finish_copies(&mut self, is_any_left: bool) {
        let until = Instant::now() + GRACE / 4;
        for copier in std::mem::take(&mut self.copiers) {
            // Somebody else may have the same output, and go on for days.
            while !copier.is_finished() && (!is_any_left || Instant::now() < until) {
                std::thread::sleep(LOOK / 10);
            }
        }
    }

    /// Ends all there are: SIGINT first, to what is left without its shell SIGTERM, and after the grace SIGKILL.
    fn stop(&mut self, news: &Receiver<News>) {
        let until = Instant::now() + GRACE;
        if let Some(shell) = self.shell {
            // It was not reaped yet, so that its number is nobody else's.
            let _ = kill_process_group(shell, Signal::INT);
        }
        let of_shell = self.shell;
        signal_all(Signal::INT, |process| {
            of_shell.is_none_or(|shell| process.group != shell.as_raw_nonzero().get())
        });
        let mut is_asked = false;
        loop {
            if !self.reap() {
                return;
            }
            if self.shell.is_none() && !is_asked {
                is_asked = true;
                signal_all(Signal::TERM, |_| true);
            }
            let now = Instant::now();
            if now >= until {
                signal_all(Signal::KILL, |_| true);
            }
            let pause = if now >= until {
                LOOK
            } else {
                (until - now).min(LOOK)
            };
            if let Err(RecvTimeoutError::Disconnected) = news.recv_timeout(pause) {
                std::thread::sleep(pause);
            }
        }
    }
}

/// Copies an output without the secrets in it.
fn copy(
    mut from: impl Read + Send + 'static,
    mut to: impl Write + Send + 'static,
    mut mask: Mask,
) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut piece = vec![0; 64 * 1024];
        loop {
            match from.read(&mut piece) {
                Ok(n @ 1..) => {
                    let _ = to
                        .write_all(&mask.pass(&piece[..n]))
                        .and_then(|()| to.flush());
                }
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => break,
            }
        }
        let _ = to.write_all(&mask.rest()).and_then(|()| to.flush());
    })
}

/// A process below us, as it was seen.
struct Process {
    pid: i32,
    parent: i32,
    group: i32,
    /// When it began: two of the same number differ in that.
    began: u64,
    is_dead: bool,
}

fn process(pid: i32) -> Option<Process> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // After the name, in brackets, that may have anything in it: the state, the parent, the group, and so on.
    let mut words = stat.rsplit(')').next()?.split_whitespace();
    let (state, parent, group) = (words.next()?, words.next()?, words.next()?);
    Some(Process {
        pid,
        parent: parent.parse().ok()?,
        group: group.parse().ok()?,
        began: words.nth(16)?.parse().ok()?,
        is_dead: matches!(state, "Z" | "X"),
    })
}

/// All that are below us and not dead.
fn descendants() -> Vec<Process> {
    let entries = std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(Result::ok);
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut all: BTreeMap<i32, Process> = numbers
        .filter_map(|pid| Some((pid, process(pid)?)))
        .collect();
    let mut ours = BTreeSet::from([getpid().as_raw_nonzero().get()]);
    loop {
        let more: Vec<i32> = all
            .values()
            .filter(|process| ours.contains(&process.parent) && !ours.contains(&process.pid))
            .map(|process| process.pid)
            .collect();
        if more.is_empty() {
            break;
        }
        ours.extend(more);
    }
    ours.remove(&getpid().as_raw_nonzero().get());
    let found = ours.into_iter().filter_map(|pid| all.remove(&pid));
    found.filter(|process| !process.is_dead).collect()
}

/// Sends a signal to those of our descendants that are meant, and to nobody who has got one's number since.
fn signal_all(signal: Signal, is_meant: impl Fn(&Process) -> bool) {
    for seen in descendants().into_iter().filter(is_meant) {
        let Some(pid) = Pid::from_raw(seen.pid) else {
            continue;
        };
        let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else {
            continue;
        };
        // The handle is of whoever has the number now; from here on that cannot change.
        if process(seen.pid).is_some_and(|now| now.began == seen.began) {
            let _ = pidfd_send_signal(&handle, signal);
        }
    }
}

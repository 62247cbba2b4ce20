//! Who has inherited a file from a command: its descendants, also when the command itself has ended.
//!
//! The file is the end of a pipe. The command gets it, and so does whoever it starts, as with the file of `flock`. The pipe is
//! over when the last of them is gone. A process that closes all files that are not its own is none of them: that is how
//! one becomes a daemon.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::fstat;
use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};
use rustix::process::Pid;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::process::Child;

/// From this number on the file has its own: scripts use low ones as they like.
const HIGH: i32 = 100;

/// Who has inherited a file from a command.
#[derive(Debug)]
pub struct Heirs {
    pipe: Receiver,
    /// What `/proc` calls it.
    name: String,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heir {
    /// Its process.
    pub pid: Pid,
    /// Its process group.
    pub group: Option<Pid>,
    /// What its program is called.
    pub name: String,
}

impl Heirs {
    /// Starts a command by `start`, so that it inherits the file.
    pub(super) fn of<T>(start: impl FnOnce() -> io::Result<T>) -> io::Result<(T, Heirs)> {
        let (ours, theirs) = io::pipe()?;
        let theirs = OwnedFd::from(theirs);
        let theirs = fcntl_dupfd_cloexec(&theirs, HIGH).unwrap_or(theirs);
        let heirs = Heirs {
            name: format!("pipe:[{}]", fstat(&theirs)?.st_ino),
            pipe: Receiver::from_owned_fd(OwnedFd::from(ours))?,
        };
        // What is started between this and the end of `theirs` inherits it.
        fcntl_setfd(&theirs, FdFlags::empty())?;
        let started = start()?;
        drop(theirs);
        Ok((started, heirs))
    }

    /// Waits until none of them is there any more.
    pub async fn gone(&mut self) {
        let mut unread = [0; 64];
        // Nobody has a reason to write to it, and whoever does has not gone.
        while let Ok(1..) = self.pipe.read(&mut unread).await {}
    }

    /// Those who are there now, as far as that can be seen.
    pub fn living(&self) -> Vec<Heir> {
        let processes = std::fs::read_dir("/proc").into_iter().flatten();
        let numbers = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let us = rustix::process::getpid();
        let pids = numbers.filter_map(Pid::from_raw).filter(|pid| *pid != us);
        pids.filter_map(|pid| self.heir(pid)).collect()
    }

    /// A process, if it is one of them.
    fn heir(&self, pid: Pid) -> Option<Heir> {
        let folder = format!("/proc/{}", pid.as_raw_nonzero());
        let mut files = std::fs::read_dir(format!("{folder}/fd")).ok()?;
        let is_heir = files.any(|file| {
            let file = file.and_then(|file| std::fs::read_link(file.path()));
            file.is_ok_and(|target| target.to_str() == Some(&self.name))
        });
        let name = std::fs::read_to_string(format!("{folder}/comm"));
        is_heir.then(|| Heir {
            pid,
            group: rustix::process::getpgid(Some(pid)).ok(),
            name: name.unwrap_or_default().trim_end().to_owned(),
        })
    }

    /// Sends a signal to those who are meant, and to nobody who has got one's number since.
    pub fn send(&self, number: i32, is_meant: impl Fn(&Heir) -> bool) {
        for heir in self.living().iter().filter(|heir| is_meant(heir)) {
            self.send_to(heir.pid, number);
        }
    }

    #[cfg(target_os = "linux")]
    fn send_to(&self, pid: Pid, number: i32) {
        use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

        let (Some(signal), Ok(handle)) = (
            Signal::from_named_raw(number),
            pidfd_open(pid, PidfdFlags::empty()),
        ) else {
            return;
        };
        // The handle is of whoever has the number now; from here on that cannot change.
        if self.heir(pid).is_some() {
            // Who is gone needs none.
            let _ = pidfd_send_signal(&handle, signal);
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn send_to(&self, _: Pid, _: i32) {}
}

/// Whether one of them is the command itself.
pub fn is_command(heir: &Heir, child: &Child) -> bool {
    let id = child.id().and_then(|id| i32::try_from(id).ok());
    id == Some(heir.pid.as_raw_nonzero().get())
}

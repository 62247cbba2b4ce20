//! Servers on loopback: real ones from Debian's packages, and a few of our own for faults that a real one can't be told
//! to make. Each is ended with its value, by its process id.

pub mod atc;
pub mod authority;
pub mod clever;
pub mod coordinator;
pub mod daemon;
pub mod echo;
pub mod faulty;
pub mod front;
pub mod gate;
pub mod gitlab;
pub mod gitolite;
pub mod havoc;
pub mod http;
pub mod pages;
pub mod prometheus;
pub mod pushgateway;
pub mod redis;
pub mod relay;
pub mod replica;
pub mod scripted;
pub mod served;
pub mod squid;
pub mod ssh;
pub mod unsteady;
pub mod web;

use std::net::TcpListener;
use std::ops::Range;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use super::wait_until;

/// A process that is ended with its value.
pub struct Process(Child);

impl Process {
    /// Starts a server on a free port: `start` gets one and makes the command.
    ///
    /// Somebody else may take the port before the server does; then it ends, and another is tried.
    pub fn on_free_port(what: &str, mut start: impl FnMut(u16) -> Command) -> (Process, u16) {
        for _ in 0..10 {
            let port = free_port();
            let mut process = Process::start(what, &mut start(port));
            if process.listens(what, port) {
                return (process, port);
            }
        }
        panic!("{what} ended at once, ten times");
    }

    /// Starts a server.
    pub fn start(what: &str, command: &mut Command) -> Process {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        Process(child.unwrap_or_else(|err| panic!("cannot start {what}: {err}")))
    }

    /// Waits until it listens on the port, it and nobody else, and says whether it has not ended instead.
    pub fn listens(&mut self, what: &str, port: u16) -> bool {
        let mut ended = false;
        wait_until(&format!("{what} listens"), || {
            ended = self.0.try_wait().unwrap().is_some();
            ended || has_socket(self.id(), &listeners(port))
        });
        !ended
    }

    /// Its id.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Ends it with this signal, such as `TERM`, and waits until it has ended.
    pub fn end(&mut self, signal: &str) {
        if self.0.try_wait().unwrap().is_none() {
            let id = self.id().to_string();
            let _ = Command::new("kill")
                .args([&format!("-{signal}"), &id])
                .status();
        }
        self.0.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port that nobody listens on, and that nobody gets who does not ask for it: below those from which the kernel takes
/// one for a connection, or for who asks for any. Each is given once.
pub fn free_port() -> u16 {
    const PORTS: Range<u32> = 10_000..32_000;
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    // Other test processes begin elsewhere.
    let first = std::process::id().wrapping_mul(7919);
    loop {
        let next = first.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed));
        let port = (PORTS.start + next % PORTS.len() as u32) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// The sockets that listen on a port, by their inodes.
fn listeners(port: u16) -> Vec<String> {
    let (end, listening) = (format!(":{port:04X}"), "0A");
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(std::fs::read_to_string);
    let lines = tables.iter().flatten().flat_map(|table| table.lines());
    lines
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|words| words.len() > 9 && words[1].ends_with(&end) && words[3] == listening)
        .map(|words| format!("socket:[{}]", words[9]))
        .collect()
}

/// Whether a process has one of these sockets open.
fn has_socket(process: u32, sockets: &[String]) -> bool {
    let files = std::fs::read_dir(format!("/proc/{process}/fd"));
    let mut files = files.into_iter().flatten().filter_map(Result::ok);
    files.any(|file| {
        std::fs::read_link(file.path())
            .is_ok_and(|target| sockets.iter().any(|socket| target.as_os_str() == &**socket))
    })
}

/// A program's path; servers are in folders that are often not on a user's path.
pub fn program(name: &str) -> String {
    ["/usr/sbin", "/usr/bin", "/sbin", "/usr/local/sbin"]
        .iter()
        .map(|folder| format!("{folder}/{name}"))
        .find(|path| std::path::Path::new(path).exists())
        .unwrap_or_else(|| panic!("{name} is not installed; ci/setup does that"))
}

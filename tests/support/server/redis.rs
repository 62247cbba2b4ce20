//! Redis, with one user who may do what a program that keeps documents needs, and no more.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::{Process, program};
use crate::git::hermetic;
use crate::wait_until;

/// The user's name.
pub const USER: &str = "cicd";

/// A Redis server on loopback.
pub struct RedisServer {
    process: Process,
    port: u16,
    password: String,
    home: TempDir,
}

impl RedisServer {
    /// Starts one with this password for its one user, who may not publish or subscribe.
    pub fn start(password: &str) -> RedisServer {
        RedisServer::with_rules(password, "~* +@all -@pubsub -@admin -@dangerous")
    }

    /// Starts one whose user may do this, by the rules of Redis.
    pub fn with_rules(password: &str, rules: &str) -> RedisServer {
        let home = tempfile::tempdir().unwrap();
        let users = format!("user default off\nuser {USER} on >{password} {rules}\n");
        std::fs::write(home.path().join("users.acl"), users).unwrap();
        let (process, port) = launch(home.path());
        let server = RedisServer {
            process,
            port,
            password: password.to_owned(),
            home,
        };
        wait_until("redis answers", || server.cli(&["ping"]) == "PONG");
        server
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends it with this signal, such as `KILL`.
    pub fn stop(&mut self, signal: &str) {
        self.process.end(signal);
    }

    /// Starts it again, on the same port.
    pub fn start_again(&mut self) {
        self.process = Process::start("redis-server", &mut command(self.home.path(), self.port));
        assert!(self.process.listens("redis-server", self.port));
        wait_until("redis answers", || self.cli(&["ping"]) == "PONG");
    }

    /// Asks it as its user, and gives the answer without the last newline.
    pub fn cli(&self, args: &[&str]) -> String {
        let mut command = Command::new(program("redis-cli"));
        let output = hermetic(&mut command)
            .args([
                "-p",
                &self.port.to_string(),
                "--user",
                USER,
                "--no-auth-warning",
            ])
            .env("REDISCLI_AUTH", &self.password)
            .args(args)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.strip_suffix('\n').unwrap_or(&text).to_owned()
    }
}

fn launch(home: &Path) -> (Process, u16) {
    Process::on_free_port("redis-server", |port| command(home, port))
}

fn command(home: &Path, port: u16) -> Command {
    let mut command = Command::new(program("redis-server"));
    hermetic(&mut command)
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .arg("--aclfile")
        .arg(home.join("users.acl"))
        // Every write is on the disk before it is answered.
        .args([
            "--save",
            "",
            "--appendonly",
            "yes",
            "--appendfsync",
            "always",
        ])
        .arg("--dir")
        .arg(home);
    command
}

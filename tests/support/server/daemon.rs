//! `git daemon`.

use std::path::Path;
use std::process::Command;

use super::Process;
use crate::git::{git, hermetic};

/// A server of `git://` for the repositories in a folder, with pushes allowed.
pub struct GitDaemon {
    _process: Process,
    port: u16,
}

impl GitDaemon {
    /// Serves the repositories in `root`.
    pub fn start(root: &Path) -> GitDaemon {
        GitDaemon::with(root, &[])
    }

    /// Serves the repositories in `root`; with these arguments besides.
    pub fn with(root: &Path, more: &[&str]) -> GitDaemon {
        // Not `git daemon`: that would be the parent of the process that listens.
        let daemon = git(root, &["--exec-path"]) + "/git-daemon";
        let (process, port) = Process::on_free_port("git daemon", |port| {
            let mut command = Command::new(&daemon);
            hermetic(&mut command)
                .args([
                    "--export-all",
                    "--enable=receive-pack",
                    "--reuseaddr",
                    "--listen=127.0.0.1",
                ])
                .args(more)
                .arg(format!("--port={port}"))
                .arg(format!("--base-path={}", root.display()))
                .arg(root);
            command
        });
        GitDaemon {
            _process: process,
            port,
        }
    }

    /// The `uri` of the repository that [`crate::TestRemote`] makes.
    pub fn uri(&self) -> String {
        format!("git://127.0.0.1:{}/locks.git", self.port)
    }
}

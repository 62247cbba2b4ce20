//! The program `pool` as people run it, with nothing set but what a test sets.

use std::ffi::OsString;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde_json::Value;
use tempfile::TempDir;

use super::git::hermetic;
use super::{Answer, messages, path_of, wait_until};

/// One terminal: an environment, and a folder for temporary files.
pub struct Cli {
    env: Vec<(String, OsString)>,
    home: TempDir,
}

/// A `pool` that goes on by itself, such as one that watches.
pub struct Watching {
    child: Child,
    heard: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Cli {
    /// A terminal where the locks are at this uri, on `main`.
    pub fn on(uri: &str) -> Cli {
        let cli = Cli {
            env: Vec::new(),
            home: tempfile::tempdir().unwrap(),
        };
        cli.env("POOL_URI", uri).env("POOL_BRANCH", "main")
    }

    /// Sets a variable of the environment.
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Cli {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    /// The command, to be run under another one.
    pub fn command(&self, under: &[&str], args: &[&str]) -> Command {
        let pool = path_of("pool");
        let all: Vec<&str> = under.iter().chain([&pool]).chain(args).copied().collect();
        let mut command = Command::new(all[0]);
        hermetic(command.args(&all[1..]))
            .env("TMPDIR", self.home.path())
            .envs(self.env.iter().cloned())
            .current_dir(self.home.path())
            .stdin(Stdio::null());
        command
    }

    /// Runs it to its end.
    pub fn run(&self, args: &[&str]) -> Answer {
        let output = self.command(&[], args).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        messages::note(&stderr);
        Answer {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr,
        }
    }

    /// Runs it; it must succeed.
    #[track_caller]
    pub fn text(&self, args: &[&str]) -> String {
        let answer = self.run(args);
        assert_eq!(answer.code, Some(0), "{}", answer.stderr);
        answer.stdout
    }

    /// Runs it with `--json`; it must succeed.
    #[track_caller]
    pub fn json(&self, args: &[&str]) -> Value {
        let args: Vec<&str> = args.iter().copied().chain(["--json"]).collect();
        serde_json::from_str(&self.text(&args)).unwrap()
    }

    /// Starts it, and reads on.
    pub fn watch(&self, args: &[&str]) -> Watching {
        let mut command = self.command(&[], args);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut from = child.stdout.take().unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let all = heard.clone();
        let reader = std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(n @ 1..) = from.read(&mut bytes) {
                all.lock().unwrap().extend_from_slice(&bytes[..n]);
            }
        });
        Watching {
            child,
            heard,
            reader: Some(reader),
        }
    }
}

impl Watching {
    /// What it has printed so far.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.heard.lock().unwrap()).into_owned()
    }

    /// Waits until it has printed this.
    pub fn wait_for(&self, text: &str) {
        wait_until(&format!("it prints {text:?}"), || {
            self.text().contains(text)
        });
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

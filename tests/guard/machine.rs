//! The program as a job of GitLab runs it.

use std::ffi::OsString;
use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use support::git::hermetic;
use support::server::gitlab::{PRIVATE, SimulatedGitlab};
use support::{Answer, path_of, wait_until};
use tempfile::TempDir;

/// The environment of a job, and a folder for temporary files.
#[derive(Clone)]
pub struct Machine {
    env: Vec<(String, OsString)>,
    home: Arc<TempDir>,
}

/// A guard that still runs.
pub struct Waiting {
    child: Child,
    stdout: Heard,
    stderr: Heard,
}

/// One of its streams, as far as it was read.
struct Heard {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Machine {
    /// No job at all: nothing is set.
    pub fn bare() -> Machine {
        Machine {
            env: Vec::new(),
            home: Arc::new(tempfile::tempdir().unwrap()),
        }
    }

    /// Somebody with a token, outside of any job; pipeline 10 is called his own.
    pub fn outside(gitlab: &SimulatedGitlab) -> Machine {
        Machine::bare()
            .env("CI_API_V4_URL", gitlab.api())
            .env("CI_PROJECT_ID", "42")
            .env("CI_PIPELINE_ID", "10")
            .env("PRIVATE_TOKEN", PRIVATE)
            .quickly()
    }

    /// A job of a pipeline, with a private token; every ref counts.
    pub fn of(gitlab: &SimulatedGitlab, pipeline: u64, job: u64) -> Machine {
        Machine::outside(gitlab)
            .env("CI_PIPELINE_ID", pipeline.to_string())
            .env("CI_JOB_ID", job.to_string())
            .env("CI_JOB_NAME", "deploy")
            .env("GUARD_REF_REGEX", "^")
    }

    /// Looks often, and counts looks soon.
    pub fn quickly(self) -> Machine {
        self.env("GUARD_POLL", "50ms").env("GUARD_SETTLE", "100ms")
    }

    /// Sets a variable of the environment.
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Machine {
        self.env.retain(|(known, _)| known != name);
        self.env.push((name.to_owned(), value.into()));
        self
    }

    /// Takes a variable out of the environment.
    pub fn without(mut self, name: &str) -> Machine {
        self.env.retain(|(known, _)| known != name);
        self
    }

    /// The folder of the job, where commands run.
    pub fn home(&self) -> &std::path::Path {
        self.home.path()
    }

    /// A command of this job.
    pub fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        hermetic(&mut command)
            .args(args)
            .env("HOME", self.home.path())
            .env("TMPDIR", self.home.path())
            .envs(self.env.iter().cloned())
            .current_dir(self.home.path())
            .stdin(Stdio::null());
        command
    }

    /// Runs the guard to its end.
    pub fn run(&self, args: &[&str]) -> Answer {
        self.run_program(path_of("gitlab-job-guard"), args)
    }

    /// Runs another program of the job to its end.
    pub fn run_program(&self, program: &str, args: &[&str]) -> Answer {
        let output = self.command(program, args).output().unwrap();
        Answer {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Starts the guard.
    pub fn start(&self, args: &[&str]) -> Waiting {
        let mut command = self.command(path_of("gitlab-job-guard"), args);
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        Waiting {
            stdout: Heard::of(child.stdout.take().unwrap()),
            stderr: Heard::of(child.stderr.take().unwrap()),
            child,
        }
    }

    /// Asserts how the guard ends.
    #[track_caller]
    pub fn expect(&self, args: &[&str], code: i32) -> Answer {
        let answer = self.run(args);
        let said = format!("{args:?}\n{}\n{}", answer.stdout, answer.stderr);
        assert_eq!(answer.code, Some(code), "{said}");
        answer
    }
}

impl Heard {
    fn of(mut from: impl Read + Send + 'static) -> Heard {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let all = bytes.clone();
        let reader = std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(n @ 1..) = from.read(&mut piece) {
                all.lock().unwrap().extend_from_slice(&piece[..n]);
            }
        });
        Heard {
            bytes,
            reader: Some(reader),
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap()).into_owned()
    }

    fn read_on(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        self.text()
    }
}

impl Waiting {
    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed so far.
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// What it has told people so far.
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Waits until it has printed this.
    pub fn wait_for(&self, text: &str) {
        wait_until(&format!("it prints {text:?}"), || {
            self.stdout().contains(text)
        });
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Sends it a signal, such as `TERM`.
    pub fn signal(&self, signal: &str) {
        let id = self.id().to_string();
        let sent = Command::new("kill")
            .args([&format!("-{signal}"), &id])
            .status();
        assert!(sent.unwrap().success());
    }

    /// Waits for its end, and gives how it ended as the system says it.
    pub fn status(mut self) -> (ExitStatus, Answer) {
        wait_until("it ends", || self.has_ended());
        let status = self.child.wait().unwrap();
        let answer = Answer {
            code: status.code(),
            stdout: self.stdout.read_on(),
            stderr: self.stderr.read_on(),
        };
        (status, answer)
    }

    /// Waits for its end.
    pub fn finish(self) -> Answer {
        self.status().1
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

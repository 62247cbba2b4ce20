//! The programs as Concourse runs them: request on stdin, answer on stdout, everything else on stderr.

use std::ffi::OsString;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::git::hermetic;
use super::messages;
use super::{DEADLINE, Peak, TestRemote, path_of, wait_until};

/// One container's worth of steps: a TMPDIR, an environment and a source that its steps share.
pub struct Step {
    source: Value,
    env: Vec<(String, OsString)>,
    /// Kept by what is still running too.
    temporary: Arc<TempDir>,
}

/// How a program ended.
pub struct Answer {
    /// The exit code; `None` when it was killed by a signal.
    pub code: Option<i32>,
    /// What it printed for Concourse; nothing when that went elsewhere.
    pub stdout: String,
    /// What it printed for people.
    pub stderr: String,
}

/// A program that is still running.
pub struct Running {
    child: Child,
    what: String,
    stdout: JoinHandle<String>,
    stderr: Arc<Mutex<Vec<u8>>>,
    stderr_reader: JoinHandle<()>,
    _temporary: Arc<TempDir>,
}

impl Step {
    /// Steps on a pool of a repository, by its path, with a short `retry_delay`.
    pub fn on(remote: &TestRemote, pool: &str) -> Step {
        Step::with_source(json!({
            "uri": remote.uri(), "branch": remote.branch(), "pool": pool, "retry_delay": "50ms",
        }))
    }

    /// Steps with any source.
    pub fn with_source(source: Value) -> Step {
        Step {
            source,
            env: Vec::new(),
            temporary: Arc::new(tempfile::tempdir().unwrap()),
        }
    }

    /// Sets a key of the source.
    pub fn set(mut self, key: &str, value: impl Into<Value>) -> Step {
        self.source[key] = value.into();
        self
    }

    /// Sets a variable of the environment.
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Step {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    /// Sets the variables of build 12 of ops/web/deploy at `https://ci.example.com`.
    pub fn in_build(self) -> Step {
        [
            ("BUILD_ID", "4711"),
            ("BUILD_NAME", "12"),
            ("BUILD_JOB_NAME", "deploy"),
            ("BUILD_PIPELINE_NAME", "web"),
            ("BUILD_TEAM_NAME", "ops"),
            ("ATC_EXTERNAL_URL", "https://ci.example.com"),
        ]
        .into_iter()
        .fold(self, |step, (name, value)| step.env(name, value))
    }

    /// The source that requests have.
    pub fn source(&self) -> &Value {
        &self.source
    }

    /// The TMPDIR of the steps.
    pub fn temporary(&self) -> &Path {
        self.temporary.path()
    }

    /// A new folder for a step's inputs or outputs.
    pub fn folder(&self) -> PathBuf {
        tempfile::Builder::new()
            .prefix("folder-")
            .tempdir_in(self.temporary.path())
            .unwrap()
            .keep()
    }

    /// Runs `out` with these params; `lock` in a param is a folder that [`Step::put_with`] would have to make.
    pub fn put(&self, params: Value) -> Answer {
        self.start_put(params).finish()
    }

    /// Runs `out` in a folder that has these files: `("lock/name", b"env-1")`.
    pub fn put_with(&self, params: Value, files: &[(&str, &[u8])]) -> Answer {
        self.start_put_with(params, files).finish()
    }

    /// Starts `out` with these params.
    pub fn start_put(&self, params: Value) -> Running {
        self.start_put_with(params, &[])
    }

    /// Starts `out` in a folder that has these files.
    pub fn start_put_with(&self, params: Value, files: &[(&str, &[u8])]) -> Running {
        let folder = self.folder();
        for (path, content) in files {
            let file = folder.join(path);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, content).unwrap();
        }
        self.start_put_in(&folder, params)
    }

    /// Starts `out` in a folder that is there already.
    pub fn start_put_in(&self, folder: &Path, params: Value) -> Running {
        let request = json!({"source": self.source, "params": params}).to_string();
        self.start("out", &[folder.as_os_str().to_owned()], request.as_bytes())
    }

    /// Starts `out` in a folder that is there already, with another standard output than one that is read.
    pub fn start_put_to(&self, stdout: Stdio, folder: &Path, params: Value) -> Running {
        let request = json!({"source": self.source, "params": params}).to_string();
        let mut command = Command::new(path_of("out"));
        command.arg(folder).stdout(stdout);
        self.start_configured(command, "out", request.as_bytes())
    }

    /// Runs `out` with `param: lock`, where `lock` is the folder of a get.
    pub fn put_folder(&self, param: &str, got: &Path) -> Answer {
        let (parent, name) = (
            got.parent().unwrap(),
            got.file_name().unwrap().to_str().unwrap(),
        );
        self.start_put_in(parent, json!({ param: name })).finish()
    }

    /// Runs `in` for a version, and gives the folder that it wrote to as well.
    pub fn get(&self, version: &str) -> (Answer, PathBuf) {
        let folder = self.folder();
        let request = json!({"source": self.source, "version": {"ref": version}}).to_string();
        (
            self.run("in", &[folder.as_os_str().to_owned()], request.as_bytes()),
            folder,
        )
    }

    /// Runs `check` with a known version.
    pub fn check(&self, version: Option<&str>) -> Answer {
        let version = version.map(|version| json!({ "ref": version }));
        let request = json!({"source": self.source, "version": version}).to_string();
        self.run("check", &[], request.as_bytes())
    }

    /// Runs a program with any arguments and input.
    pub fn run(&self, program: &str, args: &[OsString], input: &[u8]) -> Answer {
        self.start(program, args, input).finish()
    }

    /// Starts a program with any arguments and input.
    pub fn start(&self, program: &str, args: &[OsString], input: &[u8]) -> Running {
        let mut command = Command::new(path_of(program));
        command.args(args);
        self.start_command(command, program, input)
    }

    /// Starts another program in the environment of the steps.
    pub fn start_program(&self, program: &str, args: &[String], input: &[u8]) -> Running {
        let mut command = Command::new(program);
        command.args(args);
        self.start_command(command, program, input)
    }

    /// Starts a program under another one, such as `time`.
    pub fn start_under(
        &self,
        wrapper: &[&str],
        program: &str,
        args: &[OsString],
        input: &[u8],
    ) -> Running {
        let mut command = Command::new(wrapper[0]);
        command.args(&wrapper[1..]).arg(path_of(program)).args(args);
        self.start_command(command, program, input)
    }

    /// Runs a program to its end, and gives its peak of memory in kilobytes as well.
    pub fn run_measured(&self, program: &str, args: &[OsString], input: &[u8]) -> (Answer, usize) {
        let peak = Peak::in_folder(&self.folder());
        let answer = self
            .start_under(&peak.time(), program, args, input)
            .finish();
        (answer, peak.kilobytes())
    }

    fn start_command(&self, mut command: Command, program: &str, input: &[u8]) -> Running {
        command.stdout(Stdio::piped());
        self.start_configured(command, program, input)
    }

    fn start_configured(&self, mut command: Command, program: &str, input: &[u8]) -> Running {
        hermetic(&mut command)
            .env("TMPDIR", self.temporary.path())
            .envs(self.env.iter().cloned());
        let mut child = command
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A program that fails early does not read its input.
        let _ = child.stdin.take().unwrap().write_all(input);
        let from = child.stdout.take();
        let stdout = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            if let Some(mut from) = from {
                from.read_to_end(&mut bytes).unwrap();
            }
            String::from_utf8_lossy(&bytes).into_owned()
        });
        let mut from = child.stderr.take().unwrap();
        let stderr = Arc::new(Mutex::new(Vec::new()));
        let heard = stderr.clone();
        let stderr_reader = std::thread::spawn(move || {
            let mut bytes = [0; 1024];
            while let Ok(n @ 1..) = from.read(&mut bytes) {
                heard.lock().unwrap().extend_from_slice(&bytes[..n]);
            }
        });
        let what = format!("{program} {}", String::from_utf8_lossy(input));
        Running {
            child,
            what,
            stdout,
            stderr,
            stderr_reader,
            _temporary: self.temporary.clone(),
        }
    }
}

impl Running {
    /// The process's id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal, such as `TERM`.
    pub fn signal(&self, signal: &str) {
        let status = Command::new("kill")
            .args([&format!("-{signal}"), &self.id().to_string()])
            .status();
        assert!(status.unwrap().success());
    }

    /// Sends it a signal, if it has not ended yet.
    pub fn signal_if_there(&self, signal: &str) {
        // Its id is nobody else's before it has been waited for.
        let _ = Command::new("kill")
            .args([&format!("-{signal}"), &self.id().to_string()])
            .stderr(Stdio::null())
            .status();
    }

    /// Waits until it is in the middle of writing to its standard output.
    pub fn wait_for_blocked_answer(&mut self) {
        let threads = format!("/proc/{}/task", self.id());
        wait_until("it writes its answer", || {
            assert!(self.is_running(), "{} ended: {}", self.what, self.stderr());
            let threads = std::fs::read_dir(&threads).unwrap();
            threads.filter_map(Result::ok).any(|thread| {
                // The number of the call that it waits in, and its arguments: the first one is the file.
                let call = std::fs::read_to_string(thread.path().join("syscall"));
                call.unwrap_or_default().split(' ').nth(1) == Some("0x1")
            })
        });
    }

    /// What it has told people so far.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr.lock().unwrap()).into_owned()
    }

    /// Waits until it has told people something that has `text` in it.
    pub fn wait_for_stderr(&self, text: &str) {
        let started = Instant::now();
        while !self.stderr().contains(text) {
            // Its error stream is closed with its end, and nothing more will come.
            let ended = self.stderr_reader.is_finished() && !self.stderr().contains(text);
            assert!(
                !ended && started.elapsed() < DEADLINE,
                "{} does not say {text:?}; it says: {}",
                self.what,
                self.stderr()
            );
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    /// Whether it runs still.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end.
    pub fn finish(mut self) -> Answer {
        let status = self.wait();
        let stdout = self.stdout.join().unwrap();
        self.stderr_reader.join().unwrap();
        let stderr = String::from_utf8_lossy(&self.stderr.lock().unwrap()).into_owned();
        messages::note(&stderr);
        Answer {
            code: status.code(),
            stdout,
            stderr,
        }
    }

    /// Ends it the hard way.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn wait(&mut self) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            if started.elapsed() > DEADLINE {
                self.child.kill().unwrap();
                panic!("{} hangs; it says: {}", self.what, self.stderr());
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    }
}

impl Answer {
    /// The answer of a step that succeeded.
    #[track_caller]
    pub fn json(&self) -> Value {
        assert_eq!(self.code, Some(0), "stderr: {}", self.stderr);
        serde_json::from_str(&self.stdout).unwrap()
    }

    /// The version of a put or get that succeeded.
    #[track_caller]
    pub fn version(&self) -> String {
        self.json()["version"]["ref"].as_str().unwrap().to_owned()
    }

    /// The lock of a put or get that succeeded.
    #[track_caller]
    pub fn lock(&self) -> String {
        let json = self.json();
        assert_eq!(json["metadata"][0]["name"], "lock_name");
        json["metadata"][0]["value"].as_str().unwrap().to_owned()
    }

    /// The versions of a check that succeeded.
    #[track_caller]
    pub fn versions(&self) -> Vec<String> {
        let json = self.json();
        json.as_array()
            .unwrap()
            .iter()
            .map(|version| version["ref"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Asserts that the step ended as one that was told to: exit 1, nothing on stdout, and no talk of a mistake.
    #[track_caller]
    pub fn assert_stopped(&self) {
        assert_eq!(
            (self.code, self.stdout.as_str()),
            (Some(1), ""),
            "{}",
            self.stderr
        );
        assert!(
            self.stderr.contains("stopped by a signal"),
            "{}",
            self.stderr
        );
        assert!(!self.stderr.contains("error: "), "{}", self.stderr);
    }

    /// The answer's metadata, by name.
    #[track_caller]
    pub fn told(&self, name: &str) -> Option<String> {
        let json = self.json();
        let pairs = json["metadata"].as_array().unwrap();
        let pair = pairs.iter().find(|pair| pair["name"] == name);
        pair.map(|pair| pair["value"].as_str().unwrap().to_owned())
    }

    /// Asserts that the step failed as it should: exit 1, nothing on stdout, no panic, and an error with these words.
    #[track_caller]
    pub fn assert_failed(&self, words: &[&str]) {
        assert_eq!(
            self.code,
            Some(1),
            "stdout: {} stderr: {}",
            self.stdout,
            self.stderr
        );
        assert_eq!(self.stdout, "");
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        let errors: Vec<&str> = self
            .stderr
            .lines()
            .filter(|line| line.starts_with("error: "))
            .collect();
        for word in words {
            assert!(
                errors.iter().any(|line| line.contains(word)),
                "no {word:?} in the error: {}",
                self.stderr
            );
        }
    }
}

/// A standard output that is full, so that a write to it waits, and the end at which nobody reads.
pub fn full_stdout() -> (Stdio, UnixStream) {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let full = loop {
        if let Err(err) = ours.write(&[0; 4096]) {
            break err;
        }
    };
    assert_eq!(full.kind(), ErrorKind::WouldBlock);
    ours.set_nonblocking(false).unwrap();
    (OwnedFd::from(ours).into(), theirs)
}

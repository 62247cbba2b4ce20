//! The dispatcher as a service runs it: a folder with its configuration and state, servers, and nothing else.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::git::hermetic;
use support::server::clever::{Clever, ORGANISATION, TOKEN, authority};
use support::server::coordinator::Coordinator;
use support::{Answer, DEADLINE, path_of, wait_until};
use tempfile::TempDir;

/// The token of the runner that most tests have.
pub const RUNNER: &str = "glrt-t1_MARKERab-and-more";

/// What names have of it.
pub const SHORT: &str = "MARKERab";

/// A GitLab, a Clever Cloud, and a folder.
pub struct World {
    pub gitlab: Coordinator,
    pub clever: Clever,
    home: TempDir,
    env: Vec<(String, String)>,
}

/// A dispatcher that runs.
pub struct Dispatcher {
    child: Child,
    stderr: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl World {
    /// A GitLab that knows the runner, and a configuration with that one alone.
    pub fn new() -> World {
        let world = World {
            gitlab: Coordinator::start(),
            clever: Clever::start(),
            home: tempfile::tempdir().unwrap(),
            env: Vec::new(),
        };
        world.gitlab.add_runner(RUNNER);
        world.configure("concurrent = 8\n", &[&world.runner(RUNNER, "")]);
        world
    }

    /// The section of a runner at Clever Cloud.
    pub fn runner(&self, token: &str, more: &str) -> String {
        self.runner_at(&self.gitlab, token, more)
    }

    /// The same, of another coordinator.
    pub fn runner_at(&self, gitlab: &Coordinator, token: &str, more: &str) -> String {
        let own = [
            ("cc_orga_id", ORGANISATION),
            ("cc_token", TOKEN),
            ("cc_api_url", &self.clever.api()),
        ];
        let own: String = own
            .iter()
            .filter(|(key, _)| !more.contains(key) && !more.contains("cc_multi_tenant"))
            .map(|(key, value)| format!("{key} = '{value}'\n"))
            .collect();
        let api = match more.contains("cc_multi_tenant") {
            true => format!("cc_api_url = '{}'\n", self.clever.api()),
            false => String::new(),
        };
        format!(
            "[[runners]]\nname = 'one'\nurl = '{}'\ntoken = '{token}'\nexecutor = 'clever-docker'\n{own}{api}{more}\n",
            gitlab.url()
        )
    }

    /// Writes the configuration.
    pub fn configure(&self, global: &str, runners: &[&str]) {
        let state = self.state_file();
        let text = format!(
            "state_file = '{}'\n{global}\n{}",
            state.display(),
            runners.concat()
        );
        std::fs::write(self.config(), text).unwrap();
    }

    /// Sets a variable of the environment.
    pub fn set(&mut self, name: &str, value: &str) {
        self.env.push((name.to_owned(), value.to_owned()));
    }

    pub fn home(&self) -> &Path {
        self.home.path()
    }

    pub fn config(&self) -> PathBuf {
        self.home().join("config.toml")
    }

    pub fn state_file(&self) -> PathBuf {
        self.home().join("state.json")
    }

    /// What the state file says.
    pub fn state(&self) -> Value {
        serde_json::from_str(&std::fs::read_to_string(self.state_file()).unwrap()).unwrap()
    }

    /// A program, in the environment of the service.
    pub fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(path_of(program));
        hermetic(&mut command)
            .args(args)
            .env("HOME", self.home())
            .env("TMPDIR", self.home())
            .env("SSL_CERT_FILE", authority().file())
            .envs(self.env.iter().cloned())
            .current_dir(self.home())
            .stdin(Stdio::null());
        command
    }

    fn dispatcher(&self, args: &[&str]) -> Command {
        let config = self.config();
        let mut all = vec![config.to_str().unwrap()];
        // An option may be said once.
        let quick = [
            ("--poll-interval", "0.05"),
            ("--job-progress-poll-interval", "0.05"),
            ("--first-pause", "0.05"),
            ("--shutdown-timeout", "20"),
        ];
        for (option, value) in quick {
            if !args.contains(&option) {
                all.extend([option, value]);
            }
        }
        all.extend(args);
        self.command("heptapod-paas-runner", &all)
    }

    /// Starts the dispatcher, with short pauses.
    pub fn start(&self) -> Dispatcher {
        self.start_with(&[])
    }

    /// The same, with more arguments.
    pub fn start_with(&self, args: &[&str]) -> Dispatcher {
        Dispatcher::start(&mut self.dispatcher(args))
    }

    /// Runs the dispatcher to its end.
    pub fn run(&self, args: &[&str]) -> Answer {
        let output = self.dispatcher(args).output().unwrap();
        Answer {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Waits until a job has this status.
    pub fn until_job(&self, id: u64, status: &str) {
        wait_until(&format!("job {id} is {status}"), || {
            self.gitlab.job(id).status == status
        });
    }

    /// Waits until something was pushed to the app of a job.
    pub fn until_pushed(&self, id: u64) {
        wait_until(&format!("job {id} was pushed"), || {
            let apps = self.clever.apps();
            apps.iter().any(|app| app.job() == id && app.n_pushes > 0)
        });
    }

    /// Waits until there is no app any more.
    pub fn until_no_app(&self) {
        wait_until("there is no app", || self.clever.living().is_empty());
    }
}

impl Dispatcher {
    pub fn start(command: &mut Command) -> Dispatcher {
        let command = command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut from = child.stderr.take().unwrap();
        let stderr = Arc::new(Mutex::new(Vec::new()));
        let all = stderr.clone();
        let reader = std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(n @ 1..) = from.read(&mut piece) {
                all.lock().unwrap().extend_from_slice(&piece[..n]);
            }
        });
        Dispatcher {
            child,
            stderr,
            reader: Some(reader),
        }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has told people so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&self.stderr.lock().unwrap()).into_owned()
    }

    /// Waits until it has told people this.
    #[track_caller]
    pub fn wait_for(&self, text: &str) {
        let began = Instant::now();
        while !self.log().contains(text) {
            assert!(
                began.elapsed() < DEADLINE,
                "it never says {text:?}:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub fn signal(&self, signal: &str) {
        let id = self.id().to_string();
        let sent = Command::new("kill")
            .args([&format!("-{signal}"), &id])
            .status();
        assert!(sent.unwrap().success());
    }

    /// Kills it as nothing can be foreseen.
    pub fn kill(mut self) -> String {
        self.child.kill().unwrap();
        self.finish_reading().1
    }

    /// Asks it to end; it must do so in order.
    #[track_caller]
    pub fn end(self) -> String {
        // Before that no signal is heard.
        self.wait_for("started with");
        self.signal("TERM");
        self.ended()
    }

    /// Waits for its end, which must be in order.
    #[track_caller]
    pub fn ended(mut self) -> String {
        wait_until("it ends", || !self.is_running());
        let (code, log) = self.finish_reading();
        assert_eq!(code, Some(0), "{log}");
        log
    }

    fn finish_reading(&mut self) -> (Option<i32>, String) {
        let status = self.child.wait().unwrap();
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        (status.code(), self.log())
    }
}

impl Drop for Dispatcher {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

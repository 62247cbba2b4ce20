//! A project: a folder with a config, secrets and an app file, and the program in it.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use support::git::hermetic;
use support::server::echo::Echo;
use support::server::redis::{RedisServer, USER};
use support::{Answer, path_of};
use tempfile::TempDir;

/// What no log, no error and no other host may get to see.
pub const SLACK_TOKEN: &str = "MARKER-slack-token";
/// Likewise.
pub const TRIGGER_TOKEN: &str = "MARKER-trigger-token";
/// Likewise.
pub const REDIS_PASSWORD: &str = "MARKER-redis-password";

/// A folder with the files of a project, and the environment of its programs.
#[derive(Clone)]
pub struct Project {
    folder: Arc<TempDir>,
    env: Vec<(String, OsString)>,
}

/// All kinds of local files.
pub const COPIES: &str = "
    yamlfile: {path: ./local/data.yaml}
    jsonfile: {path: ./local/data.json}
    shellfile: {path: ./local/data.sh, excludeKeyNames: [appPipelinesConfig, jinja2Macros]}
    idfile: {path: ./local/id}
";

/// The app file of most tests.
pub const APP: &str = include_str!("app.yaml");

impl Project {
    /// A project with these data sources, as YAML that is four blanks in.
    pub fn new(datasources: &str) -> Project {
        Project::with_config(datasources, "")
    }

    /// A project with more in its config, as YAML that is two blanks in.
    pub fn with_config(datasources: &str, more: &str) -> Project {
        let project = Project {
            folder: Arc::new(tempfile::tempdir().unwrap()),
            env: Vec::new(),
        };
        let config = format!(
            "cicdstatemgr:\n  datasources:\n    {}\n  {}\n",
            datasources.trim(),
            more.trim()
        );
        project.write("config.yaml", &config);
        project.write(
            "secrets.yaml",
            &format!(
                "cicdstatemgr:\n  slack: {{token: {SLACK_TOKEN}}}\n  trigger: {{token: {TRIGGER_TOKEN}}}\n"
            ),
        );
        project.write("app.yaml", APP);
        let folder = project.folder().display().to_string();
        let (config, secrets) = (
            format!("{folder}/config.yaml"),
            format!("{folder}/secrets.yaml"),
        );
        project
            .env("CICDSTATEMGR_CONFIG_PATH", config)
            .env("CICDSTATEMGR_SECRETS_PATH", secrets)
            .env(
                "CICDSTATEMGR_INIT_APP_CONFIG_PATH",
                format!("{folder}/app.yaml"),
            )
            .env("CICDSTATEMGR_CONTEXT_DATA_ID", "run-1")
    }

    /// With a YAML file as its primary data source.
    pub fn simple() -> Project {
        Project::new("yamlfile: {path: ./data.yaml, isPrimary: true}")
    }

    /// With a YAML file as its primary data source, and events that go to this server.
    pub fn with_events(echo: &Echo) -> Project {
        Project::with_config(
            "yamlfile: {path: ./data.yaml, isPrimary: true}",
            &events(echo),
        )
    }

    /// With documents in Redis, and all local files.
    pub fn on_redis(redis: &RedisServer) -> Project {
        Project::new(&(redis_source(redis) + COPIES)).with_redis_password()
    }

    /// Adds the password of Redis to the secrets.
    pub fn with_redis_password(self) -> Project {
        let text = self.read("secrets.yaml");
        let more =
            format!("  datasources: {{redis: {{username: {USER}, password: {REDIS_PASSWORD}}}}}\n");
        self.write("secrets.yaml", &(text + &more));
        self
    }

    /// With documents in a repository.
    pub fn on_git(uri: &str) -> Project {
        Project::new(&format!(
            "git: {{uri: '{uri}', path: docs, isPrimary: true, fault_timeout: 30s}}"
        ))
    }

    /// The same configuration in another folder, as on another machine.
    pub fn elsewhere(&self) -> Project {
        let other = Project {
            folder: Arc::new(tempfile::tempdir().unwrap()),
            env: self.env.clone(),
        };
        std::fs::create_dir(other.path("home")).unwrap();
        other
    }

    /// Sets a variable of the environment.
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Project {
        self.env.retain(|(known, _)| known != name);
        self.env.push((name.to_owned(), value.into()));
        self
    }

    /// Takes a variable out of the environment.
    pub fn without(mut self, name: &str) -> Project {
        self.env.retain(|(known, _)| known != name);
        self
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file.
    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// Reads a file.
    #[track_caller]
    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_else(|err| panic!("{name}: {err}"))
    }

    /// A file that is JSON.
    #[track_caller]
    pub fn json(&self, name: &str) -> serde_json::Value {
        serde_json::from_str(&self.read(name)).unwrap()
    }

    /// A command in the folder.
    pub fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        hermetic(&mut command)
            .args(args)
            .env("HOME", self.folder())
            .env("TMPDIR", std::env::temp_dir())
            .envs(self.env.iter().cloned())
            .current_dir(self.folder())
            .stdin(Stdio::null());
        command
    }

    /// The program, not yet started.
    pub fn program(&self, args: &[&str]) -> Command {
        self.command(path_of("cicdstatemgr"), args)
    }

    /// Runs the program to its end.
    pub fn run(&self, args: &[&str]) -> Answer {
        answer(&mut self.program(args))
    }

    /// Runs it; it must succeed.
    #[track_caller]
    pub fn ok(&self, args: &[&str]) -> String {
        let answer = self.run(args);
        assert_eq!(answer.code, Some(0), "{args:?}: {}", answer.stderr);
        answer.stdout
    }

    /// Runs it; it must fail with 1 and these words on stderr, and print nothing.
    #[track_caller]
    pub fn fails(&self, args: &[&str], words: &str) {
        self.ends(args, 1, words);
    }

    /// Runs it; it must end with this exit code and these words on stderr, and print nothing.
    #[track_caller]
    pub fn ends(&self, args: &[&str], code: i32, words: &str) {
        let answer = self.run(args);
        assert_eq!(answer.code, Some(code), "{args:?}: {}", answer.stderr);
        assert!(answer.stderr.contains(words), "{args:?}: {}", answer.stderr);
        assert_eq!(answer.stdout, "", "{args:?}");
    }

    /// Makes the document of most tests.
    #[track_caller]
    pub fn init(&self) -> &Project {
        assert_eq!(self.ok(&["--init-new", "run-1"]), "run-1\n");
        self
    }

    /// What a `--get` prints, without the newline at its end.
    #[track_caller]
    pub fn get(&self, path: &str) -> String {
        let printed = self.ok(&["--get", path]);
        printed.strip_suffix('\n').unwrap_or(&printed).to_owned()
    }
}

/// Runs a command to its end.
pub fn answer(command: &mut Command) -> Answer {
    let output = command.output().unwrap();
    Answer {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Redis as the primary data source.
pub fn redis_source(redis: &RedisServer) -> String {
    format!(
        "redis: {{host: 127.0.0.1, port: {}, isPrimary: true}}\n",
        redis.port()
    )
}

/// The settings of events that go to this server.
pub fn events(echo: &Echo) -> String {
    include_str!("events.yaml").replace("ECHO", &echo.url(""))
}

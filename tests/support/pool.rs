//! The command line as people and CI systems run it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::step::{Running, Step};
use super::{Answer, TestRemote};

/// Somebody's shell: an environment, a home and a name.
pub struct Pool {
    step: Step,
    home: PathBuf,
}

impl Pool {
    /// Anna's, set up for a pool of a repository, by its path.
    pub fn on(remote: &TestRemote, pool: &str) -> Pool {
        Pool::at(remote).env("POOL_NAME", pool)
    }

    /// Anna's, set up for a repository, by its path, and for no pool.
    pub fn at(remote: &TestRemote) -> Pool {
        Pool::bare()
            .env("POOL_URI", remote.uri())
            .env("POOL_BRANCH", remote.branch())
            .env("POOL_RETRY_DELAY", "50ms")
            .called("anna")
    }

    /// One in which nothing is set up.
    pub fn bare() -> Pool {
        let step = Step::with_source(serde_json::json!({}));
        let home = step.folder();
        let step = step
            .env("HOME", &home)
            .env("XDG_DATA_HOME", home.join("data"))
            .env("XDG_CONFIG_HOME", home.join("config"));
        Pool { step, home }
    }

    /// The same of somebody else.
    pub fn called(self, holder: &str) -> Pool {
        self.env("POOL_HOLDER", holder)
    }

    /// Sets a variable of the environment.
    pub fn env(self, name: &str, value: impl Into<OsString>) -> Pool {
        Pool {
            step: self.step.env(name, value),
            home: self.home,
        }
    }

    /// The user's folder.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Runs `pool`.
    pub fn run(&self, args: &[&str]) -> Answer {
        self.start(args).finish()
    }

    /// Runs `pool` with this on its standard input.
    pub fn run_with(&self, args: &[&str], input: &[u8]) -> Answer {
        let args: Vec<OsString> = args.iter().map(OsString::from).collect();
        self.step.run("pool", &args, input)
    }

    /// Starts `pool`.
    pub fn start(&self, args: &[&str]) -> Running {
        // Whoever runs the tests in the background may ignore some signals, and what is ignored is so for all below.
        self.start_under(&["env", "--default-signal"], args)
    }

    /// Starts `pool` under another program.
    pub fn start_under(&self, wrapper: &[&str], args: &[&str]) -> Running {
        let args: Vec<OsString> = args.iter().map(OsString::from).collect();
        self.step.start_under(wrapper, "pool", &args, b"")
    }

    /// Runs another program in this shell.
    pub fn run_program(&self, program: &str, args: &[&str]) -> Answer {
        self.start_program(program, args).finish()
    }

    /// Starts another program in this shell.
    pub fn start_program(&self, program: &str, args: &[&str]) -> Running {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        self.step.start_program(program, &args, b"")
    }
}

impl Answer {
    /// What was printed, when it went well.
    #[track_caller]
    pub fn text(&self) -> &str {
        assert_eq!(self.code, Some(0), "stderr: {}", self.stderr);
        &self.stdout
    }

    /// Asserts that it ended with this code and an error with these words, and printed nothing as an answer.
    #[track_caller]
    pub fn assert_code(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "stderr: {}", self.stderr);
        assert_eq!(self.stdout, "");
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        for word in words {
            assert!(
                self.stderr.contains(word),
                "no {word:?} in: {}",
                self.stderr
            );
        }
    }
}

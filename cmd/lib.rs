//! The programs: arguments, environment, streams, signals and exit codes. What they do is in the libraries below `src`.
//!
//! Each is a module with a `main`, in a folder of the program's name. Its `main.rs` there calls that and no more, so that
//! one program can be all of them: see [`called`].
//!
//! `resource` is what they have in common.

pub mod check;
#[cfg(feature = "state")]
pub mod cicdstatemgr;
#[path = "in/mod.rs"]
pub mod get;
#[cfg(feature = "guard")]
#[path = "gitlab-job-guard/mod.rs"]
pub mod gitlab_job_guard;
#[cfg(feature = "paas")]
#[path = "heptapod-paas-runner/mod.rs"]
pub mod heptapod_paas_runner;
#[cfg(feature = "paas")]
#[path = "heptapod-paas-runner-register/mod.rs"]
pub mod heptapod_paas_runner_register;
pub mod out;
pub mod pool;
#[cfg(feature = "pipelines")]
pub mod prunner;
mod resource;

use std::env;
use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;

/// Runs the program by whose name we were called; `pool` for any other name.
pub fn called() -> ExitCode {
    let called = env::args_os().next().unwrap_or_default();
    match Path::new(&called).file_name().and_then(OsStr::to_str) {
        Some("check") => check::main(),
        Some("in") => get::main(),
        Some("out") => out::main(),
        #[cfg(feature = "state")]
        Some("cicdstatemgr") => cicdstatemgr::main(),
        #[cfg(feature = "guard")]
        Some("gitlab-job-guard") => gitlab_job_guard::main(),
        #[cfg(feature = "paas")]
        Some("heptapod-paas-runner") => heptapod_paas_runner::main(),
        #[cfg(feature = "paas")]
        Some("heptapod-paas-runner-register") => heptapod_paas_runner_register::main(),
        #[cfg(feature = "pipelines")]
        Some("prunner") => prunner::main(),
        _ => pool::main(),
    }
}

//! What the tests share: lock repositories to act on, servers to reach them by, and the programs as Concourse runs them.
//!
//! It knows the programs by name and by what they say and do, and nothing of the crates that they are made of: every crate
//! and every suite may use it.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::new_without_default,
    missing_docs
)]

pub mod browser;
pub mod cli;
pub mod fuzz;
pub mod git;
pub mod messages;
pub mod peak;
pub mod pool;
pub mod remote;
pub mod server;
pub mod step;

pub use browser::Browser;
pub use cli::Cli;
pub use peak::Peak;
pub use pool::Pool;
pub use remote::TestRemote;
pub use step::{Answer, Step};

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// How long anything may take before a test takes it for hung: much longer than it ever does.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Waits for a condition to come true.
///
/// # Panics
/// When it does not within [`DEADLINE`]; `what` says what was waited for.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < DEADLINE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Where one of our programs is, as built for the test or benchmark that asks.
///
/// # Panics
/// When there is none of this name.
pub fn path_of(program: &str) -> &'static str {
    // Cargo puts those who ask into `deps` below the folder with the programs.
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let asking = std::env::current_exe().unwrap();
        asking.ancestors().nth(2).map(Path::to_owned).unwrap()
    });
    let path = folder.join(program);
    assert!(path.is_file(), "there is no program {}", path.display());
    path.to_str().unwrap().to_owned().leak()
}

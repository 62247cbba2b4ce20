//! What the tests share: lock repositories to act on, servers to reach them by, and the programs as Concourse runs them.

pub mod cli;
pub mod fuzz;
pub mod git;
pub mod peak;
pub mod pool;
pub mod remote;
pub mod server;
pub mod step;

pub use cli::Cli;
pub use peak::Peak;
pub use pool::Pool;
pub use remote::TestRemote;
pub use step::{Answer, Step};

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

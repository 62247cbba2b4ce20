//! All that the programs say to people while a suite runs, in one file, for somebody to read.
//!
//! ```text
//! SUITE_MESSAGES=/tmp/messages cargo test --test pool && sort -u /tmp/messages
//! ```

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::Write;
use std::sync::LazyLock;

static FILE: LazyLock<Option<OsString>> = LazyLock::new(|| std::env::var_os("SUITE_MESSAGES"));

/// Writes down what a program said, if that is wanted.
pub fn note(stderr: &str) {
    let Some(file) = &*FILE else { return };
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(file)
        .unwrap();
    // In one go: the tests run side by side.
    let lines = stderr.trim_end_matches('\n');
    file.write_all(format!("{lines}\n").as_bytes()).unwrap();
}

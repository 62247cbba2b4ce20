//! All programs in one: which of them it is, is the name by which it is called. For the image only.
//!
//! Nearly all of each program is the library and what that is built on, so that one with four names is a third of the size
//! of four.
#![allow(
    clippy::duplicate_mod,
    reason = "what the programs have in common is a part of each of them"
)]

use std::env;
use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;

#[path = "../check/main.rs"]
mod check;
#[path = "../in/main.rs"]
mod get;
#[path = "../out/main.rs"]
mod out;
#[path = "../pool/main.rs"]
mod pool;

// The modules of `pool` name each other from the root.
#[allow(clippy::wildcard_imports, reason = "whichever there are")]
use pool::*;

fn main() -> ExitCode {
    let called = env::args_os().next().unwrap_or_default();
    match Path::new(&called).file_name().and_then(OsStr::to_str) {
        Some("check") => check::main(),
        Some("in") => get::main(),
        Some("out") => out::main(),
        _ => pool::main(),
    }
}

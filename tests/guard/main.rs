//! The program `gitlab-job-guard` against a simulated GitLab and real lock repositories.
//!
//! The names C1 to C29 and N1 to N26 in the tests are the rows of the list of what the program keeps of 0.0.4.3, and of what
//! it does better.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

/// Which token is used, what each may read, and where it never goes.
mod access;
/// Servers that fail, are slow or say odd things; signals; proxies and certificates.
mod faults;
/// Many guards at once, on pipelines that start, end and come back: one at a time, in order, all of them.
mod histories;
/// Turns by a lock in a Git repository.
mod lock;
/// The program as a job of GitLab runs it.
mod machine;
/// What people and programs read.
mod news;
/// Which pipelines are in the way.
mod order;
/// The recipes of the page.
mod recipes;
/// Settings: flags, environment, and what is refused before the first request.
mod settings;

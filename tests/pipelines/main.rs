//! The program `prunner`, over HTTP, signals and files.
//!
//! The names P1 to P34 and D1 to D20 in the tests are the rows of the list of what the program keeps of version 1.4.0-beta1,
//! and of what it does better. The rules themselves are tested beside them, in `src/pipelines`.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

/// Kills, two servers on one folder, full disks, hostile clients, processes that hide.
mod attacks;
/// pipelines.yml: what is found, read, refused and reloaded.
mod definitions;
/// The server is held against its OpenAPI document.
mod described;
/// A server in a folder of its own, and a client.
mod host;
/// The API: answers, tokens, limits, streams.
mod http;
/// Bodies that are too long.
mod limits;
/// Locks that other servers and CIs want too.
mod locks;
/// What the original has not.
mod more;
/// The recipes of the page.
mod page;
/// Who runs, who waits, and how jobs end.
mod scheduling;
/// Scripts, templates, environments.
mod scripts;
/// Signals, the command line, the log.
mod service;
/// What is on disk.
mod store;
/// Tasks with locks of their own.
mod task_locks;

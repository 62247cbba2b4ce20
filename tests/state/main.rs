//! The program `cicdstatemgr` with real stores: Redis, files, Git repositories; and a server of ours for events.
//!
//! The names C1 to C30 in the tests are the rows of the list of what the program keeps of 1.2.4.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

/// The command line, the environment, exit codes, and what is printed where.
mod command_line;
/// Events and generators.
mod events;
/// The example scripts of the original, told anew.
mod examples;
/// Servers that fail, say odd things or lose answers; disks that are full.
mod faults;
/// Values and templates that want to do harm; sizes; secrets.
mod hostile;
/// A project: a folder with its files, and the program in it.
mod project;
/// The recipes of the page.
mod recipes;
/// What each store has in it, and how it is read again.
mod stores;
/// Many writers at once, and writers that are killed.
mod writers;
/// What is written is what PyYAML reads.
mod yaml;

//! What the house is like: its rooms, its arrows, and what each room may know. Reads manifests, sources and pages, and runs
//! nothing of ours.
#![allow(clippy::unwrap_used)]

/// Which crate may use which, and inside `pool` which module.
mod arrows;
/// What each crate brings into the programs, and which Rust that needs.
mod dependencies;
/// What the pages of the crates say that is not there.
mod invariants;
/// The pages in Markdown: links, headings and contents.
mod pages;
/// Manifests and sources, read.
mod plan;
/// The release and the image: one static program, built in one way.
mod release;
/// Every file of every suite is run.
mod suites;

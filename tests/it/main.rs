//! Tests against real repositories, real servers and the real programs.
#![allow(clippy::unwrap_used)]

mod support;

/// Several at once.
mod races;

/// Generated sequences of operations, read back with plain git.
mod sequences;

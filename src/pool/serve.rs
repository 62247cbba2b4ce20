//! The pools of a branch over HTTP: pages for people, metrics for Prometheus.
//!
//! - [`reader`]: one who looks at the repository, however many people look at the pages.
//! - [`host`]: requests and answers.
//! - `pages`: what is in them. `parts`: what several of them have.
//! - [`actor`]: what is done when somebody presses a button.
//!
//! # Invariants
//!
//! - A page is made of what is in memory: no request waits for the repository, but for those that ask for figures that are
//!   current, and those that change something.
//! - The repository is looked at no more often than `pool status --watch` does it, whoever asks.
//! - What is shown says how old it is. What could not be looked at is never shown as current.
//! - Nothing is changed unless that was allowed by name, and by whoever has the token.

pub mod actor;
pub mod host;
mod pages;
mod parts;
pub mod reader;

pub use actor::Deed;
pub use host::{Settings, serve};

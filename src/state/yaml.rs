//! YAML as PyYAML reads it, where users can tell; and written so that PyYAML reads the same.
//!
//! `yes`, `no`, `on` and `off` are true and false, the last of several keys counts, `<<` merges, anchors are followed. But
//! what looks like an octal number (`012`), a time (`12:30:45`), a date or infinity stays the text that it looks like, and
//! so do keys (`on:`, `80:`).

mod plain;
mod read;
mod write;

pub use read::{YamlError, read};
pub use write::write;

#[cfg(test)]
mod tests;

//! The pages of `prunner` and of `pool serve`, in a real browser: a headless Chromium (`support::browser`).
//!
//! Whatever a test waits for, it waits for a condition. At its end each asks the browser's console: no script failed, and the
//! content security policy had nothing to stop.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

/// Who may see the pages: tokens, links, cookies, forms of others.
mod access;
/// What keeps people out: axe, keyboard, narrow windows, dark colours, no scripts.
mod barriers;
/// Names and output of somebody hostile.
mod hostile;
/// Lists of pipelines and jobs, and a job's own page.
mod lists;
/// Many viewers at once.
mod load;
/// Logs: colours, following, search, links to lines, the file.
mod logs;
/// `pool serve`.
mod pools;
/// A server, a browser that is signed in, and what both need.
mod stage;
/// Starting, canceling, running again.
mod start;
/// Viewers that are no browsers, for many at once.
mod viewers;

//! The web page that `prunner` and `pool serve` show: one look, one set of parts.
//!
//! # Bird's-eye view
//!
//! A host makes [`Page`]s of parts, and answers with them:
//!
//! 1. [`serve()`] takes connections, and hands each request to the host's router;
//! 2. the host finds out who reads ([`session`]), looks at what it knows, and puts parts together;
//! 3. [`Page::html`] puts the frame around them: head, navigation, title and icon;
//! 4. [`answer`] gives it the headers that a page has to have.
//!
//! The script in the page asks the host for events ([`live`]). On each it fetches the same page again, and takes over what
//! is new inside elements that have an `id` and `data-live`. So there is one way to make a page, with and without the
//! script, and a host has nothing to do for live updates but to say that something has changed.
//!
//! # Rooms
//!
//! ```text
//! layout               the frame: head, navigation, title, icon
//!   |
//! part  form  chart  graph  log       what stands in it
//!   |
//! moment               times and durations
//! answer  session  live  serve        HTTP: headers, cookies, events, connections
//! assets               the style sheet, the script and the icons, each under a name with its hash
//! ```
//!
//! Below this crate: `pace`, `terminal`. Above it: `pipelines`, and the program `pool`.
//!
//! # Invariants
//!
//! - It knows no system: no lock, no job, no pipeline. Hosts hand it what to show.
//! - What comes from outside is text: [`maud`] escapes all that is not markup made by a part, and no part makes markup
//!   of a text. The content security policy allows no script and no style but ours.
//! - Everything can be read and done without the script.
//! - Nothing is fetched from elsewhere: all that a page needs is in the program.
//! - No part reads a clock: moments are given, and so is what "now" is.
//!
//! # Decisions
//!
//! **maud, no template language.** A part is a function with types, and a page a call of it: what a part needs is checked
//! by the compiler, as with askama, but there is no second language and no second tree of files. maud escapes by default
//! and pulls in one small crate (`itoa`) besides its macro.
//!
//! **axum, not a neutral layer.** Both hosts speak HTTP with axum and hyper. With their types the headers, cookies, events
//! and connection limits are written and tested once; a neutral layer would be those types again.
//!
//! **Whole pages, compared in the browser.** The script fetches the page anew and takes over what differs. To send
//! parts would save some bytes, and cost each host a second way to make them.

pub mod answer;
pub mod assets;
pub mod chart;
pub mod form;
pub mod graph;
mod layout;
pub mod live;
pub mod log;
pub mod moment;
pub mod part;
mod serve;
pub mod session;

pub use layout::{Mood, Page, Reader, Site};
pub use maud::Markup;
pub use part::Tone;
pub use serve::{Peer, serve};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// A text as a part of a path or of a query, such as the name of a pipeline.
pub fn encoded(text: &str) -> String {
    const KEPT: AsciiSet = NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'_')
        .remove(b'.')
        .remove(b'~');
    // A browser takes dots alone for a folder.
    match text {
        "." => "%2E".to_owned(),
        ".." => "%2E%2E".to_owned(),
        _ => utf8_percent_encode(text, &KEPT).to_string(),
    }
}

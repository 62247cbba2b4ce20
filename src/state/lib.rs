//! A document for each run of a pipeline: what its jobs know, and what they do about it, kept without a lost update.
//!
//! # Bird's-eye view
//!
//! A document is a map. Every change of one is a list of [`operation`]s: a place, and what is done there. A change goes like
//! this:
//!
//! 1. [`sources`] locks the folders of the files that it will write, and reads the newest document from the primary data
//!    source;
//! 2. it applies the list to the document (a pure function);
//! 3. it writes the document, if it is still the one that was read (compare-and-set). Overtaken, it begins again at 1 with
//!    the same list. If an answer was lost, the next reading tells whether the write was made;
//! 4. it writes the copies.
//!
//! Handlers of an [`event`] run once, on a document in memory. What they set is such a list.
//!
//! # Rooms
//!
//! ```text
//! session              what can be done, as one call each
//!   |
//! event  generate      handlers and generators
//! sources              the primary data source and the copies; the loop of a change
//!   |
//! post                 requests, each sent once
//! store                Redis, a file, Git: a register for each document
//! vars                 what templates can name
//! config               the config and the secrets file
//!   |
//! template             Jinja2
//! document  operation  the first content of a document; changes
//! path  merge          JSONPath; files over each other
//! answer  shell        values as they are printed, and as a shell sources them
//!   |
//! yaml  json           documents as text
//! value                values
//! log                  lines for people
//! ```
//!
//! Below this crate: `git` (branches), `net` (requests), `pace`, `terminal`. Above it: the program `cicdstatemgr`.
//!
//! # Invariants
//!
//! - `value`, `json`, `yaml`, `path`, `operation`, `merge`, `document`, `answer`, `shell` and `vars` do no I/O.
//! - Nothing writes to a data source but by compare-and-set; files are replaced in one step, under a lock.
//! - A request is not sent again if the server may have acted on it.
//! - Whatever is read has a bound: of bytes, of values, of depth, of steps.
//! - `file://` is understood in arguments alone, which are read by the caller.
//!
//! # Decisions
//!
//! **A list of changes, and not a document, is what is written.** A document that was made of an older one would take back
//! what others have written since. The list says what was meant, and can be applied to any newer document.
//!
//! **Redis: `WATCH`, and a comment.** A script or a key for a revision would need rights or leave traces that users of the
//! original do not have. The server drops a transaction whose key has changed. For a lost answer that is not enough: an
//! append could be made twice. So a comment at the end of the YAML names the last writes.
//!
//! **The wire of Redis is spoken here.** See `store::redis::wire` for why.
//!
//! **An own reader of paths.** Crates for JSONPath need a `$` and know neither `|` nor `` `parent` ``; the grammar is small.
//! **An own writer of YAML**, and an own meaning of texts without quotes: no crate has those of PyYAML. The parser below
//! it is `granit-parser`, which the reader of the pool's files has as well.

pub mod answer;
pub mod config;
pub mod document;
pub mod event;
mod generate;
pub mod json;
pub mod log;
pub mod merge;
pub mod operation;
pub mod path;
pub mod post;
pub mod session;
pub mod shell;
pub mod sources;
pub mod store;
pub mod template;
pub mod value;
pub mod vars;
pub mod yaml;

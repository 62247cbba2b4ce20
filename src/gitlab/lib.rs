//! A client for GitLab's API: pipelines, jobs, the job of a token; and what runners say to GitLab.
//!
//! - [`Gitlab`]: one server, asked with one token; each call is one question ([`Gitlab::pipelines`], [`Gitlab::job`], …).
//! - [`ApiUrl`], [`Project`], [`Token`]: settings, checked before the first request.
//! - [`Pipeline`], [`Job`], [`Bridge`]: what it answers. [`status`]: its words for what becomes of them.
//! - [`runner`]: registering, asking for jobs, traces, and telling what became of a job.
//! - [`GitlabError`]: why there is no answer. [`Backoff`]: when to ask again.
//!
//! # Invariants
//!
//! - [`Gitlab`] only reads: it makes no requests but GETs. Only what a runner says ([`runner`]) changes anything.
//! - A token goes to one origin: no redirect and no `Link` takes it to another. It is in no error and in no `Debug`.
//! - Nothing is read without a limit: of time for each request, of bytes for each answer, of pages for each list.
//! - A field that is missing, `null` or new breaks no answer, except an id.
//! - It knows no guards, no locks and no machines, and reads no environment.
//!
//! # Decisions
//!
//! **Pages are asked for at our own URL.** Of a `Link` to the next page only the query is taken, and of `X-Next-Page` the
//! number. A GitLab behind a proxy has another name in its links than the one by which we reach it; and a link to
//! another host would get the token.
//!
//! **A refusal is told from a fault.** 401, 403 and 404 are [`GitlabError::Refused`]: GitLab says 404 also for what the
//! token may not see. 408, 429 and 5xx may pass, and so does an answer that is no JSON, which is some proxy's.

mod client;
mod error;
mod page;
mod resources;
pub mod runner;
mod settings;
pub mod status;
mod wait;
mod wire;

pub use client::{Gitlab, Heard};
pub use error::GitlabError;
pub use settings::{ApiUrl, Project, SettingError, Token};
pub use wait::Backoff;
pub use wire::{Bridge, Job, Pipeline, User};

//! The HTTP API: that of the original, with what is new beside it.
//!
//! [`page::serve()`] takes connections; each request goes through `door` (the access log, tokens) to a handler. Handlers read what
//! [`View`] shows and ask the [`Scheduler`]; they change nothing themselves.

#![allow(
    clippy::result_large_err,
    reason = "what a handler cannot do is an answer too, and made once for a request"
)]

mod answer;
mod door;
mod jobs;
mod logs;
mod query;
mod stream;
pub mod wire;

pub(crate) use answer::no_page;
pub(crate) use jobs::LONGEST_NAME;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};

use crate::engine::Scheduler;
use crate::log::Log;
use crate::logs::Logs;
use crate::metrics::Metrics;
use crate::token::Secret;
use crate::view::View;

/// What the handlers work with.
#[derive(Debug, Clone)]
pub struct Api {
    /// Who decides.
    pub scheduler: Scheduler,
    /// What is shown.
    pub view: Arc<View>,
    /// The logs of tasks.
    pub logs: Logs,
    /// What Prometheus reads.
    pub metrics: Arc<Metrics>,
    /// What tokens are signed with.
    pub secret: Secret,
    /// What people read.
    pub log: Log,
}

/// The description of the API, in the form of OpenAPI 3.1.
pub const OPENAPI: &str = include_str!("api/openapi.json");

/// The handlers by method and path.
pub fn router(api: Api) -> Router {
    Router::new()
        .route("/pipelines", get(jobs::pipelines))
        .route("/pipelines/", get(jobs::pipelines))
        .route("/pipelines/jobs", get(jobs::jobs))
        .route("/pipelines/schedule", post(jobs::schedule))
        .route("/job/detail", get(jobs::detail))
        .route("/job/cancel", post(jobs::cancel))
        .route("/job/rerun", post(jobs::rerun))
        .route("/job/logs", get(logs::logs))
        .route("/job/logs/stream", get(stream::logs))
        .route("/events", get(stream::events))
        .route("/metrics", get(jobs::metrics))
        .route("/healthz", get(jobs::health))
        .route("/openapi.json", get(jobs::openapi))
        .merge(crate::pages::router(api.clone()))
        .fallback(answer::no_page)
        .layer(from_fn_with_state(api.clone(), door::pass))
        .with_state(api)
}

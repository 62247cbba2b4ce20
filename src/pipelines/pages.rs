//! The pages that people look at, below `/ui/`: HTML made of what [`View`](crate::view::View) shows, with the parts of `page`.
//!
//! `door` finds out who reads: a token in a cookie of its own, so that the API takes no request that a page of somebody else
//! has made a browser send. Handlers read what is shown and ask the [`Scheduler`](crate::engine::Scheduler), as those of
//! [`crate::api`] do.

#![allow(
    clippy::result_large_err,
    reason = "what a handler cannot do is an answer too, and made once for a request"
)]

mod door;
mod events;
mod job;
mod lists;
mod log;
mod overview;
mod pipeline;
mod start;
mod tail;
mod values;
mod words;

use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};
use page::answer::{self, Answer};
use page::session::{Cookie, Guard};
use page::{Site, part};

use crate::api::Api;
use crate::job::Time;

/// The pages.
const SITE: Site = Site {
    name: "prunner",
    base: "/ui",
    places: &[("Pipelines", "/"), ("Jobs", "/jobs")],
};

/// What keeps who reads them.
const COOKIE: Cookie<'static> = Cookie {
    name: "prunner_ui",
    site: &SITE,
};

/// What the handlers work with.
#[derive(Debug, Clone)]
struct Pages {
    api: Api,
    guard: Guard,
    tails: Arc<tail::Tails>,
    overview: Arc<overview::Kept>,
}

/// The handlers by method and path. Names stand behind the `?`: a path cannot have all of them.
pub(crate) fn router(api: Api) -> Router<Api> {
    let pages = Pages {
        guard: api.secret.guard(),
        tails: Arc::new(tail::Tails::new(api.logs.clone(), api.view.clone())),
        overview: Arc::default(),
        api,
    };
    let private = Router::new()
        .route("/ui/", get(lists::pipelines))
        .route("/ui/pipeline", get(pipeline::pipeline))
        .route("/ui/jobs", get(lists::jobs))
        .route("/ui/job", get(job::job))
        .route("/ui/cancel", post(job::cancel))
        .route("/ui/start", get(start::form).post(start::start))
        .route("/ui/again", get(start::again).post(start::rerun))
        .route("/ui/log", get(log::page))
        .route("/ui/log.txt", get(log::download))
        .route("/ui/events", get(events::events))
        .route("/ui/sign-out", post(door::sign_out))
        .layer(from_fn_with_state(pages.clone(), door::pass));
    let open = Router::new()
        .route("/", get(first))
        .route("/ui", get(async || answer::see_other(&SITE.path("/"))))
        .route(
            "/ui/assets/{name}",
            get(async |Path(name): Path<String>| answer::asset(&name)),
        )
        .route("/ui/sign-in", get(door::sign_in_page).post(door::sign_in))
        .route(
            "/ui/{*rest}",
            get(async || error(StatusCode::NOT_FOUND, "There is no such page")),
        );
    private
        .merge(open)
        .layer(from_fn(answer::secure))
        .with_state(pages)
}

/// The first page, for browsers; the API has nothing there.
async fn first(headers: HeaderMap) -> Answer {
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok());
    match accept.is_some_and(|kinds| kinds.contains("text/html")) {
        true => answer::see_other(&SITE.path("/")),
        false => crate::api::no_page().await,
    }
}

/// A page that says what went wrong.
fn error(status: StatusCode, words: &str) -> Answer {
    let title = status.canonical_reason().unwrap_or("Error");
    answer::html(status, part::error(&SITE, title, words, Time::now().0))
}

//! Answers.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use super::wire;

/// An answer to a request.
pub(crate) type Answer = Response<Body>;

fn with(status: StatusCode, kind: &'static str, body: Body) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

/// A document, with a new line at its end.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    match serde_json::to_vec(value) {
        Ok(mut text) => {
            text.push(b'\n');
            with(status, "application/json", Body::from(text))
        }
        Err(err) => error(StatusCode::INTERNAL_SERVER_ERROR, &err.to_string()),
    }
}

/// A document that comes in pieces.
pub(super) fn json_stream(body: Body) -> Answer {
    with(StatusCode::OK, "application/json", body)
}

/// Events as they come.
pub(super) fn events(body: Body) -> Answer {
    let mut answer = with(StatusCode::OK, "text/event-stream", body);
    answer
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// A text.
pub(super) fn text(status: StatusCode, kind: &'static str, text: impl Into<Body>) -> Answer {
    with(status, kind, text.into())
}

/// What went wrong.
pub(super) fn error(status: StatusCode, words: &str) -> Answer {
    json(
        status,
        &wire::Error {
            error: words.to_owned(),
        },
    )
}

/// There is nothing at this path.
pub(crate) async fn no_page() -> Answer {
    text(
        StatusCode::NOT_FOUND,
        "text/plain; charset=utf-8",
        "404 page not found\n",
    )
}

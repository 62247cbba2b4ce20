//! What tells an open page that something has changed: server-sent events.
//!
//! The page connects to its `data-events`. `changed` makes the script fetch the page again; `lines` adds to a log
//! ([`crate::log`]). Where no events come through, the script fetches the page every few seconds.
//!
//! Source: the HTML standard, "Server-sent events".

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use futures_util::stream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::answer::{Answer, content};

/// How long nothing is said at most: a proxy may take a silent connection for a dead one.
pub const SILENCE: Duration = Duration::from_secs(15);
/// The least time between two events: what changes often is not shown more often.
pub const PAUSE: Duration = Duration::from_millis(500);

/// What is sent when nothing is to be said.
pub const NOTHING: &str = ": nothing new\n\n";

/// An event. No line break of what it says can end it.
pub fn event(kind: &str, data: &str) -> String {
    let mut text = format!("event: {kind}\n");
    for line in data.split(['\n', '\r']) {
        text += &format!("data: {line}\n");
    }
    text + "\n"
}

/// An answer of events as they come.
pub fn answer(body: Body) -> Answer {
    let mut answer = content(StatusCode::OK, "text/event-stream", body);
    let headers = answer.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // nginx would keep them back otherwise.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    answer
}

/// Tells of changes: `wake` says that there may be one, `state` what a page would show now, as a number that differs when
/// the page does. `known` is the number of the page as it was made. Ends when the page has nothing more to show (`None`).
pub fn changes(
    wake: watch::Receiver<u64>,
    known: Option<u64>,
    state: impl FnMut() -> Option<u64> + Send + 'static,
) -> Answer {
    let start = Changes {
        wake,
        known,
        state,
        is_new: true,
        is_late: false,
    };
    answer(Body::from_stream(stream::unfold(
        start,
        async |mut changes| {
            let piece = changes.next().await?;
            Some((Ok::<_, Infallible>(piece), changes))
        },
    )))
}

struct Changes<S> {
    wake: watch::Receiver<u64>,
    known: Option<u64>,
    state: S,
    is_new: bool,
    /// Whether an event was the last piece.
    is_late: bool,
}

impl<S: FnMut() -> Option<u64>> Changes<S> {
    async fn next(&mut self) -> Option<String> {
        // The head of the answer goes out with the first piece.
        if std::mem::take(&mut self.is_new) {
            return Some(": begins\n\n".to_owned());
        }
        // What happens right after an event waits for a moment.
        if std::mem::take(&mut self.is_late) {
            sleep(PAUSE).await;
        }
        loop {
            self.wake.mark_unchanged();
            let now = (self.state)()?;
            if self.known.replace(now) != Some(now) {
                self.is_late = true;
                return Some(event("changed", &now.to_string()));
            }
            match timeout(SILENCE, self.wake.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return None,
                Err(_) => return Some(NOTHING.to_owned()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_break_ends_an_event() {
        let text = event("lines", "a\n\nevent: evil\r\ndata: b");
        assert_eq!(
            text,
            "event: lines\ndata: a\ndata: \ndata: event: evil\ndata: \ndata: data: b\n\n"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_hears_of_what_is_new_and_of_nothing_else() {
        let (tell, wake) = watch::channel(0);
        let mut changes = Changes {
            wake: wake.clone(),
            known: Some(0),
            state: move || (*wake.borrow() < 3).then(|| *wake.borrow() / 2),
            is_new: true,
            is_late: false,
        };
        assert_eq!(changes.next().await.as_deref(), Some(": begins\n\n"));
        // Another number, and the same page.
        tell.send(1).expect("somebody listens");
        assert_eq!(changes.next().await.as_deref(), Some(NOTHING));
        tell.send(2).expect("somebody listens");
        assert_eq!(
            changes.next().await.as_deref(),
            Some("event: changed\ndata: 1\n\n")
        );
        tell.send(3).expect("somebody listens");
        assert_eq!(changes.next().await, None);
    }
}

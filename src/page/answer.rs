//! Answers to requests, with the headers that pages have to have, and the forms that come with requests.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use axum::middleware::Next;

use crate::assets;

/// An answer to a request.
pub type Answer = Response<Body>;

/// The longest form.
const LONGEST: usize = 1 << 20;
/// For how long a form may take to come.
const SLOWEST: Duration = Duration::from_secs(30);

/// Nothing but what is ours: no script or style in the page itself, nothing from elsewhere, no frame around it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// What all answers of a site have. `same-origin`, since without a referrer a browser hides the origin of a form too.
const HEADERS: [(HeaderName, HeaderValue); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(POLICY),
    ),
    (
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    ),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (
        header::REFERRER_POLICY,
        HeaderValue::from_static("same-origin"),
    ),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    ),
];

/// Adds what all answers of a site have: a layer around its router.
pub async fn secure(request: Request, next: Next) -> Answer {
    let mut answer = next.run(request).await;
    let headers = answer.headers_mut();
    headers.extend(HEADERS);
    // What somebody may see is not kept for somebody else.
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    answer
}

/// An answer of some kind.
pub fn content(status: StatusCode, kind: &'static str, content: impl Into<Body>) -> Answer {
    let mut answer = Response::new(content.into());
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

/// A page.
pub fn html(status: StatusCode, html: String) -> Answer {
    content(status, "text/html; charset=utf-8", html)
}

/// "Go on there", after a form: to load the page again does not send the form again.
pub fn see_other(path: &str) -> Answer {
    let mut answer = content(
        StatusCode::SEE_OTHER,
        "text/plain; charset=utf-8",
        Body::empty(),
    );
    match HeaderValue::from_str(path) {
        Ok(path) => {
            answer.headers_mut().insert(header::LOCATION, path);
        }
        Err(_) => *answer.status_mut() = StatusCode::BAD_REQUEST,
    }
    answer
}

/// The asset of this name.
pub fn asset(name: &str) -> Answer {
    let Some(asset) = assets::find(name) else {
        let words = "There is no such file\n";
        return content(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", words);
    };
    let mut answer = content(StatusCode::OK, asset.kind, asset.content);
    answer.headers_mut().insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("public, max-age=31536000, immutable"),
    );
    answer
}

/// What a form has sent, or what is behind the `?` of a path: names with values, in their order.
#[derive(Debug, Clone, Default)]
pub struct Sent(Vec<(String, String)>);

impl Sent {
    /// Reads the form of `application/x-www-form-urlencoded`.
    pub fn parse(text: &[u8]) -> Sent {
        Sent(url::form_urlencoded::parse(text).into_owned().collect())
    }

    /// The value of a name; the first of several.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter()
            .find(|(one, _)| *one == name)
            .map(|(_, value)| value)
    }

    /// The value of a name, where there is one that is not empty.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// All of it.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&name[..], &value[..]))
    }
}

/// Reads the form that comes with a request.
///
/// # Errors
/// The status of the answer, and words for it.
pub async fn form(headers: &HeaderMap, body: Body) -> Result<Sent, (StatusCode, &'static str)> {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    let is_form = kind.is_some_and(|kind| {
        let kind = kind.split(';').next().unwrap_or_default();
        kind.trim()
            .eq_ignore_ascii_case("application/x-www-form-urlencoded")
    });
    if !is_form {
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, "This is no form"));
    }
    match tokio::time::timeout(SLOWEST, to_bytes(body, LONGEST)).await {
        Ok(Ok(bytes)) => Ok(Sent::parse(&bytes)),
        Ok(Err(_)) => Err((
            StatusCode::PAYLOAD_TOO_LARGE,
            "The form is too long, or was cut off",
        )),
        Err(_) => Err((StatusCode::REQUEST_TIMEOUT, "The form did not come in time")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_is_read_in_its_order() {
        let sent = Sent::parse(b"a=1+2&b=%3Cx%3E&a=3&c");
        assert_eq!(sent.get("a"), Some("1 2"));
        assert_eq!(sent.get("b"), Some("<x>"));
        assert_eq!((sent.get("c"), sent.text("c")), (Some(""), None));
        assert_eq!(sent.iter().count(), 4);
    }

    #[test]
    fn nobody_is_sent_to_a_path_that_is_no_header() {
        assert_eq!(see_other("/ui/").status(), StatusCode::SEE_OTHER);
        assert_eq!(see_other("/ui/\r\nX: y").status(), StatusCode::BAD_REQUEST);
    }
}

//! What every request goes through: the access log, and the token.

use std::time::Instant;

use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use page::Peer;

use super::Api;
use super::answer::{Answer, text};
use crate::job::Time;
use crate::log::Level;
use crate::token::{Claims, Denied};

/// Lets a request pass to its handler.
pub(super) async fn pass(State(api): State<Api>, mut request: Request, next: Next) -> Answer {
    let begun = Instant::now();
    let about = About::of(&request);
    let fields = about.fields();
    let level = match about.path.as_str() {
        // Those who ask every few seconds would fill the log.
        "/healthz" | "/metrics" => Level::Debug,
        _ => Level::Info,
    };
    api.log.say(level, "request started", &fields);
    let answer = match claims(&api, &request) {
        Err(denied) => text(
            StatusCode::UNAUTHORIZED,
            "text/plain; charset=utf-8",
            format!("{denied}\n"),
        ),
        Ok(claims) => {
            request.extensions_mut().insert(claims);
            answer(request, next).await
        }
    };
    let status = answer.status().as_u16().to_string();
    let length = answer
        .body()
        .size_hint()
        .exact()
        .unwrap_or_default()
        .to_string();
    let took = format!("{:.3}", begun.elapsed().as_secs_f64() * 1000.0);
    let mut fields = fields;
    fields.extend([
        ("respStatus", &status[..]),
        ("respBytesLength", &length),
        ("respElapsedMs", &took),
    ]);
    api.log.say(level, "request complete", &fields);
    answer
}

/// The handler's answer. HEAD is no method of any, as with the original.
async fn answer(request: Request, next: Next) -> Answer {
    let is_head = request.method() == Method::HEAD;
    let mut answer = next.run(request).await;
    if is_head && answer.status() != StatusCode::NOT_FOUND {
        answer = Answer::new(Body::empty());
        *answer.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    }
    if answer.status() == StatusCode::METHOD_NOT_ALLOWED {
        let allowed = match answer
            .headers()
            .get(header::ALLOW)
            .and_then(|methods| methods.to_str().ok())
        {
            Some(methods) if methods.contains("POST") => "POST",
            _ => "GET",
        };
        answer
            .headers_mut()
            .insert(header::ALLOW, HeaderValue::from_static(allowed));
    }
    answer
}

/// Who asks. Paths that need no token are open to anybody.
fn claims(api: &Api, request: &Request) -> Result<Claims, Denied> {
    let path = request.uri().path();
    let is_below = |start: &str| {
        path == start
            || path
                .strip_prefix(start)
                .is_some_and(|rest| rest.starts_with('/'))
    };
    if !["/pipelines", "/job", "/events", "/metrics"]
        .into_iter()
        .any(is_below)
    {
        return Ok(Claims::default());
    }
    let token = token(request.headers()).ok_or(Denied::Missing)?;
    api.secret.verify(&token, Time::now().0.div_euclid(1000))
}

fn token(headers: &HeaderMap) -> Option<String> {
    let bearer = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme
                .eq_ignore_ascii_case("bearer")
                .then(|| token.trim().to_owned())
        });
    let cookie = || {
        let all = headers
            .get_all(header::COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok());
        let mut cookies = all.flat_map(|value| value.split(';'));
        cookies.find_map(|cookie| {
            Some(
                cookie
                    .trim()
                    .strip_prefix("jwt=")?
                    .trim_matches('"')
                    .to_owned(),
            )
        })
    };
    bearer.or_else(cookie).filter(|token| !token.is_empty())
}

/// What of a request is logged. The query is not: nothing secret belongs there, but some client puts it there.
struct About {
    method: String,
    path: String,
    host: String,
    proto: String,
    remote: String,
    agent: String,
}

impl About {
    fn of(request: &Request) -> About {
        let header = |name| {
            let value = request
                .headers()
                .get(name)
                .map(|value: &HeaderValue| value.as_bytes());
            String::from_utf8_lossy(value.unwrap_or_default()).into_owned()
        };
        let peer = request
            .extensions()
            .get::<Peer>()
            .map(|peer| peer.0.to_string());
        About {
            method: request.method().to_string(),
            path: request.uri().path().to_owned(),
            host: header(header::HOST),
            proto: format!("{:?}", request.version()),
            remote: peer.unwrap_or_default(),
            agent: header(header::USER_AGENT),
        }
    }

    fn fields(&self) -> Vec<(&str, &str)> {
        vec![
            ("component", "api"),
            ("httpMethod", &self.method),
            ("httpPath", &self.path),
            ("httpHost", &self.host),
            ("httpProto", &self.proto),
            ("httpScheme", "http"),
            ("remoteAddr", &self.remote),
            ("userAgent", &self.agent),
        ]
    }
}

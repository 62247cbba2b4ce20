//! Requests to Clever Cloud's API, and what its errors mean.

use std::time::Duration;

use net::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use net::http::{Client, Method, StatusCode, broke, retry_after};
use net::{NetError, Route, without_credentials};
use pace::Fault;
use serde_json::Value;
use terminal::one_line;
use tokio::time::timeout;
use url::Url;

use super::super::{Code, Kind, ProviderError};
use super::bearer;
use super::tenants::Organisation;

/// How long one request may take. Making an app takes a second or two.
const LIMIT: Duration = Duration::from_secs(30);

/// The longest answer: the list of all apps of an organisation.
const MOST_BYTES: usize = 32 * 1024 * 1024;

/// How the API is told who asks.
const AGENT: &str = concat!("heptapod-paas-runner/", env!("CARGO_PKG_VERSION"));

pub(super) struct Api {
    url: Url,
    client: Client,
}

impl Api {
    pub fn new(url: &Url, route: &Route) -> Result<Api, NetError> {
        Ok(Api {
            url: url.clone(),
            client: Client::new(url, route, AGENT)?,
        })
    }

    /// Asks for what anyone may see.
    pub async fn get(
        &self,
        action: &'static str,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<Value, ProviderError> {
        let mut url = self.below(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let asked = Asked {
            action,
            method: Method::GET,
            url,
            body: None,
            owner: None,
        };
        self.ask(asked).await
    }

    /// Asks for what an organisation may see.
    pub async fn get_of(
        &self,
        action: &'static str,
        path: &[&str],
        owner: &Organisation,
    ) -> Result<Value, ProviderError> {
        self.change(action, Method::GET, path, owner, None).await
    }

    /// Changes what belongs to an organisation.
    pub async fn change(
        &self,
        action: &'static str,
        method: Method,
        path: &[&str],
        owner: &Organisation,
        body: Option<&Value>,
    ) -> Result<Value, ProviderError> {
        let asked = Asked {
            action,
            method,
            url: self.below(path),
            body,
            owner: Some(owner),
        };
        self.ask(asked).await
    }

    fn below(&self, path: &[&str]) -> Url {
        let mut url = self.url.clone();
        // Never fails: an http URL has a path.
        if let Ok(mut parts) = url.path_segments_mut() {
            parts.pop_if_empty().extend(path);
        }
        url
    }

    async fn ask(&self, asked: Asked<'_>) -> Result<Value, ProviderError> {
        let action = asked.action;
        match timeout(LIMIT, self.ask_once(asked)).await {
            Ok(answer) => answer,
            Err(_) => Err(ProviderError::new(
                action,
                Kind::Unknown,
                format!(
                    "no whole answer within {}",
                    humantime::format_duration(LIMIT)
                ),
            )),
        }
    }

    async fn ask_once(&self, asked: Asked<'_>) -> Result<Value, ProviderError> {
        let Asked {
            action,
            method,
            url,
            body,
            owner,
        } = asked;
        let at = without_credentials(&url);
        let failed = |err: NetError| of_net(action, &err);
        let mut request = self.client.request(method, url.clone()).map_err(failed)?;
        if let Some(owner) = owner {
            let value = HeaderValue::from_str(&bearer(owner.token()));
            let mut value = value.map_err(|_| {
                let details = "the token of the organisation cannot be sent in a header";
                ProviderError::new(action, Kind::Refused, details)
            })?;
            value.set_sensitive(true);
            request = request
                .header(AUTHORIZATION, value)
                .header(CONTENT_TYPE, "application/json");
        }
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let response = self.client.send(request, &url, &at).await.map_err(failed)?;
        let (status, wait) = (response.status(), retry_after(&response));
        let body = self.client.body(response, &url, &at, MOST_BYTES).await;
        if status.is_success() {
            let body = body.map_err(failed)?;
            if body.iter().all(u8::is_ascii_whitespace) {
                return Ok(Value::Null);
            }
            return serde_json::from_slice(&body)
                .map_err(|_| ProviderError::new(action, Kind::Unknown, "the answer is not JSON"));
        }
        // What it says is of use, and no more.
        Err(refused(action, status, wait, &body.unwrap_or_default()))
    }
}

struct Asked<'a> {
    action: &'static str,
    method: Method,
    url: Url,
    body: Option<&'a Value>,
    owner: Option<&'a Organisation>,
}

/// What an answer that is no success means.
fn refused(
    action: &'static str,
    status: StatusCode,
    wait: Option<Duration>,
    body: &[u8],
) -> ProviderError {
    const SHOWN: usize = 500;
    let said: Option<Value> = serde_json::from_slice(body).ok();
    let of = |key: &str| {
        let value = said.as_ref()?.get(key)?;
        let text = value.as_str().map(str::to_owned);
        Some(text.unwrap_or_else(|| value.to_string()))
    };
    let (code, details) = match of("type").as_deref() {
        Some("error") => (of("id"), of("message").unwrap_or_default()),
        _ => (None, String::from_utf8_lossy(body).into_owned()),
    };
    let details: String = one_line(details.trim()).chars().take(SHOWN).collect();
    let kind = match status {
        _ if is_about_room(&details) && !status.is_redirection() => Kind::NoRoom,
        StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::TOO_MANY_REQUESTS
        | StatusCode::REQUEST_TIMEOUT => Kind::Passing,
        _ if status.is_server_error() => Kind::Unknown,
        _ => Kind::Refused,
    };
    ProviderError {
        action,
        code: Code(code),
        transport: Code(Some(status.as_u16().to_string())),
        details,
        kind,
        wait,
    }
}

/// Whether words say that there is no room for another machine.
fn is_about_room(words: &str) -> bool {
    let words = words.to_ascii_lowercase();
    ["capacity", "no room", "not enough resources"]
        .iter()
        .any(|sign| words.contains(sign))
}

/// What went wrong, with the names of this program's settings.
pub(super) fn said(err: &dyn std::error::Error) -> String {
    terminal::chain(err).replace("`source.ca_cert`", "`SSL_CERT_FILE`")
}

/// What an error of the way to a server means.
pub(super) fn of_net(action: &'static str, err: &NetError) -> ProviderError {
    let kind = if err.nobody_there().is_some() {
        Kind::Passing
    } else if err.is_transient() || broke(err) {
        Kind::Unknown
    } else {
        Kind::Refused
    };
    ProviderError {
        wait: err.wait(),
        ..ProviderError::new(action, kind, said(err))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(status: u16, body: &str) -> ProviderError {
        let status = StatusCode::from_u16(status).expect("a status");
        refused("create-app", status, None, body.as_bytes())
    }

    #[test]
    fn an_error_is_read_in_each_of_the_forms_that_it_comes_in() {
        let standard = read(
            400,
            r#"{"id": 4014, "message": "bad\nzone", "type": "error"}"#,
        );
        assert_eq!(
            standard.to_string(),
            "(action=create-app, code=4014, transport code=400, details=bad\\nzone)"
        );
        let other = read(400, r#"{"oops": 1}"#);
        assert_eq!(
            other.to_string(),
            r#"(action=create-app, code=None, transport code=400, details={"oops": 1})"#
        );
        let text = read(500, "<html>");
        assert_eq!(
            text.to_string(),
            "(action=create-app, code=None, transport code=500, details=<html>)"
        );
    }

    #[test]
    fn only_what_is_certain_counts_as_not_done() {
        for (status, body, kind) in [
            (400, "", Kind::Refused),
            (401, "", Kind::Refused),
            (404, "", Kind::Refused),
            (429, "", Kind::Passing),
            (503, "", Kind::Passing),
            (500, "", Kind::Unknown),
            (502, "", Kind::Unknown),
            (504, "", Kind::Unknown),
            (409, "There is no capacity left in this zone", Kind::NoRoom),
        ] {
            assert_eq!(read(status, body).kind, kind, "{status}");
        }
    }
}

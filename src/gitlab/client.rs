//! One server, asked with one token.

use std::collections::HashSet;
use std::io::Read;
use std::time::{Duration, SystemTime};

use flate2::read::GzDecoder;
use net::http::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, DATE, HeaderMap, RETRY_AFTER,
};
use net::http::{Client, Method, Redirect, Response, StatusCode, redirect};
use net::{AGENT, NetError, Route, without_credentials};
use serde::de::DeserializeOwned;
use terminal::one_line;
use tokio::time::timeout;
use url::Url;

use crate::{ApiUrl, GitlabError, Token, page};

/// How long one request may take in all.
const LIMIT: Duration = Duration::from_secs(60);

/// The longest answer: a page of 100 jobs has some hundred kilobytes.
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// How many pages of a list are read; GitLab itself ends lists by offset at 50,000 items.
const MOST_PAGES: usize = 100;

/// A server's wish to be left alone is followed for so long at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// One GitLab, asked with one token.
#[derive(Debug)]
pub struct Gitlab {
    client: Client,
    api: ApiUrl,
    token: Token,
    limit: Duration,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Heard<T> {
    /// What was asked for.
    pub value: T,
    /// What time it is by the server's clock.
    pub date: Option<SystemTime>,
}

/// The whole of one answer.
struct Reply {
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Gitlab {
    /// Asks the API at `api`, reached by `route`.
    ///
    /// # Errors
    /// [`NetError`] when the settings of the route cannot be used.
    pub fn new(api: &ApiUrl, token: Token, route: &Route) -> Result<Gitlab, NetError> {
        let client = Client::new(api.url(), route, AGENT)?;
        Ok(Gitlab::with(client, api, token))
    }

    /// Asks the API at `api` by a client that is there already.
    pub fn with(client: Client, api: &ApiUrl, token: Token) -> Gitlab {
        let limit = LIMIT.min(client.route().limits.attempt);
        Gitlab {
            client,
            api: api.clone(),
            token,
            limit,
        }
    }

    /// The same, with another limit for each request.
    #[must_use]
    pub fn within(self, limit: Duration) -> Gitlab {
        Gitlab { limit, ..self }
    }

    /// Where it is.
    pub fn api(&self) -> &ApiUrl {
        &self.api
    }

    /// Asks for one thing below the API's URL.
    pub(crate) async fn one<T: DeserializeOwned>(
        &self,
        path: &[&str],
    ) -> Result<Heard<T>, GitlabError> {
        let url = self.api.below(path);
        let reply = self.get(&url).await?;
        Ok(Heard {
            value: reply.json(&url)?,
            date: reply.date(),
        })
    }

    /// Asks for a list below the API's URL, page by page to the end, or to `pages` of them.
    pub(crate) async fn list<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        pages: Option<usize>,
    ) -> Result<Heard<Vec<T>>, GitlabError> {
        let mut url = self.api.below(path);
        url.query_pairs_mut()
            .extend_pairs(query)
            .append_pair("per_page", "100");
        let at = without_credentials(&url);
        let mut items = Vec::new();
        let mut date = None;
        let mut seen = HashSet::new();
        loop {
            let reply = self.get(&url).await?;
            items.extend(reply.json::<Vec<T>>(&url)?);
            // How old the whole of it is, its first page says.
            date = date.or(reply.date());
            seen.insert(url.clone());
            let enough = pages.is_some_and(|pages| seen.len() >= pages);
            match page::next(&reply.headers, &url).filter(|_| !enough) {
                None => return Ok(Heard { value: items, date }),
                Some(next) if seen.contains(&next) => {
                    let found = "a list whose pages go in a circle".to_owned();
                    return Err(GitlabError::Odd { at, found });
                }
                Some(_) if seen.len() >= MOST_PAGES => {
                    let found = format!("a list of more than {MOST_PAGES} pages");
                    return Err(GitlabError::Odd { at, found });
                }
                Some(next) => url = next,
            }
        }
    }

    /// Gets what is at `url`, and follows redirects within its origin.
    async fn get(&self, url: &Url) -> Result<Reply, GitlabError> {
        let at = without_credentials(url);
        match timeout(self.limit, self.follow(url, &at)).await {
            Ok(reply) => reply,
            Err(_) => Err(GitlabError::Slow {
                at,
                limit: self.limit,
            }),
        }
    }

    async fn follow(&self, url: &Url, at: &str) -> Result<Reply, GitlabError> {
        let mut url = url.clone();
        let mut n = 0;
        loop {
            let mut request = self
                .client
                .request(Method::GET, url.clone())?
                .header(ACCEPT, "application/json")
                .header(ACCEPT_ENCODING, "gzip");
            if let Some((name, value)) = self.token.header() {
                request = request.header(name, value);
            }
            let response = self.client.send(request, &url, at).await?;
            if !response.status().is_redirection() {
                return self.read(response, &url, at).await;
            }
            n += 1;
            let is_secret = self.token != Token::None;
            match redirect(&url, &response, n, is_secret) {
                Redirect::To(to) => url = to,
                Redirect::Elsewhere(to) => {
                    return Err(GitlabError::Redirected {
                        at: at.to_owned(),
                        to: one_line(&to.origin().ascii_serialization()),
                    });
                }
                Redirect::Nowhere => {
                    return Err(GitlabError::Odd {
                        at: at.to_owned(),
                        found: "a redirect to nowhere".to_owned(),
                    });
                }
            }
        }
    }

    async fn read(&self, response: Response, url: &Url, at: &str) -> Result<Reply, GitlabError> {
        let (status, headers) = (response.status(), response.headers().clone());
        let at = || at.to_owned();
        match status {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => {
                return Err(GitlabError::Refused {
                    at: at(),
                    who: self.token.called(),
                    status: status.as_u16(),
                });
            }
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
                return Err(failed(at(), status, &headers));
            }
            _ if status.is_server_error() => return Err(failed(at(), status, &headers)),
            _ => {
                return Err(GitlabError::Unexpected {
                    at: at(),
                    status: status.as_u16(),
                });
            }
        }
        let body = self.client.body(response, url, &at(), MOST_BYTES).await?;
        let is_packed = headers
            .get(CONTENT_ENCODING)
            .is_some_and(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"gzip"));
        let body = match is_packed {
            true => unpacked(&body).ok_or_else(|| GitlabError::Odd {
                at: at(),
                found: format!("what is not gzip, or more than {MOST_BYTES} bytes of it"),
            })?,
            false => body,
        };
        Ok(Reply { headers, body })
    }
}

fn failed(at: String, status: StatusCode, headers: &HeaderMap) -> GitlabError {
    GitlabError::Failed {
        at,
        status: status.as_u16(),
        retry_after: retry_after(headers),
    }
}

/// How long a server asks to be left alone.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let after = headers.get(RETRY_AFTER)?.to_str().ok()?;
    pause(after, date(headers))
}

/// Reads a `Retry-After`: seconds, or a moment by the server's clock.
fn pause(after: &str, now: Option<SystemTime>) -> Option<Duration> {
    let after = after.trim();
    let pause = match after.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => http_date(after)?.duration_since(now?).unwrap_or_default(),
    };
    Some(pause.min(LONGEST_PAUSE))
}

/// Unpacks a body, of which no more is taken than of one that is not packed.
fn unpacked(body: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    let most = u64::try_from(MOST_BYTES).ok()?;
    let mut from = GzDecoder::new(body).take(most + 1);
    from.read_to_end(&mut plain).ok()?;
    (plain.len() <= MOST_BYTES).then_some(plain)
}

fn date(headers: &HeaderMap) -> Option<SystemTime> {
    http_date(headers.get(DATE)?.to_str().ok()?)
}

/// Reads a date such as `Fri, 27 Nov 2026 10:55:08 GMT`.
///
/// Source: RFC 9110, 5.6.7, the form that servers must send.
fn http_date(text: &str) -> Option<SystemTime> {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let mut words = text.split_whitespace().skip(1);
    let (day, month) = (words.next()?, words.next()?);
    let (year, clock) = (words.next()?, words.next()?);
    let month = MONTHS
        .find(month)
        .filter(|at| at % 3 == 0 && month.len() == 3)?
        / 3
        + 1;
    humantime::parse_rfc3339(&format!("{year}-{month:02}-{day:0>2}T{clock}Z")).ok()
}

impl Reply {
    fn date(&self) -> Option<SystemTime> {
        date(&self.headers)
    }

    fn json<T: DeserializeOwned>(&self, url: &Url) -> Result<T, GitlabError> {
        serde_json::from_slice(&self.body).map_err(|_| {
            let kind = self.headers.get(CONTENT_TYPE);
            let kind = kind
                .and_then(|kind| kind.to_str().ok())
                .unwrap_or("no type");
            let kind: String = kind.chars().take(60).collect();
            GitlabError::Odd {
                at: without_credentials(url),
                found: format!("other than JSON of the kind ({})", one_line(&kind)),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_given_in_seconds_or_as_a_moment_and_is_no_longer_than_an_hour() {
        let now = http_date("Fri, 27 Nov 2026 10:55:08 GMT");
        assert_eq!(now, terminal::time::parse("2026-11-27T10:55:08Z"));
        for (after, expected) in [
            ("7", Some(7)),
            ("Fri, 27 Nov 2026 10:56:08 GMT", Some(60)),
            ("Fri, 27 Nov 2026 10:54:08 GMT", Some(0)),
            ("999999999999", Some(3600)),
            ("soon", None),
            ("-1", None),
        ] {
            assert_eq!(
                pause(after, now),
                expected.map(Duration::from_secs),
                "{after}"
            );
        }
        assert_eq!(pause("Fri, 27 Nov 2026 10:56:08 GMT", None), None);
    }
}

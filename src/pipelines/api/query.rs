//! What is behind the `?` of a path, and what is in a body.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use serde_json::value::RawValue;

use super::Api;
use super::answer::{Answer, error};
use crate::job::{Job, JobId};
use crate::token::Claims;

/// The longest body.
const LONGEST: usize = 1 << 20;
/// For how long a body may take to come.
const SLOWEST: Duration = Duration::from_secs(30);

/// The words behind the `?`.
pub(super) struct Query(BTreeMap<String, String>);

impl Query {
    pub(super) fn of(uri: &Uri) -> Query {
        let pairs = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
        // The first of several of one name, as with the original.
        let mut all = BTreeMap::new();
        for (name, value) in pairs.into_owned() {
            all.entry(name).or_insert(value);
        }
        Query(all)
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|text| !text.is_empty())
    }

    /// A number that may be missing.
    pub(super) fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Answer> {
        match self.text(name).map(str::parse) {
            None => Ok(None),
            Some(Ok(number)) => Ok(Some(number)),
            Some(Err(_)) => Err(error(
                StatusCode::BAD_REQUEST,
                &format!("Invalid {name}: it is no whole number"),
            )),
        }
    }

    /// The id of a job.
    pub(super) fn id(&self) -> Result<JobId, Answer> {
        let id = self.text("id").and_then(|id| JobId::try_parse(id).ok());
        id.ok_or_else(|| error(StatusCode::BAD_REQUEST, "Invalid job id"))
    }

    /// The job of the id, if who asks may see it.
    pub(super) fn job(&self, api: &Api, claims: &Claims) -> Result<Arc<Job>, Answer> {
        let id = self.id()?;
        let job = api
            .view
            .look()
            .job(id)
            .filter(|job| claims.may_see(&job.pipeline))
            .cloned();
        job.ok_or_else(|| error(StatusCode::NOT_FOUND, "Job not found"))
    }
}

/// Reads a body as a whole.
pub(super) async fn body(headers: &HeaderMap, body: Body) -> Result<Vec<u8>, Answer> {
    let too_long = || {
        let words = format!("The body is longer than {LONGEST} bytes");
        let mut answer = error(StatusCode::PAYLOAD_TOO_LARGE, &words);
        // What is left of it is not read.
        answer.headers_mut().insert(
            header::CONNECTION,
            axum::http::HeaderValue::from_static("close"),
        );
        answer
    };
    let length = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > LONGEST as u64) {
        return Err(too_long());
    }
    match tokio::time::timeout(SLOWEST, to_bytes(body, LONGEST)).await {
        Ok(Ok(bytes)) => Ok(bytes.to_vec()),
        Ok(Err(err)) => {
            let told = terminal::chain(&err);
            match told.contains("length limit exceeded") {
                true => Err(too_long()),
                false => Err(error(
                    StatusCode::BAD_REQUEST,
                    &format!("Error reading the body: {told}"),
                )),
            }
        }
        Err(_) => Err(error(
            StatusCode::REQUEST_TIMEOUT,
            "The body did not come in time",
        )),
    }
}

/// The fields of an object; what is behind it is ignored, and so is the case of their names.
pub(super) struct Fields(BTreeMap<String, Box<RawValue>>);

impl Fields {
    pub(super) fn read(bytes: &[u8]) -> Result<Fields, Answer> {
        let mut values = serde_json::Deserializer::from_slice(bytes)
            .into_iter::<Option<BTreeMap<String, Box<RawValue>>>>();
        let fields = match values.next() {
            None => return Err(undecodable("EOF")),
            Some(Err(err)) => return Err(undecodable(&err.to_string())),
            Some(Ok(fields)) => fields.unwrap_or_default(),
        };
        let lower = fields
            .into_iter()
            .map(|(name, value)| (name.to_lowercase(), value));
        Ok(Fields(lower.collect()))
    }

    /// A field that may be missing or null.
    pub(super) fn get<T: serde::de::DeserializeOwned>(
        &self,
        name: &str,
    ) -> Result<Option<T>, Answer> {
        let Some(raw) = self.0.get(&name.to_lowercase()) else {
            return Ok(None);
        };
        serde_json::from_str(raw.get()).map_err(|err| undecodable(&format!("{name}: {err}")))
    }
}

fn undecodable(words: &str) -> Answer {
    error(
        StatusCode::BAD_REQUEST,
        &format!("Error decoding JSON: {words}"),
    )
}

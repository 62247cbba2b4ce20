//! Somebody is told of a job by a POST.

use std::time::Duration;

use net::http::{Client, Method};
use net::{Proxies, Route};
use url::Url;

use crate::api::wire;
use crate::job::Job;
use crate::log::Log;
use crate::rules::News;

/// How long to wait before it is tried again.
const PAUSES: [Duration; 3] = [
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(30),
];
/// How much of an answer is read.
const MOST: usize = 64 * 1024;

/// Tells of a job, and tries again for half a minute. A failure is logged; nothing else depends on it.
pub async fn tell(url: Url, job: &Job, news: News, proxies: &Proxies, log: Log) {
    let event = match news {
        News::Start => "start",
        News::Failure => "failure",
        News::Late => "late",
    };
    let Ok(body) = serde_json::to_vec(&wire::Told {
        event,
        job: wire::Job::of(job),
    }) else {
        return;
    };
    // A token may be in its path or its query.
    let shown = url.host_str().unwrap_or_default().to_owned();
    let mut pauses = PAUSES.iter();
    loop {
        let Err(err) = post(&url, &shown, body.clone(), proxies).await else {
            return;
        };
        let id = job.id.to_string();
        let fields = [
            ("jobID", id.as_str()),
            ("event", event),
            ("host", &shown),
            ("error", &err),
        ];
        match pauses.next() {
            Some(pause) => {
                log.warn("Webhook could not be called; trying again", &fields);
                tokio::time::sleep(*pause).await;
            }
            None => {
                log.warn("Webhook could not be called; giving up", &fields);
                return;
            }
        }
    }
}

async fn post(url: &Url, shown: &str, body: Vec<u8>, proxies: &Proxies) -> Result<(), String> {
    let route = Route {
        proxy: proxies.proxy_for(url).map_err(|err| err.to_string())?,
        ..Route::default()
    };
    let client = Client::new(url, &route, "prunner").map_err(|err| terminal::chain(&err))?;
    let request = client
        .request(Method::POST, url.clone())
        .map_err(|err| terminal::chain(&err))?;
    let request = request
        .header("content-type", "application/json")
        .body(body);
    let response = client
        .send(request, url, shown)
        .await
        .map_err(|err| terminal::chain(&err))?;
    let status = response.status();
    let _ = client.body(response, url, shown, MOST).await;
    match status.is_success() {
        true => Ok(()),
        false => Err(format!("it answered {status}")),
    }
}

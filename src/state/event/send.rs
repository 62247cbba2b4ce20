//! What is sent to whom, and with which token.

use std::sync::Arc;

use net::{Secret, without_credentials};
use terminal::harmless;

use super::{EventError, Work, template_of};
use crate::log::Level;
use crate::post::{Answer, Post, parse_url};
use crate::template::Context;
use crate::value::Value;

/// An answer that was a success, and who gave it.
type Good = Option<(String, Answer)>;

impl Work<'_> {
    /// Sends what is for Slack. Its token goes to the host of `slack.url` only.
    pub(super) async fn send_to_slack(
        &mut self,
        called: &str,
        url: String,
        body: String,
    ) -> Result<Good, EventError> {
        let failed = |source| EventError::Post {
            handler: called.to_owned(),
            source,
        };
        let url = parse_url(&url).map_err(failed)?;
        let home = self.config.setting(["slack", "url"]).map(template_of);
        let home = home.and_then(|home| parse_url(&home).ok());
        let mut secret_headers = Vec::new();
        match self.config.secret(["slack", "token"]) {
            Some(token) if home.is_some_and(|home| home.origin() == url.origin()) => {
                let bearer = Secret::new(format!("Bearer {}", token.expose()));
                secret_headers.push(("Authorization".to_owned(), bearer));
            }
            _ => {}
        }
        let headers = vec![
            ("Content-Type", "application/json; charset=UTF-8"),
            ("Accept", "*/*"),
            ("Cache-Control", "no-cache"),
            ("Connection", "keep-alive"),
        ];
        let post = Post {
            url,
            headers,
            secret_headers,
            body,
        };
        self.send(called, &post).await
    }

    /// Sends what is for who runs pipelines, with the headers of the config.
    pub(super) async fn send_to_trigger(
        &mut self,
        called: &str,
        url: String,
        body: String,
        context: &Context,
    ) -> Result<Good, EventError> {
        let wrong = |what: String| EventError::Setting {
            handler: called.to_owned(),
            what,
        };
        if self.config.secret(["trigger", "token"]).is_none() {
            return Err(wrong("the secrets file has no `trigger.token`".to_owned()));
        }
        let headers = self.config.setting(["trigger", "headers"]);
        let Some(Value::List(configured)) = headers.cloned() else {
            let what = "the config file has no list `trigger.headers`".to_owned();
            return Err(wrong(what));
        };
        let context = context
            .clone()
            .with("secretData", Arc::clone(&self.config.secrets));
        let mut secret_headers = Vec::new();
        for header in &configured {
            let (Some(name), Some(value)) = (header.get("name"), header.get("value")) else {
                return Err(wrong("a header has no `name` or no `value`".to_owned()));
            };
            let name = template_of(name);
            // Half a secret would be sent, or the words of an error.
            let Some(value) = self.try_render(&template_of(value), &context) else {
                let name = terminal::one_line(&name);
                return Err(wrong(format!(
                    "the template of the header `{name}` has failed"
                )));
            };
            secret_headers.push((name, Secret::new(value)));
        }
        let usual = [
            ("Content-Type", "application/json"),
            ("Accept", "*/*"),
            ("Cache-Control", "no-cache"),
        ];
        let is_configured = |name: &str| {
            secret_headers
                .iter()
                .any(|(known, _)| known.eq_ignore_ascii_case(name))
        };
        let headers = usual
            .into_iter()
            .filter(|(name, _)| !is_configured(name))
            .collect();
        let url = parse_url(&url).map_err(|source| EventError::Post {
            handler: called.to_owned(),
            source,
        })?;
        let post = Post {
            url,
            headers,
            secret_headers,
            body,
        };
        self.send(called, &post).await
    }

    /// Sends a request; `None` when the answer is no success, which is told.
    async fn send(&mut self, called: &str, post: &Post) -> Result<Good, EventError> {
        let remote = without_credentials(&post.url);
        self.debug(&format!("{called}: POST to {remote}"));
        if self.logs_payloads {
            self.debug(&format!("{called}: {}", post.body));
        }
        let answer = self
            .poster
            .send(post)
            .await
            .map_err(|source| EventError::Post {
                handler: called.to_owned(),
                source,
            })?;
        if !answer.is_ok() {
            self.failures += 1;
            let status = answer.status;
            let body = harmless::words(answer.body.as_bytes());
            let text = format!("{called} http response code: {status} FAILED: {body}");
            self.log.tell(Level::Error, &text);
            return Ok(None);
        }
        if self.logs_payloads {
            let body = harmless::words(answer.body.as_bytes());
            self.debug(&format!("{called}: answered {}: {body}", answer.status));
        }
        Ok(Some((remote, answer)))
    }
}

//! The five handlers.

use std::sync::Arc;

use super::{EventError, Work, shared, template_of};
use crate::json;
use crate::post::Answer;
use crate::template::render_texts;
use crate::value::{Map, Value};

/// The handlers, by the key that shows that their settings stand there without a name.
const HANDLERS: [(&str, &str); 5] = [
    ("notify", "message"),
    ("respond", "message"),
    ("manual-choice", "title"),
    ("trigger-pipeline", "name"),
    ("set-values", "set"),
];

impl Work<'_> {
    /// Runs a handler with each of its settings, if there is one of this name.
    pub(super) async fn run_handler(
        &mut self,
        name: &str,
        settings: &Value,
    ) -> Result<(), EventError> {
        let Some((_, marker)) = HANDLERS.iter().find(|(known, _)| *known == name) else {
            return Ok(());
        };
        let wrong = || EventError::Setting {
            handler: name.to_owned(),
            what: format!("its settings must be a map, and are {}", settings.kind()),
        };
        let settings = settings.as_map().ok_or_else(wrong)?;
        if settings.get("enabled") == Some(&Value::Bool(false)) {
            self.debug(&format!(
                "on_event_handler() {name} enabled:False skipping...."
            ));
            return Ok(());
        }
        let named: Vec<(&str, &Map)> = match settings.contains_key(*marker) {
            true => vec![("default", settings)],
            false => {
                let maps = settings
                    .iter()
                    .filter_map(|(name, one)| Some((&name[..], one.as_map()?)));
                maps.collect()
            }
        };
        for (config, settings) in named {
            let called = format!("{name} `{}`", terminal::one_line(config));
            match name {
                "notify" => self.notify(&called, settings).await?,
                "respond" => self.respond(&called, settings).await?,
                "manual-choice" => self.manual_choice(&called, settings).await?,
                "trigger-pipeline" => self.trigger(&called, settings).await?,
                _ => self.set_values(&called, settings)?,
            }
        }
        Ok(())
    }

    async fn notify(&mut self, called: &str, settings: &Map) -> Result<(), EventError> {
        let context = self.context()?.with("notify", shared(settings.clone()));
        if !self.passes(settings, &context, false) {
            return Ok(());
        }
        let mut rendered = settings.clone();
        let message = settings.get("message").map(template_of).unwrap_or_default();
        rendered.insert("message".to_owned(), self.render(&message, &context).into());
        let context = context.with("notify", shared(rendered));
        let template = self.body_template(called, "notify")?;
        let body = self.render(&template, &context);
        let url = self.url(called, ["slack", "url"])?;
        let answer = self.send_to_slack(called, url, body).await?;
        self.capture(called, "notify", settings, answer)
    }

    async fn respond(&mut self, called: &str, settings: &Map) -> Result<(), EventError> {
        let context = self.context()?.with("respond", shared(settings.clone()));
        if !self.passes(settings, &context, false) {
            return Ok(());
        }
        let mut rendered = Map::new();
        for (key, value) in settings {
            let value = match key.as_str() {
                "if" => value.clone(),
                _ => render_texts(value, &mut |template| self.render(template, &context)),
            };
            rendered.insert(key.clone(), value);
        }
        let text = |key: &str| {
            rendered
                .get(key)
                .map(template_of)
                .unwrap_or_default()
                .trim()
                .to_owned()
        };
        let (url, message) = (text("url"), text("message"));
        if url.is_empty() || message.is_empty() {
            self.debug(&format!(
                "{called}: the url or the message is empty, skipping"
            ));
            return Ok(());
        }
        rendered.insert("message".to_owned(), message.into());
        let context = context.with("respond", shared(rendered));
        let template = self.body_template(called, "respond")?;
        let body = self.render(&template, &context);
        self.send_to_slack(called, url, body).await?;
        Ok(())
    }

    async fn manual_choice(&mut self, called: &str, settings: &Map) -> Result<(), EventError> {
        let context = self
            .context()?
            .with("manualChoice", shared(settings.clone()));
        if !self.passes(settings, &context, false) {
            return Ok(());
        }
        let mut rendered = settings.clone();
        let title = settings.get("title").map(template_of).unwrap_or_default();
        rendered.insert("title".to_owned(), self.render(&title, &context).into());
        let choices = self.choices(called, settings, &context)?;
        rendered.insert("choices".to_owned(), Value::Map(choices));
        let context = context.with("manualChoice", shared(rendered));
        let template = self.body_template(called, "manual-choice")?;
        let body = self.render(&template, &context);
        let url = self.url(called, ["slack", "url"])?;
        let answer = self.send_to_slack(called, url, body).await?;
        self.capture(called, "manual-choice", settings, answer)
    }

    async fn trigger(&mut self, called: &str, settings: &Map) -> Result<(), EventError> {
        let context = self
            .context()?
            .with("triggerPipeline", shared(settings.clone()));
        if !self.passes(settings, &context, false) {
            return Ok(());
        }
        let mut payload = Map::new();
        let automatic = self
            .config
            .setting(["trigger", "auto-args"])
            .and_then(Value::as_map);
        let args = settings.get("args").and_then(Value::as_map);
        for (name, value) in automatic.into_iter().chain(args).flatten() {
            let rendered = self.render(&template_of(value), &context);
            payload.insert(name.clone(), Value::Text(rendered));
        }
        let body = json::write(&Value::Map(payload), json::Layout::Line);
        let url = self.url(called, ["trigger", "url"])?;
        let answer = self.send_to_trigger(called, url, body, &context).await?;
        self.parse_answer(called, answer)?;
        Ok(())
    }

    fn set_values(&mut self, called: &str, settings: &Map) -> Result<(), EventError> {
        let context = self.context()?.with("set-values", shared(settings.clone()));
        if !self.passes(settings, &context, true) {
            return Ok(());
        }
        for (from, to) in pairs(called, settings.get("set"), ["from", "to"])? {
            // What was set before it can be named.
            let context = self.context()?.with("set-values", shared(settings.clone()));
            let value = self.render(&from, &context).trim().to_owned();
            if !value.is_empty() {
                let path = self.render(&to, &context);
                self.set(&path, Value::Text(value))?;
            }
        }
        Ok(())
    }

    /// Sets what the rules say of an answer: first the rules of the config, then those of the handler.
    fn capture(
        &mut self,
        called: &str,
        handler: &str,
        settings: &Map,
        answer: Option<(String, Answer)>,
    ) -> Result<(), EventError> {
        let Some(body) = self.parse_answer(called, answer)? else {
            return Ok(());
        };
        let automatic = self
            .config
            .setting([handler, "auto-capture-response-data"])
            .cloned();
        let own = settings.get("capture-response-data").cloned();
        // Later rules do not see what earlier ones have set; and no rule sees the variables.
        let context = crate::template::Context::new(Arc::new(self.document.clone()))
            .with("configData", self.config.data.clone())
            .with("body", Arc::new(body));
        for rules in [automatic, own] {
            for (from, to) in pairs(called, rules.as_ref(), ["from", "to"])? {
                let value = self.render(&from, &context);
                if value.trim().is_empty() {
                    continue;
                }
                let path = self.render(&to, &context);
                self.set(&path, Value::Text(value))?;
            }
        }
        Ok(())
    }

    /// What a successful answer says, which must be JSON.
    fn parse_answer(
        &mut self,
        called: &str,
        answer: Option<(String, Answer)>,
    ) -> Result<Option<Value>, EventError> {
        let Some((remote, answer)) = answer else {
            return Ok(None);
        };
        let body = json::read(&answer.body).map_err(|err| EventError::Answer {
            handler: called.to_owned(),
            remote,
            why: err.to_string(),
        })?;
        Ok(Some(body))
    }

    fn body_template(&self, called: &str, handler: &str) -> Result<String, EventError> {
        let template = self.config.setting(["templates", handler]);
        template
            .map(template_of)
            .ok_or_else(|| EventError::Setting {
                handler: called.to_owned(),
                what: format!("the config file has no `templates.{handler}`"),
            })
    }

    fn url(&self, called: &str, path: [&str; 2]) -> Result<String, EventError> {
        let url = self.config.setting(path).filter(|url| url.is_truthy());
        url.map(template_of).ok_or_else(|| EventError::Setting {
            handler: called.to_owned(),
            what: format!("the config file has no `{}`", path.join(".")),
        })
    }
}

/// The rules of a list, each with two templates.
pub(crate) fn pairs(
    called: &str,
    rules: Option<&Value>,
    names: [&str; 2],
) -> Result<Vec<(String, String)>, EventError> {
    let wrong = |what: String| EventError::Setting {
        handler: called.to_owned(),
        what,
    };
    let rules = match rules {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::List(rules)) => rules,
        Some(other) => {
            return Err(wrong(format!(
                "rules must be a list, and are {}",
                other.kind()
            )));
        }
    };
    let read = |rule: &Value| {
        let text = |name: &str| {
            let value = rule.get(name).map(template_of);
            value.ok_or_else(|| wrong(format!("a rule has no `{name}`")))
        };
        Ok((text(names[0])?, text(names[1])?))
    };
    rules.iter().map(read).collect()
}

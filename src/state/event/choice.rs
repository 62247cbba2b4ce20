//! The choices that people are given, and those that are made from values of the document.

use std::sync::Arc;

use super::{EventError, Work, template_of};
use crate::path::Path;
use crate::template::Context;
use crate::value::{Map, Value};
use crate::yaml;

impl Work<'_> {
    /// The choices of a handler, with what is generated, all rendered.
    pub(super) fn choices(
        &mut self,
        called: &str,
        settings: &Map,
        context: &Context,
    ) -> Result<Map, EventError> {
        let wrong = |what: String| EventError::Setting {
            handler: called.to_owned(),
            what,
        };
        let mut choices = match settings.get("choices") {
            Some(Value::Map(choices)) => choices.clone(),
            None | Some(Value::Null) => Map::new(),
            Some(other) => {
                return Err(wrong(format!(
                    "`choices` must be a map, and is {}",
                    other.kind()
                )));
            }
        };
        let generators = settings.get("choice-generators").and_then(Value::as_map);
        for (name, generator) in generators.into_iter().flatten() {
            let text = |key: &str| {
                let value = generator.get(key).filter(|value| value.is_truthy());
                let what = || wrong(format!("the generator `{name}` has no `{key}`"));
                value.map(template_of).ok_or_else(what)
            };
            let (from, iterator, template) =
                (text("foreach")?, text("iterator")?, text("template")?);
            let expression = self.render(&from, context);
            let found: Vec<Value> = {
                let path = Path::parse(expression.trim())?;
                path.find(&self.document)?.into_iter().cloned().collect()
            };
            let [Value::Map(entries)] = &found[..] else {
                return Err(wrong(format!(
                    "`{}` of the generator `{name}` must lead to one map",
                    terminal::one_line(&expression)
                )));
            };
            for value in entries.values() {
                let context = context.clone().with(&iterator, Arc::new(value.clone()));
                let rendered = self.render(&template, &context);
                let made = yaml::read(&rendered).map_err(|err| {
                    wrong(format!(
                        "what the generator `{name}` makes cannot be read: {err}"
                    ))
                })?;
                let first = made.as_map().and_then(Map::first);
                if let Some((key, choice)) = first {
                    choices.insert(key.clone(), choice.clone());
                }
            }
        }
        for choice in choices.values_mut() {
            self.render_choice(choice, context);
        }
        Ok(choices)
    }

    /// Renders the header of a choice, and of its options what is shown and what is sent.
    fn render_choice(&mut self, choice: &mut Value, context: &Context) {
        let Value::Map(choice) = choice else {
            return;
        };
        if let Some(header) = choice.get_mut("header") {
            *header = self.render(&template_of(header), context).into();
        }
        if let Some(Value::List(options)) = choice.get_mut("options") {
            let maps = options.iter_mut().filter_map(|option| match option {
                Value::Map(option) => Some(option),
                _ => None,
            });
            for option in maps {
                for key in ["text", "value"] {
                    if let Some(value) = option.get_mut(key) {
                        *value = self.render(&template_of(value), context).into();
                    }
                }
            }
        }
    }
}

//! Events: what the handlers of a pipeline do, each once.
//!
//! Handlers work on a document in memory. What they set is kept as a list of changes besides, which the caller makes in
//! the data sources.

mod choice;
mod handler;
mod send;

use std::sync::Arc;

use crate::config::Config;
use crate::log::{Level, Log};
use crate::operation::{Operation, OperationError, apply_all, setter};
use crate::path::PathError;
use crate::post::{PostError, Poster};
use crate::template::{Context, Templates};
use crate::value::{Map, Value};
use crate::vars;

/// Why an event has failed.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// `PIPELINE=EVENT` is something else.
    #[error("`{}` must have the form PIPELINE=EVENT", .0.escape_debug())]
    Form(String),
    /// There is no such pipeline.
    #[error("there is no pipeline `{}` in `pipelines` of the document", terminal::one_line(.0))]
    NoPipeline(String),
    /// It handles no events.
    #[error("the pipeline `{}` has no `event-handlers`", terminal::one_line(.0))]
    NoHandlers(String),
    /// Something is missing or odd.
    #[error("{handler}: {what}")]
    Setting {
        /// The handler.
        handler: String,
        /// What is wrong.
        what: String,
    },
    /// A request.
    #[error("{handler}: the request has failed")]
    Post {
        /// The handler.
        handler: String,
        /// Why.
        #[source]
        source: PostError,
    },
    /// An answer that must be JSON.
    #[error("{handler}: the answer of `{remote}` is no JSON: {why}")]
    Answer {
        /// The handler.
        handler: String,
        /// Whose.
        remote: String,
        /// Why.
        why: String,
    },
    /// What was to be set.
    #[error(transparent)]
    Operation(#[from] OperationError),
    /// A path.
    #[error(transparent)]
    Path(#[from] PathError),
}

/// Everything that handlers and generators need, and what they have done.
pub struct Work<'a> {
    pub(crate) config: &'a Config,
    pub(crate) poster: &'a Poster,
    pub(crate) log: &'a mut dyn Log,
    pub(crate) templates: Templates,
    pub(crate) variables: Vec<Operation>,
    /// The document as it is by now.
    pub document: Value,
    /// What was set, in order.
    pub operations: Vec<Operation>,
    /// How many requests and templates have failed, which is no error.
    pub failures: usize,
    /// Whether what is sent is logged.
    pub logs_payloads: bool,
}

impl<'a> Work<'a> {
    /// Work on a document, with variables for templates.
    ///
    /// # Errors
    /// [`OperationError`] when a variable has no place.
    pub fn new(
        config: &'a Config,
        poster: &'a Poster,
        log: &'a mut dyn Log,
        document: Value,
        variables: &[vars::Variable],
    ) -> Result<Work<'a>, OperationError> {
        Ok(Work {
            config,
            poster,
            log,
            templates: Templates::of(&document),
            variables: vars::operations(variables, &document)?,
            document,
            operations: Vec::new(),
            failures: 0,
            logs_payloads: false,
        })
    }

    /// Handles `PIPELINE=EVENT`.
    ///
    /// # Errors
    /// [`EventError`] of the first handler that fails; what is in [`Work::operations`] was done before it.
    pub async fn handle(&mut self, argument: &str) -> Result<(), EventError> {
        let form = || EventError::Form(argument.to_owned());
        let (pipeline, event) = argument.split_once('=').ok_or_else(form)?;
        if event.contains('=') {
            return Err(form());
        }
        let (pipeline, event) = (pipeline.trim(), event.trim());
        let known = self
            .document
            .get("pipelines")
            .and_then(|all| all.get(pipeline));
        let known = known.ok_or_else(|| EventError::NoPipeline(pipeline.to_owned()))?;
        let handlers = known.get("event-handlers");
        let handlers = handlers.ok_or_else(|| EventError::NoHandlers(pipeline.to_owned()))?;
        let handlers = handlers.get(event).and_then(Value::as_map).cloned();
        for (name, settings) in handlers.unwrap_or_default() {
            self.run_handler(&name, &settings).await?;
        }
        Ok(())
    }

    /// What templates can name now.
    pub(crate) fn context(&self) -> Result<Context, EventError> {
        Ok(vars::context(
            &self.document,
            &self.variables,
            &self.config.data,
        )?)
    }

    /// Renders a template. One that fails is told, and gives its text with a mark before it.
    pub(crate) fn render(&mut self, template: &str, context: &Context) -> String {
        match self.try_render(template, context) {
            Some(rendered) => rendered,
            None => marked(template),
        }
    }

    /// Renders a template. One that fails is told, and gives nothing.
    pub(crate) fn try_render(&mut self, template: &str, context: &Context) -> Option<String> {
        match self.templates.render(template, context) {
            Ok(rendered) => Some(rendered),
            Err(err) => {
                self.failures += 1;
                tell_of_template(self.log, template, &terminal::chain(&err));
                None
            }
        }
    }

    /// Whether an `if` lets pass: a template that prints something, or a value that is true. With `trimmed` blanks count as
    /// nothing.
    pub(crate) fn passes(&mut self, settings: &Map, context: &Context, trimmed: bool) -> bool {
        match settings.get("if") {
            None => true,
            Some(Value::Text(template)) => {
                let rendered = self.try_render(template, context).unwrap_or_default();
                match trimmed {
                    true => !rendered.trim().is_empty(),
                    false => !rendered.is_empty(),
                }
            }
            Some(other) => other.is_truthy(),
        }
    }

    /// Sets a value in the document, and notes that.
    pub(crate) fn set(&mut self, path: &str, value: Value) -> Result<(), EventError> {
        let operation = setter(path, value)?;
        apply_all(std::slice::from_ref(&operation), &mut self.document)?;
        self.operations.push(operation);
        Ok(())
    }

    pub(crate) fn debug(&mut self, text: &str) {
        self.log.tell(Level::Debug, text);
    }
}

/// What stands where a template has failed.
pub fn marked(template: &str) -> String {
    format!("<jinja2 parse error> {template}")
}

/// Tells of a template that has failed.
pub fn tell_of_template(log: &mut dyn Log, template: &str, why: &str) {
    const SHOWN: usize = 500;
    let shown: String = template.chars().take(SHOWN).collect();
    log.tell(
        Level::Error,
        &format!("parse_template() template = {shown} error: {why}"),
    );
}

/// A value of a handler as a template: numbers and such as Python prints them.
pub(crate) fn template_of(value: &Value) -> String {
    crate::value::python_str(value)
}

pub(crate) fn shared(map: Map) -> Arc<Value> {
    Arc::new(Value::Map(map))
}

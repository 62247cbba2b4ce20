//! What can be done with documents, as one call each: what the program has on its command line, for whoever embeds it.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::answer::{self, Form, FormError};
use crate::config::Config;
use crate::document::{Origin, OriginError, check_id};
use crate::event::{EventError, Work, marked};
use crate::log::Log;
use crate::operation::{Operation, OperationError, apply_all};
use crate::path::{Path, PathError};
use crate::post::Poster;
use crate::sources::{Changed, Request, SourceError, Sources};
use crate::store::Entry;
use crate::template::Context;
use crate::value::{Map, Value};
use crate::vars::Variable;

/// The pauses between two looks of [`Session::wait_for`]: the first, and the longest.
const LOOKS: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// The most names of places that a history says of one change.
const MOST_NAMED: usize = 5;

/// A configuration at work.
pub struct Session<'a> {
    /// The settings.
    pub config: &'a Config,
    /// The data sources.
    pub sources: Sources,
    /// What sends requests.
    pub poster: Poster,
    /// Where lines go.
    pub log: &'a mut dyn Log,
    /// Variables for templates.
    pub variables: Vec<Variable>,
    /// Whether what is sent is logged.
    pub logs_payloads: bool,
    /// How many requests and templates have failed so far, which is no error.
    pub failures: usize,
}

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// No document can be made.
    #[error(transparent)]
    Origin(#[from] OriginError),
    /// A data source.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// An event or a generator.
    #[error(transparent)]
    Event(#[from] EventError),
    /// A change or a variable.
    #[error(transparent)]
    Operation(#[from] OperationError),
    /// A path.
    #[error(transparent)]
    Path(#[from] PathError),
    /// An answer in a form that it does not fit into.
    #[error(transparent)]
    Form(#[from] FormError),
    /// The time is over.
    #[error("`{expression}` has found nothing that is true for {}", humantime(*.after))]
    TimedOut {
        /// What was waited for.
        expression: String,
        /// How long.
        after: Duration,
    },
}

fn humantime(duration: Duration) -> String {
    format!("{} s", duration.as_secs())
}

impl SessionError {
    /// Whether nothing was done because a condition does not hold.
    pub fn is_unmet(&self) -> bool {
        let operation = match self {
            SessionError::TimedOut { .. } => return true,
            SessionError::Operation(err) | SessionError::Source(SourceError::Operation(err)) => err,
            _ => return false,
        };
        matches!(operation, OperationError::Unmet { .. })
    }
}

impl Session<'_> {
    /// Makes a document, changes it, lets a pipeline handle an event, and puts it into all data sources.
    ///
    /// # Errors
    /// [`SessionError`]; nothing is kept then.
    pub async fn init(
        &mut self,
        origin: &Origin<'_>,
        operations: &[Operation],
        event: Option<&str>,
    ) -> Result<(), SessionError> {
        let (mut document, variables) = origin.document()?;
        apply_all(operations, &mut document)?;
        self.render_variables(&mut document, &variables)?;
        if let Some(event) = event {
            document = self
                .work(document, async |work| Ok(work.handle(event).await?))
                .await?
                .0;
        }
        let does = format!("init {}", origin.id);
        let request = Request::Create(&document);
        self.sources
            .change(origin.id, request, &does, self.log)
            .await?;
        Ok(())
    }

    /// Renders the variables of an app file in order, each with those before it.
    fn render_variables(
        &mut self,
        document: &mut Value,
        variables: &Map,
    ) -> Result<(), SessionError> {
        for (name, value) in variables {
            let rendered = match value {
                Value::Text(template) => {
                    let mut work = self.begin(document.clone())?;
                    let context = work.context()?;
                    let rendered = work.render(template, &context);
                    self.failures += work.failures;
                    Value::Text(rendered)
                }
                other => other.clone(),
            };
            if let Value::Map(document) = document {
                let all = document.entry("variables".to_owned());
                if let Value::Map(all) = all.or_insert_with(|| Value::Map(Map::new())) {
                    all.insert(name.clone(), rendered);
                }
            }
        }
        Ok(())
    }

    /// Reads a document from the primary data source, changes it, lets a pipeline handle an event, and puts it into all
    /// data sources.
    ///
    /// # Errors
    /// [`SessionError`]; nothing is changed then.
    pub async fn load(
        &mut self,
        id: &str,
        operations: Vec<Operation>,
        event: Option<&str>,
    ) -> Result<Changed, SessionError> {
        let mut all = operations;
        if let Some(event) = event {
            let mut document = self.sources.load(id, self.log).await?;
            apply_all(&all, &mut document)?;
            let (_, more) = self
                .work(document, async |work| Ok(work.handle(event).await?))
                .await?;
            all.extend(more);
        }
        let does = match event {
            Some(event) => format!("handle {event} of {id}"),
            None => described(id, &all),
        };
        Ok(self
            .sources
            .change(id, Request::Apply(&all), &does, self.log)
            .await?)
    }

    /// Changes a document.
    ///
    /// # Errors
    /// [`SessionError`]; nothing is changed then.
    pub async fn set(
        &mut self,
        id: &str,
        operations: &[Operation],
    ) -> Result<Changed, SessionError> {
        let does = described(id, operations);
        let request = Request::Apply(operations);
        Ok(self.sources.change(id, request, &does, self.log).await?)
    }

    /// Lets a pipeline handle an event. Changes are made before that, and stay if a handler fails.
    ///
    /// # Errors
    /// [`SessionError`].
    pub async fn handle_event(
        &mut self,
        id: &str,
        operations: &[Operation],
        event: &str,
    ) -> Result<(), SessionError> {
        if !operations.is_empty() {
            self.set(id, operations).await?;
        }
        self.load(id, Vec::new(), Some(event)).await?;
        Ok(())
    }

    /// Runs a generator.
    ///
    /// # Errors
    /// [`SessionError`]; nothing is changed then.
    pub async fn generate(&mut self, id: &str, expression: &str) -> Result<(), SessionError> {
        let document = self.sources.load(id, self.log).await?;
        let (_, operations) = self
            .work(document, async |work| Ok(work.generate(expression)?))
            .await?;
        if !operations.is_empty() {
            let does = format!("generate {expression} of {id}");
            let request = Request::Apply(&operations);
            self.sources.change(id, request, &does, self.log).await?;
        }
        Ok(())
    }

    /// What a path finds in a document, as it is printed. A text is a template.
    ///
    /// # Errors
    /// [`SessionError`].
    pub async fn get(
        &mut self,
        id: &str,
        expression: &str,
        form: Form,
    ) -> Result<String, SessionError> {
        let path = Path::parse(expression)?;
        let document = match self.sources.local(id) {
            Some(document) => document,
            None => self.sources.refresh(id, self.log).await?,
        };
        let value = found(&path, &document)?;
        self.print(&value, document, expression, form)
    }

    /// Waits until a path finds something that is true in the primary data source, and prints it.
    ///
    /// # Errors
    /// [`SessionError::TimedOut`], and others.
    pub async fn wait_for(
        &mut self,
        id: &str,
        expression: &str,
        limit: Duration,
        form: Form,
    ) -> Result<String, SessionError> {
        let path = Path::parse(expression)?;
        check_id(id)?;
        let began = Instant::now();
        let mut pause = LOOKS.0;
        loop {
            // It may not be there yet.
            if let Some(document) = self.sources.read(id, self.log).await? {
                let value = found(&path, &document)?;
                if value.is_truthy() {
                    return self.print(&value, document, expression, form);
                }
            }
            let left = limit.saturating_sub(began.elapsed());
            if left.is_zero() {
                return Err(SessionError::TimedOut {
                    expression: terminal::one_line(expression),
                    after: limit,
                });
            }
            sleep(pause.min(left)).await;
            pause = (pause * 2).min(LOOKS.1);
        }
    }

    /// Takes a document away, from all data sources.
    ///
    /// # Errors
    /// [`SessionError`].
    pub async fn delete(&mut self, id: &str) -> Result<(), SessionError> {
        let does = format!("delete {id}");
        self.sources
            .change(id, Request::Delete, &does, self.log)
            .await?;
        Ok(())
    }

    /// The ids of all documents.
    ///
    /// # Errors
    /// [`SessionError`].
    pub async fn list(&mut self) -> Result<Vec<String>, SessionError> {
        Ok(self.sources.list(self.log).await?)
    }

    /// What was done to a document, the newest first.
    ///
    /// # Errors
    /// [`SessionError`]; a document that never was has no history.
    pub async fn history(&mut self, id: &str) -> Result<Vec<Entry>, SessionError> {
        let entries = self.sources.history(id, self.log).await?;
        match entries.is_empty() {
            true => Err(SourceError::NoDocument(id.to_owned()).into()),
            false => Ok(entries),
        }
    }

    fn print(
        &mut self,
        value: &Value,
        document: Value,
        expression: &str,
        form: Form,
    ) -> Result<String, SessionError> {
        let Value::Text(template) = value else {
            return Ok(answer::format(value, expression, form)?);
        };
        let mut work = self.begin(document)?;
        let context: Context = work.context()?;
        let rendered = work.try_render(template, &context);
        self.failures += work.failures;
        let rendered = Value::Text(rendered.unwrap_or_else(|| marked(template)));
        Ok(answer::format(&rendered, expression, form)?)
    }

    fn begin(&mut self, document: Value) -> Result<Work<'_>, OperationError> {
        let mut work = Work::new(
            self.config,
            &self.poster,
            self.log,
            document,
            &self.variables,
        )?;
        work.logs_payloads = self.logs_payloads;
        Ok(work)
    }

    /// Works on a document in memory; gives it, and the changes.
    async fn work(
        &mut self,
        document: Value,
        job: impl AsyncFnOnce(&mut Work<'_>) -> Result<(), SessionError>,
    ) -> Result<(Value, Vec<Operation>), SessionError> {
        let mut work = self.begin(document)?;
        job(&mut work).await?;
        let (document, operations, failures) = (work.document, work.operations, work.failures);
        self.failures += failures;
        Ok((document, operations))
    }
}

/// What a path finds: one value as it is, several as a list, nothing as null.
fn found(path: &Path, document: &Value) -> Result<Value, PathError> {
    Ok(match &path.find(document)?[..] {
        [] => Value::Null,
        [single] => (*single).clone(),
        several => Value::List(several.iter().copied().cloned().collect()),
    })
}

/// What a history says of changes: the places, never the values.
fn described(id: &str, operations: &[Operation]) -> String {
    let mut places: Vec<String> = operations.iter().map(|one| one.place.to_string()).collect();
    places.dedup();
    let more = places.len().saturating_sub(MOST_NAMED);
    places.truncate(MOST_NAMED);
    match (places.is_empty(), more) {
        (true, _) => format!("load {id}"),
        (false, 0) => format!("set {} of {id}", places.join(", ")),
        (false, more) => format!("set {} and {more} more of {id}", places.join(", ")),
    }
}

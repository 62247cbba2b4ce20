//! Templates: Jinja2, as far as `minijinja` has it, with what the original adds to it.
//!
//! A template reaches no file and no command: there is nothing by which it could. Its steps, what it may print and what it
//! may nest are bounded. The memory that it may take is for the program to bound, for the engine does not.

mod convert;
mod extras;

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use minijinja::value::{Object, ObjectRepr};
use minijinja::{Environment, UndefinedBehavior};

use crate::value::{Map, Value};

/// How many steps a template may take: a thousand turns of a loop with a few values in it take some ten thousand.
const MOST_STEPS: u64 = 5_000_000;

/// The most that a template may print, in bytes.
const MOST_PRINTED: usize = 64 * 1024 * 1024;

/// The most that may stand between the braces of a template, in bytes. The engine calls itself for what is nested, such as
/// each sign of `1+1+1`.
const MOST_BETWEEN_BRACES: usize = 64 * 1024;

/// Room for as many calls: none takes as much as four kilobytes.
const STACK: usize = 4096 * MOST_BETWEEN_BRACES;

/// Why a template cannot be rendered.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// It is not written as it should be, or does what cannot be done.
    #[error("{0}")]
    Failed(#[from] minijinja::Error),
    /// It prints too much.
    #[error("it prints more than {MOST_PRINTED} bytes")]
    TooLong,
    /// What it prints is no text.
    #[error("it prints what is no text")]
    NoText,
    /// There is too much to it.
    #[error("it has more than {MOST_BETWEEN_BRACES} bytes between its braces")]
    TooLarge,
    /// The engine has failed.
    #[error("it cannot be rendered here")]
    Engine,
}

/// An engine for the templates of one document.
pub struct Templates {
    environment: Environment<'static>,
    macros: String,
}

/// What a template can name: all that is in a document, and more that counts before it.
#[derive(Clone, Debug)]
pub struct Context {
    document: Arc<Value>,
    more: Vec<(String, Arc<Value>)>,
}

impl Context {
    /// The names of a document.
    pub fn new(document: Arc<Value>) -> Context {
        Context {
            document,
            more: Vec::new(),
        }
    }

    /// With one name more.
    pub fn with(mut self, name: &str, value: Arc<Value>) -> Context {
        self.more.retain(|(known, _)| known != name);
        self.more.push((name.to_owned(), value));
        self
    }

    fn get(&self, name: &str) -> Option<&Value> {
        let more = self.more.iter().find(|(known, _)| known == name);
        more.map(|(_, value)| &**value)
            .or_else(|| self.document.get(name))
    }
}

/// A context as the engine sees it: a value is made ready when it is first asked for.
#[derive(Debug)]
struct Names {
    context: Context,
    made: Mutex<HashMap<String, minijinja::Value>>,
}

impl Object for Names {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Map
    }

    fn get_value(self: &Arc<Self>, key: &minijinja::Value) -> Option<minijinja::Value> {
        let name = key.as_str()?;
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = made.get(name) {
            return Some(value.clone());
        }
        let value = convert::to_engine(self.context.get(name)?);
        made.insert(name.to_owned(), value.clone());
        Some(value)
    }
}

impl Templates {
    /// An engine with the macros of a document in front of each template.
    pub fn new(macros: &str) -> Templates {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Lenient);
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.set_fuel(Some(MOST_STEPS));
        extras::add(&mut environment);
        Templates {
            environment,
            macros: macros.to_owned(),
        }
    }

    /// An engine for a document.
    pub fn of(document: &Value) -> Templates {
        let macros = document.get("jinja2Macros").and_then(|all| all.get("all"));
        Templates::new(macros.and_then(Value::as_text).unwrap_or_default())
    }

    /// Renders a template.
    ///
    /// # Errors
    /// [`TemplateError`].
    pub fn render(&self, template: &str, context: &Context) -> Result<String, TemplateError> {
        let whole = format!("{}{template}", self.macros);
        if between_braces(&whole) > MOST_BETWEEN_BRACES {
            return Err(TemplateError::TooLarge);
        }
        let names = Names {
            context: context.clone(),
            made: Mutex::default(),
        };
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().stack_size(STACK);
            let work = || self.render_here(&whole, names);
            let rendering = thread.spawn_scoped(scope, work);
            let rendered = rendering.map_err(|_| TemplateError::Engine)?.join();
            rendered.map_err(|_| TemplateError::Engine)?
        })
    }

    fn render_here(&self, whole: &str, names: Names) -> Result<String, TemplateError> {
        let template = self.environment.template_from_str(whole)?;
        let mut printed = Printed(Vec::new());
        let names = minijinja::Value::from_object(names);
        match template.render_captured_to(names, &mut printed) {
            Ok(_) => String::from_utf8(printed.0).map_err(|_| TemplateError::NoText),
            Err(_) if printed.0.len() > MOST_PRINTED => Err(TemplateError::TooLong),
            Err(err) => Err(err.into()),
        }
    }
}

/// How many bytes stand between braces, at least.
fn between_braces(template: &str) -> usize {
    let (mut sum, mut is_inside) = (0, false);
    for two in template.as_bytes().windows(2) {
        match two {
            b"{{" | b"{%" => is_inside = true,
            b"}}" | b"%}" => is_inside = false,
            _ => {}
        }
        sum += usize::from(is_inside);
    }
    sum
}

/// What a template has printed.
struct Printed(Vec<u8>);

impl io::Write for Printed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        match self.0.len() <= MOST_PRINTED {
            true => Ok(bytes.len()),
            false => Err(io::ErrorKind::FileTooLarge.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A value whose texts are templates, rendered; other values stay as they are.
pub fn render_texts(value: &Value, render: &mut dyn FnMut(&str) -> String) -> Value {
    match value {
        Value::Text(text) => Value::Text(render(text)),
        Value::List(items) => Value::List(
            items
                .iter()
                .map(|item| render_texts(item, render))
                .collect(),
        ),
        Value::Map(map) => {
            let pairs = map
                .iter()
                .map(|(name, value)| (name.clone(), render_texts(value, render)));
            Value::Map(pairs.collect::<Map>())
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests;

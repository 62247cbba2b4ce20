//! What templates have besides what is built into the engine: the filters of the original, and those of Jinja2 that the
//! engine has not, or has in another way.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use minijinja::value::{Kwargs, Object, ObjectRepr, Rest, ValueKind, from_args};
use minijinja::{Environment, Error, ErrorKind, Output, State, Value as Engine};
use rand::RngExt;

use super::convert::{from_engine, invalid, to_engine};
use crate::json::{self, Layout};
use crate::value::{Map, Value, python_str};
use crate::yaml;

/// The most paragraphs of filler text.
const MOST_PARAGRAPHS: usize = 100;

/// The deepest indentation.
const MOST_INDENTED: usize = 40;

pub(super) fn add(environment: &mut Environment<'static>) {
    minijinja_contrib::add_to_environment(environment);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.set_formatter(print);
    environment.add_filter("to_nice_yaml", to_nice_yaml);
    environment.add_filter("to_base64", |text: &Engine| {
        Ok::<_, Error>(BASE64_STANDARD.encode(python_str(&from_engine(text)?)))
    });
    environment.add_filter("kv_comma_pairs_to_json", kv_comma_pairs_to_json);
    environment.add_filter("from_json", |text: &str| {
        let value = json::read(text).map_err(|err| invalid(err.to_string()))?;
        Ok::<_, Error>(to_engine(&value))
    });
    environment.add_filter("json_dumps", json_dumps);
    environment.add_filter("tojson", to_json);
    environment.add_filter("string", |value: &Engine| {
        Ok::<_, Error>(python_str(&from_engine(value)?))
    });
    environment.add_filter("random", random);
    environment.add_filter("wordcount", |text: &str| text.split_whitespace().count());
    environment.add_function("cycler", cycler);
    environment.add_function(
        "lipsum",
        |state: &State<'_, '_>, n: Option<usize>, more: Kwargs| {
            let n = n.unwrap_or(5).min(MOST_PARAGRAPHS);
            minijinja_contrib::globals::lipsum(state, Some(n), more)
        },
    );
}

/// Prints a value as Python does.
fn print(out: &mut Output<'_>, _: &State<'_, '_>, value: &Engine) -> Result<(), Error> {
    let printed = match value.kind() {
        ValueKind::Undefined => return Ok(()),
        ValueKind::Seq | ValueKind::Iterable | ValueKind::Map => python_str(&from_engine(value)?),
        ValueKind::Number if !value.is_integer() => python_str(&from_engine(value)?),
        _ => value.to_string(),
    };
    out.write_str(&printed)
        .map_err(|_| Error::from(ErrorKind::WriteFailure))
}

fn to_nice_yaml(value: &Engine, options: Kwargs) -> Result<String, Error> {
    let in_one_line: Option<bool> = options.get("default_flow_style")?;
    let is_sorted: Option<bool> = options.get("sort_keys")?;
    // The lines are always as far in as PyYAML has them.
    let _: Option<usize> = options.get("indent")?;
    options.assert_all_used()?;
    let mut value = from_engine(value)?;
    if is_sorted == Some(true) {
        value = sorted(value);
    }
    Ok(match in_one_line {
        Some(true) => json::write(&value, Layout::Line) + "\n",
        _ => yaml::write(&value),
    })
}

fn json_dumps(value: &Engine, options: Kwargs) -> Result<String, Error> {
    let indent: Option<usize> = options.get("indent")?;
    let strip: Option<bool> = options.get("stripLeadingTrailingQuotes")?;
    options.assert_all_used()?;
    let written = json::write(&from_engine(value)?, layout(indent));
    Ok(match strip {
        Some(true) => {
            let inner = written.strip_prefix('"').unwrap_or(&written);
            inner.strip_suffix('"').unwrap_or(inner).to_owned()
        }
        _ => written,
    })
}

/// JSON with its names in order, that may stand in HTML.
fn to_json(value: &Engine, options: Kwargs) -> Result<String, Error> {
    let indent: Option<usize> = options.get("indent")?;
    options.assert_all_used()?;
    let written = json::write(&sorted(from_engine(value)?), layout(indent));
    let mut out = String::with_capacity(written.len());
    for c in written.chars() {
        match c {
            '<' | '>' | '&' | '\'' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    Ok(out)
}

fn layout(indent: Option<usize>) -> Layout {
    indent.map_or(Layout::Line, |blanks| {
        Layout::Indented(blanks.min(MOST_INDENTED))
    })
}

fn sorted(value: Value) -> Value {
    match value {
        Value::List(items) => Value::List(items.into_iter().map(sorted).collect()),
        Value::Map(map) => {
            let mut map: Map = map
                .into_iter()
                .map(|(name, value)| (name, sorted(value)))
                .collect();
            map.sort_keys();
            Value::Map(map)
        }
        other => other,
    }
}

/// `a=1,b=2` as a map of texts in JSON. What follows a second `=` is left out.
fn kv_comma_pairs_to_json(pairs: &str) -> Result<String, Error> {
    let mut map = Map::new();
    for pair in pairs.split(',') {
        let mut sides = pair.split('=');
        let (Some(name), Some(value)) = (sides.next(), sides.next()) else {
            return Err(invalid(format!(
                "`{}` is no pair of the form a=1",
                pair.escape_debug()
            )));
        };
        map.insert(name.to_owned(), Value::from(value));
    }
    Ok(json::write(&Value::Map(map), Layout::Line))
}

/// One item of a list, a text or a `range()`, by chance.
fn random(items: &Engine) -> Result<Engine, Error> {
    if let Some(text) = items.as_str() {
        let count = text.chars().count();
        let chosen = (count > 0).then(|| rand::rng().random_range(0..count));
        return Ok(Engine::from(
            chosen.and_then(|n| text.chars().nth(n)).map(String::from),
        ));
    }
    let count = items
        .len()
        .unwrap_or_else(|| items.try_iter().map(Iterator::count).unwrap_or(0));
    match count {
        0 => Ok(Engine::UNDEFINED),
        count => {
            let chosen = rand::rng().random_range(0..count);
            Ok(items.try_iter()?.nth(chosen).unwrap_or_default())
        }
    }
}

/// Values one after the other, again and again.
#[derive(Debug)]
struct Cycler {
    items: Vec<Engine>,
    next: AtomicUsize,
}

fn cycler(items: Rest<Engine>) -> Result<Engine, Error> {
    match items.is_empty() {
        true => Err(invalid("a cycler needs at least one value")),
        false => Ok(Engine::from_object(Cycler {
            items: items.0,
            next: AtomicUsize::new(0),
        })),
    }
}

impl Object for Cycler {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Engine) -> Option<Engine> {
        let at = self.next.load(Ordering::Relaxed);
        (key.as_str() == Some("current")).then(|| self.items[at].clone())
    }

    fn call_method(
        self: &Arc<Self>,
        _: &State<'_, '_>,
        method: &str,
        args: &[Engine],
    ) -> Result<Engine, Error> {
        let () = from_args(args)?;
        match method {
            "next" => {
                let at = self.next.load(Ordering::Relaxed);
                self.next
                    .store((at + 1) % self.items.len(), Ordering::Relaxed);
                Ok(self.items[at].clone())
            }
            "reset" => {
                self.next.store(0, Ordering::Relaxed);
                Ok(Engine::from(()))
            }
            _ => Err(Error::from(ErrorKind::UnknownMethod)),
        }
    }
}

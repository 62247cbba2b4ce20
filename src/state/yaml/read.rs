//! Reading YAML.

use std::borrow::Cow;
use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle, ScanError, StrInput, Tag};

use super::plain;
use crate::value::{MOST_DEPTH, Map, Value};

/// The most values that a text may stand for. Anchors can make very many of a few lines.
const MOST_VALUES: usize = 3_000_000;

/// Why a text is no YAML that can be read.
#[derive(Debug, thiserror::Error)]
pub enum YamlError {
    /// It is not written as YAML is.
    #[error("it is not YAML: {0}")]
    Malformed(#[from] ScanError),
    /// It ends in the middle.
    #[error("it is not YAML: it ends too early")]
    Ends,
    /// There is more in one another than is read.
    #[error("it is nested more than {MOST_DEPTH} levels deep")]
    TooDeep,
    /// There are more values than are read.
    #[error("it stands for more than {MOST_VALUES} values")]
    TooMany,
    /// There are several documents in it.
    #[error("it has more than one YAML document")]
    Several,
    /// A tag that says what cannot be kept.
    #[error("the tag `{}` in line {line} is not supported", .tag.escape_debug())]
    Tag {
        /// The tag.
        tag: String,
        /// Where.
        line: usize,
    },
    /// A key that is a list or a map.
    #[error("a key in line {0} is a list or a map")]
    Key(usize),
    /// What `<<` stands before is no map.
    #[error("what is merged in line {0} is not a map")]
    Merge(usize),
    /// Something is in itself.
    #[error("the anchor in line {0} stands in itself")]
    Circle(usize),
}

/// Reads one value.
///
/// # Errors
/// [`YamlError`].
pub fn read(text: &str) -> Result<Value, YamlError> {
    let mut reader = Reader {
        parser: Parser::new_from_str(text),
        anchored: HashMap::new(),
        values: 0,
        line: 1,
    };
    let mut value = None;
    loop {
        match reader.next()? {
            Event::StreamStart | Event::DocumentEnd => {}
            Event::DocumentStart(..) if value.is_some() => return Err(YamlError::Several),
            Event::DocumentStart(..) => {
                let first = reader.next()?;
                value = Some(reader.value(first, 1)?);
            }
            Event::StreamEnd => return Ok(value.unwrap_or(Value::Null)),
            _ => return Err(YamlError::Ends),
        }
    }
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    /// By their anchors: values, and how many each stands for.
    anchored: HashMap<usize, (Value, usize)>,
    /// How many values there are so far.
    values: usize,
    /// The line of the last event.
    line: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<Event<'a>, YamlError> {
        loop {
            let (event, span) = self.parser.next_event().ok_or(YamlError::Ends)??;
            self.line = span.start.line();
            if !matches!(event, Event::Comment(..)) {
                return Ok(event);
            }
        }
    }

    /// Reads the value that begins with this event.
    fn value(&mut self, event: Event<'a>, depth: usize) -> Result<Value, YamlError> {
        if depth > MOST_DEPTH {
            return Err(YamlError::TooDeep);
        }
        let before = self.values;
        self.count(1)?;
        let (value, anchor) = match event {
            Event::Alias(anchor) => {
                let known = self.anchored.get(&anchor);
                let (value, count) = known.cloned().ok_or(YamlError::Circle(self.line))?;
                if depth + value.depth() > MOST_DEPTH {
                    return Err(YamlError::TooDeep);
                }
                self.count(count)?;
                return Ok(value);
            }
            Event::Scalar(text, style, anchor, tag) => {
                (self.scalar(&text, style, tag.as_deref())?, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.check_tag(tag, "seq")?;
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        Event::SequenceEnd => break,
                        event => items.push(self.value(event, depth + 1)?),
                    }
                }
                (Value::List(items), anchor)
            }
            Event::MappingStart(_, anchor, tag) => {
                self.check_tag(tag, "map")?;
                (Value::Map(self.map(depth)?), anchor)
            }
            _ => return Err(YamlError::Ends),
        };
        if anchor > 0 {
            let count = self.values - before;
            self.anchored.insert(anchor, (value.clone(), count));
        }
        Ok(value)
    }

    fn map(&mut self, depth: usize) -> Result<Map, YamlError> {
        let mut merged = Map::new();
        let mut own = Map::new();
        loop {
            let key = self.next()?;
            let line = self.line;
            let key = match key {
                Event::MappingEnd => break,
                Event::Scalar(text, style, anchor, _) => {
                    if anchor > 0 {
                        let named = (Value::from(text.as_ref()), 1);
                        self.anchored.insert(anchor, named);
                    }
                    (text.into_owned(), style == ScalarStyle::Plain)
                }
                Event::Alias(anchor) => match self.anchored.get(&anchor) {
                    Some((Value::Text(text), _)) => (text.clone(), false),
                    _ => return Err(YamlError::Key(line)),
                },
                _ => return Err(YamlError::Key(line)),
            };
            let event = self.next()?;
            let value = self.value(event, depth + 1)?;
            match key {
                (name, true) if name == "<<" => merge(&mut merged, value, line)?,
                (name, _) => drop(own.insert(name, value)),
            }
        }
        if merged.is_empty() {
            return Ok(own);
        }
        merged.extend(own);
        Ok(merged)
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        tag: Option<&Tag>,
    ) -> Result<Value, YamlError> {
        let Some(tag) = tag else {
            return Ok(match style {
                ScalarStyle::Plain => plain::value(text),
                _ => Value::from(text),
            });
        };
        let value = match tag.core_suffix() {
            Some("str") => Some(Value::from(text)),
            Some("int") => Some(plain::value(text)).filter(|v| matches!(v, Value::Int(_))),
            Some("float") => match plain::value(text) {
                Value::Int(number) => Some(Value::Float(number as f64)),
                value => Some(value).filter(|v| matches!(v, Value::Float(_))),
            },
            Some("bool") => Some(plain::value(text)).filter(|v| matches!(v, Value::Bool(_))),
            Some("null") => Some(Value::Null),
            None if tag.original() == "!" => Some(Value::from(text)),
            _ => None,
        };
        value.ok_or_else(|| self.unknown(tag))
    }

    fn check_tag(&self, tag: Option<Cow<'_, Tag>>, expected: &str) -> Result<(), YamlError> {
        match tag {
            Some(tag) if tag.core_suffix() != Some(expected) => Err(self.unknown(&tag)),
            _ => Ok(()),
        }
    }

    fn unknown(&self, tag: &Tag) -> YamlError {
        YamlError::Tag {
            tag: tag.original(),
            line: self.line,
        }
    }

    fn count(&mut self, more: usize) -> Result<(), YamlError> {
        self.values += more;
        match self.values {
            0..=MOST_VALUES => Ok(()),
            _ => Err(YamlError::TooMany),
        }
    }
}

/// Merges a map, or several of which an earlier one counts more.
fn merge(into: &mut Map, value: Value, line: usize) -> Result<(), YamlError> {
    let maps = match value {
        Value::List(maps) => maps,
        map => vec![map],
    };
    for map in maps.into_iter().rev() {
        match map {
            Value::Map(map) => into.extend(map),
            _ => return Err(YamlError::Merge(line)),
        }
    }
    Ok(())
}

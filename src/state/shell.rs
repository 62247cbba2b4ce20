//! A document as a file that a shell sources: one variable for each leaf.
//!
//! Nothing in it runs when it is sourced: names have letters, digits and underscores only, and in a value every sign that
//! means something to a shell between double quotes has a backslash.

use std::collections::{BTreeSet, HashMap};

use crate::answer;
use crate::value::Value;

/// What the names of all variables begin with.
const PREFIX: &str = "CICD";

/// A file for a shell, and the names in it that stand for several values, of which the last counts.
#[derive(Debug, PartialEq, Eq)]
pub struct ShellFile {
    /// The lines.
    pub text: String,
    /// The names.
    pub collisions: BTreeSet<String>,
}

/// Writes a document, without what stands below one of the keys in `excluded`, and without what is empty or false.
pub fn write(document: &Value, excluded: &[String]) -> ShellFile {
    let mut writer = Writer {
        excluded,
        text: String::new(),
        paths: HashMap::new(),
        collisions: BTreeSet::new(),
    };
    writer.write(document, PREFIX, "");
    ShellFile {
        text: writer.text,
        collisions: writer.collisions,
    }
}

struct Writer<'a> {
    excluded: &'a [String],
    text: String,
    /// By their variables: what they stand for.
    paths: HashMap<String, String>,
    collisions: BTreeSet<String>,
}

impl Writer<'_> {
    fn write(&mut self, value: &Value, name: &str, path: &str) {
        match value {
            Value::Map(map) => {
                // The first name follows one underscore, and each other two.
                let between = if name == PREFIX { "_" } else { "__" };
                let kept = map.iter().filter(|(key, _)| !self.excluded.contains(key));
                for (key, value) in kept.collect::<Vec<_>>() {
                    let below = format!("{name}{between}{}", variable(key));
                    self.write(value, &below, &format!("{path}\0{key}"));
                }
            }
            Value::List(items) if path.ends_with(IN_LIST) && !items.is_empty() => {
                self.line(name, path, &answer::print(value));
            }
            Value::List(items) => {
                for (n, item) in items.iter().enumerate() {
                    self.write(
                        item,
                        &format!("{name}__{n}"),
                        &format!("{path}\0{n}{IN_LIST}"),
                    );
                }
            }
            leaf if leaf.is_truthy() => self.line(name, path, &answer::print(leaf)),
            _ => {}
        }
    }

    fn line(&mut self, name: &str, path: &str, value: &str) {
        let before = self.paths.insert(name.to_owned(), path.to_owned());
        if before.is_some_and(|before| before != path) {
            self.collisions.insert(name.to_owned());
        }
        self.text.push_str(&format!("{name}={}\n", quoted(value)));
    }
}

/// Ends the path of an item of a list.
const IN_LIST: char = '\u{1}';

/// A value between double quotes, of which a shell takes each sign for itself.
pub fn quoted(value: &str) -> String {
    let mut out = String::from('"');
    for c in value.chars() {
        match c {
            '"' | '\\' | '$' | '`' => out.extend(['\\', c]),
            // No variable can have it.
            '\0' => {}
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A key as a part of a name: whatever a name cannot have is one underscore.
fn variable(key: &str) -> String {
    let mut name = String::new();
    for c in key.chars() {
        match c.is_ascii_alphanumeric() || c == '_' {
            true => name.push(c),
            false if name.ends_with('\u{1}') => {}
            false => name.push('\u{1}'),
        }
    }
    name.replace('\u{1}', "_")
}

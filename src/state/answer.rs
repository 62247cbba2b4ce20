//! Values as `--get` prints them: for people and shells, or for the files of CI systems.

use crate::json::{self, Layout};
use crate::value::{Value, python_str};

/// The most that a result of a Tekton task may have, in bytes: all of them share what Kubernetes keeps of a container that
/// has ended.
///
/// Source: Tekton, "Emitting results from a Task".
pub const MOST_OF_TEKTON: usize = 4096;

/// The most that GitHub takes as outputs of a job, in bytes.
///
/// Source: GitHub, "Passing job outputs".
pub const MOST_OF_GITHUB: usize = 1024 * 1024;

/// In which form an answer is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Form {
    /// A text as it is, everything else as JSON; nothing at all for what is empty or false.
    #[default]
    Plain,
    /// JSON, whatever it is.
    Json,
    /// `NAME="value"`, a line for each leaf: what GitLab reads as a dotenv report, and a shell.
    Dotenv,
    /// `name=value`, or a block for several lines: what GitHub reads from the file `$GITHUB_OUTPUT`.
    Github,
    /// The bare value without a newline at its end: what Tekton reads from the file of a result.
    Tekton,
}

/// Why a value cannot be printed in a form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// The value has several lines.
    #[error(
        "`{0}` has several lines, which a dotenv report of GitLab cannot have; use --output json"
    )]
    Lines(String),
    /// Two values would have one name.
    #[error("two values would be called `{0}`; ask for each by itself")]
    SameName(String),
    /// It is longer than its reader takes.
    #[error("the value has {found} bytes, and {reader} takes at most {most}")]
    TooLong {
        /// Who reads it.
        reader: &'static str,
        /// How long it is.
        found: usize,
        /// How long it may be.
        most: usize,
    },
}

/// A value as it is printed: a text as it is, a map or a list as JSON, nothing for null.
pub fn print(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::List(_) | Value::Map(_) => json::write(value, Layout::Line),
        leaf => python_str(leaf),
    }
}

/// Prints a value that was asked for by `path`, with what ends it.
///
/// # Errors
/// [`FormError`].
pub fn format(value: &Value, path: &str, form: Form) -> Result<String, FormError> {
    match form {
        Form::Plain if value.is_truthy() || value.as_list().is_some() => Ok(print(value) + "\n"),
        Form::Plain => Ok(String::new()),
        Form::Json => Ok(json::write(value, Layout::Line) + "\n"),
        Form::Dotenv => {
            let lines = lines(value, path)?.into_iter().map(|(name, value)| {
                match value.contains(['\n', '\r']) {
                    true => Err(FormError::Lines(name)),
                    false => Ok(format!("{name}={}\n", crate::shell::quoted(&value))),
                }
            });
            lines.collect()
        }
        Form::Github => {
            let blocks = lines(value, path)?.into_iter().map(|(name, value)| {
                match value.contains(['\n', '\r']) {
                    // The delimiter stands nowhere in it: it would end there.
                    true => {
                        let end = delimiter(&value);
                        format!("{name}<<{end}\n{value}\n{end}\n")
                    }
                    false => format!("{name}={value}\n"),
                }
            });
            let text: String = blocks.collect();
            within(text, "GitHub", MOST_OF_GITHUB)
        }
        Form::Tekton => within(print(value), "a result of Tekton", MOST_OF_TEKTON),
    }
}

fn within(text: String, reader: &'static str, most: usize) -> Result<String, FormError> {
    let found = text.len();
    match found <= most {
        true => Ok(text),
        false => Err(FormError::TooLong {
            reader,
            found,
            most,
        }),
    }
}

/// A word that is no line of the text.
fn delimiter(text: &str) -> String {
    let mut end = "END".to_owned();
    while text.contains(&end) {
        end.push('_');
    }
    end
}

/// The leaves of a value with their names.
fn lines(value: &Value, path: &str) -> Result<Vec<(String, String)>, FormError> {
    let last = path.trim_start_matches("$.");
    let start = match value {
        Value::Map(_) => "",
        _ => last,
    };
    let mut found = Vec::new();
    leaves(value, &identifier(start), &mut found);
    let mut names = std::collections::HashSet::new();
    match found.iter().find(|(name, _)| !names.insert(name.clone())) {
        Some((name, _)) => Err(FormError::SameName(name.clone())),
        None => Ok(found),
    }
}

fn leaves(value: &Value, name: &str, found: &mut Vec<(String, String)>) {
    let below = |more: &str| match name {
        "" => identifier(more),
        name => format!("{name}_{}", identifier(more)),
    };
    match value {
        Value::Map(map) => {
            for (key, value) in map {
                leaves(value, &below(key), found);
            }
        }
        Value::List(_) => found.push((name.to_owned(), print(value))),
        leaf => found.push((name.to_owned(), print(leaf))),
    }
}

/// A name of letters, digits and underscores that does not begin with a digit.
fn identifier(name: &str) -> String {
    let is_kept = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut name: String = name
        .chars()
        .map(|c| if is_kept(c) { c } else { '_' })
        .collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        name.insert(0, '_');
    }
    name
}

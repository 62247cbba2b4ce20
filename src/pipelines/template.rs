//! Templates: what of Go's `text/template` scripts use.
//!
//! A template is read once ([`Template::parse`]) and rendered with the variables of a job ([`Template::render`]). Messages
//! are those of Go where clients show them. There are `{{ }}` with trimming and comments, fields, `index`, pipelines,
//! variables, `if`, `range` with `break` and `continue`, `with`, comparisons, `and`/`or`/`not`, `len`, `print`, `printf`,
//! `println`, `slice`; and `default` and `quote`. What of Go is missing is refused with its name.
//!
//! Unlike Go's, whole numbers are printed as they are written, and a number equals a number.
//!
//! Source: the documentation of Go's package `text/template`.

mod format;
mod functions;
mod lex;
mod parse;
mod run;

use crate::value::Variables;

/// What Go calls our templates.
const NAME: &str = "interpolate";

/// A template that was read.
#[derive(Debug, Clone)]
pub struct Template {
    text: String,
    nodes: Vec<parse::Node>,
}

/// Why a template has no text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("template: {NAME}:{0}")]
pub struct TemplateError(String);

impl TemplateError {
    /// It cannot be read.
    fn parse(text: &str, at: usize, words: impl Into<String>) -> TemplateError {
        let (line, _) = place(text, at);
        TemplateError(format!("{line}: {}", words.into()))
    }

    /// It cannot be rendered.
    fn run(text: &str, at: usize, written: &str, words: &str) -> TemplateError {
        let (line, column) = place(text, at);
        // Go cuts long ones.
        let short: String = written.chars().take(20).collect();
        let written = if short.len() < written.len() {
            format!("{short}...")
        } else {
            short
        };
        TemplateError(format!(
            "{line}:{column}: executing \"{NAME}\" at <{written}>: {words}"
        ))
    }
}

/// The line, from 1, and the bytes before it in that line.
fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    (
        line,
        before.len() - before.rfind('\n').map_or(0, |end| end + 1),
    )
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// [`TemplateError`] with the line and what is wrong there.
    pub fn parse(text: &str) -> Result<Template, TemplateError> {
        Ok(Template {
            text: text.to_owned(),
            nodes: parse::parse(text)?,
        })
    }

    /// Renders it.
    ///
    /// # Errors
    /// [`TemplateError`], for instance where a variable is missing.
    pub fn render(&self, variables: &Variables) -> Result<String, TemplateError> {
        run::render(&self.text, &self.nodes, variables)
    }
}

/// Reads a template and renders it.
///
/// # Errors
/// [`TemplateError`].
pub fn render(text: &str, variables: &Variables) -> Result<String, TemplateError> {
    Template::parse(text)?.render(variables)
}

/// One word of a shell, whatever is in it.
pub fn shell_word(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests;

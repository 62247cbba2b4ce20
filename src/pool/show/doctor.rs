//! What a doctor found, a line for each thing, and what to do below it.

use crate::step::{Finding, Health};
use terminal::one_line;
use terminal::table::{Style, cell, columns_of};

/// The findings as a text for people, with a newline at the end of each line. Nothing is cut off: these are to be read.
pub fn text(findings: &[Finding], style: Style) -> String {
    let about = findings.iter().map(|finding| columns_of(finding.about));
    let about = about.max().unwrap_or_default();
    let indent = " ".repeat("problem  ".len() + about + 2);
    let room = style.columns().saturating_sub(indent.len()).max(20);
    let mut text = String::new();
    for finding in findings {
        let word = cell(finding.health.as_str(), "problem".len());
        let word = match finding.health {
            Health::Fine => style.good(&word),
            Health::Untried => style.dim(&word),
            Health::Warning => style.notable(&word),
            Health::Problem => style.bad(&word),
        };
        let lines = folded(&finding.found, room);
        for (n, line) in lines.iter().enumerate() {
            if n == 0 {
                text += &format!("{word}  {}  {line}\n", cell(finding.about, about));
            } else {
                text += &format!("{indent}{line}\n");
            }
        }
        for (n, line) in folded(finding.advice.as_deref().unwrap_or_default(), room - 3)
            .iter()
            .enumerate()
        {
            let arrow = if n == 0 { "-> " } else { "   " };
            text += &format!("{indent}{}\n", style.dim(&format!("{arrow}{line}")));
        }
    }
    text
}

/// A text on lines of at most so many columns, broken between words; a word that is longer has a line of its own.
fn folded(text: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in one_line(text).split_whitespace() {
        match lines.last_mut() {
            Some(line) if columns_of(line) + 1 + columns_of(word) <= columns => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

impl Health {
    /// In one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Health::Fine => "ok",
            Health::Untried => "untried",
            Health::Warning => "warning",
            Health::Problem => "problem",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use terminal::Paint;

    #[test]
    fn each_finding_has_a_line_and_below_it_what_to_do() {
        let findings = [
            Finding {
                about: "server",
                health: Health::Fine,
                found: "it is there".to_owned(),
                advice: None,
            },
            Finding {
                about: "line",
                health: Health::Warning,
                found: "tickets are refused by a hook that has much to say about it".to_owned(),
                advice: Some("allow them".to_owned()),
            },
        ];
        let style = Style {
            width: 50,
            paint: Paint::Plain,
        };

        assert_eq!(
            text(&findings, style),
            "\
ok       server  it is there
warning  line    tickets are refused by a hook
                 that has much to say about it
                 -> allow them
"
        );
    }
}

//! Files with environment variables (`.env`).
//!
//! Source: the package `godotenv` that the original reads them with: `export`, comments, single quotes as they are, double
//! quotes with escapes, `$NAME` and `${NAME}` elsewhere.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

/// Variables by name.
pub type Environment = BTreeMap<OsString, OsString>;

/// Reads a file into an environment: what it has, it has from now on.
///
/// # Errors
/// The first line that cannot be read; nothing has changed then.
pub fn read(text: &str, environment: &mut Environment) -> Result<(), String> {
    let mut new = environment.clone();
    let mut rest = text.trim_start_matches('\u{feff}');
    let mut number = 1;
    while !rest.is_empty() {
        let line = rest.lines().next().unwrap_or_default();
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            rest = rest
                .get(line.len()..)
                .unwrap_or_default()
                .trim_start_matches('\r');
            rest = rest.strip_prefix('\n').unwrap_or(rest);
            number += 1;
            continue;
        }
        let before = rest.len();
        let (name, value, after) =
            variable(rest, &new).map_err(|fault| format!("line {number}: {fault}"))?;
        new.insert(name.into(), value.into());
        number += rest[..before - after.len()].matches('\n').count();
        rest = after;
    }
    *environment = new;
    Ok(())
}

/// A variable, its value, and what is behind its line.
fn variable<'a>(text: &'a str, known: &Environment) -> Result<(&'a str, String, &'a str), String> {
    let text = text.trim_start();
    let text = match text.strip_prefix("export") {
        Some(after) if after.starts_with([' ', '\t']) => after.trim_start(),
        _ => text,
    };
    let end = text
        .find(['=', ':', '\n'])
        .filter(|end| !text[*end..].starts_with('\n'));
    let Some(end) = end else {
        return Err("there is no `=`".to_owned());
    };
    let name = text[..end].trim();
    let is_of_name = |c: char| c == '_' || c == '.' || c == '-' || c.is_ascii_alphanumeric();
    if name.is_empty() || !name.chars().all(is_of_name) {
        return Err(format!("{name:?} is no name of a variable"));
    }
    let text = text[end + 1..].trim_start_matches([' ', '\t']);
    let (value, after) = match text.chars().next() {
        Some(quote @ ('\'' | '"')) => {
            let inside = &text[1..];
            let end = closing(inside, quote).ok_or("a quote is not closed")?;
            let (value, after) = (&inside[..end], &inside[end + 1..]);
            let value = match quote {
                '\'' => value.to_owned(),
                _ => expanded(value, known, true),
            };
            let line = after.lines().next().unwrap_or_default();
            let extra = line.trim();
            if !extra.is_empty() && !extra.starts_with('#') {
                return Err("there is something behind the closing quote".to_owned());
            }
            (value, &after[line.len()..])
        }
        _ => {
            let line = text.lines().next().unwrap_or_default();
            let comment = line
                .find(" #")
                .or(line.find("\t#"))
                .or(line.starts_with('#').then_some(0));
            let value = line[..comment.unwrap_or(line.len())].trim();
            (expanded(value, known, false), &text[line.len()..])
        }
    };
    if value.contains('\0') {
        return Err(format!("the value of {name} has a NUL in it"));
    }
    let after = after.strip_prefix('\r').unwrap_or(after);
    Ok((name, value, after.strip_prefix('\n').unwrap_or(after)))
}

fn closing(text: &str, quote: char) -> Option<usize> {
    let mut is_escaped = false;
    for (at, c) in text.char_indices() {
        if c == quote && !is_escaped {
            return Some(at);
        }
        is_escaped = quote == '"' && c == '\\' && !is_escaped;
    }
    None
}

fn expanded(text: &str, known: &Environment, has_escapes: bool) -> String {
    let mut value = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' if has_escapes || chars.peek() == Some(&'$') => match chars.next() {
                Some('n') => value.push('\n'),
                Some('r') => value.push('\r'),
                Some(c) => value.push(c),
                None => value.push('\\'),
            },
            '$' => {
                let has_braces = chars.next_if_eq(&'{').is_some();
                let mut name = String::new();
                while let Some(c) = chars.next_if(|c| *c == '_' || c.is_ascii_alphanumeric()) {
                    name.push(c);
                }
                if has_braces {
                    chars.next_if_eq(&'}');
                }
                if name.is_empty() {
                    value.push('$');
                } else if let Some(known) = known.get(OsStr::new(&name)) {
                    value.push_str(&known.to_string_lossy());
                }
            }
            c => value.push(c),
        }
    }
    value
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_file_of_variables_is_read() {
        let text = "\n# comment\nA=1\nexport B = two words # comment\nC='$A # literal\\n'\r\nD=\"x ${A} \\\"y\\\"\\nz\"\nE=$HOME/$NOPE.\nF=\nG: yaml\nA=3\nH=\"two\nlines\"\nI=a#b\n";
        let mut env =
            Environment::from([("HOME".into(), "/root".into()), ("A".into(), "0".into())]);

        read(text, &mut env).unwrap();

        let got: Vec<String> = env
            .iter()
            .map(|(name, value)| format!("{}={}", name.display(), value.display()))
            .collect();
        assert_eq!(
            got,
            [
                "A=3",
                "B=two words",
                "C=$A # literal\\n",
                "D=x 1 \"y\"\nz",
                "E=/root/.",
                "F=",
                "G=yaml",
                "H=two\nlines",
                "HOME=/root",
                "I=a#b"
            ]
        );
    }

    #[test]
    fn a_line_that_cannot_be_read_is_told() {
        for (text, fault) in [
            ("A=1\nnonsense\n", "line 2: there is no `=`"),
            ("A='x", "line 1: a quote is not closed"),
            ("A B=x", "line 1: \"A B\" is no name of a variable"),
            (
                "A='x' y",
                "line 1: there is something behind the closing quote",
            ),
        ] {
            let mut env = Environment::new();
            assert_eq!(read(text, &mut env), Err(fault.to_owned()));
            assert!(env.is_empty());
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "([A-Z]|=|'|\"|\\\\|\\$|\\{|\\}|#| |\n|\r|:|é|export ){0,40}") {
            let _ = read(&text, &mut Environment::new());
        }
    }
}

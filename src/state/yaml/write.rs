//! Writing YAML.

use super::plain;
use crate::value::{Value, python_float};

/// The longest key that is written in the short way. Readers look so far ahead for its colon.
const MOST_SHORT_KEY: usize = 120;

/// Writes a value as PyYAML does: a line for each, maps and lists as blocks, and whatever is not ASCII escaped.
pub fn write(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Map(map) if !map.is_empty() => block(value, 0, &mut out),
        Value::List(items) if !items.is_empty() => block(value, 0, &mut out),
        single => {
            line(single, &mut out);
            out.push('\n');
        }
    }
    out
}

/// Writes a map or list that has something in it; the place of its first line has been reached.
fn block(value: &Value, level: usize, out: &mut String) {
    match value {
        Value::Map(map) => {
            for (n, (name, value)) in map.iter().enumerate() {
                indent(n, level, out);
                let start = out.len();
                text(name, out);
                if out.len() - start > MOST_SHORT_KEY {
                    out.insert_str(start, "? ");
                    out.push('\n');
                    indent(1, level, out);
                }
                out.push(':');
                match value {
                    Value::Map(map) if !map.is_empty() => {
                        out.push('\n');
                        indent(1, level + 1, out);
                        block(value, level + 1, out);
                    }
                    // As PyYAML has it: no further in than the key.
                    Value::List(items) if !items.is_empty() => {
                        out.push('\n');
                        indent(1, level, out);
                        block(value, level, out);
                    }
                    single => {
                        out.push(' ');
                        line(single, out);
                        out.push('\n');
                    }
                }
            }
        }
        Value::List(items) => {
            for (n, item) in items.iter().enumerate() {
                indent(n, level, out);
                out.push_str("- ");
                match item {
                    Value::Map(map) if !map.is_empty() => block(item, level + 1, out),
                    Value::List(items) if !items.is_empty() => block(item, level + 1, out),
                    single => {
                        line(single, out);
                        out.push('\n');
                    }
                }
            }
        }
        single => line(single, out),
    }
}

fn indent(n: usize, level: usize, out: &mut String) {
    if n > 0 {
        out.extend(std::iter::repeat_n("  ", level));
    }
}

/// Writes what fits on one line.
fn line(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Int(number) => out.push_str(&number.to_string()),
        Value::Float(number) => {
            let number = python_float(*number);
            // Without a point PyYAML takes it for a text.
            match number.split_once('e') {
                Some((digits, exponent)) if !digits.contains('.') => {
                    out.push_str(&format!("{digits}.0e{exponent}"));
                }
                _ => out.push_str(&number),
            }
        }
        Value::Text(content) => text(content, out),
        Value::List(_) => out.push_str("[]"),
        Value::Map(_) => out.push_str("{}"),
    }
}

fn text(text: &str, out: &mut String) {
    if plain::is_text_without_quotes(text) {
        out.push_str(text);
    } else if text.bytes().all(|b| matches!(b, b' '..=b'~')) {
        out.push('\'');
        out.push_str(&text.replace('\'', "''"));
        out.push('\'');
    } else {
        escaped(text, out);
    }
}

fn escaped(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0' => out.push_str("\\0"),
            ' '..='~' => out.push(c),
            c => {
                let code = u32::from(c);
                out.push_str(&match code {
                    0..=0xff => format!("\\x{code:02X}"),
                    0x100..=0xffff => format!("\\u{code:04X}"),
                    _ => format!("\\U{code:08X}"),
                });
            }
        }
    }
    out.push('"');
}

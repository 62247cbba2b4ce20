//! What a text without quotes stands for.

use crate::value::Value;

/// The value of a text without quotes.
pub(super) fn value(text: &str) -> Value {
    if let Some(value) = word(text) {
        return value;
    }
    // Nothing else begins so, and most texts are none of them.
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.')) {
        return Value::from(text);
    }
    if let Some(number) = int(text) {
        return Value::Int(number);
    }
    match float(text) {
        Some(number) => Value::Float(number),
        None => Value::from(text),
    }
}

/// Whether PyYAML, too, takes a text for a text when it stands without quotes. It may say no too often.
pub(super) fn is_text_without_quotes(text: &str) -> bool {
    let is_of_text = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '/' | '.' | '-');
    // Within a text, and not at its ends.
    let is_within = |c: char| is_of_text(c) || matches!(c, ' ' | '+' | '@' | '=' | '(' | ')');
    text.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '/'))
        && text.ends_with(is_of_text)
        && text.chars().all(is_within)
        && word(text).is_none()
}

fn word(text: &str) -> Option<Value> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Some(Value::Null),
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            Some(Value::Bool(true))
        }
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Some(Value::Bool(false))
        }
        _ => None,
    }
}

fn int(text: &str) -> Option<i128> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let (base, digits) = match digits.as_bytes() {
        [b'0'] => (10, digits),
        [b'0', b'x', ..] => (16, &digits[2..]),
        [b'0', b'b', ..] => (2, &digits[2..]),
        [b'1'..=b'9', ..] => (10, digits),
        _ => return None,
    };
    if digits.is_empty() || digits.contains(['+', '-']) {
        return None;
    }
    let digits = format!("{sign}{}", digits.replace('_', ""));
    i128::from_str_radix(&digits, base).ok()
}

fn float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, rest) = unsigned.split_once('.')?;
    let (fraction, exponent) = match rest.split_once(['e', 'E']) {
        Some((fraction, exponent)) => (fraction, Some(exponent)),
        None => (rest, None),
    };
    let is_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || b == b'_');
    let begins = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
    let is_begun = match whole {
        "" => begins(fraction) && unsigned.len() == text.len(),
        _ => begins(whole),
    };
    let has_exponent = exponent.is_none_or(|exponent| {
        let digits = exponent.strip_prefix(['-', '+']);
        digits.is_some_and(|d| !d.is_empty() && d.bytes().all(|b| b.is_ascii_digit()))
    });
    if !(is_begun && is_digits(whole) && is_digits(fraction) && has_exponent) {
        return None;
    }
    let number: f64 = text.replace('_', "").parse().ok()?;
    number.is_finite().then_some(number)
}

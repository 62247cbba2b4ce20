//! How values are printed.

use crate::value::{Number, Value};

/// A value as Go prints it, but for whole numbers, which are as they are written.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number_shown(number),
        Value::Text(text) => text.clone(),
        Value::List(items) => {
            let items: Vec<String> = items.iter().map(shown).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Map(items) => {
            let items: Vec<String> = items
                .iter()
                .map(|(name, item)| format!("{name}:{}", shown(item)))
                .collect();
            format!("map[{}]", items.join(" "))
        }
    }
}

fn number_shown(number: &Number) -> String {
    if number.is_whole() {
        return number.text().to_owned();
    }
    general(number.as_float())
}

/// As Go's `%v` of a float: the shortest that reads back the same, with an exponent below 1e-4 and from 1e21.
fn general(float: f64) -> String {
    let exponent = exponent_of(float);
    if float != 0.0 && !(-4..21).contains(&exponent) {
        with_exponent(&format!("{float:e}"))
    } else {
        format!("{float}")
    }
}

fn exponent_of(float: f64) -> i32 {
    let text = format!("{float:e}");
    text.split_once('e')
        .and_then(|(_, exponent)| exponent.parse().ok())
        .unwrap_or_default()
}

/// `1e7` with at least two digits and a sign: `1e+07`.
fn with_exponent(text: &str) -> String {
    let (digits, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    format!("{digits}e{sign}{exponent:0>2}")
}

/// With a space between two values of which neither is a string.
pub(super) fn print(values: &[Value]) -> String {
    let mut text = String::new();
    for (at, value) in values.iter().enumerate() {
        let is_text = |value: &Value| matches!(value, Value::Text(_));
        if at > 0 && !is_text(value) && !is_text(&values[at - 1]) {
            text.push(' ');
        }
        text.push_str(&shown(value));
    }
    text
}

pub(super) fn println(values: &[Value]) -> String {
    let texts: Vec<String> = values.iter().map(shown).collect();
    texts.join(" ") + "\n"
}

/// The widest that a value is printed.
const WIDEST: usize = 4096;

#[derive(Default)]
struct Verb {
    left: bool,
    plus: bool,
    space: bool,
    zero: bool,
    width: usize,
    precision: Option<usize>,
}

/// As Go's `Sprintf`, with the verbs `%v %s %q %d %x %X %o %b %c %f %e %g %t %%`.
pub(super) fn printf(format: &str, values: &[Value]) -> Result<String, String> {
    let mut text = String::new();
    let mut left = values.iter();
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            text.push(c);
            continue;
        }
        let mut verb = Verb::default();
        while let Some(flag) = chars.next_if(|c| "-+ 0#".contains(*c)) {
            match flag {
                '-' => verb.left = true,
                '+' => verb.plus = true,
                ' ' => verb.space = true,
                '0' => verb.zero = true,
                _ => {}
            }
        }
        let mut number = || {
            let mut digits = String::new();
            while let Some(digit) = chars.next_if(char::is_ascii_digit) {
                digits.push(digit);
            }
            let number = if digits.is_empty() {
                0
            } else {
                digits.parse().unwrap_or(usize::MAX)
            };
            match number <= WIDEST {
                true => Ok(number),
                false => Err(format!("a width of {digits} is too large")),
            }
        };
        verb.width = number()?;
        if chars.next_if_eq(&'.').is_some() {
            let mut digits = String::new();
            while let Some(digit) = chars.next_if(char::is_ascii_digit) {
                digits.push(digit);
            }
            let precision = if digits.is_empty() {
                Ok(0)
            } else {
                digits.parse()
            };
            let precision = precision.ok().filter(|precision| *precision <= WIDEST);
            verb.precision =
                Some(precision.ok_or_else(|| format!("a precision of {digits} is too large"))?);
        }
        match chars.next() {
            None => text.push_str("%!(NOVERB)"),
            Some('%') => text.push('%'),
            Some(letter) => match left.next() {
                Some(value) => text.push_str(&verb.format(letter, value)),
                None => text.push_str(&format!("%!{letter}(MISSING)")),
            },
        }
    }
    let extra: Vec<String> = left
        .map(|value| format!("{}={}", kind(value), shown(value)))
        .collect();
    if !extra.is_empty() {
        text.push_str(&format!("%!(EXTRA {})", extra.join(", ")));
    }
    Ok(text)
}

/// What Go calls the type.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_whole() => "int",
        Value::Number(_) => "float64",
        Value::Text(_) => "string",
        Value::List(_) => "[]interface {}",
        Value::Map(_) => "map[string]interface {}",
    }
}

impl Verb {
    fn format(&self, letter: char, value: &Value) -> String {
        let text = match (letter, value) {
            ('v', Value::Number(number)) => self.signed(number_shown(number)),
            ('s', Value::Text(text)) | ('v', Value::Text(text)) => self.cut(text),
            ('v' | 's', Value::List(_) | Value::Map(_)) | ('v', _) => shown(value),
            ('t', Value::Bool(value)) => value.to_string(),
            ('q', Value::Text(text)) => format!("{text:?}"),
            ('x', Value::Text(text)) => text.bytes().map(|byte| format!("{byte:02x}")).collect(),
            ('X', Value::Text(text)) => text.bytes().map(|byte| format!("{byte:02X}")).collect(),
            ('d' | 'x' | 'X' | 'o' | 'b' | 'c' | 'q', Value::Number(number))
                if number.is_whole() =>
            {
                self.whole(letter, number)
            }
            ('f' | 'F' | 'e' | 'E' | 'g' | 'G', Value::Number(number)) => {
                self.float(letter, number.as_float())
            }
            (letter, value) => format!("%!{letter}({}={})", kind(value), shown(value)),
        };
        self.padded(text, matches!(value, Value::Number(_)))
    }

    fn cut(&self, text: &str) -> String {
        text.chars()
            .take(self.precision.unwrap_or(usize::MAX))
            .collect()
    }

    fn signed(&self, text: String) -> String {
        match (text.starts_with('-'), self.plus, self.space) {
            (false, true, _) => format!("+{text}"),
            (false, false, true) => format!(" {text}"),
            _ => text,
        }
    }

    fn whole(&self, letter: char, number: &Number) -> String {
        let Some(value) = number.as_whole() else {
            return self.signed(number.text().to_owned());
        };
        let sign = if value < 0 { "-" } else { "" };
        let size = value.unsigned_abs();
        let text = match letter {
            'x' => format!("{sign}{size:x}"),
            'X' => format!("{sign}{size:X}"),
            'o' => format!("{sign}{size:o}"),
            'b' => format!("{sign}{size:b}"),
            'c' | 'q' => {
                let c = u32::try_from(value)
                    .ok()
                    .and_then(char::from_u32)
                    .unwrap_or('\u{fffd}');
                return if letter == 'c' {
                    c.to_string()
                } else {
                    format!("{c:?}")
                };
            }
            _ => format!("{sign}{size}"),
        };
        self.signed(text)
    }

    fn float(&self, letter: char, float: f64) -> String {
        let precision = self.precision.unwrap_or(6);
        let text = match letter {
            'f' | 'F' => format!("{float:.precision$}"),
            'e' | 'E' => with_exponent(&format!("{float:.precision$e}")),
            _ => match self.precision {
                None => general(float),
                Some(precision) => {
                    let digits = precision.max(1);
                    let exponent = exponent_of(float);
                    let rounded: f64 = format!("{float:.*e}", digits - 1).parse().unwrap_or(float);
                    match float != 0.0 && !(-4..digits as i32).contains(&exponent) {
                        true => with_exponent(&format!("{rounded:e}")),
                        false => format!("{rounded}"),
                    }
                }
            },
        };
        let text = if letter.is_uppercase() {
            text.to_uppercase()
        } else {
            text
        };
        self.signed(text)
    }

    fn padded(&self, text: String, is_number: bool) -> String {
        let missing = self.width.saturating_sub(text.chars().count());
        if self.left {
            text + &" ".repeat(missing)
        } else if self.zero && is_number {
            let (sign, digits) = text.split_at(usize::from(text.starts_with(['-', '+'])));
            format!("{sign}{}{digits}", "0".repeat(missing))
        } else {
            " ".repeat(missing) + &text
        }
    }
}

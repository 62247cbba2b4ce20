//! What has a value: literals, fields, variables, functions, brackets.

use super::super::lex::{Kind, Token};
use super::super::{TemplateError, functions};
use super::{Operand, Parser, What};
use crate::value::{Number, Value};

impl Parser<'_> {
    pub(super) fn operand(&mut self) -> Result<Option<Operand>, TemplateError> {
        let token = self.peek();
        let at = token.at;
        let what = match token.kind {
            Kind::Word(word) => match word.as_str() {
                "true" | "false" => What::Literal(Value::Bool(word == "true")),
                "nil" => What::Literal(Value::Null),
                name => match functions::named(name) {
                    Ok(function) => What::Function(function),
                    Err(words) => return self.fail(at, words),
                },
            },
            Kind::Dot => What::Dot,
            Kind::Field(name) => What::Field(vec![name]),
            Kind::Variable(name) => {
                if !self.variables.contains(&name) {
                    return self.fail(at, format!("undefined variable \"{name}\""));
                }
                What::Variable(name, Vec::new())
            }
            Kind::Str(text) => What::Literal(Value::Text(text)),
            Kind::Char(c) => What::Literal(Value::Number(Number::whole(i128::from(u32::from(c))))),
            Kind::Number(text) => match number(&text) {
                Some(number) => What::Literal(Value::Number(number)),
                None => return self.fail(at, format!("bad number syntax: {text:?}")),
            },
            Kind::Open1 => {
                self.deeper(at)?;
                self.at += 1;
                let pipeline = self.pipeline("parenthesized pipeline", &Kind::Close1)?;
                self.at -= 1;
                self.depth -= 1;
                What::Pipeline(pipeline, Vec::new())
            }
            _ => return Ok(None),
        };
        self.at += 1;
        self.with_fields(at, what).map(Some)
    }

    /// The fields that follow without a space.
    fn with_fields(&mut self, at: usize, what: What) -> Result<Operand, TemplateError> {
        let mut what = what;
        let mut place = at;
        while let Token {
            at: here,
            kind: Kind::Field(name),
        } = self.peek()
        {
            let fields = match &mut what {
                What::Field(fields) => {
                    place = if fields.len() == 1 { here } else { place };
                    fields
                }
                What::Variable(_, fields) | What::Pipeline(_, fields) => {
                    place = if fields.is_empty() { here } else { place };
                    fields
                }
                _ => {
                    return self.fail(
                        here,
                        format!("unexpected . after term {:?}", &self.text[at..here]),
                    );
                }
            };
            fields.push(name);
            self.at += 1;
        }
        let end = self.peek().at;
        let written = self
            .text
            .get(at..end)
            .unwrap_or_default()
            .trim_end()
            .to_owned();
        Ok(Operand {
            at: place,
            written,
            what,
        })
    }
}

/// A number as Go writes it.
fn number(text: &str) -> Option<Number> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let digits = digits.replace('_', "");
    let lower = digits.to_ascii_lowercase();
    for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        if let Some(digits) = lower.strip_prefix(prefix) {
            let number = i128::from_str_radix(digits, radix).ok()?;
            return Some(Number::whole(if sign.is_empty() {
                number
            } else {
                -number
            }));
        }
    }
    if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let digits = match digits.trim_start_matches('0') {
            "" => "0",
            digits => digits,
        };
        return Number::parse(&format!("{sign}{digits}"));
    }
    let float: f64 = digits.parse().ok()?;
    let is_plain = digits.starts_with(|c: char| c == '.' || c.is_ascii_digit());
    (is_plain && float.is_finite()).then(|| Number::parse(&format!("{sign}{float}")))?
}

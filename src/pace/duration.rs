//! Durations as Go writes them (`90s`, `1h30m`, `1.5h`, `300ms`), with days besides (`7d`), and as people read them (`2h 05m`).

use std::time::Duration;

/// Why a text is not a duration that one can wait for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Not numbers with units.
    #[error("it is not a number with a unit after it, once or several times")]
    Malformed,
    /// A number without a unit.
    #[error("a number in it has no unit; units are d, h, m, s, ms, us and ns")]
    NoUnit,
    /// A unit that there is not.
    #[error("`{}` is not a unit; units are d, h, m, s, ms, us and ns", .0.escape_debug())]
    UnknownUnit(String),
    /// Less than nothing.
    #[error("it is negative")]
    Negative,
    /// More than Go's durations can be.
    #[error("it is too long; 292 years is the most")]
    TooLong,
}

/// The longest duration of Go, whose durations are signed 64-bit numbers of nanoseconds.
const MOST_NANOS: u64 = i64::MAX.unsigned_abs();

/// Parses a duration to the same nanosecond as Go would. There are days besides, of 24 hours.
///
/// # Errors
/// [`DurationError`]: for what Go refuses, but for days, and for negative durations.
///
/// Source: `ParseDuration` of Go's package `time`.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let nanos = match unsigned {
        "" => return Err(DurationError::Malformed),
        // The one number that needs no unit.
        "0" => 0,
        _ => nanos_of(unsigned)?,
    };
    if negative && nanos > 0 {
        return Err(DurationError::Negative);
    }
    Ok(Duration::from_nanos(nanos))
}

/// Makes a duration of a bare number, which Go takes for nanoseconds.
///
/// # Errors
/// [`DurationError::Negative`] and [`DurationError::TooLong`].
pub fn from_nanos(nanos: i128) -> Result<Duration, DurationError> {
    if nanos < 0 {
        return Err(DurationError::Negative);
    }
    match u64::try_from(nanos) {
        Ok(nanos) if nanos <= MOST_NANOS => Ok(Duration::from_nanos(nanos)),
        _ => Err(DurationError::TooLong),
    }
}

fn nanos_of(text: &str) -> Result<u64, DurationError> {
    let mut total: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let whole = take_while(&mut rest, |c| c.is_ascii_digit());
        let fraction = match rest.strip_prefix('.') {
            Some(after) => {
                rest = after;
                take_while(&mut rest, |c| c.is_ascii_digit())
            }
            None => "",
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(DurationError::Malformed);
        }
        let unit = take_while(&mut rest, |c| c != '.' && !c.is_ascii_digit());
        let unit_nanos = nanos_per(unit)?;

        let part = whole_number(whole)
            .and_then(|number| number.checked_mul(unit_nanos))
            .and_then(|nanos| nanos.checked_add(fraction_nanos(fraction, unit_nanos)));
        total = part
            .and_then(|part| total.checked_add(part))
            .filter(|total| *total <= MOST_NANOS)
            .ok_or(DurationError::TooLong)?;
    }
    Ok(total)
}

fn take_while<'a>(rest: &mut &'a str, belongs: impl Fn(char) -> bool) -> &'a str {
    let end = rest.find(|c| !belongs(c)).unwrap_or(rest.len());
    let (taken, left) = rest.split_at(end);
    *rest = left;
    taken
}

fn nanos_per(unit: &str) -> Result<u64, DurationError> {
    match unit {
        "" => Err(DurationError::NoUnit),
        "ns" => Ok(1),
        // The micro sign and the Greek letter look the same.
        "us" | "\u{b5}s" | "\u{3bc}s" => Ok(1_000),
        "ms" => Ok(1_000_000),
        "s" => Ok(1_000_000_000),
        "m" => Ok(60 * 1_000_000_000),
        "h" => Ok(3_600 * 1_000_000_000),
        "d" => Ok(86_400 * 1_000_000_000),
        _ => Err(DurationError::UnknownUnit(unit.to_owned())),
    }
}

/// The number that `digits` write, nothing when there are none; `None` when it is too large.
fn whole_number(digits: &str) -> Option<u64> {
    if digits.is_empty() {
        Some(0)
    } else {
        digits.parse().ok()
    }
}

/// The part behind the point, in nanoseconds.
///
/// Go drops the digits that do not fit into 63 bits and multiplies as floating point; so do we, to get its very number.
fn fraction_nanos(digits: &str, unit_nanos: u64) -> u64 {
    let mut number: u64 = 0;
    let mut scale: f64 = 1.0;
    for digit in digits.bytes().map(|byte| u64::from(byte - b'0')) {
        let grown = number
            .checked_mul(10)
            .and_then(|tens| tens.checked_add(digit));
        match grown.filter(|grown| *grown <= MOST_NANOS) {
            Some(grown) => number = grown,
            None => break,
        }
        scale *= 10.0;
    }
    (number as f64 * (unit_nanos as f64 / scale)) as u64
}

/// A duration without the fractions of a second, which nobody wants to read.
pub fn whole_seconds(duration: Duration) -> Duration {
    Duration::from_secs(duration.as_secs())
}

/// A duration in a sentence, in the two largest units that it has: `2m 1s`, `26d 10h`, `6y 330d`, `300ms`.
pub fn in_two_units(time: Duration) -> String {
    const UNITS: [(u64, &str); 5] = [
        (365 * 86_400, "y"),
        (86_400, "d"),
        (3600, "h"),
        (60, "m"),
        (1, "s"),
    ];
    let seconds = time.as_secs();
    let Some(first) = UNITS.iter().position(|(unit, _)| seconds >= *unit) else {
        return match time.subsec_millis() {
            0 => "0s".to_owned(),
            millis => format!("{millis}ms"),
        };
    };
    let (unit, name) = UNITS[first];
    let mut text = format!("{}{name}", seconds / unit);
    if let Some((smaller, name)) = UNITS.get(first + 1) {
        let rest = seconds % unit / smaller;
        if rest > 0 {
            text += &format!(" {rest}{name}");
        }
    }
    text
}

/// A duration that somebody has set, as people write it in settings: in one unit where the number is not too large, so `24h`
/// and `90m`, else `1h59m59s`.
pub fn as_set(time: Duration) -> String {
    const UNITS: [(u128, &str); 6] = [
        (3_600_000_000_000, "h"),
        (60_000_000_000, "m"),
        (1_000_000_000, "s"),
        (1_000_000, "ms"),
        (1000, "us"),
        (1, "ns"),
    ];
    const MOST: u128 = 999;
    let mut nanos = time.as_nanos();
    let whole = UNITS.iter().find(|(unit, _)| nanos.is_multiple_of(*unit));
    let whole = whole.map(|(unit, name)| (nanos / unit, name));
    if let Some((number, name)) = whole.filter(|(number, _)| (1..=MOST).contains(number)) {
        return format!("{number}{name}");
    }
    let mut text = String::new();
    for (unit, name) in UNITS {
        if nanos >= unit {
            text += &format!("{}{name}", nanos / unit);
            nanos %= unit;
        }
    }
    match text.is_empty() {
        true => "0s".to_owned(),
        false => text,
    }
}

/// A duration in its two largest units, for people: `45s`, `12m`, `2h 05m`, `3d 04h`.
pub fn length(time: Duration) -> String {
    let seconds = time.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        ..=59 => format!("{seconds}s"),
        60..=3599 => format!("{minutes}m"),
        3600..=86_399 => format!("{hours}h {:02}m", minutes % 60),
        86_400..=8_639_999 => format!("{days}d {:02}h", hours % 24),
        _ => format!("{days}d"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const MINUTE: u64 = 60 * SECOND;
    const HOUR: u64 = 60 * MINUTE;

    #[test]
    fn durations_mean_what_they_mean_to_go() {
        let table = [
            ("0", 0),
            ("-0", 0),
            ("-0s", 0),
            ("0s", 0),
            ("5s", 5 * SECOND),
            ("+5s", 5 * SECOND),
            ("60s", MINUTE),
            ("90m", 90 * MINUTE),
            ("1h", HOUR),
            ("1h30m", HOUR + 30 * MINUTE),
            ("7d", 7 * 24 * HOUR),
            ("1.5d2h", 38 * HOUR),
            ("30m1h", HOUR + 30 * MINUTE),
            ("1m1m", 2 * MINUTE),
            ("300ms", 300_000_000),
            ("1.5h", HOUR + 30 * MINUTE),
            ("5.s", 5 * SECOND),
            (".5s", SECOND / 2),
            ("1.004s", SECOND + 4_000_000),
            ("1.0040s", SECOND + 4_000_000),
            ("100.00100s", 100 * SECOND + 1_000_000),
            ("10ns", 10),
            ("0.9ns", 0),
            ("11us", 11_000),
            ("12µs", 12_000),
            ("12\u{3bc}s", 12_000),
            ("3h30m0.5s", 3 * HOUR + 30 * MINUTE + SECOND / 2),
            ("39h9m14.425s", 39 * HOUR + 9 * MINUTE + 14_425_000_000),
            ("52763797000ns", 52_763_797_000),
            // More digits than fit, which round as Go's do.
            ("0.3333333333333333333h", 20 * MINUTE),
            ("0.100000000000000000000h", 6 * MINUTE),
            ("0.830103483285477580700h", 49 * MINUTE + 48_372_539_827),
            ("9007199254740993ns", 9_007_199_254_740_993),
            ("9223372036854775807ns", MOST_NANOS),
            ("9223372036854775.807us", MOST_NANOS),
            ("2562047h47m16.854775807s", MOST_NANOS),
        ];

        for (text, nanos) in table {
            assert_eq!(parse(text), Ok(Duration::from_nanos(nanos)), "{text}");
        }
    }

    #[test]
    fn in_a_sentence_a_duration_has_two_units_at_most() {
        for (nanos, text) in [
            (0, "0s"),
            (300_000_000, "300ms"),
            (45 * SECOND + 1, "45s"),
            (2 * MINUTE, "2m"),
            (2 * MINUTE + SECOND, "2m 1s"),
            (HOUR + SECOND, "1h"),
            (10 * HOUR + 36 * MINUTE + 47 * SECOND, "10h 36m"),
            (24 * HOUR, "1d"),
            (26 * 24 * HOUR + 10 * HOUR + MINUTE, "26d 10h"),
            ((6 * 365 + 330) * 24 * HOUR + HOUR, "6y 330d"),
        ] {
            assert_eq!(in_two_units(Duration::from_nanos(nanos)), text);
        }
    }

    #[test]
    fn a_setting_is_shown_as_settings_are_written() {
        for (nanos, text) in [
            (0, "0s"),
            (24 * HOUR, "24h"),
            (90 * MINUTE, "90m"),
            (90 * SECOND, "90s"),
            (300_000_000, "300ms"),
            (1001, "1us1ns"),
            (2 * HOUR - SECOND, "1h59m59s"),
            (1000 * HOUR, "1000h"),
        ] {
            let time = Duration::from_nanos(nanos);
            assert_eq!(as_set(time), text);
            assert_eq!(parse(text), Ok(time));
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_and_says_why() {
        use DurationError::*;
        let unit = |unit: &str| UnknownUnit(unit.to_owned());
        let table = [
            ("", Malformed),
            ("-", Malformed),
            ("+", Malformed),
            ("s", Malformed),
            (".", Malformed),
            (".s", Malformed),
            ("+.s", Malformed),
            ("--5s", Malformed),
            (" 5s", Malformed),
            ("soon", Malformed),
            ("3", NoUnit),
            ("00", NoUnit),
            ("1h30", NoUnit),
            ("1.2.3s", NoUnit),
            ("1w", unit("w")),
            ("5s ", unit("s ")),
            ("5S", unit("S")),
            ("1e3s", unit("e")),
            ("1\u{0}s", unit("\u{0}s")),
            ("-5s", Negative),
            ("-1h30m", Negative),
            ("9223372036854775808ns", TooLong),
            ("9223372036854775.808us", TooLong),
            ("2562047h47m16.854775808s", TooLong),
            ("3000000h", TooLong),
            ("99999999999999999999999s", TooLong),
        ];

        for (text, error) in table {
            assert_eq!(parse(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn a_bare_number_is_nanoseconds() {
        assert_eq!(from_nanos(0), Ok(Duration::ZERO));
        assert_eq!(from_nanos(60_000_000_000), Ok(Duration::from_secs(60)));
        assert_eq!(
            from_nanos(i64::MAX.into()),
            Ok(Duration::from_nanos(MOST_NANOS))
        );
        assert_eq!(from_nanos(-1), Err(DurationError::Negative));
        assert_eq!(
            from_nanos(i128::from(i64::MAX) + 1),
            Err(DurationError::TooLong)
        );
        assert_eq!(from_nanos(u64::MAX.into()), Err(DurationError::TooLong));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in any::<String>()) {
            let _ = parse(&text);
        }

        #[test]
        fn no_text_made_of_its_own_letters_makes_the_parser_panic(text in "[-+]?([0-9.]{0,30}(h|m|s|ms|us|µs|ns)?){0,6}") {
            let _ = parse(&text);
        }

        #[test]
        fn hours_minutes_seconds_and_milliseconds_add_up(
            h in 0u64..100_000, m in 0u64..100_000, s in 0u64..100_000, ms in 0u64..100_000
        ) {
            let nanos = h * HOUR + m * MINUTE + s * SECOND + ms * 1_000_000;

            prop_assert_eq!(parse(&format!("{h}h{m}m{s}s{ms}ms")), Ok(Duration::from_nanos(nanos)));
        }
    }

    #[test]
    fn a_length_of_time_has_its_two_largest_units() {
        for (seconds, shown) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (3599, "59m"),
            (3600, "1h 00m"),
            (7500, "2h 05m"),
            (86_400, "1d 00h"),
            (86_400 * 99 + 3600 * 5, "99d 05h"),
            (86_400 * 1400 + 3600 * 5, "1400d"),
        ] {
            assert_eq!(length(Duration::from_secs(seconds)), shown);
        }
    }

    #[test]
    fn a_unit_with_a_control_character_is_told_without_it() {
        let told = parse("1\u{7f}s").map_err(|err| err.to_string());
        let told = told.err().unwrap_or_default();

        assert!(told.starts_with("`\\u{7f}s` is not a unit"), "{told}");
    }
}

//! Keys that nobody knows, and what was probably meant by them.

use super::keys::Keys;

/// What there is to say of keys of `keys`, each on a line: those that are none, and look like one of `known`. Others are not
/// our business, for a pipeline may have keys for other tools.
pub(super) fn notes(keys: &Keys<'_>, known: &[&str]) -> Vec<String> {
    let unknown = keys.names().filter(|name| !known.contains(name));
    let notes = unknown.filter_map(|name| {
        let meant = known.iter().find(|known| is_meant(name, known))?;
        Some(format!(
            "note: `{}` means nothing, and is ignored; `{meant}` is what it is called",
            keys.path_of(&terminal::one_line(name))
        ))
    });
    notes.collect()
}

/// Whether `name` is a slip for `known`: other signs between the words, other capitals, or one letter too much, too few,
/// wrong or in the wrong place.
fn is_meant(name: &str, known: &str) -> bool {
    let (name, known) = (plain(name), plain(known));
    // In short names one letter makes another word.
    const LONG_ENOUGH: usize = 5;
    name == known || (known.len() >= LONG_ENOUGH && strsim::osa_distance(&name, &known) <= 1)
}

fn plain(name: &str) -> String {
    let letters = name.chars().filter(|c| !matches!(c, '-' | '_' | ' ' | '.'));
    letters.flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn a_slip_is_told_and_other_keys_are_not() {
        let document = json!({
            "retry-delay": "1s", "privateKey": "MARKER", "passwrod": "MARKER", "brnch": 1, "usernames": 1,
            "branch": "main", "pools": 1, "url": 1, "webhook": 1, "known_host": 1,
        });
        let known = [
            "uri",
            "branch",
            "pool",
            "retry_delay",
            "private_key",
            "password",
            "username",
        ];

        let notes = notes(&Keys::of(&document).unwrap(), &known);

        let meant: Vec<(&str, &str)> = notes
            .iter()
            .map(|note| {
                let mut quoted = note.split('`').skip(1).step_by(2);
                (quoted.next().unwrap(), quoted.next().unwrap())
            })
            .collect();
        assert_eq!(
            meant,
            [
                ("brnch", "branch"),
                ("passwrod", "password"),
                ("privateKey", "private_key"),
                ("retry-delay", "retry_delay"),
                ("usernames", "username"),
            ]
        );
        assert!(!notes.join("").contains("MARKER"));
    }
}

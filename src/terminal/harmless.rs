//! What strangers wrote, made harmless: it cannot break a line of a log or act on a terminal.

/// A text from outside as it may stand in a message: it cannot break the line or act on the terminal.
pub fn one_line(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            shown.extend(c.escape_debug());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// How many bytes of what a server says are shown.
pub const SHOWN: usize = 4096;

/// What a server says, fit for a log: text on one line, without control characters, at most 4096 bytes of it.
pub fn words(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN)]);
    text.lines()
        .map(|line| line.chars().filter(|c| !c.is_control()).collect::<String>())
        .map(|line| line.trim().to_owned())
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join("; ")
}

/// Someone else's words as they can be put behind a message of ours, or nothing.
pub fn said(words: &str) -> String {
    if words.is_empty() {
        String::new()
    } else {
        format!(" (it said: {words})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_and_the_rest_is_left_as_it_is() {
        assert_eq!(
            one_line("it's \"ü\" \u{1b}[2J\r\n"),
            "it's \"ü\" \\u{1b}[2J\\r\\n"
        );
    }
}

//! What strangers wrote, made harmless: it cannot break a line of a log or act on a terminal.

/// Whether a character is not seen where it stands: it has no width, or it turns the direction of what follows.
pub fn is_hidden(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'
            | '\u{1160}'
            | '\u{17b4}'
            | '\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

/// A text from outside as it may stand in a message: it cannot break the line or act on the terminal, and all of it is seen.
pub fn one_line(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_hidden(c) {
            shown.extend(c.escape_unicode());
        } else if c.is_control() {
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
        .map(|line| one_line(line.trim()))
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
    fn what_is_not_seen_is_made_visible() {
        assert_eq!(
            one_line("a\u{200b}b\u{202e}c\u{feff}\u{ad}"),
            "a\\u{200b}b\\u{202e}c\\u{feff}\\u{ad}"
        );
        assert_eq!(words("no\u{2066}\n".as_bytes()), "no\\u{2066}");
        assert_eq!(one_line("日本語 🔒️ e\u{301}"), "日本語 🔒️ e\u{301}");
    }

    #[test]
    fn control_characters_are_shown_and_the_rest_is_left_as_it_is() {
        assert_eq!(
            one_line("it's \"ü\" \u{1b}[2J\r\n"),
            "it's \"ü\" \\u{1b}[2J\\r\\n"
        );
    }
}

//! Lines of a log: what a terminal would show of them, with classes for its colours.
//!
//! Colours and styles of the text are kept (SGR); all else that a terminal would act on is left out. Source: ECMA-48, 5th
//! edition, 5.4 and 8.3.117; xterm's control sequences for 256 colours and for operating system commands.

use maud::{Markup, html};

/// The longest part of a line that is shown, in characters.
const LONGEST: usize = 4096;
/// How often the colour may change in a line: some output makes much of little.
const MOST: usize = 100;

/// How a text looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Style {
    text: Option<u8>,
    ground: Option<u8>,
    is_bold: bool,
    is_dim: bool,
    is_italic: bool,
    is_underlined: bool,
    is_inverse: bool,
}

/// How the lines of a log are named and linked.
#[derive(Debug, Clone, Copy)]
pub struct Lines<'a> {
    /// What stands before the number in the id of a line, such as `L`.
    pub prefix: &'a str,
    /// What leads to a line with its number behind it, such as `?at=`.
    pub link: &'a str,
}

impl Lines<'_> {
    /// A line, of which so many bytes are left out already, and how the next one begins.
    pub fn line(&self, number: u64, text: &str, left_out: usize, style: &mut Style) -> Markup {
        let id = format!("{}{number}", self.prefix);
        let link = format!("{}{number}#{id}", self.link);
        let (spans, rest) = spans(text, style);
        let rest = rest + left_out;
        html! {
            div.line id=(id) {
                // A key for each of a thousand lines would be in everybody's way.
                a.n href=(link) tabindex="-1" { (number) }
                code {
                    @for (style, text) in &spans {
                        @match style.class() {
                            Some(class) => span class=(class) { (text) },
                            None => (text),
                        }
                    }
                    @if rest > 0 { span.cut { " … and " (rest) " bytes more" } }
                    "\n"
                }
            }
        }
    }
}

/// The event that adds lines to the log of this id on an open page ([`crate::live`]): the lines from `first` to `last`.
///
/// The page says in its `data-last` which line it has last. Where lines are missing between the two, it shows a link to them.
pub fn added(id: &str, first: u64, last: u64, html: &str) -> String {
    let data = serde_json::json!({"id": id, "first": first, "last": last, "html": html});
    crate::live::event("lines", &data.to_string())
}

impl Style {
    fn class(self) -> Option<String> {
        let (mut text, mut ground) = (self.text, self.ground);
        if self.is_inverse {
            (text, ground) = (ground.or(Some(16)), text.or(Some(16)));
        }
        let colours = [
            text.map(|n| format!("f{n}")),
            ground.map(|n| format!("g{n}")),
        ];
        let styles = [
            (self.is_bold, "bold"),
            (self.is_dim, "dim"),
            (self.is_italic, "italic"),
            (self.is_underlined, "underlined"),
        ];
        let styles = styles
            .into_iter()
            .filter(|(is, _)| *is)
            .map(|(_, name)| name.to_owned());
        let all: Vec<String> = colours.into_iter().flatten().chain(styles).collect();
        (!all.is_empty()).then(|| all.join(" "))
    }

    /// Takes over what is behind `ESC [` and before `m`.
    fn set(&mut self, numbers: &str) {
        let mut numbers = numbers.split([';', ':']).map(|text| {
            if text.is_empty() {
                Some(0)
            } else {
                text.parse::<u16>().ok()
            }
        });
        while let Some(number) = numbers.next() {
            match number {
                Some(0) => *self = Style::default(),
                Some(1) => self.is_bold = true,
                Some(2) => self.is_dim = true,
                Some(3) => self.is_italic = true,
                Some(4) => self.is_underlined = true,
                Some(7) => self.is_inverse = true,
                Some(22) => (self.is_bold, self.is_dim) = (false, false),
                Some(23) => self.is_italic = false,
                Some(24) => self.is_underlined = false,
                Some(27) => self.is_inverse = false,
                Some(n @ 30..=37) => self.text = Some((n - 30) as u8),
                Some(n @ 40..=47) => self.ground = Some((n - 40) as u8),
                Some(n @ 90..=97) => self.text = Some((n - 90 + 8) as u8),
                Some(n @ 100..=107) => self.ground = Some((n - 100 + 8) as u8),
                Some(38) => self.text = extended(&mut numbers).or(self.text),
                Some(48) => self.ground = extended(&mut numbers).or(self.ground),
                Some(39) => self.text = None,
                Some(49) => self.ground = None,
                _ => {}
            }
        }
    }
}

/// A colour of 256 or of all, as the one of 16 that is next to it.
fn extended(numbers: &mut impl Iterator<Item = Option<u16>>) -> Option<u8> {
    match numbers.next()?? {
        5 => Some(of_256(numbers.next()??)),
        2 => {
            let mut part = || numbers.next()?.map(|n| n.min(255));
            Some(nearest([part()?, part()?, part()?]))
        }
        _ => None,
    }
}

fn of_256(n: u16) -> u8 {
    const STEPS: [u16; 6] = [0, 95, 135, 175, 215, 255];
    match n {
        0..=15 => n as u8,
        16..=231 => {
            let n = usize::from(n - 16);
            nearest([STEPS[n / 36], STEPS[n / 6 % 6], STEPS[n % 6]])
        }
        _ => nearest([8 + (n.min(255) - 232) * 10; 3]),
    }
}

/// The next one of xterm's 16 colours.
fn nearest(colour: [u16; 3]) -> u8 {
    const COLOURS: [[u16; 3]; 16] = [
        [0, 0, 0],
        [205, 0, 0],
        [0, 205, 0],
        [205, 205, 0],
        [0, 0, 238],
        [205, 0, 205],
        [0, 205, 205],
        [229, 229, 229],
        [127, 127, 127],
        [255, 0, 0],
        [0, 255, 0],
        [255, 255, 0],
        [92, 92, 255],
        [255, 0, 255],
        [0, 255, 255],
        [255, 255, 255],
    ];
    let far = |other: &[u16; 3]| -> u32 {
        let parts = colour.iter().zip(other);
        parts.map(|(a, b)| u32::from(a.abs_diff(*b)).pow(2)).sum()
    };
    let best = (0u8..16).min_by_key(|at| far(&COLOURS[usize::from(*at)]));
    best.unwrap_or_default()
}

/// The texts of a line with their styles, and how many bytes are left out at its end.
fn spans(line: &str, style: &mut Style) -> (Vec<(Style, String)>, usize) {
    let line = line.trim_end_matches(['\n', '\r']);
    let mut spans: Vec<(Style, String)> = Vec::new();
    let (mut n_shown, mut n_left) = (0, 0);
    let mut rest = line;
    while !rest.is_empty() {
        let (text, is_sequence) = match rest.find('\u{1b}') {
            Some(0) => {
                let (length, numbers) = sequence(&rest[1..]);
                numbers.into_iter().for_each(|numbers| style.set(numbers));
                rest = &rest[1 + length..];
                ("", true)
            }
            Some(at) => (&rest[..at], false),
            None => (rest, false),
        };
        if is_sequence {
            continue;
        }
        rest = &rest[text.len()..];
        // A carriage return goes back to the start of the line: what was there is written over.
        let text = match text.rfind('\r') {
            Some(at) => {
                spans.clear();
                (n_shown, n_left) = (0, 0);
                &text[at + 1..]
            }
            None => text,
        };
        let (room, n_spans) = (LONGEST - n_shown, spans.len());
        let cut = text
            .char_indices()
            .nth(room)
            .map_or(text.len(), |(at, _)| at);
        let (shown, left) = text.split_at(cut);
        n_shown += shown.chars().count();
        n_left += left.len();
        match spans.last_mut() {
            _ if shown.is_empty() => {}
            Some((last, text)) if last == style || n_spans >= MOST => {
                text.push_str(&visible(shown))
            }
            _ => spans.push((*style, visible(shown))),
        }
    }
    (spans, n_left)
}

/// A line without what a terminal would act on.
pub fn plain(line: &str) -> String {
    if !line.contains('\u{1b}') {
        return line.to_owned();
    }
    let mut parts = line.split('\u{1b}');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        text += &part[sequence(part).0..];
    }
    text
}

/// What is not seen where it stands is shown as what it is; a tab is one.
fn visible(text: &str) -> String {
    let parts: Vec<String> = text.split('\t').map(terminal::one_line).collect();
    parts.join("\t")
}

/// What is behind an escape: how long the sequence is, and its numbers if it is about colours.
fn sequence(rest: &str) -> (usize, Option<&str>) {
    let bytes = rest.as_bytes();
    match bytes.first() {
        Some(b'[') => {
            let is_inner = |byte: &u8| (0x20..0x40).contains(byte);
            let length = bytes[1..].iter().take_while(|byte| is_inner(byte)).count();
            match bytes.get(1 + length) {
                Some(b'm') => (length + 2, Some(&rest[1..1 + length])),
                Some(0x40..0x7f) => (length + 2, None),
                // It is broken off.
                _ => (1 + length, None),
            }
        }
        // Titles, links and the like, up to BEL or ST.
        Some(b']' | b'P' | b'X' | b'^' | b'_') => {
            let ends = [(rest.find('\u{7}'), 1), (rest.find("\u{1b}\\"), 2)];
            let end = ends
                .into_iter()
                .filter_map(|(at, length)| Some((at?, length)))
                .min();
            (end.map_or(rest.len(), |(at, length)| at + length), None)
        }
        Some(0x20..0x30) => (rest.chars().take(2).map(char::len_utf8).sum(), None),
        Some(0x30..0x7f) => (1, None),
        _ => (0, None),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LINES: Lines<'static> = Lines {
        prefix: "L",
        link: "?at=",
    };

    fn shown(text: &str) -> String {
        let html = LINES.line(7, text, 0, &mut Style::default()).into_string();
        let start = html.find("<code>").map_or(0, |at| at + 6);
        html[start..html.len() - "\n</code></div>".len()].to_owned()
    }

    #[test]
    fn colours_are_classes() {
        for (text, html) in [
            (
                "\x1b[31mred\x1b[0m plain",
                "<span class=\"f1\">red</span> plain",
            ),
            ("\x1b[1;92;44mx", "<span class=\"f10 g4 bold\">x</span>"),
            ("\x1b[38;5;196mx\x1b[39my", "<span class=\"f9\">x</span>y"),
            ("\x1b[38;2;0;0;250mx", "<span class=\"f4\">x</span>"),
            ("\x1b[7mx\x1b[m", "<span class=\"f16 g16\">x</span>"),
            (
                "\x1b[4mx\x1b[24;3my",
                "<span class=\"underlined\">x</span><span class=\"italic\">y</span>",
            ),
        ] {
            assert_eq!(shown(text), html, "{text:?}");
        }
    }

    #[test]
    fn a_colour_goes_on_in_the_next_line() {
        let mut style = Style::default();
        let _ = LINES.line(1, "\x1b[32mone", 0, &mut style);
        let html = LINES.line(2, "two", 0, &mut style).into_string();
        assert!(html.contains("<span class=\"f2\">two</span>"), "{html}");
    }

    #[test]
    fn what_a_terminal_would_act_on_is_left_out() {
        for (text, html) in [
            ("a\x1b[2Jb\x1b[1;1Hc\x1b[?25ld", "abcd"),
            (
                "\x1b]0;title\x07x\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\",
                "xlink",
            ),
            ("10%\r50%\r100%\r\n", "100%"),
            ("a\x1b(Bb\x1bMc", "abc"),
            (
                "<script>alert('x')</script>&",
                "&lt;script&gt;alert('x')&lt;/script&gt;&amp;",
            ),
            ("a\u{202e}b\x08\tc", "a\\u{202e}b\\u{8}\tc"),
            ("cut \x1b[3", "cut "),
            ("cut \x1b]0;title", "cut "),
        ] {
            assert_eq!(shown(text), html, "{text:?}");
        }
    }

    #[test]
    fn a_long_line_is_cut() {
        let html = shown(&"x".repeat(LONGEST + 5));
        assert!(html.ends_with("<span class=\"cut\"> … and 5 bytes more</span>"));
        assert!(html.len() < LONGEST + 100, "{}", html.len());
    }

    #[test]
    fn a_line_has_not_more_colours_than_anybody_sees() {
        let html = shown(&"\x1b[31mX\x1b[32mY".repeat(1000));
        assert_eq!(html.matches("<span").count(), MOST);
        let n_letters = html.matches(['X', 'Y']).count();
        assert_eq!(n_letters, 2000, "all of it is shown");
    }

    #[test]
    fn a_line_has_a_link_to_itself() {
        let html = LINES.line(7, "x", 0, &mut Style::default()).into_string();
        assert!(
            html.contains("id=\"L7\"><a class=\"n\" href=\"?at=7#L7\""),
            "{html}"
        );
    }

    proptest! {
        #[test]
        fn no_output_breaks_a_line_or_makes_markup(text in "([a-z<>&\\x1b\\[\\];:0-9mé\\r\\x07 ]|\\PC){0,60}") {
            let html = shown(&text);
            let spans = html.matches("<span class=\"").count();
            prop_assert_eq!(html.matches('<').count(), 2 * spans, "{}", html);
            let has_escape = html.contains('\u{1b}');
            prop_assert!(!has_escape);
        }
    }
}

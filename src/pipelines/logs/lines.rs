//! A log by lines: where they begin, some of them, and those with a text in them.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::ops::RangeInclusive;
use std::path::Path;

/// The place of each line of so many is kept.
const EVERY: u64 = 1000;
/// How much is read at once.
const PIECE: usize = 256 * 1024;
/// How many bytes of a line are kept; the rest is read over.
const LONGEST: usize = 16 * 1024;
/// How many bytes of all lines that are read at once are kept: with many lines, less of each.
const MOST: usize = 2 << 20;

/// A line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its number, from 1.
    pub number: u64,
    /// Its text, without its end; bytes that are no text are `U+FFFD`.
    pub text: String,
    /// How many bytes of it are left out at its end.
    pub left_out: usize,
}

impl Line {
    fn new(number: u64, kept: &[u8], length: usize) -> Line {
        let mut text = String::from_utf8_lossy(kept).into_owned();
        let left_out = length - kept.len();
        // It may be cut in the midst of a character.
        if left_out > 0 {
            text.truncate(text.trim_end_matches('\u{fffd}').len());
        }
        Line {
            number,
            text,
            left_out,
        }
    }
}

/// Where lines begin.
#[derive(Debug, Default)]
pub struct Index {
    /// How far it was read.
    length: u64,
    /// How many lines have ended.
    n_ended: u64,
    /// Whether something is behind the last end.
    has_rest: bool,
    /// Where every [`EVERY`]th line begins, from the first one.
    places: Vec<u64>,
}

/// Where reading begins, and at which line that is.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    line: u64,
    byte: u64,
}

impl Index {
    /// Reads what is new. A log that is not there, or cannot be read, is as it was.
    pub fn update(&mut self, path: &Path) {
        let Ok(mut file) = File::open(path) else {
            return;
        };
        let length = file.metadata().map_or(self.length, |about| about.len());
        if length < self.length {
            // It was made anew.
            *self = Index::default();
        }
        if length == self.length || file.seek(SeekFrom::Start(self.length)).is_err() {
            return;
        }
        let mut piece = vec![0; PIECE];
        while let Ok(n @ 1..) = file.read(&mut piece) {
            self.add(&piece[..n]);
        }
    }

    fn add(&mut self, bytes: &[u8]) {
        if self.places.is_empty() {
            self.places.push(0);
        }
        let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        for (at, _) in ends {
            self.n_ended += 1;
            if self.n_ended.is_multiple_of(EVERY) {
                self.places.push(self.length + at as u64 + 1);
            }
        }
        self.length += bytes.len() as u64;
        self.has_rest = bytes.last().is_some_and(|byte| *byte != b'\n');
    }

    /// How many bytes were read.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// How many lines there are, with one that has not ended yet.
    pub fn n_lines(&self) -> u64 {
        self.n_ended + u64::from(self.has_rest)
    }

    /// Where to begin for a line.
    pub fn place(&self, line: u64) -> Place {
        let at = usize::try_from(line.saturating_sub(1) / EVERY).unwrap_or(usize::MAX);
        let at = at.min(self.places.len().saturating_sub(1));
        Place {
            line: at as u64 * EVERY + 1,
            byte: self.places.get(at).copied().unwrap_or(0),
        }
    }
}

impl Place {
    /// Reads some lines from here on; as many of them as there are.
    pub fn read(self, path: &Path, lines: RangeInclusive<u64>) -> Vec<Line> {
        let n_lines = lines.end().saturating_sub(*lines.start()).saturating_add(1);
        let n_lines = usize::try_from(n_lines).unwrap_or(usize::MAX).max(1);
        let most = (MOST / n_lines).clamp(256, LONGEST);
        let mut found = Vec::new();
        // What cannot be read is not shown.
        let _ = self.each(path, most, |number, kept, length| {
            if lines.contains(&number) {
                found.push(Line::new(number, kept, length));
            }
            number < *lines.end()
        });
        found
    }

    /// Gives each line from here on: its number, its beginning of at most so many bytes, and how many it has.
    fn each(
        self,
        path: &Path,
        most: usize,
        mut each: impl FnMut(u64, &[u8], usize) -> bool,
    ) -> io::Result<()> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(self.byte))?;
        let mut reader = BufReader::with_capacity(PIECE, file);
        let (mut number, mut line) = (self.line, Vec::new());
        while let Some(length) = next(&mut reader, &mut line, most)? {
            if !each(number, &line, length) {
                break;
            }
            number += 1;
        }
        Ok(())
    }
}

/// Reads a line up to its end, keeps its beginning, and gives its length. `None` at the end of the log.
fn next(reader: &mut impl BufRead, line: &mut Vec<u8>, most: usize) -> io::Result<Option<usize>> {
    line.clear();
    let (mut length, mut is_any) = (0, false);
    loop {
        let piece = reader.fill_buf()?;
        if piece.is_empty() {
            return Ok(is_any.then_some(length));
        }
        is_any = true;
        let end = piece.iter().position(|byte| *byte == b'\n');
        let n = end.unwrap_or(piece.len());
        length += n;
        line.extend_from_slice(&piece[..n.min(most - line.len())]);
        reader.consume(end.map_or(n, |end| end + 1));
        if end.is_some() {
            return Ok(Some(length));
        }
    }
}

/// The lines that have a text in them, in whatever case, up to so many; and whether there are more.
pub fn search(path: &Path, text: &str, most: usize) -> (Vec<Line>, bool) {
    let wanted = text.to_lowercase();
    let (mut found, mut has_more) = (Vec::new(), false);
    let start = Place { line: 1, byte: 0 };
    // What cannot be read is not found.
    let _ = start.each(
        path,
        LONGEST.min(MOST / most.max(1)),
        |number, kept, length| {
            let line = String::from_utf8_lossy(kept);
            if page::log::plain(&line).to_lowercase().contains(&wanted) {
                has_more = found.len() == most;
                if !has_more {
                    found.push(Line::new(number, kept, length));
                }
            }
            !has_more
        },
    );
    (found, has_more)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;

    fn texts(lines: &[Line]) -> Vec<(u64, &str)> {
        lines
            .iter()
            .map(|line| (line.number, &line.text[..]))
            .collect()
    }

    #[test]
    fn lines_are_found_by_their_numbers_while_the_log_grows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut index = Index::default();
        index.update(&path);
        assert_eq!(index.n_lines(), 0);
        let mut file = File::create(&path).unwrap();
        for n in 1..=2500 {
            writeln!(file, "line {n}").unwrap();
            if n % 700 == 0 {
                index.update(&path);
            }
        }
        write!(file, "no end").unwrap();
        index.update(&path);

        assert_eq!(index.n_lines(), 2501);
        let read = |lines: RangeInclusive<u64>| index.place(*lines.start()).read(&path, lines);
        assert_eq!(
            texts(&read(999..=1001)),
            [(999, "line 999"), (1000, "line 1000"), (1001, "line 1001")]
        );
        assert_eq!(
            texts(&read(2500..=9999)),
            [(2500, "line 2500"), (2501, "no end")]
        );
        assert!(read(5000..=6000).is_empty());

        fs::write(&path, "new\n").unwrap();
        index.update(&path);
        assert_eq!(index.n_lines(), 1);
    }

    #[test]
    fn a_line_without_an_end_is_no_reason_to_read_all_of_it_into_memory() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        fs::write(&path, format!("{}\nnext", "é".repeat(LONGEST))).unwrap();
        let mut index = Index::default();
        index.update(&path);
        let lines = index.place(1).read(&path, 1..=2);
        assert_eq!((lines[0].text.len(), lines[0].left_out), (LONGEST, LONGEST));
        assert_eq!((&lines[1].text[..], lines[1].left_out), ("next", 0));
        // With many lines, less of each; and no half of a character.
        let lines = index.place(1).read(&path, 1..=8001);
        assert_eq!(lines[0].text, "é".repeat(131));
    }

    #[test]
    fn a_text_is_found_in_any_case_and_under_colours() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        fs::write(
            &path,
            "one\n\x1b[31mFAI\x1b[0mLED: two\nthree failed\nfailed again\n",
        )
        .unwrap();
        let (found, has_more) = search(&path, "failed", 2);
        assert_eq!(
            found.iter().map(|line| line.number).collect::<Vec<_>>(),
            [2, 3]
        );
        assert!(has_more);
        assert_eq!(search(&path, "nothing", 2), (Vec::new(), false));
    }

    proptest! {
        #[test]
        fn the_index_counts_what_a_reader_reads(pieces in proptest::collection::vec("[a\n]{0,9}", 0..9)) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("log");
            let mut file = File::create(&path).unwrap();
            let mut index = Index::default();
            for piece in &pieces {
                file.write_all(piece.as_bytes()).unwrap();
                index.update(&path);
            }
            let read = index.place(1).read(&path, 1..=u64::MAX);
            prop_assert_eq!(read.len() as u64, index.n_lines());
            prop_assert_eq!(index.length(), pieces.concat().len() as u64);
        }
    }
}

//! The logs of tasks: files that grow, and what is read of them; by lines in [`lines`].

pub mod lines;

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::job::JobId;

/// How much is read at once.
const PIECE: usize = 64 * 1024;

/// What a task writes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    /// The standard output.
    Stdout,
    /// The standard error.
    Stderr,
}

impl Stream {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        }
    }
}

/// The folder with the logs of all jobs.
#[derive(Debug, Clone)]
pub struct Logs(PathBuf);

impl Logs {
    /// Those in this folder, which is made if there is none.
    ///
    /// # Errors
    /// Those of the system.
    pub fn in_folder(folder: &Path) -> io::Result<Logs> {
        fs::create_dir_all(folder)?;
        Ok(Logs(folder.to_owned()))
    }

    /// The file of a task. Its name has no `/` in it: definitions that have one are refused.
    pub fn path(&self, job: JobId, task: &str, stream: Stream) -> PathBuf {
        let name = format!("{task}-{}.log", stream.name());
        self.0.join(job.to_string()).join(name)
    }

    /// Removes the logs of a job.
    pub fn remove(&self, job: JobId) -> io::Result<()> {
        match fs::remove_dir_all(self.0.join(job.to_string())) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => Err(err),
            _ => Ok(()),
        }
    }

    /// What a task has written last, up to so many bytes.
    pub fn end(&self, job: JobId, task: &str, stream: Stream, most: u64) -> String {
        let mut reader = self.read(job, task, stream, From::Start);
        let start = reader.length().saturating_sub(most);
        reader.seek(start);
        let mut text = String::new();
        while let Some(piece) = reader.next() {
            text.push_str(&piece);
        }
        text.push_str(&reader.rest());
        text.replace('\0', "\u{fffd}")
    }

    /// Reads the log of a task; one that is not there is empty.
    pub fn read(&self, job: JobId, task: &str, stream: Stream, from: From) -> Reader {
        let file = File::open(self.path(job, task, stream)).ok();
        let mut reader = Reader {
            file,
            at: 0,
            text: Decoder::default(),
        };
        match from {
            From::Start => {}
            From::Byte(at) => reader.seek(at),
            From::Lines(n) => {
                let at = reader.start_of_last_lines(n).unwrap_or_default();
                reader.seek(at);
            }
        }
        reader
    }
}

/// Where reading begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// At the first byte.
    Start,
    /// At this byte, counted from 0.
    Byte(u64),
    /// So many lines before the end.
    Lines(usize),
}

/// A log that is read piece by piece.
#[derive(Debug)]
pub struct Reader {
    file: Option<File>,
    at: u64,
    text: Decoder,
}

impl Reader {
    /// How long the log is now.
    pub fn length(&self) -> u64 {
        let about = self.file.as_ref().and_then(|file| file.metadata().ok());
        about.map_or(0, |about| about.len())
    }

    /// How far it was read.
    pub fn position(&self) -> u64 {
        self.at
    }

    /// Whether there is a log.
    pub fn is_open(&self) -> bool {
        self.file.is_some()
    }

    /// How many bytes were read that are the beginning of a character.
    pub fn held(&self) -> u64 {
        self.text.held.len() as u64
    }

    fn seek(&mut self, at: u64) {
        let at = at.min(self.length());
        if let Some(file) = &mut self.file
            && file.seek(SeekFrom::Start(at)).is_ok()
        {
            self.at = at;
        }
    }

    /// The next piece, as text: bytes that are none are `U+FFFD`. `None` at the end, where there may be more later.
    #[allow(
        clippy::should_implement_trait,
        reason = "it is none: it goes on after its end"
    )]
    pub fn next(&mut self) -> Option<String> {
        let mut piece = vec![0; PIECE];
        let n = self
            .file
            .as_mut()?
            .read(&mut piece)
            .ok()
            .filter(|n| *n > 0)?;
        self.at += n as u64;
        Some(self.text.push(&piece[..n]))
    }

    /// What is left when nothing more comes.
    pub fn rest(&mut self) -> String {
        self.text.finish()
    }

    fn start_of_last_lines(&mut self, n: usize) -> io::Result<u64> {
        let mut at = self.length();
        let end = at;
        let mut left = n;
        let Some(file) = &mut self.file else {
            return Ok(0);
        };
        if n == 0 {
            return Ok(end);
        }
        let mut piece = vec![0; PIECE];
        while at > 0 {
            let length = at.min(PIECE as u64);
            at -= length;
            file.seek(SeekFrom::Start(at))?;
            let piece = &mut piece[..usize::try_from(length).unwrap_or(PIECE)];
            file.read_exact(piece)?;
            for (place, _) in piece
                .iter()
                .enumerate()
                .rev()
                .filter(|(_, byte)| **byte == b'\n')
            {
                let after = at + place as u64 + 1;
                // The last line's own end begins no line.
                if after < end {
                    left -= 1;
                    if left == 0 {
                        return Ok(after);
                    }
                }
            }
        }
        Ok(0)
    }
}

/// Text of bytes that come in pieces, which may end in the midst of a character.
#[derive(Debug, Default)]
struct Decoder {
    held: Vec<u8>,
}

impl Decoder {
    fn push(&mut self, bytes: &[u8]) -> String {
        self.held.extend_from_slice(bytes);
        let mut text = String::with_capacity(self.held.len());
        let mut rest = self.held.as_slice();
        loop {
            match std::str::from_utf8(rest) {
                Ok(good) => {
                    text.push_str(good);
                    rest = &[];
                    break;
                }
                Err(err) => {
                    let (good, bad) = rest.split_at(err.valid_up_to());
                    text.push_str(std::str::from_utf8(good).unwrap_or_default());
                    let Some(length) = err.error_len() else {
                        rest = bad;
                        break;
                    };
                    text.push('\u{fffd}');
                    rest = &bad[length..];
                }
            }
        }
        self.held = rest.to_vec();
        text
    }

    fn finish(&mut self) -> String {
        let held = std::mem::take(&mut self.held);
        String::from_utf8_lossy(&held).into_owned()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn log(bytes: &[u8]) -> (tempfile::TempDir, Logs) {
        let folder = tempfile::tempdir().unwrap();
        let logs = Logs::in_folder(folder.path()).unwrap();
        let path = logs.path(JobId::nil(), "t", Stream::Stdout);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
        (folder, logs)
    }

    fn read(logs: &Logs, from: From) -> String {
        let mut reader = logs.read(JobId::nil(), "t", Stream::Stdout, from);
        let mut text = String::new();
        while let Some(piece) = reader.next() {
            text += &piece;
        }
        text + &reader.rest()
    }

    #[test]
    fn a_log_is_read_from_any_place() {
        let (_folder, logs) = log(b"one\ntwo\nthree\n");
        assert_eq!(read(&logs, From::Start), "one\ntwo\nthree\n");
        assert_eq!(read(&logs, From::Byte(4)), "two\nthree\n");
        assert_eq!(read(&logs, From::Byte(400)), "");
        assert_eq!(read(&logs, From::Lines(2)), "two\nthree\n");
        assert_eq!(read(&logs, From::Lines(9)), "one\ntwo\nthree\n");
        assert_eq!(read(&logs, From::Lines(0)), "");
        let (_folder, logs) = log(b"one\ntwo");
        assert_eq!(read(&logs, From::Lines(1)), "two");
        assert_eq!(logs.end(JobId::nil(), "t", Stream::Stdout, 3), "two");
        assert_eq!(logs.end(JobId::nil(), "gone", Stream::Stderr, 3), "");
    }

    proptest! {
        #[test]
        fn bytes_become_the_same_text_in_whatever_pieces(bytes in proptest::collection::vec(prop_oneof![Just(0xc3u8), Just(0xa9), Just(0xe2), Just(0x82), any::<u8>()], 0..40), size in 1..5usize) {
            let mut decoder = Decoder::default();
            let mut text: String = bytes.chunks(size).map(|piece| decoder.push(piece)).collect();
            text += &decoder.finish();
            prop_assert_eq!(text, String::from_utf8_lossy(&bytes));
        }
    }
}

//! Viewers that are no browsers, for many at once: what the script asks for, over plain connections.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use support::DEADLINE;

/// What somebody sees who has signed in.
#[derive(Clone)]
pub struct Viewer {
    pub port: u16,
    pub token: String,
}

impl Viewer {
    fn ask(&self, path: &str, more: &str) -> TcpStream {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let head = format!(
            "GET /ui{path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nCookie: prunner_ui={}\r\n{more}\r\n",
            self.port, self.token
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream
    }

    /// Fetches a page; gives it, and how long it took until its first byte.
    pub fn page(&self, path: &str) -> (String, Duration) {
        let start = Instant::now();
        let mut stream = self.ask(path, "Connection: close\r\n");
        let mut all = vec![0];
        stream.read_exact(&mut all).unwrap();
        let first = start.elapsed();
        stream.read_to_end(&mut all).unwrap();
        (String::from_utf8(all).unwrap(), first)
    }

    /// Reads the events of a page: each line goes to `each`, which says whether to go on. Gives how many bytes came.
    pub fn events(&self, path: &str, mut each: impl FnMut(&[u8]) -> bool) -> usize {
        let mut reader = BufReader::new(self.ask(path, ""));
        let (mut n_bytes, mut line) = (0, Vec::new());
        loop {
            line.clear();
            let n = reader.read_until(b'\n', &mut line).unwrap();
            n_bytes += n;
            assert!(n > 0, "the stream ended after {n_bytes} bytes");
            if !each(&line) {
                return n_bytes;
            }
        }
    }

    /// Reads events until a line of them has this text in it.
    pub fn events_until(&self, path: &str, text: &str) -> usize {
        self.events(path, |line| {
            !line.windows(text.len()).any(|part| part == text.as_bytes())
        })
    }
}

/// What a page says where it is told of changes.
pub fn events_of(page: &str) -> String {
    let path = page.split("data-events=\"/ui").nth(1).unwrap();
    path.split('"').next().unwrap().replace("&amp;", "&")
}

//! A few words of HTTP, for asking a server that a test has started.

use std::io::{Read, Write};
use std::net::TcpStream;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::DEADLINE;

/// An answer: status and body.
pub struct Page {
    /// Such as 200; 0 if there was no answer.
    pub status: u16,
    /// The body.
    pub body: String,
}

impl Page {
    /// The body of a success, as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.body);
        serde_json::from_str(&self.body).unwrap()
    }
}

/// Sends one request to a server on loopback.
pub fn request(port: u16, method: &str, path: &str, body: &str) -> Page {
    let answer = try_request(port, method, path, body).unwrap_or_default();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    Page {
        status: head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .unwrap_or_default(),
        body: body.to_owned(),
    }
}

/// Asks a server on loopback for a page.
pub fn get(port: u16, path: &str) -> Page {
    request(port, "GET", path, "")
}

/// A text as it may stand in a query.
pub fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

fn try_request(port: u16, method: &str, path: &str, body: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(DEADLINE))?;
    // 1.0, so that the answer comes in one piece and ends with the connection.
    let request = format!(
        "{method} {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

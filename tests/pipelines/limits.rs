//! What is too much: bodies that are too long, whatever they say of their length.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;

use crate::host::{Host, token};

/// The most memory that the server had so far, in bytes.
fn peak(host: &Host) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", host.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.unwrap().trim().trim_end_matches(" kB");
    kilobytes.parse::<u64>().unwrap() * 1024
}

/// Sends a head and then a body of 300 MB, until the server takes no more; gives its answer, and how much it took.
fn send(host: &Host, head: &str, is_chunked: bool) -> (String, usize) {
    const PIECE: usize = 1 << 20;
    let mut stream = TcpStream::connect(("127.0.0.1", host.port())).unwrap();
    for set in [TcpStream::set_read_timeout, TcpStream::set_write_timeout] {
        set(&stream, Some(Duration::from_secs(60))).unwrap();
    }
    let bearer = token();
    let head = format!(
        "POST /pipelines/schedule HTTP/1.1\r\nHost: x\r\nAuthorization: {bearer}\r\n{head}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut from = stream.try_clone().unwrap();
    let answer = std::thread::spawn(move || {
        let mut answer = Vec::new();
        let mut piece = [0; 4096];
        // It may end in a reset: more was sent than was read.
        while let Ok(n @ 1..) = from.read(&mut piece) {
            answer.extend_from_slice(&piece[..n]);
        }
        String::from_utf8(answer).unwrap()
    });
    let mut piece = vec![b' '; PIECE];
    if is_chunked {
        piece = [format!("{PIECE:x}\r\n").as_bytes(), &piece, b"\r\n"].concat();
    }
    let mut taken = 0;
    for _ in 0..300 {
        if stream.write_all(&piece).is_err() {
            break;
        }
        taken += PIECE;
    }
    (answer.join().unwrap(), taken)
}

#[test]
fn a_body_of_300_mb_is_refused_and_takes_no_memory() {
    let host = Host::script(&["true"]);
    host.done();
    let before = peak(&host);
    for (head, is_chunked) in [
        ("Content-Length: 314572800", false),
        ("Transfer-Encoding: chunked", true),
    ] {
        let (answer, taken) = send(&host, head, is_chunked);

        assert!(answer.starts_with("HTTP/1.1 413 "), "{head}: {answer}");
        assert!(answer.contains("The body is longer than 1048576 bytes"));
        assert!(taken < 100 << 20, "{head}: it took {taken} bytes");
    }
    let more = peak(&host) - before;
    assert!(more < 16 << 20, "it had {more} bytes more");
    let fits = "y".repeat(1_000_000);
    assert_eq!(host.try_schedule(json!({ "x": fits })).status, 202);
}

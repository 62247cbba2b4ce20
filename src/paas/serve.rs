//! The page with the metrics, for those who ask over HTTP.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// How long somebody may take to ask.
const LIMIT: Duration = Duration::from_secs(10);

/// The longest question.
const MOST_BYTES: usize = 16 * 1024;

/// How many are answered at once: a scraper is one.
const MOST_AT_ONCE: usize = 16;

const KIND: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Answers with `page` for ever.
pub async fn serve(listener: TcpListener, page: &dyn Fn() -> String) {
    let mut asking = tokio::task::JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                while asking.len() >= MOST_AT_ONCE {
                    asking.join_next().await;
                }
                let page = page();
                asking.spawn(async move {
                    // Who does not listen to the end has what he wanted.
                    let _ = timeout(LIMIT, answer(stream, &page)).await;
                });
            }
            // Too many open files, such as that: it passes.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn answer(mut stream: TcpStream, page: &str) -> io::Result<()> {
    let mut head = Vec::new();
    let mut piece = [0; 1024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let n = stream.read(&mut piece).await?;
        if n == 0 || head.len() > MOST_BYTES {
            return Ok(());
        }
        head.extend_from_slice(&piece[..n]);
    }
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let (status, body) = match line.split(|byte| *byte == b' ').nth(1) {
        Some(b"/metrics" | b"/") if line.starts_with(b"GET ") => ("200 OK", page),
        _ => ("404 Not Found", "there is only /metrics\n"),
    };
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {KIND}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

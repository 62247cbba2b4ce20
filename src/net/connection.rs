//! A TCP connection that acknowledges at once what arrives.
//!
//! A server that sends two small packets in a row, such as `sshd`, holds the second one back until the first is
//! acknowledged (Nagle's algorithm); and the kernel waits up to 40 ms before it acknowledges, in case there is data to
//! send with it. That was half of a warm check over SSH. The kernel falls back to waiting by itself, so that it is told
//! after each read.
//!
//! Source: `tcp(7)`, `TCP_QUICKACK`.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A TCP connection that acknowledges at once what arrives.
#[derive(Debug)]
pub struct Connection(TcpStream);

impl Connection {
    pub(crate) fn new(stream: TcpStream) -> Connection {
        // Requests are small and each waits for its answer: without this every one is held back for up to 40 ms.
        let _ = stream.set_nodelay(true);
        acknowledge_at_once(&stream);
        Connection(stream)
    }
}

/// Nothing is lost but time where it fails.
#[cfg(target_os = "linux")]
fn acknowledge_at_once(stream: &TcpStream) {
    let _ = rustix::net::sockopt::set_tcp_quickack(stream, true);
}

/// Other systems have no such switch.
#[cfg(not(target_os = "linux"))]
fn acknowledge_at_once(_: &TcpStream) {}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = ready!(Pin::new(&mut self.0).poll_read(cx, into));
        acknowledge_at_once(&self.0);
        Poll::Ready(read)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn what_arrives_is_acknowledged_at_once_also_in_the_middle_of_a_conversation() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (ours, theirs) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (mut ours, mut theirs) = (Connection::new(ours.unwrap()), theirs.unwrap().0);
        let mut byte = [0];

        // Who answers what he gets soon falls back to waiting.
        for _ in 0..20 {
            theirs.write_all(b"?").await.unwrap();
            ours.read_exact(&mut byte).await.unwrap();
            assert!(rustix::net::sockopt::tcp_quickack(&ours.0).unwrap());
            ours.write_all(b"!").await.unwrap();
            theirs.read_exact(&mut byte).await.unwrap();
        }
    }
}

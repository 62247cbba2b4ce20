//! Packets, the framing of the smart protocol: four hex digits of length, then data; `0000` is a flush.
//!
//! Source: `gitprotocol-common(5)`, `gitprotocol-pack(5)` (side-band-64k).

use std::time::Duration;

use terminal::harmless;
use tokio::io::{AsyncRead, AsyncReadExt, BufReader};
use tokio::time::timeout;

/// The most that one packet may carry, its four digits included.
const MOST: usize = 65520;

/// The most that is read of one answer, in bytes, unless [`PacketReader::allow`] says otherwise.
const MOST_AT_ALL: u64 = 2 * 1024 * MIB;

/// A mebibyte.
pub const MIB: u64 = 1024 * 1024;

/// One packet.
#[derive(Debug, PartialEq, Eq)]
pub enum Packet {
    /// The end of a section.
    Flush,
    /// Data, at most 65,516 bytes.
    Data(Vec<u8>),
}

/// What can go wrong between two packets; the caller knows with whom it is talking.
#[derive(Debug)]
pub enum PacketError {
    /// The stream ended where a packet should have been, or in the middle of one.
    Ended,
    /// No byte for this long.
    Silent(Duration),
    /// The stream broke.
    Broken(std::io::Error),
    /// Not a packet, but text.
    Text(String),
    /// Not a packet.
    Garbage(String),
}

/// Reads packets, and gives up when nothing is heard for some time.
pub struct PacketReader {
    stream: BufReader<Box<dyn AsyncRead + Unpin + Send>>,
    silence: Duration,
    /// Something is being read, or was, when the limit was over.
    is_waiting: bool,
    /// What is being read, how much of it there may be, and how much of that is left.
    what: &'static str,
    most: u64,
    left: u64,
}

impl PacketReader {
    /// Reads from `stream`; `silence` is the longest that one read may take.
    pub fn new(stream: Box<dyn AsyncRead + Unpin + Send>, silence: Duration) -> PacketReader {
        PacketReader {
            stream: BufReader::with_capacity(16 * 1024, stream),
            silence,
            is_waiting: false,
            what: "answer",
            most: MOST_AT_ALL,
            left: MOST_AT_ALL,
        }
    }

    /// Says what comes next, and how many bytes of it at most: a server that never comes to an end is none. Without
    /// that it would fill the memory or the disk for as long as the limit on the whole attempt lasts.
    pub fn allow(&mut self, what: &'static str, most: u64) {
        (self.what, self.most, self.left) = (what, most, most);
    }

    /// Whether something is waited for: also after it was waited for in vain, or not to the end.
    pub fn is_waiting(&self) -> bool {
        self.is_waiting
    }

    /// Reads the next packet.
    ///
    /// # Errors
    /// Any [`PacketError`].
    pub async fn next(&mut self) -> Result<Packet, PacketError> {
        let mut head = [0; 4];
        self.fill(&mut head).await?;
        let digits = std::str::from_utf8(&head)
            .ok()
            // A number may have a sign, which a length has not.
            .filter(|digits| !digits.starts_with('+'));
        let length = digits
            .and_then(|digits| usize::from_str_radix(digits, 16).ok())
            .ok_or_else(|| self.no_packet(&head))?;
        match length {
            0 => {
                self.take(4)?;
                Ok(Packet::Flush)
            }
            4..=MOST => {
                self.take(length)?;
                let mut data = vec![0; length - 4];
                self.fill(&mut data).await?;
                Ok(Packet::Data(data))
            }
            _ => Err(garbage(&head)),
        }
    }

    /// What came instead of a packet, with what came behind it.
    fn no_packet(&self, head: &[u8]) -> PacketError {
        let is_text = |byte: &u8| matches!(byte, b' '..=b'~' | b'\n' | b'\r' | b'\t');
        if head.iter().all(is_text) {
            PacketError::Text(harmless::words(&[head, self.stream.buffer()].concat()))
        } else {
            garbage(head)
        }
    }

    fn take(&mut self, bytes: usize) -> Result<(), PacketError> {
        match self.left.checked_sub(bytes as u64) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(PacketError::Garbage(format!(
                "its {} does not end after {} MiB",
                self.what,
                self.most / MIB
            ))),
        }
    }

    async fn fill(&mut self, mut into: &mut [u8]) -> Result<(), PacketError> {
        while !into.is_empty() {
            self.is_waiting = true;
            let read = timeout(self.silence, self.stream.read(into)).await;
            self.is_waiting = read.is_err();
            match read {
                Err(_) => return Err(PacketError::Silent(self.silence)),
                // The HTTP client has the same limit, and may be the first to notice.
                Ok(Err(err)) if err.kind() == std::io::ErrorKind::TimedOut => {
                    return Err(PacketError::Silent(self.silence));
                }
                Ok(Err(err)) if err.kind() == std::io::ErrorKind::UnexpectedEof => {
                    return Err(PacketError::Ended);
                }
                Ok(Err(err)) => return Err(PacketError::Broken(err)),
                Ok(Ok(0)) => return Err(PacketError::Ended),
                Ok(Ok(n)) => into = &mut into[n..],
            }
        }
        Ok(())
    }
}

fn garbage(head: &[u8]) -> PacketError {
    PacketError::Garbage(format!(
        "a packet cannot start with `{}`",
        head.escape_ascii()
    ))
}

/// Appends a packet with `data` to a request.
pub fn push(request: &mut Vec<u8>, data: &[u8]) {
    debug_assert!(data.len() + 4 <= MOST);
    request.extend_from_slice(format!("{:04x}", data.len() + 4).as_bytes());
    request.extend_from_slice(data);
}

/// Appends a flush to a request.
pub fn push_flush(request: &mut Vec<u8>) {
    request.extend_from_slice(b"0000");
}

/// A packet's text without the newline that most senders put at its end.
pub fn text(data: &[u8]) -> &[u8] {
    data.strip_suffix(b"\n").unwrap_or(data)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn read(bytes: &'static [u8]) -> Result<Vec<Packet>, PacketError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut reader = PacketReader::new(Box::new(bytes), Duration::from_secs(1));
            let mut packets = Vec::new();
            loop {
                match reader.next().await {
                    Err(PacketError::Ended) => return Ok(packets),
                    packet => packets.push(packet?),
                }
            }
        })
    }

    #[test]
    fn what_is_written_can_be_read() {
        let mut request = Vec::new();
        push(&mut request, b"want x\n");
        push(&mut request, b"");
        push_flush(&mut request);

        let packets = read(request.leak()).unwrap();

        let expected = [
            Packet::Data(b"want x\n".to_vec()),
            Packet::Data(vec![]),
            Packet::Flush,
        ];
        assert_eq!(packets, expected);
    }

    #[test]
    fn what_is_no_packet_is_an_error_that_shows_its_start() {
        for bytes in [
            &b"<!DOCTYPE"[..],
            b"0001",
            b"0003",
            b"fff1",
            b"-001x",
            b"\xff\xff\xff\xff",
        ] {
            assert!(
                matches!(
                    read(bytes),
                    Err(PacketError::Garbage(_) | PacketError::Text(_))
                ),
                "{}",
                bytes.escape_ascii()
            );
        }
    }
}

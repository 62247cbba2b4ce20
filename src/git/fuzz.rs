//! Whatever a server says: no reader of it panics, keeps more of it than it needs, or shows it as it came.
#![allow(clippy::unwrap_used)]

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use proptest::prelude::*;
use tokio::io::{AsyncRead, ReadBuf};

use super::Location;
use super::advertisement::{Advertisement, AdvertisementError};
use super::packet::{self, Packet, PacketError, PacketReader};
use support::fuzz::{any_spoiled, cases};

const MAIN: &str = "refs/heads/main";
const SILENCE: Duration = Duration::from_secs(5);

/// A stream that gives its bytes in pieces of these sizes, in turn.
struct Pieces {
    bytes: Vec<u8>,
    at: usize,
    sizes: Vec<usize>,
    n: usize,
}

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let size = self.sizes[self.n % self.sizes.len()].min(into.remaining());
        let end = self.bytes.len().min(self.at + size);
        into.put_slice(&self.bytes[self.at..end]);
        self.at = end;
        self.n += 1;
        Poll::Ready(Ok(()))
    }
}

/// A stream that says the same for ever.
struct Endless(Vec<u8>, usize);

impl AsyncRead for Endless {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        while into.remaining() > 0 {
            let end = self.0.len().min(self.1 + into.remaining());
            into.put_slice(&self.0[self.1..end]);
            self.1 = end % self.0.len();
        }
        Poll::Ready(Ok(()))
    }
}

fn reader(bytes: &[u8], sizes: &[usize]) -> PacketReader {
    let pieces = Pieces {
        bytes: bytes.to_vec(),
        at: 0,
        sizes: sizes.to_vec(),
        n: 0,
    };
    PacketReader::new(Box::new(pieces), SILENCE)
}

fn wait_for<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(work)
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![1..8_usize, 1..70_000_usize], 1..6)
}

/// The packets of a stream up to what is none, as its description has them: written once more, in another way.
fn packets_in(mut bytes: &[u8]) -> (Vec<Packet>, bool) {
    let mut packets = Vec::new();
    loop {
        let Some((head, rest)) = bytes.split_at_checked(4) else {
            return (packets, true);
        };
        if !head.iter().all(u8::is_ascii_hexdigit) {
            return (packets, false);
        }
        let length = head.iter().fold(0, |sum, digit| {
            sum * 16 + char::from(*digit).to_digit(16).unwrap() as usize
        });
        match length {
            0 => {
                packets.push(Packet::Flush);
                bytes = rest;
            }
            4..=65520 => {
                let Some((data, rest)) = rest.split_at_checked(length - 4) else {
                    return (packets, true);
                };
                packets.push(Packet::Data(data.to_vec()));
                bytes = rest;
            }
            _ => return (packets, false),
        }
    }
}

/// A server's advertisement, for more kinds of ref than one has.
fn advertisement() -> Vec<u8> {
    let mut bytes = Vec::new();
    let id = "0123456789abcdef0123456789abcdef01234567";
    packet::push(&mut bytes, b"# service=git-upload-pack\n");
    packet::push_flush(&mut bytes);
    let able = "multi_ack side-band-64k shallow agent=git/2.39 object-format=sha1";
    packet::push(&mut bytes, format!("{id} HEAD\0{able}\n").as_bytes());
    for name in [
        MAIN,
        "refs/heads/a\u{1b}[2J",
        "refs/pull/1/head",
        "refs/tags/v1^{}",
    ] {
        packet::push(&mut bytes, format!("{id} {name}\n").as_bytes());
    }
    packet::push(&mut bytes, format!("shallow {id}\n").as_bytes());
    packet::push_flush(&mut bytes);
    bytes
}

/// Bytes that look like packets, more or less.
fn streams() -> impl Strategy<Value = Vec<u8>> {
    let packet = prop_oneof![
        3 => prop::collection::vec(any::<u8>(), 0..60).prop_map(|data| {
            let mut bytes = Vec::new();
            packet::push(&mut bytes, &data);
            bytes
        }),
        1 => Just(b"0000".to_vec()),
        1 => "[+ -]?[0-9a-fA-F]{3,4}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..8),
        1 => Just([&b"fff0"[..], &[b'x'; 65516]].concat()),
    ];
    prop_oneof![
        prop::collection::vec(packet, 0..6).prop_map(|packets| packets.concat()),
        any_spoiled(vec![advertisement()]),
    ]
}

/// What may be put before people: one line, and no more of it than they can read.
fn assert_readable(text: &str) -> Result<(), TestCaseError> {
    prop_assert!(!text.contains(char::is_control), "{text:?}");
    prop_assert!(
        text.len() <= 3 * terminal::harmless::SHOWN,
        "{} bytes",
        text.len()
    );
    Ok(())
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn packets_are_the_same_in_whatever_pieces_they_come(bytes in streams(), sizes in sizes()) {
        let (expected, ends) = packets_in(&bytes);
        let mut reader = reader(&bytes, &sizes);
        let mut packets = Vec::new();
        let end = loop {
            match wait_for(reader.next()) {
                Ok(packet) => packets.push(packet),
                Err(err) => break err,
            }
        };

        prop_assert_eq!(packets, expected);
        match end {
            PacketError::Ended => prop_assert!(ends),
            PacketError::Garbage(found) | PacketError::Text(found) => {
                prop_assert!(!ends);
                assert_readable(&found)?;
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn what_is_said_in_packets_is_heard(
        data in prop::collection::vec(prop::option::of(prop::collection::vec(any::<u8>(), 0..200)), 0..8),
        sizes in sizes(),
    ) {
        let mut bytes = Vec::new();
        for data in &data {
            match data {
                Some(data) => packet::push(&mut bytes, data),
                None => packet::push_flush(&mut bytes),
            }
        }
        let mut reader = reader(&bytes, &sizes);

        for data in data {
            let expected = data.map_or(Packet::Flush, Packet::Data);
            prop_assert_eq!(wait_for(reader.next()).unwrap(), expected);
        }
        prop_assert!(matches!(wait_for(reader.next()), Err(PacketError::Ended)));
    }

    #[test]
    fn a_spoiled_advertisement_is_read_or_refused_in_readable_words(bytes in streams(), sizes in sizes()) {
        let mut reader = reader(&bytes, &sizes);
        let heard = wait_for(Advertisement::read(&mut reader, |name| name == MAIN));

        match heard {
            Ok(heard) => assert_readable(&heard.other_branches())?,
            Err(AdvertisementError::Refused(words) | AdvertisementError::Format(words) | AdvertisementError::Garbage(words)) => assert_readable(&words)?,
            Err(AdvertisementError::Packet(PacketError::Garbage(words) | PacketError::Text(words))) => assert_readable(&words)?,
            Err(AdvertisementError::Packet(PacketError::Ended)) => {}
            Err(other) => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn no_uri_makes_the_reader_panic_or_breaks_a_line(uri in uris()) {
        let shown = match Location::parse(&uri) {
            Ok((location, _)) => location.to_string(),
            Err(err) => err.to_string(),
        };

        prop_assert!(!shown.contains(char::is_control), "{:?}", shown);
    }

    #[test]
    fn no_spoiled_url_shows_its_password(uri in spoiled_urls()) {
        let shown = match Location::parse(&uri) {
            Ok((location, credentials)) => format!("{location} {credentials:?}"),
            Err(err) => format!("{err} {err:?}"),
        };

        prop_assert!(!shown.contains("MARKER"), "{}", shown);
    }
}

fn uris() -> impl Strategy<Value = String> {
    let valid = [
        "https://me:secret@example.com:8080/a/b.git?q#f",
        "ssh://git@[::1]:2222/~/x",
        "git://example.com:1/x%20y",
        "[git@h:22]:/srv/x.git",
        "git@github.com:ops/locks.git",
        "file://localhost/srv/my%20locks",
        "/srv/a:b",
    ];
    prop_oneof![
        any::<String>(),
        "[a-z/:@\\[\\]%~.0-9 -]{0,30}",
        "(https|ssh|git|file|ext)?(://|::|:)?\\PC{0,20}",
        any_spoiled(valid.map(|uri| uri.as_bytes().to_vec()).to_vec())
            .prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
    ]
}

/// URLs with a password, spoiled behind it, or before it as people do.
fn spoiled_urls() -> impl Strategy<Value = String> {
    let start = prop::sample::select(vec![
        "https://",
        "HTTP://",
        "ssh://",
        "git://",
        "ftp://",
        "git+ssh://",
        "https//",
        "https:/",
        "https:",
        "://",
        " https://",
        "",
        "/",
        "[",
        "ssh@",
        "http\u{1b}://",
        "ext::https://",
    ]);
    let rest = any_spoiled(vec![
        b"example.com:8080/a/b.git?q#f".to_vec(),
        b"[::1]:22/~/x".to_vec(),
    ]);
    (start, rest)
        .prop_map(|(start, rest)| format!("{start}me:MARKER@{}", String::from_utf8_lossy(&rest)))
}

#[test]
fn an_advertisement_without_an_end_is_cut_off() {
    let id = "0123456789abcdef0123456789abcdef01234567";
    for start in [format!("shallow {id}"), format!("{id} refs/heads/")] {
        let mut packet = Vec::new();
        packet::push(
            &mut packet,
            format!("{start}{}", "x".repeat(65_000)).as_bytes(),
        );
        let mut reader = PacketReader::new(Box::new(Endless(packet, 0)), SILENCE);

        let heard = wait_for(Advertisement::read(&mut reader, |name| name == MAIN));

        assert!(
            matches!(&heard, Err(AdvertisementError::Packet(PacketError::Garbage(found)))
                if found == "its list of refs does not end after 512 MiB"),
            "{heard:?}"
        );
    }
}

#[test]
fn what_is_allowed_can_be_read_to_its_last_byte() {
    let mut bytes = Vec::new();
    packet::push(&mut bytes, b"abc");
    packet::push_flush(&mut bytes);
    for (most, whole) in [(11, true), (10, false)] {
        let mut reader = reader(&bytes, &[1]);
        reader.allow("pack", most);

        assert_eq!(
            wait_for(reader.next()).unwrap(),
            Packet::Data(b"abc".to_vec())
        );
        assert_eq!(wait_for(reader.next()).is_ok(), whole, "{most}");
    }
}

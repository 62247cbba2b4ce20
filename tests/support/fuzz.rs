//! What generated tests share: how many cases there are, and how something valid is spoiled.
//!
//! Part of the library's own tests as well.

use proptest::prelude::*;
use proptest::test_runner::Config;

/// `usual` cases, which should take a second or so; `PROPTEST_CASES` makes them more or fewer in proportion to
/// proptest's own number, which is 256: with `PROPTEST_CASES=2560` there are ten times as many of all.
pub fn cases(usual: u32) -> Config {
    const ITS_OWN: u64 = 256;
    let asked = std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|asked| asked.parse::<u64>().ok())
        .unwrap_or(ITS_OWN);
    let cases = (u64::from(usual) * asked / ITS_OWN).clamp(1, u64::from(u32::MAX));
    Config {
        cases: u32::try_from(cases).unwrap_or(u32::MAX),
        failure_persistence: None,
        max_shrink_iters: 256,
        ..Config::default()
    }
}

/// One way to spoil bytes. Places are in thousandths of the length, so that they fit any.
#[derive(Debug, Clone)]
pub enum Harm {
    /// Another byte in place of one.
    Replace(u16, u8),
    /// Bytes put in.
    Insert(u16, Vec<u8>),
    /// Bytes taken out.
    Cut(u16, usize),
    /// Bytes said twice.
    Repeat(u16, usize),
    /// The end is missing.
    End(u16),
}

/// One to four ways to spoil bytes.
pub fn harms() -> impl Strategy<Value = Vec<Harm>> {
    let place = 0..1000_u16;
    let telling =
        prop::sample::select(&b"\0\n\r\t +-/:.,=\\\"'[]{}@%~!0179aefzAZ\x1b\x7f\x80\xc3\xff"[..]);
    let byte = prop_oneof![any::<u8>(), telling];
    let length = prop_oneof![1..4_usize, 4..80_usize];
    let harm = prop_oneof![
        4 => (place.clone(), byte.clone()).prop_map(|(place, byte)| Harm::Replace(place, byte)),
        2 => (place.clone(), prop::collection::vec(byte, 1..12)).prop_map(|(place, bytes)| Harm::Insert(place, bytes)),
        2 => (place.clone(), length.clone()).prop_map(|(place, length)| Harm::Cut(place, length)),
        2 => (place.clone(), length).prop_map(|(place, length)| Harm::Repeat(place, length)),
        1 => place.prop_map(Harm::End),
    ];
    prop::collection::vec(harm, 1..5)
}

/// The bytes, spoiled.
pub fn spoiled(bytes: &[u8], harms: &[Harm]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for harm in harms {
        let at = |place: &u16, bytes: &[u8]| bytes.len() * usize::from(*place) / 1000;
        match harm {
            Harm::Replace(place, byte) => {
                let at = at(place, &bytes);
                if let Some(old) = bytes.get_mut(at) {
                    *old = *byte;
                }
            }
            Harm::Insert(place, more) => {
                let at = at(place, &bytes);
                bytes.splice(at..at, more.iter().copied());
            }
            Harm::Cut(place, length) => {
                let at = at(place, &bytes);
                bytes.drain(at..bytes.len().min(at + length));
            }
            Harm::Repeat(place, length) => {
                let at = at(place, &bytes);
                let end = bytes.len().min(at + length);
                let more = bytes[at..end].to_vec();
                bytes.splice(end..end, more);
            }
            Harm::End(place) => {
                let at = at(place, &bytes);
                bytes.truncate(at);
            }
        }
    }
    bytes
}

/// Any of these, spoiled.
pub fn any_spoiled(valid: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    (prop::sample::select(valid), harms()).prop_map(|(valid, harms)| spoiled(&valid, &harms))
}

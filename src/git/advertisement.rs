//! What a server says first: its refs and what it can do.
//!
//! Source: `gitprotocol-pack(5)`, "Reference Discovery"; `gitprotocol-http(5)` for the line that HTTP puts before it.

use std::collections::BTreeMap;

use super::packet::{MIB, Packet, PacketError, PacketReader, text};
use crate::object::{Oid, full_id};
use terminal::one_line;

/// The most that an advertisement may have, in bytes: room for millions of refs.
const MOST: u64 = 512 * MIB;

/// How many names of other branches are kept, to be shown when ours is missing.
const NAMES_KEPT: usize = 8;

/// How much is kept of each, in characters.
const NAME_SHOWN: usize = 100;

/// The refs that we asked about, and the server's capabilities.
#[derive(Debug, Default)]
pub struct Advertisement {
    refs: BTreeMap<String, Oid>,
    other_branches: Vec<String>,
    capabilities: Capabilities,
}

/// What a server can do besides the least.
#[derive(Debug, Clone, Default)]
pub struct Capabilities(Vec<String>);

/// What an advertisement can be instead of one.
#[derive(Debug)]
pub enum AdvertisementError {
    /// The stream failed.
    Packet(PacketError),
    /// The server said why not.
    Refused(String),
    /// Its objects are named in this way, which is not the one that we know.
    Format(String),
    /// Not what a server says.
    Garbage(String),
}

impl Advertisement {
    /// Reads up to the flush that ends it, and keeps the refs that `wanted` says yes to: servers may have very many.
    ///
    /// # Errors
    /// Any [`AdvertisementError`].
    pub async fn read(
        reader: &mut PacketReader,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Advertisement, AdvertisementError> {
        let mut heard = Advertisement::default();
        let mut first = true;
        let mut service_line = false;
        reader.allow("list of refs", MOST);
        loop {
            let packet = reader.next().await.map_err(AdvertisementError::Packet)?;
            match packet {
                // HTTP: "# service=…", a flush, then the advertisement itself.
                Packet::Flush if service_line => service_line = false,
                Packet::Flush => return Ok(heard),
                Packet::Data(line) => {
                    let line = text(&line);
                    if let Some(words) = line.strip_prefix(b"ERR ") {
                        return Err(AdvertisementError::Refused(terminal::harmless::words(
                            words,
                        )));
                    } else if line.starts_with(b"# service=") {
                        service_line = true;
                    } else if line == b"version 1" || line.starts_with(b"shallow ") {
                        // A server that is shallow itself has less history, which we find out by asking for it.
                    } else {
                        heard.line(line, first, &wanted)?;
                        first = false;
                    }
                }
            }
        }
    }

    /// What is known of refs without a server.
    pub fn of(refs: BTreeMap<String, Oid>) -> Advertisement {
        Advertisement {
            refs,
            ..Advertisement::default()
        }
    }

    /// The commit that a ref is at.
    pub fn get(&self, name: &str) -> Option<Oid> {
        self.refs.get(name).copied()
    }

    /// The refs whose names start with `start`, by what follows it.
    pub fn below(&self, start: &str) -> BTreeMap<String, Oid> {
        let after_start = |name: &str| Some(name.strip_prefix(start)?.to_owned());
        self.refs
            .iter()
            .filter_map(|(name, id)| Some((after_start(name)?, *id)))
            .collect()
    }

    /// What the server can do.
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// What there is where a branch was looked for in vain, in a few words.
    pub fn other_branches(&self) -> String {
        if self.other_branches.is_empty() {
            "it has no branches".to_owned()
        } else {
            format!("it has {}", self.other_branches.join(", "))
        }
    }

    fn line(
        &mut self,
        line: &[u8],
        first: bool,
        wanted: &impl Fn(&str) -> bool,
    ) -> Result<(), AdvertisementError> {
        let (line, capabilities) = match line.iter().position(|byte| *byte == 0) {
            Some(end) => (&line[..end], &line[end + 1..]),
            None => (line, &b""[..]),
        };
        if first {
            let capabilities = String::from_utf8_lossy(capabilities);
            self.capabilities =
                Capabilities(capabilities.split_whitespace().map(str::to_owned).collect());
            // Before its names are read, which are longer then.
            let format = self.capabilities.value("object-format");
            if let Some(other) = format.filter(|format| *format != "sha1") {
                return Err(AdvertisementError::Format(one_line(other)));
            }
        }
        // A ref whose name is not UTF-8 cannot be one that we ask for.
        let Ok(line) = std::str::from_utf8(line) else {
            return Ok(());
        };
        let found = line
            .split_once(' ')
            .and_then(|(id, name)| Some((full_id(id)?, name)));
        let Some((id, name)) = found else {
            let start: String = line.chars().take(40).collect();
            return Err(AdvertisementError::Garbage(format!(
                "{start:?} where a ref should be"
            )));
        };
        if wanted(name) {
            self.refs.insert(name.to_owned(), id);
        } else if let Some(branch) = name.strip_prefix("refs/heads/")
            && self.other_branches.len() < NAMES_KEPT
        {
            let shown: String = branch.chars().take(NAME_SHOWN).collect();
            self.other_branches.push(format!("`{}`", one_line(&shown)));
        }
        Ok(())
    }
}

impl Capabilities {
    /// Whether the server can do this; for `key=value` ask with [`Capabilities::value`].
    pub fn can(&self, capability: &str) -> bool {
        self.0.iter().any(|known| known == capability)
    }

    /// The value of a capability of the form `key=value`.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.0
            .iter()
            .find_map(|known| known.strip_prefix(key)?.strip_prefix('='))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use super::super::packet::{push, push_flush};
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef01234567";

    fn read(lines: &[&str]) -> Result<Advertisement, AdvertisementError> {
        let mut bytes = Vec::new();
        for line in lines {
            match *line {
                "" => push_flush(&mut bytes),
                line => push(&mut bytes, line.as_bytes()),
            }
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let mut reader = PacketReader::new(
            Box::new(std::io::Cursor::new(bytes)),
            Duration::from_secs(1),
        );
        runtime.block_on(Advertisement::read(&mut reader, |name| {
            name == "refs/heads/main"
        }))
    }

    #[test]
    fn refs_and_capabilities_are_read_with_and_without_the_line_of_http() {
        let head = format!("{ID} HEAD\0multi_ack side-band-64k agent=git/2 object-format=sha1\n");
        let main = format!("{ID} refs/heads/main\n");
        let other = format!("{ID} refs/heads/other\n");
        for start in [&["# service=git-upload-pack\n", ""][..], &[]] {
            let heard = read(&[start, &[&head, &main, &other, ""]].concat()).unwrap();

            assert_eq!(heard.get("refs/heads/main"), Oid::from_str(ID).ok());
            assert_eq!(heard.get("refs/heads/other"), None);
            assert!(
                heard.capabilities().can("side-band-64k") && !heard.capabilities().can("shallow")
            );
            assert_eq!(heard.capabilities().value("object-format"), Some("sha1"));
            assert_eq!(heard.other_branches(), "it has `other`");
        }
    }

    #[test]
    fn an_empty_repository_has_no_branches() {
        let none = format!("{:040} capabilities^{{}}\0shallow", 0);
        assert_eq!(
            read(&[&none, ""]).unwrap().other_branches(),
            "it has no branches"
        );
        assert_eq!(read(&[""]).unwrap().other_branches(), "it has no branches");
    }

    #[test]
    fn a_refusal_and_garbage_are_told_apart() {
        let refused = read(&["ERR access denied\u{1b}[1m"]);
        assert!(
            matches!(refused, Err(AdvertisementError::Refused(words)) if words == "access denied[1m")
        );
        for line in ["hello", "0123 refs/heads/main", ID] {
            assert!(
                matches!(read(&[line, ""]), Err(AdvertisementError::Garbage(_))),
                "{line}"
            );
        }
    }
}

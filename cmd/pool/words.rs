//! What the library says, in the words of the command line: it names a setting as a pipeline has it, below `source`.

use std::io::{self, Write};

use super::settings::keys::{NESTED, SWITCHES, TEXTS};

/// The flags of what has one.
const FLAGS: [(&str, &str); 3] = [("uri", "--uri"), ("branch", "--branch"), ("pool", "--pool")];

/// Phrases in which it is not a key alone.
const PHRASES: [(&str, &str); 5] = [
    (
        "the credentials in `source`",
        "the credentials (`POOL_USERNAME` and `POOL_PASSWORD`, or `POOL_PRIVATE_KEY`)",
    ),
    ("`private_key` in `source`", "`POOL_PRIVATE_KEY`"),
    ("`match`", "`--match`"),
    ("`order: newest`", "`--order newest`"),
    ("`on_deadlock: fail`", "`--on-deadlock fail`"),
];

/// A text with the names that things have on the command line.
pub fn ours(text: &str) -> String {
    let mut text = text.to_owned();
    for (theirs, ours) in PHRASES {
        text = text.replace(theirs, ours);
    }
    for (key, flag) in FLAGS {
        text = text.replace(&format!("`source.{key}`"), &format!("`{flag}`"));
    }
    for key in TEXTS.iter().chain(&SWITCHES) {
        let variable = format!("`POOL_{}`", key.to_uppercase());
        text = text.replace(&format!("`source.{key}`"), &variable);
    }
    for key in NESTED {
        let place = format!("`{key}` in `pool.toml`");
        text = text.replace(&format!("`source.{key}`"), &place);
    }
    text.replace("`source.", "`")
}

/// The error stream, line by line in the words of the command line.
#[derive(Debug, Default)]
pub struct Log(Vec<u8>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        while let Some(end) = self.0.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.0.drain(..=end).collect();
            let line = ours(&String::from_utf8_lossy(&line));
            io::stderr().write_all(line.as_bytes())?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_named_by_what_sets_it_here() {
        for (theirs, expected) in [
            ("check `source.uri`, and", "check `--uri`, and"),
            ("`source.ca_cert` must be", "`POOL_CA_CERT` must be"),
            (
                "`source.https_tunnel` is",
                "`https_tunnel` in `pool.toml` is",
            ),
            ("`source.git_config[0]`", "`git_config[0]`"),
            (
                "check the credentials in `source` and",
                "check the credentials (`POOL_USERNAME` and `POOL_PASSWORD`, or `POOL_PRIVATE_KEY`) and",
            ),
            ("a source of trouble", "a source of trouble"),
        ] {
            assert_eq!(ours(theirs), expected);
        }
    }
}

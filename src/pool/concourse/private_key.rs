//! A private key as people put it into a pipeline: set right where its lines were lost, and told what it is where it is none.

/// Reads the key out of the value of a setting.
///
/// Lines that were lost are put back: YAML and environment variables fold a key into one line, with spaces or a written `\n`
/// between the lines.
///
/// # Errors
/// What the value looks like, and what to do, where it cannot be a key. Nothing of the value is in it.
pub(crate) fn read(value: &str) -> Result<String, &'static str> {
    let text = value.trim().trim_start_matches('\u{feff}');
    // A line may have been quoted once more on its way.
    let text = text.trim_matches(['"', '\'']).trim();
    let text = match text.contains("\\n") {
        true => text.replace("\\r", "").replace("\\n", "\n"),
        false => text.to_owned(),
    };
    if let Some(what) = looks_like(&text) {
        return Err(what);
    }
    match text.trim().lines().count() {
        1 => unfolded(text.trim()).ok_or(CUT_OFF),
        _ => Ok(value_of(&text)),
    }
}

const CUT_OFF: &str =
    "a private key that is cut off: it has to end with its line `-----END ... PRIVATE KEY-----`";

/// What a text is that is no private key; `None` when it may be one.
fn looks_like(text: &str) -> Option<&'static str> {
    let is_public = ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"]
        .iter()
        .any(|kind| text.starts_with(kind))
        || text.contains("BEGIN PUBLIC KEY")
        || text.contains("BEGIN RSA PUBLIC KEY")
        || text.contains("BEGIN SSH2 PUBLIC KEY");
    let is_one_word = !text.contains(char::is_whitespace);
    let is_path = is_one_word
        && text.len() < 4096
        && (text.starts_with(['/', '~', '.'])
            || [".pem", ".key", "id_rsa", "id_ed25519", "id_ecdsa"]
                .iter()
                .any(|end| text.ends_with(end)));
    if text.starts_with("((") && text.ends_with("))") {
        return Some(
            "a variable of a pipeline in double parentheses that has no value: set it in the credential manager, or with `fly set-pipeline --load-vars-from`",
        );
    }
    if is_public {
        return Some(
            "the public half of a key: the private one begins with `-----BEGIN`, and is in the file whose name does not end with .pub",
        );
    }
    if text.starts_with("PuTTY-User-Key-File") {
        return Some(
            "a key of PuTTY: `puttygen KEY.ppk -O private-openssh-new -o KEY` makes one of OpenSSH of it",
        );
    }
    if text.contains("BEGIN CERTIFICATE") {
        return Some("a certificate: its private key is another file");
    }
    if is_path {
        return Some("the path of a file: the key itself has to stand here, with all of its lines");
    }
    let (begins, ends) = (
        text.contains("-----BEGIN ") && text.contains("PRIVATE KEY-----"),
        text.contains("-----END "),
    );
    match (begins, ends) {
        (true, true) => None,
        (true, false) => Some(CUT_OFF),
        (false, true) => Some(
            "a private key without its beginning: it has to begin with its line `-----BEGIN ... PRIVATE KEY-----`",
        ),
        (false, false) => Some(
            "something else than a private key, which begins with a line `-----BEGIN ... PRIVATE KEY-----`",
        ),
    }
}

/// A key of several lines, which end as a file's do.
fn value_of(text: &str) -> String {
    format!("{}\n", text.trim())
}

/// The lines of a key that stands on one; `None` when its parts are not all there.
fn unfolded(text: &str) -> Option<String> {
    let rest = text.strip_prefix("-----BEGIN ")?;
    let (kind, rest) = rest.split_once("-----")?;
    let (body, _) = rest.split_once("-----END ")?;
    let mut lines = vec![format!("-----BEGIN {kind}-----")];
    let mut words = body.split_whitespace().peekable();
    let mut has_head = false;
    // `Proc-Type: 4,ENCRYPTED` and the like stand before the key, with an empty line behind them.
    while let Some(name) = words.next_if(|word| word.ends_with(':')) {
        lines.push(format!("{name} {}", words.next()?));
        has_head = true;
    }
    if has_head {
        lines.push(String::new());
    }
    words.peek()?;
    // Lines of a key that were joined without anything between them are as good as one that is long.
    const LINE: usize = 64;
    let body: Vec<char> = words.flat_map(str::chars).collect();
    lines.extend(body.chunks(LINE).map(|line| line.iter().collect()));
    lines.push(format!("-----END {kind}-----\n"));
    Some(lines.join("\n"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    const KEY: &str = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW\nQyNTUxOQAAACA=\n-----END OPENSSH PRIVATE KEY-----\n";
    const WITH_HEAD: &str = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0011\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";

    fn words(key: &str) -> Vec<&str> {
        key.split_whitespace().collect()
    }

    #[test]
    fn a_key_that_was_folded_into_one_line_has_its_lines_again() {
        assert_eq!(read(KEY).unwrap(), KEY);
        assert_eq!(read(&format!("\n\n{KEY}\n ")).unwrap(), KEY);
        for folded in [
            KEY.replace('\n', "\\n"),
            KEY.replace('\n', "\\r\\n"),
            KEY.replace('\n', " "),
            format!("\"{}\"", KEY.replace('\n', "\\n")),
        ] {
            let read = read(&folded).unwrap();
            assert_eq!(words(&read).concat(), words(KEY).concat(), "{folded}");
            assert!(
                read.starts_with("-----BEGIN OPENSSH PRIVATE KEY-----\nb3"),
                "{read}"
            );
            assert!(
                read.ends_with("\n-----END OPENSSH PRIVATE KEY-----\n"),
                "{read}"
            );
        }
        assert_eq!(read(&WITH_HEAD.replace('\n', " ")).unwrap(), WITH_HEAD);
    }

    #[test]
    fn what_is_no_key_is_told_what_it_looks_like() {
        for (value, looks_like) in [
            ("ssh-ed25519 AAAA me@host", "the public half"),
            (
                "-----BEGIN PUBLIC KEY-----\nAA\n-----END PUBLIC KEY-----",
                "the public half",
            ),
            ("((locks-key))", "a variable of a pipeline"),
            (
                "PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none",
                "a key of PuTTY",
            ),
            ("/root/.ssh/id_rsa", "the path of a file"),
            ("~/.ssh/key", "the path of a file"),
            ("keys/locks.pem", "the path of a file"),
            (
                "-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----",
                "a certificate",
            ),
            ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Blb", "cut off"),
            ("-----BEGIN OPENSSH PRIVATE KEY-----", "cut off"),
            (
                "-----BEGIN RSA PRIVATE KEY----- -----END RSA PRIVATE KEY-----",
                "cut off",
            ),
            (
                "b3Blb\n-----END OPENSSH PRIVATE KEY-----",
                "without its beginning",
            ),
            ("hunter2", "something else"),
        ] {
            let why = read(value).unwrap_err();
            assert!(why.contains(looks_like), "{value}: {why}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "(-----(BEGIN|END) (RSA )?PRIVATE KEY-----|[ \n:]|\\\\n|[a-z]{0,3}){0,12}") {
            if let Ok(key) = read(&text) {
                prop_assert!(key.contains("PRIVATE KEY-----"));
            }
        }
    }
}

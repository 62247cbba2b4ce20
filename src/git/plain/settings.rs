//! Which settings of Git change nothing of what is done here. All others are for Git's own programs.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use git2::Config;

/// What settings say that matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    /// The repository says of itself that it has no work tree.
    pub bare: bool,
    /// Whether a push is followed by `git gc --auto`.
    pub tidies: bool,
    /// Whether no ref may be taken away.
    pub keeps_refs: bool,
}

impl Default for Said {
    fn default() -> Said {
        Said {
            bare: false,
            tidies: true,
            keeps_refs: false,
        }
    }
}

/// Sections that are for those who work in a repository, or for other servers.
const SECTIONS: [&str; 55] = [
    "advice",
    "alias",
    "am",
    "apply",
    "author",
    "blame",
    "branch",
    "browser",
    "checkout",
    "clean",
    "clone",
    "color",
    "column",
    "commit",
    "committer",
    "credential",
    "daemon",
    "diff",
    "difftool",
    "fetch",
    "filter",
    "format",
    "gitweb",
    "gpg",
    "grep",
    "gui",
    "guitool",
    "help",
    "http",
    "init",
    "index",
    "interactive",
    "lfs",
    "log",
    "mailmap",
    "man",
    "merge",
    "mergetool",
    "pack",
    "pager",
    "protocol",
    "pull",
    "push",
    "rebase",
    "remote",
    "repack",
    "rerere",
    "sendemail",
    "ssh",
    "stash",
    "status",
    "submodule",
    "tag",
    "url",
    "user",
];

/// The same of `core`.
const CORE: [&str; 22] = [
    "abbrev",
    "askpass",
    "attributesfile",
    "autocrlf",
    "checkstat",
    "commentchar",
    "compression",
    "editor",
    "eol",
    "excludesfile",
    "filemode",
    "fsmonitor",
    "ignorecase",
    "loosecompression",
    "pager",
    "precomposeunicode",
    "preloadindex",
    "quotepath",
    "safecrlf",
    "sshcommand",
    "symlinks",
    "whitespace",
];

impl Said {
    /// Takes in what a file says, if there is one; `None` when there is something that is not known to be harmless.
    pub fn take(&mut self, file: &Path, is_own: bool) -> Option<()> {
        match fs::metadata(file) {
            Ok(_) if file == Path::new("/dev/null") => return Some(()),
            // A pipe is read once, and by one.
            Ok(found) if !found.is_file() => return None,
            Ok(found) if found.len() == 0 => return Some(()),
            Ok(_) => {}
            Err(err) if err.kind() == ErrorKind::NotFound && !is_own => return Some(()),
            Err(_) => return None,
        }
        let config = Config::open(file).ok()?;
        let entries = config.entries(None).ok()?;
        let mut is_known = true;
        let read = entries.for_each(|entry| {
            let name = entry.name().ok().map(str::to_lowercase);
            let value = entry.has_value().then(|| entry.value().ok()).flatten();
            is_known &= name.is_some_and(|name| self.take_one(&name, value, is_own));
        });
        (read.is_ok() && is_known).then_some(())
    }

    /// Whether a setting is known.
    fn take_one(&mut self, name: &str, value: Option<&str>, is_own: bool) -> bool {
        let Some((section, key)) = name.split_once('.') else {
            return false;
        };
        match (section, key) {
            ("core", "repositoryformatversion") => value == Some("0"),
            ("core", "bare") => {
                if is_own {
                    self.bare = is_true(value);
                }
                true
            }
            ("core", "logallrefupdates") => is_false(value),
            ("core", key) => CORE.contains(&key),
            ("receive", "autogc") => {
                self.tidies = !is_false(value);
                true
            }
            ("receive", "denydeletes") => {
                self.keeps_refs = !is_false(value);
                true
            }
            // Nothing is pushed here but what was made on what is there, and nobody has it checked out.
            ("receive", "denynonfastforwards" | "denycurrentbranch" | "unpacklimit") => true,
            ("transfer", "unpacklimit") => true,
            // What may be asked of a server.
            ("uploadpack", key) => matches!(
                key,
                "allowfilter"
                    | "allowanysha1inwant"
                    | "allowtipsha1inwant"
                    | "allowreachablesha1inwant"
            ),
            ("safe", key) => key == "directory",
            // Those two say when there is something to do.
            ("gc", key) => key != "auto" && key != "autopacklimit",
            (section, _) => SECTIONS.contains(&section),
        }
    }
}

/// As Git reads it; a name without a value says yes.
fn is_true(value: Option<&str>) -> bool {
    value.is_none_or(|value| {
        let value = value.to_lowercase();
        matches!(&*value, "true" | "yes" | "on" | "1")
    })
}

fn is_false(value: Option<&str>) -> bool {
    value.is_some_and(|value| {
        let value = value.to_lowercase();
        matches!(&*value, "false" | "no" | "off" | "0" | "")
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn said(text: &str) -> Option<Said> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config");
        fs::write(&file, text).unwrap();
        let mut said = Said::default();
        said.take(&file, true)?;
        Some(said)
    }

    #[test]
    fn what_is_usual_is_known() {
        let usual = "[core]\nrepositoryformatversion = 0\nbare\nfilemode = true\n\
             [receive]\nautogc = false\ndenyDeletes = yes\n[http]\nreceivepack = true\n\
             [url \"https://x.example/\"]\ninsteadOf = y:\n[user]\nname = me\n";

        let expected = Said {
            bare: true,
            tidies: false,
            keeps_refs: true,
        };
        assert_eq!(said(usual), Some(expected));
    }

    #[test]
    fn what_is_not_known_is_for_git() {
        for text in [
            "[core]\nrepositoryformatversion = 1\n",
            "[core]\nsharedRepository = group\n",
            "[core]\nfsync = all\n",
            "[core]\nhooksPath = /hooks\n",
            "[core]\nlogAllRefUpdates = true\n",
            "[core]\nalternateRefsCommand = x\n",
            "[extensions]\nobjectFormat = sha256\n",
            "[extensions]\nrefStorage = reftable\n",
            "[receive]\nfsckObjects = true\n",
            "[receive]\nhideRefs = refs/pool-queue\n",
            "[receive]\nmaxInputSize = 1\n",
            "[transfer]\nhideRefs = refs/heads\n",
            "[uploadpack]\npackObjectsHook = x\n",
            "[hook \"x\"]\nevent = pre-receive\n",
            "[include]\npath = /etc/other\n",
            "[includeIf \"gitdir:/\"]\npath = /etc/other\n",
            "[gc]\nauto = 10\n",
            "[later]\nsetting = 1\n",
            "[core\n",
        ] {
            assert_eq!(said(text), None, "{text}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_says_nothing_but_of_a_repository_itself() {
        let nowhere = Path::new("/nonexistent/config");

        assert_eq!(Said::default().take(nowhere, false), Some(()));
        assert_eq!(Said::default().take(nowhere, true), None);
        assert_eq!(
            Said::default().take(Path::new("/dev/null"), false),
            Some(())
        );
    }
}

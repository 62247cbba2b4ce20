//! The entries of a script as bash runs them: one bash for all of them, which keeps what they declare.
//!
//! bash reads the driver from its standard input; the entries themselves see an empty one. Each is evaluated on its own, so
//! that nothing in it (a quote that is not closed, a `break`) reaches beyond it. An entry that exits ends that bash; if
//! others are to follow, the next bash takes over what was declared, which the first one has left in a file.

use std::path::Path;

use crate::template::shell_word;

/// What is run.
#[derive(Debug, Clone, Copy)]
pub struct Script<'a> {
    /// The entries.
    pub entries: &'a [String],
    /// Whether those after a failing one run too.
    pub goes_on: bool,
    /// Where each begins.
    pub folder: &'a Path,
    /// Where what was declared is left, and how far it got.
    pub state: &'a Path,
}

/// How far a bash got that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// All entries.
    End,
    /// This entry, in which it ended.
    Entry(usize),
}

impl Script<'_> {
    /// What bash is to read, for the entries from `from` on.
    pub fn text(&self, from: usize) -> String {
        let state = shell_word(&self.state.to_string_lossy());
        let folder = shell_word(&self.folder.to_string_lossy());
        // A command that handles an interrupt itself would else be followed by the next one.
        let mut text = String::from("trap -- 'builtin exit 130' INT\n");
        let is_single = from + 1 >= self.entries.len();
        if from > 0 {
            // What cannot be set again, such as BASHPID, says so.
            text.push_str(&format!("{{ . {state}; }} 2>/dev/null\n"));
        }
        if !is_single {
            // In the order in which they may be read again: options such as `set -u` come last.
            let leave = format!(
                "[ \"$__prunner_entry\" = end ] || {{ builtin printf \": %s\\n\" \"$__prunner_entry\"; builtin declare -p; \
                 builtin declare -f; builtin export -fp; builtin shopt -p; builtin set +o; }} 2>/dev/null >|{state}"
            );
            text.push_str(&format!("trap -- {} EXIT\n", shell_word(&leave)));
        }
        text.push_str("{ __prunner_code=0; } 2>/dev/null\n");
        for (at, entry) in self.entries.iter().enumerate().skip(from) {
            if !is_single {
                text.push_str(&format!(
                    "{{ __prunner_entry={at}; builtin printf ': {at}\\n' >|{state}; }} 2>/dev/null\n"
                ));
            }
            text.push_str(&format!(
                "builtin eval -- {} </dev/null\n",
                shell_word(entry)
            ));
            let otherwise = match self.goes_on {
                true => "__prunner_code=$__prunner_status",
                false => "builtin exit \"$__prunner_status\"",
            };
            text.push_str(&format!(
                "{{ __prunner_status=$?; if [ \"$__prunner_status\" != 0 ]; then {otherwise}; fi; \
                 builtin cd -- {folder}; }} 2>/dev/null >&2\n"
            ));
        }
        let mark = match is_single {
            true => String::new(),
            false => format!("__prunner_entry=end; builtin printf ': end\\n' >|{state}; "),
        };
        text.push_str(&format!(
            "{{ {mark}builtin exit \"$__prunner_code\"; }} 2>/dev/null\n"
        ));
        text
    }

    /// How far it got, by what is in the file.
    pub fn reached(&self, from: usize, state: &[u8]) -> Reached {
        if from + 1 >= self.entries.len() {
            return Reached::End;
        }
        let line = state
            .split(|byte| *byte == b'\n')
            .next()
            .unwrap_or_default();
        let word = std::str::from_utf8(line)
            .ok()
            .and_then(|line| line.strip_prefix(": "));
        match word {
            Some("end") => Reached::End,
            Some(word) => Reached::Entry(
                word.parse()
                    .unwrap_or(from)
                    .clamp(from, self.entries.len() - 1),
            ),
            None => Reached::Entry(from),
        }
    }
}

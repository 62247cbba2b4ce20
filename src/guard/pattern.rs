//! Regular expressions as Python's `re` has them, and which jobs are guarded.

use fancy_regex::{Regex, RegexBuilder};

/// How many steps a match may take: what takes more goes back and forth, and would go on for hours.
const MOST_STEPS: usize = 1_000_000;

/// The longest text that is matched, in bytes: refs and names are shorter.
const LONGEST: usize = 4096;

/// Why an expression cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PatternError {
    /// It is none, or has in it what only Python knows.
    #[error("is no regular expression that this program knows: {0}")]
    Malformed(String),
}

/// A regular expression.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    regex: Regex,
}

impl Pattern {
    /// Reads an expression that may be found anywhere in a text.
    ///
    /// # Errors
    /// [`PatternError`].
    pub fn search(text: &str) -> Result<Pattern, PatternError> {
        Pattern::build(text, &translated(text))
    }

    /// Reads an expression that must match from the beginning of a text, and need not match all of it.
    ///
    /// # Errors
    /// [`PatternError`].
    pub fn prefix(text: &str) -> Result<Pattern, PatternError> {
        // Alone it must be one as well: `a)(b` is none.
        Pattern::search(text)?;
        Pattern::build(text, &format!(r"\A(?:{})", translated(text)))
    }

    fn build(text: &str, regex: &str) -> Result<Pattern, PatternError> {
        let regex = RegexBuilder::new(regex).backtrack_limit(MOST_STEPS).build();
        let regex =
            regex.map_err(|err| PatternError::Malformed(terminal::one_line(&err.to_string())))?;
        Ok(Pattern {
            text: text.to_owned(),
            regex,
        })
    }

    /// The expression as it was given.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it matches. A text that takes too long is taken for one that matches: waiting in vain is better than not
    /// waiting.
    pub fn matches(&self, text: &str) -> bool {
        let ends = (0..=LONGEST.min(text.len())).rev();
        let end = ends
            .into_iter()
            .find(|end| text.is_char_boundary(*end))
            .unwrap_or_default();
        self.regex.is_match(&text[..end]).unwrap_or(true)
    }
}

/// The same expression as the library writes it. Two things have another meaning there: `\Z`, and some characters in a class.
fn translated(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    // How many characters of the class have been read, if we are in one.
    let mut class: Option<usize> = None;
    while let Some(c) = chars.next() {
        let in_class = class;
        class = class.map(|n| n + 1);
        match (c, in_class) {
            ('\\', _) => match chars.next() {
                Some('Z') if in_class.is_none() => out.push_str(r"\z"),
                Some(next) => out.extend(['\\', next]),
                None => out.push('\\'),
            },
            ('[', None) => {
                class = Some(0);
                out.push('[');
                if chars.next_if_eq(&'^').is_some() {
                    out.push('^');
                }
            }
            // The first one is a bracket like any other.
            (']', Some(0)) => out.push_str(r"\]"),
            (']', Some(_)) => {
                class = None;
                out.push(']');
            }
            ('[' | '&' | '~', Some(_)) => out.extend(['\\', c]),
            _ => out.push(c),
        }
    }
    out
}

/// Which jobs are guarded.
#[derive(Debug, Clone, Default)]
pub struct GuardedJobs {
    /// Those of this name, which is our own job's.
    own: Option<String>,
    /// Those whose name this is found in.
    named: Option<Pattern>,
}

impl GuardedJobs {
    /// The jobs that are called as our own is, and those that `named` is found in.
    pub fn new(own: Option<&str>, named: Option<Pattern>) -> GuardedJobs {
        GuardedJobs {
            own: own.map(|name| base(name).to_owned()),
            named,
        }
    }

    /// Whether there is no way to tell a guarded job.
    pub fn is_empty(&self) -> bool {
        self.own.is_none() && self.named.is_none()
    }

    /// Whether a job of this name is one of them.
    pub fn has(&self, name: &str) -> bool {
        let is_own = self.own.as_deref().is_some_and(|own| own == base(name));
        is_own || self.named.as_ref().is_some_and(|named| named.matches(name))
    }
}

/// The name of a job without what tells it from the others that run beside it: `deploy 1/3` and `deploy: [eu, big]` are
/// `deploy`.
///
/// Source: GitLab, "CI/CD YAML", `parallel` and `parallel:matrix`.
pub fn base(name: &str) -> &str {
    if let Some((base, rest)) = name.split_once(": [")
        && rest.ends_with(']')
    {
        return base;
    }
    let numbered = name.rsplit_once(' ').filter(|(_, last)| {
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        last.split_once('/')
            .is_some_and(|(n, of)| is_number(n) && is_number(of))
    });
    numbered.map_or(name, |(base, _)| base)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn assert_found(pattern: &str, text: &str, expected: bool) {
        let found = Pattern::search(pattern).unwrap().matches(text);
        assert_eq!(found, expected, "{pattern:?} in {text:?}");
    }

    #[test]
    fn a_ref_is_searched_and_a_status_matched_from_its_beginning() {
        assert_found("master", "feature/master-document", true);
        assert_found("^master$", "feature/master-document", false);
        assert_found("^master$", "master", true);
        assert_found("", "anything", true);
        for (pattern, status, expected) in [
            ("running", "running", true),
            ("run", "running", true),
            ("unning", "running", false),
            ("running|pending", "pending", true),
            ("s", "success", true),
        ] {
            let found = Pattern::prefix(pattern).unwrap().matches(status);
            assert_eq!(found, expected, "{pattern} {status}");
        }
    }

    #[test]
    fn what_python_has_works_here() {
        for (pattern, text, expected) in [
            (r"^\d+\-", "123-fix", true),
            (r"^\d+\-", "x123-fix", false),
            (r"^(?!master$).*", "master", false),
            (r"^(?!master$).*", "release", true),
            (r"(?<=release/)\d+$", "release/12", true),
            (r"(?P<n>\w)-(?P=n)$", "a-a", true),
            (r"(\w)\1", "aa", true),
            (r"(\w)\1", "ab", false),
            (r"x\Z", "x", true),
            (r"x\Z", "x\n", false),
            (r"^[]a]$", "]", true),
            (r"^[[a]$", "[", true),
            (r"^[a&&b]+$", "a&b", true),
            (r"^[^]]$", "]", false),
            (r"(?i)MASTER", "master", true),
            (r"^\w+$", "größe", true),
            (r"^\d$", "٣", true),
        ] {
            assert_found(pattern, text, expected);
        }
    }

    #[test]
    fn what_is_no_expression_is_refused_with_a_word() {
        for pattern in ["(", "[", "a)(b", "*", r"\", "(?L)x"] {
            for read in [Pattern::search, Pattern::prefix] {
                let err = read(pattern).unwrap_err().to_string();
                assert!(
                    err.starts_with("is no regular expression"),
                    "{pattern}: {err}"
                );
            }
        }
    }

    #[test]
    fn an_expression_that_goes_back_and_forth_ends_and_counts_as_a_match() {
        let text = "a".repeat(40) + "!";

        assert!(Pattern::search(r"^((a+)+)+\2$").unwrap().matches(&text));
        assert!(!Pattern::search(r"^(a)\1$").unwrap().matches(&text));
    }

    #[test]
    fn jobs_that_run_beside_each_other_have_one_name() {
        for (name, expected) in [
            ("deploy", "deploy"),
            ("deploy 1/3", "deploy"),
            ("deploy: [eu]", "deploy"),
            ("deploy: [eu, big]", "deploy"),
            ("deploy to eu", "deploy to eu"),
            ("deploy 1/x", "deploy 1/x"),
            ("deploy: eu", "deploy: eu"),
        ] {
            assert_eq!(base(name), expected);
        }
        let jobs = GuardedJobs::new(Some("deploy 1/3"), Some(Pattern::search("^wait").unwrap()));
        for (name, expected) in [("deploy: [eu]", true), ("wait-prod", true), ("test", false)] {
            assert_eq!(jobs.has(name), expected, "{name}");
        }
        assert!(GuardedJobs::default().is_empty());
    }

    proptest! {
        #[test]
        fn no_pattern_and_no_text_make_it_panic(pattern in "\\PC{0,12}|[\\[\\]\\^\\\\Z()*+?|a&~-]{0,12}", text in "\\PC{0,40}") {
            if let Ok(pattern) = Pattern::prefix(&pattern) {
                let _ = pattern.matches(&text);
            }
        }
    }
}

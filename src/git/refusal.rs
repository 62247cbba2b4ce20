//! What a server's No means: one table of words, for every kind of server that was met.
//!
//! Words differ between servers and their versions, and are written for people. They decide only what no look at the
//! branch can tell: whether the same request may be taken a little later, or never. A No with words that are not in the
//! table counts as final for a commit of ours (a hook may say anything), and as passing for a whole conversation (a
//! server that fails in the middle of its work may say anything too).
//!
//! Sources: the texts of git 2.20 to 2.55 (`builtin/receive-pack.c`, `refs/files-backend.c`, `remote.c`), JGit and
//! Gerrit (`ReceiveCommand.Result`), gitolite 3.6, GitHub, GitLab (gitlab-shell, Gitaly), Gitea, Gogs, soft-serve,
//! Dulwich, as seen in their answers and their documentation.

use terminal::harmless;

/// Why a server did not change a ref, or did not talk to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Somebody else was at the ref at the same moment, or a lock file was in the way. The branch shows which.
    Raced,
    /// The server says itself that it passes: it is read-only for a while, too busy, or counts our requests.
    Passing,
    /// We may not do this, here.
    Denied,
    /// There is no such repository, as far as we can see.
    Missing,
    /// The repository is in a format that the server's own Git does not know.
    Unsupported,
    /// A rule forbids it, or the words say nothing that is known.
    Other,
}

/// Words, each in lower case, and what they mean. The first that is found counts, so that what is certain comes first.
const TABLE: &[(Kind, &[&str])] = &[
    (
        Kind::Passing,
        &[
            "try again later",
            "please try again",
            "temporarily read-only",
            "temporarily unavailable",
            "read-only mode",
            "currently unable to receive",
            "maintenance",
            "too many requests",
            "rate limit",
            "too many connections",
            "service unavailable",
            "server is busy",
            "resource temporarily unavailable",
            "connection reset by peer",
            "internal api unreachable",
            "timed out",
        ],
    ),
    (
        Kind::Raced,
        &[
            "failed to update ref",
            "failed to lock",
            "failed to write",
            "cannot lock ref",
            "cannot update the ref",
            "cannot update ref",
            "unable to lock",
            "unable to update",
            "could not lock",
            "could not update",
            "lock error",
            "lock_failure",
            "lock failure",
            "incorrect old value",
            "invalid old id",
            "reference already exists",
            "already exists",
            "reference does not exist",
            "reference is missing",
            "no such ref",
            "unable to resolve reference",
            "stale info",
            "fetch first",
            "non-fast-forward",
            "non-fast forward",
            "but expected",
            "is at ",
            "unable to create",
            "transaction failed",
            "transaction aborted",
            "atomic push failure",
            "atomic transaction failed",
            "internal server error",
            "could not unpack our objects",
        ],
    ),
    (
        Kind::Missing,
        &[
            "does not appear to be a git repository",
            "not a git repository",
            "invalid gitfile format",
            "repository not found",
            "project not found",
            "could not be found",
            "cannot find repository",
            "invalid repo",
            "not found or you don't have permission",
            "does not exist",
            "not exported",
        ],
    ),
    (
        Kind::Unsupported,
        &["unknown repository extension", "expected git repo version"],
    ),
    (
        Kind::Denied,
        &[
            "dubious ownership",
            "unsafe repository",
            "permission denied",
            "permission to",
            "access denied",
            "denied by",
            "not allowed",
            "not permitted",
            "not authorized",
            "unauthorized",
            "no permission",
            "insufficient permission",
            "read only",
            "read-only",
            "write access",
            "key has expired",
            "account has been blocked",
            "account is locked",
            "token is invalid",
            "token was revoked",
            "two-factor",
            "prohibited",
        ],
    ),
];

/// What a server says, on one line and harmless, without the lines that say nothing: some begin each line of theirs with a
/// word like `error:`, also the empty ones.
pub fn words(bytes: &[u8]) -> String {
    const EMPTY: &[&str] = &["error:", "remote:", "fatal:", "hint:", "warning:"];
    let said = harmless::words(bytes);
    let says_something = |part: &&str| {
        let mut rest = part.trim();
        while let Some(after) = EMPTY.iter().find_map(|word| rest.strip_prefix(word)) {
            rest = after.trim_start();
        }
        rest.chars().any(char::is_alphanumeric)
    };
    let parts: Vec<&str> = said.split("; ").filter(says_something).collect();
    parts.join("; ")
}

/// Whether a server that sends us to this place, or answers with such a page, wants us to sign in first: hosts do so where a
/// token is wrong or has expired.
pub fn is_sign_in(path: &str) -> bool {
    // A repository may have such a name too.
    let is_page = !path.ends_with("/info/refs");
    let words = ["signin", "_signin", "sign_in", "sign-in", "login", "sso"];
    is_page
        && path
            .split('/')
            .any(|part| words.contains(&part.to_ascii_lowercase().as_str()))
}

/// What words mean, wherever a server said them.
pub fn kind(words: &str) -> Kind {
    let words = words.to_ascii_lowercase();
    let found = TABLE
        .iter()
        .find(|(_, known)| known.iter().any(|known| words.contains(known)));
    found.map_or(Kind::Other, |(kind, _)| *kind)
}

/// What a server's words about one ref mean, in the report of a push.
pub fn of_ref(reason: &str) -> Kind {
    match kind(reason) {
        // A hook's words come after these, and may have any others in them.
        _ if is_rule(reason) => Kind::Other,
        // Of a ref these are the words of a server that could not lock it, or of a rule.
        Kind::Missing => Kind::Raced,
        kind => kind,
    }
}

/// Whether a hook or a rule of the server has looked at our change, and said no: it would say the same of the next one.
pub fn is_rule(reason: &str) -> bool {
    let reason = reason.to_ascii_lowercase();
    [
        "hook declined",
        "declined by",
        "protected branch",
        "hidden ref",
        "prohibited by",
    ]
    .iter()
    .any(|known| reason.contains(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Server, its words about a ref, and what they mean.
    const REFS: &[(&str, &str, Kind)] = &[
        ("git", "failed to update ref", Kind::Raced),
        (
            "git 2.39",
            "cannot lock ref 'refs/heads/main': is at 1a but expected 2b",
            Kind::Raced,
        ),
        (
            "git 2.39",
            "Unable to create '/srv/x/refs/heads/main.lock': File exists.",
            Kind::Raced,
        ),
        ("git 2.50", "incorrect old value provided", Kind::Raced),
        ("git 2.50", "reference already exists", Kind::Raced),
        ("git 2.51", "reference does not exist", Kind::Raced),
        ("git", "atomic push failure", Kind::Raced),
        ("git", "non-fast-forward", Kind::Raced),
        ("git", "fetch first", Kind::Raced),
        ("JGit", "LOCK_FAILURE", Kind::Raced),
        ("JGit", "lock error: no such ref", Kind::Raced),
        ("JGit", "invalid old id sent", Kind::Raced),
        ("JGit", "transaction aborted", Kind::Raced),
        ("Gerrit", "internal server error", Kind::Raced),
        ("git", "pre-receive hook declined", Kind::Other),
        ("git", "hook declined", Kind::Other),
        ("git", "deny updating a hidden ref", Kind::Other),
        ("git", "deletion prohibited", Kind::Denied),
        ("GitHub", "protected branch hook declined", Kind::Other),
        (
            "Gerrit",
            "prohibited by Gerrit: not permitted: update",
            Kind::Other,
        ),
        ("JGit", "REJECTED_NODELETE", Kind::Other),
    ];

    /// Server, its last words before it hung up, and what they mean.
    const CONVERSATIONS: &[(&str, &str, Kind)] = &[
        (
            "GitLab",
            "remote: GitLab is currently unable to handle this request, it is temporarily read-only. Please try again later.",
            Kind::Passing,
        ),
        (
            "gitolite",
            "FATAL: R any locks ci DENIED by fallthru",
            Kind::Denied,
        ),
        ("soft-serve", "invalid repo", Kind::Missing),
        ("GitHub", "ERROR: Your SSH key has expired", Kind::Denied),
        (
            "GitHub",
            "ERROR: Permission to o/r.git denied to ci.",
            Kind::Denied,
        ),
        ("GitHub", "ERROR: Repository not found.", Kind::Missing),
        (
            "GitLab",
            "ERROR: The project you were looking for could not be found or you don't have permission to view it.",
            Kind::Missing,
        ),
        ("GitLab", "remote: ERROR: Project not found", Kind::Missing),
        (
            "git",
            "fatal: unknown repository extension found:\trefstorage",
            Kind::Unsupported,
        ),
        (
            "git",
            "fatal: '/srv/x' does not appear to be a git repository",
            Kind::Missing,
        ),
        (
            "git",
            "fatal: detected dubious ownership in repository at '/srv/x'",
            Kind::Denied,
        ),
        ("Gitea", "Gitea: Unauthorized", Kind::Denied),
        ("sshd", "error: pack-objects died of signal 9", Kind::Other),
    ];

    #[test]
    fn what_servers_say_of_a_ref_is_known() {
        for (server, words, means) in REFS {
            assert_eq!(of_ref(words), *means, "{server}: {words}");
        }
    }

    #[test]
    fn what_servers_say_before_they_hang_up_is_known() {
        for (server, words, means) in CONVERSATIONS {
            assert_eq!(kind(words), *means, "{server}: {words}");
        }
    }

    #[test]
    fn lines_that_say_nothing_are_left_out() {
        let gitea = b"error:\nerror: Deploy Key: 1:ci is not authorized to write to o/r.\nerror:\n";
        assert_eq!(
            words(gitea),
            "error: Deploy Key: 1:ci is not authorized to write to o/r."
        );
        assert_eq!(words(b"remote: error:\nremote: ---\nno\n"), "no");
        assert_eq!(words(b"error:\n"), "");
    }

    #[test]
    fn a_page_to_sign_in_is_known_by_its_name_and_no_repository_is_taken_for_one() {
        for path in ["/_signin", "/users/sign_in", "/login", "/o/login/x"] {
            assert!(is_sign_in(path), "{path}");
        }
        for path in ["/login/locks.git/info/refs", "/o/login-locks", "/design"] {
            assert!(!is_sign_in(path), "{path}");
        }
    }
}

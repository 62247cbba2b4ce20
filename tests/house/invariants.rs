//! What the pages of the crates say that is not there.

use crate::plan::{crates, sources};

#[track_caller]
fn assert_absent(folder: &str, absent: &[&str]) {
    for (path, code) in sources(folder) {
        for word in absent {
            assert!(!code.contains(word), "{} has `{word}`", path.display());
        }
    }
}

/// A module of `pool` and what is below it.
fn module(name: &str) -> Vec<(std::path::PathBuf, String)> {
    let is_of = |path: &std::path::Path| {
        path.starts_with(format!("src/pool/{name}"))
            || path == std::path::Path::new(&format!("src/pool/{name}.rs"))
    };
    let mut all = sources("src/pool");
    all.retain(|(path, _)| is_of(path));
    assert!(!all.is_empty(), "{name}");
    all
}

#[test]
fn the_rules_do_no_io_and_read_no_clock() {
    let outside = [
        "std::fs",
        "std::env",
        "std::net",
        "std::process",
        "std::thread",
        "tokio",
        "::now()",
        "net::http",
        "rand::",
    ];
    for name in [
        "lock",
        "operation",
        "message",
        "maker",
        "line",
        "metadata",
        "rules",
        "reap",
        "past",
        "show",
        "view",
    ] {
        for (path, code) in module(name) {
            for word in outside {
                assert!(!code.contains(word), "{} has `{word}`", path.display());
            }
        }
    }
}

#[test]
fn the_ground_floors_do_no_io() {
    let outside = [
        "std::fs",
        "std::net",
        "std::process",
        "tokio::net",
        "tokio::fs",
    ];
    assert_absent("src/pace", &outside);
    assert_absent("src/terminal", &outside);
    assert_absent("src/scrape", &outside);
}

#[test]
fn git_knows_nothing_of_locks() {
    assert_absent("src/git", &["lock_name", "claimed", "LockName", "pool::"]);
}

#[test]
fn the_rules_of_the_guard_do_no_io_and_read_no_clock() {
    let outside = [
        "std::fs", "std::env", "std::net", "tokio", "::now()", "net::",
    ];
    for name in ["lock", "pattern", "rule", "turn"] {
        let path = format!("src/guard/{name}.rs");
        let all = sources("src/guard");
        let found = all
            .iter()
            .find(|(found, _)| found == std::path::Path::new(&path));
        for word in outside {
            assert!(!found.unwrap().1.contains(word), "{path} has `{word}`");
        }
    }
}

#[test]
fn documents_and_their_changes_do_no_io() {
    let outside = [
        "std::fs",
        "std::env",
        "std::net",
        "std::thread",
        "tokio",
        "::now()",
        "net::",
        "git::",
    ];
    for name in [
        "answer",
        "document",
        "json",
        "merge",
        "operation",
        "path",
        "shell",
        "value",
        "vars",
        "yaml",
    ] {
        let is_of = |path: &std::path::Path| {
            path.starts_with(format!("src/state/{name}"))
                || path == std::path::Path::new(&format!("src/state/{name}.rs"))
        };
        let mut all = sources("src/state");
        all.retain(|(path, _)| is_of(path));
        assert!(!all.is_empty(), "{name}");
        for (path, code) in all {
            for word in outside {
                assert!(!code.contains(word), "{} has `{word}`", path.display());
            }
        }
    }
}

#[test]
fn the_rules_of_the_pipelines_do_no_io_and_read_no_clock() {
    let outside = [
        "std::fs", "std::env", "std::net", "tokio", "Instant", "net::", "rand::",
    ];
    for name in ["rules", "job", "template", "value", "script"] {
        let all = sources("src/pipelines");
        let is_of = |path: &std::path::Path| {
            path.starts_with(format!("src/pipelines/{name}"))
                || path == std::path::Path::new(&format!("src/pipelines/{name}.rs"))
        };
        let found: Vec<_> = all.iter().filter(|(path, _)| is_of(path)).collect();
        assert!(!found.is_empty(), "{name}");
        for (path, code) in found {
            for word in outside {
                assert!(!code.contains(word), "{} has `{word}`", path.display());
            }
        }
    }
}

#[test]
fn gitlab_knows_nothing_of_those_who_ask() {
    assert_absent("src/gitlab", &["guard::", "pool::", "paas::", "LockName"]);
}

#[test]
fn only_what_runners_say_changes_anything_at_gitlab() {
    for (path, code) in sources("src/gitlab") {
        let is_runner = path.starts_with("src/gitlab/runner")
            || path == std::path::Path::new("src/gitlab/runner.rs");
        let changes = [
            "Method::POST",
            "Method::PUT",
            "Method::PATCH",
            "Method::DELETE",
        ]
        .iter()
        .any(|method| code.contains(method));
        assert!(is_runner || !changes, "{}", path.display());
    }
}

#[test]
fn what_is_decided_of_jobs_and_machines_does_no_io_and_reads_no_clock() {
    let outside = [
        "std::fs",
        "std::env",
        "std::net",
        "tokio",
        "Instant",
        "SystemTime",
        "net::http",
        "rand::",
    ];
    for name in [
        "life", "payload", "image", "context", "naming", "resource", "state", "config", "metrics",
    ] {
        let all = sources("src/paas");
        let is_of = |path: &std::path::Path| {
            path.starts_with(format!("src/paas/{name}"))
                || path == std::path::Path::new(&format!("src/paas/{name}.rs"))
        };
        let found: Vec<_> = all.iter().filter(|(path, _)| is_of(path)).collect();
        assert!(!found.is_empty(), "{name}");
        for (path, code) in found {
            for word in outside {
                assert!(!code.contains(word), "{} has `{word}`", path.display());
            }
        }
    }
}

#[test]
fn only_child_starts_processes() {
    for name in crates() {
        if name != "child" {
            assert_absent(&format!("src/{name}"), &["Command::new"]);
        }
    }
    assert_absent("cmd", &["Command::new"]);
}

#[test]
fn only_the_programs_read_the_environment_or_end_the_process() {
    for name in crates() {
        let absent = [
            "env::var",
            "env::args",
            "process::exit",
            // Not as a part of a word.
            " ExitCode",
            ":ExitCode",
            "{ExitCode",
        ];
        assert_absent(&format!("src/{name}"), &absent);
    }
}

#[test]
fn only_where_the_wire_begins_can_anything_be_serialized() {
    for name in ["pace", "terminal", "net", "child", "git", "guard"] {
        assert_absent(&format!("src/{name}"), &["Serialize", "Deserialize"]);
    }
    for (path, code) in sources("src/pool") {
        let is_wire = ["concourse", "metadata"].iter().any(|name| {
            path.to_str()
                .unwrap()
                .starts_with(&format!("src/pool/{name}"))
        });
        let has_any = ["Serialize", "Deserialize"]
            .iter()
            .any(|word| code.contains(word));
        assert!(is_wire || !has_any, "{}", path.display());
    }
}

//! What the architecture page says is not there, and what the manifest says is enough.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The sources of a module of the library, without its tests: name and text.
fn sources(module: &str) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = vec![root.join(format!("{module}.rs"))];
    let mut folders = vec![root.join(module)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if !["tests.rs", "fuzz.rs"]
                .iter()
                .any(|name| path.ends_with(name))
            {
                files.push(path);
            }
        }
    }
    let read = files.into_iter().map(|path| {
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let lines = code
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        (path, lines.collect::<Vec<_>>().join("\n"))
    });
    read.collect()
}

fn modules() -> Vec<String> {
    let lib = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/lib.rs")).unwrap();
    let lines = lib.lines();
    let names = lines.filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    names.map(str::to_owned).collect()
}

#[track_caller]
fn assert_absent(module: &str, absent: &[&str]) {
    for (path, text) in sources(module) {
        for word in absent {
            assert!(!text.contains(word), "{} has `{word}`", path.display());
        }
    }
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
        "reqwest",
        "rand::",
    ];
    for module in [
        "object",
        "lock",
        "operation",
        "message",
        "maker",
        "line",
        "metadata",
        "pool",
        "reap",
        "show",
    ] {
        assert_absent(module, &outside);
    }
}

#[test]
fn git_knows_nothing_of_locks() {
    for module in modules() {
        if !["git", "object", "report"].contains(&module.as_str()) {
            assert_absent("git", &[&format!("crate::{module}")]);
        }
    }
}

#[test]
fn nothing_but_the_command_line_reads_the_environment_or_ends_the_process() {
    for module in modules() {
        assert_absent(
            &module,
            &["env::var", "env::args", "process::exit", "ExitCode"],
        );
    }
}

#[test]
fn only_where_the_wire_begins_can_anything_be_serialized() {
    for module in modules() {
        if !["concourse", "metadata"].contains(&module.as_str()) {
            assert_absent(&module, &["Serialize", "Deserialize"]);
        }
    }
}

#[test]
fn every_file_of_these_tests_is_run() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    let main = fs::read_to_string(folder.join("main.rs")).unwrap();
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let is_named = main.contains(&format!("mod {name};"));
        assert!(is_named || name == "main", "{}", path.display());
    }
}

/// That our own code needs no newer one is clippy's business (`incompatible_msrv`).
#[test]
fn no_dependency_needs_a_newer_rust_than_we_say() {
    let mut command = Command::new(env!("CARGO"));
    command
        .args(["metadata", "--format-version", "1", "--locked", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = command.output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}");
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let version = |text: &str| -> Vec<u32> {
        let numbers = text.split('.').map(|number| number.parse().unwrap());
        numbers.chain([0, 0]).take(3).collect()
    };
    let packages = metadata["packages"].as_array().unwrap();
    let ours = version(env!("CARGO_PKG_RUST_VERSION"));
    assert!(packages.len() > 100, "{}", packages.len());
    for package in packages {
        if let Some(needed) = package["rust_version"].as_str() {
            assert!(version(needed) <= ours, "{}: {needed}", package["name"]);
        }
    }
}

#[test]
fn the_pipeline_builds_with_the_oldest_rust_that_we_say() {
    let pipeline =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/ci/pipeline.yml")).unwrap();
    let tag = concat!("tag: ", env!("CARGO_PKG_RUST_VERSION"), "-bookworm}");
    assert!(pipeline.contains(tag), "{tag}");
}

//! Manifests and sources, read.

use std::fs;
use std::path::{Path, PathBuf};

use toml::Table;

/// Where the workspace is.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The library crates, by their folders below `src`.
pub fn crates() -> Vec<String> {
    let mut names: Vec<String> = folders(&root().join("src"))
        .iter()
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    assert!(names.len() > 5, "{names:?}");
    names
}

/// The manifest in a folder of the workspace.
pub fn manifest(folder: &str) -> Table {
    let path = root().join(folder).join("Cargo.toml");
    let text = fs::read_to_string(&path).unwrap_or_else(|err| panic!("{}: {err}", path.display()));
    text.parse().unwrap()
}

/// What a manifest depends on in this section, and whether it is optional.
pub fn dependencies(manifest: &Table, section: &str) -> Vec<(String, bool)> {
    let Some(table) = manifest.get(section).and_then(|table| table.as_table()) else {
        return Vec::new();
    };
    let is_optional = |value: &toml::Value| {
        let optional = value.get("optional");
        optional.and_then(toml::Value::as_bool).unwrap_or_default()
    };
    table
        .iter()
        .map(|(name, value)| (name.clone(), is_optional(value)))
        .collect()
}

/// The Rust sources below a folder, without tests and comments: path and code.
pub fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut left = vec![root().join(folder)];
    while let Some(folder) = left.pop() {
        left.extend(folders(&folder));
        for path in files(&folder) {
            let name = path.file_name().unwrap().to_str().unwrap();
            let is_code = name.ends_with(".rs") && !matches!(name, "tests.rs" | "fuzz.rs");
            if is_code {
                let code = code(&fs::read_to_string(&path).unwrap());
                found.push((path.strip_prefix(root()).unwrap().to_owned(), code));
            }
        }
    }
    assert!(!found.is_empty(), "no sources in {folder}");
    found
}

/// A source without its tests and comments.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let lines = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Whether code has a name with a path behind it, such as `git::`.
pub fn names_path(code: &str, name: &str) -> bool {
    let path = format!("{name}::");
    code.match_indices(&path).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
    })
}

/// The names that follow `crate::` in a source.
pub fn own_modules(code: &str) -> Vec<&str> {
    let after = code.split("crate::").skip(1);
    after
        .map(|text| {
            let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_'));
            &text[..end.unwrap_or(text.len())]
        })
        .collect()
}

pub fn folders(folder: &Path) -> Vec<PathBuf> {
    entries(folder, Path::is_dir)
}

pub fn files(folder: &Path) -> Vec<PathBuf> {
    entries(folder, Path::is_file)
}

fn entries(folder: &Path, wanted: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
    let read = fs::read_dir(folder).unwrap_or_else(|err| panic!("{}: {err}", folder.display()));
    let mut paths: Vec<PathBuf> = read
        .map(|entry| entry.unwrap().path())
        .filter(|path| wanted(path))
        .collect();
    paths.sort();
    paths
}

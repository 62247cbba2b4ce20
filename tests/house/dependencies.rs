//! What each crate brings into the programs, and which Rust that needs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::plan::{crates, dependencies, manifest, names_path, root, sources};

/// The libraries that only these crates may use. Programs are `cmd`.
const HOMES: [(&str, &[&str]); 23] = [
    ("reqwest", &["net"]),
    ("rustls", &["net"]),
    ("rustls-native-certs", &["net"]),
    ("openssl-probe", &["net"]),
    ("axum", &["page", "pipelines", "pool"]),
    ("globset", &["pipelines"]),
    ("hyper", &["page"]),
    ("hyper-util", &["net", "page"]),
    ("maud", &["page", "pipelines", "pool"]),
    ("signal-hook", &["child"]),
    ("git2", &["git"]),
    ("russh", &["git"]),
    ("prometheus", &["pipelines", "pool", "scrape"]),
    ("unicode-width", &["terminal"]),
    ("granit-parser", &["pool", "state"]),
    ("minijinja", &["state"]),
    ("minijinja-contrib", &["state"]),
    ("anyhow", &["cmd"]),
    ("clap", &["cmd"]),
    ("clap_complete", &["cmd"]),
    ("clap_mangen", &["cmd"]),
    ("toml", &["cmd", "paas"]),
    ("toml_edit", &["paas"]),
];

fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// What a package uses, by where its sources are.
fn packages() -> Vec<(String, String, toml::Table)> {
    let mut packages: Vec<_> = crates()
        .into_iter()
        .map(|name| {
            let folder = format!("src/{name}");
            let manifest = manifest(&folder);
            (name, folder, manifest)
        })
        .collect();
    packages.push(("cmd".to_owned(), "cmd".to_owned(), manifest("")));
    packages
}

#[test]
fn each_library_has_its_home() {
    for (name, _, manifest) in packages() {
        for (used, _) in dependencies(&manifest, "dependencies") {
            if let Some((_, homes)) = HOMES.iter().find(|(library, _)| *library == used) {
                assert!(homes.contains(&name.as_str()), "`{name}` uses `{used}`");
            }
        }
    }
}

/// What no program names it is not linked for: so the image of the resource has nothing that its programs don't use, as
/// long as what another system needs is optional.
#[test]
fn no_crate_depends_on_what_it_does_not_use() {
    for (name, folder, manifest) in packages() {
        let sources = sources(&folder);
        for (used, is_optional) in dependencies(&manifest, "dependencies") {
            let path = used.replace('-', "_");
            let is_used = sources.iter().any(|(_, code)| names_path(code, &path));
            assert!(is_used || is_optional, "`{name}` does not use `{used}`");
        }
    }
}

/// The programs of the resource's image, and whatever they have in common.
const IMAGE: [&str; 6] = [
    "cmd/lib.rs",
    "cmd/check",
    "cmd/in",
    "cmd/out",
    "cmd/pool",
    "cmd/resource.rs",
];

#[test]
fn the_image_links_nothing_that_its_programs_do_not_use() {
    let of_image: Vec<String> = sources("cmd")
        .into_iter()
        .filter(|(path, _)| IMAGE.iter().any(|part| path.starts_with(part)))
        .map(|(_, code)| code)
        .collect();
    for (used, is_optional) in dependencies(&manifest(""), "dependencies") {
        let path = used.replace('-', "_");
        let is_used = of_image.iter().any(|code| names_path(code, &path));
        assert!(
            is_used || is_optional,
            "`{used}` is for another system: make it optional, with a feature of that system's name"
        );
    }
}

#[test]
fn versions_are_said_once_in_the_workspace() {
    for (name, _, manifest) in packages() {
        for section in ["dependencies", "dev-dependencies"] {
            let Some(table) = manifest.get(section).and_then(|table| table.as_table()) else {
                continue;
            };
            for (used, value) in table {
                let is_shared = value.get("workspace").is_some();
                assert!(is_shared, "`{name}` says its own version of `{used}`");
            }
        }
    }
}

/// `ci/supply` asks `cargo deny`, which is not there for every change.
#[test]
fn no_library_is_there_twice_but_for_those_that_are_named() {
    let lock: toml::Table = text("Cargo.lock").parse().unwrap();
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in lock["package"].as_array().unwrap() {
        let of = |key: &str| package[key].as_str().unwrap();
        versions.entry(of("name")).or_default().push(of("version"));
    }
    let rules: toml::Table = text("ci/deny.toml").parse().unwrap();
    let named: Vec<&str> = rules["bans"]["skip"]
        .as_array()
        .unwrap()
        .iter()
        .map(|skipped| skipped["crate"].as_str().unwrap())
        .collect();
    let is_named = |name: &str, version: &str| {
        named.iter().any(|skipped| {
            skipped.split_once('@').is_some_and(|(of, start)| {
                of == name && (version == start || version.starts_with(&format!("{start}.")))
            })
        })
    };
    for (name, mut versions) in versions {
        versions.retain(|version| !is_named(name, version));
        assert!(
            versions.len() <= 1,
            "`{name}` is there as {versions:?}: take one of them, or name it in ci/deny.toml with the reason"
        );
    }
}

/// That our own code needs no newer one is clippy's business (`incompatible_msrv`).
#[test]
fn no_dependency_needs_a_newer_rust_than_we_say() {
    // Only what is built on a machine like this one: nothing else need have been downloaded.
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let about = Command::new(rustc).arg("-vV").output().unwrap();
    let about = String::from_utf8(about.stdout).unwrap();
    let host = about.lines().find_map(|line| line.strip_prefix("host: "));
    let mut command = Command::new(env!("CARGO"));
    command
        .args(["metadata", "--format-version", "1", "--locked", "--offline"])
        .args(["--filter-platform", host.unwrap()])
        .current_dir(root());

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
    let pipeline = text("ci/pipeline.yml");
    let tag = concat!("tag: ", env!("CARGO_PKG_RUST_VERSION"), "-bookworm}");
    assert!(pipeline.contains(tag), "{tag}");
}

#[test]
fn every_dependency_of_the_workspace_is_used_by_a_crate() {
    let root = manifest("");
    let shared = root["workspace"]["dependencies"].as_table().unwrap();
    let mut used = BTreeSet::new();
    let all = packages().into_iter().map(|(_, _, manifest)| manifest);
    for manifest in all.chain([manifest("tests/support")]) {
        for section in ["dependencies", "dev-dependencies"] {
            used.extend(
                dependencies(&manifest, section)
                    .into_iter()
                    .map(|(name, _)| name),
            );
        }
    }
    for name in shared.keys() {
        assert!(used.contains(name), "nobody uses `{name}`");
    }
}

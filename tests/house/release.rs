//! The release and the image: one static program, built in one way.

use std::fs;

use crate::plan::{files, folders, manifest, root, sources};

/// How the programs are built, of which the archives and the images are made: that of the lock pool, and that with all.
const BUILDS: [&str; 2] = [
    "cargo build --locked --config ci/static.toml --profile image --no-default-features --features all --bin all",
    "cargo build --locked --config ci/static.toml --profile image --features all --bin all",
];

fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

#[test]
fn the_release_and_the_images_have_the_same_programs() {
    for path in ["ci/release", "Dockerfile"] {
        for build in BUILDS {
            assert!(text(path).contains(build), "{path} does not say `{build}`");
        }
    }
    assert!(manifest("")["profile"].get("image").is_some());
}

/// Every program of another system than the lock pool, by what it needs to be built.
#[test]
fn every_sibling_is_among_the_tools() {
    let manifest = manifest("");
    let siblings: Vec<&str> = manifest["bin"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|bin| {
            let needs = bin.get("required-features").map(|needs| &needs[0]);
            needs.is_some_and(|needs| !["all", "manual"].contains(&needs.as_str().unwrap()))
        })
        .map(|bin| bin["name"].as_str().unwrap())
        .collect();
    let links = format!("for name in {}; do ln -s pool ", siblings.join(" "));

    assert!(!siblings.is_empty());
    for path in ["ci/release", "Dockerfile"] {
        assert!(text(path).contains(&links), "{path} does not say `{links}`");
    }
    for name in siblings {
        let call = format!("Some(\"{name}\") =>");
        assert!(text("cmd/lib.rs").contains(&call), "cmd/lib.rs: {call}");
    }
}

#[test]
fn the_program_brings_its_c_library_and_needs_nothing_of_the_system() {
    let config: toml::Table = text("ci/static.toml").parse().unwrap();
    let flags = &config["target"]["cfg(target_os = \"linux\")"]["rustflags"];
    let flags: Vec<&str> = flags
        .as_array()
        .unwrap()
        .iter()
        .map(|flag| flag.as_str().unwrap())
        .collect();

    assert!(flags.contains(&"target-feature=+crt-static"), "{flags:?}");
    assert!(
        flags.contains(&"getrandom_backend=\"linux_getrandom\""),
        "{flags:?}"
    );
}

/// In a static program a look-up of a user would else open a library of the system's, and may crash: see `net`.
#[test]
fn every_program_keeps_to_the_look_ups_that_are_built_in() {
    let common = text("cmd/resource.rs");
    assert!(common.contains("net::keep_to_built_in_services()"));
    for folder in folders(&root().join("cmd")) {
        let name = folder.file_name().unwrap().to_str().unwrap();
        // `all` is made of the others; `manual` is for those who build.
        if ["all", "manual"].contains(&name) {
            continue;
        }
        let is_kept = sources(&format!("cmd/{name}")).iter().any(|(_, code)| {
            let is_common = ["resource::run(", "resource::block_on("]
                .iter()
                .any(|call| code.contains(call));
            is_common || code.contains("net::keep_to_built_in_services()")
        });
        assert!(
            is_kept,
            "`{name}` begins without `net::keep_to_built_in_services()`"
        );
    }
}

#[test]
fn the_release_has_the_version_of_the_programs_and_is_tried_on_the_debian_of_the_image() {
    // As ci/release and ci/image read it.
    let manifest = text("Cargo.toml");
    let line = manifest
        .lines()
        .find_map(|line| line.strip_prefix("version = \""));
    assert_eq!(line, Some(concat!(env!("CARGO_PKG_VERSION"), "\"")));

    let dockerfile = text("Dockerfile");
    let builder = dockerfile
        .lines()
        .find_map(|line| line.strip_prefix("ARG BUILDER="));
    let suite = builder.unwrap().rsplit('-').next().unwrap();
    assert!(
        text("ci/release").contains(&format!("\ndebian {suite}\n")),
        "{suite}"
    );
}

#[test]
fn what_a_script_wants_to_be_set_up_is_a_list() {
    let setup = text("ci/setup");
    for path in files(&root().join("ci")) {
        let script = fs::read(&path).unwrap();
        let script = String::from_utf8_lossy(&script);
        let calls = script
            .lines()
            .filter(|line| !line.trim_start().starts_with('#'));
        for list in calls.filter_map(|line| line.split_once("ci/setup ")?.1.split(' ').next()) {
            let is_name = list.chars().all(|c| c.is_ascii_lowercase());
            assert!(
                !is_name || setup.contains(&format!("\n[{list}]\n")),
                "{}: ci/setup {list}",
                path.display()
            );
        }
    }
}

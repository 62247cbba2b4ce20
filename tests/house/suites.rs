//! Every file of every suite is run.

use std::fs;
use std::path::Path;

use crate::plan::{files, folders, manifest, root};

fn is_named(main: &Path, name: &str) -> bool {
    let text = fs::read_to_string(main).unwrap();
    text.lines().any(|line| {
        let line = line.trim_start_matches("pub ");
        line == format!("mod {name};")
    })
}

#[test]
fn every_file_of_every_suite_is_run() {
    for suite in folders(&root().join("tests")) {
        let main = match suite.file_name().unwrap().to_str().unwrap() {
            // Programs of their own.
            "bench" => continue,
            "support" => suite.join("lib.rs"),
            _ => suite.join("main.rs"),
        };
        for path in files(&suite) {
            let name = path.file_stem().unwrap().to_str().unwrap();
            let is_rust = path.extension().is_some_and(|kind| kind == "rs");
            assert!(
                !is_rust || path == main || is_named(&main, name),
                "{} is in no suite",
                path.display()
            );
        }
    }
}

#[test]
fn every_suite_is_in_the_manifest_under_its_own_name() {
    let manifest = manifest("");
    let tests = manifest["test"].as_array().unwrap();
    let named: Vec<&str> = tests
        .iter()
        .map(|test| test["name"].as_str().unwrap())
        .collect();
    for suite in folders(&root().join("tests")) {
        let name = suite.file_name().unwrap().to_str().unwrap();
        if !["bench", "support"].contains(&name) {
            assert!(named.contains(&name), "{name}");
        }
    }
}

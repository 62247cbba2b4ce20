//! The recipes of the page: each block of `sh` is run, in order, as one reader would.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::host::Host;

/// The blocks of a kind, such as `sh`.
fn blocks(kind: &str) -> Vec<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/pipelines/README.md");
    let text = fs::read_to_string(page).unwrap();
    let start = format!("```{kind}\n");
    let blocks = text.split(&start).skip(1);
    blocks
        .map(|block| block.split("\n```").next().unwrap().to_owned() + "\n")
        .collect()
}

#[test]
fn every_command_of_the_page_does_what_it_says() {
    let definitions = blocks("yaml")
        .into_iter()
        .find(|block| block.starts_with("pipelines:"))
        .unwrap();
    let mut host = Host::folder(&definitions);
    host.run();
    let prunner = Path::new(support::path_of("prunner")).parent().unwrap();
    let path = format!("{}:{}", prunner.display(), std::env::var("PATH").unwrap());
    // The page's server listens where the original does.
    let script = blocks("sh")
        .concat()
        .replace("localhost:9009", &format!("127.0.0.1:{}", host.port()));
    assert!(script.matches("curl").count() > 8, "{script}");
    host.write("page.sh", &format!("set -eu\n{script}"));

    let output = Command::new("bash")
        .args(["-x", "page.sh"])
        .env("PATH", path)
        .env("PRUNNER_JWT_SECRET", crate::host::SECRET)
        .current_dir(host.path("."))
        .output()
        .unwrap();

    let said = String::from_utf8_lossy(&output.stderr);
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{shown}");
    assert!(
        shown.contains("\"completed\":true") && !shown.contains("\"error\":\"Error"),
        "{shown}"
    );
}

#[test]
fn every_definition_of_the_page_is_accepted() {
    let all: Vec<String> = blocks("yaml")
        .into_iter()
        .filter(|block| block.contains("pipelines:"))
        .collect();
    assert!(all.len() > 1);
    for definitions in all {
        // Nobody asks the server of the locks before a job does.
        let mut host =
            Host::folder(&definitions).env("POOL_URI", "https://git.example.com/locks.git");
        assert!(host.try_run(&[]), "{definitions}\n{}", host.log());
    }
}

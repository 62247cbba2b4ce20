//! How long reads and changes take, beside the original if `STATE_ORIGINAL` is the path of its program; and how many changes
//! a store takes in a second.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::server::redis::{RedisServer, USER};
use support::{TestRemote, path_of};

const PASSWORD: &str = "bench-password";

/// How often something is timed, of which the median counts.
const TIMES: usize = 11;

/// How many changes each store gets.
const CHANGES: usize = 100;

fn files(folder: &Path, datasources: &str) {
    let config = format!("cicdstatemgr:\n  datasources:\n    {datasources}\n");
    std::fs::write(folder.join("config.yaml"), config).unwrap();
    // What is in either file is a data source.
    let secrets = match datasources.starts_with("redis") {
        true => format!("{{redis: {{username: {USER}, password: {PASSWORD}}}}}"),
        false => "{}".to_owned(),
    };
    let secrets = format!("cicdstatemgr: {{datasources: {secrets}}}\n");
    std::fs::write(folder.join("secrets.yaml"), secrets).unwrap();
    let app = "cicd-contexts: {stage: {appName: web, pipelines: {}}}\n";
    std::fs::write(folder.join("app.yaml"), app).unwrap();
}

fn command(program: &str, folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command
        .args([
            "--config",
            "config.yaml",
            "--secrets",
            "secrets.yaml",
            "--init-app-config-file",
            "app.yaml",
        ])
        .args(["--id", "run-1"])
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

fn run(program: &str, folder: &Path, args: &[&str]) {
    let output = command(program, folder, args).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {said}");
}

fn median(mut work: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..TIMES)
        .map(|_| {
            let began = Instant::now();
            work();
            began.elapsed()
        })
        .collect();
    times.sort();
    times[TIMES / 2]
}

/// Changes in a second, by so many writers at once.
fn rate(folder: &Path, writers: usize) -> f64 {
    let ours = path_of("cicdstatemgr");
    let began = Instant::now();
    std::thread::scope(|scope| {
        for writer in 0..writers {
            scope.spawn(move || {
                for n in 0..CHANGES / writers {
                    run(ours, folder, &["--set", &format!("state.k{writer}={n}")]);
                }
            });
        }
    });
    CHANGES as f64 / began.elapsed().as_secs_f64()
}

fn main() {
    let ours = path_of("cicdstatemgr");
    let original = std::env::var("STATE_ORIGINAL").ok();
    let redis = RedisServer::start(PASSWORD);
    let source = format!(
        "redis: {{host: 127.0.0.1, port: {}, isPrimary: true}}",
        redis.port()
    );
    let home = tempfile::tempdir().unwrap();
    let folder = home.path();
    files(
        folder,
        &format!("{source}\n    yamlfile: {{path: ./local.yaml}}"),
    );
    run(ours, folder, &["--init-new", "run-1", "--set", "state.k=v"]);

    println!("### One command, median of {TIMES}\n\n| | 1.2.4 | here | ratio |\n|---|---|---|---|");
    for (what, args) in [
        ("`--get` from a local copy", ["--get", "state.k"]),
        ("`--set` on Redis", ["--set", "state.k=w"]),
    ] {
        let mine = median(|| run(ours, folder, &args));
        let theirs = original
            .as_deref()
            .map(|original| median(|| run(original, folder, &args)));
        let shown = theirs.map_or("-".to_owned(), |theirs| {
            format!("{:.0} ms", theirs.as_secs_f64() * 1e3)
        });
        let ratio = theirs.map_or("-".to_owned(), |theirs| {
            format!("1/{:.0}", theirs.as_secs_f64() / mine.as_secs_f64())
        });
        println!(
            "| {what} | {shown} | {:.1} ms | {ratio} |",
            mine.as_secs_f64() * 1e3
        );
    }

    println!(
        "\n### Changes in a second, each a process of its own\n\n| store | 1 writer | 10 writers |\n|---|---|---|"
    );
    let remote = TestRemote::empty("main");
    for (what, datasources) in [
        ("redis", source),
        (
            "git, on a path",
            format!("git: {{uri: '{}', isPrimary: true}}", remote.uri()),
        ),
        (
            "yamlfile",
            "yamlfile: {path: ./data.yaml, isPrimary: true}".to_owned(),
        ),
        (
            "jsonfile",
            "jsonfile: {path: ./data.json, isPrimary: true}".to_owned(),
        ),
    ] {
        let home = tempfile::tempdir().unwrap();
        files(home.path(), &datasources);
        run(ours, home.path(), &["--init-new", "run-1"]);
        let (one, ten) = (rate(home.path(), 1), rate(home.path(), 10));
        println!("| {what} | {one:.0} | {ten:.0} |");
    }
}

//! `pool status --all` on a repository with 20 pools, 1,000 locks and 100,000 commits over HTTP: how long, and how much
//! memory at most. With a server that can leave folders out, as the large hosts can, and with one that cannot.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod figures;
#[allow(dead_code, unused_imports)]
use std::process::Command;
use std::time::{Duration, Instant};

use figures::median;
use support::path_of;
use support::server::http::HttpServer;
use support::{Peak, TestRemote};

fn main() {
    // `cargo test` runs benches too, with an argument that asks for nothing.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    let remote = TestRemote::with_many_pools(100_000);
    println!(
        "| `pool status --all` over http | median, ms | `git clone`, ms | ratio | most memory, MB |"
    );
    println!("|---|---|---|---|---|");
    measure("folders left out, no commit graph", 5, &remote);
    // What servers do by themselves after a number of pushes.
    remote.git(&["gc", "--quiet"]);
    measure("folders left out, after `git gc`", 9, &remote);
    remote.git(&["config", "uploadpack.allowFilter", "false"]);
    measure("everything fetched", 3, &remote);
}

fn measure(name: &str, rounds: usize, remote: &TestRemote) {
    let server = HttpServer::start(remote.root());
    let home = tempfile::tempdir().unwrap();
    let peak = Peak::in_folder(home.path());
    let mut times: Vec<Duration> = Vec::new();
    let mut most = 0;
    for _ in 0..rounds {
        let started = Instant::now();
        let [time, options @ ..] = peak.time();
        let mut command = Command::new(time);
        command.args(options).arg(path_of("pool")).args([
            "--uri",
            &server.uri(),
            "--branch",
            "main",
            "status",
            "--all",
        ]);
        let output = support::git::hermetic(&mut command)
            .env("TMPDIR", home.path())
            .output()
            .unwrap();
        times.push(started.elapsed());
        let shown = String::from_utf8(output.stdout).unwrap();
        assert!(
            output.status.success() && shown.contains("pool-19"),
            "{shown}"
        );
        most = most.max(peak.kilobytes());
    }
    // What plain git fetches at least to tell who holds what: every folder that ever was, and no files where it can do
    // without. Looking through it comes on top.
    let clones: Vec<Duration> = (0..3).map(|_| clone(&server.uri())).collect();
    let (ours, git) = (median(times), median(clones));
    println!(
        "| {name} | {} | {} | {:.2} | {} |",
        ours.as_millis(),
        git.as_millis(),
        ours.as_secs_f64() / git.as_secs_f64(),
        most / 1024
    );
}

fn clone(uri: &str) -> Duration {
    let folder = tempfile::tempdir().unwrap();
    let started = Instant::now();
    let mut command = Command::new("git");
    command
        .args(["clone", "--quiet", "--bare", "--filter=blob:none", uri])
        .arg(folder.path().join("clone"));
    let status = support::git::hermetic(&mut command).status().unwrap();
    assert!(status.success());
    started.elapsed()
}

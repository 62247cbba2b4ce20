//! `pool status --all` on a repository with 20 pools, 1,000 locks and 100,000 commits over HTTP: how long, and how much
//! memory at most. With a server that can leave folders out, as the large hosts can, and with one that cannot.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[allow(dead_code, unused_imports)]
#[path = "../it/support/mod.rs"]
mod support;

use std::process::Command;
use std::time::{Duration, Instant};

use support::TestRemote;
use support::server::http::HttpServer;

fn main() {
    // `cargo test` runs benches too, with an argument that asks for nothing.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    let remote = TestRemote::with_many_pools(100_000);
    println!("| `pool status --all` over http | median, ms | most memory, MB |");
    println!("|---|---|---|");
    measure("folders left out", 9, &remote);
    remote.git(&["config", "uploadpack.allowFilter", "false"]);
    measure("everything fetched", 3, &remote);
}

fn measure(name: &str, rounds: usize, remote: &TestRemote) {
    let server = HttpServer::start(remote.root());
    let home = tempfile::tempdir().unwrap();
    let peak = home.path().join("peak");
    let mut times: Vec<Duration> = Vec::new();
    let mut most = 0;
    for _ in 0..rounds {
        let started = Instant::now();
        let mut command = Command::new("/usr/bin/time");
        command
            .args(["-f", "%M", "-o", peak.to_str().unwrap()])
            .arg(env!("CARGO_BIN_EXE_pool"))
            .args([
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
        let kilobytes: usize = std::fs::read_to_string(&peak)
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        most = most.max(kilobytes);
    }
    times.sort();
    let median = times[times.len() / 2].as_millis();
    println!("| {name} | {median} | {} |", most / 1024);
}

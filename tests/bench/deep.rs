//! Questions that go far back: a repository of 400,000 commits and 17 pools over HTTP, one of them idle for 200,000, and a
//! claim that is 50,000 back. Beside it what plain git fetches at least before it could answer.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod figures;
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use figures::median;
use serde_json::json;
use support::server::http::HttpServer;
use support::{Step, TestRemote};

const COMMITS: usize = 400_000;

/// How often each is measured.
const ROUNDS: usize = 5;

fn main() {
    // `cargo test` runs benches too, with an argument that asks for nothing.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    let remote = TestRemote::with_idle_pool(COMMITS);
    println!("| {COMMITS} commits, over http | median, ms | most memory, MB |");
    println!("|---|---|---|");
    measure("no commit graph", &remote);
    // What servers do by themselves after a number of pushes.
    remote.git(&["gc", "--quiet"]);
    measure("after `git gc`", &remote);
}

fn measure(state: &str, remote: &TestRemote) {
    let server = HttpServer::start(remote.root());
    let on = |pool: &str| Step::on(remote, pool).set("uri", server.uri());
    let (idle, held) = (remote.back(COMMITS / 2), remote.back(COMMITS / 8));
    let head = remote.head();

    row(state, "check, cold", || {
        let step = on("pool-16");
        let request = json!({"source": step.source()});
        timed(&step, "check", None, &request.to_string())
    });
    let warm = on("pool-16");
    assert_eq!(warm.check(None).versions(), [idle.as_str()]);
    row(state, "check, warm", || {
        let request = json!({"source": warm.source(), "version": {"ref": idle}});
        timed(&warm, "check", None, &request.to_string())
    });
    row(state, "in", || {
        let step = on("pool-16");
        let request = json!({"source": step.source(), "version": {"ref": idle}});
        let folder = step.folder();
        timed(&step, "in", Some(&folder), &request.to_string())
    });
    row(state, "release of a claim 50,000 back", || {
        let step = on("pool-15");
        let folder = step.folder();
        std::fs::write(folder.join("name"), "env-15-9\n").unwrap();
        std::fs::write(folder.join("claim"), format!("{held}\n")).unwrap();
        let name = folder.file_name().unwrap().to_str().unwrap();
        let request = json!({"source": step.source(), "params": {"release": name}});
        let measured = timed(&step, "out", folder.parent(), &request.to_string());
        assert_ne!(remote.head(), head);
        remote.git(&["update-ref", "refs/heads/main", &head]);
        measured
    });
    for filter in ["--filter=tree:0", "--filter=blob:none", "--depth=50001"] {
        let clones = (0..ROUNDS).map(|_| clone(&server.uri(), filter));
        let took = median(clones.collect());
        println!("| `git clone {filter}`, {state} | {} | |", took.as_millis());
    }
}

fn row(state: &str, what: &str, run: impl Fn() -> (Duration, usize)) {
    let (times, kilobytes): (Vec<Duration>, Vec<usize>) = (0..ROUNDS).map(|_| run()).unzip();
    let most = kilobytes.into_iter().max().unwrap_or_default() / 1024;
    println!(
        "| {what}, {state} | {} | {most} |",
        median(times).as_millis()
    );
}

fn timed(step: &Step, program: &str, folder: Option<&Path>, input: &str) -> (Duration, usize) {
    let args: Vec<OsString> = folder.into_iter().map(Into::into).collect();
    let started = Instant::now();
    let (answer, kilobytes) = step.run_measured(program, &args, input.as_bytes());
    let took = started.elapsed();
    assert_eq!(answer.code, Some(0), "{}", answer.stderr);
    (took, kilobytes)
}

fn clone(uri: &str, filter: &str) -> Duration {
    let folder = tempfile::tempdir().unwrap();
    let started = Instant::now();
    let mut command = Command::new("git");
    command
        .args(["clone", "--quiet", "--bare", filter, uri])
        .arg(folder.path().join("clone"));
    let status = support::git::hermetic(&mut command).status().unwrap();
    assert!(status.success());
    started.elapsed()
}

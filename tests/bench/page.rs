//! The pages of `prunner`: how soon a page is there, and what many viewers cost.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod figures;
#[allow(dead_code)]
#[path = "../page/stage.rs"]
mod stage;
#[path = "../page/viewers.rs"]
mod viewers;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use figures::median;
use serde_json::json;
use stage::{Server, until};
use support::peak::peak_of;
use viewers::events_of;

const JOBS: usize = 5000;

fn main() {
    // `cargo test` runs benches too, with an argument that asks for nothing.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    println!("| the pages of prunner | measured |");
    println!("|---|---|");
    first_content();
    lists();
    log();
}

fn show(what: &str, value: String) {
    println!("| {what} | {value} |");
}

fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

fn megabytes(server: &Server) -> String {
    format!("{:.0} MB", peak_of(server.pid()) as f64 / 1024.0)
}

/// Seconds of CPU that a process has had so far, in 1/100 s.
fn cpu(server: &Server) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.pid())).unwrap();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    fields[11..13]
        .iter()
        .map(|ticks| ticks.parse::<f64>().unwrap())
        .sum::<f64>()
        / 100.0
}

fn definitions() -> String {
    format!(
        "pipelines:\n\
         \x20 quick: {{tasks: {{}}, concurrency: 20}}\n\
         \x20 long: {{tasks: {{t: {{script: [\"seq -f 'line %.0f of a log that is as long as logs of builds are, with some words in each' 1 1000000 | head -c 30000000\"]}}}}}}\n\
         \x20 live: {{tasks: {{t: {{script: [\"echo begun\", \"{}\", \"seq -f 'line %.0f of a log that is as long as logs of builds are, with some words in each' 1 1000000 | head -c 30000000\", \"echo; echo the very last\"]}}}}}}\n",
        until("go")
    )
}

fn first_content() {
    let server = Server::start(&definitions());
    let id = server.done("long", json!({}));
    for _ in 0..JOBS {
        server.schedule("quick", json!({}));
    }
    let viewer = server.viewer();
    for (name, path) in [
        ("pipelines", "/".to_owned()),
        ("jobs", "/jobs".to_owned()),
        ("a job", format!("/job?id={id}")),
        ("the end of a log of 30 MB", format!("/log?id={id}&task=t")),
        (
            "a line in its midst",
            format!("/log?id={id}&task=t&L=200000"),
        ),
        (
            "a search in it",
            format!("/log?id={id}&task=t&q=line+77777"),
        ),
    ] {
        let first = viewer.page(&path).1;
        let times: Vec<Duration> = (0..21).map(|_| viewer.page(&path).1).collect();
        show(
            &format!(
                "first byte of {name}, with {JOBS} jobs: the first time; then, in the middle of 21"
            ),
            format!("{}; {}", ms(first), ms(median(times))),
        );
    }
    show("the server's memory at most", megabytes(&server));
}

/// 100 viewers who do what the script does, while ten jobs a second come and go.
fn lists() {
    let server = Server::start(&definitions());
    let is_over = Arc::new(AtomicBool::new(false));
    let n_pages = Arc::new(AtomicUsize::new(0));
    let viewers: Vec<_> = (0..100)
        .map(|n| {
            let (viewer, is_over, n_pages) = (server.viewer(), is_over.clone(), n_pages.clone());
            let path = if n % 2 == 0 { "/" } else { "/jobs" };
            thread::spawn(move || {
                let mut slowest = Duration::ZERO;
                let events = events_of(&viewer.page(path).0);
                viewer.events(&events, |line| {
                    if line.starts_with(b"event: changed") {
                        slowest = slowest.max(viewer.page(path).1);
                        n_pages.fetch_add(1, Ordering::Relaxed);
                    }
                    !is_over.load(Ordering::Relaxed)
                });
                slowest
            })
        })
        .collect();
    thread::sleep(Duration::from_secs(1));
    let (before, start) = (cpu(&server), Instant::now());
    while start.elapsed() < Duration::from_secs(20) {
        server.schedule("quick", json!({}));
        thread::sleep(Duration::from_millis(100));
    }
    let (spent, took) = (cpu(&server) - before, start.elapsed().as_secs_f64());
    is_over.store(true, Ordering::Relaxed);
    server.schedule("quick", json!({}));
    let slowest = viewers
        .into_iter()
        .map(|viewer| viewer.join().unwrap())
        .max();
    let n_pages = n_pages.load(Ordering::Relaxed);
    show(
        "100 viewers of lists, ten jobs a second: pages a second; CPU; memory; the slowest first byte",
        format!(
            "{:.0}; {:.0} %; {}; {}",
            n_pages as f64 / took,
            spent / took * 100.0,
            megabytes(&server),
            ms(slowest.unwrap())
        ),
    );
}

/// 50 viewers of one log of 30 MB while it is written.
fn log() {
    let server = Server::start(&definitions());
    let id = server.schedule("live", json!({}));
    let viewer = server.viewer();
    let path = format!("/events?id={id}&task=t&from.stdout=1&from.stderr=0&state=0");
    let before = cpu(&server);
    let start = Instant::now();
    let viewers: Vec<_> = (0..50)
        .map(|_| {
            let (viewer, path) = (viewer.clone(), path.clone());
            thread::spawn(move || viewer.events_until(&path, "the very last"))
        })
        .collect();
    server.go("go");
    let sizes: Vec<usize> = viewers
        .into_iter()
        .map(|viewer| viewer.join().unwrap())
        .collect();
    show(
        "50 viewers of one log of 30 MB as it is written: until all have its end; CPU of the server; its memory; sent to each",
        format!(
            "{:.1} s; {:.2} s; {}; {:.1} MB",
            start.elapsed().as_secs_f64(),
            cpu(&server) - before,
            megabytes(&server),
            sizes[0] as f64 / 1e6
        ),
    );
}

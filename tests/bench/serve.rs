//! `pool serve` with 100 viewers of a repository with 20 pools, 1,000 locks and 100,000 commits over HTTP: what the Git server
//! is asked, and what the server of the pages needs.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod figures;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use figures::median;
use support::remote::Hand;
use support::server::http::HttpServer;
use support::server::pages::Pages;
use support::{Cli, TestRemote};

const VIEWERS: usize = 100;

/// For how long they look, and how often something changes meanwhile.
const LONG: Duration = Duration::from_secs(60);
const EVERY: Duration = Duration::from_secs(3);

fn main() {
    // `cargo test` runs benches too, with an argument that asks for nothing.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    let remote = TestRemote::with_many_pools(100_000);
    remote.git(&["gc", "--quiet"]);
    for (name, allows) in [
        ("folders left out", "true"),
        ("everything fetched", "false"),
    ] {
        remote.git(&["config", "uploadpack.allowFilter", allows]);
        measure(name, &remote);
    }
}

fn measure(name: &str, remote: &TestRemote) {
    let server = HttpServer::start(remote.root());
    let cli = Cli::on(&server.uri());
    let started = Instant::now();
    let pages = Pages::start(&cli, &[]);
    pages.wait_for("/", "pool-19");
    let first = started.elapsed();
    pages.wait_for("/", " since <time");
    let whole = started.elapsed();
    let (ready_cpu, ready_memory) = (cpu(&pages), memory(&pages, "VmHWM"));
    let path = "/pool?name=team-0%2Fpool-00";
    println!("### `pool serve`, {name}\n");
    println!("| | |\n|---|---|");
    println!("| first page after the start | {} ms |", first.as_millis());
    println!("| whole history read after | {} ms |", whole.as_millis());
    println!("| processor time until then | {:.1} s |", ready_cpu);
    println!("| most memory until then | {ready_memory} MB |");
    for (name, path) in [("all pools", "/"), ("a pool of 50 locks", path)] {
        let (times, bytes) = asked(&pages, path, 100);
        let slowest = times.iter().max().copied().unwrap();
        println!(
            "| first content of the page of {name}, {} KB, nobody else there | {:.1} ms, slowest {:.1} ms |",
            bytes / 1024,
            millis(median(times)),
            millis(slowest)
        );
    }

    let (stop, seen) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let viewers: Vec<JoinHandle<()>> = (0..VIEWERS)
        .map(|n| viewer(&pages, n, stop.clone(), seen.clone()))
        .collect();
    let before = cpu(&pages);
    let begun = Instant::now();
    let mut changes = 0;
    let mut times = Vec::new();
    while begun.elapsed() < LONG {
        let lock = changes / 2 % 40 + 2;
        let at = |folder: &str| format!("team-0/pool-00/{folder}/env-x{lock}");
        let hand = match changes % 2 {
            0 => Hand::Put(&at("claimed"), "100644", b"x"),
            _ => Hand::Delete(&at("claimed")),
        };
        let verb = ["adding claimed", "removing"][changes % 2];
        remote.commit(&format!("ann {verb}: env-x{lock}"), &[hand]);
        changes += 1;
        let next = begun + EVERY * changes as u32;
        while Instant::now() < next {
            times.extend(asked(&pages, path, 1).0);
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    let (took, used) = (begun.elapsed().as_secs_f64(), cpu(&pages) - before);
    let (peak, now) = (memory(&pages, "VmHWM"), memory(&pages, "VmRSS"));
    stop.store(true, Ordering::Relaxed);
    drop(pages);
    for viewer in viewers {
        viewer.join().unwrap();
    }
    let log = server.log();
    let looks = log
        .lines()
        .filter(|line| line.contains("info/refs"))
        .count();
    let fetches = log.lines().filter(|line| line.contains("POST")).count();
    let slowest = times.iter().max().copied().unwrap();
    println!(
        "| {VIEWERS} viewers for {took:.0} s, {changes} changes: pages that they were sent | {} |",
        seen.load(Ordering::Relaxed)
    );
    println!("| requests at the Git server from the start on | {looks} looks, {fetches} fetches |");
    println!(
        "| processor time | {used:.1} s, {:.0} % of a core |",
        used / took * 100.0
    );
    println!("| memory | {now} MB, at most {peak} MB |");
    println!(
        "| first content of the page of a pool meanwhile | {:.1} ms, slowest {:.1} ms |\n",
        millis(median(times)),
        millis(slowest)
    );
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// How long it takes until the first part of a page is there, and how long the page is.
fn asked(pages: &Pages, path: &str, times: usize) -> (Vec<Duration>, usize) {
    let mut bytes = 0;
    let took = (0..times).map(|_| {
        let started = Instant::now();
        let mut stream = TcpStream::connect(("127.0.0.1", pages.port())).unwrap();
        write!(stream, "GET {path} HTTP/1.0\r\nHost: x\r\n\r\n").unwrap();
        let mut first = [0; 2048];
        bytes = stream.read(&mut first).unwrap();
        let took = started.elapsed();
        let mut rest = Vec::new();
        bytes += stream.read_to_end(&mut rest).unwrap();
        took
    });
    (took.collect(), bytes)
}

/// Somebody with a page open: fetches it again whenever it hears that something has changed.
fn viewer(
    pages: &Pages,
    n: usize,
    stop: Arc<AtomicBool>,
    seen: Arc<AtomicUsize>,
) -> JoinHandle<()> {
    let port = pages.port();
    let path = match n % 4 {
        0 => "/".to_owned(),
        _ => format!("/pool?name=team-{}%2Fpool-{:02}", n % 20 % 4, n % 20),
    };
    std::thread::spawn(move || {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        write!(stream, "GET /events HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            if !line.starts_with("event: changed") {
                continue;
            }
            let Ok(mut page) = TcpStream::connect(("127.0.0.1", port)) else {
                return;
            };
            let mut body = Vec::new();
            let asked = write!(page, "GET {path} HTTP/1.0\r\nHost: x\r\n\r\n");
            if asked.is_ok() && page.read_to_end(&mut body).is_ok() {
                seen.fetch_add(1, Ordering::Relaxed);
            }
        }
    })
}

/// The processor time of the server so far, in seconds.
fn cpu(pages: &Pages) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pages.id())).unwrap();
    let (_, rest) = stat.rsplit_once(')').unwrap();
    let fields: Vec<f64> = rest
        .split_whitespace()
        .filter_map(|field| field.parse().ok())
        .collect();
    // The state before them is a letter: user and system time are the 11th and 12th number.
    (fields[10] + fields[11]) / 100.0
}

/// A figure of its memory, in megabytes.
fn memory(pages: &Pages, name: &str) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", pages.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    let kilobytes: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kilobytes / 1024
}

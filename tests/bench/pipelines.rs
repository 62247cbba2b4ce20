//! `prunner`: many jobs, long chains, long logs, a long history, many clients; how long, and how much memory.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod figures;
#[allow(dead_code)]
#[path = "../pipelines/host.rs"]
mod host;

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use figures::median;
use host::Host;
use serde_json::json;

fn main() {
    // `cargo test` runs benches too, with an argument that asks for nothing.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    println!("| prunner | measured |");
    println!("|---|---|");
    idle();
    chains();
    thousand();
    clients();
    log();
    history();
}

fn show(what: &str, value: String) {
    println!("| {what} | {value} |");
}

fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

/// A line of `/proc/PID/status`, in megabytes.
fn megabytes(host: &Host, line: &str) -> String {
    let status = std::fs::read_to_string(format!("/proc/{}/status", host.pid())).unwrap();
    let line = status.lines().find_map(|text| text.strip_prefix(line));
    let kilobytes: f64 = line
        .unwrap()
        .trim_matches([':', ' ', '\t'])
        .trim_end_matches(" kB")
        .trim()
        .parse()
        .unwrap();
    format!("{:.1} MB", kilobytes / 1024.0)
}

fn idle() {
    let host = Host::script(&["true"]);
    host.done();
    show("idle, after one job: memory", megabytes(&host, "VmRSS"));
}

fn chains() {
    for (what, script) in [("empty tasks", "[]"), ("tasks with `true`", "['true']")] {
        let mut tasks = String::new();
        for n in 0..20 {
            let after = if n == 0 {
                String::new()
            } else {
                format!("t{:02}", n - 1)
            };
            let _ = write!(
                tasks,
                "t{n:02}: {{script: {script}, depends_on: [{after}]}}, "
            );
        }
        let host = Host::with(&format!("tasks: {{{tasks}}}"));
        let times = (0..5).map(|_| {
            let start = Instant::now();
            host.done();
            start.elapsed()
        });
        show(
            &format!("a chain of 20 {what}"),
            ms(median(times.collect())),
        );
    }
}

fn thousand() {
    let host = Host::with("concurrency: 20, tasks: {t: {script: ['true']}}");
    let start = Instant::now();
    let mut last = String::new();
    for _ in 0..1000 {
        last = host.schedule();
    }
    let queued = start.elapsed();
    let is_left = |state: &str| {
        let jobs = host
            .get(&format!("/pipelines/jobs?state={state}&limit=1"))
            .json();
        !jobs["jobs"].as_array().unwrap().is_empty()
    };
    host.finished(&last);
    while is_left("running") || is_left("waiting") {
        std::thread::sleep(Duration::from_millis(5));
    }
    show("1,000 jobs asked for one after the other", ms(queued));
    show("… and all done, at concurrency 20", ms(start.elapsed()));
}

fn clients() {
    let host = Host::with("queue_limit: 1000000, tasks: {t: {script: ['sleep 1000']}}");
    let mut times: Vec<Duration> = std::thread::scope(|scope| {
        let client = || {
            (0..20).map(|_| {
                let start = Instant::now();
                host.schedule();
                start.elapsed()
            })
        };
        let all: Vec<_> = (0..100)
            .map(|_| scope.spawn(move || client().collect::<Vec<_>>()))
            .collect();
        all.into_iter()
            .flat_map(|one| one.join().unwrap())
            .collect()
    });
    times.sort();
    let of = |share: usize| ms(times[times.len() * share / 100]);
    show(
        "100 clients at once: a request, median and 99th of 100",
        format!("{}, {}", of(50), of(99)),
    );
}

fn log() {
    let host =
        Host::script(&["yes 'a line of a log, with a number of letters' | head -c 30000000"]);
    let (id, _) = host.done();
    let start = Instant::now();
    let length = host.get(&format!("/job/logs?id={id}&task=t")).body.len();
    assert!(length > 30_000_000);
    show("a log of 30 MB is read", ms(start.elapsed()));
    show("… with this memory at most", megabytes(&host, "VmHWM"));
}

fn history() {
    let mut host = Host::folder("pipelines: {p: {tasks: {t: {script: ['true']}}}, q: }");
    let mut store = String::from("{\"Jobs\":[");
    for n in 0..10_000 {
        let comma = if n == 0 { "" } else { "," };
        let job = json!({"ID": format!("00000000-0000-4000-8000-{n:012}"), "Pipeline": "p", "Completed": true,
            "Created": "2026-11-21T03:19:12.0225244Z", "Start": "2026-11-21T03:19:12Z", "End": "2026-11-21T03:19:13Z", "User": "bob",
            "Variables": {"version": "1.2.3"}, "Tasks": [{"Name": "t", "Script": ["true"], "Status": "done", "ExitCode": -1}]});
        let _ = write!(store, "{comma}{job}");
    }
    host.write(".prunner/data.json", &(store + "]}"));
    host.run();
    host.end("INT");
    let start = Instant::now();
    host.run();
    show("10,000 jobs in the history: start", ms(start.elapsed()));
    for (what, query) in [
        ("all of them listed", ""),
        ("the newest 50", "?limit=50"),
        ("those of another pipeline", "?pipeline=q"),
    ] {
        let times = (0..5).map(|_| {
            let start = Instant::now();
            host.get(&format!("/pipelines/jobs{query}"));
            start.elapsed()
        });
        show(&format!("… {what}"), ms(median(times.collect())));
    }
    show("… memory at most", megabytes(&host, "VmHWM"));
}

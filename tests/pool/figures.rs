//! The figures of `pool serve`, and the dashboard that shows them, by a real Prometheus.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};

use pool::view::figures::FIGURES;
use serde_json::Value;

use super::dashboard::file;
use support::git::hermetic;
use support::remote::Hand;
use support::server::http::HttpServer;
use support::server::pages::Pages;
use support::server::program;
use support::server::prometheus::Prometheus;
use support::{Cli, TestRemote, wait_until};

fn dashboard() -> Value {
    let text = std::fs::read_to_string(file("ci/grafana/serve.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn move_lock(remote: &TestRemote, lock: &str, message: &str, is_claim: bool) {
    let (free, held) = (
        format!("aws/unclaimed/{lock}"),
        format!("aws/claimed/{lock}"),
    );
    let hand = match is_claim {
        true => Hand::Move(&free, &held),
        false => Hand::Move(&held, &free),
    };
    remote.commit(message, &[hand]);
}

/// Each query with what Grafana would put into it.
fn queries() -> Vec<(String, String)> {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut all = Vec::new();
    for panel in panels {
        for target in panel["targets"].as_array().unwrap() {
            let name = format!("{} {}", panel["title"], target["refId"]);
            let query = target["expr"].as_str().unwrap();
            assert!(query.contains("branch=~\"$branch\""), "{name}: {query}");
            let query = query
                .replace("$pool", "aws|gcp|idle")
                .replace("$branch", "main")
                .replace("$__rate_interval", "1m")
                .replace("$__range", "5m");
            all.push((name, query));
        }
    }
    all
}

#[test]
fn a_prometheus_reads_what_happens_and_every_panel_has_something_to_show() {
    let remote = TestRemote::with_pool("aws", &["env-1", "env-2"]);
    remote.add_pool("idle", &["x"]);
    let server = HttpServer::start(remote.root());
    let cli = Cli::on(&server.uri());
    let pages = Pages::start(&cli, &[]);
    pages.wait_for("/", " since <time");
    let prometheus = Prometheus::scraping(pages.port(), "- job_name: pool\n", "");
    let value = |query: &str| {
        prometheus
            .query(query, None)
            .first()
            .map(|(_, value)| *value)
    };
    let until = |query: &str, expected: f64| {
        wait_until(&format!("{query} is {expected}"), || {
            value(query) == Some(expected)
        });
    };
    let claims = "pool_claims_total{pool=\"aws\",branch=\"main\"}";
    until(claims, 0.0);
    until("pool_claims_total{pool=\"idle\"}", 0.0);

    move_lock(&remote, "env-1", "ann claiming: env-1", true);
    move_lock(&remote, "env-2", "ann claiming: env-2", true);
    move_lock(&remote, "env-1", "ann unclaiming: env-1", false);
    until(claims, 2.0);
    let other = Cli::on(&server.uri())
        .env("POOL_NAME", "aws")
        .env("POOL_HOLDER", "bob");
    let waits = other.watch(&["claim", "env-2"]);
    until("pool_queue_length{pool=\"aws\"}", 1.0);
    // Every panel that needs somebody to wait and a lock to be held has both now.
    for (name, query) in queries() {
        let is_later = name.contains("Time waited");
        assert!(
            is_later || value(&query).is_some(),
            "{name} shows nothing: {query}"
        );
    }
    move_lock(&remote, "env-2", "ann unclaiming: env-2", false);
    waits.wait_for("env-2");

    until("pool_wait_seconds_count{pool=\"aws\"}", 1.0);
    until(
        "pool_claims_ended_total{pool=\"aws\",how=\"released\"}",
        2.0,
    );
    until("pool_hold_seconds_count{pool=\"aws\"}", 2.0);
    until("pool_locks{pool=\"aws\",state=\"claimed\"}", 1.0);
    until("pool_queue_length{pool=\"aws\"}", 0.0);
    until("pool_repository_up", 1.0);
    let since = value("pool_counted_since_timestamp_seconds").unwrap();
    let first = remote.git(&["log", "--format=%ct", "--reverse", "main"]);
    assert_eq!(since.to_string(), first.lines().next().unwrap());
    let text = prometheus.query("increase(pool_claims_total{pool=\"aws\"}[5m]) > 0", None);
    assert_eq!(text.len(), 1);
}

#[test]
fn promtool_finds_nothing_wrong_with_either_form() {
    let remote = TestRemote::with_pool("a\"w\\s", &["env-1"]);
    let cli = Cli::on(&remote.uri());
    let pages = Pages::start(&cli, &[]);
    pages.wait_for("/", " since <time");

    let plain = pages.get("/metrics");
    let accept = ("Accept", "application/openmetrics-text;version=1.0.0");
    let open = pages.ask("GET", "/metrics", &[accept], "");

    assert_eq!(
        plain.header("content-type"),
        "text/plain; version=0.0.4; charset=utf-8"
    );
    let kind = open.header("content-type");
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    assert!(open.body.ends_with("# EOF\n"), "{}", open.body);
    assert!(
        open.body.contains("# TYPE pool_claims counter"),
        "{}",
        open.body
    );
    let mut check = hermetic(&mut Command::new(program("promtool")))
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut to = check.stdin.take().unwrap();
    to.write_all(plain.body.as_bytes()).unwrap();
    drop(to);
    let output = check.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[test]
fn the_dashboard_can_be_imported_and_asks_for_what_there_is() {
    let dashboard = dashboard();
    assert!(dashboard["id"].is_null());
    let other: Value =
        serde_json::from_str(&std::fs::read_to_string(file("ci/grafana/pool.json")).unwrap())
            .unwrap();
    assert_eq!(dashboard["schemaVersion"], other["schemaVersion"]);
    assert_ne!(dashboard["uid"], other["uid"]);
    let mut taken = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let place = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        for x in place("x")..place("x") + place("w") {
            for y in place("y")..place("y") + place("h") {
                assert!(taken.insert((x, y)), "{} lies on another", panel["title"]);
            }
        }
        assert!(panel["description"].as_str().unwrap().ends_with('.'));
    }
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let all: Vec<(String, String)> = queries();
    let words = all
        .iter()
        .flat_map(|(_, query)| query.split(|c| !is_part(c)));
    let asked: BTreeSet<&str> = words
        .filter(|word| word.starts_with("pool_"))
        .map(|name| name.strip_suffix("_bucket").unwrap_or(name))
        .collect();
    let known: BTreeSet<&str> = FIGURES.iter().map(|figure| figure.name).collect();
    let unknown: Vec<&&str> = asked.difference(&known).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn the_page_lists_every_figure() {
    let page = std::fs::read_to_string(file("src/pool/docs/serve.md")).unwrap();
    let rows: Vec<Vec<&str>> = page
        .lines()
        .filter(|line| line.starts_with("| `pool_"))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    let expected: Vec<[String; 3]> = FIGURES
        .iter()
        .map(|figure| {
            let labels: Vec<String> = figure.labels.iter().map(|one| format!("`{one}`")).collect();
            [
                format!("`{}`", figure.name),
                figure.kind.to_owned(),
                labels.join(", "),
            ]
        })
        .collect();
    let found: Vec<[String; 3]> = rows
        .iter()
        .map(|row| std::array::from_fn(|n| row[n].to_owned()))
        .collect();
    assert_eq!(found, expected);
}

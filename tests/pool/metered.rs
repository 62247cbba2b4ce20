//! What the steps themselves tell a Pushgateway, and that nothing depends on it.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use support::remote::Hand;
use support::server::faulty::Faulty;
use support::server::http::HttpServer;
use support::server::prometheus::Prometheus;
use support::server::pushgateway::Pushgateway;
use support::step::Running;
use support::{Answer, Step, TestRemote, wait_until};

fn build(remote: &TestRemote, uri: &str, gateway: &str, name: &str) -> Step {
    Step::with_source(json!({
        "uri": uri, "branch": remote.branch(), "pool": "aws", "prometheus_push_gateway": gateway,
    }))
    .in_build()
    .env("BUILD_ID", format!("id-{name}"))
    .env("BUILD_NAME", name)
    .env("BUILD_ID", format!("47{name}"))
}

fn release(step: &Step, answer: &Answer) {
    let (_, folder) = step.get(&answer.version());
    let released = step.put_folder("release", &folder);
    assert_eq!(released.code, Some(0), "{}", released.stderr);
    assert!(!released.stderr.contains("warning"), "{}", released.stderr);
}

const POOL: &str = "pool=aws,branch=main";

#[test]
fn the_line_is_seen_while_it_is_there_and_leaves_nothing() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let server = HttpServer::start(remote.root());
    let gateway = Pushgateway::start();
    let alerts = Path::new(env!("CARGO_MANIFEST_DIR")).join("ci/prometheus/alerts.yml");
    let prometheus = Prometheus::start(&gateway, &alerts);
    let steps: Vec<Step> = (0..5)
        .map(|n| build(&remote, &server.uri(), &gateway.url(), &n.to_string()))
        .collect();
    let value = |name: &str| {
        let groups = gateway.groups();
        groups.get(POOL).and_then(|group| group.get(name)).cloned()
    };
    let waiters = || {
        let groups = gateway.groups();
        groups
            .keys()
            .filter(|name| name.contains("waiter="))
            .count()
    };

    let first = steps[0].put(json!({"acquire": true}));
    assert_eq!(
        value("resource_pool_num_claimed_locks").as_deref(),
        Some("1")
    );
    assert_eq!(value("resource_pool_queue_length").as_deref(), Some("0"));
    let mut waiting: Vec<Running> = Vec::new();
    for (n, step) in steps.iter().enumerate().skip(1) {
        waiting.push(step.start_put(json!({"acquire": true})));
        wait_until(&format!("{n} are seen to wait"), || {
            value("resource_pool_queue_length") == Some(n.to_string()) && waiters() == n
        });
    }
    let moment = prometheus.look(&gateway);
    let length = prometheus.query("max(resource_pool_queue_length)", Some(moment));
    assert_eq!(length[0].1, 4.0);
    let oldest = "time() - min(resource_pool_waiter_since_timestamp_seconds)";
    let oldest = prometheus.query(oldest, Some(moment));
    assert!((0.0..600.0).contains(&oldest[0].1), "{oldest:?}");

    let mut holder = (&steps[0], first);
    for (step, running) in steps.iter().skip(1).zip(waiting) {
        release(holder.0, &holder.1);
        holder = (step, running.finish());
        assert_eq!(holder.1.lock(), "env-1", "{}", holder.1.stderr);
    }
    release(holder.0, &holder.1);

    assert_eq!(value("resource_pool_queue_length").as_deref(), Some("0"));
    assert_eq!(
        value("resource_pool_num_available_locks").as_deref(),
        Some("1")
    );
    assert_eq!(
        value("resource_pool_num_claimed_locks").as_deref(),
        Some("0")
    );
    let oldest = value("resource_pool_oldest_claim_timestamp_seconds");
    assert_eq!(oldest.as_deref(), Some("0"));
    assert_eq!(waiters(), 0);
    let groups = gateway.groups();
    let acquire = &groups[&format!("{POOL},operation=acquire_lock")];
    assert_eq!(acquire["resource_pool_execution_time"], "1");
    assert!(
        acquire["resource_pool_wait_seconds"]
            .parse::<f64>()
            .unwrap()
            > 0.0
    );
    let release = &groups[&format!("{POOL},operation=release_lock")];
    let held: f64 = release["resource_pool_held_seconds"].parse().unwrap();
    assert!((0.0..600.0).contains(&held));
    let moment = prometheus.look(&gateway);
    let left = prometheus.query("resource_pool_waiter_place", Some(moment));
    assert_eq!(left.len(), 0, "{left:?}");
}

#[test]
fn who_is_told_to_stop_takes_its_own_group_away() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    remote.claim_by_hand("aws", "env-1");
    let gateway = Pushgateway::start();
    let running =
        build(&remote, &remote.uri(), &gateway.url(), "1").start_put(json!({"acquire": true}));
    let waiters = || {
        let groups = gateway.groups();
        groups
            .keys()
            .filter(|name| name.contains("waiter="))
            .count()
    };
    wait_until("it is seen to wait", || waiters() == 1);

    running.signal("TERM");
    running.finish().assert_stopped();

    assert_eq!(waiters(), 0);
    assert_eq!(gateway.groups()[POOL]["resource_pool_queue_length"], "0");
}

#[test]
fn who_is_told_to_stop_while_the_gateway_is_told_gives_back_what_was_claimed() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let gateway = Faulty::silent();
    let url = format!("http://127.0.0.1:{}", gateway.port());
    let running = build(&remote, &remote.uri(), &url, "1").start_put(json!({"acquire": true}));
    wait_until("the gateway is told", || !gateway.heard().is_empty());
    assert_eq!(remote.list("aws/claimed"), ["env-1"]);

    running.signal("TERM");
    let told = Instant::now();
    running.finish().assert_stopped();

    assert!(told.elapsed() < Duration::from_secs(8));
    assert_eq!(remote.list("aws/claimed"), [""; 0]);
}

#[test]
fn what_is_given_back_because_nobody_heard_of_it_is_told_as_free() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let gateway = Pushgateway::start();
    let step = build(&remote, &remote.uri(), &gateway.url(), "1");
    let (_, nobody_reads) = UnixStream::pair().unwrap();
    let stdout = OwnedFd::from(nobody_reads).into();

    let running = step.start_put_to(stdout, &step.folder(), json!({"acquire": true}));

    running.finish().assert_failed(&["cannot write the answer"]);
    let groups = gateway.groups();
    assert_eq!(groups[POOL]["resource_pool_num_claimed_locks"], "0");
    assert_eq!(groups[POOL]["resource_pool_num_available_locks"], "1");
    let operation = &groups[&format!("{POOL},operation=acquire_lock")];
    assert!(operation.contains_key("resource_pool_last_failure_timestamp_seconds"));
}

#[test]
fn a_gateway_that_does_not_do_its_part_changes_nothing_but_for_one_warning() {
    let nowhere = format!(
        "http://bob:s3cret-w0rd@127.0.0.1:{}",
        Pushgateway::nowhere()
    );
    let answering = |head: &str| {
        Faulty::answering(&format!(
            "HTTP/1.1 {head}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        ))
    };
    let servers = [
        answering("400 Bad Request"),
        answering("500 Internal Server Error"),
        answering("401 Unauthorized"),
        answering("302 Found\r\nLocation: http://127.0.0.2:1/"),
        Faulty::silent(),
    ];
    let urls = servers
        .iter()
        .map(|server| format!("http://bob:s3cret-w0rd@127.0.0.1:{}", server.port()));
    for url in urls.chain([nowhere]) {
        let remote = TestRemote::with_pool("aws", &["env-1"]);
        let step = build(&remote, &remote.uri(), &url, "1");
        let started = Instant::now();

        let answer = step.put(json!({"acquire": true}));

        assert_eq!(answer.version(), remote.head(), "{url}");
        // Three seconds is its limit; the rest is for a machine that is busy.
        assert!(started.elapsed() < Duration::from_secs(20), "{url}");
        let warnings = answer
            .stderr
            .lines()
            .filter(|line| line.starts_with("warning: "));
        assert_eq!(warnings.count(), 1, "{url}: {}", answer.stderr);
        assert!(!answer.stderr.contains("s3cret"), "{}", answer.stderr);
    }
}

#[test]
fn a_gateway_that_is_none_is_refused_before_anything_is_claimed() {
    for url in ["ftp://gateway", "http://", "http://ga teway:9091"] {
        let remote = TestRemote::with_pool("aws", &["env-1"]);

        let answer = build(&remote, &remote.uri(), url, "1").put(json!({"acquire": true}));

        answer.assert_failed(&["prometheus_push_gateway"]);
        assert_eq!(remote.list("aws/claimed"), [""; 0]);
    }
}

#[test]
fn a_gateway_may_be_given_as_a_host_and_a_port() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let gateway = Pushgateway::start();

    let url = format!("127.0.0.1:{}", gateway.port());
    let answer = build(&remote, &remote.uri(), &url, "1").put(json!({"acquire": true}));

    assert!(!answer.stderr.contains("warning"), "{}", answer.stderr);
    assert_eq!(
        gateway.groups()[POOL]["resource_pool_num_claimed_locks"],
        "1"
    );
}

#[test]
fn after_a_reaping_the_pool_is_told_as_it_is_then() {
    let remote = TestRemote::with_pool("aws", &["a", "b", "c"]);
    for lock in ["a", "b", "c"] {
        let moved = [Hand::Move(
            &format!("aws/unclaimed/{lock}"),
            &format!("aws/claimed/{lock}"),
        )];
        let lease = match lock {
            "b" => "2999-01-01T00:00:00Z",
            _ => "2025-01-01T00:00:00Z",
        };
        remote.commit(&format!("claiming: {lock}\n\nPool-Lease: {lease}"), &moved);
    }
    let gateway = Pushgateway::start();

    let answer = build(&remote, &remote.uri(), &gateway.url(), "1").put(json!({"reap": {}}));

    assert_eq!(answer.code, Some(0), "{}", answer.stderr);
    assert_eq!(remote.list("aws/claimed"), ["b"]);
    let groups = gateway.groups();
    assert_eq!(groups[POOL]["resource_pool_num_claimed_locks"], "1");
    assert_eq!(groups[POOL]["resource_pool_num_available_locks"], "2");
    assert!(groups.contains_key(&format!("{POOL},operation=release_lock")));
}

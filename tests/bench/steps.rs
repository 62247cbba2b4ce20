//! Every step, against the least that plain git commands need for the same, on short and long histories, over every
//! transport. Prints tables of medians and ratios; what counts are the ratios, for machines differ.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod figures;
mod work;

use std::time::{Duration, Instant};

use figures::median;
use serde_json::json;
use support::TestRemote;
use support::server::authority::Authority;
use support::server::http::{HttpServer, Options};
use support::server::relay::Relay;
use support::server::ssh::{Key, SshServer};
use work::{Bench, Git, Way, Work, plain};

/// How often each is measured, ours and git's in turn, so that both meet the same machine.
const ROUNDS: usize = 15;

/// Half of the round trip of the slow network: 20 ms.
const ONE_WAY: Duration = Duration::from_millis(10);

fn main() {
    // `cargo test` runs benches too, with an argument that asks for nothing.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    let repositories = [
        ("10 commits", TestRemote::with_history(10)),
        ("10,000 commits", TestRemote::with_history(10_000)),
        ("100,000 commits", TestRemote::with_history(100_000)),
        (
            "10,000 commits, 1,000 locks",
            TestRemote::with_history_of(10_000, 1000),
        ),
    ];
    println!("Medians of {ROUNDS}, ours / git in ms = ratio\n");
    println!("| | path | http | https | ssh |");
    println!("|---|---|---|---|---|");
    for (name, remote) in &repositories {
        println!("| **{name}** | | | | |");
        let servers = Servers::start(remote);
        for work in Work::ALL {
            let ways = servers.near(remote);
            let cells: Vec<String> = ways.iter().map(|way| cell(remote, way, work)).collect();
            println!("| {} | {} |", work.name(), cells.join(" | "));
        }
        if name.starts_with("100,000") {
            let cells: Vec<String> = servers
                .far()
                .iter()
                .map(|way| cell(remote, way, Work::Acquire))
                .collect();
            println!("| acquire, 20 ms away | | {} | | {} |", cells[0], cells[1]);
        }
    }
    println!("\nWhat a step needs over http\n");
    println!("| | requests | connections | bytes from the server | peak memory, MB |");
    println!("|---|---|---|---|---|");
    for (name, remote) in &repositories[2..] {
        println!("| **{name}** | | | | |");
        for work in Work::ALL {
            println!("| {} | {} |", work.name(), needs(remote, work));
        }
    }
}

/// Ours, git's, and the ratio of one kind of work.
fn cell(remote: &TestRemote, way: &Way, work: Work) -> String {
    let (ours, git) = compare(remote, way, work);
    let ratio = ours.as_secs_f64() / git.as_secs_f64();
    format!("{} / {} = {ratio:.2}", ours.as_millis(), git.as_millis())
}

/// The medians of ours and git's.
fn compare(remote: &TestRemote, way: &Way, work: Work) -> (Duration, Duration) {
    let head = remote.head();
    let reset = || drop(remote.git(&["update-ref", "refs/heads/main", &head]));
    let git = Git::new(way);
    let mut bench = Bench::new(way.source.clone(), &head, work);
    if work == Work::WarmCheck {
        git.fetch(1);
    }
    let (mut ours, mut gits) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        bench.begin();
        let started = Instant::now();
        let answer = bench.run();
        ours.push(started.elapsed());
        assert_eq!(answer.code, Some(0), "{}", answer.stderr);
        let moves = matches!(work, Work::Acquire | Work::Release);
        assert_eq!(remote.head() != head, moves);
        reset();

        let of_its_own;
        let git = match work {
            Work::WarmCheck => &git,
            _ => {
                of_its_own = Git::new(way);
                &of_its_own
            }
        };
        let started = Instant::now();
        git.does(work);
        gits.push(started.elapsed());
        assert_eq!(remote.head() != head, moves);
        reset();
    }
    (median(ours), median(gits))
}

/// Requests, connections, bytes and memory of one kind of work, as cells of a table.
fn needs(remote: &TestRemote, work: Work) -> String {
    let head = remote.head();
    let reset = || drop(remote.git(&["update-ref", "refs/heads/main", &head]));
    let prepared = |uri: &str| {
        let mut bench = Bench::new(json!({"uri": uri}), &head, work);
        bench.begin();
        bench
    };
    let server = HttpServer::start(remote.root());
    let relay = Relay::start(server.port());
    let uri = format!("http://127.0.0.1:{}/git/locks.git", relay.port());
    // What comes before is done by another way, so that only the work itself is counted.
    let mut bench = prepared(&remote.uri());
    bench.source["uri"] = uri.clone().into();
    if work == Work::WarmCheck {
        bench = prepared(&uri);
    }
    let (connections, bytes) = (relay.connections(), relay.bytes());
    let answer = bench.run();
    assert_eq!(answer.code, Some(0), "{}", answer.stderr);
    reset();
    let (connections, bytes) = (relay.connections() - connections, relay.bytes() - bytes);
    let log = server.log();
    // The check that filled the cache made two.
    let before = if work == Work::WarmCheck { 2 } else { 0 };
    let requests = log.lines().count() - before;

    let server = HttpServer::start(remote.root());
    let kilobytes = prepared(&server.uri()).peak();
    reset();
    let megabytes = kilobytes as f64 / 1024.0;
    format!("{requests} | {connections} | {bytes} | {megabytes:.1}")
}

/// The servers of one repository; they end with the value.
struct Servers {
    http: HttpServer,
    slow_http: Relay,
    authority: Authority,
    https: HttpServer,
    key: Key,
    ssh: SshServer,
    slow_ssh: Relay,
}

impl Servers {
    fn start(remote: &TestRemote) -> Servers {
        let http = HttpServer::start(remote.root());
        let slow_http = Relay::slow(http.port(), ONE_WAY);
        let authority = Authority::new();
        let certificate = authority.certify("IP:127.0.0.1");
        let options = Options {
            certificate: Some(&certificate),
            ..Options::default()
        };
        let https = HttpServer::with(remote.root(), &options);
        let key = Key::new();
        let ssh = SshServer::start(remote.root(), &key);
        let slow_ssh = Relay::slow(ssh.port(), ONE_WAY);
        Servers {
            http,
            slow_http,
            authority,
            https,
            key,
            ssh,
            slow_ssh,
        }
    }

    /// By path, http, https and ssh.
    fn near(&self, remote: &TestRemote) -> [Way; 4] {
        let https = Way {
            source: json!({"uri": self.https.uri(), "ca_cert": self.authority.pem()}),
            git_uri: self.https.uri(),
            git_env: vec![(
                "GIT_SSL_CAINFO",
                self.authority.file().to_str().unwrap().to_owned(),
            )],
        };
        [
            plain(remote.uri()),
            plain(self.http.uri()),
            https,
            self.by_ssh(self.ssh.uri()),
        ]
    }

    /// By http and ssh, over the slow network.
    fn far(&self) -> [Way; 2] {
        let port = self.slow_http.port();
        let http = format!("http://127.0.0.1:{port}/git/locks.git");
        let (port, slow) = (self.ssh.port(), self.slow_ssh.port());
        let ssh = self
            .ssh
            .uri()
            .replace(&format!(":{port}"), &format!(":{slow}"));
        [plain(http), self.by_ssh(ssh)]
    }

    fn by_ssh(&self, uri: String) -> Way {
        let key = self.key.file();
        let command = format!(
            "ssh -F none -i {} -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR",
            key.display()
        );
        Way {
            source: json!({"uri": uri, "private_key": self.key.private()}),
            git_uri: uri,
            git_env: vec![("GIT_SSH_COMMAND", command)],
        }
    }
}

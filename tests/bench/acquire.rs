//! One whole acquire, against the least that plain git commands need for the same: a shallow fetch, a commit made with
//! plumbing, a push. Prints a table of medians and ratios; what counts are the ratios, for machines differ.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[allow(dead_code, unused_imports)]
#[path = "../it/support/mod.rs"]
mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::server::authority::Authority;
use support::server::http::{HttpServer, Options};
use support::server::relay::Relay;
use support::server::ssh::{Key, SshServer};
use support::{Step, TestRemote};

/// How often each is measured, ours and git's in turn, so that both meet the same machine.
const ROUNDS: usize = 20;

/// Half of the round trip of the slow network: 20 ms.
const ONE_WAY: Duration = Duration::from_millis(10);

/// A way to a repository, for us and for git.
struct Way {
    name: String,
    source: Value,
    git_uri: String,
    git_env: Vec<(&'static str, String)>,
}

fn main() {
    // `cargo test` runs benches too, with an argument that asks for nothing.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    let small = TestRemote::with_history(10);
    let large = TestRemote::with_history(100_000);

    println!("| acquire over | commits | ours, ms | git, ms | ratio |");
    println!("|---|---|---|---|---|");
    let mut of_small = Vec::new();
    for (remote, commits) in [(&small, "10"), (&large, "100,000")] {
        let servers = Servers::start(remote);
        for (n, way) in servers.ways(remote).iter().enumerate() {
            let (ours, git) = compare(remote, way);
            println!(
                "| {} | {commits} | {} | {} | {:.2} |",
                way.name,
                millis(ours),
                millis(git),
                ratio(ours, git)
            );
            match of_small.get(n) {
                None => of_small.push(ours),
                Some(before) => {
                    println!("| | against 10 commits | | | {:.2} |", ratio(ours, *before))
                }
            }
        }
    }
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

    fn ways(&self, remote: &TestRemote) -> Vec<Way> {
        let slow_ssh = self.ssh.uri().replace(
            &format!(":{}", self.ssh.port()),
            &format!(":{}", self.slow_ssh.port()),
        );
        vec![
            plain("path", remote.uri()),
            plain("http", self.http.uri()),
            plain(
                "http, 20 ms away",
                format!("http://127.0.0.1:{}/git/locks.git", self.slow_http.port()),
            ),
            Way {
                name: "https".to_owned(),
                source: json!({"uri": self.https.uri(), "ca_cert": self.authority.pem()}),
                git_uri: self.https.uri(),
                git_env: vec![(
                    "GIT_SSL_CAINFO",
                    self.authority.file().to_str().unwrap().to_owned(),
                )],
            },
            self.by_ssh("ssh", self.ssh.uri()),
            self.by_ssh("ssh, 20 ms away", slow_ssh),
        ]
    }

    fn by_ssh(&self, name: &str, uri: String) -> Way {
        let key = self.key.file();
        let command = format!(
            "ssh -F none -i {} -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR",
            key.display()
        );
        Way {
            name: name.to_owned(),
            source: json!({"uri": uri, "private_key": self.key.private()}),
            git_uri: uri,
            git_env: vec![("GIT_SSH_COMMAND", command)],
        }
    }
}

fn plain(name: &str, uri: String) -> Way {
    Way {
        name: name.to_owned(),
        source: json!({"uri": uri}),
        git_uri: uri,
        git_env: vec![],
    }
}

/// The medians of ours and git's.
fn compare(remote: &TestRemote, way: &Way) -> (Duration, Duration) {
    let head = remote.head();
    let reset = || drop(remote.git(&["update-ref", "refs/heads/main", &head]));
    let mut source = way.source.clone();
    source["branch"] = "main".into();
    source["pool"] = "aws".into();
    let step = Step::with_source(source);
    let (mut ours, mut git) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let started = Instant::now();
        let answer = step.put(json!({"acquire": true}));
        ours.push(started.elapsed());
        assert_eq!(answer.code, Some(0), "{}", answer.stderr);
        reset();
        let started = Instant::now();
        acquire_with_git(way, step.temporary());
        git.push(started.elapsed());
        assert_ne!(remote.head(), head);
        reset();
    }
    (median(ours), median(git))
}

fn acquire_with_git(way: &Way, temporary: &Path) {
    let home = tempfile::tempdir_in(temporary).unwrap();
    let index = home.path().join("the-index").to_str().unwrap().to_owned();
    let mut env: Vec<(&str, &str)> = vec![("GIT_INDEX_FILE", &index)];
    env.extend(
        way.git_env
            .iter()
            .map(|(name, value)| (*name, value.as_str())),
    );
    let run_with = |args: &[&str], input: &str| {
        let output = support::git::run(home.path(), args, input.as_bytes(), &env);
        assert!(
            output.status.success(),
            "git {args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let run = |args: &[&str]| run_with(args, "");
    run(&["init", "--quiet", "--bare", "."]);
    run(&[
        "fetch",
        "--quiet",
        "--depth=1",
        "--no-tags",
        &way.git_uri,
        "main",
    ]);
    run(&["read-tree", "FETCH_HEAD"]);
    let free = run(&["ls-files", "--stage", "aws/unclaimed/env-*"]);
    let (entry, path) = free.lines().next().unwrap().split_once('\t').unwrap();
    let blob = entry.split(' ').nth(1).unwrap();
    let claimed = path.replace("unclaimed", "claimed");
    let moved = format!("0 {}\t{path}\n100644 {blob}\t{claimed}\n", "0".repeat(40));
    run_with(&["update-index", "--index-info"], &moved);
    let tree = run(&["write-tree"]);
    let commit = run(&[
        "commit-tree",
        &tree,
        "-p",
        "FETCH_HEAD",
        "-m",
        "claiming: a lock",
    ]);
    run(&[
        "push",
        "--quiet",
        &way.git_uri,
        &format!("{commit}:refs/heads/main"),
    ]);
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn millis(time: Duration) -> u128 {
    time.as_millis()
}

fn ratio(ours: Duration, theirs: Duration) -> f64 {
    ours.as_secs_f64() / theirs.as_secs_f64()
}

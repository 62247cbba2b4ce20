//! The limit: what a server needs for the bytes of an acquire when they are sent by hand, beside ours and plain git's; and a
//! lock of this machine alone beside `flock`.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod figures;
mod work;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use figures::median;
use support::git::{hermetic, run};
use support::remote::Hand;
use support::server::http::HttpServer;
use support::{TestRemote, path_of};
use work::{Bench, Git, Way, Work, plain};

/// How often each is measured, in turn.
const ROUNDS: usize = 15;

fn main() {
    // `cargo test` runs benches too, with an argument that asks for nothing.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    println!("An acquire, medians of {ROUNDS}, ms\n");
    println!("| | the server alone | ours | git | ours / git |");
    println!("|---|---|---|---|---|");
    for (name, commits, locks) in [
        ("10 commits", 10, 10),
        ("100,000 commits", 100_000, 10),
        ("10,000 commits, 1,000 locks", 10_000, 1000),
    ] {
        let remote = TestRemote::with_history_of(commits, locks);
        let server = HttpServer::start(remote.root());
        let by_path = |parcel: &Parcel| by_pipe(remote.path(), parcel);
        row(
            &format!("{name}, path"),
            &remote,
            &plain(remote.uri()),
            &by_path,
        );
        let by_http = |parcel: &Parcel| by_post(server.port(), parcel);
        row(
            &format!("{name}, http"),
            &remote,
            &plain(server.uri()),
            &by_http,
        );
    }
    println!("\nA command while a lock of this machine alone is held, medians of {ROUNDS}, ms\n");
    println!("| | first | with 1,000 runs before |");
    println!("|---|---|---|");
    alone();
}

/// What is sent to get a lock: which commit there is, the one to push onto it, and that packed.
struct Parcel {
    head: String,
    commit: String,
    pack: Vec<u8>,
}

impl Parcel {
    /// So many, made in a copy, so that the objects are new to the repository.
    fn several(remote: &TestRemote) -> Vec<Parcel> {
        let (copy, head) = (remote.copy(), remote.head());
        let free = copy.list("aws/unclaimed");
        let (from, to) = (
            format!("aws/unclaimed/{}", free[0]),
            format!("aws/claimed/{}", free[0]),
        );
        let parcels = (0..ROUNDS).map(|n| {
            let message = format!("claiming: {}\n\nPool-Request: {n}", free[0]);
            let commit = copy.commit_on(&[&head], &message, &[Hand::Move(&from, &to)]);
            let wanted = format!("{commit}\n^{head}\n");
            let arguments = ["pack-objects", "--revs", "--stdout", "-q"];
            let pack = run(copy.path(), &arguments, wanted.as_bytes(), &[]).stdout;
            Parcel {
                head: head.clone(),
                commit,
                pack,
            }
        });
        parcels.collect()
    }

    fn fetch(&self) -> String {
        let want = format!(
            "want {} side-band-64k ofs-delta no-progress shallow thin-pack\n",
            self.head
        );
        line(&want) + &line("deepen 1\n") + "0000" + &line("done\n")
    }

    fn push(&self) -> Vec<u8> {
        let Parcel { head, commit, pack } = self;
        let command =
            format!("{head} {commit} refs/heads/main\0 report-status side-band-64k quiet");
        [(line(&command) + "0000").as_bytes(), pack].concat()
    }
}

/// As a packet.
fn line(text: &str) -> String {
    format!("{:04x}{text}", text.len() + 4)
}

fn row(name: &str, remote: &TestRemote, way: &Way, by_hand: &dyn Fn(&Parcel)) {
    let head = remote.head();
    let reset = || {
        assert_ne!(remote.head(), head);
        remote.git(&["update-ref", "refs/heads/main", &head]);
    };
    let mut bench = Bench::new(way.source.clone(), &head, Work::Acquire);
    let (mut hands, mut ours, mut gits) = (Vec::new(), Vec::new(), Vec::new());
    for parcel in Parcel::several(remote) {
        let started = Instant::now();
        by_hand(&parcel);
        hands.push(started.elapsed());
        reset();

        bench.begin();
        let started = Instant::now();
        let answer = bench.run();
        ours.push(started.elapsed());
        assert_eq!(answer.code, Some(0), "{}", answer.stderr);
        reset();

        let git = Git::new(way);
        let started = Instant::now();
        git.does(Work::Acquire);
        gits.push(started.elapsed());
        reset();
    }
    let (hand, ours, git) = (median(hands), median(ours), median(gits));
    println!(
        "| {name} | {:.1} | {:.1} | {:.1} | {:.2} |",
        ms(hand),
        ms(ours),
        ms(git),
        ours.as_secs_f64() / git.as_secs_f64()
    );
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// Sends a parcel to Git's own programs.
fn by_pipe(path: &Path, parcel: &Parcel) {
    for (service, request) in [
        ("upload-pack", parcel.fetch().into_bytes()),
        ("receive-pack", parcel.push()),
    ] {
        let mut command = Command::new("git");
        hermetic(&mut command).arg(service).arg(path);
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = piped.spawn().unwrap();
        child.stdin.take().unwrap().write_all(&request).unwrap();
        let mut answer = Vec::new();
        child
            .stdout
            .take()
            .unwrap()
            .read_to_end(&mut answer)
            .unwrap();
        assert!(child.wait().unwrap().success());
    }
}

/// Sends a parcel to a web server, over one connection.
fn by_post(port: u16, parcel: &Parcel) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_nodelay(true).unwrap();
    for (service, request) in [
        ("git-upload-pack", parcel.fetch().into_bytes()),
        ("git-receive-pack", parcel.push()),
    ] {
        let ask =
            format!("GET /git/locks.git/info/refs?service={service} HTTP/1.1\r\nHost: x\r\n\r\n");
        stream.write_all(ask.as_bytes()).unwrap();
        read_answer(&mut stream);
        let head = format!(
            "POST /git/locks.git/{service} HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-{service}-request\r\nContent-Length: {}\r\n\r\n",
            request.len()
        );
        stream
            .write_all(&[head.as_bytes(), &request].concat())
            .unwrap();
        read_answer(&mut stream);
    }
}

/// Reads one answer to its end.
fn read_answer(stream: &mut TcpStream) {
    let mut answer = Vec::new();
    let mut bytes = [0; 64 * 1024];
    loop {
        let n = stream.read(&mut bytes).unwrap();
        assert_ne!(n, 0, "{}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&bytes[..n]);
        let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
        assert!(head.starts_with("http/1.1 200"), "{head}");
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let is_whole = match length {
            Some(length) => answer.len() - end - 4 >= length.parse().unwrap(),
            None => answer.ends_with(b"0\r\n\r\n"),
        };
        if is_whole {
            return;
        }
    }
}

/// `pool run` where no repository is named, and `flock`.
fn alone() {
    let home = tempfile::tempdir().unwrap();
    let ours = || {
        let mut command = Command::new(path_of("pool"));
        hermetic(&mut command)
            .env("HOME", home.path())
            .env("TMPDIR", home.path())
            .current_dir(home.path())
            .args(["run", "bench", "--", "true"])
            .stderr(Stdio::null());
        timed(&mut command)
    };
    let flock = || {
        let file = home.path().join("lock");
        timed(Command::new("flock").arg(file).arg("true"))
    };
    ours();
    let first = median((0..ROUNDS).map(|_| ours()).collect());
    let flock_first = median((0..ROUNDS).map(|_| flock()).collect());
    for _ in 0..1000 {
        ours();
    }
    let later = median((0..ROUNDS).map(|_| ours()).collect());
    let flock_later = median((0..ROUNDS).map(|_| flock()).collect());
    println!(
        "| `pool run bench -- true` | {:.1} | {:.1} |",
        ms(first),
        ms(later)
    );
    println!(
        "| `flock lock true` | {:.1} | {:.1} |",
        ms(flock_first),
        ms(flock_later)
    );
}

fn timed(command: &mut Command) -> Duration {
    let started = Instant::now();
    assert!(command.status().unwrap().success());
    started.elapsed()
}

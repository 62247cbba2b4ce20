//! Servers that fail, say odd things or lose answers; disks that are full.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use support::server::redis::RedisServer;
use support::server::scripted::Scripted;

use crate::project::{Project, REDIS_PASSWORD};

/// A way to a server that loses the answers to what has this in it, some times, after the server has acted on it.
fn losing(to: u16, request: &'static str, times: usize) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let lost = Arc::new(AtomicUsize::new(0));
    let counted = lost.clone();
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let counted = counted.clone();
            std::thread::spawn(move || relay(client, to, request, times, &counted));
        }
    });
    (port, lost)
}

fn relay(
    mut client: TcpStream,
    to: u16,
    request: &str,
    times: usize,
    lost: &AtomicUsize,
) -> Option<()> {
    let mut server = TcpStream::connect(("127.0.0.1", to)).ok()?;
    let mut bytes = vec![0; 65536];
    loop {
        let n = client.read(&mut bytes).ok().filter(|n| *n > 0)?;
        server.write_all(&bytes[..n]).ok()?;
        let is_it = bytes[..n]
            .windows(request.len())
            .any(|part| part == request.as_bytes());
        let n = server.read(&mut bytes).ok()?;
        if is_it && lost.fetch_add(1, Ordering::Relaxed) < times {
            return None;
        }
        client.write_all(&bytes[..n]).ok()?;
    }
}

fn through(port: u16) -> Project {
    Project::new(&format!(
        "redis: {{host: 127.0.0.1, port: {port}, isPrimary: true}}"
    ))
    .with_redis_password()
}

#[test]
fn an_append_whose_answer_was_lost_is_made_once() {
    let redis = RedisServer::start(REDIS_PASSWORD);
    through(redis.port()).init();
    for times in [1, 2] {
        let (port, lost) = losing(redis.port(), "EXEC", times);
        let project = through(port);

        let number = project.ok(&["--set", "state.l[]=x", "--increment", "state.n"]);

        assert!(lost.load(Ordering::Relaxed) >= 1);
        let direct = through(redis.port());
        assert_eq!(direct.get("state.n"), number.trim());
        assert_eq!(
            direct.get("state.l").matches('x').count().to_string(),
            number.trim()
        );
    }
}

#[test]
fn a_server_that_comes_back_is_waited_for() {
    let mut redis = RedisServer::start(REDIS_PASSWORD);
    let project = through(redis.port());
    project.init();
    redis.stop("KILL");
    let waiting = project
        .program(&["--set", "state.k=v"])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));

    redis.start_again();

    let output = waiting.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(project.get("state.k"), "v");
}

#[test]
fn a_user_who_may_not_write_is_told_so_at_once() {
    let redis = RedisServer::with_rules(
        REDIS_PASSWORD,
        "~* +@read +ping +watch +unwatch +multi +exec +select",
    );
    let project = through(redis.port());
    project.fails(&["--init-new", "run-1"], "refuses to write a document");
    project.write(
        "secrets.yaml",
        "cicdstatemgr: {datasources: {redis: {username: cicd, password: MARKER-wrong}}}",
    );
    let answer = project.run(&["--init-new", "run-1"]);
    assert_eq!(answer.code, Some(1));
    assert!(
        answer.stderr.contains("refuses us") && !answer.stderr.contains("MARKER"),
        "{}",
        answer.stderr
    );
    // The default user is switched off.
    project.write("secrets.yaml", "");
    project.fails(&["--init-new", "run-1"], "NOAUTH");
}

#[test]
fn a_command_that_is_refused_within_a_transaction_is_no_success() {
    // All that it has to say, whatever it is asked: to AUTH; to UNWATCH, WATCH and GET; to MULTI, SET and EXEC.
    let answers =
        b"+OK\r\n+OK\r\n+OK\r\n$-1\r\n+OK\r\n+QUEUED\r\n*1\r\n-OOM command not allowed\r\n";
    let server = Scripted::start(|_, to| to.write_all(answers));
    let project = through(server.port());
    project.fails(&["--init-new", "run-1"], "OOM command not allowed");
}

#[test]
fn what_a_hostile_redis_says_is_bounded_and_harmless() {
    let endless = |first: &'static [u8], part: &'static [u8]| {
        Scripted::start(move |_, to| {
            to.write_all(first)?;
            // More than anybody takes, until they stop.
            while to.write_all(&part.repeat(1000)).is_ok() {}
            Ok(())
        })
    };
    for (server, words) in [
        (
            Scripted::start(|said, to| to.write_all(&[b"-ERR ", said, b"\r\n"].concat())),
            "",
        ),
        (
            Scripted::start(|_, to| to.write_all(b"-ERR \x1b[2J MARKER-redis-password\r\n")),
            "***",
        ),
        (
            Scripted::start(|_, to| to.write_all(b"+OK\r\n+OK\r\n+OK\r\n+OK\r\n")),
            "",
        ),
        (
            Scripted::start(|_, to| to.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")),
            "",
        ),
        (
            Scripted::start(|_, to| to.write_all(b"$99999999999999\r\n")),
            "",
        ),
        (
            Scripted::start(|_, to| to.write_all(b"*99999999\r\n*99999999\r\n")),
            "",
        ),
        (endless(b"*1000000000\r\n", b"*1\r\n"), ""),
    ] {
        let project = through(server.port());
        // Faults are ridden out for a minute, which is longer than this needs to be.
        let mut command = project.command(
            "timeout",
            &["5", support::path_of("cicdstatemgr"), "--load"],
        );
        let answer = crate::project::answer(&mut command);
        assert!(
            matches!(answer.code, Some(1 | 124)),
            "{:?} {}",
            answer.code,
            answer.stderr
        );
        assert!(answer.stderr.contains(words), "{}", answer.stderr);
        assert!(
            !answer.stderr.contains('\u{1b}') && !answer.stderr.contains("MARKER"),
            "{}",
            answer.stderr
        );
        assert!(!answer.stderr.contains("panicked"), "{}", answer.stderr);
    }
}

#[test]
fn what_is_kept_and_is_no_document_is_told_with_its_place() {
    let project = Project::simple();
    for (text, words) in [
        ("a: [1", "it is not YAML"),
        ("just text", "it is a text, and not a map"),
        ("a: 1\n", "has the document ``"),
        (
            "state: {cicdContextDataId: other}\n",
            "has the document `other`",
        ),
    ] {
        project.write("data.yaml", text);
        project.fails(&["--set", "state.k=v"], words);
        assert_eq!(project.read("data.yaml"), text);
    }
    std::fs::write(project.path("data.yaml"), [0xff, 0xfe]).unwrap();
    project.fails(&["--load"], "cannot read");
}

#[test]
fn a_disk_that_is_full_leaves_the_document_as_it_was() {
    // Root alone can mount one.
    let project = Project::simple();
    let disk = project.path("disk");
    std::fs::create_dir(&disk).unwrap();
    let mount = |args: &[&str]| {
        std::process::Command::new("mount")
            .args(args)
            .arg(&disk)
            .stderr(std::process::Stdio::null())
            .status()
    };
    if !mount(&["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).is_ok_and(|status| status.success()) {
        eprintln!("skipped: no file system can be mounted here");
        return;
    }
    project.write(
        "config.yaml",
        "cicdstatemgr: {datasources: {yamlfile: {path: ./disk/data.yaml, isPrimary: true}}}",
    );
    project.ok(&["--init-new", "run-1", "--set", "state.k=v"]);
    let before = project.read("disk/data.yaml");
    project.write("large", &"x".repeat(100_000));

    let answer = project.run(&["--set", "state.large=file://large"]);

    let after = project.read("disk/data.yaml");
    let left: Vec<_> = std::fs::read_dir(&disk)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    project.ok(&["--set", "state.k=w"]);
    let small = project.get("state.k");
    assert!(
        std::process::Command::new("umount")
            .arg(&disk)
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(answer.code, Some(1));
    assert!(answer.stderr.contains("cannot write"), "{}", answer.stderr);
    assert_eq!(after, before);
    assert_eq!(left.len(), 2, "{left:?}");
    assert_eq!(small, "w");
}

#[test]
fn an_answer_that_nobody_takes_is_an_error() {
    let project = Project::simple();
    project.init();
    let full = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();

    let output = project
        .program(&["--get", "appName"])
        .stdout(full)
        .output()
        .unwrap();

    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot write the answer"));
}

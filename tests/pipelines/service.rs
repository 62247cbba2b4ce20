//! Signals, the command line, the log.

use serde_json::json;
use support::wait_until;

use crate::host::{Host, SECRET};

const HELD: &str = "pipelines: {p: {tasks: {t: {script: ['while ! [ -e go ]; do sleep 0.01; done']}, u: {script: [echo u], depends_on: [t]}}}}";

#[test]
fn p25_an_interrupt_lets_what_runs_come_to_its_end() {
    let mut host = Host::start(HELD);
    let [running, waiting] = [host.schedule(), host.schedule()];
    host.signal("INT");
    wait_until("the waiting job is canceled", || {
        host.job(&waiting)["canceled"] == true
    });
    host.signal("INT");
    let refused = host.try_schedule(json!({}));
    assert_eq!(
        (refused.status, refused.text().as_str()),
        (503, "{\"error\":\"Server is shutting down\"}\n")
    );
    host.write("go", "");
    host.ended();
    host.run();
    assert_eq!(host.job(&running)["completed"], true);
    assert_eq!(host.logs(&running, "u").0, "u\n");
}

#[test]
fn p26_a_termination_ends_what_runs_also_after_an_interrupt() {
    for first in ["INT", "TERM"] {
        let mut host = Host::start(HELD);
        let running = host.schedule();
        host.running(&running);
        host.signal(first);
        host.signal("TERM");
        host.ended();
        host.run();
        let job = host.job(&running);
        assert_eq!(
            (&job["completed"], &job["canceled"]),
            (&json!(true), &json!(true)),
            "{first}"
        );
    }
}

#[test]
fn p30_the_command_line_is_that_of_the_original() {
    let mut host = Host::folder("pipelines: {p: }").args(&[
        "-pattern",
        "*.yml",
        "-watch",
        "--verbose",
        "-enable-profiling",
        "word",
        "another",
    ]);
    let run = |args: &[&str]| {
        let output = host.command(&[], args).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (
            output.status.code(),
            text(&output.stdout),
            text(&output.stderr),
        )
    };
    let (code, stdout, _) = run(&["--nope"]);
    assert!(code == Some(1) && stdout.contains("Usage"), "{stdout}");
    let (code, stdout, _) = run(&["--poll-interval", "0s"]);
    assert!(
        code == Some(1) && stdout.contains("more than 0"),
        "{stdout}"
    );
    for word in ["--help", "-h", "help", "h"] {
        let (code, stdout, _) = run(&[word]);
        assert!(
            code == Some(0) && stdout.contains("--poll-interval"),
            "{word}: {stdout}"
        );
    }
    assert_eq!(
        run(&["version"]),
        (
            Some(0),
            concat!(env!("CARGO_PKG_VERSION"), "\n").into(),
            String::new()
        )
    );
    let (code, _, stderr) = run(&["debug"]);
    assert!(
        code == Some(0) && stderr.contains("Authorization: Bearer ey"),
        "{stderr}"
    );
    let (code, _, stderr) = run(&["--jwt-secret", "MARKER-short", "debug"]);
    assert!(
        code == Some(1)
            && stderr
                .contains("invalid CLI config: jwt_secret must be at least 16 characters long"),
        "{stderr}"
    );
    assert!(!stderr.contains("MARKER"));
    host.write("bad.conf", "jwt_secret: [MARKER\n");
    let output = host
        .command(&[], &["--config", "bad.conf", "debug"])
        .env_remove("PRUNNER_JWT_SECRET")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("decoding config") && !said.contains("MARKER"),
        "{said}"
    );
    host.run();
    assert_eq!(host.get("/pipelines").status, 200);
    let port = host.port();
    let taken = host
        .command(
            &[],
            &["--address", &format!("127.0.0.1:{port}"), "--data", "other"],
        )
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&taken.stderr);
    assert!(
        taken.status.code() == Some(1) && said.contains("Error starting HTTP API: "),
        "{said}"
    );
    let output = host.command(&[], &[]).env("PATH", "/nowhere").output();
    let output = output.unwrap_or_else(|err| panic!("{err}"));
    assert!(String::from_utf8_lossy(&output.stderr).contains("bash is not on the PATH"));
}

#[test]
fn p32_and_p33_the_log_tells_of_requests_and_of_no_secret() {
    let host = Host::script(&["true"]);
    assert_eq!(host.get("/debug/pprof/").status, 404);
    host.request(
        "GET",
        "/pipelines",
        &["User-Agent: a\"b level=fatal", "Cookie: jwt=MARKER-cookie"],
        b"",
    );
    host.get("/job/detail?id=x&token=MARKER-query");
    let log = host.log();
    let line = log
        .lines()
        .find(|line| line.contains("request complete") && line.contains("level=fatal"))
        .unwrap();
    for field in [
        "level=info",
        "component=api",
        "httpMethod=GET",
        "httpPath=/pipelines",
        "httpHost=x",
        "httpProto=HTTP/1.1",
        "httpScheme=http",
        "remoteAddr=127.0.0.1:",
        "userAgent=\"a\\\"b level=fatal\"",
        "respStatus=401",
        "respBytesLength=",
        "respElapsedMs=",
    ] {
        assert!(line.contains(field), "{field}: {line}");
    }
    assert!(!log.contains("MARKER") && !log.contains(SECRET), "{log}");
}

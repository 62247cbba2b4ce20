//! Servers that fail, are slow or say odd things; signals; proxies and certificates.

use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use support::server::authority::Authority;
use support::server::free_port;
use support::server::gitlab::{Packing, SimulatedGitlab, Trouble};
use support::server::scripted::Scripted;
use support::server::squid::Squid;
use support::wait_until;

use crate::machine::Machine;

fn failing(status: u16) -> Trouble {
    Trouble::Status(status, None)
}

/// C20: whatever passes is ridden out.
#[test]
fn a_fault_is_told_of_and_tried_again_and_a_later_success_counts() {
    for (trouble, words) in [
        (failing(500), "answers with status 500"),
        (failing(502), "answers with status 502"),
        (
            Trouble::Status(429, Some(("Retry-After", "1".to_owned()))),
            "answers with status 429",
        ),
        (Trouble::Close, "cannot talk to"),
        (
            Trouble::Text("{\"message\": \"hello\"}".to_owned()),
            "other than JSON of the kind",
        ),
        (
            Trouble::Text("<html>".to_owned()),
            "other than JSON of the kind",
        ),
        (
            Trouble::Text("[{\"ref\": \"x\"}]".to_owned()),
            "other than JSON of the kind",
        ),
    ] {
        let gitlab = SimulatedGitlab::start();
        gitlab.trouble("/pipelines", trouble.clone(), 1);

        let answer = Machine::outside(&gitlab).expect(&[], 0);

        let error = answer
            .stdout
            .lines()
            .find(|line| line.contains(" ERROR "))
            .unwrap();
        assert!(
            error.contains(words) && error.contains("trying again in"),
            "{trouble:?}: {error}"
        );
        assert!(!error.contains("MARKER"), "{error}");
    }
}

/// N9 and N25: how errors end.
#[test]
fn a_server_that_never_answers_is_told_from_one_that_shows_a_conflict() {
    let gitlab = SimulatedGitlab::start();
    gitlab.pipeline(11, "12-foo", "running");
    let machine = Machine::outside(&gitlab).env("GUARD_TIMEOUT", "1");
    machine.expect(&[], 11);
    gitlab.trouble("/pipelines", failing(500), 10_000);
    let answer = machine.expect(&[], 4);
    assert!(
        answer
            .stdout
            .contains("Timeout reached after 1 seconds, giving up ...")
    );
    let away = format!("http://127.0.0.1:{}/api/v4", free_port());
    machine.clone().env("CI_API_V4_URL", away).expect(&[], 4);
    machine
        .env("CI_API_V4_URL", "http://gitlab.invalid/api/v4")
        .expect(&[], 4);
}

/// C18: the time is over in the middle of a request too.
#[test]
fn a_request_that_hangs_does_not_outlast_the_timeout() {
    for trouble in [Trouble::Silence, Trouble::Trickle] {
        let gitlab = SimulatedGitlab::start();
        gitlab.trouble("/pipelines", trouble, 10);
        Machine::outside(&gitlab)
            .env("GUARD_TIMEOUT", "2")
            .expect(&[], 4);
        // It was one request, that was left.
        assert_eq!(gitlab.asked().len(), 1);
    }
}

/// C21, with ten seconds in place of two.
#[test]
fn a_silent_server_is_given_up_on_and_asked_again() {
    let gitlab = SimulatedGitlab::start();
    gitlab.trouble("/pipelines", Trouble::Silence, 1);

    let answer = Machine::outside(&gitlab).expect(&[], 0);

    assert!(
        answer.stdout.contains("no answer from"),
        "{}",
        answer.stdout
    );
    assert!(answer.stdout.contains("for 10s"), "{}", answer.stdout);
}

#[test]
fn an_answer_without_end_is_not_read_to_the_end() {
    let gitlab = SimulatedGitlab::start();
    gitlab.trouble("/pipelines", Trouble::Flood, 10_000);

    let answer = Machine::outside(&gitlab).env("GUARD_TIMEOUT", "5").run(&[]);

    assert!(matches!(answer.code, Some(3 | 4)), "{:?}", answer.code);
    assert!(
        answer.stdout.contains("sends more than 16777216 bytes"),
        "{}",
        answer.stdout
    );
}

/// Lists whose pages have no end, or go in a circle.
#[test]
fn a_list_without_end_is_given_up_on() {
    for (in_a_circle, words) in [
        (true, "pages go in a circle"),
        (false, "more than 100 pages"),
    ] {
        let n = std::sync::atomic::AtomicUsize::new(2);
        let server = Scripted::start(move |_, to| {
            let page = match in_a_circle {
                true => 2,
                false => n.fetch_add(1, std::sync::atomic::Ordering::SeqCst),
            };
            write!(
                to,
                "HTTP/1.1 200 OK\r\nLink: <http://x/?page={page}>; rel=\"next\"\r\nContent-Length: 2\r\nConnection: close\r\n\r\n[]"
            )
        });
        let api = format!("http://127.0.0.1:{}/api/v4", server.port());
        let machine = Machine::outside(&SimulatedGitlab::start()).env("CI_API_V4_URL", api);

        let waiting = machine.start(&[]);
        waiting.wait_for(words);
    }
}

#[test]
fn answers_come_in_one_piece_in_many_and_packed() {
    for packing in [Packing::Plain, Packing::Chunked, Packing::Gzip] {
        let gitlab = SimulatedGitlab::start();
        gitlab.set_packing(packing);
        for id in 11..200 {
            gitlab.pipeline(id, "other", "running");
        }
        let machine = Machine::outside(&gitlab);
        machine.expect(&["-x"], 0);
        gitlab.pipeline(200, "12-foo", "running");
        machine.expect(&["-x"], 7);
    }
}

/// C26: proxies.
#[test]
fn proxies_of_the_environment_are_used_unless_the_host_is_excepted() {
    let gitlab = SimulatedGitlab::start();
    let squid = Squid::start();
    let proxy = format!("http://127.0.0.1:{}", squid.port());
    let machine = Machine::outside(&gitlab);

    machine.clone().env("HTTP_PROXY", &proxy).expect(&["-x"], 0);
    let asked = gitlab.asked().pop().unwrap();
    assert!(asked.headers.contains_key("via"), "{:?}", asked.headers);
    machine
        .clone()
        .env("http_proxy", &proxy)
        .env("no_proxy", "127.0.0.1")
        .expect(&["-x"], 0);
    assert!(!gitlab.asked().pop().unwrap().headers.contains_key("via"));
    let away = format!("http://127.0.0.1:{}", free_port());
    machine
        .env("ALL_PROXY", away)
        .env("GUARD_TIMEOUT", "1")
        .expect(&[], 4);
}

/// C27 and N22: certificates.
#[test]
fn a_certificate_of_an_unknown_authority_is_not_trusted_unless_we_are_told_of_it() {
    let authority = Authority::new();
    let gitlab = SimulatedGitlab::start();
    let front = gitlab.over_https(&authority);
    let machine = Machine::outside(&gitlab).env("CI_API_V4_URL", front.api());

    let answer = machine.clone().env("GUARD_TIMEOUT", "1").run(&[]);
    assert!(matches!(answer.code, Some(3 | 4)), "{:?}", answer.code);
    assert!(answer.stdout.contains("certificate"), "{}", answer.stdout);
    assert!(answer.stdout.contains("`--ca-file`"), "{}", answer.stdout);
    assert_eq!(gitlab.asked().len(), 0);
    for name in [
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
        "CI_SERVER_TLS_CA_FILE",
        "SSL_CERT_FILE",
    ] {
        machine
            .clone()
            .env(name, authority.file())
            .expect(&["-x"], 0);
    }
    let file = authority.file();
    machine.expect(&["-x", "--ca-file", file.to_str().unwrap()], 0);
    machine
        .env("CI_SERVER_TLS_CA_FILE", "/etc/hostname")
        .expect(&["-x"], 2);
}

/// C28: signals.
#[test]
fn a_signal_ends_a_wait_at_once() {
    let gitlab = SimulatedGitlab::start();
    gitlab.pipeline(11, "12-foo", "running");
    for (name, number) in [("TERM", 15), ("INT", 2), ("KILL", 9)] {
        let waiting = Machine::outside(&gitlab).start(&[]);
        waiting.wait_for("Pipeline #11");
        waiting.signal(name);
        let (status, _) = waiting.status();
        assert_eq!(status.signal(), Some(number), "{status:?}");
    }
}

#[test]
fn a_signal_goes_on_to_the_command() {
    let gitlab = SimulatedGitlab::start();
    let machine = Machine::outside(&gitlab);
    let script = "trap 'echo ended; exit 5' TERM; echo begun; while :; do sleep 0.05; done";

    let running = machine.start(&["--", "sh", "-c", script]);
    running.wait_for("begun");
    running.signal("TERM");
    let answer = running.finish();

    assert_eq!(answer.code, Some(5));
    assert_eq!(answer.stdout, "begun\nended\n");
}

#[test]
fn nobody_listens_and_the_wait_goes_on() {
    let gitlab = SimulatedGitlab::start();
    gitlab.pipeline(11, "12-foo", "running");
    let machine = Machine::outside(&gitlab);
    let mut command = machine.command(support::path_of("gitlab-job-guard"), &[]);
    let (stdout, reader) = {
        let (reader, writer) = std::os::unix::net::UnixStream::pair().unwrap();
        (std::os::fd::OwnedFd::from(writer), reader)
    };
    drop(reader);
    let mut child = command
        .stdout(stdout)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();

    let looks = |n: usize| wait_until("it looks", || gitlab.asked().len() >= n);
    looks(5);
    gitlab.delete(11);

    assert!(child.wait().unwrap().success());
}

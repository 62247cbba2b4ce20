//! HTTPS: whose certificate is trusted, where credentials go, and the settings of Git that have a say in it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use support::server::authority::Authority;
use support::server::faulty::Faulty;
use support::server::http::{HttpServer, Options};
use support::{Answer, Step, TestRemote};

const USER: &str = "alice";
const PASSWORD: &str = "s3cret";

/// `alice:s3cret`, as it goes with a request.
const BASIC: &str = "Basic YWxpY2U6czNjcmV0";

/// A repository behind an HTTPS server, and the authority that made the server's certificate.
struct Site {
    remote: TestRemote,
    authority: Authority,
    server: HttpServer,
}

impl Site {
    fn new() -> Site {
        Site::with(None, |authority| authority.certify("IP:127.0.0.1"))
    }

    /// A site that lets only [`USER`] in.
    fn with_user() -> Site {
        Site::with(Some((USER, PASSWORD)), |authority| {
            authority.certify("IP:127.0.0.1")
        })
    }

    fn with(
        user: Option<(&str, &str)>,
        certify: impl FnOnce(&Authority) -> std::path::PathBuf,
    ) -> Site {
        let remote = TestRemote::with_pool("aws", &["env-1"]);
        let authority = Authority::new();
        let certificate = certify(&authority);
        let options = Options {
            user,
            certificate: Some(&certificate),
            ..Options::default()
        };
        let server = HttpServer::with(remote.root(), &options);
        Site {
            remote,
            authority,
            server,
        }
    }

    /// Steps that trust nobody yet.
    fn step(&self) -> Step {
        Step::on(&self.remote, "aws").set("uri", self.server.uri())
    }

    /// Steps that trust the site's authority.
    fn trusting(&self) -> Step {
        self.step().set("ca_cert", self.authority.pem())
    }

    #[track_caller]
    fn assert_acquires(&self, step: &Step) {
        let claimed = step.put(json!({"acquire": true}));
        assert_eq!(claimed.version(), self.remote.head());
        assert_eq!(claimed.lock(), "env-1");
    }
}

fn config(pairs: &[(&str, &str)]) -> Value {
    pairs
        .iter()
        .map(|(name, value)| json!({"name": name, "value": value}))
        .collect()
}

/// Runs a put that cannot succeed, which must end by itself soon and without another try.
#[track_caller]
fn fails_at_once(step: &Step, words: &[&str]) -> Answer {
    let started = Instant::now();

    let answer = step.put(json!({"acquire": true}));

    assert!(started.elapsed() < Duration::from_secs(15));
    answer.assert_failed(words);
    assert!(!answer.stderr.contains("again"), "{}", answer.stderr);
    answer
}

#[test]
fn the_authority_of_ca_cert_is_trusted_by_every_step() {
    let site = Site::new();
    let step = site.trusting();

    site.assert_acquires(&step);

    let (got, folder) = step.get(&site.remote.head());
    assert_eq!(got.lock(), "env-1");
    assert_eq!(step.check(None).versions(), [site.remote.head()]);
    assert_eq!(
        step.put_folder("release", &folder).version(),
        site.remote.head()
    );
}

#[test]
fn several_authorities_and_windows_line_ends_in_ca_cert_are_understood() {
    let site = Site::new();
    let both = (Authority::new().pem() + &site.authority.pem()).replace('\n', "\r\n");

    site.assert_acquires(&site.step().set("ca_cert", both));
}

#[test]
fn the_authorities_of_ssl_cert_file_are_trusted() {
    let site = Site::new();

    site.assert_acquires(&site.step().env("SSL_CERT_FILE", site.authority.file()));
}

#[test]
fn a_broken_certificate_among_those_of_the_system_does_no_harm() {
    let site = Site::new();
    let file = site.authority.file().with_file_name("system.pem");
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    std::fs::write(&file, broken.to_owned() + &site.authority.pem()).unwrap();

    site.assert_acquires(&site.step().env("SSL_CERT_FILE", file));
}

#[test]
fn ca_cert_adds_to_ssl_cert_file() {
    let site = Site::new();
    let other = Authority::new();

    site.assert_acquires(&site.trusting().env("SSL_CERT_FILE", other.file()));
    site.remote.release_by_hand("aws", "env-1");
    site.assert_acquires(
        &site
            .step()
            .set("ca_cert", other.pem())
            .env("SSL_CERT_FILE", site.authority.file()),
    );
}

#[test]
fn verification_can_be_skipped_by_source_and_by_git_config() {
    let names_another = Site::with(None, |authority| authority.certify("DNS:other.example"));
    let expired = Site::with(None, |authority| authority.certify_in_2020("IP:127.0.0.1"));

    for site in [names_another, expired] {
        site.assert_acquires(&site.step().set("skip_ssl_verification", true));
        for (name, value) in [
            ("http.sslVerify", "false"),
            ("HTTP.SSLVERIFY", "0"),
            (&*format!("http.{}.sslVerify", site.server.uri()), "no"),
        ] {
            site.remote.release_by_hand("aws", "env-1");
            let step = site.step().set("git_config", config(&[(name, value)]));
            site.assert_acquires(&step);
        }
    }
}

#[test]
fn verification_is_skipped_only_where_it_says_so() {
    let site = Site::new();

    for (name, value) in [
        ("http.sslVerify", "true"),
        ("http.https://other.example/.sslVerify", "false"),
    ] {
        let step = site.step().set("git_config", config(&[(name, value)]));
        fails_at_once(&step, &["the certificate of"]);
    }
}

#[test]
fn an_authority_that_is_not_ours_is_named_as_the_trouble() {
    let site = Site::new();
    let other = Authority::new();

    for step in [
        site.step().set("ca_cert", other.pem()),
        site.step().env("SSL_CERT_FILE", other.file()),
    ] {
        fails_at_once(
            &step,
            &["the certificate of", &site.server.uri(), "source.ca_cert"],
        );
        step.check(None).assert_failed(&["the certificate of"]);
    }
    assert_eq!(site.remote.count(), 1);
}

#[test]
fn a_certificate_that_has_expired_is_named_as_such() {
    let site = Site::with(None, |authority| authority.certify_in_2020("IP:127.0.0.1"));

    fails_at_once(&site.trusting(), &["certificate", "expired"]);
}

#[test]
fn a_certificate_for_another_host_is_named_with_the_host_it_is_for() {
    let site = Site::with(None, |authority| authority.certify("DNS:other.example"));

    fails_at_once(
        &site.trusting(),
        &["certificate", "127.0.0.1", "other.example"],
    );
}

#[test]
fn a_ca_cert_that_is_no_certificate_is_refused_by_name() {
    let site = Site::new();

    for nonsense in [
        "no PEM at all",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        fails_at_once(&site.step().set("ca_cert", nonsense), &["source.ca_cert"]);
    }
}

#[test]
fn a_server_of_plain_http_at_an_https_uri_ends_the_step_or_is_tried_again_in_time() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let server = HttpServer::start(remote.root());
    let step = Step::on(&remote, "aws")
        .set("uri", server.uri().replace("http:", "https:"))
        .set("skip_ssl_verification", true)
        .set("fault_timeout", "1s");

    let answer = step.put(json!({"acquire": true}));

    answer.assert_failed(&["cannot talk to"]);
}

#[test]
fn basic_auth_works_over_https_from_the_keys_and_from_the_uri() {
    let site = Site::with_user();

    site.assert_acquires(
        &site
            .trusting()
            .set("username", USER)
            .set("password", PASSWORD),
    );
    site.remote.release_by_hand("aws", "env-1");
    let uri = site
        .server
        .uri()
        .replace("://", &format!("://{USER}:{PASSWORD}@"));
    site.assert_acquires(&site.trusting().set("uri", uri));
}

#[test]
fn a_wrong_password_over_https_ends_the_step_at_once() {
    let site = Site::with_user();
    let step = site.trusting().set("username", USER).set("password", "no");

    fails_at_once(&step, &["does not let us in", "401"]);
}

#[test]
fn credentials_are_not_shown_to_a_server_whose_certificate_is_not_trusted() {
    let site = Site::with_user();
    let step = site
        .step()
        .set("ca_cert", Authority::new().pem())
        .set("username", USER)
        .set("password", PASSWORD);

    fails_at_once(&step, &["certificate"]);

    assert_eq!(site.server.log(), "");
}

/// A server that sends everybody elsewhere: to the same path behind `to`.
fn redirecting(status: &str, to: &str) -> Faulty {
    let (status, to) = (status.to_owned(), to.to_owned());
    Faulty::start(move |head| {
        let path = head.split(' ').nth(1).unwrap_or_default();
        Some(format!(
            "HTTP/1.1 {status}\r\nLocation: {to}{path}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        ))
    })
}

fn uri_of(server: &Faulty) -> String {
    format!("http://127.0.0.1:{}/git/locks.git", server.port())
}

/// Steps with [`USER`]'s credentials at a server of our own.
fn signed_in(remote: &TestRemote, server: &Faulty) -> Step {
    Step::on(remote, "aws")
        .set("uri", uri_of(server))
        .set("username", USER)
        .set("password", PASSWORD)
}

#[test]
fn a_redirect_from_http_to_https_on_the_same_host_keeps_the_credentials() {
    let site = Site::with_user();

    for status in ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"] {
        let door = redirecting(status, &format!("https://127.0.0.1:{}", site.server.port()));
        let step = signed_in(&site.remote, &door).set("ca_cert", site.authority.pem());
        site.assert_acquires(&step);
        assert!(door.heard().iter().all(|head| head.starts_with("GET ")));
        site.remote.release_by_hand("aws", "env-1");
    }
}

#[test]
fn after_a_redirect_to_https_the_certificate_is_checked_as_ever() {
    let site = Site::with_user();
    let door = redirecting(
        "301 Moved",
        &format!("https://127.0.0.1:{}", site.server.port()),
    );
    let step = signed_in(&site.remote, &door).set("ca_cert", Authority::new().pem());

    fails_at_once(&step, &["certificate"]);
    assert_eq!(site.server.log(), "");
}

#[test]
fn a_redirect_with_credentials_to_another_host_or_port_is_refused_and_names_it() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let stranger = Faulty::answering("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n");

    for host in ["127.0.0.1", "localhost", "127.0.0.2"] {
        let to = format!("http://{host}:{}", stranger.port());
        let door = redirecting("302 Found", &to);
        let in_keys = signed_in(&remote, &door);
        let in_uri = Step::on(&remote, "aws").set(
            "uri",
            uri_of(&door).replace("://", &format!("://{USER}:{PASSWORD}@")),
        );
        let in_header = Step::on(&remote, "aws").set("uri", uri_of(&door)).set(
            "git_config",
            config(&[("http.extraHeader", &format!("Authorization: {BASIC}"))]),
        );
        for step in [in_keys, in_uri, in_header] {
            fails_at_once(&step, &["redirects to", &to, "source.uri"]);
        }
        assert!(door.heard().iter().all(|head| head.contains(BASIC)));
    }

    assert_eq!(stranger.heard(), Vec::<String>::new());
}

#[test]
fn a_redirect_from_https_to_plain_http_is_refused() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let stranger = Faulty::answering("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n");
    let authority = Authority::new();
    let certificate = authority.certify("IP:127.0.0.1");
    let more = format!(
        "server.modules += (\"mod_redirect\")\nurl.redirect = (\"\" => \"http://127.0.0.1:{}${{url.path}}${{qsa}}\")",
        stranger.port()
    );
    let options = Options {
        certificate: Some(&certificate),
        more: &more,
        ..Options::default()
    };
    let server = HttpServer::with(remote.root(), &options);
    let step = Step::on(&remote, "aws")
        .set("uri", server.uri())
        .set("ca_cert", authority.pem());

    fails_at_once(
        &step,
        &[
            "redirects to",
            &format!("http://127.0.0.1:{}", stranger.port()),
        ],
    );
    fails_at_once(
        &step.set("username", USER).set("password", PASSWORD),
        &["redirects to"],
    );

    assert_eq!(stranger.heard(), Vec::<String>::new());
}

#[test]
fn a_redirect_without_credentials_is_followed_to_another_host() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let server = HttpServer::start(remote.root());
    let door = redirecting("302 Found", &format!("http://127.0.0.1:{}", server.port()));
    let step = Step::on(&remote, "aws").set("uri", uri_of(&door));

    assert_eq!(step.put(json!({"acquire": true})).version(), remote.head());
}

#[test]
fn redirects_in_a_circle_end_the_step() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let door = redirecting("302 Found", "");

    fails_at_once(
        &signed_in(&remote, &door),
        &["does not answer as a Git server"],
    );

    assert!(door.heard().len() < 20, "{}", door.heard().len());
}

#[test]
fn extra_headers_for_everybody_and_for_this_server_are_sent_and_no_others() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let server = Faulty::answering("HTTP/1.1 404 None\r\nContent-Length: 0\r\n\r\n");
    let here = format!("http://127.0.0.1:{}", server.port());
    let step = Step::on(&remote, "aws").set("uri", uri_of(&server)).set(
        "git_config",
        config(&[
            ("http.extraHeader", "X-Gone: 0"),
            ("http.extraHeader", ""),
            ("http.extraHeader", "X-For-All: one: two"),
            (&format!("http.{here}.extraHeader"), "X-For-Host: 2"),
            (&format!("http.{here}/git/.extraheader"), "X-For-Path: 3"),
            (&format!("http.{here}/gi.extraHeader"), "X-Other-Path: 4"),
            ("http.https://other.example.extraHeader", "X-Other-Host: 5"),
        ]),
    );

    fails_at_once(&step, &["there is no repository"]);

    for head in server.heard() {
        let head = head.to_lowercase();
        for sent in [
            "x-for-all: one: two\r\n",
            "x-for-host: 2\r\n",
            "x-for-path: 3\r\n",
        ] {
            assert!(head.contains(sent), "{head}");
        }
        for unsent in ["x-gone", "x-other-path", "x-other-host"] {
            assert!(!head.contains(unsent), "{head}");
        }
    }
    assert!(!server.heard().is_empty());
}

#[test]
fn an_extra_header_signs_in_for_a_whole_acquire() {
    let site = Site::with_user();
    let header = format!("AUTHORIZATION: {BASIC}");
    let step = site
        .trusting()
        .set("git_config", config(&[("http.extraHeader", &header)]));

    site.assert_acquires(&step);
}

#[test]
fn an_extra_header_that_cannot_be_sent_is_refused_without_its_value() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let server = HttpServer::start(remote.root());

    for header in ["X-Token: s3cret\r\nX-More: 1", "X Token: s3cret"] {
        let step = Step::on(&remote, "aws")
            .set("uri", server.uri())
            .set("git_config", config(&[("http.extraHeader", header)]));
        let answer = fails_at_once(&step, &["http.extraHeader"]);
        assert!(!answer.stderr.contains("s3cret"), "{}", answer.stderr);
    }
}

#[test]
fn instead_of_puts_the_longest_start_that_fits_elsewhere() {
    let site = Site::new();
    let folder = site.server.uri().replace("locks.git", "");
    let step = site.trusting().set("uri", "locks:mine/locks.git").set(
        "git_config",
        config(&[
            ("url.https://127.0.0.1:1/.insteadOf", "locks:"),
            (&format!("url.{folder}.insteadOf"), "locks:mine/"),
            ("url.https://127.0.0.1:1/.insteadOf", "lock"),
        ]),
    );

    site.assert_acquires(&step);
}

#[test]
fn credentials_that_instead_of_puts_in_are_used() {
    let site = Site::with_user();
    let signed_in = site
        .server
        .uri()
        .replace("://", &format!("://{USER}:{PASSWORD}@"));
    let step = site.trusting().set(
        "git_config",
        config(&[(&format!("url.{signed_in}.insteadOf"), &site.server.uri())]),
    );

    site.assert_acquires(&step);
}

#[test]
fn a_setting_that_means_nothing_to_us_gives_one_line_and_does_no_harm() {
    let site = Site::new();
    let step = site.trusting().set(
        "git_config",
        config(&[
            ("core.compression", "9"),
            ("user.name", "Al"),
            ("credential.helper", "!echo s3cret"),
            ("http.postBuffer", "$(id)"),
        ]),
    );

    let answer = step.put(json!({"acquire": true}));

    assert_eq!(answer.version(), site.remote.head());
    let (notes, result) = answer
        .stderr
        .split_at(answer.stderr.find("claimed `").unwrap());
    assert_eq!(result.lines().count(), 1);
    assert_eq!(
        notes,
        "note: the setting `core.compression` in `git_config` has no effect here\n\
         note: the setting `credential.helper` in `git_config` has no effect here\n\
         note: the setting `http.postBuffer` in `git_config` has no effect here\n"
    );
}

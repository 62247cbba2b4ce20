//! HTTP proxies by squid: tunnels for SSH and HTTPS, and plain HTTP as the environment and the settings of Git ask for it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use support::server::faulty::Faulty;
use support::server::free_port;
use support::server::http::{self, HttpServer};
use support::server::squid::Squid;
use support::server::ssh::{Key, SshServer, run};
use support::{Answer, Step, TestRemote, wait_until};

const PASSWORD: &str = "MARKER p%w:@/ü";

/// As above, in a URL.
const IN_URL: &str = "MARKER%20p%25w%3A%40%2F%C3%BC";

/// As a request carries it with the user `alice`, without the end, which depends on what follows.
const IN_HEADER: &str = "YWxpY2U6TUFSS0VSIHAldzpAL";

/// A repository that is served in three ways.
struct Place {
    remote: TestRemote,
    http: HttpServer,
    https: HttpServer,
    certificate: TempDir,
    ssh: SshServer,
    key: Key,
}

impl Place {
    fn new() -> Place {
        let remote = TestRemote::with_pool("aws", &["env-1"]);
        let key = Key::new();
        let certificate = tempfile::tempdir().unwrap();
        let file = |name: &str| certificate.path().join(name).display().to_string();
        run(
            "openssl",
            &[
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=test",
                "-addext",
                "subjectAltName=IP:127.0.0.1,DNS:localhost",
                "-addext",
                "basicConstraints=critical,CA:FALSE",
                "-keyout",
                &file("key"),
                "-out",
                &file("cert"),
            ],
        );
        let both = std::fs::read_to_string(file("key")).unwrap()
            + &std::fs::read_to_string(file("cert")).unwrap();
        std::fs::write(file("both"), both).unwrap();
        let options = http::Options {
            certificate: Some(&certificate.path().join("both")),
            ..http::Options::default()
        };
        Place {
            http: HttpServer::start(remote.root()),
            https: HttpServer::with(remote.root(), &options),
            ssh: SshServer::start(remote.root(), &key),
            remote,
            certificate,
            key,
        }
    }

    fn over_http(&self) -> Step {
        Step::on(&self.remote, "aws").set("uri", self.http.uri())
    }

    fn over_https(&self) -> Step {
        let certificate = std::fs::read_to_string(self.certificate.path().join("cert")).unwrap();
        Step::on(&self.remote, "aws")
            .set("uri", self.https.uri())
            .set("ca_cert", certificate)
    }

    fn over_ssh(&self) -> Step {
        Step::on(&self.remote, "aws")
            .set("uri", self.ssh.uri())
            .set("private_key", self.key.private())
    }
}

fn tunnel(port: u16) -> Value {
    json!({"proxy_host": "127.0.0.1", "proxy_port": port})
}

fn tunnel_as(port: u16, user: &str, password: &str) -> Value {
    json!({"proxy_host": "127.0.0.1", "proxy_port": port, "proxy_user": user, "proxy_password": password})
}

fn http_proxy(url: &str) -> Value {
    json!([{"name": "http.proxy", "value": url}])
}

/// Takes the only lock, fetches it and gives it back; shows no password.
#[track_caller]
fn lock_goes_round(step: &Step) {
    let claimed = step.put(json!({"acquire": true}));
    let (got, folder) = step.get(&claimed.version());
    let released = step.put_folder("release", &folder);
    let checked = step.check(Some(&claimed.version()));
    assert_eq!(checked.versions(), [claimed.version(), released.version()]);
    for answer in [&claimed, &got, &released, &checked] {
        shows_no_password(answer);
    }
}

#[track_caller]
fn shows_no_password(answer: &Answer) {
    for secret in ["MARKER", IN_HEADER] {
        assert!(!answer.stdout.contains(secret), "{}", answer.stdout);
        assert!(!answer.stderr.contains(secret), "{}", answer.stderr);
    }
}

/// All programs fail soon, without another try, with these words and no password.
#[track_caller]
fn is_turned_away(step: &Step, words: &[&str]) {
    let runs: [&dyn Fn() -> Answer; 3] = [
        &|| step.put(json!({"acquire": true})),
        &|| step.get(&"1".repeat(40)).0,
        &|| step.check(None),
    ];
    for run in runs {
        let started = Instant::now();
        let answer = run();
        assert!(
            started.elapsed() < Duration::from_secs(15),
            "{}",
            answer.stderr
        );
        answer.assert_failed(words);
        assert!(!answer.stderr.contains("trying again"), "{}", answer.stderr);
        shows_no_password(&answer);
    }
}

/// Waits until the proxy has logged a request with these words; it does when the request has ended.
#[track_caller]
fn went_through(proxy: &Squid, words: &str) {
    wait_until(&format!("the proxy has seen {words}"), || {
        proxy.log().contains(words)
    });
}

/// A proxy's name in messages.
fn name(port: u16) -> String {
    format!("the proxy 127.0.0.1:{port}")
}

#[test]
fn a_lock_goes_round_through_a_tunnel_over_ssh_and_https() {
    let place = Place::new();
    let proxy = Squid::start();
    let port = proxy.port();

    lock_goes_round(&place.over_ssh().set("https_tunnel", tunnel(port)));
    lock_goes_round(&place.over_https().set("https_tunnel", tunnel(port)));

    let connect = |port: u16| format!("CONNECT 127.0.0.1:{port}");
    went_through(&proxy, &connect(place.ssh.port()));
    went_through(&proxy, &connect(place.https.port()));
}

#[test]
fn a_lock_goes_round_through_a_tunnel_that_wants_a_password() {
    let place = Place::new();
    let proxy = Squid::with_user("alice", PASSWORD);
    let tunnel = tunnel_as(proxy.port(), "alice", PASSWORD);

    for step in [place.over_ssh(), place.over_https(), place.over_http()] {
        lock_goes_round(&step.set("https_tunnel", tunnel.clone()));
    }

    // It is given at once, without waiting to be asked.
    let denied = |proxy: &Squid| proxy.log().matches("/407").count();
    assert_eq!(denied(&proxy), 0, "{}", proxy.log());
}

#[test]
fn the_port_of_a_tunnel_may_be_a_string() {
    let place = Place::new();
    let proxy = Squid::start();
    let tunnel = json!({"proxy_host": "localhost", "proxy_port": proxy.port().to_string()});

    let answer = place.over_ssh().set("https_tunnel", tunnel).check(None);

    assert_eq!(answer.versions(), [place.remote.head()]);
    went_through(&proxy, "CONNECT ");
}

#[test]
fn a_wrong_or_missing_password_of_the_proxy_is_named_as_the_proxys_at_once() {
    let place = Place::new();
    let proxy = Squid::with_user("alice", "the right one");
    let port = proxy.port();
    let words = [name(port), "407".to_owned()];
    let words = [&*words[0], &*words[1]];

    let url = proxy.url(&format!("alice:{IN_URL}@"));
    for kind in [Place::over_ssh, Place::over_https, Place::over_http] {
        let wrong = tunnel_as(port, "alice", PASSWORD);
        is_turned_away(&kind(&place).set("https_tunnel", wrong), &words);
        is_turned_away(&kind(&place).set("https_tunnel", tunnel(port)), &words);
    }
    for kind in [Place::over_https, Place::over_http] {
        is_turned_away(&kind(&place).set("git_config", http_proxy(&url)), &words);
        is_turned_away(&kind(&place).env("ALL_PROXY", &url), &words);
    }
}

#[test]
fn a_proxy_that_lets_nobody_through_is_named_as_such_at_once() {
    let place = Place::new();
    let proxy = Squid::denying();
    let words = [name(proxy.port()), "403".to_owned()];
    let words = [&*words[0], &*words[1]];

    for step in [place.over_ssh(), place.over_https(), place.over_http()] {
        is_turned_away(
            &step.set("https_tunnel", tunnel_as(proxy.port(), "alice", PASSWORD)),
            &words,
        );
    }
    for step in [place.over_https(), place.over_http()] {
        let url = proxy.url(&format!("alice:{IN_URL}@"));
        is_turned_away(&step.set("git_config", http_proxy(&url)), &words);
    }
}

#[test]
fn the_environments_proxy_is_used_for_http_and_https_with_its_password() {
    let place = Place::new();
    let proxy = Squid::with_user("alice", PASSWORD);
    let url = proxy.url(&format!("alice:{IN_URL}@"));
    let bare = url.strip_prefix("http://").unwrap();

    for variable in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
        lock_goes_round(&place.over_http().env(variable, &url));
    }
    for variable in ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        lock_goes_round(&place.over_https().env(variable, &url));
    }
    lock_goes_round(&place.over_http().env("http_proxy", bare));

    let log = proxy.log();
    assert_eq!(log.matches("/407").count(), 0, "{log}");
    let requests = log.matches(&place.http.uri()).count();
    assert!(requests >= 5 * 4, "{log}");
    let tunnels = format!("CONNECT 127.0.0.1:{}", place.https.port());
    wait_until("each step over HTTPS has had its tunnel", || {
        proxy.log().matches(&tunnels).count() >= 4 * 4
    });
}

#[test]
fn each_variable_is_for_its_own_kind_of_uri() {
    let place = Place::new();
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let head = [place.remote.head()];

    for variable in ["HTTPS_PROXY", "https_proxy"] {
        let answer = place.over_http().env(variable, &nobody).check(None);
        assert_eq!(answer.versions(), head, "{variable}");
    }
    for variable in ["HTTP_PROXY", "http_proxy"] {
        let answer = place.over_https().env(variable, &nobody).check(None);
        assert_eq!(answer.versions(), head, "{variable}");
    }
    // Nor is SSH led through any.
    for variable in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        let answer = place.over_ssh().env(variable, &nobody).check(None);
        assert_eq!(answer.versions(), head, "{variable}");
    }
    let answer = place
        .over_ssh()
        .set("git_config", http_proxy(&nobody))
        .check(None);
    assert_eq!(answer.versions(), head);
}

#[test]
fn what_no_proxy_names_is_reached_without_one() {
    let place = Place::new();
    let proxy = Squid::denying();
    let step = || place.over_http().env("HTTP_PROXY", proxy.url(""));

    for (variable, value) in [
        ("NO_PROXY", "127.0.0.1"),
        ("no_proxy", "127.0.0.1"),
        ("NO_PROXY", "example.com, 127.0.0.0/8"),
        ("NO_PROXY", "*"),
    ] {
        let answer = step().env(variable, value).check(None);
        assert_eq!(answer.versions(), [place.remote.head()], "{value}");
    }
    let by_name = step()
        .set("uri", place.http.uri().replace("127.0.0.1", "localhost"))
        .env("NO_PROXY", "localhost")
        .check(None);
    assert_eq!(by_name.versions(), [place.remote.head()]);
    assert_eq!(proxy.log(), "");
    for other in ["example.com", "27.0.0.1", "10.0.0.0/8"] {
        let answer = step().env("NO_PROXY", other).check(None);
        answer.assert_failed(&[&name(proxy.port()), "403"]);
    }
}

#[test]
fn http_proxy_of_git_config_wins_over_the_environment_and_a_tunnel_over_both() {
    let place = Place::new();
    let (right, wrong) = (Squid::start(), Squid::denying());
    let head = [place.remote.head()];

    let by_setting = place
        .over_http()
        .set("git_config", http_proxy(&right.url("")))
        .env("HTTP_PROXY", wrong.url(""))
        .env("NO_PROXY", "127.0.0.1")
        .check(None);
    let by_none = place
        .over_http()
        .set("git_config", http_proxy(""))
        .env("HTTP_PROXY", wrong.url(""))
        .check(None);
    let by_tunnel = place
        .over_https()
        .set("https_tunnel", tunnel(right.port()))
        .set("git_config", http_proxy(&wrong.url("")))
        .env("HTTPS_PROXY", wrong.url(""))
        .check(None);

    assert_eq!(by_setting.versions(), head);
    assert_eq!(by_none.versions(), head);
    assert_eq!(by_tunnel.versions(), head);
    went_through(&right, &place.http.uri());
    went_through(&right, "CONNECT ");
    assert_eq!(wrong.log(), "");
}

#[test]
fn a_lock_goes_round_through_the_proxy_of_git_config() {
    let place = Place::new();
    let proxy = Squid::with_user("alice", PASSWORD);
    let setting = http_proxy(&proxy.url(&format!("alice:{IN_URL}@")));

    lock_goes_round(&place.over_http().set("git_config", setting.clone()));
    lock_goes_round(&place.over_https().set("git_config", setting));

    went_through(&proxy, &place.http.uri());
    went_through(&proxy, "CONNECT ");
}

#[test]
fn a_proxy_that_is_down_is_waited_for() {
    let place = Place::new();
    let url = |port: u16| format!("http://127.0.0.1:{port}");
    let steps: [&dyn Fn(u16) -> Step; 3] = [
        &|port| place.over_ssh().set("https_tunnel", tunnel(port)),
        &|port| place.over_https().set("https_tunnel", tunnel(port)),
        &|port| place.over_http().env("HTTP_PROXY", url(port)),
    ];

    for step in steps {
        let port = free_port();
        let running = step(port).start_put(json!({"acquire": true}));
        running.wait_for_stderr("trying again in");
        let _proxy = Squid::on(port);
        let answer = running.finish();
        assert_eq!(answer.lock(), "env-1");
        place.remote.release_by_hand("aws", "env-1");
    }
}

#[test]
fn a_proxy_that_stays_down_or_silent_is_given_up_and_named() {
    let place = Place::new();
    let silent = Faulty::silent();
    for port in [free_port(), silent.port()] {
        let url = format!("http://alice:{IN_URL}@127.0.0.1:{port}");
        for step in [
            place
                .over_ssh()
                .set("https_tunnel", tunnel_as(port, "alice", PASSWORD)),
            place
                .over_https()
                .set("https_tunnel", tunnel_as(port, "alice", PASSWORD)),
            place.over_https().env("HTTPS_PROXY", &url),
            place.over_http().env("HTTP_PROXY", &url),
        ] {
            let started = Instant::now();
            let answer = step
                .set("fault_timeout", "1s")
                .set("silence_timeout", "300ms")
                .set("connect_timeout", "300ms")
                .put(json!({"acquire": true}));

            assert!(started.elapsed() < Duration::from_secs(15));
            answer.assert_failed(&["gave up after", &format!("proxy 127.0.0.1:{port}")]);
            shows_no_password(&answer);
        }
    }
}

#[test]
fn a_server_that_is_down_behind_a_proxy_is_waited_for_too() {
    let place = Place::new();
    let proxy = Squid::start();
    let port = free_port();
    let place_of = |step: Step, scheme: &str| {
        step.set("uri", format!("{scheme}://127.0.0.1:{port}/x.git"))
            .set("https_tunnel", tunnel(proxy.port()))
            .set("fault_timeout", "500ms")
    };

    for step in [
        place_of(place.over_ssh(), "ssh"),
        place_of(place.over_https(), "https"),
        place_of(place.over_http(), "http"),
    ] {
        let answer = step.put(json!({"acquire": true}));

        answer.assert_failed(&[
            "gave up after",
            "503",
            &format!("proxy 127.0.0.1:{}", proxy.port()),
        ]);
    }
}

#[test]
fn what_is_no_proxy_is_named_and_shows_no_password() {
    let place = Place::new();
    let banner = Faulty::start(|_| Some("220 mail.example.com ESMTP\r\n\r\n".to_owned()));

    let answer = place
        .over_ssh()
        .set("https_tunnel", tunnel_as(banner.port(), "alice", PASSWORD))
        .check(None);
    answer.assert_failed(&[&name(banner.port()), "not as an HTTP proxy does"]);
    shows_no_password(&answer);

    for url in [
        format!("socks5://alice:{IN_URL}@127.0.0.1:1"),
        "::: MARKER".to_owned(),
    ] {
        let by_setting = place
            .over_http()
            .set("git_config", http_proxy(&url))
            .check(None);
        by_setting.assert_failed(&["`http.proxy` in `git_config`"]);
        shows_no_password(&by_setting);
    }
    let socks = format!("socks5://alice:{IN_URL}@127.0.0.1:1");
    let by_environment = place.over_http().env("HTTP_PROXY", socks).check(None);
    by_environment.assert_failed(&["the environment's proxy"]);
    shows_no_password(&by_environment);
}

#[test]
fn the_servers_password_is_not_for_the_proxy_nor_the_proxys_for_the_server() {
    let refused = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let proxy = Faulty::answering(refused);
    let source = |scheme: &str| {
        Step::with_source(json!({
            "uri": format!("{scheme}://git.example.com/x.git"), "branch": "main", "pool": "aws",
            "username": "bob", "password": "for-the-server", "fault_timeout": "50ms", "silence_timeout": "300ms",
            "https_tunnel": tunnel_as(proxy.port(), "alice", "for-the-proxy"),
        }))
    };

    source("https").check(None);
    let heard = proxy.heard();

    assert!(!heard.is_empty());
    for head in heard {
        assert!(
            head.starts_with("CONNECT git.example.com:443 HTTP/1.1\r\n"),
            "{head}"
        );
        let lower = head.to_ascii_lowercase();
        assert!(lower.contains("\r\nproxy-authorization: basic "), "{head}");
        assert!(!lower.contains("\r\nauthorization:"), "{head}");
    }
}

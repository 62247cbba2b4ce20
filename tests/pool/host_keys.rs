//! Whether an SSH server is the one that it should be.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;

use support::server::ssh::{Key, Options, SshServer, run};
use support::{Answer, Pool, Step, TestRemote};

/// A repository, a server that has these host keys, and the key that opens it.
struct Place {
    remote: TestRemote,
    server: SshServer,
    key: Key,
}

impl Place {
    fn new(host_keys: &[&Key], more: &str) -> Place {
        let remote = TestRemote::with_pool("aws", &["env-1"]);
        let key = Key::new();
        let options = Options {
            authorized: &[key.public()],
            host_keys,
            more,
        };
        let server = SshServer::with(remote.root(), &options);
        Place {
            remote,
            server,
            key,
        }
    }

    fn step(&self) -> Step {
        Step::on(&self.remote, "aws")
            .set("uri", self.server.uri())
            .set("private_key", self.key.private())
    }

    /// Steps that get these lines in the source.
    fn knowing(&self, lines: &str) -> Step {
        self.step().set("known_hosts", lines)
    }

    /// Steps of a user who has these lines in a file; the folder that it is in must be kept.
    fn at_home_knowing(&self, lines: impl AsRef<[u8]>) -> (Step, PathBuf) {
        let step = self.step();
        let home = step.folder();
        std::fs::create_dir(home.join(".ssh")).unwrap();
        let file = home.join(".ssh/known_hosts");
        std::fs::write(&file, lines).unwrap();
        (step.env("HOME", home), file)
    }
}

fn rsa() -> Key {
    Key::of(&["-t", "rsa", "-b", "3072"], "")
}

/// The server is taken for the right one, and nothing is said about it.
#[track_caller]
fn is_known(step: &Step) {
    let answer = step.check(None);
    assert_eq!(answer.versions().len(), 1);
    assert_eq!(answer.stderr, "");
}

/// The step fails at once, before anybody logs in.
#[track_caller]
fn is_refused(place: &Place, step: &Step, words: &[&str]) {
    for what in ["put", "check"] {
        let started = Instant::now();
        let answer = match what {
            "put" => step.put(json!({"acquire": true})),
            _ => step.check(None),
        };
        assert!(started.elapsed() < Duration::from_secs(15));
        answer.assert_failed(words);
        assert!(!answer.stderr.contains("trying again"), "{}", answer.stderr);
    }
    assert_eq!(place.server.logins_and_commands().0, 0);
}

/// The lines in which people are told that nobody vouches for a server.
fn advice(answer: &Answer) -> Vec<&str> {
    let lines = answer.stderr.lines();
    lines
        .filter(|line| line.contains("known_hosts") || line.contains("SHA256:"))
        .collect()
}

#[test]
fn the_host_key_in_the_source_is_accepted_without_a_word() {
    for host in [
        Key::new(),
        Key::of(&["-t", "ecdsa", "-b", "256"], ""),
        Key::of(&["-t", "ecdsa", "-b", "521"], ""),
        rsa(),
    ] {
        let place = Place::new(&[&host], "");
        let line = place.server.known_as(&host);

        is_known(&place.knowing(&line));
        is_known(&place.knowing(line.trim_end()));
        is_known(&place.knowing(&line.replace('\n', "\r\n")));
    }
}

#[test]
fn a_line_is_found_among_others_and_by_names_and_patterns() {
    let (host, other) = (Key::new(), Key::new());
    let place = Place::new(&[&host], "");
    let (port, public) = (place.server.port(), host.public());
    let right = place.server.known_as(&host);
    let elsewhere = format!("127.0.0.1 {0}\n[127.0.0.1]:1 {0}\n", other.public());

    for lines in [
        format!("# a comment\n\n{elsewhere}{right}"),
        format!("{right}{elsewhere}"),
        format!("git.example.com,[127.0.0.1]:{port},x {public}\n"),
        format!("[127.0.0.*]:{port} {public}\n"),
        format!("* {public}\n"),
        format!("nonsense\n[127.0.0.1]:{port} ssh-new AAAA\n{right}"),
        format!("{}{right}", place.server.known_as(&other)),
    ] {
        is_known(&place.knowing(&lines));
    }
}

#[test]
fn a_name_as_it_stands_in_the_uri_is_what_is_looked_for() {
    let host = Key::new();
    let place = Place::new(&[&host], "");
    let port = place.server.port();
    let uri = place.server.uri().replace("127.0.0.1", "LocalHost");
    let line = format!("[localhost]:{port} {}\n", host.public());

    is_known(&place.knowing(&line).set("uri", uri));
    is_refused_for_want_of_a_line(&Place::new(&[&host], ""), &line);
}

#[track_caller]
fn is_refused_for_want_of_a_line(place: &Place, lines: &str) {
    is_refused(
        place,
        &place.knowing(lines),
        &[
            "shows the host key",
            "`source.known_hosts` has no line for it",
        ],
    );
}

#[test]
fn a_hashed_line_is_found() {
    let (host, other) = (Key::new(), Key::new());
    let place = Place::new(&[&host], "");
    let hashed = |key: &Key| {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("known_hosts");
        std::fs::write(&file, place.server.known_as(key)).unwrap();
        run("ssh-keygen", &["-H", "-f", file.to_str().unwrap()]);
        std::fs::read_to_string(&file).unwrap()
    };
    assert!(hashed(&host).starts_with("|1|"));

    is_refused(
        &place,
        &place.knowing(&hashed(&other)),
        &[&host.fingerprint(), &other.fingerprint()],
    );
    is_known(&place.knowing(&hashed(&host)));
}

#[test]
fn what_ssh_keyscan_prints_can_be_used_as_it_is() {
    let (ed25519, rsa) = (Key::new(), rsa());
    let place = Place::new(&[&ed25519, &rsa], "");
    let port = place.server.port().to_string();

    for more in [&[][..], &["-H"]] {
        let printed = run("ssh-keyscan", &[&["-p", &port, "127.0.0.1"], more].concat());
        assert_eq!(
            printed
                .lines()
                .filter(|line| !line.starts_with('#'))
                .count(),
            2
        );

        is_known(&place.knowing(&printed));
    }
}

#[test]
fn of_a_servers_keys_the_one_that_is_known_is_asked_for() {
    let (ed25519, ecdsa, rsa) = (
        Key::new(),
        Key::of(&["-t", "ecdsa", "-b", "384"], ""),
        rsa(),
    );
    let place = Place::new(&[&ed25519, &ecdsa, &rsa], "");

    for key in [&ed25519, &ecdsa, &rsa] {
        is_known(&place.knowing(&place.server.known_as(key)));
        let (step, _) = place.at_home_knowing(place.server.known_as(key));
        is_known(&step);
    }
}

#[test]
fn a_host_with_another_key_is_refused_with_both_fingerprints() {
    let (host, other, third) = (Key::new(), Key::new(), rsa());
    let place = Place::new(&[&host], "");
    let lines = format!(
        "{}{}",
        place.server.known_as(&other),
        place.server.known_as(&third)
    );

    is_refused(
        &place,
        &place.knowing(&lines),
        &[
            "shows the host key",
            &host.fingerprint(),
            &other.fingerprint(),
            &third.fingerprint(),
            "`source.known_hosts`",
        ],
    );
}

#[test]
fn a_known_key_of_one_kind_does_not_vouch_for_one_of_another_kind() {
    let (host, known) = (Key::new(), rsa());
    let place = Place::new(&[&host], "");

    is_refused(
        &place,
        &place.knowing(&place.server.known_as(&known)),
        &[&host.fingerprint(), &known.fingerprint()],
    );
}

#[test]
fn a_host_without_a_line_is_refused_when_the_source_has_lines() {
    let host = Key::new();
    let place = Place::new(&[&host], "");
    let public = host.public();

    for lines in [
        format!("github.com {public}\n"),
        format!("127.0.0.1 {public}\n"),
        "# nothing\n".to_owned(),
        format!("@cert-authority * {public}\n"),
        format!("*,![127.0.0.1]:{} {public}\n", place.server.port()),
    ] {
        is_refused_for_want_of_a_line(&place, &lines);
    }
    let answer = place.knowing("# nothing\n").check(None);
    answer.assert_failed(&[&host.fingerprint()]);
}

#[test]
fn a_revoked_key_is_refused_even_when_it_is_known() {
    let host = Key::new();
    let place = Place::new(&[&host], "");
    let right = place.server.known_as(&host);

    is_refused(
        &place,
        &place.knowing(&format!("{right}@revoked {right}")),
        &[&host.fingerprint(), "revoked"],
    );
    let (step, _) = place.at_home_knowing(format!("@revoked * {}\n", host.public()));
    is_refused(&place, &step, &["revoked"]);
}

#[test]
fn the_users_own_file_is_used_when_the_source_has_no_lines() {
    let (host, other) = (Key::new(), Key::new());
    let place = Place::new(&[&host], "");
    let (right, wrong) = (place.server.known_as(&host), place.server.known_as(&other));

    let (changed, file) = place.at_home_knowing(&wrong);
    is_refused(
        &place,
        &changed,
        &[
            &host.fingerprint(),
            &other.fingerprint(),
            file.to_str().unwrap(),
        ],
    );
    let (known, _) = place.at_home_knowing(&right);
    is_known(&known);
    // The source's lines are all that counts when there are some.
    let (both, _) = place.at_home_knowing(&wrong);
    is_known(&both.set("known_hosts", right));
}

#[test]
fn a_host_that_nobody_knows_is_accepted_with_its_fingerprint_and_advice_in_one_line() {
    let host = Key::new();
    let place = Place::new(&[&host], "");
    let (elsewhere, file) = place.at_home_knowing(format!("github.com {}\n", host.public()));
    let before = std::fs::read(&file).unwrap();

    for step in [
        &place.step(),
        &place.step().env("HOME", "/nonexistent"),
        &elsewhere,
    ] {
        let acquired = step.put(json!({"acquire": true}));
        acquired.version();
        place.remote.release_by_hand("aws", "env-1");
        let checked = step.check(None);
        checked.versions();

        for answer in [&acquired, &checked] {
            let lines = advice(answer);
            assert_eq!(lines.len(), 1, "{}", answer.stderr);
            for word in [
                "warning: ",
                "127.0.0.1",
                &host.fingerprint(),
                "`source.known_hosts`",
            ] {
                assert!(lines[0].contains(word), "{word}: {}", lines[0]);
            }
        }
    }
    assert_eq!(std::fs::read(&file).unwrap(), before);
}

#[test]
fn a_file_with_a_comment_in_an_old_encoding_counts_all_the_same() {
    let (host, other) = (Key::new(), Key::new());
    let place = Place::new(&[&host], "");
    let with_comment = |key: &Key| {
        let mut lines = b"# Schl\xfcssel\n".to_vec();
        lines.extend_from_slice(place.server.known_as(key).as_bytes());
        lines
    };

    let (wrong, _) = place.at_home_knowing(with_comment(&other));
    is_refused(&place, &wrong, &[&host.fingerprint(), &other.fingerprint()]);
    let (right, _) = place.at_home_knowing(with_comment(&host));
    is_known(&right);
}

/// Somebody's command line at a server, without any host key in its settings.
fn at_the_command_line(place: &Place) -> Pool {
    Pool::on(&place.remote, "aws")
        .env("POOL_URI", place.server.uri())
        .env("POOL_PRIVATE_KEY", place.key.private())
}

#[test]
fn the_command_line_keeps_the_key_of_a_host_that_it_meets_and_refuses_another() {
    let (host, other) = (Key::new(), Key::new());
    let place = Place::new(&[&host], "");
    let pool = at_the_command_line(&place);
    let file = pool.home().join("data/pool/known_hosts");

    let first = pool.run(&["status"]);

    first.text();
    let name = file.display().to_string();
    for words in [&host.fingerprint()[..], "for the first time", &name] {
        assert!(
            first.stderr.contains(words),
            "no {words:?} in {}",
            first.stderr
        );
    }
    assert_eq!(
        std::fs::read_to_string(&file).unwrap(),
        // Without the comment, in which anything may stand.
        place.server.known_as(&host).replace(" somebody", "")
    );
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
    let second = pool.run(&["status"]);
    second.text();
    assert_eq!(second.stderr, "");

    // The server shows another key, or somebody else is in its place.
    std::fs::write(&file, place.server.known_as(&other)).unwrap();
    let logins = place.server.logins_and_commands();
    let refused = pool.run(&["status"]);
    refused.assert_code(2, &[&host.fingerprint(), &other.fingerprint(), &name]);
    assert_eq!(place.server.logins_and_commands(), logins);
}

#[test]
fn whoever_has_a_line_for_a_host_has_none_kept_and_a_key_that_cannot_be_kept_is_told() {
    let host = Key::new();
    let place = Place::new(&[&host], "");
    let pool = at_the_command_line(&place);
    let ssh = pool.home().join(".ssh");
    std::fs::create_dir(&ssh).unwrap();
    std::fs::write(ssh.join("known_hosts"), place.server.known_as(&host)).unwrap();

    let known = pool.run(&["status"]);
    known.text();
    assert_eq!(known.stderr, "");
    assert!(!pool.home().join("data").exists());

    // A home that is not there is not made.
    let nowhere = pool.home().join("nowhere");
    let homeless = at_the_command_line(&place)
        .env("HOME", &nowhere)
        .env("XDG_DATA_HOME", "");
    let answer = homeless.run(&["status"]);
    answer.text();
    assert!(
        answer.stderr.contains("nobody has said"),
        "{}",
        answer.stderr
    );
    assert!(!nowhere.exists());

    let pool = at_the_command_line(&place);
    std::fs::write(pool.home().join("data"), "").unwrap();
    let answer = pool.run(&["status"]);
    answer.text();
    assert!(
        answer.stderr.contains("cannot be kept in"),
        "{}",
        answer.stderr
    );
}

#[test]
fn a_switch_refuses_every_host_that_nobody_has_vouched_for() {
    let host = Key::new();
    let place = Place::new(&[&host], "");

    is_refused(
        &place,
        &place.step().set("strict_host_keys", true),
        &[
            &host.fingerprint(),
            "`known_hosts`, which is not there, has no line for it",
        ],
    );
    let pool = at_the_command_line(&place).env("POOL_STRICT_HOST_KEYS", "true");
    pool.run(&["status"]).assert_code(2, &[&host.fingerprint()]);
    assert!(!pool.home().join("data").exists());
    let (step, _) = place.at_home_knowing(place.server.known_as(&host));
    is_known(&step.set("strict_host_keys", true));
}

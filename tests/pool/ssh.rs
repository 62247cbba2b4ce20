//! SSH by OpenSSH's own server: forms of uris, of keys and of ways to be turned away.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use support::cli::Cli;
use support::remote::Hand;
use support::server::faulty::Faulty;
use support::server::ssh::{Agent, Key, Options, SshServer, run, user};
use support::{Answer, Step, TestRemote};

const PASSPHRASE: &str = "MARKER pässphrase \"'$x";

fn step(remote: &TestRemote, server: &SshServer, key: &Key) -> Step {
    Step::on(remote, "aws")
        .set("uri", server.uri())
        .set("private_key", key.private())
}

/// Takes the only lock, fetches it and gives it back.
#[track_caller]
fn lock_goes_round(step: &Step) {
    let claimed = step.put(json!({"acquire": true}));
    let (got, folder) = step.get(&claimed.version());
    assert_eq!(
        (claimed.lock().as_str(), got.lock().as_str()),
        ("env-1", "env-1")
    );
    let released = step.put_folder("release", &folder);
    assert_eq!(
        step.check(Some(&claimed.version())).versions(),
        [claimed.version(), released.version()]
    );
}

/// Runs all three programs: each fails soon, is not tried again, says these words and shows nothing of the secrets.
#[track_caller]
fn is_turned_away(step: &Step, words: &[&str], secrets: &[&str]) {
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
        shows_none_of(&answer, secrets);
    }
    leaves_none_of(step.temporary(), secrets);
}

#[track_caller]
fn shows_none_of(answer: &Answer, secrets: &[&str]) {
    for secret in secrets.iter().flat_map(|secret| pieces(secret)) {
        let told = format!("{}{}", answer.stdout, answer.stderr);
        assert!(!told.contains(secret), "{secret:?} in {told}");
    }
}

/// No file and no file's name in a folder has a piece of the secrets in it.
#[track_caller]
fn leaves_none_of(folder: &Path, secrets: &[&str]) {
    for entry in std::fs::read_dir(folder).unwrap() {
        // A program that still runs may take its files away meanwhile.
        let Ok(path) = entry.map(|entry| entry.path()) else {
            continue;
        };
        if path.is_dir() {
            leaves_none_of(&path, secrets);
            continue;
        }
        let mut bytes = path.as_os_str().as_encoded_bytes().to_vec();
        bytes.extend(std::fs::read(&path).unwrap_or_default());
        let text = String::from_utf8_lossy(&bytes);
        for secret in secrets.iter().flat_map(|secret| pieces(secret)) {
            assert!(!text.contains(secret), "{secret:?} in {}", path.display());
        }
    }
}

/// The lines of a key, without those around it that every key has; a passphrase is one piece.
fn pieces(secret: &str) -> impl Iterator<Item = &str> {
    secret
        .lines()
        .filter(|line| !line.starts_with("-----") && !line.is_empty())
}

#[test]
fn a_lock_goes_round_over_ssh() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let key = Key::new();
    let server = SshServer::start(remote.root(), &key);

    lock_goes_round(&step(&remote, &server, &key));

    remote.fsck();
}

#[test]
fn every_form_of_an_ssh_uri_leads_to_the_repository() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let odd = "it's \"my\" $HOME locks;.git";
    std::os::unix::fs::symlink("locks.git", remote.root().join(odd)).unwrap();
    let key = Key::new();
    let server = SshServer::start(remote.root(), &key);
    let (user, port, path) = (user(), server.port(), remote.uri());
    let place = format!("{user}@127.0.0.1:{port}");
    // sshd starts commands in the home that the user really has.
    let home = run("getent", &["passwd", &user]);
    let home = Path::new(home.split(':').nth(5).unwrap());
    let up = "../".repeat(home.components().count() - 1);

    for uri in [
        format!("ssh://{place}{path}"),
        format!("SSH://{place}{path}"),
        format!("git+ssh://{place}{path}"),
        format!("ssh://{user}@localhost:{port}{path}"),
        format!("ssh://{place}/~/locks.git"),
        format!("ssh://{place}/~/it%27s%20%22my%22%20$HOME%20locks;.git"),
        format!("[{place}]:{path}"),
        format!("[{place}]:~/locks.git"),
        format!("[{place}]:~/{odd}"),
        format!("[{place}]:{up}{}", path.trim_start_matches('/')),
    ] {
        let versions = step(&remote, &server, &key)
            .set("uri", uri.as_str())
            .check(None)
            .versions();

        assert_eq!(versions, [remote.head()], "{uri}");
    }
}

#[test]
fn a_server_with_nothing_but_what_openssh_also_takes_is_connected_to() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let key = Key::new();
    for more in [
        "KexAlgorithms ecdh-sha2-nistp256",
        "KexAlgorithms ecdh-sha2-nistp384",
        "KexAlgorithms ecdh-sha2-nistp521",
        "KexAlgorithms diffie-hellman-group14-sha256",
        "MACs hmac-sha1\nCiphers aes128-ctr",
        "MACs hmac-sha1-etm@openssh.com\nCiphers aes256-ctr",
    ] {
        let options = Options {
            authorized: &[key.public()],
            more,
            ..Options::default()
        };
        let server = SshServer::with(remote.root(), &options);

        let answer = step(&remote, &server, &key).check(None);

        assert_eq!(
            answer.versions(),
            [remote.head()],
            "{more}: {}",
            answer.stderr
        );
    }
}

#[test]
fn a_server_with_nothing_that_is_supported_is_told_by_what_it_offers() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let key = Key::new();
    let options = Options {
        authorized: &[key.public()],
        more: "KexAlgorithms diffie-hellman-group1-sha1",
        ..Options::default()
    };
    let server = SshServer::with(remote.root(), &options);

    let answer = step(&remote, &server, &key).check(None);

    answer.assert_failed(&["no key exchange", "diffie-hellman-group1-sha1"]);
    assert!(!answer.stderr.contains('['), "{}", answer.stderr);
}

#[test]
fn every_kind_of_key_in_every_form_is_taken() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let kinds: [&[&str]; 5] = [
        &["-t", "ed25519"],
        &["-t", "ecdsa", "-b", "256"],
        &["-t", "ecdsa", "-b", "384"],
        &["-t", "ecdsa", "-b", "521"],
        &["-t", "rsa", "-b", "3072"],
    ];
    let mut keys = Vec::new();
    for kind in kinds {
        // ssh-keygen writes ed25519 in its own form only.
        let forms: &[&str] = if kind.contains(&"ed25519") {
            &["RFC4716"]
        } else {
            &["RFC4716", "PEM", "PKCS8"]
        };
        for form in forms {
            for passphrase in ["", PASSPHRASE] {
                // Of these there are some that cannot be read.
                let key = match kind.contains(&"256") {
                    true => Key::of_256_bits(false, passphrase),
                    false => Key::of(kind, passphrase),
                };
                key.convert(form);
                keys.push((format!("{kind:?} {form} {passphrase}"), key, passphrase));
            }
        }
    }
    let authorized: Vec<String> = keys.iter().map(|(_, key, _)| key.public()).collect();
    let options = Options {
        authorized: &authorized,
        ..Options::default()
    };
    let server = SshServer::with(remote.root(), &options);

    let mut refused = Vec::new();
    for (what, key, passphrase) in &keys {
        let step = step(&remote, &server, key).set("private_key_passphrase", *passphrase);
        let answer = step.check(None);
        shows_none_of(&answer, &[&key.private(), PASSPHRASE]);
        if answer.code != Some(0) {
            refused.push(format!("{what}: {}", answer.stderr));
        }
    }

    assert_eq!(refused, [""; 0]);
}

#[test]
fn a_key_that_no_library_reads_in_this_form_is_refused_with_the_way_to_one_that_is_taken() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let key = Key::of_256_bits(true, "");
    let options = Options {
        authorized: &[key.public()],
        ..Options::default()
    };
    let server = SshServer::with(remote.root(), &options);

    let refused = step(&remote, &server, &key).check(None);
    refused.assert_failed(&["one in 512", "ssh-keygen -p -m PEM"]);
    shows_none_of(&refused, &[&key.private()]);

    key.convert("PEM");
    let taken = step(&remote, &server, &key).check(None);
    assert_eq!(taken.code, Some(0), "{}", taken.stderr);
}

#[test]
fn an_ed25519_key_that_openssl_has_made_is_taken() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    for passphrase in ["", "MARKER"] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        let mut args = vec!["genpkey", "-algorithm", "ed25519"];
        let with = format!("pass:{passphrase}");
        if !passphrase.is_empty() {
            args.extend(["-aes-256-cbc", "-pass", &with]);
        }
        let private = run("openssl", &args);
        std::fs::write(&file, &private).unwrap();
        // The public half, which ssh-keygen does not read from this form: the last 32 bytes of its DER.
        let file = file.to_str().unwrap();
        let public = format!(
            "(printf '\\0\\0\\0\\013ssh-ed25519\\0\\0\\0 '; openssl pkey -in {file} -passin '{with}' -pubout -outform DER | tail -c 32) | base64 -w0"
        );
        let public = format!("ssh-ed25519 {}", run("sh", &["-c", &public]));
        let options = Options {
            authorized: &[public],
            ..Options::default()
        };
        let server = SshServer::with(remote.root(), &options);

        let answer = Step::on(&remote, "aws")
            .set("uri", server.uri())
            .set("private_key", private)
            .set("private_key_passphrase", passphrase)
            .check(None);

        assert_eq!(answer.versions(), [remote.head()]);
    }
}

#[test]
fn a_key_that_openssl_has_put_under_a_passphrase_is_taken_unless_the_cipher_is_too_old() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let key = Key::of_256_bits(false, "");
    key.convert("PEM");
    let server = SshServer::start(remote.root(), &key);
    let encrypted = |cipher: &str| {
        let (file, with) = (key.file(), format!("pass:{PASSPHRASE}"));
        let file = file.to_str().unwrap();
        let text = run("openssl", &["ec", "-in", file, cipher, "-passout", &with]);
        step(&remote, &server, &key)
            .set("private_key", text)
            .set("private_key_passphrase", PASSPHRASE)
    };

    for cipher in ["-aes-128-cbc", "-aes-192-cbc", "-aes-256-cbc"] {
        let answer = encrypted(cipher).check(None);

        assert_eq!(answer.versions(), [remote.head()], "{cipher}");
    }
    is_turned_away(
        &encrypted("-des-ede3-cbc"),
        &["`source.private_key` cannot be read", "cipher"],
        &[PASSPHRASE],
    );
}

#[test]
fn a_key_that_an_editor_or_yaml_has_been_at_is_taken() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let keys = [Key::new(), Key::of(&["-t", "rsa", "-b", "3072"], "")];
    keys[1].convert("PEM");
    let options = Options {
        authorized: &[keys[0].public(), keys[1].public()],
        ..Options::default()
    };
    let server = SshServer::with(remote.root(), &options);

    for key in &keys {
        let text = key.private();
        for text in [
            text.replace('\n', "\r\n"),
            text.trim_end().to_owned(),
            text.trim_end().replace('\n', "\r\n"),
            format!("\n\n  {}\n\n", text.replace('\n', "\n  ")),
            text.replace('\n', "  \n"),
        ] {
            let answer = step(&remote, &server, key)
                .set("private_key", text.as_str())
                .check(None);

            assert_eq!(answer.versions(), [remote.head()], "{text:?}");
        }
    }
}

#[test]
fn a_key_that_cannot_be_read_is_named_at_once_and_not_shown() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let (open, locked) = (
        Key::new(),
        Key::of(&["-t", "ed25519"], "the right MARKER-A"),
    );
    let pem = Key::of(&["-t", "rsa", "-b", "3072"], "the right MARKER-A");
    pem.convert("PEM");
    let pkcs8 = Key::of(&["-t", "ecdsa"], "the right MARKER-A");
    pkcs8.convert("PKCS8");
    let server = SshServer::start(remote.root(), &open);

    for key in [&locked, &pem, &pkcs8] {
        let text = key.private();
        let secrets = [text.as_str(), "MARKER"];
        let wrong = step(&remote, &server, key).set("private_key_passphrase", "MARKER-B");
        is_turned_away(
            &wrong,
            &["`source.private_key` cannot be read with this `private_key_passphrase`"],
            &secrets,
        );
        is_turned_away(
            &step(&remote, &server, key),
            &["`source.private_key` cannot be read without a `private_key_passphrase`"],
            &secrets,
        );
    }
    let cut = open.private().replace("-----END", "MARKER\n-----END");
    for garbage in ["MARKER", &cut, &open.public(), &cut[..200]] {
        let step = step(&remote, &server, &open).set("private_key", garbage);
        is_turned_away(
            &step,
            &["`source.private_key`"],
            &[garbage, &open.private()],
        );
    }
}

#[test]
fn a_passphrase_that_the_key_does_not_need_does_no_harm() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let keys = [Key::new(), Key::of(&["-t", "rsa", "-b", "3072"], "")];
    keys[1].convert("PKCS8");
    let options = Options {
        authorized: &[keys[0].public(), keys[1].public()],
        ..Options::default()
    };
    let server = SshServer::with(remote.root(), &options);

    for key in &keys {
        let step = step(&remote, &server, key).set("private_key_passphrase", PASSPHRASE);

        assert_eq!(step.check(None).versions(), [remote.head()]);
    }
}

#[test]
fn a_key_that_the_server_does_not_know_is_named_by_its_fingerprint() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let other = Key::of(&["-t", "ed25519"], PASSPHRASE);
    let server = SshServer::start(remote.root(), &Key::new());
    let step = step(&remote, &server, &other).set("private_key_passphrase", PASSPHRASE);

    is_turned_away(
        &step,
        &[
            "does not let us in",
            &other.fingerprint(),
            &format!("the user `{}`", user()),
        ],
        &[&other.private(), PASSPHRASE],
    );
}

#[test]
fn without_a_key_and_an_agent_it_is_said_that_one_is_needed() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let server = SshServer::start(remote.root(), &Key::new());
    let step = Step::on(&remote, "aws").set("uri", server.uri());

    is_turned_away(
        &step,
        &["does not let us in", "`private_key`", "agent"],
        &[],
    );
}

#[test]
fn a_missing_repository_is_named() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let key = Key::new();
    let server = SshServer::start(remote.root(), &key);
    std::fs::create_dir(remote.root().join("empty")).unwrap();

    for name in ["no-such.git", "empty"] {
        let uri = format!(
            "{}{}/{name}",
            server.uri_of_server(),
            remote.root().display()
        );
        is_turned_away(
            &step(&remote, &server, &key).set("uri", uri.as_str()),
            &["there is no repository at", &uri],
            &[&key.private()],
        );
    }
}

#[test]
fn what_hosts_say_of_a_repository_that_may_not_be_seen_ends_at_once() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    for said in [
        "ERROR: Repository not found.",
        "ERROR: The project you were looking for could not be found or you don't have permission to view it.",
        "Gitea: Cannot find repository: ops/locks",
        "repository access denied. access via a deployment key is read-only.",
    ] {
        let key = Key::new();
        let line = format!(
            "command=\"printf '%s\\n' \\\"{said}\\\" >&2; exit 1\" {}",
            key.public()
        );
        let options = Options {
            authorized: &[line],
            ..Options::default()
        };
        let server = SshServer::with(remote.root(), &options);

        is_turned_away(&step(&remote, &server, &key), &[said], &[&key.private()]);
    }
}

#[test]
fn a_key_that_may_only_read_can_check_and_get_and_a_put_says_why_it_cannot() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let claimed = Step::on(&remote, "aws").put(json!({"acquire": true}));
    remote.release_by_hand("aws", "env-1");
    remote.commit(
        "another",
        &[Hand::Put("aws/unclaimed/env-2", "100644", b"")],
    );
    let before = remote.count();
    for said in [
        "ERROR: The key you are authenticating with has been marked as read only.",
        "ERROR: This deploy key does not have write access to this project.",
        "Gitea: Deploy Key: 5:ci is not authorized to write to ops/locks.",
        "Unauthorized",
    ] {
        let key = Key::new();
        let line = format!(
            "command=\"case $SSH_ORIGINAL_COMMAND in git-upload-pack*) eval $SSH_ORIGINAL_COMMAND;; *) \
             printf '%s\\n' \\\"{said}\\\" >&2; exit 1;; esac\" {}",
            key.public()
        );
        let options = Options {
            authorized: &[line],
            ..Options::default()
        };
        let server = SshServer::with(remote.root(), &options);
        let step = step(&remote, &server, &key);

        let started = Instant::now();
        let put = step.put(json!({"acquire": true}));
        assert!(started.elapsed() < Duration::from_secs(15));
        put.assert_failed(&["does not let us in", said]);
        assert!(!put.stderr.contains("trying again"), "{}", put.stderr);
        shows_none_of(&put, &[&key.private()]);
        assert_eq!(step.check(None).versions(), [remote.head()]);
        step.get(&claimed.version())
            .0
            .assert_failed(&["lock instance is no longer acquired"]);
    }
    assert_eq!(remote.count(), before);
}

#[test]
fn the_user_of_the_uri_wins_and_the_other_one_is_used_without() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let key = Key::new();
    let server = SshServer::start(remote.root(), &key);
    let bare = format!("ssh://127.0.0.1:{}{}", server.port(), remote.uri());
    let note = format!(
        "note: the user `{}` of `uri` is used, not `private_key_user`",
        user()
    );

    let differ = step(&remote, &server, &key)
        .set("private_key_user", "nobody")
        .check(None);
    let same = step(&remote, &server, &key)
        .set("private_key_user", user())
        .check(None);
    let alone = step(&remote, &server, &key)
        .set("uri", bare.as_str())
        .set("private_key_user", user())
        .check(None);
    let neither = step(&remote, &server, &key)
        .set("uri", bare.as_str())
        .check(None);

    for answer in [&differ, &same, &alone] {
        assert_eq!(answer.versions(), [remote.head()]);
    }
    assert_eq!(
        differ.stderr.lines().filter(|line| *line == note).count(),
        1,
        "{}",
        differ.stderr
    );
    assert!(!same.stderr.contains("is used"), "{}", same.stderr);
    assert!(!alone.stderr.contains("is used"), "{}", alone.stderr);
    neither.assert_failed(&["the user `git`"]);
}

#[test]
fn forward_agent_is_said_to_have_no_effect() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let key = Key::new();
    let server = SshServer::start(remote.root(), &key);

    let with = step(&remote, &server, &key)
        .set("forward_agent", true)
        .check(None);
    let without = step(&remote, &server, &key)
        .set("forward_agent", false)
        .check(None);

    assert_eq!(with.versions(), without.versions());
    let notes = |answer: &Answer| {
        let lines = answer.stderr.lines();
        lines
            .filter(|line| line.starts_with("note: `forward_agent` has no effect"))
            .count()
    };
    assert_eq!((notes(&with), notes(&without)), (1, 0));
}

#[test]
fn without_a_key_an_agent_is_asked_and_the_right_one_of_its_keys_found() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    for kind in [
        &["-t", "ed25519"][..],
        &["-t", "ecdsa"],
        &["-t", "rsa", "-b", "3072"],
    ] {
        let (key, others) = (Key::of(kind, ""), [Key::new(), Key::new()]);
        let server = SshServer::start(remote.root(), &key);
        let agent = Agent::start(&[&others[0], &others[1], &key]);
        let step = Step::on(&remote, "aws")
            .set("uri", server.uri())
            .env("SSH_AUTH_SOCK", agent.socket());

        lock_goes_round(&step);
    }
}

#[test]
fn a_key_in_the_source_is_used_and_no_agent_asked() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let (key, other) = (Key::new(), Key::new());
    let server = SshServer::start(remote.root(), &key);
    let agent = Agent::start(&[&key]);

    let by_key = step(&remote, &server, &key)
        .env("SSH_AUTH_SOCK", "/nonexistent")
        .check(None);
    let by_wrong_key = step(&remote, &server, &other).env("SSH_AUTH_SOCK", agent.socket());

    assert_eq!(by_key.versions(), [remote.head()]);
    is_turned_away(
        &by_wrong_key,
        &["does not let us in", &other.fingerprint()],
        &[&other.private()],
    );
}

#[test]
fn an_agent_without_a_key_that_fits_or_that_is_gone_is_named() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let server = SshServer::start(remote.root(), &Key::new());
    let step = |socket: &Path| {
        Step::on(&remote, "aws")
            .set("uri", server.uri())
            .env("SSH_AUTH_SOCK", socket)
    };
    let (empty, wrong) = (Agent::start(&[]), Agent::start(&[&Key::new(), &Key::new()]));
    let gone = Path::new("/nonexistent/agent");

    is_turned_away(&step(&empty.socket()), &["the agent's 0 keys"], &[]);
    is_turned_away(&step(&wrong.socket()), &["the agent's 2 keys"], &[]);
    is_turned_away(&step(gone), &["the agent at `/nonexistent/agent`"], &[]);
}

#[test]
fn an_acquire_is_one_login_with_one_command_to_fetch_and_one_to_push() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let key = Key::new();
    let server = SshServer::start(remote.root(), &key);
    let step = step(&remote, &server, &key);

    step.put(json!({"acquire": true})).version();
    let after_acquire = server.logins_and_commands();
    step.check(None).versions();
    let after_check = server.logins_and_commands();

    assert_eq!(after_acquire, (1, 2), "{}", server.log());
    assert_eq!(after_check, (2, 3), "{}", server.log());
}

#[test]
fn a_short_run_of_a_command_logs_in_once() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let key = Key::new();
    let server = SshServer::start(remote.root(), &key);
    let cli = Cli::on(&server.uri())
        .env("POOL_NAME", "aws")
        .env("POOL_PRIVATE_KEY", key.private());

    cli.text(&["run", "env-1", "--", "true"]);

    assert_eq!(remote.list("aws/unclaimed"), ["env-1"]);
    assert_eq!(server.logins_and_commands().0, 1, "{}", server.log());
}

#[test]
fn who_waits_for_a_lock_stays_logged_in() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let key = Key::new();
    let server = SshServer::start(remote.root(), &key);
    remote.claim_by_hand("aws", "env-1");

    let waiting = step(&remote, &server, &key).start_put(json!({"acquire": true}));
    waiting.wait_for_stderr("no lock is free");
    support::wait_until("it has looked again", || server.logins_and_commands().1 > 3);
    remote.release_by_hand("aws", "env-1");

    assert_eq!(waiting.finish().lock(), "env-1");
    assert_eq!(server.logins_and_commands().0, 1, "{}", server.log());
}

#[test]
fn the_key_and_its_passphrase_are_never_on_the_disk_or_in_the_arguments() {
    let remote = TestRemote::with_pool("aws", &["env-1"]);
    let key = Key::of(&["-t", "ed25519"], PASSPHRASE);
    let server = SshServer::start(remote.root(), &key);
    let step = step(&remote, &server, &key)
        .in_build()
        .set("private_key_passphrase", PASSPHRASE);
    let (text, head) = (key.private(), remote.claim_by_hand("aws", "env-1"));
    let secrets = [text.as_str(), PASSPHRASE];

    let waiting = step.start_put(json!({"acquire": true}));
    waiting.wait_for_stderr("no lock is free");
    leaves_none_of(step.temporary(), &secrets);
    for file in ["cmdline", "environ"] {
        let told = std::fs::read(format!("/proc/{}/{file}", waiting.id())).unwrap();
        let told = String::from_utf8_lossy(&told).into_owned();
        for secret in secrets.iter().flat_map(|secret| pieces(secret)) {
            assert!(!told.contains(secret), "{file}: {told}");
        }
    }
    remote.release_by_hand("aws", "env-1");
    let claimed = waiting.finish();
    shows_none_of(&claimed, &secrets);
    for answer in [step.get(&claimed.version()).0, step.check(Some(&head))] {
        answer.json();
        shows_none_of(&answer, &secrets);
    }

    leaves_none_of(step.temporary(), &secrets);
    leaves_none_of(remote.root(), &secrets);
    let log = remote.git(&["log", "--format=raw", "--all"]);
    for secret in secrets.iter().flat_map(|secret| pieces(secret)) {
        assert!(!log.contains(secret), "{log}");
    }
}

#[test]
fn a_server_that_is_none_of_ssh_is_given_up_in_time() {
    let key = Key::new();
    let silent = Faulty::silent();
    let other = Faulty::answering("HTTP/1.1 400 Bad Request\r\n\r\n");
    for (server, words) in [(&silent, "no answer"), (&other, "127.0.0.1")] {
        let step = Step::with_source(json!({
            "uri": format!("ssh://git@127.0.0.1:{}/x.git", server.port()), "branch": "main", "pool": "aws",
            "private_key": key.private(), "silence_timeout": "300ms", "fault_timeout": "1s",
        }));

        let started = Instant::now();
        let answer = step.put(json!({"acquire": true}));

        answer.assert_failed(&[words]);
        assert!(started.elapsed() < Duration::from_secs(15));
        shows_none_of(&answer, &[&key.private()]);
    }
}

#[test]
fn what_a_shell_prints_before_git_is_run_is_shown_with_where_it_may_come_from() {
    let (remote, key) = (TestRemote::with_pool("aws", &["env-1"]), Key::new());
    for (said, words) in [
        ("Welcome to host-1", &["`Welcome to host-1`", ".bashrc"][..]),
        (
            "error: invalid repo",
            &["there is no repository", "invalid repo"],
        ),
    ] {
        let more = format!("ForceCommand echo {said}");
        let server = SshServer::with(
            remote.root(),
            &Options {
                authorized: &[key.public()],
                more: &more,
                ..Options::default()
            },
        );

        let answer = step(&remote, &server, &key).check(None);

        answer.assert_failed(words);
        assert!(!answer.stderr.contains("again"), "{}", answer.stderr);
    }
}

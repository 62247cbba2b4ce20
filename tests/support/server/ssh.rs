//! OpenSSH: its server, its keys and its agent.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tempfile::TempDir;

use super::{Process, program};
use crate::git::hermetic;
use crate::wait_until;

/// A key pair, in files of its own.
pub struct Key {
    folder: TempDir,
    passphrase: String,
}

impl Key {
    /// An ed25519 key without a passphrase.
    pub fn new() -> Key {
        Key::of(&["-t", "ed25519"], "")
    }

    /// A key as these arguments of ssh-keygen want it: `["-t", "rsa", "-b", "3072"]`.
    pub fn of(kind: &[&str], passphrase: &str) -> Key {
        let key = Key {
            folder: tempfile::tempdir().unwrap(),
            passphrase: passphrase.to_owned(),
        };
        let file = key.file();
        let mut args = vec!["-q", "-C", "somebody", "-N", passphrase, "-f"];
        args.push(file.to_str().unwrap());
        args.extend(kind);
        run("ssh-keygen", &args);
        key
    }

    /// An ECDSA key of 256 bits in OpenSSH's form whose private number is a byte shorter than it could be, as one in 512
    /// is; or one that is not.
    pub fn of_256_bits(is_short: bool, passphrase: &str) -> Key {
        loop {
            let mut key = Key::of(&["-t", "ecdsa", "-b", "256", "-m", "PEM"], "");
            let text = key.private();
            let lines = text.lines().filter(|line| !line.starts_with('-'));
            let bytes = BASE64_STANDARD.decode(lines.collect::<String>()).unwrap();
            // Behind the heads of the sequence, of the version 1, and of the number, which has all 32 bytes here.
            assert_eq!(bytes[2..7], [2, 1, 1, 4, 32]);
            if (bytes[7] == 0 && bytes[8] < 0x80) == is_short {
                let file = key.file();
                let new = ["-q", "-p", "-P", "", "-N", passphrase, "-m", "RFC4716"];
                run(
                    "ssh-keygen",
                    &[&new[..], &["-f", file.to_str().unwrap()]].concat(),
                );
                key.passphrase = passphrase.to_owned();
                return key;
            }
        }
    }

    /// The same key in another form: `PEM`, `PKCS8` or `RFC4716`.
    pub fn convert(&self, form: &str) {
        let (file, passphrase) = (self.file(), &self.passphrase);
        let args = ["-q", "-p", "-P", passphrase, "-N", passphrase, "-m", form];
        run(
            "ssh-keygen",
            &[&args[..], &["-f", file.to_str().unwrap()]].concat(),
        );
    }

    /// The file with the private key; the public one is beside it.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("key")
    }

    /// The private key.
    pub fn private(&self) -> String {
        std::fs::read_to_string(self.file()).unwrap()
    }

    /// The public key: `ssh-ed25519 AAAA… somebody`.
    pub fn public(&self) -> String {
        let text = std::fs::read_to_string(self.file().with_extension("pub")).unwrap();
        text.trim_end().to_owned()
    }

    /// The fingerprint as ssh-keygen shows it: `SHA256:…`.
    pub fn fingerprint(&self) -> String {
        let shown = run("ssh-keygen", &["-l", "-f", self.file().to_str().unwrap()]);
        shown.split(' ').nth(1).unwrap().to_owned()
    }
}

/// sshd, which lets the user in who runs the tests.
pub struct SshServer {
    _process: Process,
    port: u16,
    home: TempDir,
    root: PathBuf,
}

/// How an SSH server is to be.
#[derive(Default)]
pub struct Options<'a> {
    /// The lines of `authorized_keys`.
    pub authorized: &'a [String],
    /// Its own keys; one of its own making when there are none.
    pub host_keys: &'a [&'a Key],
    /// More lines of sshd's configuration.
    pub more: &'a str,
}

impl SshServer {
    /// Lets in whoever has the key; `root` is the user's home as far as Git can see.
    pub fn start(root: &Path, key: &Key) -> SshServer {
        SshServer::with(
            root,
            &Options {
                authorized: &[key.public()],
                ..Options::default()
            },
        )
    }

    /// Lets in whoever has one of the keys.
    pub fn with(root: &Path, options: &Options<'_>) -> SshServer {
        // Where sshd as root puts the part of itself that has no rights. Debian makes it when the service starts.
        let _ = std::fs::create_dir_all("/run/sshd");
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name).display().to_string();
        std::fs::write(at("authorized"), options.authorized.join("\n") + "\n").unwrap();
        let own = Key::new();
        let mut lines = String::new();
        for (n, key) in options.host_keys.iter().chain([&&own]).enumerate() {
            if n > 0 && n == options.host_keys.len() {
                break;
            }
            let file = at(&format!("host-{n}"));
            std::fs::copy(key.file(), &file).unwrap();
            writeln!(lines, "HostKey {file}").unwrap();
        }
        let (process, port) = Process::on_free_port("sshd", |port| {
            let text = format!(
                "ListenAddress 127.0.0.1:{port}\n\
                 PidFile none\n\
                 AuthorizedKeysFile {authorized}\n\
                 StrictModes no\n\
                 UsePAM no\n\
                 PasswordAuthentication no\n\
                 KbdInteractiveAuthentication no\n\
                 PermitRootLogin yes\n\
                 MaxStartups 100\n\
                 LogLevel VERBOSE\n\
                 SetEnv HOME={root} GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null\n\
                 {lines}{more}\n",
                authorized = at("authorized"),
                root = root.display(),
                more = options.more,
            );
            std::fs::write(at("config"), text).unwrap();
            let mut command = Command::new(program("sshd"));
            hermetic(&mut command)
                .args(["-D", "-f", &at("config"), "-E", &at("log")])
                .stderr(Stdio::null());
            command
        });
        SshServer {
            _process: process,
            port,
            home,
            root: root.to_owned(),
        }
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The `uri` of the repository that [`crate::TestRemote`] makes.
    pub fn uri(&self) -> String {
        let path = self.root.join("locks.git");
        format!("{}{}", self.uri_of_server(), path.display())
    }

    /// The `uri` of the server, to put an absolute path behind.
    pub fn uri_of_server(&self) -> String {
        format!("ssh://{}@127.0.0.1:{}", user(), self.port)
    }

    /// A line of `known_hosts` that has `key` as this server's.
    pub fn known_as(&self, key: &Key) -> String {
        format!("[127.0.0.1]:{} {}\n", self.port, key.public())
    }

    /// What the server has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.home.path().join("log")).unwrap()
    }

    /// How often somebody was let in by a key, and how many commands were run.
    pub fn logins_and_commands(&self) -> (usize, usize) {
        let log = self.log();
        let lines = |start: &str| log.lines().filter(|line| line.starts_with(start)).count();
        (
            lines("Accepted publickey"),
            lines("Starting session: forced-command") + lines("Starting session: command"),
        )
    }
}

/// ssh-agent.
pub struct Agent {
    _process: Process,
    folder: TempDir,
}

impl Agent {
    /// Holds these keys, which have no passphrase.
    pub fn start(keys: &[&Key]) -> Agent {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let mut command = Command::new(program("ssh-agent"));
        hermetic(&mut command).arg("-D").arg("-a").arg(&socket);
        let process = Process::start("ssh-agent", &mut command);
        wait_until("ssh-agent listens", || {
            std::os::unix::net::UnixStream::connect(&socket).is_ok()
        });
        for key in keys {
            let mut command = Command::new(program("ssh-add"));
            hermetic(&mut command).env("SSH_AUTH_SOCK", &socket);
            let added = command.arg("-q").arg(key.file()).status().unwrap();
            assert!(added.success());
        }
        Agent {
            _process: process,
            folder,
        }
    }

    /// What `SSH_AUTH_SOCK` has to be.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }
}

/// The user who runs the tests.
pub fn user() -> String {
    run("id", &["-un"])
}

/// Runs a program, which must succeed, and gives what it printed without the last newline.
pub fn run(name: &str, args: &[&str]) -> String {
    let mut command = Command::new(program(name));
    let output = hermetic(&mut command).args(args).output().unwrap();
    assert!(
        output.status.success(),
        "{name} {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout)
        .unwrap()
        .trim_end()
        .to_owned()
}

//! gitolite behind OpenSSH: who may do what to which ref is told by rules.

use std::os::unix::fs::symlink;
use std::process::Command;

use super::program;
use super::ssh::{Key, Options, SshServer, user};
use crate::git::hermetic;
use crate::remote::TestRemote;

/// Where Debian has the program that runs for each connection.
const SHELL: &str = "/usr/share/gitolite3/gitolite-shell";

/// A server with one repository, and one user.
pub struct Gitolite {
    ssh: SshServer,
    key: Key,
}

impl Gitolite {
    /// Serves a test's repository by these rules, such as `RW+ = ci`, to the user `ci`.
    pub fn start(remote: &TestRemote, rules: &[&str]) -> Gitolite {
        let home = remote.root();
        let gitolite = |args: &[&str]| {
            let mut command = Command::new(program("gitolite"));
            hermetic(&mut command).env("HOME", home).args(args);
            let output = command.output().unwrap();
            let words = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "gitolite {args:?}: {words}");
        };
        gitolite(&["setup", "-a", "admin"]);
        symlink(remote.path(), home.join("repositories/locks.git")).unwrap();
        let rules: String = rules.iter().map(|rule| format!("    {rule}\n")).collect();
        let conf = home.join(".gitolite/conf/gitolite.conf");
        std::fs::write(conf, format!("repo locks\n{rules}")).unwrap();
        gitolite(&["compile"]);
        // It puts its hooks only into what it has made itself.
        gitolite(&["setup", "--hooks-only"]);
        let key = Key::new();
        let authorized = [format!("command=\"{SHELL} ci\" {}", key.public())];
        let options = Options {
            authorized: &authorized,
            ..Options::default()
        };
        Gitolite {
            ssh: SshServer::with(home, &options),
            key,
        }
    }

    /// The `uri` of the repository.
    pub fn uri(&self) -> String {
        format!("ssh://{}@127.0.0.1:{}/locks", user(), self.ssh.port())
    }

    /// The user's private key.
    pub fn private_key(&self) -> String {
        self.key.private()
    }
}

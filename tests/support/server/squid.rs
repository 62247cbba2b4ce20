//! squid, the HTTP proxy.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::{Process, program};
use crate::git::hermetic;

/// A proxy on loopback that gets to every port.
pub struct Squid {
    process: Process,
    port: u16,
    home: TempDir,
}

impl Squid {
    /// Serves everybody.
    pub fn start() -> Squid {
        Squid::with(|_| "http_access allow all\n".to_owned())
    }

    /// Serves one user.
    pub fn with_user(user: &str, password: &str) -> Squid {
        Squid::with(|home| {
            let users = home.join("users");
            let hash = super::ssh::run("openssl", &["passwd", "-apr1", password]);
            std::fs::write(&users, format!("{user}:{hash}\n")).unwrap();
            format!(
                "auth_param basic program /usr/lib/squid/basic_ncsa_auth {}\n\
                 auth_param basic realm proxy\n\
                 acl known proxy_auth REQUIRED\n\
                 http_access allow known\n\
                 http_access deny all\n",
                users.display()
            )
        })
    }

    /// Serves nobody.
    pub fn denying() -> Squid {
        Squid::with(|_| "http_access deny all\n".to_owned())
    }

    /// Serves everybody on a port that was free a moment ago.
    pub fn on(port: u16) -> Squid {
        let home = folder();
        let mut command = command(home.path(), port, "http_access allow all\n");
        let mut process = Process::start("squid", &mut command);
        assert!(process.listens("squid", port), "squid ended at once");
        Squid {
            process,
            port,
            home,
        }
    }

    fn with(rules: impl FnOnce(&Path) -> String) -> Squid {
        let home = folder();
        let rules = rules(home.path());
        let (process, port) =
            Process::on_free_port("squid", |port| command(home.path(), port, &rules));
        Squid {
            process,
            port,
            home,
        }
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The proxy as a URL, with `user` (`name:password@`, or nothing) before the host.
    pub fn url(&self, user: &str) -> String {
        format!("http://{user}127.0.0.1:{}", self.port)
    }

    /// One line for each request that has ended, with the status that was answered: `TCP_TUNNEL/200 39 CONNECT …`.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.home.path().join("access.log")).unwrap_or_default()
    }
}

impl Drop for Squid {
    /// Asks it to end, so that it takes its shared memory away; killed it would not.
    fn drop(&mut self) {
        let _ = Command::new("kill")
            .args(["-TERM", &self.process.id().to_string()])
            .status();
        for _ in 0..1000 {
            if !matches!(self.process.0.try_wait(), Ok(None)) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}

/// A folder for the user, too, that squid becomes when it is started by root.
fn folder() -> TempDir {
    let home = tempfile::tempdir().unwrap();
    std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    home
}

fn command(home: &Path, port: u16, rules: &str) -> Command {
    let config = home.join("squid.conf");
    let text = format!(
        "http_port 127.0.0.1:{port}\n\
         pid_filename {home}/squid.pid\n\
         access_log stdio:{home}/access.log\n\
         cache_log {home}/cache.log\n\
         coredump_dir {home}\n\
         netdb_filename none\n\
         pinger_enable off\n\
         shutdown_lifetime 0 seconds\n\
         cache deny all\n\
         memory_pools off\n\
         max_filedescriptors 1024\n\
         visible_hostname localhost\n\
         {rules}",
        home = home.display()
    );
    std::fs::write(&config, text).unwrap();
    // Keeps its shared memory apart from that of other squids: also of one that was killed, and left it behind, on this port.
    let own = home.to_string_lossy();
    let own: String = own
        .chars()
        .rev()
        .take_while(char::is_ascii_alphanumeric)
        .collect();
    let mut command = Command::new(program("squid"));
    hermetic(&mut command)
        // In the foreground.
        .args(["-N", "-n", &format!("pool{port}{own}")])
        .arg("-f")
        .arg(&config)
        .stderr(Stdio::null());
    command
}

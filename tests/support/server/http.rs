//! lighttpd with `git http-backend`.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::{Process, program};
use crate::git::hermetic;

/// A web server that serves the repositories in a folder.
pub struct HttpServer {
    process: Process,
    port: u16,
    home: TempDir,
    /// Its configuration, but for the port.
    lines: String,
    scheme: &'static str,
}

/// How a web server is to be.
#[derive(Default)]
pub struct Options<'a> {
    /// The only user and password that are let in.
    pub user: Option<(&'a str, &'a str)>,
    /// A file with the certificate and its key, for HTTPS.
    pub certificate: Option<&'a Path>,
    /// More lines of lighttpd's configuration.
    pub more: &'a str,
}

impl HttpServer {
    /// Serves the repositories in `root` to everybody: `http://127.0.0.1:PORT/git/NAME`.
    pub fn start(root: &Path) -> HttpServer {
        HttpServer::with(root, &Options::default())
    }

    /// Serves the repositories in `root` to one user.
    pub fn with_user(root: &Path, user: &str, password: &str) -> HttpServer {
        HttpServer::with(
            root,
            &Options {
                user: Some((user, password)),
                ..Options::default()
            },
        )
    }

    /// Serves the repositories in `root`.
    pub fn with(root: &Path, options: &Options<'_>) -> HttpServer {
        let home = tempfile::tempdir().unwrap();
        let backend = crate::git::git(root, &["--exec-path"]) + "/git-http-backend";
        let mut modules = vec!["mod_alias", "mod_setenv", "mod_accesslog"];
        let mut lines = String::new();
        if let Some((user, password)) = options.user {
            modules.extend(["mod_auth", "mod_authn_file"]);
            let users = home.path().join("users");
            std::fs::write(&users, format!("{user}:{password}\n")).unwrap();
            lines += &format!(
                "auth.backend = \"plain\"\n\
                 auth.backend.plain.userfile = \"{}\"\n\
                 auth.require = (\"/\" => (\"method\" => \"basic\", \"realm\" => \"git\", \"require\" => \"valid-user\"))\n",
                users.display()
            );
        }
        if let Some(certificate) = options.certificate {
            modules.push("mod_openssl");
            lines += &format!(
                "ssl.engine = \"enable\"\nssl.pemfile = \"{}\"\n",
                certificate.display()
            );
        }
        modules.push("mod_cgi");
        let modules: Vec<String> = modules
            .iter()
            .map(|module| format!("\"{module}\""))
            .collect();
        let lines = format!(
            "server.modules = ({modules})\n\
             server.document-root = \"{home}\"\n\
             server.bind = \"127.0.0.1\"\n\
             server.errorlog = \"{home}/error.log\"\n\
             accesslog.filename = \"{home}/access.log\"\n\
             server.max-connections = 256\n\
             server.max-keep-alive-requests = 1000\n\
             alias.url = (\"/git\" => \"{backend}\")\n\
             setenv.set-environment = (\"GIT_PROJECT_ROOT\" => \"{root}\", \"GIT_HTTP_EXPORT_ALL\" => \"1\", \
                 \"REMOTE_USER\" => \"tester\", \"GIT_CONFIG_GLOBAL\" => \"/dev/null\", \"GIT_CONFIG_SYSTEM\" => \"/dev/null\")\n\
             $HTTP[\"url\"] =~ \"^/git\" {{ cgi.assign = (\"\" => \"\") }}\n\
             {lines}{more}\n",
            modules = modules.join(", "),
            home = home.path().display(),
            root = root.display(),
            more = options.more,
        );
        let (process, port) = launch(home.path(), &lines);
        let scheme = if options.certificate.is_some() {
            "https"
        } else {
            "http"
        };
        HttpServer {
            process,
            port,
            home,
            lines,
            scheme,
        }
    }

    /// Ends the server with this signal, such as `TERM` or `KILL`. What it has started for requests may go on for a
    /// while.
    pub fn stop(&mut self, signal: &str) {
        self.process.end(signal);
    }

    /// Starts it again after [`HttpServer::stop`], on another port: somebody else may have taken the old one meanwhile.
    pub fn start_again(&mut self) {
        (self.process, self.port) = launch(self.home.path(), &self.lines);
    }

    /// Starts it again after [`HttpServer::stop`], where it was. Nobody who asks for any port gets this one meanwhile.
    pub fn start_again_there(&mut self) {
        let mut command = command(self.home.path(), &self.lines, self.port);
        self.process = Process::start("lighttpd", &mut command);
        assert!(self.process.listens("lighttpd", self.port));
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The `uri` of the repository that [`crate::TestRemote`] makes.
    pub fn uri(&self) -> String {
        self.uri_of("locks.git")
    }

    /// The `uri` of a repository in the folder that is served.
    pub fn uri_of(&self, name: &str) -> String {
        format!("{}://127.0.0.1:{}/git/{name}", self.scheme, self.port)
    }

    /// One line for each request so far, in the common log format. Buffered by the server: complete once it has ended.
    pub fn log(self) -> String {
        let HttpServer {
            mut process, home, ..
        } = self;
        // Asked to end, it writes what it has; killed it would not.
        process.end("TERM");
        std::fs::read_to_string(home.path().join("access.log")).unwrap_or_default()
    }
}

fn launch(home: &Path, lines: &str) -> (Process, u16) {
    Process::on_free_port("lighttpd", |port| command(home, lines, port))
}

fn command(home: &Path, lines: &str, port: u16) -> Command {
    let config = home.join("lighttpd.conf");
    std::fs::write(&config, format!("{lines}server.port = {port}\n")).unwrap();
    let mut command = Command::new(program("lighttpd"));
    hermetic(&mut command).arg("-D").arg("-f").arg(&config);
    command
}

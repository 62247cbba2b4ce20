//! HTTPS for what speaks plain HTTP: lighttpd in front of it.

use std::process::Command;

use tempfile::TempDir;

use super::authority::Authority;
use super::{Process, program};
use crate::git::hermetic;

/// A web server that passes everything on to a port of this machine.
pub struct Front {
    _process: Process,
    _home: TempDir,
    port: u16,
}

impl Front {
    /// Starts one, with a certificate of this authority for 127.0.0.1.
    pub fn before(port: u16, authority: &Authority) -> Front {
        let home = tempfile::tempdir().unwrap();
        let certificate = authority.certify("IP:127.0.0.1");
        let lines = format!(
            "server.modules = (\"mod_openssl\", \"mod_proxy\")\n\
             server.document-root = \"{home}\"\nserver.bind = \"127.0.0.1\"\n\
             server.errorlog = \"{home}/error.log\"\n\
             ssl.engine = \"enable\"\nssl.pemfile = \"{}\"\n\
             proxy.server = (\"\" => ((\"host\" => \"127.0.0.1\", \"port\" => {port})))\n",
            certificate.display(),
            home = home.path().display(),
        );
        let config = home.path().join("lighttpd.conf");
        let (process, port) = Process::on_free_port("lighttpd", |port| {
            std::fs::write(&config, format!("{lines}server.port = {port}\n")).unwrap();
            let mut command = Command::new(program("lighttpd"));
            hermetic(&mut command).arg("-D").arg("-f").arg(&config);
            command
        });
        Front {
            _process: process,
            _home: home,
            port,
        }
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }
}

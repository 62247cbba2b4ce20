//! A throw-away authority for the certificates of HTTPS servers, made with the openssl program.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use tempfile::TempDir;

use super::program;
use crate::git::hermetic;

/// An authority in a folder of its own, which goes away with the value.
pub struct Authority {
    home: TempDir,
    /// Held by whoever makes a certificate: the files in between have the same names.
    making: Mutex<()>,
}

impl Authority {
    /// Makes one that nobody trusts yet.
    pub fn new() -> Authority {
        let authority = Authority {
            home: tempfile::tempdir().unwrap(),
            making: Mutex::default(),
        };
        let home = authority.home.path();
        let config = format!(
            "[ca]\ndefault_ca=own\n[own]\ndatabase={0}/index\nnew_certs_dir={0}\nrand_serial=yes\nunique_subject=no\n\
             default_md=sha256\ndefault_days=2\ncopy_extensions=copy\npolicy=any\n[any]\ncommonName=supplied\n\
             [req]\ndistinguished_name=name\nprompt=no\n[name]\n",
            home.display()
        );
        std::fs::write(home.join("config"), config).unwrap();
        std::fs::write(home.join("index"), "").unwrap();
        authority.openssl(&[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-config",
            "config",
            "-subj",
            "/CN=Throw-away authority",
            "-addext",
            "basicConstraints=critical,CA:true",
            "-keyout",
            "ca.key",
            "-out",
            "ca.pem",
        ]);
        authority
    }

    /// A file with the authority's own certificate.
    pub fn file(&self) -> PathBuf {
        self.home.path().join("ca.pem")
    }

    /// The authority's own certificate, as PEM.
    pub fn pem(&self) -> String {
        std::fs::read_to_string(self.file()).unwrap()
    }

    /// Makes a certificate for a server with this name (`DNS:localhost`, `IP:127.0.0.1`); gives a file with it and its key.
    pub fn certify(&self, name: &str) -> PathBuf {
        self.certify_with(name, &[])
    }

    /// As [`Authority::certify`], of a certificate that was good for a day in 2020.
    pub fn certify_in_2020(&self, name: &str) -> PathBuf {
        self.certify_with(
            name,
            &[
                "-startdate",
                "20200101000000Z",
                "-enddate",
                "20200102000000Z",
            ],
        )
    }

    fn certify_with(&self, name: &str, dates: &[&str]) -> PathBuf {
        let _making = self.making.lock();
        self.openssl(&[
            "req",
            "-new",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-config",
            "config",
            "-subj",
            "/CN=A server",
            "-addext",
            &format!("subjectAltName={name}"),
            "-keyout",
            "server.key",
            "-out",
            "server.csr",
        ]);
        let mut args = vec![
            "ca",
            "-batch",
            "-notext",
            "-config",
            "config",
            "-cert",
            "ca.pem",
            "-keyfile",
            "ca.key",
            "-in",
            "server.csr",
            "-out",
            "server.pem",
        ];
        args.extend(dates);
        self.openssl(&args);
        let home = self.home.path();
        let read = |file: &str| std::fs::read_to_string(home.join(file)).unwrap();
        let both = tempfile::Builder::new()
            .suffix(".pem")
            .tempfile_in(home)
            .unwrap()
            .into_temp_path()
            .keep()
            .unwrap();
        std::fs::write(&both, read("server.pem") + &read("server.key")).unwrap();
        both
    }

    fn openssl(&self, args: &[&str]) {
        let home: &Path = self.home.path();
        let output = hermetic(&mut Command::new(program("openssl")))
            .args(args)
            .current_dir(home)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "openssl {args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

//! A server in a folder of its own, and a browser that is signed in.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use support::git::hermetic;
use support::server::web;
use support::server::{Process, free_port};
use support::{Browser, DEADLINE, path_of, wait_until};
use tempfile::TempDir;

use super::viewers::Viewer;

const SECRET: &str = "0123456789abcdef";

/// A server.
pub struct Server {
    folder: TempDir,
    process: Option<Process>,
    pub port: u16,
}

/// An answer, with its head.
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Server {
    /// One with these definitions.
    pub fn start(definitions: &str) -> Server {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("pipelines.yml"), definitions).unwrap();
        let mut server = Server {
            folder,
            process: None,
            port: free_port(),
        };
        server.run();
        server
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(path_of("prunner"));
        hermetic(&mut command)
            .args(args)
            .env("PRUNNER_JWT_SECRET", SECRET)
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        command
    }

    /// Starts it, at the same address as before.
    pub fn run(&mut self) {
        let address = format!("--address=127.0.0.1:{}", self.port);
        let log = fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(self.path("server.log"))
            .unwrap();
        let mut process = Process::start("prunner", self.command(&[&address]).stderr(log));
        let listens = process.listens("prunner", self.port);
        assert!(
            listens,
            "{}",
            fs::read_to_string(self.path("server.log")).unwrap()
        );
        self.process = Some(process);
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        self.process.take().unwrap().end("KILL");
    }

    pub fn pid(&self) -> u32 {
        self.process.as_ref().unwrap().id()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/ui{path}", self.port)
    }

    /// What `prunner debug` says.
    pub fn debug(&self) -> String {
        let address = format!("--address=127.0.0.1:{}", self.port);
        let output = self.command(&[&address, "debug"]).output().unwrap();
        String::from_utf8(output.stderr).unwrap()
    }

    /// A token of nobody, without an end.
    pub fn token(&self) -> String {
        let output = self
            .command(&["debug"])
            .env("MINIMAL_OUTPUT", "1")
            .output()
            .unwrap();
        String::from_utf8(output.stdout)
            .unwrap()
            .replace("Bearer ", "")
    }

    /// A token with these claims.
    pub fn signed(&self, claims: &Value) -> String {
        let script = "encode() { basenc --base64url -w0 | tr -d =; }
            signed=$(printf %s '{\"alg\":\"HS256\"}' | encode).$(printf %s \"$1\" | encode)
            printf %s \"$signed.$(printf %s \"$signed\" | openssl dgst -sha256 -hmac \"$2\" -binary | encode)\"";
        let output = Command::new("sh")
            .args(["-c", script, "sh", &claims.to_string(), SECRET])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// One request, as it is given.
    pub fn request(&self, method: &str, path: &str, headers: &[&str], body: &str) -> Reply {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\n",
            self.port
        );
        for header in headers {
            head += &format!("{header}\r\n");
        }
        let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(request.as_bytes()).unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        let all = String::from_utf8_lossy(&all).into_owned();
        let (head, body) = all.split_once("\r\n\r\n").unwrap();
        Reply {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            head: head.to_owned(),
            body: body.to_owned(),
        }
    }

    /// Somebody who has signed in, and looks without a browser.
    pub fn viewer(&self) -> Viewer {
        Viewer {
            port: self.port,
            token: self.token(),
        }
    }

    /// A page of somebody who has signed in.
    pub fn page(&self, path: &str) -> Reply {
        self.request(
            "GET",
            &format!("/ui{path}"),
            &[&format!("Cookie: prunner_ui={}", self.token())],
            "",
        )
    }

    fn api(&self, method: &str, path: &str, body: &Value) -> Value {
        let bearer = format!("Authorization: Bearer {}", self.token());
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let reply = self.request(method, path, &[&bearer], &body);
        assert!(reply.status < 300, "{method} {path}: {}", reply.body);
        // A list comes in pieces.
        let start = reply.body.find('{').unwrap_or(0);
        serde_json::from_str(&reply.body[start..]).unwrap_or(Value::Null)
    }

    /// Starts a job.
    pub fn schedule(&self, pipeline: &str, variables: Value) -> String {
        let body = json!({"pipeline": pipeline, "variables": variables});
        self.api("POST", "/pipelines/schedule", &body)["jobId"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    pub fn job(&self, id: &str) -> Value {
        self.api("GET", &format!("/job/detail?id={id}"), &Value::Null)
    }

    /// Waits for a job to end.
    pub fn finished(&self, id: &str) -> Value {
        let mut job = Value::Null;
        wait_until("the job has ended", || {
            job = self.job(id);
            job["completed"] == true || job["canceled"] == true
        });
        job
    }

    /// Runs a job to its end.
    pub fn done(&self, pipeline: &str, variables: Value) -> String {
        let id = self.schedule(pipeline, variables);
        self.finished(&id);
        id
    }

    /// Lets a task go on that waits for this file.
    pub fn go(&self, name: &str) {
        fs::write(self.path(name), "").unwrap();
    }
}

/// A script's line that waits for a file.
pub fn until(name: &str) -> String {
    format!("until [ -e {name} ]; do sleep 0.05; done")
}

/// A browser that has signed in by the link of `prunner debug`.
pub fn signed_in(server: &Server) -> Browser {
    let browser = Browser::start();
    sign_in(&browser, server);
    browser
}

pub fn sign_in(browser: &Browser, server: &Server) {
    browser.open(&link(server));
    browser.click("main button[type=submit]");
    browser.shows("h1", "Pipelines");
}

/// The link of `prunner debug`.
pub fn link(server: &Server) -> String {
    let said = server.debug();
    let start = said.find("http://").unwrap_or_else(|| panic!("{said}"));
    said[start..]
        .split(['"', ' ', '\n'])
        .next()
        .unwrap()
        .to_owned()
}

/// Nothing was stopped by the policy, and no script has failed.
#[track_caller]
pub fn nothing_to_complain(browser: &Browser) {
    let complaints = browser.complaints();
    assert!(complaints.is_empty(), "{complaints:#?}");
}

/// A text as it may stand in a query.
pub fn encoded(text: &str) -> String {
    web::encoded(text)
}

//! `pool serve`, as people run it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::web::encoded;
use crate::{Cli, DEADLINE, wait_until};

/// A server of pages. It is killed with its value.
pub struct Pages {
    child: Child,
    port: u16,
    said: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

/// An answer: status, head and body.
#[derive(Debug)]
pub struct Answered {
    /// Such as 200; 0 if there was no answer.
    pub status: u16,
    /// The lines before the body.
    pub head: String,
    /// The body.
    pub body: String,
}

impl Answered {
    /// What the head says of this; empty if it says nothing.
    pub fn header(&self, name: &str) -> &str {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let mut values = lines.filter(|(one, _)| one.eq_ignore_ascii_case(name));
        values.next().map_or("", |(_, value)| value)
    }
}

impl Pages {
    /// Starts one for whatever the terminal is set to, on a free port.
    pub fn start(cli: &Cli, args: &[&str]) -> Pages {
        Pages::start_at(cli, "127.0.0.1:0", args)
    }

    /// Starts one at this address.
    pub fn start_at(cli: &Cli, address: &str, args: &[&str]) -> Pages {
        Pages::start_under(cli, &[], address, args)
    }

    /// Starts one under another program.
    pub fn start_under(cli: &Cli, under: &[&str], address: &str, args: &[&str]) -> Pages {
        let all: Vec<&str> = ["serve", "--listen", address]
            .iter()
            .chain(args)
            .copied()
            .collect();
        let mut command = cli.command(under, &all);
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let from = child.stderr.take().unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let all = said.clone();
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(from).lines().map_while(Result::ok) {
                *all.lock().unwrap() += &format!("{line}\n");
            }
        });
        let mut pages = Pages {
            child,
            port: 0,
            said,
            reader: Some(reader),
        };
        wait_until("the pages are served", || {
            let said = pages.said();
            let port = said
                .split_once(" at http://127.0.0.1:")
                .and_then(|(_, rest)| {
                    let (port, _) = rest.split_once('/')?;
                    port.parse().ok()
                });
            pages.port = port.unwrap_or_default();
            let ended = pages.child.try_wait().unwrap();
            assert!(ended.is_none(), "it has ended: {said}");
            port.is_some()
        });
        pages
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The id of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where a path is.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// What it has written for people so far.
    pub fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Asks, with these lines in the head.
    pub fn ask(&self, method: &str, path: &str, head: &[(&str, &str)], body: &str) -> Answered {
        let answer = self.try_ask(method, path, head, body).unwrap_or_default();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        Answered {
            status: status.unwrap_or_default(),
            head: head.to_owned(),
            body: body.to_owned(),
        }
    }

    fn try_ask(
        &self,
        method: &str,
        path: &str,
        head: &[(&str, &str)],
        body: &str,
    ) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(DEADLINE))?;
        let lines: Vec<String> = head
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let request = format!(
            "{method} {path} HTTP/1.0\r\nHost: 127.0.0.1:{}\r\n{}Content-Length: {}\r\n\r\n{body}",
            self.port,
            lines.concat(),
            body.len()
        );
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    /// A page.
    pub fn get(&self, path: &str) -> Answered {
        self.ask("GET", path, &[], "")
    }

    /// Sends a form, by whoever has this cookie.
    pub fn send(&self, path: &str, cookie: &str, form: &[(&str, &str)]) -> Answered {
        let pairs: Vec<String> = form
            .iter()
            .map(|(name, value)| format!("{name}={}", encoded(value)))
            .collect();
        let kind = ("Content-Type", "application/x-www-form-urlencoded");
        self.ask("POST", path, &[kind, ("Cookie", cookie)], &pairs.join("&"))
    }

    /// Signs in, and gives the cookie.
    #[track_caller]
    pub fn sign_in(&self, token: &str) -> String {
        let answer = self.send("/sign-in", "", &[("token", token), ("next", "/")]);
        assert_eq!(answer.status, 303, "{answer:?}");
        let cookie = answer.header("set-cookie");
        cookie.split(';').next().unwrap().to_owned()
    }

    /// Waits until a page has this in it, and gives the page.
    #[track_caller]
    pub fn wait_for(&self, path: &str, text: &str) -> String {
        let mut body = String::new();
        wait_until(&format!("{path} has {text:?}"), || {
            body = self.get(path).body;
            body.contains(text)
        });
        body
    }

    /// The value of a series as Prometheus would read it, such as `pool_locks{pool="aws",state="free"}` without the branch; labels
    /// in the order of their names.
    pub fn metric(&self, series: &str) -> Option<f64> {
        let body = self.get("/metrics").body;
        let lines = body.lines().filter(|line| !line.starts_with('#'));
        let mut found = lines.filter_map(|line| {
            let line = line
                .replace("branch=\"main\",", "")
                .replace("{branch=\"main\"}", "");
            let (name, value) = line.rsplit_once(' ')?;
            (name == series).then(|| value.parse().ok())?
        });
        found.next()
    }

    /// Waits until a series has a value.
    #[track_caller]
    pub fn wait_for_metric(&self, series: &str, value: f64) {
        wait_until(&format!("{series} is {value}"), || {
            self.metric(series) == Some(value)
        });
    }

    /// Ends it with this signal, such as `TERM`, and gives its exit code.
    pub fn end(&mut self, signal: &str) -> Option<i32> {
        let id = self.id().to_string();
        let status = std::process::Command::new("kill")
            .args([&format!("-{signal}"), &id])
            .status();
        assert!(status.unwrap().success());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

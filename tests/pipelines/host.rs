//! A server in a folder of its own, and a client.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::{Value, json};
use support::git::hermetic;
use support::server::{Process, free_port};
use support::{path_of, wait_until};
use tempfile::TempDir;

pub const SECRET: &str = "0123456789abcdef";

/// A server, in a folder with `pipelines.yml`.
pub struct Host {
    folder: TempDir,
    args: Vec<String>,
    env: Vec<(String, String)>,
    process: Option<Process>,
    port: u16,
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|err| panic!("{err}: {}", String::from_utf8_lossy(&self.body)))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().skip(1);
        let mut fields = lines.filter_map(|line| line.split_once(':'));
        fields
            .find(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    }
}

/// A token of nobody, without an end.
pub fn token() -> &'static str {
    static TOKEN: OnceLock<String> = OnceLock::new();
    TOKEN.get_or_init(|| {
        let output = hermetic(&mut Command::new(path_of("prunner")))
            .arg("debug")
            .env("MINIMAL_OUTPUT", "1")
            .env("PRUNNER_JWT_SECRET", SECRET)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    })
}

impl Host {
    /// A folder with these definitions, and no server yet.
    pub fn folder(definitions: &str) -> Host {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("pipelines.yml"), definitions).unwrap();
        Host {
            folder,
            args: Vec::new(),
            env: Vec::new(),
            process: None,
            port: 0,
        }
    }

    /// A server with these definitions.
    pub fn start(definitions: &str) -> Host {
        let mut host = Host::folder(definitions);
        host.run();
        host
    }

    /// One pipeline `p` with these keys.
    pub fn with(keys: &str) -> Host {
        Host::start(&format!("pipelines:\n  p: {{{keys}}}\n"))
    }

    /// One pipeline `p` with one task `t`, whose script this is.
    pub fn script(entries: &[&str]) -> Host {
        Host::with(&format!("tasks: {{t: {{script: {}}}}}", json!(entries)))
    }

    pub fn args(mut self, args: &[&str]) -> Host {
        self.args.extend(args.iter().map(|arg| (*arg).to_owned()));
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Host {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The command, before this one if it is given.
    pub fn command(&self, before: &[&str], args: &[&str]) -> Command {
        let prunner = path_of("prunner");
        let all: Vec<&str> = before
            .iter()
            .copied()
            .chain([prunner])
            .chain(args.iter().copied())
            .collect();
        let mut command = Command::new(all[0]);
        hermetic(command.args(&all[1..]))
            .env("PRUNNER_JWT_SECRET", SECRET)
            .envs(self.env.iter().cloned())
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        command
    }

    /// Starts the server, and waits until it listens.
    pub fn run(&mut self) {
        self.run_under(&[]);
    }

    pub fn run_under(&mut self, before: &[&str]) {
        assert!(self.try_run(before), "the server ended: {}", self.log());
    }

    /// Starts the server; says whether it has not ended.
    pub fn try_run(&mut self, before: &[&str]) -> bool {
        self.port = free_port();
        let address = format!("--address=127.0.0.1:{}", self.port);
        let mut args: Vec<&str> = vec![&address];
        args.extend(self.args.iter().map(String::as_str));
        let mut command = self.command(before, &args);
        let log = fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(self.path("server.log"))
            .unwrap();
        command.stderr(log);
        let mut process = Process::start("prunner", &mut command);
        let listens = process.listens("prunner", self.port);
        self.process = listens.then_some(process);
        listens
    }

    pub fn pid(&self) -> u32 {
        self.process.as_ref().unwrap().id()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.path("server.log")).unwrap_or_default()
    }

    pub fn signal(&self, signal: &str) {
        let id = self.pid().to_string();
        assert!(
            Command::new("kill")
                .args([&format!("-{signal}"), &id])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Ends the server with a signal, and waits for its end.
    pub fn end(&mut self, signal: &str) {
        self.process.take().unwrap().end(signal);
    }

    /// Waits until the server has ended by itself.
    pub fn ended(&mut self) {
        let id = self.pid();
        wait_until("the server has ended", || {
            let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
            stat.is_empty()
                || stat
                    .rsplit(')')
                    .next()
                    .unwrap()
                    .trim_start()
                    .starts_with('Z')
        });
        self.process = None;
    }

    /// Takes new definitions, and waits until they count.
    pub fn reload(&self, definitions: &str) {
        let before = self.log().matches("Definitions changed").count();
        self.write("pipelines.yml", definitions);
        self.signal("USR1");
        wait_until("the definitions are loaded", || {
            self.log().matches("Definitions changed").count() > before
        });
    }

    /// Sends a request as it is given; the connection is closed after the answer.
    pub fn request(&self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Reply {
        self.try_request(method, path, headers, body)
            .unwrap_or_else(|| panic!("no answer to {method} {path}"))
    }

    pub fn try_request(
        &self,
        method: &str,
        path: &str,
        headers: &[&str],
        body: &[u8],
    ) -> Option<Reply> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
        for header in headers {
            head += &format!("{header}\r\n");
        }
        if !body.is_empty() {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        stream.write_all(format!("{head}\r\n").as_bytes()).ok()?;
        stream.write_all(body).ok()?;
        let mut all = Vec::new();
        stream.read_to_end(&mut all).ok()?;
        let end = all.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&all[..end]).into_owned();
        let mut body = all[end + 4..].to_vec();
        if head.to_lowercase().contains("transfer-encoding: chunked") {
            body = unchunked(&body)?;
        }
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some(Reply { status, head, body })
    }

    pub fn ask(&self, method: &str, path: &str, body: &str) -> Reply {
        let bearer = format!("Authorization: {}", token());
        self.request(method, path, &[&bearer], body.as_bytes())
    }

    pub fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, "")
    }

    pub fn post(&self, path: &str, body: &Value) -> Reply {
        self.ask("POST", path, &body.to_string())
    }

    /// Asks for a job of the pipeline `p`.
    pub fn try_schedule(&self, variables: Value) -> Reply {
        self.post(
            "/pipelines/schedule",
            &json!({"pipeline": "p", "variables": variables}),
        )
    }

    #[track_caller]
    pub fn schedule_of(&self, pipeline: &str) -> String {
        id_of(&self.post("/pipelines/schedule", &json!({"pipeline": pipeline})))
    }

    #[track_caller]
    pub fn schedule(&self) -> String {
        self.schedule_of("p")
    }

    #[track_caller]
    pub fn schedule_with(&self, variables: Value) -> String {
        id_of(&self.try_schedule(variables))
    }

    #[track_caller]
    pub fn job(&self, id: &str) -> Value {
        let reply = self.get(&format!("/job/detail?id={id}"));
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()
    }

    /// Waits for a job to end, and gives it.
    #[track_caller]
    pub fn finished(&self, id: &str) -> Value {
        let mut job = Value::Null;
        wait_until("the job has ended", || {
            job = self.job(id);
            job["completed"] == true || job["canceled"] == true
        });
        job
    }

    /// Waits until a job runs.
    pub fn running(&self, id: &str) {
        wait_until("the job runs", || !self.job(id)["start"].is_null());
    }

    /// Runs a job to its end.
    #[track_caller]
    pub fn done(&self) -> (String, Value) {
        let id = self.schedule();
        let job = self.finished(&id);
        (id, job)
    }

    pub fn cancel(&self, id: &str) -> u16 {
        self.ask("POST", &format!("/job/cancel?id={id}"), "").status
    }

    #[track_caller]
    pub fn logs(&self, id: &str, task: &str) -> (String, String) {
        let reply = self.get(&format!("/job/logs?id={id}&task={task}"));
        assert_eq!(reply.status, 200, "{}", reply.text());
        let logs = reply.json();
        (
            logs["stdout"].as_str().unwrap().to_owned(),
            logs["stderr"].as_str().unwrap().to_owned(),
        )
    }

    /// Runs one job of `p`, and gives what its task `t` has written, and how it ended.
    #[track_caller]
    pub fn output(&self, variables: Value) -> (String, String, Value) {
        let id = self.schedule_with(variables);
        let job = self.finished(&id);
        let (stdout, stderr) = self.logs(&id, "t");
        (stdout, stderr, job["tasks"][0].clone())
    }
}

#[track_caller]
pub fn id_of(reply: &Reply) -> String {
    assert_eq!(reply.status, 202, "{}", reply.text());
    reply.json()["jobId"].as_str().unwrap().to_owned()
}

fn unchunked(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = bytes.windows(2).position(|two| two == b"\r\n")?;
        let length = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).ok()?, 16).ok()?;
        if length == 0 {
            return Some(body);
        }
        body.extend_from_slice(bytes.get(end + 2..end + 2 + length)?);
        bytes = bytes.get(end + 4 + length..)?;
    }
}

/// Each task as `name:status`.
pub fn statuses(job: &Value) -> String {
    let tasks = job["tasks"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    tasks
        .map(|task| format!("{}:{}", text(&task["name"]), text(&task["status"])))
        .collect::<Vec<_>>()
        .join(" ")
}

/// Whether a process is there and no zombie.
pub fn is_alive(pid: &str) -> bool {
    let stat =
        fs::read_to_string(Path::new("/proc").join(pid.trim()).join("stat")).unwrap_or_default();
    stat.rsplit(')')
        .next()
        .is_some_and(|rest| !rest.trim_start().starts_with('Z') && !rest.trim().is_empty())
}

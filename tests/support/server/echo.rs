//! A server of ours that keeps the requests that it gets, and answers as it is told.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// Such as `POST`.
    pub method: String,
    /// With its query.
    pub path: String,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// What was sent.
    pub body: String,
}

impl Heard {
    /// The value of a header; its name is in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// What was sent, as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|err| panic!("{err}: {}", self.body))
    }
}

/// What is answered.
#[derive(Debug, Clone)]
pub enum Reply {
    /// The request, as JSON: `method`, `path`, `headers`, and the body as `json`, or else as `data`.
    Echo,
    /// This status, these lines of the head, and this body.
    Says(u16, String, String),
    /// Nothing: the connection is closed.
    Hangs,
    /// These bytes, whatever they are.
    Raw(Vec<u8>),
}

/// Listens on loopback.
pub struct Echo {
    port: u16,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    heard: Vec<Heard>,
    next: VecDeque<Reply>,
}

impl Echo {
    /// Starts one that echoes.
    pub fn start() -> Echo {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::<Mutex<Shared>>::default();
        let all = shared.clone();
        // The threads end with the test's process.
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let all = all.clone();
                std::thread::spawn(move || while let Ok(true) = serve(&client, &all) {});
            }
        });
        Echo { port, shared }
    }

    /// Has the next request answered in this way; afterwards it echoes again.
    pub fn next(&self, reply: Reply) {
        self.shared.lock().unwrap().next.push_back(reply);
    }

    /// Has the next request answered with this status and body.
    pub fn says(&self, status: u16, body: &str) {
        self.next(Reply::Says(status, String::new(), body.to_owned()));
    }

    /// Takes the requests that came so far.
    pub fn take(&self) -> Vec<Heard> {
        std::mem::take(&mut self.shared.lock().unwrap().heard)
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }
}

fn serve(client: &TcpStream, shared: &Mutex<Shared>) -> std::io::Result<bool> {
    let mut reader = BufReader::new(client);
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(false);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => {
                headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
            }
            None => break,
        }
    }
    let heard = |body: String| Heard {
        method: method.clone(),
        path: path.clone(),
        headers: headers.clone(),
        body,
    };
    let length = heard(String::new())
        .header("content-length")
        .and_then(|n| n.parse().ok());
    let mut body = vec![0; length.unwrap_or_default()];
    reader.read_exact(&mut body)?;
    let heard = heard(String::from_utf8_lossy(&body).into_owned());
    let reply = {
        let mut shared = shared.lock().unwrap();
        shared.heard.push(heard.clone());
        shared.next.pop_front().unwrap_or(Reply::Echo)
    };
    let mut client = client;
    match reply {
        Reply::Echo => {
            let json: Option<serde_json::Value> = serde_json::from_str(&heard.body).ok();
            let headers: serde_json::Map<_, _> = heard
                .headers
                .iter()
                .map(|(name, value)| (name.clone(), value.clone().into()))
                .collect();
            let echoed = serde_json::json!({
                "method": heard.method, "path": heard.path, "headers": headers,
                "json": json, "data": heard.body, "ts": "1606.7",
            });
            answer(
                client,
                200,
                "Content-Type: application/json\r\n",
                &echoed.to_string(),
            )
        }
        Reply::Says(status, head, body) => answer(client, status, &head, &body),
        Reply::Hangs => Ok(false),
        Reply::Raw(bytes) => client.write_all(&bytes).map(|()| false),
    }
}

fn answer(mut client: &TcpStream, status: u16, head: &str, body: &str) -> std::io::Result<bool> {
    let length = body.len();
    let text = format!("HTTP/1.1 {status} Said\r\nContent-Length: {length}\r\n{head}\r\n{body}");
    client.write_all(text.as_bytes())?;
    Ok(true)
}

//! A server of our own that answers whatever a test wants, or nothing.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

/// Listens on loopback, and keeps what it was asked.
pub struct Faulty {
    port: u16,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Faulty {
    /// Takes connections and never says a word.
    pub fn silent() -> Faulty {
        Faulty::start(|_| None)
    }

    /// Answers each request with these bytes and closes the connection.
    pub fn answering(bytes: &str) -> Faulty {
        let bytes = bytes.to_owned();
        Faulty::start(move |_| Some(bytes.clone()))
    }

    /// Answers with what `answer` makes of a request's head; keeps the connection open in silence when it makes nothing.
    pub fn start(answer: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Faulty {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (keep, answer) = (heard.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for mut client in listener.incoming().map_while(Result::ok) {
                let (keep, answer) = (keep.clone(), answer.clone());
                std::thread::spawn(move || {
                    let mut head = Vec::new();
                    let mut bytes = [0; 1024];
                    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                        match client.read(&mut bytes) {
                            Ok(n @ 1..) => head.extend_from_slice(&bytes[..n]),
                            _ => break,
                        }
                    }
                    let head = String::from_utf8_lossy(&head).into_owned();
                    keep.lock().unwrap().push(head.clone());
                    match answer(&head) {
                        Some(answer) => drop(client.write_all(answer.as_bytes())),
                        // Until the other side has had enough.
                        None => while matches!(client.read(&mut bytes), Ok(1..)) {},
                    }
                });
            }
        });
        Faulty { port, heard }
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The heads of all requests so far.
    pub fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

//! A relay of our own between a step and a server, which counts what goes through.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Passes connections on to a port of this machine.
pub struct Relay {
    port: u16,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    connections: AtomicUsize,
    bytes: AtomicUsize,
}

impl Relay {
    /// Passes connections on to `to`.
    pub fn start(to: u16) -> Relay {
        Relay::slow(to, Duration::ZERO)
    }

    /// Passes connections on to `to`, each byte as much later as `one_way` says. Any number are on the way at a time.
    pub fn slow(to: u16, one_way: Duration) -> Relay {
        Relay::with(to, one_way, None)
    }

    /// Passes connections on to `to`, a web server, as if its clock said `time`: the end of a header `Date`, as
    /// `Tue, 15 Nov 1994 08:12:31 GMT`.
    pub fn with_clock(to: u16, time: &str) -> Relay {
        assert_eq!(time.len(), DATE);
        Relay::with(to, Duration::ZERO, Some(time.to_owned()))
    }

    fn with(to: u16, one_way: Duration, date: Option<String>) -> Relay {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let counts = Arc::new(Counts::default());
        let counted = counts.clone();
        // The thread ends with the test's process; nothing is left behind that a test could notice.
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                counted.connections.fetch_add(1, Ordering::SeqCst);
                let Ok(server) = TcpStream::connect(("127.0.0.1", to)) else {
                    continue;
                };
                let _ = (client.set_nodelay(true), server.set_nodelay(true));
                let (back, forth) = (counted.clone(), counted.clone());
                let (from_client, from_server) =
                    (client.try_clone().unwrap(), server.try_clone().unwrap());
                let date = date.clone();
                std::thread::spawn(move || pass(from_client, server, &forth, one_way, None));
                std::thread::spawn(move || pass(from_server, client, &back, one_way, date));
            }
        });
        Relay { port, counts }
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many connections were made.
    pub fn connections(&self) -> usize {
        self.counts.connections.load(Ordering::SeqCst)
    }

    /// How many bytes went through, both ways.
    pub fn bytes(&self) -> usize {
        self.counts.bytes.load(Ordering::SeqCst)
    }
}

/// The length of a date in a header.
const DATE: usize = 29;

/// Puts another date in the place of the one that is in a header.
fn set_date(bytes: &mut [u8], date: &str) {
    let header = b"\r\nDate: ";
    let found = bytes
        .windows(header.len())
        .position(|window| window.eq_ignore_ascii_case(header));
    let old = found.and_then(|at| bytes.get_mut(at + header.len()..at + header.len() + DATE));
    if let Some(old) = old {
        old.copy_from_slice(date.as_bytes());
    }
}

fn pass(
    mut from: TcpStream,
    mut to: TcpStream,
    counts: &Counts,
    delay: Duration,
    date: Option<String>,
) {
    let (sender, receiver) = std::sync::mpsc::channel::<(Instant, Vec<u8>)>();
    let writer = std::thread::spawn(move || {
        for (due, bytes) in receiver {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    });
    let mut bytes = [0; 16 * 1024];
    while let Ok(n @ 1..) = from.read(&mut bytes) {
        counts.bytes.fetch_add(n, Ordering::SeqCst);
        if let Some(date) = &date {
            set_date(&mut bytes[..n], date);
        }
        if sender
            .send((Instant::now() + delay, bytes[..n].to_vec()))
            .is_err()
        {
            break;
        }
    }
    drop(sender);
    let _ = writer.join();
}

//! A relay of our own that knows where an HTTP request begins and ends, and does to each what a test's dice say.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What is done to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mischief {
    /// Nothing.
    None,
    /// It reaches the server later.
    Delay(Duration),
    /// The reply comes later, though the server has done its work.
    DelayReply(Duration),
    /// The server never hears of it, and the connection is closed.
    LoseRequest,
    /// The server hears only the first half, and both connections are closed.
    CutRequest,
    /// The server never hears of it; the client is told that it is busy.
    Busy,
    /// The server never hears of it; the client gets an answer with this status, and with the headers in the lines after it.
    Answer(&'static str),
    /// The server handles it, and its reply is lost with the connection.
    LoseReply,
    /// The server handles it, half of the reply comes through, and the connection is closed.
    CutReply,
    /// The server handles it, and the client hears nothing for so long.
    Silence(Duration),
    /// The connection is closed at once, and the server gets the request when nobody expects it any more.
    Straggle(Duration),
    /// The reply has other words in place of these, which are as long.
    Reword(&'static str, &'static str),
    /// The server gets it twice, as from a proxy that tries again; the second reply counts.
    Twice,
}

/// Passes requests on to a server, or does other things with them.
pub struct Havoc {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    to: Arc<AtomicU16>,
    dice: Mutex<Dice>,
    calm: AtomicBool,
    requests: AtomicUsize,
    pushes: AtomicUsize,
    under_way: AtomicUsize,
    done: Mutex<BTreeMap<String, usize>>,
}

type Dice = Box<dyn FnMut(&str) -> Mischief + Send>;

impl Havoc {
    /// Passes requests on to the port that `to` says at the time; 0 is a server that is not there. `dice` gets the first
    /// line of each request and says what is done to it.
    pub fn start(to: Arc<AtomicU16>, dice: impl FnMut(&str) -> Mischief + Send + 'static) -> Havoc {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            to,
            dice: Mutex::new(Box::new(dice)),
            calm: AtomicBool::new(false),
            requests: AtomicUsize::new(0),
            pushes: AtomicUsize::new(0),
            under_way: AtomicUsize::new(0),
            done: Mutex::new(BTreeMap::new()),
        });
        let relay = shared.clone();
        // The threads end with the test's process; nothing is left behind that a test could notice.
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let relay = relay.clone();
                std::thread::spawn(move || relay.serve(client));
            }
        });
        Havoc { port, shared }
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on everything goes through.
    pub fn calm_down(&self) {
        self.shared.calm.store(true, Ordering::SeqCst);
    }

    /// How many requests have come by so far.
    pub fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::SeqCst)
    }

    /// How many pushes have come by so far.
    pub fn pushes(&self) -> usize {
        self.shared.pushes.load(Ordering::SeqCst)
    }

    /// Whether nothing is on its way, not even what nobody waits for any more.
    pub fn is_idle(&self) -> bool {
        self.shared.under_way.load(Ordering::SeqCst) == 0
    }

    /// How often each thing was done.
    pub fn done(&self) -> BTreeMap<String, usize> {
        self.shared.done.lock().unwrap().clone()
    }
}

impl Shared {
    fn serve(&self, client: TcpStream) {
        let _ = client.set_nodelay(true);
        let Ok(mut requests) = client.try_clone().map(BufReader::new) else {
            return;
        };
        let mut server = None;
        while let Ok(request) = read_message(&mut requests, false) {
            self.under_way.fetch_add(1, Ordering::SeqCst);
            let goes_on = self.handle(&request, &client, &mut server);
            self.under_way.fetch_sub(1, Ordering::SeqCst);
            if goes_on.is_err() {
                break;
            }
        }
        let _ = client.shutdown(Shutdown::Both);
    }

    /// Fails when the connection is to be closed.
    fn handle(
        &self,
        request: &[u8],
        mut client: &TcpStream,
        server: &mut Option<BufReader<TcpStream>>,
    ) -> std::io::Result<()> {
        let closed = || Err(ErrorKind::ConnectionAborted.into());
        let line = request.split(|byte| *byte == b'\r').next();
        let line = String::from_utf8_lossy(line.unwrap_or_default()).into_owned();
        self.requests.fetch_add(1, Ordering::SeqCst);
        if line.contains("POST") && line.contains("/git-receive-pack") {
            self.pushes.fetch_add(1, Ordering::SeqCst);
        }
        let mischief = if self.calm.load(Ordering::SeqCst) {
            Mischief::None
        } else {
            (self.dice.lock().unwrap())(&line)
        };
        let name = format!("{mischief:?}");
        let name = name.split('(').next().unwrap_or_default().to_owned();
        *self.done.lock().unwrap().entry(name).or_default() += 1;
        match mischief {
            Mischief::None => client.write_all(&self.ask(request, server)?),
            Mischief::Delay(time) => {
                std::thread::sleep(time);
                client.write_all(&self.ask(request, server)?)
            }
            Mischief::DelayReply(time) => {
                let reply = self.ask(request, server)?;
                std::thread::sleep(time);
                client.write_all(&reply)
            }
            Mischief::LoseRequest => closed(),
            Mischief::CutRequest => {
                self.connection(server)?
                    .get_mut()
                    .write_all(&request[..request.len() / 2])?;
                closed()
            }
            Mischief::Busy => client.write_all(answer("503 Service Unavailable").as_bytes()),
            Mischief::Answer(status) => client.write_all(answer(status).as_bytes()),
            Mischief::LoseReply => {
                self.ask(request, server)?;
                closed()
            }
            Mischief::CutReply => {
                let reply = self.ask(request, server)?;
                client.write_all(&reply[..reply.len() / 2])?;
                closed()
            }
            Mischief::Silence(time) => {
                self.ask(request, server)?;
                std::thread::sleep(time);
                closed()
            }
            Mischief::Straggle(time) => {
                let _ = client.shutdown(Shutdown::Both);
                std::thread::sleep(time);
                self.ask(request, server)?;
                closed()
            }
            Mischief::Reword(words, others) => {
                assert_eq!(words.len(), others.len());
                let mut reply = self.ask(request, server)?;
                let found = reply
                    .windows(words.len())
                    .position(|at| at == words.as_bytes());
                if let Some(at) = found {
                    reply[at..at + words.len()].copy_from_slice(others.as_bytes());
                }
                client.write_all(&reply)
            }
            Mischief::Twice => {
                self.ask(request, server)?;
                client.write_all(&self.ask(request, server)?)
            }
        }
    }

    /// Has the server handle a request, and gives its whole reply.
    fn ask(
        &self,
        request: &[u8],
        server: &mut Option<BufReader<TcpStream>>,
    ) -> std::io::Result<Vec<u8>> {
        let connection = self.connection(server)?;
        connection.get_mut().write_all(request)?;
        read_message(connection, true)
    }

    fn connection<'a>(
        &self,
        server: &'a mut Option<BufReader<TcpStream>>,
    ) -> std::io::Result<&'a mut BufReader<TcpStream>> {
        if server.is_none() {
            let to = self.to.load(Ordering::SeqCst);
            if to == 0 {
                return Err(ErrorKind::ConnectionRefused.into());
            }
            let connection = TcpStream::connect(("127.0.0.1", to))?;
            connection.set_nodelay(true)?;
            *server = Some(BufReader::new(connection));
        }
        server.as_mut().ok_or(ErrorKind::NotConnected.into())
    }
}

/// An answer with this status.
fn answer(status: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-type: text/plain\r\ncontent-length: 4\r\n\r\nbusy")
}

/// Reads one message as it is: the head, and the body as long as the head says.
///
/// Source: RFC 9112, section 6.
fn read_message(from: &mut impl BufRead, is_reply: bool) -> std::io::Result<Vec<u8>> {
    let mut message = Vec::new();
    let mut length = None;
    let mut chunked = false;
    loop {
        let line = read_line(from, &mut message)?;
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':') {
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse().ok(),
                "transfer-encoding" => chunked = value.to_ascii_lowercase().contains("chunked"),
                _ => {}
            }
        }
    }
    if chunked {
        loop {
            let line = read_line(from, &mut message)?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = u64::from_str_radix(size, 16).map_err(|_| ErrorKind::InvalidData)?;
            if size == 0 {
                while !read_line(from, &mut message)?.is_empty() {}
                break;
            }
            read_exactly(from, size + 2, &mut message)?;
        }
    } else if let Some(length) = length {
        read_exactly(from, length, &mut message)?;
    } else if is_reply {
        from.read_to_end(&mut message)?;
    }
    Ok(message)
}

/// Reads a line, keeps it, and gives it without its end.
fn read_line(from: &mut impl BufRead, keep: &mut Vec<u8>) -> std::io::Result<String> {
    let start = keep.len();
    if from.read_until(b'\n', keep)? == 0 {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    Ok(String::from_utf8_lossy(&keep[start..])
        .trim_end()
        .to_owned())
}

fn read_exactly(from: &mut impl Read, size: u64, keep: &mut Vec<u8>) -> std::io::Result<()> {
    if std::io::copy(&mut from.take(size), keep)? == size {
        Ok(())
    } else {
        Err(ErrorKind::UnexpectedEof.into())
    }
}

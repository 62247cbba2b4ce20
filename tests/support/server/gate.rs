//! A relay of our own that knows the requests of Git's smart HTTP protocol, and stops one where a test wants it.
//!
//! What is stopped stays where it is until the test has done what it came for, so that no test has to hit a moment.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::DEADLINE;

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Where the refs are, before a fetch.
    ListToFetch,
    /// The objects of a fetch.
    Fetch,
    /// Where the refs are, before a push.
    ListToPush,
    /// The push of a branch.
    Push,
}

/// Where on its way a request is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Before the server has heard of it.
    BeforeServer,
    /// After the server has done all of it, and before its reply is heard.
    BeforeClient,
}

/// Passes requests on to a web server, and stops those it was told to.
pub struct Gate {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Where the next requests are to be stopped.
    armed: Mutex<Vec<Armed>>,
    /// All requests that came.
    seen: Mutex<Vec<Request>>,
}

/// A place at which a request is stopped, as the thread that stops it has it.
struct Armed {
    request: Request,
    place: Place,
    stopped: Sender<()>,
    orders: Receiver<Order>,
}

/// What is to be done with a stopped request.
enum Order {
    /// It goes on as if nothing had been.
    GoOn,
    /// The client's connection breaks.
    Cut,
    /// The server gets it; nobody hears the reply. Then the sender is dropped.
    Deliver(#[allow(dead_code, reason = "its end is what is waited for")] Sender<()>),
}

/// A request that is going to be stopped, or is. One that is goes no further when this value is dropped.
pub struct Stopped {
    what: String,
    stopped: Receiver<()>,
    orders: Sender<Order>,
}

impl Gate {
    /// Passes requests on to the web server at `to`.
    pub fn start(to: u16) -> Gate {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared::default());
        let known = shared.clone();
        // The threads end with the test's process; nothing is left behind that a test could notice.
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let known = known.clone();
                // A broken connection is the end of it, on either side.
                std::thread::spawn(move || drop(serve(client, to, &known)));
            }
        });
        Gate { port, shared }
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Stops the next request of this kind, once. Told so several times, it stops as many, in this order.
    pub fn stop(&self, request: Request, place: Place) -> Stopped {
        let (stopped, has_stopped) = channel();
        let (order, orders) = channel();
        self.shared.armed.lock().unwrap().push(Armed {
            request,
            place,
            stopped,
            orders,
        });
        Stopped {
            what: format!("{request:?} is at {place:?}"),
            stopped: has_stopped,
            orders: order,
        }
    }

    /// How many requests of this kind have come so far.
    pub fn seen(&self, request: Request) -> usize {
        let seen = self.shared.seen.lock().unwrap();
        seen.iter().filter(|seen| **seen == request).count()
    }
}

impl Stopped {
    /// Waits until the request is there; `alive` says whether somebody is left who could make it.
    pub fn wait(&self, mut alive: impl FnMut() -> bool) {
        let started = Instant::now();
        loop {
            // Looked at first: who has ended may have been here before.
            let alive = alive();
            match self.stopped.recv_timeout(Duration::from_millis(20)) {
                Ok(()) => return,
                Err(RecvTimeoutError::Timeout) if alive && started.elapsed() < DEADLINE => {}
                Err(_) => panic!("waited in vain until {}; alive: {alive}", self.what),
            }
        }
    }

    /// Lets it go on as if nothing had been.
    pub fn go_on(self) {
        self.order(Order::GoOn);
    }

    /// Breaks the client's connection. The request stays where it is.
    pub fn cut(&self) {
        self.order(Order::Cut);
    }

    /// Gives the request to the server, which nobody hears of, and waits until the server has done with it.
    pub fn deliver(self) {
        let (done, is_done) = channel();
        self.order(Order::Deliver(done));
        let end = is_done.recv_timeout(DEADLINE);
        assert_eq!(end, Err(RecvTimeoutError::Disconnected), "{}", self.what);
    }

    fn order(&self, order: Order) {
        self.orders.send(order).unwrap();
    }
}

impl Armed {
    /// Says that the request is here, and does with it what it is told to; whether the request goes on.
    fn hold(self, client: &TcpStream, deliver: impl FnOnce()) -> bool {
        if self.stopped.send(()).is_err() {
            // Nobody is interested any more.
            return true;
        }
        for order in &self.orders {
            match order {
                Order::GoOn => return true,
                Order::Cut => drop(client.shutdown(Shutdown::Both)),
                Order::Deliver(done) => {
                    deliver();
                    drop(done);
                    break;
                }
            }
        }
        false
    }
}

/// Serves the requests of one connection, one after the other.
fn serve(mut client: TcpStream, to: u16, shared: &Shared) -> io::Result<()> {
    client.set_nodelay(true)?;
    while let Some((head, body)) = read_request(&mut client)? {
        let kind = kind_of(&head, &body);
        let armed = kind.and_then(|kind| {
            shared.seen.lock().unwrap().push(kind);
            let mut armed = shared.armed.lock().unwrap();
            let first = armed.iter().position(|armed| armed.request == kind)?;
            Some(armed.remove(first))
        });
        let (at_server, at_client) = match armed {
            Some(armed) if armed.place == Place::BeforeServer => (Some(armed), None),
            armed => (None, armed),
        };
        if let Some(armed) = at_server
            && !armed.hold(&client, || drop(ask(to, &head, &body)))
        {
            return Ok(());
        }
        let reply = ask(to, &head, &body)?;
        if let Some(armed) = at_client
            && !armed.hold(&client, || {})
        {
            return Ok(());
        }
        client.write_all(&reply)?;
    }
    Ok(())
}

/// Reads one request, whose body has a length; `None` when there is none any more.
fn read_request(client: &mut TcpStream) -> io::Result<Option<(String, Vec<u8>)>> {
    let mut bytes = Vec::new();
    let mut more = [0; 16 * 1024];
    let end = loop {
        if let Some(end) = end_of_head(&bytes) {
            break end;
        }
        match client.read(&mut more)? {
            0 => return Ok(None),
            n => bytes.extend_from_slice(&more[..n]),
        }
    };
    let mut body = bytes.split_off(end);
    let head = String::from_utf8_lossy(&bytes).into_owned();
    let length = header(&head, "content-length").map_or(0, |value| value.parse().unwrap());
    assert!(header(&head, "transfer-encoding").is_none(), "{head}");
    while body.len() < length {
        match client.read(&mut more)? {
            0 => return Ok(None),
            n => body.extend_from_slice(&more[..n]),
        }
    }
    Ok(Some((head, body)))
}

/// Asks the server on a connection of its own, and gives its whole reply as one that leaves the client's connection open.
fn ask(to: u16, head: &str, body: &[u8]) -> io::Result<Vec<u8>> {
    let mut server = TcpStream::connect(("127.0.0.1", to))?;
    server.set_nodelay(true)?;
    // In the old version of the protocol the end of a reply is the end of its connection.
    server.write_all(
        head.replacen(" HTTP/1.1\r\n", " HTTP/1.0\r\n", 1)
            .as_bytes(),
    )?;
    server.write_all(body)?;
    let mut reply = Vec::new();
    server.read_to_end(&mut reply)?;
    let end = end_of_head(&reply).ok_or(io::ErrorKind::UnexpectedEof)?;
    let body = reply.split_off(end);
    let head = String::from_utf8_lossy(&reply).replacen("HTTP/1.0 ", "HTTP/1.1 ", 1);
    let mut whole: String = head
        .lines()
        .filter(|line| {
            let name = line.split(':').next().unwrap().to_ascii_lowercase();
            !line.is_empty() && name != "connection" && name != "content-length"
        })
        .map(|line| format!("{line}\r\n"))
        .collect();
    whole += &format!("Content-Length: {}\r\n\r\n", body.len());
    Ok([whole.into_bytes(), body].concat())
}

fn kind_of(head: &str, body: &[u8]) -> Option<Request> {
    let line = head.lines().next().unwrap_or_default();
    let mut words = line.split(' ');
    let (method, path) = (words.next()?, words.next()?);
    if method == "GET" && path.ends_with("/info/refs?service=git-upload-pack") {
        Some(Request::ListToFetch)
    } else if method == "POST" && path.ends_with("/git-upload-pack") {
        Some(Request::Fetch)
    } else if method == "GET" && path.ends_with("/info/refs?service=git-receive-pack") {
        Some(Request::ListToPush)
    } else if method == "POST" && path.ends_with("/git-receive-pack") {
        // Other refs may be pushed too, which are of no concern here. The names stand before the first flush.
        let commands = &body[..position(body, b"0000PACK").unwrap_or(body.len())];
        position(commands, b" refs/heads/").map(|_| Request::Push)
    } else {
        None
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let fields = head.lines().filter_map(|line| line.split_once(':'));
    let mut named = fields.filter(|(field, _)| field.eq_ignore_ascii_case(name));
    named.next().map(|(_, value)| value.trim())
}

fn end_of_head(bytes: &[u8]) -> Option<usize> {
    position(bytes, b"\r\n\r\n").map(|at| at + 4)
}

fn position(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|found| found == wanted)
}

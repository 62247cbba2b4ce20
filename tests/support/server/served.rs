//! A small HTTP server of our own for simulations, with faults for each call that a test wants, and a place where a call can
//! be stopped.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::DEADLINE;
use url::form_urlencoded;

/// A request, as it came.
#[derive(Clone, Debug)]
pub struct Call {
    /// What it asks for, by the simulation's own word.
    pub name: String,
    pub method: String,
    pub target: String,
    /// The parts of the path, decoded.
    pub path: Vec<String>,
    pub query: Vec<(String, String)>,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
    pub at: Instant,
}

impl Call {
    /// The body as JSON; null where it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// A header, by its name in lower case.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map(String::as_str)
            .unwrap_or_default()
    }
}

/// An answer.
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Reply {
        Reply {
            status,
            headers: Vec::new(),
            body: body.into(),
        }
    }

    pub fn json(status: u16, body: &serde_json::Value) -> Reply {
        Reply::new(status, body.to_string()).with("Content-Type", "application/json")
    }

    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Reply {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// What goes wrong with a call.
#[derive(Clone)]
pub enum Fault {
    /// It is answered with this status and body, and not done.
    Status(u16, String),
    /// As that, with a header.
    With(u16, &'static str, String),
    /// It is done a while later.
    Delay(Duration),
    /// The connection is closed, and it is not done.
    Drop,
    /// It is done, and nobody hears of it.
    Lost,
    /// It is never answered, and not done.
    Stall,
    /// It is stopped before or after it is done, until the test lets it go on.
    Held(Arc<Stop>, Place),
}

/// Where on its way a call is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    BeforeDone,
    AfterDone,
}

/// A call that is going to be stopped, or is.
#[derive(Default)]
pub struct Stop {
    state: Mutex<Stage>,
    changed: Condvar,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Stage {
    #[default]
    Coming,
    There,
    GoOn,
    Cut,
}

impl Stop {
    /// Waits until the call is there.
    pub fn wait(&self) {
        let state = self.state.lock().unwrap();
        let (state, _) = self
            .changed
            .wait_timeout_while(state, DEADLINE, |stage| *stage == Stage::Coming)
            .unwrap();
        assert!(*state == Stage::There, "the call never came");
    }

    /// Lets it go on as if nothing had been.
    pub fn go_on(&self) {
        self.set(Stage::GoOn);
    }

    /// Has its connection closed; it goes no further.
    pub fn cut(&self) {
        self.set(Stage::Cut);
    }

    fn set(&self, stage: Stage) {
        *self.state.lock().unwrap() = stage;
        self.changed.notify_all();
    }

    /// Whether the call goes on.
    fn hold(&self) -> bool {
        self.set(Stage::There);
        let state = self.state.lock().unwrap();
        let is_held = |stage: &mut Stage| *stage == Stage::There;
        *self.changed.wait_while(state, is_held).unwrap() == Stage::GoOn
    }
}

/// A simulation that is served, with what was asked and what is to go wrong.
#[derive(Clone)]
pub struct Served {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    faults: Mutex<Vec<(String, Fault, usize)>>,
    /// How many of a thousand calls go wrong by chance, and what decides on it.
    chance: Mutex<(u64, u64)>,
    calls: Mutex<Vec<Call>>,
}

impl Served {
    /// Serves a simulation on loopback. The threads end with the test's process.
    pub fn start(
        name: impl Fn(&Call) -> String + Send + Sync + 'static,
        answer: impl Fn(&Call) -> Reply + Send + Sync + 'static,
    ) -> Served {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let served = Served {
            port: listener.local_addr().unwrap().port(),
            shared: Arc::default(),
        };
        let (shared, name, answer) = (served.shared.clone(), Arc::new(name), Arc::new(answer));
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (shared, name, answer) = (shared.clone(), name.clone(), answer.clone());
                std::thread::spawn(move || {
                    // Whoever breaks the connection has had enough.
                    let _ = serve(client, &shared, &*name, &*answer);
                });
            }
        });
        served
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Has the next calls of this name go wrong, so many of them.
    pub fn fail(&self, call: &str, fault: Fault, times: usize) {
        let mut faults = self.shared.faults.lock().unwrap();
        faults.push((call.to_owned(), fault, times));
    }

    /// Has nothing go wrong any more.
    pub fn mend(&self) {
        self.shared.faults.lock().unwrap().clear();
        self.shared.chance.lock().unwrap().0 = 0;
    }

    /// Stops the next call of this name.
    pub fn stop(&self, call: &str, place: Place) -> Arc<Stop> {
        let stop = Arc::new(Stop::default());
        self.fail(call, Fault::Held(stop.clone(), place), 1);
        stop
    }

    /// Has so many of a thousand calls go wrong, in all ways that end.
    pub fn fail_by_chance(&self, per_mille: u64, seed: u64) {
        *self.shared.chance.lock().unwrap() = (per_mille, seed | 1);
    }

    /// What was asked, in order.
    pub fn calls(&self) -> MutexGuard<'_, Vec<Call>> {
        self.shared.calls.lock().unwrap()
    }

    /// What was asked of this name.
    pub fn calls_of(&self, name: &str) -> Vec<Call> {
        let calls = self.calls();
        calls
            .iter()
            .filter(|call| call.name == name)
            .cloned()
            .collect()
    }

    /// How often this was asked.
    pub fn count(&self, name: &str) -> usize {
        self.calls().iter().filter(|call| call.name == name).count()
    }
}

impl Shared {
    fn fault(&self, name: &str) -> Option<Fault> {
        let mut faults = self.faults.lock().unwrap();
        let found = faults
            .iter_mut()
            .find(|(call, _, times)| call == name && *times > 0);
        if let Some((_, fault, times)) = found {
            *times -= 1;
            return Some(fault.clone());
        }
        let (per_mille, state) = &mut *self.chance.lock().unwrap();
        if *per_mille == 0 {
            return None;
        }
        // Source: George Marsaglia, "Xorshift RNGs".
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        (*state % 1000 < *per_mille).then(|| match (*state >> 16) % 6 {
            0 => Fault::Status(500, "it broke".to_owned()),
            1 => Fault::Status(503, "not now".to_owned()),
            2 => Fault::Status(429, "not so many".to_owned()),
            3 => Fault::Drop,
            4 => Fault::Lost,
            _ => Fault::Delay(Duration::from_millis(*state >> 20 & 0xff)),
        })
    }
}

fn serve(
    mut client: TcpStream,
    shared: &Shared,
    name: &dyn Fn(&Call) -> String,
    answer: &dyn Fn(&Call) -> Reply,
) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    let Some(mut call) = read(&mut client)? else {
        return Ok(());
    };
    call.name = name(&call);
    let fault = shared.fault(&call.name);
    shared.calls.lock().unwrap().push(call.clone());
    let reply = match fault {
        None => answer(&call),
        Some(Fault::Status(status, body)) => Reply::new(status, body),
        Some(Fault::With(status, header, value)) => Reply::new(status, "").with(header, &value),
        Some(Fault::Delay(time)) => {
            std::thread::sleep(time);
            answer(&call)
        }
        Some(Fault::Drop) => return client.shutdown(Shutdown::Both),
        Some(Fault::Lost) => {
            answer(&call);
            return client.shutdown(Shutdown::Both);
        }
        Some(Fault::Stall) => {
            while matches!(client.read(&mut [0; 1024]), Ok(1..)) {}
            return Ok(());
        }
        Some(Fault::Held(stop, Place::BeforeDone)) => match stop.hold() {
            true => answer(&call),
            false => return client.shutdown(Shutdown::Both),
        },
        Some(Fault::Held(stop, Place::AfterDone)) => {
            let reply = answer(&call);
            match stop.hold() {
                true => reply,
                false => return client.shutdown(Shutdown::Both),
            }
        }
    };
    let mut head = format!("HTTP/1.1 {} X\r\nConnection: close\r\n", reply.status);
    for (name, value) in &reply.headers {
        head += &format!("{name}: {value}\r\n");
    }
    if reply.status != 204 {
        head += &format!("Content-Length: {}\r\n", reply.body.len());
    }
    head += "\r\n";
    client.write_all(head.as_bytes())?;
    client.write_all(&reply.body)?;
    client.flush()
}

fn read(client: &mut TcpStream) -> std::io::Result<Option<Call>> {
    let mut bytes = Vec::new();
    let mut piece = [0; 16 * 1024];
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|end| end == b"\r\n\r\n") {
            break at + 4;
        }
        match client.read(&mut piece)? {
            0 => return Ok(None),
            n => bytes.extend_from_slice(&piece[..n]),
        }
    };
    let mut body = bytes.split_off(end);
    let head = String::from_utf8_lossy(&bytes).into_owned();
    let mut lines = head.lines();
    let mut first = lines.next().unwrap_or_default().split(' ');
    let (method, target) = (
        first.next().unwrap_or_default(),
        first.next().unwrap_or_default(),
    );
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers
        .get("content-length")
        .and_then(|text| text.parse().ok());
    while body.len() < length.unwrap_or(0) {
        match client.read(&mut piece)? {
            0 => return Ok(None),
            n => body.extend_from_slice(&piece[..n]),
        }
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let decoded = |part: &str| {
        let decoded = percent_encoding::percent_decode_str(part).decode_utf8_lossy();
        decoded.into_owned()
    };
    Ok(Some(Call {
        name: String::new(),
        method: method.to_owned(),
        target: target.to_owned(),
        path: path.split('/').skip(1).map(decoded).collect(),
        query: form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect(),
        headers,
        body,
        at: Instant::now(),
    }))
}

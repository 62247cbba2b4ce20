//! A relay of our own that does harm on its way to a real server.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// What is done to a connection.
#[derive(Clone, Copy)]
pub enum Harm {
    /// Nothing: it goes through.
    None,
    /// It is closed at once.
    Close,
    /// The first thing that the client says is answered with these bytes, and no server hears of it.
    Answer(&'static [u8]),
    /// This many bytes of what the server says go through, then nothing; the connection stays open.
    StallAfter(usize),
    /// What the server says goes through byte by byte, with a pause before each.
    Trickle(Duration),
}

/// Passes connections on to a server, or does what a test wants with them.
pub struct Unsteady {
    port: u16,
    connections: Arc<AtomicUsize>,
}

impl Unsteady {
    /// Passes connections on to `to`; `harm` says what is done to the first (0), the second (1), and so on.
    pub fn start(to: u16, harm: impl Fn(usize) -> Harm + Send + 'static) -> Unsteady {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = connections.clone();
        // The threads end with the test's process; nothing is left behind that a test could notice.
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let harm = harm(counted.fetch_add(1, Ordering::SeqCst));
                std::thread::spawn(move || serve(client, to, harm));
            }
        });
        Unsteady { port, connections }
    }

    /// Passes connections on to `to`, each only when the one before it is over.
    pub fn one_at_a_time(to: u16) -> Unsteady {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = connections.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                counted.fetch_add(1, Ordering::SeqCst);
                serve(client, to, Harm::None);
            }
        });
        Unsteady { port, connections }
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many connections were made.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

fn serve(mut client: TcpStream, to: u16, harm: Harm) {
    let mut bytes = [0; 4096];
    match harm {
        Harm::Close => return,
        Harm::Answer(answer) => {
            let _ = client.read(&mut bytes);
            let _ = client.write_all(answer);
            return;
        }
        Harm::None | Harm::StallAfter(_) | Harm::Trickle(_) => {}
    }
    let Ok(server) = TcpStream::connect(("127.0.0.1", to)) else {
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (mut from, mut into) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let forth = std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut into);
        let _ = into.shutdown(Shutdown::Write);
    });
    pass(server, client, harm);
    // A stalled connection stays open until the client has had enough.
    let _ = forth.join();
}

fn pass(mut server: TcpStream, mut client: TcpStream, harm: Harm) {
    let mut left = match harm {
        Harm::StallAfter(most) => most,
        _ => usize::MAX,
    };
    let mut bytes = [0; 4096];
    while let Ok(n @ 1..) = server.read(&mut bytes) {
        let heard = &bytes[..n.min(left)];
        left -= heard.len();
        let sent = match harm {
            Harm::Trickle(pause) => heard.iter().try_for_each(|byte| {
                std::thread::sleep(pause);
                client.write_all(&[*byte])
            }),
            _ => client.write_all(heard),
        };
        if sent.is_err() {
            return;
        }
        if left == 0 {
            return;
        }
    }
    let _ = client.shutdown(Shutdown::Write);
}

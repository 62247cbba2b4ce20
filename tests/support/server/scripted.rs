//! A server of our own that says what it is given, whatever it is asked.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What is said to a client whose first words are these.
pub type Script = Box<dyn Fn(&[u8], &mut dyn Write) -> std::io::Result<()> + Send>;

/// Listens on loopback.
pub struct Scripted {
    port: u16,
    script: Arc<Mutex<Script>>,
}

impl Scripted {
    /// Says what `script` writes for the first words of a client, and closes its side of the connection.
    pub fn start(
        script: impl Fn(&[u8], &mut dyn Write) -> std::io::Result<()> + Send + 'static,
    ) -> Scripted {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let script: Arc<Mutex<Script>> = Arc::new(Mutex::new(Box::new(script)));
        let current = script.clone();
        // The threads end with the test's process; nothing is left behind that a test could notice.
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let current = current.clone();
                std::thread::spawn(move || drop(serve(client, &current)));
            }
        });
        Scripted { port, script }
    }

    /// Takes another script for the connections to come.
    pub fn say(&self, bytes: Vec<u8>) {
        *self.script.lock().unwrap() =
            Box::new(move |_: &[u8], to: &mut dyn Write| to.write_all(&bytes));
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }
}

fn serve(mut client: TcpStream, script: &Mutex<Script>) -> std::io::Result<()> {
    let mut bytes = [0; 4096];
    let n = client.read(&mut bytes)?;
    // What else it has to say is not listened to, but taken: a connection with something unread in it is reset.
    let mut rest = client.try_clone()?;
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while matches!(rest.read(&mut bytes), Ok(1..)) {}
    });
    let mut to = client.try_clone()?;
    let said = script.lock().unwrap()(&bytes[..n], &mut to);
    client.shutdown(Shutdown::Write)?;
    said
}

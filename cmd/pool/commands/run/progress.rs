//! What is seen while locks are waited for: the log, and on a terminal a last line that goes on.

use std::cell::RefCell;
use std::io::{self, IsTerminal, Write};
use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::pool::words::Log;

/// The error stream, with a line at its end that shows that we are waiting.
#[derive(Clone)]
pub struct Progress(Rc<RefCell<State>>);

struct State {
    is_terminal: bool,
    since: Instant,
    /// Whether anything was said: before that there is nothing to wait for.
    waits: bool,
    /// Whether the line is there now.
    drawn: bool,
    log: Log,
}

impl Progress {
    /// One that begins now.
    pub fn new() -> Progress {
        Progress(Rc::new(RefCell::new(State {
            is_terminal: io::stderr().is_terminal(),
            since: Instant::now(),
            waits: false,
            drawn: false,
            log: Log::default(),
        })))
    }

    /// Waits for a moment, and draws the line anew.
    pub async fn tick(&self) {
        sleep(Duration::from_secs(1)).await;
        let mut state = self.0.borrow_mut();
        if state.is_terminal && state.waits {
            let waited = Duration::from_secs(state.since.elapsed().as_secs());
            let _ = write!(
                io::stderr(),
                "\r\u{1b}[Kwaiting for {}; Ctrl-C gives up",
                pace::duration::in_two_units(waited)
            );
            state.drawn = true;
        }
    }

    /// Takes the line away.
    pub fn clear(&self) {
        self.0.borrow_mut().clear();
    }
}

impl State {
    fn clear(&mut self) {
        if std::mem::take(&mut self.drawn) {
            let _ = write!(io::stderr(), "\r\u{1b}[K");
        }
    }
}

impl Write for Progress {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.0.borrow_mut();
        state.clear();
        state.waits = true;
        state.log.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

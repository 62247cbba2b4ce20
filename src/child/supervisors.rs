//! Supervisors that go from task to task: to start one costs more than the shell does that it starts.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::{Supervised, Surroundings};

/// How many wait for another task at most.
const MOST_IDLE: usize = 32;

/// How long one waits.
const IDLE: Duration = Duration::from_secs(2);

/// Supervisors, and how they are started.
#[derive(Debug)]
pub struct Supervisors {
    program: PathBuf,
    name: &'static str,
    args: Vec<OsString>,
    /// Those that have nothing to do, and since when; the last one for the shortest time.
    idle: Mutex<Vec<(Instant, Supervised)>>,
}

impl Supervisors {
    /// The program that is a supervisor when it is started with these arguments, and the shell behind them; by what name it is
    /// called.
    pub fn new(program: PathBuf, name: &'static str, args: Vec<OsString>) -> Supervisors {
        Supervisors {
            program,
            name,
            args,
            idle: Mutex::default(),
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<(Instant, Supervised)>> {
        // Nobody panics in the midst of a change.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One that runs the scripts of a task.
    ///
    /// # Errors
    /// Those of the operating system.
    pub async fn begin(&self, surroundings: &Surroundings<'_>) -> io::Result<Supervised> {
        loop {
            let Some((_, mut known)) = self.idle().pop() else {
                break;
            };
            // Somebody may have killed it meanwhile.
            if !known.is_gone() && known.begin(surroundings).await.is_ok() {
                return Ok(known);
            }
        }
        let mut new = Supervised::start(&self.program, self.name, &self.args)?;
        new.begin(surroundings).await?;
        Ok(new)
    }

    /// Takes back one whose task has ended and has left nobody behind.
    pub async fn done(&self, supervised: Supervised) {
        let surplus = {
            let mut idle = self.idle();
            idle.push((Instant::now(), supervised));
            let n = idle.len().saturating_sub(MOST_IDLE);
            idle.drain(..n).collect::<Vec<_>>()
        };
        for (_, supervised) in surplus {
            supervised.leave().await;
        }
    }

    /// Ends those that have waited for long enough; all of them if so.
    pub async fn tidy(&self, all: bool) {
        let old: Vec<_> = {
            let mut idle = self.idle();
            let is_old = |since: &Instant| all || since.elapsed() >= IDLE;
            let n = idle.iter().take_while(|(since, _)| is_old(since)).count();
            idle.drain(..n).collect()
        };
        for (_, supervised) in old {
            supervised.leave().await;
        }
    }
}

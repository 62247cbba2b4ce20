//! A program that is run to its end, within a limit.

use std::ffi::OsStr;
use std::io;
use std::time::Duration;

use child::{Environment, Piped};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Child;
use tokio::time::timeout;

/// How much of an answer is read.
const MOST_ANSWER: u64 = 16 * 1024 * 1024;

/// How much is read of what a program tells people; the rest it may say to nobody.
const MOST_WORDS: u64 = 64 * 1024;

/// How a program has ended.
pub(super) struct Ended {
    /// Its exit code; `None` for a signal.
    pub code: Option<i32>,
    /// What it answered.
    pub stdout: Vec<u8>,
    /// What it told people.
    pub stderr: Vec<u8>,
}

/// Why a program has not ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum RunError {
    /// It never began.
    #[error("cannot start it")]
    Start(#[source] io::Error),
    /// It was killed.
    #[error("it took longer than {}, and was killed", humantime::format_duration(*.0))]
    Slow(Duration),
}

/// Kills what is left of a program that nobody waits for any more.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        child::kill_group(&self.0);
    }
}

/// Runs a program to its end. It and what it has started are killed at the limit, and when this is dropped.
pub(super) async fn run(
    program: &str,
    args: &[&OsStr],
    environment: Environment<'_>,
    input: &[u8],
    limit: Duration,
) -> Result<Ended, RunError> {
    let piped = child::piped(program, args, environment).map_err(RunError::Start)?;
    let Piped {
        child,
        mut stdin,
        mut stdout,
        mut stderr,
    } = piped;
    let mut running = Running(child);
    let work = async {
        let write = async move {
            // Who fails early does not read what he is told.
            let _ = stdin.write_all(input).await;
            // Dropped here: it is closed.
        };
        let (stdout, stderr) = (&mut stdout, &mut stderr);
        let ((), stdout, stderr) =
            tokio::join!(write, read(stdout, MOST_ANSWER), read(stderr, MOST_WORDS));
        let status = running.0.wait().await;
        Ended {
            code: status.ok().and_then(|status| status.code()),
            stdout,
            stderr,
        }
    };
    let ended = timeout(limit, work).await;
    ended.map_err(|_| RunError::Slow(limit))
}

/// Reads to the end, and keeps the beginning.
async fn read(from: &mut (impl AsyncRead + Unpin), most: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = (&mut *from).take(most).read_to_end(&mut bytes).await;
    let _ = tokio::io::copy(from, &mut tokio::io::sink()).await;
    bytes
}

impl Ended {
    /// What it said last, for people.
    pub fn words(&self) -> String {
        let text = String::from_utf8_lossy(&self.stderr);
        let last = text.lines().rev().find(|line| !line.trim().is_empty());
        let last: String = last.unwrap_or_default().chars().take(500).collect();
        terminal::one_line(last.trim())
    }
}

//! Scripts that run below a supervisor of their own: our side.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream as Pair;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};

/// What the answer to [`Order::Begin`] begins with.
const READY: u8 = b'k';

/// The longest message.
const LONGEST: usize = 64 << 20;

/// What a supervisor is told.
#[derive(Debug, PartialEq)]
pub(crate) enum Order {
    /// A task begins: its scripts have this environment, and these files for what they write. Nothing is known of the one
    /// before.
    Begin(Task),
    /// To be seen in no output.
    Secret(Vec<u8>),
    /// To be run.
    Run(Vec<u8>),
    /// All is to end.
    Stop,
    /// What is left may go on.
    Leave,
}

/// How the scripts of a task run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Task {
    pub env: Vec<(OsString, OsString)>,
    pub stdout: PathBuf,
    pub stderr: PathBuf,
}

impl Task {
    fn bytes(&self) -> Vec<u8> {
        let env = self.env.iter().flat_map(|(name, value)| [name, value]);
        let files = [self.stdout.as_os_str(), self.stderr.as_os_str()];
        let texts = files.into_iter().chain(env.map(OsString::as_os_str));
        // No path, name or value can have a NUL.
        let mut bytes = Vec::new();
        for text in texts {
            bytes.extend_from_slice(text.as_bytes());
            bytes.push(0);
        }
        bytes
    }

    fn read(bytes: &[u8]) -> Option<Task> {
        let mut texts = bytes
            .strip_suffix(&[0])?
            .split(|byte| *byte == 0)
            .map(|text| OsString::from_vec(text.to_vec()));
        let (stdout, stderr) = (texts.next()?.into(), texts.next()?.into());
        let mut env = Vec::new();
        while let Some(name) = texts.next() {
            env.push((name, texts.next()?));
        }
        Some(Task {
            env,
            stdout,
            stderr,
        })
    }
}

impl Order {
    fn bytes(&self) -> Vec<u8> {
        let (kind, text): (u8, &[u8]) = match self {
            Order::Begin(task) => return frame(b'b', &task.bytes()),
            Order::Secret(text) => (b'm', text),
            Order::Run(text) => (b'r', text),
            Order::Stop => (b's', &[]),
            Order::Leave => (b'l', &[]),
        };
        frame(kind, text)
    }

    /// The next one; `None` when no more come.
    pub(crate) fn read(from: &mut impl Read) -> Option<Order> {
        let mut head = [0; 5];
        from.read_exact(&mut head).ok()?;
        let mut text = vec![0; length(head)?];
        from.read_exact(&mut text).ok()?;
        match head[0] {
            b'b' => Task::read(&text).map(Order::Begin),
            b'm' => Some(Order::Secret(text)),
            b'r' => Some(Order::Run(text)),
            b's' => Some(Order::Stop),
            b'l' => Some(Order::Leave),
            _ => None,
        }
    }
}

/// What a supervisor tells.
#[derive(Debug, PartialEq)]
pub(crate) enum Answer {
    /// A task has begun.
    Ready,
    /// The script has ended.
    Ended {
        /// With this code.
        code: i32,
        /// Whether it has left anybody behind.
        is_any_left: bool,
    },
    /// It could not be started.
    Failed(String),
}

impl Answer {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        match self {
            Answer::Ready => frame(READY, &[]),
            Answer::Ended { code, is_any_left } => {
                let [a, b, c, d] = code.to_be_bytes();
                frame(b'e', &[a, b, c, d, u8::from(*is_any_left)])
            }
            Answer::Failed(text) => frame(b'f', text.as_bytes()),
        }
    }
}

fn frame(kind: u8, text: &[u8]) -> Vec<u8> {
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    let mut bytes = vec![kind];
    bytes.extend(length.to_be_bytes());
    bytes.extend(text);
    bytes
}

fn length(head: [u8; 5]) -> Option<usize> {
    let [_, length @ ..] = head;
    let length = usize::try_from(u32::from_be_bytes(length)).ok()?;
    (length <= LONGEST).then_some(length)
}

/// Where and how the scripts of a task run.
#[derive(Debug)]
pub struct Surroundings<'a> {
    /// The whole environment.
    pub env: &'a BTreeMap<OsString, OsString>,
    /// The file at whose end output goes; it is there.
    pub stdout: &'a Path,
    /// The file at whose end errors go; it is there.
    pub stderr: &'a Path,
    /// What is never written there.
    pub secrets: &'a [String],
}

impl Surroundings<'_> {
    fn orders(&self) -> Vec<Order> {
        let begin = Order::Begin(Task {
            env: self
                .env
                .iter()
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
            stdout: self.stdout.to_owned(),
            stderr: self.stderr.to_owned(),
        });
        let secrets = self.secrets.iter();
        let secrets = secrets.map(|secret| Order::Secret(secret.as_bytes().to_vec()));
        [begin].into_iter().chain(secrets).collect()
    }
}

/// How a script has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// Its exit code: 128 and the number for a signal.
    pub code: i32,
    /// Whether processes of it are left.
    pub is_any_left: bool,
}

/// A supervisor. When it is dropped, all that it has started ends.
#[derive(Debug)]
pub struct Supervised {
    process: Child,
    socket: UnixStream,
}

impl Supervised {
    /// Starts one. It does nothing yet.
    ///
    /// # Errors
    /// Those of the operating system.
    pub(crate) fn start(program: &Path, name: &str, args: &[OsString]) -> io::Result<Supervised> {
        let (ours, its) = Pair::pair()?;
        ours.set_nonblocking(true)?;
        let mut command = Command::new(program);
        command
            .arg0(name)
            .args(args)
            .env_clear()
            .stdin(Stdio::from(OwnedFd::from(its)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A key at the terminal is for us; it hears from us.
            .process_group(0);
        Ok(Supervised {
            process: command.spawn()?,
            socket: UnixStream::from_std(ours)?,
        })
    }

    /// Begins a task. Nothing of it has run when that fails.
    ///
    /// # Errors
    /// When the supervisor is gone.
    pub(crate) async fn begin(&mut self, surroundings: &Surroundings<'_>) -> io::Result<()> {
        let orders = surroundings.orders();
        let bytes: Vec<u8> = orders.iter().flat_map(Order::bytes).collect();
        self.socket.write_all(&bytes).await?;
        let mut head = [0; 5];
        self.socket.read_exact(&mut head).await?;
        match head[0] {
            READY => Ok(()),
            _ => Err(io::Error::other("it answers something else")),
        }
    }

    async fn send(&mut self, order: &Order) -> io::Result<()> {
        self.socket.write_all(&order.bytes()).await
    }

    /// Starts a script; its end is [`Supervised::ended`].
    ///
    /// # Errors
    /// When the supervisor was killed.
    pub async fn run(&mut self, script: &str) -> io::Result<()> {
        self.send(&Order::Run(script.as_bytes().to_vec())).await
    }

    /// Waits for the end of the script that runs. It must not be called again after it was dropped, but to stop.
    ///
    /// # Errors
    /// When the script could not be started, or the supervisor was killed.
    pub async fn ended(&mut self) -> io::Result<End> {
        let gone = |_| io::Error::other("the process that watches over the script was killed");
        let mut head = [0; 5];
        self.socket.read_exact(&mut head).await.map_err(gone)?;
        let mut text = vec![0; length(head).unwrap_or_default()];
        self.socket.read_exact(&mut text).await.map_err(gone)?;
        match (head[0], <[u8; 5]>::try_from(text.as_slice())) {
            (b'e', Ok([a, b, c, d, left])) => Ok(End {
                code: i32::from_be_bytes([a, b, c, d]),
                is_any_left: left != 0,
            }),
            _ => Err(io::Error::other(
                String::from_utf8_lossy(&text).into_owned(),
            )),
        }
    }

    /// Whether the supervisor itself has ended.
    pub(crate) fn is_gone(&mut self) -> bool {
        !matches!(self.process.try_wait(), Ok(None))
    }

    /// Ends all that it has started, and waits until that is gone.
    pub async fn stop(mut self) {
        let _ = self.send(&Order::Stop).await;
        self.gone().await;
    }

    /// Lets what is left go on. Nobody will know of it any more.
    pub async fn leave(mut self) {
        let _ = self.send(&Order::Leave).await;
        self.gone().await;
    }

    async fn gone(mut self) {
        let _ = self.process.wait().await;
    }
}

/// Whether a program of this name is on a `PATH`.
pub fn is_on_path(name: &str, path: &OsStr) -> bool {
    on_path(name.as_ref(), path).is_some()
}

/// The program of this name on a `PATH`.
pub(crate) fn on_path(name: &OsStr, path: &OsStr) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    std::env::split_paths(path)
        .map(|folder| folder.join(name))
        .find(|file| {
            let about = file.metadata();
            about.is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read_as_they_were_written() {
        let task = Task {
            env: vec![("A".into(), "".into()), ("B".into(), "x\ny=z".into())],
            stdout: "/a b/out".into(),
            stderr: "/err".into(),
        };
        let orders = [
            Order::Begin(task),
            Order::Begin(Task::default()),
            Order::Secret(b"x".to_vec()),
            Order::Run(vec![0; 70_000]),
            Order::Stop,
            Order::Leave,
        ];
        let bytes: Vec<u8> = orders.iter().flat_map(Order::bytes).collect();
        let mut from = bytes.as_slice();

        for order in orders {
            assert_eq!(Order::read(&mut from), Some(order));
        }
        assert_eq!(Order::read(&mut from), None);
        assert_eq!(Order::read(&mut &b"x\0\0\0\0"[..]), None);
        assert!(Order::read(&mut &b"b\0\0\0\x04a\0b\0"[..]).is_some());
        for half in [
            &b"b\0\0\0\x02a\0"[..],
            b"b\0\0\0\x06a\0b\0c\0",
            b"b\0\0\0\x03a\0b",
        ] {
            assert_eq!(Order::read(&mut &half[..]), None);
        }
        assert_eq!(Order::read(&mut &b"r\xff\xff\xff\xff"[..]), None);
    }
}

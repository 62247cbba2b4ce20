//! Transports: how a conversation with a server is opened, by kind of location.
//!
//! Two shapes serve all: a pipe (both directions open until the end) and HTTP (each request a POST of its own). What
//! is said over them is the same, and is [`super::remote`]'s business.

mod algorithms;
mod aside;
#[cfg(test)]
mod fuzz;
mod http;
mod known_hosts;
pub(crate) mod local;
mod pem;
pub(crate) mod private_key;
mod ssh;
mod tcp;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use net::{Limits, NetError};

use super::RemoteError;
use super::access::Access;
use super::location::Location;
use super::packet::{PacketError, PacketReader};
use super::plain::Plain;
use super::refusal::{self, Kind};
use aside::Aside;

/// The two things a server is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    /// Give refs and objects.
    UploadPack,
    /// Take objects and move refs.
    ReceivePack,
}

impl Service {
    fn name(self) -> &'static str {
        match self {
            Service::UploadPack => "git-upload-pack",
            Service::ReceivePack => "git-receive-pack",
        }
    }
}

/// A way to one repository.
pub(super) struct Link {
    remote: String,
    access: Access,
    notices: Notices,
    clock: Clock,
    /// What was found of a repository on a path, and when.
    plain: Mutex<Option<(Instant, Option<Plain>)>>,
    way: Way,
}

/// For so long it is believed that a repository on a path still is what it was: for the length of a look.
const STILL: Duration = Duration::from_millis(20);

enum Way {
    Local(PathBuf),
    Tcp {
        host: String,
        port: u16,
        path: String,
    },
    Http(Box<http::Http>),
    Ssh(Box<ssh::Ssh>),
}

/// Lines that people should read, though nothing failed.
#[derive(Debug, Clone, Default)]
pub(super) struct Notices(Arc<Mutex<Vec<String>>>);

impl Notices {
    fn add(&self, line: String) {
        if let Ok(mut lines) = self.0.lock()
            && !lines.contains(&line)
        {
            lines.push(line);
        }
    }

    /// Takes what has come up so far.
    pub fn take(&self) -> Vec<String> {
        self.0
            .lock()
            .map(|mut lines| std::mem::take(&mut *lines))
            .unwrap_or_default()
    }
}

/// The server's clock, as far as it has told.
#[derive(Debug, Default)]
pub(super) struct Clock(Mutex<Option<(SystemTime, Instant)>>);

impl Clock {
    fn note(&self, told: Option<SystemTime>) {
        if let (Some(time), Ok(mut known)) = (told, self.0.lock()) {
            *known = Some((time, Instant::now()));
        }
    }

    fn now(&self) -> Option<SystemTime> {
        let (time, since) = (*self.0.lock().ok()?)?;
        time.checked_add(since.elapsed())
    }
}

impl Link {
    pub fn new(location: &Location, access: &Access) -> Result<Arc<Link>, RemoteError> {
        let way = match location {
            Location::Path(path) => Way::Local(path.clone()),
            Location::Git { host, port, path } => Way::Tcp {
                host: host.clone(),
                port: *port,
                path: path.clone(),
            },
            Location::Http(url) => Way::Http(Box::new(http::Http::new(url, access)?)),
            Location::Ssh {
                host,
                port,
                user,
                path,
            } => {
                let proxy = access.route.proxy.as_ref();
                // Hosting services take everyone as this user.
                let user = user.as_deref().unwrap_or("git");
                Way::Ssh(Box::new(ssh::Ssh::new(
                    host,
                    *port,
                    user,
                    path,
                    &access.ssh,
                    proxy,
                )?))
            }
        };
        Ok(Arc::new(Link {
            remote: location.to_string(),
            access: access.clone(),
            notices: Notices::default(),
            clock: Clock::default(),
            plain: Mutex::default(),
            way,
        }))
    }

    /// What messages call the remote repository.
    pub fn remote(&self) -> &str {
        &self.remote
    }

    /// How we get in.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// For how long to wait.
    pub fn limits(&self) -> Limits {
        self.access.route.limits
    }

    /// What the server's clock says now, if it has told the time.
    pub fn server_time(&self) -> Option<SystemTime> {
        self.clock.now()
    }

    /// Lines that people should read, though nothing failed.
    pub fn notices(&self) -> &Notices {
        &self.notices
    }

    /// Whether a request can be sent without the server's advertisement before it on the same connection.
    pub fn is_stateless(&self) -> bool {
        match self.way {
            Way::Http(_) => true,
            Way::Local(_) | Way::Tcp { .. } | Way::Ssh(_) => false,
        }
    }

    /// The repository, if it is one on a path that needs no server, by what is there now.
    pub fn plain(&self) -> Option<Plain> {
        match (&self.way, &self.access.settings) {
            (Way::Local(path), Some(files)) => Plain::at(path, files),
            _ => None,
        }
    }

    /// The same, by what was there a moment ago.
    pub fn plain_of_late(&self) -> Option<Plain> {
        let Ok(mut found) = self.plain.lock() else {
            return self.plain();
        };
        match &*found {
            Some((at, plain)) if at.elapsed() < STILL => plain.clone(),
            _ => {
                let plain = self.plain();
                *found = Some((Instant::now(), plain.clone()));
                plain
            }
        }
    }

    /// Whether a second conversation may begin beside one that goes on.
    pub fn takes_several(&self) -> bool {
        match self.way {
            Way::Local(_) | Way::Http(_) | Way::Ssh(_) => true,
            // `git daemon --max-connections=1`
            Way::Tcp { .. } => false,
        }
    }

    /// Goes on after an advertisement that was read in another conversation; see [`Link::is_stateless`].
    pub fn resume(self: &Arc<Self>, service: Service) -> Result<Talk, RemoteError> {
        if !self.is_stateless() {
            return Err(self.mixed_up());
        }
        let nothing = PacketReader::new(
            Box::new(tokio::io::empty()),
            self.access.route.limits.silence,
        );
        Ok(Talk {
            link: self.clone(),
            reader: nothing,
            to: To::Http(service),
        })
    }

    fn mixed_up(&self) -> RemoteError {
        RemoteError::Protocol {
            remote: self.remote.clone(),
            found: "a conversation of another kind".to_owned(),
        }
    }

    /// Opens a conversation; the server speaks first, with its advertisement.
    pub async fn open(self: &Arc<Self>, service: Service) -> Result<Talk, RemoteError> {
        match &self.way {
            Way::Local(path) => local::open(self, path, service),
            Way::Tcp { host, port, path } => tcp::open(self, host, *port, path, service).await,
            Way::Http(http) => http.open(self, service).await,
            Way::Ssh(ssh) => ssh.open(self, service).await,
        }
    }
}

/// For how long the other side is waited for after a goodbye.
pub(super) const GOODBYE: Duration = Duration::from_millis(300);

/// An open conversation with a server.
///
/// One that is dropped while it waits for the server, or that the server has left waiting for too long, takes the session
/// with it that it shares with others: the next one begins on a new connection.
pub(super) struct Talk {
    link: Arc<Link>,
    pub reader: PacketReader,
    to: To,
}

enum To {
    Pipe {
        writer: Box<dyn AsyncWrite + Unpin + Send>,
        aside: Option<Aside>,
        /// What it shares with other conversations.
        session: Option<ssh::Shared>,
        /// Something is being sent, or was, when the server took no more.
        is_sending: bool,
    },
    Http(Service),
}

impl Drop for Talk {
    fn drop(&mut self) {
        if let To::Pipe {
            session: Some(session),
            is_sending,
            ..
        } = &self.to
            && (*is_sending || self.reader.is_waiting())
        {
            session.give_up();
        }
    }
}

impl Talk {
    /// Sends one request; what the server answers can then be read.
    pub async fn send(&mut self, request: Vec<u8>) -> Result<(), RemoteError> {
        let silence = self.link.access.route.limits.silence;
        match &mut self.to {
            To::Http(service) => {
                let Way::Http(http) = &self.link.way else {
                    return Err(self.link.mixed_up());
                };
                self.reader = http.post(&self.link, *service, request).await?;
                Ok(())
            }
            To::Pipe {
                writer, is_sending, ..
            } => {
                let mut result = Ok(());
                *is_sending = true;
                for piece in request.chunks(64 * 1024) {
                    result = match timeout(silence, writer.write_all(piece)).await {
                        Ok(Ok(())) => continue,
                        Ok(Err(err)) => Err(PacketError::Broken(err)),
                        Err(_) => Err(PacketError::Silent(silence)),
                    };
                    break;
                }
                if result.is_ok() {
                    result = match timeout(silence, writer.flush()).await {
                        Ok(Ok(())) => Ok(()),
                        Ok(Err(err)) => Err(PacketError::Broken(err)),
                        Err(_) => Err(PacketError::Silent(silence)),
                    };
                }
                *is_sending = matches!(result, Err(PacketError::Silent(_)));
                match result {
                    Ok(()) => Ok(()),
                    Err(err) => Err(self.failed(err).await),
                }
            }
        }
    }

    /// Says goodbye where the server would otherwise take the end for a broken connection. On a session that is shared it
    /// waits until the server has heard of it: a process that ends before would take the goodbye with it, and there are
    /// servers whose program then stays for ever.
    pub async fn leave(mut self) -> Result<(), RemoteError> {
        if let To::Http(_) = self.to {
            return Ok(());
        }
        self.send(b"0000".to_vec()).await?;
        if let To::Pipe {
            writer,
            aside: Some(aside),
            session: Some(_),
            ..
        } = &mut self.to
        {
            let _ = timeout(GOODBYE, writer.shutdown()).await;
            aside.ended(GOODBYE).await;
        }
        Ok(())
    }

    /// Makes an error of ours of what went wrong between two packets.
    pub async fn failed(&mut self, err: PacketError) -> RemoteError {
        let remote = self.link.remote.clone();
        match err {
            PacketError::Silent(after) => NetError::Silent { remote, after }.into(),
            PacketError::Garbage(found) => RemoteError::Protocol { remote, found },
            PacketError::Text(words) => refused(&remote, &words).unwrap_or_else(|| {
                let mut found = format!("it says `{words}` where a packet should be");
                if let To::Pipe {
                    session: Some(_), ..
                } = &self.to
                {
                    found += "; something on the server prints that before Git is run, such as a start file of the \
                              account's shell (`.bashrc`), which has to be silent for programs";
                }
                RemoteError::Protocol { remote, found }
            }),
            PacketError::Broken(source) if source.kind() != std::io::ErrorKind::BrokenPipe => {
                NetError::Unreachable {
                    remote,
                    source: source.into(),
                }
                .into()
            }
            PacketError::Broken(_) | PacketError::Ended => {
                let words = match &self.to {
                    To::Pipe {
                        aside: Some(aside), ..
                    } => aside.words().await,
                    _ => String::new(),
                };
                let refused = refused(&remote, &words);
                refused.unwrap_or_else(|| NetError::Ended { remote, words }.into())
            }
        }
    }
}

/// What words mean with which a server ends a conversation; `None` when it may go better the next time.
fn refused(remote: &str, words: &str) -> Option<RemoteError> {
    let (remote, words) = (remote.to_owned(), words.to_owned());
    match refusal::kind(&words) {
        Kind::Missing => Some(RemoteError::NotFound { remote, words }),
        Kind::Denied => Some(RemoteError::Denied { remote, words }),
        Kind::Unsupported => {
            let why = format!("the Git that serves it is older than its format ({words})");
            Some(RemoteError::Unsupported { remote, why })
        }
        Kind::Passing | Kind::Raced | Kind::Other => None,
    }
}

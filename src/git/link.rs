//! Transports: how a conversation with a server is opened, by kind of location.
//!
//! Two shapes serve all: a pipe (both directions open until the end) and HTTP (each request a POST of its own). What
//! is said over them is the same, and is [`super::remote`]'s business.

mod http;
mod local;
mod tcp;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::location::{Credentials, Location};
use super::packet::{PacketError, PacketReader};
use super::{RemoteError, readable};

/// How long to wait for a server before giving up on a request; the caller may try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// For a connection to be made.
    pub connect: Duration,
    /// Between two signs of life.
    pub silence: Duration,
    /// For one whole request, from the connection to the last byte.
    pub attempt: Duration,
}

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
    limits: Limits,
    way: Way,
}

enum Way {
    Local(PathBuf),
    Tcp {
        host: String,
        port: u16,
        path: String,
    },
    Http(http::Http),
}

impl Link {
    pub fn new(
        location: &Location,
        credentials: Option<Credentials>,
        limits: Limits,
    ) -> Result<Link, RemoteError> {
        let way = match location {
            Location::Path(path) => Way::Local(path.clone()),
            Location::Git { host, port, path } => Way::Tcp {
                host: host.clone(),
                port: *port,
                path: path.clone(),
            },
            Location::Http(url) => Way::Http(http::Http::new(url, credentials, limits)?),
        };
        Ok(Link {
            remote: location.to_string(),
            limits,
            way,
        })
    }

    /// What messages call the remote repository.
    pub fn remote(&self) -> &str {
        &self.remote
    }

    /// The limits that were given.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Opens a conversation; the server speaks first, with its advertisement.
    pub async fn open(&self, service: Service) -> Result<Talk<'_>, RemoteError> {
        match &self.way {
            Way::Local(path) => local::open(self, path, service),
            Way::Tcp { host, port, path } => tcp::open(self, host, *port, path, service).await,
            Way::Http(http) => http.open(self, service).await,
        }
    }
}

/// An open conversation with a server.
pub(super) struct Talk<'a> {
    link: &'a Link,
    pub reader: PacketReader,
    to: To<'a>,
}

enum To<'a> {
    Pipe {
        writer: Box<dyn AsyncWrite + Unpin + Send>,
        aside: Option<Aside>,
    },
    Http {
        http: &'a http::Http,
        service: Service,
    },
}

/// What the other side says on its error stream, as far as it has come.
#[derive(Clone, Default)]
struct Aside(Arc<Mutex<AsideState>>, Arc<tokio::sync::Notify>);

#[derive(Default)]
struct AsideState {
    words: Vec<u8>,
    ended: bool,
}

impl Aside {
    fn hear(&self, bytes: &[u8]) {
        const ENOUGH: usize = 4096;
        if let Ok(mut state) = self.0.lock() {
            let room = ENOUGH.saturating_sub(state.words.len());
            state
                .words
                .extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
    }

    fn end(&self) {
        if let Ok(mut state) = self.0.lock() {
            state.ended = true;
        }
        self.1.notify_waiters();
    }

    /// All of it, once the other side has ended; what there is after a second.
    async fn words(&self) -> String {
        let ended = || self.0.lock().map_or(true, |state| state.ended);
        let _ = timeout(Duration::from_secs(1), async {
            loop {
                let notified = self.1.notified();
                if ended() {
                    return;
                }
                notified.await;
            }
        })
        .await;
        self.0
            .lock()
            .map(|state| readable(&state.words))
            .unwrap_or_default()
    }
}

impl<'a> Talk<'a> {
    /// Sends one request; what the server answers can then be read.
    pub async fn send(&mut self, request: Vec<u8>) -> Result<(), RemoteError> {
        let silence = self.link.limits.silence;
        match &mut self.to {
            To::Http { http, service } => {
                self.reader = http.post(self.link, *service, request).await?;
                Ok(())
            }
            To::Pipe { writer, .. } => {
                let mut result = Ok(());
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
                match result {
                    Ok(()) => Ok(()),
                    Err(err) => Err(self.failed(err).await),
                }
            }
        }
    }

    /// Says goodbye where the server would otherwise take the end for a broken connection.
    pub async fn leave(mut self) -> Result<(), RemoteError> {
        match self.to {
            To::Pipe { .. } => self.send(b"0000".to_vec()).await,
            To::Http { .. } => Ok(()),
        }
    }

    /// Makes an error of ours of what went wrong between two packets.
    pub async fn failed(&self, err: PacketError) -> RemoteError {
        let remote = self.link.remote.clone();
        match err {
            PacketError::Silent(after) => RemoteError::Silent { remote, after },
            PacketError::Garbage(found) => RemoteError::Protocol { remote, found },
            PacketError::Broken(source) if source.kind() != std::io::ErrorKind::BrokenPipe => {
                RemoteError::Unreachable {
                    remote,
                    source: source.into(),
                }
            }
            PacketError::Broken(_) | PacketError::Ended => {
                let words = match &self.to {
                    To::Pipe {
                        aside: Some(aside), ..
                    } => aside.words().await,
                    _ => String::new(),
                };
                if local::means_missing(&words) {
                    RemoteError::NotFound { remote, words }
                } else if local::means_denied(&words) {
                    RemoteError::Denied { remote, words }
                } else {
                    RemoteError::Ended { remote, words }
                }
            }
        }
    }
}

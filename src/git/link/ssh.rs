//! SSH: the protocol on channels of one session, which serves the fetch and the push alike.
//!
//! The client is `russh`: no `ssh` program and no OpenSSL, keys from memory, and a stream like every other here, so
//! that it goes through a tunnel as well.
//!
//! Source: RFC 4251 to 4254; `gitprotocol-pack(5)`, "SSH Transport", for the command line.

use std::borrow::Cow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use russh::ChannelMsg;
use russh::client::{AuthResult, Config, Handle, Handler, connect_stream};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{Algorithm, PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::super::RemoteError;
use super::super::access::{HostKeys, SshAccess, UnknownHost};
use super::super::packet::PacketReader;
use super::aside::Aside;
use super::known_hosts::{self, Verdict};
use super::private_key::read_key;
use super::{Link, Notices, Service, Talk, To, algorithms};
use net::{NetError, Proxy, connect};

/// How much a server may be ahead of us on a channel: some packets.
const AHEAD: usize = 64 * 1024;

/// A way to one repository on an SSH server.
pub(super) struct Ssh {
    host: String,
    port: u16,
    user: String,
    path: String,
    key: Option<Arc<PrivateKey>>,
    access: SshAccess,
    proxy: Option<Proxy>,
    /// The session, once there is one. A channel of it is a conversation.
    session: tokio::sync::Mutex<Option<Session>>,
}

struct Session {
    handle: Handle<Client>,
    shared: Shared,
}

/// What the conversations of one session have in common.
#[derive(Clone, Default)]
pub(super) struct Shared(Arc<AtomicBool>);

impl Shared {
    /// Has no other conversation begin on this session: one of them waited in vain.
    pub fn give_up(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_given_up(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Ssh {
    /// Gets the key ready; connects to nothing yet.
    pub fn new(
        host: &str,
        port: u16,
        user: &str,
        path: &str,
        access: &SshAccess,
        proxy: Option<&Proxy>,
    ) -> Result<Ssh, RemoteError> {
        let key = match &access.key {
            None => None,
            Some(text) => Some(Arc::new(read_key(text, access.passphrase.as_deref())?)),
        };
        Ok(Ssh {
            host: host.to_owned(),
            port,
            user: user.to_owned(),
            path: path.to_owned(),
            key,
            access: access.clone(),
            proxy: proxy.cloned(),
            session: tokio::sync::Mutex::new(None),
        })
    }

    pub async fn open(&self, link: &Arc<Link>, service: Service) -> Result<Talk, RemoteError> {
        let mut place = self.session.lock().await;
        // A server may end a session that was idle while we waited for a lock.
        let is_good =
            |session: &Session| !session.handle.is_closed() && !session.shared.is_given_up();
        // Put back only once it has proved to be good, so that it is gone if we are dropped meanwhile.
        let session = match place.take().filter(is_good) {
            Some(session) => session,
            None => Session {
                handle: self.connect(link).await?,
                shared: Shared::default(),
            },
        };
        let channel = within(link, async {
            let channel = session.handle.channel_open_session().await?;
            channel
                .exec(false, format!("{} {}", service.name(), quoted(&self.path)))
                .await?;
            Ok(channel)
        })
        .await?;
        let shared = session.shared.clone();
        *place = Some(session);
        drop(place);
        let (mut from, to) = channel.split();
        let (mut into, reader) = tokio::io::duplex(AHEAD);
        let aside = Aside::default();
        let heard = aside.clone();
        tokio::spawn(async move {
            while let Some(message) = from.wait().await {
                match message {
                    // Nobody listens any more when this fails; the channel is still read to its end.
                    ChannelMsg::Data { data } => drop(into.write_all(&data).await),
                    ChannelMsg::ExtendedData { data, ext: 1 } => heard.hear(&data),
                    ChannelMsg::Close => break,
                    _ => {}
                }
            }
            heard.end();
        });
        Ok(Talk {
            link: link.clone(),
            reader: PacketReader::new(Box::new(reader), link.access.route.limits.silence),
            to: To::Pipe {
                writer: Box::new(to.make_writer()),
                aside: Some(aside),
                session: Some(shared),
                is_sending: false,
            },
        })
    }

    async fn connect(&self, link: &Link) -> Result<Handle<Client>, RemoteError> {
        let limits = link.access.route.limits;
        let stream = connect(
            &link.remote,
            &self.host,
            self.port,
            self.proxy.as_ref(),
            limits,
        )
        .await?;
        let mut preferred = algorithms::offered();
        if let HostKeys::Known { lines, .. } = &self.access.host_keys {
            // A server shows one key; ask for one that we can compare.
            let known = known_hosts::kinds(lines, &self.host, self.port);
            let mut kinds = preferred.key.to_vec();
            kinds.sort_by_key(|kind| !known.iter().any(|known| same_kind(known, kind)));
            preferred.key = Cow::Owned(kinds);
        }
        let config = Config {
            preferred,
            ..Config::default()
        };
        let problem = Arc::new(Mutex::new(None));
        let client = Client {
            remote: link.remote.clone(),
            host: self.host.clone(),
            port: self.port,
            host_keys: self.access.host_keys.clone(),
            notices: link.notices.clone(),
            problem: problem.clone(),
        };
        let connected = within(link, connect_stream(Arc::new(config), stream, client)).await;
        let mut session = match connected {
            Ok(session) => session,
            Err(err) => {
                let problem = problem.lock().ok().and_then(|mut problem| problem.take());
                return Err(problem.unwrap_or(err));
            }
        };
        let denied = |words: String| RemoteError::Denied {
            remote: link.remote.clone(),
            words,
        };
        match (&self.key, &self.access.agent) {
            (Some(key), _) => {
                let result = within(link, async {
                    let hash = match key.algorithm() {
                        Algorithm::Rsa { .. } => session.best_supported_rsa_hash().await?.flatten(),
                        _ => None,
                    };
                    session
                        .authenticate_publickey(
                            &self.user,
                            PrivateKeyWithHashAlg::new(key.clone(), hash),
                        )
                        .await
                })
                .await?;
                match result {
                    AuthResult::Success => Ok(session),
                    AuthResult::Failure { .. } => Err(denied(format!(
                        "it does not take the key {} for the user `{}`",
                        known_hosts::fingerprint(key.public_key()),
                        self.user
                    ))),
                }
            }
            (None, Some(socket)) => self.ask_agent(link, session, socket).await,
            (None, None) => {
                let result = within(link, session.authenticate_none(&self.user)).await?;
                match result {
                    AuthResult::Success => Ok(session),
                    AuthResult::Failure { .. } => Err(denied(
                        "it wants a key, and there is neither `private_key` in `source` nor an agent".to_owned(),
                    )),
                }
            }
        }
    }

    async fn ask_agent(
        &self,
        link: &Link,
        mut session: Handle<Client>,
        socket: &Path,
    ) -> Result<Handle<Client>, RemoteError> {
        let denied = |words: String| RemoteError::Denied {
            remote: link.remote.clone(),
            words,
        };
        let agent_failed = |err: &dyn std::fmt::Display| {
            denied(format!("the agent at `{}`: {err}", socket.display()))
        };
        let asked = timeout(link.access.route.limits.silence, async {
            let mut agent = AgentClient::connect_uds(socket)
                .await
                .map_err(|err| agent_failed(&err))?;
            let identities = agent
                .request_identities()
                .await
                .map_err(|err| agent_failed(&err))?;
            let offered = identities.len();
            for identity in identities {
                let AgentIdentity::PublicKey { key, .. } = identity else {
                    continue;
                };
                let hash = match key.algorithm() {
                    Algorithm::Rsa { .. } => session
                        .best_supported_rsa_hash()
                        .await
                        .ok()
                        .flatten()
                        .flatten(),
                    _ => None,
                };
                let result = session
                    .authenticate_publickey_with(&self.user, key, hash, &mut agent)
                    .await
                    .map_err(|err| agent_failed(&err))?;
                if let AuthResult::Success = result {
                    return Ok(true);
                }
            }
            Err(denied(format!(
                "it takes none of the agent's {offered} keys for the user `{}`",
                self.user
            )))
        })
        .await;
        match asked {
            Ok(result) => result.map(|_| session),
            Err(_) => Err(RemoteError::Net(NetError::Silent {
                remote: link.remote.clone(),
                after: link.access.route.limits.silence,
            })),
        }
    }
}

/// Our side of a session: all it has to say is whether the server is the right one.
pub(super) struct Client {
    remote: String,
    host: String,
    port: u16,
    host_keys: HostKeys,
    notices: Notices,
    problem: Arc<Mutex<Option<RemoteError>>>,
}

impl Handler for Client {
    type Error = russh::Error;

    async fn check_server_key(
        &mut self,
        shown: &PublicKeyOrCertificate,
    ) -> Result<bool, russh::Error> {
        let PublicKeyOrCertificate::PublicKey { key, .. } = shown else {
            return Ok(false);
        };
        let found = known_hosts::fingerprint(key);
        let (lines, from, unknown) = match &self.host_keys {
            HostKeys::Any => ("", "", &UnknownHost::Accept),
            HostKeys::Known {
                lines,
                from,
                unknown,
            } => (lines.as_str(), from.as_str(), unknown),
        };
        let expected = match known_hosts::judge(lines, &self.host, self.port, key) {
            Verdict::Known => return Ok(true),
            Verdict::Unknown if *unknown == UnknownHost::Refuse => {
                format!("and {from} has no line for it")
            }
            Verdict::Unknown => {
                let remembered = match unknown {
                    UnknownHost::Remember(file) => {
                        let noted = known_hosts::note(file, &self.host, self.port, key);
                        Some((file.display(), noted))
                    }
                    UnknownHost::Refuse | UnknownHost::Accept => None,
                };
                let host = &self.host;
                self.notices.add(match remembered {
                    Some((file, Ok(()))) => format!(
                        "note: `{host}` is met for the first time; its host key {found} is kept in `{file}`, and no other is accepted from now on"
                    ),
                    Some((file, Err(err))) => format!(
                        "warning: nobody has said that `{host}` is who it says it is: its host key is {found}, which cannot be kept in `{file}`: {err}"
                    ),
                    None => format!(
                        "warning: nobody has said that `{host}` is who it says it is: its host key is {found}; put its line into \
                         `source.known_hosts` (ssh-keyscan shows it), so that no other is accepted"
                    ),
                });
                return Ok(true);
            }
            Verdict::Other(known) => format!("and {from} has {}", known.join(" and ")),
            Verdict::Revoked => format!("which {from} has as revoked"),
        };
        if let Ok(mut problem) = self.problem.lock() {
            *problem = Some(RemoteError::HostKey {
                remote: self.remote.clone(),
                found,
                expected,
            });
        }
        Ok(false)
    }
}

/// Waits for a part of the session to be set up, for as long as a server may be silent.
async fn within<T>(
    link: &Link,
    work: impl Future<Output = Result<T, russh::Error>>,
) -> Result<T, RemoteError> {
    let remote = link.remote.clone();
    match timeout(link.access.route.limits.silence, work).await {
        Err(_) => Err(RemoteError::Net(NetError::Silent {
            remote,
            after: link.access.route.limits.silence,
        })),
        Ok(Ok(done)) => Ok(done),
        Ok(Err(err)) => Err(match err {
            russh::Error::NoCommonAlgo { kind, theirs, .. } => RemoteError::Protocol {
                remote,
                found: algorithms::none_in_common(&kind, &theirs),
            },
            russh::Error::Version => RemoteError::Protocol {
                remote,
                found: err.to_string(),
            },
            err => RemoteError::Net(NetError::Unreachable {
                remote,
                source: err.into(),
            }),
        }),
    }
}

fn same_kind(a: &Algorithm, b: &Algorithm) -> bool {
    // RSA keys are one kind, whatever they sign with.
    a == b || matches!((a, b), (Algorithm::Rsa { .. }, Algorithm::Rsa { .. }))
}

/// A path as a shell on the other side takes it for one word.
fn quoted(path: &str) -> String {
    format!("'{}'", path.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_for_the_shell_on_the_other_side() {
        assert_eq!(quoted("/srv/my locks.git"), "'/srv/my locks.git'");
        assert_eq!(quoted("it's; rm -rf"), "'it'\\''s; rm -rf'");
    }
}

//! Documents in a Redis server: a key for each, called as its id, and nothing beside it.
//!
//! A write is a transaction that the server drops when somebody has changed the key since it was read (`WATCH`, `MULTI`,
//! `EXEC`). A comment at the end of the YAML names the last writes, so that a writer whose answer was lost sees whether it
//! was made; whoever else reads or writes the key need not know of it.

mod wire;

use std::io;
use std::time::Duration;

use tokio::time::timeout;

use net::{Connection, Limits, NetError, Secret};
use terminal::harmless;
use wire::{Reply, Wire};

use super::{Before, MOST_BYTES, Reading, StoreError, Write, Written, check_size, document};
use crate::document::id_of;
use crate::value::Value;
use crate::yaml;

/// What the comment begins with.
const TRAIL: &str = "# written by cicdstatemgr: ";

/// How many writes the comment names. While one waits for an answer that does not come, others write some dozen times at
/// most.
const MOST_IN_TRAIL: usize = 200;

/// The most that a server may say to us over one connection, in bytes: a document, some times over.
const MOST_HEARD: u64 = 8 * MOST_BYTES as u64;

/// How many keys are looked at in one request.
const PAGE: &[u8] = b"100";

/// What an error begins with that may be different a little later.
const PASSING: [&str; 6] = [
    "BUSY",
    "CLUSTERDOWN",
    "LOADING",
    "MASTERDOWN",
    "READONLY",
    "TRYAGAIN",
];

/// Where a Redis server is, and who we are there.
#[derive(Debug, Clone)]
pub struct RedisPlace {
    /// The machine.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The number of the database.
    pub db: i64,
    /// The user, if not the usual one.
    pub username: Option<String>,
    /// The password.
    pub password: Option<Secret>,
}

/// Documents in a Redis server.
pub struct RedisStore {
    place: RedisPlace,
    name: String,
    limits: Limits,
    connection: Option<Wire<Connection>>,
    /// What names the writes of this process.
    nonce: String,
    /// Whether there was a write whose answer was lost.
    is_uncertain: bool,
    /// The trail of the document as it was read last, and before the first write.
    trail: Vec<String>,
    first_trail: Option<Vec<String>>,
}

impl RedisStore {
    /// Gets ready to talk; connects to nothing yet.
    pub fn new(place: RedisPlace) -> RedisStore {
        RedisStore {
            name: format!("{}:{}", harmless::one_line(&place.host), place.port),
            place,
            limits: Limits {
                attempt: Duration::from_secs(30),
                ..Limits::default()
            },
            connection: None,
            nonce: uuid::Uuid::new_v4().simple().to_string()[..12].to_owned(),
            is_uncertain: false,
            trail: Vec::new(),
            first_trail: None,
        }
    }

    pub(super) async fn read(&mut self, id: &str) -> Result<Reading, StoreError> {
        // Whatever is watched on an old connection is not watched on a new one.
        let id_bytes = id.as_bytes();
        let watch: [&[&[u8]]; 3] = [&[b"UNWATCH"], &[b"WATCH", id_bytes], &[b"GET", id_bytes]];
        let text = self
            .ask("to read a document", &watch)
            .await?
            .pop()
            .and_then(text_of);
        let Some(text) = text else {
            let before = match self.is_uncertain {
                true => Before::Unknown,
                false => Before::NotMade,
            };
            self.trail.clear();
            return Ok(Reading {
                document: None,
                before,
            });
        };
        let place = format!("by the Redis server `{}`", self.name);
        let unreadable = |_| StoreError::Unreadable {
            place: place.clone(),
            id: terminal::one_line(id),
            why: "it is no text".to_owned(),
        };
        let text = String::from_utf8(text).map_err(unreadable)?;
        let document = document(&text, &place, id)?;
        self.trail = trail_of(&text);
        let before = self.became();
        Ok(Reading {
            document: Some(document),
            before,
        })
    }

    /// What became of the writes whose answers were lost.
    fn became(&mut self) -> Before {
        if !self.is_uncertain {
            self.first_trail.get_or_insert_with(|| self.trail.clone());
            return Before::NotMade;
        }
        let ours = self.trail.iter().find_map(|write| {
            let (nonce, attempt) = write.split_once('.')?;
            (nonce == self.nonce)
                .then(|| attempt.parse().ok())
                .flatten()
        });
        if let Some(attempt) = ours {
            return Before::Made(attempt);
        }
        // All that was written since then is named only if what was there before is named still.
        let last = self.first_trail.as_ref().map(|trail| trail.last());
        match last {
            Some(Some(last)) if self.trail.contains(last) => Before::NotMade,
            // It was written by nobody who names writes, and everything since is named.
            Some(None) if self.trail.len() < MOST_IN_TRAIL && !self.trail.is_empty() => {
                Before::NotMade
            }
            _ => Before::Unknown,
        }
    }

    pub(super) async fn write(&mut self, write: &Write<'_>) -> Result<Written, StoreError> {
        // Without a connection nothing is watched.
        if self.connection.is_none() {
            return Ok(Written::Overtaken);
        }
        let id = write.id.as_bytes();
        let replies = match write.document {
            Some(document) => {
                let mut trail = self.trail.clone();
                trail.push(format!("{}.{}", self.nonce, write.attempt));
                let old = trail.len().saturating_sub(MOST_IN_TRAIL);
                let names = trail[old..].join(" ");
                let text = format!("{}{TRAIL}{names}\n", yaml::write(document));
                check_size(&text, &format!("for the Redis server `{}`", self.name))?;
                self.transact(&[b"SET", id, text.as_bytes()]).await
            }
            None => self.transact(&[b"DEL", id]).await,
        };
        match replies.map(|mut replies| replies.pop()) {
            Ok(Some(Reply::List(_))) => Ok(Written::Done),
            Ok(_) => Ok(Written::Overtaken),
            Err(err @ StoreError::Redis { .. }) => Err(err),
            Err(err) => {
                self.is_uncertain = true;
                Ok(Written::Unknown(err))
            }
        }
    }

    async fn transact(&mut self, request: &[&[u8]]) -> Result<Vec<Reply>, StoreError> {
        let requests: [&[&[u8]]; 3] = [&[b"MULTI"], request, &[b"EXEC"]];
        self.ask("to write a document", &requests).await
    }

    pub(super) async fn list(&mut self) -> Result<Vec<String>, StoreError> {
        let mut ids = Vec::new();
        let mut cursor = b"0".to_vec();
        loop {
            let scan: [&[u8]; 6] = [b"SCAN", &cursor, b"COUNT", PAGE, b"TYPE", b"string"];
            let mut replies = self.ask("to list keys", &[&scan]).await?;
            let Some(Reply::List(page)) = replies.pop() else {
                return Err(self.odd("to list keys"));
            };
            let mut page = page.into_iter();
            let next = page.next().and_then(text_of);
            let keys = match page.next() {
                Some(Reply::List(keys)) => keys,
                _ => return Err(self.odd("to list keys")),
            };
            for key in keys.into_iter().filter_map(text_of) {
                let get: [&[&[u8]]; 1] = [&[b"GET", &key]];
                let mut replies = self.ask("to read a document", &get).await?;
                let text = replies.pop().and_then(text_of);
                let text = text.and_then(|text| String::from_utf8(text).ok());
                let document: Option<Value> = text.and_then(|text| yaml::read(&text).ok());
                let id = document.as_ref().and_then(id_of);
                ids.extend(id.filter(|id| id.as_bytes() == key).map(str::to_owned));
            }
            cursor = next.ok_or_else(|| self.odd("to list keys"))?;
            if cursor == b"0" {
                ids.sort();
                ids.dedup();
                return Ok(ids);
            }
        }
    }

    /// Sends requests over one connection and reads the answers, of which none is an error.
    async fn ask(
        &mut self,
        doing: &'static str,
        requests: &[&[&[u8]]],
    ) -> Result<Vec<Reply>, StoreError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        // What was sent may still be under way if this fails: the connection is not used again.
        let replies = self.answers(doing, &mut connection, requests).await?;
        self.connection = Some(connection);
        Ok(replies)
    }

    async fn answers(
        &self,
        doing: &'static str,
        connection: &mut Wire<Connection>,
        requests: &[&[&[u8]]],
    ) -> Result<Vec<Reply>, StoreError> {
        let limit = self.limits.attempt;
        let replies = match timeout(limit, connection.ask(requests)).await {
            Ok(Ok(replies)) => replies,
            Ok(Err(err)) if err.kind() == io::ErrorKind::InvalidData => {
                return Err(self.refused(doing, &err.to_string()));
            }
            Ok(Err(err)) => {
                return Err(StoreError::Net(NetError::Unreachable {
                    remote: self.name.clone(),
                    source: err.into(),
                }));
            }
            Err(_) => {
                return Err(StoreError::Net(NetError::Silent {
                    remote: self.name.clone(),
                    after: limit,
                }));
            }
        };
        // The first says why those after it fail.
        let refusal = replies.iter().find_map(Reply::refusal);
        match refusal.map(|words| self.refused(doing, words)) {
            Some(refused) => Err(refused),
            None => Ok(replies),
        }
    }

    async fn connect(&self) -> Result<Wire<Connection>, StoreError> {
        let RedisPlace { host, port, .. } = &self.place;
        let stream = net::connect(&self.name, host, *port, None, self.limits).await?;
        let mut wire = Wire::new(stream, MOST_HEARD);
        let (username, password) = (&self.place.username, &self.place.password);
        if let Some(password) = password {
            let mut auth: Vec<&[u8]> = vec![b"AUTH"];
            auth.extend(username.as_ref().map(|name| name.as_bytes()));
            auth.push(password.expose().as_bytes());
            self.answers("us", &mut wire, &[&auth]).await?;
        }
        if self.place.db != 0 {
            let db = self.place.db.to_string();
            let select: [&[&[u8]]; 1] = [&[b"SELECT", db.as_bytes()]];
            self.answers("the database", &mut wire, &select).await?;
        }
        Ok(wire)
    }

    fn odd(&self, doing: &'static str) -> StoreError {
        self.refused(doing, "it does not answer as a Redis server does")
    }

    /// A refusal with the server's words, in which it may say again what we have said to it.
    fn refused(&self, doing: &'static str, words: &str) -> StoreError {
        let mut words = harmless::words(words.as_bytes());
        let password = self
            .place
            .password
            .as_ref()
            .map(|password| password.expose());
        if let Some(password) = password.filter(|password| !password.is_empty()) {
            words = words.replace(password, "***");
        }
        StoreError::Redis {
            server: self.name.clone(),
            doing,
            is_passing: PASSING.iter().any(|start| words.starts_with(start)),
            words,
        }
    }
}

/// The text of an answer, if it is one.
fn text_of(reply: Reply) -> Option<Vec<u8>> {
    match reply {
        Reply::Text(text) => Some(text),
        _ => None,
    }
}

/// The writes that the comment at the end of a text names, the last at the end.
fn trail_of(text: &str) -> Vec<String> {
    let last = text.trim_end().rsplit('\n').next().unwrap_or_default();
    let writes = last.strip_prefix(TRAIL).unwrap_or_default();
    writes.split_whitespace().map(str::to_owned).collect()
}

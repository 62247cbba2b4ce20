//! Requests and answers.

mod door;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::from_fn;
use axum::routing::{get, post};
use page::answer::{self, Answer, Sent};
use page::live;
use page::session::{Cookie, Guard};
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::actor::{Actor, Deed};
use super::pages::{self, Look, SITE, Window};
use super::reader::{Reader, Task};
use crate::message::Origin;
use crate::view::figures::figures;
use net::Secret;

/// How long a request waits for what is current.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long what somebody asks for by a button may take.
const LONGEST_ACT: Duration = Duration::from_secs(60);

/// For how long a page is handed out that was made for somebody else.
const FRESH: Duration = Duration::from_secs(1);

/// How many pages are kept for that.
const MOST_KEPT: usize = 50;

const TEXT: &str = "text/plain; charset=utf-8";

const COOKIE: Cookie<'static> = Cookie {
    name: "pool_session",
    site: &SITE,
};

/// What is served, and to whom.
pub struct Settings {
    /// What is read.
    pub task: Task,
    /// Who acts when a button is pressed.
    pub origin: Origin,
    /// What those may do who have the token.
    pub allowed: BTreeSet<Deed>,
    /// The token. Without one nobody may do anything.
    pub token: Option<Secret<String>>,
}

/// What the handlers work with.
#[derive(Clone)]
struct Host(Arc<Inner>);

struct Inner {
    reader: Reader,
    branch: String,
    allowed: Vec<Deed>,
    session: Option<Session>,
    actor: Option<Actor>,
    us: String,
    kept: Mutex<HashMap<String, (u64, Instant, Bytes)>>,
}

struct Session {
    token: Secret<String>,
    guard: Guard,
    /// What the cookie has of whoever has shown the token.
    cookie: String,
}

/// Serves the pools until `stop`, and then brings what is under way to its end.
///
/// # Errors
/// When there can be no threads.
pub async fn serve(
    listener: TcpListener,
    settings: Settings,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let allowed: Vec<Deed> = match settings.token {
        Some(_) => settings.allowed.iter().copied().collect(),
        None => Vec::new(),
    };
    let reader = Reader::start(settings.task.clone(), stop.clone())?;
    let us =
        crate::message::who(crate::message::text(&settings.origin, "claiming: x", &[]).as_bytes());
    let branch = settings.task.source.branch.clone();
    let mut actor = None;
    if !allowed.is_empty() {
        let started = Actor::start(settings.task, settings.origin, LONGEST_ACT, stop.clone());
        actor = Some(started?);
    }
    let (actor, thread) = match actor {
        Some((actor, thread)) => (Some(actor), Some(thread)),
        None => (None, None),
    };
    let host = Host(Arc::new(Inner {
        reader,
        branch,
        allowed,
        session: settings.token.map(Session::new),
        actor,
        us,
        kept: Mutex::default(),
    }));
    page::serve(listener, router(host), stop).await;
    if let Some(thread) = thread {
        // A lock that was claimed for a button that nobody hears of any more is given back.
        let ended = tokio::task::spawn_blocking(move || thread.join());
        let _ = tokio::time::timeout(Duration::from_secs(8), ended).await;
    }
    Ok(())
}

fn router(host: Host) -> Router {
    Router::new()
        .route("/", get(overview))
        .route("/pool", get(pool))
        .route("/lock", get(lock))
        .route("/act", post(door::act))
        .route("/events", get(events))
        .route("/sign-in", get(door::sign_in_page).post(door::sign_in))
        .route("/sign-out", post(door::sign_out))
        .route("/assets/{name}", get(asset))
        .route("/metrics", get(metrics))
        .route("/healthz", get(health))
        .fallback(nothing)
        .layer(from_fn(answer::secure))
        .with_state(host)
}

impl Session {
    fn new(token: Secret<String>) -> Session {
        let guard = Guard::new(token.expose().as_bytes());
        let cookie = guard.csrf("signed in");
        Session {
            token,
            guard,
            cookie,
        }
    }

    /// Whether this is the token; in a time that does not depend on how much of it is right.
    fn is_token(&self, given: &str) -> bool {
        let of = |text: &str| self.guard.csrf(text);
        same(&of(given), &of(self.token.expose()))
    }
}

fn same(a: &str, b: &str) -> bool {
    let differs = |(a, b): (u8, u8)| a ^ b;
    a.len() == b.len()
        && a.bytes()
            .zip(b.bytes())
            .map(differs)
            .fold(0, |all, one| all | one)
            == 0
}

impl Inner {
    /// Who asks, if it is somebody who has the token.
    fn who(&self, headers: &HeaderMap) -> Option<page::Reader> {
        let session = self.session.as_ref()?;
        let cookie = COOKIE.read(headers)?;
        same(&cookie, &session.cookie).then(|| page::Reader {
            name: String::new(),
            csrf: session.guard.csrf(&cookie),
        })
    }

    /// A page that is the same for all who may see it, and is made once for all who ask within a moment.
    fn shared(
        &self,
        headers: &HeaderMap,
        key: &str,
        make: impl FnOnce(&Look<'_>) -> (StatusCode, String),
    ) -> Answer {
        self.reader.asked();
        let found = self.reader.found();
        let reader = self.who(headers);
        let key = format!("{} {key}", reader.is_some());
        let kept = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((number, made, html)) = kept().get(&key)
            && *number == found.looks
            && made.elapsed() < FRESH
        {
            return answer::content(StatusCode::OK, "text/html; charset=utf-8", html.clone());
        }
        let look = Look {
            found: &found,
            now: SystemTime::now(),
            reader: reader.as_ref(),
            allowed: &self.allowed,
            us: &self.us,
        };
        let (status, html) = make(&look);
        let html = Bytes::from(html);
        if status == StatusCode::OK {
            let mut kept = kept();
            kept.retain(|_, (_, made, _)| made.elapsed() < FRESH);
            if kept.len() >= MOST_KEPT {
                kept.clear();
            }
            kept.insert(key, (found.looks, Instant::now(), html.clone()));
        }
        answer::content(status, "text/html; charset=utf-8", html)
    }
}

async fn overview(State(host): State<Host>, headers: HeaderMap) -> Answer {
    let make = |look: &Look<'_>| (StatusCode::OK, look.overview());
    host.0.shared(&headers, "/", make)
}

async fn pool(State(host): State<Host>, RawQuery(query): RawQuery, headers: HeaderMap) -> Answer {
    let sent = Sent::parse(query.unwrap_or_default().as_bytes());
    let window = Window::of(sent.get("span"));
    let name = sent.get("name").unwrap_or_default();
    let key = format!("pool {window:?} {name}");
    host.0.shared(&headers, &key, |look| {
        let board = look.found.board.as_deref();
        let pool = board.and_then(|board| Some((board, board.pool(name)?)));
        match (board, pool) {
            (None, _) => (StatusCode::SERVICE_UNAVAILABLE, look.overview()),
            (_, Some((board, pool))) => (StatusCode::OK, look.pool(board, pool, window)),
            (_, None) => none("There is no such pool on the branch.", look.now),
        }
    })
}

async fn lock(State(host): State<Host>, RawQuery(query): RawQuery, headers: HeaderMap) -> Answer {
    let sent = Sent::parse(query.unwrap_or_default().as_bytes());
    let (pool, name) = (sent.get("pool"), sent.get("name"));
    let (pool, name) = (pool.unwrap_or_default(), name.unwrap_or_default());
    let done = sent.get("done").and_then(Deed::of);
    let words = done.map(|deed| format!("It was {}.", deed.done()));
    let key = format!("lock {done:?} {}:{pool} {name}", pool.len());
    host.0.shared(&headers, &key, |look| {
        if look.found.board.is_none() {
            return (StatusCode::SERVICE_UNAVAILABLE, look.overview());
        }
        match of(look, pool, name, words.as_deref().map(Ok)) {
            Some(html) => (StatusCode::OK, html),
            None => none("There is no such lock on the branch.", look.now),
        }
    })
}

/// The page of a lock, if there is one.
fn of(look: &Look<'_>, pool: &str, name: &str, said: Option<Result<&str, &str>>) -> Option<String> {
    let board = look.found.board.as_deref()?;
    let pool = board.pool(pool)?;
    let lock = pool.locks.iter().find(|lock| lock.name.as_str() == name)?;
    Some(look.lock(board, pool, lock, said))
}

fn none(words: &str, now: SystemTime) -> (StatusCode, String) {
    (StatusCode::NOT_FOUND, pages::nothing(words, now))
}

/// Tells an open page of changes, for as long as it is open.
async fn events(State(host): State<Host>, RawQuery(query): RawQuery) -> Answer {
    let sent = Sent::parse(query.unwrap_or_default().as_bytes());
    let known = sent.get("known").and_then(|known| known.parse().ok());
    let reader = host.0.reader.clone();
    let watching = reader.watching();
    live::changes(reader.changes(), known, move || {
        let _ = &watching;
        Some(reader.found().number)
    })
}

async fn asset(Path(name): Path<String>) -> Answer {
    answer::asset(&name)
}

async fn metrics(State(host): State<Host>, headers: HeaderMap) -> Answer {
    let found = host.0.reader.current(PATIENCE).await;
    let board = found.board.as_deref();
    let mut all = figures(&found.sight, board, &host.0.branch);
    if !found.is_current(SystemTime::now()) {
        // A look that hangs has not failed yet.
        let sight = crate::view::Sight {
            looked: None,
            ..found.sight.clone()
        };
        all = figures(&sight, board, &host.0.branch);
    }
    let accept = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|accept| accept.to_str().ok());
    let accept: Vec<&str> = accept.collect();
    match scrape::text(&accept.join(","), &all) {
        Ok((kind, text)) => answer::content(StatusCode::OK, kind, text),
        Err(err) => {
            let words = format!("{err}\n");
            answer::content(StatusCode::INTERNAL_SERVER_ERROR, TEXT, words)
        }
    }
}

async fn health(State(host): State<Host>) -> Answer {
    let found = host.0.reader.found();
    if !found.is_alive() {
        let words = "the reader hangs\n";
        return answer::content(StatusCode::SERVICE_UNAVAILABLE, TEXT, words);
    }
    let words = match (&found.sight.trouble, found.is_current(SystemTime::now())) {
        (Some(_), _) => "ok, but the repository cannot be read\n",
        (None, true) => "ok\n",
        (None, false) => "ok, but the repository has not been read yet, or not for a while\n",
    };
    answer::content(StatusCode::OK, TEXT, words)
}

async fn nothing(uri: Uri) -> Answer {
    let words = format!("Nothing is at {}.", uri.path());
    answer::html(
        StatusCode::NOT_FOUND,
        pages::nothing(&words, SystemTime::now()),
    )
}

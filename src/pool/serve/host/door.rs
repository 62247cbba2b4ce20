//! Who signs in, and what a form asks for.

use std::time::{Duration, SystemTime};

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use page::answer::{self, Answer, Sent};
use page::encoded;
use page::form::SignIn;
use tokio::time::Instant;

use super::{COOKIE, Host, PATIENCE, TEXT, none, of};
use crate::lock::{ClaimId, LockName, PoolName};
use crate::serve::actor::{Act, Deed};
use crate::serve::pages::{Look, SITE};
use crate::serve::parts::{millis, of_lock};
use git::object::full_id;

/// How long whoever sends a wrong token waits for the answer.
const WRONG: Duration = Duration::from_secs(1);

/// The longest reason, in bytes.
const LONGEST_REASON: usize = 1000;

pub async fn sign_in_page(State(host): State<Host>, RawQuery(query): RawQuery) -> Answer {
    let sent = Sent::parse(query.unwrap_or_default().as_bytes());
    let next = sent.get("next").unwrap_or("/").to_owned();
    sign_in_form(&host, &next, None, StatusCode::OK)
}

fn sign_in_form(host: &Host, next: &str, fault: Option<&str>, status: StatusCode) -> Answer {
    let now = SystemTime::now();
    if host.0.session.is_none() || host.0.allowed.is_empty() {
        let (status, html) = none("Nothing can be changed here, so that nobody signs in.", now);
        return answer::html(status, html);
    }
    let page = SignIn {
        token: "",
        next,
        fault,
        hint: "The one that the server was started with, in POOL_SERVE_TOKEN.",
    };
    answer::html(status, page.html(&SITE, millis(now)))
}

pub async fn sign_in(State(host): State<Host>, headers: HeaderMap, body: Body) -> Answer {
    let sent = match answer::form(&headers, body).await {
        Ok(sent) => sent,
        Err((status, words)) => return answer::content(status, TEXT, format!("{words}\n")),
    };
    let next = sent.get("next").unwrap_or_default();
    let Some(session) = host
        .0
        .session
        .as_ref()
        .filter(|_| !host.0.allowed.is_empty())
    else {
        return sign_in_form(&host, next, None, StatusCode::NOT_FOUND);
    };
    let is_right = page::session::is_same_origin(&headers)
        && session.is_token(sent.get("token").unwrap_or_default());
    if !is_right {
        tokio::time::sleep(WRONG).await;
        let words = "This is not the token";
        return sign_in_form(&host, next, Some(words), StatusCode::UNAUTHORIZED);
    }
    let next = page::session::next(&SITE, next).unwrap_or("/");
    let mut answer = answer::see_other(next);
    if let Some(cookie) = COOKIE.set(&headers, &session.cookie, None) {
        answer.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    answer
}

pub async fn sign_out(State(host): State<Host>, headers: HeaderMap, body: Body) -> Answer {
    if let Err(answer) = ours(&host, &headers, body).await {
        return answer;
    }
    let mut answer = answer::see_other("/");
    let cookie = COOKIE.clear(&headers);
    answer.headers_mut().insert(header::SET_COOKIE, cookie);
    answer
}

/// The form that was sent, if it is from one of our pages, and from somebody who has the token.
async fn ours(host: &Host, headers: &HeaderMap, body: Body) -> Result<Sent, Answer> {
    let sent = answer::form(headers, body)
        .await
        .map_err(|(status, words)| answer::content(status, TEXT, format!("{words}\n")))?;
    let session = host.0.session.as_ref();
    let cookie = COOKIE.read(headers).unwrap_or_default();
    let csrf = sent.get("csrf").unwrap_or_default();
    let is_ours = host.0.who(headers).is_some()
        && session.is_some_and(|session| session.guard.is_ours(headers, &cookie, csrf));
    match is_ours {
        true => Ok(sent),
        false => {
            let now = millis(SystemTime::now());
            let words = "Sign in, load the page again, and try again: what you sent did not come from a page of yours.";
            let html = page::part::error(&SITE, "Nothing was changed", words, now);
            Err(answer::html(StatusCode::FORBIDDEN, html))
        }
    }
}

pub async fn act(State(host): State<Host>, headers: HeaderMap, body: Body) -> Answer {
    let sent = match ours(&host, &headers, body).await {
        Ok(sent) => sent,
        Err(answer) => return answer,
    };
    let text = |name: &str| sent.get(name).unwrap_or_default();
    let (pool, lock) = (text("pool"), text("lock"));
    let now = SystemTime::now();
    let deed = Deed::of(text("deed")).filter(|deed| host.0.allowed.contains(deed));
    let (Some(deed), Some(actor)) = (deed, &host.0.actor) else {
        let html = page::part::error(
            &SITE,
            "Nothing was changed",
            "This is not allowed here.",
            millis(now),
        );
        return answer::html(StatusCode::FORBIDDEN, html);
    };
    let done = match wanted(deed, pool, lock, text("claim"), text("reason")) {
        Ok(act) => actor.act(act).await,
        Err(words) => Err(words.to_owned()),
    };
    // So that the page after this shows it: a look that began while it was being done may have been too early to see it.
    let found = host.0.reader.since(Instant::now(), PATIENCE).await;
    let words = match done {
        Ok(()) => {
            let (Ok(pool), Ok(lock)) = (PoolName::new(pool), LockName::new(lock)) else {
                return answer::see_other("/");
            };
            let path = format!("{}&done={}", of_lock(&pool, &lock), encoded(deed.name()));
            return answer::see_other(&path);
        }
        Err(words) => words,
    };
    let reader = host.0.who(&headers);
    let look = Look {
        found: &found,
        now: SystemTime::now(),
        reader: reader.as_ref(),
        allowed: &host.0.allowed,
        us: &host.0.us,
    };
    let words = format!("It was not {}: {words}", deed.done());
    let html = of(&look, pool, lock, Some(Err(&words)));
    let html = html
        .unwrap_or_else(|| page::part::error(&SITE, "Nothing was changed", &words, millis(now)));
    answer::html(StatusCode::CONFLICT, html)
}

/// What a form asks for, if it is something.
fn wanted(
    deed: Deed,
    pool: &str,
    lock: &str,
    claim: &str,
    reason: &str,
) -> Result<Act, &'static str> {
    let reason = reason.trim();
    if reason.is_empty() {
        return Err("a reason must be given");
    }
    if reason.len() > LONGEST_REASON {
        return Err("the reason is too long");
    }
    let claim = match (deed, full_id(claim)) {
        (Deed::Claim, _) => None,
        (_, Some(id)) => Some(ClaimId(id)),
        (_, None) => return Err("it does not say which claim is meant"),
    };
    Ok(Act {
        deed,
        pool: PoolName::new(pool).map_err(|_| "this is not the name of a pool")?,
        lock: LockName::new(lock).map_err(|_| "this is not the name of a lock")?,
        claim,
        reason: reason.to_owned(),
    })
}

//! Who reads the pages: signing in and out, and forms that are ours.

use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use page::answer::{self, Answer, Sent};
use page::form::SignIn;
use page::{Reader, session};

use super::{COOKIE, Pages, SITE, error};
use crate::job::Time;
use crate::token::{Claims, Denied};
use crate::value::{Number, Value, Variables};

/// For how long a link of `prunner debug` signs in.
const SESSION: Duration = Duration::from_secs(12 * 3600);

const HINT: &str = "A token of the API, with or without \u{201c}Bearer\u{201d} before it. \
                    The command \u{201c}prunner debug\u{201d} prints one, and a link that signs in.";

/// Who reads a page.
#[derive(Debug, Clone)]
pub(super) struct Signed {
    pub(super) claims: Claims,
    pub(super) reader: Reader,
    token: String,
}

fn now() -> i64 {
    Time::now().0.div_euclid(1000)
}

fn signed(pages: &Pages, headers: &HeaderMap) -> Result<Signed, Denied> {
    let token = COOKIE.read(headers).ok_or(Denied::Missing)?;
    let claims = pages.api.secret.verify(&token, now())?;
    let reader = Reader {
        name: claims.user.clone(),
        csrf: pages.guard.csrf(&token),
    };
    Ok(Signed {
        claims,
        reader,
        token,
    })
}

/// Lets those pass who have signed in; others see where to do that.
pub(super) async fn pass(State(pages): State<Pages>, mut request: Request, next: Next) -> Answer {
    match signed(&pages, request.headers()) {
        Ok(signed) => {
            request.extensions_mut().insert(signed);
            next.run(request).await
        }
        Err(denied) => {
            let here = request
                .uri()
                .path_and_query()
                .map_or("", |path| path.as_str());
            let next = match *request.method() == Method::GET && !here.starts_with("/ui/events") {
                true => here,
                false => "",
            };
            let words = denied.to_string();
            let fault = (denied != Denied::Missing)
                .then(|| format!("You are not signed in any more: {words}"));
            let page = SignIn {
                token: "",
                next,
                fault: fault.as_deref(),
                hint: HINT,
            };
            answer::html(StatusCode::UNAUTHORIZED, page.html(&SITE, Time::now().0))
        }
    }
}

/// Asks for a token; that of a link stands in the field.
pub(super) async fn sign_in_page(uri: Uri) -> Answer {
    let sent = Sent::parse(uri.query().unwrap_or_default().as_bytes());
    let page = SignIn {
        token: sent.get("token").unwrap_or_default(),
        next: sent.get("next").unwrap_or_default(),
        fault: None,
        hint: HINT,
    };
    answer::html(StatusCode::OK, page.html(&SITE, Time::now().0))
}

/// Takes a token, and keeps it in a cookie.
pub(super) async fn sign_in(State(pages): State<Pages>, headers: HeaderMap, body: Body) -> Answer {
    let sent = match answer::form(&headers, body).await {
        Ok(sent) => sent,
        Err((status, words)) => return error(status, words),
    };
    if !session::is_same_origin(&headers) {
        return error(StatusCode::FORBIDDEN, "This form is of another site");
    }
    let given = sent.get("token").unwrap_or_default().trim();
    let token = given.strip_prefix("Bearer ").unwrap_or(given).trim();
    let next = sent.get("next").unwrap_or_default();
    let kept = pages
        .api
        .secret
        .verify(token, now())
        .map(|claims| match claims.is_link {
            true => (lasting(&pages, &claims), Some(SESSION)),
            false => (token.to_owned(), None),
        });
    let cookie = kept.map(|(token, age)| COOKIE.set(&headers, &token, age));
    match cookie {
        Ok(Some(cookie)) => {
            let first = SITE.path("/");
            let mut answer = answer::see_other(session::next(&SITE, next).unwrap_or(&first));
            answer.headers_mut().insert(header::SET_COOKIE, cookie);
            answer
        }
        Ok(None) | Err(_) => {
            let words = cookie.err().unwrap_or(Denied::Unauthorized).to_string();
            let fault = format!("You are not signed in: {words}");
            let page = SignIn {
                token: "",
                next,
                fault: Some(&fault),
                hint: HINT,
            };
            answer::html(StatusCode::UNAUTHORIZED, page.html(&SITE, Time::now().0))
        }
    }
}

/// What a link is changed for: a token for the same person that lasts as long as somebody works.
fn lasting(pages: &Pages, claims: &Claims) -> String {
    let seconds = i64::try_from(SESSION.as_secs()).unwrap_or_default();
    let time = |seconds: i64| Value::Number(Number::whole(i128::from(seconds)));
    let mut all = Variables::from([
        ("iat".to_owned(), time(now())),
        ("exp".to_owned(), time(now() + seconds)),
    ]);
    if !claims.user.is_empty() {
        all.insert("sub".to_owned(), Value::Text(claims.user.clone()));
    }
    if let Some(pipelines) = &claims.pipelines {
        let names = pipelines.iter().cloned().map(Value::Text).collect();
        all.insert("pipelines".to_owned(), Value::List(names));
    }
    pages.api.secret.sign(&all)
}

/// Takes the cookie away.
pub(super) async fn sign_out(
    State(pages): State<Pages>,
    Extension(signed): Extension<Signed>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    if let Err(answer) = sent(&pages, &signed, &headers, body).await {
        return answer;
    }
    let mut answer = answer::see_other(&SITE.path("/sign-in"));
    let gone = COOKIE.clear(&headers);
    answer.headers_mut().insert(header::SET_COOKIE, gone);
    answer
}

/// What a form of ours has sent.
pub(super) async fn sent(
    pages: &Pages,
    signed: &Signed,
    headers: &HeaderMap,
    body: Body,
) -> Result<Sent, Answer> {
    let sent = answer::form(headers, body)
        .await
        .map_err(|(status, words)| error(status, words))?;
    let csrf = sent.get("csrf").unwrap_or_default();
    match pages.guard.is_ours(headers, &signed.token, csrf) {
        true => Ok(sent),
        false => Err(error(
            StatusCode::FORBIDDEN,
            "This form is of another site, or of a time before you signed in. Load its page again, and send it from there.",
        )),
    }
}

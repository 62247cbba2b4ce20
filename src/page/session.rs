//! Who reads a page: a token in a cookie, and forms that only our own pages can send.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, header};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::Site;

/// The longest cookie that is read.
const LONGEST: usize = 8192;

/// The cookie that a host keeps a token in.
///
/// It has a name of its own: a cookie counts for all ports of a host, and no API takes it.
#[derive(Debug, Clone, Copy)]
pub struct Cookie<'a> {
    /// Its name.
    pub name: &'a str,
    /// Whose it is.
    pub site: &'a Site,
}

impl Cookie<'_> {
    /// The token in a request.
    pub fn read(&self, headers: &HeaderMap) -> Option<String> {
        let all = headers.get_all(header::COOKIE).iter();
        let mut all = all
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'));
        let value = all.find_map(|one| one.trim().strip_prefix(self.name)?.strip_prefix('='))?;
        (!value.is_empty() && value.len() <= LONGEST).then(|| value.to_owned())
    }

    /// The header that sets it, for as long as the browser runs or for this time. `None` if a cookie cannot have this token.
    pub fn set(
        &self,
        headers: &HeaderMap,
        token: &str,
        age: Option<Duration>,
    ) -> Option<HeaderValue> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.~+/=".contains(c);
        if token.is_empty() || token.len() > LONGEST || !token.chars().all(is_plain) {
            return None;
        }
        HeaderValue::from_str(&self.header(headers, token, age)).ok()
    }

    /// The header that takes it away.
    pub fn clear(&self, headers: &HeaderMap) -> HeaderValue {
        let text = self.header(headers, "", Some(Duration::ZERO));
        HeaderValue::from_str(&text).expect("names and paths are plain text")
    }

    fn header(&self, headers: &HeaderMap, value: &str, age: Option<Duration>) -> String {
        let path = self.site.path("/");
        let age = age.map_or(String::new(), |age| format!("; Max-Age={}", age.as_secs()));
        let secure = if is_encrypted(headers) {
            "; Secure"
        } else {
            ""
        };
        format!(
            "{}={value}; Path={path}; HttpOnly; SameSite=Strict{age}{secure}",
            self.name
        )
    }
}

/// Whether a proxy before us says that the reader's connection is encrypted.
fn is_encrypted(headers: &HeaderMap) -> bool {
    headers
        .get("x-forwarded-proto")
        .is_some_and(|proto| proto.as_bytes().eq_ignore_ascii_case(b"https"))
}

/// Tells forms of our own pages from those of others.
#[derive(Clone)]
pub struct Guard(Hmac<Sha256>);

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Guard(***)")
    }
}

impl Guard {
    /// One with a secret that stays the same when the server is started again: so do the forms of open pages.
    pub fn new(secret: &[u8]) -> Guard {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
        // The secret may sign something else too.
        mac.update(b"form of a page\0");
        Guard(mac)
    }

    /// What a form sends, for whoever has this token.
    pub fn csrf(&self, token: &str) -> String {
        let mut mac = self.0.clone();
        mac.update(token.as_bytes());
        mac.finalize()
            .into_bytes()
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect()
    }

    /// Whether a form is from one of our pages, which was shown to whoever has this token. In constant time.
    pub fn is_ours(&self, headers: &HeaderMap, token: &str, csrf: &str) -> bool {
        let bytes: Option<Vec<u8>> = (csrf.len() == 64 && csrf.is_ascii()).then(|| {
            let pairs = (0..32).map(|at| u8::from_str_radix(&csrf[2 * at..2 * at + 2], 16));
            pairs.map(Result::unwrap_or_default).collect()
        });
        let mut mac = self.0.clone();
        mac.update(token.as_bytes());
        let is_right = bytes.is_some_and(|bytes| mac.verify_slice(&bytes).is_ok());
        is_right && is_same_origin(headers)
    }
}

/// Whether the browser says nothing against it that a request comes from our own page.
///
/// `Sec-Fetch-Site` is sent to `https` and to `localhost`; elsewhere there is `Origin`. Programs send neither.
pub fn is_same_origin(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    if let Some(site) = text("sec-fetch-site") {
        return site == "same-origin";
    }
    let Some(origin) = text("origin") else {
        return true;
    };
    let host = origin.split_once("://").map(|(_, host)| host);
    ["host", "x-forwarded-host"]
        .into_iter()
        .any(|name| host.is_some() && text(name) == host)
}

/// Where to go on after signing in: `next` if it is a page of the site, else the first one.
pub fn next<'a>(site: &Site, next: &'a str) -> Option<&'a str> {
    let below = next.strip_prefix(site.base)?;
    let is_plain = next
        .bytes()
        .all(|byte| (0x21..0x7f).contains(&byte) && byte != b'\\');
    (below.starts_with('/') && !next.starts_with("//") && is_plain).then_some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SITE: Site = Site {
        name: "test",
        base: "/ui",
        places: &[],
    };
    const COOKIE: Cookie<'_> = Cookie {
        name: "test_token",
        site: &SITE,
    };

    fn headers(all: &[(&'static str, &'static str)]) -> HeaderMap {
        all.iter()
            .map(|(name, value)| {
                let name = axum::http::HeaderName::from_static(name);
                (name, HeaderValue::from_static(value))
            })
            .collect()
    }

    #[test]
    fn a_cookie_is_for_our_pages_and_no_script_alone() {
        let set = COOKIE.set(&headers(&[]), "a.b-c_d", None);
        let set = set.expect("it is plain");
        assert_eq!(
            set,
            "test_token=a.b-c_d; Path=/ui/; HttpOnly; SameSite=Strict"
        );
        let https = headers(&[("x-forwarded-proto", "https")]);
        let set = COOKIE.set(&https, "a", Some(Duration::from_secs(60)));
        let set = set.expect("it is plain");
        assert_eq!(
            set,
            "test_token=a; Path=/ui/; HttpOnly; SameSite=Strict; Max-Age=60; Secure"
        );
        for wrong in ["", "a;b", "a b", "a\r\nX: y", "ä"] {
            assert!(COOKIE.set(&headers(&[]), wrong, None).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_cookie_is_read_by_its_whole_name() {
        let read = |text| COOKIE.read(&headers(&[("cookie", text)]));
        assert_eq!(read("a=b; test_token=t; c=d").as_deref(), Some("t"));
        for wrong in [
            "",
            "test_token",
            "test_token=",
            "my_test_token=t",
            "test_token2=t",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_form_of_somebody_else_is_not_ours() {
        let guard = Guard::new(b"secret");
        let csrf = guard.csrf("token");
        let ours = headers(&[("origin", "http://h:1"), ("host", "h:1")]);
        assert!(guard.is_ours(&ours, "token", &csrf));
        assert!(!guard.is_ours(&ours, "other", &csrf));
        let longer = format!("{csrf}00");
        let umlauts = "ä".repeat(32);
        for wrong in ["", "00", "zz", &longer, &umlauts] {
            assert!(!guard.is_ours(&ours, "token", wrong), "{wrong}");
        }
        for theirs in [
            headers(&[("origin", "http://evil"), ("host", "h:1")]),
            headers(&[("origin", "null"), ("host", "h:1")]),
            headers(&[
                ("sec-fetch-site", "cross-site"),
                ("origin", "http://h:1"),
                ("host", "h:1"),
            ]),
            headers(&[("sec-fetch-site", "same-site")]),
        ] {
            assert!(!guard.is_ours(&theirs, "token", &csrf), "{theirs:?}");
        }
        assert!(!Guard::new(b"other").is_ours(&ours, "token", &csrf));
    }

    #[test]
    fn nobody_is_sent_elsewhere_after_signing_in() {
        for good in ["/ui/", "/ui/jobs?state=failed"] {
            assert_eq!(next(&SITE, good), Some(good));
        }
        for wrong in [
            "",
            "/",
            "/uix",
            "//evil/ui/",
            "https://evil/ui/",
            "/ui/\\\\evil",
            "/ui/\r\n",
        ] {
            assert_eq!(next(&SITE, wrong), None, "{wrong}");
        }
    }
}

//! Tokens: JSON Web Tokens with HMAC-SHA256, and nothing else.
//!
//! No library: one algorithm is thirty lines on `hmac` and `sha2`, which are there for SSH, and no header of a token gets to
//! choose another. Source: RFC 7515 and RFC 7519.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use sha2::Sha256;

use crate::value::{Number, Value, Variables};

/// The longest token that is looked at.
const LONGEST: usize = 8192;

/// The claim that says what a token is for, and its value for links.
pub const USE: &str = "use";
/// See [`USE`].
pub const LINK: &str = "link";

/// What tokens are signed with.
#[derive(Clone)]
pub struct Secret(Vec<u8>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// What a token says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claims {
    /// Who it is; may be empty.
    pub user: String,
    /// The only pipelines that he may see, if he may not see all.
    pub pipelines: Option<Vec<String>>,
    /// Whether it is that of a link, which is good for minutes and is changed for another one when somebody signs in.
    pub is_link: bool,
}

impl Claims {
    /// Whether he may see a pipeline.
    pub fn may_see(&self, pipeline: &str) -> bool {
        self.pipelines
            .as_ref()
            .is_none_or(|pipelines| pipelines.iter().any(|one| one == pipeline))
    }
}

/// Why a token is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// There is none.
    #[error("no token found")]
    Missing,
    /// It is not signed by us.
    #[error("token is unauthorized")]
    Unauthorized,
    /// It was good once.
    #[error("token is expired")]
    Expired,
    /// It will be good.
    #[error("token nbf validation failed")]
    NotYet,
    /// It was made in the future.
    #[error("token iat validation failed")]
    FromTheFuture,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    crit: Option<serde_json::Value>,
}

impl Secret {
    /// A secret, of which the bytes are used as they are.
    pub fn new(text: &str) -> Secret {
        Secret(text.as_bytes().to_vec())
    }

    /// What tells forms of our own pages from those of others.
    pub(crate) fn guard(&self) -> page::session::Guard {
        page::session::Guard::new(&self.0)
    }

    /// How many bytes it has.
    pub fn length(&self) -> usize {
        self.0.len()
    }

    fn mac(&self, signed: &str) -> Hmac<Sha256> {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(signed.as_bytes());
        mac
    }

    /// Makes a token with these claims.
    pub fn sign(&self, claims: &Variables) -> String {
        let claims = serde_json::to_vec(claims).expect("claims have only texts for keys");
        let signed = format!(
            "{}.{}",
            BASE64.encode(br#"{"alg":"HS256","typ":"JWT"}"#),
            BASE64.encode(claims)
        );
        let signature = self.mac(&signed).finalize().into_bytes();
        format!("{signed}.{}", BASE64.encode(signature))
    }

    /// Reads a token; `now` is in seconds since 1970.
    ///
    /// # Errors
    /// [`Denied`].
    pub fn verify(&self, token: &str, now: i64) -> Result<Claims, Denied> {
        let (signed, signature) = token
            .rsplit_once('.')
            .filter(|_| token.len() <= LONGEST)
            .ok_or(Denied::Unauthorized)?;
        let (header, claims) = signed.split_once('.').ok_or(Denied::Unauthorized)?;
        let bytes = |part: &str| BASE64.decode(part).map_err(|_| Denied::Unauthorized);
        let header: Header =
            serde_json::from_slice(&bytes(header)?).map_err(|_| Denied::Unauthorized)?;
        if header.alg != "HS256" || header.crit.is_some() {
            return Err(Denied::Unauthorized);
        }
        // In constant time.
        self.mac(signed)
            .verify_slice(&bytes(signature)?)
            .map_err(|_| Denied::Unauthorized)?;
        let claims: Variables =
            serde_json::from_slice(&bytes(claims)?).map_err(|_| Denied::Unauthorized)?;
        read(&claims, now)
    }
}

fn read(claims: &Variables, now: i64) -> Result<Claims, Denied> {
    let time = |name: &str| match claims.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(number)) => Ok(Some(number.clone())),
        Some(_) => Err(Denied::Unauthorized),
    };
    let now = Number::whole(i128::from(now));
    if time("exp")?.is_some_and(|exp| now.compare(&exp).is_none_or(|order| order.is_ge())) {
        return Err(Denied::Expired);
    }
    if time("nbf")?.is_some_and(|nbf| now.compare(&nbf).is_none_or(|order| order.is_lt())) {
        return Err(Denied::NotYet);
    }
    if time("iat")?.is_some_and(|iat| now.compare(&iat).is_none_or(|order| order.is_lt())) {
        return Err(Denied::FromTheFuture);
    }
    let user = match claims.get("sub") {
        None | Some(Value::Null) => String::new(),
        Some(Value::Text(user)) => user.clone(),
        Some(_) => return Err(Denied::Unauthorized),
    };
    let pipelines = match claims.get("pipelines") {
        None => None,
        // A limit that cannot be read is not taken for none.
        Some(Value::List(names)) => {
            let names = names.iter().map(|name| match name {
                Value::Text(name) => Ok(name.clone()),
                _ => Err(Denied::Unauthorized),
            });
            Some(names.collect::<Result<_, _>>()?)
        }
        Some(_) => return Err(Denied::Unauthorized),
    };
    let is_link = matches!(claims.get(USE), Some(Value::Text(text)) if text == LINK);
    Ok(Claims {
        user,
        pipelines,
        is_link,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn secret() -> Secret {
        Secret::new("0123456789abcdef")
    }

    fn token(claims: &str) -> String {
        secret().sign(&serde_json::from_str(claims).unwrap())
    }

    fn verify(claims: &str) -> Result<Claims, Denied> {
        secret().verify(&token(claims), NOW)
    }

    /// Made with another implementation: PyJWT.
    #[test]
    fn a_token_of_somebody_elses_library_is_read() {
        let token = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJib2IifQ.".to_owned();
        let signed = token.trim_end_matches('.');
        let signature = secret().mac(signed).finalize().into_bytes();
        let claims = secret().verify(&format!("{token}{}", BASE64.encode(signature)), NOW);
        assert_eq!(claims.unwrap().user, "bob");
    }

    #[test]
    fn claims_are_checked() {
        assert_eq!(verify("{}").unwrap(), Claims::default());
        assert_eq!(
            verify(r#"{"sub":"bob","exp":1800000001,"nbf":1800000000,"iat":1800000000.0}"#)
                .unwrap()
                .user,
            "bob"
        );
        for (claims, denied) in [
            (r#"{"exp":1800000000}"#, Denied::Expired),
            (r#"{"exp":1}"#, Denied::Expired),
            (r#"{"nbf":1800000001}"#, Denied::NotYet),
            (r#"{"iat":1800000001}"#, Denied::FromTheFuture),
            (r#"{"sub":7}"#, Denied::Unauthorized),
            (r#"{"exp":"soon"}"#, Denied::Unauthorized),
            (r#"{"pipelines":"all"}"#, Denied::Unauthorized),
            (r#"{"pipelines":[1]}"#, Denied::Unauthorized),
        ] {
            assert_eq!(verify(claims), Err(denied), "{claims}");
        }
        assert!(verify(r#"{"use":"link"}"#).unwrap().is_link);
        let some = verify(r#"{"pipelines":["a"]}"#).unwrap();
        assert!(some.may_see("a") && !some.may_see("b"));
    }

    #[test]
    fn no_header_chooses_how_a_token_is_checked() {
        let good = token(r#"{"sub":"bob"}"#);
        let (signed, signature) = good.rsplit_once('.').unwrap();
        let claims = signed.split_once('.').unwrap().1;
        for header in [
            r#"{"alg":"none"}"#,
            r#"{"alg":"None"}"#,
            r#"{"alg":"HS512"}"#,
            r#"{"alg":"RS256"}"#,
            r#"{"alg":"HS256","crit":["x"]}"#,
            r#"{}"#,
            "x",
        ] {
            let signed = format!("{}.{claims}", BASE64.encode(header));
            let own = BASE64.encode(secret().mac(&signed).finalize().into_bytes());
            for signature in ["", signature, &own] {
                let token = format!("{signed}.{signature}");
                assert_eq!(
                    secret().verify(&token, NOW),
                    Err(Denied::Unauthorized),
                    "{header} {signature}"
                );
            }
        }
        for token in [
            "",
            ".",
            "..",
            "a.b.c",
            &good[1..],
            &good[..good.len() - 1],
            &format!("{good}A"),
            &"x.".repeat(9000),
        ] {
            assert_eq!(
                secret().verify(token, NOW),
                Err(Denied::Unauthorized),
                "{token}"
            );
        }
        assert_eq!(
            Secret::new("fedcba9876543210").verify(&good, NOW),
            Err(Denied::Unauthorized)
        );
    }
}

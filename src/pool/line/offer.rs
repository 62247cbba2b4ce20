//! An offer: a claim that somebody who stands at the branch leaves to whoever pushes next.
//!
//! It is a push that somebody else carries out, and is bound as every push is: to the commit that it was made on. Who pushes onto
//! that very commit may make a commit of it on top of his own. Once the branch has left that commit, what the history after it
//! shows is all that there ever will be of the offer, however late or often it is sent: so it is carried out at most once, and
//! whoever made it knows which. It is known there by its request ([`message::REQUEST`]).

use serde_json::{Value, json};

use crate::lock::{LockName, PoolName};
use crate::message::{self, Origin, Verb, compose};
use git::Identity;
use git::object::{Oid, full_id};

/// How many locks an offer names at most, of which one is claimed.
pub const MOST_LOCKS: usize = 64;

/// The longest text of one, in bytes.
const LONGEST: usize = 64 * 1024;

/// A claim of one lock that anybody can carry out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The commit that the branch must be at.
    pub base: Oid,
    /// The pool.
    pub pool: PoolName,
    /// The locks of which one is claimed, the one that is liked best first, with their metadata.
    pub locks: Vec<(LockName, Oid)>,
    /// On whose behalf.
    pub origin: Origin,
    /// Who commits, and his address.
    pub committer: (String, String),
    /// The trailers of the commit but for its number.
    pub trailers: Vec<(String, String)>,
}

impl Offer {
    /// Writes it: a line for people, and the rest.
    pub fn compose(&self) -> String {
        let locks = self.locks.iter();
        let locks: Vec<[String; 2]> = locks
            .map(|(lock, content)| [lock.as_str().to_owned(), content.to_string()])
            .collect();
        let trailers = self.trailers.iter();
        let trailers: Vec<[&str; 2]> = trailers
            .map(|(name, value)| [name.as_str(), value.as_str()])
            .collect();
        let (name, email) = &self.committer;
        let text = json!({
            "base": self.base.to_string(),
            "pool": self.pool.as_str(),
            "locks": locks,
            "prefix": self.origin.prefix,
            "url": self.origin.url,
            "instance_vars": self.origin.instance_vars,
            "committer": [name, email],
            "trailers": trailers,
        });
        let head = message::text(&self.origin, "stands at the branch", &[]);
        format!("{}\n{text}\n", head.lines().next().unwrap_or_default())
    }

    /// Reads one; `None` for what is none.
    pub fn parse(text: &[u8]) -> Option<Offer> {
        let text = std::str::from_utf8(text).ok()?;
        if text.len() > LONGEST {
            return None;
        }
        let (_, text) = text.split_once('\n')?;
        let text: Value = serde_json::from_str(text).ok()?;
        let one = |key: &str| Some(text.get(key)?.as_str()?.to_owned());
        let pairs = |key: &str| -> Option<Vec<(String, String)>> {
            text.get(key)?.as_array()?.iter().map(pair).collect()
        };
        let trailers = pairs("trailers")?;
        let is_name = |(name, _): &(String, String)| {
            let is_part = |byte: u8| byte.is_ascii_alphabetic() || byte == b'-';
            name.bytes().all(is_part) && name != message::NUMBER
        };
        let requests = trailers.iter().filter(|(name, _)| name == message::REQUEST);
        if !trailers.iter().all(is_name) || requests.count() != 1 {
            return None;
        }
        let locks = pairs("locks")?;
        let locks = locks.iter().take(MOST_LOCKS).map(|(lock, content)| {
            let lock = LockName::new(lock).ok()?;
            Some((lock, full_id(content)?))
        });
        Some(Offer {
            base: full_id(&one("base")?)?,
            pool: PoolName::new(&one("pool")?).ok()?,
            locks: locks.collect::<Option<_>>()?,
            origin: Origin {
                prefix: one("prefix")?,
                url: one("url"),
                build_id: None,
                instance_vars: one("instance_vars"),
            },
            committer: pair(text.get("committer")?)?,
            trailers,
        })
    }

    /// What tells the commit that is made of it from all others.
    pub fn request(&self) -> &str {
        self.trailer(message::REQUEST).unwrap_or_default()
    }

    /// The step that claims, if a run of it elsewhere is to know the claim again.
    pub fn step(&self) -> Option<&str> {
        self.trailer(message::STEP)
    }

    fn trailer(&self, wanted: &str) -> Option<&str> {
        let mut trailers = self.trailers.iter();
        let found = trailers.find(|(name, _)| name == wanted);
        found.map(|(_, value)| value.as_str())
    }

    /// Whether somebody who commits like this may carry it out: in nobody else's name, and what is signed is signed by himself.
    pub fn is_of(&self, committer: &Identity) -> bool {
        let (name, email) = &self.committer;
        committer.signer.is_none() && *name == committer.name && *email == committer.email
    }

    /// The message of the commit that claims these locks and has this number.
    pub fn message(&self, locks: &[LockName], number: u64) -> String {
        let number = [(message::NUMBER.to_owned(), number.to_string())];
        let trailers = self.trailers.iter().chain(&number);
        let trailers: Vec<(&str, String)> = trailers
            .map(|(name, value)| (name.as_str(), value.clone()))
            .collect();
        compose(&self.origin, Verb::Claiming, locks, &trailers)
    }
}

/// Two texts.
fn pair(value: &Value) -> Option<(String, String)> {
    match &value.as_array()?[..] {
        [one, other] => Some((one.as_str()?.to_owned(), other.as_str()?.to_owned())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;
    use git::object::blob_id;

    fn offer() -> Offer {
        Offer {
            base: blob_id(b"base"),
            pool: PoolName::new("aws").unwrap(),
            locks: vec![
                (LockName::new("env-1").unwrap(), blob_id(b"1")),
                (LockName::new("env 2").unwrap(), blob_id(b"2")),
            ],
            origin: Origin {
                prefix: "ops/web/deploy build 12".to_owned(),
                url: Some("https://ci.example.com/builds/12".to_owned()),
                build_id: None,
                instance_vars: Some("{\"a\":1}".to_owned()),
            },
            committer: ("CI".to_owned(), "ci@localhost".to_owned()),
            trailers: vec![
                (message::REQUEST.to_owned(), "7c0e".to_owned()),
                (message::STEP.to_owned(), "x\ny".to_owned()),
            ],
        }
    }

    #[test]
    fn an_offer_is_read_as_it_was_written() {
        let text = offer().compose();
        assert!(text.starts_with("ops/web/deploy build 12 stands at the branch\n"));
        assert_eq!(Offer::parse(text.as_bytes()), Some(offer()));
    }

    #[test]
    fn the_commit_that_is_made_of_it_says_what_his_own_would_have_said() {
        let offer = offer();
        let locks = [offer.locks[0].0.clone()];
        let message = offer.message(&locks, 7);
        let trailers = [
            (message::REQUEST, "7c0e".to_owned()),
            (message::STEP, "x\ny".to_owned()),
            (message::NUMBER, "7".to_owned()),
        ];
        let own = compose(&offer.origin, Verb::Claiming, &locks, &trailers);
        assert_eq!(message, own);
        assert_eq!(
            message::trailer(message.as_bytes(), message::REQUEST).as_deref(),
            Some(offer.request())
        );
    }

    #[test]
    fn nobody_commits_in_anothers_name() {
        let committer = Identity {
            name: "CI".to_owned(),
            email: "ci@localhost".to_owned(),
            signer: None,
        };
        assert!(offer().is_of(&committer));
        assert!(!offer().is_of(&Identity::default()));
    }

    proptest! {
        #[test]
        fn what_is_no_offer_is_none(text in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(Offer::parse(&text), None);
        }

        #[test]
        fn no_offer_forges_a_line_of_a_message(
            name in prop_oneof!["[A-Za-z-]{1,12}", "(?s).{0,12}", Just(message::NUMBER.to_owned()), Just(message::REQUEST.to_owned())],
            value in "(?s).{0,30}"
        ) {
            let mut offer = offer();
            offer.trailers.insert(0, (name, value));
            if let Some(again) = Offer::parse(offer.compose().as_bytes()) {
                let message = again.message(&[again.locks[0].0.clone()], 7);
                let one = |name| message::trailers(message.as_bytes(), name);
                prop_assert_eq!(one(message::REQUEST), ["7c0e"]);
                prop_assert_eq!(one(message::NUMBER), ["7"]);
            }
        }
    }
}

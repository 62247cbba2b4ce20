//! Who we are ourselves, so that our own claims are known among others.

use url::Url;

use super::{is_id, page, read_link};
use crate::lock::LockName;
use crate::message::{self, Origin, Verb};

/// Who asks. It knows the claims that it has made, in whatever process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Me {
    /// A build of a Concourse: no other one has its id, in that Concourse.
    Build {
        /// The id: digits.
        id: String,
        /// Where its Concourse is, if that is known.
        home: Option<Url>,
    },
    /// Somebody with a name.
    Named(String),
}

impl Me {
    /// Who commits with this origin; `None` when nothing is known of him.
    pub fn of(origin: &Origin) -> Option<Me> {
        match &origin.build_id {
            Some(id) if is_id(id) => {
                let link = origin.url.as_deref().and_then(read_link);
                Some(Me::Build {
                    id: id.clone(),
                    home: link.map(|link| link.home),
                })
            }
            _ if origin.prefix.is_empty() => None,
            _ => Some(Me::Named(origin.prefix.clone())),
        }
    }

    /// How whoever asks is spoken to.
    pub fn spoken_to(&self) -> &'static str {
        match self {
            Me::Build { .. } => "this very build",
            Me::Named(_) => "yourself",
        }
    }

    /// Whether a claim of `lock` is ours, by what its commit says.
    pub fn made(&self, lock: &LockName, message: &[u8]) -> bool {
        match self {
            Me::Build { id, home } => {
                let theirs = message::trailer(message, message::BUILD);
                theirs.as_ref() == Some(id) && page(message).map(|link| link.home) == *home
            }
            Me::Named(name) => {
                let line = message::first_line(message);
                [Verb::Claiming, Verb::AddingClaimed].iter().any(|verb| {
                    let locks = line.strip_prefix(&format!("{name} {}: ", verb.as_str()));
                    // Else it is somebody's whose name only begins with ours.
                    let lock = lock.bare();
                    locks.is_some_and(|locks| locks.split(", ").any(|name| name == lock.as_str()))
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn build(id: &str, url: Option<&str>) -> Origin {
        Origin {
            prefix: "ops/web/deploy build 12".to_owned(),
            url: url.map(str::to_owned),
            build_id: Some(id.to_owned()),
            instance_vars: None,
        }
    }

    fn named(name: &str) -> Origin {
        Origin {
            prefix: name.to_owned(),
            ..Origin::default()
        }
    }

    fn claim(origin: &Origin, verb: Verb, lock: &str) -> (LockName, String) {
        let lock = LockName::new(lock).unwrap();
        let id = origin.build_id.iter();
        let trailers: Vec<_> = id.map(|id| (message::BUILD, id.clone())).collect();
        let message = message::compose(origin, verb, std::slice::from_ref(&lock), &trailers);
        (lock, message)
    }

    const PAGE: Option<&str> = Some("https://ci/teams/ops/pipelines/web/jobs/deploy/builds/12");

    #[test]
    fn a_build_knows_the_claims_with_its_id_and_those_of_no_other_concourse() {
        let me = Me::of(&build("4711", PAGE)).unwrap();
        let is_mine = |origin: &Origin| {
            let (lock, message) = claim(origin, Verb::Claiming, "a");
            me.made(&lock, message.as_bytes())
        };

        assert!(is_mine(&build("4711", PAGE)));
        assert!(is_mine(&build("4711", Some("https://ci/builds/4711"))));
        for other in [
            build("4712", PAGE),
            build("4711", None),
            build("4711", Some("https://ci-2/builds/4711")),
            build("4711", Some("https://ci/below/builds/4711")),
            build("4711", Some("http://ci/builds/4711")),
            named("ops/web/deploy build 12"),
        ] {
            assert!(!is_mine(&other), "{other:?}");
        }
    }

    #[test]
    fn without_a_page_a_build_knows_its_claims_by_its_id() {
        let me = Me::of(&build("4711", None)).unwrap();
        let (lock, message) = claim(&build("4711", None), Verb::AddingClaimed, "a");
        assert!(me.made(&lock, message.as_bytes()));
        let (lock, message) = claim(&build("4711", PAGE), Verb::AddingClaimed, "a");
        assert!(!me.made(&lock, message.as_bytes()));
    }

    #[test]
    fn who_has_a_name_knows_his_claims_by_it() {
        let me = Me::of(&named("anna")).unwrap();
        for verb in [Verb::Claiming, Verb::AddingClaimed] {
            let (lock, message) = claim(&named("anna"), verb, "a, b");
            assert!(!me.made(&lock, message.as_bytes()));
            assert!(me.made(&LockName::new("b").unwrap(), message.as_bytes()));
        }
        for (name, verb) in [
            ("anna", Verb::Unclaiming),
            ("anna claiming: b", Verb::Claiming),
            ("annabel", Verb::Claiming),
        ] {
            let (lock, message) = claim(&named(name), verb, "a");
            assert!(!me.made(&lock, message.as_bytes()), "{name}");
        }
        assert_eq!(Me::of(&Origin::default()), None);
    }
}

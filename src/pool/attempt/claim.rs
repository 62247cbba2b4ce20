//! A claim of ours, from before it is sent until somebody has been told of it, or it has ended: as we know it, and as a
//! run after this one finds it should we be killed.

use crate::line::offer::Offer;
use crate::lock::LockName;
use crate::marker::{Marked, Marker};
use crate::message::{REQUEST, Verb, listed};
use git::object::Oid;

/// How far a claim of ours has come.
pub(super) enum OurClaim {
    /// There is none: not made yet, told, given back, or never to be on the branch.
    None,
    /// About to be sent, or known not to be on the branch: all there may be of it is its marker.
    Unsent(Option<Marker>),
    /// It may be on the branch, and nobody has been told of it.
    MayStand(Pending, Option<Marker>),
}

/// A claim that may be on the branch, and that no one has been told of.
#[derive(Clone)]
pub(super) struct Pending {
    pub locks: Vec<LockName>,
    pub verb: Verb,
    pub base: Oid,
    pub commit: Oid,
    /// The objects of the commit.
    pub objects: Vec<Oid>,
    /// What a run that vanished has pushed, if it was that: its objects are not here.
    pub left: Option<Vec<u8>>,
    /// What others may make a commit of besides, if it was offered to them; then `commit` is the offer, as long as there is no
    /// commit of ours.
    pub offer: Option<Box<Offer>>,
}

impl Pending {
    /// What an earlier run has left.
    pub fn of(marked: &Marked) -> Pending {
        let offer = Offer::parse(&marked.pack).map(Box::new);
        Pending {
            locks: marked.locks.clone(),
            verb: marked.verb,
            base: marked.base,
            commit: marked.commit,
            objects: match offer {
                Some(_) => Vec::new(),
                None => marked.objects.clone(),
            },
            left: Some(marked.pack.clone()).filter(|_| offer.is_none()),
            offer,
        }
    }

    /// Its locks, for people.
    pub fn names(&self) -> String {
        match &self.offer {
            Some(_) if self.is_only_offered() && self.locks.len() > 1 => {
                format!("one of {} locks", self.locks.len())
            }
            _ => format!("`{}`", listed(&self.locks)),
        }
    }

    /// How people find it in the history.
    pub fn known_by(&self) -> String {
        match &self.offer {
            Some(offer) if self.is_only_offered() => {
                format!("a commit that says `{REQUEST}: {}`", offer.request())
            }
            _ => format!("the commit {}", self.commit),
        }
    }

    /// Whether there is no commit of it yet, as far as we know.
    pub fn is_only_offered(&self) -> bool {
        self.offer.is_some() && self.objects.is_empty()
    }

    /// What tells the claim from all others, whoever made a commit of it; `None` where nobody else can have.
    pub fn request(&self) -> Option<&str> {
        self.offer.as_ref().map(|offer| offer.request())
    }
}

impl OurClaim {
    /// What may be on the branch.
    pub fn may_stand(&self) -> Option<&Pending> {
        match self {
            OurClaim::MayStand(pending, _) => Some(pending),
            OurClaim::None | OurClaim::Unsent(_) => None,
        }
    }

    /// What was offered, as long as it may be on the branch.
    pub fn offered(&self) -> Option<&Offer> {
        self.may_stand()?.offer.as_deref()
    }

    /// From now on it may be on the branch.
    pub fn is_sent(&mut self, pending: Pending) {
        *self = OurClaim::MayStand(pending, self.take_marker());
    }

    /// Before the first push that ends it: such a push may be on its way when we are killed.
    pub fn is_given_back(&self) {
        if let OurClaim::Unsent(Some(marker)) | OurClaim::MayStand(_, Some(marker)) = self {
            marker.note_end();
        }
    }

    /// Somebody has been told of it. With `answered` it is known by that name to a run after this one: it is the same step
    /// again if it comes, and nobody has heard.
    pub fn is_told(&mut self, answered: Option<&str>) {
        match (self.take_marker(), answered) {
            (Some(marker), Some(answered)) => marker.keep_as(answered),
            (Some(marker), None) => marker.clear(),
            (None, _) => {}
        }
    }

    /// It has ended, or it never came to be.
    pub fn is_over(&mut self) {
        if let Some(marker) = self.take_marker() {
            marker.clear();
        }
    }

    /// Leaves nothing in its place.
    fn take_marker(&mut self) -> Option<Marker> {
        match std::mem::replace(self, OurClaim::None) {
            OurClaim::None => None,
            OurClaim::Unsent(marker) | OurClaim::MayStand(_, marker) => marker,
        }
    }
}

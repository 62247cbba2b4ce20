//! Values: what is asked of the other side, and what it answers.

use std::collections::BTreeMap;

use crate::object::Oid;

/// How many commits of a history are fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Depth(pub(crate) u32);

impl Depth {
    /// The head alone: what is there now.
    pub const HEAD: Depth = Depth(1);
    /// The head and the one before: what the last commit did.
    pub const FEW: Depth = Depth(2);
    /// The last fifty: enough for most questions about the past, and hardly dearer than one.
    pub const RECENT: Depth = Depth(50);
    /// The last five hundred: fetched soon enough, and deeper than most questions go.
    pub const FAR: Depth = Depth(500);
    /// The last five thousand: enough to find nearly every claim, at a cost that is felt.
    pub const LONG: Depth = Depth(5000);
    /// Everything. The number is Git's own for it.
    pub(crate) const ALL: Depth = Depth(0x7fff_ffff);

    /// Whether it is everything.
    pub(super) fn is_all(self) -> bool {
        self == Depth::ALL
    }

    /// This many commits more.
    pub fn and(self, more: u32) -> Depth {
        Depth(self.0.saturating_add(more).min(Depth::ALL.0))
    }

    /// The next depth to try when this one was not enough; `None` after everything.
    pub fn deeper(self) -> Option<Depth> {
        match self {
            Depth::ALL => None,
            depth if depth < Depth::RECENT => Some(Depth::RECENT),
            // Past this the whole history is hardly more.
            Depth(depth) if depth >= 50_000 => Some(Depth::ALL),
            Depth(depth) => Some(Depth(depth * 10)),
        }
    }

    /// How many times as deep as another one.
    pub fn parts(self, other: Depth) -> i32 {
        i32::try_from(self.0 / other.0).unwrap_or(i32::MAX)
    }
}

/// A branch at one moment: its head's files are here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Snapshot {
    /// The commit that the branch was at.
    pub commit: Oid,
    /// How deep its history was fetched.
    pub depth: Depth,
}

/// What a server lists at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The commit that the branch is at.
    pub head: Oid,
    /// The refs that are watched, by the part of their names after what was given to [`crate::Remote::watch`].
    pub watched: BTreeMap<String, Oid>,
    /// Likewise those that are listed besides, see [`crate::Remote::list_besides`].
    pub besides: BTreeMap<String, Oid>,
}

/// What is to be fetched after a look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Interest {
    /// Nothing.
    Nothing,
    /// The head, so deep, and these objects of watched refs, each if it is not here yet. They may be missing afterwards:
    /// refs come and go.
    Head(Depth, Vec<Oid>),
}

/// Which files are fetched with the head and its history, where the server can leave files out. What stands in folders is
/// always known, and is enough to change them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Files {
    /// All of them.
    All,
    /// Those of no more bytes than that. The others can be had one by one, see [`crate::Remote::fetch_files`].
    Small(usize),
    /// None.
    None,
}

/// One change of one ref besides the branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefUpdate {
    /// Its whole name.
    pub name: String,
    /// Where it must be for the change to count; `None` if it must not be there.
    pub old: Option<Oid>,
    /// Where it is to be; `None` to take it away.
    pub new: Option<Oid>,
}

/// The objects that a server needs for a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pack {
    /// Packed already.
    Made(Vec<u8>),
    /// These of the store, each new to the server: packed as it is best for the server.
    Of(Vec<Oid>),
}

/// What a server answered to a push. Nothing but [`PushAnswer::Accepted`] is to be believed without looking at the
/// branch again: something between us and the server may have sent our request twice.
#[must_use = "a lost race looks like success unless it is read"]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PushAnswer {
    /// The branch moved from the expected commit to ours.
    Accepted {
        /// Whether the other refs moved with it, which only some servers can.
        together: bool,
    },
    /// The branch is not at the expected commit any more; nothing was sent.
    Moved,
    /// The server did not take it.
    Rejected {
        /// Its reason for the ref, one line.
        reason: String,
        /// What its hooks and it said besides.
        words: String,
    },
}

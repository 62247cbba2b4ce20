//! What was said and done: what the repository has, and what those who used it were told. Plain data.

use std::collections::{BTreeMap, BTreeSet};

/// The pool's folder.
pub const POOL: &str = "aws";

/// All files at a commit: the path, and its mode and blob.
pub type Files = BTreeMap<String, String>;

/// All that is known once everything has come to rest.
#[derive(Debug, Clone, Default)]
pub struct Story {
    /// The commit that it began with.
    pub start: String,
    /// The files there.
    pub files: Files,
    /// Every later commit of the branch, oldest first: the order in which everything happened.
    pub commits: Vec<Commit>,
    /// Every process that was started; those of one container in the order of their starts.
    pub runs: Vec<Run>,
    /// Every time that a worker believed to hold a lock.
    pub holds: Vec<Hold>,
}

/// One commit, as plain Git has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Commit {
    /// Its id.
    pub id: String,
    /// Those it was made on.
    pub parents: Vec<String>,
    /// What its subject says, if it speaks of a lock.
    pub said: Option<Said>,
    /// The trailer `Pool-Request`.
    pub request: Option<String>,
    /// The trailer `Pool-Claim`.
    pub claim: Option<String>,
    /// The trailer `Pool-Number`.
    pub number: Option<u64>,
    /// When it was made, in seconds since 1970.
    pub time: u64,
    /// When the lease ends that it gives, likewise.
    pub lease: Option<u64>,
    /// The files at its first parent.
    pub before: Files,
    /// The files at it.
    pub after: Files,
}

/// What a subject says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// What stands before the verb: the run that made the commit.
    pub actor: String,
    /// What was done.
    pub verb: Verb,
    /// To which lock.
    pub lock: String,
}

/// What a commit does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Free to held.
    Claiming,
    /// Held to free.
    Unclaiming,
    /// New and free.
    AddingUnclaimed,
    /// New and held.
    AddingClaimed,
    /// Held to gone.
    Removing,
    /// Other content.
    Updating,
    /// A lease goes on.
    Renewing,
}

/// One process.
#[derive(Debug, Clone)]
pub struct Run {
    /// How its commits name it; no other run has the same.
    pub actor: String,
    /// Whose it was.
    pub worker: String,
    /// The container that it ran in. Its runs are one step, run again after each of them vanished.
    pub container: String,
    /// What it was to do.
    pub asked: Asked,
    /// How it ended.
    pub ending: Ending,
}

/// What a run was to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// Any lock.
    Acquire,
    /// This one.
    Claim(String),
    /// A new one with this content (mode and blob), held.
    AddClaimed(String, String),
    /// A new one with this content, free.
    Add(String, String),
    /// Other content for a lock; by its holder, if there is a claim.
    Update(String, String, Option<String>),
    /// The end of this claim of this lock.
    Release(String, String),
    /// The same, and of the lock.
    Remove(String, String),
    /// A lock (this one, or any) for as long as a command runs, with a lease that is renewed meanwhile.
    Run(Option<String>),
    /// The end of every claim whose lease is over.
    Reap,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// It said that it was done: this lock, this commit.
    Told(String, String),
    /// It said that it was not, and of these commits that they might be on the branch.
    Failed(BTreeSet<String>),
    /// It said that it was done, and has nothing to show.
    Done,
    /// It was killed, and said nothing.
    Vanished,
}

/// A lock in the hands of a worker.
#[derive(Debug, Clone)]
pub struct Hold {
    /// Whose hands.
    pub worker: String,
    /// The lock.
    pub lock: String,
    /// The commit that it was told.
    pub claim: String,
    /// Where the branch was at moments between then and the start of its release.
    pub seen: Vec<String>,
    /// Whether it was killed, or said that it could not give it back: somebody else had to.
    pub left: bool,
}

impl Verb {
    /// Every verb, with its words.
    pub const ALL: [(Verb, &str); 7] = [
        (Verb::Claiming, "claiming"),
        (Verb::Unclaiming, "unclaiming"),
        (Verb::AddingUnclaimed, "adding unclaimed"),
        (Verb::AddingClaimed, "adding claimed"),
        (Verb::Removing, "removing"),
        (Verb::Updating, "updating"),
        (Verb::Renewing, "renewing"),
    ];
}

impl Said {
    /// Reads a subject.
    pub fn parse(subject: &str) -> Option<Said> {
        let (head, lock) = subject.split_once(": ")?;
        let (actor, verb) = Verb::ALL.iter().find_map(|(verb, words)| {
            let actor = head.strip_suffix(words)?;
            (actor.is_empty() || actor.ends_with(' ')).then_some((actor.trim_end(), *verb))
        })?;
        Some(Said {
            actor: actor.to_owned(),
            verb,
            lock: lock.to_owned(),
        })
    }
}

impl Asked {
    /// Whether its success is a grant.
    pub fn claims(&self) -> bool {
        matches!(
            self,
            Asked::Acquire | Asked::Claim(_) | Asked::AddClaimed(..) | Asked::Run(_)
        )
    }

    /// The claim that it was to end, and of which lock.
    pub fn ends(&self) -> Option<(&str, &str)> {
        match self {
            Asked::Release(lock, claim) | Asked::Remove(lock, claim) => Some((lock, claim)),
            _ => None,
        }
    }

    /// Whether a run of this may make such a commit. What it claims it may give back.
    pub fn allows(&self, verb: Verb, of: &str) -> bool {
        match self {
            Asked::Acquire => matches!(verb, Verb::Claiming | Verb::Unclaiming),
            Asked::Claim(lock) => matches!(verb, Verb::Claiming | Verb::Unclaiming) && lock == of,
            Asked::AddClaimed(lock, _) => {
                matches!(verb, Verb::AddingClaimed | Verb::Removing) && lock == of
            }
            Asked::Add(lock, _) => verb == Verb::AddingUnclaimed && lock == of,
            Asked::Update(lock, ..) => {
                matches!(verb, Verb::Updating | Verb::AddingUnclaimed) && lock == of
            }
            Asked::Release(lock, _) => verb == Verb::Unclaiming && lock == of,
            Asked::Remove(lock, _) => verb == Verb::Removing && lock == of,
            Asked::Run(lock) => {
                matches!(verb, Verb::Claiming | Verb::Unclaiming | Verb::Renewing)
                    && lock.as_ref().is_none_or(|lock| lock == of)
            }
            Asked::Reap => verb == Verb::Unclaiming,
        }
    }
}

//! Locks that others give: what a job, or a task of it, waits for before it begins, and holds while it runs.
//!
//! Where locks are, who else wants them and how they are kept is the business of [`Locks`], which the program brings along.
//! The engine asks it once for each holder, and hears what comes of it by a [`Teller`].

use std::ffi::OsString;
use std::fmt;
use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

use crate::job::{Holder, Job, Lock};
use crate::rules::LockNews;

/// Who gives locks.
pub trait Locks: fmt::Debug + Send + Sync {
    /// Waits for the locks of a job, or of a task of it, and holds them until it is told to stop; then it gives them back, and tells that this is
    /// over. It comes back at once.
    fn hold(&self, job: Arc<Job>, task: Option<usize>, teller: Teller, stop: CancellationToken);

    /// Gives back what a server before this one has claimed for a job or a task of it, or may have; then it tells that this is over. It comes
    /// back at once.
    fn give_back(&self, job: Arc<Job>, task: Option<usize>, teller: Teller);
}

/// What tasks find in their environment while locks are held.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// Variables that are set.
    pub set: Vec<(OsString, OsString)>,
    /// Variables that are not there, such as those with credentials.
    pub removed: Vec<OsString>,
}

/// News of somebody's locks, on their way to the engine.
#[derive(Debug)]
pub struct News {
    pub(crate) of: Holder,
    pub(crate) news: LockNews,
    pub(crate) env: Option<Change>,
}

/// Tells the engine what becomes of somebody's locks.
#[derive(Debug, Clone)]
pub struct Teller {
    of: Holder,
    to: UnboundedSender<News>,
}

impl Teller {
    pub(crate) fn new(of: Holder, to: UnboundedSender<News>) -> Teller {
        Teller { of, to }
    }

    /// They are waited for; this is what is known of that.
    pub fn waits(&self, words: String) {
        self.tell(LockNews::Waits(words), None);
    }

    /// All of them are held, and tasks find this in their environment.
    pub fn holds(&self, locks: Vec<Lock>, env: Change) {
        self.tell(LockNews::Holds(locks), Some(env));
    }

    /// A lock is not held any more, or soon will not be.
    pub fn lost(&self, why: String) {
        self.tell(LockNews::Lost(why), None);
    }

    /// Nothing is held any more, and nothing more is done; what went wrong, if it did.
    pub fn over(&self, result: Result<(), String>) {
        self.tell(LockNews::Over(result), None);
    }

    fn tell(&self, news: LockNews, env: Option<Change>) {
        let of = self.of;
        // Where nobody hears it any more, the server ends; the next one asks itself.
        let _ = self.to.send(News { of, news, env });
    }
}

//! The way to a repository, for those who go it several times: what has been connected and read for the first stays.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::access::Access;
use super::link::Link;
use super::location::Location;
use super::remote::Remote;
use super::store::Store;
use crate::RemoteError;

/// After so long a connection may have died without a word, and to find that out costs more than to log in anew.
const FRESH: Duration = Duration::from_secs(30);

/// The last way that was gone. Clones share it.
#[derive(Clone, Default)]
pub struct Links(Arc<Mutex<Option<Gone>>>);

struct Gone {
    location: Location,
    access: Access,
    link: Arc<Link>,
    last: Instant,
}

impl Links {
    /// Gets ready to talk about a branch, on the way that was gone before if that leads there. Connects to nothing yet.
    ///
    /// # Errors
    /// [`RemoteError`] when the transport cannot be set up.
    pub fn remote(
        &self,
        location: &Location,
        access: &Access,
        branch: &str,
        store: Store,
    ) -> Result<Remote, RemoteError> {
        let mut gone = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let leads_there = |gone: &&mut Gone| {
            gone.location == *location && gone.access == *access && gone.last.elapsed() < FRESH
        };
        let link = match gone.as_mut().filter(leads_there) {
            Some(known) => {
                known.last = Instant::now();
                known.link.clone()
            }
            None => {
                let link = Link::new(location, access)?;
                *gone = Some(Gone {
                    location: location.clone(),
                    access: access.clone(),
                    link: link.clone(),
                    last: Instant::now(),
                });
                link
            }
        };
        Ok(Remote::over(link, location, branch, store))
    }
}

impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Links").finish_non_exhaustive()
    }
}

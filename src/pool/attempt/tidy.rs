//! Tickets that nobody stands behind, taken away by somebody who does not wait himself.

use std::time::Duration;

use tokio::time::Instant;

use super::queue::{InLine, Patience, Queue};
use super::retried;
use crate::line::Need;
use crate::line::sightings::Said;
use crate::lock::PoolName;
use crate::operation::Want;
use git::{Depth, FaultError, Remote};
use pace::ride_out;
use std::io::Write;
use tokio_util::sync::CancellationToken;

/// What became of the tickets of those who vanished.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadTickets {
    /// How many were found.
    pub found: usize,
    /// How many of them are gone, or say that they are left.
    pub gone: usize,
    /// What the server said to the others.
    pub refused: Option<String>,
}

/// Takes away the tickets of a pool whose owners show no sign of life, or only counts them if `dry`. A ticket's own date tells
/// that, for it is seen only once.
///
/// # Errors
/// [`FaultError`].
pub(crate) async fn clear_dead_tickets(
    remote: &mut Remote,
    pool: &PoolName,
    dry: bool,
    limit: Duration,
    stop: &CancellationToken,
    log: &mut dyn Write,
) -> Result<DeadTickets, FaultError> {
    let unheard = &mut String::new();
    ride_out(limit, stop, &mut retried(log, unheard), async || {
        let mut queue = onlooker(remote, pool);
        remote.watch(queue.start());
        let began = Instant::now();
        let (listing, _) = {
            let interest = |listing: &_| queue.interest(listing, Depth::HEAD);
            remote.look(false, &interest).await?
        };
        let store = remote.store();
        queue.observe(
            &listing,
            &|commit| Said::in_store(store, commit),
            began.elapsed(),
        );
        match dry {
            true => Ok(DeadTickets {
                found: queue.dead_tickets().len(),
                ..DeadTickets::default()
            }),
            false => queue.clear_all(remote).await,
        }
    })
    .await
}

/// One who looks at the line of a pool, and does not stand in it.
fn onlooker(remote: &Remote, pool: &PoolName) -> Queue {
    let settings = InLine {
        priority: 0,
        renewal: Duration::from_secs(20),
        ..InLine::default()
    };
    let patience = Patience {
        limit: Some(Duration::ZERO),
        retry_delay: Duration::from_secs(10),
    };
    let need = Need::Any(Want::default());
    Queue::new(remote.branch(), pool, need, settings, patience)
}

//! Letting those publish first who are before us in the line.

use std::time::Duration;

use rand::RngExt;
use tokio::time::Instant;

use git::object::Oid;

/// How those go on who are to publish before us.
#[derive(Default)]
pub(super) struct OthersFirst {
    /// How many there were, where the branch was, and when that had just changed.
    seen: Option<(usize, Oid, Instant)>,
}

impl OthersFirst {
    /// How many requests it takes to look, fetch and push. Each takes about as long as our own look took: what is seen of
    /// the others has the time in it for which nobody did anything, and whoever went by that would make it longer and longer.
    const REQUESTS: u32 = 4;
    /// What it takes on the fastest of servers.
    const LEAST: Duration = Duration::from_millis(40);
    /// The longest pause: a mistake must not leave the branch alone for long.
    const LONGEST: Duration = Duration::from_millis(500);
    /// For how long one is waited for who does nothing.
    const PATIENCE: Duration = Duration::from_secs(1);

    /// The pause until it may be our turn; `None` when nothing has happened for too long.
    pub fn pause(&mut self, before: usize, head: Oid, look: Duration) -> Option<Duration> {
        let now = Instant::now();
        match self.seen {
            Some((were, was, since)) if were == before && was == head => {
                if since.elapsed() >= OthersFirst::PATIENCE {
                    self.seen = None;
                    return None;
                }
            }
            _ => self.seen = Some((before, head, now)),
        }
        let each = (look * OthersFirst::REQUESTS).max(OthersFirst::LEAST);
        let all = each.saturating_mul(u32::try_from(before).unwrap_or(u32::MAX));
        // A little early: to look once more costs less than to leave the branch alone.
        let pause = all.min(OthersFirst::LONGEST);
        Some(pause.mul_f64(rand::rng().random_range(0.8..=1.0)))
    }
}

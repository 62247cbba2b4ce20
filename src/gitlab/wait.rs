//! When to ask again after a fault.

use std::time::Duration;

use crate::GitlabError;

/// The first pause at most, and the longest: a server that restarts is not helped by a crowd that asks every second.
const FIRST: Duration = Duration::from_secs(6);
const CAP: Duration = Duration::from_secs(29);

/// Pauses after faults in a row: they grow, with jitter, and are never shorter than the server asks for.
pub struct Backoff {
    pauses: Box<dyn Iterator<Item = Duration>>,
    first: Duration,
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff::from(FIRST)
    }
}

impl Backoff {
    /// Pauses of which the first is at most so long.
    pub fn from(first: Duration) -> Backoff {
        Backoff {
            pauses: Box::new(pace::pauses(first, CAP)),
            first,
        }
    }

    /// The pause after one more fault.
    pub fn after(&mut self, fault: &GitlabError) -> Duration {
        let pause = self.pauses.next().unwrap_or(CAP);
        pause.max(fault.retry_after().unwrap_or_default())
    }

    /// A success ends the row.
    pub fn reset(&mut self) {
        *self = Backoff::from(self.first);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(retry_after: Option<u64>) -> GitlabError {
        GitlabError::Failed {
            at: "https://h/".to_owned(),
            status: 503,
            retry_after: retry_after.map(Duration::from_secs),
        }
    }

    #[test]
    fn pauses_grow_from_three_to_six_seconds_to_less_than_thirty_and_begin_again_after_a_success() {
        let mut backoff = Backoff::default();
        for _ in 0..2 {
            for whole in [6.0, 12.0, 24.0, 29.0, 29.0, 29.0] {
                let pause = backoff.after(&failed(None)).as_secs_f64();
                assert!((whole / 2.0..=whole).contains(&pause), "{pause} {whole}");
            }
            backoff.reset();
        }
    }

    #[test]
    fn a_pause_is_never_shorter_than_the_server_asks_for() {
        let mut backoff = Backoff::default();

        assert_eq!(backoff.after(&failed(Some(120))), Duration::from_secs(120));
        assert!(backoff.after(&failed(Some(1))) >= Duration::from_secs(6));
    }
}

//! New definitions: on a signal, or when the files have changed.

use std::path::PathBuf;
use std::sync::Arc;

use pipelines::definition::{self, Definitions};
use pipelines::engine::Scheduler;
use pipelines::log::{Level, Log};

use super::locks::PoolLocks;

/// Where definitions are, and which are in use.
pub struct Reload {
    pub path: PathBuf,
    pub pattern: String,
    pub current: Arc<Definitions>,
    pub scheduler: Scheduler,
    pub locks: Arc<PoolLocks>,
    pub log: Log,
}

impl Reload {
    /// Looks, and takes what is new. A set with a fault in it is refused whole, and the old one stays.
    pub async fn look(&mut self) {
        let (path, pattern) = (self.path.clone(), self.pattern.clone());
        let locks = self.locks.clone();
        let load = move || {
            let definitions = definition::load(&path, &pattern)?;
            locks.check(&definitions)?;
            anyhow::Ok(definitions)
        };
        let loaded = tokio::task::spawn_blocking(load).await;
        let new = match loaded {
            Ok(Ok(new)) => new,
            Ok(Err(err)) => {
                self.log.say(
                    Level::Error,
                    &format!("Error loading pipeline definitions: {err:#}"),
                    &[],
                );
                return;
            }
            Err(err) => {
                self.log.say(
                    Level::Error,
                    &format!("Error loading pipeline definitions: {err}"),
                    &[],
                );
                return;
            }
        };
        if new == *self.current {
            self.log.say(Level::Debug, "no changes detected", &[]);
            return;
        }
        self.current = Arc::new(new);
        self.scheduler.load(self.current.clone()).await;
        self.log.info(
            &format!(
                "Definitions changed, loaded {} pipelines",
                self.current.len()
            ),
            &[],
        );
    }
}

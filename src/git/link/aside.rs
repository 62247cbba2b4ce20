//! What the other side says on its error stream, as far as it has come, and whether it has ended.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

use crate::refusal;

/// What the other side says on its error stream, as far as it has come.
#[derive(Clone, Default)]
pub(super) struct Aside(Arc<Mutex<State>>, Arc<Notify>);

#[derive(Default)]
struct State {
    words: Vec<u8>,
    ended: bool,
}

impl Aside {
    pub fn hear(&self, bytes: &[u8]) {
        const ENOUGH: usize = 4096;
        if let Ok(mut state) = self.0.lock() {
            let room = ENOUGH.saturating_sub(state.words.len());
            state
                .words
                .extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
    }

    pub fn end(&self) {
        if let Ok(mut state) = self.0.lock() {
            state.ended = true;
        }
        self.1.notify_waiters();
    }

    /// Waits until the other side has ended, for as long as that at most.
    pub async fn ended(&self, most: Duration) {
        let ended = || self.0.lock().map_or(true, |state| state.ended);
        let _ = timeout(most, async {
            loop {
                let notified = self.1.notified();
                if ended() {
                    return;
                }
                notified.await;
            }
        })
        .await;
    }

    /// All of it, once the other side has ended; what there is after a second.
    pub async fn words(&self) -> String {
        self.ended(Duration::from_secs(1)).await;
        self.0
            .lock()
            .map(|state| refusal::words(&state.words))
            .unwrap_or_default()
    }
}

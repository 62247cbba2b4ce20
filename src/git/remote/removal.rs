//! Removing what was fetched, beside everything else.

use tokio::sync::oneshot;

/// A removal that goes on.
pub struct Removal(oneshot::Receiver<()>);

impl Removal {
    /// Drops `what` on a thread of its own.
    pub(super) fn begin(what: impl Send + 'static) -> Removal {
        let (done, is_done) = oneshot::channel();
        let remove = move || {
            drop(what);
            let _ = done.send(());
        };
        // Where there is no thread to be had, it was dropped with the closure: done too.
        let _ = std::thread::Builder::new().spawn(remove);
        Removal(is_done)
    }

    /// Comes back when it is done.
    pub async fn done(self) {
        // An error says that nobody is at it any more.
        let _ = self.0.await;
    }
}

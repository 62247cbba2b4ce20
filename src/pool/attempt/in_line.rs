//! Standing in line: our ticket is taken, kept alive and taken away, and so are those that were left behind.

use tokio::time::timeout;

use super::abort::{GRACE, LEAVE};
use super::land::answer_until;
use super::publish::means_contention;
use super::queue::{Kept, Queue, REFS};
use super::{Attempt, AttemptError};
use crate::line::PlaceName;
use git::RemoteError;
use pace::stopped_for;

impl Attempt<'_> {
    /// Takes a place in the line, if we have none.
    pub(super) async fn take_ticket(
        &mut self,
        queue: &mut Option<Queue>,
    ) -> Result<(), AttemptError> {
        match queue {
            Some(line) if !line.has_ticket() => self.keep_ticket(queue).await,
            _ => Ok(()),
        }
    }

    /// Takes a place in the line, or shows that we are there. Where the server takes no tickets we go on without a line.
    pub(super) async fn keep_ticket(
        &mut self,
        queue: &mut Option<Queue>,
    ) -> Result<(), AttemptError> {
        let Some(line) = queue else { return Ok(()) };
        let (updates, blob) = line.keep(self.remote.store(), &self.origin)?;
        let pack = self.remote.store().pack(&[blob])?;
        let update = self.remote.update_refs(&updates, &pack);
        let answer = answer_until(stopped_for(GRACE, &self.stop), &self.remote, update).await;
        let why = match line.kept(answer) {
            Ok(Kept::Done | Kept::Uncertain) => return Ok(()),
            Ok(Kept::Refused(reason)) => reason,
            Err(fault) => terminal::chain(&fault),
        };
        let remote = self.remote.name();
        terminal::say(
            self.log,
            format_args!(
                "note: `{remote}` takes no refs below {REFS} ({why}): waiting without a line, so that whoever looks first is served first"
            ),
        );
        *queue = None;
        Ok(())
    }

    /// Takes away the tickets of those who vanished. Where the server lets none be taken away we go on without a line:
    /// they would stand in everybody's way for ever.
    pub(super) async fn clear_line(&mut self, queue: &mut Option<Queue>) {
        for update in queue.as_ref().map(Queue::clearance).unwrap_or_default() {
            let name = update.name.clone();
            match self.remote.update_refs(&[update], &[]).await {
                Ok(None) => {
                    terminal::say(
                        self.log,
                        format_args!(
                            "note: took away {name}: whoever waited with it shows no sign of life"
                        ),
                    );
                    let place = name.rsplit('/').next().and_then(PlaceName::parse);
                    if let Some(place) = place {
                        self.meter.forget(&place.id);
                    }
                }
                Ok(Some(reason)) if !means_contention(&reason) => {
                    terminal::say(
                        self.log,
                        format_args!(
                            "note: {name} was left behind, and cannot be taken away ({reason}): waiting without a line"
                        ),
                    );
                    *queue = None;
                    return;
                }
                // Whoever is faster does the same.
                Ok(Some(_)) | Err(_) => {}
            }
        }
    }

    /// Takes our ticket out of the line, and those that were left behind before us.
    pub(super) async fn leave_line(&mut self, queue: &mut Option<Queue>) {
        let leave = async {
            if let Some(queue) = queue {
                queue.withdraw(&mut self.remote).await?;
            }
            self.clear_line(queue).await;
            Ok::<(), RemoteError>(())
        };
        let left = timeout(LEAVE, leave).await;
        let why = match left {
            Ok(Ok(())) => return,
            Ok(Err(err)) => terminal::chain(&err),
            Err(_) => format!("no answer within {}", humantime::format_duration(LEAVE)),
        };
        terminal::say(
            self.log,
            format_args!("warning: our place in line may be kept for a while, for nobody: {why}"),
        );
    }
}

//! Standing in line: what the line needs of the server is asked for, within our limits, and people are told.

use std::time::Duration;

use tokio::time::timeout;

use super::abort::{GRACE, LEAVE};
use super::at_branch::leave_branch;
use super::course::Course;
use super::queue::{Cleared, Gone, Kept, Queue, REFS, Who};
use super::{Attempt, AttemptError};
use crate::line::branch::BranchLine;
use crate::line::ours::Lacking;
use git::RemoteError;
use pace::stopped_for;

/// How long it may take to leave the line when nobody has told us to stop.
const AT_LEISURE: Duration = Duration::from_secs(15);

/// How long it may take in an abort in which there is nothing to give back: with the rest of it, less than what there is.
const ALONE: Duration = Duration::from_millis(4500);

impl Attempt<'_> {
    /// Takes a place in the line, if we have none. Where tickets stay that cannot be taken away, ours would stay as well,
    /// so that none is taken.
    pub(super) async fn take_ticket(
        &mut self,
        queue: &mut Option<Queue>,
    ) -> Result<(), AttemptError> {
        let Some(line) = queue.as_mut().filter(|line| !line.has_ticket()) else {
            return Ok(());
        };
        let stop = self.stop.clone();
        let clears = stop.run_until_cancelled(line.clear_left(&mut self.remote));
        if let Some(Ok(true)) = clears.await {
            line.go_without();
            let remote = self.remote.name();
            self.wait_without_line(&format!(
                "`{remote}` lets no ref below {REFS} be taken away"
            ));
            return Ok(());
        }
        if let Some(since) = line.takes_over() {
            let since = i64::try_from(since).ok().and_then(terminal::time::time);
            let since = since.map_or(String::new(), |since| format!(" since {since}"));
            let line = format_args!(
                "note: an earlier run of this step has stood in line{since}, and has gone: taking over its place"
            );
            terminal::say(self.log, line);
        }
        self.keep_ticket(queue).await
    }

    /// Takes a place in the line, or shows that we are there. Where the server takes no tickets we go on without a line.
    pub(super) async fn keep_ticket(
        &mut self,
        queue: &mut Option<Queue>,
    ) -> Result<(), AttemptError> {
        let Some(line) = queue else { return Ok(()) };
        let who = Who {
            origin: &self.origin,
            identity: &self.identity,
        };
        let given_up = stopped_for(GRACE, &self.stop);
        let remote = self.remote.name().to_owned();
        let why = match line.keep(&mut self.remote, who, given_up).await {
            Ok(Kept::Done) => return Ok(()),
            Ok(Kept::Troubled(words)) => {
                let line = format_args!(
                    "note: cannot show that we wait in line ({words}); trying again, ever more seldom"
                );
                terminal::say(self.log, line);
                return Ok(());
            }
            Ok(Kept::Without(Lacking::Make(words))) => {
                format!("`{remote}` takes no refs below {REFS} ({words})")
            }
            Ok(Kept::Without(Lacking::List)) => {
                format!("`{remote}` takes refs below {REFS}, and does not list them")
            }
            Ok(Kept::Without(Lacking::Move(words))) => {
                format!("`{remote}` lets no ref below {REFS} be moved ({words})")
            }
            Err(fault) => {
                let why = terminal::chain(&fault);
                format!("no place in line can be kept at `{remote}` ({why})")
            }
        };
        line.go_without();
        self.wait_without_line(&why);
        self.leave_line(queue, None, false).await;
        Ok(())
    }

    fn wait_without_line(&mut self, why: &str) {
        let line = format_args!(
            "note: {why}: waiting without a line, so that whoever looks first is served first"
        );
        terminal::say(self.log, line);
    }

    /// Takes away the tickets of those who vanished.
    pub(super) async fn clear_line(&mut self, queue: &mut Option<Queue>) {
        let Some(line) = queue else { return };
        // What fails is tried again later on; nobody waits for it.
        let Ok(Some(Cleared { gone, .. })) = line.clear(&self.remote).await else {
            return;
        };
        for id in &gone {
            self.meter.forget(id);
        }
        let start = line.start();
        match gone.len() {
            0 => {}
            1 => terminal::say(
                self.log,
                format_args!(
                    "note: took away a ticket below {start}: its owner shows no sign of life"
                ),
            ),
            many => terminal::say(
                self.log,
                format_args!(
                    "note: took away {many} tickets below {start}: their owners show no sign of life"
                ),
            ),
        }
    }

    /// Takes our tickets out of the lines. Only an abort is in a hurry; it has more time when we are `alone` with that, and
    /// there is nothing else to give back.
    pub(super) async fn leave_lines(&mut self, course: &mut Course<'_>, is_alone: bool) {
        let branch = Some(&mut course.branch);
        self.leave_line(&mut course.queue, branch, is_alone).await;
    }

    async fn leave_line(
        &mut self,
        queue: &mut Option<Queue>,
        branch: Option<&mut BranchLine>,
        is_alone: bool,
    ) {
        let hurry = if is_alone { ALONE } else { LEAVE };
        let leaving = timeout(AT_LEISURE, async {
            if let Some(branch) = branch {
                leave_branch(&self.remote, branch).await;
            }
            match queue {
                Some(line) => line.leave(&mut self.remote).await,
                None => Ok(Gone::Away),
            }
        });
        let left: Result<Gone, String> = tokio::select! {
            left = leaving => match left {
                Ok(left) => left.map_err(|err: RemoteError| terminal::chain(&err)),
                Err(_) => Err(no_answer(AT_LEISURE)),
            },
            () = stopped_for(hurry, &self.stop) => Err(no_answer(hurry)),
        };
        let remote = self.remote.name();
        let line = match left {
            Ok(Gone::Away) => return,
            Ok(Gone::Left) => format!(
                "note: `{remote}` lets no ref below {REFS} be taken away: our place in line is marked as left"
            ),
            Ok(Gone::Stays(words)) => format!(
                "warning: our place in line is kept for a while, for nobody: `{remote}` lets no ref below {REFS} be taken away or moved ({words})"
            ),
            Err(why) => {
                format!("warning: our place in line may be kept for a while, for nobody: {why}")
            }
        };
        terminal::say(self.log, format_args!("{line}"));
    }
}

fn no_answer(within: Duration) -> String {
    format!("no answer within {}", humantime::format_duration(within))
}

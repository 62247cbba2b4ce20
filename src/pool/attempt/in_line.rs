//! Standing in line: what the line needs of the server is asked for, within our limits, and people are told.

use std::time::Duration;

use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::abort::{GRACE, LEAVE};
use super::at_branch::leave_branch;
use super::course::Course;
use super::lines::Lines;
use super::queue::{Cleared, Gone, Kept, Queue, REFS, Who};
use super::{Attempt, AttemptError};
use crate::line::ours::Lacking;
use git::RemoteError;
use pace::stopped_for;

/// How long it may take to leave the line when nobody has told us to stop.
const AT_LEISURE: Duration = Duration::from_secs(15);

/// How long it may take in an abort in which there is nothing to give back: with the rest of it, less than what there is.
const ALONE: Duration = Duration::from_millis(4500);

impl Attempt<'_> {
    /// Takes a place in each line in which we have none. Where tickets stay that cannot be taken away, ours would stay as well,
    /// so that none is taken.
    pub(super) async fn take_ticket(&mut self, lines: &mut Lines) -> Result<(), AttemptError> {
        let mut is_first = true;
        for line in lines.iter_mut() {
            if !line.has_ticket() {
                self.take_ticket_in(line, is_first).await?;
            }
            is_first = false;
        }
        Ok(())
    }

    async fn take_ticket_in(
        &mut self,
        line: &mut Queue,
        is_first: bool,
    ) -> Result<(), AttemptError> {
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
        if let Some(since) = line.takes_over().filter(|_| is_first) {
            let since = i64::try_from(since).ok().and_then(terminal::time::time);
            let since = since.map_or(String::new(), |since| format!(" since {since}"));
            let line = format_args!(
                "note: an earlier run of this step has stood in line{since}, and has gone: taking over its place"
            );
            terminal::say(self.log, line);
        }
        self.keep_ticket(line).await
    }

    /// Shows in each line in which it is time for that that we are there.
    pub(super) async fn keep_tickets(&mut self, lines: &mut Lines) -> Result<(), AttemptError> {
        let now = Instant::now();
        for line in lines.iter_mut() {
            if line.renewal_due().is_some_and(|due| due <= now) {
                self.keep_ticket(line).await?;
            }
        }
        Ok(())
    }

    /// Takes a place in the line, or shows that we are there. Where the server takes no tickets we go on without a line.
    async fn keep_ticket(&mut self, line: &mut Queue) -> Result<(), AttemptError> {
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
        let leaving = line.leave(&mut self.remote);
        let left = leaving_in_time(LEAVE, &self.stop, leaving).await;
        self.tell_of_leaving(left);
        Ok(())
    }

    fn wait_without_line(&mut self, why: &str) {
        let line = format_args!(
            "note: {why}: waiting without a line, so that whoever looks first is served first"
        );
        terminal::say(self.log, line);
    }

    /// Takes away the tickets of those who vanished.
    pub(super) async fn clear_lines(&mut self, lines: &mut Lines) {
        for line in lines.iter_mut() {
            self.clear_line(line).await;
        }
    }

    async fn clear_line(&mut self, line: &mut Queue) {
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
        let hurry = if is_alone { ALONE } else { LEAVE };
        let Course { lines, branch, .. } = course;
        let leaving = async {
            leave_branch(&self.remote, branch).await;
            let mut worst = Gone::Away;
            for line in lines.iter_mut() {
                match line.leave(&mut self.remote).await? {
                    Gone::Away => {}
                    gone => worst = gone,
                }
            }
            Ok(worst)
        };
        let left = leaving_in_time(hurry, &self.stop, leaving).await;
        self.tell_of_leaving(left);
    }

    fn tell_of_leaving(&mut self, left: Result<Gone, String>) {
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

/// What became of leaving a line, or why nobody knows.
async fn leaving_in_time(
    hurry: Duration,
    stop: &CancellationToken,
    leaving: impl Future<Output = Result<Gone, RemoteError>>,
) -> Result<Gone, String> {
    tokio::select! {
        left = timeout(AT_LEISURE, leaving) => match left {
            Ok(left) => left.map_err(|err| terminal::chain(&err)),
            Err(_) => Err(no_answer(AT_LEISURE)),
        },
        () = stopped_for(hurry, stop) => Err(no_answer(hurry)),
    }
}

fn no_answer(within: Duration) -> String {
    format!("no answer within {}", humantime::format_duration(within))
}

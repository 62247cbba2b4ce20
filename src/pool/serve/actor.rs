//! What is done when somebody presses a button: one thing after the other, on a thread of its own, since what it works with
//! cannot be handed to another one.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::reader::{Task, Tell};
use crate::lock::{ClaimId, LockName, PoolName};
use crate::message::Origin;
use crate::operation::{Operation, Right};
use crate::step::{Order, operate, unlock};
use terminal::chain;

/// How many may wait for their turn.
const MOST: usize = 16;

/// What somebody may be allowed to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Deed {
    /// To free a lock that somebody else holds.
    Unlock,
    /// To claim a free lock.
    Claim,
    /// To give back a lock that was claimed from here.
    Release,
}

impl Deed {
    /// All of them.
    pub const ALL: [Deed; 3] = [Deed::Unlock, Deed::Claim, Deed::Release];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Deed::Unlock => "unlock",
            Deed::Claim => "claim",
            Deed::Release => "release",
        }
    }

    /// What it is called when it has been done.
    pub fn done(self) -> &'static str {
        match self {
            Deed::Unlock => "unlocked",
            Deed::Claim => "claimed",
            Deed::Release => "released",
        }
    }

    /// The one that is called so.
    pub fn of(name: &str) -> Option<Deed> {
        Deed::ALL.into_iter().find(|deed| deed.name() == name)
    }
}

/// What is to be done.
#[derive(Debug, Clone)]
pub struct Act {
    /// What.
    pub deed: Deed,
    /// To a lock of this pool.
    pub pool: PoolName,
    /// To this one.
    pub lock: LockName,
    /// The claim that was seen to hold it.
    pub claim: Option<ClaimId>,
    /// Why.
    pub reason: String,
}

/// Who does it.
#[derive(Clone)]
pub struct Actor {
    acts: mpsc::Sender<(Act, oneshot::Sender<Result<(), String>>)>,
}

impl Actor {
    /// Gets ready, on a thread of its own, until `stop`. What is under way then is brought to its end.
    ///
    /// # Errors
    /// When there can be no thread.
    pub fn start(
        task: Task,
        origin: Origin,
        limit: Duration,
        stop: CancellationToken,
    ) -> std::io::Result<(Actor, std::thread::JoinHandle<()>)> {
        let (acts, mut asked) = mpsc::channel::<(Act, oneshot::Sender<_>)>(MOST);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let thread = std::thread::Builder::new()
            .name("actor".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    while let Some(Some((act, answer))) =
                        stop.run_until_cancelled(asked.recv()).await
                    {
                        // Whoever has gone meanwhile meant it all the same.
                        let done = carry_out(&task, &act, &origin, limit, &stop).await;
                        let _ = answer.send(done);
                    }
                });
                runtime.shutdown_background();
            })?;
        Ok((Actor { acts }, thread))
    }

    /// Has something done, and gives what is wrong in words.
    ///
    /// # Errors
    /// Words for people.
    pub async fn act(&self, act: Act) -> Result<(), String> {
        let (answer, done) = oneshot::channel();
        if self.acts.try_send((act, answer)).is_err() {
            return Err("too much is to be done just now; try again".to_owned());
        }
        done.await
            .unwrap_or_else(|_| Err("the server was ended before it was done".to_owned()))
    }
}

async fn carry_out(
    task: &Task,
    act: &Act,
    origin: &Origin,
    limit: Duration,
    stop: &CancellationToken,
) -> Result<(), String> {
    let mut source = task.source.clone();
    source.pool = act.pool.clone();
    let mut log = Log(task.tell.clone());
    // What takes longer is given up, and undone where it can be.
    let ends = stop.child_token();
    let timer = {
        let ends = ends.clone();
        tokio::spawn(async move {
            tokio::time::sleep(limit).await;
            ends.cancel();
        })
    };
    let (lock, around) = (&act.lock, &task.around);
    let done = match act.deed {
        Deed::Unlock => {
            let (meant, reason) = (act.claim, act.reason.as_str());
            unlock(
                &source, lock, meant, reason, origin, around, &ends, &mut log,
            )
            .await
            .map(drop)
            .map_err(|err| chain(&err))
        }
        Deed::Claim | Deed::Release => {
            let mut order = Order::at_once(operation(act), origin.clone());
            order.patience = Some(Duration::ZERO);
            if act.deed == Deed::Claim {
                order.reason = Some(act.reason.clone());
            }
            let done = operate(&source, order, around, ends, async |_| Ok(()), &mut log);
            done.await.map(drop).map_err(|err| chain(&err))
        }
    };
    timer.abort();
    done
}

fn operation(act: &Act) -> Operation {
    match act.deed {
        Deed::Claim => Operation::Claim(act.lock.clone()),
        Deed::Unlock | Deed::Release => Operation::Release {
            locks: vec![act.lock.clone()],
            right: Right::of(act.claim),
            reason: None,
        },
    }
}

/// What steps say, line by line.
struct Log(Tell);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        lines.for_each(|line| (self.0)(line));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

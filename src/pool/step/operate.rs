//! One operation on a pool, for whoever asks.

use std::io::{self, Write};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Ready, StepError, Surroundings};
use crate::attempt::{Attempt, GOES_ON, InLine, Markers, Meter, Outcome};
use crate::concourse::Source;
use crate::line::{self, OnDeadlock};
use crate::lock::ClaimId;
use crate::maker::Series;
use crate::message::Origin;
use crate::metadata::READABLE;
use crate::metrics::{Place, Reporter};
use crate::operation::Operation;
use git::object::blob_id;
use git::{Files, Remote, Store};
use pace::stopped_for;

/// What somebody wants done to a pool, and on what terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// What.
    pub operation: Operation,
    /// On whose behalf: what the commit says.
    pub origin: Origin,
    /// How long to wait for what cannot be had at once: zero for not at all, `None` for as long as it takes.
    pub patience: Option<Duration>,
    /// How urgent it is to be served before others who wait; higher goes first.
    pub priority: i32,
    /// The step that claims are made for (see [`crate::message::STEP`]), if it is to be known again by a later run.
    pub step: Option<String>,
    /// For how long the holder need not be heard of, where a claim is made or renewed; `None` for ever.
    pub lease: Option<Duration>,
    /// Why a lock is claimed, if it is said: it goes into the commit.
    pub reason: Option<String>,
    /// Whether a claim ends with a command: nobody keeps it but what runs in that.
    pub ends_with_command: bool,
    /// Whether it goes on for some seconds after it was told to stop, to come to its end all the same.
    pub goes_on: bool,
    /// The claims of the commands in which we run.
    pub within: Vec<ClaimId>,
    /// In which order those who wait are served, if it is not that of the source.
    pub in_order: Option<line::Order>,
    /// What to do in a circle of those who wait for each other.
    pub on_deadlock: OnDeadlock,
    /// Whether a lock that there is not is waited for a while, since somebody may be about to add it.
    pub awaits_missing: bool,
    /// The container that no other step has, if it is one: then a run after this one gives the same answer.
    pub container: Option<String>,
    /// What tells this run and its reruns in the same container from all others; `None` when no run takes up what a run
    /// that vanished has left.
    pub rerun: Option<String>,
}

impl Order {
    /// For what does not wait.
    pub fn at_once(operation: Operation, origin: Origin) -> Order {
        Order {
            operation,
            origin,
            patience: None,
            priority: 0,
            step: None,
            lease: None,
            reason: None,
            ends_with_command: false,
            goes_on: false,
            within: Vec::new(),
            in_order: None,
            on_deadlock: OnDeadlock::Tell,
            awaits_missing: false,
            container: None,
            rerun: None,
        }
    }
}

/// Carries out an order, and hands the outcome to `answer`.
///
/// When `stop` is cancelled, or the answer cannot be given, what was claimed is given back.
///
/// # Errors
/// [`StepError`].
pub async fn operate(
    source: &Source,
    order: Order,
    around: &Surroundings,
    stop: CancellationToken,
    answer: impl AsyncFnOnce(&Outcome) -> io::Result<()>,
    log: &mut dyn Write,
) -> Result<Outcome, StepError> {
    let mut ready = Ready::new(source, around, log)?;
    let Order {
        operation,
        origin,
        patience,
        priority,
        step,
        lease,
        reason,
        ends_with_command,
        goes_on,
        within,
        on_deadlock,
        in_order,
        awaits_missing,
        container,
        rerun,
    } = order;
    let in_order = in_order.unwrap_or(source.order);
    let newest = match in_order {
        line::Order::Newest => Series::of(&origin),
        line::Order::Arrival | line::Order::Any => None,
    };
    if in_order == line::Order::Newest && newest.is_none() && operation.can_wait() {
        let line = "note: `order: newest` is for the builds of a job, and this is none that is known as such: it waits in the order of its arrival";
        terminal::say(log, format_args!("{line}"));
    }
    let request = rerun.map(|rerun| {
        format!(
            "{rerun} {:?} {} {} {operation:?} {step:?}",
            ready.location, source.branch, source.pool
        )
    });
    // Only a step of a build has a run after it on another machine.
    let place_of = request.as_ref().filter(|_| container.is_some());
    let place_of = place_of.map(|request| format!("{request} {patience:?}"));
    let markers = request
        .filter(|_| operation.claims())
        .map(|request| Markers {
            folder: around.temporary.join("pool-resource/markers"),
            answered: container.map(|container| format!("{request} in {container}")),
            request,
        });
    let mut remote = ready.remote(&source.branch, Store::temporary(&around.temporary)?)?;
    remote.want_files(files_for(&operation));
    let place = Place {
        pool: source.pool.clone(),
        branch: source.branch.clone(),
    };
    let reporter = Reporter::new(ready.gateway.take(), place);
    let (hurry, stop) = match goes_on {
        true => (stop.child_token(), later(stop, GOES_ON)),
        false => (CancellationToken::new(), stop),
    };
    let only_own = source.release_only_own && operation.gives_back();
    let mut attempt = Attempt {
        patience,
        only_own,
        in_line: (in_order != line::Order::Any).then_some(InLine {
            newest,
            priority,
            renewal: source.ticket_renewal,
            step: place_of.map(|text| blob_id(text.as_bytes()).to_string()),
            within,
            on_deadlock,
        }),
        meter: Meter::new(reporter),
        step,
        lease,
        reason,
        ends_with_command,
        awaits_missing,
        markers,
        hurry,
        ..attempt(source, &ready, remote, origin, around, stop, log)
    };
    Ok(attempt.run(&operation, answer).await?)
}

/// Gives what is cancelled some time after `stop`.
fn later(stop: CancellationToken, time: Duration) -> CancellationToken {
    let later = CancellationToken::new();
    let cancels = later.clone();
    tokio::spawn(async move {
        stopped_for(time, &stop).await;
        cancels.cancel();
    });
    later
}

/// Locks are moved without their metadata; only who chooses by it has to read it.
fn files_for(operation: &Operation) -> Files {
    match operation {
        Operation::Acquire(want) if !want.conditions.is_empty() => Files::Small(READABLE),
        Operation::AcquireEach(parts)
            if parts.iter().any(|part| !part.want.conditions.is_empty()) =>
        {
            Files::Small(READABLE)
        }
        _ => Files::None,
    }
}

/// What it takes to carry out an operation that does not wait, claims nothing, and is not told to a Pushgateway.
pub(super) fn attempt<'a>(
    source: &Source,
    ready: &Ready,
    remote: Remote,
    origin: Origin,
    around: &Surroundings,
    stop: CancellationToken,
    log: &'a mut dyn Write,
) -> Attempt<'a> {
    let pool = source.pool.clone();
    let place = Place {
        pool: pool.clone(),
        branch: source.branch.clone(),
    };
    Attempt {
        remote,
        pool,
        origin,
        identity: ready.identity.clone(),
        pace: ready.pace,
        patience: None,
        in_line: None,
        only_own: false,
        meter: Meter::new(Reporter::new(None, place)),
        paint: around.paint,
        step: None,
        lease: None,
        reason: None,
        ends_with_command: false,
        awaits_missing: false,
        markers: None,
        stop,
        hurry: CancellationToken::new(),
        log,
        trouble: String::new(),
        told_clock: false,
    }
}

//! The life of a job: what has happened to it, and what is to be done next.
//!
//! A job has two sides that end apart from each other: the *machine* that was made for it, which has to go in the end, and
//! the *verdict*, which the coordinator has to know in the end. A step is written down before it is taken, and after it; what
//! is written is all that [`Job::next`] goes by, so that a dispatcher that was killed goes on as if it had not been.
//!
//! A machine is asked for once. If nobody knows what became of that, it is looked for by its name, and not asked for again.

mod event;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::resource::Resource;
pub use event::Event;

/// A job, among those of all runners.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    /// The runner that it was given to; see [`crate::config::Runner::id`].
    pub runner: String,
    /// Its number at the coordinator.
    pub job: u64,
}

/// A job, as far as it has come.
#[derive(Clone, PartialEq, Eq)]
pub struct Job {
    /// The job's own token.
    pub token: String,
    /// All that was said of it, as long as that is needed.
    pub payload: String,
    /// When it was given to us.
    pub granted: u64,
    /// How long it may run, in seconds.
    pub timeout: Option<u64>,
    /// What is there for it.
    pub machine: Machine,
    /// What becomes of it.
    pub verdict: Verdict,
}

/// What is there for a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Machine {
    /// Nothing yet.
    None,
    /// It was asked for, and nobody knows whether it is there.
    Creating(Place),
    /// It is there.
    Created(Place, Resource),
    /// It was told to start, and nobody knows whether it has.
    Launching(Place, Resource),
    /// It has started, at this moment.
    Launched(Place, Resource, u64),
    /// It is to go; without a resource, if there is one at all.
    Leaving(Place, Option<Resource>),
    /// Nothing any more.
    Gone,
}

/// By what a machine can be found of which no more is known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// Its name.
    pub name: String,
    /// Whose it is.
    pub namespace: Option<String>,
}

/// What becomes of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is to be run, or runs.
    Open,
    /// It has failed, and the coordinator does not know.
    Failed(String),
    /// The coordinator knows how it ended.
    Over,
}

/// What is to be done for a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Next {
    /// With its machine.
    pub work: Work,
    /// Whether its failure is to be reported.
    pub report: bool,
}

/// What is to be done with a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Ask for one.
    Create,
    /// Look whether it is there.
    Find,
    /// Start it.
    Launch,
    /// Look whether it has started, and start it if not.
    Relaunch,
    /// Watch the job.
    Watch,
    /// Take it away.
    Leave,
    /// Nothing.
    Nothing,
}

/// That cannot happen to a job that has come so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the step `{0}` does not follow what is known of the job")]
pub struct OutOfTurn(&'static str);

impl Job {
    /// A job that was given to us.
    ///
    /// # Errors
    /// [`OutOfTurn`] for any other event.
    pub fn begin(event: Event) -> Result<Job, OutOfTurn> {
        match event {
            Event::Granted {
                token,
                payload,
                at,
                timeout,
            } => Ok(Job {
                token,
                payload,
                granted: at,
                timeout,
                machine: Machine::None,
                verdict: Verdict::Open,
            }),
            other => Err(OutOfTurn(other.name())),
        }
    }

    /// Notes what has happened.
    ///
    /// # Errors
    /// [`OutOfTurn`]; the job is as it was then.
    pub fn apply(&mut self, event: Event) -> Result<(), OutOfTurn> {
        let out_of_turn = OutOfTurn(event.name());
        let is_open = self.verdict == Verdict::Open;
        match event {
            Event::Creating { name, namespace } if is_open && self.machine == Machine::None => {
                self.machine = Machine::Creating(Place { name, namespace });
            }
            Event::Created { resource } => {
                self.machine = match &self.machine {
                    Machine::Creating(place) if is_open => {
                        Machine::Created(place.clone(), resource)
                    }
                    // It was found so late that it is not wanted any more.
                    Machine::Leaving(place, None) => {
                        Machine::Leaving(place.clone(), Some(resource))
                    }
                    _ => return Err(out_of_turn),
                };
            }
            Event::Launching => {
                self.machine = match &self.machine {
                    Machine::Created(place, resource) if is_open => {
                        Machine::Launching(place.clone(), resource.clone())
                    }
                    _ => return Err(out_of_turn),
                };
            }
            Event::Launched { at } => {
                self.machine = match &self.machine {
                    Machine::Launching(place, resource) if is_open => {
                        Machine::Launched(place.clone(), resource.clone(), at)
                    }
                    _ => return Err(out_of_turn),
                };
                self.payload = String::new();
            }
            Event::Failed { reason } if is_open => {
                self.verdict = Verdict::Failed(reason);
                self.payload = String::new();
            }
            Event::Reported if matches!(self.verdict, Verdict::Failed(_)) => {
                self.verdict = Verdict::Over;
            }
            Event::Over if self.verdict != Verdict::Over => {
                self.verdict = Verdict::Over;
                self.payload = String::new();
            }
            Event::Leaving if !is_open => {
                self.machine = match &self.machine {
                    Machine::Creating(place) => Machine::Leaving(place.clone(), None),
                    Machine::Created(place, resource)
                    | Machine::Launching(place, resource)
                    | Machine::Launched(place, resource, _) => {
                        Machine::Leaving(place.clone(), Some(resource.clone()))
                    }
                    Machine::None | Machine::Leaving(..) | Machine::Gone => {
                        return Err(out_of_turn);
                    }
                };
            }
            Event::Gone if matches!(self.machine, Machine::Leaving(..)) => {
                self.machine = Machine::Gone;
            }
            _ => return Err(out_of_turn),
        }
        Ok(())
    }

    /// What is to be done next.
    pub fn next(&self) -> Next {
        let is_open = self.verdict == Verdict::Open;
        let work = match &self.machine {
            Machine::None if is_open => Work::Create,
            Machine::Creating(_) if is_open => Work::Find,
            Machine::Created(..) if is_open => Work::Launch,
            Machine::Launching(..) if is_open => Work::Relaunch,
            Machine::Launched(..) if is_open => Work::Watch,
            Machine::None | Machine::Gone => Work::Nothing,
            Machine::Creating(_)
            | Machine::Created(..)
            | Machine::Launching(..)
            | Machine::Launched(..)
            | Machine::Leaving(..) => Work::Leave,
        };
        Next {
            work,
            report: matches!(self.verdict, Verdict::Failed(_)),
        }
    }

    /// Whether there is nothing to be done any more.
    pub fn is_done(&self) -> bool {
        self.next()
            == Next {
                work: Work::Nothing,
                report: false,
            }
    }

    /// Whether an inner runner has its job now.
    pub fn is_launched(&self) -> bool {
        matches!(self.machine, Machine::Launched(..)) && self.verdict == Verdict::Open
    }

    /// When it is too old to be watched any longer; `None` while nothing runs for it.
    pub fn deadline(&self, default_timeout: u64, grace: u64) -> Option<u64> {
        match &self.machine {
            Machine::Launched(_, _, at) => {
                let timeout = self.timeout.unwrap_or(default_timeout);
                Some(at.saturating_add(timeout).saturating_add(grace))
            }
            _ => None,
        }
    }

    /// By what its machine can be found, if one was asked for and is not gone.
    pub fn place(&self) -> Option<&Place> {
        match &self.machine {
            Machine::None | Machine::Gone => None,
            Machine::Creating(place)
            | Machine::Created(place, _)
            | Machine::Launching(place, _)
            | Machine::Launched(place, _, _)
            | Machine::Leaving(place, _) => Some(place),
        }
    }

    /// The machine, if it is known.
    pub fn resource(&self) -> Option<&Resource> {
        match &self.machine {
            Machine::None | Machine::Creating(_) | Machine::Gone => None,
            Machine::Created(_, resource)
            | Machine::Launching(_, resource)
            | Machine::Launched(_, resource, _) => Some(resource),
            Machine::Leaving(_, resource) => resource.as_ref(),
        }
    }

    /// Events that make a job like this one, as short as can be.
    pub fn history(&self) -> Vec<Event> {
        let mut events = vec![Event::Granted {
            token: self.token.clone(),
            payload: self.payload.clone(),
            at: self.granted,
            timeout: self.timeout,
        }];
        if let Some(place) = self.place() {
            events.push(Event::Creating {
                name: place.name.clone(),
                namespace: place.namespace.clone(),
            });
        }
        if let Some(resource) = self.resource() {
            let resource = resource.clone();
            events.push(Event::Created { resource });
        }
        match &self.machine {
            Machine::Launching(..) => events.push(Event::Launching),
            Machine::Launched(_, _, at) => {
                events.extend([Event::Launching, Event::Launched { at: *at }]);
            }
            _ => {}
        }
        if self.machine == Machine::Gone {
            // Of a machine that is gone no more is known than that.
            let (name, namespace) = (String::new(), None);
            events.push(Event::Creating { name, namespace });
        }
        match &self.verdict {
            Verdict::Open => {}
            Verdict::Failed(reason) => {
                let reason = reason.clone();
                events.push(Event::Failed { reason });
            }
            Verdict::Over => events.push(Event::Over),
        }
        if matches!(self.machine, Machine::Leaving(..) | Machine::Gone) {
            events.push(Event::Leaving);
        }
        if self.machine == Machine::Gone {
            events.push(Event::Gone);
        }
        events
    }
}

/// Leaves out what the token and the payload say.
impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("machine", &self.machine)
            .field("verdict", &self.verdict)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

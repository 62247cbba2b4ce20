//! Where machines come from.
//!
//! - [`Provider`]: what any of them can do. [`ProviderError`]: why it did not.
//! - [`clever`]: apps of Clever Cloud. [`docker`]: the Docker on this machine. [`executable`]: a program of the user's.
//!
//! Every call has a limit of its own, and none takes longer than two minutes.

pub mod clever;
pub mod docker;
pub mod executable;
mod process;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use serde_json::Value;

use crate::context::Context;
use crate::resource::Resource;

/// Something that is being done.
pub type Doing<'a, T> = Pin<Box<dyn Future<Output = Result<T, ProviderError>> + 'a>>;

/// What a machine is to be like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Its name.
    pub name: String,
    /// The job's number.
    pub job: u64,
    /// The group that it is for, as the coordinator says it.
    pub namespace: Option<String>,
    /// How large the job's author wants it.
    pub flavor: Option<String>,
}

/// A machine that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its name.
    pub name: String,
    /// What it is.
    pub resource: Resource,
}

/// How far a launch has come.
pub enum Launch {
    /// The inner runner has the job, or is about to.
    Started,
    /// It has, and its end can be waited for: an error then is a failure of the launch.
    Attended(Doing<'static, ()>),
}

/// Makes machines, starts them, and takes them away.
pub trait Provider {
    /// The name of the machine for a job.
    fn name_of(&self, job: u64) -> String;

    /// Asks for what has to be known before a machine is made. It makes nothing.
    fn prepare<'a>(&'a self, _: &'a Order) -> Doing<'a, Value> {
        Box::pin(async { Ok(Value::Null) })
    }

    /// Makes a machine, by what was found out before. If nobody knows what became of that, it is not called again for the
    /// same job.
    fn create<'a>(&'a self, order: &'a Order, prepared: &'a Value) -> Doing<'a, Resource>;

    /// Looks for a machine by its name.
    fn find<'a>(&'a self, name: &'a str, namespace: Option<&'a str>)
    -> Doing<'a, Option<Resource>>;

    /// Starts a machine with what it is to run. With `again` it may have been started before, and must not be a second time.
    fn launch<'a>(
        &'a self,
        resource: &'a Resource,
        context: &'a Context,
        again: bool,
    ) -> Doing<'a, Launch>;

    /// Takes a machine away. That there is none is no error.
    fn delete<'a>(&'a self, resource: &'a Resource) -> Doing<'a, ()>;

    /// The machines of this dispatcher; those of these groups, where each has its own.
    fn list<'a>(&'a self, namespaces: &'a [String]) -> Doing<'a, Vec<Found>>;
}

/// What an error means for what was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It was not done, and trying again would not help.
    Refused,
    /// It was not done, and may be in a while.
    Passing,
    /// It was not done: there is no room for it.
    NoRoom,
    /// It may have been done or not.
    Unknown,
}

/// Why a provider did not do what it was asked. No message has a token in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("(action={action}, code={code}, transport code={transport}, details={details})")]
pub struct ProviderError {
    /// What was tried.
    pub action: &'static str,
    /// The provider's own code for it; `None` without one.
    pub code: Code,
    /// The status of HTTP, or the exit code of a program.
    pub transport: Code,
    /// What it says, on one line.
    pub details: String,
    /// What that means.
    pub kind: Kind,
    /// For how long it wants to be left alone.
    pub wait: Option<Duration>,
}

/// A code, or none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Code(pub Option<String>);

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.as_deref().unwrap_or("None"))
    }
}

impl ProviderError {
    /// An error without any code.
    pub fn new(action: &'static str, kind: Kind, details: impl Into<String>) -> ProviderError {
        ProviderError {
            action,
            code: Code::default(),
            transport: Code::default(),
            details: details.into(),
            kind,
            wait: None,
        }
    }

    /// Whether what changes nothing, or can be done twice, may be tried again.
    pub fn may_pass(&self) -> bool {
        match self.kind {
            Kind::Passing | Kind::Unknown => true,
            Kind::Refused | Kind::NoRoom => false,
        }
    }
}

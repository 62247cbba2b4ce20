//! A machine for each job of a GitLab runner: acquire a job, make a machine for it, give it the job, watch it, take it away.
//!
//! # Rooms
//!
//! - [`life`]: the life of a job as a state machine. [`payload`], [`image`], [`context`], [`naming`], [`resource`]: what a
//!   job is, and what a machine gets.
//! - [`ledger`]: what is known of all jobs, in memory and on the disk. [`state`]: the state file of an orderly end.
//! - [`provider`]: where machines come from.
//! - [`dispatcher`]: the loop; one task for each runner that acquires, one for each job.
//! - [`config`], [`register`]: the configuration file, read and added to. [`identity`]: who this dispatcher is.
//! - [`metrics`], [`serve`], [`log`], [`slots`]: what it tells, and what it shares out.
//!
//! # Invariants
//!
//! - A step is written down before it is taken, and after it ([`life`]); nothing that is not written down is acted upon.
//! - A machine is asked for once for each job, and started once. If nobody knows what became of that, it is looked for.
//! - No error of one job, runner, coordinator or provider touches another: each has tasks, pauses and limits of its own.
//! - Secrets go in headers and in files that nobody else can read; in no argument, URL, message or name.
//! - `life`, `payload`, `image`, `context`, `naming`, `resource`, `state` and `config` do no I/O and read no clock.
//!
//! # Decisions
//!
//! **All of it runs on one thread.** What is done is waiting, for at most some hundred jobs; so that the state needs no
//! locks, and no two tasks ever see it half changed.
//!
//! **A task for each job goes by [`life::Job::next`] alone.** After a start it is the same task with the same rules: there
//! is no other way of going on after a crash than that of any other step.
//!
//! **What may have been created is never created again.** It is looked for by its name, which is the job's alone; if it
//! cannot be found, the job fails, which its author can have retried, and the sweep takes what turns up late.

pub mod config;
pub mod context;
pub mod dispatcher;
pub mod identity;
pub mod image;
pub mod ledger;
pub mod life;
pub mod log;
pub mod metrics;
pub mod naming;
pub mod payload;
pub mod provider;
pub mod register;
pub mod resource;
pub mod serve;
pub mod slots;
pub mod state;

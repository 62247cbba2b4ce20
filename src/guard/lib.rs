//! One pipeline at a time: a job of a GitLab pipeline waits until its turn has come.
//!
//! # Bird's-eye view
//!
//! The *guarded job* is the job that waits. Each pipeline that matches (its ref and its status) has one, or several of the
//! same name. Pipelines stand in line in the order in which GitLab started their guarded jobs. One look goes like this:
//!
//! 1. [`look`] asks GitLab for the pipelines that match, and for their guarded jobs: a [`rule::Reading`];
//! 2. [`rule::in_the_way`] says which of them are before us, or inside (a pure function);
//! 3. [`turn::Turn`] says whether to enter, to look again to make sure, or to wait (pure too);
//! 4. [`wait::wait`] does so until it is our turn, or until the time is over.
//!
//! # Rooms
//!
//! ```text
//! wait                 the loop: look, decide, pause
//!   |
//! look                 readings from GitLab, and which way the token lets us read
//! turn                 whether one reading is enough to enter
//!   |
//! rule                 who is before us, who is inside
//! pattern              regular expressions as Python has them; which jobs are guarded
//! lock                 the name of the lock, where a lock decides instead
//! ```
//!
//! Below this crate: `gitlab` (the API), `pool` (locks), `pace`, `terminal`. Above it: the program `gitlab-job-guard`.
//!
//! # Invariants
//!
//! - `rule`, `turn`, `pattern` and `lock` do no I/O, and read no clock.
//! - GitLab is only read.
//! - Nobody enters on one reading, or on one that does not show our own job as started.
//! - What cannot be known keeps us waiting, unless waiting for it could go in a circle.
//!
//! # Decisions
//!
//! **Why the start of the guarded job.** To wait for everyone who runs is safe, and two who wait for each other never end. To
//! wait only for smaller ids ends, and lets two in: 11 enters while 10 is pending, and 10, which starts then, looks at
//! smaller ids alone. The start of the guarded job is an order that all see in the same way and that nobody joins in front
//! of somebody else.
//!
//! **Why a second reading.** The order is made by the clocks of GitLab's web nodes, and read from databases that lag behind.
//! A job that started just before ours may not be in an answer yet. [`turn::SETTLE`] after our own start it is, so that
//! only a reading from then on counts.

pub mod lock;
pub mod look;
pub mod pattern;
pub mod rule;
pub mod turn;
pub mod wait;

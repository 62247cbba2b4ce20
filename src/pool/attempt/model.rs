//! Every way in which a few steps can come about, one after the other: a search instead of a sample.
//!
//! Two or three workers ask for one or two locks, and release what they are told of. The search goes through every order
//! of what they do, and through every moment at which a push gets no answer or arrives late, a server says no, the side
//! that is read from is behind, a process is told to stop or killed and run again, or an operator frees a lock. There
//! are only so many such mishaps in one world ([`world::Mishaps`]), so that the search comes to an end.
//!
//! The product's own rules decide: [`crate::rules`], [`crate::line`], [`super::landing`] and [`super::back`]. What the
//! model has of its own is the branch, what a look at it shows, and the order in which the loop calls the rules
//! (`attempt.rs`, `land.rs`, `publish.rs`, `undo.rs`): change them, and change `rounds.rs`,
//! `flight.rs` and `ends.rs` as well.
//!
//! What must be true in every world:
//!
//! - No lock is told to two workers at once. An operator who frees a lock under somebody does so knowingly.
//! - What a worker is told of is what it asked for. It stood when the run began that tells it.
//! - No lock is left claimed by a step that has ended, or beside what it was told of; but for one that was killed and
//!   did not run again, and for one that says so.
//! - Every run ends: no way leads in a circle, and where nothing goes on, whoever waits does so for a lock of a step that
//!   was killed.
//!
//! What is left out: time, what a line's tickets become on the server, and a branch that is rewound. The side that is
//! read from never shows less than what a process knows (see `git`'s `remote/newest.rs`); only where the loop asks what
//! became of a commit, it may show anything. An answer that is written, the end of its process and the end of its marker
//! are one step here.

mod branch;
mod ends;
mod explore;
mod flight;
mod rounds;
mod steps;
mod tests;
mod world;

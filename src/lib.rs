//! A pool of locks that lives in a Git repository, for Concourse and everyone else.
//!
//! # Bird's-eye view
//!
//! A *lock repository* is a branch of a Git repository. A *pool* is a folder in it with `claimed/` and `unclaimed/`; a
//! *lock* is a file in one of the two, and its content is the lock's metadata, which no move changes. To claim a lock
//! is to commit its move to `claimed/` and to push that commit as a compare-and-swap: the branch goes from the commit
//! that was read to ours, or it does not move at all. The id of that commit is the *claim*, by which its holder proves
//! later that the lock is still his.
//!
//! One operation runs through one loop ([`attempt`]): read the branch's head (depth 1, into a bare repository in a
//! temporary folder), let the rules decide ([`pool::decide`], a pure function), publish the commit they ask for, find
//! out what became of it, and again, until it is done.
//!
//! # Code map
//!
//! ```text
//! cmd/{check,in,out}   wiring: arguments, environment, streams, exit codes
//! cmd/pool             the same for people: flags, settings, who we are, a command that runs while locks are held
//!   |
//! show                 what people read on a terminal: tables of a given width
//!   |
//! step                 one function for each step of Concourse, and for reaping; what is kept between checks
//!   |
//! attempt              the loop: read, decide, publish, wait, undo; pace: when to try again
//!   |
//! pool                 the rules: what a pool is at one commit, what an operation may do to it
//! line                 who waits, in which order, and whose turn it is
//! metadata             what a lock's metadata says, where it is JSON or YAML
//! reap                 the rules: which claims nobody will give back any more, and on what evidence
//! ledger               what the history says: which lock a commit moved, how a claim ended
//! past                 who held what, from when to when: all pools of a branch in one walk back
//! git                  a branch as a compare-and-swap register: snapshot, look, push, history; its transports
//! concourse            the resource protocol: requests, answers, the build's environment; a client for the API
//! metrics              what is measured, in which group, and how it is pushed (by the HTTP client of git's transports)
//! message              commit messages, both ways
//! maker                who made a claim, as its commit tells, and what a Concourse can say of such a build
//! marker               what a run leaves on disk for a run after it, in case it vanishes
//!   |
//! operation, lock, object   values: what is asked, names, what Git's trees are made of
//! ```
//!
//! # Invariants
//!
//! - `object`, `lock`, `operation`, `message`, `maker`, `line`, `metadata`, `pool`, `reap` and `show` do no I/O, and read no clock
//!   and no environment.
//! - `git` knows commits, paths and refs, not locks. Only `git::link::local` starts processes, and `pool run` its
//!   command.
//! - Only `concourse` knows the wire's JSON, and `cmd/pool/output` that of the command line: what can be serialized is a
//!   promise to someone outside. `metadata` reads what users write into their locks.
//! - Only `cmd` reads arguments and environment and sets exit codes; the rest gets values.
//! - stdout carries one JSON document, written last of all that a step does. People read stderr.
//! - A push is believed to have landed when the server says so, and to have failed only when the branch shows it.
//! - A metrics failure is a warning: it changes no exit code and delays no grant, for the lock is already ours.
//! - No error has a credential in it: a location is printed without them, and a [`concourse::Secret`] as `***`.
//!
//! # Decisions
//!
//! **The smart protocol is spoken here, and not by libgit2.** libgit2 keeps the objects, edits the trees and makes the
//! packs. Its transports were found wanting where it matters: its push to a local path is no compare-and-swap and lost
//! commits in races; it takes the commit that the server advertised on the push connection as the expected one, and
//! not the one we decided on; it has no time limits, and its callbacks cannot break a stalled connection; it can push
//! several refs, but not as one. Version 0 of the protocol, the part that is needed here, is a few hundred lines
//! ([`git`]): one request lists the refs, one fetches, and a push names the very commit it replaces. It is spoken by
//! every server, and answers the first request with the refs, for which version 2 needs another round trip.
//!
//! **Everything waits on one thread, in tokio.** A transport gives bytes both ways and a limit can be put around any of
//! it, so that no server can hold us longer than we want, and whatever is under way can be dropped.
//!
//! **A push begins while the head is fetched**: its connection, its credentials and the server's first words do not
//! depend on what is decided. That spares a round trip or two of six; over a slow network it is what is felt. A push
//! that then is not needed is ended politely.
//!
//! **SSH is `russh`'s business.** A whole acquire from 100,000 commits takes 81 ms on loopback, of which the server's login
//! is the most, where plain git needs 409 (`ci/bench`); with libssh2 a prototype needed 103 against 452. It is pure Rust,
//! so that neither OpenSSL nor libssh2 is built in, works on any stream, which is what makes tunnels cost nothing, and
//! takes keys from memory.
//!
//! **HTTP is `reqwest`'s business** (connections kept, TLS, proxies): a well-kept client that is asked for little.
//! Redirects are followed by us, because where credentials go is our business.
//!
//! **The history is fetched as deep as the question goes.** A walk that comes to the end of what is here says so, and is
//! asked again ten times deeper. Who asks only to show something, and is served by a server that can leave out folders, gets
//! all commits without them, taken out of the pack while it comes (`git::commits`), and those few folders that matter
//! (`step::far`). What a killed process left behind, or a damaged copy, shows as a hole in the history, never as its
//! beginning.
//!
//! **What nobody was told of is given back.** From the moment that a claim may be on the branch until its answer has been
//! written it is *pending*; whatever ends the step before that undoes it, by the same loop and under the same rules as
//! every release. The answer comes last, after the line has been left and the gateway told: Concourse does not look at
//! the answer of a step that it has told to stop, so that a signal that comes after it would leak what was claimed. A push that was dropped may still be on its way: as long as the branch has not moved, claim and end
//! are pushed together in one step, after which the dropped one expects a commit that the branch has left.
//! A process that is killed outright leaves a [`marker`], by which a later run of the same step takes its claim over, or
//! finishes the push that may be on its way.
//!
//! **A place in line is a ref, and only orders those who wait.** What is granted is decided by the branch alone, so that a
//! ticket that is lost, doubled, or wrongly taken for dead costs somebody his place for a moment, and never a lock. It is
//! listed with the branch in one round trip, and written without touching it: waiting leaves no commits and triggers no
//! checks. Branch and pool are both in its name, for two branches may have a pool of the same name. What orders it
//! (number, priority) is in the name too, so that a look needs to read nothing else; what it waits for is read once.
//!
//! **One after the other publishes.** A branch takes one push at a time. Who is served together with others lets those
//! before him push first, and sleeps for about as long as that takes; after a lost race one takes a place in line even
//! though locks are free. So thirty who come at once do not make thirty pushes for each lock.
//!
//! **A lease is renewed by a commit that changes no file.** On the branch, and not in a ref of its own: so a renewal and
//! the end of the claim as a stale one exclude each other by the same compare-and-swap as everything else, and whoever
//! comes second sees the first ([`operation::Right::Stale`]). It touches no pool, and so is no version and triggers no
//! check; tools that know nothing of it do not list it.
//!
//! **A claim that is taken over is made anew.** Another run of the same step may be alive, or its release on its way; both
//! find the claim ended that they know of. See `attempt::undo`.
//!
//! **A push that got no answer is pushed again as it is.** As long as the branch has not moved it is the same commit
//! with the same id that is sent once more; if the first one arrives late, it is this one.

pub mod attempt;
pub mod concourse;
pub mod git;
pub mod ledger;
pub mod line;
pub mod lock;
pub mod maker;
pub mod marker;
pub mod message;
pub mod metadata;
pub mod metrics;
pub mod object;
pub mod operation;
pub mod pace;
pub mod past;
pub mod pool;
pub mod reap;
pub mod report;
pub mod show;
pub mod step;

#[cfg(test)]
#[path = "../tests/it/support/fuzz.rs"]
mod fuzz;

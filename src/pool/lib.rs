//! A pool of locks that lives in a Git repository, for Concourse and everyone else.
//!
//! # Bird's-eye view
//!
//! A *lock repository* is a branch of a Git repository. A *pool* is a folder in it with `claimed/` and `unclaimed/`. A
//! *lock* is a file in one of the two; its content is the lock's metadata, which no move changes. A claim is a commit
//! that moves the lock to `claimed/`. It is pushed as a compare-and-swap: the branch goes from the commit that was read
//! to ours, or it does not move at all. The id of that commit is the *claim*. With it the holder proves later that the
//! lock is still his.
//!
//! One operation runs through one loop ([`attempt`]):
//!
//! 1. read the branch's head (depth 1, into a bare repository in a temporary folder),
//! 2. let the rules decide ([`rules::decide`], a pure function),
//! 3. publish the commit that they ask for,
//! 4. find out what became of it; and again, until it is done.
//!
//! # Rooms
//!
//! Each uses only those below it (`tests/house` checks that).
//!
//! ```text
//! serve                the pools over HTTP, for any number of people (with the feature `serve`)
//!   |
//! show                 what people read on a terminal
//! view                 what those see who go on looking: the pools with what is usual, and figures; pure
//!   |
//! step                 one function for each step of Concourse and each command; what is kept between checks
//!   |
//! evidence             who can say whether the maker of a claim is alive: Concourse, GitLab
//!   |
//! attempt              the loop: read, decide, publish, wait, undo
//! concourse            the resource protocol: requests, answers, the build's environment; a client for the API
//!   |
//! circles              who waits for whom, where nobody can go on
//! queueing             how long one waits: what the history tells of it, and what it would be with other locks
//!   |
//! line                 who waits, in which order, and whose turn it is
//!   |
//! rules                what a pool is at one commit, and what an operation may do to it
//! reap                 which claims are stale, and on what evidence
//! matching             which locks somebody wants, as `match` says it
//!   |
//! ledger               what the history says: which lock a commit moved, how a claim ended
//! past                 who held what, from when to when: all pools of a branch in one walk back, and on from there
//! maker                who made a claim, as its commit tells; what a CI system can say of such a build; whether it is us
//! marker               what a run leaves on disk for a run after it, in case it is killed
//! metadata             what a lock's metadata says, where it is JSON or YAML
//! metrics              what is measured, in which group, and how it is pushed
//!   |
//! number               numbers of claims, which only grow
//!   |
//! operation, message   values: what is asked; commit messages, both ways
//!   |
//! lock                 values: names of locks and pools, claims
//! private              a folder that nobody else can look into
//! ```
//!
//! Below this crate: `git` (a branch as a compare-and-swap register), `gitlab` (GitLab's API), `net` (HTTP, TLS, proxies, secrets), `terminal`
//! (what people read), `pace` (pauses and limits). Above it: the programs in `cmd`.
//!
//! # Invariants
//!
//! - `lock`, `operation`, `message`, `number`, `maker`, `line`, `circles`, `metadata`, `matching`, `past`, `rules`, `reap`,
//!   `queueing`, `show` and `view` do no I/O, and read no clock and no environment.
//! - Only `serve` speaks HTTP to those who ask us. The image of the resource is built without it, and without axum.
//! - Only `concourse` knows the wire's JSON, and `cmd/pool/output` that of the command line: what can be serialized is a
//!   promise to someone outside. `metadata` reads what users write into their locks, and `line::offer` what other runs of ours
//!   have written.
//! - stdout carries one JSON document, written last of all that a step does. People read stderr.
//! - A push counts as landed when the server says so, and as failed only when the branch shows it.
//! - A metrics failure is a warning: it changes no exit code and delays no grant, since the lock is already ours.
//! - No error has a credential in it: a location is printed without them, and a [`net::Secret`] as `***`.
//!
//! # Decisions
//!
//! **A push begins while the head is fetched**: its connection, its credentials and the server's first words do not
//! depend on what is decided. That spares one or two of six round trips. It begins once the server has listed the
//! repository's refs, for there are servers that make a repository of whatever is pushed to. A push that then is not
//! needed is ended politely.
//!
//! **The history is fetched as deep as the question goes.** A walk that comes to the end of what is here says so, and is
//! asked again ten times deeper. A question that only shows something gets all commits without their folders where the
//! server can leave folders out, and then the few folders that matter (`step::far`); one about a single pool reads them as
//! they come, and stops when it has its answer. What a killed process left behind,
//! or a damaged copy, shows as a hole in the history, never as its beginning.
//!
//! **What nobody was told of is given back.** From the moment that a claim may be on the branch until its answer has been
//! written, it is *pending*. Whatever ends the step before that undoes the claim, by the same loop and under the same
//! rules as every release. The answer comes last, after the line has been left and the gateway told: Concourse does not
//! look at the answer of a step that it has told to stop, so that a signal after the answer would leak the claim. A push
//! that was dropped may still be on its way: as long as the branch has not moved, claim and end are pushed together in
//! one step. After that the dropped push expects a commit that the branch has left. A process that is killed leaves a
//! [`marker`]: a later run of the same step takes its claim over, or finishes the push that may be on its way.
//!
//! **A place in line is a ref, and only orders those who wait.** The branch alone decides what is granted, so that a
//! ticket that is lost, doubled, or wrongly taken for dead costs a place for a moment, and never a lock. Tickets are
//! listed with the branch in one round trip, and written without touching it: waiting adds no commits to the branch and
//! triggers no checks. Branch and pool are both in a ticket's name, since two branches may have a pool of the same name.
//! What orders tickets (number, priority) is in the name too, so that a look needs to read nothing else; what a ticket
//! waits for is read once.
//!
//! **A ticket is a commit without files, and a sign of life is a commit on top of it.** Many servers allow only
//! fast-forwards, and some take no refs to anything but commits. Where refs cannot be deleted, a ticket is moved to a
//! commit that says that it is left. That commit depends only on the one before, so that those who know the ticket know
//! it again without a fetch. The words with which a server says no are never believed: a look follows, and only what
//! stays unchanged after two refusals is taken to be forbidden ([`line::ours`]).
//!
//! **A free lock is not left to those who do not take it.** Whether the owner of a ticket is alive cannot be known soon:
//! signs of life are pushes, and a server should get few. But whoever is there takes a lock that is for him, within a look
//! and a push. So those behind wait just as long, and then take it ([`line::courtesy`]). This keeps the promise that a
//! ghost costs one look, and makes it possible that long lines renew their tickets seldom ([`line::load`]).
//!
//! **One pushes for all who wait for the branch.** A branch takes one push at a time. A waiter that is served together with others
//! lets those before it push first, and sleeps for about as long as that takes. Who has lost a race stands in a line at the branch
//! ([`line::branch`]), whatever he changes and in whichever pool: so thirty who come at once do not make thirty pushes for each
//! lock, and no pool starves another on its branch. Who claims one lock *offers* that with his ticket ([`line::offer`]), and
//! whoever is the first makes a commit of each offer on top of his own, in one push that takes their tickets away. He waits for a
//! moment as long as more are coming. What makes that safe is that an offer is bound, like every push, to the commit that it was
//! made on: only who pushes onto that very commit may carry it out. Once the branch has left it, the history tells for good what
//! has become of the offer, by its request; so it may get lost, or come late or twice, or be seen by those to whom a view that is
//! behind shows it, and is carried out once or never. An abort makes certain of it as of a push without an answer: as long as the
//! branch has not moved, claim and end are pushed together. An offer that outlives the commit it was made on would need fewer of
//! them, and was tried; but a copy of it that comes late could claim a lock for somebody who had long gone. What is wrong with an
//! offer costs nobody else anything: where the server declines a push with offers in it, it is made once more without them.
//!
//! **Locks of several pools are claimed in one commit.** A branch is one transaction, so that a claim of several pools is no more
//! than one of several locks: a lock of another pool has its full name ([`lock::LockName`]), the pools are read beside each
//! other ([`rules::Pool::beside`]), and all that gives back, takes over or tells of a claim is the same. The commit names
//! all of its locks, so that each pool's history leads to the others; what it says is believed only of locks that this very
//! commit has moved. Its waiter stands in all lines ([`mod@line`]). Locking the pools one after the other would need an order that
//! all users keep, and somebody to undo the first part.
//!
//! **Who waits for whom is read from what a look lists anyway.** A server lists the tickets of all lines with every look, and
//! the claims are in the history that a waiter has. Only who keeps a claim can be in a circle, so that only he reads more
//! ([`circles`], `attempt::lookout`). Nobody is asked, and nobody decides for others: all see the same circle, and so the same
//! youngest, who leaves by himself.
//!
//! **A lease is renewed by a commit that changes no file.** It is on the branch, and not in a ref of its own: so a renewal
//! and the end of the claim as a stale one exclude each other by the same compare-and-swap as everything else, and the
//! one that comes second sees the first ([`operation::Right::Stale`]). It touches no pool: it is no version, and triggers
//! no check. Tools that know nothing of leases do not list it.
//!
//! **What a build holds is known by its id.** A claim has the id of its build and a link to its Concourse in it
//! ([`maker::Me`]). So a step of the same build frees all of it without any folder ([`operation::Operation::ReleaseOwn`]),
//! and who waits for a lock of his own is told. Where nothing is found, the side that takes pushes is asked whether the view
//! was a current one, for nobody shows the claim that might be missing.
//!
//! **A claim that is taken over is made anew.** Another run of the same step may be alive, or its release on its way; both
//! then find that the claim that they know has ended. See `attempt::adopt`.
//!
//! **What became of a push is asked in one place** (`attempt::landing` has the rules, `attempt::land` carries them out), and
//! after everything but a clear yes it is asked of the side of the server that takes pushes. The side that is read from
//! may be a replica: what it shows is behind if it lacks what we know, and is looked for again (`git::Remote`).
//!
//! **The number of a claim needs no history.** It is one more than that of the head, and the head is what a claim is made on
//! ([`number`]). A counter in a file of the branch would also outlast commits of tools that know nothing of it, but would put a
//! file into everybody's repository and change it with each claim. So behind such a commit the clock has to do: the server's
//! where it tells the time, as then it is one for all.
//!
//! **Whoever goes on looking reads the past once.** It is worked out of the commits alone where the server can leave folders
//! out (as above, for all pools at once), and gone on with from look to look. Everything is counted; what is kept in full has a
//! bound (`past::chronicle`). So figures are exact and the same after every restart, and nothing is stored for them.
//!
//! **One budget.** `timeout`, `try` and an abort cancel the same token, which ends every pause and every conversation.
//!
//! **A push that got no answer is pushed again as it is.** As long as the branch has not moved, the same commit with the
//! same id is sent once more; if the first one arrives late, it is this one.

pub mod attempt;
pub mod circles;
pub mod concourse;
pub mod evidence;
pub mod ledger;
pub mod line;
pub mod lock;
pub mod maker;
pub mod marker;
pub mod matching;
pub mod message;
pub mod metadata;
pub mod metrics;
pub mod number;
pub mod operation;
pub mod past;
pub mod private;
pub mod queueing;
pub mod reap;
pub mod rules;
#[cfg(feature = "serve")]
pub mod serve;
pub mod show;
pub mod step;
pub mod view;

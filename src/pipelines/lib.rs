//! Pipelines of tasks, their wait lists, and their HTTP API.
//!
//! # Bird's-eye view
//!
//! A *pipeline* is a definition; a *task* is a node of its graph; a *job* is one run of it. A request goes like this:
//!
//! 1. [`api`] reads it, and asks the [`engine`];
//! 2. the engine asks the rules ([`rules::State::admit`]): a job, and whom it replaces, or why not;
//! 3. the change goes to the [`journal`], is shown to readers ([`view`]), and only then answered;
//! 4. the rules start the job when there is room: *effects*, such as "run this task", which the engine performs;
//! 5. [`work`] runs the task: [`template`]s, environment, logs, and bash as [`script`] drives it, below a supervisor
//!    (`child`) that knows all of its descendants;
//! 6. its end is an *event* for the rules, and so on at 3.
//!
//! # Rooms
//!
//! ```text
//! api  pages           HTTP: tokens, requests, answers, streams; the same for people, as HTML
//!   |
//! engine               the one loop: events to the rules, changes to the disk, effects to the world
//!   |
//! journal  work  locks  webhook  metrics  view
//!   |        |
//!   |      script  logs
//! rules                what happens becomes changes and effects: admission, wait lists, graphs, retries, retention
//!   |
//! job                  what is known of a run
//! definition           pipelines.yml, checked
//! template  value      Go's templates; JSON with numbers as they are written
//! token  environment  log
//! ```
//!
//! Below this crate: `page` (parts of pages, connections), `child` (processes), `net` (webhooks), `pace`, `terminal`. Above it: the program
//! `prunner`.
//!
//! # Invariants
//!
//! - `rules`, `job`, `template`, `value`, `script` and `token` do no I/O, and read no clock.
//! - Nobody hears of what is not on disk: no answer, no list, no event, no start of a task.
//! - Only `engine` changes the state, in one place; there is no lock that a request waits for.
//! - A file's name comes from a definition that was checked, or from an id that is one.
//! - A value that is secret is in no file, no answer and no log.
//! - The API takes no cookie of the pages, and the pages take none of the API: a form of another site cannot reach either.
//!
//! # Decisions
//!
//! **A journal, no database.** A change is a line; a crash can only cut the last one off. What comes together is written
//! together, so that a hundred clients cost one `fsync`.
//!
//! **A process between us and bash.** A process group loses whoever calls `setsid`, and a kill of the server would leave
//! all of them. The supervisor adopts every orphan of its task and hears of our end. To start one costs more than bash does,
//! so that one whose task has left nobody behind takes the next task.
//!
//! **Locks are somebody else's.** A job, or a task, asks for them when it has all else that it needs, and they are given back
//! before it ends: [`locks::Locks`] does both, on a thread of its own, and the program brings it along (`pool`'s line, in
//! `cmd/prunner`). What a job holds, or may hold, is in the journal before it is asked for; after a crash it is given back.
//!
//! **A log is read once for all its viewers.** One task makes what is new into an event, which all of them are sent. What comes
//! faster than people read is a link: a page with a hundred thousand lines helps nobody.
//!
//! **bash, once for all entries.** Entries see what earlier ones have declared, as with the original's built-in shell. Each
//! is evaluated on its own, so that nothing in it reaches beyond it.

pub mod api;
pub mod definition;
pub mod engine;
pub mod environment;
pub mod job;
pub mod journal;
pub mod locks;
pub mod log;
pub mod logs;
pub mod metrics;
mod pages;
pub mod rules;
pub mod script;
pub mod template;
pub mod token;
pub mod value;
pub mod view;
pub mod webhook;
pub mod work;

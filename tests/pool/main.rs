//! Tests against real repositories, real servers and the real programs.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

/// Signals and closed pipes: nothing that was claimed is left behind.
mod aborts;
/// What Concourse says of the build that made a claim.
mod atc;
/// Requests that ask for something that is none, or that would harm.
mod bad_input;
/// The pipelines of the pages, played as Concourse would.
mod branch_line;
mod builds;
/// Everything at once, with faults and kills, and a checker that reads the history afterwards.
mod chaos;
/// The check step and what it keeps between two runs.
mod check;
/// The past of a branch, as those have it who go on looking.
mod chronicle;
/// Those who wait for each other.
mod circles;
/// The command line: each command, its settings, its answers and exit codes.
mod command_line;
mod concourse;
/// What the dashboard and the alerts say, by a real Prometheus.
mod dashboard;
/// `pool doctor`: what is wrong is found, and nothing is left behind.
mod doctor;
/// `match` with lists, `any_of` and `none_of`.
mod expressions;
/// Each operation, killed, cut off or aborted at each step of its transaction, and what the pool and the next run then are.
mod fault_points;
/// Servers that are silent, slow, broken or away.
mod faults;
/// The figures of `pool serve`, by a real Prometheus.
#[cfg(feature = "serve")]
mod figures;
/// Generated requests, names, messages and servers.
mod fuzz;
/// The get step.
mod get;
/// What GitLab says of the job that made a claim.
mod gitlab;
/// Claims that are offered at the branch.
mod going_along;
/// Long histories: no more of them is fetched than a question needs.
mod history;
/// Which SSH servers are trusted.
mod host_keys;
/// Repositories as no tool of ours makes them.
mod hostile;
/// HTTPS: certificates, credentials and redirects, and the settings of Git for a web server.
mod https;
/// Leases of claims, their renewal, and the end of a claim by somebody else.
mod leases;
/// The claims that stand, as the history tells of them.
mod ledger;
/// Files that nobody reads are not fetched, and those that are read are there.
mod left_out;
/// The line of those who wait.
mod line;
/// `pool log`: who held what, from when to when, and how it ended.
mod log;
/// Pools with very many locks.
mod many_locks;
/// What commits say of the build that made them.
mod messages;
/// What the steps tell a Pushgateway.
mod metered;
/// What gets to a Pushgateway, and what an unwilling one can do to us: nothing.
mod metrics;
/// Names, contents and kinds of files that trip tools up.
mod names;
/// The newest first: earlier builds of the same job leave the line.
mod newest;
/// Numbers of claims, and `pool verify`.
mod numbers;
/// Servers that do some things in another way than most, as they may.
mod oddities;
/// Looking back: what was, and what would have been.
mod past;
/// `timeout` and `try`: waits that end by themselves.
mod patience;
/// The pipelines in ci/: only keys that Concourse knows.
mod pipelines;
/// Repositories on a path of this machine, with Git's own programs and without.
mod plain;
/// HTTP proxies, for SSH and HTTP.
mod proxies;
/// What each operation of a put does to the repository, and what it answers.
mod put;
/// Several at once.
mod races;
/// Claims that nobody will give back any more.
mod reap;
/// The recipes of the pages: for shells, other CI systems and Concourse.
mod recipes;
/// Steps that are run again after their process vanished.
mod reruns;
/// `pool run`: commands that run while locks are held.
mod run;
/// Where a password must not be: a log, an answer, a commit, the disk.
mod secrets;
/// Generated sequences of operations, read back with plain git.
mod sequences;
/// `pool serve`: pages and figures, whatever the Git server does.
#[cfg(feature = "serve")]
mod serve;
/// Where the locks are: flags, environment and files, and what is set wrongly.
mod settings;
/// Locks by their metadata, and several at once.
mod several;
/// Locks of several pools in one claim.
mod several_pools;
/// Commits that are signed.
mod signed;
/// Shared and exclusive: readers take one of a pool's slots, a writer all.
mod slots;
/// SSH: uris, keys and the agent.
mod ssh;
/// Servers whose reading side is behind their pushing side.
mod stale;
/// `pool status`: who holds what, and who waits for what.
mod status;
/// People at their terminals, in tmux.
mod terminals;
/// Paths, `file://`, `git://` and `http://`: what works by each, its credentials and hooks, and what ends at once.
mod transports;

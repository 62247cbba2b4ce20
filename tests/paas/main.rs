//! The programs `heptapod-paas-runner` and `heptapod-paas-runner-register` against a simulated GitLab, a simulated Clever
//! Cloud with real Git repositories, and a fake Docker.
//!
//! The names R1 to R9, G1 to G5, A1 to A9, C1 to C11, M1 to M5, P1 to P4, T1 to T8, S1 to S11, L1 to L3, E1 and E2 in the tests
//! are the rows of the list of what the programs keep of 0.5.0, and of what they do better.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

/// How jobs are acquired.
mod acquire;
/// Many jobs, faults by chance, and kills: each job ends once, and no app stays.
mod chaos;
/// What is said of the configuration, and how each setting counts.
mod config;
/// A program of the user's that makes machines.
mod custom;
/// The whole way, from grant to gone.
mod end_to_end;
/// Kills and signals at each step.
mod kills;
/// How a job gets a machine: calls, push, failures.
mod launch;
/// The Docker of this machine.
mod local;
/// The dispatcher as a service runs it.
mod machine;
/// Registering.
mod register;
/// Signals, the state file, the next start.
mod state;
/// Jobs that run are watched, and what they leave is taken away.
mod tracking;

//! What the pools of a branch look like to those who go on watching them: what stands now, how long holds and waits usually take,
//! what was before, and figures of all that. Pure: it is put together from what was read, and reads no clock.
//!
//! - [`Board`]: everything about a branch at one moment, made once for all who look.
//! - [`expect`]: for how long those in line may have to wait.
//! - [`times`]: what was usual, and how much of a time locks were held.
//! - [`figures`]: what Prometheus reads.

pub mod board;
pub mod expect;
pub mod figures;
pub mod times;

pub use board::{Board, LockBoard, Place, PoolBoard, Sight, Trouble};

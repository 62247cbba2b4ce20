//! What people read of a pool on a terminal.
//!
//! Pure: the time, the width and whether there are colours are given ([`terminal::table::Style`]).

pub mod doctor;
pub mod figures;
pub mod log;
pub mod status;

//! What the benchmark programs share.
//!
//! Two programs are built from it: `matou-bench` (the echo servers, the load, and the comparison that runs them against
//! each other) and `micro` (operations of the executor alone).

pub mod args;
pub mod compare;
pub mod counting;
pub mod histogram;
pub mod kernel;
pub mod load;
pub mod micro;
pub mod process;
pub mod serve;
pub mod statistics;
mod table;

/// What the programs end with when they fail: a message for a person.
pub type Failure = Box<dyn std::error::Error>;

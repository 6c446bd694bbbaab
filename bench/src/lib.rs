//! What the benchmark programs share: `matou-bench` itself, and the programs of the peers in `peers/`.

pub mod args;
pub mod commands;
pub mod counting;
pub mod goals;
pub mod histogram;
pub mod kernel;
pub mod load;
pub mod micro;
pub mod peer;
pub mod process;
pub mod report;
pub mod serve;
pub mod servers;
pub mod statistics;

/// What the programs end with when they fail: a message for a person.
pub type Failure = Box<dyn std::error::Error>;

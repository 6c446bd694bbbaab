//! The rules once more, simulated: the tests of these files, on one thread, with many orders of the domains' steps.
//!
//! And those of `simulated/`, which are about the orders themselves.
//!
//! A test that needs a domain to be in the middle of a poll while another steps leaves itself out. What the order of two domains decides is
//! asserted there for every order; that a simulation reaches each is shown in `tests/simulation.rs`.

#![cfg(feature = "simulation")]
#![allow(clippy::duplicate_mod)] // Each file brings its support.

#[path = "await_many.rs"]
mod await_many;
#[path = "simulated/between_domains.rs"]
mod between_domains;
#[path = "cancellation.rs"]
mod cancellation;
#[path = "domains.rs"]
mod domains;
#[path = "inert.rs"]
mod inert;
#[path = "orphans.rs"]
mod orphans;
#[path = "ownership.rs"]
mod ownership;
#[path = "parents.rs"]
mod parents;
#[path = "pool.rs"]
mod pool;
#[path = "reentrancy.rs"]
mod reentrancy;
#[path = "scope.rs"]
mod scope;
#[path = "tasks.rs"]
mod tasks;

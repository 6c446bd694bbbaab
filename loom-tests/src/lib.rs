//! Models of matou's lock-free parts, explored with [loom](https://docs.rs/loom), and of whole runs, tried by chance with
//! [shuttle](https://docs.rs/shuttle).
//!
//! A model is a small program of two or three threads that runs the code that ships (`matou_core::model` lends out the mailbox and the
//! state word; `sync` is used as it is) in every order in which the threads' steps can fall, and with every value that a relaxed load may give. loom also watches
//! what is handed from thread to thread: links of nodes, what a sender wrote before it pushed, memory that is freed at the end. It fails where
//! two accesses are not ordered, so an ordering weakened by a word is found, whatever the machine.
//!
//! | file | what is modelled |
//! | --- | --- |
//! | `inbox` | pushes and takes: nothing lost, nothing doubled, each sender's order, what was written before is seen after |
//! | `doorbell` | sleep against push and ring: no wake-up lost, one interrupt a sleep; `close` against those who ring |
//! | `state` | a task's state word: wakes, cancellations and ends that meet; the node in one inbox at a time |
//! | `sync` | locks, conditions, semaphores, notifications, triggers, computations, lazies, channels: hand-over, and who goes away meanwhile |
//! | `memory` | what the last holder frees: a task's memory, the place of a pool; a run that is looked into as it ends |
//! | `blocking` | blocking work, between the future that awaits it and the thread that does it: the file that `platform-unix` ships |
//! | `whole` | runs of three domains, as they ship, under shuttle: calls, cancellations, wakes, violations, ends |
//! | `world` | a domain and a task as the models see them: the steps of `domain::drive` and `domain::family` that others can notice |
//! | `explore` | runs a model, and fails if it did not meet every outcome it claims to cover |
//!
//! Each model names what it has to have met, and each catches at least one seeded fault: `faults.sh` runs them with one fault after the other
//! and compares those that fail with those that should. It is also how they are run; `README.md` has the table of all of them:
//!
//! ```text
//! ./loom-tests/faults.sh                                                       # all of it
//! RUSTFLAGS='--cfg loom' cargo test -p loom-tests -- --nocapture               # loom's models, with what they met
//! RUSTFLAGS='--cfg shuttle' cargo test -p loom-tests -- --nocapture            # shuttle's
//! LOOM_MAX_PREEMPTIONS=4 RUSTFLAGS='--cfg loom' cargo test -p loom-tests NAME   # one that is bounded, deeper
//! SHUTTLE_ORDERS=100000 RUSTFLAGS='--cfg shuttle' cargo test -p loom-tests NAME # more orders
//! ```
//!
//! Without `--cfg loom` or `--cfg shuttle` this crate is empty, and so is its test run.
//!
//! # What the models do not show
//!
//! - Models of three threads with a bell have too many orders: those that say `explore_bounded` try all with at most that many preemptions.
//! - loom's weak compare-and-swap does not fail for no reason. Each is in a loop that looks only at what it read.
//! - shuttle's atomics are sequentially consistent, and it tries some orders only: what hangs on an ordering is loom's to find.
//! - loom keeps the last seven writes of an atomic, which no model exceeds within one race.
//! - What is left to the domains' threads alone (lists, queues, the tree) is not here, but in the core's own tests and the fuzzer.

#[cfg(all(test, loom))]
mod blocking;
/// As the file of this name in `platform-unix`.
#[cfg(all(test, loom))]
mod checked {
    pub(crate) use loom::sync::Mutex;
    pub(crate) use matou_core::model::fault;
}
#[cfg(all(test, loom))]
mod doorbell;
#[cfg(all(test, any(loom, shuttle)))]
mod explore;
#[cfg(all(test, loom))]
mod inbox;
#[cfg(all(test, loom))]
mod memory;
#[cfg(all(test, loom))]
mod state;
#[cfg(all(test, loom))]
mod sync;
#[cfg(all(test, shuttle))]
mod whole;
#[cfg(all(test, loom))]
mod world;

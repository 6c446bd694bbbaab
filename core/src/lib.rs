//! matou-core: a structured-concurrency executor without `std`.
//!
//! Tasks form a tree. A task that forgets a child, or a resource, has broken a rule, and the run is stopped with a message that names the
//! source line that made it. Every task ends only after its whole subtree.
//!
//! ```
//! # #[cfg(feature = "std")] {
//! use matou_core::{run, spawn, platform::Bare, Config, Exit};
//!
//! let sum = run(&Bare, Config::new(), async {
//!     let left = spawn(async { 20_u32 });
//!     let right = spawn(async { 22_u32 });
//!     Ok::<_, Exit>(left.await? + right.await?)
//! });
//! assert_eq!(sum.ok(), Some(42));
//! # }
//! ```
//!
//! The core knows no operating system: a [`Platform`](platform::Platform) plugs it into one. On Unix use the crate `matou-unix`, which
//! re-exports this one whole.
//!
//! # Features
//!
//! - none: no allocator. Tasks come from a [`TaskPool`]; promises, suspension points, events and timers work.
//! - `alloc`: `spawn`, `call`, `parallel`, `Orphans`, `Resource`, `scope` and `timeout` on the heap, and runs with worker domains.
//! - `std` (implies `alloc`): a panic is its task's outcome, and the current domain is kept in a thread-local.
//! - `critical-section`: the few locks are critical sections, so that interrupt handlers may use [`sync`].
//! - `portable-atomic`: for processors that cannot compare and swap, as Cortex-M0.
//! - `simulation` (implies `std`), for tests: runs on virtual time, whose domains a seed interleaves on one thread.
//!
//! Without `std` the program links in one slot per thread of execution: see [`set_context`].
//!
//! # For those who come from Miou
//!
#![cfg_attr(feature = "std", doc = "Most names are Miou's own; [`guide::from_miou`] has a table of all of them, and of what differs.")]
#![cfg_attr(
    not(feature = "std"),
    doc = "Most names are Miou's own; with `std` there is a guide that has a table of all of them, and of what differs."
)]
//!
//! # The architecture
//!
//! Files import downwards only:
//!
//! | floor | what | files |
//! | --- | --- | --- |
//! | 5 | a whole run in one thread, for tests | `simulation/` |
//! | 4 | what users call | `promise`, `spawn`, `await_many`, `orphans`, `scope`, `ownership`, `suspension`, `time`, `sync`, `protect`, `hook`, `dump`, `run` |
//! | 3 | a domain: the tree of tasks, the loop, points | `domain/` |
//! | 2 | a task: state word, cell, waker, pool | `task/` |
//! | 1 | containers that own no memory | `container/` |
//! | 0 | words: ids, outcomes, errors, events, chance, the shim for the model checker | `id`, `outcome`, `violation`, `error`, `trace`, `random`, `shim` |

#![no_std]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod container;
mod shim;
mod task;

#[cfg(feature = "alloc")]
mod orphans;
#[cfg(feature = "alloc")]
mod ownership;
#[cfg(feature = "alloc")]
mod scope;
#[cfg(feature = "alloc")]
mod spawn;

mod await_many;
pub mod domain;
#[cfg(feature = "alloc")]
pub mod dump;
pub mod effect;
mod error;
#[cfg(feature = "std")]
pub mod guide;
pub mod hook;
mod id;
mod outcome;
pub mod platform;
mod promise;
mod protect;
mod random;
mod run;
#[cfg(feature = "simulation")]
pub mod simulation;
pub mod suspension;
pub mod sync;
pub mod time;
pub mod trace;
mod violation;

pub use crate::await_many::{AwaitAllIn, AwaitFirstIn, AwaitOneIn, await_all_in, await_first_in, await_one_in};
pub use crate::domain::identity::Context;
pub use crate::effect::{YieldNow, yield_now};
pub use crate::error::{EventsError, Full, RunError};
pub use crate::id::{DomainId, PointId, TaskId};
pub use crate::outcome::{Exit, Outcome, Panic, PanicMessage, Plain, Returns};
pub use crate::promise::{Cancellation, Promise, PromiseOf, State};
pub use crate::protect::protect;
pub use crate::run::{Config, current_task, run};
pub use crate::task::pool::TaskPool;
pub use crate::violation::{Report, ReportPlace, Violation, ViolationKind};

#[cfg(feature = "alloc")]
pub use crate::await_many::{AwaitAll, AwaitFirst, AwaitOne, await_all, await_first, await_one};
#[cfg(feature = "alloc")]
pub use crate::error::{NoDomainAvailable, OwnershipError, SpawnError, SpawnRefusal};
#[cfg(feature = "alloc")]
pub use crate::orphans::{Care, Next, Orphans};
#[cfg(feature = "alloc")]
pub use crate::ownership::{Gift, LocalResource, Resource};
#[cfg(feature = "alloc")]
pub use crate::scope::{Scope, scope};
#[cfg(feature = "alloc")]
pub use crate::spawn::{Anywhere, Here, MayLeave, Parallel, Results, Task, call, parallel, spawn};

/// The parts that the model checker looks into. Not for use.
#[cfg(loom)]
#[doc(hidden)]
pub mod model;

//! Tracing: what happens to the tasks of a run, told to one consumer while it happens.
//!
//! A [`Trace`] is registered with [`Config::trace`](crate::Config::trace) for a whole run. Every domain calls it on its own thread, so that
//! events of one domain come in order, and those of several at once. Where none is registered an event costs one branch.
//!
//! # What a consumer can rely on
//!
//! - [`Spawn`](EventKind::Spawn) comes before every other event of the task; on its maker's domain. [`End`](EventKind::End) is the last one,
//!   on its home; what it transferred is attached to its parent afterwards. A task that was spawned ends, whatever becomes of the run.
//! - [`RunBegin`](EventKind::RunBegin) and [`RunEnd`](EventKind::RunEnd) alternate on each domain, and name the same task and step.
//! - [`Suspend`](EventKind::Suspend) is followed by [`Resume`](EventKind::Resume) or [`GiveUp`](EventKind::GiveUp) of the same point, once;
//!   and [`Attach`](EventKind::Attach) by [`Detach`](EventKind::Detach) of the same resource, except where the process leaks them.
//!
//! # What a consumer may do
//!
//! It is foreign code like a waker: it is called outside every lock and list operation and never within `select`, but it delays its domain.
//! No task is current in it, so effects panic. What it does itself is not traced. One that panics is reported
//! ([`ReportPlace::Trace`](crate::ReportPlace::Trace)), changes no outcome, and hears nothing more from the domain it panicked on.
//!
//! ```
//! # #[cfg(feature = "std")] {
//! use std::sync::atomic::{AtomicUsize, Ordering};
//! use matou_core::trace::{Event, EventKind, Trace};
//! use matou_core::{run, spawn, platform::Bare, Config};
//!
//! struct Tasks(AtomicUsize);
//! impl Trace for Tasks {
//!     fn event(&self, event: &Event) {
//!         if let EventKind::Spawn { .. } = event.kind {
//!             self.0.fetch_add(1, Ordering::Relaxed);
//!         }
//!     }
//! }
//! static TASKS: Tasks = Tasks(AtomicUsize::new(0));
//!
//! let ran = run(&Bare, Config::new().trace(&TASKS), async { spawn(async {}).await });
//! assert!(ran.is_ok());
//! assert_eq!(TASKS.0.load(Ordering::Relaxed), 2); // the main task is one
//! # }
//! ```
//!
//! Miou: `Miou.Trace`.

use core::fmt;
use core::panic::Location;

use crate::id::{DomainId, PointId, TaskId};
use crate::time::Instant;
use crate::violation::Violation;

/// A consumer of events. See the [module](self).
///
/// Miou: `Miou.Trace`.
pub trait Trace: Sync {
    /// Something has happened on the domain that calls.
    fn event(&self, event: &Event);
}

impl fmt::Debug for dyn Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trace").finish_non_exhaustive()
    }
}

/// Something that happened: when, where, what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// The time on the clock of the domain's event source.
    pub at: Instant,
    /// The domain it happened on.
    pub domain: DomainId,
    /// What happened.
    pub kind: EventKind,
}

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// A task was made. It has not run yet.
    Spawn {
        /// The new task.
        task: TaskId,
        /// The task that made it; none for the main task.
        parent: Option<TaskId>,
        /// The domain it will live on.
        home: DomainId,
        /// The name it was given.
        name: Option<&'static str>,
        /// Where it was made. For the main task, where `run` was called.
        born: &'static Location<'static>,
    },
    /// The task's future begins to be polled, or dropped.
    RunBegin {
        /// The task.
        task: TaskId,
        /// Which of the two.
        step: Step,
    },
    /// That is over.
    RunEnd {
        /// The task.
        task: TaskId,
        /// Which of the two.
        step: Step,
    },
    /// The task waits at a suspension point.
    Suspend {
        /// The task.
        task: TaskId,
        /// The point, whose registration was called just now.
        point: PointId,
    },
    /// The event source has resumed the point.
    Resume {
        /// The task that waited.
        task: TaskId,
        /// The point.
        point: PointId,
    },
    /// The task does not wait at the point any more, which was not resumed.
    GiveUp {
        /// The task that waited.
        task: TaskId,
        /// The point.
        point: PointId,
    },
    /// The task waits for the end of its child: told when it first finds it running.
    Await {
        /// The task.
        task: TaskId,
        /// Its child.
        child: TaskId,
    },
    /// The task took its child's result.
    Join {
        /// The task.
        task: TaskId,
        /// Its child, which has ended.
        child: TaskId,
    },
    /// Somebody asked for the task to be cancelled; told once. A descendant is not asked for one by one: its future is dropped
    /// ([`Step::Drop`]).
    Cancel {
        /// The task.
        task: TaskId,
        /// Its parent; none where the run is being stopped, or in a finaliser.
        by: Option<TaskId>,
    },
    /// The task has ended, and its subtree with it.
    End {
        /// The task.
        task: TaskId,
        /// How.
        how: How,
    },
    /// The task became the owner of a resource.
    Attach {
        /// The task.
        task: TaskId,
        /// The resource.
        resource: ResourceId,
        /// Where it was taken into ownership, by whichever task.
        place: &'static Location<'static>,
    },
    /// The task gave the resource up, or ended and left it to its finaliser.
    Detach {
        /// The task.
        task: TaskId,
        /// The resource.
        resource: ResourceId,
        /// Where it was taken into ownership.
        place: &'static Location<'static>,
    },
    /// A rule was broken: the run is being stopped.
    Violation(Violation),
}

/// What a task's future is run for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// To go on.
    Poll,
    /// To be dropped, as the task was cancelled: its destructors run.
    Drop,
}

/// How a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum How {
    /// With a value.
    Normal,
    /// With an error.
    Failed,
    /// Cancelled, before it had a result.
    Cancelled,
    /// It panicked.
    Panicked,
    /// It broke a rule, whatever it returned.
    Violated,
}

/// A resource while it is there. A later one may have the same id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceId(usize);

impl ResourceId {
    #[cfg(feature = "alloc")]
    pub(crate) fn new(address: usize) -> ResourceId {
        ResourceId(address)
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Debug for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ResourceId({self})")
    }
}

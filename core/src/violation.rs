//! Broken rules, and what cannot be returned to anybody.
//!
//! A [`Violation`] is a bug in the program, not a failure of the world: it stops the run, in order, and `run` returns it
//! with the source lines to look at. A [`Report`] is a panic in a place that has no caller: a finaliser, a waker, a destructor.

use core::fmt;
use core::panic::Location;

use crate::id::{DomainId, TaskId};
use crate::outcome::Panic;

/// A broken rule: which, by which task, and the source lines to look at. Its `Debug` says what its `Display` says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Violation {
    /// The rule that was broken.
    pub kind: ViolationKind,
    /// The task that broke it.
    pub task: TaskId,
    /// The task's name, where it was given one.
    pub name: Option<&'static str>,
    /// Where that task was made. For the main task, where `run` was called.
    pub born: &'static Location<'static>,
    /// How many more rules were broken while the run was being stopped.
    pub others: usize,
}

/// The rules that can be broken at run time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ViolationKind {
    /// A task ended normally with a child neither awaited nor cancelled. (R3)
    ///
    /// | the promise | what to do |
    /// | --- | --- |
    /// | was dropped | keep and await it, or cancel it |
    /// | went with a branch of a `select!` that lost | make the child in a `scope` within that branch, or select `&mut promise` and cancel it |
    /// | was given to a `timeout` by value | give `&mut promise`, and cancel it when the time is over |
    /// | lies in an `Orphans` at the end | `take` what is left, and cancel or await it |
    ///
    /// Miou: `Miou.Still_has_children`.
    #[doc(alias = "Still_has_children")]
    StillHasChildren {
        /// The child.
        child: TaskId,
        /// Where the child was made.
        spawned: &'static Location<'static>,
    },
    /// A task awaited or cancelled a child of another task, or used its `Orphans`. (R5, R24)
    ///
    /// Miou: `Miou.Not_a_child`.
    #[doc(alias = "Not_a_child")]
    NotAChild {
        /// The task that was awaited or cancelled; none where an `Orphans` was used.
        child: Option<TaskId>,
        /// Its parent.
        parent: TaskId,
        /// Where the child was made, or the `Orphans` first used.
        spawned: &'static Location<'static>,
    },
    /// A task ended normally and still owned a resource. (R28)
    ///
    /// Miou: `Miou.Resource_leaked`.
    #[doc(alias = "Resource_leaked")]
    ResourceLeaked {
        /// Where the task became its owner.
        owned: &'static Location<'static>,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = Who { task: self.task, name: self.name };
        match self.kind {
            ViolationKind::StillHasChildren { child, spawned } => write!(
                f,
                "StillHasChildren (R3): {who}, made at {}, ended normally while its child {child}, made at {spawned}, was neither awaited nor cancelled: \
                 await its promise, cancel it, or return an error",
                self.born
            )?,
            ViolationKind::NotAChild { child: Some(child), parent, spawned } => write!(
                f,
                "NotAChild (R5): {who}, made at {}, awaited or cancelled task {child}, made at {spawned}, which is a child of task {parent}: \
                 only the direct parent may",
                self.born
            )?,
            ViolationKind::NotAChild { child: None, parent, spawned } => write!(
                f,
                "NotAChild (R24): {who}, made at {}, used the Orphans of task {parent}, first used at {spawned}: only the task that used it first may",
                self.born
            )?,
            ViolationKind::ResourceLeaked { owned } => write!(
                f,
                "ResourceLeaked (R28): {who}, made at {}, ended normally while it owned a resource, taken at {owned}: release, disown or transfer it",
                self.born
            )?,
        }
        match self.others {
            0 => Ok(()),
            others => write!(f, " (and {others} more while the run was stopped)"),
        }
    }
}

/// The same text: it tells every field, and what to do.
impl fmt::Debug for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl core::error::Error for Violation {}

struct Who {
    task: TaskId,
    name: Option<&'static str>,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "task {}", self.task)?;
        match self.name {
            Some(name) => write!(f, " ({name})"),
            None => Ok(()),
        }
    }
}

/// Foreign code panicked in a place from which nothing can be returned. It changed no outcome.
#[derive(Debug)]
pub struct Report {
    /// What panicked.
    pub place: ReportPlace,
    /// The domain it happened on.
    pub domain: DomainId,
    /// The panic.
    pub panic: Panic,
}

/// The places from which a panic cannot be returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReportPlace {
    /// The destructor of a future or of a closure.
    Destructor,
    /// The destructor of a result that nobody took.
    Result,
    /// A resource's finaliser.
    Finaliser,
    /// A waker.
    Waker,
    /// A hook.
    Hook,
    /// The [`Interrupt`](crate::platform::Interrupt) of a domain that was to be woken. The report names the domain that called it.
    Interrupt,
    /// A consumer of trace events. It hears nothing more from that domain.
    Trace,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match self.place {
            ReportPlace::Destructor => "the destructor of a task's future",
            ReportPlace::Result => "the destructor of a result that was not taken",
            ReportPlace::Finaliser => "a resource's finaliser",
            ReportPlace::Waker => "a waker",
            ReportPlace::Hook => "a hook, which is removed,",
            ReportPlace::Interrupt => "an interrupt",
            ReportPlace::Trace => "the consumer of trace events",
        };
        write!(f, "matou: {place} panicked on domain {}: {}", self.domain, self.panic.message())
    }
}

//! Events: what can be seen of a run.
//!
//! The machine writes them down while a program runs on matou; the model predicts them. A task's number is the count of tasks made before
//! it, as [`TaskId::number`](matou_core::TaskId::number) promises; a child made by a destructor has no number of its own here, since
//! destructors of one cancellation run in an order that no rule states.
//!
//! A log is a row of *windows*. Each begins with [`Event::Poll`]; up to [`Event::Suspended`], [`Event::Returned`] or [`Event::Unwound`]
//! comes what the task did in that poll, one after the other; then what happened between polls: futures dropped, finalisers run, panics
//! reported.

/// A task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Who {
    /// Made by a step; the main task is 0.
    Task(u64),
    /// Made by the destructor of that task's future.
    Late(u64),
}

/// How a task ended, as its parent sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The value that this task made.
    Value(u64),
    /// The error that this task made.
    Error(u64),
    /// Cancelled.
    Cancelled,
    /// A panic.
    Panicked(Said),
}

/// What a panic said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// The panic of this task's body.
    Task(u64),
    /// The panic of this task's destructor.
    Destructor(u64),
    /// The panic of this resource's finaliser.
    Finaliser(usize),
    /// A misuse that the runtime found, in words that are not compared.
    Runtime,
}

/// Why a resource cannot be used as asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// That task owns it.
    NotOwner(u64),
    /// That task owns it, and it cannot be taken.
    AlreadyOwned(u64),
    /// No task owns it.
    NotOwned,
    /// There is no value any more.
    Gone,
    /// It is in use.
    InUse,
    /// The main task has no parent.
    NoParent,
    /// Something that cannot be in a run with one domain.
    Unexpected,
}

/// How a child stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stands {
    /// It has not ended.
    Running,
    /// With a value.
    Resolved,
    /// Without one.
    Exited,
}

/// What `care` finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// This child has ended.
    Ready(u64),
    /// All run.
    Pending,
    /// There is none.
    Empty,
}

/// The place of a panic that is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The destructor of a future.
    Destructor,
    /// A finaliser.
    Finaliser,
    /// Another, which no program reaches.
    Unexpected,
}

/// See the [module](self).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A task is polled. `itself`: it is the current task.
    Poll {
        /// The task.
        who: Who,
        /// It is the current task.
        itself: bool,
    },
    /// The poll was pending.
    Suspended,
    /// The task has returned: a value or an error.
    Returned(Outcome),
    /// The task has panicked.
    Unwound,

    /// A child was made.
    Spawned(u64),
    /// A start was refused, and the future came back.
    Refused(Refusal),
    /// A future that is no task's was dropped.
    Unborn,
    /// The program has made all the tasks it may.
    Full,
    /// A promise gave the outcome of this child.
    Got(u64, Outcome),
    /// A future polled once was not ready.
    NotYet,
    /// `await_one`: which child, and its outcome.
    One(Option<(u64, Outcome)>),
    /// `await_first`.
    First(Option<Outcome>),
    /// `await_all`.
    All(Vec<Outcome>),
    /// `cancel` has returned.
    CancelCalled(u64),
    /// The cancellation of this child is over.
    CancelOver(u64),
    /// How a child stands, and whether its promise says it has ended.
    Looked(u64, Stands, bool),
    /// `care`.
    Care(Found),
    /// `take`.
    Took(Option<u64>),
    /// `next`.
    Next(Option<Outcome>),
    /// `len`.
    Len(usize),
    /// What a use of a resource gave.
    Used(usize, crate::program::Use, Result<(), Refusal>),
    /// The task that owns a resource.
    Owner(usize, Option<u64>),

    /// A future was dropped.
    Dropped {
        /// The task whose it was.
        who: Who,
        /// It is the current task.
        itself: bool,
    },
    /// The destructor of this task's future has tried to release a resource: whether it could.
    ReleasedOnDrop(u64, usize, bool),
    /// A finaliser ran. `nobody`: there is no current task.
    Finalised {
        /// The resource.
        resource: usize,
        /// There is no current task.
        nobody: bool,
    },
    /// A panic was reported.
    Reported(Place, Said),
}

impl Event {
    /// Whether it ends what a task does in a poll.
    pub fn ends_poll(&self) -> bool {
        matches!(self, Event::Suspended | Event::Returned(_) | Event::Unwound)
    }
}

//! Resources of both kinds, for one way of writing the steps.

use matou_core::{LocalResource, OwnershipError, Resource, Task, TaskId, current_task};

use super::trace::{LOADS, count, log};
use crate::event::{Event, Refusal};

/// A resource's value.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) number: usize,
    pub(super) panics: bool,
}

impl Drop for Load {
    fn drop(&mut self) {
        count(LOADS, -1);
    }
}

fn finalise(load: Load) {
    log(Event::Finalised { resource: load.number, nobody: current_task().is_none() });
    if load.panics {
        panic!("fuzzed finaliser {}", load.number);
    }
}

pub(super) fn refusal(error: OwnershipError) -> Refusal {
    match error {
        OwnershipError::NotOwner(task) => Refusal::NotOwner(task.number()),
        OwnershipError::AlreadyOwned(task) => Refusal::AlreadyOwned(task.number()),
        OwnershipError::NotOwned => Refusal::NotOwned,
        OwnershipError::Gone => Refusal::Gone,
        OwnershipError::InUse => Refusal::InUse,
        OwnershipError::NoParent => Refusal::NoParent,
        _ => Refusal::Unexpected,
    }
}

/// A `Resource` or a `LocalResource`.
pub(super) trait Owned: Clone + 'static {
    type Reach: 'static;

    fn make(load: Load) -> Self;
    #[track_caller]
    fn own(&self) -> Result<(), OwnershipError>;
    fn check(&self) -> Result<(), OwnershipError>;
    fn with<T>(&self, f: impl FnOnce(&mut Load) -> T) -> Result<T, OwnershipError>;
    fn disown(&self) -> Result<Load, OwnershipError>;
    fn release(&self) -> Result<(), OwnershipError>;
    fn transfer(&self) -> Result<(), OwnershipError>;
    fn owner(&self) -> Option<TaskId>;
    /// A task that is given these, of which there is at least one.
    fn give(first: &Self, others: &[Self]) -> Task<Self::Reach>;
}

macro_rules! owned {
    ($name:ident, $reach:ident) => {
        impl Owned for $name<Load> {
            type Reach = matou_core::$reach;

            fn make(load: Load) -> Self {
                $name::new(load, finalise)
            }
            #[track_caller]
            fn own(&self) -> Result<(), OwnershipError> {
                $name::own(self)
            }
            fn check(&self) -> Result<(), OwnershipError> {
                $name::check(self)
            }
            fn with<T>(&self, f: impl FnOnce(&mut Load) -> T) -> Result<T, OwnershipError> {
                $name::with(self, f)
            }
            fn disown(&self) -> Result<Load, OwnershipError> {
                $name::disown(self)
            }
            fn release(&self) -> Result<(), OwnershipError> {
                $name::release(self)
            }
            fn transfer(&self) -> Result<(), OwnershipError> {
                $name::transfer(self)
            }
            fn owner(&self) -> Option<TaskId> {
                $name::owner(self)
            }
            fn give(first: &Self, others: &[Self]) -> Task<Self::Reach> {
                others.iter().fold(Task::new().give(first), |task, other| task.give(other))
            }
        }
    };
}
owned!(Resource, Anywhere);
owned!(LocalResource, Here);
